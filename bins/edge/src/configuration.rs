//! From the files of a configuration to a [`Blueprint`]: parsed, compiled, its logs open. Everything short of listening.

use std::io::{self, IsTerminal, Write};

use nginx_conf::{DiskLoader, Fault, Faults, Parser, Severity, SourceSet, Style, Tree};
use proxy_core::engine::compile::Features;
use proxy_core::engine::logs::{ErrorLog, Level};
use proxy_core::engine::ports::Listen;
use proxy_core::engine::process::ProcessSettings;
use proxy_core::engine::zones::Zones;

use crate::NAME;
use crate::logs::DiskLogs;
use crate::paths::Paths;

/// Where a configuration comes from; it can be read any number of times.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The places.
    pub paths: Paths,
    /// Directives of the command line.
    pub globals: Option<String>,
}

/// A configuration that can be served.
pub struct Blueprint {
    /// Its text, for whoever compiles it again.
    pub sources: SourceSet,
    /// What it says about the process.
    pub process: ProcessSettings,
    /// The error log of the whole program.
    pub errors: ErrorLog,
    /// Its log files, open.
    pub logs: DiskLogs,
    /// The sockets that it needs.
    pub listens: Vec<Listen>,
}

/// What was found wrong with a configuration, and the text that it was found in.
pub struct Findings {
    tree: Tree,
    faults: Faults,
}

impl Origin {
    /// Parses the files, no more.
    pub fn parse(&self) -> Findings {
        let parser = Parser::new(&DiskLoader);
        let parser = match &self.globals {
            Some(globals) => parser.globals(globals),
            None => parser,
        };
        let (tree, faults) = parser.parse(&self.paths.conf);
        Findings { tree, faults }
    }

    /// Reads the whole configuration. No blueprint when there is a fault; the findings may hold warnings all the same.
    pub fn read(&self, features: &Features) -> (Option<Blueprint>, Findings) {
        let Findings { tree, mut faults } = self.parse();
        let logs = DiskLogs::new(self.paths.clone());
        let compiled = features.compile(&tree, &logs, &Zones::default().into(), &mut faults);
        let blueprint = compiled.and_then(|compiled| {
            Some(Blueprint {
                sources: tree.sources.set().clone(),
                process: compiled.main.get::<ProcessSettings>()?.as_ref().clone(),
                errors: compiled.main.core().error_log.clone(),
                logs,
                listens: compiled.listens,
            })
        });
        (blueprint, Findings { tree, faults })
    }
}

impl Findings {
    /// Whether the configuration can't be used.
    pub fn are_fatal(&self) -> bool {
        self.faults.are_fatal()
    }

    /// The text that was read.
    pub fn sources(&self) -> &SourceSet {
        self.tree.sources.set()
    }

    /// The first argument of a directive at the top of the file.
    pub fn top_argument(&self, name: &str) -> Option<&str> {
        let statements = &self.tree.root.statements;
        let found = statements
            .iter()
            .find(|statement| statement.name.text == name)?;
        found.args.first().map(|word| word.text.as_str())
    }

    /// Prints what was found to standard error: with the source on a terminal, else a line each. `quiet` leaves out mere notices.
    pub fn print(&self, quiet: bool) {
        let mut faults = Faults::new();
        let wanted = |fault: &&Fault| !quiet || fault.level() > Severity::Notice;
        faults.extend(self.faults.iter().filter(wanted).cloned());
        let mut stderr = io::stderr();
        let style = if stderr.is_terminal() {
            let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            Style::Terminal { colour }
        } else {
            Style::Line
        };
        let text = faults.render(NAME, &self.tree.sources, style);
        let _ = stderr.write_all(text.as_bytes());
    }

    /// Writes what was found to an error log, a line each.
    pub fn log(&self, errors: &ErrorLog) {
        let mut faults: Vec<_> = self.faults.iter().collect();
        let sources = &self.tree.sources;
        faults.sort_by_cached_key(|fault| fault.span().map(|span| sources.reading_order(span)));
        for fault in faults {
            let help: String = fault
                .remedies()
                .iter()
                .map(|words| format!("; {words}"))
                .collect();
            errors.write(
                level(fault.level()),
                None,
                format_args!("{}{help}", fault.sentence(sources)),
            );
        }
    }
}

fn level(severity: Severity) -> Level {
    match severity {
        Severity::Notice => Level::Notice,
        Severity::Warn => Level::Warn,
        _ => Level::Emerg,
    }
}
