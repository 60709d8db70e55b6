//! File bodies: three ways to send them give the same bytes, and a file that shrinks gives an error.

use std::fs::File;
use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use proptest::prelude::*;
use static_files::{FileBody, Opened, Part, ReadError, Segment, SmallRead};

/// A file whose bytes tell where they stand.
fn file(len: usize) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&content(len)).unwrap();
    file
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n ^ (n >> 8)) as u8).collect()
}

fn opened(len: usize) -> Opened {
    Opened::from_file(file(len)).unwrap()
}

fn expected(len: usize, segments: &[Segment]) -> Vec<u8> {
    let content = content(len);
    let mut bytes = Vec::new();
    for segment in segments {
        match segment {
            Segment::Bytes(literal) => bytes.extend_from_slice(literal),
            Segment::File { offset, len } => {
                bytes.extend_from_slice(&content[*offset as usize..(offset + len) as usize]);
            }
        }
    }
    bytes
}

/// Sends as a connection would that has `sendfile`: at most `step` bytes at a time.
fn by_parts(mut body: FileBody, step: u64) -> Vec<u8> {
    let mut sent = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    while let Some(part) = body.part() {
        let bytes = match part {
            Part::Bytes(bytes) => bytes[..bytes.len().min(step as usize)].to_vec(),
            Part::File { fd, offset, len } => {
                let mut bytes = vec![0; len.min(step) as usize];
                let n = rustix::io::pread(fd, &mut bytes[..], offset).unwrap();
                bytes.truncate(n);
                bytes
            }
        };
        let Poll::Ready(Ok(resident)) = body.poll_resident(&mut cx, step) else {
            panic!("a file just written is in memory");
        };
        assert!(resident >= 1 && resident <= step);
        body.advance(bytes.len() as u64);
        sent.extend(bytes);
    }
    assert!(body.is_empty());
    sent
}

fn by_reading(mut body: FileBody, step: usize) -> Vec<u8> {
    let mut sent = Vec::new();
    while !body.is_empty() {
        let before = sent.len();
        let n = body.read_now(step, &mut sent).unwrap();
        assert_eq!(sent.len(), before + n);
        assert!(n > 0 && n <= step);
    }
    sent
}

fn by_frames(mut body: FileBody) -> Vec<u8> {
    let mut sent = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        assert_eq!(body.size_hint().exact(), Some(body.len()));
        match Pin::new(&mut body).poll_frame(&mut cx) {
            Poll::Ready(Some(frame)) => sent.extend(frame.unwrap().into_data().unwrap()),
            Poll::Ready(None) => break,
            Poll::Pending => panic!("a file just written is in memory"),
        }
    }
    assert!(body.is_end_stream());
    sent
}

fn segments(len: usize) -> impl Strategy<Value = Vec<Segment>> {
    let literal =
        prop::collection::vec(any::<u8>(), 0..50).prop_map(|bytes| Segment::Bytes(bytes.into()));
    let range = (0..=len, 0..=len).prop_map(|(a, b)| Segment::File {
        offset: a.min(b) as u64,
        len: a.abs_diff(b) as u64,
    });
    prop::collection::vec(prop_oneof![literal, range], 0..8)
}

const LEN: usize = 300_000;

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn every_way_of_sending_gives_the_same_bytes(segments in segments(LEN), step in 1_000usize..400_000) {
        let file = opened(LEN);
        let body = || FileBody::from_segments(
            Opened::from_file(std::os::fd::AsFd::as_fd(&file).try_clone_to_owned().unwrap()).unwrap(),
            segments.clone(),
        );
        let expected = expected(LEN, &segments);
        prop_assert_eq!(body().len(), expected.len() as u64);
        prop_assert!(by_parts(body(), step as u64) == expected);
        prop_assert!(by_reading(body(), step) == expected);
        prop_assert!(by_frames(body()) == expected);
    }
}

#[test]
fn advancing_crosses_segments() {
    let segments = [
        Segment::Bytes(Bytes::from_static(b"head")),
        Segment::File { offset: 2, len: 4 },
    ];
    let mut body = FileBody::from_segments(opened(10), segments);
    body.advance(6);
    assert!(matches!(
        body.part(),
        Some(Part::File {
            offset: 4,
            len: 2,
            ..
        })
    ));
    body.advance(2);
    assert!(body.part().is_none() && body.is_empty());
}

#[test]
#[should_panic(expected = "past the end")]
fn advancing_past_the_end_is_a_fault_of_the_caller() {
    FileBody::from(Bytes::from_static(b"abc")).advance(4);
}

#[test]
fn nothing_is_nothing() {
    for body in [
        FileBody::empty(),
        FileBody::new(file(5), 0, 0),
        FileBody::from(Bytes::new()),
    ] {
        assert!(body.is_end_stream() && body.part().is_none());
        assert!(by_frames(body).is_empty());
    }
}

#[test]
fn small_files_are_read_at_once_or_not_at_all() {
    let opened = opened(1000);
    let mut out = b"head".to_vec();
    assert_eq!(
        opened.read_small(999, &mut out).unwrap(),
        SmallRead::TooLarge
    );
    assert_eq!(out, b"head");
    assert_eq!(opened.read_small(1000, &mut out).unwrap(), SmallRead::Whole);
    assert_eq!(out[4..], content(1000));
}

#[test]
fn a_file_truncated_before_it_was_read_is_an_error() {
    let file = file(1000);
    let opened = Opened::from_file(file.try_clone().unwrap()).unwrap();
    file.set_len(400).unwrap();
    let mut out = b"head".to_vec();
    assert!(matches!(
        opened.read_small(2000, &mut out),
        Err(ReadError::Truncated { missing: 600 })
    ));
    assert_eq!(out, b"head");
}

#[tokio::test]
async fn a_file_truncated_while_it_is_sent_is_an_error_and_never_the_end() {
    let file = file(LEN);
    let mut body = Opened::from_file(file.try_clone().unwrap())
        .unwrap()
        .into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    file.set_len(first.len() as u64 + 10).unwrap();
    let second = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(second.len(), 10);
    let missing = (LEN - first.len() - 10) as u64;
    let error = body.frame().await.unwrap().unwrap_err();
    assert!(
        matches!(error, ReadError::Truncated { missing: n } if n == missing),
        "{error}"
    );
    assert!(
        !body.is_end_stream(),
        "a broken body must not look complete"
    );
    let error = std::io::Error::from(error);
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    assert!(
        error
            .to_string()
            .contains("truncated while it was being sent")
    );
}

#[test]
fn truncation_is_seen_by_each_way_of_sending() {
    let shrunk = || {
        let file = file(1000);
        let body = Opened::from_file(file.try_clone().unwrap())
            .unwrap()
            .into_range(500, 500);
        file.set_len(100).unwrap();
        body
    };
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(
        shrunk().read_now(1000, &mut Vec::new()),
        Err(ReadError::Truncated { missing: 500 })
    ));
    // Where the file system can't tell what is in memory, it is sendfile that finds the end.
    match shrunk().poll_resident(&mut cx, 1000) {
        Poll::Ready(Err(ReadError::Truncated { missing: 500 })) => {}
        Poll::Ready(Ok(500)) => {}
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        shrunk().poll_chunk(&mut cx),
        Poll::Ready(Some(Err(ReadError::Truncated { missing: 500 })))
    ));
    // What the connection reports when sendfile returned 0.
    assert!(matches!(
        shrunk().truncated(),
        ReadError::Truncated { missing: 500 }
    ));
}

#[tokio::test]
async fn a_file_that_grows_is_sent_as_long_as_it_was() {
    let mut file = file(1000);
    let body = Opened::from_file(file.try_clone().unwrap())
        .unwrap()
        .into_body();
    file.write_all(b"more").unwrap();
    assert_eq!(body.collect().await.unwrap().to_bytes(), content(1000));
}

/// A file whose pages were thrown out of memory; `None` where the system keeps them (tmpfs). The kernel may have begun to
/// read it again when it is first asked, so what exactly is in memory afterwards is not certain; the unit tests beside the
/// code take each way for certain.
fn cold(len: usize) -> Option<(tempfile::NamedTempFile, FileBody)> {
    let mut file = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    file.write_all(&content(len)).unwrap();
    file.as_file().sync_all().unwrap();
    rustix::fs::fadvise(file.as_file(), 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let opened = Opened::from_file(file.reopen().unwrap()).unwrap();
    let is_cold = opened.read_small(len, &mut Vec::new()).unwrap() == SmallRead::WouldBlock;
    is_cold.then(|| (file, opened.into_body()))
}

#[tokio::test]
async fn cold_content_is_read_in_the_blocking_pool() {
    // Whether the file is cold is up to the system: if it isn't, this is the warm case once more.
    let Some((_file, body)) = cold(1_000_000) else {
        return;
    };
    assert_eq!(body.collect().await.unwrap().to_bytes(), content(1_000_000));
}

#[tokio::test]
async fn cold_content_is_made_resident_before_sendfile() {
    let Some((_file, mut body)) = cold(1_000_000) else {
        return;
    };
    let mut sent = 0;
    while !body.is_empty() {
        let n = std::future::poll_fn(|cx| body.poll_resident(cx, 200_000))
            .await
            .unwrap();
        let mut bytes = Vec::new();
        let read = body.read_now(n as usize, &mut bytes).unwrap();
        assert!(read > 0);
        assert_eq!(bytes, content(1_000_000)[sent..sent + read]);
        sent += read;
    }
    assert_eq!(sent, 1_000_000);
}

#[test]
fn cold_content_is_read_without_a_runtime_too() {
    let Some((_file, body)) = cold(300_000) else {
        return;
    };
    assert_eq!(by_frames(body), content(300_000));
}

#[test]
fn a_body_can_move_between_threads() {
    fn check<T: Send + 'static>(_: T) {}
    check(FileBody::empty());
}
