//! Explaining a refusal: which file or directory refused whom, or where the path stops existing.
//!
//! Called when a refusal is logged. It asks the system about one component after the other, so it costs more than the
//! opening did, and what it sees may have changed since.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{OpenError, OpenErrorKind};
use crate::open::{Lookup, Symlinks};
use crate::opened::{Kind, Metadata};
use crate::root::Root;

/// An [`OpenError`] with the place where it happened. Its `Display` is a sentence for a log:
/// `"/srv/shop/media/a.jpg": directory "/srv/shop" (owner alice (1000), group alice (1000), mode 0750) does not let user
/// www-data (33) search it: permission denied (13: Permission denied); allow it with chmod o+x "/srv/shop"`.
#[derive(Clone, Debug)]
pub struct Refusal {
    error: OpenError,
    path: PathBuf,
    component: PathBuf,
    reason: String,
}

impl Refusal {
    /// What kind of refusal it was.
    pub fn error(&self) -> OpenError {
        self.error
    }

    /// The whole path that was asked for, root included.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory or file that refused, or the first component that doesn't exist.
    pub fn component(&self) -> &Path {
        &self.component
    }

    /// What is the matter with [`component`](Self::component), and what to do.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.path, self.reason)
    }
}

impl std::error::Error for Refusal {}

pub(crate) fn explain(root: &Root, path: &[u8], error: OpenError) -> Refusal {
    let relative = OsStr::from_bytes(path.strip_prefix(b"/").unwrap_or(path));
    let full = root.path().join(trim_slashes(relative));
    let (component, reason) = match error.kind() {
        OpenErrorKind::NotFound => missing(root, &full, error),
        OpenErrorKind::Forbidden => forbidden(root, &full, error),
        OpenErrorKind::Escapes | OpenErrorKind::Symlink | OpenErrorKind::Owner => {
            linked(root, &full, error)
        }
        OpenErrorKind::NotRegular => {
            let reason = "it is a FIFO, socket or device; only regular files are served".to_owned();
            (full.clone(), reason)
        }
        OpenErrorKind::Exhausted => {
            let reason = format!(
                "{error}; raise the limit of open files (RLIMIT_NOFILE) or serve fewer connections"
            );
            (full.clone(), reason)
        }
        OpenErrorKind::WouldBlock | OpenErrorKind::BadPath | OpenErrorKind::Other => {
            (full.clone(), error.to_string())
        }
    };
    Refusal {
        error,
        path: full,
        component,
        reason,
    }
}

fn trim_slashes(path: &OsStr) -> &OsStr {
    let bytes = path.as_bytes();
    let start = bytes.iter().take_while(|&&b| b == b'/').count();
    OsStr::from_bytes(&bytes[start..])
}

/// Finds the first component that isn't there.
fn missing(root: &Root, full: &Path, error: OpenError) -> (PathBuf, String) {
    if error.errno() == Some(rustix::io::Errno::NAMETOOLONG.raw_os_error()) {
        return (
            full.to_owned(),
            format!("a name in it is too long: {error}"),
        );
    }
    let mut parent = PathBuf::from("/");
    for prefix in prefixes(full) {
        match facts(root, prefix) {
            Ok(_) => parent = prefix.to_owned(),
            Err(_) => {
                let reason = match facts(root, &parent) {
                    Ok(found) if found.kind != Kind::Directory => {
                        format!("{parent:?} is not a directory")
                    }
                    _ if is_dangling_link(prefix) => {
                        format!(
                            "{prefix:?} is a symbolic link that leads nowhere, to {}",
                            target(prefix)
                        )
                    }
                    _ if root.path().starts_with(prefix) => {
                        format!(
                            "{prefix:?} does not exist, so the root directory {:?} does not either",
                            root.path()
                        )
                    }
                    _ => format!("{prefix:?} does not exist"),
                };
                return (prefix.to_owned(), format!("{reason}: {error}"));
            }
        }
    }
    // A slash behind a file, or it has appeared meanwhile.
    let reason = match facts(root, full) {
        Ok(found) if found.kind != Kind::Directory => {
            format!("{full:?} is not a directory: {error}")
        }
        _ => format!("{error}; it was not there a moment ago"),
    };
    (full.to_owned(), reason)
}

/// Finds the directory that can't be searched, or the file that can't be read.
fn forbidden(root: &Root, full: &Path, error: OpenError) -> (PathBuf, String) {
    let mut parent = PathBuf::from("/");
    for prefix in prefixes(full) {
        if facts(root, prefix).is_err() {
            // What refuses may be where a link leads, rather than the directory that we see.
            let real = std::fs::canonicalize(&parent).unwrap_or(parent);
            return (
                real.clone(),
                denial(&real, "directory", "search it", 0o1, "x", error),
            );
        }
        parent = prefix.to_owned();
    }
    let reason = match facts(root, full) {
        Ok(found) if found.kind == Kind::Directory => {
            denial(full, "directory", "read it", 0o4, "r", error)
        }
        _ => denial(full, "file", "read it", 0o4, "r", error),
    };
    (full.to_owned(), reason)
}

/// `directory "/srv" (owner …, mode …) does not let user … search it: …`, and what to do.
fn denial(path: &Path, what: &str, to: &str, bit: u32, letter: &str, error: OpenError) -> String {
    let uid = rustix::process::geteuid().as_raw();
    let who = name_of(uid, "/etc/passwd");
    let Ok(facts) = std::fs::metadata(path) else {
        return format!("{what} {path:?} does not let user {who} {to}: {error}");
    };
    let owner = name_of(facts.uid(), "/etc/passwd");
    let group = name_of(facts.gid(), "/etc/group");
    let mode = facts.mode() & 0o7777;
    let class = if facts.uid() == uid {
        6
    } else if is_member(facts.gid()) {
        3
    } else {
        0
    };
    let advice = if mode & (bit << class) == 0 {
        let class = ["o", "g", "u"][class / 3];
        format!("allow it with chmod {class}+{letter} {path:?}")
    } else {
        "its mode would allow it, so an access control list or a security module (SELinux, AppArmor) denies it"
            .to_owned()
    };
    format!(
        "{what} {path:?} (owner {owner}, group {group}, mode {mode:04o}) does not let user {who} {to}: {error}; {advice}"
    )
}

/// Finds the symbolic link that the policy forbids.
fn linked(root: &Root, full: &Path, error: OpenError) -> (PathBuf, String) {
    let culprit = prefixes(full)
        .filter(|prefix| *prefix != root.path() && prefix.starts_with(root.path()))
        .find(|prefix| facts(root, prefix).is_err_and(|found| found.kind() == error.kind()))
        .unwrap_or(full);
    let target = target(culprit);
    let reason = match (error.kind(), root.symlinks()) {
        (OpenErrorKind::Escapes, _) => format!(
            "the symbolic link {culprit:?} leads out of the root {:?}, to {target}; make it relative and let it stay beneath \
             the root, or allow such links: {error}",
            root.path()
        ),
        (OpenErrorKind::Owner, _) => format!(
            "the symbolic link {culprit:?} to {target} belongs to {} but what it leads to belongs to {}: {error}",
            owner(std::fs::symlink_metadata(culprit)),
            owner(std::fs::metadata(culprit))
        ),
        (_, Symlinks::Refuse) => {
            format!(
                "{culprit:?} is a symbolic link (to {target}) and the policy for this root allows none: {error}"
            )
        }
        _ => format!("too many symbolic links beginning with {culprit:?} (to {target}): {error}"),
    };
    (culprit.to_owned(), reason)
}

/// `/`, `/srv`, `/srv/shop`, …
fn prefixes(full: &Path) -> impl Iterator<Item = &Path> {
    let mut all: Vec<&Path> = full.ancestors().collect();
    all.reverse();
    all.into_iter()
}

/// What is at a prefix of the path: as the root sees it beneath the root, as anybody does above.
fn facts(root: &Root, prefix: &Path) -> Result<Metadata, OpenError> {
    match prefix.strip_prefix(root.path()) {
        Ok(relative) => root.metadata_with(relative.as_os_str().as_bytes(), Lookup::Patient),
        Err(_) => rustix::fs::stat(prefix)
            .map(|stat| Metadata::of(&stat))
            .map_err(OpenError::of),
    }
}

fn is_dangling_link(path: &Path) -> bool {
    std::fs::read_link(path).is_ok()
}

fn target(link: &Path) -> String {
    match std::fs::read_link(link) {
        Ok(target) => format!("{target:?}"),
        Err(error) => format!("a place that could not be read ({error})"),
    }
}

fn owner(facts: std::io::Result<std::fs::Metadata>) -> String {
    match facts {
        Ok(facts) => name_of(facts.uid(), "/etc/passwd"),
        Err(error) => format!("somebody unknown ({error})"),
    }
}

fn is_member(gid: u32) -> bool {
    rustix::process::getegid().as_raw() == gid
        || rustix::process::getgroups()
            .is_ok_and(|groups| groups.iter().any(|group| group.as_raw() == gid))
}

/// `www-data (33)`, or only the number if the table (`/etc/passwd`, `/etc/group`) doesn't have it.
fn name_of(id: u32, table: &str) -> String {
    let text = std::fs::read(table).unwrap_or_default();
    let number = id.to_string();
    let found = text.split(|&b| b == b'\n').find_map(|line| {
        let mut fields = line.split(|&b| b == b':');
        let name = fields.next()?;
        (fields.nth(1)? == number.as_bytes()).then(|| String::from_utf8_lossy(name).into_owned())
    });
    match found {
        Some(name) => format!("{name} ({id})"),
        None => number,
    }
}
