//! What a library user writes around the engine: files, logs, sockets. And clients and origin servers that speak bytes.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use nginx_conf::{SourceSet, Style};
use proxy_core::engine::Serving;
use proxy_core::engine::compile::{Compiled, Features, Outside};
use proxy_core::engine::logs::{self, ErrorLog, Level, LogFile};
use proxy_core::engine::ports::ListenAddress;
use proxy_core::engine::process::Process;
use proxy_core::engine::site::Site;
use proxy_core::engine::zones::Zones;
use proxy_core::feature::AnyFeature;
use proxy_core::features::access_log::AccessLog;
use proxy_core::features::headers::Headers;
use proxy_core::features::index::Index;
use proxy_core::features::proxy::Proxy;
use proxy_core::features::return_::Return;
use proxy_core::features::static_content::StaticContent;
use proxy_core::features::try_files::TryFiles;
use proxy_core::features::upstream::Upstream;
use proxy_core::server::{Drain, Listener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::probe::Probe;

/// The features of edge, and one of the test's own.
const FEATURES: &[&dyn AnyFeature] = &[
    &Process,
    &Upstream,
    &AccessLog,
    &Headers,
    &Return,
    &TryFiles,
    &Probe,
    &Proxy,
    &Index,
    &StaticContent,
];

struct Disk(PathBuf);

impl Outside for Disk {
    fn prefix(&self) -> &Path {
        &self.0
    }

    fn open_log(&self, path: &Path) -> io::Result<Arc<LogFile>> {
        let file = std::fs::File::options()
            .append(true)
            .create(true)
            .open(path)?;
        Ok(LogFile::new(path.to_owned(), file))
    }

    fn default_error_log(&self) -> ErrorLog {
        let file = self.open_log(&self.0.join("error.log"));
        ErrorLog::new(file.into_iter().map(|file| (Level::Info, file)).collect())
    }

    fn default_access_log(&self) -> Option<PathBuf> {
        None
    }
}

/// A directory with files, and a list of features.
pub struct World {
    directory: tempfile::TempDir,
    features: Features,
    pub zones: Arc<Zones>,
}

/// A site that is being served on a port of its own.
pub struct Running {
    pub serving: Serving,
    pub port: u16,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl World {
    pub fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            features: Features::new(FEATURES),
            zones: Arc::default(),
        }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file below the directory.
    pub fn put(&self, path: &str, text: &str) -> &Self {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    /// A log's text once it holds `text`.
    pub async fn log_with(&self, file: &str, text: &str) -> String {
        let path = self.path().join(file);
        let mut last = String::new();
        within(&format!("{file} to hold {text:?}"), async {
            loop {
                logs::flush();
                last = std::fs::read_to_string(&path).unwrap_or_default();
                if last.contains(text) {
                    break;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        last
    }

    /// Compiles a set of files, the main one first; the faults as lines.
    pub fn compile_files(&self, files: &[(&str, &str)]) -> Result<Compiled, String> {
        let root = self.path().to_str().unwrap();
        let files = files
            .iter()
            .map(|(path, text)| (*path, text.replace("{root}", root)));
        let (tree, mut faults) = SourceSet::of(files).parse();
        let outside = Disk(self.path().to_owned());
        let compiled = self
            .features
            .compile(&tree, &outside, &self.zones, &mut faults);
        compiled.ok_or_else(|| {
            faults
                .render("test", &tree.sources, Style::Line)
                .to_string()
        })
    }

    /// Compiles what stands in `http { … }`.
    pub fn compile(&self, http: &str, port: u16) -> Arc<Site> {
        let http = http.replace("{port}", &port.to_string());
        let text = format!("events {{}}\nhttp {{\n{http}\n}}\n");
        match self.compile_files(&[("/t/main.conf", &text)]) {
            Ok(compiled) => compiled.site,
            Err(faults) => panic!("{faults}\n{text}"),
        }
    }

    /// Serves what stands in `http { … }`; `{port}` is the port, `{root}` the directory.
    pub async fn serve(&self, http: &str) -> Running {
        let socket = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = socket.local_addr().unwrap();
        let serving = Serving::new(self.compile(http, address.port()));
        let service = Arc::new(serving.at(ListenAddress::Inet(address)));
        let listener = Listener::new(socket).unwrap();
        let drain = Drain::new();
        let task = tokio::spawn(async move {
            listener.serve(service, &drain).await.unwrap();
        });
        Running {
            serving,
            port: address.port(),
            task,
        }
    }

    /// Serves the directives of one server.
    pub async fn serve_one(&self, server: &str) -> Running {
        self.serve(&format!("server {{ listen 127.0.0.1:{{port}}; {server} }}"))
            .await
    }
}

/// Waits for something that is sure to come in a world that works.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let limit = std::time::Duration::from_secs(20);
    match tokio::time::timeout(limit, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// A response as it came.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        let fields = self
            .head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "));
        fields
            .filter(|(this, _)| this.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut reply = Self {
            status: head.get(9..12)?.parse().ok()?,
            head,
            body: bytes[end + 4..].to_vec(),
        };
        if reply.field("Transfer-Encoding").is_some() {
            reply.body = dechunked(&reply.body);
        }
        Some(reply)
    }
}

fn dechunked(mut coded: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    loop {
        let line = coded
            .windows(2)
            .position(|window| window == b"\r\n")
            .expect("a chunk");
        let size = usize::from_str_radix(std::str::from_utf8(&coded[..line]).unwrap(), 16).unwrap();
        if size == 0 {
            return content;
        }
        content.extend_from_slice(&coded[line + 2..line + 2 + size]);
        coded = &coded[line + 4 + size..];
    }
}

impl Running {
    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.unwrap()
    }

    /// Sends bytes on a connection of their own and reads to its end; `None` when there was no answer.
    pub async fn raw(&self, bytes: impl AsRef<[u8]>) -> Option<Reply> {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_ref()).await.unwrap();
        let mut all = Vec::new();
        let _ = within("the end of the connection", stream.read_to_end(&mut all)).await;
        Reply::of(&all)
    }

    pub async fn get_at(&self, host: &str, target: &str) -> Reply {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        self.raw(request).await.expect("an answer")
    }

    pub async fn get(&self, target: &str) -> Reply {
        self.get_at("localhost", target).await
    }

    pub async fn post(&self, target: &str, content: &str) -> Reply {
        let length = content.len();
        let request = format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{content}"
        );
        self.raw(request).await.expect("an answer")
    }
}

type Talking = Pin<Box<dyn Future<Output = Option<TcpStream>> + Send>>;

/// An origin server that answers as a closure says; ends with the test's runtime.
pub struct Origin {
    pub port: u16,
    pub heads: Arc<Mutex<Vec<String>>>,
    pub connections: Arc<AtomicUsize>,
}

impl Origin {
    /// The closure gets the head of each request and the connection, and gives that back when it may carry another.
    pub async fn new<F, T>(answer: F) -> Self
    where
        F: Fn(String, TcpStream) -> T + Send + Sync + 'static,
        T: Future<Output = Option<TcpStream>> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let origin = Self {
            port: listener.local_addr().unwrap().port(),
            heads: Arc::default(),
            connections: Arc::default(),
        };
        let (heads, connections) = (origin.heads.clone(), origin.connections.clone());
        let answer: Arc<dyn Fn(String, TcpStream) -> Talking + Send + Sync> =
            Arc::new(move |head, stream| Box::pin(answer(head, stream)));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::Relaxed);
                let (heads, answer) = (heads.clone(), answer.clone());
                tokio::spawn(async move {
                    while let Some(head) = head_of(&mut stream).await {
                        heads.lock().unwrap().push(head.clone());
                        match answer(head, stream).await {
                            Some(same) => stream = same,
                            None => return,
                        }
                    }
                });
            }
        });
        origin
    }

    /// Gives the same answer to every request.
    pub async fn saying(answer: impl Into<Vec<u8>>) -> Self {
        let answer = Arc::new(answer.into());
        Self::new(move |_, mut stream| {
            let answer = answer.clone();
            async move {
                stream.write_all(&answer).await.ok()?;
                Some(stream)
            }
        })
        .await
    }

    /// Closes every connection as soon as it has a request.
    pub async fn closing() -> Self {
        Self::new(|_, _| async { None }).await
    }

    pub fn requests(&self) -> usize {
        self.heads.lock().unwrap().len()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn head_of(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// A port where nobody listens.
pub fn dead_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}
