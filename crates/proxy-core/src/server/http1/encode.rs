//! The head of a response: what the service said, and what the connection adds.

use std::time::Instant;

use http::{Method, StatusCode};
use http_wire::Known;
use http_wire::Version;
use http_wire::fields::Fields;

use super::date;
use crate::server::service::Response;

/// How the end of a response's content is told to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Framing {
    /// There is no content.
    Nothing,
    /// Exactly so many bytes.
    Length(u64),
    /// The chunked coding.
    Chunked,
    /// The end of the connection.
    UntilClose,
    /// The protocol changes after the head.
    Upgrade,
}

/// What the request and the connection say about how a response can be sent.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Asked<'a> {
    pub(in crate::server) method: &'a Method,
    pub(in crate::server) version: Version,
    /// The connection could stay.
    pub(in crate::server) keep_alive: bool,
    /// The time, for `Date`.
    pub(in crate::server) now: Instant,
}

/// What was decided about a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) struct Decided {
    pub(in crate::server) framing: Framing,
    pub(in crate::server) keep_alive: bool,
}

/// Decides how a response is framed and whether the connection stays after it (RFC 9112 §6.3, §9.3).
pub(in crate::server) fn decide(asked: Asked<'_>, response: &Response) -> Decided {
    let framing = framing(asked, response);
    let known = response.fields.known_names();
    let closes = known.contains(Known::Connection)
        && response.fields.contains_token(Known::Connection, "close");
    let stays = asked.keep_alive && response.ending.keep_alive && !closes;
    Decided {
        framing,
        keep_alive: stays && framing != Framing::UntilClose && framing != Framing::Upgrade,
    }
}

fn framing(asked: Asked<'_>, response: &Response) -> Framing {
    let status = response.status;
    let switches = status == StatusCode::SWITCHING_PROTOCOLS
        || (asked.method == Method::CONNECT && status.is_success() && response.upgrade.is_some());
    if switches {
        return Framing::Upgrade;
    }
    if asked.method == Method::HEAD || !has_content(status) {
        return Framing::Nothing;
    }
    match declared_length(&response.fields).or_else(|| response.body.exact_length()) {
        Some(length) => Framing::Length(length),
        None if asked.version != Version::Http10 => Framing::Chunked,
        None => Framing::UntilClose,
    }
}

/// Whether responses of this status may have content (RFC 9110 §6.4.1).
fn has_content(status: StatusCode) -> bool {
    !(status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED)
}

/// The length that the service promises; a value that is no number promises nothing and is not sent.
fn declared_length(fields: &Fields) -> Option<u64> {
    if !fields.known_names().contains(Known::ContentLength) {
        return None;
    }
    let value = fields.get_single(Known::ContentLength)?;
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value)
        .ok()
        .filter(|_| digits)?
        .parse()
        .ok()
}

/// Writes the head.
pub(super) fn head(asked: Asked<'_>, decided: Decided, response: &Response, out: &mut Vec<u8>) {
    status_line(response.status, response.reason.as_deref(), out);
    let known = response.fields.known_names();
    if let Some(server) = response
        .ending
        .server
        .filter(|_| !known.contains(Known::Server))
    {
        line("Server", server.as_bytes(), out);
    }
    if !known.contains(Known::Date) {
        date::line(asked.now, out);
    }
    fields(decided, &response.fields, out);
    framing_fields(asked, decided, response, out);
    connection_field(decided, response, out);
    out.extend_from_slice(b"\r\n");
}

/// Writes an interim response.
pub(crate) fn encode_interim(status: StatusCode, fields: &Fields, out: &mut Vec<u8>) {
    status_line(status, None, out);
    http_wire::encode::fields_where(fields, |name, _| !is_connections(name.known()), out);
    out.extend_from_slice(b"\r\n");
}

fn status_line(status: StatusCode, reason: Option<&[u8]>, out: &mut Vec<u8>) {
    if status == StatusCode::OK && reason.is_none() {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    let usual = || status.canonical_reason().unwrap_or_default().as_bytes();
    let safe = reason.filter(|reason| !reason.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
    out.extend_from_slice(safe.unwrap_or_else(usual));
    out.extend_from_slice(b"\r\n");
}

/// Fields that the connection writes itself, or that must not be sent.
fn is_connections(name: Option<Known>) -> bool {
    use Known::{
        Connection, ContentLength, KeepAlive, ProxyConnection, Te, Trailer, TransferEncoding,
    };
    matches!(
        name,
        Some(
            Connection
                | ContentLength
                | KeepAlive
                | ProxyConnection
                | Te
                | Trailer
                | TransferEncoding
        )
    )
}

fn fields(decided: Decided, fields: &Fields, out: &mut Vec<u8>) {
    let passes = |name: Option<Known>| match name {
        Some(Known::KeepAlive) => decided.keep_alive,
        Some(Known::Trailer) => decided.framing == Framing::Chunked,
        known => !is_connections(known),
    };
    http_wire::encode::fields_where(fields, |name, _| passes(name.known()), out);
}

fn framing_fields(asked: Asked<'_>, decided: Decided, response: &Response, out: &mut Vec<u8>) {
    match decided.framing {
        Framing::Length(length) => number_line("Content-Length", length, out),
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Framing::UntilClose | Framing::Upgrade => {}
        Framing::Nothing => {
            if let Some(length) = length_without_content(asked, response) {
                number_line("Content-Length", length, out);
            }
        }
    }
}

/// What the length of the content would have been: stated for HEAD and, when the service knows it, for 304
/// (RFC 9110 §8.6); never for 1xx and 204.
pub(in crate::server) fn length_without_content(
    asked: Asked<'_>,
    response: &Response,
) -> Option<u64> {
    let declared = declared_length(&response.fields);
    match response.status {
        StatusCode::NOT_MODIFIED => declared,
        status if !has_content(status) => None,
        _ if asked.method == Method::HEAD => declared.or_else(|| response.body.exact_length()),
        _ => declared,
    }
}

fn connection_field(decided: Decided, response: &Response, out: &mut Vec<u8>) {
    let upgrade = response.fields.known_names().contains(Known::Upgrade);
    out.extend_from_slice(match (decided.framing, decided.keep_alive) {
        (Framing::Upgrade, _) if !upgrade => b"",
        (Framing::Upgrade, _) => b"Connection: upgrade\r\n",
        (_, true) if upgrade => b"Connection: keep-alive, upgrade\r\n",
        (_, true) => b"Connection: keep-alive\r\n",
        (_, false) if upgrade => b"Connection: close, upgrade\r\n",
        (_, false) => b"Connection: close\r\n",
    });
}

fn line(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn number_line(name: &str, value: u64, out: &mut Vec<u8>) {
    line(name, itoa::Buffer::new().format(value).as_bytes(), out);
}

/// Writes the beginning of a chunk.
pub(super) fn chunk_size(length: usize, out: &mut Vec<u8>) {
    http_wire::chunked::write_size(length as u64, out);
}

/// Writes the last chunk with a trailer section.
pub(super) fn trailers(trailers: &http::HeaderMap, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers {
        line(name.as_str(), value.as_bytes(), out);
    }
    out.extend_from_slice(b"\r\n");
}
