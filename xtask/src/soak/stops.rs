//! How both programs end: what runs is finished, nobody new is taken, the exit code is 0.

use std::time::Duration;

use rustix::process::Signal;
use testkit::{Address, Deadline, StopFlag, Wire};

use super::witness::{self, Witness};
use crate::install::Venv;
use crate::process::{self, Guarded};
use crate::shop::Kind;
use crate::workspace::Workspace;

const LIMIT: Duration = Duration::from_secs(60);

/// TERM to the application server, QUIT and TERM to the front.
pub fn run(workspace: &Workspace, venv: &Venv, kind: &Kind) -> Result<String, String> {
    app_drains(workspace, venv, kind)
        .map_err(|problem| format!("TERM to the application server: {problem}"))?;
    front_drains(workspace, venv, kind)
        .map_err(|problem| format!("QUIT to the front: {problem}"))?;
    front_stops(workspace, venv, kind)
        .map_err(|problem| format!("TERM to the front: {problem}"))?;
    Ok("TERM drains the application server, QUIT the front; TERM ends it".to_owned())
}

fn app_drains(workspace: &Workspace, venv: &Venv, kind: &Kind) -> Result<(), String> {
    let mut witness = Witness::start(workspace, venv, kind)?;
    let front = Address::from(witness.address);
    let app = witness.app_address();
    held(&mut witness, &front, |witness| {
        witness.app.signal(Signal::TERM);
        refuses(&app)
    })?;
    ends_well(&mut witness.app)
}

fn front_drains(workspace: &Workspace, venv: &Venv, kind: &Kind) -> Result<(), String> {
    let mut witness = Witness::start(workspace, venv, kind)?;
    let front = Address::from(witness.address);
    held(&mut witness, &front.clone(), |witness| {
        witness.front.signal(Signal::QUIT);
        refuses(&front)
    })?;
    ends_well(&mut witness.front)
}

fn front_stops(workspace: &Workspace, venv: &Venv, kind: &Kind) -> Result<(), String> {
    let mut witness = Witness::start(workspace, venv, kind)?;
    witness.front.signal(Signal::TERM);
    ends_well(&mut witness.front)?;
    refuses(&Address::from(witness.address))
}

/// Does something while a request is with the application; it must be answered whole.
fn held(
    witness: &mut Witness,
    address: &Address,
    act: impl FnOnce(&mut Witness) -> Result<(), String>,
) -> Result<(), String> {
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| witness::ask(address, "/hold"));
        let acted = witness.await_seen("/hold", 1).and_then(|()| act(witness));
        // In any case, or it would never end.
        witness.go_on()?;
        asking
            .join()
            .map_err(|_| "the client panicked".to_owned())?
            .map_err(|problem| {
                format!(
                    "the request that was running: {problem}\n{}",
                    witness.logs()
                )
            })?;
        acted
    })
}

/// Waits until nobody is taken any more.
fn refuses(address: &Address) -> Result<(), String> {
    Deadline::after(LIMIT)
        .poll(&StopFlag::default(), || {
            Wire::connect(address).is_err().then_some(())
        })
        .ok_or_else(|| {
            format!(
                "{address} still takes connections after {} s",
                LIMIT.as_secs()
            )
        })
}

fn ends_well(program: &mut Guarded) -> Result<(), String> {
    let status = program.wait(LIMIT)?;
    process::success(status, "the program")
}
