//! A container with a real systemd as its first process: systemd-nspawn on a Debian root made by mmdebstrap.
//!
//! It needs root, and a machine that lets root make namespaces and cgroups. Where that is not so, [`Unable`] says what is missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use testkit::{Deadline, StopFlag};

use crate::process::{self, Guarded, output};
use crate::tree;
use crate::workspace::Workspace;

/// What units need: kill for ExecReload, an interpreter for the application.
const PACKAGES: &str = "systemd,systemd-sysv,python3,procps";
/// The release that is used on machines that are no Debian.
const DEFAULT_SUITE: &str = "bookworm";
const ROOT_LIMIT: Duration = Duration::from_secs(900);
const PATIENCE: Duration = Duration::from_secs(90);
/// Hierarchies in which nspawn puts the container, where no systemd of the machine does that for it.
const HIERARCHIES: [&str; 3] = ["systemd", "unified", ""];

/// Why this machine cannot have such a container.
#[derive(Debug)]
pub struct Unable(pub String);

/// See the module. Ended when dropped.
pub struct Container {
    nspawn: Option<Guarded>,
    /// Its first process, as this machine numbers it.
    leader: u32,
    groups: Vec<PathBuf>,
}

/// Makes the root that containers are booted from, or finds the one of an earlier run; a folder in which files may be changed.
///
/// # Errors
/// What this machine lacks.
pub fn root(workspace: &Workspace, log: &Path) -> Result<PathBuf, Unable> {
    if !rustix::process::geteuid().is_root() {
        return Err(Unable("only root may boot a container".to_owned()));
    }
    output(Command::new("unshare").args(["--mount", "--pid", "--fork", "true"]))
        .map_err(|why| Unable(format!("this machine makes no namespaces: {why}")))?;
    let make = || -> Result<PathBuf, String> {
        let folder = workspace.work("systemd-root")?;
        let stamp = workspace.work("systemd-root.stamp")?;
        let wanted = format!("{} {PACKAGES}\n", suite());
        if fs::read_to_string(&stamp).is_ok_and(|have| have == wanted) {
            return Ok(folder);
        }
        let _ = fs::remove_file(&stamp);
        let mut mmdebstrap = Command::new("mmdebstrap");
        mmdebstrap
            .args(["--variant=minbase", "--skip=check/empty"])
            .arg(format!("--include={PACKAGES}"))
            .arg(suite())
            .arg(&folder);
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(|error| error.to_string())?;
        }
        process::run(&mut mmdebstrap, log, ROOT_LIMIT)?;
        fs::write(&stamp, wanted).map_err(|error| error.to_string())?;
        Ok(folder)
    };
    make().map_err(|why| Unable(format!("no Debian root can be made: {why}")))
}

/// The release of this machine, whose C library our programs are linked with.
fn suite() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    match (value("ID="), value("VERSION_CODENAME=")) {
        (Some("debian"), Some(name)) => name.to_owned(),
        _ => DEFAULT_SUITE.to_owned(),
    }
}

impl Container {
    /// Boots the root and waits until its systemd has started everything.
    ///
    /// # Errors
    /// Why it does not boot. Nothing of ours runs in it by then: it is this machine's doing.
    pub fn boot(root: &Path, log: &Path) -> Result<Self, Unable> {
        let told = |why: String| Unable(format!("systemd-nspawn boots no container here: {why}"));
        let managed = Path::new("/run/systemd/system").is_dir();
        let mut container = Container {
            nspawn: None,
            leader: 0,
            groups: if managed { Vec::new() } else { groups() },
        };
        let mut shell = Command::new("sh");
        shell.arg("-c");
        shell.arg("for folder in $0; do echo $$ >\"$folder/cgroup.procs\"; done; exec \"$@\"");
        let folders: Vec<_> = container
            .groups
            .iter()
            .map(|it| it.to_string_lossy())
            .collect();
        shell.arg(folders.join(" "));
        shell.args(["systemd-nspawn", "--quiet", "--boot", "--register=no"]);
        if !managed {
            shell.arg("--keep-unit");
        }
        shell
            .args(["--private-network", "--console=pipe", "--link-journal=no"])
            .args(["--resolv-conf=off", "--timezone=off"])
            .arg(format!("--machine=viaduct-{}", std::process::id()))
            .arg("--directory")
            .arg(root);
        let nspawn = Guarded::spawn_logged(&mut shell, log).map_err(told)?;
        let nspawn = container.nspawn.insert(nspawn);
        let leader = Deadline::after(PATIENCE).poll(&StopFlag::default(), || {
            if nspawn.ended().is_some() || process::interrupted() {
                return Some(None);
            }
            // Another child prepares the way, and is gone then.
            let mut children = tree::children(nspawn.id()).into_iter();
            let first = children.find(|child| is_systemd(child.pid))?;
            Some(Some(first.pid))
        });
        let Some(Some(leader)) = leader else {
            return Err(told(process::tail(log, 5)));
        };
        container.leader = leader;
        container
            .until("the end of its boot", || {
                // With an exit status when units failed: some need what a container lacks.
                let ask = "systemctl is-system-running; true";
                let state = output(container.command("sh").args(["-c", ask])).ok()?;
                matches!(state.trim(), "running" | "degraded").then_some(())
            })
            .map_err(told)?;
        Ok(container)
    }

    /// A command, to be run inside.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.leader.to_string()])
            .args([
                "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--",
            ])
            .arg(program)
            .current_dir("/");
        command
    }

    /// What `systemctl` says.
    ///
    /// # Errors
    /// What it says when it fails.
    pub fn systemctl(&self, words: &[&str]) -> Result<String, String> {
        output(self.command("systemctl").args(words)).map(|said| said.trim().to_owned())
    }

    /// A property of a unit.
    pub fn property(&self, unit: &str, name: &str) -> Result<String, String> {
        self.systemctl(&["show", "--value", "--property", name, unit])
    }

    /// The main process of a service, as the container numbers it.
    pub fn main_pid(&self, unit: &str) -> Result<String, String> {
        match self.property(unit, "MainPID")?.as_str() {
            "" | "0" => Err(format!("{unit} has no main process")),
            pid => Ok(pid.to_owned()),
        }
    }

    /// The text of a file inside, also of its /proc.
    pub fn read(&self, path: &str) -> Result<String, String> {
        output(self.command("cat").arg(path))
    }

    /// A path inside, as this machine names it.
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.leader))
    }

    /// Does something on a thread in the container's network.
    ///
    /// # Errors
    /// The kernel's, or what the work says.
    pub fn in_network<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, String> + Send,
    ) -> Result<T, String> {
        let network = fs::File::open(format!("/proc/{}/ns/net", self.leader))
            .map_err(|error| error.to_string())?;
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                use std::os::fd::AsFd;
                move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
                    .map_err(|error| format!("the container's network: {error}"))?;
                work()
            });
            let joined = thread.join();
            joined.map_err(|_| "the thread in the container's network panicked".to_owned())?
        })
    }

    /// Asks until there is something.
    ///
    /// # Errors
    /// What did not come.
    pub fn until<T>(&self, what: &str, mut probe: impl FnMut() -> Option<T>) -> Result<T, String> {
        Deadline::after(PATIENCE)
            .poll(&StopFlag::default(), || {
                if process::interrupted() {
                    return Some(None);
                }
                probe().map(Some)
            })
            .flatten()
            .ok_or_else(|| format!("{what} did not come within {} s", PATIENCE.as_secs()))
    }

    /// The last lines of its journal.
    pub fn journal(&self, units: &[&str]) -> String {
        let mut journalctl = self.command("journalctl");
        journalctl.args(["--no-pager", "--output=short-precise", "--lines=60"]);
        for unit in units {
            journalctl.args(["--unit", unit]);
        }
        output(&mut journalctl).unwrap_or_else(|problem| problem)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Ends it, and everything in it.
        drop(self.nspawn.take());
        for group in &self.groups {
            let gone = || remove(group).ok();
            let _ = Deadline::after(PATIENCE).poll(&StopFlag::default(), gone);
        }
    }
}

fn is_systemd(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "systemd")
}

/// Cgroups for the container alone: nspawn makes others below the one that it is started in, and leaves them behind.
fn groups() -> Vec<PathBuf> {
    let mounted = HIERARCHIES
        .iter()
        .map(|name| Path::new("/sys/fs/cgroup").join(name))
        .filter(|folder| folder.join("cgroup.procs").exists());
    mounted
        .map(|folder| folder.join(format!("viaduct-units-{}", std::process::id())))
        .filter(|group| fs::create_dir(group).is_ok())
        .collect()
}

/// Removes a cgroup and those below it.
fn remove(group: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(group)? {
        let path = entry?.path();
        if path.is_dir() {
            remove(&path)?;
        }
    }
    fs::remove_dir(group)
}
