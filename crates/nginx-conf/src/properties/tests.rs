//! The properties with trees and texts that proptest makes.

use proptest::prelude::*;

use super::{configuration, spans, word_reads_again};
use crate::*;

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

/// Inputs that the fuzzer broke a promise with.
#[test]
fn finds_of_the_fuzzer_hold_the_promises() {
    configuration(b"a \"x\"\x81");
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
        spans(&first, &faults);
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
    fn any_bytes_hold_the_promises(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        configuration(&bytes);
    }

    #[test]
    fn any_signs_hold_the_promises(text in r#"([a-z$(){}\[\];"'\\#~=* \n\té]|if|m \{|include|b \{|\}|;){0,60}"#) {
        configuration(text.as_bytes());
    }

    #[test]
    fn any_argument_of_any_directive_holds_the_promises(lines in prop::collection::vec(("if|[a-z]", prop::collection::vec(word(), 0..4)), 0..6)) {
        let mut text = String::new();
        for (name, args) in lines {
            let block = matches!(name.as_str(), "if" | "b" | "m").then(Vec::new);
            print(&[statement(name, args, block)], &mut quoted, &mut text);
        }
        configuration(text.as_bytes());
    }

    #[test]
    fn any_number_address_or_pattern_holds_the_promises(name in "[nkdlpr]", word in r"[0-9a-z:.\-\[\]*+?(){}|^$,kmgswyMhd/]{0,16}") {
        configuration(format!("{name} {};", quoted(&word)).as_bytes());
    }

    #[test]
    fn any_word_is_read_again(text in any::<String>().prop_map(|text| text.replace('\0', "")), signs in r#"[ab"'\\${}; #\t()=é]{0,8}"#) {
        for word in [text, signs] {
            if word != "include" {
                word_reads_again(&word);
            }
        }
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
        spans(&parts, &faults);
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
