//! Audience keys (P15): one key for (origin, grade, compartments, agencies, epoch), sealed once to each agency,
//! under which data keys are wrapped. A record costs the same for 3 agencies and for 50.

use super::aead::{open_one, seal_one};
use super::digest::{ct_eq, digest, expand};
use super::envelope::DataKey;
use super::error::SealError;
use super::kem::{AudienceOpener, GradePublic, seal_to};
use super::sign::{PublicKey, Signature, SigningKey};
use super::verified::Verified;
use crate::domain::canon::{Canon, CanonError, Reader, Writer, read_set, write_set};
use crate::domain::ids::{AgencyId, NodeId};
use crate::domain::label::{Compartment, Grade};
use crate::domain::limits;
use crate::domain::time::Entropy;
use std::collections::{BTreeMap, BTreeSet};
use zeroize::Zeroizing;

const NAME: &str = "hufu.audience";
const VERSION: u16 = 1;
/// Most bytes of one sealed copy, of any suite.
const COPY_BYTES: usize = 4096;

/// A random key shared by one audience.
pub struct AudienceKey(Zeroizing<[u8; 32]>);

impl AudienceKey {
    /// The id, which commits to the key.
    pub fn id(&self) -> [u8; 32] {
        digest("hufu.audience-key", &[self.0.as_slice()])
    }

    /// Wraps the key of one portion of the envelope with this header hash.
    pub fn wrap_key(
        &self,
        header_hash: &[u8; 32],
        portion: u16,
        key: &DataKey,
        entropy: &mut dyn Entropy,
    ) -> Result<WrappedKey, SealError> {
        let mut nonce = [0; 12];
        entropy.fill(&mut nonce);
        let sealed = seal_one(&self.wrapping(), nonce, &wrap_aad(header_hash, portion), key.bytes(), WRAP)?;
        let sealed = sealed.try_into().map_err(|_| SealError::Seal { step: WRAP })?;
        Ok(WrappedKey { nonce, sealed })
    }

    /// Unwraps; the caller checks the key against the header (`Envelope::check_key`).
    pub fn unwrap_key(&self, header_hash: &[u8; 32], portion: u16, wrapped: &WrappedKey) -> Result<DataKey, SealError> {
        let aad = wrap_aad(header_hash, portion);
        let bytes = open_one(&self.wrapping(), wrapped.nonce, &aad, &wrapped.sealed, WRAP)?;
        DataKey::from_slice(&bytes).ok_or(SealError::Open { step: WRAP })
    }

    /// A key for another use of this audience.
    pub(super) fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        expand(&self.0, "hufu.audience-derive", &[purpose.as_bytes()])
    }

    fn wrapping(&self) -> Zeroizing<[u8; 32]> {
        self.derive("wrap")
    }
}

const WRAP: &str = "wrapped data key";

fn wrap_aad(header_hash: &[u8; 32], portion: u16) -> Vec<u8> {
    Writer::new("hufu.wrapped-key", 1).array(header_hash).u16(portion).finish()
}

/// A data key under an audience key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey {
    nonce: [u8; 12],
    sealed: [u8; 48],
}

impl Canon for WrappedKey {
    fn write(&self, w: &mut Writer) {
        w.array(&self.nonce).array(&self.sealed);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(WrappedKey { nonce: r.array()?, sealed: r.array()? })
    }
}

/// What one audience key is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AudienceScope {
    /// Agency that made the key.
    pub origin: AgencyId,
    /// The node that made and signed it.
    pub node: NodeId,
    /// Grade.
    pub grade: Grade,
    /// Compartments.
    pub compartments: BTreeSet<Compartment>,
    /// Rises with membership change, key rotation, and at least every 24 h.
    pub epoch: u64,
}

impl Canon for AudienceScope {
    fn write(&self, w: &mut Writer) {
        w.value(&self.origin).value(&self.node).value(&self.grade);
        write_set(w, &self.compartments);
        w.u64(self.epoch);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(AudienceScope {
            origin: r.value()?,
            node: r.value()?,
            grade: r.value()?,
            compartments: read_set(r, limits::COMPARTMENTS)?,
            epoch: r.u64()?,
        })
    }
}

/// An audience key as it is stored and served with the envelopes: one sealed copy for each agency, signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudienceObject {
    id: [u8; 32],
    scope: AudienceScope,
    copies: BTreeMap<AgencyId, Vec<u8>>,
    signature: Signature,
}

impl AudienceObject {
    /// Makes a key and seals it to each member's key for the scope's grade. An agency may stand once.
    pub fn create(
        scope: AudienceScope,
        members: &[(AgencyId, GradePublic)],
        signer: &SigningKey,
        entropy: &mut dyn Entropy,
    ) -> Result<(AudienceObject, AudienceKey), SealError> {
        let mut key = AudienceKey(Zeroizing::new([0u8; 32]));
        entropy.fill(key.0.as_mut_slice());
        let id = key.id();
        let info = copy_info(&id, &scope);
        let mut copies = BTreeMap::new();
        for (agency, public) in members {
            let copy = seal_to(public, &info, agency.as_str().as_bytes(), key.0.as_slice(), entropy)?;
            copies.insert(agency.clone(), copy);
        }
        if copies.is_empty() || copies.len() != members.len() || copies.len() > limits::AGENCIES {
            return Err(SealError::Limit { what: "list of members" });
        }
        let mut object = AudienceObject { id, scope, copies, signature: Signature::from_bytes([0; 64]) };
        object.signature = signer.sign(NAME, &object.body());
        Ok((object, key))
    }

    /// The key's id.
    pub fn id(&self) -> [u8; 32] {
        self.id
    }

    /// What the key is for.
    pub fn scope(&self) -> &AudienceScope {
        &self.scope
    }

    /// The agencies that have a copy.
    pub fn agencies(&self) -> impl ExactSizeIterator<Item = &AgencyId> {
        self.copies.keys()
    }

    /// Checks that `key`, the signing key of the scope's node, signed this object.
    pub fn verify(&self, key: &PublicKey) -> Result<(), SealError> {
        key.verify(NAME, &self.body(), &self.signature).map_err(|_| SealError::Signature { what: "audience key" })
    }

    /// The same; a signature that verified before is not checked again. `name` is a digest of all bytes of this object
    /// ([`AudienceObject::to_bytes`]), which the caller has already.
    pub fn verify_once(&self, key: &PublicKey, name: &[u8; 32], seen: &Verified) -> Result<(), SealError> {
        seen.verify_named(key, NAME, name, || self.verify(key))
    }

    /// Opens an agency's copy and checks it against the id.
    pub fn open_copy(&self, agency: &AgencyId, secret: &dyn AudienceOpener) -> Result<AudienceKey, SealError> {
        let copy = self.copies.get(agency).ok_or(SealError::Missing { what: "copy for this agency" })?;
        let info = copy_info(&self.id, &self.scope);
        let opened = secret.open_sealed(&info, agency.as_str().as_bytes(), copy)?;
        let mismatch = SealError::Commitment { what: "audience key" };
        let mut key = AudienceKey(Zeroizing::new([0u8; 32]));
        if opened.len() != key.0.len() {
            return Err(mismatch);
        }
        key.0.copy_from_slice(&opened);
        if ct_eq(&key.id(), &self.id) { Ok(key) } else { Err(mismatch) }
    }

    /// The bytes to send and store.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_canon()
    }

    /// Parses; says nothing about the signature.
    pub fn from_bytes(bytes: &[u8]) -> Result<AudienceObject, SealError> {
        AudienceObject::from_canon(bytes).map_err(SealError::format("audience key"))
    }

    fn body(&self) -> Vec<u8> {
        let mut w = Writer::new(NAME, VERSION);
        w.array(&self.id).value(&self.scope);
        w.list(self.copies.iter(), |w, (agency, copy)| {
            w.value(agency).bytes(copy);
        });
        w.finish()
    }
}

impl Canon for AudienceObject {
    fn write(&self, w: &mut Writer) {
        w.array(&self.body()).value(&self.signature);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        if r.str(NAME.len()).map_err(|_| CanonError::Header)? != NAME || r.u16()? != VERSION {
            return Err(CanonError::Header);
        }
        let id = r.array()?;
        let scope = r.value()?;
        let list: Vec<(AgencyId, Vec<u8>)> =
            r.list(limits::AGENCIES, |r| Ok((r.value()?, r.bytes(COPY_BYTES)?.to_vec())))?;
        if list.is_empty() || !list.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(CanonError::Invalid("order of copies"));
        }
        Ok(AudienceObject { id, scope, copies: list.into_iter().collect(), signature: r.value()? })
    }
}

fn copy_info(id: &[u8; 32], scope: &AudienceScope) -> Vec<u8> {
    Writer::new("hufu.audience-copy", 1).array(id).value(scope).finish()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::super::frozen::Counter;
    use super::super::kem::GradeSecret;
    use super::*;

    fn agency(name: &str) -> AgencyId {
        name.parse().unwrap()
    }

    fn made(e: &mut Counter) -> (AudienceObject, AudienceKey, PublicKey, GradeSecret, GradeSecret) {
        let (customs, police) = (GradeSecret::from_seed(&[1; 32]), GradeSecret::from_seed(&[2; 32]));
        let scope = AudienceScope {
            origin: agency("customs"),
            node: NodeId(7),
            grade: Grade::Secret,
            compartments: BTreeSet::from(["harbour".parse().unwrap()]),
            epoch: 4,
        };
        let signer = SigningKey::from_seed(&[5; 32]).unwrap();
        let members = [(agency("police"), police.public()), (agency("customs"), customs.public())];
        let (object, key) = AudienceObject::create(scope, &members, &signer, e).unwrap();
        (object, key, signer.public(), customs, police)
    }

    #[test]
    fn each_member_opens_its_own_copy_only() {
        let (object, key, public, customs, police) = made(&mut Counter::new());
        let read = AudienceObject::from_bytes(&object.to_bytes()).unwrap();
        assert_eq!(read, object);
        read.verify(&public).unwrap();
        assert!(read.verify(&SigningKey::from_seed(&[6; 32]).unwrap().public()).is_err());
        assert_eq!(read.open_copy(&agency("customs"), &customs).unwrap().id(), key.id());
        assert_eq!(read.open_copy(&agency("police"), &police).unwrap().id(), key.id());
        assert!(read.open_copy(&agency("police"), &customs).is_err());
        assert!(matches!(read.open_copy(&agency("coast-guard"), &customs), Err(SealError::Missing { .. })));
        let mut moved = read.clone();
        let copy = moved.copies[&agency("customs")].clone();
        moved.copies.insert(agency("police"), copy);
        assert!(moved.open_copy(&agency("police"), &customs).is_err(), "a copy is bound to its agency");
        let mut lower = read;
        lower.scope.grade = Grade::Internal;
        assert!(lower.open_copy(&agency("customs"), &customs).is_err(), "a copy is bound to its scope");
    }

    /// Under another name, or with another key, a signature is checked for itself.
    #[test]
    fn a_named_signature_is_checked_once() {
        let (object, _, public, _, _) = made(&mut Counter::new());
        let other = SigningKey::from_seed(&[6; 32]).unwrap().public();
        let mut forged = object.clone();
        forged.scope.epoch += 1;
        let seen = Verified::default();
        for _ in 0..3 {
            object.verify_once(&public, &[1; 32], &seen).unwrap();
        }
        assert_eq!(seen.checked(), 1);
        for _ in 0..2 {
            assert!(object.verify_once(&other, &[1; 32], &seen).is_err());
            assert!(forged.verify_once(&public, &[2; 32], &seen).is_err(), "what did not verify is not remembered");
        }
        assert_eq!(seen.checked(), 5);
    }

    #[test]
    fn a_copy_with_another_key_than_the_id_says_is_refused() {
        let (mut object, _, _, customs, _) = made(&mut Counter::new());
        let info = copy_info(&object.id, &object.scope);
        let forged = seal_to(&customs.public(), &info, b"customs", &[9; 32], &mut Counter::new()).unwrap();
        object.copies.insert(agency("customs"), forged);
        let refused = object.open_copy(&agency("customs"), &customs).err();
        assert_eq!(refused, Some(SealError::Commitment { what: "audience key" }));
    }

    #[test]
    fn a_flipped_bit_in_any_byte_is_found() {
        let (object, _, public, _, _) = made(&mut Counter::new());
        let bytes = object.to_bytes();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1 << (at % 8);
            assert!(!AudienceObject::from_bytes(&bad).is_ok_and(|o| o.verify(&public).is_ok()), "byte {at}");
        }
    }

    #[test]
    fn members_stand_once_and_there_is_at_least_one() {
        let (object, _, _, customs, _) = made(&mut Counter::new());
        let signer = SigningKey::from_seed(&[5; 32]).unwrap();
        let twice = vec![(agency("customs"), customs.public()); 2];
        for members in [&twice[..], &[]] {
            let made = AudienceObject::create(object.scope.clone(), members, &signer, &mut Counter::new());
            assert_eq!(made.err(), Some(SealError::Limit { what: "list of members" }));
        }
    }

    #[test]
    fn wrapped_keys_are_bound_to_key_header_and_portion() {
        let mut e = Counter::new();
        let (_, key, ..) = made(&mut e);
        let (_, other, ..) = made(&mut e);
        let data = DataKey::random(&mut e);
        let wrapped = key.wrap_key(&[8; 32], 1, &data, &mut e).unwrap();
        let wrapped = WrappedKey::from_canon(&wrapped.to_canon()).unwrap();
        assert_eq!(key.unwrap_key(&[8; 32], 1, &wrapped).unwrap().bytes(), data.bytes());
        assert!(key.unwrap_key(&[9; 32], 1, &wrapped).is_err());
        assert!(key.unwrap_key(&[8; 32], 0, &wrapped).is_err());
        assert!(other.unwrap_key(&[8; 32], 1, &wrapped).is_err());
        let mut bad = wrapped;
        bad.sealed[0] ^= 1;
        assert!(key.unwrap_key(&[8; 32], 1, &bad).is_err());
    }
}
