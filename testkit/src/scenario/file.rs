//! A scenario file: sections that begin with `--- NAME`, read into a [`Scenario`].

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::step::{Role, Step};
use super::subject::{Family, Subject};
use crate::{parse_size, unescape};

/// The ending of scenario files.
const EXTENSION: &str = "scenario";

/// A fault in a scenario file.
#[derive(Debug, thiserror::Error)]
#[error("{path}:{line}: {message}")]
pub struct ParseError {
    /// The file.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// A place where a subject is meant to behave differently, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The subject that differs from the other one; with `only`, the one subject that is run.
    pub subject: Subject,
    /// Whether the scenario makes no sense for the other subject.
    pub only: bool,
    /// Why.
    pub reason: String,
}

/// A scenario as it is written.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Path below the folder of scenarios, with `/`, without its ending: the name in reports.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// The first line: what must hold.
    pub title: String,
    /// Where a subject is meant to differ.
    pub differences: Vec<Difference>,
    pub(crate) family: Family,
    pub(crate) sections: Vec<Section>,
}

/// A section and whom it is for (everybody when `subjects` is empty).
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) line: usize,
    pub(crate) subjects: Vec<Subject>,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Config(String),
    Http(String),
    Server(String),
    App(String),
    Conf(String),
    Args(String),
    Env(Vec<(String, String)>),
    Entry(Entry),
    Origin(OriginScript),
    Client(Vec<Line>),
    Commands(Vec<Line>),
    Difference(Difference),
}

/// Something that is laid out below the prefix before the subject starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: String,
    pub(crate) what: What,
    pub(crate) mode: Option<u32>,
    /// Seconds since the epoch.
    pub(crate) mtime: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Text(String),
    Raw(Vec<u8>),
    Repeat(usize, Vec<u8>),
    Link(String),
    Dir,
}

/// An origin server's conversation.
#[derive(Clone, Debug)]
pub(crate) struct OriginScript {
    pub(crate) name: String,
    pub(crate) unix: bool,
    pub(crate) lines: Vec<Line>,
}

/// A step with its place and the subjects it is for (all when empty).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) number: usize,
    pub(crate) subjects: Vec<Subject>,
    pub(crate) step: Step,
}

impl Line {
    pub(crate) fn is_for(&self, subject: Subject) -> bool {
        self.subjects.is_empty() || self.subjects.contains(&subject)
    }
}

impl Scenario {
    /// Reads the file `path`, which is called `name` in reports.
    ///
    /// # Errors
    /// The first fault with its line; a file that cannot be read is a fault of line 0.
    pub fn load(path: &Path, name: &str) -> Result<Self, ParseError> {
        let text = fs::read_to_string(path).map_err(|error| ParseError {
            path: path.display().to_string(),
            line: 0,
            message: error.to_string(),
        })?;
        Scenario::parse(path, name, &text)
    }

    /// Reads `text` as the file `path`.
    ///
    /// # Errors
    /// The first fault with its line.
    pub fn parse(path: &Path, name: &str, text: &str) -> Result<Self, ParseError> {
        let fault = |(line, message)| ParseError {
            path: path.display().to_string(),
            line,
            message,
        };
        let mut lines = text
            .lines()
            .enumerate()
            .map(|(at, line)| (at + 1, line))
            .peekable();
        let title = lines
            .peek()
            .map(|(_, line)| line.trim().to_owned())
            .unwrap_or_default();
        let mut blocks: Vec<(usize, &str, Body<'_>)> = Vec::new();
        for (number, line) in lines {
            match (line.strip_prefix("--- "), blocks.last_mut()) {
                (Some(header), _) => blocks.push((number, header.trim(), Vec::new())),
                (None, Some(block)) => block.2.push((number, line)),
                (None, None) => {}
            }
        }
        let mut sections = Vec::new();
        for (number, header, body) in &blocks {
            sections.push(section(*number, header, body).map_err(fault)?);
        }
        let differences = sections.iter().filter_map(|section| match &section.kind {
            Kind::Difference(difference) => Some(difference.clone()),
            _ => None,
        });
        let differences: Vec<Difference> = differences.collect();
        let family = check(&title, &sections, &differences).map_err(fault)?;
        Ok(Scenario {
            name: name.to_owned(),
            path: path.to_owned(),
            title,
            differences,
            family,
            sections,
        })
    }

    /// Whether `subject` is one of those the scenario is run against.
    pub fn is_for(&self, subject: Subject) -> bool {
        let only: Vec<_> = self
            .differences
            .iter()
            .filter(|difference| difference.only)
            .collect();
        self.family == subject.family()
            && (only.is_empty() || only.iter().any(|d| d.subject == subject))
    }

    /// The sections for `subject`.
    pub(crate) fn sections_for(&self, subject: Subject) -> impl Iterator<Item = &Section> {
        self.sections
            .iter()
            .filter(move |s| s.subjects.is_empty() || s.subjects.contains(&subject))
    }
}

/// All scenario files below `root` (or `root` itself), by name.
///
/// # Errors
/// When a folder cannot be read.
pub fn find(root: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    let base = if root.is_dir() {
        root
    } else {
        root.parent().unwrap_or(root)
    };
    collect(root, &mut found)?;
    found.sort();
    let name = |path: &Path| {
        let relative = path.strip_prefix(base).unwrap_or(path).with_extension("");
        let folder = base
            .file_name()
            .filter(|name| *name != "scenarios")
            .map(PathBuf::from)
            .unwrap_or_default();
        folder.join(relative).to_string_lossy().into_owned()
    };
    Ok(found
        .into_iter()
        .map(|path| (path.clone(), name(&path)))
        .collect())
}

fn collect(path: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    if !path.is_dir() {
        if path
            .extension()
            .is_some_and(|extension| extension == EXTENSION)
        {
            found.push(path.to_owned());
        }
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        collect(&entry?.path(), found)?;
    }
    Ok(())
}

type Fault = (usize, String);

/// The lines of a section, with their numbers.
type Body<'a> = Vec<(usize, &'a str)>;

/// What must hold for the file as a whole.
fn check(title: &str, sections: &[Section], differences: &[Difference]) -> Result<Family, Fault> {
    if title.is_empty() || title.starts_with("---") {
        return Err((
            1,
            "the first line says in a sentence what must hold".to_owned(),
        ));
    }
    let has = |probe: fn(&Kind) -> bool| sections.iter().any(|section| probe(&section.kind));
    let family = if has(|kind| matches!(kind, Kind::Config(_) | Kind::Http(_) | Kind::Server(_))) {
        Family::Web
    } else if has(|kind| matches!(kind, Kind::App(_) | Kind::Conf(_))) {
        Family::Python
    } else {
        return Err((1, "nothing to run: add config, http or server (nginx, edge), or app (gunicorn, appserver)".into()));
    };
    if !has(|kind| matches!(kind, Kind::Client(_) | Kind::Commands(_))) {
        return Err((
            1,
            "no conversation: add a \"--- client\" or \"--- commands\" section".to_owned(),
        ));
    }
    let tagged = sections
        .iter()
        .find(|section| !section.subjects.is_empty())
        .map(|section| section.line);
    let tagged = tagged.or_else(|| {
        sections
            .iter()
            .flat_map(lines)
            .find(|l| !l.subjects.is_empty())
            .map(|l| l.number)
    });
    match (tagged, differences.is_empty()) {
        (Some(line), true) => Err((
            line,
            "a difference needs its reason: add \"--- differs SUBJECT\"".to_owned(),
        )),
        (None, false) if differences.iter().all(|difference| !difference.only) => Err((
            1,
            "nothing here is for one subject only, yet there is a \"--- differs\" section"
                .to_owned(),
        )),
        _ => Ok(family),
    }
}

fn lines(section: &Section) -> &[Line] {
    match &section.kind {
        Kind::Client(lines) | Kind::Commands(lines) => lines,
        Kind::Origin(origin) => &origin.lines,
        _ => &[],
    }
}

fn section(number: usize, header: &str, body: &[(usize, &str)]) -> Result<Section, Fault> {
    let here = |message: String| (number, message);
    let (header, subjects) = match header
        .strip_suffix(']')
        .and_then(|header| header.rsplit_once('['))
    {
        Some((header, tags)) => (header.trim(), tags_of(tags).map_err(here)?),
        None => (header, Vec::new()),
    };
    let (name, argument) = header
        .split_once(' ')
        .map_or((header, ""), |(name, rest)| (name, rest.trim()));
    let kind = match name {
        "config" => Kind::Config(text(body)),
        "http" => Kind::Http(text(body)),
        "server" => Kind::Server(text(body)),
        "app" => Kind::App(text(body)),
        "conf" => Kind::Conf(text(body)),
        "args" => Kind::Args(text(body).split_whitespace().collect::<Vec<_>>().join(" ")),
        "env" => Kind::Env(environment(body)?),
        "file" | "link" | "dir" => Kind::Entry(entry(name, argument, body).map_err(here)?),
        "origin" => {
            let (origin, unix) = match argument.split_once(' ') {
                Some((origin, "unix")) => (origin, true),
                None if !argument.is_empty() => (argument, false),
                _ => {
                    return Err(here(format!(
                        "write it as: --- origin NAME [unix], got \"{argument}\""
                    )));
                }
            };
            Kind::Origin(OriginScript {
                name: origin.to_owned(),
                unix,
                lines: script(body, Role::Origin)?,
            })
        }
        "client" => Kind::Client(script(body, Role::Client)?),
        "commands" => Kind::Commands(script(body, Role::Commands)?),
        "differs" | "only" => {
            let subject = Subject::named(argument)
                .ok_or_else(|| here(format!("unknown subject \"{argument}\"")))?;
            let reason = text(body).split_whitespace().collect::<Vec<_>>().join(" ");
            if reason.is_empty() {
                return Err(here(format!(
                    "\"--- {name} {argument}\" is followed by the reason"
                )));
            }
            Kind::Difference(Difference {
                subject,
                only: name == "only",
                reason,
            })
        }
        _ => return Err(here(format!("unknown section \"{name}\""))),
    };
    Ok(Section {
        line: number,
        subjects,
        kind,
    })
}

/// The lines, without empty ones at the end.
fn text(body: &[(usize, &str)]) -> String {
    let mut text: String = body.iter().map(|(_, line)| format!("{line}\n")).collect();
    text.truncate(text.trim_end().len());
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

fn tags_of(tags: &str) -> Result<Vec<Subject>, String> {
    let subject = |tag: &str| {
        Subject::named(tag.trim()).ok_or_else(|| format!("unknown subject \"{}\"", tag.trim()))
    };
    tags.split(',').map(subject).collect()
}

fn environment(body: &[(usize, &str)]) -> Result<Vec<(String, String)>, Fault> {
    let lines = body.iter().filter(|(_, line)| !line.trim().is_empty());
    let pair = |(number, line): &(usize, &str)| match line.trim().split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err((*number, "write it as NAME=VALUE".to_owned())),
    };
    lines.map(pair).collect()
}

fn entry(kind: &str, argument: &str, body: &[(usize, &str)]) -> Result<Entry, String> {
    let mut words = argument.split_whitespace();
    let path = words
        .next()
        .ok_or_else(|| format!("\"--- {kind}\" takes a path"))?
        .to_owned();
    let mut entry = Entry {
        path,
        what: What::Dir,
        mode: None,
        mtime: None,
    };
    if kind == "link" {
        entry.what = What::Link(
            words
                .next()
                .ok_or("write it as: --- link PATH TARGET")?
                .to_owned(),
        );
    } else if kind == "file" {
        entry.what = What::Text(text(body));
    }
    for word in words {
        match word.split_once('=') {
            Some(("mode", mode)) => {
                entry.mode = Some(
                    u32::from_str_radix(mode, 8).map_err(|_| format!("\"{mode}\" is no mode"))?,
                );
            }
            Some(("mtime", seconds)) => {
                entry.mtime = Some(
                    seconds
                        .parse()
                        .map_err(|_| format!("\"{seconds}\" are no seconds"))?,
                );
            }
            Some(("size", size)) => {
                let size = parse_size(size)
                    .ok_or_else(|| format!("\"{size}\" is no size such as 100, 4k or 1m"))?;
                entry.what = What::Repeat(size, raw(body)?);
            }
            None if word == "raw" => entry.what = What::Raw(raw(body)?),
            _ => {
                return Err(format!(
                    "unknown option \"{word}\"; known are mode=, mtime=, size= and raw"
                ));
            }
        }
    }
    Ok(entry)
}

/// The lines with their escapes, one after the other without line ends.
fn raw(body: &[(usize, &str)]) -> Result<Vec<u8>, String> {
    let parts: Result<Vec<_>, _> = body.iter().map(|(_, line)| unescape(line)).collect();
    Ok(parts.map_err(|error| error.to_string())?.concat())
}

fn script(body: &[(usize, &str)], role: Role) -> Result<Vec<Line>, Fault> {
    let mut script: Vec<Line> = Vec::new();
    let mut apart = true;
    for &(number, line) in body {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            apart = true;
            continue;
        }
        let here = |message: String| (number, message);
        if let Some(more) = line.strip_prefix('|') {
            let last = script
                .last_mut()
                .ok_or_else(|| here("a \"|\" line has nothing to belong to".to_owned()))?;
            last.step
                .extend(more.strip_prefix(' ').unwrap_or(more))
                .map_err(here)?;
            continue;
        }
        let (subjects, line) = match line.strip_prefix('[').and_then(|line| line.split_once(']')) {
            Some((tags, line)) => (tags_of(tags).map_err(here)?, line.trim_start()),
            None => (Vec::new(), line),
        };
        let step = Step::parse(line, role).map_err(here)?;
        push(
            &mut script,
            Line {
                number,
                subjects,
                step,
            },
            apart,
        );
        apart = false;
    }
    Ok(script)
}

/// Adds a line, or joins it with what it belongs to: sends that follow each other leave in one write, field lines of one
/// name are one expectation.
fn push(script: &mut Vec<Line>, line: Line, apart: bool) {
    match &line.step {
        Step::Send(pieces) if !apart => {
            if let Some(Line {
                step: Step::Send(before),
                subjects,
                ..
            }) = script.last_mut()
                && *subjects == line.subjects
            {
                before.extend(pieces.iter().cloned());
                return;
            }
        }
        Step::Field { name, wants } => {
            for earlier in script
                .iter_mut()
                .rev()
                .take_while(|earlier| !earlier.step.begins_message())
            {
                if let Step::Field {
                    name: other,
                    wants: before,
                } = &mut earlier.step
                    && other.eq_ignore_ascii_case(name)
                    && earlier.subjects == line.subjects
                {
                    before.extend(wants.iter().cloned());
                    return;
                }
            }
        }
        _ => {}
    }
    script.push(line);
}

#[cfg(test)]
mod tests {
    use super::super::expect::Want;
    use super::super::step::Piece;
    use super::*;

    fn parse(text: &str) -> Result<Scenario, ParseError> {
        Scenario::parse(Path::new("x.scenario"), "x", text)
    }

    fn message(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    const SMALL: &str =
        "It works.\n\n--- server\nroot html;\n\n--- client\n> GET / HTTP/1.0\n>\nstatus 200\n";

    #[test]
    fn a_small_scenario_is_read() {
        let scenario = parse(SMALL).unwrap();
        assert_eq!(scenario.title, "It works.");
        assert!(scenario.is_for(Subject::Nginx) && scenario.is_for(Subject::Edge));
        assert!(!scenario.is_for(Subject::Gunicorn));
        let Kind::Server(text) = &scenario.sections[0].kind else {
            panic!()
        };
        assert_eq!(text, "root html;\n");
        let Kind::Client(lines) = &scenario.sections[1].kind else {
            panic!()
        };
        assert_eq!(lines.len(), 2);
        let text = |text: &str| Piece::Text(text.to_owned());
        assert_eq!(
            lines[0].step,
            Step::Send(vec![text("GET / HTTP/1.0\\r\\n"), text("\\r\\n")])
        );
    }

    #[test]
    fn field_lines_of_one_name_are_one_expectation() {
        let text = format!("{SMALL}field A: 1\nfield B: x\nfield a: 2\nstatus 200\nfield A: 3\n");
        let scenario = parse(&text).unwrap();
        let Kind::Client(lines) = &scenario.sections[1].kind else {
            panic!()
        };
        let exact = |text: &str| Want::Exact(text.to_owned());
        assert_eq!(
            lines[2].step,
            Step::Field {
                name: "A".into(),
                wants: vec![exact("1"), exact("2")]
            }
        );
        assert_eq!(lines.len(), 6);
    }

    #[test]
    fn files_have_modes_times_and_sizes() {
        let text = format!(
            "{SMALL}--- file a/b mode=0600 mtime=77\nline\n--- file c size=2k\nxy\n--- file d raw\n\\x00a\nb\n\
             --- link e ../f\n--- dir g\n"
        );
        let scenario = parse(&text).unwrap();
        let entries: Vec<_> = scenario.sections[2..]
            .iter()
            .map(|s| s.kind.clone())
            .collect();
        let Kind::Entry(first) = &entries[0] else {
            panic!()
        };
        assert_eq!((first.mode, first.mtime), (Some(0o600), Some(77)));
        assert_eq!(first.what, What::Text("line\n".into()));
        let Kind::Entry(second) = &entries[1] else {
            panic!()
        };
        assert_eq!(second.what, What::Repeat(2048, b"xy".to_vec()));
        let Kind::Entry(third) = &entries[2] else {
            panic!()
        };
        assert_eq!(third.what, What::Raw(b"\0ab".to_vec()));
        let Kind::Entry(fourth) = &entries[3] else {
            panic!()
        };
        assert_eq!(fourth.what, What::Link("../f".into()));
    }

    #[test]
    fn a_difference_needs_a_reason_and_a_reason_a_difference() {
        assert_eq!(
            message(&format!("{SMALL}[nginx] field Server: nginx\n")),
            "x.scenario:10: a difference needs its reason: add \"--- differs SUBJECT\""
        );
        assert!(
            message(&format!("{SMALL}--- differs edge\nits name\n"))
                .contains("nothing here is for one subject")
        );
        assert!(
            message(&format!("{SMALL}--- differs edge\n\n")).contains("is followed by the reason")
        );
        let scenario = parse(&format!(
            "{SMALL}[nginx] field Server: nginx\n--- differs edge\nits\nname\n"
        ))
        .unwrap();
        assert_eq!(scenario.differences[0].reason, "its name");
        let scenario = parse(&format!("{SMALL}--- only edge\nsafer\n")).unwrap();
        assert!(scenario.is_for(Subject::Edge) && !scenario.is_for(Subject::Nginx));
    }

    #[test]
    fn faults_have_their_line() {
        assert_eq!(
            message("T\n--- server\n\n--- client\nfoo\n"),
            "x.scenario:5: unknown step \"foo\" in a client's conversation"
        );
        assert_eq!(
            message("T\n--- sever\n"),
            "x.scenario:2: unknown section \"sever\""
        );
        assert!(message("--- server\n--- client\n").contains("the first line says"));
        assert!(message("T\n--- client\n").contains("nothing to run"));
        assert!(message("T\n--- server\n").contains("no conversation"));
        assert!(message("T\n--- server\n--- client [ngin]\n").contains("unknown subject \"ngin\""));
    }
}
