//! Token buckets: how much of each precedence somebody may send before it counts as less urgent (P25). Pure.

use crate::domain::notice::Precedence;
use crate::domain::time::Millis;
use std::collections::BTreeMap;

/// Most senders that are told apart; beyond it the longest unused is forgotten, which gives it a full bucket.
const SENDERS: usize = 10_000;

/// A bucket's size and what it gains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Notices at once.
    pub burst: u64,
    /// Notices a second.
    pub per_second: u64,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Thousandths of a notice.
    milli: u64,
    at: Millis,
}

/// Buckets by sender, precedence, and whether it is an exercise: exercises never use up real traffic's share.
#[derive(Debug, Default)]
pub struct Quota {
    buckets: BTreeMap<(String, Precedence, bool), Bucket>,
}

impl Quota {
    /// Takes one notice out of a bucket; false if it is empty. A clock that goes back gains nothing.
    pub fn take(&mut self, who: &str, precedence: Precedence, exercise: bool, allowed: Allowance, now: Millis) -> bool {
        let full = allowed.burst.saturating_mul(1000);
        let key = (who.to_owned(), precedence, exercise);
        if self.buckets.len() >= SENDERS
            && !self.buckets.contains_key(&key)
            && let Some(oldest) = self.buckets.iter().min_by_key(|(_, b)| b.at).map(|(k, _)| k.clone())
        {
            self.buckets.remove(&oldest);
        }
        let bucket = self.buckets.entry(key).or_insert(Bucket { milli: full, at: now });
        let gained = now.0.saturating_sub(bucket.at.0).saturating_mul(allowed.per_second);
        bucket.milli = bucket.milli.saturating_add(gained).min(full);
        bucket.at = bucket.at.max(now);
        let enough = bucket.milli >= 1000;
        bucket.milli = bucket.milli.saturating_sub(if enough { 1000 } else { 0 });
        enough
    }
}

/// What a sender may do of each precedence before a relay or receiver counts it as the next lower one.
pub fn origin_allowance(precedence: Precedence) -> Allowance {
    match precedence {
        Precedence::Flash => Allowance { burst: 600, per_second: 60 },
        Precedence::Immediate => Allowance { burst: 2_000, per_second: 200 },
        Precedence::Priority | Precedence::Routine => Allowance { burst: 10_000, per_second: 1_000 },
    }
}

/// The next lower precedence; routine stays.
pub fn demoted(precedence: Precedence) -> Precedence {
    match precedence {
        Precedence::Flash => Precedence::Immediate,
        Precedence::Immediate => Precedence::Priority,
        Precedence::Priority | Precedence::Routine => Precedence::Routine,
    }
}

/// Flashes of one person, and of a whole agency: more are refused before they are accepted.
pub fn flash_allowance(exercise: bool) -> (Allowance, Allowance) {
    if exercise {
        let exercise = Allowance { burst: 5_000, per_second: 500 };
        return (exercise, exercise);
    }
    (Allowance { burst: 60, per_second: 1 }, Allowance { burst: 240, per_second: 4 })
}

#[cfg(test)]
mod tests {
    use super::super::{LetterKind, memory_work};
    use super::*;

    const TWO: Allowance = Allowance { burst: 2, per_second: 1 };

    #[test]
    fn a_bucket_empties_and_fills_again_and_exercises_have_their_own() {
        let mut quota = Quota::default();
        let mut take = |exercise, ms| quota.take("police/duty", Precedence::Flash, exercise, TWO, Millis(ms));
        assert!(take(false, 5_000) && take(false, 5_000));
        assert!(!take(false, 5_000), "empty");
        assert!(take(true, 5_000), "an exercise uses its own");
        assert!(!take(false, 5_999));
        assert!(take(false, 6_000));
        assert!(!take(false, 1_000), "a clock that goes back gains nothing");
        assert!(!take(false, 6_500));
        assert!(take(false, 100_000) && take(false, 100_000) && !take(false, 100_000), "never more than its size");
    }

    /// A sender that calls everything urgent gets no more memory than its share of what is urgent.
    #[test]
    fn beyond_its_share_urgency_gets_no_memory() {
        let (mut quota, bound) = (Quota::default(), 16_000);
        let mut fits = |precedence: Precedence| {
            let within = quota.take("police", precedence, false, origin_allowance(precedence), Millis(5_000));
            let counted = if within { precedence } else { demoted(precedence) };
            memory_work(LetterKind::Notice, precedence, Some(counted)).fits_memory(2 * bound, bound)
        };
        for urgent in [Precedence::Flash, Precedence::Immediate] {
            let burst = origin_allowance(urgent).burst;
            assert!((0..burst).all(|_| fits(urgent)), "its share");
            assert!((0..burst).all(|_| !fits(urgent)), "and no more");
        }
        assert!(!fits(Precedence::Routine));
        // What follows a notice that is out already has the room of a flash.
        assert!(memory_work(LetterKind::Recall, Precedence::Routine, None).fits_memory(2 * bound, bound));
    }

    #[test]
    fn senders_are_bounded() {
        let mut quota = Quota::default();
        for n in 0..SENDERS as u64 + 50 {
            quota.take(&n.to_string(), Precedence::Routine, false, TWO, Millis(n));
        }
        assert_eq!(quota.buckets.len(), SENDERS);
    }
}
