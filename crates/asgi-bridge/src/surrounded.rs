//! What the hooks around the call of an HTTP request are told.

use http::StatusCode;
use http_wire::fields::Fields;
use pyo3::prelude::*;
use wsgi_bridge::{Done, Facts};

use crate::core::Core;
use crate::message::Head;

/// A call with hooks around it.
pub(crate) struct Surrounded {
    /// What [`Hooks::before`](wsgi_bridge::Hooks::before) returned.
    request: Option<Py<PyAny>>,
    status: StatusCode,
    fields: Fields,
    pub produced_bytes: u64,
}

impl Surrounded {
    pub fn new(request: Option<Py<PyAny>>) -> Self {
        Self {
            request,
            // Until the application says something else.
            status: StatusCode::INTERNAL_SERVER_ERROR,
            fields: Fields::default(),
            produced_bytes: 0,
        }
    }

    /// The application gave a head.
    pub fn started(&mut self, head: &Head) {
        self.status = head.status;
        self.fields = head.fields.clone();
    }

    /// The application is done.
    pub fn after(self, py: Python<'_>, core: &Core, facts: &Facts) {
        let done = Done {
            environ: None,
            status: self.status,
            produced_bytes: self.produced_bytes,
            fields: Some(&self.fields),
        };
        core.hooks.after(py, facts, self.request, &done);
    }
}
