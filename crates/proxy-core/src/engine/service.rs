//! A [`Site`] as a [`Service`]: chooses the server, makes the [`Exchange`], leads it to its response and to its log line.

use std::future::Future as _;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use arc_swap::ArcSwap;
use http::{Method, StatusCode};
use http_wire::head::{RequestHead, TargetForm};
use http_wire::host::Authority;
use http_wire::path::{Normalise, normalise};

use super::exchange::{Answer, Captures, Exchange, Notes, Uri};
use super::logs::Level;
use super::ports::ListenAddress;
use super::site::{Port, Server, Site};
use super::{cut, run, special};
use crate::feature::Flow;
use crate::server::{
    Address, Connection, Content, Limits, Refusal, Request, Response, Sent, Service,
};

/// The configuration that is being served, replaced as a whole by a reload. Clones are the same.
#[derive(Clone)]
pub struct Serving(Arc<ArcSwap<Site>>);

impl Serving {
    /// Serves this one.
    pub fn new(site: Arc<Site>) -> Self {
        Self(Arc::new(ArcSwap::new(site)))
    }

    /// Serves this one from the next request on; requests in flight end under the one that they began with.
    pub fn replace(&self, site: Arc<Site>) {
        self.0.store(site);
    }

    /// The service for the connections of a listening socket.
    pub fn at(&self, address: ListenAddress) -> SiteService {
        SiteService {
            serving: self.clone(),
            address,
        }
    }
}

/// Answers the requests of one listening address.
pub struct SiteService {
    serving: Serving,
    address: ListenAddress,
}

impl SiteService {
    /// The port for a connection: that of its own address where the configuration has one, else that of the socket.
    fn port<'s>(&self, site: &'s Site, connection: &Connection) -> Option<&'s Port> {
        if site.ports.len() == 1 {
            return site.ports.first();
        }
        let own = match &connection.local {
            Address::Inet(local) => site.port(&ListenAddress::Inet(*local)),
            Address::Unix(_) => None,
        };
        own.or_else(|| site.port(&self.address))
    }

    fn default_server(&self, site: &Site, connection: &Connection) -> Option<Arc<Server>> {
        self.port(site, connection)
            .map(|port| Arc::clone(&port.default))
    }

    fn exchange(&self, request: Request) -> Result<Box<Exchange>, Box<Response>> {
        let site = self.serving.0.load_full();
        let Some(port) = self.port(&site, &request.connection) else {
            // The address left the configuration while its last connections are ending.
            let mut response = Response::new(StatusCode::SERVICE_UNAVAILABLE);
            response.ending.keep_alive = false;
            return Err(Box::new(response));
        };
        let host = host_of(&request.head);
        let mut failed = None;
        let found = if port.names.is_empty() {
            None
        } else {
            port.names
                .find(&host, |pattern| match pattern.captures(&host) {
                    Ok(matched) => matched.map(|matched| (pattern.clone(), matched)),
                    Err(error) => {
                        failed = Some(error);
                        None
                    }
                })
        };
        let (server, matched) = match found {
            Some((server, matched)) => (Arc::clone(server), matched),
            None => (Arc::clone(&port.default), None),
        };
        let location = Arc::clone(&server.outside);
        let mut exchange = Box::new(Exchange {
            request,
            server,
            location,
            host,
            uri: Uri::default(),
            captures: Captures::default(),
            assigned: Vec::new(),
            internal: false,
            turns_left: 11,
            error_status: None,
            shows_error_page: false,
            adds_uri_to_alias: false,
            must_close: false,
            method_sent: None,
            keeps_page_status: false,
            attempts: Vec::new(),
            answer: None,
            sent: None,
            id: std::sync::OnceLock::new(),
            kept_fields: None,
            notes: Notes::default(),
            site,
        });
        if let Some((pattern, matched)) = matched {
            let subject = std::mem::take(&mut exchange.host);
            exchange.take_captures(&pattern, &subject, matched);
            exchange.host = subject;
        }
        if let Some(error) = failed {
            exchange.log_error(format_args!("{error}"));
        }
        Ok(exchange)
    }
}

impl Service for SiteService {
    type Record = Option<Box<Exchange>>;

    fn limits(&self, connection: &Connection) -> Arc<Limits> {
        let site = self.serving.0.load();
        match self.default_server(&site, connection) {
            Some(server) => Arc::clone(&server.outside.settings.core().limits),
            None => Arc::default(),
        }
    }

    async fn serve(&self, request: Request) -> (Response, Self::Record) {
        let mut exchange = match self.exchange(request) {
            Ok(exchange) => Unanswered(Some(exchange)),
            Err(response) => return (*response, None),
        };
        let ex = exchange.get();
        let mut response = match read_uri(ex) {
            Flow::Next => run::respond(ex).await,
            flow => run::respond_from(ex, flow).await,
        };
        let mut exchange = exchange.answered();
        finish(&mut exchange, &mut response);
        (response, Some(exchange))
    }

    fn refuse(
        &self,
        refusal: &Refusal,
        head: &RequestHead,
        connection: &Arc<Connection>,
    ) -> Option<(Response, Self::Record)> {
        let request = Request {
            head: head.clone(),
            content: Content::empty(),
            connection: Arc::clone(connection),
            ordinal: 0,
            received: std::time::Instant::now(),
            head_bytes: 0,
        };
        let mut exchange = self.exchange(request).ok()?;
        exchange.log(
            Level::Info,
            format_args!("client sent an unacceptable request: {refusal}"),
        );
        let mut response = refused(&mut exchange, refusal);
        finish(&mut exchange, &mut response);
        Some((response, Some(exchange)))
    }

    fn sent(&self, record: Self::Record, sent: &Sent) {
        let Some(mut exchange) = record else { return };
        exchange.sent = Some(sent.into());
        cut::log(&exchange, &sent.outcome);
        log(&exchange);
    }
}

/// The answer to a head that was not accepted: what `error_page` names for its status where that is at hand, else a page of our
/// own. Nobody waits here, neither for a disk nor for an origin server.
fn refused(exchange: &mut Exchange, refusal: &Refusal) -> Response {
    exchange.host = Box::default();
    exchange.uri.path = b"/".to_vec();
    let status = special::refused_status(refusal);
    let has_page = {
        let mut pages = exchange.core().error_pages.iter();
        pages.any(|page| page.statuses.contains(&status.as_u16()))
    };
    let mut response = None;
    if has_page {
        let paged = std::pin::pin!(run::respond_from(exchange, Flow::status(status)));
        match paged.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(page) => response = Some(page),
            Poll::Pending => {}
        }
    }
    let mut response = response.unwrap_or_else(|| {
        exchange.location = Arc::clone(&exchange.server.outside);
        exchange.error_status = None;
        let mut page = special::refuse(exchange, refusal);
        run::shape(exchange, &mut page);
        page
    });
    response.ending.keep_alive = false;
    response
}

/// Decodes and normalises the path; what can't be is a bad request.
fn read_uri(exchange: &mut Exchange) -> Flow {
    if exchange.host.windows(2).any(|pair| pair == b"..") || *exchange.host == *b"." {
        // No name has an empty label, and `root /srv/$host` must not leave its directory.
        exchange.host = Box::default();
        exchange.log(
            Level::Info,
            format_args!("client sent invalid host: it has an empty label"),
        );
        return Flow::status(StatusCode::BAD_REQUEST);
    }
    let target = &exchange.request.head.target;
    if exchange.request.head.method == Method::TRACE {
        exchange.log(Level::Info, format_args!("client sent TRACE method"));
        exchange.must_close = true;
        return Flow::status(StatusCode::METHOD_NOT_ALLOWED);
    }
    if matches!(target.form(), TargetForm::Authority) {
        exchange.must_close = true;
        return Flow::status(StatusCode::METHOD_NOT_ALLOWED);
    }
    let how = Normalise {
        merge_slashes: exchange.core().merge_slashes,
    };
    let path = match normalise(target.path(), how) {
        Ok(path) => path.into_owned(),
        Err(error) => {
            exchange.log(
                Level::Info,
                format_args!("client sent an unacceptable URI: {error}"),
            );
            return Flow::status(StatusCode::BAD_REQUEST);
        }
    };
    let args = target.query().unwrap_or_default().to_vec();
    exchange.uri = Uri {
        path,
        args,
        as_sent: true,
    };
    Flow::Next
}

/// The host that a request is for, lower-case, without port and the final dot of a name; empty when it names none.
fn host_of(head: &RequestHead) -> Box<[u8]> {
    let Some(authority) = head.authority().and_then(Authority::parse) else {
        return Box::default();
    };
    let host = authority.host();
    host.strip_suffix('.')
        .filter(|name| !name.is_empty() && !name.ends_with('.'))
        .unwrap_or(host)
        .to_ascii_lowercase()
        .into_bytes()
        .into()
}

fn finish(exchange: &mut Exchange, response: &mut Response) {
    let fields = exchange
        .site
        .keeps_response_fields
        .then(|| response.fields.clone());
    exchange.answer = Some(Answer {
        status: response.status,
        fields,
    });
    let core = exchange.core();
    let request = &exchange.request;
    let age = request
        .received
        .saturating_duration_since(request.connection.since);
    if age > core.keepalive_time || request.ordinal >= core.keepalive_requests() {
        response.ending.keep_alive = false;
    }
    let promise = core
        .keepalive_promise
        .filter(|_| response.ending.keep_alive);
    if let Some(promise) = promise {
        let _ = response
            .fields
            .set("Keep-Alive", format!("timeout={}", promise.as_secs()));
    }
}

fn log(exchange: &Exchange) {
    for handler in &exchange.location.handlers.logs {
        handler.log(exchange);
    }
}

/// An exchange whose client may leave before its answer: it is then logged with nginx's status 499.
struct Unanswered(Option<Box<Exchange>>);

impl Unanswered {
    fn get(&mut self) -> &mut Exchange {
        self.0
            .as_mut()
            .unwrap_or_else(|| unreachable!("taken only by answered(), which consumes self"))
    }

    fn answered(mut self) -> Box<Exchange> {
        self.0
            .take()
            .unwrap_or_else(|| unreachable!("taken only here"))
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(exchange) = &mut self.0 {
            if let Ok(status) = StatusCode::from_u16(499) {
                exchange.answer = Some(Answer {
                    status,
                    fields: None,
                });
            }
            log(exchange);
        }
    }
}

impl std::fmt::Debug for Serving {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Serving").finish_non_exhaustive()
    }
}
