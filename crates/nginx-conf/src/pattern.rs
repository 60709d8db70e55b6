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
        let names: Vec<(String, usize)> = regex
            .capture_names()
            .enumerate()
            .filter_map(|(index, name)| Some((name?.to_owned(), index)))
            .collect();
        if let Some((name, _)) = names.iter().find(|(name, _)| !is_name(name)) {
            let reason = format!("subpattern name \"{name}\" is malformed");
            return Err(refuse(
                reason,
                Some("a name consists of letters, digits and \"_\" and begins with no digit"),
            ));
        }
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

/// Whether a group's name can be that of a variable; PCRE has the same rule.
fn is_name(name: &str) -> bool {
    let plain = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    plain && !name.starts_with(|first: char| first.is_ascii_digit())
}

/// The engine's reason on one line, in PCRE's words where it has well-known ones.
fn in_words(error: &fancy_regex::Error) -> String {
    use fancy_regex::{CompileError, Error, ParseError};
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
        Error::ParseError(_, ParseError::GeneralParseError(reason))
            if reason.starts_with("end of string not reached") =>
        {
            "unmatched closing parenthesis".to_owned()
        }
        Error::ParseError(at, reason) => format!("{reason} at offset {at}"),
        Error::CompileError(reason) => match &**reason {
            CompileError::InvalidBackref(_) => "reference to non-existent subpattern".to_owned(),
            CompileError::InnerError(inner) => match inner.syntax_error() {
                Some(reason) => last_line(&reason.to_string()),
                None => last_line(&inner.to_string()),
            },
            other => last_line(&other.to_string()),
        },
        other => last_line(&other.to_string()),
    }
}

/// The engine underneath draws the expression over several lines and says what is wrong in the last.
fn last_line(words: &str) -> String {
    let last = words.lines().last().unwrap_or_default().trim();
    last.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, subject: impl AsRef<[u8]>) -> bool {
        Pattern::new(pattern, Case::Sensitive)
            .unwrap()
            .is_match(subject.as_ref())
            .unwrap()
    }

    #[test]
    fn matches_as_pcre_does() {
        let cases: &[(&str, &str, bool)] = &[
            (r"\.php$", "/index.php", true),
            (r"\.(jpe?g|png)$", "/a.jpeg", true),
            (r"^/(?!admin)", "/user", true),
            (r"^/(?!admin)", "/admin/x", false),
            (r"(?<=/)x", "/x", true),
            (r"^(?>a+)ab", "aaab", false),
            (r"^a++ab", "aaab", false),
            (r"(a)\1", "aa", true),
            (r"(?<n>a)\k<n>", "aa", true),
            (r"(?P<n>a)(?P=n)", "aa", true),
            (r"(?'n'a)\k'n'", "aa", true),
            (r"(?<n>a)\k{n}\g{n}", "aaa", true),
            (r"(a)(b)\g2", "abb", true),
            (r"(a)(b)\g{-2}", "aba", true),
            (r"(?i)ABC", "abc", true),
            (r"(?i:A)b", "aB", false),
            (r"/a\/b", "/a/b", true),
            (r"a\-b\_c\ d\<e\>", "a-b_c d<e>", true),
            (r"a{b", "a{b", true),
            (r"a{,2}", "a{,2}", true),
            (r"a{2", "a{2", true),
            (r"^a{2}$", "aa", true),
            (r"^a{2,}$", "a", false),
            (r"a}b]", "a}b]", true),
            (r"[[]", "[", true),
            (r"^[a[b]+$", "[ab", true),
            (r"^[a&&b]+$", "a&b", true),
            (r"^[a~~b]+$", "a~b", true),
            (r"^[+--]+$", "+,-", true),
            (r"^[a-]+$", "-a", true),
            (r"^[-a]+$", "-a", true),
            (r"^[\w-]+$", "a-b", true),
            (r"^[\w-.]+$", "a-b.c", true),
            (r"^[]a]+$", "]a", true),
            (r"^[^]a]+$", "bc", true),
            (r"^[[:alpha:]_]+$", "ab_", true),
            (r"^[[:^digit:]]+$", "ab", true),
            (r"^[\]\\]+$", r"]\", true),
            (r"^[\Q^]\E]+$", "^]", true),
            (r"^[\x41-\x43]+$", "ABC", true),
            (r"\Qa.b\E.", "a.bc", true),
            (r"\Qa.b", "axb", false),
            (r"^\h+\H$", " \tx", true),
            (r"^\v\V$", "\nx", true),
            (r"\x2f\x{2F}\o{57}\057", "////", true),
            (r"\x2f\cA", "/\u{1}", true),
            (r"\e\a\f\t\n\r", "\u{1b}\u{7}\u{c}\t\n\r", true),
            (r"^\Aab\z", "ab", true),
            (r"ab\Z", "ab\n", true),
            (r"ab\Z", "ab\n\n", false),
            (r"^a.c$", "a\nc", false),
            (r"(?s)^a.c$", "a\nc", true),
            (r"(?m)^b$", "a\nb\nc", true),
            (r"(?x) a b # comment", "ab", true),
            (r"a(?#comment)b", "ab", true),
            (r"^(?:(a)|b)(?(1)c|d)$", "ac", true),
            (r"^(?:(a)|b)(?(1)c|d)$", "bc", false),
            (r"\bfoo\b", "a foo b", true),
            (r"^\d+$", "٣", false),
            (r"^\w+$", "é", false),
            (r"^..$", "é", true),
            (r"é", "café", true),
            (r"^[é]+$", "é", true),
            (r"(*UTF8)^.$", "é", true),
            (r"(*UTF8)^[é]$", "é", true),
            (r"(*UCP)^\w$", "é", true),
            (r"foo\Kbar", "foobar", true),
            (r"^(?<a>x)(?&a)$", "xx", true),
            (r"^(?<a>x)(?P>a)$", "xx", true),
            (r"a|", "b", true),
            ("", "", true),
            (r"$^", "", true),
        ];
        for (pattern, subject, expected) in cases {
            assert_eq!(
                matches(pattern, subject),
                *expected,
                "{pattern} against {subject:?}"
            );
        }
    }

    #[test]
    fn matches_bytes_that_are_no_text() {
        assert!(matches(r"^/.x$", b"/\xffx"));
        assert!(matches(r"^/(?!a).x$", b"/\xffx"));
        assert!(matches(r"\xff", b"a\xff"));
        assert!(matches(r"[\x80-\xff]", b"a\xff"));
    }

    #[test]
    fn ignores_case_of_ascii_letters_only() {
        let pattern = Pattern::new(r"\.PHPé$", Case::Insensitive).unwrap();
        assert!(pattern.is_match("/x.pHpé".as_bytes()).unwrap());
        assert!(!pattern.is_match("/x.phpÉ".as_bytes()).unwrap());
        assert!(
            Pattern::new("^[a-c]+$", Case::Insensitive)
                .unwrap()
                .is_match(b"ABC")
                .unwrap()
        );
    }

    #[test]
    fn gives_groups_by_number_and_name() {
        let pattern =
            Pattern::new(r"^/(?<first>[^/]+)(?:/(?<second>.+))?(x)?", Case::Sensitive).unwrap();
        assert_eq!(
            pattern.names(),
            [("first".to_owned(), 1), ("second".to_owned(), 2)]
        );
        assert_eq!(pattern.groups(), 4);
        let found = pattern.captures(b"/a").unwrap().unwrap();
        assert_eq!(
            (found.get(0), found.get(1), found.get(2), found.get(9)),
            (Some(0..2), Some(1..2), None, None)
        );
        assert_eq!(pattern.captures(b"x").unwrap(), None);
    }

    #[test]
    fn says_why_an_expression_cannot_be_used() {
        let cases = [
            ("a(b", "missing closing parenthesis"),
            ("a)b", "parenthes"),
            ("[a", "missing terminating ] for character class"),
            ("[", "missing terminating ] for character class"),
            ("*a", "quantifier does not follow a repeatable item"),
            ("a\\", "\\ at end of pattern"),
            ("(?R)", "recursion"),
            ("(?|a|b)", "(?| is not supported"),
            ("(*SKIP)a", "(*SKIP) is not supported"),
            ("a(*FAIL)", "(*FAIL) is not supported"),
            (r"\x{100}", "too large"),
            (r"\1", "reference to non-existent subpattern"),
            ("(?<1a>x)", "name"),
            ("[b-a]", "range"),
        ];
        for (pattern, expected) in cases {
            let error = Pattern::new(pattern, Case::Sensitive)
                .unwrap_err()
                .to_string();
            assert!(
                error
                    .to_lowercase()
                    .contains(expected.to_lowercase().as_str()),
                "{pattern}: {error}"
            );
            assert!(error.ends_with(&format!("in \"{pattern}\"")), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn gives_up_on_an_expression_that_takes_too_long() {
        let pattern = Pattern::new(r"^(?=(a+)+b)x", Case::Sensitive).unwrap();
        let subject = "a".repeat(200);
        // either the engine sees through it or the limit holds; it must come back
        let _ = pattern.is_match(subject.as_bytes());
        let slow = Pattern::new(r"^((a|a)*\1)*$(?<!x)b", Case::Sensitive).unwrap();
        assert!(slow.is_match("a".repeat(64).as_bytes()).is_err());
    }
}
