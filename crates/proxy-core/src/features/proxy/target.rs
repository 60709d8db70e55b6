//! Where `proxy_pass` leads, and the URI that is asked for there.

use std::sync::{Arc, Mutex, PoisonError};

use http_wire::path::{Escape, escape};
use nginx_conf::{Fault, PeerAddress, Span, Spanned};

use crate::client::{Pool, PoolSettings};
use crate::engine::compile::Settling;
use crate::engine::escape::path_and_args;
use crate::engine::exchange::Exchange;
use crate::engine::scopes::{LIMIT_EXCEPT, LOCATION_IF};
use crate::engine::site::LocationKind;
use crate::engine::variables::Template;
use crate::engine::zones::Zones;
use crate::upstream::{Group, Line, Source, Terms};

/// Where `proxy_pass` leads.
#[derive(Clone)]
pub(super) enum Target {
    /// Always to the same group.
    Fixed(Arc<Fixed>),
    /// Where variables say.
    Computed(Arc<Computed>),
}

/// A target without variables.
pub(super) struct Fixed {
    pub(super) group: Arc<Group>,
    /// As written, `http://` included: what `proxy_redirect default` looks for.
    pub(super) url: String,
    /// What stands between `http://` and the URI: `$proxy_host`.
    pub(super) host: String,
    /// The URI, where one was written: it takes the place of the location's.
    pub(super) uri: Option<String>,
    /// The location's own part of a request's path, that the URI takes the place of.
    pub(super) location: String,
    /// True where the location is a plain prefix.
    pub(super) in_prefix: bool,
}

/// A target with variables.
pub(super) struct Computed {
    url: Template,
    known: Vec<Arc<Group>>,
    /// Those of hosts that no `upstream` names, the last used first.
    recent: Mutex<Vec<Arc<Group>>>,
    pool: Pool,
}

/// How many hosts that requests lead to are remembered: what a client may name must not fill the memory.
const RECENT_MAX: usize = 64;

/// What a request is sent to.
pub(super) struct Aim {
    pub(super) group: Arc<Group>,
    /// `$proxy_host`.
    pub(super) host: String,
    /// The request target.
    pub(super) uri: Vec<u8>,
}

/// A URL of `proxy_pass`, taken apart.
struct Url<'u> {
    host: &'u str,
    uri: Option<&'u str>,
}

impl<'u> Url<'u> {
    fn parse(url: &'u str) -> Result<Self, &'static str> {
        let Some(rest) = strip_scheme(url, "http://") else {
            return Err(if strip_scheme(url, "https://").is_some() {
                "https to origin servers is not supported yet"
            } else {
                "invalid URL prefix"
            });
        };
        // The path of a unix socket ends at a colon.
        let host_end = match rest
            .get(..5)
            .filter(|scheme| scheme.eq_ignore_ascii_case("unix:"))
        {
            Some(_) => rest[5..].find(':').map(|at| (at + 5, at + 6)),
            None => rest.find(['/', '?']).map(|at| (at, at)),
        };
        let (host, uri) = match host_end {
            Some((end, start)) => (
                &rest[..end],
                Some(&rest[start..]).filter(|uri| !uri.is_empty()),
            ),
            None => (rest, None),
        };
        if host.is_empty() {
            Err("no host in upstream")
        } else {
            Ok(Self { host, uri })
        }
    }
}

fn strip_scheme<'u>(url: &'u str, scheme: &str) -> Option<&'u str> {
    let (start, rest) = url.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

impl Target {
    pub(super) fn settle(
        pass: &Spanned<nginx_conf::Template>,
        at: &mut Settling<'_>,
    ) -> Option<Self> {
        if pass.value.as_literal().is_none() {
            let known = at.upstreams();
            return Some(Self::Computed(Arc::new(Computed {
                url: at.template(pass),
                known,
                recent: Mutex::default(),
                pool: (*at.zones().entry("upstream pool", "", Pool::default)).clone(),
            })));
        }
        match settle_fixed(pass.value.source(), pass.span, at) {
            Ok(fixed) => Some(Self::Fixed(Arc::new(fixed))),
            Err(fault) => {
                at.fault(fault.or_at(pass.span));
                None
            }
        }
    }

    /// Where an exchange is sent to.
    ///
    /// # Errors
    /// What is wrong with the URL that the variables make.
    pub(super) fn aim(&self, exchange: &Exchange) -> Result<Aim, String> {
        match self {
            Self::Fixed(fixed) => Ok(Aim {
                group: Arc::clone(&fixed.group),
                host: fixed.host.clone(),
                uri: fixed.uri_for(exchange),
            }),
            Self::Computed(computed) => computed.aim(exchange),
        }
    }

    /// `$proxy_host`, where it is always the same.
    pub(super) fn fixed(&self) -> Option<&Fixed> {
        match self {
            Self::Fixed(fixed) => Some(fixed),
            Self::Computed(_) => None,
        }
    }
}

fn settle_fixed(url: &str, span: Span, at: &mut Settling<'_>) -> Result<Fixed, Fault> {
    let parsed = Url::parse(url).map_err(|what| match what {
        "invalid URL prefix" => {
            Fault::new(format!("invalid URL prefix in \"{url}\"")).help("write http://host:port")
        }
        "no host in upstream" => {
            Fault::new(format!("no host in upstream \"{url}\"")).help("write http://host:port")
        }
        other => Fault::new(format!("{other}, got \"{url}\""))
            .help("write http://, or keep this site behind nginx for now"),
    })?;
    let head = at.location.map(|head| (head.kind, head.text.clone()));
    let kind = head.as_ref().map(|(kind, _)| *kind);
    let in_block = at.scope == LOCATION_IF || at.scope == LIMIT_EXCEPT;
    if parsed.uri.is_some()
        && (in_block || matches!(kind, Some(LocationKind::Pattern | LocationKind::Named)))
    {
        let fault = Fault::new(
            "\"proxy_pass\" cannot have URI part in location given by regular expression, or inside named location, \
             or inside \"if\" statement, or inside \"limit_except\" block",
        );
        return Err(fault
            .at(span)
            .help("leave out everything behind the host and port"));
    }
    let group = match at.upstream::<Group>(parsed.host) {
        Some(group) => group,
        None => Arc::new(implicit_group(parsed.host, at.zones()).map_err(|what| {
            Fault::new(format!("{what} in upstream \"{}\"", parsed.host)).help("write host:port")
        })?),
    };
    let uri = parsed.uri.map(|uri| {
        if uri.starts_with('/') {
            uri.to_owned()
        } else {
            format!("/{uri}")
        }
    });
    Ok(Fixed {
        group,
        url: url.to_owned(),
        host: if parsed.host.len() > 5 && parsed.host[..5].eq_ignore_ascii_case("unix:") {
            "localhost".to_owned()
        } else {
            parsed.host.to_owned()
        },
        uri,
        location: head.map(|(_, text)| text).unwrap_or_default(),
        in_prefix: matches!(
            kind,
            Some(LocationKind::Prefix | LocationKind::PrefixOnly | LocationKind::Exact)
        ),
    })
}

/// A group for a host that no `upstream` names: its address, or all addresses of its name.
fn implicit_group(host: &str, zones: &Zones) -> Result<Group, nginx_conf::AddressError> {
    let line = implicit_line(host)?;
    Ok(Group::new(host, vec![line], PoolSettings::default(), zones))
}

fn implicit_line(host: &str) -> Result<Line, nginx_conf::AddressError> {
    Ok(Line {
        source: Source::of(&PeerAddress::parse(host)?, 80),
        terms: Terms::default(),
    })
}

impl Fixed {
    /// The request target: the client's own while nothing was changed, else made anew.
    fn uri_for(&self, exchange: &Exchange) -> Vec<u8> {
        let path = &exchange.uri.path;
        let Some(uri) = &self.uri else {
            return own_uri(exchange);
        };
        let rest = if self.in_prefix {
            path.get(self.location.len()..).unwrap_or_default()
        } else {
            &[]
        };
        let mut out = uri.clone().into_bytes();
        out.extend_from_slice(&escape(rest, Escape::Path));
        if !exchange.uri.args.is_empty() {
            out.push(b'?');
            out.extend_from_slice(&exchange.uri.args);
        }
        out
    }
}

/// The URI of the request as it stands; as sent while nothing changed it.
fn own_uri(exchange: &Exchange) -> Vec<u8> {
    if exchange.uri.as_sent {
        let target = exchange.request.head.target.path_and_query();
        return match target.first() {
            Some(b'/' | b'*') => target.to_vec(),
            _ => [b"/", target].concat(),
        };
    }
    path_and_args(&exchange.uri.path, &exchange.uri.args)
}

impl Computed {
    fn aim(&self, exchange: &Exchange) -> Result<Aim, String> {
        let url = String::from_utf8(exchange.expand(&self.url))
            .map_err(|_| "the URL is not UTF-8".to_owned())?;
        let parsed = Url::parse(&url).map_err(|what| format!("{what} in \"{url}\""))?;
        let named = self
            .known
            .iter()
            .find(|group| group.name().eq_ignore_ascii_case(parsed.host));
        let group = match named {
            Some(group) => Arc::clone(group),
            None => self
                .unlisted(parsed.host)
                .map_err(|error| format!("{error} in upstream \"{}\"", parsed.host))?,
        };
        let uri = match parsed.uri {
            Some(uri) if uri.starts_with('/') => uri.as_bytes().to_vec(),
            Some(uri) => format!("/{uri}").into_bytes(),
            None => own_uri(exchange),
        };
        // A URI that variables made must not end the request line.
        let uri = uri
            .iter()
            .flat_map(|byte| {
                if *byte <= b' ' || *byte == 0x7f {
                    format!("%{byte:02X}").into_bytes()
                } else {
                    vec![*byte]
                }
            })
            .collect();
        Ok(Aim {
            group,
            host: parsed.host.to_owned(),
            uri,
        })
    }
}

impl Computed {
    /// The group of a host that no `upstream` names.
    fn unlisted(&self, host: &str) -> Result<Arc<Group>, nginx_conf::AddressError> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = recent.iter().position(|group| **group.name() == *host) {
            recent[..=at].rotate_right(1);
        } else {
            let group = Group::unlisted(host, implicit_line(host)?, self.pool.clone());
            recent.truncate(RECENT_MAX - 1);
            recent.insert(0, Arc::new(group));
        }
        Ok(Arc::clone(&recent[0]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_requests_name_are_remembered_within_a_limit() {
        let computed = Computed {
            url: nginx_conf::Template::literal("")
                .compile(&mut crate::engine::variables::VariableTable::default())
                .expect("a literal names no variable"),
            known: Vec::new(),
            recent: Mutex::default(),
            pool: Pool::default(),
        };
        let first = computed.unlisted("127.0.0.1:1").expect("an address");
        for port in 2..=RECENT_MAX + 9 {
            let host = format!("127.0.0.1:{port}");
            assert!(computed.unlisted(&host).is_ok(), "{host}");
            let again = computed.unlisted("127.0.0.1:1").expect("an address");
            assert!(Arc::ptr_eq(&first, &again), "what is in use stays");
        }
        let held = computed.recent.lock().expect("no panic").len();
        assert_eq!(held, RECENT_MAX);
    }

    #[test]
    fn takes_urls_apart() {
        for (url, expected) in [
            ("http://app:8000", Ok(("app:8000", None))),
            ("http://app:8000/", Ok(("app:8000", Some("/")))),
            ("HTTP://app/x?y", Ok(("app", Some("/x?y")))),
            ("http://unix:/run/a.sock", Ok(("unix:/run/a.sock", None))),
            (
                "http://unix:/run/a.sock:/x",
                Ok(("unix:/run/a.sock", Some("/x"))),
            ),
            ("http://unix:/run/a.sock:", Ok(("unix:/run/a.sock", None))),
            ("app:8000", Err("invalid URL prefix")),
            ("http:///x", Err("no host in upstream")),
            (
                "https://app",
                Err("https to origin servers is not supported yet"),
            ),
        ] {
            assert_eq!(
                Url::parse(url).map(|url| (url.host, url.uri)),
                expected,
                "{url}"
            );
        }
    }
}
