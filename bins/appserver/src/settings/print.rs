//! `--print-config`.

use rustix::process::{getegid, geteuid};
use serde_json::Value;

use super::{Kind, Resolved, Setting, all};

/// A line `name = value` per setting, by name, values as Python shows them.
pub(crate) fn print(resolved: &Resolved) -> String {
    let names = all().map(|setting| setting.name.len());
    let width = names.max().unwrap_or(0);
    let lines = settled(resolved).map(|(name, value)| format!("{name:width$} = {value}\n"));
    lines.collect()
}

/// The same for the error log at its level `debug`.
pub(crate) fn told(resolved: &Resolved) -> String {
    let lines = settled(resolved).map(|(name, value)| format!("\n  {name}: {value}"));
    format!("Current configuration:{}", lines.collect::<String>())
}

/// Names and values, by name.
fn settled(resolved: &Resolved) -> impl Iterator<Item = (&'static str, String)> {
    let mut settings: Vec<_> = all().collect();
    settings.sort_by_key(|setting| setting.name);
    let shown = |setting: &Setting| shown_value(setting, resolved);
    settings
        .into_iter()
        .map(move |setting| (setting.name, shown(setting)))
}

fn shown_value(setting: &Setting, resolved: &Resolved) -> String {
    let value = resolved.settings.0.get(setting.name);
    match (setting.kind, setting.name, value) {
        (Kind::Hook, name, _) => match resolved.hooks.get(name) {
            Some(shown) => call(shown),
            None => "None".into(),
        },
        (_, "control_socket", Some(Value::Null)) => crate::control::default_path()
            .map_or_else(|| "None".into(), |path| path.display().to_string()),
        (_, "user", Some(Value::Null)) => geteuid().as_raw().to_string(),
        (_, "group", Some(Value::Null)) => getegid().as_raw().to_string(),
        (_, _, Some(Value::String(text))) => text.clone(),
        (_, _, value) => value.map_or_else(|| "None".into(), repr),
    }
}

/// A function, which Python shows with its address, as gunicorn shows it.
fn call(shown: &str) -> String {
    let name = shown
        .strip_prefix("<function ")
        .and_then(|rest| rest.split(' ').next());
    name.map_or_else(|| shown.to_owned(), |name| format!("<{name}()>"))
}

/// A default as references show it: modes in octal. `--help` and `--print-config` have gunicorn's decimal numbers.
pub(super) fn shown_default(setting: &Setting) -> String {
    match setting.default.value() {
        Value::Number(mode) if setting.kind == Kind::Mode && mode.as_u64() != Some(0) => {
            format!("{:#o}", mode.as_u64().unwrap_or_default())
        }
        value => repr(&value),
    }
}

/// Python's `repr`.
pub(crate) fn repr(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(repr).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(pairs) => {
            let pairs: Vec<_> = pairs
                .iter()
                .map(|(name, value)| format!("{}: {}", quoted(name), repr(value)))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
    }
}

fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut quoted = String::from(quote);
    for c in text.chars() {
        match c {
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c == quote => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push(quote);
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn functions_have_no_addresses() {
        assert_eq!(call("<function post_fork at 0x7f00>"), "<post_fork()>");
        assert_eq!(call("'hooks.post_fork'"), "'hooks.post_fork'");
    }

    #[test]
    fn values_look_as_in_python() {
        let value = json!(["a", 1, true, null, {"k": "it's"}, "a\"'\n\\"]);
        assert_eq!(
            repr(&value),
            r#"['a', 1, True, None, {'k': "it's"}, 'a"\'\n\\']"#
        );
    }
}
