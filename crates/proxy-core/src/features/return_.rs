//! `return`: stop here and answer. Phase: rewrite.

use std::sync::Arc;

use http::StatusCode;
use http_wire::fields::Fields;
use nginx_conf::{Args, Arity, Fault, Repeat, Spanned};

use crate::body::Body;
use crate::engine::compile::Settling;
use crate::engine::exchange::Exchange;
use crate::engine::scopes::{SERVER, SERVER_LOCATION_IFS};
use crate::engine::special;
use crate::engine::variables::Template;
use crate::feature::{Directive, Feature, Flow, Handler, Phase};

/// The feature.
pub struct Return;

/// What the block says: the first `return` is the one that counts.
#[derive(Default)]
pub struct Written(Option<Answer<Spanned<nginx_conf::Template>>>);

/// What requests read.
pub struct Settled {
    answer: Option<Answer<Template>>,
    in_server: bool,
}

enum Answer<T> {
    /// A status, its page, and `error_page`.
    Status(StatusCode),
    /// A status with this text.
    Text(StatusCode, T),
    /// A redirect.
    Redirect(StatusCode, T),
    /// No answer at all.
    Close,
}

impl Feature for Return {
    type Written = Written;
    type Settled = Settled;
    const NAME: &'static str = "return";
    const DIRECTIVES: &'static [Directive<Written>] = &[Directive {
        name: "return",
        scopes: SERVER_LOCATION_IFS,
        args: Arity::between(1, 2),
        repeat: Repeat::Many,
        syntax: "code [text] | code URL | URL",
        doc: "Stops and answers with a status, a text or a redirect. 444 closes without an answer.",
        read,
        ..Directive::DEFAULT
    }];
    const PHASES: &'static [(Phase, Handler<Settled>)] = &[
        (Phase::ServerRewrite, Handler::Now(answer)),
        (Phase::Rewrite, Handler::Now(answer)),
    ];

    fn settle(
        &self,
        written: Written,
        _: Option<&Arc<Settled>>,
        at: &mut Settling<'_>,
    ) -> Arc<Settled> {
        let answer = written.0.map(|answer| match answer {
            Answer::Status(status) => Answer::Status(status),
            Answer::Text(status, text) => Answer::Text(status, at.template(&text)),
            Answer::Redirect(status, url) => Answer::Redirect(status, at.template(&url)),
            Answer::Close => Answer::Close,
        });
        Arc::new(Settled {
            answer,
            in_server: at.scope == SERVER,
        })
    }

    fn active(settled: &Settled, phase: Phase) -> bool {
        settled.answer.is_some() && settled.in_server == (phase == Phase::ServerRewrite)
    }
}

fn read(args: &mut Args<'_>, written: &mut Written) -> Result<(), Fault> {
    let first = args.one()?;
    let looks_like_url = |text: &str| {
        text.starts_with("http://") || text.starts_with("https://") || text.starts_with("$scheme")
    };
    let answer = if args.left() == 0 && looks_like_url(first.text()) {
        Answer::Redirect(StatusCode::FOUND, first.template()?)
    } else {
        let code: u16 = first
            .text()
            .parse()
            .ok()
            .filter(|code| *code <= 999)
            .ok_or_else(|| {
                first
                    .fault(format!("invalid return code \"{}\"", first.text()))
                    .help("write a status up to 999, or a URL that begins with http:// or https://")
            })?;
        match (code, args.next()) {
            (444, _) => Answer::Close,
            (301 | 302 | 303 | 307 | 308, Some(url)) => {
                Answer::Redirect(status(code), url.template()?)
            }
            (_, Some(text)) => Answer::Text(status(code), text.template()?),
            (_, None) => Answer::Status(status(code)),
        }
    };
    if written.0.is_none() {
        written.0 = Some(answer);
    }
    Ok(())
}

/// Statuses below 100 can't be sent; nginx's `return 0` and the like answer with 200 as far as a client can tell.
fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::OK)
}

fn answer(settled: &Settled, exchange: &mut Exchange) -> Flow {
    match &settled.answer {
        None => Flow::Next,
        Some(Answer::Close) => {
            Flow::Close(StatusCode::from_u16(444).unwrap_or(StatusCode::BAD_REQUEST))
        }
        // As nginx: a page, and `error_page`, are for redirects and for what is an error.
        Some(Answer::Status(status)) if status.as_u16() < 400 && !special::is_redirect(*status) => {
            text_response(exchange, *status, Vec::new())
        }
        Some(Answer::Status(status)) => Flow::status(*status),
        Some(Answer::Redirect(status, url)) => {
            special::redirect(exchange, *status, &exchange.expand(url))
        }
        Some(Answer::Text(status, text)) => text_response(exchange, *status, exchange.expand(text)),
    }
}

fn text_response(exchange: &Exchange, status: StatusCode, text: Vec<u8>) -> Flow {
    let mut fields = Fields::new();
    if status != StatusCode::NO_CONTENT
        && let Some(content_type) = exchange.core().types.of(&exchange.uri.path)
    {
        let _ = fields.set("Content-Type", content_type);
    }
    let body = if text.is_empty() {
        Body::Empty
    } else {
        Body::Bytes(text.into())
    };
    Flow::Respond(exchange.response(status, fields, body))
}
