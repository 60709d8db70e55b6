//! What is wrong with a configuration: collected, never thrown at the first find.

use crate::span::Span;

/// How bad it is, in nginx's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// Worth knowing: the directive has no meaning here.
    Notice,
    /// Works, but probably not as meant.
    Warn,
    /// The configuration can't be used.
    Emerg,
}

impl Severity {
    /// The word between the brackets.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Notice => "notice",
            Severity::Warn => "warn",
            Severity::Emerg => "emerg",
        }
    }
}

/// One thing that is wrong: what, where, and what to do about it.
///
/// ```
/// use nginx_conf::Fault;
/// let fault = Fault::new("no port in \"example.com\"").help("write example.com:443");
/// assert_eq!(fault.message(), "no port in \"example.com\"");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Fault(Box<Details>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Details {
    severity: Severity,
    message: String,
    /// Whether the message still lacks the name of the directive in front.
    needs_name: bool,
    span: Option<Span>,
    guess: Option<String>,
    notes: Vec<(Span, String)>,
    help: Vec<String>,
}

impl Fault {
    /// A fault that makes the configuration unusable. Lower case, no full stop, the value in quotes.
    pub fn new(message: impl Into<String>) -> Fault {
        Fault(Box::new(Details {
            severity: Severity::Emerg,
            message: message.into(),
            needs_name: false,
            span: None,
            guess: None,
            notes: Vec::new(),
            help: Vec::new(),
        }))
    }

    /// A fault whose message goes on behind `"name" directive`, such as `is duplicate`; the walker fills in the name.
    pub fn directive(predicate: impl Into<String>) -> Fault {
        let mut fault = Fault::new(predicate);
        fault.0.needs_name = true;
        fault
    }

    /// With another severity; [`Severity::Emerg`] unless told.
    pub fn severity(mut self, severity: Severity) -> Fault {
        self.0.severity = severity;
        self
    }

    /// Found here. A later call wins.
    pub fn at(mut self, span: Span) -> Fault {
        self.0.span = Some(span);
        self
    }

    /// Found here, unless a place is known already.
    pub fn or_at(mut self, span: Span) -> Fault {
        self.0.span.get_or_insert(span);
        self
    }

    /// Points at a second place that explains the first.
    pub fn note(mut self, span: Span, words: impl Into<String>) -> Fault {
        self.0.notes.push((span, words.into()));
        self
    }

    /// What was probably meant: `did you mean "word"?` becomes a part of the sentence.
    pub fn guess(mut self, word: impl Into<String>) -> Fault {
        self.0.guess = Some(word.into());
        self
    }

    /// What to do about it.
    pub fn help(mut self, words: impl Into<String>) -> Fault {
        self.0.help.push(words.into());
        self
    }

    /// Completes the message of [`Fault::directive`]; no effect on any other.
    pub fn of_directive(mut self, name: &str) -> Fault {
        if std::mem::take(&mut self.0.needs_name) {
            self.0.message = format!("\"{name}\" directive {}", self.0.message);
        }
        self
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// How bad it is.
    pub fn level(&self) -> Severity {
        self.0.severity
    }

    /// Where it was found.
    pub fn span(&self) -> Option<Span> {
        self.0.span
    }

    /// What was probably meant.
    pub fn guessed(&self) -> Option<&str> {
        self.0.guess.as_deref()
    }

    /// Further places, with what they have to do with it.
    pub fn notes(&self) -> &[(Span, String)] {
        &self.0.notes
    }

    /// What to do about it.
    pub fn remedies(&self) -> &[String] {
        &self.0.help
    }
}

impl From<String> for Fault {
    fn from(message: String) -> Fault {
        Fault::new(message)
    }
}

impl From<&str> for Fault {
    fn from(message: &str) -> Fault {
        Fault::new(message)
    }
}

/// Most faults that are kept; those beyond are counted.
pub const FAULTS_MAX: usize = 1000;

/// Everything that was found, in the order it was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    list: Vec<Fault>,
    beyond: usize,
}

impl Faults {
    /// None yet.
    pub fn new() -> Faults {
        Faults::default()
    }

    /// One more.
    pub fn push(&mut self, fault: Fault) {
        if self.list.len() < FAULTS_MAX {
            self.list.push(fault);
        } else {
            self.beyond += 1;
        }
    }

    /// How many were found beyond [`FAULTS_MAX`] and only counted.
    pub fn beyond(&self) -> usize {
        self.beyond
    }

    /// Notes the fault of a failed step and gives back the value of a successful one.
    pub fn keep<T>(&mut self, result: Result<T, Fault>) -> Option<T> {
        result.map_err(|fault| self.push(fault)).ok()
    }

    /// Whether any of them makes the configuration unusable.
    pub fn are_fatal(&self) -> bool {
        self.beyond > 0
            || self
                .list
                .iter()
                .any(|fault| fault.level() == Severity::Emerg)
    }

    /// Nothing at all to say.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// One after the other.
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.list.iter()
    }
}

impl Extend<Fault> for Faults {
    fn extend<I: IntoIterator<Item = Fault>>(&mut self, faults: I) {
        faults.into_iter().for_each(|fault| self.push(fault));
    }
}

impl IntoIterator for Faults {
    type Item = Fault;
    type IntoIter = std::vec::IntoIter<Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = std::slice::Iter<'a, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
