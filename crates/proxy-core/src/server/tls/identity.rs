//! Certificates, keys and client authorities: from files to what rustls works with, with words for what is wrong.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring::cipher_suite;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ProtocolVersion, RootCertStore, ServerConfig, SupportedCipherSuite};

use super::Tls;

/// Who a server is, and whom it lets in: names of PEM files.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// The certificate, then those between it and the authority.
    pub certificate: &'a Path,
    /// Its private key (PKCS#8, PKCS#1 or SEC1). May be the same file.
    pub key: &'a Path,
    /// The authorities that sign certificates of clients.
    pub client_authorities: Option<&'a Path>,
    /// Whether clients need a certificate.
    pub client_auth: ClientAuth,
    /// Protocols for ALPN, the best first. Without any, the client's wishes are passed over and nothing is agreed on.
    pub protocols: &'a [&'a [u8]],
    /// Cipher suites of TLS 1.2, the best first, by OpenSSL's names: the server's order counts then. Without any that is known, all of
    /// them, in the client's order. TLS 1.3 has its own.
    pub suites: &'a [&'a str],
}

/// The suites of TLS 1.2, with OpenSSL's names.
const SUITES: &[(&str, SupportedCipherSuite)] = &[
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
];

/// Whether clients need a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked for one.
    #[default]
    None,
    /// They may have none; one that they show must be good.
    Optional,
    /// They must have a good one.
    Required,
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// [`Identity::certificate`].
    Certificate,
    /// [`Identity::key`].
    Key,
    /// [`Identity::client_authorities`].
    ClientAuthorities,
}

/// Which file is wrong, and how.
#[derive(Debug)]
pub struct IdentityFault {
    /// Which one.
    pub file: File,
    /// Its name; empty where one is missing.
    pub path: PathBuf,
    words: String,
}

impl fmt::Display for IdentityFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.as_os_str().is_empty() {
            return f.write_str(&self.words);
        }
        write!(f, "\"{}\": {}", self.path.display(), self.words)
    }
}

impl std::error::Error for IdentityFault {}

impl Identity<'_> {
    /// Reads the files and checks that they fit together.
    ///
    /// # Errors
    /// The first fault, with its file.
    pub fn read(&self) -> Result<Tls, IdentityFault> {
        let mut provider = rustls::crypto::ring::default_provider();
        let chosen = self.chosen();
        let in_order = !chosen.is_empty();
        if in_order {
            (provider.cipher_suites)
                .retain(|suite| suite.version().version != ProtocolVersion::TLSv1_2);
            provider.cipher_suites.extend(chosen);
        }
        let provider = Arc::new(provider);
        let certificates = certificates(File::Certificate, self.certificate)?;
        let key = key(self.key)?;
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| fault(File::Certificate, self.certificate, error.to_string()))?;
        let builder = match self.verifier(provider)? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(certificates, key)
            .map_err(|error| self.misfit(&error))?;
        config.ignore_client_order = in_order;
        config.alpn_protocols = (self.protocols.iter())
            .map(|protocol| protocol.to_vec())
            .collect();
        // Without tickets each process knows its own clients only. Those who are forked after this share the keys.
        if let Ok(ticketer) = rustls::crypto::ring::Ticketer::new() {
            config.ticketer = ticketer;
        }
        Ok(Tls::new(Arc::new(config)))
    }

    /// The suites of TLS 1.2 that are named and known.
    fn chosen(&self) -> Vec<SupportedCipherSuite> {
        let known = |name: &&str| SUITES.iter().find(|(known, _)| known == name);
        (self.suites.iter().filter_map(known))
            .map(|(_, suite)| *suite)
            .collect()
    }

    fn verifier(
        &self,
        provider: Arc<rustls::crypto::CryptoProvider>,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, IdentityFault> {
        if self.client_auth == ClientAuth::None {
            return Ok(None);
        }
        let file = File::ClientAuthorities;
        let Some(path) = self.client_authorities else {
            let words =
                "client certificates are asked for, but no authority is named that signs them";
            return Err(fault(file, Path::new(""), words.to_owned()));
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(file, path)? {
            roots.add(certificate).map_err(|error| {
                fault(
                    file,
                    path,
                    format!("a certificate in it is no authority's: {error}"),
                )
            })?;
        }
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        if self.client_auth == ClientAuth::Optional {
            builder = builder.allow_unauthenticated();
        }
        let verifier = builder
            .build()
            .map_err(|error| fault(file, path, error.to_string()))?;
        Ok(Some(verifier))
    }

    /// What is wrong with a certificate and a key that are well formed.
    fn misfit(&self, error: &rustls::Error) -> IdentityFault {
        match error {
            rustls::Error::InconsistentKeys(_) => fault(
                File::Key,
                self.key,
                format!(
                    "the private key does not belong to the certificate in \"{}\"; name the two files that were made together",
                    self.certificate.display()
                ),
            ),
            rustls::Error::InvalidCertificate(reason) => fault(
                File::Certificate,
                self.certificate,
                format!("the certificate cannot be used: {reason}"),
            ),
            other => fault(
                File::Key,
                self.key,
                format!(
                    "the private key cannot be used: {other}; RSA from 2048 bits, ECDSA P-256 and P-384, and Ed25519 can"
                ),
            ),
        }
    }
}

fn certificates(file: File, path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityFault> {
    let text = contents(file, path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let certificates = certificates
        .map_err(|error| fault(file, path, format!("the PEM in it is broken: {error}")))?;
    if certificates.is_empty() {
        let hint = match is_binary(&text) {
            true => {
                "; it may be in DER form: openssl x509 -inform der -in FILE -out NEW makes PEM of it"
            }
            false => "",
        };
        let words =
            format!("there is no certificate in it (\"-----BEGIN CERTIFICATE-----\"){hint}");
        return Err(fault(file, path, words));
    }
    Ok(certificates)
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, IdentityFault> {
    let text = contents(File::Key, path)?;
    let says = |words: &str| memchr::memmem::find(&text, words.as_bytes()).is_some();
    if says("BEGIN ENCRYPTED PRIVATE KEY") || says("Proc-Type: 4,ENCRYPTED") {
        let words = "the private key is encrypted, and nobody is there to type its pass phrase; take it off with \
                     openssl pkey -in FILE -out NEW, and keep the new file to its owner";
        return Err(fault(File::Key, path, words.to_owned()));
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        let words = match error {
            rustls::pki_types::pem::Error::NoItemsFound => {
                "there is no private key in it (\"-----BEGIN PRIVATE KEY-----\")".to_owned()
            }
            other => format!("the PEM in it is broken: {other}"),
        };
        fault(File::Key, path, words)
    })
}

fn contents(file: File, path: &Path) -> Result<Vec<u8>, IdentityFault> {
    std::fs::read(path).map_err(|error| fault(file, path, format!("it cannot be read: {error}")))
}

fn is_binary(text: &[u8]) -> bool {
    text.first() == Some(&0x30)
}

fn fault(file: File, path: &Path, words: String) -> IdentityFault {
    IdentityFault {
        file,
        path: path.to_owned(),
        words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with a certificate and its key, and those of somebody else.
    struct World {
        folder: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            for name in ["own", "other"] {
                let made = rcgen::generate_simple_self_signed([format!("{name}.test")])
                    .expect("a certificate");
                std::fs::write(folder.path().join(format!("{name}.pem")), made.cert.pem())
                    .expect("written");
                let key = made.signing_key.serialize_pem();
                std::fs::write(folder.path().join(format!("{name}.key")), key).expect("written");
            }
            Self { folder }
        }

        fn put(&self, name: &str, text: &str) {
            std::fs::write(self.folder.path().join(name), text).expect("written");
        }

        fn read(
            &self,
            certificate: &str,
            key: &str,
            authorities: Option<&str>,
            auth: ClientAuth,
        ) -> Result<Tls, IdentityFault> {
            let folder = self.folder.path();
            let authorities = authorities.map(|name| folder.join(name));
            Identity {
                certificate: &folder.join(certificate),
                key: &folder.join(key),
                client_authorities: authorities.as_deref(),
                client_auth: auth,
                protocols: &[b"http/1.1"],
                suites: &[],
            }
            .read()
        }

        fn fault(&self, certificate: &str, key: &str) -> (File, String) {
            let fault = self
                .read(certificate, key, None, ClientAuth::None)
                .expect_err("a fault");
            (fault.file, fault.to_string())
        }
    }

    #[test]
    fn a_pair_is_taken_from_two_files_or_from_one() {
        let world = World::new();
        assert!(
            world
                .read("own.pem", "own.key", None, ClientAuth::None)
                .is_ok()
        );
        let both = ["own.pem", "own.key"]
            .map(|name| std::fs::read_to_string(world.folder.path().join(name)).expect("readable"));
        world.put("both.pem", &both.concat());
        assert!(
            world
                .read("both.pem", "both.pem", None, ClientAuth::None)
                .is_ok()
        );
        for auth in [ClientAuth::Optional, ClientAuth::Required] {
            assert!(
                world
                    .read("own.pem", "own.key", Some("other.pem"), auth)
                    .is_ok()
            );
        }
    }

    #[test]
    fn each_fault_names_its_file_and_what_to_do() {
        let world = World::new();
        world.put("empty.pem", "nothing\n");
        world.put(
            "secret.key",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        );
        world.put(
            "broken.pem",
            "-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n",
        );
        world.put("der.pem", "0\u{1}");
        world.put(
            "nonsense.pem",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        );
        for (certificate, key, file, words) in [
            ("none.pem", "own.key", File::Certificate, "cannot be read"),
            ("own.pem", "none.key", File::Key, "cannot be read"),
            (
                "empty.pem",
                "own.key",
                File::Certificate,
                "no certificate in it",
            ),
            ("der.pem", "own.key", File::Certificate, "DER"),
            (
                "broken.pem",
                "own.key",
                File::Certificate,
                "PEM in it is broken",
            ),
            (
                "nonsense.pem",
                "own.key",
                File::Certificate,
                "cannot be used",
            ),
            ("own.pem", "own.pem", File::Key, "no private key in it"),
            ("own.pem", "secret.key", File::Key, "openssl pkey"),
            ("own.pem", "other.key", File::Key, "does not belong"),
        ] {
            let (at, told) = world.fault(certificate, key);
            assert_eq!(at, file, "{told}");
            assert!(told.contains(words), "{told}");
        }
    }

    #[test]
    fn client_certificates_need_an_authority() {
        let world = World::new();
        let fault = world
            .read("own.pem", "own.key", None, ClientAuth::Required)
            .expect_err("a fault");
        assert_eq!(fault.file, File::ClientAuthorities);
        world.put("none.pem", "");
        let fault = world.read("own.pem", "own.key", Some("none.pem"), ClientAuth::Optional);
        assert!(fault.expect_err("a fault").to_string().contains("none.pem"));
    }
}
