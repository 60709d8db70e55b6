//! What happened, in order: kept while a scenario runs, shown when it fails.

use std::sync::{Arc, Mutex};
use std::time::Instant;

/// A shared list of events with the time since it was begun. Clones write into the same list.
#[derive(Clone, Debug)]
pub struct Transcript {
    start: Instant,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Transcript {
    /// An empty transcript that begins now.
    pub fn new() -> Self {
        Transcript {
            start: Instant::now(),
            lines: Arc::default(),
        }
    }

    /// Adds one event of `who`.
    pub fn note(&self, who: &str, what: &str) {
        let line = format!("{:8.3}s {who} {what}", self.start.elapsed().as_secs_f64());
        self.lines
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .push(line);
    }

    /// All events so far, oldest first.
    pub fn lines(&self) -> Vec<String> {
        self.lines
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()
    }
}

impl Default for Transcript {
    fn default() -> Self {
        Self::new()
    }
}
