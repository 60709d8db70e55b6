//! The origin server's response as it is sent to the client.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body::{Frame, SizeHint};
use http_wire::{Fields, Known, list};

use super::variables::OriginFields;
use super::{Settled, redirects};
use crate::body::{Body, BodyError, BoxStream};
use crate::client::{Answer, tunnel};
use crate::engine::core::CoreSettings;
use crate::engine::escape::field_value;
use crate::engine::exchange::{Exchange, Meter};
use crate::engine::logs::Level;
use crate::engine::special;
use crate::feature::{Flow, Turn};
use crate::read_ahead::{ReadAhead, Witness};

/// Not passed on unless `proxy_pass_header` says so.
const HIDDEN: &[&str] = &[
    "Date",
    "Server",
    "X-Pad",
    "X-Accel-Expires",
    "X-Accel-Redirect",
    "X-Accel-Limit-Rate",
    "X-Accel-Buffering",
    "X-Accel-Charset",
];

/// Of the origin server's connection, not of the client's (RFC 9110 §7.6.1); content is framed anew.
const OF_CONNECTION: &[Known] = &[
    Known::Connection,
    Known::KeepAlive,
    Known::ProxyConnection,
    Known::TransferEncoding,
    Known::Te,
];

/// Passed to whatever answers in the place of an origin server that sends `X-Accel-Redirect`.
const KEPT: &[&str] = &[
    "Content-Type",
    "Content-Disposition",
    "Accept-Ranges",
    "Set-Cookie",
    "Cache-Control",
    "Expires",
];

/// Makes the response, or the internal redirect that the origin server asks for.
pub(super) fn make(
    settled: &Settled,
    exchange: &mut Exchange,
    answer: Answer,
    meter: Arc<Meter>,
) -> Flow {
    if let Some(flow) = accel_redirect(settled, exchange, &answer.head.fields) {
        meter.end();
        return flow;
    }
    let status = answer.head.status;
    if settled.intercept_errors
        && status.as_u16() >= 300
        && exchange
            .core()
            .error_pages
            .iter()
            .any(|page| page.statuses.contains(&status.as_u16()))
    {
        meter.end();
        let mut fields = Fields::new();
        for value in answer.head.fields.get_all(Known::WwwAuthenticate) {
            let _ = fields.append(Known::WwwAuthenticate, value);
        }
        return Flow::Special(status, fields);
    }
    let fields = fields(
        settled,
        exchange,
        &answer.head.fields,
        answer.upgraded.is_some(),
    );
    let ahead = reads_ahead(settled, &answer.head.fields);
    let tells_length = answer
        .head
        .fields
        .known_names()
        .contains(Known::ContentLength);
    let untold = exchange.request.head.method == Method::HEAD && !tells_length;
    // Behind an `X-Accel-Redirect`, this is the origin server that knows what it sends.
    if answer.head.fields.get_known(Known::ContentType).is_some()
        && let Some(kept) = &mut exchange.kept_fields
    {
        kept.remove(Known::ContentType);
    }
    exchange.notes.put(OriginFields(answer.head.fields));
    let mut body = metered(answer.body, meter);
    if untold && matches!(body, Body::Empty) {
        body = Body::stream(Untold);
    }
    if ahead && let Body::Stream(stream) = body {
        let witness = Arc::clone(exchange.core()) as Arc<dyn Witness>;
        let ahead = ReadAhead::new(stream, Arc::clone(&settled.ahead), witness);
        body = Body::Ahead(Box::new(ahead));
    }
    let mut response = exchange.response(status, fields, body);
    response.reason = Some(answer.head.reason.clone());
    if !exchange.core().chunked_transfer_encoding
        && response.body.exact_length().is_none()
        && !untold
    {
        response.ending.keep_alive = false;
    }
    if let Some(origin) = answer.upgraded {
        let idle = settled.client.read_timeout;
        response.upgrade = Some(Box::new(move |client| {
            Box::pin(tunnel(client, origin, idle))
        }));
    }
    Flow::Respond(response)
}

/// `proxy_buffering`, unless the origin server decides for this response.
fn reads_ahead(settled: &Settled, fields: &Fields) -> bool {
    let ignores = || {
        let mut names = settled.ignored.iter();
        names.any(|name| name.eq_ignore_ascii_case("X-Accel-Buffering"))
    };
    match fields.get("X-Accel-Buffering") {
        Some(value) if value.eq_ignore_ascii_case(b"yes") && !ignores() => true,
        Some(value) if value.eq_ignore_ascii_case(b"no") && !ignores() => false,
        _ => settled.buffering,
    }
}

impl Witness for CoreSettings {
    fn no_file(&self, error: &std::io::Error) {
        self.error_log.write(
            Level::Crit,
            None,
            format_args!(
                "{error}; a response goes on without (proxy_temp_path, proxy_max_temp_file_size): its origin server waits for a slow client"
            ),
        );
    }
}

fn accel_redirect(settled: &Settled, exchange: &mut Exchange, fields: &Fields) -> Option<Flow> {
    if settled
        .ignored
        .iter()
        .any(|name| name.eq_ignore_ascii_case("X-Accel-Redirect"))
    {
        return None;
    }
    let target = fields.get("X-Accel-Redirect")?;
    let mut kept = Fields::new();
    for (name, value) in fields
        .iter()
        .filter(|(name, _)| is_among(name.as_bytes(), KEPT))
    {
        let _ = kept.append(name, value);
    }
    exchange.kept_fields = Some(kept);
    if target.starts_with(b"@") {
        let name = String::from_utf8_lossy(target).into_owned();
        return Some(Flow::Turn(Turn::Named(name)));
    }
    let (path, args) = match memchr::memchr(b'?', target) {
        Some(mark) => (&target[..mark], target[mark + 1..].to_vec()),
        None => (target, Vec::new()),
    };
    let as_is = http_wire::path::Normalise {
        merge_slashes: false,
    };
    // A path that leads upwards is one that the application did not mean to name.
    let decoded = http_wire::path::normalise(path, as_is)
        .ok()
        .filter(|_| !has_parent_segment(&http_wire::path::decode(path)));
    let Some(path) = decoded else {
        exchange.log_error(format_args!(
            "upstream sent unsafe URI \"{}\" in X-Accel-Redirect: it takes a path that begins with a slash and has no \"..\"",
            String::from_utf8_lossy(target)
        ));
        return Some(Flow::status(StatusCode::NOT_FOUND));
    };
    exchange.ask_instead(Method::GET);
    Some(Flow::Turn(Turn::Uri {
        path: path.into_owned(),
        args: Some(args),
    }))
}

fn has_parent_segment(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/')
        .any(|segment| segment == b"..")
}

fn fields(settled: &Settled, exchange: &mut Exchange, origin: &Fields, switches: bool) -> Fields {
    let mut fields = Fields::with_capacity(origin.len() + 2, origin.wire_len() + 64);
    let options: Vec<&[u8]> = origin
        .get_all(Known::Connection)
        .flat_map(list::elements)
        .collect();
    let passes = |name: &[u8]| {
        settled
            .passed
            .iter()
            .any(|passed| name.eq_ignore_ascii_case(passed.as_bytes()))
    };
    let hides = |name: &[u8]| {
        settled
            .hidden
            .iter()
            .any(|hidden| name.eq_ignore_ascii_case(hidden.as_bytes()))
    };
    for (name, value) in origin.iter() {
        let bytes = name.as_bytes();
        let of_connection = name
            .known()
            .is_some_and(|known| OF_CONNECTION.contains(&known))
            || (name.known() == Some(Known::Upgrade) && !switches)
            || options.iter().any(|option| {
                bytes.eq_ignore_ascii_case(option) && name.known() != Some(Known::Upgrade)
            });
        if of_connection {
            continue;
        }
        if hides(bytes) || (is_among(bytes, HIDDEN) && !passes(bytes)) {
            continue;
        }
        let rewritten = match name.known() {
            Some(Known::Location) => redirects::rewrite(&settled.redirects, exchange, value)
                .map(|to| special::absolute(exchange, &to)),
            _ if bytes.eq_ignore_ascii_case(b"refresh") => refresh(settled, exchange, value),
            _ => None,
        };
        let appended = match rewritten {
            Some(value) => fields.append(name, field_value(&value)),
            None => fields.append(name, value),
        };
        debug_assert!(appended.is_ok(), "it was parsed as a field, or escaped");
    }
    fields
}

/// `Refresh: 5; url=http://origin/x`.
fn refresh(settled: &Settled, exchange: &mut Exchange, value: &[u8]) -> Option<Vec<u8>> {
    let at = value
        .windows(4)
        .position(|window| window.eq_ignore_ascii_case(b"url="))?
        + 4;
    let url = redirects::rewrite(&settled.redirects, exchange, &value[at..])?;
    Some([&value[..at], &*url].concat())
}

fn is_among(name: &[u8], names: &[&str]) -> bool {
    names
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// The content that a response to HEAD leaves out, where the origin server did not tell its length: it is not 0.
struct Untold;

impl http_body::Body for Untold {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(None)
    }
}

/// Counts what passes.
fn metered(body: Body, meter: Arc<Meter>) -> Body {
    match body {
        Body::Stream(stream) => Body::stream(Metered { stream, meter }),
        body => {
            meter.add(body.exact_length().unwrap_or_default());
            meter.end();
            body
        }
    }
}

struct Metered {
    stream: BoxStream,
    meter: Arc<Meter>,
}

impl http_body::Body for Metered {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = self.stream.as_mut().poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => self
                .meter
                .add(frame.data_ref().map_or(0, |data| data.len() as u64)),
            Poll::Ready(_) => self.meter.end(),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.stream.size_hint()
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.meter.end();
    }
}

/// The status for a request that no peer answered.
pub(super) fn status_of(timed_out: bool) -> StatusCode {
    if timed_out {
        StatusCode::GATEWAY_TIMEOUT
    } else {
        StatusCode::BAD_GATEWAY
    }
}
