//! kill -9 of workers under load: only what was in flight on the killed one fails.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use testkit::{Deadline, StopFlag};

use crate::load::{Failure, Kind, Load};
use crate::shop::Shop;
use crate::tree;

const LIMIT: Duration = Duration::from_secs(60);

#[derive(Clone, Copy)]
enum Side {
    Front,
    App,
}

/// The moments just before and just after a kill.
struct Kill {
    side: Side,
    before: Instant,
    after: Instant,
}

impl Kill {
    /// Whether a request may have failed because of it.
    fn explains(&self, failure: &Failure) -> bool {
        let during = |from: Instant| from <= self.after && failure.failed >= self.before;
        match (self.side, failure.kind) {
            // Its connection was the killed worker's. A connection that is opened later must be served.
            (Side::Front, Kind::Lost | Kind::Short) => during(failure.opened),
            // The request was with the killed worker: the front says 502, or can only break off.
            (Side::App, Kind::Status(502) | Kind::Short | Kind::Lost) => {
                during(failure.asked) && !failure.target.starts_with("/static/")
            }
            _ => false,
        }
    }
}

/// Kills one worker of each side in turn, `rounds` times.
pub fn run(shop: &mut Shop, load: &Load, rounds: usize) -> Result<String, String> {
    let begun = load.finished();
    let mut excused = 0;
    for _ in 0..rounds {
        for side in [Side::Front, Side::App] {
            let kill = match side {
                Side::Front => front(shop)?,
                Side::App => app(shop)?,
            };
            load.settle()?;
            shop.alive()?;
            let failures = load.take_failures();
            let (explained, other): (Vec<_>, Vec<_>) = failures
                .into_iter()
                .partition(|failure| kill.explains(failure));
            super::none_lost(&other)?;
            excused += explained.len();
        }
    }
    Ok(format!(
        "{rounds} of each, {} responses, {excused} lost that were in flight on a killed worker",
        load.finished() - begun
    ))
}

/// Kills the front's worker (of nginx: one of them).
fn front(shop: &Shop) -> Result<Kill, String> {
    let master = shop.front_master()?;
    let victim = tree::children(master)
        .into_iter()
        .next()
        .ok_or("the front has no worker")?;
    let kill = kill(Side::Front, victim.pid);
    gone_and_replaced(master, victim.pid, |pid| {
        tree::children(master)
            .iter()
            .any(|process| process.pid != pid)
    })?;
    Ok(kill)
}

/// Kills the worker that answers.
fn app(shop: &Shop) -> Result<Kill, String> {
    let master = shop.app_master()?;
    let count = tree::descendants(master).len();
    let victim = shop.worker()?;
    let kill = kill(Side::App, victim);
    gone_and_replaced(master, victim, |_| tree::descendants(master).len() >= count)?;
    Ok(kill)
}

fn kill(side: Side, pid: u32) -> Kill {
    let before = Instant::now();
    tree::signal(pid, Signal::KILL);
    Kill {
        side,
        before,
        after: Instant::now(),
    }
}

fn gone_and_replaced(
    master: u32,
    victim: u32,
    replaced: impl Fn(u32) -> bool,
) -> Result<(), String> {
    let gone = || {
        tree::descendants(master)
            .iter()
            .all(|process| process.pid != victim)
    };
    Deadline::after(LIMIT)
        .poll(&StopFlag::default(), || {
            (gone() && replaced(victim)).then_some(())
        })
        .ok_or_else(|| {
            format!(
                "worker {victim} was killed and not replaced within {} s",
                LIMIT.as_secs()
            )
        })
}
