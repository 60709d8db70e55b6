//! From a parsed configuration to a [`Site`]: every directive checked and read, every block settled, all faults reported at once.

mod blocks;
mod ports;
mod settling;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nginx_conf::{Faults, Registry, Tree};

use super::core::Core;
use super::logs::{ErrorLog, LogFile};
use super::ports::Listen;
use super::scopes::MAIN;
use super::site::{Settings, Site};
use super::structure::{self, Structure};
use super::variables::VariableTable;
use super::zones::Zones;
use crate::feature::{AnyFeature, Reader};
use blocks::Compiler;
pub use settling::Settling;
use settling::Shared;

/// What the compilation needs from the world: its host opens files and knows the paths.
pub trait Outside: Send + Sync {
    /// What relative paths of files and logs are relative to (nginx's `-p`).
    fn prefix(&self) -> &Path;
    /// Opens a log for appending. A worker without the right to gets it from its master.
    ///
    /// # Errors
    /// What the system says.
    fn open_log(&self, path: &Path) -> std::io::Result<Arc<LogFile>>;
    /// The error log that holds where the configuration names none.
    fn default_error_log(&self) -> ErrorLog;
    /// The access log that holds where the configuration names none; `None` for no log.
    fn default_access_log(&self) -> Option<PathBuf> {
        Some(PathBuf::from("logs/access.log"))
    }
    /// The file for the number of the master process where the configuration names none.
    fn default_pid(&self) -> PathBuf {
        PathBuf::from("logs/nginx.pid")
    }
}

/// A configuration that can be served.
pub struct Compiled {
    /// What requests walk through.
    pub site: Arc<Site>,
    /// The sockets that it needs.
    pub listens: Vec<Listen>,
    /// Settings at the top of the file, for the process that serves it.
    pub main: Settings,
    /// Every log file that it writes to.
    pub logs: Vec<Arc<LogFile>>,
}

/// A list of features, ready to read configurations.
pub struct Features {
    registry: Registry,
    features: Vec<(&'static dyn AnyFeature, Box<dyn Reader>)>,
    structure: nginx_conf::Handle<structure::Written>,
}

static CORE: Core = Core;

impl Features {
    /// Takes the list of a program. The engine's own come first.
    ///
    /// # Panics
    /// When two features of the list offer the same directive in the same place: a fault of the program.
    pub fn new(list: &[&'static dyn AnyFeature]) -> Self {
        let mut registry = Registry::new();
        let structure = registry
            .add(
                <Structure as crate::feature::Feature>::NAME,
                <Structure as crate::feature::Feature>::DIRECTIVES,
            )
            .unwrap_or_else(|overlap| panic!("{overlap}"));
        let all = std::iter::once(&CORE as &'static dyn AnyFeature).chain(list.iter().copied());
        let features = all
            .map(|feature| (feature, feature.register(&mut registry)))
            .collect();
        Self {
            registry,
            features,
            structure,
        }
    }

    /// All directives, for the reference.
    pub fn directives(&self) -> &[nginx_conf::Entry] {
        self.registry.entries()
    }

    /// All variables, for the reference.
    pub fn variables(&self) -> impl Iterator<Item = &'static super::variables::Variable> + '_ {
        self.features
            .iter()
            .flat_map(|(feature, _)| feature.variables())
    }

    /// Compiles a configuration. `zones` holds what lives on from one configuration to the next.
    ///
    /// # Errors
    /// All faults of all files; the warnings of a good configuration are in `faults`, too.
    pub fn compile(
        &self,
        tree: &Tree,
        outside: &dyn Outside,
        zones: &Arc<Zones>,
        faults: &mut Faults,
    ) -> Option<Compiled> {
        let mut root = self.registry.walk(&tree.root, MAIN, &(), faults);
        let mut compiler = Compiler {
            features: self,
            shared: Shared {
                variables: VariableTable::default(),
                faults,
                outside,
                zones,
                logs: Vec::new(),
                upstreams: HashMap::new(),
            },
        };
        for variable in self.features.iter().map(|(feature, _)| feature.variables()) {
            compiler.shared.variables.offer(variable);
        }
        compiler.declare(&root);
        let compiled = compiler.site(&mut root, tree);
        (!faults.are_fatal()).then_some(compiled)
    }
}
