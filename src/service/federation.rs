//! Agreements, guides, membership: showing what stands on the ledger and passing on signed acts.

use super::bounds::bounds_words;
use super::core::Core;
use super::door::{Act as DoorAct, Caller};
use super::members::members_words;
use crate::audit::{Action as AuditAction, Object};
use crate::cluster::refused;
use crate::domain::agreement::Terms;
use crate::domain::canon::Canon;
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, AgreementId};
use crate::domain::label::Grade;
use crate::ledger::{Act, Command, CommandReply, SignedAct, State};
use crate::policy::{Action, Resource};
use data_encoding::HEXLOWER;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long whoever brings an act waits for its certificate at most.
const CERTIFIED_WITHIN: Duration = Duration::from_secs(10);

fn ended(id: &AgreementId) -> Fault {
    Fault::conflict("EXPIRED", format!("`{id}` was ended already")).hint("`hufu agreement show` says when and why")
}

impl Core {
    /// The ledger for showing the federation, its agreements or its guides.
    pub async fn show(&self, caller: &Caller, action: Action) -> Result<Arc<State>, Fault> {
        let decision = self.decide(caller, action, Resource::None, "", true);
        match decision.fault() {
            Some(fault) => Err(fault),
            None => Ok(self.state()),
        }
    }

    /// Passes a signed act to the ledger. The signature is the person's; the node only checks that the
    /// caller may bring it, so that a refusal is told here and not by the ledger.
    pub async fn submit_act(
        &self,
        caller: &Caller,
        bytes: &[u8],
        wait: Duration,
    ) -> Result<(CommandReply, u64), Fault> {
        let bad = |_| Fault::usage("BAD_ACT", "the signed act does not parse");
        let signed = SignedAct::from_canon(bytes).map_err(bad)?;
        let act = Act::from_canon(&signed.act).map_err(bad)?;
        let (action, audit, what, resource) = match &act {
            Act::Agreement(t) => {
                let what = format!("sign {} v{}", t.id, t.version);
                (Action::AgreementSign, AuditAction::Agreement, what, Resource::None)
            }
            Act::EndAgreement { id, .. } => {
                (Action::AgreementEnd, AuditAction::Agreement, format!("end {id}"), Resource::None)
            }
            Act::Guide(g) => (
                Action::GuideSign,
                AuditAction::Guide,
                format!("guide {} {}", g.agreement, g.grade),
                Resource::Agency(g.agency.clone()),
            ),
            Act::EndGuide { agency, guide } => {
                let what = format!("end guide {}", HEXLOWER.encode(guide));
                (Action::GuideEnd, AuditAction::Guide, what, Resource::Agency(agency.clone()))
            }
            Act::Register { agency, authority } => (
                Action::PersonAdd,
                AuditAction::PersonAdmin,
                format!("register {}", authority.handle),
                Resource::Agency(agency.clone()),
            ),
            Act::Suspend { agency, handle } => (
                Action::PersonSuspend,
                AuditAction::PersonAdmin,
                format!("suspend {handle}"),
                Resource::Agency(agency.clone()),
            ),
            Act::SuspendAgency { agency } => {
                (Action::FederationChange, AuditAction::Membership, format!("suspend {agency}"), Resource::None)
            }
            Act::ReinstateAgency { agency } => {
                (Action::FederationChange, AuditAction::Membership, format!("reinstate {agency}"), Resource::None)
            }
            Act::Abandon { agency, record, version } => (
                Action::RecordAbandon,
                AuditAction::Purge,
                format!("abandon {record} v{version}"),
                Resource::Agency(agency.clone()),
            ),
            Act::Entry { agency, handle, version, .. } => (
                Action::PersonAdd,
                AuditAction::PersonAdmin,
                format!("hash of {handle} v{version}"),
                Resource::Agency(agency.clone()),
            ),
            Act::Admit(_) | Act::AddNode { .. } | Act::RemoveNode { .. } | Act::Voters(_) => {
                (Action::FederationChange, AuditAction::Membership, members_words(&act), Resource::None)
            }
            Act::Ceiling { .. } | Act::Tier { .. } | Act::TrustRoot { .. } | Act::Suites(_) => {
                let (name, about) = bounds_words(&act).unwrap_or_default();
                (Action::FederationChange, AuditAction::Membership, format!("{name} {about}"), Resource::None)
            }
        };
        let door = DoorAct {
            action,
            audit,
            object: Object::Text(what.chars().take(200).collect()),
            label: None,
            purpose: "",
            origin: None,
            request: self.random(),
        };
        let submit = async {
            self.check_act(&act)?;
            let (expected, until) = (signed.expected, Instant::now() + wait.min(CERTIFIED_WITHIN));
            match self.committer.submit(Command::Act(signed), wait).await? {
                (_, CommandReply::Refused(why)) => Err(refused(why)),
                (index, CommandReply::Waiting) => Ok((self.certified(&act, expected, until).await?, index)),
                (index, reply) => Ok((reply, index)),
            }
        };
        self.through(caller, door, resource, submit).await
    }

    /// Waits until an act that is complete took force, which takes a certificate (P7). Waiting still when there was none in time.
    async fn certified(&self, act: &Act, expected: u32, until: Instant) -> Result<CommandReply, Fault> {
        let mut applied = self.cluster.applied_watch();
        loop {
            let _seen = *applied.borrow_and_update();
            let state = self.state();
            if state.is_open(act, expected) {
                return Ok(CommandReply::Done);
            }
            if !state.is_waiting(act, expected) {
                let why = "something that was changed meanwhile kept it from taking force";
                return Err(Fault::conflict("VERSION_CONFLICT", why).hint("look again and repeat"));
            }
            if !matches!(timeout_at(until, applied.changed()).await, Ok(Ok(()))) {
                return Ok(CommandReply::Waiting);
            }
        }
    }

    /// What the ledger would refuse, or leave pending for ever, in words that help.
    fn check_act(&self, act: &Act) -> Result<(), Fault> {
        let foreign = |id: &AgreementId| Fault::refused("NOT_A_PARTY", format!("your agency is not a party of `{id}`"));
        let state = self.state();
        match act {
            Act::Agreement(t) if !t.parties.contains(&self.agency) => Err(foreign(&t.id)),
            Act::Agreement(t) => {
                t.check()?;
                check_years(t)?;
                let known = state.agreement(&t.id).and_then(|versions| versions.last());
                if known.is_some_and(|known| known.ended.is_some() && known.terms == *t) {
                    return Err(ended(&t.id));
                }
                match t.parties.iter().find(|p| state.agency(p).is_none()) {
                    None => Ok(()),
                    Some(p) => Err(unknown_agency(p)),
                }
            }
            Act::EndAgreement { id, .. } => {
                let known = state.agreement(id).and_then(|v| v.last()).ok_or_else(Fault::not_found)?;
                if !known.terms.parties.contains(&self.agency) {
                    return Err(foreign(id));
                }
                match &known.ended {
                    None => Ok(()),
                    Some(_) => Err(ended(id)),
                }
            }
            Act::Guide(g) => self.check_guide(g),
            Act::SuspendAgency { agency } | Act::ReinstateAgency { agency } => {
                if state.agency(agency).is_none() {
                    return Err(unknown_agency(agency));
                }
                if *agency == self.agency {
                    return Err(Fault::refused("NOT_ALLOWED", "an agency has no voice in its own standing"));
                }
                match (act, state.stands(agency)) {
                    (Act::SuspendAgency { .. }, false) => {
                        return Err(Fault::conflict("EXISTS", format!("`{agency}` is suspended already")));
                    }
                    (Act::ReinstateAgency { .. }, true) => {
                        return Err(Fault::conflict("EXISTS", format!("`{agency}` is not suspended")));
                    }
                    _ => {}
                }
                if matches!(act, Act::SuspendAgency { .. }) && !state.is_led_without(agency) {
                    let why = "no majority of those who vote would be left, and the ledger would stand still for good";
                    return Err(Fault::refused("NOT_ALLOWED", why).hint("reinstate somebody who votes first"));
                }
                Ok(())
            }
            Act::Abandon { record, .. } if state.origin_of(record) != Some(&self.agency) => {
                Err(Fault::refused("FOREIGN_RECORD", "only its originator gives a record up"))
            }
            Act::Abandon { record, version, .. } => {
                // What cannot be read is not known to be gone: damage is set aside at this look, and absent at the next.
                if self.vault.held(&state, record, *version, self.clock.now())?.is_some() {
                    return Err(Fault::refused("NOT_ALLOWED", "this node holds it and serves it, so it is not lost")
                        .hint("end the agreement to stop sharing; `hufu cluster status` shows who misses what"));
                }
                Ok(())
            }
            Act::Register { authority, .. } => {
                let person = self.directory.by_handle(&authority.handle);
                if person.is_some_and(|p| p.suspended) {
                    return Err(Fault::refused("NOT_ALLOWED", "a person who is suspended is not registered"));
                }
                Ok(())
            }
            Act::Admit(_) | Act::AddNode { .. } | Act::RemoveNode { .. } | Act::Voters(_) => {
                self.check_members(&state, act)
            }
            Act::Ceiling { .. } | Act::Tier { .. } | Act::TrustRoot { .. } | Act::Suites(_) => {
                self.check_bounds(&state, act)
            }
            Act::EndGuide { .. } | Act::Suspend { .. } | Act::Entry { .. } => Ok(()),
        }
    }

    fn check_guide(&self, g: &crate::domain::agreement::Guide) -> Result<(), Fault> {
        let state = self.state();
        let agency = state.agency(&g.agency).ok_or_else(Fault::not_found)?;
        let authority = agency.tier().marking_authority();
        if g.grade > authority {
            return Err(Fault::refused(
                "MARKING_AUTHORITY",
                format!("a {} agency marks up to {authority}", agency.tier()),
            ));
        }
        if g.grade == Grade::Internal {
            return Err(Fault::usage("BAD_ACT", "internal is no state secret and needs no marking guide"));
        }
        let now = self.clock.now();
        if g.until <= now {
            return Err(Fault::usage("BAD_DATE", format!("`{}` is over already", g.until.to_rfc3339())));
        }
        let agreement = state.agreement_now(&g.agreement, now).ok_or_else(|| {
            Fault::usage("UNKNOWN_AGREEMENT", format!("no agreement `{}` is in force", g.agreement))
                .hint("see `hufu agreement list`")
        })?;
        if !agreement.terms.parties.contains(&g.agency) {
            let why = format!("your agency is not a party of `{}`", g.agreement);
            return Err(Fault::refused("NOT_A_PARTY", why).hint("see `hufu agreement list`"));
        }
        if g.grade > agreement.terms.grade {
            return Err(Fault::refused(
                "OUTSIDE_AGREEMENT",
                format!("agreement `{}` covers up to {}", g.agreement, agreement.terms.grade),
            ));
        }
        Ok(())
    }
}

/// Years that the law allows for the agreement's grade (SSL §20). Looked at where terms are signed: `apply` takes them
/// as they are, and every record is held against its own grade.
fn check_years(t: &Terms) -> Result<(), Fault> {
    let years = t.default_period_years;
    if t.grade.max_years().is_some_and(|max| years > max) {
        let why = format!("{years} years are over the legal maximum for {}", t.grade);
        return Err(Fault::usage("PERIOD_TOO_LONG", why).hint("30, 20 and 10 years for 绝密, 机密 and 秘密"));
    }
    if t.grade.max_years().is_some() && years == 0 || t.retention_years == 0 {
        return Err(Fault::usage("BAD_TERMS", "period and retention are at least one year"));
    }
    Ok(())
}

/// A name that no agency of the federation has.
pub(super) fn unknown_agency(name: &AgencyId) -> Fault {
    Fault::usage("UNKNOWN_AGENCY", format!("`{name}` is not an agency of this federation"))
        .hint("see `hufu federation show`")
}
