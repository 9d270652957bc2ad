//! How a state lies in the database (format version 2).
//!
//! Each part lies under `p` and the key that it was given. The value under `head` has the position, and how large the files
//! were when everything had been written at once. All that a save changes is one batch.
//!
//! Version 1 kept a state whole: position and state joined, cut into chunks, and stored under `g`, the generation and the
//! number of the chunk. Its head names the generation that counts and the SHA-256 of it. It is still read, and replaced by the
//! first save.

use super::error::StoreError;
use crate::domain::canon::{CanonError, Reader, Writer};
use crate::seal::digest;

/// Key of the head.
pub(super) const HEAD: &[u8] = b"head";
/// What the keys of parts begin with.
pub(super) const PART: &[u8] = b"p";
/// Most bytes of a value. A leaf of the database holds up to 17 values, and a leaf over 128 KiB goes to a file of its own
/// that is never synced; values this small keep every leaf below that.
pub(super) const VALUE_BYTES: usize = 4 << 10;

const DOMAIN: &str = "hufu.store";
const VERSION: u16 = 2;
const WHOLE: u16 = 1;

/// What a head says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Head {
    Parts(PartsHead),
    Whole(WholeHead),
}

impl Head {
    pub(super) fn decode(bytes: &[u8]) -> Result<Head, CanonError> {
        match WholeHead::decode(bytes) {
            Err(CanonError::Header) => PartsHead::decode(bytes).map(Head::Parts),
            read => read.map(Head::Whole),
        }
    }
}

/// What there is besides the parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartsHead {
    /// Where the state stands in the log.
    pub(super) applied: Vec<u8>,
    /// Bytes of the files after everything had been written at once; 0 until the save that follows.
    pub(super) whole_bytes: u64,
}

impl PartsHead {
    pub(super) fn encode(&self) -> Vec<u8> {
        Writer::new(DOMAIN, VERSION).bytes(&self.applied).u64(self.whole_bytes).finish()
    }

    fn decode(bytes: &[u8]) -> Result<PartsHead, CanonError> {
        let mut r = Reader::new(bytes, DOMAIN, VERSION)?;
        let head = PartsHead { applied: r.bytes(usize::MAX)?.to_vec(), whole_bytes: r.u64()? };
        r.finish()?;
        Ok(head)
    }
}

/// Of a state that was kept whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WholeHead {
    /// Which chunks.
    pub(super) generation: u64,
    /// How many.
    pub(super) chunks: u32,
    /// Bytes of all of them.
    pub(super) bytes: u64,
    /// Their SHA-256.
    pub(super) sum: [u8; 32],
}

impl WholeHead {
    fn decode(bytes: &[u8]) -> Result<WholeHead, CanonError> {
        let mut r = Reader::new(bytes, DOMAIN, WHOLE)?;
        let head = WholeHead { generation: r.u64()?, chunks: r.u32()?, bytes: r.u64()?, sum: r.array()? };
        r.finish()?;
        Ok(head)
    }

    /// Keys of the chunks, in order.
    pub(super) fn keys(&self) -> impl Iterator<Item = Vec<u8>> {
        let generation = self.generation;
        (0..self.chunks).map(move |n| Writer::bare().u8(b'g').u64(generation).u32(n).finish())
    }

    /// Position and state of these chunks.
    pub(super) fn part(&self, joined: &[u8]) -> Result<(Vec<u8>, Vec<u8>), StoreError> {
        if u64::try_from(joined.len()) != Ok(self.bytes) {
            return Err(StoreError::Damaged("its length is wrong"));
        }
        if digest(DOMAIN, &[joined]) != self.sum {
            return Err(StoreError::Damaged("its checksum is wrong"));
        }
        let mut r = Reader::bare(joined);
        let (applied, state) = (r.bytes(usize::MAX)?.to_vec(), r.bytes(usize::MAX)?.to_vec());
        r.finish()?;
        Ok((applied, state))
    }
}

/// What version 1 put in the database, for its tests.
#[cfg(test)]
pub(super) fn written_whole(applied: &[u8], state: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let joined = Writer::bare().bytes(applied).bytes(state).finish();
    let chunks = joined.chunks(VALUE_BYTES);
    let (count, bytes) = (chunks.len() as u32, joined.len() as u64);
    let head = WholeHead { generation: 7, chunks: count, bytes, sum: digest(DOMAIN, &[&joined]) };
    let mut w = Writer::new(DOMAIN, WHOLE);
    let encoded = w.u64(head.generation).u32(head.chunks).u64(head.bytes).array(&head.sum).finish();
    let mut all: Vec<_> = head.keys().zip(chunks.map(<[u8]>::to_vec)).collect();
    all.push((HEAD.to_vec(), encoded));
    all
}
