//! 定密审批: what no marking guide covers waits for a classifier, seen by nobody but its author and the own agency's
//! classifiers (SSL §16). The classifier's key signs it; then it is published as if a guide had covered it.

use super::core::Core;
use super::door::{Act, Caller};
use super::draft::suspended;
use super::publish::{Patience, Published};
use super::records::{check_purpose, dummy};
use crate::audit::{Action as AuditAction, Object, Stage};
use crate::domain::canon::Canon;
use crate::domain::fault::Fault;
use crate::domain::ids::RecordId;
use crate::domain::label::Label;
use crate::domain::person::Role;
use crate::domain::time::Millis;
use crate::ledger::State;
use crate::policy::{Action, Decision, DenyKind, Resource};
use crate::vault::{Approval, Card, Part, PeerVault, Proposed, Stand};
use std::collections::BTreeSet;
use std::sync::Arc;

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
    /// Proposals that wait and that the person may see: all records, or one.
    ///
    /// # Errors
    /// A denial, an audit log that cannot be written, a purpose that is none.
    pub async fn proposals(
        &self,
        caller: &Caller,
        purpose: &str,
        only: Option<RecordId>,
    ) -> Result<Vec<ProposalLine>, Fault> {
        check_purpose(purpose)?;
        let state = self.state();
        let overall = self.decide(caller, Action::RecordList, Resource::None, purpose, true);
        let mut shown = Vec::new();
        if overall.is_allow() {
            let waiting = self.vault.waiting().into_iter().map(|(record, _)| record);
            let seen: Vec<_> = waiting.filter_map(|record| self.proposed_to(caller, &state, &record)).collect();
            let parts: BTreeSet<_> = seen.iter().flat_map(|p| p.facts.lower.iter().map(|(part, _)| *part)).collect();
            let whole = |p: &Proposed| !parts.contains(&p.record) && only.is_none_or(|r| r == p.record);
            shown.extend(seen.into_iter().filter(whole));
        }
        let disclosed = shown.iter().map(|p| (p.record, p.version)).collect();
        let act = Act {
            action: Action::RecordList,
            audit: AuditAction::List,
            object: Object::Query { hash: [0; 32], disclosed },
            label: None,
            purpose,
            origin: None,
            request: self.random(),
        };
        let receipt = self.log(caller, &act, Stage::Intent, &overall).await?;
        if let Some(fault) = overall.fault() {
            return Err(fault);
        }
        let mut lines = Vec::with_capacity(shown.len());
        for p in shown {
            let Some(held) = self.vault.held_proposal(&state, &p.record)? else { continue };
            let Some(disclosed) = self.shown(&held, &receipt) else { continue };
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
        Ok(lines)
    }

    /// A classifier approves a proposal: signed by the person's key, it goes on the ledger and to whom it is for.
    ///
    /// # Errors
    /// What is not there, or not for this person to see, is not found. Its own author, somebody who is no classifier, a
    /// signature of something else, and an agreement that no longer covers it are refused.
    pub async fn approve(
        &self,
        caller: &Caller,
        record: RecordId,
        approval: &[u8],
        patience: &Patience,
        peers: Arc<dyn PeerVault>,
    ) -> Result<Published, Fault> {
        let state = self.state();
        let found = self.proposed_to(caller, &state, &record);
        let Some(found) = found else { return self.nothing_proposed(caller, record, AuditAction::Approve).await };
        let (label, act) = (found.facts.label.clone(), AuditAction::Approve);
        let act = self.on_proposal((Action::RecordApprove, act), &found, &label, "");
        let work = async {
            self.check_approval(caller, &state, &found, approval)?;
            for (part, version, _) in &found.parts {
                let stand = Stand::Approved(approval.to_vec());
                self.vault.decide(&state, part, *version, stand, self.clock.now()).await?;
            }
            self.answer_again(found.record, found.version, patience, &peers).await
        };
        self.through(caller, act, Resource::Record { label: label.clone(), own: true }, work).await
    }

    /// A classifier turns a proposal down, or its author takes it back: it is never published.
    ///
    /// # Errors
    /// As [`Core::approve`].
    pub async fn reject(&self, caller: &Caller, record: RecordId, reason: &str) -> Result<u32, Fault> {
        check_purpose(reason)?;
        let state = self.state();
        let found = self.proposed_to(caller, &state, &record);
        let Some(found) = found else { return self.nothing_proposed(caller, record, AuditAction::Reject).await };
        let label = found.facts.label.clone();
        let own = found.proposal.author == caller.person().handle;
        let action = if own { Action::RecordPublish } else { Action::RecordApprove };
        let act = self.on_proposal((action, AuditAction::Reject), &found, &label, reason);
        let work = async {
            // The record first: parts of one that is gone name nothing.
            for (part, version, _) in found.parts.iter().rev() {
                self.vault.decide(&state, part, *version, Stand::Rejected, self.clock.now()).await?;
            }
            Ok(found.version)
        };
        self.through(caller, act, Resource::Record { label: label.clone(), own: true }, work).await
    }

    /// The card of a proposal, for those who may see it.
    pub(super) fn proposal_card(
        &self,
        caller: &Caller,
        state: &State,
        record: &RecordId,
        version: u32,
    ) -> Option<Card> {
        let found = self.proposed_to(caller, state, record)?;
        (version == 0 || version == found.version).then(|| found.card())
    }

    /// A proposal that waits, if the person wrote it or is a classifier cleared for it. To everybody else it is absent.
    fn proposed_to(&self, caller: &Caller, state: &State, record: &RecordId) -> Option<Proposed> {
        let found = self.vault.proposed(state, record).unwrap_or_else(|error| {
            tracing::error!(%record, %error, "a proposal does not verify");
            None
        })?;
        let person = caller.person();
        let concerned = found.proposal.author == person.handle || person.roles.contains(&Role::Classifier);
        (concerned && self.may(caller, Action::RecordList, &found.card(), "").is_allow()).then_some(found)
    }

    /// What stands in the way of an approval, in words that help.
    fn check_approval(&self, caller: &Caller, state: &State, found: &Proposed, bytes: &[u8]) -> Result<(), Fault> {
        let approval =
            Approval::from_canon(bytes).map_err(|_| Fault::usage("BAD_ACT", "the signed approval does not parse"))?;
        let handle = caller.person().handle;
        let classifier = state.authority(&self.agency, handle).filter(|a| a.roles.contains(&Role::Classifier));
        let classifier = classifier
            .ok_or_else(|| Fault::refused("NO_AUTHORITY", "no classifier's key is registered for you on the ledger"))?;
        let now = self.clock.now();
        if approval.handle() != handle || !approval.verifies(&self.federation, now, &classifier.key) {
            return Err(Fault::refused("BAD_SIGNATURE", "the approval is not signed by your key, or its time is over"));
        }
        if approval.parts() != found.parts {
            return Err(Fault::conflict("VERSION_CONFLICT", "what was signed is not what waits here"));
        }
        if found.proposal.author == handle {
            let why = "you wrote it yourself, and the same person is not two";
            return Err(Fault::refused("SAME_PERSON", why).hint("another classifier approves it"));
        }
        if let Some(gone) = found.facts.label.release.iter().find(|a| !state.stands(a)) {
            return Err(suspended(gone));
        }
        if let Some((id, _)) = &found.facts.agreement
            && !found.facts.covered_at_home(state, now)
        {
            let why = format!("agreement `{id}` ended or changed since it was proposed");
            return Err(Fault::conflict("EXPIRED", why).hint("reject it; its author publishes it anew"));
        }
        Ok(())
    }

    /// The answer to whoever may not see a proposal, or when there is none: one intent, one evaluation (P21).
    async fn nothing_proposed<T>(&self, caller: &Caller, record: RecordId, audit: AuditAction) -> Result<T, Fault> {
        let dummy = dummy();
        let _same_work =
            self.decide(caller, Action::RecordList, Resource::Record { own: false, label: dummy }, "", false);
        let act = Act {
            action: Action::RecordApprove,
            audit,
            object: Object::Record { id: record, version: 0 },
            label: None,
            purpose: "",
            origin: None,
            request: self.random(),
        };
        let absent = Decision::Deny { rule: "absent".into(), kind: DenyKind::Hidden };
        let _logged = self.log(caller, &act, Stage::Intent, &absent).await?;
        Err(Fault::not_found())
    }

    fn on_proposal<'a>(
        &self,
        (action, audit): (Action, AuditAction),
        found: &Proposed,
        label: &'a Label,
        purpose: &'a str,
    ) -> Act<'a> {
        Act {
            action,
            audit,
            object: Object::Record { id: found.record, version: found.version },
            label: Some(label),
            purpose,
            origin: Some(self.agency.clone()),
            request: self.random(),
        }
    }
}
