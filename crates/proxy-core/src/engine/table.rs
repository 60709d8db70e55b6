//! Tables that the configuration fills and requests only read: host names, exact locations.
//!
//! Nobody outside can put anything in, so nobody can make its keys collide on purpose: a quick hash does.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A table by byte strings.
pub(super) type Table<T> = HashMap<Box<[u8]>, T, BuildHasherDefault<Quick>>;

/// Mixes words by rotation and multiplication.
#[derive(Default)]
pub(super) struct Quick(u64);

/// An odd number without pattern: 2⁶⁴ divided by the golden ratio.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

impl Quick {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(FACTOR);
    }
}

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.add(u64::from_le_bytes(last));
        }
    }

    fn write_usize(&mut self, number: usize) {
        self.add(number as u64);
    }

    fn finish(&self) -> u64 {
        // The table looks at the lowest bits first, the product is mixed best in the highest.
        self.0 ^ self.0 >> 32
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::Hash;

    use super::*;

    fn hash(text: &str) -> u64 {
        let mut quick = Quick::default();
        text.as_bytes().hash(&mut quick);
        quick.finish()
    }

    #[test]
    fn names_as_sites_have_them_spread_over_few_bits() {
        let names = (0..1024).flat_map(|number| {
            [
                format!("www{number}.example.org"),
                format!("/app/{number}/"),
                format!("{number}"),
            ]
        });
        let buckets: HashSet<u64> = names.map(|name| hash(&name) & 0xfff).collect();
        // 3072 thrown into 4096 at random leave about 2160 taken.
        assert!(buckets.len() > 2000, "{}", buckets.len());
        assert_ne!(hash("a"), hash("a\0"));
    }

    #[test]
    fn finds_what_was_put_in() {
        let mut table = Table::default();
        for name in ["", "a", "example.org", "a-name-longer-than-eight-bytes"] {
            table.insert(name.as_bytes().into(), name);
        }
        for name in ["", "a", "example.org", "a-name-longer-than-eight-bytes"] {
            assert_eq!(table.get(name.as_bytes()), Some(&name));
        }
        assert_eq!(table.get(&b"b"[..]), None);
    }
}
