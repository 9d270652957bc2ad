//! Who takes part: admission, nodes, voters (P2), named for column L of `docs/rules.md`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

use super::fixture::{Agency, federation, newcomer, newest, second_node, suspended};
use super::tests::{Ledger, batch, signed};
use super::*;
use crate::domain::canon::{Canon, Reader};
use crate::domain::ids::{AgencyId, Handle, NodeId};
use crate::domain::person::Role;
use std::collections::{BTreeMap, BTreeSet};

const INVALID: CommandReply = CommandReply::Refused(Refusal::Invalid);
const NO_AUTHORITY: CommandReply = CommandReply::Refused(Refusal::NoAuthority);
const CONFLICT: CommandReply = CommandReply::Refused(Refusal::VersionConflict);

/// The founders, so that a test may hold them while the ledger changes.
fn founders() -> (Agency, Agency, Agency) {
    let f = federation();
    (f.police, f.customs, f.third)
}

fn seats(of: &[(&AgencyId, &str)]) -> Act {
    Act::Voters(of.iter().map(|(agency, node)| ((*agency).clone(), (*node).to_owned())).collect())
}

#[test]
fn l_an_agency_is_admitted_by_officers_of_enough_others() {
    let (mut l, (police, customs, _)) = (Ledger::of(federation()), founders());
    let (new, descriptor) = newcomer();
    let admit = Act::Admit(Box::new(descriptor.clone()));
    assert_eq!(l.act(&new, 0, &admit, 0), NO_AUTHORITY, "it has no voice in its own admission");
    assert_eq!(l.act(&police, 0, &admit, 1), CONFLICT);
    assert_eq!(l.act(&police, 0, &admit, 0), CommandReply::Pending);
    assert_eq!(l.act(&police, 1, &admit, 0), CommandReply::Pending, "one agency is one voice");
    assert!(l.s.agency(&new.id).is_none() && l.s.node(new.node).is_none());
    assert_eq!(l.act(&customs, 0, &admit, 0), CommandReply::Done);
    assert!(l.s.stands(&new.id) && l.s.node_agency(new.node) == Some(new.id.clone()));
    assert!(!l.s.voters().contains(&new.node), "whoever comes in does not vote");
    assert_eq!(l.act(&customs, 0, &admit, 0), CommandReply::Done, "the same again is done already");
    // Its nodes and officers count from now on.
    let own = l.s.apply_batch(9, &batch(&l.f, &new, 1, vec![]));
    assert_eq!(own.refused, None);
    let out = Act::SuspendAgency { agency: "cyberspace".parse().unwrap() };
    assert_eq!(l.act(&new, 0, &out, 1), CommandReply::Pending);
    let other = Act::Admit(Box::new(Descriptor { name: "other".into(), ..descriptor }));
    assert_eq!(l.act(&police, 0, &other, 0), CommandReply::Refused(Refusal::Exists));
}

/// Nothing of a newcomer may be somebody else's: not a key of a node, an officer or a removed node, nor a federation.
#[test]
fn l_an_admission_takes_nothing_from_anybody() {
    let (mut l, (police, customs, _)) = (Ledger::of(federation()), founders());
    let (_, good) = newcomer();
    let second = second_node(&police.id, 180);
    let add = Act::AddNode { agency: police.id.clone(), node: second.1.clone(), place: None };
    let remove = Act::RemoveNode { agency: police.id.clone(), node: "2".into() };
    for (act, expected) in [(&add, 0), (&remove, 1)] {
        assert_eq!(l.act(&police, 0, act, expected), CommandReply::Pending);
        assert_eq!(l.act(&police, 1, act, expected), CommandReply::Done);
    }
    let mut bad = vec![good.clone(); 6];
    bad[0].nodes[0].key = customs.node_key.public();
    bad[1].nodes[0].key = customs.officers[0].1.public();
    bad[2].authorities[0].key = customs.node_key.public();
    bad[3].federation = "elsewhere".parse().unwrap();
    bad[4].nodes[0].key = second.1.key;
    bad[5].nodes[0].local = "../1".into();
    for (n, descriptor) in bad.into_iter().enumerate() {
        assert_eq!(l.act(&police, 0, &Act::Admit(Box::new(descriptor)), 0), INVALID, "{n}");
    }
    assert_eq!(l.act(&police, 0, &Act::Admit(Box::new(good)), 0), CommandReply::Pending);
}

#[test]
fn l_a_removed_node_never_comes_back() {
    let (mut l, (police, customs, third)) = (Ledger::of(federation()), founders());
    let (id, entry, key) = second_node(&police.id, 180);
    let add = |entry: &NodeEntry| Act::AddNode { agency: police.id.clone(), node: entry.clone(), place: None };
    assert_eq!(l.act(&customs, 0, &add(&entry), 0), NO_AUTHORITY, "an agency's nodes are its own matter");
    assert_eq!(l.act(&police, 0, &add(&entry), 0), CommandReply::Pending);
    assert_eq!(l.act(&police, 0, &add(&entry), 0), CommandReply::Pending, "the same officer twice is one");
    assert_eq!(l.act(&police, 1, &add(&entry), 0), CommandReply::Done);
    assert_eq!(l.s.node_agency(id), Some(police.id.clone()));
    let second = Agency { id: police.id.clone(), node: id, node_key: key, officers: founders().0.officers };
    assert_eq!(l.s.apply_batch(50, &batch(&l.f, &second, 1, vec![])).refused, None);

    let remove = |a: &Agency, n: &str| Act::RemoveNode { agency: a.id.clone(), node: n.into() };
    assert_eq!(l.act(&police, 0, &remove(&police, "1"), 1), INVALID, "whoever votes is taken off the voters first");
    assert_eq!(l.act(&police, 0, &remove(&police, "3"), 1), CommandReply::Refused(Refusal::Unknown));
    assert_eq!(l.act(&police, 0, &remove(&police, "2"), 0), CONFLICT);
    assert_eq!(l.act(&police, 0, &remove(&police, "2"), 1), CommandReply::Pending);
    assert_eq!(l.act(&police, 1, &remove(&police, "2"), 1), CommandReply::Done);
    assert!(l.s.node(id).is_none() && l.s.retired(id).is_some_and(|r| r.local == "2"));
    assert!(l.s.signer(id).is_some_and(|(_, k)| *k == entry.key), "what it signed before stays good");
    let late = l.s.apply_batch(51, &batch(&l.f, &second, 2, vec![]));
    assert_eq!(late.refused, Some(Refusal::UnknownNode));
    assert_eq!(l.act(&police, 0, &add(&entry), 0), INVALID, "its number is used");
    let renamed = NodeEntry { local: "3".into(), ..entry };
    assert_eq!(l.act(&police, 0, &add(&renamed), 0), INVALID, "its key is used");
    let (handle, roles) = (Handle::from_bytes([88; 16]), [Role::Classifier].into());
    let reuse = Authority { handle, roles, key: renamed.key };
    assert_eq!(l.act(&police, 0, &Act::Register { agency: police.id.clone(), authority: reuse }, 0), INVALID);
    // Others take a node out together, of which its own agency is none.
    assert_eq!(l.act(&police, 0, &remove(&third, "1"), 1), CommandReply::Pending);
    assert_eq!(l.act(&customs, 0, &remove(&third, "1"), 1), CommandReply::Done);
    assert!(l.s.node(third.node).is_none());
}

/// Numbers that are never used again are bounded for each agency by itself: one that comes and goes without end takes no
/// room from those who must remove a node.
#[test]
fn l_an_agency_uses_up_its_own_numbers_alone() {
    let (mut l, (police, customs, third)) = (Ledger::of(federation()), founders());
    let added = |n: usize| {
        let mut seed = [7; 32];
        seed[0] = n as u8;
        let entry = NodeEntry {
            local: format!("n{n}"),
            key: crate::seal::SigningKey::from_seed(&seed).unwrap().public(),
            place: None,
        };
        Act::AddNode { agency: police.id.clone(), node: entry, place: None }
    };
    for n in 1..crate::domain::limits::AGENCY_NUMBERS {
        let remove = Act::RemoveNode { agency: police.id.clone(), node: format!("n{n}") };
        for (act, expected) in [(added(n), 0), (remove, 1)] {
            assert_eq!(l.act(&police, 0, &act, expected), CommandReply::Pending);
            assert_eq!(l.act(&police, 1, &act, expected), CommandReply::Done);
        }
    }
    assert_eq!(l.act(&police, 0, &added(200), 0), INVALID);
    let out = Act::RemoveNode { agency: third.id.clone(), node: "1".into() };
    assert_eq!(l.act(&police, 0, &out, 1), CommandReply::Pending);
    assert_eq!(l.act(&customs, 0, &out, 1), CommandReply::Done);
}

#[test]
fn l_voters_change_one_set_at_a_time() {
    let (mut l, (police, customs, third)) = (Ledger::of(federation()), founders());
    let two: BTreeSet<NodeId> = [police.node, customs.node].into();
    let three: BTreeSet<NodeId> = [police.node, customs.node, third.node].into();
    let both = seats(&[(&police.id, "1"), (&customs.id, "1")]);
    let all = seats(&[(&police.id, "1"), (&customs.id, "1"), (&third.id, "1")]);
    assert_eq!(l.act(&third, 0, &all, 1), NO_AUTHORITY, "whose seat it is has no voice");
    assert_eq!(l.act(&police, 0, &all, 2), CONFLICT);
    assert_eq!(l.act(&police, 0, &all, 1), CommandReply::Pending);
    assert!(!l.s.may_vote(&[two.clone(), three.clone()]));
    assert_eq!(l.act(&customs, 0, &all, 1), CommandReply::Done);
    assert_eq!((l.s.voters(), l.s.voters_version()), (three.clone(), 2));
    assert_eq!(l.s.voter_sets(), [two.clone(), three.clone()]);
    for sets in [vec![two.clone()], vec![two.clone(), three.clone()]] {
        assert!(l.s.may_vote(&sets), "{sets:?}");
    }
    let alone: BTreeSet<NodeId> = [police.node].into();
    let wrong =
        [vec![], vec![three.clone()], vec![alone.clone()], vec![two.clone(), alone], vec![three.clone(), two.clone()]];
    for sets in wrong {
        assert!(!l.s.may_vote(&sets), "{sets:?}");
    }
    // Until the log holds the new set alone the next one waits; the old one may be brought back.
    let pair = seats(&[(&police.id, "1"), (&third.id, "1")]);
    assert_eq!(l.act(&customs, 0, &pair, 2), INVALID);
    l.s.take_voters(vec![two.clone(), three.clone()]);
    assert!(l.s.may_vote(std::slice::from_ref(&two)) && l.s.may_vote(std::slice::from_ref(&three)));
    assert_eq!(l.act(&customs, 0, &pair, 2), INVALID);
    assert_eq!(l.act(&police, 0, &both, 2), CommandReply::Pending);
    l.s.take_voters(vec![three.clone()]);
    assert_eq!(l.act(&police, 0, &both, 2), CommandReply::Pending);
    assert_eq!(l.act(&customs, 0, &both, 2), CommandReply::Done);
    assert_eq!(l.s.voter_sets(), [three.clone(), two.clone()]);
    assert!(l.s.may_vote(&[three, two]));
    // A snapshot brings nobody back to an earlier set.
    let founded = State::genesis(&l.f.genesis).unwrap();
    assert!(l.s.members_may_follow(&founded) && !founded.members_may_follow(&l.s));
}

/// At once they could make a set of which no majority has anybody of a majority before.
#[test]
fn l_voters_change_by_one_agencys_seat_at_a_time() {
    let (police, customs, third) = founders();
    for (f, reply) in [(federation(), CommandReply::Pending), (newest(), CommandReply::Refused(Refusal::Seats))] {
        let mut l = Ledger::of(f);
        if l.s.voters().contains(&third.node) {
            let both = seats(&[(&police.id, "1"), (&customs.id, "1")]);
            assert_eq!(l.act(&police, 0, &both, 1), CommandReply::Pending, "one seat");
            assert_eq!(l.act(&customs, 0, &both, 1), CommandReply::Done);
            l.s.take_voters(vec![[police.node, customs.node].into()]);
        }
        let version = l.s.voters_version();
        let swapped = seats(&[(&police.id, "1"), (&third.id, "1")]);
        assert_eq!(l.act(&police, 0, &swapped, version), reply);
        assert_eq!(l.s.voters(), [police.node, customs.node].into());
        let all = seats(&[(&police.id, "1"), (&customs.id, "1"), (&third.id, "1")]);
        assert_eq!(l.act(&police, 0, &all, version), CommandReply::Pending);
    }
}

/// What an act dropped before it was refused is dropped on every node alike, whoever was restarted since.
#[test]
fn l_what_is_refused_leaves_a_state_that_is_settled() {
    let (police, ..) = founders();
    let mut l = Ledger::of(newest());
    let (handle, key) = (Handle::from_bytes([77; 16]), crate::seal::SigningKey::from_seed(&[77; 32]).unwrap().public());
    let authority = Authority { handle, roles: [Role::Classifier].into(), key };
    let register = Act::Register { agency: police.id.clone(), authority };
    assert_eq!(l.act(&police, 0, &register, 0), CommandReply::Pending);
    let full = (0..crate::domain::limits::AUTHORITIES as u128).map(|n| Handle::from_bytes((n << 64 | 1).to_be_bytes()));
    l.s.agencies.get_mut(&police.id).unwrap().barred = full.collect();
    l.s.settle();
    let before = l.s.digest();
    assert_eq!(l.act(&police, 1, &Act::Suspend { agency: police.id.clone(), handle }, 0), INVALID);
    assert_ne!(l.s.digest(), before, "the registration waits no more");
}

/// A set that could not lead, or that names what does not stand, is approved by nobody.
#[test]
fn l_voters_are_nodes_of_agencies_that_stand() {
    let (mut l, (police, customs, third)) = (Ledger::of(federation()), founders());
    let bad = [
        seats(&[(&police.id, "1")]),
        seats(&[(&police.id, "1"), (&customs.id, "2")]),
        seats(&[(&police.id, "1"), (&"nobody".parse().unwrap(), "1")]),
    ];
    for act in &bad {
        assert_eq!(l.act(&third, 0, act, 1), INVALID, "{act:?}");
    }
    let all = seats(&[(&police.id, "1"), (&customs.id, "1"), (&third.id, "1")]);
    l.s = suspended(&l.s, &third.id);
    assert_eq!(l.act(&police, 0, &all, 1), INVALID);
    // One seat for each agency: a second is no form of the act.
    let mut bytes = seats(&[(&customs.id, "1"), (&police.id, "1")]).to_canon();
    assert!(Act::from_canon(&bytes).is_ok());
    let police_seat = [&[0, 0, 0, 6][..], b"police", &[0, 0, 0, 1, b'2']].concat();
    bytes[4] += 1;
    bytes.extend(police_seat);
    assert!(Act::from_canon(&bytes).is_err());
}

/// The time of an agency that votes from now on begins where the ledger's is, and starts nothing anew (P4).
#[test]
fn l_a_new_voter_does_not_start_the_clock_anew() {
    let (mut l, (police, customs, third)) = (Ledger::of(federation()), founders());
    let at = |a: &Agency, sequence, time| {
        let federation = "test".parse().unwrap();
        let time = crate::domain::time::Millis(time);
        let (node, commands) = (a.node, vec![]);
        SignedBatch { federation, node, incarnation: 2, sequence, not_after: 1_000, time, commands }.seal(&a.node_key)
    };
    l.s.apply_batch(1, &at(&police, 1, 5_000_000));
    l.s.apply_batch(2, &at(&customs, 1, 5_000_000));
    let before = l.s.time();
    let all = seats(&[(&police.id, "1"), (&customs.id, "1"), (&third.id, "1")]);
    let both = vec![signed(&l.f, &police, 0, &all, 1), signed(&l.f, &customs, 0, &all, 1)];
    let bytes = SignedBatch {
        federation: l.f.id.clone(),
        node: police.node,
        incarnation: 2,
        sequence: 2,
        not_after: 1_000,
        time: before,
        commands: both,
    };
    let replies = l.s.apply_batch(3, &bytes.seal(&police.node_key)).replies;
    assert_eq!(replies, [CommandReply::Pending, CommandReply::Done]);
    l.s.apply_batch(4, &at(&customs, 2, u64::MAX));
    l.s.apply_batch(5, &at(&police, 3, u64::MAX));
    assert!(l.s.time().0 <= before.0 + crate::domain::limits::CLOCK_AHEAD_MS, "{:?}", l.s.time());
}

/// What nobody changed is written as before members could change, and so has the digest of before.
#[test]
fn what_the_genesis_founded_keeps_its_form() {
    let mut l = Ledger::of(federation());
    assert!(Reader::new(&l.s.encode(), "hufu.state", 2).is_ok());
    let digest = l.s.digest();
    l.s.take_voters(vec![l.s.voters()]);
    assert_eq!(l.s.digest(), digest, "the first entry of the log says what the genesis says");
    let (_, customs, third) = founders();
    let remove = Act::RemoveNode { agency: third.id.clone(), node: "1".into() };
    let police = founders().0;
    l.act(&police, 0, &remove, 1);
    l.act(&customs, 0, &remove, 1);
    assert!(Reader::new(&l.s.encode(), "hufu.state", 3).is_ok());
}

#[test]
fn the_bytes_of_acts_and_places_are_frozen() {
    let police: AgencyId = "police".parse().unwrap();
    let name = [&[0, 0, 0, 6][..], b"police"].concat();
    let voters = Act::Voters(BTreeMap::from([(police.clone(), "1".into())]));
    assert_eq!(voters.to_canon(), [&[13, 0, 0, 0, 1][..], &name, &[0, 0, 0, 1, b'1']].concat());
    let remove = Act::RemoveNode { agency: police.clone(), node: "1".into() };
    assert_eq!(remove.to_canon(), [&[12][..], &name, &[0, 0, 0, 1, b'1']].concat());
    let (_, entry, _) = second_node(&police, 180);
    let place = Place { nodes: "[::1]:7001".parse().unwrap(), notices: "10.0.0.1:7002".parse().unwrap() };
    let add = |place| Act::AddNode { agency: police.clone(), node: entry.clone(), place };
    let nowhere = [&[11][..], &name, &entry.to_canon(), &[0]].concat();
    assert_eq!(add(None).to_canon(), nowhere);
    let written = [&[0, 0, 0, 10][..], b"[::1]:7001", &[0, 0, 0, 13], b"10.0.0.1:7002"].concat();
    let placed = [&nowhere[..nowhere.len() - 1], &[1], &written].concat();
    assert_eq!((add(Some(place)).to_canon(), Act::from_canon(&placed)), (placed.clone(), Ok(add(Some(place)))));

    // Where the nodes are is told by version 2 of a descriptor; one that does not tell it is as before.
    let (_, plain) = newcomer();
    let mut told = plain.clone();
    told.nodes[0].place = Some(place);
    let version = |d: &Descriptor| d.to_canon()[4 + "hufu.descriptor".len() + 1];
    assert_eq!((version(&plain), version(&told)), (1, 2));
    for d in [plain, told] {
        assert_eq!(Descriptor::from_canon(&d.to_canon()), Ok(d));
    }
}
