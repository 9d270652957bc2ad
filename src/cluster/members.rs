//! Brings those who take part by the log to those who do by the ledger. Whoever leads does it, step by step, and begins
//! where another left off: each step is looked for anew in what both say.
//!
//! A membership is approved by the state just before its entry ([`super::door`]). So the leader writes nothing else
//! meanwhile, and begins when all that is in its log is applied: what it looked at is that state.
//!
//! Whoever is to vote is a learner first, and has caught up with the log: a set whose majority lags would stand still. A
//! change goes through both sets together (joint consensus); one that was taken back amid it goes back to the old set.

use super::machine::{Published, sets};
use super::types::{Membership, Raft};
use crate::domain::ids::NodeId;
use crate::ledger::State;
use openraft::{ChangeMembers, EmptyNode};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Entries that whoever is to vote may be behind.
const BEHIND: u64 = 256;
/// How often is looked again while something is left to do.
const AGAIN: Duration = Duration::from_millis(200);
/// How long a step may hold up everything else that is to be written.
const STEP: Duration = Duration::from_secs(5);

/// Held by whoever writes to the log as leader.
pub(super) type Turn = Arc<tokio::sync::Mutex<()>>;

/// One entry of the log, or two for a change of the voters.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// A node follows from now on.
    Learn(NodeId),
    /// These vote from now on.
    Vote(BTreeSet<NodeId>),
    /// These are fed no more.
    Forget(BTreeSet<NodeId>),
}

/// What is to be done next, and whether anything is left that cannot be done yet.
fn next(state: &State, m: &Membership, has_caught_up: impl Fn(NodeId) -> bool) -> (Option<Step>, bool) {
    let fed: BTreeSet<NodeId> = m.nodes().map(|(id, _)| NodeId(*id)).collect();
    if let Some((id, _)) = state.nodes().find(|(id, _)| !fed.contains(id)) {
        return (Some(Step::Learn(*id)), true);
    }
    let (by_the_log, approved) = (sets(m), state.voters());
    let voters = match by_the_log.as_slice() {
        [only] if *only == approved => None,
        [only] => {
            if !approved.difference(only).all(|id| has_caught_up(*id)) {
                return (None, true);
            }
            Some(approved)
        }
        [_, _] if by_the_log.contains(&approved) => Some(approved),
        [old, _] => Some(old.clone()),
        // Nobody formed the group yet.
        _ => return (None, false),
    };
    if let Some(voters) = voters {
        return (Some(Step::Vote(voters)), true);
    }
    let gone: BTreeSet<NodeId> = fed.into_iter().filter(|id| state.node(*id).is_none()).collect();
    let step = (!gone.is_empty()).then_some(Step::Forget(gone));
    let left = step.is_some();
    (step, left)
}

/// Whether nothing is to be done: what nearly every look finds, and finds without a copy of anything.
fn is_in_line(state: &State, m: &Membership) -> bool {
    let same = |votes: &BTreeSet<u64>, by_the_ledger: &BTreeSet<NodeId>| {
        votes.len() == by_the_ledger.len() && by_the_ledger.iter().all(|id| votes.contains(&id.0))
    };
    // Settled: the one set is the approved one.
    let votes = match (m.get_joint_config().as_slice(), state.voters_by_the_log()) {
        ([one], [by_the_ledger]) => state.voters_are_settled() && same(one, by_the_ledger),
        _ => false,
    };
    votes && m.nodes().count() == state.nodes().count() && state.nodes().all(|(id, _)| m.get_node(&id.0).is_some())
}

/// The task.
pub(super) struct Members {
    pub(super) node: NodeId,
    pub(super) raft: Raft,
    pub(super) published: Arc<Published>,
    pub(super) turn: Turn,
}

impl Members {
    /// Looks whenever something was applied, or somebody else leads, as long as the node runs.
    pub(super) async fn run(self) {
        let (mut applied, mut metrics) = (self.published.applied(), self.raft.metrics());
        loop {
            // Marked as seen before it is looked at: what comes meanwhile is looked at next.
            let _seen = *applied.borrow_and_update();
            let leads = metrics.borrow_and_update().current_leader == Some(self.node.0);
            let (step, left) = if leads { self.look() } else { (None, false) };
            if step.is_some()
                && let Err(why) = self.take().await
            {
                tracing::warn!(%why, "the members cannot be brought in line yet; it is tried again");
                sleep(AGAIN).await;
            }
            let more = async {
                if left {
                    sleep(AGAIN).await;
                } else {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                biased;
                changed = applied.changed() => if changed.is_err() { return },
                changed = metrics.changed() => if changed.is_err() { return },
                () = more => {}
            }
        }
    }

    /// What is to be done by what is applied here now.
    fn look(&self) -> (Option<Step>, bool) {
        let (state, metrics) = (self.published.state(), self.raft.metrics());
        if is_in_line(&state, metrics.borrow().membership_config.membership()) {
            return (None, false);
        }
        let metrics = metrics.borrow().clone();
        let last = metrics.last_log_index.unwrap_or_default();
        let has_caught_up = |id: NodeId| {
            let matched = metrics.replication.as_ref().and_then(|r| r.get(&id.0).copied().flatten());
            id == self.node || matched.is_some_and(|at| at.index.saturating_add(BEHIND) >= last)
        };
        next(&state, metrics.membership_config.membership(), has_caught_up)
    }

    /// Takes one step, while nobody else writes.
    async fn take(&self) -> Result<(), String> {
        let _turn = self.turn.lock().await;
        let quiet = |m: &openraft::RaftMetrics<u64, EmptyNode>| m.last_applied.map(|id| id.index) == m.last_log_index;
        let mut metrics = self.raft.metrics();
        let waited = timeout(STEP, metrics.wait_for(quiet)).await.map_err(|_| "the log is not applied in time")?;
        let last = waited.map_err(|e| e.to_string())?.last_log_index.unwrap_or_default();
        let mut applied = self.published.applied();
        let shown = timeout(STEP, applied.wait_for(|at| *at >= last)).await.map_err(|_| "the state lags behind")?;
        drop(shown.map_err(|e| e.to_string())?);
        let (Some(step), _) = self.look() else { return Ok(()) };
        tracing::info!(?step, "the members of the log follow the ledger");
        let ids = |nodes: &BTreeSet<NodeId>| nodes.iter().map(|n| n.0).collect::<BTreeSet<u64>>();
        let written = async {
            match &step {
                Step::Learn(id) => self.raft.add_learner(id.0, EmptyNode::new(), false).await,
                // Whoever votes no more goes on as a learner, until its node is removed.
                Step::Vote(voters) => self.raft.change_membership(ids(voters), true).await,
                Step::Forget(gone) => self.raft.change_membership(ChangeMembers::RemoveNodes(ids(gone)), true).await,
            }
        };
        match timeout(STEP, written).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(e)) => Err(e.to_string()),
            Err(_) => Err("no quorum took it in time".to_owned()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use crate::ledger::fixture::{approve, federation};

    fn members(sets: &[&[NodeId]], learners: &[NodeId]) -> Membership {
        let ids = |set: &[NodeId]| set.iter().map(|n| n.0).collect::<BTreeSet<u64>>();
        let nodes: BTreeSet<u64> = ids(learners).into_iter().chain(sets.iter().flat_map(|s| ids(s))).collect();
        Membership::new(sets.iter().map(|set| ids(set)).collect(), nodes)
    }

    #[test]
    fn each_step_is_looked_for_anew() {
        let f = federation();
        let (police, customs, third) = (f.police.node, f.customs.node, f.third.node);
        let founded = State::genesis(&f.genesis).unwrap();
        let (two, all) = ([police, customs], [police, customs, third]);
        let step = |s: &State, m: &Membership, ready: bool| {
            let found = next(s, m, |_| ready);
            assert!(!is_in_line(s, m) || found == (None, false), "the short look passes nothing over: {found:?}");
            found
        };
        assert_eq!(step(&founded, &members(&[&two], &[]), true), (Some(Step::Learn(third)), true));
        assert_eq!(step(&founded, &members(&[&two], &[third]), true), (None, false));
        let more = approve(&f, &founded, &[&f.police, &f.customs, &f.third]);
        let vote = |of: &[NodeId]| (Some(Step::Vote(of.iter().copied().collect())), true);
        // Whoever lags is waited for; a leader that comes amid a change ends it.
        assert_eq!(step(&more, &members(&[&two], &[third]), false), (None, true));
        assert_eq!(step(&more, &members(&[&two], &[third]), true), vote(&all));
        assert_eq!(step(&more, &members(&[&two, &all], &[]), false), vote(&all));
        assert_eq!(step(&more, &members(&[&all], &[]), true), (None, false));
        // Taken back amid the change, and the next one approved before it ended: first to the old set alone.
        assert_eq!(step(&founded, &members(&[&two, &all], &[]), true), vote(&two));
        let mut settled = more.clone();
        settled.take_voters(vec![all.into()]);
        let other = approve(&f, &settled, &[&f.police, &f.third]);
        assert_eq!(step(&other, &members(&[&two, &all], &[]), true), vote(&two));
    }

    #[test]
    fn what_is_in_line_is_seen_at_once() {
        let f = federation();
        let (police, customs, third) = (f.police.node, f.customs.node, f.third.node);
        let founded = State::genesis(&f.genesis).unwrap();
        let (two, all) = ([police, customs], [police, customs, third]);
        let good = members(&[&two], &[third]);
        assert!(is_in_line(&founded, &good));
        for bad in [
            members(&[&two], &[]),
            members(&[&two], &[NodeId(7)]),
            members(&[&two], &[third, NodeId(7)]),
            members(&[&all], &[]),
            members(&[&[police, third]], &[customs]),
            members(&[&two, &all], &[]),
        ] {
            assert!(!is_in_line(&founded, &bad), "{bad:?}");
        }
        let approved = approve(&f, &founded, &[&f.police, &f.customs, &f.third]);
        assert!(!is_in_line(&approved, &good) && !is_in_line(&approved, &members(&[&all], &[])), "not applied yet");
        let mut settled = approved.clone();
        settled.take_voters(vec![all.into()]);
        assert!(is_in_line(&settled, &members(&[&all], &[])));
    }

    #[test]
    fn whoever_was_removed_is_fed_no_more() {
        let f = federation();
        let (police, customs, third) = (f.police.node, f.customs.node, f.third.node);
        let founded = State::genesis(&f.genesis).unwrap();
        let stranger = NodeId(7);
        let m = members(&[&[police, customs]], &[third, stranger]);
        assert_eq!(next(&founded, &m, |_| true), (Some(Step::Forget([stranger].into())), true));
    }
}
