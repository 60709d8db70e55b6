//! `ciphers`: what OpenSSL's words for cipher suites mean for the suites of TLS 1.2 that are spoken.
//!
//! They are six. Words that mean others say nothing; those of TLS 1.3 are not subject to such a list, in OpenSSL neither.

/// A suite of TLS 1.2, by OpenSSL's name.
pub type Name = &'static str;

struct Suite {
    name: Name,
    standard: &'static str,
    /// The words that mean it, among others.
    words: &'static [&'static str],
    bits: u16,
}

/// What is said of all of them.
const ALL: &[&str] = &[
    "ALL", "DEFAULT", "HIGH", "TLSv1.2", "ECDHE", "EECDH", "kECDHE", "kEECDH", "ECDH",
];

/// In the order that OpenSSL has when nothing else is said.
const SUITES: &[Suite] = &[
    Suite {
        name: "ECDHE-ECDSA-AES256-GCM-SHA384",
        standard: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        words: &["aECDSA", "ECDSA", "AES", "AES256", "AESGCM", "FIPS"],
        bits: 256,
    },
    Suite {
        name: "ECDHE-RSA-AES256-GCM-SHA384",
        standard: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        words: &["aRSA", "AES", "AES256", "AESGCM", "FIPS"],
        bits: 256,
    },
    Suite {
        name: "ECDHE-ECDSA-CHACHA20-POLY1305",
        standard: "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        words: &["aECDSA", "ECDSA", "CHACHA20"],
        bits: 256,
    },
    Suite {
        name: "ECDHE-RSA-CHACHA20-POLY1305",
        standard: "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        words: &["aRSA", "CHACHA20"],
        bits: 256,
    },
    Suite {
        name: "ECDHE-ECDSA-AES128-GCM-SHA256",
        standard: "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        words: &["aECDSA", "ECDSA", "AES", "AES128", "AESGCM", "FIPS"],
        bits: 128,
    },
    Suite {
        name: "ECDHE-RSA-AES128-GCM-SHA256",
        standard: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        words: &["aRSA", "AES", "AES128", "AESGCM", "FIPS"],
        bits: 128,
    },
];

impl Suite {
    /// Whether `word`, or words joined by `+`, mean it.
    fn is(&self, words: &str) -> bool {
        words.split('+').all(|word| {
            word == self.name
                || word == self.standard
                || ALL.contains(&word)
                || self.words.contains(&word)
        })
    }
}

/// The suites that a list of OpenSSL's chooses, the best first; none where it means others only.
#[must_use]
pub fn chosen(list: &str) -> Vec<Name> {
    let mut left: Vec<&Suite> = SUITES.iter().collect();
    let mut chosen: Vec<&Suite> = Vec::new();
    let list = list.replace('@', ":@");
    let words = list.split([':', ',', ';', ' ']);
    for word in words.filter(|word| !word.is_empty()) {
        let (kind, what) = match word.split_at_checked(1) {
            Some((kind @ ("!" | "-" | "+" | "@"), what)) => (kind, what),
            _ => ("", word),
        };
        let (meant, others) = parted(&chosen, what);
        match kind {
            "" => {
                let (meant, others) = parted(&left, what);
                chosen.extend(meant);
                left = others;
            }
            "+" => chosen = [others, meant].concat(),
            "-" => {
                chosen = others;
                // What was taken out last is the first to come back.
                left.splice(0..0, meant);
            }
            "!" => {
                chosen = others;
                left.retain(|suite| !suite.is(what));
            }
            // Others set a level of security, which all of these have.
            _ if what == "STRENGTH" => chosen.sort_by_key(|suite| std::cmp::Reverse(suite.bits)),
            _ => {}
        }
    }
    chosen.iter().map(|suite| suite.name).collect()
}

fn parted<'a>(suites: &[&'a Suite], words: &str) -> (Vec<&'a Suite>, Vec<&'a Suite>) {
    suites.iter().copied().partition(|suite| suite.is(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The suites by short names, in order.
    fn short(list: &str) -> String {
        let short = chosen(list).into_iter().map(|name| {
            let who = if name.contains("ECDSA") { "e" } else { "r" };
            let how = ["AES256", "AES128", "CHACHA20"];
            let how = how.iter().find(|how| name.contains(**how)).expect("one");
            format!("{who}{}", &how[how.len() - 3..])
        });
        short.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn lists_mean_what_openssl_means_by_them() {
        let all = "e256 r256 eA20 rA20 e128 r128";
        for (list, meant) in [
            ("ALL", all),
            ("DEFAULT:!aNULL:!eNULL", all),
            ("HIGH:!aNULL:!MD5:@STRENGTH", all),
            ("DEFAULT@SECLEVEL=2", all),
            ("DEFAULT:@SECLEVEL=2", all),
            ("ECDHE-RSA-AES128-GCM-SHA256", "r128"),
            ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "r128"),
            (
                "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256,DHE-RSA-AES128-GCM-SHA256 ECDHE-RSA-AES256-GCM-SHA384",
                "r128 e128 r256",
            ),
            (
                "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:!aNULL:!MD5:!DSS",
                "e256 r256 e128 r128 eA20 rA20",
            ),
            ("EECDH+AESGCM:EDH+AESGCM", "e256 r256 e128 r128"),
            ("ALL:!AES256:!aECDSA", "rA20 r128"),
            ("ALL:+CHACHA20", "e256 r256 e128 r128 eA20 rA20"),
            ("AES128:AES256:@STRENGTH", "e256 r256 e128 r128"),
            ("ALL:-AES:ALL", "eA20 rA20 e256 r256 e128 r128"),
            ("!AES:ALL", "eA20 rA20"),
            ("TLSv1", ""),
            ("DHE-RSA-AES256-GCM-SHA384:AES256-SHA", ""),
            ("RSA:kRSA:3DES", ""),
            ("", ""),
        ] {
            assert_eq!(short(list), meant, "{list}");
        }
    }
}
