//! How much a line matters.

/// Python's levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For those who look for a fault.
    Debug,
    /// What goes on.
    Info,
    /// Something will go wrong.
    Warning,
    /// Something went wrong.
    Error,
    /// The server is at stake.
    Critical,
}

const ALL: [Level; 5] = [
    Level::Critical,
    Level::Error,
    Level::Warning,
    Level::Info,
    Level::Debug,
];

impl Level {
    /// The level of `loglevel`; `info` where the word is none.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let found = ALL
            .iter()
            .find(|level| level.name().eq_ignore_ascii_case(name.trim()));
        found.copied().unwrap_or(Self::Info)
    }

    /// The level of a number of Python's logging: 10 is `DEBUG`, 50 `CRITICAL`; others count as the one below.
    #[must_use]
    pub fn of_number(number: i64) -> Self {
        let found = ALL.iter().find(|level| number >= i64::from(level.number()));
        found.copied().unwrap_or(Self::Debug)
    }

    /// Python's number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Debug => 10,
            Self::Info => 20,
            Self::Warning => 30,
            Self::Error => 40,
            Self::Critical => 50,
        }
    }

    /// `DEBUG` … `CRITICAL`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Critical => "CRITICAL",
        }
    }

    /// The severity of RFC 5424 §6.2.1.
    pub(crate) const fn severity(self) -> u8 {
        match self {
            Self::Debug => 7,
            Self::Info => 6,
            Self::Warning => 4,
            Self::Error => 3,
            Self::Critical => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_found_by_name_and_by_number() {
        assert_eq!(Level::named(" Warning "), Level::Warning);
        assert_eq!(Level::named("loud"), Level::Info);
        for (number, level) in [
            (0, Level::Debug),
            (20, Level::Info),
            (25, Level::Info),
            (40, Level::Error),
            (99, Level::Critical),
        ] {
            assert_eq!(Level::of_number(number), level, "{number}");
        }
    }
}
