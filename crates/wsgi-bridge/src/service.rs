//! [`WsgiService`]: a WSGI application as what answers the requests of connections.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_wire::Version;
use http_wire::head::RequestHead;
use proxy_core::body::Body;
use proxy_core::server::{
    Address, Connection, ContentError, Ending, Interim, Limits, Outcome, Refusal, Request,
    Response, Sent, Service, Trouble, give_head_back,
};
use pyo3::prelude::*;

use crate::answer::Route;
use crate::call::{Begun, Call, Whole};
use crate::content::{self, CollectError, Collected};
use crate::core::Core;
use crate::handover;
use crate::hooks::{Facts, Finished, Hooks, Level};
use crate::inline::{Run, RunBody, Turn};
use crate::outlet::Outlet;
use crate::page;
use crate::policy::Objection;
use crate::pool::{OutletBody, Pool, Reply, Told};
use crate::reception::{self, log_invalid, log_trouble, receive, unstated};
use crate::response_head::{Head, append_length};
use crate::settings::Settings;

/// Answers requests with a WSGI application.
///
/// With one thread the application runs where the service is called: on the thread of the runtime, which must be attached to
/// Python whenever it is not parked (see [`share_thread`](crate::share_thread)). With more it runs on as many Python threads, and
/// the runtime's thread should not be attached.
pub struct WsgiService {
    core: Arc<Core>,
    mode: Mode,
}

enum Mode {
    Inline(Arc<Turn>),
    Pool(Pool),
}

/// What is kept of a response until it is sent.
pub struct Record {
    facts: Arc<Facts>,
    status: StatusCode,
    content: Content,
    told: Told,
    /// A run whose content is complete, but not its application.
    run: Option<Arc<Run>>,
}

/// How many bytes of content there were.
enum Content {
    None,
    Fixed(u64),
    Outlet(Arc<Outlet>),
}

impl WsgiService {
    /// A service for `application`, any callable; `threads` of it at a time, at least one.
    ///
    /// # Errors
    /// Python's, while objects and threads are made.
    pub fn new(
        py: Python<'_>,
        application: Py<PyAny>,
        settings: Settings,
        hooks: Arc<dyn Hooks>,
        threads: usize,
    ) -> PyResult<Self> {
        let threads = threads.max(1);
        let core = Arc::new(Core::new(py, application, settings, hooks, threads)?);
        let mode = match threads {
            1 => Mode::Inline(Arc::default()),
            _ => Mode::Pool(Pool::start(py, &core, threads)?),
        };
        Ok(Self { core, mode })
    }

    /// Waits, at most so long, until a new request would not have to wait for a response that is still being made. Where several
    /// processes accept from one socket, wait for this before accepting, so that one that is free takes the connection.
    pub async fn ready(&self, at_most: Duration) {
        if let Mode::Inline(turn) = &self.mode
            && turn.is_taken()
        {
            let _ = tokio::time::timeout(at_most, turn.idle()).await;
        }
    }

    /// Whether a peer is believed what it says of clients behind it.
    pub fn trusts(&self, peer: &Address) -> bool {
        self.core.settings.forwarded_allow_ips.includes(peer)
    }

    async fn answer(
        &self,
        facts: Arc<Facts>,
        content: proxy_core::server::Content,
        interim: Interim,
    ) -> (Response, Option<Record>) {
        let input = if content.is_end() {
            None
        } else {
            match content::collect(content, &self.core.settings).await {
                Ok(collected) => Some(collected),
                Err(error) => return self.without_content(facts, &error),
            }
        };
        match &self.mode {
            Mode::Inline(turn) => {
                turn.free().await;
                self.call_here(turn, facts, input, interim)
            }
            Mode::Pool(pool) if input.is_none() && handover::asks(&facts) => {
                self.offer(pool, facts, interim).await
            }
            Mode::Pool(pool) => {
                let reply = pool.ask(facts.clone(), input, interim, None).await;
                self.replied(facts, reply)
            }
        }
    }

    fn replied(&self, facts: Arc<Facts>, reply: Option<Reply>) -> (Response, Option<Record>) {
        match reply {
            Some(Reply::Whole(begun, told)) => self.begun(facts, begun, told, None),
            Some(Reply::Streams(head, content, told)) => self.streams(facts, head, content, told),
            None => self.begun(facts, Begun::Failed, Told::default(), None),
        }
    }

    /// A WebSocket's handshake: the application answers, or takes the connection.
    async fn offer(
        &self,
        pool: &Pool,
        facts: Arc<Facts>,
        interim: Interim,
    ) -> (Response, Option<Record>) {
        let (offered, offer) = match handover::offer() {
            Ok(ends) => ends,
            Err(error) => {
                let words = format!("No socket for a WebSocket: {error}");
                self.core.hooks.log(Level::Error, &words);
                return self.page(facts, StatusCode::SERVICE_UNAVAILABLE, "");
            }
        };
        let mut taken = std::pin::pin!(offered.taken());
        let taken = tokio::select! {
            biased;
            taken = &mut taken => taken,
            reply = pool.ask(facts.clone(), None, interim, Some(offer)) => {
                if !offered.has_more() {
                    return self.replied(facts, reply);
                }
                // It was done with the connection at once.
                taken.await
            }
        };
        // The thread is busy for as long as the client likes; that is no request which hangs.
        self.core.hooks.ended(offered.slot());
        let (head, ahead) = match taken {
            Ok(taken) => taken,
            Err(problem) => {
                let words = format!(
                    "What was written to {} is no response: {problem}",
                    handover::KEY
                );
                self.core.hooks.log(Level::Error, &words);
                return self.page(facts, StatusCode::INTERNAL_SERVER_ERROR, "");
            }
        };
        let mut response = offered.respond(head, ahead).await;
        response.ending.server = self.core.settings.server;
        let record = Record {
            facts,
            status: response.status,
            content: response
                .body
                .exact_length()
                .map_or(Content::None, Content::Fixed),
            told: Told::default(),
            run: None,
        };
        (response, Some(record))
    }

    fn call_here(
        &self,
        turn: &Arc<Turn>,
        facts: Arc<Facts>,
        input: Option<Collected>,
        interim: Interim,
    ) -> (Response, Option<Record>) {
        let logged = (!self.core.settings.log_environ.is_empty()).then(Arc::default);
        let route = Route::Here(self.core.room());
        let (call, begun) = Python::attach(|py| {
            Call::begin(
                &self.core,
                py,
                facts.clone(),
                input,
                logged,
                0,
                route,
                interim,
                None,
            )
        });
        let told = Told::of(&self.core, &call);
        let Begun::More(head, first) = begun else {
            return self.begun(facts, begun, told, None);
        };
        let outlet = call.answer.lock().outlet.clone();
        let complete = outlet.is_none() && call.answer.lock().is_complete();
        let run = Run::new(
            self.core.clone(),
            turn.clone(),
            call,
            outlet,
            if complete {
                Bytes::new()
            } else {
                first.clone()
            },
        );
        let head = head.unwrap_or_default();
        if complete {
            return self.begun(
                facts,
                Begun::Whole(head, Whole::Bytes(first)),
                told,
                Some(run),
            );
        }
        let record = Record {
            facts,
            status: head.status,
            content: Content::Outlet(run.outlet().clone()),
            told,
            run: None,
        };
        (
            self.response(head, Body::Stream(Box::pin(RunBody::new(run))), &record),
            Some(record),
        )
    }

    /// The response to a call whose content is known.
    fn begun(
        &self,
        facts: Arc<Facts>,
        begun: Begun,
        told: Told,
        run: Option<Arc<Run>>,
    ) -> (Response, Option<Record>) {
        let (head, body) = match begun {
            Begun::Whole(head, whole) => (head, body(whole)),
            Begun::Broken(head, outlet) => {
                let content = OutletBody(outlet);
                return self.streams(facts, head.unwrap_or_default(), content, told);
            }
            Begun::More(..) | Begun::Failed => {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                let content = page::error(status, "");
                let record = Record {
                    facts,
                    status,
                    content: Content::Fixed(content.1),
                    told,
                    run,
                };
                return (content.0, Some(record));
            }
        };
        let counted = body
            .exact_length()
            .filter(|_| facts.head.method != Method::HEAD);
        let content = counted.map_or(Content::None, Content::Fixed);
        let record = Record {
            facts,
            status: head.status,
            content,
            told,
            run,
        };
        (self.response(head, body, &record), Some(record))
    }

    fn streams(
        &self,
        facts: Arc<Facts>,
        head: Head,
        content: OutletBody,
        told: Told,
    ) -> (Response, Option<Record>) {
        let outlet = content.0.clone();
        let body = Body::Stream(Box::pin(content));
        let record = Record {
            facts,
            status: head.status,
            content: Content::Outlet(outlet),
            told,
            run: None,
        };
        (self.response(head, body, &record), Some(record))
    }

    fn response(&self, mut head: Head, body: Body, record: &Record) -> Response {
        if let Some(promised) = head.content_length
            && (head.status == StatusCode::NOT_MODIFIED || body.exact_length() != Some(promised))
        {
            // Where it is the length of the body, the connection states it.
            append_length(promised, &mut head.fields);
        }
        let body = match &record.facts.trailers {
            Some(trailers) => trailers.follow(body),
            None => body,
        };
        let ending = Ending {
            server: self.core.settings.server,
            // What follows CONNECT is tunnel data, whatever was answered.
            keep_alive: record.facts.head.method != Method::CONNECT
                && !record.facts.ends_connection()
                && self.core.hooks.keeps_connection(),
            ..Ending::default()
        };
        Response {
            status: head.status,
            reason: head.reason,
            fields: head.fields,
            body,
            ending,
            ..Response::default()
        }
    }

    /// The answer when the content could not be taken in: the application is not called.
    fn without_content(
        &self,
        facts: Arc<Facts>,
        error: &CollectError,
    ) -> (Response, Option<Record>) {
        let peer = page::peer_text(&facts.connection);
        let (status, level) = match error {
            CollectError::Content(error) => (
                error.status().unwrap_or(StatusCode::BAD_REQUEST),
                Level::Warning,
            ),
            CollectError::Spool(_) => (StatusCode::INTERNAL_SERVER_ERROR, Level::Error),
        };
        let gone = matches!(
            error,
            CollectError::Content(ContentError::ClientGone { .. })
        );
        let level = if gone { Level::Debug } else { level };
        self.core
            .hooks
            .log(level, &format!("Invalid request from ip={peer}: {error}"));
        let told = if level == Level::Error {
            String::new()
        } else {
            error.to_string()
        };
        self.page(facts, status, &told)
    }

    fn object(&self, facts: Arc<Facts>, objection: &Objection) -> (Response, Option<Record>) {
        let hooks = &*self.core.hooks;
        log_invalid(hooks, Level::Warning, &facts.connection, objection);
        self.page(facts, objection.status(), &objection.to_string())
    }

    fn page(
        &self,
        facts: Arc<Facts>,
        status: StatusCode,
        text: &str,
    ) -> (Response, Option<Record>) {
        let (response, length) = page::error(status, text);
        let record = Record {
            facts,
            status,
            content: Content::Fixed(length),
            told: Told::default(),
            run: None,
        };
        (response, Some(record))
    }
}

impl Service for WsgiService {
    type Record = Option<Record>;

    fn limits(&self, _connection: &Connection) -> Arc<Limits> {
        self.core.settings.limits.clone()
    }

    async fn serve(&self, request: Request) -> (Response, Self::Record) {
        let interim = request.interim();
        let Request {
            head,
            content,
            connection,
            ordinal,
            received,
            ..
        } = request;
        // The application has been promised the request; and who only closes the sending side still reads. A reset says more, and
        // counts until the application has the request.
        let resets = head.version == Version::Http2 && matches!(self.mode, Mode::Pool(_));
        connection.ignore_client_abort(!resets);
        let core = &self.core;
        let from = (connection, ordinal);
        let (facts, objection) = receive(&core.policy, &core.settings, head, from, received);
        match (&self.mode, objection) {
            (_, Some(objection)) => self.object(facts, &objection),
            (Mode::Inline(turn), None) if content.is_end() && !turn.is_taken() => {
                self.call_here(turn, facts, None, interim)
            }
            // Boxed, so that requests that need not wait have nothing to do with the size of this.
            _ => Box::pin(self.answer(facts, content, interim)).await,
        }
    }

    fn refuse(
        &self,
        refusal: &Refusal,
        head: &RequestHead,
        connection: &Arc<Connection>,
    ) -> Option<(Response, Self::Record)> {
        let response = reception::refuse(&*self.core.hooks, refusal, head, connection);
        Some((response, None))
    }

    fn trouble(&self, connection: &Connection, trouble: &Trouble) {
        log_trouble(&*self.core.hooks, connection, trouble);
    }

    fn sent(&self, record: Self::Record, sent: &Sent) {
        let Some(record) = record else { return };
        if let Some(run) = &record.run {
            run.complete();
        }
        let content_bytes = match &record.content {
            Content::None => 0,
            Content::Outlet(outlet) => outlet.delivered_bytes(),
            Content::Fixed(bytes) if matches!(sent.outcome, Outcome::Complete) => *bytes,
            Content::Fixed(bytes) => sent.body_bytes.min(*bytes),
        };
        let environ = record
            .told
            .logged
            .as_ref()
            .map(|logged| logged.get())
            .unwrap_or_default();
        self.core.hooks.finished(&Finished {
            facts: &record.facts,
            status: record.status,
            content_bytes,
            environ: &environ,
            fields: record.told.fields.as_deref(),
            sent,
        });
        if let Some(facts) = Arc::into_inner(record.facts) {
            give_head_back(facts.head);
        }
    }
}

fn body(whole: Whole) -> Body {
    match whole {
        Whole::Bytes(bytes) => Body::Bytes(bytes),
        Whole::File(file) => file.into(),
        Whole::Unknown => unstated(),
    }
}
