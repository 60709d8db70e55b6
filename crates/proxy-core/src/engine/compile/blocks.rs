//! Walking the blocks: each is settled inside of the one around it, servers get their locations.

use std::collections::HashMap;
use std::sync::Arc;

use nginx_conf::{Fault, Level, Scope, Span, Spanned, Tree};

use super::settling::{Settling, Shared};
use super::{Compiled, Features};
use crate::engine::exchange::Notes;
use crate::engine::names::ServerName;
use crate::engine::ports::{Listen, ListenLine};
use crate::engine::scopes::{EVENTS, HTTP, LOCATION, SERVER, UPSTREAM};
use crate::engine::site::{Handlers, Location, LocationKind, Locations, Server, Settings, Site};
use crate::engine::structure::LocationHead;

pub(super) struct Compiler<'a> {
    pub(super) features: &'a Features,
    pub(super) shared: Shared<'a>,
}

/// A server with what chooses it.
pub(super) struct ChosenBy {
    pub(super) server: Arc<Server>,
    pub(super) listens: Vec<(Listen, ListenLine)>,
    pub(super) names: Vec<Spanned<ServerName<nginx_conf::Pattern>>>,
}

impl Compiler<'_> {
    /// Lets every feature name the variables that it will assign, so that templates may use them wherever they stand.
    pub(super) fn declare(&mut self, level: &Level) {
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

    pub(super) fn site(mut self, root: &mut Level, tree: &Tree) -> Compiled {
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
}

fn take_children(level: &mut Level, scope: Scope) -> Vec<Level> {
    let (taken, left) = std::mem::take(level.children_mut())
        .into_iter()
        .partition(|child| child.scope() == scope);
    *level.children_mut() = left;
    taken
}
