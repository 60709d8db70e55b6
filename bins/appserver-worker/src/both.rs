//! A WSGI application with an ASGI one beside it: who gets which request.

use std::sync::Arc;
use std::time::Duration;

use appserver_protocol::{WorkerSettings, exit};
use asgi_bridge::{AsgiService, Beside};
use http_wire::head::RequestHead;
use proxy_core::server::{
    Address, Connection, Limits, Refusal, Request, Response, Sent, Service, Trouble,
};
use pyo3::prelude::*;
use supervisor::Board;
use tokio::runtime::Handle;
use wsgi_bridge::{Hooks, Level, WsgiService, percent_decoded};

use crate::asgi::translate;
use crate::below::is_below;
use crate::hooks::WorkerHooks;
use crate::worker::{Application, Failure};

/// Both applications. Requests of the ASGI one are answered on its loop, which has a thread of its own.
pub(crate) struct Both {
    wsgi: WsgiService,
    asgi: AsgiService,
    beside: Beside,
    /// Paths of the ASGI application begin with these.
    prefixes: Vec<Vec<u8>>,
    board: Arc<Board>,
    /// The loop's lane on it.
    lane: usize,
}

/// What the one that answered keeps of a response.
pub(crate) enum Record {
    Wsgi(<WsgiService as Service>::Record),
    Asgi(<AsgiService as Service>::Record),
}

impl Both {
    /// Starts the ASGI application beside a service for the other.
    ///
    /// # Errors
    /// It cannot start.
    pub fn start(
        py: Python<'_>,
        wsgi: WsgiService,
        application: Py<PyAny>,
        http: wsgi_bridge::Settings,
        settings: &WorkerSettings,
        hooks: &Arc<WorkerHooks>,
        board: Arc<Board>,
    ) -> Result<Self, Failure> {
        let mut translated = translate(settings, http, hooks);
        // The lanes before it are those of the other's threads.
        translated.slot = settings.threads.max(1) as usize;
        let lane = translated.slot;
        let (beside, asgi) = Beside::start(
            py,
            application,
            translated,
            hooks.clone(),
            settings.asgi_loop.clone(),
            settings.asgi_lifespan.clone(),
            Duration::from_secs(settings.graceful_timeout),
        )
        .map_err(|message| {
            hooks.log(Level::Error, &message);
            Failure {
                exit: exit::WORKER_BOOT,
                message,
            }
        })?;
        Ok(Self {
            wsgi,
            asgi,
            beside,
            prefixes: (settings.asgi_paths.iter().cloned())
                .map(String::into_bytes)
                .collect(),
            board,
            lane,
        })
    }

    /// Says in which runtime connections are served.
    pub fn set_runtime(&self, runtime: Handle) {
        self.asgi.set_runtime(runtime);
    }

    /// Ends the ASGI application.
    pub fn end(&self, py: Python<'_>) {
        // Its last words may take longer than a request may. On the loop, behind the beats that wait there.
        let (board, lane) = (self.board.clone(), self.lane);
        self.beside.on_loop(move || board.lane(lane).rest());
        self.beside.end(py);
    }

    fn is_for_asgi(&self, head: &RequestHead) -> bool {
        if AsgiService::is_websocket(head) {
            return true;
        }
        if self.prefixes.is_empty() {
            return false;
        }
        let path = head.target.path();
        if path.contains(&b'%') {
            return is_below(&percent_decoded(path), &self.prefixes);
        }
        is_below(path, &self.prefixes)
    }
}

impl Service for Both {
    type Record = Record;

    fn limits(&self, connection: &Connection) -> Arc<Limits> {
        self.wsgi.limits(connection)
    }

    async fn serve(&self, request: Request) -> (Response, Record) {
        if self.is_for_asgi(&request.head) {
            // Boxed, so that the other's requests have nothing to do with the size of this.
            let (response, record) = Box::pin(self.asgi.serve(request)).await;
            return (response, Record::Asgi(record));
        }
        let (response, record) = self.wsgi.serve(request).await;
        (response, Record::Wsgi(record))
    }

    fn refuse(
        &self,
        refusal: &Refusal,
        head: &RequestHead,
        connection: &Arc<Connection>,
    ) -> Option<(Response, Record)> {
        let (response, record) = self.wsgi.refuse(refusal, head, connection)?;
        Some((response, Record::Wsgi(record)))
    }

    fn trouble(&self, connection: &Connection, trouble: &Trouble) {
        self.wsgi.trouble(connection, trouble);
    }

    fn sent(&self, record: Record, sent: &Sent) {
        match record {
            Record::Wsgi(record) => self.wsgi.sent(record, sent),
            Record::Asgi(record) => self.asgi.sent(record, sent),
        }
    }
}

impl Application for Both {
    async fn ready(&self, at_most: Duration) {
        self.wsgi.ready(at_most).await;
    }

    fn trusts(&self, peer: &Address) -> bool {
        self.wsgi.trusts(peer)
    }

    fn part(&self) {
        self.asgi.part();
    }

    async fn over(&self) {
        self.asgi.ended().await;
    }

    /// The loop beats for itself: when it is blocked, its lane falls silent.
    fn beat(&self) {
        let (board, lane) = (self.board.clone(), self.lane);
        self.beside.on_loop(move || board.lane(lane).beat());
    }
}
