//! Starting to serve: from a command line to a process that has its sockets, its logs and its pid file.

use std::io::{self, Write};
use std::process::ExitCode;

use proxy_core::engine::compile::Features;
use proxy_core::engine::logs::{ErrorLog, Level};
use socket_activation::Sockets;
use supervisor::{PidFile, Signal, Signals};

use crate::configuration::{Blueprint, Origin};
use crate::listening::{Listening, Opened};
use crate::{NAME, features, single};

/// Signals of a process without a master.
const SIGNALS: [Signal; 7] = [
    Signal::TERM,
    Signal::INT,
    Signal::QUIT,
    Signal::HUP,
    Signal::USR1,
    Signal::USR2,
    Signal::WINCH,
];

/// Serves until it is told to end.
pub fn run(origin: Origin) -> ExitCode {
    match begin(origin) {
        Ok(code) => code,
        Err(Stopped) => ExitCode::FAILURE,
    }
}

/// What is wrong has been said already.
struct Stopped;

fn begin(origin: Origin) -> Result<ExitCode, Stopped> {
    let spare = Sockets::take().map_err(|error| say(&error.to_string()))?;
    let (blueprint, findings) = origin.read(&features::all());
    findings.print(false);
    let Some(blueprint) = blueprint else {
        findings.log(&default_log(&origin));
        return Err(Stopped);
    };
    findings.log(&blueprint.errors);
    let mut listening = Listening::new(spare);
    let opened = open(&mut listening, &blueprint)?;
    listening.commit(opened);
    let signals = Signals::listen(&SIGNALS).map_err(|error| say(&error.to_string()))?;
    let pid_file =
        PidFile::replace(&blueprint.process.pid).map_err(|error| say(&error.to_string()))?;
    single::run(origin, blueprint, listening, pid_file, signals, || ()).map_err(|words| say(&words))
}

fn open(listening: &mut Listening, blueprint: &Blueprint) -> Result<Opened, Stopped> {
    let complain = |words: &str| {
        say(words);
        blueprint
            .errors
            .write(Level::Emerg, None, format_args!("{words}"));
    };
    listening
        .open(&blueprint.listens, complain)
        .map_err(|faults| {
            for (words, advice) in faults {
                complain(&words);
                advice.iter().for_each(|advice| help(advice));
            }
            say("still could not bind()")
        })
}

/// Reads the configuration afresh and opens what it needs. What is wrong is written to `errors` and standard error.
pub fn read_anew(
    origin: &Origin,
    features: &Features,
    errors: &ErrorLog,
    listening: &mut Listening,
) -> Option<(Blueprint, Opened)> {
    let (blueprint, findings) = origin.read(features);
    findings.print(false);
    findings.log(errors);
    let blueprint = blueprint?;
    let opened = listening.open(&blueprint.listens, |words| {
        errors.write(Level::Emerg, None, format_args!("{words}"));
    });
    match opened {
        Ok(opened) => Some((blueprint, opened)),
        Err(faults) => {
            for (words, advice) in faults {
                let advice = advice
                    .map(|advice| format!("; {advice}"))
                    .unwrap_or_default();
                errors.write(Level::Emerg, None, format_args!("{words}{advice}"));
                say(&words);
            }
            None
        }
    }
}

/// The error log for a configuration that names none because it can't be read.
fn default_log(origin: &Origin) -> ErrorLog {
    use proxy_core::engine::compile::Outside;
    let is_stderr = origin.paths.error_log == std::path::Path::new(crate::paths::STDERR);
    if is_stderr {
        return ErrorLog::default();
    }
    crate::logs::DiskLogs::new(origin.paths.clone()).default_error_log()
}

fn say(words: &str) -> Stopped {
    let _ = writeln!(io::stderr(), "{NAME}: [emerg] {words}");
    Stopped
}

fn help(words: &str) {
    let _ = writeln!(io::stderr(), "  help: {words}");
}
