//! The command line, read by the rules of Python's argparse, which gunicorn's users rely on: unique prefixes, `--flag=value`,
//! short flags together, `-w4`, one application in between.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Kind, Setting, all};

/// What a command line says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Arguments {
    /// Settings by name.
    pub values: BTreeMap<&'static str, Value>,
    /// The application.
    pub application: Option<String>,
    /// Words behind the application that mean nothing.
    pub ignored: Vec<String>,
    /// Something else than serving.
    pub action: Option<Action>,
}

/// What ends the program at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// `--help`
    Help,
    /// `--version`
    Version,
    /// `--settings-reference`
    Reference,
}

/// Flags that are no settings.
const ACTIONS: [(&str, Action); 5] = [
    ("-h", Action::Help),
    ("--help", Action::Help),
    ("-v", Action::Version),
    ("--version", Action::Version),
    ("--settings-reference", Action::Reference),
];

/// Why a command line is not understood; argparse's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UsageError(pub String);

#[derive(Clone, Copy)]
enum Meaning {
    Setting(&'static Setting),
    Action(Action),
}

/// Reads the words of a command line (without the program's name).
///
/// # Errors
/// [`UsageError`].
pub(crate) fn parse(words: &[String]) -> Result<Arguments, UsageError> {
    let mut parser = Parser {
        words,
        place: 0,
        found: Arguments::default(),
        unrecognized: Vec::new(),
        among_positionals: true,
    };
    while parser.found.action.is_none() && parser.place < words.len() {
        parser.next()?;
    }
    if parser.found.action.is_none() && !parser.unrecognized.is_empty() {
        let words = parser.unrecognized.join(" ");
        return Err(UsageError(format!("unrecognized arguments: {words}")));
    }
    Ok(parser.found)
}

struct Parser<'a> {
    words: &'a [String],
    place: usize,
    found: Arguments,
    unrecognized: Vec<String>,
    /// No option has followed the application yet.
    among_positionals: bool,
}

impl<'a> Parser<'a> {
    fn next(&mut self) -> Result<(), UsageError> {
        let words = self.words;
        let word = &words[self.place];
        self.place += 1;
        if word == "--" {
            for word in &words[self.place..] {
                self.positional(word);
            }
            self.place = words.len();
            return Ok(());
        }
        if !is_option(word) {
            self.positional(word);
            return Ok(());
        }
        self.among_positionals &= self.found.application.is_none();
        match look_up(word)? {
            Some((flag, meaning, attached)) => self.option(flag, meaning, attached),
            None if word.starts_with("--") || !self.cluster(word)? => {
                self.unrecognized.push(word.clone());
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The first is the application. More right behind it have no meaning, and no fault either: gunicorn takes them, too.
    fn positional(&mut self, word: &str) {
        match self.found.application {
            None => self.found.application = Some(word.to_owned()),
            Some(_) if self.among_positionals => self.found.ignored.push(word.to_owned()),
            Some(_) => self.unrecognized.push(word.to_owned()),
        }
    }

    /// `-w4`, `-DR`, `-Dw 4`; `false` when the first letter is no flag.
    fn cluster(&mut self, word: &str) -> Result<bool, UsageError> {
        let mut rest = &word[1..];
        let mut first = true;
        while let Some(letter) = rest.chars().next() {
            let flag = format!("-{letter}");
            rest = &rest[letter.len_utf8()..];
            let Some((flag, meaning)) = exact(&flag) else {
                if first {
                    return Ok(false);
                }
                self.unrecognized.push(format!("-{letter}{rest}"));
                return Ok(true);
            };
            first = false;
            match meaning {
                Meaning::Setting(setting) if setting.takes_value() => {
                    let attached = Some(rest.strip_prefix('=').unwrap_or(rest));
                    let attached = attached.filter(|_| !rest.is_empty());
                    self.option(flag, meaning, attached)?;
                    return Ok(true);
                }
                _ => self.option(flag, meaning, None)?,
            }
        }
        Ok(true)
    }

    fn option(
        &mut self,
        flag: &str,
        meaning: Meaning,
        attached: Option<&str>,
    ) -> Result<(), UsageError> {
        let setting = match (meaning, attached) {
            (Meaning::Setting(setting), _) => setting,
            (Meaning::Action(action), None) => {
                self.found.action = Some(action);
                return Ok(());
            }
            (Meaning::Action(_), Some(value)) => return Err(ignored(flag, value)),
        };
        let value = if !setting.takes_value() {
            if let Some(value) = attached {
                return Err(ignored(&setting.flag_names(), value));
            }
            Value::Bool(setting.kind == Kind::Switch)
        } else if let Some(value) = attached {
            typed(setting, value)?
        } else {
            match self.words.get(self.place).filter(|word| !is_option(word)) {
                Some(value) => {
                    self.place += 1;
                    typed(setting, value)?
                }
                None if matches!(setting.kind, Kind::OptionalChoice(_)) => Value::Bool(true),
                None => {
                    let names = setting.flag_names();
                    return Err(UsageError(format!(
                        "argument {names}: expected one argument"
                    )));
                }
            }
        };
        self.keep(setting, value);
        Ok(())
    }

    fn keep(&mut self, setting: &'static Setting, value: Value) {
        match (setting.kind, value) {
            (Kind::List | Kind::Files, value) => {
                let place = self.found.values.entry(setting.name);
                let list = place.or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(list) = list {
                    list.push(value);
                }
            }
            (_, value) => {
                self.found.values.insert(setting.name, value);
            }
        }
    }
}

fn ignored(flag: &str, value: &str) -> UsageError {
    UsageError(format!(
        "argument {flag}: ignored explicit argument '{value}'"
    ))
}

/// Numbers are checked by argparse already.
fn typed(setting: &Setting, value: &str) -> Result<Value, UsageError> {
    let value = Value::from(value);
    let negative = value
        .as_str()
        .is_some_and(|text| text.parse::<i64>().is_ok());
    let name = match setting.kind {
        Kind::Count => "int",
        Kind::Mode => "auto_int",
        _ => return Ok(value),
    };
    if setting.check(&value).is_err() && !negative {
        let (names, text) = (setting.flag_names(), value.as_str().unwrap_or_default());
        return Err(UsageError(format!(
            "argument {names}: invalid {name} value: '{text}'"
        )));
    }
    Ok(value)
}

/// Does argparse take this word for an option? Not a lone `-`, not a negative number, nothing with a space in it (unless the part
/// before `=` is a flag).
fn is_option(word: &str) -> bool {
    if !word.starts_with('-') || word.len() == 1 {
        return false;
    }
    let named = word.split_once('=').map_or(word, |(name, _)| name);
    if exact(named).is_some() {
        return true;
    }
    let digits = &word[1..];
    let negative = digits
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
        && digits.bytes().any(|byte| byte.is_ascii_digit());
    !negative && !word.contains(' ') || word.starts_with("--") && !named.contains(' ')
}

/// A flag, what it means, what stands behind `=`.
type Found<'a> = (&'static str, Meaning, Option<&'a str>);

fn flags() -> impl Iterator<Item = (&'static str, Meaning)> {
    let settings = all().flat_map(|setting| {
        setting
            .flags
            .iter()
            .map(move |flag| (*flag, Meaning::Setting(setting)))
    });
    ACTIONS
        .iter()
        .map(|(flag, action)| (*flag, Meaning::Action(*action)))
        .chain(settings)
}

fn exact(name: &str) -> Option<(&'static str, Meaning)> {
    flags().find(|(flag, _)| *flag == name)
}

/// Flags that gunicorn does not have. The beginning of a name that means one of gunicorn's there means it here.
const OURS: [&str; 9] = [
    "--python",
    "--worker-max-rss",
    "--worker-max-lifetime",
    "--static",
    "--metrics-bind",
    "--asgi",
    "--asgi-path",
    "--ws-ping-interval",
    "--ws-ping-timeout",
];

/// A flag by its name, or by the beginning of a long one that no other has, with what stands behind `=`.
fn look_up(word: &str) -> Result<Option<Found<'_>>, UsageError> {
    let (name, attached) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (word, None),
    };
    if let Some((flag, meaning)) = exact(name) {
        return Ok(Some((flag, meaning, attached)));
    }
    if !name.starts_with("--") {
        return Ok(None);
    }
    let mut found: Vec<_> = flags().filter(|(flag, _)| flag.starts_with(name)).collect();
    let theirs = |(flag, _): &(&str, Meaning)| !OURS.contains(flag);
    if found.iter().any(theirs) {
        found.retain(theirs);
    }
    match found[..] {
        [] => Ok(None),
        [(flag, meaning)] => Ok(Some((flag, meaning, attached))),
        _ => {
            let names: Vec<_> = found.iter().map(|(flag, _)| *flag).collect();
            let could = names.join(", ");
            Err(UsageError(format!(
                "ambiguous option: {word} could match {could}"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parsed(line: &str) -> Result<Arguments, String> {
        let words: Vec<String> = line
            .split('|')
            .filter(|w| !w.is_empty())
            .map(str::to_owned)
            .collect();
        parse(&words).map_err(|UsageError(words)| words)
    }

    fn value(line: &str, name: &str) -> Value {
        parsed(line).unwrap().values.remove(name).unwrap()
    }

    #[test]
    fn flags_values_and_the_application_in_any_order() {
        let found = parsed("-w|4|shop.wsgi|--bind=:80|-b|unix:/s").unwrap();
        assert_eq!(found.application.as_deref(), Some("shop.wsgi"));
        assert_eq!(found.values["workers"], json!("4"));
        assert_eq!(found.values["bind"], json!([":80", "unix:/s"]));
        assert_eq!(
            parsed("--|-odd-name").unwrap().application.as_deref(),
            Some("-odd-name")
        );
    }

    #[test]
    fn flags_of_ours_take_no_prefix_of_gunicorns_away() {
        assert!(OURS.iter().all(|flag| exact(flag).is_some()));
        assert_eq!(value("--pyth|lib", "pythonpath"), json!("lib"));
        assert_eq!(
            value("--python|/usr/bin/python3", "python"),
            json!("/usr/bin/python3")
        );
        assert_eq!(value("--worker-max-r|1g", "worker_max_rss"), json!("1g"));
    }

    #[test]
    fn a_unique_prefix_is_enough() {
        assert_eq!(value("--worker-con|50", "worker_connections"), json!("50"));
        assert_eq!(value("--access-logfi=-", "accesslog"), json!("-"));
        assert_eq!(value("--access-logfile|-", "accesslog"), json!("-"));
        let words = parsed("--worker|3").unwrap_err();
        assert_eq!(
            words,
            "ambiguous option: --worker could match --workers, --worker-class, --worker-connections, --worker-tmp-dir"
        );
    }

    #[test]
    fn short_flags_stand_together_and_take_their_value_along() {
        let found = parsed("-Dw4").unwrap();
        assert_eq!(
            (&found.values["daemon"], &found.values["workers"]),
            (&json!(true), &json!("4"))
        );
        assert_eq!(value("-w=3", "workers"), json!("3"));
        assert_eq!(value("-b:8000", "bind"), json!([":8000"]));
        assert_eq!(value("--no-sendfile", "sendfile"), json!(false));
        assert_eq!(value("--proxy-protocol", "proxy_protocol"), json!(true));
        assert_eq!(value("--proxy-protocol|v1", "proxy_protocol"), json!("v1"));
    }

    #[test]
    fn words_right_behind_the_application_are_ignored() {
        for line in [
            "--reload|shop|3|x",
            "shop|3|x|--reload",
            "--reload|--|shop|3|x",
        ] {
            let found = parsed(line).unwrap();
            assert_eq!(found.application.as_deref(), Some("shop"), "{line}");
            assert_eq!(found.ignored, ["3", "x"], "{line}");
        }
    }

    #[test]
    fn wrong_words_get_the_answers_of_argparse() {
        for (line, words) in [
            ("--no-such|app", "unrecognized arguments: --no-such"),
            ("a|--reload|b|c", "unrecognized arguments: b c"),
            ("-z", "unrecognized arguments: -z"),
            (
                "--workers|x",
                "argument -w/--workers: invalid int value: 'x'",
            ),
            ("--workers", "argument -w/--workers: expected one argument"),
            (
                "--bind|--workers|3",
                "argument -b/--bind: expected one argument",
            ),
            (
                "--reload=3",
                "argument --reload: ignored explicit argument '3'",
            ),
            (
                "--log-file",
                "argument --error-logfile/--log-file: expected one argument",
            ),
        ] {
            assert_eq!(parsed(line).unwrap_err(), words, "{line}");
        }
    }

    #[test]
    fn negative_numbers_and_texts_with_spaces_are_values() {
        assert_eq!(value("--workers|-3", "workers"), json!("-3"));
        assert_eq!(
            value("--access-logformat|-x %(h)s", "access_log_format"),
            json!("-x %(h)s")
        );
    }

    #[test]
    fn actions_end_the_reading() {
        assert_eq!(
            parsed("--help|--nonsense").unwrap().action,
            Some(Action::Help)
        );
        assert_eq!(parsed("-v").unwrap().action, Some(Action::Version));
    }
}
