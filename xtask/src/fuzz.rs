//! Fuzz targets for a few seconds each, on the stable toolchain: coverage counters without a sanitizer.
//!
//! The longer way, nightly with AddressSanitizer, is in `fuzz/README.md`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use crate::process::{output, run};
use crate::workspace::Workspace;

const BUILD_LIMIT: Duration = Duration::from_secs(900);
/// Of one run, beyond the time it is given.
const EXTRA: Duration = Duration::from_secs(60);

const RUSTFLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1 \
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Runs every target for so many seconds; what was done, or what was found.
pub fn smoke(workspace: &Workspace, seconds: u64, log: &Path) -> Result<String, String> {
    let targets = targets(workspace)?;
    let programs = build(workspace, log)?;
    let found = workspace.work("fuzz/found/x")?.with_file_name("");
    let waiting = Mutex::new(targets.iter());
    let results = Mutex::new(Vec::new());
    let next = || waiting.lock().ok()?.next();
    // One target to a core.
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(target) = next() {
                    let result = one(workspace, &programs, &found, target, seconds);
                    if let Ok(mut results) = results.lock() {
                        results.push(result);
                    }
                }
            });
        }
    });
    let results = results.into_inner().map_err(|_| "a run panicked")?;
    let executions = results.into_iter().sum::<Result<u64, String>>()?;
    if executions == 0 {
        return Err("no input was executed".to_owned());
    }
    Ok(format!(
        "{} targets for {seconds} s each, {executions} inputs, no sanitizer",
        targets.len()
    ))
}

fn targets(workspace: &Workspace) -> Result<Vec<String>, String> {
    let folder = workspace.join("fuzz/fuzz_targets");
    let entries = std::fs::read_dir(&folder)
        .map_err(|error| format!("can't read \"{}\": {error}", folder.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_stem()?.to_str()?.to_owned();
            (path.extension()? == "rs").then_some(name)
        })
        .collect();
    names.sort();
    Ok(names)
}

/// Builds all targets; the folder of their programs.
fn build(workspace: &Workspace, log: &Path) -> Result<PathBuf, String> {
    // With a target named, the flags don't apply to build scripts and macros.
    let version = output(Command::new("rustc").arg("-vV"))?;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .ok_or("rustc doesn't say what machine this is")?
        .to_owned();
    let folder = workspace.work("fuzz/build")?;
    let mut cargo = workspace.cargo(&["build", "--release", "--locked", "--target", &host]);
    cargo
        .arg("--manifest-path")
        .arg(workspace.join("fuzz/Cargo.toml"))
        .env("CARGO_TARGET_DIR", &folder)
        .env("RUSTFLAGS", RUSTFLAGS);
    run(&mut cargo, log, BUILD_LIMIT)?;
    Ok(folder.join(host).join("release"))
}

/// Runs one target; how many inputs it executed.
fn one(
    workspace: &Workspace,
    programs: &Path,
    found: &Path,
    target: &str,
    seconds: u64,
) -> Result<u64, String> {
    let corpus = found.join(target);
    std::fs::create_dir_all(&corpus).map_err(|error| error.to_string())?;
    let log = workspace.work(&format!("logs/fuzz-{target}.log"))?;
    let _ = std::fs::remove_file(&log);
    let mut command = Command::new(programs.join(target));
    command
        .args([
            &format!("-max_total_time={seconds}"),
            "-timeout=10",
            "-max_len=4096",
            "-print_final_stats=1",
        ])
        .arg(format!("-artifact_prefix={}/{target}-", found.display()))
        .arg(&corpus)
        .arg(workspace.join("fuzz/corpus").join(target));
    run(&mut command, &log, Duration::from_secs(seconds) + EXTRA).map_err(|problem| {
        format!(
            "target {target}: {problem}\n{}",
            crate::process::tail(&log, 30)
        )
    })?;
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    let executed = text
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))
        .and_then(|number| number.trim().parse().ok());
    executed.ok_or_else(|| {
        format!(
            "target {target} doesn't say what it did; see {}",
            log.display()
        )
    })
}
