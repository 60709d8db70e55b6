//! What is wrong with a configuration is told all at once, each fault with its place.

use crate::world::World;

#[test]
fn every_fault_of_every_file_is_told() {
    let world = World::new();
    let main = "events {}\nhttp {\n  include sites/*.conf;\n  log_format a '$nonsense';\n  proxy_read_timeout 0;\n}\n";
    let one = "server {\n  listen 127.0.0.1:80;\n  lissten 81;\n  location / { probe sometimes; }\n  location / { return 200; }\n}\n";
    let two = "server {\n  listen nowhere:99999;\n  return abc;\n  location /a { location /b { } }\n  location ~ ( { }\n}\n";
    let Err(faults) = world.compile_files(&[
        ("/t/main.conf", main),
        ("/t/sites/1.conf", one),
        ("/t/sites/2.conf", two),
    ]) else {
        panic!("the configuration is full of faults");
    };
    for expected in [
        "unknown \"nonsense\" variable in /t/main.conf:4",
        "/t/main.conf:5",
        "unknown directive \"lissten\", did you mean \"listen\"? in /t/sites/1.conf:3",
        "/t/sites/1.conf:4",
        "duplicate location \"/\" in /t/sites/1.conf:5",
        "/t/sites/2.conf:2",
        "/t/sites/2.conf:3",
        "location \"/b\" is outside location \"/a\" in /t/sites/2.conf:4",
        "/t/sites/2.conf:5",
    ] {
        assert!(faults.contains(expected), "{expected}\n---\n{faults}");
    }
    assert!(
        faults
            .lines()
            .all(|line| line.starts_with("test: [") || line.starts_with("  ")),
        "{faults}"
    );
}

#[test]
fn a_file_limit_that_no_buffer_fits_into_is_refused() {
    let world = World::new();
    let text = "events {}\nhttp { server { listen 127.0.0.1:80;\n proxy_max_temp_file_size 1k;\n proxy_buffers 4 4k; } }";
    let Err(faults) = world.compile_files(&[("/t/main.conf", text)]) else {
        panic!("nginx refuses it, too");
    };
    assert!(
        faults.contains("\"proxy_max_temp_file_size\" must be equal to zero"),
        "{faults}"
    );
    assert!(faults.contains("/t/main.conf:3"), "{faults}");
}

#[test]
fn a_good_configuration_has_none_and_names_its_sockets() {
    let world = World::new();
    let text =
        "events {}\nhttp { server { listen 127.0.0.1:8001; } server { listen unix:/run/x.sock; } }";
    let compiled = world
        .compile_files(&[("/t/main.conf", text)])
        .map_err(|faults| panic!("{faults}"))
        .unwrap();
    let listens: Vec<String> = compiled
        .listens
        .iter()
        .map(|listen| listen.address.to_string())
        .collect();
    assert_eq!(listens, ["127.0.0.1:8001", "unix:/run/x.sock"]);
}
