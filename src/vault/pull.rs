//! Pulling what is missing: from the origin, else from any other node that may have it.
//!
//! Each origin's objects are pulled one after the other, and origins beside each other: one that does not answer, or
//! that owes very much, holds up nobody else's.

use super::complaint::Refusal;
use super::error::VaultError;
use super::holder::Vault;
use super::object::SealedObject;
use super::receive::{FromHolder, Pieces};
use super::sync::{PeerVault, States, Wanted};
use super::within::is_within;
use crate::domain::ids::{AgencyId, NodeId, RecordId};
use crate::domain::time::{Clock, Millis};
use crate::ledger::State;
use std::collections::BTreeSet;
use std::sync::PoisonError;

/// First and longest pause between two attempts for one object.
const AGAIN_MS: u64 = 250;
const RETRY_MS: u64 = 30_000;
/// Objects of one origin in one go; what is left is due at once again.
const ROUND: usize = 64;

/// About what a frame, keys and the parts beside a ciphertext take.
const PARTS_BYTES: usize = 8 << 10;

/// Whether the disk has room for so many bytes.
pub type Room<'a> = &'a (dyn Fn(u64) -> bool + Sync);

/// An origin whose objects are being pulled; let go when dropped.
pub struct Pulling<'a> {
    vault: &'a Vault,
    origin: AgencyId,
}

impl Drop for Pulling<'_> {
    fn drop(&mut self) {
        self.vault.sync.lock().unwrap_or_else(PoisonError::into_inner).pulling.remove(&self.origin);
    }
}

impl Vault {
    /// Origins of which something is due to be pulled, and of which nothing is being pulled.
    pub fn due(&self, steady: Millis) -> Vec<AgencyId> {
        let sync = self.sync.lock().unwrap_or_else(PoisonError::into_inner);
        let due = sync.wanted.values().filter(|w| w.next <= steady && !w.lost && !sync.pulling.contains(&w.origin));
        due.map(|w| w.origin.clone()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Takes an origin's turn; none while somebody has it.
    pub fn begin_pulling(&self, origin: &AgencyId) -> Option<Pulling<'_>> {
        let mut sync = self.sync.lock().unwrap_or_else(PoisonError::into_inner);
        sync.pulling.insert(origin.clone()).then(|| Pulling { vault: self, origin: origin.clone() })
    }

    /// Pulls what is due of an origin, the longest waiting first, and before it what was passed over: one object whose
    /// question is never answered keeps none behind it. Each is held against the state of its turn. Returns how many objects
    /// arrived.
    pub async fn pull(
        &self,
        of: &Pulling<'_>,
        states: States<'_>,
        (peers, clock): (&dyn PeerVault, &dyn Clock),
        room: Room<'_>,
    ) -> usize {
        let (mut arrived, mut silent) = (0, BTreeSet::new());
        for ((record, version), wanted) in self.due_of(&of.origin, clock.steady()) {
            let state = states();
            let passed_over = state.nodes().any(|(id, n)| n.agency == of.origin && silent.contains(id));
            let outcome = self
                .pull_one((state.as_ref(), states), (peers, room), (record, version), &wanted, &mut silent, clock.now())
                .await;
            let Err(reason) = outcome else {
                arrived += 1;
                continue;
            };
            let mut sync = self.sync.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(w) = sync.wanted.get_mut(&(record, version)) {
                w.reason = reason;
                w.passed_over = passed_over;
                w.attempts = w.attempts.saturating_add(1);
                let pause = AGAIN_MS.saturating_mul(1 << w.attempts.min(7)).min(RETRY_MS);
                w.next = clock.steady().plus_ms(pause);
            }
        }
        arrived
    }

    /// What the content itself keeps out is not pulled again: the ledger commits to that content and no other.
    fn due_of(&self, origin: &AgencyId, steady: Millis) -> Vec<((RecordId, u32), Wanted)> {
        let sync = self.sync.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = sync.wanted.iter().filter(|(_, w)| w.origin == *origin && w.next <= steady && !w.lost);
        let mut due: Vec<_> = wanted.filter(|(k, _)| sync.refused.get(k).is_none_or(|r| !r.content)).collect();
        due.sort_by_key(|(_, w)| (!w.passed_over, w.next));
        due.into_iter().take(ROUND).map(|(k, w)| (*k, w.clone())).collect()
    }

    /// Asks one node after the other. A node that does not answer is `silent` and asked no more in this go.
    async fn pull_one(
        &self,
        (state, states): (&State, States<'_>),
        (peers, room): (&dyn PeerVault, Room<'_>),
        (record, version): (RecordId, u32),
        wanted: &Wanted,
        silent: &mut BTreeSet<NodeId>,
        now: Millis,
    ) -> Result<(), String> {
        let own = self.keys.node();
        let (of_origin, others): (Vec<_>, Vec<_>) =
            state.nodes().filter(|(id, _)| **id != own).partition(|(_, n)| n.agency == wanted.origin);
        // What the agency kept to itself is asked of its own nodes alone.
        let within = is_within(&wanted.token, (record, version));
        let others = others.into_iter().filter(|_| !within);
        let (mut reason, mut bad) = (String::new(), None);
        for (node, n) in of_origin.into_iter().chain(others) {
            if silent.contains(node) {
                reason.push_str(&format!("{}: does not answer; ", n.agency));
                continue;
            }
            match peers.pull(*node, wanted.token, wanted.attempts).await {
                Ok(None) => reason.push_str(&format!("{}: has none; ", n.agency)),
                Err(why) => {
                    silent.insert(*node);
                    reason.push_str(&format!("{}: {why}; ", n.agency));
                }
                Ok(Some((envelope, grant, audience))) => {
                    let mut header_hash = None;
                    let taken = match SealedObject::from_parts(&envelope, &grant, &audience) {
                        Err(e) => Err(e),
                        Ok(o) if (o.envelope.header().id, o.envelope.header().version) != (record, version) => {
                            reason.push_str(&format!("{}: sent another object; ", n.agency));
                            continue;
                        }
                        Ok(object) if !room(bytes_of(&object)) => {
                            return Err("there is no room for it on the disk; it is pulled when there is".to_owned());
                        }
                        Ok(object) => {
                            let hash = object.envelope.hash();
                            header_hash = Some(hash);
                            let mut content = FromHolder::new(peers, *node, wanted.token, hash);
                            let pieces: &mut dyn Pieces = &mut content;
                            self.take(state, object, Some((pieces, states)), now).await
                        }
                    };
                    match taken {
                        Ok(()) => return Ok(()),
                        Err(error) => {
                            reason.push_str(&format!("{}: {error}; ", n.agency));
                            bad = refusal(wanted, header_hash, &error, now).or(bad);
                        }
                    }
                }
            }
        }
        // Only when nobody has a good copy: one holder's spoilt one is not the originator's.
        if let Some(refusal) = bad {
            self.refuse((record, version), refusal);
        }
        if reason.is_empty() {
            reason.push_str("this agency has no other node to ask");
        }
        Err(reason)
    }
}

/// About what an object takes on the disk.
fn bytes_of(object: &SealedObject) -> u64 {
    let bytes = object.envelope.ciphertext_bytes().saturating_add(PARTS_BYTES);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn refusal(wanted: &Wanted, header_hash: Option<[u8; 32]>, error: &VaultError, now: Millis) -> Option<Refusal> {
    let (origin, reason) = (wanted.origin.clone(), error.to_string());
    error.blames_object().then_some(Refusal { origin, header_hash, reason, since: now, content: false })
}
