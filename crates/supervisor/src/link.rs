//! The worker's side: what a worker process gets from its master, and how it answers.
//!
//! Nothing here needs a runtime. A worker with tokio puts the [`Link`] into an `AsyncFd` (it is [`AsRawFd`]) and calls
//! [`Link::try_next`] whenever it is readable; a worker without blocks in [`Link::wait`] on a thread of its own.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use socket_activation::{HandoverError, Sockets, Successor};

use crate::board::{Board, BoardError};
use crate::channel::{Channel, ChannelError, Received};

/// Names under which the two descriptors travel beside sockets.
const CHANNEL: &str = "supervisor.channel";
const BOARD: &str = "supervisor.board";

/// What a master says to a worker. `O` is what the program adds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order<O> {
    /// Accept nothing new, finish what runs, exit with 0.
    EndGracefully,
    /// Drop what runs, exit with 0.
    EndQuickly,
    /// The program's own.
    Program(O),
}

/// What a worker says to its master. `R` is what the program adds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report<R> {
    /// It accepts requests.
    Ready,
    /// It wants to be replaced, and serves on until it is told to go.
    Leaving,
    /// The program's own.
    Program(R),
}

/// The two descriptors that make a process a worker, on their way there.
#[derive(Debug)]
pub struct Kit {
    /// The worker's end of the control channel.
    pub channel: OwnedFd,
    /// The worker's board.
    pub board: OwnedFd,
}

impl Kit {
    /// Hands both to a program that is started by exec; there [`Link::take`] finds them.
    ///
    /// # Errors
    /// [`HandoverError`].
    pub fn attach(&self, successor: Successor) -> Result<Successor, HandoverError> {
        successor
            .socket(CHANNEL, &self.channel)?
            .socket(BOARD, &self.board)
    }
}

/// Why a process cannot be a worker.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// There is no control channel among the sockets.
    #[error(
        "this process was not started by a master: {0:?} is not among the descriptors handed over"
    )]
    NotAWorker(&'static str),
    /// The channel.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The board.
    #[error(transparent)]
    Board(#[from] BoardError),
}

/// A worker's tie to its master.
#[derive(Debug)]
pub struct Link {
    channel: Channel,
    board: Arc<Board>,
}

impl Link {
    /// From what came by `LISTEN_FDS`; the sockets stay behind in `sockets`.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn take(sockets: &mut Sockets) -> Result<Self, LinkError> {
        let mut take = |name| sockets.take_named(name).ok_or(LinkError::NotAWorker(name));
        let (channel, board) = (take(CHANNEL)?.into_fd(), take(BOARD)?.into_fd());
        Self::from_kit(Kit { channel, board })
    }

    /// From descriptors that came another way: over a socket, by fork.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn from_kit(kit: Kit) -> Result<Self, LinkError> {
        let channel = Channel::from_fd(kit.channel)?;
        Ok(Self {
            channel,
            board: Arc::new(Board::open(&kit.board)?),
        })
    }

    /// The board to beat on and to count on.
    #[must_use]
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Says that requests are accepted now.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn ready(&self) -> Result<(), ChannelError> {
        self.channel.send(&Report::<()>::Ready, &[])
    }

    /// Asks to be replaced; go on serving until an order comes.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn leaving(&self) -> Result<(), ChannelError> {
        self.channel.send(&Report::<()>::Leaving, &[])
    }

    /// Says something of the program's own.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn report<R: Serialize>(
        &self,
        report: R,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), ChannelError> {
        self.channel.send(&Report::Program(report), fds)
    }

    /// Waits for the next order.
    ///
    /// # Errors
    /// [`ChannelError::Closed`] when the master is gone: finish what runs and exit.
    pub fn wait<O: DeserializeOwned>(&mut self) -> Result<Received<Order<O>>, ChannelError> {
        self.channel.receive()
    }

    /// The next order, if one is there.
    ///
    /// # Errors
    /// As [`Link::wait`].
    pub fn try_next<O: DeserializeOwned>(
        &mut self,
    ) -> Result<Option<Received<Order<O>>>, ChannelError> {
        self.channel.try_receive()
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

impl AsRawFd for Link {
    fn as_raw_fd(&self) -> RawFd {
        self.channel.as_raw_fd()
    }
}
