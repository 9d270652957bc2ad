//! The header of an envelope: the immutable, signed description of its content (P10).
//!
//! It names no label, audience or key; those are in grants (P11). A ciphertext's hash stands in the header, so
//! the ciphertext cannot be bound to the whole header: it is bound to [`Header::context`], everything in the
//! header that is known before sealing, and the header to the ciphertext by the hash.

use super::aead::sealed_len;
use super::batch::BatchSigned;
use super::digest::digest;
use super::error::SealError;
use super::pad::bucket;
use super::sign::PublicKey;
use super::suite::Suite;
use crate::domain::canon::{CanonError, Reader, Writer};
use crate::domain::ids::{AgencyId, NodeId, RecordId};
use crate::domain::limits;
use crate::domain::time::Millis;

const NAME: &str = "hufu.envelope";
const VERSION: u16 = 1;
const MEDIA_TYPE_BYTES: usize = 127;
/// How the key of a portion is held. 0: whole. 1 is set aside for two halves (P20).
const KEY_WHOLE: u8 = 0;

/// One portion as the header describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortionHeader {
    /// RFC 6838 media type, e.g. `text/plain`.
    pub media_type: String,
    /// Hash of the ciphertext.
    pub ciphertext_hash: [u8; 32],
    /// Bytes of the padded text: one of the size classes.
    pub padded_size: u32,
    /// Commitment to the data key.
    pub key_commitment: [u8; 32],
}

/// Whether the hashes of the ciphertexts stand in a header, or are to be computed from what lies beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hashes {
    Written,
    LeftOut,
}

/// The header of one version of one envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Suite of everything in the envelope.
    pub suite: Suite,
    /// Envelope id; carries the origin.
    pub id: RecordId,
    /// 1, 2, …
    pub version: u32,
    /// Whose record it is.
    pub originator: AgencyId,
    /// The node that sealed and signed it.
    pub node: NodeId,
    /// When it was sealed, by that node's clock.
    pub created: Millis,
    /// 1 to 16 portions.
    pub portions: Vec<PortionHeader>,
}

impl Header {
    /// The signed bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut w = Writer::new(NAME, VERSION);
        self.write_fields(&mut w, Hashes::Written);
        w.finish()
    }

    /// Parses signed bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Header, SealError> {
        Header::parse(bytes).map_err(SealError::format("envelope header"))
    }

    /// What the batch signature and the ledger's commitment are about.
    pub fn hash(&self) -> [u8; 32] {
        digest("hufu.header", &[&self.to_bytes()])
    }

    /// What ciphertexts and key commitments are bound to.
    pub fn context(&self) -> [u8; 32] {
        let mut w = Writer::new("hufu.envelope-context", VERSION);
        self.write_names(&mut w);
        w.list(self.portions.iter(), |w, p| {
            w.str(&p.media_type).u32(p.padded_size).u8(KEY_WHOLE);
        });
        digest("hufu.header-context", &[&w.finish()])
    }

    /// Bytes of each portion's ciphertext, as its padded size has it.
    pub fn ciphertext_sizes(&self) -> impl Iterator<Item = usize> + '_ {
        self.portions.iter().map(|p| usize::try_from(p.padded_size).map_or(usize::MAX, sealed_len))
    }

    /// Checks that `key`, the signing key of [`Header::node`], signed this header.
    pub fn verify(&self, proof: &BatchSigned, key: &PublicKey) -> Result<(), SealError> {
        proof.verify(&self.hash(), key).map_err(|_| SealError::Signature { what: "envelope" })
    }

    fn write_names(&self, w: &mut Writer) {
        w.value(&self.suite).value(&self.id).u32(self.version).value(&self.originator).value(&self.node);
        w.value(&self.created);
    }

    /// Every field in its order.
    pub(super) fn write_fields(&self, w: &mut Writer, hashes: Hashes) {
        self.write_names(w);
        w.list(self.portions.iter(), |w, p| {
            w.str(&p.media_type);
            if hashes == Hashes::Written {
                w.array(&p.ciphertext_hash);
            }
            w.u32(p.padded_size).u8(KEY_WHOLE).array(&p.key_commitment);
        });
    }

    /// Reads them; hashes that were left out are zeros until whoever reads the ciphertexts has computed them.
    pub(super) fn read_fields(r: &mut Reader<'_>, hashes: Hashes) -> Result<Header, CanonError> {
        let header = Header {
            suite: r.value()?,
            id: r.value()?,
            version: r.u32()?,
            originator: r.value()?,
            node: r.value()?,
            created: r.value()?,
            portions: r.list(limits::PORTIONS, |r| {
                let media_type = r.str(MEDIA_TYPE_BYTES)?.to_owned();
                let ciphertext_hash = match hashes {
                    Hashes::Written => r.array()?,
                    Hashes::LeftOut => [0; 32],
                };
                let padded_size = r.u32()?;
                if r.u8()? != KEY_WHOLE {
                    return Err(CanonError::Invalid("form of a data key: this build knows whole keys only"));
                }
                Ok(PortionHeader { media_type, ciphertext_hash, padded_size, key_commitment: r.array()? })
            })?,
        };
        header.check()?;
        Ok(header)
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Header, CanonError> {
        let mut r = Reader::new(bytes, NAME, VERSION)?;
        let header = Header::read_fields(&mut r, Hashes::Written)?;
        r.finish()?;
        Ok(header)
    }

    /// What both the writer and the reader refuse.
    pub(super) fn check(&self) -> Result<(), CanonError> {
        if self.version == 0 {
            return Err(CanonError::Invalid("envelope version"));
        }
        if self.portions.is_empty() || self.portions.len() > limits::PORTIONS {
            return Err(CanonError::Invalid("number of portions"));
        }
        for p in &self.portions {
            if !is_media_type(&p.media_type) {
                return Err(CanonError::Invalid("media type"));
            }
            let size = usize::try_from(p.padded_size).map_err(|_| CanonError::TooLong)?;
            if bucket(size) != Some(size) {
                return Err(CanonError::Invalid("padded size"));
            }
        }
        Ok(())
    }
}

/// `type/subtype` of RFC 6838 §4.2, with parameters allowed behind.
fn is_media_type(text: &str) -> bool {
    text.len() <= MEDIA_TYPE_BYTES
        && text.bytes().all(|b| matches!(b, b' '..=b'~'))
        && text.split_once('/').is_some_and(|(kind, rest)| !kind.is_empty() && !rest.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::*;

    fn header() -> Header {
        let portion = PortionHeader {
            media_type: "text/plain".to_owned(),
            ciphertext_hash: [1; 32],
            padded_size: 512,
            key_commitment: [2; 32],
        };
        Header {
            suite: Suite::Evaluation,
            id: RecordId::from_bytes([3; 16]),
            version: 1,
            originator: "customs".parse().unwrap(),
            node: NodeId(7),
            created: Millis(1_000),
            portions: vec![portion.clone(), portion],
        }
    }

    #[test]
    fn round_trip_and_refusals() {
        let good = header();
        assert_eq!(Header::from_bytes(&good.to_bytes()).unwrap(), good);
        let refuse = |change: fn(&mut Header)| {
            let mut bad = header();
            change(&mut bad);
            assert!(Header::from_bytes(&bad.to_bytes()).is_err());
        };
        refuse(|h| h.version = 0);
        refuse(|h| h.portions.clear());
        refuse(|h| h.portions = vec![h.portions[0].clone(); limits::PORTIONS + 1]);
        refuse(|h| h.portions[0].padded_size = 513);
        refuse(|h| h.portions[0].padded_size = 240);
        refuse(|h| h.portions[0].media_type = "plain".to_owned());
        refuse(|h| h.portions[0].media_type = "text/\n".to_owned());
        let mut halves = good.to_bytes();
        let form = halves.len() - 33;
        halves[form] = 1;
        assert!(Header::from_bytes(&halves).is_err());
    }

    #[test]
    fn the_context_leaves_out_what_depends_on_it_and_nothing_else() {
        let base = header();
        let mut same = header();
        same.portions[0].ciphertext_hash = [9; 32];
        same.portions[1].key_commitment = [9; 32];
        assert_eq!(base.context(), same.context());
        assert_ne!(base.hash(), same.hash());
        let changes: [fn(&mut Header); 7] = [
            |h| h.id = RecordId::from_bytes([4; 16]),
            |h| h.version = 2,
            |h| h.originator = "police".parse().unwrap(),
            |h| h.node = NodeId(8),
            |h| h.created = Millis(1_001),
            |h| h.portions[1].media_type = "text/html".to_owned(),
            |h| h.portions[1].padded_size = 768,
        ];
        for (i, change) in changes.iter().enumerate() {
            let mut other = header();
            change(&mut other);
            assert_ne!(base.context(), other.context(), "change {i}");
            assert_ne!(base.hash(), other.hash(), "change {i}");
        }
    }
}
