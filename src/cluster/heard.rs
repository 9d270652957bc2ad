//! What voters signed lately: two words of one voter on one index that differ prove that it lies, or that its disk does (P7).
//!
//! Its later words count like before (`docs/decisions/0018`).

use super::certificate::Attestation;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Indices remembered of each voter, the highest ones.
const INDICES: usize = 64;

/// Words that verified, by voter and index.
#[derive(Default)]
pub(super) struct Heard(Mutex<BTreeMap<u64, BTreeMap<u64, Attestation>>>);

impl Heard {
    /// Remembers a word that verifies; answers the earlier one on its index if that is another.
    pub(super) fn hear(&self, a: &Attestation) -> Option<Attestation> {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let words = heard.entry(a.voter).or_default();
        if let Some(earlier) = words.get(&a.index) {
            return (earlier.digest != a.digest).then(|| earlier.clone());
        }
        words.insert(a.index, a.clone());
        if words.len() > INDICES {
            words.pop_first();
        }
        None
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::super::certificate::attest;
    use super::*;
    use crate::ledger::fixture::{Agency, federation};

    #[test]
    fn two_words_on_one_index_are_noticed_and_memory_is_bounded() {
        let f = federation();
        let word = |a: &Agency, index, digest| attest(&f.id, a.node.0, &a.node_key, (index, [digest; 32]));
        let heard = Heard::default();
        assert_eq!(heard.hear(&word(&f.police, 7, 1)), None);
        assert_eq!(heard.hear(&word(&f.police, 7, 1)), None, "the same again");
        assert_eq!(heard.hear(&word(&f.customs, 7, 2)), None, "another voter's");
        assert_eq!(heard.hear(&word(&f.police, 8, 2)), None, "another index");
        assert_eq!(heard.hear(&word(&f.police, 7, 2)), Some(word(&f.police, 7, 1)));
        for index in 8..8 + 2 * INDICES as u64 {
            heard.hear(&word(&f.police, index, 2));
        }
        let held: usize = heard.0.lock().unwrap().values().map(BTreeMap::len).sum();
        assert_eq!(held, INDICES + 1);
    }
}
