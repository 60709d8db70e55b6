//! A connection and the others on its thread.

use std::sync::Mutex;

use super::*;

/// Works on the thread that it is polled on, as an application does.
fn works() {
    std::thread::sleep(Duration::from_millis(3));
}

#[tokio::test]
async fn requests_that_hold_the_thread_let_other_connections_in_between() {
    const MANY: usize = 30;
    for target in ["/many", "/endless"] {
        let order = Arc::new(Mutex::new(Vec::new()));
        let noted = order.clone();
        let service = Scripted::new(limits(), move |request: Request| {
            let noted = noted.clone();
            async move {
                works();
                let path = String::from_utf8_lossy(request.head.target.path()).into_owned();
                let endless = path == "/endless";
                noted.lock().unwrap().push(path);
                // Content that goes on leaves its request under way.
                match endless {
                    true => with_body(vec![b'x'; 1 << 20]),
                    false => text(StatusCode::OK, "done"),
                }
            }
        });
        let mut many = Client::new(&service).await;
        let mut other = Client::new(&service).await;
        let mut answers = Vec::new();
        for _ in 0..MANY {
            let (answer, _) = many.ask(request("GET", target), true).await;
            answers.push(answer);
        }
        // The other asks when the first of the many has been answered.
        answers.remove(0).await.unwrap();
        assert_eq!(other.get("/other").await.1, "done");
        let before = order.lock().unwrap().len();
        assert!(before < MANY / 2, "{target}: after {before}");
        for answer in answers {
            answer.await.unwrap();
        }
        assert_eq!(order.lock().unwrap().len(), MANY + 1);
    }
}
