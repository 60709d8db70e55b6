//! What a serving process does with a configuration: compiles it beside the one in force, then swaps.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use nginx_conf::{SourceSet, Style};
use proxy_core::engine::compile::Features;
use proxy_core::engine::logs::{ErrorLog, Level};
use proxy_core::engine::ports::ListenAddress;
use proxy_core::engine::process::ProcessSettings;
use proxy_core::engine::site::Site;
use proxy_core::engine::zones::Zones;

use super::crew::Crew;
use crate::logs::{Handed, HandedLogs};
use crate::paths::Paths;
use crate::{NAME, features};

/// Listening sockets by their addresses.
pub type Listens = Vec<(ListenAddress, OwnedFd)>;

/// A configuration with everything that it needs from outside.
pub struct Goods {
    /// Its text.
    pub sources: SourceSet,
    /// The places that hold where it says nothing.
    pub paths: Paths,
    /// Its listening sockets.
    pub listens: Listens,
    /// Its logs.
    pub logs: Vec<Handed>,
}

/// Everything that lives as long as a serving process.
pub struct Realm {
    features: Features,
    zones: Arc<Zones>,
    logs: HandedLogs,
    crew: Crew,
    /// What the configuration in force says about the process.
    pub process: ProcessSettings,
    /// What is to be served once connections are accepted.
    waiting: Option<(Arc<Site>, Listens)>,
}

impl Realm {
    /// Prepares to serve a configuration; nothing is accepted before [`Realm::accept`].
    ///
    /// # Errors
    /// Why it can't be served, in words: the configuration, or the system.
    pub fn open(goods: Goods) -> Result<Self, String> {
        let features = features::all();
        let zones = Arc::new(Zones::default());
        let logs = HandedLogs::new(goods.paths.clone());
        let plan = Plan::make(&features, &zones, &logs, &goods.sources, goods.logs)?;
        let mut realm = Self {
            crew: Crew::new(plan.errors.clone()),
            features,
            zones,
            logs,
            process: plan.process.clone(),
            waiting: Some((plan.site, goods.listens)),
        };
        realm.settle(plan.process, plan.errors)?;
        Ok(realm)
    }

    /// Accepts connections from now on.
    pub fn accept(&mut self) {
        if let Some((site, listens)) = self.waiting.take() {
            self.crew.serve(&site, listens);
        }
    }

    /// Serves another configuration instead; requests in flight end under the one that they began with.
    ///
    /// # Errors
    /// As [`Realm::open`]; then nothing has changed.
    pub fn replace(&mut self, goods: Goods) -> Result<(), String> {
        self.logs.set_paths(goods.paths.clone());
        let plan = Plan::make(
            &self.features,
            &self.zones,
            &self.logs,
            &goods.sources,
            goods.logs,
        )?;
        self.crew.serve(&plan.site, goods.listens);
        self.settle(plan.process, plan.errors)
    }

    /// Goes on with logs that were opened anew.
    pub fn reopen(&self, handed: Vec<Handed>) {
        self.logs.take(handed);
    }

    /// The threads.
    pub fn crew(&mut self) -> &mut Crew {
        &mut self.crew
    }

    /// The error log of the program.
    pub fn errors(&self) -> ErrorLog {
        self.crew.shared().errors()
    }

    /// A fault of the program goes to the error log, too. It ends the connection that met it, nothing else.
    pub fn log_panics(&mut self) {
        let shared = Arc::clone(self.crew.shared());
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            before(panic);
            let words = panic.to_string().replace('\n', " ");
            shared.log(
                Level::Alert,
                format_args!("a fault of edge itself, please report it: {words}"),
            );
        }));
    }

    /// Cuts everything.
    pub fn stop(self) {
        self.crew.stop();
    }

    fn settle(&mut self, process: ProcessSettings, errors: ErrorLog) -> Result<(), String> {
        let threads = process
            .workers
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        self.crew.configure(process.worker_connections, errors);
        self.process = process;
        self.zones.forget_unused();
        self.logs.forget_unused();
        self.crew.resize(threads).map_err(|error| {
            format!("{threads} threads can't be started: {error}; lower worker_processes, or raise the limit of tasks")
        })
    }
}

/// A configuration, compiled but not served yet.
struct Plan {
    site: Arc<Site>,
    process: ProcessSettings,
    errors: ErrorLog,
}

impl Plan {
    fn make(
        features: &Features,
        zones: &Arc<Zones>,
        logs: &HandedLogs,
        sources: &SourceSet,
        handed: Vec<Handed>,
    ) -> Result<Self, String> {
        logs.take(handed);
        let (tree, mut faults) = sources.parse();
        let compiled = features.compile(&tree, logs, zones, &mut faults);
        let words = || faults.render(NAME, &tree.sources, Style::Line);
        let compiled = compiled.ok_or_else(words)?;
        let process = compiled.main.get::<ProcessSettings>().ok_or_else(words)?;
        Ok(Self {
            site: compiled.site,
            process: process.as_ref().clone(),
            errors: compiled.main.core().error_log.clone(),
        })
    }
}
