//! Where a directive may stand. The caller names the scopes; this crate knows none.

use std::fmt;

/// A kind of block, known by its name: `http`, `server`, `location`, `if in location`, and one for the top of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scope(&'static str);

impl Scope {
    /// The name is what messages and the directive reference call it.
    pub const fn new(name: &'static str) -> Scope {
        Scope(name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0)
    }
}

/// Several scopes.
///
/// ```
/// use nginx_conf::{Scope, Scopes};
/// const HTTP: Scope = Scope::new("http");
/// const SERVER: Scope = Scope::new("server");
/// const HTTP_SERVER: Scopes = Scopes::of(&[HTTP, SERVER]);
/// assert!(HTTP_SERVER.contains(SERVER));
/// assert_eq!(HTTP_SERVER.to_string(), "http, server");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scopes(&'static [Scope]);

impl Scopes {
    /// These scopes.
    pub const fn of(scopes: &'static [Scope]) -> Scopes {
        Scopes(scopes)
    }

    /// Whether a scope is among them.
    pub fn contains(self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    /// Whether any scope is in both.
    pub fn overlap(self, other: Scopes) -> bool {
        self.iter().any(|scope| other.contains(scope))
    }

    /// One after the other, in the order they were given.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        self.0.iter().copied()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.iter().enumerate() {
            write!(out, "{}{scope}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}
