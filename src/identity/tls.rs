//! rustls configurations: TLS 1.3, HTTP/2, mutual, nothing remembered between connections.

use super::error::IdentityError;
use super::facts::{Facts, certificate_facts_der};
use super::name::SpiffeName;
use super::peer::VerifiedPeer;
use super::protocol::Protocol;
use super::verify::AgencyVerifier;
use crate::domain::time::Clock;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject};
use rustls::server::NoServerSessionStorage;
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Which key exchanges a connection may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchange {
    /// X25519MLKEM768 alone: between nodes.
    PostQuantumOnly,
    /// X25519MLKEM768 first, then X25519 and P-256: listeners for people and foreign clients.
    PreferPostQuantum,
}

impl Exchange {
    pub(super) fn provider(self) -> Arc<CryptoProvider> {
        let kx_groups: Vec<&'static dyn SupportedKxGroup> = match self {
            Exchange::PostQuantumOnly => vec![kx_group::X25519MLKEM768],
            Exchange::PreferPostQuantum => vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1],
        };
        Arc::new(CryptoProvider { kx_groups, ..default_provider() })
    }
}

/// A certificate chain and its key: what this side shows.
pub struct Credentials {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    name: SpiffeName,
}

impl Credentials {
    /// Reads a PEM chain (leaf first) and a PEM key (PKCS#8).
    pub fn from_pem(chain: &str, key: &str) -> Result<Credentials, IdentityError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| IdentityError::Certificate("it is not a pem certificate"))?;
        let leaf = chain.first().ok_or(IdentityError::Certificate("the file holds none"))?;
        let Facts { spiffe, .. } = certificate_facts_der(leaf)?;
        let name = spiffe.ok_or(IdentityError::Certificate("it is that of an authority"))?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|_| IdentityError::Certificate("its key is not a pem private key"))?;
        Ok(Credentials { chain, key, name })
    }

    /// The name shown.
    pub fn name(&self) -> &SpiffeName {
        &self.name
    }

    /// The certificate shown, DER.
    pub fn leaf(&self) -> &[u8] {
        self.chain.first().map_or(&[] as &[u8], |c| c.as_ref())
    }

    pub(super) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }
}

/// The configuration of a listener; of the protocols that a client offers it takes the first in `protocols`.
pub fn server_config(
    exchange: Exchange,
    protocols: &[Protocol],
    credentials: &Credentials,
    verifier: Arc<AgencyVerifier>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<ServerConfig>, IdentityError> {
    let mut config = ServerConfig::builder_with_details(exchange.provider(), Arc::new(NodeTime(clock)))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(credentials.chain.clone(), credentials.key.clone_key())?;
    config.alpn_protocols = protocols.iter().map(|p| p.alpn().to_vec()).collect();
    // rustls takes a resumed client's chain from the ticket without verifying it again, so nothing resumes.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    config.send_half_rtt_data = false;
    Ok(Arc::new(config))
}

/// The configuration of a dialer.
pub fn client_config(
    exchange: Exchange,
    protocol: Protocol,
    credentials: &Credentials,
    verifier: Arc<AgencyVerifier>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<ClientConfig>, IdentityError> {
    client_config_at(exchange, protocol, credentials, verifier, Arc::new(NodeTime(clock)))
}

/// The same with any source of time.
pub(super) fn client_config_at(
    exchange: Exchange,
    protocol: Protocol,
    credentials: &Credentials,
    verifier: Arc<AgencyVerifier>,
    time: Arc<dyn TimeProvider>,
) -> Result<Arc<ClientConfig>, IdentityError> {
    let mut config = ClientConfig::builder_with_details(exchange.provider(), time)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(credentials.chain.clone(), credentials.key.clone_key())?;
    config.alpn_protocols = vec![protocol.alpn().to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    Ok(Arc::new(config))
}

/// A listener's configuration that can change while it listens; clones share it.
#[derive(Clone)]
pub struct ServerTls(Arc<Shared>);

struct Shared {
    exchange: Exchange,
    protocols: Vec<Protocol>,
    verifier: Arc<AgencyVerifier>,
    clock: Arc<dyn Clock>,
    current: RwLock<Arc<ServerConfig>>,
}

impl ServerTls {
    /// Starts with these credentials, for calls.
    pub fn new(
        exchange: Exchange,
        credentials: &Credentials,
        verifier: AgencyVerifier,
        clock: Arc<dyn Clock>,
    ) -> Result<ServerTls, IdentityError> {
        ServerTls::speaking(vec![Protocol::Calls], exchange, credentials, verifier, clock)
    }

    /// The same for other protocols.
    pub fn speaking(
        protocols: Vec<Protocol>,
        exchange: Exchange,
        credentials: &Credentials,
        verifier: AgencyVerifier,
        clock: Arc<dyn Clock>,
    ) -> Result<ServerTls, IdentityError> {
        let verifier = Arc::new(verifier);
        let current = server_config(exchange, &protocols, credentials, Arc::clone(&verifier), Arc::clone(&clock))?;
        Ok(ServerTls(Arc::new(Shared { exchange, protocols, verifier, clock, current: RwLock::new(current) })))
    }

    /// The configuration that shows these credentials; it is not in force yet.
    pub fn showing(&self, credentials: &Credentials) -> Result<NextTls, IdentityError> {
        let s = &self.0;
        let (verifier, clock) = (Arc::clone(&s.verifier), Arc::clone(&s.clock));
        let next = server_config(s.exchange, &s.protocols, credentials, verifier, clock)?;
        Ok(NextTls(self.clone(), next))
    }

    /// The configuration for the next handshake.
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a peer that passed the handshake still would.
    pub(super) fn still_trusts(&self, peer: &VerifiedPeer) -> bool {
        self.0.verifier.still_trusts(peer, self.0.clock.now())
    }
}

/// What a listener is to show next. Where several listeners change together, all are made before the first is in force.
pub struct NextTls(ServerTls, Arc<ServerConfig>);

impl NextTls {
    /// In force from the next handshake on; open connections stay.
    pub fn put_in_force(self) {
        *self.0.0.current.write().unwrap_or_else(PoisonError::into_inner) = self.1;
    }
}

/// The node's clock as rustls wants it.
struct NodeTime(Arc<dyn Clock>);

impl TimeProvider for NodeTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.now().0)))
    }
}

impl fmt::Debug for NodeTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeTime")
    }
}
