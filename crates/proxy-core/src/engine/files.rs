//! Where a URI's file lies: a directory that contains it, and the path beneath. Everything that looks at files goes through here,
//! so that nothing is opened outside of what `root` and `alias` name.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use static_files::{OpenError, Root, RootOptions, Symlinks};

use super::exchange::Exchange;
use super::logs::Level;
use super::variables::Template;

/// How many directories that variables lead to a thread remembers.
const REMEMBERED_MAX: usize = 64;

/// `root` or `alias` of a location.
#[derive(Clone, Debug)]
pub struct FilesAt {
    /// What was written, with variables.
    pub path: Template,
    /// True for `alias`: the location's own part of the URI is left out.
    pub alias: bool,
    /// The same, split, where there is no variable in it.
    fixed: Option<(Root, Box<[u8]>)>,
    symlinks: Symlinks,
}

/// A directory, and a path that must lie beneath it.
pub struct Place<'e> {
    /// The directory.
    pub root: RootOf<'e>,
    /// The path below it, without a slash in front.
    pub below: Cow<'e, [u8]>,
}

/// A directory that is the location's own, or was led to by variables.
pub enum RootOf<'e> {
    /// The location's.
    Fixed(&'e Root),
    /// Another one.
    Led(Root),
}

impl std::ops::Deref for RootOf<'_> {
    type Target = Root;

    fn deref(&self) -> &Root {
        match self {
            Self::Fixed(root) => root,
            Self::Led(root) => root,
        }
    }
}

impl Place<'_> {
    /// The same, holding on to nothing: for those who wait.
    pub fn into_owned(self) -> Place<'static> {
        Place {
            root: RootOf::Led(match self.root {
                RootOf::Fixed(root) => root.clone(),
                RootOf::Led(root) => root,
            }),
            below: Cow::Owned(self.below.into_owned()),
        }
    }
}

impl FilesAt {
    /// What a location says.
    pub fn new(path: Template, alias: bool, symlinks: Symlinks) -> Self {
        let fixed = path.as_literal().map(|path| {
            let (directory, glue) = split(path, alias);
            (open_root(directory, symlinks), glue.into())
        });
        Self {
            path,
            alias,
            fixed,
            symlinks,
        }
    }

    /// The same place with another policy for symbolic links.
    pub fn with_symlinks(&self, symlinks: Symlinks) -> Self {
        if symlinks == self.symlinks {
            self.clone()
        } else {
            Self::new(self.path.clone(), self.alias, symlinks)
        }
    }
}

/// Splits what `root` or `alias` says into a directory and the beginning of a file's name below it. `root` is a directory
/// always; an `alias` without a final slash may be a file, or the beginning of a name.
fn split(path: &[u8], alias: bool) -> (&[u8], &[u8]) {
    if !alias || path.ends_with(b"/") {
        return (path, b"");
    }
    match memchr::memrchr(b'/', path) {
        Some(slash) => (&path[..=slash], &path[slash + 1..]),
        None => (b"/", path),
    }
}

fn open_root(directory: &[u8], symlinks: Symlinks) -> Root {
    RootOptions::default()
        .symlinks(symlinks)
        .root(Path::new(OsStr::from_bytes(directory)))
}

impl Exchange {
    /// The place of the file that `root` or `alias` and the URI name.
    pub fn place(&self) -> Place<'_> {
        self.place_of(Cow::Borrowed(self.file_part()))
    }

    /// The place of another path in the same location; `part` is what it adds to `root` or `alias`.
    pub fn place_of<'e>(&'e self, part: Cow<'e, [u8]>) -> Place<'e> {
        let files = &self.core().files;
        if let Some((root, glue)) = &files.fixed {
            let below = if glue.is_empty() {
                without_slash(part)
            } else {
                Cow::Owned([glue, &*part].concat())
            };
            return Place {
                root: RootOf::Fixed(root),
                below,
            };
        }
        let base = self.expand(&files.path);
        let (directory, glue) = split(&base, files.alias);
        let below = if glue.is_empty() {
            without_slash(part)
        } else {
            Cow::Owned([glue, &*part].concat())
        };
        Place {
            root: RootOf::Led(remembered_root(directory, files.symlinks)),
            below,
        }
    }
}

impl Exchange {
    /// Logs which file or directory refused whom. That is found out by looking at each directory on the way, in the blocking
    /// pool, because it may wait for a disk.
    pub async fn log_refusal(&mut self, level: Level, place: Place<'static>, error: OpenError) {
        if !self.core().error_log.takes(level) {
            return;
        }
        let explained = tokio::task::spawn_blocking(move || {
            place.root.explain(&place.below, error).to_string()
        });
        match explained.await {
            Ok(why) => self.log(level, format_args!("{why}")),
            Err(_) => self.log(level, format_args!("a file could not be opened")),
        }
    }
}

/// Why a file can't be had, with the error number in front as nginx prints it: `2: No such file or directory`.
pub fn numbered(error: &OpenError) -> String {
    match error.errno() {
        Some(number) => format!("{number}: {}", error.words()),
        None => error.words(),
    }
}

fn without_slash(part: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let slashes = part.iter().take_while(|byte| **byte == b'/').count();
    match part {
        Cow::Borrowed(part) => Cow::Borrowed(&part[slashes..]),
        Cow::Owned(mut part) => {
            part.drain(..slashes);
            Cow::Owned(part)
        }
    }
}

/// A directory that variables led to: opened once, and again when it is replaced.
fn remembered_root(directory: &[u8], symlinks: Symlinks) -> Root {
    thread_local! {
        static ROOTS: RefCell<Vec<Root>> = const { RefCell::new(Vec::new()) };
    }
    ROOTS.with_borrow_mut(|roots| {
        let path = Path::new(OsStr::from_bytes(directory));
        if let Some(at) = roots
            .iter()
            .position(|root| root.path() == path && root.symlinks() == symlinks)
        {
            roots[..=at].rotate_right(1);
            return roots[0].clone();
        }
        roots.truncate(REMEMBERED_MAX - 1);
        roots.insert(0, open_root(directory, symlinks));
        roots[0].clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_may_be_a_directory_a_file_or_the_beginning_of_a_name() {
        for (path, alias, expected) in [
            ("/srv/a", false, ("/srv/a", "")),
            ("/srv/a/", true, ("/srv/a/", "")),
            ("/srv/a", true, ("/srv/", "a")),
            ("/srv/robots.txt", true, ("/srv/", "robots.txt")),
        ] {
            let (directory, glue) = split(path.as_bytes(), alias);
            assert_eq!(
                (directory, glue),
                (expected.0.as_bytes(), expected.1.as_bytes()),
                "{path}"
            );
        }
    }
}
