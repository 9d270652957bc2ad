//! Versions that folded (P8): owed to nobody, shown to nobody, taken from nobody.

use super::*;
use crate::audit::{Tree, leaf_hash};
use crate::domain::limits;
use crate::ledger::fixture::later;
use crate::ledger::{LEVEL, folded_leaf};

/// Two records of two versions each. Customs holds the first, and was sent nothing of the second.
struct Amended {
    t: Two,
    held: RecordId,
    missed: RecordId,
    /// The first version of what customs missed.
    old: SealedObject,
}

fn amended() -> Amended {
    let mut t = two();
    for (index, party) in (30..).zip([&mut t.police, &mut t.customs]) {
        party.apply(&mut t.state, index, Command::Supports { level: LEVEL });
    }
    let (held, missed) = (record(70), record(71));
    let mut old = None;
    for (index, (id, version)) in (40..).zip([(held, 1), (missed, 1), (held, 2), (missed, 2)]) {
        let prepared = t.seal(Draft { version, ..draft(id, Grade::Secret, &["customs"]) });
        if id == held {
            block(t.customs.vault.accept(&t.state, prepared.object, NOW)).unwrap();
        } else {
            old.get_or_insert(prepared.object);
        }
        t.police.apply(&mut t.state, index, prepared.command);
    }
    Amended { t, held, missed, old: old.unwrap() }
}

impl Amended {
    /// Ninety days go by, and somebody writes something.
    fn ninety_days(&mut self, index: u64) {
        self.t.state = later(&self.t.state, limits::FOLDED_AFTER_MS);
        self.t.police.apply(&mut self.t.state, index, Command::Anchor { checkpoint: [1; 32] });
    }

    fn fold(&mut self) {
        self.ninety_days(50);
        assert!([self.held, self.missed].iter().all(|id| self.t.state.is_folded(id, 1)));
    }

    /// What customs is owed, holds and misses.
    fn counts(&self) -> (u64, u64, usize) {
        let customs = &self.t.customs.vault;
        customs.scan(&self.t.state, NOW, NOW);
        let owed = &customs.owed()[&self.t.police.id];
        (owed.owed, owed.held, owed.missing.len())
    }
}

#[test]
fn what_folded_is_owed_no_more() {
    let mut a = amended();
    assert_eq!(a.counts(), (4, 2, 2));
    a.fold();
    assert_eq!(a.counts(), (2, 1, 1));
    // As after a start, or when much was superseded and folded between two looks.
    a.t.customs.vault.sync.lock().unwrap().folded = Default::default();
    assert_eq!(a.counts(), (2, 1, 1));
    assert!(a.t.police.vault.uncommitted(&a.t.state).is_empty(), "it does not go to the ledger once more");
}

/// What stands because the next version was given up is held and owed until it goes with that one.
#[test]
fn what_stands_for_something_lost_is_still_owed() {
    let mut a = amended();
    assert_eq!(a.counts(), (4, 2, 2));
    let act = Act::Abandon { agency: a.t.police.id.clone(), record: a.held, version: 2 };
    let (handle, key) = &a.t.police.officer;
    let give_up = SignedAct::sign(&"test".parse().unwrap(), &act, 2, Millis(u64::MAX), *handle, key);
    a.t.police.apply(&mut a.t.state, 48, Command::Act(give_up));
    a.ninety_days(50);
    assert!(!a.t.state.is_folded(&a.held, 1) && a.t.state.is_folded(&a.missed, 1));
    assert_eq!(a.counts(), (3, 2, 1));
    let next = a.t.seal(Draft { version: 3, ..draft(a.held, Grade::Secret, &[]) });
    a.t.police.apply(&mut a.t.state, 51, next.command);
    assert_eq!(a.counts(), (3, 2, 1));
    a.ninety_days(52);
    assert!((1..=2).all(|version| a.t.state.is_folded(&a.held, version)));
    assert_eq!(a.counts(), (1, 0, 1));
    // As after a start.
    a.t.customs.vault.sync.lock().unwrap().folded = Default::default();
    assert_eq!(a.counts(), (1, 0, 1));
}

#[test]
fn what_folded_is_shown_to_nobody() {
    let mut a = amended();
    a.counts();
    let token = a.t.customs.vault.sync.lock().unwrap().wanted[&(a.missed, 1)].token;
    let serve = |a: &Amended| a.t.police.vault.serve(&a.t.state, &a.t.customs.id, (&token, 0), |_| true).unwrap();
    let version =
        |a: &Amended, version| a.t.customs.vault.card(&a.t.state, &a.held, version).unwrap().map(|card| card.version);
    assert_eq!((serve(&a).is_some(), version(&a, 1), version(&a, 0)), (true, Some(1), Some(2)));
    a.fold();
    assert_eq!((serve(&a).is_some(), version(&a, 1), version(&a, 0)), (false, None, Some(2)));
    // Nor is it taken; its originator is not told that it is bad, since it is not.
    let taken = block(a.t.customs.vault.accept(&a.t.state, a.old.clone(), NOW));
    assert!(matches!(taken, Err(VaultError::Folded)), "{taken:?}");
    assert!(a.t.customs.vault.refusals().is_empty());
}

/// A version that others alone have, or that is on its way, takes nothing from those who hold an earlier one.
#[test]
fn the_newest_that_is_here_stands_for_what_folded() {
    let mut a = amended();
    let next = a.t.seal(Draft { version: 3, ..draft(a.held, Grade::Secret, &[]) });
    a.t.police.apply(&mut a.t.state, 45, next.command);
    let shown = |a: &Amended| {
        let card = a.t.customs.vault.card(&a.t.state, &a.held, a.t.state.standing_for(&a.held, 1)).unwrap();
        card.map(|card| card.version)
    };
    assert_eq!(shown(&a), Some(1));
    // The second version is due as well, and a batch of one command folds two.
    a.fold();
    assert_eq!(shown(&a), Some(2));
}

/// A publish that is asked for again, or goes to the ledger late, is not held up by a part that folded meanwhile.
#[test]
fn a_part_that_folded_goes_to_the_ledger_no_more() {
    let mut a = amended();
    let whole = record(72);
    let lower = vec![(a.held, 1), (a.missed, 2)];
    let _object = a.t.seal(Draft { lower, ..draft(whole, Grade::Secret, &["customs"]) });
    let parts = |a: &Amended| a.t.police.vault.goes_to_ledger(&a.t.state, &whole, 1).unwrap();
    assert_eq!(parts(&a), [(a.held, 1), (a.missed, 2), (whole, 1)]);
    a.fold();
    assert_eq!(parts(&a), [(a.missed, 2), (whole, 1)]);
}

/// Whoever still has what folded can prove it: its commitments make the root that the ledger has.
#[test]
fn holders_make_the_root_anew() {
    let mut a = amended();
    a.fold();
    let (count, root) = a.t.state.folded(&a.t.police.id);
    let mut tree = Tree::new();
    for (record, version) in a.t.state.folded_names(&a.t.police.id) {
        let entry = a.t.police.vault.intake.entries(&record, version).remove(0);
        tree.append(leaf_hash(&folded_leaf(&record, version, &entry.commitment, &[entry.grant])));
    }
    assert_eq!((count, Some(root)), (2, tree.root(2)));
}
