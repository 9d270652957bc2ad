//! TLS to a foreign HTTP endpoint: the Web's rules, and the authorities that the configuration names.

use super::error::IdentityError;
use super::tls::Exchange;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Dials one host over TLS 1.3.
pub struct HttpsDial {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl HttpsDial {
    /// `host` is a DNS name or an address; `ca` is PEM.
    ///
    /// # Errors
    /// [`IdentityError::Certificate`] for authorities that cannot be used, [`IdentityError::Peer`] for a bad host.
    pub fn new(host: &str, ca: &str) -> Result<HttpsDial, IdentityError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
            let certificate = certificate.map_err(|_| IdentityError::Certificate("it is not a pem certificate"))?;
            roots.add(certificate).map_err(|_| IdentityError::Certificate("it is not that of an authority"))?;
        }
        if roots.is_empty() {
            return Err(IdentityError::Certificate("the file holds none"));
        }
        let config = ClientConfig::builder_with_provider(Exchange::PreferPostQuantum.provider())
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(host.to_owned()).map_err(|_| IdentityError::Peer("its host is no name"))?;
        Ok(HttpsDial { connector: TlsConnector::from(Arc::new(config)), name })
    }

    /// The handshake on a connection.
    ///
    /// # Errors
    /// The system's, or that of the handshake.
    pub async fn connect(&self, tcp: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        self.connector.connect(self.name.clone(), tcp).await
    }
}
