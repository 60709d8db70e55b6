//! The comparison itself, for any bytes.

use http_wire::head::{
    HeadLimits, HeadPolicy, HostRule, RequestHead, RequestParser, ResponseHead, ResponseParser,
};
use httparse::Status;

/// Ours as far as httparse goes: it knows nothing of `Host` or of fields that may occur once, and has no limits but the number of fields.
pub fn limits() -> HeadLimits {
    let host = HostRule {
        required: false,
        checked: false,
        empty: true,
    };
    let policy = HeadPolicy {
        host,
        single: Default::default(),
        ..HeadPolicy::default()
    };
    HeadLimits {
        line_bytes: 1 << 20,
        field_bytes: 1 << 20,
        fields: 64,
        head_bytes: 1 << 20,
        policy,
    }
}

/// What became of a head.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    /// Start line in parts and fields, and the bytes used.
    Complete(usize, Vec<String>, Vec<(String, Vec<u8>)>),
    Partial,
    Refused(String),
}

pub fn request_ours(wire: &[u8]) -> Outcome {
    let mut head = RequestHead::default();
    match RequestParser::new(limits()).parse(wire, &mut head) {
        Ok(Some(used)) => {
            let line = [
                head.method.to_string(),
                head.target.to_string(),
                head.version.to_string(),
            ];
            Outcome::Complete(used, line.into(), lines(&head.fields))
        }
        Ok(None) => Outcome::Partial,
        Err(error) => Outcome::Refused(format!("{error:?}")),
    }
}

pub fn request_theirs(wire: &[u8]) -> Outcome {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(wire) {
        Ok(Status::Complete(used)) => {
            let version = format!("HTTP/1.{}", request.version.unwrap());
            let line = [
                request.method.unwrap().to_owned(),
                request.path.unwrap().to_owned(),
                version,
            ];
            Outcome::Complete(used, line.into(), theirs(request.headers))
        }
        Ok(Status::Partial) => Outcome::Partial,
        Err(error) => Outcome::Refused(format!("{error:?}")),
    }
}

pub fn response_ours(wire: &[u8]) -> Outcome {
    let mut head = ResponseHead::default();
    match ResponseParser::new(limits()).parse(wire, &mut head) {
        Ok(Some(used)) => {
            let line = [head.version.to_string(), head.status.as_str().to_owned()];
            Outcome::Complete(used, line.into(), lines(&head.fields))
        }
        Ok(None) => Outcome::Partial,
        Err(error) => Outcome::Refused(format!("{error:?}")),
    }
}

pub fn response_theirs(wire: &[u8]) -> Outcome {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    match response.parse(wire) {
        Ok(Status::Complete(used)) => {
            let version = format!("HTTP/1.{}", response.version.unwrap());
            let line = [version, format!("{:03}", response.code.unwrap())];
            Outcome::Complete(used, line.into(), theirs(response.headers))
        }
        Ok(Status::Partial) => Outcome::Partial,
        Err(error) => Outcome::Refused(format!("{error:?}")),
    }
}

/// What one takes and the other too must be the same; what we take they must take.
pub fn check(wire: &[u8], ours: &Outcome, theirs: &Outcome) {
    let shown = String::from_utf8_lossy(wire);
    match (ours, theirs) {
        (Outcome::Complete(..), _) => assert_eq!(ours, theirs, "{shown:?}"),
        // We wait for the end of a line, or for more; they may know already that it is wrong, but must not be through.
        (Outcome::Partial, Outcome::Complete(..)) => {
            panic!("{shown:?}: they have it all, we want more")
        }
        _ => {}
    }
}

fn lines(fields: &http_wire::Fields) -> Vec<(String, Vec<u8>)> {
    fields
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_vec()))
        .collect()
}

fn theirs(fields: &[httparse::Header<'_>]) -> Vec<(String, Vec<u8>)> {
    // They leave white space at the end of a value alone, we take it off.
    fields
        .iter()
        .map(|field| (field.name.to_owned(), field.value.trim_ascii().to_vec()))
        .collect()
}
