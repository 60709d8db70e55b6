//! All directive tables of all features in one place: lookup, guesses, and the facts for the directive reference.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;

use crate::args::Args;
use crate::directive::{Arity, BlockKind, Directive, Repeat};
use crate::fault::Fault;
use crate::scope::{Scope, Scopes};
use crate::suggest;

/// What a feature's directives write into. One is made for each block in which the feature wrote anything.
pub trait Written: Any + Default + Send {}
impl<T: Any + Default + Send> Written for T {}

/// The features of a program. The walk ([`Registry::walk`]) reads a tree with all their tables at once.
#[derive(Default)]
pub struct Registry {
    entries: Vec<Entry>,
    names: HashMap<&'static str, Vec<usize>>,
    tables: Vec<Box<dyn Table>>,
}

/// The way back from a [`Level`](crate::Level) to what one feature wrote there.
pub struct Handle<W> {
    pub(crate) feature: usize,
    written: PhantomData<fn() -> W>,
}

/// What is known of a directive without knowing its feature's types.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Entry {
    /// The feature that owns it, by the name it was registered with.
    pub feature: &'static str,
    /// What the file calls it.
    pub name: &'static str,
    /// Where it may stand.
    pub scopes: Scopes,
    /// How many arguments it takes.
    pub args: Arity,
    /// What stands behind the arguments.
    pub block: BlockKind,
    /// How often it may stand in one block.
    pub repeat: Repeat,
    /// The arguments in words.
    pub syntax: &'static str,
    /// What holds where it isn't written.
    pub default: &'static str,
    /// What it does.
    pub doc: &'static str,
    pub(crate) table: usize,
    pub(crate) row: usize,
}

impl Entry {
    /// The line for the directive reference: `limit_req_status code;`, `server { ... }`.
    pub fn synopsis(&self) -> String {
        let space = if self.syntax.is_empty() { "" } else { " " };
        let end = if self.block == BlockKind::None {
            ";"
        } else {
            " { ... }"
        };
        format!("{}{space}{}{end}", self.name, self.syntax)
    }
}

/// Two features want the same directive in the same place: a fault of the program, not of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("directive \"{name}\" in {scopes} belongs to both \"{first}\" and \"{second}\"")]
pub struct Overlap {
    /// The directive.
    pub name: &'static str,
    /// The scopes that the second asks for.
    pub scopes: Scopes,
    /// Who had it first.
    pub first: &'static str,
    /// Who asked for it again.
    pub second: &'static str,
}

impl Registry {
    /// No features yet.
    pub fn new() -> Registry {
        Registry::default()
    }

    /// Adds the directives of a feature.
    ///
    /// # Errors
    /// [`Overlap`] when a directive of that name is there already in one of the scopes.
    pub fn add<W: Written>(
        &mut self,
        feature: &'static str,
        directives: &'static [Directive<W>],
    ) -> Result<Handle<W>, Overlap> {
        let table = self.tables.len();
        for (row, directive) in directives.iter().enumerate() {
            self.add_entry(facts(feature, directive, table, row))?;
        }
        self.tables.push(Box::new(directives));
        Ok(Handle {
            feature: table,
            written: PhantomData,
        })
    }

    fn add_entry(&mut self, entry: Entry) -> Result<(), Overlap> {
        if let Some(first) = self
            .named(entry.name)
            .find(|other| other.scopes.overlap(entry.scopes))
        {
            return Err(Overlap {
                name: entry.name,
                scopes: entry.scopes,
                first: first.feature,
                second: entry.feature,
            });
        }
        self.names
            .entry(entry.name)
            .or_default()
            .push(self.entries.len());
        self.entries.push(entry);
        Ok(())
    }

    /// Every directive, in the order of registration.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The directives of this name: one for each group of scopes that reads it its own way.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &Entry> {
        self.names
            .get(name)
            .into_iter()
            .flatten()
            .map(|&index| &self.entries[index])
    }

    /// The directive of this name in this scope.
    ///
    /// # Errors
    /// `unknown directive` with the nearest name, or `directive is not allowed here` with the scopes where it is.
    pub fn find(&self, name: &str, scope: Scope) -> Result<&Entry, Fault> {
        if let Some(entry) = self.named(name).find(|entry| entry.scopes.contains(scope)) {
            return Ok(entry);
        }
        let allowed: Vec<String> = self
            .named(name)
            .map(|entry| entry.scopes.to_string())
            .collect();
        if !allowed.is_empty() {
            let fault = Fault::new(format!("\"{name}\" directive is not allowed here"));
            return Err(fault.help(format!(
                "this is {scope}; \"{name}\" is allowed in {}",
                allowed.join(", ")
            )));
        }
        Err(self.unknown(name, scope))
    }

    fn unknown(&self, name: &str, scope: Scope) -> Fault {
        let fault = Fault::new(format!("unknown directive \"{name}\""));
        if name.contains(['{', '}']) {
            return fault.help("a word that holds \"{\" or \"}\", such as a regular expression, must stand in quotes");
        }
        let here = self
            .entries
            .iter()
            .filter(|entry| entry.scopes.contains(scope))
            .map(|entry| entry.name);
        if let Some(guess) = suggest::nearest(name, here) {
            return fault.guess(guess);
        }
        let elsewhere = suggest::nearest(name, self.entries.iter().map(|entry| entry.name));
        match elsewhere.and_then(|guess| self.named(guess).next()) {
            Some(entry) => fault
                .guess(entry.name)
                .help(format!("\"{}\" is allowed in {}", entry.name, entry.scopes)),
            None => fault,
        }
    }

    pub(crate) fn table(&self, entry: &Entry) -> &dyn Table {
        &*self.tables[entry.table]
    }
}

/// A feature's table without its type.
pub(crate) trait Table: Send + Sync {
    /// What a block starts with.
    fn blank(&self) -> Box<dyn Any + Send>;
    /// Runs the reader of one row. `written` comes from [`Table::blank`].
    fn read(&self, row: usize, args: &mut Args<'_>, written: &mut dyn Any) -> Result<(), Fault>;
}

impl<W: Written> Table for &'static [Directive<W>] {
    fn blank(&self) -> Box<dyn Any + Send> {
        Box::new(W::default())
    }

    fn read(&self, row: usize, args: &mut Args<'_>, written: &mut dyn Any) -> Result<(), Fault> {
        match written.downcast_mut() {
            Some(written) => (self[row].read)(args, written),
            None => unreachable!("a slot holds what its own table made"),
        }
    }
}

fn facts<W>(feature: &'static str, directive: &Directive<W>, table: usize, row: usize) -> Entry {
    Entry {
        feature,
        name: directive.name,
        scopes: directive.scopes,
        args: directive.args,
        block: directive.block,
        repeat: directive.repeat,
        syntax: directive.syntax,
        default: directive.default,
        doc: directive.doc,
        table,
        row,
    }
}

impl<W> Clone for Handle<W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<W> Copy for Handle<W> {}

impl<W> fmt::Debug for Handle<W> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Handle({})", self.feature)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Registry")
            .field("entries", &self.entries.len())
            .finish_non_exhaustive()
    }
}
