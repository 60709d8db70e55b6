//! Reason phrases and page titles as nginx writes them: some are older than RFC 9110's, and tools look for them.

use http::StatusCode;

/// The reason phrase of a status line; the usual one where nginx has no other.
pub fn reason(status: StatusCode) -> &'static str {
    match status.as_u16() {
        302 => "Moved Temporarily",
        code => phrase(code).unwrap_or_else(|| http_wire::reason(status)),
    }
}

/// What a page of our own says of a status.
pub fn title(status: StatusCode) -> &'static str {
    phrase(status.as_u16()).unwrap_or_else(|| http_wire::reason(status))
}

fn phrase(code: u16) -> Option<&'static str> {
    Some(match code {
        405 => "Not Allowed",
        408 => "Request Time-out",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Large",
        416 => "Requested Range Not Satisfiable",
        503 => "Service Temporarily Unavailable",
        504 => "Gateway Time-out",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_phrases_stay_and_others_are_the_usual_ones() {
        assert_eq!(reason(StatusCode::FOUND), "Moved Temporarily");
        assert_eq!(title(StatusCode::FOUND), "Found");
        assert_eq!(reason(StatusCode::GATEWAY_TIMEOUT), "Gateway Time-out");
        assert_eq!(reason(StatusCode::NOT_FOUND), "Not Found");
    }
}
