//! Answers that are kept for a while: a bounded memory without a clock, of what was asked lately.
//!
//! Two generations: what was asked since the last change, and what was before it. Whatever is asked again moves to the newer
//! one; when that is full the older one is forgotten.

use std::collections::BTreeMap;

/// Answers by a digest of what was asked.
#[derive(Debug)]
pub struct Lately<V> {
    most: usize,
    new: BTreeMap<[u8; 32], V>,
    old: BTreeMap<[u8; 32], V>,
}

impl<V: Clone> Lately<V> {
    /// At most twice `most` of them.
    pub fn of(most: usize) -> Lately<V> {
        Lately { most, new: BTreeMap::new(), old: BTreeMap::new() }
    }

    /// The answer that is kept, if there is one.
    pub fn get(&mut self, asked: &[u8; 32]) -> Option<V> {
        if let Some(known) = self.new.get(asked) {
            return Some(known.clone());
        }
        let known = self.old.remove(asked)?;
        self.put(*asked, known.clone());
        Some(known)
    }

    /// Keeps an answer.
    pub fn put(&mut self, asked: [u8; 32], answer: V) {
        if self.new.len() >= self.most {
            self.old = std::mem::take(&mut self.new);
        }
        self.new.insert(asked, answer);
    }

    /// How many are kept.
    #[cfg(test)]
    pub fn kept(&self) -> usize {
        self.new.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_and_what_is_asked_for_stays() {
        const MOST: usize = 100;
        let name = |n: usize| {
            let mut name = [0; 32];
            name[..8].copy_from_slice(&n.to_be_bytes());
            name
        };
        let mut known = Lately::of(MOST);
        for n in 0..3 * MOST {
            known.put(name(n), n);
            assert!(n % MOST != 0 || known.get(&name(0)) == Some(0), "asked for again and again: {n}");
            assert!(known.kept() <= 2 * MOST);
        }
        assert_eq!(known.get(&name(1)), None, "not asked for in two generations");
    }
}
