//! `appserver` takes gunicorn's place: its command line, its configuration file, its signals.
//!
//! This process is the master. It reads no byte of a request and runs no Python: it holds the listening sockets, has a
//! template (the user's interpreter with our extension module) execute the configuration file and fork workers, and watches
//! them. The parts: [`settings`] is THE list of settings; [`start`] reads them; [`boot`] brings the server up; [`server`] is
//! what it does from then on.
#![forbid(unsafe_code)]

mod address;
mod boot;
mod control;
mod doors;
mod extension;
mod given;
mod log;
mod python;
mod server;
mod settings;
mod start;
mod template;

use std::process::ExitCode;

use supervisor::socket_activation::Sockets;

use settings::arguments::Action;
use start::{Start, UsageFault};

/// The version, as `--version` tells it.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A command line that is not understood.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let inherited = Sockets::take();
    let program = program();
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == "ctl") {
        return ExitCode::from(control::client(&words[1..]));
    }
    match words.first().map(String::as_str) {
        Some("--man-page") => {
            print!("{}", settings::man::page());
            return ExitCode::SUCCESS;
        }
        Some("--completion") => return completion(words.get(1).map_or("", String::as_str)),
        _ => {}
    }
    let start = match Start::capture() {
        Ok(start) => start,
        Err(UsageFault(words)) => {
            eprintln!(
                "{}{program}: error: {words}",
                settings::help::usage(&program)
            );
            return ExitCode::from(USAGE);
        }
    };
    match start.arguments.action {
        Some(Action::Help) => print!("{}", settings::help::help(&program)),
        Some(Action::Version) => println!("{program} (version {VERSION})"),
        Some(Action::Reference) => print!("{}", settings::reference::page()),
        None => {
            return match inherited {
                Ok(inherited) => ExitCode::from(boot::run(start, inherited)),
                Err(error) => {
                    eprintln!("\nError: {error}");
                    ExitCode::FAILURE
                }
            };
        }
    }
    ExitCode::SUCCESS
}

fn completion(shell: &str) -> ExitCode {
    match settings::completion::script(shell) {
        Ok(script) => {
            print!("{script}");
            ExitCode::SUCCESS
        }
        Err(words) => {
            eprintln!("appserver: error: {words}");
            ExitCode::from(USAGE)
        }
    }
}

/// What the program is called.
fn program() -> String {
    let called = std::env::args().next().unwrap_or_default();
    let name = std::path::Path::new(&called).file_name();
    name.map_or_else(
        || "appserver".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}
