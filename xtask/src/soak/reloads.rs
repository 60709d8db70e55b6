//! Reloads under load: every one takes effect, and no response is lost.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::Signal;
use testkit::{Deadline, StopFlag};

use crate::load::Load;
use crate::process;
use crate::shop::Shop;
use crate::tree::{self, Process};

/// How long one reload may take on a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Reloads the front's configuration `rounds` times.
pub fn front(shop: &mut Shop, load: &Load, rounds: usize) -> Result<String, String> {
    let before = load.finished();
    let path = shop.state.join("conf/upstreams.conf");
    let original = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
    for round in 1..=rounds {
        // A field that only this configuration adds tells when it is in force.
        let text = format!("{original}add_header X-Soak-Round {round};\n");
        let fresh = path.with_extension("new");
        std::fs::write(&fresh, text)
            .and_then(|()| std::fs::rename(&fresh, &path))
            .map_err(|error| format!("can't write \"{}\": {error}", path.display()))?;
        process::output(&mut shop.front_signal("reload"))?;
        in_force(shop, &round.to_string())?;
        shop.alive()?;
    }
    load.settle()?;
    super::none_lost(&load.take_failures())?;
    Ok(format!(
        "{rounds} times, {} responses, none lost",
        load.finished() - before
    ))
}

fn in_force(shop: &Shop, round: &str) -> Result<(), String> {
    let seen = Deadline::after(LIMIT).poll(&StopFlag::default(), || match shop.get("/healthz") {
        Err(problem) => Some(Err(problem)),
        Ok(response) => {
            (response.field("X-Soak-Round").as_deref() == Some(round)).then_some(Ok(()))
        }
    });
    seen.unwrap_or_else(|| {
        Err(format!(
            "reload {round} had no effect within {} s",
            LIMIT.as_secs()
        ))
    })
}

/// Sends the application server HUP `rounds` times.
pub fn code(shop: &mut Shop, load: &Load, rounds: usize) -> Result<String, String> {
    let before = load.finished();
    let master = shop.app_master()?;
    for _ in 0..rounds {
        let old = tree::descendants(master);
        if old.is_empty() {
            return Err("the application server has no workers".to_owned());
        }
        tree::signal(master, Signal::HUP);
        replaced(&old)?;
        shop.alive()?;
    }
    load.settle()?;
    let worker = shop.worker()?;
    if !tree::descendants(master)
        .iter()
        .any(|process| process.pid == worker)
    {
        return Err(format!(
            "process {worker} answers, but is none of the application server's"
        ));
    }
    super::none_lost(&load.take_failures())?;
    Ok(format!(
        "{rounds} times, {} responses, none lost",
        load.finished() - before
    ))
}

/// Waits until none of these processes runs any more.
fn replaced(old: &[Process]) -> Result<(), String> {
    let left = || {
        old.iter()
            .filter(|process| process.still_the_same())
            .map(|process| process.pid)
    };
    Deadline::after(LIMIT)
        .poll(&StopFlag::default(), || {
            left().next().is_none().then_some(())
        })
        .ok_or_else(|| {
            let left: BTreeSet<u32> = left().collect();
            format!(
                "workers of before the reload still run after {} s: {left:?}",
                LIMIT.as_secs()
            )
        })
}
