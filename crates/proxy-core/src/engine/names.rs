//! Which server a `Host` names: `server_name` as nginx documents it. Exact names, then the longest wildcard that begins with
//! an asterisk, then the longest that ends with one, then regular expressions in their order.

use super::table::Table;

/// The names of all servers that share a listening address. `T` is what a name leads to.
#[derive(Debug)]
pub struct ServerNames<T, P> {
    exact: Table<T>,
    /// `*.example.org` under `.example.org`.
    leading: Table<T>,
    /// `www.example.*` under `www.example.`.
    trailing: Table<T>,
    patterns: Vec<(P, T)>,
}

/// One argument of `server_name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerName<P> {
    /// `example.org`, lower-case; the empty name serves requests without `Host`.
    Exact(String),
    /// `*.example.org`, kept as `.example.org`.
    Leading(String),
    /// `.example.org`: the name itself and everything below it.
    Both(String),
    /// `www.example.*`, kept as `www.example.`.
    Trailing(String),
    /// `~regex`.
    Pattern(P),
}

impl<P> ServerName<P> {
    /// Reads a name that is not a regular expression. `None` for asterisks elsewhere than at one end, at a dot.
    pub fn parse(text: &str) -> Option<Self> {
        let name = text.to_ascii_lowercase();
        let parsed = if let Some(rest) = name.strip_prefix("*.") {
            Self::Leading(format!(".{rest}"))
        } else if let Some(rest) = name.strip_suffix(".*") {
            Self::Trailing(format!("{rest}."))
        } else if name.len() > 1 && name.starts_with('.') {
            Self::Both(name)
        } else {
            Self::Exact(name)
        };
        let (Self::Exact(kept) | Self::Leading(kept) | Self::Both(kept) | Self::Trailing(kept)) =
            &parsed
        else {
            return None;
        };
        let well_formed = !kept.contains('*')
            && !kept.contains('/')
            && (kept.len() > 1 || matches!(parsed, Self::Exact(_)));
        well_formed.then_some(parsed)
    }
}

impl<T, P> Default for ServerNames<T, P> {
    fn default() -> Self {
        Self {
            exact: Table::default(),
            leading: Table::default(),
            trailing: Table::default(),
            patterns: Vec::new(),
        }
    }
}

impl<T: Clone, P> ServerNames<T, P> {
    /// Adds a name. False when the same name stood there already: the first one stays (nginx warns "conflicting server name").
    pub fn add(&mut self, name: ServerName<P>, value: T) -> bool {
        match name {
            ServerName::Exact(name) => vacant(&mut self.exact, name, value),
            ServerName::Leading(name) => vacant(&mut self.leading, name, value),
            ServerName::Trailing(name) => vacant(&mut self.trailing, name, value),
            ServerName::Both(name) => {
                let itself = vacant(&mut self.exact, name[1..].to_owned(), value.clone());
                vacant(&mut self.leading, name, value) && itself
            }
            ServerName::Pattern(pattern) => {
                self.patterns.push((pattern, value));
                true
            }
        }
    }

    /// True when no name was added: the default server answers everything.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty()
            && self.leading.is_empty()
            && self.trailing.is_empty()
            && self.patterns.is_empty()
    }

    /// The value for a host, which has to be lower-case and without port; `matches` tries a pattern.
    pub fn find<M>(
        &self,
        host: &[u8],
        mut matches: impl FnMut(&P) -> Option<M>,
    ) -> Option<(&T, Option<M>)> {
        if let Some(value) = self.exact.get(host) {
            return Some((value, None));
        }
        if let Some(value) = self.find_leading(host).or_else(|| self.find_trailing(host)) {
            return Some((value, None));
        }
        self.patterns
            .iter()
            .find_map(|(pattern, value)| matches(pattern).map(|matched| (value, Some(matched))))
    }

    fn find_leading(&self, host: &[u8]) -> Option<&T> {
        if self.leading.is_empty() {
            return None;
        }
        // From the left, so that the longest wildcard is tried first; a label must stand before the dot.
        memchr::memchr_iter(b'.', host)
            .filter(|&dot| dot > 0)
            .find_map(|dot| self.leading.get(&host[dot..]))
    }

    fn find_trailing(&self, host: &[u8]) -> Option<&T> {
        if self.trailing.is_empty() {
            return None;
        }
        memchr::memrchr_iter(b'.', host)
            .filter(|&dot| dot + 1 < host.len())
            .find_map(|dot| self.trailing.get(&host[..=dot]))
    }
}

fn vacant<T>(map: &mut Table<T>, name: String, value: T) -> bool {
    match map.entry(name.into_bytes().into()) {
        std::collections::hash_map::Entry::Occupied(_) => false,
        std::collections::hash_map::Entry::Vacant(entry) => {
            entry.insert(value);
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(given: &[&str]) -> ServerNames<String, String> {
        let mut names = ServerNames::default();
        for text in given {
            let name = match text.strip_prefix('~') {
                Some(pattern) => ServerName::Pattern(pattern.to_owned()),
                None => ServerName::parse(text).unwrap_or_else(|| panic!("{text} is a name")),
            };
            assert!(names.add(name, (*text).to_owned()), "{text} is new");
        }
        names
    }

    fn found(names: &ServerNames<String, String>, host: &str) -> Option<String> {
        let contains = |pattern: &String| host.contains(pattern.as_str()).then_some(());
        names
            .find(host.as_bytes(), contains)
            .map(|(value, _)| value.clone())
    }

    #[test]
    fn prefers_exact_then_leading_then_trailing_then_patterns() {
        let names = names(&[
            "a.example.org",
            "*.example.org",
            "*.b.example.org",
            "a.example.*",
            "a.*",
            "~exam",
        ]);
        for (host, expected) in [
            ("a.example.org", Some("a.example.org")),
            ("x.example.org", Some("*.example.org")),
            ("x.y.b.example.org", Some("*.b.example.org")),
            ("a.example.net", Some("a.example.*")),
            ("a.net", Some("a.*")),
            ("example.org", Some("~exam")),
            ("other", None),
        ] {
            assert_eq!(found(&names, host).as_deref(), expected, "{host}");
        }
    }

    #[test]
    fn a_name_with_a_leading_dot_is_the_name_and_all_below() {
        let names = names(&[".example.org"]);
        assert_eq!(
            found(&names, "example.org").as_deref(),
            Some(".example.org")
        );
        assert_eq!(
            found(&names, "a.b.example.org").as_deref(),
            Some(".example.org")
        );
        assert_eq!(found(&names, "badexample.org"), None);
    }

    #[test]
    fn refuses_asterisks_in_the_middle() {
        for text in ["www.*.org", "w*.example.org", "*", "*.", "**.org", "a/b"] {
            assert_eq!(ServerName::<String>::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_first_of_two_equal_names_stays() {
        let mut names: ServerNames<u8, String> = ServerNames::default();
        assert!(names.add(ServerName::Exact("a".into()), 1));
        assert!(!names.add(ServerName::Exact("a".into()), 2));
        assert_eq!(
            names.find(b"a", |_| None::<()>).map(|(value, _)| *value),
            Some(1)
        );
    }
}
