//! The keys of one node: its ring, its pair keys for tags, and audience keys in use.

use super::error::VaultError;
use super::shared::SharedAudience;
use crate::domain::ids::{AgencyId, FederationId, NodeId};
use crate::domain::label::{Compartment, Grade};
use crate::domain::time::{Entropy, Millis};
use crate::ledger::State;
use crate::seal::{
    AudienceKey, AudienceObject, AudienceScope, KeyRing, PairKey, PairNames, SigningKey, Verified, sha256,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// An audience key is used for at most this long.
const EPOCH_MS: u64 = 24 * 3600 * 1000;

type Introduced = ([u8; 32], Arc<PairKey>);

/// Opened audience keys that are kept.
const OPENED: usize = 1024;
/// Audience keys of today that are kept: one for each set of agencies, grade and compartments that is published to. Beyond it
/// one is made anew, which is a key more to seal and nothing else.
const AUDIENCES: usize = 1024;

type AudienceName = (Grade, BTreeSet<Compartment>, BTreeSet<AgencyId>, u64);

/// What a node seals, signs and opens with. It has no key above its agency's ceiling.
pub struct Keys {
    agency: AgencyId,
    federation: FederationId,
    node: NodeId,
    ring: KeyRing,
    signer: SigningKey,
    audiences: Mutex<BTreeMap<AudienceName, Arc<(SharedAudience, AudienceKey)>>>,
    /// Opened audience keys by the name of the whole object: another copy is opened for itself.
    opened: Mutex<BTreeMap<[u8; 32], Arc<AudienceKey>>>,
    /// Pair keys introduced to this agency: (origin, month of introduction) -> (digest of the sealed key, key).
    introduced: Mutex<BTreeMap<(AgencyId, u32), Introduced>>,
    /// Of objects that were looked at.
    verified: Verified,
}

impl Keys {
    /// Takes the ring of this node.
    pub fn new(agency: AgencyId, federation: FederationId, node: NodeId, ring: KeyRing) -> Result<Keys, VaultError> {
        let signer = ring.signing_key()?;
        Ok(Keys {
            agency,
            federation,
            node,
            ring,
            signer,
            audiences: Mutex::default(),
            opened: Mutex::default(),
            introduced: Mutex::default(),
            verified: Verified::default(),
        })
    }

    /// Own agency.
    pub fn agency(&self) -> &AgencyId {
        &self.agency
    }

    /// Federation.
    pub fn federation(&self) -> &FederationId {
        &self.federation
    }

    /// Own node.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Highest grade that this node has a key for.
    pub fn ceiling(&self) -> Grade {
        self.ring.ceiling()
    }

    pub(super) fn signer(&self) -> &SigningKey {
        &self.signer
    }

    /// Signatures of others that verified here before.
    pub(super) fn verified(&self) -> &Verified {
        &self.verified
    }

    /// The audience key for a grade and set of agencies in today's epoch; made and sealed once.
    pub(super) fn audience(
        &self,
        state: &State,
        grade: Grade,
        compartments: &BTreeSet<Compartment>,
        agencies: &BTreeSet<AgencyId>,
        now: Millis,
        entropy: &mut dyn Entropy,
    ) -> Result<Arc<(SharedAudience, AudienceKey)>, VaultError> {
        let epoch = now.0 / EPOCH_MS;
        let name = (grade, compartments.clone(), agencies.clone(), epoch);
        // Before one that was made earlier is used again: a ceiling may have been lowered since.
        let members: Vec<_> = agencies
            .iter()
            .map(|a| {
                let may = state.agency(a).is_some_and(|s| s.may_hold(grade, compartments));
                let key = state
                    .grade_key(a, grade)
                    .filter(|_| may)
                    .ok_or(VaultError::Rule("an agency may not hold this label"))?;
                Ok((a.clone(), key))
            })
            .collect::<Result<_, VaultError>>()?;
        let mut known = self.audiences.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(&name) {
            return Ok(Arc::clone(found));
        }
        known.retain(|k, _| k.3 == epoch);
        let members: Vec<_> = members.into_iter().map(|(a, key)| (a, key.clone())).collect();
        let scope = AudienceScope {
            origin: self.agency.clone(),
            node: self.node,
            grade,
            compartments: compartments.clone(),
            epoch: now.0,
        };
        let (object, key) = AudienceObject::create(scope, &members, &self.signer, entropy)?;
        let made = Arc::new((SharedAudience::of(object), key));
        make_room(&mut known, AUDIENCES);
        known.insert(name, Arc::clone(&made));
        Ok(made)
    }

    /// Opens this agency's copy of an audience key.
    pub(super) fn open_audience(&self, object: &SharedAudience) -> Result<Arc<AudienceKey>, VaultError> {
        let id = *object.name();
        let opened = || self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = opened().get(&id) {
            return Ok(Arc::clone(known));
        }
        let secret = self
            .ring
            .grade_secret(object.scope().grade)
            .ok_or(VaultError::Rule("the grade is above this node's ceiling"))?;
        let key = Arc::new(object.open_copy(&self.agency, &secret)?);
        let mut known = opened();
        make_room(&mut known, OPENED);
        known.insert(id, Arc::clone(&key));
        Ok(key)
    }

    /// This agency's pair key towards a recipient as introduced for `month`. It is derived from the ring, so that it
    /// needs no file of its own, and every node of the agency has the same (P22); the recipient gets it sealed in an `introduce` command (P13).
    pub fn pair_key(&self, recipient: &AgencyId, month: u32) -> PairKey {
        PairKey::from_parts(self.ring.derive_shared(&format!("pair-key/{recipient}/{month}")), month)
    }

    /// Seals the pair key to its recipient, for the `introduce` command.
    pub fn introduce(
        &self,
        state: &State,
        recipient: &AgencyId,
        month: u32,
        entropy: &mut dyn Entropy,
    ) -> Result<Vec<u8>, VaultError> {
        let to = state.grade_key(recipient, Grade::Internal).ok_or(VaultError::Rule("the agency has no key"))?;
        Ok(self.pair_key(recipient, month).introduce(&self.names(&self.agency, recipient), to, entropy)?)
    }

    /// The key by which this agency tags for `recipient` in `month`; none before it was introduced.
    pub(super) fn tagging_key(&self, state: &State, recipient: &AgencyId, month: u32) -> Option<PairKey> {
        let introduced = introduced(state, &self.agency, recipient, month)?.0;
        self.pair_key(recipient, introduced).at(month)
    }

    /// The key by which `origin` tags for this agency in `month`.
    pub(super) fn recognising_key(&self, state: &State, origin: &AgencyId, month: u32) -> Option<PairKey> {
        let (since, sealed) = introduced(state, origin, &self.agency, month)?;
        let id = sha256(&[sealed]);
        let mut known = self.introduced.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, key)) = known.get(&(origin.clone(), since)).filter(|(of, _)| *of == id) {
            return key.at(month);
        }
        let secret = self.ring.grade_secret(Grade::Internal)?;
        let key = Arc::new(PairKey::open(&self.names(origin, &self.agency), since, sealed, &secret).ok()?);
        known.insert((origin.clone(), since), (id, Arc::clone(&key)));
        key.at(month)
    }

    fn names(&self, origin: &AgencyId, recipient: &AgencyId) -> PairNames {
        PairNames { federation: self.federation.clone(), origin: origin.clone(), recipient: recipient.clone() }
    }
}

/// The newest introduction from `origin` to `recipient` at or before `month`.
fn introduced<'a>(state: &'a State, origin: &AgencyId, recipient: &AgencyId, month: u32) -> Option<(u32, &'a Vec<u8>)> {
    let all = &state.agency(origin)?.introductions;
    let (key, sealed) = all.range((recipient.clone(), 0)..=(recipient.clone(), month)).next_back()?;
    Some((key.1, sealed))
}

/// Forgets what is in the way of one more among at most `most`.
fn make_room<K: Ord, V>(known: &mut BTreeMap<K, V>, most: usize) {
    while known.len() >= most && known.pop_first().is_some() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded() {
        let mut known = BTreeMap::new();
        for n in 0..10 {
            make_room(&mut known, 3);
            known.insert(n, ());
            assert!(known.len() <= 3 && known.contains_key(&n), "{n}");
        }
        make_room(&mut known, 0);
        assert!(known.is_empty());
    }
}
