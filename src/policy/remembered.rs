//! What Cedar answered before. A policy set and a question have one answer, whoever asks and whenever: there is no clock in
//! it. The lattice is asked each time, before.

use super::decision::Decision;
use crate::domain::lately::Lately;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Half of what is kept.
const MOST: usize = 4_096;

/// Answers of one policy set, by a digest of all that Cedar is told.
#[derive(Debug)]
pub(super) struct Remembered(Mutex<Lately<Decision>>);

impl Default for Remembered {
    fn default() -> Remembered {
        Remembered(Mutex::new(Lately::of(MOST)))
    }
}

impl Remembered {
    /// The answer of before, or the one that `ask` gives now.
    pub(super) fn answer(&self, asked: [u8; 32], ask: impl FnOnce() -> Decision) -> Decision {
        let known = self.known().get(&asked);
        known.unwrap_or_else(|| {
            let decision = ask();
            self.known().put(asked, decision.clone());
            decision
        })
    }

    fn known(&self) -> MutexGuard<'_, Lately<Decision>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use crate::seal::digest;

    fn allow(n: usize) -> Decision {
        Decision::Allow { policies: vec![n.to_string()] }
    }

    #[test]
    fn the_same_is_asked_once_and_memory_is_bounded() {
        let remembered = Remembered::default();
        let name = |n: usize| digest("test.asked", &[&n.to_be_bytes()]);
        for n in 0..3 * MOST {
            assert_eq!(remembered.answer(name(n), || allow(n)), allow(n));
            assert_eq!(remembered.answer(name(n), || allow(0)), allow(n), "not asked again");
        }
        assert!(remembered.known().kept() <= 2 * MOST);
        assert_eq!(remembered.answer(name(1), || allow(9)), allow(9), "forgotten, and asked again");
    }
}
