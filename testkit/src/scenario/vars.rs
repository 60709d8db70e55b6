//! Placeholders: `{port}`, `{prefix}`, `{origin.NAME}` and what a scenario saves for itself.

use std::collections::BTreeMap;

use crate::{EscapeError, latin1, unescape};

/// The values that placeholders stand for. A name that is not known stays as it is written, for configurations are
/// full of braces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vars(BTreeMap<String, String>);

impl Vars {
    pub(crate) fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    /// The text with every known placeholder replaced.
    pub(crate) fn fill(&self, text: &str) -> String {
        self.replace(text, |value| value.to_owned())
    }

    /// The bytes a text stands for: placeholders, then escapes.
    pub(crate) fn bytes(&self, text: &str) -> Result<Vec<u8>, EscapeError> {
        unescape(&self.replace(text, |value| value.replace('\\', "\\\\")))
    }

    /// A pattern over bytes-as-characters in which placeholders stand for themselves.
    pub(crate) fn pattern(&self, text: &str) -> String {
        let filled = self.replace(text, |value| fancy_regex::escape(value).into_owned());
        latin1(filled.as_bytes())
    }

    fn replace(&self, text: &str, shape: impl Fn(&str) -> String) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            out.push_str(&rest[..open]);
            rest = &rest[open..];
            let known = rest[1..]
                .find(['}', '{', '\n'])
                .map(|end| &rest[1..=end])
                .and_then(|name| {
                    let value = self
                        .0
                        .get(name)
                        .filter(|_| rest[1 + name.len()..].starts_with('}'))?;
                    Some((name.len() + 2, value))
                });
            match known {
                Some((length, value)) => {
                    out.push_str(&shape(value));
                    rest = &rest[length..];
                }
                None => {
                    out.push('{');
                    rest = &rest[1..];
                }
            }
        }
        out + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars() -> Vars {
        let mut vars = Vars::default();
        vars.set("port", "8080");
        vars.set("origin.one", "127.0.0.1:1");
        vars.set("back", "a\\b");
        vars
    }

    #[test]
    fn only_known_names_are_replaced() {
        let text =
            "server { listen {port}; location ~ ^/a{2} { proxy_pass http://{origin.one}; } {port";
        let want =
            "server { listen 8080; location ~ ^/a{2} { proxy_pass http://127.0.0.1:1; } {port";
        assert_eq!(vars().fill(text), want);
        assert_eq!(vars().fill("{}{{port}}"), "{}{8080}");
    }

    #[test]
    fn values_are_no_escapes_and_no_patterns() {
        assert_eq!(vars().bytes("{back}\\n").unwrap(), b"a\\b\n");
        assert_eq!(vars().pattern("^{origin.one}$"), "^127\\.0\\.0\\.1:1$");
    }
}
