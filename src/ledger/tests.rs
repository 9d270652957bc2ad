//! The ledger's rules, named for column L of `docs/rules.md`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

use super::fixture::{Agency, Federation, federation, three_voters};
use super::*;
use crate::domain::agreement::Terms;
use crate::domain::canon::Canon;
use crate::domain::ids::{AgencyId, Handle, RecordId};
use crate::domain::person::Role;
use crate::domain::time::{Entropy, Millis};
use crate::seal::SigningKey;
use std::collections::BTreeMap;

struct Count(u8);
impl Entropy for Count {
    fn fill(&mut self, out: &mut [u8]) {
        for b in out {
            self.0 = self.0.wrapping_add(1);
            *b = self.0;
        }
    }
}

pub(super) fn batch(f: &Federation, a: &Agency, sequence: u64, commands: Vec<Command>) -> Vec<u8> {
    super::fixture::batch(f, a, (1, sequence), commands)
}

/// A state with what it takes to put acts on it: police's node brings them.
pub(super) struct Ledger {
    pub(super) f: Federation,
    pub(super) s: State,
    pub(super) at: u64,
}

impl Ledger {
    pub(super) fn of(f: Federation) -> Ledger {
        let s = State::genesis(&f.genesis).unwrap();
        Ledger { f, s, at: 0 }
    }

    pub(super) fn apply(&mut self, commands: Vec<Command>) -> Vec<CommandReply> {
        self.at += 1;
        let replies = self.s.apply_batch(self.at, &batch(&self.f, &self.f.police, self.at, commands)).replies;
        let read = State::decode(&self.s.encode()).unwrap();
        assert_eq!((read.digest(), read.encode()), (self.s.digest(), self.s.encode()), "what is made can be read");
        replies
    }

    pub(super) fn one(&mut self, command: Command) -> CommandReply {
        self.apply(vec![command])[0]
    }

    pub(super) fn act(&mut self, by: &Agency, officer: usize, act: &Act, expected: u32) -> CommandReply {
        let command = signed(&self.f, by, officer, act, expected);
        self.one(command)
    }
}

fn commit(f: &Federation, a: &Agency, seed: u8, version: u32) -> Command {
    let record = RecordId::new(Millis(5), origin_mark(&f.id, &a.id), &mut Count(seed));
    Command::Commit {
        record,
        version,
        commitment: [version as u8; 32],
        grant: [9; 32],
        tags: (0..4).map(|n| [n; 16]).collect(),
    }
}

pub(super) fn terms() -> Terms {
    super::fixture::terms("border-2026", &["police", "customs"])
}

pub(super) fn signed(f: &Federation, a: &Agency, officer: usize, act: &Act, expected: u32) -> Command {
    let (handle, key) = &a.officers[officer];
    Command::Act(SignedAct::sign(&f.id, act, expected, Millis(u64::MAX), *handle, key))
}

#[test]
fn l_genesis_needs_every_founder_over_the_same_bytes() {
    let f = federation();
    assert!(State::genesis(&f.genesis).is_ok());
    let mut missing = f.signed.clone();
    missing.signatures.remove(&f.police.id);
    assert!(matches!(State::genesis(&missing.to_canon()), Err(LedgerError::Unsigned { .. })));
    let mut changed = f.signed.clone();
    let at = changed.body.len() - 1;
    changed.body[at] ^= 1;
    assert!(State::genesis(&changed.to_canon()).is_err());
}

#[test]
fn l_a_batch_counts_once() {
    let f = federation();
    let mut s = State::genesis(&f.genesis).unwrap();
    let first = batch(&f, &f.police, 1, vec![commit(&f, &f.police, 1, 1)]);
    let reply = s.apply_batch(1, &first);
    assert_eq!(reply.replies, [CommandReply::Done]);
    let digest = s.digest();
    assert_eq!(s.apply_batch(2, &first), reply, "the repeat gets the stored reply");
    assert_eq!(s.digest(), digest, "and changes nothing");
    assert_eq!(s.feed().len(), 1);
    let second = batch(&f, &f.police, 3, vec![]);
    s.apply_batch(3, &second);
    let late = s.apply_batch(4, &batch(&f, &f.police, 2, vec![commit(&f, &f.police, 50, 1)]));
    assert_eq!(late.refused, Some(Refusal::Replayed));
    assert_eq!(s.apply_batch(5, &first).refused, Some(Refusal::Replayed));
    let expired = batch(&f, &f.police, 9, vec![]);
    assert_eq!(s.apply_batch(super::fixture::NOT_AFTER + 1, &expired).refused, Some(Refusal::Expired));
}

/// What `apply` makes can be read again: a state that cannot would stop every node at its next start.
#[test]
fn l_grants_of_a_version_are_bounded() {
    let f = federation();
    let mut s = State::genesis(&f.genesis).unwrap();
    let first = commit(&f, &f.police, 1, 1);
    let Command::Commit { record, .. } = first else { unreachable!() };
    s.apply_batch(1, &batch(&f, &f.police, 1, vec![first]));
    let tags: Vec<[u8; 16]> = (0..4096u128).map(|n| n.to_be_bytes()).collect();
    let grant = |n: u8| Command::Grant { record, version: 1, grant: [n; 32], tags: tags.clone() };
    let mut replies = Vec::new();
    for n in 1..=17u8 {
        let at = u64::from(n) + 1;
        replies.extend(s.apply_batch(at, &batch(&f, &f.police, at, vec![grant(n)])).replies);
    }
    assert_eq!(replies.pop(), Some(CommandReply::Refused(Refusal::Invalid)));
    let read = State::decode(&s.encode()).unwrap();
    assert_eq!(read.digest(), s.digest());
    // The same grant again is done already.
    let feed = s.feed().len();
    assert_eq!(s.apply_batch(90, &batch(&f, &f.police, 90, vec![grant(3)])).replies, [CommandReply::Done]);
    assert_eq!(s.feed().len(), feed);
}

/// A version that is over does not bring an earlier one back.
#[test]
fn l_an_agreement_that_is_over_stays_over() {
    let f = federation();
    let mut s = State::genesis(&f.genesis).unwrap();
    let second = Terms { version: 2, end: Millis(5_000_000), start: Millis(3_000_000), ..terms() };
    for (n, (terms, expected)) in [(terms(), 0), (second, 1)].into_iter().enumerate() {
        let act = Act::Agreement(terms);
        let n = n as u64 + 1;
        s.apply_batch(n, &batch(&f, &f.police, n, vec![signed(&f, &f.police, 0, &act, expected)]));
        s.apply_batch(n, &batch(&f, &f.customs, n, vec![signed(&f, &f.customs, 0, &act, expected)]));
    }
    let version = |at| s.agreement_now(&"border-2026".parse().unwrap(), Millis(at)).map(|a| a.terms.version);
    assert_eq!((version(2_500_000), version(4_000_000), version(6_000_000)), (Some(1), Some(2), None));
    // What is committed falls under the one that has begun by the ledger's time, or one that is signed for later.
    let id = "border-2026".parse().unwrap();
    let at =
        |index, time| s.agreements_at(&id, index, Millis(time)).iter().map(|a| a.terms.version).collect::<Vec<_>>();
    assert_eq!((at(1, 500), at(2, 500), at(2, 3_500_000)), (vec![1], vec![1, 2], vec![2]));
    // A clock that was set back brings nothing back that is over by the ledger's time.
    assert_eq!((s.time(), version(500)), (Millis(2_000_000), Some(1)));
    let over = super::fixture::agreed(&s, Terms { end: Millis(2_000_000), ..terms() });
    assert!(over.agreement_now(&id, Millis(500)).is_none());
}

#[test]
fn l_foreign_and_forged_batches_are_refused() {
    let f = federation();
    let mut s = State::genesis(&f.genesis).unwrap();
    let forged = SignedBatch {
        federation: f.id.clone(),
        node: f.police.node,
        incarnation: 1,
        sequence: 1,
        not_after: 10,
        time: Millis(1),
        commands: vec![],
    }
    .seal(&f.customs.node_key);
    assert_eq!(s.apply_batch(1, &forged).refused, Some(Refusal::BadSignature));
    let bytes = batch(&f, &f.police, 1, vec![commit(&f, &f.police, 1, 1)]);
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        assert!(s.clone().apply_batch(1, &bad).refused.is_some(), "flipped byte {at}");
    }
}

#[test]
fn l_records_carry_their_origin_and_versions_rise_by_one() {
    let f = federation();
    let mut s = State::genesis(&f.genesis).unwrap();
    let commands = vec![
        commit(&f, &f.customs, 1, 1),
        commit(&f, &f.police, 1, 2),
        commit(&f, &f.police, 1, 1),
        commit(&f, &f.police, 1, 1),
        commit(&f, &f.police, 1, 3),
        commit(&f, &f.police, 1, 2),
    ];
    let reply = s.apply_batch(1, &batch(&f, &f.police, 1, commands));
    use CommandReply::{Done, Refused};
    assert_eq!(
        reply.replies,
        [
            Refused(Refusal::ForeignRecord),
            Refused(Refusal::VersionConflict),
            Done,
            Done,
            Refused(Refusal::VersionConflict),
            Done
        ],
        "one refusal never fails its neighbours"
    );
}

#[test]
fn l_an_agreement_needs_an_officer_of_every_party() {
    let f = federation();
    let mut s = State::genesis(&f.genesis).unwrap();
    let act = Act::Agreement(terms());
    let id = terms().id;
    let first = s.apply_batch(1, &batch(&f, &f.police, 1, vec![signed(&f, &f.police, 0, &act, 0)]));
    assert_eq!(first.replies, [CommandReply::Pending]);
    assert!(s.agreements_at(&id, 1, Millis(0)).is_empty(), "one party is not enough");
    let again = s.apply_batch(2, &batch(&f, &f.police, 2, vec![signed(&f, &f.police, 1, &act, 0)]));
    assert_eq!(again.replies, [CommandReply::Pending], "two officers of one party are one party");
    let second = s.apply_batch(3, &batch(&f, &f.customs, 1, vec![signed(&f, &f.customs, 0, &act, 0)]));
    assert_eq!(second.replies, [CommandReply::Done]);
    assert!(s.agreements_at(&id, 2, Millis(0)).is_empty() && s.agreements_at(&id, 3, Millis(0)).len() == 1);

    let end = Act::EndAgreement { id: id.clone(), reason: "over".into() };
    let stale = s.apply_batch(4, &batch(&f, &f.customs, 2, vec![signed(&f, &f.customs, 0, &end, 0)]));
    assert_eq!(stale.replies, [CommandReply::Refused(Refusal::VersionConflict)]);
    let ended = s.apply_batch(5, &batch(&f, &f.customs, 3, vec![signed(&f, &f.customs, 0, &end, 1)]));
    assert_eq!(ended.replies, [CommandReply::Done]);
    assert!(s.agreements_at(&id, 4, Millis(0)).len() == 1 && s.agreements_at(&id, 5, Millis(0)).is_empty());
    assert!(s.agreement_now(&id, Millis(10)).is_none());
}

#[test]
fn l_a_person_who_signs_needs_two_officers() {
    let f = federation();
    let mut s = State::genesis(&f.genesis).unwrap();
    let chief = SigningKey::from_seed(&[77; 32]).unwrap();
    let handle = Handle::from_bytes([77; 16]);
    let authority = Authority { handle, roles: [Role::Classifier].into(), key: chief.public() };
    let act = Act::Register { agency: f.police.id.clone(), authority };
    let foreign = s.apply_batch(1, &batch(&f, &f.customs, 1, vec![signed(&f, &f.customs, 0, &act, 0)]));
    assert_eq!(foreign.replies, [CommandReply::Refused(Refusal::NoAuthority)]);
    let one = s.apply_batch(2, &batch(&f, &f.police, 1, vec![signed(&f, &f.police, 0, &act, 0)]));
    assert_eq!(one.replies, [CommandReply::Pending]);
    let same = s.apply_batch(3, &batch(&f, &f.police, 2, vec![signed(&f, &f.police, 0, &act, 0)]));
    assert_eq!(same.replies, [CommandReply::Pending], "the same officer twice is one");
    let two = s.apply_batch(4, &batch(&f, &f.police, 3, vec![signed(&f, &f.police, 1, &act, 0)]));
    assert_eq!(two.replies, [CommandReply::Done]);
    assert!(s.authority(&f.police.id, handle).is_some());
    let suspend = Act::Suspend { agency: f.police.id.clone(), handle };
    let mut at = 4;
    let mut reply = |expected| {
        at += 1;
        let signed = signed(&f, &f.police, 0, &suspend, expected);
        s.apply_batch(at, &batch(&f, &f.police, at, vec![signed])).replies
    };
    assert_eq!(reply(2), [CommandReply::Refused(Refusal::VersionConflict)], "the version seen is named");
    assert_eq!(reply(1), [CommandReply::Done]);
    assert_eq!(reply(1), [CommandReply::Done], "nothing follows it: the same again is done already");
    assert!(s.authority(&f.police.id, handle).is_none());
}

/// The founders of the fixture are three; acts of the whole need two, of which the subject is none.
#[test]
fn l_an_agency_is_suspended_by_officers_of_enough_others() {
    let f = federation();
    let mut s = State::genesis(&f.genesis).unwrap();
    let subject: AgencyId = "cyberspace".parse().unwrap();
    let out = Act::SuspendAgency { agency: subject.clone() };
    let mut at = 0;
    let mut apply = |s: &mut State, a: &Agency, officer, act: &Act, expected| {
        at += 1;
        s.apply_batch(at, &batch(&f, a, at, vec![signed(&f, a, officer, act, expected)])).replies
    };
    let conflict = [CommandReply::Refused(Refusal::VersionConflict)];
    assert_eq!(apply(&mut s, &f.police, 0, &out, 0), conflict);
    assert_eq!(apply(&mut s, &f.police, 0, &out, 1), [CommandReply::Pending]);
    assert_eq!(apply(&mut s, &f.police, 1, &out, 1), [CommandReply::Pending], "one agency is one voice");
    assert_eq!(s.proposals().count(), 1);
    assert!(s.stands(&subject));
    assert_eq!(State::decode(&s.encode()).unwrap().digest(), s.digest(), "what waits survives a snapshot");
    assert_eq!(apply(&mut s, &f.customs, 0, &out, 1), [CommandReply::Done]);
    assert!(!s.stands(&subject) && s.proposals().count() == 0);
    assert_eq!(apply(&mut s, &f.customs, 0, &out, 1), conflict);
    assert_eq!(State::decode(&s.encode()).unwrap().digest(), s.digest());

    let back = Act::ReinstateAgency { agency: subject.clone() };
    assert_eq!(apply(&mut s, &f.police, 0, &back, 2), [CommandReply::Pending]);
    assert_eq!(apply(&mut s, &f.customs, 1, &back, 2), [CommandReply::Done]);
    assert!(s.stands(&subject));
    // The signature of before does not count for a second time.
    assert_eq!(apply(&mut s, &f.police, 0, &out, 1), conflict);
}

/// A registration that waits for its second officer ends with the person's suspension: that officer alone is not two.
#[test]
fn l_who_is_suspended_before_being_registered_is_not_registered() {
    let f = federation();
    let mut s = State::genesis(&f.genesis).unwrap();
    let (handle, key) = (Handle::from_bytes([77; 16]), SigningKey::from_seed(&[77; 32]).unwrap().public());
    let authority = Authority { handle, roles: [Role::SecurityOfficer].into(), key };
    let register = Act::Register { agency: f.police.id.clone(), authority };
    let suspend = Act::Suspend { agency: f.police.id.clone(), handle };
    let mut at = 0;
    let mut apply = |s: &mut State, officer, act: &Act, expected| {
        at += 1;
        s.apply_batch(at, &batch(&f, &f.police, at, vec![signed(&f, &f.police, officer, act, expected)])).replies[0]
    };
    assert_eq!(apply(&mut s, 0, &register, 0), CommandReply::Pending);
    assert_eq!(State::decode(&s.encode()).unwrap().digest(), s.digest());
    assert_eq!(apply(&mut s, 0, &suspend, 1), CommandReply::Done);
    for officer in [1, 0] {
        assert_eq!(apply(&mut s, officer, &register, 0), CommandReply::Refused(Refusal::Invalid));
    }
    assert!(s.authority(&f.police.id, handle).is_none());
    assert_eq!(State::decode(&s.encode()).unwrap().digest(), s.digest());
}

/// One officer who begins registrations without end fills the places of the own agency, and nobody else's.
#[test]
fn l_an_agency_fills_its_own_places_for_acts_that_wait() {
    let f = federation();
    let mut s = State::genesis(&f.genesis).unwrap();
    let act = |a: &Agency, n: u8| {
        let (handle, key) = (Handle::from_bytes([n; 16]), SigningKey::from_seed(&[n; 32]).unwrap().public());
        Act::Register { agency: a.id.clone(), authority: Authority { handle, roles: [Role::Classifier].into(), key } }
    };
    let (mut at, mut sequences) = (0, BTreeMap::new());
    let mut apply = |a: &Agency, officer, n| {
        at += 1;
        let sequence = sequences.entry(a.id.clone()).and_modify(|s| *s += 1).or_insert(1u64);
        s.apply_batch(at, &batch(&f, a, *sequence, vec![signed(&f, a, officer, &act(a, n), 0)])).replies[0]
    };
    let refused = CommandReply::Refused(Refusal::Invalid);
    for n in 130..194 {
        assert_eq!(apply(&f.police, 0, n), CommandReply::Pending);
    }
    assert_eq!(apply(&f.police, 0, 200), refused);
    assert_eq!(apply(&f.customs, 0, 201), CommandReply::Pending, "another agency has its own");
    assert_eq!(apply(&f.police, 1, 130), CommandReply::Done, "what waits can be signed");
    assert_eq!(apply(&f.police, 0, 200), CommandReply::Pending, "and makes room");
}

/// Without a majority of those who vote nothing could be put on the ledger, not even a reinstatement.
#[test]
fn l_a_majority_of_the_voters_always_stands() {
    let f = federation();
    let mut s = State::genesis(&f.genesis).unwrap();
    let out = Act::SuspendAgency { agency: f.customs.id.clone() };
    let reply = s.apply_batch(1, &batch(&f, &f.police, 1, vec![signed(&f, &f.police, 0, &out, 1)]));
    assert_eq!(reply.replies, [CommandReply::Refused(Refusal::Invalid)], "one of two is no majority");
    assert!(!s.is_led_without(&f.customs.id) && s.is_led_without(&"cyberspace".parse().unwrap()));
}

/// A voice that lapses takes no other along, however short its signer made it, and none lasts for ever.
#[test]
fn l_one_voice_does_not_end_what_others_began() {
    let f = federation();
    let mut s = State::genesis(&f.genesis).unwrap();
    let out = Act::SuspendAgency { agency: "cyberspace".parse().unwrap() };
    let voice = |a: &Agency, expires| {
        let (handle, key) = &a.officers[0];
        Command::Act(SignedAct::sign(&f.id, &out, 1, Millis(expires), *handle, key))
    };
    let day = 24 * 3_600_000;
    let at = |s: &mut State, a: &Agency, sequence, time, commands| {
        let b = SignedBatch {
            federation: f.id.clone(),
            node: a.node,
            incarnation: 1,
            sequence,
            not_after: 1000,
            time: Millis(time),
            commands,
        };
        s.apply_batch(sequence, &b.seal(&a.node_key)).replies
    };
    at(&mut s, &f.police, 1, 2_000_000, vec![]);
    at(&mut s, &f.customs, 1, 2_000_000, vec![]);
    assert_eq!(at(&mut s, &f.customs, 2, 2_000_000, vec![voice(&f.customs, 2_000_001)]), [CommandReply::Pending]);
    assert_eq!(s.proposals().count(), 1);
    at(&mut s, &f.police, 2, 2_000_002, vec![]);
    at(&mut s, &f.customs, 3, 2_000_002, vec![]);
    // The short voice is over. An act that is refused finds it so, and leaves the digest of what is there.
    assert_eq!(s.proposals().count(), 1);
    let stale = signed(&f, &f.police, 0, &out, 9);
    let refused = at(&mut s, &f.police, 3, 2_000_002, vec![stale]);
    assert_eq!((refused, s.proposals().count()), (vec![CommandReply::Refused(Refusal::VersionConflict)], 0));
    assert_eq!(State::decode(&s.encode()).unwrap().digest(), s.digest());
    // Another waits for a second, seven days at most, and is not shortened by its earlier form.
    for (sequence, expires) in [(4, u64::MAX), (5, 2_000_005)] {
        let voice = vec![voice(&f.police, expires)];
        assert_eq!(at(&mut s, &f.police, sequence, 2_000_002, voice), [CommandReply::Pending]);
        let waiting: Vec<_> = s.proposals().flat_map(|p| p.signers.values().map(|(_, until)| until.0)).collect();
        assert_eq!(waiting, [2_000_002 + 7 * day]);
    }
}

/// A suspended agency's nodes put nothing on the ledger, its officers have no voice, and the subject never counts.
#[test]
fn l_a_suspended_agency_has_no_voice() {
    let f = federation();
    let mut s = State::genesis(&f.genesis).unwrap();
    let out = |a: &Agency| Act::SuspendAgency { agency: a.id.clone() };
    let own = s.apply_batch(1, &batch(&f, &f.third, 1, vec![signed(&f, &f.third, 0, &out(&f.third), 1)]));
    assert_eq!(own.replies, [CommandReply::Refused(Refusal::NoAuthority)]);
    let both = vec![signed(&f, &f.police, 0, &out(&f.third), 1), signed(&f, &f.customs, 0, &out(&f.third), 1)];
    let reply = s.apply_batch(2, &batch(&f, &f.police, 1, both));
    assert_eq!(reply.replies, [CommandReply::Pending, CommandReply::Done]);
    assert!(!s.stands(&f.third.id) && s.stands(&f.customs.id));

    let mine = batch(&f, &f.third, 2, vec![commit(&f, &f.third, 1, 1)]);
    assert_eq!(s.apply_batch(3, &mine).refused, Some(Refusal::UnknownNode));
    let register =
        Act::Entry { agency: f.third.id.clone(), handle: Handle::from_bytes([1; 16]), version: 1, hash: [0; 32] };
    let carried = s.apply_batch(4, &batch(&f, &f.police, 2, vec![signed(&f, &f.third, 0, &register, 0)]));
    assert_eq!(carried.replies, [CommandReply::Refused(Refusal::NoAuthority)]);
    // Among its own people its officers stay what they are.
    let officer = f.third.officers[0].0;
    assert!(s.authority(&f.third.id, officer).is_none() && s.registered(&f.third.id, officer).is_some());

    // What was refused meanwhile is not taken after it.
    let back = Act::ReinstateAgency { agency: f.third.id.clone() };
    let both = vec![signed(&f, &f.police, 0, &back, 2), signed(&f, &f.customs, 0, &back, 2)];
    s.apply_batch(5, &batch(&f, &f.police, 3, both));
    assert!(s.stands(&f.third.id));
    assert_eq!(s.apply_batch(6, &mine).refused, Some(Refusal::UnknownNode));
    assert!(s.feed().is_empty());
}

#[test]
fn l_hashes_of_entries_rise_and_need_an_officer_of_the_agency() {
    let f = federation();
    let mut s = State::genesis(&f.genesis).unwrap();
    let handle = Handle::from_bytes([9; 16]);
    let entry = |version| Act::Entry { agency: f.police.id.clone(), handle, version, hash: [version as u8; 32] };
    let mut at = 0;
    let mut apply = |by: &Agency, version, expected| {
        at += 1;
        let reply = s.apply_batch(at, &batch(&f, &f.police, at, vec![signed(&f, by, 0, &entry(version), expected)]));
        (reply.replies[0], s.agency(&f.police.id).unwrap().entries.get(&handle).map(|(v, _)| *v))
    };
    let conflict = CommandReply::Refused(Refusal::VersionConflict);
    assert_eq!(apply(&f.customs, 1, 0), (CommandReply::Refused(Refusal::NoAuthority), None));
    assert_eq!(apply(&f.police, 1, 3), (conflict, None));
    assert_eq!(apply(&f.police, 1, 0), (CommandReply::Done, Some(1)));
    assert_eq!(apply(&f.police, 1, 0), (CommandReply::Done, Some(1)), "the same again is done already");
    assert_eq!(apply(&f.police, 3, 1), (CommandReply::Done, Some(3)), "a version may have missed the ledger");
    assert_eq!(apply(&f.police, 2, 3), (conflict, Some(3)), "never back");
}

#[test]
fn l_only_its_originators_officer_gives_a_record_up() {
    let f = federation();
    let mut s = State::genesis(&f.genesis).unwrap();
    let first = commit(&f, &f.police, 1, 1);
    let Command::Commit { record, .. } = first else { unreachable!() };
    s.apply_batch(1, &batch(&f, &f.police, 1, vec![first]));
    let give_up = |a: &Agency, version| Act::Abandon { agency: a.id.clone(), record, version };
    let mut at = 1;
    let mut apply = |s: &mut State, by: &Agency, act: &Act, expected| {
        at += 1;
        s.apply_batch(at, &batch(&f, &f.police, at, vec![signed(&f, by, 0, act, expected)])).replies[0]
    };
    let refused = CommandReply::Refused;
    assert_eq!(apply(&mut s, &f.customs, &give_up(&f.police, 1), 1), refused(Refusal::NoAuthority));
    assert_eq!(apply(&mut s, &f.customs, &give_up(&f.customs, 1), 1), refused(Refusal::ForeignRecord));
    assert_eq!(apply(&mut s, &f.police, &give_up(&f.police, 2), 2), refused(Refusal::Unknown));
    assert_eq!(apply(&mut s, &f.police, &give_up(&f.police, 1), 0), refused(Refusal::VersionConflict));
    assert_eq!(s.lost(&record, 1), None);
    assert_eq!(apply(&mut s, &f.police, &give_up(&f.police, 1), 1), CommandReply::Done);
    assert!(s.lost(&record, 1).is_some());
    assert_eq!(State::decode(&s.encode()).unwrap().digest(), s.digest());
}

/// A state that an earlier version wrote is read: nobody suspended, nothing given up.
#[test]
fn the_first_format_of_the_state_opens() {
    let f = federation();
    let s = State::genesis(&f.genesis).unwrap();
    let first = s.encode_first();
    let read = State::decode(&first).unwrap();
    assert_eq!(read.encode(), s.encode());
}

#[test]
fn the_state_survives_encoding_and_equal_logs_give_equal_digests() {
    let f = federation();
    let mut a = State::genesis(&f.genesis).unwrap();
    let mut b = a.clone();
    let log = vec![
        batch(
            &f,
            &f.police,
            1,
            vec![commit(&f, &f.police, 1, 1), signed(&f, &f.police, 0, &Act::Agreement(terms()), 0)],
        ),
        batch(
            &f,
            &f.customs,
            1,
            vec![signed(&f, &f.customs, 1, &Act::Agreement(terms()), 0), Command::Anchor { checkpoint: [3; 32] }],
        ),
        batch(&f, &f.police, 2, vec![commit(&f, &f.police, 90, 1)]),
    ];
    for (index, entry) in (1..).zip(&log) {
        a.apply_batch(index, entry);
        if index == 2 {
            b = State::decode(&a.encode()).unwrap();
        }
    }
    b.apply_batch(3, &log[2]);
    assert_eq!(a.digest(), b.digest());
    assert_eq!(a.encode(), b.encode());
    let mut c = a.clone();
    c.apply_batch(4, &batch(&f, &f.police, 3, vec![Command::Anchor { checkpoint: [4; 32] }]));
    assert_ne!(a.digest(), c.digest());
}

#[test]
fn time_never_goes_back_and_one_agency_cannot_push_it() {
    let f = federation();
    let mut s = State::genesis(&f.genesis).unwrap();
    let at = |s: &mut State, a: &Agency, sequence, time| {
        let b = SignedBatch {
            federation: f.id.clone(),
            node: a.node,
            incarnation: 2,
            sequence,
            not_after: 1000,
            time: Millis(time),
            commands: vec![],
        };
        s.apply_batch(sequence, &b.seal(&a.node_key));
        s.time().0
    };
    assert_eq!(at(&mut s, &f.police, 1, 9_000_000), 1_000_000, "the lower median of two is the lower");
    assert_eq!(at(&mut s, &f.customs, 1, 5_000_000), 5_000_000);
    assert_eq!(at(&mut s, &f.customs, 2, 4_000_000), 5_000_000, "not back");
    assert_eq!(at(&mut s, &f.police, 2, u64::MAX), 5_000_000, "one agency alone moves nothing");
}

/// The lower median of three reports is an honest one or lower: an entry dated 2099, before anybody reported or after, is
/// taken, its date is not believed, and every node makes the same of it.
#[test]
fn l_an_entry_dated_2099_moves_no_time() {
    const YEAR_2099: u64 = 4_070_908_800_000;
    let f = three_voters();
    let start = State::genesis(&f.genesis).unwrap();
    let mut log = Vec::new();
    let mut s = start.clone();
    let mut at = |s: &mut State, a: &Agency, sequence, time| {
        let (incarnation, not_after) = (1, 1_000);
        let (federation, node, time) = (f.id.clone(), a.node, Millis(time));
        let b = SignedBatch { federation, node, incarnation, sequence, not_after, time, commands: vec![] };
        log.push(b.seal(&a.node_key));
        assert_eq!(s.apply_batch(log.len() as u64, log.last().unwrap()).refused, None);
        s.time().0
    };
    assert_eq!(at(&mut s, &f.police, 1, YEAR_2099), 1_000_000, "alone, and the first");
    assert_eq!(at(&mut s, &f.customs, 1, 5_000_000), 5_000_000);
    assert_eq!(at(&mut s, &f.third, 1, 5_100_000), 5_100_000);
    for n in 2..50 {
        assert_eq!(at(&mut s, &f.police, n, YEAR_2099), 5_100_000, "as often as it likes");
    }
    // Late as the others may be, they set the time.
    assert_eq!(at(&mut s, &f.customs, 2, 5_200_000), 5_200_000);
    let mut other = start;
    for (index, entry) in (1..).zip(&log) {
        other.apply_batch(index, entry);
    }
    assert_eq!(other.digest(), s.digest());
}
