//! What is in a directory: the model, which has no looks, and [`Page`], which writes it down.
//!
//! Sorted as nginx's `autoindex` sorts: directories first, then by the bytes of the name; names that begin with a dot are
//! left out. Links are followed as far as the root's policy lets them be; what it refuses is left out too, as it could
//! not be fetched.

mod json;
mod page;
mod text;
mod xml;

use rustix::fs::{AtFlags, Dir, DirEntry, FileType};
use rustix::io::Errno;

use crate::error::{OpenError, OpenErrorKind};
use crate::open::{Lookup, Symlinks};
use crate::opened::{Kind, Metadata};
use crate::root::{Root, in_pool};

pub use page::Page;

/// What is in a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Sorted: directories first, then by the bytes of the name.
    pub entries: Vec<Entry>,
    /// Whether there was more than [`ListingOptions::entries_max`] allows.
    pub is_cut: bool,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, as the file system has it: any bytes but `/` and NUL.
    pub name: Vec<u8>,
    /// What it is; links count as what they lead to, and as [`Kind::Symlink`] only if they lead nowhere.
    pub kind: Kind,
    /// Length in bytes; 0 for what isn't a file.
    pub len: u64,
    /// Last modification, seconds since 1970-01-01 00:00:00 UTC.
    pub modified: i64,
}

/// What a listing shows.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct ListingOptions {
    hidden: bool,
    entries_max: usize,
}

impl Default for ListingOptions {
    /// No hidden names, at most 100,000 entries.
    fn default() -> Self {
        ListingOptions {
            hidden: false,
            entries_max: 100_000,
        }
    }
}

impl ListingOptions {
    /// Whether to show names that begin with a dot. Default no.
    pub fn hidden(mut self, shown: bool) -> Self {
        self.hidden = shown;
        self
    }

    /// How many entries are read at most; which ones is up to the file system. Default 100,000 (a listing takes about 100
    /// bytes for each).
    pub fn entries_max(mut self, entries: usize) -> Self {
        self.entries_max = entries;
        self
    }
}

impl Root {
    /// Lists the directory at `path`. Always waits for the disk: for the blocking pool.
    ///
    /// # Errors
    /// As [`Root::open_with`]; [`OpenErrorKind::NotFound`] (`ENOTDIR`) if it is no directory.
    pub fn list_with_patience(
        &self,
        path: &[u8],
        options: &ListingOptions,
    ) -> Result<Listing, OpenError> {
        let opened = self.open_with(path, Lookup::Patient)?;
        if !opened.metadata().is_dir() {
            return Err(OpenError::of(Errno::NOTDIR));
        }
        let fd = opened
            .into_fd()
            .map_err(|error| OpenError::of(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        let mut dir = Dir::new(fd).map_err(OpenError::of)?;
        let mut listing = Listing::default();
        while let Some(found) = dir.next() {
            let found = found.map_err(OpenError::of)?;
            let name = found.file_name().to_bytes();
            if matches!(name, b"." | b"..") || (name.starts_with(b".") && !options.hidden) {
                continue;
            }
            if listing.entries.len() == options.entries_max {
                listing.is_cut = true;
                break;
            }
            listing.entries.extend(self.entry(path, &dir, &found)?);
        }
        listing.sort();
        Ok(listing)
    }

    /// [`list_with_patience`](Self::list_with_patience) in the blocking pool.
    ///
    /// # Errors
    /// As [`list_with_patience`](Self::list_with_patience).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn list(&self, path: &[u8], options: &ListingOptions) -> Result<Listing, OpenError> {
        let (root, path, options) = (self.clone(), path.to_vec(), *options);
        in_pool(move || root.list_with_patience(&path, &options)).await
    }

    /// `None` for what has vanished meanwhile and for what may not be fetched.
    fn entry(&self, path: &[u8], dir: &Dir, found: &DirEntry) -> Result<Option<Entry>, OpenError> {
        let name = found.file_name();
        let own = match rustix::fs::statat(
            dir.fd().map_err(OpenError::of)?,
            name,
            AtFlags::SYMLINK_NOFOLLOW,
        ) {
            Ok(stat) => Metadata::of(&stat),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::ACCESS) => return Ok(None),
            Err(errno) => return Err(OpenError::of(errno)),
        };
        let entry = |facts: Metadata| Entry {
            name: name.to_bytes().to_vec(),
            kind: facts.kind,
            len: facts.len,
            modified: facts.modified,
        };
        if found.file_type() != FileType::Symlink && own.kind != Kind::Symlink {
            return Ok(Some(entry(own)));
        }
        if self.symlinks() == Symlinks::Refuse {
            return Ok(None);
        }
        let full = [path, b"/", name.to_bytes()].concat();
        match self.metadata_with(&full, Lookup::Patient) {
            Ok(target) => Ok(Some(entry(target))),
            Err(error) if error.kind() == OpenErrorKind::NotFound => Ok(Some(entry(own))),
            Err(_) => Ok(None),
        }
    }
}

impl Listing {
    fn sort(&mut self) {
        self.entries.sort_unstable_by(|one, other| {
            let is_file = |entry: &Entry| entry.kind != Kind::Directory;
            is_file(one)
                .cmp(&is_file(other))
                .then_with(|| one.name.cmp(&other.name))
        });
    }
}

#[cfg(test)]
mod tests;
