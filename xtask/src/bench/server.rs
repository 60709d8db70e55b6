//! The servers under measurement: how they are started, and what they have used.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use testkit::{Address, Deadline, FreePort, StopFlag};

use super::machine::Cores;
use crate::process::{self, Guarded, describe};
use crate::tree;

const START_LIMIT: Duration = Duration::from_secs(30);

/// One or more processes that serve together.
pub struct Subject {
    /// What the table calls it.
    pub name: String,
    /// Where wrk finds it.
    pub address: SocketAddr,
    /// How it was started, for the reader.
    pub commands: Vec<String>,
    running: Vec<Guarded>,
}

impl Subject {
    /// One without processes yet, at a port that was free a moment ago: not every server that is compared takes one that is reserved.
    pub fn new(name: &str) -> Result<Self, String> {
        let port = FreePort::find().map_err(|error| format!("no free port: {error}"))?;
        Ok(Subject {
            name: name.to_owned(),
            address: port.address(),
            commands: Vec::new(),
            running: Vec::new(),
        })
    }

    /// Starts a process on a core and waits until it takes connections.
    pub fn start(
        &mut self,
        core: usize,
        command: &Command,
        listens: &Address,
        log: &Path,
    ) -> Result<(), String> {
        let mut bound = Cores::bound(core, command.get_program());
        bound.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => bound.env(name, value),
                None => bound.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            bound.current_dir(folder);
        }
        self.commands.push(describe(command));
        let mut started = Guarded::spawn_logged(&mut bound, log)?;
        if !wait_for(listens, &mut started) {
            let said = process::tail(log, 20);
            return Err(format!(
                "{} did not start\n$ {}\n{said}",
                self.name,
                describe(command)
            ));
        }
        self.running.push(started);
        Ok(())
    }

    /// CPU time of everything so far, in microseconds.
    pub fn cpu_us(&self) -> u64 {
        self.running
            .iter()
            .map(|process| tree::cpu_us(process.id()))
            .sum()
    }

    /// Memory of everything, in KiB.
    pub fn pss_kib(&self) -> u64 {
        self.running
            .iter()
            .map(|process| tree::pss_kib(process.id()))
            .sum()
    }
}

/// Waits until a server takes connections; false when it ended before, or we shall, or it takes too long.
pub fn wait_for(listens: &Address, server: &mut Guarded) -> bool {
    let up = Deadline::after(START_LIMIT).poll(&StopFlag::default(), || {
        if server.ended().is_some() || process::interrupted() {
            return Some(false);
        }
        takes_connections(listens).then_some(true)
    });
    up == Some(true)
}

fn takes_connections(address: &Address) -> bool {
    match address {
        Address::Tcp(address) => TcpStream::connect(address).is_ok(),
        Address::Unix(path) => UnixStream::connect(path).is_ok(),
    }
}

/// A configuration that nginx and edge read alike, and the command that starts either with it.
pub fn front(
    program: &Path,
    prefix: PathBuf,
    servers: &str,
    listen: SocketAddr,
) -> Result<Command, String> {
    let text = configuration(servers, listen);
    let told = |error: std::io::Error| format!("can't write in \"{}\": {error}", prefix.display());
    std::fs::create_dir_all(prefix.join("tmp")).map_err(told)?;
    std::fs::write(prefix.join("nginx.conf"), text).map_err(told)?;
    let mut globals = "daemon off;".to_owned();
    if rustix::process::geteuid().is_root() {
        globals.push_str(" user root;");
    }
    let mut command = Command::new(program);
    command
        .arg("-p")
        .arg(format!("{}/", prefix.display()))
        .arg("-c")
        .arg(prefix.join("nginx.conf"))
        .args(["-g", &globals]);
    Ok(command)
}

/// One worker, connections that stay, no access log.
pub fn configuration(servers: &str, listen: impl std::fmt::Display) -> String {
    let servers = servers.replace("LISTEN", &listen.to_string());
    format!(
        "worker_processes  1;\npid  front.pid;\nerror_log  error.log;\n\nevents {{ worker_connections  20000; }}\n\n\
         http {{\n    default_type  text/plain;\n    access_log  off;\n    sendfile  on;\n    keepalive_timeout  300;\n    \
         keepalive_requests  1000000;\n    client_body_temp_path  tmp/body;\n    proxy_temp_path  tmp/proxy;\n\n{servers}}}\n"
    )
}
