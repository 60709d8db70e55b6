//! Where things are: the checkout, the target directory, the programs that were built.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process;

/// A checkout and its target directory.
pub struct Workspace {
    /// The folder with the workspace's `Cargo.toml`.
    pub root: PathBuf,
    /// `CARGO_TARGET_DIR`, or `target` in the checkout.
    pub target: PathBuf,
}

/// How programs are compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    Debug,
    Release,
}

/// The packages whose programs people run.
pub const PROGRAMS: [&str; 2] = ["edge", "appserver"];

/// The extension module that appserver loads.
pub const EXTENSION: &str = "appserver-worker";

/// What the module may use of Python, whichever Python builds it.
pub const PYO3_CONFIG: &str = "packaging/python/pyo3-config.txt";

impl Workspace {
    /// The checkout that this was compiled in.
    pub fn find() -> Result<Self, String> {
        // cargo says where it found the package now; the path of compile time serves those who call the binary itself.
        let manifest = std::env::var("CARGO_MANIFEST_DIR")
            .unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
        let root = Path::new(&manifest)
            .parent()
            .filter(|root| root.join("Cargo.toml").is_file())
            .ok_or_else(|| {
                format!("no Cargo.toml beside \"{manifest}\"; call this by `cargo xtask`")
            })?
            .to_owned();
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(path) => std::path::absolute(path).map_err(|error| error.to_string())?,
            None => root.join("target"),
        };
        Ok(Workspace { root, target })
    }

    /// A path below `target/xtask`, whose folder exists then.
    pub fn work(&self, relative: &str) -> Result<PathBuf, String> {
        let path = self.target.join("xtask").join(relative);
        let folder = path.parent().unwrap_or(&path);
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("can't make \"{}\": {error}", folder.display()))?;
        Ok(path)
    }

    /// Where cargo puts programs.
    pub fn folder(&self, profile: Profile) -> PathBuf {
        self.target.join(match profile {
            Profile::Debug => "debug",
            Profile::Release => "release",
        })
    }

    /// Where cargo puts a program.
    pub fn program(&self, profile: Profile, name: &str) -> PathBuf {
        self.folder(profile).join(name)
    }

    /// cargo with these arguments, run in the checkout.
    pub fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command
            .args(arguments)
            .current_dir(&self.root)
            .env("CARGO_TERM_COLOR", "never");
        forget_cargo(&mut command);
        command
    }

    /// Builds the programs, with cargo's output on the terminal.
    pub fn build(&self, profile: Profile) -> Result<(), String> {
        for mut command in self.build_programs(profile) {
            let status = process::run_on_terminal(&mut command)?;
            process::success(status, "cargo build")?;
        }
        Ok(())
    }

    /// cargo, building the programs.
    pub fn build_programs(&self, profile: Profile) -> Vec<Command> {
        let mut programs = self.cargo(&["build", "--locked"]);
        for package in PROGRAMS {
            programs.args(["-p", package]);
        }
        if profile == Profile::Debug {
            programs.args(["-p", EXTENSION]);
            return vec![programs];
        }
        programs.arg("--release");
        // As maturin does it, so that it finds all done. Without the rlib beside it the module is optimised as a whole, too.
        let mut extension = self.cargo(&["rustc", "--release", "--locked", "-p", EXTENSION]);
        extension
            .args(["--lib", "--crate-type", "cdylib"])
            .env("PYO3_CONFIG_FILE", self.join(PYO3_CONFIG))
            .env("PYO3_BUILD_EXTENSION_MODULE", "1");
        vec![programs, extension]
    }

    /// A path of the checkout.
    pub fn join(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }
}

/// What cargo tells the program it runs (us) must not reach another run of it: it would compile again what asks for these variables.
pub fn forget_cargo(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
}
