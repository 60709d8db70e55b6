//! Variables: what a name in a template means, settled when the configuration is read.

use std::collections::HashMap;

use nginx_conf::Reference;

use super::exchange::Exchange;

/// A variable that the engine or a feature offers.
pub struct Variable {
    /// Its name without the dollar sign; for a family (`http_…`) the common beginning.
    pub name: &'static str,
    /// True for a family whose members' names begin with `name`.
    pub family: bool,
    /// One line for the reference.
    pub doc: &'static str,
    /// True when it reads the response's fields after the response was sent.
    pub needs_response_fields: bool,
    /// Appends the value; false when there is none (`-` in a log, empty elsewhere). Gets the rest of a family member's name.
    pub eval: Eval,
}

/// What computes a variable, see [`Variable::eval`].
type Eval = fn(&Exchange, &str, &mut Vec<u8>) -> bool;

impl Variable {
    /// One that stands alone and reads no fields of the response.
    pub const fn plain(name: &'static str, doc: &'static str, eval: Eval) -> Self {
        Self {
            name,
            family: false,
            doc,
            needs_response_fields: false,
            eval,
        }
    }

    /// A family that reads no fields of the response; `name` is what its members' names begin with.
    pub const fn family(name: &'static str, doc: &'static str, eval: Eval) -> Self {
        Self {
            family: true,
            ..Self::plain(name, doc, eval)
        }
    }
}

/// A variable as a compiled template refers to it.
#[derive(Clone, Debug)]
pub enum VariableRef {
    /// One that is computed.
    Computed {
        /// Computes it.
        eval: Eval,
        /// The rest of a family member's name, as its function wants it (fields: lower-case with dashes).
        rest: Box<str>,
    },
    /// One that the configuration assigns.
    Assigned(usize),
    /// `$1` … `$9`.
    Capture(usize),
}

/// A text with variables, ready to be expanded.
pub type Template = nginx_conf::Compiled<VariableRef>;

impl VariableRef {
    /// Appends the value; false when there is none.
    pub fn append(&self, exchange: &Exchange, out: &mut Vec<u8>) -> bool {
        let value = match self {
            Self::Computed { eval, rest } => return eval(exchange, rest, out),
            Self::Assigned(index) => exchange.assigned(*index),
            Self::Capture(number) => exchange.captures.group(*number),
        };
        value.map(|value| out.extend_from_slice(value)).is_some()
    }
}

/// All variables that a configuration can name.
#[derive(Default)]
pub struct VariableTable {
    known: HashMap<&'static str, &'static Variable>,
    families: Vec<&'static Variable>,
    assigned: HashMap<Box<str>, usize>,
    needs_response_fields: bool,
}

impl VariableTable {
    /// Adds what the engine or a feature offers.
    pub fn offer(&mut self, variables: &'static [Variable]) {
        for variable in variables {
            if variable.family {
                self.families.push(variable);
            } else {
                self.known.insert(variable.name, variable);
            }
        }
        // The longest beginning wins: `upstream_http_` before `upstream_`.
        self.families
            .sort_by_key(|family| std::cmp::Reverse(family.name.len()));
    }

    /// The index of a variable that the configuration assigns, new or known. `None` for the name of a computed one.
    pub fn assign(&mut self, name: &str) -> Option<usize> {
        if self.known.contains_key(name) {
            return None;
        }
        let next = self.assigned.len();
        Some(*self.assigned.entry(name.into()).or_insert(next))
    }

    fn named(&mut self, name: &str) -> Option<VariableRef> {
        if let Some(&index) = self.assigned.get(name) {
            return Some(VariableRef::Assigned(index));
        }
        let known = self.known.get(name).map(|&variable| (variable, ""));
        let (variable, rest) = known.or_else(|| {
            let member = |family: &&'static Variable| {
                Some((*family, name.strip_prefix(family.name)?))
                    .filter(|(_, rest)| !rest.is_empty())
            };
            self.families.iter().find_map(member)
        })?;
        self.needs_response_fields |= variable.needs_response_fields;
        Some(VariableRef::Computed {
            eval: variable.eval,
            rest: rest.into(),
        })
    }

    /// The variables that the configuration assigns, each with its index.
    pub fn assigned_names(&self) -> HashMap<Box<str>, usize> {
        self.assigned.clone()
    }

    /// True when a variable that was asked for reads the response's fields after it was sent.
    pub fn needs_response_fields(&self) -> bool {
        self.needs_response_fields
    }
}

impl nginx_conf::Variables for VariableTable {
    type Id = VariableRef;

    fn find(&mut self, reference: Reference<'_>) -> Option<VariableRef> {
        match reference {
            Reference::Variable(name) => self.named(name),
            Reference::Capture(number) => Some(VariableRef::Capture(usize::from(number))),
        }
    }

    fn names(&self) -> Vec<String> {
        self.known
            .keys()
            .map(|name| (*name).to_owned())
            .chain(self.assigned.keys().map(ToString::to_string))
            .collect()
    }
}
