//! Whether a node does all of its work, and if not, why: fixed words for machines.

use crate::domain::reserve::Work;
use crate::service::Core;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// The ledger's leader has this long to say how far the ledger is.
const BARRIER: Duration = Duration::from_secs(1);

/// What was looked at.
pub(super) struct Seen {
    /// Whether a leader is known.
    pub(super) leader: bool,
    /// Whether everything is applied here that was committed when it was asked.
    pub(super) caught_up: bool,
    /// Whether a certificate of the majority names another state than this node's.
    pub(super) diverged: bool,
    /// Whether this node's ledger is closed for writing, because of evidence that it holds.
    pub(super) closed: bool,
    /// Whether the audit log takes nothing any more: nothing is done without it.
    pub(super) audit_stopped: bool,
    /// Whether a journal or the vault takes nothing any more.
    pub(super) journal_failed: bool,
    /// Bytes that may be written; 0 when the disk cannot be asked.
    pub(super) room: u64,
    /// Whether the memory is at its bound.
    pub(super) memory_full: bool,
}

impl Seen {
    /// Looks. It waits for the leader, and for nobody longer than a second or two.
    pub(super) async fn of(core: &Core) -> Seen {
        let leader = core.cluster.status().leader.is_some();
        // The leader's own question to its followers has no deadline of its own.
        let barrier = core.cluster.barrier(Instant::now() + BARRIER);
        let caught_up = leader && timeout(2 * BARRIER, barrier).await.is_ok_and(|outcome| outcome.is_ok());
        let journals = [core.audit.written(), core.cluster.written(), core.office.written(), core.vault.written()];
        Seen {
            leader,
            caught_up,
            diverged: core.cluster.has_diverged(),
            closed: core.cluster.halted().is_some(),
            audit_stopped: core.audit.stopped().is_some(),
            journal_failed: core.vault.is_closed() || journals.iter().any(|j| j.failed),
            room: core.disk.room(),
            memory_full: core.memory.check(Work::Content).is_err(),
        }
    }

    /// Why the node is not ready; empty when it is.
    pub(super) fn reasons(&self) -> Vec<&'static str> {
        let (content, acts) = (Work::Content.fits(0, self.room), Work::Act.fits(0, self.room));
        let all = [
            (!self.leader, "no-leader"),
            (self.leader && !self.caught_up, "behind-the-ledger"),
            (self.diverged, "diverged"),
            (self.closed && !self.diverged, "ledger-closed"),
            (self.audit_stopped, "audit-stopped"),
            (self.journal_failed, "journal-failed"),
            (!content && acts, "disk-below-reserve"),
            (!acts, "disk-full"),
            (self.memory_full, "memory-at-bound"),
        ];
        all.into_iter().filter_map(|(applies, reason)| applies.then_some(reason)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> Seen {
        Seen {
            leader: true,
            caught_up: true,
            diverged: false,
            closed: false,
            audit_stopped: false,
            journal_failed: false,
            room: 1 << 40,
            memory_full: false,
        }
    }

    #[test]
    fn each_trouble_has_its_word() {
        assert!(well().reasons().is_empty());
        let cases = [
            (Seen { leader: false, caught_up: false, ..well() }, "no-leader"),
            (Seen { caught_up: false, ..well() }, "behind-the-ledger"),
            (Seen { diverged: true, closed: true, ..well() }, "diverged"),
            (Seen { closed: true, ..well() }, "ledger-closed"),
            (Seen { audit_stopped: true, ..well() }, "audit-stopped"),
            (Seen { journal_failed: true, ..well() }, "journal-failed"),
            (Seen { room: Work::Content.reserve() - 1, ..well() }, "disk-below-reserve"),
            (Seen { room: Work::Act.reserve() - 1, ..well() }, "disk-full"),
            (Seen { memory_full: true, ..well() }, "memory-at-bound"),
        ];
        for (seen, reason) in cases {
            assert_eq!(seen.reasons(), [reason]);
        }
    }
}
