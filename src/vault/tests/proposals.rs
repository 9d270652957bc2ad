//! What waits for a classifier stays at home until one signed it.

use super::*;

fn proposed(t: &Two, id: RecordId) -> Prepared {
    let author = Some(Handle::from_bytes([1; 16]));
    t.seal(Draft { proposed_by: author, ..draft(id, Grade::Secret, &["customs"]) })
}

#[test]
fn a_proposal_is_not_published_before_it_is_approved() {
    let t = two();
    let id = record(40);
    let vault = &t.police.vault;
    let object = proposed(&t, id).object;
    assert_eq!(vault.waiting(), [(id, 1)]);
    assert!(vault.uncommitted(&t.state).is_empty(), "it does not go to the ledger by itself");
    assert!(vault.recommit(&t.state, &id, 1, NOW, &mut Counter::at(3)).is_err());
    assert!(vault.card(&t.state, &id, 0).unwrap().is_none() && vault.held(&t.state, &id, 0, NOW).unwrap().is_none());
    assert!(!vault.awaits_commitment(&t.state, &id), "nor is it waited for by the index");
    let found = vault.proposed(&t.state, &id).unwrap().unwrap();
    assert_eq!(found.parts, [(id, 1, object.envelope.commitment())]);
    assert!(vault.held_proposal(&t.state, &id).unwrap().is_some());

    block(vault.decide(&t.state, &id, 1, Stand::Approved(vec![1]), NOW)).unwrap();
    assert!(vault.waiting().is_empty() && vault.proposed(&t.state, &id).unwrap().is_none());
    assert_eq!(vault.uncommitted(&t.state), [(id, 1)], "a stop after the signature loses nothing");
    let command = vault.recommit(&t.state, &id, 1, NOW, &mut Counter::at(3)).unwrap().unwrap();
    let Two { mut police, mut state, .. } = t;
    police.apply(&mut state, 20, command);
    let held = police.vault.held(&state, &id, 0, NOW).unwrap().unwrap();
    assert_eq!(held.parts().0, object.envelope.to_bytes(), "the very envelope that was signed");
}

#[test]
fn what_was_decided_stays_decided() {
    let t = two();
    let (yes, no) = (record(41), record(42));
    let vault = &t.police.vault;
    let _objects = [yes, no].map(|id| proposed(&t, id));
    let approved = || Stand::Approved(vec![1]);
    let decide = |id: &RecordId, stand| block(vault.decide(&t.state, id, 1, stand, NOW));
    decide(&no, Stand::Rejected).unwrap();
    assert!(decide(&no, approved()).is_err(), "what was turned down is not published");
    assert!(vault.uncommitted(&t.state).is_empty() && vault.held_proposal(&t.state, &no).unwrap().is_none());
    decide(&no, Stand::Rejected).unwrap();
    decide(&yes, approved()).unwrap();
    decide(&yes, approved()).unwrap();
    assert!(decide(&yes, Stand::Rejected).is_err(), "it may be on the ledger already");
    let plain = record(43);
    let _object = t.seal(draft(plain, Grade::Secret, &["customs"]));
    assert!(decide(&plain, Stand::Rejected).is_err(), "it was never proposed");
}

#[test]
fn proposals_and_decisions_survive_a_stop() {
    let t = two();
    let objects = [44, 45, 46].map(|n| t.seal(draft(record(n), Grade::Secret, &["customs"])).object);
    let author = Handle::from_bytes([1; 16]);
    let (bodies, frames) = (FaultDisk::default(), FaultDisk::default());
    let open = |frames: FaultDisk, bodies: FaultDisk| {
        let journal = Journal::over(Arc::new(frames), JournalOptions::default()).unwrap();
        Intake::over(journal, Arc::new(bodies), Box::new(Counter::at(9))).unwrap()
    };
    let intake = open(frames.clone(), bodies.clone());
    let take = |object: &SealedObject, stand| {
        let proposal = Some(Proposal { author, stand });
        let object = object.clone();
        block(intake.take(Take { object, pull_checks: Vec::new(), request: None, content: None, proposal, at: NOW }))
    };
    for object in &objects {
        take(object, Stand::Waiting).unwrap();
    }
    take(&objects[1], Stand::Approved(vec![1])).unwrap();
    take(&objects[2], Stand::Rejected).unwrap();
    let intake = open(frames.after_power_cut(), bodies.after_power_cut());
    let stands = [44, 45, 46].map(|n| intake.entries(&record(n), 1).remove(0).proposal.unwrap().stand);
    assert_eq!(stands, [Stand::Waiting, Stand::Approved(vec![1]), Stand::Rejected]);
    assert_eq!(intake.waiting(), [(record(44), 1)]);
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
    assert!(block(t.police.vault.decide(&t.state, &id, 1, Stand::Approved(vec![1]), NOW)).is_err());
    assert_eq!(t.police.vault.waiting(), [(id, 1)], "it waits as before");
}
