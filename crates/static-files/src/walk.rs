//! Opening a path component by component, for kernels without `openat2` and for the policy that the kernel doesn't have
//! ([`Symlinks::IfOwner`]). Every step refuses to follow a link by itself; links are read and walked here, so what the
//! policy forbids is never opened, whatever is renamed meanwhile.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use crate::error::OpenError;
use crate::open::{ESCAPED, FOR_FACTS, Lookup, Opener, Symlinks, foreign_link};

/// How many links may be followed for one path; the kernel's own limit.
const LINKS_MAX: u32 = 40;

/// Opens `path` beneath `root` as [`Opener::open`] promises.
pub(crate) fn open(
    opener: Opener,
    root: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    lookup: Lookup,
) -> Result<OwnedFd, OpenError> {
    let mut walk = Walk {
        opener,
        lookup,
        root,
        outside: None,
        below: Vec::new(),
        texts: vec![Text {
            path: path.to_vec(),
            at: 0,
            owner: None,
        }],
        links: 0,
    };
    walk.run(flags)
}

struct Walk<'a> {
    opener: Opener,
    lookup: Lookup,
    root: BorrowedFd<'a>,
    /// Replaces `root` when an allowed link left it.
    outside: Option<OwnedFd>,
    /// Directories between the root and where we are.
    below: Vec<OwnedFd>,
    /// The path, and on top of it the targets of links that are being followed.
    texts: Vec<Text>,
    links: u32,
}

/// A path that is being walked.
struct Text {
    path: Vec<u8>,
    at: usize,
    /// Who must own what it leads to.
    owner: Option<u32>,
}

impl Text {
    fn is_done(&self) -> bool {
        self.path[self.at..].iter().all(|&b| b == b'/')
    }
}

impl Walk<'_> {
    fn run(&mut self, flags: OFlags) -> Result<OwnedFd, OpenError> {
        while let Some(name) = self.next_name()? {
            match &name[..] {
                b"." => {}
                b".." => self.up()?,
                _ if self.texts.iter().all(Text::is_done) => {
                    if let Some(file) = self.last(&name, flags)? {
                        return Ok(file);
                    }
                }
                _ => self.down(&name)?,
            }
        }
        // The path led to a directory by way of ".", ".." or the root itself.
        let here = self
            .opener
            .step(self.here(), b".", flags, self.lookup)
            .map_err(OpenError::of)?;
        Ok(here)
    }

    /// The next name, taken off; finished link targets are checked and dropped.
    fn next_name(&mut self) -> Result<Option<Vec<u8>>, OpenError> {
        while let Some(text) = self.texts.last_mut() {
            if !text.is_done() {
                let rest = &text.path[text.at..];
                let start = rest.iter().take_while(|&&b| b == b'/').count();
                let len = rest[start..].iter().take_while(|&&b| b != b'/').count();
                text.at += start + len;
                return Ok(Some(rest[start..start + len].to_vec()));
            }
            let owner = text.owner;
            self.texts.pop();
            self.check_owner(owner, self.here())?;
        }
        Ok(None)
    }

    fn here(&self) -> BorrowedFd<'_> {
        match (self.below.last(), &self.outside) {
            (Some(dir), _) => dir.as_fd(),
            (None, Some(dir)) => dir.as_fd(),
            (None, None) => self.root,
        }
    }

    /// `..`, which only the target of a link can have.
    fn up(&mut self) -> Result<(), OpenError> {
        if self.below.pop().is_some() {
            return Ok(());
        }
        if !self.may_leave() {
            return Err(OpenError::of(ESCAPED));
        }
        let parent = self.opener.step(
            self.here(),
            b"..",
            FOR_FACTS | OFlags::DIRECTORY,
            self.lookup,
        );
        self.outside = Some(parent.map_err(OpenError::of)?);
        Ok(())
    }

    /// A name that something follows: must be a directory or lead to one.
    fn down(&mut self, name: &[u8]) -> Result<(), OpenError> {
        match self.opener.step(
            self.here(),
            name,
            FOR_FACTS | OFlags::DIRECTORY,
            self.lookup,
        ) {
            Ok(dir) => self.below.push(dir),
            Err(errno @ (Errno::NOTDIR | Errno::LOOP)) => self.follow(name, errno)?,
            Err(errno) => return Err(OpenError::of(errno)),
        }
        Ok(())
    }

    /// The last name: what was asked for, or `None` if it is a link, which is now being followed.
    fn last(&mut self, name: &[u8], flags: OFlags) -> Result<Option<OwnedFd>, OpenError> {
        let slash = self.texts.iter().any(|text| text.at < text.path.len());
        let flags = if slash {
            flags | OFlags::DIRECTORY
        } else {
            flags
        };
        let file = match self.opener.step(self.here(), name, flags, self.lookup) {
            Ok(file) => file,
            Err(errno @ (Errno::NOTDIR | Errno::LOOP)) => {
                self.follow(name, errno)?;
                return Ok(None);
            }
            Err(errno) => return Err(OpenError::of(errno)),
        };
        if flags.contains(OFlags::PATH) && is_link(&file)? {
            self.follow(name, Errno::LOOP)?;
            return Ok(None);
        }
        for text in &self.texts {
            self.check_owner(text.owner, file.as_fd())?;
        }
        Ok(Some(file))
    }

    /// Goes on with the target of the link `name`; `errno` is the answer if it isn't a link.
    fn follow(&mut self, name: &[u8], errno: Errno) -> Result<(), OpenError> {
        let link = self
            .opener
            .step(self.here(), name, FOR_FACTS, self.lookup)
            .map_err(OpenError::of)?;
        let stat = rustix::fs::fstat(&link).map_err(OpenError::of)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            return Err(OpenError::of(errno));
        }
        self.links += 1;
        if self.opener.symlinks == Symlinks::Refuse || self.links > LINKS_MAX {
            return Err(OpenError::of(Errno::LOOP));
        }
        let target = rustix::fs::readlinkat(&link, c"", Vec::new())
            .map_err(OpenError::of)?
            .into_bytes();
        if target.is_empty() {
            return Err(OpenError::of(Errno::NOENT));
        }
        if target.starts_with(b"/") {
            self.leave()?;
        }
        let owner = (self.opener.symlinks == Symlinks::IfOwner).then_some(stat.st_uid);
        self.texts.push(Text {
            path: target,
            at: 0,
            owner,
        });
        Ok(())
    }

    /// Goes to `/`.
    fn leave(&mut self) -> Result<(), OpenError> {
        if !self.may_leave() {
            return Err(OpenError::of(ESCAPED));
        }
        let flags = FOR_FACTS | OFlags::DIRECTORY;
        let top = rustix::fs::open("/", flags, rustix::fs::Mode::empty()).map_err(OpenError::of)?;
        self.outside = Some(top);
        self.below.clear();
        Ok(())
    }

    fn may_leave(&self) -> bool {
        matches!(self.opener.symlinks, Symlinks::Follow | Symlinks::IfOwner)
    }

    fn check_owner(&self, owner: Option<u32>, reached: BorrowedFd<'_>) -> Result<(), OpenError> {
        let Some(owner) = owner else { return Ok(()) };
        let stat = rustix::fs::fstat(reached).map_err(OpenError::of)?;
        if stat.st_uid == owner {
            Ok(())
        } else {
            Err(foreign_link())
        }
    }
}

fn is_link(file: &OwnedFd) -> Result<bool, OpenError> {
    let stat = rustix::fs::fstat(file).map_err(OpenError::of)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}
