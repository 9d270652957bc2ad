//! What openraft never gets to see (P6): messages that no honest member sends.

use super::certificate::Certificate;
use super::elections::{Elections, Grant};
use super::log::LogStore;
use super::machine::sets;
use super::types::{LogEntry, LogId, Membership, TypeConfig, Vote};
use crate::domain::ids::{AgencyId, NodeId};
use crate::ledger::{AgencyState, State};
use openraft::EntryPayload;
use openraft::raft::{AppendEntriesRequest, InstallSnapshotRequest, VoteRequest};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use thiserror::Error;

/// A term rises by at most this much in one message.
const TERM_LEAP: u64 = 1000;

/// Why a message was turned away.
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
    /// A leader without the grants of a majority.
    #[error("its sender does not show that it was elected")]
    NotElected,
    /// Entries that do not follow each other, or are newer than their sender.
    #[error("the entries are not in order")]
    Order,
    /// A membership among entries that do not follow this log: no fault, its sender goes back and asks again.
    #[error("the entries do not follow this log")]
    Gap,
    /// It would undo what was applied.
    #[error("it contradicts an applied entry at index {0}: evidence of a fork")]
    Rollback(u64),
    /// An entry larger than the ledger takes (P8).
    #[error("an entry is over the size that the ledger takes")]
    Size,
    /// Pieces of a snapshot that do not follow each other, or are too many.
    #[error("the pieces of a snapshot are not in order, or over the limit")]
    Pieces,
    /// A snapshot that is none, or is of another federation than this one.
    #[error("the snapshot is not one of this federation: {0}")]
    Snapshot(&'static str),
    /// It changes the membership to something that the ledger did not approve.
    #[error("the membership is not the one that the ledger approved")]
    Membership,
}

/// What the checks compare with.
pub(super) struct Door<'a> {
    pub(super) state: &'a State,
    pub(super) log: &'a LogStore,
    pub(super) applied: u64,
    /// The index up to which `state` is; it may be behind `applied` by what was applied just now.
    pub(super) at: u64,
    /// The last vote that this node made durable.
    pub(super) vote: Vote,
    pub(super) elections: &'a Elections,
}

impl Door<'_> {
    /// A vote, of whatever message: the sender is a voter, is the node in it, and does not leap.
    pub(super) fn vote(&self, sender: NodeId, vote: &Vote) -> Result<(), DoorError> {
        if !self.elections.may_lead(sender.0) {
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

    pub(super) fn append(
        &self,
        sender: NodeId,
        m: &AppendEntriesRequest<TypeConfig>,
        shown: &[Grant],
    ) -> Result<(), DoorError> {
        self.leader(sender, &m.vote)?;
        if self.is_deposed(&m.vote) {
            return Ok(());
        }
        self.elected(&m.vote, shown)?;
        in_order(m)?;
        let ids = m.prev_log_id.iter().copied().chain(m.entries.iter().map(|e| e.log_id));
        ids.into_iter().try_for_each(|id| self.keeps(id))?;
        if m.entries.iter().any(|e| matches!(&e.payload, EntryPayload::Normal(e) if !e.fits())) {
            return Err(DoorError::Size);
        }
        self.approved(m)
    }

    /// Whether the ledger approved every membership among entries that are new here: by its state just before that entry,
    /// which the entries in between make from the one that is applied. So it is the same for every node, and at every time.
    fn approved(&self, m: &AppendEntriesRequest<TypeConfig>) -> Result<(), DoorError> {
        // Nothing applied and the first entry applied look alike, so the log says whether that one is here.
        let begins = |id: LogId| id.index == 0 && self.applied == 0 && self.log.id_at(0).is_none();
        let is_new = |id: LogId| id.index > self.applied || begins(id);
        let of_members = |e: &&LogEntry| matches!(e.payload, EntryPayload::Membership(_)) && is_new(e.log_id);
        let Some(last) = m.entries.iter().rfind(of_members).map(|e| e.log_id.index) else { return Ok(()) };
        // openraft would not take it now, and must not when what is missing comes before it gets there.
        let here = |prev: LogId| prev.index <= self.at || self.log.id_at(prev.index) == Some(prev);
        if !m.prev_log_id.is_none_or(here) {
            return Err(DoorError::Gap);
        }
        let (from, first) = (self.at.saturating_add(1), m.entries.first().map_or(0, |e| e.log_id.index));
        let between = match first > from {
            true => self.log.run(from, first.saturating_sub(1)).ok_or(DoorError::Membership)?,
            false => Vec::new(),
        };
        let mut state = self.state.clone();
        let sent = m.entries.iter().filter(|e| e.log_id.index >= from || begins(e.log_id));
        for entry in between.iter().chain(sent).take_while(|e| e.log_id.index <= last) {
            match &entry.payload {
                EntryPayload::Membership(membership) => {
                    let sets = sets(membership);
                    if is_new(entry.log_id) && !is_approved(&state, membership, &sets) {
                        return Err(DoorError::Membership);
                    }
                    state.take_voters(sets);
                }
                EntryPayload::Normal(e) => {
                    for batch in &e.batches {
                        state.apply_batch(entry.log_id.index, batch);
                    }
                }
                EntryPayload::Blank => {}
            }
        }
        Ok(())
    }

    /// The commit position that openraft may believe: an entry that the message proves or this log holds. The sender's
    /// own word is compared by term first, so a later term would carry any index with it.
    pub(super) fn commit(&self, m: &AppendEntriesRequest<TypeConfig>) -> Option<LogId> {
        let claimed = m.leader_commit?;
        let last = m.entries.last().map(|e| e.log_id).or(m.prev_log_id)?;
        if claimed.index >= last.index {
            return Some(last);
        }
        let sent = m.entries.iter().map(|e| e.log_id).chain(m.prev_log_id).find(|id| id.index == claimed.index);
        sent.or_else(|| self.log.id_at(claimed.index))
    }

    pub(super) fn snapshot(
        &self,
        sender: NodeId,
        m: &InstallSnapshotRequest<TypeConfig>,
        (shown, certificate): (&[Grant], &Certificate),
    ) -> Result<(), DoorError> {
        self.leader(sender, &m.vote)?;
        if self.is_deposed(&m.vote) {
            return Ok(());
        }
        self.elected(&m.vote, shown)?;
        if Some(certificate.index) != m.meta.last_log_id.map(|id| id.index) || !self.elections.certifies(certificate) {
            return Err(DoorError::Snapshot("no majority of the voters certifies it"));
        }
        m.meta.last_log_id.map_or(Ok(()), |id| self.keeps(id))
    }

    /// The state of a whole snapshot: the one that is certified (P7), this federation's, with these voters or later ones,
    /// who are those of its membership, and every agency as it is known here.
    pub(super) fn snapshot_state(
        &self,
        state: &State,
        (membership, certificate): (&Membership, &Certificate),
    ) -> Result<(), DoorError> {
        if state.digest() != certificate.digest {
            return Err(DoorError::Snapshot("the majority certifies another state"));
        }
        if state.federation() != self.state.federation() || state.threshold() != self.state.threshold() {
            return Err(DoorError::Snapshot("its federation or threshold is another"));
        }
        if state.voters_by_the_log() != sets(membership) || !membership.nodes().all(|(n, _)| is_known(state, *n)) {
            return Err(DoorError::Snapshot("its voters are not those of its membership"));
        }
        if !state.members_may_follow(self.state) {
            return Err(DoorError::Snapshot("its voters or nodes are others"));
        }
        if !state.suites().may_follow(self.state.suites()) {
            return Err(DoorError::Snapshot("its suites are others"));
        }
        let same = |(id, own): (&AgencyId, &AgencyState)| state.agency(id).is_some_and(|theirs| theirs.may_follow(own));
        if self.state.agencies().all(same) { Ok(()) } else { Err(DoorError::Snapshot("an agency in it is another")) }
    }

    /// A leader that was replaced without its knowing: openraft turns it away before it looks at the entries, and what
    /// it sends is no fault of it.
    pub(super) fn is_deposed(&self, vote: &Vote) -> bool {
        !matches!(vote.partial_cmp(&self.vote), Some(Ordering::Greater | Ordering::Equal))
    }

    fn leader(&self, sender: NodeId, vote: &Vote) -> Result<(), DoorError> {
        self.vote(sender, vote)?;
        if vote.is_committed() { Ok(()) } else { Err(DoorError::VoteKind) }
    }

    fn elected(&self, vote: &Vote, shown: &[Grant]) -> Result<(), DoorError> {
        if self.elections.admits(vote, shown) { Ok(()) } else { Err(DoorError::NotElected) }
    }

    /// At or below the applied index an entry has the id that it has here.
    fn keeps(&self, id: LogId) -> Result<(), DoorError> {
        if id.index > self.applied {
            return Ok(());
        }
        // Of what is purged the last id is known: what comes before it is not of a later leader. What is neither live nor
        // purged came with a snapshot whose log is being cut at this moment: nothing here contradicts it.
        let same = match (self.log.id_at(id.index), self.log.purged()) {
            (Some(known), _) => known == id,
            (None, Some(purged)) if id.index == purged.index => purged == id,
            (None, Some(purged)) if id.index < purged.index => id.leader_id <= purged.leader_id,
            (None, _) => true,
        };
        if same { Ok(()) } else { Err(DoorError::Rollback(id.index)) }
    }
}

/// The ledger's voters, all of them and nobody else: a part of them would be a quorum of its own. Learners come and go one
/// by one, so a part of the other nodes is fine, and one that was removed is gone from the next membership.
fn is_approved(state: &State, m: &Membership, sets: &[BTreeSet<NodeId>]) -> bool {
    state.may_vote(sets) && m.nodes().all(|(n, _)| is_known(state, *n))
}

fn is_known(state: &State, node: u64) -> bool {
    state.signer(NodeId(node)).is_some()
}

/// A vote in the answer of `by`, as far as it may be believed: of a voter, never as that of an elected leader, and no leap. A node
/// that was alone for long is above the leap and must still be heard, so the term is cut and the answer taken. So must a voter
/// that gave its vote to a node of which it does not know yet that it was removed: it answers nobody of a lower term, and counts
/// as having voted for itself.
pub(super) fn answered_vote(vote: Vote, own: &Vote, by: u64, votes: impl Fn(u64) -> bool) -> Option<Vote> {
    if vote <= *own {
        return Some(vote);
    }
    let node = vote.leader_id.voted_for().filter(|n| votes(*n)).or_else(|| Some(by).filter(|n| votes(*n)))?;
    let most = own.leader_id.term.saturating_add(TERM_LEAP);
    Some(Vote::new(vote.leader_id.term.min(most), node))
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
