//! What a decision about a held version needs, kept in memory: label and agreement, no text.
//!
//! A decision looks at cards alone, so that a held record that somebody may not see costs what an absent one
//! costs (P21): one look into a map. A card is made when an object is taken in, or once after a start.

use super::error::VaultError;
use super::holder::Vault;
use super::intake::Entry;
use super::object::SealedObject;
use super::rules;
use crate::domain::canon::{Canon, Writer};
use crate::domain::ids::{AgencyId, AgreementId, RecordId};
use crate::domain::label::{Grade, Label};
use crate::domain::time::Millis;
use crate::ledger::{State, VersionEntry};
use crate::seal::GrantBody;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

/// What one grant says of who may read. Records under the same label and agreement share it.
#[derive(Debug)]
pub struct Facts {
    /// The label.
    pub label: Label,
    /// Agreement and version.
    pub agreement: Option<(AgreementId, u32)>,
    /// Envelopes of the record's lower classes, highest first (P10).
    pub lower: Vec<(RecordId, u32)>,
}

impl Facts {
    /// Whether `agency` may read under the agreement as it is now: the originator's own people need none.
    pub fn covered(&self, state: &State, agency: &AgencyId, now: Millis) -> bool {
        is_covered(&self.label, self.agreement.as_ref().map(|(id, _)| id), state, (agency, now))
    }

    /// Whether an agreement covered it at its commitment. What is the own agency's needs none to be its own: a publish
    /// that was accepted before the end and committed after it goes to nobody, and is not lost.
    pub(super) fn check_agreement(
        &self,
        state: &State,
        own: &AgencyId,
        committed: &VersionEntry,
    ) -> Result<(), VaultError> {
        if self.label.originator == *own {
            return Ok(());
        }
        let at = rules::At { index: committed.index, time: committed.time };
        rules::check_agreement(state, &self.label, self.agreement.as_ref(), at)
    }
}

/// Whether an agency may read what has this label, under the agreement as it is now.
pub fn is_covered(
    label: &Label,
    agreement: Option<&AgreementId>,
    state: &State,
    (agency, now): (&AgencyId, Millis),
) -> bool {
    if label.originator == *agency {
        return true;
    }
    agreement.and_then(|id| state.agreement_now(id, now)).map(|a| &a.terms).is_some_and(|t| {
        t.parties.contains(agency) && label.grade <= t.grade && label.compartments.is_subset(&t.compartments)
    })
}

/// A committed version that is held.
#[derive(Debug, Clone)]
pub struct Card {
    /// Record.
    pub record: RecordId,
    /// Version.
    pub version: u32,
    /// Label and agreement.
    pub facts: Arc<Facts>,
}

/// Facts by the commitment of the grant that states them.
#[derive(Default)]
pub(super) struct Cards {
    by_grant: RwLock<BTreeMap<[u8; 32], Arc<Facts>>>,
    shared: RwLock<BTreeMap<Vec<u8>, Arc<Facts>>>,
}

impl Cards {
    fn of(&self, grant: &[u8; 32]) -> Option<Arc<Facts>> {
        self.by_grant.read().unwrap_or_else(PoisonError::into_inner).get(grant).cloned()
    }

    pub(super) fn note(&self, grant: [u8; 32], body: &GrantBody) -> Arc<Facts> {
        let mut w = Writer::bare();
        body.label.write(&mut w);
        w.option(body.agreement.as_ref(), |w, (id, version)| {
            w.value(id).u32(*version);
        });
        w.list(body.lower.iter(), |w, (id, version)| {
            w.value(id).u32(*version);
        });
        let mut shared = self.shared.write().unwrap_or_else(PoisonError::into_inner);
        let facts = shared.entry(w.finish()).or_insert_with(|| {
            let (label, agreement) = (body.label.clone(), body.agreement.clone());
            Arc::new(Facts { label, agreement, lower: body.lower.clone() })
        });
        let facts = Arc::clone(facts);
        self.by_grant.write().unwrap_or_else(PoisonError::into_inner).insert(grant, Arc::clone(&facts));
        facts
    }
}

impl Vault {
    /// The labels of what this node has looked at: what an event says of a label is a digest, and these are its words.
    pub fn labels(&self) -> Vec<Label> {
        let shared = self.cards.shared.read().unwrap_or_else(PoisonError::into_inner);
        shared.values().map(|facts| facts.label.clone()).collect()
    }

    /// The card of a version, or of the newest that is held if `version` is 0.
    ///
    /// # Errors
    /// When the object had to be read and does not verify, or no agreement covered it at its commitment; then it is
    /// taken out of use.
    pub fn card(&self, state: &State, record: &RecordId, version: u32) -> Result<Option<Card>, VaultError> {
        let Some((committed, entry)) = self.newest(state, record, version) else { return Ok(None) };
        let facts = match self.cards.of(&entry.grant) {
            Some(facts) => Ok(facts),
            None => self.read_facts(state, &entry.grant, &self.load(state, &committed, record, &entry)?),
        };
        // What arrived before its commitment could not be held against it then.
        let facts = facts.and_then(|f| f.check_agreement(state, self.keys.agency(), &committed).map(|()| f));
        let facts = facts.inspect_err(|e| self.refuse_entry(state, record, &committed, &entry, e))?;
        Ok(Some(Card { record: *record, version: committed.version, facts }))
    }

    /// The label of a version that is here, committed or not.
    ///
    /// # Errors
    /// When the object had to be read and does not verify.
    pub fn label_of(&self, state: &State, record: &RecordId, version: u32) -> Result<Option<Label>, VaultError> {
        let Some(entry) = self.intake.first(record, version) else { return Ok(None) };
        Ok(Some(self.facts(state, &entry)?.label.clone()))
    }

    /// Lower envelopes of a version that is here, with the grade of each, committed or not.
    pub fn lower_grades(
        &self,
        state: &State,
        record: &RecordId,
        version: u32,
    ) -> Result<Vec<(RecordId, u32, Grade)>, VaultError> {
        let mut lower = Vec::new();
        for (id, of) in self.lower(state, record, version)? {
            let Some(entry) = self.intake.first(&id, of) else { continue };
            lower.push((id, of, self.facts(state, &entry)?.label.grade));
        }
        Ok(lower)
    }

    /// Lower envelopes of a version that is here, committed or not.
    pub fn lower(&self, state: &State, record: &RecordId, version: u32) -> Result<Vec<(RecordId, u32)>, VaultError> {
        let entry = self.intake.first(record, version);
        let Some(entry) = entry else { return Ok(Vec::new()) };
        Ok(self.facts(state, &entry)?.lower.clone())
    }

    /// What is on the ledger of a version that is here, or is to get there, in its order: the lower envelopes, and itself. One
    /// that was amended by itself so long ago that it folded was there, and is sent to nobody any more.
    pub fn goes_to_ledger(
        &self,
        state: &State,
        record: &RecordId,
        version: u32,
    ) -> Result<Vec<(RecordId, u32)>, VaultError> {
        let mut parts = self.lower(state, record, version)?;
        parts.retain(|(id, of)| !state.is_folded(id, *of));
        parts.push((*record, version));
        Ok(parts)
    }

    /// What the grant of an object here says, committed or not.
    pub(super) fn facts(&self, state: &State, entry: &Entry) -> Result<Arc<Facts>, VaultError> {
        match self.cards.of(&entry.grant) {
            Some(facts) => Ok(facts),
            None => self.read_facts(state, &entry.grant, &self.intake.load(entry)?),
        }
    }

    fn read_facts(&self, state: &State, grant: &[u8; 32], object: &SealedObject) -> Result<Arc<Facts>, VaultError> {
        let opened = rules::open(&self.keys, state, object)?;
        Ok(self.cards.note(*grant, &opened.body))
    }

    /// Whether a version of a record was taken in that the ledger does not carry yet: a push may arrive before its
    /// commitment is applied here, beside an earlier version that [`Vault::card`] answers meanwhile.
    pub fn awaits_commitment(&self, state: &State, record: &RecordId) -> bool {
        let committed = state.record(record).and_then(|v| v.last()).map_or(0, |v| v.version);
        let awaits = |v: u32| v > committed && self.may_go(record, v);
        self.intake.newest_version(record).is_some_and(awaits)
    }

    /// Records taken in since a cursor of this start (0 at first), and the next cursor.
    pub fn arrived_since(&self, cursor: usize) -> (Vec<RecordId>, usize) {
        self.intake.arrived_since(cursor)
    }

    /// Every record of which a committed version is held.
    pub fn records(&self) -> BTreeSet<RecordId> {
        self.intake.all().into_iter().map(|(record, _)| record).collect()
    }
}
