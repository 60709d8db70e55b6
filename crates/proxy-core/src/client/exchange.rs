//! One request to an origin server and the head of its response.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, StatusCode};
use http_wire::body::{Framing, response_framing};
use http_wire::connection::persists;
use http_wire::head::{HeadLimits, RequestHead, ResponseHead, ResponseParser};
use http_wire::{Known, Version, encode};

use super::connect::connect;
use super::content::OriginContent;
use super::error::{Cause, ClientError, Phase};
use super::origin::Origin;
use super::pool::Pool;
use super::upload::{Sending, Upload};
use crate::body::Body;
use crate::buffers;
use crate::server::{Address, Upgraded};

/// Limits of exchanges with origin servers, and what they are called where they were set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Longest time for making a connection. Default 60 s.
    pub connect_timeout: Duration,
    /// Longest pause between two writes. Default 60 s.
    pub send_timeout: Duration,
    /// Longest pause between two reads. Default 60 s.
    pub read_timeout: Duration,
    /// Limits of a response head, and how strictly it is read.
    pub head: HeadLimits,
    /// The names of the three times, for messages.
    pub names: Names,
}

/// What the times of [`Settings`] are called where they were set.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// Default `proxy_connect_timeout`.
    pub connect: &'static str,
    /// Default `proxy_send_timeout`.
    pub send: &'static str,
    /// Default `proxy_read_timeout`.
    pub read: &'static str,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            connect: "proxy_connect_timeout",
            send: "proxy_send_timeout",
            read: "proxy_read_timeout",
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self {
            connect_timeout: minute,
            send_timeout: minute,
            read_timeout: minute,
            head: HeadLimits::default(),
            names: Names::default(),
        }
    }
}

/// A request to an origin server, without its content.
#[derive(Clone, Copy)]
pub struct Outgoing<'a> {
    /// Method, target, version and fields, `Connection` and `Host` included, as they are to be sent. `Content-Length` and
    /// `Transfer-Encoding` follow from the content, whatever they say; but that there is none is stated (`Content-Length: 0`) only if
    /// they have a `Content-Length`. Content of unknown length makes it HTTP/1.1.
    pub head: &'a RequestHead,
    /// Told of interim responses (RFC 9110 §15.2), 100 and 103.
    pub interim: Option<&'a (dyn Fn(&ResponseHead) + Send + Sync)>,
}

/// What an origin server answered.
#[derive(Debug)]
pub struct Answer {
    /// The head.
    pub head: ResponseHead,
    /// The content: [`Body::Bytes`] when all of it came with the head.
    pub body: Body,
    /// With status 101: both directions of the connection.
    pub upgraded: Option<Upgraded>,
    /// Whether the connection had carried requests before.
    pub reused: bool,
    /// When the exchange began, was connected and had its response head.
    pub times: Times,
    /// Bytes of the request that were written so far.
    pub sent_bytes: u64,
    /// Bytes of the response head.
    pub head_bytes: u64,
}

/// The milestones of an exchange.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// When it began.
    pub begun: Instant,
    /// When there was a connection (at once when an idle one was used).
    pub connected: Instant,
    /// When the head of the response had come.
    pub head: Instant,
}

impl Pool {
    /// Sends a request to the origin server at `address` and reads the head of its response.
    ///
    /// Uses an idle connection if there is one. When that turns out to be closed before a byte of the response has come, the
    /// request is sent again on a new one, if nothing of it was written or its method is idempotent (RFC 9110 §9.2.2), and if
    /// its content is still whole. The response may come before the request is sent: the rest of that goes on while the
    /// response's content is read.
    ///
    /// `upload` is empty after success. After an error it can be sent to another peer if [`Upload::is_whole`]. Dropping the future
    /// closes the connection.
    ///
    /// # Errors
    /// [`ClientError`]: how far it had come, what happened, and whose fault it is.
    pub async fn exchange(
        &self,
        address: &Address,
        outgoing: Outgoing<'_>,
        upload: &mut Upload,
        settings: &Settings,
    ) -> Result<Answer, ClientError> {
        let begun = Instant::now();
        let mut fresh = false;
        loop {
            let idle = if fresh {
                None
            } else {
                self.idle_for(address, &outgoing.head.method)
            };
            let (mut origin, connected) = match idle {
                Some(origin) => (origin, begun),
                None => (open(address, settings).await?, Instant::now()),
            };
            origin.requests += 1;
            let chunked = upload.length().is_none();
            let content = std::mem::take(upload);
            let length = content.length();
            let sending = Sending::new(content, chunked, |out| {
                encode_head(outgoing.head, length, out);
            });
            let mut attempt = Attempt::new(origin, sending, settings, connected);
            match poll_fn(|cx| attempt.poll(cx, outgoing.interim)).await {
                Ok(used) => {
                    let times = Times {
                        begun,
                        connected,
                        head: Instant::now(),
                    };
                    return attempt.answer(used, self, outgoing.head, times);
                }
                Err(cause) => {
                    let error = attempt.error(cause);
                    *upload = attempt.sending.into_upload();
                    if !(error.is_stale()
                        && upload.is_whole()
                        && may_repeat(&outgoing.head.method, &error))
                    {
                        return Err(error);
                    }
                    fresh = true;
                }
            }
        }
    }

    fn idle_for(&self, address: &Address, method: &Method) -> Option<Box<Origin>> {
        loop {
            let origin = self.take(address)?;
            // What can't be repeated deserves a closer look.
            if method.is_idempotent() || origin.socket.is_quiet() {
                return Some(origin);
            }
        }
    }
}

impl ClientError {
    /// Whether an idle connection turned out to be closed.
    fn is_stale(&self) -> bool {
        self.reused
            && self.received_bytes == 0
            && matches!(self.cause, Cause::Closed | Cause::Io(_))
    }
}

fn may_repeat(method: &Method, error: &ClientError) -> bool {
    method.is_idempotent() || error.nothing_sent()
}

async fn open(address: &Address, settings: &Settings) -> Result<Box<Origin>, ClientError> {
    let cause = match connect(address, settings.connect_timeout).await {
        Ok(Some(socket)) => return Ok(Origin::new(socket, address.clone())),
        Ok(None) => Cause::Timeout {
            limit: settings.connect_timeout,
            setting: settings.names.connect,
        },
        Err(error) => Cause::Io(error),
    };
    Err(ClientError {
        phase: Phase::Connect,
        cause,
        sent_bytes: 0,
        received_bytes: 0,
        reused: false,
    })
}

/// Writes a request head whose framing follows from the length of the content.
fn encode_head(head: &RequestHead, length: Option<u64>, out: &mut Vec<u8>) {
    let version = if length.is_none() {
        Version::Http11
    } else {
        head.version
    };
    // A `Target` was checked when it was made.
    let _ = encode::request_line(&head.method, head.target.as_bytes(), version, out);
    let stated = head.fields.known_names().contains(Known::ContentLength);
    let passes =
        |name: Option<Known>| !matches!(name, Some(Known::ContentLength | Known::TransferEncoding));
    encode::fields_where(&head.fields, |name, _| passes(name.known()), out);
    match length {
        None => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Some(0) if !stated => {}
        Some(length) => encode::content_length(length, out),
    }
    encode::end(out);
}

/// A request on a connection, until the head of its response.
struct Attempt<'a> {
    origin: Box<Origin>,
    sending: Sending,
    settings: &'a Settings,
    sent: bool,
    send_error: Option<std::io::Error>,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are done with: interim responses.
    used: usize,
    parser: ResponseParser,
    head: ResponseHead,
    /// How much had been written and read when the alarm was set.
    progress: (u64, usize),
    /// When there was a connection, for the alarm that is set first.
    connected: Option<Instant>,
}

impl<'a> Attempt<'a> {
    fn new(
        origin: Box<Origin>,
        sending: Sending,
        settings: &'a Settings,
        connected: Instant,
    ) -> Self {
        Self {
            origin,
            sending,
            settings,
            sent: false,
            send_error: None,
            buffer: Vec::new(),
            used: 0,
            parser: ResponseParser::new(settings.head.clone()),
            head: ResponseHead::default(),
            progress: (u64::MAX, 0),
            connected: Some(connected),
        }
    }

    /// Ready with the length of the final head, at the end of `used`.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        interim: Option<&(dyn Fn(&ResponseHead) + Send + Sync)>,
    ) -> Poll<Result<usize, Cause>> {
        self.poll_send(cx)?;
        while let Poll::Ready(read) = self.poll_read(cx) {
            match read {
                Ok(0) => {
                    return Poll::Ready(Err(self
                        .send_error
                        .take()
                        .map_or(Cause::Closed, Cause::Io)));
                }
                Ok(_) => {}
                Err(error) => {
                    return Poll::Ready(Err(Cause::Io(self.send_error.take().unwrap_or(error))));
                }
            }
            if let Some(length) = self.parse(interim)? {
                return Poll::Ready(Ok(length));
            }
        }
        self.poll_alarm(cx).map(Err)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<(), Cause> {
        if self.sent || self.send_error.is_some() {
            return Ok(());
        }
        match self.sending.poll(cx, &self.origin.socket) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.sent = true,
            // The origin server may have answered before it closed.
            Poll::Ready(Err(Cause::Io(error))) => self.send_error = Some(error),
            Poll::Ready(Err(cause)) => return Err(cause),
        }
        Ok(())
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        if self.buffer.capacity() == 0 {
            self.buffer = buffers::large();
        } else if self.buffer.len() == self.buffer.capacity() {
            self.buffer.reserve(buffers::SMALL);
        }
        let result = self.origin.socket.poll_read(cx, &mut self.buffer);
        if result.is_pending() && self.buffer.is_empty() {
            buffers::give_back(std::mem::take(&mut self.buffer));
        }
        result
    }

    /// Passes over interim responses; the length of the final head when it is there.
    fn parse(
        &mut self,
        interim: Option<&(dyn Fn(&ResponseHead) + Send + Sync)>,
    ) -> Result<Option<usize>, Cause> {
        loop {
            let Some(length) = self
                .parser
                .parse(&self.buffer[self.used..], &mut self.head)
                .map_err(Cause::Head)?
            else {
                return Ok(None);
            };
            self.used += length;
            let status = self.head.status;
            if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                return Ok(Some(length));
            }
            if let Some(tell) = interim {
                tell(&self.head);
            }
        }
    }

    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<Cause> {
        let names = self.settings.names;
        let (limit, setting) = if self.sent || self.send_error.is_some() {
            (self.settings.read_timeout, names.read)
        } else if self.sending.waits_for_content() {
            // Whoever sends the content has a limit of its own.
            self.origin.alarm.clear();
            self.connected = None;
            self.progress.0 = u64::MAX;
            return Poll::Pending;
        } else {
            (self.settings.send_timeout, names.send)
        };
        let progress = (self.sending.sent_bytes(), self.buffer.len());
        if self.progress != progress {
            match self.connected.take() {
                Some(connected) => self.origin.alarm.set_from(connected, limit),
                None => self.origin.alarm.set_after(limit),
            }
            self.progress = progress;
        }
        self.origin
            .alarm
            .poll(cx)
            .map(|()| Cause::Timeout { limit, setting })
    }

    fn error(&self, cause: Cause) -> ClientError {
        let phase = match (self.sent, self.buffer.is_empty()) {
            (_, false) => Phase::Head,
            (false, true) => Phase::Send,
            (true, true) => Phase::FirstByte,
        };
        ClientError {
            phase,
            cause,
            sent_bytes: self.sending.sent_bytes(),
            received_bytes: self.buffer.len() as u64,
            reused: self.origin.reused(),
        }
    }

    /// Makes the answer of a head whose length is `length`.
    fn answer(
        mut self,
        length: usize,
        pool: &Pool,
        asked: &RequestHead,
        times: Times,
    ) -> Result<Answer, ClientError> {
        self.origin.alarm.clear();
        let upgrades = self.head.status == StatusCode::SWITCHING_PROTOCOLS;
        if upgrades && !asked.fields.known_names().contains(Known::Upgrade) {
            return Err(self.error(Cause::Unasked));
        }
        let framing = match response_framing(&self.head, &asked.method) {
            Ok(framing) => framing,
            Err(error) => return Err(self.error(Cause::Framing(error))),
        };
        let reused = self.origin.reused();
        let sent_bytes = self.sending.sent_bytes();
        let mut answer = Answer {
            head: self.head,
            body: Body::Empty,
            upgraded: None,
            reused,
            times,
            sent_bytes,
            head_bytes: length as u64,
        };
        let rest = rest(self.buffer, self.used);
        if upgrades {
            answer.upgraded = Some(Upgraded::new(self.origin.socket, rest));
            return Ok(answer);
        }
        let stays = persists(asked.version, &asked.fields)
            && persists(answer.head.version, &answer.head.fields);
        let done = self.sending.is_done();
        let whole = match framing {
            Framing::Empty => Some(0),
            Framing::Length(length) if length <= rest.len() as u64 => Some(length as usize),
            _ => None,
        };
        match whole.filter(|_| done) {
            Some(whole) => {
                if stays && whole == rest.len() {
                    pool.put(self.origin, times.head);
                }
                answer.body = if whole == 0 {
                    Body::Empty
                } else {
                    Body::Bytes(rest.slice(..whole))
                };
            }
            None => {
                let sending = (!done).then(|| Box::new(self.sending));
                let pool = stays.then(|| pool.clone());
                let read = (self.settings.read_timeout, self.settings.names.read);
                answer.body = Body::stream(OriginContent::new(
                    self.origin,
                    pool,
                    sending,
                    framing,
                    rest,
                    read,
                ));
            }
        }
        Ok(answer)
    }
}

/// What came behind the head: few bytes are copied, so that the buffer can be used again at once.
fn rest(buffer: Vec<u8>, used: usize) -> Bytes {
    if buffer.len() - used > buffers::SMALL {
        return buffers::into_bytes(buffer).slice(used..);
    }
    let rest = Bytes::copy_from_slice(&buffer[used..]);
    buffers::give_back(buffer);
    rest
}
