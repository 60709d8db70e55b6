//! What a configuration says, before anybody asks what it means: statements, words, blocks, each with its place.

use std::fmt::{self, Write as _};

use crate::source::Sources;
use crate::span::Span;

/// A parsed configuration: all files as one tree, `include` already replaced by what it names.
#[derive(Debug, Clone)]
pub struct Tree {
    /// The statements of the main file.
    pub root: Block,
    /// The text that the spans of the tree point into.
    pub sources: Sources,
}

/// The statements between two braces, or of the whole configuration.
#[derive(Debug, Clone, Default)]
pub struct Block {
    /// In the order of the text; included files stand where their `include` stood.
    pub statements: Vec<Statement>,
    /// The opening brace; `None` for the whole configuration.
    pub open: Option<Span>,
    /// The closing brace; `None` for the whole configuration and where it is missing.
    pub close: Option<Span>,
}

/// One directive as written: a name, arguments, and a block or a semicolon.
#[derive(Debug, Clone)]
pub struct Statement {
    /// The first word.
    pub name: Word,
    /// The words after it.
    pub args: Vec<Word>,
    /// What stands in braces; `None` when the statement ended with `;`.
    pub block: Option<Block>,
}

impl Statement {
    /// From the name to the last argument.
    pub fn span(&self) -> Span {
        self.args
            .last()
            .map_or(self.name.span, |last| self.name.span.to(last.span))
    }
}

/// The quotes around a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quote {
    /// `"`
    Double,
    /// `'`
    Single,
}

/// A word with its escapes resolved.
#[derive(Debug, Clone)]
pub struct Word {
    /// Without quotes; `\"`, `\'`, `\\`, `\t`, `\r`, `\n` resolved, every other backslash kept, as nginx does.
    pub text: String,
    /// The quotes that stood around it. They carry no meaning beyond keeping the word together.
    pub quote: Option<Quote>,
    /// Where it stands, quotes included.
    pub span: Span,
    /// Whether `text` differs from the bytes in the file (an escape was resolved).
    pub escaped: bool,
}

impl Word {
    /// The place of `text[offset..offset + len]`; the whole word when escapes stand in the way.
    pub fn span_of(&self, offset: usize, len: usize) -> Span {
        if self.escaped {
            return self.span;
        }
        let quote = usize::from(self.quote.is_some());
        let inside = self.span.inner(b"\"", quote, self.text.len());
        inside.inner(self.text.as_bytes(), offset, len)
    }
}

impl Block {
    /// Whether two blocks say the same, wherever they stand.
    pub fn same_meaning(&self, other: &Block) -> bool {
        self.statements.len() == other.statements.len()
            && self
                .statements
                .iter()
                .zip(&other.statements)
                .all(|(left, right)| left.same_meaning(right))
    }
}

impl Statement {
    /// Whether two statements say the same, wherever they stand.
    pub fn same_meaning(&self, other: &Statement) -> bool {
        let blocks = match (&self.block, &other.block) {
            (None, None) => true,
            (Some(left), Some(right)) => left.same_meaning(right),
            _ => false,
        };
        self.name.text == other.name.text
            && self
                .args
                .iter()
                .map(|word| &word.text)
                .eq(other.args.iter().map(|word| &word.text))
            && blocks
    }
}

/// Prints statements so that parsing the result gives the same tree.
impl fmt::Display for Block {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.statements
            .iter()
            .try_for_each(|statement| print(statement, 0, out))
    }
}

/// Prints the statement with its block.
impl fmt::Display for Statement {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(self, 0, out)
    }
}

fn print(statement: &Statement, depth: usize, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(out, "{:width$}{}", "", statement.name, width = depth * 4)?;
    for word in &statement.args {
        write!(out, " {word}")?;
    }
    let Some(block) = &statement.block else {
        return out.write_str(";\n");
    };
    out.write_str(" {\n")?;
    block
        .statements
        .iter()
        .try_for_each(|inner| print(inner, depth + 1, out))?;
    writeln!(out, "{:width$}}}", "", width = depth * 4)
}

/// Prints the word as it must be written to be read again: bare where possible, quoted where it was or has to be.
impl fmt::Display for Word {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quote = match self.quote {
            None if reads_bare(&self.text) => return out.write_str(&self.text),
            Some(Quote::Single) => '\'',
            Some(Quote::Double) | None => '"',
        };
        out.write_char(quote)?;
        for character in self.text.chars() {
            if character == quote || character == '\\' {
                out.write_char('\\')?;
            }
            out.write_char(character)?;
        }
        out.write_char(quote)
    }
}

/// Whether a word needs no quotes.
fn reads_bare(text: &str) -> bool {
    let starts_well = !text.starts_with(['"', '\'', '#', '}', ')']);
    starts_well && !text.is_empty() && !text.contains([' ', '\t', '\r', '\n', ';', '{', '\\'])
}
