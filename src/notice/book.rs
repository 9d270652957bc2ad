//! The book of one node: every letter it sent or took in, and what became of it. Pure: frames in, facts out.
//!
//! A frame is made durable first and folded then; folding the journal from its start gives the same book. Nothing
//! here reads a clock, draws randomness or waits. Folding a frame twice changes nothing, and receipts may come in
//! any order: the furthest state counts.
//!
//! Invariants
//! - A letter is in the book once, whatever the number of paths it came by.
//! - A notice's end is never worse than what its receipts prove: a late receipt corrects "delivery unknown".
//! - A withdrawn notice was seen by nobody, and one that somebody saw is never withdrawn.

use super::letter::{Letter, LetterDigest, LetterKind};
use super::receipt::SignedReceipt;
use crate::domain::canon::{CanonError, Reader, Writer};
use crate::domain::ids::NoticeId;
use crate::domain::notice::{Deadlines, Precedence, ReceiptState};
use crate::domain::time::Millis;
use std::collections::{BTreeMap, BTreeSet};

const DOMAIN: &str = "hufu.notice-frame";
const VERSION: u16 = 1;

/// Why nothing more is tried for a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its time is over and no receipt came: whether it was delivered is unknown.
    Expired,
}

/// What an alarm or an escalation is about. The order is format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// At the sender: no receipt in time.
    Undelivered,
    /// At the sender: nobody acknowledged in time.
    Unacknowledged,
    /// At the addressee: nobody acknowledged in time; the deputy is called.
    Deputy,
    /// At the addressee: still nobody; the duty chain is called.
    Chain,
    /// At the addressee: still nobody; the out-of-band list is called.
    OutOfBand,
}

impl Step {
    const ALL: [Step; 5] = [Step::Undelivered, Step::Unacknowledged, Step::Deputy, Step::Chain, Step::OutOfBand];

    /// The word in commands and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Step::Undelivered => "undelivered",
            Step::Unacknowledged => "unacknowledged",
            Step::Deputy => "deputy",
            Step::Chain => "chain",
            Step::OutOfBand => "out-of-band",
        }
    }
}

/// One durable event. The order is format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A letter of this node was accepted.
    Sent {
        /// The letter.
        letter: Letter,
        /// Who sent it, by name; empty for a receipt.
        sender: String,
        /// When.
        at: Millis,
    },
    /// A notice came in, with the receipt that says so.
    Received {
        /// The letter.
        letter: Letter,
        /// State delivered.
        receipt: SignedReceipt,
        /// When.
        at: Millis,
    },
    /// This node's own later receipt for a letter that came in, with the letter that carries it back.
    Own {
        /// The receipt.
        receipt: SignedReceipt,
        /// Its way back; none when it goes back in the answer to a call.
        carrier: Option<Letter>,
        /// When.
        at: Millis,
    },
    /// An addressee's receipt for a letter of this node.
    Told {
        /// The receipt, verified.
        receipt: SignedReceipt,
        /// When.
        at: Millis,
    },
    /// Nothing more is tried.
    Ended {
        /// Which letter.
        letter: LetterDigest,
        /// When.
        at: Millis,
    },
    /// A person's terminal confirmed that it displayed a notice.
    Shown {
        /// Which letter.
        letter: LetterDigest,
        /// Name of the person.
        person: String,
        /// When.
        at: Millis,
    },
    /// An alarm was given or an escalation made.
    Stepped {
        /// Which letter.
        letter: LetterDigest,
        /// Which step.
        step: Step,
        /// When.
        at: Millis,
    },
}

impl Frame {
    /// The letter that this frame puts on its way, if it does.
    pub(super) fn sends(&self) -> Option<&Letter> {
        match self {
            Frame::Sent { letter, .. } | Frame::Own { carrier: Some(letter), .. } => Some(letter),
            _ => None,
        }
    }

    /// The bytes of the journal.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut w = Writer::new(DOMAIN, VERSION);
        match self {
            Frame::Sent { letter, sender, at } => {
                w.u8(0).value(letter).str(sender).value(at);
            }
            Frame::Received { letter, receipt, at } => {
                w.u8(1).value(letter).value(receipt).value(at);
            }
            Frame::Own { receipt, carrier, at } => {
                w.u8(2).value(receipt);
                w.option(carrier.as_ref(), |w, l| {
                    w.value(l);
                });
                w.value(at);
            }
            Frame::Told { receipt, at } => {
                w.u8(3).value(receipt).value(at);
            }
            Frame::Ended { letter, at } => {
                w.u8(4).array(letter).value(at);
            }
            Frame::Stepped { letter, step, at } => {
                w.u8(5).array(letter).u8(*step as u8).value(at);
            }
            Frame::Shown { letter, person, at } => {
                w.u8(6).array(letter).str(person).value(at);
            }
        }
        w.finish()
    }

    /// Reads what [`Frame::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`CanonError`] for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Frame, CanonError> {
        let mut r = Reader::new(bytes, DOMAIN, VERSION)?;
        let frame = match r.u8()? {
            0 => Frame::Sent { letter: r.value()?, sender: r.str(256)?.to_owned(), at: r.value()? },
            1 => Frame::Received { letter: r.value()?, receipt: r.value()?, at: r.value()? },
            2 => Frame::Own { receipt: r.value()?, carrier: r.option(|r| r.value())?, at: r.value()? },
            3 => Frame::Told { receipt: r.value()?, at: r.value()? },
            4 => Frame::Ended { letter: r.array()?, at: r.value()? },
            5 => {
                let letter = r.array()?;
                let step = Step::ALL.get(usize::from(r.u8()?)).copied().ok_or(CanonError::Invalid("step"))?;
                Frame::Stepped { letter, step, at: r.value()? }
            }
            6 => Frame::Shown { letter: r.array()?, person: r.str(256)?.to_owned(), at: r.value()? },
            _ => return Err(CanonError::Invalid("frame")),
        };
        r.finish()?;
        Ok(frame)
    }
}

/// A letter that this node sent.
#[derive(Debug, Clone)]
pub struct Out {
    /// The letter.
    pub letter: Letter,
    /// Name of the person who sent it; empty for receipts.
    pub sender: String,
    /// When it was accepted.
    pub accepted: Millis,
    /// The addressee's receipts, in order of their states.
    pub receipts: Vec<SignedReceipt>,
    /// Set when nothing more is tried.
    pub ended: Option<(End, Millis)>,
    /// Alarms that were given.
    pub steps: BTreeSet<Step>,
}

impl Out {
    /// Whether its addressee has it.
    pub fn is_delivered(&self) -> bool {
        !self.receipts.is_empty()
    }

    /// The furthest state that a receipt proves.
    pub fn state(&self) -> Option<ReceiptState> {
        self.receipts.iter().map(|r| r.receipt.state).max()
    }

    /// Alarms that are due by now, given or not.
    fn due(&self, now: Millis, deadlines: &Deadlines) -> impl Iterator<Item = Step> + use<> {
        let (deliver, acknowledge) = deadlines.of(self.letter.header.precedence);
        let h = &self.letter.header;
        let undelivered = (Step::Undelivered, !self.is_delivered(), deliver);
        let silent = (Step::Unacknowledged, h.action && !self.is_acknowledged(), acknowledge);
        let accepted = self.accepted;
        let due = move |(step, applies, after)| (applies && accepted.plus_ms(after) <= now).then_some(step);
        [undelivered, silent].into_iter().filter_map(due)
    }

    /// Whether no alarm can be due any more.
    fn is_settled(&self) -> bool {
        let withdrawn = self.state() == Some(ReceiptState::Withdrawn);
        withdrawn || self.is_acknowledged() || self.is_delivered() && !self.letter.header.action
    }

    /// Whether somebody has acknowledged or answered.
    pub fn is_acknowledged(&self) -> bool {
        self.state().is_some_and(|s| s >= ReceiptState::Acknowledged)
    }
}

/// A notice that came in.
#[derive(Debug, Clone)]
pub struct In {
    /// The letter.
    pub letter: Letter,
    /// When it was taken in.
    pub at: Millis,
    /// This node's receipts, in the order in which they were made.
    pub receipts: Vec<SignedReceipt>,
    /// People whose terminals displayed it.
    pub shown_to: BTreeSet<String>,
    /// Escalations that were made.
    pub steps: BTreeSet<Step>,
}

impl In {
    /// The furthest state.
    pub fn state(&self) -> ReceiptState {
        self.receipts.iter().map(|r| r.receipt.state).max().unwrap_or(ReceiptState::Delivered)
    }

    /// Escalations that are due by now, made or not; the out-of-band list is for a flash alone.
    fn due(&self, now: Millis, deadlines: &Deadlines) -> impl Iterator<Item = Step> + use<> {
        let precedence = self.letter.header.precedence;
        let (at, (_, wait)) = (self.at, deadlines.of(precedence));
        let last = if precedence == Precedence::Flash { 3 } else { 2 };
        let steps = [(Step::Deputy, 1), (Step::Chain, 2), (Step::OutOfBand, 3)];
        let due = move |(step, times): (Step, u64)| {
            (times <= last && at.plus_ms(wait.saturating_mul(times)) <= now).then_some(step)
        };
        steps.into_iter().filter_map(due)
    }

    /// Whether no escalation can be due any more.
    fn is_settled(&self) -> bool {
        self.state() >= ReceiptState::Acknowledged || self.state() == ReceiptState::Withdrawn
    }

    /// Who acknowledged first.
    pub fn acknowledged_by(&self) -> Option<&str> {
        let mut by = self.receipts.iter().filter_map(|r| r.receipt.by.as_ref());
        by.next().map(|b| b.name.as_str())
    }
}

/// Everything that this node knows of notices.
#[derive(Debug, Clone, Default)]
pub struct Book {
    sent: BTreeMap<LetterDigest, Out>,
    received: BTreeMap<LetterDigest, In>,
    /// Digests of notices in the order in which they came in.
    arrivals: Vec<LetterDigest>,
    by_notice: BTreeMap<NoticeId, Vec<LetterDigest>>,
    /// Letters without a receipt that are still tried, most urgent first.
    open: BTreeSet<(Precedence, LetterDigest)>,
    /// Notices, sent or received, of which an alarm or escalation may still be due.
    unsettled: BTreeSet<LetterDigest>,
}

impl Book {
    /// Takes a durable frame in. The same twice changes nothing.
    pub fn fold(&mut self, frame: Frame) {
        match frame {
            Frame::Sent { letter, sender, at } => self.sent(letter, sender, at),
            Frame::Received { letter, receipt, at } => {
                let digest = letter.digest();
                if !self.received.contains_key(&digest) {
                    self.arrivals.push(digest);
                    if letter.header.action {
                        self.unsettled.insert(digest);
                    }
                    self.name(letter.header.notice, digest);
                    let new =
                        In { letter, at, receipts: vec![receipt], shown_to: BTreeSet::new(), steps: BTreeSet::new() };
                    self.received.insert(digest, new);
                }
            }
            Frame::Own { receipt, carrier, at } => {
                if let Some(entry) = self.received.get_mut(&receipt.receipt.letter)
                    && !entry.receipts.contains(&receipt)
                {
                    entry.receipts.push(receipt);
                    if entry.is_settled() {
                        self.unsettled.remove(&entry.letter.digest());
                    }
                }
                if let Some(letter) = carrier {
                    self.sent(letter, String::new(), at);
                }
            }
            Frame::Told { receipt, .. } => {
                let Some(out) = self.sent.get_mut(&receipt.receipt.letter) else { return };
                self.open.remove(&(out.letter.header.precedence, receipt.receipt.letter));
                if !out.receipts.contains(&receipt) {
                    out.receipts.push(receipt);
                    out.receipts.sort_by_key(|r| (r.receipt.state, r.receipt.time));
                    if out.is_settled() {
                        self.unsettled.remove(&out.letter.digest());
                    }
                }
            }
            Frame::Ended { letter, at } => {
                if let Some(out) = self.sent.get_mut(&letter) {
                    self.open.remove(&(out.letter.header.precedence, letter));
                    out.ended.get_or_insert((End::Expired, at));
                }
            }
            Frame::Shown { letter, person, .. } => {
                if let Some(entry) = self.received.get_mut(&letter) {
                    entry.shown_to.insert(person);
                }
            }
            Frame::Stepped { letter, step, .. } => {
                if let Some(out) = self.sent.get_mut(&letter) {
                    out.steps.insert(step);
                }
                if let Some(entry) = self.received.get_mut(&letter) {
                    entry.steps.insert(step);
                }
            }
        }
    }

    fn sent(&mut self, letter: Letter, sender: String, at: Millis) {
        let digest = letter.digest();
        if self.sent.contains_key(&digest) {
            return;
        }
        self.open.insert((letter.header.precedence, digest));
        if letter.header.kind == LetterKind::Notice {
            self.name(letter.header.notice, digest);
            self.unsettled.insert(digest);
        }
        let receipts = Vec::new();
        let new = Out { letter, sender, accepted: at, receipts, ended: None, steps: BTreeSet::new() };
        self.sent.insert(digest, new);
    }

    /// A letter to the own agency is sent and received here, and named once.
    fn name(&mut self, notice: NoticeId, digest: LetterDigest) {
        let letters = self.by_notice.entry(notice).or_default();
        if !letters.contains(&digest) {
            letters.push(digest);
        }
    }

    /// A letter that this node sent.
    pub fn out(&self, letter: &LetterDigest) -> Option<&Out> {
        self.sent.get(letter)
    }

    /// A notice that came in.
    pub fn entry(&self, letter: &LetterDigest) -> Option<&In> {
        self.received.get(letter)
    }

    /// The letters of a notice that this node sent, in the order of their acceptance.
    pub fn sent_of(&self, notice: &NoticeId) -> Vec<(LetterDigest, &Out)> {
        let of = self.by_notice.get(notice).into_iter().flatten();
        of.filter_map(|d| self.sent.get(d).map(|o| (*d, o))).collect()
    }

    /// The letter of a notice that came in.
    pub fn received_of(&self, notice: &NoticeId) -> Option<(LetterDigest, &In)> {
        self.by_notice.get(notice).into_iter().flatten().find_map(|d| self.received.get(d).map(|i| (*d, i)))
    }

    /// The letter that a cancel letter is about: the same notice, from the same sender.
    pub fn cancelled_by(&self, cancel: &Letter) -> Option<(LetterDigest, &In)> {
        let h = &cancel.header;
        self.received_of(&h.notice).filter(|(_, i)| i.letter.header.from == h.from)
    }

    /// Notices that came in since a cursor (0 at first), and the next cursor.
    pub fn arrived_since(&self, cursor: usize) -> (Vec<LetterDigest>, usize) {
        (self.arrivals.get(cursor..).unwrap_or_default().to_vec(), self.arrivals.len())
    }

    /// Letters without a receipt that are still tried, most urgent first.
    pub fn open(&self) -> impl Iterator<Item = (LetterDigest, &Out)> {
        self.open.iter().filter_map(|(_, d)| self.sent.get(d).map(|o| (*d, o)))
    }

    /// A letter without a receipt that is still tried.
    pub fn still_open(&self, letter: &LetterDigest) -> Option<&Out> {
        self.sent.get(letter).filter(|o| self.open.contains(&(o.letter.header.precedence, *letter)))
    }

    /// How many letters of a precedence wait.
    pub fn waiting(&self, precedence: Precedence) -> usize {
        self.open.range((precedence, [0; 32])..=(precedence, [255; 32])).count()
    }

    /// What is due by now: ends of what expired, alarms and escalations, as frames that are to be made durable.
    pub fn due(&self, now: Millis, deadlines: &Deadlines) -> Vec<Frame> {
        let expired = self.open().filter(|(_, o)| o.letter.header.expires <= now);
        let mut frames: Vec<Frame> = expired.map(|(letter, _)| Frame::Ended { letter, at: now }).collect();
        for letter in &self.unsettled {
            let out =
                self.sent.get(letter).into_iter().flat_map(|o| o.due(now, deadlines).map(|step| (step, &o.steps)));
            let entry =
                self.received.get(letter).into_iter().flat_map(|i| i.due(now, deadlines).map(|step| (step, &i.steps)));
            let new = out.chain(entry).filter(|(step, given)| !given.contains(step));
            frames.extend(new.map(|(step, _)| Frame::Stepped { letter: *letter, step, at: now }));
        }
        frames
    }
}
