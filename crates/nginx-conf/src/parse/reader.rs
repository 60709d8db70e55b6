//! One file while it is read, and the guesses at what went wrong in it: where a brace or a semicolon is missing.

use crate::fault::Fault;
use crate::lexer::Lexer;
use crate::span::{FileId, Span};
use crate::tree::Word;

/// Farthest column at which indentation is compared.
const INDENT_MAX: u32 = 200;

/// What one file needs while it is read.
pub(super) struct Reader<'t> {
    pub(super) lexer: Lexer<'t>,
    pub(super) text: &'t [u8],
    pub(super) command_line: bool,
    /// The first block whose braces stand at different depths: the likely place of a missing or surplus brace.
    pub(super) crooked: Option<(Span, Span)>,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t [u8], file: FileId, command_line: bool) -> Reader<'t> {
        Reader {
            lexer: Lexer::new(text, file),
            text,
            command_line,
            crooked: None,
        }
    }

    /// Whether a brace stands directly behind a bare word and begins `{2}`, `{2,}` or `{2,3}`.
    pub(super) fn repetition_at(&self, brace: Span, words: &[Word]) -> bool {
        let touches = words.last().is_some_and(|word| {
            word.quote.is_none() && word.span.start + word.span.len == brace.start
        });
        let inside = &self.text[brace.start as usize + 1..];
        let width = inside
            .iter()
            .take_while(|byte| byte.is_ascii_digit() || **byte == b',')
            .count();
        touches
            && inside.first().is_some_and(u8::is_ascii_digit)
            && inside.get(width) == Some(&b'}')
    }

    /// Remembers a block whose last brace, first on its line, stands at another depth than the block's name.
    pub(super) fn compare_depths(&mut self, name: Span, close: Span) {
        let depth = |span: Span| {
            // nobody indents this far, and long lines are not to be searched again and again
            if span.column > INDENT_MAX {
                return None;
            }
            let before = &self.text[..span.start as usize];
            let indent = &before[before
                .iter()
                .rposition(|&byte| byte == b'\n')
                .map_or(0, |at| at + 1)..];
            indent
                .iter()
                .all(|byte| byte.is_ascii_whitespace())
                .then_some(indent)
        };
        if let (Some(opened), Some(closed)) = (depth(name), depth(close))
            && opened != closed
            && name.line != close.line
        {
            self.crooked.get_or_insert((name, close));
        }
    }

    pub(super) fn unclosed(&self, end: Span, name: Span, text: &str) -> Fault {
        let fault = Fault::new("unexpected end of file, expecting \"}\"").at(end);
        match self.crooked {
            Some((name, close)) => fault
                .note(
                    name,
                    format!(
                        "this block ends at a \"}}\" of another depth, on line {}",
                        close.line
                    ),
                )
                .help(format!("is a \"}}\" missing before line {}?", close.line)),
            None => fault
                .note(name, "this block is never closed")
                .help(format!("close the block \"{text}\" with \"}}\"")),
        }
    }

    /// A directive that runs into `}` or the end: the `;` is missing behind its last word.
    pub(super) fn unterminated(&self, message: &str, at: Span, words: &[Word]) -> Fault {
        let fault = Fault::new(message).at(at);
        let Some(last) = words.last() else {
            return fault;
        };
        let slice =
            &self.text[last.span.start as usize..(last.span.start + last.span.len) as usize];
        fault
            .note(last.span.after(slice), "a \";\" is expected here")
            .help(format!(
                "end the directive \"{}\" with \";\"",
                words[0].text
            ))
    }
}
