//! The log on a real journal: receipts, reopening, searching, exporting, reporting.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

use super::error::AuditError;
use super::event::{Action, Actor, Decision, Event, EventDraft, MAX_EVENT_BYTES, Object, Stage, pseudonym};
use super::fixture::{ORIGIN, draft, key, record};
use super::merkle::{leaf_hash, verify_consistency, verify_inclusion};
use super::note::Checkpoint;
use super::report::AccessReport;
use super::tiles::write_file;
use super::verify::verify_dir;
use super::writer::{AuditLog, Filter};
use crate::domain::canon::CanonError;
use crate::domain::ids::{AgencyId, NodeId};
use crate::domain::person::Role;
use crate::domain::time::Millis;
use crate::journal::{Stalled, System};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::timeout;

async fn log_of(dir: &TempDir, n: u8) -> AuditLog {
    let log = AuditLog::open(&System, dir.path()).unwrap();
    assert_eq!(log.record((0..n).map(draft).collect()).await.unwrap().len(), usize::from(n));
    log
}

fn agency(name: &str) -> AgencyId {
    name.parse().unwrap()
}

#[test]
fn events_have_one_form() {
    let mut drafts = vec![draft(1), draft(2), draft(3), draft(4)];
    drafts[1].object = Object::Query { hash: [3; 32], disclosed: vec![(record(1), 2), (record(9), 1)] };
    drafts[1].actor = Actor::Node { agency: agency("customs"), node: NodeId(0xa1) };
    drafts[2].object = Object::Text("border-2026".to_owned());
    drafts[2].label = None;
    drafts[3].object = Object::None;
    drafts[3].origin = None;
    for draft in drafts {
        let event = draft.at(77);
        let bytes = event.to_bytes().unwrap();
        assert_eq!(Event::from_bytes(&bytes).unwrap(), event);
        for cut in 0..bytes.len() {
            assert!(Event::from_bytes(&bytes[..cut]).is_err());
        }
        assert_eq!(Event::from_bytes(&[bytes.as_slice(), &[0]].concat()), Err(CanonError::Trailing));
    }
    for action in Action::ALL {
        assert_eq!(action.to_string().parse::<Action>().unwrap(), *action);
        assert_eq!(Action::from_code(action.code()), Some(*action));
    }
    let codes: BTreeSet<_> = Action::ALL.iter().map(|a| a.code()).collect();
    assert_eq!(codes.len(), Action::ALL.len());
}

#[test]
fn events_that_do_not_fit_are_refused() {
    let with = |change: fn(&mut Event)| {
        let mut event = draft(1).at(0);
        change(&mut event);
        event.to_bytes()
    };
    assert!(with(|e| e.purpose = "虎".repeat(200)).is_ok());
    assert!(with(|e| e.purpose = "虎".repeat(201)).is_err());
    assert!(with(|e| e.rule = "r".repeat(121)).is_err());
    assert!(with(|e| e.object = Object::Text("t".repeat(201))).is_err());
    let query = |n| Object::Query { hash: [0; 32], disclosed: vec![(record(1), 1); n] };
    let mut event = draft(1).at(0);
    event.object = query(3_000);
    event.purpose = "虎".repeat(200);
    let bytes = event.to_bytes().unwrap();
    assert!(bytes.len() <= MAX_EVENT_BYTES);
    assert_eq!(Event::from_bytes(&bytes).unwrap(), event);
    event.object = query(3_001);
    assert!(event.to_bytes().is_err());
}

#[tokio::test]
async fn receipts_cover_allowed_intents_to_disclose_only() {
    let dir = TempDir::new().unwrap();
    let log = AuditLog::open(&System, dir.path()).unwrap();
    let mut intent = draft(1);
    intent.stage = Stage::Intent;
    let mut denied = intent.clone();
    denied.decision = Decision::Deny;
    let mut admin = intent.clone();
    admin.action = Action::SyncPush;
    let mut search = intent.clone();
    search.action = Action::Search;
    search.object = Object::Query { hash: [0; 32], disclosed: vec![(record(4), 2), (record(5), 1)] };
    let all = log.record(vec![intent, denied, admin, search, draft(1)]).await.unwrap();
    assert_eq!(all.iter().map(|r| r.seq()).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert_eq!(all.iter().map(|r| r.covers(record(1), 1)).collect::<Vec<_>>(), [true, false, false, false, false]);
    assert!(!all[0].covers(record(1), 2) && !all[0].covers(record(2), 1));
    assert!(all[3].covers(record(4), 2) && all[3].covers(record(5), 1) && !all[3].covers(record(4), 1));
}

#[tokio::test]
async fn reopening_gives_the_same_log() {
    let dir = TempDir::new().unwrap();
    let (before, events) = {
        let log = log_of(&dir, 20).await;
        (log.head(), log.read(0, 100).unwrap())
    };
    assert_eq!(events.len(), 20);
    let log = AuditLog::open(&System, dir.path()).unwrap();
    assert_eq!(log.head(), before);
    assert_eq!(log.read(0, 100).unwrap(), events);
    let receipt = log.record(vec![draft(20)]).await.unwrap();
    assert_eq!(receipt[0].seq(), 20);
    let proof = log.consistency(20, 21).unwrap();
    assert_eq!(verify_consistency(20, 21, &before.1, &log.root(), &proof), Ok(()));
    let proof = log.inclusion(7, 21).unwrap();
    assert_eq!(verify_inclusion(&leaf_hash(&log.leaf(7).unwrap()), 7, 21, &proof, &log.root()), Ok(()));
    assert!(log.inclusion(21, 21).is_err() && log.consistency(1, 22).is_err() && log.leaf(21).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_callers_get_each_place_once() {
    let dir = TempDir::new().unwrap();
    let log = AuditLog::open(&System, dir.path()).unwrap();
    let tasks: Vec<_> = (0..50u8)
        .map(|n| {
            let log = log.clone();
            tokio::spawn(async move { log.record(vec![draft(n), draft(n)]).await.unwrap() })
        })
        .collect();
    let mut seqs = BTreeSet::new();
    for task in tasks {
        let pair = task.await.unwrap();
        assert_eq!(pair[0].seq() + 1, pair[1].seq());
        seqs.extend(pair.iter().map(|r| r.seq()));
    }
    assert_eq!(seqs, (0..100).collect());
    assert_eq!(log.size(), 100);
    let root = log.root();
    drop(log);
    assert_eq!(AuditLog::open(&System, dir.path()).unwrap().root(), root);
}

#[tokio::test]
async fn a_refused_event_takes_no_place() {
    let dir = TempDir::new().unwrap();
    let log = log_of(&dir, 3).await;
    let mut long = draft(1);
    long.purpose = "x".repeat(201);
    assert!(matches!(log.record(vec![draft(1), long]).await, Err(AuditError::Field("purpose"))));
    assert_eq!(log.record(vec![draft(1)]).await.unwrap()[0].seq(), 3);
    assert!(log.record(Vec::new()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_failed_write_ends_the_log() {
    let dir = TempDir::new().unwrap();
    // The journal refuses a frame of this size, which stands for any failed write.
    let options = crate::journal::JournalOptions { max_frame_bytes: 1_000, ..Default::default() };
    let log = AuditLog::open_with(&System, dir.path(), options).unwrap();
    assert!(log.record(vec![draft(1)]).await.is_ok());
    let mut big = draft(2);
    big.object = Object::Query { hash: [0; 32], disclosed: vec![(record(1), 1); 100] };
    assert!(matches!(log.record(vec![big]).await, Err(AuditError::Stopped(_))));
    assert!(matches!(log.record(vec![draft(3)]).await, Err(AuditError::Stopped(_))));
    assert_eq!(log.size(), 1);
}

#[tokio::test]
async fn search_finds_by_each_condition() {
    let dir = TempDir::new().unwrap();
    let log = log_of(&dir, 12).await;
    let mut denied = draft(4);
    denied.decision = Decision::Deny;
    denied.actor = Actor::Node { agency: agency("customs"), node: NodeId(1) };
    log.record(vec![denied]).await.unwrap();
    let seqs = |f: Filter| log.search(&f).unwrap().iter().map(|e| e.seq).collect::<Vec<_>>();
    let none = Filter::default;
    assert_eq!(seqs(none()).len(), 13);
    assert_eq!(seqs(Filter { person: Some("clerk-1".into()), ..none() }), [1, 4, 7, 10]);
    assert_eq!(seqs(Filter { record: Some(record(4)), ..none() }), [4, 12]);
    assert_eq!(seqs(Filter { record: Some(record(4)), decision: Some(Decision::Deny), ..none() }), [12]);
    assert_eq!(seqs(Filter { record: Some(record(4)), limit: Some(1), ..none() }), [12], "the newest");
    assert_eq!(seqs(Filter { agency: Some(agency("customs")), ..none() }), [12]);
    assert_eq!(seqs(Filter { since: Some(Millis(1_700_000_000_010)), ..none() }), [10, 11]);
    assert_eq!(seqs(Filter { before: Some(5), limit: Some(2), ..none() }), [3, 4]);
    assert!(seqs(Filter { limit: Some(0), ..none() }).is_empty());
    assert!(seqs(Filter { before: Some(0), ..none() }).is_empty());
}

#[tokio::test]
async fn an_export_of_an_earlier_head_verifies() {
    let dir = TempDir::new().unwrap();
    let log = log_of(&dir, 200).await;
    log.record((0..100).map(draft).collect()).await.unwrap();
    let checkpoint = log.checkpoint(&key(1), ORIGIN).unwrap();
    log.record(vec![draft(1)]).await.unwrap();

    let out = TempDir::new().unwrap();
    let head = log.export(&checkpoint, &mut |path, bytes| write_file(out.path(), path, bytes)).unwrap();
    let found = verify_dir(out.path(), Some(key(1).public())).unwrap();
    assert_eq!((found.size, found.root), (300, head.root));

    let foreign = Checkpoint::new(ORIGIN, 300, [1; 32]).sign(&key(1)).unwrap().to_string();
    assert!(log.export(&foreign, &mut |_, _| Ok(())).is_err());
}

#[tokio::test]
async fn originators_are_told_of_completed_accesses_without_names() {
    let dir = TempDir::new().unwrap();
    let log = AuditLog::open(&System, dir.path()).unwrap();
    let customs = agency("customs");
    let mut intent = draft(1);
    intent.stage = Stage::Intent;
    let mut denied = draft(2);
    denied.decision = Decision::Deny;
    let mut other = draft(3);
    other.origin = Some(agency("police"));
    let mut history = draft(4);
    history.action = Action::History;
    log.record(vec![intent, draft(1), denied, other, history, draft(5)]).await.unwrap();
    assert_eq!(log.events_about(&customs, 0, 9).unwrap().iter().map(|e| e.seq).collect::<Vec<_>>(), [1, 5]);
    assert_eq!(log.events_about(&customs, 2, 9).unwrap().len(), 1);
    assert_eq!(log.events_about(&customs, 0, 1).unwrap().len(), 1);

    let make = |from| AccessReport::make(&log, &customs, from, 9, &key(1), ORIGIN, |_| Some(Role::Analyst)).unwrap();
    assert!(make(6).is_none());
    let report = make(0).unwrap();
    let bytes = report.to_bytes();
    assert!(!bytes.windows(5).any(|w| w == b"clerk"));
    let read = AccessReport::from_bytes(&bytes).unwrap();
    assert_eq!(read, report);
    assert_eq!(read.verify(&key(1).public(), ORIGIN, &customs).unwrap().size, 6);
    assert_eq!(read.items[0].event.records, [(record(1), 1)]);
    assert_eq!(read.items[1].event.pseudonym, Some([2; 16]));
    assert!(read.items[0].matches(&log.leaf(1).unwrap(), &customs));
    assert!(!read.items[0].matches(&log.leaf(5).unwrap(), &customs));
    assert!(!read.items[0].matches(&log.leaf(1).unwrap(), &agency("police")));

    assert!(read.verify(&key(2).public(), ORIGIN, &customs).is_err());
    assert!(read.verify(&key(1).public(), "hufu/other/1", &customs).is_err());
    assert!(read.verify(&key(1).public(), ORIGIN, &agency("police")).is_err());
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        let accepted =
            AccessReport::from_bytes(&bad).is_ok_and(|r| r.verify(&key(1).public(), ORIGIN, &customs).is_ok());
        assert!(!accepted, "byte {at}");
    }
}

#[test]
fn pseudonyms_are_stable_and_keyed() {
    assert_eq!(pseudonym(&[1; 32], "clerk"), pseudonym(&[1; 32], "clerk"));
    assert_ne!(pseudonym(&[1; 32], "clerk"), pseudonym(&[2; 32], "clerk"));
    assert_ne!(pseudonym(&[1; 32], "clerk"), pseudonym(&[1; 32], "clerk-2"));
}

/// Whoever comes while the disk stands still hears so; what was given to it before is written once it goes on, whether or
/// not somebody still waits, and so is the end of an act that was done.
#[tokio::test]
async fn a_disk_that_stands_still_turns_new_events_away() {
    let host = Stalled::default();
    let log = AuditLog::open(&host, Path::new("/audit")).unwrap();
    let many = |stage| (0..1_000).map(|_| EventDraft { stage, ..draft(1) }).collect::<Vec<_>>();
    let mut given = 0u64;
    let refused = loop {
        match timeout(Duration::ZERO, log.record(many(Stage::Intent))).await {
            Err(_) => given += 1_000,
            Ok(answer) => break answer,
        }
        assert!(given < 1_000_000, "what waits is bounded");
    };
    assert!(matches!(refused, Err(AuditError::Busy)));
    assert!(given > 10_000 && log.size() == 0 && log.stopped().is_none());
    assert!(timeout(Duration::ZERO, log.record(many(Stage::Outcome))).await.is_err(), "it waits as the others do");
    host.go();
    assert_eq!(log.size(), given + 1_000);
    let next = log.record(vec![EventDraft { stage: Stage::Intent, ..draft(2) }]);
    let (recorded, ()) = tokio::join!(next, async { host.go() });
    assert_eq!(recorded.unwrap().len(), 1);
}
