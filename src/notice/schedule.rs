//! When a letter is tried again, and by which paths. Pure; it is filled from the book after a start.
//!
//! A letter is tried until its receipt is here or it expires. A flash goes by every path at once; others go direct
//! first and by relays once the direct path has not worked. A peer that answers again makes all that waits for it
//! due at once.

use super::book::Book;
use super::letter::LetterDigest;
use crate::domain::ids::AgencyId;
use crate::domain::notice::Precedence;
use crate::domain::time::Millis;
use std::collections::BTreeMap;

/// An immediate goes by relays too after this long without a receipt.
const IMMEDIATE_ALONE_MS: u64 = 2_000;
/// Others after this many attempts.
const ALONE_ATTEMPTS: u32 = 3;

/// A notice whose withdrawal is under way is looked at again after this long.
const HELD_BACK_MS: u64 = 200;
/// A letter for which no path had room, after this long; twice as long each time, up to the second.
const NO_ROOM_MS: (u64, u64) = (50, 1_600);

/// First pause and longest pause between attempts, in milliseconds.
fn pauses(precedence: Precedence) -> (u64, u64) {
    match precedence {
        Precedence::Flash => (100, 500),
        Precedence::Immediate => (200, 500),
        Precedence::Priority => (500, 2_000),
        Precedence::Routine => (1_000, 10_000),
    }
}

#[derive(Debug, Clone, Copy)]
struct Attempt {
    count: u32,
    /// How often in turn no path had room.
    no_room: u32,
    next: Millis,
}

/// One attempt that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Try {
    /// Which letter.
    pub letter: LetterDigest,
    /// How urgent it is.
    pub precedence: Precedence,
    /// By every relay too.
    pub relays: bool,
}

/// The attempts of one node, by addressee.
#[derive(Debug, Default)]
pub struct Schedule {
    attempts: BTreeMap<AgencyId, BTreeMap<LetterDigest, Attempt>>,
}

impl Schedule {
    /// A letter is to be sent; due at once.
    pub fn add(&mut self, to: &AgencyId, letter: LetterDigest) {
        let new = Attempt { count: 0, no_room: 0, next: Millis(0) };
        self.attempts.entry(to.clone()).or_default().entry(letter).or_insert(new);
    }

    /// What is due, most urgent first; each counts as tried. What is no longer open is forgotten when it is due, and a
    /// notice waits for its own withdrawal. `now` is the clock of letters, `steady` the one of pauses; `jitter(n)` answers
    /// a number below `n`.
    pub fn due(&mut self, book: &Book, now: Millis, steady: Millis, mut jitter: impl FnMut(u64) -> u64) -> Vec<Try> {
        let mut due = Vec::new();
        for letters in self.attempts.values_mut() {
            letters.retain(|letter, attempt| {
                if attempt.next > steady {
                    return true;
                }
                let Some(out) = book.still_open(letter) else { return false };
                if book.is_held_back(out) {
                    attempt.next = steady.plus_ms(HELD_BACK_MS);
                    return true;
                }
                let precedence = out.letter.header.precedence;
                let relays = match precedence {
                    Precedence::Flash => true,
                    Precedence::Immediate => out.accepted.plus_ms(IMMEDIATE_ALONE_MS) <= now,
                    Precedence::Priority | Precedence::Routine => attempt.count >= ALONE_ATTEMPTS,
                };
                due.push(Try { letter: *letter, precedence, relays });
                let (first, longest) = pauses(precedence);
                let pause = first.saturating_mul(1 << attempt.count.min(10)).min(longest);
                attempt.count = attempt.count.saturating_add(1);
                attempt.next = steady.plus_ms(pause - jitter(pause / 4));
                true
            });
        }
        self.attempts.retain(|_, letters| !letters.is_empty());
        due.sort_by_key(|t| t.precedence);
        due
    }

    /// A letter was due and no path had room: it was not tried, and is due again soon.
    pub fn untried(&mut self, to: &AgencyId, letter: &LetterDigest, steady: Millis) {
        if let Some(attempt) = self.attempts.get_mut(to).and_then(|l| l.get_mut(letter)) {
            let (first, longest) = NO_ROOM_MS;
            attempt.count = attempt.count.saturating_sub(1);
            attempt.next = steady.plus_ms(first.saturating_mul(1 << attempt.no_room.min(10)).min(longest));
            attempt.no_room = attempt.no_room.saturating_add(1);
        }
    }

    /// A path to an agency works again: what waits for it is due now. True if something does.
    pub fn reachable(&mut self, agency: &AgencyId) -> bool {
        let waiting = self.attempts.get_mut(agency);
        waiting.map(|w| w.values_mut().for_each(|a| a.next = Millis(0))).is_some()
    }

    /// A path to some other node works again, which may pass letters on: all that waits is due now.
    pub fn all_due(&mut self) {
        self.attempts.values_mut().flat_map(BTreeMap::values_mut).for_each(|a| a.next = Millis(0));
    }

    /// When something is due next; none while nothing waits.
    pub fn next(&self) -> Option<Millis> {
        self.attempts.values().flat_map(BTreeMap::values).map(|a| a.next).min()
    }
}
