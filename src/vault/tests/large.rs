//! Objects whose content lies apart: straight from disk to disk, checked before and while it comes, and nothing left of
//! what was cut.

mod left;

use super::*;
use crate::domain::limits;
use crate::journal::Disk;
use crate::ledger::fixture::{suspended, with_ceiling, with_tier};
use crate::vault::large::Whose;
use std::collections::VecDeque;
use std::pin::Pin;

/// Content on its way, and how often it was asked for.
struct Sent {
    pieces: VecDeque<Result<Vec<u8>, String>>,
    asked: usize,
}

impl Pieces for Sent {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Result<Option<Vec<u8>>, String>> + Send + '_>> {
        self.asked += 1;
        let next = self.pieces.pop_front().transpose();
        Box::pin(async move { next })
    }
}

fn text(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| b'a' + (n % 26) as u8).collect()
}

fn large(id: RecordId, bytes: usize) -> Draft {
    Draft { texts: vec![text(bytes)], ..draft(id, Grade::Secret, &["customs"]) }
}

/// The content as it lies at its sender.
fn lies(content: &Content) -> Vec<u8> {
    let mut reader = content.reader().unwrap();
    let mut all = Vec::new();
    loop {
        let piece = reader.read(limits::PIECE_BYTES).unwrap();
        if piece.is_empty() {
            return all;
        }
        all.extend_from_slice(&piece);
    }
}

fn copied(envelope: &[u8]) -> (crate::seal::Envelope, crate::seal::ContentCheck) {
    let envelope = crate::seal::Envelope::from_bytes(envelope).unwrap();
    let check = crate::seal::ContentCheck::new(envelope.header()).unwrap();
    (envelope, check)
}

fn pieces(content: &[u8]) -> Sent {
    Sent { pieces: content.chunks(limits::PIECE_BYTES).map(|p| Ok(p.to_vec())).collect(), asked: 0 }
}

fn files(disk: &FaultDisk) -> Vec<String> {
    disk.list().unwrap().into_iter().filter(|name| name.ends_with(".large")).collect()
}

fn opened(party: &Party, state: &State, id: RecordId) -> Result<Vec<u8>, VaultError> {
    let held = party.vault.held(state, &id, 0, NOW)?.expect("it is held");
    let dir = tempfile::tempdir().unwrap();
    let mut intent = crate::audit::fixture::draft(1);
    (intent.stage, intent.object) = (Stage::Intent, Object::Record { id, version: 1 });
    let mut index = crate::audit::fixture::draft(2);
    (index.action, index.stage) = (Action::Index, Stage::Single);
    index.actor = Actor::Node { agency: party.id.clone(), node: node_id(&party.id, "1") };
    (index.origin, index.object) = (None, Object::Query { hash: [0; 32], disclosed: vec![(id, 1)] });
    let receipts = block(async {
        let audit = AuditLog::open(&System, dir.path()).unwrap();
        audit.record(vec![intent, index]).await.unwrap()
    });
    let whole = match party.vault.disclose(&held, &receipts[0]) {
        Err(VaultError::Whole) => None,
        whole => Some(whole?),
    };
    assert_eq!(whole.is_none(), held.sealed_bytes() > crate::seal::ENVELOPE_BYTES);
    // What lies apart is not in memory with it, and its grant is there twice.
    let envelope = if held.content.is_some() { 0 } else { held.sealed_bytes() };
    let parts = envelope + 2 * held.object.grant.to_bytes().len();
    assert!((parts..parts + 4096).contains(&held.bytes_in_memory()));
    // Whoever gives another text reads what it is about, however large the text is.
    let replaced = party.vault.disclose_to_replace(&held, &receipts[0])?;
    assert_eq!((replaced.meta.title.as_str(), replaced.portions.len()), ("题", usize::from(whole.is_some())));
    // Lists open no text, and the index no more than it takes.
    let listed = party.vault.disclose_beginning(&held, &receipts[0], 0)?;
    assert!(listed.portions.is_empty() && listed.meta.title == "题");
    let indexed = party.vault.text_for_index(&held, &receipts[1])?;
    // A text within its envelope comes as it lies there.
    let most = if held.content.is_some() { limits::INLINE_BYTES } else { crate::seal::ENVELOPE_BYTES };
    let mut reading = party.vault.disclose_in_pieces(held, &receipts[0])?;
    let mut all = Vec::new();
    while let Some((number, piece)) = party.vault.next_piece(&mut reading)? {
        assert!(number == 0 && piece.len() <= most);
        all.extend_from_slice(&piece);
    }
    assert!(reading.texts() == 1 && reading.meta.title == "题");
    assert_eq!(*indexed.portions[0].text, all[..all.len().min(limits::INDEXED_BYTES)]);
    assert!(whole.is_none_or(|w| w.portions.len() == 1 && *w.portions[0].text == all && w.meta.title == "题"));
    Ok(all)
}

/// A line to police that hands over what it holds.
struct Holder<'a>(&'a Party, &'a State);

impl PeerVault for Holder<'_> {
    fn push<'b>(
        &'b self,
        _: NodeId,
        _: &'b Outgoing,
    ) -> Pin<Box<dyn Future<Output = Result<PushState, String>> + Send + 'b>> {
        Box::pin(async { Err("nobody pushes here".into()) })
    }
    fn pull(
        &self,
        _: NodeId,
        token: [u8; 32],
        attempt: u32,
    ) -> Pin<Box<dyn Future<Output = Result<Option<Parts>, String>> + Send + '_>> {
        let served = self.0.vault.serve(self.1, &"customs".parse().unwrap(), (&token, attempt), |_| true);
        Box::pin(async move { Ok(served.unwrap().map(|(_, _, parts)| parts)) })
    }
    fn content(
        &self,
        _: NodeId,
        token: [u8; 32],
        header_hash: [u8; 32],
    ) -> Pin<Box<dyn Future<Output = Result<Box<dyn Pieces>, String>> + Send + '_>> {
        let customs = "customs".parse().unwrap();
        let served = self.0.vault.serve_content(self.1, &customs, (&token, &header_hash), |_| true).unwrap();
        Box::pin(async move {
            let (_, _, content) = served.ok_or_else(|| "has none".to_owned())?;
            Ok(Box::new(pieces(&lies(&content))) as Box<dyn Pieces>)
        })
    }
}

impl Two {
    /// Customs takes in what is pushed to it.
    fn take_large(&self, object: SealedObject, sent: &mut Sent) -> Result<(), VaultError> {
        let now = || Arc::new(self.state.clone());
        block(self.customs.vault.accept_large(&now, object, sent, NOW))
    }
}

fn pull(t: &Two, after_ms: u64) -> usize {
    let turn = t.customs.vault.begin_pulling(&t.police.id).unwrap();
    let at = At(NOW.plus_ms(after_ms));
    block(t.customs.vault.pull(&turn, &|| Arc::new(t.state.clone()), (&Holder(&t.police, &t.state), &at), &|_| true))
}

#[test]
fn sixteen_mebibytes_are_pushed_held_and_opened() {
    let disk = FaultDisk::default();
    let t = two_with(Tier::Provincial, disk.clone());
    let (id, bytes) = (record(80), 16 << 20);
    let prepared = t.seal(large(id, bytes));
    assert!(prepared.object.envelope.is_apart());
    let out = t.police.vault.sent(&prepared.object);
    assert!(out.head().len() < 16 << 10, "what stands before it is small: {}", out.head().len());
    let object = SealedObject::from_head(out.head()).unwrap();
    let mut sent = pieces(&lies(&out.content.unwrap()));
    t.take_large(object.clone(), &mut sent).unwrap();
    assert!(t.customs.vault.card(&t.state, &id, 0).unwrap().is_none(), "not committed, not exposed");
    assert_eq!(files(&disk).len(), 1);
    let (t, _) = t.committed(prepared);
    for party in [&t.police, &t.customs] {
        assert_eq!(opened(party, &t.state, id).unwrap(), text(bytes));
    }
    let held = t.customs.vault.held(&t.state, &id, 0, NOW).unwrap().unwrap();
    assert!(matches!(t.customs.vault.copy(&held), Err(VaultError::Whole)), "it fits in no single piece");
    let ((envelope, ..), content) = t.customs.vault.copy_in_pieces(&held).unwrap();
    let (copied, mut check) = copied(&envelope);
    assert!(copied.is_apart() && copied.hash() == object.envelope.hash());
    check.update(&lies(&content.unwrap())).unwrap();
    assert!(check.is_whole(), "a copy is checked against its header");
    // The same again is here already, and nothing more of it is read.
    let mut again = pieces(b"anything");
    t.take_large(object, &mut again).unwrap();
    assert_eq!((again.asked, files(&disk).len()), (0, 1));
}

/// A text that is sealed while it comes is the same record; one that breaks off, or is not what was said, leaves nothing.
#[test]
fn a_text_is_sealed_as_it_comes() {
    let disk = FaultDisk::default();
    let mut t = two();
    let police = Party::new("police", 1 << 20, Tier::Provincial, Grade::TopSecret, disk.clone());
    t.police = Party { sequence: t.police.sequence, ..police };
    let id = record(91);
    let text = text(2_000_000);
    let prepare = |pieces: &mut Sent, bytes: usize| {
        let coming = Coming { bytes, pieces };
        let empty = Draft { texts: Vec::new(), ..large(id, 0) };
        let now = || Arc::new(t.state.clone());
        block(t.police.vault.prepare_coming(now, empty, coming, NOW, &mut Counter::at(1 << 30)))
    };
    let cut = || Sent { pieces: [Ok(text.clone()), Err("the line was cut".to_owned())].into(), asked: 0 };
    assert!(matches!(prepare(&mut cut(), text.len()), Err(VaultError::Transfer(_))));
    for wrong in [text.len() - 1, text.len() + 1, 17 << 20, 30 << 20] {
        assert!(prepare(&mut pieces(&text), wrong).is_err(), "{wrong}");
    }
    assert!(files(&disk).is_empty() && t.police.vault.newest_version(&id).is_none());
    let prepared = prepare(&mut pieces(&text), text.len()).unwrap();
    assert_eq!(files(&disk).len(), 1);
    let (t, object) = t.committed(prepared);
    let mut sent = pieces(&lies(&t.police.vault.sent(&object).content.unwrap()));
    t.take_large(object, &mut sent).unwrap();
    for party in [&t.police, &t.customs] {
        assert_eq!(opened(party, &t.state, id).unwrap(), text);
    }
}

/// While a text comes, the ledger goes on: it is sealed by what the ledger says after its last piece, or not at all.
#[test]
fn what_fits_no_more_when_its_text_has_come_is_refused() {
    let disk = FaultDisk::default();
    let mut t = two();
    let police = Party::new("police", 1 << 20, Tier::Provincial, Grade::TopSecret, disk.clone());
    t.police = Party { sequence: t.police.sequence, ..police };
    let (id, text) = (record(92), text(600_000));
    let later = [
        (with_ceiling(&t.state, &t.customs.id, Grade::Internal), "an agency may not hold this label any more"),
        (with_ceiling(&t.state, &t.police.id, Grade::Internal), "an agency may not hold this label any more"),
        (suspended(&t.state, &t.customs.id), "an agency that it is for was suspended"),
        (with_tier(&t.state, &t.police.id, 30, Tier::County), "the label is above the originator's marking authority"),
    ];
    let prepare = |state: &State| {
        let (mut sent, empty) = (pieces(&text), Draft { texts: Vec::new(), ..large(id, 0) });
        let coming = Coming { bytes: text.len(), pieces: &mut sent };
        let now = || Arc::new(state.clone());
        block(t.police.vault.prepare_coming(now, empty, coming, NOW, &mut Counter::at(1 << 30))).map(|_| ())
    };
    for (state, why) in &later {
        assert_eq!(prepare(state).unwrap_err().to_string(), format!("refused: {why}"));
        assert!(files(&disk).is_empty() && t.police.vault.newest_version(&id).is_none(), "{why}");
    }
    prepare(&t.state).unwrap();
}

#[test]
fn what_is_small_stays_in_its_envelope() {
    let t = two();
    let prepared = t.seal(large(record(81), 60_000));
    assert!(!prepared.object.envelope.is_apart());
    assert!(t.police.vault.sent(&prepared.object).content.is_none());
}

#[test]
fn a_copy_has_its_content_in_it() {
    let t = two();
    let id = record(82);
    let prepared = t.seal(large(id, 300_000));
    let (t, head) = t.committed(prepared);
    let held = t.police.vault.held(&t.state, &id, 0, NOW).unwrap().unwrap();
    let (envelope, grant, audience) = t.police.vault.copy(&held).unwrap();
    let whole = SealedObject::from_parts(&envelope, &grant, &audience).unwrap();
    assert!(!whole.envelope.is_apart() && whole.envelope.hash() == head.envelope.hash());
    // Whole as it is, it is taken in as well.
    block(t.customs.vault.accept(&t.state, whole, NOW)).unwrap();
    assert_eq!(opened(&t.customs, &t.state, id).unwrap(), text(300_000));
}

#[test]
fn r_a_cut_transfer_leaves_nothing_and_is_taken_again() {
    let disk = FaultDisk::default();
    let t = two_with(Tier::Provincial, disk.clone());
    let id = record(83);
    let prepared = t.seal(large(id, 900_000));
    let content = lies(&t.police.vault.sent(&prepared.object).content.unwrap());
    let whole = pieces(&content).pieces;
    for (n, ends) in (0..whole.len()).flat_map(|n| [(n, false), (n, true)]) {
        let mut cut = Sent { pieces: whole.iter().take(n).cloned().collect(), asked: 0 };
        cut.pieces.extend((!ends).then(|| Err("the line was cut".to_owned())));
        let refused = t.take_large(prepared.object.clone(), &mut cut);
        assert!(matches!(refused, Err(VaultError::Transfer(_))), "{n}, {ends}: {refused:?}");
        assert!(files(&disk).is_empty() && t.customs.vault.refusals().is_empty(), "{n}, {ends}");
    }
    // Without its content it is nothing.
    let alone = block(t.customs.vault.accept(&t.state, prepared.object.clone(), NOW)).unwrap_err();
    assert_eq!(alone.to_string(), "refused: its content did not come with it");
    let object = prepared.object.clone();
    t.take_large(object, &mut pieces(&content)).unwrap();
    let (t, _) = t.committed(prepared);
    assert_eq!(opened(&t.customs, &t.state, id).unwrap(), text(900_000));
}

#[test]
fn r_changed_content_is_refused_with_its_originator_told() {
    let disk = FaultDisk::default();
    let t = two_with(Tier::Provincial, disk.clone());
    let id = record(84);
    let prepared = t.seal(large(id, 300_000));
    let content = lies(&t.police.vault.sent(&prepared.object).content.unwrap());
    let flipped = |at: usize| {
        let mut bytes = content.clone();
        bytes[at] ^= 1;
        bytes
    };
    let longer = [content.as_slice(), &[0]].concat();
    for bad in [flipped(0), flipped(content.len() / 2), flipped(content.len() - 1), longer] {
        let object = prepared.object.clone();
        let refused = t.take_large(object, &mut pieces(&bad)).unwrap_err();
        assert!(refused.blames_object(), "{refused}");
        assert!(files(&disk).is_empty());
    }
    assert_eq!(t.customs.vault.refusals().len(), 1);
}

/// What is not for this agency, or not signed, is refused before a byte of its content is asked for.
#[test]
fn r_no_content_is_read_before_its_object_is_checked() {
    let t = two();
    let mut above = large(record(85), 300_000);
    above.label.period = None;
    let unlawful = t.seal(above).object;
    let good = t.seal(large(record(86), 300_000)).object;
    let (envelope, mut grant, audience) = good.parts();
    *grant.last_mut().unwrap() ^= 1;
    let forged = SealedObject::from_parts(&envelope, &grant, &audience).unwrap();
    for object in [unlawful, forged] {
        let mut sent = pieces(&[0; 1000]);
        assert!(t.take_large(object, &mut sent).is_err());
        assert_eq!(sent.asked, 0);
    }
}

#[test]
fn r_content_is_served_to_whoever_is_named_and_nobody_else() {
    let t = two();
    let id = record(87);
    let prepared = t.seal(large(id, 300_000));
    let (t, object) = t.committed(prepared);
    t.customs.vault.scan(&t.state, NOW, NOW);
    let token = t.customs.vault.sync.lock().unwrap().wanted[&(id, 1)].token;
    let hash = object.envelope.hash();
    let serve = |agency: &str, token: [u8; 32], hash: [u8; 32], leaves: bool| {
        let served = t.police.vault.serve_content(&t.state, &agency.parse().unwrap(), (&token, &hash), |_| leaves);
        served.unwrap().map(|(record, version, _)| (record, version))
    };
    assert_eq!(serve("customs", token, hash, true), Some((id, 1)));
    assert_eq!(serve("cyberspace", token, hash, true), None);
    assert_eq!(serve("customs", [7; 32], hash, true), None);
    assert_eq!(serve("customs", token, [7; 32], true), None, "another object's");
    assert_eq!(serve("customs", token, hash, false), None, "what is withheld looks absent");
    assert_eq!(pull(&t, 1_000), 1);
    assert_eq!(opened(&t.customs, &t.state, id).unwrap(), text(300_000));
}

/// What was given before the damage is the beginning of the text, and the end says that it is not all.
#[test]
fn a_text_that_breaks_off_ends_in_an_error() {
    let disk = FaultDisk::default();
    let t = two_with(Tier::Provincial, disk.clone());
    let id = record(90);
    let prepared = t.seal(large(id, 300_000));
    let (t, _) = t.committed(prepared);
    t.customs.vault.scan(&t.state, NOW, NOW);
    assert_eq!(pull(&t, 1_000), 1);
    t.customs.vault.scan(&t.state, NOW, NOW);
    let held = t.customs.vault.held(&t.state, &id, 0, NOW).unwrap().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut intent = crate::audit::fixture::draft(1);
    (intent.stage, intent.object) = (Stage::Intent, Object::Record { id, version: 1 });
    let receipts = block(async { AuditLog::open(&System, dir.path()).unwrap().record(vec![intent]).await.unwrap() });
    let mut reading = t.customs.vault.disclose_in_pieces(held, &receipts[0]).unwrap();
    disk.edit(&files(&disk)[0], |bytes| *bytes.last_mut().unwrap() ^= 1);
    let mut given = Vec::new();
    let error = loop {
        match t.customs.vault.next_piece(&mut reading) {
            Ok(Some((_, piece))) => given.extend_from_slice(&piece),
            Ok(None) => unreachable!("it is not whole"),
            Err(error) => break error,
        }
    };
    assert!(!given.is_empty() && text(300_000).starts_with(&given), "{error}");
    assert!(t.customs.vault.held(&t.state, &id, 0, NOW).unwrap().is_none(), "out of use");
}

/// A byte of the file flips, or the file is gone: the copy is out of use, and fetched again from whoever holds it.
#[test]
fn a_damaged_content_is_fetched_again() {
    let disk = FaultDisk::default();
    let t = two_with(Tier::Provincial, disk.clone());
    let id = record(88);
    let prepared = t.seal(large(id, 300_000));
    let (t, _) = t.committed(prepared);
    t.customs.vault.scan(&t.state, NOW, NOW);
    assert_eq!(pull(&t, 1_000), 1);
    t.customs.vault.scan(&t.state, NOW, NOW);
    for (n, damage) in ["flipped", "cut", "gone"].into_iter().enumerate() {
        let file = files(&disk).pop().unwrap();
        match damage {
            "flipped" => disk.edit(&file, |bytes| bytes[70_000] ^= 1),
            "cut" => disk.edit(&file, |bytes| bytes.truncate(100_000)),
            _ => disk.remove(&file).unwrap(),
        }
        assert!(opened(&t.customs, &t.state, id).is_err(), "{damage}");
        assert!(t.customs.vault.held(&t.state, &id, 0, NOW).unwrap().is_none(), "{damage}: out of use");
        assert!(t.customs.vault.refusals().is_empty(), "{damage}: its originator is not to blame");
        t.customs.vault.scan(&t.state, NOW, NOW);
        assert_eq!(t.customs.vault.take_damaged(), [(id, 1)], "{damage}");
        assert_eq!(pull(&t, 10_000 * (n as u64 + 1)), 1, "{damage}");
        t.customs.vault.scan(&t.state, NOW, NOW);
        assert_eq!(opened(&t.customs, &t.state, id).unwrap(), text(300_000), "{damage}");
        assert_eq!(files(&disk).len(), 1, "{damage}: the damaged one is gone");
    }
}

fn over(frames: FaultDisk, bodies: FaultDisk) -> Result<Intake, VaultError> {
    let journal = Journal::over(Arc::new(frames), JournalOptions::default()).unwrap();
    Intake::over(journal, Arc::new(bodies), Box::new(Counter::at(77)))
}

async fn take_in(intake: &Intake, object: &SealedObject, content: &[u8]) -> Result<(), VaultError> {
    take_proposed(intake, (object, content), None).await
}

async fn take_proposed(
    intake: &Intake,
    (object, content): (&SealedObject, &[u8]),
    proposal: Option<Proposal>,
) -> Result<(), VaultError> {
    let mut spool = intake.spool(Whose::Own, content.len())?;
    for piece in content.chunks(50_000) {
        spool.write(piece)?;
    }
    let (object, apart) = (object.clone(), Some(spool.finish().await?));
    let take = Take { object, pull_checks: vec![], request: None, content: None, proposal, apart, at: NOW };
    intake.take(take).await
}

/// What was turned down is read by nobody any more, and takes no room: at once, or at the start after a stop between its
/// frame and its file.
#[test]
fn the_content_of_what_was_turned_down_goes() {
    let t = two();
    let object = t.seal(large(record(98), 300_000)).object;
    let content = lies(&t.police.vault.sent(&object).content.unwrap());
    let author = Handle::from_bytes([7; 16]);
    for (stand, stays) in [(Stand::Approved(vec![1]), 1), (Stand::Rejected, 0)] {
        let (frames, bodies) = (FaultDisk::default(), FaultDisk::default());
        let intake = over(frames.clone(), bodies.clone()).unwrap();
        let proposal = Proposal { author, stand: Stand::Waiting };
        block(take_proposed(&intake, (&object, &content), Some(proposal))).unwrap();
        let stopped = bodies.after_kill();
        assert_eq!(files(&stopped).len(), 1);
        block(intake.decide((record(98), 1), stand.clone(), Vec::new())).unwrap();
        assert_eq!(files(&bodies).len(), stays);
        for bodies in [bodies.after_kill(), stopped] {
            let again = over(frames.after_kill(), bodies.clone()).unwrap();
            assert_eq!(files(&bodies).len(), stays);
            let entry = again.entries(&record(98), 1).remove(0);
            assert_eq!(entry.proposal, Some(Proposal { author, stand: stand.clone() }));
            assert!(
                again.load(&entry).unwrap().envelope == object.envelope
                    && again.content(&entry).is_some() == (stays > 0)
            );
        }
    }
}

/// The content of its lower parts goes with it.
#[test]
fn the_content_of_lower_parts_of_what_was_turned_down_goes() {
    let t = two();
    let author = Handle::from_bytes([7; 16]);
    let [whole, part, other] = [98, 97, 96].map(|n| t.seal(large(record(n), 300_000)).object);
    let content = |object| lies(&t.police.vault.sent(object).content.unwrap());
    let (frames, bodies) = (FaultDisk::default(), FaultDisk::default());
    let intake = over(frames.clone(), bodies.clone()).unwrap();
    let stands = [Stand::Waiting, Stand::PartOf(record(98), 1), Stand::PartOf(record(50), 1)];
    for (object, stand) in [&whole, &part, &other].into_iter().zip(stands) {
        block(take_proposed(&intake, (object, &content(object)), Some(Proposal { author, stand }))).unwrap();
    }
    // One that is named and is no part of it stays.
    block(intake.decide((record(98), 1), Stand::Rejected, vec![record(97), record(96)])).unwrap();
    for bodies in [bodies.clone(), bodies.after_kill()] {
        assert_eq!(files(&bodies).len(), 1);
        let again = over(frames.after_kill(), bodies).unwrap();
        let has = |n| again.content(&again.entries(&record(n), 1)[0]).is_some();
        assert_eq!([98, 97, 96].map(has), [false, false, true]);
    }
}

/// Of several copies of a version the ledger commits one; the content of the others goes.
#[test]
fn the_content_of_what_was_not_committed_goes() {
    let disk = FaultDisk::default();
    let t = two_with(Tier::Provincial, disk.clone());
    let id = record(99);
    let copies: Vec<_> = (0..3u64)
        .map(|n| {
            let mut entropy = Counter::at((1 << 33) + (n << 20));
            block(t.police.vault.prepare(&t.state, large(id, 300_000), NOW, &mut entropy)).unwrap()
        })
        .collect();
    for copy in &copies {
        let mut sent = pieces(&lies(&t.police.vault.sent(&copy.object).content.unwrap()));
        t.take_large(copy.object.clone(), &mut sent).unwrap();
    }
    t.customs.vault.scan(&t.state, NOW, NOW);
    assert_eq!(files(&disk).len(), 3, "it is not known which one counts");
    let (t, _) = t.committed(copies.into_iter().nth(1).unwrap());
    t.customs.vault.scan(&t.state, NOW, NOW);
    assert_eq!(files(&disk).len(), 1);
    assert_eq!(opened(&t.customs, &t.state, id).unwrap(), text(300_000));
}

/// Every changing operation fails in turn, in both ways: what was acknowledged is there after a power cut, and what was
/// not leaves no file.
#[test]
fn what_lies_apart_survives_every_failure_of_the_disk() {
    let t = two();
    let object = t.seal(large(record(89), 300_000)).object;
    let content = lies(&t.police.vault.sent(&object).content.unwrap());
    let mut ran = 0;
    for (fail, leaves) in (0..).flat_map(|n| [(n, Leaves::Nothing), (n, Leaves::Everything)]) {
        let (bodies, frames) = (FaultDisk::default(), FaultDisk::default());
        bodies.fail_at(fail, leaves);
        let taken = over(frames.clone(), bodies.clone()).and_then(|i| block(take_in(&i, &object, &content))).is_ok();
        let after = bodies.after_power_cut();
        let intake = over(frames.after_power_cut(), after.clone()).unwrap();
        let known = intake.entries(&record(89), 1);
        assert!(!taken || known.len() == 1, "acknowledged");
        assert_eq!(files(&after).len(), known.len(), "a file for each that is known, and no other");
        for entry in known {
            assert_eq!(intake.load(&entry).unwrap().envelope, object.envelope);
            assert_eq!(lies(&intake.content(&entry).unwrap()), content);
        }
        block(take_in(&intake, &object, &content)).unwrap();
        assert_eq!(files(&after).len(), 1, "a second transfer of the same leaves no second file");
        ran += 1;
        if taken {
            break;
        }
    }
    assert!(ran > 2 * 14, "{ran}");
}

/// Keys of blobs are made ahead, those of large contents beside their frames: each finds its own again, after a start too.
#[test]
fn keys_that_are_made_ahead_and_keys_that_are_not_keep_apart() {
    let t = two();
    let whole = t.seal(large(record(92), 300_000)).object;
    let content = lies(&t.police.vault.sent(&whole).content.unwrap());
    let small: Vec<_> = (93..97).map(|n| t.seal(draft(record(n), Grade::Internal, &["customs"])).object).collect();
    let take = |object: &SealedObject| {
        let object = object.clone();
        Take { object, pull_checks: vec![], request: None, content: None, proposal: None, apart: None, at: NOW }
    };
    let (frames, bodies) = (FaultDisk::default(), FaultDisk::default());
    let mut intake = over(frames.clone(), bodies.clone()).unwrap();
    block(intake.take(take(&small[0]))).unwrap();
    block(take_in(&intake, &whole, &content)).unwrap();
    block(intake.take(take(&small[1]))).unwrap();
    for later in &small[2..] {
        let (frames, bodies) = (frames.after_power_cut(), bodies.after_power_cut());
        intake = over(frames, bodies).unwrap();
        block(intake.take(take(later))).unwrap();
        for object in [&whole, &small[0], &small[1], later] {
            let header = object.envelope.header();
            let entry = intake.entries(&header.id, header.version).remove(0);
            assert_eq!(intake.load(&entry).unwrap().envelope, object.envelope);
        }
        let entry = intake.entries(&record(92), 1).remove(0);
        assert_eq!(lies(&intake.content(&entry).unwrap()), content);
    }
}

#[test]
fn what_no_frame_names_is_removed_at_a_start() {
    let (bodies, frames) = (FaultDisk::default(), FaultDisk::default());
    let intake = over(frames.clone(), bodies.clone()).unwrap();
    let mut spool = intake.spool(Whose::Others, 300_000).unwrap();
    spool.write(&[1; 200_000]).unwrap();
    let killed = bodies.after_kill();
    assert_eq!(files(&killed).len(), 1, "the process died in the middle of it");
    let _intake = over(frames.after_kill(), killed.clone()).unwrap();
    assert!(files(&killed).is_empty());
}

#[test]
fn no_more_are_written_at_a_time_than_may() {
    let intake = over(FaultDisk::default(), FaultDisk::default()).unwrap();
    let mut others: Vec<_> = std::iter::from_fn(|| intake.spool(Whose::Others, 1_000).ok()).take(100).collect();
    assert_eq!(others.len(), 6);
    assert!(matches!(intake.spool(Whose::Others, 1_000), Err(VaultError::NotYet(_))));
    assert!(intake.spool(Whose::Own, 1_000).is_ok(), "what is published here has room of its own");
    others.pop();
    assert!(intake.spool(Whose::Others, 1_000).is_ok(), "what is over is free again");
}
