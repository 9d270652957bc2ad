//! Audience objects are stored once for all that name them, what was stored is what was taken in, byte for byte, and the
//! intake's journal forgets what later frames say anew.

use super::*;
use crate::domain::reserve::Work;
use crate::journal::Disk;
use crate::seal::write_together;

const SEGMENT: &str = "00000000.body";

fn over(frames: &FaultDisk, bodies: &FaultDisk) -> Intake {
    let journal = Journal::over(Arc::new(frames.clone()), JournalOptions::default()).unwrap();
    Intake::over(journal, Arc::new(bodies.clone()), Box::new(Counter::at(55))).unwrap()
}

fn take(object: &SealedObject) -> Take {
    let object = object.clone();
    Take { object, pull_checks: vec![], request: None, content: None, proposal: None, apart: None, at: NOW }
}

fn three(t: &Two) -> Vec<SealedObject> {
    (60..63).map(|n| t.seal(draft(record(n), Grade::Internal, &["customs"])).object).collect()
}

fn lies_whole(intake: &Intake, object: &SealedObject) {
    let header = object.envelope.header();
    let entry = intake.entries(&header.id, header.version).remove(0);
    assert_eq!(intake.load(&entry).unwrap().parts(), object.parts());
}

#[test]
fn an_audience_key_is_stored_once_for_all_records_and_found_again() {
    let t = two();
    let objects = three(&t);
    let (frames, bodies) = (FaultDisk::default(), FaultDisk::default());
    let intake = over(&frames, &bodies);
    objects.iter().for_each(|object| block(intake.take(take(object))).unwrap());
    assert_eq!(intake.audience_places().len(), 2, "twice in a segment, however many need it");
    for object in &objects {
        let header = object.envelope.header();
        let stored = intake.entries(&header.id, header.version)[0].place.length as usize;
        assert!(stored + object.audience.to_bytes().len() < object.to_blob().len(), "it is not in the blob");
        lies_whole(&intake, object);
    }
    let again = over(&frames.after_power_cut(), &bodies.after_power_cut());
    objects.iter().for_each(|object| lies_whole(&again, object));
    let later = t.seal(draft(record(64), Grade::Internal, &["customs"])).object;
    block(again.take(take(&later))).unwrap();
    assert_eq!(again.audience_places().len(), 2, "known after a start");
    let started = over(&frames.after_power_cut(), &bodies.after_power_cut());
    assert_eq!(started.audience(later.audience.name()).unwrap().bytes(), later.audience.bytes(), "by its name alone");
    assert!(started.audience(&[1; 32]).is_err());
    lies_whole(&again, &later);
}

#[test]
fn a_damaged_audience_key_is_read_elsewhere_or_comes_again() {
    let t = two();
    let objects = three(&t);
    let (frames, bodies) = (FaultDisk::default(), FaultDisk::default());
    let intake = over(&frames, &bodies);
    objects.iter().for_each(|object| block(intake.take(take(object))).unwrap());
    let places = intake.audience_places();
    for damaged in [&places[..1], &places[1..], &places[..]] {
        let bodies = bodies.after_kill();
        for place in damaged {
            bodies.edit(SEGMENT, |bytes| bytes[place.offset as usize + 40] ^= 1);
        }
        let frames = frames.after_kill();
        let again = over(&frames, &bodies);
        if damaged.len() < places.len() {
            objects.iter().for_each(|object| lies_whole(&again, object));
            continue;
        }
        let entry = again.entries(&record(60), 1).remove(0);
        assert!(again.load(&entry).unwrap_err().is_damage());
        // What the vault does with a damaged object: it is fetched again, and brings what it needs for all others too.
        assert!(again.set_aside((record(60), 1), &entry));
        block(again.take(take(&objects[0]))).unwrap();
        objects.iter().for_each(|object| lies_whole(&again, object));
        let started = over(&frames.after_power_cut(), &bodies.after_kill());
        objects.iter().for_each(|object| lies_whole(&started, object));
    }
}

/// Version 3 of a stored blob is what `seal` keeps fixed behind the audience object's name. Version 2, field by field, and
/// version 1, which has all three parts whole, open.
#[test]
fn stored_blobs_are_of_this_format_and_earlier_ones_open() {
    let t = two();
    let object = t.seal(draft(record(65), Grade::Internal, &["customs"])).object;
    let (envelope, grant, audience) = object.parts();
    let short = object.grant.to_bytes_beside(&object.envelope).unwrap();
    let mut expected = vec![0, 0, 0, 17];
    expected.extend(b"hufu.vault.object\0\x02");
    expected.extend((envelope.len() as u32).to_be_bytes());
    expected.extend(&envelope);
    expected.push(1);
    expected.extend((short.len() as u32).to_be_bytes());
    expected.extend(&short);
    let named = digest("hufu.vault.audience", &[&audience]);
    expected.extend(named);
    let both = write_together(&object.envelope, &object.grant, &object.audience).unwrap();
    let now = [&b"\0\0\0\x11hufu.vault.object\0\x03"[..], named.as_slice(), &both].concat();
    assert_eq!(object.to_stored(), now);
    assert!(expected.len() - now.len() > 64 + 32, "without the hashes of two ciphertexts and of the grant");
    let shared = |name: &[u8; 32]| {
        assert_eq!(*name, named);
        Ok(object.audience.clone())
    };
    for stored in [&expected, &now] {
        assert_eq!(SealedObject::from_stored(stored, shared).unwrap().parts(), object.parts());
        for cut in 0..stored.len() {
            assert!(SealedObject::from_stored(&stored[..cut], shared).is_err(), "cut at {cut}");
        }
        assert!(SealedObject::from_stored(&[stored.as_slice(), &[0]].concat(), shared).is_err());
    }
    // A grant that was signed apart from its envelope keeps its own proof.
    let other = t.seal(draft(record(66), Grade::Internal, &["customs"])).object;
    let mixed = SealedObject { grant: other.grant, ..object.clone() };
    assert_eq!(mixed.to_stored()[22], 2);
    assert_eq!(SealedObject::from_stored(&mixed.to_stored(), shared).unwrap().parts(), mixed.parts());

    let mut first = vec![0, 0, 0, 17];
    first.extend(b"hufu.vault.object\0\x01");
    for part in [&envelope, &grant, &audience] {
        first.extend((part.len() as u32).to_be_bytes());
        first.extend(part);
    }
    let none = |_: &[u8; 32]| Err(VaultError::Cut);
    assert_eq!(SealedObject::from_stored(&first, none).unwrap().parts(), object.parts());
    assert_eq!(object.to_blob(), first, "so it stands before content that comes in pieces");
}

fn frame_bytes(frames: &FaultDisk) -> u64 {
    frames.list().unwrap().iter().map(|name| frames.size(name).unwrap()).sum()
}

/// An object with a large frame, as often as makes its earlier frames the greater part; two others with small ones.
fn often(intake: &Intake, objects: &[SealedObject]) -> Result<(), VaultError> {
    let request = Some([6; 32]);
    block(intake.take(Take { request, ..take(&objects[0]) }))?;
    block(intake.take(take(&objects[1])))?;
    let large = || Take { pull_checks: vec![[7; 32]; 4_000], ..take(&objects[2]) };
    block(intake.take(Take { request: Some([8; 32]), ..large() }))?;
    (0..40).try_for_each(|_| block(intake.take(large())))
}

fn all_there(intake: &Intake, objects: &[SealedObject]) {
    objects.iter().for_each(|object| lies_whole(intake, object));
    assert_eq!(intake.by_request(&[6; 32]), Some((record(60), 1)));
    assert_eq!(intake.by_request(&[8; 32]), Some((record(62), 1)), "said by its first frame alone");
    assert_eq!(intake.by_check(&[7; 32]), [(record(62), 1)]);
    assert_eq!(intake.audience_places().len(), 2, "a place that is said twice is one");
}

#[test]
fn a_journal_of_superseded_frames_is_written_again() {
    let t = two();
    let objects = three(&t);
    let (frames, bodies) = (FaultDisk::default(), FaultDisk::default());
    let intake = over(&frames, &bodies);
    often(&intake, &objects).unwrap();
    // Its worker shortens behind the answer; the next answer comes after that.
    block(intake.take(take(&objects[1]))).unwrap();
    let left = frame_bytes(&frames);
    assert!(left < 2 << 20, "{left} of about 5 MiB");
    all_there(&intake, &objects);
    let again = over(&frames.after_power_cut(), &bodies.after_power_cut());
    all_there(&again, &objects);
}

/// The new frames stand beside the old ones for a while, and the room that content leaves is for what is more important.
#[test]
fn a_journal_is_not_written_again_where_there_is_no_room() {
    let t = two();
    let objects = three(&t);
    let (frames, bodies) = (FaultDisk::default(), FaultDisk::default());
    bodies.set_free(Work::Content.reserve());
    let intake = over(&frames, &bodies);
    often(&intake, &objects).unwrap();
    block(intake.take(take(&objects[1]))).unwrap();
    assert!(frame_bytes(&frames) > 4 << 20);
    bodies.set_free(Work::Content.reserve() + (2 << 20));
    (0..2).for_each(|_| block(intake.take(take(&objects[1]))).unwrap());
    assert!(frame_bytes(&frames) < 2 << 20);
    all_there(&intake, &objects);
}

/// Wherever the writing ends, what was answered is there: the old frames, or the new ones, or both.
#[test]
fn whatever_fails_while_the_journal_is_written_again() {
    let t = two();
    let objects = three(&t);
    let (frames, bodies) = (FaultDisk::default(), FaultDisk::default());
    let large = || Take { pull_checks: vec![[7; 32]; 4_000], ..take(&objects[2]) };
    {
        let intake = over(&frames, &bodies);
        block(intake.take(Take { request: Some([6; 32]), ..take(&objects[0]) })).unwrap();
        block(intake.take(take(&objects[1]))).unwrap();
        block(intake.take(Take { request: Some([8; 32]), ..large() })).unwrap();
        // A frame has 32 bytes for each check and less than a KiB beside: two more, and a MiB of them is superseded.
        (0..7).for_each(|_| block(intake.take(large())).unwrap());
    }
    let mut failures = 0;
    for (fail, leaves) in (0..40).flat_map(|n| [(n, Leaves::Nothing), (n, Leaves::Everything)]) {
        let (frames, bodies) = (frames.after_kill(), bodies.after_kill());
        let intake = over(&frames, &bodies);
        frames.fail_at(fail, leaves);
        let taken: Vec<bool> = (0..3).map(|_| block(intake.take(large())).is_ok()).collect();
        failures += usize::from(taken.contains(&false));
        for (frames, bodies) in
            [(frames.after_power_cut(), bodies.after_power_cut()), (frames.after_kill(), bodies.after_kill())]
        {
            let again = over(&frames, &bodies);
            all_there(&again, &objects);
            block(again.take(take(&objects[1]))).unwrap();
        }
        drop(intake);
        if !taken.contains(&false) {
            break;
        }
    }
    assert!(failures > 2 * 10, "{failures}");
}
