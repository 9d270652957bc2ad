//! Export, verify, then break each file in turn.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

use super::error::AuditError;
use super::fixture::{ORIGIN, draft, key};
use super::merkle::{Tree, leaf_hash};
use super::note::Checkpoint;
use super::tiles::{Resource, encode_bundle, encode_tile, resources, write_file};
use super::verify::verify_dir;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// An export of `size` events, made without a log.
fn export(size: u64) -> (TempDir, Vec<String>) {
    let dir = TempDir::new().unwrap();
    let leaves: Vec<Vec<u8>> = (0..size).map(|seq| draft((seq % 250) as u8).at(seq).to_bytes().unwrap()).collect();
    let mut tree = Tree::new();
    leaves.iter().for_each(|l| tree.append(leaf_hash(l)));
    let mut paths = vec!["checkpoint".to_owned()];
    for resource in resources(size) {
        let (first, count) = resource.span();
        let content = match resource {
            Resource::Entries { .. } => {
                encode_bundle(leaves[first as usize..(first + count) as usize].iter().map(Vec::as_slice)).unwrap()
            }
            Resource::Tile { .. } => encode_tile(resource.hashes(&tree).unwrap()),
        };
        write_file(dir.path(), &resource.path(), &content).unwrap();
        paths.push(resource.path());
    }
    sign(dir.path(), &Checkpoint::new(ORIGIN, size, tree.root(size).unwrap()));
    (dir, paths)
}

fn sign(dir: &Path, head: &Checkpoint) {
    fs::write(dir.join("checkpoint"), head.sign(&key(1)).unwrap().to_string()).unwrap();
}

/// The path that the error names.
fn blamed(dir: &Path) -> String {
    match verify_dir(dir, Some(key(1).public())) {
        Ok(_) => "nothing".to_owned(),
        Err(AuditError::File { path, .. } | AuditError::Io { path, .. }) => path,
        Err(AuditError::Note(_)) => "checkpoint".to_owned(),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn whole_exports_verify() {
    for size in [0, 1, 255, 256, 257, 600] {
        let (dir, _) = export(size);
        let found = verify_dir(dir.path(), Some(key(1).public())).unwrap();
        assert_eq!((found.size, found.pinned, found.origin.as_str()), (size, true, ORIGIN));
        assert!(!verify_dir(dir.path(), None).unwrap().pinned);
        assert!(verify_dir(dir.path(), Some(key(2).public())).is_err());
        fs::write(dir.path().join("genesis.json"), "{}").unwrap();
        assert!(verify_dir(dir.path(), Some(key(1).public())).is_ok());
    }
}

#[test]
fn each_changed_file_is_named() {
    let (dir, paths) = export(600);
    for path in &paths {
        let place = dir.path().join(path);
        let good = fs::read(&place).unwrap();
        for at in [0, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&place, &bad).unwrap();
            assert_eq!(blamed(dir.path()), *path, "byte {at}");
        }
        for bad in [&good[..good.len() - 1], &[], &[good.as_slice(), &[0]].concat()] {
            fs::write(&place, bad).unwrap();
            assert_eq!(blamed(dir.path()), *path);
        }
        fs::remove_file(&place).unwrap();
        assert_eq!(blamed(dir.path()), *path);
        fs::write(&place, &good).unwrap();
    }
    assert_eq!(blamed(dir.path()), "nothing");
}

#[test]
fn an_entry_changed_so_that_it_still_parses_is_named() {
    let (dir, _) = export(300);
    let leaf = |seq: u64| {
        let mut changed = draft((seq % 250) as u8);
        if seq == 299 {
            changed.purpose = "核查 8 号案".to_owned();
        }
        changed.at(seq).to_bytes().unwrap()
    };
    let leaves: Vec<_> = (256..300).map(leaf).collect();
    let path = "tile/entries/001.p/44";
    fs::write(dir.path().join(path), encode_bundle(leaves.iter().map(Vec::as_slice)).unwrap()).unwrap();
    assert_eq!(blamed(dir.path()), path);

    // With its tile changed to match, the root is what gives it away.
    let hashes: Vec<_> = leaves.iter().map(|l| leaf_hash(l)).collect();
    fs::write(dir.path().join("tile/0/001.p/44"), encode_tile(&hashes)).unwrap();
    assert_eq!(blamed(dir.path()), "checkpoint");
}

#[test]
fn files_that_the_checkpoint_does_not_cover_are_refused() {
    let (dir, _) = export(300);
    for path in
        ["notes.txt", "tile/0/000.p/3", "tile/entries/002", "tile/9/000", "tile/entries/001.p/43", "x/genesis.json"]
    {
        write_file(dir.path(), path, b"x").unwrap();
        let named = blamed(dir.path());
        assert!(path.starts_with(&named), "{named} for {path}");
        fs::remove_file(dir.path().join(path)).unwrap();
        let parent = Path::new(path).parent().unwrap();
        // Directories that stay behind empty are refused too, unless the export needs them.
        let _ = fs::remove_dir(dir.path().join(parent));
    }
    assert_eq!(blamed(dir.path()), "nothing");
    std::os::unix::fs::symlink("checkpoint", dir.path().join("link")).unwrap();
    assert_eq!(blamed(dir.path()), "link");
}

#[test]
fn a_hostile_size_ends_at_the_first_missing_file() {
    let (dir, _) = export(256);
    sign(dir.path(), &Checkpoint::new(ORIGIN, u64::MAX, [7; 32]));
    assert_eq!(blamed(dir.path()), "tile/entries/001");
    sign(dir.path(), &Checkpoint::new(ORIGIN, 255, [7; 32]));
    assert_eq!(blamed(dir.path()), "tile/entries/000.p/255");
    sign(dir.path(), &Checkpoint::new(ORIGIN, 256, [7; 32]));
    assert_eq!(blamed(dir.path()), "checkpoint");
}
