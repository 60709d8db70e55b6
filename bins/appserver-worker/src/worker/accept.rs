//! Taking connections from the listeners, and leaving some of them to other workers.

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use proxy_core::server::{Accepted, Connection, Drain, Listener, serve_connection};
use supervisor::{Board, Counter};
use tokio::sync::OwnedSemaphorePermit;

use super::place::{Application, Place};
use crate::gateway::{Gateway, serve_proxied};
use crate::peers::{Open, Peers};
use crate::room::Room;
use crate::{protocols, signals};

/// How long a connection may wait for another worker while this one makes a long response.
const DEFERENCE: Duration = Duration::from_millis(50);

/// Accepts connections from a listener, for ever.
///
/// Between two of them the requests in hand have their turn, so that others can take what this worker does not get to. But the more
/// connections it has, the longer such a turn is: so it takes half as many new ones at a time, and a crowd that comes to a busy
/// worker waits for a few turns, not for one each.
pub(super) async fn accept<A: Application>(
    listener: Listener,
    service: Arc<A>,
    drain: Drain,
    room: Option<Arc<Room>>,
    board: Arc<Board>,
    peers: Arc<Peers>,
    here: Place,
) {
    let (protocols, gateway) = (protocols::settled(), Gateway::settled());
    let mut more = 0;
    loop {
        service.ready(DEFERENCE).await;
        let place = match &room {
            Some(room) => room.enter().await,
            None => None,
        };
        let mut accepting = pin!(listener.accept_after(|waited| here.pause(peers.pause(waited))));
        // A worker that was told to end while the application ran leaves new connections to others.
        let accepted = poll_fn(|cx| match signals::ending() {
            true => Poll::Pending,
            false => accepting.as_mut().poll(cx),
        });
        let Ok(accepted) = accepted.await else {
            return pending().await;
        };
        board.lane(0).add(Counter::Accepts, 1);
        let Accepted {
            socket,
            peer,
            local,
        } = accepted;
        // What gunicorn shows.
        let local = match A::SHOWS_LISTENER {
            true => listener.local().clone(),
            false => local,
        };
        let tls = protocols.tls.is_some();
        let connection = Connection::new(peer, local, tls);
        let trusted = protocols.is_plain() || service.trusts(&connection.peer);
        let protocols = protocols::of_peer(&protocols, trusted);
        let others = peers.open();
        let open = peers.opened();
        match &*gateway {
            Gateway::Plain if protocols.is_plain() => {
                let connection = Arc::new(connection);
                let served = serve_connection(socket, connection, service.clone(), &drain);
                here.serve(hold(served, place, open));
            }
            Gateway::Plain => {
                let connection = Arc::new(connection);
                let served = protocols.serve(socket, connection, service.clone(), &drain);
                here.serve(hold(served, place, open));
            }
            Gateway::Proxy(proxy) => {
                let service = service.clone();
                let served = serve_proxied(proxy, protocols, socket, connection, service, &drain);
                here.serve(hold(served, place, open));
            }
            Gateway::Uwsgi(uwsgi) => {
                let served = uwsgi.serve(socket, connection, service.clone(), &drain);
                here.serve(hold(served, place, open));
            }
        }
        if more == 0 {
            here.step_aside().await;
            more = others / 2;
        } else {
            more -= 1;
        }
    }
}

async fn hold(
    connection: impl Future<Output = ()>,
    place: Option<OwnedSemaphorePermit>,
    open: Open,
) {
    connection.await;
    drop((place, open));
}
