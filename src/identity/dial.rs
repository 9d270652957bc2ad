//! Channels to nodes: TCP, TLS with the expected name, then h2.

use super::accept::of_handshake;
use super::error::IdentityError;
use super::facts::certificate_facts;
use super::limits::{
    CONNECTION_WINDOW_BYTES, FRAME_BYTES, HEADER_LIST_BYTES, KEEPALIVE, KEEPALIVE_TIMEOUT, LOCAL_ERROR_RESETS,
    STREAM_WINDOW_BYTES,
};
use super::name::Subject;
use super::tls::{Credentials, Exchange, client_config, client_config_at};
use super::trust::TrustRoots;
use super::verify::{AgencyVerifier, Expected};
use crate::domain::ids::{AgencyId, FederationId};
use crate::domain::time::Clock;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::time_provider::DefaultTimeProvider;
use rustls::{CertificateError, ClientConfig, OtherError};
use std::error::Error;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};

/// How long a person's client waits for its node.
const PERSON_CONNECT: Duration = Duration::from_secs(5);

/// Dials nodes of the federation as this node, post-quantum only.
pub struct Dialer {
    credentials: Credentials,
    roots: TrustRoots,
    clock: Arc<dyn Clock>,
}

impl Dialer {
    /// A dialer that shows `credentials` and trusts `roots`.
    pub fn new(credentials: Credentials, roots: TrustRoots, clock: Arc<dyn Clock>) -> Dialer {
        Dialer { credentials, roots, clock }
    }

    /// A channel to one node. It connects at the first call and again after each loss; whoever answers at the
    /// address and is not exactly this node is refused. Call it inside a tokio runtime.
    pub fn channel(
        &self,
        address: SocketAddr,
        agency: &AgencyId,
        node: &str,
        connect_timeout: Duration,
    ) -> Result<Channel, IdentityError> {
        let federation = self.credentials.name().federation();
        let expected = Expected::Node { agency: agency.clone(), id: node.to_owned() };
        let verifier = Arc::new(AgencyVerifier::new(federation.clone(), self.roots.clone(), expected));
        let tls = client_config(Exchange::PostQuantumOnly, &self.credentials, verifier, Arc::clone(&self.clock))?;
        let endpoint = endpoint(agency, federation, connect_timeout)?;
        let address = address.to_string();
        Ok(endpoint
            .connect_with_connector_lazy(tower::service_fn(move |_: Uri| connect(address.clone(), Arc::clone(&tls)))))
    }
}

/// A person's connection to a node of the own agency.
pub struct PersonDial {
    /// The channel, connected.
    pub channel: Channel,
    /// The person's agency.
    pub agency: AgencyId,
}

/// Connects a person to a node of the agency in the person's certificate, at `address` (`host:port`). `ca` is
/// that agency's authority; all three are PEM. Post-quantum only: every listener of people prefers it.
pub async fn dial_as_person(address: &str, ca: &str, cert: &str, key: &str) -> Result<PersonDial, IdentityError> {
    let credentials = Credentials::from_pem(cert, key)?;
    let name = credentials.name().clone();
    if !matches!(name.subject(), Subject::Person(_)) {
        return Err(IdentityError::Certificate("it is not that of a person"));
    }
    let agency = name.agency().clone();
    let roots = TrustRoots::new();
    roots.set(agency.clone(), &certificate_facts(ca)?.der)?;
    let verifier = AgencyVerifier::new(name.federation().clone(), roots, Expected::NodeOf(agency.clone()));
    let time = Arc::new(DefaultTimeProvider);
    let tls = client_config_at(Exchange::PostQuantumOnly, &credentials, Arc::new(verifier), time)?;
    let endpoint = endpoint(&agency, name.federation(), PERSON_CONNECT)?;
    let at = address.to_owned();
    let connector = tower::service_fn(move |_: Uri| connect(at.clone(), Arc::clone(&tls)));
    let channel = endpoint.connect_with_connector(connector).await.map_err(|e| no_connection(address, &e))?;
    Ok(PersonDial { channel, agency })
}

/// Why a person's connection did not come about. A node that shows the wrong certificate is not one that is away: asking
/// again helps nobody. Of the certificate nothing is told but which line of the profile it does not fit.
fn no_connection(address: &str, error: &(dyn Error + 'static)) -> IdentityError {
    let address = address.to_owned();
    match certificate_error(error) {
        Some(CertificateError::UnknownIssuer | CertificateError::BadSignature) => IdentityError::ForeignNode {
            address,
            why: "its certificate is not of the authority in the profile",
            line: "ca",
        },
        Some(CertificateError::Other(OtherError(why))) if why.is::<IdentityError>() => {
            IdentityError::ForeignNode { address, why: "it is no node of the agency in the profile", line: "endpoint" }
        }
        _ => IdentityError::Unreachable { address, why: causes(error) },
    }
}

/// What was wrong with the other side's certificate, if that is among the causes.
fn certificate_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a CertificateError> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(rustls::Error::InvalidCertificate(why)) = cause.downcast_ref::<rustls::Error>() {
            return Some(why);
        }
        next = cause.source();
    }
    None
}

fn endpoint(agency: &AgencyId, federation: &FederationId, timeout: Duration) -> Result<Endpoint, IdentityError> {
    // The authority names the agency for logs; the address is the connector's, the identity TLS's.
    let endpoint = Endpoint::from_shared(format!("https://{agency}.{federation}"))
        .map_err(|_| IdentityError::Peer("its name is no authority of a uri"))?;
    Ok(endpoint
        .connect_timeout(timeout)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_adaptive_window(false)
        .http2_max_header_list_size(HEADER_LIST_BYTES)
        .http2_max_local_error_reset_streams(LOCAL_ERROR_RESETS)
        .max_frame_size(FRAME_BYTES)
        .tcp_nodelay(true))
}

async fn connect(
    address: String,
    tls: Arc<ClientConfig>,
) -> Result<TokioIo<TlsStream<TcpStream>>, Box<dyn Error + Send + Sync>> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    // No server name is sent (SNI is off), and the verifier looks at the certificate's own name.
    let unnamed = ServerName::from(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let io = TlsConnector::from(tls).connect(unnamed, tcp).await.map_err(of_handshake)?;
    if io.get_ref().1.alpn_protocol() != Some(b"h2".as_slice()) {
        return Err(IdentityError::Peer("it does not speak h2").into());
    }
    Ok(TokioIo::new(io))
}

/// An error and its sources in one line.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        // Writing to a string does not fail.
        let _ = write!(text, ": {source}");
        next = source.source();
    }
    text
}
