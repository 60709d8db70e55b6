//! Which paths are the ASGI application's (`--asgi-path`).

/// Whether a path begins with one of the prefixes, of which one without a `/` at its end is a whole segment.
pub(crate) fn is_below(path: &[u8], prefixes: &[Vec<u8>]) -> bool {
    prefixes.iter().any(|prefix| {
        path.strip_prefix(prefix.as_slice())
            .is_some_and(|rest| prefix.ends_with(b"/") || matches!(rest.first(), None | Some(b'/')))
    })
}

#[cfg(test)]
mod tests {
    use super::is_below;

    #[test]
    fn prefixes_are_whole_segments() {
        for (prefix, path, yes) in [
            ("/ws/", "/ws/", true),
            ("/ws/", "/ws/chat/", true),
            ("/ws/", "/ws", false),
            ("/ws/", "/wsx/", false),
            ("/ws", "/ws", true),
            ("/ws", "/ws/chat", true),
            ("/ws", "/wsx", false),
            ("/", "/any", true),
            ("/ws/", "*", false),
        ] {
            let prefixes = [b"/never/".to_vec(), prefix.as_bytes().to_vec()];
            assert_eq!(is_below(path.as_bytes(), &prefixes), yes, "{prefix} {path}");
        }
    }
}
