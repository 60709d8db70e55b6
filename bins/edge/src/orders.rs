//! What master and worker say to each other, with the descriptors that travel beside it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use nginx_conf::SourceSet;
use proxy_core::engine::ports::ListenAddress;
use serde::{Deserialize, Serialize};
use supervisor::Identity;

use crate::logs::Handed;
use crate::paths::Paths;
use crate::worker::Goods;

/// What the master tells its worker, beside the orders to end.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    /// Become this and serve this. The first order, once.
    Start(Rights, Manifest),
    /// Serve this instead.
    Reload(Manifest),
    /// Go on with logs that were opened anew.
    Reopen(Manifest),
}

/// What the worker tells its master.
#[derive(Debug, Serialize, Deserialize)]
pub enum Report {
    /// What was ordered last but one `Reload` is served: this is the serial number of its manifest.
    Serves(u64),
    /// A manifest can't be served.
    Refuses(u64, String),
}

/// What the worker process is and may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    /// Whom it becomes: user, group, supplementary groups; `None` to stay who it is.
    pub identity: Option<(u32, u32, Option<Vec<u32>>)>,
    /// `worker_rlimit_nofile`.
    pub open_files_max: Option<u64>,
    /// `worker_priority`.
    pub priority: Option<i32>,
    /// `working_directory`.
    pub working_directory: Option<PathBuf>,
}

impl Rights {
    /// The identity, as the supervisor knows it.
    pub fn identity(&self) -> Option<Identity> {
        let (uid, gid, groups) = self.identity.clone()?;
        Some(Identity { uid, gid, groups })
    }
}

/// A configuration without its descriptors: what is named here comes beside it, sockets first, in this order.
#[derive(Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Tells the answers to several apart.
    pub serial: u64,
    sources: SourceSet,
    paths: Paths,
    listens: Vec<ListenAddress>,
    logs: Vec<PathBuf>,
}

impl Manifest {
    /// Describes what is handed over.
    pub fn of(serial: u64, goods: &Goods) -> Self {
        Self {
            serial,
            sources: goods.sources.clone(),
            paths: goods.paths.clone(),
            listens: goods
                .listens
                .iter()
                .map(|(address, _)| address.clone())
                .collect(),
            logs: goods.logs.iter().map(|(path, _)| path.clone()).collect(),
        }
    }

    /// Puts both together again.
    ///
    /// # Errors
    /// When descriptors are missing.
    pub fn with(self, fds: Vec<OwnedFd>) -> io::Result<Goods> {
        if fds.len() != self.listens.len() + self.logs.len() {
            return Err(io::Error::other(format!(
                "{} descriptors came for {} sockets and {} logs",
                fds.len(),
                self.listens.len(),
                self.logs.len()
            )));
        }
        let mut fds = fds.into_iter();
        let listens = self.listens.into_iter().zip(fds.by_ref()).collect();
        let logs = self
            .logs
            .into_iter()
            .zip(fds)
            .map(|(path, fd)| (path, File::from(fd)) as Handed)
            .collect();
        Ok(Goods {
            sources: self.sources,
            paths: self.paths,
            listens,
            logs,
        })
    }
}

/// The descriptors of what a [`Manifest`] describes.
pub fn descriptors(goods: &Goods) -> Vec<BorrowedFd<'_>> {
    let sockets = goods.listens.iter().map(|(_, socket)| socket.as_fd());
    sockets
        .chain(goods.logs.iter().map(|(_, file)| file.as_fd()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::path::Path;

    fn goods() -> Goods {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = ListenAddress::Inet(socket.local_addr().expect("it is bound"));
        let log = File::open("/dev/null").expect("it is always there");
        Goods {
            sources: SourceSet::of([("/c", "events {}")]),
            paths: Paths::new(Path::new("/"), None, None, None),
            listens: vec![(address, socket.into())],
            logs: vec![("/dev/null".into(), log)],
        }
    }

    #[test]
    fn a_manifest_and_its_descriptors_make_the_same_goods() {
        let goods = goods();
        let manifest = Manifest::of(3, &goods);
        let fds = descriptors(&goods);
        let fds: Vec<OwnedFd> = fds
            .iter()
            .map(|fd| fd.try_clone_to_owned().expect("descriptors are left"))
            .collect();
        let same = manifest.with(fds).expect("nothing is missing");
        assert_eq!(same.sources, goods.sources);
        assert_eq!(same.paths, goods.paths);
        assert_eq!(same.listens[0].0, goods.listens[0].0);
        assert_eq!(same.logs[0].0, goods.logs[0].0);
    }

    #[test]
    fn missing_descriptors_are_noticed() {
        let error = Manifest::of(1, &goods()).with(Vec::new()).err();
        let words = error.map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(words, "0 descriptors came for 1 sockets and 1 logs");
    }
}
