//! What templates answer.

use appserver_protocol::FromTemplate;
use supervisor::{Master, Pid};

use super::Server;
use crate::boot::words;
use crate::template::{Asked, Template};

impl Server {
    /// Reads everything that a template has to say.
    pub(super) fn listen_to_template(&mut self, number: u64, master: &mut Master) {
        loop {
            let Some(template) = self.template(number) else {
                return;
            };
            match template.next() {
                Ok(None) => return,
                Ok(Some((asked, answer))) => self.answered(number, asked, answer, master),
                Err(why) => {
                    let forsaken: Vec<_> = template.forsaken().collect();
                    for asked in forsaken {
                        self.forsaken(asked, master);
                    }
                    return self.preparation_ended(number, &why);
                }
            }
        }
    }

    fn template(&mut self, number: u64) -> Option<&mut Template> {
        let of_releases = self
            .releases
            .values_mut()
            .map(|release| &mut release.template);
        match of_releases
            .into_iter()
            .find(|template| template.number == number)
        {
            Some(template) => Some(template),
            None => self.reload.template(number),
        }
    }

    fn answered(&mut self, number: u64, asked: Asked, answer: FromTemplate, master: &mut Master) {
        match (asked, answer) {
            (Asked::Fork(worker), FromTemplate::Forked { pid, .. }) => {
                let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
                match pid {
                    Some(pid) => master.started(worker, pid),
                    None => master.spawn_failed(worker, "the template told no process"),
                }
            }
            (Asked::Fork(worker), FromTemplate::Failed(failure)) => {
                master.spawn_failed(worker, words(&failure));
            }
            (_, FromTemplate::Workers { number: workers }) => {
                self.wants_workers(number, workers, master);
            }
            (Asked::PreExec, answer) => {
                if let FromTemplate::Failed(failure) = answer {
                    self.log.error(words(&failure));
                    self.forgo_upgrade();
                } else {
                    self.finish_upgrade();
                }
            }
            (asked, answer) if self.reload.template(number).is_some() => {
                self.prepared(number, asked, answer, master);
            }
            (_, FromTemplate::Failed(failure)) => self.log.error(words(&failure)),
            _ => {}
        }
    }

    /// A hook has set `server.num_workers`. Templates of releases before have no say any more.
    fn wants_workers(&mut self, template: u64, workers: u32, master: &mut Master) {
        if let Some(template) = self.reload.template(template) {
            return template.want_workers(workers);
        }
        let mut newest = self.releases.range(master.fleet().generation()..);
        let has_a_say = newest.any(|(_, release)| release.template.number == template);
        if has_a_say && master.fleet().stopping().is_none() {
            master.scale(workers as usize);
        }
    }

    /// An answer that will not come.
    fn forsaken(&mut self, asked: Asked, master: &mut Master) {
        match asked {
            Asked::Fork(worker) => master.spawn_failed(worker, "the template is gone"),
            Asked::PreExec => self.finish_upgrade(),
            _ => {}
        }
    }
}
