//! What openraft never gets to see (P6): messages that no honest member sends.

use super::log::LogStore;
use super::types::{LogId, Membership, TypeConfig, Vote};
use crate::domain::ids::NodeId;
use crate::ledger::State;
use openraft::EntryPayload;
use openraft::raft::{AppendEntriesRequest, InstallSnapshotRequest, VoteRequest};
use std::collections::BTreeSet;
use thiserror::Error;

/// A term rises by at most this much in one message.
const TERM_LEAP: u64 = 1000;

/// Why a message was turned away. Those with `evidence` prove a fault of the sender.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum DoorError {
    /// Not a voter.
    #[error("the sender is not a voter")]
    NotVoter,
    /// It speaks for another node.
    #[error("the vote names another node than the sender's certificate")]
    NotSender,
    /// Term out of all proportion.
    #[error("the term rises by more than 1000")]
    TermLeap,
    /// A request for votes with a granted vote, or entries without one.
    #[error("the vote does not fit the kind of message")]
    VoteKind,
    /// Entries that do not follow each other, or are newer than their sender.
    #[error("the entries are not in order")]
    Order,
    /// It would undo what was applied.
    #[error("it contradicts an applied entry at index {0}: evidence against the sender")]
    Rollback(u64),
    /// It changes the membership to something that the ledger did not approve.
    #[error("the membership is not the one that the ledger approved")]
    Membership,
}

/// What the checks compare with.
pub(super) struct Door<'a> {
    pub(super) state: &'a State,
    pub(super) log: &'a LogStore,
    pub(super) applied: u64,
    pub(super) vote: Vote,
}

impl Door<'_> {
    /// A vote, of whatever message: the sender is a voter, is the node in it, and does not leap.
    pub(super) fn vote(&self, sender: NodeId, vote: &Vote) -> Result<(), DoorError> {
        if !self.state.voters().contains(&sender) {
            return Err(DoorError::NotVoter);
        }
        if vote.leader_id.voted_for() != Some(sender.0) {
            return Err(DoorError::NotSender);
        }
        if vote.leader_id.term > self.vote.leader_id.term.saturating_add(TERM_LEAP) {
            return Err(DoorError::TermLeap);
        }
        Ok(())
    }

    /// Only a leader's vote is granted; one who asks for votes has none yet.
    pub(super) fn request(&self, sender: NodeId, m: &VoteRequest<u64>) -> Result<(), DoorError> {
        if m.vote.is_committed() {
            return Err(DoorError::VoteKind);
        }
        self.vote(sender, &m.vote)
    }

    pub(super) fn append(&self, sender: NodeId, m: &AppendEntriesRequest<TypeConfig>) -> Result<(), DoorError> {
        self.leader(sender, &m.vote)?;
        in_order(m)?;
        let ids = m.prev_log_id.iter().copied().chain(m.entries.iter().map(|e| e.log_id));
        ids.into_iter().try_for_each(|id| self.keeps(id))?;
        for entry in &m.entries {
            if let EntryPayload::Membership(membership) = &entry.payload {
                self.approved(membership)?;
            }
        }
        Ok(())
    }

    pub(super) fn snapshot(&self, sender: NodeId, m: &InstallSnapshotRequest<TypeConfig>) -> Result<(), DoorError> {
        self.leader(sender, &m.vote)?;
        self.approved(m.meta.last_membership.membership())?;
        m.meta.last_log_id.map_or(Ok(()), |id| self.keeps(id))
    }

    fn leader(&self, sender: NodeId, vote: &Vote) -> Result<(), DoorError> {
        self.vote(sender, vote)?;
        if vote.is_committed() { Ok(()) } else { Err(DoorError::VoteKind) }
    }

    /// The ledger's voters, all of them and nobody else: a part of them would be a quorum of its own. Learners come
    /// one by one, so a part of the other nodes is fine.
    fn approved(&self, m: &Membership) -> Result<(), DoorError> {
        let voters: BTreeSet<u64> = self.state.voters().iter().map(|n| n.0).collect();
        let configs = m.get_joint_config();
        let exact = !configs.is_empty() && configs.iter().all(|c| *c == voters);
        let known = m.nodes().all(|(n, _)| self.state.node(NodeId(*n)).is_some());
        if exact && known { Ok(()) } else { Err(DoorError::Membership) }
    }

    /// At or below the applied index an entry has the id that it has here.
    fn keeps(&self, id: LogId) -> Result<(), DoorError> {
        if id.index > self.applied {
            return Ok(());
        }
        match self.log.id_at(id.index) {
            Some(known) if known != id => Err(DoorError::Rollback(id.index)),
            _ => Ok(()),
        }
    }
}

/// Each entry follows the one before, and none is of a later leader than the one who sends it: openraft only asserts
/// this in debug builds.
fn in_order(m: &AppendEntriesRequest<TypeConfig>) -> Result<(), DoorError> {
    let mut last = m.prev_log_id;
    for id in m.entries.iter().map(|e| e.log_id) {
        let next = last.map_or(0, |l| l.index.saturating_add(1));
        let older = last.is_some_and(|l| id.leader_id < l.leader_id);
        if id.index != next || older || id.leader_id > m.vote.leader_id {
            return Err(DoorError::Order);
        }
        last = Some(id);
    }
    Ok(())
}
