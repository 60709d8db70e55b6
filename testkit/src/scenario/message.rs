//! A connection with the message that is being looked at: what client and origin conversations have in common.

use std::collections::VecDeque;
use std::path::Path;

use super::expect::{Want, repeated};
use super::step::{Piece, Step};
use super::vars::Vars;
use crate::http::{Content, Framing, Head, methods, status_code};
use crate::{Ending, Wire, WireError, show};

/// A connection of a conversation.
#[derive(Debug)]
pub(crate) struct Talk {
    /// `None` after it was closed from this side.
    wire: Option<Wire>,
    /// Methods of the requests whose responses have not come yet.
    asked: VecDeque<String>,
    message: Option<Message>,
}

/// The message whose head came last.
#[derive(Debug)]
struct Message {
    head: Head,
    content: Content,
    /// The content, once a step asked for all of it.
    body: Option<Vec<u8>>,
}

/// What a step may need to know.
pub(crate) struct Context<'a> {
    pub(crate) vars: &'a Vars,
    pub(crate) prefix: &'a Path,
}

impl From<WireError> for String {
    fn from(error: WireError) -> Self {
        error.to_string()
    }
}

impl Talk {
    pub(crate) fn new(wire: Wire) -> Self {
        Talk {
            wire: Some(wire),
            asked: VecDeque::new(),
            message: None,
        }
    }

    /// Does a step that both sides of a connection know; `None` for any other.
    pub(crate) fn step(
        &mut self,
        step: &Step,
        context: &Context<'_>,
    ) -> Option<Result<(), String>> {
        Some(match step {
            Step::Send(pieces) => self.send(pieces, context),
            Step::Drip(text) => self.drip(text, context),
            Step::Ask { method, target } => self.ask(method, target, context),
            Step::Answer { status, text } => self.answer(*status, text, context),
            Step::Echo => self.echo(),
            Step::Version(version) => self.version(version),
            Step::Field { name, wants } => self.fields(name, wants, context),
            Step::NoField(name) => self.no_field(name),
            Step::Order(names) => self.order(names),
            Step::Framing(word) => self.framing(word),
            Step::Part(text) => self.part(text, context),
            Step::Body(want) => self
                .body()
                .and_then(|body| want.check("the content", &body, context.vars, context.prefix)),
            Step::Trailer { name, want } => self.trailer(name, want, context),
            Step::Raw(text) => self.raw(text, context),
            Step::Rest(want) => self.rest(want, context),
            Step::Closed => self.ended(&[Ending::Closed, Ending::Reset]),
            Step::ClosedInOrder => self.ended(&[Ending::Closed]),
            Step::ResetExpected => self.ended(&[Ending::Reset]),
            Step::HalfClose => self.wire().and_then(|wire| Ok(wire.half_close()?)),
            Step::Close => self.take_wire().map(Wire::close),
            Step::Abort => self.take_wire().and_then(|wire| Ok(wire.reset()?)),
            _ => return None,
        })
    }

    /// Reads the head of the next response; what is left of the one before is skipped.
    pub(crate) fn begin_response(&mut self, code: u16, reason: Option<&str>) -> Result<(), String> {
        self.finish()?;
        let head = Head::receive(self.wire()?, &format!("a response head (status {code})"))?;
        let status = status_code(&head.line)?;
        let interim = status < 200 && status != 101;
        let method = if interim {
            self.asked.front().cloned()
        } else {
            self.asked.pop_front()
        };
        let framing = Framing::of_response(&head, status, method.as_deref().unwrap_or("GET"))?;
        let line = show(&head.line);
        self.message = Some(Message {
            head,
            content: Content::new(framing),
            body: None,
        });
        if status != code {
            // The content of an error page often says why.
            let body = self.body().unwrap_or_default();
            return Err(format!(
                "status {code} was expected, got \"{line}\"\n  content \"{}\"",
                show(&body)
            ));
        }
        match (reason, line.splitn(3, ' ').nth(2)) {
            (Some(want), got) if got.unwrap_or_default() != want => {
                Err(format!("reason \"{want}\" was expected, got \"{line}\""))
            }
            _ => Ok(()),
        }
    }

    /// Reads the head of the next request.
    pub(crate) fn begin_request(
        &mut self,
        want: &Want,
        context: &Context<'_>,
    ) -> Result<(), String> {
        self.finish()?;
        let head = Head::receive(self.wire()?, "a request head")?;
        let framing = Framing::of_request(&head)?;
        let line = head.line.clone();
        self.message = Some(Message {
            head,
            content: Content::new(framing),
            body: None,
        });
        want.check("the request line", &line, context.vars, context.prefix)
    }

    /// Whether the other side ended the connection instead of beginning another message.
    pub(crate) fn idle_until_end(&mut self) -> Result<bool, String> {
        self.finish()?;
        let wire = self.wire()?;
        if !wire.pending().is_empty() {
            return Ok(false);
        }
        let first = wire.take_some("another request or the end of the connection")?;
        if first.is_empty() {
            return Ok(true);
        }
        wire.give_back(&first);
        Ok(false)
    }

    /// What came and nobody looked at.
    pub(crate) fn leftover(&mut self) -> &[u8] {
        let Some(wire) = &mut self.wire else {
            return &[];
        };
        wire.poll();
        if let Some(Message { content, .. }) = &mut self.message {
            let counted = matches!(content.framing(), Framing::Length(_));
            while counted && !content.finished() && !wire.pending().is_empty() {
                if content.next(wire).is_err() {
                    break;
                }
            }
            if !content.finished() {
                return &[];
            }
        }
        wire.pending()
    }

    /// Closes a connection whose last answer was its last one, as any client does: some servers wait for it.
    pub(crate) fn close_when_over(&mut self) {
        let over = |message: &Message| {
            message.content.finished() && message.head.has_token("Connection", "close")
        };
        if self.asked.is_empty()
            && self.message.as_ref().is_some_and(over)
            && self.leftover().is_empty()
        {
            self.wire = None;
        }
    }

    /// A field of the message, for `save`.
    pub(crate) fn field(&mut self, name: &str) -> Result<String, String> {
        let message = self.message()?;
        message
            .head
            .field(name)
            .ok_or_else(|| format!("there is no field {name} to save"))
    }

    /// All of the message's content.
    pub(crate) fn body(&mut self) -> Result<Vec<u8>, String> {
        let (wire, message) = self.both()?;
        if message.body.is_none() {
            message.body = Some(message.content.rest(wire)?);
        }
        Ok(message.body.clone().unwrap_or_default())
    }

    fn send(&mut self, pieces: &[Piece], context: &Context<'_>) -> Result<(), String> {
        let mut bytes = Vec::new();
        for piece in pieces {
            let (Piece::Text(text) | Piece::Repeat(_, text) | Piece::Chunk(_, text)) = piece;
            let text = context
                .vars
                .bytes(text)
                .map_err(|error| error.to_string())?;
            match piece {
                Piece::Text(_) => bytes.extend(text),
                Piece::Repeat(size, _) => bytes.extend(repeated(*size, &text)),
                Piece::Chunk(size, _) => {
                    bytes.extend(format!("{size:x}\r\n").into_bytes());
                    bytes.extend(repeated(*size, &text));
                    bytes.extend(b"\r\n");
                }
            }
        }
        self.put(&bytes, |wire, bytes| wire.send(bytes))
    }

    fn drip(&mut self, text: &str, context: &Context<'_>) -> Result<(), String> {
        let bytes = context
            .vars
            .bytes(text)
            .map_err(|error| error.to_string())?;
        self.put(&bytes, Wire::drip)
    }

    fn ask(&mut self, method: &str, target: &str, context: &Context<'_>) -> Result<(), String> {
        let target = context
            .vars
            .bytes(target)
            .map_err(|error| error.to_string())?;
        let head = [
            method.as_bytes(),
            b" ",
            &target,
            b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ]
        .concat();
        self.put(&head, |wire, bytes| wire.send(bytes))
    }

    fn answer(&mut self, status: u16, text: &str, context: &Context<'_>) -> Result<(), String> {
        self.finish()?;
        let content = context
            .vars
            .bytes(text)
            .map_err(|error| error.to_string())?;
        self.respond(status, &content)
    }

    /// Answers with the request as it came: its head with plain line ends, an empty line, its content.
    fn echo(&mut self) -> Result<(), String> {
        let body = self.body()?;
        let head = &self.message()?.head;
        let mut content = [&head.line[..], b"\n"].concat();
        for (name, value) in &head.fields {
            content.extend([name.as_bytes(), b": ", value, b"\n"].concat());
        }
        content.push(b'\n');
        content.extend(body);
        self.respond(200, &content)
    }

    /// A response with content; without any where the request or the status says so.
    fn respond(&mut self, status: u16, content: &[u8]) -> Result<(), String> {
        let head_only = self
            .message
            .as_ref()
            .is_some_and(|message| message.head.line.starts_with(b"HEAD "));
        let length = content.len();
        let head = format!(
            "HTTP/1.1 {status} Status\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"
        );
        let content = if head_only { &[] } else { content };
        self.put(&[head.as_bytes(), content].concat(), |wire, bytes| {
            wire.send(bytes)
        })
    }

    /// Sends; that the other side has gone is no failure of its own: what it said before is what the next steps look at.
    fn put(
        &mut self,
        bytes: &[u8],
        how: fn(&mut Wire, &[u8]) -> Result<(), WireError>,
    ) -> Result<(), String> {
        self.asked.extend(methods(bytes));
        let wire = self.wire()?;
        match how(wire, bytes) {
            Err(WireError::Io(error)) => {
                wire.note(&format!("> not sent: {error}"));
                Ok(())
            }
            other => Ok(other?),
        }
    }

    fn version(&mut self, version: &str) -> Result<(), String> {
        let line = show(&self.message()?.head.line);
        if line.contains(&format!("HTTP/{version}")) {
            return Ok(());
        }
        Err(format!("version {version} was expected, got \"{line}\""))
    }

    fn fields(&mut self, name: &str, wants: &[Want], context: &Context<'_>) -> Result<(), String> {
        let message = self.message()?;
        let got: Vec<&[u8]> = message.head.all(name).collect();
        for (at, want) in wants.iter().enumerate() {
            let value = got
                .get(at)
                .ok_or_else(|| missing(name, at, &message.head))?;
            want.check(
                &format!("field {name}"),
                value,
                context.vars,
                context.prefix,
            )?;
        }
        match got.get(wants.len()) {
            Some(value) => Err(format!(
                "there is one more field {name}: \"{}\"",
                show(value)
            )),
            None => Ok(()),
        }
    }

    fn no_field(&mut self, name: &str) -> Result<(), String> {
        match self.message()?.head.all(name).next() {
            Some(value) => Err(format!(
                "no field {name} was expected, got \"{}\"",
                show(value)
            )),
            None => Ok(()),
        }
    }

    fn order(&mut self, names: &[String]) -> Result<(), String> {
        let head = &self.message()?.head;
        let wanted = |name: &&str| names.iter().any(|want| want.eq_ignore_ascii_case(name));
        let got: Vec<&str> = head
            .fields
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(wanted)
            .collect();
        if got == *names {
            return Ok(());
        }
        Err(format!(
            "fields {} were expected in this order and spelling, got {}",
            names.join(" "),
            got.join(" ")
        ))
    }

    fn framing(&mut self, word: &str) -> Result<(), String> {
        let got = self.message()?.content.framing().word();
        if got == word {
            Ok(())
        } else {
            Err(format!("framing {word} was expected, got {got}"))
        }
    }

    /// The next bytes of the content, as soon as they are there.
    fn part(&mut self, text: &str, context: &Context<'_>) -> Result<(), String> {
        let want = context
            .vars
            .bytes(text)
            .map_err(|error| error.to_string())?;
        let (wire, message) = self.both()?;
        let mut got = message.body.take().unwrap_or_default();
        while got.len() < want.len() && !message.content.finished() {
            got.extend(message.content.next(wire)?);
        }
        if !got.starts_with(&want) {
            return Err(format!(
                "the next content should be \"{}\"\n  got  \"{}\"",
                show(&want),
                show(&got)
            ));
        }
        let ahead = got.split_off(want.len());
        if !ahead.is_empty() {
            return Err(format!(
                "after \"{}\" more content came at once: \"{}\"",
                show(&want),
                show(&ahead)
            ));
        }
        Ok(())
    }

    fn trailer(&mut self, name: &str, want: &Want, context: &Context<'_>) -> Result<(), String> {
        self.body()?;
        let trailers = &self.message()?.content.trailers;
        let found = trailers
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name));
        let (_, value) = found.ok_or_else(|| format!("trailer {name} is missing"))?;
        want.check(
            &format!("trailer {name}"),
            value,
            context.vars,
            context.prefix,
        )
    }

    fn raw(&mut self, text: &str, context: &Context<'_>) -> Result<(), String> {
        let want = context
            .vars
            .bytes(text)
            .map_err(|error| error.to_string())?;
        let got = self
            .wire()?
            .take(want.len(), &format!("\"{}\"", show(&want)))?;
        if got == want {
            Ok(())
        } else {
            Err(format!(
                "\"{}\" was expected, got \"{}\"",
                show(&want),
                show(&got)
            ))
        }
    }

    fn rest(&mut self, want: &Want, context: &Context<'_>) -> Result<(), String> {
        let (got, _) = self.wire()?.take_rest()?;
        want.check(
            "what came until the end",
            &got,
            context.vars,
            context.prefix,
        )
    }

    fn ended(&mut self, endings: &[Ending]) -> Result<(), String> {
        self.finish()?;
        let (rest, ending) = self.wire()?.take_rest()?;
        if !rest.is_empty() {
            return Err(format!(
                "the end of the connection was expected, but before it came \"{}\"",
                show(&rest)
            ));
        }
        if !endings.contains(&ending) {
            return Err(format!("the connection ended otherwise: {ending:?}"));
        }
        self.wire = None;
        Ok(())
    }

    /// Skips what is left of the content, unless the connection is a tunnel now.
    fn finish(&mut self) -> Result<(), String> {
        if self.message.is_some() && self.wire.is_some() {
            let (wire, message) = self.both()?;
            message.content.rest(wire)?;
        }
        Ok(())
    }

    fn message(&mut self) -> Result<&mut Message, String> {
        self.message
            .as_mut()
            .ok_or_else(|| "no message has come yet: expect its status or request first".to_owned())
    }

    fn both(&mut self) -> Result<(&mut Wire, &mut Message), String> {
        match (&mut self.wire, &mut self.message) {
            (Some(wire), Some(message)) => Ok((wire, message)),
            (None, _) => Err("the connection was closed by this side".to_owned()),
            (_, None) => {
                Err("no message has come yet: expect its status or request first".to_owned())
            }
        }
    }

    fn wire(&mut self) -> Result<&mut Wire, String> {
        self.wire
            .as_mut()
            .ok_or_else(|| "the connection was closed by this side".to_owned())
    }

    fn take_wire(&mut self) -> Result<Wire, String> {
        self.message = None;
        self.wire
            .take()
            .ok_or_else(|| "the connection was closed by this side".to_owned())
    }
}

fn missing(name: &str, at: usize, head: &Head) -> String {
    let names: Vec<_> = head.fields.iter().map(|(name, _)| name.as_str()).collect();
    match at {
        0 => format!("field {name} is missing; there are {}", names.join(", ")),
        _ => format!("there are only {at} fields {name}"),
    }
}
