//! A compiled configuration: what a request walks through to find its server and its location.

use std::collections::HashMap;
use std::sync::Arc;

use nginx_conf::Pattern;

use super::core::CoreSettings;
use super::names::ServerNames;
use super::ports::ListenAddress;
use super::prefixes::PrefixSet;
use super::table::Table;
use crate::feature::{Phase, Run, Settled};

/// A compiled configuration. Requests hold the one that they began with.
pub struct Site {
    /// What is served where.
    pub ports: Vec<Port>,
    /// Settings of the `http` block, by feature.
    pub settings: Settings,
    /// True when a template asks for a field of the response after it is sent.
    pub keeps_response_fields: bool,
    /// The index of every variable that the configuration assigns, named captures among them.
    pub assigned: HashMap<Box<str>, usize>,
}

impl Site {
    /// What is served at `address`.
    pub fn port(&self, address: &ListenAddress) -> Option<&Port> {
        self.ports.iter().find(|port| port.address == *address)
    }
}

/// All servers of one listening address.
pub struct Port {
    /// The address.
    pub address: ListenAddress,
    /// Which of the servers a name means.
    pub names: ServerNames<Arc<Server>, Pattern>,
    /// The one for requests whose host is unknown.
    pub default: Arc<Server>,
}

/// A `server` block.
pub struct Server {
    /// Its first name, for `$server_name`.
    pub name: Arc<str>,
    /// The settings that hold before a location is chosen, and its phases.
    pub outside: Arc<Location>,
    /// Its locations.
    pub locations: Locations,
    /// Its named locations (`@fallback`).
    pub named: HashMap<String, Arc<Location>>,
}

/// A `location` block, or what stands in for one where none was chosen.
pub struct Location {
    /// As written: `/static/`, `~ \.php$`, `@fallback`; empty outside of all locations.
    pub name: String,
    /// How its URI is matched.
    pub kind: LocationKind,
    /// Settings by feature.
    pub settings: Settings,
    /// Handlers by phase.
    pub handlers: Handlers,
    /// Locations inside of it.
    pub nested: Locations,
}

/// How the URI of a location is matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LocationKind {
    /// No location: the server itself.
    Outside,
    /// `location /uri`.
    Prefix,
    /// `location ^~ /uri`.
    PrefixOnly,
    /// `location = /uri`.
    Exact,
    /// `location ~ regex`, `location ~* regex`.
    Pattern,
    /// `location @name`.
    Named,
}

/// Settled settings of one block, one entry per feature, in the order of the list of features.
#[derive(Default)]
pub struct Settings(pub(crate) Vec<Settled>);

impl Settings {
    /// The common settings: those of the first feature of every list.
    pub fn core(&self) -> &Arc<CoreSettings> {
        self.0
            .first()
            .and_then(Settled::get)
            .expect("the engine puts its own feature first")
    }

    /// The settings of type `S`. A search along the list: for handlers' own settings the engine needs none.
    pub fn get<S: Send + Sync + 'static>(&self) -> Option<&Arc<S>> {
        self.0.iter().find_map(Settled::get)
    }
}

/// A handler on the way to a response, and its phase.
pub type Step = (Phase, Box<dyn Run>);

/// The active handlers of a location.
#[derive(Default)]
pub struct Handlers {
    /// Those that lead to a response, in the order in which they run.
    pub steps: Vec<Step>,
    /// How many of them run before a location is chosen.
    server_steps: usize,
    /// Those that shape a response.
    pub shapes: Vec<Box<dyn Run>>,
    /// Those that log.
    pub logs: Vec<Box<dyn Run>>,
    /// True when a content handler hands whole trees of URIs to somebody else: `/app` is then sent to `/app/`.
    pub wants_slash: bool,
}

impl Handlers {
    pub(crate) fn new(mut all: Vec<(Phase, Box<dyn Run>)>) -> Self {
        // Stable: inside a phase the order of the list of features holds.
        all.sort_by_key(|(phase, _)| *phase);
        let mut handlers = Self::default();
        for (phase, run) in all {
            match phase {
                Phase::Shape => handlers.shapes.push(run),
                Phase::Log => handlers.logs.push(run),
                Phase::Content if run.owns_tree() => {
                    handlers.wants_slash = true;
                    handlers.steps.push((phase, run));
                }
                _ => handlers.steps.push((phase, run)),
            }
        }
        let before = |(phase, _): &Step| *phase <= Phase::ServerRewrite;
        handlers.server_steps = handlers.steps.partition_point(before);
        handlers
    }

    /// Those that run before a location is chosen.
    pub fn server_steps(&self) -> &[Step] {
        &self.steps[..self.server_steps]
    }

    /// Those that run in the location.
    pub fn location_steps(&self) -> &[Step] {
        &self.steps[self.server_steps..]
    }
}

/// The locations of a server, or those nested in a location.
#[derive(Default)]
pub struct Locations {
    exact: Table<Arc<Location>>,
    prefixes: PrefixSet<Arc<Location>>,
    patterns: Vec<(Pattern, Arc<Location>)>,
    /// Exact ones that send visitors from `/app` to `/app/`, under the former.
    slashless: Table<Arc<Location>>,
}

/// An expression that matched a path.
pub type Matched<'a> = (&'a Pattern, nginx_conf::Captures);

/// Where a URI leads.
pub enum Found<'a> {
    /// To this location; with the expression that chose it or one around it, and what it captured.
    Location(&'a Arc<Location>, Option<Matched<'a>>),
    /// To a location whose prefix is the URI and a slash, and that wants its visitors to add it.
    Slash(&'a Arc<Location>),
    /// Nowhere.
    Nothing,
}

impl Locations {
    pub(crate) fn new(locations: Vec<(Option<Pattern>, Arc<Location>)>) -> Self {
        let mut exact = Table::default();
        let mut prefixes = Vec::new();
        let mut patterns = Vec::new();
        let mut slashless = Table::default();
        for (pattern, location) in locations {
            match (location.kind, pattern) {
                (LocationKind::Exact, _) => {
                    if let Some(name) = location.name.strip_suffix('/')
                        && location.handlers.wants_slash
                    {
                        slashless.insert(name.as_bytes().into(), Arc::clone(&location));
                    }
                    exact.insert(location.name.clone().into_bytes().into(), location);
                }
                (LocationKind::Prefix | LocationKind::PrefixOnly, _) => {
                    prefixes.push((location.name.clone().into_bytes(), location));
                }
                (LocationKind::Pattern, Some(pattern)) => patterns.push((pattern, location)),
                (LocationKind::Outside | LocationKind::Named | LocationKind::Pattern, _) => {}
            }
        }
        Self {
            exact,
            prefixes: PrefixSet::new(prefixes),
            patterns,
            slashless,
        }
    }

    /// The location for a path, by nginx's algorithm: an exact one; else the longest prefix is remembered, with the search
    /// going on inside of it, and the first regular expression that matches wins over it unless the prefix says `^~`.
    ///
    /// # Errors
    /// When an expression takes too many steps.
    pub fn find(&self, path: &[u8]) -> Result<Found<'_>, nginx_conf::MatchError> {
        if let Some(location) = self.exact.get(path) {
            return Ok(Found::Location(location, None));
        }
        let longest = self.prefixes.longest(path);
        if longest.is_none_or(|(prefix, _)| prefix.len() != path.len())
            && let Some(location) = self.slash_after(path)
        {
            return Ok(Found::Slash(location));
        }
        let mut prefix = None;
        if let Some((_, location)) = longest {
            prefix = Some(location);
            match location.nested.find(path)? {
                Found::Nothing => {}
                // Inside, only a prefix may still lose to a regular expression out here.
                Found::Location(inner, None) if inner.is_prefix() => prefix = Some(inner),
                found => return Ok(found),
            }
            if location.kind == LocationKind::PrefixOnly {
                return Ok(
                    prefix.map_or(Found::Nothing, |location| Found::Location(location, None))
                );
            }
        }
        for (pattern, location) in &self.patterns {
            if let Some(captures) = pattern.captures(path)? {
                return Ok(match location.nested.find(path)? {
                    Found::Nothing => Found::Location(location, Some((pattern, captures))),
                    Found::Location(inner, None) => {
                        Found::Location(inner, Some((pattern, captures)))
                    }
                    found => found,
                });
            }
        }
        Ok(prefix.map_or(Found::Nothing, |location| Found::Location(location, None)))
    }

    /// The location whose prefix lacks only its final slash in `path`, when it sends visitors there.
    fn slash_after(&self, path: &[u8]) -> Option<&Arc<Location>> {
        let prefix = self.prefixes.extended_by(path, b'/');
        let found = prefix.filter(|location| location.handlers.wants_slash);
        if self.slashless.is_empty() || prefix.is_some() {
            return found;
        }
        self.slashless.get(path)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Location>> {
        self.exact
            .values()
            .chain(self.prefixes.values())
            .chain(self.patterns.iter().map(|(_, location)| location))
    }
}

impl Location {
    fn is_prefix(&self) -> bool {
        matches!(self.kind, LocationKind::Prefix | LocationKind::PrefixOnly)
    }
}
