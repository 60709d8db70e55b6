//! Which peer is next: weighted round robin with passive health, as nginx documents `server`'s parameters. Decisions only: time comes in.

use std::time::{Duration, Instant};

use crate::server::Address;

/// What a `server` line says of its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// `weight`. Default 1.
    pub weight: u32,
    /// `max_fails`: failures within `fail_timeout` that make it unavailable; 0 never does. Default 1.
    pub max_fails: u32,
    /// `fail_timeout`: see above, and how long it is then unavailable. Default 10 s.
    pub fail_timeout: Duration,
    /// `max_conns`: requests at the same time; 0 for any number.
    pub max_conns: u32,
    /// `backup`: only when no other is available.
    pub backup: bool,
    /// `down`: never.
    pub down: bool,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            weight: 1,
            max_fails: 1,
            fail_timeout: Duration::from_secs(10),
            max_conns: 0,
            backup: false,
            down: false,
        }
    }
}

/// The peers of a group in turn.
#[derive(Debug, Default)]
pub struct Rotation {
    peers: Vec<Peer>,
}

#[derive(Clone, Debug)]
struct Peer {
    address: Address,
    terms: Terms,
    current_weight: i64,
    effective_weight: i64,
    fails: u32,
    /// When a failure was last counted.
    failed: Option<Instant>,
    /// When it last got a request, after a failure.
    checked: Option<Instant>,
    requests: u32,
}

/// How a request to a peer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Well.
    Good,
    /// Its failure counts.
    Failed,
    /// Neither counts: the client left, or the fault was ours.
    Neutral,
}

impl Rotation {
    /// The peers from now on. Those that stay keep their turn and their record.
    pub fn set_peers(&mut self, peers: impl IntoIterator<Item = (Address, Terms)>) {
        let old = std::mem::take(&mut self.peers);
        for (address, terms) in peers {
            let known = old
                .iter()
                .find(|peer| peer.address == address && peer.terms == terms)
                .cloned();
            self.peers
                .push(known.unwrap_or_else(|| Peer::new(address, terms)));
        }
    }

    /// How many there are, backups included.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// How many are not `down`.
    pub fn up(&self) -> usize {
        self.peers.iter().filter(|peer| !peer.terms.down).count()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// The next peer that is not among those `tried`: among the backups when no other is available.
    /// The choice counts as a request in progress until [`finish`](Self::finish).
    pub fn next(&mut self, tried: &[Address], now: Instant) -> Option<Address> {
        let alone = self.peers.len() == 1;
        let chosen = self
            .best(false, alone, tried, now)
            .or_else(|| self.best(true, alone, tried, now))?;
        let peer = &mut self.peers[chosen];
        peer.requests += 1;
        if peer
            .checked
            .is_none_or(|checked| now.saturating_duration_since(checked) > peer.terms.fail_timeout)
        {
            peer.checked = Some(now);
        }
        Some(peer.address.clone())
    }

    /// Smooth weighted round robin: everyone gains its weight, the richest is chosen and pays what all gained.
    fn best(
        &mut self,
        backup: bool,
        alone: bool,
        tried: &[Address],
        now: Instant,
    ) -> Option<usize> {
        let mut best: Option<usize> = None;
        let mut total = 0;
        for at in 0..self.peers.len() {
            let peer = &mut self.peers[at];
            if peer.terms.backup != backup
                || tried.contains(&peer.address)
                || !peer.is_available(alone, now)
            {
                continue;
            }
            peer.current_weight += peer.effective_weight;
            total += peer.effective_weight;
            if peer.effective_weight < i64::from(peer.terms.weight) {
                peer.effective_weight += 1;
            }
            if best
                .is_none_or(|best| self.peers[at].current_weight > self.peers[best].current_weight)
            {
                best = Some(at);
            }
        }
        let best = best?;
        self.peers[best].current_weight -= total;
        Some(best)
    }

    /// A request to a peer has ended.
    pub fn finish(&mut self, address: &Address, verdict: Verdict, now: Instant) {
        let alone = self.peers.len() == 1;
        let Some(peer) = self.peers.iter_mut().find(|peer| peer.address == *address) else {
            return;
        };
        peer.requests = peer.requests.saturating_sub(1);
        match verdict {
            // A peer that has no stand-in is tried every time.
            Verdict::Failed if !alone => peer.fail(now),
            Verdict::Good if peer.failed < peer.checked => peer.fails = 0,
            Verdict::Good | Verdict::Failed | Verdict::Neutral => {}
        }
    }
}

impl Peer {
    fn new(address: Address, terms: Terms) -> Self {
        let weight = i64::from(terms.weight);
        Self {
            address,
            terms,
            current_weight: 0,
            effective_weight: weight,
            fails: 0,
            failed: None,
            checked: None,
            requests: 0,
        }
    }

    fn is_available(&self, alone: bool, now: Instant) -> bool {
        let terms = &self.terms;
        if terms.down || (terms.max_conns > 0 && self.requests >= terms.max_conns) {
            return false;
        }
        let failed_out = terms.max_fails > 0 && self.fails >= terms.max_fails;
        let resting = self
            .checked
            .is_some_and(|checked| now.saturating_duration_since(checked) <= terms.fail_timeout);
        alone || !failed_out || !resting
    }

    fn fail(&mut self, now: Instant) {
        let since = self
            .failed
            .map(|failed| now.saturating_duration_since(failed));
        if since.is_some_and(|since| since > self.terms.fail_timeout) {
            self.fails = 0;
        }
        self.fails = self.fails.saturating_add(1);
        self.failed = Some(now);
        self.checked = Some(now);
        if let Some(loss) = self.terms.weight.checked_div(self.terms.max_fails) {
            self.effective_weight = (self.effective_weight - i64::from(loss)).max(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(port: u16) -> Address {
        Address::Inet(([127, 0, 0, 1], port).into())
    }

    fn rotation(terms: &[Terms]) -> Rotation {
        let mut rotation = Rotation::default();
        rotation.set_peers(
            terms
                .iter()
                .enumerate()
                .map(|(at, terms)| (address(at as u16 + 1), terms.clone())),
        );
        rotation
    }

    fn port(address: Option<Address>) -> u16 {
        match address {
            Some(Address::Inet(address)) => address.port(),
            _ => 0,
        }
    }

    fn turns(rotation: &mut Rotation, count: usize, now: Instant) -> Vec<u16> {
        (0..count)
            .map(|_| {
                let chosen = rotation.next(&[], now);
                if let Some(chosen) = &chosen {
                    rotation.finish(chosen, Verdict::Good, now);
                }
                port(chosen)
            })
            .collect()
    }

    #[test]
    fn weights_are_spread_evenly() {
        let mut rotation = rotation(&[
            Terms {
                weight: 5,
                ..Terms::default()
            },
            Terms::default(),
            Terms::default(),
        ]);
        assert_eq!(
            turns(&mut rotation, 7, Instant::now()),
            [1, 1, 2, 1, 3, 1, 1]
        );
    }

    #[test]
    fn a_peer_that_failed_rests_for_fail_timeout() {
        let start = Instant::now();
        let mut rotation = rotation(&[Terms::default(), Terms::default()]);
        rotation.next(&[], start);
        rotation.finish(&address(1), Verdict::Failed, start);
        assert_eq!(
            turns(&mut rotation, 3, start + Duration::from_secs(10)),
            [2, 2, 2]
        );
        let later = turns(&mut rotation, 4, start + Duration::from_secs(11));
        assert!(later.contains(&1), "{later:?}");
    }

    #[test]
    fn backups_serve_only_when_nobody_else_can() {
        let now = Instant::now();
        let mut rotation = rotation(&[
            Terms::default(),
            Terms {
                backup: true,
                ..Terms::default()
            },
        ]);
        assert_eq!(turns(&mut rotation, 3, now), [1, 1, 1]);
        rotation.next(&[], now);
        rotation.finish(&address(1), Verdict::Failed, now);
        assert_eq!(turns(&mut rotation, 2, now), [2, 2]);
        assert_eq!(port(rotation.next(&[address(2)], now)), 0);
    }

    #[test]
    fn a_peer_without_a_stand_in_is_always_tried() {
        let now = Instant::now();
        let mut rotation = rotation(&[Terms::default()]);
        for _ in 0..3 {
            assert_eq!(port(rotation.next(&[], now)), 1);
            rotation.finish(&address(1), Verdict::Failed, now);
        }
    }

    #[test]
    fn max_conns_and_down_are_honoured() {
        let now = Instant::now();
        let mut rotation = rotation(&[
            Terms {
                max_conns: 1,
                ..Terms::default()
            },
            Terms {
                down: true,
                ..Terms::default()
            },
        ]);
        assert_eq!(port(rotation.next(&[], now)), 1);
        assert_eq!(port(rotation.next(&[], now)), 0);
        rotation.finish(&address(1), Verdict::Good, now);
        assert_eq!(port(rotation.next(&[], now)), 1);
    }

    #[test]
    fn peers_that_stay_keep_their_record() {
        let now = Instant::now();
        let mut rotation = rotation(&[Terms::default(), Terms::default()]);
        rotation.next(&[], now);
        rotation.finish(&address(1), Verdict::Failed, now);
        rotation.set_peers(
            [address(1), address(2), address(3)].map(|address| (address, Terms::default())),
        );
        assert!(!turns(&mut rotation, 6, now).contains(&1));
    }

    proptest! {
        #[test]
        fn shares_are_exact_over_a_whole_cycle(weights in proptest::collection::vec(1_u32..9, 1..6)) {
            let terms: Vec<_> = weights.iter().map(|weight| Terms { weight: *weight, ..Terms::default() }).collect();
            let mut rotation = rotation(&terms);
            let cycle: u32 = weights.iter().sum();
            let turns = turns(&mut rotation, cycle as usize, Instant::now());
            for (at, weight) in weights.iter().enumerate() {
                prop_assert_eq!(turns.iter().filter(|port| usize::from(**port) == at + 1).count(), *weight as usize);
            }
        }
    }
}
