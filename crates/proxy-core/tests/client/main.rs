//! Exchanges with an origin server that follows a script.

#[path = "../support/mod.rs"]
mod support;

mod errors;
mod pool;
mod relay;
mod requests;
mod responses;
mod tunnels;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body::Body as _;
use http_wire::Known;
use http_wire::head::{RequestHead, ResponseHead, Target, TargetRule};
use proptest::prelude::*;
use proxy_core::body::{Body, BodyError};
use proxy_core::client::{
    Answer, Blame, Cause, ClientError, Outgoing, Phase, Pool, PoolSettings, Settings, Upload,
    connect, tunnel,
};
use proxy_core::server::{Address, Request, Socket, TunnelEnd, Upgraded};
use support::{Client, Scripted, field, limits, text, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// An origin server on loopback.
struct OriginServer {
    listener: TcpListener,
    address: Address,
}

impl OriginServer {
    async fn new() -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .unwrap();
        let address = Address::Inet(listener.local_addr().unwrap());
        Self { listener, address }
    }

    async fn accept(&self) -> Talk {
        Talk(self.listener.accept().await.unwrap().0)
    }
}

/// The origin server's end of a connection.
struct Talk(TcpStream);

impl Talk {
    async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.expect("a request"));
        }
        String::from_utf8(head).unwrap()
    }

    async fn exactly(&mut self, bytes: usize) -> String {
        let mut content = vec![0; bytes];
        self.0.read_exact(&mut content).await.unwrap();
        String::from_utf8(content).unwrap()
    }

    async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Reads until the peer closes.
    async fn ended(&mut self) -> bool {
        let mut rest = Vec::new();
        let _ = self.0.read_to_end(&mut rest).await;
        rest.is_empty()
    }
}

fn request(method: Method, target: &str) -> RequestHead {
    let target = Target::parse(target.as_bytes(), &method, &TargetRule::default()).unwrap();
    let mut head = RequestHead {
        method,
        target,
        ..RequestHead::default()
    };
    head.fields.append(Known::Host, "origin.example").unwrap();
    head
}

fn settings() -> Settings {
    Settings {
        read_timeout: Duration::from_secs(20),
        ..Settings::default()
    }
}

async fn ask(
    pool: &Pool,
    address: &Address,
    method: Method,
    upload: &mut Upload,
) -> Result<Answer, ClientError> {
    let head = request(method, "/path");
    pool.exchange(
        address,
        Outgoing {
            head: &head,
            interim: None,
        },
        upload,
        &settings(),
    )
    .await
}

async fn get(pool: &Pool, address: &Address) -> Result<Answer, ClientError> {
    ask(pool, address, Method::GET, &mut Upload::Empty).await
}

/// All of a body.
async fn read(mut body: Body) -> Result<Vec<u8>, BodyError> {
    let mut all = Vec::new();
    while let Some(frame) =
        std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await
    {
        all.extend_from_slice(&frame?.into_data().unwrap());
    }
    Ok(all)
}
