//! The features. Each is one file, knows the engine and its own directives, and names no other feature.

pub mod access_log;
pub mod headers;
pub mod index;
pub mod process_notes;
pub mod proxy;
pub mod return_;
pub mod static_content;
pub mod try_files;
pub mod unsupported;
pub mod upstream;
