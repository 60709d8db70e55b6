//! What a server is asked for.

use std::path::Path;

use super::chat;
use super::machine::Cores;
use super::measure::Effort;
use super::server::Subject;
use super::wrk::{self, Counted};

/// A kind of load.
#[derive(Clone, Copy, Debug)]
pub enum Load<'a> {
    /// `GET` of a target, by wrk.
    Get(&'a str),
    /// `POST` of so many bytes, by wrk.
    Post(&'a str, usize),
    /// Messages of so many bytes that a WebSocket sends back, by a client of our own.
    Messages(&'a str, usize),
}

impl Load<'_> {
    /// What it is called in lines of progress.
    pub fn name(&self) -> String {
        match self {
            Load::Get(target) => (*target).to_owned(),
            Load::Post(target, bytes) => format!("{target} ({bytes} bytes to it)"),
            Load::Messages(target, bytes) => format!("{target} ({bytes} bytes each)"),
        }
    }

    /// Loads a server for so many seconds.
    pub fn run(
        &self,
        cores: Cores,
        effort: &Effort,
        seconds: u64,
        subject: &Subject,
        folder: &Path,
    ) -> Result<Counted, String> {
        let by_wrk = |target: &str, bytes| {
            let url = format!("http://{}{target}", subject.address);
            wrk::run(cores.load, &url, bytes, seconds, effort.connections, folder)
        };
        match *self {
            Load::Get(target) => by_wrk(target, None),
            Load::Post(target, bytes) => by_wrk(target, Some(bytes)),
            Load::Messages(target, bytes) => {
                let connections = usize::try_from(effort.connections).unwrap_or(usize::MAX);
                let address = subject.address;
                chat::run(cores.load, address, target, bytes, seconds, connections)
            }
        }
        .map_err(|problem| format!("{}: {problem}", subject.name))
    }
}
