//! Groups of origin servers: nginx's upstreams. Who is next, where names lead, which connections wait.
//!
//! Knows no directive and no request: a feature fills a [`Group`], another one asks it for a peer.

mod names;
mod rotation;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub use names::{LookedUp, Name, Resolve};
use nginx_conf::{Host, PeerAddress};
pub use rotation::{Rotation, Terms, Verdict};

use crate::client::{Pool, PoolSettings};
use crate::engine::zones::Zones;
use crate::server::Address;

/// A group of peers.
pub struct Group {
    name: Arc<str>,
    lines: Vec<Line>,
    names: Vec<Arc<Name>>,
    pool: Pool,
    state: Arc<State>,
    /// Tells groups apart that share a state: no two have the same.
    number: u64,
}

/// A `server` line: where its peers are and what holds for them.
#[derive(Clone)]
pub struct Line {
    /// Where.
    pub source: Source,
    /// What the line says.
    pub terms: Terms,
}

/// Where peers are.
#[derive(Clone)]
pub enum Source {
    /// At this address.
    At(Address),
    /// At all addresses of a name, at this port.
    Named(Arc<Name>, u16),
}

impl Source {
    /// Where the peers of an address are; `default_port` where it tells none.
    pub fn of(address: &PeerAddress, default_port: u16) -> Self {
        match address {
            PeerAddress::Unix(path) => Self::At(Address::Unix(Some(path.as_path().into()))),
            PeerAddress::Inet {
                host: Host::Ip(ip),
                port,
            } => Self::At(Address::Inet((*ip, port.unwrap_or(default_port)).into())),
            PeerAddress::Inet {
                host: Host::Name(name),
                port,
            } => Self::Named(Name::shared(name), port.unwrap_or(default_port)),
        }
    }
}

/// What lives on when the configuration is read again.
#[derive(Default)]
struct State {
    turns: Mutex<Turns>,
}

#[derive(Default)]
struct Turns {
    rotation: Rotation,
    /// Of all names together, when the rotation was filled; `None` before.
    version: Option<u64>,
    /// The number of the group that filled it; 0 for none.
    filled_by: u64,
}

impl Group {
    /// A group. The turns and idle connections of an earlier one with the same name in `zones` go on.
    pub fn new(name: &str, lines: Vec<Line>, pool: PoolSettings, zones: &Zones) -> Self {
        let pool = zones
            .entry("upstream pool", name, Pool::default)
            .with_settings(pool);
        Self::made(
            name,
            lines,
            pool,
            zones.entry("upstream", name, State::default),
        )
    }

    /// A group that nobody will find by its name: for hosts that requests name. Its idle connections are in `pool`.
    pub fn unlisted(name: &str, line: Line, pool: Pool) -> Self {
        Self::made(name, vec![line], pool, Arc::default())
    }

    fn made(name: &str, lines: Vec<Line>, pool: Pool, state: Arc<State>) -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let names = lines.iter().filter_map(|line| match &line.source {
            Source::Named(name, _) => Some(Arc::clone(name)),
            Source::At(_) => None,
        });
        Self {
            name: name.into(),
            names: names.collect(),
            lines,
            pool,
            state,
            number: LAST.fetch_add(1, Ordering::Relaxed) + 1,
        }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The idle connections to its peers.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The next peer that is not among those `tried`; `None` when none is available. A group of one address costs nothing.
    pub fn next(&self, tried: &[Address]) -> Option<Address> {
        if let [
            Line {
                source: Source::At(address),
                terms,
            },
        ] = &*self.lines
            && terms.max_conns == 0
        {
            return (!terms.down && tried.is_empty()).then(|| address.clone());
        }
        self.turns().rotation.next(tried, Instant::now())
    }

    /// A request to a peer that [`next`](Self::next) gave has ended.
    pub fn finish(&self, address: &Address, verdict: Verdict) {
        if !matches!(&*self.lines, [Line { source: Source::At(_), terms }] if terms.max_conns == 0)
        {
            self.turns()
                .rotation
                .finish(address, verdict, Instant::now());
        }
    }

    /// How many peers there are as far as is known, those that are `down` left out: more than that need not be tried.
    pub fn peers(&self) -> usize {
        if self.names.is_empty() {
            self.lines.iter().filter(|line| !line.terms.down).count()
        } else {
            self.turns().rotation.up()
        }
    }

    /// Waits until at least one peer has an address, where all of them are names that were never looked up.
    ///
    /// # Errors
    /// Why none has, in words.
    pub async fn ready(&self) -> Result<(), String> {
        if self.names.len() < self.lines.len() {
            return Ok(());
        }
        let mut why = String::new();
        for name in &self.names {
            match name.resolved().await {
                Ok(()) => return Ok(()),
                Err(error) => why = format!("\"{}\" could not be resolved ({error})", name.text()),
            }
        }
        Err(why)
    }

    /// The turns, filled anew where a name leads somewhere else now.
    fn turns(&self) -> MutexGuard<'_, Turns> {
        let addresses: Vec<_> = self
            .names
            .iter()
            .map(|name| (name.addresses(), name.version()))
            .collect();
        let version = addresses.iter().map(|(_, version)| version).sum();
        let mut turns = self
            .state
            .turns
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if turns.version != Some(version) || turns.filled_by != self.number {
            turns.version = Some(version);
            turns.filled_by = self.number;
            let mut of_names = addresses.into_iter().map(|(addresses, _)| addresses);
            let peers = self.lines.iter().flat_map(|line| {
                let addresses = match &line.source {
                    Source::At(address) => vec![address.clone()],
                    Source::Named(_, port) => {
                        let ips = of_names.next().unwrap_or_default();
                        ips.into_iter()
                            .map(|ip| Address::Inet((ip, *port).into()))
                            .collect()
                    }
                };
                addresses
                    .into_iter()
                    .map(|address| (address, line.terms.clone()))
                    .collect::<Vec<_>>()
            });
            let peers: Vec<_> = peers.collect();
            turns.rotation.set_peers(peers);
        }
        turns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> Line {
        Line {
            source: Source::At(Address::Inet(([127, 0, 0, 1], port).into())),
            terms: Terms::default(),
        }
    }

    fn port(address: Option<Address>) -> u16 {
        match address {
            Some(Address::Inet(address)) => address.port(),
            _ => 0,
        }
    }

    #[test]
    fn a_reload_goes_on_where_the_turns_were() {
        let zones = Zones::default();
        let group = Group::new(
            "app",
            vec![at(1), at(2), at(3)],
            PoolSettings::default(),
            &zones,
        );
        assert_eq!((port(group.next(&[])), port(group.next(&[]))), (1, 2));
        let again = Group::new(
            "app",
            vec![at(1), at(2), at(3)],
            PoolSettings::default(),
            &zones,
        );
        assert_eq!((port(again.next(&[])), port(again.next(&[]))), (3, 1));
    }

    #[test]
    fn a_group_that_was_never_asked_leaves_no_peers_behind() {
        let zones = Zones::default();
        let group = |port| {
            Group::new(
                "app",
                vec![at(port), at(port + 1)],
                PoolSettings::default(),
                &zones,
            )
        };
        let first = Box::new(group(1));
        assert_eq!(port(first.next(&[])), 1);
        let second = group(11);
        drop(first);
        // May well lie where the first one lay.
        let third = Box::new(group(21));
        drop(second);
        assert_eq!(port(third.next(&[])), 21);
    }

    #[test]
    fn who_is_down_is_no_stand_in() {
        let down = Line {
            terms: Terms {
                down: true,
                ..Terms::default()
            },
            ..at(2)
        };
        let group = Group::new(
            "app",
            vec![at(1), down],
            PoolSettings::default(),
            &Zones::default(),
        );
        assert_eq!(group.peers(), 1);
    }

    #[test]
    fn threads_together_take_exact_turns() {
        let group = Group::new(
            "app",
            vec![at(1), at(2)],
            PoolSettings::default(),
            &Zones::default(),
        );
        let mut ports: Vec<u16> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..50).map(|_| port(group.next(&[]))).collect::<Vec<_>>()))
                .collect();
            threads
                .into_iter()
                .flat_map(|thread| thread.join().expect("no panic"))
                .collect()
        });
        ports.sort_unstable();
        assert_eq!(ports, [vec![1; 100], vec![2; 100]].concat());
    }

    #[tokio::test]
    async fn a_name_becomes_all_of_its_addresses() {
        let line = Line {
            source: Source::Named(Name::shared("localhost"), 80),
            terms: Terms::default(),
        };
        let group = Group::new(
            "named",
            vec![line],
            PoolSettings::default(),
            &Zones::default(),
        );
        group.ready().await.expect("localhost has an address");
        assert!(group.peers() >= 1);
        assert_eq!(port(group.next(&[])), 80);
    }

    /// A resolver whose answer the test changes.
    #[derive(Default)]
    struct Directory(Mutex<Vec<u8>>);

    impl Resolve for Directory {
        fn look_up<'a>(
            &'a self,
            _name: &'a str,
        ) -> std::pin::Pin<Box<dyn Future<Output = LookedUp> + Send + 'a>> {
            let ips: Vec<_> = self
                .0
                .lock()
                .unwrap()
                .iter()
                .map(|last| [127, 0, 0, *last].into())
                .collect();
            let ttl = std::time::Duration::from_secs(5);
            Box::pin(async move {
                if ips.is_empty() {
                    return Err("unknown".to_owned());
                }
                Ok((ips, ttl))
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_follows_its_name_and_survives_one_that_leads_nowhere() {
        let directory = Arc::new(Directory::default());
        let line = Line {
            source: Source::Named(Arc::new(Name::new("app", directory.clone())), 80),
            terms: Terms::default(),
        };
        let group = Group::new(
            "app",
            vec![line],
            PoolSettings::default(),
            &Zones::default(),
        );
        let why = group.ready().await.expect_err("nobody knows the name yet");
        assert_eq!(why, "\"app\" could not be resolved (unknown)");
        assert!(group.next(&[]).is_none());

        for ips in [vec![1, 2], vec![3]] {
            *directory.0.lock().unwrap() = ips.clone();
            tokio::time::advance(std::time::Duration::from_secs(11)).await;
            group.next(&[]);
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            group.ready().await.expect("it is known now");
            let mut seen: Vec<String> = (0..ips.len())
                .filter_map(|_| Some(group.next(&[])?.to_string()))
                .collect();
            seen.sort();
            let expected: Vec<String> = ips
                .iter()
                .map(|last| format!("127.0.0.{last}:80"))
                .collect();
            assert_eq!(seen, expected);
            assert_eq!(group.peers(), ips.len());
        }
    }
}
