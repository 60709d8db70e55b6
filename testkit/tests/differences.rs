//! `docs/differences.md` and the scenarios tell the same differences; every scenario file can be read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use testkit::scenario::{Family, Scenario, Subject, find};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
        .to_owned()
}

fn scenarios() -> Vec<Scenario> {
    let files = find(&root().join("scenarios")).expect("the folder of scenarios");
    let read = |(path, name): &(PathBuf, String)| Scenario::load(path, name);
    let (good, bad): (Vec<_>, Vec<_>) = files.iter().map(read).partition(Result::is_ok);
    let faults: Vec<String> = bad
        .into_iter()
        .filter_map(|fault| Some(fault.err()?.to_string()))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    good.into_iter().filter_map(Result::ok).collect()
}

/// The scenarios that the rows of the tables name, with the rows.
fn rows() -> BTreeMap<String, String> {
    let text =
        std::fs::read_to_string(root().join("docs/differences.md")).expect("docs/differences.md");
    let mut named = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        if cells
            .last()
            .is_some_and(|cell| *cell == "scenario" || cell.starts_with("---"))
        {
            continue;
        }
        assert_eq!(cells.len(), 5, "five cells: {line}");
        assert!(
            cells.iter().all(|cell| !cell.is_empty()),
            "no cell is empty: {line}"
        );
        for name in cells[4].split(',') {
            let name = name.trim().trim_matches('`').to_owned();
            assert!(
                named.insert(name.clone(), line.to_owned()).is_none(),
                "{name} is named twice"
            );
        }
    }
    named
}

#[test]
fn every_scenario_can_be_read_and_has_a_name_of_its_own() {
    let scenarios = scenarios();
    let names: BTreeSet<_> = scenarios.iter().map(|scenario| &scenario.name).collect();
    assert_eq!(names.len(), scenarios.len());
    for scenario in &scenarios {
        let family = if scenario.name.starts_with("edge/") {
            Family::Web
        } else {
            Family::Python
        };
        let subjects = Subject::ALL
            .into_iter()
            .filter(|subject| scenario.is_for(*subject));
        assert!(
            subjects.clone().count() > 0,
            "{} is for nobody",
            scenario.name
        );
        assert!(
            subjects.clone().all(|subject| subject.family() == family),
            "{} is in the wrong folder",
            scenario.name
        );
    }
}

#[test]
fn there_are_as_many_as_promised() {
    let scenarios = scenarios();
    let count = |subject| {
        scenarios
            .iter()
            .filter(|scenario| scenario.is_for(subject))
            .count()
    };
    assert!(
        count(Subject::Edge) >= 90,
        "{} for edge",
        count(Subject::Edge)
    );
    assert!(
        count(Subject::Appserver) >= 50,
        "{} for appserver",
        count(Subject::Appserver)
    );
}

#[test]
fn every_difference_has_its_row_and_every_row_its_difference() {
    let rows = rows();
    let different: BTreeSet<String> = scenarios()
        .into_iter()
        .filter(|s| !s.differences.is_empty())
        .map(|s| s.name)
        .collect();
    let missing: Vec<_> = different
        .iter()
        .filter(|name| !rows.contains_key(*name))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/differences.md has no row for {missing:?}"
    );
    let stale: Vec<_> = rows
        .iter()
        .filter(|(name, _)| !different.contains(*name))
        .collect();
    assert!(
        stale.is_empty(),
        "these rows name no scenario with a difference: {stale:#?}"
    );
}
