//! What is taken of a push: each object for itself, in the order in which the peers' service hands them on.

use super::*;

/// Objects under one audience key cost its signature once, and header and grant of each the one of their batch; what is
/// read again costs none.
#[test]
fn r_a_signature_is_checked_once_for_all_that_it_covers() {
    let mut t = two();
    let sealed: Vec<Prepared> = (80..83).map(|n| t.seal(draft(record(n), Grade::Secret, &["customs"]))).collect();
    let checked = |t: &Two| t.customs.vault.keys().verified().checked();
    for (n, prepared) in (1..).zip(&sealed) {
        block(t.customs.vault.accept(&t.state, prepared.object.clone(), NOW)).unwrap();
        assert_eq!(checked(&t), 1 + n, "the audience's, and one for each batch");
    }
    for (index, prepared) in (20..).zip(sealed) {
        let id = prepared.object.envelope.header().id;
        t.police.apply(&mut t.state, index, prepared.command);
        t.customs.vault.held(&t.state, &id, 0, NOW).unwrap().unwrap();
    }
    assert_eq!(checked(&t), 4);
}

/// One bad object is refused with its reason, wherever it stands among good ones, and the good ones are held.
#[test]
fn r_a_bad_object_stops_no_other_of_its_push() {
    // A node that says that it is police's, with a key that the ledger does not know.
    let stranger = Party::new("police", 1 << 50, Tier::Provincial, Grade::TopSecret, FaultDisk::default());
    let bad = record(70);
    let draft_of = |id| draft(id, Grade::Secret, &["customs"]);
    let kinds = [
        ("flipped", "the signature of the grant does not verify"),
        ("forged", "the signature of the envelope does not verify"),
        ("mixed", "the grant is for another envelope"),
    ];
    for ((kind, why), place) in kinds.into_iter().flat_map(|kind| (0..=3usize).map(move |place| (kind, place))) {
        let mut t = two();
        let good: Vec<Prepared> = (71..74).map(|n| t.seal(draft_of(record(n)))).collect();
        let whole = t.seal(draft_of(bad)).object;
        let spoilt = match kind {
            "forged" => {
                let mut entropy = Counter::at(1 << 31);
                block(stranger.vault.prepare(&t.state, draft_of(bad), NOW, &mut entropy)).unwrap().object
            }
            "mixed" => SealedObject { envelope: whole.envelope, ..good[0].object.clone() },
            _ => {
                let mut grant = whole.grant.to_bytes();
                *grant.last_mut().unwrap() ^= 1;
                SealedObject::from_parts(&whole.envelope.to_bytes(), &grant, &whole.audience.to_bytes()).unwrap()
            }
        };
        let mut push: Vec<SealedObject> = good.iter().map(|p| p.object.clone()).collect();
        push.insert(place, spoilt);
        let answers = push.into_iter().map(|object| block(t.customs.vault.accept(&t.state, object, NOW)));
        for (at, answer) in answers.enumerate() {
            let refused = answer.err();
            assert_eq!(refused.is_some(), at == place, "{kind} at {place}: {refused:?}");
            assert!(refused.is_none_or(|e| e.blames_object() && e.to_string().contains(why)), "{kind} at {place}");
        }

        let refusals = t.customs.vault.refusals();
        assert!(refusals.len() == 1 && refusals[0].0 == (bad, 1) && refusals[0].1.reason.contains(why), "{refusals:?}");
        for (index, prepared) in (20..).zip(good) {
            let header = prepared.object.envelope.header().clone();
            t.police.apply(&mut t.state, index, prepared.command);
            let held = t.customs.vault.held(&t.state, &header.id, 0, NOW).unwrap().expect("a good one");
            assert!(held.covered, "{kind} at {place}");
        }
        assert!(!t.customs.vault.records().contains(&bad), "{kind} at {place}");
    }
}

/// The bound on copies of one version holds for those that come at once, too. One whose writing ends just then counts twice, so
/// that fewer may be taken, and never more.
#[test]
fn r_copies_that_come_at_once_are_bounded() {
    let t = two();
    let id = record(75);
    let copy = |seed: u64| {
        let mut entropy = Counter::at((1 << 32) + (seed << 20));
        block(t.police.vault.prepare(&t.state, draft(id, Grade::Secret, &["customs"]), NOW, &mut entropy)).unwrap()
    };
    let copies: Vec<SealedObject> = (0..20).map(|n| copy(n).object).collect();
    let at_once = copies.into_iter().map(|object| t.customs.vault.accept(&t.state, object, NOW)).collect::<Vec<_>>();
    let answers = block(futures_util::future::join_all(at_once));
    let taken = answers.iter().filter(|a| a.is_ok()).count();
    assert!((4..=8).contains(&taken), "{taken}");
    assert!(answers.iter().all(|a| matches!(a, Ok(()) | Err(VaultError::NotYet(_)))));
    assert_eq!(t.customs.vault.intake.entries(&id, 1).len(), taken);
}
