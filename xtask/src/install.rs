//! Installs what is missing: Debian packages with apt-get, Python packages in environments below `target/xtask`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::{find_program, output, run};
use crate::workspace::Workspace;

const APT_LIMIT: Duration = Duration::from_secs(900);
const PIP_LIMIT: Duration = Duration::from_secs(900);
/// Debian's packages start what they install; this file, while it is there, says no.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Something of Debian's that a step needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// A client that knows TLS and HTTP/2.
    Curl,
    /// Makes certificates.
    Openssl,
    /// The reference of edge.
    Nginx,
    /// For the browser test; driven by chromedriver.
    Chromium,
    /// `systemd-analyze`, `systemd-socket-activate`, `systemd-notify`.
    Systemd,
    /// A container with a systemd of its own.
    Nspawn,
    /// Environments for Python packages.
    PythonVenv,
    /// The library that the tests of wsgi-bridge are linked with, and its headers.
    PythonDev,
    /// For libFuzzer.
    Cxx,
    /// Load.
    Wrk,
    /// For bjoern.
    Libev,
    /// `taskset`.
    UtilLinux,
}

impl Tool {
    fn packages(self) -> &'static [&'static str] {
        match self {
            Tool::Curl => &["curl"],
            Tool::Openssl => &["openssl"],
            Tool::Nginx => &["nginx"],
            Tool::Chromium => &["chromium", "chromium-driver"],
            Tool::Systemd => &["systemd"],
            Tool::Nspawn => &["systemd-container", "mmdebstrap", "util-linux"],
            Tool::PythonVenv => &["python3-venv"],
            Tool::PythonDev => &["python3-dev"],
            Tool::Cxx => &["g++"],
            Tool::Wrk => &["wrk"],
            Tool::Libev => &["libev-dev"],
            Tool::UtilLinux => &["util-linux"],
        }
    }

    fn is_here(self) -> bool {
        let all = |names: &[&str]| names.iter().all(|name| find_program(name).is_some());
        match self {
            Tool::Curl => all(&["curl"]),
            Tool::Openssl => all(&["openssl"]),
            Tool::Nginx => Path::new("/usr/sbin/nginx").is_file(),
            Tool::Chromium => all(&["chromium", "chromedriver"]),
            Tool::Systemd => all(&[
                "systemd-analyze",
                "systemd-socket-activate",
                "systemd-notify",
            ]),
            Tool::Nspawn => all(&["systemd-nspawn", "mmdebstrap", "nsenter", "unshare"]),
            Tool::PythonVenv => python_says("import venv, ensurepip"),
            Tool::PythonDev => python_says(
                "import os, sysconfig as s\n\
                 v = s.get_config_var\n\
                 there = [os.path.exists(os.path.join(v(d) or '', v('LDLIBRARY') or '?')) for d in ('LIBDIR', 'LIBPL')]\n\
                 assert any(there) and os.path.exists(os.path.join(s.get_paths()['include'], 'Python.h'))",
            ),
            Tool::Cxx => all(&["g++"]),
            Tool::Wrk => all(&["wrk"]),
            Tool::Libev => Path::new("/usr/include/ev.h").is_file(),
            Tool::UtilLinux => all(&["taskset"]),
        }
    }
}

fn python_says(program: &str) -> bool {
    Command::new("python3")
        .args(["-c", program])
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Installs those that are missing; the ones that are missing still, each with the reason.
pub fn tools(workspace: &Workspace, wanted: &[Tool]) -> Vec<(Tool, String)> {
    let missing: Vec<Tool> = wanted
        .iter()
        .copied()
        .filter(|tool| !tool.is_here())
        .collect();
    if missing.is_empty() {
        return Vec::new();
    }
    let packages: Vec<&str> = missing
        .iter()
        .flat_map(|tool| tool.packages())
        .copied()
        .collect();
    println!("installing {} (apt-get)", packages.join(", "));
    let problem = apt(workspace, &packages).err();
    missing
        .into_iter()
        .filter(|tool| !tool.is_here())
        .map(|tool| {
            let reason = problem.clone().unwrap_or_else(|| {
                "it was installed, but is not where it is looked for".to_owned()
            });
            (tool, format!("{}: {reason}", tool.packages().join(", ")))
        })
        .collect()
}

/// As [`tools`], for commands that can do nothing without them.
pub fn require(workspace: &Workspace, wanted: &[Tool]) -> Result<(), String> {
    let missing: Vec<String> = tools(workspace, wanted)
        .into_iter()
        .map(|(_, reason)| reason)
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(missing.join("\n"))
    }
}

fn apt(workspace: &Workspace, packages: &[&str]) -> Result<(), String> {
    if find_program("apt-get").is_none() {
        return Err("this is no Debian (no apt-get); install it by hand".to_owned());
    }
    let log = workspace.work("logs/apt.log")?;
    let told = |problem| format!("{problem}; see {}", log.display());
    run(&mut as_root(&["apt-get", "update"])?, &log, APT_LIMIT).map_err(told)?;
    let _quiet = NoServices::new();
    let mut install = as_root(&[
        "env",
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "install",
    ])?;
    install
        .args(["-y", "--no-install-recommends"])
        .args(packages);
    run(&mut install, &log, APT_LIMIT).map_err(told)
}

/// A command for root: as it is, or with sudo.
fn as_root(words: &[&str]) -> Result<Command, String> {
    if rustix::process::geteuid().is_root() {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        return Ok(command);
    }
    if find_program("sudo").is_none() {
        return Err("only root may install packages, and there is no sudo".to_owned());
    }
    let mut command = Command::new("sudo");
    if !std::io::stdin().is_terminal() {
        command.arg("-n");
    }
    command.args(words);
    Ok(command)
}

/// Keeps packages from starting what they bring while this lives. A policy that the machine has is left alone.
struct NoServices {
    ours: bool,
}

impl NoServices {
    fn new() -> Self {
        let script = format!(
            "test -e {POLICY} && exit 1; printf '#!/bin/sh\\nexit 101\\n' >{POLICY} && chmod 755 {POLICY}"
        );
        let ours = as_root(&["sh", "-c", &script])
            .is_ok_and(|mut command| command.status().is_ok_and(|status| status.success()));
        NoServices { ours }
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours
            && let Ok(mut command) = as_root(&["rm", "-f", POLICY])
        {
            let _ = command.status();
        }
    }
}

/// A Python environment below `target/xtask`.
pub struct Venv {
    pub path: PathBuf,
}

impl Venv {
    /// A program in it.
    pub fn program(&self, name: &str) -> PathBuf {
        self.path.join("bin").join(name)
    }

    /// The shop and the programs that test it.
    pub fn for_demo(workspace: &Workspace, testing: bool) -> Result<Self, String> {
        let name = if testing { "venv-test" } else { "venv" };
        Venv::of_demo(workspace, Path::new("python3"), name, testing)
    }

    /// The same with an interpreter of another version.
    pub fn for_demo_under(
        workspace: &Workspace,
        python: &Path,
        minor: u32,
    ) -> Result<Self, String> {
        Venv::of_demo(workspace, python, &format!("venv-test-3.{minor}"), true)
    }

    fn of_demo(
        workspace: &Workspace,
        python: &Path,
        name: &str,
        testing: bool,
    ) -> Result<Self, String> {
        let mut files = vec![workspace.join("demo/requirements.txt")];
        if testing {
            files.push(workspace.join("demo/requirements-reference.txt"));
            files.push(workspace.join("demo/requirements-test.txt"));
        }
        let mut arguments = Vec::new();
        for file in &files {
            arguments.extend(["-r".to_owned(), file.display().to_string()]);
        }
        Venv::under(workspace, python, name, &files, &arguments)
    }

    /// An environment with what `pip install ARGUMENTS` brings; made anew when `files`, the arguments or the Python have changed.
    pub fn with(
        workspace: &Workspace,
        name: &str,
        files: &[PathBuf],
        arguments: &[String],
    ) -> Result<Self, String> {
        Venv::under(workspace, Path::new("python3"), name, files, arguments)
    }

    fn under(
        workspace: &Workspace,
        interpreter: &Path,
        name: &str,
        files: &[PathBuf],
        arguments: &[String],
    ) -> Result<Self, String> {
        let path = workspace.work(name)?;
        let python = output(Command::new(interpreter).args([
            "-c",
            "import sys; assert sys.version_info >= (3, 10), 'Python 3.10 or newer is needed'; print(sys.version, sys.base_prefix)",
        ]))?;
        // Environments can't be moved: their path counts too.
        let mut wanted = format!("{python}{}\n{}\n", path.display(), arguments.join(" "));
        for file in files {
            let text = std::fs::read_to_string(file)
                .map_err(|error| format!("can't read \"{}\": {error}", file.display()))?;
            wanted.push_str(&text);
        }
        let stamp = path.join("xtask-stamp");
        let venv = Venv { path };
        if std::fs::read_to_string(&stamp).is_ok_and(|have| have == wanted) {
            return Ok(venv);
        }
        require(workspace, &[Tool::PythonVenv])?;
        println!("making a Python environment in {}", venv.path.display());
        let log = workspace.work("logs/pip.log")?;
        let told = |problem| format!("{problem}; see {}", log.display());
        run(
            Command::new(interpreter)
                .args(["-m", "venv", "--clear"])
                .arg(&venv.path),
            &log,
            PIP_LIMIT,
        )
        .map_err(told)?;
        let mut pip = Command::new(venv.program("pip"));
        pip.args(["--disable-pip-version-check", "install", "-q"])
            .args(arguments);
        run(&mut pip, &log, PIP_LIMIT).map_err(told)?;
        std::fs::write(&stamp, wanted)
            .map_err(|error| format!("can't write \"{}\": {error}", stamp.display()))?;
        Ok(venv)
    }
}
