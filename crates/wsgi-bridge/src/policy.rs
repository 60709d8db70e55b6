//! What a request must keep to beyond the grammar of HTTP, and what its peer is believed: scheme and forwarder fields.
//!
//! Knows no Python. The grammar itself (methods, targets, sizes, duplicate fields) is checked by http-wire under the
//! limits that [`limits`](crate::limits) makes.

use http_wire::Known;
use http_wire::fields::{FieldName, Fields};
use http_wire::head::RequestHead;
use proxy_core::server::Connection;

use crate::settings::{HeaderMap, Settings, Trusted};

/// The settings of a service that decide about requests, ready for use.
pub struct Policy {
    trusted: Trusted,
    /// Name, and the value that means `https`.
    secure: Vec<(SecureName, Vec<u8>)>,
    forwarder: Vec<String>,
    any_forwarder: bool,
    header_map: HeaderMap,
    script_name: String,
}

enum SecureName {
    Known(Known),
    Other(String),
}

/// What a request's peer says and may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The peer is believed.
    pub trusted: bool,
    /// `wsgi.url_scheme` is `https`.
    pub secure: bool,
    /// The peer gave the `SCRIPT_NAME`.
    pub script_told: bool,
}

/// Why a request is refused although its head is well formed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Objection {
    /// Two fields say different things of the scheme.
    #[error("the fields that tell the scheme contradict each other (secure_scheme_headers)")]
    SchemeContradiction,
    /// A field has an underscore in its name.
    #[error("the name of field \"{0}\" has \"_\" in it (header_map = refuse)")]
    Underscore(String),
    /// `Expect` asks for something else than 100-continue.
    #[error("the expectation \"{0}\" cannot be met; only 100-continue is known")]
    Expectation(String),
    /// The path lies outside of the `SCRIPT_NAME`.
    #[error("the request path \"{path}\" does not start with SCRIPT_NAME \"{script_name}\"")]
    OutsideScript {
        /// The path, as sent.
        path: String,
        /// What it should begin with.
        script_name: String,
    },
}

impl Objection {
    /// The status that answers it: gunicorn's.
    pub fn status(&self) -> http::StatusCode {
        match self {
            Self::SchemeContradiction | Self::Underscore(_) => http::StatusCode::BAD_REQUEST,
            Self::Expectation(_) => http::StatusCode::EXPECTATION_FAILED,
            Self::OutsideScript { .. } => http::StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl Policy {
    /// The policy that these settings ask for.
    pub fn new(settings: &Settings) -> Self {
        let secure = settings.secure_scheme_headers.iter().map(|(name, value)| {
            let name = Known::find(name.as_bytes())
                .map_or_else(|| SecureName::Other(name.clone()), SecureName::Known);
            (name, value.clone().into_bytes())
        });
        Self {
            trusted: settings.forwarded_allow_ips.clone(),
            secure: secure.collect(),
            any_forwarder: settings.forwarder_headers.iter().any(|name| name == "*"),
            forwarder: settings.forwarder_headers.clone(),
            header_map: settings.header_map,
            script_name: settings.script_name.clone(),
        }
    }

    /// Judges a request.
    ///
    /// # Errors
    /// [`Objection`], with the status that answers it.
    pub fn judge(&self, head: &RequestHead, connection: &Connection) -> Result<Verdict, Objection> {
        let fields = &head.fields;
        if let Some(other) = fields
            .get_all(Known::Expect)
            .find(|value| !value.eq_ignore_ascii_case(b"100-continue"))
        {
            return Err(Objection::Expectation(
                String::from_utf8_lossy(other).into_owned(),
            ));
        }
        let trusted = self.trusted.includes(&connection.peer);
        if self.header_map == HeaderMap::Refuse {
            self.refuse_underscores(fields, trusted)?;
        }
        let secure = if let Some(uwsgi) = &connection.uwsgi {
            // The gateway has a word of its own for it; fields are the client's.
            Some(uwsgi.https)
        } else if trusted {
            self.scheme_told(fields)?
        } else {
            None
        };
        let script_told =
            trusted && self.may_forward("SCRIPT_NAME") && fields.contains("SCRIPT_NAME");
        let script_name = self.script_name(fields, script_told);
        if !script_name.is_empty() && !head.target.path().starts_with(script_name) {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            return Err(Objection::OutsideScript {
                path: text(head.target.path()),
                script_name: text(script_name),
            });
        }
        Ok(Verdict {
            script_told,
            trusted,
            // What a trusted peer says by `:scheme` (HTTP/2) counts less than what it says by a field.
            secure: secure
                .or(connection.claims_https.filter(|_| trusted))
                .unwrap_or(connection.tls),
        })
    }

    /// The prefix of the path that belongs to the application's place rather than to the application.
    pub fn script_name<'a>(&'a self, fields: &'a Fields, told: bool) -> &'a [u8] {
        let told = if told {
            fields.get_all("SCRIPT_NAME").last()
        } else {
            None
        };
        told.unwrap_or(self.script_name.as_bytes())
    }

    /// Whether a field whose name has `_` in it is shown to the application.
    pub fn keeps_underscored(&self, name: &str, trusted: bool) -> bool {
        self.header_map == HeaderMap::Dangerous || (trusted && self.may_forward(name))
    }

    fn may_forward(&self, name: &str) -> bool {
        self.any_forwarder
            || self
                .forwarder
                .iter()
                .any(|forwarder| forwarder.eq_ignore_ascii_case(name))
    }

    fn refuse_underscores(&self, fields: &Fields, trusted: bool) -> Result<(), Objection> {
        let refused = |name: &FieldName<'_>| {
            name.as_bytes().contains(&b'_') && !(trusted && self.may_forward(name.as_str()))
        };
        match fields.iter().map(|(name, _)| name).find(refused) {
            Some(name) => Err(Objection::Underscore(name.as_str().to_owned())),
            None => Ok(()),
        }
    }

    /// What the peer says of the scheme; `None` when it says nothing.
    fn scheme_told(&self, fields: &Fields) -> Result<Option<bool>, Objection> {
        let mut told = None;
        for (name, https) in &self.secure {
            let mut hear = |value: &[u8]| {
                let secure = value == https;
                match told.replace(secure) {
                    Some(before) if before != secure => Err(Objection::SchemeContradiction),
                    _ => Ok(()),
                }
            };
            match name {
                SecureName::Known(name) => fields.get_all(*name).try_for_each(&mut hear)?,
                SecureName::Other(name) => fields.get_all(name.as_str()).try_for_each(&mut hear)?,
            }
        }
        Ok(told)
    }
}

#[cfg(test)]
mod tests {
    use proxy_core::server::Address;

    use super::*;

    fn head(fields: &[(&str, &str)]) -> RequestHead {
        let mut head = RequestHead::default();
        for (name, value) in fields {
            head.fields.append(*name, *value).expect("is a field");
        }
        head
    }

    fn judge(
        settings: &Settings,
        peer: &str,
        fields: &[(&str, &str)],
    ) -> Result<Verdict, Objection> {
        let peer = match peer {
            "unix" => Address::Unix(None),
            text => Address::Inet(text.parse().expect("is an address")),
        };
        Policy::new(settings).judge(
            &head(fields),
            &Connection::new(peer, Address::Unix(None), false),
        )
    }

    const LOCAL: &str = "127.0.0.1:9";
    const STRANGER: &str = "192.0.2.1:9";

    #[test]
    fn a_trusted_peer_tells_the_scheme_and_a_stranger_does_not() {
        let settings = Settings::default();
        let https = [("X-Forwarded-Proto", "https")];
        assert_eq!(
            judge(&settings, LOCAL, &https),
            Ok(Verdict {
                trusted: true,
                secure: true,
                script_told: false
            })
        );
        assert_eq!(
            judge(&settings, "unix", &[("x-forwarded-ssl", "on")]),
            Ok(Verdict {
                trusted: true,
                secure: true,
                script_told: false
            })
        );
        assert_eq!(
            judge(&settings, STRANGER, &https),
            Ok(Verdict {
                trusted: false,
                secure: false,
                script_told: false
            })
        );
        assert_eq!(
            judge(&settings, LOCAL, &[("X-Forwarded-Proto", "HTTPS")]).map(|v| v.secure),
            Ok(false)
        );
    }

    #[test]
    fn contradicting_scheme_fields_of_a_trusted_peer_are_refused() {
        let settings = Settings::default();
        let fields = [("X-Forwarded-Proto", "https"), ("X-Forwarded-Ssl", "off")];
        assert_eq!(
            judge(&settings, LOCAL, &fields),
            Err(Objection::SchemeContradiction)
        );
        assert!(judge(&settings, STRANGER, &fields).is_ok());
        let twice = [
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Proto", "http"),
        ];
        assert_eq!(
            judge(&settings, LOCAL, &twice),
            Err(Objection::SchemeContradiction)
        );
    }

    #[test]
    fn names_of_ones_own_may_tell_the_scheme() {
        let own = vec![("X-SCHEME".to_owned(), "tls".to_owned())];
        let settings = Settings {
            secure_scheme_headers: own,
            ..Settings::default()
        };
        assert_eq!(
            judge(&settings, LOCAL, &[("X-Scheme", "tls")]).map(|v| v.secure),
            Ok(true)
        );
        assert_eq!(
            judge(&settings, LOCAL, &[("X-Forwarded-Proto", "https")]).map(|v| v.secure),
            Ok(false)
        );
    }

    #[test]
    fn only_100_continue_is_expected_of_us() {
        let settings = Settings::default();
        assert!(judge(&settings, LOCAL, &[("Expect", "100-Continue")]).is_ok());
        let refused = judge(&settings, LOCAL, &[("Expect", "200-ok")]).expect_err("is refused");
        assert_eq!(refused.status(), http::StatusCode::EXPECTATION_FAILED);
    }

    #[test]
    fn underscores_are_refused_where_so_set_unless_a_trusted_peer_may_send_them() {
        let settings = Settings {
            header_map: HeaderMap::Refuse,
            ..Settings::default()
        };
        assert!(matches!(
            judge(&settings, LOCAL, &[("X_A", "1")]),
            Err(Objection::Underscore(_))
        ));
        assert!(judge(&settings, LOCAL, &[("Path_Info", "/")]).is_ok());
        assert!(judge(&settings, STRANGER, &[("Path_Info", "/")]).is_err());
    }

    #[test]
    fn a_path_outside_the_script_name_is_refused() {
        let settings = Settings::default();
        let refused = judge(&settings, LOCAL, &[("SCRIPT_NAME", "/shop")]).expect_err("is refused");
        assert_eq!(refused.status(), http::StatusCode::INTERNAL_SERVER_ERROR);
        assert!(judge(&settings, STRANGER, &[("SCRIPT_NAME", "/shop")]).is_ok());
        assert!(judge(&settings, LOCAL, &[("SCRIPT_NAME", "/")]).is_ok());
    }
}
