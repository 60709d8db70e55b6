//! `index`: which file stands for a directory. Phase: content.

use std::sync::Arc;

use http::{Method, StatusCode};
use nginx_conf::{Arity, List, Repeat};

use crate::engine::compile::Settling;
use crate::engine::exchange::Exchange;
use crate::engine::files::numbered;
use crate::engine::logs::Level;
use crate::engine::scopes::HTTP_SERVER_LOCATION;
use crate::engine::variables::Template;
use crate::feature::{Directive, Feature, Flow, Handler, Phase, Try, Turn};

/// The feature.
pub struct Index;

/// What the block says.
#[derive(Default)]
pub struct Written {
    files: List<nginx_conf::Template>,
}

/// What requests read: the files to try, in order.
pub struct Settled {
    files: Vec<Template>,
}

impl Feature for Index {
    type Written = Written;
    type Settled = Settled;
    const NAME: &'static str = "index";
    const DIRECTIVES: &'static [Directive<Written>] = &[Directive {
        name: "index",
        scopes: HTTP_SERVER_LOCATION,
        args: Arity::at_least(1),
        repeat: Repeat::Many,
        syntax: "file ...",
        default: "index.html",
        doc: "The files that stand for a directory; the first that exists is served by an internal redirect.",
        read: |args, written| {
            for arg in args.rest() {
                written.files.push(arg.template()?)?;
            }
            Ok(())
        },
        ..Directive::DEFAULT
    }];
    const PHASES: &'static [(Phase, Handler<Settled>)] = &[(Phase::Content, Handler::Try(find))];

    fn settle(
        &self,
        written: Written,
        outer: Option<&Arc<Settled>>,
        at: &mut Settling<'_>,
    ) -> Arc<Settled> {
        if let (true, Some(outer)) = (written.files.is_empty(), outer) {
            return Arc::clone(outer);
        }
        let mut files: Vec<Template> = written.files.iter().map(|file| at.template(file)).collect();
        if files.is_empty() {
            files.push(at.literal("index.html"));
        }
        Arc::new(Settled { files })
    }
}

fn find<'a>(settled: &'a Settled, exchange: &'a mut Exchange) -> Try<'a> {
    let method = &exchange.request.head.method;
    if !exchange.uri.path.ends_with(b"/")
        || !matches!(*method, Method::GET | Method::HEAD | Method::POST)
    {
        return Try::Settled(Flow::Next);
    }
    Try::Waiting(Box::pin(async move {
        for file in &settled.files {
            let name = exchange.expand(file);
            if name.starts_with(b"/") {
                return Flow::Turn(Turn::Uri {
                    path: name,
                    args: None,
                });
            }
            let mut path = exchange.uri.path.clone();
            path.extend_from_slice(&name);
            let mut part = exchange.file_part().to_vec();
            part.extend_from_slice(&name);
            let place = exchange.place_of(part.into()).into_owned();
            match place.root.metadata(&place.below).await {
                Ok(found) if found.is_file() => return Flow::Turn(Turn::Uri { path, args: None }),
                Err(error) if error.status() == StatusCode::FORBIDDEN => {
                    exchange.log_refusal(Level::Error, place, error).await;
                    return Flow::status(StatusCode::FORBIDDEN);
                }
                Ok(_) | Err(_) => {}
            }
        }
        missing(exchange).await
    }))
}

/// No index: the directory exists and may not be listed, or is not there at all.
async fn missing(exchange: &mut Exchange) -> Flow {
    let place = exchange.place().into_owned();
    let path = String::from_utf8_lossy(&exchange.file_path()).into_owned();
    match place.root.metadata(&place.below).await {
        Ok(found) if found.is_dir() => {
            exchange.log_error(format_args!(
                "directory index of \"{path}\" is forbidden; name an existing file in \"index\""
            ));
            Flow::status(StatusCode::FORBIDDEN)
        }
        Err(error) if error.status() == StatusCode::FORBIDDEN => {
            exchange.log_refusal(Level::Error, place, error).await;
            Flow::status(StatusCode::FORBIDDEN)
        }
        found => {
            if exchange.core().log_not_found {
                let why = found.err().map_or_else(
                    || "20: Not a directory".to_owned(),
                    |error| numbered(&error),
                );
                exchange.log(
                    Level::Error,
                    format_args!("\"{path}\" is not found ({why})"),
                );
            }
            Flow::status(StatusCode::NOT_FOUND)
        }
    }
}
