//! A certificate authority for one test, and what it has issued: for a server, and for a client.

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

/// An own authority and what it has issued, as PEM text. Made anew for each test.
#[derive(Clone)]
pub struct TestCertificates {
    /// The authority's certificate: what a client has to trust.
    pub ca: String,
    /// The server's certificate, valid for `localhost` and 127.0.0.1.
    pub certificate: String,
    /// The server's private key (PKCS #8).
    pub key: String,
    /// A certificate for a client, `CN=test client`.
    pub client_certificate: String,
    /// The client's private key (PKCS #8).
    pub client_key: String,
}

impl TestCertificates {
    /// A new authority with one certificate for a server and one for a client.
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

        let mut client = CertificateParams::default();
        client.is_ca = IsCa::ExplicitNoCa;
        client.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        client.distinguished_name = DistinguishedName::new();
        client.distinguished_name.push(DnType::CommonName, "test client");
        let client_key = KeyPair::generate()?;
        let client_certificate = client.signed_by(&client_key, &authority)?;
        Ok(Self {
            ca: authority.pem(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            client_certificate: client_certificate.pem(),
            client_key: client_key.serialize_pem(),
        })
    }
}
