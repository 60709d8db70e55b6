//! What happens when a response is over: `close()`, kept callables, files.

use super::*;

#[test]
fn close_is_called_whatever_happens() {
    let source = "
closed = []
class Items:
    def __init__(self, path): self.path, self.n = path, 0
    def __iter__(self): return self
    def __next__(self):
        self.n += 1
        if self.path == '/raises' and self.n == 2: raise ValueError('x')
        if self.path == '/early': raise ValueError('x')
        if self.n > 3: raise StopIteration
        return b'item'
    def close(self): closed.append(self.path)
def app(environ, start_response):
    if environ['PATH_INFO'] == '/closed':
        start_response('200 OK', [])
        return [','.join(sorted(closed)).encode()]
    start_response('200 OK', [('Content-Length', '12')] if environ['PATH_INFO'] == '/length' else [])
    return Items(environ['PATH_INFO'])
";
    both(source, |server| {
        for path in ["/whole", "/raises", "/early", "/length"] {
            server.get(path);
        }
        server.ask("HEAD /head HTTP/1.1\r\nHost: a\r\n\r\n");
        server.finished(5);
        // One that promised its length is closed when the client has everything, maybe later.
        let all = "/early,/head,/length,/raises,/whole";
        let closed = (0..500).find(|_| server.get("/closed").text() == all);
        assert!(closed.is_some(), "{}", server.get("/closed").text());
    });
}

#[test]
fn close_is_called_when_the_client_leaves() {
    let source = "
closed = []
class Endless:
    def __iter__(self):
        while True: yield bytes(100000)
    def close(self): closed.append('closed')
def app(environ, start_response):
    start_response('200 OK', [])
    return [','.join(closed).encode()] if environ['PATH_INFO'] == '/closed' else Endless()
";
    both(source, |server| {
        let mut client = server.connect();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.head();
        assert!(client.chunk().is_some());
        drop(client);
        let lines = server.finished(1);
        assert_eq!(lines[0].outcome, "ClientGone");
        let closed = (0..500).find(|_| server.get("/closed").text() == "closed");
        assert!(closed.is_some(), "close() is called");
    });
}

#[test]
fn what_follows_the_last_item_runs_after_the_client_has_everything() {
    let (_folder, gate, source) = with_gate(
        "
def app(environ, start_response):
    start_response('200 OK', [('Content-Length', '4')])
    yield b'done'
    open('{}').read()
    environ['wsgi.errors'].write('afterwards')
",
    );
    for threads in [1, 2] {
        let server = Server::with(&source, Settings::default(), threads);
        assert_eq!(server.get("/").text(), "done");
        assert!(!server.seen.logged("afterwards"));
        open_gate(&gate);
        server.await_log("afterwards");
    }
}

#[test]
fn a_kept_start_response_reaches_no_other_request() {
    let source = "
kept = []
def app(environ, start_response):
    if environ['PATH_INFO'] == '/use':
        try: kept[0]('200 OK', [('X-Wrong', '1')])
        except AssertionError as error: kept.append(str(error))
        start_response('200 OK', [])
        return [kept[-1].encode()]
    kept.append(start_response)
    start_response('200 OK', [])
    return [b'kept']
";
    both(source, |server| {
        assert_eq!(server.get("/").text(), "kept");
        let answer = server.get("/use");
        assert_eq!(
            (answer.text().as_str(), answer.field("x-wrong")),
            ("start_response() called after the request ended", None)
        );
    });
}

#[test]
fn wrapped_files_are_sent_from_where_they_stand_and_closed() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let content: Vec<u8> = (0..300_000_u32).map(|n| (n / 7 % 251) as u8).collect();
    std::fs::write(folder.path().join("file"), &content).expect("writes");
    let source = format!(
        "
import io
opened = []
def app(environ, start_response):
    kind = environ['PATH_INFO']
    if kind == '/closed':
        start_response('200 OK', [])
        return [repr([file.closed for file in opened]).encode()]
    file = open('{}', 'rb')
    opened.append(file)
    headers = []
    if kind == '/offset': file.read(1000)
    if kind == '/length': headers = [('Content-Length', '5000')]
    if kind == '/longer': headers = [('Content-Length', '400000')]
    if kind == '/memory': file = io.BytesIO(file.read())
    start_response('304 Not Modified' if kind == '/unchanged' else '200 OK', headers)
    return environ['wsgi.file_wrapper'](file, 65536)
",
        folder.path().join("file").display()
    );
    both(&source, |server| {
        let mut client = server.connect();
        let mut ask = |method: &str, target: &str| {
            client.send(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
            let answer = client.answer(method == "HEAD");
            let framing = answer
                .field("content-length")
                .or(answer.field("transfer-encoding"))
                .map(str::to_owned);
            (answer.body, framing)
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(ask("GET", "/whole"), (content.clone(), text("300000")));
        assert_eq!(
            ask("GET", "/offset"),
            (content[1000..].to_vec(), text("299000"))
        );
        assert_eq!(
            ask("GET", "/length"),
            (content[..5000].to_vec(), text("5000"))
        );
        assert_eq!(ask("HEAD", "/whole"), (vec![], text("300000")));
        assert_eq!(ask("GET", "/unchanged"), (vec![], None));
        let (memory, framing) = ask("GET", "/memory");
        assert_eq!((memory.len(), framing), (300_000, text("chunked")));
        assert_eq!(
            ask("GET", "/closed").0,
            b"[True, True, True, True, True, False]"
        );
        assert!(server.get("/longer").cut);
    });
}
