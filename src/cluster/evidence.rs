//! What a member sent that no honest member sends, kept as it came (P6, P7).
//!
//! A message that would undo what was applied proves a fault: of its sender, or of this node's own log. So does a
//! certificate of another state than this node has. Either way this node puts nothing on the ledger any more, until people
//! have looked: the evidence outlives a restart, and writing goes on only after somebody moved the folder away.
//!
//! Two words of one voter on one index that differ prove a fault of that voter and none of this node, which goes on writing.
//! So do two batches of one node under one number: the second is kept, and the ledger has the digest of the first.
//!
//! Each kind has places of its own, so that none is crowded out: 64 messages, the first certificate, which says all
//! that a second one would, one pair for each voter, and one batch for each node.

use super::network::CallKind;
use crate::domain::canon::{Canon, CanonError, Reader, Writer};
use crate::domain::ids::NodeId;
use crate::domain::limits;
use crate::journal::{Host, Journal, JournalError, JournalOptions, Recovery};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

const DOMAIN: &str = "hufu.evidence";
const VERSION: u16 = 1;
/// More of the same proves no more; a sender must not fill the disk with it.
const MOST: u64 = 64;

/// What was kept, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Who sent it, or signed it.
    pub sender: NodeId,
    /// What it would have done, or proves.
    pub why: String,
    /// What the audit log calls it.
    pub rule: &'static str,
    /// Whether this node writes nothing to the ledger from now on.
    pub closes: bool,
}

#[derive(Default)]
struct Seen {
    /// Messages that are no certificate.
    kept: u64,
    first: Option<String>,
    untold: Vec<Finding>,
    /// Whether a certificate is among it.
    diverged: bool,
    /// What voters signed twice.
    doubles: BTreeMap<NodeId, String>,
    /// Who signed two batches under one number.
    doubled: BTreeSet<NodeId>,
}

impl Seen {
    fn find(&mut self, (what, sender, kind): (String, NodeId, u32)) {
        if kind == CallKind::Attest.code() {
            self.doubles.insert(sender, what);
            return;
        }
        if kind == CallKind::Forward.code() {
            self.doubled.insert(sender);
            return;
        }
        self.first.get_or_insert(what);
        if kind == CallKind::Certificate.code() {
            self.diverged = true;
        } else {
            self.kept += 1;
        }
    }
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
        let mut seen = Seen::default();
        for seq in recovery.first_seq..recovery.next_seq {
            for (_, frame) in journal.read(seq, 1, 1 << 20).map_err(|e| e.to_string())? {
                seen.find(words(&frame).map_err(|e| e.to_string())?);
            }
        }
        Ok(Evidence { journal, seen: Mutex::new(seen) })
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
        {
            let mut seen = self.seen();
            let full = if kind == CallKind::Certificate { seen.diverged } else { seen.kept >= MOST };
            seen.first.get_or_insert(what.clone());
            if full {
                return Ok(());
            }
            seen.find((what.clone(), sender, kind.code()));
            seen.untold.push(Finding { sender, why: why.to_owned(), rule: "door-rollback", closes: true });
        }
        self.append(&what, sender, kind, message).await
    }

    /// Keeps two words of one voter on one index that differ, the first such pair of it.
    pub(super) async fn keep_double(&self, voter: NodeId, why: &str, pair: &[u8]) -> Result<(), JournalError> {
        let what = format!("{voter}: {why}");
        {
            let mut seen = self.seen();
            if seen.doubles.contains_key(&voter) {
                return Ok(());
            }
            seen.find((what.clone(), voter, CallKind::Attest.code()));
            let (why, rule) = (why.to_owned(), "double-attestation");
            seen.untold.push(Finding { sender: voter, why, rule, closes: false });
        }
        self.append(&what, voter, CallKind::Attest, pair).await
    }

    /// Keeps a batch that a node signed under another one's number, the first such of it.
    pub(super) async fn keep_doubled(&self, node: NodeId, why: &str, batch: &[u8]) -> Result<(), JournalError> {
        {
            let mut seen = self.seen();
            if !seen.doubled.insert(node) {
                return Ok(());
            }
            seen.untold.push(Finding { sender: node, why: why.to_owned(), rule: "double-batch", closes: false });
        }
        self.append(&format!("{node}: {why}"), node, CallKind::Forward, batch).await
    }

    /// Tells what is worth looking at and proves nothing; it is not kept.
    pub(super) fn tell(&self, sender: NodeId, why: String) {
        self.seen().untold.push(Finding { sender, why, rule: "entries-withheld", closes: false });
    }

    async fn append(&self, what: &str, sender: NodeId, kind: CallKind, bytes: &[u8]) -> Result<(), JournalError> {
        let frame = Writer::new(DOMAIN, VERSION).str(what).value(&sender).u32(kind.code()).bytes(bytes).finish();
        self.journal.append(vec![frame]).await.map(|_| ())
    }

    /// Whether the majority certified another state than this node has.
    pub(super) fn has_diverged(&self) -> bool {
        self.seen().diverged
    }

    /// Why nothing is written any more; none while all is well.
    pub(super) fn halted(&self) -> Option<String> {
        self.seen().first.clone()
    }

    /// Voters that signed two states for one index, each with the index.
    pub(super) fn doubles(&self) -> Vec<String> {
        self.seen().doubles.values().cloned().collect()
    }

    /// What was kept since the last call.
    pub(super) fn take(&self) -> Vec<Finding> {
        std::mem::take(&mut self.seen().untold)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A frame holds a whole message of a peer with what came with it.
fn options() -> JournalOptions {
    JournalOptions { max_frame_bytes: limits::PEER_MESSAGE_BYTES + 2_048, ..JournalOptions::default() }
}

fn words(frame: &[u8]) -> Result<(String, NodeId, u32), CanonError> {
    let mut r = Reader::new(frame, DOMAIN, VERSION)?;
    let what = r.str(1024)?.to_owned();
    let sender = NodeId::read(&mut r)?;
    let kind = r.u32()?;
    r.bytes(limits::PEER_MESSAGE_BYTES)?;
    r.finish()?;
    Ok((what, sender, kind))
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

    /// A divergence that is found after everything else is not forgotten, and certificates leave the places to the rest.
    #[tokio::test]
    async fn every_kind_of_evidence_has_its_places() {
        let dir = tempfile::tempdir().unwrap();
        {
            let evidence = Evidence::open(&System, dir.path()).unwrap();
            for n in 0..MOST {
                evidence.keep(NodeId(7), CallKind::Append, &format!("rollback {n}"), b"message").await.unwrap();
            }
            for _ in 0..9 {
                evidence.keep(NodeId(8), CallKind::Certificate, "another state", b"certificate").await.unwrap();
                evidence.keep_double(NodeId(9), "two states", b"pair").await.unwrap();
            }
            assert_eq!(evidence.take().len() as u64, MOST + 2);
        }
        let evidence = Evidence::open(&System, dir.path()).unwrap();
        assert!(evidence.has_diverged());
        assert_eq!(evidence.doubles(), [format!("{}: two states", NodeId(9))]);

        let dir = tempfile::tempdir().unwrap();
        let evidence = Evidence::open(&System, dir.path()).unwrap();
        for _ in 0..MOST + 9 {
            evidence.keep(NodeId(8), CallKind::Certificate, "another state", b"certificate").await.unwrap();
        }
        evidence.keep(NodeId(7), CallKind::Append, "rollback", b"message").await.unwrap();
        assert_eq!(evidence.take().len(), 2, "the rollback is kept, after one certificate");
    }

    /// A voter that signed twice says nothing against this node's ledger.
    #[tokio::test]
    async fn a_double_word_closes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        {
            let evidence = Evidence::open(&System, dir.path()).unwrap();
            evidence.keep_double(NodeId(9), "two states", b"pair").await.unwrap();
            for _ in 0..9 {
                evidence.keep_doubled(NodeId(9), "two batches", b"batch").await.unwrap();
            }
            let told = evidence.take();
            assert!(told.len() == 2 && told.iter().all(|f| !f.closes && f.sender == NodeId(9)), "{told:?}");
        }
        let evidence = Evidence::open(&System, dir.path()).unwrap();
        assert_eq!((evidence.halted(), evidence.has_diverged(), evidence.doubles().len()), (None, false, 1));
        evidence.keep_doubled(NodeId(9), "two batches", b"batch").await.unwrap();
        assert!(evidence.take().is_empty(), "kept before the restart");
    }
}
