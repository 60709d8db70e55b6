//! `-s`: a signal to the master that the pid file names.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use rustix::process::{Pid, kill_process};

use crate::args::Command;
use crate::configuration::Origin;
use crate::logs::reason;
use crate::{NAME, features};

/// Sends it. A configuration with faults keeps nobody from stopping the server; it only is not reloaded.
pub fn send(origin: &Origin, command: Command) -> ExitCode {
    match pid_file(origin, command).and_then(|path| signal(&path.0, path.1, command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(words) => {
            if !words.is_empty() {
                let _ = writeln!(io::stderr(), "{NAME}: {words}");
            }
            ExitCode::FAILURE
        }
    }
}

/// The pid file that the configuration names, and whether it could be read as a whole.
fn pid_file(origin: &Origin, command: Command) -> Result<(PathBuf, bool), String> {
    if command == Command::Reload {
        let (blueprint, findings) = origin.read(&features::all());
        findings.print(false);
        // What is wrong has been printed.
        return Ok((blueprint.ok_or_else(String::new)?.process.pid, true));
    }
    let findings = origin.parse();
    let path = match findings.top_argument("pid") {
        Some(path) => origin.paths.prefix.join(path),
        None => origin.paths.pid.clone(),
    };
    Ok((path, !findings.are_fatal()))
}

fn signal(path: &std::path::Path, read_well: bool, command: Command) -> Result<(), String> {
    let hint = if read_well {
        "is the server running, with this configuration and prefix?"
    } else {
        "the configuration has faults (see -t), so this may not be the file that \"pid\" names"
    };
    let text = fs::read_to_string(path).map_err(|error| {
        format!(
            "[error] open() \"{}\" failed ({})\n  help: {hint}",
            path.display(),
            reason(&error)
        )
    })?;
    let number = text.trim();
    let pid = number
        .parse()
        .ok()
        .filter(|pid| *pid > 0)
        .and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| {
        format!(
            "[error] invalid PID number \"{number}\" in \"{}\"\n  help: {hint}",
            path.display()
        )
    })?;
    let signal = command.signal();
    kill_process(pid, signal).map_err(|errno| {
        format!(
            "[alert] kill({number}, {}) failed ({})\n  help: {hint}",
            signal.as_raw(),
            reason(&errno.into())
        )
    })
}
