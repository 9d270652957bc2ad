//! Importing foreign material: the same source again is unchanged, an edited one is a new version of the same
//! record, whoever of the agency imports it and from wherever.

use super::amend::record_turn;
use super::coming::Passing;
use super::core::Core;
use super::door::{Act, Caller};
use super::publish::{PublishAsk, Published, Target};
use crate::audit::{Action as AuditAction, Object, Stage};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::RecordId;
use crate::domain::label::Label;
use crate::ledger::State;
use crate::policy::{Action, Resource};
use crate::seal::{digest, hmac};
use crate::vault::{Card, Coming, PeerVault, Pieces};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Longest identity of a source, in bytes.
const SOURCE_BYTES: usize = 1024;

/// A digest of what is at a source.
const CONTENT_BYTES: usize = 32;

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Imported {
    /// A new record.
    New,
    /// A new version of a known record.
    Updated,
    /// Nothing: it is known as it is.
    Unchanged,
}

impl Imported {
    /// The word in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Imported::New => "imported",
            Imported::Updated => "updated",
            Imported::Unchanged => "unchanged",
        }
    }
}

/// Requests being worked on at this moment; the same twice at once would make two records of one.
#[derive(Default)]
pub struct InProgress(Mutex<BTreeSet<[u8; 32]>>);

/// Ends the work when dropped.
pub(super) struct Turn<'a>(&'a InProgress, [u8; 32]);

impl InProgress {
    pub(super) fn begin(&self, request: [u8; 32]) -> Result<Turn<'_>, Fault> {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(request) {
            return Ok(Turn(self, request));
        }
        Err(busy())
    }
}

/// What a source is known by, whoever imports it.
fn source_request(source: &str) -> [u8; 32] {
    digest("hufu.import-source", &[source.as_bytes()])
}

fn busy() -> Fault {
    Fault::conflict("IN_PROGRESS", "the same is being worked on at this moment").hint("ask again")
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

/// Nothing of a source is told to this person.
fn not_told() -> Fault {
    Fault::refused("NOT_ALLOWED", "you may not import this source")
}

/// An import that is not on the ledger yet is asked again: the source names it, so that makes no second one.
fn on_ledger(p: Published) -> Result<Published, Fault> {
    if p.index.is_some() {
        return Ok(p);
    }
    let hint = "`hufu cluster status` shows who is reachable; asking again is safe";
    Err(Fault::unavailable("NO_LEADER", p.warning.unwrap_or_default()).hint(hint))
}

impl Core {
    /// Begins with a request. An earlier call of it may be gone and its object wait for the disk still: that is not known by the
    /// request yet, and is being worked on all the same.
    pub(super) fn begin(&self, request: [u8; 32]) -> Result<Turn<'_>, Fault> {
        let turn = self.in_progress.begin(request)?;
        if self.vault.is_under_way(&request) { Err(busy()) } else { Ok(turn) }
    }

    /// Imports one source. `source` names format and path (or foreign id) within this agency. `content` is a digest of what
    /// is there, by which the same again is known; empty means title and body. It is the importer's word, as those are. Of a
    /// source that this node does not know it is asked, while the same source waits here, whether another node of the agency
    /// imported it: `known` answers which.
    ///
    /// # Errors
    /// As [`Core::publish`], and a conflict where another node knows it.
    pub async fn import(
        &self,
        caller: &Caller,
        (source, content): (&str, &[u8]),
        ask: PublishAsk,
        peers: Arc<dyn PeerVault>,
        known: impl Future<Output = Result<Option<String>, Fault>>,
    ) -> Result<(Imported, Published), Fault> {
        self.import_once(caller, (source, content), ask, None, peers, known).await
    }

    /// Whether a source was imported here, for somebody who imports it at another node.
    ///
    /// # Errors
    /// A conflict while it is being worked on; refused to whom it is not told.
    pub async fn was_imported(&self, caller: &Caller, source: &str) -> Result<bool, Fault> {
        let request = source_request(source);
        let _turn = self.begin(request)?;
        let Some((record, version)) = self.vault.by_request(&request) else { return Ok(false) };
        let state = self.state();
        let standing = self.find(&state, &record, state.standing_for(&record, version));
        // Of what does not read it is not known whom it may be told to.
        let label = self.known_label(&state, standing.as_ref(), (record, version)).ok_or_else(not_told)?;
        self.may_know(caller, &label, record, version).await?;
        Ok(true)
    }

    /// The same with a body that comes in pieces, as with [`Core::publish_coming`]; none is read of what is known as it is. The
    /// digest of what is at the source is stated, for it is asked for before the body is there.
    ///
    /// # Errors
    /// As [`Core::import`], and what is wrong with the body.
    pub async fn import_coming(
        &self,
        caller: &Caller,
        (source, content): (&str, &[u8]),
        ask: PublishAsk,
        pieces: &mut dyn Pieces,
        peers: Arc<dyn PeerVault>,
        known: impl Future<Output = Result<Option<String>, Fault>>,
    ) -> Result<(Imported, Published), Fault> {
        if content.is_empty() {
            return Err(Fault::usage("INVALID", "an import in pieces states the digest of its content"));
        }
        let bytes = ask.coming;
        let mut passing = Passing::new(pieces, bytes);
        let coming = Coming { bytes, pieces: &mut passing };
        let done = self.import_once(caller, (source, content), ask, Some(coming), peers, known).await;
        done.map_err(|fault| passing.wrong().unwrap_or(fault))
    }

    async fn import_once(
        &self,
        caller: &Caller,
        (source, content): (&str, &[u8]),
        ask: PublishAsk,
        coming: Option<Coming<'_>>,
        peers: Arc<dyn PeerVault>,
        known: impl Future<Output = Result<Option<String>, Fault>>,
    ) -> Result<(Imported, Published), Fault> {
        if source.is_empty() || source.len() > SOURCE_BYTES {
            return Err(Fault::usage("BAD_SOURCE", format!("a source has 1 to {SOURCE_BYTES} bytes")));
        }
        if !content.is_empty() && content.len() != CONTENT_BYTES {
            return Err(Fault::usage("INVALID", format!("a digest of the content has {CONTENT_BYTES} bytes")));
        }
        let request = source_request(source);
        // Keyed, so that nobody who copies the disk can test what was imported.
        let content = match content {
            [] => hmac(&self.pseudonym_key, "hufu.import-content", &[ask.title.as_bytes(), &ask.body]),
            stated => hmac(&self.pseudonym_key, "hufu.import-content-stated", &[stated]),
        };
        if !ask.portions.is_empty() {
            return Err(Fault::usage("INVALID", "an import has no portions"));
        }
        let _turn = self.begin(request)?;
        let now = self.clock.now();
        let Some((record, version)) = self.vault.by_request(&request) else {
            let record = self.new_record();
            let target = Target { record, version: 1, request, content: Some(content), amends: None };
            let said = match known.await {
                Ok(None) => {
                    let done = self.publish_as(caller, ask, coming, target, peers).await?;
                    return Ok((Imported::New, on_ledger(done)?));
                }
                Ok(Some(node)) => Fault::conflict("EXISTS", format!("node `{node}` of your agency imported it before"))
                    .hint("import it at that node: it knows what is new"),
                Err(fault) => fault,
            };
            // Whatever another node says of it is told only to those who may import it.
            let label = self.draft(&self.state(), caller, ask, &target, now)?.label;
            self.may_import(caller, &label, record, 1).await?;
            return Err(said);
        };
        let state = self.state();
        let version_after = version.saturating_add(1);
        let target = Target { record, version: version_after, request, content: Some(content), amends: None };
        let (label, timeout) = (self.draft(&state, caller, ask.clone(), &target, now)?.label, ask.patience.timeout);
        self.may_import(caller, &label, record, version).await?;
        // What was amended since so long ago that it folded is looked at as it stands now.
        let standing = self.find(&state, &record, state.standing_for(&record, version));
        let known = self.known_label(&state, standing.as_ref(), (record, version));
        if let Some(known) = known.filter(|known| known.class_id() != label.class_id()) {
            self.may_know(caller, &known, record, version).await?;
        }
        let _record_turn = self.in_progress.begin(record_turn(&record))?;
        // A crash may have left the last version journaled and not committed.
        let standing = standing.map_or(version, |card| card.version);
        let index = self.settle(record, standing, timeout).await?;
        let held = self.vault.held(&self.state(), &record, standing, now)?;
        let held = held.ok_or_else(|| Fault::integrity("NOT_OPENABLE", "it was imported before and is not here"))?;
        // The class leaves the period out: it runs from the new issue date.
        if held.label.class_id() != label.class_id() {
            return Err(Fault::refused("RELABEL_NEEDED", "it was imported before with another label")
                .hint("import it with the same grade, compartments and agreement; relabelling takes two persons"));
        }
        if self.vault.content(&record, version) == Some(content) {
            let owed = held.label.audience();
            let held_by = [self.agency.clone()].into();
            let index = Some(index);
            let same =
                Published { record, version, index, held_by, owed, warning: None, incomplete: false, proposed: false };
            return Ok((Imported::Unchanged, same));
        }
        // The text of the source would silently take the place of what somebody wrote since.
        if self.vault.newest_version(&record).is_some_and(|newest| newest > version) {
            return Err(Fault::conflict("VERSION_CONFLICT", "it was amended since it was imported")
                .hint("bring the change in with `hufu record amend`"));
        }
        Ok((Imported::Updated, on_ledger(self.publish_as(caller, ask, coming, target, peers).await?)?))
    }

    /// The label that a source is known under: as its record stands, or as it was accepted here while the ledger does not have it.
    fn known_label(&self, state: &State, standing: Option<&Card>, of: (RecordId, u32)) -> Option<Label> {
        let accepted = || {
            self.vault.label_of(state, &of.0, of.1).unwrap_or_else(|error| {
                tracing::error!(record = %of.0, %error, "what was imported here does not verify");
                None
            })
        };
        standing.map(|card| card.facts.label.clone()).or_else(accepted)
    }

    /// Whether a source is known under a label is told only to those who may publish under that one too.
    async fn may_know(&self, caller: &Caller, known: &Label, record: RecordId, version: u32) -> Result<(), Fault> {
        // That the audit log takes nothing is no word on the person.
        let is_word = |fault: &Fault| matches!(fault.kind, FaultKind::Refused | FaultKind::NotFound);
        let denied = |fault: Fault| if is_word(&fault) { not_told() } else { fault };
        self.may_import(caller, known, record, version).await.map_err(denied)
    }

    /// Whether a source is known is told only to those who may publish it.
    async fn may_import(&self, caller: &Caller, label: &Label, record: RecordId, version: u32) -> Result<(), Fault> {
        let act = Act {
            action: Action::RecordImport,
            audit: AuditAction::Import,
            object: Object::Record { id: record, version },
            label: Some(label),
            purpose: "",
            origin: Some(self.agency.clone()),
            request: self.random(),
        };
        let decision = self.decide(caller, act.action, Resource::Record { label: label.clone(), own: true }, "", true);
        let _logged = self.log(caller, &act, Stage::Single, &decision).await?;
        decision.fault().map_or(Ok(()), Err)
    }
}
