//! Configurations and what is said about them. A case holds files, each behind a line `=== PATH`, then `--- line` and
//! `--- terminal` with the exact words. `UPDATE_CORPUS=1 cargo test -p nginx-conf --test corpus` writes the words anew;
//! read the difference before you commit it.

mod common;

use std::path::Path;

use nginx_conf::{SourceSet, Style};

#[test]
fn every_case_is_reported_in_the_expected_words() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(
        paths.len() >= 20,
        "the corpus is gone from {}",
        folder.display()
    );
    let failures: Vec<String> = paths.iter().filter_map(|path| check(path).err()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn check(path: &Path) -> Result<(), String> {
    let case = std::fs::read_to_string(path).unwrap();
    let input = case.split("--- line\n").next().unwrap();
    let actual = format!("{input}{}", render(input));
    if std::env::var_os("UPDATE_CORPUS").is_some() {
        std::fs::write(path, &actual).unwrap();
    }
    if actual == case {
        return Ok(());
    }
    Err(format!(
        "{}: expected\n{case}\ngot\n{actual}",
        path.display()
    ))
}

fn render(input: &str) -> String {
    let files: Vec<(&str, &str)> = input
        .split("=== ")
        .skip(1)
        .map(|file| file.split_once('\n').unwrap())
        .collect();
    let main = files[0].0;
    let (tree, _, faults) = common::check(&SourceSet::of(files), main);
    let line = faults.render("edge", &tree.sources, Style::Line);
    let terminal = faults.render("edge", &tree.sources, Style::Terminal { colour: false });
    format!("--- line\n{line}--- terminal\n{terminal}")
}
