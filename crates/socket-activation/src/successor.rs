//! Starting another program that takes over sockets by the `LISTEN_FDS` protocol.
//!
//! `LISTEN_PID` must hold the number of the new process, which exists only after the fork, where neither memory may
//! be allocated nor the environment changed. So everything is laid out before the fork: the arguments, the
//! environment as a block with room for the digits of `LISTEN_PID`, and the numbers of the descriptors. What runs in
//! the child (`Image::exec`, as the `pre_exec` step of [`std::process::Command`]) makes system calls only: `dup2`
//! each socket to its place, write the digits of `getpid` into the room, `execve`. When that fails, the error travels
//! back through the pipe that `Command` keeps for it, so [`Successor::spawn`] reports it like any other failed start.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString, c_char};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::{Access, access};
use rustix::io::fcntl_dupfd_cloexec;

use crate::{FIRST_FD, LISTEN_VARIABLES, NOTIFY_VARIABLES, name};

/// Digits that the number of a process can have: `pid_max` is below 2^22, `pid_t` below 2^31.
const PID_DIGITS: usize = 10;
const PID_VARIABLE: &[u8] = b"LISTEN_PID=";

/// Why a successor was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandoverError {
    /// The name of a socket breaks the rules of `LISTEN_FDNAMES`.
    #[error("{name:?} cannot name a socket for {program:?}: {reason}")]
    Name {
        /// The name.
        name: String,
        /// The program that was to be started.
        program: PathBuf,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// There is no such program in the folders of `PATH`.
    #[error("the program {program:?} is not in any folder of PATH ({path:?}); give its full path")]
    NotFound {
        /// What was looked for.
        program: PathBuf,
        /// Where it was looked for.
        path: OsString,
    },
    /// An argument or a variable has a NUL byte in it, which no program can be given.
    #[error("{what} for {program:?} has a NUL byte in it: {text:?}")]
    Nul {
        /// What has it.
        what: &'static str,
        /// Its text.
        text: OsString,
        /// The program that was to be started.
        program: PathBuf,
    },
    /// A descriptor could not be duplicated.
    #[error(
        "no descriptors left to hand sockets to {program:?}: {source}; raise the limit of open files (ulimit -n)"
    )]
    Descriptors {
        /// The program that was to be started.
        program: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Fork or exec failed.
    #[error("{program:?} cannot be started: {source}")]
    Start {
        /// The program.
        program: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// A program about to be started with sockets, the counterpart of [`Sockets::take`](crate::Sockets::take).
///
/// It inherits arguments, environment, folder and standard streams as with [`Command`]. The variables of
/// [`LISTEN_VARIABLES`] are always replaced. `NOTIFY_SOCKET` and its kin stay: a new main process wants them; for a
/// worker call [`Successor::silent`].
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = std::net::TcpListener::bind("127.0.0.1:8000")?;
/// let child = socket_activation::Successor::new("/usr/local/bin/web")
///     .arg("--quiet")
///     .socket("http", &listener)?
///     .spawn()?;
/// # drop(child);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Successor {
    program: PathBuf,
    arg0: Option<OsString>,
    args: Vec<OsString>,
    variables: BTreeMap<OsString, OsString>,
    names: Vec<String>,
    fds: Vec<OwnedFd>,
    command: Command,
}

impl Successor {
    /// A program, by its path or by a name that is looked for in `PATH`. The environment is copied now.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        let program = program.into();
        Self {
            command: Command::new(&program),
            program,
            arg0: None,
            args: Vec::new(),
            variables: std::env::vars_os().collect(),
            names: Vec::new(),
            fds: Vec::new(),
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// What the program sees as its own name; default: the program as given to [`Successor::new`].
    #[must_use]
    pub fn arg0(mut self, arg0: impl Into<OsString>) -> Self {
        self.arg0 = Some(arg0.into());
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// Removes a variable.
    #[must_use]
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.variables.remove(name.as_ref());
        self
    }

    /// Starts from an empty environment.
    #[must_use]
    pub fn env_clear(mut self) -> Self {
        self.variables.clear();
        self
    }

    /// Keeps the program from speaking to the service manager: removes [`NOTIFY_VARIABLES`].
    #[must_use]
    pub fn silent(self) -> Self {
        NOTIFY_VARIABLES.iter().fold(self, Self::env_remove)
    }

    /// The folder that it starts in.
    #[must_use]
    pub fn current_dir(mut self, folder: impl AsRef<Path>) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Its standard input.
    #[must_use]
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.command.stdin(stdin);
        self
    }

    /// Its standard output.
    #[must_use]
    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.command.stdout(stdout);
        self
    }

    /// Its standard error.
    #[must_use]
    pub fn stderr(mut self, stderr: impl Into<Stdio>) -> Self {
        self.command.stderr(stderr);
        self
    }

    /// Hands over a copy of a socket, or of any other descriptor, under a name. The caller keeps its own.
    ///
    /// # Errors
    /// [`HandoverError::Name`], [`HandoverError::Descriptors`].
    pub fn socket(mut self, name: &str, fd: impl AsFd) -> Result<Self, HandoverError> {
        if let Some(reason) = name::fault(name) {
            let name = name.to_owned();
            return Err(HandoverError::Name {
                name,
                program: self.program,
                reason,
            });
        }
        match fcntl_dupfd_cloexec(fd, FIRST_FD) {
            Ok(copy) => self.fds.push(copy),
            Err(errno) => return Err(self.no_descriptors(errno)),
        }
        self.names.push(name.to_owned());
        Ok(self)
    }

    /// How many descriptors are handed over so far.
    #[must_use]
    pub fn socket_count(&self) -> usize {
        self.fds.len()
    }

    /// Starts it. The child is the caller's to wait for.
    ///
    /// # Errors
    /// [`HandoverError`]; among them everything that kept the child from becoming the program.
    pub fn spawn(mut self) -> Result<Child, HandoverError> {
        let found = self.find()?;
        // Above the places of the sockets, so that no place is overwritten before it was read.
        let sources: Result<Vec<OwnedFd>, _> = self
            .fds
            .iter()
            .map(|fd| fcntl_dupfd_cloexec(fd, FIRST_FD + self.fds.len() as RawFd))
            .collect();
        let sources = sources.map_err(|errno| self.no_descriptors(errno))?;
        // The places are occupied until the child runs, so that the pipe for errors lands elsewhere.
        let occupied = self.occupy_places()?;
        let mut image = Image::new(&self, &found, sources)?;
        // SAFETY: `Image::exec` is async-signal-safe: system calls on memory prepared here.
        unsafe { self.command.pre_exec(move || Err(image.exec())) };
        let child = self.command.spawn();
        drop(occupied);
        child.map_err(|source| HandoverError::Start {
            program: self.program,
            source,
        })
    }

    fn no_descriptors(&self, errno: rustix::io::Errno) -> HandoverError {
        HandoverError::Descriptors {
            program: self.program.clone(),
            source: errno.into(),
        }
    }

    fn occupy_places(&self) -> Result<Vec<OwnedFd>, HandoverError> {
        let end = FIRST_FD + self.fds.len() as RawFd;
        let mut occupied = Vec::new();
        while let Some(some) = self.fds.first() {
            let copy =
                fcntl_dupfd_cloexec(some, FIRST_FD).map_err(|errno| self.no_descriptors(errno))?;
            if copy.as_raw_fd() >= end {
                break;
            }
            occupied.push(copy);
        }
        Ok(occupied)
    }

    /// The file to execute: `execvp` would search in the child, where nothing may be allocated.
    fn find(&self) -> Result<PathBuf, HandoverError> {
        if self.program.as_os_str().as_bytes().contains(&b'/') {
            return Ok(self.program.clone());
        }
        let path = self.variables.get(OsStr::new("PATH")).cloned();
        let path = path.unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        std::env::split_paths(&path)
            .map(|folder| folder.join(&self.program))
            .find(|file| file.is_file() && access(file, Access::EXEC_OK).is_ok())
            .ok_or_else(|| HandoverError::NotFound {
                program: self.program.clone(),
                path,
            })
    }
}

/// Everything that `execve` needs, laid out before the fork.
struct Image {
    file: CString,
    /// Pointers into `texts`, NULL at the end.
    argv: Vec<*const c_char>,
    /// Pointers into `texts` and to `pid`, NULL at the end.
    envp: Vec<*const c_char>,
    /// `LISTEN_PID=` with room for the digits and a final NUL. Empty when nothing is handed over.
    pid: Box<[u8]>,
    /// Where `argv` and `envp` point to.
    _texts: Vec<CString>,
    /// Copies of the sockets; the one at `i` goes to `FIRST_FD + i`.
    sources: Vec<OwnedFd>,
}

// SAFETY: the pointers lead to heap memory that the image itself owns and never moves or frees while it lives.
unsafe impl Send for Image {}
// SAFETY: as above; nothing is changed through a shared reference.
unsafe impl Sync for Image {}

impl Image {
    fn new(plan: &Successor, file: &Path, sources: Vec<OwnedFd>) -> Result<Self, HandoverError> {
        let c_string = |what: &'static str, text: &OsStr| {
            CString::new(text.as_bytes()).map_err(|_| HandoverError::Nul {
                what,
                text: text.to_owned(),
                program: plan.program.clone(),
            })
        };
        let arg0 = plan.arg0.as_deref().unwrap_or(plan.program.as_os_str());
        let args = std::iter::once(arg0).chain(plan.args.iter().map(OsString::as_os_str));
        let args: Result<Vec<_>, _> = args.map(|arg| c_string("an argument", arg)).collect();
        let variables: Result<Vec<_>, _> = environment(plan)
            .iter()
            .map(|text| c_string("a variable", text))
            .collect();
        let (args, variables) = (args?, variables?);

        let mut pid = Vec::new();
        if !sources.is_empty() {
            pid.extend_from_slice(PID_VARIABLE);
            pid.resize(PID_VARIABLE.len() + PID_DIGITS + 1, 0);
        }
        let pid = pid.into_boxed_slice();
        let mut argv: Vec<_> = args.iter().map(|arg| arg.as_ptr()).collect();
        argv.push(std::ptr::null());
        let mut envp: Vec<_> = variables.iter().map(|text| text.as_ptr()).collect();
        if !pid.is_empty() {
            envp.push(pid.as_ptr().cast());
        }
        envp.push(std::ptr::null());
        let file = c_string("the path", file.as_os_str())?;
        let texts = args.into_iter().chain(variables).collect();
        Ok(Self {
            file,
            argv,
            envp,
            pid,
            _texts: texts,
            sources,
        })
    }

    /// Runs in the child: becomes the program, or says why not. System calls only.
    fn exec(&mut self) -> io::Error {
        for (place, source) in (FIRST_FD..).zip(&self.sources) {
            // SAFETY: dup2 takes any numbers; the places belong to nobody in the child, which is about to exec.
            if unsafe { libc::dup2(source.as_raw_fd(), place) } < 0 {
                return io::Error::last_os_error();
            }
        }
        if !self.pid.is_empty() {
            write_digits(std::process::id(), &mut self.pid[PID_VARIABLE.len()..]);
            // The pointer is taken anew, because the bytes behind the old one were just written.
            let place = self.envp.len() - 2;
            self.envp[place] = self.pid.as_ptr().cast();
        }
        // SAFETY: both lists end with NULL and point to texts that end with NUL and live as long as `self`.
        unsafe { libc::execve(self.file.as_ptr(), self.argv.as_ptr(), self.envp.as_ptr()) };
        io::Error::last_os_error()
    }
}

/// `NAME=value` for each variable but `LISTEN_PID`.
fn environment(plan: &Successor) -> Vec<OsString> {
    let mut texts: Vec<_> = plan
        .variables
        .iter()
        .filter(|(name, _)| {
            LISTEN_VARIABLES
                .iter()
                .all(|listen| name.as_os_str() != *listen)
        })
        .map(|(name, value)| assignment(name, value))
        .collect();
    if !plan.fds.is_empty() {
        texts.push(format!("LISTEN_FDS={}", plan.fds.len()).into());
        texts.push(format!("LISTEN_FDNAMES={}", plan.names.join(":")).into());
    }
    texts
}

fn assignment(name: &OsStr, value: &OsStr) -> OsString {
    OsString::from_vec([name.as_bytes(), b"=", value.as_bytes()].concat())
}

/// Decimal digits and a NUL, without allocating. `room` holds at least [`PID_DIGITS`] + 1 bytes.
fn write_digits(mut number: u32, room: &mut [u8]) {
    let mut digits = [0; PID_DIGITS];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    let used = PID_DIGITS - start;
    room[..used].copy_from_slice(&digits[start..]);
    room[used] = 0;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_fit_at_both_ends() {
        for number in [0, 7, 10, 4_194_304, u32::MAX] {
            let mut room = [b'x'; PID_DIGITS + 1];
            write_digits(number, &mut room);
            let end = room.iter().position(|byte| *byte == 0).unwrap();
            assert_eq!(
                std::str::from_utf8(&room[..end]).unwrap(),
                number.to_string()
            );
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_named_with_the_places_searched() {
        let error = Successor::new("no-such-program")
            .env("PATH", "/usr/bin")
            .spawn()
            .unwrap_err();
        let words = error.to_string();
        assert!(
            words.contains("no-such-program") && words.contains("/usr/bin"),
            "{words}"
        );

        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let error = Successor::new("/no/such/file")
            .socket("a", &listener)
            .unwrap()
            .spawn()
            .unwrap_err();
        let HandoverError::Start { source, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(source.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn names_and_texts_are_checked_before_anything_is_started() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let error = Successor::new("true").socket("a:b", &listener).unwrap_err();
        assert!(error.to_string().contains("colon"), "{error}");
        let error = Successor::new("true").arg("a\0b").spawn().unwrap_err();
        assert!(
            matches!(
                error,
                HandoverError::Nul {
                    what: "an argument",
                    ..
                }
            ),
            "{error}"
        );
    }
}
