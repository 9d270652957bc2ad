//! The tree against RFC 6962's own recursive definitions, and the verifiers against damaged proofs.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout, reason = "test")]

use super::merkle::*;
use data_encoding::{BASE64, HEXLOWER};
use std::path::{Path, PathBuf};

const MOST: u64 = 40;

/// MTH of RFC 6962 §2.1.
fn naive_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [one] => *one,
        more => {
            let (l, r) = more.split_at(naive_split(more.len()));
            node_hash(&naive_root(l), &naive_root(r))
        }
    }
}

/// PATH of §2.1.1.
fn naive_path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = naive_split(leaves.len());
    let (l, r) = leaves.split_at(k);
    let (mut path, other) =
        if m < k { (naive_path(m, l), naive_root(r)) } else { (naive_path(m - k, r), naive_root(l)) };
    path.push(other);
    path
}

/// SUBPROOF of §2.1.2.
fn naive_subproof(m: usize, leaves: &[Hash], complete: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if complete { Vec::new() } else { vec![naive_root(leaves)] };
    }
    let k = naive_split(leaves.len());
    let (l, r) = leaves.split_at(k);
    let (mut proof, other) = if m <= k {
        (naive_subproof(m, l, complete), naive_root(r))
    } else {
        (naive_subproof(m - k, r, false), naive_root(l))
    };
    proof.push(other);
    proof
}

fn naive_split(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}

fn leaves(n: u64) -> Vec<Hash> {
    (0..n).map(|i| leaf_hash(&i.to_be_bytes())).collect()
}

fn tree(n: u64) -> Tree {
    let mut tree = Tree::new();
    leaves(n).into_iter().for_each(|l| tree.append(l));
    tree
}

#[test]
fn roots_known_from_certificate_transparency() {
    let entries: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut tree = Tree::new();
    assert_eq!(HEXLOWER.encode(&tree.root(0).unwrap()), roots[0]);
    for (i, entry) in entries.iter().enumerate() {
        tree.append(leaf_hash(entry));
        assert_eq!(HEXLOWER.encode(&tree.root(i as u64 + 1).unwrap()), roots[i + 1]);
    }
}

#[test]
fn every_root_and_proof_is_that_of_the_definition() {
    let (all, tree) = (leaves(MOST), tree(MOST));
    for size in 0..=MOST {
        let part = &all[..size as usize];
        let root = tree.root(size).unwrap();
        assert_eq!(root, naive_root(part), "root {size}");
        for index in 0..size {
            let proof = tree.inclusion_proof(index, size).unwrap();
            assert_eq!(proof, naive_path(index as usize, part), "path {index} of {size}");
            assert_eq!(verify_inclusion(&part[index as usize], index, size, &proof, &root), Ok(()));
        }
        for old in 1..=size {
            let proof = tree.consistency_proof(old, size).unwrap();
            assert_eq!(proof, naive_subproof(old as usize, part, true), "{old} to {size}");
            assert_eq!(verify_consistency(old, size, &tree.root(old).unwrap(), &root, &proof), Ok(()));
        }
        assert_eq!(verify_consistency(0, size, &empty_root(), &root, &[]), Ok(()));
    }
    assert!(tree.root(MOST + 1).is_none());
    assert!(tree.inclusion_proof(3, 3).is_none() && tree.inclusion_proof(0, MOST + 1).is_none());
    assert!(tree.consistency_proof(4, 3).is_none() && tree.consistency_proof(1, MOST + 1).is_none());
}

/// Each damaged form of a proof: one bit, one hash less at either end, one more at either end.
fn damaged(proof: &[Hash], extra: Hash) -> Vec<Vec<Hash>> {
    let mut all = Vec::new();
    for at in 0..proof.len() {
        let mut flipped = proof.to_vec();
        flipped[at][at % 32] ^= 1 << (at % 8);
        all.push(flipped);
    }
    if let [_, rest @ ..] = proof {
        all.push(rest.to_vec());
        all.push(proof[..proof.len() - 1].to_vec());
    }
    all.push([&[extra], proof].concat());
    all.push([proof, &[extra]].concat());
    all
}

#[test]
fn damaged_inclusion_proofs_are_refused() {
    let (all, tree) = (leaves(MOST), tree(MOST));
    for size in 1..=MOST {
        let root = tree.root(size).unwrap();
        for index in 0..size {
            let leaf = all[index as usize];
            let proof = tree.inclusion_proof(index, size).unwrap();
            for bad in damaged(&proof, root).into_iter().chain(damaged(&proof, leaf)) {
                assert!(verify_inclusion(&leaf, index, size, &bad, &root).is_err(), "{index} of {size}");
            }
            let mut other = leaf;
            other[0] ^= 1;
            assert_eq!(verify_inclusion(&other, index, size, &proof, &root), Err(ProofError::Root));
            assert_eq!(verify_inclusion(&leaf, index, size, &proof, &leaf_hash(b"x")), Err(ProofError::Root));
            for wrong in (0..size + 2).filter(|w| *w != index).chain([u64::MAX]) {
                assert!(verify_inclusion(&leaf, wrong, size, &proof, &root).is_err(), "{index} as {wrong} of {size}");
            }
        }
    }
    assert_eq!(verify_inclusion(&all[0], 0, 0, &[], &all[0]), Err(ProofError::Range));
    assert!(verify_inclusion(&all[0], u64::MAX - 1, u64::MAX, &[all[0]; 100], &all[0]).is_err());
}

#[test]
fn damaged_consistency_proofs_are_refused() {
    let tree = tree(MOST);
    for new in 0..=MOST {
        let new_root = tree.root(new).unwrap();
        for old in 0..=new {
            let old_root = tree.root(old).unwrap();
            let proof = tree.consistency_proof(old, new).unwrap();
            for bad in damaged(&proof, old_root).into_iter().chain(damaged(&proof, new_root)) {
                assert!(verify_consistency(old, new, &old_root, &new_root, &bad).is_err(), "{old} to {new}");
            }
            let other = leaf_hash(b"x");
            assert!(verify_consistency(old, new, &other, &new_root, &proof).is_err(), "{old} to {new}");
            if old > 0 {
                assert!(verify_consistency(old, new, &old_root, &other, &proof).is_err(), "{old} to {new}");
            }
            if old < new {
                assert!(verify_consistency(new, old, &new_root, &old_root, &proof).is_err());
            }
        }
    }
    let hash = leaf_hash(b"x");
    assert!(verify_consistency(u64::MAX - 1, u64::MAX, &hash, &hash, &[hash; 130]).is_err());
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    leaf_idx: u64,
    tree_size: u64,
    root: String,
    leaf_hash: String,
    proof: Option<Vec<String>>,
    desc: String,
    want_err: bool,
}

#[test]
fn inclusion_cases_of_other_implementations() {
    let Some(data) = std::env::var_os("HUFU_TEST_DATA") else {
        println!("HUFU_TEST_DATA is not set: the inclusion cases were not read");
        return;
    };
    let mut files = Vec::new();
    json_files(&Path::new(&data).join("merkle/inclusion"), &mut files);
    let mut good = 0;
    for file in &files {
        let case: Case = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let accepted = decide(&case);
        assert_eq!(accepted, !case.want_err, "{} ({})", file.display(), case.desc);
        good += u32::from(accepted);
    }
    assert!(files.len() > 50 && good > 0, "only {} cases, {good} of them good", files.len());
}

/// Hashes of the wrong length do not decode, which is a refusal too.
fn decide(case: &Case) -> bool {
    let hash = |text: &String| -> Option<Hash> { BASE64.decode(text.as_bytes()).ok()?.try_into().ok() };
    let proof: Option<Vec<Hash>> = case.proof.iter().flatten().map(hash).collect();
    match (hash(&case.leaf_hash), proof, hash(&case.root)) {
        (Some(leaf), Some(proof), Some(root)) => {
            verify_inclusion(&leaf, case.leaf_idx, case.tree_size, &proof, &root).is_ok()
        }
        _ => false,
    }
}

fn json_files(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            json_files(&path, out);
        } else if path.extension().is_some_and(|e| e == "json") {
            out.push(path);
        }
    }
}
