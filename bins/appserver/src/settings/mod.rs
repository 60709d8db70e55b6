//! THE list of settings, and how they are found: one declaration per setting, from which the command line, `--help`, the
//! configuration file's checks, `--print-config` and `docs/settings.md` are read.
//!
//! Names, flags, defaults and precedence are gunicorn's. What does not exist here is in the list as well, with what to do
//! about it: a setting is never ignored silently.

pub(crate) mod arguments;
mod check;
pub(crate) mod completion;
mod connections;
pub(crate) mod help;
mod list;
pub(crate) mod man;
mod print;
pub(crate) mod reference;
mod resolve;
mod shell;

pub(crate) use list::SECTIONS;
pub(crate) use print::{print, told};
pub(crate) use resolve::{Environment, Fault, Resolved, Source, Written, resolve};
pub(crate) use shell::split;

/// One setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// gunicorn's name; what configuration files use.
    pub name: &'static str,
    /// On the command line; empty when only a configuration file has it.
    pub flags: &'static [&'static str],
    /// What `--help` calls its value.
    pub metavar: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What it is when nobody sets it.
    pub default: Preset,
    /// A variable of the environment that sets it when nothing else does.
    pub variable: Option<&'static str>,
    /// What it does; one or more sentences.
    pub doc: &'static str,
    /// Whether it does it.
    pub support: Support,
}

/// What a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A text, or nothing.
    Text,
    /// A whole number from 0.
    Count,
    /// A number of bytes, or with k, m or g.
    Size,
    /// A number of seconds, or with s, m, h or d.
    Span,
    /// A file mode mask: octal with a leading 0.
    Mode,
    /// On by its flag.
    Switch,
    /// Off by its flag.
    SwitchOff,
    /// A list; its flag is repeated.
    List,
    /// A list, written with commas on the command line.
    Words,
    /// One of some words.
    Choice(&'static [&'static str]),
    /// An optional word; the flag alone stands for the first one.
    OptionalChoice(&'static [&'static str]),
    /// A folder that is there.
    Folder,
    /// A user by name or number.
    User,
    /// A group by name or number.
    Group,
    /// Names and texts.
    Map,
    /// A function of the configuration file.
    Hook,
    /// Files that are there, or patterns; its flag is repeated.
    Files,
    /// Addresses, networks and `*`, written with commas.
    Peers,
    /// A class, or its dotted name.
    Class,
    /// A dict of whatever Python has.
    Dict,
    /// Anything: what cannot be used is refused by [`Support`], not by its kind.
    Any,
}

/// A default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preset {
    /// None.
    Nothing,
    /// Yes or no.
    Bool(bool),
    /// A number.
    Number(i64),
    /// A text.
    Text(&'static str),
    /// A list.
    List(&'static [&'static str]),
    /// Names and texts.
    Map(&'static [(&'static str, &'static str)]),
}

/// Whether a setting does what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Support {
    /// It does.
    Works,
    /// Every value is accepted, for nothing here depends on it; why.
    Accepted(&'static str),
    /// As [`Support::Accepted`], with a line in the log.
    Warned(&'static str),
    /// Any value but the default is an error; what to do instead.
    Refused(&'static str),
}

impl Setting {
    /// Does its flag take a value?
    pub fn takes_value(&self) -> bool {
        !matches!(self.kind, Kind::Switch | Kind::SwitchOff)
    }

    /// The flag as messages name it: `-w/--workers`.
    pub fn flag_names(&self) -> String {
        self.flags.join("/")
    }

    /// Can configuration files set it?
    pub fn is_in_files(&self) -> bool {
        !NOT_IN_FILES.contains(&self.name)
    }
}

/// The interpreter runs before the configuration file does, and the file cannot say where it is.
const NOT_IN_FILES: [&str; 2] = ["python", "config"];

/// Every setting, in the order of the list.
pub(crate) fn all() -> impl Iterator<Item = &'static Setting> {
    SECTIONS.iter().flat_map(|section| section.settings)
}

/// The setting of this name.
#[cfg(test)]
pub(crate) fn find(name: &str) -> Option<&'static Setting> {
    all().find(|setting| setting.name == name)
}

/// Every setting that configuration files may have, hooks included.
pub(crate) fn names_in_files() -> Vec<String> {
    all()
        .filter(|setting| setting.is_in_files())
        .map(|setting| setting.name.to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_flags_are_unique_and_every_setting_is_explained() {
        let mut names = std::collections::BTreeSet::new();
        for setting in all() {
            assert!(names.insert(setting.name), "{} twice", setting.name);
            assert!(setting.doc.ends_with(['.', '?']), "{}", setting.name);
            for flag in setting.flags {
                assert!(names.insert(flag), "{flag} twice");
                assert!(flag.starts_with('-'));
            }
        }
    }

    #[test]
    fn every_hook_of_the_protocol_is_a_setting_that_works() {
        for (name, _) in appserver_protocol::HOOKS {
            let setting = find(name).unwrap_or_else(|| panic!("{name} is missing"));
            assert_eq!(
                (setting.kind, setting.support),
                (Kind::Hook, Support::Works)
            );
        }
    }

    #[test]
    fn every_setting_of_workers_is_in_the_list_with_the_same_default() {
        let typed = serde_json::to_value(appserver_protocol::WorkerSettings::default()).unwrap();
        for (name, value) in typed.as_object().unwrap() {
            let setting = find(name).unwrap_or_else(|| panic!("{name} is missing"));
            assert_eq!(&setting.default.value(), value, "{name}");
        }
    }
}
