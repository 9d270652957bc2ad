//! Notices for people who send them: to whom, under which rule, and withdrawing.

use super::core::Core;
use super::door::{Act, Caller};
use super::draft::suspended;
use super::publish::RandomOf;
use crate::audit::{Action as AuditAction, Decision as Verdict, Object};
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, NoticeId, RecordId};
use crate::domain::label::{Grade, Label, Period};
use crate::domain::notice::{
    ADDRESSEES, ATTACHMENTS, NOTICE_BODY_BYTES, Precedence, SUBJECT_CHARS, Warning, WarningKind,
};
use crate::domain::reserve::Work;
use crate::ledger::{State, origin_mark};
use crate::notice::{Accepted, Content, Draft, LetterHeader, LetterKind, flash_allowance};
use crate::policy::{Action, Resource};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

/// Most characters of a unit or person.
const DESK_CHARS: usize = 64;

/// What is to be sent.
pub struct NoticeAsk {
    /// `AGENCY`, `AGENCY/UNIT`, `AGENCY/PERSON`, or `@GROUP` of the configuration; these must acknowledge.
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

#[derive(Default)]
struct Addressee {
    action: bool,
    desks: BTreeSet<String>,
    whole: bool,
}

impl Addressee {
    /// As everybody may read it.
    fn written(&self, agency: &AgencyId) -> Vec<String> {
        if self.whole {
            return vec![agency.to_string()];
        }
        self.desks.iter().map(|d| format!("{agency}/{d}")).collect()
    }
}

/// Named sets of addressees, from the configuration.
#[derive(Debug, Clone, Default)]
pub struct Groups(pub BTreeMap<String, Vec<String>>);

impl Groups {
    /// Puts the members in the place of `@NAME`; a group names no other group.
    fn expand(&self, named: Vec<String>) -> Result<Vec<String>, Fault> {
        let mut all = Vec::with_capacity(named.len());
        for one in named {
            match one.strip_prefix('@').map(|group| (group, self.0.get(group))) {
                None => all.push(one),
                Some((_, Some(members))) => all.extend(members.iter().cloned()),
                Some((group, None)) => {
                    let known: Vec<&str> = self.0.keys().map(String::as_str).collect();
                    let hint = match known.is_empty() {
                        true => "the node's configuration names no group".to_owned(),
                        false => format!("the node's configuration names: {}", known.join(", ")),
                    };
                    let fault = Fault::usage("UNKNOWN_GROUP", format!("`@{group}` is no group of this node"));
                    return Err(fault.hint(hint));
                }
            }
        }
        Ok(all)
    }
}

impl Core {
    /// Accepts a notice: durable in the outbox when it answers. With it the addressees to whom it does not go, for want of
    /// room.
    pub async fn notice_send(&self, caller: &Caller, mut ask: NoticeAsk) -> Result<(NoticeId, Vec<AgencyId>), Fault> {
        let notice = NoticeId::new(self.clock.now(), origin_mark(&self.federation, &self.agency), &mut RandomOf(self));
        let settings = self.settings.now();
        for named in [&mut ask.to, &mut ask.info] {
            *named = settings.groups.expand(std::mem::take(named))?;
        }
        let state = self.state();
        let addressees = addressees(&state, &ask);
        let agencies: BTreeSet<AgencyId> = addressees.iter().flat_map(BTreeMap::keys).cloned().collect();
        let action = if ask.precedence == Precedence::Flash { Action::NoticeFlash } else { Action::NoticeSend };
        let label = notice_label(&self.agency, ask.grade, agencies);
        let resource = Resource::Record { label: label.clone(), own: true };
        let act = self.notice_act(action, AuditAction::NoticeSend, notice, &label);
        let work = async { self.accept(caller, &state, ask, addressees?, notice).await };
        self.through(caller, act, resource, work).await.map(|refused| (notice, refused))
    }

    /// What may be said to whom, and its letters. Answers to whom it does not go.
    async fn accept(
        &self,
        caller: &Caller,
        state: &State,
        ask: NoticeAsk,
        addressees: BTreeMap<AgencyId, Addressee>,
        notice: NoticeId,
    ) -> Result<Vec<AgencyId>, Fault> {
        check(&ask)?;
        // What is kept for thirty days is in memory, too.
        self.memory.check(Work::Notice(ask.precedence))?;
        let warning = ask.warning.clone().map(|w| {
            let of = state.agency(&self.agency).map(|a| (a.descriptor.name.clone(), a.tier().to_string()));
            let (issuer, tier) = of.unwrap_or_default();
            Warning { issuer, tier, ..w }
        });
        let agencies: BTreeSet<AgencyId> = addressees.keys().cloned().collect();
        let provisional = self.check_marking(caller, state, &ask, &agencies)?;
        self.check_attachments(caller, state, &ask.attachments, &agencies)?;
        if ask.precedence == Precedence::Flash {
            self.check_flash(caller, ask.exercise)?;
        }
        let everybody: Vec<String> = addressees.iter().flat_map(|(agency, a)| a.written(agency)).collect();
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
                addressees: everybody.clone(),
                attachments: ask.attachments.clone(),
                about: ask.about,
                warning: warning.clone(),
                provisional,
            },
        });
        let sender = (caller.person().name.as_str(), self.disk.room());
        let accepted =
            self.office.accept(state, drafts.collect(), sender, self.clock.now(), &mut RandomOf(self)).await?;
        self.left_out(&notice, accepted).await
    }

    /// Addressees for whom there was no room; that nothing goes to them is an event of each.
    async fn left_out(&self, notice: &NoticeId, accepted: Accepted) -> Result<Vec<AgencyId>, Fault> {
        for agency in &accepted.refused {
            let object = Object::Notice(*notice);
            let _told = self.log_node(AuditAction::NoticeSend, agency, object, Verdict::Deny, "outbox-full").await?;
        }
        Ok(accepted.refused)
    }

    /// Who marks a notice a state secret (P26): nobody above the agency's authority, and 绝密 goes to nobody else. Under an
    /// agreement with every addressee, a classifier's guide is the second person. Without one only a flash or an immediate
    /// goes, and its marking is provisional; true for that.
    fn check_marking(
        &self,
        caller: &Caller,
        state: &State,
        ask: &NoticeAsk,
        agencies: &BTreeSet<AgencyId>,
    ) -> Result<bool, Fault> {
        if ask.grade == Grade::Internal {
            return Ok(false);
        }
        let tier = state.agency(&self.agency).map(|a| a.tier());
        let authority = tier.map_or(Grade::Internal, |t| t.marking_authority());
        if ask.grade > authority {
            return Err(Fault::refused("MARKING_AUTHORITY", format!("your agency marks up to {authority}")));
        }
        if agencies.iter().all(|a| *a == self.agency) {
            return Ok(false);
        }
        if ask.grade == Grade::TopSecret {
            return Err(Fault::refused(
                "NOT_SUPPORTED",
                "绝密 (top-secret) is not sent to another agency: a notice has no two halves",
            )
            .hint("secret would do, if what you say allows it"));
        }
        let now = self.clock.now();
        let parties =
            |id| state.agreement_now(id, now).filter(|a| a.terms.grade >= ask.grade).map(|a| &a.terms.parties);
        let covers = |id| parties(id).is_some_and(|p| p.contains(&self.agency) && agencies.is_subset(p));
        let mut guides = self.guides(state, ask.grade, now).filter(|g| g.by != caller.person().handle);
        let marked = guides.any(|g| covers(&g.guide.agreement));
        match ask.precedence {
            _ if marked => Ok(false),
            Precedence::Flash | Precedence::Immediate => Ok(true),
            Precedence::Priority | Precedence::Routine => Err(Fault::refused(
                "NOT_COVERED",
                "no agreement with every addressee and marking guide of another person cover this state secret",
            )
            .hint("a flash or an immediate goes without; its marking is provisional until `hufu notice confirm`")),
        }
    }

    /// A classifier confirms the marking of a notice that went without an agreement or a guide. Answers the addressees who
    /// are not told, for want of room.
    pub async fn notice_confirm(&self, caller: &Caller, notice: &NoticeId) -> Result<Vec<AgencyId>, Fault> {
        let sent = self.notice_own(caller, notice).await?;
        let grade = sent.first().map_or(Grade::Internal, |(_, o)| o.letter.header.grade);
        let label = notice_label(&self.agency, grade, BTreeSet::new());
        let act = self.notice_act(Action::NoticeConfirm, AuditAction::NoticeSend, *notice, &label);
        let resource = Resource::Record { label: label.clone(), own: true };
        let name = &caller.person().name;
        let state = &self.state();
        let confirm = async {
            if sent.iter().any(|(_, o)| o.sender == *name) {
                let why = "you sent it yourself, and the same person is not two";
                return Err(Fault::refused("SAME_PERSON", why).hint("another classifier confirms it"));
            }
            if !sent.iter().any(|(_, o)| o.provisional) {
                return Err(Fault::conflict("NOT_PROVISIONAL", "its marking needs no confirmation"));
            }
            let to = self.office.read(|b| b.confirmable(notice));
            let drafts = to.into_iter().map(|h| draft_about(h, LetterKind::Confirm, name, "")).collect();
            let (now, by) = (self.clock.now(), (name.as_str(), self.disk.room()));
            let accepted = self.office.confirm(state, *notice, drafts, by, now, &mut RandomOf(self)).await?;
            self.left_out(notice, accepted).await
        };
        self.through(caller, act, resource, confirm).await
    }

    /// A flash wakes people: nobody may use it up.
    fn check_flash(&self, caller: &Caller, exercise: bool) -> Result<(), Fault> {
        let (person, agency) = flash_allowance(exercise);
        let now = self.clock.steady();
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
            let outside: Vec<String> = agencies.difference(&audience).map(ToString::to_string).collect();
            if !outside.is_empty() {
                let why = format!("`{}` may not see `{record}`", outside.join("`, `"));
                return Err(Fault::refused("ATTACHMENT_NOT_RELEASED", why)
                    .hint("release the record first, or send a notice without the record"));
            }
        }
        Ok(())
    }

    /// Withdraws a notice from whoever has not seen it yet. Answers the addressees to whom no withdrawal goes, for want of
    /// room.
    pub async fn notice_cancel(
        &self,
        caller: &Caller,
        notice: &NoticeId,
        reason: &str,
    ) -> Result<Vec<AgencyId>, Fault> {
        let work = async {
            let to = self.office.read(|b| b.withdrawable(notice));
            if to.is_empty() {
                let why = "each addressee has seen it, or it is taken back already";
                return Err(Fault::conflict("ALREADY_SEEN", why)
                    .hint("see `hufu notice track`; what was seen is taken back with `hufu notice recall`"));
            }
            self.take_back(caller, LetterKind::Cancel, to, reason).await
        };
        self.notice_of_own(caller, notice, work).await
    }

    /// Takes a notice back from all its addressees, seen or not. Once more changes nothing, and tries again where it is not
    /// known to have arrived. Answers the addressees to whom no recall goes, for want of room.
    pub async fn notice_recall(
        &self,
        caller: &Caller,
        notice: &NoticeId,
        reason: &str,
    ) -> Result<Vec<AgencyId>, Fault> {
        if reason.trim().is_empty() || reason.chars().count() > SUBJECT_CHARS {
            return Err(Fault::usage("BAD_REASON", format!("a reason has 1 to {SUBJECT_CHARS} characters")));
        }
        let work = async {
            let to = self.office.read(|b| b.recallable(notice));
            self.take_back(caller, LetterKind::Recall, to, reason).await
        };
        self.notice_of_own(caller, notice, work).await
    }

    /// Does something about a notice of this agency, as whoever may send one.
    async fn notice_of_own(
        &self,
        caller: &Caller,
        notice: &NoticeId,
        work: impl Future<Output = Result<Vec<AgencyId>, Fault>>,
    ) -> Result<Vec<AgencyId>, Fault> {
        let sent = self.notice_own(caller, notice).await?;
        let grade = sent.first().map_or(Grade::Internal, |(_, o)| o.letter.header.grade);
        let label = notice_label(&self.agency, grade, BTreeSet::new());
        let act = self.notice_act(Action::NoticeSend, AuditAction::NoticeSend, *notice, &label);
        let resource = Resource::Record { label: label.clone(), own: true };
        self.through(caller, act, resource, work).await
    }

    /// Sends a letter about a notice after each of its letters, with the reason. Answers to whom none goes.
    async fn take_back(
        &self,
        caller: &Caller,
        kind: LetterKind,
        letters: Vec<LetterHeader>,
        reason: &str,
    ) -> Result<Vec<AgencyId>, Fault> {
        let Some(notice) = letters.first().map(|h| h.notice) else { return Ok(Vec::new()) };
        let name = &caller.person().name;
        let drafts = letters.into_iter().map(|h| draft_about(h, kind, name, reason)).collect();
        let (now, sender) = (self.clock.now(), (name.as_str(), self.disk.room()));
        let accepted = self.office.accept(&self.state(), drafts, sender, now, &mut RandomOf(self)).await?;
        self.left_out(&notice, accepted).await
    }

    pub(super) fn notice_act<'a>(
        &self,
        action: Action,
        audit: AuditAction,
        notice: NoticeId,
        label: &'a Label,
    ) -> Act<'a> {
        let object = Object::Notice(notice);
        Act { action, audit, object, label: Some(label), purpose: "", origin: None, request: self.random() }
    }
}

/// A letter about a notice, for the addressee of one of its letters: as urgent, and by the same paths.
fn draft_about(h: LetterHeader, kind: LetterKind, sender: &str, reason: &str) -> Draft {
    Draft {
        notice: h.notice,
        to: h.to,
        kind,
        precedence: h.precedence,
        exercise: h.exercise,
        action: false,
        lead: false,
        grade: h.grade,
        content: Content {
            subject: reason.chars().take(SUBJECT_CHARS).collect(),
            sender: sender.to_owned(),
            about: Some(h.notice),
            ..Content::default()
        },
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
    let all_clear = ask.warning.as_ref().is_some_and(|w| w.kind == WarningKind::Cancel);
    if ask.to.is_empty() && !all_clear {
        return Err(Fault::usage("NO_ADDRESSEE", "nobody would have to act on it").hint("give --to"));
    }
    Ok(())
}

/// Agencies with their desks; unknown ones and ones whose systems may not hold the grade are refused before anything is kept.
fn addressees(state: &State, ask: &NoticeAsk) -> Result<BTreeMap<AgencyId, Addressee>, Fault> {
    let mut all: BTreeMap<AgencyId, Addressee> = BTreeMap::new();
    for (written, action) in ask.to.iter().map(|t| (t, true)).chain(ask.info.iter().map(|t| (t, false))) {
        let (agency, desk) = written.split_once('/').map_or((written.as_str(), ""), |(a, d)| (a, d.trim()));
        let agency: AgencyId = agency.trim().parse()?;
        let known = state.agency(&agency).ok_or_else(|| {
            let all: Vec<String> = state.agencies().map(|(a, _)| a.to_string()).collect();
            Fault::usage("UNKNOWN_AGENCY", format!("`{agency}` is no agency of this federation"))
                .hint(format!("use {}", all.join(", ")))
        })?;
        if known.suspended.is_some() {
            return Err(suspended(&agency));
        }
        if !known.may_hold(ask.grade, &BTreeSet::new()) {
            let ceiling = known.ceiling();
            return Err(Fault::refused("ABOVE_CEILING", format!("`{agency}` may hold nothing above {ceiling}"))
                .hint(format!("{ceiling} would do, if what you say allows it")));
        }
        if desk.chars().count() > DESK_CHARS {
            return Err(Fault::usage("BAD_ADDRESSEE", format!("a unit or person has at most {DESK_CHARS} characters")));
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
pub(super) fn notice_label(from: &AgencyId, grade: Grade, to: BTreeSet<AgencyId>) -> Label {
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
