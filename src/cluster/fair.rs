//! Lines of what waits, one for each agency, served in turn: whoever brings much waits behind itself, and nobody else does.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

/// The lines, by whose they are. None of them is empty.
pub(super) struct Fair<K, T> {
    lines: BTreeMap<K, VecDeque<T>>,
    /// Whose turn was last.
    last: Option<K>,
    /// Longest line.
    most: usize,
}

impl<K: Ord + Clone, T> Fair<K, T> {
    pub(super) fn of_at_most(most: usize) -> Fair<K, T> {
        Fair { lines: BTreeMap::new(), last: None, most }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Lines something up; gives it back where the line is full.
    pub(super) fn push(&mut self, of: K, item: T) -> Result<(), T> {
        if self.lines.get(&of).is_some_and(|line| line.len() >= self.most) {
            return Err(item);
        }
        self.lines.entry(of).or_default().push_back(item);
        Ok(())
    }

    /// The first of the line whose turn it is; none if there is none, or it does not fit: then it is still its turn.
    pub(super) fn take(&mut self, fits: impl FnOnce(&T) -> bool) -> Option<T> {
        let after = |last: &K| self.lines.range::<K, _>((Bound::Excluded(last), Bound::Unbounded)).next();
        let next = self.last.as_ref().and_then(after).or_else(|| self.lines.iter().next());
        let next = next.map(|(of, _)| of.clone())?;
        let line = self.lines.get_mut(&next)?;
        if !line.front().is_some_and(fits) {
            return None;
        }
        let item = line.pop_front();
        if line.is_empty() {
            self.lines.remove(&next);
        }
        self.last = Some(next);
        item
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_turn_however_much_another_brings() {
        let mut fair = Fair::of_at_most(3);
        for n in 0..3 {
            assert_eq!(fair.push("a", ("a", n)), Ok(()));
        }
        assert_eq!(fair.push("a", ("a", 3)), Err(("a", 3)), "its line is full");
        assert_eq!((fair.push("b", ("b", 0)), fair.push("c", ("c", 0))), (Ok(()), Ok(())));
        let mut order = Vec::new();
        while let Some(item) = fair.take(|_| true) {
            order.push(item);
            // Who comes again stands behind the others.
            if order.len() == 2 {
                fair.push("b", ("b", 1)).unwrap();
            }
        }
        assert_eq!(order, [("a", 0), ("b", 0), ("c", 0), ("a", 1), ("b", 1), ("a", 2)]);
        assert!(fair.is_empty());
    }

    #[test]
    fn whoever_does_not_fit_is_the_next() {
        let mut fair = Fair::of_at_most(3);
        for (of, size) in [("a", 5), ("b", 9), ("c", 1)] {
            fair.push(of, size).unwrap();
        }
        assert_eq!((fair.take(|n| *n < 6), fair.take(|n| *n < 6), fair.take(|n| *n < 10)), (Some(5), None, Some(9)));
    }
}
