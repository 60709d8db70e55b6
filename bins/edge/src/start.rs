//! Starting to serve: from a command line to a process that has its sockets, its logs and its pid file.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use proxy_core::engine::compile::{Features, Outside};
use proxy_core::engine::logs::{ErrorLog, Level};
use socket_activation::Sockets;
use supervisor::process::{Daemon, daemonize};
use supervisor::{Launch, PidFile, Predecessor, Signal, Signals};

use crate::configuration::{Blueprint, Origin};
use crate::listening::{Listening, Opened};
use crate::logs::DiskLogs;
use crate::master::{self, Beginning};
use crate::paths::STDERR;
use crate::{NAME, features, single};

/// The signals that a server obeys.
pub const SIGNALS: [Signal; 7] = [
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
    // First of all, so that none is lost: one that comes now is obeyed as soon as there is something to obey it.
    let mut signals = Signals::listen(&SIGNALS).map_err(|error| say(&error.to_string()))?;
    let spare = Sockets::take().map_err(|error| say(&error.to_string()))?;
    let launch = Launch::capture()
        .map_err(|error| say(&format!("the current directory can't be read: {error}")))?;
    let predecessor = Predecessor::from_env();
    let blueprint = read(&origin)?;
    let mut listening = Listening::new(spare);
    open(&mut listening, &blueprint)?;
    let process = &blueprint.process;
    // A new binary is the child of a daemon already.
    let leaves = process.daemon && predecessor.is_none();
    let waiting = if leaves {
        let how = Daemon {
            keep_stdout: false,
            keep_stderr: true,
            wait: true,
        };
        Some(daemonize(how).map_err(|error| say(&error.to_string()))?)
    } else {
        None
    };
    let daemon = process.daemon;
    let served = if process.master_process {
        let beginning = Beginning {
            origin,
            blueprint,
            listening,
            launch,
            predecessor,
            waiting,
            daemon,
        };
        // From here on the master hears them itself.
        master::run(beginning, move || signals.take())
    } else {
        let begun = || {
            if let Some(waiting) = waiting {
                waiting.release(0);
            }
        };
        write_pid(&origin, &blueprint).and_then(|pid_file| {
            single::run(origin, blueprint, listening, pid_file, signals, begun)
        })
    };
    served.map_err(|words| say(&words))
}

fn read(origin: &Origin) -> Result<Blueprint, Stopped> {
    let (blueprint, findings) = origin.read(&features::all());
    findings.print(false);
    let Some(blueprint) = blueprint else {
        findings.log(&log_of_failed_start(origin));
        return Err(Stopped);
    };
    if !writes_to_stderr(&blueprint.errors) {
        findings.log(&blueprint.errors);
    }
    if let Some(words) = master::warning(&blueprint.process) {
        let _ = writeln!(io::stderr(), "{NAME}: [warn] {words}");
    }
    Ok(blueprint)
}

/// The error log for a configuration that can't be read: the default one, unless that is standard error, which has been told.
fn log_of_failed_start(origin: &Origin) -> ErrorLog {
    let path = &origin.paths.error_log;
    let usable = path != Path::new(STDERR) && path.parent().is_some_and(Path::exists);
    if usable {
        DiskLogs::new(origin.paths.clone()).default_error_log()
    } else {
        ErrorLog::default()
    }
}

fn open(listening: &mut Listening, blueprint: &Blueprint) -> Result<(), Stopped> {
    let complain = |words: &str| {
        say(words);
        if !writes_to_stderr(&blueprint.errors) {
            blueprint
                .errors
                .write(Level::Emerg, None, format_args!("{words}"));
        }
    };
    let opened = listening
        .open(&blueprint.listens, complain)
        .map_err(|faults| {
            let in_vain = faults.iter().any(|(words, _)| words.contains("(98: "));
            for (words, advice) in faults {
                complain(&words);
                if let Some(advice) = advice {
                    let _ = writeln!(io::stderr(), "  help: {advice}");
                }
            }
            if in_vain {
                complain("still could not bind()");
            }
            Stopped
        })?;
    listening.commit(opened);
    for address in listening.close_spare() {
        blueprint.errors.write(
            Level::Warn,
            None,
            format_args!(
                "a socket for {address} was handed over, but no \"listen\" wants it; it is closed"
            ),
        );
    }
    Ok(())
}

/// Reads the configuration afresh and opens what it needs. What is wrong is written to `errors`, and when `aloud` to standard
/// error, unless that is the same.
pub fn read_anew(
    origin: &Origin,
    features: &Features,
    errors: &ErrorLog,
    listening: &mut Listening,
    aloud: bool,
) -> Option<(Blueprint, Opened)> {
    let (blueprint, findings) = origin.read(features);
    let aloud = aloud && !writes_to_stderr(errors);
    if aloud {
        findings.print(false);
    }
    findings.log(errors);
    let blueprint = blueprint?;
    let complain = |words: &str| {
        errors.write(Level::Emerg, None, format_args!("{words}"));
        if aloud {
            say(words);
        }
    };
    let opened = listening.open(&blueprint.listens, complain);
    match opened {
        Ok(opened) => Some((blueprint, opened)),
        Err(faults) => {
            for (words, advice) in faults {
                let advice = advice
                    .map(|advice| format!("; {advice}"))
                    .unwrap_or_default();
                complain(&format!("{words}{advice}"));
            }
            None
        }
    }
}

/// Writes the pid file.
///
/// # Errors
/// Why it can't be written, in words.
pub fn write_pid(origin: &Origin, blueprint: &Blueprint) -> Result<PidFile, String> {
    let path = &blueprint.process.pid;
    // A directory that can't be made is told of by the file that can't be written there.
    let _ = origin.paths.make_room(path);
    PidFile::replace(path).map_err(|error| error.to_string())
}

fn writes_to_stderr(errors: &ErrorLog) -> bool {
    errors.files().any(|log| log.path() == Path::new(STDERR))
}

fn say(words: &str) -> Stopped {
    let _ = writeln!(io::stderr(), "{NAME}: [emerg] {words}");
    Stopped
}
