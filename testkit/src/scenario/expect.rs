//! What is expected of bytes: exactly these, a pattern, a size.

use std::path::Path;

use fancy_regex::Regex;

use super::vars::Vars;
use crate::{latin1, parse_size, show, unescape};

/// An expectation as a scenario writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// Exactly this text (placeholders, escapes).
    Exact(String),
    /// A match somewhere in it.
    Pattern(String),
    /// Nothing at all.
    Empty,
    /// This many bytes, whatever they are.
    Size(usize),
    /// `text` again and again, this many bytes in all.
    Repeat(usize, String),
    /// The content of a file below the prefix.
    File(String),
}

impl Want {
    /// Reads what follows `body`, `rest` and the like: `TEXT`, `"TEXT"`, `~ PATTERN`, `empty`, `size N`, `N of TEXT`,
    /// `file PATH`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text == "empty" {
            return Ok(Want::Empty);
        }
        if let Some(pattern) = text.strip_prefix("~ ") {
            return Want::pattern(pattern);
        }
        if let Some(size) = text.strip_prefix("size ") {
            return Ok(Want::Size(
                parse_size(size).ok_or_else(|| format!("\"{size}\" is no size"))?,
            ));
        }
        if let Some(path) = text.strip_prefix("file ") {
            return Ok(Want::File(path.to_owned()));
        }
        if let Some((size, text)) = repeat(text) {
            return Want::exact(&text).map(|_| Want::Repeat(size, text));
        }
        Want::exact(text)
    }

    /// Exactly `text`; quotes around all of it are not part of it.
    pub(crate) fn exact(text: &str) -> Result<Self, String> {
        let text = text
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'))
            .unwrap_or(text);
        unescape(text).map_err(|error| error.to_string())?;
        Ok(Want::Exact(text.to_owned()))
    }

    /// A pattern that compiles.
    pub(crate) fn pattern(pattern: &str) -> Result<Self, String> {
        Regex::new(&Vars::default().pattern(pattern)).map_err(|error| error.to_string())?;
        Ok(Want::Pattern(pattern.to_owned()))
    }

    /// Compares; what is wrong, in words.
    pub(crate) fn check(
        &self,
        what: &str,
        got: &[u8],
        vars: &Vars,
        prefix: &Path,
    ) -> Result<(), String> {
        let different = |want: &[u8]| format!("{what} differs{}", difference(want, got));
        match self {
            Want::Exact(text) => {
                let want = vars.bytes(text).map_err(|error| error.to_string())?;
                if want == got {
                    Ok(())
                } else {
                    Err(different(&want))
                }
            }
            Want::Pattern(pattern) => {
                if matches(&vars.pattern(pattern), got)? {
                    return Ok(());
                }
                Err(format!(
                    "{what} doesn't match ~ {}\n  got  \"{}\"",
                    vars.fill(pattern),
                    show(got)
                ))
            }
            Want::Empty if got.is_empty() => Ok(()),
            Want::Empty => Err(format!("{what} should be empty\n  got  \"{}\"", show(got))),
            Want::Size(size) if got.len() == *size => Ok(()),
            Want::Size(size) => Err(format!(
                "{what} should have {size} bytes, got {}",
                got.len()
            )),
            Want::Repeat(size, text) => {
                let want = repeated(*size, &vars.bytes(text).map_err(|error| error.to_string())?);
                if want == got {
                    Ok(())
                } else {
                    Err(different(&want))
                }
            }
            Want::File(path) => {
                let path = prefix.join(vars.fill(path));
                let want =
                    std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
                if want == got {
                    Ok(())
                } else {
                    Err(different(&want))
                }
            }
        }
    }
}

/// Whether a pattern (made by [`Vars::pattern`]) matches somewhere in `bytes`.
pub(crate) fn matches(pattern: &str, bytes: &[u8]) -> Result<bool, String> {
    let regex = Regex::new(pattern).map_err(|error| error.to_string())?;
    regex
        .is_match(&latin1(bytes))
        .map_err(|error| error.to_string())
}

/// The first group (or, without one, the whole match) of a pattern in `bytes`.
pub(crate) fn capture(pattern: &str, bytes: &[u8]) -> Result<Option<String>, String> {
    let regex = Regex::new(pattern).map_err(|error| error.to_string())?;
    let text = latin1(bytes);
    let found = regex.captures(&text).map_err(|error| error.to_string())?;
    Ok(found.and_then(|groups| {
        groups
            .get(1)
            .or_else(|| groups.get(0))
            .map(|group| group.as_str().to_owned())
    }))
}

/// `N of TEXT`.
pub(crate) fn repeat(text: &str) -> Option<(usize, String)> {
    let (size, text) = text.split_once(" of ")?;
    Some((parse_size(size)?, text.to_owned()))
}

/// `text` again and again, cut at `size` bytes.
pub(crate) fn repeated(size: usize, text: &[u8]) -> Vec<u8> {
    text.iter().copied().cycle().take(size).collect()
}

/// Both sides, from where they part when they are long.
fn difference(want: &[u8], got: &[u8]) -> String {
    if want.len() <= 400 && got.len() <= 400 {
        return format!("\n  want \"{}\"\n  got  \"{}\"", show(want), show(got));
    }
    let at = want.iter().zip(got).take_while(|(a, b)| a == b).count();
    let near = |bytes: &[u8]| show(&bytes[at.min(bytes.len())..(at + 60).min(bytes.len())]);
    format!(
        ": {} bytes wanted, {} came, the first difference is at {at}\n  want \"{}\"\n  got  \"{}\"",
        want.len(),
        got.len(),
        near(want),
        near(got)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(want: &str, got: &[u8]) -> Result<(), String> {
        let mut vars = Vars::default();
        vars.set("port", "80");
        Want::parse(want)
            .unwrap()
            .check("it", got, &vars, Path::new("/nowhere"))
    }

    #[test]
    fn every_form_accepts_what_it_says() {
        for (want, got) in [
            ("a\\r\\nb {port}", "a\r\nb 80"),
            ("\"empty\"", "empty"),
            ("empty", ""),
            ("~ ^a.*{port}$", "abc80"),
            ("size 3", "xyz"),
            ("5 of ab", "ababa"),
        ] {
            assert_eq!(check(want, got.as_bytes()), Ok(()), "{want}");
        }
    }

    #[test]
    fn every_form_refuses_something_else() {
        for (want, got) in [
            ("a", "b"),
            ("empty", "x"),
            ("~ ^a", "ba"),
            ("size 3", "xy"),
            ("5 of ab", "abab"),
        ] {
            assert!(check(want, got.as_bytes()).is_err(), "{want}");
        }
        assert!(check("file x", b"").unwrap_err().contains("/nowhere/x"));
    }

    #[test]
    fn a_long_difference_is_shown_where_it_is() {
        let words = check("2k of a", &[b'a'; 1000]).unwrap_err();
        assert!(
            words.contains("2048 bytes wanted, 1000 came, the first difference is at 1000"),
            "{words}"
        );
    }

    #[test]
    fn patterns_see_bytes() {
        assert_eq!(check("~ ^\\xe9é$", b"\xe9\xc3\xa9"), Ok(()));
        assert!(Want::parse("~ (").is_err());
    }

    #[test]
    fn captures_the_first_group() {
        assert_eq!(capture("a(b+)", b"xabbc").unwrap().as_deref(), Some("bb"));
        assert_eq!(capture("b+", b"xabbc").unwrap().as_deref(), Some("bb"));
        assert_eq!(capture("z", b"xabbc").unwrap(), None);
    }
}
