//! The engine: a configuration compiled to a site, and the way of a request through it. Names no feature but its own core.

pub mod clock;
pub mod compile;
pub mod core;
mod cut;
pub mod escape;
pub mod exchange;
pub mod files;
pub mod logs;
pub mod names;
pub mod open_files;
pub mod phrases;
pub mod ports;
pub mod prefixes;
pub mod process;
mod request_variables;
mod run;
pub mod scopes;
mod service;
pub mod site;
pub mod special;
pub mod structure;
mod table;
pub mod variables;
pub mod zones;

pub use service::{Serving, SiteService};
