//! The one door: who is it, may they, and the entry in the log.

use super::core::Core;
use super::elsewhere::Vouched;
use crate::audit::{
    Action as AuditAction, Actor, AuditError, AuditReceipt, Decision as Verdict, EventDraft, Object, Stage, pseudonym,
};
use crate::domain::fault::Fault;
use crate::domain::ids::AgencyId;
use crate::domain::label::{Clearance, Compartment, Grade, Label};
use crate::domain::notice::Precedence;
#[cfg(test)]
use crate::domain::planted::{Planted, is_planted};
use crate::domain::reserve::Work;
use crate::domain::time::Millis;
use crate::identity::{Person, Subject as CertificateSubject, VerifiedPeer};
use crate::policy::{Action, Decision, DenyKind, Question, Resource, Subject};
use crate::seal::digest;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Somebody who is known and not suspended, at this call. Only [`Core::caller`] makes one, and [`Core::caller_elsewhere`].
pub struct Caller {
    person: Person,
    agency: AgencyId,
    /// What the person's agency may hold, as the ledger has it at this call.
    bounds: (Grade, BTreeSet<Compartment>),
    by: By,
}

/// By what it is known that this person calls.
#[derive(Clone)]
enum By {
    /// A handshake with this node. It is cut off when the certificate counts no more.
    Handshake(VerifiedPeer),
    /// The word of another node of the agency, by its local id, and the certificate that it was shown.
    Node { local: String, certificate: Arc<[u8]> },
    /// Nothing: nobody acts as this caller.
    Nothing,
}

impl Caller {
    /// The directory's entry.
    pub fn person(&self) -> &Person {
        &self.person
    }

    /// What the person may see and mark: what they are cleared for, and nothing that the agency's systems may not hold. Where its
    /// ceiling was lowered, what is held above it is as if it were not there, for everybody.
    pub(super) fn clearance(&self) -> Clearance {
        let (ceiling, compartments) = &self.bounds;
        Clearance {
            agency: self.agency.clone(),
            grade: self.person.clearance.min(*ceiling),
            compartments: self.person.compartments.intersection(compartments).cloned().collect(),
        }
    }

    /// What another node is shown. Whoever calls by another node is passed on to none.
    pub(super) fn certificate(&self) -> &[u8] {
        match &self.by {
            By::Handshake(peer) => peer.certificate(),
            By::Node { .. } | By::Nothing => &[],
        }
    }

    fn via(&self) -> Option<&str> {
        if let By::Node { local, .. } = &self.by { Some(local.as_str()) } else { None }
    }

    fn subject(&self) -> Subject {
        Subject {
            agency: self.agency.clone(),
            name: self.person.name.clone(),
            roles: self.person.roles.clone(),
            clearance: self.clearance(),
            suspended: is_suspended(&self.person),
        }
    }
}

/// One act at the door.
pub(super) struct Act<'a> {
    /// What the policies call it.
    pub(super) action: Action,
    /// What the log calls it.
    pub(super) audit: AuditAction,
    /// To what.
    pub(super) object: Object,
    /// On which label, if any.
    pub(super) label: Option<&'a Label>,
    /// 查阅事由.
    pub(super) purpose: &'a str,
    /// Originator to tell of accesses.
    pub(super) origin: Option<AgencyId>,
    /// Joins intent and outcome.
    pub(super) request: [u8; 16],
}

impl Core {
    /// Who calls: the certificate's person, as the directory has them at this moment.
    pub fn caller(&self, peer: &VerifiedPeer) -> Result<Caller, Fault> {
        let CertificateSubject::Person(name) = peer.name().subject() else { return Err(unknown()) };
        if *peer.agency() != self.agency {
            return Err(unknown());
        }
        let person = self.directory.by_name(name).ok_or_else(unknown)?;
        if is_suspended(&person) || person.public_key != peer.public_key() {
            return Err(unknown());
        }
        Ok(Caller { by: By::Handshake(peer.clone()), ..self.as_caller(person) })
    }

    /// Who calls at another node of this agency, by that node's word for the handshake: a person whom this directory has with the
    /// same key, and whose certificate would be taken here too. The other node may have an older revocation list. What is signed
    /// by people carries their own signature all the same, and each event names that node.
    ///
    /// # Errors
    /// As [`Core::caller`], whatever is wrong; with what the audit log calls it.
    pub fn caller_elsewhere(&self, vouched: Vouched<'_>) -> Result<Caller, (&'static str, Fault)> {
        let Vouched { name, public_key, certificate, via } = vouched;
        let person = self.directory.by_name(name).filter(|p| !is_suspended(p) && p.public_key == *public_key);
        let person = person.ok_or_else(|| ("unknown-person", unknown()))?;
        let by = By::Node { local: via.to_owned(), certificate: certificate.into() };
        let caller = Caller { by, ..self.as_caller(person) };
        match self.check_shown(&caller) {
            Ok(()) => Ok(caller),
            Err(why) => {
                tracing::warn!(node = via, %why, "a certificate that another node of this agency was shown does not count here");
                Err(("person-certificate", unknown()))
            }
        }
    }

    /// The same person as the directory has them now, for what goes on for a while.
    ///
    /// # Errors
    /// Somebody whose access was taken away, or whose key is another one.
    pub fn caller_now(&self, caller: &Caller) -> Result<Caller, Fault> {
        let now = self.directory.by_name(&caller.person.name).filter(|p| !is_suspended(p));
        let now = now.filter(|p| p.public_key == caller.person.public_key).ok_or_else(Fault::not_found)?;
        let now = Caller { by: caller.by.clone(), ..self.as_caller(now) };
        self.check_shown(&now).map_err(|_| Fault::not_found())?;
        Ok(now)
    }

    /// Whether the certificate that another node was shown counts at this one.
    fn check_shown(&self, caller: &Caller) -> Result<(), String> {
        let By::Node { certificate, .. } = &caller.by else { return Ok(()) };
        self.certificates.taken(certificate, (caller.person.name.as_str(), &caller.person.public_key), self.clock.now())
    }

    /// Whoever signs acts does so in a role that two officers registered for the person's key on the ledger (P1). Without
    /// that, what the directory says of such a role counts for nothing: one officer alone writes the directory. An agency
    /// that is suspended keeps its officers: they see who read what, and shut people out.
    fn as_caller(&self, mut person: Person) -> Caller {
        let state = self.state();
        let authority = state.registered(&self.agency, person.handle);
        let authority = authority.filter(|a| *a.key.as_bytes() == person.public_key);
        person.roles.retain(|r| !r.has_authority() || authority.is_some_and(|a| a.roles.contains(r)));
        let own = state.agency(&self.agency);
        let bounds = own.map_or((Grade::Internal, BTreeSet::new()), |a| (a.ceiling(), a.compartments().clone()));
        Caller { person, agency: self.agency.clone(), bounds, by: By::Nothing }
    }

    /// The policies' answer. Nothing is logged yet.
    pub(super) fn decide(
        &self,
        caller: &Caller,
        action: Action,
        resource: Resource,
        purpose: &str,
        covers: bool,
    ) -> Decision {
        if action.reads_records() && self.doubts(&resource) {
            return Decision::Deny { rule: "ledger-diverged".into(), kind: DenyKind::Hidden };
        }
        self.policy.decide(&self.question(caller, action, resource, purpose, covers))
    }

    /// A node whose state is not the majority's knows neither who may read nor under what (P7): what is above internal goes
    /// to nobody, person or node. Notices go on.
    fn doubts(&self, resource: &Resource) -> bool {
        self.cluster.has_diverged() && resource.is_above_internal()
    }

    /// Whether this node serves a record to no other node either: it does not know whether it may, or its agency's ceiling was
    /// lowered below it. Others hold it too.
    pub fn withholds(&self, resource: &Resource) -> bool {
        let Resource::Record { label, .. } = resource else { return false };
        let state = self.state();
        let holds = state.agency(&self.agency).is_some_and(|a| a.may_hold(label.grade, &label.compartments));
        !holds || self.doubts(resource)
    }

    /// What the policies are asked.
    pub(super) fn question(
        &self,
        caller: &Caller,
        action: Action,
        resource: Resource,
        purpose: &str,
        covers: bool,
    ) -> Question {
        Question {
            subject: caller.subject(),
            action,
            resource,
            purpose: purpose.to_owned(),
            agreement_covers: covers,
            in_scope: true,
        }
    }

    /// A person as the door would see them, for an explanation. Nobody acts as this caller.
    pub(super) fn person_as_caller(&self, name: &str) -> Option<Caller> {
        Some(self.as_caller(self.directory.by_name(name)?))
    }

    /// Decides an act that touches no content, logs it as one event, and answers the refusal if it is one.
    pub(super) async fn pass(&self, caller: &Caller, act: Act<'_>, resource: Resource) -> Result<AuditReceipt, Fault> {
        let decision = self.decide(caller, act.action, resource, act.purpose, true);
        let receipt = self.log(caller, &act, Stage::Single, &decision).await?;
        match decision.fault() {
            Some(fault) => Err(fault),
            None => Ok(receipt),
        }
    }

    /// Lets somebody act: the intent is durable before `work` begins, and what became of it is told after.
    pub(super) async fn through<T>(
        &self,
        caller: &Caller,
        act: Act<'_>,
        resource: Resource,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let decision = self.decide(caller, act.action, resource, act.purpose, true);
        let _intent = self.log(caller, &act, Stage::Intent, &decision).await?;
        if let Some(fault) = decision.fault() {
            return Err(fault);
        }
        let done = work.await;
        let outcome = match &done {
            Ok(_) => decision,
            Err(fault) => Decision::Deny { rule: format!("act:{}", fault.reason), kind: DenyKind::Refused },
        };
        let _outcome = self.log(caller, &act, Stage::Outcome, &outcome).await?;
        done
    }

    /// Writes one event, durable when it answers. What cannot be audited is not done, and so is what the disk has no room
    /// for; how an act ended is told all the same.
    pub(super) async fn log(
        &self,
        caller: &Caller,
        act: &Act<'_>,
        stage: Stage,
        decision: &Decision,
    ) -> Result<AuditReceipt, Fault> {
        if stage != Stage::Outcome {
            self.disk.check(room_of(act.action))?;
        }
        self.write(self.event(caller, act, stage, decision)).await
    }

    /// Writes the intents of several acts, durable together when it answers, or none.
    pub(super) async fn log_intents(&self, caller: &Caller, acts: &[(Act<'_>, Decision)]) -> Result<(), Fault> {
        for (act, _) in acts {
            self.disk.check(room_of(act.action))?;
        }
        let events = acts.iter().map(|(act, decision)| self.event(caller, act, Stage::Intent, decision)).collect();
        self.write_all(events).await.map(drop)
    }

    /// The event of an act; nothing is written.
    pub(super) fn event(&self, caller: &Caller, act: &Act<'_>, stage: Stage, decision: &Decision) -> EventDraft {
        let allow = decision.is_allow();
        EventDraft {
            time: self.clock.now(),
            actor: Actor::Person {
                agency: caller.agency.clone(),
                name: caller.person.name.clone(),
                pseudonym: pseudonym(&self.pseudonym_key, &caller.person.name),
            },
            action: act.audit,
            stage,
            object: act.object.clone(),
            label: act.label.map(label_id),
            decision: if allow { Verdict::Allow } else { Verdict::Deny },
            rule: rule_of(decision.rule(), caller.via()),
            purpose: act.purpose.chars().take(crate::domain::limits::PURPOSE_CHARS).collect(),
            policy_set: self.policy.set().hash(),
            ledger_index: self.cluster.applied(),
            request: act.request,
            origin: act.origin.clone(),
        }
    }

    /// Writes an event of the node itself.
    pub async fn log_node(
        &self,
        action: AuditAction,
        agency: &AgencyId,
        object: Object,
        verdict: Verdict,
        rule: &str,
    ) -> Result<AuditReceipt, Fault> {
        let node = if *agency == self.agency { self.node } else { crate::domain::ids::NodeId(0) };
        self.write(EventDraft {
            time: self.clock.now(),
            actor: Actor::Node { agency: agency.clone(), node },
            action,
            stage: Stage::Single,
            object,
            label: None,
            decision: verdict,
            rule: rule.chars().take(120).collect(),
            purpose: String::new(),
            policy_set: self.policy.set().hash(),
            ledger_index: self.cluster.applied(),
            request: self.random(),
            origin: None,
        })
        .await
    }

    /// Writes what somebody of another agency, or somebody unknown, was refused: as an event, or counted in one when there
    /// are many. `rule` is the kind that is counted.
    pub async fn log_refusal(
        &self,
        action: AuditAction,
        agency: &AgencyId,
        object: Object,
        rule: &'static str,
    ) -> Result<(), Fault> {
        if self.folded.is_told(agency, rule, self.clock.now()) {
            let _logged = self.log_node(action, agency, object, Verdict::Deny, rule).await?;
        }
        Ok(())
    }

    /// Writes how many refusals were only counted, of the minutes that are over at `now`.
    pub async fn log_counted(&self, now: Millis) -> Result<(), Fault> {
        for ((agency, rule), more) in self.folded.over(now) {
            let object = Object::Text(format!("{more} more like those before"));
            let _logged = self.log_node(AuditAction::PeerRefused, &agency, object, Verdict::Deny, rule).await?;
        }
        Ok(())
    }

    async fn write(&self, draft: EventDraft) -> Result<AuditReceipt, Fault> {
        let receipts = self.write_all(vec![draft]).await?;
        receipts.into_iter().next().ok_or_else(|| audit_failed("no receipt"))
    }

    /// Writes how acts ended that disclosed nothing, and does not wait for the disk: their intents are durable.
    pub(super) fn note_all(&self, outcomes: Vec<EventDraft>) -> Result<(), Fault> {
        self.audit.note(outcomes).map_err(|e| audit_failed(&e.to_string()))
    }

    /// Writes several events in their order, durable together when it answers.
    pub(super) async fn write_all(&self, drafts: Vec<EventDraft>) -> Result<Vec<AuditReceipt>, Fault> {
        self.audit.record(drafts).await.map_err(|e| match e {
            AuditError::Busy => e.into(),
            e => audit_failed(&e.to_string()),
        })
    }
}

/// What an event says of the decision. Of somebody whom another node of the agency vouches for, it names that node first: what
/// a node makes up in people's names can be told from what they did.
fn rule_of(rule: &str, via: Option<&str>) -> String {
    let vouched = via.map(|node| format!("by node {node}: ")).unwrap_or_default();
    vouched.chars().chain(rule.chars()).take(120).collect()
}

/// Whether somebody's access was taken away.
fn is_suspended(person: &Person) -> bool {
    #[cfg(test)]
    if is_planted(Planted::ServeSuspendedPerson) {
        return false;
    }
    person.suspended
}

fn unknown() -> Fault {
    Fault::refused("UNKNOWN_PERSON", "this node does not know you, or your access was taken away")
        .hint("ask a security officer of your agency; whoever is one asks another")
}

fn audit_failed(why: &str) -> Fault {
    tracing::error!(%why, "the audit log takes nothing; everything is refused");
    Fault::unavailable("AUDIT_FAILED", "the audit log cannot be written, so nothing is done")
        .hint("the node must be looked at: disk full or failed")
}

/// Which room on the disk an act has. About notices there is more to be said to the last.
fn room_of(action: Action) -> Work {
    match action {
        Action::NoticeSend
        | Action::NoticeFlash
        | Action::NoticeRead
        | Action::NoticeAck
        | Action::NoticeTrack
        | Action::NoticeConfirm => Work::Notice(Precedence::Flash),
        _ => Work::Act,
    }
}

/// What an event says of a label: a digest of its class.
pub(super) fn label_id(label: &Label) -> [u8; 16] {
    let mut id = [0; 16];
    id.iter_mut().zip(digest("hufu.audit.label", &[&label.class_id()])).for_each(|(a, b)| *a = b);
    id
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use crate::domain::ids::Handle;
    use crate::service::reach::tests::label;
    use std::slice;

    /// However long the rule is, whose word it was that the person called is told.
    #[test]
    fn an_event_names_the_node_that_vouched_for_a_person() {
        assert_eq!(rule_of("lattice:grade", None), "lattice:grade");
        assert_eq!(rule_of("lattice:grade", Some("2")), "by node 2: lattice:grade");
        let long = rule_of(&"x".repeat(500), Some("2"));
        assert!(long.starts_with("by node 2: x") && long.chars().count() == 120, "{long}");
    }

    /// Nobody is cleared above what the agency's systems may hold, and everybody is again as before when it is raised.
    #[test]
    fn a_lowered_ceiling_takes_everybodys_clearance_along() {
        let named: Compartment = "border-ops".parse().unwrap();
        let person = Person {
            name: "analyst".into(),
            handle: Handle::from_bytes([1; 16]),
            title: String::new(),
            unit: String::new(),
            roles: BTreeSet::new(),
            clearance: Grade::Secret,
            compartments: [named.clone()].into(),
            public_key: [0; 32],
            serial: String::new(),
            suspended: false,
            version: 1,
            salt: [0; 32],
        };
        let caller = |ceiling, compartments: &[Compartment]| Caller {
            person: person.clone(),
            agency: "customs".parse().unwrap(),
            bounds: (ceiling, compartments.iter().cloned().collect()),
            by: By::Nothing,
        };
        let secret = label(Grade::Secret, &["customs"]);
        let within = Label { compartments: [named.clone()].into(), ..label(Grade::Internal, &["customs"]) };
        let reads = |caller: &Caller| [&secret, &within].map(|l| l.readable_by(&caller.clearance()).is_ok());
        assert_eq!(reads(&caller(Grade::TopSecret, slice::from_ref(&named))), [true, true]);
        assert_eq!(reads(&caller(Grade::Confidential, slice::from_ref(&named))), [false, true]);
        assert_eq!(reads(&caller(Grade::Secret, &[])), [true, false]);
        assert_eq!(caller(Grade::Secret, &[]).person().clearance, Grade::Secret, "what the directory says stays");
    }
}
