//! Who is served, and who holds up whom.

use super::super::within::is_within;
use super::*;
use crate::journal::{Host, Stalled};
use crate::ledger::fixture::{removed, with_ceiling};
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

/// Somebody copies the pull check of a record into a grant of their own: the record can be pulled all the same.
#[test]
fn r_a_copied_pull_check_hides_nothing() {
    let t = two();
    let (first, second) = (t.seal(draft(record(16), Grade::Secret, &["customs"])), record(17));
    let (mut t, first) = t.committed(first);
    let customs = t.customs.id.clone();
    t.customs.vault.scan(&t.state, NOW, NOW);
    let token = t.customs.vault.sync.lock().unwrap().wanted[&(record(16), 1)].token;
    let other = t.seal(draft(second, Grade::Secret, &["customs"]));
    // As a forged grant would have it: both under one check.
    let take = Take {
        object: other.object.clone(),
        pull_checks: vec![crate::seal::pull_check(&token)],
        request: None,
        content: None,
        proposal: None,
        apart: None,
        at: NOW,
    };
    let entry = t.police.vault.intake.entries(&second, 1).remove(0);
    assert!(t.police.vault.intake.set_aside((second, 1), &entry), "so that the copy with the check takes its place");
    block(t.police.vault.intake.take(take)).unwrap();
    t.police.apply(&mut t.state, 21, other.command);
    let served: Vec<_> = (0..2)
        .map(|attempt| {
            t.police.vault.serve(&t.state, &customs, (&token, attempt), |_| true).unwrap().map(|(id, ..)| id)
        })
        .collect();
    assert_eq!(served, [Some(record(16)), Some(second)], "one after the other");
    assert!(t.police.vault.serve(&t.state, &"cyberspace".parse().unwrap(), (&token, 0), |_| true).unwrap().is_none());
    assert_eq!(first.envelope.header().id, record(16));
}

/// What may not leave a node looks like what is not there; what may is served.
#[test]
fn r_what_is_withheld_looks_absent() {
    let t = owed();
    let customs = &t.customs.id;
    let tokens: Vec<_> = t.customs.vault.sync.lock().unwrap().wanted.values().map(|w| w.token).collect();
    let serve = |token, most| t.police.vault.serve(&t.state, customs, (token, 0), |label| label.grade <= most).unwrap();
    for token in &tokens {
        assert!(serve(token, Grade::Internal).is_none() && serve(token, Grade::Secret).is_some());
    }
    assert_eq!(tokens.len(), 3);
}

/// Whether a question is left without an answer, by its token and how many came before.
type Silent = Box<dyn Fn(&[u8; 32], usize) -> bool + Send + Sync>;

/// A line to police that does not answer some questions, and notes which object each was about.
struct Wire<'a> {
    police: &'a Party,
    state: &'a State,
    silent: Silent,
    asked: std::sync::Mutex<Vec<[u8; 32]>>,
}

impl Wire<'_> {
    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl PeerVault for Wire<'_> {
    fn push<'b>(
        &'b self,
        _: NodeId,
        _: &'b Outgoing,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<PushState, String>> + Send + 'b>> {
        Box::pin(async { Err("nobody pushes here".into()) })
    }
    fn pull(
        &self,
        _: NodeId,
        token: [u8; 32],
        attempt: u32,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Option<Parts>, String>> + Send + '_>> {
        Box::pin(async move {
            let mut asked = self.asked.lock().unwrap();
            let silent = (self.silent)(&token, asked.len());
            asked.push(token);
            if silent {
                return Err("no answer in time".to_owned());
            }
            let served = self.police.vault.serve(self.state, &"customs".parse().unwrap(), (&token, attempt), |_| true);
            Ok(served.unwrap().map(|(_, _, parts)| parts))
        })
    }
    fn content(
        &self,
        _: NodeId,
        _: [u8; 32],
        _: [u8; 32],
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Box<dyn Pieces>, String>> + Send + '_>> {
        Box::pin(async { Err("nothing here lies apart".into()) })
    }
}

/// Three records of police that customs is owed and has not.
fn owed() -> Two {
    let mut t = two();
    for n in 0..3 {
        let prepared = block(t.police.vault.prepare(
            &t.state,
            draft(record(30 + n), Grade::Secret, &["customs"]),
            NOW,
            &mut Counter::at((2 << 32) + (n << 20)),
        ));
        t.police.apply(&mut t.state, 20 + n, prepared.unwrap().command);
    }
    t.customs.vault.scan(&t.state, NOW, NOW);
    t
}

fn pull(t: &Two, wire: &Wire<'_>, after_ms: u64) -> usize {
    let turn = t.customs.vault.begin_pulling(&t.police.id).unwrap();
    block(t.customs.vault.pull(&turn, &|| Arc::new(t.state.clone()), (wire, &At(NOW.plus_ms(after_ms))), &|_| true))
}

/// An origin that owes much and does not answer holds up nobody else's objects, and is asked once in a go.
#[test]
fn a_silent_origin_holds_up_nobody() {
    let t = owed();
    let vault = &t.customs.vault;
    assert!(vault.due(NOW).is_empty(), "a push usually comes first");
    let later = NOW.plus_ms(1_000);
    let wire = Wire { police: &t.police, state: &t.state, silent: Box::new(|_, n| n < 2), asked: Default::default() };
    assert_eq!(vault.due(later), std::slice::from_ref(&t.police.id));
    {
        let _turn = vault.begin_pulling(&t.police.id).unwrap();
        assert!(vault.due(later).is_empty() && vault.begin_pulling(&t.police.id).is_none(), "one at a time");
    }
    assert_eq!(pull(&t, &wire, 1_000), 0);
    assert_eq!(wire.asked(), 1, "the other two did not wait for it again");
    pull(&t, &wire, 2_000);
    assert_eq!(pull(&t, &wire, 9_000), 3);
}

/// What there is no room for is not taken in, and nobody is blamed; it comes when there is.
#[test]
fn what_has_no_room_is_pulled_when_there_is() {
    let t = owed();
    let wire = Wire { police: &t.police, state: &t.state, silent: Box::new(|_, _| false), asked: Default::default() };
    let left = std::sync::atomic::AtomicU64::new(2);
    let one_less = |n: u64| n.checked_sub(1);
    let room = |bytes: u64| {
        assert!(bytes > 0);
        let relaxed = std::sync::atomic::Ordering::Relaxed;
        left.fetch_update(relaxed, relaxed, one_less).is_ok()
    };
    let turn = t.customs.vault.begin_pulling(&t.police.id).unwrap();
    let at = At(NOW.plus_ms(1_000));
    assert_eq!(block(t.customs.vault.pull(&turn, &|| Arc::new(t.state.clone()), (&wire, &at), &room)), 2);
    drop(turn);
    assert!(t.customs.vault.refusals().is_empty());
    t.customs.vault.scan(&t.state, NOW, NOW);
    assert_eq!(pull(&t, &wire, 9_000), 1);
}

/// A go may last for hours: each object is held against what the ledger says when its turn comes.
#[test]
fn a_ceiling_that_is_lowered_amid_a_go_counts_for_the_rest_of_it() {
    let t = owed();
    let lowered = with_ceiling(&t.state, &t.customs.id, Grade::Internal);
    let wire = Wire { police: &t.police, state: &t.state, silent: Box::new(|_, _| false), asked: Default::default() };
    let states = || Arc::new(if wire.asked() == 0 { t.state.clone() } else { lowered.clone() });
    let turn = t.customs.vault.begin_pulling(&t.police.id).unwrap();
    let at = At(NOW.plus_ms(1_000));
    assert_eq!(block(t.customs.vault.pull(&turn, &states, (&wire, &at), &|_| true)), 1);
    assert!(wire.asked() >= 3 && t.customs.vault.records().len() == 1);
}

/// One object whose question is never answered keeps none behind it.
#[test]
fn a_slow_object_holds_up_no_other() {
    let t = owed();
    let first = t.customs.vault.sync.lock().unwrap().wanted.values().next().unwrap().token;
    let silent = Box::new(move |token: &[u8; 32], _| *token == first);
    let wire = Wire { police: &t.police, state: &t.state, silent, asked: Default::default() };
    assert_eq!(pull(&t, &wire, 1_000), 0, "the slow one came first");
    assert_eq!(pull(&t, &wire, 9_000), 2, "and then last");
}

/// A clock that somebody sets, beside one that nobody does.
struct Jumped {
    now: Millis,
    steady: Millis,
}

impl crate::domain::time::Clock for Jumped {
    fn now(&self) -> Millis {
        self.now
    }

    fn steady(&self) -> Millis {
        self.steady
    }
}

/// A clock that is set back by a day, or ahead, puts nothing off.
#[test]
fn a_clock_that_jumps_delays_no_pull() {
    const DAY_MS: u64 = 86_400_000;
    for now in [Millis(NOW.0 - DAY_MS), NOW.plus_ms(DAY_MS)] {
        let t = owed();
        let vault = &t.customs.vault;
        let silent = Box::new(|_: &[u8; 32], n| n < 1);
        let wire = Wire { police: &t.police, state: &t.state, silent, asked: Default::default() };
        assert_eq!(pull(&t, &wire, 1_000), 0, "it does not answer: there is a pause");
        let steady = NOW.plus_ms(9_000);
        assert_eq!(vault.due(steady), std::slice::from_ref(&t.police.id), "at {now:?}");
        let turn = vault.begin_pulling(&t.police.id).unwrap();
        assert_eq!(
            block(vault.pull(&turn, &|| Arc::new(t.state.clone()), (&wire, &Jumped { now, steady }), &|_| true)),
            3
        );
    }
}

fn on(host: &Stalled) -> Arc<dyn Host> {
    Arc::new(host.clone())
}

/// Objects that wait for a disk that stands still are bounded; whoever comes later hears so, and nothing is closed by it.
#[test]
fn a_disk_that_stands_still_turns_objects_away() {
    let t = two();
    let object = t.seal(draft(record(18), Grade::Internal, &["customs"])).object;
    let host = Stalled::default();
    let mut intake = Intake::open(&on(&host), Path::new("/vault"), Box::new(Counter::at(9))).unwrap();
    intake.hold_at_most(2 * object.to_blob().len());
    let take = || Take {
        object: object.clone(),
        pull_checks: Vec::new(),
        request: None,
        content: None,
        proposal: None,
        apart: None,
        at: NOW,
    };
    for _ in 0..2 {
        // Who asked goes away; what was asked stands.
        let waited = block(async { timeout(Duration::ZERO, intake.take(take())).await });
        assert!(waited.is_err(), "it waits for the disk");
    }
    assert!(matches!(block(intake.take(take())), Err(VaultError::Busy)));
    assert!(!intake.is_closed() && intake.all().is_empty());
    host.go();
    assert_eq!(intake.all(), [(record(18), 1)]);
    let (taken, ()) = block(async { tokio::join!(intake.take(take()), async { host.go() }) });
    taken.unwrap();
}

/// Who asked goes away, and asks again: the first is still on its way, and is known by its request once it is there.
#[test]
fn what_waits_for_the_disk_is_under_way_whoever_left() {
    let t = two();
    let object = t.seal(draft(record(19), Grade::Internal, &["customs"])).object;
    let host = Stalled::default();
    let intake = Intake::open(&on(&host), Path::new("/vault"), Box::new(Counter::at(9))).unwrap();
    let (pull_checks, request) = (Vec::new(), Some([7; 32]));
    let take = Take { object, pull_checks, request, content: None, proposal: None, apart: None, at: NOW };
    assert!(!intake.is_under_way(&[7; 32]));
    assert!(block(async { timeout(Duration::ZERO, intake.take(take)).await }).is_err(), "it waits for the disk");
    assert!(intake.is_under_way(&[7; 32]) && intake.by_request(&[7; 32]).is_none());
    host.go();
    assert!(!intake.is_under_way(&[7; 32]) && intake.by_request(&[7; 32]) == Some((record(19), 1)));
}

/// Lines of another node of police: to the first, and to others who have nothing.
struct Within<'a> {
    first: &'a Party,
    state: &'a State,
    asked: std::sync::Mutex<Vec<(NodeId, [u8; 32])>>,
}

impl PeerVault for Within<'_> {
    fn push<'b>(
        &'b self,
        _: NodeId,
        _: &'b Outgoing,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<PushState, String>> + Send + 'b>> {
        Box::pin(async { Err("nobody pushes here".into()) })
    }
    fn pull(
        &self,
        node: NodeId,
        token: [u8; 32],
        attempt: u32,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Option<Parts>, String>> + Send + '_>> {
        Box::pin(async move {
            self.asked.lock().unwrap().push((node, token));
            if node != node_id(&self.first.id, "1") {
                return Ok(None);
            }
            let served = self.first.vault.serve(self.state, &self.first.id, (&token, attempt), |_| true);
            Ok(served.unwrap().map(|(_, _, parts)| parts))
        })
    }
    fn content(
        &self,
        _: NodeId,
        _: [u8; 32],
        _: [u8; 32],
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Box<dyn Pieces>, String>> + Send + '_>> {
        Box::pin(async { Err("nothing here lies apart".into()) })
    }
}

/// Of what one node of an agency shared with others another one knows by the ledger, since the pair keys are the agency's;
/// it pulls it from the first, or from whoever holds it when the first is gone. What stays in the agency it asks the agency's
/// own nodes for, and nobody else is told of it or served.
#[test]
fn another_node_of_the_agency_pulls_what_the_first_has() {
    let t = two();
    let shared = t.seal(draft(record(40), Grade::Secret, &["customs"]));
    block(t.customs.vault.accept(&t.state, shared.object.clone(), NOW)).unwrap();
    let (mut t, _) = t.committed(shared);
    let alone = t.seal(draft(record(41), Grade::Internal, &[]));
    t.police.apply(&mut t.state, 21, alone.command);
    let police = t.police.id.clone();

    let first = KeyRing::create(Grade::TopSecret, &mut Counter::at(1 << 20)).unwrap();
    let ring = first.for_another_node(&mut Counter::at(3 << 40)).unwrap();
    let keys = Keys::new(police.clone(), "test".parse().unwrap(), node_id(&police, "2"), ring).unwrap();
    let journal = Journal::over(Arc::new(FaultDisk::default()), JournalOptions::default()).unwrap();
    let intake = Intake::over(journal, Arc::new(FaultDisk::default()), Box::new(Counter::at(4 << 40))).unwrap();
    let second = Vault::new(keys, intake);
    let wanted = |vault: &Vault| -> Vec<((RecordId, u32), [u8; 32])> {
        vault.sync.lock().unwrap().wanted.iter().map(|(key, w)| (*key, w.token)).collect()
    };
    second.scan(&t.state, NOW, NOW);
    let found = wanted(&second);
    assert_eq!(found.len(), 2, "{:?}", second.owed());
    let token_of = |id| found.iter().find(|(key, _)| *key == (id, 1)).unwrap().1;
    let (token, kept) = (token_of(record(40)), token_of(record(41)));
    assert!(is_within(&kept, (record(41), 1)) && !is_within(&token, (record(40), 1)));
    t.police.vault.scan(&t.state, NOW, NOW);
    assert!(wanted(&t.police.vault).is_empty(), "who published it wants it from nobody");

    let serve = |to: &AgencyId, token| t.police.vault.serve(&t.state, to, (token, 0), |_| true).unwrap();
    let mut forged = kept;
    forged[31] ^= 1;
    assert!(serve(&t.customs.id, &kept).is_none(), "it is another agency's");
    assert!(serve(&police, &forged).is_none(), "it does not prove the agency's secret");

    let later = removed(&t.state, node_id(&police, "1"));
    assert!(t.police.vault.serve(&t.state, &police, (&token, 0), |_| true).unwrap().is_some());
    let (_, _, (envelope, grant, audience)) =
        t.customs.vault.serve(&later, &police, (&token, 0), |_| true).unwrap().unwrap();
    let object = SealedObject::from_parts(&envelope, &grant, &audience).unwrap();
    block(second.accept(&later, object, NOW)).unwrap();
    assert!(second.held(&later, &record(40), 0, NOW).unwrap().is_some());
    // Customs is on the line, and has nothing of it: only the first of police is asked.
    let wire = Within { first: &t.police, state: &t.state, asked: Default::default() };
    let turn = second.begin_pulling(&police).unwrap();
    block(second.pull(&turn, &|| Arc::new(t.state.clone()), (&wire, &At(NOW.plus_ms(1_000))), &|_| true));
    drop(turn);
    assert!(second.held(&t.state, &record(41), 0, NOW).unwrap().is_some());
    let asked = wire.asked.lock().unwrap().clone();
    assert!(asked.iter().all(|(node, t)| *t != kept || *node == node_id(&police, "1")), "{asked:?}");
    second.scan(&t.state, NOW, NOW);
    assert!(wanted(&second).is_empty() && second.owed().is_empty());
}
