//! Retention (P26): what a notice says is kept thirty days, in memory and on disk, and then deleted.
//!
//! The book forgets a letter thirty days after it was accepted or taken in. The journal begins a segment each day, and a
//! segment goes when everything in it is older: so the disk is at most one day behind the book. Nobody is shown a forgotten
//! letter a second time: it expired long before, and what has expired is not taken in ([`Office::take`]).
//!
//! Deletion needs the ledger's time and the node's own (P4): the caller gives the earlier one, so that neither a clock that
//! jumps nor a ledger that runs ahead deletes what is young.

use super::book::Book;
use super::error::NoticeError;
use super::frame::Frame;
use super::office::Office;
use crate::domain::time::Millis;
use std::collections::VecDeque;
use std::sync::PoisonError;

/// Kept at least this long.
pub const KEPT_MS: u64 = 30 * DAY_MS;
const DAY_MS: u64 = 24 * 3_600_000;

/// From which frame on a day is.
#[derive(Default)]
pub(super) struct Days(VecDeque<(Millis, u64)>);

impl Days {
    /// A frame with its number, at a start, in the order of the journal.
    pub(super) fn frame(&mut self, frame: &Frame, seq: u64) {
        if self.begins_at(frame.at()) {
            self.0.push_back((frame.at(), seq));
        }
    }

    fn begins_at(&self, at: Millis) -> bool {
        self.0.back().is_none_or(|(last, _)| at >= last.plus_ms(DAY_MS))
    }

    /// The number of the first frame that may be younger than `cut`: that of the last day which began before it.
    fn keep_from(&mut self, cut: Millis) -> Option<u64> {
        // A day is over when the next one began; all of it is old when the next one's beginning is.
        while self.0.get(1).is_some_and(|(next, _)| *next <= cut) {
            self.0.pop_front();
        }
        self.0.front().map(|(_, seq)| *seq)
    }
}

/// What was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retired {
    /// Letters that the book forgot.
    pub letters: usize,
    /// Frames that are on the disk no more.
    pub frames: u64,
}

impl Office {
    /// Forgets what is older than thirty days at `now`, the earlier of ledger time and own clock. It blocks for some syncs.
    ///
    /// # Errors
    /// A failed journal, which ends the node.
    pub fn retire(&self, now: Millis) -> Result<Retired, NoticeError> {
        let Some(cut) = now.0.checked_sub(KEPT_MS).map(Millis) else { return Ok(Retired { letters: 0, frames: 0 }) };
        let keep_from = {
            let mut days = self.days.lock().unwrap_or_else(PoisonError::into_inner);
            if days.begins_at(now) {
                // What came before the first day is known belongs to it.
                let known = !days.0.is_empty();
                let seq = if known { self.journal.next_seq() } else { self.journal.first_seq() };
                days.0.push_back((now, seq));
                self.journal.begin_segment()?;
            }
            days.keep_from(cut)
        };
        let letters = self.change(|book| book.forget(cut));
        let before = self.journal.first_seq();
        if let Some(keep_from) = keep_from.filter(|k| *k > before) {
            self.journal.trim_front(keep_from)?;
        }
        let frames = self.journal.first_seq().saturating_sub(before);
        if letters > 0 {
            self.desks.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        if frames > 0 {
            self.restart_chain();
        }
        Ok(Retired { letters, frames })
    }
}

impl Book {
    /// Forgets letters that were accepted or taken in before `cut`, unless they are still tried. Answers how many.
    pub(super) fn forget(&mut self, cut: Millis) -> usize {
        let before = self.sent.len() + self.received.len();
        let open: std::collections::BTreeSet<_> = self.open.iter().map(|(_, letter)| *letter).collect();
        self.sent.retain(|letter, o| o.accepted > cut || open.contains(letter));
        self.received.retain(|_, i| i.at > cut);
        let (sent, received) = (&self.sent, &self.received);
        let gone = self.arrivals.iter().take_while(|l| !received.contains_key(*l)).count();
        self.arrivals.drain(..gone);
        self.forgotten += gone;
        self.by_notice.retain(|_, letters| {
            letters.retain(|l| sent.contains_key(l) || received.contains_key(l));
            !letters.is_empty()
        });
        let known = &self.by_notice;
        self.unsettled.retain(|l| sent.contains_key(l) || received.contains_key(l));
        self.unrung.retain(|l| received.contains_key(l));
        self.provisional.retain(|notice| known.contains_key(notice));
        self.cancelled.retain(|of| known.contains_key(&of.0) || self.cancelling.contains(of));
        before - self.sent.len() - self.received.len()
    }
}
