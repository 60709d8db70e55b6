//! The commands of the control socket: gunicorn's words, and shorter ones.

use std::path::PathBuf;

use serde_json::{Map, Value, json};
use supervisor::{Ending, Master, Signal, WorkerInfo};

use super::connection::framed;
use super::metrics::{busy_lanes, phase};
use super::process;
use super::tally::Reason;
use crate::server::Server;

/// Every command, with what it does.
const COMMANDS: [(&str, &str); 14] = [
    ("show all", "Every process"),
    (
        "show workers",
        "The workers: process, age, state, requests, memory",
    ),
    ("show stats", "What was counted since the start"),
    ("show config", "The settings in force"),
    ("show listeners", "Where the server listens"),
    (
        "show dirty",
        "gunicorn's second pool, which does not exist here",
    ),
    ("worker add [N]", "More workers"),
    ("worker remove [N]", "Fewer workers"),
    (
        "worker kill PID",
        "End a worker gracefully; another takes its place",
    ),
    ("reload", "As SIGHUP: new code and settings"),
    ("reopen", "As SIGUSR1: open the log files again"),
    ("shutdown [graceful|quick]", "End the server"),
    ("metrics", "The metrics, as Prometheus reads them"),
    ("help", "This list"),
];

impl Server {
    /// Answers a frame with a frame.
    pub(super) fn command(&mut self, text: &[u8], master: &mut Master) -> Vec<u8> {
        let question: Value = serde_json::from_slice(text).unwrap_or_default();
        let words: Vec<String> = question["command"]
            .as_str()
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .chain(question["args"].as_array().into_iter().flatten().map(plain))
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let id = &question["id"];
        let answer = match self.answer(&words, master) {
            Ok(data) => json!({"id": id, "status": "ok", "data": data}),
            Err(error) => json!({"id": id, "status": "error", "error": error}),
        };
        framed(answer.to_string().as_bytes())
    }

    fn answer(&mut self, words: &[&str], master: &mut Master) -> Result<Value, String> {
        match words {
            ["show", "workers"] | ["workers"] => Ok(workers(master)),
            ["show", "stats"] | ["stats"] => Ok(self.stats(master)),
            ["show", "config"] | ["config"] => Ok(self.config(master)),
            ["show", "listeners"] | ["listeners"] => Ok(self.listeners()),
            ["show", "all"] | ["all"] => Ok(everything(master)),
            ["show", "dirty"] => {
                Ok(json!({"enabled": false, "pid": null, "workers": [], "apps": []}))
            }
            ["metrics"] => Ok(json!({"text": self.metrics_text(master)})),
            ["help"] => {
                let commands = COMMANDS.iter();
                let commands = commands.map(|(name, does)| ((*name).to_owned(), json!(does)));
                Ok(json!({"commands": commands.collect::<Map<_, _>>()}))
            }
            ["worker", "add", rest @ ..] => {
                let (before, count) = (master.fleet().target(), number(rest)?);
                self.resize(master, before + count);
                Ok(json!({"added": count, "previous": before, "total": before + count}))
            }
            ["worker", "remove", rest @ ..] => {
                let before = master.fleet().target();
                let total = before.saturating_sub(number(rest)?).max(1);
                self.resize(master, total);
                Ok(json!({"removed": before - total, "previous": before, "total": total}))
            }
            ["worker", "kill", pid] => self.kill(pid, master),
            ["reload"] => {
                self.handle(Signal::HUP, master);
                Ok(json!({"status": "reloading"}))
            }
            ["reopen"] => {
                self.handle(Signal::USR1, master);
                Ok(json!({"status": "reopening"}))
            }
            ["shutdown"] | ["shutdown", "graceful"] => {
                self.handle(Signal::TERM, master);
                Ok(json!({"status": "shutting_down", "mode": "graceful"}))
            }
            ["shutdown", "quick"] => {
                self.handle(Signal::INT, master);
                Ok(json!({"status": "shutting_down", "mode": "quick"}))
            }
            _ => Err(format!("Unknown command: {}; try help", words.join(" "))),
        }
    }

    fn kill(&mut self, pid: &str, master: &mut Master) -> Result<Value, String> {
        let wanted: i32 = pid
            .parse()
            .map_err(|_| format!("\"{pid}\" is no process id; see workers"))?;
        let found = master
            .workers()
            .find(|worker| worker.pid.is_some_and(|pid| pid.as_raw_pid() == wanted));
        let Some(worker) = found.map(|worker| worker.id) else {
            return Ok(json!({"success": false, "error": format!("Worker {wanted} not found")}));
        };
        self.ending_for(worker, Reason::Asked);
        master.order_end(worker, Ending::Graceful);
        Ok(json!({"success": true, "killed": wanted}))
    }

    fn stats(&self, master: &Master) -> Value {
        let tally = &self.tally;
        let mut sums = tally.before.clone();
        master.workers().for_each(|worker| sums.add(worker.board));
        let gone = tally.gone.iter();
        let ends: Map<_, _> = gone
            .map(|(reason, count)| (reason.name().to_owned(), json!(count)))
            .collect();
        let uptime = (tally.began.elapsed().as_secs_f64() * 100.0).round() / 100.0;
        json!({
            "uptime": uptime,
            "pid": std::process::id(),
            "workers_current": master.workers().count(),
            "workers_target": master.fleet().target(),
            "workers_spawned": tally.spawned,
            "workers_killed": tally.gone.values().sum::<u64>(),
            "worker_ends": ends,
            "reloads": tally.reloads,
            "requests": sums.requests,
            "requests_failed": sums.failed,
            "connections": sums.accepts,
            "busy": master.workers().map(|worker| busy_lanes(&worker)).sum::<usize>(),
            "queue_depth": process::backlog(self.listening()),
            "dirty_arbiter_pid": null,
        })
    }

    fn config(&self, master: &Master) -> Value {
        let settings = self.settings_in_force(master);
        let mut settings = settings.cloned().unwrap_or_default();
        if settings.get("control_socket").is_some_and(Value::is_null) {
            let path = super::default_path().map(PathBuf::into_os_string);
            let path = path.map(|path| path.to_string_lossy().into_owned());
            settings.insert("control_socket".to_owned(), json!(path));
        }
        Value::Object(settings)
    }

    fn listeners(&self) -> Value {
        let listeners: Vec<_> = self
            .listener_names()
            .into_iter()
            .map(|(address, kind, fd)| json!({"address": address, "type": kind, "fd": fd}))
            .collect();
        json!({"count": listeners.len(), "listeners": listeners})
    }
}

fn worker(worker: &WorkerInfo<'_>) -> Value {
    let pid = worker.pid.map(|pid| pid.as_raw_pid());
    let memory = pid.and_then(|pid| process::memory(pid.unsigned_abs()));
    let busy = worker.board.lanes().iter();
    let busy_for = busy.filter_map(|lane| Some((lane.busy_for()?, lane.note())));
    let oldest = busy_for.max_by_key(|(time, _)| *time);
    json!({
        "pid": pid,
        "age": worker.id.0,
        "generation": worker.generation.0,
        "state": phase(worker.phase),
        "booted": !matches!(worker.phase, supervisor::Phase::Spawning | supervisor::Phase::Booting),
        "aborted": matches!(worker.phase, supervisor::Phase::Aborted),
        "last_heartbeat": null,
        "requests": worker.board.count(supervisor::Counter::Requests),
        "busy": busy_lanes(worker),
        "oldest_request": oldest.as_ref().and_then(|(_, note)| note.clone()),
        "oldest_request_seconds": oldest.map(|(time, _)| time.as_secs_f64()),
        "memory": memory.map(|(resident, _)| resident),
        "memory_share": memory.and_then(|(_, share)| share),
    })
}

fn workers(master: &Master) -> Value {
    let list: Vec<_> = master.workers().map(|it| worker(&it)).collect();
    json!({"count": list.len(), "workers": list})
}

fn everything(master: &Master) -> Value {
    let list: Vec<_> = master.workers().map(|it| worker(&it)).collect();
    json!({
        "arbiter": {"pid": std::process::id(), "type": "arbiter", "role": "master"},
        "web_worker_count": list.len(),
        "web_workers": list,
        "dirty_arbiter": null,
        "dirty_worker_count": 0,
        "dirty_workers": [],
    })
}

fn number(words: &[&str]) -> Result<usize, String> {
    match words {
        [] => Ok(1),
        [word] => match word.parse::<usize>() {
            Ok(number) if (1..=1024).contains(&number) => Ok(number),
            _ => Err(format!("\"{word}\" is no number of workers from 1 to 1024")),
        },
        _ => Err("one number of workers is enough".to_owned()),
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
