//! What the program was started with, kept for reloads: command line, variables, folder.

use std::collections::BTreeMap;

use appserver_protocol::{ConfigValue, HOOKS, ReadConfig, ToTemplate};
use serde_json::Value;
use supervisor::Launch;

use crate::settings::arguments::{self, Arguments, UsageError};
use crate::settings::{
    Environment, Fault, Resolved, Source, Written, names_in_files, resolve, split,
};

/// More words for the command line.
const COMMAND_VARIABLE: &str = "GUNICORN_CMD_ARGS";

/// What the configuration file says.
#[derive(Debug, Default)]
pub(crate) struct FromFile {
    /// Which file, if any.
    pub location: Option<String>,
    /// By name.
    pub values: BTreeMap<String, ConfigValue>,
    /// Where in it, `file:line`, by name.
    pub places: BTreeMap<String, String>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Start {
    /// Program, arguments, folder and environment.
    pub launch: Launch,
    /// The command line.
    pub arguments: Arguments,
    by_variable: Arguments,
    environment: Environment,
}

/// A command line that is not understood.
#[derive(Debug)]
pub(crate) struct UsageFault(pub String);

impl Start {
    /// Reads the command line and the environment.
    ///
    /// # Errors
    /// [`UsageFault`].
    pub fn capture() -> Result<Self, UsageFault> {
        let launch = Launch::capture()
            .map_err(|error| UsageFault(format!("the present folder cannot be found: {error}")))?;
        let words: Vec<_> = launch
            .args
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        let text = |(name, value): &(std::ffi::OsString, std::ffi::OsString)| {
            (
                name.to_string_lossy().into_owned(),
                value.to_string_lossy().into_owned(),
            )
        };
        let environment = Environment {
            variables: launch.variables.iter().map(text).collect(),
            folder: launch.folder.clone(),
        };
        let arguments = arguments::parse(&words).map_err(|UsageError(words)| UsageFault(words))?;
        let by_variable = match environment.variables.get(COMMAND_VARIABLE) {
            Some(line) => more_words(line)?,
            None => Arguments::default(),
        };
        Ok(Self {
            launch,
            arguments,
            by_variable,
            environment,
        })
    }

    /// The order to execute the configuration file.
    pub fn read_config(&self) -> ToTemplate {
        ToTemplate::ReadConfig(ReadConfig {
            location: self.by_flag("config").map(str::to_owned),
            names: names_in_files(),
            hooks: HOOKS.iter().map(|(name, _)| (*name).to_owned()).collect(),
        })
    }

    /// The whole command line, program first.
    pub fn words(&self) -> Vec<String> {
        let words = std::iter::once(&self.launch.arg0).chain(&self.launch.args);
        words
            .map(|word| word.to_string_lossy().into_owned())
            .collect()
    }

    /// The interpreter that was asked for.
    pub fn python(&self) -> Option<&str> {
        self.by_flag("python")
    }

    /// The settings in force, with what the configuration file says.
    ///
    /// # Errors
    /// Every fault.
    pub fn resolve(&self, file: FromFile) -> Result<Resolved, Vec<Fault>> {
        let file = Written {
            source: Source::File(file.location.unwrap_or_default()),
            values: file.values,
            places: file.places,
        };
        let written = [
            file,
            Written::by_flags(Source::CommandVariable, &self.by_variable.values),
            Written::by_flags(Source::CommandLine, &self.arguments.values),
        ];
        let mut resolved = resolve(
            &self.environment,
            self.arguments.application.as_deref(),
            &written,
        )?;
        if !self.arguments.ignored.is_empty() {
            let words = self.arguments.ignored.join(" ");
            resolved.notes.push(format!(
                "command line: there is one application, {:?}; what follows it is ignored: {words}",
                resolved.application
            ));
        }
        Ok(resolved)
    }

    fn by_flag(&self, name: &str) -> Option<&str> {
        let places = [&self.arguments, &self.by_variable];
        places
            .iter()
            .find_map(|place| place.values.get(name).and_then(Value::as_str))
    }
}

fn more_words(line: &str) -> Result<Arguments, UsageFault> {
    let in_place = |words: String| UsageFault(format!("{words} (in {COMMAND_VARIABLE})"));
    let words = split(line).map_err(|words| in_place(words.to_owned()))?;
    let found = arguments::parse(&words).map_err(|UsageError(words)| in_place(words))?;
    match found.action {
        Some(_) => Err(in_place(
            "--help and --version belong on the command line".to_owned(),
        )),
        None => Ok(found),
    }
}
