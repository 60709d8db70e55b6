//! Answers of the engine itself: error pages, redirects for a missing slash, and where `error_page` leads.

use std::io::Write as _;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_wire::Known;
use http_wire::fields::Fields;
use http_wire::head::RequestError;

use super::escape;
use super::exchange::Exchange;
use super::phrases;
use crate::body::Body;
use crate::feature::{Flow, Turn};
use crate::server::{Content, Ending, Refusal, Response};

/// Where a status leads.
pub(super) enum Diverted {
    /// To the page that `error_page` names, inside.
    Turn(Turn),
    /// To this response.
    Response(Box<Response>),
}

/// Applies `error_page` to a status; without one the answer is a page of our own.
pub(super) fn divert(exchange: &mut Exchange, status: StatusCode, fields: Fields) -> Diverted {
    exchange.must_close |= closes(status);
    // What an origin server said of its content does not hold for a page of ours.
    if let Some(kept) = &mut exchange.kept_fields {
        kept.remove(Known::ContentType);
        kept.remove(Known::AcceptRanges);
    }
    let core = exchange.core();
    // A request that has used up its internal redirects must not begin another one.
    let may_divert = exchange.turns_left > 0 && !exchange.shows_error_page;
    let recursive = core.recursive_error_pages;
    let page = core
        .error_pages
        .iter()
        .find(|page| may_divert && page.statuses.contains(&status.as_u16()));
    let Some(page) = page.cloned() else {
        // A page that fails is answered with the status of its own failure.
        exchange.error_status = None;
        return Diverted::Response(Box::new(page_of_our_own(exchange, status, fields)));
    };
    exchange.shows_error_page = !recursive;
    exchange.error_status = Some(page.answer.unwrap_or(status));
    // A bare `=` answers with whatever status the page itself gets.
    exchange.keeps_page_status = page.takes_page_status;
    let target = exchange.expand(&page.target);
    match target.first() {
        Some(b'@') => {
            exchange.keep_fields(fields);
            Diverted::Turn(Turn::Named(String::from_utf8_lossy(&target).into_owned()))
        }
        Some(b'/') => {
            exchange.keep_fields(fields);
            exchange.ask_instead(Method::GET);
            Diverted::Turn(Turn::to(&target))
        }
        _ => {
            let status = page
                .answer
                .filter(|answer| is_redirect(*answer))
                .unwrap_or(StatusCode::FOUND);
            exchange.error_status = Some(status);
            Diverted::Response(Box::new(redirect_response(
                exchange, status, &target, fields,
            )))
        }
    }
}

/// The statuses after which nginx closes the connection: what follows on it can't be trusted, or was not read.
fn closes(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 413 | 414 | 500 | 501)
}

/// True for a status that `error_page` and `return` send with a `Location`.
pub fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The page that the engine makes for a status.
fn page_of_our_own(exchange: &Exchange, status: StatusCode, fields: Fields) -> Response {
    page_with_title(exchange, status, phrases::title(status), fields)
}

fn page_with_title(
    exchange: &Exchange,
    status: StatusCode,
    title: &str,
    mut fields: Fields,
) -> Response {
    let body = page(status, title, exchange.core().server_token);
    if !body.is_empty() {
        let _ = fields.set("Content-Type", b"text/html");
    }
    let mut response = exchange.response(
        status,
        fields,
        if body.is_empty() {
            Body::Empty
        } else {
            Body::Bytes(body)
        },
    );
    if closes(status) {
        response.ending.keep_alive = false;
    }
    response
}

/// The text of an error page; empty for statuses that have none.
fn page(status: StatusCode, title: &str, server: &str) -> Bytes {
    let code = status.as_u16();
    if !(301..600).contains(&code) || code == 304 {
        return Bytes::new();
    }
    let mut text = Vec::with_capacity(160);
    let _ = write!(
        text,
        "<html>\r\n<head><title>{code} {title}</title></head>\r\n<body>\r\n<center><h1>{code} {title}</h1></center>\r\n\
         <hr><center>{server}</center>\r\n</body>\r\n</html>\r\n"
    );
    text.into()
}

/// A redirect to a location that wants its visitors to add its final slash.
pub(super) fn add_slash(exchange: &mut Exchange) -> Flow {
    let mut path = exchange.uri.path.clone();
    path.push(b'/');
    let location = escape::path_and_args(&path, &exchange.uri.args);
    redirect(exchange, StatusCode::MOVED_PERMANENTLY, &location)
}

/// A redirect; a location that begins with a slash is made absolute unless `absolute_redirect off` says otherwise.
pub fn redirect(exchange: &Exchange, status: StatusCode, location: &[u8]) -> Flow {
    let mut fields = Fields::new();
    set_location(exchange, &mut fields, location);
    Flow::Special(status, fields)
}

fn redirect_response(
    exchange: &Exchange,
    status: StatusCode,
    location: &[u8],
    mut fields: Fields,
) -> Response {
    set_location(exchange, &mut fields, location);
    page_of_our_own(exchange, status, fields)
}

fn set_location(exchange: &Exchange, fields: &mut Fields, location: &[u8]) {
    let _ = fields.set(
        "Location",
        escape::field_value(&absolute(exchange, location)),
    );
}

/// A location as it is sent: one that begins with a slash is made absolute unless `absolute_redirect off` says otherwise.
pub fn absolute(exchange: &Exchange, location: &[u8]) -> Vec<u8> {
    if location.starts_with(b"/") && exchange.core().absolute_redirect {
        [&*exchange.origin(), location].concat()
    } else {
        location.to_vec()
    }
}

/// Refuses content that is larger than `client_max_body_size` as soon as its length is known.
pub(super) fn admit_content(exchange: &mut Exchange) -> Flow {
    let core = exchange.core();
    let (limit, pause) = (core.client_max_body_size, core.client_body_timeout);
    exchange.request.content.pause(pause);
    let fits = exchange.request.content.limit(limit).is_ok();
    // What was read and sent on before an internal redirect was admitted then; the page of an error wants none of it.
    if fits || exchange.request.content.is_end() || exchange.error_status.is_some() {
        return Flow::Next;
    }
    let stated = exchange.request.content.length().unwrap_or_default();
    exchange.log_error(format_args!(
        "client intended to send too large body: {stated} bytes; client_max_body_size allows {}",
        limit.unwrap_or_default()
    ));
    // Nobody will read it: the page for this status is made as if there was none.
    exchange.request.content = Content::empty();
    Flow::status(StatusCode::PAYLOAD_TOO_LARGE)
}

/// Closes the connection without an answer; the log tells the status.
pub(super) fn closed(status: StatusCode) -> Response {
    Response {
        status,
        reason: None,
        fields: Fields::new(),
        body: Body::Empty,
        ending: Ending {
            keep_alive: false,
            close_unanswered: true,
            ..Ending::default()
        },
        upgrade: None,
    }
}

/// The status of the answer to a head that was not accepted: 400 for fields that are too large, since 431 is not in nginx's
/// vocabulary. One that did not come in time gets 408, where nginx closes in silence.
pub(super) fn refused_status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Head(RequestError::Section(_)) => StatusCode::BAD_REQUEST,
        refusal => refusal.status(),
    }
}

/// The page for a head that was not accepted, as nginx gives it.
pub(super) fn refuse(exchange: &Exchange, refusal: &Refusal) -> Response {
    let status = refused_status(refusal);
    let title = match refusal {
        Refusal::Head(RequestError::Section(error))
            if error.status() == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE =>
        {
            "Request Header Or Cookie Too Large"
        }
        _ => phrases::title(status),
    };
    page_with_title(exchange, status, title, Fields::new())
}
