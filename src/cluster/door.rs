//! What openraft never gets to see (P6): messages that no honest member sends.

use super::log::LogStore;
use super::types::{LogId, TypeConfig, Vote};
use crate::domain::ids::NodeId;
use crate::ledger::State;
use openraft::EntryPayload;
use openraft::raft::{AppendEntriesRequest, InstallSnapshotRequest};
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

    pub(super) fn append(&self, sender: NodeId, m: &AppendEntriesRequest<TypeConfig>) -> Result<(), DoorError> {
        self.vote(sender, &m.vote)?;
        let ids = m.prev_log_id.iter().copied().chain(m.entries.iter().map(|e| e.log_id));
        ids.into_iter().try_for_each(|id| self.keeps(id))?;
        for entry in &m.entries {
            if let EntryPayload::Membership(membership) = &entry.payload {
                let approved = self.state.voters();
                let known = |n: u64| self.state.node(NodeId(n)).is_some();
                let voters_approved = membership.voter_ids().all(|n| approved.contains(&NodeId(n)));
                if !voters_approved || !membership.nodes().all(|(n, _)| known(*n)) {
                    return Err(DoorError::Membership);
                }
            }
        }
        Ok(())
    }

    pub(super) fn snapshot(&self, sender: NodeId, m: &InstallSnapshotRequest<TypeConfig>) -> Result<(), DoorError> {
        self.vote(sender, &m.vote)?;
        m.meta.last_log_id.map_or(Ok(()), |id| self.keeps(id))
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
