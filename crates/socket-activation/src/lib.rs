//! Sockets in, state out, sockets handed on: the three halves of living under a service manager.
//!
//! - [`Sockets`] takes what `LISTEN_FDS`, `LISTEN_PID` and `LISTEN_FDNAMES` announce, once, as typed and owned
//!   [`Socket`]s that are found by name, by index or by [`Address`].
//! - [`Notifier`] tells the manager where the service stands (`READY=1`, `STATUS=…`, the watchdog, the file
//!   descriptor store, barriers); [`Watchdog`] says how often it wants to hear from us.
//! - [`Successor`] starts another program and hands it sockets by the very same protocol: a new binary, a worker.
//!
//! Nothing here needs tokio, a thread or libsystemd. The feature `tokio` adds conversions into tokio's types.
//!
//! ```no_run
//! use socket_activation::{Notifier, Sockets};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut sockets = Sockets::take()?; // first thing in main
//! let listener = match sockets.take_named("http") {
//!     Some(socket) => socket.into_tcp_listener()?,
//!     None => std::net::TcpListener::bind("127.0.0.1:8000")?,
//! };
//! Notifier::from_env()?.ready()?;
//! # drop(listener);
//! # Ok(())
//! # }
//! ```
//!
//! The protocol is that of `sd_listen_fds(3)` and `sd_notify(3)`. This crate refuses to know what the sockets are
//! for.

mod address;
mod environment;
mod name;
mod notify;
mod socket;
mod sockets;
mod successor;
#[cfg(feature = "tokio")]
mod tokio;

pub use address::{Address, AddressError};
pub use environment::{Absence, LISTEN_VARIABLES, TakeError};
pub use notify::{Message, NOTIFY_VARIABLES, Notifier, NotifyError, Watchdog};
pub use socket::{Kind, Socket, SocketError};
pub use sockets::Sockets;
pub use successor::{HandoverError, Successor};

/// The number of the first descriptor that is handed over: 0, 1 and 2 are the standard streams.
pub const FIRST_FD: i32 = 3;
