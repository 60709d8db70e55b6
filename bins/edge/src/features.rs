//! The list of features. One that is not here does not exist.
//!
//! Order is behaviour: inside a phase, handlers run in this order, and a block is settled in this order. Where the order
//! matters, the entry says why.

use proxy_core::engine::compile::Features;
use proxy_core::engine::process::Process;
use proxy_core::feature::AnyFeature;
use proxy_core::features::access_log::AccessLog;
use proxy_core::features::headers::Headers;
use proxy_core::features::index::Index;
use proxy_core::features::process_notes::ProcessNotes;
use proxy_core::features::proxy::Proxy;
use proxy_core::features::return_::Return;
use proxy_core::features::static_content::StaticContent;
use proxy_core::features::try_files::TryFiles;
use proxy_core::features::unsupported::Unsupported;
use proxy_core::features::upstream::Upstream;

/// Every feature of edge.
pub const LIST: &[&dyn AnyFeature] = &[
    &Process,
    &ProcessNotes,
    &Unsupported,
    // Before those that name an upstream: its block must be known when they are settled.
    &Upstream,
    &AccessLog,
    &Headers,
    &Return,
    &TryFiles,
    // What answers: an explicit origin server first, then the index of a directory, then files, which take whatever is left.
    &Proxy,
    &Index,
    &StaticContent,
];

/// The list, ready to read configurations.
pub fn all() -> Features {
    Features::new(LIST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_features_offer_the_same_directive_in_the_same_place() {
        assert!(all().directives().len() > 100);
    }

    #[test]
    fn every_directive_says_what_it_does() {
        let features = all();
        let silent: Vec<_> = features
            .directives()
            .iter()
            .filter(|entry| entry.doc.is_empty())
            .map(|entry| entry.name)
            .collect();
        assert_eq!(silent, Vec::<&str>::new());
    }
}
