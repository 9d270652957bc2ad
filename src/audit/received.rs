//! What other nodes reported of accesses to this agency's records: kept durably, one cursor for each reporter.
//!
//! A report is stored as it came, after its signature and proofs were checked, so that it stays evidence. The
//! cursor moves only when the frame is durable; a reporter that never got the answer sends the same again, and
//! what lies below the cursor is not taken twice.

use super::error::AuditError;
use super::report::{AccessEvent, AccessReport};
use crate::domain::canon::{Reader, Writer};
use crate::domain::ids::{NodeId, RecordId};
use crate::journal::{Host, Journal, JournalOptions};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

const DOMAIN: &str = "hufu.received-report";
const VERSION: u16 = 1;
const PAGE_FRAMES: usize = 256;
const PAGE_BYTES: usize = 4 << 20;
/// Largest report that is stored, in bytes; the transport's limit is the same.
const REPORT_BYTES: usize = 4 << 20;

#[derive(Default)]
struct Index {
    /// Reporter -> first sequence number that it has not reported yet.
    cursors: BTreeMap<NodeId, u64>,
    /// One access shows many records: they share it.
    by_record: BTreeMap<RecordId, Vec<Arc<AccessEvent>>>,
}

impl Index {
    fn add(&mut self, reporter: NodeId, report: AccessReport) {
        let cursor = self.cursors.entry(reporter).or_default();
        for item in report.items {
            if item.event.seq < *cursor {
                continue;
            }
            *cursor = item.event.seq.saturating_add(1);
            let event = Arc::new(item.event);
            for (record, _) in &event.records {
                let known = self.by_record.entry(*record).or_default();
                // A record that is named twice is told once.
                if known.last().is_none_or(|e| !Arc::ptr_eq(e, &event)) {
                    known.push(Arc::clone(&event));
                }
            }
        }
    }
}

/// The reports that this node received.
pub struct ReceivedReports {
    journal: Journal,
    index: RwLock<Index>,
    /// One report at a time, so that the journal's order is the order of the cursors.
    turn: tokio::sync::Mutex<()>,
    last: Mutex<BTreeMap<NodeId, (u64, super::merkle::Hash)>>,
}

impl ReceivedReports {
    /// Opens what was received before.
    ///
    /// # Errors
    /// [`AuditError::Journal`] or [`AuditError::Corrupt`].
    pub fn open(host: &dyn Host, dir: &Path) -> Result<ReceivedReports, AuditError> {
        let (journal, recovery) = Journal::open(host, dir, JournalOptions::default())?;
        let mut index = Index::default();
        let mut next = recovery.first_seq;
        while next < recovery.next_seq {
            for (seq, frame) in journal.read(next, PAGE_FRAMES, PAGE_BYTES)? {
                let corrupt = |e: String| AuditError::Corrupt { seq, what: e };
                let mut r = Reader::new(&frame, DOMAIN, VERSION)?;
                let reporter = r.value()?;
                let report = AccessReport::from_bytes(r.bytes(REPORT_BYTES)?).map_err(|e| corrupt(e.to_string()))?;
                r.finish()?;
                index.add(reporter, report);
                next = seq.saturating_add(1);
            }
        }
        let turn = tokio::sync::Mutex::new(());
        Ok(ReceivedReports { journal, index: RwLock::new(index), turn, last: Mutex::default() })
    }

    /// The first sequence number that a reporter has not reported yet.
    pub fn cursor(&self, reporter: NodeId) -> u64 {
        self.index.read().unwrap_or_else(PoisonError::into_inner).cursors.get(&reporter).copied().unwrap_or(0)
    }

    /// Keeps a verified report with the head it was checked under; durable when it answers with the new cursor.
    ///
    /// # Errors
    /// [`AuditError::Report`] when the reporter's log shrank or changed at the same size since its last report,
    /// [`AuditError::Journal`] when it cannot be stored.
    pub async fn keep(
        &self,
        reporter: NodeId,
        report: AccessReport,
        head: &super::note::Checkpoint,
    ) -> Result<u64, AuditError> {
        let _turn = self.turn.lock().await;
        {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            let (size, root) = last.get(&reporter).copied().unwrap_or((0, super::merkle::empty_root()));
            if head.size < size || head.size == size && head.root != root {
                return Err(AuditError::Report("its log is not the one that was reported from before"));
            }
            last.insert(reporter, (head.size, head.root));
        }
        if report.items.last().is_none_or(|i| i.event.seq < self.cursor(reporter)) {
            return Ok(self.cursor(reporter));
        }
        let frame = Writer::new(DOMAIN, VERSION).value(&reporter).bytes(&report.to_bytes()).finish();
        self.journal.append(vec![frame]).await?;
        self.index.write().unwrap_or_else(PoisonError::into_inner).add(reporter, report);
        Ok(self.cursor(reporter))
    }

    /// Reported accesses to a record, in the order in which they came.
    pub fn of(&self, record: &RecordId) -> Vec<Arc<AccessEvent>> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.by_record.get(record).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::super::fixture::{ORIGIN, draft, key, record};
    use super::super::writer::AuditLog;
    use super::*;
    use crate::journal::System;

    const REPORTER: NodeId = NodeId(7);

    #[tokio::test]
    async fn a_report_is_kept_once_and_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let log = AuditLog::open(&System, &dir.path().join("log")).unwrap();
        log.record(vec![draft(1), draft(2), draft(3)]).await.unwrap();
        let customs = "customs".parse().unwrap();
        let make = |from, max| AccessReport::make(&log, &customs, from, max, &key(1), ORIGIN, |_| None).unwrap();
        let reports = dir.path().join("reports");
        {
            let kept = ReceivedReports::open(&System, &reports).unwrap();
            assert_eq!(kept.cursor(REPORTER), 0);
            let first = make(0, 2).unwrap();
            let head = first.verify(&key(1).public(), ORIGIN, &customs).unwrap();
            assert_eq!(kept.keep(REPORTER, first.clone(), &head).await.unwrap(), 2);
            assert_eq!(kept.keep(REPORTER, first, &head).await.unwrap(), 2, "the same again changes nothing");
            let overlapping = make(1, 9).unwrap();
            assert_eq!(kept.keep(REPORTER, overlapping, &head).await.unwrap(), 3);
        }
        let kept = ReceivedReports::open(&System, &reports).unwrap();
        assert_eq!(kept.cursor(REPORTER), 3);
        for n in 1..=3 {
            assert_eq!(kept.of(&record(n)).len(), 1, "access {n}");
        }
        assert!(kept.of(&record(9)).is_empty());
    }

    #[tokio::test]
    async fn a_log_that_shrank_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let log = AuditLog::open(&System, &dir.path().join("log")).unwrap();
        log.record(vec![draft(1)]).await.unwrap();
        let customs = "customs".parse().unwrap();
        let early = AccessReport::make(&log, &customs, 0, 9, &key(1), ORIGIN, |_| None).unwrap().unwrap();
        log.record(vec![draft(2)]).await.unwrap();
        let late = AccessReport::make(&log, &customs, 0, 9, &key(1), ORIGIN, |_| None).unwrap().unwrap();
        let verify = |r: &AccessReport| r.verify(&key(1).public(), ORIGIN, &customs).unwrap();
        let kept = ReceivedReports::open(&System, &dir.path().join("reports")).unwrap();
        kept.keep(REPORTER, late.clone(), &verify(&late)).await.unwrap();
        let head = verify(&early);
        assert!(matches!(kept.keep(REPORTER, early, &head).await, Err(AuditError::Report(_))));
    }
}
