//! Connections for notices: two for each peer and precedence, so that nothing stands in front of a flash: one for letters
//! to that peer, one for letters that it passes on, which wait for somebody else. They are for their precedence from the
//! handshake on: the peer serves each apart (`lanes`).

use crate::config::NodeConfig;
use crate::domain::canon::Canon;
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, NodeId, NoticeId};
use crate::domain::notice::Precedence;
use crate::identity::{Dialer, IdentityError, Line, Protocol, TrustRoots};
use crate::ledger::{NodeState, Place, State, node_id};
use crate::notice::{LETTER_BYTES, LetterDigest, SignedReceipt};
use crate::service::{PeerPost, Posted};
use crate::wire::fault_of;
use crate::wire::pb::peer;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;
use tokio::runtime::Handle;
use tonic::transport::Channel;

/// A path that does not open, or on which nothing is acknowledged, is given up and tried again soon; others go meanwhile.
const CONNECT: Duration = Duration::from_millis(800);
const PATIENCE: Duration = Duration::from_secs(1);
const DELIVER: Duration = Duration::from_secs(2);
const PING: Duration = Duration::from_millis(800);
/// A relay has to deliver within this.
const RELAY: Duration = Duration::from_secs(4);

/// The connections of one node.
pub(super) struct PostOffice {
    own: NodeId,
    channels: RwLock<BTreeMap<(NodeId, Precedence), Links>>,
    dialer: Arc<Dialer>,
    roots: TrustRoots,
    /// The threads of notices, where these connections live.
    urgent: Handle,
}

#[derive(Clone)]
struct Links {
    agency: AgencyId,
    direct: Channel,
    relay: Channel,
}

type Client = peer::post_client::PostClient<Channel>;

impl PostOffice {
    pub(super) fn new(
        config: &NodeConfig,
        dialer: Arc<Dialer>,
        roots: TrustRoots,
        urgent: Handle,
    ) -> Result<PostOffice, Fault> {
        let mut channels = BTreeMap::new();
        {
            let _there = urgent.enter();
            for p in &config.peers {
                for precedence in Precedence::ALL {
                    let links = Links::dial(&dialer, (&p.agency, &p.node), p.notices, *precedence)?;
                    channels.insert((node_id(&p.agency, &p.node), *precedence), links);
                }
            }
        }
        let own = node_id(&config.agency, &config.node);
        Ok(PostOffice { own, channels: RwLock::new(channels), dialer, roots, urgent })
    }

    /// Dials those who came, where the ledger says that they are, and lets go of those who were removed.
    pub(super) fn follow(&self, state: &State) {
        let gone = |(id, _): &(NodeId, Precedence)| state.retired(*id).is_some();
        let new = |id: &NodeId| *id != self.own && !self.all().keys().any(|(known, _)| known == id);
        let came: Vec<(NodeId, &NodeState, Place)> =
            state.nodes().filter(|(id, _)| new(id)).filter_map(|(id, n)| Some((*id, n, state.place(*id)?))).collect();
        if came.is_empty() && !self.all().keys().any(gone) {
            return;
        }
        let _there = self.urgent.enter();
        let mut channels = self.channels.write().unwrap_or_else(PoisonError::into_inner);
        channels.retain(|path, _| !gone(path));
        for (id, n, place) in came {
            for precedence in Precedence::ALL {
                match Links::dial(&self.dialer, (&n.agency, &n.local), place.notices, *precedence) {
                    Ok(links) => _ = channels.insert((id, *precedence), links),
                    Err(error) => {
                        tracing::error!(agency = %n.agency, node = %n.local, %error, "a node cannot be dialled")
                    }
                }
            }
        }
    }

    /// Peers with the precedences of their connections.
    pub(super) fn paths(&self) -> Vec<(NodeId, Precedence)> {
        self.all().keys().copied().collect()
    }

    /// Whether there is such a path.
    pub(super) fn has(&self, path: (NodeId, Precedence)) -> bool {
        self.all().contains_key(&path)
    }

    fn all(&self) -> RwLockReadGuard<'_, BTreeMap<(NodeId, Precedence), Links>> {
        self.channels.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a connection warm; whether it works.
    pub(super) async fn ping(&self, node: NodeId, precedence: Precedence) -> bool {
        let Ok(mut client) = self.client(node, precedence, |l| &l.direct) else { return false };
        matches!(tokio::time::timeout(PING, client.ping(peer::PingRequest {})).await, Ok(Ok(_)))
    }

    fn client(&self, node: NodeId, precedence: Precedence, which: fn(&Links) -> &Channel) -> Result<Client, Fault> {
        let links = self.all().get(&(node, precedence)).filter(|l| self.roots.trusts(&l.agency)).cloned();
        let links = links.ok_or_else(|| unreachable("it is not in this node's configuration, or suspended"))?;
        let most = 2 * LETTER_BYTES;
        let client = Client::new(which(&links).clone());
        Ok(client.max_decoding_message_size(most).max_encoding_message_size(most))
    }
}

impl Links {
    fn dial(
        dialer: &Dialer,
        (agency, node): (&AgencyId, &str),
        address: SocketAddr,
        precedence: Precedence,
    ) -> Result<Links, IdentityError> {
        let protocol = Protocol::Letters(precedence);
        let line = Line { protocol, connect: CONNECT, patience: Some(PATIENCE) };
        let dial = || dialer.channel(address, agency, node, line);
        Ok(Links { agency: agency.clone(), direct: dial()?, relay: dial()? })
    }
}

impl PeerPost for PostOffice {
    fn deliver(&self, node: NodeId, precedence: Precedence, letter: Vec<u8>) -> Posted<'_> {
        Box::pin(async move {
            let mut client = self.client(node, precedence, |l| &l.direct)?;
            read(tokio::time::timeout(DELIVER, client.deliver(peer::Letter { letter })).await)
        })
    }

    fn held(&self, node: NodeId, precedence: Precedence, (notice, letter): (NoticeId, LetterDigest)) -> Posted<'_> {
        Box::pin(async move {
            let mut client = self.client(node, precedence, |l| &l.direct)?;
            let asked = peer::HeldRequest { letter: letter.to_vec(), notice: notice.as_bytes().to_vec() };
            read(tokio::time::timeout(DELIVER, client.held(asked)).await)
        })
    }

    fn relay(&self, via: NodeId, precedence: Precedence, letter: Vec<u8>) -> Posted<'_> {
        Box::pin(async move {
            let mut client = self.client(via, precedence, |l| &l.relay)?;
            read(tokio::time::timeout(RELAY, client.relay(peer::Letter { letter })).await)
        })
    }
}

type Answered = Result<Result<tonic::Response<peer::Receipts>, tonic::Status>, tokio::time::error::Elapsed>;

fn read(answered: Answered) -> Result<Vec<SignedReceipt>, Fault> {
    let reply = answered.map_err(|_| unreachable("no answer in time"))?.map_err(|s| fault_of(&s))?;
    let receipts = reply.into_inner().receipts;
    receipts.iter().map(|r| SignedReceipt::from_canon(r).map_err(|e| unreachable(e.to_string()))).collect()
}

/// A path that brings nothing. It says nothing of the letter.
fn unreachable(why: impl Into<String>) -> Fault {
    Fault::unavailable("UNREACHABLE", why)
}
