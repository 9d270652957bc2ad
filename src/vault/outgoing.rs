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
use crate::wire::Bytes;
use std::collections::BTreeSet;
use std::sync::PoisonError;

/// The state by which a receiver asks for the bytes of an audience object that was named to it.
pub const AUDIENCE_WANTED: &str = "audience-wanted";
/// Names that are remembered of one node: audiences of some days.
const ACKNOWLEDGED: usize = 256;

/// The three parts of an object as they are sent, made once for all its receivers; clones are the same bytes.
#[derive(Clone)]
#[cfg_attr(test, derive(Default))]
pub struct Encoded {
    /// Content.
    pub envelope: Bytes,
    /// Entitlement.
    pub grant: Bytes,
    /// The key of the audience, sealed to each agency.
    pub audience: Bytes,
    /// The digest of its bytes, which may be sent in their place.
    pub audience_name: [u8; 32],
}

impl Encoded {
    fn of(object: &SealedObject) -> Encoded {
        Encoded {
            envelope: object.envelope.to_bytes().into(),
            grant: object.grant.to_bytes().into(),
            audience: object.audience.bytes().clone(),
            audience_name: *object.audience.name(),
        }
    }

    /// Bytes of all three.
    pub fn bytes(&self) -> usize {
        self.envelope.len().saturating_add(self.grant.len()).saturating_add(self.audience.len())
    }
}

/// Names of audience objects that one node has held with an object since this node's start. A guess by which bytes are spared:
/// whoever has forgotten one asks for it again.
#[derive(Debug, Default)]
pub struct Acknowledged(BTreeSet<[u8; 32]>);

impl Acknowledged {
    /// Whether it may be named to that node.
    pub fn has(&self, name: &[u8; 32]) -> bool {
        self.0.contains(name)
    }

    /// An object with it is held there. When there is no room, all others are forgotten, which go with their bytes once more.
    pub fn note(&mut self, name: [u8; 32]) {
        if self.0.len() >= ACKNOWLEDGED && !self.0.contains(&name) {
            self.0.clear();
        }
        self.0.insert(name);
    }

    /// That node wants it.
    pub fn forget(&mut self, name: &[u8; 32]) {
        self.0.remove(name);
    }
}

/// A sealed object to be sent.
#[derive(Clone)]
pub struct Outgoing {
    /// The three parts.
    pub parts: Encoded,
    /// Its content, when it is not in the envelope.
    pub content: Option<Content>,
    head: Vec<u8>,
}

impl Outgoing {
    /// About what it takes in memory while it is sent: content that lies apart is read piece by piece.
    pub fn bytes_in_memory(&self) -> usize {
        let piece = if self.content.is_some() { limits::PIECE_BYTES } else { 0 };
        self.parts.bytes().saturating_add(self.head.len()).saturating_add(piece)
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
        Outgoing { parts: Encoded::default(), content: None, head: Vec::new() }
    }

    /// The same of one whose content lies apart.
    pub(crate) fn empty_apart() -> Outgoing {
        let disk = std::sync::Arc::new(crate::journal::FaultDisk::default());
        let content = Content::at(disk, super::large::Apart { file: 0, bytes: 0, slot: 0 });
        Outgoing { content: Some(content), ..Outgoing::empty() }
    }
}

impl Vault {
    /// What is to be sent of an object that was taken in here.
    pub fn sent(&self, object: &SealedObject) -> Outgoing {
        let (header, hash) = (object.envelope.header(), object.envelope.hash());
        let entry = self.intake.find(&header.id, header.version, |e| e.header_hash == hash);
        let content = entry.and_then(|e| self.intake.content(&e));
        let head = if content.is_some() { object.to_blob() } else { Vec::new() };
        Outgoing { parts: Encoded::of(object), content, head }
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
        let entry = self.intake.first(record, version);
        let Some(entry) = entry.filter(|_| self.may_go(record, version)) else { return Ok(None) };
        let object = self.intake.load(&entry)?;
        let facts = self.facts(state, &entry)?;
        let mut audience = facts.label.audience();
        audience.retain(|a| may_hold(state, a, &facts.label));
        Ok(Some((audience, self.sent(&object))))
    }

    /// Whether an own version may be sent to an agency, by the ledger's word of now.
    pub fn may_be_sent(&self, state: &State, to: &AgencyId, (record, version): (&RecordId, u32)) -> bool {
        let entry = self.intake.first(record, version);
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

    /// The files of content that copies name, each with its version and the commitment of its copy.
    #[cfg(test)]
    pub(crate) fn content_files(&self) -> std::collections::BTreeMap<String, (RecordId, u32, [u8; 32])> {
        self.intake.content_files()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_of_a_node_is_bounded_and_may_be_forgotten() {
        let name = |n: usize| {
            let mut name = [0; 32];
            name.iter_mut().zip(n.to_be_bytes()).for_each(|(to, byte)| *to = byte);
            name
        };
        let mut known = Acknowledged::default();
        for n in 0..3 * ACKNOWLEDGED {
            assert!(!known.has(&name(n)));
            known.note(name(n));
            known.note(name(n));
            assert!(known.has(&name(n)) && known.0.len() <= ACKNOWLEDGED, "{n}");
        }
        known.forget(&name(3 * ACKNOWLEDGED - 1));
        assert!(!known.has(&name(3 * ACKNOWLEDGED - 1)) && known.has(&name(3 * ACKNOWLEDGED - 2)));
    }
}
