//! What the counting programs are put through: what browsers, proxies and applications do, each kind often enough to weigh something.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testkit::{Address, FreePort, TempPrefix};

use crate::bench::machine::Cores;
use crate::bench::{chat, server};
use crate::certificate;
use crate::process::{self, Guarded};

const APPLICATION: &str = include_str!("training.py");
/// How much of it.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// How often each kind of request is made.
    pub times: usize,
    /// How long messages go to and fro.
    pub seconds: u64,
}

impl Effort {
    /// Enough to weigh what is done often.
    pub const FULL: Effort = Effort {
        times: 3000,
        seconds: 2,
    };
    /// Whether all of it can be done.
    pub const QUICK: Effort = Effort {
        times: 20,
        seconds: 1,
    };
}

const CONNECTIONS: usize = 16;
const END_LIMIT: Duration = Duration::from_secs(60);
const CURL_LIMIT: &str = "120";

/// A browser says more than `curl` does.
const BROWSER: [&str; 6] = [
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-GB,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Cookie: sessionid=0123456789abcdefghijklmnopqrstuv; csrftoken=ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef",
    "Referer: http://127.0.0.1/prints/",
];

/// What it sends when somebody presses a button.
const FORM: &str =
    "sku=viaduct-print-7&quantity=2&csrfmiddlewaretoken=ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef";

const SERVERS: &str = "    upstream app { server unix:SOCKET; keepalive 16; }

    server {
        listen  LISTEN;
        location /static/ { alias  FILES; expires  30d; }
        location / {
            proxy_pass          http://app;
            proxy_http_version  1.1;
            proxy_set_header    Connection \"\";
            proxy_set_header    Host $host;
            proxy_set_header    X-Real-IP $remote_addr;
            proxy_set_header    X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header    X-Forwarded-Proto $scheme;
        }
        location /ws/ {
            proxy_pass          http://app;
            proxy_http_version  1.1;
            proxy_set_header    Upgrade $http_upgrade;
            proxy_set_header    Connection \"upgrade\";
        }
    }
";

/// Runs the programs in `folder` under every kind of load. Needs `curl` and `openssl`.
pub fn run(folder: &Path, effort: Effort) -> Result<(), String> {
    let told = |error: std::io::Error| error.to_string();
    let prefix = TempPrefix::new().map_err(told)?;
    prefix.write("training.py", APPLICATION).map_err(told)?;
    prefix.write("small", "x".repeat(1 << 10)).map_err(told)?;
    prefix.write("large", "x".repeat(100 << 10)).map_err(told)?;
    certificate::make(&prefix)?;
    let trainer = Trainer {
        folder,
        prefix,
        effort,
    };
    trainer.behind_a_front()?;
    trainer.alone(&["training:wsgi"])?;
    trainer.alone(&["training:wsgi", "--threads", "2"])?;
    trainer.alone(&["training:asgi", "-k", "asgi"])
}

struct Trainer<'a> {
    /// Where the programs are.
    folder: &'a Path,
    /// Where they run.
    prefix: TempPrefix,
    effort: Effort,
}

impl Trainer<'_> {
    /// edge, and appserver with both kinds of applications behind it.
    fn behind_a_front(&self) -> Result<(), String> {
        let socket = self.prefix.join("app.sock");
        let bind = format!("unix:{}", socket.display());
        let both = ["training:wsgi", "--asgi", "training:asgi"];
        let more = ["--asgi-path", "/ws/", "--access-logfile", "access.log"];
        let app = self.appserver(&[&both[..], &more, &["--bind", &bind]].concat());
        let app = self.start(app, &Address::Unix(socket.clone()))?;
        let port = FreePort::find().map_err(|error| error.to_string())?;
        let servers = SERVERS
            .replace("SOCKET", &socket.display().to_string())
            .replace("FILES", &format!("{}/", self.prefix.path().display()));
        let edge = self.folder.join("edge");
        let front = server::front(&edge, self.prefix.join("front"), &servers, port.address())?;
        let front = self.start(front, &Address::from(port.address()))?;
        let site = format!("http://{}", port.address());
        self.pages(&site, "--http1.1")?;
        self.ask(&site, "/static/small", &[])?;
        self.ask(&site, "/static/large", &[])?;
        let unchanged = "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT";
        self.ask(&site, "/static/small", &["-H", unchanged])?;
        self.ask(&site, "/static/large", &["-r", "1000-1999"])?;
        self.messages(port.address(), "/ws/")?;
        end([front, app])
    }

    /// appserver by itself, in the clear and encrypted.
    fn alone(&self, application: &[&str]) -> Result<(), String> {
        let certificate = ["--certfile", certificate::CERTIFICATE];
        let encrypted = [&certificate[..], &["--keyfile", certificate::KEY]].concat();
        for (scheme, more) in [("http", &[][..]), ("https", &encrypted)] {
            let port = FreePort::find().map_err(|error| error.to_string())?;
            let bind = port.address().to_string();
            let shared = ["--http-protocols", "h2,h1", "--bind", &bind];
            let app = self.appserver(&[application, &shared, more].concat());
            let app = self.start(app, &Address::from(port.address()))?;
            let site = format!("{scheme}://{bind}");
            self.pages(&site, "--http1.1")?;
            if scheme == "https" {
                self.pages(&site, "--http2")?;
            } else if application.contains(&"asgi") {
                self.messages(port.address(), "/")?;
            }
            end([app])?;
        }
        Ok(())
    }

    /// What an application is asked.
    fn pages(&self, site: &str, version: &str) -> Result<(), String> {
        let mut browser = vec![version];
        browser.extend(BROWSER.iter().flat_map(|line| ["-H", line]));
        self.ask(site, "/", &[version])?;
        self.ask(site, "/prints/7/", &browser)?;
        self.ask(site, "/pieces", &[version])?;
        browser.extend(["--data", FORM]);
        self.ask(site, "/cart", &browser)
    }

    /// The same request, again and again.
    fn ask(&self, site: &str, path: &str, more: &[&str]) -> Result<(), String> {
        process::check_interrupted()?;
        let mut curl = Command::new("curl");
        curl.args(["-sSfk", "--max-time", CURL_LIMIT, "-o", "/dev/null"])
            .args(more)
            .arg(format!("{site}{path}?n=[1-{}]", self.effort.times));
        process::output(&mut curl).map(drop)
    }

    fn messages(&self, address: SocketAddr, path: &str) -> Result<(), String> {
        let core = Cores::choose().load;
        for bytes in [64, 16 << 10] {
            let seconds = self.effort.seconds;
            let counted = chat::run(core, address, path, bytes, seconds, CONNECTIONS)?;
            if counted.errors > 0 {
                return Err(format!("{} messages were lost", counted.errors));
            }
        }
        Ok(())
    }

    fn appserver(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.folder.join("appserver"));
        command
            .args(arguments)
            .args(["--workers", "1"])
            .current_dir(self.prefix.path())
            .env("PWD", self.prefix.path())
            .env("XDG_RUNTIME_DIR", self.prefix.path())
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    fn start(&self, mut command: Command, listens: &Address) -> Result<Guarded, String> {
        let log = self.prefix.join("log");
        let mut started = Guarded::spawn_logged(&mut command, &log)?;
        match server::wait_for(listens, &mut started) {
            true => Ok(started),
            false => Err(format!(
                "it did not start\n$ {}\n{}",
                process::describe(&command),
                process::tail(&log, 20)
            )),
        }
    }
}

/// Ends them as an operator does: what was counted is written at the end.
fn end(servers: impl IntoIterator<Item = Guarded>) -> Result<(), String> {
    for mut server in servers {
        server.signal(rustix::process::Signal::TERM);
        let status = server.wait(END_LIMIT)?;
        process::success(status, "a server in training")?;
    }
    Ok(())
}
