//! Publishing (flow "Publish" of the architecture, P17).

use super::core::Core;
use super::door::{Act, Caller};
use crate::audit::{Action as AuditAction, Object, Stage};
use crate::cluster::refused;
use crate::domain::agreement::Terms;
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, AgreementId, NodeId, RecordId};
use crate::domain::label::{Caveat, Compartment, Grade, Label, Period};
use crate::domain::limits;
use crate::domain::record::{Kind, Meta, Reference};
use crate::domain::time::Millis;
use crate::ledger::{CommandReply, State};
use crate::policy::{Action, Resource};
use crate::seal::digest;
use crate::vault::{Draft, PeerVault, Prepared, PushState};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How much a publish waits for (P17).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Committed.
    None,
    /// Another entitled node holds it, too.
    One,
    /// Every entitled node holds it.
    All,
}

/// What is asked.
#[derive(Clone)]
pub struct PublishAsk {
    /// Title.
    pub title: String,
    /// Body, UTF-8.
    pub body: Vec<u8>,
    /// Grade.
    pub grade: Grade,
    /// Compartments.
    pub compartments: BTreeSet<Compartment>,
    /// Agreement; none keeps the record in the own agency.
    pub agreement: Option<AgreementId>,
    /// Narrows the agreement's parties; empty means all of them.
    pub release: BTreeSet<AgencyId>,
    /// Kind.
    pub kind: Kind,
    /// Period; the agreement's default if none.
    pub period: Option<Period>,
    /// References.
    pub references: Vec<Reference>,
    /// A to F.
    pub reliability: Option<char>,
    /// 1 to 6.
    pub credibility: Option<u8>,
    /// Legal basis; the agreement's if empty.
    pub legal_basis: String,
    /// End of retention.
    pub retain_until: Option<Millis>,
    /// Caveats.
    pub caveats: BTreeSet<Caveat>,
    /// How much to wait for.
    pub wait: Wait,
    /// How long to wait for holders.
    pub wait_for: Duration,
    /// How long to wait for a leader.
    pub timeout: Duration,
    /// The same again gets the first answer.
    pub request_id: [u8; 16],
}

/// The answer.
#[derive(Debug, Clone)]
pub struct Published {
    /// Record.
    pub record: RecordId,
    /// Version.
    pub version: u32,
    /// Ledger index of the commitment.
    pub index: u64,
    /// Agencies that hold it durably and openable.
    pub held_by: BTreeSet<AgencyId>,
    /// Agencies entitled to it.
    pub owed: BTreeSet<AgencyId>,
    /// What the author should know.
    pub warning: Option<String>,
    /// Less than asked at the deadline.
    pub incomplete: bool,
}

/// Which version of which record a publish makes.
pub(super) struct Target {
    pub(super) record: RecordId,
    pub(super) version: u32,
    /// Idempotency key.
    pub(super) request: [u8; 32],
    /// Keyed digest of an import.
    pub(super) content: Option<[u8; 32]>,
}

impl Target {
    /// What the policies call it: an import brings foreign material in.
    pub(super) fn action(&self) -> Action {
        if self.content.is_some() { Action::RecordImport } else { Action::RecordPublish }
    }
}

impl Core {
    /// Publishes a record.
    pub async fn publish(
        &self,
        caller: &Caller,
        ask: PublishAsk,
        peers: Arc<dyn PeerVault>,
    ) -> Result<Published, Fault> {
        let request = self.request_key(caller, &ask.request_id);
        if let Some((record, version)) = self.vault.by_request(&request) {
            return self.answer_again(record, version, ask.timeout).await;
        }
        let target = Target { record: self.new_record(), version: 1, request, content: None };
        self.publish_as(caller, ask, target, peers).await
    }

    /// Publishes as this version of this record.
    pub(super) async fn publish_as(
        &self,
        caller: &Caller,
        ask: PublishAsk,
        target: Target,
        peers: Arc<dyn PeerVault>,
    ) -> Result<Published, Fault> {
        let state = self.state();
        let now = self.clock.now();
        let (wait, wait_for, timeout) = (ask.wait, ask.wait_for, ask.timeout);
        let record = target.record;
        let draft = self.draft(&state, caller, ask, &target, now)?;
        let owed = draft.label.audience();
        let act = Act {
            action: target.action(),
            audit: AuditAction::Publish,
            object: Object::Record { id: record, version: draft.version },
            label: Some(&draft.label.clone()),
            purpose: "",
            origin: Some(self.agency.clone()),
            request: self.random(),
        };
        let decision =
            self.decide(caller, act.action, Resource::Record { label: draft.label.clone(), own: true }, "", true);
        let _intent = self.log(caller, &act, Stage::Intent, &decision).await?;
        if let Some(fault) = decision.fault() {
            return Err(fault);
        }
        let version = draft.version;
        let prepared = self.vault.prepare(&state, draft, now, &mut RandomOf(self)).await?;
        let Prepared { object, command } = prepared;
        let parts = Arc::new((object.envelope.to_bytes(), object.grant.to_bytes(), object.audience.to_bytes()));
        let targets = targets(&state, &owed, &self.agency);
        let pushes = spawn_pushes(&peers, &parts, targets);
        let (index, reply) = self.committer.submit(command, timeout).await?;
        if let CommandReply::Refused(why) = reply {
            return Err(refused(why));
        }
        let held_by = self.gather(pushes, wait, wait_for, owed.len()).await;
        let _outcome = self.log(caller, &act, Stage::Outcome, &decision).await?;
        Ok(published(record, version, index, held_by, owed, wait))
    }

    /// The same request again: the first answer, as far as it is known now.
    async fn answer_again(&self, record: RecordId, version: u32, timeout: Duration) -> Result<Published, Fault> {
        let index = self.settle(record, version, timeout).await?;
        let own: BTreeSet<AgencyId> = [self.agency.clone()].into();
        Ok(published(record, version, index, own.clone(), own, Wait::None))
    }

    /// The index of a version that is journaled here; one that missed the ledger is proposed again.
    pub(super) async fn settle(&self, record: RecordId, version: u32, timeout: Duration) -> Result<u64, Fault> {
        let state = self.state();
        let committed = state.record(&record).and_then(|v| v.iter().find(|x| x.version == version));
        if let Some(c) = committed {
            return Ok(c.index);
        }
        let command = self.vault.recommit(&state, &record, version, self.clock.now(), &mut RandomOf(self))?;
        let command = command
            .ok_or_else(|| Fault::integrity("NOT_OPENABLE", format!("`{record}` was accepted here and is not here")))?;
        match self.committer.submit(command, timeout).await? {
            (_, CommandReply::Refused(why)) => Err(refused(why)),
            (index, _) => Ok(index),
        }
    }

    fn request_key(&self, caller: &Caller, id: &[u8; 16]) -> [u8; 32] {
        digest("hufu.publish-request", &[caller.person().name.as_bytes(), id])
    }

    /// Label, agreement and meta, each checked; errors say which rule and what would do.
    pub(super) fn draft(
        &self,
        state: &State,
        caller: &Caller,
        ask: PublishAsk,
        target: &Target,
        now: Millis,
    ) -> Result<Draft, Fault> {
        check_text(&ask)?;
        let agency = state
            .agency(&self.agency)
            .ok_or_else(|| Fault::internal("INTERNAL", "the own agency is not on the ledger"))?;
        if !agency.descriptor.may_hold(ask.grade, &ask.compartments) {
            let up_to = agency.descriptor.ceiling;
            return Err(Fault::refused(
                "ABOVE_CEILING",
                format!("your agency's systems hold up to {up_to} and only their own compartments"),
            ));
        }
        let authority = agency.descriptor.tier.marking_authority();
        if ask.grade > authority {
            return Err(Fault::refused(
                "MARKING_AUTHORITY",
                format!("a {} agency marks up to {authority}", agency.descriptor.tier),
            ));
        }
        let terms = self.terms(state, &ask, now)?;
        let release = self.release(state, terms, &ask)?;
        let period = self.period(terms, &ask, now)?;
        if ask.grade > Grade::Internal {
            self.check_guide_covers(state, &ask, now)?;
        }
        if ask.caveats.contains(&Caveat::TwoHalves) || ask.grade == Grade::TopSecret && !release.is_empty() {
            return Err(Fault::refused(
                "NOT_SUPPORTED",
                "合符 two-halves release is not available yet, and 绝密 (top-secret) is not shared without it",
            )
            .hint("keep it inside the own agency, without --agreement"));
        }
        if ask.kind.needs_retention() && ask.retain_until.is_none() {
            return Err(Fault::usage(
                "RETENTION_NEEDED",
                format!("a record of kind `{}` gives its own retention date", ask.kind),
            )
            .hint("add --retain-until DATE"));
        }
        let label = Label {
            originator: self.agency.clone(),
            grade: ask.grade,
            compartments: ask.compartments,
            release,
            caveats: ask.caveats,
            period,
        };
        let meta = Meta {
            title: ask.title,
            kind: ask.kind,
            issued: now,
            references: ask.references,
            reliability: ask.reliability,
            credibility: ask.credibility,
            legal_basis: if ask.legal_basis.is_empty() {
                terms.map(|t| t.legal_basis.clone()).unwrap_or_default()
            } else {
                ask.legal_basis
            },
            retain_until: ask.retain_until.or_else(|| terms.map(|t| now.plus_years(t.retention_years))),
            author: caller.person().name.clone(),
        };
        let agreement = terms.map(|t| (t.id.clone(), t.version));
        let Target { record, version, request, content } = *target;
        Ok(Draft { record, version, label, agreement, meta, body: ask.body, request: Some(request), content })
    }

    fn terms<'a>(&self, state: &'a State, ask: &PublishAsk, now: Millis) -> Result<Option<&'a Terms>, Fault> {
        let Some(id) = &ask.agreement else { return Ok(None) };
        let found = state.agreement_now(id, now).filter(|a| a.terms.parties.contains(&self.agency));
        let terms = found.map(|a| &a.terms).ok_or_else(|| {
            Fault::refused("UNKNOWN_AGREEMENT", format!("no agreement `{id}` in force names your agency"))
                .hint("see `hufu agreement list`")
        })?;
        terms.cover(ask.kind, ask.grade, &ask.compartments, now)?;
        Ok(Some(terms))
    }

    fn release(&self, state: &State, terms: Option<&Terms>, ask: &PublishAsk) -> Result<BTreeSet<AgencyId>, Fault> {
        let parties: BTreeSet<AgencyId> = terms.map(|t| t.parties.clone()).unwrap_or_default();
        for a in &ask.release {
            if state.agency(a).is_none() {
                return Err(Fault::usage("UNKNOWN_AGENCY", format!("`{a}` is not an agency of this federation")));
            }
            if !parties.contains(a) {
                return Err(Fault::refused("NOT_A_PARTY", format!("`{a}` is not a party of the agreement"))
                    .hint("--release only narrows the agreement's parties"));
            }
        }
        let chosen = if ask.release.is_empty() { &parties } else { &ask.release };
        let release: BTreeSet<AgencyId> = chosen.iter().filter(|a| **a != self.agency).cloned().collect();
        let may_hold =
            |a: &AgencyId| state.agency(a).is_some_and(|s| s.descriptor.may_hold(ask.grade, &ask.compartments));
        if ask.release.is_empty() {
            // An agreement may name an agency whose systems cannot hold this label: it is left out.
            return Ok(release.into_iter().filter(may_hold).collect());
        }
        if let Some(a) = release.iter().find(|a| !may_hold(a)) {
            return Err(Fault::refused(
                "ABOVE_CEILING",
                format!("the systems of `{a}` may not hold this grade with these compartments"),
            ));
        }
        Ok(release)
    }

    fn period(&self, terms: Option<&Terms>, ask: &PublishAsk, now: Millis) -> Result<Option<Period>, Fault> {
        let default = match (ask.grade.max_years(), terms) {
            (None, _) => None,
            (Some(max), Some(t)) => Some(Period::Years(t.default_period_years.min(max))),
            (Some(_), None) => None,
        };
        let period = ask.period.clone().or(default);
        match &period {
            Some(p) => p.check(ask.grade, now)?,
            None if ask.grade > Grade::Internal => {
                return Err(Fault::usage(
                    "PERIOD_EMPTY",
                    format!("{} ({}) needs a classification period", ask.grade.zh(), ask.grade),
                )
                .hint("add --period YEARS, --until DATE or --condition TEXT, or an agreement with a default"));
            }
            None => {}
        }
        Ok(period)
    }

    /// Two persons mark (SSL §16): the author, and a classifier by a standing guide.
    fn check_guide_covers(&self, state: &State, ask: &PublishAsk, now: Millis) -> Result<(), Fault> {
        let covers = state.guides().any(|(_, g)| {
            g.ended.is_none()
                && g.guide.agency == self.agency
                && ask.agreement.as_ref() == Some(&g.guide.agreement)
                && g.guide.kinds.contains(&ask.kind)
                && g.guide.grade >= ask.grade
                && now < g.guide.until
        });
        if covers {
            return Ok(());
        }
        Err(Fault::refused("NO_GUIDE", "no classifier's marking guide covers this: two persons mark a state secret")
            .hint("a classifier runs `hufu guide sign`; approving single records is not available yet"))
    }

    /// Collects the answers of holders until enough, or the deadline.
    async fn gather(&self, mut pushes: Pushes, wait: Wait, wait_for: Duration, owed: usize) -> BTreeSet<AgencyId> {
        let mut held: BTreeSet<AgencyId> = [self.agency.clone()].into();
        let enough = match wait {
            Wait::None => 1,
            Wait::One => owed.min(2),
            Wait::All => owed,
        };
        let deadline = tokio::time::Instant::now() + wait_for;
        while held.len() < enough {
            match tokio::time::timeout_at(deadline, pushes.recv()).await {
                Ok(Some((agency, Ok(PushState::Held)))) => {
                    held.insert(agency);
                }
                Ok(Some((agency, outcome))) => tracing::warn!(%agency, ?outcome, "a push was not held"),
                Ok(None) | Err(_) => break,
            }
        }
        while let Ok((agency, outcome)) = pushes.try_recv() {
            if outcome == Ok(PushState::Held) {
                held.insert(agency);
            }
        }
        held
    }
}

type Pushes = tokio::sync::mpsc::Receiver<(AgencyId, Result<PushState, String>)>;

fn targets(state: &State, owed: &BTreeSet<AgencyId>, own: &AgencyId) -> Vec<(AgencyId, NodeId)> {
    state
        .nodes()
        .filter(|(_, n)| n.agency != *own && owed.contains(&n.agency))
        .map(|(id, n)| (n.agency.clone(), *id))
        .collect()
}

/// Pushes go on after the answer: they are tasks of their own, and what fails is pulled later.
fn spawn_pushes(
    peers: &Arc<dyn PeerVault>,
    parts: &Arc<crate::vault::Parts>,
    targets: Vec<(AgencyId, NodeId)>,
) -> Pushes {
    let (tx, rx) = tokio::sync::mpsc::channel(targets.len().max(1));
    for (agency, node) in targets {
        let (tx, peers, parts) = (tx.clone(), Arc::clone(peers), Arc::clone(parts));
        tokio::spawn(async move {
            let outcome = peers.push(node, &parts).await;
            let _ = tx.send((agency, outcome)).await;
        });
    }
    rx
}

fn published(
    record: RecordId,
    version: u32,
    index: u64,
    held_by: BTreeSet<AgencyId>,
    owed: BTreeSet<AgencyId>,
    wait: Wait,
) -> Published {
    let alone = owed.len() > 1 && held_by.len() == 1;
    let incomplete = match wait {
        Wait::None => false,
        Wait::One => alone,
        Wait::All => held_by.len() < owed.len(),
    };
    let warning = alone.then(|| format!("committed at {index}; the originator still holds the only copy"));
    let warning = warning
        .or_else(|| incomplete.then(|| format!("committed at {index}; held by {} of {}", held_by.len(), owed.len())));
    Published { record, version, index, held_by, owed, warning, incomplete }
}

fn check_text(ask: &PublishAsk) -> Result<(), Fault> {
    let title = ask.title.chars().count();
    if ask.title.trim().is_empty() || title > limits::TITLE_CHARS {
        return Err(Fault::usage("BAD_TITLE", format!("a title has 1 to {} characters", limits::TITLE_CHARS)));
    }
    if ask.body.is_empty() {
        return Err(Fault::usage("BAD_BODY", "the body is empty"));
    }
    if ask.body.len() > limits::BODY_BYTES {
        return Err(Fault::usage(
            "BODY_TOO_LARGE",
            format!("the body has {} bytes; the limit is {} (1 MiB)", ask.body.len(), limits::BODY_BYTES),
        ));
    }
    if std::str::from_utf8(&ask.body).is_err() {
        return Err(Fault::usage("BAD_BODY", "the body is not UTF-8 text"));
    }
    if ask.references.len() > limits::REFERENCES {
        return Err(Fault::usage("BAD_REFERENCE", format!("at most {} references", limits::REFERENCES)));
    }
    if ask.compartments.len() > limits::COMPARTMENTS {
        return Err(Fault::usage("BAD_COMPARTMENT", format!("at most {} compartments", limits::COMPARTMENTS)));
    }
    Ok(())
}

/// The node's randomness behind its lock.
pub(super) struct RandomOf<'a>(pub(super) &'a Core);

impl crate::domain::time::Entropy for RandomOf<'_> {
    fn fill(&mut self, out: &mut [u8]) {
        self.0.entropy.lock().unwrap_or_else(std::sync::PoisonError::into_inner).fill(out);
    }
}
