//! 定密审批: what no marking guide covers waits for a classifier, seen by nobody but its author and the own agency's
//! classifiers (SSL §16). The classifier's key signs it; then it is published as if a guide had covered it.

use super::core::Core;
use super::door::{Act, Caller};
use super::draft::suspended;
use super::publish::{Patience, Published};
use super::records::{check_purpose, dummy};
use crate::audit::{Action as AuditAction, AuditReceipt, Object, Stage};
use crate::domain::canon::Canon;
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, Handle, RecordId};
use crate::domain::label::Label;
use crate::domain::person::Role;
use crate::domain::record::Meta;
use crate::domain::time::Millis;
use crate::ledger::{AgencyState, State};
use crate::policy::{Action, Decision, DenyKind, Resource};
use crate::seal::digest;
use crate::vault::{Approval, Card, Facts, Part, PeerVault, Proposed, Stand, Vault, VaultError};
use data_encoding::HEXLOWER;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Which proposals are asked for.
pub struct ProposalsAsk {
    /// 查阅事由.
    pub purpose: String,
    /// One record.
    pub only: Option<RecordId>,
    /// Most of them.
    pub limit: usize,
    /// Those after this id.
    pub after: Option<RecordId>,
}

/// A proposal in a list.
pub struct ProposalLine {
    /// Record.
    pub record: RecordId,
    /// Version.
    pub version: u32,
    /// Label that is proposed.
    pub label: Label,
    /// Title.
    pub title: String,
    /// Who proposes.
    pub author: String,
    /// When.
    pub at: Millis,
    /// Its envelopes: what is to be signed.
    pub parts: Vec<Part>,
}

impl Core {
    /// Proposals that wait and that the person may see, in the order of their ids.
    ///
    /// # Errors
    /// A denial, an audit log that cannot be written, a purpose that is none.
    pub async fn proposals(&self, caller: &Caller, ask: ProposalsAsk) -> Result<Vec<ProposalLine>, Fault> {
        let ProposalsAsk { purpose, only, limit, after } = ask;
        check_purpose(&purpose)?;
        let state = self.state();
        let overall = self.decide(caller, Action::RecordList, Resource::None, &purpose, true);
        let mut shown = Vec::new();
        if overall.is_allow() {
            let asked = |r: &RecordId| only.is_none_or(|o| o == *r) && after.is_none_or(|a| *r > a);
            let waiting = self.vault.waiting().into_iter().filter(|(r, author)| asked(r) && concerns(caller, *author));
            let waiting: Vec<RecordId> = waiting.map(|(record, _)| record).collect();
            let (vault, of) = (Arc::clone(&self.vault), Arc::clone(&state));
            let found =
                self.aside(move || waiting.iter().filter_map(|r| proposed(&vault, &of, r)).collect::<Vec<_>>()).await?;
            let seen = found.into_iter().filter(|p| self.may(caller, Action::RecordList, &p.card(), "").is_allow());
            shown.extend(seen.filter(|p| p.proposal.stand == Stand::Waiting).take(limit));
        }
        let disclosed = shown.iter().map(|p| (p.record, p.version)).collect();
        let act = Act {
            action: Action::RecordList,
            audit: AuditAction::List,
            object: Object::Query { hash: [0; 32], disclosed },
            label: None,
            purpose: &purpose,
            origin: None,
            request: self.random(),
        };
        let receipt = self.log(caller, &act, Stage::Intent, &overall).await?;
        if let Some(fault) = overall.fault() {
            return Err(fault);
        }
        let vault = Arc::clone(&self.vault);
        let lines = self.aside(move || {
            let mut lines = Vec::with_capacity(shown.len());
            for p in shown {
                // Decided meanwhile.
                let Some(held) = vault.held_proposal(&state, &p.record, p.version)? else { continue };
                let Some(disclosed) = super::records::shown(&vault, &held, &receipt, 0) else { continue };
                lines.push(ProposalLine {
                    record: p.record,
                    version: p.version,
                    label: p.facts.label.clone(),
                    title: disclosed.meta.title,
                    author: disclosed.meta.author,
                    at: p.at,
                    parts: p.parts,
                });
            }
            Ok::<_, VaultError>(lines)
        });
        let lines = lines.await??;
        let titles = lines.iter().map(|l| (l.record, l.version)).collect();
        self.tell_shown(caller, &act, BTreeMap::from([(self.agency.clone(), titles)]), &overall).await?;
        Ok(lines)
    }

    /// A classifier approves a proposal: signed by the person's key, it goes on the ledger and to whom it is for. The same
    /// person again is answered with what is known now.
    ///
    /// # Errors
    /// What is not there, or not for this person to see, is not found. Its own author, somebody who is no classifier, a
    /// signature of something else, and what could not be published now are refused; a conflict when it was decided before.
    pub async fn approve(
        &self,
        caller: &Caller,
        record: RecordId,
        (approval, purpose): (&[u8], &str),
        patience: &Patience,
        peers: Arc<dyn PeerVault>,
    ) -> Result<Published, Fault> {
        check_purpose(purpose)?;
        let state = self.state();
        let Some(found) = self.proposed_to(caller, &state, &record) else {
            return self.nothing_proposed(caller, record, (AuditAction::Approve, purpose)).await;
        };
        let of = (Action::RecordApprove, AuditAction::Approve, purpose);
        let work = async |receipt: &AuditReceipt| {
            if !approved_by(&found, caller) {
                if found.proposal.stand != Stand::Waiting {
                    return Err(VaultError::Decided.into());
                }
                self.check_approval(caller, &state, &found, approval)?;
                self.check_publishable(&state, &found, receipt)?;
                self.vault.decide(&state, &found, Stand::Approved(approval.to_vec())).await?;
            }
            Ok(format!("approval:{}", HEXLOWER.encode(&digest("hufu.approval-digest", &[approval]))))
        };
        self.decided(caller, &found, of, work).await?;
        self.answer_again(found.record, found.version, patience, &peers).await
    }

    /// A classifier turns a proposal down, or its author takes it back: it is never published.
    ///
    /// # Errors
    /// As [`Core::approve`].
    pub async fn reject(&self, caller: &Caller, record: RecordId, reason: &str) -> Result<u32, Fault> {
        check_purpose(reason)?;
        let state = self.state();
        let Some(found) = self.proposed_to(caller, &state, &record) else {
            return self.nothing_proposed(caller, record, (AuditAction::Reject, reason)).await;
        };
        let own = found.proposal.author == caller.person().handle;
        let action = if own { Action::RecordPublish } else { Action::RecordApprove };
        let work = async |_: &AuditReceipt| {
            self.vault.decide(&state, &found, Stand::Rejected).await?;
            Ok("rejected".to_owned())
        };
        self.decided(caller, &found, (action, AuditAction::Reject, reason), work).await?;
        Ok(found.version)
    }

    /// Whether a record was proposed here and concerns this person. To anybody else nothing that follows from this may tell
    /// that it is here and not at another node of the agency.
    pub fn has_proposed(&self, caller: &Caller, record: &RecordId) -> bool {
        self.proposed_to(caller, &self.state(), record).is_some()
    }

    /// Lets somebody decide: the intent is durable before, and the outcome is told of every envelope after.
    async fn decided(
        &self,
        caller: &Caller,
        found: &Proposed,
        (action, audit, purpose): (Action, AuditAction, &str),
        work: impl AsyncFnOnce(&AuditReceipt) -> Result<String, Fault>,
    ) -> Result<(), Fault> {
        let request = self.random();
        let act = |(record, version, _): &Part, label| Act {
            action,
            audit,
            object: Object::Record { id: *record, version: *version },
            label: Some(label),
            purpose,
            origin: Some(self.agency.clone()),
            request,
        };
        let label = &found.facts.label;
        let decision = self.decide(caller, action, Resource::Record { label: label.clone(), own: true }, purpose, true);
        let whole = (found.record, found.version, [0; 32]);
        let receipt = self.log(caller, &act(&whole, label), Stage::Intent, &decision).await?;
        if let Some(fault) = decision.fault() {
            return Err(fault);
        }
        let done = work(&receipt).await;
        let outcome = match &done {
            Ok(rule) => Decision::Allow { policies: vec![rule.clone()] },
            Err(fault) => Decision::Deny { rule: format!("act:{}", fault.reason), kind: DenyKind::Refused },
        };
        for (part, class) in found.parts.iter().zip(&found.classes) {
            let _told = self.log(caller, &act(part, &class.label), Stage::Outcome, &outcome).await?;
        }
        done.map(|_| ())
    }

    /// The card of an envelope that waits, for those who may see it.
    pub(super) fn proposal_card(
        &self,
        caller: &Caller,
        state: &State,
        record: &RecordId,
        version: u32,
    ) -> Option<Card> {
        let (of, author) = self.vault.undecided(record)?;
        if !concerns(caller, author) || version != 0 && version != of {
            return None;
        }
        let facts = self.vault.undecided_facts(state, record).unwrap_or_else(|error| {
            tracing::error!(%record, %error, "a proposal does not verify");
            None
        })?;
        let card = Card { record: *record, version: of, facts };
        self.may(caller, Action::RecordList, &card, "").is_allow().then_some(card)
    }

    /// A record that was proposed, if the person wrote it or is a classifier cleared for it. To everybody else it is
    /// absent, and so is a lower envelope of it to everybody: it is decided with the record.
    fn proposed_to(&self, caller: &Caller, state: &State, record: &RecordId) -> Option<Proposed> {
        if !concerns(caller, self.vault.proposer(record)?) {
            return None;
        }
        let found = proposed(&self.vault, state, record)?;
        self.may(caller, Action::RecordList, &found.card(), "").is_allow().then_some(found)
    }

    /// Whether the signature is a classifier's, of somebody else than the author, and under these very envelopes.
    fn check_approval(&self, caller: &Caller, state: &State, found: &Proposed, bytes: &[u8]) -> Result<(), Fault> {
        let approval =
            Approval::from_canon(bytes).map_err(|_| Fault::usage("BAD_ACT", "the signed approval does not parse"))?;
        let handle = caller.person().handle;
        let classifier = state.authority(&self.agency, handle).filter(|a| a.roles.contains(&Role::Classifier));
        let classifier = classifier
            .ok_or_else(|| Fault::refused("NO_AUTHORITY", "no classifier's key is registered for you on the ledger"))?;
        if approval.handle() != handle || !approval.verifies(&self.federation, self.clock.now(), &classifier.key) {
            return Err(Fault::refused("BAD_SIGNATURE", "the approval is not signed by your key, or its time is over"));
        }
        if approval.parts() != found.parts {
            return Err(Fault::conflict("VERSION_CONFLICT", "what was signed is not what waits here"));
        }
        if found.proposal.author == handle {
            let why = "you wrote it yourself, and the same person is not two";
            return Err(Fault::refused("SAME_PERSON", why).hint("another classifier approves it"));
        }
        Ok(())
    }

    /// Whether it could be published now as it was when it was proposed. The kind is sealed; the intent lets it be read.
    fn check_publishable(&self, state: &State, found: &Proposed, receipt: &AuditReceipt) -> Result<(), Fault> {
        let held = self.vault.held_proposal(state, &found.record, found.version)?;
        let meta = self.vault.disclose_beginning(&held.ok_or(VaultError::Decided)?, receipt, 0)?.meta;
        let author = self.directory.by_handle(&found.proposal.author).filter(|p| !p.suspended);
        let author = author.and_then(|p| self.person_as_caller(&p.name));
        for class in &found.classes {
            let label = &class.label;
            let resource = Resource::Record { label: label.clone(), own: true };
            let may = |a: &Caller| self.decide(a, Action::RecordPublish, resource.clone(), "", true).is_allow();
            if !author.as_ref().is_some_and(may) {
                let why = "its author may not publish it any more";
                return Err(Fault::refused("NOT_ALLOWED", why).hint("reject it; somebody else publishes it anew"));
            }
        }
        check_still(state, &self.agency, &found.classes, &meta, self.clock.now())
    }

    /// Reads and opens away from the threads that answer calls.
    async fn aside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
        self.disk.aside(work).await.ok_or_else(|| Fault::internal("INTERNAL", "what was read aside panicked"))
    }

    /// The answer to whoever may not see a proposal, or when there is none: one intent, one evaluation (P21).
    async fn nothing_proposed<T>(
        &self,
        caller: &Caller,
        record: RecordId,
        (audit, purpose): (AuditAction, &str),
    ) -> Result<T, Fault> {
        let dummy = Resource::Record { own: false, label: dummy() };
        let _same_work = self.decide(caller, Action::RecordList, dummy, "", false);
        let act = Act {
            action: Action::RecordApprove,
            audit,
            object: Object::Record { id: record, version: 0 },
            label: None,
            purpose,
            origin: None,
            request: self.random(),
        };
        let absent = Decision::Deny { rule: "absent".into(), kind: DenyKind::Hidden };
        let _logged = self.log(caller, &act, Stage::Intent, &absent).await?;
        Err(Fault::not_found())
    }
}

/// Whether what was right when it was proposed is right now: its dates, the agencies that would get it, and its agreement.
fn check_still(state: &State, own: &AgencyId, classes: &[Arc<Facts>], meta: &Meta, now: Millis) -> Result<(), Fault> {
    if meta.retain_until.is_some_and(|until| until <= now) {
        return Err(Fault::usage("BAD_DATE", "the end of retention is over already"));
    }
    for class in classes {
        let label = &class.label;
        for agency in &label.release {
            if !state.stands(agency) {
                return Err(suspended(agency));
            }
            let holds = |a: &AgencyState| a.may_hold(label.grade, &label.compartments);
            if !state.agency(agency).is_some_and(holds) {
                return Err(Fault::refused("ABOVE_CEILING", format!("the systems of `{agency}` may not hold it")));
            }
        }
        if let Some(period) = &label.period {
            period.check(label.grade, now)?;
        }
        if let Some((id, _)) = &class.agreement {
            let terms = state.agreement_now(id, now).map(|a| &a.terms);
            let terms = terms.filter(|t| label.audience().is_subset(&t.parties) && t.may_publish(own));
            let terms = terms.ok_or_else(|| {
                let why = format!("agreement `{id}` ended or changed since it was proposed");
                Fault::conflict("EXPIRED", why).hint("reject it; its author publishes it anew")
            })?;
            terms.cover(meta.kind, label.grade, &label.compartments, now)?;
        }
    }
    Ok(())
}

/// A record that was proposed; what does not verify is the operator's matter.
fn proposed(vault: &Vault, state: &State, record: &RecordId) -> Option<Proposed> {
    vault.proposed(state, record).unwrap_or_else(|error| {
        tracing::error!(%record, %error, "a proposal does not verify");
        None
    })
}

/// Whether somebody wrote it, or decides on what others write.
fn concerns(caller: &Caller, author: Handle) -> bool {
    let person = caller.person();
    author == person.handle || person.roles.contains(&Role::Classifier)
}

/// Whether this very person approved it before: the answer may have been lost.
fn approved_by(found: &Proposed, caller: &Caller) -> bool {
    let Stand::Approved(bytes) = &found.proposal.stand else { return false };
    Approval::from_canon(bytes).is_ok_and(|a| a.handle() == caller.person().handle)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use crate::domain::agreement::Terms;
    use crate::domain::label::{Grade, Period};
    use crate::domain::record::Kind;
    use crate::ledger::fixture::{self, agreed, federation, with_ceiling};

    const NOW: Millis = Millis(1_800_000_000_000);
    const END: Millis = Millis(NOW.0 + 1_000);

    fn id(agency: &str) -> AgencyId {
        agency.parse().unwrap()
    }

    fn terms() -> Terms {
        let kinds = [Kind::Report, Kind::Lead].into();
        Terms { kinds, end: END, ..crate::ledger::fixture::terms("border-2026", &["police", "customs", "cyberspace"]) }
    }

    fn meta() -> Meta {
        Meta {
            title: "题".into(),
            kind: Kind::Report,
            issued: NOW,
            references: Vec::new(),
            reliability: None,
            credibility: None,
            legal_basis: String::new(),
            retain_until: Some(END),
            author: "analyst".into(),
        }
    }

    /// An envelope of police for one other agency.
    fn class(to: &str, grade: Grade, period: Option<Period>) -> Arc<Facts> {
        let label = Label {
            originator: id("police"),
            grade,
            compartments: Default::default(),
            release: [id(to)].into(),
            caveats: Default::default(),
            period,
        };
        Arc::new(Facts { label, agreement: Some((terms().id, 1)), lower: Vec::new() })
    }

    /// What is said of a secret for customs with a part for cyberspace, as the ledger stands now.
    fn said(state: &State, period: Period, meta: &Meta, now: Millis) -> Result<(), &'static str> {
        let classes = [class("cyberspace", Grade::Internal, None), class("customs", Grade::Secret, Some(period))];
        check_still(state, &id("police"), &classes, meta, now).map_err(|f| f.reason)
    }

    /// Whatever changed between proposal and approval: it is not published as it was proposed.
    #[test]
    fn what_changed_since_it_was_proposed_is_held_against_it() {
        let state = agreed(&State::genesis(&federation().genesis).unwrap(), terms());
        let now = |state: &State| said(state, Period::Years(10), &meta(), NOW);
        assert_eq!(now(&state), Ok(()));
        for agency in ["customs", "cyberspace"] {
            assert_eq!(now(&fixture::suspended(&state, &id(agency))), Err("AGENCY_SUSPENDED"), "{agency}");
        }
        assert_eq!(now(&with_ceiling(&state, &id("customs"), Grade::Confidential)), Err("ABOVE_CEILING"));
        assert_eq!(now(&with_ceiling(&state, &id("cyberspace"), Grade::Internal)), Ok(()), "it gets the part alone");
        let changed = |change: &dyn Fn(&mut Terms)| {
            let mut terms = terms();
            change(&mut terms);
            now(&agreed(&state, terms))
        };
        assert_eq!(changed(&|t| t.kinds = [Kind::Lead].into()), Err("OUTSIDE_AGREEMENT"));
        assert_eq!(changed(&|t| t.grade = Grade::Confidential), Err("OUTSIDE_AGREEMENT"));
        assert_eq!(changed(&|t| t.parties = ["police", "customs"].map(id).into()), Err("EXPIRED"));
        assert_eq!(changed(&|t| t.publishers = [id("customs")].into()), Err("EXPIRED"));
        assert_eq!(changed(&|t| t.start = END), Err("EXPIRED"));
        assert_eq!(changed(&|t| t.end = NOW), Err("EXPIRED"));
    }

    #[test]
    fn dates_that_passed_since_it_was_proposed_are_held_against_it() {
        let lasting = Terms { end: Millis(u64::MAX), ..terms() };
        let state = agreed(&State::genesis(&federation().genesis).unwrap(), lasting);
        let open = Meta { retain_until: None, ..meta() };
        let before = Millis(END.0 - 1);
        assert_eq!(said(&state, Period::Years(10), &meta(), before), Ok(()));
        assert_eq!(said(&state, Period::Years(10), &meta(), END), Err("BAD_DATE"));
        assert_eq!(said(&state, Period::Until(END), &open, before), Ok(()));
        assert_eq!(said(&state, Period::Until(END), &open, END), Err("PERIOD_PAST"));
        assert_eq!(said(&state, Period::Years(10), &open, END), Ok(()));
    }
}
