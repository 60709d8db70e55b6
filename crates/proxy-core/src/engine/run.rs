//! The way of a request: one function, read from top to bottom. An internal redirect is a turn of its loop.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http_wire::Known;
use http_wire::fields::Fields;

use super::exchange::Exchange;
use super::site::{Found, Handlers, Step};
use super::{phrases, special};
use crate::feature::{Flow, Try, Turn};
use crate::server::Response;

/// Leads an exchange to its response. The exchange stands in its server, outside of all locations.
pub async fn respond(exchange: &mut Exchange) -> Response {
    let mut flow = Flow::Next;
    if !exchange.location.handlers.server_steps().is_empty() {
        flow = run_steps(exchange, Handlers::server_steps).await;
    }
    if matches!(flow, Flow::Next) {
        flow = enter_location(exchange);
    }
    respond_from(exchange, flow).await
}

/// Leads an exchange to its response from where it stands.
pub(super) async fn respond_from(exchange: &mut Exchange, mut flow: Flow) -> Response {
    loop {
        flow = match flow {
            Flow::Next => run_content(exchange).await,
            Flow::Turn(turn) => take_turn(exchange, turn),
            Flow::Close(status) => return special::closed(status),
            // nginx's 444 closes wherever it comes from.
            Flow::Special(status, _) if status.as_u16() == 444 => return special::closed(status),
            Flow::Special(status, fields) => match special::divert(exchange, status, fields) {
                special::Diverted::Turn(turn) => Flow::Turn(turn),
                special::Diverted::Response(response) => Flow::Respond(*response),
            },
            Flow::Respond(mut response) => {
                shape(exchange, &mut response);
                return response;
            }
        };
    }
}

/// Runs the location's phases from rewriting to content; a request that nothing answers is not found.
async fn run_content(exchange: &mut Exchange) -> Flow {
    let flow = run_steps(exchange, Handlers::location_steps).await;
    if !matches!(flow, Flow::Next) {
        return flow;
    }
    let status = if exchange.uri.path.ends_with(b"/") {
        StatusCode::FORBIDDEN
    } else {
        StatusCode::NOT_FOUND
    };
    Flow::status(status)
}

async fn run_steps(exchange: &mut Exchange, steps: fn(&Handlers) -> &[Step]) -> Flow {
    let location = Arc::clone(&exchange.location);
    for (_, handler) in steps(&location.handlers) {
        let flow = match handler.step(exchange) {
            Try::Settled(flow) => flow,
            Try::Waiting(waiting) => waiting.await,
        };
        if !matches!(flow, Flow::Next) {
            return flow;
        }
    }
    Flow::Next
}

/// Chooses the location for the URI and goes in; what it refuses there (`internal`, a missing slash) is the flow.
fn enter_location(exchange: &mut Exchange) -> Flow {
    let server = Arc::clone(&exchange.server);
    match server.locations.find(&exchange.uri.path) {
        Ok(Found::Location(location, matched)) => {
            exchange.location = Arc::clone(location);
            if let Some((pattern, captures)) = matched {
                let subject = std::mem::take(&mut exchange.uri.path);
                exchange.take_captures(pattern, &subject, captures);
                exchange.uri.path = subject;
            }
        }
        Ok(Found::Slash(location)) => {
            exchange.location = Arc::clone(location);
            return special::add_slash(exchange);
        }
        Ok(Found::Nothing) => exchange.location = Arc::clone(&server.outside),
        Err(error) => {
            exchange.location = Arc::clone(&server.outside);
            exchange.log_error(format_args!("{error}"));
            return Flow::status(StatusCode::INTERNAL_SERVER_ERROR);
        }
    }
    if !exchange.internal && exchange.core().internal {
        return Flow::status(StatusCode::NOT_FOUND);
    }
    special::admit_content(exchange)
}

fn take_turn(exchange: &mut Exchange, turn: Turn) -> Flow {
    exchange.turns_left = exchange.turns_left.saturating_sub(1);
    if exchange.turns_left == 0 {
        let place = String::from_utf8_lossy(&exchange.uri.path).into_owned();
        exchange.log_error(format_args!(
            "rewrite or internal redirection cycle while internally redirecting to \"{place}\""
        ));
        return Flow::Special(StatusCode::INTERNAL_SERVER_ERROR, Fields::new());
    }
    exchange.internal = true;
    exchange.adds_uri_to_alias = false;
    match turn {
        Turn::Uri { path, args } => {
            exchange.uri.path = path;
            exchange.uri.as_sent = false;
            if let Some(args) = args {
                exchange.uri.args = args;
            }
            enter_location(exchange)
        }
        Turn::Named(name) => match exchange.server.named.get(&name) {
            Some(location) => {
                exchange.location = Arc::clone(location);
                Flow::Next
            }
            None => {
                exchange.log_error(format_args!("could not find named location \"{name}\""));
                Flow::status(StatusCode::INTERNAL_SERVER_ERROR)
            }
        },
    }
}

/// The fields of a response behind those that were kept for it, which win, but where a field may come more than once, and
/// but for the place that a redirect leads to.
fn with_kept(kept: Fields, own: &Fields) -> Fields {
    let mut fields = kept;
    if own.get_known(Known::Location).is_some() {
        fields.remove(Known::Location);
    }
    let (wins, kept) = (fields.known_names(), fields.len());
    for (name, value) in own {
        let many = matches!(
            name.known(),
            Some(Known::SetCookie | Known::WwwAuthenticate | Known::CacheControl)
        );
        let loses = match name.known() {
            Some(known) => wins.contains(known),
            None => fields
                .iter()
                .take(kept)
                .any(|(other, _)| other.as_bytes().eq_ignore_ascii_case(name.as_bytes())),
        };
        if many || !loses {
            let _ = fields.append(name, value);
        }
    }
    fields
}

pub(super) fn shape(exchange: &mut Exchange, response: &mut Response) {
    if let Some(mut kept) = exchange.kept_fields.take() {
        if response.status == StatusCode::NOT_MODIFIED {
            // There is no content that could have a type.
            kept.remove(Known::ContentType);
        }
        response.fields = with_kept(kept, &response.fields);
    }
    let location = Arc::clone(&exchange.location);
    for handler in &location.handlers.shapes {
        handler.shape(exchange, response);
    }
    response.ending.keep_alive &= !exchange.must_close;
    let status = exchange.final_status(response.status);
    if status != response.status {
        response.status = status;
        response.reason = None;
    }
    if response.reason.is_none() {
        response.reason = Some(Bytes::from_static(
            phrases::reason(response.status).as_bytes(),
        ));
    }
}
