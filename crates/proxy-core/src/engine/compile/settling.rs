//! What a feature may use while it settles what was written in a block.

use std::any::Any;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nginx_conf::{Fault, Faults, Scope, Severity, Span, Spanned};

use super::Outside;
use crate::engine::exchange::Notes;
use crate::engine::logs::{ErrorLog, LogFile};
use crate::engine::structure::LocationHead;
use crate::engine::variables::{Template, VariableTable};
use crate::engine::zones::Zones;

/// What all of a compilation shares.
pub(super) struct Shared<'a> {
    pub(super) variables: VariableTable,
    pub(super) faults: &'a mut Faults,
    pub(super) outside: &'a dyn Outside,
    pub(super) zones: &'a Arc<Zones>,
    pub(super) logs: Vec<Arc<LogFile>>,
    pub(super) upstreams: HashMap<String, Arc<dyn Any + Send + Sync>>,
}
/// What a feature may use while it settles a block.
pub struct Settling<'a> {
    /// The kind of the block.
    pub scope: Scope,
    /// Where the block begins; `None` for the whole configuration.
    pub span: Option<Span>,
    /// The head of the location that the block is or lies in.
    pub location: Option<&'a LocationHead>,
    /// The name in the head of an `upstream`, and whatever else features leave for those behind them in the list, for this block.
    pub notes: &'a mut Notes,
    pub(super) shared: &'a mut dyn SharedFace,
}

/// [`Shared`] without its lifetimes.
pub(super) trait SharedFace {
    fn fault(&mut self, fault: Fault);
    fn variables(&mut self) -> &mut VariableTable;
    fn outside(&self) -> &dyn Outside;
    fn zones(&self) -> &Arc<Zones>;
    fn log_file(&mut self, path: &Path, span: Span) -> Option<Arc<LogFile>>;
    fn upstreams(&mut self) -> &mut HashMap<String, Arc<dyn Any + Send + Sync>>;
}

impl SharedFace for Shared<'_> {
    fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }
    fn variables(&mut self) -> &mut VariableTable {
        &mut self.variables
    }
    fn outside(&self) -> &dyn Outside {
        self.outside
    }
    fn zones(&self) -> &Arc<Zones> {
        self.zones
    }
    fn upstreams(&mut self) -> &mut HashMap<String, Arc<dyn Any + Send + Sync>> {
        &mut self.upstreams
    }

    fn log_file(&mut self, path: &Path, span: Span) -> Option<Arc<LogFile>> {
        let path = if path == Path::new("stderr") {
            PathBuf::from("/dev/stderr")
        } else {
            self.outside.prefix().join(path)
        };
        if let Some(known) = self.logs.iter().find(|log| log.path() == path) {
            return Some(Arc::clone(known));
        }
        match self.outside.open_log(&path) {
            Ok(log) => {
                self.logs.push(Arc::clone(&log));
                Some(log)
            }
            Err(error) => {
                let remedy = match error.kind() {
                    std::io::ErrorKind::NotFound => "create the directory, or name another file",
                    std::io::ErrorKind::PermissionDenied => {
                        "let the user that starts edge write there, or name another file"
                    }
                    _ => "name a file that can be written",
                };
                self.faults.push(
                    Fault::new(format!("open() \"{}\" failed ({error})", path.display()))
                        .at(span)
                        .help(remedy),
                );
                None
            }
        }
    }
}

impl Settling<'_> {
    /// Reports a fault. The configuration will not be used, but the other faults are still wanted.
    pub fn fault(&mut self, fault: Fault) {
        self.shared.fault(fault);
    }

    /// Tells the user something that is no reason to stop.
    pub fn warn(&mut self, message: impl Into<String>, span: Span) {
        self.fault(Fault::new(message).severity(Severity::Warn).at(span));
    }

    /// Compiles a template; an unknown variable is a fault.
    pub fn template(&mut self, written: &Spanned<nginx_conf::Template>) -> Template {
        match written.value.compile(self.shared.variables()) {
            Ok(template) => template,
            Err(faults) => {
                for fault in faults {
                    self.fault(fault.or_at(written.span));
                }
                self.literal("")
            }
        }
    }

    /// A template that is just this text.
    pub fn literal(&mut self, text: &str) -> Template {
        let literal = nginx_conf::Template::literal(text).compile(self.shared.variables());
        literal.unwrap_or_else(|_| unreachable!("a literal names no variable"))
    }

    /// [`template`](Self::template) of a path: a relative one begins at the prefix.
    pub fn path_template(&mut self, written: &Spanned<nginx_conf::Template>) -> Template {
        let source = written.value.source();
        if source.starts_with(['/', '$']) {
            return self.template(written);
        }
        let absolute = format!("{}/{source}", self.prefix().display());
        match nginx_conf::Template::parse(&absolute) {
            Ok(template) => self.template(&Spanned {
                value: template,
                span: written.span,
            }),
            Err(fault) => {
                self.fault(fault.or_at(written.span));
                self.literal("")
            }
        }
    }

    /// What relative paths are relative to.
    pub fn prefix(&self) -> &Path {
        self.shared.outside().prefix()
    }

    /// The file for the number of the master process where the configuration names none, as an absolute path.
    pub fn default_pid(&self) -> PathBuf {
        self.prefix().join(self.shared.outside().default_pid())
    }

    /// The `root` that holds where the configuration names none.
    pub fn default_root(&mut self) -> Template {
        let root = self.prefix().join("html").display().to_string();
        self.literal(&root)
    }

    /// The error log that holds where the configuration names none.
    pub fn default_error_log(&self) -> ErrorLog {
        self.shared.outside().default_error_log()
    }

    /// The access log that holds where the configuration names none: `logs/access.log` below the prefix.
    pub fn default_access_log(&mut self, span: Span) -> Option<Arc<LogFile>> {
        let path = self.shared.outside().default_access_log()?;
        self.log_file(&path, span)
    }

    /// A log file, opened once per path; one that can't be opened is a fault.
    pub fn log_file(&mut self, path: &Path, span: Span) -> Option<Arc<LogFile>> {
        self.shared.log_file(path, span)
    }

    /// The index of a variable that the configuration assigns.
    ///
    /// # Errors
    /// When the name belongs to a variable that is computed.
    pub fn assign(&mut self, name: &str, span: Span) -> Result<usize, Fault> {
        let index = self.shared.variables().assign(name);
        index.ok_or_else(|| {
            Fault::new(format!("the duplicate \"{name}\" variable"))
                .at(span)
                .help("the name is taken: choose another")
        })
    }

    /// What lives on from one configuration to the next.
    pub fn zones(&self) -> &Arc<Zones> {
        self.shared.zones()
    }

    /// Makes a named upstream known to all blocks. False when the name is taken.
    pub fn add_upstream<T: Any + Send + Sync>(&mut self, name: &str, upstream: Arc<T>) -> bool {
        self.shared
            .upstreams()
            .insert(name.to_ascii_lowercase(), upstream)
            .is_none()
    }

    /// The upstream of that name.
    pub fn upstream<T: Any + Send + Sync>(&mut self, name: &str) -> Option<Arc<T>> {
        self.shared
            .upstreams()
            .get(&name.to_ascii_lowercase())
            .cloned()?
            .downcast()
            .ok()
    }
}

impl Settling<'_> {
    /// All named upstreams of type `T`.
    pub fn upstreams<T: Any + Send + Sync>(&mut self) -> Vec<Arc<T>> {
        self.shared
            .upstreams()
            .values()
            .filter_map(|upstream| Arc::clone(upstream).downcast().ok())
            .collect()
    }
}
