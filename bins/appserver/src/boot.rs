//! From the command line to a server that serves.

use std::io::IsTerminal;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use appserver_protocol::{Failure, FromTemplate, Hook, Settled, Stage, ToTemplate};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use supervisor::pidfile::{PidFileError, with_suffix};
use supervisor::process::{Daemon, Waiting, daemonize, set_umask, silence};
use supervisor::reap::become_subreaper;
use supervisor::socket_activation::Sockets;
use supervisor::{PidFile, Predecessor, Signal, Signals};

use crate::VERSION;
use crate::address::Tuple;
use crate::control::{Control, Staged};
use crate::doors::{DoorFault, Doors};
use crate::given::Given;
use crate::log::Log;
use crate::python::Interpreter;
use crate::server::{self, Manner, Release, Server};
use crate::settings::{Resolved, print, told};
use crate::start::{FromFile, Start};
use crate::template::{Broken, Template};

/// What is wrong with the configuration, the pid file or the addresses.
pub(crate) const FAILURE: u8 = 1;
/// Signals that end the program before it serves.
pub(crate) const ENDING: [Signal; 3] = [Signal::TERM, Signal::INT, Signal::QUIT];
/// How often an address in use is tried, and how long the pauses are.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);
/// The mask of a daemon's files.
const DAEMON_UMASK: u32 = 0o022;
/// The pid file of a new binary, while the old one runs.
pub(crate) const SUCCESSOR_SUFFIX: &str = ".2";

/// Why there is no server.
enum Halt {
    /// It was said already, or needs no words; the exit status.
    Said(u8),
    /// The words for standard error.
    Tell(String),
}

/// Runs the server to its end; the result is the exit status.
pub(crate) fn run(start: Start, inherited: Sockets) -> u8 {
    match bring_up(start, inherited) {
        Ok((server, master, early)) => server.run(master, &early),
        Err(Halt::Said(status)) => status,
        Err(Halt::Tell(words)) => {
            eprintln!("\n{words}");
            FAILURE
        }
    }
}

/// A server, its master, and the signals that came before it listens to them itself.
type Up = (Server, supervisor::Master, Vec<Signal>);

fn bring_up(start: Start, mut inherited: Sockets) -> Result<Up, Halt> {
    let interpreter = Interpreter::find(start.python()).map_err(error)?;
    let mut signals = Signals::listen(&ENDING).map_err(|fault| error(fault.to_string()))?;
    let (mut template, mut resolved) = configure(&start, &interpreter, &mut signals)?;
    if resolved.is_on("check_config") || resolved.is_on("print_config") {
        return Err(Halt::Said(check(template, &start, &resolved, &mut signals)));
    }
    let mut waiting = None;
    // A new binary (USR2) is a daemon already, and has to stay a child of the old one.
    if resolved.is_on("daemon") && Predecessor::from_env().is_none() {
        // Only this process can be the parent of the workers, and after it became a daemon it is another one.
        template.dismiss();
        drop(signals);
        waiting = Some(become_daemon(&resolved).map_err(error)?);
        signals = Signals::listen(&ENDING).map_err(|fault| error(fault.to_string()))?;
        (template, resolved) = configure(&start, &interpreter, &mut signals)?;
    }
    // Whoever can connect may send signals too, and their defaults would end or stop this process.
    let mut others =
        Signals::listen(&server::OTHER_SIGNALS).map_err(|fault| error(fault.to_string()))?;
    let brought = serve_from(&mut inherited, &start, template, resolved, &mut signals);
    let (release, doors, log, pid_file, control) = match brought {
        Ok(brought) => brought,
        Err(halt) => {
            let status = match halt {
                Halt::Said(status) => status,
                Halt::Tell(words) => {
                    eprintln!("\n{words}");
                    FAILURE
                }
            };
            if let Some(waiting) = waiting {
                waiting.release(status);
            }
            return Err(Halt::Said(status));
        }
    };
    let (server, master) = Server::new(server::Parts {
        start,
        interpreter,
        log,
        doors,
        pid_file,
        release,
        daemon: waiting,
        control,
    })
    .map_err(|fault| error(fault.to_string()))?;
    let mut early = signals.take();
    early.extend(others.take());
    Ok((server, master, early))
}

type Brought = (Release, Doors, Log, Option<PidFile>, Control);

/// Everything between the settings and the first worker.
fn serve_from(
    inherited: &mut Sockets,
    start: &Start,
    mut template: Template,
    resolved: Resolved,
    signals: &mut Signals,
) -> Result<Brought, Halt> {
    enter(&resolved).map_err(error)?;
    make_logs(&resolved).map_err(error)?;
    let mut manner = settle(&mut template, start, &resolved, signals)?;
    let mut log = Log::to_stderr();
    log.settle(&resolved).map_err(error)?;
    log.speak_through(template.voice().filter(|_| manner.python_logging));
    log.debug(told(&resolved));
    log.info(format_args!("Starting appserver {VERSION}"));
    resolved.notes.iter().for_each(|note| log.warning(note));
    let predecessor = Predecessor::from_env().is_some();
    let pid_file = make_pid_file(&resolved, predecessor)?;
    become_subreaper().map_err(|fault| error(fault.to_string()))?;
    let workers = resolved.number("workers") as u32;
    let changed = Hook::NworkersChanged {
        new: workers,
        old: None,
    };
    hook(&mut template, changed, &[], &log, signals)?;
    hook(&mut template, Hook::OnStarting, &[], &log, signals)?;
    manner.python_logging = logs_by_python(&mut template, signals)?;
    log.speak_through(template.voice().filter(|_| manner.python_logging));
    let mut doors = Doors::inherit(inherited, predecessor);
    open(&mut doors, &resolved, inherited, &log, signals)?;
    let names = doors.names(resolved.is_encrypted());
    log.info(format_args!(
        "Listening at: {} ({})",
        names.join(","),
        std::process::id()
    ));
    let unused = doors.unused(&resolved);
    if !unused.is_empty() {
        log.warning(format_args!(
            "nothing listens on what the service manager gave: {}; name it in bind (--bind systemd:NAME), or take it out of its .socket unit",
            unused.join(", ")
        ));
    }
    log.info(format_args!(
        "Using worker: {}",
        resolved.text("worker_class").unwrap_or("sync")
    ));
    let sockets = doors
        .sockets(resolved.is_encrypted(), None)
        .map_err(|fault| error(fault.to_string()))?;
    let ready = Hook::WhenReady {
        listeners: sockets.iter().map(|(name, _)| name.clone()).collect(),
    };
    let fds: Vec<_> = sockets.iter().map(|(_, socket)| socket.as_fd()).collect();
    hook(&mut template, ready, &fds, &log, signals)?;
    // The old binary still has these sockets.
    let control = match predecessor {
        true => Control::default(),
        false => open_control(&resolved, doors.given(), &log).map_err(error)?,
    };
    let release = Release::new(template, resolved, sockets, manner);
    Ok((release, doors, log, pid_file, control))
}

/// Starts a template and finds the settings.
fn configure(
    start: &Start,
    interpreter: &Interpreter,
    signals: &mut Signals,
) -> Result<(Template, Resolved), Halt> {
    let mut template = Template::start(1, interpreter, &start.launch).map_err(error)?;
    let answer = template.ask(&start.read_config(), signals).map_err(|broken| match broken {
        Broken::Gone(why) => {
            let objection = interpreter.objection();
            let python = interpreter.python.display();
            let module = interpreter.module.display();
            error(objection.unwrap_or_else(|| {
                format!("the Python process ({python}) ended before it read the configuration: {why}; what it said is above; does {module} fit it?")
            }))
        }
        other => halt(other),
    })?;
    let FromTemplate::Config {
        location,
        values,
        places,
    } = answer
    else {
        return Err(error(format!("the Python process answered {answer:?}")));
    };
    let file = FromFile {
        location,
        values,
        places,
    };
    let resolved = start.resolve(file).map_err(|faults| {
        let words: Vec<_> = faults.iter().map(ToString::to_string).collect();
        Halt::Tell(words.join("\n\n"))
    })?;
    if resolved.application.is_empty() {
        return Err(error(
            "No application module specified; name it on the command line (module:name), or as wsgi_app in the configuration file".to_owned(),
        ));
    }
    Ok((template, resolved))
}

/// The order that puts settings into force.
pub(crate) fn settle_order(start: &Start, resolved: &Resolved) -> ToTemplate {
    ToTemplate::Settle(Settled {
        application: resolved.application.clone(),
        arguments: start.words(),
        settings: resolved.settings.clone(),
    })
}

fn settle(
    template: &mut Template,
    start: &Start,
    resolved: &Resolved,
    signals: &mut Signals,
) -> Result<Manner, Halt> {
    template
        .ask(&settle_order(start, resolved), signals)
        .map(|answer| manner(&answer))
        .map_err(|broken| match broken {
            Broken::Failed(failure) => halt(Broken::Failed(at_its_place(failure, resolved))),
            other => halt(other),
        })
}

/// Does Python's logging write the lines, now that a hook has run?
fn logs_by_python(template: &mut Template, signals: &mut Signals) -> Result<bool, Halt> {
    template
        .ask(&ToTemplate::AskLogging, signals)
        .map(|answer| manner(&answer).python_logging)
        .map_err(halt)
}

/// What a template said of itself.
pub(crate) fn manner(answer: &FromTemplate) -> Manner {
    match *answer {
        FromTemplate::Settled {
            python_logging,
            titles,
        } => Manner {
            python_logging,
            titles,
        },
        _ => Manner::default(),
    }
}

/// `--check-config` and `--print-config`; the exit status.
fn check(mut template: Template, start: &Start, resolved: &Resolved, signals: &mut Signals) -> u8 {
    if resolved.is_on("print_config") {
        print!("{}", print(resolved));
    }
    let checked = enter(resolved)
        .map_err(error)
        .and_then(|()| settle(&mut template, start, resolved, signals))
        .and_then(|_| {
            template
                .ask(&ToTemplate::LoadApplication, signals)
                .map(drop)
                .map_err(halt)
        });
    match checked {
        Ok(()) => 0,
        Err(Halt::Said(_)) => FAILURE,
        Err(Halt::Tell(words)) => {
            eprintln!("\n{words}");
            FAILURE
        }
    }
}

fn become_daemon(resolved: &Resolved) -> Result<Waiting, String> {
    set_umask(DAEMON_UMASK);
    let how = Daemon {
        keep_stdout: keeps(resolved, std::io::stdout().is_terminal()),
        keep_stderr: true,
        wait: true,
    };
    daemonize(how).map_err(|fault| fault.to_string())
}

/// The daemon serves: whoever waits for it may go, and its words go nowhere but to the log file.
pub(crate) fn let_go(waiting: Waiting, status: u8, resolved: &Resolved) {
    waiting.release(status);
    let stdout = keeps(resolved, std::io::stdout().is_terminal());
    let stderr = keeps(resolved, std::io::stderr().is_terminal());
    let _ = silence(stdout, stderr);
}

/// A daemon keeps what the shell redirected, where it is told to.
fn keeps(resolved: &Resolved, is_terminal: bool) -> bool {
    resolved.is_on("enable_stdio_inheritance") && !is_terminal
}

/// Goes to the folder to work in.
pub(crate) fn enter(resolved: &Resolved) -> Result<(), String> {
    let folder = resolved.text("chdir").unwrap_or(".");
    supervisor::process::enter(folder.as_ref())
        .map_err(|fault| format!("can't chdir to '{folder}': {fault}"))
}

/// Makes the log files, which belong to the user of the workers, who open them again by themselves.
///
/// # Errors
/// When one cannot be written, with the setting.
pub(crate) fn make_logs(resolved: &Resolved) -> Result<(), String> {
    let (user, group) = (resolved.id("user"), resolved.id("group"));
    for (name, flag) in [
        ("errorlog", "--error-logfile"),
        ("accesslog", "--access-logfile"),
    ] {
        let Some(path) = resolved.text(name).filter(|path| *path != "-") else {
            continue;
        };
        let made = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path);
        let given = made.and_then(|_| match (user, group) {
            (None, None) => Ok(()),
            (user, group) => std::os::unix::fs::chown(path, user, group),
        });
        given.map_err(|fault| format!("'{path}' isn't writable ({name}, {flag}): {fault}"))?;
    }
    Ok(())
}

fn make_pid_file(resolved: &Resolved, predecessor: bool) -> Result<Option<PidFile>, Halt> {
    let Some(path) = resolved.text("pidfile") else {
        return Ok(None);
    };
    let suffix = if predecessor { SUCCESSOR_SUFFIX } else { "" };
    PidFile::create(with_suffix(path.as_ref(), suffix)).map(Some).map_err(|fault| match fault {
        PidFileError::Running { pid, .. } => {
            let pid = pid.as_raw_pid();
            error(format!(
                "Already running on PID {pid} (or pid file '{path}' is stale); stop that process, or remove the file if it is another program"
            ))
        }
        fault => error(fault.to_string()),
    })
}

/// Opens the sockets; an address in use, or not there yet, is tried again for a while.
fn open(
    doors: &mut Doors,
    resolved: &Resolved,
    inherited: &mut Sockets,
    log: &Log,
    signals: &mut Signals,
) -> Result<(), Halt> {
    for attempt in 1..=TRIES {
        let faults = match doors.stage(resolved, inherited) {
            Ok(staged) => {
                doors.commit(staged);
                return Ok(());
            }
            Err(DoorFault::Setting(words)) => return Err(error(words)),
            Err(DoorFault::Bind(faults)) => faults,
        };
        tell(&faults, log);
        let hopeless = !faults.iter().all(supervisor::BindError::may_pass);
        if hopeless || attempt == TRIES {
            let first = faults
                .first()
                .map(|fault| Tuple(&fault.address).to_string());
            log.error(format_args!(
                "Can't connect to {}",
                first.unwrap_or_default()
            ));
            return Err(Halt::Said(FAILURE));
        }
        log.debug("Retrying in 1 second.");
        if pause(signals) {
            return Err(halt(Broken::Interrupted));
        }
    }
    Ok(())
}

/// Opens the side sockets.
///
/// # Errors
/// Why there are no metrics.
pub(crate) fn open_control(
    resolved: &Resolved,
    given: &Given,
    log: &Log,
) -> Result<Control, String> {
    let mut control = Control::default();
    let staged = control.stage(resolved, given)?;
    change_control(&mut control, staged, log);
    Ok(control)
}

/// Puts side sockets in the place of the present ones.
pub(crate) fn change_control(control: &mut Control, staged: Staged, log: &Log) {
    let before = control.metrics_address();
    staged.note.iter().for_each(|note| log.debug(note));
    control.commit(staged);
    match control.metrics_address() {
        Some(address) if before.as_ref() != Some(&address) => {
            log.info(format_args!("Metrics at: {address}"));
        }
        _ => {}
    }
}

/// Logs why addresses cannot be listened on.
pub(crate) fn tell(faults: &[supervisor::BindError], log: &Log) {
    for fault in faults {
        let address = Tuple(&fault.address);
        if fault.in_use() {
            log.error(format_args!("Connection in use: {address}"));
        }
        log.error(fault);
    }
}

/// Waits for a second, or for a signal; true for that.
fn pause(signals: &mut Signals) -> bool {
    let until = Instant::now() + PAUSE;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        {
            let mut fds: Vec<_> = signals
                .fds()
                .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
                .collect();
            let _ = poll(&mut fds, Timespec::try_from(left).ok().as_ref());
        }
        if !signals.take().is_empty() {
            return true;
        }
    }
}

fn hook(
    template: &mut Template,
    hook: Hook,
    fds: &[BorrowedFd<'_>],
    log: &Log,
    signals: &mut Signals,
) -> Result<(), Halt> {
    template
        .ask_with(&ToTemplate::Hook(hook), fds, signals)
        .map(drop)
        .map_err(|broken| match broken {
            Broken::Failed(failure) => {
                log.error(words(&failure));
                Halt::Said(FAILURE)
            }
            other => halt(other),
        })
}

fn error(words: String) -> Halt {
    Halt::Tell(format!("Error: {words}"))
}

/// What a conversation that broke off means for the start.
fn halt(broken: Broken) -> Halt {
    match broken {
        Broken::Interrupted => Halt::Said(0),
        Broken::Gone(why) => error(format!("the Python process is gone: {why}")),
        Broken::Failed(failure) => {
            eprintln!("{}", words(&failure));
            Halt::Said(u8::try_from(failure.exit).unwrap_or(FAILURE))
        }
    }
}

/// A failure to put settings into force, with the place of the setting that it is about.
pub(crate) fn at_its_place(mut failure: Failure, resolved: &Resolved) -> Failure {
    let origin = (failure.stage == Stage::Settle)
        .then(|| resolved.origin_of(&failure.message))
        .flatten();
    if let Some(origin) = origin.filter(|origin| !failure.message.contains(*origin)) {
        failure.message.push_str(&format!("\n(set at: {origin})"));
    }
    failure
}

/// A failure of the template's, in words, with its traceback.
pub(crate) fn words(failure: &Failure) -> String {
    let heading = match failure.stage {
        Stage::Application if failure.exit == appserver_protocol::exit::APP_LOAD => {
            "App failed to load: "
        }
        Stage::Application => "Error while loading the application: ",
        _ => "",
    };
    let traceback = failure
        .traceback
        .as_deref()
        .map(|text| format!("\n{}", text.trim_end()));
    format!(
        "{heading}{}{}",
        failure.message,
        traceback.unwrap_or_default()
    )
}
