//! What waits for a classifier stays at home until one signed it.

use super::*;
use crate::vault::error::VaultError;
use crate::vault::proposal::WAITING;

fn author() -> Handle {
    Handle::from_bytes([1; 16])
}

fn proposal(stand: Stand) -> Option<Proposal> {
    Some(Proposal { author: author(), stand })
}

fn proposed(t: &Two, id: RecordId) -> Prepared {
    t.seal(Draft { proposal: proposal(Stand::Waiting), ..draft(id, Grade::Secret, &["customs"]) })
}

fn approved() -> Stand {
    Stand::Approved(vec![1])
}

fn decide(t: &Two, id: &RecordId, stand: Stand) -> Result<(), VaultError> {
    let found = t.police.vault.proposed(&t.state, id)?.ok_or(VaultError::Rule("it is no proposal"))?;
    block(t.police.vault.decide(&t.state, &found, stand))
}

#[test]
fn a_proposal_is_not_published_before_it_is_approved() {
    let t = two();
    let id = record(40);
    let vault = &t.police.vault;
    let object = proposed(&t, id).object;
    assert_eq!(vault.waiting(), [(id, author())]);
    assert!(vault.uncommitted(&t.state).is_empty(), "it does not go to the ledger by itself");
    assert!(vault.recommit(&t.state, &id, 1, NOW, &mut Counter::at(3)).is_err());
    assert!(vault.outgoing(&t.state, &id, 1).unwrap().is_none(), "nor to anybody else");
    assert!(vault.card(&t.state, &id, 0).unwrap().is_none() && vault.held(&t.state, &id, 0, NOW).unwrap().is_none());
    assert!(!vault.awaits_commitment(&t.state, &id), "nor is it waited for by the index");
    let found = vault.proposed(&t.state, &id).unwrap().unwrap();
    assert_eq!(found.parts, [(id, 1, object.envelope.commitment())]);
    assert!(vault.held_proposal(&t.state, &id, 1).unwrap().is_some());
    assert!(vault.held_proposal(&t.state, &id, 2).unwrap().is_none());

    decide(&t, &id, approved()).unwrap();
    assert!(vault.waiting().is_empty() && vault.undecided(&id).is_none());
    assert_eq!(vault.uncommitted(&t.state), [(id, 1)], "a stop after the signature loses nothing");
    assert!(vault.outgoing(&t.state, &id, 1).unwrap().is_some() && vault.awaits_commitment(&t.state, &id));
    let command = vault.recommit(&t.state, &id, 1, NOW, &mut Counter::at(3)).unwrap().unwrap();
    let Two { mut police, mut state, .. } = t;
    police.apply(&mut state, 20, command);
    let held = police.vault.held(&state, &id, 0, NOW).unwrap().unwrap();
    assert_eq!(held.parts().0, object.envelope.to_bytes(), "the very envelope that was signed");
}

/// The record is decided, and its lower envelopes stand as it does: none goes alone, and none is decided alone.
#[test]
fn a_part_stands_as_its_record_does() {
    let t = two();
    let vault = &t.police.vault;
    for (seed, stand, goes) in [(50, approved(), true), (52, Stand::Rejected, false)] {
        let (part, whole) = (record(seed), record(seed + 1));
        let lower = proposal(Stand::PartOf(whole, 1));
        let _part = t.seal(Draft { proposal: lower, ..draft(part, Grade::Internal, &["customs"]) });
        // A stop before the record's own envelope: its part waits for ever, and nobody is asked about it.
        assert!(vault.waiting().is_empty() && vault.undecided(&part).is_none());
        assert!(decide(&t, &part, approved()).is_err() && vault.uncommitted(&t.state).iter().all(|(r, _)| *r != part));
        let lower = vec![(part, 1)];
        let whole_draft =
            Draft { lower, proposal: proposal(Stand::Waiting), ..draft(whole, Grade::Secret, &["customs"]) };
        let _whole = t.seal(whole_draft);
        assert_eq!(vault.waiting(), [(whole, author())]);
        assert_eq!(vault.undecided(&part), Some((1, author())), "it is seen with its record");
        assert!(decide(&t, &part, Stand::Rejected).is_err(), "and not decided without it");
        let found = vault.proposed(&t.state, &whole).unwrap().unwrap();
        assert_eq!(found.parts.iter().map(|(r, ..)| *r).collect::<Vec<_>>(), [part, whole]);
        decide(&t, &whole, stand).unwrap();
        let may = |id| vault.uncommitted(&t.state).contains(&(id, 1));
        assert_eq!((may(part), may(whole)), (goes, goes));
        assert!(vault.undecided(&part).is_none());
    }
}

#[test]
fn who_was_first_has_decided() {
    let t = two();
    let (yes, no) = (record(41), record(42));
    let vault = &t.police.vault;
    let _objects = [yes, no].map(|id| proposed(&t, id));
    decide(&t, &no, Stand::Rejected).unwrap();
    assert!(matches!(decide(&t, &no, approved()), Err(VaultError::Decided)), "what was turned down is not published");
    assert!(vault.uncommitted(&t.state).is_empty() && vault.held_proposal(&t.state, &no, 1).unwrap().is_none());
    decide(&t, &no, Stand::Rejected).unwrap();
    decide(&t, &yes, approved()).unwrap();
    decide(&t, &yes, approved()).unwrap();
    assert!(matches!(decide(&t, &yes, Stand::Rejected), Err(VaultError::Decided)), "it may be on the ledger already");
    let other = Stand::Approved(vec![2]);
    assert!(matches!(decide(&t, &yes, other), Err(VaultError::Decided)), "another's signature came second");
    let plain = record(43);
    let _object = t.seal(draft(plain, Grade::Secret, &["customs"]));
    assert!(decide(&t, &plain, Stand::Rejected).is_err(), "it was never proposed");
    // Many at once: one of them wins, and all hear the same.
    let id = record(48);
    let _object = proposed(&t, id);
    let found = vault.proposed(&t.state, &id).unwrap().unwrap();
    let all = block(async {
        let stands = (0..16u8).map(|n| if n % 2 == 0 { Stand::Approved(vec![n]) } else { Stand::Rejected });
        let all = stands.map(|stand| vault.decide(&t.state, &found, stand));
        futures_util::future::join_all(all).await
    });
    let won = vault.proposal(&id, 1).unwrap().stand;
    let expected = if won == Stand::Rejected { 8 } else { 1 };
    assert_eq!(all.iter().filter(|a| a.is_ok()).count(), expected, "{won:?}");
}

/// Made at once, each while there was room when it was asked: no more than may wait are taken in.
#[test]
fn no_more_wait_than_may() {
    let t = two();
    let (vault, state) = (&t.police.vault, &t.state);
    let ids: Vec<RecordId> = (0..WAITING.1 as u64 + 4).map(|n| record(1_000 + 64 * n)).collect();
    assert!(vault.may_propose(author()));
    let taken = block(async {
        let all = ids.iter().map(|id| {
            let waits = Draft { proposal: proposal(Stand::Waiting), ..draft(*id, Grade::Secret, &["customs"]) };
            async move { vault.prepare(state, waits, NOW, &mut Counter::at(1 << 30)).await }
        });
        futures_util::future::join_all(all).await
    });
    let (there, refused): (Vec<_>, Vec<_>) = taken.into_iter().partition(Result::is_ok);
    assert_eq!((there.len(), refused.len()), (WAITING.1, 4));
    assert!(refused.iter().all(|r| matches!(r, Err(VaultError::Crowded))));
    assert_eq!(vault.waiting().len(), WAITING.1);
    assert!(!vault.may_propose(author()) && vault.may_propose(Handle::from_bytes([2; 16])));
    // Another author's and what is no proposal are taken in, and one more when one was decided.
    let other = Some(Proposal { author: Handle::from_bytes([2; 16]), stand: Stand::Waiting });
    let _object = t.seal(Draft { proposal: other, ..draft(record(10), Grade::Secret, &["customs"]) });
    let _object = t.seal(draft(record(20), Grade::Secret, &["customs"]));
    decide(&t, &vault.waiting()[0].0, Stand::Rejected).unwrap();
    let _object = proposed(&t, record(30));
    assert_eq!(vault.waiting().len(), WAITING.1 + 1);
}

#[test]
fn proposals_and_decisions_survive_a_stop() {
    let t = two();
    let objects = [44, 45, 46].map(|n| t.seal(draft(record(n), Grade::Secret, &["customs"])).object);
    let (bodies, frames) = (FaultDisk::default(), FaultDisk::default());
    let open = |frames: FaultDisk, bodies: FaultDisk| {
        let journal = Journal::over(Arc::new(frames), JournalOptions::default()).unwrap();
        Intake::over(journal, Arc::new(bodies), Box::new(Counter::at(9))).unwrap()
    };
    let intake = open(frames.clone(), bodies.clone());
    for object in &objects {
        let (object, proposal) = (object.clone(), proposal(Stand::Waiting));
        let take = Take { object, pull_checks: vec![], request: None, content: None, proposal, apart: None, at: NOW };
        block(intake.take(take)).unwrap();
    }
    let written = bodies.operations();
    block(intake.decide((record(45), 1), approved(), vec![])).unwrap();
    block(intake.decide((record(46), 1), Stand::Rejected, vec![])).unwrap();
    assert_eq!(bodies.operations(), written, "a decision writes no text again");
    let intake = open(frames.after_power_cut(), bodies.after_power_cut());
    let stands = [44, 45, 46].map(|n| intake.entries(&record(n), 1).remove(0).proposal.unwrap().stand);
    assert_eq!(stands, [Stand::Waiting, approved(), Stand::Rejected]);
    assert_eq!(intake.waiting(), [(record(44), author())]);
    assert_eq!(intake.load(&intake.entries(&record(45), 1)[0]).unwrap().envelope, objects[1].envelope);
}

/// An agreement that ended meanwhile covers nothing: nobody would take it.
#[test]
fn nothing_is_approved_without_its_agreement() {
    let mut t = two();
    let id = record(47);
    let _object = proposed(&t, id);
    let end = Act::EndAgreement { id: "border-2026".parse().unwrap(), reason: "演练".into() };
    let (handle, key) = (t.police.officer.0, &t.police.officer.1);
    let end = SignedAct::sign(&"test".parse().unwrap(), &end, 1, Millis(u64::MAX), handle, key);
    t.police.apply(&mut t.state, 20, Command::Act(end));
    assert!(decide(&t, &id, approved()).is_err());
    assert_eq!(t.police.vault.waiting(), [(id, author())], "it waits as before");
}
