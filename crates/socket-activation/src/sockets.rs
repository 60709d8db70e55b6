//! The announced sockets of this process, taken once.

use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{Errno, FdFlags, fcntl_getfd};

use crate::environment::{self, Absence, LISTEN_VARIABLES, TakeError};
use crate::{Address, FIRST_FD, Socket};

/// Whether the descriptors have an owner already.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The sockets that `LISTEN_FDS` announces, each to be taken out by name, by index or by address.
///
/// What is never taken out is closed when this is dropped.
#[derive(Debug)]
pub struct Sockets {
    sockets: Vec<Socket>,
    absence: Option<Absence>,
}

impl Sockets {
    /// Takes ownership of the announced sockets: call it at the start of `main`, before anything is opened.
    ///
    /// No sockets is no error: the result is empty and [`Sockets::absence`] says why. The variables stay as they
    /// are, which is harmless: `LISTEN_PID` names this process only. Who wants them gone uses
    /// [`Sockets::take_and_unset`], or `Command::env_remove` with [`LISTEN_VARIABLES`] for a child.
    ///
    /// # Errors
    /// [`TakeError::TakenBefore`] the second time; the other variants when the announcement is false. Then nothing is
    /// taken.
    pub fn take() -> Result<Self, TakeError> {
        if TAKEN.swap(true, Ordering::SeqCst) {
            return Err(TakeError::TakenBefore);
        }
        let announcement = match environment::read()? {
            Ok(announcement) => announcement,
            Err(absence) => {
                return Ok(Self {
                    sockets: Vec::new(),
                    absence: Some(absence),
                });
            }
        };
        let fds = announcement.fds;
        for fd in (FIRST_FD..).take(fds) {
            check_inherited(fd, fds)?;
        }
        let mut sockets = Vec::with_capacity(fds);
        for (index, (fd, name)) in (FIRST_FD..).zip(announcement.into_names()).enumerate() {
            // SAFETY: `fd` is open (checked above) and came through exec, because it lacks the close-on-exec mark
            // that everything opened by Rust code carries; the announcement makes it ours, and `TAKEN` makes sure
            // that no second owner comes out of here.
            let owned = unsafe { OwnedFd::from_raw_fd(fd) };
            let socket = Socket::examine(index, name, owned)
                .map_err(|source| TakeError::Examine { fd, source })?;
            sockets.push(socket);
        }
        Ok(Self {
            sockets,
            absence: None,
        })
    }

    /// Like [`Sockets::take`], and removes the variables from the environment, also when it fails.
    ///
    /// # Errors
    /// As [`Sockets::take`].
    ///
    /// # Safety
    /// No other thread may read or write the environment meanwhile ([`std::env::remove_var`]): call it before any
    /// thread is started.
    pub unsafe fn take_and_unset() -> Result<Self, TakeError> {
        let taken = Self::take();
        for variable in LISTEN_VARIABLES {
            // SAFETY: the caller promises that no other thread uses the environment.
            unsafe { std::env::remove_var(variable) };
        }
        taken
    }

    /// A set made of descriptors that came another way: in tests, or over a unix socket.
    ///
    /// # Errors
    /// When a descriptor cannot be examined.
    pub fn from_fds(
        fds: impl IntoIterator<Item = (String, OwnedFd)>,
    ) -> Result<Self, std::io::Error> {
        let sockets: Result<Vec<_>, _> = fds
            .into_iter()
            .enumerate()
            .map(|(index, (name, fd))| Socket::examine(index, name, fd))
            .collect();
        Ok(Self {
            sockets: sockets?,
            absence: None,
        })
    }

    /// Why nothing was announced; `None` when something was.
    #[must_use]
    pub fn absence(&self) -> Option<&Absence> {
        self.absence.as_ref()
    }

    /// How many are left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Is none left?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Those that are left, in the announced order.
    pub fn iter(&self) -> impl Iterator<Item = &Socket> {
        self.sockets.iter()
    }

    /// Takes out the socket at `index` of the announcement (descriptor `index + 3`).
    pub fn take_index(&mut self, index: usize) -> Option<Socket> {
        self.take_first(|socket| socket.index() == index)
    }

    /// Takes out the first socket with this name.
    pub fn take_named(&mut self, name: &str) -> Option<Socket> {
        self.take_first(|socket| socket.name() == name)
    }

    /// Takes out every socket with this name: a `.socket` unit with several `Listen…=` lines gives all the same one.
    pub fn take_all_named(&mut self, name: &str) -> Vec<Socket> {
        self.sockets
            .extract_if(.., |socket| socket.name() == name)
            .collect()
    }

    /// Takes out the first *listening* stream socket that is bound to this address, exactly.
    pub fn take_listener(&mut self, address: &Address) -> Option<Socket> {
        self.take_first(|socket| socket.is_listener() && socket.address() == address)
    }

    /// Takes out the first socket of any kind that is bound to this address, exactly.
    pub fn take_address(&mut self, address: &Address) -> Option<Socket> {
        self.take_first(|socket| socket.address() == address)
    }

    fn take_first(&mut self, wanted: impl Fn(&Socket) -> bool) -> Option<Socket> {
        let place = self.sockets.iter().position(wanted)?;
        Some(self.sockets.remove(place))
    }
}

impl IntoIterator for Sockets {
    type Item = Socket;
    type IntoIter = std::vec::IntoIter<Socket>;

    fn into_iter(self) -> Self::IntoIter {
        self.sockets.into_iter()
    }
}

pub(crate) fn check_inherited(fd: i32, fds: usize) -> Result<(), TakeError> {
    // SAFETY: only used for one fcntl that fails with EBADF when the number is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    match fcntl_getfd(borrowed) {
        Ok(flags) if flags.contains(FdFlags::CLOEXEC) => Err(TakeError::OpenedHere { fd }),
        Ok(_) => Ok(()),
        Err(Errno::BADF) => Err(TakeError::NotOpen { fd, fds }),
        Err(errno) => Err(TakeError::Examine {
            fd,
            source: errno.into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    fn three() -> (Sockets, Vec<Address>) {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind(tcp.local_addr().unwrap()).unwrap();
        let other = TcpListener::bind("[::1]:0").unwrap();
        let addresses = vec![Address::of(&tcp).unwrap(), Address::of(&other).unwrap()];
        let sockets = Sockets::from_fds([
            ("web".to_owned(), OwnedFd::from(udp)),
            ("web".to_owned(), OwnedFd::from(tcp)),
            ("admin".to_owned(), OwnedFd::from(other)),
        ]);
        (sockets.unwrap(), addresses)
    }

    #[test]
    fn found_by_index_name_and_address() {
        let (mut sockets, addresses) = three();
        // The datagram socket has the same address, but a listener was asked for.
        assert_eq!(sockets.take_listener(&addresses[0]).unwrap().index(), 1);
        assert!(sockets.take_listener(&addresses[0]).is_none());
        assert_eq!(sockets.take_index(2).unwrap().name(), "admin");
        assert_eq!(sockets.take_address(&addresses[0]).unwrap().index(), 0);
        assert!(sockets.is_empty());
    }

    #[test]
    fn a_name_may_stand_for_several() {
        let (mut sockets, _) = three();
        let web: Vec<_> = sockets
            .take_all_named("web")
            .iter()
            .map(Socket::index)
            .collect();
        assert_eq!(web, [0, 1]);
        assert_eq!(sockets.len(), 1);
        assert!(sockets.take_named("web").is_none());
        assert_eq!(sockets.take_named("admin").unwrap().index(), 2);
    }
}
