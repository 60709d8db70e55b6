//! One line of a conversation: what is sent, what is expected, what is done.

use super::expect::{Want, repeat};
use crate::unescape;

/// Whose conversation a line belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The client that speaks to the subject.
    Client,
    /// An origin server that the subject speaks to.
    Origin,
    /// Commands, with no server running.
    Commands,
}

/// A part of what is sent: a text, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Text with escapes and placeholders.
    Text(String),
    /// So many bytes of a text.
    Repeat(usize, String),
    /// The same as one chunk of the chunked coding.
    Chunk(usize, String),
}

/// What a log, an output or a file must (not) have: a whole line, or a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LineWant {
    /// `access`, `error`, or a path below the prefix.
    pub(crate) name: String,
    pub(crate) want: Want,
    /// How many lines at least.
    pub(crate) times: usize,
}

/// A step of a conversation. `scenarios/README.md` says what each does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Send(Vec<Piece>),
    Drip(String),
    /// A whole request without content: method and target.
    Ask {
        method: String,
        target: String,
    },
    /// A whole response: status and content.
    Answer {
        status: u16,
        text: String,
    },
    /// A response whose content is the request as it came.
    Echo,
    Status {
        code: u16,
        reason: Option<String>,
    },
    Request(Want),
    Version(String),
    Field {
        name: String,
        wants: Vec<Want>,
    },
    NoField(String),
    Order(Vec<String>),
    Framing(String),
    Part(String),
    Body(Want),
    Trailer {
        name: String,
        want: Want,
    },
    Raw(String),
    Rest(Want),
    Closed,
    ClosedInOrder,
    ResetExpected,
    Save {
        name: String,
        from: Saved,
    },
    Connect {
        name: String,
        to: Option<String>,
    },
    Connection(String),
    On(String),
    HalfClose,
    Close,
    Abort,
    Mark(String),
    Wait(String),
    Always,
    Signal(String),
    /// To every direct child of the server.
    SignalChildren(String),
    /// To a process by its id.
    SignalTo {
        name: String,
        pid: String,
    },
    Exit(i32),
    Log(LineWant),
    NoLog(LineWant),
    File {
        path: String,
        want: Want,
    },
    NoFile(String),
    Write {
        path: String,
        text: String,
    },
    Rename {
        from: String,
        to: String,
    },
    Eventually {
        target: String,
        status: u16,
        want: Option<Want>,
    },
    /// Asks for a target until a log has a line.
    Insist {
        target: String,
        line: LineWant,
    },
    Refused(Option<String>),
    Command(String),
    Result(i32),
    Stdout(Want),
    Stderr(Want),
}

/// Where a saved value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Saved {
    Field(String),
    Body(Option<String>),
    File(String, Option<String>),
}

impl Step {
    /// Reads one line that is not a `|` continuation.
    pub(crate) fn parse(line: &str, role: Role) -> Result<Self, String> {
        if role == Role::Commands && line.starts_with('>') {
            return Err("commands have no connection to send on".to_owned());
        }
        if let Some(text) = line.strip_prefix(">>") {
            return sent(text.strip_prefix(' ').unwrap_or(text).to_owned());
        }
        if let Some(text) = line.strip_prefix('>') {
            return sent(text.strip_prefix(' ').unwrap_or(text).to_owned() + "\\r\\n");
        }
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let step = match role {
            Role::Commands => None,
            Role::Client => client_step(word, rest)?.or(talk_step(word, rest)?),
            Role::Origin => origin_step(word, rest)?.or(talk_step(word, rest)?),
        };
        let step = match (step, role) {
            (None, Role::Client | Role::Commands) => command_step(word, rest)?,
            (step, _) => step,
        };
        step.ok_or_else(|| format!("unknown step \"{word}\" in {}", role.words()))
    }

    /// Adds a `| …` line.
    pub(crate) fn extend(&mut self, line: &str) -> Result<(), String> {
        unescape(line).map_err(|error| error.to_string())?;
        match self {
            Step::Body(want @ Want::Empty) => *want = Want::Exact(format!("{line}\\n")),
            Step::Body(Want::Exact(text)) => text.push_str(&format!("{line}\\n")),
            Step::Write { text, .. } => text.push_str(&format!("{line}\\n")),
            _ => return Err("a \"|\" line belongs below \"body\" or \"write\"".to_owned()),
        }
        Ok(())
    }

    /// Whether this step begins the next message, so that field lines after it are about another one.
    pub(crate) fn begins_message(&self) -> bool {
        matches!(self, Step::Status { .. } | Step::Request(_) | Step::On(_))
    }
}

impl Role {
    fn words(self) -> &'static str {
        match self {
            Role::Client => "a client's conversation",
            Role::Origin => "an origin server's conversation",
            Role::Commands => "commands",
        }
    }
}

fn sent(text: String) -> Result<Step, String> {
    unescape(&text).map_err(|error| error.to_string())?;
    Ok(Step::Send(vec![Piece::Text(text)]))
}

/// Steps that both sides of a connection know.
fn talk_step(word: &str, rest: &str) -> Result<Option<Step>, String> {
    Ok(Some(match word {
        "send" => Step::Send(vec![piece(rest)?]),
        "drip" => match sent(rest.to_owned())? {
            Step::Send(_) => Step::Drip(rest.to_owned()),
            other => other,
        },
        "version" => Step::Version(one(word, rest)?),
        "field" => {
            let (name, want) = named_want(rest)?;
            Step::Field {
                name,
                wants: vec![want],
            }
        }
        "no" => return no_step(rest).map(Some),
        "order" => Step::Order(rest.split_whitespace().map(str::to_owned).collect()),
        "framing" => match rest {
            "none" | "length" | "chunked" | "close" => Step::Framing(rest.to_owned()),
            _ => {
                return Err(format!(
                    "\"framing\" takes none, length, chunked or close, got \"{rest}\""
                ));
            }
        },
        "part" => {
            Want::exact(rest)?;
            Step::Part(unquoted(rest))
        }
        "body" if rest.is_empty() => Step::Body(Want::Empty),
        "body" => Step::Body(Want::parse(rest)?),
        "trailer" => {
            let (name, want) = named_want(rest)?;
            Step::Trailer { name, want }
        }
        "raw" => {
            Want::exact(rest)?;
            Step::Raw(unquoted(rest))
        }
        "rest" => Step::Rest(Want::parse(rest)?),
        "closed" if rest == "in order" => Step::ClosedInOrder,
        "closed" => alone(word, rest, Step::Closed)?,
        "reset" => alone(word, rest, Step::ResetExpected)?,
        "on" => Step::On(one(word, rest)?),
        "half-close" => alone(word, rest, Step::HalfClose)?,
        "close" => alone(word, rest, Step::Close)?,
        "abort" => alone(word, rest, Step::Abort)?,
        "mark" => Step::Mark(one(word, rest)?),
        "wait" => Step::Wait(one(word, rest)?),
        _ => return Ok(None),
    }))
}

fn client_step(word: &str, rest: &str) -> Result<Option<Step>, String> {
    Ok(Some(match word {
        "status" => status(rest)?,
        "get" | "head" => {
            unescape(rest).map_err(|error| error.to_string())?;
            Step::Ask {
                method: word.to_uppercase(),
                target: one(word, rest)?,
            }
        }
        "save" => save(rest)?,
        "connect" => {
            let (name, to) = rest
                .split_once(" to ")
                .map_or((rest, None), |(name, to)| (name, Some(to.trim())));
            Step::Connect {
                name: one(word, name)?,
                to: to.map(str::to_owned),
            }
        }
        "signal" => match rest.strip_suffix(" children") {
            Some(name) => Step::SignalChildren(one(word, name)?),
            None => match rest.split_once(" to ") {
                Some((name, pid)) => Step::SignalTo {
                    name: one(word, name)?,
                    pid: one(word, pid)?,
                },
                None => Step::Signal(one(word, rest)?),
            },
        },
        "reload" => alone(word, rest, Step::Signal("HUP".to_owned()))?,
        "exit" => Step::Exit(
            rest.parse()
                .map_err(|_| format!("\"exit\" takes a code, got \"{rest}\""))?,
        ),
        "log" => Step::Log(line_want(rest)?),
        "eventually" => eventually(rest)?,
        "insist" => match rest.split_once(" log ") {
            Some((target, line)) => Step::Insist {
                target: one(word, target)?,
                line: line_want(line)?,
            },
            None => {
                return Err(format!(
                    "write it as: insist TARGET log NAME ~ PATTERN, got \"{rest}\""
                ));
            }
        },
        "refused" => Step::Refused((!rest.is_empty()).then(|| rest.to_owned())),
        _ => return Ok(None),
    }))
}

fn origin_step(word: &str, rest: &str) -> Result<Option<Step>, String> {
    Ok(Some(match word {
        "request" => Step::Request(match rest.strip_prefix("~ ") {
            Some(pattern) => Want::pattern(pattern)?,
            None => Want::exact(rest)?,
        }),
        "connection" => Step::Connection(one(word, rest)?),
        "echo" => alone(word, rest, Step::Echo)?,
        "answer" => {
            let (status, text) = rest.split_once(' ').unwrap_or((rest, ""));
            let status = status
                .parse()
                .map_err(|_| format!("write it as: answer STATUS [TEXT], got \"{rest}\""))?;
            unescape(text).map_err(|error| error.to_string())?;
            Step::Answer {
                status,
                text: text.to_owned(),
            }
        }
        "always" => alone(word, rest, Step::Always)?,
        _ => return Ok(None),
    }))
}

/// Steps of commands and of clients: the program's own command line, and files.
fn command_step(word: &str, rest: &str) -> Result<Option<Step>, String> {
    Ok(Some(match word {
        "command" => Step::Command(rest.to_owned()),
        "result" => Step::Result(
            rest.parse()
                .map_err(|_| format!("\"result\" takes a code, got \"{rest}\""))?,
        ),
        "stdout" => Step::Stdout(Want::parse(rest)?),
        "stderr" => Step::Stderr(Want::parse(rest)?),
        "file" => {
            let (path, want) = named_want(rest)?;
            Step::File { path, want }
        }
        "no" => match rest.strip_prefix("file ") {
            Some(path) => Step::NoFile(path.to_owned()),
            None => return Err(format!("unknown step \"no {rest}\" in commands")),
        },
        "write" => Step::Write {
            path: one(word, rest)?,
            text: String::new(),
        },
        "rename" => match rest.split_once(" to ") {
            Some((from, to)) => Step::Rename {
                from: from.trim().to_owned(),
                to: to.trim().to_owned(),
            },
            None => return Err("write it as: rename PATH to PATH".to_owned()),
        },
        _ => return Ok(None),
    }))
}

fn no_step(rest: &str) -> Result<Step, String> {
    match rest.split_once(' ') {
        Some(("field", name)) => Ok(Step::NoField(name.trim().to_owned())),
        Some(("log", want)) => Ok(Step::NoLog(line_want(want)?)),
        Some(("file", path)) => Ok(Step::NoFile(path.trim().to_owned())),
        _ => Err(format!(
            "\"no\" is followed by field, log or file, got \"{rest}\""
        )),
    }
}

fn status(rest: &str) -> Result<Step, String> {
    let (code, reason) = rest
        .split_once(' ')
        .map_or((rest, None), |(code, reason)| (code, Some(reason)));
    match code.parse() {
        Ok(code @ 100..=999) => Ok(Step::Status {
            code,
            reason: reason.map(|reason| reason.trim().to_owned()),
        }),
        _ => Err(format!("\"status\" takes a code, got \"{code}\"")),
    }
}

fn save(rest: &str) -> Result<Step, String> {
    let form = || "write it as: save NAME field FIELD, save NAME body [~ PATTERN] or save NAME file PATH [~ PATTERN]";
    let (name, from) = rest.split_once(' ').ok_or_else(form)?;
    let (from, pattern) = from
        .split_once(" ~ ")
        .map_or((from, None), |(from, pattern)| {
            (from, Some(pattern.to_owned()))
        });
    if let Some(pattern) = &pattern {
        Want::pattern(pattern)?;
    }
    let from = match (from.trim().split_once(' '), from.trim(), pattern) {
        (Some(("field", field)), _, None) => Saved::Field(field.to_owned()),
        (Some(("file", path)), _, pattern) => Saved::File(path.to_owned(), pattern),
        (None, "body", pattern) => Saved::Body(pattern),
        _ => return Err(form().to_owned()),
    };
    Ok(Step::Save {
        name: name.to_owned(),
        from,
    })
}

fn eventually(rest: &str) -> Result<Step, String> {
    let mut words = rest.splitn(3, ' ');
    let target = words.next().unwrap_or_default().to_owned();
    let code = words.next().unwrap_or_default();
    let status = code
        .parse()
        .map_err(|_| format!("write it as: eventually TARGET STATUS [BODY], got \"{rest}\""))?;
    let want = words.next().map(Want::parse).transpose()?;
    Ok(Step::Eventually {
        target,
        status,
        want,
    })
}

fn piece(rest: &str) -> Result<Piece, String> {
    let (chunk, text) = rest
        .strip_prefix("chunk ")
        .map_or((false, rest), |text| (true, text));
    let piece = match repeat(text) {
        Some((size, text)) if chunk => Piece::Chunk(size, text),
        Some((size, text)) => Piece::Repeat(size, text),
        None if chunk => {
            let bytes = unescape(&unquoted(text)).map_err(|error| error.to_string())?;
            Piece::Chunk(bytes.len(), unquoted(text))
        }
        None => Piece::Text(unquoted(text)),
    };
    let (Piece::Text(text) | Piece::Repeat(_, text) | Piece::Chunk(_, text)) = &piece;
    unescape(text).map_err(|error| error.to_string())?;
    Ok(piece)
}

/// `NAME: exact` or `NAME ~ pattern`.
fn named_want(text: &str) -> Result<(String, Want), String> {
    let end = text
        .find([':', ' '])
        .ok_or_else(|| format!("write \"{text}\" as NAME: VALUE or NAME ~ PATTERN"))?;
    let (name, rest) = text.split_at(end);
    if let Some(value) = rest.strip_prefix(':') {
        // Not `Want::exact`: quotes are part of many fields' values.
        unescape(value).map_err(|error| error.to_string())?;
        return Ok((name.to_owned(), Want::Exact(value.trim().to_owned())));
    }
    match rest.trim_start().strip_prefix("~ ") {
        Some(pattern) => Ok((name.to_owned(), Want::pattern(pattern.trim())?)),
        None => Ok((name.to_owned(), Want::parse(rest.trim())?)),
    }
}

/// `NAME: line`, `NAME ~ pattern` or `NAME 3x ~ pattern`.
fn line_want(text: &str) -> Result<LineWant, String> {
    let (name, rest) = text
        .split_once([' ', ':'])
        .ok_or("name a log and what its line is")?;
    let counted = rest
        .trim_start()
        .split_once("x ")
        .and_then(|(n, rest)| Some((n.parse::<usize>().ok()?, rest)));
    let (times, rest) = counted.unwrap_or((1, rest));
    let want = match rest.trim_start().strip_prefix("~ ") {
        Some(pattern) => Want::pattern(pattern)?,
        None => Want::exact(rest.trim_start())?,
    };
    Ok(LineWant {
        name: name.to_owned(),
        want,
        times,
    })
}

fn unquoted(text: &str) -> String {
    text.strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text)
        .to_owned()
}

fn one(word: &str, rest: &str) -> Result<String, String> {
    let rest = rest.trim();
    if rest.is_empty() || rest.contains(char::is_whitespace) {
        return Err(format!("\"{word}\" takes one word, got \"{rest}\""));
    }
    Ok(rest.to_owned())
}

fn alone(word: &str, rest: &str, step: Step) -> Result<Step, String> {
    if rest.is_empty() {
        Ok(step)
    } else {
        Err(format!("\"{word}\" stands alone, got \"{rest}\" after it"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(line: &str) -> Step {
        Step::parse(line, Role::Client).unwrap()
    }

    #[test]
    fn sent_lines_end_in_crlf_or_not() {
        assert_eq!(
            client("> GET / HTTP/1.1"),
            Step::Send(vec![Piece::Text("GET / HTTP/1.1\\r\\n".into())])
        );
        assert_eq!(client(">"), Step::Send(vec![Piece::Text("\\r\\n".into())]));
        assert_eq!(client(">>  a"), Step::Send(vec![Piece::Text(" a".into())]));
        assert_eq!(
            client("send 4k of ab"),
            Step::Send(vec![Piece::Repeat(4096, "ab".into())])
        );
        assert_eq!(
            client("send chunk abc"),
            Step::Send(vec![Piece::Chunk(3, "abc".into())])
        );
    }

    #[test]
    fn expectations_have_exact_and_pattern_forms() {
        assert_eq!(
            client("status 404 Not Found"),
            Step::Status {
                code: 404,
                reason: Some("Not Found".into())
            }
        );
        let exact = Step::Field {
            name: "ETag".into(),
            wants: vec![Want::Exact("\\\\a".into())],
        };
        assert_eq!(client("field ETag: \\\\a"), exact);
        let pattern = Step::Field {
            name: "Date".into(),
            wants: vec![Want::Pattern("GMT$".into())],
        };
        assert_eq!(client("field Date ~ GMT$"), pattern);
        assert_eq!(client("no field X"), Step::NoField("X".into()));
        let log = LineWant {
            name: "error".into(),
            want: Want::Pattern("a b".into()),
            times: 2,
        };
        assert_eq!(client("log error 2x ~ a b"), Step::Log(log));
    }

    #[test]
    fn roles_know_their_own_steps() {
        assert!(Step::parse("status 200", Role::Origin).is_err());
        assert!(Step::parse("request GET / HTTP/1.1", Role::Client).is_err());
        assert!(Step::parse("> x", Role::Commands).is_err());
        assert!(Step::parse("status 200", Role::Commands).is_err());
        assert!(Step::parse("result 1", Role::Commands).is_ok());
        let error = Step::parse("sattus 200", Role::Client).unwrap_err();
        assert_eq!(error, "unknown step \"sattus\" in a client's conversation");
    }

    #[test]
    fn bodies_may_have_several_lines() {
        let mut step = client("body");
        step.extend("a").unwrap();
        step.extend("b").unwrap();
        assert_eq!(step, Step::Body(Want::Exact("a\\nb\\n".into())));
        assert!(client("closed").extend("a").is_err());
    }

    #[test]
    fn nonsense_is_refused_with_its_words() {
        for line in [
            "status abc",
            "framing x",
            "closed now",
            "save a",
            "save a b c",
            "eventually /",
            "connect",
            "field x",
        ] {
            assert!(Step::parse(line, Role::Client).is_err(), "{line}");
        }
    }
}
