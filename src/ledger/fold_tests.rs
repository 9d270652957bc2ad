//! What was superseded long ago folds (P8), named for column L of `docs/rules.md`; and against a model that keeps everything.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

use super::fixture::{Agency, Federation, certifying, newest};
use super::tests::{Ledger, batch, signed};
use super::*;
use crate::audit::{Tree, empty_root, leaf_hash, verify_inclusion};
use crate::domain::canon::Reader;
use crate::domain::ids::RecordId;
use crate::domain::limits;
use crate::domain::time::Millis;
use crate::seal::digest;
use data_encoding::HEXLOWER;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const DAY: u64 = 24 * 3_600_000;
const START: Millis = Millis(10_000_000);
const DUE: Millis = Millis(START.0 + limits::FOLDED_AFTER_MS);

fn id(f: &Federation, a: &Agency, n: u8) -> RecordId {
    let mut bytes = [n; 16];
    bytes[12..].copy_from_slice(&origin_mark(&f.id, &a.id));
    RecordId::from_bytes(bytes)
}

fn commitment(record: &RecordId, version: u32) -> [u8; 32] {
    digest("test.commitment", &[record.as_bytes(), &version.to_be_bytes()])
}

fn commit(record: RecordId, version: u32) -> Command {
    let tags = (0..4).map(|n| [n; 16]).collect();
    Command::Commit { record, version, commitment: commitment(&record, version), grant: [9; 32], tags }
}

fn leaf(record: &RecordId, version: u32) -> [u8; 32] {
    leaf_hash(&folded_leaf(record, version, &commitment(record, version), &[[9; 32]]))
}

fn anchor() -> Command {
    Command::Anchor { checkpoint: [1; 32] }
}

/// Police's records of these numbers, each amended at the start, in this order.
fn amended(f: Federation, numbers: &[u8]) -> Ledger {
    let mut l = Ledger::of(f);
    l.s.time = START;
    for version in [1, 2] {
        let commands = numbers.iter().map(|n| commit(id(&l.f, &l.f.police, *n), version)).collect();
        assert!(l.apply(commands).iter().all(|r| *r == CommandReply::Done));
    }
    l
}

#[test]
fn l_a_version_folds_ninety_days_after_it_was_superseded() {
    let mut l = amended(newest(), &[1]);
    let (record, police, customs) = (id(&l.f, &l.f.police, 1), l.f.police.id.clone(), l.f.customs.id.clone());
    l.s.time = Millis(DUE.0 - 1);
    l.one(anchor());
    assert!(!l.s.is_folded(&record, 1) && l.s.folded(&police) == (0, empty_root()));
    assert!(Reader::new(&l.s.encode(), "hufu.state", 5).is_ok(), "written as before");
    l.s.time = DUE;
    l.one(anchor());
    assert_eq!(l.s.folded(&police), (1, leaf(&record, 1)));
    assert_eq!(l.s.folded(&customs), (0, empty_root()), "another origin's");
    assert!(Reader::new(&l.s.encode(), "hufu.state", 6).is_ok());
    let kept: Vec<u32> = l.s.record(&record).unwrap().iter().map(|v| v.version).collect();
    assert_eq!(kept, [2], "the newest stays, however old");
    assert!(l.s.is_folded(&record, 1) && !l.s.is_folded(&record, 2) && !l.s.is_folded(&record, 0));
    assert!((1..=2).all(|v| l.s.was_committed(&record, v)) && !l.s.was_committed(&record, 3));
    assert_eq!([1, 2, 3].map(|v| l.s.standing_for(&record, v)), [0, 2, 3]);
    // What is said again of the folded one is refused as it was before, and the next version finds its number.
    let refused = CommandReply::Refused;
    assert_eq!(l.one(commit(record, 1)), refused(Refusal::VersionConflict));
    let grant = Command::Grant { record, version: 1, grant: [3; 32], tags: (0..4).map(|n| [n; 16]).collect() };
    assert_eq!(l.one(grant), refused(Refusal::Unknown));
    assert_eq!(l.one(commit(record, 2)), CommandReply::Done, "the newest again is done already");
    assert_eq!(l.one(commit(record, 3)), CommandReply::Done);
    l.s.time = Millis(DUE.0 + limits::FOLDED_AFTER_MS);
    l.one(anchor());
    assert_eq!((l.s.folded(&police).0, l.s.record(&record).unwrap().len()), (2, 1));
}

/// In the order in which they were superseded, and no more at a time than a batch pays for; each is provable then.
#[test]
fn l_versions_fold_in_their_order_and_a_few_at_a_time() {
    let mut l = amended(newest(), &[3, 1, 5, 2, 4]);
    let police = l.f.police.id.clone();
    let order = [3, 1, 5, 2, 4].map(|n| (id(&l.f, &l.f.police, n), 1));
    l.s.time = DUE;
    for (n, commands) in [vec![anchor()], vec![], vec![anchor(), anchor(), anchor()]].into_iter().enumerate() {
        assert_eq!(l.s.folded(&police).0, [0, 2, 4][n]);
        assert_eq!(l.s.superseded().iter().copied().collect::<Vec<_>>(), order[2 * n..]);
        l.apply(commands);
    }
    assert!(l.s.superseded().is_empty());
    assert_eq!(l.s.folded_names(&police), order);
    let mut tree = Tree::new();
    order.iter().for_each(|(record, version)| tree.append(leaf(record, *version)));
    let (count, root) = l.s.folded(&police);
    assert_eq!((count, tree.root(count)), (5, Some(root)));
    for (at, (record, version)) in (0..).zip(order) {
        let proof = tree.inclusion_proof(at, count).unwrap();
        assert_eq!(verify_inclusion(&leaf(&record, version), at, count, &proof, &root), Ok(()));
        assert!(verify_inclusion(&leaf(&record, version + 1), at, count, &proof, &root).is_err());
    }
}

/// A log of before is read by its rules; what is due when the level rises folds from then on.
#[test]
fn l_nothing_folds_before_its_level() {
    let mut l = amended(certifying(), &[1]);
    let record = id(&l.f, &l.f.police, 1);
    l.s.time = DUE;
    let knows = || vec![Command::Supports { level: LEVEL }];
    l.apply(knows());
    for a in [&l.f.customs, &l.f.third] {
        l.at += 1;
        assert!(!l.s.is_folded(&record, 1) && l.s.level() < LEVEL);
        l.s.apply_batch(l.at, &batch(&l.f, a, 1, knows()));
    }
    assert!(!l.s.is_folded(&record, 1) && l.s.level() == LEVEL);
    l.one(anchor());
    assert!(l.s.is_folded(&record, 1));
}

/// What does not count changes nothing: a batch that comes again gets its reply, and folds nothing.
#[test]
fn l_a_batch_that_comes_again_folds_nothing() {
    let mut l = amended(newest(), &[1]);
    let record = id(&l.f, &l.f.police, 1);
    let last = batch(&l.f, &l.f.police, l.at, vec![commit(record, 2)]);
    l.s.time = DUE;
    let digest = l.s.digest();
    assert_eq!(l.s.apply_batch(l.at + 1, &last).replies, [CommandReply::Done]);
    let forged = batch(&l.f, &l.f.customs, 1, vec![]);
    l.s.apply_batch(l.at + 1, &forged[..forged.len() - 1]);
    assert_eq!((l.s.digest(), l.s.is_folded(&record, 1)), (digest, false));
    l.apply(vec![]);
    assert!(l.s.is_folded(&record, 1));
}

/// What was given up is owed to nobody once it folded, and makes room for others.
#[test]
fn l_what_folds_is_lost_no_more() {
    let mut l = amended(newest(), &[1]);
    let record = id(&l.f, &l.f.police, 1);
    let act = Act::Abandon { agency: l.f.police.id.clone(), record, version: 1 };
    let give_up = signed(&l.f, &l.f.police, 0, &act, 1);
    assert_eq!(l.one(give_up.clone()), CommandReply::Done);
    assert!(l.s.lost(&record, 1).is_some());
    l.s.time = DUE;
    l.one(anchor());
    assert_eq!((l.s.lost(&record, 1), l.s.is_folded(&record, 1)), (None, true));
    assert_eq!(l.one(give_up), CommandReply::Refused(Refusal::Unknown));
}

/// It is what is shown of its record. Nothing waits behind it, and it goes with the next version of its record that folds.
#[test]
fn l_what_was_superseded_by_something_lost_stays() {
    let mut l = amended(newest(), &[1, 2]);
    let [record, other] = [1, 2].map(|n| id(&l.f, &l.f.police, n));
    let police = l.f.police.id.clone();
    let versions = |l: &Ledger| l.s.record(&record).unwrap().iter().map(|v| v.version).collect::<Vec<u32>>();
    let act = Act::Abandon { agency: police.clone(), record, version: 2 };
    let give_up = signed(&l.f, &l.f.police, 0, &act, 2);
    assert_eq!(l.one(give_up), CommandReply::Done);
    let gone = |folds: &Folds, l: &Ledger| folds.gone(&l.s).map(|gone| gone.copied().collect::<Vec<_>>());
    let folds = l.s.folds();
    l.s.time = DUE;
    l.one(anchor());
    assert_eq!((versions(&l), l.s.is_folded(&record, 1), l.s.is_folded(&other, 1)), (vec![1, 2], false, true));
    assert_eq!(l.s.records.kept().iter().copied().collect::<Vec<_>>(), [(record, 1)]);
    assert_eq!((l.s.folded(&police).0, l.s.lost(&record, 2).is_some()), (2, true));
    assert_eq!(gone(&folds, &l), Some(vec![(other, 1)]));
    assert_eq!(gone(&Folds::default(), &l), None, "it was not seen in line");
    let grant = Command::Grant { record, version: 1, grant: [3; 32], tags: (0..4).map(|n| [n; 16]).collect() };
    assert_eq!(l.one(grant), CommandReply::Refused(Refusal::Unknown), "its leaf has its grants");
    assert_eq!(l.one(commit(record, 3)), CommandReply::Done, "the next one has the next number");
    let folds = l.s.folds();
    l.s.time = Millis(DUE.0 + limits::FOLDED_AFTER_MS - 1);
    l.one(anchor());
    assert_eq!(versions(&l), [1, 2, 3]);
    l.s.time = Millis(DUE.0 + limits::FOLDED_AFTER_MS);
    l.one(anchor());
    assert_eq!((versions(&l), l.s.records.kept().is_empty(), l.s.lost(&record, 2)), (vec![3], true, None));
    assert_eq!(gone(&folds, &l), Some(vec![(record, 2), (record, 1)]));
    assert_eq!(l.s.folded_names(&police), [(record, 1), (other, 1), (record, 2)]);
}

/// A leaf is hashed into what all agree on. The constants were written down when the format was made.
#[test]
fn leaves_have_frozen_bytes() {
    let record = RecordId::from_bytes([7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 1, 2, 3, 4]);
    let bytes = folded_leaf(&record, 3, &[5; 32], &[[6; 32], [8; 32]]);
    let expected = concat!(
        "00000012687566752e6c65646765722e666f6c64656400010707070707070707070707070102030400000003",
        "050505050505050505050505050505050505050505050505050505050505050500000002",
        "0606060606060606060606060606060606060606060606060606060606060606",
        "0808080808080808080808080808080808080808080808080808080808080808",
    );
    assert_eq!(HEXLOWER.encode(&bytes), expected);
    let hash = "1708ea68ef01b6c8ce9ca625adbad2137426815c9740e08edb036e3db0b4852b";
    assert_eq!(HEXLOWER.encode(&leaf_hash(&bytes)), hash);
}

/// One entry of a history: who, which of the own records are amended, whether one is granted once more, whether its newest
/// version is given up, how many days went by before, and whether the node starts anew after it.
type Step = (bool, Vec<u8>, bool, bool, u64, bool);

/// Versions with their grants, lowest first.
type Versions = Vec<(u32, Vec<[u8; 32]>)>;

/// Everything that was ever committed.
#[derive(Default)]
struct Model {
    now: Millis,
    kept: BTreeMap<RecordId, Versions>,
    /// What was superseded, and when.
    line: Vec<(Millis, RecordId, u32)>,
    /// Leaves, by the mark of their origin.
    folded: BTreeMap<[u8; 4], Vec<[u8; 32]>>,
    lost: BTreeSet<(RecordId, u32)>,
    /// What has a leaf and is kept.
    stays: BTreeSet<(RecordId, u32)>,
}

impl Model {
    fn fold(&mut self, most: usize) {
        for _ in 0..most {
            let Some(&(since, record, version)) = self.line.first() else { return };
            if since.0 + 90 * DAY > self.now.0 {
                return;
            }
            self.line.remove(0);
            let kept = self.kept.get_mut(&record).unwrap();
            let (_, grants) = kept.iter().find(|(v, _)| *v == version).unwrap();
            let bytes = folded_leaf(&record, version, &commitment(&record, version), grants);
            self.folded.entry(record.origin_mark()).or_default().push(leaf_hash(&bytes));
            self.stays.insert((record, version));
            if kept.iter().any(|(v, _)| *v > version && !self.lost.contains(&(record, *v))) {
                let is_left = |(of, v): &(RecordId, u32)| *of != record || *v > version;
                kept.retain(|(v, _)| *v > version);
                self.lost.retain(is_left);
                self.stays.retain(is_left);
            }
        }
    }

    fn commit(&mut self, record: RecordId) -> Command {
        let kept = self.kept.entry(record).or_default();
        let version = kept.last().map_or(1, |(v, _)| v + 1);
        kept.push((version, vec![[9; 32]]));
        if version > 1 {
            self.line.push((self.now, record, version - 1));
        }
        commit(record, version)
    }

    /// Gives up the newest version.
    fn give_up(&mut self, f: &Federation, by: &Agency, record: RecordId) -> Option<Command> {
        let version = self.kept.get(&record)?.last()?.0;
        self.lost.insert((record, version));
        Some(signed(f, by, 0, &Act::Abandon { agency: by.id.clone(), record, version }, version))
    }

    /// Grants the oldest version that has no leaf.
    fn grant(&mut self, record: RecordId, n: u64) -> Option<Command> {
        let stays = &self.stays;
        let mut kept = self.kept.get_mut(&record)?.iter_mut();
        let (version, grants) = kept.find(|(version, _)| !stays.contains(&(record, *version)))?;
        let grant = digest("test.grant", &[&n.to_be_bytes()]);
        grants.push(grant);
        Some(Command::Grant { record, version: *version, grant, tags: (0..4).map(|n| [n; 16]).collect() })
    }

    fn check(&self, f: &Federation, s: &State) {
        for (record, kept) in &self.kept {
            let of_state = s.record(record).unwrap().iter().map(|v| (v.version, v.grants.clone()));
            assert_eq!(of_state.collect::<Vec<_>>(), *kept);
        }
        assert_eq!(s.records.kept().iter().copied().collect::<BTreeSet<_>>(), self.stays);
        assert_eq!(s.lost.keys().copied().collect::<BTreeSet<_>>(), self.lost);
        let line: Vec<_> = self.line.iter().map(|(_, record, version)| (*record, *version)).collect();
        assert_eq!(s.superseded().iter().copied().collect::<Vec<_>>(), line);
        for agency in [&f.police.id, &f.customs.id] {
            let mut tree = Tree::new();
            let leaves = self.folded.get(&origin_mark(&f.id, agency));
            leaves.into_iter().flatten().for_each(|leaf| tree.append(*leaf));
            let (count, root) = s.folded(agency);
            assert_eq!((count, Some(root)), (tree.size(), tree.root(tree.size())));
            assert_eq!(s.folded_names(agency).len() as u64, count);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn l_a_ledger_that_folds_is_the_one_that_keeps_everything(
        steps in proptest::collection::vec(
            (
                any::<bool>(),
                proptest::collection::vec(0u8..4, 0..5),
                any::<bool>(),
                any::<bool>(),
                0u64..50,
                any::<bool>(),
            ),
            1..25,
        )
    ) {
        let steps: Vec<Step> = steps;
        let f = newest();
        let mut s = State::genesis(&f.genesis).unwrap();
        let mut model = Model { now: START, ..Model::default() };
        for ((by_police, numbers, grants, gives_up, days, restarts), at) in steps.into_iter().zip(1u64..) {
            let by = if by_police { &f.police } else { &f.customs };
            model.now = model.now.plus_ms(days * DAY);
            s.time = model.now;
            let commands = numbers.len() + usize::from(grants) + usize::from(gives_up);
            model.fold(limits::FOLDS_OF_COMMAND * commands.max(1));
            let mut commands: Vec<Command> = numbers.iter().map(|n| model.commit(id(&f, by, *n))).collect();
            if grants {
                commands.push(model.grant(id(&f, by, 0), at).unwrap_or_else(anchor));
            }
            if gives_up {
                commands.push(model.give_up(&f, by, id(&f, by, 0)).unwrap_or_else(anchor));
            }
            let reply = s.apply_batch(at, &batch(&f, by, at, commands));
            prop_assert!(reply.replies.iter().all(|r| *r == CommandReply::Done), "{reply:?}");
            model.check(&f, &s);
            let read = State::decode(&s.encode()).unwrap();
            prop_assert_eq!((read.digest(), read.encode()), (s.digest(), s.encode()));
            // Whoever started anew goes on as if it had not.
            if restarts {
                s = read;
            }
        }
    }
}
