//! `edge`: the web server that takes nginx's place.
//!
//! A process with nginx's command line ([`args`]), configuration ([`configuration`]) and signals. What it can do is the
//! list of [`features`]; how is up to `proxy-core`. Here is what belongs to a program: arguments, files, processes.
//!
//! - [`start`]: from the command line to a serving process.
//! - [`worker`]: the process that serves, with its threads.
//! - [`single`]: serving without a master.
//! - [`version`], [`mod@test`], [`signal`]: what the short options print, `-t`, `-s`.
#![forbid(unsafe_code)]

mod args;
mod configuration;
mod exit;
mod features;
mod listening;
mod logs;
mod master;
mod orders;
mod paths;
mod reference;
mod signal;
mod single;
mod start;
mod test;
mod version;
mod worker;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The name in front of messages.
const NAME: &str = "edge";

fn main() -> ExitCode {
    // A page of 2 MiB for the first few KiB of each allocation's kind: three times the memory of a small server, for nothing
    // that a benchmark shows. The worker inherits it. A kernel without the call has no such pages.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let mut args = std::env::args_os();
    let own_name = args.next().unwrap_or_default();
    if own_name == worker::TITLE {
        return worker::run();
    }
    let args = match args::parse(args) {
        Ok(args) => args,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{NAME}: {error}");
            return ExitCode::FAILURE;
        }
    };
    obey(&args)
}

fn obey(args: &args::Args) -> ExitCode {
    if args.directives {
        return reference::print();
    }
    if args.version {
        version::print(args.help, args.build);
        if !args.test {
            return ExitCode::SUCCESS;
        }
    }
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let origin = configuration::Origin {
        paths: paths::Paths::new(
            &here,
            args.prefix.as_deref(),
            args.conf.as_deref(),
            args.error_log.as_deref(),
        ),
        globals: args.globals.clone(),
    };
    if args.test {
        return test::run(&origin, args.dump, args.quiet);
    }
    match args.signal {
        Some(command) => signal::send(&origin, command),
        None => start::run(origin),
    }
}
