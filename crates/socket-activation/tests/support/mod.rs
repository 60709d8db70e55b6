//! A notification socket of our own, and the probe.

#![allow(dead_code, reason = "each test file uses its part")]

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use rustix::io::retry_on_intr;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use socket_activation::Successor;

pub const PROBE: &str = env!("CARGO_BIN_EXE_socket-activation-probe");

/// Plays the service manager: receives notifications.
pub struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    pub fn at(path: &Path) -> Self {
        Self::with(UnixDatagram::bind(path).unwrap())
    }

    /// In the abstract namespace, under the name of a path that nobody else uses.
    pub fn hidden(name: &Path) -> Self {
        let address = SocketAddr::from_abstract_name(name.as_os_str().as_encoded_bytes()).unwrap();
        Self::with(UnixDatagram::bind_addr(&address).unwrap())
    }

    fn with(socket: UnixDatagram) -> Self {
        // So that a message that never comes fails the test instead of hanging it.
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Self { socket }
    }

    /// The next datagram with what came along.
    pub fn receive(&self) -> (String, Vec<OwnedFd>) {
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let used = retry_on_intr(|| recvmsg(&self.socket, &mut parts, &mut control, flags))
            .unwrap()
            .bytes;
        let fds = control
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(fds) => Some(fds),
                _ => None,
            })
            .flatten()
            .collect();
        (String::from_utf8(bytes[..used].to_vec()).unwrap(), fds)
    }

    pub fn text(&self) -> String {
        self.receive().0
    }
}

/// Starts the probe with a task; its output is read.
pub fn probe(task: &str) -> Successor {
    Successor::new(PROBE)
        .arg(task)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
}

pub fn output(child: Child) -> String {
    text(&child.wait_with_output().unwrap())
}

pub fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}
