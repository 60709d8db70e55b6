//! Files: what answers where nothing else does. Phase: content.

use std::sync::Arc;

use http::{Method, StatusCode};
use http_wire::Known;
use http_wire::conditional::ModifiedSince;
use http_wire::fields::Fields;
use http_wire::range::RangeLimits;
use static_files::{Lookup, OpenError, Opened, Plan, Remembered, Representation, Root, Rules};

use crate::body::Body;
use crate::engine::compile::Settling;
use crate::engine::core::IfModifiedSince;
use crate::engine::escape;
use crate::engine::exchange::Exchange;
use crate::engine::files::numbered;
use crate::engine::logs::Level;
use crate::engine::open_files;
use crate::engine::special;
use crate::feature::{Feature, Flow, Handler, Phase, Try};

/// The feature. It has no directives of its own: `root`, `alias`, `types` and their like are everybody's.
pub struct StaticContent;

impl Feature for StaticContent {
    type Written = ();
    type Settled = ();
    const NAME: &'static str = "static";
    const PHASES: &'static [(Phase, Handler<()>)] = &[(Phase::Content, Handler::Try(serve))];

    fn settle(&self, (): (), outer: Option<&Arc<()>>, _: &mut Settling<'_>) -> Arc<()> {
        outer.cloned().unwrap_or_default()
    }
}

fn serve<'a>(_: &'a (), exchange: &'a mut Exchange) -> Try<'a> {
    if !matches!(
        exchange.request.head.method,
        Method::GET | Method::HEAD | Method::POST
    ) {
        return Try::Settled(Flow::status(StatusCode::METHOD_NOT_ALLOWED));
    }
    if exchange.uri.path.ends_with(b"/") {
        return Try::Settled(Flow::Next);
    }
    let place = exchange.place();
    if let Some(found) = place.root.recall(&place.below) {
        return Try::Settled(answer(exchange, found));
    }
    match place.root.open_with(&place.below, Lookup::Cached) {
        Err(error) if error.would_block() => Try::Waiting(Box::pin(serve_patiently(exchange))),
        Err(error) => refuse(exchange, error),
        Ok(opened) => {
            let found = remember(opened, &place.root, &place.below);
            Try::Settled(answer(exchange, found))
        }
    }
}

/// What was opened, for this request and those that follow it soon.
fn remember(opened: Opened, root: &Root, path: &[u8]) -> Remembered {
    match root.remember(path, &opened) {
        Some(small) => Remembered::Small(small),
        None => {
            open_files::keep(root, path, &opened);
            Remembered::Open(opened)
        }
    }
}

fn body(plan: Plan, found: Remembered) -> Body {
    match found {
        Remembered::Open(opened) => plan.into_body(opened).into(),
        Remembered::Small(small) => Body::Bytes(plan.into_bytes(&small)),
    }
}

/// The way of a file whose path is not in the kernel's memory: the disk is asked in the blocking pool.
async fn serve_patiently(exchange: &mut Exchange) -> Flow {
    let place = exchange.place().into_owned();
    match place.root.open(&place.below).await {
        Ok(opened) => answer(exchange, remember(opened, &place.root, &place.below)),
        Err(error) => match refuse(exchange, error) {
            Try::Settled(flow) => flow,
            Try::Waiting(waiting) => waiting.await,
        },
    }
}

fn answer(exchange: &Exchange, found: Remembered) -> Flow {
    if found.metadata().is_dir() {
        let mut path = exchange.uri.path.clone();
        path.push(b'/');
        return special::redirect(
            exchange,
            StatusCode::MOVED_PERMANENTLY,
            &escape::path_and_args(&path, &exchange.uri.args),
        );
    }
    if exchange.request.head.method == Method::POST {
        return Flow::status(StatusCode::METHOD_NOT_ALLOWED);
    }
    let core = exchange.core();
    let rules = Rules {
        modified_since: match core.if_modified_since {
            IfModifiedSince::Off => ModifiedSince::Ignored,
            IfModifiedSince::Exact => ModifiedSince::Exact,
            IfModifiedSince::Before => ModifiedSince::Before,
        },
        ranges: RangeLimits {
            ranges_max: core.max_ranges.unwrap_or(usize::MAX),
            refuse_malformed: true,
        },
        ranges_for_head: true,
        entity_tags: core.etag,
    };
    let representation =
        Representation::of(found.metadata()).with_type(core.types.of(&exchange.uri.path));
    let unconditional = Fields::new();
    let head = &exchange.request.head;
    // The page of an error is sent as it is, whatever the request said about the resource that failed.
    let fields = if exchange.error_status.is_some() {
        &unconditional
    } else {
        &head.fields
    };
    let plan = representation.plan(&head.method, fields, &rules);
    let status = plan.status();
    let mut fields = Fields::with_capacity(8, 256);
    representation.write_fields(&plan, &mut fields);
    if !matches!(exchange.final_status(status).as_u16(), 200 | 206 | 304) {
        // The page of an error: nothing of it may be asked for in parts, or again by its date.
        fields.remove(Known::AcceptRanges);
        fields.remove(Known::LastModified);
    }
    if matches!(
        status,
        StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PRECONDITION_FAILED
    ) {
        fields.retain(|name, _| name.known() == Some(Known::ContentRange));
        return Flow::Special(status, fields);
    }
    if head.method == Method::HEAD
        && let Some(length) = plan.content_length()
    {
        let _ = fields.set(Known::ContentLength, itoa::Buffer::new().format(length));
    }
    let body = if status == StatusCode::NOT_MODIFIED {
        Body::Empty
    } else {
        body(plan, found)
    };
    Flow::Respond(exchange.response(status, fields, body))
}

/// What there is not is told at once; why somebody may not have it is found out by looking at each directory on the way, which
/// may wait for a disk.
fn refuse(exchange: &mut Exchange, error: OpenError) -> Try<'_> {
    let status = error.status();
    if status != StatusCode::NOT_FOUND {
        return Try::Waiting(Box::pin(explain(exchange, error)));
    }
    if exchange.core().log_not_found {
        let path = String::from_utf8_lossy(&exchange.file_path()).into_owned();
        exchange.log(
            Level::Error,
            format_args!("open() \"{path}\" failed ({})", numbered(&error)),
        );
    }
    Try::Settled(Flow::status(status))
}

async fn explain(exchange: &mut Exchange, error: OpenError) -> Flow {
    let status = error.status();
    let level = if status == StatusCode::FORBIDDEN {
        Level::Error
    } else {
        Level::Crit
    };
    let place = exchange.place().into_owned();
    exchange.log_refusal(level, place, error).await;
    Flow::status(status)
}
