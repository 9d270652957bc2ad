//! What waits for a writer, in bytes and up to a bound: a disk that is slower than its callers makes them hear so at once,
//! and not in a queue that grows until the memory is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The room in front of one writer; clones share it.
#[derive(Debug, Clone)]
pub struct Waiting {
    bytes: Arc<AtomicUsize>,
    most: usize,
}

/// The room of one submission, given back when dropped: it goes where the submission goes.
#[derive(Debug)]
#[must_use = "the room is free again as soon as this is dropped"]
pub struct Place {
    bytes: Arc<AtomicUsize>,
    own: usize,
}

impl Waiting {
    /// Room for so many bytes.
    pub fn new(most: usize) -> Waiting {
        Waiting { bytes: Arc::default(), most }
    }

    /// Room for a submission; none when it does not fit.
    pub fn take(&self, own: usize) -> Option<Place> {
        let fits = |held: usize| held.checked_add(own).filter(|all| *all <= self.most);
        self.bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).ok()?;
        Some(Place { bytes: Arc::clone(&self.bytes), own })
    }

    /// Room for what must not be turned away any more, because what it tells of is done. It counts all the same.
    pub fn take_anyway(&self, own: usize) -> Place {
        self.bytes.fetch_add(own, Ordering::AcqRel);
        Place { bytes: Arc::clone(&self.bytes), own }
    }

    /// Bytes that wait now.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.bytes.fetch_sub(self.own, Ordering::AcqRel);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_waits_nowhere_and_a_place_comes_back() {
        let room = Waiting::new(10);
        let (six, four) = (room.take(6).unwrap(), room.clone().take(4).unwrap());
        assert!(room.take(1).is_none() && room.take(usize::MAX).is_none());
        assert!(room.take(0).is_some(), "what has no bytes takes none");
        drop(four);
        assert!(room.take(5).is_none());
        let outcome = room.take_anyway(100);
        assert_eq!(room.bytes(), 106);
        drop((six, outcome));
        assert_eq!(room.bytes(), 0);
        let _all = room.take(10).unwrap();
    }
}
