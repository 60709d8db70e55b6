//! The configuration language of nginx: tokens, tree with spans, `include`, scopes, inheritance, templates, patterns.
//!
//! Knows no directive by name (but `include`, which is part of the language) and nothing of HTTP. A program registers the
//! tables of its features in a [`Registry`] and walks a parsed tree with it:
//!
//! ```
//! use nginx_conf::{Arity, BlockKind, Directive, Faults, Parser, Registry, Repeat, Scope, Scopes, Setting, SourceSet};
//!
//! const MAIN: Scope = Scope::new("main");
//! const SHELF: Scope = Scope::new("shelf");
//!
//! #[derive(Default)]
//! struct Shelves { label: Setting<String> }
//! const SHELVES: &[Directive<Shelves>] = &[Directive {
//!     name: "shelf",
//!     scopes: Scopes::of(&[MAIN]),
//!     block: BlockKind::Opens(SHELF),
//!     repeat: Repeat::Many,
//!     read: |args, written| written.label.set(args.string()?),
//!     ..Directive::DEFAULT
//! }];
//!
//! #[derive(Default)]
//! struct Lamp { on: Setting<bool> }
//! const LAMP: &[Directive<Lamp>] = &[Directive {
//!     name: "lamp",
//!     scopes: Scopes::of(&[MAIN, SHELF]),
//!     read: |args, written| written.on.set(args.flag()?),
//!     ..Directive::DEFAULT
//! }];
//!
//! let mut registry = Registry::new();
//! let shelves = registry.add("shelves", SHELVES)?;
//! let lamp = registry.add("lamp", LAMP)?;
//!
//! let files = SourceSet::of([("/house.conf", "lamp off; shelf books { lamp on; } shelf tools { }")]);
//! let (tree, mut faults) = Parser::new(&files).parse("/house.conf");
//! let house = registry.walk(&tree.root, MAIN, &(), &mut faults);
//! assert!(faults.is_empty());
//!
//! let outside = house.written(lamp).and_then(|lamp| lamp.on.get());
//! let lit: Vec<bool> = house
//!     .children_in(SHELF)
//!     .map(|shelf| shelf.written(lamp).map_or_else(Setting::default, |lamp| lamp.on).settle(outside, || false))
//!     .collect();
//! assert_eq!(lit, [true, false]);
//! assert_eq!(house.children()[0].written(shelves).unwrap().label.get().unwrap(), "books");
//! # Ok::<(), nginx_conf::Overlap>(())
//! ```
#![forbid(unsafe_code)]

mod address;
mod arg;
mod args;
mod condition;
mod directive;
mod fault;
mod glob;
mod lexer;
mod number;
mod parse;
mod pattern;
#[cfg(any(test, fuzzing))]
pub mod properties;
mod registry;
mod render;
mod scope;
mod setting;
mod source;
mod span;
mod suggest;
mod template;
mod tree;
mod units;
mod walk;

pub use address::{AddressError, Host, ListenAddress, PeerAddress, UNIX_PATH_BYTES_MAX};
pub use arg::Arg;
pub use args::Args;
pub use condition::{Condition, FileTest};
pub use directive::{Arity, BlockKind, Directive, Repeat};
pub use fault::{FAULTS_MAX, Fault, Faults, Severity};
pub use lexer::WORD_BYTES_MAX;
pub use number::Integer;
pub use parse::{BLOCK_DEPTH_MAX, INCLUDE_DEPTH_MAX, OPENINGS_MAX, Parser};
pub use pattern::{BACKTRACK_STEPS_MAX, Captures, Case, MatchError, Pattern, PatternError};
pub use registry::{Entry, Handle, Overlap, Registry, Written};
pub use render::Style;
pub use scope::{Scope, Scopes};
pub use setting::{List, Setting, Spanned};
pub use source::{DiskLoader, FILE_BYTES_MAX, Loader, Opening, SourceSet, Sources};
pub use span::{FileId, Span};
pub use template::{Compiled, Part, Reference, Template, Variables};
pub use tree::{Block, Quote, Statement, Tree, Word};
pub use units::seconds;
pub use walk::Level;
