//! Channels to nodes: TCP, TLS with the expected name, then HTTP/2.

use super::accept::of_handshake;
use super::error::IdentityError;
use super::facts::authorities;
use super::held::Held;
use super::limits::{
    CONNECTION_WINDOW_BYTES, FRAME_BYTES, HEADER_LIST_BYTES, KEEPALIVE, KEEPALIVE_TIMEOUT, LOCAL_ERROR_RESETS,
    STREAM_WINDOW_BYTES,
};
use super::live::Live;
use super::name::Subject;
use super::peer::VerifiedPeer;
use super::protocol::Protocol;
use super::refusal::{Heard, Refusal};
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
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};

/// A person's client waits this long for its node.
const PERSON_LINE: Line = Line { protocol: Protocol::Calls, connect: Duration::from_secs(5), patience: None };
/// On a line with a patience a second attempt to connect begins beside the first after this long, and so on.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// What a channel is for, and how it bears with a peer that does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// What is spoken on it.
    pub protocol: Protocol,
    /// Longest from the first packet to the end of the handshake.
    pub connect: Duration,
    /// Longest that what was sent may go unacknowledged; then the connection ends and the next call opens another. None
    /// leaves it to the system and to the pings of HTTP/2. It must be longer than a round trip.
    pub patience: Option<Duration>,
}

/// Dials nodes of the federation as this node, post-quantum only.
pub struct Dialer {
    shown: Shown,
    roots: TrustRoots,
    clock: Arc<dyn Clock>,
    live: Live,
    denied: Arc<AtomicBool>,
}

/// The credentials in force; every new connection shows them.
type Shown = Arc<RwLock<Arc<Credentials>>>;

impl Dialer {
    /// A dialer that shows `credentials` and trusts `roots`.
    pub fn new(credentials: Credentials, roots: TrustRoots, clock: Arc<dyn Clock>) -> Dialer {
        let shown = Arc::new(RwLock::new(Arc::new(credentials)));
        Dialer { shown, roots, clock, live: Live::default(), denied: Arc::default() }
    }

    /// Shows these credentials, of the same node, from the next connection on; open ones stay.
    pub fn show(&self, credentials: Credentials) {
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(credentials);
    }

    /// The open connections of all its channels, to cut some of them.
    pub fn live(&self) -> Live {
        self.live.clone()
    }

    /// Whether a node that was dialled said that this one was removed from the federation. It is one node's word.
    pub fn was_denied(&self) -> bool {
        self.denied.load(Ordering::Relaxed)
    }

    /// A channel to one node. It connects at the first call and again after each loss; whoever answers at the
    /// address and is not exactly this node is refused. Call it inside a tokio runtime.
    pub fn channel(
        &self,
        address: SocketAddr,
        agency: &AgencyId,
        node: &str,
        line: Line,
    ) -> Result<Channel, IdentityError> {
        let way = Arc::new(self.way(address, agency, node, line));
        // What can never work is told here, and not by every connection.
        way.config()?;
        let endpoint = endpoint(agency, &self.federation(), line.connect)?;
        let connector = tower::service_fn(move |_: Uri| {
            let way = Arc::clone(&way);
            async move { way.connect().await }
        });
        Ok(endpoint.connect_with_connector_lazy(connector))
    }

    fn way(&self, address: SocketAddr, agency: &AgencyId, node: &str, line: Line) -> Way {
        let expected = Expected::Node { agency: agency.clone(), id: node.to_owned() };
        Way {
            address: address.to_string(),
            line,
            verifier: Arc::new(AgencyVerifier::new(self.federation(), self.roots.clone(), expected)),
            shown: Arc::clone(&self.shown),
            clock: Arc::clone(&self.clock),
            live: self.live.clone(),
            denied: Arc::clone(&self.denied),
        }
    }

    fn federation(&self) -> FederationId {
        current(&self.shown).name().federation().clone()
    }
}

fn current(shown: &Shown) -> Arc<Credentials> {
    Arc::clone(&shown.read().unwrap_or_else(PoisonError::into_inner))
}

/// How the connections of a channel come about.
struct Way {
    address: String,
    line: Line,
    verifier: Arc<AgencyVerifier>,
    shown: Shown,
    clock: Arc<dyn Clock>,
    live: Live,
    denied: Arc<AtomicBool>,
}

impl Way {
    fn config(&self) -> Result<Arc<ClientConfig>, IdentityError> {
        let (verifier, clock) = (Arc::clone(&self.verifier), Arc::clone(&self.clock));
        client_config(Exchange::PostQuantumOnly, self.line.protocol, &current(&self.shown), verifier, clock)
    }

    async fn connect(&self) -> Result<TokioIo<Held<TlsStream<TcpStream>>>, Box<dyn Error + Send + Sync>> {
        let io = connect(self.address.clone(), self.config()?, self.line).await?;
        let peer = VerifiedPeer::of(io.get_ref().1)?;
        let registration = self.live.register(&peer);
        // What took its trust away during the handshake found nothing to cut yet.
        if !self.verifier.still_trusts(&peer, self.clock.now()) {
            return Err(IdentityError::Peer("it was trusted no more before the handshake was over").into());
        }
        Ok(TokioIo::new(Held::new(io, peer, registration, None).telling(Arc::clone(&self.denied))))
    }
}

/// A person's connection to a node of the own agency.
pub struct PersonDial {
    /// The channel, connected.
    pub channel: Channel,
    /// The person's agency.
    pub agency: AgencyId,
    /// Why the node refused the person's certificate: whoever waits for an answer hears only that the connection broke.
    pub refusal: Refusal,
}

/// Connects a person to a node of the agency in the person's certificate, at `address` (`host:port`). `ca` is
/// that agency's authority, or both while it exchanges it; all three are PEM. Post-quantum only: every listener of people prefers it.
pub async fn dial_as_person(address: &str, ca: &str, cert: &str, key: &str) -> Result<PersonDial, IdentityError> {
    let credentials = Credentials::from_pem(cert, key)?;
    let name = credentials.name().clone();
    if !matches!(name.subject(), Subject::Person(_)) {
        return Err(IdentityError::Certificate("it is not that of a person"));
    }
    let agency = name.agency().clone();
    let roots = TrustRoots::new();
    let known = authorities(ca)?;
    roots.set_all(agency.clone(), known.iter().map(Vec::as_slice))?;
    let verifier = AgencyVerifier::new(name.federation().clone(), roots, Expected::NodeOf(agency.clone()));
    let time = Arc::new(DefaultTimeProvider);
    let (exchange, protocol) = (Exchange::PostQuantumOnly, PERSON_LINE.protocol);
    let tls = client_config_at(exchange, protocol, &credentials, Arc::new(verifier), time)?;
    let endpoint = endpoint(&agency, name.federation(), PERSON_LINE.connect)?;
    let (at, refusal) = (address.to_owned(), Refusal::of(address));
    let heard = refusal.clone();
    let connector = tower::service_fn(move |_: Uri| {
        let (connecting, heard) = (connect(at.clone(), Arc::clone(&tls), PERSON_LINE), heard.clone());
        async move { connecting.await.map(|io| TokioIo::new(Heard::new(io, heard))) }
    });
    let channel = endpoint.connect_with_connector(connector).await;
    let channel = channel.map_err(|e| refusal.error().unwrap_or_else(|| no_connection(address, &e)))?;
    Ok(PersonDial { channel, agency, refusal })
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
    line: Line,
) -> Result<TlsStream<TcpStream>, Box<dyn Error + Send + Sync>> {
    let tcp = match line.patience {
        Some(patience) => reach(&address, patience).await?,
        None => TcpStream::connect(address).await?,
    };
    tcp.set_nodelay(true)?;
    // No server name is sent (SNI is off), and the verifier looks at the certificate's own name.
    let unnamed = ServerName::from(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let io = TlsConnector::from(tls).connect(unnamed, tcp).await.map_err(of_handshake)?;
    if io.get_ref().1.alpn_protocol() != Some(line.protocol.alpn()) {
        return Err(IdentityError::Peer("it does not speak what this line is for").into());
    }
    Ok(io)
}

/// Connects on a line with a patience. By itself the system sends a lost SYN again only after a second, then after two; and what
/// goes unacknowledged on a connection it repeats for minutes, ever more rarely, so that a line that is back would wait for
/// the next repetition.
async fn reach(address: &str, patience: Duration) -> io::Result<TcpStream> {
    // Those that did not come first end with this set.
    let mut attempts = JoinSet::new();
    let tcp = loop {
        attempts.spawn(TcpStream::connect(address.to_owned()));
        tokio::select! {
            Some(reached) = attempts.join_next() => break reached??,
            () = tokio::time::sleep(ATTEMPT_DELAY) => {}
        }
    };
    rustix::net::sockopt::set_tcp_user_timeout(&tcp, u32::try_from(patience.as_millis()).unwrap_or(u32::MAX))?;
    Ok(tcp)
}

/// An error and its sources in one line; what says no more than the one before it is left out.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let said = source.to_string();
        if !text.ends_with(&said) {
            // Writing to a string does not fail.
            let _ = write!(text, ": {said}");
        }
        next = source.source();
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::super::Limits;
    use super::super::handshake_tests::{NOW, agency, listen, node, world};
    use super::*;
    use crate::domain::time::At;
    use std::net::TcpListener;
    use tokio::io::AsyncReadExt;
    use tokio::time::timeout;
    use tokio_stream::StreamExt;

    #[derive(Debug, thiserror::Error)]
    enum Cause {
        #[error("refused")]
        End,
        #[error("refused")]
        InItsWords(#[source] Box<Cause>),
        #[error("transport")]
        Of(#[source] Box<Cause>),
    }

    #[test]
    fn a_cause_that_two_errors_tell_is_told_once() {
        let end = || Box::new(Cause::End);
        assert_eq!(causes(&Cause::Of(end())), "transport: refused");
        assert_eq!(causes(&Cause::Of(Box::new(Cause::InItsWords(end())))), "transport: refused");
        assert_eq!(causes(&Cause::Of(Box::new(Cause::Of(end())))), "transport: refused");
    }

    #[tokio::test]
    async fn outgoing_connections_are_cut_and_new_ones_show_what_is_in_force() {
        let w = world();
        let mut acceptor = listen(&w, Limits { connections: 8, per_address: 8, handshake_ms: 5_000 }).await;
        let dialer = Dialer::new(node(&w.customs), w.roots.clone(), Arc::new(At(NOW)));
        let line = Line { protocol: Protocol::Calls, connect: Duration::from_secs(5), patience: None };
        let way = dialer.way(acceptor.local_addr(), &agency("police"), "1", line);
        let mut near = way.connect().await.unwrap().into_inner();
        let far = acceptor.next().await.unwrap().unwrap();
        let live = dialer.live();
        let open = live.peers();
        let (place, peer) = open.first().unwrap();
        assert_eq!((open.len(), peer.agency()), (1, &agency("police")));
        assert!(live.cut(*place));
        assert_eq!(near.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);

        dialer.show(node(&w.customs));
        let _again = way.connect().await.unwrap();
        let again = acceptor.next().await.unwrap().unwrap();
        assert_ne!(again.peer().serial(), far.peer().serial());
        w.roots.require_list(&agency("police"));
        assert!(way.connect().await.is_err());
    }

    #[tokio::test]
    async fn a_node_that_was_removed_hears_it_from_whom_it_dials() {
        let w = world();
        let acceptor = listen(&w, Limits { connections: 8, per_address: 8, handshake_ms: 5_000 }).await;
        // Another's roots: the dialler knows nothing of it yet.
        let own = TrustRoots::new();
        own.set(agency("police"), w.police.certificate_der()).unwrap();
        let dialer = Dialer::new(node(&w.customs), own, Arc::new(At(NOW)));
        let line = Line { protocol: Protocol::Calls, connect: Duration::from_secs(5), patience: None };
        let way = dialer.way(acceptor.local_addr(), &agency("police"), "1", line);
        // A list that is missing is another matter.
        w.roots.require_list(&agency("customs"));
        assert!(way.connect().await.unwrap().into_inner().read_u8().await.is_err());
        assert!(!dialer.was_denied());
        w.roots.drop_list(&agency("customs")).unwrap();
        w.roots.remove_node(&agency("customs"), "1");
        assert!(way.connect().await.unwrap().into_inner().read_u8().await.is_err());
        assert!(dialer.was_denied());
    }

    /// A full queue of connections drops a SYN without a word, as a line that is cut does.
    #[tokio::test]
    async fn a_lost_syn_is_not_waited_for_and_a_silent_connection_ends() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let patience = Duration::from_millis(1_500);
        let _in_the_queue = reach(&address, patience).await.unwrap();
        let mut second = Box::pin(reach(&address, patience));
        assert!(timeout(Duration::from_millis(50), &mut second).await.is_err(), "its SYN was dropped");
        let _taken = listener.accept().unwrap();
        // The system alone would try again a second after the first time.
        let second = timeout(Duration::from_millis(700), second).await.unwrap().unwrap();
        assert_eq!(rustix::net::sockopt::tcp_user_timeout(&second).unwrap(), 1_500);
    }
}
