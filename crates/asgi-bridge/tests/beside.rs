//! An application on a thread of its own, for connections that another thread serves.

mod common;

use std::ffi::CString;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use asgi_bridge::{Beside, Settings};
use common::{Client, Running, Seen, Told};
use proxy_core::server::{Accepted, Connection, Drain, Listener, serve_connection};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use tokio::sync::oneshot;

/// Requests of `/hold` hold the whole loop until something is put into `gate`.
const SOURCE: &str = "
import asyncio, queue
gate = queue.Queue()

async def app(scope, receive, send):
    if scope['type'] == 'lifespan':
        return
    told.append('begun ' + scope['path'])
    try:
        if scope['path'] == '/hold':
            gate.get()
        elif scope['path'] == '/wait':
            await asyncio.sleep(1000)
    except asyncio.CancelledError:
        told.append('cancelled ' + scope['path'])
        raise
    if scope['type'] == 'http':
        await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-length', b'0')]})
        await send({'type': 'http.response.body'})
";

struct Server {
    running: Running,
    module: Py<PyDict>,
    seen: Arc<Seen>,
}

impl Server {
    fn start() -> Self {
        Python::initialize();
        let seen = Arc::new(Seen::default());
        let (module, beside, service) = Python::attach(|py| {
            let module = PyDict::new(py);
            let told = Py::new(py, Told(seen.clone())).expect("is made");
            module.set_item("told", told).expect("sets");
            let source = CString::new(SOURCE).expect("has no NUL");
            py.run(&source, Some(&module), None).expect("runs");
            let app = module.get_item("app").expect("looks").expect("is there");
            let settings = Settings {
                disconnect_grace: Some(Duration::from_millis(1)),
                ..Settings::default()
            };
            let (beside, service) = Beside::start(
                py,
                app.unbind(),
                settings,
                seen.clone(),
                "asyncio".to_owned(),
                "auto".to_owned(),
                Duration::from_secs(30),
            )
            .expect("starts");
            (module.unbind(), beside, service)
        });
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let address = listener.local_addr().expect("has an address");
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("is made");
            service.set_runtime(runtime.handle().clone());
            let service = Arc::new(service);
            runtime.block_on(async {
                let listener = Listener::new(listener).expect("is a listener");
                let drain = Drain::new();
                let accepting = async {
                    loop {
                        let Accepted { socket, peer, .. } =
                            listener.accept().await.expect("accepts");
                        let local = listener.local().clone();
                        let connection = Arc::new(Connection::new(peer, local, false));
                        let served = serve_connection(socket, connection, service.clone(), &drain);
                        tokio::spawn(served);
                    }
                };
                tokio::select! {
                    () = accepting => {}
                    _ = stopped => {}
                }
            });
            Python::attach(|py| beside.end(py));
        });
        Self {
            running: Running::new(address, stop, thread),
            module,
            seen,
        }
    }

    fn ask(&self, path: &str, fields: &str) -> Client {
        let mut client = self.running.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        client
    }

    fn run(&self, code: &str) {
        let code = CString::new(code).expect("has no NUL");
        Python::attach(|py| py.run(&code, Some(self.module.bind(py)), None)).expect("runs");
    }

    fn told(&self, count: usize) -> Vec<String> {
        self.seen.told.wait(|told| told.len() >= count)
    }
}

#[test]
fn a_call_whose_client_left_before_it_began_is_cancelled() {
    let socket = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                  Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for fields in ["", socket] {
        let server = Server::start();
        let mut held = server.ask("/hold", "");
        assert_eq!(server.told(1), ["begun /hold"]);
        // The loop stands still: this one's call cannot begin before its client is gone.
        drop(server.ask("/wait", fields));
        server.seen.await_finished(1);
        server.run("gate.put(1)");
        assert_eq!(held.answer(false).status, 200);
        let told = server.told(3);
        assert_eq!(told[1..], ["begun /wait", "cancelled /wait"], "{fields}");
    }
}
