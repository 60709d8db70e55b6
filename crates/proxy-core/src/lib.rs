//! The engine of a reverse proxy and of an HTTP server that stands in front of an application.
//!
//! - [`server`]: HTTP/1.1 connections on the client side: read a request, ask a [`server::Service`], write its response.
//! - [`client`]: connections to origin servers: send a request, read the response, keep the connection.
//! - [`body`]: the one content type that all of it speaks.
//!
//! - [`engine`]: a configuration compiled to a site, and the way of a request through it; [`feature`]: the contract of what
//!   answers there; [`features`]: nginx's, each under its own name.
//! - [`tower`]: all of it for those who have connections of their own.
//!
//! A site in a few lines, here called without a socket; `examples/serve_configuration.rs` listens as well:
//!
//! ```
//! use std::io;
//! use std::path::Path;
//! use std::sync::Arc;
//!
//! use nginx_conf::SourceSet;
//! use proxy_core::body::Body;
//! use proxy_core::engine::Serving;
//! use proxy_core::engine::compile::{Features, Outside};
//! use proxy_core::engine::logs::{ErrorLog, LogFile};
//! use proxy_core::features::return_::Return;
//! use proxy_core::server::Address;
//! use proxy_core::tower::Handler;
//! use tower_service::Service;
//!
//! /// What a configuration needs from its program: here no files and no logs.
//! struct Nothing;
//!
//! impl Outside for Nothing {
//!     fn prefix(&self) -> &Path {
//!         Path::new("/")
//!     }
//!     fn open_log(&self, _: &Path) -> io::Result<Arc<LogFile>> {
//!         Err(io::ErrorKind::Unsupported.into())
//!     }
//!     fn default_error_log(&self) -> ErrorLog {
//!         ErrorLog::default()
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let text = "events {} http { server { listen 8080; location /hello { return 200 \"hello $arg_name\"; } } }";
//! let (tree, mut faults) = SourceSet::of([("site.conf", text)]).parse();
//! let features = Features::new(&[&Return]);
//! let compiled = features.compile(&tree, &Nothing, &Arc::default(), &mut faults);
//! let compiled = compiled.expect("a configuration without faults");
//!
//! let serving = Serving::new(compiled.site);
//! let service = Arc::new(serving.at(compiled.listens[0].address.clone()));
//! let mut handler = Handler::new(service, Address::Unix(None), Address::Unix(None));
//! let request = http::Request::get("/hello?name=you").body(Body::Empty)?;
//! let response = handler.call(request).await?;
//! assert_eq!(response.status(), 200);
//! assert_eq!(response.headers()["content-length"], "9");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The crate installs no signal handler, never exits, owns no runtime: it serves connections that it is given, in the
//! runtime that it is called in.
#![forbid(unsafe_code)]

mod alarm;
pub mod body;
pub mod buffers;
pub mod client;
pub mod engine;
pub mod feature;
pub mod features;
mod output;
pub mod read_ahead;
pub mod server;
pub mod socket;
pub mod spool;
pub mod temp_file;
pub mod timers;
pub mod tower;
mod turn;
pub mod upstream;
