//! Scenarios: a configuration and a conversation in one file, run unchanged against the reference and against ours.
//!
//! `scenarios/README.md` describes the format. [`Scenario::parse`] reads it, [`run`] plays it against a [`Subject`]:
//! the prefix and its files are laid out (`stage`), origin servers listen (`origin`), the subject starts, the
//! client speaks (`client`); the first expectation that fails ends it, with a transcript of everything that was said.

mod client;
mod expect;
mod file;
mod message;
mod origin;
mod run;
mod stage;
mod step;
mod subject;
mod vars;

pub use file::{Difference, ParseError, Scenario, find};
pub use run::{Failure, Outcome, Settings, run};
pub use subject::{Family, Subject};
