//! The configuration language of nginx: tokens, tree with spans, include, scopes, inheritance, templates. Knows no directive by name.
#![forbid(unsafe_code)]
