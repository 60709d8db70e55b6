//! The tree against the tables: every statement is looked up, checked and read, every fault is kept, and what the features
//! wrote comes back block by block.

use std::any::Any;

use crate::directive::{BlockKind, Repeat};
use crate::fault::{Fault, Faults};
use crate::registry::{Entry, Handle, Registry, Written};
use crate::scope::Scope;
use crate::span::Span;
use crate::tree::{Block, Statement};

/// One block as the features understood it.
pub struct Level {
    scope: Scope,
    name: &'static str,
    span: Option<Span>,
    position: usize,
    children: Vec<Level>,
    slots: Vec<(usize, Box<dyn Any + Send>)>,
}

impl Level {
    /// The scope its directives were looked up in.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// The directive that opened it; empty for the whole configuration.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The statement that opened it; `None` for the whole configuration.
    pub fn span(&self) -> Option<Span> {
        self.span
    }

    /// How many statements stand before it in the block around it; compares with [`Args::order`](crate::Args::order).
    pub fn order(&self) -> usize {
        self.position
    }

    /// The blocks inside, in the order of the text.
    pub fn children(&self) -> &[Level] {
        &self.children
    }

    /// The blocks inside that opened this scope.
    pub fn children_in(&self, scope: Scope) -> impl Iterator<Item = &Level> {
        self.children
            .iter()
            .filter(move |child| child.scope == scope)
    }

    /// The blocks inside, to take from.
    pub fn children_mut(&mut self) -> &mut Vec<Level> {
        &mut self.children
    }

    /// What a feature wrote in this block; `None` when none of its directives stands here.
    pub fn written<W: Written>(&self, handle: Handle<W>) -> Option<&W> {
        let slot = self
            .slots
            .iter()
            .find(|(feature, _)| *feature == handle.feature)?;
        slot.1.downcast_ref()
    }

    /// Takes what a feature wrote in this block; the blank value when it wrote nothing.
    pub fn take<W: Written>(&mut self, handle: Handle<W>) -> W {
        let Some(at) = self
            .slots
            .iter()
            .position(|(feature, _)| *feature == handle.feature)
        else {
            return W::default();
        };
        self.slots
            .swap_remove(at)
            .1
            .downcast()
            .map_or_else(|_| W::default(), |written| *written)
    }
}

impl std::fmt::Debug for Level {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Level")
            .field("scope", &self.scope)
            .field("name", &self.name)
            .field("children", &self.children)
            .finish_non_exhaustive()
    }
}

impl Registry {
    /// Reads a block with the tables of all features. `scope` is that of the block, `context` is what readers find in
    /// [`Args::context`](crate::Args::context) (pass `&()` when they need nothing). All faults are added to `faults`; what
    /// comes back is to be used only when none is fatal.
    pub fn walk(
        &self,
        block: &Block,
        scope: Scope,
        context: &dyn Any,
        faults: &mut Faults,
    ) -> Level {
        let mut level = Level {
            scope,
            name: "",
            span: None,
            position: 0,
            children: Vec::new(),
            slots: Vec::new(),
        };
        let mut walk = Walk {
            registry: self,
            context,
            faults,
        };
        walk.block(block, &mut level);
        level
    }
}

struct Walk<'w> {
    registry: &'w Registry,
    context: &'w dyn Any,
    faults: &'w mut Faults,
}

impl Walk<'_> {
    fn block(&mut self, block: &Block, level: &mut Level) {
        let mut seen: Vec<(&'static str, Span)> = Vec::new();
        for (position, statement) in block.statements.iter().enumerate() {
            if let Err(fault) = self.statement(statement, position, level, &mut seen) {
                self.report(fault, statement, level.scope);
            }
        }
    }

    /// Checks in nginx's order: name, place, block or semicolon, number of arguments, repetition; then reads.
    fn statement(
        &mut self,
        statement: &Statement,
        position: usize,
        level: &mut Level,
        seen: &mut Vec<(&'static str, Span)>,
    ) -> Result<(), Fault> {
        let registry = self.registry;
        let entry = registry
            .find(&statement.name.text, level.scope)
            .map_err(|fault| fault.at(statement.name.span))?;
        check_block(entry, statement)?;
        let checked =
            check_count(entry, statement).and_then(|()| check_repeat(entry, statement, seen));
        let BlockKind::Opens(scope) = entry.block else {
            checked?;
            return self.read(entry, statement, position, level.scope, level);
        };
        let mut child = Level {
            scope,
            name: entry.name,
            span: Some(statement.span()),
            position,
            children: Vec::new(),
            slots: Vec::new(),
        };
        // a fault in the head doesn't keep the block from being read
        if let Err(fault) =
            checked.and_then(|()| self.read(entry, statement, position, level.scope, &mut child))
        {
            self.report(fault, statement, level.scope);
        }
        if let Some(inner) = &statement.block {
            self.block(inner, &mut child);
        }
        level.children.push(child);
        Ok(())
    }

    fn read(
        &mut self,
        entry: &Entry,
        statement: &Statement,
        position: usize,
        scope: Scope,
        into: &mut Level,
    ) -> Result<(), Fault> {
        let table = self.registry.table(entry);
        let at = into
            .slots
            .iter()
            .position(|(feature, _)| *feature == entry.table)
            .unwrap_or_else(|| {
                into.slots.push((entry.table, table.blank()));
                into.slots.len() - 1
            });
        let mut args = crate::Args::new(statement, scope, position, self.context, self.faults);
        table.read(entry.row, &mut args, &mut *into.slots[at].1)?;
        args.nothing_left()
    }

    fn report(&mut self, fault: Fault, statement: &Statement, scope: Scope) {
        let fault = fault
            .of_directive(&statement.name.text)
            .or_at(statement.span());
        let fault = self.missing_semicolon(fault, statement, scope);
        self.faults.push(fault);
    }

    /// Arguments that begin a line with the name of a directive that is allowed here: the line before lacks its `;`.
    fn missing_semicolon(&self, fault: Fault, statement: &Statement, scope: Scope) -> Fault {
        let mut before = &statement.name;
        for word in &statement.args {
            let own_line = word.span.line > before.span.line && word.quote.is_none();
            if own_line && self.registry.find(&word.text, scope).is_ok() {
                let help = format!(
                    "is a \";\" missing behind \"{}\" on line {}?",
                    before.text, before.span.line
                );
                return fault.help(help);
            }
            before = word;
        }
        fault
    }
}

fn check_block(entry: &Entry, statement: &Statement) -> Result<(), Fault> {
    let name = entry.name;
    match (&statement.block, entry.block) {
        (Some(block), BlockKind::None) => {
            let brace = block.open.unwrap_or(statement.name.span);
            Err(
                Fault::new(format!("directive \"{name}\" is not terminated by \";\""))
                    .at(brace)
                    .help(format!("\"{name}\" takes no block")),
            )
        }
        (None, BlockKind::Opens(_) | BlockKind::FreeForm) => Err(Fault::new(format!(
            "directive \"{name}\" has no opening \"{{\""
        ))
        .at(statement.span())
        .help(format!("write {}", entry.synopsis()))),
        _ => Ok(()),
    }
}

fn check_count(entry: &Entry, statement: &Statement) -> Result<(), Fault> {
    let count = statement.args.len();
    if entry.args.allows(count) {
        return Ok(());
    }
    let fault = Fault::new(format!(
        "invalid number of arguments in \"{}\" directive",
        entry.name
    ))
    .at(statement.span());
    let count = if count == 0 {
        "none".to_owned()
    } else {
        count.to_string()
    };
    Err(fault.help(format!("it takes {}, here it has {count}", entry.args)))
}

fn check_repeat(
    entry: &Entry,
    statement: &Statement,
    seen: &mut Vec<(&'static str, Span)>,
) -> Result<(), Fault> {
    if entry.repeat == Repeat::Many {
        return Ok(());
    }
    if let Some((_, first)) = seen.iter().find(|(name, _)| *name == entry.name) {
        let fault =
            Fault::new(format!("\"{}\" directive is duplicate", entry.name)).at(statement.span());
        return Err(fault
            .note(*first, "first given here")
            .help("keep one of the two"));
    }
    seen.push((entry.name, statement.span()));
    Ok(())
}
