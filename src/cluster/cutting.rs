//! A log of large entries is cut by their bytes. openraft counts entries only: twenty thousand of the largest would be 5 GB.
//!
//! Each node does so for its own log, and asks for what openraft does by itself: a snapshot, which counts only when it is
//! certified, and then a purge of what lies before that.

use super::log::Gauge;
use super::types::Raft;
use std::time::Duration;
use tokio::time::sleep;

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// What stays before a snapshot has one part in so many of the bytes at which it is made.
const KEPT: u64 = 4;

/// Cuts the log as long as consensus runs, at so many bytes of applied entries behind the last snapshot.
pub(super) async fn cut_by_bytes(raft: Raft, gauge: Gauge, bytes: u64) {
    let mut metrics = raft.metrics();
    while metrics.changed().await.is_ok() {
        let (snapshot, applied) = {
            let now = metrics.borrow_and_update();
            (now.snapshot.map(|id| id.index), now.last_applied.map(|id| id.index))
        };
        let mut told = Ok(());
        // Ignored while one is being built.
        if applied.is_some_and(|applied| gauge.bytes(snapshot, applied) >= bytes) {
            told = raft.trigger().snapshot().await;
        }
        let surplus = snapshot.and_then(|index| gauge.surplus(index, bytes / KEPT));
        if let Some(upto) = surplus.filter(|_| told.is_ok()) {
            told = raft.trigger().purge_log(upto).await;
        }
        if let Err(error) = told {
            tracing::debug!(%error, "consensus ended; the log is not cut any more");
            return;
        }
        sleep(LOOK).await;
    }
}
