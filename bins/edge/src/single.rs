//! `master_process off`: one process reads the configuration and serves. For looking for faults, not for production: without a
//! master nobody starts it again, and it keeps the rights it was started with.

use std::io;
use std::process::ExitCode;

use proxy_core::engine::compile::Features;
use proxy_core::engine::logs::{ErrorLog, Level};
use socket_activation::Notifier;
use supervisor::{PidFile, Signal, Signals};

use crate::configuration::{Blueprint, Origin};
use crate::features;
use crate::listening::Listening;
use crate::start;
use crate::worker::{self, Goods, Hearing, Realm};

/// Serves until a signal ends it.
///
/// # Errors
/// What keeps it from serving, in words.
pub fn run(
    origin: Origin,
    blueprint: Blueprint,
    listening: Listening,
    pid_file: PidFile,
    signals: Signals,
    begun: impl FnOnce(),
) -> Result<ExitCode, String> {
    supervisor::process::raise_open_files(blueprint.process.open_files_max)
        .map_err(|error| error.to_string())?;
    let goods = goods(&origin, &blueprint, &listening).map_err(|error| error.to_string())?;
    let mut realm = Realm::open(goods)?;
    realm.accept();
    let single = Single {
        origin,
        blueprint,
        listening,
        realm,
        features: features::all(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let _ = Notifier::from_env().map(|notifier| notifier.ready());
    begun();
    runtime
        .block_on(single.obey(signals))
        .map_err(|error| error.to_string())?;
    drop(pid_file);
    Ok(ExitCode::SUCCESS)
}

/// What a serving process needs for a blueprint.
///
/// # Errors
/// When no descriptors are left.
pub fn goods(origin: &Origin, blueprint: &Blueprint, listening: &Listening) -> io::Result<Goods> {
    Ok(Goods {
        sources: blueprint.sources.clone(),
        paths: origin.paths.clone(),
        listens: listening.hand_over()?,
        logs: blueprint.logs.hand_over()?,
    })
}

struct Single {
    origin: Origin,
    blueprint: Blueprint,
    listening: Listening,
    realm: Realm,
    features: Features,
}

impl Single {
    async fn obey(mut self, signals: Signals) -> io::Result<()> {
        let mut hearing = Hearing::new(signals)?;
        loop {
            let signal = hearing.next().await;
            match signal {
                Signal::TERM | Signal::INT => break,
                Signal::QUIT => {
                    let timeout = self.blueprint.process.shutdown_timeout;
                    let until = async {
                        while !matches!(hearing.next().await, Signal::TERM | Signal::INT) {}
                    };
                    worker::finish(&mut self.realm, timeout, until).await;
                    break;
                }
                Signal::HUP => self.reload(),
                Signal::USR1 => self.reopen(),
                _ => {}
            }
        }
        self.realm.stop();
        Ok(())
    }

    fn reload(&mut self) {
        let errors = self.blueprint.errors.clone();
        errors.write(Level::Notice, None, format_args!("reconfiguring"));
        let Some((blueprint, opened)) = start::read_anew(
            &self.origin,
            &self.features,
            &errors,
            &mut self.listening,
            true,
        ) else {
            return;
        };
        self.listening.commit(opened);
        let replaced = goods(&self.origin, &blueprint, &self.listening)
            .map_err(|error| error.to_string())
            .and_then(|goods| self.realm.replace(goods));
        match replaced {
            Ok(()) => self.blueprint = blueprint,
            Err(words) => log(&errors, &words),
        }
    }

    fn reopen(&mut self) {
        let errors = &self.blueprint.errors;
        errors.write(Level::Notice, None, format_args!("reopening logs"));
        for words in self.blueprint.logs.reopen(None).err().into_iter().flatten() {
            errors.write(Level::Emerg, None, format_args!("{words}"));
        }
        match self.blueprint.logs.hand_over() {
            Ok(handed) => self.realm.reopen(handed),
            Err(error) => log(errors, &error.to_string()),
        }
    }
}

fn log(errors: &ErrorLog, words: &str) {
    for line in words.lines() {
        errors.write(Level::Emerg, None, format_args!("{line}"));
    }
}
