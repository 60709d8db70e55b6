//! `try_files`: the first of several files that exists, else a last resort. Phase: precontent.

use std::sync::Arc;

use http::StatusCode;
use nginx_conf::{Arity, Fault, Setting, Span, Spanned};

use crate::engine::compile::Settling;
use crate::engine::exchange::Exchange;
use crate::engine::scopes::SERVER_LOCATION;
use crate::engine::site::LocationKind;
use crate::engine::variables::Template;
use crate::feature::{Directive, Feature, Flow, Handler, Phase, Turn, Waiting};

/// The feature.
pub struct TryFiles;

/// What the block says.
#[derive(Default)]
pub struct Written {
    words: Setting<Vec<Spanned<nginx_conf::Template>>>,
}

/// What requests read. Not inherited, as in nginx.
pub struct Settled {
    tries: Vec<Try>,
    last: Option<Last>,
}

struct Try {
    name: Template,
    wants_directory: bool,
    /// No variable is in it: it is then taken as it is, below an `alias`, too.
    literal: bool,
}

enum Last {
    Uri(Template),
    Named(String),
    Status(StatusCode),
}

impl Feature for TryFiles {
    type Written = Written;
    type Settled = Settled;
    const NAME: &'static str = "try_files";
    const DIRECTIVES: &'static [Directive<Written>] = &[Directive {
        name: "try_files",
        scopes: SERVER_LOCATION,
        args: Arity::at_least(2),
        syntax: "file ... uri | =code | @name",
        doc: "Serves the first file that exists (a final slash asks for a directory); else goes to the last argument.",
        read: |args, written| {
            let span: Span = args.span();
            let words = args
                .rest()
                .iter()
                .map(nginx_conf::Arg::template)
                .collect::<Result<Vec<_>, Fault>>()?;
            written.words.set(Spanned { value: words, span })
        },
        ..Directive::DEFAULT
    }];
    const PHASES: &'static [(Phase, Handler<Settled>)] =
        &[(Phase::Precontent, Handler::Wait(choose))];

    fn settle(
        &self,
        written: Written,
        _: Option<&Arc<Settled>>,
        at: &mut Settling<'_>,
    ) -> Arc<Settled> {
        let Some((last, files)) = written.words.get().and_then(|words| words.split_last()) else {
            return Arc::new(Settled {
                tries: Vec::new(),
                last: None,
            });
        };
        let tries = files.iter().map(|word| settle_try(word, at)).collect();
        Arc::new(Settled {
            tries,
            last: settle_last(last, at),
        })
    }

    fn active(settled: &Settled, _: Phase) -> bool {
        settled.last.is_some()
    }
}

fn settle_try(word: &Spanned<nginx_conf::Template>, at: &mut Settling<'_>) -> Try {
    let source = word.value.source();
    let wants_directory = source.ends_with('/');
    let name = match source.strip_suffix('/').map(nginx_conf::Template::parse) {
        Some(Ok(value)) => at.template(&Spanned {
            value,
            span: word.span,
        }),
        _ => at.template(word),
    };
    Try {
        literal: name.as_literal().is_some(),
        name,
        wants_directory,
    }
}

fn settle_last(word: &Spanned<nginx_conf::Template>, at: &mut Settling<'_>) -> Option<Last> {
    let source = word.value.source();
    if let Some(code) = source.strip_prefix('=') {
        let status = code
            .parse()
            .ok()
            .filter(|code| *code <= 999_u16)
            .and_then(|code| StatusCode::from_u16(code).ok());
        if status.is_none() {
            at.fault(
                Fault::new(format!("invalid code \"{code}\""))
                    .at(word.span)
                    .help("write a status from 100 to 999 behind the \"=\""),
            );
        }
        return status.map(Last::Status);
    }
    if source.starts_with('@') {
        return Some(Last::Named(source.to_owned()));
    }
    Some(Last::Uri(at.template(word)))
}

fn choose<'a>(settled: &'a Settled, exchange: &'a mut Exchange) -> Waiting<'a, Flow> {
    Box::pin(async move {
        for candidate in &settled.tries {
            let name = exchange.expand(&candidate.name);
            let part = part_of(exchange, &name, candidate.literal);
            let place = exchange.place_of(part.into()).into_owned();
            let found = place.root.metadata(&place.below).await;
            let fits = found.is_ok_and(|found| {
                if candidate.wants_directory {
                    found.is_dir()
                } else {
                    found.is_file()
                }
            });
            if fits {
                take(exchange, &name, candidate);
                return Flow::Next;
            }
        }
        match &settled.last {
            None => Flow::Next,
            Some(Last::Named(name)) => Flow::Turn(Turn::Named(name.clone())),
            Some(Last::Status(status)) => Flow::status(*status),
            Some(Last::Uri(uri)) => Flow::Turn(Turn::to(&exchange.expand(uri))),
        }
    })
}

/// How the location names its directory.
enum Naming {
    Root,
    /// `alias` of a location with a prefix.
    Alias,
    /// `alias` of a location with a regular expression.
    WholeAlias,
}

fn naming(exchange: &Exchange) -> Naming {
    match (exchange.core().files.alias, exchange.location.kind) {
        (false, _) => Naming::Root,
        (true, LocationKind::Pattern) => Naming::WholeAlias,
        (true, _) => Naming::Alias,
    }
}

/// What a name adds to the directory: with `alias` the location's own part of the URI is left out of what variables made.
fn part_of(exchange: &Exchange, name: &[u8], literal: bool) -> Vec<u8> {
    let own = exchange.location.name.as_bytes();
    let below = match naming(exchange) {
        Naming::Alias if !literal => name.strip_prefix(own),
        _ => None,
    };
    below.unwrap_or(name).to_vec()
}

/// Goes on with a name that was found as the URI. A directory keeps its name without the slash: whoever serves it redirects to
/// the one with it.
fn take(exchange: &mut Exchange, name: &[u8], found: &Try) {
    let path = match naming(exchange) {
        Naming::Root => name.to_vec(),
        Naming::Alias => {
            let part = part_of(exchange, name, found.literal);
            [exchange.location.name.as_bytes(), &part].concat()
        }
        // The URI stays what it was for a directory, which the alias alone names.
        Naming::WholeAlias if found.wants_directory => return,
        Naming::WholeAlias => {
            exchange.adds_uri_to_alias = true;
            name.to_vec()
        }
    };
    exchange.uri.path = path;
    exchange.uri.as_sent = false;
}
