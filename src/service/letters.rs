//! Letters between nodes: taking in what is addressed to this agency, passing on what is not, alarms.

use super::bell::Ring;
use super::core::Core;
use crate::audit::{Action as AuditAction, Decision as Verdict, Object};
use crate::domain::canon::Canon;
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, NodeId, NoticeId};
use crate::domain::notice::Precedence;
use crate::domain::reserve::Work;
use crate::notice::{
    Frame, Letter, LetterDigest, LetterHeader, LetterKind, NoticeError, Out, Passage, RECALLS_FULL, Relay,
    SignedReceipt, Step, demoted, disk_work, is_of_addressee, may_go, memory_work, origin_allowance, passed_back,
};
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

/// Letters of which it is remembered that the audit log was told.
const REMEMBERED: usize = 10_000;

/// What a letter brought: receipts, or why it was not taken. Only a fault that the other node gave says that it has no such notice.
pub type Posted<'a> = Pin<Box<dyn Future<Output = Result<Vec<SignedReceipt>, Fault>> + Send + 'a>>;

/// Carries letters to other nodes; `node` plugs the network in.
pub trait PeerPost: Send + Sync {
    /// Hands a letter to a node of its addressee.
    fn deliver(&self, node: NodeId, precedence: Precedence, letter: Vec<u8>) -> Posted<'_>;
    /// Asks another node of this agency for the receipts of a letter, or of another letter of its notice, if it took one in.
    fn held(&self, node: NodeId, precedence: Precedence, letter: (NoticeId, LetterDigest)) -> Posted<'_>;
    /// Asks another node to pass a letter on.
    fn relay(&self, via: NodeId, precedence: Precedence, letter: Vec<u8>) -> Posted<'_>;
}

/// What passed through this node as a relay: nothing of it is stored on disk.
#[derive(Default)]
pub struct Relayed(Mutex<Relay>);

impl Relayed {
    fn change<T>(&self, f: impl FnOnce(&mut Relay) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What became of a letter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    /// Taken in, or one of this node's that was delivered.
    Taken,
    /// Refused.
    Refused,
    /// Handed to another node of this agency.
    HandedOn,
}

/// Letters of which the audit log was told since the start: each attempt of a sender is not an event of its own. After a
/// stop between book and log, the sender's next copy is told.
#[derive(Default)]
pub struct Logged(Mutex<BTreeSet<(LetterDigest, Fate)>>);

impl Logged {
    pub(super) fn first(&self, letter: LetterDigest, fate: Fate) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= REMEMBERED {
            told.pop_first();
        }
        told.insert((letter, fate))
    }

    pub(super) fn forget(&self, letter: LetterDigest, fate: Fate) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(letter, fate));
    }
}

impl Core {
    /// Takes a letter in that is addressed to this agency; everything it stands for is durable when it answers. Whoever
    /// brings it for somebody else, as a relay, learns that it arrived and nothing that people said.
    pub async fn take_letter(&self, sender: &AgencyId, bytes: &[u8]) -> Result<Vec<SignedReceipt>, Fault> {
        let letter = match Letter::from_canon(bytes) {
            Ok(letter) => letter,
            Err(error) => {
                self.log_refusal(AuditAction::NoticeReceive, sender, Object::None, "letter-unreadable").await?;
                return Err(NoticeError::from(error).into());
            }
        };
        let (header, digest) = (letter.header.clone(), letter.digest());
        let (notice, from) = (header.notice, header.from.clone());
        let state = self.state();
        let mut counted = None;
        // One that is here already is receipted again; for any other its sender tries again when there is room.
        if !self.office.read(|b| b.entry(&digest).is_some()) {
            self.disk.check(disk_work(header.kind, header.precedence))?;
            // Urgent notices are taken where there is no memory for others, as far as their origin's share goes. Whose they are is
            // known first: nobody uses up another's share.
            let is_short = || self.memory.check(Work::Notice(Precedence::Routine)).is_err();
            if header.kind == LetterKind::Notice && is_short() && self.office.may_take(&state, &letter).is_ok() {
                counted = Some(self.counted(&header));
            }
            self.memory.check(memory_work(header.kind, header.precedence, counted))?;
        }
        match self.office.take(&state, letter, self.clock.now()).await {
            Ok(taken) => {
                // A node of this agency brought what it signed: whoever calls can be called.
                if from == *sender {
                    self.office.called_by(sender, self.clock.steady());
                }
                let told = |rule| {
                    (header.kind != LetterKind::Receipt && self.logged.first(digest, Fate::Taken)).then_some(rule)
                };
                let rule = match header.kind {
                    LetterKind::Cancel => "withdrawal",
                    LetterKind::Recall => "recall",
                    LetterKind::Confirm => "marking-confirmed",
                    LetterKind::Notice | LetterKind::Receipt => "delivered",
                };
                if taken.new {
                    let precedence = counted.unwrap_or_else(|| self.counted(&header));
                    let counted = LetterHeader { precedence, ..header.clone() };
                    self.bell.ring(ring("received", &counted, &from, Vec::new(), (digest, None)));
                }
                if let Some(rule) = told(rule) {
                    let action = AuditAction::NoticeReceive;
                    let logged = self.log_node(action, &from, Object::Notice(notice), Verdict::Allow, rule).await;
                    let _logged = logged.inspect_err(|_| self.logged.forget(digest, Fate::Taken))?;
                }
                let mut receipts = taken.receipts;
                receipts.retain(|r| from == *sender || r.receipt.by.is_none());
                Ok(receipts)
            }
            Err(error) => self.refuse_letter(sender, &header, digest, error).await,
        }
    }

    /// Refuses a letter; that it is refused for what it is, is told once.
    pub(super) async fn refuse_letter(
        &self,
        sender: &AgencyId,
        h: &LetterHeader,
        digest: LetterDigest,
        error: NoticeError,
    ) -> Result<Vec<SignedReceipt>, Fault> {
        if let Some(rule) = refusal_of(&error)
            && self.logged.first(digest, Fate::Refused)
        {
            tracing::warn!(from = %h.from, notice = %h.notice, %error, "a letter was refused");
            self.log_refusal(AuditAction::NoticeReceive, sender, Object::Notice(h.notice), rule).await?;
        }
        Err(error.into())
    }

    /// Passes a letter of the caller's own agency on to its addressee: one hop, blind, and once.
    pub async fn relay_letter(
        &self,
        sender: &AgencyId,
        bytes: &[u8],
        post: &dyn PeerPost,
    ) -> Result<Vec<SignedReceipt>, Fault> {
        let letter = Letter::from_canon(bytes).map_err(NoticeError::from)?;
        let h = &letter.header;
        if h.to == self.agency {
            return self.receive_letter(sender, bytes, post).await;
        }
        let state = self.state();
        self.office.may_relay(&state, sender, &letter)?;
        let digest = letter.digest();
        let precedence = match self.relayed.change(|r| r.begin(digest, || self.counted(h))) {
            Passage::Begun(precedence) => precedence,
            Passage::Arrived(receipts) => return Ok(receipts),
            Passage::UnderWay => {
                return Err(Fault::unavailable("UNREACHABLE", "it is being passed on at this moment"));
            }
        };
        let _passing = Passing { relayed: &self.relayed, letter: digest };
        let nodes: Vec<NodeId> = state.nodes().filter(|(_, n)| n.agency == h.to).map(|(id, _)| *id).collect();
        let mut why = String::from("the addressee has no node");
        for node in nodes {
            match post.deliver(node, precedence, bytes.to_vec()).await {
                Ok(receipts) => {
                    // Kept only if it is the addressee's word on this letter.
                    let genuine = |r: &SignedReceipt| r.receipt.addressee == h.to && is_of_addressee(&state, r);
                    let receipts = passed_back(&h.notice, receipts, genuine);
                    if receipts.is_empty() {
                        why = "the addressee gave no receipt".into();
                        continue;
                    }
                    let object = Object::Notice(h.notice);
                    let action = AuditAction::NoticeSend;
                    let _logged = self.log_node(action, sender, object, Verdict::Allow, "relayed").await?;
                    self.relayed.change(|r| r.arrived(&digest, receipts.clone()));
                    return Ok(receipts);
                }
                Err(fault) => why = fault.message,
            }
        }
        Err(Fault::unavailable("UNREACHABLE", why))
    }

    /// What a letter counts as here: who sends too much of a precedence is handled as the next lower one, never lost (P25).
    fn counted(&self, h: &LetterHeader) -> Precedence {
        let allowed = origin_allowance(h.precedence);
        let mut quota = self.quota.lock().unwrap_or_else(PoisonError::into_inner);
        let within = quota.take(h.from.as_str(), h.precedence, h.exercise, allowed, self.clock.steady());
        if within { h.precedence } else { demoted(h.precedence) }
    }

    /// Sends one letter by one path and keeps what came back. What does not arrive is tried again by the schedule.
    pub async fn post_letter(&self, letter: LetterDigest, via: Option<NodeId>, post: &dyn PeerPost) {
        let Some(found) = self.office.read(|b| b.out(&letter).map(|o| o.letter.clone())) else { return };
        let h = &found.header;
        let state = self.state();
        if !may_go(&state, h) {
            return self.tell_held_back(letter, h).await;
        }
        let bytes = found.to_canon();
        let brought = match via {
            Some(via) => post.relay(via, h.precedence, bytes).await,
            None if h.to == self.agency => self.take_letter(&self.agency, &bytes).await,
            None => {
                let mut brought = Err(Fault::unavailable("UNREACHABLE", "the addressee has no node"));
                for node in self.nodes_for(&state, h) {
                    brought = post.deliver(node, h.precedence, bytes.clone()).await;
                    if brought.is_ok() {
                        break;
                    }
                }
                brought
            }
        };
        match brought {
            Ok(receipts) => {
                if let Err(error) = self.office.told(&state, receipts, self.clock.now()).await {
                    tracing::error!(notice = %h.notice, to = %h.to, %error, "receipts were not taken");
                }
                // Delivered is what the book says, by a receipt that verifies.
                let delivered = self.office.read(|b| b.out(&letter).is_some_and(Out::is_delivered));
                if h.kind == LetterKind::Notice && delivered && self.logged.first(letter, Fate::Taken) {
                    let action = AuditAction::NoticeSend;
                    let logged = self.log_node(action, &h.to, Object::Notice(h.notice), Verdict::Allow, "delivered");
                    if let Err(error) = logged.await {
                        self.logged.forget(letter, Fate::Taken);
                        tracing::error!(notice = %h.notice, %error, "a delivery could not be audited");
                    }
                }
            }
            Err(why) if why.reason == RECALLS_FULL => self.tell_not_taken_back(letter, h).await,
            Err(why) => tracing::debug!(notice = %h.notice, to = %h.to, ?via, %why, "a letter did not arrive"),
        }
    }

    /// A notice was accepted before its addressee's ceiling was lowered, and goes nowhere while that stands: told once, and its
    /// sender learns as of any other that it is undelivered.
    async fn tell_held_back(&self, letter: LetterDigest, h: &LetterHeader) {
        if !self.logged.first(letter, Fate::Refused) {
            return;
        }
        tracing::warn!(notice = %h.notice, to = %h.to, "a notice is above what its addressee may hold now");
        let object = Object::Notice(h.notice);
        let logged = self.log_node(AuditAction::NoticeSend, &h.to, object, Verdict::Deny, "above-ceiling").await;
        if let Err(error) = logged {
            self.logged.forget(letter, Fate::Refused);
            tracing::error!(notice = %h.notice, %error, "a notice that was held back could not be audited");
        }
    }

    /// An addressee does not have the notice and keeps none of this agency's back any more: it would show it when it comes. The
    /// schedule tries on; somebody must know.
    async fn tell_not_taken_back(&self, letter: LetterDigest, h: &LetterHeader) {
        if !self.logged.first(letter, Fate::Refused) {
            return;
        }
        tracing::error!(notice = %h.notice, to = %h.to, "ALARM: a recall or withdrawal is not taken: its addressee keeps too many");
        let (notice, precedence, grade, exercise) = (h.notice, h.precedence, h.grade, h.exercise);
        let (event, agency, call, of) = ("recall-not-taken", h.to.clone(), Vec::new(), None);
        self.bell.ring(Ring { event, notice, agency, precedence, grade, exercise, call, of });
        let object = Object::Notice(notice);
        let logged = self.log_node(AuditAction::NoticeSend, &h.to, object, Verdict::Deny, "recalls-full").await;
        if let Err(error) = logged {
            self.logged.forget(letter, Fate::Refused);
            tracing::error!(%notice, %error, "that a recall is not taken could not be audited");
        }
    }

    /// Nodes that can pass a letter on: neither this agency's nor the addressee's.
    pub fn relays_for(&self, letter: &LetterDigest) -> Vec<NodeId> {
        let Some(to) = self.office.read(|b| b.out(letter).map(|o| o.letter.header.to.clone())) else {
            return Vec::new();
        };
        if to == self.agency {
            return Vec::new();
        }
        let state = self.state();
        state.nodes().filter(|(_, n)| n.agency != to && n.agency != self.agency).map(|(id, _)| *id).collect()
    }

    /// Ends what expired, gives alarms and escalates what is due. Who must be called is called whatever becomes of the log.
    pub async fn notice_steps(&self) -> Result<(), Fault> {
        let mut outcome = Ok(());
        for frame in self.office.step(self.clock.now()).await? {
            let (letter, rule, step) = match frame {
                Frame::Stepped { letter, step, .. } => (letter, step.as_str(), Some(step)),
                Frame::Ended { letter, .. } => (letter, "expired", None),
                _ => continue,
            };
            let Some((header, other)) = self.notice_of(&letter) else { continue };
            tracing::warn!(notice = %header.notice, agency = %other, step = rule, "ALARM: a notice is overdue");
            self.call(rule, &header, &other, (letter, step));
            let received = header.to == self.agency;
            let action = if received { AuditAction::NoticeReceive } else { AuditAction::NoticeSend };
            let object = Object::Notice(header.notice);
            let logged = self.log_node(action, &other, object, Verdict::Allow, rule).await;
            outcome = outcome.and(logged.map(|_| ()));
        }
        outcome
    }

    /// Rings again for what a stop left uncertain: it may have been rung already, and nobody knows.
    pub fn ring_again(&self) {
        for (letter, step) in self.office.read(|b| b.uncalled(self.clock.now())) {
            if let Some((header, other)) = self.notice_of(&letter) {
                self.call(step.map_or("received", |s| s.as_str()), &header, &other, (letter, step));
            }
        }
    }

    /// Header and other side of a notice that was sent or received here.
    fn notice_of(&self, letter: &LetterDigest) -> Option<(LetterHeader, AgencyId)> {
        let found = self.office.read(|b| {
            let sent = b.out(letter).map(|o| (o.letter.header.clone(), o.letter.header.to.clone()));
            sent.or_else(|| b.entry(letter).map(|i| (i.header.clone(), i.header.from.clone())))
        });
        found.filter(|(h, _)| h.kind == LetterKind::Notice)
    }

    fn call(&self, event: &'static str, header: &LetterHeader, other: &AgencyId, of: (LetterDigest, Option<Step>)) {
        let settings = self.settings.now();
        let call = match of.1 {
            Some(Step::Deputy) => settings.duty.deputy.clone(),
            Some(Step::Chain) => settings.duty.chain.clone(),
            Some(Step::OutOfBand) => settings.duty.out_of_band.clone(),
            _ => Vec::new(),
        };
        self.bell.ring(ring(event, header, other, call, of));
    }
}

/// By which rule a letter was refused for what it is, as the log says it; none when it may be taken later.
fn refusal_of(error: &NoticeError) -> Option<&'static str> {
    match error {
        NoticeError::Rule(_) | NoticeError::Absent(_) | NoticeError::Seal(_) | NoticeError::Canon(_) => {
            Some("letter-refused")
        }
        NoticeError::KeptBackFull => Some("recalls-full"),
        _ => None,
    }
}

/// Ends a passage when dropped, whatever became of it.
struct Passing<'a> {
    relayed: &'a Relayed,
    letter: LetterDigest,
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        self.relayed.change(|r| r.failed(&self.letter));
    }
}

fn ring(
    event: &'static str,
    h: &LetterHeader,
    agency: &AgencyId,
    call: Vec<String>,
    of: (LetterDigest, Option<Step>),
) -> Ring {
    let (notice, precedence, grade, exercise) = (h.notice, h.precedence, h.grade, h.exercise);
    Ring { event, notice, agency: agency.clone(), precedence, grade, exercise, call, of: Some(of) }
}
