//! What Cedar answered before. A policy set and a question have one answer, whoever asks and whenever: there is no clock in
//! it. The lattice is asked each time, before.

use super::decision::Decision;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most of one generation; two are kept.
const MOST: usize = 4_096;

/// Answers of one policy set, by a digest of all that Cedar is told.
#[derive(Debug, Default)]
pub(super) struct Remembered(Mutex<Generations>);

/// What was asked since the last change of generations, and what was before it.
#[derive(Debug, Default)]
struct Generations {
    new: BTreeMap<[u8; 32], Decision>,
    old: BTreeMap<[u8; 32], Decision>,
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

    fn known(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn get(&mut self, asked: &[u8; 32]) -> Option<Decision> {
        if let Some(decision) = self.new.get(asked) {
            return Some(decision.clone());
        }
        let decision = self.old.remove(asked)?;
        self.put(*asked, decision.clone());
        Some(decision)
    }

    fn put(&mut self, asked: [u8; 32], decision: Decision) {
        if self.new.len() >= MOST {
            self.old = std::mem::take(&mut self.new);
        }
        self.new.insert(asked, decision);
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
        let known = remembered.known();
        assert!(known.new.len() <= MOST && known.old.len() <= MOST);
        drop(known);
        assert_eq!(remembered.answer(name(1), || allow(9)), allow(9), "forgotten, and asked again");
    }
}
