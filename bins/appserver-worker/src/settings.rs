//! From gunicorn's settings to those of the bridge.

use std::sync::Arc;
use std::time::Duration;

use appserver_protocol::WorkerSettings;
use proxy_core::server::Limits;
use wsgi_bridge::{HeadSizes, HeaderMap, Settings, Trusted, limits};

use crate::access::Format;

/// gunicorn's 0 for "no limit".
const UNLIMITED: usize = 1 << 20;

/// Checks what only a worker can check, and translates. `script_name` and `sendfile` are the environment's.
///
/// # Errors
/// In gunicorn's words: which setting, and why.
pub(crate) fn translate(
    worker: &WorkerSettings,
    format: Option<&Format>,
    script_name: String,
    sendfile: Option<&str>,
) -> Result<Settings, String> {
    let invalid = |name: &str, value: &dyn std::fmt::Debug, why: &dyn std::fmt::Display| {
        format!("Invalid value for {name}: {value:?}: {why}")
    };
    let trusted = Trusted::read(worker.forwarded_allow_ips.iter().map(String::as_str))
        .map_err(|error| invalid("forwarded_allow_ips", &worker.forwarded_allow_ips, &error))?;
    let header_map = match worker.header_map.to_ascii_lowercase().as_str() {
        "drop" => HeaderMap::Drop,
        "refuse" => HeaderMap::Refuse,
        "dangerous" => HeaderMap::Dangerous,
        other => {
            return Err(invalid(
                "header_map",
                &other,
                &"must be drop, refuse or dangerous",
            ));
        }
    };
    let limit = |value: u32| match value as usize {
        0 => UNLIMITED,
        value => value,
    };
    let sizes = HeadSizes {
        line_bytes: limit(worker.limit_request_line),
        fields: limit(worker.limit_request_fields).min(32_768),
        field_bytes: limit(worker.limit_request_field_size),
        unconventional_methods: worker.permit_unconventional_http_method,
        unconventional_versions: worker.permit_unconventional_http_version,
        folding: worker.permit_obsolete_folding,
    };
    let sendfile = sends_files(worker.sendfile, sendfile);
    let limits = Limits {
        sendfile,
        ..limits(sizes, Duration::from_secs(worker.keepalive))
    };
    let upper = |name: &String| name.to_ascii_uppercase();
    let defaults = Settings::default();
    Ok(Settings {
        multiprocess: worker.workers > 1,
        script_name,
        forwarded_allow_ips: trusted,
        secure_scheme_headers: worker
            .secure_scheme_headers
            .iter()
            .map(|(name, value)| (upper(name), value.clone()))
            .collect(),
        forwarder_headers: worker.forwarder_headers.iter().map(upper).collect(),
        header_map,
        casefold_http_method: worker.casefold_http_method,
        sendfile,
        log_environ: format
            .map(|format| format.environ.clone())
            .unwrap_or_default(),
        log_fields: format.is_some_and(|format| format.fields),
        limits: Arc::new(limits),
        ..defaults
    })
}

/// The setting decides; without it the environment's `SENDFILE`; without that, files are sent.
fn sends_files(setting: Option<bool>, environment: Option<&str>) -> bool {
    setting.unwrap_or_else(|| {
        environment.is_none_or(|value| {
            matches!(
                value.to_ascii_lowercase().as_str(),
                "y" | "1" | "yes" | "true"
            )
        })
    })
}
