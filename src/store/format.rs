//! How a state lies in the database (format version 1).
//!
//! Position and state are joined to one payload, cut into chunks, and stored under `g`, the generation and the number
//! of the chunk. The value under `head` names the generation that counts, and the SHA-256 of its payload.

use super::error::StoreError;
use crate::domain::canon::{CanonError, Reader, Writer};
use crate::seal::digest;

/// Key of the head.
pub(super) const HEAD: &[u8] = b"head";
/// Bytes of a chunk. A leaf of the database holds up to 17 values, and a leaf over 128 KiB goes to a file of its own
/// that is never synced; chunks this small keep every leaf below that.
pub(super) const CHUNK_BYTES: usize = 4 << 10;

const DOMAIN: &str = "hufu.store";
const VERSION: u16 = 1;

/// What counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Which chunks; rises with every save.
    pub(super) generation: u64,
    /// How many chunks.
    pub(super) chunks: u32,
    /// Bytes of the payload.
    pub(super) bytes: u64,
    /// SHA-256 of the payload.
    pub(super) sum: [u8; 32],
}

impl Head {
    /// The head of a payload.
    pub(super) fn of(generation: u64, payload: &[u8]) -> Result<Head, StoreError> {
        let chunks = u32::try_from(payload.chunks(CHUNK_BYTES).len()).map_err(|_| StoreError::TooLarge)?;
        let bytes = u64::try_from(payload.len()).map_err(|_| StoreError::TooLarge)?;
        Ok(Head { generation, chunks, bytes, sum: sum(payload) })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        Writer::new(DOMAIN, VERSION).u64(self.generation).u32(self.chunks).u64(self.bytes).array(&self.sum).finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Head, CanonError> {
        let mut r = Reader::new(bytes, DOMAIN, VERSION)?;
        let head = Head { generation: r.u64()?, chunks: r.u32()?, bytes: r.u64()?, sum: r.array()? };
        r.finish()?;
        Ok(head)
    }

    /// Keys of the chunks, in order.
    pub(super) fn keys(&self) -> impl Iterator<Item = Vec<u8>> {
        let generation = self.generation;
        (0..self.chunks).map(move |n| Writer::bare().u8(b'g').u64(generation).u32(n).finish())
    }

    /// Refuses a payload that is not the one this head was made of.
    pub(super) fn check(&self, payload: &[u8]) -> Result<(), StoreError> {
        if u64::try_from(payload.len()) != Ok(self.bytes) {
            return Err(StoreError::Damaged("its length is wrong"));
        }
        if sum(payload) != self.sum {
            return Err(StoreError::Damaged("its checksum is wrong"));
        }
        Ok(())
    }
}

/// Joins position and state. Errors: [`StoreError::TooLarge`] from 4 GiB on.
pub(super) fn join(applied: &[u8], state: &[u8]) -> Result<Vec<u8>, StoreError> {
    if u32::try_from(applied.len()).is_err() || u32::try_from(state.len()).is_err() {
        return Err(StoreError::TooLarge);
    }
    Ok(Writer::bare().bytes(applied).bytes(state).finish())
}

/// Parts what [`join`] joined.
pub(super) fn part(payload: &[u8]) -> Result<(Vec<u8>, Vec<u8>), CanonError> {
    let mut r = Reader::bare(payload);
    let applied = r.bytes(usize::MAX)?.to_vec();
    let state = r.bytes(usize::MAX)?.to_vec();
    r.finish()?;
    Ok((applied, state))
}

fn sum(payload: &[u8]) -> [u8; 32] {
    digest(DOMAIN, &[payload])
}
