//! No path and no tree lets anything outside a root be opened, and the walk agrees with the kernel.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use proptest::prelude::*;
use static_files::{Kind, Lookup, OpenError, OpenErrorKind, Opened, Root, Symlinks};

/// Something in a generated tree. Names are few, so that paths and links meet often.
#[derive(Clone, Debug)]
enum Item {
    Directory(String),
    File(String),
    Link {
        at: String,
        to: Target,
        foreign: bool,
    },
}

#[derive(Clone, Debug)]
enum Target {
    Relative(String),
    AbsoluteInside(String),
    AbsoluteOutside(String),
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "c"])
}

fn place() -> impl Strategy<Value = String> {
    prop::collection::vec(name(), 1..4).prop_map(|names| names.join("/"))
}

fn wild_place() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "a", "b", "c", "a", "..", "..", ".", "", "root", "outside", "secret",
    ]);
    prop::collection::vec(part, 1..6).prop_map(|parts| parts.join("/"))
}

fn item() -> impl Strategy<Value = Item> {
    let target = prop_oneof![
        6 => wild_place().prop_map(Target::Relative),
        1 => place().prop_map(Target::AbsoluteInside),
        1 => prop::sample::select(vec!["secret", "a", "", "a/secret"]).prop_map(|at| Target::AbsoluteOutside(at.into())),
    ];
    prop_oneof![
        2 => place().prop_map(Item::Directory),
        2 => place().prop_map(Item::File),
        3 => (place(), target, any::<bool>()).prop_map(|(at, to, foreign)| Item::Link { at, to, foreign }),
    ]
}

fn hostile_path() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        10 => name().prop_map(|name| name.as_bytes().to_vec()),
        1 => prop::sample::select(vec![
            &b".."[..], b".", b"", b"...", b"..%2f", b"%2e%2e", b"a.", b"a\0", b"\0", b"..\\", b"secret", b"root", b"\xff",
        ]).prop_map(<[u8]>::to_vec),
        1 => (200usize..300).prop_map(|len| vec![b'a'; len]),
    ];
    let slash = prop::sample::select(vec![&b""[..], b"", b"/", b"//"]);
    (slash.clone(), prop::collection::vec(part, 0..6), slash).prop_map(|(before, parts, after)| {
        let mut path = before.to_vec();
        path.extend(parts.join(&b'/'));
        path.extend(after);
        path
    })
}

/// `base/root` with the items in it, `base/outside` with what must not be reached.
fn plant(base: &Path, items: &[Item]) {
    let (root, outside) = (base.join("root"), base.join("outside"));
    std::fs::create_dir_all(outside.join("a")).unwrap();
    std::fs::create_dir(&root).unwrap();
    for secret in ["secret", "a/secret", "b", "c"] {
        std::fs::write(outside.join(secret), "secret").unwrap();
    }
    // Items that don't fit where they are to go are left out.
    for item in items {
        let (Item::Directory(at) | Item::File(at) | Item::Link { at, .. }) = item;
        let at = root.join(at);
        let parent = at.parent().unwrap();
        if at.symlink_metadata().is_ok() || !is_real_directory(&root, parent) {
            continue;
        }
        match item {
            Item::Directory(_) => std::fs::create_dir(&at).unwrap(),
            Item::File(_) => std::fs::write(&at, "content").unwrap(),
            Item::Link { to, foreign, .. } => {
                match to {
                    Target::Relative(to) if to.is_empty() => continue,
                    Target::Relative(to) => symlink(to, &at).unwrap(),
                    Target::AbsoluteInside(to) => symlink(root.join(to), &at).unwrap(),
                    Target::AbsoluteOutside(to) => symlink(outside.join(to), &at).unwrap(),
                }
                if *foreign && rustix::process::geteuid().is_root() {
                    std::os::unix::fs::lchown(&at, Some(1000), Some(1000)).unwrap();
                }
            }
        }
    }
}

/// Creates missing directories up to `parent`, but not through links or files.
fn is_real_directory(root: &Path, parent: &Path) -> bool {
    let mut at = root.to_owned();
    for name in parent.strip_prefix(root).unwrap() {
        at.push(name);
        match at.symlink_metadata() {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return false,
            Err(_) => std::fs::create_dir(&at).unwrap(),
        }
    }
    true
}

/// Identities of all that is really in the tree.
fn inhabitants(root: &Path) -> HashSet<(u64, u64)> {
    let mut found = HashSet::from([identity(&root.metadata().unwrap())]);
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let facts = entry.path().symlink_metadata().unwrap();
            if facts.is_dir() {
                folders.push(entry.path());
            }
            if !facts.is_symlink() {
                found.insert(identity(&facts));
            }
        }
    }
    found
}

fn identity(facts: &std::fs::Metadata) -> (u64, u64) {
    (facts.dev(), facts.ino())
}

type Outcome = Result<(u64, u64, Kind), OpenErrorKind>;

fn outcome(result: Result<Opened, OpenError>) -> Outcome {
    match result {
        Ok(opened) => Ok((
            opened.metadata().dev,
            opened.metadata().ino,
            opened.metadata().kind,
        )),
        Err(error) => Err(error.kind()),
    }
}

/// What the plain file system says about the path, links followed wherever they lead.
fn followed(root: &Path, path: &[u8]) -> Option<(u64, u64)> {
    let relative: Vec<u8> = path.iter().copied().skip_while(|&b| b == b'/').collect();
    let mut full = root.as_os_str().as_bytes().to_vec();
    full.push(b'/');
    full.extend(relative);
    std::fs::metadata(OsStr::from_bytes(&full))
        .ok()
        .map(|facts| identity(&facts))
}

/// Each link on the path must belong to who owns what it leads to.
fn links_are_own(root: &Path, path: &[u8]) -> bool {
    let relative = path.split(|&b| b == b'/').filter(|name| !name.is_empty());
    let mut at = root.to_owned();
    for name in relative {
        at.push(OsStr::from_bytes(name));
        let link = at.symlink_metadata().unwrap();
        if link.is_symlink() && link.uid() != at.metadata().unwrap().uid() {
            return false;
        }
    }
    true
}

fn check(base: &Path, path: &[u8]) {
    let folder = base.join("root");
    let inside = inhabitants(&folder);
    for symlinks in [
        Symlinks::Beneath,
        Symlinks::Follow,
        Symlinks::Refuse,
        Symlinks::IfOwner,
    ] {
        let by_kernel = Root::options().symlinks(symlinks).root(&folder);
        let by_walk = Root::options()
            .symlinks(symlinks)
            .kernel_containment(false)
            .root(&folder);
        let patient = outcome(by_kernel.open_with(path, Lookup::Patient));
        let cached = outcome(by_kernel.open_cached(path));
        let walked = outcome(by_walk.open_with(path, Lookup::Patient));
        let told = by_kernel.metadata_with(path, Lookup::Patient);
        let shown = String::from_utf8_lossy(path);
        assert_eq!(
            patient, walked,
            "{symlinks:?} {shown:?}: kernel and walk differ"
        );
        if cached != Err(OpenErrorKind::WouldBlock) {
            assert_eq!(
                cached, patient,
                "{symlinks:?} {shown:?}: cached and patient differ"
            );
        }
        assert_eq!(
            patient,
            told.map(|facts| (facts.dev, facts.ino, facts.kind))
                .map_err(|error| error.kind()),
            "{symlinks:?} {shown:?}: opening and asking differ"
        );
        let Ok((dev, ino, _)) = patient else { continue };
        match symlinks {
            Symlinks::Beneath | Symlinks::Refuse => {
                assert!(
                    inside.contains(&(dev, ino)),
                    "{symlinks:?} {shown:?}: outside of the root"
                );
            }
            Symlinks::Follow => {}
            Symlinks::IfOwner => assert!(links_are_own(&folder, path), "{shown:?}: foreign link"),
        }
        assert_eq!(
            followed(&folder, path),
            Some((dev, ino)),
            "{symlinks:?} {shown:?}: another file"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn nothing_outside_is_ever_opened(
        items in prop::collection::vec(item(), 0..14),
        paths in prop::collection::vec(hostile_path(), 1..20),
    ) {
        let base = tempfile::tempdir().unwrap();
        plant(base.path(), &items);
        for path in &paths {
            check(base.path(), path);
        }
    }
}

#[test]
fn links_are_followed_as_far_as_the_policy_says() {
    let base = tempfile::tempdir().unwrap();
    let root = base.path().join("root");
    std::fs::create_dir_all(root.join("deep/er")).unwrap();
    std::fs::write(root.join("file"), "content").unwrap();
    std::fs::write(base.path().join("secret"), "secret").unwrap();
    symlink("../../file", root.join("deep/er/inside")).unwrap();
    symlink("../secret", root.join("out")).unwrap();
    symlink("..", root.join("up")).unwrap();
    symlink(root.join("file"), root.join("absolute")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    symlink("deep/er", root.join("folder")).unwrap();
    use OpenErrorKind::{Escapes, NotFound, Symlink};
    use Symlinks::{Beneath, Follow, IfOwner, Refuse};
    let cases: &[(&str, Symlinks, Result<(), OpenErrorKind>)] = &[
        ("deep/er/inside", Beneath, Ok(())),
        ("deep/er/inside", Follow, Ok(())),
        ("deep/er/inside", IfOwner, Ok(())),
        ("deep/er/inside", Refuse, Err(Symlink)),
        ("folder/inside", Beneath, Ok(())),
        ("folder/inside", Refuse, Err(Symlink)),
        ("out", Beneath, Err(Escapes)),
        ("out", Follow, Ok(())),
        ("out", IfOwner, Ok(())),
        ("up/secret", Beneath, Err(Escapes)),
        ("up/secret", Follow, Ok(())),
        ("absolute", Beneath, Err(Escapes)),
        ("absolute", Follow, Ok(())),
        ("absolute", Refuse, Err(Symlink)),
        ("loop", Beneath, Err(Symlink)),
        ("loop", Follow, Err(Symlink)),
        ("loop", IfOwner, Err(Symlink)),
        ("dangling", Follow, Err(NotFound)),
        ("file/", Follow, Err(NotFound)),
        ("file/x", Beneath, Err(NotFound)),
        ("folder/", Beneath, Ok(())),
        ("", Refuse, Ok(())),
        ("deep/.", Refuse, Ok(())),
    ];
    for (path, symlinks, expected) in cases {
        for kernel in [true, false] {
            let root = Root::options()
                .symlinks(*symlinks)
                .kernel_containment(kernel)
                .root(&root);
            let got = root
                .open_with(path.as_bytes(), Lookup::Patient)
                .map(drop)
                .map_err(|error| error.kind());
            assert_eq!(got, *expected, "{path} {symlinks:?} kernel: {kernel}");
        }
    }
}

#[test]
fn forty_links_are_followed_and_no_more() {
    let base = tempfile::tempdir().unwrap();
    std::fs::write(base.path().join("0"), "content").unwrap();
    for n in 1..=41 {
        symlink((n - 1).to_string(), base.path().join(n.to_string())).unwrap();
    }
    for kernel in [true, false] {
        let root = Root::options().kernel_containment(kernel).root(base.path());
        assert!(
            root.open_with(b"40", Lookup::Patient).is_ok(),
            "kernel: {kernel}"
        );
        let error = root.open_with(b"41", Lookup::Patient).unwrap_err();
        assert_eq!(error.kind(), OpenErrorKind::Symlink, "kernel: {kernel}");
    }
}

#[test]
fn neither_fifos_nor_sockets_nor_devices_are_opened() {
    let base = tempfile::tempdir().unwrap();
    let fifo = base.path().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        0o644.into(),
        0,
    )
    .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(base.path().join("socket")).unwrap();
    symlink("/dev/zero", base.path().join("zero")).unwrap();
    let root = Root::options().symlinks(Symlinks::Follow).root(base.path());
    for name in ["fifo", "socket", "zero"] {
        let error = root
            .open_with(name.as_bytes(), Lookup::Patient)
            .unwrap_err();
        assert_eq!(error.kind(), OpenErrorKind::NotRegular, "{name}");
        let facts = root
            .metadata_with(name.as_bytes(), Lookup::Patient)
            .unwrap();
        assert_eq!(facts.kind, Kind::Other, "{name}");
    }
}

#[test]
fn names_of_proc_that_are_no_paths_are_not_followed() {
    let root = Root::options()
        .symlinks(Symlinks::Follow)
        .root("/proc/self");
    let error = root
        .open_with(b"root/etc/passwd", Lookup::Patient)
        .unwrap_err();
    assert_eq!(error.kind(), OpenErrorKind::Symlink);
}

#[test]
fn names_up_to_the_limits_of_the_system() {
    let base = tempfile::tempdir().unwrap();
    let longest = "n".repeat(255);
    std::fs::write(base.path().join(&longest), "content").unwrap();
    for kernel in [true, false] {
        let root = Root::options().kernel_containment(kernel).root(base.path());
        assert!(root.open_with(longest.as_bytes(), Lookup::Patient).is_ok());
        for len in [256, 4095, 4096, 100_000] {
            let error = root
                .open_with(&vec![b'n'; len], Lookup::Patient)
                .unwrap_err();
            assert_eq!(
                error.kind(),
                OpenErrorKind::NotFound,
                "{len} kernel: {kernel}"
            );
        }
    }
}
