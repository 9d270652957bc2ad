//! One signature for all that is sealed at the same time (P14).
//!
//! There is no timer and no task: who seals puts its hashes with those that wait, lets the others that are ready
//! do the same, and signs for all of them unless somebody did so already. Nobody waits for another's deadline, and a
//! caller that is dropped takes nobody along: what it left is signed with the next batch.
//!
//! What a path tells a holder: how many hashes were signed together, and hashes of them. Headers and grants hold
//! random commitments, so that nobody can try whether a guess is among them.

use super::error::VaultError;
use crate::seal::{BatchSigned, SigningKey, sign_batch};
use std::sync::{Mutex, PoisonError};
use tokio::sync::oneshot;

/// The two leaves of an object, and who waits for their proofs.
type Waiting = ([[u8; 32]; 2], oneshot::Sender<[BatchSigned; 2]>);

/// The hashes that wait for a signature.
#[derive(Default)]
pub(super) struct Signing {
    waiting: Mutex<Vec<Waiting>>,
}

impl Signing {
    /// The proofs that `key` signed an object's header and grant.
    pub(super) async fn sign(&self, key: &SigningKey, leaves: [[u8; 32]; 2]) -> Result<[BatchSigned; 2], VaultError> {
        let (done, mut proofs) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push((leaves, done));
        tokio::task::yield_now().await;
        if let Ok(proofs) = proofs.try_recv() {
            return Ok(proofs);
        }
        self.sign_waiting(key);
        proofs.await.map_err(|_| VaultError::Rule("a batch has fewer proofs than leaves"))
    }

    fn sign_waiting(&self, key: &SigningKey) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        let leaves: Vec<[u8; 32]> = waiting.iter().flat_map(|(leaves, _)| *leaves).collect();
        let mut proofs = sign_batch(key, &leaves).into_iter();
        for (_, done) in waiting {
            if let (Some(header), Some(grant)) = (proofs.next(), proofs.next()) {
                // Who is dropped needs no proof.
                let _dropped = done.send([header, grant]);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::*;

    fn leaves(n: u8) -> [[u8; 32]; 2] {
        [[n; 32], [n + 100; 32]]
    }

    #[tokio::test]
    async fn what_is_sealed_together_shares_a_signature_and_each_has_its_own_proof() {
        let (key, signing) = (SigningKey::from_seed(&[7; 32]).unwrap(), Signing::default());
        let (a, b, c) =
            tokio::join!(signing.sign(&key, leaves(1)), signing.sign(&key, leaves(2)), signing.sign(&key, leaves(3)));
        let all = [a.unwrap(), b.unwrap(), c.unwrap()];
        for (proofs, n) in all.iter().zip(1..) {
            for (proof, leaf) in proofs.iter().zip(leaves(n)) {
                proof.verify(&leaf, &key.public()).unwrap();
                assert_eq!((proof.size, proof.signature), (6, all[0][0].signature));
            }
            assert!(proofs[0].verify(&leaves(n)[1], &key.public()).is_err());
        }
        let alone = signing.sign(&key, leaves(4)).await.unwrap();
        assert_eq!(alone[0].size, 2);
    }

    #[tokio::test]
    async fn who_is_dropped_takes_nobody_along() {
        let (key, signing) = (SigningKey::from_seed(&[7; 32]).unwrap(), Signing::default());
        {
            let dropped = signing.sign(&key, leaves(1));
            tokio::select! { biased; _ = dropped => {}, () = std::future::ready(()) => {} }
        }
        let proofs = signing.sign(&key, leaves(2)).await.unwrap();
        assert_eq!(proofs[0].size, 4);
        proofs[0].verify(&leaves(2)[0], &key.public()).unwrap();
    }
}
