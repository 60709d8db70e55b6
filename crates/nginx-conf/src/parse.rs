//! Tokens to a tree, `include` replaced by what it names. Goes on behind every fault, so that all of them are found.

use std::io;
use std::path::Path;

use crate::fault::{Fault, Faults};
use crate::glob;
use crate::lexer::Token;
use crate::source::{Loader, Sources};
use crate::span::{FileId, Span};
use crate::tree::{Block, Statement, Tree, Word};

mod reader;

use reader::Reader;

/// Deepest nesting of blocks.
pub const BLOCK_DEPTH_MAX: usize = 64;
/// Longest chain of includes.
pub const INCLUDE_DEPTH_MAX: usize = 32;
/// Most openings of files in one configuration.
pub const OPENINGS_MAX: usize = 1 << 18;

/// Reads a configuration.
///
/// ```
/// use nginx_conf::{Parser, SourceSet};
/// let set = SourceSet::of([("/c", "http { server { listen 80; } }")]);
/// let (tree, faults) = Parser::new(&set).globals("daemon off;").parse("/c");
/// assert!(faults.is_empty());
/// assert_eq!(tree.root.statements[0].name.text, "daemon");
/// assert_eq!(tree.root.statements[1].name.text, "http");
/// ```
pub struct Parser<'l> {
    loader: &'l dyn Loader,
    globals: Option<String>,
}

impl<'l> Parser<'l> {
    /// Takes all text from `loader`.
    pub fn new(loader: &'l dyn Loader) -> Parser<'l> {
        Parser {
            loader,
            globals: None,
        }
    }

    /// Directives of the command line (`-g`), which stand before those of the file.
    pub fn globals(self, text: impl Into<String>) -> Parser<'l> {
        Parser {
            globals: Some(text.into()),
            ..self
        }
    }

    /// Reads the file and all it includes. Relative names in `include` start at the folder of `path`, as in nginx.
    /// The tree holds all that could be understood; it is to be used only when no fault is fatal.
    pub fn parse(self, path: impl AsRef<Path>) -> (Tree, Faults) {
        let path = path.as_ref().to_string_lossy().into_owned();
        let prefix = path
            .rfind('/')
            .map_or(String::new(), |slash| path[..=slash].to_owned());
        let mut run = Run {
            loader: self.loader,
            prefix,
            sources: Sources::default(),
            faults: Faults::new(),
            chain: Vec::new(),
            depth: 0,
            exhausted: false,
        };
        let mut root = Block::default();
        if let Some(text) = self.globals {
            let file = run.sources.open_globals(text);
            run.file(file, &mut root, true);
        }
        match run.sources.open_file(run.loader, &path, None) {
            Ok(file) => {
                run.chain.push(path);
                run.file(file, &mut root, false);
            }
            Err(error) => run.faults.push(cannot_open(&path, &error)),
        }
        (
            Tree {
                root,
                sources: run.sources,
            },
            run.faults,
        )
    }
}

struct Run<'l> {
    loader: &'l dyn Loader,
    prefix: String,
    sources: Sources,
    faults: Faults,
    /// Paths of the files that are open now.
    chain: Vec<String>,
    /// Blocks that are open now.
    depth: usize,
    /// Whether too many files were opened: told once, further includes are passed over.
    exhausted: bool,
}

/// How a list of statements ended.
#[derive(PartialEq)]
enum Ending {
    Brace(Span),
    File(Span),
    /// As `File`, and told already.
    Reported,
}

impl Run<'_> {
    fn file(&mut self, file: FileId, into: &mut Block, command_line: bool) {
        let text = self.sources.shared(file);
        let text = text.bytes();
        let mut reader = Reader::new(text, file, command_line);
        while let Ending::Brace(brace) = self.statements(&mut reader, into) {
            let fault = Fault::new("unexpected \"}\"").at(brace);
            let fault = match reader.crooked.take() {
                Some((name, close)) => fault.note(
                    name,
                    format!(
                        "this block ends at a \"}}\" of another depth, on line {}",
                        close.line
                    ),
                ),
                None => fault,
            };
            self.faults.push(fault.help(
                "no block is open here; remove the brace, or find the block that ended too early",
            ));
        }
    }

    fn statements(&mut self, reader: &mut Reader<'_>, into: &mut Block) -> Ending {
        let mut words: Vec<Word> = Vec::new();
        loop {
            match reader.lexer.next(&mut self.faults) {
                Token::Word(word) => words.push(word),
                Token::Semicolon(at) | Token::Open(at) if words.is_empty() => {
                    self.nothing_before(at, reader, into);
                }
                Token::Semicolon(_) => self.finish(std::mem::take(&mut words), into),
                Token::Open(brace) if reader.repetition_at(brace, &words) => {
                    self.join_repetition(&mut words, brace, reader);
                }
                Token::Open(brace) => {
                    let ended = self.block(std::mem::take(&mut words), brace, reader, into);
                    if ended == Ending::Reported {
                        return ended;
                    }
                }
                Token::Close(brace) => {
                    if !words.is_empty() {
                        self.faults
                            .push(reader.unterminated("unexpected \"}\"", brace, &words));
                        self.finish(words, into);
                    }
                    return Ending::Brace(brace);
                }
                Token::End { told: true, .. } => return Ending::Reported,
                Token::End { at, .. } if words.is_empty() => return Ending::File(at),
                Token::End { at, .. } => {
                    self.end_within(at, words, reader);
                    return Ending::Reported;
                }
            }
        }
    }

    /// A `;` or `{` without a word before it. A nameless block is read and thrown away.
    fn nothing_before(&mut self, at: Span, reader: &mut Reader<'_>, into: &mut Block) {
        let opens = reader.text[at.start as usize] == b'{';
        let fault = Fault::new(format!("unexpected \"{}\"", if opens { '{' } else { ';' })).at(at);
        let after_block = !opens
            && into
                .statements
                .last()
                .is_some_and(|last| last.block.is_some());
        self.faults.push(match (opens, after_block) {
            (true, _) => fault.help("a block needs a name before its \"{\""),
            (false, true) => fault.help("a block ends with \"}\" alone; remove the \";\""),
            (false, false) => fault.help("remove it; one \";\" ends a directive"),
        });
        if opens && self.depth < BLOCK_DEPTH_MAX {
            self.depth += 1;
            self.statements(reader, &mut Block::default());
            self.depth -= 1;
        }
    }

    fn block(
        &mut self,
        words: Vec<Word>,
        brace: Span,
        reader: &mut Reader<'_>,
        into: &mut Block,
    ) -> Ending {
        let mut words = words.into_iter();
        let Some(name) = words.next() else {
            return Ending::Reported;
        };
        if reader.command_line {
            self.faults.push(
                Fault::new("block directives are not supported in -g option")
                    .at(name.span)
                    .help("put the block into the configuration file"),
            );
        }
        if self.depth >= BLOCK_DEPTH_MAX {
            self.faults.push(
                Fault::new(format!("blocks are nested deeper than {BLOCK_DEPTH_MAX}"))
                    .at(name.span)
                    .help("is a \"}\" missing above?"),
            );
            return Ending::Reported;
        }
        let mut block = Block {
            open: Some(brace),
            ..Block::default()
        };
        self.depth += 1;
        let ending = self.statements(reader, &mut block);
        self.depth -= 1;
        match ending {
            Ending::Brace(close) => {
                block.close = Some(close);
                reader.compare_depths(name.span, close);
            }
            Ending::File(end) => self
                .faults
                .push(reader.unclosed(end, name.span, &name.text)),
            Ending::Reported => {}
        }
        let closed = block.close.is_some();
        let statement = Statement {
            name,
            args: words.collect(),
            block: Some(block),
        };
        if statement.name.text == "include" {
            self.faults.push(
                Fault::new("directive \"include\" is not terminated by \";\"")
                    .at(statement.span())
                    .help("write include FILE;"),
            );
        } else {
            into.statements.push(statement);
        }
        if closed {
            Ending::Brace(brace)
        } else {
            Ending::Reported
        }
    }

    /// `{2}` in a regular expression without quotes, which nginx takes for a block with the directive `2}`. Taken here for
    /// the part of the word that it was meant to be, so that the fault stays the only one.
    fn join_repetition(&mut self, words: &mut [Word], brace: Span, reader: &mut Reader<'_>) {
        let (Some(word), Token::Word(rest)) =
            (words.last_mut(), reader.lexer.next(&mut self.faults))
        else {
            return;
        };
        self.faults.push(
            Fault::new(format!("unknown directive \"{}\"", rest.text)).at(brace.to(rest.span)).help(
                "a word that holds \"{\" or \"}\", such as a regular expression, must stand in quotes",
            ),
        );
        word.text = format!("{}{{{}", word.text, rest.text);
        word.span = word.span.to(rest.span);
        word.escaped = true;
    }

    fn end_within(&mut self, end: Span, words: Vec<Word>, reader: &Reader<'_>) {
        let expected = if reader.command_line {
            "unexpected end of parameter, expecting \";\""
        } else {
            "unexpected end of file, expecting \";\" or \"}\""
        };
        self.faults.push(reader.unterminated(expected, end, &words));
    }

    fn finish(&mut self, words: Vec<Word>, into: &mut Block) {
        let mut words = words.into_iter();
        let Some(name) = words.next() else { return };
        let statement = Statement {
            name,
            args: words.collect(),
            block: None,
        };
        if statement.name.text == "include" {
            self.include(&statement, into);
        } else {
            into.statements.push(statement);
        }
    }

    fn include(&mut self, statement: &Statement, into: &mut Block) {
        let [target] = statement.args.as_slice() else {
            let fault = Fault::new("invalid number of arguments in \"include\" directive")
                .at(statement.span());
            return self
                .faults
                .push(fault.help("write include FILE; one line for each file or pattern"));
        };
        let path = if target.text.starts_with('/') {
            target.text.clone()
        } else {
            format!("{}{}", self.prefix, target.text)
        };
        if !glob::is_pattern(&path) {
            return self.open(&path, target.span, into);
        }
        match self.sources.expand(self.loader, &path) {
            Ok(paths) => paths
                .iter()
                .for_each(|path| self.open(path, target.span, into)),
            Err(error) => self.faults.push(
                Fault::new(format!("glob() \"{path}\" failed ({})", reason(&error)))
                    .at(target.span),
            ),
        }
    }

    fn open(&mut self, path: &str, from: Span, into: &mut Block) {
        if self.exhausted {
            return;
        }
        if let Some(refusal) = self.refusal(path) {
            return self.faults.push(refusal.at(from));
        }
        match self.sources.open_file(self.loader, path, Some(from)) {
            Ok(file) => {
                self.chain.push(path.to_owned());
                self.file(file, into, false);
                self.chain.pop();
            }
            Err(error) => self.faults.push(cannot_open(path, &error).at(from)),
        }
    }

    fn refusal(&mut self, path: &str) -> Option<Fault> {
        if self.chain.iter().any(|open| open == path) {
            return Some(
                Fault::new(format!("\"{path}\" includes itself")).help(format!(
                    "the chain is {} -> {path}",
                    self.chain.join(" -> ")
                )),
            );
        }
        if self.chain.len() > INCLUDE_DEPTH_MAX {
            return Some(
                Fault::new(format!(
                    "includes are nested deeper than {INCLUDE_DEPTH_MAX}"
                ))
                .help("does a link make a file include itself?"),
            );
        }
        if self.sources.openings().len() >= OPENINGS_MAX {
            self.exhausted = true;
            let fault = Fault::new(format!("more than {OPENINGS_MAX} files are included"));
            return Some(fault.help("do files include each other many times over?"));
        }
        None
    }
}

fn cannot_open(path: &str, error: &io::Error) -> Fault {
    let fault = Fault::new(format!("open() \"{path}\" failed ({})", reason(error)));
    match error.kind() {
        io::ErrorKind::NotFound => fault
            .help("create the file or remove the line; a pattern such as *.conf may match nothing"),
        io::ErrorKind::PermissionDenied => {
            fault.help("let the user who starts the program read it")
        }
        io::ErrorKind::IsADirectory => fault.help(format!(
            "a folder is included with a pattern: {}/*.conf",
            path.trim_end_matches('/')
        )),
        _ => fault,
    }
}

/// `2: No such file or directory`, as nginx prints it.
fn reason(error: &io::Error) -> String {
    let words = error.to_string();
    match error.raw_os_error() {
        Some(code) => format!(
            "{code}: {}",
            words.split(" (os error").next().unwrap_or(&words)
        ),
        None => words,
    }
}
