//! Calls to other nodes: one channel each, every call with a deadline.

use super::pushes::{self, Pushes};
use crate::cluster::{CallError, CallKind, PeerCalls};
use crate::config::NodeConfig;
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, NodeId};
use crate::domain::limits;
use crate::identity::{Dialer, IdentityError, Line, Protocol, TrustRoots};
use crate::ledger::{NodeState, Place, State, node_id};
use crate::service::{
    Asked, PeerComplaints, PeerNotices, PeerPeople, PeerReports, PeopleTold, Position, Positions, Reply,
};
use crate::vault::{Content, Outgoing, Parts, PeerVault, Pieces, PushState};
use crate::wire::fault_of;
use crate::wire::pb::peer;
use futures_util::{Stream, StreamExt, stream};
use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Code, Request, Streaming};

/// After a cut the system would repeat for minutes what went unacknowledged, ever more rarely, and HTTP/2 notices it with its
/// pings after 15 s. A voter must be heard again as soon as the line is back, so its connection gives up earlier.
const CONSENSUS: Line =
    Line { protocol: Protocol::Calls, connect: Duration::from_secs(2), patience: Some(Duration::from_secs(2)) };
/// A full line may leave much unacknowledged for longer than heartbeats may wait.
const BULK: Line = Line { patience: Some(Duration::from_secs(6)), ..CONSENSUS };
const ASK: Duration = Duration::from_secs(1);
/// A person waits for it.
const FOR_PERSON: Duration = Duration::from_secs(5);
/// Calls to one node that may wait there: a connection carries 64, and what goes at once needs some of them.
const WAITING: usize = 16;
/// An answer between nodes of one agency: an inbox is longer than what other messages take.
pub(super) const AGENCY_BYTES: usize = 2 * limits::PEER_MESSAGE_BYTES;
const TRANSFER: Duration = Duration::from_secs(10);
/// A push in pieces: as long as the other node's calls may last.
const PUSH_LARGE: Duration = Duration::from_secs(30);
/// Content that is asked for: each piece may take [`TRANSFER`], and all of them this long.
const PULL_LARGE: Duration = Duration::from_secs(300);

/// The other nodes: those of the configuration, and those of whom the ledger says where they are.
pub(super) struct Peers {
    own: NodeId,
    links: RwLock<BTreeMap<NodeId, Links>>,
    dialer: Arc<Dialer>,
    roots: TrustRoots,
    /// Whether the log says already that this node was removed.
    told: Arc<AtomicBool>,
}

/// Consensus has a connection of its own, so that bulk transfer never stands in front of a heartbeat.
#[derive(Clone)]
struct Links {
    agency: AgencyId,
    consensus: Channel,
    bulk: Channel,
    pushes: Pushes,
    waiting: Arc<Semaphore>,
}

impl Peers {
    pub(super) fn new(config: &NodeConfig, dialer: Arc<Dialer>, roots: TrustRoots) -> Result<Peers, Fault> {
        let mut links = BTreeMap::new();
        for p in &config.peers {
            links.insert(node_id(&p.agency, &p.node), Links::dial(&dialer, &roots, (&p.agency, &p.node), p.address)?);
        }
        let own = node_id(&config.agency, &config.node);
        Ok(Peers { own, links: RwLock::new(links), dialer, roots, told: Arc::default() })
    }

    /// Numbers of the peers.
    pub(super) fn ids(&self) -> Vec<NodeId> {
        self.all().keys().copied().collect()
    }

    /// Dials those who came, where the ledger says that they are, and lets go of those who were removed. What the
    /// configuration says of a node goes before. Call it inside a runtime.
    pub(super) fn follow(&self, state: &State) {
        let gone = |id: &NodeId| state.retired(*id).is_some();
        let came: Vec<(NodeId, &NodeState, Place)> = {
            let known = self.all();
            let new = state.nodes().filter(|(id, _)| **id != self.own && !known.contains_key(*id));
            new.filter_map(|(id, n)| Some((*id, n, state.place(*id)?))).collect()
        };
        if came.is_empty() && !self.all().keys().any(gone) {
            return;
        }
        let mut links = self.links.write().unwrap_or_else(PoisonError::into_inner);
        links.retain(|id, _| !gone(id));
        for (id, n, place) in came {
            match Links::dial(&self.dialer, &self.roots, (&n.agency, &n.local), place.nodes) {
                Ok(new) => _ = links.insert(id, new),
                Err(error) => tracing::error!(agency = %n.agency, node = %n.local, %error, "a node cannot be dialled"),
            }
        }
    }

    fn all(&self) -> RwLockReadGuard<'_, BTreeMap<NodeId, Links>> {
        self.links.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node's connections, unless its agency is trusted no more: what is open towards it is not used either.
    fn links(&self, node: NodeId) -> Option<Links> {
        self.all().get(&node).filter(|l| self.roots.trusts(&l.agency)).cloned()
    }

    fn bulk(&self, node: NodeId) -> Option<Channel> {
        self.links(node).map(|l| l.bulk)
    }

    fn vault(&self, node: NodeId) -> Result<peer::vault_client::VaultClient<Channel>, String> {
        self.bulk(node).map(vault_on).ok_or_else(not_there)
    }
}

impl Links {
    fn dial(
        dialer: &Dialer,
        roots: &TrustRoots,
        (agency, node): (&AgencyId, &str),
        address: SocketAddr,
    ) -> Result<Links, IdentityError> {
        let dial = |line| dialer.channel(address, agency, node, line);
        let (consensus, bulk) = (dial(CONSENSUS)?, dial(BULK)?);
        let pushes = Pushes::over(pushing(&bulk, agency, roots));
        let waiting = Arc::new(Semaphore::new(WAITING));
        Ok(Links { agency: agency.clone(), consensus, bulk, pushes, waiting })
    }
}

fn not_there() -> String {
    "it is not in this node's configuration, or suspended".to_owned()
}

fn vault_on(channel: Channel) -> peer::vault_client::VaultClient<Channel> {
    peer::vault_client::VaultClient::new(channel)
        .max_decoding_message_size(limits::PEER_MESSAGE_BYTES)
        .max_encoding_message_size(limits::PEER_MESSAGE_BYTES)
}

/// Pushes over a channel, unless its agency is trusted no more when it is to go.
fn pushing(channel: &Channel, agency: &AgencyId, roots: &TrustRoots) -> pushes::Line {
    let (channel, agency, roots) = (channel.clone(), agency.clone(), roots.clone());
    Arc::new(move |objects| {
        let trusted = roots.trusts(&agency);
        Box::pin(push_over(trusted.then(|| channel.clone()), objects))
    })
}

async fn push_over(channel: Option<Channel>, objects: Vec<peer::Sealed>) -> Result<Vec<peer::PushResult>, String> {
    let mut client = vault_on(channel.ok_or_else(not_there)?);
    let reply = client.push(peer::PushRequest { objects }).await.map_err(|s| fault_of(&s).message)?;
    Ok(reply.into_inner().results)
}

impl PeerCalls for Peers {
    fn call(
        &self,
        target: u64,
        kind: CallKind,
        bytes: Vec<u8>,
        timeout: Duration,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, CallError>> + Send>> {
        let channel = self.links(NodeId(target)).map(|l| l.consensus);
        let (told, dialer) = (Arc::clone(&self.told), Arc::clone(&self.dialer));
        Box::pin(async move {
            let channel = channel.ok_or_else(|| CallError::Unreachable("not configured, or suspended".into()))?;
            let mut client = peer::consensus_client::ConsensusClient::new(channel)
                .max_decoding_message_size(limits::PEER_MESSAGE_BYTES)
                .max_encoding_message_size(limits::PEER_MESSAGE_BYTES);
            let mut request = Request::new(peer::ConsensusCall { kind: kind.code(), body: bytes });
            request.set_timeout(timeout);
            match tokio::time::timeout(timeout, client.call(request)).await {
                Err(_) => Err(CallError::Timeout),
                Ok(Ok(reply)) => Ok(reply.into_inner().body),
                Ok(Err(status)) => {
                    // The refusal of a call, or already of the handshake.
                    let removed = fault_of(&status).reason == "NODE_REMOVED" || dialer.was_denied();
                    if removed && !told.swap(true, Ordering::Relaxed) {
                        tracing::error!("this node was removed from the federation: the others refuse its calls");
                    }
                    Err(CallError::Unreachable(status.message().to_owned()))
                }
            }
        })
    }
}

impl Positions for Peers {
    fn ask(&self, node: NodeId, at: u64) -> Pin<Box<dyn Future<Output = Option<Position>> + Send + '_>> {
        let channel = self.bulk(node);
        Box::pin(async move {
            let mut client = peer::position_client::PositionClient::new(channel?);
            let asked = tokio::time::timeout(ASK, client.ask(peer::PositionRequest { at }));
            let reply = asked.await.ok()?.ok()?.into_inner();
            Some(Position { applied: reply.applied, at: reply.digest_index, digest: reply.digest.try_into().ok() })
        })
    }
}

impl PeerVault for Peers {
    fn push<'a>(
        &'a self,
        node: NodeId,
        object: &'a Outgoing,
    ) -> Pin<Box<dyn Future<Output = Result<PushState, String>> + Send + 'a>> {
        Box::pin(async move {
            let links = self.links(node).ok_or_else(not_there)?;
            let Some(content) = &object.content else { return links.pushes.push(object.parts.clone()).await };
            let pieces = pieces(object.head(), content)?;
            let mut client = self.vault(node)?;
            let pushed = tokio::time::timeout(PUSH_LARGE, client.push_large(pieces)).await;
            let reply = pushed.map_err(|_| "no answer in time".to_owned())?;
            Ok(pushes::state(reply.map_err(|s| fault_of(&s).message)?.into_inner()))
        })
    }

    fn pull(
        &self,
        node: NodeId,
        token: [u8; 32],
        attempt: u32,
    ) -> Pin<Box<dyn Future<Output = Result<Option<Parts>, String>> + Send + '_>> {
        Box::pin(async move {
            let mut client = self.vault(node)?;
            let request = peer::PullRequest { token: token.to_vec(), attempt };
            let asked = tokio::time::timeout(TRANSFER, client.pull(request));
            match asked.await.map_err(|_| "no answer in time".to_owned())? {
                Err(status) if status.code() == Code::NotFound => Ok(None),
                Err(status) => Err(fault_of(&status).message),
                Ok(reply) => {
                    Ok(reply.into_inner().object.map(|o| (o.envelope.into(), o.grant.into(), o.audience.into())))
                }
            }
        })
    }

    fn content(
        &self,
        node: NodeId,
        token: [u8; 32],
        header_hash: [u8; 32],
    ) -> Pin<Box<dyn Future<Output = Result<Box<dyn Pieces>, String>> + Send + '_>> {
        Box::pin(async move {
            let mut client = self.vault(node)?;
            let request = peer::ContentRequest { token: token.to_vec(), header_hash: header_hash.to_vec() };
            let asked = tokio::time::timeout(TRANSFER, client.pull_content(request));
            let reply = asked.await.map_err(|_| "no answer in time".to_owned())?;
            let stream = reply.map_err(|s| fault_of(&s).message)?.into_inner();
            Ok(Box::new(FromNode { stream, ends: Instant::now() + PULL_LARGE }) as Box<dyn Pieces>)
        })
    }
}

/// What stands before a content, and the content as it is read from the disk. When that fails it ends early, and the other
/// node asks again later.
pub(crate) fn pieces(
    head: &[u8],
    content: &Content,
) -> Result<impl Stream<Item = peer::Piece> + Send + 'static + use<>, String> {
    let size = u32::try_from(head.len()).map_err(|_| "it is too large".to_owned())?;
    let first = |n: usize| if n == 0 { size } else { 0 };
    let head: Vec<peer::Piece> = head
        .chunks(limits::PIECE_BYTES)
        .enumerate()
        .map(|(n, data)| peer::Piece { head: first(n), data: data.to_vec() })
        .collect();
    let reader = content.reader().map_err(|e| e.to_string())?;
    let content = stream::unfold(reader, |mut reader| async move {
        let read = reader.read(limits::PIECE_BYTES);
        let data = read.inspect_err(|error| tracing::error!(%error, "a held content cannot be sent")).ok()?;
        (!data.is_empty()).then_some((peer::Piece { head: 0, data }, reader))
    });
    Ok(stream::iter(head).chain(content))
}

/// Content that a node answers with.
struct FromNode {
    stream: Streaming<peer::Piece>,
    ends: Instant,
}

impl Pieces for FromNode {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Result<Option<Vec<u8>>, String>> + Send + '_>> {
        Box::pin(async move {
            let until = self.ends.min(Instant::now() + TRANSFER);
            let piece = tokio::time::timeout_at(until, self.stream.message()).await;
            let piece = piece.map_err(|_| "no piece in time".to_owned())?.map_err(|s| fault_of(&s).message)?;
            match piece {
                Some(piece) if piece.data.len() > limits::PIECE_BYTES => Err("a piece is too large".to_owned()),
                piece => Ok(piece.map(|p| p.data)),
            }
        })
    }
}

impl PeerComplaints for Peers {
    fn complain(
        &self,
        node: NodeId,
        complaint: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = Result<(), Fault>> + Send + '_>> {
        Box::pin(async move {
            let away = |why: String| Fault::unavailable("NODE_UNREACHABLE", why);
            let mut client = self.vault(node).map_err(away)?;
            let asked = tokio::time::timeout(ASK, client.complain(peer::ComplainRequest { complaint }));
            let reply = asked.await.map_err(|_| away("no answer in time".to_owned()))?;
            reply.map(|_| ()).map_err(|s| fault_of(&s))
        })
    }
}

impl PeerReports for Peers {
    fn report(&self, node: NodeId, report: Vec<u8>) -> Pin<Box<dyn Future<Output = Result<u64, String>> + Send + '_>> {
        let channel = self.bulk(node);
        Box::pin(async move {
            let channel = channel.ok_or_else(not_there)?;
            let mut client =
                peer::access_client::AccessClient::new(channel).max_encoding_message_size(limits::PEER_MESSAGE_BYTES);
            let asked = tokio::time::timeout(TRANSFER, client.report(peer::AccessReport { report }));
            let reply = asked.await.map_err(|_| "no answer in time".to_owned())?;
            Ok(reply.map_err(|s| fault_of(&s).message)?.into_inner().next)
        })
    }
}

fn agency_on(channel: Channel) -> peer::agency_client::AgencyClient<Channel> {
    peer::agency_client::AgencyClient::new(channel).max_decoding_message_size(AGENCY_BYTES)
}

/// A turn to wait at another node.
async fn turn(waiting: Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Fault> {
    let turn = tokio::time::timeout(FOR_PERSON, waiting.acquire_owned()).await.ok().and_then(Result::ok);
    turn.ok_or_else(|| Fault::overloaded("as many wait for another node of your agency as may"))
}

impl PeerNotices for Peers {
    fn notices(&self, node: NodeId, asked: Asked) -> Reply<'_> {
        let links = self.links(node);
        Box::pin(async move {
            let away = |why: String| Fault::unavailable("NODE_UNREACHABLE", why);
            let Links { bulk, waiting, .. } = links.ok_or_else(|| away(not_there()))?;
            let mut client = agency_on(bulk);
            let Asked { name, public_key, certificate, call, request, patience } = asked;
            let asks = peer::PersonAsks { name, public_key: public_key.to_vec(), call, request, certificate };
            let _turn = if patience.is_zero() { None } else { Some(turn(waiting).await?) };
            let answered = tokio::time::timeout(FOR_PERSON + patience, client.notices(asks)).await;
            let reply = answered.map_err(|_| away("no answer in time".to_owned()))?;
            Ok(reply.map_err(|s| fault_of(&s))?.into_inner().reply)
        })
    }
}

impl PeerPeople for Peers {
    fn people(&self, node: NodeId, seen: u64, after: String) -> PeopleTold<'_> {
        let channel = self.bulk(node);
        Box::pin(async move {
            let channel = channel.ok_or_else(not_there)?;
            let mut client = agency_on(channel);
            let asked = tokio::time::timeout(ASK, client.people(peer::PeopleRequest { seen, after }));
            let reply = asked.await.map_err(|_| "no answer in time".to_owned())?;
            let peer::PeopleReply { version, entries } = reply.map_err(|s| fault_of(&s).message)?.into_inner();
            Ok((version, entries))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever waits for a node that is asked by many is told so in time.
    #[tokio::test(start_paused = true)]
    async fn a_turn_to_wait_is_not_waited_for_without_end() {
        let waiting = Arc::new(Semaphore::new(1));
        let first = turn(Arc::clone(&waiting)).await;
        assert!(first.is_ok());
        assert_eq!(turn(Arc::clone(&waiting)).await.err().map(|fault| fault.reason), Some("OVERLOADED"));
        drop(first);
        assert!(turn(waiting).await.is_ok());
    }

    /// Less than a call on them waits for, so that the next one finds another connection.
    #[test]
    fn a_line_that_was_cut_is_given_up_before_its_calls_are() {
        assert!(CONSENSUS.patience.is_some_and(|p| p >= ASK && p <= CONSENSUS.connect));
        assert!(BULK.patience.is_some_and(|p| p < TRANSFER));
    }
}
