#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

use super::*;
use crate::domain::label::Grade;

/// Of somebody who is none of the last officers, and of whom the version before is not known.
fn weigh(here: Option<&Person>, theirs: &Person, entry: Option<(u32, [u8; 32])>) -> Offer {
    super::weigh((here, None), theirs, OnLedger { entry, is_kept: false })
}

fn person(name: &str, version: u32) -> Person {
    Person {
        name: name.into(),
        handle: Handle::from_bytes([1; 16]),
        title: String::new(),
        unit: "缉私局".into(),
        roles: [Role::Analyst, Role::DutyOfficer].into(),
        clearance: Grade::Secret,
        compartments: Default::default(),
        public_key: [1; 32],
        serial: "4a01".into(),
        suspended: false,
        version,
        salt: [u8::try_from(version).unwrap(); 32],
    }
}

fn hash(p: &Person) -> Option<(u32, [u8; 32])> {
    Some((p.version, p.ledger_hash().unwrap()))
}

#[test]
fn what_gives_anything_needs_the_ledger() {
    let (old, raised) = (person("wang", 1), Person { clearance: Grade::TopSecret, ..person("wang", 2) });
    let moved = Person { unit: "情报处".into(), ..person("wang", 2) };
    assert_eq!(weigh(None, &old, None), Offer::Wait);
    assert_eq!(weigh(None, &old, hash(&raised)), Offer::Wait, "another version stands there");
    assert_eq!(weigh(None, &old, hash(&old)), Offer::Take);
    for wider in [&raised, &moved] {
        assert_eq!(weigh(Some(&old), wider, hash(&old)), Offer::Wait);
        assert_eq!(weigh(Some(&old), wider, hash(wider)), Offer::Take);
    }
    let unsalted = Person { salt: [0; 32], ..old.clone() };
    assert_eq!(weigh(None, &unsalted, Some((1, [0; 32]))), Offer::Wait, "it has no hash");
}

#[test]
fn the_newest_wins_and_of_two_with_one_number_the_ledgers() {
    let (first, second) = (person("wang", 1), Person { clearance: Grade::Internal, ..person("wang", 2) });
    assert_eq!(weigh(Some(&second), &first, hash(&first)), Offer::Leave);
    assert_eq!(weigh(Some(&first), &first, hash(&first)), Offer::Leave, "it is here");
    let other = Person { unit: "情报处".into(), salt: [9; 32], ..person("wang", 2) };
    assert_eq!(weigh(Some(&second), &other, hash(&second)), Offer::Wait);
    let both = Person { clearance: Grade::Internal, ..other.clone() };
    assert_eq!(weigh(Some(&second), &other, hash(&other)), Offer::Narrow(Box::new(both)), "it was lowered here");
    let same = Person { clearance: Grade::Internal, salt: [8; 32], ..other.clone() };
    assert_eq!(weigh(Some(&second), &same, hash(&same)), Offer::Take);
    let another = Person { handle: Handle::from_bytes([2; 16]), ..other };
    assert_eq!(weigh(Some(&first), &another, hash(&another)), Offer::Leave, "another person of this name");
}

#[test]
fn what_takes_away_counts_at_once_and_nobody_comes_back() {
    let old = person("wang", 2);
    let lowered = Person { clearance: Grade::Internal, ..person("wang", 3) };
    let suspended = Person { suspended: true, ..person("wang", 3) };
    assert_eq!(weigh(Some(&old), &lowered, None), Offer::Take);
    assert_eq!(weigh(Some(&old), &suspended, None), Offer::Take);
    assert_eq!(weigh(Some(&suspended), &lowered, hash(&lowered)), Offer::Leave);
    // Whatever else was changed at either node, and how often.
    let wider = Person { suspended: true, unit: "情报处".into(), ..person("wang", 3) };
    assert_eq!(weigh(Some(&old), &wider, None), Offer::Suspend);
    assert_eq!(weigh(Some(&person("wang", 7)), &suspended, None), Offer::Suspend);
    assert_eq!(weigh(None, &suspended, None), Offer::Wait, "nobody to suspend");
}

#[test]
fn no_word_alone_takes_anything_from_the_last_officers() {
    let old = person("wang", 2);
    let suspended = Person { suspended: true, ..person("wang", 3) };
    let demoted = Person { roles: [Role::Analyst].into(), ..person("wang", 3) };
    for less in [suspended, demoted] {
        let weighed = |entry| super::weigh((Some(&old), None), &less, OnLedger { entry, is_kept: true });
        assert_eq!(weighed(None), Offer::Wait);
        assert_eq!(weighed(hash(&less)), Offer::Take, "an officer signed it");
    }
}

#[test]
fn more_than_a_few_who_are_suspended_within_an_hour_are_one_alarm() {
    let mut offers = Offers::default();
    assert_eq!(offers.suspended(FEW, Millis(0)), None);
    assert_eq!(offers.suspended(0, Millis(HOUR_MS - 1)), None);
    assert_eq!(offers.suspended(2, Millis(HOUR_MS - 1)), Some(FEW + 2));
    assert_eq!(offers.suspended(1, Millis(HOUR_MS - 1)), None, "told already");
    assert_eq!(offers.suspended(1, Millis(HOUR_MS)), Some(FEW + 1), "the first ones are an hour ago");
}

/// Two nodes, of which each looks at what the other has until nothing changes any more.
fn settled(mut pair: [Person; 2]) -> [Person; 2] {
    for _ in 0..8 {
        let before = pair.clone();
        for (n, other) in [(0, 1), (1, 0)] {
            let (here, theirs) = (pair[n].clone(), pair[other].clone());
            pair[n] = match weigh(Some(&here), &theirs, None) {
                Offer::Take => theirs,
                Offer::Suspend => Person { suspended: true, version: here.version + 1, ..here },
                Offer::Narrow(less) => {
                    let version = narrowed_number(here.version, theirs.version);
                    Person { version, salt: [u8::try_from(n).unwrap(); 32], ..*less }
                }
                Offer::Wait | Offer::Leave => here,
            };
        }
        if pair == before {
            return pair;
        }
    }
    panic!("they change each other for ever: {pair:?}");
}

/// A clearance, role or compartment that one node takes away is gone at both, whatever the other did meanwhile.
#[test]
fn what_two_nodes_take_away_apart_is_gone_at_both() {
    let of = |version, unit: &str, clearance, roles: &[Role]| {
        let roles = roles.iter().copied().collect();
        Person { unit: unit.into(), clearance, roles, ..person("wang", version) }
    };
    let both = [Role::Analyst, Role::DutyOfficer];
    let lowered = of(2, "缉私局", Grade::Internal, &both);
    for other in [
        of(2, "情报处", Grade::Secret, &both),
        of(2, "缉私局", Grade::Secret, &both[..1]),
        of(2, "情报处", Grade::TopSecret, &both[1..]),
        // More than one version was made at the other node.
        of(4, "缉私局", Grade::Secret, &both[..1]),
        of(2 + AHEAD, "情报处", Grade::Secret, &both[1..]),
    ] {
        for pair in [[lowered.clone(), other.clone()], [other.clone(), lowered.clone()]] {
            let settled = settled(pair);
            assert!(settled.iter().all(|p| p.clearance == Grade::Internal && p.roles == other.roles), "{settled:?}");
        }
    }
    // Also by a version that changes something else, and is far ahead.
    let far = of(90, "情报处", Grade::Internal, &both);
    let [here, there] = settled([person("wang", 2), far]);
    assert_eq!((here.version, here.clearance, here.unit.as_str()), (3, Grade::Internal, "缉私局"));
    assert_eq!((there.version, there.clearance, there.unit.as_str()), (90, Grade::Internal, "情报处"));
    // What the person got here since stays.
    let raised = of(3, "缉私局", Grade::TopSecret, &both);
    assert_eq!(weigh(Some(&raised), &person("wang", 2), None), Offer::Leave);
}

/// One change lowers and raises. The other node lowers at once and raises when the ledger has it, and neither takes the raise for
/// something that the other took away.
#[test]
fn what_a_change_raises_is_not_lost_by_what_it_lowers() {
    let old = person("wang", 2);
    let change = Person { clearance: Grade::TopSecret, roles: [Role::Analyst].into(), ..person("wang", 3) };
    let weigh = |here: &Person, theirs: &Person, entry| {
        super::weigh((Some(here), Some(&old)), theirs, OnLedger { entry, is_kept: false })
    };
    let Offer::Narrow(less) = weigh(&old, &change, hash(&old)) else { panic!("it lowers at once") };
    let there = Person { version: narrowed_number(2, 3), salt: [9; 32], ..*less };
    assert_eq!((there.version, there.clearance, &there.roles), (3, Grade::Secret, &change.roles));
    assert_eq!(weigh(&change, &there, hash(&old)), Offer::Wait, "nothing was taken away there but what was here");
    assert_eq!(weigh(&there, &change, hash(&old)), Offer::Wait);
    assert_eq!(weigh(&there, &change, hash(&change)), Offer::Take, "all that an officer signed");
    // What the other node took away besides is gone at both.
    let more = Person { clearance: Grade::Internal, ..there };
    assert!(matches!(weigh(&change, &more, hash(&old)), Offer::Narrow(less) if less.clearance == Grade::Internal));
    assert_eq!(weigh(&more, &change, hash(&change)), Offer::Leave);
}

/// A version that takes nothing away, or is far ahead, would use up the numbers of an entry.
#[test]
fn no_node_brings_an_entry_to_its_last_number() {
    let old = person("wang", 2);
    for version in [3, u32::MAX] {
        assert_eq!(weigh(Some(&old), &Person { version, salt: [9; 32], ..old.clone() }, None), Offer::Wait);
    }
    let last = Person { version: u32::MAX, salt: [9; 32], ..old.clone() };
    assert_eq!(weigh(Some(&old), &last, hash(&last)), Offer::Take, "an officer signed it");
    let suspended = Person { suspended: true, ..last };
    assert_eq!(weigh(Some(&old), &suspended, None), Offer::Suspend, "and its number is not taken");
    let lowered = |version| Person { clearance: Grade::Internal, version, ..old.clone() };
    assert_eq!(weigh(Some(&old), &lowered(2 + AHEAD), None), Offer::Take);
    assert_ne!(weigh(Some(&old), &lowered(3 + AHEAD), None), Offer::Take);
}

/// A node with these people, two to an answer, that counts how often it is asked.
struct Node(u64, Vec<Person>, Mutex<usize>);

impl PeerPeople for Node {
    fn people(&self, _: NodeId, seen: u64, after: String) -> PeopleTold<'_> {
        *self.2.lock().unwrap() += 1;
        let later = self.1.iter().filter(|p| p.name > after && seen != self.0).take(2);
        let entries = later.map(Person::to_frame).collect();
        Box::pin(async move { Ok((self.0, entries)) })
    }
}

#[tokio::test]
async fn a_directory_is_asked_for_once_a_version_and_whole() {
    let people = ["a", "b", "c", "d", "e"].map(|n| person(n, 1)).to_vec();
    let (node, mut offers) = (NodeId(7), Offers::default());
    let peer = Node(5, people, Mutex::default());
    let (version, all) = ask(&peer, node, 0).await.unwrap().unwrap();
    offers.note(node, version, all);
    assert_eq!((offers.by_name.len(), offers.seen.get(&node)), (5, Some(&5)));
    assert_eq!(*peer.2.lock().unwrap(), 4);
    assert!(ask(&peer, node, 5).await.unwrap().is_none(), "nothing new");
    assert_eq!(*peer.2.lock().unwrap(), 5);
    let (version, all) = ask(&Node(6, vec![person("f", 1)], Mutex::default()), node, 5).await.unwrap().unwrap();
    offers.note(node, version, all);
    assert_eq!(offers.by_name.keys().map(|(_, name)| name.as_str()).collect::<Vec<_>>(), ["f"]);
    let disorder = Node(7, vec![person("b", 1), person("a", 1)], Mutex::default());
    assert!(ask(&disorder, node, 6).await.is_err());
    assert_eq!((offers.by_name.len(), offers.seen.get(&node)), (1, Some(&6)), "nothing of it counts");
}

/// A node that never answers.
struct Silent;

impl PeerPeople for Silent {
    fn people(&self, _: NodeId, _: u64, _: String) -> PeopleTold<'_> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever_for_a_node_that_says_nothing() {
    assert!(ask(&Silent, NodeId(7), 0).await.is_err());
}
