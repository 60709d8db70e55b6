//! From what was written in several places to the settings in force.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use appserver_protocol::{ConfigValue, Settings};
use serde_json::Value;

mod together;

use super::check::Wrong;
use super::{Kind, Setting, Support, all};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A variable of the environment.
    Variable(&'static str),
    /// The configuration file.
    File(String),
    /// `GUNICORN_CMD_ARGS`.
    CommandVariable,
    /// The command line.
    CommandLine,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "the variable {name}"),
            Self::File(path) => write!(f, "{path}"),
            Self::CommandVariable => write!(f, "GUNICORN_CMD_ARGS"),
            Self::CommandLine => write!(f, "command line"),
        }
    }
}

/// What one place says.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    /// Which place.
    pub source: Source,
    /// By name.
    pub values: BTreeMap<String, ConfigValue>,
    /// Where in it the values stand, `file:line`, as far as that is known.
    pub places: BTreeMap<String, String>,
}

impl Written {
    /// From a command line.
    pub fn by_flags(source: Source, values: &BTreeMap<&'static str, Value>) -> Self {
        let plain = |(name, value): (&&str, &Value)| {
            ((*name).to_owned(), ConfigValue::Plain(value.clone()))
        };
        Self {
            source,
            values: values.iter().map(plain).collect(),
            places: BTreeMap::new(),
        }
    }
}

/// The part of the environment that settings depend on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    /// Variables by name.
    pub variables: BTreeMap<String, String>,
    /// The folder that the program was started in.
    pub folder: PathBuf,
}

/// What is wrong with a setting. `Display` is what gunicorn prints, and then what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// `name: value`, where a value is wrong.
    invalid: Option<String>,
    message: String,
}

impl Fault {
    /// A fault that is not about one value.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            invalid: None,
            message: message.into(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(invalid) = &self.invalid {
            write!(f, "Invalid value for {invalid}\n\n")?;
        }
        write!(f, "Error: {}", self.message)
    }
}

/// The settings in force.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    /// All of them, by name; hooks are not among them.
    pub settings: Settings,
    /// The hooks that the configuration file has, as Python shows them.
    pub hooks: BTreeMap<String, String>,
    /// The application.
    pub application: String,
    /// What to tell in the log.
    pub notes: Vec<String>,
    /// Where each setting was written that was.
    origins: BTreeMap<String, String>,
}

/// Puts together what was written; a later place wins.
///
/// # Errors
/// Every fault in every place.
pub(crate) fn resolve(
    environment: &Environment,
    application: Option<&str>,
    written: &[Written],
) -> Result<Resolved, Vec<Fault>> {
    let mut found = Resolved {
        settings: Settings(
            all()
                .map(|it| (it.name.to_owned(), it.default.value()))
                .collect(),
        ),
        hooks: BTreeMap::new(),
        application: String::new(),
        notes: Vec::new(),
        origins: BTreeMap::new(),
    };
    let mut faults = Vec::new();
    let from_variables = variables(environment);
    for place in from_variables.iter().chain(written) {
        for setting in all() {
            let Some(value) = place.values.get(setting.name) else {
                continue;
            };
            let at = Place { setting, place };
            found.origins.insert(setting.name.to_owned(), at.origin());
            if let Err(fault) = found.take(value, &at) {
                faults.push(fault);
            }
        }
    }
    let finished = found.finish(environment, application);
    faults.extend(finished.err().map(|fault| found.located(fault)));
    if faults.is_empty() {
        Ok(found)
    } else {
        Err(faults)
    }
}

/// What variables say, each a place of its own.
fn variables(environment: &Environment) -> Vec<Written> {
    let one = |name: &str, variable: &'static str, value: Value| Written {
        source: Source::Variable(variable),
        values: BTreeMap::from([(name.to_owned(), ConfigValue::Plain(value))]),
        places: BTreeMap::new(),
    };
    let value = |name: &str| {
        environment
            .variables
            .get(name)
            .filter(|value| !value.is_empty())
    };
    let named = all().filter_map(|setting| {
        let variable = setting.variable?;
        Some(one(
            setting.name,
            variable,
            value(variable)?.as_str().into(),
        ))
    });
    let port = value("PORT").map(|port| one("bind", "PORT", format!("0.0.0.0:{port}").into()));
    named.chain(port).collect()
}

impl Resolved {
    fn take(&mut self, value: &ConfigValue, place: &Place<'_>) -> Result<(), Fault> {
        let setting = place.setting;
        if setting.kind == Kind::Hook {
            return self.take_hook(value, place);
        }
        let checked = match value {
            ConfigValue::Plain(value) => setting.check(value),
            other if setting.kind == Kind::Any => Ok(shown(other).into()),
            // A class, or a function that gives one; the template has the object itself.
            ConfigValue::Other { kind, repr } if setting.kind == Kind::Class && kind == "type" => {
                Ok(repr.as_str().into())
            }
            ConfigValue::Callable { repr } if setting.kind == Kind::Class => {
                Ok(repr.as_str().into())
            }
            ConfigValue::Other { kind, repr } if setting.kind == Kind::Dict && kind == "dict" => {
                Ok(repr.as_str().into())
            }
            _ => Err(Wrong::Kind(setting.takes())),
        };
        let checked = match checked {
            // As gunicorn does.
            Err(Wrong::Kind(takes)) if setting.name == "loglevel" && is_text(value) => {
                let told = shown(value);
                self.notes.push(format!(
                    "{place} takes {takes}, got '{told}': info is taken for it"
                ));
                Ok(setting.default.value())
            }
            checked => checked,
        };
        let value = checked.map_err(|wrong| Fault {
            invalid: Some(format!("{}: {}", setting.name, shown(value))),
            message: match wrong {
                Wrong::Kind(takes) => format!("{place} takes {takes}, got '{}'", shown(value)),
                Wrong::Because(reason) => format!("{place}: {reason}"),
            },
        })?;
        match setting.support {
            Support::Refused(instead) if value != setting.default.value() => {
                return Err(Fault::new(format!("{place} is refused: {instead}")));
            }
            Support::Warned(why) if value != setting.default.value() => {
                self.notes.push(why.to_owned());
            }
            _ => {}
        }
        self.settings.0.insert(setting.name.to_owned(), value);
        Ok(())
    }

    fn take_hook(&mut self, value: &ConfigValue, place: &Place<'_>) -> Result<(), Fault> {
        let setting = place.setting;
        if let Support::Refused(instead) = setting.support {
            return Err(Fault::new(format!("{place} is refused: {instead}")));
        }
        self.hooks.insert(setting.name.to_owned(), shown(value));
        Ok(())
    }

    /// Whether anybody said what it is to be.
    pub(super) fn is_written(&self, name: &str) -> bool {
        self.origins.contains_key(name)
    }

    /// Where a setting was written, for the beginning of a message; nothing where it was not.
    fn origin(&self, name: &str) -> String {
        self.origins
            .get(name)
            .map_or_else(String::new, |origin| format!("{origin}: "))
    }

    /// A fault whose message begins with the name of a setting, behind the place where that was written.
    fn located(&self, fault: Fault) -> Fault {
        let name = fault.message.split(' ').next().unwrap_or_default();
        let message = self.origin(name) + &fault.message;
        Fault { message, ..fault }
    }

    /// Where the setting was written that a message is about: the one with the longest name in it.
    pub fn origin_of(&self, message: &str) -> Option<&str> {
        let named = self
            .origins
            .iter()
            .filter(|(name, _)| message.contains(name.as_str()));
        let (_, origin) = named.max_by_key(|(name, _)| name.len())?;
        Some(origin)
    }

    pub(super) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.settings.0.insert(name.to_owned(), value.into());
    }

    /// A setting that is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.settings.0.get(name)?.as_str()
    }

    /// A setting that is a number; 0 where there is none.
    pub fn number(&self, name: &str) -> u64 {
        self.settings
            .0
            .get(name)
            .and_then(Value::as_u64)
            .unwrap_or(0)
    }

    /// Is a switch on?
    pub fn is_on(&self, name: &str) -> bool {
        self.settings
            .0
            .get(name)
            .and_then(Value::as_bool)
            .unwrap_or(false)
    }

    /// Is TLS spoken?
    pub fn is_encrypted(&self) -> bool {
        self.text("certfile").or(self.text("keyfile")).is_some()
    }

    /// A setting that is a user or a group.
    pub fn id(&self, name: &str) -> Option<u32> {
        self.settings.0.get(name)?.as_u64()?.try_into().ok()
    }

    /// A setting that is a list.
    pub fn list(&self, name: &str) -> Vec<String> {
        let items = self.settings.0.get(name).and_then(Value::as_array);
        items
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    }
}

/// A setting where it was written: `gunicorn.conf.py:7: workers`, `command line: --workers`.
struct Place<'a> {
    setting: &'a Setting,
    place: &'a Written,
}

impl Place<'_> {
    /// Without its name.
    fn origin(&self) -> String {
        let line = self.place.places.get(self.setting.name);
        line.map_or_else(|| self.place.source.to_string(), Clone::clone)
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.source {
            Source::Variable(_) => write!(f, "{}", self.origin()),
            Source::File(_) => write!(f, "{}: {}", self.origin(), self.setting.name),
            Source::CommandVariable | Source::CommandLine => {
                write!(f, "{}: {}", self.origin(), self.setting.flag_names())
            }
        }
    }
}

fn is_text(value: &ConfigValue) -> bool {
    matches!(value, ConfigValue::Plain(Value::String(_)))
}

/// A value as messages show it: texts as they are.
fn shown(value: &ConfigValue) -> String {
    match value {
        ConfigValue::Plain(Value::String(text)) => text.clone(),
        ConfigValue::Plain(value) => super::print::repr(value),
        ConfigValue::Callable { repr } | ConfigValue::Other { repr, .. } => repr.clone(),
    }
}

/// The folder to work in. The name of the present one is kept as it was given, with its symbolic links.
fn folder(environment: &Environment, chdir: Option<&str>, at: &str) -> Result<PathBuf, Fault> {
    let Some(chdir) = chdir else {
        return Ok(environment.folder.clone());
    };
    let path = normal(&environment.folder.join(chdir));
    if path.is_dir() {
        return Ok(path);
    }
    Err(Fault {
        invalid: None,
        message: format!(
            "{at}can't chdir to '{}' (chdir, --chdir): there is no such folder",
            path.display()
        ),
    })
}

/// Without `.` and `..`, as Python's `os.path.normpath` does it.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(normal.pop()),
            part => normal.push(part),
        }
    }
    normal
}

#[cfg(test)]
mod tests;
