//! What another node of the agency answers this node's people: notices have a home (`homes`), what was sent or proposed lies
//! where that was done, and the agency's people sit at any node. The node that has it decides, discloses and writes its own
//! audit log, for the person; here it is only passed through.

use super::core::Core;
use super::door::Caller;
use crate::domain::fault::Fault;
use crate::domain::ids::NodeId;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// What a person asks: which call, and its request and reply in bytes that `api` reads.
pub struct Asked {
    /// Name in the directory.
    pub name: String,
    /// Key in the directory.
    pub public_key: [u8; 32],
    /// Which call.
    pub call: u32,
    /// Its request.
    pub request: Vec<u8>,
    /// How long the other node may take for it, besides what an answer takes at once.
    pub patience: Duration,
}

/// A reply, or why there is none.
pub type Reply<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, Fault>> + Send + 'a>>;

/// Asks another node of the agency for a person; `node` plugs the network in.
pub trait PeerNotices: Send + Sync {
    /// Its reply; a fault of the other node, or that it does not answer.
    fn notices(&self, node: NodeId, asked: Asked) -> Reply<'_>;
}

impl Core {
    /// The other nodes of this agency, each with its local id.
    pub fn siblings(&self) -> Vec<(NodeId, String)> {
        let state = self.state();
        let others = state.nodes().filter(|(id, n)| n.agency == self.agency && **id != self.node);
        others.map(|(id, n)| (*id, n.local.clone())).collect()
    }

    /// Asks another node of this agency for somebody.
    ///
    /// # Errors
    /// That node's, or that it does not answer.
    pub async fn ask_elsewhere(
        &self,
        caller: &Caller,
        node: NodeId,
        (call, request): (u32, Vec<u8>),
        patience: Duration,
    ) -> Result<Vec<u8>, Fault> {
        let person = caller.person();
        let (name, public_key) = (person.name.clone(), person.public_key);
        self.elsewhere.notices(node, Asked { name, public_key, call, request, patience }).await
    }
}
