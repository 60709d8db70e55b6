//! `proxy_pass` and its directives: requests are answered by an origin server. Phase: content.
//!
//! - `directives`: the table. - `target`: where to, and with which URI. - `request`: the request as it is sent there.
//! - `attempt`: one peer after the other. - `response`: the response as it comes back.

mod attempt;
mod directives;
mod redirects;
mod request;
mod response;
mod target;
mod variables;
mod words;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http_wire::Known;
use http_wire::head::{Handling, HeadLimits, HeadPolicy, HostRule};
use nginx_conf::{Fault, List, Setting, Spanned};

use crate::client;
use crate::engine::compile::Settling;
use crate::engine::scopes::LOCATION;
use crate::engine::variables::{Template, Variable};
use crate::feature::{Directive, Feature, Handler, Phase};
use crate::read_ahead::Ahead;

pub use attempt::NextUpstream;
use redirects::Redirect;
use target::Target;

/// The feature.
pub struct Proxy;

/// What the block says.
#[derive(Default)]
pub struct Written {
    pass: Setting<nginx_conf::Template>,
    set_fields: List<(String, Spanned<nginx_conf::Template>)>,
    http_10: Setting<bool>,
    connect_timeout: Setting<Duration>,
    send_timeout: Setting<Duration>,
    read_timeout: Setting<Duration>,
    buffering: Setting<bool>,
    buffer_size: Setting<u64>,
    buffers: Setting<(u64, u64)>,
    max_temp_file_size: Setting<u64>,
    request_buffering: Setting<bool>,
    next_upstream: Setting<NextUpstream>,
    next_upstream_tries: Setting<usize>,
    next_upstream_timeout: Setting<Duration>,
    redirects: List<redirects::Written>,
    hidden: List<String>,
    passed: List<String>,
    ignored: List<String>,
    intercept_errors: Setting<bool>,
    ignore_client_abort: Setting<bool>,
    pass_request_fields: Setting<bool>,
    pass_request_content: Setting<bool>,
    content: Setting<nginx_conf::Template>,
    method: Setting<nginx_conf::Template>,
    temp_path: Setting<PathBuf>,
}

/// What requests read.
pub struct Settled {
    target: Option<Target>,
    set_fields: Arc<[(String, Template)]>,
    http_10: bool,
    client: Arc<client::Settings>,
    buffering: bool,
    buffer_bytes: u64,
    ahead: Arc<Ahead>,
    request_buffering: bool,
    next_upstream: NextUpstream,
    next_upstream_tries: usize,
    next_upstream_timeout: Option<Duration>,
    redirects: Arc<[Redirect]>,
    hidden: Arc<[String]>,
    passed: Arc<[String]>,
    ignored: Arc<[String]>,
    intercept_errors: bool,
    ignore_client_abort: bool,
    pass_request_fields: bool,
    pass_request_content: bool,
    content: Option<Template>,
    method: Option<Template>,
}

impl Feature for Proxy {
    type Written = Written;
    type Settled = Settled;
    const NAME: &'static str = "proxy";
    const DIRECTIVES: &'static [Directive<Written>] = directives::ALL;
    const VARIABLES: &'static [Variable] = variables::ALL;
    const PHASES: &'static [(Phase, Handler<Settled>)] =
        &[(Phase::Content, Handler::Wait(attempt::pass))];
    const OWNS_TREE: bool = true;

    fn settle(
        &self,
        written: Written,
        outer: Option<&Arc<Settled>>,
        at: &mut Settling<'_>,
    ) -> Arc<Settled> {
        let of = outer.map(Arc::as_ref);
        // nginx inherits `proxy_pass` into blocks of a location that are no location themselves.
        let inherits_target = at.scope != LOCATION;
        let target = match written.pass.spanned() {
            Some(pass) => Target::settle(pass, at),
            None => of
                .filter(|_| inherits_target)
                .and_then(|outer| outer.target.clone()),
        };
        let set_fields: Arc<[_]> = if written.set_fields.is_empty() {
            of.map_or_else(|| Arc::from([]), |outer| Arc::clone(&outer.set_fields))
        } else {
            written
                .set_fields
                .iter()
                .map(|line| (line.value.0.clone(), at.template(&line.value.1)))
                .collect()
        };
        let timeout = |setting: &Setting<Duration>, outer: Option<&Duration>| {
            setting.settle(outer, || Duration::from_secs(60))
        };
        let client = client::Settings {
            connect_timeout: timeout(
                &written.connect_timeout,
                of.map(|outer| &outer.client.connect_timeout),
            ),
            send_timeout: timeout(
                &written.send_timeout,
                of.map(|outer| &outer.client.send_timeout),
            ),
            read_timeout: timeout(
                &written.read_timeout,
                of.map(|outer| &outer.client.read_timeout),
            ),
            head: origin_limits(
                written
                    .buffer_size
                    .settle(of.map(|outer| &outer.buffer_bytes), || BUFFER_BYTES),
            ),
            names: client::Names::default(),
        };
        let names = |own: &List<String>, outer: Option<&Arc<[String]>>| -> Arc<[String]> {
            match outer {
                Some(outer) if own.is_empty() => Arc::clone(outer),
                _ => own.iter().map(|name| name.value.clone()).collect(),
            }
        };
        let redirects = redirects::settle(
            &written.redirects,
            target.as_ref(),
            of.map(|outer| &outer.redirects),
            written.pass.is_set(),
            at,
        );
        Arc::new(Settled {
            set_fields,
            http_10: written
                .http_10
                .settle(of.map(|outer| &outer.http_10), || false),
            client: Arc::new(client),
            buffering: written
                .buffering
                .settle(of.map(|outer| &outer.buffering), || true),
            buffer_bytes: written
                .buffer_size
                .settle(of.map(|outer| &outer.buffer_bytes), || BUFFER_BYTES),
            ahead: settle_ahead(&written, of, at),
            request_buffering: written
                .request_buffering
                .settle(of.map(|outer| &outer.request_buffering), || true),
            next_upstream: written
                .next_upstream
                .settle(of.map(|outer| &outer.next_upstream), NextUpstream::default),
            next_upstream_tries: written
                .next_upstream_tries
                .settle(of.map(|outer| &outer.next_upstream_tries), || 0),
            next_upstream_timeout: written
                .next_upstream_timeout
                .get()
                .map(|limit| (!limit.is_zero()).then_some(*limit))
                .unwrap_or_else(|| of?.next_upstream_timeout),
            redirects,
            hidden: names(&written.hidden, of.map(|outer| &outer.hidden)),
            passed: names(&written.passed, of.map(|outer| &outer.passed)),
            ignored: names(&written.ignored, of.map(|outer| &outer.ignored)),
            intercept_errors: written
                .intercept_errors
                .settle(of.map(|outer| &outer.intercept_errors), || false),
            ignore_client_abort: written
                .ignore_client_abort
                .settle(of.map(|outer| &outer.ignore_client_abort), || false),
            pass_request_fields: written
                .pass_request_fields
                .settle(of.map(|outer| &outer.pass_request_fields), || true),
            pass_request_content: written
                .pass_request_content
                .settle(of.map(|outer| &outer.pass_request_content), || true),
            content: written
                .content
                .spanned()
                .map(|content| at.template(content))
                .or_else(|| of?.content.clone()),
            method: written
                .method
                .spanned()
                .map(|method| at.template(method))
                .or_else(|| of?.method.clone()),
            target,
        })
    }

    fn active(settled: &Settled, _: Phase) -> bool {
        settled.target.is_some()
    }
}

/// `proxy_buffer_size` where nothing is written. nginx's page of memory is a limit that sites run into by accident.
const BUFFER_BYTES: u64 = 64 << 10;

/// How much of a response is read ahead of a slow client.
fn settle_ahead(written: &Written, of: Option<&Settled>, at: &mut Settling<'_>) -> Arc<Ahead> {
    let outer = of.map(|outer| &*outer.ahead);
    let memory_bytes = match written.buffers.get() {
        Some((number, size)) => usize::try_from(number.saturating_mul(*size)).unwrap_or(usize::MAX),
        None => outer.map_or(8 * (8 << 10), |outer| outer.memory_bytes),
    };
    let file_bytes = written
        .max_temp_file_size
        .settle(outer.map(|outer| &outer.file_bytes), || 1 << 30);
    let buffer = written.buffers.get().map_or(0, |(_, size)| *size);
    if let Some(limit) = written.max_temp_file_size.spanned()
        && (1..buffer.max(written.buffer_size.get().copied().unwrap_or(0))).contains(&limit.value)
    {
        at.fault(
            Fault::new(
                "\"proxy_max_temp_file_size\" must be equal to zero to disable temporary files usage or must be equal to or greater than the maximum of the value of \"proxy_buffer_size\" and one of the \"proxy_buffers\"",
            )
            .at(limit.span)
            .help("write 0, or a size that at least one buffer fits into"),
        );
    }
    let directory = written
        .temp_path
        .get()
        .cloned()
        .or_else(|| Some(outer?.directory.clone()))
        .unwrap_or_else(std::env::temp_dir);
    let ahead = Ahead {
        memory_bytes,
        file_bytes,
        directory,
    };
    match of {
        Some(outer) if *outer.ahead == ahead => Arc::clone(&outer.ahead),
        _ => Arc::new(ahead),
    }
}

/// Response heads of origin servers may be as large as `proxy_buffer_size`.
fn origin_limits(buffer_bytes: u64) -> HeadLimits {
    let bytes = usize::try_from(buffer_bytes).unwrap_or(usize::MAX);
    let policy = HeadPolicy {
        bare_lf: true,
        drop_invalid_names: true,
        host: HostRule {
            required: false,
            checked: false,
            empty: true,
        },
        underscores: Handling::Keep,
        ..HeadPolicy::default()
    };
    HeadLimits {
        line_bytes: bytes,
        field_bytes: bytes,
        fields: 1000,
        head_bytes: bytes,
        policy,
    }
}

/// The method is one that a repetition of can't harm (RFC 9110 §9.2.2), in nginx's reading: all but POST, LOCK and PATCH.
fn is_repeatable(method: &Method) -> bool {
    !matches!(*method, Method::POST | Method::PATCH) && method.as_str() != "LOCK"
}

/// Faults that a name of a field has in common.
fn field_name(arg: nginx_conf::Arg<'_>) -> Result<Spanned<String>, Fault> {
    if http_wire::Fields::new().append(arg.text(), b"").is_err() {
        return Err(arg
            .fault(format!("invalid field name \"{}\"", arg.text()))
            .help("a name consists of letters, digits and dashes"));
    }
    arg.string()
}

/// The fields that this feature makes itself from the content and the connection.
fn is_ours(name: Option<Known>) -> bool {
    matches!(name, Some(Known::ContentLength | Known::TransferEncoding))
}
