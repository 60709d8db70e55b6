//! What settings mean together, once all places have been read.

use serde_json::Value;

use super::{Environment, Fault, Resolved, folder};

impl Resolved {
    /// What depends on several settings, or on the machine.
    pub(super) fn finish(
        &mut self,
        environment: &Environment,
        application: Option<&str>,
    ) -> Result<(), Fault> {
        self.worker_class()?;
        self.asgi_beside()?;
        self.http2();
        self.ciphers();
        self.connections();
        self.uwsgi()?;
        for pair in self.list("raw_env") {
            if pair.split_once('=').is_none_or(|(name, _)| name.is_empty()) {
                let at = self.origin("raw_env");
                return Err(Fault::new(format!(
                    "{at}environment setting '{pair}' invalid: raw_env (-e/--env) takes NAME=VALUE"
                )));
            }
        }
        let folder = folder(environment, self.text("chdir"), &self.origin("chdir"))?;
        self.set("chdir", folder.to_string_lossy().into_owned());
        let named = application
            .map(str::to_owned)
            .or_else(|| self.text("wsgi_app").map(str::to_owned));
        self.application = named.unwrap_or_default();
        Ok(())
    }

    /// Versions of HTTP have small letters, and none means the first; notes what will never be spoken.
    fn http2(&mut self) {
        let named = self.list("http_protocols");
        let named = named.iter().map(|name| name.trim().to_ascii_lowercase());
        let mut named: Vec<String> = named.filter(|name| !name.is_empty()).collect();
        if named.is_empty() {
            named.push("h1".to_owned());
        }
        let speaks = named.iter().any(|name| name == "h2");
        self.set("http_protocols", named);
        let off = self.text("http2_cleartext").unwrap_or("off") == "off";
        if speaks && off && !self.is_encrypted() {
            self.notes.push(
                "http_protocols includes h2, but there is no TLS (certfile) and http2_cleartext is off: HTTP/2 will never be spoken"
                    .to_owned(),
            );
        }
    }

    /// Notes what of a list of ciphers is spoken: not every suite of OpenSSL's is there.
    fn ciphers(&mut self) {
        let Some(list) = self.text("ciphers") else {
            return;
        };
        let chosen = appserver_protocol::ciphers::chosen(list);
        self.notes.push(match chosen.is_empty() {
            true => format!(
                "ciphers (--ciphers) \"{list}\" names no suite of TLS 1.2 that is spoken here; all of those are: ECDHE with AES-GCM or ChaCha20"
            ),
            false => format!(
                "ciphers (--ciphers): with TLS 1.2 {} are spoken, and TLS 1.3 besides",
                chosen.join(", ")
            ),
        });
    }

    /// What cannot be spoken by gateways that speak the uwsgi protocol.
    fn uwsgi(&self) -> Result<(), Fault> {
        if self.text("protocol") != Some("uwsgi") {
            return Ok(());
        }
        let speaks_h2 = self.list("http_protocols").iter().any(|name| name == "h2");
        let with = if self.is_encrypted() {
            "certfile"
        } else if speaks_h2
            || self
                .text("http2_cleartext")
                .is_some_and(|mode| mode != "off")
        {
            "HTTP/2 (http_protocols, http2_cleartext)"
        } else if self
            .text("proxy_protocol")
            .is_some_and(|mode| mode != "off")
        {
            "proxy_protocol"
        } else {
            return Ok(());
        };
        Err(Fault::new(format!(
            "protocol (--protocol) uwsgi cannot be used together with {with}: packets come first and in the clear; leave one of them out"
        )))
    }

    fn worker_class(&mut self) -> Result<(), Fault> {
        let class = self.text("worker_class").unwrap_or("sync");
        // Python shows a class as <class 'module.Name'>.
        let class = class
            .strip_prefix("<class '")
            .and_then(|class| class.strip_suffix("'>"))
            .unwrap_or(class)
            .to_owned();
        let ours = match class.as_str() {
            "sync" | "gunicorn.workers.sync.SyncWorker" | "egg:gunicorn#sync" => "sync",
            "gthread" | "gunicorn.workers.gthread.ThreadWorker" | "egg:gunicorn#gthread" => {
                "gthread"
            }
            "asgi" | "gunicorn.workers.gasgi.ASGIWorker" | "egg:gunicorn#asgi" => "asgi",
            "uvicorn.workers.UvicornWorker"
            | "uvicorn.workers.UvicornH11Worker"
            | "uvicorn_worker.UvicornWorker"
            | "uvicorn_worker.UvicornH11Worker" => &class,
            // The template knows what it derives from.
            other if may_derive(other) => return self.own_class(class),
            other => {
                return Err(Fault::new(format!(
                    "worker_class (-k) \"{other}\" is refused: {}",
                    no_class(other)
                )));
            }
        };
        let threaded = self.number("threads") > 1;
        let asgi = ours == "asgi" || ours.starts_with("uvicorn");
        if threaded && asgi {
            self.notes.push(format!(
                "threads is {}, but workers of class {ours} have one thread with an event loop; it is not used",
                self.number("threads")
            ));
        }
        let ours = if threaded && !asgi { "gthread" } else { ours }.to_owned();
        // uvicorn's class with this name is that with asyncio's loop, also where uvloop is installed.
        if ours.ends_with(".UvicornH11Worker") && self.text("asgi_loop") == Some("auto") {
            self.set("asgi_loop", "asyncio".to_owned());
        }
        self.set("worker_class", ours);
        Ok(())
    }

    /// A class of somebody's own: settings that depend on what it derives from wait for the template.
    fn own_class(&mut self, class: String) -> Result<(), Fault> {
        self.set("worker_class", class);
        Ok(())
    }

    /// What belongs to an ASGI application beside a WSGI one.
    fn asgi_beside(&mut self) -> Result<(), Fault> {
        let paths = self.list("asgi_paths");
        let Some(beside) = self.text("asgi_app").filter(|name| !name.is_empty()) else {
            self.set("asgi_app", Value::Null);
            return match paths.first() {
                Some(path) => Err(Fault::new(format!(
                    "asgi_paths (--asgi-path) has '{path}', but there is no ASGI application for it: name one with asgi_app (--asgi), \
                     or leave it out"
                ))),
                None => Ok(()),
            };
        };
        let class = self.text("worker_class").unwrap_or_default();
        if class == "asgi" || class.starts_with("uvicorn") {
            return Err(Fault::new(format!(
                "asgi_app (--asgi) is '{beside}', but with worker_class (-k) {class} the one application is an ASGI one already: leave \
                 --asgi out, or leave -k out and name the WSGI application"
            )));
        }
        match paths.iter().find(|path| !path.starts_with('/')) {
            Some(path) => Err(Fault::new(format!(
                "asgi_paths (--asgi-path) has '{path}', which no path begins with: paths begin with /"
            ))),
            None => Ok(()),
        }
    }
}

/// Can this be the dotted name of a class that derives from one of gunicorn's or uvicorn's?
fn may_derive(class: &str) -> bool {
    class.contains('.') && !class.starts_with("gunicorn.workers.") && !is_green(class)
}

fn is_green(class: &str) -> bool {
    let lower = class.to_ascii_lowercase();
    ["gevent", "eventlet", "tornado"]
        .iter()
        .any(|name| lower.contains(name))
}

fn no_class(class: &str) -> &'static str {
    if is_green(class) {
        "workers with green threads do not exist here, and slow clients cost no thread; use gthread with --threads"
    } else {
        "there is no such class of workers; there are sync, gthread, asgi, uvicorn.workers.UvicornWorker and classes that derive from \
         gunicorn's or uvicorn's, by their dotted names"
    }
}
