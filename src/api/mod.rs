//! gRPC: decode, call a service, encode. Nothing is decided here.
//!
//! Two listeners, two sets of services. People's calls carry a `VerifiedPeer` that is a person of the own
//! agency, and are bounded in number ([`Admitted`]); nodes' calls one that is a node, whose number and key must be those of the ledger.

mod admitted;
mod apart;
mod audit;
mod budget;
mod cluster;
mod decode;
mod federation;
mod homes;
mod many;
mod notices;
mod once;
mod peer;
mod persons;
mod pieces;
mod policy;
mod post;
mod proposals;
mod records;
mod siblings;
mod tally;
mod watch;

pub use admitted::{Admitted, Calls, Places, Until};
pub use apart::Apart;
pub use budget::{Budgeted, Shares};
pub use peer::{NodeGate, NodeServices};
pub use post::PostServices;
pub use tally::refused_calls;

use crate::domain::fault::{Fault, FaultKind};
use crate::identity::VerifiedPeer;
use crate::service::{Caller, Core};
use crate::vault::PeerVault;
use crate::wire::status_of;
use std::sync::Arc;
use tokio::runtime::Handle;
use tonic::{Request, Status};

/// The people's services of one node.
#[derive(Clone)]
pub struct People {
    core: Arc<Core>,
    peers: Arc<dyn PeerVault>,
    urgent: Handle,
}

impl People {
    /// Serves `core`; `peers` is where publishes are pushed to, `urgent` the threads of notices.
    pub fn new(core: Arc<Core>, peers: Arc<dyn PeerVault>, urgent: Handle) -> People {
        People { core, peers, urgent }
    }

    /// Who calls. A call without a finished handshake cannot come here; if it did, it is refused.
    fn caller<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        self.known(&request.extensions().get::<VerifiedPeer>().cloned())
    }

    /// The same of a peer whose call goes on.
    fn known(&self, peer: &Option<VerifiedPeer>) -> Result<Caller, Status> {
        let peer = peer.as_ref().ok_or_else(|| Status::unauthenticated("no certificate"))?;
        self.core.caller(peer).map_err(|f| {
            peer::tell_refused(Arc::clone(&self.core), peer.agency().clone(), "unknown-person");
            tally::count(f.kind);
            status_of(&f)
        })
    }
}

/// The one way out for errors: what failed inside is for the operator's log alone.
fn refuse(fault: Fault) -> Status {
    tally::count(fault.kind);
    if fault.kind == FaultKind::Internal {
        tracing::error!(reason = fault.reason, message = %fault.message, "a call failed inside");
        let told = "the node failed inside; its log says why, at this time";
        return status_of(&Fault::internal("INTERNAL", told));
    }
    status_of(&fault)
}
