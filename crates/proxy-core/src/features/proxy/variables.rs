//! The variables that proxying adds.

use std::io::Write as _;
use std::time::Duration;

use http_wire::Known;

use super::Settled;
use crate::engine::exchange::{Attempt, Exchange};
use crate::engine::variables::Variable;
use crate::server::Address;

/// The fields of the last response of an origin server, kept for `$upstream_http_…`.
pub(super) struct OriginFields(pub(super) http_wire::Fields);

/// `$proxy_host`, where variables decided it.
pub(super) struct ComputedHost(pub(super) String);

/// All of them.
pub(super) const ALL: &[Variable] = &[
    Variable::plain(
        "proxy_host",
        "name and port of the origin server as proxy_pass names them",
        |ex, _, out| match host(ex) {
            Some(host) => {
                out.extend_from_slice(host.as_bytes());
                true
            }
            None => false,
        },
    ),
    Variable::plain(
        "proxy_port",
        "port of the origin server as proxy_pass names it, else 80",
        |ex, _, out| match host(ex) {
            Some(host) => {
                let port = host.rsplit_once(':').map_or("80", |(_, port)| port);
                out.extend_from_slice(if port.bytes().all(|byte| byte.is_ascii_digit()) {
                    port.as_bytes()
                } else {
                    b"80"
                });
                true
            }
            None => false,
        },
    ),
    Variable::plain(
        "proxy_add_x_forwarded_for",
        "X-Forwarded-For of the request with the client's address added",
        |ex, _, out| {
            for line in ex.request.head.fields.get_all(Known::XForwardedFor) {
                out.extend_from_slice(line);
                out.extend_from_slice(b", ");
            }
            match &ex.request.connection.peer {
                Address::Inet(peer) => write!(out, "{}", peer.ip()).is_ok(),
                Address::Unix(_) => {
                    out.extend_from_slice(b"unix:");
                    true
                }
            }
        },
    ),
    Variable::plain(
        "upstream_addr",
        "addresses of the peers that were asked",
        |ex, _, out| {
            attempts(ex, out, |attempt, out| {
                let _ = write!(out, "{}", attempt.peer);
            })
        },
    ),
    Variable::plain(
        "upstream_status",
        "statuses of the peers that were asked",
        |ex, _, out| {
            attempts(ex, out, |attempt, out| match attempt.status {
                Some(status) => out.extend_from_slice(status.as_str().as_bytes()),
                None => out.push(b'-'),
            })
        },
    ),
    Variable::plain(
        "upstream_connect_time",
        "seconds to a connection with each peer",
        |ex, _, out| attempts(ex, out, |attempt, out| seconds(attempt.connected, out)),
    ),
    Variable::plain(
        "upstream_header_time",
        "seconds to the response head of each peer",
        |ex, _, out| attempts(ex, out, |attempt, out| seconds(attempt.head, out)),
    ),
    Variable::plain(
        "upstream_response_time",
        "seconds to the end of the response of each peer",
        |ex, _, out| attempts(ex, out, |attempt, out| seconds(attempt.ended(), out)),
    ),
    Variable::plain(
        "upstream_response_length",
        "bytes of content from each peer",
        |ex, _, out| {
            attempts(ex, out, |attempt, out| {
                out.extend_from_slice(attempt.content_bytes().to_string().as_bytes());
            })
        },
    ),
    Variable::plain(
        "upstream_bytes_received",
        "bytes from each peer",
        |ex, _, out| {
            attempts(ex, out, |attempt, out| {
                out.extend_from_slice(
                    (attempt.head_bytes + attempt.content_bytes())
                        .to_string()
                        .as_bytes(),
                );
            })
        },
    ),
    Variable::plain(
        "upstream_cache_status",
        "no value: nothing is cached",
        |_, _, _| false,
    ),
    Variable::plain("upstream_bytes_sent", "bytes to each peer", |ex, _, out| {
        attempts(ex, out, |attempt, out| {
            out.extend_from_slice(attempt.sent_bytes.to_string().as_bytes());
        })
    }),
    Variable::family(
        "upstream_http_",
        "one field of the origin server's response by name",
        |ex, name, out| {
            let fields = ex.notes.get::<OriginFields>();
            let wanted = name.replace('_', "-");
            fields
                .and_then(|fields| fields.0.get(wanted.as_str()))
                .map(|value| out.extend_from_slice(value))
                .is_some()
        },
    ),
    Variable::family(
        "upstream_cookie_",
        "one cookie of the origin server's response by name",
        |ex, name, out| {
            let Some(fields) = ex.notes.get::<OriginFields>() else {
                return false;
            };
            let value = fields.0.get_all(Known::SetCookie).find_map(|line| {
                let pair = line.split(|byte| *byte == b';').next().unwrap_or_default();
                let (key, value) = pair.split_at_checked(name.len())?;
                key.eq_ignore_ascii_case(name.as_bytes())
                    .then(|| value.strip_prefix(b"="))
                    .flatten()
            });
            value.map(|value| out.extend_from_slice(value)).is_some()
        },
    ),
];

fn host(exchange: &Exchange) -> Option<&str> {
    if let Some(computed) = exchange.notes.get::<ComputedHost>() {
        return Some(&computed.0);
    }
    let settled = exchange.location.settings.get::<Settled>()?;
    Some(&settled.target.as_ref()?.fixed()?.host)
}

/// One value per attempt: a comma between peers of a group, a colon between groups.
fn attempts(
    exchange: &Exchange,
    out: &mut Vec<u8>,
    value: impl Fn(&Attempt, &mut Vec<u8>),
) -> bool {
    for (at, attempt) in exchange.attempts.iter().enumerate() {
        if at > 0 {
            out.extend_from_slice(if attempt.new_group { b" : " } else { b", " });
        }
        value(attempt, out);
    }
    !exchange.attempts.is_empty()
}

fn seconds(time: Option<Duration>, out: &mut Vec<u8>) {
    match time {
        Some(time) => out.extend_from_slice(
            format!("{}.{:03}", time.as_secs(), time.subsec_millis()).as_bytes(),
        ),
        None => out.push(b'-'),
    }
}
