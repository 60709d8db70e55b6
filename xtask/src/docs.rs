//! The reference pages that the programs write from their own tables.

use std::path::Path;
use std::process::{Command, ExitCode};

use crate::options::Options;
use crate::process::output;
use crate::workspace::{Profile, Workspace};

const USAGE: &str = "usage: cargo xtask docs [--check]

Builds edge and appserver and writes docs/directives.md, docs/settings.md, and what packaging/ has of them (the manual page,
completion for shells) from their tables.

  --check  writes nothing; fails when a page is not what the program says
";

/// A generated page: its path, the program that writes it and the option that makes it do so.
const PAGES: [(&str, &str, &str); 6] = [
    ("docs/directives.md", "edge", "--directives"),
    ("docs/settings.md", "appserver", "--settings-reference"),
    ("packaging/man/appserver.1", "appserver", "--man-page"),
    (
        "packaging/completions/appserver.bash",
        "appserver",
        "--completion bash",
    ),
    (
        "packaging/completions/_appserver",
        "appserver",
        "--completion zsh",
    ),
    (
        "packaging/completions/appserver.fish",
        "appserver",
        "--completion fish",
    ),
];

/// The command.
pub fn main(workspace: &Workspace, arguments: &[String]) -> Result<ExitCode, String> {
    let mut options = Options::new(arguments);
    if options.flag("--help") || options.flag("-h") {
        print!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    }
    let check_only = options.flag("--check");
    options.words()?;
    workspace.build(Profile::Debug)?;
    if check_only {
        let note = check(workspace, Profile::Debug)?;
        println!("{note}");
        return Ok(ExitCode::SUCCESS);
    }
    for (path, program, option) in PAGES {
        let text = page(workspace, Profile::Debug, program, option)?;
        let path = workspace.join(path);
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        let word = if before == text {
            "unchanged"
        } else {
            "written"
        };
        std::fs::write(&path, text)
            .map_err(|error| format!("can't write \"{}\": {error}", path.display()))?;
        println!("{}: {word}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Compares the pages with what the programs say.
pub fn check(workspace: &Workspace, profile: Profile) -> Result<String, String> {
    let mut faults = Vec::new();
    for (path, program, option) in PAGES {
        match page(workspace, profile, program, option) {
            Ok(text) => faults.extend(difference(&workspace.join(path), path, &text)),
            Err(problem) => faults.push(problem),
        }
    }
    if faults.is_empty() {
        return Ok(format!("{} pages are in step", PAGES.len()));
    }
    Err(format!(
        "{}\nwrite them anew with `cargo xtask docs`",
        faults.join("\n")
    ))
}

fn page(
    workspace: &Workspace,
    profile: Profile,
    program: &str,
    option: &str,
) -> Result<String, String> {
    let text = output(Command::new(workspace.program(profile, program)).args(option.split(' ')))?;
    if text.trim().is_empty() {
        return Err(format!("`{program} {option}` printed nothing"));
    }
    Ok(text)
}

fn difference(path: &Path, name: &str, text: &str) -> Option<String> {
    let Ok(have) = std::fs::read_to_string(path) else {
        return Some(format!("{name}: there is no such file"));
    };
    if have == text {
        return None;
    }
    let (mut have, mut want) = (have.lines(), text.lines());
    let mut number = 0;
    loop {
        number += 1;
        let (old, new) = (have.next(), want.next());
        if old != new || old.is_none() {
            return Some(format!(
                "{name}:{number}: the page has \"{}\", the program says \"{}\"",
                old.unwrap_or("(its end)"),
                new.unwrap_or("(its end)")
            ));
        }
    }
}
