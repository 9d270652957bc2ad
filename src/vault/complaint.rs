//! "Held, unopenable": what a receiver cannot take it says, signed, to the originator (P15).
//!
//! A complaint is a statement of the complaining node, and evidence that it was made: not proof that the object
//! was bad, for a copy may be spoilt on its way. The originator keeps each one durably before it answers. Nothing
//! takes a complaint back; that the object arrived whole later shows in the publish answers and in the
//! receiver's own counts.

use super::error::VaultError;
use crate::domain::canon::{Canon, CanonError, Reader, Writer};
use crate::domain::ids::{AgencyId, FederationId, NodeId, RecordId};
use crate::domain::time::Millis;
use crate::journal::{Host, Journal, JournalOptions, Recovery};
use crate::seal::{PublicKey, SealError, Signature, SigningKey};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{PoisonError, RwLock};

const DOMAIN: &str = "hufu.complaint";
const STORED: &str = "hufu.received-complaint";
const VERSION: u16 = 1;
/// Most characters of a reason.
const REASON: usize = 200;
/// Largest signed complaint, in bytes.
const BYTES: usize = 2_048;
/// Most complaints that are kept of one node: it may be the one that is broken.
const MOST_OF_A_NODE: usize = 10_000;

/// What one node says of one object that it could not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// Federation.
    pub federation: FederationId,
    /// Agency that released the object.
    pub origin: AgencyId,
    /// The node that complains.
    pub node: NodeId,
    /// Record.
    pub record: RecordId,
    /// Version.
    pub version: u32,
    /// Hash of the header it got; none when what came does not parse.
    pub header_hash: Option<[u8; 32]>,
    /// Why, in words; at most 200 characters.
    pub reason: String,
    /// When, by the complaining node's clock.
    pub time: Millis,
}

impl Canon for Complaint {
    fn write(&self, w: &mut Writer) {
        let Complaint { federation, origin, node, record, version, header_hash, reason, time } = self;
        w.value(federation).value(origin).value(node).value(record).u32(*version);
        w.option(header_hash.as_ref(), |w, h| {
            w.array(h);
        });
        w.str(reason).value(time);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(Complaint {
            federation: r.value()?,
            origin: r.value()?,
            node: r.value()?,
            record: r.value()?,
            version: r.u32()?,
            header_hash: r.option(|r| r.array())?,
            reason: r.str(REASON * 4)?.to_owned(),
            time: r.value()?,
        })
    }
}

impl Complaint {
    /// The signed bytes. A longer reason is cut.
    pub fn sign(mut self, key: &SigningKey) -> Vec<u8> {
        self.reason = self.reason.chars().take(REASON).collect();
        let body = Writer::new(DOMAIN, VERSION).value(&self).finish();
        let signature = key.sign(DOMAIN, &body);
        Writer::bare().bytes(&body).value(&signature).finish()
    }

    /// Reads signed bytes and checks the signature under the key of the node that is named.
    ///
    /// # Errors
    /// [`VaultError::Canon`] when they do not parse, [`VaultError::Rule`] for a node without a key,
    /// [`VaultError::Seal`] for a wrong signature.
    pub fn open(bytes: &[u8], key: impl FnOnce(NodeId) -> Option<PublicKey>) -> Result<Complaint, VaultError> {
        let mut outer = Reader::bare(bytes);
        let body = outer.bytes(BYTES)?;
        let signature: Signature = outer.value()?;
        outer.finish()?;
        let mut r = Reader::new(body, DOMAIN, VERSION)?;
        let complaint = Complaint::read(&mut r)?;
        r.finish()?;
        let key = key(complaint.node).ok_or(VaultError::Rule("the ledger knows no such node"))?;
        key.verify(DOMAIN, body, &signature)
            .map_err(|_| VaultError::Seal(SealError::Signature { what: "complaint" }))?;
        Ok(complaint)
    }
}

type Key = (RecordId, u32, NodeId);

#[derive(Default)]
struct Index {
    last: BTreeMap<Key, Complaint>,
    /// Complaints that were ever stored, by node: each is a frame that stays.
    stored: BTreeMap<NodeId, usize>,
}

impl Index {
    fn add(&mut self, complaint: Complaint) {
        *self.stored.entry(complaint.node).or_default() += 1;
        self.last.insert(key(&complaint), complaint);
    }
}

/// The complaints that this agency received, the last one of each version and node.
pub struct Complaints {
    journal: Journal,
    index: RwLock<Index>,
    /// One at a time, so that the same complaint is not stored twice.
    turn: tokio::sync::Mutex<()>,
}

impl Complaints {
    /// Opens what was received before.
    ///
    /// # Errors
    /// [`VaultError::Journal`] or [`VaultError::Canon`].
    pub fn open(host: &dyn Host, dir: &Path) -> Result<Complaints, VaultError> {
        Complaints::over(Journal::open(host, dir, JournalOptions::default())?)
    }

    fn over((journal, recovery): (Journal, Recovery)) -> Result<Complaints, VaultError> {
        let mut index = Index::default();
        let mut next = recovery.first_seq;
        while next < recovery.next_seq {
            for (seq, frame) in journal.read(next, 1024, 1 << 20)? {
                let mut r = Reader::new(&frame, STORED, VERSION)?;
                // Its signature was checked before it was stored; it is stored so that others can check it too.
                let signed = r.bytes(BYTES * 2)?;
                r.finish()?;
                let mut body = Reader::new(Reader::bare(signed).bytes(BYTES)?, DOMAIN, VERSION)?;
                let complaint = Complaint::read(&mut body)?;
                index.add(complaint);
                next = seq.saturating_add(1);
            }
        }
        Ok(Complaints { journal, index: RwLock::new(index), turn: tokio::sync::Mutex::new(()) })
    }

    /// Keeps a verified complaint with its signed bytes; durable when it answers. The same again, whenever it was
    /// said, changes nothing.
    ///
    /// # Errors
    /// [`VaultError::Journal`]; [`VaultError::Rule`] when the node has complained of too much already.
    pub async fn keep(&self, complaint: Complaint, signed: &[u8]) -> Result<(), VaultError> {
        let _turn = self.turn.lock().await;
        if self.has(&complaint) {
            return Ok(());
        }
        if self.is_full(complaint.node) {
            return Err(VaultError::Rule("this node has complained of too many records"));
        }
        let frame = Writer::new(STORED, VERSION).bytes(signed).finish();
        self.journal.append(vec![frame]).await?;
        self.index.write().unwrap_or_else(PoisonError::into_inner).add(complaint);
        Ok(())
    }

    /// Whether a node's complaint of a version stands here already, in the same words.
    pub fn has(&self, complaint: &Complaint) -> bool {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let same = |c: &Complaint| c.header_hash == complaint.header_hash && c.reason == complaint.reason;
        index.last.get(&key(complaint)).is_some_and(same)
    }

    /// Whether a node has complained of as much as is kept.
    pub fn is_full(&self, node: NodeId) -> bool {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.stored.get(&node).is_some_and(|n| *n >= MOST_OF_A_NODE)
    }

    /// All of them, by record, version and node.
    pub fn all(&self) -> Vec<Complaint> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).last.values().cloned().collect()
    }
}

fn key(c: &Complaint) -> Key {
    (c.record, c.version, c.node)
}

/// An object that this node could not take, as long as it has no good copy of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Originator.
    pub origin: AgencyId,
    /// Hash of the header it got, if it parsed.
    pub header_hash: Option<[u8; 32]>,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Millis,
    /// What it holds breaks a rule, so that no other copy of the same envelope is better.
    pub content: bool,
}

/// What this node could not take. In memory: what is still owed after a start is fetched, and refused, again.
#[derive(Default)]
pub(super) struct Refusals(BTreeMap<(RecordId, u32), Refusal>);

impl Refusals {
    /// More of one origin are not noted: it may be a bad one, and each is in the log anyway.
    const OF_ORIGIN: usize = 1_000;

    /// The first word stands, and keeps its time, as long as it is about the same header; but that the content itself is
    /// bad is always noted, since it keeps further copies out.
    pub(super) fn note(&mut self, key: (RecordId, u32), refusal: Refusal) {
        let known =
            self.0.get(&key).is_some_and(|r| r.header_hash == refusal.header_hash && r.content >= refusal.content);
        let of_origin = || self.0.values().filter(|r| r.origin == refusal.origin).count();
        if !known && (self.0.contains_key(&key) || of_origin() < Refusals::OF_ORIGIN) {
            self.0.insert(key, refusal);
        }
    }

    pub(super) fn settle(&mut self, key: &(RecordId, u32)) {
        self.0.remove(key);
    }

    pub(super) fn get(&self, key: &(RecordId, u32)) -> Option<&Refusal> {
        self.0.get(key)
    }

    pub(super) fn all(&self) -> Vec<((RecordId, u32), Refusal)> {
        self.0.iter().map(|(k, r)| (*k, r.clone())).collect()
    }
}

/// What was complained of since the start: each refusal once.
#[derive(Default)]
pub struct Complained(BTreeSet<(RecordId, u32, Option<[u8; 32]>)>);

impl Complained {
    /// Those of `refusals` that were not complained of yet; what is no longer refused is forgotten.
    pub fn left(&mut self, refusals: Vec<((RecordId, u32), Refusal)>) -> Vec<((RecordId, u32), Refusal)> {
        let of = |(key, r): &((RecordId, u32), Refusal)| (key.0, key.1, r.header_hash);
        let now: BTreeSet<_> = refusals.iter().map(of).collect();
        self.0.retain(|k| now.contains(k));
        refusals.into_iter().filter(|r| !self.0.contains(&of(r))).collect()
    }

    /// The originator has it durably.
    pub fn told(&mut self, key: (RecordId, u32), refusal: &Refusal) {
        self.0.insert((key.0, key.1, refusal.header_hash));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::*;
    use crate::journal::System;
    use data_encoding::HEXLOWER;

    fn complaint(reason: &str) -> Complaint {
        Complaint {
            federation: "test".parse().unwrap(),
            origin: "police".parse().unwrap(),
            node: NodeId(7),
            record: RecordId::from_bytes([5; 16]),
            version: 2,
            header_hash: Some([9; 32]),
            reason: reason.to_owned(),
            time: Millis(1_800_000_000_000),
        }
    }

    fn key() -> SigningKey {
        SigningKey::from_seed(&[1; 32]).unwrap()
    }

    /// Signed bytes never change: a peer of another age must read them.
    #[test]
    fn frozen_bytes() {
        let signed = complaint("no key opens it").sign(&key());
        let body = Writer::new(DOMAIN, VERSION).value(&complaint("no key opens it")).finish();
        assert_eq!(
            HEXLOWER.encode(&body),
            concat!(
                "0000000e687566752e636f6d706c61696e740001000000047465737400000006706f6c6963650000",
                "00000000000705050505050505050505050505050505000000020109090909090909090909090909",
                "090909090909090909090909090909090909090000000f6e6f206b6579206f70656e732069740000",
                "01a3185c5000"
            )
        );
        assert_eq!(signed.len(), body.len() + 4 + 64);
    }

    #[test]
    fn only_the_named_nodes_signature_opens_it() {
        let signed = complaint("why").sign(&key());
        let right = |node| (node == NodeId(7)).then(|| key().public());
        assert_eq!(Complaint::open(&signed, right).unwrap(), complaint("why"));
        let other = SigningKey::from_seed(&[2; 32]).unwrap();
        assert!(matches!(Complaint::open(&signed, |_| Some(other.public())), Err(VaultError::Seal(_))));
        assert!(matches!(Complaint::open(&signed, |_| None), Err(VaultError::Rule(_))));
        for at in 0..signed.len() {
            let mut bytes = signed.clone();
            bytes[at] ^= 1;
            assert!(Complaint::open(&bytes, right).is_err(), "byte {at}");
        }
        let long = complaint(&"长".repeat(500)).sign(&key());
        assert_eq!(Complaint::open(&long, right).unwrap().reason, "长".repeat(REASON));
    }

    #[tokio::test]
    async fn a_complaint_is_kept_once_and_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        {
            let kept = Complaints::open(&System, dir.path()).unwrap();
            for reason in ["why", "why", "why not"] {
                kept.keep(complaint(reason), &complaint(reason).sign(&key())).await.unwrap();
            }
        }
        let (journal, recovery) = Journal::open(&System, dir.path(), JournalOptions::default()).unwrap();
        assert_eq!(recovery.next_seq, 2, "the same twice is one frame");
        let kept = Complaints::over((journal, recovery)).unwrap();
        assert_eq!(kept.all(), [complaint("why not")], "the last word counts");
    }
}
