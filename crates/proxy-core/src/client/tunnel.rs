//! Copying between two connections whose protocol has changed.

use std::future::poll_fn;
use std::io::IoSlice;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};

use crate::alarm::Alarm;
use crate::buffers;
use crate::server::{TunnelEnd, Upgraded, Wire};

/// Copies both ways between a client and an origin server until both have closed, one of them fails, or nothing has moved
/// for `idle`.
///
/// When one side closes its direction, the other side is told and may go on. No buffer is held while nothing moves, and at
/// most one for each direction while the receiver is slow.
pub async fn tunnel(client: Upgraded, origin: Upgraded, idle: Duration) -> TunnelEnd {
    let (client, sent) = client.into_parts();
    let (origin, received) = origin.into_parts();
    let mut up = Way::new(client.clone(), origin.clone(), sent);
    let mut down = Way::new(origin, client, received);
    let mut alarm = Alarm::default();
    let mut moved = None;
    poll_fn(|cx| {
        let (up_state, down_state) = (up.poll(cx), down.poll(cx));
        let broken = matches!(up_state, Poll::Ready(Err(Broken)))
            || matches!(down_state, Poll::Ready(Err(Broken)));
        let ended = broken || (up_state.is_ready() && down_state.is_ready());
        if ended {
            return Poll::Ready(());
        }
        if moved.replace((up.copied, down.copied)) != Some((up.copied, down.copied)) {
            alarm.set_after(idle);
        }
        alarm.poll(cx)
    })
    .await;
    TunnelEnd {
        sent_bytes: down.copied,
        received_bytes: up.copied,
    }
}

/// One direction.
struct Way {
    from: Wire,
    to: Wire,
    held: Bytes,
    copied: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The sender has closed; what is held must still go.
    Ending,
    Ended,
}

struct Broken;

impl Way {
    fn new(from: Wire, to: Wire, held: Bytes) -> Self {
        Self {
            from,
            to,
            held,
            copied: 0,
            state: State::Open,
        }
    }

    /// Ready when the direction is closed.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        loop {
            while !self.held.is_empty() {
                match self.to.poll_write(cx, &[IoSlice::new(&self.held)]) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken)),
                    Poll::Ready(Ok(written)) => {
                        self.held.advance(written);
                        self.copied += written as u64;
                    }
                }
            }
            match self.to.poll_flush(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken)),
                Poll::Ready(Ok(())) => {}
            }
            match self.state {
                State::Ended => return Poll::Ready(Ok(())),
                State::Ending => {
                    self.to.end();
                    self.state = State::Ended;
                }
                State::Open => match self.poll_read(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken)),
                    Poll::Ready(Ok(0)) => self.state = State::Ending,
                    Poll::Ready(Ok(_)) => {}
                },
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        let mut buffer = buffers::small();
        let result = self.from.poll_read(cx, &mut buffer);
        match result {
            Poll::Ready(Ok(1..)) => self.held = buffers::into_bytes(buffer),
            _ => {
                self.held = Bytes::new();
                buffers::give_back(buffer);
            }
        }
        result
    }
}
