//! Becoming another user, for good.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;

use rustix::process::{geteuid, getgid, getuid};

/// Why the user cannot be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// There is no such user.
    #[error("there is no user {0:?}; create it (useradd --system {0}) or name another")]
    NoUser(String),
    /// There is no such group.
    #[error("there is no group {0:?}; create it (groupadd --system {0}) or name another")]
    NoGroup(String),
    /// The system's user database failed.
    #[error("{name:?} cannot be looked up: {source}")]
    Lookup {
        /// The user or group.
        name: String,
        /// The answer.
        source: io::Error,
    },
    /// This process has not the right.
    #[error("only root can become user {uid}, group {gid}; this process runs as user {own}")]
    NotRoot {
        /// The wanted user.
        uid: u32,
        /// The wanted group.
        gid: u32,
        /// The present user.
        own: u32,
    },
    /// A step failed.
    #[error("{step} failed: {source}")]
    Step {
        /// The system call.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Everything succeeded, and yet root could be had back.
    #[error("the rights of root could not be given up for good")]
    NotForGood,
}

/// Which supplementary groups a process has under its new identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Groups {
    /// Those of the user in the group database (`initgroups`): nginx, and gunicorn with `--initgroups`.
    OfUser,
    /// The primary group alone.
    PrimaryOnly,
    /// Those of the present process.
    Keep,
}

/// Another user and group. Looked up early, while files can be read; assumed late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// Supplementary groups; `None` keeps those of the process.
    pub groups: Option<Vec<u32>>,
}

impl Identity {
    /// Looks up a user and a group, each a name or a number; what is `None` stays as it is.
    ///
    /// # Errors
    /// [`IdentityError::NoUser`], [`IdentityError::NoGroup`], [`IdentityError::Lookup`].
    pub fn lookup(
        user: Option<&str>,
        group: Option<&str>,
        groups: &Groups,
    ) -> Result<Self, IdentityError> {
        let user = user.map(find_user).transpose()?;
        let gid = match group {
            Some(group) => find_group(group)?,
            None => getgid().as_raw(),
        };
        let uid = user
            .as_ref()
            .map_or_else(|| getuid().as_raw(), |user| user.uid);
        let groups = match (groups, user.and_then(|user| user.name)) {
            (Groups::Keep, _) => None,
            (Groups::OfUser, Some(name)) => Some(groups_of(&name, gid)),
            _ => Some(vec![gid]),
        };
        Ok(Self { uid, gid, groups })
    }

    /// The primary group of a user, which nginx and others take when only a user is named.
    ///
    /// # Errors
    /// [`IdentityError::NoUser`], [`IdentityError::Lookup`].
    pub fn primary_group(user: &str) -> Result<Option<u32>, IdentityError> {
        Ok(find_user(user)?.gid)
    }

    /// Is this what the process is already?
    #[must_use]
    pub fn is_present(&self) -> bool {
        geteuid().as_raw() == self.uid
            && getuid().as_raw() == self.uid
            && getgid().as_raw() == self.gid
    }

    /// Becomes it, in all threads and for good: groups, then group, then user, then checks.
    ///
    /// # Errors
    /// [`IdentityError::NotRoot`], [`IdentityError::Step`], [`IdentityError::NotForGood`]. After an error the process
    /// must not go on: it may have given up a part.
    pub fn assume(&self) -> Result<(), IdentityError> {
        let (uid, gid) = (self.uid, self.gid);
        if !geteuid().is_root() {
            let own = geteuid().as_raw();
            return if self.is_present() {
                Ok(())
            } else {
                Err(IdentityError::NotRoot { uid, gid, own })
            };
        }
        if let Some(groups) = &self.groups {
            // SAFETY: the pointer and the length describe one slice of gid_t.
            step("setgroups", unsafe {
                libc::setgroups(groups.len(), groups.as_ptr())
            })?;
        }
        // SAFETY: takes numbers only. glibc does it in every thread.
        step("setresgid", unsafe { libc::setresgid(gid, gid, gid) })?;
        // SAFETY: as above.
        step("setresuid", unsafe { libc::setresuid(uid, uid, uid) })?;
        // SAFETY: takes a number only; must fail.
        if uid != 0 && unsafe { libc::setuid(0) } == 0 {
            return Err(IdentityError::NotForGood);
        }
        if self.is_present() {
            Ok(())
        } else {
            Err(IdentityError::NotForGood)
        }
    }
}

fn step(step: &'static str, result: i32) -> Result<(), IdentityError> {
    if result == 0 {
        return Ok(());
    }
    Err(IdentityError::Step {
        step,
        source: io::Error::last_os_error(),
    })
}

struct User {
    uid: u32,
    gid: Option<u32>,
    name: Option<CString>,
}

fn find_user(user: &str) -> Result<User, IdentityError> {
    let no_user = || IdentityError::NoUser(user.to_owned());
    let name = CString::new(user).map_err(|_| no_user())?;
    let found = look_up(user, |buffer| {
        let mut entry = MaybeUninit::<libc::passwd>::uninit();
        let mut found = std::ptr::null_mut();
        // SAFETY: every pointer leads to memory of the length told, which outlives the call.
        let code = unsafe {
            let (bytes, length) = (buffer.as_mut_ptr().cast(), buffer.len());
            libc::getpwnam_r(name.as_ptr(), entry.as_mut_ptr(), bytes, length, &mut found)
        };
        // SAFETY: when something was found, the entry was filled in.
        (
            code,
            (!found.is_null())
                .then(|| unsafe { entry.assume_init() })
                .map(|e| (e.pw_uid, e.pw_gid)),
        )
    })?;
    match (found, user.parse()) {
        (Some((uid, gid)), _) => Ok(User {
            uid,
            gid: Some(gid),
            name: Some(name),
        }),
        (None, Ok(uid)) => Ok(User {
            uid,
            gid: None,
            name: name_of(uid),
        }),
        (None, Err(_)) => Err(no_user()),
    }
}

/// The name that goes with a number, for its groups.
fn name_of(uid: u32) -> Option<CString> {
    look_up("", |buffer| {
        let mut entry = MaybeUninit::<libc::passwd>::uninit();
        let mut found = std::ptr::null_mut();
        // SAFETY: as in `find_user`.
        let code = unsafe {
            let (bytes, length) = (buffer.as_mut_ptr().cast(), buffer.len());
            libc::getpwuid_r(uid, entry.as_mut_ptr(), bytes, length, &mut found)
        };
        // SAFETY: when something was found, the entry and the name in it were filled in.
        let name = (!found.is_null())
            .then(|| unsafe { CStr::from_ptr(entry.assume_init().pw_name).to_owned() });
        (code, name)
    })
    .ok()
    .flatten()
}

fn find_group(group: &str) -> Result<u32, IdentityError> {
    let no_group = || IdentityError::NoGroup(group.to_owned());
    let name = CString::new(group).map_err(|_| no_group())?;
    let found = look_up(group, |buffer| {
        let mut entry = MaybeUninit::<libc::group>::uninit();
        let mut found = std::ptr::null_mut();
        // SAFETY: as in `find_user`.
        let code = unsafe {
            let (bytes, length) = (buffer.as_mut_ptr().cast(), buffer.len());
            libc::getgrnam_r(name.as_ptr(), entry.as_mut_ptr(), bytes, length, &mut found)
        };
        // SAFETY: when something was found, the entry was filled in.
        (
            code,
            (!found.is_null()).then(|| unsafe { entry.assume_init() }.gr_gid),
        )
    })?;
    found.or_else(|| group.parse().ok()).ok_or_else(no_group)
}

/// Calls one of the reentrant lookups with ever more room until it has enough.
fn look_up<T>(
    name: &str,
    mut call: impl FnMut(&mut [u8]) -> (i32, Option<T>),
) -> Result<Option<T>, IdentityError> {
    let mut buffer = vec![0; 1024];
    loop {
        match call(&mut buffer) {
            (libc::ERANGE, _) if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 4, 0),
            (libc::EINTR, _) => {}
            (0 | libc::ENOENT | libc::ESRCH, found) => return Ok(found),
            (code, _) => {
                let source = io::Error::from_raw_os_error(code);
                return Err(IdentityError::Lookup {
                    name: name.to_owned(),
                    source,
                });
            }
        }
    }
}

fn groups_of(user: &CStr, gid: u32) -> Vec<u32> {
    let mut groups = vec![0; 64];
    loop {
        let mut count = groups.len() as i32;
        // SAFETY: `count` tells how many numbers fit into `groups`.
        let fits =
            unsafe { libc::getgrouplist(user.as_ptr(), gid, groups.as_mut_ptr(), &mut count) };
        let wanted = usize::try_from(count).unwrap_or(0);
        if fits >= 0 {
            groups.truncate(wanted);
            return groups;
        }
        groups.resize(wanted.max(groups.len() * 2).min(1 << 16), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_found() {
        let root = Identity::lookup(Some("root"), Some("0"), &Groups::OfUser).unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert!(root.groups.unwrap().contains(&0));
        let free = Identity::lookup(Some("54321"), Some("54322"), &Groups::OfUser).unwrap();
        assert_eq!(
            free,
            Identity {
                uid: 54321,
                gid: 54322,
                groups: Some(vec![54322])
            }
        );
        let same = Identity::lookup(None, None, &Groups::Keep).unwrap();
        assert!(same.is_present() && same.groups.is_none());
        assert_eq!(Identity::primary_group("root").unwrap(), Some(0));
    }

    #[test]
    fn who_is_missing_is_named_with_what_to_do() {
        let lookup = |user, group| Identity::lookup(user, group, &Groups::Keep).unwrap_err();
        let words = lookup(Some("no-such-user"), None).to_string();
        assert!(
            words.contains("no user \"no-such-user\"; create it"),
            "{words}"
        );
        assert!(matches!(
            lookup(None, Some("no-such-group")),
            IdentityError::NoGroup(_)
        ));
        assert!(matches!(
            lookup(Some("a\0b"), None),
            IdentityError::NoUser(_)
        ));
        assert!(matches!(lookup(Some("-5"), None), IdentityError::NoUser(_)));
    }
}
