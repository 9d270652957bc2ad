//! The state in parts: what is put and removed makes the parts of the newer state, and nothing else can be read from them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

use super::fixture::{Agency, Federation, federation, later, newest};
use super::tests::{Ledger, batch};
use super::*;
use crate::domain::canon::Canon;
use crate::domain::ids::RecordId;
use crate::domain::limits;
use crate::seal::digest;
use proptest::prelude::*;
use std::collections::BTreeMap;

const DAY: u64 = 24 * 3_600_000;

/// What a store has.
type Kept = BTreeMap<Vec<u8>, Vec<u8>>;

fn id(f: &Federation, a: &Agency, n: u8) -> RecordId {
    let mut bytes = [n; 16];
    bytes[12..].copy_from_slice(&origin_mark(&f.id, &a.id));
    RecordId::from_bytes(bytes)
}

fn commit(record: RecordId, version: u32) -> Command {
    let commitment = digest("test.commitment", &[record.as_bytes(), &version.to_be_bytes()]);
    Command::Commit { record, version, commitment, grant: [9; 32], tags: (0..4).map(|n| [n; 16]).collect() }
}

fn take(kept: &mut Kept, changes: &Changes) {
    for key in &changes.removed {
        assert!(kept.remove(key).is_some(), "only what is there is removed");
    }
    kept.extend(changes.put.iter().cloned());
}

fn read(kept: &Kept) -> Result<State, LedgerError> {
    State::from_parts(kept.clone())
}

fn of(s: &State) -> Kept {
    let mut kept = Kept::new();
    take(&mut kept, &s.changes(None));
    kept
}

fn same(a: &State, b: &State) -> bool {
    (a.digest(), a.encode()) == (b.digest(), b.encode()) && a.superseded() == b.superseded()
}

/// One batch: who, which of the own records are amended, which is granted once more, how many days went by before.
type Step = (bool, Vec<u8>, Option<u8>, u64);

/// What happens around a batch: the state is saved, and the node starts anew from what it saved last.
type Around = (bool, bool);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_was_saved_last_is_the_state_of_then(
        steps in proptest::collection::vec(
            ((any::<bool>(), proptest::collection::vec(0u8..6, 0..9), proptest::option::of(0u8..6), 0u64..50),
            (any::<bool>(), any::<bool>())),
            1..30,
        )
    ) {
        let steps: Vec<(Step, Around)> = steps;
        let f = newest();
        let mut s = State::genesis(&f.genesis).unwrap();
        let (mut kept, mut saved) = (of(&s), s.clone());
        for (((by_police, numbers, granted, days), (saves, crashes)), at) in steps.into_iter().zip(1u64..) {
            let by = if by_police { &f.police } else { &f.customs };
            s = later(&s, days * DAY);
            let mut commands: Vec<Command> = Vec::new();
            for n in numbers {
                let record = id(&f, by, n);
                let of_it = |c: &&Command| matches!(c, Command::Commit { record: r, .. } if *r == record);
                let before = commands.iter().filter(of_it).count() as u32;
                let newest = s.record(&record).and_then(|kept| kept.last()).map_or(0, |v| v.version);
                commands.push(commit(record, newest + before + 1));
            }
            if let Some(n) = granted {
                let record = id(&f, by, n);
                let version = s.record(&record).and_then(|kept| kept.first()).map_or(1, |v| v.version);
                let tags = (0..4).map(|n| [n; 16]).collect();
                commands.push(Command::Grant { record, version, grant: digest("test.grant", &[&at.to_be_bytes()]), tags });
            }
            s.apply_batch(at, &batch(&f, by, at, commands));
            if saves {
                take(&mut kept, &s.changes(Some(&saved)));
                saved = s.clone();
                prop_assert!(kept == of(&s), "nothing is missing and nothing is left over");
            }
            let read = read(&kept).unwrap();
            prop_assert!(same(&read, &saved));
            if crashes {
                (s, saved) = (read.clone(), read);
            }
        }
    }
}

/// A save costs what changed: the last part of the feed, the version, the small parts that always move.
#[test]
fn one_more_version_changes_few_parts() {
    let mut l = Ledger::of(newest());
    for n in 0..60u8 {
        let record = id(&l.f, &l.f.police, n);
        l.apply((1..=5).map(|version| commit(record, version)).collect());
    }
    let before = l.s.clone();
    assert_eq!(before.feed().len(), 300);
    l.one(commit(id(&l.f, &l.f.police, 7), 6));
    let changes = l.s.changes(Some(&before));
    let of_kind = |kind: u8| changes.put.iter().filter(|(key, _)| key[0] == kind).count();
    assert_eq!((of_kind(b'd'), of_kind(b'f'), of_kind(b'v')), (1, 1, 1));
    assert!(changes.removed.is_empty());
    assert!(of(&l.s).len() > 300);
    // The same state again has nothing to write but its digest.
    assert_eq!(l.s.changes(Some(&l.s)).put.len(), 1);
}

/// A version that folded has no part any more; what is kept of it is in the head.
#[test]
fn what_folds_is_removed() {
    let mut l = Ledger::of(newest());
    let record = id(&l.f, &l.f.police, 1);
    l.apply(vec![commit(record, 1), commit(record, 2)]);
    let before = l.s.clone();
    l.s = later(&l.s, limits::FOLDED_AFTER_MS);
    l.apply(Vec::new());
    assert!(l.s.is_folded(&record, 1));
    let key = [b"v".as_slice(), record.as_bytes(), &[0, 0, 0, 1], &[0; 4]].concat();
    assert!(of(&before).contains_key(&key) && !of(&l.s).contains_key(&key));
    assert_eq!(l.s.changes(Some(&before)).removed, [key]);
    assert!(same(&read(&of(&l.s)).unwrap(), &l.s));
}

/// A version with many grants has many parts, each of which a database keeps among the others.
#[test]
fn no_part_is_large() {
    let mut l = Ledger::of(federation());
    let record = id(&l.f, &l.f.police, 1);
    l.one(commit(record, 1));
    let tags: Vec<[u8; 16]> = (0..4096u128).map(|n| n.to_be_bytes()).collect();
    for n in 1..=3u8 {
        let before = l.s.clone();
        l.one(Command::Grant { record, version: 1, grant: [n; 32], tags: tags.clone() });
        let mut kept = of(&before);
        take(&mut kept, &l.s.changes(Some(&before)));
        assert_eq!(kept, of(&l.s));
    }
    let kept = of(&l.s);
    assert!(kept.keys().filter(|key| key[0] == b'v').count() > 40);
    assert!(kept.values().all(|value| value.len() <= 4_000));
    assert!(same(&read(&kept).unwrap(), &l.s));
}

/// Whatever is missing, changed or strange: it is not taken for the state.
#[test]
fn parts_that_are_not_the_state_are_refused() {
    let mut l = Ledger::of(newest());
    let records = [1, 2].map(|n| id(&l.f, &l.f.police, n));
    l.apply(records.iter().map(|r| commit(*r, 1)).collect());
    let kept = of(&l.s);
    assert!(read(&kept).is_ok() && read(&Kept::new()).is_err());
    for (key, value) in &kept {
        let mut less = kept.clone();
        less.remove(key);
        assert!(read(&less).is_err(), "without {key:?}");
        for at in [0, value.len() / 2, value.len() - 1] {
            let mut other = value.clone();
            other[at] ^= 1;
            let mut changed = kept.clone();
            changed.insert(key.clone(), other);
            assert!(read(&changed).is_err(), "{key:?} changed at {at}");
        }
    }
    let mut more = kept.clone();
    more.insert(b"x".to_vec(), vec![1]);
    assert!(read(&more).is_err());
    // Parts of two states do not make a third one.
    let before = l.s.clone();
    l.one(commit(records[0], 2));
    let mut mixed = kept;
    mixed.extend(l.s.changes(Some(&before)).put.into_iter().filter(|(key, _)| key[0] != b'd'));
    assert!(read(&mixed).is_err());
}

/// A feed that is not the earlier one grown is written anew, as after a snapshot of somebody else.
#[test]
fn another_feed_is_written_anew() {
    let (mut a, mut b) = (Ledger::of(newest()), Ledger::of(newest()));
    for n in 0..50u8 {
        let record = id(&a.f, &a.f.police, n);
        a.apply((1..=5).map(|version| commit(record, version)).collect());
    }
    b.one(commit(id(&b.f, &b.f.police, 200), 1));
    for (old, new) in [(&a.s, &b.s), (&b.s, &a.s)] {
        let mut kept = of(old);
        take(&mut kept, &new.changes(Some(old)));
        assert_eq!(kept, of(new));
    }
}

/// Format 1 of the parts, byte for byte. What is in the head has its own frozen forms.
#[test]
fn parts_have_frozen_bytes() {
    let mut l = Ledger::of(federation());
    let record = id(&l.f, &l.f.police, 7);
    l.one(commit(record, 1));
    let version = &l.s.record(&record).unwrap()[0];
    let mut kept = of(&l.s);
    let mut digest = b"\0\0\0\x10hufu.state.parts\0\x01".to_vec();
    digest.extend(l.s.digest());
    assert_eq!(kept.remove(b"d".as_slice()), Some(digest));
    let named = [record.as_bytes().as_slice(), &[0, 0, 0, 1]].concat();
    assert_eq!(kept.remove(b"f\0\0\0\0".as_slice()), Some(named.clone()));
    let mut entry = vec![0, 0, 0, 1];
    entry.extend(version.commitment);
    entry.extend([0, 0, 0, 1]);
    entry.extend([9; 32]);
    entry.extend([0, 0, 0, 4]);
    entry.extend((0..4u8).flat_map(|n| [n; 16]));
    entry.extend(l.f.police.node.0.to_be_bytes());
    entry.extend([0, 0, 0, 0, 0, 0, 0, 1]);
    entry.extend(version.time.0.to_be_bytes());
    assert_eq!(entry, version.to_canon());
    let key = [b"v".as_slice(), &named, &[0; 4]].concat();
    assert_eq!(kept.remove(&key), Some(entry));
    assert!(kept.keys().zip(0u8..).all(|(key, n)| *key == [b'h', 0, 0, 0, n]));
    let head: Vec<u8> = kept.into_values().flatten().collect();
    let head = State::decode(&head).unwrap();
    assert!(head.feed().is_empty() && head.record(&record).is_none() && head.time() == l.s.time());
}
