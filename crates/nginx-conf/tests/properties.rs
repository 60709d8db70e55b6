//! What must hold for any text.

mod common;

use nginx_conf::*;
use proptest::prelude::*;

/// A word as text: anything that can be written down.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z_./$]{1,8}",
        1 => any::<String>().prop_map(|text| text.replace('\0', "")),
        1 => r#"[ab"'\\${}; #\t\n()é]{0,8}"#,
    ]
}

fn statement(name: String, args: Vec<String>, block: Option<Vec<Tree1>>) -> Tree1 {
    Tree1 { name, args, block }
}

/// A tree before it is text.
#[derive(Debug, Clone)]
struct Tree1 {
    name: String,
    args: Vec<String>,
    block: Option<Vec<Tree1>>,
}

fn tree() -> impl Strategy<Value = Vec<Tree1>> {
    let args = || prop::collection::vec(word(), 0..4);
    let name = || word().prop_filter("include is replaced", |name| name != "include");
    let leaf = (name(), args()).prop_map(|(name, args)| statement(name, args, None));
    let node = leaf.prop_recursive(4, 24, 5, move |inner| {
        (
            name(),
            args(),
            prop::option::of(prop::collection::vec(inner, 0..5)),
        )
            .prop_map(|(name, args, block)| statement(name, args, block))
    });
    prop::collection::vec(node, 0..5)
}

fn print(tree: &[Tree1], quotes: &mut impl FnMut(&str) -> String, out: &mut String) {
    for statement in tree {
        out.push_str(&quotes(&statement.name));
        for arg in &statement.args {
            out.push(' ');
            out.push_str(&quotes(arg));
        }
        match &statement.block {
            None => out.push(';'),
            Some(block) => {
                out.push('{');
                print(block, quotes, out);
                out.push('}');
            }
        }
    }
}

/// Quotes every word, with one kind of quotes or the other.
fn quoted(text: &str) -> String {
    let quote = if text.len().is_multiple_of(2) {
        '"'
    } else {
        '\''
    };
    let escaped: String = text
        .chars()
        .flat_map(|c| {
            (c == quote || c == '\\')
                .then_some('\\')
                .into_iter()
                .chain([c])
        })
        .collect();
    format!("{quote}{escaped}{quote}")
}

fn same(tree: &[Tree1], block: &Block) -> bool {
    tree.len() == block.statements.len()
        && tree.iter().zip(&block.statements).all(|(left, right)| {
            let blocks = match (&left.block, &right.block) {
                (None, None) => true,
                (Some(left), Some(right)) => same(left, right),
                _ => false,
            };
            left.name == right.name.text
                && left
                    .args
                    .iter()
                    .eq(right.args.iter().map(|word| &word.text))
                && blocks
        })
}

fn parse(text: impl Into<Vec<u8>>) -> (Tree, Faults) {
    Parser::new(&SourceSet::of([("/c", text)])).parse("/c")
}

fn spans(block: &Block, found: &mut Vec<(Span, Option<String>)>) {
    found.extend(
        block
            .open
            .into_iter()
            .chain(block.close)
            .map(|span| (span, None)),
    );
    for statement in &block.statements {
        for word in [&statement.name].into_iter().chain(&statement.args) {
            let plain = !word.escaped && word.quote.is_none();
            found.push((word.span, plain.then(|| word.text.clone())));
        }
        statement.block.iter().for_each(|block| spans(block, found));
    }
}

/// Every span lies in its file, its line and column are true, and a plain word stands where its span says.
fn check_spans(tree: &Tree, faults: &Faults) {
    let mut found = Vec::new();
    spans(&tree.root, &mut found);
    found.extend(
        faults
            .iter()
            .flat_map(|fault| {
                fault
                    .span()
                    .into_iter()
                    .chain(fault.notes().iter().map(|(span, _)| *span))
            })
            .map(|span| (span, None)),
    );
    for (span, word) in found {
        let text = tree.sources.text(span.file);
        assert!((span.start as usize) <= text.len(), "{span:?}");
        assert!(
            (span.start + span.len) as usize <= text.len() + 1,
            "{span:?}"
        );
        let before = &text[..span.start as usize];
        assert_eq!(
            span.line as usize,
            before.iter().filter(|&&byte| byte == b'\n').count() + 1,
            "{span:?}"
        );
        if let Some(word) = word {
            assert_eq!(tree.sources.slice(span), word.as_bytes());
            let line = before.rsplit(|&byte| byte == b'\n').next().unwrap();
            if let Ok(line) = std::str::from_utf8(line) {
                let mark = usize::from(line.starts_with('\u{FEFF}') && span.line == 1);
                assert_eq!(
                    span.column as usize,
                    line.chars().count() + 1 - mark,
                    "{span:?} in {line:?}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reading_what_was_printed_gives_the_same_tree(tree in tree()) {
        let mut text = String::new();
        print(&tree, &mut quoted, &mut text);
        let (first, faults) = parse(text.clone());
        prop_assert!(faults.is_empty(), "{}", faults.render("t", &first.sources, Style::Line));
        prop_assert!(same(&tree, &first.root), "{text}");
        check_spans(&first, &faults);
        // and the crate's own printer, which quotes only where it must
        let printed = first.root.to_string();
        let (second, faults) = parse(printed.clone());
        prop_assert!(faults.is_empty(), "{printed}");
        prop_assert!(same(&tree, &second.root), "{printed}");
    }

    #[test]
    fn words_that_need_no_quotes_get_none(tree in tree()) {
        let mut text = String::new();
        print(&tree, &mut quoted, &mut text);
        let (mut parsed, _) = parse(text);
        strip_quotes(&mut parsed.root);
        let printed = parsed.root.to_string();
        let (again, faults) = parse(printed.clone());
        prop_assert!(faults.is_empty(), "{printed}");
        prop_assert!(same(&tree, &again.root), "{printed}");
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let (tree, faults) = parse(bytes);
        check_spans(&tree, &faults);
        let _ = faults.render("t", &tree.sources, Style::Terminal { colour: true });
    }

    #[test]
    fn any_signs_are_read_and_walked_without_panic(text in r#"([a-z$(){}\[\];"'\\#~=* \n\té]|server|location|if|http|listen|include|types){0,60}"#) {
        let set = SourceSet::of([("/c", text)]);
        let (tree, _, faults) = common::check(&set, "/c");
        check_spans(&tree, &faults);
        let _ = faults.render("t", &tree.sources, Style::Terminal { colour: false });
        let _ = faults.render("t", &tree.sources, Style::Line);
    }

    #[test]
    fn splitting_into_files_gives_the_same_tree(tree in tree(), cuts in prop::collection::vec(any::<bool>(), 0..64)) {
        let mut whole = String::new();
        print(&tree, &mut quoted, &mut whole);
        let mut files = Vec::new();
        let mut cuts = cuts.into_iter();
        let main = split(&tree, &mut cuts, &mut files);
        let mut all = vec![("/main".to_owned(), main)];
        all.extend(files);
        let (parts, faults) = Parser::new(&SourceSet::of(all)).parse("/main");
        prop_assert!(faults.is_empty(), "{}", faults.render("t", &parts.sources, Style::Line));
        prop_assert!(parse(whole).0.root.same_meaning(&parts.root));
        check_spans(&parts, &faults);
    }

    #[test]
    fn templates_and_patterns_take_any_text(text in any::<String>(), pattern in r"[a-z()\[\]{}\\^$|?*+.<>=!:#,&~0-9é-]{0,20}") {
        if let Ok(template) = Template::parse(&text) {
            let compiled = template.compile(&mut |reference: Reference<'_>| Some(match reference {
                Reference::Variable(name) => format!("${{{name}}}"),
                Reference::Capture(number) => format!("${number}"),
            })).unwrap();
            let mut out = Vec::new();
            compiled.expand(&mut out, |value, out| out.extend_from_slice(value.as_bytes()));
            // braces may have been added, nothing else
            let plain = |text: &str| text.replace(['{', '}'], "");
            prop_assert_eq!(plain(std::str::from_utf8(&out).unwrap()), plain(&text));
        }
        let _ = Pattern::new(&pattern, Case::Sensitive);
        let _ = Pattern::new(&text, Case::Insensitive);
    }
}

fn strip_quotes(block: &mut Block) {
    for statement in &mut block.statements {
        statement.name.quote = None;
        statement.args.iter_mut().for_each(|word| word.quote = None);
        statement.block.iter_mut().for_each(strip_quotes);
    }
}

/// Prints the statements, moving some of them into files of their own.
fn split(
    tree: &[Tree1],
    cuts: &mut impl Iterator<Item = bool>,
    files: &mut Vec<(String, String)>,
) -> String {
    let mut out = String::new();
    for statement in tree {
        let mut text = String::new();
        match &statement.block {
            None => print(std::slice::from_ref(statement), &mut quoted, &mut text),
            Some(block) => {
                let head = Tree1 {
                    block: Some(Vec::new()),
                    ..statement.clone()
                };
                print(&[head], &mut quoted, &mut text);
                text.truncate(text.len() - 1);
                text.push_str(&split(block, cuts, files));
                text.push('}');
            }
        }
        if cuts.next().unwrap_or(false) && files.len() < 20 {
            let name = format!("/part{}", files.len());
            files.push((name.clone(), text));
            out.push_str(&format!("include {name};\n"));
        } else {
            out.push_str(&text);
        }
    }
    out
}
