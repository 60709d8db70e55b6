//! One argument, with readers for the quantities of the language. Each fault names the value, the directive and what is wanted.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::address::{ListenAddress, PeerAddress};
use crate::fault::Fault;
use crate::number::{self, Integer};
use crate::pattern::{Case, Pattern};
use crate::setting::Spanned;
use crate::span::Span;
use crate::template::Template;
use crate::tree::Word;
use crate::{suggest, units};

/// One argument, or the part of it behind `key=`.
#[derive(Debug, Clone, Copy)]
pub struct Arg<'a> {
    word: &'a Word,
    offset: usize,
    end: usize,
    directive: &'a str,
}

impl<'a> Arg<'a> {
    pub(crate) fn new(word: &'a Word, directive: &'a str) -> Arg<'a> {
        Arg {
            word,
            offset: 0,
            end: word.text.len(),
            directive,
        }
    }

    /// The text, escapes resolved.
    pub fn text(&self) -> &'a str {
        &self.word.text[self.offset..self.end]
    }

    /// Where it stands.
    pub fn span(&self) -> Span {
        if self.offset == 0 && self.end == self.word.text.len() {
            return self.word.span;
        }
        self.word.span_of(self.offset, self.end - self.offset)
    }

    /// The directive it belongs to.
    pub fn directive(&self) -> &'a str {
        self.directive
    }

    /// The part of the argument from byte `from` to byte `to`. The two must lie on character borders.
    pub fn part(&self, from: usize, to: usize) -> Arg<'a> {
        Arg {
            offset: self.offset + from,
            end: self.offset + to,
            ..*self
        }
    }

    /// What follows `key=`, if the argument begins so: `zone=one:10m`.
    pub fn keyed(&self, key: &str) -> Option<Arg<'a>> {
        let rest = self.text().strip_prefix(key)?.strip_prefix('=')?;
        Some(Arg {
            offset: self.end - rest.len(),
            ..*self
        })
    }

    /// The parts before and behind the first `separator`.
    pub fn split_once(&self, separator: char) -> Option<(Arg<'a>, Arg<'a>)> {
        let at = self.text().find(separator)?;
        Some((
            self.part(0, at),
            self.part(at + separator.len_utf8(), self.text().len()),
        ))
    }

    /// The part behind a prefix.
    pub fn strip_prefix(&self, prefix: &str) -> Option<Arg<'a>> {
        let rest = self.text().strip_prefix(prefix)?;
        Some(Arg {
            offset: self.end - rest.len(),
            ..*self
        })
    }

    /// The text as it is.
    ///
    /// # Errors
    /// None; a `Result` like its siblings.
    pub fn string(&self) -> Result<Spanned<String>, Fault> {
        Ok(self.spanned(self.text().to_owned()))
    }

    /// A path, as written: what it is relative to is the directive's matter.
    ///
    /// # Errors
    /// When it is empty.
    pub fn path(&self) -> Result<Spanned<PathBuf>, Fault> {
        if self.text().is_empty() {
            return Err(self.invalid_value("a path"));
        }
        Ok(self.spanned(PathBuf::from(self.text())))
    }

    /// `on` or `off`, in any case, as in nginx.
    ///
    /// # Errors
    /// On every other word.
    pub fn flag(&self) -> Result<Spanned<bool>, Fault> {
        if self.text().eq_ignore_ascii_case("on") {
            return Ok(self.spanned(true));
        }
        if self.text().eq_ignore_ascii_case("off") {
            return Ok(self.spanned(false));
        }
        Err(Fault::new(format!(
            "invalid value \"{}\" in \"{}\" directive, it must be \"on\" or \"off\"",
            self.text(),
            self.directive
        ))
        .at(self.span()))
    }

    /// A whole number in a range.
    ///
    /// # Errors
    /// `invalid number` when it is none, `value must be …` outside of the range.
    pub fn number<T: Integer>(&self, range: RangeInclusive<T>) -> Result<Spanned<T>, Fault> {
        match number::read(self.text(), &range) {
            Ok(value) => Ok(self.spanned(value)),
            Err(number::Refused::NoNumber) => Err(self
                .fault(format!(
                    "invalid number \"{}\" in \"{}\" directive",
                    self.text(),
                    self.directive
                ))
                .help(format!("write a whole number {}", number::in_words(&range)))),
            Err(number::Refused::OutOfRange) => Err(self.fault(format!(
                "\"{}\" directive value must be {}, got \"{}\"",
                self.directive,
                number::in_words(&range),
                self.text()
            ))),
        }
    }

    /// A status code in a range.
    ///
    /// # Errors
    /// As [`Arg::number`].
    pub fn status(&self, range: RangeInclusive<u16>) -> Result<Spanned<u16>, Fault> {
        self.number(range)
    }

    /// Bytes: a whole number, or one with `k` or `m`.
    ///
    /// # Errors
    /// On anything else, `g` included, which nginx takes for offsets only.
    pub fn size(&self) -> Result<Spanned<u64>, Fault> {
        let value = units::size(self.text())
            .ok_or_else(|| self.invalid_quantity("a size such as 512, 8k or 1m"))?;
        Ok(self.spanned(value))
    }

    /// Bytes of a file: a whole number, or one with `k`, `m` or `g`.
    ///
    /// # Errors
    /// On anything else.
    pub fn offset(&self) -> Result<Spanned<u64>, Fault> {
        let value = units::offset(self.text())
            .ok_or_else(|| self.invalid_quantity("a size such as 8k, 1m or 2g"))?;
        Ok(self.spanned(value))
    }

    /// A time in `ms`, `s`, `m`, `h`, `d`, `w`, largest first, as in `1h30m`; a bare number counts seconds.
    ///
    /// # Errors
    /// On anything else; months and years are for [`Arg::seconds`] only, as in nginx.
    pub fn duration(&self) -> Result<Spanned<Duration>, Fault> {
        let value = units::duration(self.text())
            .ok_or_else(|| self.invalid_quantity("a time such as 500ms, 30s or 1h30m"))?;
        Ok(self.spanned(value))
    }

    /// A time in whole seconds: `s`, `m`, `h`, `d`, `w`, `M`, `y`, largest first; a bare number counts seconds.
    ///
    /// # Errors
    /// On anything else.
    pub fn seconds(&self) -> Result<Spanned<Duration>, Fault> {
        let value = units::seconds(self.text()).ok_or_else(|| {
            self.invalid_quantity("a time in whole seconds such as 30s, 10m or 30d")
        })?;
        Ok(self.spanned(value))
    }

    /// One of several words, in any case, as in nginx.
    ///
    /// # Errors
    /// On every other word; the message lists the choices.
    pub fn one_of<T: Clone>(&self, choices: &[(&str, T)]) -> Result<Spanned<T>, Fault> {
        if let Some((_, value)) = choices
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(self.text()))
        {
            return Ok(self.spanned(value.clone()));
        }
        let names = || choices.iter().map(|(name, _)| *name);
        let fault = self.fault(format!(
            "invalid value \"{}\" in \"{}\" directive, it must be {}",
            self.text(),
            self.directive,
            suggest::alternatives(names())
        ));
        Err(suggest::did_you_mean(fault, self.text(), names()))
    }

    /// An address to listen at: `80`, `*:80`, `127.0.0.1:8080-8090`, `[::]:80`, `localhost`, `unix:/run/x.sock`.
    ///
    /// # Errors
    /// What is wrong with it, in nginx's words: `invalid port in "…" of the "listen" directive`.
    pub fn listen_address(&self) -> Result<Spanned<ListenAddress>, Fault> {
        let read = ListenAddress::parse(self.text());
        read.map(|address| self.spanned(address)).map_err(|why| {
            self.fault(format!(
                "{} in \"{}\" of the \"{}\" directive",
                why.words(),
                self.text(),
                self.directive
            ))
            .help(why.remedy())
        })
    }

    /// An address to connect to: `app:8000`, `127.0.0.1`, `[::1]:8000`, `unix:/run/x.sock`.
    ///
    /// # Errors
    /// What is wrong with it, in nginx's words: `invalid port in upstream "…"`.
    pub fn peer_address(&self) -> Result<Spanned<PeerAddress>, Fault> {
        let read = PeerAddress::parse(self.text());
        read.map(|address| self.spanned(address)).map_err(|why| {
            self.fault(format!("{} in upstream \"{}\"", why.words(), self.text()))
                .help(why.remedy())
        })
    }

    /// Text with variables.
    ///
    /// # Errors
    /// `invalid variable name` and `the closing bracket in "x" variable is missing`.
    pub fn template(&self) -> Result<Spanned<Template>, Fault> {
        Ok(self.spanned(Template::parse_arg(*self)?))
    }

    /// A regular expression.
    ///
    /// # Errors
    /// Why it can't be used.
    pub fn pattern(&self, case: Case) -> Result<Spanned<Pattern>, Fault> {
        Pattern::new(self.text(), case)
            .map(|pattern| self.spanned(pattern))
            .map_err(|error| error.into_fault().at(self.span()))
    }

    /// Whatever `read` makes of the text; `expected` completes "it must be …".
    ///
    /// # Errors
    /// `invalid value` when `read` gives `None`.
    pub fn parse_with<T>(
        &self,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Spanned<T>, Fault> {
        read(self.text())
            .map(|value| self.spanned(value))
            .ok_or_else(|| self.invalid_value(expected))
    }

    /// A fault at this argument.
    pub fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::new(message).at(self.span())
    }

    /// `invalid value "x" in "d" directive, it must be EXPECTED`.
    pub fn invalid_value(&self, expected: &str) -> Fault {
        self.fault(format!(
            "invalid value \"{}\" in \"{}\" directive, it must be {expected}",
            self.text(),
            self.directive
        ))
    }

    /// `invalid parameter "x"`, for an argument the directive doesn't know.
    pub fn invalid_parameter(&self) -> Fault {
        self.fault(format!("invalid parameter \"{}\"", self.word.text))
    }

    /// [`Arg::invalid_parameter`] with a guess what was meant, from the parameters there are.
    pub fn unknown_parameter(&self, known: &[&str]) -> Fault {
        let key = self.text().split('=').next().unwrap_or_default();
        let fault = suggest::did_you_mean(self.invalid_parameter(), key, known.iter().copied());
        fault.help(format!(
            "\"{}\" takes {}",
            self.directive,
            suggest::alternatives(known.iter().copied())
        ))
    }

    /// A value read from here.
    pub fn spanned<T>(&self, value: T) -> Spanned<T> {
        Spanned {
            value,
            span: self.span(),
        }
    }

    /// nginx says `"d" directive invalid value`; the value and what is wanted come behind.
    fn invalid_quantity(&self, expected: &str) -> Fault {
        self.fault(format!(
            "\"{}\" directive invalid value \"{}\", it must be {expected}",
            self.directive,
            self.text()
        ))
    }
}
