//! [`AsgiService`]: an ASGI application as what answers the requests of connections.

use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::{Method, StatusCode};
use http_wire::Known;
use http_wire::fields::Fields;
use http_wire::head::RequestHead;
use proxy_core::body::Body;
use proxy_core::server::{
    Address, Connection, Ending, Limits, Outcome, Refusal, Request, Response, Sent, Service,
    Trouble, give_head_back,
};
use proxy_core::timers;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use wsgi_bridge::shared::{
    error_page, log_invalid, log_trouble, peer_text, receive, refuse, unstated,
};
use wsgi_bridge::{Facts, Finished, Hooks, Level};

use crate::call::{self, Conversation};
use crate::core::Core;
use crate::exchange::{Answer, Exchange};
use crate::home::Home;
use crate::http::{Receive, Send as SendCall};
use crate::message::Head;
use crate::reactor::Reactor;
use crate::settings::Settings;
use crate::stream::{Stream, whole};
use crate::websocket::{self, Asked, Opening, Session};

/// Answers requests with an ASGI application, whose loop is watched over by a [`Reactor`].
pub struct AsgiService {
    core: Arc<Core>,
}

/// What is kept of a response until it is sent.
pub struct Record {
    facts: Arc<Facts>,
    status: StatusCode,
    content: Content,
    fields: Option<Arc<Fields>>,
}

/// How many bytes of content there were.
enum Content {
    None,
    Fixed(u64),
    Streamed(Arc<Exchange>),
}

impl AsgiService {
    /// A service for `application`. `state` is the dict of the application's lifespan, where it has one.
    ///
    /// # Errors
    /// Python's, while objects are made.
    pub fn new(
        py: Python<'_>,
        application: Py<PyAny>,
        settings: Settings,
        hooks: Arc<dyn Hooks>,
        reactor: &Arc<Reactor>,
        state: Option<Py<PyDict>>,
    ) -> PyResult<Self> {
        let home = Arc::new(Home::Here(reactor.clone()));
        Self::at(py, application, settings, hooks, home, state)
    }

    pub(crate) fn at(
        py: Python<'_>,
        application: Py<PyAny>,
        settings: Settings,
        hooks: Arc<dyn Hooks>,
        home: Arc<Home>,
        state: Option<Py<PyDict>>,
    ) -> PyResult<Self> {
        let core = Core::new(py, application, settings, hooks, home, state)?;
        Ok(Self {
            core: Arc::new(core),
        })
    }

    pub(crate) fn core(&self) -> Arc<Core> {
        self.core.clone()
    }

    /// Whether a peer is believed what it says of clients behind it.
    pub fn trusts(&self, peer: &Address) -> bool {
        self.core.settings.http.forwarded_allow_ips.includes(peer)
    }

    /// Whether a request asks for a WebSocket.
    pub fn is_websocket(head: &RequestHead) -> bool {
        websocket::asks(head, false).is_some()
    }

    /// The server comes to its end: WebSockets are closed with 1012 (service restart). What else there is ends with the drain.
    pub fn part(&self) {
        let sessions: Vec<_> = self.core.sessions().values().cloned().collect();
        for session in sessions.iter().filter_map(Weak::upgrade) {
            session.restart();
        }
    }

    /// How many calls of the application have not come to their end.
    pub fn running(&self) -> usize {
        self.core.tasks.count()
    }

    /// Waits until none is left.
    pub async fn ended(&self) {
        while self.running() > 0 {
            timers::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Cancels the calls that are left.
    pub fn cancel(&self, py: Python<'_>) {
        for task in self.core.tasks.held(py) {
            let _ = task.bind(py).call_method0("cancel");
        }
    }

    fn respond(&self, exchange: &Arc<Exchange>, answer: Answer) -> (Response, Option<Record>) {
        let facts = exchange.facts.clone();
        let (head, body, content) = match answer {
            Answer::Page(status) => return self.page(facts, status, ""),
            Answer::Whole(head, bytes) => {
                let counted = if facts.head.method == Method::HEAD {
                    Content::None
                } else {
                    Content::Fixed(bytes.len() as u64)
                };
                (head, whole(bytes, &facts), counted)
            }
            Answer::File(head, file) => {
                let counted = Content::Fixed(file.len());
                (head, file.into(), counted)
            }
            Answer::Stream(head) => {
                let stream = Stream(exchange.clone());
                let body = Body::Stream(Box::pin(stream));
                (head, body, Content::Streamed(exchange.clone()))
            }
            Answer::Bare(head) => (head, unstated(), Content::None),
        };
        let Head { status, fields, .. } = head;
        let record = Record {
            fields: self.copy(&fields),
            facts,
            status,
            content,
        };
        let ending = Ending {
            server: self.core.settings.http.server,
            keep_alive: record.facts.head.method != Method::CONNECT
                && !record.facts.ends_connection()
                && self.core.hooks.keeps_connection(),
            ..Ending::default()
        };
        let response = Response {
            status,
            fields,
            body,
            ending,
            ..Response::default()
        };
        (response, Some(record))
    }

    /// Answers a WebSocket's handshake.
    async fn websocket(&self, facts: Arc<Facts>, asked: Asked) -> (Response, Option<Record>) {
        let session = Session::new(self.core.clone(), facts.clone(), asked);
        let number = Arc::as_ptr(&session) as usize;
        self.core
            .sessions()
            .insert(number, Arc::downgrade(&session));
        let listed = Listed(self.core.clone(), number);
        let opening = Opening(Some(session.clone()));
        let mut unanswered = Unanswered(Some(session.clone()));
        let calls = session.clone();
        call::begin(&session, move |py| {
            let receive = Py::new(py, websocket::Receive(calls.clone()))?.into_any();
            Ok((receive, Py::new(py, websocket::Send(calls))?.into_any()))
        });
        let answer = poll_fn(|cx| session.poll_answer(cx)).await;
        unanswered.0 = None;
        let (head, body) = match answer {
            websocket::Answer::Page(status) => return self.page(facts, status, ""),
            websocket::Answer::Deny(head, bytes) => (head, Body::Bytes(bytes)),
            websocket::Answer::Accept(head) => (head, Body::Empty),
        };
        let content = body.exact_length().map_or(Content::None, Content::Fixed);
        let record = Record {
            fields: self.copy(&head.fields),
            status: head.status,
            facts,
            content,
        };
        let mut response = Response {
            status: head.status,
            fields: head.fields,
            body,
            ..Response::default()
        };
        response.ending.server = self.core.settings.http.server;
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            response.upgrade = Some(Box::new(move |upgraded| {
                let running = opening.run(upgraded);
                Box::pin(async move {
                    let _listed = listed;
                    running.await
                })
            }));
        } else {
            response.ending.keep_alive = false;
        }
        (response, Some(record))
    }

    fn copy(&self, fields: &Fields) -> Option<Arc<Fields>> {
        let wanted = self.core.settings.http.log_fields;
        wanted.then(|| Arc::new(fields.clone()))
    }

    fn page(
        &self,
        facts: Arc<Facts>,
        status: StatusCode,
        text: &str,
    ) -> (Response, Option<Record>) {
        let (response, length) = error_page(status, text);
        let record = Record {
            facts,
            status,
            content: Content::Fixed(length),
            fields: None,
        };
        (response, Some(record))
    }
}

impl Service for AsgiService {
    type Record = Option<Record>;

    fn limits(&self, _connection: &Connection) -> Arc<Limits> {
        self.core.settings.http.limits.clone()
    }

    async fn serve(&self, request: Request) -> (Response, Self::Record) {
        let interim = request.interim();
        let Request {
            head,
            mut content,
            connection,
            ordinal,
            received,
            ..
        } = request;
        let settings = &self.core.settings.http;
        let from = (connection, ordinal);
        let (facts, objection) = receive(&self.core.policy, settings, head, from, received);
        if let Some(objection) = objection {
            let hooks = &*self.core.hooks;
            log_invalid(hooks, Level::Warning, &facts.connection, &objection);
            return self.page(facts, objection.status(), &objection.to_string());
        }
        let asked = match facts.connection.uwsgi {
            // A gateway of that protocol cannot hand a connection over.
            Some(_) => None,
            None => websocket::asks(&facts.head, self.core.settings.deflate),
        };
        match asked {
            None => {}
            Some(Ok(asked)) => return self.websocket(facts, asked).await,
            Some(Err(status)) => {
                let (mut response, record) = self.page(facts, status, "");
                if status == StatusCode::UPGRADE_REQUIRED {
                    let fields = &mut response.fields;
                    let appended = fields.append(Known::SecWebSocketVersion, "13");
                    debug_assert!(appended.is_ok(), "a constant field");
                }
                return (response, record);
            }
        }
        if let Err(error) = content.limit(settings.content_bytes_max) {
            let status = error.status().unwrap_or(StatusCode::BAD_REQUEST);
            return self.page(facts, status, &error.to_string());
        }
        let exchange = Exchange::new(self.core.clone(), facts, content, interim);
        let mut left = Left(Some(exchange.clone()));
        let calls = exchange.clone();
        call::begin(&exchange, move |py| {
            let receive = Py::new(py, Receive(calls.clone()))?.into_any();
            Ok((receive, Py::new(py, SendCall(calls))?.into_any()))
        });
        let answer = poll_fn(|cx| exchange.poll_answer(cx)).await;
        left.0 = None;
        self.respond(&exchange, answer)
    }

    fn refuse(
        &self,
        refused: &Refusal,
        head: &RequestHead,
        connection: &Arc<Connection>,
    ) -> Option<(Response, Self::Record)> {
        let response = refuse(&*self.core.hooks, refused, head, connection);
        Some((response, None))
    }

    fn trouble(&self, connection: &Connection, trouble: &Trouble) {
        log_trouble(&*self.core.hooks, connection, trouble);
    }

    fn sent(&self, record: Self::Record, sent: &Sent) {
        let Some(record) = record else { return };
        let content_bytes = match &record.content {
            Content::None => 0,
            Content::Streamed(exchange) => exchange.delivered_bytes(),
            Content::Fixed(bytes) if matches!(sent.outcome, Outcome::Complete) => *bytes,
            Content::Fixed(bytes) => sent.body_bytes.min(*bytes),
        };
        finish(
            &self.core,
            &record.facts,
            record.status,
            content_bytes,
            record.fields.as_deref(),
            sent,
        );
        drop(record.content);
        if let Some(facts) = Arc::into_inner(record.facts) {
            give_head_back(facts.head);
        }
    }
}

/// Tells the hooks that a request is over.
pub(crate) fn finish(
    core: &Core,
    facts: &Facts,
    status: StatusCode,
    content_bytes: u64,
    fields: Option<&Fields>,
    sent: &Sent,
) {
    let names = &core.settings.http.log_environ;
    let environ: Vec<_> = names
        .iter()
        .map(|name| environ_value(name, facts))
        .collect();
    core.hooks.finished(&Finished {
        facts,
        status,
        content_bytes,
        environ: &environ,
        fields,
        sent,
    });
}

/// What an environ would have had, for `%({NAME}e)s` in the access log.
fn environ_value(name: &str, facts: &Facts) -> Option<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let target = &facts.head.target;
    match name {
        "REQUEST_METHOD" => Some(facts.head.method.as_str().to_owned()),
        "RAW_URI" => Some(text(target.as_bytes())),
        "PATH_INFO" => Some(text(&wsgi_bridge::percent_decoded(target.path()))),
        "QUERY_STRING" => Some(text(target.query().unwrap_or_default())),
        "REMOTE_ADDR" => Some(peer_text(&facts.connection)),
        "CONTENT_TYPE" | "CONTENT_LENGTH" => facts
            .head
            .fields
            .get(name.replace('_', "-").as_str())
            .map(text),
        name => {
            let field = name.strip_prefix("HTTP_")?.replace('_', "-");
            facts.head.fields.get(field.as_str()).map(text)
        }
    }
}

/// The application learns that its client left when the connection drops the future that waits for the answer.
struct Left(Option<Arc<Exchange>>);

impl Drop for Left {
    fn drop(&mut self) {
        if let Some(exchange) = self.0.take() {
            exchange.leave();
            unanswered(exchange.core(), &exchange.facts);
        }
    }
}

/// As [`Left`], for a WebSocket, which learns it from its [`Opening`].
struct Unanswered(Option<Arc<Session>>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(session) = self.0.take() {
            unanswered(&session.core, &session.facts);
        }
    }
}

/// Tells the hooks of a client that left before it was answered.
fn unanswered(core: &Core, facts: &Facts) {
    let sent = Sent {
        bytes: 0,
        body_bytes: 0,
        request_bytes: 0,
        outcome: Outcome::ClientGone,
    };
    let status = StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST);
    finish(core, facts, status, 0, None, &sent);
}

/// A WebSocket's place in the list.
struct Listed(Arc<Core>, usize);

impl Drop for Listed {
    fn drop(&mut self) {
        self.0.sessions().remove(&self.1);
    }
}
