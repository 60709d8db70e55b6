//! Values: what each kind of setting takes, from a configuration file or from the command line.

use std::net::IpAddr;

use serde_json::{Map, Value};
use supervisor::privileges::IdentityError;
use supervisor::{Groups, Identity};

use super::{Kind, Preset, Setting};

/// What stands for yes and no.
const BOOLEAN_WORDS: [(&str, bool); 2] = [("true", true), ("false", false)];

/// Units of bytes, as in nginx.
const SIZES: [(char, u64); 3] = [('k', 1 << 10), ('m', 1 << 20), ('g', 1 << 30)];
/// Units of time, as in nginx.
const SPANS: [(char, u64); 4] = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
/// The largest number of what is counted, and of bytes.
const COUNT_MAX: u64 = u32::MAX as u64;
const SIZE_MAX: u64 = 1 << 50;

impl Preset {
    /// As a plain value.
    pub fn value(self) -> Value {
        match self {
            Self::Nothing => Value::Null,
            Self::Bool(value) => value.into(),
            Self::Number(value) => value.into(),
            Self::Text(value) => value.into(),
            Self::List(values) => values.to_vec().into(),
            Self::Map(pairs) => {
                let pairs = pairs
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).into()));
                Value::Object(pairs.collect())
            }
        }
    }
}

impl Setting {
    /// The value as it is kept: numbers out of texts, lists out of single ones.
    ///
    /// # Errors
    /// [`Wrong`].
    pub fn check(&self, value: &Value) -> Result<Value, Wrong> {
        let identity = |find: &dyn Fn(&str) -> Result<u32, IdentityError>| identity(value, find);
        let checked = match self.kind {
            Kind::Text | Kind::Folder | Kind::Class => text(value, self.default),
            Kind::Count => whole(value, COUNT_MAX, decimal),
            Kind::Size => whole(value, SIZE_MAX, |text| measured(text, &SIZES)),
            Kind::Span => whole(value, COUNT_MAX, |text| measured(text, &SPANS)),
            Kind::Mode => whole(value, COUNT_MAX, mode),
            Kind::Switch | Kind::SwitchOff => boolean(value, self.default),
            Kind::List => list(value, |text| vec![text.to_owned()]),
            Kind::Files => return files(value, self.takes()),
            Kind::Words => list(value, commas),
            Kind::Peers => return peers(value, self.takes()),
            Kind::Choice(words) => choice(value, words),
            Kind::OptionalChoice(words) => match value {
                Value::Null | Value::Bool(false) => Some(self.default.value()),
                Value::Bool(true) => words.first().copied().map(Value::from),
                value => choice(value, words),
            },
            Kind::User => {
                return identity(&|name| {
                    Identity::lookup(Some(name), None, &Groups::Keep).map(|who| who.uid)
                });
            }
            Kind::Group => {
                return identity(&|name| {
                    Identity::lookup(None, Some(name), &Groups::Keep).map(|who| who.gid)
                });
            }
            Kind::Map => map(value),
            Kind::Dict => match value {
                Value::Null => Some(self.default.value()),
                value => Some(value.clone()).filter(Value::is_object),
            },
            Kind::Hook | Kind::Any => Some(value.clone()),
        };
        checked.ok_or_else(|| Wrong::Kind(self.takes()))
    }

    /// What it takes, in words.
    pub fn takes(&self) -> String {
        match self.kind {
            Kind::Count => "a whole number from 0".to_owned(),
            Kind::Size => "a number of bytes, or one with k, m or g, such as 512m".to_owned(),
            Kind::Span => "a number of seconds, or one with s, m, h or d, such as 12h".to_owned(),
            Kind::Mode => "a file mode mask such as 007 or 0o077".to_owned(),
            Kind::Switch | Kind::SwitchOff => "True or False".to_owned(),
            Kind::List | Kind::Words => "a text or a list of texts".to_owned(),
            Kind::Files => "the names of files that are there, or patterns".to_owned(),
            Kind::Peers => {
                "IP addresses, networks such as 10.0.0.0/8, or *, with commas between".to_owned()
            }
            Kind::Class => "a class, or its name with its module".to_owned(),
            Kind::Dict => "a dict".to_owned(),
            Kind::Choice(words) | Kind::OptionalChoice(words) => {
                format!("one of {}", words.join(", "))
            }
            Kind::User | Kind::Group => "a name or a number".to_owned(),
            Kind::Map => "a dict of texts".to_owned(),
            Kind::Hook => "a function".to_owned(),
            Kind::Text | Kind::Folder | Kind::Any => "a text".to_owned(),
        }
    }
}

/// Why a value is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// The setting takes something else; what.
    Kind(String),
    /// Another reason.
    Because(String),
}

fn text(value: &Value, default: Preset) -> Option<Value> {
    match value {
        Value::Null => Some(default.value()),
        Value::String(text) => Some(text.trim().into()),
        _ => None,
    }
}

/// A number, or a text that is one; `True` is 1, as in Python.
fn whole(value: &Value, most: u64, read: impl Fn(&str) -> Option<u64>) -> Option<Value> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| {
            number
                .as_f64()
                .filter(|f| *f >= 0.0 && f.fract() == 0.0)
                .map(|f| f as u64)
        }),
        Value::String(text) => read(text.trim()),
        Value::Bool(value) => Some(u64::from(*value)),
        _ => None,
    }
    .filter(|number| *number <= most)
    .map(Value::from)
}

/// Python's `int(text, 0)` for what is not negative: `40`, `1_000`, `0x28`, `0o50`, `0b11`.
fn decimal(text: &str) -> Option<u64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let (digits, radix) = match text.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => (&text[2..], 16),
        Some("0o") => (&text[2..], 8),
        Some("0b") => (&text[2..], 2),
        _ => (text, 10),
    };
    let one_zero = radix == 10 && digits.len() > 1 && digits.starts_with('0');
    if one_zero && digits.bytes().any(|byte| byte != b'0') {
        return None;
    }
    let misplaced = digits.starts_with('_') || digits.ends_with('_') || digits.contains("__");
    if misplaced || digits.starts_with(['+', '-']) {
        return None;
    }
    u64::from_str_radix(&digits.replace('_', ""), radix).ok()
}

/// A number with one of these units, or without.
fn measured(text: &str, units: &[(char, u64)]) -> Option<u64> {
    let found = units.iter().find_map(|(unit, factor)| {
        let digits = text.strip_suffix([*unit, unit.to_ascii_uppercase()])?;
        // Not the last digit of 0x1d.
        (!digits.starts_with("0x")).then_some((digits, factor))
    });
    match found {
        Some((digits, factor)) => decimal(digits)?.checked_mul(*factor),
        None => decimal(text),
    }
}

/// As [`decimal`], but a leading 0 makes it octal.
fn mode(text: &str) -> Option<u64> {
    let octal =
        text.len() > 1 && text.bytes().all(|byte| byte.is_ascii_digit()) && text.starts_with('0');
    let number = if octal {
        u64::from_str_radix(text, 8).ok()
    } else {
        decimal(text)
    };
    number.filter(|mode| *mode <= 0o7777)
}

fn boolean(value: &Value, default: Preset) -> Option<Value> {
    let found = match value {
        Value::Null => return Some(default.value()),
        Value::Bool(value) => Some(*value),
        Value::String(text) => BOOLEAN_WORDS
            .iter()
            .find(|(word, _)| text.trim().eq_ignore_ascii_case(word))
            .map(|(_, value)| *value),
        Value::Number(number) => match number.as_i64() {
            Some(0) => Some(false),
            Some(1) => Some(true),
            _ => None,
        },
        _ => None,
    };
    found.map(Value::from)
}

fn list(value: &Value, split: impl Fn(&str) -> Vec<String>) -> Option<Value> {
    match value {
        Value::Null => Some(Value::Array(Vec::new())),
        Value::String(text) if text.is_empty() => Some(Value::Array(Vec::new())),
        Value::String(text) => Some(split(text).into()),
        Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().map(|text| Value::from(text.trim())))
            .collect::<Option<Vec<_>>>()
            .map(Value::Array),
        _ => None,
    }
}

fn files(value: &Value, takes: String) -> Result<Value, Wrong> {
    let files = list(value, |text| vec![text.to_owned()]).ok_or(Wrong::Kind(takes))?;
    let names = files.as_array().into_iter().flatten();
    for name in names.filter_map(Value::as_str) {
        let is_pattern = name.contains(['*', '?', '[']);
        if !is_pattern && !std::path::Path::new(name).exists() {
            return Err(Wrong::Because(format!("File {name} does not exist.")));
        }
    }
    Ok(files)
}

fn peers(value: &Value, takes: String) -> Result<Value, Wrong> {
    let peers = list(value, commas).ok_or(Wrong::Kind(takes))?;
    let words = peers.as_array().into_iter().flatten();
    for word in words.filter_map(Value::as_str) {
        if word != "*" && !is_network(word) {
            return Err(Wrong::Because(format!(
                "'{word}' does not appear to be an IPv4 or IPv6 network"
            )));
        }
    }
    Ok(peers)
}

/// An address, or one with the length of its prefix and no bits beyond it.
fn is_network(word: &str) -> bool {
    let (address, prefix) = word.split_once('/').unwrap_or((word, ""));
    let Ok(address) = address.parse::<IpAddr>() else {
        return false;
    };
    let (bits, width) = match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)) << 96, 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    };
    if !word.contains('/') {
        return true;
    }
    let mask = |length: u32| u128::MAX.checked_shr(length).unwrap_or(0);
    prefix
        .parse::<u32>()
        .is_ok_and(|length| length <= width && bits & mask(length) == 0)
}

fn commas(text: &str) -> Vec<String> {
    text.split(',')
        .map(|word| word.trim().to_owned())
        .filter(|word| !word.is_empty())
        .collect()
}

fn choice(value: &Value, words: &[&str]) -> Option<Value> {
    let text = value.as_str()?.trim();
    let word = words.iter().find(|word| text.eq_ignore_ascii_case(word))?;
    Some(Value::from(*word))
}

fn identity(
    value: &Value,
    find: &dyn Fn(&str) -> Result<u32, IdentityError>,
) -> Result<Value, Wrong> {
    let number = |number: &serde_json::Number| u32::try_from(number.as_u64()?).ok();
    match value {
        Value::Null => Some(Value::Null),
        Value::Number(given) => number(given).map(Value::from),
        Value::String(name) => {
            return find(name.trim())
                .map(Value::from)
                .map_err(|error| Wrong::Because(error.to_string()));
        }
        _ => None,
    }
    .ok_or_else(|| Wrong::Kind("a name or a number".to_owned()))
}

fn map(value: &Value) -> Option<Value> {
    let pairs = value.as_object()?.iter();
    let texts: Option<Map<_, _>> = pairs
        .map(|(name, value)| value.as_str().map(|text| (name.clone(), Value::from(text))))
        .collect();
    texts.map(Value::Object)
}

#[cfg(test)]
mod tests {
    use super::super::find;
    use super::*;
    use serde_json::json;

    fn checked(name: &str, value: Value) -> Result<Value, Wrong> {
        find(name).unwrap().check(&value)
    }

    #[test]
    fn numbers_are_read_as_python_reads_them() {
        for (given, number) in [
            ("40", 40),
            ("1_000", 1000),
            ("0x10", 16),
            ("0o17", 15),
            ("0", 0),
        ] {
            assert_eq!(
                checked("workers", json!(given)),
                Ok(json!(number)),
                "{given}"
            );
        }
        assert_eq!(checked("workers", json!(true)), Ok(json!(1)));
        assert_eq!(checked("workers", json!(2.0)), Ok(json!(2)));
        for wrong in [
            json!("many"),
            json!("-1"),
            json!(-1),
            json!("010"),
            json!(1.5),
            json!([]),
            json!(null),
            json!("1__0"),
        ] {
            assert!(checked("workers", wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_and_times_may_have_a_unit() {
        for (name, given, number) in [
            ("worker_max_rss", json!("512m"), 512 << 20),
            ("worker_max_rss", json!("8G"), 8_u64 << 30),
            ("worker_max_rss", json!(1_u64 << 33), 1 << 33),
            ("worker_max_rss", json!("1k"), 1024),
            ("worker_max_lifetime", json!("90"), 90),
            ("worker_max_lifetime", json!("90s"), 90),
            ("worker_max_lifetime", json!("5m"), 300),
            ("worker_max_lifetime", json!(" 12h "), 43_200),
            ("worker_max_lifetime", json!("1d"), 86_400),
            ("worker_max_lifetime", json!("0x1d"), 29),
        ] {
            assert_eq!(checked(name, given.clone()), Ok(json!(number)), "{given}");
        }
        for (name, wrong) in [
            ("worker_max_rss", "512h"),
            ("worker_max_rss", "m"),
            ("worker_max_rss", "1.5g"),
            ("worker_max_rss", "99999999999g"),
            ("worker_max_lifetime", "5g"),
            ("worker_max_lifetime", "5 m"),
            ("worker_max_lifetime", "-1h"),
            ("workers", "4k"),
        ] {
            assert!(checked(name, json!(wrong)).is_err(), "{name} {wrong}");
        }
    }

    #[test]
    fn a_mask_is_octal_with_a_leading_zero() {
        for (given, mode) in [
            (json!("007"), 7),
            (json!("0o22"), 0o22),
            (json!("0022"), 0o22),
            (json!(18), 18),
            (json!("18"), 18),
        ] {
            assert_eq!(checked("umask", given.clone()), Ok(json!(mode)), "{given}");
        }
        assert!(checked("umask", json!("99999999")).is_err());
    }

    #[test]
    fn lists_come_as_one_text_too() {
        assert_eq!(
            checked("bind", json!("127.0.0.1:80")),
            Ok(json!(["127.0.0.1:80"]))
        );
        assert_eq!(checked("bind", json!(["a", "b"])), Ok(json!(["a", "b"])));
        assert_eq!(
            checked("forwarded_allow_ips", json!("10.0.0.1, ::1,")),
            Ok(json!(["10.0.0.1", "::1"]))
        );
        assert!(checked("forwarded_allow_ips", json!("10.0.0.0/8,*,fd00::/8")).is_ok());
        for wrong in [
            "localhost",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "::1/129",
            "10.0.0.0/",
        ] {
            let words = checked("forwarded_allow_ips", json!(wrong)).unwrap_err();
            assert!(matches!(words, Wrong::Because(words) if words.contains(wrong)));
        }
        assert!(checked("reload_extra_files", json!(["/", "no-such-*"])).is_ok());
        assert!(checked("reload_extra_files", json!("/no/such/file")).is_err());
        assert!(checked("bind", json!([1])).is_err());
        assert!(checked("bind", json!(8000)).is_err());
    }

    #[test]
    fn booleans_have_few_spellings() {
        assert_eq!(checked("reload", json!("True ")), Ok(json!(true)));
        assert_eq!(checked("reload", json!(0)), Ok(json!(false)));
        assert_eq!(checked("reload", json!(null)), Ok(json!(false)));
        assert!(checked("reload", json!("maybe")).is_err());
    }

    #[test]
    fn users_are_found_by_name() {
        assert_eq!(checked("user", json!("root")), Ok(json!(0)));
        assert_eq!(checked("group", json!("1234")), Ok(json!(1234)));
        let Err(Wrong::Because(words)) = checked("user", json!("no-such-user")) else {
            panic!("there is such a user")
        };
        assert!(words.contains("no-such-user"), "{words}");
    }

    #[test]
    fn choices_list_their_words() {
        assert_eq!(checked("loglevel", json!("Debug")), Ok(json!("debug")));
        assert_eq!(
            checked("header_map", json!("loud")),
            Err(Wrong::Kind("one of drop, refuse, dangerous".to_owned()))
        );
    }
}
