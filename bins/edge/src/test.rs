//! `-t` and `-T`: the whole way to serving, short of serving.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use rustix::fs::{Access, access};

use crate::configuration::{Blueprint, Origin};
use crate::logs::reason;
use crate::orders::Rights;
use crate::{NAME, features, listening};

/// Reads the configuration, opens its logs, tries its addresses; reports every fault at once. `dump` prints the text of a good
/// one; `quiet` leaves out what is no error.
pub fn run(origin: &Origin, dump: bool, quiet: bool) -> ExitCode {
    let (blueprint, findings) = origin.read(&features::all());
    findings.print(quiet);
    let conf = origin.paths.conf.display();
    let mut stderr = io::stderr();
    let Some(blueprint) = blueprint else {
        let _ = writeln!(stderr, "{NAME}: configuration file {conf} test failed");
        return ExitCode::FAILURE;
    };
    if !quiet {
        let _ = writeln!(stderr, "{NAME}: the configuration file {conf} syntax is ok");
    }
    if !surroundings_are_fit(&blueprint) {
        let _ = writeln!(stderr, "{NAME}: configuration file {conf} test failed");
        return ExitCode::FAILURE;
    }
    if !quiet {
        let _ = writeln!(
            stderr,
            "{NAME}: configuration file {conf} test is successful"
        );
    }
    if dump {
        return print(&findings.sources().dump());
    }
    ExitCode::SUCCESS
}

/// Checks what depends on the machine: addresses, the place of the pid file, the user.
fn surroundings_are_fit(blueprint: &Blueprint) -> bool {
    let mut faults = listening::check(&blueprint.listens)
        .err()
        .unwrap_or_default();
    faults.extend(pid_fault(&blueprint.process.pid));
    faults.extend(
        Rights::of(&blueprint.process)
            .err()
            .map(|words| (words, None)),
    );
    let mut stderr = io::stderr();
    for (words, advice) in &faults {
        let _ = writeln!(stderr, "{NAME}: [emerg] {words}");
        if let Some(advice) = advice {
            let _ = writeln!(stderr, "  help: {advice}");
        }
    }
    faults.is_empty()
}

/// nginx makes the file to see whether it can; here only the right to is looked at.
fn pid_fault(path: &Path) -> Option<(String, Option<String>)> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let found = if path.exists() {
        access(path, Access::WRITE_OK)
    } else if folder.exists() {
        access(folder, Access::WRITE_OK | Access::EXEC_OK)
    } else {
        // That of a default is made when it is needed.
        access(
            folder.parent().unwrap_or(folder),
            Access::WRITE_OK | Access::EXEC_OK,
        )
        .and(if folder.ends_with("logs") {
            Ok(())
        } else {
            Err(rustix::io::Errno::NOENT)
        })
    };
    let error = io::Error::from(found.err()?);
    let words = format!("open() \"{}\" failed ({})", path.display(), reason(&error));
    Some((
        words,
        Some(
            "name another file with \"pid\", or start edge as a user who may write there"
                .to_owned(),
        ),
    ))
}

/// Prints bytes to standard output; whoever does not read to the end misses the rest.
pub fn print(text: &[u8]) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let _ = writeln!(
                io::stderr(),
                "{NAME}: standard output can't be written: {error}"
            );
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}
