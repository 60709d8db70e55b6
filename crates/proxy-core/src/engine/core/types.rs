//! `types` and `default_type`: content types by extension.

use std::sync::Arc;

use http::HeaderValue;
use nginx_conf::Args;
use static_files::Types;

use super::Heads;

/// The lines of a `types` block.
#[derive(Debug, Default)]
pub(super) struct TypeLines(Vec<(HeaderValue, Vec<String>)>);

impl TypeLines {
    pub(super) fn read(args: &mut Args<'_>) -> Self {
        let mut lines = Vec::new();
        args.lines(|line| {
            let content_type = line
                .key()
                .parse_with("a content type such as text/css", |text| {
                    HeaderValue::from_str(text).ok()
                })?
                .value;
            let extensions = line.rest();
            if extensions.is_empty() {
                return Err(line.wrong_count());
            }
            lines.push((
                content_type,
                extensions
                    .iter()
                    .map(|word| word.text().to_owned())
                    .collect(),
            ));
            Ok(())
        });
        Self(lines)
    }
}

/// The types that hold in a block. They are shared with the outer block where nothing changes.
pub(super) fn settle(
    lines: &Option<Arc<TypeLines>>,
    default_type: &str,
    outer: Option<(&Heads, &Arc<Types>)>,
) -> Arc<Types> {
    if let Some((heads, types)) = outer {
        let same_lines = match (lines, &heads.type_lines) {
            (Some(mine), Some(theirs)) => Arc::ptr_eq(mine, theirs),
            (None, None) => true,
            _ => false,
        };
        if same_lines && heads.default_type == default_type {
            return Arc::clone(types);
        }
    }
    let mut types = Types::new(default_type);
    match lines {
        Some(lines) => {
            for (content_type, extensions) in &lines.0 {
                for extension in extensions {
                    types.insert(extension.as_bytes(), content_type.clone());
                }
            }
        }
        None => {
            for (extension, content_type) in [
                ("html", "text/html"),
                ("gif", "image/gif"),
                ("jpg", "image/jpeg"),
            ] {
                types.insert(extension.as_bytes(), HeaderValue::from_static(content_type));
            }
        }
    }
    Arc::new(types)
}
