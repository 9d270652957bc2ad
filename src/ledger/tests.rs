//! The ledger's rules, named for column L of `docs/rules.md`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

use super::fixture::{Agency, Federation, federation};
use super::*;
use crate::domain::agreement::Terms;
use crate::domain::canon::Canon;
use crate::domain::ids::{Handle, RecordId};
use crate::domain::label::Grade;
use crate::domain::person::Role;
use crate::domain::record::Kind;
use crate::domain::time::{Entropy, Millis};
use crate::seal::SigningKey;

struct Count(u8);
impl Entropy for Count {
    fn fill(&mut self, out: &mut [u8]) {
        for b in out {
            self.0 = self.0.wrapping_add(1);
            *b = self.0;
        }
    }
}

fn batch(f: &Federation, a: &Agency, sequence: u64, commands: Vec<Command>) -> Vec<u8> {
    SignedBatch {
        federation: f.id.clone(),
        node: a.node,
        incarnation: 1,
        sequence,
        not_after: 1000,
        time: Millis(2_000_000),
        commands,
    }
    .seal(&a.node_key)
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

fn terms() -> Terms {
    Terms {
        id: "border-2026".parse().unwrap(),
        version: 1,
        parties: ["police".parse().unwrap(), "customs".parse().unwrap()].into(),
        publishers: Default::default(),
        kinds: Kind::ALL.into(),
        grade: Grade::Secret,
        compartments: Default::default(),
        purpose: "exercise".into(),
        default_period_years: 10,
        legal_basis: String::new(),
        retention_years: 5,
        start: Millis(0),
        end: Millis(u64::MAX),
    }
}

fn signed(f: &Federation, a: &Agency, officer: usize, act: &Act, expected: u32) -> Command {
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
    assert_eq!(s.apply_batch(1001, &expired).refused, Some(Refusal::Expired));
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
    let second = Terms { version: 2, end: Millis(5_000), start: Millis(1_000), ..terms() };
    for (n, (terms, expected)) in [(terms(), 0), (second, 1)].into_iter().enumerate() {
        let act = Act::Agreement(terms);
        let n = n as u64 + 1;
        s.apply_batch(n, &batch(&f, &f.police, n, vec![signed(&f, &f.police, 0, &act, expected)]));
        s.apply_batch(n, &batch(&f, &f.customs, n, vec![signed(&f, &f.customs, 0, &act, expected)]));
    }
    let version = |at| s.agreement_now(&"border-2026".parse().unwrap(), Millis(at)).map(|a| a.terms.version);
    assert_eq!((version(500), version(1_500), version(6_000)), (Some(1), Some(2), None));
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
    assert!(s.agreement_at(&id, 1).is_none(), "one party is not enough");
    let again = s.apply_batch(2, &batch(&f, &f.police, 2, vec![signed(&f, &f.police, 1, &act, 0)]));
    assert_eq!(again.replies, [CommandReply::Pending], "two officers of one party are one party");
    let second = s.apply_batch(3, &batch(&f, &f.customs, 1, vec![signed(&f, &f.customs, 0, &act, 0)]));
    assert_eq!(second.replies, [CommandReply::Done]);
    assert!(s.agreement_at(&id, 2).is_none() && s.agreement_at(&id, 3).is_some());

    let end = Act::EndAgreement { id: id.clone(), reason: "over".into() };
    let stale = s.apply_batch(4, &batch(&f, &f.customs, 2, vec![signed(&f, &f.customs, 0, &end, 0)]));
    assert_eq!(stale.replies, [CommandReply::Refused(Refusal::VersionConflict)]);
    let ended = s.apply_batch(5, &batch(&f, &f.customs, 3, vec![signed(&f, &f.customs, 0, &end, 1)]));
    assert_eq!(ended.replies, [CommandReply::Done]);
    assert!(s.agreement_at(&id, 4).is_some() && s.agreement_at(&id, 5).is_none());
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
    s.apply_batch(5, &batch(&f, &f.police, 4, vec![signed(&f, &f.police, 0, &suspend, 0)]));
    assert!(s.authority(&f.police.id, handle).is_none());
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
