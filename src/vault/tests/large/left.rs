//! What is left of copies that nobody will read: it goes when that is known, and counts until then.

use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The content of a copy goes that was on its way while the ledger got another one; that of an own one that came second when
/// a majority certified that.
#[test]
fn the_content_of_what_comes_after_another_was_committed_goes() {
    let disk = FaultDisk::default();
    let t = two_with(Tier::Provincial, disk.clone());
    let id = record(79);
    let [first, second] = [0u64, 1].map(|n| {
        let mut entropy = Counter::at((1 << 33) + (n << 20));
        block(t.police.vault.prepare(&t.state, large(id, 300_000), NOW, &mut entropy)).unwrap()
    });
    let take = |t: &Two, state: &State, object: &SealedObject| {
        let mut sent = pieces(&lies(&t.police.vault.sent(object).content.unwrap()));
        block(t.customs.vault.accept_large(&|| Arc::new(state.clone()), object.clone(), &mut sent, NOW)).unwrap();
    };
    take(&t, &t.state, &first.object);
    let (before, late) = (t.state.clone(), second.object);
    let (t, _) = t.committed(first);
    t.customs.vault.scan(&t.state, NOW, NOW);
    // It passed its checks before the commitment was applied here.
    take(&t, &before, &late);
    assert_eq!(files(&disk).len(), 2);
    t.customs.vault.scan(&t.state, NOW, NOW);
    assert_eq!(files(&disk).len(), 1);
    assert_eq!(opened(&t.customs, &t.state, id).unwrap(), text(300_000));
    let has = |object: &SealedObject| {
        let entries = t.police.vault.intake.entries(&id, 1);
        entries.iter().any(|e| e.header_hash == object.envelope.hash() && e.apart.is_some())
    };
    t.police.vault.scan(&t.state, NOW, NOW);
    block(t.police.vault.sweep(&t.state, 19)).unwrap();
    assert!(has(&late), "this node's word is not enough");
    block(t.police.vault.sweep(&t.state, 20)).unwrap();
    assert!(!has(&late));
    assert_eq!(opened(&t.police, &t.state, id).unwrap(), text(300_000));
}

/// A start knows again what waits for its commitment: whoever made it wait has no more room than before.
#[test]
fn what_waits_counts_after_a_start_too() {
    let t = two();
    let (customs, origin) = (t.customs.id.clone(), t.police.id.clone());
    let open = |frames: FaultDisk, bodies: FaultDisk| {
        let ring = KeyRing::create(Grade::Secret, &mut Counter::at(1 << 40)).unwrap();
        let (id, federation) = (customs.clone(), "test".parse().unwrap());
        let node = node_id(&id, "1");
        Vault::new(Keys::new(id, federation, node, ring).unwrap(), over(frames, bodies).unwrap())
    };
    let (frames, bodies) = (FaultDisk::default(), FaultDisk::default());
    let prepared = t.seal(large(record(78), 300_000));
    let mut sent = pieces(&lies(&t.police.vault.sent(&prepared.object).content.unwrap()));
    let vault = open(frames.clone(), bodies.clone());
    block(vault.accept_large(&|| Arc::new(t.state.clone()), prepared.object.clone(), &mut sent, NOW)).unwrap();
    let vault = open(frames.after_kill(), bodies.after_kill());
    vault.scan(&t.state, NOW, NOW);
    let fits = |n: u64| vault.put_aside(&origin, (record(n), 1), (1 << 30) - 100_000).is_ok();
    assert!(!fits(77), "what waited before the start counts");
    let (t, _) = t.committed(prepared);
    vault.scan(&t.state, NOW, NOW);
    assert!(fits(76), "what was committed waits no more");
}

#[test]
fn what_nothing_names_is_swept() {
    let t = two();
    let object = t.seal(large(record(75), 300_000)).object;
    let content = lies(&t.police.vault.sent(&object).content.unwrap());
    let (bodies, frames) = (FaultDisk::default(), FaultDisk::default());
    let intake = over(frames, bodies.clone()).unwrap();
    block(take_in(&intake, &object, &content)).unwrap();
    let mut spool = intake.spool(Whose::Others, 300_000).unwrap();
    spool.write(&[1; 200_000]).unwrap();
    // One whose removal failed.
    bodies.create("000000ff.large").unwrap();
    assert_eq!(files(&bodies).len(), 3);
    block(intake.sweep()).unwrap();
    assert!(files(&bodies).len() == 2 && !files(&bodies).contains(&"000000ff.large".to_owned()));
    let entry = intake.entries(&record(75), 1).remove(0);
    assert_eq!(lies(&intake.content(&entry).unwrap()), content);
    drop(spool);
    assert_eq!(files(&bodies).len(), 1);
}

/// While content comes, the ledger goes on: what fits no more when it has come is not held.
#[test]
fn r_what_fits_no_more_when_its_content_has_come_is_not_held() {
    let disk = FaultDisk::default();
    let t = two_with(Tier::Provincial, disk.clone());
    let object = t.seal(large(record(93), 300_000)).object;
    let content = lies(&t.police.vault.sent(&object).content.unwrap());
    let lowered = with_ceiling(&t.state, &t.customs.id, Grade::Internal);
    let asked = AtomicUsize::new(0);
    let later = || match asked.fetch_add(1, Ordering::Relaxed) {
        0 => Arc::new(t.state.clone()),
        _ => Arc::new(lowered.clone()),
    };
    let mut sent = pieces(&content);
    let refused = block(t.customs.vault.accept_large(&later, object.clone(), &mut sent, NOW)).unwrap_err();
    assert_eq!(refused.to_string(), "refused: the label is above what this agency's systems may hold");
    assert!(sent.asked > 1 && files(&disk).is_empty() && !t.customs.vault.has(&object));
    t.take_large(object.clone(), &mut pieces(&content)).unwrap();
    assert!(t.customs.vault.has(&object));
}
