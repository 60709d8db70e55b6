//! The contract of a feature: its directives, what they settle to, the variables it adds and the phases it takes part in.
//!
//! A feature exists because a list names it; the order of that list is the order of its handlers inside a phase. It names
//! no other feature: what they have to tell each other stands in the [`Exchange`].
//!
//! ```text
//! text ─► Written (per block, per feature) ─► settle(written, outer) ─► Settled ─► handlers read it
//! ```

use std::any::{Any, TypeId};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::StatusCode;
use http_wire::fields::Fields;
use nginx_conf::{Faults, Handle, Level, Registry};

use crate::engine::compile::Settling;
use crate::engine::exchange::Exchange;
use crate::engine::variables::{Variable, VariableTable};
use crate::server::Response;

/// A future that a handler gives when it has to wait.
pub type Waiting<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A directive of a feature with the written settings `W`.
pub type Directive<W> = nginx_conf::Directive<W>;

/// One feature: everything about it in one place.
pub trait Feature: Send + Sync + 'static {
    /// What one block of the configuration says.
    type Written: Default + Send + 'static;
    /// What requests read: inherited, defaulted, nothing left to parse.
    type Settled: Send + Sync + 'static;
    /// The name under which it is listed.
    const NAME: &'static str;
    /// Its directives.
    const DIRECTIVES: &'static [Directive<Self::Written>] = &[];
    /// The variables that it adds.
    const VARIABLES: &'static [Variable] = &[];
    /// Its handlers.
    const PHASES: &'static [(Phase, Handler<Self::Settled>)] = &[];

    /// True for a content handler that hands whole trees of URIs to somebody else (`proxy_pass`): a location `/app/` that it
    /// answers redirects `/app` to `/app/`.
    const OWNS_TREE: bool = false;

    /// Turns what a block says into what requests read there; `outer` is what the enclosing block settled to.
    /// Faults go to [`Settling::fault`]; whatever is returned then is never used.
    fn settle(
        &self,
        written: Self::Written,
        outer: Option<&Arc<Self::Settled>>,
        at: &mut Settling<'_>,
    ) -> Arc<Self::Settled>;

    /// Names the variables that the lines of a block assign, before any template is compiled.
    fn declare(written: &Self::Written, variables: &mut VariableTable, faults: &mut Faults) {
        let _ = (written, variables, faults);
    }

    /// Whether the handler of `phase` has anything to do where these settings hold. An inactive one costs nothing.
    fn active(settled: &Self::Settled, phase: Phase) -> bool {
        let _ = (settled, phase);
        true
    }
}

/// The stations of a request, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// The head was read; no location chosen yet (`realip`).
    PostRead,
    /// Server-level rewriting.
    ServerRewrite,
    /// Location-level rewriting (`return`, `rewrite`, `set`).
    Rewrite,
    /// Limits.
    Preaccess,
    /// Who may (`allow`, `auth_basic`).
    Access,
    /// Right before the content (`try_files`, `mirror`).
    Precontent,
    /// What makes the response.
    Content,
    /// Shapes the response's fields and content (`add_header`, `expires`, compression).
    Shape,
    /// After the response.
    Log,
}

/// What a feature does in a phase.
pub enum Handler<S> {
    /// Decides at once.
    Now(fn(&S, &mut Exchange) -> Flow),
    /// May have to wait.
    Wait(for<'a> fn(&'a S, &'a mut Exchange) -> Waiting<'a, Flow>),
    /// Answers at once where it can ([`Try::Settled`]), else waits: the way of a file that is in memory or is not.
    Try(for<'a> fn(&'a S, &'a mut Exchange) -> Try<'a>),
    /// Shapes a response (phase [`Phase::Shape`]).
    Shape(fn(&S, &mut Exchange, &mut Response)),
    /// Writes what happened (phase [`Phase::Log`]).
    Log(fn(&S, &Exchange)),
}

/// What [`Handler::Try`] comes to.
#[expect(
    clippy::large_enum_variant,
    reason = "made once per request and moved on; a box would cost more than the move"
)]
pub enum Try<'a> {
    /// Decided at once.
    Settled(Flow),
    /// Has to wait.
    Waiting(Waiting<'a, Flow>),
}

/// How a request goes on after a handler.
pub enum Flow {
    /// The next handler.
    Next,
    /// This is the response.
    Respond(Response),
    /// This status, with a page of our own or the one that `error_page` names; the fields are added to it.
    Special(StatusCode, Fields),
    /// Close the connection without a response; the log tells this status (nginx's 444).
    Close(StatusCode),
    /// Choose a location anew, for another URI.
    Turn(Turn),
}

impl Flow {
    /// A status without fields of its own.
    pub fn status(status: StatusCode) -> Self {
        Self::Special(status, Fields::new())
    }
}

/// An internal redirect.
pub enum Turn {
    /// To this path (already decoded) and these arguments.
    Uri {
        /// The new path.
        path: Vec<u8>,
        /// The new arguments; `None` keeps those of the request.
        args: Option<Vec<u8>>,
    },
    /// To a named location, with the URI unchanged.
    Named(String),
}

impl Turn {
    /// To a URI with its arguments; without a question mark in it there are none.
    pub fn to(uri: &[u8]) -> Self {
        let (path, args) = match memchr::memchr(b'?', uri) {
            Some(mark) => (&uri[..mark], &uri[mark + 1..]),
            None => (uri, &b""[..]),
        };
        Self::Uri {
            path: path.to_vec(),
            args: Some(args.to_vec()),
        }
    }
}

/// A feature without its types, as lists hold it. Every [`Feature`] is one.
pub trait AnyFeature: Send + Sync + 'static {
    /// See [`Feature::NAME`].
    fn name(&self) -> &'static str;
    /// Identifies the type of its settled settings.
    fn settled_type(&self) -> TypeId;
    /// See [`Feature::VARIABLES`].
    fn variables(&self) -> &'static [Variable];
    /// Adds its directives to a registry.
    ///
    /// # Panics
    /// When another feature has one of them already.
    fn register(&self, registry: &mut Registry) -> Box<dyn Reader>;
    /// See [`Feature::settle`].
    fn settle(
        &self,
        written: Box<dyn Any + Send>,
        outer: Option<&Settled>,
        at: &mut Settling<'_>,
    ) -> Settled;
    /// The handlers that are active with these settings.
    fn handlers(&self, settled: &Settled) -> Vec<(Phase, Box<dyn Run>)>;
}

/// Settled settings without their type: an `Arc<F::Settled>` in a box.
pub struct Settled(Box<dyn Any + Send + Sync>);

impl Settled {
    fn of<F: Feature>(&self) -> &Arc<F::Settled> {
        self.0
            .downcast_ref()
            .expect("settings stand at the index of the feature that made them")
    }

    /// The settings, when they are of type `S`.
    pub fn get<S: Send + Sync + 'static>(&self) -> Option<&Arc<S>> {
        self.0.downcast_ref()
    }
}

/// The way from a block to what one feature wrote there.
pub trait Reader: Send + Sync {
    /// See [`Feature::declare`].
    fn declare(&self, level: &Level, variables: &mut VariableTable, faults: &mut Faults);
    /// Takes what the feature wrote.
    fn take(&self, level: &mut Level) -> Box<dyn Any + Send>;
}

struct Taker<F: Feature>(Handle<F::Written>);

impl<F: Feature> Reader for Taker<F> {
    fn declare(&self, level: &Level, variables: &mut VariableTable, faults: &mut Faults) {
        if let Some(written) = level.written(self.0) {
            F::declare(written, variables, faults);
        }
    }

    fn take(&self, level: &mut Level) -> Box<dyn Any + Send> {
        Box::new(level.take(self.0))
    }
}

/// A handler bound to the settings of one location.
pub trait Run: Send + Sync {
    /// Runs it as a step towards a response.
    fn step<'a>(&'a self, exchange: &'a mut Exchange) -> Try<'a>;
    /// Runs it on a response.
    fn shape(&self, exchange: &mut Exchange, response: &mut Response);
    /// Runs it after the response.
    fn log(&self, exchange: &Exchange);
    /// See [`Feature::OWNS_TREE`].
    fn owns_tree(&self) -> bool;
}

struct Bound<F: Feature> {
    settled: Arc<F::Settled>,
    handler: &'static Handler<F::Settled>,
}

impl<F: Feature> Run for Bound<F> {
    fn step<'a>(&'a self, exchange: &'a mut Exchange) -> Try<'a> {
        match self.handler {
            Handler::Now(run) => Try::Settled(run(&self.settled, exchange)),
            Handler::Wait(run) => Try::Waiting(run(&self.settled, exchange)),
            Handler::Try(run) => run(&self.settled, exchange),
            Handler::Shape(_) | Handler::Log(_) => Try::Settled(Flow::Next),
        }
    }

    fn shape(&self, exchange: &mut Exchange, response: &mut Response) {
        if let Handler::Shape(run) = self.handler {
            run(&self.settled, exchange, response);
        }
    }

    fn log(&self, exchange: &Exchange) {
        if let Handler::Log(run) = self.handler {
            run(&self.settled, exchange);
        }
    }

    fn owns_tree(&self) -> bool {
        F::OWNS_TREE
    }
}

impl<F: Feature> AnyFeature for F {
    fn name(&self) -> &'static str {
        F::NAME
    }

    fn settled_type(&self) -> TypeId {
        TypeId::of::<Arc<F::Settled>>()
    }

    fn variables(&self) -> &'static [Variable] {
        F::VARIABLES
    }

    fn register(&self, registry: &mut Registry) -> Box<dyn Reader> {
        let handle = registry
            .add(F::NAME, F::DIRECTIVES)
            .unwrap_or_else(|overlap| panic!("{overlap}"));
        Box::new(Taker::<F>(handle))
    }

    fn settle(
        &self,
        written: Box<dyn Any + Send>,
        outer: Option<&Settled>,
        at: &mut Settling<'_>,
    ) -> Settled {
        let written = written
            .downcast()
            .expect("written settings stand at the index of the feature that made them");
        Settled(Box::new(Feature::settle(
            self,
            *written,
            outer.map(Settled::of::<F>),
            at,
        )))
    }

    fn handlers(&self, settled: &Settled) -> Vec<(Phase, Box<dyn Run>)> {
        let settled = settled.of::<F>();
        let active = F::PHASES
            .iter()
            .filter(|(phase, _)| F::active(settled, *phase));
        active
            .map(|(phase, handler)| {
                (
                    *phase,
                    Box::new(Bound::<F> {
                        settled: settled.clone(),
                        handler,
                    }) as Box<dyn Run>,
                )
            })
            .collect()
    }
}
