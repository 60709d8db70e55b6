//! A refusal says which file or directory refused whom, and what to do.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use static_files::{OpenErrorKind, Refusal, Resolved, Root, Symlinks};

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn refusal(root: &Root, path: &str) -> Refusal {
    match root.resolve_with_patience(path.as_bytes()) {
        Resolved::File(_) | Resolved::Directory(_) => panic!("{path} was opened"),
        Resolved::NotFound(refusal)
        | Resolved::Forbidden(refusal)
        | Resolved::BadPath(refusal)
        | Resolved::Failed(refusal) => refusal,
        _ => unreachable!("no other outcome is known"),
    }
}

/// Runs `work` in a thread that is nobody, who may read nothing that isn't for others.
fn as_nobody(work: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let done = scope.spawn(|| {
            if rustix::process::geteuid().is_root() {
                let (uid, gid) = (
                    rustix::fs::Uid::from_raw(65534),
                    rustix::fs::Gid::from_raw(65534),
                );
                rustix::thread::set_thread_groups(&[]).unwrap();
                rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
                rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
            }
            work();
        });
        done.join().unwrap();
    });
}

#[test]
fn names_the_directory_that_cannot_be_searched_and_the_user() {
    let base = tempfile::tempdir().unwrap();
    mode(base.path(), 0o755);
    let closed = base.path().join("closed");
    std::fs::create_dir_all(closed.join("media")).unwrap();
    std::fs::write(closed.join("media/a.jpg"), "picture").unwrap();
    let as_root = rustix::process::geteuid().is_root();
    mode(&closed, if as_root { 0o750 } else { 0o000 });
    as_nobody(|| {
        let root = Root::new(base.path());
        let refusal = refusal(&root, "closed/media/a.jpg");
        assert_eq!(refusal.error().kind(), OpenErrorKind::Forbidden);
        assert_eq!(refusal.component(), closed.canonicalize().unwrap());
        let words = refusal.to_string();
        assert!(words.contains("does not let user"), "{words}");
        assert!(words.contains("search it"), "{words}");
        if as_root {
            assert!(
                words.contains("owner root (0), group root (0), mode 0750"),
                "{words}"
            );
            assert!(words.contains("nobody (65534)"), "{words}");
            assert!(words.contains("chmod o+x"), "{words}");
        }
        assert!(words.contains("(13: Permission denied)"), "{words}");
    });
    mode(&closed, 0o755);
}

#[test]
fn names_the_closed_directory_above_the_root() {
    let base = tempfile::tempdir().unwrap();
    mode(base.path(), 0o755);
    let home = base.path().join("home");
    let site = home.join("site");
    std::fs::create_dir_all(&site).unwrap();
    std::fs::write(site.join("index.html"), "hello").unwrap();
    mode(
        &home,
        if rustix::process::geteuid().is_root() {
            0o700
        } else {
            0o000
        },
    );
    as_nobody(|| {
        let root = Root::new(&site);
        let refusal = refusal(&root, "/index.html");
        assert_eq!(refusal.error().kind(), OpenErrorKind::Forbidden);
        assert!(refusal.error().is_about_root());
        assert_eq!(refusal.component(), home.canonicalize().unwrap());
        assert_eq!(refusal.path(), site.join("index.html"));
    });
    mode(&home, 0o755);
}

#[test]
fn names_the_file_that_cannot_be_read() {
    let base = tempfile::tempdir().unwrap();
    mode(base.path(), 0o755);
    let file = base.path().join("secret.txt");
    std::fs::write(&file, "secret").unwrap();
    mode(
        &file,
        if rustix::process::geteuid().is_root() {
            0o640
        } else {
            0o000
        },
    );
    as_nobody(|| {
        let refusal = refusal(&Root::new(base.path()), "secret.txt");
        assert_eq!(refusal.component(), file);
        assert!(refusal.reason().starts_with("file "), "{refusal}");
        assert!(refusal.reason().contains("does not let user"), "{refusal}");
        assert!(refusal.reason().contains("+r \""), "{refusal}");
    });
}

#[test]
fn names_the_first_component_that_is_missing() {
    let base = tempfile::tempdir().unwrap();
    std::fs::create_dir(base.path().join("a")).unwrap();
    std::fs::write(base.path().join("a/file"), "content").unwrap();
    symlink("gone", base.path().join("a/link")).unwrap();
    let root = Root::new(base.path());
    let cases = [
        ("a/b/c", "a/b", "does not exist"),
        ("a/file/x", "a/file/x", "is not a directory"),
        ("a/file/", "a/file", "is not a directory"),
        (
            "a/link",
            "a/link",
            "is a symbolic link that leads nowhere, to \"gone\"",
        ),
    ];
    for (path, component, words) in cases {
        let refusal = refusal(&root, path);
        assert_eq!(refusal.error().kind(), OpenErrorKind::NotFound, "{path}");
        assert_eq!(refusal.component(), base.path().join(component), "{path}");
        assert!(refusal.reason().contains(words), "{path}: {refusal}");
    }
    let missing_root = Root::new(base.path().join("no/where"));
    let refusal = refusal(&missing_root, "index.html");
    assert_eq!(refusal.component(), base.path().join("no"));
    assert!(
        refusal.reason().contains("so the root directory"),
        "{refusal}"
    );
}

#[test]
fn names_the_link_that_the_policy_forbids() {
    let base = tempfile::tempdir().unwrap();
    let site = base.path().join("site");
    std::fs::create_dir(&site).unwrap();
    std::fs::write(base.path().join("secret"), "secret").unwrap();
    std::fs::create_dir(site.join("folder")).unwrap();
    symlink("../../secret", site.join("folder/out")).unwrap();
    symlink("folder", site.join("short")).unwrap();

    let escaped = refusal(&Root::new(&site), "folder/out");
    assert_eq!(escaped.error().kind(), OpenErrorKind::Escapes);
    assert_eq!(escaped.component(), site.join("folder/out"));
    assert!(
        escaped.reason().contains("leads out of the root"),
        "{escaped}"
    );
    assert!(
        escaped.reason().contains("to \"../../secret\""),
        "{escaped}"
    );

    let root = Root::options().symlinks(Symlinks::Refuse).root(&site);
    let refused = refusal(&root, "short/out");
    assert_eq!(refused.component(), site.join("short"));
    assert!(refused.reason().contains("allows none"), "{refused}");

    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::lchown(site.join("folder/out"), Some(1000), None).unwrap();
        let root = Root::options().symlinks(Symlinks::IfOwner).root(&site);
        let foreign = refusal(&root, "folder/out");
        assert_eq!(foreign.error().kind(), OpenErrorKind::Owner);
        assert!(
            foreign.reason().contains("belongs to root (0)"),
            "{foreign}"
        );
    }
}

#[test]
fn a_path_that_nobody_normalised_is_refused_as_such() {
    let base = tempfile::tempdir().unwrap();
    let root = Root::new(base.path());
    for path in ["../x", "a/../b", "a\0b"] {
        assert!(
            matches!(
                root.resolve_with_patience(path.as_bytes()),
                Resolved::BadPath(_)
            ),
            "{path:?}"
        );
    }
}
