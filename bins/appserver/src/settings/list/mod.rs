//! The declarations, by section, in the order of `--help` and of the reference. A new setting is a row here and nothing else,
//! until something acts on it.

mod development;
mod hooks;
mod logging;
mod other;
mod process;
mod protocols;
mod requests;
mod watching;
mod workers;

use super::{Kind, Preset, Setting, Support};

/// Settings that belong together.
#[derive(Debug)]
pub(crate) struct Section {
    /// What they are about.
    pub title: &'static str,
    /// The settings.
    pub settings: &'static [Setting],
}

/// All of them.
pub(crate) const SECTIONS: &[Section] = &[
    process::CONFIG,
    process::SOCKET,
    workers::WORKERS,
    requests::SECURITY,
    requests::FORWARDING,
    requests::FILES,
    process::PROCESS,
    logging::LOGGING,
    watching::WATCHING,
    development::DEVELOPMENT,
    hooks::HOOKS,
    protocols::TLS,
    protocols::HTTP2,
    other::ASGI,
    other::ELSEWHERE,
];

/// A setting that works, by its flag and in files.
const fn setting(
    name: &'static str,
    flags: &'static [&'static str],
    metavar: &'static str,
    kind: Kind,
    default: Preset,
    doc: &'static str,
) -> Setting {
    Setting {
        name,
        flags,
        metavar,
        kind,
        default,
        variable: None,
        doc,
        support: Support::Works,
    }
}

/// A setting for configuration files only.
const fn in_file(name: &'static str, kind: Kind, default: Preset, doc: &'static str) -> Setting {
    setting(name, &[], "", kind, default, doc)
}

/// A setting that its flag turns on.
const fn switch(name: &'static str, flags: &'static [&'static str], doc: &'static str) -> Setting {
    setting(name, flags, "", Kind::Switch, Preset::Bool(false), doc)
}

impl Setting {
    const fn or_variable(self, variable: &'static str) -> Self {
        Self {
            variable: Some(variable),
            ..self
        }
    }

    const fn accepted(self, why: &'static str) -> Self {
        Self {
            support: Support::Accepted(why),
            ..self
        }
    }

    const fn warned(self, why: &'static str) -> Self {
        Self {
            support: Support::Warned(why),
            ..self
        }
    }

    const fn refused(self, instead: &'static str) -> Self {
        Self {
            support: Support::Refused(instead),
            ..self
        }
    }
}
