//! The state of the cluster, with digests at one common index.

use super::core::Core;
use super::door::Caller;
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, NodeId};
use crate::domain::person::Role;
use crate::ledger::State;
use crate::policy::{Action, Resource};
use crate::vault::{Complaint, Owed};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

/// Where a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Last applied index.
    pub applied: u64,
    /// Index of `digest`.
    pub at: u64,
    /// State digest at `at`, if the node still has it.
    pub digest: Option<[u8; 32]>,
}

/// Asks a peer; `node` plugs the network in. None when it does not answer in time.
pub trait Positions: Send + Sync {
    /// `at` 0 asks for the newest.
    fn ask(&self, node: NodeId, at: u64) -> Pin<Box<dyn Future<Output = Option<Position>> + Send + '_>>;
}

/// One node in the view.
#[derive(Debug, Clone)]
pub struct NodeView {
    /// Agency.
    pub agency: AgencyId,
    /// Local id.
    pub local: String,
    /// voter, learner; joining or leaving while the voters change.
    pub role: &'static str,
    /// Its position, if it answered.
    pub position: Option<Position>,
}

/// The whole view.
#[derive(Debug, Clone)]
pub struct ClusterView {
    /// The leader's agency.
    pub leader: Option<AgencyId>,
    /// Term.
    pub term: u64,
    /// Committed index as known here.
    pub committed: u64,
    /// Nodes in the order of their agencies.
    pub nodes: Vec<NodeView>,
    /// The common index of the digests.
    pub digest_index: u64,
    /// What each origin owes this node.
    pub sync: BTreeMap<AgencyId, Owed>,
    /// What other agencies could not take of this one's records (P15).
    pub complaints: Vec<(AgencyId, Complaint)>,
    /// Whether the records of `sync` and `complaints` are left out: only those are told which these are who run the node
    /// or watch over it.
    pub withheld: bool,
    /// Why this node writes nothing to the ledger (P6).
    pub halted: Option<String>,
    /// The highest index whose state a majority of the voters signed (P7).
    pub certified: u64,
    /// Voters that signed two states for one index, each with the index (P7).
    pub double_words: Vec<String>,
}

/// What a node does by the ledger, and by the log as far as that is behind.
fn role(state: &State, id: NodeId) -> &'static str {
    let approved = state.voters().contains(&id);
    let votes = state.voters_by_the_log().iter().any(|set| set.contains(&id));
    match (approved, votes) {
        (true, true) => "voter",
        (true, false) => "joining",
        (false, true) => "leaving",
        (false, false) => "learner",
    }
}

impl Core {
    /// This node's position.
    pub fn position(&self, at: u64) -> Position {
        let applied = self.cluster.applied();
        let at = if at == 0 { applied } else { at };
        Position { applied, at, digest: self.cluster.digest_at(at) }
    }

    /// Leader, positions, and every reachable node's digest at the lowest index that they all applied.
    pub async fn cluster_view(&self, caller: &Caller) -> Result<ClusterView, Fault> {
        if let Some(fault) = self.decide(caller, Action::ClusterStatus, Resource::None, "", true).fault() {
            return Err(fault);
        }
        let state = self.state();
        let status = self.cluster.status();
        let ids: Vec<NodeId> = state.nodes().map(|(id, _)| *id).collect();
        let first = self.ask_all(&ids, 0).await;
        let common = first.iter().flatten().map(|p| p.applied).min().unwrap_or(0);
        let second = self.ask_all(&ids, common).await;
        let mut nodes: Vec<NodeView> = state
            .nodes()
            .zip(first.into_iter().zip(second))
            .map(|((id, n), (newest, compared))| NodeView {
                agency: n.agency.clone(),
                local: n.local.clone(),
                role: role(&state, *id),
                // A digest of another index compares with nothing.
                position: newest.map(|p| {
                    let digest = compared.filter(|c| c.at == common).and_then(|c| c.digest);
                    Position { applied: p.applied, at: common, digest }
                }),
            })
            .collect();
        nodes.sort_by(|a, b| (&a.agency, &a.local).cmp(&(&b.agency, &b.local)));
        // Which records are missing is for those who run the node or watch over it; how many, for everybody.
        let watches = |r: &Role| matches!(r, Role::SecurityOfficer | Role::Operator | Role::Inspector);
        let watches = caller.person().roles.iter().any(watches);
        let mut sync = self.vault.owed();
        if !watches {
            sync.values_mut().for_each(|o| {
                o.missing.clear();
                o.unopenable.clear();
                o.lost.clear();
            });
        }
        Ok(ClusterView {
            leader: status.leader.and_then(|id| state.node_agency(id)),
            term: status.term,
            committed: status.committed,
            nodes,
            digest_index: common,
            sync,
            complaints: if watches { self.complaints(&state) } else { Vec::new() },
            withheld: !watches,
            halted: self.cluster.halted(),
            certified: self.cluster.certified(),
            double_words: self.cluster.double_words(),
        })
    }

    /// Everybody at once: who is silent holds up no other.
    async fn ask_all(&self, ids: &[NodeId], at: u64) -> Vec<Option<Position>> {
        let ask = |id: NodeId| async move {
            if id == self.node { Some(self.position(at)) } else { self.positions.ask(id, at).await }
        };
        futures_util::future::join_all(ids.iter().map(|id| ask(*id))).await
    }
}
