//! Publishing (flow "Publish" of the architecture, P17).

use super::amend::Amends;
use super::coming::Passing;
use super::core::Core;
use super::door::{Act, Caller};
use super::draft::Drafts;
use super::holders::Holders;
use super::once::Once;
use super::pushes::Pushes;
use crate::audit::{Action as AuditAction, Object, Stage};
use crate::cluster::refused;
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{AgencyId, AgreementId, NodeId, RecordId};
use crate::domain::label::{Caveat, Compartment, Grade, Label, Period};
#[cfg(test)]
use crate::domain::planted::{Planted, is_planted};
use crate::domain::record::{Kind, Reference};
use crate::domain::reserve::Work;
use crate::domain::time::Millis;
use crate::ledger::{CommandReply, State};
use crate::policy::{Action, Decision, DenyKind, Resource};
use crate::seal::digest;
use crate::vault::{Coming, Outgoing, PeerVault, Pieces, Prepared, PushState};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinError, JoinSet};

/// About what a record takes on the disk besides its texts: header, grant, audience, frames, in bytes.
const PARTS_BYTES: usize = 8 << 10;

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
    /// Body, UTF-8; empty when it comes in pieces.
    pub body: Vec<u8>,
    /// Bytes of a body that comes in pieces; 0 when none does.
    pub coming: usize,
    /// Further texts, at the record's grade or lower.
    pub portions: Vec<PortionAsk>,
    /// Grade of the record: that of its highest portion.
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
    pub patience: Patience,
    /// The same again gets the first answer.
    pub request_id: [u8; 16],
}

/// A further text.
#[derive(Clone)]
pub struct PortionAsk {
    /// Its grade.
    pub grade: Grade,
    /// UTF-8.
    pub text: Vec<u8>,
}

/// The answer.
#[derive(Debug, Clone)]
pub struct Published {
    /// Record.
    pub record: RecordId,
    /// Version.
    pub version: u32,
    /// Ledger index of the commitment; none while it is accepted here and not on the ledger yet.
    pub index: Option<u64>,
    /// Agencies that hold it durably and openable.
    pub held_by: BTreeSet<AgencyId>,
    /// Agencies entitled to it.
    pub owed: BTreeSet<AgencyId>,
    /// What the author should know.
    pub warning: Option<String>,
    /// Less than asked at the deadline.
    pub incomplete: bool,
    /// It waits for a classifier, and nobody else sees it.
    pub proposed: bool,
}

/// How much an answer waits for, and how long.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How much to wait for.
    pub wait: Wait,
    /// How long to wait for holders.
    pub wait_for: Duration,
    /// How long to wait for a leader.
    pub timeout: Duration,
}

/// Which version of which record a publish makes.
pub(super) struct Target {
    pub(super) record: RecordId,
    pub(super) version: u32,
    /// Idempotency key.
    pub(super) request: [u8; 32],
    /// Keyed digest of an import.
    pub(super) content: Option<[u8; 32]>,
    /// What an amendment keeps of the version before.
    pub(super) amends: Option<Arc<Amends>>,
}

impl Target {
    /// What the policies call it: an import brings foreign material in.
    pub(super) fn action(&self) -> Action {
        match (&self.amends, self.content) {
            (Some(_), _) => Action::RecordAmend,
            (None, Some(_)) => Action::RecordImport,
            (None, None) => Action::RecordPublish,
        }
    }

    /// Why, as the log has it: an amendment says so, a first version is its own reason.
    fn reason(&self) -> &str {
        self.amends.as_ref().map_or("", |a| a.reason.as_str())
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
        let nowhere = async { Ok(None::<Infallible>) };
        match self.publish_once(caller, ask, None, peers, nowhere).await? {
            Once::Here(published) => Ok(published),
            Once::Elsewhere(never) => match never {},
        }
    }

    /// Publishes a record whose body comes in pieces. None is read before everything that is said of it was checked and its
    /// intent is durable; it is sealed as it comes, and a body that does not come whole leaves nothing. `known` is as in
    /// [`Core::publish_unless`].
    ///
    /// # Errors
    /// As [`Core::publish_unless`], and what is wrong with the body.
    pub async fn publish_coming<T>(
        &self,
        caller: &Caller,
        ask: PublishAsk,
        pieces: &mut dyn Pieces,
        peers: Arc<dyn PeerVault>,
        known: impl Future<Output = Result<Option<T>, Fault>>,
    ) -> Result<Once<T>, Fault> {
        let bytes = ask.coming;
        let mut passing = Passing::new(pieces, bytes);
        let coming = Coming { bytes, pieces: &mut passing };
        let done = self.publish_once(caller, ask, Some(coming), peers, known).await;
        done.map_err(|fault| passing.wrong().unwrap_or(fault))
    }

    pub(super) async fn publish_once<T>(
        &self,
        caller: &Caller,
        ask: PublishAsk,
        coming: Option<Coming<'_>>,
        peers: Arc<dyn PeerVault>,
        known: impl Future<Output = Result<Option<T>, Fault>>,
    ) -> Result<Once<T>, Fault> {
        let request = self.request_key(caller, &ask.request_id);
        let _turn = self.begin(request)?;
        if let Some(published) = self.answered_before(&request, &ask.patience, &peers).await? {
            return Ok(Once::Here(published));
        }
        if let Some(elsewhere) = known.await? {
            return Ok(Once::Elsewhere(elsewhere));
        }
        let target = Target { record: self.new_record(), version: 1, request, content: None, amends: None };
        self.publish_as(caller, ask, coming, target, peers).await.map(Once::Here)
    }

    /// Publishes as this version of this record. A disk that is nearly full refuses it before anything is written; room is
    /// promised to it once the person may.
    pub(super) async fn publish_as(
        &self,
        caller: &Caller,
        ask: PublishAsk,
        mut coming: Option<Coming<'_>>,
        target: Target,
        peers: Arc<dyn PeerVault>,
    ) -> Result<Published, Fault> {
        self.disk.check(Work::Content)?;
        self.memory.check(Work::Content)?;
        let bytes = weight(&ask);
        let state = self.state();
        let now = self.clock.now();
        let Patience { wait, wait_for, timeout } = ask.patience;
        let (record, version) = (target.record, target.version);
        let Drafts { drafts, proposed } = match self.drafts(&state, caller, ask, &target, now) {
            Ok(drafts) => drafts,
            Err(fault) => return Err(self.refused_before(caller, &target, fault).await?),
        };
        let labelled: Vec<_> = drafts.iter().map(|d| ((d.record, d.version), d.label.clone())).collect();
        let intents = self.intend(caller, &target, &labelled).await?;
        let mut holders = Holders::default();
        let mut pushes = JoinSet::new();
        let mut journaled = 0usize;
        let journal = async {
            self.disk.take(Work::Content, bytes)?;
            let mut commands = Vec::with_capacity(drafts.len());
            for draft in drafts {
                let part = holders.part(draft.label.audience(), &self.agency);
                // A lower part that an earlier attempt of the same request journaled is that part.
                let known = draft.request.and_then(|r| self.vault.by_request(&r));
                if known == Some((draft.record, draft.version)) {
                    if !proposed {
                        self.settle(draft.record, draft.version, timeout).await?;
                    }
                    journaled += 1;
                    continue;
                }
                let (audience, of) = (draft.label.audience(), (draft.record, draft.version));
                let random = &mut RandomOf(self);
                let Prepared { object, command } = match coming.take() {
                    // A body that comes in pieces has no portions beside it, so this is the only draft.
                    Some(coming) => self.vault.prepare_coming(|| self.state(), draft, coming, now, random).await?,
                    None => self.vault.prepare(&state, draft, now, random).await?,
                };
                journaled += 1;
                if proposed {
                    continue;
                }
                let (targets, may) = (targets(&self.state(), &audience, &self.agency), self.may_be_sent(of));
                spawn_pushes(&mut pushes, part, (&self.pushes, &peers), self.vault.sent(&object), (targets, may));
                commands.push(command);
            }
            Ok::<_, Fault>(commands)
        };
        // A body that did not come whole, or a disk that took nothing, is how the act ended, too.
        let (commands, mut failed) = match journal.await {
            Ok(commands) => (commands, None),
            Err(fault) => (Vec::new(), Some(fault)),
        };
        let (mut index, mut late) = (None, None);
        // Parts from the first on that are on the ledger, or go there by themselves.
        let mut standing = journaled.saturating_sub(commands.len());
        // The record's own part comes last: what the ledger has names nothing that it lacks.
        for command in commands {
            let fault = match self.committer.submit(command, timeout).await {
                Ok((_, CommandReply::Refused(why))) => refused(why),
                Ok((at, _)) => {
                    index = Some(at);
                    standing += 1;
                    continue;
                }
                Err(fault) => fault,
            };
            // Accepted is accepted: it is durable here, and nobody is told that it was refused of what will be published.
            match self.goes_later(&fault) {
                true => late = Some(fault.message),
                false => failed = Some(fault),
            }
            break;
        }
        let waiting = Decision::Allow { policies: vec!["proposed".into()] };
        let act_failed =
            |fault: &Fault| Decision::Deny { rule: format!("act:{}", fault.reason), kind: DenyKind::Refused };
        let denied = failed.as_ref().map(act_failed);
        let outcome = |(n, (act, decision)): (usize, &(Act<'_>, Decision))| {
            let stands = if proposed { &waiting } else { decision };
            let ended = ended(denied.as_ref(), n < standing, stands);
            self.event(caller, act, Stage::Outcome, ended)
        };
        // What it became is known, whoever holds it: the log waits neither for the holders nor they for it.
        self.note_all(intents.iter().enumerate().map(outcome).collect())?;
        if let Some(fault) = failed {
            return Err(fault);
        }
        if !proposed {
            gather(&mut holders, pushes, wait, wait_for).await;
        }
        Ok(match late {
            None if proposed => waits(record, version, &holders),
            None => published(record, version, self.committed_at(&record, version).or(index), &holders, wait),
            Some(why) => accepted(record, version, &holders, &why),
        })
    }

    /// What was refused before it had a label is an event too; answers the fault.
    async fn refused_before(&self, caller: &Caller, target: &Target, fault: Fault) -> Result<Fault, Fault> {
        if fault.kind != FaultKind::Refused {
            return Ok(fault);
        }
        let act = Act {
            action: target.action(),
            audit: AuditAction::Publish,
            object: Object::Record { id: target.record, version: target.version },
            label: None,
            purpose: target.reason(),
            origin: Some(self.agency.clone()),
            request: self.random(),
        };
        let denied = Decision::Deny { rule: format!("publish:{}", fault.reason), kind: DenyKind::Refused };
        let _denied = self.log(caller, &act, Stage::Intent, &denied).await?;
        Ok(fault)
    }

    /// Decides on every part and logs the intents; one part that is denied denies all.
    async fn intend<'a>(
        &self,
        caller: &Caller,
        target: &'a Target,
        parts: &'a [((RecordId, u32), Label)],
    ) -> Result<Vec<(Act<'a>, Decision)>, Fault> {
        let (action, purpose) = (target.action(), target.reason());
        let mut intents = Vec::with_capacity(parts.len());
        for ((id, version), label) in parts {
            let act = Act {
                action,
                audit: AuditAction::Publish,
                object: Object::Record { id: *id, version: *version },
                label: Some(label),
                purpose,
                origin: Some(self.agency.clone()),
                request: self.random(),
            };
            let resource = Resource::Record { label: label.clone(), own: true };
            let decision = self.decide(caller, action, resource, purpose, true);
            if let Some(fault) = decision.fault() {
                let _denied = self.log(caller, &act, Stage::Intent, &decision).await?;
                return Err(fault);
            }
            intents.push((act, decision));
        }
        self.log_intents(caller, &intents).await?;
        Ok(intents)
    }

    /// The same request again: the first answer, as far as it is known now. Who does not hold it yet is asked once more.
    pub(super) async fn answer_again(
        &self,
        record: RecordId,
        version: u32,
        patience: &Patience,
        peers: &Arc<dyn PeerVault>,
    ) -> Result<Published, Fault> {
        self.check_kept(&record, version)?;
        let parts = self.vault.goes_to_ledger(&self.state(), &record, version)?;
        let (mut holders, mut pushes, mut index) = (Holders::default(), JoinSet::new(), 0);
        for (part, of) in &parts {
            let state = self.state();
            let (audience, object) = self.vault.outgoing(&state, part, *of)?.ok_or_else(|| gone(part))?;
            let number = holders.part(audience.clone(), &self.agency);
            let targets = targets(&state, &audience, &self.agency);
            let may = self.may_be_sent((*part, *of));
            spawn_pushes(&mut pushes, number, (&self.pushes, peers), object, (targets, may));
        }
        for (part, of) in parts {
            index = match self.settle(part, of, patience.timeout).await {
                Ok(index) => index,
                // Still accepted, and still on its way.
                Err(fault) if self.goes_later(&fault) => {
                    gather(&mut holders, pushes, patience.wait, Duration::ZERO).await;
                    return Ok(accepted(record, version, &holders, &fault.message));
                }
                Err(fault) => return Err(fault),
            };
        }
        gather(&mut holders, pushes, patience.wait, patience.wait_for).await;
        Ok(published(record, version, Some(index), &holders, patience.wait))
    }

    /// The same request again while a classifier has not decided.
    pub(super) fn proposed_answer(&self, record: RecordId, version: u32) -> Result<Published, Fault> {
        let found = self.vault.proposed(&self.state(), &record)?.ok_or_else(|| gone(&record))?;
        let mut holders = Holders::default();
        for class in &found.classes {
            holders.part(class.label.audience(), &self.agency);
        }
        Ok(waits(record, version, &holders))
    }

    /// Whether a version may be sent to an agency, whenever that is asked.
    fn may_be_sent(&self, of: (RecordId, u32)) -> MayBeSent {
        let (cluster, vault) = (Arc::clone(&self.cluster), Arc::clone(&self.vault));
        Arc::new(move |to: &AgencyId| vault.may_be_sent(&cluster.state(), to, (&of.0, of.1)))
    }

    /// The records that the lower portions of what was just published became, highest first. The publish stands whatever
    /// this look finds: damage is the doctor's matter.
    pub fn portions_of(&self, published: &Published) -> Vec<(RecordId, u32, Grade)> {
        let found = self.vault.lower_grades(&self.state(), &published.record, published.version);
        found
            .inspect_err(|error| tracing::error!(record = %published.record, %error, "its portions cannot be named"))
            .unwrap_or_default()
    }

    pub(super) fn request_key(&self, caller: &Caller, id: &[u8; 16]) -> [u8; 32] {
        digest("hufu.publish-request", &[caller.person().name.as_bytes(), id])
    }
}

type Pushed = (usize, AgencyId, Result<PushState, String>);
type MayBeSent = Arc<dyn Fn(&AgencyId) -> bool + Send + Sync>;

/// Collects the answers of holders until enough, or the deadline. Pushes that are left go on by themselves.
async fn gather(holders: &mut Holders, mut pushes: JoinSet<Pushed>, wait: Wait, wait_for: Duration) {
    let deadline = tokio::time::Instant::now() + wait_for;
    while !holders.enough(wait) {
        match tokio::time::timeout_at(deadline, pushes.join_next()).await {
            Ok(Some(pushed)) => note(holders, pushed),
            Ok(None) | Err(_) => break,
        }
    }
    while let Some(pushed) = pushes.try_join_next() {
        note(holders, pushed);
    }
    pushes.detach_all();
}

fn note(holders: &mut Holders, pushed: Result<Pushed, JoinError>) {
    match pushed {
        Ok((part, agency, Ok(PushState::Held))) => holders.note(part, agency),
        Ok((_, agency, outcome)) => tracing::warn!(%agency, ?outcome, "a push was not held"),
        Err(error) => tracing::error!(%error, "a push ended without an answer"),
    }
}

fn targets(state: &State, owed: &BTreeSet<AgencyId>, own: &AgencyId) -> Vec<(AgencyId, NodeId)> {
    state
        .nodes()
        .filter(|(_, n)| n.agency != *own && is_owed(owed, &n.agency))
        .map(|(id, n)| (n.agency.clone(), *id))
        .collect()
}

fn is_owed(owed: &BTreeSet<AgencyId>, agency: &AgencyId) -> bool {
    #[cfg(test)]
    if is_planted(Planted::PushToAnybody) {
        return true;
    }
    owed.contains(agency)
}

/// Pushes go on after the answer: they are tasks of their own, and what fails or has no room is pulled later. Whether its agency
/// may have it is asked once more where its turn has come.
fn spawn_pushes(
    pushes: &mut JoinSet<Pushed>,
    part: usize,
    (room, peers): (&Pushes, &Arc<dyn PeerVault>),
    object: Outgoing,
    (targets, may): (Vec<(AgencyId, NodeId)>, MayBeSent),
) {
    let bytes = object.bytes_in_memory();
    let object = Arc::new(object);
    for (agency, node) in targets {
        let Some(push) = room.begin(node, bytes) else { continue };
        let (peers, object, may) = (Arc::clone(peers), Arc::clone(&object), Arc::clone(&may));
        pushes.spawn(async move {
            let _turn = match &object.content {
                None => push.turn().await,
                Some(_) => push.turn_of_large().await,
            };
            let outcome = match may(&agency) {
                true => peers.push(node, &object).await,
                false => Err("its agency may not have it any more".to_owned()),
            };
            (part, agency, outcome)
        });
    }
}

/// What the audit log says of how a part ended: one that stands did not fail with those behind it.
fn ended<'a>(failed: Option<&'a Decision>, stands: bool, decision: &'a Decision) -> &'a Decision {
    failed.filter(|_| !stands).unwrap_or(decision)
}

/// About what a publish writes here: its texts, sealed, with keys, index entry and the command for the ledger.
fn weight(ask: &PublishAsk) -> u64 {
    let texts = ask.portions.iter().map(|p| p.text.len()).fold(ask.body.len(), usize::saturating_add);
    let texts = texts.saturating_add(ask.coming);
    let with_keys = texts.saturating_add(PARTS_BYTES);
    u64::try_from(with_keys.saturating_mul(2)).unwrap_or(u64::MAX)
}

fn published(record: RecordId, version: u32, index: Option<u64>, holders: &Holders, wait: Wait) -> Published {
    let (held_by, owed) = (holders.held_by(), holders.owed());
    let (warning, incomplete) = (holders.warning(wait, index.unwrap_or_default()), !holders.enough(wait));
    Published { record, version, index, held_by, owed, warning, incomplete, proposed: false }
}

/// Durable here and sealed; a classifier decides.
fn waits(record: RecordId, version: u32, holders: &Holders) -> Published {
    let warning = "no marking guide covers it: it waits for a classifier to approve it, and nobody else sees it".into();
    let (held_by, owed) = (holders.held_by(), holders.owed());
    Published { record, version, index: None, held_by, owed, warning: Some(warning), incomplete: false, proposed: true }
}

/// Durable here, and not on the ledger at the deadline: nobody sees it yet.
fn accepted(record: RecordId, version: u32, holders: &Holders, why: &str) -> Published {
    let warning =
        format!("accepted here and not committed yet ({why}); it goes on the ledger by itself, do not repeat it");
    let (held_by, owed) = (holders.held_by(), holders.owed());
    Published { record, version, index: None, held_by, owed, warning: Some(warning), incomplete: true, proposed: false }
}

pub(super) fn gone(record: &RecordId) -> Fault {
    Fault::integrity("NOT_OPENABLE", format!("`{record}` was accepted here and is not here"))
}

/// The node's randomness behind its lock.
pub(super) struct RandomOf<'a>(pub(super) &'a Core);

impl crate::domain::time::Entropy for RandomOf<'_> {
    fn fill(&mut self, out: &mut [u8]) {
        self.0.entropy.lock().unwrap_or_else(std::sync::PoisonError::into_inner).fill(out);
    }
}

#[cfg(test)]
#[path = "publish_tests.rs"]
mod tests;
