//! A folder served by an axum application, under a prefix, beside a route of its own.
//!
//! `cargo run -p static-files --example axum_static -- FOLDER [ADDRESS]`

use std::path::Path;

use axum::Router;
use axum::routing::get;
use static_files::{ListingOptions, Root, ServeDir, Symlinks, Variants};

/// `/assets/…` is the folder; `/` is the application.
pub fn application(folder: impl AsRef<Path>) -> Router {
    let assets = ServeDir::of(Root::options().symlinks(Symlinks::Beneath).root(folder))
        .with_variants(Variants::default())
        .with_listing(ListingOptions::default());
    Router::new()
        .route("/", get(|| async { "hello" }))
        .nest_service("/assets", assets)
}

#[tokio::main]
#[allow(dead_code, reason = "the tests call the application, not the program")]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let Some(folder) = arguments.next() else {
        eprintln!("usage: axum_static FOLDER [ADDRESS]");
        std::process::exit(2);
    };
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("http://{}/assets/", listener.local_addr()?);
    axum::serve(listener, application(folder)).await
}
