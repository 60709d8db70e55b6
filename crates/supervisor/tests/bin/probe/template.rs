//! A process that forks workers on request. They are orphaned at once, so that they become children of the master.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use serde::{Deserialize, Serialize};
use socket_activation::Sockets;
use supervisor::{Channel, ChannelError, Kit, Link};

/// What the master asks of the template; kit and listener come along.
#[derive(Debug, Serialize, Deserialize)]
pub struct Fork {
    pub worker: u64,
    pub generation: u32,
}

/// What the template answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Forked {
    pub worker: u64,
    pub pid: i32,
}

pub fn run(arguments: &[String]) -> i32 {
    let mut sockets = Sockets::take().unwrap();
    let mut channel = Channel::from_fd(sockets.take_named("template").unwrap().into_fd()).unwrap();
    loop {
        let received = match channel.receive::<Fork>() {
            Ok(received) => received,
            Err(ChannelError::Closed) => return 0,
            Err(error) => panic!("{error}"),
        };
        let mut fds = received.fds.into_iter();
        let (Some(kit), Some(board), Some(listener)) = (fds.next(), fds.next(), fds.next()) else {
            panic!("descriptors are missing")
        };
        let kit = Kit {
            channel: kit,
            board,
        };
        channel = match fork_worker(channel, received.message, kit, listener, &arguments[0]) {
            Ok(channel) => channel,
            Err(code) => return code,
        };
    }
}

/// Gives the channel back in the template; in the worker, its exit code.
///
/// The worker goes on when the gate closes: by then the process between is collected, so that the master is its parent, and the
/// master has been told its number.
fn fork_worker(
    channel: Channel,
    fork: Fork,
    kit: Kit,
    listener: OwnedFd,
    manners: &str,
) -> Result<Channel, i32> {
    let (mut gate, held) = std::io::pipe().unwrap();
    let (mut number, mut telling) = std::io::pipe().unwrap();
    // SAFETY: the template has one thread.
    let middle = unsafe { libc::fork() };
    if middle > 0 {
        drop(telling);
        let mut pid = [0; size_of::<i32>()];
        number.read_exact(&mut pid).unwrap();
        let mut status = 0;
        // SAFETY: waits for the child made above.
        while unsafe { libc::waitpid(middle, &mut status, 0) } < 0 {}
        let forked = Forked {
            worker: fork.worker,
            pid: i32::from_ne_bytes(pid),
        };
        // A master that is gone does not want to know.
        let _ = channel.send(&forked, &[]);
        drop(held);
        return Ok(channel);
    }
    // SAFETY: this process has one thread.
    let worker = unsafe { libc::fork() };
    if worker > 0 {
        let told = telling.write_all(&worker.to_ne_bytes());
        // SAFETY: ends the process between template and worker.
        unsafe { libc::_exit(i32::from(told.is_err())) };
    }
    drop((held, number, telling));
    // Open in the worker, it would hide the template's end from the master.
    drop(channel);
    gate.read_to_end(&mut Vec::new()).unwrap();
    let link = Link::from_kit(kit).unwrap();
    Err(super::worker::run(
        link,
        UnixListener::from(listener),
        manners,
        fork.generation,
    ))
}
