//! The processes below one: who they are, what they have cost, what memory they hold. Read from `/proc`.

use std::collections::HashMap;
use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// A process as `/proc/PID/stat` describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    pub parent: u32,
    /// One letter; `Z` has ended already.
    pub state: char,
    /// Clock ticks of its own and of its children that have ended, in user mode and in the kernel.
    pub ticks: u64,
    /// The priority that it asks for: the higher, the lower.
    pub nice: i64,
    /// When it started, in ticks since boot: tells it from a later one with its id.
    pub started: u64,
}

impl Process {
    /// The process with this id.
    pub fn read(pid: u32) -> Option<Self> {
        parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Its arguments, with spaces between them.
    pub fn command_line(&self) -> String {
        let bytes = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        String::from_utf8_lossy(&bytes)
            .replace('\0', " ")
            .trim()
            .to_owned()
    }

    /// Whether it still runs.
    pub fn still_the_same(&self) -> bool {
        Process::read(self.pid).is_some_and(|now| now.started == self.started && now.state != 'Z')
    }
}

fn parse(stat: &str) -> Option<Process> {
    // The name, in parentheses, may hold anything.
    let (pid, rest) = stat.split_once(" (")?;
    let (_, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Process {
        pid: pid.parse().ok()?,
        state: fields.first()?.chars().next()?,
        parent: number(1)? as u32,
        // utime, stime, cutime, cstime: fields 14 to 17 of proc(5), which counts pid as 1
        ticks: (11..15).map(number).sum::<Option<u64>>()?,
        nice: fields.get(16)?.parse().ok()?,
        started: number(19)?,
    })
}

/// Everything that runs below a process, without those that have ended and wait to be noticed.
pub fn descendants(root: u32) -> Vec<Process> {
    let mut children: HashMap<u32, Vec<Process>> = HashMap::new();
    for process in all() {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found = Vec::new();
    let mut waiting = vec![root];
    while let Some(parent) = waiting.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            waiting.push(child.pid);
            found.push(child);
        }
    }
    found.retain(|process| process.state != 'Z');
    found
}

/// The children of a process that run.
pub fn children(parent: u32) -> Vec<Process> {
    all()
        .filter(|process| process.parent == parent && process.state != 'Z')
        .collect()
}

/// The children of a process that have ended and wait to be noticed.
pub fn ended_children(parent: u32) -> Vec<u32> {
    all()
        .filter(|process| process.parent == parent && process.state == 'Z')
        .map(|process| process.pid)
        .collect()
}

fn all() -> impl Iterator<Item = Process> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(Process::read)
}

/// A process and everything below it.
pub fn whole(root: u32) -> Vec<Process> {
    let mut processes = descendants(root);
    processes.extend(Process::read(root).filter(|process| process.state != 'Z'));
    processes
}

/// CPU time of a process and everything below it, in microseconds; what has ended and was noticed counts too.
pub fn cpu_us(root: u32) -> u64 {
    let ticks: u64 = whole(root).iter().map(|process| process.ticks).sum();
    ticks * 1_000_000 / rustix::param::clock_ticks_per_second()
}

/// How long a process and all its threads have worked, in nanoseconds; where the kernel does not count them, as exactly as ticks are.
pub fn worked_ns(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten();
    let counted: Option<u64> = tasks
        .map(|task| {
            let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        })
        .sum();
    counted.filter(|&counted| counted > 0).unwrap_or_else(|| {
        let ticks = Process::read(pid).map_or(0, |process| process.ticks);
        ticks * 1_000_000_000 / rustix::param::clock_ticks_per_second()
    })
}

/// Proportional share of memory (PSS) of a process and everything below it, in KiB.
pub fn pss_kib(root: u32) -> u64 {
    whole(root)
        .iter()
        .filter_map(|process| {
            let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", process.pid)).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
        })
        .sum()
}

/// Sends a signal to one process.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_name_with_spaces_and_parentheses() {
        let stat = "42 (a ) b) S 7 42 42 0 -1 4194304 9 0 0 0 10 20 3 4 20 0 1 0 555 1 2 3";
        let process = parse(stat).expect("a process");
        assert_eq!((process.pid, process.parent, process.state), (42, 7, 'S'));
        assert_eq!((process.ticks, process.started), (37, 555));
    }

    #[test]
    fn finds_itself() {
        let own = Process::read(std::process::id()).expect("runs");
        assert!(own.still_the_same());
        assert!(
            whole(own.parent)
                .iter()
                .any(|process| process.pid == own.pid)
        );
        assert!(pss_kib(own.pid) > 0);
    }
}
