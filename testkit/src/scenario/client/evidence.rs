//! What a server leaves behind: lines of logs, files, and answers that change in time.
//!
//! None of it can be waited for otherwise than by looking again.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Player;
use crate::http::{Client, Response};
use crate::scenario::expect::{Want, matches};
use crate::scenario::stage::log_path;
use crate::scenario::step::LineWant;
use crate::{Address, Deadline, PATIENCE};

impl Player<'_> {
    /// Waits until a log has the line so many times.
    pub(super) fn log(&mut self, want: &LineWant) -> Result<(), String> {
        let path = self.log_of(want);
        let mut last = Ok(0);
        let found = Deadline::after(PATIENCE).poll(&self.shared.stop, || {
            last = self.count(&path, want);
            match last {
                Ok(count) if count < want.times => None,
                _ => Some(()),
            }
        });
        let count = last?;
        match found {
            Some(()) => Ok(()),
            None => Err(format!(
                "{} has {count} lines {}, {} were expected\n{}",
                path.display(),
                self.words_of(&want.want),
                want.times,
                tail(&path)
            )),
        }
    }

    pub(super) fn no_log(&mut self, want: &LineWant) -> Result<(), String> {
        let path = self.log_of(want);
        match self.count(&path, want)? {
            0 => Ok(()),
            count => Err(format!(
                "{} has {count} lines {}\n{}",
                path.display(),
                self.words_of(&want.want),
                tail(&path)
            )),
        }
    }

    pub(super) fn log_of(&self, want: &LineWant) -> PathBuf {
        log_path(
            self.stage.prefix.path(),
            &self.vars.fill(&want.name),
            self.settings.subject.family(),
        )
    }

    pub(super) fn count(&self, path: &Path, want: &LineWant) -> Result<usize, String> {
        let bytes = fs::read(path).unwrap_or_default();
        let mut count = 0;
        for line in bytes.split(|&b| b == b'\n') {
            count += usize::from(match &want.want {
                Want::Pattern(pattern) => matches(&self.vars.pattern(pattern), line)?,
                other => {
                    other
                        .check("line", line, &self.vars, &self.shared.prefix)
                        .is_ok()
                        && !line.is_empty()
                }
            });
        }
        Ok(count)
    }

    pub(super) fn words_of(&self, want: &Want) -> String {
        match want {
            Want::Pattern(pattern) => format!("~ {}", self.vars.fill(pattern)),
            Want::Exact(text) => format!("\"{}\"", self.vars.fill(text)),
            other => format!("{other:?}"),
        }
    }

    /// Waits until a file has the expected content.
    pub(super) fn file(&mut self, path: &str, want: &Want) -> Result<(), String> {
        let path = self.below(path);
        let mut last = String::new();
        let found = Deadline::after(self.patience_for_files()).poll(&self.shared.stop, || {
            let bytes = match fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) => {
                    last = format!("{}: {error}", path.display());
                    return None;
                }
            };
            let what = path.display().to_string();
            want.check(&what, &bytes, &self.vars, &self.shared.prefix)
                .map_err(|error| last = error)
                .ok()
        });
        found.ok_or(last)
    }

    /// Without a running server nothing changes files any more.
    pub(super) fn patience_for_files(&self) -> Duration {
        if self.server.is_some() {
            PATIENCE
        } else {
            Duration::ZERO
        }
    }

    pub(super) fn no_file(&mut self, path: &str) -> Result<(), String> {
        let path = self.below(path);
        let gone = Deadline::after(self.patience_for_files())
            .poll(&self.shared.stop, || (!path.exists()).then_some(()));
        gone.ok_or_else(|| format!("{} should not exist", path.display()))
    }

    /// Replaces a file at once, as an editor does.
    pub(super) fn write(&mut self, path: &str, text: &str) -> Result<(), String> {
        let path = self.below(path);
        let bytes = self.vars.bytes(text).map_err(|error| error.to_string())?;
        let beside = path.with_extension("new-content");
        fs::write(&beside, bytes)
            .and_then(|()| fs::rename(&beside, &path))
            .map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Asks on fresh connections until the answer is the expected one.
    pub(super) fn eventually(
        &mut self,
        target: &str,
        status: u16,
        want: Option<&Want>,
    ) -> Result<(), String> {
        let address = self.address(None)?;
        let target = self.vars.fill(target);
        let mut last = "no answer".to_owned();
        let found = Deadline::after(PATIENCE).poll(&self.shared.stop, || {
            let checked = ask_once(&address, &target).and_then(|response| {
                if response.status != status {
                    return Err(format!("status {}", response.status));
                }
                let check = |want: &Want| {
                    want.check(
                        "the content",
                        &response.body,
                        &self.vars,
                        &self.shared.prefix,
                    )
                };
                want.map_or(Ok(()), check)
            });
            checked.map_err(|error| last = error).ok()
        });
        found.ok_or_else(|| {
            format!("GET {target} never became {status} as expected; the last answer: {last}")
        })
    }

    /// Asks on fresh connections until a log has the line.
    pub(super) fn insist(&mut self, target: &str, want: &LineWant) -> Result<(), String> {
        let address = self.address(None)?;
        let (target, path) = (self.vars.fill(target), self.log_of(want));
        let found = Deadline::after(PATIENCE).poll(&self.shared.stop, || {
            let _ = ask_once(&address, &target);
            matches!(self.count(&path, want), Ok(count) if count >= want.times).then_some(())
        });
        found.ok_or_else(|| {
            format!(
                "{} never got a line {}",
                path.display(),
                self.words_of(&want.want)
            )
        })
    }
}

/// One GET on a connection of its own.
fn ask_once(address: &Address, target: &str) -> Result<Response, String> {
    let mut client = Client::connect(address.clone()).map_err(|error| error.to_string())?;
    client.ask("GET", target, &[("Connection", "close")])?;
    Ok(client.response()?)
}

fn tail(path: &Path) -> String {
    let text = fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..]
        .iter()
        .map(|line| format!("  | {line}\n"))
        .collect()
}
