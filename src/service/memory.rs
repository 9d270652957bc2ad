//! Memory that the node has, held against its bound before anything begins that adds to it for good ([`Work`]).

use crate::domain::fault::Fault;
use crate::domain::reserve::{Work, counted_memory, memory_bound};
use crate::domain::time::{Clock, Millis};
use crate::journal::Host;
use std::sync::{Arc, Mutex, PoisonError};

/// The system is asked at most this often.
const FRESH_MS: u64 = 1_000;

/// What the node had.
#[derive(Clone, Copy)]
struct Seen {
    at: Millis,
    used: Option<u64>,
    counted: u64,
}

/// The memory of a node's process.
pub struct MemoryRoom {
    host: Arc<dyn Host>,
    clock: Arc<dyn Clock>,
    bound: u64,
    seen: Mutex<Option<Seen>>,
}

impl MemoryRoom {
    /// Bounded by so many bytes; without them by what the machine has.
    pub fn new(host: Arc<dyn Host>, clock: Arc<dyn Clock>, bound: Option<u64>) -> MemoryRoom {
        let bound = bound.unwrap_or_else(|| memory_bound(host.given_memory()));
        MemoryRoom { host, clock, bound, seen: Mutex::default() }
    }

    /// The bound, in bytes.
    pub fn bound(&self) -> u64 {
        self.bound
    }

    /// Bytes that the node has, a second old at most; none when the system cannot be asked.
    pub fn used(&self) -> Option<u64> {
        self.look().used
    }

    /// Whether work may begin.
    ///
    /// # Errors
    /// `MEMORY_FULL`, before anything is done.
    pub fn check(&self, work: Work) -> Result<(), Fault> {
        if self.fits(work, &self.look()) { Ok(()) } else { Err(work.memory_refusal()) }
    }

    /// Where nobody knows how much is used there is room for nothing that needs any.
    fn fits(&self, work: Work, seen: &Seen) -> bool {
        work.fits_memory(seen.used.map_or(u64::MAX, |_| seen.counted), self.bound)
    }

    fn look(&self) -> Seen {
        let now = self.clock.steady();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *seen;
        if let Some(known) = before.filter(|s| now.0.saturating_sub(s.at.0) < FRESH_MS) {
            return known;
        }
        let next = *seen.insert(self.ask(now, before));
        self.tell(before, &next);
        next
    }

    fn ask(&self, at: Millis, before: Option<Seen>) -> Seen {
        let used = self.host.used_memory();
        let used = used.inspect_err(|error| tracing::error!(%error, "the memory in use is not known")).ok();
        let before = before.map_or(0, |b| b.counted);
        Seen { at, used, counted: used.map_or(before, |used| counted_memory(before, used, self.bound)) }
    }

    fn tell(&self, before: Option<Seen>, next: &Seen) {
        let fitted = before.is_none_or(|b| self.fits(Work::Content, &b));
        let (fits, bound) = (self.fits(Work::Content, next), self.bound);
        let used = next.used.unwrap_or_default();
        if fitted && !fits {
            tracing::warn!(used, bound, "ALARM: the memory is at its bound; no content is taken in");
        } else if fits && !fitted {
            tracing::info!(used, bound, "the memory is below its bound; content is taken in again");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use crate::domain::notice::Precedence;
    use crate::service::machine::Machine;
    use std::sync::atomic::Ordering;

    impl Machine {
        /// A second later the process has so much.
        fn uses(&self, bytes: u64) {
            self.used.store(bytes, Ordering::SeqCst);
            self.now.fetch_add(FRESH_MS, Ordering::SeqCst);
        }
    }

    fn room(machine: &Arc<Machine>, bound: Option<u64>) -> MemoryRoom {
        let (host, clock) = (Arc::clone(machine), Arc::clone(machine));
        MemoryRoom::new(host, clock, bound)
    }

    #[test]
    fn the_bound_is_the_configured_one_or_three_quarters_of_what_there_is() {
        let machine = Arc::new(Machine::default());
        assert_eq!(room(&machine, None).bound(), 48_000);
        assert_eq!(room(&machine, Some(16_000)).bound(), 16_000);
    }

    #[test]
    fn the_system_is_asked_once_a_second() {
        let machine = Arc::new(Machine::default());
        let memory = room(&machine, Some(16_000));
        machine.uses(16_000);
        memory.check(Work::Content).unwrap();
        machine.used.store(16_001, Ordering::SeqCst);
        memory.check(Work::Content).unwrap();
        assert_eq!((memory.used(), machine.asked.load(Ordering::SeqCst)), (Some(16_000), 1));
        machine.uses(16_001);
        assert_eq!(memory.check(Work::Content).unwrap_err().reason, "MEMORY_FULL");
        assert_eq!((memory.used(), machine.asked.load(Ordering::SeqCst)), (Some(16_001), 2));
    }

    #[test]
    fn what_was_refused_begins_again_when_clearly_less_is_used() {
        let machine = Arc::new(Machine::default());
        let memory = room(&machine, Some(16_000));
        for (used, takes) in [(16_000, true), (16_100, false), (15_900, false), (15_000, true), (15_900, true)] {
            machine.uses(used);
            assert_eq!(memory.check(Work::Content).is_ok(), takes, "{used}");
        }
    }

    #[test]
    fn what_is_urgent_or_only_looks_goes_on() {
        let machine = Arc::new(Machine::default());
        let memory = room(&machine, Some(16_000));
        // A kernel that does not tell is as good as full.
        for used in [1 << 40, u64::MAX] {
            machine.uses(used);
            for work in [Work::Content, Work::Notice(Precedence::Routine), Work::Notice(Precedence::Priority)] {
                assert_eq!(memory.check(work).unwrap_err().reason, "MEMORY_FULL", "{work:?}");
            }
            for work in [Work::Act, Work::Notice(Precedence::Immediate), Work::Notice(Precedence::Flash), Work::Ledger]
            {
                memory.check(work).unwrap();
            }
        }
        assert_eq!(memory.used(), None);
        machine.uses(0);
        memory.check(Work::Content).unwrap();
    }
}
