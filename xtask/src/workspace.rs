//! Where things are: the checkout, the target directory, the programs that were built.

use std::path::{Path, PathBuf};
use std::process::Command;

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

/// The packages whose programs people run; `appserver-worker` is the extension module that appserver loads.
pub const PROGRAMS: [&str; 3] = ["edge", "appserver", "appserver-worker"];

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

    /// Where cargo puts a program.
    pub fn program(&self, profile: Profile, name: &str) -> PathBuf {
        let folder = match profile {
            Profile::Debug => "debug",
            Profile::Release => "release",
        };
        self.target.join(folder).join(name)
    }

    /// cargo with these arguments, run in the checkout.
    pub fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command
            .args(arguments)
            .current_dir(&self.root)
            .env("CARGO_TERM_COLOR", "never");
        // What cargo tells the program it runs (us) must not reach the programs of another run of it.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&name);
            }
        }
        command
    }

    /// cargo, building the programs.
    pub fn build_programs(&self, profile: Profile) -> Command {
        let mut command = self.cargo(&["build", "--locked"]);
        for package in PROGRAMS {
            command.args(["-p", package]);
        }
        if profile == Profile::Release {
            command.arg("--release");
        }
        command
    }

    /// A path of the checkout.
    pub fn join(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }
}
