//! Criterion's benches of the crates, and what they say.

use std::fmt::Write;
use std::process::Stdio;

use super::Bench;
use super::table::Report;
use crate::process;

/// Runs the benches of all crates that have some.
pub fn run(bench: &Bench<'_>, report: &mut Report) -> Result<(), String> {
    let mut cargo = bench.workspace.cargo(&["bench", "--locked"]);
    let mut crates = Vec::new();
    let entries = std::fs::read_dir(bench.workspace.join("crates"));
    for entry in entries.into_iter().flatten().flatten() {
        if entry.path().join("benches").is_dir() {
            crates.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    crates.sort();
    for name in &crates {
        cargo.args(["-p", name]);
    }
    cargo.args(["--benches", "--"]);
    if bench.effort.quick {
        cargo.args(["--quick"]);
    }
    cargo.stderr(Stdio::inherit());
    let line = process::describe(&cargo);
    eprintln!("  {line}");
    let output = cargo
        .output()
        .map_err(|error| format!("can't start cargo: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    process::success(output.status, &line).map_err(|problem| format!("{problem}\n{said}"))?;
    let figures = figures(&said);
    if figures.is_empty() {
        return Err(format!("`{line}` measured nothing"));
    }
    let mut text = "### The parts (criterion)\n\n| part | time |\n|---|---|\n".to_owned();
    for (name, time) in figures {
        let _ = writeln!(text, "| {name} | {time} |");
    }
    report.add_text(text);
    Ok(())
}

/// Name and middle estimate of each `time: [low middle high]`; long names stand on the line before.
fn figures(said: &str) -> Vec<(String, String)> {
    let mut figures = Vec::new();
    let mut before = "";
    for line in said.lines() {
        if let Some((name, times)) = line.split_once("time:") {
            let name = if name.trim().is_empty() { before } else { name };
            let words: Vec<&str> = times.trim().trim_matches(['[', ']']).split(' ').collect();
            if let [_, _, middle, unit, ..] = words[..] {
                figures.push((name.trim().to_owned(), format!("{middle} {unit}")));
            }
        }
        if !line.trim().is_empty() {
            before = line;
        }
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_criterions_lines() {
        let said = "Benchmarking head\nhead/small              time:   [101.1 ns 102.2 ns 103.3 ns]\n\
                    a/name/that/is/longer/than/its/column\n                        time:   [1.0 µs 1.1 µs 1.2 µs]\n";
        assert_eq!(
            figures(said),
            [
                ("head/small".to_owned(), "102.2 ns".to_owned()),
                (
                    "a/name/that/is/longer/than/its/column".to_owned(),
                    "1.1 µs".to_owned()
                )
            ]
        );
    }
}
