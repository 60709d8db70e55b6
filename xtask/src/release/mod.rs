//! `cargo xtask release`: the programs, optimised for what they were seen doing (profile-guided optimisation).
//!
//! Compiled to count what they do, put through what servers go through ([`training`]), and compiled again with the counts.

pub mod training;

use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::install::{self, Tool};
use crate::options::Options;
use crate::process;
use crate::workspace::{PROGRAMS, Profile, Workspace};

const USAGE: &str = "usage: cargo xtask release

Builds edge, appserver and its extension module with profile-guided optimisation, into target/dist: a request costs about a
tenth less CPU time than with `cargo build --release`. They are compiled to count what they do, run under every kind of load for a
minute, and compiled again with the counts: ten minutes on two cores the first time.
";

/// The module, as the programs look for it beside themselves.
const MODULE: &str = "libviaduct_worker.so";

/// The command.
pub fn main(workspace: &Workspace, arguments: &[String]) -> Result<ExitCode, String> {
    let mut options = Options::new(arguments);
    if options.flag("--help") || options.flag("-h") {
        print!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    }
    options.words()?;
    let folder = build(workspace)?.folder;
    for name in PROGRAMS.iter().chain(&[MODULE]) {
        println!("{}", folder.join(name).display());
    }
    Ok(ExitCode::SUCCESS)
}

/// What was built, and how cargo would build it again.
pub struct Trained {
    /// Where the programs and the module are.
    pub folder: PathBuf,
    host: String,
    target: PathBuf,
    flags: String,
}

impl Trained {
    /// Has a command that ends in a run of cargo find all of it done.
    pub fn apply(&self, command: &mut Command) {
        // With --target the flags are not for what runs while compiling.
        command
            .args(["--target", &self.host])
            .env("CARGO_TARGET_DIR", &self.target)
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env("RUSTFLAGS", &self.flags);
    }
}

/// Builds everything.
pub fn build(workspace: &Workspace) -> Result<Trained, String> {
    install::require(workspace, &[Tool::Curl, Tool::Openssl, Tool::UtilLinux])?;
    let host = host()?;
    let profdata = profdata(&host)?;
    println!("compiling programs that count what they do (1 of 3)");
    let raw = workspace.work("training/raw")?;
    let count = format!("-Cprofile-generate={}", raw.display());
    let counting = compile(workspace, &host, "counting", &count)?.folder;
    // The profile belongs to these programs: what was learned with others is of no use.
    let learned = format!("training/{:016x}.profdata", fingerprint(&counting)?);
    let learned = workspace.work(&learned)?;
    if learned.is_file() {
        println!("they were trained before (2 of 3)");
    } else {
        println!("training them (2 of 3)");
        let _ = fs::remove_dir_all(&raw);
        training::run(&counting, training::Effort::FULL)?;
        // Not under its name before it is whole: somebody may interrupt us.
        let unfinished = learned.with_extension("unfinished");
        let mut merge = Command::new(profdata);
        process::output(merge.arg("merge").arg("-o").arg(&unfinished).arg(&raw))?;
        fs::rename(&unfinished, &learned)
            .map_err(|error| format!("\"{}\": {error}", learned.display()))?;
    }
    println!("compiling with what they learned (3 of 3)");
    let learned = format!("-Cprofile-use={}", learned.display());
    let mut trained = compile(workspace, &host, "trained", &learned)?;
    trained.folder = copied(&trained.folder, workspace.target.join("dist"))?;
    Ok(trained)
}

/// Copies the programs and the module.
fn copied(from: &Path, to: PathBuf) -> Result<PathBuf, String> {
    let told = |error| format!("can't write in \"{}\": {error}", to.display());
    fs::create_dir_all(&to).map_err(told)?;
    for name in PROGRAMS.iter().chain(&[MODULE]) {
        // Not over the old one: it may be running.
        let new = to.join(format!("{name}.new"));
        fs::copy(from.join(name), &new)
            .and_then(|_| fs::rename(&new, to.join(name)))
            .map_err(told)?;
    }
    Ok(to)
}

/// Compiles all with these flags, in a target folder of its own.
fn compile(workspace: &Workspace, host: &str, name: &str, flags: &str) -> Result<Trained, String> {
    let target = workspace.work(name)?;
    let given = std::env::var("RUSTFLAGS").unwrap_or_default();
    let built = Trained {
        folder: target.join(host).join("release"),
        host: host.to_owned(),
        target,
        flags: format!("{given} {flags}"),
    };
    for mut command in workspace.build_programs(Profile::Release) {
        built.apply(&mut command);
        let status = process::run_on_terminal(&mut command)?;
        process::success(status, "cargo build")?;
    }
    Ok(built)
}

/// What tells these programs from others.
fn fingerprint(folder: &Path) -> Result<u64, String> {
    let mut hasher = DefaultHasher::new();
    for name in PROGRAMS.iter().chain(&[MODULE]) {
        let path = folder.join(name);
        let content =
            fs::read(&path).map_err(|error| format!("\"{}\": {error}", path.display()))?;
        hasher.write(&content);
    }
    Ok(hasher.finish())
}

fn rustc() -> Command {
    Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

/// What we compile on and for.
fn host() -> Result<String, String> {
    let said = process::output(rustc().arg("-vV"))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or_else(|| format!("rustc does not tell its host:\n{said}"))
}

/// The program that reads counts: part of the toolchain, and installed if it is missing.
fn profdata(host: &str) -> Result<PathBuf, String> {
    let sysroot = process::output(rustc().args(["--print", "sysroot"]))?;
    let program = Path::new(sysroot.trim()).join(format!("lib/rustlib/{host}/bin/llvm-profdata"));
    if !program.is_file() {
        println!("installing llvm-tools (rustup)");
        process::output(Command::new("rustup").args(["component", "add", "llvm-tools"])).map_err(
            |problem| format!("llvm-tools, which belong to this rustc, are needed: {problem}"),
        )?;
    }
    match program.is_file() {
        true => Ok(program),
        false => Err(format!(
            "\"{}\" is not there, though llvm-tools are installed",
            program.display()
        )),
    }
}
