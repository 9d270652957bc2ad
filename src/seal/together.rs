//! An envelope and the grant that was signed with it, as they are stored: without what follows from the rest.
//!
//! Left out are the hashes of ciphertexts that lie in it, the lowest hash of the envelope's proof (the grant's), the grant's proof,
//! its names, and the id of its audience key. What is put together again is the very pair that it was, or does not verify: the
//! one signature covers every hash that is computed here.

use super::audience::AudienceObject;
use super::batch::BatchSigned;
use super::envelope::Envelope;
use super::error::SealError;
use super::grant::{GrantDraft, SealedGrant};
use super::header::{Hashes, Header};
use crate::domain::canon::{CanonError, Reader, Writer};

/// The bytes of both, without the audience object. None when something does not follow: a grant that was signed apart from the
/// envelope.
pub fn write_together(envelope: &Envelope, grant: &SealedGrant, audience: &AudienceObject) -> Option<Vec<u8>> {
    if !grant.follows(envelope, audience) {
        return None;
    }
    let apart = envelope.is_apart();
    let mut w = Writer::bare();
    w.flag(apart);
    // The grant before the proof, which needs its hash; the ciphertexts last.
    envelope.header().write_fields(&mut w, if apart { Hashes::Written } else { Hashes::LeftOut });
    grant.write_rest(&mut w);
    envelope.proof().write_above(&mut w);
    envelope.write_rest(&mut w);
    Some(w.finish())
}

/// Parses what [`write_together`] wrote: the very envelope and grant that they were.
///
/// # Errors
/// When it does not parse, or no grant can have been signed with the envelope.
pub fn read_together(bytes: &[u8], audience: &AudienceObject) -> Result<(Envelope, SealedGrant), SealError> {
    read(bytes, audience).map_err(SealError::format("stored envelope with its grant"))
}

fn read(bytes: &[u8], audience: &AudienceObject) -> Result<(Envelope, SealedGrant), CanonError> {
    let mut r = Reader::bare(bytes);
    let hashes = if r.flag()? { Hashes::Written } else { Hashes::LeftOut };
    let header = Header::read_fields(&mut r, hashes)?;
    let grant = GrantDraft::read_rest(&mut r, &header, audience)?;
    let proof = BatchSigned::read_above(&mut r, &grant.hash())?;
    let envelope = Envelope::read_rest(&mut r, header, proof, hashes)?;
    r.finish()?;
    let follows = envelope.proof().of_sibling(&envelope.hash());
    let proof = follows.ok_or(CanonError::Invalid("place of an envelope among what was signed"))?;
    Ok((envelope, grant.attach(proof)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::super::audience::AudienceScope;
    use super::super::batch::sign_batch;
    use super::super::envelope::{EnvelopeDraft, EnvelopeIds, PortionPlain};
    use super::super::frozen::{Counter, label};
    use super::super::grant::GrantBody;
    use super::super::kem::GradeSecret;
    use super::super::sign::{PublicKey, SigningKey};
    use super::*;
    use crate::domain::canon::Canon;
    use crate::domain::ids::{AgencyId, NodeId, RecordId};
    use crate::domain::label::Grade;
    use crate::domain::time::Millis;
    use std::collections::BTreeSet;

    type Pair = (Envelope, SealedGrant);

    /// Three that were signed at once; the ciphertexts of the last lie apart.
    fn three(audiences: u64) -> (Vec<Pair>, AudienceObject, PublicKey) {
        let mut e = Counter::at(audiences);
        let signer = SigningKey::from_seed(&[5; 32]).unwrap();
        let (origin, node): (AgencyId, _) = ("customs".parse().unwrap(), NodeId(7));
        let (grade, compartments) = (Grade::Secret, BTreeSet::new());
        let scope = AudienceScope { origin: origin.clone(), node, grade, compartments, epoch: 1 };
        let members = [("police".parse::<AgencyId>().unwrap(), GradeSecret::from_seed(&[2; 32]).public())];
        let (audience, key) = AudienceObject::create(scope, &members, &signer, &mut e).unwrap();
        let mut drafts = Vec::new();
        for n in 0..3u8 {
            let (id, originator) = (RecordId::from_bytes([n; 16]), origin.clone());
            let ids = EnvelopeIds { id, version: 1, originator, node, created: Millis(1) };
            let texts: [&[u8]; 2] = [b"meta", &[7; 300]];
            let portions = texts.map(|text| PortionPlain { media_type: "text/plain", text });
            let (envelope, _) = if n < 2 {
                EnvelopeDraft::seal(&portions, &ids, &mut e).unwrap()
            } else {
                EnvelopeDraft::seal_apart(&portions, &ids, &mut e, &mut |_| Ok::<(), SealError>(())).unwrap()
            };
            let body = GrantBody {
                envelope: id,
                version: 1,
                header_hash: envelope.hash(),
                label: label(),
                agencies: BTreeSet::from(["police".parse().unwrap()]),
                agreement: None,
                keys: Vec::new(),
                pull_checks: vec![[6; 32]],
                no_notification: false,
                posts: Vec::new(),
                lower: Vec::new(),
            };
            drafts.push((envelope, GrantDraft::create(&body, &key, origin.clone(), node, &mut e).unwrap()));
        }
        let leaves: Vec<[u8; 32]> = drafts.iter().flat_map(|(e, g)| [e.hash(), g.hash()]).collect();
        let mut proofs = sign_batch(&signer, &leaves).into_iter();
        let mut signed = Vec::new();
        for (envelope, grant) in drafts {
            signed.push((envelope.attach(proofs.next().unwrap()), grant.attach(proofs.next().unwrap())));
        }
        (signed, audience, signer.public())
    }

    #[test]
    fn what_is_put_together_again_is_the_very_pair() {
        let (pairs, audience, _) = three(0);
        for (n, pair) in pairs.iter().enumerate() {
            let (envelope, grant) = pair;
            let bytes = write_together(envelope, grant, &audience).unwrap();
            assert_eq!(read_together(&bytes, &audience).as_ref(), Ok(pair), "{n}");
            let hashes = 32 * envelope.proof().path.len() + if envelope.is_apart() { 0 } else { 2 * 32 + 3 * 4 };
            let whole = envelope.to_bytes().len() + grant.to_bytes().len();
            assert_eq!(whole - bytes.len(), hashes + 214, "{n}: hashes, lengths, a signature, and names");
            for cut in 0..bytes.len() {
                assert!(read_together(&bytes[..cut], &audience).is_err(), "{n}: cut at {cut}");
            }
            assert!(read_together(&[bytes.as_slice(), &[0]].concat(), &audience).is_err(), "{n}");
        }
    }

    #[test]
    fn a_flipped_bit_in_any_byte_is_found() {
        let (pairs, audience, key) = three(0);
        for (n, (envelope, grant)) in pairs.iter().enumerate() {
            let bytes = write_together(envelope, grant, &audience).unwrap();
            let accepted = |bytes: &[u8], audience: &AudienceObject| {
                read_together(bytes, audience).is_ok_and(|(e, g)| {
                    let signed = e.verify(&key).is_ok() && g.verify(&key).is_ok();
                    signed && e.commitment() == envelope.commitment() && g.commitment() == grant.commitment()
                })
            };
            assert!(accepted(&bytes, &audience));
            for at in 0..bytes.len() {
                let mut bad = bytes.clone();
                bad[at] ^= 1 << (at % 8);
                assert!(!accepted(&bad, &audience), "{n}: byte {at}");
            }
            let (_, other, _) = three(1_000);
            assert!(!accepted(&bytes, &other), "{n}: beside another audience key");
        }
    }

    #[test]
    fn what_does_not_follow_is_not_left_out() {
        let (pairs, audience, _) = three(0);
        let ((envelope, grant), (next, _)) = (&pairs[0], &pairs[1]);
        assert!(write_together(next, grant, &audience).is_none(), "beside another envelope");
        let (_, other, _) = three(1_000);
        assert!(write_together(envelope, grant, &other).is_none(), "beside another audience key");
        // Signed at another time. A proof of three hashes takes 172 bytes at the end.
        let signer = SigningKey::from_seed(&[5; 32]).unwrap();
        let mut bytes = grant.to_bytes();
        bytes.truncate(bytes.len() - (4 + 3 * 32 + 4 + 4 + 64));
        bytes.extend(sign_batch(&signer, &[[1; 32], grant.hash()]).remove(1).to_canon());
        let apart = SealedGrant::from_bytes(&bytes).unwrap();
        assert_eq!(apart.hash(), grant.hash());
        assert!(write_together(envelope, &apart, &audience).is_none());
    }
}
