//! Hashes, MACs and derived keys, each under a domain. SHA-256 (FIPS 180-4), HMAC (RFC 2104), HKDF-Expand
//! (RFC 5869 §2.3).
//!
//! The framing is that of the canonical writer: a 32-bit big-endian length before the domain and before each
//! part, so that no two lists of parts give the same bytes.

use aws_lc_rs::{constant_time, digest as sha, hmac as mac};
use zeroize::Zeroizing;

/// SHA-256 over the length-prefixed domain and parts.
pub fn digest(domain: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = sha::Context::new(&sha::SHA256);
    frame(domain, parts, |bytes| context.update(bytes));
    first_32(context.finish().as_ref())
}

/// [`digest`] of one long part that comes in pieces. The length stands before the part, so it is given first; if another
/// one comes, the result is no digest of anything.
pub struct LongDigest(sha::Context);

impl LongDigest {
    /// For a part of `length` bytes.
    pub fn new(domain: &str, length: u32) -> LongDigest {
        let mut context = sha::Context::new(&sha::SHA256);
        frame(domain, &[], |bytes| context.update(bytes));
        context.update(&length.to_be_bytes());
        LongDigest(context)
    }

    /// The next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The digest.
    pub fn finish(self) -> [u8; 32] {
        first_32(self.0.finish().as_ref())
    }
}

/// Plain SHA-256 over the concatenated parts, for formats of other people's standards (RFC 6962, C2SP).
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = sha::Context::new(&sha::SHA256);
    parts.iter().for_each(|part| context.update(part));
    first_32(context.finish().as_ref())
}

/// [`sha256`] of what comes in pieces.
pub struct Sha256(sha::Context);

impl Default for Sha256 {
    fn default() -> Sha256 {
        Sha256(sha::Context::new(&sha::SHA256))
    }
}

impl Sha256 {
    /// The next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The digest.
    pub fn finish(self) -> [u8; 32] {
        first_32(self.0.finish().as_ref())
    }
}

/// HMAC-SHA-256 over the length-prefixed domain and parts.
pub fn hmac(key: &[u8; 32], domain: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = mac::Context::with_key(&mac::Key::new(mac::HMAC_SHA256, key));
    frame(domain, parts, |bytes| context.update(bytes));
    first_32(context.sign().as_ref())
}

/// Plain HMAC-SHA-256 (RFC 2104) over the parts one after the other, for receivers outside this product: no domain, no
/// lengths. Its keys serve nothing else.
pub fn signature_of(secret: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = mac::Context::with_key(&mac::Key::new(mac::HMAC_SHA256, secret));
    parts.iter().for_each(|part| context.update(part));
    first_32(context.sign().as_ref())
}

/// A key of 32 bytes derived from a key that is itself uniformly random: the first block of
/// HKDF-Expand-SHA-256 with the framed domain and parts as `info`. Its input ends in 0x01, which no
/// [`hmac`] input of this room can, so the two never meet.
pub fn expand(key: &[u8; 32], domain: &str, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut context = mac::Context::with_key(&mac::Key::new(mac::HMAC_SHA256, key));
    frame(domain, parts, |bytes| context.update(bytes));
    context.update(&[1]);
    Zeroizing::new(first_32(context.sign().as_ref()))
}

/// Compares without revealing by time where the first difference is. Different lengths are unequal.
pub fn ct_eq(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

fn frame(domain: &str, parts: &[&[u8]], mut put: impl FnMut(&[u8])) {
    for part in std::iter::once(domain.as_bytes()).chain(parts.iter().copied()) {
        put(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        put(part);
    }
}

fn first_32(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0u8; 32];
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = *from;
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::*;
    use crate::domain::canon::Writer;
    use data_encoding::HEXLOWER;

    #[test]
    fn the_framing_is_the_canonical_writers() {
        let bytes = Writer::bare().str("hufu.test").bytes(b"a").bytes(b"bc").finish();
        let plain = sha::digest(&sha::SHA256, &bytes);
        assert_eq!(digest("hufu.test", &[b"a", b"bc"]).as_slice(), plain.as_ref());
    }

    #[test]
    fn a_long_part_in_pieces_has_the_same_digest() {
        let mut long = LongDigest::new("hufu.test", 3);
        for piece in [&b"a"[..], b"", b"bc"] {
            long.update(piece);
        }
        assert_eq!(long.finish(), digest("hufu.test", &[b"abc"]));
        let mut other = LongDigest::new("hufu.test", 4);
        other.update(b"abc");
        assert_ne!(other.finish(), digest("hufu.test", &[b"abc"]), "a part of another length");
    }

    #[test]
    fn values_computed_elsewhere() {
        // Python: hashlib and hmac over the same framing.
        let key = [7u8; 32];
        assert_eq!(
            HEXLOWER.encode(&digest("hufu.test", &[b"a", b"bc"])),
            "5fa277cc98184ee184a20eb2b2d5b13263c02c8ba51c33c4a4676ad7664cb9c8"
        );
        assert_eq!(
            HEXLOWER.encode(&hmac(&key, "hufu.test", &[b"a", b"bc"])),
            "6aaf62b76d284154d2084ec5611f4cdb226a5482e82dc1fda599f4fad759276f"
        );
        assert_eq!(
            HEXLOWER.encode(expand(&key, "hufu.test", &[b"a", b"bc"]).as_slice()),
            "4b0556637ec5bd16539ab5ba3fc2a86e6f1754e62cf457a67c1556ce79dd1e2f"
        );
    }

    #[test]
    fn parts_domains_and_uses_are_separate() {
        let key = [7u8; 32];
        let all = [
            digest("hufu.test", &[b"ab", b"c"]),
            digest("hufu.test", &[b"a", b"bc"]),
            digest("hufu.test", &[b"abc"]),
            digest("hufu.tes", &[b"tabc"]),
            hmac(&key, "hufu.test", &[b"abc"]),
            *expand(&key, "hufu.test", &[b"abc"]),
        ];
        for (i, a) in all.iter().enumerate() {
            for b in &all[i + 1..] {
                assert_ne!(a, b);
            }
        }
        assert!(ct_eq(&all[0], &all[0]) && !ct_eq(&all[0], &all[1]) && !ct_eq(&all[0], &all[0][..31]));
    }
}
