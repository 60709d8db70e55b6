//! The longest prefix of a byte string among a set: the heart of nginx's location choice. Knows nothing of locations.

/// A set of byte strings, each with a value, that answers which of them is the longest prefix of another.
///
/// Sorted once; a look-up is one binary search and a walk up the chain of the entry's own prefixes.
#[derive(Debug)]
pub struct PrefixSet<T> {
    entries: Vec<Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    prefix: Box<[u8]>,
    /// The longest other entry that is a prefix of this one.
    parent: Option<usize>,
    value: T,
}

impl<T> Default for PrefixSet<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
        }
    }
}

impl<T> PrefixSet<T> {
    /// Builds the set. Of two equal prefixes the first stays.
    pub fn new(pairs: impl IntoIterator<Item = (Vec<u8>, T)>) -> Self {
        let mut entries: Vec<Entry<T>> = pairs
            .into_iter()
            .map(|(prefix, value)| Entry {
                prefix: prefix.into(),
                parent: None,
                value,
            })
            .collect();
        entries.sort_by(|a, b| a.prefix.cmp(&b.prefix));
        entries.dedup_by(|later, first| later.prefix == first.prefix);
        for at in 1..entries.len() {
            let mut candidate = Some(at - 1);
            while let Some(index) = candidate {
                if entries[at].prefix.starts_with(&entries[index].prefix) {
                    break;
                }
                candidate = entries[index].parent;
            }
            entries[at].parent = candidate;
        }
        Self { entries }
    }

    /// The longest entry that `text` starts with.
    pub fn longest(&self, text: &[u8]) -> Option<(&[u8], &T)> {
        // Every string that sorts between a prefix of `text` and `text` itself starts with that prefix, so the answer is
        // the greatest entry not above `text` or one of its ancestors.
        let above = self.entries.partition_point(|entry| &*entry.prefix <= text);
        let mut candidate = above.checked_sub(1);
        while let Some(index) = candidate {
            let entry = &self.entries[index];
            if text.starts_with(&entry.prefix) {
                return Some((&entry.prefix, &entry.value));
            }
            candidate = entry.parent;
        }
        None
    }

    /// The entry that equals `text` followed by one `last` byte.
    pub fn extended_by(&self, text: &[u8], last: u8) -> Option<&T> {
        let wanted = text.iter().chain(std::iter::once(&last));
        let found = self
            .entries
            .binary_search_by(|entry| entry.prefix.iter().cmp(wanted.clone()))
            .ok()?;
        Some(&self.entries[found].value)
    }

    /// All values, by prefix.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|entry| &entry.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(prefixes: &[&str]) -> PrefixSet<String> {
        PrefixSet::new(
            prefixes
                .iter()
                .map(|p| (p.as_bytes().to_vec(), (*p).to_owned())),
        )
    }

    #[test]
    fn chooses_the_longest_prefix() {
        let set = set(&["/", "/static/", "/static/admin/", "/st", "/z"]);
        for (text, expected) in [
            ("/", Some("/")),
            ("/static/a.css", Some("/static/")),
            ("/static/admin/x", Some("/static/admin/")),
            ("/static", Some("/st")),
            ("/static/zz", Some("/static/")),
            ("/y", Some("/")),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(
                set.longest(text.as_bytes())
                    .map(|(_, value)| value.as_str()),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn finds_the_entry_that_lacks_only_a_slash() {
        let set = set(&["/app/", "/app/x"]);
        assert!(set.extended_by(b"/app", b'/').is_some());
        assert!(set.extended_by(b"/ap", b'/').is_none());
        assert!(set.extended_by(b"/app/x", b'/').is_none());
    }

    proptest! {
        #[test]
        fn agrees_with_trying_every_prefix(
            prefixes in proptest::collection::vec("[ab/]{0,6}", 0..12),
            text in "[ab/]{0,9}",
        ) {
            let set = PrefixSet::new(prefixes.iter().map(|p| (p.clone().into_bytes(), p.clone())));
            let expected = prefixes.iter().filter(|p| text.starts_with(p.as_str())).max_by_key(|p| p.len());
            prop_assert_eq!(set.longest(text.as_bytes()).map(|(_, value)| value), expected);
        }
    }
}
