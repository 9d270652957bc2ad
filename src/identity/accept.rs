//! One listener: connection caps, a handshake limit, TLS, then streams for tonic's `serve_with_incoming`; one stream of
//! connections, or one for each protocol, with caps of its own.

use super::error::IdentityError;
use super::held::PeerStream;
use super::live::Live;
use super::peer::VerifiedPeer;
use super::protocol::Protocol;
use super::tls::ServerTls;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_stream::Stream;

/// Finished handshakes that wait for tonic to take them.
const WAITING: usize = 16;
/// Pause after an error of `accept` (no file descriptors, for instance), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The budget of one listener. Where each protocol has connections of its own it bounds those whose handshake is not over:
/// who is calling is not known before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once, those still in their handshake included.
    pub connections: usize,
    /// Connections at once from one IPv4 address or one IPv6 /64.
    pub per_address: usize,
    /// Longest handshake, in milliseconds.
    pub handshake_ms: u64,
}

/// The connections of one protocol of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneLimits {
    /// At once.
    pub connections: usize,
    /// At once of one agency; its oldest makes room for its newest.
    pub per_agency: usize,
}

/// A listener as a stream of verified connections. Connections over a cap are dropped at once; a failed
/// handshake is logged and never ends the stream. Dropping the acceptor stops listening.
pub struct Acceptor {
    incoming: mpsc::Receiver<io::Result<PeerStream>>,
    local: SocketAddr,
    live: Live,
}

impl Acceptor {
    /// Binds and starts to accept calls, on the current runtime.
    pub async fn bind(address: SocketAddr, tls: ServerTls, limits: Limits) -> io::Result<Acceptor> {
        let listener = TcpListener::bind(address).await?;
        let (lane, acceptor) = lane(Protocol::Calls, None, listener.local_addr()?);
        tokio::spawn(Door::new(tls, limits, vec![lane]).run(listener));
        Ok(acceptor)
    }

    /// The same for several protocols on one address: an acceptor for each, in their order. None of them waits for
    /// another, and none uses up another's connections. The last one that is dropped stops listening.
    pub async fn bind_lanes(
        address: SocketAddr,
        tls: ServerTls,
        limits: Limits,
        protocols: &[(Protocol, LaneLimits)],
    ) -> io::Result<Vec<Acceptor>> {
        let listener = TcpListener::bind(address).await?;
        let local = listener.local_addr()?;
        let open = |(protocol, most): &(Protocol, LaneLimits)| lane(*protocol, Some(*most), local);
        let (lanes, acceptors): (Vec<Lane>, Vec<Acceptor>) = protocols.iter().map(open).unzip();
        tokio::spawn(Door::new(tls, limits, lanes).run(listener));
        Ok(acceptors)
    }

    /// The address bound, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The open connections, to cut some of them.
    pub fn live(&self) -> Live {
        self.live.clone()
    }
}

impl Stream for Acceptor {
    type Item = io::Result<PeerStream>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().incoming.poll_recv(cx)
    }
}

/// Where the connections of one protocol go.
struct Lane {
    protocol: Protocol,
    /// None where the listener's budget counts them for as long as they are open.
    most: Option<LaneLimits>,
    live: Live,
    done: mpsc::Sender<io::Result<PeerStream>>,
}

fn lane(protocol: Protocol, most: Option<LaneLimits>, local: SocketAddr) -> (Lane, Acceptor) {
    let (done, incoming) = mpsc::channel(WAITING);
    let live = Live::default();
    (Lane { protocol, most, live: live.clone(), done }, Acceptor { incoming, local, live })
}

struct Door {
    tls: ServerTls,
    handshake: Duration,
    connections: Arc<Semaphore>,
    addresses: Addresses,
    lanes: Arc<[Lane]>,
}

impl Door {
    fn new(tls: ServerTls, limits: Limits, lanes: Vec<Lane>) -> Door {
        Door {
            tls,
            handshake: Duration::from_millis(limits.handshake_ms),
            connections: Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS))),
            addresses: Addresses { counts: Arc::default(), most: limits.per_address },
            lanes: lanes.into(),
        }
    }

    async fn run(self, listener: TcpListener) {
        // Handshakes end with this set, so none outlives the acceptor.
        let mut handshakes = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = closed(&self.lanes) => return,
                Some(_) = handshakes.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            let (tcp, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(places) = self.places(from.ip()) else {
                tracing::debug!(%from, "connection over the limit dropped");
                continue;
            };
            let (tls, limit, lanes) = (self.tls.clone(), self.handshake, Arc::clone(&self.lanes));
            handshakes.spawn(async move {
                match tokio::time::timeout(limit, shake(&tls, &lanes, tcp, places)).await {
                    // The receiver is gone when the listener closes.
                    Ok(Ok((stream, lane))) => drop(lane.done.send(Ok(stream)).await),
                    Ok(Err(error)) => tracing::debug!(%from, %error, "handshake failed"),
                    Err(_) => tracing::debug!(%from, "handshake took too long"),
                }
            });
        }
    }

    fn places(&self, from: IpAddr) -> Option<Places> {
        let connection = Arc::clone(&self.connections).try_acquire_owned().ok()?;
        let address = self.addresses.take(from)?;
        Some(Places { _connection: connection, _address: address })
    }
}

/// Ends when every acceptor is dropped.
async fn closed(lanes: &[Lane]) {
    for lane in lanes {
        lane.done.closed().await;
    }
}

async fn shake<'a>(
    tls: &ServerTls,
    lanes: &'a [Lane],
    tcp: TcpStream,
    places: Places,
) -> Result<(PeerStream, &'a Lane), IdentityError> {
    tcp.set_nodelay(true).map_err(|_| IdentityError::Peer("the connection is gone"))?;
    let io = TlsAcceptor::from(tls.current()).accept(tcp).await.map_err(of_handshake)?;
    let peer = VerifiedPeer::of(io.get_ref().1)?;
    let lane = lanes.iter().find(|l| l.protocol == peer.protocol());
    let lane = lane.ok_or(IdentityError::Peer("nobody here speaks that protocol"))?;
    let (registration, places) = match lane.most {
        None => (lane.live.register(&peer), Some(places)),
        // Its place among the handshakes is free; it has one among its own kind.
        Some(most) => {
            let admitted = lane.live.admit(&peer, most);
            (admitted.ok_or(IdentityError::Peer("all connections of its kind are in use"))?, None)
        }
    };
    // What took its trust away during the handshake found nothing to cut yet.
    if !tls.still_trusts(&peer) {
        return Err(IdentityError::Peer("it was trusted no more before the handshake was over"));
    }
    Ok((PeerStream::new(io, peer, registration, places), lane))
}

/// The rustls error inside an I/O error, where there is one.
pub(super) fn of_handshake(error: io::Error) -> IdentityError {
    match error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
        Some(tls) => IdentityError::Tls(tls.clone()),
        None => IdentityError::Peer("the connection ended during the handshake"),
    }
}

/// What a connection holds of the budget.
pub(super) struct Places {
    _connection: OwnedSemaphorePermit,
    _address: AddressPlace,
}

/// Connections for each address.
struct Addresses {
    counts: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
    most: usize,
}

struct AddressPlace {
    counts: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
    group: IpAddr,
}

impl Addresses {
    fn take(&self, from: IpAddr) -> Option<AddressPlace> {
        let group = address_group(from);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&group).copied().unwrap_or(0);
        if count >= self.most {
            return None;
        }
        counts.insert(group, count.saturating_add(1));
        Some(AddressPlace { counts: Arc::clone(&self.counts), group })
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let left = counts.get(&self.group).copied().unwrap_or(0).saturating_sub(1);
        if left == 0 {
            counts.remove(&self.group);
        } else {
            counts.insert(self.group, left);
        }
    }
}

/// One IPv4 address, or the /64 that one IPv6 host usually has to itself.
fn address_group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_counted_and_given_back() {
        let a = Addresses { counts: Arc::default(), most: 1 };
        let first = a.take("2001:db8::1".parse().unwrap()).unwrap();
        assert!(a.take("2001:db8::2".parse().unwrap()).is_none(), "the same /64");
        assert!(a.take("2001:db8:0:1::1".parse().unwrap()).is_some());
        drop(first);
        assert!(a.take("2001:db8::2".parse().unwrap()).is_some());
        let _v4 = a.take("192.0.2.1".parse().unwrap()).unwrap();
        assert!(a.take("::ffff:192.0.2.1".parse().unwrap()).is_none());
    }
}
