//! Retention (P26): what a notice says is kept thirty days, in memory and on disk, and then deleted.
//!
//! The book forgets a letter thirty days after its sender made it, at both sides alike; how much earlier that may be than its
//! arrival is bounded by the lifetime of its precedence, which the receiver checks. The journal begins a segment each day, and
//! a segment goes when everything in it is older: so the disk is at most one day behind the book. Nobody is shown a forgotten
//! letter a second time: it expired long before, and what has expired is not taken in ([`Office::take`]).
//!
//! Deletion needs the ledger's time and the node's own (P4): the caller gives the earlier one, so that neither a clock that
//! jumps nor a ledger that runs ahead deletes what is young. A day on disk is marked by the latest time that anything in it
//! may have, the own clock's: a ledger that stood still makes nothing old. So after a clock that ran ahead the disk keeps
//! what it has until the time that this clock showed; the book does not.

use super::book::Book;
use super::error::NoticeError;
use super::frame::Frame;
use super::letter::LetterKind;
use super::office::Office;
use crate::domain::ids::{AgencyId, NoticeId};
use crate::domain::notice::Precedence;
use crate::domain::time::Millis;
use std::collections::VecDeque;
use std::sync::PoisonError;

/// Kept at least this long.
pub const KEPT_MS: u64 = 30 * DAY_MS;
const DAY_MS: u64 = 24 * 3_600_000;
/// No notice comes in any more that is older: its time is over, whatever its precedence and its sender's clock.
const COMES_MS: u64 = Precedence::Routine.lifetime_ms() + DAY_MS;

/// From which frame on a day is.
#[derive(Default)]
pub(super) struct Days {
    begun: VecDeque<(Millis, u64)>,
    /// The latest time of any frame so far.
    latest: Millis,
}

impl Days {
    /// A frame with its number, at a start, in the order of the journal.
    pub(super) fn frame(&mut self, frame: &Frame, seq: u64) {
        self.written(frame);
        if self.begins_at(self.latest) {
            self.begun.push_back((self.latest, seq));
        }
    }

    /// A frame that is about to be written.
    pub(super) fn written(&mut self, frame: &Frame) {
        self.latest = self.latest.max(frame.at());
    }

    fn begins_at(&self, at: Millis) -> bool {
        self.begun.back().is_none_or(|(last, _)| at >= last.plus_ms(DAY_MS))
    }

    /// The number of the first frame that may be younger than `cut`: that of the last day which began before it.
    fn keep_from(&mut self, cut: Millis) -> Option<u64> {
        // A day is over when the next one began; all of it is old when the next one's beginning is.
        while self.begun.get(1).is_some_and(|(next, _)| *next <= cut) {
            self.begun.pop_front();
        }
        self.begun.front().map(|(_, seq)| *seq)
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
    /// Forgets what is older than thirty days by both clocks. It blocks for some syncs.
    ///
    /// # Errors
    /// A failed journal, which ends the node.
    pub fn retire(&self, ledger: Millis, own: Millis) -> Result<Retired, NoticeError> {
        let Some(cut) = ledger.min(own).0.checked_sub(KEPT_MS).map(Millis) else {
            return Ok(Retired { letters: 0, frames: 0 });
        };
        let (begins, keep_from) = {
            let mut days = self.days.lock().unwrap_or_else(PoisonError::into_inner);
            let now = own.max(days.latest);
            let begins = days.begins_at(now);
            if begins {
                // What came before the first day is known belongs to it.
                let known = !days.begun.is_empty();
                let seq = if known { self.journal.next_seq() } else { self.journal.first_seq() };
                days.begun.push_back((now, seq));
            }
            (begins, days.keep_from(cut))
        };
        // Not under the lock: whoever writes a notice meanwhile does not wait for this sync twice. What gets into the old
        // segment keeps it.
        if begins {
            self.journal.begin_segment()?;
        }
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
    /// Forgets letters that their senders made before `cut`, unless they are still tried. Answers how many.
    pub(super) fn forget(&mut self, cut: Millis) -> usize {
        let before = self.sent.len() + self.received.len();
        let open: std::collections::BTreeSet<_> = self.open.iter().map(|(_, letter)| *letter).collect();
        self.forget_withheld(cut);
        self.sent.retain(|letter, o| o.letter.header.created > cut || open.contains(letter));
        self.received.retain(|_, i| i.header.created > cut);
        let (sent, received) = (&self.sent, &self.received);
        let gone = self.arrivals.iter().take_while(|l| !received.contains_key(*l)).count();
        self.arrivals.drain(..gone);
        self.forgotten += gone;
        let gone = self.recalls.iter().take_while(|l| !received.contains_key(*l)).count();
        self.recalls.drain(..gone);
        self.recalls_forgotten += gone;
        self.by_notice.retain(|_, letters| {
            letters.retain(|l| sent.contains_key(l) || received.contains_key(l));
            !letters.is_empty()
        });
        let known = &self.by_notice;
        self.unsettled.retain(|l| sent.contains_key(l) || received.contains_key(l));
        self.unrung.retain(|l| received.contains_key(l));
        self.provisional.retain(|notice| known.contains_key(notice));
        self.about.retain(|of, letter| known.contains_key(&of.0) || open.contains(letter));
        let (cancelling, about) = (&self.cancelling, &self.about);
        let recalled =
            |(notice, to): &(NoticeId, AgencyId)| about.contains_key(&(*notice, to.clone(), LetterKind::Recall));
        self.cancelled.retain(|of| known.contains_key(&of.0) || cancelling.contains(of) || recalled(of));
        before - self.sent.len() - self.received.len()
    }

    /// Withdrawals that came before their notices. Those whose notice never comes go as soon as it cannot: each node of an agency
    /// but the home has one for every recall, and they are bounded.
    fn forget_withheld(&mut self, cut: Millis) {
        let comes = cut.plus_ms(KEPT_MS - COMES_MS);
        let is_old = |notice: &NoticeId| {
            let created = notice.created();
            created <= cut || created <= comes && self.received_of(notice).is_none()
        };
        let old: Vec<_> = self.withheld.iter().filter(|(_, notice)| is_old(notice)).cloned().collect();
        for (from, notice) in old {
            if self.received_of(&notice).is_none()
                && let Some(waiting) = self.withheld_of.get_mut(&from)
            {
                *waiting = waiting.saturating_sub(1);
            }
            self.withheld.remove(&(from, notice));
        }
    }
}
