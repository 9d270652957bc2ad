//! Envelopes: sealed content of one audience class, with the proof of who sealed it (P10, P12, P14).

use super::aead::{key_commitment, open_chunks, seal_chunks, sealed_len};
use super::batch::BatchSigned;
use super::digest::{ct_eq, digest};
use super::error::SealError;
use super::header::{Header, PortionHeader};
use super::pad::{pad, unpad};
use super::sign::PublicKey;
use super::suite::Suite;
use super::verified::Verified;
use crate::domain::canon::{Canon, CanonError, Reader, Writer};
use crate::domain::ids::{AgencyId, NodeId, RecordId};
use crate::domain::limits;
use crate::domain::time::{Entropy, Millis};
use zeroize::Zeroizing;

const NAME: &str = "hufu.sealed";
const VERSION: u16 = 1;
/// Most bytes of all ciphertexts of one envelope together.
pub const ENVELOPE_BYTES: usize = 2 << 20;
const HEADER_BYTES: usize = 8 << 10;

/// The key of one portion of one version.
pub struct DataKey(Zeroizing<[u8; 32]>);

impl DataKey {
    pub(super) fn random(entropy: &mut dyn Entropy) -> DataKey {
        let mut key = Zeroizing::new([0u8; 32]);
        entropy.fill(key.as_mut_slice());
        DataKey(key)
    }

    pub(super) fn from_slice(bytes: &[u8]) -> Option<DataKey> {
        let mut key = Zeroizing::new([0u8; 32]);
        if bytes.len() != key.len() {
            return None;
        }
        key.copy_from_slice(bytes);
        Some(DataKey(key))
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// What the ledger carries of an envelope or a grant (P12): without the blind nobody can test a guess.
pub fn hiding_commitment(blind: &[u8; 32], hash: &[u8; 32]) -> [u8; 32] {
    digest("hufu.hiding-commitment", &[blind, hash])
}

/// One portion before sealing.
pub struct PortionPlain<'a> {
    /// Media type.
    pub media_type: &'a str,
    /// The text.
    pub text: &'a [u8],
}

/// What an envelope is called and who seals it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvelopeIds {
    /// Envelope id.
    pub id: RecordId,
    /// 1, 2, …
    pub version: u32,
    /// Whose record it is.
    pub originator: AgencyId,
    /// The sealing node.
    pub node: NodeId,
    /// Now.
    pub created: Millis,
}

/// A sealed envelope that waits for its batch signature.
pub struct EnvelopeDraft {
    header: Header,
    hash: [u8; 32],
    blind: [u8; 32],
    ciphertexts: Vec<Vec<u8>>,
}

impl EnvelopeDraft {
    /// Seals each portion under a fresh key. The keys are in the order of the portions.
    pub fn seal(
        portions: &[PortionPlain<'_>],
        ids: &EnvelopeIds,
        entropy: &mut dyn Entropy,
    ) -> Result<(EnvelopeDraft, Vec<DataKey>), SealError> {
        let mut header = Header {
            suite: Suite::Evaluation,
            id: ids.id,
            version: ids.version,
            originator: ids.originator.clone(),
            node: ids.node,
            created: ids.created,
            portions: Vec::with_capacity(portions.len()),
        };
        let mut padded = Vec::with_capacity(portions.len());
        let mut total = 0usize;
        for portion in portions {
            let text = pad(portion.text)?;
            total = total.saturating_add(sealed_len(text.len()));
            header.portions.push(PortionHeader {
                media_type: portion.media_type.to_owned(),
                ciphertext_hash: [0; 32],
                padded_size: u32::try_from(text.len()).map_err(|_| over_limit())?,
                key_commitment: [0; 32],
            });
            padded.push(text);
        }
        if total > ENVELOPE_BYTES {
            return Err(over_limit());
        }
        header.check().map_err(SealError::format("envelope draft"))?;
        let context = header.context();
        let mut ciphertexts = Vec::with_capacity(padded.len());
        let mut keys = Vec::with_capacity(padded.len());
        for ((number, text), portion) in (0u16..).zip(&padded).zip(&mut header.portions) {
            let key = DataKey::random(entropy);
            let ciphertext = seal_chunks(key.bytes(), &context, number, text)?;
            portion.ciphertext_hash = ciphertext_hash(&ciphertext);
            portion.key_commitment = key_commitment(key.bytes(), &context);
            ciphertexts.push(ciphertext);
            keys.push(key);
        }
        let mut blind = [0; 32];
        entropy.fill(&mut blind);
        let hash = header.hash();
        Ok((EnvelopeDraft { header, hash, blind, ciphertexts }, keys))
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The leaf to sign: the header hash.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// What the ledger will carry.
    pub fn commitment(&self) -> [u8; 32] {
        hiding_commitment(&self.blind, &self.hash)
    }

    /// Finishes the envelope with the proof for [`EnvelopeDraft::hash`].
    pub fn attach(self, proof: BatchSigned) -> Envelope {
        let EnvelopeDraft { header, hash, blind, ciphertexts } = self;
        Envelope { header, hash, proof, blind, ciphertexts }
    }
}

/// A sealed envelope as it is sent and stored. Its ciphertexts have the hashes and sizes of its header;
/// that it is authentic says [`Envelope::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    header: Header,
    hash: [u8; 32],
    proof: BatchSigned,
    blind: [u8; 32],
    ciphertexts: Vec<Vec<u8>>,
}

impl Envelope {
    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The header hash.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// What the ledger carries of it.
    pub fn commitment(&self) -> [u8; 32] {
        hiding_commitment(&self.blind, &self.hash)
    }

    /// The Merkle path and signature for the header (P14).
    pub fn proof(&self) -> &BatchSigned {
        &self.proof
    }

    /// Bytes of all ciphertexts.
    pub fn ciphertext_bytes(&self) -> usize {
        self.ciphertexts.iter().map(Vec::len).sum()
    }

    /// Checks that `key`, the signing key of the header's node, signed the header.
    pub fn verify(&self, key: &PublicKey) -> Result<(), SealError> {
        self.proof.verify(&self.hash, key).map_err(|_| SealError::Signature { what: "envelope" })
    }

    /// The same; a signature that verified before is not checked again.
    pub fn verify_once(&self, key: &PublicKey, seen: &Verified) -> Result<(), SealError> {
        self.proof.verify_once(&self.hash, key, seen).map_err(|_| SealError::Signature { what: "envelope" })
    }

    /// Checks that a data key is the one that the header commits to, without opening anything (P15).
    pub fn check_key(&self, portion: usize, key: &DataKey) -> Result<(), SealError> {
        let described = self.header.portions.get(portion).ok_or(SealError::Missing { what: "such portion" })?;
        if ct_eq(&key_commitment(key.bytes(), &self.header.context()), &described.key_commitment) {
            Ok(())
        } else {
            Err(SealError::Commitment { what: "data key" })
        }
    }

    /// The bytes to send and store.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_canon()
    }

    /// Parses and checks consistency.
    pub fn from_bytes(bytes: &[u8]) -> Result<Envelope, SealError> {
        Envelope::from_canon(bytes).map_err(SealError::format("envelope"))
    }
}

impl Canon for Envelope {
    fn write(&self, w: &mut Writer) {
        w.str(NAME).u16(VERSION).bytes(&self.header.to_bytes()).value(&self.proof).array(&self.blind);
        w.list(self.ciphertexts.iter(), |w, c| {
            w.bytes(c);
        });
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        if r.str(NAME.len()).map_err(|_| CanonError::Header)? != NAME || r.u16()? != VERSION {
            return Err(CanonError::Header);
        }
        let header = Header::parse(r.bytes(HEADER_BYTES)?)?;
        let proof = r.value()?;
        let blind = r.array()?;
        let mut left = ENVELOPE_BYTES;
        let ciphertexts = r.list(limits::PORTIONS, |r| {
            let c = r.bytes(left)?;
            left -= c.len();
            Ok(c.to_vec())
        })?;
        if ciphertexts.len() != header.portions.len() {
            return Err(CanonError::Invalid("number of ciphertexts"));
        }
        for (c, p) in ciphertexts.iter().zip(&header.portions) {
            if usize::try_from(p.padded_size).map(sealed_len) != Ok(c.len()) {
                return Err(CanonError::Invalid("size of a ciphertext"));
            }
            if ciphertext_hash(c) != p.ciphertext_hash {
                return Err(CanonError::Invalid("hash of a ciphertext"));
            }
        }
        let hash = header.hash();
        Ok(Envelope { header, hash, proof, blind, ciphertexts })
    }
}

/// Opens one portion: the text, without padding. For people this is called from `vault::disclose` alone,
/// after the audit entry is durable.
pub fn open_portion(envelope: &Envelope, portion: usize, key: &DataKey) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let missing = || SealError::Missing { what: "such portion" };
    envelope.check_key(portion, key)?;
    let ciphertext = envelope.ciphertexts.get(portion).ok_or_else(missing)?;
    let number = u16::try_from(portion).map_err(|_| missing())?;
    unpad(&open_chunks(key.bytes(), &envelope.header.context(), number, ciphertext)?)
}

fn ciphertext_hash(ciphertext: &[u8]) -> [u8; 32] {
    digest("hufu.ciphertext", &[ciphertext])
}

fn over_limit() -> SealError {
    SealError::Limit { what: "size of the envelope" }
}

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;
