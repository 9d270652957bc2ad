//! Levels of rules (P5), named for column L of `docs/rules.md`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

use super::fixture::{Agency, certifying, federation, newest};
use super::tests::{batch, signed};
use super::*;
use crate::domain::canon::{Canon, Reader, Writer};

#[test]
fn l_the_level_rises_when_every_node_that_stands_knows_it() {
    let f = federation();
    let mut s = State::genesis(&f.genesis).unwrap();
    let next = s.level() + 1;
    let mut at = 0;
    let mut apply = |s: &mut State, a: &Agency, command| {
        at += 1;
        s.apply_batch(at, &batch(&f, a, at, vec![command])).replies[0]
    };
    let knows = |level| Command::Supports { level };
    assert_eq!(apply(&mut s, &f.police, knows(0)), CommandReply::Refused(Refusal::Invalid));
    assert_eq!(apply(&mut s, &f.police, knows(next + 7)), CommandReply::Done);
    assert_eq!(apply(&mut s, &f.customs, knows(next)), CommandReply::Done);
    assert_eq!((s.level(), s.supported(f.third.node)), (next - 1, None), "one has not reported");
    let out = Act::SuspendAgency { agency: f.third.id.clone() };
    for (by, reply) in [(&f.police, CommandReply::Pending), (&f.customs, CommandReply::Done)] {
        assert_eq!(apply(&mut s, by, signed(&f, by, 0, &out, 1)), reply);
    }
    assert_eq!(s.level(), next, "whoever is cut off holds nobody back");
    assert_eq!(apply(&mut s, &f.customs, knows(next - 1)), CommandReply::Done);
    assert_eq!(s.level(), next, "it never falls");
}

/// A command of a later level is refused, its neighbours are not, and whoever knows it answers the same: its body is read
/// by nobody.
#[test]
fn l_a_command_of_a_later_level_fails_no_neighbour() {
    let f = federation();
    let mut s = State::genesis(&f.genesis).unwrap();
    let commands = vec![Command::Later(200), Command::Anchor { checkpoint: [3; 32] }];
    let reply = s.apply_batch(1, &batch(&f, &f.police, 1, commands));
    assert_eq!(reply.replies, [CommandReply::Refused(Refusal::Level), CommandReply::Done]);
    assert_eq!(State::decode(&s.encode()).unwrap().digest(), s.digest(), "the answer is kept and read");
    let spoilt = batch(&f, &f.police, 2, vec![Command::Later(1)]);
    assert_eq!(s.apply_batch(2, &spoilt).refused, Some(Refusal::Malformed), "one that the level has is read");
}

#[test]
fn whoever_is_too_old_says_so() {
    let f = federation();
    let mut s = State::genesis(&f.genesis).unwrap();
    for (n, a) in (1..).zip([&f.police, &f.customs, &f.third]) {
        assert_eq!(s.check_level(), Ok(()));
        s.apply_batch(n, &batch(&f, a, n, vec![Command::Supports { level: LEVEL + 1 }]));
    }
    let too_old = LedgerError::TooOld { what: "level", found: LEVEL + 1, known: LEVEL };
    assert_eq!(s.check_level(), Err(too_old.clone()));
    assert_eq!(State::decode(&s.encode()).err(), Some(too_old.clone()));
    let later = Writer::new("hufu.state", 9).finish();
    assert!(matches!(State::decode(&later), Err(LedgerError::TooOld { what: "format", found: 9, .. })));
    assert!(matches!(State::decode(&Writer::new("hufu.else", 9).finish()), Err(LedgerError::Canon(_))));
    let genesis = Genesis { level: LEVEL + 1, ..Genesis::from_bytes(&f.signed.body).unwrap() };
    assert_eq!(Genesis::from_bytes(&genesis.to_bytes()), Err(too_old));
}

/// What begins at the first level, and where nobody reported another, is written as before there were levels.
#[test]
fn levels_have_frozen_forms() {
    let f = federation();
    let mut s = State::genesis(&f.genesis).unwrap();
    let genesis = Genesis::from_bytes(&f.signed.body).unwrap();
    assert!(Reader::new(&f.signed.body, "hufu.genesis", 1).is_ok() && genesis.level == 1);
    let told = Genesis { level: 2, ..genesis }.to_bytes();
    let (of_first, of_second) = (&f.signed.body[18..], &told[18..]);
    assert!(Reader::new(&told, "hufu.genesis", 2).is_ok());
    assert_eq!(of_second, [of_first, &[0, 2]].concat());
    assert!(Reader::new(&s.encode(), "hufu.state", 2).is_ok());
    let supports = Command::Supports { level: 2 };
    assert_eq!((supports.to_canon(), Command::from_canon(&[5, 0, 2])), (vec![5, 0, 2], Ok(supports.clone())));
    let digest = s.digest();
    s.apply_batch(1, &batch(&f, &f.police, 1, vec![supports]));
    assert!(Reader::new(&s.encode(), "hufu.state", 4).is_ok() && s.digest() != digest);
    let read = State::decode(&s.encode()).unwrap();
    assert_eq!((read.digest(), read.encode()), (s.digest(), s.encode()));
}

/// A number is of one batch. An earlier level knew it alone, and answered for another batch: logs of that time are read so.
#[test]
fn l_a_number_taken_twice_is_refused_by_name() {
    let anchor = |n| vec![Command::Anchor { checkpoint: [n; 32] }];
    for (f, refused) in [(certifying(), None), (newest(), Some(Refusal::Doubled))] {
        let mut s = State::genesis(&f.genesis).unwrap();
        let first = batch(&f, &f.police, 1, anchor(1));
        let written = s.apply_batch(1, &first);
        assert_eq!(written.replies, [CommandReply::Done]);
        let digest = s.digest();
        let other = s.apply_batch(2, &batch(&f, &f.police, 1, anchor(2)));
        assert_eq!((other.refused, other.replies.is_empty()), (refused, refused.is_some()));
        // Nobody else takes a number away, and the batch itself still has its answer, also after a restart.
        let forged = SignedBatch { commands: anchor(3), ..SignedBatch::open(&first, s.level()).unwrap().0 };
        let forged = s.apply_batch(2, &forged.seal(&f.customs.node_key));
        assert_eq!(forged.refused, Some(Refusal::BadSignature));
        let mut read = State::decode(&s.encode()).unwrap();
        assert_eq!((read.digest(), s.digest(), read.encode()), (digest, digest, s.encode()));
        assert_eq!(read.apply_batch(3, &first), written);
        assert_eq!(read.apply_batch(3, &batch(&f, &f.police, 1, anchor(2))).refused, refused);
        assert_eq!(s.node(f.police.node).unwrap().anchor, Some((1, [1; 32])));
    }
}

/// What was written before the level rose has no content kept, and is answered as it was; the form is another from then on.
#[test]
fn l_contents_are_kept_from_their_level_on() {
    let f = certifying();
    let mut s = State::genesis(&f.genesis).unwrap();
    for (n, a) in (1..).zip([&f.police, &f.customs, &f.third]) {
        assert!(Reader::new(&s.encode(), "hufu.state", 4).is_ok());
        s.apply_batch(n, &batch(&f, a, 1, vec![Command::Supports { level: 3 }]));
    }
    assert_eq!(s.level(), 3);
    assert!(Reader::new(&s.encode(), "hufu.state", 5).is_ok());
    let read = State::decode(&s.encode()).unwrap();
    assert_eq!((read.digest(), read.encode()), (s.digest(), s.encode()));
    let kept = |a: &Agency| read.node(a.node).unwrap().content.is_some();
    assert_eq!((kept(&f.police), kept(&f.third)), (false, true));
    let other = vec![Command::Anchor { checkpoint: [1; 32] }];
    assert_eq!(s.apply_batch(4, &batch(&f, &f.police, 1, other.clone())).refused, None);
    assert_eq!(s.apply_batch(5, &batch(&f, &f.third, 1, other)).refused, Some(Refusal::Doubled));
}

/// A leader puts nothing into everybody's log that would change nothing; what is evidence goes there.
#[test]
fn what_changes_nothing_takes_no_room_in_the_log() {
    let f = newest();
    let mut s = State::genesis(&f.genesis).unwrap();
    let anchor = |n| vec![Command::Anchor { checkpoint: [n; 32] }];
    let of = |sequence, commands| batch(&f, &f.police, sequence, commands);
    let worth = |s: &State, bytes: &[u8], applied| s.worth(bytes, f.police.node, applied);
    assert_eq!(worth(&s, &of(2, anchor(1)), 0), Worth::Room);
    let reply = s.apply_batch(1, &of(2, anchor(1)));
    assert_eq!(worth(&s, &of(2, anchor(1)), 1), Worth::Answer(reply), "it is answered as it was");
    let refused = |why| Worth::Answer(BatchReply { index: 1, refused: Some(why), replies: Vec::new() });
    assert_eq!(worth(&s, &of(1, anchor(1)), 1), refused(Refusal::Replayed));
    assert_eq!(worth(&s, &of(2, anchor(2)), 1), Worth::Room, "a number taken twice");
    assert_eq!(s.worth(&of(3, anchor(3)), f.customs.node, 1), Worth::Nothing, "another node's");
    let late = Worth::Answer(BatchReply { index: 200_000, refused: Some(Refusal::Expired), replies: Vec::new() });
    assert_eq!(worth(&s, &of(3, anchor(3)), 200_000), late);
}

/// Whoever says again what it said, or less, makes nobody settle the state anew.
#[test]
fn l_a_word_on_levels_is_not_taken_back() {
    let f = newest();
    let mut s = State::genesis(&f.genesis).unwrap();
    for (n, level) in (1..).zip([7, 7, 5]) {
        s.apply_batch(n, &batch(&f, &f.police, n, vec![Command::Supports { level }]));
        assert_eq!(s.supported(f.police.node), Some(7));
    }
    assert_eq!(State::decode(&s.encode()).unwrap().digest(), s.digest());
}
