//! Certificates that are read again when their files change, for serving and for dialling.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, SignatureScheme};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::ListenTls;

/// How often certificate files are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// A caller that does not finish its handshake in this time is let go.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes under way at once; beyond it, callers wait in the kernel's queue.
const HANDSHAKES: usize = 256;

/// A certificate that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("cannot read {path} as PEM; it must hold {expected}")]
    Pem {
        path: PathBuf,
        expected: &'static str,
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    #[error("{path} holds no certificate")]
    NoCertificate { path: PathBuf },
    #[error("the key {key} does not belong to the certificate {certificate}")]
    Pair {
        certificate: PathBuf,
        key: PathBuf,
        #[source]
        source: rustls::Error,
    },
    #[error("{path} cannot be used as an authority of client certificates")]
    Authority {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A certificate and its key, as the files last were when they were good.
#[derive(Debug)]
pub(crate) struct Identity {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Identity {
    pub(crate) fn load(certificate: &Path, key: &Path) -> Result<Arc<Self>, TlsError> {
        Ok(Arc::new(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            current: RwLock::new(Arc::new(pair(certificate, key)?)),
        }))
    }

    fn current(&self) -> Arc<CertifiedKey> {
        let current = self.current.read();
        Arc::clone(&current.unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the files' present content; a pair that does not fit changes nothing.
    pub(crate) fn reload(&self) -> Result<bool, TlsError> {
        let new = pair(&self.certificate, &self.key)?;
        if new.cert == self.current().cert {
            return Ok(false);
        }
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(true)
    }

    /// Looks at the files for as long as anybody uses the identity.
    pub(crate) fn watch(self: &Arc<Self>) {
        let identity = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut every = tokio::time::interval(LOOK);
            let mut complained = false;
            loop {
                every.tick().await;
                let Some(identity) = identity.upgrade() else {
                    return;
                };
                let certificate = identity.certificate.display();
                let looked = identity.reload();
                match &looked {
                    Ok(true) => tracing::info!(%certificate, "certificate was read again"),
                    Err(error) if !complained => tracing::warn!(
                        error = error as &dyn std::error::Error,
                        "certificate was not read again; the old one stays in use"
                    ),
                    _ => {}
                }
                complained = looked.is_err();
            }
        });
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = |source| TlsError::Pem {
        path: path.to_owned(),
        expected: "certificates",
        source,
    };
    let certificates = CertificateDer::pem_file_iter(path)
        .map_err(pem)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(pem)?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate {
            path: path.to_owned(),
        });
    }
    Ok(certificates)
}

fn pair(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(certificate)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|source| TlsError::Pem {
        path: key.to_owned(),
        expected: "a private key",
        source,
    })?;
    CertifiedKey::from_der(
        chain,
        private,
        &rustls::crypto::aws_lc_rs::default_provider(),
    )
    .map_err(|source| TlsError::Pair {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        source,
    })
}

/// Reads the files and opens nothing.
pub(crate) fn check(config: &ListenTls) -> Result<(), TlsError> {
    let identity = Identity::load(&config.certificate_file, &config.key_file)?;
    server_config(config, identity).map(|_| ())
}

/// What a TLS port needs; its own certificate is watched from here on.
pub(crate) fn acceptor(config: &ListenTls) -> Result<TlsAcceptor, TlsError> {
    let identity = Identity::load(&config.certificate_file, &config.key_file)?;
    identity.watch();
    let server = server_config(config, identity)?;
    Ok(TlsAcceptor::from(Arc::new(server)))
}

fn server_config(config: &ListenTls, identity: Arc<Identity>) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder();
    let builder = match &config.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let authority =
                |source: Box<dyn std::error::Error + Send + Sync>| TlsError::Authority {
                    path: path.clone(),
                    source,
                };
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|e| authority(e.into()))?;
            }
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots));
            let verifier = match config.require_client_certificate {
                true => verifier,
                false => verifier.allow_unauthenticated(),
            };
            builder.with_client_cert_verifier(verifier.build().map_err(|e| authority(e.into()))?)
        }
    };
    let mut server = builder.with_cert_resolver(identity);
    server.alpn_protocols = vec![b"h2".to_vec()];
    Ok(server)
}

/// The connections that finished their handshake. A slow caller keeps nobody else waiting.
pub(crate) fn incoming(
    listener: TcpListener,
    acceptor: TlsAcceptor,
) -> tokio_stream::wrappers::ReceiverStream<std::io::Result<TlsStream<TcpStream>>> {
    let (ready, connections) = mpsc::channel(HANDSHAKES);
    tokio::spawn(async move {
        let room = Arc::new(tokio::sync::Semaphore::new(HANDSHAKES));
        loop {
            let Ok(place) = Arc::clone(&room).acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = ready.closed() => return,
            };
            let Ok((stream, peer)) = accepted else {
                // Out of files, most likely: others finish, then there is room again.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let (acceptor, ready) = (acceptor.clone(), ready.clone());
            tokio::spawn(async move {
                let _place = place;
                let _ = stream.set_nodelay(true);
                match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        let _ = ready.send(Ok(stream)).await;
                    }
                    Ok(Err(error)) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
                    Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
                }
            });
        }
    });
    tokio_stream::wrappers::ReceiverStream::new(connections)
}
