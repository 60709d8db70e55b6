//! A template as the master sees it: a process, a channel, and the answers that are owed.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::process::Command;
use std::time::{Duration, Instant};

use appserver_protocol::{BOOTSTRAP, Failure, FromTemplate, TEMPLATE, ToTemplate};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use supervisor::socket_activation::LISTEN_VARIABLES;
use supervisor::{Channel, ChannelError, Exit, Launch, Pid, Received, Signals, WorkerId};

use crate::python::Interpreter;

/// What an answer is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The configuration file.
    Config,
    /// The settings are in force.
    Settle,
    /// A hook ran; its name.
    Hook(&'static str),
    /// The hook before a new binary.
    PreExec,
    /// A worker.
    Fork(WorkerId),
    /// Nothing: it says so by itself.
    Nothing,
}

/// A template.
#[derive(Debug)]
pub(crate) struct Template {
    /// Tells it from others.
    pub number: u64,
    /// Its process.
    pub pid: Pid,
    channel: Channel,
    owed: VecDeque<Asked>,
    /// How many workers its hooks want.
    workers: Option<u32>,
    closed: bool,
}

/// Why the conversation is over.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The template refused or failed.
    Failed(Failure),
    /// The process is gone, or the channel does not work.
    Gone(String),
    /// A signal to end came meanwhile.
    Interrupted,
}

impl Template {
    /// Starts one, in the folder and with the environment that the master was started with.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn start(number: u64, interpreter: &Interpreter, launch: &Launch) -> Result<Self, String> {
        let (channel, theirs) = Channel::pair().map_err(|error| error.to_string())?;
        // There is one thread, so no other process inherits it.
        fcntl_setfd(&theirs, FdFlags::empty()).map_err(|errno| errno.to_string())?;
        let mut command = Command::new(&interpreter.python);
        command
            .args(["-c", BOOTSTRAP])
            .arg(&interpreter.module)
            .args([TEMPLATE, &theirs.as_raw_fd().to_string()])
            .current_dir(&launch.folder)
            .env_clear()
            .envs(launch.variables.iter().map(|(name, value)| (name, value)));
        for variable in LISTEN_VARIABLES {
            command.env_remove(variable);
        }
        let child = command.spawn().map_err(|error| {
            format!(
                "the Python interpreter {} cannot be started: {error}",
                interpreter.python.display()
            )
        })?;
        Ok(Self {
            number,
            pid: Pid::from_child(&child),
            channel,
            owed: VecDeque::new(),
            workers: None,
            closed: false,
        })
    }

    /// Gives an order; the answer comes later. `false` when it does not listen.
    pub fn order(&mut self, order: &ToTemplate, asked: Asked, fds: &[BorrowedFd<'_>]) -> bool {
        let sent = !self.closed && matches!(self.channel.try_send(order, fds), Ok(true));
        if sent {
            self.owed.push_back(asked);
        }
        sent
    }

    /// The next answer, if one is there, and what it answers.
    ///
    /// # Errors
    /// When the template is gone; only [`Template::forsaken`] is left to ask then.
    pub fn next(&mut self) -> Result<Option<(Asked, FromTemplate)>, String> {
        match self.channel.try_receive() {
            Ok(None) => Ok(None),
            Ok(Some(received)) if matches!(received.message, FromTemplate::Workers { .. }) => {
                Ok(Some((Asked::Nothing, received.message)))
            }
            Ok(Some(received)) => match self.owed.pop_front() {
                Some(asked) => Ok(Some((asked, received.message))),
                None => Ok(None),
            },
            Err(error) => {
                self.closed = true;
                Err(error.to_string())
            }
        }
    }

    /// How many workers hooks have asked for while [`Template::ask`] waited.
    pub fn workers(&self) -> Option<u32> {
        self.workers
    }

    /// Notes how many workers its hooks want.
    pub fn want_workers(&mut self, number: u32) {
        self.workers = Some(number);
    }

    /// The answers that will not come any more.
    pub fn forsaken(&mut self) -> impl Iterator<Item = Asked> + use<> {
        std::mem::take(&mut self.owed).into_iter()
    }

    /// Is nothing to be had from it any more?
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Gives an order and waits for the answer, or for a signal that ends the program.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn ask(
        &mut self,
        order: &ToTemplate,
        signals: &mut Signals,
    ) -> Result<FromTemplate, Broken> {
        self.converse(order, &[], signals, None)
    }

    /// As [`Template::ask`], with descriptors.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn ask_with(
        &mut self,
        order: &ToTemplate,
        fds: &[BorrowedFd<'_>],
        signals: &mut Signals,
    ) -> Result<FromTemplate, Broken> {
        self.converse(order, fds, signals, None)
    }

    /// As [`Template::ask`], but not for longer than `patience`.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn ask_within(
        &mut self,
        order: &ToTemplate,
        signals: &mut Signals,
        patience: Duration,
    ) -> Result<FromTemplate, Broken> {
        self.converse(order, &[], signals, Some(Instant::now() + patience))
    }

    /// The answers that are owed are not waited for; [`Template::ask`] passes over them.
    fn converse(
        &mut self,
        order: &ToTemplate,
        fds: &[BorrowedFd<'_>],
        signals: &mut Signals,
        until: Option<Instant>,
    ) -> Result<FromTemplate, Broken> {
        let gone = |error: ChannelError| Broken::Gone(error.to_string());
        self.channel.send(order, fds).map_err(gone)?;
        loop {
            if !signals.take().is_empty() {
                return Err(Broken::Interrupted);
            }
            match self.channel.try_receive::<FromTemplate>() {
                Ok(Some(Received {
                    message: FromTemplate::Workers { number },
                    ..
                })) => {
                    self.workers = Some(number);
                    continue;
                }
                Ok(Some(_)) if self.owed.pop_front().is_some() => continue,
                Ok(Some(received)) => match received.message {
                    FromTemplate::Failed(failure) => return Err(Broken::Failed(failure)),
                    answer => return Ok(answer),
                },
                Ok(None) => {}
                Err(error) => return Err(self.cause(error)),
            }
            let mut fds = vec![PollFd::new(&self.channel, PollFlags::IN)];
            fds.extend(
                signals
                    .fds()
                    .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)),
            );
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let timeout = left.and_then(|left| Timespec::try_from(left).ok());
            match poll(&mut fds, timeout.as_ref()) {
                Ok(0) => return Err(Broken::Gone("it takes too long".to_owned())),
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(Broken::Gone(errno.to_string())),
            }
        }
    }

    /// How the process ended, when that is why it does not answer.
    fn cause(&mut self, error: ChannelError) -> Broken {
        self.closed = true;
        if !matches!(error, ChannelError::Closed) {
            // It lives, and says what this master does not understand.
            return Broken::Gone(error.to_string());
        }
        let ended = rustix::process::waitpid(Some(self.pid), rustix::process::WaitOptions::empty());
        let exit = ended
            .ok()
            .flatten()
            .and_then(|(_, status)| Exit::from_wait(status));
        Broken::Gone(exit.map_or_else(|| error.to_string(), |exit| format!("its process {exit}")))
    }

    /// For lines that its logging is to write.
    pub fn voice(&self) -> Option<Channel> {
        let descriptor = self.channel.as_fd().try_clone_to_owned().ok()?;
        Channel::from_fd(descriptor).ok()
    }

    /// Tells it to end. Dropping it does so too.
    pub fn dismiss(self) {
        let _ = self.channel.try_send(&ToTemplate::Exit, &[]);
    }
}

impl AsFd for Template {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}
