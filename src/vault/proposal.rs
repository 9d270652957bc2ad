//! 定密审批: what an author proposes and no marking guide covers, until a classifier signs it (SSL §16).
//!
//! A proposal is sealed and durable like any accepted record, and goes nowhere: it is not pushed, not proposed to the
//! ledger, and not served, so that nobody but its author and the own agency's classifiers ever sees it. The classifier's
//! own key signs the commitments of all its parts; the signature is journaled with them before anything leaves.

use super::card::{Card, Facts};
use super::error::VaultError;
use super::holder::{Held, Vault};
use super::intake::{Entry, Take};
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
/// Most proposals that wait at one node; then somebody decides first.
pub const WAITING: usize = 1_000;

/// How far a proposal is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stand {
    /// It waits for a classifier.
    Waiting,
    /// A classifier signed it: the canonical [`Approval`].
    Approved(Vec<u8>),
    /// A classifier turned it down, or its author took it back.
    Rejected,
}

/// That a version was proposed, by whom, and how far it is. Variant order is format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Who wrote it, and so cannot approve it.
    pub author: Handle,
    /// How far it is.
    pub stand: Stand,
}

impl Proposal {
    /// Whether it may go to the ledger.
    pub fn is_approved(&self) -> bool {
        matches!(self.stand, Stand::Approved(_))
    }
}

impl Canon for Proposal {
    fn write(&self, w: &mut Writer) {
        w.value(&self.author);
        match &self.stand {
            Stand::Waiting => w.u8(0),
            Stand::Approved(approval) => w.u8(1).bytes(approval),
            Stand::Rejected => w.u8(2),
        };
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        let author = r.value()?;
        let stand = match r.u8()? {
            0 => Stand::Waiting,
            1 => Stand::Approved(r.bytes(APPROVAL_BYTES)?.to_vec()),
            2 => Stand::Rejected,
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
    /// Label and agreement.
    pub facts: Arc<Facts>,
    /// Its envelopes, lower ones first: what is to be signed.
    pub parts: Vec<Part>,
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

    /// Records whose proposals wait, as they were taken in.
    pub fn waiting(&self) -> Vec<(RecordId, u32)> {
        self.intake.waiting()
    }

    /// A proposal that waits, without its text.
    ///
    /// # Errors
    /// When its object does not verify.
    pub fn proposed(&self, state: &State, record: &RecordId) -> Result<Option<Proposed>, VaultError> {
        let Some((entry, version, proposal)) = self.waiting_entry(record) else { return Ok(None) };
        let facts = self.facts(state, &entry)?;
        let mut parts = Vec::with_capacity(facts.lower.len() + 1);
        for (lower, version) in &facts.lower {
            let part = self.intake.entries(lower, *version).into_iter().next();
            parts.push((*lower, *version, part.ok_or(VaultError::Rule("a part of it is not here"))?.commitment));
        }
        parts.push((*record, version, entry.commitment));
        Ok(Some(Proposed { record: *record, version, proposal, at: entry.at, facts, parts }))
    }

    /// The object of a proposal that waits, for its author and classifiers: as if it were committed.
    pub fn held_proposal(&self, state: &State, record: &RecordId) -> Result<Option<Held>, VaultError> {
        let Some((entry, version, _)) = self.waiting_entry(record) else { return Ok(None) };
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
        Ok(Some(Held { committed, label: opened.body.label.clone(), covered: true, kinds: None, object, opened }))
    }

    /// Moves a part of a proposal on; durable when it answers. One that was decided stays as it was decided.
    ///
    /// # Errors
    /// [`VaultError::Rule`] when it is no proposal or was decided otherwise, or no agreement in force covers it any more;
    /// a failed journal.
    pub async fn decide(
        &self,
        state: &State,
        record: &RecordId,
        version: u32,
        stand: Stand,
        now: Millis,
    ) -> Result<(), VaultError> {
        let entry = self.intake.entries(record, version).into_iter().find(|e| e.proposal.is_some());
        let Some((entry, proposal)) = entry.and_then(|e| e.proposal.clone().map(|p| (e, p))) else {
            return Err(VaultError::Rule("it is no proposal"));
        };
        match (&proposal.stand, &stand) {
            (Stand::Waiting, _) => {}
            // A stop between its parts: those that were approved stay so.
            (Stand::Approved(_), Stand::Approved(_)) | (Stand::Rejected, Stand::Rejected) => return Ok(()),
            _ => return Err(VaultError::Rule("it was decided otherwise")),
        }
        let object = self.intake.load(&entry)?;
        if matches!(stand, Stand::Approved(_)) {
            self.publishable(state, &object)?;
        }
        let pull_checks = entry.pull_checks.clone();
        let proposal = Some(Proposal { author: proposal.author, stand });
        self.intake.take(Take { object, pull_checks, request: None, content: None, proposal, at: now }).await
    }

    fn waiting_entry(&self, record: &RecordId) -> Option<(Entry, u32, Proposal)> {
        let version = self.intake.newest_version(record)?;
        let entries = self.intake.entries(record, version).into_iter();
        let waiting = entries.filter(|e| e.proposal.as_ref().is_some_and(|p| p.stand == Stand::Waiting));
        waiting.into_iter().next().and_then(|e| e.proposal.clone().map(|p| (e, version, p)))
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
        for stand in [Stand::Waiting, Stand::Approved(approval().to_canon()), Stand::Rejected] {
            let proposal = Proposal { author, stand };
            assert_eq!(Proposal::from_canon(&proposal.to_canon()).unwrap(), proposal);
        }
        let mut other = Proposal { author, stand: Stand::Rejected }.to_canon();
        *other.last_mut().unwrap() = 3;
        assert!(Proposal::from_canon(&other).is_err());
    }
}
