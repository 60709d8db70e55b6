//! Arrows point one way inside the crate, too: this test reads what every file names and refuses what points up.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes, buffers, sockets and time: what everything stands on.
const GROUND: &[&str] = &[
    "alarm",
    "body",
    "buffers",
    "output",
    "read_ahead",
    "socket",
    "temp_file",
    "timers",
    "turn",
];

/// What a module may name besides itself and [`GROUND`], by the beginning of its path. The first line that fits holds.
const LAYERS: &[(&str, &[&str])] = &[
    // A feature knows the engine and the contract, never another feature.
    (
        "features",
        &["client", "engine", "feature", "server", "spool", "upstream"],
    ),
    // The contract between the two: names the engine's exchange, is named by the engine.
    ("feature", &["engine", "server"]),
    ("engine", &["feature", "server"]),
    // Peers, their turns and their connections; their state lives in the engine's zones.
    ("upstream", &["client", "engine::zones", "server"]),
    // Services for those who come from tower.
    ("tower", &["server"]),
    ("spool", &["server"]),
    ("client", &["server"]),
    ("server", &[]),
];

#[test]
fn no_module_names_what_lies_above_it() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut arrows = 0;
    let mut wrong = Vec::new();
    for file in files_below(&source) {
        let module = module_of(file.strip_prefix(&source).expect("a file below src"));
        let text = fs::read_to_string(&file).expect("readable source");
        for named in named_in(&module, &text) {
            arrows += 1;
            if !is_allowed(&module, &named) {
                wrong.push(format!(
                    "{} names crate::{}",
                    module.join("::"),
                    named.join("::")
                ));
            }
        }
    }
    assert!(
        arrows > 100,
        "only {arrows} paths were found: the reader of this test is broken"
    );
    assert!(
        wrong.is_empty(),
        "arrows that point up:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn what_points_up_is_refused() {
    let path = |text: &str| -> Vec<String> { text.split("::").map(str::to_owned).collect() };
    for (module, named, allowed) in [
        ("features::proxy::target", "engine::exchange", true),
        (
            "features::proxy::target",
            "features::proxy::variables",
            true,
        ),
        ("features::proxy::target", "features::upstream", false),
        ("features::index", "features::try_files", false),
        ("engine::run", "engine::core", true),
        ("engine::run", "features::proxy", false),
        ("engine::run", "client", false),
        ("server::http1", "engine", false),
        ("server::http1", "feature", false),
        ("client::pool", "engine", false),
        ("upstream", "engine::zones", true),
        ("upstream", "engine::exchange", false),
        ("upstream", "features::upstream", false),
        ("body", "server", false),
        ("server::http1", "read_ahead", true),
    ] {
        assert_eq!(
            is_allowed(&path(module), &path(named)),
            allowed,
            "{module} -> {named}"
        );
    }
}

#[test]
fn all_ways_to_name_a_module_are_read() {
    let module = ["features".to_owned(), "index".to_owned()];
    let text = "use crate::feature::Flow;\nuse crate::{body::Body, engine::{run, site}};\n// crate::comment::no\n\
                fn f() { super::try_files::g(); }\nmod tests {\n use super::*;\n use super::super::proxy;\n}\n";
    let named: Vec<String> = named_in(&module, text)
        .iter()
        .map(|path| path.join("::"))
        .collect();
    assert_eq!(
        named,
        [
            "feature::Flow",
            "body::Body",
            "engine::run",
            "engine::site",
            "features::try_files::g",
            "features::index",
            "features::proxy"
        ]
    );
}

fn is_allowed(module: &[String], named: &[String]) -> bool {
    let first = |path: &[String]| path.first().cloned().unwrap_or_default();
    if first(module) == "features" && first(named) == "features" {
        return named.len() < 2 || module.len() < 2 || named[1] == module[1];
    }
    if first(named) == first(module) || GROUND.contains(&&*first(named)) || module.is_empty() {
        return true;
    }
    let below = |prefix: &str| {
        named.join("::") == prefix || named.join("::").starts_with(&format!("{prefix}::"))
    };
    LAYERS
        .iter()
        .find(|(layer, _)| *layer == first(module))
        .is_some_and(|(_, allowed)| allowed.iter().any(|prefix| below(prefix)))
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("listable source");
    entries
        .map(|entry| entry.expect("an entry").path())
        .flat_map(|path| {
            if path.is_dir() {
                files_below(&path)
            } else {
                vec![path]
            }
        })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

fn module_of(file: &Path) -> Vec<String> {
    let path = file.with_extension("");
    let mut parts: Vec<String> = path
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if parts
        .last()
        .is_some_and(|last| last == "mod" || last == "lib")
    {
        parts.pop();
    }
    parts
}

/// The paths below the crate that a file names: `crate::…`, `super::…`, with groups opened.
fn named_in(module: &[String], text: &str) -> Vec<Vec<String>> {
    let mut named = Vec::new();
    // Tests come last in a file, in a module of their own.
    let tests_at = text.find("\nmod tests {").unwrap_or(text.len());
    let mut at = 0;
    while let Some(found) = next_path(text, at) {
        let (start, mut base) = (found, module.to_vec());
        let rest = &text[start..];
        let mut rest = if let Some(rest) = rest.strip_prefix("crate::") {
            base.clear();
            rest
        } else {
            if start > tests_at {
                base.push("tests".to_owned());
            }
            let mut rest = rest;
            while let Some(shorter) = rest.strip_prefix("super::") {
                base.pop();
                rest = shorter;
            }
            rest
        };
        open(&mut rest, &base, &mut named);
        at = text.len() - rest.len();
    }
    named
}

/// Where the next path begins that is not in a comment.
fn next_path(text: &str, from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        let found = ["crate::", "super::"]
            .iter()
            .filter_map(|word| text[at..].find(word))
            .min()?
            + at;
        let line = text[..found].rfind('\n').map_or(0, |end| end + 1);
        let whole_word = !text[..found]
            .ends_with(|letter: char| letter.is_alphanumeric() || letter == '_' || letter == '$');
        if whole_word && !text[line..found].contains("//") {
            return Some(found);
        }
        at = found + 1;
    }
}

/// Reads the rest of a path; a group is several.
fn open(rest: &mut &str, base: &[String], named: &mut Vec<Vec<String>>) {
    let mut path = base.to_vec();
    loop {
        if let Some(inside) = rest.strip_prefix('{') {
            *rest = inside;
            loop {
                *rest =
                    rest.trim_start_matches(|letter: char| letter.is_whitespace() || letter == ',');
                if let Some(after) = rest.strip_prefix('}') {
                    *rest = after;
                    return;
                }
                let before = rest.len();
                open(rest, &path, named);
                if rest.len() == before {
                    return;
                }
            }
        }
        let end = rest
            .find(|letter: char| !(letter.is_alphanumeric() || letter == '_'))
            .unwrap_or(rest.len());
        if end > 0 && &rest[..end] != "self" {
            path.push(rest[..end].to_owned());
        }
        *rest = rest[end..].strip_prefix('*').unwrap_or(&rest[end..]);
        match rest.strip_prefix("::") {
            Some(after) if end > 0 => *rest = after,
            _ => return named.push(path),
        }
    }
}
