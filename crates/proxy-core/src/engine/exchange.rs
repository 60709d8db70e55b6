//! The request in flight. Handlers get `&mut Exchange` and give a [`Flow`](crate::feature::Flow); what features have to tell
//! each other stands here, so that none has to name another.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use http_wire::Known;
use http_wire::fields::Fields;

use super::core::CoreSettings;
use super::logs::Level;
use super::site::{Location, LocationKind, Server, Site};
use super::variables::Template;
use crate::body::Body;
use crate::server::{Address, Ending, Outcome, Request, Response, Sent};

/// The request in flight, from its head to its log line.
pub struct Exchange {
    /// What the client sent.
    pub request: Request,
    /// The configuration that this request is served by, from beginning to end.
    pub site: Arc<Site>,
    /// The server that its `Host` chose.
    pub server: Arc<Server>,
    /// The location that serves it at this turn.
    pub location: Arc<Location>,
    /// The host: from the request target or `Host`, lower-case, without port; empty when there is none.
    pub host: Box<[u8]>,
    /// The URI as it stands at this turn.
    pub uri: Uri,
    /// What the last matching regular expression captured (`$1` … `$9`).
    pub captures: Captures,
    /// Values of variables that the configuration sets, by their index in the site.
    pub assigned: Vec<Option<Box<[u8]>>>,
    /// True after an internal redirect: `internal` locations are open.
    pub internal: bool,
    /// One more than the internal redirects that are left before the request is given up (nginx: 10); 0 once it was.
    pub turns_left: u8,
    /// The status that an `error_page` is being made for, and that its response is sent with.
    pub error_status: Option<StatusCode>,
    /// True when an `error_page` was taken where `recursive_error_pages` is off: no other one follows it.
    pub shows_error_page: bool,
    /// True when `error_page … =` leaves the status to the page.
    pub keeps_page_status: bool,
    /// True when `try_files` found a file below the `alias` of a regular expression: the URI is then its name there.
    pub adds_uri_to_alias: bool,
    /// True once a status came up after which the connection closes, whatever is shown for it.
    pub must_close: bool,
    /// The method as sent, where an internal redirect has changed it.
    pub method_sent: Option<Method>,
    /// Every attempt to reach a peer of an upstream, in order.
    pub attempts: Vec<Attempt>,
    /// What is being answered, once it is known.
    pub answer: Option<Answer>,
    /// How sending it went, for the log phase.
    pub sent: Option<Delivery>,
    /// `$request_id`, once somebody asked.
    pub(crate) id: OnceLock<Box<str>>,
    /// Fields that an origin server wants on whatever answers in its place (`X-Accel-Redirect`).
    pub kept_fields: Option<Fields>,
    /// What features keep for themselves during the request.
    pub notes: Notes,
}

/// The URI of a request, after normalisation and internal redirects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uri {
    /// Percent-decoded, dot segments removed, slashes merged: nginx's `$uri`.
    pub path: Vec<u8>,
    /// What follows the question mark, as sent: nginx's `$args`.
    pub args: Vec<u8>,
    /// True while path and arguments are those of the request target as the client sent it.
    pub as_sent: bool,
}

/// What a regular expression captured: the subject and the ranges in it, group 0 first.
#[derive(Clone, Debug, Default)]
pub struct Captures {
    /// The text that was matched against.
    pub subject: Vec<u8>,
    /// Where its groups lie in it.
    pub groups: nginx_conf::Captures,
}

impl Captures {
    /// Group `number`, 0 being the whole match.
    pub fn group(&self, number: usize) -> Option<&[u8]> {
        self.subject.get(self.groups.get(number)?)
    }
}

/// Who was asked; written out only where somebody reads it.
#[derive(Clone, Debug)]
pub enum Asked {
    /// The peer's address as the configuration or its resolution gives it.
    Peer(Address),
    /// Nobody of the group with this name: no peer was left.
    Nobody(Arc<str>),
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(address) => address.fmt(f),
            Self::Nobody(group) => group.fmt(f),
        }
    }
}

/// One attempt to reach a peer of an upstream: what `$upstream_addr`, `$upstream_status` and the times tell.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The peer that was asked.
    pub peer: Asked,
    /// When it began.
    pub begun: Instant,
    /// The status that it answered, or that its failure was turned into (502, 504).
    pub status: Option<StatusCode>,
    /// Time to an established connection.
    pub connected: Option<Duration>,
    /// Time to the complete response head.
    pub head: Option<Duration>,
    /// Bytes of the response's head.
    pub head_bytes: u64,
    /// Bytes sent to it.
    pub sent_bytes: u64,
    /// True for the first attempt after an internal redirect led to another group (a colon separates it in the log).
    pub new_group: bool,
    /// Counts the content, which arrives after the attempt was noted.
    pub meter: Arc<Meter>,
}

/// How much content has come from a peer, and when it ended.
#[derive(Debug, Default)]
pub struct Meter {
    bytes: AtomicU64,
    ended: OnceLock<Instant>,
}

impl Meter {
    /// More content.
    pub fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// It has ended; only the first end counts.
    pub fn end(&self) {
        self.ended.get_or_init(Instant::now);
    }
}

impl Attempt {
    /// Time to the end of the response.
    pub fn ended(&self) -> Option<Duration> {
        self.meter
            .ended
            .get()
            .map(|ended| ended.saturating_duration_since(self.begun))
    }

    /// Bytes of content received.
    pub fn content_bytes(&self) -> u64 {
        self.meter.bytes.load(Ordering::Relaxed)
    }
}

/// What is being answered: what the log tells of a response after the connection took it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The fields, kept only when a `log_format` asks for one of them.
    pub fields: Option<Fields>,
}

/// How sending a response went, for the log.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    /// Bytes of head and content.
    pub bytes: u64,
    /// Bytes of content.
    pub body_bytes: u64,
    /// Bytes of the request, head and content.
    pub request_bytes: u64,
    /// True when all of it was sent.
    pub complete: bool,
}

impl From<&Sent> for Delivery {
    fn from(sent: &Sent) -> Self {
        let Sent {
            bytes,
            body_bytes,
            request_bytes,
            ref outcome,
        } = *sent;
        Self {
            bytes,
            body_bytes,
            request_bytes,
            complete: matches!(outcome, Outcome::Complete),
        }
    }
}

/// Values that features keep during a request, each found by its type.
#[derive(Default)]
pub struct Notes(Vec<Box<dyn Any + Send>>);

impl Notes {
    /// The value of type `T`, where one was put.
    pub fn get<T: Any + Send>(&self) -> Option<&T> {
        self.0.iter().find_map(|note| note.downcast_ref())
    }

    /// The value of type `T`, made with `Default` where none was put.
    pub fn entry<T: Any + Send + Default>(&mut self) -> &mut T {
        let at = match self.0.iter().position(|note| note.is::<T>()) {
            Some(at) => at,
            None => {
                self.0.push(Box::<T>::default());
                self.0.len() - 1
            }
        };
        self.0[at]
            .downcast_mut()
            .expect("the note at this position was found by its type")
    }

    /// Puts a value in place of the one of the same type.
    pub fn put<T: Any + Send>(&mut self, value: T) {
        self.0.retain(|note| !note.is::<T>());
        self.0.push(Box::new(value));
    }
}

impl Exchange {
    /// The common settings of the location.
    pub fn core(&self) -> &Arc<CoreSettings> {
        self.location.settings.core()
    }

    /// Time since the first byte of the request was read: nginx's `$request_time`.
    pub fn age(&self) -> Duration {
        Instant::now().saturating_duration_since(self.request.received)
    }

    /// The text of a template.
    pub fn expand(&self, template: &Template) -> Vec<u8> {
        let mut out = Vec::new();
        self.expand_into(template, &mut out);
        out
    }

    /// Appends the text of a template. A variable without a value adds nothing.
    pub fn expand_into(&self, template: &Template, out: &mut Vec<u8>) {
        template.expand(out, |variable, out| {
            variable.append(self, out);
        });
    }

    /// The value of the variable that the configuration assigned at `index`.
    pub fn assigned(&self, index: usize) -> Option<&[u8]> {
        self.assigned.get(index)?.as_deref()
    }

    /// Assigns a variable.
    pub fn assign(&mut self, index: usize, value: Box<[u8]>) {
        if self.assigned.len() <= index {
            self.assigned.resize(index + 1, None);
        }
        self.assigned[index] = Some(value);
    }

    /// Takes over what a pattern matched in `subject`; its named groups become variables.
    pub fn take_captures(
        &mut self,
        pattern: &nginx_conf::Pattern,
        subject: &[u8],
        matched: nginx_conf::Captures,
    ) {
        self.captures = Captures {
            subject: subject.to_vec(),
            groups: matched,
        };
        for (name, group) in pattern.names() {
            if let Some(&index) = self.site.assigned.get(name.as_str()) {
                let value = self.captures.group(*group).unwrap_or_default().into();
                self.assign(index, value);
            }
        }
    }

    /// Goes on with another method, as internal redirects to a page do; HEAD stays what it is.
    pub fn ask_instead(&mut self, method: Method) {
        let asked = &mut self.request.head.method;
        if *asked != Method::HEAD && *asked != method {
            let before = std::mem::replace(asked, method);
            self.method_sent.get_or_insert(before);
        }
    }

    /// The method as the client sent it.
    pub fn method_sent(&self) -> &Method {
        self.method_sent
            .as_ref()
            .unwrap_or(&self.request.head.method)
    }

    /// Keeps fields for the response of whatever answers in the end.
    pub fn keep_fields(&mut self, fields: Fields) {
        match &mut self.kept_fields {
            Some(kept) => {
                for (name, value) in &fields {
                    let _ = kept.append(name, value);
                }
            }
            None if fields.is_empty() => {}
            None => self.kept_fields = Some(fields),
        }
    }

    /// The status that a response will be sent with, given its own: that of `error_page` where one is being shown.
    pub fn final_status(&self, own: StatusCode) -> StatusCode {
        self.error_status
            .filter(|_| !self.keeps_page_status)
            .unwrap_or(own)
    }

    /// The path of the file that `root` or `alias` and the URI name (nginx's `$request_filename`).
    pub fn file_path(&self) -> Vec<u8> {
        let files = &self.core().files;
        let mut path = self.expand(&files.path);
        path.extend_from_slice(self.file_part());
        path
    }

    /// What the URI adds to the directory of `root` or to what `alias` names.
    pub fn file_part(&self) -> &[u8] {
        let is_prefix = !matches!(
            self.location.kind,
            LocationKind::Pattern | LocationKind::Named | LocationKind::Outside
        );
        match (self.core().files.alias, is_prefix) {
            (false, _) => &self.uri.path,
            (true, true) => self
                .uri
                .path
                .get(self.location.name.len()..)
                .unwrap_or_default(),
            (true, false) if self.adds_uri_to_alias => &self.uri.path,
            // The alias of a regular expression names the whole file.
            (true, false) => b"",
        }
    }

    /// 16 random bytes in hexadecimal, the same for the whole request (nginx's `$request_id`).
    pub fn id(&self) -> &str {
        self.id.get_or_init(|| {
            let mut bytes = [0_u8; 16];
            let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
            debug_assert!(
                filled.is_ok(),
                "the kernel gives 16 random bytes at any time"
            );
            format!("{:032x}", u128::from_be_bytes(bytes)).into()
        })
    }

    /// A response with the settings of this location for the connection.
    pub fn response(&self, status: StatusCode, fields: Fields, body: Body) -> Response {
        Response {
            status,
            reason: None,
            fields,
            body,
            ending: self.ending(),
            upgrade: None,
        }
    }

    /// How the connection goes on after a response of this location.
    pub fn ending(&self) -> Ending {
        let core = self.core();
        Ending {
            keep_alive: !core.keepalive_timeout.is_zero(),
            keep_alive_timeout: Some(core.keepalive_timeout),
            keep_alive_min_timeout: core.keepalive_min_timeout,
            send_timeout: Some(core.send_timeout),
            server: Some(core.server_token),
            close_unanswered: false,
        }
    }

    /// Scheme, host and port for redirects of our own: `https://example.org:8443`.
    pub fn origin(&self) -> Vec<u8> {
        let core = self.core();
        let scheme: &[u8] = if self.request.connection.tls {
            b"https://"
        } else {
            b"http://"
        };
        let mut out = scheme.to_vec();
        let own_name = core.server_name_in_redirect || self.host.is_empty();
        out.extend_from_slice(if own_name {
            self.server.name.as_bytes()
        } else {
            &self.host
        });
        if out.len() == scheme.len()
            && let Address::Inet(local) = &self.request.connection.local
        {
            out.extend_from_slice(local.ip().to_string().as_bytes());
        }
        let usual = if self.request.connection.tls { 443 } else { 80 };
        if let Address::Inet(local) = &self.request.connection.local
            && core.port_in_redirect
            && local.port() != usual
        {
            out.extend_from_slice(format!(":{}", local.port()).as_bytes());
        }
        out
    }

    /// Writes to the error log at level `error`.
    pub fn log_error(&self, message: fmt::Arguments<'_>) {
        self.log(Level::Error, message);
    }

    /// Writes to the error log, with what nginx adds: client, server, request, host.
    pub fn log(&self, level: Level, message: fmt::Arguments<'_>) {
        let core = self.core();
        if core.error_log.takes(level) {
            let serial = self.request.connection.serial;
            core.error_log.write(
                level,
                Some(serial),
                format_args!("{message}{}", self.circumstances()),
            );
        }
    }

    fn circumstances(&self) -> String {
        let head = &self.request.head;
        let client = match &self.request.connection.peer {
            Address::Inet(peer) => peer.ip().to_string(),
            Address::Unix(_) => "unix:".to_owned(),
        };
        let mut text = format!(
            ", client: {}, server: {}, request: \"{} {} {}\"",
            client,
            self.server.name,
            self.method_sent(),
            String::from_utf8_lossy(head.target.as_bytes()),
            head.version.as_str()
        );
        if let Some(attempt) = self.attempts.last() {
            text.push_str(&format!(", upstream: \"{}\"", attempt.peer));
        }
        if let Some(host) = head.fields.get_known(Known::Host) {
            text.push_str(&format!(", host: \"{}\"", String::from_utf8_lossy(host)));
        }
        text
    }
}
