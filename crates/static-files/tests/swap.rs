//! A root that is replaced while it serves.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use static_files::{Lookup, OpenErrorKind, Opened, Root};

fn release(base: &Path, number: u32) {
    let folder = base.join(format!("release-{number}"));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("version"), format!("{number:08}")).unwrap();
}

/// Switches the way deployments do it: a new link, renamed over the old one.
fn switch(base: &Path, number: u32) {
    let new = base.join("new");
    symlink(format!("release-{number}"), &new).unwrap();
    std::fs::rename(&new, base.join("current")).unwrap();
}

fn read(opened: &Opened) -> u32 {
    let mut text = Vec::new();
    assert_eq!(
        opened.read_small(100, &mut text).unwrap(),
        static_files::SmallRead::Whole
    );
    String::from_utf8(text).unwrap().parse().unwrap()
}

#[test]
fn each_request_gets_one_whole_release_and_the_last_is_the_last() {
    let base = tempfile::tempdir().unwrap();
    let releases = 50;
    release(base.path(), 0);
    switch(base.path(), 0);
    let root = Root::options()
        .recheck_after(Duration::ZERO)
        .root(base.path().join("current"));
    let (over, served) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut last = 0;
                while !over.load(Ordering::Acquire) {
                    let opened = root.open_with(b"version", Lookup::Patient).unwrap();
                    last = read(&opened);
                    served.fetch_add(1, Ordering::Relaxed);
                }
                assert!(last < releases);
            });
        }
        for number in 1..releases {
            release(base.path(), number);
            switch(base.path(), number);
            let before = served.load(Ordering::Relaxed);
            while served.load(Ordering::Relaxed) < before + 10 {
                std::thread::yield_now();
            }
        }
        over.store(true, Ordering::Release);
    });
    // With nobody else looking, what is opened now is the last one.
    assert_eq!(
        read(&root.open_with(b"version", Lookup::Patient).unwrap()),
        releases - 1
    );
}

#[test]
fn a_swap_is_noticed_when_the_last_look_is_too_old() {
    let base = tempfile::tempdir().unwrap();
    for number in [1, 2] {
        release(base.path(), number);
    }
    switch(base.path(), 1);
    let lazy = Root::options()
        .recheck_after(Duration::from_secs(3600))
        .root(base.path().join("current"));
    let usual = Root::new(base.path().join("current"));
    for root in [&lazy, &usual] {
        assert_eq!(
            read(&root.open_with(b"version", Lookup::Patient).unwrap()),
            1
        );
    }
    switch(base.path(), 2);
    // The usual root notices it soon; the lazy one keeps what it holds, for an hour.
    while read(&usual.open_with(b"version", Lookup::Patient).unwrap()) == 1 {
        std::thread::yield_now();
    }
    assert_eq!(
        read(&lazy.open_with(b"version", Lookup::Patient).unwrap()),
        1
    );
}

#[test]
fn a_root_may_come_and_go() {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("site");
    let root = Root::options().recheck_after(Duration::ZERO).root(&folder);
    let error = root.open_with(b"version", Lookup::Patient).unwrap_err();
    assert_eq!(error.kind(), OpenErrorKind::NotFound);
    assert!(error.is_about_root());

    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("version"), "7").unwrap();
    let opened = root.open_with(b"version", Lookup::Patient).unwrap();

    std::fs::rename(&folder, base.path().join("elsewhere")).unwrap();
    assert!(
        root.open_with(b"version", Lookup::Patient)
            .unwrap_err()
            .is_about_root()
    );
    assert_eq!(read(&opened), 7, "what is open stays open");

    std::fs::write(&folder, "a file, not a directory").unwrap();
    let error = root.open_with(b"version", Lookup::Patient).unwrap_err();
    assert_eq!(
        (error.kind(), error.is_about_root()),
        (OpenErrorKind::NotFound, true)
    );
}

#[test]
fn a_missing_root_is_found_as_soon_as_it_exists() {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("site");
    let root = Root::options()
        .recheck_after(Duration::from_secs(3600))
        .root(&folder);
    assert!(root.open_with(b"", Lookup::Patient).is_err());
    std::fs::create_dir(&folder).unwrap();
    assert!(
        root.open_with(b"", Lookup::Patient)
            .unwrap()
            .metadata()
            .is_dir()
    );
}

#[test]
fn a_relative_root_is_not_moved_by_changing_directory() {
    assert!(Root::new("somewhere").path().is_absolute());
}

#[test]
fn renames_beneath_the_root_disturb_nobody() {
    let base = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(base.path().join("a/b")).unwrap();
    std::fs::write(base.path().join("version"), "3").unwrap();
    symlink("../../version", base.path().join("a/b/link")).unwrap();
    let root = Root::new(base.path());
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                std::fs::rename(base.path().join("a"), base.path().join("x")).unwrap();
                std::fs::rename(base.path().join("x"), base.path().join("a")).unwrap();
            }
        });
        let mut opened = 0;
        while opened < 500 {
            match root.open_with(b"a/b/link", Lookup::Patient) {
                Ok(file) => {
                    assert_eq!(read(&file), 3);
                    opened += 1;
                }
                Err(error) => assert_eq!(error.kind(), OpenErrorKind::NotFound),
            }
        }
        over.store(true, Ordering::Release);
    });
}
