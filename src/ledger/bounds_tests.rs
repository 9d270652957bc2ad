//! Ceiling, tier, roots and suites (P2), named for column L of `docs/rules.md`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

use super::fixture::{Agency, certificate, certifying, newest, suspended, with_tier};
use super::tests::{Ledger, signed};
use super::*;
use crate::domain::agency::Tier;
use crate::domain::canon::{Canon, Reader};
use crate::domain::ids::AgencyId;
use crate::domain::label::Grade;
use std::collections::BTreeSet;

use CommandReply::{Done, Pending, Waiting};

const CONFLICT: CommandReply = CommandReply::Refused(Refusal::VersionConflict);
const INVALID: CommandReply = CommandReply::Refused(Refusal::Invalid);
const MIXED: CommandReply = CommandReply::Refused(Refusal::Mixed);

/// The founders, so that a test may hold them while the ledger changes.
fn founders() -> (Agency, Agency, Agency) {
    let f = newest();
    (f.police, f.customs, f.third)
}

fn third() -> AgencyId {
    newest().third.id
}

fn ceiling(grade: Grade, compartments: &[&str]) -> Act {
    Act::Ceiling { agency: third(), grade, compartments: compartments.iter().map(|c| c.parse().unwrap()).collect() }
}

fn tier(tier: Tier) -> Act {
    Act::Tier { agency: third(), tier }
}

fn roots(of: &[&[u8]]) -> Act {
    Act::TrustRoot { agency: third(), roots: of.iter().map(|root| root.to_vec()).collect() }
}

fn suites(of: &[(u16, SuiteState)]) -> Act {
    Act::Suites(of.iter().copied().collect())
}

impl Ledger {
    fn third(&self) -> &AgencyState {
        self.s.agency(&third()).unwrap()
    }

    fn holds(&self, grade: Grade, compartments: &[&str]) -> bool {
        self.third().may_hold(grade, &compartments.iter().map(|c| c.parse().unwrap()).collect())
    }
}

#[test]
fn l_a_ceiling_is_lowered_at_first_sight_and_raised_certified() {
    let (mut l, (police, customs, third)) = (Ledger::of(newest()), founders());
    let low = ceiling(Grade::Confidential, &[]);
    assert_eq!(l.act(&third, 0, &low, 1), CommandReply::Refused(Refusal::NoAuthority), "its own voice does not count");
    assert_eq!(l.act(&police, 0, &low, 2), CONFLICT);
    assert_eq!(l.act(&police, 0, &low, 1), Pending);
    assert_eq!(l.act(&police, 1, &low, 1), Pending, "one agency is one voice");
    let (mine, theirs) = (signed(&l.f, &third, 0, &low, 1), signed(&l.f, &customs, 0, &low, 1));
    assert!(l.s.proposals().all(|p| p.act == low && p.signers.len() == 1));
    assert_eq!(l.one(mine), CommandReply::Refused(Refusal::NoAuthority));
    assert!(l.holds(Grade::Secret, &[]) && l.s.grade_key(&third.id, Grade::Secret).is_some());
    assert_eq!(l.one(theirs.clone()), Done);
    assert!(l.holds(Grade::Confidential, &[]) && !l.holds(Grade::Secret, &[]));
    assert!(l.s.grade_key(&third.id, Grade::Secret).is_none(), "nothing of that grade is sealed to it");
    assert_eq!(l.third().bounds_version(), 2);
    assert_eq!(l.one(theirs), Done, "the same again is done already");

    let high = ceiling(Grade::Secret, &["border-ops"]);
    assert_eq!((l.both(&high, 2), l.holds(Grade::Secret, &[])), (Waiting, false));
    assert!(l.s.is_waiting(&high, 2) && !l.s.is_open(&high, 2));
    assert_eq!((l.certify(), l.s.is_open(&high, 2)), (Done, true));
    assert!(l.holds(Grade::Secret, &["border-ops"]) && !l.holds(Grade::Secret, &["other"]));
    assert_eq!(l.act(&customs, 0, &low, 1), CONFLICT, "what was signed of an earlier version is over");

    // Fewer compartments narrow as a lower grade does; and one act does one of both.
    assert_eq!(l.act(&police, 0, &ceiling(Grade::Secret, &["other"]), 3), MIXED);
    assert_eq!(l.act(&police, 0, &ceiling(Grade::Confidential, &["border-ops", "other"]), 3), MIXED);
    assert_eq!((l.both(&ceiling(Grade::Secret, &[]), 3), l.holds(Grade::Secret, &["border-ops"])), (Done, false));
    let no_key = ceiling(Grade::TopSecret, &[]);
    assert_eq!(l.act(&police, 0, &no_key, 4), CommandReply::Refused(Refusal::NoKey), "it came in without that key");
    let unknown = Act::Tier { agency: "nobody".parse().unwrap(), tier: Tier::City };
    assert_eq!(l.act(&police, 0, &unknown, 1), CommandReply::Refused(Refusal::Unknown));
}

#[test]
fn l_what_narrows_meanwhile_ends_what_waits() {
    let mut l = Ledger::of(newest());
    let (wider, lower) = (ceiling(Grade::Secret, &["border-ops"]), ceiling(Grade::Internal, &[]));
    assert_eq!(l.both(&wider, 1), Waiting);
    assert_eq!((l.both(&lower, 1), l.holds(Grade::Confidential, &[])), (Done, false));
    assert_eq!((l.certify(), l.s.waiting().count()), (CommandReply::Refused(Refusal::Unknown), 1));
    let at = l.s.certificate_wanted(l.at).unwrap();
    let brought = certificate(&l.f, (at, l.s.digest_seen(at).unwrap()));
    assert_eq!((l.one(brought), l.s.waiting().count()), (Done, 0));
    assert!(!l.s.is_open(&wider, 1) && l.third().ceiling() == Grade::Internal, "it was signed of another version");
}

/// What was outdated while it waits may be signed again with the version of now, and then takes force.
#[test]
fn l_what_waits_outdated_may_be_signed_anew() {
    let mut l = Ledger::of(newest());
    let (wider, lower) = (ceiling(Grade::Secret, &["border-ops"]), ceiling(Grade::Internal, &[]));
    assert_eq!((l.both(&wider, 1), l.both(&lower, 1)), (Waiting, Done));
    assert!(l.s.is_waiting(&wider, 1) && !l.s.is_waiting(&wider, 2));
    let police = founders().0;
    assert_eq!((l.act(&police, 0, &wider, 1), l.s.waiting().count()), (Waiting, 1), "it waits already");
    assert_eq!((l.both(&wider, 2), l.s.waiting().count()), (Waiting, 2));
    assert!(l.s.is_waiting(&wider, 2));
    assert_eq!((l.certify(), l.s.waiting().count()), (Done, 0));
    assert!(l.s.is_open(&wider, 2) && l.holds(Grade::Secret, &["border-ops"]) && l.third().bounds_version() == 3);
}

#[test]
fn l_a_tier_says_what_may_be_marked_from_its_index_on() {
    let mut l = Ledger::of(newest());
    assert_eq!((l.third().tier(), l.third().tier_at(1)), (Tier::Provincial, Tier::Provincial));
    assert_eq!(l.both(&tier(Tier::County), 1), Done);
    let at = l.at;
    assert_eq!(l.third().tier().marking_authority(), Grade::Internal);
    assert_eq!((l.third().tier_at(at), l.third().tier_at(at + 1)), (Tier::Provincial, Tier::County));
    assert_eq!((l.both(&tier(Tier::National), 2), l.third().tier()), (Waiting, Tier::County));
    assert_eq!((l.certify(), l.third().tier()), (Done, Tier::National));
    assert_eq!((l.third().tier_at(l.at), l.third().tier_at(l.at + 1)), (Tier::County, Tier::National));
    assert_eq!(l.third().tier_at(at), Tier::Provincial, "what was marked stays as it was marked");
    assert_eq!(l.third().tier_at(u64::MAX), Tier::National);
}

#[test]
fn l_a_root_is_exchanged_by_two_acts() {
    let (mut l, police) = (Ledger::of(newest()), founders().0);
    let old = l.third().descriptor.root.clone();
    assert_eq!(l.act(&police, 0, &roots(&[b"new"]), 1), MIXED, "nobody is cut off between the two");
    let both = roots(&[old.as_slice(), b"new"]);
    assert_eq!((l.both(&both, 1), l.third().roots().len()), (Waiting, 1));
    assert_eq!((l.certify(), l.third().roots().len()), (Done, 2));
    assert_eq!(l.s.charter(1).agencies.iter().filter(|(a, _)| *a == third()).count(), 2);
    assert_eq!(l.both(&roots(&[b"new"]), 2), Done);
    assert_eq!(l.third().roots(), &BTreeSet::from([b"new".to_vec()]));
    assert_eq!(l.third().descriptor.root, old, "what it came in with is kept as it was");
    assert_eq!(l.act(&police, 0, &roots(&[b"new", b"newer"]), 2), CONFLICT);
}

#[test]
fn l_suites_leave_one_to_seal_with() {
    use SuiteState::{Accepted, DecryptOnly, Forbidden, Preferred};
    let (mut l, police) = (Ledger::of(newest()), founders().0);
    let refused = CommandReply::Refused(Refusal::Suites);
    for bad in [&[(1, Accepted)][..], &[(1, DecryptOnly)], &[(1, Forbidden)], &[], &[(1, Preferred), (2, Accepted)]] {
        assert_eq!(l.act(&police, 0, &suites(bad), 1), refused, "{bad:?}");
    }
    assert_eq!(l.act(&police, 0, &suites(&[(1, Preferred)]), 1), Done, "so it is");
    assert_eq!((l.s.suites().version(), l.s.suites().states().len()), (1, 1));
}

/// It waits on until its voices are over, and whoever looks is told that nobody's signature helps it any more.
#[test]
fn what_another_act_overtook_is_known_as_that() {
    let (mut l, (police, customs, _)) = (Ledger::of(newest()), founders());
    let (low, lower) = (ceiling(Grade::Confidential, &[]), ceiling(Grade::Internal, &[]));
    assert_eq!((l.act(&police, 0, &low, 1), l.act(&police, 0, &lower, 1)), (Pending, Pending));
    assert!(l.s.proposals().count() == 2 && !l.s.proposals().any(|p| l.s.is_overtaken(p)));
    assert_eq!(l.act(&customs, 0, &low, 1), Done);
    assert_eq!(l.act(&customs, 0, &lower, 1), CONFLICT);
    assert!(l.s.proposals().all(|p| p.act == lower && l.s.is_overtaken(p)) && l.s.proposals().count() == 1);
}

/// A program that does not know such an act cannot read it, and neither does one that knows it before its level.
#[test]
fn l_acts_of_level_4_are_none_before() {
    let police = certifying().police;
    for act in
        [ceiling(Grade::Internal, &[]), tier(Tier::City), roots(&[b"new"]), suites(&[(1, SuiteState::Preferred)])]
    {
        let mut l = Ledger::of(certifying());
        assert_eq!(l.act(&police, 0, &act, 1), CommandReply::Refused(Refusal::Malformed));
        assert!(l.s.proposals().next().is_none());
    }
}

/// An agency that is suspended keeps its bounds, and has no voice in another's; a waiting act lapses as others do.
#[test]
fn l_whoever_is_suspended_has_no_voice_in_anothers_bounds() {
    let (mut l, (police, customs, _)) = (Ledger::of(newest()), founders());
    assert_eq!(l.act(&customs, 0, &tier(Tier::City), 1), Pending);
    l.s = suspended(&l.s, &customs.id);
    assert_eq!(l.act(&police, 0, &tier(Tier::City), 1), Pending);
    assert_eq!(l.act(&customs, 0, &tier(Tier::City), 1), CommandReply::Refused(Refusal::NoAuthority));
    assert_eq!(l.third().tier(), Tier::Provincial);
}

#[test]
fn l_changes_of_a_tier_are_bounded() {
    let mut l = Ledger::of(newest());
    // Down and up again, each of which is kept.
    assert_eq!(l.both(&tier(Tier::City), 1), Done);
    assert_eq!((l.both(&tier(Tier::Provincial), 2), l.certify()), (Waiting, Done));
    for n in 3..1_024 {
        l.s = with_tier(&l.s, &third(), n + 100, if n % 2 == 0 { Tier::National } else { Tier::Provincial });
    }
    assert_eq!((l.both(&tier(Tier::City), 1_024), l.third().tier_at(1)), (Done, Tier::Provincial));
    assert!(State::decode(&l.s.encode()).is_ok(), "as many can be read");
    let police = founders().0;
    assert_eq!(l.act(&police, 0, &tier(Tier::County), 1_025), INVALID);
    assert_eq!(l.both(&ceiling(Grade::Internal, &[]), 1_025), Done, "whatever else is changed");
}

/// Where nothing of this happened a state is written as before, and has the digest of before.
#[test]
fn bounds_have_frozen_forms() {
    let id = [&[0, 0, 0, 10][..], b"cyberspace"].concat();
    let frozen = [
        (
            ceiling(Grade::Secret, &["aa", "bb"]),
            [&[14][..], &id, &[2, 0, 0, 0, 2, 0, 0, 0, 2, b'a', b'a', 0, 0, 0, 2, b'b', b'b']].concat(),
        ),
        (tier(Tier::City), [&[15][..], &id, &[2]].concat()),
        (roots(&[b"x", b"yz"]), [&[16][..], &id, &[0, 0, 0, 2, 0, 0, 0, 1, b'x', 0, 0, 0, 2, b'y', b'z']].concat()),
        (suites(&[(1, SuiteState::Preferred), (2, SuiteState::DecryptOnly)]), vec![17, 0, 0, 0, 2, 0, 1, 3, 0, 2, 1]),
    ];
    for (act, bytes) in frozen {
        assert_eq!((act.to_canon(), Act::from_canon(&bytes)), (bytes, Ok(act)));
    }
    let bad = [&[16][..], &id, &[0, 0, 0, 0]].concat();
    assert!(Act::from_canon(&bad).is_err(), "an agency has a root");
    let twice = [&[16][..], &id, &[0, 0, 0, 2, 0, 0, 0, 1, b'x', 0, 0, 0, 1, b'x']].concat();
    assert!(Act::from_canon(&twice).is_err() && Act::from_canon(&[17, 0, 0, 0, 2, 0, 1, 3, 0, 1, 1]).is_err());

    let mut l = Ledger::of(newest());
    assert!(Reader::new(&l.s.encode(), "hufu.state", 5).is_ok(), "as at level 3");
    let acts = [(tier(Tier::City), 1), (ceiling(Grade::Confidential, &[]), 2)];
    let digests = acts.map(|(act, version)| {
        assert_eq!(l.both(&act, version), Done);
        assert!(Reader::new(&l.s.encode(), "hufu.state", 6).is_ok());
        l.s.digest()
    });
    assert_ne!(digests[0], digests[1], "bounds are of what voters sign");
    let founded = State::genesis(&newest().genesis).unwrap();
    let before = founded.agency(&third()).unwrap();
    assert!(l.third().may_follow(before) && !before.may_follow(l.third()), "no snapshot takes it back");
}
