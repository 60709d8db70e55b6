//! Passes every request on to one origin server, for measuring.
//!
//! `cargo run --release --example relay -- 127.0.0.1:8080 127.0.0.1:9000` (or `unix:/path/to.sock` as origin server)

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http_wire::Known;
use http_wire::head::RequestHead;
use proxy_core::client::{ClientError, Outgoing, Pool, PoolSettings, Settings, Upload, tunnel};
use proxy_core::server::{
    Address, Connection, Drain, Limits, Listener, Refusal, Request, Response, Sent, Service,
};

struct Relay {
    origin: Address,
    pool: Pool,
    settings: Settings,
    limits: Arc<Limits>,
}

impl Relay {
    async fn answer(&self, request: Request) -> Result<Response, ClientError> {
        let Request {
            mut head, content, ..
        } = request;
        let upgrades = head.fields.contains(Known::Upgrade);
        head.fields.remove(Known::Connection);
        head.fields.remove(Known::Expect);
        if upgrades {
            let _ = head.fields.append(Known::Connection, "upgrade");
        }
        let mut upload = if content.is_end() {
            Upload::Empty
        } else {
            Upload::Content(content)
        };
        let outgoing = Outgoing {
            head: &head,
            interim: None,
        };
        let answer = self
            .pool
            .exchange(&self.origin, outgoing, &mut upload, &self.settings)
            .await?;
        let mut response = Response::new(answer.head.status);
        response.fields = answer.head.fields;
        response.body = answer.body;
        response.upgrade = answer.upgraded.map(|origin| {
            let taker: proxy_core::server::UpgradeFn =
                Box::new(move |client| Box::pin(tunnel(client, origin, Duration::from_secs(60))));
            taker
        });
        Ok(response)
    }
}

impl Service for Relay {
    type Record = ();

    fn limits(&self, _connection: &Connection) -> Arc<Limits> {
        self.limits.clone()
    }

    async fn serve(&self, request: Request) -> (Response, ()) {
        let response = self.answer(request).await.unwrap_or_else(|error| {
            let mut response = Response::new(StatusCode::BAD_GATEWAY);
            response.body = format!("{error}\n").into();
            response
        });
        (response, ())
    }

    fn refuse(
        &self,
        refusal: &Refusal,
        _head: &RequestHead,
        _connection: &Arc<Connection>,
    ) -> Option<(Response, ())> {
        Some((Response::new(refusal.status()), ()))
    }

    fn sent(&self, (): (), _sent: &Sent) {}
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".into());
    let origin = arguments.next().unwrap_or_else(|| "127.0.0.1:9000".into());
    let origin = match origin.strip_prefix("unix:") {
        Some(path) => Address::Unix(Some(std::path::Path::new(path).into())),
        None => Address::Inet(origin.parse()?),
    };
    let limits = Arc::new(Limits {
        keep_alive_requests: u64::MAX,
        ..Limits::default()
    });
    let pool = Pool::new(PoolSettings {
        idle_max: 64,
        requests_max: u64::MAX,
        ..PoolSettings::default()
    });
    let relay = Arc::new(Relay {
        origin,
        pool,
        settings: Settings::default(),
        limits,
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = Listener::new(std::net::TcpListener::bind(&address)?)?;
        println!("http://{address}/");
        listener.serve(relay, &Drain::new()).await
    })?;
    Ok(())
}
