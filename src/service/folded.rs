//! Refusals that a peer or person can cause at will: a few of each kind and minute are events of their own, the rest is
//! counted in one. Each event is an fsync and stays for good, so nobody may fill the log with them.

use crate::domain::ids::AgencyId;
use crate::domain::time::Millis;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

const MINUTE_MS: u64 = 60_000;
/// Events of their own, of each agency, kind and minute.
const OF_MINUTE: u64 = 20;

type Kind = (AgencyId, &'static str);

struct Window {
    since: Millis,
    seen: u64,
}

/// What was refused lately.
#[derive(Default)]
pub struct Folded(Mutex<BTreeMap<Kind, Window>>);

impl Folded {
    /// Whether one more refusal is an event of its own; else it is counted.
    pub(super) fn is_told(&self, agency: &AgencyId, kind: &'static str, now: Millis) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let window = all.entry((agency.clone(), kind)).or_insert(Window { since: now, seen: 0 });
        window.seen = window.seen.saturating_add(1);
        window.seen <= OF_MINUTE
    }

    /// Kinds whose minute is over, with how many of each were only counted.
    pub(super) fn over(&self, now: Millis) -> Vec<(Kind, u64)> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that goes back must not keep a window open.
        let is_over = |w: &Window| now.0.abs_diff(w.since.0) >= MINUTE_MS;
        let over: Vec<(Kind, u64)> = all
            .iter()
            .filter(|(_, w)| is_over(w))
            .map(|(kind, w)| (kind.clone(), w.seen.saturating_sub(OF_MINUTE)))
            .collect();
        over.iter().for_each(|(kind, _)| {
            all.remove(kind);
        });
        over.into_iter().filter(|(_, more)| *more > 0).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_a_few_is_counted() {
        let folded = Folded::default();
        let (police, customs): (AgencyId, AgencyId) = ("police".parse().unwrap(), "customs".parse().unwrap());
        let told = (0..100).filter(|n| folded.is_told(&police, "pull", Millis(*n))).count() as u64;
        assert_eq!(told, OF_MINUTE);
        assert!(folded.is_told(&police, "push", Millis(100)) && folded.is_told(&customs, "pull", Millis(100)));
        assert!(folded.over(Millis(59_999)).is_empty());
        assert_eq!(folded.over(Millis(60_000)), [((police.clone(), "pull"), 100 - OF_MINUTE)]);
        assert!(folded.is_told(&police, "pull", Millis(60_001)), "a new minute");
    }
}
