//! What another node of the agency answers this node's people: notices have a home (`homes`), what was sent or proposed lies
//! where that was done, and the agency's people sit at any node. The node that has it decides, discloses and writes its own
//! audit log, for the person; here it is only passed through.

use super::core::Core;
use super::door::Caller;
use crate::domain::fault::Fault;
use crate::domain::ids::NodeId;
use crate::domain::time::Millis;
use crate::identity::AgencyVerifier;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// What a person asks: which call, and its request and reply in bytes that `api` reads.
pub struct Asked {
    /// Name in the directory.
    pub name: String,
    /// Key in the directory.
    pub public_key: [u8; 32],
    /// The certificate that they showed here.
    pub certificate: Vec<u8>,
    /// Which call.
    pub call: u32,
    /// Its request.
    pub request: Vec<u8>,
    /// How long the other node may take for it, besides what an answer takes at once.
    pub patience: Duration,
}

/// Whom another node of the agency says that it shook hands with.
#[derive(Clone, Copy)]
pub struct Vouched<'a> {
    /// Name in its directory.
    pub name: &'a str,
    /// Key in its directory.
    pub public_key: &'a [u8],
    /// The certificate that it was shown, DER.
    pub certificate: &'a [u8],
    /// That node's local id.
    pub via: &'a str,
}

/// Whether certificates of the agency's people count at this node: by the roots and the revocation lists that are in force for
/// its own handshakes.
pub trait Certificates: Send + Sync {
    /// Whether a handshake with this certificate would be taken now, as that of this person with this key.
    ///
    /// # Errors
    /// Why not, for the node's log.
    fn taken(&self, certificate: &[u8], person: (&str, &[u8; 32]), now: Millis) -> Result<(), String>;
}

impl Certificates for AgencyVerifier {
    fn taken(&self, certificate: &[u8], person: (&str, &[u8; 32]), now: Millis) -> Result<(), String> {
        self.check_person(certificate, person, now).map_err(|e| e.to_string())
    }
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
        let (name, public_key, certificate) = (person.name.clone(), person.public_key, caller.certificate().to_vec());
        self.elsewhere.notices(node, Asked { name, public_key, certificate, call, request, patience }).await
    }
}
