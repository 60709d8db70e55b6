//! What a service manager hears.

mod support;

use std::os::unix::net::UnixDatagram;

use rustix::process::Signal;
use support::{PID_APP, Setup, saying};

/// The manager's end.
struct Manager(UnixDatagram);

impl Manager {
    fn listen(setup: &Setup) -> Self {
        let socket = UnixDatagram::bind(setup.prefix.join("notify")).unwrap();
        socket.set_read_timeout(Some(support::PATIENCE)).unwrap();
        Self(socket)
    }

    /// Everything up to a message with these words, in one text.
    fn until(&self, words: &str) -> String {
        let mut heard = String::new();
        let mut buffer = [0; 4096];
        loop {
            let count = testkit::uninterrupted(|| self.0.recv(&mut buffer))
                .unwrap_or_else(|error| panic!("{words:?} never came ({error}); heard: {heard}"));
            let message = String::from_utf8_lossy(&buffer[..count]).into_owned();
            heard.push_str(&message);
            heard.push('\n');
            if message.contains(words) {
                return heard;
            }
        }
    }
}

fn with_manager(app: &str) -> (Setup, Manager) {
    let setup = Setup::new(app);
    let manager = Manager::listen(&setup);
    let path = setup.prefix.join("notify").display().to_string();
    (setup.env("NOTIFY_SOCKET", &path), manager)
}

#[test]
fn ready_is_said_when_workers_answer_and_stopping_at_the_end() {
    let app = "
import os, time
while not os.path.exists('go'):
    open('importing', 'w').close()
    time.sleep(0.01)
"
    .to_owned()
        + &saying("x");
    let (setup, manager) = with_manager(&app);
    let mut server = setup.spawn();
    server.until("the import", || {
        server.prefix.join("importing").exists().then_some(())
    });
    manager.0.set_nonblocking(true).unwrap();
    assert!(
        manager.0.recv(&mut [0; 64]).is_err(),
        "something was said before the application was imported"
    );
    manager.0.set_nonblocking(false).unwrap();
    server.write("go", "");
    manager.until("READY=1");
    manager.until("STATUS=1 workers serve");
    server.signal(Signal::TERM);
    manager.until("STOPPING=1");
    assert_eq!(server.wait(), 0);
}

#[test]
fn a_reload_is_told_from_beginning_to_end() {
    let (setup, manager) = with_manager(PID_APP);
    let mut server = setup.start();
    manager.until("STATUS=1 workers serve");
    server.signal(Signal::HUP);
    let heard = manager.until("READY=1");
    assert!(heard.contains("RELOADING=1\nMONOTONIC_USEC="), "{heard}");
    manager.until("STATUS=1 workers serve");
    server.write("app.py", "raise ValueError('broken on purpose')");
    server.signal(Signal::HUP);
    manager.until("RELOADING=1");
    manager
        .until("STATUS=Reload failed, the release before serves on: ValueError: broken on purpose");
    server.text("/");
}

#[test]
fn the_watchdog_is_fed() {
    let (setup, manager) = with_manager(PID_APP);
    let _server = setup.env("WATCHDOG_USEC", "100000").start();
    manager.until("WATCHDOG=1");
    manager.until("WATCHDOG=1");
}
