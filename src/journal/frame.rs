//! The stored bytes: frames and segment headers. All numbers are big-endian.
//!
//! Frame, 28 bytes and the payload:
//! `u32` payload length · `u32` CRC32C over (chain, seq, payload) · `u64` chain · `u64` seq · `u32` CRC32C over the 24
//! bytes before it · payload.
//!
//! Chain is a running 64-bit digest of every payload before the frame, so frames can be neither swapped, nor dropped,
//! nor brought in from another journal unnoticed. It is not cryptographic. The header has a check of its own so that
//! recovery may believe the length of a frame whose payload is broken: otherwise a payload that contains the image of a
//! frame could pass for an intact frame behind a broken one.
//!
//! Segment header, 28 bytes: `HUFUJRN1` · `u64` first seq · `u64` chain · `u32` CRC32C over the 24 bytes before it.

use crc32c::{crc32c, crc32c_append};

/// Bytes of a frame before its payload.
pub(super) const FRAME_HEAD: usize = 28;
/// Bytes of a segment before its first frame.
pub(super) const SEGMENT_HEAD: usize = 28;

const MAGIC: [u8; 8] = *b"HUFUJRN1";
const SUFFIX: &str = ".seg";

/// A place between two frames: the number of the next frame and the digest of all before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link {
    pub seq: u64,
    pub chain: u64,
}

impl Link {
    /// The place before the first frame of every journal.
    pub const START: Link = Link { seq: 0, chain: u64::from_be_bytes(MAGIC) };

    /// The place behind a frame with this payload.
    pub fn after(self, payload: &[u8]) -> Link {
        let (words, rest) = payload.as_chunks::<8>();
        let mut chain = stir(self.chain ^ self.seq);
        for word in words {
            chain = stir(chain ^ u64::from_be_bytes(*word));
        }
        let mut last = [0u8; 8];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        chain = stir(chain ^ u64::from_be_bytes(last));
        chain = stir(chain ^ payload.len() as u64);
        Link { seq: self.seq.saturating_add(1), chain }
    }
}

/// A permutation of the 64-bit numbers: two chains that differ stay different under equal payloads.
fn stir(x: u64) -> u64 {
    let x = (x ^ (x >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x ^ (x >> 29)
}

/// Appends the frame to `out`; returns the place behind it. The caller has checked that the length fits a `u32`.
pub(super) fn encode(link: Link, payload: &[u8], out: &mut Vec<u8>) -> Link {
    let mut head = Vec::with_capacity(FRAME_HEAD);
    head.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    head.extend_from_slice(&body_check(link, payload).to_be_bytes());
    head.extend_from_slice(&link.chain.to_be_bytes());
    head.extend_from_slice(&link.seq.to_be_bytes());
    let check = crc32c(&head);
    out.extend_from_slice(&head);
    out.extend_from_slice(&check.to_be_bytes());
    out.extend_from_slice(payload);
    link.after(payload)
}

fn body_check(link: Link, payload: &[u8]) -> u32 {
    let check = crc32c(&link.chain.to_be_bytes());
    let check = crc32c_append(check, &link.seq.to_be_bytes());
    crc32c_append(check, payload)
}

/// A frame header whose own check holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of the payload.
    pub len: u64,
    /// Where the frame says it belongs.
    pub link: Link,
    check: u32,
}

impl Head {
    /// Reads the header at the start of `bytes`; `None` if there are too few bytes or the check fails.
    pub fn decode(bytes: &[u8]) -> Option<Head> {
        let (covered, rest) = bytes.split_first_chunk::<24>()?;
        let (own, _) = rest.split_first_chunk::<4>()?;
        if crc32c(covered) != u32::from_be_bytes(*own) {
            return None;
        }
        let (len, rest) = covered.split_first_chunk::<4>()?;
        let (check, rest) = rest.split_first_chunk::<4>()?;
        let (chain, rest) = rest.split_first_chunk::<8>()?;
        let (seq, _) = rest.split_first_chunk::<8>()?;
        Some(Head {
            len: u64::from(u32::from_be_bytes(*len)),
            link: Link { seq: u64::from_be_bytes(*seq), chain: u64::from_be_bytes(*chain) },
            check: u32::from_be_bytes(*check),
        })
    }

    /// Whether this is the payload the header was written for.
    pub fn admits(&self, payload: &[u8]) -> bool {
        payload.len() as u64 == self.len && body_check(self.link, payload) == self.check
    }
}

/// The header of a segment that starts at `first`.
pub(super) fn encode_segment(first: Link) -> Vec<u8> {
    let mut out = Vec::with_capacity(SEGMENT_HEAD);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&first.seq.to_be_bytes());
    out.extend_from_slice(&first.chain.to_be_bytes());
    let check = crc32c(&out);
    out.extend_from_slice(&check.to_be_bytes());
    out
}

/// Where the segment starts; `None` if this is no segment header.
pub(super) fn decode_segment(bytes: &[u8]) -> Option<Link> {
    let (covered, rest) = bytes.split_first_chunk::<24>()?;
    let (own, _) = rest.split_first_chunk::<4>()?;
    let (magic, rest) = covered.split_first_chunk::<8>()?;
    let (seq, rest) = rest.split_first_chunk::<8>()?;
    let (chain, _) = rest.split_first_chunk::<8>()?;
    (*magic == MAGIC && crc32c(covered) == u32::from_be_bytes(*own))
        .then(|| Link { seq: u64::from_be_bytes(*seq), chain: u64::from_be_bytes(*chain) })
}

/// File name of the segment whose first frame has this number.
pub(super) fn segment_name(first_seq: u64) -> String {
    format!("{first_seq:016x}{SUFFIX}")
}

/// Whether the file claims to be a segment.
pub(super) fn is_segment(name: &str) -> bool {
    name.ends_with(SUFFIX)
}

/// The number in a segment's file name; `None` unless [`segment_name`] would write it exactly so.
pub(super) fn segment_seq(name: &str) -> Option<u64> {
    let seq = u64::from_str_radix(name.strip_suffix(SUFFIX)?, 16).ok()?;
    (segment_name(seq) == name).then_some(seq)
}
