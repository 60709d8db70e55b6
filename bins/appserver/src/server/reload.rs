//! Reload: a new template beside the old one; new workers that have loaded the application before the old ones go.

use std::time::{Duration, Instant};

use appserver_protocol::{FromTemplate, Hook, ToTemplate};
use supervisor::bind::Staged;
use supervisor::socket_activation::Sockets;
use supervisor::{Exit, Generation, Master, Pid};

use super::{Manner, Release, Server, events};
use crate::boot::{
    at_its_place, change_control, enter, make_logs, manner, settle_order, tell, words,
};
use crate::control::Control;
use crate::doors::DoorFault;
use crate::settings::Resolved;
use crate::start::FromFile;
use crate::template::{Asked, Template};

/// Hooks of a reload, one after the other.
const NWORKERS_CHANGED: Asked = Asked::Hook("nworkers_changed");
const ON_RELOAD: Asked = Asked::Hook("on_reload");

/// How long a template may take to get ready before a change of its files makes it worthless.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a reload stands.
#[derive(Debug, Default)]
pub(super) struct Reload {
    /// Files have changed since the template that gets ready began: there is another reload when it is done, or at this time.
    again: Option<Instant>,
    /// A template that gets ready.
    preparing: Option<Preparing>,
    /// A release whose workers may come.
    prepared: Option<Prepared>,
    /// What changes when the new workers are ready.
    staged: Option<(Generation, Staged)>,
}

#[derive(Debug)]
struct Preparing {
    began: Instant,
    template: Template,
    resolved: Option<Resolved>,
    manner: Manner,
}

#[derive(Debug)]
struct Prepared {
    release: Release,
    staged: Staged,
}

impl Reload {
    /// The templates that have no generation yet.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let preparing = self.preparing.iter().map(|it| &it.template);
        preparing.chain(self.prepared.iter().map(|it| &it.release.template))
    }

    /// One of them.
    pub fn template(&mut self, number: u64) -> Option<&mut Template> {
        let preparing = self.preparing.iter_mut().map(|it| &mut it.template);
        let mut all = preparing.chain(self.prepared.iter_mut().map(|it| &mut it.release.template));
        all.find(|template| template.number == number)
    }

    /// When to look again whether the template is ready.
    pub fn deadline(&self) -> Option<Instant> {
        self.again
    }

    /// Nothing of it is wanted any more.
    pub fn abandon(&mut self) {
        let Self {
            preparing,
            prepared,
            ..
        } = std::mem::take(self);
        let templates = preparing.map(|it| it.template).into_iter();
        templates
            .chain(prepared.map(|it| it.release.template))
            .for_each(Template::dismiss);
    }

    /// How many workers the template that gets ready is to have.
    fn workers(&self) -> Option<u64> {
        let resolved = self.preparing.as_ref()?.resolved.as_ref()?;
        Some(resolved.number("workers"))
    }

    fn prepares(&self, number: u64) -> bool {
        self.preparing
            .as_ref()
            .is_some_and(|it| it.template.number == number)
    }
}

impl Server {
    /// Files of the application have changed. Changes that follow each other faster than a template gets ready don't keep it from that.
    pub(super) fn files_changed(&mut self) {
        match &self.reload.preparing {
            Some(preparing) => {
                let due = preparing.began + PATIENCE;
                self.reload.again.get_or_insert(due);
            }
            None => self.begin_reload(),
        }
    }

    /// Begins the reload that has waited for another one.
    pub(super) fn reload_again(&mut self) {
        if self.reload.again.is_some() {
            self.begin_reload();
        }
    }

    /// Starts a new template. One that was getting ready is given up: its code is of yesterday.
    pub(super) fn begin_reload(&mut self) {
        let told = self.notifier.reloading();
        self.tell(told);
        self.reload.again = None;
        if let Some(before) = self.reload.preparing.take() {
            before.template.dismiss();
        }
        self.templates += 1;
        let started = Template::start(self.templates, &self.interpreter, &self.start.launch);
        let mut template = match started {
            Ok(template) => template,
            Err(why) => return self.reload_failed(&why),
        };
        if !template.order(&self.start.read_config(), Asked::Config, &[]) {
            return self.reload_failed("the new template does not listen");
        }
        self.reload.preparing = Some(Preparing {
            began: Instant::now(),
            template,
            resolved: None,
            manner: Manner::default(),
        });
    }

    /// The template of the current release is gone; workers that die could not be replaced.
    pub(super) fn replace_template(&mut self, master: &Master) {
        let busy = self.reload.templates().next().is_some() || master.fleet().is_reloading();
        if !busy && master.fleet().stopping().is_none() {
            self.begin_reload();
        }
    }

    /// The next step of a template that gets ready.
    pub(super) fn prepared(
        &mut self,
        number: u64,
        asked: Asked,
        answer: FromTemplate,
        master: &mut Master,
    ) {
        if !self.reload.prepares(number) {
            return;
        }
        let step = match (asked, answer) {
            (_, FromTemplate::Failed(failure)) => {
                let preparing = self.reload.preparing.as_ref();
                let resolved = preparing.and_then(|it| it.resolved.as_ref());
                Err(words(&match resolved {
                    Some(resolved) => at_its_place(failure, resolved),
                    None => failure,
                }))
            }
            (
                Asked::Config,
                FromTemplate::Config {
                    location,
                    values,
                    places,
                },
            ) => self.configured(FromFile {
                location,
                values,
                places,
            }),
            (Asked::Settle, ref answer @ FromTemplate::Settled { .. }) => {
                if let Some(preparing) = &mut self.reload.preparing {
                    preparing.manner = manner(answer);
                }
                let hook = Hook::NworkersChanged {
                    new: self.reload.workers().unwrap_or_default() as u32,
                    old: Some(master.fleet().target() as u32),
                };
                self.order(&ToTemplate::Hook(hook), NWORKERS_CHANGED)
            }
            (NWORKERS_CHANGED, FromTemplate::HookDone) => {
                self.order(&ToTemplate::Hook(Hook::OnReload), ON_RELOAD)
            }
            (ON_RELOAD, FromTemplate::HookDone) => self.bring_in(master),
            (_, answer) => Err(format!("the new template answered {answer:?}")),
        };
        if let Err(why) = step {
            self.give_up(&why);
        }
    }

    /// A template that gets ready is gone.
    pub(super) fn preparation_ended(&mut self, number: u64, why: &str) {
        if self.reload.prepares(number) {
            self.give_up(&format!("the new template is gone: {why}"));
        }
    }

    fn configured(&mut self, file: FromFile) -> Result<(), String> {
        let resolved = self.start.resolve(file).map_err(|faults| {
            let words: Vec<_> = faults.iter().map(ToString::to_string).collect();
            words.join("; ")
        })?;
        if resolved.application.is_empty() {
            return Err("No application module specified".to_owned());
        }
        enter(&resolved)?;
        make_logs(&resolved)?;
        let order = settle_order(&self.start, &resolved);
        if let Some(preparing) = &mut self.reload.preparing {
            preparing.resolved = Some(resolved);
        }
        self.order(&order, Asked::Settle)
    }

    fn order(&mut self, order: &ToTemplate, asked: Asked) -> Result<(), String> {
        let sent = self
            .reload
            .preparing
            .as_mut()
            .is_some_and(|it| it.template.order(order, asked, &[]));
        if sent {
            Ok(())
        } else {
            Err("the new template does not listen".to_owned())
        }
    }

    /// The template is ready: opens what is new, and asks for workers.
    fn bring_in(&mut self, master: &mut Master) -> Result<(), String> {
        let Some(Preparing {
            template,
            resolved: Some(resolved),
            manner,
            ..
        }) = self.reload.preparing.take()
        else {
            return Ok(());
        };
        let mut none = Sockets::from_fds([]).map_err(|error| error.to_string())?;
        let staged = self
            .doors
            .stage(&resolved, &mut none)
            .map_err(|fault| match fault {
                DoorFault::Setting(words) => words,
                DoorFault::Bind(faults) => {
                    tell(&faults, &self.log);
                    "the new addresses cannot be listened on".to_owned()
                }
            })?;
        let sockets = self
            .doors
            .sockets(resolved.is_encrypted(), Some(&staged))
            .map_err(|error| error.to_string())?;
        Control::check(&resolved, self.doors.given())?;
        let release = Release::new(template, resolved, sockets, manner);
        let workers = release.workers();
        if let Some(before) = self.reload.prepared.replace(Prepared { release, staged }) {
            before.release.template.dismiss();
        }
        master.reload_to(workers);
        self.reload_again();
        Ok(())
    }

    /// The fleet begins with the workers of a prepared release.
    pub(super) fn reloading(&mut self, generation: Generation, master: &mut Master) {
        let Some(Prepared { release, staged }) = self.reload.prepared.take() else {
            return;
        };
        master.set_policy(release.policy());
        master.set_lanes(release.lanes());
        self.releases.insert(generation, release);
        self.reload.staged = Some((generation, staged));
    }

    /// The new workers are ready, the old ones go.
    pub(super) fn reloaded(&mut self, generation: Generation, workers: usize) {
        if let Some((_, staged)) = self.reload.staged.take() {
            let release = self.releases.get(&generation);
            let tls = release.is_some_and(|release| release.resolved.is_encrypted());
            let before = self.doors.names(tls);
            self.doors.commit(staged);
            let names = self.doors.names(tls);
            if names != before {
                self.log.info(format_args!(
                    "Listening at: {} ({})",
                    names.join(","),
                    std::process::id()
                ));
            }
        }
        for (_, release) in self.releases.range_mut(..generation) {
            release.close_doors();
        }
        if let Some(release) = self.releases.get(&generation) {
            let voice = release.template.voice();
            self.log
                .speak_through(voice.filter(|_| release.manner.python_logging));
            if let Err(why) = self.log.settle(&release.resolved) {
                self.log.error(why);
            }
            for note in &release.resolved.notes {
                self.log.warning(note);
            }
        }
        self.show_title();
        self.follow_pid_file(generation);
        self.follow_control(generation);
        self.log.info(format_args!(
            "Reloaded: {workers} new workers are ready, the old ones finish their requests"
        ));
        self.tell_ready(workers);
    }

    /// The template that gets ready does not.
    fn give_up(&mut self, why: &str) {
        if let Some(preparing) = self.reload.preparing.take() {
            preparing.template.dismiss();
        }
        self.reload_failed(why);
        self.reload_again();
    }

    /// The workers of a generation do not come up. Another reload may be getting ready meanwhile.
    pub(super) fn generation_failed(&mut self, why: &str) {
        self.reload.staged = None;
        self.reload_failed(why);
    }

    /// The present release serves on.
    fn reload_failed(&mut self, why: &str) {
        self.log.error(format_args!(
            "Reload failed, the old workers serve on: {why}"
        ));
        let first = why.lines().next().unwrap_or_default();
        let told = self.notifier.ready();
        self.tell(told);
        let told = self.notifier.status(&format!(
            "Reload failed, the release before serves on: {first}"
        ));
        self.tell(told);
    }

    /// The process of a template ended.
    pub(super) fn template_ended(&mut self, pid: Pid, exit: Exit, master: &mut Master) {
        let of_release = self
            .releases
            .iter()
            .find(|(_, release)| release.template.pid == pid);
        let Some((&generation, _)) = of_release else {
            return;
        };
        if master.fleet().stopping().is_some() {
            return;
        }
        let hint = match master.was_out_of_memory(exit) {
            true => events::OUT_OF_MEMORY,
            false => "",
        };
        self.log.error(format_args!(
            "The template (pid:{}) {exit}{hint}",
            pid.as_raw_pid()
        ));
        // A release that never served is over; the others get a new template.
        if !master.condemn(generation, exit) && generation == master.fleet().generation() {
            self.replace_template(master);
        }
    }

    /// The side sockets go where the new settings want them; those that cannot be had stay where they are.
    fn follow_control(&mut self, generation: Generation) {
        // A predecessor still has them.
        let alone = self.upgrade.predecessor().is_none();
        if let Some(release) = self.releases.get(&generation).filter(|_| alone) {
            match self.control.stage(&release.resolved, self.doors.given()) {
                Ok(staged) => change_control(&mut self.control, staged, &self.log),
                Err(why) => self.log.error(why),
            }
        }
    }

    fn follow_pid_file(&mut self, generation: Generation) {
        let Some(release) = self.releases.get(&generation) else {
            return;
        };
        let wanted = release
            .resolved
            .text("pidfile")
            .and_then(|path| std::path::absolute(path).ok());
        let present = self.pid_file.as_ref().map(|file| file.path().to_path_buf());
        // A file that somebody has removed is written again, as gunicorn does.
        let is_there = present.as_ref().is_none_or(|path| path.exists());
        if self.upgrade.predecessor().is_some() || (wanted == present && is_there) {
            return;
        }
        if wanted == present {
            // Its end would remove the new one.
            drop(self.pid_file.take());
        }
        self.pid_file = match wanted {
            Some(path) => supervisor::PidFile::create(path)
                .map_err(|error| self.log.error(error))
                .ok(),
            None => None,
        };
    }
}
