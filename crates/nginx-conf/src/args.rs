//! What a directive's reader is given: its arguments one by one, each with readers for the quantities of the language.

use std::any::Any;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::address::{ListenAddress, PeerAddress};
use crate::arg::Arg;
use crate::fault::{Fault, Faults, Severity};
use crate::number::Integer;
use crate::pattern::{Case, Pattern};
use crate::scope::Scope;
use crate::setting::Spanned;
use crate::span::Span;
use crate::template::Template;
use crate::tree::{Block, Statement, Word};

/// The arguments of one directive, read from left to right. The short readers (`flag`, `size`, …) take the next argument;
/// a missing one is `invalid number of arguments`.
pub struct Args<'a> {
    statement: &'a Statement,
    next: usize,
    scope: Scope,
    position: usize,
    context: &'a dyn Any,
    faults: &'a mut Faults,
}

impl<'a> Args<'a> {
    pub(crate) fn new(
        statement: &'a Statement,
        scope: Scope,
        position: usize,
        context: &'a dyn Any,
        faults: &'a mut Faults,
    ) -> Args<'a> {
        Args {
            statement,
            next: 0,
            scope,
            position,
            context,
            faults,
        }
    }

    /// The name of the directive.
    pub fn directive(&self) -> &'a str {
        &self.statement.name.text
    }

    /// From the name to the last argument.
    pub fn span(&self) -> Span {
        self.statement.span()
    }

    /// The scope the directive stands in.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// How many statements stand before it in its block: keeps the order of directives that are kept apart, such as the steps
    /// of a rewrite and the blocks (see [`Level::order`](crate::Level::order)) between them.
    pub fn order(&self) -> usize {
        self.position
    }

    /// What the caller of the walk handed in, if it is a `T`.
    pub fn context<T: Any>(&self) -> Option<&'a T> {
        self.context.downcast_ref()
    }

    /// The statement itself.
    pub fn statement(&self) -> &'a Statement {
        self.statement
    }

    /// The block behind the arguments.
    pub fn block(&self) -> Option<&'a Block> {
        self.statement.block.as_ref()
    }

    /// How many arguments are left.
    pub fn left(&self) -> usize {
        self.statement.args.len() - self.next
    }

    /// The next argument without taking it.
    pub fn peek(&self) -> Option<Arg<'a>> {
        let word = self.statement.args.get(self.next)?;
        Some(Arg::new(word, self.directive()))
    }

    /// Takes the next argument if it is this word.
    pub fn take_if(&mut self, text: &str) -> Option<Spanned<()>> {
        let arg = self.peek().filter(|arg| arg.text() == text)?;
        self.next += 1;
        Some(Spanned {
            value: (),
            span: arg.span(),
        })
    }

    /// Takes the next argument.
    ///
    /// # Errors
    /// `invalid number of arguments` when there is none.
    pub fn one(&mut self) -> Result<Arg<'a>, Fault> {
        self.next().ok_or_else(|| self.wrong_count())
    }

    /// Takes all that is left.
    pub fn rest(&mut self) -> Vec<Arg<'a>> {
        self.by_ref().collect()
    }

    /// The words from here on as they stand, without taking them.
    pub fn words(&self) -> &'a [Word] {
        &self.statement.args[self.next..]
    }

    /// Reads a free-form block line by line; a fault in one line doesn't keep the others from being read.
    /// The line's name is its first word ([`Args::key`]), its other words are the arguments. A block in a line is refused.
    pub fn lines(&mut self, mut read: impl FnMut(&mut Args<'_>) -> Result<(), Fault>) {
        let Some(block) = self.block() else { return };
        for (position, statement) in block.statements.iter().enumerate() {
            let mut line = Args {
                statement,
                next: 0,
                scope: self.scope,
                position,
                context: self.context,
                faults: self.faults,
            };
            let result = line
                .without_block()
                .and_then(|()| read(&mut line))
                .and_then(|()| line.nothing_left());
            if let Err(fault) = result {
                let fault = fault
                    .of_directive(&statement.name.text)
                    .or_at(statement.span());
                self.faults.push(fault);
            }
        }
    }

    /// The first word of the statement as a value: the key of a line in a free-form block.
    pub fn key(&self) -> Arg<'a> {
        let word = &self.statement.name;
        Arg::new(word, self.directive())
    }

    /// Reports a fault and reads on.
    pub fn report(&mut self, fault: Fault) {
        self.faults
            .push(fault.of_directive(self.directive()).or_at(self.span()));
    }

    /// Tells the user something that is no reason to stop.
    pub fn warn(&mut self, message: impl Into<String>) {
        self.report(Fault::new(message).severity(Severity::Warn));
    }

    /// The fault for too few or too many arguments, in nginx's words.
    pub fn wrong_count(&self) -> Fault {
        Fault::new(format!(
            "invalid number of arguments in \"{}\" directive",
            self.directive()
        ))
        .at(self.span())
    }

    pub(crate) fn nothing_left(&self) -> Result<(), Fault> {
        self.peek()
            .map_or(Ok(()), |arg| Err(arg.invalid_parameter()))
    }

    fn without_block(&self) -> Result<(), Fault> {
        let open = self.block().and_then(|block| block.open);
        open.map_or(Ok(()), |brace| {
            Err(Fault::new("unexpected \"{\"")
                .at(brace)
                .help("each line here is a list of words that ends with \";\""))
        })
    }

    /// [`Arg::string`] of the next argument.
    pub fn string(&mut self) -> Result<Spanned<String>, Fault> {
        self.one()?.string()
    }

    /// [`Arg::path`] of the next argument.
    pub fn path(&mut self) -> Result<Spanned<PathBuf>, Fault> {
        self.one()?.path()
    }

    /// [`Arg::flag`] of the next argument.
    pub fn flag(&mut self) -> Result<Spanned<bool>, Fault> {
        self.one()?.flag()
    }

    /// [`Arg::number`] of the next argument.
    pub fn number<T: Integer>(&mut self, range: RangeInclusive<T>) -> Result<Spanned<T>, Fault> {
        self.one()?.number(range)
    }

    /// [`Arg::status`] of the next argument.
    pub fn status(&mut self, range: RangeInclusive<u16>) -> Result<Spanned<u16>, Fault> {
        self.one()?.status(range)
    }

    /// [`Arg::size`] of the next argument.
    pub fn size(&mut self) -> Result<Spanned<u64>, Fault> {
        self.one()?.size()
    }

    /// [`Arg::offset`] of the next argument.
    pub fn offset(&mut self) -> Result<Spanned<u64>, Fault> {
        self.one()?.offset()
    }

    /// [`Arg::duration`] of the next argument.
    pub fn duration(&mut self) -> Result<Spanned<Duration>, Fault> {
        self.one()?.duration()
    }

    /// [`Arg::seconds`] of the next argument.
    pub fn seconds(&mut self) -> Result<Spanned<Duration>, Fault> {
        self.one()?.seconds()
    }

    /// [`Arg::one_of`] of the next argument.
    pub fn one_of<T: Clone>(&mut self, choices: &[(&str, T)]) -> Result<Spanned<T>, Fault> {
        self.one()?.one_of(choices)
    }

    /// [`Arg::listen_address`] of the next argument.
    pub fn listen_address(&mut self) -> Result<Spanned<ListenAddress>, Fault> {
        self.one()?.listen_address()
    }

    /// [`Arg::peer_address`] of the next argument.
    pub fn peer_address(&mut self) -> Result<Spanned<PeerAddress>, Fault> {
        self.one()?.peer_address()
    }

    /// [`Arg::template`] of the next argument.
    pub fn template(&mut self) -> Result<Spanned<Template>, Fault> {
        self.one()?.template()
    }

    /// [`Arg::pattern`] of the next argument.
    pub fn pattern(&mut self, case: Case) -> Result<Spanned<Pattern>, Fault> {
        self.one()?.pattern(case)
    }
}

impl<'a> Iterator for Args<'a> {
    type Item = Arg<'a>;

    fn next(&mut self) -> Option<Arg<'a>> {
        let arg = self.peek()?;
        self.next += 1;
        Some(arg)
    }
}
