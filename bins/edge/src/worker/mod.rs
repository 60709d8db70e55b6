//! The process that serves: what the master starts, and what serves without one (`master_process off`).
//!
//! Its first thread obeys: orders of the master, signals, the end of a drain. The threads of the [`Crew`](crew::Crew)
//! serve. A configuration is compiled on the first thread, so serving never waits for it.

mod crew;
mod door;
mod hearing;
mod obey;
mod realm;

pub use hearing::Hearing;
pub use obey::{finish, run};
pub use realm::{Goods, Realm};

/// What the process of a worker is called; it is how a process knows that it is one.
pub const TITLE: &str = "edge: worker process";
