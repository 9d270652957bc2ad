//! The cache gives back what it was given, or says that it cannot.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

use super::format::{CHUNK_BYTES, HEAD, Head};
use super::{Materialised, Opened, Saved, StoreError};
use std::path::{Path, PathBuf};

fn state(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect()
}

fn open(dir: &Path) -> (Materialised, Opened) {
    Materialised::open_or_rebuild(dir).unwrap()
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("state");
    (temp, dir)
}

/// Changes the database behind the room's back.
fn tamper(dir: &Path, change: impl FnOnce(&sled::Db)) {
    let db = super::materialised::open_for_test(dir);
    change(&db);
    db.flush().unwrap();
}

fn head_of(db: &sled::Db) -> Head {
    Head::decode(&db.get(HEAD).unwrap().unwrap()).unwrap()
}

#[test]
fn what_was_saved_last_is_there_after_a_restart() {
    let (_temp, dir) = folder();
    {
        let (mut store, opened) = open(&dir);
        assert_eq!(opened, Opened::Fresh);
        assert_eq!(store.load().unwrap(), None);
        // Longer, shorter, empty, and at the border of a chunk (8 bytes of the payload are the two lengths).
        for len in [5 * CHUNK_BYTES + 3, 100, 0, CHUNK_BYTES - 8 - 2, 3 * CHUNK_BYTES] {
            assert_eq!(store.save(b"at", &state(1, len)).unwrap(), Saved::Written);
            assert_eq!(store.load().unwrap(), Some((b"at".to_vec(), state(1, len))), "length {len}");
        }
        store.save(b"position 9", &state(7, 2 * CHUNK_BYTES)).unwrap();
    }
    let (store, opened) = open(&dir);
    assert_eq!(opened, Opened::Existing);
    assert_eq!(store.load().unwrap(), Some((b"position 9".to_vec(), state(7, 2 * CHUNK_BYTES))));
}

#[test]
fn a_save_leaves_nothing_of_the_one_before() {
    let (_temp, dir) = folder();
    {
        let (mut store, _) = open(&dir);
        store.save(b"1", &state(1, 9 * CHUNK_BYTES)).unwrap();
        store.save(b"2", &state(2, CHUNK_BYTES)).unwrap();
    }
    tamper(&dir, |db| assert_eq!(db.len(), 1 + head_of(db).chunks as usize));
}

#[test]
fn a_changed_chunk_is_set_aside_and_not_given_back() {
    let (_temp, dir) = folder();
    {
        let (mut store, _) = open(&dir);
        store.save(b"1", &state(1, 3 * CHUNK_BYTES)).unwrap();
    }
    tamper(&dir, |db| {
        let key = head_of(db).keys().nth(1).unwrap();
        let mut chunk = db.get(&key).unwrap().unwrap().to_vec();
        chunk[17] ^= 1;
        db.insert(key, chunk).unwrap();
    });
    let (mut store, opened) = open(&dir);
    let Opened::SetAside { why, aside } = opened else { panic!("{opened:?}") };
    assert!(why.contains("checksum"), "{why}");
    assert!(aside.ends_with("state.aside-1") && aside.join("db").is_file());
    assert_eq!(store.load().unwrap(), None);
    // The fresh one works.
    store.save(b"2", b"new").unwrap();
    drop(store);
    assert_eq!(open(&dir).0.load().unwrap(), Some((b"2".to_vec(), b"new".to_vec())));
}

#[test]
fn a_missing_chunk_and_a_strange_head_are_set_aside() {
    let (_temp, dir) = folder();
    let save = |seed| {
        let (mut store, _) = open(&dir);
        store.save(b"1", &state(seed, 3 * CHUNK_BYTES)).unwrap();
    };
    save(1);
    tamper(&dir, |db| {
        db.remove(head_of(db).keys().next().unwrap()).unwrap();
    });
    assert!(matches!(open(&dir).1, Opened::SetAside { .. }));
    save(2);
    tamper(&dir, |db| {
        db.insert(HEAD, b"another format").unwrap();
    });
    let (_store, opened) = open(&dir);
    let Opened::SetAside { aside, .. } = opened else { panic!("{opened:?}") };
    assert!(aside.ends_with("state.aside-2"), "an older one is never overwritten: {aside:?}");
}

#[test]
fn a_folder_that_is_open_is_left_alone() {
    let (temp, dir) = folder();
    let (mut store, _) = open(&dir);
    store.save(b"1", b"state").unwrap();
    assert!(matches!(Materialised::open_or_rebuild(&dir), Err(StoreError::InUse)));
    assert_eq!(store.load().unwrap(), Some((b"1".to_vec(), b"state".to_vec())));
    assert!(!temp.path().join("state.aside-1").exists());
}

#[test]
fn the_head_is_this_format() {
    let head = Head { generation: 1, chunks: 2, bytes: 3, sum: [4; 32] };
    let mut bytes = b"\0\0\0\x0ahufu.store\0\x01".to_vec();
    bytes.extend([0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3]);
    bytes.extend([4; 32]);
    assert_eq!(head.encode(), bytes);
    assert_eq!(Head::decode(&bytes).unwrap(), head);
    assert_eq!(head.keys().last().unwrap(), b"g\0\0\0\0\0\0\0\x01\0\0\0\x01");
}
