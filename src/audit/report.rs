//! What a holder sends an originator: who read its records, with proof that the log says so.
//!
//! A report names people by pseudonym and shows no leaf, since a leaf has the person's name. It shows the
//! leaf's hash with its inclusion proof, and the holder's node signs that this leaf says what the report says.
//! The random request id in the leaf keeps the name from being guessed from the hash. Whoever may read the log
//! itself, an inspector for one, checks the statement with [`AccessItem::matches`]; a false one is proven by
//! report and leaf together.
//!
//! Not guaranteed: that a report is complete. Two-sided reconciliation and P20 are for that.

use super::error::AuditError;
use super::event::{Action, Actor, Decision, Event, Object, Stage, read_records, write_records};
use super::merkle::{Hash, leaf_hash, verify_inclusion};
use super::note::{Checkpoint, MAX_NOTE_BYTES};
use super::writer::AuditLog;
use crate::domain::canon::{Canon, CanonError, Reader, Writer};
use crate::domain::ids::{AgencyId, RecordId};
use crate::domain::person::Role;
use crate::domain::time::Millis;
use crate::seal::{PublicKey, Signature, SigningKey};

const DOMAIN: &str = "hufu.access-report";
const VERSION: u16 = 1;
const MAX_ITEMS: usize = 1_024;
/// A tree of 2^64 leaves has 64 levels.
const MAX_PROOF: usize = 64;

/// One access, as the originator may know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessEvent {
    /// Agency of whoever had access.
    pub agency: AgencyId,
    /// The person's stable pseudonym; none when a node acted by itself.
    pub pseudonym: Option<[u8; 16]>,
    /// The role acted in, as the holder states it; it is not in the leaf.
    pub role: Option<Role>,
    /// When, by the holder's clock.
    pub time: Millis,
    /// Open, snippet or export.
    pub action: Action,
    /// The records and versions shown, all of them the originator's.
    pub records: Vec<(RecordId, u32)>,
    /// Place in the holder's log.
    pub seq: u64,
}

impl AccessEvent {
    /// What an originator may know of an event; none when it is no completed access. A search that showed
    /// records of several originators must have been logged as one event for each.
    pub fn of(event: &Event, role: Option<Role>) -> Option<AccessEvent> {
        let access = event.action.is_access() && event.stage != Stage::Intent && event.decision == Decision::Allow;
        let pseudonym = match &event.actor {
            Actor::Person { pseudonym, .. } => Some(*pseudonym),
            Actor::Node { .. } => None,
        };
        let named = matches!(event.object, Object::Record { .. } | Object::Query { .. });
        (access && named && event.origin.is_some()).then(|| AccessEvent {
            agency: event.actor.agency().clone(),
            pseudonym,
            role,
            time: event.time,
            action: event.action,
            records: event.object.records(),
            seq: event.seq,
        })
    }
}

impl Canon for AccessEvent {
    fn write(&self, w: &mut Writer) {
        let AccessEvent { agency, pseudonym, role, time, action, records, seq } = self;
        w.value(agency);
        w.option(pseudonym.as_ref(), |w, p| {
            w.array(p);
        });
        w.option(role.as_ref(), |w, r| r.write(w));
        w.value(time).u16(action.code());
        write_records(w, records);
        w.u64(*seq);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(AccessEvent {
            agency: r.value()?,
            pseudonym: r.option(|r| r.array())?,
            role: r.option(Role::read)?,
            time: r.value()?,
            action: Action::from_code(r.u16()?).filter(|a| a.is_access()).ok_or(CanonError::Invalid("action"))?,
            records: read_records(r)?,
            seq: r.u64()?,
        })
    }
}

/// An access with its place in the holder's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessItem {
    /// The access.
    pub event: AccessEvent,
    /// Hash of the leaf that records it.
    pub leaf: Hash,
    /// Inclusion proof for that leaf under the report's checkpoint.
    pub proof: Vec<Hash>,
}

impl AccessItem {
    /// Whether these bytes are the leaf, and say what the item says (the role aside), with `origin` as the
    /// originator.
    pub fn matches(&self, leaf: &[u8], origin: &AgencyId) -> bool {
        leaf_hash(leaf) == self.leaf
            && Event::from_bytes(leaf).is_ok_and(|event| {
                event.origin.as_ref() == Some(origin)
                    && AccessEvent::of(&event, self.event.role).as_ref() == Some(&self.event)
            })
    }
}

impl Canon for AccessItem {
    fn write(&self, w: &mut Writer) {
        w.value(&self.event).array(&self.leaf);
        w.list(self.proof.iter(), |w, h| {
            w.array(h);
        });
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(AccessItem { event: r.value()?, leaf: r.array()?, proof: r.list(MAX_PROOF, |r| r.array())? })
    }
}

/// Accesses to one originator's records in one holder's log, signed by the holder's node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessReport {
    /// The originator it is for.
    pub to: AgencyId,
    /// The accesses, in the order of the log.
    pub items: Vec<AccessItem>,
    /// The signed head that the proofs lead to, as a note.
    pub checkpoint: String,
    signature: Signature,
}

impl AccessReport {
    /// Makes the report of at most `max` accesses (never more than 1,024) from `from_seq` on. `log` is the
    /// origin line of the checkpoint; `role` tells the role somebody acted in. None when there is nothing to tell.
    ///
    /// # Errors
    /// What reading the log returns.
    pub fn make(
        audit: &AuditLog,
        to: &AgencyId,
        from_seq: u64,
        max: usize,
        key: &SigningKey,
        log: &str,
        role: impl Fn(&Event) -> Option<Role>,
    ) -> Result<Option<AccessReport>, AuditError> {
        let events = audit.events_about(to, from_seq, max.min(MAX_ITEMS))?;
        // The head is taken after the events, so it covers them.
        let (size, root) = audit.head();
        let mut items = Vec::with_capacity(events.len());
        for event in &events {
            if let Some(access) = AccessEvent::of(event, role(event)) {
                items.push(AccessItem {
                    event: access,
                    leaf: leaf_hash(&event.to_bytes()?),
                    proof: audit.inclusion(event.seq, size)?,
                });
            }
        }
        if items.is_empty() {
            return Ok(None);
        }
        let checkpoint = Checkpoint::new(log, size, root).sign(key)?.to_string();
        let signature = key.sign(DOMAIN, &body(to, &items, &checkpoint));
        Ok(Some(AccessReport { to: to.clone(), items, checkpoint, signature }))
    }

    /// The bytes to send.
    pub fn to_bytes(&self) -> Vec<u8> {
        let body = body(&self.to, &self.items, &self.checkpoint);
        Writer::bare().bytes(&body).value(&self.signature).finish()
    }

    /// Reads what [`AccessReport::to_bytes`] wrote, trusting nothing in it. The transport limits its size.
    ///
    /// # Errors
    /// [`AuditError::Format`] for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<AccessReport, AuditError> {
        let mut outer = Reader::bare(bytes);
        let mut r = Reader::new(outer.bytes(bytes.len())?, DOMAIN, VERSION)?;
        let signature = outer.value()?;
        outer.finish()?;
        let report = AccessReport {
            to: r.value()?,
            items: r.list(MAX_ITEMS, AccessItem::read)?,
            checkpoint: r.str(MAX_NOTE_BYTES)?.to_owned(),
            signature,
        };
        r.finish()?;
        Ok(report)
    }

    /// Checks that the node with this key made the report for this originator, about its log of this name, and
    /// that every leaf is in that log. Returns the head; the caller holds it against the heads it witnessed.
    ///
    /// # Errors
    /// [`AuditError::Report`], [`AuditError::Note`] or [`AuditError::Proof`].
    pub fn verify(&self, key: &PublicKey, log: &str, to: &AgencyId) -> Result<Checkpoint, AuditError> {
        if self.to != *to {
            return Err(AuditError::Report("it is for another agency"));
        }
        key.verify(DOMAIN, &body(&self.to, &self.items, &self.checkpoint), &self.signature)
            .map_err(|_| AuditError::Report("its signature is wrong"))?;
        let head = Checkpoint::open(&self.checkpoint, *key)?;
        if head.origin != log {
            return Err(AuditError::Report("it is about another log"));
        }
        if self.items.is_empty() || !self.items.is_sorted_by(|a, b| a.event.seq < b.event.seq) {
            return Err(AuditError::Report("its accesses are not in order"));
        }
        for AccessItem { event, leaf, proof } in &self.items {
            verify_inclusion(leaf, event.seq, head.size, proof, &head.root)?;
        }
        Ok(head)
    }
}

fn body(to: &AgencyId, items: &[AccessItem], checkpoint: &str) -> Vec<u8> {
    let mut w = Writer::new(DOMAIN, VERSION);
    w.value(to).list(items.iter(), |w, i| i.write(w)).str(checkpoint);
    w.finish()
}
