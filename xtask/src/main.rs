//! What a person types: `cargo xtask demo | test | soak | bench | release | wheel | docs`.
//!
//! Everything a command needs beyond rustup and python3 it installs itself and says so (`install`). Every command ends
//! with a clear result and leaves nothing running (`process`, `tree`).
#![forbid(unsafe_code)]

mod applications;
mod bench;
mod certificate;
mod container;
mod demo;
mod docs;
mod fuzz;
mod install;
mod load;
mod options;
mod process;
mod release;
mod shop;
mod soak;
mod test;
mod tree;
mod wheel;
mod workspace;

use std::process::ExitCode;

use workspace::Workspace;

const USAGE: &str = "usage: cargo xtask COMMAND [options]; each COMMAND has --help

  demo     a Django shop behind edge and appserver, at an address to open in a browser
  test     all that must hold: style, tests, scenarios, the shop, a short soak, fuzzing; for CI
  soak     the servers under load while they are reloaded, killed, flooded and drained
  bench    what a request costs, beside nginx, gunicorn and others, as a Markdown table
  release  edge and appserver, optimised for what they do most (profile-guided optimisation)
  wheel    appserver as people install it in a Python environment
  docs     writes docs/directives.md and docs/settings.md anew from the programs' tables

What is missing is installed: packages by apt-get (as root or with sudo), Python packages in environments below
target/xtask. Nothing outside of target/ and demo/var is changed otherwise.
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let arguments: Vec<String> = arguments.collect();
    let run = match command.as_str() {
        "demo" => demo::main,
        "test" => test::main,
        "soak" => soak::main,
        "bench" => bench::main,
        "docs" => docs::main,
        "wheel" => wheel::main,
        "release" => release::main,
        "-h" | "--help" | "help" => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        "" => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
        other => {
            eprintln!("xtask: there is no command \"{other}\"\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    process::prepare();
    let outcome = Workspace::find().and_then(|workspace| run(&workspace, &arguments));
    process::end_everything();
    match outcome {
        Ok(code) => code,
        Err(problem) => {
            eprintln!("xtask {command}: {problem}");
            ExitCode::FAILURE
        }
    }
}
