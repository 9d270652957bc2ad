//! Envelopes: sealed content of one audience class, with the proof of who sealed it (P10, P12, P14).

use super::aead::{CHUNK_BYTES, ChunkOpener, key_commitment, open_chunks, seal_chunks, sealed_len};
use super::batch::BatchSigned;
use super::digest::{ct_eq, digest};
use super::error::SealError;
use super::header::{Hashes, Header, PortionHeader};
use super::pad::{Padding, beginning, pad, padded_beginning, padded_len, unpad, unpad_whole};
use super::sealer::EnvelopeSealer;
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
/// The ciphertexts are not in it and travel and lie apart.
const APART: u16 = 2;
pub(super) const CIPHERTEXT: &str = "hufu.ciphertext";
/// Most bytes of all ciphertexts of one envelope together that stand in it.
pub const ENVELOPE_BYTES: usize = 2 << 20;
/// Most bytes of all ciphertexts of one envelope together that lie apart: 16 MiB of text, padded as it was before.
pub const CONTENT_BYTES: usize = 25 << 20;
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

impl Header {
    /// Of an envelope whose portions are not described yet.
    pub(super) fn of(ids: &EnvelopeIds, portions: usize) -> Header {
        Header {
            suite: Suite::Evaluation,
            id: ids.id,
            version: ids.version,
            originator: ids.originator.clone(),
            node: ids.node,
            created: ids.created,
            portions: Vec::with_capacity(portions),
        }
    }
}

impl EnvelopeDraft {
    /// Seals each portion under a fresh key. The keys are in the order of the portions.
    pub fn seal(
        portions: &[PortionPlain<'_>],
        ids: &EnvelopeIds,
        entropy: &mut dyn Entropy,
    ) -> Result<(EnvelopeDraft, Vec<DataKey>), SealError> {
        EnvelopeDraft::seal_padded(portions, ids, pad, entropy)
    }

    pub(super) fn seal_padded(
        portions: &[PortionPlain<'_>],
        ids: &EnvelopeIds,
        padding: Padding,
        entropy: &mut dyn Entropy,
    ) -> Result<(EnvelopeDraft, Vec<DataKey>), SealError> {
        let mut header = Header::of(ids, portions.len());
        let mut padded = Vec::with_capacity(portions.len());
        let mut total = 0usize;
        for portion in portions {
            let text = padding(portion.text)?;
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

    /// Bytes of all ciphertexts of these portions together.
    pub fn sealed_bytes(portions: &[PortionPlain<'_>]) -> Result<usize, SealError> {
        portions.iter().try_fold(0usize, |sum, p| Ok(sum.saturating_add(sealed_len(padded_len(p.text.len())?))))
    }

    /// The same as [`EnvelopeDraft::seal`] with the ciphertexts apart: each chunk goes to `put` as soon as it is sealed, one
    /// portion behind the other.
    ///
    /// # Errors
    /// Those of `put`, and as [`EnvelopeDraft::seal`].
    pub fn seal_apart<E: From<SealError>>(
        portions: &[PortionPlain<'_>],
        ids: &EnvelopeIds,
        entropy: &mut dyn Entropy,
        put: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(EnvelopeDraft, Vec<DataKey>), E> {
        let lengths: Vec<_> = portions.iter().map(|p| (p.media_type, p.text.len())).collect();
        let mut sealer = EnvelopeSealer::new(&lengths, ids, entropy)?;
        for portion in portions {
            sealer.text(portion.text, put)?;
        }
        sealer.finish(entropy, put)
    }

    /// A draft whose ciphertexts were put away.
    pub(super) fn apart(header: Header, blind: [u8; 32]) -> EnvelopeDraft {
        let hash = header.hash();
        EnvelopeDraft { header, hash, blind, ciphertexts: Vec::new() }
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

/// A sealed envelope as it is sent and stored. Its ciphertexts have the hashes and sizes of its header, or lie apart and are
/// held against it by a [`ContentCheck`](super::ContentCheck); that it is authentic says [`Envelope::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    header: Header,
    hash: [u8; 32],
    proof: BatchSigned,
    blind: [u8; 32],
    /// None when they lie apart: a header has at least one portion.
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

    /// Bytes of all ciphertexts together, wherever they lie.
    pub fn ciphertext_bytes(&self) -> usize {
        self.header.ciphertext_sizes().fold(0, usize::saturating_add)
    }

    /// Whether its ciphertexts are not in it.
    pub fn is_apart(&self) -> bool {
        self.ciphertexts.is_empty()
    }

    /// The same with the ciphertexts in it, one for each portion.
    ///
    /// # Errors
    /// When they are not those of its header, or too large together for one piece.
    pub fn with_ciphertexts(&self, ciphertexts: Vec<Vec<u8>>) -> Result<Envelope, SealError> {
        if ciphertexts.len() != self.header.portions.len() {
            return Err(SealError::Missing { what: "ciphertext of a portion" });
        }
        if self.ciphertext_bytes() > ENVELOPE_BYTES {
            return Err(over_limit());
        }
        Envelope::from_bytes(&Envelope { ciphertexts, ..self.clone() }.to_bytes())
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

    /// Writes what is neither header nor proof: the blind, and the ciphertexts, whose sizes the header has.
    pub(super) fn write_rest(&self, w: &mut Writer) {
        w.array(&self.blind);
        for ciphertext in &self.ciphertexts {
            w.array(ciphertext);
        }
    }

    /// Reads that. Ciphertexts are there whose hashes the header was read without; they are computed, and what they are worth
    /// says the signature.
    pub(super) fn read_rest(
        r: &mut Reader<'_>,
        mut header: Header,
        proof: BatchSigned,
        hashes: Hashes,
    ) -> Result<Envelope, CanonError> {
        let most = match hashes {
            Hashes::Written => CONTENT_BYTES,
            Hashes::LeftOut => ENVELOPE_BYTES,
        };
        if header.ciphertext_sizes().fold(0, usize::saturating_add) > most {
            return Err(CanonError::TooLong);
        }
        let sizes: Vec<usize> = header.ciphertext_sizes().collect();
        let (blind, mut ciphertexts) = (r.array()?, Vec::new());
        if hashes == Hashes::LeftOut {
            for (described, size) in header.portions.iter_mut().zip(sizes) {
                let ciphertext = r.take(size)?;
                described.ciphertext_hash = ciphertext_hash(ciphertext);
                ciphertexts.push(ciphertext.to_vec());
            }
        }
        let hash = header.hash();
        Ok(Envelope { header, hash, proof, blind, ciphertexts })
    }

    /// Parses and checks consistency.
    pub fn from_bytes(bytes: &[u8]) -> Result<Envelope, SealError> {
        Envelope::from_canon(bytes).map_err(SealError::format("envelope"))
    }
}

impl Canon for Envelope {
    fn write(&self, w: &mut Writer) {
        let version = if self.is_apart() { APART } else { VERSION };
        w.str(NAME).u16(version).bytes(&self.header.to_bytes()).value(&self.proof).array(&self.blind);
        if !self.is_apart() {
            w.list(self.ciphertexts.iter(), |w, c| {
                w.bytes(c);
            });
        }
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        if r.str(NAME.len()).map_err(|_| CanonError::Header)? != NAME {
            return Err(CanonError::Header);
        }
        let version = r.u16()?;
        if version != VERSION && version != APART {
            return Err(CanonError::Header);
        }
        let header = Header::parse(r.bytes(HEADER_BYTES)?)?;
        let proof = r.value()?;
        let blind = r.array()?;
        if version == APART {
            let hash = header.hash();
            let envelope = Envelope { header, hash, proof, blind, ciphertexts: Vec::new() };
            return if envelope.ciphertext_bytes() > CONTENT_BYTES { Err(CanonError::TooLong) } else { Ok(envelope) };
        }
        let mut left = ENVELOPE_BYTES;
        let ciphertexts = r.list(limits::PORTIONS, |r| {
            let c = r.bytes(left)?;
            left -= c.len();
            Ok(c.to_vec())
        })?;
        if ciphertexts.len() != header.portions.len() {
            return Err(CanonError::Invalid("number of ciphertexts"));
        }
        for ((c, p), size) in ciphertexts.iter().zip(&header.portions).zip(header.ciphertext_sizes()) {
            if size != c.len() {
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

/// The same of an envelope whose ciphertexts lie apart: `next` gives as many bytes of this portion's ciphertext as it is
/// asked for, in their order. Every chunk is authenticated before the text is answered, the last one too.
///
/// # Errors
/// Those of `next`, and as [`open_portion`].
pub fn open_portion_from<E: From<SealError>>(
    envelope: &Envelope,
    portion: usize,
    key: &DataKey,
    next: &mut dyn FnMut(usize) -> Result<Vec<u8>, E>,
) -> Result<Zeroizing<Vec<u8>>, E> {
    Ok(unpad_whole(opened_from(envelope, portion, key, usize::MAX, next)?)?)
}

/// The first `most` bytes of its text, or all of it. They are authentic; nothing is said of the rest, of which no more is
/// asked for than the chunk in which they end.
///
/// # Errors
/// As [`open_portion_from`].
pub fn open_beginning_from<E: From<SealError>>(
    envelope: &Envelope,
    portion: usize,
    key: &DataKey,
    most: usize,
    next: &mut dyn FnMut(usize) -> Result<Vec<u8>, E>,
) -> Result<Zeroizing<Vec<u8>>, E> {
    Ok(beginning(opened_from(envelope, portion, key, padded_beginning(most), next)?, most)?)
}

/// Opens chunks until `most` bytes of the padded text are there, or all of it.
fn opened_from<E: From<SealError>>(
    envelope: &Envelope,
    portion: usize,
    key: &DataKey,
    most: usize,
    next: &mut dyn FnMut(usize) -> Result<Vec<u8>, E>,
) -> Result<Zeroizing<Vec<u8>>, E> {
    let missing = || SealError::Missing { what: "such portion" };
    envelope.check_key(portion, key)?;
    let described = envelope.header.portions.get(portion).ok_or_else(missing)?;
    let number = u16::try_from(portion).map_err(|_| missing())?;
    let size = usize::try_from(described.padded_size).map_err(|_| over_limit())?;
    let mut opener = ChunkOpener::new(key.bytes(), &envelope.header.context(), number, size)?;
    // Room for everything, so that no copy of the text stays behind in a buffer that was outgrown.
    let room = size.min(most.saturating_add(CHUNK_BYTES));
    let mut padded = Zeroizing::new(Vec::<u8>::with_capacity(room));
    while let Some(bytes) = opener.wants().filter(|_| padded.len() < most) {
        let mut chunk = Zeroizing::new(next(bytes)?);
        opener.open(&mut chunk)?;
        padded.extend_from_slice(&chunk);
    }
    Ok(padded)
}

fn ciphertext_hash(ciphertext: &[u8]) -> [u8; 32] {
    digest(CIPHERTEXT, &[ciphertext])
}

fn over_limit() -> SealError {
    SealError::Limit { what: "size of the envelope" }
}

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;
