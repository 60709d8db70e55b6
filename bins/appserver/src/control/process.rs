//! What the kernel tells of a process, and of sockets.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::BorrowedFd;

use rustix::net::sockopt::socket_domain;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

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

/// How many connections wait to be accepted on these sockets; `None` where the kernel says it of none of them.
pub(crate) fn backlog<'a>(sockets: impl Iterator<Item = BorrowedFd<'a>>) -> Option<u64> {
    let mut tables = None;
    let counts = sockets.filter_map(|socket| {
        let inode = rustix::fs::fstat(socket).ok()?.st_ino;
        match socket_domain(socket).ok()? {
            AddressFamily::UNIX => unix_backlog(inode).ok().flatten(),
            _ => tables.get_or_insert_with(tcp_backlogs).get(&inode).copied(),
        }
    });
    counts.fold(None, |sum, count| Some(sum.unwrap_or(0) + count))
}

/// The queues of all listening TCP sockets, by their inodes.
fn tcp_backlogs() -> BTreeMap<u64, u64> {
    let mut waiting = BTreeMap::new();
    for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        waiting.extend(text.lines().filter_map(listening));
    }
    waiting
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

/// The queue of a listening unix socket, which only sock_diag(7) tells. Everybody may ask; not every kernel has it.
fn unix_backlog(inode: u64) -> std::io::Result<Option<u64>> {
    let Ok(inode) = u32::try_from(inode) else {
        return Ok(None);
    };
    let kernel = net::socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(net::netlink::SOCK_DIAG),
    )?;
    net::send(&kernel, &unix_question(inode), SendFlags::empty())?;
    let mut answer = [0; 1024];
    // It was made while the question was sent.
    let (length, _) = net::recv(&kernel, &mut answer[..], RecvFlags::DONTWAIT)?;
    Ok(unix_answer(&answer[..length]))
}

const DIAG_BY_FAMILY: u16 = 20;
const NETLINK_HEAD: usize = 16;

/// `struct nlmsghdr` and `struct unix_diag_req`: the length of the queue (`UDIAG_SHOW_RQLEN`) of the socket with this inode.
fn unix_question(inode: u32) -> [u8; 40] {
    const REQUEST: u16 = 1;
    const SHOW_QUEUE: u32 = 0x10;
    const ANY_STATE: u32 = u32::MAX;
    const ANY_COOKIE: [u8; 8] = [u8::MAX; 8];
    let mut question = [0; 40];
    question[..4].copy_from_slice(&40_u32.to_ne_bytes());
    question[4..6].copy_from_slice(&DIAG_BY_FAMILY.to_ne_bytes());
    question[6..8].copy_from_slice(&REQUEST.to_ne_bytes());
    question[16] = AddressFamily::UNIX.as_raw() as u8;
    question[20..24].copy_from_slice(&ANY_STATE.to_ne_bytes());
    question[24..28].copy_from_slice(&inode.to_ne_bytes());
    question[28..32].copy_from_slice(&SHOW_QUEUE.to_ne_bytes());
    question[32..].copy_from_slice(&ANY_COOKIE);
    question
}

/// The first number of the attribute `UNIX_DIAG_RQLEN`: connections that wait.
fn unix_answer(answer: &[u8]) -> Option<u64> {
    const SOCKET: usize = 16;
    const QUEUE: u16 = 4;
    let half = |at: &[u8]| Some(u16::from_ne_bytes(at.get(..2)?.try_into().ok()?));
    let word = |at: &[u8]| Some(u32::from_ne_bytes(at.get(..4)?.try_into().ok()?));
    let length = word(answer)? as usize;
    if half(answer.get(4..)?)? != DIAG_BY_FAMILY {
        return None;
    }
    let mut attributes = answer.get(NETLINK_HEAD + SOCKET..length)?;
    loop {
        let (length, kind) = (half(attributes)?, half(attributes.get(2..)?)?);
        if kind == QUEUE {
            return word(attributes.get(4..)?).map(u64::from);
        }
        attributes = attributes.get(usize::from(length).max(4).next_multiple_of(4)..)?;
    }
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
    fn connections_that_wait_at_unix_sockets_are_counted() {
        let folder = testkit::TempPrefix::new().unwrap();
        let path = folder.join("a.sock");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let inode = rustix::fs::fstat(&listener).unwrap().st_ino;
        if let Err(error) = unix_backlog(inode) {
            println!("skipped: this kernel has no sock_diag: {error}");
            return;
        }
        let count = || backlog([listener.as_fd()].into_iter());
        assert_eq!(count(), Some(0));
        let connect = || std::os::unix::net::UnixStream::connect(&path).unwrap();
        let _waiting = [connect(), connect()];
        assert_eq!(count(), Some(2));
        listener.accept().unwrap();
        assert_eq!(count(), Some(1));
    }

    #[test]
    fn answers_of_the_kernel_are_read_whatever_they_are() {
        let mut answer = vec![0; 16 + 16];
        answer[4..6].copy_from_slice(&DIAG_BY_FAMILY.to_ne_bytes());
        let mut attribute = |kind: u16, value: &[u8]| {
            answer.extend((4 + value.len() as u16).to_ne_bytes());
            answer.extend(kind.to_ne_bytes());
            answer.extend(value);
            answer.resize(answer.len().next_multiple_of(4), 0);
            let length = answer.len() as u32;
            answer[..4].copy_from_slice(&length.to_ne_bytes());
            answer.clone()
        };
        let shutdown = attribute(6, &[0]);
        assert_eq!(unix_answer(&shutdown), None);
        let whole = attribute(4, &[7_u32.to_ne_bytes(), 128_u32.to_ne_bytes()].concat());
        assert_eq!(unix_answer(&whole), Some(7));
        for end in 0..whole.len() {
            assert_eq!(unix_answer(&whole[..end]), None, "cut after {end} bytes");
        }
        let mut fault = whole;
        fault[4..6].copy_from_slice(&2_u16.to_ne_bytes());
        assert_eq!(unix_answer(&fault), None);
    }

    #[test]
    fn memory_of_this_process() {
        let (resident, _) = memory(std::process::id()).unwrap();
        assert!(resident > 100_000);
    }
}
