//! Requests that do not wait for each other.

use super::*;

/// Requests and what an echo answers to each.
fn conversation(requests: &[(u8, Vec<u8>)]) -> (Vec<u8>, Vec<String>) {
    let mut wire = Vec::new();
    let mut answers = Vec::new();
    for (index, (kind, content)) in requests.iter().enumerate() {
        let said =
            String::from_utf8(content.iter().map(|byte| b'a' + byte % 26).collect()).unwrap();
        match kind % 4 {
            0 => wire
                .extend_from_slice(format!("GET /{index} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()),
            1 => wire.extend_from_slice(
                format!(
                    "POST /{index} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{said}",
                    said.len()
                )
                .as_bytes(),
            ),
            2 => {
                let (first, second) = said.split_at(said.len() / 2);
                let head = "HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
                wire.extend_from_slice(format!("PUT /{index} {head}").as_bytes());
                for chunk in [first, second] {
                    http_wire::chunked::write_chunk(chunk.as_bytes(), &mut wire);
                }
                wire.extend_from_slice(b"0\r\n\r\n");
            }
            // Nobody reads the content of this one.
            _ => wire.extend_from_slice(
                format!(
                    "POST /unread/{index} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{said}",
                    said.len()
                )
                .as_bytes(),
            ),
        }
        answers.push(match kind % 4 {
            0 => format!("GET /{index} "),
            1 => format!("POST /{index} {said}"),
            2 => format!("PUT /{index} {said}"),
            _ => "unread".into(),
        });
    }
    (wire, answers)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn pipelined_requests_are_answered_in_order_however_they_arrive(
        requests in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..300)), 1..8),
        cuts in proptest::collection::vec(1usize..200, 1..20),
    ) {
        let (wire, expected) = conversation(&requests);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answers = runtime.block_on(async {
            let service = Scripted::new(limits(), |mut request: Request| async move {
                if request.head.target.as_bytes().starts_with(b"/unread") {
                    return with_body("unread");
                }
                let content = support::content(&mut request).await;
                let mut seen = format!("{} ", request.head.method).into_bytes();
                seen.extend_from_slice(request.head.target.as_bytes());
                seen.push(b' ');
                seen.extend_from_slice(&content);
                with_body(seen)
            });
            let mut client = Client::connect(&service);
            let mut rest = &wire[..];
            for cut in cuts.iter().cycle() {
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                client.send(now).await;
                tokio::task::yield_now().await;
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            let mut answers = Vec::new();
            for _ in &requests {
                answers.push(client.response().await.1);
            }
            until(|| service.sent().len() == requests.len()).await;
            answers
        });
        prop_assert_eq!(answers, expected);
    }
}
