//! The origin side of the engine: a request goes to an origin server, its response comes back.
//!
//! [`Pool::exchange`] does it over TCP or a unix socket, on an idle connection where there is one, and gives the head of the
//! response and its content as a [`Body`](crate::body::Body). The connection returns to the pool when that was read to its end.
//! [`tunnel`] joins two connections whose protocol has changed. Which peer to ask, and whether to ask another, is not decided
//! here: [`ClientError`] tells whoever decides what they need to know.

mod connect;
mod content;
mod error;
mod exchange;
mod origin;
mod pool;
mod tunnel;
mod upload;

pub use connect::connect;
pub use error::{Blame, Cause, ClientError, Phase};
pub use exchange::{Answer, Names, Outgoing, Settings, Times};
pub use pool::{Pool, PoolSettings};
pub use tunnel::tunnel;
pub use upload::Upload;
