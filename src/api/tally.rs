//! How many calls this process answered with an error since its start, by kind: neither whose nor about what. One process
//! is one node, so the counts are the process's.

use crate::domain::fault::FaultKind;
use std::sync::atomic::{AtomicU64, Ordering};

/// The kinds in the order of their discriminants.
const KINDS: &[(FaultKind, &str)] = &[
    (FaultKind::Usage, "usage"),
    (FaultKind::Refused, "refused"),
    (FaultKind::NotFound, "not-found"),
    (FaultKind::Unavailable, "unavailable"),
    (FaultKind::Integrity, "integrity"),
    (FaultKind::Conflict, "conflict"),
    (FaultKind::Partial, "partial"),
    (FaultKind::Internal, "internal"),
];

static REFUSED: [AtomicU64; KINDS.len()] = [const { AtomicU64::new(0) }; KINDS.len()];

/// Counts an answer.
pub(super) fn count(kind: FaultKind) {
    if let Some(count) = REFUSED.get(kind as usize) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// The counts by kind. What is denied and what is absent are of one kind.
pub fn refused_calls() -> impl Iterator<Item = (&'static str, u64)> {
    KINDS.iter().zip(&REFUSED).map(|((_, name), count)| (*name, count.load(Ordering::Relaxed)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_count() {
        for (at, (kind, name)) in KINDS.iter().enumerate() {
            assert_eq!(*kind as usize, at, "{name}");
            // Other tests of this process may count too.
            let before = refused_calls().nth(at).unwrap();
            count(*kind);
            let after = refused_calls().nth(at).unwrap();
            assert!(after.0 == *name && after.1 > before.1);
        }
    }
}
