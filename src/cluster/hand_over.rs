//! Leadership given to another voter, for instance before its holder is stopped.
//!
//! This openraft has no transfer. So whoever leads writes nothing more, lets the one who is to follow catch up, and falls
//! silent; after a lease the voters are free, and the other is asked to stand for election before anybody else does. If it
//! does not win, the old leader goes on, or whoever wins instead: nothing that was written depends on it.

use super::certificate::step_back;
use super::codec;
use super::error::ClusterError;
use super::evidence::Evidence;
use super::group::Cluster;
use super::network::CallKind;
use super::types::Raft;
use crate::domain::ids::NodeId;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How long the one who is to follow may take to catch up, and to answer.
const CATCH_UP: Duration = Duration::from_secs(3);

/// Keeps a leader silent until it is dropped, however the hand-over ends.
struct Silence {
    raft: Raft,
    evidence: Arc<Evidence>,
}

impl Silence {
    fn of(raft: &Raft, evidence: &Arc<Evidence>) -> Silence {
        raft.runtime_config().heartbeat(false);
        raft.runtime_config().elect(false);
        Silence { raft: raft.clone(), evidence: Arc::clone(evidence) }
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        self.raft.runtime_config().heartbeat(true);
        self.raft.runtime_config().elect(true);
        // A node that writes nothing leads nobody. Looked at afterwards: evidence that comes just now makes it step back by
        // itself, and must not be undone here.
        if self.evidence.halted().is_some() {
            step_back(&self.raft);
        }
    }
}

impl Cluster {
    /// Gives leadership to another voter. Unavailable when this node does not lead, or the other did not win.
    pub async fn hand_over(&self, to: NodeId) -> Result<(), ClusterError> {
        let unavailable = |why: &str| ClusterError::Unavailable(format!(": {why}"));
        if to == self.node && self.status().leader == Some(to) {
            return Ok(());
        }
        // Nobody writes, and nobody asks the voters whether this node still leads: either would prolong the lease.
        let _turn = self.turn.lock().await;
        let _calm = self.calm.write().await;
        let mut metrics = self.raft.metrics();
        let now = metrics.borrow().clone();
        if now.current_leader != Some(self.node.0) {
            return Err(unavailable("this node does not lead"));
        }
        let votes =
            matches!(now.membership_config.membership().get_joint_config().as_slice(), [only] if only.contains(&to.0));
        if !votes {
            return Err(unavailable("it does not vote, or the voters are just changing"));
        }
        let has_all = |m: &openraft::RaftMetrics<u64, openraft::EmptyNode>| {
            let matched = m.replication.as_ref().and_then(|r| r.get(&to.0).copied().flatten());
            matched.map(|id| id.index) == m.last_log_index
        };
        let caught_up = timeout(CATCH_UP, metrics.wait_for(has_all)).await.is_ok_and(|waited| waited.is_ok());
        if !caught_up {
            return Err(unavailable("it lags behind"));
        }
        let silence = Silence::of(&self.raft, &self.evidence);
        // The lease is the longest election timeout, from the last message on; some may be under way.
        sleep(self.election + self.election / 8).await;
        let body = codec::message(|w| {
            w.u64(now.current_term);
        });
        let stands = self.calls.call(to.0, CallKind::Stand, body, CATCH_UP).await;
        stands.map_err(|e| ClusterError::Unavailable(format!(": {e}")))?;
        let won = timeout(self.election * 2, metrics.wait_for(|m| m.current_leader == Some(to.0))).await;
        drop(silence);
        if won.is_ok_and(|waited| waited.is_ok()) { Ok(()) } else { Err(unavailable("it was not elected")) }
    }

    /// Stands for election because the leader asked for it: nobody else may.
    pub(super) async fn stand(&self, sender: NodeId, term: u64) -> Result<Vec<u8>, ClusterError> {
        let now = self.raft.metrics().borrow().clone();
        if now.current_leader != Some(sender.0) || now.current_term != term {
            return Err(ClusterError::Door("only who leads asks somebody to stand for election".into()));
        }
        if let Some(why) = self.halted() {
            return Err(ClusterError::Halted(why));
        }
        self.raft.trigger().elect().await.map_err(|e| ClusterError::Fatal(e.to_string()))?;
        Ok(codec::message(|_| {}))
    }
}
