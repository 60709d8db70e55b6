//! From a parsed configuration to a [`Site`]: every directive checked and read, every block settled, all faults reported at once.

use std::any::Any;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nginx_conf::{Fault, Faults, Level, Registry, Scope, Severity, Span, Spanned, Tree};

use super::core::Core;
use super::exchange::Notes;
use super::logs::{ErrorLog, LogFile};
use super::names::{ServerName, ServerNames};
use super::ports::{Listen, ListenAddress, ListenLine};
use super::scopes::{EVENTS, HTTP, LOCATION, MAIN, SERVER, UPSTREAM};
use super::site::{Handlers, Location, LocationKind, Locations, Port, Server, Settings, Site};
use super::structure::{self, LocationHead, Structure};
use super::variables::{Template, VariableTable};
use super::zones::Zones;
use crate::feature::{AnyFeature, Reader};

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

/// What all of a compilation shares.
struct Shared<'a> {
    variables: VariableTable,
    faults: &'a mut Faults,
    outside: &'a dyn Outside,
    zones: &'a Arc<Zones>,
    logs: Vec<Arc<LogFile>>,
    upstreams: HashMap<String, Arc<dyn Any + Send + Sync>>,
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
    shared: &'a mut dyn SharedFace,
}

/// [`Shared`] without its lifetimes.
trait SharedFace {
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

struct Compiler<'a> {
    features: &'a Features,
    shared: Shared<'a>,
}

/// A server with what chooses it.
struct ChosenBy {
    server: Arc<Server>,
    listens: Vec<(Listen, ListenLine)>,
    names: Vec<Spanned<ServerName<nginx_conf::Pattern>>>,
}

impl Compiler<'_> {
    /// Lets every feature name the variables that it will assign, so that templates may use them wherever they stand.
    fn declare(&mut self, level: &Level) {
        for (_, reader) in &self.features.features {
            reader.declare(level, &mut self.shared.variables, self.shared.faults);
        }
        let written = level.written(self.features.structure);
        let patterns = written.into_iter().flat_map(|written| {
            let of_names = written
                .names
                .iter()
                .filter_map(|line| match &line.value.name {
                    ServerName::Pattern(pattern) => Some((pattern, line.span)),
                    _ => None,
                });
            let of_location = written
                .location
                .spanned()
                .and_then(|head| Some((head.value.pattern.as_ref()?, head.span)));
            of_names.chain(of_location)
        });
        for (pattern, span) in patterns {
            for (name, _) in pattern.names() {
                if self.shared.variables.assign(name).is_none() {
                    self.shared.faults.push(
                        Fault::new(format!("the duplicate \"{name}\" variable"))
                            .at(span)
                            .help("the name is taken: choose another"),
                    );
                }
            }
        }
        for child in level.children() {
            self.declare(child);
        }
    }

    fn site(mut self, root: &mut Level, tree: &Tree) -> Compiled {
        let main = self.settle(root, None, None);
        let mut events = take_children(root, EVENTS);
        let process = events
            .first_mut()
            .map(|events| self.settle(events, Some(&main), None));
        if process.is_none() {
            let fault = Fault::new("no \"events\" section in configuration");
            self.shared
                .faults
                .push(fault.help("write \"events {}\" above \"http\""));
        }
        let mut https = take_children(root, HTTP);
        let mut listens = Vec::new();
        let mut ports = Vec::new();
        let mut settings = Settings::default();
        if let Some(http) = https.first_mut() {
            settings = self.settle(http, Some(&main), None);
            for mut upstream in take_children(http, UPSTREAM) {
                self.settle(&mut upstream, Some(&settings), None);
            }
            let servers: Vec<_> = take_children(http, SERVER)
                .into_iter()
                .map(|server| self.server(server, &settings, tree))
                .collect();
            (ports, listens) = self.ports(servers);
        }
        let site = Site {
            ports,
            settings,
            keeps_response_fields: self.shared.variables.needs_response_fields(),
            assigned: self.shared.variables.assigned_names(),
        };
        Compiled {
            site: Arc::new(site),
            listens,
            main: process.unwrap_or(main),
            logs: self.shared.logs,
        }
    }

    /// Settles what all features wrote in a block.
    fn settle(
        &mut self,
        level: &mut Level,
        outer: Option<&Settings>,
        location: Option<&LocationHead>,
    ) -> Settings {
        let mut notes = Notes::default();
        let mut settled = Vec::with_capacity(self.features.features.len());
        for (index, (feature, reader)) in self.features.features.iter().enumerate() {
            let written = reader.take(level);
            let mut at = Settling {
                scope: level.scope(),
                span: level.span(),
                location,
                notes: &mut notes,
                shared: &mut self.shared,
            };
            settled.push(feature.settle(written, outer.map(|outer| &outer.0[index]), &mut at));
        }
        Settings(settled)
    }

    fn handlers(&self, settings: &Settings) -> Handlers {
        let all = self
            .features
            .features
            .iter()
            .zip(&settings.0)
            .flat_map(|((feature, _), settled)| feature.handlers(settled));
        Handlers::new(all.collect())
    }

    fn server(&mut self, mut level: Level, http: &Settings, tree: &Tree) -> ChosenBy {
        let written = level.take(self.features.structure);
        let settings = self.settle(&mut level, Some(http), None);
        let mut named = HashMap::new();
        let locations = self.locations(
            take_children(&mut level, LOCATION),
            &settings,
            None,
            &mut named,
        );
        let outside = Location {
            name: String::new(),
            kind: LocationKind::Outside,
            handlers: self.handlers(&settings),
            settings,
            nested: Locations::default(),
        };
        let name = written
            .names
            .iter()
            .next()
            .map_or("", |line| line.value.text.as_str());
        let mut lines: Vec<ListenLine> = written
            .listens
            .iter()
            .map(|line| line.value.clone())
            .collect();
        if lines.is_empty() {
            let span = level.span().or_else(|| {
                tree.root
                    .statements
                    .first()
                    .map(|statement| statement.span())
            });
            lines.extend(span.map(ListenLine::default_at));
        }
        let mut listens = Vec::new();
        for line in lines {
            let resolved = line
                .resolve()
                .map_err(|fault| self.shared.faults.push(fault))
                .unwrap_or_default();
            listens.extend(resolved.into_iter().map(|listen| (listen, line.clone())));
        }
        let names = written
            .names
            .iter()
            .map(|line| Spanned {
                value: line.value.name.clone(),
                span: line.span,
            })
            .collect();
        let server = Arc::new(Server {
            name: name.to_ascii_lowercase().into(),
            outside: Arc::new(outside),
            locations,
            named,
        });
        ChosenBy {
            server,
            listens,
            names,
        }
    }

    fn locations(
        &mut self,
        levels: Vec<Level>,
        outer: &Settings,
        around: Option<&LocationHead>,
        named: &mut HashMap<String, Arc<Location>>,
    ) -> Locations {
        let mut list: Vec<(Option<nginx_conf::Pattern>, Arc<Location>)> =
            Vec::with_capacity(levels.len());
        let mut seen: HashMap<(LocationKind, String), Span> = HashMap::new();
        for mut level in levels {
            let written = level.take(self.features.structure);
            let Some(Spanned { value: head, span }) = written.location.spanned().cloned() else {
                continue;
            };
            self.check_place(&head, span, around, &mut seen);
            let settings = self.settle(&mut level, Some(outer), Some(&head));
            let nested = self.locations(
                take_children(&mut level, LOCATION),
                &settings,
                Some(&head),
                named,
            );
            let handlers = self.handlers(&settings);
            let location = Arc::new(Location {
                name: head.text.clone(),
                kind: head.kind,
                settings,
                handlers,
                nested,
            });
            if head.kind == LocationKind::Named {
                named.insert(head.text, location);
            } else {
                list.push((head.pattern, location));
            }
        }
        Locations::new(list)
    }

    /// What nginx refuses about where a location stands.
    fn check_place(
        &mut self,
        head: &LocationHead,
        span: Span,
        around: Option<&LocationHead>,
        seen: &mut HashMap<(LocationKind, String), Span>,
    ) {
        let text = &head.text;
        if let Some(around) = around {
            let outer = &around.text;
            let is_prefix = matches!(
                head.kind,
                LocationKind::Prefix | LocationKind::PrefixOnly | LocationKind::Exact
            );
            let around_is_prefix =
                matches!(around.kind, LocationKind::Prefix | LocationKind::PrefixOnly);
            let fault = if around.kind == LocationKind::Exact {
                Some(format!(
                    "location \"{text}\" cannot be inside the exact location \"{outer}\""
                ))
            } else if around.kind == LocationKind::Named {
                Some(format!(
                    "location \"{text}\" cannot be inside the named location \"{outer}\""
                ))
            } else if head.kind == LocationKind::Named {
                Some(format!(
                    "named location \"{text}\" can be on the server level only"
                ))
            } else if is_prefix && around_is_prefix && !text.starts_with(outer.as_str()) {
                Some(format!(
                    "location \"{text}\" is outside location \"{outer}\""
                ))
            } else {
                None
            };
            if let Some(message) = fault {
                self.shared.faults.push(
                    Fault::new(message)
                        .at(span)
                        .help("move the block out of the other one"),
                );
            }
        }
        if head.kind == LocationKind::Pattern {
            return;
        }
        let kind = if head.kind == LocationKind::PrefixOnly {
            LocationKind::Prefix
        } else {
            head.kind
        };
        if let Some(first) = seen.insert((kind, text.clone()), span) {
            let fault = Fault::new(format!("duplicate location \"{text}\"")).at(span);
            self.shared.faults.push(
                fault
                    .note(first, "first one here")
                    .help("merge the two blocks"),
            );
        }
    }

    fn ports(&mut self, servers: Vec<ChosenBy>) -> (Vec<Port>, Vec<Listen>) {
        let mut listens: Vec<Listen> = Vec::new();
        let mut ports: Vec<Port> = Vec::new();
        let mut defaults: HashMap<ListenAddress, Span> = HashMap::new();
        for chosen in servers {
            let mut of_server: Vec<ListenAddress> = Vec::new();
            for (listen, line) in &chosen.listens {
                let address = &listen.address;
                if of_server.contains(address) {
                    let fault =
                        Fault::new(format!("a duplicate listen {address}")).at(line.address.span);
                    self.shared.faults.push(fault.help("keep one of the lines"));
                    continue;
                }
                of_server.push(address.clone());
                let at = ports
                    .iter()
                    .position(|port| port.address == *address)
                    .unwrap_or_else(|| {
                        listens.push(listen.clone());
                        ports.push(Port {
                            address: address.clone(),
                            names: ServerNames::default(),
                            default: Arc::clone(&chosen.server),
                        });
                        ports.len() - 1
                    });
                if line.default_server {
                    ports[at].default = Arc::clone(&chosen.server);
                    if let Some(first) = defaults.insert(address.clone(), line.address.span) {
                        let fault = Fault::new(format!("a duplicate default server for {address}"))
                            .at(line.address.span);
                        self.shared.faults.push(
                            fault
                                .note(first, "first one here")
                                .help("take \"default_server\" out of one of the lines"),
                        );
                    }
                }
                self.add_names(&mut ports[at], &chosen);
            }
        }
        // A wildcard socket brings the connections of the addresses below it.
        let needed = listens
            .iter()
            .filter(|listen| !listens.iter().any(|other| other.covers(listen)))
            .cloned()
            .collect();
        (ports, needed)
    }

    fn add_names(&mut self, port: &mut Port, chosen: &ChosenBy) {
        for name in &chosen.names {
            if !port
                .names
                .add(name.value.clone(), Arc::clone(&chosen.server))
            {
                let text = match &name.value {
                    ServerName::Exact(text) | ServerName::Both(text) => text.clone(),
                    ServerName::Leading(text) => format!("*{text}"),
                    ServerName::Trailing(text) => format!("{text}*"),
                    ServerName::Pattern(_) => continue,
                };
                let message = format!(
                    "conflicting server name \"{text}\" on {}, ignored",
                    port.address
                );
                self.shared
                    .faults
                    .push(Fault::new(message).severity(Severity::Warn).at(name.span));
            }
        }
    }
}

fn take_children(level: &mut Level, scope: Scope) -> Vec<Level> {
    let (taken, left) = std::mem::take(level.children_mut())
        .into_iter()
        .partition(|child| child.scope() == scope);
    *level.children_mut() = left;
    taken
}
