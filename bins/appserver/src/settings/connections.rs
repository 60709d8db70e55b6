//! `worker_connections`: what it is where nobody says it, and what it means for kept connections.

use super::resolve::Resolved;

impl Resolved {
    /// What depends on the kind of worker.
    ///
    /// gunicorn's default holds for threads only. A worker with an event loop holds as many connections as the system allows:
    /// WebSockets stay open, and those who come from uvicorn or daphne know no limit.
    pub(super) fn connections(&mut self) {
        if self.has_event_loop() {
            if !self.is_written("worker_connections") {
                self.set("worker_connections", 0);
            }
            return;
        }
        let (most, threads) = (self.number("worker_connections"), self.number("threads"));
        if threads > 1 && (1..=threads).contains(&most) && self.number("keepalive") > 0 {
            self.notes.push(format!(
                "worker_connections ({most}) leaves nothing beyond the {threads} threads: no connection is kept after its response"
            ));
        }
    }

    fn has_event_loop(&self) -> bool {
        let class = self.text("worker_class").unwrap_or_default();
        class == "asgi" || class.starts_with("uvicorn") || self.text("asgi_app").is_some()
    }
}

#[cfg(test)]
mod tests {
    use appserver_protocol::ConfigValue;
    use serde_json::{Value, json};

    use super::super::{Environment, Resolved, Source, Written, resolve};

    fn resolved(values: Value) -> Resolved {
        let Value::Object(values) = values else {
            panic!("an object")
        };
        let plain = |(name, value)| (name, ConfigValue::Plain(value));
        let written = Written {
            source: Source::CommandLine,
            values: values.into_iter().map(plain).collect(),
            places: Default::default(),
        };
        let environment = Environment {
            folder: "/tmp".into(),
            ..Environment::default()
        };
        resolve(&environment, Some("app"), &[written]).unwrap()
    }

    #[test]
    fn an_event_loop_has_a_limit_only_where_it_is_written() {
        for (values, most) in [
            (json!({}), 1000),
            (json!({"worker_class": "asgi"}), 0),
            (json!({"worker_class": "uvicorn.workers.UvicornWorker"}), 0),
            (json!({"asgi_app": "chat", "threads": 4}), 0),
            (
                json!({"worker_class": "asgi", "worker_connections": 1000}),
                1000,
            ),
        ] {
            let found = resolved(values.clone());
            assert_eq!(found.number("worker_connections"), most, "{values}");
        }
    }

    #[test]
    fn no_more_connections_than_threads_are_told() {
        let told = |values| resolved(values).notes.join("\n");
        let few = json!({"threads": 4, "worker_connections": 4});
        assert!(told(few).contains("worker_connections (4) leaves nothing beyond the 4 threads"));
        assert_eq!(told(json!({"threads": 4, "worker_connections": 5})), "");
        let closing = json!({"threads": 4, "worker_connections": 4, "keepalive": 0});
        assert_eq!(told(closing), "");
    }
}
