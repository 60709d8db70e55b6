//! ASGI 3 between HTTP and Python: an ASGI application as a [`proxy_core::server::Service`].
//!
//! ```text
//! asyncio loop ◄─watches─ Reactor ─► connection ─► Request ─► policy ─► scope ─► task of the application
//!                                        ▲                                         │ receive(), send()
//!                                        └── head, content, WebSocket frames ◄─ Exchange, Session
//! ```
//!
//! - [`Reactor`] puts connections onto the thread of an asyncio loop; [`AsgiService`] answers; [`Lifespan`] starts and ends the
//!   application; [`Settings`] say how; [`Hooks`](wsgi_bridge::Hooks) hear of it.
//! - [`Beside`] runs the application on a thread of its own instead, for services whose thread is needed for something else: a program that embeds
//!   Python ([`wsgi_bridge::embedded`]) mounts them in axum or hyper, see `examples/axum_django_asgi.rs`.
//! - The rules about requests, trusted peers and error pages are those of `wsgi-bridge`: to a client it is the same server.
//!
//! Where applications can tell: `send()` and `receive()` return objects for `await` that have a coroutine's methods, not coroutines;
//! the first step of a call is taken before the loop turns; a response that failed before its first content is answered with a page.

mod awaitable;
mod beside;
mod buffers;
mod call;
mod core;
mod deadlines;
mod exchange;
mod home;
mod http;
mod inbox;
mod incoming;
mod jobs;
mod lifespan;
mod message;
mod outgoing;
mod reactor;
mod scope;
mod service;
mod settings;
mod stream;
mod surrounded;
mod tasks;
mod waits;
mod websocket;

pub use beside::Beside;
pub use lifespan::{Lifespan, close_loop, new_loop};
pub use reactor::{Reactor, step_aside};
pub use service::{AsgiService, Record};
pub use settings::Settings;
