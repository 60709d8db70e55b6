//! The request as it is sent to the origin server: made anew from the parsed one, never copied bytes.

use http::Method;
use http_wire::head::{RequestHead, Target, TargetRule};
use http_wire::{FieldName, Fields, Known, Version, list};

use super::target::Aim;
use super::{Settled, is_ours};
use crate::engine::escape::field_value;
use crate::engine::exchange::Exchange;

/// The fields that are not passed on unless `proxy_set_header` says so (RFC 9110 §7.6.1, and `Host`, which follows from `proxy_pass`).
const OWN: &[Known] = &[
    Known::Host,
    Known::Connection,
    Known::KeepAlive,
    Known::ProxyConnection,
    Known::Te,
    Known::Trailer,
    Known::TransferEncoding,
    Known::ContentLength,
    Known::Upgrade,
    Known::Expect,
];

/// Makes the head.
///
/// # Errors
/// What can't be sent, in words.
pub(super) fn head(
    settled: &Settled,
    exchange: &Exchange,
    aim: &Aim,
) -> Result<RequestHead, String> {
    let asked = &exchange.request.head;
    let method = match &settled.method {
        Some(method) => {
            let text = exchange.expand(method);
            Method::from_bytes(&text).map_err(|_| {
                format!(
                    "proxy_method gives \"{}\", which is no method",
                    String::from_utf8_lossy(&text)
                )
            })?
        }
        None => asked.method.clone(),
    };
    let rule = TargetRule {
        fragment: true,
        non_ascii: true,
        ..TargetRule::default()
    };
    let target = Target::parse(&aim.uri, &method, &rule).map_err(|_| {
        format!(
            "proxy_pass gives \"{}\", which is no request target",
            String::from_utf8_lossy(&aim.uri)
        )
    })?;
    let version = if settled.http_10 {
        Version::Http10
    } else {
        Version::Http11
    };
    let mut fields = Fields::with_capacity(
        asked.fields.len() + settled.set_fields.len() + 2,
        asked.fields.wire_len() + 128,
    );
    set_fields(settled, exchange, aim, &mut fields)?;
    if settled.pass_request_fields {
        pass_fields(settled, &asked.fields, &mut fields);
    }
    Ok(RequestHead {
        method,
        target,
        version,
        fields,
    })
}

/// What the configuration sets, and what holds where it sets nothing.
fn set_fields(
    settled: &Settled,
    exchange: &Exchange,
    aim: &Aim,
    fields: &mut Fields,
) -> Result<(), String> {
    let sets = |name: &str| {
        settled
            .set_fields
            .iter()
            .any(|(set, _)| set.eq_ignore_ascii_case(name))
    };
    if !sets("Host") {
        append(fields, "Host", aim.host.as_bytes())?;
    }
    if settled.http_10 && !sets("Connection") {
        append(fields, "Connection", b"close")?;
    }
    let states_length = exchange
        .request
        .head
        .fields
        .get_known(Known::ContentLength)
        .is_some();
    if settled.pass_request_content && states_length {
        // The client of the origin server puts the true length here; without it an empty request has none.
        append(fields, "Content-Length", b"0")?;
    }
    let mut value = Vec::new();
    for (name, template) in settled.set_fields.iter() {
        if is_ours(Known::find(name.as_bytes())) {
            continue;
        }
        value.clear();
        exchange.expand_into(template, &mut value);
        if !value.is_empty() {
            append(fields, name, &value)?;
        }
    }
    Ok(())
}

fn append(fields: &mut Fields, name: &str, value: &[u8]) -> Result<(), String> {
    fields
        .append(name, field_value(value))
        .map_err(|error| format!("proxy_set_header \"{name}\": {error}"))
}

/// The client's fields, but those that belong to its connection and those that the configuration sets.
fn pass_fields(settled: &Settled, asked: &Fields, fields: &mut Fields) {
    let named_by_connection: Vec<&[u8]> = asked
        .get_all(Known::Connection)
        .flat_map(list::elements)
        .collect();
    let is_set = |name: FieldName<'_>| {
        settled
            .set_fields
            .iter()
            .any(|(set, _)| name.as_bytes().eq_ignore_ascii_case(set.as_bytes()))
    };
    for (name, value) in asked.iter() {
        let own = name.known().is_some_and(|known| OWN.contains(&known));
        let of_connection = named_by_connection
            .iter()
            .any(|option| name.as_bytes().eq_ignore_ascii_case(option));
        if own || of_connection || is_set(name) {
            continue;
        }
        let appended = fields.append(name, value);
        debug_assert!(appended.is_ok(), "it was parsed as a field");
    }
}
