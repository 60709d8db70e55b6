//! What must hold for any text. Each function takes arbitrary input and panics when a promise is broken.
//!
//! The fuzz target `config` calls [`configuration`] with input that libFuzzer grows, the tests below with input that
//! proptest makes. This module is compiled for those two only.

use crate::{
    Arity, Block, BlockKind, Case, Condition, Directive, Faults, Parser, Pattern, Reference,
    Registry, Repeat, Scope, Scopes, SourceSet, Span, Style, Template, Tree,
};

/// A configuration of several files, parted by NUL bytes: `/c`, `/1`, `/2`, …
///
/// Nothing panics, every place is true, text that was read without fault is printed and read again as the same, the set of
/// sources gives the same tree, and every reader copes with every word.
pub fn configuration(data: &[u8]) {
    let files = data.split(|&byte| byte == 0).enumerate();
    let set = SourceSet::of(files.map(|(at, text)| {
        let name = if at == 0 {
            "/c".to_owned()
        } else {
            format!("/{at}")
        };
        (name, text)
    }));
    let (tree, mut faults) = Parser::new(&set).parse("/c");
    spans(&tree, &faults);
    if faults.is_empty() {
        read_again(&tree);
    }
    registry().walk(&tree.root, MAIN, &(), &mut faults);
    spans(&tree, &faults);
    for style in [
        Style::Line,
        Style::Terminal { colour: false },
        Style::Terminal { colour: true },
    ] {
        let text = faults.render("p", &tree.sources, style);
        let shown = text.lines().filter(|line| line.starts_with("p: ")).count();
        assert!(shown >= faults.len(), "{text}");
    }
}

fn read_again(tree: &Tree) {
    let printed = tree.root.to_string();
    let (again, faults) = Parser::new(&SourceSet::of([("/c", printed.as_str())])).parse("/c");
    assert!(faults.is_empty(), "{printed}");
    assert!(again.root.same_meaning(&tree.root), "{printed}");
    let (shipped, faults) = tree.sources.set().parse();
    assert!(faults.is_empty());
    assert!(shipped.root.same_meaning(&tree.root));
}

/// Every span lies in its file, its line and column are true, and a plain word stands where its span says.
fn spans(tree: &Tree, faults: &Faults) {
    let mut found = Vec::new();
    places(&tree.root, &mut found);
    for fault in faults {
        found.extend(fault.span().map(|span| (span, None)));
        found.extend(fault.notes().iter().map(|(span, _)| (*span, None)));
    }
    for (span, word) in found {
        place_is_true(tree, span, word.as_deref());
    }
}

fn places(block: &Block, found: &mut Vec<(Span, Option<String>)>) {
    let braces = block.open.into_iter().chain(block.close);
    found.extend(braces.map(|span| (span, None)));
    for statement in &block.statements {
        for word in [&statement.name].into_iter().chain(&statement.args) {
            let plain = !word.escaped && word.quote.is_none();
            found.push((word.span, plain.then(|| word.text.clone())));
        }
        statement
            .block
            .iter()
            .for_each(|block| places(block, found));
    }
}

fn place_is_true(tree: &Tree, span: Span, word: Option<&str>) {
    let text = tree.sources.text(span.file);
    let (start, end) = (span.start as usize, (span.start + span.len) as usize);
    // the place just behind the last byte can be pointed at
    assert!(start <= text.len() && end <= text.len() + 1, "{span:?}");
    let before = &text[..start];
    let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
    assert_eq!(span.line as usize, line, "{span:?}");
    let Some(word) = word else { return };
    assert_eq!(tree.sources.slice(span), word.as_bytes());
    let line = before
        .rsplit(|&byte| byte == b'\n')
        .next()
        .unwrap_or_default();
    if let Ok(line) = std::str::from_utf8(line) {
        let mark = usize::from(line.starts_with('\u{FEFF}') && span.line == 1);
        assert_eq!(
            span.column as usize,
            line.chars().count() + 1 - mark,
            "{span:?} in {line:?}"
        );
    }
}

const MAIN: Scope = Scope::new("main");
const INNER: Scope = Scope::new("inner");
const ANY: Scopes = Scopes::of(&[MAIN, INNER]);

/// A directive for each reader, with names short enough to be found by chance.
const TABLE: &[Directive<()>] = &[
    Directive {
        name: "b",
        block: BlockKind::Opens(INNER),
        args: Arity::ANY,
        ..words(|args, _| {
            args.rest();
            Ok(())
        })
    },
    Directive {
        name: "if",
        block: BlockKind::Opens(INNER),
        args: Arity::ANY,
        ..words(|args, _| Condition::read(args).map(drop))
    },
    Directive {
        name: "m",
        block: BlockKind::FreeForm,
        ..words(|args, _| {
            args.lines(|line| {
                line.key().template()?;
                line.try_for_each(|arg| arg.template().map(drop))
            });
            Ok(())
        })
    },
    Directive {
        name: "s",
        repeat: Repeat::Once,
        scopes: Scopes::of(&[INNER]),
        ..words(|args, _| args.string().map(drop))
    },
    Directive {
        name: "f",
        ..words(|args, _| args.flag().map(drop))
    },
    Directive {
        name: "n",
        ..words(|args, _| args.number(1..=100u16).map(drop))
    },
    Directive {
        name: "k",
        ..words(|args, _| args.size().and(args.offset()).map(drop))
    },
    Directive {
        name: "d",
        ..words(|args, _| args.duration().and(args.seconds()).map(drop))
    },
    Directive {
        name: "o",
        ..words(|args, _| args.one_of(&[("one", 1), ("two", 2)]).map(drop))
    },
    Directive {
        name: "l",
        ..words(|args, _| args.listen_address().map(drop))
    },
    Directive {
        name: "p",
        ..words(|args, _| args.peer_address().map(drop))
    },
    Directive {
        name: "t",
        ..words(|args, _| {
            let template = args.template()?;
            round_trip(&template);
            Ok(())
        })
    },
    Directive {
        name: "r",
        ..words(|args, _| {
            let word = args.one()?;
            let case = if args.next().is_some() {
                Case::Insensitive
            } else {
                Case::Sensitive
            };
            let pattern = word.pattern(case)?;
            matches_within(&pattern, word.text());
            Ok(())
        })
    },
    Directive {
        name: "w",
        ..words(|args, _| {
            args.by_ref().for_each(parts);
            Ok(())
        })
    },
];

const fn words(
    read: fn(&mut crate::Args<'_>, &mut ()) -> Result<(), crate::Fault>,
) -> Directive<()> {
    Directive {
        scopes: ANY,
        args: Arity::at_least(1),
        repeat: Repeat::Many,
        read,
        ..Directive::DEFAULT
    }
}

fn registry() -> Registry {
    let mut registry = Registry::new();
    registry.add("all", TABLE).expect("no name stands twice");
    registry
}

/// A template whose variables stand for themselves gives its source, but for braces that were not needed.
fn round_trip(template: &Template) {
    let itself = |reference: Reference<'_>| match reference {
        Reference::Variable(name) => format!("${name}"),
        Reference::Capture(number) => format!("${number}"),
    };
    let compiled = template.compile(&mut |reference: Reference<'_>| Some(itself(reference)));
    let mut out = Vec::new();
    compiled
        .expect("every variable is known")
        .expand(&mut out, |value, out| {
            out.extend_from_slice(value.as_bytes());
        });
    let plain = |text: &str| text.replace(['{', '}'], "");
    assert_eq!(
        plain(&String::from_utf8_lossy(&out)),
        plain(template.source())
    );
}

/// Groups lie in the subject; both ways of matching agree.
fn matches_within(pattern: &Pattern, subject: &str) {
    let subject = &subject.as_bytes()[..subject.len().min(64)];
    let Ok(found) = pattern.captures(subject) else {
        return;
    };
    if let Ok(matched) = pattern.is_match(subject) {
        assert_eq!(matched, found.is_some(), "{pattern:?}");
    }
    let Some(found) = found else { return };
    for group in (0..found.len()).filter_map(|index| found.get(index)) {
        assert!(
            group.start <= group.end && group.end <= subject.len(),
            "{pattern:?}"
        );
    }
}

/// The parts of an argument stand where they say.
fn parts(arg: crate::Arg<'_>) {
    let Some((left, right)) = arg.split_once('=') else {
        return;
    };
    assert_eq!(format!("{}={}", left.text(), right.text()), arg.text());
    let (outer, inner) = (arg.span(), right.span());
    assert!(inner.start >= outer.start && inner.start + inner.len <= outer.start + outer.len);
    if let Some(keyed) = arg.keyed(left.text()) {
        assert_eq!(keyed.text(), right.text());
    }
}

/// A word printed and read again is the same word.
#[cfg(test)]
fn word_reads_again(text: &str) {
    let span = Span {
        file: crate::FileId(0),
        start: 0,
        len: 0,
        line: 1,
        column: 1,
    };
    let word = crate::Word {
        text: text.to_owned(),
        quote: None,
        span,
        escaped: false,
    };
    let (tree, faults) = Parser::new(&SourceSet::of([("/c", format!("{word};"))])).parse("/c");
    assert!(faults.is_empty(), "{word}");
    assert_eq!(tree.root.statements[0].name.text, text);
}

#[cfg(test)]
mod tests;
