//! Sealing to an agency's key for one grade: HPKE (RFC 9180) in base mode with X-Wing, HKDF-SHA-256 and
//! AES-256-GCM. Base mode says nothing about the sender; whoever seals must also sign.

use super::error::SealError;
use super::suite::Suite;
use crate::domain::canon::{Canon, CanonError, Reader, Writer};
use crate::domain::time::Entropy;
use data_encoding::HEXLOWER;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable, Kem as KemTrait, OpModeR, OpModeS, Serializable};
use std::convert::Infallible;
use std::fmt;
use zeroize::Zeroizing;

type Kem = hpke::kem::XWing;
type Kdf = hpke::kdf::HkdfSha256;
type Aead = hpke::aead::AesGcm256;

/// Bytes of the encapsulated key at the front of what [`seal_to`] makes.
const ENCAPSULATED: usize = 1120;
/// Most bytes of a public key of any suite.
const PUBLIC_BYTES: usize = 4096;

/// An agency's public key for one grade, checked when parsed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GradePublic {
    bytes: Vec<u8>,
}

impl GradePublic {
    /// From the 1216 bytes of an X-Wing encapsulation key.
    pub fn from_bytes(bytes: &[u8]) -> Result<GradePublic, SealError> {
        let key = GradePublic { bytes: bytes.to_vec() };
        key.parse()?;
        Ok(key)
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn parse(&self) -> Result<<Kem as KemTrait>::PublicKey, SealError> {
        <Kem as KemTrait>::PublicKey::from_bytes(&self.bytes).map_err(|_| SealError::Key { what: "grade key" })
    }
}

impl fmt::Debug for GradePublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start: Vec<u8> = self.bytes.iter().copied().take(8).collect();
        write!(f, "GradePublic({}…)", HEXLOWER.encode(&start))
    }
}

impl Canon for GradePublic {
    fn write(&self, w: &mut Writer) {
        w.value(&Suite::Evaluation).bytes(&self.bytes);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        match r.value::<Suite>()? {
            Suite::Evaluation => {
                GradePublic::from_bytes(r.bytes(PUBLIC_BYTES)?).map_err(|_| CanonError::Invalid("grade key"))
            }
        }
    }
}

/// An agency's secret key for one grade.
pub struct GradeSecret {
    key: <Kem as KemTrait>::PrivateKey,
}

impl GradeSecret {
    /// The key pair of a seed (HPKE DeriveKeyPair).
    pub fn from_seed(seed: &[u8; 32]) -> GradeSecret {
        GradeSecret { key: Kem::derive_keypair(seed).0 }
    }

    /// The public half.
    pub fn public(&self) -> GradePublic {
        GradePublic { bytes: Kem::sk_to_pk(&self.key).to_bytes().to_vec() }
    }
}

/// Opens what was sealed to one grade key. The key ring's keys do it in memory; a PKCS#11 token can do it
/// without giving the key away.
pub trait AudienceOpener {
    /// Opens what [`seal_to`] made with the same `info` and `aad`.
    fn open_sealed(&self, info: &[u8], aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError>;
}

impl AudienceOpener for GradeSecret {
    fn open_sealed(&self, info: &[u8], aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let failed = || SealError::Open { step: "copy sealed to a grade key" };
        let (encapsulated, ciphertext) = sealed.split_at_checked(ENCAPSULATED).ok_or_else(failed)?;
        let encapsulated = <Kem as KemTrait>::EncappedKey::from_bytes(encapsulated).map_err(|_| failed())?;
        hpke::single_shot_open::<Aead, Kdf, Kem>(&OpModeR::Base, &self.key, &encapsulated, info, ciphertext, aad)
            .map(Zeroizing::new)
            .map_err(|_| failed())
    }
}

/// Seals to a grade key: the encapsulated key, then the ciphertext with its tag.
pub fn seal_to(
    to: &GradePublic,
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
    entropy: &mut dyn Entropy,
) -> Result<Vec<u8>, SealError> {
    let (encapsulated, ciphertext) = hpke::single_shot_seal_with_rng::<Aead, Kdf, Kem>(
        &OpModeS::Base,
        &to.parse()?,
        info,
        plaintext,
        aad,
        &mut EntropyRng(entropy),
    )
    .map_err(|_| SealError::Seal { step: "copy for a grade key" })?;
    let mut out = encapsulated.to_bytes().to_vec();
    out.extend_from_slice(&ciphertext);
    Ok(out)
}

/// Opens with a secret key in memory.
pub fn open_with(
    secret: &GradeSecret,
    info: &[u8],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    secret.open_sealed(info, aad, sealed)
}

/// Lends the entropy seam to hpke.
struct EntropyRng<'a>(&'a mut dyn Entropy);

impl TryRng for EntropyRng<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(out);
        Ok(())
    }
}

impl TryCryptoRng for EntropyRng<'_> {}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::super::frozen::Counter;
    use super::*;

    #[test]
    fn only_the_right_key_info_and_aad_open() {
        let mut e = Counter::new();
        let (mine, other) = (GradeSecret::from_seed(&[1; 32]), GradeSecret::from_seed(&[2; 32]));
        let sealed = seal_to(&mine.public(), b"info", b"aad", b"text", &mut e).unwrap();
        assert_eq!(sealed.len(), ENCAPSULATED + 4 + 16);
        assert_eq!(open_with(&mine, b"info", b"aad", &sealed).unwrap().as_slice(), b"text");
        assert!(open_with(&other, b"info", b"aad", &sealed).is_err());
        assert!(open_with(&mine, b"inf", b"aad", &sealed).is_err());
        assert!(open_with(&mine, b"info", b"aae", &sealed).is_err());
        for cut in [0, 10, ENCAPSULATED, sealed.len() - 1] {
            assert!(open_with(&mine, b"info", b"aad", &sealed[..cut]).is_err(), "cut at {cut}");
        }
        for at in (0..sealed.len()).step_by(37) {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert!(open_with(&mine, b"info", b"aad", &bad).is_err(), "byte {at}");
        }
    }

    #[test]
    fn sealing_twice_differs_and_a_seed_always_gives_one_key() {
        let mut e = Counter::new();
        let key = GradeSecret::from_seed(&[1; 32]);
        assert_eq!(key.public(), GradeSecret::from_seed(&[1; 32]).public());
        let one = seal_to(&key.public(), b"", b"", b"text", &mut e).unwrap();
        assert_ne!(one, seal_to(&key.public(), b"", b"", b"text", &mut e).unwrap());
    }

    #[test]
    fn public_keys_have_one_form_and_bad_ones_are_refused() {
        let key = GradeSecret::from_seed(&[1; 32]).public();
        assert_eq!(key.as_bytes().len(), 1216);
        assert_eq!(GradePublic::from_canon(&key.to_canon()).unwrap(), key);
        assert!(GradePublic::from_bytes(&key.as_bytes()[1..]).is_err());
        // Coefficients of ML-KEM keys are below 3329; these are not (FIPS 203 §7.2).
        assert!(GradePublic::from_bytes(&[0xff; 1216]).is_err());
        let mut other_suite = key.to_canon();
        other_suite[1] = 3;
        assert!(matches!(GradePublic::from_canon(&other_suite), Err(CanonError::Invalid(s)) if s.contains("SM2")));
    }
}
