//! `add_header` and `expires`: fields of every response of a location. Phase: shape.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http_wire::date::HttpDate;
use http_wire::{Fields, Known};
use nginx_conf::{Args, Arity, Fault, List, Repeat, Setting, Spanned};

use crate::engine::clock;
use crate::engine::compile::Settling;
use crate::engine::escape;
use crate::engine::exchange::{Answer, Exchange};
use crate::engine::scopes::HTTP_SERVER_LOCATION_IF;
use crate::engine::variables::Template;
use crate::feature::{Directive, Feature, Handler, Phase};
use crate::server::Response;

/// The feature.
pub struct Headers;

/// What the block says.
#[derive(Default)]
pub struct Written {
    added: List<AddedLine>,
    inherit: Setting<Inherit>,
    expires: Setting<Expires<nginx_conf::Template>>,
}

#[derive(Clone)]
struct AddedLine {
    name: String,
    value: Spanned<nginx_conf::Template>,
    always: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Inherit {
    On,
    Off,
    Merge,
}

/// What requests read.
pub struct Settled {
    added: Arc<[Added]>,
    inherit: Inherit,
    expires: Option<Expires<Template>>,
}

#[derive(Clone)]
struct Added {
    name: String,
    value: Template,
    always: bool,
}

#[derive(Clone, Debug)]
enum Expires<T> {
    Off,
    Epoch,
    Max,
    /// Seconds from now; may be negative.
    FromNow(i64),
    /// Seconds after the file was last changed.
    FromModified(i64),
    /// At this time of the day, in seconds after midnight (local time).
    Daily(u32),
    /// Whatever a variable says; `true` for a time after the file was last changed.
    Computed(T, bool),
}

type D = Directive<Written>;

impl Feature for Headers {
    type Written = Written;
    type Settled = Settled;
    const NAME: &'static str = "headers";
    const DIRECTIVES: &'static [D] = &[
        D {
            name: "add_header",
            scopes: HTTP_SERVER_LOCATION_IF,
            args: Arity::between(2, 3),
            repeat: Repeat::Many,
            syntax: "name value [always]",
            doc: "Adds a field to responses of status 200, 201, 204, 206, 301, 302, 303, 304, 307 and 308; with \"always\" to all. A block with any inherits none.",
            read: read_add_header,
            ..D::DEFAULT
        },
        D {
            name: "add_header_inherit",
            scopes: HTTP_SERVER_LOCATION_IF,
            syntax: "on | off | merge",
            default: "on",
            doc: "What `add_header` lines of the outer block mean here: used unless there are own ones, not used, or used besides them.",
            read: |args, written| {
                written.inherit.set(args.one_of(&[
                    ("on", Inherit::On),
                    ("off", Inherit::Off),
                    ("merge", Inherit::Merge),
                ])?)
            },
            ..D::DEFAULT
        },
        D {
            name: "expires",
            scopes: HTTP_SERVER_LOCATION_IF,
            args: Arity::between(1, 2),
            syntax: "[modified] time | @time | epoch | max | off",
            default: "off",
            doc: "Sets `Expires` and `Cache-Control`.",
            read: read_expires,
            ..D::DEFAULT
        },
    ];
    const PHASES: &'static [(Phase, Handler<Settled>)] = &[(Phase::Shape, Handler::Shape(shape))];

    fn settle(
        &self,
        written: Written,
        outer: Option<&Arc<Settled>>,
        at: &mut Settling<'_>,
    ) -> Arc<Settled> {
        let inherit = written
            .inherit
            .settle(outer.map(|outer| &outer.inherit), || Inherit::On);
        let inherited = outer
            .filter(|_| inherit != Inherit::Off)
            .map(|outer| Arc::clone(&outer.added))
            .unwrap_or_default();
        let own: Vec<Added> = written
            .added
            .iter()
            .map(|line| Added {
                name: line.value.name.clone(),
                value: at.template(&line.value.value),
                always: line.value.always,
            })
            .collect();
        let added = match (own.is_empty(), inherit) {
            (true, _) => inherited,
            (false, Inherit::Merge) => inherited.iter().cloned().chain(own).collect(),
            (false, _) => own.into(),
        };
        let expires = match written.expires.spanned() {
            Some(expires) => Some(settle_expires(expires, at)),
            None => outer.and_then(|outer| outer.expires.clone()),
        };
        Arc::new(Settled {
            added,
            inherit,
            expires,
        })
    }

    fn active(settled: &Settled, _: Phase) -> bool {
        !settled.added.is_empty()
            || settled
                .expires
                .as_ref()
                .is_some_and(|expires| !matches!(expires, Expires::Off))
    }
}

fn read_add_header(args: &mut Args<'_>, written: &mut Written) -> Result<(), Fault> {
    let name = args.one()?;
    if Fields::new().append(name.text(), b"").is_err() {
        return Err(name
            .fault(format!("invalid field name \"{}\"", name.text()))
            .help("a name consists of letters, digits and dashes"));
    }
    let value = args.template()?;
    let always = match args.next() {
        None => false,
        Some(word) if word.text() == "always" => true,
        Some(word) => {
            return Err(word
                .invalid_parameter()
                .help("the only third argument is \"always\""));
        }
    };
    written.added.push(name.spanned(AddedLine {
        name: name.text().to_owned(),
        value,
        always,
    }))
}

fn read_expires(args: &mut Args<'_>, written: &mut Written) -> Result<(), Fault> {
    let first = args.one()?;
    let (modified, word) = if first.text() == "modified" {
        (true, args.one()?)
    } else {
        (false, first)
    };
    let text = word.text();
    let expires = match text {
        _ if text.contains('$') => Expires::Computed(word.template()?.value, modified),
        "off" if !modified => Expires::Off,
        "epoch" if !modified => Expires::Epoch,
        "max" if !modified => Expires::Max,
        _ => parse_time(text, modified).ok_or_else(|| {
            word.fault(format!("\"expires\" directive invalid value \"{text}\""))
                .help("write a time such as 30d, -1 or @15h30m, or epoch, max or off")
        })?,
    };
    written.expires.set(word.spanned(expires))
}

fn parse_time<T>(text: &str, modified: bool) -> Option<Expires<T>> {
    if let Some(time) = text.strip_prefix('@') {
        let seconds = nginx_conf::seconds(time)?.as_secs();
        return (!modified && seconds <= 86_400).then_some(Expires::Daily(seconds as u32));
    }
    let (sign, time) = match text.strip_prefix('-') {
        Some(time) => (-1, time),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let seconds = sign * i64::try_from(nginx_conf::seconds(time)?.as_secs()).ok()?;
    Some(if modified {
        Expires::FromModified(seconds)
    } else {
        Expires::FromNow(seconds)
    })
}

fn settle_expires(
    written: &Spanned<Expires<nginx_conf::Template>>,
    at: &mut Settling<'_>,
) -> Expires<Template> {
    match &written.value {
        Expires::Off => Expires::Off,
        Expires::Epoch => Expires::Epoch,
        Expires::Max => Expires::Max,
        Expires::FromNow(seconds) => Expires::FromNow(*seconds),
        Expires::FromModified(seconds) => Expires::FromModified(*seconds),
        Expires::Daily(second) => Expires::Daily(*second),
        Expires::Computed(template, modified) => {
            let template = Spanned {
                value: template.clone(),
                span: written.span,
            };
            Expires::Computed(at.template(&template), *modified)
        }
    }
}

fn shape(settled: &Settled, exchange: &mut Exchange, response: &mut Response) {
    if exchange.site.keeps_response_fields {
        // `$sent_http_…` in a value means the response as it stands now.
        let status = exchange.final_status(response.status);
        exchange.answer = Some(Answer {
            status,
            fields: Some(response.fields.clone()),
        });
    }
    let status = exchange.final_status(response.status);
    let usual = is_usual(status) || is_out_of_range(exchange, status, response);
    if usual {
        match &settled.expires {
            Some(Expires::Computed(template, modified)) => {
                let text = String::from_utf8_lossy(&exchange.expand(template)).into_owned();
                let expires = match text.as_str() {
                    "epoch" => Expires::Epoch,
                    "max" => Expires::Max,
                    text => parse_time(text, *modified).unwrap_or(Expires::<Template>::Off),
                };
                expire(&expires, response);
            }
            Some(expires) => expire(expires, response),
            None => {}
        }
    }
    for added in settled.added.iter().filter(|added| usual || added.always) {
        let value = exchange.expand(&added.value);
        // nginx replaces these two, and an empty value takes them away; all others are added beside what is there.
        let replaces = ["Last-Modified", "ETag"]
            .iter()
            .any(|name| added.name.eq_ignore_ascii_case(name));
        if value.is_empty() {
            if replaces {
                response.fields.remove(&added.name);
            }
            continue;
        }
        let value = escape::field_value(&value);
        let set = if replaces {
            response.fields.set(&added.name, &value)
        } else {
            response.fields.append(&added.name, &value)
        };
        debug_assert!(
            set.is_ok(),
            "the name was checked when it was read, the value was escaped"
        );
    }
}

/// The statuses whose responses get fields without "always".
fn is_usual(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 201 | 204 | 206 | 301 | 302 | 303 | 304 | 307 | 308
    )
}

/// A file that has nothing of the range that was asked for: what a location says about its files is true of it too.
fn is_out_of_range(exchange: &Exchange, status: StatusCode, response: &Response) -> bool {
    status == StatusCode::RANGE_NOT_SATISFIABLE
        && exchange.attempts.is_empty()
        && response.fields.get(Known::ContentRange).is_some()
}

fn expire(expires: &Expires<Template>, response: &mut Response) {
    let now = i64::try_from(clock::since_epoch().as_secs()).unwrap_or(0);
    let (at, control) = match expires {
        Expires::Off | Expires::Computed(..) => return,
        Expires::Epoch => (HttpDate::from_unix(1), "no-cache".to_owned()),
        Expires::Max => (
            HttpDate::from_unix(2_145_916_555),
            "max-age=315360000".to_owned(),
        ),
        Expires::FromNow(seconds) => (
            HttpDate::from_unix(now.saturating_add(*seconds).max(0)),
            max_age(*seconds),
        ),
        Expires::FromModified(seconds) => {
            let modified = response
                .fields
                .get("Last-Modified")
                .and_then(HttpDate::parse)
                .map_or(now, HttpDate::unix);
            let at = modified.saturating_add(*seconds).max(0);
            (HttpDate::from_unix(at), max_age(at.saturating_sub(now)))
        }
        Expires::Daily(second) => {
            let at = clock::next_daily(*second, Duration::from_secs(now as u64));
            (HttpDate::from_unix(at), max_age(at - now))
        }
    };
    let _ = response.fields.set("Expires", at.text());
    let _ = response.fields.set("Cache-Control", control);
}

fn max_age(seconds: i64) -> String {
    if seconds < 0 {
        "no-cache".to_owned()
    } else {
        format!("max-age={seconds}")
    }
}
