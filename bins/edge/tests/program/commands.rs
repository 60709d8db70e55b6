//! The command line.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::server::{House, edge, output, stderr_of};

const GOOD: &str = "server { listen 127.0.0.1:{port}; location / { return 200 ok; } }";

#[test]
fn versions_are_told_in_the_form_that_tools_read() {
    for option in ["-v", "-V", "--version"] {
        let told = output(edge().arg(option));
        assert_eq!(told.status.code(), Some(0));
        assert!(told.stdout.is_empty());
        let text = stderr_of(&told);
        let (first, rest) = text.split_once('\n').expect("a line");
        // As certbot's nginx plugin and Puppet's facts look for it.
        let (product, version) = first
            .strip_prefix("nginx version: ")
            .and_then(|words| words.split_once('/'))
            .expect("a product and its version");
        assert_eq!(product, "nginx");
        let number = version.split(' ').next().expect("a number");
        let numbers: Vec<u32> = number
            .split('.')
            .map(|part| part.parse().expect("a number"))
            .collect();
        assert!(numbers >= vec![0, 8, 48], "{number}");
        assert!(first.ends_with(&format!("(edge {})", env!("CARGO_PKG_VERSION"))));
        assert_eq!(
            rest.contains("configure arguments: --prefix="),
            option == "-V"
        );
        assert_eq!(
            rest.contains("--conf-path=/etc/nginx/nginx.conf"),
            option == "-V"
        );
    }
}

#[test]
fn help_lists_every_option() {
    for option in ["-h", "-?", "--help"] {
        let told = output(edge().arg(option));
        assert_eq!(told.status.code(), Some(0));
        let text = stderr_of(&told);
        for option in [
            "-?,-h ",
            "-v ",
            "-V ",
            "-t ",
            "-T ",
            "-q ",
            "-s signal",
            "-p prefix",
            "-e filename",
            "-c filename",
            "-g directives",
        ] {
            assert!(text.contains(&format!("\n  {option}")), "{option}: {text}");
        }
    }
}

#[test]
fn what_is_wrong_with_a_command_line_is_said_with_what_to_do() {
    for (arguments, words) in [
        (&["-y"][..], "edge: invalid option: \"y\"\n  help: "),
        (&["--nonsense"], "edge: invalid option: \"-\"\n  help: "),
        (
            &["nginx.conf"],
            "edge: invalid option: \"nginx.conf\"\n  help: ",
        ),
        (&["-s"], "edge: option \"-s\" requires parameter\n  help: "),
        (&["-s", "now"], "edge: invalid option: \"-s now\"\n  help: "),
        (
            &["-p"],
            "edge: option \"-p\" requires directory name\n  help: ",
        ),
        (&["-tc"], "edge: option \"-c\" requires file name\n  help: "),
        (&["-e"], "edge: option \"-e\" requires file name\n  help: "),
        (&["-g"], "edge: option \"-g\" requires parameter\n  help: "),
    ] {
        let told = output(edge().args(arguments));
        assert_eq!(told.status.code(), Some(1), "{arguments:?}");
        assert!(
            stderr_of(&told).starts_with(words),
            "{arguments:?}: {}",
            stderr_of(&told)
        );
    }
}

#[test]
fn a_good_configuration_is_called_good_and_nothing_is_started() {
    let house = House::new();
    house.configure(GOOD);
    let conf = house.prefix.join("nginx.conf").display().to_string();
    let told = output(house.command().arg("-t"));
    assert_eq!(told.status.code(), Some(0));
    assert_eq!(
        stderr_of(&told),
        format!(
            "edge: the configuration file {conf} syntax is ok\nedge: configuration file {conf} test is successful\n"
        )
    );
    assert!(!house.prefix.join("nginx.pid").exists());
    let quiet = output(house.command().arg("-tq"));
    assert_eq!(
        (quiet.status.code(), stderr_of(&quiet).as_str()),
        (Some(0), "")
    );
}

#[test]
fn quiet_leaves_out_notices_but_no_warnings() {
    let house = House::new();
    house.configure("open_file_cache off; server { listen 127.0.0.1:{port}; server_name a a; }");
    let loud = stderr_of(&output(house.command().arg("-t")));
    assert!(loud.contains("edge: [notice] "), "{loud}");
    let quiet = output(house.command().arg("-tq"));
    assert_eq!(quiet.status.code(), Some(0));
    let lines: Vec<String> = stderr_of(&quiet).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].starts_with("edge: [warn] conflicting server name \"a\""),
        "{lines:?}"
    );
}

#[test]
fn a_line_that_is_refused_is_told_once_not_with_each_use_of_its_variable() {
    let house = House::new();
    house.configure(
        "map $http_upgrade $connection_upgrade { default upgrade; '' close; }
geo $inside { default 0; 127.0.0.0/8 1; }
server {
    listen 127.0.0.1:{port};
    gzip_types text/css;
    set $backend http://127.0.0.1:8000;
    location / { proxy_set_header Connection $connection_upgrade; proxy_pass $backend; }
    location /in { return 200 $inside$nowhere; }
}",
    );
    let told = output(house.command().arg("-t"));
    let text = stderr_of(&told);
    let faults: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("edge: [emerg] \"")?.split('"').next())
        .collect();
    assert_eq!(faults, ["map", "geo", "set"], "{text}");
    assert!(text.contains("unknown \"nowhere\" variable"), "{text}");
}

#[test]
fn every_fault_of_every_file_is_told_in_one_go() {
    let house = House::new();
    house.write("part.conf", "sendfile yes;\n");
    house.configure("include part.conf;\nlokation / { }\nserver { listen 127.0.0.1:{port}; return 200 $nowhere; }");
    for options in [
        &["-t"][..],
        &["-t", "-q"],
        &["-T"],
        &["-g", "daemon off;"],
        &["-s", "reload"],
    ] {
        let told = output(house.command().args(options));
        assert_eq!(told.status.code(), Some(1), "{options:?}");
        let text = stderr_of(&told);
        let place =
            |path: &str, line: u32| format!("in {}:{line}\n", house.prefix.join(path).display());
        for (words, place) in [
            (
                "edge: [emerg] invalid value \"yes\" in \"sendfile\" directive",
                place("part.conf", 1),
            ),
            (
                "edge: [emerg] unknown directive \"lokation\"",
                place("nginx.conf", 5),
            ),
            (
                "edge: [emerg] unknown \"nowhere\" variable",
                place("nginx.conf", 6),
            ),
        ] {
            let line = text.lines().find(|line| line.starts_with(words));
            let line = line.unwrap_or_else(|| panic!("{words}: {text}"));
            assert!(format!("{line}\n").ends_with(&place), "{line}");
        }
        assert!(told.stdout.is_empty());
        assert_eq!(
            text.contains("test failed"),
            options[0] == "-t" || options[0] == "-T"
        );
    }
}

#[test]
fn the_text_of_all_files_is_dumped() {
    let house = House::new();
    house.write("extra.conf", "log_format special 'x';\n");
    house.configure(&format!("include extra.conf;\n{GOOD}"));
    let told = output(house.command().arg("-T"));
    assert_eq!(told.status.code(), Some(0));
    let dumped = String::from_utf8_lossy(&told.stdout).into_owned();
    let of = |path: &str| {
        format!(
            "# configuration file {}:\n{}\n",
            house.prefix.join(path).display(),
            house.read(path)
        )
    };
    assert_eq!(dumped, of("nginx.conf") + &of("extra.conf"));
}

#[test]
fn a_missing_configuration_is_named() {
    let house = House::new();
    let told = output(house.command().arg("-t"));
    assert_eq!(told.status.code(), Some(1));
    let conf = house.prefix.join("nginx.conf").display().to_string();
    let words = format!("edge: [emerg] open() \"{conf}\" failed (2: No such file or directory)\n");
    assert!(stderr_of(&told).starts_with(&words), "{}", stderr_of(&told));
}

#[test]
fn with_a_prefix_the_default_files_lie_below_it() {
    let house = House::new();
    house.write(
        "conf/nginx.conf",
        "events {} http { server { listen 127.0.0.1:{port}; } }",
    );
    let told = output(edge().arg("-t").arg("-p").arg(house.prefix.path()));
    assert_eq!(told.status.code(), Some(0), "{}", stderr_of(&told));
    // What nobody named has its place, too.
    assert!(house.prefix.join("logs/access.log").exists());
}

#[test]
fn addresses_that_can_never_be_listened_at_fail_the_test() {
    let house = House::new();
    house.configure("server { listen 192.0.2.1:80; }");
    let told = output(house.command().arg("-t"));
    assert_eq!(told.status.code(), Some(1));
    let text = stderr_of(&told);
    assert!(
        text.contains("bind() to 192.0.2.1:80 failed (99: "),
        "{text}"
    );
    assert!(text.contains("\n  help: "), "{text}");
    // One that is in use may be in use by the very server that is tested.
    let taken = std::net::TcpListener::bind(house.address()).expect("the port is free");
    house.configure(GOOD);
    assert_eq!(output(house.command().arg("-t")).status.code(), Some(0));
    drop(taken);
}

#[test]
fn an_unknown_user_fails_the_test() {
    let house = House::new();
    house.configure_all("user no-such-user;", GOOD);
    let told = output(house.command().arg("-t"));
    let root = fs::metadata("/proc/self").expect("there is /proc").uid() == 0;
    assert_eq!(told.status.code(), Some(i32::from(root)));
    let words = if root { "no user \"no-such-user\"" } else { "" };
    assert!(stderr_of(&told).contains(words), "{}", stderr_of(&told));
}

#[test]
fn global_directives_come_before_the_file() {
    let house = House::new();
    house.write(
        "nginx.conf",
        "events {} http { access_log off; server { listen 127.0.0.1:{port}; return 200 ok; } }",
    );
    let server = house.start_with(|command| {
        command.args(["-g", "daemon off; pid nginx.pid; error_log g.log notice;"])
    });
    assert_eq!(server.get("/").text(), "ok");
    server.await_text("g.log", "start worker process");
}

#[test]
fn signals_need_a_server_that_can_be_found() {
    let house = House::new();
    house.configure(GOOD);
    let pid = house.prefix.join("nginx.pid").display().to_string();
    let refused = |words: &str| {
        let told = output(house.command().args(["-s", "reopen"]));
        assert_eq!(told.status.code(), Some(1));
        assert!(stderr_of(&told).starts_with(words), "{}", stderr_of(&told));
        assert!(
            stderr_of(&told).contains("\n  help: "),
            "{}",
            stderr_of(&told)
        );
    };
    refused(&format!(
        "edge: [error] open() \"{pid}\" failed (2: No such file or directory)"
    ));
    house.write("nginx.pid", "words\n");
    refused(&format!(
        "edge: [error] invalid PID number \"words\" in \"{pid}\""
    ));
    let mut gone = std::process::Command::new("true")
        .spawn()
        .expect("it starts");
    gone.wait().expect("it ends");
    house.write("nginx.pid", &format!("{}\n", gone.id()));
    refused(&format!(
        "edge: [alert] kill({}, 10) failed (3: No such process)",
        gone.id()
    ));
}

#[test]
fn an_address_that_is_taken_is_named_with_how_to_find_its_owner() {
    let house = House::new();
    let taken = std::net::TcpListener::bind(house.address()).expect("the port is free");
    house.configure(GOOD);
    let told = output(house.command().args(["-g", "daemon off;"]));
    assert_eq!(told.status.code(), Some(1));
    let text = stderr_of(&told);
    let words = format!(
        "edge: [emerg] bind() to 127.0.0.1:{} failed (98: Address already in use)",
        house.port
    );
    assert!(text.starts_with(&words), "{text}");
    assert!(text.contains("ss -ltnp"), "{text}");
    assert!(
        text.contains("edge: [emerg] still could not bind()"),
        "{text}"
    );
    drop(taken);
}

#[test]
fn the_reference_lists_directives_and_variables() {
    let told = output(edge().arg("--directives"));
    assert_eq!(told.status.code(), Some(0));
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    for part in [
        "### `proxy_pass`\n",
        "### `listen`\n",
        "- in: http, server, location",
        "| `$remote_addr` |",
        "## Not yet\n",
    ] {
        assert!(text.contains(part), "{part}");
    }
    assert!(!text.contains(";;"));
}
