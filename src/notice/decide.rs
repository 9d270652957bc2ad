//! What a node does about each thing that happens to its letters, decided by its book alone. Pure: an event and the time in;
//! what is to be signed, made durable and answered out.
//!
//! The shell ([`Office`](super::Office)) has checked before whose letter it is and which receipts verify. It signs what a
//! decision names, makes the frames durable, folds them, and only then answers. Events of one notice are decided one after
//! the other, each on a book that has the frames of all before it.
//!
//! Invariants
//! - Every copy of a letter gets all receipts so far, and none of them is made twice.
//! - Whatever part of a decision's frames a power cut leaves, counted from the first, the same event again completes it.
//! - What somebody may have seen is never withdrawn, and what is withdrawn or recalled is never opened.

use super::book::{Book, In, Out};
use super::error::NoticeError;
use super::frame::{Frame, Warned};
use super::letter::{Letter, LetterDigest, LetterHeader, LetterKind};
use super::office::{Draft, Taken, Word};
use super::receipt::{Receipt, SignedReceipt};
use crate::domain::ids::{AgencyId, NoticeId};
use crate::domain::notice::{Precedence, ReceiptState};
#[cfg(test)]
use crate::domain::planted::{Planted, is_planted};
use crate::domain::reserve::Work;
use crate::domain::time::Millis;
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// A sender's clock may be off by this much.
const SLACK_MS: u64 = 3_600_000;
/// Most withdrawals of one sender that wait for notices that never came.
pub(super) const WITHHELD: usize = 1_000;
/// Most receipts that are kept for one letter: people's acknowledgements and answers, each once.
const RECEIPTS: usize = 64;
/// Most notices that wait for one addressee, of each precedence: a flash is still taken when routine is refused.
const WAITING: [usize; 4] = [20_000, 15_000, 10_000, 5_000];

/// Which room on the disk a letter has. What takes a notice back, or confirms its marking, has that of a flash: a disk that
/// is short must not keep wrong words standing.
pub fn disk_work(kind: LetterKind, precedence: Precedence) -> Work {
    Work::Notice(match kind {
        LetterKind::Notice => precedence,
        LetterKind::Receipt | LetterKind::Cancel | LetterKind::Recall | LetterKind::Confirm => Precedence::Flash,
    })
}

/// As what a letter that came in asks for memory; `counted` is what its precedence counts as here (P25). Who sends more of one
/// than its share is handled as the least urgent: what nobody bounds would fill the memory whatever it is called. Its sender
/// tries again.
pub fn memory_work(kind: LetterKind, precedence: Precedence, counted: Option<Precedence>) -> Work {
    match counted {
        Some(counted) if counted != precedence => Work::Notice(Precedence::Routine),
        _ => disk_work(kind, precedence),
    }
}

/// What happens to the letters of a node.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event<'a> {
    /// A letter for this agency came in, genuine. What a receipt's letter carries is an event of its own, before it.
    Came {
        /// The letter.
        letter: &'a Letter,
        /// Its digest.
        digest: LetterDigest,
        /// What its content names: of a recall, the units and persons whom the recalled notice is for; of a confirmation,
        /// who confirmed.
        names: &'a [String],
        /// Of a recall, what warning the recalled notice is, if it is one.
        warning: Option<Warned>,
    },
    /// Receipts came in, each signed by a node of its addressee.
    Told(&'a [SignedReceipt]),
    /// A notice is about to be opened for somebody.
    Opening {
        /// Which letter.
        letter: &'a LetterDigest,
        /// Name of the person.
        person: &'a str,
    },
    /// A person's terminal displays a notice.
    Shown {
        /// Which letter.
        letter: &'a LetterDigest,
        /// Name of the person.
        person: &'a str,
    },
    /// A person's terminal displays that a notice was recalled.
    RecallShown {
        /// The notice's letter.
        letter: &'a LetterDigest,
        /// Name of the person.
        person: &'a str,
    },
    /// A later receipt is to be made for a notice that came in.
    Said {
        /// Which letter.
        letter: &'a LetterDigest,
        /// What it says.
        step: ReceiptState,
        /// Whose word it is, and what they answer.
        word: Option<&'a Word>,
    },
}

/// What is to be done about an event.
#[derive(Debug, Default)]
pub(super) struct Decision {
    /// Receipts made before, which are answered again.
    pub(super) again: Vec<SignedReceipt>,
    /// Receipts to be signed, in this order, and answered after those.
    pub(super) sign: Vec<Sign>,
    /// Frames to be made durable after those of the signed receipts.
    pub(super) frames: Vec<Frame>,
    /// Whether people are told of a notice that was not here before.
    pub(super) new: bool,
}

/// A receipt that this node is to sign.
#[derive(Debug)]
pub(super) struct Sign {
    /// The notice.
    pub(super) notice: NoticeId,
    /// The letter that it is for.
    pub(super) letter: LetterDigest,
    /// What it says.
    pub(super) state: ReceiptState,
    /// Digest of this letter's receipt before it, unless the same decision signs that one too.
    pub(super) previous: Option<[u8; 32]>,
    /// What becomes durable with it.
    pub(super) keep: Keep,
}

/// What becomes durable with a receipt.
#[derive(Debug)]
pub(super) enum Keep {
    /// Nothing: it is answered, and made again for the next copy.
    Nothing,
    /// The notice that it is for.
    Received(Box<Letter>),
    /// The receipt; it goes back in the answer to a call.
    Own,
    /// The receipt, and the letter that carries it back.
    Carried,
    /// The receipt, what recalled the notice that it is for, and whom and what warning that names.
    Recalled(Box<Letter>, Vec<String>, Option<Warned>),
}

impl Decision {
    /// Whether a notice is taken in. It must open before that is receipted.
    pub(super) fn takes_in(&self) -> bool {
        self.sign.iter().any(|s| matches!(s.keep, Keep::Received(_)))
    }

    /// Signs by `make`, which also seals the letter that carries a receipt back. Answers the frames, in the order in which
    /// they are to be durable, and what is answered once they are.
    pub(super) fn fulfil(
        self,
        now: Millis,
        mut make: impl FnMut(&Sign, Option<[u8; 32]>) -> Result<(SignedReceipt, Option<Letter>), NoticeError>,
    ) -> Result<(Vec<Frame>, Taken), NoticeError> {
        let Decision { again, sign, frames: plain, new } = self;
        let mut frames = Vec::new();
        let mut signed: Vec<SignedReceipt> = Vec::new();
        for s in sign {
            let before = signed.iter().rfind(|r| r.receipt.letter == s.letter).map(SignedReceipt::digest);
            let (receipt, carrier) = make(&s, before.or(s.previous))?;
            signed.push(receipt.clone());
            match s.keep {
                Keep::Nothing => {}
                Keep::Received(letter) => frames.push(Frame::Received { letter: *letter, receipt, at: now }),
                Keep::Own | Keep::Carried => frames.push(Frame::Own { receipt, carrier, at: now }),
                Keep::Recalled(letter, desks, warning) => {
                    frames.push(Frame::Recalled { letter: *letter, receipt, desks, warning, at: now });
                }
            }
        }
        frames.extend(plain);
        let receipts = again.into_iter().chain(signed).collect();
        Ok((frames, Taken { receipts, new }))
    }
}

impl Book {
    /// What is to be done about an event.
    ///
    /// # Errors
    /// [`NoticeError::Rule`] when it is refused, [`NoticeError::Absent`], or [`NoticeError::KeptBackFull`]: nothing is signed,
    /// kept or answered then.
    pub(super) fn decide(&self, event: Event<'_>, now: Millis) -> Result<Decision, NoticeError> {
        match event {
            Event::Came { letter, digest, names, warning } => match letter.header.kind {
                LetterKind::Notice => self.notice_came(letter, digest, now),
                LetterKind::Receipt => Ok(arrived(&letter.header, digest)),
                LetterKind::Cancel | LetterKind::Recall => self.withdrawal_came(letter, digest, (names, warning), now),
                LetterKind::Confirm => self.confirmation_came(&letter.header, digest, names, now),
            },
            Event::Told(receipts) => self.told(receipts, now),
            Event::Opening { letter, person } => {
                let new = !self.standing(letter)?.opened_for.contains(person);
                let frame = new.then(|| Frame::OpenedFor { letter: *letter, person: person.to_owned(), at: now });
                Ok(Decision { frames: frame.into_iter().collect(), ..Decision::default() })
            }
            Event::Shown { letter, person } => self.shown(letter, person, now),
            Event::RecallShown { letter, person } => {
                let recall = self.entry(letter).and_then(|i| i.recall.as_ref());
                let recall = recall.ok_or(NoticeError::Rule("it is not recalled"))?;
                let new = !recall.shown_to.contains(person);
                let frame = new.then(|| Frame::RecallShown { letter: *letter, person: person.to_owned(), at: now });
                Ok(Decision { frames: frame.into_iter().collect(), ..Decision::default() })
            }
            Event::Said { letter, step, word } => self.said(letter, step, word),
        }
    }

    /// Senders, with how many of their notices are kept back before they come.
    pub fn kept_back(&self) -> impl Iterator<Item = (&AgencyId, usize)> {
        self.withheld_of.iter().filter(|(_, waiting)| **waiting > 0).map(|(from, waiting)| (from, *waiting))
    }

    /// Whether one more letter may wait for its addressee.
    pub(super) fn has_room(&self, draft: &Draft) -> bool {
        let most = WAITING.get(draft.precedence as usize).copied().unwrap_or_default();
        self.waiting(draft.kind, draft.precedence, draft.exercise, &draft.to) < most
    }

    /// Letters of a notice that nobody is known to have seen: they may still be withdrawn.
    pub fn withdrawable(&self, notice: &NoticeId) -> Vec<LetterHeader> {
        let unseen = |o: &Out| o.state().is_none_or(|s| s == ReceiptState::Delivered);
        self.sent_of(notice).into_iter().filter(|(_, o)| unseen(o)).map(|(_, o)| o.letter.header.clone()).collect()
    }

    /// Letters of a notice that a recall goes to: not those that are taken back, nor those whose recall arrived or is still
    /// tried.
    pub fn recallable(&self, notice: &NoticeId) -> Vec<LetterHeader> {
        let done = |o: &Out| self.is_done_about(o, LetterKind::Recall);
        self.sent_of(notice).into_iter().filter(|(_, o)| !done(o)).map(|(_, o)| o.letter.header.clone()).collect()
    }

    /// Letters of a notice with a provisional marking whose addressees are to be told that it was confirmed.
    pub fn confirmable(&self, notice: &NoticeId) -> Vec<LetterHeader> {
        let done = |o: &Out| !o.provisional || self.is_done_about(o, LetterKind::Confirm);
        self.sent_of(notice).into_iter().filter(|(_, o)| !done(o)).map(|(_, o)| o.letter.header.clone()).collect()
    }

    /// Whether a letter about a notice goes to this addressee no more: the notice is taken back, or such a letter arrived or
    /// is still tried.
    fn is_done_about(&self, out: &Out, kind: LetterKind) -> bool {
        let h = &out.letter.header;
        let about = self.about(&h.notice, &h.to, kind);
        out.is_taken_back() || about.is_some_and(|(l, o)| o.is_delivered() || self.still_open(&l).is_some())
    }

    /// Whether it is unknown for good that a notice was taken back from this addressee (P24): the time of its letter, or of its
    /// recall, ran out without a word, and nothing about it is tried any more. A late receipt still corrects that.
    pub fn is_left_unknown(&self, out: &Out) -> bool {
        let h = &out.letter.header;
        let recall = self.about(&h.notice, &h.to, LetterKind::Recall);
        let recalls = recall.is_some_and(|(l, _)| self.still_open(&l).is_some());
        let tried = recalls || self.cancelling.contains(&(h.notice, h.to.clone()));
        !tried && !out.is_taken_back() && (out.is_unknown() || recall.is_some_and(|(_, r)| r.is_unknown()))
    }

    /// Whether a receipt is about a letter of this node and may be believed, and then whether it says nothing new.
    pub(super) fn knows(&self, receipt: &Receipt) -> Option<bool> {
        let out = self.out(&receipt.letter)?;
        let h = &out.letter.header;
        // Nobody takes a notice back but its sender.
        let asked = match receipt.state {
            ReceiptState::Withdrawn => self.is_cancelled(&h.notice, &h.to),
            ReceiptState::Recalled => self.about(&h.notice, &h.to, LetterKind::Recall).is_some(),
            _ => true,
        };
        let ours = h.to == receipt.addressee && h.notice == receipt.notice && h.federation == receipt.federation;
        // What is about a notice arrived only where the notice is: of two nodes of one agency the other knows nothing of it.
        let about = matches!(h.kind, LetterKind::Cancel | LetterKind::Recall | LetterKind::Confirm);
        let homes = if about { self.homes(h) } else { BTreeSet::new() };
        let at_home = homes.is_empty() || homes.contains(&receipt.node);
        // Each node speaks for what lies there: a notice may have come to lie at two.
        let same = |s: &SignedReceipt| {
            let (s, name) = (&s.receipt, |r: &Receipt| r.by.as_ref().map(|b| b.name.clone()));
            // What no person says has no words to differ by: else a node could say for ever that it took a notice back.
            let said = !s.state.is_of_a_person() || s.answer == receipt.answer && name(s) == name(receipt);
            said && s.state == receipt.state && s.node == receipt.node
        };
        let many = out.receipts.len() >= RECEIPTS && !receipt.state.is_taken_back();
        let full = many || h.kind != LetterKind::Notice && out.is_delivered();
        (asked && ours && at_home).then(|| full || out.receipts.iter().any(same))
    }

    fn notice_came(&self, letter: &Letter, digest: LetterDigest, now: Millis) -> Result<Decision, NoticeError> {
        let h = &letter.header;
        let known = self.entry(&digest);
        let again = known.map(|i| i.receipts.clone()).unwrap_or_default();
        let sign_as = |state, previous, keep| Sign { notice: h.notice, letter: digest, state, previous, keep };
        let mut sign = Vec::new();
        if known.is_none() {
            if self.received_of(&h.notice).is_some() {
                return Err(NoticeError::Rule("another letter of this notice is here"));
            }
            // Else it could say of itself that it is old, and be gone from here as soon as it was read.
            if h.expires > h.created.plus_ms(h.precedence.lifetime_ms()) {
                return Err(NoticeError::Rule("it lives longer than its precedence"));
            }
            if h.expires.plus_ms(SLACK_MS) <= now {
                return Err(NoticeError::Rule("its time is over"));
            }
            sign.push(sign_as(ReceiptState::Delivered, None, Keep::Received(Box::new(letter.clone()))));
        }
        // Its withdrawal was here first: nobody ever sees it. A power cut may have taken the receipt that says so.
        let withheld = self.is_withheld(&h.from, &h.notice);
        if withheld && lacks_withdrawn(&again) {
            sign.push(sign_as(ReceiptState::Withdrawn, again.last().map(SignedReceipt::digest), Keep::Own));
        }
        Ok(Decision { again, sign, new: known.is_none() && !withheld, ..Decision::default() })
    }

    /// A withdrawal or a recall came in. Both keep back what nobody has seen; only a recall takes back what somebody may
    /// have.
    fn withdrawal_came(
        &self,
        letter: &Letter,
        digest: LetterDigest,
        (desks, warning): (&[String], Option<Warned>),
        now: Millis,
    ) -> Result<Decision, NoticeError> {
        let h = &letter.header;
        let mut decision = arrived(h, digest);
        let Some((of, entry)) = self.notice_of(h) else {
            // It came first. The notice is not shown when it comes.
            if !self.is_withheld(&h.from, &h.notice) {
                if self.withheld_of(&h.from) >= WITHHELD {
                    return Err(NoticeError::KeptBackFull);
                }
                decision.frames.push(Frame::Withheld { notice: h.notice, from: h.from.clone(), at: now });
            }
            return Ok(decision);
        };
        let unseen = entry.state() == ReceiptState::Delivered && !entry.opened;
        // The receipt for one that was held back may have been lost in a power cut; what is tried may be only this.
        let unsaid = entry.state() == ReceiptState::Withdrawn && lacks_withdrawn(&entry.receipts);
        let taken_back = if unseen || unsaid {
            Some((ReceiptState::Withdrawn, Keep::Own))
        } else if h.kind == LetterKind::Recall && !entry.state().is_taken_back() {
            let keep = Keep::Recalled(Box::new(letter.clone()), desks.to_vec(), warning);
            #[cfg(test)]
            let keep = if is_planted(Planted::ShowRecalled) { Keep::Nothing } else { keep };
            Some((ReceiptState::Recalled, keep))
        } else {
            None
        };
        if let Some((state, keep)) = taken_back {
            let previous = entry.receipts.last().map(SignedReceipt::digest);
            decision.sign.insert(0, Sign { notice: h.notice, letter: of, state, previous, keep });
        }
        decision.again.clone_from(&entry.receipts);
        Ok(decision)
    }

    /// It goes after its notice, so that one whose notice is not here is wrong, or that is long gone.
    fn confirmation_came(
        &self,
        h: &LetterHeader,
        digest: LetterDigest,
        names: &[String],
        now: Millis,
    ) -> Result<Decision, NoticeError> {
        let (_, entry) = self.notice_of(h).ok_or(NoticeError::Absent("the notice that it confirms is not here"))?;
        let new = entry.confirmed.is_none() && !entry.state().is_taken_back();
        let by = names.first().cloned().unwrap_or_default();
        let frame = new.then_some(Frame::Confirmed { notice: h.notice, by, at: now });
        Ok(Decision { frames: frame.into_iter().collect(), ..arrived(h, digest) })
    }

    fn told(&self, receipts: &[SignedReceipt], now: Millis) -> Result<Decision, NoticeError> {
        let known: Vec<_> = receipts.iter().filter_map(|r| self.knows(&r.receipt).map(|known| (r, known))).collect();
        if known.is_empty() && !receipts.is_empty() {
            return Err(NoticeError::Rule("no receipt verifies"));
        }
        let mut new: Vec<_> = known.into_iter().filter(|(_, known)| !known).map(|(r, _)| r).collect();
        // Any receipt ends the attempts of its letter. So the last word on a notice becomes durable first, and that a letter
        // about it arrived, last: a power cut between them leaves nothing that nobody asks for again.
        new.sort_by_key(|r| (self.is_about_a_notice(r), Reverse(r.receipt.state)));
        let frames = new.into_iter().map(|r| Frame::Told { receipt: r.clone(), at: now }).collect();
        Ok(Decision { frames, ..Decision::default() })
    }

    /// Whether a receipt is for a letter about a notice, and not for a notice.
    fn is_about_a_notice(&self, receipt: &SignedReceipt) -> bool {
        self.out(&receipt.receipt.letter).is_some_and(|o| o.letter.header.kind != LetterKind::Notice)
    }

    fn shown(&self, letter: &LetterDigest, person: &str, now: Millis) -> Result<Decision, NoticeError> {
        let entry = self.entry(letter).ok_or(NoticeError::Rule("there is no such notice"))?;
        if entry.shown_to.contains(person) {
            return Ok(Decision::default());
        }
        // Displayed a moment before its recall came: they must be told of that, and its sender need not hear of it.
        let late = entry.recall.is_some();
        let mut decision = if late { Decision::default() } else { self.said(letter, ReceiptState::Presented, None)? };
        decision.frames.push(Frame::Shown { letter: *letter, person: person.to_owned(), at: now });
        Ok(decision)
    }

    /// What was said already is not said again, except by another person or with another answer.
    fn said(&self, letter: &LetterDigest, step: ReceiptState, word: Option<&Word>) -> Result<Decision, NoticeError> {
        let entry = self.standing(letter)?;
        let said = |r: &SignedReceipt| {
            let same =
                |w: &Word| r.receipt.by.as_ref().is_some_and(|b| b.name == w.by.name) && r.receipt.answer == w.answer;
            r.receipt.state == step && word.is_none_or(same)
        };
        if entry.receipts.iter().any(said) {
            return Ok(Decision::default());
        }
        // The sender keeps no more either: whoever comes later must know that it is not heard.
        if entry.receipts.len() >= RECEIPTS {
            return Err(NoticeError::Rule("as much as is kept was answered to this notice already"));
        }
        let (notice, previous) = (entry.header.notice, entry.receipts.last().map(SignedReceipt::digest));
        let sign = vec![Sign { notice, letter: *letter, state: step, previous, keep: Keep::Carried }];
        Ok(Decision { sign, ..Decision::default() })
    }

    /// A notice that is here and may be looked at.
    fn standing(&self, letter: &LetterDigest) -> Result<&In, NoticeError> {
        let entry = self.entry(letter).ok_or(NoticeError::Rule("there is no such notice"))?;
        match entry.state() {
            ReceiptState::Withdrawn => Err(NoticeError::Withdrawn),
            ReceiptState::Recalled => Err(NoticeError::Recalled),
            _ => Ok(entry),
        }
    }
}

fn lacks_withdrawn(receipts: &[SignedReceipt]) -> bool {
    receipts.iter().all(|r| r.receipt.state != ReceiptState::Withdrawn)
}

/// A letter that is not a notice arrived: every copy is told so, and nothing more is kept of it.
fn arrived(h: &LetterHeader, digest: LetterDigest) -> Decision {
    let state = ReceiptState::Delivered;
    let sign = vec![Sign { notice: h.notice, letter: digest, state, previous: None, keep: Keep::Nothing }];
    Decision { sign, ..Decision::default() }
}
