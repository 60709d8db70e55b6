//! A feature of the test's own: one directive of each kind of handler, a variable, a log.

use std::sync::{Arc, Mutex};

use http::StatusCode;
use http_wire::fields::Fields;
use nginx_conf::{Setting, Spanned};
use proxy_core::body::Body;
use proxy_core::engine::compile::Settling;
use proxy_core::engine::exchange::Exchange;
use proxy_core::engine::scopes::{HTTP_SERVER_LOCATION, LOCATION_ONLY};
use proxy_core::engine::variables::{Template, Variable};
use proxy_core::feature::{Directive, Feature, Flow, Handler, Phase, Try, Waiting};
use proxy_core::server::Response;

pub struct Probe;

/// When the feature answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    Never,
    Now,
    Waiting,
    TrySettled,
    TryWaiting,
}

#[derive(Default)]
pub struct Written {
    answers: Setting<Answers>,
    tag: Setting<nginx_conf::Template>,
}

pub struct Settled {
    answers: Answers,
    tag: Option<Template>,
    lines: Arc<Lines>,
}

/// What the log phase saw; lives in the zones, so that the test finds it.
#[derive(Default)]
pub struct Lines(pub Mutex<Vec<String>>);

/// What the handlers left for each other.
#[derive(Default)]
struct Steps(Vec<&'static str>);

const CHOICES: &[(&str, Answers)] = &[
    ("never", Answers::Never),
    ("now", Answers::Now),
    ("waiting", Answers::Waiting),
    ("try-settled", Answers::TrySettled),
    ("try-waiting", Answers::TryWaiting),
];

impl Feature for Probe {
    type Written = Written;
    type Settled = Settled;
    const NAME: &'static str = "probe";
    const DIRECTIVES: &'static [Directive<Written>] = &[
        Directive {
            name: "probe",
            scopes: LOCATION_ONLY,
            syntax: "never | now | waiting | try-settled | try-waiting",
            doc: "Answers with the steps that were taken.",
            read: |args, written| written.answers.set(args.one_of(CHOICES)?),
            ..Directive::DEFAULT
        },
        Directive {
            name: "probe_tag",
            scopes: HTTP_SERVER_LOCATION,
            syntax: "text",
            doc: "The value of $probe_tag and of the field X-Probe.",
            read: |args, written| written.tag.set(args.template()?),
            ..Directive::DEFAULT
        },
    ];
    const VARIABLES: &'static [Variable] = &[Variable {
        name: "probe_steps",
        family: false,
        doc: "The steps that were taken.",
        needs_response_fields: false,
        eval: |exchange, _, out| {
            let steps = exchange.notes.get::<Steps>();
            steps
                .map(|steps| out.extend_from_slice(steps.0.join("+").as_bytes()))
                .is_some()
        },
    }];
    const PHASES: &'static [(Phase, Handler<Settled>)] = &[
        (Phase::Preaccess, Handler::Now(now)),
        (Phase::Access, Handler::Wait(wait)),
        (Phase::Precontent, Handler::Try(attempt)),
        (Phase::Shape, Handler::Shape(shape)),
        (Phase::Log, Handler::Log(log)),
    ];

    fn settle(
        &self,
        written: Written,
        outer: Option<&Arc<Settled>>,
        at: &mut Settling<'_>,
    ) -> Arc<Settled> {
        let tag: Option<&Spanned<_>> = written.tag.spanned();
        Arc::new(Settled {
            answers: written.answers.get().copied().unwrap_or(Answers::Never),
            tag: tag
                .map(|tag| at.template(tag))
                .or_else(|| outer?.tag.clone()),
            lines: at.zones().entry("probe", "lines", Lines::default),
        })
    }

    fn active(settled: &Settled, phase: Phase) -> bool {
        settled.tag.is_some() || !matches!(phase, Phase::Shape | Phase::Log)
    }
}

fn step(exchange: &mut Exchange, name: &'static str) {
    exchange.notes.entry::<Steps>().0.push(name);
}

fn answer(exchange: &Exchange) -> Flow {
    let steps = exchange.notes.get::<Steps>().map(|steps| steps.0.join("+"));
    let body = Body::from(steps.unwrap_or_default());
    Flow::Respond(exchange.response(StatusCode::OK, Fields::new(), body))
}

fn now(settled: &Settled, exchange: &mut Exchange) -> Flow {
    step(exchange, "now");
    match settled.answers {
        Answers::Now => answer(exchange),
        _ => Flow::Next,
    }
}

fn wait<'a>(settled: &'a Settled, exchange: &'a mut Exchange) -> Waiting<'a, Flow> {
    Box::pin(async move {
        tokio::task::yield_now().await;
        step(exchange, "waited");
        match settled.answers {
            Answers::Waiting => answer(exchange),
            _ => Flow::Next,
        }
    })
}

fn attempt<'a>(settled: &'a Settled, exchange: &'a mut Exchange) -> Try<'a> {
    step(exchange, "tried");
    match settled.answers {
        Answers::TrySettled => Try::Settled(answer(exchange)),
        Answers::TryWaiting => Try::Waiting(Box::pin(async move {
            tokio::task::yield_now().await;
            answer(exchange)
        })),
        _ => Try::Settled(Flow::Next),
    }
}

fn shape(settled: &Settled, exchange: &mut Exchange, response: &mut Response) {
    if let Some(tag) = &settled.tag {
        response
            .fields
            .append("X-Probe", exchange.expand(tag))
            .expect("a value without controls");
    }
}

fn log(settled: &Settled, exchange: &Exchange) {
    let status = exchange
        .answer
        .as_ref()
        .map_or(0, |answer| answer.status.as_u16());
    let sent = exchange.sent.map_or(0, |sent| sent.body_bytes);
    let path = String::from_utf8_lossy(&exchange.uri.path);
    settled
        .lines
        .0
        .lock()
        .unwrap()
        .push(format!("{path} {status} {sent}"));
}
