//! Batch signatures (P14): one Ed25519 signature over the root of a Merkle tree, and a path for each leaf.
//!
//! The tree has the shape of RFC 6962 §2.1; hashes have their own domains, so that neither a leaf and an
//! inner node nor this tree and the audit log's can be taken for each other. The signature covers the size.

use super::digest::digest;
use super::error::SealError;
use super::sign::{PublicKey, Signature, SigningKey};
use super::verified::Verified;
use crate::domain::canon::{Canon, CanonError, Reader, Writer};

const SIGN_ROOT: &str = "hufu.seal.batch-root";
/// Most leaves under one signature; longer input is signed in several trees.
const LEAVES: usize = 4096;
/// Longest path: a size is a 32-bit number.
const PATH: usize = 32;

/// The proof that a key signed a leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchSigned {
    /// Sibling hashes from the leaf up.
    pub path: Vec<[u8; 32]>,
    /// Position of the leaf, from 0.
    pub index: u32,
    /// Leaves of the tree.
    pub size: u32,
    /// Signature over size and root.
    pub signature: Signature,
}

/// Signs 32-byte hashes with as few signatures as possible. The answers are in the order of the leaves.
pub fn sign_batch(key: &SigningKey, leaves: &[[u8; 32]]) -> Vec<BatchSigned> {
    leaves.chunks(LEAVES).flat_map(|tree| sign_tree(key, tree)).collect()
}

fn sign_tree(key: &SigningKey, leaves: &[[u8; 32]]) -> Vec<BatchSigned> {
    let mut level: Vec<[u8; 32]> = leaves.iter().map(leaf_hash).collect();
    let mut paths: Vec<Vec<[u8; 32]>> = vec![Vec::new(); leaves.len()];
    let mut depth = 0;
    while level.len() > 1 {
        for (i, path) in paths.iter_mut().enumerate() {
            if let Some(sibling) = level.get((i >> depth) ^ 1) {
                path.push(*sibling);
            }
        }
        // The odd one at the end rises unchanged.
        level = level
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => node_hash(left, right),
                [only] => *only,
                _ => [0; 32],
            })
            .collect();
        depth += 1;
    }
    let size = u32::try_from(leaves.len()).unwrap_or(u32::MAX);
    let root = level.first().copied().unwrap_or([0; 32]);
    let signature = key.sign(SIGN_ROOT, &root_bytes(size, &root));
    (0..size).zip(paths).map(|(index, path)| BatchSigned { path, index, size, signature }).collect()
}

impl BatchSigned {
    /// Checks that `key` signed `leaf` (RFC 9162 §2.1.3.2).
    pub fn verify(&self, leaf: &[u8; 32], key: &PublicKey) -> Result<(), SealError> {
        let wrong = || SealError::Signature { what: "batch" };
        let root = self.root(leaf).ok_or_else(wrong)?;
        key.verify(SIGN_ROOT, &root_bytes(self.size, &root), &self.signature).map_err(|_| wrong())
    }

    /// The same; the signature is not checked again for another leaf of the same tree.
    pub fn verify_once(&self, leaf: &[u8; 32], key: &PublicKey, seen: &Verified) -> Result<(), SealError> {
        let wrong = || SealError::Signature { what: "batch" };
        let root = self.root(leaf).ok_or_else(wrong)?;
        seen.verify(key, SIGN_ROOT, &root_bytes(self.size, &root), &self.signature).map_err(|_| wrong())
    }

    /// The proof of the leaf behind `own`, whose proof this is, if the two are siblings in the tree: all but the lowest hash
    /// is the same.
    pub(super) fn of_sibling(&self, own: &[u8; 32]) -> Option<BatchSigned> {
        let (_, above) = self.path.split_first()?;
        let index = self.index.checked_add(1).filter(|next| next & 1 == 1 && *next < self.size)?;
        let path = std::iter::once(leaf_hash(own)).chain(above.iter().copied()).collect();
        Some(BatchSigned { path, index, size: self.size, signature: self.signature })
    }

    /// Whether its lowest hash is that of `leaf`.
    pub(super) fn begins_with(&self, leaf: &[u8; 32]) -> bool {
        self.path.first() == Some(&leaf_hash(leaf))
    }

    /// Writes it without its lowest hash.
    pub(super) fn write_above(&self, w: &mut Writer) {
        let above = self.path.get(1..).unwrap_or_default();
        w.list(above.iter(), |w, h| {
            w.array(h);
        });
        w.u32(self.index).u32(self.size).value(&self.signature);
    }

    /// Reads that, with the hash of `leaf` as the lowest one.
    pub(super) fn read_above(r: &mut Reader<'_>, leaf: &[u8; 32]) -> Result<BatchSigned, CanonError> {
        let above: Vec<[u8; 32]> = r.list(PATH - 1, |r| r.array())?;
        let path = std::iter::once(leaf_hash(leaf)).chain(above).collect();
        Ok(BatchSigned { path, index: r.u32()?, size: r.u32()?, signature: r.value()? })
    }

    fn root(&self, leaf: &[u8; 32]) -> Option<[u8; 32]> {
        let mut index = self.index;
        let mut last = self.size.checked_sub(1)?;
        if index > last {
            return None;
        }
        let mut hash = leaf_hash(leaf);
        for sibling in &self.path {
            if last == 0 {
                return None;
            }
            if index & 1 == 1 || index == last {
                hash = node_hash(sibling, &hash);
                while index & 1 == 0 && index != 0 {
                    index >>= 1;
                    last >>= 1;
                }
            } else {
                hash = node_hash(&hash, sibling);
            }
            index >>= 1;
            last >>= 1;
        }
        (last == 0).then_some(hash)
    }
}

impl Canon for BatchSigned {
    fn write(&self, w: &mut Writer) {
        w.list(self.path.iter(), |w, h| {
            w.array(h);
        });
        w.u32(self.index).u32(self.size).value(&self.signature);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(BatchSigned { path: r.list(PATH, |r| r.array())?, index: r.u32()?, size: r.u32()?, signature: r.value()? })
    }
}

fn leaf_hash(leaf: &[u8; 32]) -> [u8; 32] {
    digest("hufu.seal.batch-leaf", &[leaf])
}

fn node_hash(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    digest("hufu.seal.batch-node", &[left, right])
}

fn root_bytes(size: u32, root: &[u8; 32]) -> Vec<u8> {
    Writer::bare().u32(size).array(root).finish()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::super::frozen::Counter;
    use super::*;

    fn leaves(n: usize) -> Vec<[u8; 32]> {
        (0..n).map(|i| digest("test.leaf", &[&i.to_be_bytes()])).collect()
    }

    /// RFC 6962 §2.1, written as it stands there.
    fn naive_root(leaves: &[[u8; 32]]) -> [u8; 32] {
        match leaves {
            [one] => leaf_hash(one),
            _ => {
                let k = leaves.len().next_power_of_two() / 2;
                node_hash(&naive_root(&leaves[..k]), &naive_root(&leaves[k..]))
            }
        }
    }

    #[test]
    fn every_leaf_of_every_size_verifies_and_the_tree_is_the_standards() {
        let key = SigningKey::generate(&mut Counter::new()).unwrap();
        assert!(sign_batch(&key, &[]).is_empty());
        for n in 1..=33 {
            let leaves = leaves(n);
            let signed = sign_batch(&key, &leaves);
            assert_eq!(signed.len(), n);
            for (i, (leaf, proof)) in leaves.iter().zip(&signed).enumerate() {
                assert_eq!(proof.root(leaf).unwrap(), naive_root(&leaves), "{i} of {n}");
                proof.verify(leaf, &key.public()).unwrap();
                assert_eq!(&BatchSigned::from_canon(&proof.to_canon()).unwrap(), proof);
                let neighbour = leaves[(i + 1) % n];
                assert!(n == 1 || proof.verify(&neighbour, &key.public()).is_err());
            }
        }
    }

    #[test]
    fn a_changed_proof_or_another_key_is_refused() {
        let mut e = Counter::new();
        let key = SigningKey::generate(&mut e).unwrap();
        let other = SigningKey::generate(&mut e).unwrap();
        let leaves = leaves(5);
        let proof = sign_batch(&key, &leaves).remove(2);
        assert!(proof.verify(&leaves[2], &other.public()).is_err());
        let bytes = proof.to_canon();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            let held = BatchSigned::from_canon(&bad).is_ok_and(|p| p.verify(&leaves[2], &key.public()).is_ok());
            assert!(!held, "byte {at}");
        }
        let none = BatchSigned { path: Vec::new(), index: 0, size: 0, signature: proof.signature };
        assert!(none.verify(&leaves[2], &key.public()).is_err());
    }

    #[test]
    fn the_proof_of_a_sibling_follows_from_that_of_the_leaf_before_it() {
        let key = SigningKey::generate(&mut Counter::new()).unwrap();
        for n in [1, 2, 3, 5, 8, 13] {
            let leaves = leaves(n);
            let signed = sign_batch(&key, &leaves);
            for i in 0..n {
                let expected = signed.get(i + 1).filter(|_| i % 2 == 0);
                assert_eq!(signed[i].of_sibling(&leaves[i]).as_ref(), expected, "{i} of {n}");
            }
        }
    }

    #[test]
    fn an_inner_node_is_not_a_leaf() {
        let key = SigningKey::generate(&mut Counter::new()).unwrap();
        let leaves = leaves(4);
        let mut proof = sign_batch(&key, &leaves).remove(0);
        let inner = node_hash(&leaf_hash(&leaves[0]), &leaf_hash(&leaves[1]));
        proof.path.remove(0);
        assert!(proof.verify(&inner, &key.public()).is_err());
    }

    #[test]
    fn more_leaves_than_one_tree_holds_are_all_signed() {
        let key = SigningKey::generate(&mut Counter::new()).unwrap();
        let leaves = leaves(LEAVES + 3);
        let signed = sign_batch(&key, &leaves);
        assert_eq!(signed.len(), leaves.len());
        for i in [0, LEAVES - 1, LEAVES, LEAVES + 2] {
            signed[i].verify(&leaves[i], &key.public()).unwrap();
        }
        assert_eq!((signed[LEAVES].index, signed[LEAVES].size), (0, 3));
    }
}
