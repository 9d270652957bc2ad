//! Room on the disk: how much each kind of work leaves to what is more important. One table, asked by everybody who is
//! about to write, before anything is written.
//!
//! The order is the point: content goes first, then what people look at and decide, then all notices but flashes, then
//! flashes, and last the ledger, which the others need. Each reserve is what the work below it may still write, and the audit
//! entries of that work. A disk that fills up all the same ends in a failed write, and the journal it hits takes nothing more.
//!
//! The same order holds for memory: what every record adds to it for good is refused above a bound, and with it the notices that
//! can wait. Reading, audit, urgent notices and the ledger go on: they are what the rest of the machine is for. How many urgent
//! ones of one origin that are is bounded by its share (P25); beyond it they ask as those that can wait.

use super::fault::Fault;
use super::notice::Precedence;

/// What somebody is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Take in content: publish, import, amend, take a push, pull, index.
    Content,
    /// What is audited and brings no content: read, search, decide, administrate, take a report.
    Act,
    /// Send or take in a notice, or open one.
    Notice(Precedence),
    /// Vote, and follow the ledger.
    Ledger,
}

/// Free bytes below which new content is refused.
const CONTENT: u64 = 256 << 20;
/// The same of acts: what is above the last notices is for their audit entries.
const ACT: u64 = 64 << 20;
/// The same of notices by precedence: the last ones are for flashes, and for what a notice that is out already must be
/// followed by.
const NOTICES: [u64; 4] = [16 << 20, 128 << 20, 192 << 20, 256 << 20];
/// Below this a node stops by itself, while it can still say so in its logs.
const LEDGER: u64 = 8 << 20;

/// The memory's bound has as many parts.
const PARTS: u64 = 16;

/// The memory that a node may have where nobody says how much: three quarters of what there is, in bytes.
pub fn memory_bound(given: u64) -> u64 {
    given / 4 * 3
}

/// What counts as used: it goes up with what is used, and down with it only where that is clearly less, a part of the bound.
/// So work that was refused does not begin again for a moment each time that something is given back.
pub fn counted_memory(before: u64, used: u64, bound: u64) -> u64 {
    before.min(used.saturating_add(bound / PARTS)).max(used)
}

impl Work {
    /// Free bytes on the disk below which it is refused.
    pub fn reserve(self) -> u64 {
        match self {
            Work::Content => CONTENT,
            Work::Act => ACT,
            Work::Notice(precedence) => NOTICES.get(precedence as usize).copied().unwrap_or(u64::MAX),
            Work::Ledger => LEDGER,
        }
    }

    /// Whether it may write `bytes` where `free` are.
    pub fn fits(self, bytes: u64, free: u64) -> bool {
        free.checked_sub(bytes).is_some_and(|left| left >= self.reserve())
    }

    /// What somebody is told whom the disk has no room for.
    pub fn refusal(self) -> Fault {
        let what = match self {
            Work::Content => "the node's disk is nearly full, so it takes no content in",
            Work::Act => "the node's disk is so full that only notices are taken",
            Work::Notice(_) => "the node's disk is too full for a notice of this precedence",
            Work::Ledger => "the node's disk is full, so the node stops before a write fails",
        };
        let hint = match self {
            Work::Content => "reading and notices go on; whoever runs the node makes room, and it goes on by itself",
            Work::Act | Work::Notice(_) => "a flash is taken to the last; whoever runs the node makes room",
            Work::Ledger => "make room outside the data folder, or enlarge the disk, and start the node again",
        };
        Fault::unavailable("DISK_FULL", what).hint(hint)
    }

    /// Parts of the memory's bound above which it is refused; none for what goes on whatever is used.
    fn parts(self) -> Option<u64> {
        match self {
            Work::Content => Some(PARTS),
            Work::Notice(Precedence::Routine) => Some(PARTS + 1),
            Work::Notice(Precedence::Priority) => Some(PARTS + 2),
            Work::Notice(Precedence::Immediate | Precedence::Flash) | Work::Act | Work::Ledger => None,
        }
    }

    /// Whether it may begin where so much memory counts as used.
    pub fn fits_memory(self, counted: u64, bound: u64) -> bool {
        self.parts().is_none_or(|parts| counted <= (bound / PARTS).saturating_mul(parts))
    }

    /// What somebody is told for whom there is no memory.
    pub fn memory_refusal(self) -> Fault {
        let what = match self {
            Work::Notice(_) => "the node's memory is too full for a notice of this precedence",
            Work::Content | Work::Act | Work::Ledger => "the node's memory is at its bound, so it takes no content in",
        };
        let hint = match self {
            Work::Notice(_) => "immediate notices and flashes are taken; whoever runs the node gives it more memory",
            Work::Content | Work::Act | Work::Ledger => {
                "reading and notices go on; whoever runs the node gives it more memory and raises `load.memory_mib`"
            }
        };
        Fault::unavailable("MEMORY_FULL", what).hint(hint)
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::*;

    /// Whatever is refused, what is more important goes on.
    #[test]
    fn the_more_important_has_the_smaller_reserve() {
        let order = [
            Work::Content,
            Work::Notice(Precedence::Priority),
            Work::Notice(Precedence::Immediate),
            Work::Act,
            Work::Notice(Precedence::Flash),
            Work::Ledger,
        ];
        assert!(order.windows(2).all(|two| two[0].reserve() > two[1].reserve()), "{order:?}");
        assert_eq!(Work::Notice(Precedence::Routine).reserve(), Work::Content.reserve());
        for work in order {
            let reserve = work.reserve();
            assert!(work.fits(0, reserve) && !work.fits(1, reserve) && work.fits(1, reserve + 1));
            assert!(!work.fits(u64::MAX, reserve) && !work.fits(0, 0), "{work:?}");
            let fault = work.refusal();
            assert_eq!((fault.reason, fault.kind.exit_code()), ("DISK_FULL", 5));
            assert!(fault.hint.is_some());
        }
    }

    #[test]
    fn content_goes_first_and_what_is_urgent_never() {
        let bound = 16_000;
        let order = [
            (Work::Content, 16_000),
            (Work::Notice(Precedence::Routine), 17_000),
            (Work::Notice(Precedence::Priority), 18_000),
        ];
        for (work, most) in order {
            assert!(work.fits_memory(most, bound) && !work.fits_memory(most + 1, bound), "{work:?}");
            let fault = work.memory_refusal();
            assert_eq!((fault.reason, fault.kind.exit_code()), ("MEMORY_FULL", 5));
            assert!(fault.hint.is_some());
        }
        let urgent = [Precedence::Flash, Precedence::Immediate].map(Work::Notice);
        for work in urgent.into_iter().chain([Work::Act, Work::Ledger]) {
            assert!(work.fits_memory(u64::MAX, bound), "{work:?}");
        }
        // The last of them leaves something of the machine for what is never refused.
        let machine = 4 << 30;
        assert!(memory_bound(machine) / PARTS * (PARTS + 2) < machine / 16 * 15);
    }

    #[test]
    fn what_counts_goes_up_at_once_and_down_later() {
        let (bound, mut counted) = (16_000, 0);
        for (used, expected) in
            [(15_900, 15_900), (16_100, 16_100), (15_500, 16_100), (15_100, 16_100), (15_000, 16_000)]
        {
            counted = counted_memory(counted, used, bound);
            assert_eq!(counted, expected, "{used}");
        }
        assert!(Work::Content.fits_memory(counted, bound));
        // It is not refused again below the bound.
        counted = counted_memory(counted, 15_990, bound);
        assert!(Work::Content.fits_memory(counted, bound));
        assert_eq!(counted_memory(u64::MAX, 0, u64::MAX), u64::MAX / PARTS);
    }
}
