//! What is remembered of files is never told when the disk says something else.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use http::Method;
use http_wire::Fields;
use static_files::{FileBody, Lookup, Remembered, Representation, Root, Rules, Small, forget_old};

fn root(folder: &Path) -> Root {
    Root::options().settle_time(Duration::ZERO).root(folder)
}

/// Remembers what is there now and gives it back.
fn remembered(root: &Root, path: &[u8]) -> Vec<u8> {
    let opened = root.open_with(path, Lookup::Patient).unwrap();
    let small = root.remember(path, &opened).expect("it can be remembered");
    assert_eq!(root.recall(path).unwrap().metadata(), small.metadata());
    small.content().to_vec()
}

fn small(root: &Root, path: &[u8]) -> Small {
    match root.recall(path) {
        Some(Remembered::Small(small)) => small,
        other => panic!("{other:?}"),
    }
}

/// Keeps open what is there now, and reads it by way of what is remembered.
fn kept_open(root: &Root, path: &[u8]) -> Vec<u8> {
    let opened = root.open_with(path, Lookup::Patient).unwrap();
    assert!(root.keep_open(path, &opened));
    drop(opened);
    let Some(Remembered::Open(opened)) = root.recall(path) else {
        panic!("it is not open");
    };
    let mut content = Vec::new();
    let mut body: FileBody = opened.into_body();
    body.read_now(usize::MAX, &mut content).unwrap();
    content
}

/// Whether this process has the file open.
fn is_open(path: &Path) -> bool {
    let entries = fs::read_dir("/proc/self/fd").unwrap().flatten();
    entries
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|link| {
            link.as_os_str()
                .as_encoded_bytes()
                .starts_with(path.as_os_str().as_encoded_bytes())
        })
}

#[test]
fn it_is_told_until_anything_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let root = root(folder.path());
    let changes: [(&str, &dyn Fn()); 6] = [
        ("other content", &|| {
            fs::write(&path, "longer content").unwrap();
        }),
        ("other times", &|| {
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(std::time::UNIX_EPOCH).unwrap();
        }),
        ("another mode", &|| {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o200)).unwrap();
        }),
        ("another file", &|| {
            fs::write(folder.path().join("b"), "first").unwrap();
            fs::rename(folder.path().join("b"), &path).unwrap();
        }),
        ("a link elsewhere", &|| {
            fs::write(folder.path().join("c"), "first").unwrap();
            fs::remove_file(&path).unwrap();
            symlink("c", &path).unwrap();
        }),
        ("nothing", &|| fs::remove_file(&path).unwrap()),
    ];
    for (what, change) in changes {
        let _ = fs::remove_file(&path);
        fs::write(&path, "first").unwrap();
        assert_eq!(remembered(&root, b"a"), b"first", "{what}");
        change();
        assert!(root.recall(b"a").is_none(), "{what}");
        let _ = fs::remove_file(&path);
        fs::write(&path, "first").unwrap();
        assert_eq!(kept_open(&root, b"a"), b"first", "{what}");
        change();
        assert!(root.recall(b"a").is_none(), "{what}");
    }
}

#[test]
fn what_changed_a_moment_ago_is_not_remembered() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), "new").unwrap();
    let root = Root::options()
        .settle_time(Duration::from_secs(3600))
        .root(folder.path());
    let opened = root.open_with(b"a", Lookup::Patient).unwrap();
    assert!(root.remember(b"a", &opened).is_none());
    assert!(root.recall(b"a").is_none());
}

#[test]
fn neither_directories_nor_large_files_are_remembered() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("directory")).unwrap();
    fs::write(folder.path().join("large"), vec![b'x'; 17 << 10]).unwrap();
    let root = root(folder.path());
    for path in [&b"directory"[..], b"large"] {
        let opened = root.open_with(path, Lookup::Patient).unwrap();
        assert!(root.remember(path, &opened).is_none());
    }
    let huge = fs::File::create(folder.path().join("huge")).unwrap();
    huge.set_len((4 << 20) + 1).unwrap();
    for (path, keeps) in [
        (&b"directory"[..], false),
        (b"large", true),
        (b"huge", false),
    ] {
        let opened = root.open_with(path, Lookup::Patient).unwrap();
        assert_eq!(root.keep_open(path, &opened), keeps);
    }
}

#[test]
fn an_open_file_is_closed_when_nobody_asks_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    fs::write(&path, "a").unwrap();
    let root = root(folder.path());
    assert_eq!(kept_open(&root, b"a"), b"a");
    fs::remove_file(&path).unwrap();
    assert!(is_open(&path));
    while forget_old() {
        std::thread::yield_now();
    }
    assert!(!is_open(&path));
}

#[test]
fn roots_and_threads_remember_for_themselves() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), "a").unwrap();
    let one = root(folder.path());
    let other = root(folder.path());
    assert_eq!(remembered(&one, b"a"), b"a");
    assert!(other.recall(b"a").is_none());
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(one.recall(b"a").is_none()));
    });
    assert_eq!(small(&one, b"/a").content(), "a");
}

#[test]
fn a_swapped_root_is_noticed() {
    let base = tempfile::tempdir().unwrap();
    let current = base.path().join("current");
    for release in [&current, &base.path().join("next")] {
        fs::create_dir(release).unwrap();
        let name = release.file_name().unwrap();
        fs::write(release.join("a"), name.as_encoded_bytes()).unwrap();
    }
    let root = Root::options()
        .settle_time(Duration::ZERO)
        .recheck_after(Duration::ZERO)
        .root(&current);
    assert_eq!(remembered(&root, b"a"), b"current");
    fs::rename(&current, base.path().join("last")).unwrap();
    fs::rename(base.path().join("next"), &current).unwrap();
    assert!(root.recall(b"a").is_none());
    assert_eq!(remembered(&root, b"a"), b"next");
}

#[test]
fn ranges_of_it_are_those_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), "0123456789").unwrap();
    let root = root(folder.path());
    remembered(&root, b"a");
    let small = small(&root, b"a");
    let representation = Representation::of(small.metadata());
    for (range, expected) in [("bytes=2-4", "234"), ("bytes=-1", "9"), ("bytes=99-", "")] {
        let mut fields = Fields::new();
        fields.append("Range", range).unwrap();
        let plan = representation.plan(&Method::GET, &fields, &Rules::default());
        assert_eq!(plan.into_bytes(&small), expected, "{range}");
        let plan = representation.plan(&Method::HEAD, &Fields::new(), &Rules::default());
        assert_eq!(plan.into_bytes(&small), "");
    }
    let mut fields = Fields::new();
    fields.append("Range", "bytes=0-1,8-9").unwrap();
    let plan = representation.plan(&Method::GET, &fields, &Rules::default());
    let length = plan.content_length().unwrap();
    let text = plan.into_bytes(&small);
    assert_eq!(text.len() as u64, length);
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert!(text.contains("bytes 0-1/10\r\n\r\n01\r\n--"), "{text}");
    assert!(text.contains("bytes 8-9/10\r\n\r\n89\r\n--"), "{text}");
}
