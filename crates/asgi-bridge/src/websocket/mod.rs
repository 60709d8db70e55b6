//! WebSockets (RFC 6455) on connections that were upgraded, as ASGI's `websocket` scope.
//!
//! [`handshake`] says what a request asks for, [`frame`] and [`deflate`] turn bytes into messages and back, [`session`] is the
//! conversation between a client and the application, [`tunnel`] its connection, [`calls`] the application's `receive` and `send`.

mod calls;
mod deflate;
mod frame;
mod handshake;
mod session;
mod tunnel;

pub(crate) use calls::{Receive, Send};
pub(crate) use deflate::Deflate;
pub(crate) use handshake::{Asked, asks};
pub(crate) use session::{Answer, Session};
pub(crate) use tunnel::Opening;
