//! The wheel: appserver as people install it in a Python environment. Built from what the release build made, installed in a clean
//! environment of every Python that is here, and tried there.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use crate::install::Venv;
use crate::options::Options;
use crate::process::{output, run};
use crate::release::{self, Trained};
use crate::workspace::{PYO3_CONFIG, Profile, Workspace, forget_cargo};

const USAGE: &str = "usage: cargo xtask wheel [--trained]

Builds appserver and its extension module and packs both into a wheel, in target/xtask/wheels: one file for CPython 3.9 and
everything newer. `pip install FILE` puts `appserver` into the environment's bin.

  --trained   from what `cargo xtask release` builds, which takes minutes longer and serves faster
";

/// Where pyproject.toml has maturin look for what goes into `bin`, below the checkout.
const SCRIPTS: &str = "target/wheel.data/scripts";
/// What builds it, and a pip that serves every Python that it is tried with.
const TOOLS: [&str; 2] = ["maturin==1.16.0", "pip==25.2"];
/// The oldest minor version of Python 3 that the wheel is for.
const OLDEST: u32 = 9;
const LIMIT: Duration = Duration::from_secs(1200);

/// The command.
pub fn main(workspace: &Workspace, arguments: &[String]) -> Result<ExitCode, String> {
    let mut options = Options::new(arguments);
    if options.flag("--help") || options.flag("-h") {
        print!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    }
    let trained = options.flag("--trained");
    options.words()?;
    let trained = trained.then(|| release::build(workspace)).transpose()?;
    if trained.is_none() {
        workspace.build(Profile::Release)?;
    }
    let log = workspace.work("logs/wheel.log")?;
    let wheel = build(workspace, trained.as_ref(), &log)
        .map_err(|problem| format!("{problem}; see {}", log.display()))?;
    println!("{}", wheel.display());
    Ok(ExitCode::SUCCESS)
}

/// The step "wheel": builds it both ways, and looks into it.
pub fn check(workspace: &Workspace, log: &Path) -> Result<String, String> {
    let wheel = build(workspace, None, log)?;
    let tools = tools(workspace)?;
    let by_pip = empty(workspace, "wheels-by-pip")?;
    // As `pip install .` does: the backend of packaging/python.
    let mut pip = Command::new(tools.program("pip"));
    pip.args(["--disable-pip-version-check", "wheel", "--no-deps"])
        .args(["--no-build-isolation", "--wheel-dir"])
        .arg(&by_pip)
        .arg(&workspace.root)
        .env("CARGO_TARGET_DIR", &workspace.target)
        .env("PATH", path_with(&tools)?);
    forget_cargo(&mut pip);
    run(&mut pip, log, LIMIT)?;
    let mut look = Command::new(tools.program("python"));
    look.arg(workspace.join("packaging/python/check_wheel.py"))
        .arg(&wheel)
        .arg(only_file(&by_pip)?);
    run(&mut look, log, LIMIT)?;
    let name = wheel.file_name().unwrap_or_default().to_string_lossy();
    Ok(name.into_owned())
}

/// The step "install": tries the wheel with every Python that is here.
pub fn check_installed(workspace: &Workspace, log: &Path) -> Result<String, String> {
    let wheel = latest(workspace)?;
    let tools = tools(workspace)?;
    let pythons = pythons();
    if pythons.is_empty() {
        return Err(format!(
            "there is no CPython 3.{OLDEST} or newer to try it with"
        ));
    }
    for python in pythons.values() {
        let mut check = Command::new(tools.program("python"));
        check
            .arg(workspace.join("packaging/python/check_install.py"))
            .args([python, &wheel]);
        run(&mut check, log, LIMIT)?;
    }
    let found: Vec<String> = pythons.keys().map(|minor| format!("3.{minor}")).collect();
    let newest = 13.max(pythons.keys().copied().max().unwrap_or_default());
    let lacking: Vec<String> = (OLDEST..=newest)
        .filter(|minor| !pythons.contains_key(minor))
        .map(|minor| format!("3.{minor}"))
        .collect();
    Ok(if lacking.is_empty() {
        format!("with Python {}", found.join(", "))
    } else {
        format!(
            "with Python {}; NOT TRIED, because they are not here: {}",
            found.join(", "),
            lacking.join(", ")
        )
    })
}

/// The wheel that was built last.
pub fn latest(workspace: &Workspace) -> Result<PathBuf, String> {
    only_file(&workspace.work("wheels")?)
}

/// Packs what the release build has made, or `cargo xtask release`.
fn build(workspace: &Workspace, trained: Option<&Trained>, log: &Path) -> Result<PathBuf, String> {
    let tools = tools(workspace)?;
    let scripts = workspace.join(SCRIPTS);
    let told = |error| format!("can't make \"{}\": {error}", scripts.display());
    std::fs::create_dir_all(&scripts).map_err(told)?;
    let folder = trained.map_or_else(
        || workspace.folder(Profile::Release),
        |trained| trained.folder.clone(),
    );
    std::fs::copy(folder.join("appserver"), scripts.join("appserver")).map_err(told)?;
    let wheels = empty(workspace, "wheels")?;
    let mut maturin = Command::new(tools.program("maturin"));
    maturin
        .args(["build", "--release", "--out"])
        .arg(&wheels)
        .current_dir(&workspace.root)
        .env("CARGO_TARGET_DIR", &workspace.target)
        .env("PYO3_CONFIG_FILE", workspace.join(PYO3_CONFIG))
        .env("PATH", path_with(&tools)?);
    forget_cargo(&mut maturin);
    if let Some(trained) = trained {
        trained.apply(&mut maturin);
    }
    run(&mut maturin, log, LIMIT)?;
    only_file(&wheels)
}

/// The environment that builds it.
pub fn tools(workspace: &Workspace) -> Result<Venv, String> {
    Venv::with(workspace, "venv-wheel", &[], &TOOLS.map(str::to_owned))
}

/// PATH with an environment in front: maturin looks for its interpreter there.
fn path_with(venv: &Venv) -> Result<std::ffi::OsString, String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(venv.path.join("bin")).chain(env::split_paths(&path));
    env::join_paths(folders).map_err(|error| error.to_string())
}

/// An empty folder below `target/xtask`.
fn empty(workspace: &Workspace, name: &str) -> Result<PathBuf, String> {
    let folder = workspace.work(name)?;
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder)
        .map_err(|error| format!("can't make \"{}\": {error}", folder.display()))?;
    Ok(folder)
}

fn only_file(folder: &Path) -> Result<PathBuf, String> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = files.map(|file| file.path()).collect();
    let many = files.len();
    files.pop().filter(|_| many == 1).ok_or_else(|| {
        let folder = folder.display();
        format!("one wheel was expected in \"{folder}\", there are {many}")
    })
}

/// CPython 3.9 and newer wherever one usually is, one of each minor version: what runs under names on the PATH, and what pyenv and uv
/// have installed.
pub fn pythons() -> BTreeMap<u32, PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut candidates = Vec::new();
    for folder in env::split_paths(&path).chain(["/usr/bin", "/usr/local/bin"].map(PathBuf::from)) {
        candidates.push(folder.join("python3"));
        candidates.extend((OLDEST..40).map(|minor| folder.join(format!("python3.{minor}"))));
    }
    let home = PathBuf::from(env::var_os("HOME").unwrap_or_default());
    let pyenv = env::var_os("PYENV_ROOT").map_or_else(|| home.join(".pyenv"), PathBuf::from);
    for versions in [
        pyenv.join("versions"),
        home.join(".local/share/uv/python"),
        PathBuf::from("/opt/python"),
    ] {
        let entries = std::fs::read_dir(versions).into_iter().flatten().flatten();
        candidates.extend(entries.map(|entry| entry.path().join("bin/python3")));
    }
    let mut found = BTreeMap::new();
    for python in candidates.into_iter().filter(|path| path.is_file()) {
        if let Some((minor, real)) = probe(&python) {
            found.entry(minor).or_insert(real);
        }
    }
    found
}

/// The minor version of an interpreter that the wheel is for, and its own path (not that of a script that stands in for it).
fn probe(python: &Path) -> Option<(u32, PathBuf)> {
    const ASK: &str = "import os, sys; assert sys.implementation.name == 'cpython' and sys.version_info[0] == 3\n\
        print(sys.version_info[1], os.path.join(sys.base_prefix, 'bin', 'python3.%d' % sys.version_info[1]))";
    let said = output(Command::new(python).args(["-c", ASK])).ok()?;
    let (minor, real) = said.trim().split_once(' ')?;
    let minor = minor.parse().ok().filter(|&minor| minor >= OLDEST)?;
    let real = Path::new(real);
    Some((minor, if real.is_file() { real } else { python }.to_owned()))
}
