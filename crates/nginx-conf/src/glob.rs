//! Patterns of `include`: `*`, `?`, `[…]` and `\`, as the C library's `glob` without options reads them.
//! A leading dot must be written, a slash is never matched by a wildcard, results are in bytewise order.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Whether an include needs expansion at all; nginx looks for the same three characters.
pub(crate) fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// Whether a path matches a pattern, component by component.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    let mut patterns = pattern.split('/');
    let mut names = path.split('/');
    loop {
        match (patterns.next(), names.next()) {
            (None, None) => return true,
            (Some(pattern), Some(name)) if name_matches(pattern.as_bytes(), name.as_bytes()) => {}
            _ => return false,
        }
    }
}

/// The existing paths that match. Directories that can't be read count as empty, as for the C library.
pub(crate) fn expand(pattern: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = vec![PathBuf::from(if pattern.starts_with('/') {
        "/"
    } else {
        ""
    })];
    for component in pattern.split('/').filter(|component| !component.is_empty()) {
        found = if is_pattern(component) {
            found
                .iter()
                .flat_map(|folder| matching_names(folder, component))
                .collect()
        } else {
            let name = without_escapes(component);
            found
                .iter()
                .map(|folder| folder.join(&name))
                .filter(|path| path.symlink_metadata().is_ok())
                .collect()
        };
    }
    found.sort_by(|left, right| {
        left.as_os_str()
            .as_bytes()
            .cmp(right.as_os_str().as_bytes())
    });
    Ok(found)
}

fn matching_names(folder: &Path, component: &str) -> Vec<PathBuf> {
    let listed = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let Ok(entries) = std::fs::read_dir(listed) else {
        return Vec::new();
    };
    let names = entries.filter_map(|entry| entry.ok().map(|entry| entry.file_name()));
    names
        .filter(|name| name_matches(component.as_bytes(), name.as_bytes()))
        .map(|name| folder.join(name))
        .collect()
}

fn without_escapes(component: &str) -> String {
    let mut characters = component.chars();
    let mut out = String::new();
    while let Some(character) = characters.next() {
        out.push(if character == '\\' {
            characters.next().unwrap_or('\\')
        } else {
            character
        });
    }
    out
}

fn name_matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && !matches!(pattern, [b'.', ..] | [b'\\', b'.', ..]) {
        return false;
    }
    wildcard(pattern, name)
}

/// Linear in practice: only the last `*` is ever tried again.
fn wildcard(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, n));
            continue;
        }
        if let Some(width) = one(&pattern[p..], name[n]) {
            p += width;
            n += 1;
            continue;
        }
        let Some((star, from)) = retry else {
            return false;
        };
        (p, n) = (star, from + 1);
        retry = Some((star, n));
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// How many bytes of the pattern match this one byte of the name.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [b'[', rest @ ..] => match class(rest, byte) {
            Some((matched, width)) => matched.then_some(width + 1),
            None => (byte == b'[').then_some(1),
        },
        [literal, ..] => (*literal == byte).then_some(1),
    }
}

/// Reads `…]`: whether the byte is in it and how long it is; `None` when it never closes and the `[` is a plain character.
fn class(pattern: &[u8], byte: u8) -> Option<(bool, usize)> {
    let negated = matches!(pattern.first(), Some(b'!' | b'^'));
    let first = usize::from(negated);
    let mut at = first;
    let mut found = false;
    loop {
        let (low, high, width) = match pattern.get(at..)? {
            [b']', ..] if at > first => return Some((found != negated, at + 1)),
            [low, b'-', high, ..] if *high != b']' => (*low, *high, 3),
            [single, ..] => (*single, *single, 1),
            [] => return None,
        };
        found |= (low..=high).contains(&byte);
        at += width;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_the_c_library_does() {
        let cases = [
            ("/etc/*.conf", "/etc/a.conf", true),
            ("/etc/*.conf", "/etc/.a.conf", false),
            ("/etc/.*.conf", "/etc/.a.conf", true),
            ("/etc/*.conf", "/etc/sub/a.conf", false),
            ("/etc/*/*.conf", "/etc/sub/a.conf", true),
            ("/etc/?.conf", "/etc/ab.conf", false),
            ("/etc/[a-c].conf", "/etc/b.conf", true),
            ("/etc/[!a-c].conf", "/etc/b.conf", false),
            ("/etc/[^a-c].conf", "/etc/d.conf", true),
            ("/etc/[]a].conf", "/etc/].conf", true),
            ("/etc/[a-].conf", "/etc/-.conf", true),
            ("/etc/[ab", "/etc/[ab", true),
            ("/etc/a\\*.conf", "/etc/a*.conf", true),
            ("/etc/a\\*.conf", "/etc/ab.conf", false),
            ("/etc/*a*b*", "/etc/xxaxxbxx", true),
            ("/etc/*a*b*", "/etc/xxbxxaxx", false),
            ("/etc/**", "/etc/x", true),
        ];
        for (pattern, path, expected) in cases {
            assert_eq!(matches(pattern, path), expected, "{pattern} against {path}");
        }
    }

    #[test]
    fn expands_in_bytewise_order_without_hidden_files() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.conf", "a.conf", "Z.conf", ".hidden.conf", "note.txt"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let found = expand(folder.path().join("*.conf").to_str().unwrap()).unwrap();
        let names: Vec<_> = found
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap())
            .collect();
        assert_eq!(names, ["Z.conf", "a.conf", "b.conf"]);
    }
}
