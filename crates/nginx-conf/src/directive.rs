//! An entry of a feature's directive table: what a directive is called, where it may stand, how it is read.

use std::fmt;

use crate::args::Args;
use crate::fault::Fault;
use crate::scope::{Scope, Scopes};

/// A directive of a feature whose written settings are a `W`. Write a `const` for each, completed from
/// [`Directive::DEFAULT`]: one argument, no block, once in each block.
///
/// ```
/// use nginx_conf::{Directive, Scope, Scopes, Setting};
/// #[derive(Default)]
/// struct Written { status: Setting<u16> }
///
/// const STATUS: Directive<Written> = Directive {
///     name: "limit_req_status",
///     scopes: Scopes::of(&[Scope::new("http"), Scope::new("server")]),
///     syntax: "code",
///     default: "503",
///     doc: "Status sent when a request is refused.",
///     read: |args, written| written.status.set(args.status(400..=599)?),
///     ..Directive::DEFAULT
/// };
/// # assert_eq!(STATUS.name, "limit_req_status");
/// ```
pub struct Directive<W: 'static> {
    /// What the file calls it.
    pub name: &'static str,
    /// Where it may stand.
    pub scopes: Scopes,
    /// How many arguments it takes. One unless said.
    pub args: Arity,
    /// What stands behind the arguments. A semicolon unless said.
    pub block: BlockKind,
    /// How often it may stand in one block. Once unless said.
    pub repeat: Repeat,
    /// The arguments, for the directive reference: `number | auto`.
    pub syntax: &'static str,
    /// What holds where it isn't written, for the directive reference; empty when there is nothing to say.
    pub default: &'static str,
    /// What it does, for the directive reference.
    pub doc: &'static str,
    /// Reads the arguments. Where the directive opens a scope, `W` is that of the new block, else of the block it stands in.
    /// Arguments left unread are refused as invalid parameters.
    pub read: fn(&mut Args<'_>, &mut W) -> Result<(), Fault>,
}

impl<W> Directive<W> {
    /// What an entry leaves unsaid.
    pub const DEFAULT: Directive<W> = Directive {
        name: "",
        scopes: Scopes::of(&[]),
        args: Arity::exactly(1),
        block: BlockKind::None,
        repeat: Repeat::Once,
        syntax: "",
        default: "",
        doc: "",
        read: |_, _| Ok(()),
    };
}

impl<W> Clone for Directive<W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<W> Copy for Directive<W> {}

impl<W> fmt::Debug for Directive<W> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Directive")
            .field("name", &self.name)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

/// How many arguments a directive takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arity {
    /// The fewest.
    pub min: usize,
    /// The most.
    pub max: usize,
}

impl Arity {
    /// None at all.
    pub const NONE: Arity = Arity::exactly(0);
    /// The reader decides.
    pub const ANY: Arity = Arity::at_least(0);

    /// This many.
    pub const fn exactly(count: usize) -> Arity {
        Arity {
            min: count,
            max: count,
        }
    }

    /// This many or more.
    pub const fn at_least(min: usize) -> Arity {
        Arity {
            min,
            max: usize::MAX,
        }
    }

    /// From `min` to `max`, both included.
    pub const fn between(min: usize, max: usize) -> Arity {
        Arity { min, max }
    }

    /// Whether a count is allowed.
    pub fn allows(self, count: usize) -> bool {
        (self.min..=self.max).contains(&count)
    }
}

/// `one argument`, `2 to 3 arguments`: completes the sentence "it takes …".
impl fmt::Display for Arity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.min, self.max) {
            (0, 0) => out.write_str("no arguments"),
            (1, 1) => out.write_str("one argument"),
            (0, 1) => out.write_str("at most one argument"),
            (1, usize::MAX) => out.write_str("one or more arguments"),
            (0, usize::MAX) => out.write_str("any number of arguments"),
            (min, usize::MAX) => write!(out, "{min} or more arguments"),
            (min, max) if min == max => write!(out, "{min} arguments"),
            (min, max) => write!(out, "{min} to {max} arguments"),
        }
    }
}

/// What stands behind a directive's arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    /// A semicolon.
    None,
    /// A block of directives, which are looked up in this scope.
    Opens(Scope),
    /// A block whose lines are data, as in `types` and `map`; the reader takes them from [`Args::lines`](crate::Args::lines).
    FreeForm,
}

/// How often a directive may stand in one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// A second one is a duplicate.
    Once,
    /// As often as wanted.
    Many,
}
