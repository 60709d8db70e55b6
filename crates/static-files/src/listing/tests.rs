use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::*;

fn names(listing: &Listing) -> Vec<&str> {
    listing
        .entries
        .iter()
        .map(|entry| std::str::from_utf8(&entry.name).unwrap())
        .collect()
}

fn list(folder: &Path, symlinks: Symlinks) -> Listing {
    let root = Root::options().symlinks(symlinks).root(folder);
    root.list_with_patience(b"", &ListingOptions::default())
        .unwrap()
}

fn folder() -> tempfile::TempDir {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path();
    for name in ["Zoo", "apples"] {
        std::fs::create_dir(folder.join(name)).unwrap();
    }
    for name in ["b.txt", "Z.txt", ".hidden", "a.txt"] {
        std::fs::write(folder.join(name), "abc").unwrap();
    }
    base
}

#[test]
fn directories_come_first_then_names_by_their_bytes() {
    let base = folder();
    assert_eq!(
        names(&list(base.path(), Symlinks::Beneath)),
        ["Zoo", "apples", "Z.txt", "a.txt", "b.txt"]
    );
    let root = Root::new(base.path());
    let all = root
        .list_with_patience(b"/", &ListingOptions::default().hidden(true))
        .unwrap();
    assert_eq!(
        names(&all),
        ["Zoo", "apples", ".hidden", "Z.txt", "a.txt", "b.txt"]
    );
}

#[test]
fn links_count_as_what_they_lead_to_unless_they_are_refused() {
    let base = folder();
    let site = base.path().join("site");
    std::fs::create_dir(&site).unwrap();
    std::fs::create_dir(site.join("real")).unwrap();
    symlink("real", site.join("folder")).unwrap();
    symlink("../a.txt", site.join("out")).unwrap();
    symlink("nowhere", site.join("dangling")).unwrap();

    let beneath = list(&site, Symlinks::Beneath);
    assert_eq!(names(&beneath), ["folder", "real", "dangling"]);
    assert_eq!(beneath.entries[0].kind, Kind::Directory);
    assert_eq!(beneath.entries[2].kind, Kind::Symlink);

    let follow = list(&site, Symlinks::Follow);
    assert_eq!(names(&follow), ["folder", "real", "dangling", "out"]);
    assert_eq!(
        (follow.entries[3].kind, follow.entries[3].len),
        (Kind::File, 3)
    );

    assert_eq!(names(&list(&site, Symlinks::Refuse)), ["real"]);
}

#[test]
fn entries_are_limited() {
    let base = folder();
    let root = Root::new(base.path());
    let at = root
        .list_with_patience(b"", &ListingOptions::default().entries_max(5))
        .unwrap();
    assert_eq!((at.entries.len(), at.is_cut), (5, false));
    let past = root
        .list_with_patience(b"", &ListingOptions::default().entries_max(4))
        .unwrap();
    assert_eq!((past.entries.len(), past.is_cut), (4, true));
    let page = String::from_utf8(Page::new(b"/").to_html(&past)).unwrap();
    assert!(page.contains("Only 4 entries are shown"));
}

#[test]
fn only_directories_can_be_listed() {
    let base = folder();
    let root = Root::new(base.path());
    for path in ["a.txt", "nothing"] {
        let error = root
            .list_with_patience(path.as_bytes(), &ListingOptions::default())
            .unwrap_err();
        assert_eq!(error.kind(), OpenErrorKind::NotFound, "{path}");
    }
}

#[tokio::test]
async fn the_pool_lists_too() {
    let base = folder();
    let listing = Root::new(base.path())
        .list(b"", &ListingOptions::default())
        .await
        .unwrap();
    assert_eq!(listing.entries.len(), 5);
}

const WHEN: i64 = 1_577_934_245; // Thu, 02 Jan 2020 03:04:05 GMT

fn entry(name: &[u8], kind: Kind, len: u64) -> Entry {
    Entry {
        name: name.to_vec(),
        kind,
        len,
        modified: WHEN,
    }
}

fn example() -> Listing {
    Listing {
        entries: vec![
            entry(b"folder", Kind::Directory, 0),
            entry(b"a \"b\" & <c>.txt", Kind::File, 10_752),
            entry(b"caf\xc3\xa9\xe9\n", Kind::File, 5 << 20),
            entry(b"fifo", Kind::Other, 0),
        ],
        is_cut: false,
    }
}

#[test]
fn json_has_the_shape_of_nginx() {
    let expected = concat!(
        "[\r\n",
        "{ \"name\":\"folder\", \"type\":\"directory\", \"mtime\":\"Thu, 02 Jan 2020 03:04:05 GMT\" },\r\n",
        "{ \"name\":\"a \\\"b\\\" & <c>.txt\", \"type\":\"file\", \"mtime\":\"Thu, 02 Jan 2020 03:04:05 GMT\", \"size\":10752 },\r\n",
        "{ \"name\":\"café\\\\xE9\\n\", \"type\":\"file\", \"mtime\":\"Thu, 02 Jan 2020 03:04:05 GMT\", \"size\":5242880 },\r\n",
        "{ \"name\":\"fifo\", \"type\":\"other\", \"mtime\":\"Thu, 02 Jan 2020 03:04:05 GMT\" }\r\n",
        "]",
    );
    assert_eq!(String::from_utf8(example().to_json()).unwrap(), expected);
    assert_eq!(Listing::default().to_json(), b"[\r\n]");
    assert_eq!(Listing::default().to_jsonp(b"show"), b"show([\r\n]);");
}

#[test]
fn xml_has_the_shape_of_nginx() {
    let expected = concat!(
        "<?xml version=\"1.0\"?>\r\n<list>\r\n",
        "<directory mtime=\"2020-01-02T03:04:05Z\">folder</directory>\r\n",
        "<file mtime=\"2020-01-02T03:04:05Z\" size=\"10752\">a &quot;b&quot; &amp; &lt;c&gt;.txt</file>\r\n",
        "<file mtime=\"2020-01-02T03:04:05Z\" size=\"5242880\">café\\xE9\\x0A</file>\r\n",
        "<other mtime=\"2020-01-02T03:04:05Z\">fifo</other>\r\n",
        "</list>\r\n",
    );
    assert_eq!(String::from_utf8(example().to_xml()).unwrap(), expected);
}

#[test]
fn the_page_escapes_what_it_shows_and_links() {
    let page = String::from_utf8(Page::new(b"/<i>/\xff/").to_html(&example())).unwrap();
    assert!(page.contains("<title>Index of /&lt;i&gt;/\\xFF/</title>"));
    assert!(page.contains("<h1>Index of /&lt;i&gt;/\\xFF/</h1>"));
    assert!(page.contains("<a href=\"../\">../</a>"));
    assert!(
        page.contains("<a href=\"folder/\">folder/</a></td><td>02-Jan-2020 03:04</td><td>-</td>")
    );
    assert!(page.contains(
        "<a href=\"a%20%22b%22%20%26%20%3Cc%3E.txt\">a &quot;b&quot; &amp; &lt;c&gt;.txt</a></td><td>02-Jan-2020 03:04</td><td>10752</td>"
    ));
    assert!(page.contains("<a href=\"caf%C3%A9%E9%0A\">café\\xE9\\x0A</a>"));
}

#[test]
fn sizes_and_times_can_be_shown_otherwise() {
    let page = Page::new(b"/").exact_size(false).utc_offset_secs(-4 * 3600);
    let page = String::from_utf8(page.to_html(&example())).unwrap();
    assert!(
        page.contains("<td>01-Jan-2020 23:04</td><td>11K</td>"),
        "{page}"
    );
    assert!(page.contains("<td>5M</td>"));
}

#[test]
fn sizes_are_rounded_as_nginx_rounds() {
    let cases: &[(u64, &str)] = &[
        (0, "0"),
        (9_999, "9999"),
        (10_000, "10K"),
        (10_751, "10K"),
        (10_752, "11K"),
        ((1 << 20) - 1, "1024K"),
        (1 << 20, "1M"),
        ((1 << 20) + (1 << 19), "2M"),
        ((1 << 30) - 1, "1024M"),
        (5 << 30, "5G"),
    ];
    for (len, expected) in cases {
        let listing = Listing {
            entries: vec![entry(b"f", Kind::File, *len)],
            is_cut: false,
        };
        let page = String::from_utf8(Page::new(b"/").exact_size(false).to_html(&listing)).unwrap();
        assert!(
            page.contains(&format!("<td>{expected}</td>")),
            "{len}: {expected}"
        );
    }
}

#[test]
fn names_of_any_bytes_survive_the_link() {
    let base = tempfile::tempdir().unwrap();
    let name: Vec<u8> = (1..=255).filter(|&byte| byte != b'/').collect::<Vec<u8>>()[..200].to_vec();
    std::fs::write(base.path().join(std::ffi::OsStr::from_bytes(&name)), "x").unwrap();
    let listing = list(base.path(), Symlinks::Beneath);
    assert_eq!(listing.entries[0].name, name);
    let page = Page::new(b"/").to_html(&listing);
    assert!(std::str::from_utf8(&page).is_ok() && std::str::from_utf8(&listing.to_json()).is_ok());
}

#[test]
fn times_before_and_far_after_1970_can_be_shown() {
    for modified in [i64::MIN, -1, 0, i64::MAX] {
        let mut listing = example();
        listing.entries[0].modified = modified;
        assert!(!listing.to_json().is_empty() && !listing.to_xml().is_empty());
        assert!(
            !Page::new(b"/")
                .utc_offset_secs(3600)
                .to_html(&listing)
                .is_empty()
        );
    }
}

#[test]
fn modification_times_are_told() {
    let base = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(base.path().join("f")).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(WHEN as u64))
        .unwrap();
    assert_eq!(
        list(base.path(), Symlinks::Beneath).entries[0].modified,
        WHEN
    );
}
