//! Where some frames lie, as they were found: who reads on, or one frame far behind, does not go through a segment from its
//! beginning again.
//!
//! A mark is made only where the chain was followed to, and a walk from it checks every frame as any other walk does. Segments
//! only grow, until they are deleted as a whole.

use super::frame::{Link, SEGMENT_HEAD};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Every so many frames.
const EVERY: u64 = 64;
/// Most marks: some megabytes.
const MOST: usize = 1 << 16;

struct Mark {
    /// Number of the first frame of its segment.
    segment: u64,
    offset: u64,
    link: Link,
}

/// The marks of one journal, by the number of the frame that begins there.
#[derive(Default)]
pub(super) struct Marks {
    by_seq: Mutex<BTreeMap<u64, Mark>>,
}

impl Marks {
    /// The place nearest before a frame in the segment that begins with `first`: its beginning, if nothing else is known.
    pub(super) fn before(&self, seq: u64, first: Link) -> (u64, Link) {
        let marks = self.by_seq.lock().unwrap_or_else(PoisonError::into_inner);
        let nearest = marks.range(first.seq..=seq.max(first.seq)).next_back().map(|(_, mark)| mark);
        match nearest.filter(|mark| mark.segment == first.seq) {
            Some(mark) => (mark.offset, mark.link),
            None => (SEGMENT_HEAD as u64, first),
        }
    }

    /// Notes where the frame begins that must be the one at `link`, if it is one of those that are noted.
    pub(super) fn note(&self, first: Link, offset: u64, link: Link) {
        if !link.seq.is_multiple_of(EVERY) {
            return;
        }
        let mut marks = self.by_seq.lock().unwrap_or_else(PoisonError::into_inner);
        if marks.len() < MOST {
            marks.insert(link.seq, Mark { segment: first.seq, offset, link });
        }
    }
}
