//! Connections for notices: two for each peer and precedence, so that nothing stands in front of a flash: one for letters
//! to that peer, one for letters that it passes on, which wait for somebody else. They are for their precedence from the
//! handshake on: the peer serves each apart (`lanes`).

use crate::config::NodeConfig;
use crate::domain::canon::Canon;
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, NodeId};
use crate::domain::notice::Precedence;
use crate::identity::{Dialer, Line, Protocol, TrustRoots};
use crate::ledger::node_id;
use crate::notice::{LETTER_BYTES, SignedReceipt};
use crate::service::{PeerPost, Posted};
use crate::wire::fault_of;
use crate::wire::pb::peer;
use std::collections::BTreeMap;
use std::time::Duration;
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
    channels: BTreeMap<(NodeId, Precedence), Links>,
    roots: TrustRoots,
}

struct Links {
    agency: AgencyId,
    direct: Channel,
    relay: Channel,
}

type Client = peer::post_client::PostClient<Channel>;

impl PostOffice {
    pub(super) fn new(config: &NodeConfig, dialer: &Dialer, roots: TrustRoots) -> Result<PostOffice, Fault> {
        let mut channels = BTreeMap::new();
        for p in &config.peers {
            for precedence in Precedence::ALL {
                let protocol = Protocol::Letters(*precedence);
                let line = Line { protocol, connect: CONNECT, patience: Some(PATIENCE) };
                let dial = || dialer.channel(p.notices, &p.agency, &p.node, line);
                let links = Links { agency: p.agency.clone(), direct: dial()?, relay: dial()? };
                channels.insert((node_id(&p.agency, &p.node), *precedence), links);
            }
        }
        Ok(PostOffice { channels, roots })
    }

    /// Peers with the precedences of their connections.
    pub(super) fn paths(&self) -> Vec<(NodeId, Precedence)> {
        self.channels.keys().copied().collect()
    }

    /// Keeps a connection warm; whether it works.
    pub(super) async fn ping(&self, node: NodeId, precedence: Precedence) -> bool {
        let Ok(mut client) = self.client(node, precedence, |l| &l.direct) else { return false };
        matches!(tokio::time::timeout(PING, client.ping(peer::PingRequest {})).await, Ok(Ok(_)))
    }

    fn client(&self, node: NodeId, precedence: Precedence, which: fn(&Links) -> &Channel) -> Result<Client, String> {
        let links = self.channels.get(&(node, precedence)).filter(|l| self.roots.root_for(&l.agency).is_some());
        let links = links.ok_or_else(|| "it is not in this node's configuration, or suspended".to_owned())?;
        let most = 2 * LETTER_BYTES;
        let client = Client::new(which(links).clone());
        Ok(client.max_decoding_message_size(most).max_encoding_message_size(most))
    }
}

impl PeerPost for PostOffice {
    fn deliver(&self, node: NodeId, precedence: Precedence, letter: Vec<u8>) -> Posted<'_> {
        Box::pin(async move {
            let mut client = self.client(node, precedence, |l| &l.direct)?;
            read(tokio::time::timeout(DELIVER, client.deliver(peer::Letter { letter })).await)
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

fn read(answered: Answered) -> Result<Vec<SignedReceipt>, String> {
    let reply = answered.map_err(|_| "no answer in time".to_owned())?.map_err(|s| fault_of(&s).message)?;
    let receipts = reply.into_inner().receipts;
    receipts.iter().map(|r| SignedReceipt::from_canon(r).map_err(|e| e.to_string())).collect()
}
