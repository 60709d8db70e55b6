//! Text to tokens, by nginx's rules. Quotes and `#` count only where a token starts; `{` ends a word unless `$` precedes it.

use crate::fault::{Fault, Faults};
use crate::span::{FileId, Span, starts_character};
use crate::tree::{Quote, Word};

/// Longest word in bytes. nginx stops at 4096; policies and tokens in fields outgrow that.
pub const WORD_BYTES_MAX: usize = 1 << 20;

/// What the text is made of.
#[derive(Debug, Clone)]
pub(crate) enum Token {
    Word(Word),
    Semicolon(Span),
    Open(Span),
    Close(Span),
    End {
        at: Span,
        /// Whether the end came in the midst of a word and was reported.
        told: bool,
    },
}

/// Reads one file. Never fails: a fault is reported and reading goes on behind it.
#[derive(Debug)]
pub(crate) struct Lexer<'t> {
    text: &'t [u8],
    file: FileId,
    at: usize,
    line: u32,
    column: u32,
}

impl<'t> Lexer<'t> {
    /// A leading byte order mark is skipped, which nginx takes for a directive.
    pub(crate) fn new(text: &'t [u8], file: FileId) -> Self {
        let at = if text.starts_with(b"\xEF\xBB\xBF") {
            3
        } else {
            0
        };
        Lexer {
            text,
            file,
            at,
            line: 1,
            column: 1,
        }
    }

    pub(crate) fn next(&mut self, faults: &mut Faults) -> Token {
        loop {
            let here = self.mark();
            match self.peek() {
                None => {
                    return Token::End {
                        at: here,
                        told: false,
                    };
                }
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.bump(),
                Some(b'#') => self.skip_comment(),
                Some(b';') => return Token::Semicolon(self.single()),
                Some(b'{') => return Token::Open(self.single()),
                Some(b'}') => return Token::Close(self.single()),
                Some(b'"') => return self.quoted(Quote::Double, faults),
                Some(b'\'') => return self.quoted(Quote::Single, faults),
                Some(_) => return self.bare(faults),
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn bump(&mut self) {
        let Some(byte) = self.peek() else { return };
        self.at += 1;
        if byte == b'\n' {
            self.line += 1;
            self.column = 1;
        } else if self.peek().is_none_or(starts_character) {
            self.column += 1;
        }
    }

    fn skip_comment(&mut self) {
        while self.peek().is_some_and(|byte| byte != b'\n') {
            self.bump();
        }
    }

    /// The current place, with no length yet.
    fn mark(&self) -> Span {
        Span {
            file: self.file,
            start: self.at as u32,
            len: 0,
            line: self.line,
            column: self.column,
        }
    }

    fn since(&self, start: Span) -> Span {
        Span {
            len: self.at as u32 - start.start,
            ..start
        }
    }

    fn single(&mut self) -> Span {
        let start = self.mark();
        self.bump();
        self.since(start)
    }

    /// A word without quotes: up to a blank, `;`, or a `{` that no `$` precedes.
    fn bare(&mut self, faults: &mut Faults) -> Token {
        let start = self.mark();
        let mut variable = false;
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b';' => break,
                b'{' if !variable => break,
                b'\\' => {
                    self.bump();
                    self.bump();
                    variable = false;
                    continue;
                }
                // `${` keeps the state, so that a second brace stays in the word too
                b'{' => {}
                _ => variable = byte == b'$',
            }
            self.bump();
        }
        let span = self.since(start);
        let raw = &self.text[start.start as usize..self.at];
        self.word(raw, None, span, faults)
    }

    fn quoted(&mut self, quote: Quote, faults: &mut Faults) -> Token {
        let close = if quote == Quote::Double { b'"' } else { b'\'' };
        let start = self.mark();
        self.bump();
        while let Some(byte) = self.peek().filter(|&byte| byte != close) {
            if byte == b'\\' {
                self.bump();
            }
            self.bump();
        }
        let raw = &self.text[start.start as usize + 1..self.at];
        if self.peek().is_none() {
            faults.push(self.unclosed(start, close as char));
            return Token::End {
                at: self.mark(),
                told: true,
            };
        }
        self.bump();
        let span = self.since(start);
        let token = self.word(raw, Some(quote), span, faults);
        if self.at_separator() {
            return token;
        }
        faults.push(self.no_separator(span));
        self.joined(token, faults)
    }

    /// What follows a closing quote without a blank is taken for a part of the word, so that the fault stays the only one.
    fn joined(&mut self, token: Token, faults: &mut Faults) -> Token {
        match (token, self.bare(faults)) {
            (Token::Word(first), Token::Word(rest)) => Token::Word(Word {
                text: first.text + &rest.text,
                span: first.span.to(rest.span),
                escaped: true,
                ..first
            }),
            (token, _) => token,
        }
    }

    /// nginx wants a blank, `;`, `{` or `)` behind a closing quote. A `}` is left to the parser, which says the same of it.
    fn at_separator(&self) -> bool {
        match self.peek() {
            None => true,
            Some(byte) => matches!(
                byte,
                b' ' | b'\t' | b'\r' | b'\n' | b';' | b'{' | b'}' | b')'
            ),
        }
    }

    fn no_separator(&self, word: Span) -> Fault {
        let chunk = self.text[self.at..].utf8_chunks().next();
        let character = chunk.and_then(|chunk| chunk.valid().chars().next());
        let place = Span {
            len: character.map_or(1, char::len_utf8) as u32,
            ..self.mark()
        };
        let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
        let fault = Fault::new(format!("unexpected \"{character}\"")).at(place);
        if self.line > word.line {
            fault.help(format!(
                "the quoted word that ends here began on line {}; is a quote missing there?",
                word.line
            ))
        } else {
            fault.help("put the quotes around the whole word, or a space or \";\" behind the closing quote")
        }
    }

    fn unclosed(&self, start: Span, quote: char) -> Fault {
        Fault::new("unexpected end of file, expecting \";\" or \"}\"")
            .at(self.mark())
            .note(Span { len: 1, ..start }, "this quote is never closed")
            .help(format!(
                "close the quoted word that begins with {quote} on line {}",
                start.line
            ))
    }

    fn word(&self, raw: &[u8], quote: Option<Quote>, span: Span, faults: &mut Faults) -> Token {
        if raw.len() > WORD_BYTES_MAX {
            faults.push(too_long(raw, span));
        }
        let bytes = unescape(raw);
        if bytes.contains(&0) {
            faults.push(
                Fault::new("unexpected NUL byte")
                    .at(span)
                    .help("configuration is text; remove the byte"),
            );
        }
        let text = String::from_utf8(bytes).unwrap_or_else(|error| {
            faults.push(not_utf8(&error, span));
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        });
        let escaped = text.as_bytes() != raw;
        Token::Word(Word {
            text,
            quote,
            span,
            escaped,
        })
    }
}

fn too_long(raw: &[u8], span: Span) -> Fault {
    let head = String::from_utf8_lossy(&raw[..10]).into_owned();
    Fault::new(format!("too long parameter \"{head}...\" started"))
        .at(Span { len: 10, ..span })
        .help(format!(
            "a word may have {WORD_BYTES_MAX} bytes; is a quote missing?"
        ))
}

fn not_utf8(error: &std::string::FromUtf8Error, span: Span) -> Fault {
    let byte = error.as_bytes()[error.utf8_error().valid_up_to()];
    Fault::new(format!("byte 0x{byte:02x} is not UTF-8"))
        .at(span)
        .help("save the file as UTF-8; comments may hold any bytes")
}

/// Resolves `\"`, `\'`, `\\`, `\t`, `\r`, `\n`; every other backslash stays, which keeps regular expressions readable.
fn unescape(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let resolved = match (byte, bytes.peek()) {
            (b'\\', Some(&escape @ (b'"' | b'\'' | b'\\'))) => Some(escape),
            (b'\\', Some(b't')) => Some(b'\t'),
            (b'\\', Some(b'r')) => Some(b'\r'),
            (b'\\', Some(b'n')) => Some(b'\n'),
            _ => None,
        };
        if resolved.is_some() {
            bytes.next();
        }
        out.push(resolved.unwrap_or(byte));
    }
    out
}
