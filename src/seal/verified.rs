//! Signatures that verified before: one batch root or audience key stands behind many objects, and is checked once.
//!
//! Whether a signature holds depends on key, domain, bytes and signature alone, so an answer never becomes stale; whether
//! the key still counts is asked by the caller each time. Only good ones are remembered, by a digest of all four (or of what
//! is one of bytes and signature already), and only so many: what is forgotten is checked again.

use super::digest::digest;
use super::error::SealError;
use super::sign::{PublicKey, Signature};
use crate::domain::lately::Lately;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Half of what is kept: some 4 MiB together.
const MOST: usize = 1 << 15;

/// What verified lately.
pub struct Verified {
    known: Mutex<Lately<()>>,
    /// How many signatures were checked.
    #[cfg(test)]
    checked: std::sync::atomic::AtomicUsize,
}

impl Default for Verified {
    fn default() -> Verified {
        Verified {
            known: Mutex::new(Lately::of(MOST)),
            #[cfg(test)]
            checked: Default::default(),
        }
    }
}

impl Verified {
    /// [`PublicKey::verify`], unless the same verified lately.
    pub fn verify(&self, key: &PublicKey, domain: &str, bytes: &[u8], signature: &Signature) -> Result<(), SealError> {
        let name = digest("hufu.verified", &[key.as_bytes(), domain.as_bytes(), bytes, signature.as_bytes()]);
        self.once(name, || key.verify(domain, bytes, signature))
    }

    /// The same of what has a digest already, of bytes and signature: neither is made and hashed again. `check` verifies what
    /// `named` is the digest of.
    pub(super) fn verify_named(
        &self,
        key: &PublicKey,
        domain: &str,
        named: &[u8; 32],
        check: impl FnOnce() -> Result<(), SealError>,
    ) -> Result<(), SealError> {
        let name = digest("hufu.verified-named", &[key.as_bytes(), domain.as_bytes(), named]);
        self.once(name, check)
    }

    fn once(&self, name: [u8; 32], check: impl FnOnce() -> Result<(), SealError>) -> Result<(), SealError> {
        if self.known().get(&name).is_some() {
            return Ok(());
        }
        #[cfg(test)]
        self.checked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        check()?;
        self.known().put(name, ());
        Ok(())
    }

    /// How many signatures were checked.
    #[cfg(test)]
    pub(crate) fn checked(&self) -> usize {
        self.checked.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn known(&self) -> MutexGuard<'_, Lately<()>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::super::batch::sign_batch;
    use super::super::frozen::Counter;
    use super::super::sign::SigningKey;
    use super::*;

    fn keys() -> (SigningKey, SigningKey) {
        let mut e = Counter::new();
        (SigningKey::generate(&mut e).unwrap(), SigningKey::generate(&mut e).unwrap())
    }

    #[test]
    fn the_same_is_checked_once_and_anything_else_for_itself() {
        let (key, other) = keys();
        let (seen, signature) = (Verified::default(), key.sign("hufu.a", b"message"));
        for _ in 0..3 {
            seen.verify(&key.public(), "hufu.a", b"message", &signature).unwrap();
        }
        assert_eq!(seen.checked(), 1);
        let mut flipped = *signature.as_bytes();
        flipped[40] ^= 1;
        assert!(seen.verify(&other.public(), "hufu.a", b"message", &signature).is_err());
        assert!(seen.verify(&key.public(), "hufu.b", b"message", &signature).is_err());
        assert!(seen.verify(&key.public(), "hufu.a", b"messagf", &signature).is_err());
        assert!(seen.verify(&key.public(), "hufu.a", b"message", &Signature::from_bytes(flipped)).is_err());
        // What did not verify is not remembered as anything.
        assert!(seen.verify(&other.public(), "hufu.a", b"message", &signature).is_err());
        assert_eq!(seen.checked(), 6);
    }

    #[test]
    fn the_leaves_of_a_batch_cost_one_check_and_each_needs_its_own_proof() {
        let (key, other) = keys();
        let leaves: Vec<[u8; 32]> = (0..7u8).map(|n| digest("test.leaf", &[&[n]])).collect();
        let proofs = sign_batch(&key, &leaves);
        let seen = Verified::default();
        for (leaf, proof) in leaves.iter().zip(&proofs) {
            proof.verify_once(leaf, &key.public(), &seen).unwrap();
        }
        assert_eq!(seen.checked(), 1);
        assert!(proofs[0].verify_once(&leaves[1], &key.public(), &seen).is_err());
        assert!(proofs[0].verify_once(&leaves[0], &other.public(), &seen).is_err());
        assert!(proofs[0].verify_once(&[9; 32], &key.public(), &seen).is_err());
    }
}
