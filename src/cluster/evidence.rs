//! What a member sent that no honest member sends, kept as it came (P6).
//!
//! A message that would undo what was applied proves a fault: of its sender, or of this node's own log. Either way
//! this node puts nothing on the ledger any more, until people have looked: the evidence outlives a restart, and
//! writing goes on only after somebody moved the folder away.

use super::network::CallKind;
use crate::domain::canon::{Canon, CanonError, Reader, Writer};
use crate::domain::ids::NodeId;
use crate::domain::limits;
use crate::journal::{Host, Journal, JournalError, JournalOptions, Recovery};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

const DOMAIN: &str = "hufu.evidence";
const VERSION: u16 = 1;
/// More of the same proves no more; a sender must not fill the disk with it.
const MOST: u64 = 64;

#[derive(Default)]
struct Seen {
    kept: u64,
    first: Option<String>,
    untold: Vec<(NodeId, String)>,
    /// Whether a certificate is among it.
    diverged: bool,
}

/// The evidence of one node.
pub(super) struct Evidence {
    journal: Journal,
    seen: Mutex<Seen>,
}

impl Evidence {
    /// Opens what was kept before.
    pub(super) fn open(host: &dyn Host, dir: &Path) -> Result<Evidence, String> {
        Evidence::over(Journal::open(host, dir, options()).map_err(|e| e.to_string())?)
    }

    pub(super) fn over((journal, recovery): (Journal, Recovery)) -> Result<Evidence, String> {
        let kept = recovery.next_seq.saturating_sub(recovery.first_seq);
        let (mut first, mut diverged) = (None, false);
        for seq in recovery.first_seq..recovery.next_seq {
            for (_, frame) in journal.read(seq, 1, 1 << 20).map_err(|e| e.to_string())? {
                let (what, kind) = words(&frame).map_err(|e| e.to_string())?;
                first.get_or_insert(what);
                diverged |= kind == CallKind::Certificate.code();
            }
        }
        Ok(Evidence { journal, seen: Mutex::new(Seen { kept, first, untold: Vec::new(), diverged }) })
    }

    /// Keeps a message; durable when it answers. From its call on nothing is written to the ledger, kept or not.
    pub(super) async fn keep(
        &self,
        sender: NodeId,
        kind: CallKind,
        why: &str,
        message: &[u8],
    ) -> Result<(), JournalError> {
        let what = format!("{sender}: {why}");
        let full = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.first.get_or_insert(what.clone());
            seen.diverged |= kind == CallKind::Certificate;
            let full = seen.kept >= MOST;
            if !full {
                seen.kept += 1;
                seen.untold.push((sender, why.to_owned()));
            }
            full
        };
        if full {
            return Ok(());
        }
        let frame = Writer::new(DOMAIN, VERSION).str(&what).value(&sender).u32(kind.code()).bytes(message).finish();
        self.journal.append(vec![frame]).await.map(|_| ())
    }

    /// Whether the majority certified another state than this node has.
    pub(super) fn has_diverged(&self) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).diverged
    }

    /// Why nothing is written any more; none while all is well.
    pub(super) fn halted(&self) -> Option<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).first.clone()
    }

    /// What was kept since the last call: sender and reason.
    pub(super) fn take(&self) -> Vec<(NodeId, String)> {
        std::mem::take(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner).untold)
    }
}

/// A frame holds a whole message of a peer with what came with it.
fn options() -> JournalOptions {
    JournalOptions { max_frame_bytes: limits::PEER_MESSAGE_BYTES + 2_048, ..JournalOptions::default() }
}

fn words(frame: &[u8]) -> Result<(String, u32), CanonError> {
    let mut r = Reader::new(frame, DOMAIN, VERSION)?;
    let what = r.str(1024)?.to_owned();
    NodeId::read(&mut r)?;
    let kind = r.u32()?;
    r.bytes(limits::PEER_MESSAGE_BYTES)?;
    r.finish()?;
    Ok((what, kind))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use crate::journal::System;

    #[tokio::test]
    async fn the_largest_message_is_kept_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let message = vec![7; limits::PEER_MESSAGE_BYTES];
        Evidence::open(&System, dir.path())
            .unwrap()
            .keep(NodeId(7), CallKind::Snapshot, "rollback", &message)
            .await
            .unwrap();
        assert!(Evidence::open(&System, dir.path()).unwrap().halted().is_some());
    }

    #[tokio::test]
    async fn evidence_halts_and_outlives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        {
            let evidence = Evidence::open(&System, dir.path()).unwrap();
            assert_eq!(evidence.halted(), None);
            for n in 0..MOST + 9 {
                evidence.keep(NodeId(7), CallKind::Append, &format!("rollback {n}"), b"message").await.unwrap();
            }
            assert_eq!(evidence.take().len() as u64, MOST, "a sender does not fill the disk");
            assert!(evidence.take().is_empty(), "told once");
        }
        let evidence = Evidence::open(&System, dir.path()).unwrap();
        assert_eq!(evidence.halted().unwrap(), format!("{}: rollback 0", NodeId(7)));
        assert!(evidence.take().is_empty());
    }
}
