//! The cache gives back what it was given, or says that it cannot.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

use super::format::{HEAD, Head, PartsHead, VALUE_BYTES, WholeHead, written_whole};
use super::{Materialised, Opened, Part, Saved, StoreError, Stored};
use std::path::{Path, PathBuf};

fn value(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect()
}

/// Parts of these keys, in their order.
fn parts(keys: std::ops::Range<u32>, seed: u8) -> Vec<Part> {
    keys.map(|n| (n.to_be_bytes().to_vec(), value(seed, 300))).collect()
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

fn stored(applied: &[u8], parts: Vec<Part>) -> Option<Stored> {
    Some(Stored::Parts { applied: applied.to_vec(), parts })
}

#[test]
fn what_was_saved_last_is_there_after_a_restart() {
    let (_temp, dir) = folder();
    {
        let (mut store, opened) = open(&dir);
        assert_eq!((opened, store.load().unwrap(), store.needs_all()), (Opened::Fresh, None, true));
        assert_eq!(store.save_all(b"at 1", parts(0..500, 1)).unwrap(), Saved::Written);
        assert_eq!(store.load().unwrap(), stored(b"at 1", parts(0..500, 1)));
        assert!(!store.needs_all());
    }
    let (mut store, opened) = open(&dir);
    assert_eq!((opened, store.needs_all()), (Opened::Existing, false));
    let removed = (0..100u32).map(|n| n.to_be_bytes().to_vec()).collect();
    assert_eq!(store.save(b"at 2", parts(400..600, 2), removed).unwrap(), Saved::Written);
    drop(store);
    let (store, _) = open(&dir);
    let now = [parts(100..400, 1), parts(400..600, 2)].concat();
    assert_eq!(store.load().unwrap(), stored(b"at 2", now));
}

#[test]
fn all_parts_leave_nothing_of_those_before() {
    let (_temp, dir) = folder();
    let (mut store, _) = open(&dir);
    store.save_all(b"1", parts(0..90, 1)).unwrap();
    store.save_all(b"2", parts(50..60, 2)).unwrap();
    assert_eq!(store.load().unwrap(), stored(b"2", parts(50..60, 2)));
    drop(store);
    tamper(&dir, |db| assert_eq!(db.len(), 11));
    assert!(!dir.with_file_name("state.aside-1").exists());
}

/// Files that grew to more than twice what they were are written anew; small ones never.
#[test]
fn files_that_grew_are_written_anew() {
    let (_temp, dir) = folder();
    let (mut store, _) = open(&dir);
    let head = |whole_bytes| PartsHead { applied: b"1".to_vec(), whole_bytes }.encode();
    store.save_all(b"1", parts(0..10, 1)).unwrap();
    let too_large = store.save(b"1", vec![(b"x".to_vec(), value(1, VALUE_BYTES + 1))], Vec::new());
    assert!(matches!(too_large, Err(StoreError::TooLarge)));
    assert!(!store.needs_all());
    // Not compressed and over the border: 72 MB of values.
    let large = |keys: std::ops::Range<u32>| -> Vec<Part> {
        keys.map(|n| (n.to_be_bytes().to_vec(), value(n as u8, 4_000))).collect()
    };
    for n in 0..9 {
        store.save(b"1", large(n * 2_000..(n + 1) * 2_000), Vec::new()).unwrap();
    }
    drop(store);
    assert!(open(&dir).0.needs_all());
    tamper(&dir, |db| {
        db.insert(HEAD, head(1 << 30)).unwrap();
    });
    let (mut store, _) = open(&dir);
    assert!(!store.needs_all());
    store.save_all(b"2", parts(0..10, 1)).unwrap();
    assert_eq!(store.load().unwrap(), stored(b"2", parts(0..10, 1)));
    store.save(b"3", Vec::new(), Vec::new()).unwrap();
    assert!(!store.needs_all());
}

/// What a save of an earlier version left is given back whole, and goes with the next save.
#[test]
fn a_state_of_the_first_format_is_read_and_replaced() {
    for len in [0, 100, VALUE_BYTES - 8 - 2, 5 * VALUE_BYTES + 3] {
        let (_temp, dir) = folder();
        super::write_whole(&dir, b"at", &value(3, len));
        let (mut store, opened) = open(&dir);
        assert_eq!((opened, store.needs_all()), (Opened::Existing, true));
        let whole = Stored::Whole { applied: b"at".to_vec(), state: value(3, len) };
        assert_eq!(store.load().unwrap(), Some(whole));
        store.save_all(b"next", parts(0..3, 1)).unwrap();
        drop(store);
        let (store, opened) = open(&dir);
        assert_eq!((opened, store.load().unwrap()), (Opened::Existing, stored(b"next", parts(0..3, 1))));
        drop(store);
        tamper(&dir, |db| assert_eq!(db.len(), 4));
    }
}

#[test]
fn a_damaged_state_of_the_first_format_is_not_given_back() {
    let written = written_whole(b"at", &value(3, 3 * VALUE_BYTES));
    for damage in 0..2 {
        let (_temp, dir) = folder();
        tamper(&dir, |db| {
            for (key, value) in &written {
                db.insert(key.clone(), value.clone()).unwrap();
            }
            let (key, value) = &written[1];
            let mut changed = value.clone();
            changed[17] ^= 1;
            let done = if damage == 0 { db.insert(key.clone(), changed) } else { db.remove(key) };
            done.unwrap();
        });
        let (mut store, _) = open(&dir);
        assert!(matches!(store.load(), Err(StoreError::Damaged(_))));
        let aside = store.set_aside().unwrap();
        assert!(aside.ends_with("state.aside-1") && aside.join("db").is_file());
        assert_eq!((store.load().unwrap(), store.needs_all()), (None, true));
        store.save_all(b"2", parts(0..3, 2)).unwrap();
        assert_eq!(store.load().unwrap(), stored(b"2", parts(0..3, 2)));
    }
}

#[test]
fn a_strange_head_and_files_of_zeros_are_set_aside() {
    let (_temp, dir) = folder();
    open(&dir).0.save_all(b"1", parts(0..50, 1)).unwrap();
    tamper(&dir, |db| {
        db.insert(HEAD, b"another format").unwrap();
    });
    assert!(matches!(open(&dir).1, Opened::SetAside { .. }));
    open(&dir).0.save_all(b"2", parts(0..50, 2)).unwrap();
    for file in std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_file()) {
        let size = std::fs::metadata(&file).unwrap().len();
        std::fs::write(&file, vec![0; usize::try_from(size).unwrap()]).unwrap();
    }
    let (store, opened) = open(&dir);
    let Opened::SetAside { aside, .. } = opened else { panic!("{opened:?}") };
    assert!(aside.ends_with("state.aside-2"), "an older one is never overwritten: {aside:?}");
    assert_eq!(store.load().unwrap(), None);
}

/// Changes are of what is there; without it they would make something that nobody saved.
#[test]
fn changes_of_nothing_are_not_saved() {
    let (_temp, dir) = folder();
    let (mut store, _) = open(&dir);
    assert!(matches!(store.save(b"1", parts(0..3, 1), Vec::new()).unwrap(), Saved::SetAside { .. }));
    assert_eq!(store.load().unwrap(), None);
    assert_eq!(store.save_all(b"1", parts(0..3, 1)).unwrap(), Saved::Written);
}

#[test]
fn a_folder_that_is_open_is_left_alone() {
    let (temp, dir) = folder();
    let (mut store, _) = open(&dir);
    store.save_all(b"1", parts(0..3, 1)).unwrap();
    assert!(matches!(Materialised::open_or_rebuild(&dir), Err(StoreError::InUse)));
    assert_eq!(store.load().unwrap(), stored(b"1", parts(0..3, 1)));
    assert!(!temp.path().join("state.aside-1").exists());
}

#[test]
fn heads_have_frozen_bytes() {
    let mut bytes = b"\0\0\0\x0ahufu.store\0\x02\0\0\0\x02at".to_vec();
    bytes.extend([0, 0, 0, 0, 0, 0, 0, 9]);
    let head = PartsHead { applied: b"at".to_vec(), whole_bytes: 9 };
    assert_eq!(head.encode(), bytes);
    assert_eq!(Head::decode(&bytes).unwrap(), Head::Parts(head));

    let whole = WholeHead { generation: 1, chunks: 2, bytes: 3, sum: [4; 32] };
    let mut bytes = b"\0\0\0\x0ahufu.store\0\x01".to_vec();
    bytes.extend([0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3]);
    bytes.extend([4; 32]);
    assert_eq!(Head::decode(&bytes).unwrap(), Head::Whole(whole));
    assert_eq!(whole.keys().last().unwrap(), b"g\0\0\0\0\0\0\0\x01\0\0\0\x01");
    let later = b"\0\0\0\x0ahufu.store\0\x03";
    assert!(Head::decode(later).is_err());
}
