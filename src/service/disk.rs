//! Room on the node's disk, asked before anything is written ([`Work`]).

use crate::domain::fault::Fault;
use crate::domain::reserve::Work;
use crate::domain::time::{Clock, Millis};
use crate::journal::{Disk, Host, aside};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// The system is asked at most this often.
const FRESH_MS: u64 = 1_000;
/// The ledger's snapshot: the next one is written beside it before it takes its place.
const SNAPSHOT: &str = "snapshot";

/// What the disk had, and what was promised of it since.
#[derive(Clone, Copy)]
struct Seen {
    at: Millis,
    free: Option<u64>,
    room: u64,
}

/// The disk under a node's data.
pub struct DiskRoom {
    host: Arc<dyn Host>,
    data: PathBuf,
    ledger: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    seen: Mutex<Option<Seen>>,
}

impl DiskRoom {
    /// That of a data folder; `ledger` is where the ledger's snapshot lies.
    pub fn new(host: Arc<dyn Host>, data: PathBuf, ledger: Arc<dyn Disk>, clock: Arc<dyn Clock>) -> DiskRoom {
        DiskRoom { host, data, ledger, clock, seen: Mutex::new(None) }
    }

    /// Free bytes as the system says, a second old at most; none when it cannot be asked.
    pub fn free(&self) -> Option<u64> {
        self.look(|seen| seen.free)
    }

    /// Bytes that may be written: those free, without what the ledger's next snapshot takes and without what was promised
    /// since the system was asked. 0 when it cannot be asked.
    pub fn room(&self) -> u64 {
        self.look(|seen| seen.room)
    }

    /// Whether work may begin that writes little.
    ///
    /// # Errors
    /// `DISK_FULL`, before anything is written.
    pub fn check(&self, work: Work) -> Result<(), Fault> {
        self.take(work, 0)
    }

    /// The same for work that writes `bytes`; they are promised to it until the system is asked again.
    ///
    /// # Errors
    /// As [`DiskRoom::check`].
    pub fn take(&self, work: Work, bytes: u64) -> Result<(), Fault> {
        self.look(|seen| {
            if !work.fits(bytes, seen.room) {
                return Err(work.refusal());
            }
            seen.room = seen.room.saturating_sub(bytes);
            Ok(())
        })
    }

    /// Does what blocks away from the threads that answer calls; none when it panicked.
    pub async fn aside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        aside(self.host.as_ref(), work).await
    }

    fn look<T>(&self, at: impl FnOnce(&mut Seen) -> T) -> T {
        let now = self.clock.steady();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let known = seen.filter(|s| now.0.saturating_sub(s.at.0) < FRESH_MS);
        let known = seen.insert(known.unwrap_or_else(|| self.ask(now)));
        at(known)
    }

    fn ask(&self, at: Millis) -> Seen {
        let free = self.host.free_bytes(&self.data);
        let free = free.inspect_err(|error| tracing::error!(%error, "the room on the disk is not known")).ok();
        // There is none before the first one was made.
        let snapshot = self.ledger.size(SNAPSHOT).unwrap_or(0);
        Seen { at, free, room: free.unwrap_or(0).saturating_sub(snapshot) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use crate::domain::notice::Precedence;
    use crate::journal::FaultDisk;
    use crate::service::machine::Machine;
    use std::sync::atomic::Ordering;

    fn room(machine: &Arc<Machine>, ledger: &FaultDisk) -> DiskRoom {
        let (host, clock) = (Arc::clone(machine), Arc::clone(machine));
        DiskRoom::new(host, PathBuf::from("/data"), Arc::new(ledger.clone()), clock)
    }

    #[test]
    fn the_system_is_asked_once_a_second_and_promises_count_meanwhile() {
        let machine = Arc::new(Machine::default());
        let reserve = Work::Content.reserve();
        machine.free.store(reserve + 100, Ordering::SeqCst);
        let disk = room(&machine, &FaultDisk::default());
        disk.take(Work::Content, 60).unwrap();
        assert_eq!(disk.take(Work::Content, 60).unwrap_err().reason, "DISK_FULL");
        disk.take(Work::Content, 40).unwrap();
        assert_eq!((disk.room(), disk.free()), (reserve, Some(reserve + 100)));
        assert_eq!(machine.asked.load(Ordering::SeqCst), 1);
        machine.now.store(FRESH_MS, Ordering::SeqCst);
        disk.take(Work::Content, 100).unwrap();
        assert_eq!(machine.asked.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_disk_that_fills_up_refuses_one_kind_of_work_after_the_other() {
        let machine = Arc::new(Machine::default());
        let disk = room(&machine, &FaultDisk::default());
        let order = [Work::Content, Work::Act, Work::Notice(Precedence::Flash), Work::Ledger];
        for (nth, full) in order.into_iter().enumerate() {
            machine.free.store(full.reserve() - 1, Ordering::SeqCst);
            machine.now.fetch_add(FRESH_MS, Ordering::SeqCst);
            for (other, work) in order.into_iter().enumerate() {
                assert_eq!(disk.check(work).is_ok(), other > nth, "{work:?} below the reserve of {full:?}");
            }
        }
        // A disk that does not answer has no room, for nobody knows.
        machine.free.store(u64::MAX, Ordering::SeqCst);
        machine.now.fetch_add(FRESH_MS, Ordering::SeqCst);
        assert_eq!((disk.room(), disk.free()), (0, None));
        assert!(disk.check(Work::Ledger).is_err());
    }

    #[test]
    fn the_next_snapshot_has_its_room() {
        let (machine, ledger) = (Arc::new(Machine::default()), FaultDisk::default());
        machine.free.store(1_000, Ordering::SeqCst);
        let disk = room(&machine, &ledger);
        assert_eq!(disk.room(), 1_000);
        ledger.create(SNAPSHOT).unwrap();
        ledger.append(SNAPSHOT, &[0; 300]).unwrap();
        machine.now.store(FRESH_MS, Ordering::SeqCst);
        assert_eq!((disk.room(), disk.free()), (700, Some(1_000)));
    }
}
