//! Whom the worker becomes and what it may do, from the configuration.

use proxy_core::engine::process::ProcessSettings;
use rustix::process::geteuid;
use supervisor::{Groups, Identity};

use crate::orders::Rights;

/// nginx's user where `user` says nothing.
const USER: &str = "nobody";

impl Rights {
    /// What the configuration asks for. Only root can become somebody else: for others, `user` has no meaning.
    ///
    /// Without a second argument, `user` means the group of the same name, as in nginx; where there is none, the user's own.
    ///
    /// # Errors
    /// When the user or the group does not exist, in words.
    pub fn of(process: &ProcessSettings) -> Result<Self, String> {
        let identity = if geteuid().is_root() {
            Some(identity(process)?)
        } else {
            None
        };
        Ok(Self {
            identity: identity.map(|identity| (identity.uid, identity.gid, identity.groups)),
            open_files_max: process.open_files_max,
            priority: process.priority,
            working_directory: process.working_directory.clone(),
        })
    }

    /// The worker's user and group, where they are others than the master's.
    pub fn owner(&self) -> Option<(u32, u32)> {
        self.identity
            .as_ref()
            .map(|(user, group, _)| (*user, *group))
    }
}

fn identity(process: &ProcessSettings) -> Result<Identity, String> {
    let (user, group) = match &process.user {
        Some((user, group)) => (user.as_str(), group.as_deref()),
        None => (USER, None),
    };
    let look_up = |group: Option<&str>| Identity::lookup(Some(user), group, &Groups::OfUser);
    let found = match group {
        Some(group) => look_up(Some(group)),
        None => look_up(Some(user)).or_else(|_| {
            let own = Identity::primary_group(user)?.map(|group| group.to_string());
            look_up(own.as_deref())
        }),
    };
    found.map_err(|error| format!("{error}; it is named by the \"user\" directive, or its default"))
}

/// What nginx warns of, too.
pub fn warning(process: &ProcessSettings) -> Option<&'static str> {
    (process.user.is_some() && !geteuid().is_root()).then_some(
        "the \"user\" directive makes sense only if the master process runs with super-user privileges, ignored",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(user: Option<(&str, Option<&str>)>) -> ProcessSettings {
        ProcessSettings {
            user: user.map(|(user, group)| (user.to_owned(), group.map(str::to_owned))),
            workers: Some(1),
            worker_connections: 512,
            pid: "/run/nginx.pid".into(),
            daemon: true,
            master_process: true,
            open_files_max: None,
            shutdown_timeout: None,
            working_directory: None,
            priority: None,
        }
    }

    #[test]
    fn root_becomes_nobody_unless_told_otherwise() {
        let rights = Rights::of(&settings(None)).expect("every system has a nobody");
        let root = geteuid().is_root();
        assert_eq!(rights.owner().is_some(), root);
        if root {
            assert_ne!(rights.owner().map(|(user, _)| user), Some(0));
            let same = Rights::of(&settings(Some(("root", None)))).expect("there is a root");
            assert_eq!(same.owner(), Some((0, 0)));
        }
        assert_eq!(warning(&settings(Some(("root", None)))).is_some(), !root);
    }

    #[test]
    fn an_unknown_user_is_named() {
        if geteuid().is_root() {
            let words =
                Rights::of(&settings(Some(("no-such-user", None)))).expect_err("there is none");
            assert!(
                words.starts_with("there is no user \"no-such-user\""),
                "{words}"
            );
            let words = Rights::of(&settings(Some(("root", Some("no-such-group")))))
                .expect_err("there is none");
            assert!(
                words.starts_with("there is no group \"no-such-group\""),
                "{words}"
            );
        }
    }
}
