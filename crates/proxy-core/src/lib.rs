//! The engine of a reverse proxy and of an HTTP server that stands in front of an application.
//!
//! - [`server`]: HTTP/1.1 connections on the client side: read a request, ask a [`server::Service`], write its response.
//! - [`client`]: connections to origin servers: send a request, read the response, keep the connection.
//! - [`body`]: the one content type that all of it speaks.
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
mod temp_file;
pub mod upstream;
