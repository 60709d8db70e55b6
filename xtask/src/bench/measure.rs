//! Runs in turn, and what they come to.

use std::path::Path;

use super::load::Load;
use super::machine::Cores;
use super::server::Subject;
use crate::process;

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub rounds: u64,
    pub seconds: u64,
    pub connections: u64,
    pub idle_connections: usize,
    pub quick: bool,
}

impl Effort {
    /// For figures to be published.
    pub fn full() -> Self {
        Effort {
            rounds: 5,
            seconds: 6,
            connections: 64,
            idle_connections: 10_000,
            quick: false,
        }
    }

    /// For whether it works.
    pub fn quick() -> Self {
        Effort {
            rounds: 2,
            seconds: 1,
            quick: true,
            ..Effort::full()
        }
    }
}

/// What the runs of one program came to.
#[derive(Clone, Debug, Default)]
pub struct Series {
    pub name: String,
    pub commands: Vec<String>,
    pub cpu_us: Spread,
    pub requests_per_second: Spread,
    pub p99_ms: Spread,
    pub memory_mib: Spread,
    pub errors: u64,
}

impl Series {
    /// The one of a subject, without figures yet.
    pub fn of(subject: &Subject) -> Self {
        Series {
            name: subject.name.clone(),
            commands: subject.commands.clone(),
            ..Series::default()
        }
    }
}

/// Figures of several runs.
#[derive(Clone, Debug, Default)]
pub struct Spread(Vec<f64>);

impl Spread {
    /// One more.
    pub fn add(&mut self, figure: f64) {
        self.0.push(figure);
        self.0.sort_by(f64::total_cmp);
    }

    /// The one in the middle.
    pub fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        match self.0.len() {
            0 => f64::NAN,
            count if count % 2 == 1 => self.0[middle],
            _ => f64::midpoint(self.0[middle - 1], self.0[middle]),
        }
    }

    /// The least and the most.
    pub fn ends(&self) -> (f64, f64) {
        (
            self.0.first().copied().unwrap_or(f64::NAN),
            self.0.last().copied().unwrap_or(f64::NAN),
        )
    }
}

/// Measures all subjects under the same load, turn and turn about.
pub fn in_turn(
    cores: Cores,
    effort: &Effort,
    load: Load<'_>,
    subjects: &[Subject],
    folder: &Path,
) -> Result<Vec<Series>, String> {
    let mut series: Vec<Series> = subjects.iter().map(Series::of).collect();
    let ask = |subject: &Subject, seconds| {
        process::check_interrupted()?;
        load.run(cores, effort, seconds, subject, folder)
    };
    for subject in subjects {
        ask(subject, 1)?; // warms up
    }
    for round in 1..=effort.rounds {
        for (subject, series) in subjects.iter().zip(&mut series) {
            let before = subject.cpu_us();
            let counted = ask(subject, effort.seconds)?;
            let used = subject.cpu_us() - before;
            let requests = counted.requests as f64;
            series.cpu_us.add(used as f64 / requests);
            series
                .requests_per_second
                .add(requests * 1e6 / counted.duration_us as f64);
            series.p99_ms.add(counted.p99_us as f64 / 1000.0);
            series.errors += counted.errors;
            eprintln!(
                "  {} {} {round}/{}: {:.2} µs CPU, {:.0} requests/s",
                load.name(),
                subject.name,
                effort.rounds,
                used as f64 / requests,
                requests * 1e6 / counted.duration_us as f64
            );
        }
    }
    for (subject, series) in subjects.iter().zip(&mut series) {
        series.memory_mib.add(subject.pss_kib() as f64 / 1024.0);
    }
    Ok(series)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let mut spread = Spread::default();
        for figure in [3.0, 1.0, 2.0] {
            spread.add(figure);
        }
        assert_eq!((spread.median(), spread.ends()), (2.0, (1.0, 3.0)));
        spread.add(10.0);
        assert_eq!(spread.median(), 2.5);
    }
}
