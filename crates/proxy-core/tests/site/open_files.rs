//! Files that stay open between requests.

use std::fs;
use std::path::Path;

use crate::world::{World, within};

/// Whether this process has the file open.
fn is_open(path: &Path) -> bool {
    let path = path.as_os_str().as_encoded_bytes();
    let entries = fs::read_dir("/proc/self/fd").unwrap().flatten();
    entries
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|link| link.as_os_str().as_encoded_bytes().starts_with(path))
}

#[tokio::test]
async fn they_are_the_files_of_the_disk_and_are_closed_soon() {
    let world = World::new();
    let first = "a".repeat(20_000);
    world.put("files/page.txt", &first);
    let path = world.path().join("files/page.txt");
    let site = world.serve_one("root files;").await;
    for _ in 0..3 {
        assert_eq!(site.get("/page.txt").await.text(), first);
    }
    assert!(is_open(&path));
    let second = "b".repeat(20_000);
    fs::write(world.path().join("files/new"), &second).unwrap();
    fs::rename(world.path().join("files/new"), &path).unwrap();
    assert_eq!(site.get("/page.txt").await.text(), second);
    fs::remove_file(&path).unwrap();
    assert_eq!(site.get("/page.txt").await.status, 404);
    assert!(is_open(&path));
    within("the end of it", async {
        while is_open(&path) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // And once more, with a task of its own.
    world.put("files/page.txt", &first);
    assert_eq!(site.get("/page.txt").await.text(), first);
    assert!(is_open(&path));
}
