//! gunicorn's `access_log_format`, compiled.

/// The word for [`JSON_LINE`].
const JSON: &str = "json";
/// An object with everything that is usual.
const JSON_LINE: &str = concat!(
    r#"{"time": "%(t)s", "remote_addr": "%(h)s", "user": "%(u)s", "method": "%(m)s", "path": "%(U)s", "query": "%(q)s", "#,
    r#""protocol": "%(H)s", "status": %(s)s, "bytes": %(B)s, "duration": %(L)s, "queue_time": %(queue_time)s, "#,
    r#""referer": "%(f)s", "user_agent": "%(a)s", "request_id": "%(request_id)s", "pid": "%(p)s", "worker_id": %(worker_id)s}"#,
);

/// A compiled format.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Format {
    pub parts: Vec<Part>,
    /// Values are written as JSON has them between quotes.
    pub json: bool,
    /// The environ values that it needs, in the order in which they are numbered.
    pub environ: Vec<String>,
    /// It needs the response's fields.
    pub fields: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Text(String),
    Atom {
        what: Atom,
        width: usize,
        left: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Atom {
    Host,
    Dash,
    User,
    Time,
    RequestLine,
    Status,
    Method,
    Path,
    Query,
    Protocol,
    Bytes,
    Referer,
    UserAgent,
    Seconds,
    Microseconds,
    Milliseconds,
    DecimalSeconds,
    Process,
    QueueTime,
    WorkerId,
    RequestId,
    RequestField(String),
    ResponseField(String),
    Environ(usize),
}

impl Format {
    /// Reads a format: Python's `%(name)s`, with names of one letter, `{name}i`, `{name}o` and `{name}e`, and our own `queue_time`,
    /// `worker_id` and `request_id`. `json` stands for an object with everything that is usual, and what begins with `{` is taken
    /// for one: values are escaped as JSON wants it.
    ///
    /// # Errors
    /// In words, with the place.
    pub fn read(text: &str) -> Result<Self, String> {
        let text = if text == JSON { JSON_LINE } else { text };
        let mut format = Self {
            parts: Vec::new(),
            json: text.starts_with('{'),
            environ: Vec::new(),
            fields: false,
        };
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            format.text(&rest[..at]);
            let after = &rest[at + 1..];
            if let Some(after) = after.strip_prefix('%') {
                format.text("%");
                rest = after;
                continue;
            }
            let place = text.len() - rest.len() + at + 1;
            let fault =
                |what: &str| format!("access_log_format: {what} at character {place} of {text:?}");
            let (name, after) = after
                .strip_prefix('(')
                .and_then(|inner| inner.split_once(')'))
                .ok_or_else(|| fault("\"%\" without \"(name)\" (\"%%\" is a percent sign)"))?;
            let digits = after
                .find(|c: char| !matches!(c, '-' | '+' | ' ' | '#' | '0'..='9' | '.'))
                .unwrap_or(after.len());
            let (flags, after) = after.split_at(digits);
            if !after.starts_with(['s', 'd', 'i', 'u', 'r', 'a']) {
                return Err(fault(&format!(
                    "\"%({name})\" is not followed by \"s\" or \"d\""
                )));
            }
            let width = flags.trim_start_matches(['-', '+', ' ', '#', '0']);
            let width = width
                .split('.')
                .next()
                .unwrap_or_default()
                .parse()
                .unwrap_or(0);
            let what = format.atom(name);
            format.parts.push(Part::Atom {
                what,
                width,
                left: flags.contains('-'),
            });
            rest = &after[1..];
        }
        format.text(rest);
        Ok(format)
    }

    fn text(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Text(before)) => before.push_str(text),
            _ => self.parts.push(Part::Text(text.to_owned())),
        }
    }

    /// Is the time that a request waits for the application needed?
    pub fn needs_queue_time(&self) -> bool {
        self.parts.iter().any(|part| {
            matches!(
                part,
                Part::Atom {
                    what: Atom::QueueTime,
                    ..
                }
            )
        })
    }

    /// The atom of a name; a name that does not exist is a dash, as with gunicorn.
    fn atom(&mut self, name: &str) -> Atom {
        let inner = |letter: &str| {
            let name = name.strip_prefix('{')?;
            let (name, kind) = name.split_at_checked(name.len().checked_sub(2)?)?;
            (kind.strip_prefix('}')?.eq_ignore_ascii_case(letter)).then(|| name.to_owned())
        };
        if let Some(field) = inner("i") {
            return Atom::RequestField(field);
        }
        if let Some(field) = inner("o") {
            self.fields = true;
            return Atom::ResponseField(field);
        }
        if let Some(key) = inner("e") {
            self.environ.push(key);
            return Atom::Environ(self.environ.len() - 1);
        }
        match name {
            "h" => Atom::Host,
            "u" => Atom::User,
            "t" => Atom::Time,
            "r" => Atom::RequestLine,
            "s" => Atom::Status,
            "m" => Atom::Method,
            "U" => Atom::Path,
            "q" => Atom::Query,
            "H" => Atom::Protocol,
            "b" | "B" => Atom::Bytes,
            "f" => Atom::Referer,
            "a" => Atom::UserAgent,
            "T" => Atom::Seconds,
            "D" => Atom::Microseconds,
            "M" => Atom::Milliseconds,
            "L" => Atom::DecimalSeconds,
            "p" => Atom::Process,
            "queue_time" => Atom::QueueTime,
            "worker_id" => Atom::WorkerId,
            "request_id" => Atom::RequestId,
            _ => Atom::Dash,
        }
    }
}
