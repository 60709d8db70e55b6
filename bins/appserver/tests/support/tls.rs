//! Certificates that are made for a test, and clients that speak TLS.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{CipherSuite, ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::{PATIENCE, Server, Setup};

/// An authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // A name of its own: who has that of its issuer passes for self-signed.
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "the authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for this name.
    pub fn signs(&self, name: &str) -> Pair {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// What a client works with that speaks only these suites, the best first.
    pub fn client_of(&self, suites: &[CipherSuite]) -> ClientConfig {
        let mut provider = rustls::crypto::ring::default_provider();
        let known = provider.cipher_suites.clone();
        let suite = |name| known.iter().find(|known| known.suite() == name).copied();
        provider.cipher_suites = suites.iter().filter_map(|name| suite(*name)).collect();
        let versions = match provider.cipher_suites[0].tls13() {
            Some(_) => &[&rustls::version::TLS13],
            None => &[&rustls::version::TLS12],
        };
        ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots())
            .with_no_client_auth()
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.pem().as_bytes()).unwrap())
            .unwrap();
        roots
    }

    /// What a client that trusts this authority works with.
    pub fn client(&self, own: Option<&Pair>, protocols: &[&str]) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots());
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(pair) => builder
                .with_client_auth_cert(
                    vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()],
                    PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap(),
                )
                .unwrap(),
        };
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        config
    }
}

impl Setup {
    /// With this certificate.
    pub fn with_tls(self, pair: &Pair) -> Self {
        self.file("own.pem", &pair.certificate)
            .file("own.key", &pair.key)
            .args(&["--certfile", "own.pem", "--keyfile", "own.key"])
    }
}

/// A way to the server.
pub trait Way: Read + Write {}
impl<T: Read + Write> Way for T {}

/// A connection over TLS.
pub type Encrypted = StreamOwned<ClientConnection, Box<dyn Way>>;

/// The way to the server's unix socket.
pub fn unix(server: &Server) -> Box<dyn Way> {
    let stream = UnixStream::connect(server.prefix.join("app.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Box::new(stream)
}

/// The way to a TCP address.
pub fn tcp(address: std::net::SocketAddr) -> Box<dyn Way> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Box::new(stream)
}

/// Encrypts a way; the handshake is made with the first bytes.
pub fn encrypted(way: Box<dyn Way>, config: ClientConfig) -> Encrypted {
    let name = ServerName::try_from("shop.test").unwrap();
    let client = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(client, way)
}

/// One request on a connection that closes after it; everything that came, or why nothing did.
pub fn asks(way: Box<dyn Way>, config: ClientConfig, target: &str) -> Result<String, String> {
    let mut stream = encrypted(way, config);
    let request = format!("GET {target} HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .and_then(|()| {
            let mut all = Vec::new();
            stream.read_to_end(&mut all)?;
            Ok(String::from_utf8_lossy(&all).into_owned())
        })
        .map_err(|error| error.to_string())
}
