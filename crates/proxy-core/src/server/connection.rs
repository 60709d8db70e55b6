//! What is known of a connection for all of its requests, and the letter box between the connection's task and whoever
//! answers the request in hand.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use http::StatusCode;
use http_wire::Version;
use http_wire::fields::Fields;
use http_wire::proxy_protocol::Header;

use super::content::Lent;

/// What is known of a connection for all of its requests.
pub struct Connection {
    /// Where the connection comes from.
    pub peer: Address,
    /// Where it was accepted.
    pub local: Address,
    /// A number that no other connection of this process has (nginx's `$connection`).
    pub serial: u64,
    /// True when the connection is encrypted.
    pub tls: bool,
    /// When it was accepted.
    pub since: std::time::Instant,
    /// Whether the client says that its side of a gateway is encrypted (`:scheme` of HTTP/2); `None` when it says nothing.
    pub claims_https: Option<bool>,
    /// It carries several exchanges at a time, whose heads are not made of lines; this is what one of them sees of it.
    #[cfg_attr(not(feature = "http2"), expect(dead_code, reason = "only HTTP/2 does"))]
    multiplexed: bool,
    /// What the gateway at its other end said ahead of it, by the PROXY protocol.
    pub proxied: Option<Box<Proxied>>,
    /// Its one request came by the uwsgi protocol.
    pub uwsgi: Option<Uwsgi>,
    /// The request that is being answered and whose response has not begun; 0 for none.
    serving: AtomicU64,
    ignore_abort: AtomicBool,
    /// Somebody may leave something in `letters` at any time.
    awaited: AtomicBool,
    arrived: AtomicBool,
    /// Empty as long as nobody waits for any: most connections never do.
    letters: Mutex<Option<Box<Letters>>>,
}

#[derive(Default)]
struct Letters {
    interim: Vec<u8>,
    /// The same where responses are no lines.
    #[cfg(feature = "http2")]
    heads: Vec<(StatusCode, Fields)>,
    returned: Option<Box<Lent>>,
    waker: Option<Waker>,
}

impl Connection {
    /// A connection with the next serial number.
    pub fn new(peer: Address, local: Address, tls: bool) -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self {
            peer,
            local,
            serial: LAST.fetch_add(1, Ordering::Relaxed) + 1,
            tls,
            since: std::time::Instant::now(),
            proxied: None,
            uwsgi: None,
            claims_https: None,
            multiplexed: false,
            serving: AtomicU64::new(0),
            ignore_abort: AtomicBool::new(false),
            awaited: AtomicBool::new(false),
            arrived: AtomicBool::new(false),
            letters: Mutex::default(),
        }
    }

    /// The same connection as one of its exchanges sees it, that have nothing to do with each other (HTTP/2).
    #[cfg(feature = "http2")]
    pub(super) fn of_stream(&self, claims_https: Option<bool>) -> Self {
        Self {
            peer: self.peer.clone(),
            local: self.local.clone(),
            serial: self.serial,
            tls: self.tls,
            since: self.since,
            proxied: self.proxied.clone(),
            uwsgi: self.uwsgi,
            claims_https,
            multiplexed: true,
            serving: AtomicU64::new(0),
            ignore_abort: AtomicBool::new(false),
            awaited: AtomicBool::new(false),
            arrived: AtomicBool::new(false),
            letters: Mutex::default(),
        }
    }

    /// Who it is from: the client that a gateway named, otherwise the peer.
    pub fn client(&self) -> &Address {
        match &self.proxied {
            Some(proxied) => proxied.client.as_ref().unwrap_or(&self.peer),
            None => &self.peer,
        }
    }

    /// Whether the request in hand is answered to the end even when its client leaves (nginx's
    /// `proxy_ignore_client_abort`). False at the start of each request.
    ///
    /// A client that closes only its sending side counts as having left, as with nginx.
    pub fn ignore_client_abort(&self, ignore: bool) {
        self.ignore_abort.store(ignore, Ordering::Relaxed);
    }

    pub(super) fn ignores_client_abort(&self) -> bool {
        self.ignore_abort.load(Ordering::Relaxed)
    }

    /// The connection's task hands a request out.
    pub(super) fn begin(&self, ordinal: u64, content_lent: bool) {
        self.ignore_abort.store(false, Ordering::Relaxed);
        self.awaited.store(content_lent, Ordering::Relaxed);
        if self.arrived.swap(false, Ordering::Relaxed) {
            *self.letters() = None;
        }
        self.serving.store(ordinal, Ordering::Release);
    }

    /// The response begins: nothing can be sent ahead of it any more.
    pub(super) fn responding(&self) {
        self.serving.store(0, Ordering::Release);
    }

    /// Asks to be woken when something arrives, if anybody could send something.
    pub(super) fn await_letters(&self, cx: &Context<'_>) {
        if self.awaited.load(Ordering::Acquire) {
            let mut letters = self.letters();
            let letters = letters.get_or_insert_default();
            if !letters
                .waker
                .as_ref()
                .is_some_and(|waker| waker.will_wake(cx.waker()))
            {
                letters.waker = Some(cx.waker().clone());
            }
        }
    }

    /// Interim responses to be written.
    pub(super) fn take_interim(&self) -> Option<Vec<u8>> {
        if !self.arrived.load(Ordering::Acquire) {
            return None;
        }
        let mut letters = self.letters();
        let letters = letters.as_mut()?;
        self.arrived
            .store(letters.returned.is_some(), Ordering::Release);
        Some(std::mem::take(&mut letters.interim)).filter(|bytes| !bytes.is_empty())
    }

    /// Heads of interim responses to be sent.
    #[cfg(feature = "http2")]
    pub(super) fn take_heads(&self) -> Vec<(StatusCode, Fields)> {
        if !self.arrived.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        let mut letters = self.letters();
        letters
            .as_mut()
            .map(|letters| std::mem::take(&mut letters.heads))
            .unwrap_or_default()
    }

    /// Leaves the head of an interim response to be sent ahead of the response; false when that has begun already.
    #[cfg(feature = "http2")]
    pub(super) fn send_head_ahead(
        &self,
        ordinal: u64,
        status: StatusCode,
        fields: &Fields,
    ) -> bool {
        let open = self.serving.load(Ordering::Acquire) == ordinal;
        if open {
            self.post(|letters| letters.heads.push((status, fields.clone())));
        }
        open
    }

    /// The content that was given back.
    pub(super) fn take_returned(&self) -> Option<Box<Lent>> {
        if !self.arrived.load(Ordering::Acquire) {
            return None;
        }
        let mut letters = self.letters();
        let letters = letters.as_mut()?;
        self.arrived
            .store(!letters.interim.is_empty(), Ordering::Release);
        letters.returned.take()
    }

    pub(super) fn give_back(&self, lent: Box<Lent>) {
        self.post(|letters| letters.returned = Some(lent));
    }

    /// Leaves bytes to be written ahead of the response to request `ordinal`; false when that has begun already.
    pub(super) fn send_ahead(&self, ordinal: u64, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let open = self.serving.load(Ordering::Acquire) == ordinal;
        if open {
            self.post(|letters| write(&mut letters.interim));
        }
        open
    }

    fn post(&self, put: impl FnOnce(&mut Letters)) {
        let mut guard = self.letters();
        let letters = guard.get_or_insert_default();
        put(letters);
        self.arrived.store(true, Ordering::Release);
        let waker = letters.waker.take();
        drop(guard);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn letters(&self) -> MutexGuard<'_, Option<Box<Letters>>> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("serial", &self.serial)
            .field("peer", &self.peer)
            .field("local", &self.local)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// What a gateway said ahead of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxied {
    /// `TCP4`, `TCP6`, or the word for a header without addresses: `LOCAL`, `UNKNOWN`, `UNSPEC`.
    pub protocol: &'static str,
    /// The client; `None` where none is told.
    pub client: Option<Address>,
    /// Where the client connected to; `None` where that is not told.
    pub destination: Option<SocketAddr>,
}

impl From<Header> for Proxied {
    fn from(header: Header) -> Self {
        let (client, destination) = match header {
            Header::Tcp {
                source,
                destination,
            } => (Some(Address::Inet(source)), Some(destination)),
            _ => (None, None),
        };
        Self {
            protocol: header.protocol(),
            client,
            destination,
        }
    }
}

/// What the uwsgi protocol says besides the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uwsgi {
    /// The client's connection to the gateway is encrypted.
    pub https: bool,
}

/// An end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP.
    Inet(SocketAddr),
    /// A unix socket; the path when it has one.
    Unix(Option<Arc<Path>>),
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Inet(address)
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix(Some(path)) => write!(f, "unix:{}", path.display()),
            Self::Unix(None) => f.write_str("unix:"),
        }
    }
}

/// Sends interim responses ahead of the response to one request; does nothing once that has begun.
#[derive(Clone)]
pub struct Interim {
    connection: Arc<Connection>,
    ordinal: u64,
    allowed: bool,
}

impl Interim {
    pub(super) fn new(connection: &Arc<Connection>, ordinal: u64, version: Version) -> Self {
        connection.awaited.store(true, Ordering::Release);
        Self {
            connection: connection.clone(),
            ordinal,
            // To a gateway of the uwsgi protocol the first status is the final one.
            allowed: version != Version::Http10 && connection.uwsgi.is_none(),
        }
    }

    /// Sends one; false when it could not be: the status is not 1xx (or 101), the client speaks HTTP/1.0
    /// (RFC 9110 §15.2), or the response has begun.
    pub fn send(&self, status: StatusCode, fields: &Fields) -> bool {
        let may =
            self.allowed && status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS;
        if !may {
            return false;
        }
        #[cfg(feature = "http2")]
        if self.connection.multiplexed {
            return (self.connection).send_head_ahead(self.ordinal, status, fields);
        }
        self.connection.send_ahead(self.ordinal, |out| {
            super::http1::encode_interim(status, fields, out);
        })
    }
}
