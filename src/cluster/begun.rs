//! Whether this node has ever taken part: a mark beside the ledger's folder, so that an emptied folder is noticed.
//!
//! A voter that lost its votes could vote a second time in one term. Nobody else can see that, so it does not start.

use super::types::Raft;
use crate::journal::{Disk, Host, write_whole};
use std::path::Path;
use std::sync::Arc;

/// Why such a node does not start.
pub(super) const LOG_LOST: &str = "this node took part before and its ledger log is gone or older than that; it cannot \
    vote safely. Bring the folder back as it was; only if it never voted, remove `ledger.begun` beside it";

/// The mark.
pub(super) struct Begun {
    disk: Arc<dyn Disk>,
    name: String,
}

impl Begun {
    /// That of a ledger's folder; nothing is written yet.
    pub(super) fn of(host: &dyn Host, dir: &Path) -> Result<Begun, String> {
        let mark = dir.with_extension("begun");
        let name = mark.file_name().ok_or("the ledger's folder has no name")?.to_string_lossy().into_owned();
        let beside = mark.parent().ok_or("the ledger's folder is the root")?;
        Ok(Begun { disk: host.files(beside).map_err(|e| e.to_string())?, name })
    }

    /// Whether it is there.
    pub(super) fn is_set(&self) -> Result<bool, String> {
        let names = self.disk.list().map_err(|e| format!("cannot look for `{}`: {e}", self.name))?;
        Ok(names.contains(&self.name))
    }

    /// Sets it, durably.
    pub(super) fn set(&self) -> Result<(), String> {
        if self.is_set()? {
            return Ok(());
        }
        write_whole(self.disk.as_ref(), &self.name, &[]).map_err(|e| format!("cannot write `{}`: {e}", self.name))
    }

    /// Sets it once a vote is durable here.
    pub(super) async fn once_voted(self, raft: Raft) {
        let voted = raft.metrics().wait_for(|m| m.vote.leader_id.term > 0).await.is_ok();
        if voted && let Err(error) = self.set() {
            tracing::error!(%error, "that this node takes part could not be marked");
        }
    }
}
