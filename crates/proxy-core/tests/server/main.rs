//! A connection as its client sees it.

#[path = "../support/mod.rs"]
mod support;

mod gateway;
mod lifetime;
mod pipelined;
mod requests;
mod responses;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_wire::Known;
use proptest::prelude::*;
use proxy_core::body::{Body, BodyError};
use proxy_core::server::{Limits, Request, Response, TunnelEnd, UpgradeFn};
use support::{Client, Scripted, add, echo, field, limits, text, until, with_body};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};

/// Content whose frames come through a channel.
struct Frames(mpsc::UnboundedReceiver<Result<&'static str, BodyError>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        let frame = self.0.poll_recv(cx);
        frame.map(|frame| {
            frame.map(|frame| frame.map(|text| http_body::Frame::data(Bytes::from(text))))
        })
    }
}

fn frames(all: Vec<Result<&'static str, BodyError>>) -> Body {
    let (sender, receiver) = mpsc::unbounded_channel();
    all.into_iter()
        .for_each(|frame| sender.send(frame).unwrap());
    Body::stream(Frames(receiver))
}

async fn hello(_request: Request) -> Response {
    text(StatusCode::OK, "hello")
}
