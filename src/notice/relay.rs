//! What a relay remembers of the letters that it passes on for others (P25). Pure; nothing of it is on disk.
//!
//! Invariants
//! - A letter is on its way to its addressee at most once at a time, and never again once a receipt for it came back.
//! - What a letter counts as is settled once, however often it is tried.
//! - No word of a person is kept or passed back.

use super::letter::LetterDigest;
use super::receipt::SignedReceipt;
use crate::domain::ids::NoticeId;
use crate::domain::notice::Precedence;
use std::collections::{BTreeMap, VecDeque};

/// Most letters that are remembered; beyond it the oldest is forgotten, and would be passed on again.
const REMEMBERED: usize = 10_000;
/// Most receipts that go back for one letter.
const RECEIPTS: usize = 8;

/// Letters that are or were passed on.
#[derive(Debug, Clone)]
pub struct Relay {
    most: usize,
    by_letter: BTreeMap<LetterDigest, Passing>,
    /// The oldest first.
    order: VecDeque<LetterDigest>,
}

#[derive(Debug, Clone)]
struct Passing {
    /// What it counts as.
    precedence: Precedence,
    /// None while it is under way or has not arrived.
    receipts: Option<Vec<SignedReceipt>>,
    under_way: bool,
}

/// What becomes of a letter that somebody asks to have passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passage {
    /// It goes to its addressee now, as one of this precedence. [`Relay::arrived`] or [`Relay::failed`] ends that.
    Begun(Precedence),
    /// It is on its way already.
    UnderWay,
    /// It arrived before, with these receipts.
    Arrived(Vec<SignedReceipt>),
}

impl Default for Relay {
    fn default() -> Relay {
        Relay::remembering(REMEMBERED)
    }
}

impl Relay {
    /// One that remembers so many letters.
    pub(super) fn remembering(most: usize) -> Relay {
        Relay { most, by_letter: BTreeMap::new(), order: VecDeque::new() }
    }

    /// A letter is to be passed on. `counted` says what it counts as, and is asked the first time only.
    pub fn begin(&mut self, letter: LetterDigest, counted: impl FnOnce() -> Precedence) -> Passage {
        if let Some(known) = self.by_letter.get_mut(&letter) {
            if let Some(receipts) = &known.receipts {
                return Passage::Arrived(receipts.clone());
            }
            if std::mem::replace(&mut known.under_way, true) {
                return Passage::UnderWay;
            }
            return Passage::Begun(known.precedence);
        }
        if self.order.len() >= self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_letter.remove(&oldest);
        }
        let precedence = counted();
        self.order.push_back(letter);
        self.by_letter.insert(letter, Passing { precedence, receipts: None, under_way: true });
        Passage::Begun(precedence)
    }

    /// Its addressee has it, and answered with what [`passed_back`] left of its receipts.
    pub fn arrived(&mut self, letter: &LetterDigest, receipts: Vec<SignedReceipt>) {
        if let Some(passing) = self.by_letter.get_mut(letter) {
            passing.receipts = Some(receipts);
            passing.under_way = false;
        }
    }

    /// The attempt is over. What did not arrive may be tried again.
    pub fn failed(&mut self, letter: &LetterDigest) {
        if let Some(passing) = self.by_letter.get_mut(letter) {
            passing.under_way = false;
        }
    }
}

/// What of an addressee's answer goes back to the sender: its word on this notice, and no word of a person. `genuine` says
/// whether a node of the addressee signed it.
pub fn passed_back(
    notice: &NoticeId,
    mut receipts: Vec<SignedReceipt>,
    genuine: impl Fn(&SignedReceipt) -> bool,
) -> Vec<SignedReceipt> {
    receipts.retain(|r| r.receipt.notice == *notice && r.receipt.by.is_none() && genuine(r));
    receipts.truncate(RECEIPTS);
    receipts
}
