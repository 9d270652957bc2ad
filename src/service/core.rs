//! What every use case needs.

use super::bell::Bell;
use super::cluster::Positions;
use super::disk::DiskRoom;
use super::elsewhere::{Certificates, PeerNotices};
use super::folded::Folded;
use super::import::InProgress;
use super::inbox::Watching;
use super::letters::{Logged, Relayed};
use super::memory::MemoryRoom;
use super::once::Unheard;
use super::pushes::Pushes;
use super::settings::InForce;
use super::siblings::ToldOfPeople;
use crate::audit::{Anchors, AuditLog, ReceivedReports};
use crate::cluster::{Cluster, Committer};
use crate::domain::ids::{AgencyId, FederationId, NodeId, RecordId};
use crate::domain::time::{Clock, Entropy};
use crate::identity::{Authority, Directory};
use crate::ledger::{State, origin_mark};
use crate::notice::{Office, Quota};
use crate::policy::Engine;
use crate::seal::SigningKey;
use crate::search::Indexes;
use crate::vault::{Complaints, Vault};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// The rooms of one node, as `node` put them together.
pub struct Core {
    /// Own agency.
    pub agency: AgencyId,
    /// Federation.
    pub federation: FederationId,
    /// Own node.
    pub node: NodeId,
    /// Consensus.
    pub cluster: Arc<Cluster>,
    /// Signs and submits commands.
    pub committer: Committer,
    /// The agency's people.
    pub directory: Arc<Directory>,
    /// Policies.
    pub policy: Arc<Engine>,
    /// The audit log.
    pub audit: Arc<AuditLog>,
    /// What of it was anchored.
    pub anchors: Anchors,
    /// How many may read all of it at a time.
    pub scans: Semaphore,
    /// The signed genesis, as the file has it.
    pub genesis: Vec<u8>,
    /// What other holders reported of accesses to this agency's records.
    pub reports: ReceivedReports,
    /// What other nodes could not take of this agency's records.
    pub complaints: Complaints,
    /// The search indexes.
    pub indexes: Arc<Indexes>,
    /// Held records.
    pub vault: Arc<Vault>,
    /// Notices.
    pub office: Office,
    /// Who sent how much of which precedence.
    pub quota: Mutex<Quota>,
    /// Wakes people up.
    pub bell: Arc<dyn Bell>,
    /// What of the configuration may change while the node runs.
    pub settings: InForce,
    /// Room on the disk of the node's data.
    pub disk: DiskRoom,
    /// Memory of the node's process.
    pub memory: MemoryRoom,
    /// What is on its way to other nodes.
    pub pushes: Pushes,
    /// Who watches for notices.
    pub watching: Watching,
    /// What passed through this node as a relay.
    pub relayed: Relayed,
    /// Letters of which the audit log was told.
    pub logged: Logged,
    /// Signs people's certificates; only where the configuration names the authority's key.
    pub authority: Option<Authority>,
    /// Signs checkpoints.
    pub signer: SigningKey,
    /// Keys the pseudonyms of own people towards other agencies.
    pub pseudonym_key: [u8; 32],
    /// Asks peers where they are.
    pub positions: Arc<dyn Positions>,
    /// Asks other nodes of this agency for its people.
    pub elsewhere: Arc<dyn PeerNotices>,
    /// Says which certificates that its people showed at other nodes count here.
    pub certificates: Arc<dyn Certificates>,
    /// Nodes of this agency of which the audit log has that they were told of its people.
    pub told_of_people: ToldOfPeople,
    /// Refusals that somebody may cause at will.
    pub folded: Folded,
    /// Publishes and imports under way.
    pub in_progress: InProgress,
    /// Nodes of this agency that do not say what they have.
    pub unheard: Unheard,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Mutex<Box<dyn Entropy>>,
}

impl Core {
    /// The ledger as applied here.
    pub fn state(&self) -> Arc<State> {
        self.cluster.state()
    }

    /// A new record id of this agency.
    pub(super) fn new_record(&self) -> RecordId {
        let mark = origin_mark(&self.federation, &self.agency);
        let mut entropy = self.entropy.lock().unwrap_or_else(PoisonError::into_inner);
        RecordId::new(self.clock.now(), mark, entropy.as_mut())
    }

    /// Random bytes.
    pub(super) fn random<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        self.entropy.lock().unwrap_or_else(PoisonError::into_inner).fill(&mut out);
        out
    }
}
