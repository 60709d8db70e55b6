//! Why a path could not be opened: small, made without a system call. [`Root::explain`](crate::Root::explain) finds out
//! more, for a log.

use std::fmt;

use http::StatusCode;
use rustix::io::Errno;

/// What kind of refusal it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OpenErrorKind {
    /// Not an error: the answer is not in memory. Ask again with [`Lookup::Patient`](crate::Lookup::Patient) where
    /// waiting for a disk is allowed, i.e. in the blocking pool.
    WouldBlock,
    /// Nothing there (`ENOENT`, `ENOTDIR`), or a name longer than any name can be (`ENAMETOOLONG`).
    NotFound,
    /// A permission is missing (`EACCES`, `EPERM`).
    Forbidden,
    /// A symbolic link leads out of the root, or is absolute, and [`Symlinks::Beneath`](crate::Symlinks::Beneath) or
    /// [`Symlinks::Refuse`](crate::Symlinks::Refuse) is in force.
    Escapes,
    /// A symbolic link where none is allowed, or one that leads to itself (`ELOOP`).
    Symlink,
    /// A symbolic link whose owner is not the owner of what it leads to ([`Symlinks::IfOwner`](crate::Symlinks::IfOwner)).
    Owner,
    /// The path itself has a `..` component or a NUL byte: the caller should have normalised it.
    BadPath,
    /// A FIFO, socket or device.
    NotRegular,
    /// The process or the system has no file descriptors left (`EMFILE`, `ENFILE`).
    Exhausted,
    /// Anything else; see [`OpenError::errno`].
    Other,
}

/// Why a path could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenError {
    kind: OpenErrorKind,
    errno: Option<Errno>,
    in_root: bool,
}

impl OpenError {
    pub(crate) const fn new(kind: OpenErrorKind) -> Self {
        OpenError {
            kind,
            errno: None,
            in_root: false,
        }
    }

    pub(crate) fn of(errno: Errno) -> Self {
        let kind = match errno {
            Errno::AGAIN => OpenErrorKind::WouldBlock,
            Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG => OpenErrorKind::NotFound,
            Errno::ACCESS | Errno::PERM => OpenErrorKind::Forbidden,
            Errno::XDEV => OpenErrorKind::Escapes,
            Errno::LOOP => OpenErrorKind::Symlink,
            Errno::NXIO | Errno::NODEV => OpenErrorKind::NotRegular,
            Errno::MFILE | Errno::NFILE => OpenErrorKind::Exhausted,
            _ => OpenErrorKind::Other,
        };
        OpenError {
            kind,
            errno: Some(errno),
            in_root: false,
        }
    }

    /// The same, about the root directory itself.
    pub(crate) fn about_root(self) -> Self {
        OpenError {
            in_root: true,
            ..self
        }
    }

    /// What kind of refusal it was.
    pub fn kind(&self) -> OpenErrorKind {
        self.kind
    }

    /// Whether to ask again in the blocking pool.
    pub fn would_block(&self) -> bool {
        self.kind == OpenErrorKind::WouldBlock
    }

    /// Whether the root directory itself was refused, so that nothing beneath it can be had.
    pub fn is_about_root(&self) -> bool {
        self.in_root
    }

    /// The system's error number, if the system refused.
    pub fn errno(&self) -> Option<i32> {
        self.errno.map(Errno::raw_os_error)
    }

    /// The system's words for [`errno`](Self::errno) ("No such file or directory"), or ours where the system had no say.
    pub fn words(&self) -> String {
        match self.errno {
            Some(errno) => errno_words(errno),
            None => self.own_words().to_owned(),
        }
    }

    /// The status that nginx answers for it: 404 for what isn't there or can't be served, 403 for what is refused, 500
    /// for what failed; and 400 for a path that should not have come this far.
    pub fn status(&self) -> StatusCode {
        match self.kind {
            OpenErrorKind::NotFound | OpenErrorKind::NotRegular => StatusCode::NOT_FOUND,
            OpenErrorKind::Forbidden
            | OpenErrorKind::Escapes
            | OpenErrorKind::Symlink
            | OpenErrorKind::Owner => StatusCode::FORBIDDEN,
            OpenErrorKind::BadPath => StatusCode::BAD_REQUEST,
            OpenErrorKind::WouldBlock | OpenErrorKind::Exhausted | OpenErrorKind::Other => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    fn own_words(&self) -> &'static str {
        match self.kind {
            OpenErrorKind::WouldBlock => "not in memory",
            OpenErrorKind::NotFound => "no such file or directory",
            OpenErrorKind::Forbidden => "permission denied",
            OpenErrorKind::Escapes => "a symbolic link leads out of the root",
            OpenErrorKind::Symlink => "a symbolic link is in the way",
            OpenErrorKind::Owner => {
                "a symbolic link belongs to somebody else than what it leads to"
            }
            OpenErrorKind::BadPath => "the path has a \"..\" component or a NUL byte",
            OpenErrorKind::NotRegular => "not a regular file",
            OpenErrorKind::Exhausted => "no file descriptors left",
            OpenErrorKind::Other => "the system refused",
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.in_root {
            f.write_str("root directory: ")?;
        }
        f.write_str(self.own_words())?;
        match self.errno {
            Some(errno) => write!(f, " ({}: {})", errno.raw_os_error(), errno_words(errno)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<OpenError> for std::io::Error {
    fn from(error: OpenError) -> Self {
        match error.errno {
            Some(errno) => errno.into(),
            None => std::io::Error::other(error),
        }
    }
}

/// The system's words for an error number, without the number.
pub(crate) fn errno_words(errno: Errno) -> String {
    let mut words = std::io::Error::from(errno).to_string();
    if let Some(end) = words.find(" (os error") {
        words.truncate(end);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_those_of_nginx() {
        let cases = [
            (Errno::NOENT, 404),
            (Errno::NOTDIR, 404),
            (Errno::NAMETOOLONG, 404),
            (Errno::NXIO, 404),
            (Errno::ACCESS, 403),
            (Errno::LOOP, 403),
            (Errno::XDEV, 403),
            (Errno::MFILE, 500),
            (Errno::IO, 500),
        ];
        for (errno, status) in cases {
            assert_eq!(OpenError::of(errno).status(), status, "{errno:?}");
        }
    }

    #[test]
    fn words_are_those_of_the_system() {
        let error = OpenError::of(Errno::NOENT);
        assert_eq!(error.words(), "No such file or directory");
        assert_eq!(error.errno(), Some(2));
        assert_eq!(
            error.to_string(),
            "no such file or directory (2: No such file or directory)"
        );
        assert_eq!(
            OpenError::new(OpenErrorKind::NotRegular)
                .about_root()
                .to_string(),
            "root directory: not a regular file"
        );
    }
}
