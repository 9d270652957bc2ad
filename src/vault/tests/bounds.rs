//! What a changed ceiling and a changed tier leave, and what they keep out.

use super::*;
use crate::ledger::fixture::{suspended, with_ceiling, with_tier};
use crate::seal::TaggedVersion;

#[test]
fn r_above_a_lowered_ceiling_nothing_is_taken_sent_served_or_sealed_and_what_is_held_stays() {
    let t = two();
    let id = record(30);
    let prepared = t.seal(draft(id, Grade::Secret, &["customs"]));
    block(t.customs.vault.accept(&t.state, prepared.object.clone(), NOW)).unwrap();
    let late = t.seal(draft(record(31), Grade::Secret, &["customs"])).object;
    let (t, _) = t.committed(prepared);
    let low = with_ceiling(&t.state, &t.customs.id, Grade::Confidential);
    let (police, customs) = (&t.police.vault, &t.customs.vault);

    // The door hides it (see `service`); here it stays, and nobody is blamed for it.
    assert!(customs.card(&low, &id, 0).unwrap().is_some() && customs.held(&low, &id, 0, NOW).unwrap().is_some());
    assert!(customs.refusals().is_empty());
    let why = block(customs.accept(&low, late.clone(), NOW)).unwrap_err().to_string();
    assert!(why.contains("above what this agency's systems may hold"), "{why}");

    let federation = "test".parse().unwrap();
    let commitment = t.state.record(&id).unwrap().last().unwrap().commitment;
    let of = TaggedVersion { record: id, version: 1, commitment };
    let key = police.keys.tagging_key(&t.state, &t.customs.id, month_of(NOW)).unwrap();
    let token = key.pull_token(&federation, &of);
    let served = |state: &State| police.serve(state, &t.customs.id, (&token, 0), |_| true).unwrap().is_some();
    let sent = |state: &State| police.outgoing(state, &id, 1).unwrap().unwrap().0.contains(&t.customs.id);
    let sealed = |state: &State, n| {
        let draft = draft(record(n), Grade::Secret, &["customs"]);
        block(police.prepare(state, draft, NOW, &mut Counter::at(n << 33))).is_ok()
    };
    let may_be_sent = |state: &State| police.may_be_sent(state, &t.customs.id, (&id, 1));
    assert!(served(&t.state) && sent(&t.state) && may_be_sent(&t.state) && sealed(&t.state, 32));
    assert!(!served(&low) && !sent(&low) && !sealed(&low, 33), "also with the key that was made before");
    assert!(!may_be_sent(&low) && !may_be_sent(&suspended(&t.state, &t.customs.id)));

    let high = with_ceiling(&low, &t.customs.id, Grade::Secret);
    assert!(served(&high) && sent(&high) && sealed(&high, 34));
    block(customs.accept(&high, late, NOW)).unwrap();
}

/// An originator whose own ceiling was lowered proposes nothing above it any more.
#[test]
fn what_waits_above_the_own_ceiling_does_not_go_to_the_ledger() {
    let t = two();
    let id = record(35);
    let _waits = t.seal(draft(id, Grade::Secret, &["customs"]));
    let recommit = |state: &State| t.police.vault.recommit(state, &id, 1, NOW, &mut Counter::at(3)).is_ok();
    assert!(recommit(&t.state) && !recommit(&with_ceiling(&t.state, &t.police.id, Grade::Internal)));
}

#[test]
fn r_marking_authority_is_that_of_the_commitment() {
    let t = two();
    let (id, later) = (record(36), t.seal(draft(record(37), Grade::Secret, &["customs"])).object);
    let prepared = t.seal(draft(id, Grade::Secret, &["customs"]));
    block(t.customs.vault.accept(&t.state, prepared.object.clone(), NOW)).unwrap();
    let (t, _) = t.committed(prepared);
    let county = with_tier(&t.state, &t.police.id, 30, Tier::County);
    assert!(t.customs.vault.held(&county, &id, 0, NOW).unwrap().is_some(), "it was marked rightly");
    let why = block(t.customs.vault.accept(&county, later, NOW)).unwrap_err().to_string();
    assert_eq!(why, "refused: the label is above the originator's marking authority");
    let with_it = with_tier(&t.state, &t.police.id, 20, Tier::County);
    assert!(t.customs.vault.held(&with_it, &id, 0, NOW).unwrap().is_some(), "of an entry's own commitments, too");
    // One that was lowered before the commitment covers it no more; what is the own agency's is not lost.
    let before = with_tier(&t.state, &t.police.id, 19, Tier::County);
    assert!(t.police.vault.held(&before, &id, 0, NOW).unwrap().is_some());
    assert!(t.customs.vault.held(&before, &id, 0, NOW).is_err());
    let waits = record(38);
    let _sealed = t.seal(draft(waits, Grade::Secret, &["customs"]));
    assert!(t.police.vault.recommit(&before, &waits, 1, NOW, &mut Counter::at(3)).is_err(), "it goes there no more");
}
