//! The TLS settings that all connectors share: which roots are trusted, and the one provider.
//!
//! No connector builds a `ClientConfig` of its own, so none can switch the check of certificates off by itself: it can
//! only hand on that its caller did.

use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme, WantsVerifier,
};
use surefoot_connector_api::{CallError, ErrorClass};

use crate::schema::Secret;

/// TLS 1.2 and 1.3 with the roots of this machine, or, where `server_ca` gives certificates as PEM text, with those
/// and no others.
///
/// A text without a usable certificate is [`ErrorClass::InvalidInput`]; a machine without any root
/// certificate is [`ErrorClass::Untrusted`].
pub(crate) fn client_config(server_ca: Option<&str>) -> Result<ClientConfig, CallError> {
    client_config_as(server_ca, None)
}

/// What a client shows to servers that ask who it is, as PEM text.
pub(crate) struct Identity<'a> {
    /// Its certificate, followed by intermediate ones.
    pub(crate) certificate: &'a str,
    /// The private key of that certificate.
    pub(crate) key: &'a Secret,
}

/// Like [`client_config`], with a certificate for the client. One that cannot be used is
/// [`ErrorClass::InvalidInput`] and names the inputs `client_cert` and `client_key`.
pub(crate) fn client_config_as(
    server_ca: Option<&str>,
    identity: Option<Identity<'_>>,
) -> Result<ClientConfig, CallError> {
    let roots = match server_ca {
        Some(pem) => roots_from_pem(pem)?,
        None => roots_of_machine()?,
    };
    let builder = builder(provider())?.with_root_certificates(roots);
    let Some(Identity { certificate, key }) = identity else { return Ok(builder.with_no_client_auth()) };
    let invalid = |why: &str| CallError::not_sent(ErrorClass::InvalidInput, format!("input {why}"));
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or_else(|| invalid("`client_cert` holds no certificate as PEM text"))?;
    // The library's own errors are left out: they are about the insides of a secret.
    let key = PrivateKeyDer::from_pem_slice(key.reveal().as_bytes());
    let key = key.map_err(|_| invalid("`client_key` holds no private key as PEM text without a passphrase"))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|_| invalid("`client_key` cannot be used with the certificate in `client_cert`"))
}

/// TLS 1.2 and 1.3 with a server that may be anybody. Only for callers who wrote `trust_server_certificate`.
pub(crate) fn unchecked_client_config() -> Result<ClientConfig, CallError> {
    let anybody = Arc::new(Anybody(provider()));
    Ok(builder(provider())?.dangerous().with_custom_certificate_verifier(anybody).with_no_client_auth())
}

/// What a failed handshake means; none where it was not TLS that failed.
pub(crate) fn failure(error: &io::Error) -> Option<CallError> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match error {
        rustls::Error::InvalidCertificate(reason) => CallError::not_sent(
            ErrorClass::Untrusted,
            format!("the server's certificate is not trusted: {reason}; give its CA in `server_ca`"),
        ),
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied,
        ) => CallError::not_sent(ErrorClass::Auth, format!("the server does not accept the client: {error}")),
        other => CallError::not_sent(ErrorClass::Protocol, format!("TLS failed: {other}")),
    })
}

/// Named here, so that nothing depends on a default of the process.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn builder(provider: Arc<CryptoProvider>) -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, CallError> {
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| CallError::not_sent(ErrorClass::Protocol, format!("cannot set up TLS: {error}")))
}

/// Takes any certificate, and still has the server prove that it has the key for it.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn roots_from_pem(pem: &str) -> Result<RootCertStore, CallError> {
    let invalid = |why: String| CallError::not_sent(ErrorClass::InvalidInput, format!("input `server_ca`: {why}"));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| invalid(format!("not valid PEM: {error}")))?;
        roots.add(certificate).map_err(|error| invalid(format!("a certificate cannot be used: {error}")))?;
    }
    if roots.is_empty() {
        return Err(invalid("holds no certificate; give PEM text that begins with -----BEGIN CERTIFICATE-----".into()));
    }
    Ok(roots)
}

fn roots_of_machine() -> Result<RootCertStore, CallError> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "a root certificate of this machine cannot be read");
    }
    let mut roots = RootCertStore::empty();
    // Machines carry the odd certificate that rustls does not take; the others still count.
    let (added, ignored) = roots.add_parsable_certificates(found.certs);
    tracing::debug!(added, ignored, "root certificates of this machine");
    if roots.is_empty() {
        return Err(CallError::not_sent(
            ErrorClass::Untrusted,
            "this machine has no root certificates; install ca-certificates, or give the server's own in `server_ca`",
        ));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unusable_ca_is_refused_with_the_name_of_the_input() {
        for text in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let error = client_config(Some(text)).expect_err(text);
            assert_eq!(error.class, ErrorClass::InvalidInput);
            assert!(error.message.contains("server_ca"), "{error}");
        }
    }
}
