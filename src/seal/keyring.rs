//! The key ring: every long-lived secret of one node in one encrypted file.
//!
//! It holds the seed of the node's signing key, one seed for each grade up to the node's ceiling (the agency's
//! grade keys), and a local seed from which keys for data at rest are derived. A node below a grade does not
//! have that grade's key at all.
//!
//! An agency's further nodes have its grade keys, and keys of their own for signing and for data at rest. What all its nodes
//! must derive alike (P22) comes from the local seed of the first one, which the others hold besides.
//!
//! File, version 1: the name and version, salt, Argon2id costs and nonce in clear and authenticated; then
//! AES-256-GCM over ceiling, signing seed, local seed and grade seeds. The passphrase is stretched with Argon2id
//! (RFC 9106 §4, second recommended memory size, one lane). Version 2, of a further node: the shared seed comes last.

use super::aead::{open_one, seal_one};
use super::digest::expand;
use super::error::SealError;
use super::kem::{GradePublic, GradeSecret};
use super::sign::SigningKey;
use crate::domain::canon::{Canon, CanonError, Reader, Writer};
use crate::domain::label::Grade;
use crate::domain::time::Entropy;
use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

const NAME: &str = "hufu.keyring";
const VERSION: u16 = 1;
/// Of an agency's further node.
const FURTHER: u16 = 2;
const STEP: &str = "key ring";
const SEED: usize = 32;
/// Most bytes of the sealed part: far more than four grades need.
const SEALED_BYTES: usize = 4096;

type Seed = Zeroizing<[u8; SEED]>;

/// What stretching the passphrase costs.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Cost {
    memory_kib: u32,
    passes: u32,
}

/// 64 MiB, three passes: about a third of a second.
const COST: Cost = Cost { memory_kib: 64 << 10, passes: 3 };
/// A file that asks for more is refused before it can take the machine's memory.
const MOST: Cost = Cost { memory_kib: 1 << 20, passes: 16 };

/// The secrets of one node. Each room that keeps one has a copy: stretching the passphrase once takes long enough.
#[derive(Clone)]
pub struct KeyRing {
    ceiling: Grade,
    signing: Seed,
    local: Seed,
    /// Lowest grade first; one for each up to the ceiling.
    grades: Vec<Seed>,
    /// The local seed of the agency's first node; none there.
    shared: Option<Seed>,
}

impl KeyRing {
    /// New secrets.
    pub fn create(ceiling: Grade, entropy: &mut dyn Entropy) -> Result<KeyRing, SealError> {
        let (signing, local) = (random(entropy), random(entropy));
        let grades = grades_to(ceiling).map(|_| random(entropy)).collect();
        SigningKey::from_seed(&signing)?;
        Ok(KeyRing { ceiling, signing, local, grades, shared: None })
    }

    /// The key ring of another node of the same agency: its grade keys, and new secrets of its own (P22).
    pub fn for_another_node(&self, entropy: &mut dyn Entropy) -> Result<KeyRing, SealError> {
        let (signing, local) = (random(entropy), random(entropy));
        SigningKey::from_seed(&signing)?;
        let shared = Some(self.shared.as_ref().unwrap_or(&self.local).clone());
        Ok(KeyRing { ceiling: self.ceiling, signing, local, grades: self.grades.clone(), shared })
    }

    /// Highest grade whose key is here.
    pub fn ceiling(&self) -> Grade {
        self.ceiling
    }

    /// The node's signing key.
    pub fn signing_key(&self) -> Result<SigningKey, SealError> {
        SigningKey::from_seed(&self.signing)
    }

    /// The agency's secret key for a grade; none above the ceiling.
    pub fn grade_secret(&self, grade: Grade) -> Option<GradeSecret> {
        self.grades.get(grade as usize).map(|seed| GradeSecret::from_seed(seed))
    }

    /// The agency's public key for a grade; an error above the ceiling.
    pub fn grade_public(&self, grade: Grade) -> Result<GradePublic, SealError> {
        self.grade_secret(grade).map(|s| s.public()).ok_or(SealError::Missing { what: "key for this grade" })
    }

    /// A local key for one purpose: the vault at rest, one grade's index, the keyed hash of audited queries.
    /// It never leaves the node, and another purpose gives an unrelated key.
    pub fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        expand(&self.local, "hufu.local-key", &[purpose.as_bytes()])
    }

    /// A key for one purpose that every node of the agency derives alike.
    pub fn derive_shared(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        expand(self.shared.as_ref().unwrap_or(&self.local), "hufu.local-key", &[purpose.as_bytes()])
    }

    /// The encrypted file. The passphrase must not be empty.
    pub fn seal_file(&self, passphrase: &[u8], entropy: &mut dyn Entropy) -> Result<Vec<u8>, SealError> {
        self.seal_at(passphrase, COST, entropy)
    }

    fn seal_at(&self, passphrase: &[u8], cost: Cost, entropy: &mut dyn Entropy) -> Result<Vec<u8>, SealError> {
        let (mut salt, mut nonce) = ([0; 16], [0; 12]);
        entropy.fill(&mut salt);
        entropy.fill(&mut nonce);
        let version = if self.shared.is_some() { FURTHER } else { VERSION };
        let front = Front { version, salt, cost, nonce };
        let key = stretch(passphrase, &front)?;
        // The same bytes as the canonical writer's, in a buffer that is large enough and zeroed.
        let mut plain = Zeroizing::new(Vec::<u8>::with_capacity(1 + SEED * (3 + self.grades.len())));
        plain.push(self.ceiling as u8);
        for seed in [&self.signing, &self.local].into_iter().chain(&self.grades).chain(&self.shared) {
            plain.extend_from_slice(seed.as_slice());
        }
        let sealed = seal_one(&key, nonce, &front.to_bytes(), &plain, STEP)?;
        Ok(Writer::bare().array(&front.to_bytes()).bytes(&sealed).finish())
    }

    /// Opens the file. A wrong passphrase and a changed file look alike.
    pub fn open_file(bytes: &[u8], passphrase: &[u8]) -> Result<KeyRing, SealError> {
        let (front, sealed) = Front::split(bytes).map_err(SealError::format("key ring"))?;
        if front.cost.memory_kib > MOST.memory_kib || front.cost.passes > MOST.passes {
            return Err(SealError::Limit { what: "cost of the key ring's passphrase" });
        }
        let key = stretch(passphrase, &front)?;
        let plain = open_one(&key, front.nonce, &front.to_bytes(), sealed, STEP).map_err(|_| SealError::Passphrase)?;
        KeyRing::parse(&plain, front.version).map_err(SealError::format("content of the key ring"))
    }

    fn parse(plain: &[u8], version: u16) -> Result<KeyRing, CanonError> {
        let mut r = Reader::bare(plain);
        let ceiling = Grade::read(&mut r)?;
        let signing = Zeroizing::new(r.array::<SEED>()?);
        let local = Zeroizing::new(r.array::<SEED>()?);
        let grades = grades_to(ceiling)
            .map(|_| r.array::<SEED>().map(Zeroizing::new))
            .collect::<Result<Vec<Seed>, CanonError>>()?;
        let shared = match version {
            FURTHER => Some(Zeroizing::new(r.array::<SEED>()?)),
            _ => None,
        };
        r.finish()?;
        Ok(KeyRing { ceiling, signing, local, grades, shared })
    }
}

fn random(entropy: &mut dyn Entropy) -> Seed {
    let mut seed: Seed = Zeroizing::new([0u8; SEED]);
    entropy.fill(seed.as_mut_slice());
    seed
}

fn grades_to(ceiling: Grade) -> impl Iterator<Item = Grade> {
    Grade::ALL.into_iter().filter(move |g| *g <= ceiling)
}

/// The part of the file in clear.
struct Front {
    version: u16,
    salt: [u8; 16],
    cost: Cost,
    nonce: [u8; 12],
}

impl Front {
    fn to_bytes(&self) -> Vec<u8> {
        let mut w = Writer::new(NAME, self.version);
        w.array(&self.salt).u32(self.cost.memory_kib).u32(self.cost.passes).array(&self.nonce);
        w.finish()
    }

    fn split(bytes: &[u8]) -> Result<(Front, &[u8]), CanonError> {
        let open = |version| Reader::new(bytes, NAME, version).map(|r| (r, version));
        let (mut r, version) = open(VERSION).or_else(|_| open(FURTHER))?;
        let salt = r.array()?;
        let cost = Cost { memory_kib: r.u32()?, passes: r.u32()? };
        let nonce = r.array()?;
        let sealed = r.bytes(SEALED_BYTES)?;
        r.finish()?;
        Ok((Front { version, salt, cost, nonce }, sealed))
    }
}

fn stretch(passphrase: &[u8], front: &Front) -> Result<Seed, SealError> {
    if passphrase.is_empty() {
        return Err(SealError::Passphrase);
    }
    let failed = |_| SealError::Key { what: "cost of the key ring's passphrase" };
    let params = Params::new(front.cost.memory_kib, front.cost.passes, 1, Some(SEED)).map_err(failed)?;
    let mut key: Seed = Zeroizing::new([0u8; SEED]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase, &front.salt, key.as_mut_slice())
        .map_err(failed)?;
    Ok(key)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::super::frozen::Counter;
    use super::super::kem::{open_with, seal_to};
    use super::*;

    const CHEAP: Cost = Cost { memory_kib: 64, passes: 1 };

    fn ring() -> KeyRing {
        KeyRing::create(Grade::Secret, &mut Counter::new()).unwrap()
    }

    #[test]
    fn the_file_opens_with_its_passphrase_to_the_same_secrets() {
        let ring = ring();
        let file = ring.seal_at(b"open sesame", CHEAP, &mut Counter::new()).unwrap();
        let read = KeyRing::open_file(&file, b"open sesame").unwrap();
        assert_eq!(read.ceiling(), Grade::Secret);
        assert_eq!(read.signing_key().unwrap().public(), ring.signing_key().unwrap().public());
        assert_eq!(read.derive("vault"), ring.derive("vault"));
        for grade in Grade::ALL {
            assert_eq!(read.grade_public(grade), ring.grade_public(grade));
        }
        assert_eq!(KeyRing::open_file(&file, b"open sesamf").err(), Some(SealError::Passphrase));
        assert_eq!(KeyRing::open_file(&file, b"").err(), Some(SealError::Passphrase));
        assert_eq!(ring.seal_file(b"", &mut Counter::new()).err(), Some(SealError::Passphrase));
    }

    /// P22: an agency's nodes share its grade keys and what they must derive alike, and nothing else.
    #[test]
    fn another_node_has_the_grade_keys_and_secrets_of_its_own() {
        let first = ring();
        let mut entropy = Counter::new();
        entropy.fill(&mut [0; 7]);
        let second = first.for_another_node(&mut entropy).unwrap();
        let third = second.for_another_node(&mut entropy).unwrap();
        let file = third.seal_at(b"open sesame", CHEAP, &mut Counter::new()).unwrap();
        let read = KeyRing::open_file(&file, b"open sesame").unwrap();
        for other in [&second, &third, &read] {
            for grade in Grade::ALL {
                assert_eq!(other.grade_public(grade), first.grade_public(grade));
            }
            assert_eq!(other.derive_shared("pair-key"), first.derive_shared("pair-key"));
            assert_ne!(other.derive("vault"), first.derive("vault"));
            assert_ne!(other.signing_key().unwrap().public(), first.signing_key().unwrap().public());
        }
        assert_eq!(read.derive("vault"), third.derive("vault"));
        assert_eq!(first.derive_shared("pair-key"), first.derive("pair-key"), "as before there were further nodes");
        assert!(KeyRing::open_file(&file[..file.len() - 1], b"open sesame").is_err());
    }

    #[test]
    fn the_real_cost_works_and_an_absurd_one_is_refused() {
        let file = ring().seal_file(b"open sesame", &mut Counter::new()).unwrap();
        assert!(KeyRing::open_file(&file, b"open sesame").is_ok());
        let greedy =
            Front { version: VERSION, salt: [0; 16], cost: Cost { memory_kib: u32::MAX, passes: 1 }, nonce: [0; 12] };
        let greedy = Writer::bare().array(&greedy.to_bytes()).bytes(&[0; 64]).finish();
        assert!(matches!(KeyRing::open_file(&greedy, b"x"), Err(SealError::Limit { .. })));
    }

    #[test]
    fn a_changed_or_cut_file_is_refused() {
        let file = ring().seal_at(b"open sesame", CHEAP, &mut Counter::new()).unwrap();
        let memory = Writer::new(NAME, VERSION).finish().len() + 16;
        for at in 0..file.len() {
            let mut bad = file.clone();
            // Of the costs, change the lowest bits only, so that the test stays cheap.
            bad[at] ^= match at.checked_sub(memory) {
                Some(3 | 7) => 1,
                Some(0..8) => 0,
                _ => 0x80,
            };
            if bad != file {
                assert!(KeyRing::open_file(&bad, b"open sesame").is_err(), "byte {at}");
            }
        }
        for cut in 0..file.len() {
            assert!(KeyRing::open_file(&file[..cut], b"open sesame").is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn grades_above_the_ceiling_have_no_key_and_each_grade_its_own() {
        let ring = ring();
        assert!(ring.grade_secret(Grade::TopSecret).is_none());
        assert!(ring.grade_public(Grade::TopSecret).is_err());
        let secret = ring.grade_secret(Grade::Secret).unwrap();
        let lower = ring.grade_secret(Grade::Confidential).unwrap();
        let to_secret = ring.grade_public(Grade::Secret).unwrap();
        let sealed = seal_to(&to_secret, b"", b"", b"text", &mut Counter::new()).unwrap();
        assert!(open_with(&secret, b"", b"", &sealed).is_ok());
        assert!(open_with(&lower, b"", b"", &sealed).is_err());
        assert_ne!(ring.derive("vault"), ring.derive("index/secret"));
        let mut e = Counter::new();
        let (one, two) = (KeyRing::create(Grade::Internal, &mut e), KeyRing::create(Grade::Internal, &mut e));
        assert_ne!(one.unwrap().derive("vault"), two.unwrap().derive("vault"));
    }
}
