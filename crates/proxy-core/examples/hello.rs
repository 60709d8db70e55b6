//! Answers every request with 1 KiB of text (or with the file given as second argument), for measuring.
//!
//! `cargo run --release --example hello -- 127.0.0.1:8080 [FILE]`

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http_wire::Known;
use http_wire::head::RequestHead;
use proxy_core::body::Body;
use proxy_core::server::{
    Connection, Drain, Limits, Listener, Refusal, Request, Response, Sent, Service,
};

struct Hello {
    text: Bytes,
    file: Option<std::path::PathBuf>,
    limits: Arc<Limits>,
}

impl Hello {
    fn body(&self) -> Body {
        let Some(path) = &self.file else {
            return Body::Bytes(self.text.clone());
        };
        let opened = std::fs::File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        match opened {
            Ok((length, file)) => static_files::FileBody::new(file, 0, length).into(),
            Err(_) => Body::Empty,
        }
    }
}

impl Service for Hello {
    type Record = ();

    fn limits(&self, _connection: &Connection) -> Arc<Limits> {
        self.limits.clone()
    }

    fn serve(&self, _request: Request) -> impl Future<Output = (Response, ())> + Send {
        let mut response = Response::new(StatusCode::OK);
        response
            .fields
            .append(Known::ContentType, "text/plain")
            .expect("a valid field");
        response.body = self.body();
        response.ending.server = Some("edge");
        std::future::ready((response, ()))
    }

    fn refuse(
        &self,
        refusal: &Refusal,
        _head: &RequestHead,
        _connection: &Arc<Connection>,
    ) -> Option<(Response, ())> {
        let mut response = Response::new(refusal.status());
        response.body = format!("{refusal}\n").into();
        Some((response, ()))
    }

    fn sent(&self, (): (), _sent: &Sent) {}
}

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".into());
    let limits = Arc::new(Limits {
        keep_alive_requests: u64::MAX,
        ..Limits::default()
    });
    let text = Bytes::from("x".repeat(1024));
    let hello = Arc::new(Hello {
        text,
        file: arguments.next().map(Into::into),
        limits,
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = Listener::new(std::net::TcpListener::bind(&address)?)?;
        println!("http://{address}/");
        listener.serve(hello, &Drain::new()).await
    })
}
