//! What the kernel tells of a process, and of sockets.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::BorrowedFd;

/// Memory of a process in bytes: resident, and its share where pages are shared (`None` where that may not be read).
pub(super) fn memory(pid: u32) -> Option<(u64, Option<u64>)> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let kib = |name: &str, text: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_end_matches("kB").trim().parse::<u64>().ok()
    };
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let resident = kib("VmRSS:", &status)? * 1024;
    Some((resident, kib("Pss:", &rollup).map(|kib| kib * 1024)))
}

/// How many connections wait to be accepted on these sockets; `None` where the kernel does not say (unix sockets).
pub(crate) fn backlog<'a>(sockets: impl Iterator<Item = BorrowedFd<'a>>) -> Option<u64> {
    let mut waiting = BTreeMap::new();
    for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        waiting.extend(text.lines().filter_map(listening));
    }
    let counts = sockets.filter_map(|socket| {
        let inode = rustix::fs::fstat(socket).ok()?.st_ino;
        waiting.get(&inode).copied()
    });
    counts.fold(None, |sum, count| Some(sum.unwrap_or(0) + count))
}

/// The inode of a listening socket and its queue, from a line of the kernel's table.
fn listening(line: &str) -> Option<(u64, u64)> {
    const LISTEN: &str = "0A";
    let mut words = line.split_whitespace();
    let state = words.nth(3)?;
    let (_, queue) = words.next()?.split_once(':')?;
    let inode = words.nth(4)?;
    (state == LISTEN).then_some(())?;
    Some((inode.parse().ok()?, u64::from_str_radix(queue, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn the_kernels_table_is_read() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000003 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0";
        assert_eq!(listening(line), Some((4711, 3)));
        assert_eq!(listening(&line.replace(" 0A ", " 01 ")), None);
        assert_eq!(listening("sl local_address rem_address st"), None);
    }

    #[test]
    fn connections_that_wait_are_counted() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let _waiting = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(backlog([listener.as_fd()].into_iter()), Some(1));
        assert_eq!(backlog([].into_iter()), None);
    }

    #[test]
    fn memory_of_this_process() {
        let (resident, _) = memory(std::process::id()).unwrap();
        assert!(resident > 100_000);
    }
}
