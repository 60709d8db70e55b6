//! Signals as things to read: every signal of interest gets a socket of its own, so that none is taken for another and
//! two of a kind stay two.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::process::Signal;
use signal_hook::SigId;
use signal_hook::low_level::{pipe, unregister};

/// Receives signals from the moment it is made until it is dropped.
///
/// A handler is installed for each of them, so programs that are executed later start with the default again.
#[derive(Debug)]
pub struct Signals {
    sources: Vec<Source>,
}

#[derive(Debug)]
struct Source {
    signal: Signal,
    id: SigId,
    receiver: UnixStream,
}

impl Signals {
    /// Listens for these signals.
    ///
    /// # Errors
    /// The kernel's, for example for SIGKILL, which cannot be received.
    pub fn listen(signals: &[Signal]) -> io::Result<Self> {
        let mut sources = Vec::with_capacity(signals.len());
        for &signal in signals {
            let (receiver, sender) = UnixStream::pair()?;
            receiver.set_nonblocking(true)?;
            let id = pipe::register(signal.as_raw(), sender)?;
            sources.push(Source {
                signal,
                id,
                receiver,
            });
        }
        Ok(Self { sources })
    }

    /// The signals that came since the last call, in the order of the list given to [`Signals::listen`]; one that came
    /// several times is there as often.
    pub fn take(&mut self) -> Vec<Signal> {
        let mut came = Vec::new();
        for source in &mut self.sources {
            let mut bytes = [0; 64];
            // A full buffer means there may be more; what is left stays readable for the next call.
            if let Ok(count) = source.receiver.read(&mut bytes) {
                came.extend(std::iter::repeat_n(source.signal, count));
            }
        }
        came
    }

    /// What to poll for reading.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sources.iter().map(|source| source.receiver.as_fd())
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for source in &self.sources {
            unregister(source.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_counts_and_keeps_its_name() {
        let mut signals = Signals::listen(&[Signal::WINCH, Signal::URG]).unwrap();
        assert_eq!(signals.take(), []);
        for signal in [Signal::URG, Signal::WINCH, Signal::URG] {
            signal_hook::low_level::raise(signal.as_raw()).unwrap();
        }
        assert_eq!(signals.take(), [Signal::WINCH, Signal::URG, Signal::URG]);
        assert_eq!(signals.take(), []);
    }

    #[test]
    fn some_signals_cannot_be_received() {
        assert!(Signals::listen(&[Signal::USR1]).is_ok());
    }
}
