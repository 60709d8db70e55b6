//! A Django application in an axum router: the routes of the program go first, all others are Django's.
//!
//! ```console
//! $ VIRTUAL_ENV=/srv/venv cargo run -p wsgi-bridge --example axum_django -- django_site:application crates/wsgi-bridge/examples/axum_django
//! http://127.0.0.1:40123
//! ```
//!
//! The arguments: the application, and the folder to import it from. axum accepts the connections; the application runs on Python threads
//! beside axum's own, so that its views may block. `check.py` asks this program what a browser would.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use proxy_core::server::{Address, Connection};
use proxy_core::tower::Handler;
use pyo3::prelude::*;
use wsgi_bridge::{Hooks, Level, Settings, WsgiService, embedded};

/// Python threads: so many requests are in the application at a time.
const THREADS: usize = 4;

/// Where the application's failures are told.
struct Log;

impl Hooks for Log {
    fn log(&self, level: Level, message: &str) {
        eprintln!("{} {message}", level.as_str());
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let (Some(name), Some(folder)) = (words.next(), words.next()) else {
        return Err("usage: axum_django MODULE:APPLICATION FOLDER".into());
    };
    Python::initialize();
    let service = Python::attach(|py| -> PyResult<WsgiService> {
        embedded::use_environment(py, std::env::var_os("VIRTUAL_ENV").map(Into::into))?;
        embedded::import_from(py, folder.as_ref())?;
        let application = embedded::load(py, &name)?;
        let settings = Settings {
            server: None,
            ..Settings::default()
        };
        WsgiService::new(py, application, settings, Arc::new(Log), THREADS)
    })?;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let local = listener.local_addr()?;
    let django = Handler::new(Arc::new(service), local.into(), local.into());
    let router = Router::new()
        .route("/native", get(|| async { "axum itself" }))
        .fallback_service(django)
        // REMOTE_ADDR is the client's then, not what the handler was told above.
        .layer(from_fn(move |request, next| peer(local, request, next)));
    println!("http://{local}");
    let router = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, router).await?;
    Ok(())
}

/// Tells Django where the request came from.
async fn peer(local: SocketAddr, mut request: Request, next: Next) -> Response {
    if let Some(&ConnectInfo(client)) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
        let (client, local): (Address, Address) = (client.into(), local.into());
        let connection = Arc::new(Connection::new(client, local, false));
        request.extensions_mut().insert(connection);
    }
    next.run(request).await
}
