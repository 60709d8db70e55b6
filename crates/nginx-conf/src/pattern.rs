//! Regular expressions as users of nginx write them (PCRE), over bytes: a path need not be UTF-8.

use std::fmt;
use std::ops::Range;

use fancy_regex::{BytesMode, Regex, RegexBuilder};

use crate::fault::Fault;

mod pcre;

/// Most steps of backtracking in one match; what needs more gives [`MatchError`]. As PCRE's default.
pub const BACKTRACK_STEPS_MAX: usize = 10_000_000;

/// Whether letters match in both cases: `~*` instead of `~`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Case {
    /// `~`
    Sensitive,
    /// `~*`: ASCII letters match in both cases.
    Insensitive,
}

/// A compiled regular expression.
///
/// Differences from PCRE: `$` matches at the very end only, not before a last newline, and `\w`, `\d`, `.` see bytes
/// unless the expression begins with `(*UTF8)`.
///
/// ```
/// use nginx_conf::{Case, Pattern};
/// let pattern = Pattern::new(r"^/users/(?<id>\d+)$", Case::Sensitive).unwrap();
/// let found = pattern.captures(b"/users/42").unwrap().unwrap();
/// assert_eq!(found.get(1), Some(7..9));
/// assert_eq!(pattern.names(), [("id".to_owned(), 1)]);
/// ```
#[derive(Clone)]
pub struct Pattern {
    source: String,
    case: Case,
    regex: Regex,
    names: Vec<(String, usize)>,
}

/// Why an expression can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pcre2_compile() failed: {reason} in \"{source_text}\"")]
pub struct PatternError {
    reason: String,
    source_text: String,
    remedy: Option<&'static str>,
}

impl PatternError {
    /// The fault to report.
    pub fn into_fault(self) -> Fault {
        let fault = Fault::new(self.to_string());
        match self.remedy {
            Some(remedy) => fault.help(remedy),
            None => fault,
        }
    }
}

/// A match that took more than [`BACKTRACK_STEPS_MAX`] steps: neither found nor absent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("regular expression \"{0}\" took too many steps; make it more definite")]
pub struct MatchError(String);

/// Where the groups of a match lie in the subject.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captures(Vec<Option<Range<usize>>>);

impl Captures {
    /// Group `index`; 0 is the whole match. `None` when the group took no part.
    pub fn get(&self, index: usize) -> Option<Range<usize>> {
        self.0.get(index).cloned().flatten()
    }

    /// How many groups there are, the whole match included.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing, not even a whole match.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Pattern {
    /// Compiles an expression.
    ///
    /// # Errors
    /// Why not, with nginx's words around it.
    pub fn new(source: &str, case: Case) -> Result<Pattern, PatternError> {
        let refuse = |reason: String, remedy| PatternError {
            reason,
            source_text: source.to_owned(),
            remedy,
        };
        let translated = pcre::translate(source)
            .map_err(|unsupported| refuse(unsupported.reason, Some(unsupported.remedy)))?;
        let mode = if translated.utf8 {
            BytesMode::UnicodeBytes
        } else {
            BytesMode::Ascii
        };
        let regex = RegexBuilder::new(&translated.text)
            .case_insensitive(case == Case::Insensitive)
            .bytes_mode(mode)
            .unicode_mode(translated.utf8)
            .backtrack_limit(BACKTRACK_STEPS_MAX)
            .build()
            .map_err(|error| refuse(in_words(&error), None))?;
        let names = regex
            .capture_names()
            .enumerate()
            .filter_map(|(index, name)| Some((name?.to_owned(), index)))
            .collect();
        Ok(Pattern {
            source: source.to_owned(),
            case,
            regex,
            names,
        })
    }

    /// The expression as written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// How letters are compared.
    pub fn case(&self) -> Case {
        self.case
    }

    /// The named groups and their numbers. nginx makes a variable of each.
    pub fn names(&self) -> &[(String, usize)] {
        &self.names
    }

    /// How many groups a match has, the whole match included.
    pub fn groups(&self) -> usize {
        self.regex.captures_len()
    }

    /// Whether it matches anywhere in the subject.
    ///
    /// # Errors
    /// When it took too many steps.
    pub fn is_match(&self, subject: &[u8]) -> Result<bool, MatchError> {
        self.regex
            .is_match(subject)
            .map_err(|_| MatchError(self.source.clone()))
    }

    /// The first match in the subject.
    ///
    /// # Errors
    /// When it took too many steps.
    pub fn captures(&self, subject: &[u8]) -> Result<Option<Captures>, MatchError> {
        let found = self
            .regex
            .captures(subject)
            .map_err(|_| MatchError(self.source.clone()))?;
        Ok(found.map(|groups| {
            Captures(
                (0..groups.len())
                    .map(|index| groups.get(index).map(|group| group.start()..group.end()))
                    .collect(),
            )
        }))
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operator = if self.case == Case::Insensitive {
            "~*"
        } else {
            "~"
        };
        write!(out, "Pattern({operator} {})", self.source)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.source == other.source && self.case == other.case
    }
}

impl Eq for Pattern {}

/// The engine's reason on one line, in PCRE's words where it has well-known ones.
fn in_words(error: &fancy_regex::Error) -> String {
    use fancy_regex::{Error, ParseError};
    match error {
        Error::ParseError(_, ParseError::UnclosedOpenParen) => {
            "missing closing parenthesis".to_owned()
        }
        Error::ParseError(_, ParseError::TrailingBackslash) => "\\ at end of pattern".to_owned(),
        Error::ParseError(_, ParseError::InvalidRepeat | ParseError::TargetNotRepeatable) => {
            "quantifier does not follow a repeatable item".to_owned()
        }
        Error::ParseError(_, ParseError::InvalidClass) => {
            "missing terminating ] for character class".to_owned()
        }
        Error::ParseError(at, reason) => format!("{reason} at offset {at}"),
        other => other
            .to_string()
            .lines()
            .last()
            .unwrap_or_default()
            .trim()
            .to_owned(),
    }
}
