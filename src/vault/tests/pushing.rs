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

fn named(push: &mut Arriving<'_>, object: &SealedObject, name: &[u8]) -> Result<SealedObject, VaultError> {
    let (envelope, grant, _) = object.parts();
    push.object(&envelope, &grant, &Brought::Name(name))
}

fn brought(push: &mut Arriving<'_>, object: &SealedObject) -> SealedObject {
    let (envelope, grant, audience) = object.parts();
    push.object(&envelope, &grant, &Brought::Bytes(&audience)).unwrap()
}

/// What is wanted comes with its bytes; the next of the push names it, and so does a later push once one was taken.
#[test]
fn r_an_audience_object_is_named_by_whoever_brought_it() {
    let t = two();
    let (vault, police) = (&t.customs.vault, &t.police.id);
    let objects: Vec<SealedObject> =
        (90..93).map(|n| t.seal(draft(record(n), Grade::Secret, &["customs"])).object).collect();
    let name = *objects[0].audience.name();
    let mut push = vault.arriving(police);
    assert!(matches!(named(&mut push, &objects[0], &name), Err(VaultError::AudienceWanted)));
    let taken = [brought(&mut push, &objects[0]), named(&mut push, &objects[1], &name).unwrap()];
    assert!(matches!(named(&mut vault.arriving(police), &objects[2], &name), Err(VaultError::AudienceWanted)));
    for object in taken {
        block(vault.accept(&t.state, object, NOW)).unwrap();
    }
    let last = named(&mut vault.arriving(police), &objects[2], &name).unwrap();
    block(vault.accept(&t.state, last, NOW)).unwrap();
    for object in &objects {
        let header = object.envelope.header();
        let entry = vault.intake.entries(&header.id, header.version).remove(0);
        assert_eq!(vault.intake.load(&entry).unwrap().parts(), object.parts());
    }
}

/// One object that does not parse leaves the others of its push the audience object that came with it.
#[test]
fn r_an_audience_object_comes_with_an_object_that_does_not_parse() {
    let t = two();
    let vault = &t.customs.vault;
    let objects: Vec<SealedObject> =
        (98..100).map(|n| t.seal(draft(record(n), Grade::Secret, &["customs"])).object).collect();
    let (_, grant, audience) = objects[0].parts();
    let mut push = vault.arriving(&t.police.id);
    assert!(push.object(b"no envelope", &grant, &Brought::Bytes(&audience)).is_err());
    let next = named(&mut push, &objects[1], objects[0].audience.name()).unwrap();
    block(vault.accept(&t.state, next, NOW)).unwrap();
}

/// A name leads to what has that digest and nothing else, and the object is checked with it like any other.
#[test]
fn r_a_name_that_lies_is_refused() {
    let t = two();
    let (vault, police) = (&t.customs.vault, &t.police.id);
    let secret = t.seal(draft(record(94), Grade::Secret, &["customs"])).object;
    let internal = t.seal(draft(record(95), Grade::Internal, &["customs"])).object;
    block(vault.accept(&t.state, internal.clone(), NOW)).unwrap();
    let mut push = vault.arriving(police);
    let lies = named(&mut push, &secret, internal.audience.name()).unwrap();
    let refused = block(vault.accept(&t.state, lies, NOW)).unwrap_err();
    assert!(refused.blames_object(), "{refused}");
    assert!(!vault.has(&secret));
    let other = named(&mut push, &secret, &[1; 32]);
    assert!(matches!(other, Err(VaultError::AudienceWanted)), "nothing has this digest");
    assert!(matches!(named(&mut push, &secret, &[1; 31]), Err(VaultError::Rule(_))));
    let foreign = named(&mut vault.arriving(&t.customs.id), &internal, internal.audience.name());
    assert!(matches!(foreign, Err(VaultError::AudienceWanted)), "another's is as if it were not here");
    // It stands in the way of nothing.
    let whole = brought(&mut push, &secret);
    block(vault.accept(&t.state, whole, NOW)).unwrap();
}

/// What came with an object that was refused is not kept for the next push.
#[test]
fn r_an_audience_object_of_a_refused_object_is_forgotten() {
    let t = two();
    let (vault, police) = (&t.customs.vault, &t.police.id);
    let good = t.seal(draft(record(96), Grade::Secret, &["customs"])).object;
    let other = t.seal(draft(record(97), Grade::Secret, &["customs"])).object;
    let mixed = SealedObject { grant: other.grant.clone(), ..good.clone() };
    let bad = brought(&mut vault.arriving(police), &mixed);
    assert!(block(vault.accept(&t.state, bad, NOW)).is_err());
    let named = named(&mut vault.arriving(police), &other, other.audience.name());
    assert!(matches!(named, Err(VaultError::AudienceWanted)));
}
