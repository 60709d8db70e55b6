//! `static`: folders whose files are answered in front of the application.
//!
//! A request whose path lies below a prefix never reaches the application: what is not there is 404, other methods than GET and HEAD
//! are 405. The files themselves are [`static_files`]' business; here is which folder, what caches are told, and the log.

mod mounts;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use http::{Method, StatusCode};
use http_wire::Known;
use http_wire::fields::Fields;
use http_wire::head::RequestHead;
use proxy_core::server::{
    Address, Connection, Ending, Limits, Outcome, Refusal, Request, Response, Sent, Service,
    Trouble,
};
use wsgi_bridge::{Facts, Finished, Hooks};

use crate::hooks::WorkerHooks;
use crate::worker::Application;

pub(crate) use self::mounts::Mounts;
use self::mounts::{Found, cache_control};

/// What answers for files.
#[derive(Clone)]
pub(crate) struct Files {
    pub mounts: Arc<Mounts>,
    pub hooks: Arc<WorkerHooks>,
    /// The `Server` field.
    pub server: Option<&'static str>,
    /// The log wants the response's fields.
    pub log_fields: bool,
}

/// An application with files in front of it.
pub(crate) struct WithFiles<A> {
    pub files: Files,
    pub application: Arc<A>,
}

/// What is kept of a response until it is sent.
pub(crate) enum Record<R> {
    Application(R),
    File(Box<FileRecord>),
}

/// What is kept of a file's.
pub(crate) struct FileRecord {
    facts: Facts,
    status: StatusCode,
    content_bytes: u64,
    fields: Option<Fields>,
}

impl Files {
    async fn answer(&self, request: Request, found: Found<'_>) -> (Response, FileRecord) {
        let Request {
            head,
            connection,
            ordinal,
            received,
            // Nobody reads it; the connection throws it away, or closes.
            content: _,
            ..
        } = request;
        let answer = found.ask(&head).await;
        let (parts, body) = answer.into_parts();
        let mut response = Response::new(parts.status);
        for (name, value) in &parts.headers {
            // What a header map holds is a field.
            let _ = match Known::find(name.as_str().as_bytes()) {
                Some(known) => response.fields.append(known, value.as_bytes()),
                None => response.fields.append(name.as_str(), value.as_bytes()),
            };
        }
        if matches!(parts.status.as_u16(), 200 | 206 | 304) {
            let _ = response
                .fields
                .append(Known::CacheControl, cache_control(head.target.path()));
        }
        let record = FileRecord {
            status: parts.status,
            content_bytes: if head.method == Method::HEAD {
                0
            } else {
                body.len()
            },
            fields: self.log_fields.then(|| response.fields.clone()),
            facts: facts(head, (connection, ordinal), received),
        };
        response.body = body.into();
        response.ending = Ending {
            server: self.server,
            keep_alive: self.hooks.keeps_connection(),
            ..Ending::default()
        };
        (response, record)
    }

    fn sent(&self, record: &FileRecord, sent: &Sent) {
        let content_bytes = match sent.outcome {
            Outcome::Complete => record.content_bytes,
            _ => sent.body_bytes.min(record.content_bytes),
        };
        self.hooks.finished(&Finished {
            facts: &record.facts,
            status: record.status,
            content_bytes,
            environ: &[],
            fields: record.fields.as_ref(),
            sent,
        });
    }
}

/// What the log is told. Nobody needs to be believed anything for a file.
fn facts(
    head: RequestHead,
    (connection, ordinal): (Arc<Connection>, u64),
    received: std::time::Instant,
) -> Facts {
    Facts {
        secure: connection.tls,
        head,
        connection,
        ordinal,
        received,
        trusted: false,
        script_told: false,
        queued_us: AtomicU64::new(0),
        ends_connection: AtomicBool::new(false),
        trailers: None,
    }
}

impl<A: Application> Service for WithFiles<A> {
    type Record = Record<A::Record>;

    fn limits(&self, connection: &Connection) -> Arc<Limits> {
        self.application.limits(connection)
    }

    async fn serve(&self, request: Request) -> (Response, Self::Record) {
        if let Some(found) = self.files.mounts.find(request.head.target.path()) {
            // Boxed, so that the application's requests have nothing to do with the size of this.
            let (response, record) = Box::pin(self.files.answer(request, found)).await;
            return (response, Record::File(Box::new(record)));
        }
        let (response, record) = self.application.serve(request).await;
        (response, Record::Application(record))
    }

    fn refuse(
        &self,
        refusal: &Refusal,
        head: &RequestHead,
        connection: &Arc<Connection>,
    ) -> Option<(Response, Self::Record)> {
        let (response, record) = self.application.refuse(refusal, head, connection)?;
        Some((response, Record::Application(record)))
    }

    fn sent(&self, record: Self::Record, sent: &Sent) {
        match record {
            Record::Application(record) => self.application.sent(record, sent),
            Record::File(record) => self.files.sent(&record, sent),
        }
    }

    fn trouble(&self, connection: &Connection, trouble: &Trouble) {
        self.application.trouble(connection, trouble);
    }
}

impl<A: Application> Application for WithFiles<A> {
    fn ready(&self, at_most: Duration) -> impl Future<Output = ()> + Send {
        self.application.ready(at_most)
    }

    fn trusts(&self, peer: &Address) -> bool {
        self.application.trusts(peer)
    }

    fn part(&self) {
        self.application.part();
    }

    fn over(&self) -> impl Future<Output = ()> + Send {
        self.application.over()
    }

    fn beat(&self) {
        self.application.beat();
    }
}
