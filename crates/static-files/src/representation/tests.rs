use std::io::Write;

use http_body_util::BodyExt;
use proptest::prelude::*;

use super::*;
use crate::opened::Kind;

const WHEN: i64 = 1_577_934_245;
const DATE: &str = "Thu, 02 Jan 2020 03:04:05 GMT";
const EARLIER: &str = "Thu, 02 Jan 2020 03:04:04 GMT";
const LATER: &str = "Thu, 02 Jan 2020 03:04:06 GMT";
const TAG: &str = "\"5e0d5da5-3e8\"";

fn metadata(len: u64, modified: i64) -> Metadata {
    Metadata {
        kind: Kind::File,
        len,
        modified,
        modified_nanos: 0,
        changed: modified,
        changed_nanos: 0,
        mode: 0,
        uid: 0,
        gid: 0,
        dev: 1,
        ino: 1,
    }
}

fn fields(lines: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in lines {
        fields.append(*name, value).unwrap();
    }
    fields
}

fn plan_of(len: u64, method: &Method, lines: &[(&str, &str)], rules: &Rules) -> Plan {
    Representation::of(&metadata(len, WHEN)).plan(method, &fields(lines), rules)
}

fn get(lines: &[(&str, &str)]) -> u16 {
    plan_of(1000, &Method::GET, lines, &Rules::default())
        .status()
        .as_u16()
}

fn nginx() -> Rules {
    Rules {
        modified_since: ModifiedSince::Exact,
        ranges: RangeLimits {
            refuse_malformed: true,
            ..RangeLimits::default()
        },
        ranges_for_head: true,
        ..Rules::default()
    }
}

#[test]
fn entity_tags_are_those_of_nginx() {
    let cases: &[(i64, u64, &str)] = &[
        (WHEN, 1000, TAG),
        (0, 0, "\"0-0\""),
        (1, 15, "\"1-f\""),
        (16, 256, "\"10-100\""),
        (-1, 1, "\"ffffffffffffffff-1\""),
        (i64::MIN, u64::MAX, "\"8000000000000000-ffffffffffffffff\""),
    ];
    for (modified, len, expected) in cases {
        let representation = Representation::of(&metadata(*len, *modified));
        assert_eq!(representation.entity_tag(), expected.as_bytes());
    }
}

#[test]
fn preconditions_are_weighed_in_the_order_of_rfc_9110() {
    let weak = format!("W/{TAG}");
    let cases: &[(&[(&str, &str)], u16)] = &[
        (&[], 200),
        (&[("If-None-Match", TAG)], 304),
        (&[("If-None-Match", &weak)], 304),
        (&[("If-None-Match", "*")], 304),
        (&[("If-None-Match", "\"x\"")], 200),
        (
            &[("If-None-Match", TAG), ("If-Modified-Since", EARLIER)],
            304,
        ),
        (
            &[("If-None-Match", "\"x\""), ("If-Modified-Since", DATE)],
            200,
        ),
        (&[("If-Modified-Since", DATE)], 304),
        (&[("If-Modified-Since", LATER)], 304),
        (&[("If-Modified-Since", EARLIER)], 200),
        (&[("If-Modified-Since", "yesterday")], 200),
        (&[("If-Match", TAG)], 200),
        (&[("If-Match", "*")], 200),
        (&[("If-Match", &weak)], 412),
        (&[("If-Match", "\"x\"")], 412),
        (&[("If-Match", TAG), ("If-Unmodified-Since", EARLIER)], 200),
        (&[("If-Unmodified-Since", EARLIER)], 412),
        (&[("If-Unmodified-Since", DATE)], 200),
        (&[("If-Match", TAG), ("If-None-Match", TAG)], 304),
        (&[("If-Match", "\"x\""), ("If-None-Match", TAG)], 412),
    ];
    for (lines, status) in cases {
        assert_eq!(get(lines), *status, "{lines:?}");
    }
}

#[test]
fn modified_since_can_be_exact_or_off() {
    let status = |date, modified_since| {
        let rules = Rules {
            modified_since,
            ..Rules::default()
        };
        plan_of(1000, &Method::GET, &[("If-Modified-Since", date)], &rules)
            .status()
            .as_u16()
    };
    for (date, exact) in [(EARLIER, 200), (DATE, 304), (LATER, 200)] {
        assert_eq!(status(date, ModifiedSince::Exact), exact, "{date}");
        assert_eq!(status(date, ModifiedSince::Ignored), 200, "{date}");
    }
}

#[test]
fn without_entity_tags_none_match() {
    let rules = Rules {
        entity_tags: false,
        ..Rules::default()
    };
    let representation = Representation::of(&metadata(1000, WHEN));
    let plan = representation.plan(&Method::GET, &fields(&[("If-None-Match", TAG)]), &rules);
    assert_eq!(plan.status(), 200);
    let mut out = Fields::new();
    representation.write_fields(&plan, &mut out);
    assert!(!out.contains(Known::ETag) && out.contains(Known::LastModified));
}

#[test]
fn ranges_are_read_as_nginx_reads_them() {
    // Observed: nginx 1.22, max_ranges as it is by default. The content has 1000 bytes.
    let cases: &[(&str, u16, u64)] = &[
        ("bytes=0-9", 206, 10),
        ("bytes=990-", 206, 10),
        ("bytes=-10", 206, 10),
        ("bytes=-2000", 206, 1000),
        ("bytes=0-0", 206, 1),
        ("bytes=999-5000", 206, 1),
        ("bytes=0-99999999999999999999999", 206, 1000),
        ("BYTES=0-9", 206, 10),
        ("bytes= 0 - 9 ", 206, 10),
        ("bytes=2000-,0-0", 206, 1),
        ("bytes=0-,0-", 200, 1000),
        ("bytes=2000-", 416, 0),
        ("bytes=-0", 416, 0),
        ("bytes=5-2", 416, 0),
        ("bytes=abc", 416, 0),
        ("lines=0-0", 200, 1000),
    ];
    for (value, status, len) in cases {
        let plan = plan_of(1000, &Method::GET, &[("Range", value)], &nginx());
        assert_eq!(plan.status(), *status, "{value}");
        assert_eq!(plan.content_length().unwrap_or(0), *len, "{value}");
    }
}

#[test]
fn malformed_ranges_are_ignored_unless_told_otherwise() {
    assert_eq!(get(&[("Range", "bytes=abc")]), 200);
    assert_eq!(get(&[("Range", "bytes=0-0"), ("Range", "bytes=1-1")]), 200);
}

#[test]
fn an_empty_file_has_no_ranges() {
    for value in ["bytes=0-", "bytes=0-1", "bytes=-5"] {
        let plan = plan_of(0, &Method::GET, &[("Range", value)], &nginx());
        assert_eq!(
            (plan.status().as_u16(), plan.content_length()),
            (200, Some(0)),
            "{value}"
        );
    }
}

#[test]
fn ranges_are_limited_in_number() {
    let value = |count: usize| {
        let parts: Vec<String> = (0..count).map(|at| format!("{0}-{0}", at * 2)).collect();
        format!("bytes={}", parts.join(","))
    };
    let rules = Rules {
        ranges: RangeLimits {
            ranges_max: 3,
            ..RangeLimits::default()
        },
        ..Rules::default()
    };
    for (count, status) in [(1, 206), (3, 206), (4, 200)] {
        assert_eq!(
            plan_of(1000, &Method::GET, &[("Range", &value(count))], &rules).status(),
            status,
            "{count}"
        );
    }
}

#[test]
fn no_ranges_means_none_are_accepted_nor_offered() {
    let rules = Rules {
        ranges: RangeLimits {
            ranges_max: 0,
            ..RangeLimits::default()
        },
        ..Rules::default()
    };
    let representation = Representation::of(&metadata(1000, WHEN));
    let plan = representation.plan(&Method::GET, &fields(&[("Range", "bytes=0-0")]), &rules);
    let mut out = Fields::new();
    representation.write_fields(&plan, &mut out);
    assert_eq!(plan.status(), 200);
    assert!(!out.contains(Known::AcceptRanges));
}

#[test]
fn a_range_counts_only_for_the_representation_it_was_asked_of() {
    let weak = format!("W/{TAG}");
    let cases = [
        (TAG, 206),
        (DATE, 206),
        ("\"x\"", 200),
        (&weak, 200),
        (EARLIER, 200),
        (LATER, 200),
        ("junk", 200),
    ];
    for (value, status) in cases {
        assert_eq!(
            get(&[("Range", "bytes=0-9"), ("If-Range", value)]),
            status,
            "{value}"
        );
    }
}

#[test]
fn preconditions_come_before_ranges() {
    assert_eq!(
        get(&[("Range", "bytes=2000-"), ("If-None-Match", TAG)]),
        304
    );
    assert_eq!(get(&[("Range", "bytes=0-9"), ("If-Match", "\"x\"")]), 412);
}

#[test]
fn head_has_the_fields_of_get_and_no_content() {
    let opened = || Opened::from_file(tempfile::tempfile().unwrap()).unwrap();
    let plan = plan_of(
        1000,
        &Method::HEAD,
        &[("Range", "bytes=0-9")],
        &Rules::default(),
    );
    assert_eq!(
        (plan.status().as_u16(), plan.content_length()),
        (200, Some(1000))
    );
    assert!(plan.into_body(opened()).is_empty());
    let plan = plan_of(1000, &Method::HEAD, &[("Range", "bytes=0-9")], &nginx());
    assert_eq!(
        (plan.status().as_u16(), plan.content_length()),
        (206, Some(10))
    );
    assert!(plan.into_body(opened()).is_empty());
}

fn written(lines: &[(&str, &str)]) -> Vec<(String, String)> {
    let css = HeaderValue::from_static("text/css");
    let metadata = metadata(1000, WHEN);
    let representation = Representation::of(&metadata)
        .with_type(Some(&css))
        .with_coding(Some(Coding::Brotli))
        .with_vary(true);
    let plan = representation.plan(&Method::GET, &fields(lines), &Rules::default());
    let mut out = Fields::new();
    representation.write_fields(&plan, &mut out);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    out.iter()
        .map(|(name, value)| (name.as_str().to_owned(), text(value)))
        .collect()
}

fn line(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn each_status_has_its_fields_in_order() {
    let validators = [line("Last-Modified", DATE), line("ETag", TAG)];
    let [modified, tag] = validators.clone();
    let coding = line("Content-Encoding", "br");
    let vary = line("Vary", "Accept-Encoding");
    let css = line("Content-Type", "text/css");
    assert_eq!(
        written(&[]),
        [
            css.clone(),
            modified.clone(),
            tag.clone(),
            coding.clone(),
            vary.clone(),
            line("Accept-Ranges", "bytes")
        ]
    );
    assert_eq!(
        written(&[("Range", "bytes=0-9")]),
        [
            css,
            modified.clone(),
            tag.clone(),
            coding,
            vary.clone(),
            line("Content-Range", "bytes 0-9/1000")
        ]
    );
    assert_eq!(written(&[("If-None-Match", "*")]), [modified, tag, vary]);
    assert_eq!(
        written(&[("Range", "bytes=1000-")]),
        [line("Content-Range", "bytes */1000")]
    );
    assert!(written(&[("If-Match", "\"x\"")]).is_empty());
}

#[test]
fn boundaries_are_never_the_same() {
    let made: std::collections::HashSet<String> = (0..100).map(|_| boundary()).collect();
    assert_eq!(made.len(), 100);
    assert!(
        made.iter()
            .all(|text| text.len() == 20 && text.bytes().all(|byte| byte.is_ascii_digit()))
    );
}

/// A file whose bytes tell where they stand, and what it contains.
fn file(len: usize) -> (Opened, Vec<u8>) {
    let content: Vec<u8> = (0..len).map(|at| b'a' + (at % 26) as u8).collect();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&content).unwrap();
    (Opened::from_file(file).unwrap(), content)
}

async fn sent(opened: Opened, lines: &[(&str, &str)]) -> (Plan, String, Vec<u8>) {
    let text = HeaderValue::from_static("text/plain");
    let metadata = *opened.metadata();
    let representation = Representation::of(&metadata).with_type(Some(&text));
    let plan = representation.plan(&Method::GET, &fields(lines), &Rules::default());
    let mut out = Fields::new();
    representation.write_fields(&plan, &mut out);
    let content_type =
        String::from_utf8(out.get(Known::ContentType).unwrap_or_default().to_vec()).unwrap();
    let body = plan
        .clone()
        .into_body(opened)
        .collect()
        .await
        .unwrap()
        .to_bytes();
    assert_eq!(plan.content_length(), Some(body.len() as u64));
    (plan, content_type, body.to_vec())
}

#[tokio::test]
async fn several_ranges_are_framed_as_nginx_frames_them() {
    let (opened, _) = file(10);
    let (plan, content_type, body) = sent(opened, &[("Range", "bytes=0-1, -3")]).await;
    assert_eq!(plan.status(), 206);
    let boundary = content_type
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let expected = format!(
        "\r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\nab\
         \r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 7-9/10\r\n\r\nhij\
         \r\n--{boundary}--\r\n"
    );
    assert_eq!(String::from_utf8(body).unwrap(), expected);
}

/// Takes a multipart content apart: the ranges told and the bytes that came.
fn parts(content_type: &str, body: &[u8]) -> Vec<(Range<u64>, Vec<u8>)> {
    let boundary = content_type
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let body = std::str::from_utf8(body).unwrap();
    let (parts, rest) = body.split_once(&format!("\r\n--{boundary}--\r\n")).unwrap();
    assert!(rest.is_empty());
    let delimiter = format!("\r\n--{boundary}\r\n");
    let mut parts = parts.split(&delimiter);
    assert_eq!(parts.next(), Some(""));
    parts
        .map(|part| {
            let (head, bytes) = part.split_once("\r\n\r\n").unwrap();
            let value = head.split("Content-Range: ").nth(1).unwrap();
            (
                ContentRange::parse(value.as_bytes())
                    .unwrap()
                    .range
                    .unwrap(),
                bytes.as_bytes().to_vec(),
            )
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// Whatever a content is cut into, the pieces put together are the content.
    #[test]
    fn ranges_partition_the_content(len in 1usize..5000, cuts in prop::collection::btree_set(1usize..5000, 0..20)) {
        let mut edges: Vec<usize> = [0].into_iter().chain(cuts.into_iter().filter(|cut| *cut < len)).collect();
        edges.push(len);
        let value: Vec<String> = edges.windows(2).map(|pair| format!("{}-{}", pair[0], pair[1] - 1)).collect();
        let value = format!("bytes={}", value.join(","));
        let (opened, content) = file(len);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (plan, content_type, body) = runtime.block_on(sent(opened, &[("Range", &value)]));
        prop_assert_eq!(plan.status(), 206);
        if edges.len() == 2 {
            prop_assert!(body == content);
        } else {
            let parts = parts(&content_type, &body);
            let told: Vec<usize> = parts.iter().map(|(range, _)| range.start as usize).chain([len]).collect();
            prop_assert_eq!(told, edges);
            let joined: Vec<u8> = parts.into_iter().flat_map(|(_, bytes)| bytes).collect();
            prop_assert!(joined == content);
        }
    }

    /// Whatever is asked for, what is promised is what is sent, and each part holds what its `Content-Range` says.
    #[test]
    fn what_is_promised_is_sent(len in 0usize..300, value in "bytes=( ?[0-9]{0,3}-[0-9]{0,3},?){1,5}") {
        let (opened, content) = file(len);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let plan = Representation::of(opened.metadata()).plan(&Method::GET, &fields(&[("Range", &value)]), &Rules::default());
        if plan.status() == 416 {
            prop_assert!(plan.content_range().is_some());
            return Ok(());
        }
        let (plan, content_type, body) = runtime.block_on(sent(opened, &[("Range", &value)]));
        match plan.content() {
            Content::Whole => prop_assert!(body == content),
            Content::Range(range) => prop_assert!(body == content[range.start as usize..range.end as usize]),
            Content::Multipart { ranges, .. } => {
                let parts = parts(&content_type, &body);
                prop_assert_eq!(parts.len(), ranges.len());
                for (range, bytes) in parts {
                    prop_assert!(bytes == content[range.start as usize..range.end as usize]);
                }
            }
            Content::None => prop_assert!(false, "nothing to send with {}", plan.status()),
        }
    }
}
