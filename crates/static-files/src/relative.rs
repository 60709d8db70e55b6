//! A path relative to a root, checked before the kernel sees it.

use crate::error::{OpenError, OpenErrorKind};

/// Longest path that is handed to the kernel, in bytes; it refuses 4096 (`PATH_MAX`, which counts the final NUL).
pub(crate) const PATH_MAX: usize = 4095;

/// Takes leading slashes away, refuses NUL bytes and `..` components (also those that would not leave the root: with
/// symbolic links in the way nobody can tell from the text), and names the root itself `.`.
pub(crate) fn check(path: &[u8]) -> Result<&[u8], OpenError> {
    let slashes = path.iter().take_while(|&&b| b == b'/').count();
    let path = &path[slashes..];
    if path.is_empty() {
        return Ok(b".");
    }
    if path.len() > PATH_MAX {
        return Err(OpenError::of(rustix::io::Errno::NAMETOOLONG));
    }
    if path.contains(&0) || has_parent(path) {
        return Err(OpenError::new(OpenErrorKind::BadPath));
    }
    Ok(path)
}

fn has_parent(path: &[u8]) -> bool {
    path.windows(2).any(|pair| pair == b"..")
        && path.split(|&b| b == b'/').any(|name| name == b"..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_stay_beneath_pass() {
        let accepted: &[(&[u8], &[u8])] = &[
            (b"", b"."),
            (b"/", b"."),
            (b"///", b"."),
            (b"/a/b", b"a/b"),
            (b"a//b/", b"a//b/"),
            (b"..a/b../...", b"..a/b../..."),
            (b"a/./b", b"a/./b"),
        ];
        for (given, expected) in accepted {
            assert_eq!(check(given), Ok(*expected));
        }
        let refused: &[&[u8]] = &[
            b"..", b"/..", b"a/..", b"a/../b", b"../a", b"//../a", b"a\0b", b"\0",
        ];
        for path in refused {
            assert_eq!(
                check(path).unwrap_err().kind(),
                OpenErrorKind::BadPath,
                "{path:?}"
            );
        }
    }

    #[test]
    fn length_is_limited() {
        assert!(check(&[b'a'; PATH_MAX]).is_ok());
        assert_eq!(
            check(&[b'a'; PATH_MAX + 1]).unwrap_err().kind(),
            OpenErrorKind::NotFound
        );
    }
}
