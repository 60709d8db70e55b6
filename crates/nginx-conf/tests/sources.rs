//! Files, includes, what is shipped and what is dumped.

use std::path::Path;

use nginx_conf::*;

fn words(tree: &Tree) -> String {
    tree.root.to_string()
}

fn messages(tree: &Tree, faults: &Faults) -> String {
    faults.render("t", &tree.sources, Style::Line)
}

#[test]
fn reads_includes_from_the_folder_of_the_main_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(at("sub/deep")).unwrap();
    std::fs::write(
        at("main.conf"),
        "a; include sub/*.conf; include nothing-*; d;",
    )
    .unwrap();
    // names inside of an included file start at the main file's folder too
    std::fs::write(at("sub/2.conf"), "c; include sub/deep/x;").unwrap();
    std::fs::write(at("sub/1.conf"), "b;").unwrap();
    std::fs::write(at("sub/.3.conf"), "hidden;").unwrap();
    std::fs::write(at("sub/deep/x"), "x;").unwrap();
    let (tree, faults) = Parser::new(&DiskLoader).parse(at("main.conf"));
    assert!(faults.is_empty(), "{}", messages(&tree, &faults));
    assert_eq!(words(&tree), "a;\nb;\nc;\nx;\nd;\n");
}

#[test]
fn ships_all_text_to_a_reader_without_files() {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("main.conf");
    std::fs::write(&main, "include sites/*.conf; include mime;").unwrap();
    std::fs::create_dir(folder.path().join("sites")).unwrap();
    std::fs::write(folder.path().join("sites/a.conf"), "a; # \u{e9}").unwrap();
    std::fs::write(folder.path().join("sites/b.conf"), b"b; # latin \xe9\n").unwrap();
    std::fs::write(folder.path().join("mime"), "c;").unwrap();
    let (tree, faults) = Parser::new(&DiskLoader).globals("g;").parse(&main);
    assert!(faults.is_empty(), "{}", messages(&tree, &faults));
    let shipped = serde_json::to_string(tree.sources.set()).unwrap();
    drop(folder);

    let set: SourceSet = serde_json::from_str(&shipped).unwrap();
    assert_eq!(&set, tree.sources.set());
    let (again, faults) = set.parse();
    assert!(faults.is_empty(), "{}", messages(&again, &faults));
    assert!(again.root.same_meaning(&tree.root));
    assert_eq!(again.sources.set(), tree.sources.set());
}

#[test]
fn dumps_each_file_once_under_its_name() {
    let set = SourceSet::of([("/c/main", "include x;\ninclude x;\n"), ("/c/x", "a;")]);
    let (tree, faults) = Parser::new(&set).parse("/c/main");
    assert!(faults.is_empty());
    assert_eq!(words(&tree), "a;\na;\n");
    assert_eq!(
        String::from_utf8(tree.sources.set().dump()).unwrap(),
        "# configuration file /c/main:\ninclude x;\ninclude x;\n\n# configuration file /c/x:\na;\n"
    );
}

#[test]
fn says_which_include_a_place_came_through() {
    let set = SourceSet::of([("/c/main", "a;\ninclude x;\n\ninclude x;"), ("/c/x", "b;")]);
    let (tree, _) = Parser::new(&set).parse("/c/main");
    let spans: Vec<Span> = tree.root.statements.iter().map(Statement::span).collect();
    let lines: Vec<Vec<u32>> = spans
        .iter()
        .map(|span| {
            tree.sources
                .chain(span.file)
                .map(|include| include.line)
                .collect()
        })
        .collect();
    assert_eq!(lines, [vec![], vec![2], vec![4]]);
    assert_eq!(tree.sources.place(spans[1]), "/c/x:1");
    assert_eq!(tree.sources.path(spans[1].file), Some("/c/x"));
    let mut sorted = spans.clone();
    sorted.sort_by_key(|span| tree.sources.reading_order(*span));
    assert_eq!(sorted, spans);
}

#[test]
fn reports_a_main_file_that_cannot_be_read() {
    let (tree, faults) = Parser::new(&DiskLoader).parse("/nonexistent/n.conf");
    assert!(messages(&tree, &faults).starts_with(
        "t: [emerg] open() \"/nonexistent/n.conf\" failed (2: No such file or directory)\n"
    ));
    let folder = tempfile::tempdir().unwrap();
    let (tree, faults) = Parser::new(&DiskLoader).parse(folder.path());
    assert!(messages(&tree, &faults).contains("failed (21: Is a directory)"));
}

#[test]
fn reads_the_command_line_first() {
    let set = SourceSet::of([("/c", "b;")]);
    let render = |globals: &str| {
        let (tree, faults) = Parser::new(&set).globals(globals).parse("/c");
        (
            words(&tree),
            messages(&tree, &faults)
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
        )
    };
    assert_eq!(render("a 1; "), ("a 1;\nb;\n".to_owned(), String::new()));
    assert_eq!(
        render("a 1").1,
        "t: [emerg] unexpected end of parameter, expecting \";\" in command line"
    );
    assert_eq!(
        render("a { }").1,
        "t: [emerg] block directives are not supported in -g option in command line"
    );
    assert_eq!(
        render("a; }").1,
        "t: [emerg] unexpected \"}\" in command line"
    );
}

#[test]
fn holds_its_limits() {
    let nested = |depth: usize| format!("{}{}", "a {".repeat(depth), "}".repeat(depth));
    for (depth, allowed) in [
        (BLOCK_DEPTH_MAX, true),
        (BLOCK_DEPTH_MAX + 1, false),
        (100_000, false),
    ] {
        let (_, faults) = Parser::new(&SourceSet::of([("/c", nested(depth))])).parse("/c");
        assert_eq!(faults.is_empty(), allowed, "{depth} blocks");
        assert!(faults.len() <= 1);
    }
    let chain = |length: usize| {
        SourceSet::of(
            (0..=length)
                .map(|at| (format!("/{at}"), format!("include {};", at + 1)))
                .chain([(format!("/{}", length + 1), "a;".to_owned())]),
        )
    };
    for (length, allowed) in [(INCLUDE_DEPTH_MAX - 1, true), (INCLUDE_DEPTH_MAX, false)] {
        let (tree, faults) = Parser::new(&chain(length)).parse("/0");
        assert_eq!(
            faults.is_empty(),
            allowed,
            "{length}: {}",
            messages(&tree, &faults)
        );
    }
    let word = |bytes: usize| format!("a {};", "x".repeat(bytes));
    for (bytes, allowed) in [(WORD_BYTES_MAX, true), (WORD_BYTES_MAX + 1, false)] {
        let (_, faults) = Parser::new(&SourceSet::of([("/c", word(bytes))])).parse("/c");
        assert_eq!(faults.is_empty(), allowed, "{bytes} bytes");
    }
}

#[test]
fn refuses_a_file_without_end() {
    let (tree, faults) = Parser::new(&DiskLoader).parse("/dev/zero");
    assert!(
        messages(&tree, &faults)
            .starts_with("t: [emerg] open() \"/dev/zero\" failed (it is larger than 64 MiB)\n")
    );
}

#[test]
fn stops_files_that_include_each_other_many_times_over() {
    // 30 files of 20 includes each would be opened 20^30 times
    let files = (0..30).map(|at| {
        (
            format!("/{at}"),
            format!("include {};\n", at + 1).repeat(20),
        )
    });
    let set = SourceSet::of(files.chain([("/30".to_owned(), String::new())]));
    let (tree, faults) = Parser::new(&set).parse("/0");
    assert!(faults.are_fatal());
    assert!(tree.sources.openings().len() <= OPENINGS_MAX);
    assert!(faults.len() <= FAULTS_MAX);
}

#[test]
fn skips_a_byte_order_mark_and_refuses_bytes_that_are_no_text() {
    let set = SourceSet::of([("/c", &b"\xEF\xBB\xBFa;"[..])]);
    let (tree, faults) = Parser::new(&set).parse("/c");
    assert!(faults.is_empty());
    assert_eq!(words(&tree), "a;\n");
    for (text, words) in [
        (&b"a \xe9x;"[..], "byte 0xe9 is not UTF-8"),
        (b"a x\0y;", "unexpected NUL byte"),
    ] {
        let (_, faults) = Parser::new(&SourceSet::of([("/c", text)])).parse("/c");
        assert_eq!(
            faults.iter().map(Fault::message).collect::<Vec<_>>(),
            [words]
        );
    }
}

#[test]
fn reads_through_a_loader_of_the_callers_own() {
    struct Twice;
    impl Loader for Twice {
        fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
            Ok(format!("from {};", path.display()).into_bytes())
        }
        fn glob(&self, _: &str) -> std::io::Result<Vec<std::path::PathBuf>> {
            Ok(Vec::new())
        }
    }
    let (tree, _) = Parser::new(&Twice).parse("/anything");
    assert_eq!(words(&tree), "from /anything;\n");
}
