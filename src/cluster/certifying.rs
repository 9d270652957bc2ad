//! Certificates that the ledger itself waits for (P7): while an act waits there, somebody brings one.
//!
//! Who leads does so at once. The others look on for a while first: a leader that brings none keeps nothing from taking force,
//! unless it keeps everything from the ledger.

use super::certificate::step_back;
use super::error::ClusterError;
use super::group::Cluster;
use crate::ledger::Command;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long the others look on.
const WITHHELD: Duration = Duration::from_secs(5);
/// How often they look at the latest.
const LOOK: Duration = Duration::from_millis(500);

impl Cluster {
    /// Waits until this node should bring the ledger a certificate, and gathers it: the command to propose. None when too few
    /// voters signed in time.
    ///
    /// # Errors
    /// Consensus that ended, or a disk that takes no evidence.
    pub async fn certificate_due(&self) -> Result<Option<Command>, ClusterError> {
        let mut applied = self.applied_watch();
        // The first that waits, and since when it is seen to.
        let mut oldest: Option<(u64, Instant)> = None;
        loop {
            // Marked as seen before it is looked at: what comes meanwhile is looked at next.
            let _seen = *applied.borrow_and_update();
            let (state, at) = self.published.moment();
            let first = state.waiting().next().map(|w| w.index);
            if let Some((index, first)) = state.certificate_wanted(at).zip(first) {
                let since = oldest.filter(|(of, _)| *of == first).map_or_else(Instant::now, |(_, since)| since);
                oldest = Some((first, since));
                let leads = self.raft.metrics().borrow().current_leader == Some(self.node.0);
                if (leads || since.elapsed() >= WITHHELD) && self.halted().is_none() {
                    let gathered = self.certifier.for_the_ledger(index).await;
                    // It may have shown that this node's state is another than the majority's.
                    if self.halted().is_some() {
                        step_back(&self.raft);
                    }
                    return gathered.map_err(|e| ClusterError::Fatal(e.to_string()));
                }
                // Who leads may change without an entry.
                let looked = timeout(LOOK, applied.changed()).await;
                if matches!(looked, Ok(Err(_))) {
                    return Err(ended());
                }
            } else {
                applied.changed().await.map_err(|_| ended())?;
            }
        }
    }
}

fn ended() -> ClusterError {
    ClusterError::Fatal("it ended".into())
}
