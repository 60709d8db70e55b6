//! The metrics, in Prometheus' text form.

use std::fmt::Write as _;

use appserver_protocol::tally;
use supervisor::{Master, Phase, WorkerInfo};

use super::process;
use super::tally::Sums;
use crate::server::Server;

/// Everything starts with it.
const PREFIX: &str = "appserver";

impl Server {
    /// All of them, as they are now.
    pub(super) fn metrics_text(&self, master: &Master) -> String {
        let mut page = Page(String::new());
        let tally = &self.tally;
        let mut sums = tally.before.clone();
        let workers: Vec<_> = master.workers().collect();
        workers.iter().for_each(|worker| sums.add(worker.board));
        let serving = workers.iter().filter(|worker| worker.is_serving()).count();
        let busy: usize = workers.iter().map(busy_lanes).sum();
        page.one(
            "uptime_seconds",
            "gauge",
            "Since the master began.",
            tally.began.elapsed().as_secs_f64(),
        );
        page.one("workers", "gauge", "Workers that serve.", serving);
        page.one(
            "workers_target",
            "gauge",
            "Workers that there should be.",
            master.fleet().target(),
        );
        page.one(
            "busy",
            "gauge",
            "Requests that the application works on: busy workers, or threads of them.",
            busy,
        );
        if let Some(waiting) = process::backlog(self.listening()) {
            page.one(
                "queue_depth",
                "gauge",
                "Connections that wait to be accepted.",
                waiting,
            );
        }
        page.one(
            "reloads_total",
            "counter",
            "Reloads that succeeded.",
            tally.reloads,
        );
        page.one(
            "workers_spawned_total",
            "counter",
            "Workers that were started.",
            tally.spawned,
        );
        page.head(
            "worker_ends_total",
            "counter",
            "Workers that are gone, by reason.",
        );
        for (reason, count) in &tally.gone {
            page.line(
                "worker_ends_total",
                &format!("reason=\"{}\"", reason.name()),
                count,
            );
        }
        page.requests(&sums);
        page.head(
            "worker_memory_bytes",
            "gauge",
            "Memory of a worker: resident, and its share of what is shared.",
        );
        for worker in &workers {
            page.memory(worker);
        }
        page.head(
            "worker_requests_total",
            "counter",
            "Requests that a worker has served.",
        );
        for worker in &workers {
            let requests = worker.board.count(supervisor::Counter::Requests);
            page.line("worker_requests_total", &labels(worker), requests);
        }
        page.0
    }
}

/// How many of its threads work on a request.
pub(super) fn busy_lanes(worker: &WorkerInfo<'_>) -> usize {
    let lanes = worker.board.lanes().iter();
    lanes.filter(|lane| lane.busy_for().is_some()).count()
}

fn labels(worker: &WorkerInfo<'_>) -> String {
    let pid = worker.pid.map_or(0, |pid| pid.as_raw_pid());
    format!("worker=\"{}\",pid=\"{pid}\"", worker.id)
}

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(
            self.0,
            "# HELP {PREFIX}_{name} {help}\n# TYPE {PREFIX}_{name} {kind}"
        );
    }

    fn line(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = match labels {
            "" => writeln!(self.0, "{PREFIX}_{name} {value}"),
            labels => writeln!(self.0, "{PREFIX}_{name}{{{labels}}} {value}"),
        };
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.head(name, kind, help);
        self.line(name, "", value);
    }

    fn requests(&mut self, sums: &Sums) {
        self.one(
            "connections_total",
            "counter",
            "Connections accepted.",
            sums.accepts,
        );
        self.one(
            "requests_total",
            "counter",
            "Requests that are over.",
            sums.requests,
        );
        self.one(
            "requests_failed_total",
            "counter",
            "Requests answered with 5xx.",
            sums.failed,
        );
        self.head("responses_total", "counter", "Responses by kind of status.");
        for kind in 0..tally::STATUS_KINDS {
            let label = format!("status=\"{}xx\"", kind + 1);
            self.line(
                "responses_total",
                &label,
                sums.tallies[tally::STATUS + kind],
            );
        }
        let (buckets, sum) = (tally::LATENCY, tally::LATENCY_SUM);
        let help = "From the first byte of a request to the end of its response.";
        self.histogram(
            "request_duration_seconds",
            help,
            &tally::LATENCY_US,
            &sums.tallies[buckets..=sum],
        );
        let (buckets, sum) = (tally::QUEUE, tally::QUEUE_SUM);
        let help = "From the first byte of a request to the application.";
        self.histogram(
            "queue_wait_seconds",
            help,
            &tally::QUEUE_US,
            &sums.tallies[buckets..=sum],
        );
    }

    /// `numbers`: the buckets, one more than there are ends, and the sum in microseconds.
    fn histogram(&mut self, name: &str, help: &str, ends: &[u64], numbers: &[u64]) {
        self.head(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        let mut count = 0;
        for (place, number) in numbers[..=ends.len()].iter().enumerate() {
            count += number;
            let end = ends.get(place).map(|end| *end as f64 / 1e6);
            let end = end.map_or_else(|| "+Inf".to_owned(), |end| end.to_string());
            self.line(&bucket, &format!("le=\"{end}\""), count);
        }
        let sum = numbers.last().copied().unwrap_or(0);
        self.line(&format!("{name}_sum"), "", sum as f64 / 1e6);
        self.line(&format!("{name}_count"), "", count);
    }

    fn memory(&mut self, worker: &WorkerInfo<'_>) {
        let pid = worker.pid.map(|pid| pid.as_raw_pid().unsigned_abs());
        let Some((resident, share)) = pid.and_then(process::memory) else {
            return;
        };
        let labels = labels(worker);
        self.line(
            "worker_memory_bytes",
            &format!("{labels},kind=\"resident\""),
            resident,
        );
        if let Some(share) = share {
            self.line(
                "worker_memory_bytes",
                &format!("{labels},kind=\"proportional\""),
                share,
            );
        }
    }
}

/// A phase as the control socket tells it.
pub(super) fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Spawning => "spawning",
        Phase::Booting => "booting",
        Phase::Serving => "serving",
        Phase::Ending(_) => "ending",
        Phase::Aborted => "aborted",
        _ => "killed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_add_up() {
        let mut page = Page(String::new());
        page.histogram("t", "h", &[1_000, 500_000], &[2, 1, 4, 9_500_000]);
        let lines: Vec<_> = page.0.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "appserver_t_bucket{le=\"0.001\"} 2",
                "appserver_t_bucket{le=\"0.5\"} 3",
                "appserver_t_bucket{le=\"+Inf\"} 7",
                "appserver_t_sum 9.5",
                "appserver_t_count 7",
            ]
        );
    }
}
