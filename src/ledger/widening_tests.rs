//! What widens waits for a certificate, what narrows does not (P7), named for column L of `docs/rules.md`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

use super::fixture::{certificate, certifying, newcomer, second_node};
use super::tests::{Ledger, batch, signed, terms};
use super::*;
use crate::domain::agreement::Guide;
use crate::domain::canon::Canon;
use crate::domain::ids::{Handle, NodeId};
use crate::domain::label::Grade;
use crate::domain::person::Role;
use crate::domain::record::Kind;
use crate::domain::time::Millis;
use crate::seal::{Signature, SigningKey};

const UNKNOWN: CommandReply = CommandReply::Refused(Refusal::Unknown);
const UNSIGNED: CommandReply = CommandReply::Refused(Refusal::BadSignature);
use CommandReply::{Done, Pending, Waiting};

impl Ledger {
    /// An entry in which nothing happens to what waits.
    fn pass(&mut self) {
        assert_eq!(self.one(Command::Anchor { checkpoint: [1; 32] }), Done);
    }

    /// The voters certify what is there, and the next entry brings it.
    pub(super) fn certify(&mut self) -> CommandReply {
        let command = certificate(&self.f, (self.at, self.s.digest()));
        self.one(command)
    }

    pub(super) fn both(&mut self, act: &Act, expected: u32) -> CommandReply {
        let f = certifying();
        assert_eq!(self.act(&f.police, 0, act, expected), Pending);
        self.act(&f.customs, 0, act, expected)
    }

    fn in_force(&self) -> Option<u64> {
        self.s.agreement(&terms().id).unwrap()[0].in_force
    }
}

#[test]
fn l_an_agreement_takes_force_at_the_entry_that_certifies_it() {
    let mut l = Ledger::of(certifying());
    let act = Act::Agreement(terms());
    assert_eq!(l.s.certificate_wanted(0), None);
    assert_eq!(l.both(&act, 0), Waiting);
    assert_eq!((l.in_force(), l.s.certificate_wanted(l.at)), (None, Some(2)));
    assert!(l.s.is_waiting(&act, 0) && !l.s.is_open(&act, 0));
    let customs = certifying().customs;
    assert_eq!(l.act(&customs, 1, &act, 0), Waiting, "the same again waits as well");
    assert_eq!((l.s.waiting().count(), l.s.certificate_wanted(l.at)), (1, Some(2)), "what is remembered is asked for");
    let seen = l.s.digest_seen(2).unwrap();
    let brought = certificate(&l.f, (2, seen));
    assert_eq!(l.one(brought.clone()), Done);
    assert_eq!(l.in_force(), Some(4));
    let id = terms().id;
    assert!(l.s.agreements_at(&id, 3, Millis(0)).is_empty() && l.s.agreements_at(&id, 4, Millis(0)).len() == 1);
    assert!(l.s.waiting().next().is_none() && l.s.is_open(&act, 0));
    assert_eq!(l.act(&customs, 1, &act, 0), Done);
    assert_eq!(l.one(brought), UNKNOWN, "nothing waits for it any more");
    // Its end is in force at first sight.
    let end = Act::EndAgreement { id, reason: "over".into() };
    assert_eq!(l.act(&customs, 0, &end, 1), Done);
    assert!(l.s.agreement_now(&terms().id, Millis(10)).is_none());
}

/// A leader may bring a true certificate of what the others have, and it opens nothing in a log that made another state;
/// nor does one of an index that this log does not remember, or of fewer than a majority.
#[test]
fn l_a_certificate_of_another_state_opens_nothing() {
    let mut l = Ledger::of(certifying());
    assert_eq!(l.both(&Act::Agreement(terms()), 0), Waiting);
    let elsewhere = certificate(&l.f, (l.at, [9; 32]));
    assert_eq!(l.one(elsewhere), UNKNOWN);
    assert_eq!(l.certify(), UNKNOWN, "the digest of before is the one that is remembered");
    let of = (2, l.s.digest_seen(2).unwrap());
    let Command::Certified { index, digest, signatures } = certificate(&l.f, of) else { unreachable!() };
    let mut with = |signatures: Vec<(NodeId, Signature)>| l.one(Command::Certified { index, digest, signatures });
    let third = certifying().third;
    let words = attested(&certifying().id, index, &digest);
    let stranger = (third.node, third.node_key.sign(ATTESTATION, &words));
    let (one, two) = (signatures[0], signatures[1]);
    let mut strangers = vec![one, stranger];
    strangers.sort_by_key(|(voter, _)| *voter);
    for wrong in [vec![], vec![one], vec![one, one], vec![two, one], strangers, vec![one, (two.0, one.1)]] {
        assert_eq!(with(wrong), UNSIGNED);
    }
    assert_eq!(with(signatures), Done);
    assert!(l.in_force().is_some());
}

/// Whoever lags, or started anew, brings the certificate of what it remembers, whatever came since.
#[test]
fn l_what_waits_remembers_the_state_that_it_is_certified_in() {
    let mut l = Ledger::of(certifying());
    assert_eq!(l.both(&Act::Agreement(terms()), 0), Waiting);
    for _ in 0..5 {
        l.pass();
    }
    l.s = State::decode(&l.s.encode()).unwrap();
    assert_eq!(l.s.certificate_wanted(l.at), Some(2));
    // Another that came later waits on.
    let (police, entry) = (certifying().police, second_node(&certifying().police.id, 180).1);
    let add = Act::AddNode { agency: police.id.clone(), node: entry, place: None };
    assert_eq!((l.act(&police, 0, &add, 0), l.act(&police, 1, &add, 0)), (Pending, Waiting));
    let of = (2, l.s.digest_seen(2).unwrap());
    let brought = certificate(&l.f, of);
    assert_eq!(l.one(brought), Done);
    assert!(l.in_force().is_some() && l.s.is_waiting(&add, 0));
    assert_eq!(l.s.certificate_wanted(l.at), Some(l.at - 1));
    let of = (l.at - 1, l.s.digest_seen(l.at - 1).unwrap());
    let brought = certificate(&l.f, of);
    assert_eq!(l.one(brought), Done);
    assert!(l.s.is_open(&add, 0) && l.s.waiting().next().is_none());
}

#[test]
fn l_what_narrows_meanwhile_is_heeded() {
    let (f, mut l) = (certifying(), Ledger::of(certifying()));
    let (handle, key) = (Handle::from_bytes([77; 16]), SigningKey::from_seed(&[77; 32]).unwrap());
    let register = |handle, key: &SigningKey| Act::Register {
        agency: f.police.id.clone(),
        authority: Authority { handle, roles: [Role::Classifier].into(), key: key.public() },
    };
    let classifier = register(handle, &key);
    assert_eq!(l.act(&f.police, 0, &classifier, 0), Pending);
    assert_eq!(l.act(&f.police, 1, &classifier, 0), Waiting);
    assert!(l.s.authority(&f.police.id, handle).is_none());
    assert_eq!((l.certify(), l.s.is_open(&classifier, 0)), (Done, true));

    // One who is suspended before the certificate is not registered.
    let other = Handle::from_bytes([78; 16]);
    let second = register(other, &SigningKey::from_seed(&[78; 32]).unwrap());
    assert_eq!(l.act(&f.police, 0, &second, 0), Pending);
    assert_eq!(l.act(&f.police, 1, &second, 0), Waiting);
    let out = Act::Suspend { agency: f.police.id.clone(), handle: other };
    assert_eq!(l.act(&f.police, 0, &out, 1), Done);
    assert!(l.s.waiting().next().is_none());

    // A guide that is ended before is over, and stays so.
    let guide = |grade| {
        let (agency, agreement) = (f.police.id.clone(), terms().id);
        Act::Guide(Guide { agency, agreement, kinds: Kind::ALL.into(), grade, until: Millis(u64::MAX) })
    };
    let sign = |act: &Act| Command::Act(SignedAct::sign(&f.id, act, 0, Millis(u64::MAX), handle, &key));
    let (kept, ended) = (guide(Grade::Secret), guide(Grade::Confidential));
    assert_eq!((l.one(sign(&kept)), l.one(sign(&ended))), (Waiting, Waiting));
    let end = Act::EndGuide { agency: f.police.id.clone(), guide: guide_id(&f.id, &ended.to_canon()) };
    assert_eq!(l.act(&f.police, 0, &end, 1), Done);
    assert_eq!(l.one(sign(&ended)), Done, "it is known, and over");

    // Nor is an agreement in force that was ended, or of which a signer was suspended: that one is a draft again.
    let agree = Act::Agreement(terms());
    assert_eq!(l.both(&agree, 0), Waiting);
    let gone = Act::Suspend { agency: f.customs.id.clone(), handle: f.customs.officers[0].0 };
    assert_eq!(l.act(&f.customs, 1, &gone, 1), Done);
    let at = l.s.certificate_wanted(l.at).unwrap();
    let brought = certificate(&l.f, (at, l.s.digest_seen(at).unwrap()));
    assert_eq!(l.one(brought), Done);
    assert_eq!(l.in_force(), None);
    let in_force: Vec<Grade> = l.s.guides().filter(|(_, g)| g.ended.is_none()).map(|(_, g)| g.guide.grade).collect();
    assert_eq!(in_force, [Grade::Secret]);
    assert_eq!(l.act(&f.customs, 1, &agree, 0), Waiting, "its other officer signs anew");
    let end = Act::EndAgreement { id: terms().id, reason: "over".into() };
    assert_eq!(l.act(&f.police, 0, &end, 1), Done);
    let at = l.s.certificate_wanted(l.at).unwrap();
    let brought = certificate(&l.f, (at, l.s.digest_seen(at).unwrap()));
    assert_eq!((l.one(brought), l.in_force()), (Done, None));
}

#[test]
fn l_members_come_certified_and_go_at_once() {
    let (f, mut l) = (certifying(), Ledger::of(certifying()));
    let (new, descriptor) = newcomer();
    let admit = Act::Admit(Box::new(descriptor));
    assert_eq!(l.both(&admit, 0), Waiting);
    assert!(!l.s.stands(&new.id) && l.s.node(new.node).is_none());
    assert_eq!(l.s.apply_batch(50, &batch(&f, &new, 1, vec![])).refused, Some(Refusal::UnknownNode));
    l.at = 50;
    let brought = certificate(&l.f, (l.s.certificate_wanted(50).unwrap(), l.s.digest_seen(49).unwrap()));
    assert_eq!((l.one(brought), l.s.stands(&new.id)), (Done, true));

    let out = Act::SuspendAgency { agency: new.id.clone() };
    assert_eq!((l.both(&out, 1), l.s.stands(&new.id)), (Done, false));
    let back = Act::ReinstateAgency { agency: new.id.clone() };
    assert_eq!((l.both(&back, 2), l.s.stands(&new.id)), (Waiting, false));
    assert_eq!((l.certify(), l.s.stands(&new.id)), (Done, true));
    assert!(l.s.is_open(&back, 2) && !l.s.is_open(&back, 3));
    let remove = Act::RemoveNode { agency: new.id.clone(), node: "1".into() };
    assert_eq!(l.both(&remove, 1), Done);
    assert!(l.s.node(new.node).is_none());
}

/// One agency's nodes fill no line that others stand in.
#[test]
fn l_what_one_agency_lets_wait_is_bounded() {
    let (f, mut l) = (certifying(), Ledger::of(certifying()));
    let most = crate::domain::limits::WAITING_OF_AGENCY;
    let classifier = SigningKey::from_seed(&[77; 32]).unwrap();
    let handle = Handle::from_bytes([77; 16]);
    let authority = Authority { handle, roles: [Role::Classifier].into(), key: classifier.public() };
    let register = Act::Register { agency: f.police.id.clone(), authority };
    assert_eq!((l.act(&f.police, 0, &register, 0), l.act(&f.police, 1, &register, 0)), (Pending, Waiting));
    assert_eq!(l.certify(), Done);
    let guide = |n: usize| {
        let (agency, agreement, kinds) = (f.police.id.clone(), terms().id, Kind::ALL.into());
        let act = Act::Guide(Guide { agency, agreement, kinds, grade: Grade::Secret, until: Millis(n as u64 + 1) });
        Command::Act(SignedAct::sign(&f.id, &act, 0, Millis(u64::MAX), handle, &classifier))
    };
    let mut replies = Vec::new();
    for first in (0..=most).step_by(100) {
        l.at += 1;
        let commands = (first..(first + 100).min(most + 1)).map(guide).collect();
        replies.extend(l.s.apply_batch(l.at, &batch(&f, &f.police, l.at, commands)).replies);
    }
    assert_eq!(replies.pop(), Some(CommandReply::Refused(Refusal::Invalid)));
    assert!(replies.len() == most && replies.iter().all(|r| *r == Waiting));
    let other = batch(&f, &f.customs, 1, vec![signed(&f, &f.police, 0, &Act::Agreement(terms()), 0)]);
    l.at += 1;
    assert_eq!(l.s.apply_batch(l.at, &other).replies, [Pending]);
}

#[test]
fn certificates_have_a_frozen_form() {
    let certified = Command::Certified {
        index: 0x0102,
        digest: [9; 32],
        signatures: vec![(NodeId(0x0304), Signature::from_bytes([7; 64]))],
    };
    let mut frozen: Vec<u8> = vec![6, 0, 0, 0, 0, 0, 0, 1, 2];
    frozen.extend([9; 32]);
    frozen.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, 4]);
    frozen.extend([7; 64]);
    assert_eq!((certified.to_canon(), Command::from_canon(&frozen)), (frozen.clone(), Ok(certified)));
    assert_eq!((Waiting.to_canon(), CommandReply::from_canon(&[3])), (vec![3], Ok(Waiting)));
    // The first level does not have it, and its body is read by nobody.
    assert_eq!(Command::open(&frozen, 1), Ok(Command::Later(6)));
}
