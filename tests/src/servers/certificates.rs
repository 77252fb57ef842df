//! A certificate authority for one test, and a server certificate from it.

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};

/// An own authority and what it has issued, as PEM text. Made anew for each test.
#[derive(Clone)]
pub struct TestCertificates {
    /// The authority's certificate: what a client has to trust.
    pub ca: String,
    /// The server's certificate, valid for `localhost` and 127.0.0.1.
    pub certificate: String,
    /// The server's private key (PKCS #8).
    pub key: String,
}

impl TestCertificates {
    /// A new authority with one server certificate.
    pub fn generate() -> Result<Self> {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        authority.distinguished_name.push(DnType::CommonName, "Surefoot test authority");
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;

        let mut server = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        server.is_ca = IsCa::ExplicitNoCa;
        server.distinguished_name.push(DnType::CommonName, "localhost");
        let key = KeyPair::generate()?;
        let certificate = server.signed_by(&key, &authority)?;
        Ok(Self { ca: authority.pem(), certificate: certificate.pem(), key: key.serialize_pem() })
    }
}
