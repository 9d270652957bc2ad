//! Grants (P11): sealed, signed statements of who may have an envelope and under which label.
//!
//! The body is encrypted under a key derived from an audience key, padded to a size class. The ledger carries
//! a hiding commitment of the sealed bytes. The audience key's id, which commits to the key, stands in them, so
//! a grant opens in one way only.

use super::aead::{open_one, seal_one};
use super::audience::{AudienceKey, AudienceObject, WrappedKey};
use super::batch::BatchSigned;
use super::digest::{ct_eq, digest};
use super::envelope::{Envelope, hiding_commitment};
use super::error::SealError;
use super::header::Header;
use super::pad::{Padding, pad, unpad};
use super::sign::PublicKey;
use super::verified::Verified;
use crate::domain::canon::{Canon, CanonError, Reader, Writer, read_set, write_set};
use crate::domain::ids::{AgencyId, AgreementId, NodeId, RecordId};
use crate::domain::label::Label;
use crate::domain::limits;
use crate::domain::time::Entropy;
use std::collections::BTreeSet;

const NAME: &str = "hufu.grant";
const BODY: &str = "hufu.grant-body";
const VERSION: u16 = 1;
/// Of a body that names lower envelopes; one that names none is written as version 1.
const WITH_LOWER: u16 = 2;
const STEP: &str = "grant";
/// Most bytes of a sealed grant's ciphertext.
pub const GRANT_BYTES: usize = 1 << 20;
/// Most posts of one grant.
const POSTS: usize = 4096;

/// What a grant says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantBody {
    /// Envelope id.
    pub envelope: RecordId,
    /// Its version.
    pub version: u32,
    /// Its header hash.
    pub header_hash: [u8; 32],
    /// The label from now on.
    pub label: Label,
    /// Agencies that may have it by this grant.
    pub agencies: BTreeSet<AgencyId>,
    /// The agreement that covers it, with its version; none inside the originator's own agency.
    pub agreement: Option<(AgreementId, u32)>,
    /// One wrapped data key for each portion, in order.
    pub keys: Vec<WrappedKey>,
    /// Digests of the pull tokens by which a holder knows who is entitled (P13).
    pub pull_checks: Vec<[u8; 32]>,
    /// Set on back-fill: nobody is notified.
    pub no_notification: bool,
    /// Posts named by the release (P23).
    pub posts: Vec<[u8; 16]>,
    /// Envelopes with the record's portions of lower classes, highest first; they name none of it (P10).
    pub lower: Vec<(RecordId, u32)>,
}

impl Canon for GrantBody {
    fn write(&self, w: &mut Writer) {
        let version = if self.lower.is_empty() { VERSION } else { WITH_LOWER };
        w.str(BODY).u16(version).value(&self.envelope).u32(self.version).array(&self.header_hash).value(&self.label);
        write_set(w, &self.agencies);
        w.option(self.agreement.as_ref(), |w, (id, version)| {
            w.value(id).u32(*version);
        });
        w.list(self.keys.iter(), |w, k| k.write(w));
        w.list(self.pull_checks.iter(), |w, c| {
            w.array(c);
        });
        w.flag(self.no_notification);
        w.list(self.posts.iter(), |w, p| {
            w.array(p);
        });
        if version == WITH_LOWER {
            w.list(self.lower.iter(), |w, (id, version)| {
                w.value(id).u32(*version);
            });
        }
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        let version = header(r, BODY, WITH_LOWER)?;
        let body = GrantBody {
            envelope: r.value()?,
            version: r.u32()?,
            header_hash: r.array()?,
            label: r.value()?,
            agencies: read_set(r, limits::AGENCIES)?,
            agreement: r.option(|r| Ok((r.value()?, r.u32()?)))?,
            keys: r.list(limits::PORTIONS, WrappedKey::read)?,
            pull_checks: r.list(limits::AGENCIES, |r| r.array())?,
            no_notification: r.flag()?,
            posts: r.list(POSTS, |r| r.array())?,
            lower: if version == WITH_LOWER {
                r.list(limits::PORTIONS, |r| Ok((r.value()?, r.u32()?)))?
            } else {
                Vec::new()
            },
        };
        if version == WITH_LOWER && body.lower.is_empty() {
            return Err(CanonError::Invalid("version of a grant body"));
        }
        Ok(body)
    }
}

/// A sealed grant that waits for its batch signature.
pub struct GrantDraft {
    outer: Outer,
    hash: [u8; 32],
    blind: [u8; 32],
}

impl GrantDraft {
    /// Seals a body for the audience of `key`, as a node of `origin`.
    pub fn create(
        body: &GrantBody,
        key: &AudienceKey,
        origin: AgencyId,
        node: NodeId,
        entropy: &mut dyn Entropy,
    ) -> Result<GrantDraft, SealError> {
        GrantDraft::create_padded(body, key, (origin, node), pad, entropy)
    }

    pub(super) fn create_padded(
        body: &GrantBody,
        key: &AudienceKey,
        (origin, node): (AgencyId, NodeId),
        padding: Padding,
        entropy: &mut dyn Entropy,
    ) -> Result<GrantDraft, SealError> {
        let (mut nonce, mut blind) = ([0; 12], [0; 32]);
        entropy.fill(&mut nonce);
        entropy.fill(&mut blind);
        let mut outer = Outer { origin, node, audience: key.id(), nonce, ciphertext: Vec::new() };
        let padded = padding(&body.to_canon())?;
        outer.ciphertext = seal_one(&key.derive(BODY), nonce, &outer.aad(), &padded, STEP)?;
        if outer.ciphertext.len() > GRANT_BYTES {
            return Err(SealError::Limit { what: "size of the grant" });
        }
        let hash = outer.hash();
        Ok(GrantDraft { outer, hash, blind })
    }

    /// Reads what [`SealedGrant::write_rest`] wrote, with the names of the envelope that it was signed with and the id of its
    /// audience key. Whether it is that grant says the signature.
    pub(super) fn read_rest(
        r: &mut Reader<'_>,
        header: &Header,
        audience: &AudienceObject,
    ) -> Result<GrantDraft, CanonError> {
        let outer = Outer {
            origin: header.originator.clone(),
            node: header.node,
            audience: audience.id(),
            nonce: r.array()?,
            ciphertext: r.bytes(GRANT_BYTES)?.to_vec(),
        };
        let (hash, blind) = (outer.hash(), r.array()?);
        Ok(GrantDraft { outer, hash, blind })
    }

    /// The leaf to sign.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// What the ledger will carry.
    pub fn commitment(&self) -> [u8; 32] {
        hiding_commitment(&self.blind, &self.hash)
    }

    /// Finishes the grant with the proof for [`GrantDraft::hash`].
    pub fn attach(self, proof: BatchSigned) -> SealedGrant {
        SealedGrant { outer: self.outer, hash: self.hash, blind: self.blind, proof }
    }
}

/// A grant as it is sent and stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedGrant {
    outer: Outer,
    hash: [u8; 32],
    blind: [u8; 32],
    proof: BatchSigned,
}

impl SealedGrant {
    /// Agency that grants.
    pub fn origin(&self) -> &AgencyId {
        &self.outer.origin
    }

    /// The node that sealed and signed.
    pub fn node(&self) -> NodeId {
        self.outer.node
    }

    /// Id of the audience key that opens it.
    pub fn audience(&self) -> [u8; 32] {
        self.outer.audience
    }

    /// Hash of the sealed bytes.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// What the ledger carries of it.
    pub fn commitment(&self) -> [u8; 32] {
        hiding_commitment(&self.blind, &self.hash)
    }

    /// Checks that `key`, the signing key of the grant's node, signed it.
    pub fn verify(&self, key: &PublicKey) -> Result<(), SealError> {
        self.proof.verify(&self.hash, key).map_err(|_| SealError::Signature { what: "grant" })
    }

    /// The same; a signature that verified before is not checked again.
    pub fn verify_once(&self, key: &PublicKey, seen: &Verified) -> Result<(), SealError> {
        self.proof.verify_once(&self.hash, key, seen).map_err(|_| SealError::Signature { what: "grant" })
    }

    /// Opens the body with the audience key that the grant names.
    pub fn open(&self, key: &AudienceKey) -> Result<GrantBody, SealError> {
        if !ct_eq(&key.id(), &self.outer.audience) {
            return Err(SealError::Commitment { what: "audience key" });
        }
        let padded = open_one(&key.derive(BODY), self.outer.nonce, &self.outer.aad(), &self.outer.ciphertext, STEP)?;
        GrantBody::from_canon(&unpad(&padded)?).map_err(SealError::format("body of the grant"))
    }

    /// The bytes to send and store.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_canon()
    }

    /// Parses; says nothing about the signature.
    pub fn from_bytes(bytes: &[u8]) -> Result<SealedGrant, SealError> {
        SealedGrant::from_canon(bytes).map_err(SealError::format("grant"))
    }

    /// What stored blobs had of it before [`super::write_together`], beside the envelope that was signed with it: without the
    /// proof, which follows from the envelope's. None when it was signed apart from it.
    #[cfg(test)]
    pub fn to_bytes_beside(&self, envelope: &Envelope) -> Option<Vec<u8>> {
        let follows = self.is_signed_with(envelope);
        follows.then(|| Writer::bare().array(&self.outer.to_bytes()).array(&self.blind).finish())
    }

    fn is_signed_with(&self, envelope: &Envelope) -> bool {
        envelope.proof().of_sibling(&envelope.hash()).is_some_and(|proof| proof == self.proof)
    }

    /// Whether all of it but what [`SealedGrant::write_rest`] writes follows from its envelope and its audience object, and the
    /// lowest hash of its envelope's proof from it.
    pub(super) fn follows(&self, envelope: &Envelope, audience: &AudienceObject) -> bool {
        let (outer, header) = (&self.outer, envelope.header());
        let names = outer.origin == header.originator && outer.node == header.node && outer.audience == audience.id();
        names && self.is_signed_with(envelope) && envelope.proof().begins_with(&self.hash)
    }

    /// Writes what is said nowhere else.
    pub(super) fn write_rest(&self, w: &mut Writer) {
        w.array(&self.outer.nonce).bytes(&self.outer.ciphertext).array(&self.blind);
    }

    /// Parses what stored blobs had of it before, without a proof: the very grant that it was.
    ///
    /// # Errors
    /// When it does not parse, or no grant can have been signed with the envelope.
    pub fn from_bytes_beside(bytes: &[u8], envelope: &Envelope) -> Result<SealedGrant, SealError> {
        let proof =
            envelope.proof().of_sibling(&envelope.hash()).ok_or(SealError::Missing { what: "proof of a grant" })?;
        SealedGrant::read_beside(bytes, proof).map_err(SealError::format("grant"))
    }

    fn read_beside(bytes: &[u8], proof: BatchSigned) -> Result<SealedGrant, CanonError> {
        let mut r = Reader::bare(bytes);
        let (outer, blind) = (Outer::read(&mut r)?, r.array()?);
        r.finish()?;
        let hash = outer.hash();
        Ok(SealedGrant { outer, hash, blind, proof })
    }
}

impl Canon for SealedGrant {
    fn write(&self, w: &mut Writer) {
        w.array(&self.outer.to_bytes()).array(&self.blind).value(&self.proof);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        let outer = Outer::read(r)?;
        let hash = outer.hash();
        Ok(SealedGrant { outer, hash, blind: r.array()?, proof: r.value()? })
    }
}

/// The sealed bytes that are hashed, signed and committed to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Outer {
    origin: AgencyId,
    node: NodeId,
    audience: [u8; 32],
    nonce: [u8; 12],
    ciphertext: Vec<u8>,
}

impl Outer {
    fn read(r: &mut Reader<'_>) -> Result<Outer, CanonError> {
        header(r, NAME, VERSION)?;
        Ok(Outer {
            origin: r.value()?,
            node: r.value()?,
            audience: r.array()?,
            nonce: r.array()?,
            ciphertext: r.bytes(GRANT_BYTES)?.to_vec(),
        })
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut w = Writer::new(NAME, VERSION);
        w.value(&self.origin).value(&self.node).array(&self.audience).array(&self.nonce).bytes(&self.ciphertext);
        w.finish()
    }

    fn hash(&self) -> [u8; 32] {
        digest("hufu.grant-hash", &[&self.to_bytes()])
    }

    fn aad(&self) -> Vec<u8> {
        let mut w = Writer::new("hufu.grant-aad", VERSION);
        w.value(&self.origin).value(&self.node).array(&self.audience);
        w.finish()
    }
}

fn header(r: &mut Reader<'_>, name: &str, newest: u16) -> Result<u16, CanonError> {
    let named = r.str(name.len()).map_err(|_| CanonError::Header)?;
    let version = r.u16()?;
    if named != name || !(VERSION..=newest).contains(&version) { Err(CanonError::Header) } else { Ok(version) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::super::audience::{AudienceObject, AudienceScope};
    use super::super::batch::sign_batch;
    use super::super::envelope::{DataKey, EnvelopeDraft, EnvelopeIds, PortionPlain};
    use super::super::frozen::{Counter, label};
    use super::super::kem::GradeSecret;
    use super::super::sign::SigningKey;
    use super::*;
    use crate::domain::label::Grade;
    use crate::domain::time::Millis;

    fn audience(e: &mut Counter) -> AudienceKey {
        let scope = AudienceScope {
            origin: "customs".parse().unwrap(),
            node: NodeId(7),
            grade: Grade::Secret,
            compartments: BTreeSet::new(),
            epoch: 1,
        };
        let members = [("police".parse::<AgencyId>().unwrap(), GradeSecret::from_seed(&[2; 32]).public())];
        AudienceObject::create(scope, &members, &SigningKey::from_seed(&[5; 32]).unwrap(), e).unwrap().1
    }

    fn body(key: &AudienceKey, e: &mut Counter) -> GrantBody {
        let data = DataKey::random(e);
        GrantBody {
            envelope: RecordId::from_bytes([3; 16]),
            version: 1,
            header_hash: [4; 32],
            label: label(),
            agencies: BTreeSet::from(["police".parse().unwrap()]),
            agreement: Some(("border-2026".parse().unwrap(), 2)),
            keys: vec![key.wrap_key(&[4; 32], 0, &data, e).unwrap()],
            pull_checks: vec![[6; 32]],
            no_notification: true,
            posts: vec![[7; 16]],
            lower: Vec::new(),
        }
    }

    fn granted(e: &mut Counter) -> (SealedGrant, GrantBody, AudienceKey, PublicKey) {
        let key = audience(e);
        let body = body(&key, e);
        let signer = SigningKey::from_seed(&[5; 32]).unwrap();
        let draft = GrantDraft::create(&body, &key, "customs".parse().unwrap(), NodeId(7), e).unwrap();
        let commitment = draft.commitment();
        let proof = sign_batch(&signer, &[draft.hash(), [0; 32]]).remove(0);
        let grant = draft.attach(proof);
        assert_eq!(grant.commitment(), commitment);
        (grant, body, key, signer.public())
    }

    #[test]
    fn opens_for_its_audience_only() {
        let mut e = Counter::new();
        let (grant, body, key, public) = granted(&mut e);
        let read = SealedGrant::from_bytes(&grant.to_bytes()).unwrap();
        assert_eq!(read, grant);
        read.verify(&public).unwrap();
        assert_eq!(read.open(&key).unwrap(), body);
        let refused = read.open(&audience(&mut e)).unwrap_err();
        assert_eq!(refused, SealError::Commitment { what: "audience key" });
        assert!(read.verify(&SigningKey::from_seed(&[6; 32]).unwrap().public()).is_err());
    }

    #[test]
    fn a_flipped_bit_in_any_byte_is_found() {
        let (grant, _, _, public) = granted(&mut Counter::new());
        let commitment = grant.commitment();
        let bytes = grant.to_bytes();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1 << (at % 8);
            let held =
                SealedGrant::from_bytes(&bad).is_ok_and(|g| g.verify(&public).is_ok() && g.commitment() == commitment);
            assert!(!held, "byte {at}");
        }
    }

    #[test]
    fn a_grant_beside_its_envelope_needs_no_proof_of_its_own() {
        let mut e = Counter::new();
        let (key, signer) = (audience(&mut e), SigningKey::from_seed(&[5; 32]).unwrap());
        let (origin, node): (AgencyId, _) = ("customs".parse().unwrap(), NodeId(7));
        let (id, created) = (RecordId::from_bytes([3; 16]), Millis(1));
        let mut drafts = Vec::new();
        for _ in 0..3 {
            let portions = [PortionPlain { media_type: "text/plain", text: b"text" }];
            let ids = EnvelopeIds { id, version: 1, originator: origin.clone(), node, created };
            let (envelope, _) = EnvelopeDraft::seal(&portions, &ids, &mut e).unwrap();
            let body = body(&key, &mut e);
            drafts.push((envelope, GrantDraft::create(&body, &key, origin.clone(), node, &mut e).unwrap()));
        }
        let leaves: Vec<[u8; 32]> = drafts.iter().flat_map(|(e, g)| [e.hash(), g.hash()]).collect();
        let mut proofs = sign_batch(&signer, &leaves).into_iter();
        let mut signed = Vec::new();
        for (envelope, grant) in drafts {
            signed.push((envelope.attach(proofs.next().unwrap()), grant.attach(proofs.next().unwrap())));
        }
        for (n, (envelope, grant)) in signed.iter().enumerate() {
            let short = grant.to_bytes_beside(envelope).unwrap();
            let hashes = if n < 2 { 3 } else { 2 };
            assert_eq!(short.len() + 76 + hashes * 32, grant.to_bytes().len(), "a path and a signature less");
            assert_eq!(SealedGrant::from_bytes_beside(&short, envelope).unwrap(), *grant);
            assert!(grant.to_bytes_beside(&signed[(n + 1) % 3].0).is_none(), "beside another envelope");
            for cut in 0..short.len() {
                assert!(SealedGrant::from_bytes_beside(&short[..cut], envelope).is_err(), "cut at {cut}");
            }
            assert!(SealedGrant::from_bytes_beside(&[&short[..], &[0]].concat(), envelope).is_err());
        }
    }

    #[test]
    fn the_ciphertext_is_bound_to_its_sender() {
        let (grant, _, key, _) = granted(&mut Counter::new());
        let mut moved = grant.clone();
        moved.outer.node = NodeId(8);
        assert_eq!(moved.open(&key).unwrap_err(), SealError::Open { step: STEP });
        let mut moved = grant;
        moved.outer.origin = "police".parse().unwrap();
        assert_eq!(moved.open(&key).unwrap_err(), SealError::Open { step: STEP });
    }

    #[test]
    fn bodies_have_one_form() {
        let mut e = Counter::new();
        let key = audience(&mut e);
        let body = body(&key, &mut e);
        let bytes = body.to_canon();
        assert_eq!(GrantBody::from_canon(&bytes).unwrap(), body);
        let named = GrantBody { lower: vec![(body.envelope, 3)], ..body.clone() };
        let with_lower = named.to_canon();
        assert_eq!(GrantBody::from_canon(&with_lower).unwrap(), named);
        // Version 2 is version 1 and the list behind it; an empty list has one form, that of version 1.
        let at = 4 + BODY.len();
        assert_eq!((&with_lower[..at], &with_lower[at..at + 2]), (&bytes[..at], &[0, 2][..]));
        assert_eq!(with_lower[at + 2..bytes.len()], bytes[at + 2..]);
        let mut empty = bytes.clone();
        empty[at + 1] = 2;
        empty.extend([0; 4]);
        assert!(GrantBody::from_canon(&empty).is_err());
        for cut in 0..bytes.len() {
            assert!(GrantBody::from_canon(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }
}
