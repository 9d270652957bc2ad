//! Checkpoints of this log that went to the ledger, kept beside the log and not in it.
//!
//! A log that was cut, emptied or written anew looks whole by itself. What it was is on the ledger as a digest, and here
//! as the checkpoint that the digest is of: at every start and every verification the log must still have that root at
//! that size, and one of the checkpoints here must be what the ledger has (architecture, invariant 7).
//!
//! Crash story: a checkpoint is durable here before it is proposed. Whether a proposal arrived may be unknown, so all
//! since the last one that the ledger showed are kept.

use super::error::AuditError;
use super::merkle::Hash;
use super::note::{Checkpoint, Note};
use super::writer::AuditLog;
use crate::domain::canon::{CanonError, Reader, Writer};
use crate::journal::{Disk, Host, read_whole, write_whole};
use crate::seal::digest;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

const FILE: &str = "anchors";
const DOMAIN: &str = "hufu.audit.anchors";
const VERSION: u16 = 1;
/// Most checkpoints that wait for the ledger; then the last one is proposed again instead of a new one.
const MOST: usize = 16;
const NOTE_BYTES: usize = 4_096;

/// What the ledger has of a checkpoint.
pub fn anchor_digest(checkpoint: &str) -> Hash {
    digest("hufu.audit.anchor", &[checkpoint.as_bytes()])
}

/// The checkpoints that went to the ledger.
pub struct Anchors {
    disk: Arc<dyn Disk>,
    notes: Mutex<Vec<String>>,
}

impl Anchors {
    /// Reads what was proposed before, from a file in the node's data folder, and holds the log against it.
    ///
    /// # Errors
    /// [`AuditError::Io`], [`AuditError::Format`], or [`AuditError::Anchor`] for a log that is not the one of before.
    pub fn open(host: &dyn Host, dir: &Path, log: &AuditLog) -> Result<Anchors, AuditError> {
        let disk = host.files(dir)?;
        let notes = match read_whole(disk.as_ref(), FILE).map_err(failed("read"))? {
            Some(bytes) => read(&bytes)?,
            None => Vec::new(),
        };
        let anchors = Anchors { disk, notes: Mutex::new(notes) };
        anchors.check(log, None)?;
        Ok(anchors)
    }

    /// Whether the log still is what these checkpoints and the ledger say. `on_ledger` is the digest that the ledger has,
    /// as far as this node has applied it and is up to date.
    ///
    /// # Errors
    /// [`AuditError::Anchor`].
    pub fn check(&self, log: &AuditLog, on_ledger: Option<&Hash>) -> Result<(), AuditError> {
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        for note in notes.iter() {
            let head = Checkpoint::parse(Note::parse(note)?.text())?;
            if log.root_at(head.size) != Some(head.root) {
                return Err(AuditError::Anchor { size: head.size });
            }
        }
        match on_ledger {
            Some(known) if !notes.iter().any(|n| anchor_digest(n) == *known) => Err(AuditError::Unanchored),
            _ => Ok(()),
        }
    }

    /// How many events the checkpoint covers that the ledger has; none when it is not among those that are kept.
    pub fn covered(&self, on_ledger: &Hash) -> Option<u64> {
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let note = notes.iter().find(|n| anchor_digest(n) == *on_ledger)?;
        let head = Note::parse(note).and_then(|n| Checkpoint::parse(n.text())).ok()?;
        Some(head.size)
    }

    /// Keeps a checkpoint that is about to be proposed, durably, and answers the one to propose: this one, or the last
    /// one again while too many wait for the ledger. What is older than `on_ledger` is forgotten.
    ///
    /// # Errors
    /// [`AuditError::Io`].
    pub fn propose(&self, checkpoint: &str, on_ledger: Option<&Hash>) -> Result<String, AuditError> {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = notes.iter().position(|n| on_ledger == Some(&anchor_digest(n)));
        let mut kept: Vec<String> = notes.iter().skip(known.unwrap_or(0)).cloned().collect();
        match kept.last() {
            Some(last) if kept.len() >= MOST || last == checkpoint => return Ok(last.clone()),
            _ => kept.push(checkpoint.to_owned()),
        }
        write_whole(self.disk.as_ref(), FILE, &bytes(&kept)).map_err(failed("write"))?;
        *notes = kept;
        Ok(checkpoint.to_owned())
    }
}

fn failed(step: &'static str) -> impl FnOnce(std::io::Error) -> AuditError {
    move |source| AuditError::Io { step, path: FILE.to_owned(), source }
}

fn read(bytes: &[u8]) -> Result<Vec<String>, CanonError> {
    let mut r = Reader::new(bytes, DOMAIN, VERSION)?;
    let notes = r.list(MOST, |r| r.str(NOTE_BYTES).map(str::to_owned))?;
    r.finish()?;
    Ok(notes)
}

fn bytes(notes: &[String]) -> Vec<u8> {
    let mut w = Writer::new(DOMAIN, VERSION);
    w.list(notes.iter(), |w, n| {
        w.str(n);
    });
    w.finish()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::super::fixture::{draft, key};
    use super::*;
    use crate::journal::System;

    #[tokio::test]
    async fn a_log_that_was_cut_or_begun_anew_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("log");
        let note = {
            let log = AuditLog::open(&System, &at).unwrap();
            log.record(vec![draft(1), draft(2)]).await.unwrap();
            let anchors = Anchors::open(&System, dir.path(), &log).unwrap();
            let note = log.checkpoint(&key(1), "police.test/audit/1").unwrap();
            assert_eq!(anchors.propose(&note, None).unwrap(), note);
            log.record(vec![draft(3)]).await.unwrap();
            anchors.check(&log, Some(&anchor_digest(&note))).unwrap();
            assert!(matches!(anchors.check(&log, Some(&[7; 32])), Err(AuditError::Unanchored)));
            assert_eq!((anchors.covered(&anchor_digest(&note)), anchors.covered(&[7; 32])), (Some(2), None));
            note
        };
        Anchors::open(&System, dir.path(), &AuditLog::open(&System, &at).unwrap()).unwrap();
        std::fs::remove_dir_all(&at).unwrap();
        let anew = AuditLog::open(&System, &at).unwrap();
        assert!(matches!(Anchors::open(&System, dir.path(), &anew), Err(AuditError::Anchor { size: 2 })));
        anew.record(vec![draft(5), draft(6), draft(7)]).await.unwrap();
        assert!(
            matches!(Anchors::open(&System, dir.path(), &anew), Err(AuditError::Anchor { size: 2 })),
            "as long, and another"
        );
        // Both gone: the ledger knows better.
        std::fs::remove_file(dir.path().join(FILE)).unwrap();
        let anchors = Anchors::open(&System, dir.path(), &anew).unwrap();
        assert!(matches!(anchors.check(&anew, Some(&anchor_digest(&note))), Err(AuditError::Unanchored)));
    }

    #[tokio::test]
    async fn all_that_may_be_on_the_ledger_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let log = AuditLog::open(&System, &dir.path().join("log")).unwrap();
        let anchors = Anchors::open(&System, dir.path(), &log).unwrap();
        let mut proposed = Vec::new();
        for n in 0..20 {
            log.record(vec![draft(n)]).await.unwrap();
            let note = log.checkpoint(&key(1), "police.test/audit/1").unwrap();
            proposed.push(anchors.propose(&note, None).unwrap());
        }
        assert!(proposed.get(15).unwrap() == proposed.get(19).unwrap(), "no more than 16 wait; the last goes again");
        let anchors = Anchors::open(&System, dir.path(), &log).unwrap();
        for note in &proposed {
            anchors.check(&log, Some(&anchor_digest(note))).unwrap();
        }
        log.record(vec![draft(30)]).await.unwrap();
        let note = log.checkpoint(&key(1), "police.test/audit/1").unwrap();
        let seen = anchor_digest(proposed.get(9).unwrap());
        assert_eq!(anchors.propose(&note, Some(&seen)).unwrap(), note, "there is room again");
        assert!(
            anchors.check(&log, Some(&anchor_digest(proposed.get(8).unwrap()))).is_err(),
            "older ones are forgotten"
        );
    }
}
