//! What connections speak, from gunicorn's settings: TLS, HTTP/1 and HTTP/2.
//!
//! The template reads certificates and keys, before it forks: workers may not have the right to, and then share the keys of session
//! tickets.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use appserver_protocol::{WorkerSettings, ciphers};
use proxy_core::server::tls::{ClientAuth, File, Identity, IdentityFault, Tls};
use proxy_core::server::{PriorKnowledge, Protocols, http2};

static SETTLED: Mutex<Option<Arc<Protocols>>> = Mutex::new(None);

/// Reads what the settings name, for [`settled`].
///
/// # Errors
/// In words: which setting, and why.
pub(crate) fn settle(settings: &WorkerSettings) -> Result<(), String> {
    let read = Arc::new(read(settings)?);
    *SETTLED.lock().unwrap_or_else(PoisonError::into_inner) = Some(read);
    Ok(())
}

/// What was settled last.
pub(crate) fn settled() -> Arc<Protocols> {
    let settled = SETTLED.lock().unwrap_or_else(PoisonError::into_inner);
    settled.clone().unwrap_or_default()
}

fn read(settings: &WorkerSettings) -> Result<Protocols, String> {
    let names = protocols(&settings.http_protocols)?;
    let http2 = http2(settings)?;
    Ok(Protocols {
        tls: tls(settings, &names)?,
        http2: names.contains(&&b"h2"[..]).then(|| Arc::new(http2)),
        prior_knowledge: match settings.http2_cleartext.as_str() {
            "prior-knowledge" => PriorKnowledge::Demanded,
            "both" => PriorKnowledge::Taken,
            _ => PriorKnowledge::Refused,
        },
        upgrade: matches!(settings.http2_cleartext.as_str(), "upgrade" | "both"),
    })
}

/// What a connection from `peer` speaks: only peers that are trusted may speak HTTP/2 in the clear, as with gunicorn.
pub(crate) fn of_peer(protocols: &Protocols, trusted: bool) -> Protocols {
    let mut own = protocols.clone();
    if !trusted {
        own.prior_knowledge = PriorKnowledge::Refused;
        own.upgrade = false;
    }
    own
}

/// The numbers of HTTP/2.
fn http2(settings: &WorkerSettings) -> Result<http2::Settings, String> {
    let within = |name: &str, value: u64, least: u64, most: u64| {
        u32::try_from(value)
            .ok()
            .filter(|_| (least..=most).contains(&value))
            .ok_or_else(|| {
                format!("Invalid value for {name}: {value}: a number from {least} to {most}")
            })
    };
    const LARGEST: u64 = (1 << 31) - 1;
    let header_list = match settings.http2_max_header_list_size {
        0 => 1 << 20,
        bytes => bytes,
    };
    Ok(http2::Settings {
        concurrent_streams: within(
            "http2_max_concurrent_streams",
            settings.http2_max_concurrent_streams,
            1,
            LARGEST,
        )?,
        window_bytes: within(
            "http2_initial_window_size",
            settings.http2_initial_window_size,
            0,
            LARGEST,
        )?,
        frame_bytes: within(
            "http2_max_frame_size",
            settings.http2_max_frame_size,
            16_384,
            16_777_215,
        )?,
        header_list_bytes: within("http2_max_header_list_size", header_list, 1, LARGEST)?,
        websockets: settings.is_asgi() || settings.has_both(),
        ..http2::Settings::default()
    })
}

/// The names of `http_protocols` as ALPN has them.
fn protocols(names: &[String]) -> Result<Vec<&'static [u8]>, String> {
    let mut found = Vec::new();
    for name in names.iter().map(|name| name.trim().to_ascii_lowercase()) {
        let protocol: &[u8] = match name.as_str() {
            "h1" => b"http/1.1",
            "h2" => b"h2",
            "" => continue,
            other => {
                return Err(format!(
                    "Invalid value for http_protocols: '{other}' is none of h1, h2"
                ));
            }
        };
        if found.contains(&protocol) {
            return Err(format!(
                "Invalid value for http_protocols: '{name}' is there twice"
            ));
        }
        found.push(protocol);
    }
    Ok(found)
}

fn tls(settings: &WorkerSettings, names: &[&'static [u8]]) -> Result<Option<Tls>, String> {
    let client_auth = match settings.cert_reqs {
        0 => ClientAuth::None,
        1 => ClientAuth::Optional,
        2 => ClientAuth::Required,
        other => {
            return Err(format!(
                "Invalid value for cert_reqs: {other}: 0 asks clients for no certificate, 1 checks one that is shown, 2 demands one"
            ));
        }
    };
    let certificate = match (&settings.certfile, &settings.keyfile) {
        (Some(certificate), _) => certificate,
        (None, None) => return Ok(None),
        (None, Some(key)) => {
            return Err(format!(
                "keyfile (--keyfile) \"{key}\" is a key without a certificate; name that with certfile (--certfile)"
            ));
        }
    };
    let key = settings.keyfile.as_ref().unwrap_or(certificate);
    // Where HTTP/2 is not spoken, what clients wish for does not matter, as with gunicorn.
    let mut offered: Vec<&[u8]> = names.to_vec();
    match offered.contains(&&b"h2"[..]) {
        true if !offered.contains(&&b"http/1.1"[..]) => offered.push(b"http/1.1"),
        true => {}
        false => offered.clear(),
    }
    let suites = settings.ciphers.as_deref().map(ciphers::chosen);
    let identity = Identity {
        certificate: Path::new(certificate),
        key: Path::new(key),
        client_authorities: settings.ca_certs.as_deref().map(Path::new),
        client_auth,
        protocols: &offered,
        suites: suites.as_deref().unwrap_or_default(),
    };
    identity
        .read()
        .map(Some)
        .map_err(|fault| words(settings, &fault))
}

fn words(settings: &WorkerSettings, fault: &IdentityFault) -> String {
    let setting = match fault.file {
        File::Certificate => "certfile (--certfile)",
        File::Key if settings.keyfile.is_none() => {
            return format!(
                "certfile (--certfile) {fault}; keyfile (--keyfile) names a file of its own for the key"
            );
        }
        File::Key => "keyfile (--keyfile)",
        File::ClientAuthorities => "ca_certs (--ca-certs)",
    };
    format!("{setting} {fault}")
}
