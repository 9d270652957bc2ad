//! Notices for people: send, read, acknowledge, follow, withdraw.

use super::core::Core;
use super::door::{Act, Caller};
use super::publish::RandomOf;
use crate::audit::{Action as AuditAction, Object, Stage};
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, NoticeId, RecordId};
use crate::domain::label::{Grade, Label, Period};
use crate::domain::notice::{
    ADDRESSEES, ANSWER_CHARS, ATTACHMENTS, Answer, Deadlines, LEAD_MS, NOTICE_BODY_BYTES, Precedence, ReceiptState,
    SUBJECT_CHARS, Warning,
};
use crate::domain::time::Millis;
use crate::ledger::{State, origin_mark};
use crate::notice::{
    By, Content, Draft, End, In, LetterDigest, LetterHeader, LetterKind, Out, Receipt, Step, Word, flash_allowance,
    person_bytes,
};
use crate::policy::{Action, Decision, Resource};
use crate::seal::{PublicKey, Signature};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

/// What is to be sent.
pub struct NoticeAsk {
    /// `AGENCY` or `AGENCY/UNIT` or `AGENCY/PERSON`; these must acknowledge.
    pub to: Vec<String>,
    /// The same; these are told only.
    pub info: Vec<String>,
    /// Urgency.
    pub precedence: Precedence,
    /// Grade.
    pub grade: Grade,
    /// Subject.
    pub subject: String,
    /// Body.
    pub body: String,
    /// Records to attach.
    pub attachments: Vec<RecordId>,
    /// 演练.
    pub exercise: bool,
    /// The notice that it updates or follows.
    pub about: Option<NoticeId>,
    /// 线索: all whom it concerns must acknowledge within 30 minutes.
    pub lead: bool,
    /// Set for a warning; issuer and tier are filled in from the ledger.
    pub warning: Option<Warning>,
}

/// A notice as a person sees it.
pub struct NoticeLine {
    /// Its letter, for acknowledging.
    pub letter: LetterDigest,
    /// What everybody on the way may know.
    pub header: LetterHeader,
    /// What it says.
    pub content: Content,
    /// The furthest state here.
    pub state: ReceiptState,
    /// When it came in.
    pub at: Millis,
    /// Who acknowledged first.
    pub ack_by: Option<String>,
    /// Who was called because nobody acknowledged: deputy, chain, out-of-band.
    pub escalated: Vec<&'static str>,
    /// The clock of a lead.
    pub lead: Option<Lead>,
}

/// The stages of a lead, in order.
const STAGES: [&str; 5] = ["pushed", "acknowledged", "assessed", "handled", "feedback"];

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
    /// The clock by receipts: (state, time, answer, whether the answer has a text). One that is late is late for good.
    fn of<'a>(sent: Millis, receipts: impl Iterator<Item = &'a Receipt>) -> Lead {
        let due = sent.plus_ms(LEAD_MS);
        let (mut rank, mut met) = (0, false);
        for r in receipts {
            met |= r.state >= ReceiptState::Acknowledged && r.time <= due;
            rank = rank.max(match (&r.answer, r.state) {
                (Some((Answer::Closed, text)), _) if !text.trim().is_empty() => 4,
                (Some((Answer::Closed | Answer::InHand, _)), _) => 3,
                (Some(_), _) => 2,
                (None, ReceiptState::Acknowledged) => 1,
                (None, _) => 0,
            });
        }
        Lead { stage: STAGES.get(rank).copied().unwrap_or("pushed"), due, met }
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
    /// In one word: `accepted`, a state of all who must act, `cancelled` or `unknown`.
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

#[derive(Default)]
struct Addressee {
    action: bool,
    desks: BTreeSet<String>,
    whole: bool,
}

impl Core {
    /// Accepts a notice: durable in the outbox when it answers.
    pub async fn notice_send(&self, caller: &Caller, ask: NoticeAsk) -> Result<NoticeId, Fault> {
        check(&ask)?;
        let state = self.state();
        let addressees = addressees(&state, &ask)?;
        let warning = ask.warning.clone().map(|w| {
            let of = state.agency(&self.agency).map(|a| (a.descriptor.name.clone(), a.descriptor.tier.to_string()));
            let (issuer, tier) = of.unwrap_or_default();
            Warning { issuer, tier, ..w }
        });
        let agencies: BTreeSet<AgencyId> = addressees.keys().cloned().collect();
        self.check_attachments(caller, &state, &ask.attachments, &agencies)?;
        let notice = NoticeId::new(self.clock.now(), origin_mark(&self.federation, &self.agency), &mut RandomOf(self));
        let flash = ask.precedence == Precedence::Flash;
        let action = if flash { Action::NoticeFlash } else { Action::NoticeSend };
        let label = notice_label(&self.agency, ask.grade, agencies);
        let resource = Resource::Record { label: label.clone(), own: true };
        let act = self.notice_act(action, AuditAction::NoticeSend, notice, &label);
        let decision = self.decide(caller, action, resource, "", true);
        let _logged = self.log(caller, &act, Stage::Single, &decision).await?;
        if let Some(fault) = decision.fault() {
            return Err(fault);
        }
        if flash {
            self.check_flash(caller, ask.exercise)?;
        }
        let written: Vec<String> = ask.to.iter().chain(&ask.info).cloned().collect();
        let drafts = addressees.into_iter().map(|(to, a)| Draft {
            notice,
            to,
            kind: LetterKind::Notice,
            precedence: ask.precedence,
            exercise: ask.exercise,
            action: a.action,
            lead: ask.lead,
            grade: ask.grade,
            content: Content {
                subject: ask.subject.clone(),
                body: ask.body.clone(),
                sender: caller.person().name.clone(),
                desks: if a.whole { Vec::new() } else { a.desks.into_iter().collect() },
                addressees: written.clone(),
                attachments: ask.attachments.clone(),
                about: ask.about,
                warning: warning.clone(),
            },
        });
        let sender = &caller.person().name;
        self.office.accept(&state, drafts.collect(), sender, self.clock.now(), &mut RandomOf(self)).await?;
        Ok(notice)
    }

    /// A flash wakes people: nobody may use it up.
    fn check_flash(&self, caller: &Caller, exercise: bool) -> Result<(), Fault> {
        let (person, agency) = flash_allowance(exercise);
        let now = self.clock.now();
        let mut quota = self.quota.lock().unwrap_or_else(PoisonError::into_inner);
        let mut take = |who: &str, allowed| quota.take(who, Precedence::Flash, exercise, allowed, now);
        if take(&format!("{}/{}", self.agency, caller.person().name), person)
            && take(&format!("{}/", self.agency), agency)
        {
            return Ok(());
        }
        Err(Fault::unavailable("FLASH_QUOTA", "too many flashes in a short time")
            .hint("send it as immediate, or wait a few seconds"))
    }

    /// Attaching widens nothing: who may not see a record is named before anything is sent.
    fn check_attachments(
        &self,
        caller: &Caller,
        state: &State,
        records: &[RecordId],
        agencies: &BTreeSet<AgencyId>,
    ) -> Result<(), Fault> {
        for record in records {
            let card = self.find(state, record, 0);
            let card = card.filter(|c| self.may(caller, Action::RecordHistory, c, "").is_allow());
            let audience = card.ok_or_else(Fault::not_found)?.facts.label.audience();
            if let Some(outside) = agencies.difference(&audience).next() {
                return Err(Fault::refused("ATTACHMENT_NOT_RELEASED", format!("`{outside}` may not see `{record}`"))
                    .hint("release the record to it first, or send it a notice without the record"));
            }
        }
        Ok(())
    }

    /// Whether somebody may look at notices at all; a refusal is an event.
    pub async fn notice_gate(&self, caller: &Caller) -> Result<(), Fault> {
        let decision = self.decide(caller, Action::NoticeTrack, Resource::None, "", true);
        let Some(fault) = decision.fault() else { return Ok(()) };
        let (action, audit, object) = (Action::NoticeTrack, AuditAction::NoticeOpen, Object::None);
        let act = Act { action, audit, object, label: None, purpose: "", origin: None, request: self.random() };
        let _logged = self.log(caller, &act, Stage::Single, &decision).await?;
        Err(fault)
    }

    /// Notices that a person may see, newest first. Each one shown is an event.
    pub async fn notice_inbox(&self, caller: &Caller, limit: usize) -> Result<Vec<NoticeLine>, Fault> {
        self.notice_gate(caller).await?;
        let (letters, _) = self.office.read(|b| b.arrived_since(0));
        let mut lines = Vec::new();
        for letter in letters.into_iter().rev() {
            if lines.len() >= limit {
                break;
            }
            lines.extend(self.notice_shown(caller, letter).await?);
        }
        Ok(lines)
    }

    /// One notice by its id.
    pub async fn notice_show(&self, caller: &Caller, notice: &NoticeId) -> Result<NoticeLine, Fault> {
        let letter = self.office.read(|b| b.received_of(notice).map(|(d, _)| d));
        let line = match letter {
            Some(letter) => self.notice_shown(caller, letter).await?,
            None => None,
        };
        match line {
            Some(line) => Ok(line),
            None => {
                // Denied and absent look alike, and both are events.
                let label = notice_label(&self.agency, Grade::Internal, BTreeSet::new());
                let act = self.notice_act(Action::NoticeRead, AuditAction::NoticeOpen, *notice, &label);
                let denied = self.decide(caller, Action::NoticeRead, Resource::None, "", false);
                let _logged = self.log(caller, &act, Stage::Intent, &denied).await?;
                Err(Fault::not_found())
            }
        }
    }

    /// A notice as this person may see it: none when they may not, or when it was withdrawn.
    pub async fn notice_shown(&self, caller: &Caller, letter: LetterDigest) -> Result<Option<NoticeLine>, Fault> {
        let Some(entry) = self.office.read(|b| b.entry(&letter).cloned()) else { return Ok(None) };
        let decision = self.notice_may(caller, Action::NoticeRead, &entry);
        if entry.state() == ReceiptState::Withdrawn || !decision.is_allow() {
            return Ok(None);
        }
        let h = &entry.letter.header;
        let label = notice_label(&h.from, h.grade, [h.to.clone()].into());
        let act = self.notice_act(Action::NoticeRead, AuditAction::NoticeOpen, h.notice, &label);
        let receipt = self.log(caller, &act, Stage::Intent, &decision).await?;
        let content = self.office.disclose(&entry, &receipt)?;
        let (state, ack_by) = (entry.state(), entry.acknowledged_by().map(str::to_owned));
        let escalated = entry.steps.iter().map(|s| s.as_str()).collect();
        let clock = || Lead::of(h.created, entry.receipts.iter().map(|r| &r.receipt));
        let lead = h.lead.then(clock);
        Ok(Some(NoticeLine { letter, header: h.clone(), content, state, at: entry.at, ack_by, escalated, lead }))
    }

    /// The lattice on the notice's label, with its desks as the need-to-know scope: a desk or person that is named,
    /// and the duty officers who watch for all.
    fn notice_may(&self, caller: &Caller, action: Action, entry: &In) -> Decision {
        let h = &entry.letter.header;
        let desks = self.office.desks(entry).unwrap_or_else(|_| vec![String::new()].into());
        let person = caller.person();
        let named = |d: &String| *d == person.name || (!person.unit.is_empty() && *d == person.unit);
        let on_duty = person.roles.contains(&crate::domain::person::Role::DutyOfficer);
        let label = notice_label(&h.from, h.grade, [h.to.clone()].into());
        let resource = Resource::Record { label, own: h.from == self.agency };
        let mut question = self.question(caller, action, resource, "", true);
        question.in_scope = desks.is_empty() || on_duty || desks.iter().any(named);
        self.policy.decide(&question)
    }

    /// Letters that a person's terminal has not displayed yet and nobody acknowledged, then where to go on.
    pub fn notices_unseen(&self, caller: &Caller) -> (Vec<LetterDigest>, usize) {
        let name = &caller.person().name;
        self.office.read(|b| {
            let (letters, next) = b.arrived_since(0);
            let unseen = |d: &LetterDigest| {
                b.entry(d).is_some_and(|i| !i.shown_to.contains(name) && i.state() < ReceiptState::Acknowledged)
            };
            (letters.into_iter().filter(unseen).collect(), next)
        })
    }

    /// A person's terminal displays a notice.
    pub async fn notice_presented(&self, caller: &Caller, notice: &NoticeId) -> Result<(), Fault> {
        let (letter, _) = self.notice_for(caller, notice, Action::NoticeRead)?;
        let name = &caller.person().name;
        Ok(self.office.shown(&self.state(), &letter, name, self.clock.now(), &mut RandomOf(self)).await?)
    }

    /// What a person signs to acknowledge (no answer) or to answer a notice.
    pub fn notice_words(
        &self,
        caller: &Caller,
        notice: &NoticeId,
        answer: Option<&(Answer, String)>,
    ) -> Result<Vec<u8>, Fault> {
        let (letter, _) = self.notice_for(caller, notice, Action::NoticeAck)?;
        let state = if answer.is_some() { ReceiptState::Answered } else { ReceiptState::Acknowledged };
        Ok(person_bytes(&self.federation, &letter, state, answer, &caller.person().name))
    }

    /// Acknowledges or answers with the person's signature; durable when it answers.
    pub async fn notice_say(
        &self,
        caller: &Caller,
        notice: &NoticeId,
        answer: Option<(Answer, String)>,
        signature: Signature,
    ) -> Result<(), Fault> {
        if answer.as_ref().is_some_and(|(_, text)| text.chars().count() > ANSWER_CHARS) {
            return Err(Fault::usage("BAD_ANSWER", format!("an answer has at most {ANSWER_CHARS} characters")));
        }
        if answer.as_ref().is_some_and(|(a, text)| *a == Answer::Refused && text.trim().is_empty()) {
            return Err(Fault::usage("BAD_ANSWER", "a refusal gives its reason").hint("add --text"));
        }
        let (letter, entry) = self.notice_for(caller, notice, Action::NoticeAck)?;
        let h = &entry.letter.header;
        let label = notice_label(&h.from, h.grade, [h.to.clone()].into());
        let act = self.notice_act(Action::NoticeAck, AuditAction::NoticeAnswer, *notice, &label);
        let decision = self.notice_may(caller, Action::NoticeAck, &entry);
        let _logged = self.log(caller, &act, Stage::Single, &decision).await?;
        let person = caller.person();
        let key = PublicKey::from_bytes(person.public_key);
        let state = if answer.is_some() { ReceiptState::Answered } else { ReceiptState::Acknowledged };
        let word = Word { by: By { name: person.name.clone(), key, signature }, answer };
        let now = self.clock.now();
        Ok(self.office.say(&self.state(), &letter, state, Some(word), now, &mut RandomOf(self)).await?)
    }

    fn notice_for(&self, caller: &Caller, notice: &NoticeId, action: Action) -> Result<(LetterDigest, In), Fault> {
        let found = self.office.read(|b| b.received_of(notice).map(|(d, i)| (d, i.clone())));
        let found = found.filter(|(_, i)| self.notice_may(caller, action, i).is_allow());
        found.ok_or_else(Fault::not_found)
    }

    /// What became of a notice of this agency.
    pub async fn notice_track(&self, caller: &Caller, notice: &NoticeId) -> Result<Tracked, Fault> {
        let sent = self.notice_own(caller, notice)?;
        Ok(tracked(&sent, self.office.deadlines()))
    }

    /// Withdraws a notice from whoever has not seen it yet.
    pub async fn notice_cancel(&self, caller: &Caller, notice: &NoticeId, reason: &str) -> Result<(), Fault> {
        let sent = self.notice_own(caller, notice)?;
        let grade = sent.first().map_or(Grade::Internal, |(_, o)| o.letter.header.grade);
        let label = notice_label(&self.agency, grade, BTreeSet::new());
        let act = self.notice_act(Action::NoticeSend, AuditAction::NoticeSend, *notice, &label);
        let resource = Resource::Record { label: label.clone(), own: true };
        let decision = self.decide(caller, Action::NoticeSend, resource, "", true);
        let _logged = self.log(caller, &act, Stage::Single, &decision).await?;
        if let Some(fault) = decision.fault() {
            return Err(fault);
        }
        let unseen = |o: &Out| o.state().is_none_or(|s| s == ReceiptState::Delivered);
        let open: Vec<&Out> = sent.iter().map(|(_, o)| o).filter(|o| unseen(o)).collect();
        if open.is_empty() {
            return Err(Fault::conflict("ALREADY_SEEN", "every addressee has seen it, so it cannot be withdrawn")
                .hint("send another notice that corrects it"));
        }
        let name = &caller.person().name;
        let drafts = open.into_iter().map(|o| {
            let h = &o.letter.header;
            Draft {
                notice: *notice,
                to: h.to.clone(),
                kind: LetterKind::Cancel,
                precedence: h.precedence,
                exercise: h.exercise,
                action: false,
                lead: false,
                grade: h.grade,
                content: Content {
                    subject: reason.chars().take(SUBJECT_CHARS).collect(),
                    body: String::new(),
                    sender: name.clone(),
                    desks: Vec::new(),
                    addressees: Vec::new(),
                    attachments: Vec::new(),
                    about: Some(*notice),
                    warning: None,
                },
            }
        });
        let now = self.clock.now();
        self.office.accept(&self.state(), drafts.collect(), name, now, &mut RandomOf(self)).await?;
        Ok(())
    }

    fn notice_own(&self, caller: &Caller, notice: &NoticeId) -> Result<Vec<(LetterDigest, Out)>, Fault> {
        let may = self.decide(caller, Action::NoticeTrack, Resource::None, "", true).is_allow();
        let sent = self.office.sent_of(notice);
        let cleared = |o: &Out| caller.person().clearance >= o.letter.header.grade;
        if may && !sent.is_empty() && sent.iter().all(|(_, o)| cleared(o)) { Ok(sent) } else { Err(Fault::not_found()) }
    }

    fn notice_act<'a>(&self, action: Action, audit: AuditAction, notice: NoticeId, label: &'a Label) -> Act<'a> {
        let object = Object::Notice(notice);
        Act { action, audit, object, label: Some(label), purpose: "", origin: None, request: self.random() }
    }
}

fn check(ask: &NoticeAsk) -> Result<(), Fault> {
    let chars = ask.subject.chars().count();
    if ask.subject.trim().is_empty() || chars > SUBJECT_CHARS {
        return Err(Fault::usage("BAD_SUBJECT", format!("a subject has 1 to {SUBJECT_CHARS} characters")));
    }
    if ask.body.len() > NOTICE_BODY_BYTES {
        return Err(Fault::usage("BODY_TOO_LARGE", format!("a notice has at most {NOTICE_BODY_BYTES} bytes"))
            .hint("publish a record and attach it"));
    }
    if ask.to.len() + ask.info.len() > ADDRESSEES || ask.attachments.len() > ATTACHMENTS {
        let limit = format!("a notice has at most {ADDRESSEES} addressees and {ATTACHMENTS} attached records");
        return Err(Fault::usage("TOO_MANY", limit));
    }
    if let Some(warning) = &ask.warning {
        warning.check()?;
    }
    if ask.to.is_empty() {
        return Err(Fault::usage("NO_ADDRESSEE", "nobody would have to act on it").hint("give --to"));
    }
    Ok(())
}

/// Agencies with their desks; unknown ones and ones whose systems may not hold the grade are refused before anything is kept.
fn addressees(state: &State, ask: &NoticeAsk) -> Result<BTreeMap<AgencyId, Addressee>, Fault> {
    let mut all: BTreeMap<AgencyId, Addressee> = BTreeMap::new();
    for (written, action) in ask.to.iter().map(|t| (t, true)).chain(ask.info.iter().map(|t| (t, false))) {
        let (agency, desk) = written.split_once('/').map_or((written.as_str(), ""), |(a, d)| (a, d));
        let agency: AgencyId = agency.trim().parse()?;
        let known = state.agency(&agency).ok_or_else(|| {
            let all: Vec<String> = state.agencies().map(|(a, _)| a.to_string()).collect();
            Fault::usage("UNKNOWN_AGENCY", format!("`{agency}` is no agency of this federation"))
                .hint(format!("use {}", all.join(", ")))
        })?;
        if !known.descriptor.may_hold(ask.grade, &BTreeSet::new()) {
            let ceiling = known.descriptor.ceiling;
            return Err(Fault::refused("ABOVE_CEILING", format!("`{agency}` may hold nothing above {ceiling}"))
                .hint(format!("{ceiling} would do, if what you say allows it")));
        }
        if desk.chars().count() > 64 {
            return Err(Fault::usage("BAD_ADDRESSEE", "a unit or person has at most 64 characters"));
        }
        let a = all.entry(agency).or_default();
        a.action |= action;
        if desk.is_empty() {
            a.whole = true;
        } else {
            a.desks.insert(desk.to_owned());
        }
    }
    Ok(all)
}

/// A notice's label: its addressees are its release list.
fn notice_label(from: &AgencyId, grade: Grade, to: BTreeSet<AgencyId>) -> Label {
    let release = to.into_iter().filter(|a| a != from).collect();
    Label {
        originator: from.clone(),
        grade,
        compartments: BTreeSet::new(),
        release,
        caveats: BTreeSet::new(),
        period: grade.max_years().map(Period::Years),
    }
}

fn tracked(sent: &[(LetterDigest, Out)], deadlines: &Deadlines) -> Tracked {
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
        let (deliver, acknowledge) = deadlines.of(out.letter.header.precedence);
        lines.extend(out.steps.iter().map(|s| {
            let after = if *s == Step::Undelivered { deliver } else { acknowledge };
            alarm(s.as_str(), out.accepted.plus_ms(after))
        }));
        lines.extend(out.ended.filter(|_| !out.is_delivered()).map(|(End::Expired, at)| alarm("expired", at)));
    }
    lines.sort_by_key(|l| l.at);
    let leads = sent.iter().map(|(_, o)| o).filter(|o| o.letter.header.lead && o.letter.header.action);
    let lead = Lead::slowest(leads.map(|o| Lead::of(o.accepted, o.receipts.iter().map(|r| &r.receipt))));
    Tracked { state: overall(sent), lines, lead }
}

/// What all who must act have reached; of a notice that nobody must act on, what all have reached.
fn overall(sent: &[(LetterDigest, Out)]) -> String {
    let withdrawn = |o: &Out| o.state() == Some(ReceiptState::Withdrawn);
    if sent.iter().all(|(_, o)| withdrawn(o)) {
        return "cancelled".into();
    }
    let acts = sent.iter().any(|(_, o)| o.letter.header.action);
    let counted = sent.iter().map(|(_, o)| o).filter(|o| !withdrawn(o) && (o.letter.header.action || !acts));
    let least = counted.map(|o| (o.state(), o.ended.is_some())).min();
    match least {
        Some((Some(state), _)) => state.to_string(),
        Some((None, true)) => "unknown".into(),
        _ => "accepted".into(),
    }
}
