//! Did the kernel's out-of-memory killer strike in our cgroup? Then a SIGKILL out of the blue has an explanation.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long after the killer struck an end may be put down to it.
const MEMORY: Duration = Duration::from_secs(10);
/// Most strikes that are remembered.
const STRIKES_MAX: usize = 256;

/// Watches the counter of OOM kills of this process' cgroup (version 2 or 1).
#[derive(Debug)]
pub struct OomWatch {
    file: Option<PathBuf>,
    seen: u64,
    /// When the killer struck, as far as nobody has claimed it.
    strikes: VecDeque<Instant>,
}

impl OomWatch {
    /// Looks for the cgroup of this process. Where there is none, it never sees anything.
    #[must_use]
    pub fn new() -> Self {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::below(Path::new("/sys/fs/cgroup"), &groups)
    }

    fn below(root: &Path, groups: &str) -> Self {
        let file = candidates(root, groups)
            .into_iter()
            .find(|file| read(file).is_some());
        let seen = file.as_deref().and_then(read).unwrap_or(0);
        Self {
            file,
            seen,
            strikes: VecDeque::new(),
        }
    }

    /// Reads the counter. To be called now and then, so that what happened long ago, to processes that are none of the caller's,
    /// explains nothing later.
    pub fn look(&mut self, now: Instant) {
        let Some(count) = self.file.as_deref().and_then(read) else {
            return;
        };
        let more = count.saturating_sub(self.seen).min(STRIKES_MAX as u64);
        self.seen = count;
        self.strikes.extend((0..more).map(|_| now));
        let old = |at: &Instant| now.duration_since(*at) > MEMORY;
        while self.strikes.front().is_some_and(old) || self.strikes.len() > STRIKES_MAX {
            self.strikes.pop_front();
        }
    }

    /// A process was killed by SIGKILL, and not by the caller: for lack of memory? Each strike explains one end.
    pub fn claim(&mut self, now: Instant) -> bool {
        self.look(now);
        self.strikes.pop_front().is_some()
    }
}

impl Default for OomWatch {
    fn default() -> Self {
        Self::new()
    }
}

/// Where the counter may be: under the path of the cgroup, or at the root when a container sees its own as the root.
fn candidates(root: &Path, groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let path = path.trim_start_matches('/');
        if controllers.is_empty() {
            for root in [root.to_path_buf(), root.join("unified")] {
                files.extend([
                    root.join(path).join("memory.events"),
                    root.join("memory.events"),
                ]);
            }
        } else if controllers
            .split(',')
            .any(|controller| controller == "memory")
        {
            let root = root.join("memory");
            files.extend([
                root.join(path).join("memory.oom_control"),
                root.join("memory.oom_control"),
            ]);
        }
    }
    files
}

/// The line `oom_kill N`.
fn read(file: &Path) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rising_counter_is_noticed_once() {
        let now = Instant::now();
        let root = tempfile::tempdir().unwrap();
        for (groups, file) in [
            (
                "0::/app.slice/web.service\n",
                "app.slice/web.service/memory.events",
            ),
            ("0::/nowhere/visible\n", "memory.events"),
            (
                "5:cpu:/x\n4:memory:/docker/1\n0::/\n",
                "memory/docker/1/memory.oom_control",
            ),
        ] {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, "oom 0\noom_kill 1\n").unwrap();
            let mut watch = OomWatch::below(root.path(), groups);
            assert!(!watch.claim(now), "{groups}");
            fs::write(&file, "oom 3\noom_kill 2\n").unwrap();
            assert!(watch.claim(now), "{groups}");
            assert!(!watch.claim(now), "{groups}");
            fs::remove_file(&file).unwrap();
            assert!(!watch.claim(now), "{groups}");
        }
    }

    #[test]
    fn each_strike_explains_one_end_and_only_for_a_while() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("memory.events");
        let set = |count: u64| fs::write(&file, format!("oom_kill {count}\n")).unwrap();
        set(5);
        let mut watch = OomWatch::below(root.path(), "0::/\n");
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        set(7);
        watch.look(at(0));
        assert!(watch.claim(at(1)));
        assert!(watch.claim(at(2)));
        assert!(!watch.claim(at(2)));
        set(8);
        watch.look(at(3));
        assert!(!watch.claim(at(20)), "it was long ago");
        // A counter that is another's, or began anew.
        set(0);
        assert!(!watch.claim(at(21)));
        set(u64::MAX);
        assert!(watch.claim(at(22)));
    }

    #[test]
    fn no_cgroup_means_no_hint() {
        let now = Instant::now();
        assert!(!OomWatch::below(Path::new("/nonexistent"), "0::/x").claim(now));
        OomWatch::new().claim(now);
    }
}
