//! What a journal's writer did since it was opened, for whoever watches the node. The writing thread counts; a reader may
//! see one number a moment before another.

use super::error::JournalError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the classes of duration, in microseconds; what takes longer has one more class.
pub const COMMIT_BOUNDS_US: [u64; 9] = [250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000];
const CLASSES: usize = COMMIT_BOUNDS_US.len() + 1;
/// A commit that takes longer is told in the log: nobody who waits for this disk is served in time.
pub const SLOW: Duration = Duration::from_secs(1);

/// The counts of one journal.
#[derive(Debug, Default)]
pub struct Meter {
    /// Whose counts they are, for the log.
    journal: String,
    frames: AtomicU64,
    micros: AtomicU64,
    took: [AtomicU64; CLASSES],
    failed: AtomicBool,
}

/// What a meter showed at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Frames made durable.
    pub frames: u64,
    /// Time of all group commits, in microseconds.
    pub micros: u64,
    /// Group commits by how long they took: one class for each of [`COMMIT_BOUNDS_US`], and one above.
    pub took: [u64; CLASSES],
    /// Whether a write or sync failed, so that the journal takes nothing any more.
    pub failed: bool,
}

impl Written {
    /// Group commits that took longer than [`SLOW`].
    pub fn slow(&self) -> u64 {
        self.took.last().copied().unwrap_or_default()
    }
}

impl Meter {
    /// The counts of a journal of this name.
    pub(super) fn of(journal: String) -> Meter {
        Meter { journal, ..Meter::default() }
    }

    /// One write and sync of so many frames.
    pub(super) fn committed(&self, frames: usize, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let class = COMMIT_BOUNDS_US.iter().take_while(|bound| micros > **bound).count();
        if let Some(commits) = self.took.get(class) {
            commits.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(micros, Ordering::Relaxed);
        self.frames.fetch_add(frames as u64, Ordering::Relaxed);
        if took > SLOW {
            let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(journal = %self.journal, ms, frames, "the disk is slow: one write and sync took over a second");
        }
    }

    /// Passes the outcome of a step on that poisons the journal when it fails.
    pub(super) fn watched(&self, outcome: Result<(), JournalError>) -> Result<(), JournalError> {
        if outcome.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        outcome
    }

    /// The counts now.
    pub fn read(&self) -> Written {
        let count = |n: &AtomicU64| n.load(Ordering::Relaxed);
        Written {
            frames: count(&self.frames),
            micros: count(&self.micros),
            took: std::array::from_fn(|class| self.took.get(class).map_or(0, count)),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::super::driver::Journal;
    use super::super::{FaultDisk, JournalOptions, Leaves};
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_duration_on_a_bound_belongs_below_it() {
        let meter = Meter::default();
        for us in [1, 250, 251, 2_000_000] {
            meter.committed(2, Duration::from_micros(us));
        }
        let seen = meter.read();
        assert_eq!((seen.frames, seen.micros), (8, 2_000_502));
        assert_eq!((seen.took[0], seen.took[1], seen.took[CLASSES - 1]), (2, 1, 1));
        assert_eq!(seen.slow(), 1);
        // What is told in the log is the last class, so that log and figures say the same.
        assert_eq!(COMMIT_BOUNDS_US.last().copied(), u64::try_from(SLOW.as_micros()).ok());
    }

    #[test]
    fn what_is_durable_is_counted_and_a_failure_stays() {
        let disk = FaultDisk::default();
        let (journal, _) = Journal::over(Arc::new(disk.clone()), JournalOptions::default()).unwrap();
        journal.append_blocking(vec![vec![1], vec![2]]).unwrap();
        journal.append_blocking(vec![vec![3]]).unwrap();
        let seen = journal.meter().read();
        assert_eq!((seen.frames, seen.took.iter().sum::<u64>(), seen.failed), (3, 2, false));
        disk.fail_at(0, Leaves::Nothing);
        journal.append_blocking(vec![vec![4]]).unwrap_err();
        let seen = journal.meter().read();
        assert_eq!((seen.frames, seen.failed), (3, true));
    }
}
