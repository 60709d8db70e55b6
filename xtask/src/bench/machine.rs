//! What it was measured on.

use std::process::Command;

use super::Bench;
use crate::process::output;

/// Which core the servers have, and which the load.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    pub server: usize,
    pub load: usize,
}

impl Cores {
    /// Two of those that we may use; the same one twice on a machine that has no other.
    pub fn choose() -> Self {
        let allowed: Vec<usize> = rustix::thread::sched_getaffinity(None)
            .map(|set| (0..1024).filter(|&core| set.is_set(core)).collect())
            .unwrap_or_default();
        Cores {
            server: allowed.first().copied().unwrap_or(0),
            load: allowed.last().copied().unwrap_or(0),
        }
    }

    /// `program`, bound to a core.
    pub fn bound(core: usize, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("taskset");
        command.args(["-c", &core.to_string()]).arg(program);
        command
    }
}

/// The lines above the tables.
pub fn describe(bench: &Bench<'_>) -> Vec<String> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |rest| {
            rest.trim_start_matches(['\t', ' ', ':'])
        });
    let count = cpu
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let commit = output(
        Command::new("git")
            .args(["describe", "--always", "--dirty", "--abbrev=10"])
            .current_dir(&bench.workspace.root),
    )
    .unwrap_or_else(|_| "unknown".to_owned());
    let effort = &bench.effort;
    let apart = if bench.cores.server == bench.cores.load {
        " (THE SAME: this machine has one core, the figures are worth little)"
    } else {
        ""
    };
    vec![
        format!("Machine: {model}, {count} cores, Linux {}", kernel.trim()),
        format!(
            "Source: {}; {}; programs of `{}`",
            commit.trim(),
            version("rustc", "--version"),
            if bench.plain { "cargo build --release" } else { "cargo xtask release" }
        ),
        format!(
            "Servers on core {}, load and origin server on core {}{apart}; `wrk -t1 -c{} -d{}s`, {} runs of each in turn: median (least–most)",
            bench.cores.server, bench.cores.load, effort.connections, effort.seconds, effort.rounds
        ),
        "CPU: user and system time of all processes of the server; memory: their PSS behind the last run".to_owned(),
    ]
}

/// The first line that a program says about its version.
pub fn version(program: impl AsRef<std::ffi::OsStr>, option: &str) -> String {
    let Ok(output) = Command::new(program).arg(option).output() else {
        return "unknown version".to_owned();
    };
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    said.lines().next().unwrap_or("unknown version").to_owned()
}

/// A program's name with the number in what it says about its version.
pub fn label(name: &str, said: &str) -> String {
    let words: Vec<&str> = said.split([' ', '/', '(', ')']).collect();
    // edge speaks of nginx first: `nginx version: nginx/1.30.0 (edge 0.1.0)`.
    let from = words.iter().position(|word| *word == name).unwrap_or(0);
    let number = words[from..]
        .iter()
        .find(|word| word.starts_with(|first: char| first.is_ascii_digit()));
    format!("{name} {}", number.unwrap_or(&said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_found_in_what_programs_say() {
        for (name, said, wanted) in [
            (
                "edge",
                "nginx version: nginx/1.30.0 (edge 0.1.0)",
                "edge 0.1.0",
            ),
            ("nginx", "nginx version: nginx/1.22.1", "nginx 1.22.1"),
            ("appserver", "appserver (version 0.1.0)", "appserver 0.1.0"),
        ] {
            assert_eq!(label(name, said), wanted);
        }
    }
}
