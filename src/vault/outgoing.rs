//! Objects on their way out: to nodes that are entitled to them, and as sealed copies.

use super::error::VaultError;
use super::holder::{Held, Vault};
use super::large::Content;
use super::object::SealedObject;
use super::receive::Turn;
use super::sync::{Parts, committed};
use crate::domain::ids::{AgencyId, RecordId};
use crate::domain::label::Label;
use crate::domain::limits;
use crate::ledger::State;
use crate::seal::pull_check;
use std::collections::BTreeSet;
use std::sync::PoisonError;

/// A sealed object to be sent.
#[derive(Clone)]
pub struct Outgoing {
    /// The three parts.
    pub parts: Parts,
    /// Its content, when it is not in the envelope.
    pub content: Option<Content>,
    head: Vec<u8>,
}

impl Outgoing {
    /// About what it takes in memory while it is sent: content that lies apart is read piece by piece.
    pub fn bytes_in_memory(&self) -> usize {
        let (envelope, grant, audience) = &self.parts;
        let piece = if self.content.is_some() { limits::PIECE_BYTES } else { 0 };
        [envelope.len(), grant.len(), audience.len(), self.head.len(), piece].into_iter().fold(0, usize::saturating_add)
    }

    /// What stands before content that is sent in pieces; empty when the content is in the envelope.
    pub fn head(&self) -> &[u8] {
        &self.head
    }
}

#[cfg(test)]
impl Outgoing {
    /// An object of nothing, for tests of what sends it.
    pub(crate) fn empty() -> Outgoing {
        Outgoing { parts: Parts::default(), content: None, head: Vec::new() }
    }
}

impl Vault {
    /// What is to be sent of an object that was taken in here.
    pub fn sent(&self, object: &SealedObject) -> Outgoing {
        let header = object.envelope.header();
        let entries = self.intake.entries(&header.id, header.version);
        let entry = entries.iter().find(|e| e.header_hash == object.envelope.hash());
        let content = entry.and_then(|e| self.intake.content(e));
        let head = if content.is_some() { object.to_blob() } else { Vec::new() };
        Outgoing { parts: object.parts(), content, head }
    }

    /// Audience and parts of an own version that may go to the ledger, whether it has got there or not: those who may hold it now.
    ///
    /// # Errors
    /// When its object does not verify.
    pub fn outgoing(
        &self,
        state: &State,
        record: &RecordId,
        version: u32,
    ) -> Result<Option<(BTreeSet<AgencyId>, Outgoing)>, VaultError> {
        let entry = self.intake.entries(record, version).into_iter().next();
        let Some(entry) = entry.filter(|_| self.may_go(record, version)) else { return Ok(None) };
        let object = self.intake.load(&entry)?;
        let facts = self.facts(state, &entry)?;
        let mut audience = facts.label.audience();
        audience.retain(|a| may_hold(state, a, &facts.label));
        Ok(Some((audience, self.sent(&object))))
    }

    /// Whether an own version may be sent to an agency, by the ledger's word of now.
    pub fn may_be_sent(&self, state: &State, to: &AgencyId, (record, version): (&RecordId, u32)) -> bool {
        let entry = self.intake.entries(record, version).into_iter().next();
        let facts = entry.and_then(|e| self.facts(state, &e).ok());
        facts.is_some_and(|f| state.stands(to) && may_hold(state, to, &f.label))
    }

    /// The three parts of what is held with its content in them, as a sealed copy has them.
    ///
    /// # Errors
    /// [`VaultError::Whole`] when it is too large for one piece; damage.
    pub fn copy(&self, held: &Held) -> Result<Parts, VaultError> {
        let Some(content) = &held.content else { return Ok(held.parts()) };
        let envelope = &held.object.envelope;
        if envelope.ciphertext_bytes() > crate::seal::ENVELOPE_BYTES {
            return Err(VaultError::Whole);
        }
        let read = || {
            let mut reader = content.reader()?;
            envelope.header().ciphertext_sizes().map(|bytes| reader.read(bytes)).collect::<Result<Vec<_>, _>>()
        };
        let ciphertexts = read().inspect_err(|e| self.spoilt((held.record(), held.version()), content, e))?;
        let (_, grant, audience) = held.parts();
        Ok((envelope.with_ciphertexts(ciphertexts)?.to_bytes(), grant, audience))
    }

    /// The same of any size: with what is too large for one piece come its ciphertexts as they lie.
    ///
    /// # Errors
    /// Damage.
    pub fn copy_in_pieces(&self, held: &Held) -> Result<(Parts, Option<Content>), VaultError> {
        match self.copy(held) {
            Err(VaultError::Whole) => Ok((held.parts(), held.content.clone())),
            copied => Ok((copied?, None)),
        }
    }

    /// The content of a committed object that [`Vault::serve`] answered, to whoever it would answer again.
    ///
    /// # Errors
    /// When the card cannot be made; to the puller that is as if it were not there.
    pub fn serve_content(
        &self,
        state: &State,
        puller: &AgencyId,
        (token, header_hash): (&[u8; 32], &[u8; 32]),
        leaves: impl Fn(&Label) -> bool,
    ) -> Result<Option<(RecordId, u32, Content)>, VaultError> {
        for (record, version) in self.named(state, puller, token, leaves) {
            let entry = committed(state, &record, version).and_then(|c| self.entry(c, &record));
            let content = entry.filter(|e| e.header_hash == *header_hash).and_then(|e| self.intake.content(&e));
            if let Some(content) = content {
                return Ok(Some((record, version, content)));
            }
        }
        Ok(None)
    }

    /// The versions that a token names, are committed, name the puller's agency, which may hold them, and leave this node.
    pub(super) fn named(
        &self,
        state: &State,
        puller: &AgencyId,
        token: &[u8; 32],
        leaves: impl Fn(&Label) -> bool,
    ) -> Vec<(RecordId, u32)> {
        let entitled = |(record, version): (RecordId, u32)| {
            let card = self.card(state, &record, version).ok().flatten()?;
            let label = &card.facts.label;
            let entitled = label.audience().contains(puller) && may_hold(state, puller, label);
            (entitled && leaves(label)).then_some((record, version))
        };
        let within = self.named_within(state, puller, token);
        self.intake.by_check(&pull_check(token)).into_iter().chain(within).filter_map(entitled).collect()
    }

    /// A turn to take in content that a node of an agency sends.
    pub fn receiving(&self, agency: &AgencyId) -> Option<Turn> {
        self.receiving.begin(agency)
    }

    /// A turn to send content to a node of an agency that asks for it.
    pub fn serving(&self, agency: &AgencyId) -> Option<Turn> {
        self.serving.begin(agency)
    }

    /// Reading a content failed. If its bytes are damaged or gone, the copy is taken out of use, and the next scan wants it
    /// again from whoever else holds it.
    pub fn spoilt(&self, key: (RecordId, u32), content: &Content, error: &VaultError) {
        if !error.is_damage() {
            return;
        }
        let entries = self.intake.entries(&key.0, key.1);
        let Some(entry) = entries.iter().find(|e| e.apart == Some(content.apart())) else { return };
        if self.intake.set_aside(key, entry) {
            let (record, version) = key;
            tracing::error!(%record, version, %error, "a held content is damaged; it is fetched again");
            self.sync.lock().unwrap_or_else(PoisonError::into_inner).spoilt.push(key);
        }
    }
}

/// Whether an agency's systems may hold what has this label, by the ledger's word of now.
fn may_hold(state: &State, agency: &AgencyId, label: &Label) -> bool {
    state.agency(agency).is_some_and(|a| a.may_hold(label.grade, &label.compartments))
}
