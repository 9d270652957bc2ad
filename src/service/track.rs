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
use crate::notice::{End, LetterDigest, Out, SignedReceipt};
use crate::policy::{Action, Decision, DenyKind, Resource};
use std::collections::BTreeSet;

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
        self.notice_own(caller, notice).await?;
        let label = notice_label(&self.agency, Grade::Internal, BTreeSet::new());
        let act = self.notice_act(Action::NoticeTrack, AuditAction::NoticeOpen, *notice, &label);
        let decision = self.decide(caller, Action::NoticeTrack, Resource::None, "", true);
        let _logged = self.log(caller, &act, Stage::Single, &decision).await?;
        Ok(())
    }

    /// What became of a notice of this agency, for somebody who follows it.
    pub async fn notice_track(&self, caller: &Caller, notice: &NoticeId) -> Result<Tracked, Fault> {
        Ok(tracked(&self.notice_own(caller, notice).await?))
    }

    /// The letters of a notice that this agency sent. Denied and absent look alike, and both are events.
    pub(super) async fn notice_own(
        &self,
        caller: &Caller,
        notice: &NoticeId,
    ) -> Result<Vec<(LetterDigest, Out)>, Fault> {
        let decision = self.decide(caller, Action::NoticeTrack, Resource::None, "", true);
        let sent = self.office.sent_of(notice);
        let cleared = |o: &Out| caller.person().clearance >= o.letter.header.grade;
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

fn tracked(sent: &[(LetterDigest, Out)]) -> Tracked {
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
        lines.extend(out.ended.filter(|_| !out.is_delivered()).map(|(End::Expired, at)| alarm("expired", at)));
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
    Tracked { state: overall(sent), lines, lead }
}

/// What all who must act have reached; of a notice that nobody must act on, what all have reached. Whom it was taken back
/// from does not count, unless that is everybody.
fn overall(sent: &[(LetterDigest, Out)]) -> String {
    if sent.iter().all(|(_, o)| o.state() == Some(ReceiptState::Withdrawn)) {
        return "cancelled".into();
    }
    let rest = || sent.iter().map(|(_, o)| o).filter(|o| !o.is_taken_back());
    if rest().next().is_none() {
        return ReceiptState::Recalled.to_string();
    }
    let acts = rest().any(|o| o.letter.header.action);
    let counted = rest().filter(|o| o.letter.header.action || !acts);
    let least = counted.map(|o| (o.state(), o.ended.is_some())).min();
    match least {
        Some((Some(state), _)) => state.to_string(),
        Some((None, true)) => "unknown".into(),
        _ => "accepted".into(),
    }
}
