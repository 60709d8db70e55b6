//! `HOST:PORT`, `[IPV6]:PORT`, `HOST`.

/// Splits off the port.
///
/// # Errors
/// A port that is none; the message names it.
pub(crate) fn host_and_port(text: &str, default_port: u16) -> Result<(String, u16), String> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(bracketed) => bracketed
            .split_once(']')
            .ok_or_else(|| format!("\"{text}\": \"[\" without \"]\""))?,
        None => match text.find(':') {
            Some(place) => text.split_at(place),
            None => (text, ""),
        },
    };
    let host = if host.is_empty() { "localhost" } else { host };
    let port = match rest.strip_prefix(':') {
        None => default_port,
        Some(digits) => digits
            .parse()
            .map_err(|_| format!("'{digits}' is not a valid port number."))?,
    };
    Ok((host.to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_ports_and_brackets() {
        for (text, host, port) in [
            ("", "localhost", 9),
            ("Logs.example", "logs.example", 9),
            ("10.0.0.1:514", "10.0.0.1", 514),
            ("[::1]:514", "::1", 514),
            ("[::1]", "::1", 9),
            (":1", "localhost", 1),
        ] {
            assert_eq!(
                host_and_port(text, 9),
                Ok((host.to_owned(), port)),
                "{text}"
            );
        }
        assert!(host_and_port("a:b", 9).is_err());
        assert!(host_and_port("[::1", 9).is_err());
    }
}
