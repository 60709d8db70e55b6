//! The blocks themselves: `events`, `http`, `server`, `location`, and what says which requests they are for.

use std::sync::Arc;

use nginx_conf::{Args, Arity, BlockKind, Case, Fault, List, Pattern, Repeat, Setting};

use super::compile::Settling;
use super::names::ServerName;
use super::ports::{ListenLine, read_listen};
use super::scopes::{
    EVENTS, HTTP, HTTP_ONLY, LOCATION, MAIN_ONLY, SERVER, SERVER_LOCATION, SERVER_ONLY,
};
use super::site::LocationKind;
use crate::feature::{Directive, Feature};

/// The blocks, as a feature whose settings nobody reads after compilation.
pub(super) struct Structure;

/// What the head of a block, and the lines that choose it, say.
#[derive(Default)]
pub struct Written {
    pub(super) listens: List<ListenLine>,
    pub(super) names: List<NameLine>,
    pub(super) location: Setting<LocationHead>,
}

/// One name of `server_name`.
#[derive(Clone, Debug)]
pub(super) struct NameLine {
    pub(super) text: String,
    pub(super) name: ServerName<Pattern>,
}

/// What stands between `location` and its brace.
#[derive(Clone, Debug)]
pub struct LocationHead {
    /// How it matches.
    pub kind: LocationKind,
    /// What it matches: the URI, the expression as written, or the name with its `@`.
    pub text: String,
    /// The expression of a regular one.
    pub pattern: Option<Pattern>,
}

type D = Directive<Written>;

impl Feature for Structure {
    type Written = Written;
    type Settled = ();
    const NAME: &'static str = "structure";
    const DIRECTIVES: &'static [D] = &[
        D {
            name: "events",
            scopes: MAIN_ONLY,
            args: Arity::NONE,
            block: BlockKind::Opens(EVENTS),
            doc: "How connections are processed.",
            ..D::DEFAULT
        },
        D {
            name: "http",
            scopes: MAIN_ONLY,
            args: Arity::NONE,
            block: BlockKind::Opens(HTTP),
            doc: "Everything about HTTP.",
            ..D::DEFAULT
        },
        D {
            name: "server",
            scopes: HTTP_ONLY,
            args: Arity::NONE,
            block: BlockKind::Opens(SERVER),
            repeat: Repeat::Many,
            doc: "A virtual server.",
            ..D::DEFAULT
        },
        D {
            name: "location",
            scopes: SERVER_LOCATION,
            args: Arity::between(1, 2),
            block: BlockKind::Opens(LOCATION),
            repeat: Repeat::Many,
            syntax: "[= | ~ | ~* | ^~] uri | @name",
            doc: "Settings for the URIs that match.",
            read: read_location,
            ..D::DEFAULT
        },
        D {
            name: "listen",
            scopes: SERVER_ONLY,
            args: Arity::at_least(1),
            repeat: Repeat::Many,
            syntax: "address[:port] [default_server] [backlog=number] [ipv6only=on|off]",
            default: "*:80",
            doc: "Where the server is reached: address, port or unix socket.",
            read: |args, written| {
                let line = read_listen(args)?;
                let span = line.address.span;
                written
                    .listens
                    .push(nginx_conf::Spanned { value: line, span })
            },
            ..D::DEFAULT
        },
        D {
            name: "server_name",
            scopes: SERVER_ONLY,
            args: Arity::at_least(1),
            repeat: Repeat::Many,
            syntax: "name ...",
            default: "\"\"",
            doc: "Which hosts the server is for: names, *.wildcards, wildcards.*, ~regular expressions.",
            read: |args, written| read_names(args, &mut written.names),
            ..D::DEFAULT
        },
    ];

    fn settle(&self, _: Written, _: Option<&Arc<()>>, _: &mut Settling<'_>) -> Arc<()> {
        Arc::new(())
    }
}

fn read_names(args: &mut Args<'_>, names: &mut List<NameLine>) -> Result<(), Fault> {
    for arg in args.rest() {
        let name = match arg.strip_prefix("~") {
            Some(expression) if expression.text().is_empty() => return Err(arg.fault("empty regex in server name \"~\"").help("write an expression behind the tilde")),
            Some(expression) => ServerName::Pattern(expression.pattern(Case::Insensitive)?.value),
            None => ServerName::parse(arg.text()).ok_or_else(|| {
                let fault = arg.fault(format!("invalid server name or wildcard \"{}\"", arg.text()));
                fault.help("an asterisk may stand for whole labels at one end only: *.example.org or www.example.*")
            })?,
        };
        names.push(arg.spanned(NameLine {
            text: arg.text().to_owned(),
            name,
        }))?;
    }
    Ok(())
}

fn read_location(args: &mut Args<'_>, written: &mut Written) -> Result<(), Fault> {
    let first = args.one()?;
    let (modifier, uri) = match args.next() {
        Some(uri) => (first.text(), uri),
        // nginx takes `location =/uri` and the like, too.
        None => match ["~*", "^~", "=", "~"]
            .iter()
            .find_map(|modifier| Some((*modifier, first.strip_prefix(modifier)?)))
        {
            Some((modifier, uri)) => (modifier, uri),
            None => ("", first),
        },
    };
    let pattern = match modifier {
        "~" => Some(uri.pattern(Case::Sensitive)?.value),
        "~*" => Some(uri.pattern(Case::Insensitive)?.value),
        _ => None,
    };
    let kind = match modifier {
        "" if uri.text().starts_with('@') => LocationKind::Named,
        "" => LocationKind::Prefix,
        "=" => LocationKind::Exact,
        "^~" => LocationKind::PrefixOnly,
        "~" | "~*" => LocationKind::Pattern,
        other => {
            let fault = first.fault(format!("invalid location modifier \"{other}\""));
            return Err(fault.help("the modifiers are = (exact), ^~ (prefix before expressions), ~ and ~* (expressions)"));
        }
    };
    written.location.set(uri.spanned(LocationHead {
        kind,
        text: uri.text().to_owned(),
        pattern,
    }))
}
