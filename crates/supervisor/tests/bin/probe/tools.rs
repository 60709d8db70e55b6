//! Pieces that change the process for good, so that they cannot be tested inside the test's own process.

use supervisor::pidfile::PidFile;
use supervisor::privileges::{Groups, Identity};
use supervisor::process::{Daemon, daemonize, set_umask};

/// Becomes a user and a group and tells what is left.
pub fn become_another(arguments: &[String]) -> i32 {
    let [user, group] = arguments else {
        panic!("become USER GROUP")
    };
    let identity = Identity::lookup(Some(user), Some(group), &Groups::OfUser).unwrap();
    let thread = std::thread::spawn(|| {
        std::thread::park();
        status_lines()
    });
    identity.assume().unwrap();
    println!("{}", status_lines());
    thread.thread().unpark();
    println!("{}", thread.join().unwrap());
    println!("{:?}", rustix::process::dumpable_behavior().unwrap());
    supervisor::process::allow_core_files().unwrap();
    println!("{:?}", rustix::process::dumpable_behavior().unwrap());
    println!("again: {}", identity.assume().is_ok());
    let root = Identity::lookup(Some("root"), Some("root"), &Groups::PrimaryOnly).unwrap();
    println!("back: {}", root.assume().unwrap_err());
    0
}

/// Users and groups of the calling thread, as the kernel sees them.
fn status_lines() -> String {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let lines: Vec<_> = status
        .lines()
        .filter(|line| {
            ["Uid:", "Gid:", "Groups:"]
                .iter()
                .any(|start| line.starts_with(start))
        })
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    lines.join(" | ")
}

/// Becomes a daemon that writes its pid file and ends when a file appears.
pub fn daemon(arguments: &[String]) -> i32 {
    let [pid_file, until, code] = arguments else {
        panic!("daemon PIDFILE UNTIL CODE")
    };
    set_umask(0o027);
    let waiting = daemonize(Daemon {
        keep_stdout: false,
        keep_stderr: false,
        wait: true,
    })
    .unwrap();
    println!("nobody reads this");
    let file = PidFile::create(pid_file).unwrap();
    waiting.release(code.parse().unwrap());
    while !std::path::Path::new(until).exists() {
        std::thread::yield_now();
    }
    drop(file);
    0
}
