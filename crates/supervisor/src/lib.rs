//! A master that holds sockets and watches workers: the part that an edge server and an application server share.
//!
//! - [`fleet`] decides: what to do when a worker ends, hangs, asks to be replaced; how a reload, a drain, a change of
//!   size proceeds. It owns no process and no clock.
//! - [`master`] acts: one thread, one `poll`; a program plugs in through [`Program`].
//! - [`bind`], [`pidfile`], [`privileges`], [`process`], [`upgrade`], [`reap`], [`signals`], [`title`], [`oom`]: the pieces that a
//!   server needs around that, each usable alone.
//! - [`channel`], [`board`] and [`link`] tie the two processes together: orders and reports with descriptors, shared
//!   memory for heartbeats and counters, and the worker's side of both.
//!
//! `examples/greeter.rs` is a whole server on it, master and workers, in 150 lines.
//!
//! This crate knows no HTTP, no configuration language, no Python and no tokio. It is the one place, with
//! `socket-activation`, where processes are made and signals handled.

pub mod bind;
pub mod board;
pub mod channel;
pub mod exit;
pub mod fleet;
pub mod link;
pub mod master;
pub mod oom;
pub mod pidfile;
pub mod privileges;
pub mod process;
pub mod reap;
pub mod signals;
pub mod title;
pub mod upgrade;

pub use bind::{BindError, BindOptions, Listener, Listeners, Wanted};
pub use board::{Board, Counter, Lane, monotonic_ms};
pub use channel::{Channel, ChannelError, Received};
pub use exit::Exit;
pub use fleet::{
    Death, Ending, Fleet, Generation, KillReason, Notice, Outcome, Phase, Policy, Stuck, WorkerId,
};
pub use link::{Kit, Link, LinkError, Order, Report};
pub use master::{Config, Event, Level, Master, Program, SpawnOrder, Spawned, WorkerInfo};
pub use pidfile::PidFile;
pub use privileges::{Groups, Identity};
pub use rustix::process::{Pid, Signal};
pub use signals::Signals;
pub use socket_activation;
pub use upgrade::{Launch, Predecessor, Upgrade};
