//! From what was written in several places to the settings in force.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use appserver_protocol::{ConfigValue, Settings};
use serde_json::Value;

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

    /// What depends on several settings, or on the machine.
    fn finish(
        &mut self,
        environment: &Environment,
        application: Option<&str>,
    ) -> Result<(), Fault> {
        self.worker_class()?;
        self.asgi_beside()?;
        self.http2();
        self.ciphers();
        self.connections();
        self.uwsgi()?;
        for pair in self.list("raw_env") {
            if pair.split_once('=').is_none_or(|(name, _)| name.is_empty()) {
                let at = self.origin("raw_env");
                return Err(Fault::new(format!(
                    "{at}environment setting '{pair}' invalid: raw_env (-e/--env) takes NAME=VALUE"
                )));
            }
        }
        let folder = folder(environment, self.text("chdir"), &self.origin("chdir"))?;
        self.set("chdir", folder.to_string_lossy().into_owned());
        let named = application
            .map(str::to_owned)
            .or_else(|| self.text("wsgi_app").map(str::to_owned));
        self.application = named.unwrap_or_default();
        Ok(())
    }

    /// Versions of HTTP have small letters, and none means the first; notes what will never be spoken.
    fn http2(&mut self) {
        let named = self.list("http_protocols");
        let named = named.iter().map(|name| name.trim().to_ascii_lowercase());
        let mut named: Vec<String> = named.filter(|name| !name.is_empty()).collect();
        if named.is_empty() {
            named.push("h1".to_owned());
        }
        let speaks = named.iter().any(|name| name == "h2");
        self.set("http_protocols", named);
        let off = self.text("http2_cleartext").unwrap_or("off") == "off";
        if speaks && off && !self.is_encrypted() {
            self.notes.push(
                "http_protocols includes h2, but there is no TLS (certfile) and http2_cleartext is off: HTTP/2 will never be spoken"
                    .to_owned(),
            );
        }
    }

    /// Notes what of a list of ciphers is spoken: not every suite of OpenSSL's is there.
    fn ciphers(&mut self) {
        let Some(list) = self.text("ciphers") else {
            return;
        };
        let chosen = appserver_protocol::ciphers::chosen(list);
        self.notes.push(match chosen.is_empty() {
            true => format!(
                "ciphers (--ciphers) \"{list}\" names no suite of TLS 1.2 that is spoken here; all of those are: ECDHE with AES-GCM or ChaCha20"
            ),
            false => format!(
                "ciphers (--ciphers): with TLS 1.2 {} are spoken, and TLS 1.3 besides",
                chosen.join(", ")
            ),
        });
    }

    /// What cannot be spoken by gateways that speak the uwsgi protocol.
    fn uwsgi(&self) -> Result<(), Fault> {
        if self.text("protocol") != Some("uwsgi") {
            return Ok(());
        }
        let speaks_h2 = self.list("http_protocols").iter().any(|name| name == "h2");
        let with = if self.is_encrypted() {
            "certfile"
        } else if speaks_h2
            || self
                .text("http2_cleartext")
                .is_some_and(|mode| mode != "off")
        {
            "HTTP/2 (http_protocols, http2_cleartext)"
        } else if self
            .text("proxy_protocol")
            .is_some_and(|mode| mode != "off")
        {
            "proxy_protocol"
        } else {
            return Ok(());
        };
        Err(Fault::new(format!(
            "protocol (--protocol) uwsgi cannot be used together with {with}: packets come first and in the clear; leave one of them out"
        )))
    }

    fn worker_class(&mut self) -> Result<(), Fault> {
        let class = self.text("worker_class").unwrap_or("sync");
        // Python shows a class as <class 'module.Name'>.
        let class = class
            .strip_prefix("<class '")
            .and_then(|class| class.strip_suffix("'>"))
            .unwrap_or(class)
            .to_owned();
        let ours = match class.as_str() {
            "sync" | "gunicorn.workers.sync.SyncWorker" | "egg:gunicorn#sync" => "sync",
            "gthread" | "gunicorn.workers.gthread.ThreadWorker" | "egg:gunicorn#gthread" => {
                "gthread"
            }
            "asgi" | "gunicorn.workers.gasgi.ASGIWorker" | "egg:gunicorn#asgi" => "asgi",
            "uvicorn.workers.UvicornWorker"
            | "uvicorn.workers.UvicornH11Worker"
            | "uvicorn_worker.UvicornWorker"
            | "uvicorn_worker.UvicornH11Worker" => &class,
            // The template knows what it derives from.
            other if may_derive(other) => return self.own_class(class),
            other => {
                return Err(Fault::new(format!(
                    "worker_class (-k) \"{other}\" is refused: {}",
                    no_class(other)
                )));
            }
        };
        let threaded = self.number("threads") > 1;
        let asgi = ours == "asgi" || ours.starts_with("uvicorn");
        if threaded && asgi {
            self.notes.push(format!(
                "threads is {}, but workers of class {ours} have one thread with an event loop; it is not used",
                self.number("threads")
            ));
        }
        let ours = if threaded && !asgi { "gthread" } else { ours }.to_owned();
        // uvicorn's class with this name is that with asyncio's loop, also where uvloop is installed.
        if ours.ends_with(".UvicornH11Worker") && self.text("asgi_loop") == Some("auto") {
            self.set("asgi_loop", "asyncio".to_owned());
        }
        self.set("worker_class", ours);
        Ok(())
    }

    /// A class of somebody's own: settings that depend on what it derives from wait for the template.
    fn own_class(&mut self, class: String) -> Result<(), Fault> {
        self.set("worker_class", class);
        Ok(())
    }

    /// What belongs to an ASGI application beside a WSGI one.
    fn asgi_beside(&mut self) -> Result<(), Fault> {
        let paths = self.list("asgi_paths");
        let Some(beside) = self.text("asgi_app").filter(|name| !name.is_empty()) else {
            self.set("asgi_app", Value::Null);
            return match paths.first() {
                Some(path) => Err(Fault::new(format!(
                    "asgi_paths (--asgi-path) has '{path}', but there is no ASGI application for it: name one with asgi_app (--asgi), \
                     or leave it out"
                ))),
                None => Ok(()),
            };
        };
        let class = self.text("worker_class").unwrap_or_default();
        if class == "asgi" || class.starts_with("uvicorn") {
            return Err(Fault::new(format!(
                "asgi_app (--asgi) is '{beside}', but with worker_class (-k) {class} the one application is an ASGI one already: leave \
                 --asgi out, or leave -k out and name the WSGI application"
            )));
        }
        match paths.iter().find(|path| !path.starts_with('/')) {
            Some(path) => Err(Fault::new(format!(
                "asgi_paths (--asgi-path) has '{path}', which no path begins with: paths begin with /"
            ))),
            None => Ok(()),
        }
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

/// Can this be the dotted name of a class that derives from one of gunicorn's or uvicorn's?
fn may_derive(class: &str) -> bool {
    class.contains('.') && !class.starts_with("gunicorn.workers.") && !is_green(class)
}

fn is_green(class: &str) -> bool {
    let lower = class.to_ascii_lowercase();
    ["gevent", "eventlet", "tornado"]
        .iter()
        .any(|name| lower.contains(name))
}

fn no_class(class: &str) -> &'static str {
    if is_green(class) {
        "workers with green threads do not exist here, and slow clients cost no thread; use gthread with --threads"
    } else {
        "there is no such class of workers; there are sync, gthread, asgi, uvicorn.workers.UvicornWorker and classes that derive from \
         gunicorn's or uvicorn's, by their dotted names"
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
mod tests {
    use super::*;
    use serde_json::json;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Environment {
            variables: variables.iter().map(own).collect(),
            folder: "/tmp".into(),
        }
    }

    fn place(source: Source, values: Value) -> Written {
        let Value::Object(values) = values else {
            panic!("an object")
        };
        let values = values
            .into_iter()
            .map(|(name, value)| (name, ConfigValue::Plain(value)));
        Written {
            source,
            values: values.collect(),
            places: BTreeMap::new(),
        }
    }

    fn file(values: Value) -> Written {
        place(Source::File("gunicorn.conf.py".into()), values)
    }

    fn faults(written: &[Written]) -> String {
        let faults = resolve(&environment(&[]), Some("app"), written).unwrap_err();
        faults
            .iter()
            .map(Fault::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn later_places_win_and_lists_are_replaced() {
        let found = resolve(
            &environment(&[("WEB_CONCURRENCY", "7"), ("PORT", "9000")]),
            Some("app"),
            &[
                file(json!({"bind": ["a:1", "b:2"], "threads": "4", "timeout": 5})),
                place(Source::CommandVariable, json!({"timeout": "6"})),
                place(Source::CommandLine, json!({"bind": ["c:3"]})),
            ],
        )
        .unwrap();
        assert_eq!(found.list("bind"), ["c:3"]);
        assert_eq!(
            (
                found.number("workers"),
                found.number("threads"),
                found.number("timeout")
            ),
            (7, 4, 6)
        );
        assert_eq!(found.text("worker_class"), Some("gthread"));
    }

    #[test]
    fn port_is_a_default_only() {
        let with_port = environment(&[("PORT", "9000"), ("WEB_CONCURRENCY", "")]);
        let found = resolve(&with_port, Some("app"), &[]).unwrap();
        assert_eq!(found.list("bind"), ["0.0.0.0:9000"]);
        assert_eq!(found.number("workers"), 1);
        let found = resolve(&with_port, Some("app"), &[file(json!({"bind": ":1"}))]).unwrap();
        assert_eq!(found.list("bind"), [":1"]);
    }

    #[test]
    fn every_fault_is_told_with_its_place() {
        let words = faults(&[
            file(json!({"workers": "many", "paste": "y.ini", "bind": 8000})),
            place(Source::CommandLine, json!({"paste": "x.ini"})),
        ]);
        for part in [
            "Invalid value for workers: many\n\nError: gunicorn.conf.py: workers takes a whole number from 0, got 'many'",
            "Invalid value for bind: 8000",
            "gunicorn.conf.py: paste is refused: PasteDeploy files",
            "command line: --paste/--paster is refused: PasteDeploy files are not read",
        ] {
            assert!(words.contains(part), "{part:?} is not in {words}");
        }
    }

    #[test]
    fn faults_name_the_line_where_it_is_known() {
        let mut conf = file(json!({
            "workers": "many", "paste": "x.ini", "worker_class": "gevent", "chdir": "no-such"
        }));
        for (name, line) in [("workers", 3), ("paste", 4), ("worker_class", 5)] {
            let place = format!("gunicorn.conf.py:{line}");
            conf.places.insert(name.to_owned(), place);
        }
        let words = faults(&[conf.clone()]);
        for part in [
            "Error: gunicorn.conf.py:3: workers takes a whole number",
            "gunicorn.conf.py:4: paste is refused",
            "gunicorn.conf.py:5: worker_class (-k) \"gevent\" is refused",
        ] {
            assert!(words.contains(part), "{part:?} is not in {words}");
        }
        conf.values.retain(|name, _| name == "chdir");
        conf.places.insert("chdir".to_owned(), "a.py:9".to_owned());
        let words = faults(&[conf.clone()]);
        assert!(words.contains("Error: a.py:9: can't chdir to"), "{words}");
        // The command line wins, so that is where the fault is.
        let line = place(Source::CommandLine, json!({"chdir": "nor-this"}));
        let words = faults(&[conf, line]);
        assert!(
            words.contains("Error: command line: can't chdir to"),
            "{words}"
        );
    }

    #[test]
    fn a_refused_setting_may_have_its_default() {
        let found = resolve(
            &environment(&[]),
            None,
            &[file(
                json!({"spew": false, "dirty_workers": 0, "proxy_protocol": false}),
            )],
        );
        assert_eq!(found.unwrap().application, "");
    }

    #[test]
    fn versions_of_http_are_read_as_gunicorn_reads_them() {
        let resolved = |written| resolve(&environment(&[]), None, &[file(written)]).unwrap();
        for (written, read) in [
            (json!(" H2 , h1 "), &["h2", "h1"][..]),
            (json!(["h1"]), &["h1"]),
            (json!(""), &["h1"]),
            (json!(null), &["h1"]),
        ] {
            let found = resolved(json!({"http_protocols": written}));
            assert_eq!(found.list("http_protocols"), read, "{written}");
        }
        let mode = |mode| resolved(json!({"http_protocols": "h2", "http2_cleartext": mode}));
        for (written, read) in [
            (json!(true), "prior-knowledge"),
            (json!(" Both"), "both"),
            (json!("upgrade"), "upgrade"),
        ] {
            let found = mode(written);
            assert_eq!(found.text("http2_cleartext"), Some(read));
            assert_eq!(found.notes, [""; 0]);
        }
        let found = mode(json!(null));
        assert_eq!(found.text("http2_cleartext"), Some("off"));
        assert!(found.notes[0].contains("HTTP/2 will never be spoken"));
    }

    #[test]
    fn what_means_nothing_to_rustls_is_told() {
        let resolved = |written| resolve(&environment(&[]), None, &[file(written)]);
        for (written, words) in [
            (
                json!({"ciphers": "AES256"}),
                "with TLS 1.2 ECDHE-ECDSA-AES256-GCM-SHA384, ECDHE-RSA",
            ),
            (
                json!({"ciphers": "TLSv1"}),
                "names no suite of TLS 1.2 that is spoken here",
            ),
            (
                json!({"ssl_version": 5}),
                "`ssl_version` is deprecated and it is ignored",
            ),
        ] {
            let notes = resolved(written).unwrap().notes;
            assert!(notes[0].contains(words), "{notes:?}");
        }
    }

    #[test]
    fn worker_classes_have_aliases_and_what_does_not_exist_is_told() {
        let class = |name: &str| {
            resolve(
                &environment(&[]),
                None,
                &[file(json!({"worker_class": name}))],
            )
        };
        let found = class("gunicorn.workers.gthread.ThreadWorker").unwrap();
        assert_eq!(found.text("worker_class"), Some("gthread"));
        for name in [
            "asgi",
            "uvicorn.workers.UvicornWorker",
            "uvicorn_worker.UvicornWorker",
        ] {
            assert_eq!(class(name).unwrap().text("worker_class"), Some(name));
        }
        let loop_of = |name: &str| class(name).unwrap().text("asgi_loop").map(str::to_owned);
        assert_eq!(
            loop_of("uvicorn.workers.UvicornWorker").as_deref(),
            Some("auto")
        );
        assert_eq!(
            loop_of("uvicorn.workers.UvicornH11Worker").as_deref(),
            Some("asyncio")
        );
        for (name, part) in [
            ("gevent", "green threads"),
            (
                "geventwebsocket.gunicorn.workers.GeventWebSocketWorker",
                "green threads",
            ),
            ("gunicorn.workers.UnicormWorker", "no such class"),
            ("uvicorn", "no such class"),
        ] {
            let words = class(name).unwrap_err()[0].to_string();
            assert!(words.contains(name) && words.contains(part), "{words}");
        }
        // The template knows what these derive from.
        for name in ["my_site.workers.Worker", "<class '__config__.Worker'>"] {
            let found = class(name).unwrap();
            assert!(name.contains(found.text("worker_class").unwrap()));
        }
    }

    #[test]
    fn the_folder_counts_from_where_the_program_was_started() {
        let found = resolve(
            &environment(&[]),
            None,
            &[file(json!({"chdir": "../usr/./bin"}))],
        )
        .unwrap();
        assert_eq!(found.text("chdir"), Some("/usr/bin"));
        let words = faults(&[file(json!({"chdir": "no-such-folder"}))]);
        assert!(
            words.contains("can't chdir to '/tmp/no-such-folder'"),
            "{words}"
        );
    }

    #[test]
    fn variables_without_a_name_are_refused() {
        assert!(faults(&[file(json!({"raw_env": ["A=1", "B"]}))]).contains("'B' invalid"));
    }
}
