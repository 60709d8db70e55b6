//! `proxy_redirect`: `Location` and `Refresh` of an origin server, seen from outside.

use std::sync::Arc;

use nginx_conf::{Args, Case, Fault, List, Pattern, Spanned};

use super::target::Target;
use crate::engine::compile::Settling;
use crate::engine::exchange::{Captures, Exchange};
use crate::engine::variables::Template;

/// One rule.
#[derive(Clone)]
pub(super) struct Redirect {
    from: From,
    to: Template,
}

#[derive(Clone)]
enum From {
    Prefix(Template),
    Pattern(Pattern),
}

/// One line.
pub(super) enum Written {
    Default,
    Off,
    Prefix(Spanned<nginx_conf::Template>, Spanned<nginx_conf::Template>),
    Pattern(Pattern, Spanned<nginx_conf::Template>),
}

pub(super) fn read(args: &mut Args<'_>, lines: &mut List<Written>) -> Result<(), Fault> {
    let first = args.one()?;
    let line = match (first.text(), args.next()) {
        ("off", None) => Written::Off,
        ("default", None) => Written::Default,
        (_, None) => {
            return Err(first
                .fault(format!("invalid parameter \"{}\"", first.text()))
                .help("write default, off, or what to look for and what to put there"));
        }
        (_, Some(to)) => match (first.strip_prefix("~*"), first.strip_prefix("~")) {
            (Some(pattern), _) => {
                Written::Pattern(pattern.pattern(Case::Insensitive)?.value, to.template()?)
            }
            (None, Some(pattern)) => {
                Written::Pattern(pattern.pattern(Case::Sensitive)?.value, to.template()?)
            }
            (None, None) => Written::Prefix(first.template()?, to.template()?),
        },
    };
    lines.push(first.spanned(line))
}

pub(super) fn settle(
    written: &List<Written>,
    target: Option<&Target>,
    outer: Option<&Arc<[Redirect]>>,
    own_target: bool,
    at: &mut Settling<'_>,
) -> Arc<[Redirect]> {
    if written.is_empty() {
        // The default of a block with a `proxy_pass` of its own follows from that.
        return match outer {
            Some(outer) if !own_target => Arc::clone(outer),
            _ => default_rule(target, at).into_iter().collect(),
        };
    }
    let mut rules = Vec::new();
    for line in written {
        match &line.value {
            Written::Off => return Arc::from([]),
            Written::Default => match default_rule(target, at) {
                Some(rule) => rules.push(rule),
                None if target.is_some() => {
                    let fault = Fault::new(
                        "\"proxy_redirect default\" cannot be used with \"proxy_pass\" directive with variables",
                    );
                    at.fault(
                        fault
                            .at(line.span)
                            .help("write out what to look for and what to put there"),
                    );
                }
                None => {}
            },
            Written::Prefix(from, to) => rules.push(Redirect {
                from: From::Prefix(at.template(from)),
                to: at.template(to),
            }),
            Written::Pattern(from, to) => rules.push(Redirect {
                from: From::Pattern(from.clone()),
                to: at.template(to),
            }),
        }
    }
    rules.into()
}

/// What the origin server calls itself becomes what the location is called outside.
fn default_rule(target: Option<&Target>, at: &mut Settling<'_>) -> Option<Redirect> {
    let fixed = target?.fixed()?;
    let (from, to) = match &fixed.uri {
        Some(_) => (fixed.url.clone(), fixed.location.clone()),
        None => (format!("{}/", fixed.url), "/".to_owned()),
    };
    Some(Redirect {
        from: From::Prefix(at.literal(&from)),
        to: at.literal(&to),
    })
}

/// A `Location` or `Refresh` as it is sent on; `None` where no rule applies.
pub(super) fn rewrite(
    rules: &[Redirect],
    exchange: &mut Exchange,
    value: &[u8],
) -> Option<Vec<u8>> {
    rules.iter().find_map(|rule| match &rule.from {
        From::Prefix(from) => {
            let from = exchange.expand(from);
            let rest = value.strip_prefix(&*from)?;
            Some([&*exchange.expand(&rule.to), rest].concat())
        }
        From::Pattern(pattern) => {
            let matched = pattern.captures(value).ok()??;
            let before = std::mem::replace(
                &mut exchange.captures,
                Captures {
                    subject: value.to_vec(),
                    groups: matched,
                },
            );
            let replacement = exchange.expand(&rule.to);
            exchange.captures = before;
            Some(replacement)
        }
    })
}
