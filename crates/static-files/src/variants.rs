//! Pre-compressed variants: `app.css.br` beside `app.css`, for clients that accept the coding.
//!
//! Which one: the acceptable coding with the highest weight in `Accept-Encoding`, among equals the one that stands first
//! in [`Variants`]. The content type is the plain file's; validators, length and ranges are the variant's. The choice
//! depends on the request, so every response must say `Vary: Accept-Encoding`, also the plain one.
//!
//! Never a stale one: see [`Freshness`].

use std::cell::Cell;

use http_wire::list;

use crate::error::OpenError;
use crate::open::Lookup;
use crate::opened::{Metadata, Opened};
use crate::root::Root;

/// A content coding that files may be stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// `br` (RFC 7932), in `.br`.
    Brotli,
    /// `zstd` (RFC 8878), in `.zst`.
    Zstd,
    /// `gzip` (RFC 1952), in `.gz`.
    Gzip,
}

impl Coding {
    /// Its name in `Content-Encoding` and `Accept-Encoding`.
    pub const fn name(self) -> &'static str {
        match self {
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
            Coding::Gzip => "gzip",
        }
    }

    /// What a file name in this coding ends with, dot included.
    pub const fn suffix(self) -> &'static str {
        match self {
            Coding::Brotli => ".br",
            Coding::Zstd => ".zst",
            Coding::Gzip => ".gz",
        }
    }
}

/// When a variant may stand for the plain file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Freshness {
    /// The plain file must exist, and the variant must not be older (in whole seconds, as not all tools copy more of the
    /// time) and not be empty. A file that was edited is served at once, uncompressed until it is compressed anew. Costs
    /// opening both files.
    #[default]
    NotOlder,
    /// A variant that exists is served; the plain file need not exist, and keeping them in step is the operator's
    /// business, as in nginx (`gzip_static`).
    Unchecked,
}

/// Which variants to look for.
#[derive(Clone, Debug)]
pub struct Variants {
    codings: Vec<Coding>,
    freshness: Freshness,
}

impl Default for Variants {
    /// Brotli before zstd before gzip, [`Freshness::NotOlder`].
    fn default() -> Self {
        Variants::of([Coding::Brotli, Coding::Zstd, Coding::Gzip])
    }
}

/// What was chosen.
#[derive(Debug)]
pub struct Chosen {
    /// The file to send (or the directory that the path turned out to be).
    pub opened: Opened,
    /// The coding that it is in; `None` is the plain file.
    pub coding: Option<Coding>,
}

impl Variants {
    /// These codings, the preferred one first; a repeated one counts once. [`Freshness::NotOlder`].
    pub fn of(codings: impl IntoIterator<Item = Coding>) -> Self {
        let mut unique = Vec::new();
        for coding in codings {
            if !unique.contains(&coding) {
                unique.push(coding);
            }
        }
        Variants {
            codings: unique,
            freshness: Freshness::default(),
        }
    }

    /// When a variant may stand for the plain file.
    #[must_use]
    pub fn freshness(mut self, freshness: Freshness) -> Self {
        self.freshness = freshness;
        self
    }

    /// The codings that a client accepts, best first: by weight, then by our order. None of those that weigh less than
    /// an explicit `identity`. Without `Accept-Encoding` (`None`) there are none.
    ///
    /// ```
    /// use static_files::{Coding, Variants};
    /// let accepted: Vec<_> = Variants::default().accepted(Some(b"gzip, br;q=0.5, zstd;q=0")).collect();
    /// assert_eq!(accepted, [Coding::Gzip, Coding::Brotli]);
    /// ```
    pub fn accepted(&self, accept_encoding: Option<&[u8]>) -> impl Iterator<Item = Coding> + use<> {
        let mut best = [None; 3];
        if let Some(value) = accept_encoding {
            let floor = own_weight(value, "identity").unwrap_or(0).max(1);
            for (at, &coding) in self.codings.iter().enumerate() {
                best[at] = weight(value, coding)
                    .filter(|&weight| weight >= floor)
                    .map(|weight| (weight, coding));
            }
            // Stable, so our order decides among equals.
            best.sort_by_key(|found| std::cmp::Reverse(found.map_or(0, |(weight, _)| weight)));
        }
        best.into_iter().flatten().map(|(_, coding)| coding)
    }

    /// Opens the best variant of `path` that the client accepts and that exists, or the plain file.
    ///
    /// # Errors
    /// Those of the plain file, see [`Root::open_with`]. A variant that can't be opened counts as absent, except that
    /// [`WouldBlock`](crate::OpenErrorKind::WouldBlock) is always reported.
    pub fn open_with(
        &self,
        root: &Root,
        path: &[u8],
        accept_encoding: Option<&[u8]>,
        lookup: Lookup,
    ) -> Result<Chosen, OpenError> {
        match self.freshness {
            Freshness::NotOlder => {
                let plain = root.open_with(path, lookup)?;
                let plain_facts = *plain.metadata();
                if !plain_facts.is_file() {
                    return Ok(Chosen {
                        opened: plain,
                        coding: None,
                    });
                }
                let is_fresh = |variant: &Metadata| {
                    variant.len > 0 && variant.modified >= plain_facts.modified
                };
                let variant = self.variant(root, path, accept_encoding, lookup, is_fresh)?;
                Ok(variant.unwrap_or(Chosen {
                    opened: plain,
                    coding: None,
                }))
            }
            Freshness::Unchecked => {
                match self.variant(root, path, accept_encoding, lookup, |_| true)? {
                    Some(chosen) => Ok(chosen),
                    None => root.open_with(path, lookup).map(|opened| Chosen {
                        opened,
                        coding: None,
                    }),
                }
            }
        }
    }

    fn variant(
        &self,
        root: &Root,
        path: &[u8],
        accept_encoding: Option<&[u8]>,
        lookup: Lookup,
        is_good: impl Fn(&Metadata) -> bool,
    ) -> Result<Option<Chosen>, OpenError> {
        if path.is_empty() || path.ends_with(b"/") {
            return Ok(None);
        }
        for coding in self.accepted(accept_encoding) {
            match with_suffix(path, coding.suffix(), |name| root.open_with(name, lookup)) {
                Ok(opened) if opened.metadata().is_file() && is_good(opened.metadata()) => {
                    return Ok(Some(Chosen {
                        opened,
                        coding: Some(coding),
                    }));
                }
                Err(error) if error.would_block() => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(None)
    }
}

fn weight(accept_encoding: &[u8], coding: Coding) -> Option<list::Weight> {
    match coding {
        // RFC 9110 §8.4.1.3: x-gzip is the same.
        Coding::Gzip => own_weight(accept_encoding, "gzip")
            .or_else(|| own_weight(accept_encoding, "x-gzip"))
            .or_else(|| own_weight(accept_encoding, "*")),
        _ => list::weight_of(accept_encoding, coding.name()),
    }
}

/// The weight of an element that is named, not meant by `*`.
fn own_weight(accept_encoding: &[u8], item: &str) -> Option<list::Weight> {
    list::weighted(accept_encoding)
        .find(|(name, _)| name.eq_ignore_ascii_case(item.as_bytes()))
        .map(|(_, weight)| weight)
}

/// Calls `work` with the path and a suffix, written into a buffer that the thread keeps.
fn with_suffix<T>(path: &[u8], suffix: &str, work: impl FnOnce(&[u8]) -> T) -> T {
    thread_local!(static NAME: Cell<Vec<u8>> = const { Cell::new(Vec::new()) });
    let mut name = NAME.take();
    name.clear();
    name.extend_from_slice(path);
    name.extend_from_slice(suffix.as_bytes());
    let done = work(&name);
    NAME.set(name);
    done
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use super::*;

    fn accepted(value: &str) -> Vec<&'static str> {
        Variants::default()
            .accepted(Some(value.as_bytes()))
            .map(Coding::name)
            .collect()
    }

    #[test]
    fn the_highest_weight_wins_and_our_order_decides_among_equals() {
        let cases: &[(&str, &[&str])] = &[
            ("gzip, deflate, br, zstd", &["br", "zstd", "gzip"]),
            ("gzip;q=1.0, br;q=0.9", &["gzip", "br"]),
            ("GZIP", &["gzip"]),
            ("x-gzip", &["gzip"]),
            ("gzip;q=0, x-gzip", &[]),
            ("*", &["br", "zstd", "gzip"]),
            ("br;q=0, *;q=0.5", &["zstd", "gzip"]),
            ("gzip;q=0.3, identity", &[]),
            ("gzip, identity;q=0.5", &["gzip"]),
            ("gzip;q=0.5, identity;q=0.5", &["gzip"]),
            ("identity;q=0, gzip;q=0", &[]),
            ("", &[]),
            ("deflate", &[]),
        ];
        for (value, expected) in cases {
            assert_eq!(accepted(value), *expected, "{value}");
        }
        assert_eq!(Variants::default().accepted(None).count(), 0);
    }

    fn write(folder: &Path, name: &str, content: &str, seconds: u64) {
        let file = folder.join(name);
        std::fs::write(&file, content).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        File::options()
            .write(true)
            .open(file)
            .unwrap()
            .set_modified(time)
            .unwrap();
    }

    fn choose(folder: &Path, variants: &Variants, path: &str) -> Option<(Option<Coding>, u64)> {
        let chosen = variants
            .open_with(
                &Root::new(folder),
                path.as_bytes(),
                Some(b"br, gzip"),
                Lookup::Patient,
            )
            .ok()?;
        Some((chosen.coding, chosen.opened.metadata().len))
    }

    #[test]
    fn a_variant_older_than_its_file_is_stale() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let variants = Variants::default();
        write(folder, "a.css", "plain", 1000);
        assert_eq!(choose(folder, &variants, "a.css"), Some((None, 5)));
        write(folder, "a.css.gz", "zip", 1000);
        assert_eq!(
            choose(folder, &variants, "a.css"),
            Some((Some(Coding::Gzip), 3)),
            "as old"
        );
        write(folder, "a.css.br", "br", 999);
        assert_eq!(
            choose(folder, &variants, "a.css"),
            Some((Some(Coding::Gzip), 3)),
            "older"
        );
        write(folder, "a.css.br", "br", 1001);
        assert_eq!(
            choose(folder, &variants, "a.css"),
            Some((Some(Coding::Brotli), 2)),
            "newer"
        );
        write(folder, "a.css.br", "", 1001);
        assert_eq!(
            choose(folder, &variants, "a.css"),
            Some((Some(Coding::Gzip), 3)),
            "empty"
        );
    }

    #[test]
    fn without_the_check_the_operator_answers_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let variants = Variants::default().freshness(Freshness::Unchecked);
        write(folder, "a.css", "plain", 1000);
        write(folder, "a.css.gz", "zip", 1);
        write(folder, "only.css.gz", "zip", 1);
        assert_eq!(
            choose(folder, &variants, "a.css"),
            Some((Some(Coding::Gzip), 3))
        );
        assert_eq!(
            choose(folder, &variants, "only.css"),
            Some((Some(Coding::Gzip), 3))
        );
        assert_eq!(choose(folder, &Variants::default(), "only.css"), None);
    }

    #[test]
    fn a_directory_is_no_variant_and_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write(folder, "a.css", "plain", 1);
        std::fs::create_dir(folder.join("a.css.gz")).unwrap();
        std::fs::create_dir(folder.join("d")).unwrap();
        write(folder, "d.gz", "zip", u64::from(u32::MAX));
        for freshness in [Freshness::NotOlder, Freshness::Unchecked] {
            let variants = Variants::default().freshness(freshness);
            assert_eq!(choose(folder, &variants, "a.css"), Some((None, 5)));
            assert_eq!(choose(folder, &variants, "d/"), Some((None, 0)));
        }
        assert_eq!(choose(folder, &Variants::default(), "d"), Some((None, 0)));
    }
}
