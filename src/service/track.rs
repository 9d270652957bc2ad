//! What became of a notice that this agency sent, and the clock of a lead.

use super::core::Core;
use super::door::Caller;
use super::notices::notice_label;
use crate::audit::{Action as AuditAction, Stage};
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, NoticeId};
use crate::domain::label::Grade;
use crate::domain::notice::{Answer, LEAD_MS, ReceiptState};
use crate::domain::time::Millis;
use crate::notice::{Book, End, LetterDigest, Out, SignedReceipt};
use crate::policy::{Action, Decision, DenyKind, Resource};
use std::collections::BTreeSet;

/// Withdrawn from everybody before anybody saw it.
const CANCELLED: &str = "cancelled";

/// The stages of a lead, in order; a refusal goes no further than its acknowledgement.
const STAGES: [&str; 6] = ["pushed", "acknowledged", "refused", "assessed", "handled", "feedback"];

/// A lead's clock: pushed → acknowledged → assessed → handled → feedback.
pub struct Lead {
    /// How far it has come.
    pub stage: &'static str,
    /// By when all whom it concerns must have acknowledged it.
    pub due: Millis,
    /// Whether they have, or did in time.
    pub met: bool,
}

impl Lead {
    /// The clock by receipts. `met` tells whether it was acknowledged by a time; one that is late is late for good.
    pub(super) fn of(sent: Millis, receipts: &[SignedReceipt], met: impl FnOnce(Millis) -> bool) -> Lead {
        let due = sent.plus_ms(LEAD_MS);
        let ranks = receipts.iter().map(|r| match (&r.receipt.answer, r.receipt.state) {
            (Some((Answer::Closed, text)), _) if !text.trim().is_empty() => 5,
            (Some((Answer::Closed | Answer::InHand, _)), _) => 4,
            (Some((Answer::Assessed, _)), _) => 3,
            (Some((Answer::Refused, _)), _) => 2,
            (None, ReceiptState::Acknowledged) => 1,
            (None, _) => 0,
        });
        let stage = STAGES.get(ranks.max().unwrap_or(0)).copied().unwrap_or("pushed");
        Lead { stage, due, met: met(due) }
    }

    /// The clock of several addressees is that of the slowest.
    fn slowest(all: impl Iterator<Item = Lead>) -> Option<Lead> {
        let rank = |l: &Lead| STAGES.iter().position(|s| *s == l.stage);
        all.reduce(|a, b| {
            let met = a.met && b.met;
            let slow = if rank(&a) <= rank(&b) { a } else { b };
            Lead { met, ..slow }
        })
    }
}

/// What became of a notice.
pub struct Tracked {
    /// In one word: `accepted`, a state of all who must act, `cancelled`, `recalled` or `unknown`.
    pub state: String,
    /// All receipts and alarms, oldest first.
    pub lines: Vec<TrackLine>,
    /// The clock of a lead, of the slowest who must act.
    pub lead: Option<Lead>,
    /// Whether, of somebody who counts, it is unknown for good that it was delivered, or that it was taken back.
    lost: Lost,
}

struct Lost {
    delivery: bool,
    recall: bool,
}

/// How a wait for a state stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// All who count have come this far.
    Reached,
    /// It may come by itself.
    Open,
    /// It ended otherwise (P24): cancelled, recalled, or expired and unknown. Nothing is tried any more that could bring it,
    /// and only a late receipt corrects that.
    Ended,
}

impl Tracked {
    /// How a wait for this state stands. A notice that was taken back goes nowhere; who waits for a recall has it when nobody
    /// is left who may read the notice, and that is not known of an addressee whose delivery is unknown.
    pub fn awaited(&self, wait: ReceiptState) -> Awaited {
        let recalled = ReceiptState::Recalled;
        let taken_back = self.state == CANCELLED || self.state == recalled.as_str();
        let reached = match wait == recalled {
            true => taken_back,
            false => !taken_back && self.state.parse::<ReceiptState>().is_ok_and(|s| s >= wait),
        };
        let lost = if wait == recalled { self.lost.recall } else { taken_back || self.lost.delivery };
        match (reached, lost) {
            (true, _) => Awaited::Reached,
            (false, true) => Awaited::Ended,
            (false, false) => Awaited::Open,
        }
    }
}

/// One step.
pub struct TrackLine {
    /// Addressee.
    pub agency: AgencyId,
    /// State, or the name of an alarm.
    pub state: String,
    /// When, by the addressee's clock; alarms by this node's.
    pub at: Millis,
    /// Who.
    pub by: Option<String>,
    /// Answer and its text.
    pub answer: Option<(Answer, String)>,
}

impl Core {
    /// Begins to follow a notice of this agency: what its addressees answered is content, so it is an event.
    pub async fn notice_follow(&self, caller: &Caller, notice: &NoticeId) -> Result<(), Fault> {
        let sent = self.notice_own(caller, notice).await?;
        let grade = sent.first().map_or(Grade::Internal, |(_, o)| o.letter.header.grade);
        let label = notice_label(&self.agency, grade, BTreeSet::new());
        let act = self.notice_act(Action::NoticeTrack, AuditAction::NoticeOpen, *notice, &label);
        let decision = self.decide(caller, Action::NoticeTrack, Resource::None, "", true);
        let _logged = self.log(caller, &act, Stage::Single, &decision).await?;
        Ok(())
    }

    /// What became of a notice of this agency, for somebody who follows it.
    pub async fn notice_track(&self, caller: &Caller, notice: &NoticeId) -> Result<Tracked, Fault> {
        let sent = self.notice_own(caller, notice).await?;
        Ok(self.office.read(|b| tracked(b, &sent)))
    }

    /// Whether this node sent a notice and somebody may follow it up. To whoever may not, nothing that follows from this may
    /// tell that it is here and not at another node of the agency.
    pub fn follows(&self, caller: &Caller, notice: &NoticeId) -> bool {
        let most = caller.clearance().grade;
        let here = self.office.read(|b| {
            let sent = b.sent_of(notice);
            !sent.is_empty() && sent.iter().all(|(_, o)| most >= o.letter.header.grade)
        });
        here && self.decide(caller, Action::NoticeTrack, Resource::None, "", true).is_allow()
    }

    /// The letters of a notice that this agency sent. Denied and absent look alike, and both are events.
    pub(super) async fn notice_own(
        &self,
        caller: &Caller,
        notice: &NoticeId,
    ) -> Result<Vec<(LetterDigest, Out)>, Fault> {
        let decision = self.decide(caller, Action::NoticeTrack, Resource::None, "", true);
        let sent = self.office.sent_of(notice);
        let cleared = |o: &Out| caller.clearance().grade >= o.letter.header.grade;
        let rule = match decision {
            Decision::Deny { rule, .. } => rule,
            Decision::Allow { .. } if sent.is_empty() => "absent".into(),
            Decision::Allow { .. } if !sent.iter().all(|(_, o)| cleared(o)) => "lattice:grade".into(),
            Decision::Allow { .. } => return Ok(sent),
        };
        let label = notice_label(&self.agency, Grade::Internal, BTreeSet::new());
        let act = self.notice_act(Action::NoticeTrack, AuditAction::NoticeOpen, *notice, &label);
        let denied = Decision::Deny { rule, kind: DenyKind::Hidden };
        let _logged = self.log(caller, &act, Stage::Intent, &denied).await?;
        Err(Fault::not_found())
    }
}

fn tracked(book: &Book, sent: &[(LetterDigest, Out)]) -> Tracked {
    let mut lines: Vec<TrackLine> = Vec::new();
    for (_, out) in sent {
        let agency = &out.letter.header.to;
        lines.extend(out.receipts.iter().map(|r| TrackLine {
            agency: agency.clone(),
            state: r.receipt.state.to_string(),
            at: r.receipt.time,
            by: r.receipt.by.as_ref().map(|b| format!("{agency}/{}", b.name)),
            answer: r.receipt.answer.clone(),
        }));
        let alarm =
            |state: &str, at| TrackLine { agency: agency.clone(), state: state.into(), at, by: None, answer: None };
        lines.extend(out.steps.iter().map(|(step, at)| alarm(step.as_str(), *at)));
        lines.extend(
            out.confirmed
                .iter()
                .map(|(name, at)| TrackLine { by: Some(name.clone()), ..alarm("marking-confirmed", *at) }),
        );
        lines.extend(out.ended.filter(|_| out.is_unknown()).map(|(End::Expired, at)| alarm("expired", at)));
    }
    lines.sort_by_key(|l| l.at);
    let concerned = |o: &&Out| {
        let h = &o.letter.header;
        h.lead && h.action && !o.is_taken_back()
    };
    let leads = sent.iter().map(|(_, o)| o).filter(concerned);
    // By the own clock: an addressee's may be wrong, or say what its agency likes.
    let met = |o: &Out, due| o.acknowledged_here.is_some_and(|at| at <= due);
    let lead = Lead::slowest(leads.map(|o| Lead::of(o.accepted, &o.receipts, |due| met(o, due))));
    let lost = Lost {
        delivery: counted(sent).any(|o| o.is_unknown() && book.is_left_unknown(o)),
        recall: sent.iter().any(|(_, o)| book.is_left_unknown(o)),
    };
    Tracked { state: overall(sent), lines, lead, lost }
}

/// Whom a notice's state is about: all who must act; of a notice that nobody must act on, everybody. Whom it was taken back
/// from does not count.
fn counted(sent: &[(LetterDigest, Out)]) -> impl Iterator<Item = &Out> {
    let acts = left(sent).any(|o| o.letter.header.action);
    left(sent).filter(move |o| o.letter.header.action || !acts)
}

fn left(sent: &[(LetterDigest, Out)]) -> impl Iterator<Item = &Out> {
    sent.iter().map(|(_, o)| o).filter(|o| !o.is_taken_back())
}

/// What all who count have reached; when it was taken back from everybody, that.
fn overall(sent: &[(LetterDigest, Out)]) -> String {
    if sent.iter().all(|(_, o)| o.state() == Some(ReceiptState::Withdrawn)) {
        return CANCELLED.into();
    }
    match counted(sent).map(|o| (o.state(), o.ended.is_some())).min() {
        None => ReceiptState::Recalled.to_string(),
        Some((Some(state), _)) => state.to_string(),
        Some((None, true)) => "unknown".into(),
        Some((None, false)) => "accepted".into(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::*;
    use crate::domain::ids::NodeId;
    use crate::domain::notice::{Deadlines, Precedence};
    use crate::notice::{Frame, Letter, LetterHeader, LetterKind, Receipt};
    use crate::seal::{Counter, KeyRing};

    const START: Millis = Millis(1_800_000_000_000);

    /// One notice of police to customs and to state-security, and what becomes of it.
    struct Notice {
        ring: KeyRing,
        book: Book,
        id: NoticeId,
    }

    impl Notice {
        fn sent() -> Notice {
            let ring = KeyRing::create(Grade::Secret, &mut Counter::at(1)).unwrap();
            let id = NoticeId::new(START, [1; 4], &mut Counter::at(2));
            let mut notice = Notice { ring, book: Book::default(), id };
            notice.send(LetterKind::Notice, "customs", START);
            notice.send(LetterKind::Notice, "state-security", START);
            notice
        }

        /// A letter to an agency goes out.
        fn send(&mut self, kind: LetterKind, to: &str, at: Millis) -> LetterDigest {
            let header = LetterHeader {
                federation: "test".parse().unwrap(),
                from: "police".parse().unwrap(),
                node: NodeId(1),
                to: to.parse().unwrap(),
                notice: self.id,
                kind,
                precedence: Precedence::Flash,
                exercise: true,
                action: kind == LetterKind::Notice,
                lead: false,
                grade: Grade::Secret,
                created: at,
                expires: at.plus_ms(Precedence::Flash.lifetime_ms()),
            };
            let (key, signer) = (self.ring.grade_public(Grade::Secret).unwrap(), self.ring.signing_key().unwrap());
            let letter = Letter::seal(header, b"words", &key, &signer, &mut Counter::at(3)).unwrap();
            let digest = letter.digest();
            self.book.fold(Frame::Sent { letter, sender: "duty".into(), at });
            digest
        }

        /// The agency's receipt for a letter is in.
        fn told(&mut self, letter: LetterDigest, state: ReceiptState) {
            let addressee = self.book.out(&letter).unwrap().letter.header.to.clone();
            let receipt = Receipt {
                federation: "test".parse().unwrap(),
                notice: self.id,
                letter,
                addressee,
                node: NodeId(2),
                state,
                time: START,
                previous: None,
                by: None,
                answer: None,
            };
            let receipt = receipt.sign(&self.ring.signing_key().unwrap());
            self.book.fold(Frame::Told { receipt, at: START });
        }

        /// What is over by then ends.
        fn passes(&mut self, at: Millis) {
            self.book.due(at, &Deadlines::default()).into_iter().for_each(|f| self.book.fold(f));
        }

        fn letters(&self) -> Vec<LetterDigest> {
            self.book.sent_of(&self.id).into_iter().map(|(letter, _)| letter).collect()
        }

        fn awaited(&self, wait: ReceiptState) -> (String, Awaited) {
            let sent: Vec<_> = self.book.sent_of(&self.id).into_iter().map(|(l, o)| (l, o.clone())).collect();
            let tracked = tracked(&self.book, &sent);
            let awaited = tracked.awaited(wait);
            (tracked.state, awaited)
        }
    }

    const DAY: u64 = 24 * 3_600_000;

    /// An addressee who never answered may have it: it is not taken back, and nobody waits any longer for that.
    #[test]
    fn a_notice_that_expired_unknown_ends_every_wait() {
        let mut notice = Notice::sent();
        let (customs, third) = (notice.letters()[0], notice.letters()[1]);
        notice.told(customs, ReceiptState::Delivered);
        let back = notice.send(LetterKind::Recall, "customs", START.plus_ms(5));
        notice.send(LetterKind::Recall, "state-security", START.plus_ms(5));
        notice.told(customs, ReceiptState::Withdrawn);
        notice.told(back, ReceiptState::Delivered);
        assert_eq!(notice.awaited(ReceiptState::Recalled), ("accepted".into(), Awaited::Open));
        // Its own time is over, and that of its recall is not: a word may come yet.
        notice.passes(START.plus_ms(DAY));
        for wait in [ReceiptState::Recalled, ReceiptState::Delivered] {
            assert_eq!(notice.awaited(wait), ("unknown".into(), Awaited::Open), "{wait}");
        }
        notice.passes(START.plus_ms(DAY + 5));
        for wait in [ReceiptState::Recalled, ReceiptState::Delivered, ReceiptState::Answered] {
            assert_eq!(notice.awaited(wait), ("unknown".into(), Awaited::Ended), "{wait}");
        }
        // A late receipt corrects it.
        notice.told(third, ReceiptState::Withdrawn);
        assert_eq!(notice.awaited(ReceiptState::Recalled), ("cancelled".into(), Awaited::Reached));
        assert_eq!(notice.awaited(ReceiptState::Delivered).1, Awaited::Ended, "it goes nowhere any more");
    }

    /// Delivered, and its recall expired: people may still answer it, and it is taken back by nothing that is tried.
    #[test]
    fn a_recall_that_expired_ends_the_wait_for_it_alone() {
        let mut notice = Notice::sent();
        notice.letters().into_iter().for_each(|l| notice.told(l, ReceiptState::Delivered));
        assert_eq!(notice.awaited(ReceiptState::Recalled).1, Awaited::Open, "nobody recalled it yet");
        notice.send(LetterKind::Recall, "customs", START);
        notice.passes(START.plus_ms(DAY));
        assert_eq!(notice.awaited(ReceiptState::Recalled), ("delivered".into(), Awaited::Ended));
        assert_eq!(notice.awaited(ReceiptState::Acknowledged).1, Awaited::Open);
        assert_eq!(notice.awaited(ReceiptState::Delivered).1, Awaited::Reached);
        // Recalled once more.
        notice.send(LetterKind::Recall, "customs", START.plus_ms(DAY));
        assert_eq!(notice.awaited(ReceiptState::Recalled).1, Awaited::Open);
    }
}
