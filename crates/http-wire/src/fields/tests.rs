use super::*;
use crate::encode;

fn wire(fields: &Fields) -> String {
    let mut out = Vec::new();
    encode::fields(fields, &mut out);
    assert_eq!(out.len(), fields.wire_len());
    String::from_utf8(out).unwrap()
}

fn of(lines: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in lines {
        fields.append(*name, value).unwrap();
    }
    fields
}

#[test]
fn keeps_order_and_spelling() {
    let fields = of(&[("x-B", "2"), ("hOSt", "a"), ("X-b", "3"), ("Empty", "")]);
    assert_eq!(wire(&fields), "x-B: 2\r\nhOSt: a\r\nX-b: 3\r\nEmpty: \r\n");
    let names: Vec<_> = fields.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names, ["x-B", "hOSt", "X-b", "Empty"]);
}

#[test]
fn finds_by_text_and_by_known_name() {
    let fields = of(&[("content-length", "5"), ("X-Shop", "a"), ("x-shop", "b")]);
    assert_eq!(fields.get("Content-Length"), Some(&b"5"[..]));
    assert_eq!(fields.get(Known::ContentLength), Some(&b"5"[..]));
    assert_eq!(fields.get_known(Known::Host), None);
    assert_eq!(fields.get("X-SHOP"), Some(&b"a"[..]));
    assert_eq!(fields.get_all("x-shop").collect::<Vec<_>>(), [b"a", b"b"]);
    assert_eq!(fields.get_single("x-shop"), None);
    assert_eq!(fields.get_single("content-length"), Some(&b"5"[..]));
    assert_eq!(fields.count("x-shop"), 2);
    assert!(!fields.contains("x-shoq"));
    assert_eq!(fields.joined("x-shop", ",").unwrap(), &b"a,b"[..]);
    assert!(fields.known_names().contains(Known::ContentLength));
}

#[test]
fn trims_white_space_around_values() {
    assert_eq!(wire(&of(&[("a", " \t b c\t ")])), "a: b c\r\n");
}

#[test]
fn refuses_bad_names_and_values_and_stays_unchanged() {
    let mut fields = of(&[("a", "1")]);
    for name in ["", " ", "a b", "a:", "a\r\nb", "ä", "a\0", "(a)"] {
        assert_eq!(fields.append(name, "x"), Err(FieldError::Name), "{name:?}");
        assert_eq!(fields.set(name, "x"), Err(FieldError::Name), "{name:?}");
    }
    for value in ["a\rb", "a\nb", "a\0b", "\r\n evil", "tail\n"] {
        assert_eq!(
            fields.append("b", value),
            Err(FieldError::Value),
            "{value:?}"
        );
        assert_eq!(fields.set("a", value), Err(FieldError::Value), "{value:?}");
    }
    assert_eq!(
        fields.append("n".repeat(65_536), "x"),
        Err(FieldError::TooLarge)
    );
    assert_eq!(wire(&fields), "a: 1\r\n");
    fields.append("n".repeat(65_535), "x").unwrap();
}

#[test]
fn set_takes_the_place_of_the_first_line() {
    let mut fields = of(&[("a", "1"), ("b", "2"), ("A", "3"), ("c", "4")]);
    fields.set("a", "new").unwrap();
    assert_eq!(wire(&fields), "a: new\r\nb: 2\r\nc: 4\r\n");
    fields.set("d", "5").unwrap();
    fields.set(Known::Host, "h").unwrap();
    fields.set(Known::Host, "i").unwrap();
    assert_eq!(
        wire(&fields),
        "a: new\r\nb: 2\r\nc: 4\r\nd: 5\r\nHost: i\r\n"
    );
    assert_eq!(fields.get(Known::Host), Some(&b"i"[..]));
}

#[test]
fn remove_and_retain_forget_known_names_too() {
    let mut fields = of(&[("Host", "h"), ("Via", "1"), ("x", "1"), ("Via", "2")]);
    assert!(fields.remove(Known::Via));
    assert!(!fields.remove("via"));
    assert!(!fields.contains(Known::Via));
    assert_eq!(wire(&fields), "Host: h\r\nx: 1\r\n");
    fields.retain(|name, value| name == "x" && value == b"1");
    assert!(!fields.contains("host"));
    assert_eq!(wire(&fields), "x: 1\r\n");
    fields.clear();
    assert!(fields.is_empty() && wire(&fields).is_empty());
}

#[test]
fn setting_again_and_again_does_not_grow() {
    let mut fields = of(&[("Host", "h")]);
    for round in 0..10_000 {
        fields.set("X-Round", round.to_string()).unwrap();
        fields.set("Host", "h").unwrap();
    }
    assert!(fields.text.len() < 20_000, "{}", fields.text.len());
    assert_eq!(wire(&fields), "Host: h\r\nX-Round: 9999\r\n");
}

#[test]
fn equality_and_clone() {
    let fields = of(&[("Host", "h"), ("x", "1")]);
    let mut other = of(&[("z", "z")]);
    other.clone_from(&fields);
    assert_eq!(other, fields);
    assert_eq!(other, of(&[("host", "h"), ("X", "1")]));
    assert_ne!(other, of(&[("host", "H"), ("X", "1")]));
    assert_eq!(format!("{other:?}"), r#"{"Host": "h", "x": "1"}"#);
}

#[test]
fn converts_to_and_from_a_header_map() {
    let fields = of(&[("Set-Cookie", "a=1"), ("Host", "h"), ("set-cookie", "b=2")]);
    let map = http::HeaderMap::try_from(&fields).unwrap();
    assert_eq!(
        map.get_all("set-cookie").iter().collect::<Vec<_>>(),
        ["a=1", "b=2"]
    );
    let back = Fields::try_from(&map).unwrap();
    assert_eq!(
        back.get_all("SET-COOKIE").collect::<Vec<_>>(),
        [b"a=1", b"b=2"]
    );
    assert_eq!(back.len(), 3);

    let control = of(&[("x", "\u{1}")]);
    assert_eq!(http::HeaderMap::try_from(&control).unwrap_err().name, "x");
}

#[test]
fn iterates_from_both_ends() {
    let fields = of(&[("a", "1"), ("b", "2")]);
    assert_eq!(fields.iter().len(), 2);
    assert_eq!(fields.iter().next_back().unwrap().0, "b");
}

#[test]
fn parts_of_a_list_are_written_and_copied() {
    let mut fields = of(&[
        ("a", "1"),
        ("b", "2"),
        ("Host", "h"),
        ("c", "3"),
        ("d", "4"),
    ]);
    fields.remove("d");
    let keep = |name: FieldName<'_>, value: &[u8]| name != "b" && value != b"3";
    let mut out = Vec::new();
    encode::fields_where(&fields, keep, &mut out);
    assert_eq!(out, b"a: 1\r\nHost: h\r\n");
    let mut copy = of(&[("z", "0")]);
    copy.extend_where(&fields, keep).unwrap();
    assert_eq!(wire(&copy), "z: 0\r\na: 1\r\nHost: h\r\n");
    assert_eq!(copy.get(Known::Host), Some(&b"h"[..]));
}
