//! The Merkle tree of RFC 6962 §2.1: hashing, an append-only tree in memory, proofs and their verification.
//!
//! The verifiers follow RFC 9162 §2.1.3.2 and §2.1.4.2, which state them as loops with a fixed end. They take
//! any input, accept exactly one proof for each question and do not panic.

use crate::seal;
use thiserror::Error;

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// Why a proof was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProofError {
    /// The index or the old size lies outside the tree.
    #[error("the proof is for a place outside the tree")]
    Range,
    /// The proof has more or fewer hashes than its place needs.
    #[error("the proof has the wrong length")]
    Length,
    /// The hashes do not lead to the root.
    #[error("the proof does not lead to the root")]
    Root,
}

/// The root of the tree without leaves: the hash of nothing.
pub fn empty_root() -> Hash {
    seal::sha256(&[])
}

/// The hash of an entry as a leaf.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    seal::sha256(&[&[0x00], entry])
}

/// The hash of two subtrees.
pub(crate) fn node_hash(left: &Hash, right: &Hash) -> Hash {
    seal::sha256(&[&[0x01], left, right])
}

/// An append-only tree in memory.
///
/// Level `k` keeps the roots of all complete subtrees of `2^k` leaves, so a leaf costs 64 bytes over all
/// levels, an append on average one node hash, and a root or proof of any past size O(log² n).
#[derive(Debug, Clone, Default)]
pub struct Tree {
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    /// A tree without leaves.
    pub fn new() -> Tree {
        Tree::default()
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, |l| l.len() as u64)
    }

    /// Adds a leaf by its hash.
    pub fn append(&mut self, leaf: Hash) {
        let mut carried = leaf;
        let mut height = 0;
        loop {
            if self.levels.len() == height {
                self.levels.push(Vec::new());
            }
            let Some(level) = self.levels.get_mut(height) else { return };
            level.push(carried);
            if level.len() % 2 == 1 {
                return;
            }
            let [.., left, right] = level.as_slice() else { return };
            carried = node_hash(left, right);
            height += 1;
        }
    }

    /// The root over the first `size` leaves; none when the tree is smaller.
    pub fn root(&self, size: u64) -> Option<Hash> {
        match size {
            0 => Some(empty_root()),
            n if n > self.size() => None,
            n => self.range(0, n),
        }
    }

    /// The hashes between leaf `index` and the root of the first `size` leaves, leaf side first (PATH).
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Option<Vec<Hash>> {
        if index >= size || size > self.size() {
            return None;
        }
        let (mut start, mut end) = (0, size);
        let mut path = Vec::new();
        while end - start > 1 {
            let middle = start + split(end - start);
            if index < middle {
                path.push(self.range(middle, end)?);
                end = middle;
            } else {
                path.push(self.range(start, middle)?);
                start = middle;
            }
        }
        path.reverse();
        Some(path)
    }

    /// The hashes showing that the tree of `new` leaves extends that of `old` leaves (PROOF). Empty when the
    /// sizes are equal or `old` is 0.
    pub fn consistency_proof(&self, old: u64, new: u64) -> Option<Vec<Hash>> {
        if old > new || new > self.size() {
            return None;
        }
        let mut proof = Vec::new();
        if old == 0 || old == new {
            return Some(proof);
        }
        let (mut start, mut end) = (0, new);
        while end != old {
            let middle = start + split(end - start);
            if old <= middle {
                proof.push(self.range(middle, end)?);
                end = middle;
            } else {
                proof.push(self.range(start, middle)?);
                start = middle;
            }
        }
        // From the left edge the old root itself is what is left, and the verifier has it.
        if start != 0 {
            proof.push(self.range(start, end)?);
        }
        proof.reverse();
        Some(proof)
    }

    /// `count` roots of complete subtrees of `2^height` leaves, from the `first`: what a tile holds.
    pub(crate) fn subtrees(&self, height: u32, first: u64, count: u64) -> Option<&[Hash]> {
        let start = usize::try_from(first).ok()?;
        let end = start.checked_add(usize::try_from(count).ok()?)?;
        self.levels.get(usize::try_from(height).ok()?)?.get(start..end)
    }

    /// MTH of the leaves `start..end`. The range comes from RFC splits of a tree, so that `start` is a multiple
    /// of the largest power of two in its length.
    fn range(&self, start: u64, end: u64) -> Option<Hash> {
        let length = end.checked_sub(start).filter(|n| *n > 0)?;
        if length.is_power_of_two() {
            let height = length.trailing_zeros();
            return self.subtrees(height, start >> height, 1)?.first().copied();
        }
        let middle = start + split(length);
        Some(node_hash(&self.range(start, middle)?, &self.range(middle, end)?))
    }
}

/// The largest power of two smaller than `n`, for `n` of 2 or more.
fn split(n: u64) -> u64 {
    let top = 1u64 << (63 - n.max(2).leading_zeros());
    if top == n { top >> 1 } else { top }
}

/// Checks that `leaf` is leaf `index` of the tree of `size` leaves with this root.
///
/// # Errors
/// [`ProofError`] when it is not, or when the proof has any hash too many or too few.
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Range);
    }
    let (mut place, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if place & 1 == 1 || place == last {
            hash = node_hash(sibling, &hash);
            // Levels at which the right edge has no sibling are skipped.
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        place >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if hash == *root { Ok(()) } else { Err(ProofError::Root) }
}

/// Checks that the tree of `new` leaves begins with the tree of `old` leaves.
///
/// # Errors
/// [`ProofError`] when it does not, or when the proof has any hash too many or too few.
pub fn verify_consistency(
    old: u64,
    new: u64,
    old_root: &Hash,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::Range);
    }
    if old == new || old == 0 {
        let known = if old == 0 { empty_root() } else { *new_root };
        let same_tree = *old_root == known && (old != new || old_root == new_root);
        return match (proof.is_empty(), same_tree) {
            (false, _) => Err(ProofError::Length),
            (true, false) => Err(ProofError::Root),
            (true, true) => Ok(()),
        };
    }
    let (mut place, mut last) = (old - 1, new - 1);
    while place & 1 == 1 {
        place >>= 1;
        last >>= 1;
    }
    // A complete old tree is a node of the new one, so the proof leaves it out.
    let (seed, rest) =
        if old.is_power_of_two() { (old_root, proof) } else { proof.split_first().ok_or(ProofError::Length)? };
    let (mut old_hash, mut new_hash) = (*seed, *seed);
    for sibling in rest {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if place & 1 == 1 || place == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        place >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if old_hash == *old_root && new_hash == *new_root { Ok(()) } else { Err(ProofError::Root) }
}
