//! What another node wants written: taken by who leads, in its agency's turn and within its budget (P8).

use super::batcher::Origin;
use super::codec;
use super::error::ClusterError;
use super::group::Cluster;
use super::types::Entry;
use crate::domain::ids::NodeId;
use crate::domain::limits;
use crate::journal::{Place, Waiting};
use crate::ledger::Worth;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::time::Instant;

/// A batch that tells little but a clock.
const CLOCK_BYTES: usize = 1 << 10;

/// Calls of one node that forward, at a time. An honest one has one, and those that it gave up.
const FORWARDS: usize = 8;

impl Cluster {
    /// A place for one call that forwards: whoever sends many leaves the others theirs.
    fn forwards(&self, sender: NodeId) -> Option<Place> {
        let mut all = self.forwarding.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(sender).or_insert_with(|| Waiting::new(FORWARDS)).take(1)
    }

    /// Batches that another node forwards to the leader; they join the leader's own queue. A node forwards what it
    /// signed itself: anything else would be room in the log for nothing.
    pub(super) async fn forwarded(&self, sender: NodeId, body: &[u8]) -> Result<Vec<u8>, ClusterError> {
        let (left_ms, batches) = codec::parse(body, |r| {
            Ok((r.u64()?, r.list(Entry::BATCHES, |r| r.bytes(limits::BATCH_BYTES + 128).map(<[u8]>::to_vec))?))
        })?;
        self.writable()?;
        let _place = self.forwards(sender).ok_or(ClusterError::Overloaded)?;
        let (state, applied) = (self.state(), self.applied());
        let worths: Vec<Worth> = batches.iter().map(|b| state.worth(b, sender, applied)).collect();
        if worths.contains(&Worth::Nothing) {
            return Err(ClusterError::Door("a forwarded batch is not its sender's own".into()));
        }
        let of = state.node_agency(sender);
        // What is over the budget would be refused when it is applied, and is no room in the log worth. A short one, by itself,
        // may tell its node's clock, by which the minute ends.
        let is_over = of.as_ref().is_some_and(|of| state.is_over_budget(of));
        if is_over && (batches.len() > 1 || batches.iter().any(|b| b.len() > CLOCK_BYTES)) {
            return Err(ClusterError::Budget);
        }
        let deadline = Instant::now() + Duration::from_millis(left_ms.min(60_000));
        let mut waiting = Vec::with_capacity(batches.len());
        for (batch, worth) in batches.into_iter().zip(worths) {
            waiting.push(match worth {
                Worth::Answer(reply) => Err(reply),
                Worth::Room | Worth::Nothing => {
                    Ok(self.batcher.push(batch, of.clone(), deadline, Origin::Forwarded)?)
                }
            });
        }
        let mut replies = Vec::with_capacity(waiting.len());
        for answer in waiting {
            replies.push(match answer {
                Err(known) => known,
                Ok(outcome) => {
                    outcome.await.map_err(|_| ClusterError::Unavailable(": the leader is stopping".into()))??
                }
            });
        }
        Ok(codec::message(|w| {
            w.list(replies.iter(), |w, r| {
                w.value(r);
            });
        }))
    }
}
