//! Whole numbers in a range, read as nginx reads them: digits only, no `+`; a minus where the type has one.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

mod sealed {
    pub trait Sealed {}
}

/// The integer types of the language.
pub trait Integer: sealed::Sealed + FromStr + PartialOrd + Display + Copy {
    /// The largest there is, to say "or more" instead of naming it.
    const LARGEST: Self;
}

macro_rules! integers {
    ($($name:ident)*) => {$(
        impl sealed::Sealed for $name {}
        impl Integer for $name { const LARGEST: Self = $name::MAX; }
    )*};
}
integers!(u8 u16 u32 u64 usize i32 i64);

#[derive(Debug, PartialEq)]
pub(crate) enum Refused {
    NoNumber,
    OutOfRange,
}

pub(crate) fn read<T: Integer>(text: &str, range: &RangeInclusive<T>) -> Result<T, Refused> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refused::NoNumber);
    }
    // digits that the type can't hold are a number all the same
    let value = text.parse().map_err(|_| Refused::OutOfRange)?;
    if range.contains(&value) {
        Ok(value)
    } else {
        Err(Refused::OutOfRange)
    }
}

/// `between 400 and 599`, `equal to or greater than 1`.
pub(crate) fn in_words<T: Integer>(range: &RangeInclusive<T>) -> String {
    if *range.end() == T::LARGEST {
        return format!("equal to or greater than {}", range.start());
    }
    format!("between {} and {}", range.start(), range.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_digits_only() {
        assert_eq!(read("404", &(400u16..=599)), Ok(404));
        for text in ["", "-", "+1", "1.5", "0x10", " 1", "1 ", "٣"] {
            assert_eq!(read(text, &(0u32..=9)), Err(Refused::NoNumber), "{text}");
        }
    }

    #[test]
    fn tells_a_number_out_of_range_from_no_number() {
        for text in ["399", "600", "70000", "99999999999999999999999", "-1"] {
            assert_eq!(
                read(text, &(400u16..=599)),
                Err(Refused::OutOfRange),
                "{text}"
            );
        }
        assert_eq!(read("-1", &(-1i64..=5)), Ok(-1));
    }

    #[test]
    fn names_the_range() {
        assert_eq!(in_words(&(400u16..=599)), "between 400 and 599");
        assert_eq!(in_words(&(1u32..=u32::MAX)), "equal to or greater than 1");
    }
}
