//! `sd_notify(3)`: telling the service manager where the service stands.

mod message;
mod watchdog;

use std::env;
use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, sendmsg_addr, socket_with,
};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::{Address, name};
pub use message::Message;
pub use watchdog::Watchdog;

/// The variables that concern the service manager. Remove them from the environment of children that shall not speak
/// to it.
pub const NOTIFY_VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// Most descriptors that the kernel passes with one message (`SCM_MAX_FD`).
const FDS_MAX: usize = 253;
/// How long a manager that does not read may hold us up.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the service manager could not be told, or not be understood.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotifyError {
    /// `NOTIFY_SOCKET` is no address that we can send to.
    #[error(
        "NOTIFY_SOCKET is {value:?}, expected an absolute path or an abstract name that begins with \"@\"{hint}; \
         unset it if no service manager listens"
    )]
    Target {
        /// What it holds.
        value: String,
        /// More about it, or nothing.
        hint: &'static str,
    },
    /// A watchdog variable does not hold a number.
    #[error(
        "the variable {variable} is {value:?}, expected {expected}; unset it to go without a watchdog"
    )]
    Variable {
        /// Its name.
        variable: &'static str,
        /// What it holds.
        value: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// The message did not reach the socket.
    #[error("the service manager at {target} cannot be told {message:?}: {source}")]
    Send {
        /// Address of the notification socket.
        target: String,
        /// The first line of the message.
        message: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The manager did not confirm a barrier in time.
    #[error("the service manager at {target} did not read the notifications within {waited:?}")]
    Barrier {
        /// Address of the notification socket.
        target: String,
        /// How long we waited.
        waited: Duration,
    },
    /// A name for stored descriptors breaks the rules.
    #[error("{name:?} cannot name a stored descriptor: {reason}")]
    Name {
        /// The name.
        name: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
}

/// The way to the service manager; goes nowhere when there is none, so callers need not care.
///
/// Each call sends one datagram from a socket of its own, so it works after a fork, after `setuid`, and in any thread.
#[derive(Clone, Debug)]
pub struct Notifier {
    target: Option<(Address, SocketAddrUnix)>,
}

impl Notifier {
    /// To the socket that `NOTIFY_SOCKET` names; to nobody when it is not set.
    ///
    /// # Errors
    /// [`NotifyError::Target`] when it is no absolute path and no abstract name.
    pub fn from_env() -> Result<Self, NotifyError> {
        Self::from_variable(env::var_os("NOTIFY_SOCKET"))
    }

    fn from_variable(value: Option<OsString>) -> Result<Self, NotifyError> {
        let Some(value) = value.filter(|value| !value.is_empty()) else {
            return Ok(Self::nobody());
        };
        let fault = |hint| NotifyError::Target {
            value: value.to_string_lossy().into_owned(),
            hint,
        };
        let text = value.to_str().ok_or_else(|| fault(" in UTF-8"))?;
        if text.starts_with("vsock") {
            return Err(fault(" (notification over vsock is not supported)"));
        }
        if !text.starts_with(['/', '@']) || text.len() < 2 {
            return Err(fault(""));
        }
        Self::to(text.parse().map_err(|_| fault(" of at most 107 bytes"))?)
    }

    /// To a socket of the caller's choice.
    ///
    /// # Errors
    /// [`NotifyError::Target`] when `address` is no unix address.
    pub fn to(address: Address) -> Result<Self, NotifyError> {
        match address.to_unix() {
            Ok(Some(unix)) => Ok(Self {
                target: Some((address, unix)),
            }),
            _ => Err(NotifyError::Target {
                value: address.to_string(),
                hint: "",
            }),
        }
    }

    /// To nobody: every call succeeds and does nothing.
    #[must_use]
    pub fn nobody() -> Self {
        Self { target: None }
    }

    /// Does somebody listen?
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.target.is_some()
    }

    /// `READY=1`: the service has started, or has finished reloading.
    ///
    /// # Errors
    /// [`NotifyError::Send`]; as all following methods.
    pub fn ready(&self) -> Result<(), NotifyError> {
        self.send(&Message::new().ready())
    }

    /// `RELOADING=1` with the `MONOTONIC_USEC` that `Type=notify-reload` asks for. Say [`ready`](Self::ready) after it.
    ///
    /// # Errors
    /// [`NotifyError::Send`].
    pub fn reloading(&self) -> Result<(), NotifyError> {
        self.send(&Message::new().reloading())
    }

    /// `STOPPING=1`: the service is going down.
    ///
    /// # Errors
    /// [`NotifyError::Send`].
    pub fn stopping(&self) -> Result<(), NotifyError> {
        self.send(&Message::new().stopping())
    }

    /// `STATUS=…`: one line for people who type `systemctl status`.
    ///
    /// # Errors
    /// [`NotifyError::Send`].
    pub fn status(&self, text: &str) -> Result<(), NotifyError> {
        self.send(&Message::new().status(text))
    }

    /// `MAINPID=…`: another process is the service's main one from now on.
    ///
    /// # Errors
    /// [`NotifyError::Send`].
    pub fn main_pid(&self, pid: u32) -> Result<(), NotifyError> {
        self.send(&Message::new().main_pid(pid))
    }

    /// `ERRNO=…`: the service failed, in the manner of `errno(3)`.
    ///
    /// # Errors
    /// [`NotifyError::Send`].
    pub fn errno(&self, errno: i32) -> Result<(), NotifyError> {
        self.send(&Message::new().errno(errno))
    }

    /// `WATCHDOG=1`: still alive. See [`Watchdog`].
    ///
    /// # Errors
    /// [`NotifyError::Send`].
    pub fn watchdog(&self) -> Result<(), NotifyError> {
        self.send(&Message::new().watchdog())
    }

    /// `EXTEND_TIMEOUT_USEC=…`: starting, reloading or stopping takes this much longer from now.
    ///
    /// # Errors
    /// [`NotifyError::Send`].
    pub fn extend_timeout(&self, by: Duration) -> Result<(), NotifyError> {
        self.send(&Message::new().extend_timeout(by))
    }

    /// `FDSTORE=1`: the manager keeps copies of `fds` and hands them to the next process of this service
    /// (`FileDescriptorStoreMax=`), under `name`, beside its sockets. More than 253 are sent in several messages.
    ///
    /// # Errors
    /// [`NotifyError::Name`], [`NotifyError::Send`].
    pub fn store(&self, name: &str, fds: &[BorrowedFd<'_>]) -> Result<(), NotifyError> {
        let message = Message::new().store(checked(name)?);
        fds.chunks(FDS_MAX)
            .try_for_each(|some| self.send_with_fds(&message, some))
    }

    /// `FDSTOREREMOVE=1`: the manager closes its copies of what was stored under `name`.
    ///
    /// # Errors
    /// [`NotifyError::Name`], [`NotifyError::Send`].
    pub fn unstore(&self, name: &str) -> Result<(), NotifyError> {
        self.send(&Message::new().unstore(checked(name)?))
    }

    /// `BARRIER=1`: returns when the manager has dealt with everything that was sent before.
    ///
    /// # Errors
    /// [`NotifyError::Barrier`] after `timeout`, [`NotifyError::Send`].
    pub fn barrier(&self, timeout: Duration) -> Result<(), NotifyError> {
        let Some((address, _)) = &self.target else {
            return Ok(());
        };
        let message = Message::new().barrier();
        let (ours, theirs) =
            pipe_with(PipeFlags::CLOEXEC).map_err(|errno| self.fault(&message, errno))?;
        self.send_with_fds(&message, &[theirs.as_fd()])?;
        drop(theirs); // now only the manager holds the other end, and closes it when it comes to our message
        if hung_up(&ours, timeout).map_err(|errno| self.fault(&message, errno))? {
            return Ok(());
        }
        Err(NotifyError::Barrier {
            target: address.to_string(),
            waited: timeout,
        })
    }

    /// Sends several assignments in one datagram.
    ///
    /// # Errors
    /// [`NotifyError::Send`].
    pub fn send(&self, message: &Message) -> Result<(), NotifyError> {
        self.send_with_fds(message, &[])
    }

    /// Sends assignments together with descriptors, at most 253.
    ///
    /// # Errors
    /// [`NotifyError::Send`].
    pub fn send_with_fds(
        &self,
        message: &Message,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), NotifyError> {
        let Some((_, unix)) = &self.target else {
            return Ok(());
        };
        send(unix, message.as_bytes(), fds).map_err(|errno| self.fault(message, errno))
    }

    fn fault(&self, message: &Message, errno: Errno) -> NotifyError {
        NotifyError::Send {
            target: self
                .target
                .as_ref()
                .map(|(address, _)| address.to_string())
                .unwrap_or_default(),
            message: message.first_line(),
            source: errno.into(),
        }
    }
}

fn checked(name: &str) -> Result<&str, NotifyError> {
    match name::fault(name) {
        None => Ok(name),
        Some(reason) => Err(NotifyError::Name {
            name: name.to_owned(),
            reason,
        }),
    }
}

fn send(target: &SocketAddrUnix, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    set_socket_timeout(&socket, Timeout::Send, Some(SEND_TIMEOUT))?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::TOOMANYREFS);
    }
    loop {
        let parts = [IoSlice::new(bytes)];
        match sendmsg_addr(&socket, target, &parts, &mut control, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            done => return done.map(drop),
        }
    }
}

/// Waits until every other end of the pipe is closed; `false` when the time is over before.
fn hung_up(pipe: &OwnedFd, timeout: Duration) -> Result<bool, Errno> {
    let start = Instant::now();
    loop {
        let left = timeout.saturating_sub(start.elapsed());
        let timespec = rustix::event::Timespec::try_from(left).ok();
        let mut fds = [PollFd::new(pipe, PollFlags::empty())];
        match poll(&mut fds, timespec.as_ref()) {
            Ok(0) if start.elapsed() >= timeout => return Ok(false),
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(value: &str) -> Result<Notifier, NotifyError> {
        Notifier::from_variable(Some(value.into()))
    }

    #[test]
    fn nobody_listens_when_the_variable_is_missing_or_empty() {
        for value in [None, Some(OsString::new())] {
            let notifier = Notifier::from_variable(value).unwrap();
            assert!(!notifier.is_connected());
            notifier.ready().unwrap();
            notifier.barrier(Duration::ZERO).unwrap();
        }
    }

    #[test]
    fn refuses_targets_that_it_cannot_reach_and_says_which_it_can() {
        for value in [
            "relative",
            "/",
            "@",
            "vsock:2:9999",
            &format!("/{}", "x".repeat(107)),
        ] {
            let words = from(value).unwrap_err().to_string();
            assert!(
                words.contains("NOTIFY_SOCKET") && words.contains("abstract name"),
                "{words}"
            );
        }
        assert!(
            from("vsock:2:1")
                .unwrap_err()
                .to_string()
                .contains("vsock is not supported")
        );
        assert!(from("@name").unwrap().is_connected());
    }

    #[test]
    fn a_missing_socket_is_named_with_what_was_to_be_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gone");
        let words = from(path.to_str().unwrap())
            .unwrap()
            .ready()
            .unwrap_err()
            .to_string();
        assert!(
            words.contains("READY=1") && words.contains("gone"),
            "{words}"
        );
    }
}
