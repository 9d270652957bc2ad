//! The book of one node: every letter it sent or took in, and what became of it. Pure: frames in, facts out.
//!
//! A frame is made durable first and folded then; folding the journal from its start gives the same book. Nothing
//! here reads a clock, draws randomness or waits. Folding a frame twice changes nothing, and receipts may come in
//! any order: the furthest state counts.
//!
//! Invariants
//! - A letter is in the book once, whatever the number of paths it came by.
//! - A notice's end is never worse than what its receipts prove: a late receipt corrects "delivery unknown".
//! - A withdrawn notice was opened by nobody, and one that was opened for somebody is never withdrawn.
//! - Of a recalled notice the book has no content, from the frame that says so on and after every start.
//! - There is one letter of a notice from its sender, and a withdrawal that came before it holds it back for good.

use super::frame::{Frame, Step, Warned};
use super::letter::{Letter, LetterDigest, LetterHeader, LetterKind};
use super::receipt::SignedReceipt;
use crate::domain::ids::{AgencyId, NoticeId};
use crate::domain::notice::{Deadlines, Precedence, ReceiptState};
use crate::domain::time::Millis;
use std::collections::{BTreeMap, BTreeSet};

/// A provisional marking must be confirmed in this time (P26).
const CONFIRM_MS: u64 = 4 * 3_600_000;

/// Why nothing more is tried for a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its time is over and no receipt came: whether it was delivered is unknown.
    Expired,
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
    /// Alarms that were given, and when.
    pub steps: BTreeMap<Step, Millis>,
    /// When the first word that somebody acknowledged it came in here, by the own clock.
    pub acknowledged_here: Option<Millis>,
    /// Whether its marking waits, or waited, for a classifier (P26).
    pub provisional: bool,
    /// Who confirmed it, and when.
    pub confirmed: Option<(String, Millis)>,
    /// Calls of people that were made.
    pub called: BTreeSet<Option<Step>>,
}

impl Out {
    /// Whether its addressee has it.
    pub fn is_delivered(&self) -> bool {
        !self.receipts.is_empty()
    }

    /// Whether its time ran out without a word: delivery is unknown (P24).
    pub fn is_unknown(&self) -> bool {
        self.ended.is_some() && !self.is_delivered()
    }

    /// The furthest state that a receipt proves. What one node of its addressee took back stands while another one has it.
    pub fn state(&self) -> Option<ReceiptState> {
        let all = || self.receipts.iter().map(|r| &r.receipt);
        let took_back = |node| all().any(|r| r.node == node && r.state.is_taken_back());
        let standing = all().filter(|r| !took_back(r.node)).map(|r| r.state).max();
        standing.or_else(|| all().map(|r| r.state).max())
    }

    /// Alarms that are due by now, given or not.
    fn due(&self, now: Millis, deadlines: &Deadlines) -> impl Iterator<Item = Step> + use<> {
        let (deliver, acknowledge) = deadlines.of(self.letter.header.precedence);
        let h = &self.letter.header;
        let undelivered = (Step::Undelivered, !self.is_delivered(), deliver);
        let silent = (Step::Unacknowledged, h.action && !self.is_acknowledged(), acknowledge);
        let unmarked = (Step::Unconfirmed, self.is_unconfirmed(), CONFIRM_MS);
        let accepted = self.accepted;
        let due = move |(step, applies, after)| (applies && accepted.plus_ms(after) <= now).then_some(step);
        [undelivered, silent, unmarked].into_iter().filter_map(due)
    }

    /// Whether no alarm can be due any more.
    fn is_settled(&self) -> bool {
        let done = self.is_acknowledged() || self.is_delivered() && !self.letter.header.action;
        self.is_taken_back() || done && !self.is_unconfirmed()
    }

    /// Whether its addressee says that it was withdrawn or recalled.
    pub fn is_taken_back(&self) -> bool {
        self.state().is_some_and(ReceiptState::is_taken_back)
    }

    fn is_unconfirmed(&self) -> bool {
        self.provisional && self.confirmed.is_none()
    }

    /// Whether somebody has acknowledged or answered.
    pub fn is_acknowledged(&self) -> bool {
        self.receipts.iter().any(|r| r.receipt.state.is_of_a_person())
    }
}

/// What a recall left of a notice.
#[derive(Debug, Clone)]
pub struct Recall {
    /// The letter that recalled it, with the reason.
    pub letter: Letter,
    /// Units and persons whom the notice named: they may know that it was recalled.
    pub desks: Vec<String>,
    /// What warning it was, if it was one.
    pub warning: Option<Warned>,
    /// People whose terminals displayed that it was recalled.
    pub shown_to: BTreeSet<String>,
}

/// A notice that came in.
#[derive(Debug, Clone)]
pub struct In {
    /// The header of its letter.
    pub header: LetterHeader,
    /// The letter; none when it was recalled.
    pub letter: Option<Letter>,
    /// Set when it was recalled after somebody may have seen it.
    pub recall: Option<Recall>,
    /// When it was taken in.
    pub at: Millis,
    /// This node's receipts, in the order in which they were made.
    pub receipts: Vec<SignedReceipt>,
    /// People whose terminals displayed it.
    pub shown_to: BTreeSet<String>,
    /// Whether its content was opened for anybody, and for whom. Earlier versions did not keep for whom.
    pub opened: bool,
    /// Names of these people.
    pub opened_for: BTreeSet<String>,
    /// Who confirmed a provisional marking, and when that came in.
    pub confirmed: Option<(String, Millis)>,
    /// Whether its withdrawal was here first: withdrawn from the beginning, with or without its receipt.
    withheld: bool,
    /// Escalations that were made, and when.
    pub steps: BTreeMap<Step, Millis>,
    /// Calls of people that were made.
    pub called: BTreeSet<Option<Step>>,
}

impl In {
    /// The furthest state.
    pub fn state(&self) -> ReceiptState {
        if self.withheld {
            return ReceiptState::Withdrawn;
        }
        self.receipts.iter().map(|r| r.receipt.state).max().unwrap_or(ReceiptState::Delivered)
    }

    /// Escalations that are due by now, made or not: one after each time that it should have been acknowledged in. A
    /// routine notice is called to mind, and nobody beyond its addressees is woken.
    fn due(&self, now: Millis, deadlines: &Deadlines) -> impl Iterator<Item = Step> + use<> {
        let precedence = self.header.precedence;
        let (at, (_, wait)) = (self.at, deadlines.of(precedence));
        let steps: &[Step] = match precedence {
            Precedence::Flash => &[Step::Deputy, Step::Chain, Step::OutOfBand],
            Precedence::Immediate => &[Step::Deputy, Step::Chain],
            Precedence::Priority => &[Step::Chain],
            Precedence::Routine => &[Step::Reminder],
        };
        let due = move |(step, times): (&Step, u64)| (at.plus_ms(wait.saturating_mul(times)) <= now).then_some(*step);
        steps.iter().zip(1u64..).filter_map(due)
    }

    /// Whether no escalation can be due any more.
    fn is_settled(&self) -> bool {
        self.is_acknowledged() || self.state().is_taken_back()
    }

    /// Whether somebody has acknowledged or answered.
    pub fn is_acknowledged(&self) -> bool {
        self.receipts.iter().any(|r| r.receipt.state.is_of_a_person())
    }

    /// Whether a person may have seen it: it was opened for them, their terminal displayed it, or they said something of it.
    pub fn was_seen_by(&self, person: &str) -> bool {
        let said = |r: &SignedReceipt| r.receipt.by.as_ref().is_some_and(|b| b.name == person);
        self.opened_for.contains(person) || self.shown_to.contains(person) || self.receipts.iter().any(said)
    }

    /// Whether it, or its recall, is still to be displayed to a person who watches: what nobody acknowledged and their
    /// terminal has not displayed, and the recall of what they may have seen.
    pub fn is_news_to(&self, person: &str) -> bool {
        match &self.recall {
            Some(recall) => self.was_seen_by(person) && !recall.shown_to.contains(person),
            None => !self.shown_to.contains(person) && !self.is_acknowledged(),
        }
    }

    /// Who acknowledged first.
    pub fn acknowledged_by(&self) -> Option<&str> {
        let mut by = self.receipts.iter().filter_map(|r| r.receipt.by.as_ref());
        by.next().map(|b| b.name.as_str())
    }
}

/// What letters share that stand in one queue.
type Place = (LetterKind, Precedence, bool, AgencyId);

fn place(h: &LetterHeader) -> Place {
    (h.kind, h.precedence, h.exercise, h.to.clone())
}

/// Everything that this node knows of notices.
#[derive(Debug, Clone, Default)]
pub struct Book {
    pub(super) sent: BTreeMap<LetterDigest, Out>,
    pub(super) received: BTreeMap<LetterDigest, In>,
    /// Digests of notices in the order in which they came in.
    pub(super) arrivals: Vec<LetterDigest>,
    /// How many that came in before these are forgotten: positions stay what they were.
    pub(super) forgotten: usize,
    pub(super) by_notice: BTreeMap<NoticeId, Vec<LetterDigest>>,
    /// Letters without a receipt that are still tried, most urgent first.
    pub(super) open: BTreeSet<(Precedence, LetterDigest)>,
    /// How many of them there are, by where they go.
    waiting: BTreeMap<Place, usize>,
    /// Notices that this node withdrew, by addressee; and of these, whose withdrawal has not arrived yet.
    pub(super) cancelled: BTreeSet<(NoticeId, AgencyId)>,
    pub(super) cancelling: BTreeSet<(NoticeId, AgencyId)>,
    /// The last recall and the last confirmation of each notice that this node sent, by addressee.
    pub(super) about: BTreeMap<(NoticeId, AgencyId, LetterKind), LetterDigest>,
    /// Digests of notices that came in and were recalled, in the order of that, and how many before them are forgotten.
    pub(super) recalls: Vec<LetterDigest>,
    pub(super) recalls_forgotten: usize,
    /// Withdrawals that came before their notices, by sender, and how many of each still wait for theirs.
    pub(super) withheld: BTreeSet<(AgencyId, NoticeId)>,
    pub(super) withheld_of: BTreeMap<AgencyId, usize>,
    /// Notices, sent or received, of which an alarm or escalation may still be due.
    pub(super) unsettled: BTreeSet<LetterDigest>,
    /// Notices that came in, of which nobody is known to have been called for the arrival.
    pub(super) unrung: BTreeSet<LetterDigest>,
    /// Notices that this node sent with a provisional marking.
    pub(super) provisional: BTreeSet<NoticeId>,
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
                    let withheld = self.is_withheld(&letter.header.from, &letter.header.notice);
                    if withheld && let Some(waiting) = self.withheld_of.get_mut(&letter.header.from) {
                        *waiting = waiting.saturating_sub(1);
                    }
                    match letter.header.action {
                        _ if withheld => {}
                        true => _ = self.unsettled.insert(digest),
                        false => _ = self.unrung.insert(digest),
                    }
                    self.name(letter.header.notice, digest);
                    let new = In {
                        header: letter.header.clone(),
                        letter: Some(letter),
                        recall: None,
                        at,
                        receipts: vec![receipt],
                        shown_to: BTreeSet::new(),
                        opened: false,
                        opened_for: BTreeSet::new(),
                        confirmed: None,
                        withheld,
                        steps: BTreeMap::new(),
                        called: BTreeSet::new(),
                    };
                    self.received.insert(digest, new);
                }
            }
            Frame::Own { receipt, carrier, at } => {
                let of = receipt.receipt.letter;
                if let Some(entry) = self.received.get_mut(&of)
                    && !entry.receipts.contains(&receipt)
                {
                    entry.receipts.push(receipt);
                    if entry.is_settled() {
                        self.unsettled.remove(&of);
                        self.unrung.remove(&of);
                    }
                }
                if let Some(letter) = carrier {
                    self.sent(letter, String::new(), at);
                }
            }
            Frame::Told { receipt, at } => {
                let of = receipt.receipt.letter;
                self.close(&of);
                let Some(out) = self.sent.get_mut(&of) else { return };
                if !out.receipts.contains(&receipt) {
                    if receipt.receipt.state.is_of_a_person() {
                        out.acknowledged_here.get_or_insert(at);
                    }
                    out.receipts.push(receipt);
                    out.receipts.sort_by_key(|r| (r.receipt.state, r.receipt.time));
                    // What one node took back may stand at another, whose word comes later.
                    match out.is_settled() {
                        true => _ = self.unsettled.remove(&of),
                        false if out.letter.header.kind == LetterKind::Notice => _ = self.unsettled.insert(of),
                        false => {}
                    }
                }
            }
            Frame::Ended { letter, at } => {
                self.close(&letter);
                if let Some(out) = self.sent.get_mut(&letter) {
                    out.ended.get_or_insert((End::Expired, at));
                }
            }
            Frame::Shown { letter, person, .. } => {
                if let Some(entry) = self.received.get_mut(&letter) {
                    entry.shown_to.insert(person);
                }
            }
            Frame::Stepped { letter, step, at } => {
                if let Some(out) = self.sent.get_mut(&letter) {
                    out.steps.entry(step).or_insert(at);
                }
                if let Some(entry) = self.received.get_mut(&letter) {
                    entry.steps.entry(step).or_insert(at);
                }
            }
            Frame::Opened { letter, .. } => {
                if let Some(entry) = self.received.get_mut(&letter) {
                    entry.opened = true;
                }
            }
            Frame::OpenedFor { letter, person, .. } => {
                if let Some(entry) = self.received.get_mut(&letter) {
                    entry.opened = true;
                    entry.opened_for.insert(person);
                }
            }
            Frame::Withheld { notice, from, .. } => {
                if self.withheld.insert((from.clone(), notice)) {
                    *self.withheld_of.entry(from).or_default() += 1;
                }
            }
            Frame::Provisional { notice, .. } => {
                self.provisional.insert(notice);
                self.each_sent(&notice, |out| out.provisional = true);
            }
            Frame::Confirmed { notice, by, at } => {
                self.each_sent(&notice, |out| {
                    out.confirmed.get_or_insert((by.clone(), at));
                });
                for letter in self.by_notice.get(&notice).into_iter().flatten() {
                    if let Some(entry) = self.received.get_mut(letter) {
                        entry.confirmed.get_or_insert((by.clone(), at));
                    }
                }
            }
            Frame::Recalled { letter, receipt, desks, warning, .. } => {
                let of = receipt.receipt.letter;
                if let Some(entry) = self.received.get_mut(&of)
                    && entry.recall.is_none()
                {
                    entry.receipts.push(receipt);
                    entry.letter = None;
                    entry.recall = Some(Recall { letter, desks, warning, shown_to: BTreeSet::new() });
                    self.recalls.push(of);
                    self.unsettled.remove(&of);
                    self.unrung.remove(&of);
                }
            }
            Frame::RecallShown { letter, person, .. } => {
                if let Some(recall) = self.received.get_mut(&letter).and_then(|i| i.recall.as_mut()) {
                    recall.shown_to.insert(person);
                }
            }
            Frame::Called { letter, step, .. } => {
                if let Some(out) = self.sent.get_mut(&letter) {
                    out.called.insert(step);
                }
                if let Some(entry) = self.received.get_mut(&letter) {
                    entry.called.insert(step);
                }
                if step.is_none() {
                    self.unrung.remove(&letter);
                }
            }
        }
    }

    fn each_sent(&mut self, notice: &NoticeId, change: impl Fn(&mut Out)) {
        for letter in self.by_notice.get(notice).into_iter().flatten() {
            if let Some(out) = self.sent.get_mut(letter) {
                change(out);
                if out.is_settled() {
                    self.unsettled.remove(letter);
                }
            }
        }
    }

    /// Nothing more is tried for a letter.
    fn close(&mut self, letter: &LetterDigest) {
        let Some(h) = self.sent.get(letter).map(|o| &o.letter.header) else { return };
        if self.open.remove(&(h.precedence, *letter)) {
            if let Some(n) = self.waiting.get_mut(&place(h)) {
                *n = n.saturating_sub(1);
            }
            if h.kind == LetterKind::Cancel {
                self.cancelling.remove(&(h.notice, h.to.clone()));
            }
        }
    }

    fn sent(&mut self, letter: Letter, sender: String, at: Millis) {
        let digest = letter.digest();
        if self.sent.contains_key(&digest) {
            return;
        }
        self.open.insert((letter.header.precedence, digest));
        *self.waiting.entry(place(&letter.header)).or_default() += 1;
        match letter.header.kind {
            LetterKind::Notice => {
                self.name(letter.header.notice, digest);
                self.unsettled.insert(digest);
            }
            LetterKind::Cancel => {
                let of = (letter.header.notice, letter.header.to.clone());
                self.cancelled.insert(of.clone());
                self.cancelling.insert(of);
            }
            // Where nobody has seen it, it is withdrawn.
            LetterKind::Recall => {
                let (notice, to) = (letter.header.notice, letter.header.to.clone());
                self.cancelled.insert((notice, to.clone()));
                self.about.insert((notice, to, LetterKind::Recall), digest);
            }
            LetterKind::Confirm => {
                let of = (letter.header.notice, letter.header.to.clone(), LetterKind::Confirm);
                self.about.insert(of, digest);
            }
            LetterKind::Receipt => {}
        }
        let provisional = self.provisional.contains(&letter.header.notice);
        let new = Out {
            letter,
            sender,
            accepted: at,
            receipts: Vec::new(),
            ended: None,
            steps: BTreeMap::new(),
            acknowledged_here: None,
            provisional,
            confirmed: None,
            called: BTreeSet::new(),
        };
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

    /// The letter of the notice that a letter is about: of the same sender.
    pub fn notice_of(&self, h: &LetterHeader) -> Option<(LetterDigest, &In)> {
        self.received_of(&h.notice).filter(|(_, i)| i.header.from == h.from)
    }

    /// Notices that came in since a cursor (0 at first), and the next cursor.
    pub fn arrived_since(&self, cursor: usize) -> (Vec<LetterDigest>, usize) {
        let known = cursor.saturating_sub(self.forgotten);
        (self.arrivals.get(known..).unwrap_or_default().to_vec(), self.forgotten + self.arrivals.len())
    }

    /// Notices that came in and were recalled since a cursor, and the next cursor.
    pub fn recalled_since(&self, cursor: usize) -> (Vec<LetterDigest>, usize) {
        let known = cursor.saturating_sub(self.recalls_forgotten);
        (self.recalls.get(known..).unwrap_or_default().to_vec(), self.recalls_forgotten + self.recalls.len())
    }

    /// Letters without a receipt that are still tried, most urgent first.
    pub fn open(&self) -> impl Iterator<Item = (LetterDigest, &Out)> {
        self.open.iter().filter_map(|(_, d)| self.sent.get(d).map(|o| (*d, o)))
    }

    /// A letter without a receipt that is still tried.
    pub fn still_open(&self, letter: &LetterDigest) -> Option<&Out> {
        self.sent.get(letter).filter(|o| self.open.contains(&(o.letter.header.precedence, *letter)))
    }

    /// How many letters like this one wait for its addressee. What others wait for, exercises, and receipts do not count.
    pub fn waiting(&self, kind: LetterKind, precedence: Precedence, exercise: bool, to: &AgencyId) -> usize {
        self.waiting.get(&(kind, precedence, exercise, to.clone())).copied().unwrap_or(0)
    }

    /// Whether this node withdrew a notice from an addressee.
    pub fn is_cancelled(&self, notice: &NoticeId, to: &AgencyId) -> bool {
        self.cancelled.contains(&(*notice, to.clone()))
    }

    /// The last recall, or confirmation, of a notice that this node sent to an addressee.
    pub fn about(&self, notice: &NoticeId, to: &AgencyId, kind: LetterKind) -> Option<(LetterDigest, &Out)> {
        let letter = self.about.get(&(*notice, to.clone(), kind))?;
        self.sent.get(letter).map(|o| (*letter, o))
    }

    /// Whether a letter waits for another one. A notice goes after its own withdrawal: an addressee that has the one first
    /// never shows the other. A confirmation goes after its notice.
    pub fn is_held_back(&self, out: &Out) -> bool {
        let h = &out.letter.header;
        let recall = || self.about(&h.notice, &h.to, LetterKind::Recall);
        match h.kind {
            LetterKind::Notice => {
                self.cancelling.contains(&(h.notice, h.to.clone()))
                    || recall().is_some_and(|(l, _)| self.still_open(&l).is_some())
            }
            LetterKind::Confirm => {
                self.sent_of(&h.notice).iter().any(|(l, o)| o.letter.header.to == h.to && self.still_open(l).is_some())
            }
            LetterKind::Receipt | LetterKind::Cancel | LetterKind::Recall => false,
        }
    }

    /// Whether a withdrawal of this notice came before it.
    pub fn is_withheld(&self, from: &AgencyId, notice: &NoticeId) -> bool {
        self.withheld.contains(&(from.clone(), *notice))
    }

    /// How many withdrawals of a sender wait for notices that have not come.
    pub fn withheld_of(&self, from: &AgencyId) -> usize {
        self.withheld_of.get(from).copied().unwrap_or(0)
    }

    /// Calls of people that are due and were not made, or of which a stop left it unknown: (letter, step; none for the
    /// arrival). Nobody is called for what was acknowledged or withdrawn meanwhile, nor for information that somebody has
    /// seen or whose time is over.
    pub fn uncalled(&self, now: Millis) -> Vec<(LetterDigest, Option<Step>)> {
        let open = |i: &In| i.shown_to.is_empty() && i.header.expires > now;
        let told = self.unrung.iter().filter(|l| self.received.get(*l).is_some_and(open));
        let mut due: Vec<_> = told.map(|letter| (*letter, None)).collect();
        for letter in &self.unsettled {
            let out = self.sent.get(letter).map(|o| (&o.steps, &o.called, None));
            let entry = self.received.get(letter).map(|i| (&i.steps, &i.called, Some(None)));
            for (steps, called, arrival) in out.into_iter().chain(entry) {
                let all = arrival.into_iter().chain(steps.keys().map(|s| Some(*s)));
                due.extend(all.filter(|s| !called.contains(s)).map(|s| (*letter, s)));
            }
        }
        due
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
            let new = out.chain(entry).filter(|(step, given)| !given.contains_key(step));
            frames.extend(new.map(|(step, _)| Frame::Stepped { letter: *letter, step, at: now }));
        }
        frames
    }
}
