//! TLS of our own: the certificate, loaded anew when its files change, and the handshake.

use std::convert::Infallible;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, crypto};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How often to look whether the files have changed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long a caller may take for the handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// The first byte of each TLS connection: a record of the handshake.
const HANDSHAKE_RECORD: u8 = 22;

/// What callers without TLS are told.
const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\
    Content-Length: 54\r\n\r\nthis port speaks HTTPS: write https:// in the address\n";

/// A certificate from files. Clones are the same.
#[derive(Clone)]
pub struct Tls {
    files: Arc<RwLock<Files>>,
    current: Arc<Current>,
    acceptor: TlsAcceptor,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("certificate", &self.files().certificate).finish_non_exhaustive()
    }
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read, or has not what it should have.
    #[error("cannot load {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: rustls::pki_types::pem::Error,
    },
    /// The certificate or the key cannot be used.
    #[error("the certificate {} and the key {} cannot be used: {source}", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
}

impl Tls {
    /// Loads a certificate with those above it, and its key; both PEM.
    ///
    /// # Errors
    /// When a file cannot be read, or the two do not belong together.
    pub fn load(certificate: PathBuf, key: PathBuf) -> Result<Self, TlsError> {
        let files = Files { certificate, key };
        let current = Arc::new(Current(RwLock::new(Arc::new(files.load()?))));
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = versions.expect("the provider has what the default versions of TLS need");
        let mut config = builder.with_no_client_auth().with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { files: Arc::new(RwLock::new(files)), current, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    /// Loads the files anew, or others; new connections get what stands there.
    ///
    /// # Errors
    /// As of [`load`](Self::load); what was there before stays then, also the files that are looked at.
    pub fn reload(&self, certificate: PathBuf, key: PathBuf) -> Result<(), TlsError> {
        let files = Files { certificate, key };
        let fresh = files.load()?;
        *self.files.write().unwrap_or_else(PoisonError::into_inner) = files;
        self.current.set(fresh);
        Ok(())
    }

    fn files(&self) -> Files {
        self.files.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Loads the files anew whenever they change. A pair that cannot be used is said in the log, and the one before it
    /// stays. Never returns.
    pub(crate) async fn keep_fresh(&self) -> Infallible {
        let mut seen = self.files().stamp().await;
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            let files = self.files();
            let stamp = files.stamp().await;
            if stamp == seen {
                continue;
            }
            seen = stamp;
            let certificate = files.certificate.clone();
            match tokio::task::spawn_blocking(move || files.load()).await {
                Ok(Ok(fresh)) => {
                    self.current.set(fresh);
                    tracing::info!(certificate = %certificate.display(), "the certificate was loaded anew");
                }
                Ok(Err(error)) => tracing::error!(%error, "the new certificate is not used; the old one stays"),
                Err(error) => tracing::error!(%error, "the certificate could not be loaded"),
            }
        }
    }

    /// Shakes hands. Who speaks plain HTTP is told so.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let accepted = tokio::time::timeout(HANDSHAKE_MAX, async {
            let mut first = [0];
            if stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE_RECORD {
                return Err(refuse_plain(stream, first[0]).await);
            }
            self.acceptor.accept(stream).await
        });
        accepted.await.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no handshake in time")))
    }
}

/// Every method of HTTP begins with a capital letter; to anything else nothing is said.
async fn refuse_plain(mut stream: TcpStream, first: u8) -> io::Error {
    if first.is_ascii_uppercase() {
        // What is unread when a connection is closed takes the answer with it.
        let mut unread = [0; 4096];
        let told = async {
            let _ = stream.read(&mut unread).await?;
            stream.write_all(SPEAK_TLS).await?;
            stream.shutdown().await
        };
        if let Err(error) = told.await {
            return error;
        }
    }
    io::Error::new(io::ErrorKind::InvalidData, "the caller does not speak TLS")
}

/// Where a certificate and its key are.
#[derive(Clone)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// What of a file changes when it is written or replaced: when, which, how long.
type Stamp = Option<(i64, i64, u64, u64)>;

impl Files {
    fn load(&self) -> Result<CertifiedKey, TlsError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| TlsError::File { path, source }
        };
        let certificates = CertificateDer::pem_file_iter(&self.certificate).and_then(Iterator::collect);
        let certificates: Vec<_> = certificates.map_err(failed(&self.certificate))?;
        if certificates.is_empty() {
            return Err(failed(&self.certificate)(rustls::pki_types::pem::Error::NoItemsFound));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(failed(&self.key))?;
        // Also compares the key with the certificate.
        CertifiedKey::from_der(certificates, key, &crypto::aws_lc_rs::default_provider())
            .map_err(|source| TlsError::Pair { certificate: self.certificate.clone(), key: self.key.clone(), source })
    }

    async fn stamp(&self) -> [Stamp; 2] {
        let of = async |path: &Path| {
            let metadata = tokio::fs::metadata(path).await.ok()?;
            Some((metadata.mtime(), metadata.mtime_nsec(), metadata.ino(), metadata.size()))
        };
        [of(&self.certificate).await, of(&self.key).await]
    }
}

/// The pair that new connections get.
struct Current(RwLock<Arc<CertifiedKey>>);

impl Current {
    fn set(&self, fresh: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
    }
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Current")
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}
