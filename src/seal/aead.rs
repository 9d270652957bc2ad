//! AES-256-GCM: single messages, and long ones in chunks.
//!
//! Chunks follow the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár 2015): 64 KiB of text and a tag
//! of 16 bytes each; the nonce is a prefix of 7 bytes, the chunk number (32 bits, big-endian) and one byte that
//! is 1 in the last chunk. Prefix and encryption key are derived from the data key, the header context and the
//! portion number, which stand in the associated data with the chunk number too. Cutting, swapping, repeating
//! or adding chunks, and moving them to another portion or header, all fail. Empty text is one last chunk.
//!
//! GCM does not commit to its key: check [`key_commitment`] before opening.

use super::digest::{expand, hmac};
use super::error::SealError;
use crate::domain::canon::Writer;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

/// Text bytes of one chunk.
pub const CHUNK_BYTES: usize = 64 << 10;
/// Bytes of one tag.
pub const TAG_BYTES: usize = 16;

/// What the header says about a data key: nobody finds two keys with one commitment.
pub fn key_commitment(key: &[u8; 32], context: &[u8; 32]) -> [u8; 32] {
    hmac(key, "hufu.key-commitment", &[context])
}

/// Length of the sealed form of `plaintext` bytes.
pub fn sealed_len(plaintext: usize) -> usize {
    plaintext + plaintext.div_ceil(CHUNK_BYTES).max(1) * TAG_BYTES
}

/// Seals a portion in chunks. A data key seals one portion once.
pub fn seal_chunks(key: &[u8; 32], context: &[u8; 32], portion: u16, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
    let failed = || SealError::Seal { step: "portion" };
    let stream = Stream::new(key, context, portion).ok_or_else(failed)?;
    let mut out = Vec::with_capacity(sealed_len(plaintext.len()));
    for (number, last, chunk) in pieces(plaintext, CHUNK_BYTES) {
        let start = out.len();
        out.extend_from_slice(chunk);
        let place = out.get_mut(start..).ok_or_else(failed)?;
        let number = u32::try_from(number).map_err(|_| failed())?;
        let tag = stream
            .key
            .seal_in_place_separate_tag(stream.nonce(number, last), Aad::from(stream.aad(number)), place)
            .map_err(|_| failed())?;
        out.extend_from_slice(tag.as_ref());
    }
    Ok(out)
}

/// Opens what [`seal_chunks`] made, or nothing at all.
pub fn open_chunks(
    key: &[u8; 32],
    context: &[u8; 32],
    portion: u16,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let failed = || SealError::Open { step: "portion" };
    let stream = Stream::new(key, context, portion).ok_or_else(failed)?;
    // Room for everything, so that no copy of the text stays behind in a buffer that was outgrown.
    let mut out = Zeroizing::new(Vec::<u8>::with_capacity(sealed.len()));
    for (number, last, piece) in pieces(sealed, CHUNK_BYTES + TAG_BYTES) {
        let (text, tag) = piece.split_last_chunk::<TAG_BYTES>().ok_or_else(failed)?;
        if text.is_empty() && number > 0 {
            return Err(failed());
        }
        let start = out.len();
        out.extend_from_slice(text);
        let place = out.get_mut(start..).ok_or_else(failed)?;
        let number = u32::try_from(number).map_err(|_| failed())?;
        stream
            .key
            .open_in_place_separate_tag(stream.nonce(number, last), Aad::from(stream.aad(number)), tag, place)
            .map_err(|_| failed())?;
    }
    Ok(out)
}

/// How many bytes of text the next chunk has, and whether it is the last.
#[derive(Debug, Clone, Copy)]
struct Cuts {
    left: usize,
    number: u32,
    ended: bool,
}

impl Cuts {
    fn of(bytes: usize) -> Cuts {
        Cuts { left: bytes, number: 0, ended: false }
    }

    /// Number, whether it is the last, and bytes of text.
    fn next(&mut self) -> Option<(u32, bool, usize)> {
        if self.ended {
            return None;
        }
        let (number, size) = (self.number, self.left.min(CHUNK_BYTES));
        self.left -= size;
        self.ended = self.left == 0;
        self.number = number.checked_add(1)?;
        Some((number, self.ended, size))
    }
}

/// Seals a text of known length chunk by chunk: together the bytes that [`seal_chunks`] makes of the whole. Each chunk is
/// sealed once, so that no nonce comes twice.
pub struct ChunkSealer {
    stream: Stream,
    cuts: Cuts,
}

impl ChunkSealer {
    /// For a text of `bytes`.
    pub fn new(key: &[u8; 32], context: &[u8; 32], portion: u16, bytes: usize) -> Result<ChunkSealer, SealError> {
        let stream = Stream::new(key, context, portion).ok_or(SealError::Seal { step: "portion" })?;
        Ok(ChunkSealer { stream, cuts: Cuts::of(bytes) })
    }

    /// Bytes of text that the next chunk has; none after the last.
    pub fn wants(&self) -> Option<usize> {
        let mut cuts = self.cuts;
        cuts.next().map(|(.., size)| size)
    }

    /// Seals the next chunk where it stands and puts its tag behind it.
    ///
    /// # Errors
    /// When it has not the length of the next chunk; the whole is spoilt then.
    pub fn seal(&mut self, chunk: &mut Vec<u8>) -> Result<(), SealError> {
        let failed = || SealError::Seal { step: "portion" };
        let (number, last, size) = self.cuts.next().ok_or_else(failed)?;
        if chunk.len() != size {
            return Err(failed());
        }
        let (nonce, aad) = (self.stream.nonce(number, last), Aad::from(self.stream.aad(number)));
        let tag = self.stream.key.seal_in_place_separate_tag(nonce, aad, chunk.as_mut_slice()).map_err(|_| failed())?;
        chunk.extend_from_slice(tag.as_ref());
        Ok(())
    }
}

/// Opens what [`seal_chunks`] or a [`ChunkSealer`] made of a text of known length, chunk by chunk. What was opened is
/// authentic; that nothing is missing is known when the last chunk is open, so nobody may act on less.
pub struct ChunkOpener {
    stream: Stream,
    cuts: Cuts,
}

impl ChunkOpener {
    /// For a text of `bytes`.
    pub fn new(key: &[u8; 32], context: &[u8; 32], portion: u16, bytes: usize) -> Result<ChunkOpener, SealError> {
        let stream = Stream::new(key, context, portion).ok_or(SealError::Open { step: "portion" })?;
        Ok(ChunkOpener { stream, cuts: Cuts::of(bytes) })
    }

    /// Sealed bytes of the next chunk; none after the last.
    pub fn wants(&self) -> Option<usize> {
        let mut cuts = self.cuts;
        cuts.next().map(|(.., size)| size + TAG_BYTES)
    }

    /// Opens the next chunk where it stands and takes its tag off.
    ///
    /// # Errors
    /// When it is not the next chunk, or was changed.
    pub fn open(&mut self, chunk: &mut Vec<u8>) -> Result<(), SealError> {
        let failed = || SealError::Open { step: "portion" };
        let (number, last, size) = self.cuts.next().ok_or_else(failed)?;
        let (text, tag) = chunk.split_last_chunk_mut::<TAG_BYTES>().ok_or_else(failed)?;
        if text.len() != size {
            return Err(failed());
        }
        let (nonce, aad) = (self.stream.nonce(number, last), Aad::from(self.stream.aad(number)));
        self.stream.key.open_in_place_separate_tag(nonce, aad, &tag[..], text).map_err(|_| failed())?;
        chunk.truncate(size);
        Ok(())
    }
}

/// Seals one short message. The pair of key and nonce must never repeat.
pub fn seal_one(
    key: &[u8; 32],
    nonce: [u8; 12],
    aad: &[u8],
    plaintext: &[u8],
    step: &'static str,
) -> Result<Vec<u8>, SealError> {
    let failed = || SealError::Seal { step };
    let key = gcm(key).ok_or_else(failed)?;
    let mut out = Vec::with_capacity(plaintext.len() + TAG_BYTES);
    out.extend_from_slice(plaintext);
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut out)
        .map_err(|_| failed())?;
    Ok(out)
}

/// Opens what [`seal_one`] made.
pub fn open_one(
    key: &[u8; 32],
    nonce: [u8; 12],
    aad: &[u8],
    sealed: &[u8],
    step: &'static str,
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let failed = || SealError::Open { step };
    let key = gcm(key).ok_or_else(failed)?;
    let (text, tag) = sealed.split_last_chunk::<TAG_BYTES>().ok_or_else(failed)?;
    let mut out = Zeroizing::new(text.to_vec());
    key.open_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), tag, out.as_mut_slice())
        .map_err(|_| failed())?;
    Ok(out)
}

struct Stream {
    key: LessSafeKey,
    prefix: [u8; 7],
    context: [u8; 32],
    portion: u16,
}

impl Stream {
    fn new(key: &[u8; 32], context: &[u8; 32], portion: u16) -> Option<Stream> {
        let number = portion.to_be_bytes();
        let [a, b, c, d, e, f, g, ..] = *expand(key, "hufu.chunk-nonce", &[context, &number]);
        let key = gcm(&expand(key, "hufu.chunk-key", &[context, &number]))?;
        Some(Stream { key, prefix: [a, b, c, d, e, f, g], context: *context, portion })
    }

    fn nonce(&self, chunk: u32, last: bool) -> Nonce {
        let [a, b, c, d, e, f, g] = self.prefix;
        let [w, x, y, z] = chunk.to_be_bytes();
        Nonce::assume_unique_for_key([a, b, c, d, e, f, g, w, x, y, z, u8::from(last)])
    }

    fn aad(&self, chunk: u32) -> Vec<u8> {
        Writer::new("hufu.chunk", 1).array(&self.context).u16(self.portion).u32(chunk).finish()
    }
}

/// Number, whether it is the last, and bytes of each piece; empty input is one empty piece.
fn pieces(input: &[u8], size: usize) -> impl Iterator<Item = (usize, bool, &[u8])> {
    let count = input.len().div_ceil(size).max(1);
    let empty = input.is_empty().then_some(input);
    input.chunks(size).chain(empty).enumerate().map(move |(i, piece)| (i, i + 1 == count, piece))
}

fn gcm(key: &[u8; 32]) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, key).ok().map(LessSafeKey::new)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [1; 32];
    const CTX: [u8; 32] = [2; 32];
    const SEALED: usize = CHUNK_BYTES + TAG_BYTES;

    fn text(n: usize) -> Vec<u8> {
        (0..n).map(|i| (i % 251) as u8).collect()
    }

    fn opens(sealed: &[u8]) -> bool {
        open_chunks(&KEY, &CTX, 0, sealed).is_ok()
    }

    #[test]
    fn round_trips_at_the_edges_of_chunks() {
        for n in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 3 * CHUNK_BYTES + 7] {
            let sealed = seal_chunks(&KEY, &CTX, 0, &text(n)).unwrap();
            assert_eq!(sealed.len(), sealed_len(n), "{n}");
            assert_eq!(*open_chunks(&KEY, &CTX, 0, &sealed).unwrap(), text(n), "{n}");
        }
    }

    #[test]
    fn cut_swapped_repeated_and_added_chunks_are_refused() {
        let sealed = seal_chunks(&KEY, &CTX, 0, &text(3 * CHUNK_BYTES)).unwrap();
        assert!(opens(&sealed));
        for cut in [0, 1, TAG_BYTES, SEALED - 1, SEALED, 2 * SEALED, 3 * SEALED - 1] {
            assert!(!opens(&sealed[..cut]), "cut at {cut}");
        }
        let (a, b, c) = (&sealed[..SEALED], &sealed[SEALED..2 * SEALED], &sealed[2 * SEALED..]);
        for order in [[b, a, c], [a, c, b], [a, a, c], [c, b, a]] {
            assert!(!opens(&order.concat()));
        }
        for added in [&[a, b, c, c][..], &[a, b, b, c][..], &[a, b, c, &[0; 16]][..], &[a, b, c, &[0]][..]] {
            assert!(!opens(&added.concat()));
        }
        let empty = seal_chunks(&KEY, &CTX, 0, &[]).unwrap();
        assert!(opens(&empty) && !opens(&[]) && !opens(&[sealed.as_slice(), &empty].concat()));
    }

    #[test]
    fn chunk_by_chunk_makes_and_opens_the_same() {
        for n in [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 3 * CHUNK_BYTES + 7] {
            let (whole, mut sealed) = (text(n), Vec::new());
            let mut sealer = ChunkSealer::new(&KEY, &CTX, 0, n).unwrap();
            while let Some(size) = sealer.wants() {
                let at = sealed.len() - sealed.len() / SEALED * TAG_BYTES;
                let mut chunk = whole[at..at + size].to_vec();
                sealer.seal(&mut chunk).unwrap();
                sealed.extend_from_slice(&chunk);
            }
            assert_eq!(sealed, seal_chunks(&KEY, &CTX, 0, &whole).unwrap(), "{n}");
            assert!(sealer.seal(&mut Vec::new()).is_err(), "no chunk behind the last");
            let (mut opened, mut at) = (Vec::new(), 0);
            let mut opener = ChunkOpener::new(&KEY, &CTX, 0, n).unwrap();
            while let Some(size) = opener.wants() {
                let mut chunk = sealed[at..at + size].to_vec();
                opener.open(&mut chunk).unwrap();
                opened.extend_from_slice(&chunk);
                at += size;
            }
            assert_eq!((opened, at), (whole, sealed.len()), "{n}");
        }
        // The second chunk in place of the first, and a text that was cut at a chunk.
        let sealed = seal_chunks(&KEY, &CTX, 0, &text(2 * CHUNK_BYTES)).unwrap();
        let opener = |n| ChunkOpener::new(&KEY, &CTX, 0, n).unwrap();
        assert!(opener(2 * CHUNK_BYTES).open(&mut sealed[SEALED..].to_vec()).is_err());
        assert!(opener(CHUNK_BYTES).open(&mut sealed[..SEALED].to_vec()).is_err());
        assert!(opener(2 * CHUNK_BYTES).open(&mut sealed[..SEALED].to_vec()).is_ok());
    }

    #[test]
    fn another_key_context_portion_or_bit_is_refused() {
        let sealed = seal_chunks(&KEY, &CTX, 3, &text(100)).unwrap();
        assert!(open_chunks(&KEY, &CTX, 3, &sealed).is_ok());
        assert!(open_chunks(&[9; 32], &CTX, 3, &sealed).is_err());
        assert!(open_chunks(&KEY, &[9; 32], 3, &sealed).is_err());
        assert!(open_chunks(&KEY, &CTX, 4, &sealed).is_err());
        for at in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[at] ^= 0x80;
            assert!(open_chunks(&KEY, &CTX, 3, &bad).is_err(), "byte {at}");
        }
    }

    #[test]
    fn single_messages_bind_their_nonce_and_associated_data() {
        let sealed = seal_one(&KEY, [3; 12], b"aad", b"message", "test").unwrap();
        assert_eq!(open_one(&KEY, [3; 12], b"aad", &sealed, "test").unwrap().as_slice(), b"message");
        assert!(open_one(&KEY, [4; 12], b"aad", &sealed, "test").is_err());
        assert!(open_one(&KEY, [3; 12], b"aae", &sealed, "test").is_err());
        assert!(open_one(&[0; 32], [3; 12], b"aad", &sealed, "test").is_err());
        assert!(open_one(&KEY, [3; 12], b"aad", &sealed[..15], "test").is_err());
    }

    #[test]
    fn a_commitment_depends_on_key_and_context() {
        let c = key_commitment(&KEY, &CTX);
        assert_ne!(c, key_commitment(&[3; 32], &CTX));
        assert_ne!(c, key_commitment(&KEY, &[3; 32]));
    }
}
