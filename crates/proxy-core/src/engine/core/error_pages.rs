//! `error_page`: what is shown for a status.

use std::sync::Arc;

use http::StatusCode;
use nginx_conf::{Args, Fault, List};

use crate::engine::compile::Settling;
use crate::engine::variables::Template;

/// One `error_page` line.
#[derive(Clone, Debug)]
pub struct ErrorPage {
    /// The statuses that it is for.
    pub statuses: Arc<[u16]>,
    /// The status to answer with instead (`=200`).
    pub answer: Option<StatusCode>,
    /// True for a bare `=`: the page's own status is sent.
    pub takes_page_status: bool,
    /// What is shown: a URI of the same server, a named location (`@name`), or, where it begins otherwise, another place by
    /// redirect. Variables may decide which.
    pub target: Template,
}

/// One line as written.
pub(super) struct Written {
    statuses: Vec<u16>,
    answer: Option<u16>,
    takes_page_status: bool,
    target: nginx_conf::Spanned<nginx_conf::Template>,
}

pub(super) fn read(args: &mut Args<'_>, lines: &mut List<Written>) -> Result<(), Fault> {
    let words = args.rest();
    let Some((target, before)) = words.split_last() else {
        return Err(args.wrong_count());
    };
    let mut before = before;
    let mut answer = None;
    let mut takes_page_status = false;
    if let Some((last, rest)) = before.split_last()
        && let Some(response) = last.strip_prefix("=")
    {
        before = rest;
        if response.text().is_empty() {
            takes_page_status = true;
        } else {
            answer = Some(response.number(100..=999_u16)?.value);
        }
    }
    if before.is_empty() {
        return Err(args.wrong_count());
    }
    let mut statuses = Vec::with_capacity(before.len());
    for word in before {
        let status = word.number(300..=599_u16)?.value;
        if status == 499 {
            return Err(word
                .fault(format!(
                    "value \"{status}\" must be between 300 and 599, and not 499"
                ))
                .help("499 means that the client is gone: nobody is left to see a page"));
        }
        statuses.push(status);
    }
    let place = target.span();
    lines.push(nginx_conf::Spanned {
        value: Written {
            statuses,
            answer,
            takes_page_status,
            target: target.template()?,
        },
        span: place,
    })
}

pub(super) fn settle(
    written: &List<Written>,
    outer: Option<&Arc<[ErrorPage]>>,
    at: &mut Settling<'_>,
) -> Arc<[ErrorPage]> {
    if written.is_empty() {
        return outer.cloned().unwrap_or_else(|| Arc::from([]));
    }
    written.iter().map(|line| settle_line(line, at)).collect()
}

fn settle_line(line: &Written, at: &mut Settling<'_>) -> ErrorPage {
    let answer = line
        .answer
        .and_then(|status| StatusCode::from_u16(status).ok());
    ErrorPage {
        statuses: line.statuses.clone().into(),
        answer,
        takes_page_status: line.takes_page_status,
        target: at.template(&line.target),
    }
}
