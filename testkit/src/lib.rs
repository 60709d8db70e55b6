//! What the tests of this workspace share: scripted peers, a virtual clock, temporary prefixes, guarded child
//! processes, a small HTTP client, and the runner of the scenarios in `scenarios/`.
//!
//! Dev-only. It uses blocking sockets and threads, never a runtime, and parses HTTP with its own few lines: a test
//! that read answers with the parser it tests would agree with its mistakes.
//!
//! Who needs what:
//! - an end-to-end test of a crate: [`TempPrefix`], [`FreePort`], [`Child`], [`http::Client`], [`ScriptedPeer`];
//! - a state machine under test: [`VirtualClock`];
//! - `cargo run -p testkit --bin scenarios`: [`scenario`].
#![forbid(unsafe_code)]

mod child;
mod clock;
mod deadline;
mod escape;
pub mod http;
mod peer;
mod port;
mod prefix;
pub mod scenario;
mod skip;
mod transcript;
mod wire;

pub use child::Child;
pub use clock::VirtualClock;
pub use deadline::{Deadline, PATIENCE, StopFlag};
pub use escape::{EscapeError, latin1, parse_size, show, unescape};
pub use peer::{Peer, ScriptedPeer};
pub use port::{FreePort, Refusing};
pub use prefix::TempPrefix;
pub use skip::nothing_checked;
pub use transcript::Transcript;
pub use wire::{Address, Ending, Wire, WireError, uninterrupted};
