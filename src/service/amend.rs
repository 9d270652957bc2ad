//! Amending: a new version of an own record, under the label it has.
//!
//! It is a publish like any other, of the version after the one that was read here. What is not given stays as it was,
//! issue date and period too; a scope gets narrower by itself where somebody may not have a new version any more, and never
//! wider. Lowering, widening and raising are relabelling, which two persons do live.

use super::coming::Passing;
use super::core::Core;
use super::door::{Act, Caller};
use super::once::Once;
use super::publish::{Patience, PortionAsk, PublishAsk, Published, Target};
use crate::audit::{Action as AuditAction, AuditReceipt, Stage};
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, AgreementId, RecordId};
use crate::domain::label::{Grade, Label};
use crate::domain::limits;
use crate::domain::record::Meta;
use crate::domain::reserve::Work;
use crate::domain::time::Millis;
use crate::ledger::State;
use crate::policy::{Action, Decision, DenyKind, Resource};
use crate::seal::digest;
use crate::vault::{Card, Coming, Disclosed, Draft, PeerVault, Pieces};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// What is to become of a record.
pub struct AmendAsk {
    /// Record.
    pub record: RecordId,
    /// The version that its author saw, which must be the newest; 0 for whichever that is.
    pub expected: u32,
    /// Another title; the one before if none.
    pub title: Option<String>,
    /// Another body, UTF-8; the one before if none.
    pub body: Option<Vec<u8>>,
    /// Bytes of another body that comes in pieces; 0 when none does.
    pub coming: usize,
    /// Further texts in the place of all that there were; those before if empty.
    pub portions: Vec<PortionAsk>,
    /// Why, 1 to 200 characters, for the log.
    pub reason: String,
    /// How much to wait for.
    pub patience: Patience,
    /// The same again gets the first answer.
    pub request_id: [u8; 16],
}

/// What an amendment keeps of the version before.
pub(super) struct Amends {
    /// Why.
    pub(super) reason: String,
    /// When the first version was issued.
    pub(super) issued: Millis,
    own: Label,
    lower: BTreeMap<Grade, Kept>,
}

/// A lower class that was there.
struct Kept {
    /// The version that its part becomes.
    next: (RecordId, u32),
    label: Label,
    release: BTreeSet<AgencyId>,
}

impl Amends {
    /// Scope and period of each lower class that was there: it may go further than the record.
    pub(super) fn keep_scopes(&self, lower: &mut [PublishAsk]) {
        for ask in lower {
            let Some(kept) = self.lower.get(&ask.grade) else { continue };
            ask.release = kept.release.clone();
            ask.period = kept.label.period.clone();
        }
    }

    /// The version that a lower part becomes; none for a class that is new.
    pub(super) fn next_of(&self, grade: Grade) -> Option<(RecordId, u32)> {
        self.lower.get(&grade).map(|kept| kept.next)
    }

    /// No label gets lower or wider (invariant 9). Of the drafts the record's own comes last.
    pub(super) fn check(&self, drafts: &[Draft]) -> Result<(), Fault> {
        let Some((own, lower)) = drafts.split_last() else { return Ok(()) };
        let before = |d: &Draft| self.lower.get(&d.label.grade).map(|kept| &kept.label);
        let stays = |d: &Draft| before(d).is_none_or(|was| was.flows_to(&d.label));
        if self.own.flows_to(&own.label) && lower.iter().all(stays) {
            return Ok(());
        }
        Err(Fault::refused("RELABEL_NEEDED", "an amendment neither lowers nor widens a label")
            .hint("relabelling takes two persons; publish it as another record"))
    }
}

impl Core {
    /// Makes the next version of an own record.
    ///
    /// # Errors
    /// Who may not see it is told what an absent record is told; another agency's, no originator's role and what no marking
    /// guide covers are refused; a conflict when another version is the newest.
    pub async fn amend(&self, caller: &Caller, ask: AmendAsk, peers: Arc<dyn PeerVault>) -> Result<Published, Fault> {
        let nowhere = async { Ok(None::<Infallible>) };
        match self.amend_once(caller, ask, None, peers, nowhere).await? {
            Once::Here(published) => Ok(published),
            Once::Elsewhere(never) => match never {},
        }
    }

    /// Makes it, unless the same amendment is `known` elsewhere, as [`Core::publish_unless`] does.
    ///
    /// # Errors
    /// As [`Core::amend`], and what is said elsewhere.
    pub async fn amend_unless<T>(
        &self,
        caller: &Caller,
        ask: AmendAsk,
        peers: Arc<dyn PeerVault>,
        known: impl Future<Output = Result<Option<T>, Fault>>,
    ) -> Result<Once<T>, Fault> {
        self.amend_once(caller, ask, None, peers, known).await
    }

    /// What became of an amendment that was journaled here.
    ///
    /// # Errors
    /// As [`Core::amend`]; not found when it was not.
    pub async fn amended_again(
        &self,
        caller: &Caller,
        (record, id): (&RecordId, &[u8; 16]),
        patience: &Patience,
        peers: Arc<dyn PeerVault>,
    ) -> Result<Published, Fault> {
        let request = amend_request(caller, record, id);
        let _turn = self.begin(request)?;
        let (record, version) = self.vault.by_request(&request).ok_or_else(Fault::not_found)?;
        self.answer_again(record, version, patience, &peers).await
    }

    /// The same with another body that comes in pieces, as with [`Core::publish_coming`].
    ///
    /// # Errors
    /// As [`Core::amend_unless`], and what is wrong with the body.
    pub async fn amend_coming<T>(
        &self,
        caller: &Caller,
        ask: AmendAsk,
        pieces: &mut dyn Pieces,
        peers: Arc<dyn PeerVault>,
        known: impl Future<Output = Result<Option<T>, Fault>>,
    ) -> Result<Once<T>, Fault> {
        let bytes = ask.coming;
        let mut passing = Passing::new(pieces, bytes);
        let coming = Coming { bytes, pieces: &mut passing };
        let done = self.amend_once(caller, ask, Some(coming), peers, known).await;
        done.map_err(|fault| passing.wrong().unwrap_or(fault))
    }

    async fn amend_once<T>(
        &self,
        caller: &Caller,
        ask: AmendAsk,
        coming: Option<Coming<'_>>,
        peers: Arc<dyn PeerVault>,
        known: impl Future<Output = Result<Option<T>, Fault>>,
    ) -> Result<Once<T>, Fault> {
        check_ask(&ask)?;
        let request = amend_request(caller, &ask.record, &ask.request_id);
        let _turn = self.begin(request)?;
        if let Some((record, version)) = self.vault.by_request(&request) {
            return self.answer_again(record, version, &ask.patience, &peers).await.map(Once::Here);
        }
        if let Some(elsewhere) = known.await? {
            return Ok(Once::Elsewhere(elsewhere));
        }
        self.disk.check(Work::Content)?;
        self.memory.check(Work::Content)?;
        let state = self.state();
        let found = self.find(&state, &ask.record, 0);
        let found = found.or_else(|| self.proposal_card(caller, &state, &ask.record, 0));
        let (act, decision, receipt) = self.may_amend(caller, ask.record, found.as_ref(), &ask.reason).await?;
        // Who may has something to amend.
        let Some(card) = &found else { return Err(Fault::not_found()) };
        let done = self.amended(caller, (&ask, coming), (card, &receipt), request, peers).await;
        let outcome = match &done {
            Ok(_) => decision,
            Err(fault) => Decision::Deny { rule: format!("act:{}", fault.reason), kind: DenyKind::Refused },
        };
        let _outcome = self.log(caller, &act, Stage::Outcome, &outcome).await?;
        done.map(Once::Here)
    }

    /// Logs the intent: whoever may amend may read, and marks what is written. Denied and absent take one path (P21).
    async fn may_amend<'a>(
        &self,
        caller: &Caller,
        record: RecordId,
        card: Option<&'a Card>,
        reason: &'a str,
    ) -> Result<(Act<'a>, Decision, AuditReceipt), Fault> {
        let (mut act, seen) = self.reading(caller, Action::RecordOpen, AuditAction::Amend, (record, 0), card, reason);
        act.action = Action::RecordAmend;
        let decision = match card.filter(|_| seen.is_allow()) {
            None => seen,
            Some(card) => {
                let label = card.facts.label.clone();
                let resource = Resource::Record { own: label.originator == self.agency, label };
                self.decide(caller, Action::RecordAmend, resource, reason, true)
            }
        };
        let receipt = self.log(caller, &act, Stage::Intent, &decision).await?;
        match decision.fault() {
            Some(fault) => Err(fault),
            None => Ok((act, decision, receipt)),
        }
    }

    async fn amended(
        &self,
        caller: &Caller,
        (ask, coming): (&AmendAsk, Option<Coming<'_>>),
        (card, receipt): (&Card, &AuditReceipt),
        request: [u8; 32],
        peers: Arc<dyn PeerVault>,
    ) -> Result<Published, Fault> {
        if self.vault.undecided(&card.record).is_some() {
            return Err(Fault::refused("NOT_ALLOWED", "it waits for a classifier and is not published yet")
                .hint("take it back with `hufu record reject` and publish it anew"));
        }
        let _turn = self.in_progress.begin(record_turn(&card.record))?;
        let timeout = ask.patience.timeout;
        let version = self.next_version(card, ask.expected, timeout).await?;
        let (state, now) = (self.state(), self.clock.now());
        let agreement = card.facts.agreement.as_ref().map(|(id, _)| id);
        let (held, replaces) = (self.load(card)?, coming.is_some() || ask.body.is_some());
        let disclosed = match replaces {
            true => self.vault.disclose_to_replace(&held, receipt),
            false => self.vault.disclose(&held, receipt),
        };
        let Disclosed { meta, portions: texts } = disclosed?;
        let grade = card.facts.label.grade;
        let mut texts = texts.into_iter().map(|p| p.text.to_vec());
        let body = texts.next().unwrap_or_default();
        let mut portions: Vec<PortionAsk> = texts.map(|text| PortionAsk { grade, text }).collect();
        let mut lower = BTreeMap::new();
        let mut turns = Vec::with_capacity(card.facts.lower.len());
        for (id, _) in &card.facts.lower {
            // The newest, which may not be the one that the record names: a lower part is amended by itself, too.
            let part = self.find(&state, id, 0).ok_or_else(|| {
                Fault::integrity("NOT_OPENABLE", format!("`{id}`, which is a part of it, cannot be read here"))
            })?;
            let (_, _, receipt) = self.may_amend(caller, *id, Some(&part), &ask.reason).await?;
            turns.push(self.in_progress.begin(record_turn(id))?);
            let next = (*id, self.next_version(&part, 0, timeout).await?);
            let disclosed = self.vault.disclose(&self.load(&part)?, &receipt)?;
            let label = part.facts.label.clone();
            let grade = label.grade;
            portions.extend(disclosed.portions.into_iter().map(|p| PortionAsk { grade, text: p.text.to_vec() }));
            lower.insert(grade, Kept { next, release: still(&state, agreement, &label, now), label });
        }
        leaves_none_out(&ask.portions, lower.keys())?;
        let label = &card.facts.label;
        let Meta { title, kind, issued, references, reliability, credibility, legal_basis, retain_until, author: _ } =
            meta;
        let next = PublishAsk {
            title: ask.title.clone().unwrap_or(title),
            body: if coming.is_some() { Vec::new() } else { ask.body.clone().unwrap_or(body) },
            coming: ask.coming,
            portions: if ask.portions.is_empty() { portions } else { ask.portions.clone() },
            grade: label.grade,
            compartments: label.compartments.clone(),
            agreement: agreement.cloned(),
            release: still(&state, agreement, label, now),
            kind,
            period: label.period.clone(),
            references,
            reliability,
            credibility,
            legal_basis,
            retain_until,
            caveats: label.caveats.clone(),
            patience: ask.patience,
            request_id: ask.request_id,
        };
        let amends = Amends { reason: ask.reason.clone(), issued, own: label.clone(), lower };
        let target = Target { record: card.record, version, request, content: None, amends: Some(Arc::new(amends)) };
        self.publish_as(caller, next, coming, target, peers).await
    }

    /// The version that follows, if what was read is the newest one, and the one that its author saw. The ledger takes a version
    /// once (P3).
    async fn next_version(&self, card: &Card, expected: u32, timeout: Duration) -> Result<u32, Fault> {
        let taken_in = self.vault.newest_version(&card.record).unwrap_or(card.version);
        // A crash may have left the last version journaled and not committed.
        self.settle(card.record, taken_in, timeout).await?;
        let state = self.state();
        let committed = state.record(&card.record).and_then(|v| v.last()).map_or(0, |v| v.version);
        next_after(&state, (&card.record, card.version), expected, taken_in.max(committed)).map_err(|newest| {
            Fault::conflict("VERSION_CONFLICT", format!("version {newest} is the newest one"))
                .hint(format!("look at it, and repeat with --version {newest}"))
        })
    }
}

/// The number of what follows a version that was read; else the newest one. What was given up is shown to nobody: the version
/// before it stands for it, and its number stays taken.
fn next_after(state: &State, read: (&RecordId, u32), expected: u32, newest: u32) -> Result<u32, u32> {
    let (record, version) = read;
    let given_up = |later: u32| state.lost(record, later).is_some();
    if version > newest || !(version.saturating_add(1)..=newest).all(given_up) {
        return Err(newest);
    }
    if expected == 0 || expected == version { Ok(newest.saturating_add(1)) } else { Err(version) }
}

/// What an amendment is known by: the same again gets the first answer.
pub(super) fn amend_request(caller: &Caller, record: &RecordId, id: &[u8; 16]) -> [u8; 32] {
    digest("hufu.amend-request", &[caller.person().name.as_bytes(), record.as_bytes(), id])
}

/// One at a time makes the next version of a record.
pub(super) fn record_turn(record: &RecordId) -> [u8; 32] {
    digest("hufu.record-turn", &[record.as_bytes()])
}

/// Those of a scope who may have a new version: they stand, are parties still, and their systems may hold it. The originator is
/// named with them, so that a scope of which nobody is left is not taken for one that nobody narrowed.
fn still(state: &State, agreement: Option<&AgreementId>, label: &Label, now: Millis) -> BTreeSet<AgencyId> {
    // Without an agreement nobody is named; one that is over is told as that when the draft is made.
    let terms = agreement.and_then(|id| state.agreement_now(id, now)).map(|a| &a.terms);
    let Some(terms) = terms else { return BTreeSet::new() };
    let may = |agency: &AgencyId| {
        let holds = state.agency(agency).is_some_and(|a| a.may_hold(label.grade, &label.compartments));
        holds && terms.parties.contains(agency) && state.stands(agency)
    };
    label.release.iter().filter(|a| may(a)).cloned().chain([label.originator.clone()]).collect()
}

/// A tear-line is a record of its own, which others hold and find. One that the next version does not name would stay
/// published, with the text that was to go, and no amendment of this record would reach it any more; and nothing takes back
/// what was published. So each class that was there is in what takes its place.
fn leaves_none_out<'a>(given: &[PortionAsk], mut before: impl Iterator<Item = &'a Grade>) -> Result<(), Fault> {
    // None given: all stay.
    let left_out = before.find(|grade| !given.is_empty() && !given.iter().any(|p| p.grade == **grade));
    let Some(grade) = left_out else { return Ok(()) };
    Err(Fault::usage("PORTION_LEFT_OUT", format!("its {grade} portion is published, and would stay as it was"))
        .hint("give --portion a text of that grade too; one that says that the earlier text does not hold, if so"))
}

fn check_ask(ask: &AmendAsk) -> Result<(), Fault> {
    let most = limits::PURPOSE_CHARS;
    if ask.reason.trim().is_empty() || ask.reason.chars().count() > most {
        return Err(Fault::usage("BAD_REASON", format!("a reason has 1 to {most} characters"))
            .hint("say with --reason what was wrong or what is new"));
    }
    if ask.coming > 0 && ask.body.is_some() {
        return Err(Fault::usage("INVALID", "a body comes in one piece or in several"));
    }
    if ask.title.is_none() && ask.body.is_none() && ask.coming == 0 && ask.portions.is_empty() {
        return Err(Fault::usage("INVALID", "nothing to change").hint("give --title, --body, --body-file or --portion"));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::super::publish::Wait;
    use super::super::reach::tests::{agreed, label};
    use super::*;
    use crate::domain::label::Period;
    use crate::domain::record::Kind;
    use crate::ledger::fixture::{given_up, suspended};

    const NOW: Millis = Millis(2_000_000);

    fn ask() -> AmendAsk {
        AmendAsk {
            record: RecordId::from_bytes([9; 16]),
            expected: 0,
            title: Some("更正".into()),
            body: None,
            coming: 0,
            portions: Vec::new(),
            reason: "错字".into(),
            patience: Patience { wait: Wait::None, wait_for: Duration::ZERO, timeout: Duration::ZERO },
            request_id: [0; 16],
        }
    }

    fn draft(label: Label) -> Draft {
        Draft {
            record: RecordId::from_bytes([9; 16]),
            version: 2,
            label,
            agreement: None,
            meta: Meta {
                title: "更正".into(),
                kind: Kind::Report,
                issued: NOW,
                references: Vec::new(),
                reliability: None,
                credibility: None,
                legal_basis: String::new(),
                retain_until: None,
                author: "analyst".into(),
            },
            texts: Vec::new(),
            lower: Vec::new(),
            request: None,
            content: None,
            proposal: None,
        }
    }

    fn amends() -> Amends {
        let low = Label { period: None, ..label(Grade::Internal, &["customs", "cyberspace"]) };
        let next = (RecordId::from_bytes([8; 16]), 4);
        let kept = Kept { next, release: low.audience(), label: low };
        let own = label(Grade::Secret, &["customs"]);
        Amends { reason: "错字".into(), issued: NOW, own, lower: [(Grade::Internal, kept)].into() }
    }

    #[test]
    fn an_amendment_says_why_and_what() {
        assert!(check_ask(&ask()).is_ok());
        let reason = |reason: String| check_ask(&AmendAsk { reason, ..ask() }).map_err(|f| f.reason);
        assert_eq!(reason(" \u{3000}".into()), Err("BAD_REASON"));
        assert_eq!(reason("改".repeat(limits::PURPOSE_CHARS)), Ok(()));
        assert_eq!(reason("改".repeat(limits::PURPOSE_CHARS + 1)), Err("BAD_REASON"));
        assert_eq!(check_ask(&AmendAsk { title: None, ..ask() }).unwrap_err().message, "nothing to change");
        assert_eq!(check_ask(&AmendAsk { title: None, coming: 1, ..ask() }), Ok(()));
        assert!(check_ask(&AmendAsk { body: Some(vec![b'x']), coming: 1, ..ask() }).is_err());
    }

    #[test]
    fn no_label_gets_lower_or_wider() {
        let amends = amends();
        let low = || label(Grade::Internal, &["customs", "cyberspace"]);
        let low = || draft(Label { period: None, ..low() });
        let own = || label(Grade::Secret, &["customs"]);
        let passes = |lower: Draft, own: Label| amends.check(&[lower, draft(own)]).map_err(|f| f.reason);
        assert_eq!(passes(low(), own()), Ok(()));
        assert_eq!(passes(low(), label(Grade::Secret, &[])), Ok(()), "narrower is not lower");
        let wrong = Err("RELABEL_NEEDED");
        assert_eq!(passes(low(), label(Grade::Confidential, &["customs"])), wrong, "lower");
        assert_eq!(passes(low(), label(Grade::Secret, &["customs", "cyberspace"])), wrong, "wider");
        let shorter = Label { period: Some(Period::Years(1)), ..own() };
        assert_eq!(passes(low(), shorter), wrong, "shorter");
        let compartment = Label { compartments: ["border-ops".parse().unwrap()].into(), ..own() };
        let named = Amends { own: compartment, ..self::amends() };
        assert!(named.check(&[draft(own())]).is_err(), "out of its compartment");
        let everybody = label(Grade::Internal, &["customs", "cyberspace", "mars"]);
        let wider = draft(Label { period: None, ..everybody });
        assert_eq!(passes(wider, own()), wrong, "a tear-line goes no further than it went");
        // A class that is new is the author's own marking, as at a publish.
        let new = draft(label(Grade::Confidential, &["customs"]));
        assert_eq!(passes(new, own()), Ok(()));
    }

    /// It would stay published without its record.
    #[test]
    fn no_tear_line_is_left_out() {
        let given = |grades: &[Grade]| -> Vec<PortionAsk> {
            grades.iter().map(|grade| PortionAsk { grade: *grade, text: "改".into() }).collect()
        };
        let before = [Grade::Internal, Grade::Confidential];
        let check = |grades: &[Grade]| leaves_none_out(&given(grades), before.iter()).map_err(|f| f.reason);
        assert_eq!(check(&[]), Ok(()), "all stay");
        assert_eq!(check(&[Grade::Internal, Grade::Secret, Grade::Confidential]), Ok(()));
        assert_eq!(check(&[Grade::Secret]), Err("PORTION_LEFT_OUT"));
        assert_eq!(check(&[Grade::Secret, Grade::Internal]), Err("PORTION_LEFT_OUT"));
        assert!(leaves_none_out(&given(&[Grade::Secret]), std::iter::empty()).is_ok(), "there was none");
    }

    #[test]
    fn a_tear_line_keeps_id_scope_and_period() {
        let amends = amends();
        let part = |grade| PublishAsk {
            title: "提示".into(),
            body: "加强查验".into(),
            coming: 0,
            portions: Vec::new(),
            grade,
            compartments: BTreeSet::new(),
            agreement: None,
            release: BTreeSet::new(),
            kind: Kind::Report,
            period: Some(Period::Years(9)),
            references: Vec::new(),
            reliability: None,
            credibility: None,
            legal_basis: String::new(),
            retain_until: None,
            caveats: BTreeSet::new(),
            patience: ask().patience,
            request_id: [0; 16],
        };
        let mut lower = vec![part(Grade::Confidential), part(Grade::Internal)];
        amends.keep_scopes(&mut lower);
        let scopes: Vec<(usize, Option<Period>)> = lower.into_iter().map(|a| (a.release.len(), a.period)).collect();
        assert_eq!(scopes, [(0, Some(Period::Years(9))), (3, None)], "the class that was there, and no other");
        assert_eq!(amends.next_of(Grade::Internal), Some((RecordId::from_bytes([8; 16]), 4)));
        assert_eq!(amends.next_of(Grade::Confidential), None);
    }

    #[test]
    fn what_was_given_up_is_amended_over() {
        let (state, record) = (agreed(), RecordId::from_bytes([9; 16]));
        let next = |state: &State, version, expected| next_after(state, (&record, version), expected, 3);
        assert_eq!([0, 3].map(|expected| next(&state, 3, expected)), [Ok(4), Ok(4)]);
        assert_eq!([(3, 2), (2, 2), (2, 0)].map(|(version, expected)| next(&state, version, expected)), [Err(3); 3]);
        let state = given_up(&state, record, 3);
        assert_eq!([0, 2, 3].map(|expected| next(&state, 2, expected)), [Ok(4), Ok(4), Err(2)]);
        assert_eq!(next(&state, 1, 0), Err(3), "the second one stands");
        assert_eq!(next(&given_up(&state, record, 2), 1, 0), Ok(4));
    }

    #[test]
    fn a_scope_gets_narrower_by_itself_and_never_wider() {
        let state = agreed();
        let id: AgreementId = "border-2026".parse().unwrap();
        let names = |state: &State, agreement, label: &Label| -> Vec<String> {
            still(state, agreement, label, NOW).iter().map(ToString::to_string).collect()
        };
        let secret = label(Grade::Secret, &["customs"]);
        assert_eq!(names(&state, Some(&id), &secret), ["customs", "police"]);
        let alone = label(Grade::Secret, &[]);
        assert_eq!(names(&state, Some(&id), &alone), ["police"], "a party that was not named stays out");
        let stranger = label(Grade::Secret, &["customs", "cyberspace"]);
        assert_eq!(names(&state, Some(&id), &stranger), ["customs", "police"], "no party any more");
        let high = label(Grade::TopSecret, &["customs"]);
        assert_eq!(names(&state, Some(&id), &high), ["police"], "above its ceiling");
        let cut_off = suspended(&state, &"customs".parse().unwrap());
        assert_eq!(names(&cut_off, Some(&id), &secret), ["police"], "nobody is left, and nobody is added");
        assert!(names(&state, None, &alone).is_empty());
    }
}
