//! Text with variables: `$scheme://$host${uri}`, captures `$1` to `$9`. Parsed when the file is read, compiled when the
//! variables are known, expanded for each request by appending to a buffer.

use crate::arg::Arg;
use crate::fault::Fault;
use crate::span::Span;
use crate::suggest;

/// Parsed text with variables.
///
/// ```
/// use nginx_conf::{Reference, Template};
/// let template = Template::parse("$scheme://$host$1").unwrap();
/// let compiled = template.compile(&mut |name: Reference<'_>| match name {
///     Reference::Variable("scheme") => Some("https"),
///     Reference::Variable("host") => Some("example.com"),
///     Reference::Capture(1) => Some("/x"),
///     _ => None,
/// }).unwrap();
/// let mut out = Vec::new();
/// compiled.expand(&mut out, |value, out| out.extend_from_slice(value.as_bytes()));
/// assert_eq!(out, b"https://example.com/x");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template {
    source: String,
    parts: Vec<Part>,
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text that stays as it is.
    Literal(String),
    /// `$name` or `${name}`.
    Variable {
        /// Without `$` and braces.
        name: String,
        /// Where it stands, if the template comes from a file.
        span: Option<Span>,
    },
    /// `$1` to `$9`.
    Capture(u8),
}

/// What a template asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference<'a> {
    /// A variable by name.
    Variable(&'a str),
    /// A capture of the last regular expression, from 1 to 9.
    Capture(u8),
}

/// Knows the variables. A closure `FnMut(Reference) -> Option<Id>` does; implement the trait to offer guesses as well.
pub trait Variables {
    /// What stands for a variable in a compiled template.
    type Id;

    /// The variable or capture, if there is such a one.
    fn find(&mut self, reference: Reference<'_>) -> Option<Self::Id>;

    /// All names, for "did you mean". None unless implemented.
    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}

impl<F, Id> Variables for F
where
    F: FnMut(Reference<'_>) -> Option<Id>,
{
    type Id = Id;

    fn find(&mut self, reference: Reference<'_>) -> Option<Id> {
        self(reference)
    }
}

impl Template {
    /// Reads text that comes from no file.
    ///
    /// # Errors
    /// `invalid variable name` and `the closing bracket in "x" variable is missing`.
    pub fn parse(text: &str) -> Result<Template, Fault> {
        Template::scan(text, |_, _| None)
    }

    /// Reads an argument; variables know their place.
    pub(crate) fn parse_arg(arg: Arg<'_>) -> Result<Template, Fault> {
        Template::scan(arg.text(), |from, to| Some(arg.part(from, to).span()))
    }

    /// Text without variables, whatever characters it holds.
    pub fn literal(text: impl Into<String>) -> Template {
        let source = text.into();
        let parts = if source.is_empty() {
            Vec::new()
        } else {
            vec![Part::Literal(source.clone())]
        };
        Template { source, parts }
    }

    fn scan(text: &str, place: impl Fn(usize, usize) -> Option<Span>) -> Result<Template, Fault> {
        let mut parts = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let literal = text[at..].find('$').unwrap_or(text.len() - at);
            if literal > 0 {
                parts.push(Part::Literal(text[at..at + literal].to_owned()));
                at += literal;
                continue;
            }
            let (mut part, width) =
                variable(&text[at..]).map_err(|fault| match place(at, text.len()) {
                    Some(span) => fault.at(span),
                    None => fault,
                })?;
            if let Part::Variable { span, .. } = &mut part {
                *span = place(at, at + width);
            }
            parts.push(part);
            at += width;
        }
        Ok(Template {
            source: text.to_owned(),
            parts,
        })
    }

    /// The text as written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Its pieces.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The text, if it holds no variable.
    pub fn as_literal(&self) -> Option<&str> {
        self.parts
            .iter()
            .all(|part| matches!(part, Part::Literal(_)))
            .then_some(&self.source)
    }

    /// The names of its variables.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable { name, .. } => Some(name.as_str()),
            _ => None,
        })
    }

    /// Whether `$1` to `$9` occur.
    pub fn has_captures(&self) -> bool {
        self.parts
            .iter()
            .any(|part| matches!(part, Part::Capture(_)))
    }

    /// Looks up every variable.
    ///
    /// # Errors
    /// One `unknown "x" variable` for each that isn't there.
    pub fn compile<V: Variables + ?Sized>(
        &self,
        variables: &mut V,
    ) -> Result<Compiled<V::Id>, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut pieces = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            let (found, span) = match part {
                Part::Literal(text) => {
                    pieces.push(Piece::Literal(text.as_bytes().into()));
                    continue;
                }
                Part::Variable { name, span } => (variables.find(Reference::Variable(name)), *span),
                Part::Capture(number) => (variables.find(Reference::Capture(*number)), None),
            };
            match found {
                Some(id) => pieces.push(Piece::Value(id)),
                None => faults.push(unknown(part, span, variables)),
            }
        }
        if faults.is_empty() {
            Ok(Compiled { pieces })
        } else {
            Err(faults)
        }
    }
}

/// Reads one variable at the start of the text and says how many bytes it takes.
fn variable(text: &str) -> Result<(Part, usize), Fault> {
    let rest = &text[1..];
    if let Some(digit @ b'1'..=b'9') = rest.bytes().next() {
        return Ok((Part::Capture(digit - b'0'), 2));
    }
    let braced = rest.starts_with('{');
    let from = if braced { 2 } else { 1 };
    let width = text[from..]
        .bytes()
        .take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        .count();
    let name = text[from..from + width].to_owned();
    if braced && !text[from + width..].starts_with('}') {
        let fault = Fault::new(format!(
            "the closing bracket in \"{name}\" variable is missing"
        ));
        return Err(fault.help("a name consists of letters, digits and \"_\"; write ${name}"));
    }
    if name.is_empty() {
        return Err(Fault::new("invalid variable name")
            .help("a \"$\" begins a variable; there is no way to write a plain one here"));
    }
    Ok((
        Part::Variable { name, span: None },
        from + width + usize::from(braced),
    ))
}

fn unknown<V: Variables + ?Sized>(part: &Part, span: Option<Span>, variables: &V) -> Fault {
    let name = match part {
        Part::Variable { name, .. } => name.clone(),
        Part::Capture(number) => number.to_string(),
        Part::Literal(text) => text.clone(),
    };
    let known = variables.names();
    let fault = suggest::did_you_mean(
        Fault::new(format!("unknown \"{name}\" variable")),
        &name,
        known.iter().map(String::as_str),
    );
    match span {
        Some(span) => fault.at(span),
        None => fault,
    }
}

/// A template whose variables are found: ready to be expanded any number of times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled<Id> {
    pieces: Vec<Piece<Id>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece<Id> {
    Literal(Box<[u8]>),
    Value(Id),
}

impl<Id> Compiled<Id> {
    /// Appends the text to `out`; `value` appends that of a variable.
    pub fn expand(&self, out: &mut Vec<u8>, mut value: impl FnMut(&Id, &mut Vec<u8>)) {
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => out.extend_from_slice(text),
                Piece::Value(id) => value(id, out),
            }
        }
    }

    /// The text, if no variable is in it.
    pub fn as_literal(&self) -> Option<&[u8]> {
        match self.pieces.as_slice() {
            [] => Some(b""),
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// The variable, if it is all there is: its value need not be copied.
    pub fn as_value(&self) -> Option<&Id> {
        match self.pieces.as_slice() {
            [Piece::Value(id)] => Some(id),
            _ => None,
        }
    }

    /// The variables in it.
    pub fn values(&self) -> impl Iterator<Item = &Id> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Value(id) => Some(id),
            Piece::Literal(_) => None,
        })
    }

    /// The same text with other ids.
    pub fn map<Other>(self, mut change: impl FnMut(Id) -> Other) -> Compiled<Other> {
        let pieces = self.pieces.into_iter().map(|piece| match piece {
            Piece::Literal(text) => Piece::Literal(text),
            Piece::Value(id) => Piece::Value(change(id)),
        });
        Compiled {
            pieces: pieces.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(text: &str) -> String {
        let template = Template::parse(text).map_err(|fault| fault.message().to_owned());
        let part = |part: &Part| match part {
            Part::Literal(text) => text.clone(),
            Part::Variable { name, .. } => format!("<{name}>"),
            Part::Capture(number) => format!("<{number}>"),
        };
        template.map_or_else(
            |words| words,
            |template| {
                template
                    .parts()
                    .iter()
                    .map(part)
                    .collect::<Vec<_>>()
                    .join("|")
            },
        )
    }

    #[test]
    fn cuts_text_and_variables() {
        let cases = [
            ("", ""),
            ("plain", "plain"),
            ("$host", "<host>"),
            ("${host}name", "<host>|name"),
            (
                "$scheme://$host$request_uri",
                "<scheme>|://|<host>|<request_uri>",
            ),
            ("$host-x", "<host>|-x"),
            ("$1$23", "<1>|<2>|3"),
            ("$0", "<0>"),
            ("${1}", "<1>"),
            ("{a}${b}}", "{a}|<b>|}"),
            ("größe$x€", "größe|<x>|€"),
            ("$", "invalid variable name"),
            ("5$ ", "invalid variable name"),
            ("$$host", "invalid variable name"),
            ("${}", "invalid variable name"),
            (
                "${host",
                "the closing bracket in \"host\" variable is missing",
            ),
            (
                "${ho-st}",
                "the closing bracket in \"ho\" variable is missing",
            ),
            ("${", "the closing bracket in \"\" variable is missing"),
        ];
        for (text, expected) in cases {
            assert_eq!(shape(text), expected, "{text}");
        }
    }

    #[test]
    fn names_every_unknown_variable_with_a_guess() {
        struct Few;
        impl Variables for Few {
            type Id = ();
            fn find(&mut self, reference: Reference<'_>) -> Option<()> {
                (reference == Reference::Variable("remote_addr")).then_some(())
            }
            fn names(&self) -> Vec<String> {
                vec!["remote_addr".to_owned()]
            }
        }
        let faults = Template::parse("$remote_adr $nothing $remote_addr $1")
            .unwrap()
            .compile(&mut Few)
            .unwrap_err();
        let words: Vec<&str> = faults.iter().map(Fault::message).collect();
        assert_eq!(
            words,
            [
                "unknown \"remote_adr\" variable",
                "unknown \"nothing\" variable",
                "unknown \"1\" variable"
            ]
        );
        assert_eq!(faults[0].guessed(), Some("remote_addr"));
        assert_eq!(faults[1].guessed(), None);
    }

    #[test]
    fn knows_when_nothing_has_to_be_put_together() {
        let mut any = |_: Reference<'_>| Some(7);
        let compiled = |text: &str, any: &mut dyn FnMut(Reference<'_>) -> Option<i32>| {
            Template::parse(text)
                .unwrap()
                .compile(&mut |reference: Reference<'_>| any(reference))
                .unwrap()
        };
        assert_eq!(compiled("", &mut any).as_literal(), Some(&b""[..]));
        assert_eq!(compiled("x", &mut any).as_literal(), Some(&b"x"[..]));
        assert_eq!(compiled("$x", &mut any).as_literal(), None);
        assert_eq!(compiled("$x", &mut any).as_value(), Some(&7));
        assert_eq!(compiled("a$x", &mut any).as_value(), None);
        assert_eq!(Template::literal("$5").as_literal(), Some("$5"));
        assert_eq!(
            compiled("$x$1", &mut any)
                .map(|id| id + 1)
                .values()
                .sum::<i32>(),
            16
        );
    }

    #[test]
    fn appends_to_what_is_there() {
        let template = Template::parse("<$a>").unwrap();
        let compiled = template.compile(&mut |_: Reference<'_>| Some("v")).unwrap();
        let mut out = b"before".to_vec();
        compiled.expand(&mut out, |value, out| {
            out.extend_from_slice(value.as_bytes());
        });
        assert_eq!(out, b"before<v>");
    }
}
