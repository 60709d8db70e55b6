//! An ASGI application of Django in an axum router: the routes of the program go first, all others are Django's.
//!
//! ```console
//! $ VIRTUAL_ENV=/srv/venv cargo run -p asgi-bridge --example axum_django_asgi -- django_site:asgi crates/wsgi-bridge/examples/axum_django
//! http://127.0.0.1:40123
//! ```
//!
//! The arguments: the application, and the folder to import it from. axum accepts the connections; the application runs on an event
//! loop on a thread of its own. WebSockets are not passed on: they need a connection of `proxy_core::server`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use asgi_bridge::{AsgiService, Beside, Settings};
use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use proxy_core::server::{Address, Connection};
use proxy_core::tower::Handler;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use wsgi_bridge::{Hooks, Level, embedded};

/// How long the application may take to end.
const SHUTDOWN: Duration = Duration::from_secs(10);

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
        return Err("usage: axum_django_asgi MODULE:APPLICATION FOLDER".into());
    };
    Python::initialize();
    let (beside, service) = Python::attach(|py| start(py, &name, &folder))?;
    service.set_runtime(tokio::runtime::Handle::current());

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
    Python::attach(|py| beside.end(py));
    Ok(())
}

fn start(py: Python<'_>, name: &str, folder: &str) -> PyResult<(Beside, AsgiService)> {
    embedded::use_environment(py, std::env::var_os("VIRTUAL_ENV").map(Into::into))?;
    embedded::import_from(py, folder.as_ref())?;
    let application = embedded::load(py, name)?;
    let settings = Settings::default();
    let (kind, lifespan) = ("auto".to_owned(), "auto".to_owned());
    Beside::start(
        py,
        application,
        settings,
        Arc::new(Log),
        kind,
        lifespan,
        SHUTDOWN,
    )
    .map_err(PyRuntimeError::new_err)
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
