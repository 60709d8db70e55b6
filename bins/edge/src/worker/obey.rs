//! The first thread of a worker: takes its orders until it is told to end.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::Duration;

use proxy_core::engine::logs::{ErrorLog, Level};
use socket_activation::Sockets;
use supervisor::{ChannelError, Link, Received, Signal, Signals};
use tokio::io::unix::AsyncFd;

use super::hearing::{Hearing, readable};
use super::realm::{Goods, Realm};
use crate::exit;
use crate::orders::{Manifest, Order, Report, Rights};

/// How a process goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// As before.
    Serve,
    /// Accepts no more and ends with its last connection.
    Finish,
    /// Ends now.
    Stop,
}

/// The worker, from its first instruction to its last.
pub fn run() -> ExitCode {
    // The name that `top` shows; it would be that of the file, which is `exe` of /proc.
    let _ = rustix::thread::set_name(c"edge");
    // Before anything else: a signal that comes now is not to end a worker that is told the same in a moment.
    let signals = Signals::listen(&[
        Signal::TERM,
        Signal::INT,
        Signal::QUIT,
        Signal::HUP,
        Signal::USR1,
        Signal::USR2,
    ]);
    let prepared = signals
        .map_err(|error| format!("signals can't be heard: {error}"))
        .and_then(|signals| Ok((signals, prepare()?)));
    match prepared {
        Ok((signals, (link, realm))) => serve(signals, link, realm),
        Err(words) => {
            eprintln!("{}: [alert] a worker can't start: {words}", crate::NAME);
            ExitCode::from(exit::UNFIT)
        }
    }
}

/// Waits for the first order and follows it. A refusal is reported to the master before the process ends.
fn prepare() -> Result<(Link, Realm), String> {
    let mut sockets = Sockets::take().map_err(|error| error.to_string())?;
    let mut link = Link::take(&mut sockets).map_err(|error| error.to_string())?;
    let Received { message, fds } = link.wait::<Order>().map_err(|error| error.to_string())?;
    let supervisor::Order::Program(Order::Start(rights, manifest)) = message else {
        return Err("the master's first order is not to start".to_owned());
    };
    let serial = manifest.serial;
    let opened = assume(&rights)
        .and_then(|()| manifest.with(fds).map_err(|error| error.to_string()))
        .and_then(Realm::open);
    match opened {
        Ok(realm) => Ok((link, realm)),
        Err(words) => {
            let _ = link.report(Report::Refuses(serial, words.clone()), &[]);
            Err(words)
        }
    }
}

/// Becomes what the master wants; what needs the rights of root comes first.
fn assume(rights: &Rights) -> Result<(), String> {
    supervisor::process::raise_open_files(rights.open_files_max)
        .map_err(|error| error.to_string())?;
    if let Some(priority) = rights.priority {
        rustix::process::setpriority_process(None, priority)
            .map_err(|error| format!("worker_priority {priority} can't be set: {error}"))?;
    }
    if let Some(identity) = rights.identity() {
        identity.assume().map_err(|error| error.to_string())?;
    }
    if let Some(folder) = &rights.working_directory {
        supervisor::process::enter(folder).map_err(|error| error.to_string())?;
        // What the directive is for.
        supervisor::process::allow_core_files().map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn serve(signals: Signals, link: Link, realm: Realm) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(proxy_core::engine::logs::flush)
        .build();
    let served = runtime.and_then(|runtime| runtime.block_on(obey(signals, link, realm)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: [alert] a worker can't go on: {error}", crate::NAME);
            ExitCode::FAILURE
        }
    }
}

async fn obey(signals: Signals, link: Link, mut realm: Realm) -> io::Result<()> {
    let mut hearing = Hearing::new(signals)?;
    let mut master = Master::new(link)?;
    realm.log_panics();
    // Said first: a master that does not know of it yet could tell us to drop what we have accepted meanwhile. One that can't be
    // told is gone, which the first look at the channel tells, too.
    let _ = master.link.ready();
    realm.accept();
    loop {
        let errors = realm.errors();
        let progress = tokio::select! {
            signal = hearing.next() => on_signal(signal),
            order = master.next(&errors) => follow(order, &master.link, &mut realm),
        };
        match progress {
            Progress::Serve => {}
            Progress::Stop => break,
            Progress::Finish => {
                let timeout = realm.process.shutdown_timeout;
                let until = hurry(&mut hearing, &mut master, &errors);
                finish(&mut realm, timeout, until).await;
                break;
            }
        }
    }
    realm.stop();
    Ok(())
}

/// While the last connections end, only the order to hurry counts.
async fn hurry(hearing: &mut Hearing, master: &mut Master, errors: &ErrorLog) {
    loop {
        tokio::select! {
            signal = hearing.next() => if on_signal(signal) == Progress::Stop { return },
            order = master.next(errors) => {
                if let Some(supervisor::Order::EndQuickly) = order.map(|received| received.message) {
                    return;
                }
            }
        }
    }
}

/// The control channel.
struct Master {
    link: Link,
    /// `None` when the master is gone.
    channel: Option<AsyncFd<OwnedFd>>,
}

impl Master {
    fn new(link: Link) -> io::Result<Self> {
        let channel = readable(link.as_fd().try_clone_to_owned()?)?;
        Ok(Self {
            link,
            channel: Some(channel),
        })
    }

    /// The next order; `None` once, when the master is gone. Cancel safe.
    async fn next(&mut self, errors: &ErrorLog) -> Option<Received<supervisor::Order<Order>>> {
        loop {
            let Some(channel) = &self.channel else {
                return std::future::pending().await;
            };
            match self.link.try_next::<Order>() {
                Ok(Some(received)) => return Some(received),
                Ok(None) => match channel.readable().await {
                    Ok(mut ready) => ready.clear_ready(),
                    Err(_) => self.channel = None,
                },
                Err(ChannelError::Closed | ChannelError::Io(_)) => {
                    self.channel = None;
                    return None;
                }
                Err(error) => complain(errors, &error.to_string()),
            }
        }
    }
}

/// Accepts no more and waits for the last connection, for `timeout` (`worker_shutdown_timeout`), or for `until`.
pub async fn finish(realm: &mut Realm, timeout: Option<Duration>, until: impl Future<Output = ()>) {
    let errors = realm.errors();
    errors.write(
        Level::Notice,
        None,
        format_args!("gracefully shutting down"),
    );
    let crew = realm.crew();
    crew.finish();
    let late = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = crew.finished() => {}
        () = until => {}
        () = late => errors.write(
            Level::Notice,
            None,
            format_args!("connections are closed that outlive worker_shutdown_timeout"),
        ),
    }
}

fn on_signal(signal: Signal) -> Progress {
    match signal {
        Signal::TERM => Progress::Stop,
        Signal::QUIT => Progress::Finish,
        // The terminal sends INT to the whole group; the master says what it means. The others are for the master, too.
        _ => Progress::Serve,
    }
}

/// Without a master there would be no reload, no log rotation, no end: then finish and go.
fn follow(
    order: Option<Received<supervisor::Order<Order>>>,
    link: &Link,
    realm: &mut Realm,
) -> Progress {
    let Some(Received { message, fds }) = order else {
        return Progress::Finish;
    };
    match message {
        supervisor::Order::EndGracefully => return Progress::Finish,
        supervisor::Order::EndQuickly => return Progress::Stop,
        supervisor::Order::Program(Order::Start(_, manifest) | Order::Reload(manifest)) => {
            let serial = manifest.serial;
            let replaced = goods(manifest, fds).and_then(|goods| realm.replace(goods));
            let report = match replaced {
                Ok(()) => Report::Serves(serial),
                Err(words) => Report::Refuses(serial, words),
            };
            let _ = link.report(report, &[]);
        }
        supervisor::Order::Program(Order::Reopen(manifest)) => match goods(manifest, fds) {
            Ok(goods) => realm.reopen(goods.logs),
            Err(words) => complain(&realm.errors(), &format!("logs are not reopened: {words}")),
        },
    }
    Progress::Serve
}

fn goods(manifest: Manifest, fds: Vec<OwnedFd>) -> Result<Goods, String> {
    manifest.with(fds).map_err(|error| error.to_string())
}

fn complain(errors: &ErrorLog, words: &str) {
    errors.write(Level::Alert, None, format_args!("{words}"));
}
