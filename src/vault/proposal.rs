//! 定密审批: what an author proposes and no marking guide covers, until a classifier signs it (SSL §16).
//!
//! A proposal is sealed and durable like any accepted record, and goes nowhere: it is not pushed, not proposed to the
//! ledger, and not served, so that nobody but its author and the own agency's classifiers ever sees it. The classifier's
//! own key signs the commitments of all its envelopes. One frame decides: that of the record's own envelope, written by the
//! intake's one writer if nobody decided before. Its lower envelopes name it, and may leave when it may.

use super::card::{Card, Facts};
use super::error::VaultError;
use super::holder::{Held, Vault};
use super::intake::Entry;
use super::rules;
use crate::domain::canon::{Canon, CanonError, Reader, Writer};
use crate::domain::ids::{FederationId, Handle, RecordId};
use crate::domain::limits;
use crate::domain::time::Millis;
use crate::ledger::{State, VersionEntry};
use crate::seal::{PublicKey, Signature, SigningKey};
use std::sync::Arc;

const DOMAIN: &str = "hufu.approval";
const VERSION: u16 = 1;
/// Most bytes of a signed approval.
const APPROVAL_BYTES: usize = 4 << 10;
/// Most records that wait at one node, and most of one author; then somebody decides first.
pub(super) const WAITING: (usize, usize) = (1_000, 100);

/// How far a proposal is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stand {
    /// It waits for a classifier.
    Waiting,
    /// A classifier signed it: the canonical [`Approval`].
    Approved(Vec<u8>),
    /// A classifier turned it down, or its author took it back.
    Rejected,
    /// It is a lower envelope of this record's version, and stands as that does.
    PartOf(RecordId, u32),
}

/// That a version was proposed, by whom, and how far it is. Variant order is format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Who wrote it, and so cannot approve it.
    pub author: Handle,
    /// How far it is.
    pub stand: Stand,
}

impl Canon for Proposal {
    fn write(&self, w: &mut Writer) {
        w.value(&self.author);
        match &self.stand {
            Stand::Waiting => w.u8(0),
            Stand::Approved(approval) => w.u8(1).bytes(approval),
            Stand::Rejected => w.u8(2),
            Stand::PartOf(record, version) => w.u8(3).value(record).u32(*version),
        };
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        let author = r.value()?;
        let stand = match r.u8()? {
            0 => Stand::Waiting,
            1 => Stand::Approved(r.bytes(APPROVAL_BYTES)?.to_vec()),
            2 => Stand::Rejected,
            3 => Stand::PartOf(r.value()?, r.u32()?),
            _ => return Err(CanonError::Invalid("proposal")),
        };
        Ok(Proposal { author, stand })
    }
}

/// One envelope of a proposal: record, version, and the hiding commitment that the ledger will carry.
pub type Part = (RecordId, u32, [u8; 32]);

/// What a classifier signs: exactly these envelopes, lower ones first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    federation: FederationId,
    parts: Vec<Part>,
    handle: Handle,
    expires: Millis,
    signature: Signature,
}

impl Approval {
    /// Signs as the person behind `handle`; not valid from `expires` on.
    pub fn sign(
        federation: FederationId,
        parts: Vec<Part>,
        handle: Handle,
        expires: Millis,
        key: &SigningKey,
    ) -> Approval {
        let signature = key.sign(DOMAIN, &words(&federation, &parts, handle, expires));
        Approval { federation, parts, handle, expires, signature }
    }

    /// The envelopes that it names.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Who signed.
    pub fn handle(&self) -> Handle {
        self.handle
    }

    /// Whether it is of this federation, still counts at `now`, and `key` made it.
    pub fn verifies(&self, federation: &FederationId, now: Millis, key: &PublicKey) -> bool {
        let words = words(&self.federation, &self.parts, self.handle, self.expires);
        self.federation == *federation && now < self.expires && key.verify(DOMAIN, &words, &self.signature).is_ok()
    }
}

impl Canon for Approval {
    fn write(&self, w: &mut Writer) {
        w.array(&words(&self.federation, &self.parts, self.handle, self.expires)).value(&self.signature);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        if r.str(DOMAIN.len())? != DOMAIN || r.u16()? != VERSION {
            return Err(CanonError::Header);
        }
        Ok(Approval {
            federation: r.value()?,
            parts: r.list(limits::PORTIONS, |r| Ok((r.value()?, r.u32()?, r.array()?)))?,
            handle: r.value()?,
            expires: r.value()?,
            signature: r.value()?,
        })
    }
}

fn words(federation: &FederationId, parts: &[Part], handle: Handle, expires: Millis) -> Vec<u8> {
    let mut w = Writer::new(DOMAIN, VERSION);
    w.value(federation);
    w.list(parts.iter(), |w, (record, version, commitment)| {
        w.value(record).u32(*version).array(commitment);
    });
    w.value(&handle).value(&expires).finish()
}

/// A proposal that is here, with what a decision about it needs.
pub struct Proposed {
    /// Record.
    pub record: RecordId,
    /// Version.
    pub version: u32,
    /// Who proposed it, and how far it is.
    pub proposal: Proposal,
    /// When.
    pub at: Millis,
    /// Its envelopes, lower ones first: what is to be signed.
    pub parts: Vec<Part>,
    /// Label and agreement of each of them.
    pub classes: Vec<Arc<Facts>>,
    /// Of the record's own.
    pub facts: Arc<Facts>,
}

impl Proposed {
    /// As a card of what is held.
    pub fn card(&self) -> Card {
        Card { record: self.record, version: self.version, facts: Arc::clone(&self.facts) }
    }
}

impl Vault {
    /// How far the proposal of a version is; none when it is no proposal of this node.
    pub fn proposal(&self, record: &RecordId, version: u32) -> Option<Proposal> {
        self.intake.entries(record, version).into_iter().find_map(|e| e.proposal)
    }

    /// Who proposed a record or a part of it, decided or not.
    pub fn proposer(&self, record: &RecordId) -> Option<Handle> {
        self.proposed_entry(record).map(|(.., proposal)| proposal.author)
    }

    /// Whether a version may go to the ledger: it was never proposed, or a classifier signed the record.
    pub(super) fn may_go(&self, record: &RecordId, version: u32) -> bool {
        let signed = |p: Option<Proposal>| matches!(p.map(|p| p.stand), Some(Stand::Approved(_)));
        match self.proposal(record, version) {
            None => true,
            Some(Proposal { stand: Stand::PartOf(whole, version), .. }) => signed(self.proposal(&whole, version)),
            own => signed(own),
        }
    }

    /// Records whose proposals wait, in the order of their ids, with their authors.
    pub fn waiting(&self) -> Vec<(RecordId, Handle)> {
        self.intake.waiting()
    }

    /// Whether one more proposal of an author may wait; it is asked again when the proposal is taken in.
    pub fn may_propose(&self, author: Handle) -> bool {
        self.intake.may_wait(author)
    }

    /// Version and author of an envelope that waits for a classifier, be it a record's own or a lower one. It reads nothing.
    pub fn undecided(&self, record: &RecordId) -> Option<(u32, Handle)> {
        let (_, version, proposal) = self.proposed_entry(record)?;
        let waits = match &proposal.stand {
            Stand::PartOf(whole, of) => self.proposal(whole, *of).is_some_and(|p| p.stand == Stand::Waiting),
            own => *own == Stand::Waiting,
        };
        waits.then_some((version, proposal.author))
    }

    /// A record that was proposed, decided or not, without its text; a lower envelope of one is none.
    ///
    /// # Errors
    /// When an object of it does not verify or is not here.
    pub fn proposed(&self, state: &State, record: &RecordId) -> Result<Option<Proposed>, VaultError> {
        let Some((entry, version, proposal)) = self.proposed_entry(record) else { return Ok(None) };
        if matches!(proposal.stand, Stand::PartOf(..)) {
            return Ok(None);
        }
        let facts = self.facts(state, &entry)?;
        let (mut parts, mut classes) = (Vec::new(), Vec::new());
        for (lower, version) in &facts.lower {
            let part = self.intake.first(lower, *version);
            let part = part.ok_or(VaultError::Rule("a part of it is not here"))?;
            classes.push(self.facts(state, &part)?);
            parts.push((*lower, *version, part.commitment));
        }
        parts.push((*record, version, entry.commitment));
        classes.push(Arc::clone(&facts));
        Ok(Some(Proposed { record: *record, version, proposal, at: entry.at, parts, classes, facts }))
    }

    /// What an envelope says that waits for a classifier.
    ///
    /// # Errors
    /// When its object does not verify.
    pub fn undecided_facts(&self, state: &State, record: &RecordId) -> Result<Option<Arc<Facts>>, VaultError> {
        match self.proposed_entry(record).filter(|_| self.undecided(record).is_some()) {
            Some((entry, ..)) => self.facts(state, &entry).map(Some),
            None => Ok(None),
        }
    }

    /// The object of an envelope that waits, for the author and classifiers: as if it were committed.
    ///
    /// # Errors
    /// When it does not verify.
    pub fn held_proposal(&self, state: &State, record: &RecordId, version: u32) -> Result<Option<Held>, VaultError> {
        let Some((entry, of, _)) = self.proposed_entry(record) else { return Ok(None) };
        if of != version || self.undecided(record).is_none() {
            return Ok(None);
        }
        let object = self.intake.load(&entry)?;
        let opened = rules::open(&self.keys, state, &object)?;
        let committed = VersionEntry {
            version,
            commitment: entry.commitment,
            grants: vec![entry.grant],
            tags: Vec::new(),
            node: self.keys.node(),
            index: 0,
            time: entry.at,
        };
        let (label, content) = (opened.body.label.clone(), self.intake.content(&entry));
        Ok(Some(Held { committed, label, covered: true, kinds: None, object, content, opened }))
    }

    /// Decides on a proposal; durable when it answers. The same decision again is done already.
    ///
    /// # Errors
    /// [`VaultError::Decided`] when somebody was first; [`VaultError::Rule`] when it is no proposal, or no agreement in force
    /// covers each of its envelopes any more; a failed journal.
    pub async fn decide(&self, state: &State, of: &Proposed, stand: Stand) -> Result<(), VaultError> {
        if matches!(stand, Stand::Approved(_)) {
            for (part, version, _) in &of.parts {
                let entry = self.intake.first(part, *version);
                let entry = entry.ok_or(VaultError::Rule("a part of it is not here"))?;
                self.publishable(state, &self.intake.load(&entry)?)?;
            }
        }
        let parts = of.parts.iter().map(|(record, ..)| *record).collect();
        self.intake.decide((of.record, of.version), stand, parts).await
    }

    fn proposed_entry(&self, record: &RecordId) -> Option<(Entry, u32, Proposal)> {
        let version = self.intake.newest_version(record)?;
        let entry = self.intake.entries(record, version).into_iter().find(|e| e.proposal.is_some())?;
        let proposal = entry.proposal.clone()?;
        Some((entry, version, proposal))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;

    fn key() -> SigningKey {
        SigningKey::from_seed(&[5; 32]).unwrap()
    }

    fn approval() -> Approval {
        let parts = vec![(RecordId::from_bytes([9; 16]), 1, [2; 32]), (RecordId::from_bytes([8; 16]), 1, [3; 32])];
        Approval::sign("test".parse().unwrap(), parts, Handle::from_bytes([7; 16]), Millis(1_000), &key())
    }

    /// Signed bytes never change. The constant was written down when the format was made.
    #[test]
    fn frozen_bytes() {
        let words = words(&approval().federation, &approval().parts, approval().handle, approval().expires);
        let expected = concat!(
            "0000000d687566752e617070726f76616c000100000004746573740000000209090909090909090909090909090909",
            "000000010202020202020202020202020202020202020202020202020202020202020202080808080808080808080808",
            "0808080800000001030303030303030303030303030303030303030303030303030303030303030307070707070707",
            "07070707070707070700000000000003e8",
        );
        assert_eq!(HEXLOWER.encode(&words), expected);
    }

    #[test]
    fn counts_for_its_federation_key_and_time_only() {
        let approval = Approval::from_canon(&approval().to_canon()).unwrap();
        let test: FederationId = "test".parse().unwrap();
        assert!(approval.verifies(&test, Millis(999), &key().public()));
        assert!(!approval.verifies(&test, Millis(1_000), &key().public()), "its time is over");
        assert!(!approval.verifies(&"other".parse().unwrap(), Millis(0), &key().public()));
        assert!(!approval.verifies(&test, Millis(0), &SigningKey::from_seed(&[6; 32]).unwrap().public()));
        let bytes = approval.to_canon();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            let holds = Approval::from_canon(&bad).is_ok_and(|a| a.verifies(&test, Millis(0), &key().public()));
            assert!(!holds, "byte {at}");
            assert!(Approval::from_canon(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_proposal_has_one_form() {
        let author = Handle::from_bytes([7; 16]);
        let part = Stand::PartOf(RecordId::from_bytes([9; 16]), 1);
        for stand in [Stand::Waiting, Stand::Approved(approval().to_canon()), Stand::Rejected, part] {
            let proposal = Proposal { author, stand };
            assert_eq!(Proposal::from_canon(&proposal.to_canon()).unwrap(), proposal);
        }
        let mut other = Proposal { author, stand: Stand::Rejected }.to_canon();
        *other.last_mut().unwrap() = 4;
        assert!(Proposal::from_canon(&other).is_err());
    }
}
