//! Did the kernel's out-of-memory killer strike in our cgroup? Then a SIGKILL out of the blue has an explanation.

use std::fs;
use std::path::{Path, PathBuf};

/// Watches the counter of OOM kills of this process' cgroup (version 2 or 1).
#[derive(Debug)]
pub struct OomWatch {
    file: Option<PathBuf>,
    seen: u64,
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
        Self { file, seen }
    }

    /// Have processes of the cgroup been killed for lack of memory since the last call?
    pub fn struck(&mut self) -> bool {
        let Some(now) = self.file.as_deref().and_then(read) else {
            return false;
        };
        let struck = now > self.seen;
        self.seen = now;
        struck
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
            assert!(!watch.struck(), "{groups}");
            fs::write(&file, "oom 3\noom_kill 2\n").unwrap();
            assert!(watch.struck(), "{groups}");
            assert!(!watch.struck(), "{groups}");
            fs::remove_file(&file).unwrap();
            assert!(!watch.struck(), "{groups}");
        }
    }

    #[test]
    fn no_cgroup_means_no_hint() {
        assert!(!OomWatch::below(Path::new("/nonexistent"), "0::/x").struck());
        OomWatch::new().struck();
    }
}
