//! Sealing an envelope whose ciphertexts lie apart, while its texts come.

use super::aead::{CHUNK_BYTES, ChunkSealer, TAG_BYTES, key_commitment, sealed_len};
use super::digest::LongDigest;
use super::envelope::{CIPHERTEXT, CONTENT_BYTES, DataKey, EnvelopeDraft, EnvelopeIds};
use super::error::SealError;
use super::header::{Header, PortionHeader};
use super::pad::padded_len;
use crate::domain::time::Entropy;
use zeroize::Zeroizing;

/// Seals texts of known lengths that come one behind the other, in pieces cut anywhere. No more than a chunk of them is in
/// memory; what is sealed is put away at once. The lengths are part of what ciphertexts are bound to, so they are given first.
pub struct EnvelopeSealer {
    header: Header,
    context: [u8; 32],
    keys: Vec<DataKey>,
    /// Bytes of each text.
    texts: Vec<usize>,
    now: Option<Portion>,
    /// Number of the portion that is being sealed.
    number: usize,
}

/// The portion that is being sealed.
struct Portion {
    sealer: ChunkSealer,
    hash: LongDigest,
    /// What is padded of the next chunk.
    pending: Zeroizing<Vec<u8>>,
    /// Bytes of its text that are to come.
    left: usize,
}

impl EnvelopeSealer {
    /// Media types and lengths of the texts. Each is sealed under a fresh key.
    ///
    /// # Errors
    /// When they are too large, or no envelope has such portions.
    pub fn new(
        portions: &[(&str, usize)],
        ids: &EnvelopeIds,
        entropy: &mut dyn Entropy,
    ) -> Result<EnvelopeSealer, SealError> {
        let mut header = Header::of(ids, portions.len());
        for (media_type, text) in portions {
            header.portions.push(PortionHeader {
                media_type: (*media_type).to_owned(),
                ciphertext_hash: [0; 32],
                padded_size: u32::try_from(padded_len(*text)?).map_err(|_| over_limit())?,
                key_commitment: [0; 32],
            });
        }
        if header.ciphertext_sizes().fold(0, usize::saturating_add) > CONTENT_BYTES {
            return Err(over_limit());
        }
        header.check().map_err(SealError::format("envelope draft"))?;
        let context = header.context();
        let keys: Vec<DataKey> = portions.iter().map(|_| DataKey::random(entropy)).collect();
        for (key, described) in keys.iter().zip(&mut header.portions) {
            described.key_commitment = key_commitment(key.bytes(), &context);
        }
        let texts = portions.iter().map(|(_, text)| *text).collect();
        let mut sealer = EnvelopeSealer { header, context, keys, texts, now: None, number: 0 };
        sealer.begin()?;
        Ok(sealer)
    }

    /// Bytes of all ciphertexts together.
    pub fn sealed_bytes(&self) -> usize {
        self.header.ciphertext_sizes().fold(0, usize::saturating_add)
    }

    /// The next bytes of the texts; what is sealed goes to `put`.
    ///
    /// # Errors
    /// Those of `put`, and when more comes than was said.
    pub fn text<E: From<SealError>>(
        &mut self,
        bytes: &[u8],
        put: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = bytes;
        while let Some(portion) = &mut self.now {
            let (text, later) = rest.split_at_checked(portion.left).unwrap_or((rest, Default::default()));
            portion.text(text, put)?;
            rest = later;
            if portion.left > 0 {
                return Ok(());
            }
            self.end(put)?;
        }
        if rest.is_empty() { Ok(()) } else { Err(over_limit().into()) }
    }

    /// Finishes the envelope, with the keys in the order of the portions.
    ///
    /// # Errors
    /// Those of `put`, and when less came than was said.
    pub fn finish<E: From<SealError>>(
        mut self,
        entropy: &mut dyn Entropy,
        put: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(EnvelopeDraft, Vec<DataKey>), E> {
        // An empty text at the end has nothing that would end it.
        self.text(&[], put)?;
        if self.now.is_some() {
            return Err(SealError::Missing { what: "rest of the text" }.into());
        }
        let mut blind = [0; 32];
        entropy.fill(&mut blind);
        Ok((EnvelopeDraft::apart(self.header, blind), self.keys))
    }

    /// Begins the portion whose turn it is; none when all are sealed.
    fn begin(&mut self) -> Result<(), SealError> {
        let (Some(key), Some(text)) = (self.keys.get(self.number), self.texts.get(self.number)) else { return Ok(()) };
        let number = u16::try_from(self.number).map_err(|_| over_limit())?;
        let length = u32::try_from(*text).map_err(|_| over_limit())?;
        let size = padded_len(*text)?;
        let sealed = u32::try_from(sealed_len(size)).map_err(|_| over_limit())?;
        let mut pending = Zeroizing::new(Vec::<u8>::with_capacity(CHUNK_BYTES + TAG_BYTES));
        pending.extend_from_slice(&length.to_be_bytes());
        self.now = Some(Portion {
            sealer: ChunkSealer::new(key.bytes(), &self.context, number, size)?,
            hash: LongDigest::new(CIPHERTEXT, sealed),
            pending,
            left: *text,
        });
        Ok(())
    }

    /// Pads and ends the portion, and begins the next.
    fn end<E: From<SealError>>(&mut self, put: &mut dyn FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let Some(mut portion) = self.now.take() else { return Ok(()) };
        portion.pad(put)?;
        if let Some(described) = self.header.portions.get_mut(self.number) {
            described.ciphertext_hash = portion.hash.finish();
        }
        self.number += 1;
        Ok(self.begin()?)
    }
}

impl Portion {
    fn text<E: From<SealError>>(&mut self, bytes: &[u8], put: &mut dyn FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        self.left = self.left.saturating_sub(bytes.len());
        let mut rest = bytes;
        while let Some(size) = self.sealer.wants() {
            let room = size.saturating_sub(self.pending.len());
            let (now, later) = rest.split_at_checked(room).unwrap_or((rest, Default::default()));
            self.pending.extend_from_slice(now);
            rest = later;
            if self.pending.len() < size {
                return Ok(());
            }
            self.seal(put)?;
        }
        Ok(())
    }

    fn pad<E: From<SealError>>(&mut self, put: &mut dyn FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        while let Some(size) = self.sealer.wants() {
            self.pending.resize(size, 0);
            self.seal(put)?;
        }
        Ok(())
    }

    fn seal<E: From<SealError>>(&mut self, put: &mut dyn FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        self.sealer.seal(&mut self.pending)?;
        self.hash.update(&self.pending);
        put(self.pending.as_slice())?;
        self.pending.clear();
        Ok(())
    }
}

fn over_limit() -> SealError {
    SealError::Limit { what: "size of the envelope" }
}
