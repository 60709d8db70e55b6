//! The rule for names of descriptors, shared by `FDNAME=` and `LISTEN_FDNAMES`.

/// Longest name in bytes (`sd_pid_notify_with_fds(3)`).
pub(crate) const LENGTH_MAX: usize = 255;

/// Why `name` cannot name a descriptor, if so: names travel in a list that is separated by colons.
pub(crate) fn fault(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("it is empty")
    } else if name.len() > LENGTH_MAX {
        Some("it is longer than 255 bytes")
    } else if name.contains(':') {
        Some("a colon separates names in LISTEN_FDNAMES")
    } else if name.bytes().any(|byte| !(b' '..=b'~').contains(&byte)) {
        Some("only printable ASCII characters are allowed")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_limits_of_the_protocol() {
        for good in ["http", "a b", "viaduct.control", &"n".repeat(LENGTH_MAX)] {
            assert_eq!(fault(good), None, "{good:?}");
        }
        for bad in ["", "a:b", "a\nb", "ü", &"n".repeat(LENGTH_MAX + 1)] {
            assert!(fault(bad).is_some(), "{bad:?}");
        }
    }
}
