//! openraft's own storage suite, restarts, and the door.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

mod bad_voter;
mod changes;
mod harness;
mod together;

use super::certificate::{Certificate, attest};
use super::codec;
use super::door::{Door, DoorError, answered_vote};
use super::elections::{Elections, grant, write_grants};
use super::error::ClusterError;
use super::group::{Cluster, ClusterOptions, Materialise, Timings};
use super::log::{Cuts, LogStore};
use super::machine::Machine;
use super::network::{CallError, CallKind, PeerCalls};
use super::types::{Entry, LogEntry, LogId, SnapshotMeta, StorageError, TypeConfig, Vote};
use super::voters::Voters;
use crate::domain::ids::NodeId;
use crate::journal::System;
use crate::ledger::State;
use crate::ledger::fixture::{Agency, federation};
use openraft::raft::{AppendEntriesRequest, InstallSnapshotRequest, VoteRequest};
use openraft::storage::{RaftLogStorage, RaftStateMachine};
use openraft::testing::{StoreBuilder, Suite};
use openraft::{CommittedLeaderId, EntryPayload, RaftLogReader, RaftSnapshotBuilder};
use std::sync::Arc;
use tempfile::TempDir;

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, Machine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, Machine), StorageError> {
        let dir = tempfile::tempdir().unwrap();
        let log = LogStore::open(&System, &dir.path().join("log")).unwrap();
        let (machine, _) =
            Machine::open(&System, (dir.path(), Materialise::InStore), &federation().genesis, &log).unwrap();
        Ok((dir, log, machine))
    }
}

#[test]
fn openraft_suite() -> Result<(), StorageError> {
    Suite::test_all(Builder)
}

fn id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term, 1), index)
}

fn entry(term: u64, index: u64) -> LogEntry {
    LogEntry { log_id: id(term, index), payload: EntryPayload::Normal(Entry { batches: vec![vec![1, 2, 3]] }) }
}

async fn append(log: &mut LogStore, entries: Vec<LogEntry>) {
    use openraft::storage::RaftLogStorageExt;
    log.blocking_append(entries).await.unwrap();
}

async fn reopen(dir: &TempDir) -> LogStore {
    LogStore::open(&System, &dir.path().join("log")).unwrap()
}

#[tokio::test]
async fn vote_entries_truncation_and_purge_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = reopen(&dir).await;
    log.save_vote(&Vote::new(3, 7)).await.unwrap();
    append(&mut log, (1..=6).map(|i| entry(1, i)).collect()).await;
    log.truncate(id(1, 5)).await.unwrap();
    append(&mut log, vec![entry(2, 5)]).await;
    log.purge(id(1, 2)).await.unwrap();
    drop(log);
    let mut log = reopen(&dir).await;
    assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new(3, 7)));
    let ids: Vec<LogId> = log.try_get_log_entries(0..100).await.unwrap().iter().map(|e| e.log_id).collect();
    assert_eq!(ids, [id(1, 3), id(1, 4), id(2, 5)]);
    let state = log.get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(id(1, 2)), Some(id(2, 5))));
}

#[tokio::test]
async fn what_is_read_for_one_message_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = reopen(&dir).await;
    let big =
        |i| LogEntry { log_id: id(1, i), payload: EntryPayload::Normal(Entry { batches: vec![vec![0; 100 << 10]] }) };
    append(&mut log, (0..20).map(big).collect()).await;
    let read = log.limited_get_log_entries(3, 20).await.unwrap();
    assert_eq!(read.iter().map(|e| e.log_id.index).collect::<Vec<_>>(), [3, 4, 5, 6, 7]);
    assert_eq!(log.limited_get_log_entries(19, 20).await.unwrap().len(), 1);
    assert!(log.limited_get_log_entries(5, 5).await.unwrap().is_empty());
}

/// Bytes are counted as entries come, are cut off at either end, and are read again.
#[tokio::test]
async fn the_log_knows_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = reopen(&dir).await;
    let sized = |i, bytes| LogEntry {
        log_id: id(1, i),
        payload: EntryPayload::Normal(Entry { batches: vec![vec![0; bytes]] }),
    };
    assert_eq!((log.gauge().bytes(None, u64::MAX), log.gauge().surplus(9, 0)), (0, None));
    append(&mut log, (0..10).map(|i| sized(i, 936)).collect()).await;
    let known = |log: &LogStore| (log.gauge().bytes(None, u64::MAX), log.gauge().bytes(Some(3), 8));
    assert_eq!(known(&log), (10_000, 5_000));
    assert_eq!(log.gauge().surplus(7, 3_000), Some(4), "5, 6 and 7 stay");
    assert_eq!((log.gauge().surplus(7, 8_000), log.gauge().surplus(7, 0)), (None, Some(7)));
    log.truncate(id(1, 8)).await.unwrap();
    append(&mut log, vec![sized(8, 1_936)]).await;
    assert_eq!(known(&log), (10_000, 6_000));
    log.purge(id(1, 2)).await.unwrap();
    assert_eq!(known(&log), (7_000, 6_000));
    assert_eq!((log.gauge().surplus(7, 5_000), log.gauge().surplus(7, 4_000)), (None, Some(3)));
    drop(log);
    let mut log = reopen(&dir).await;
    assert_eq!(known(&log), (7_000, 6_000));
    log.purge(id(1, 8)).await.unwrap();
    assert_eq!((known(&log), log.gauge().surplus(8, 0)), ((0, 0), None));
    append(&mut log, vec![sized(9, 936)]).await;
    assert_eq!(log.gauge().bytes(Some(8), 9), 1_000);
}

#[tokio::test]
async fn an_older_snapshot_never_takes_the_place_of_a_newer_one() {
    let dir = tempfile::tempdir().unwrap();
    let log = reopen(&dir).await;
    let (mut machine, _) =
        Machine::open(&System, (dir.path(), Materialise::InStore), &federation().genesis, &log).unwrap();
    let blank = |i| LogEntry { log_id: id(1, i), payload: EntryPayload::Blank };
    machine.apply([blank(0)]).await.unwrap();
    let mut slow = machine.get_snapshot_builder().await;
    machine.apply([blank(1)]).await.unwrap();
    machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
    slow.build_snapshot().await.unwrap();
    let kept = machine.get_current_snapshot().await.unwrap().unwrap();
    assert_eq!(kept.meta.last_log_id, Some(id(1, 1)));
    drop((machine, slow));
    let (mut again, published) =
        Machine::open(&System, (dir.path(), Materialise::InStore), &federation().genesis, &log).unwrap();
    assert_eq!(again.applied_state().await.unwrap().0, Some(id(1, 1)));
    assert_eq!(*published.applied().borrow(), 1);
}

/// A snapshot that was cut off while it was written aside, or that cannot be written, leaves the last whole one.
#[tokio::test]
async fn a_snapshot_that_was_not_written_leaves_the_last_one() {
    let dir = tempfile::tempdir().unwrap();
    let log = reopen(&dir).await;
    let open = || Machine::open(&System, (dir.path(), Materialise::InStore), &federation().genesis, &log).unwrap().0;
    let blank = |i| LogEntry { log_id: id(1, i), payload: EntryPayload::Blank };
    let (file, aside) = (dir.path().join("snapshot"), dir.path().join("snapshot.new"));
    let mut machine = open();
    machine.apply([blank(0)]).await.unwrap();
    machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
    let whole = std::fs::read(&file).unwrap();

    // Something stands where the next one would be written: that is told, and nothing is changed.
    machine.apply([blank(1)]).await.unwrap();
    std::fs::create_dir(&aside).unwrap();
    assert!(machine.get_snapshot_builder().await.build_snapshot().await.is_err());
    assert_eq!(machine.get_current_snapshot().await.unwrap().unwrap().meta.last_log_id, Some(id(1, 0)));
    assert_eq!(std::fs::read(&file).unwrap(), whole);
    drop(machine);
    std::fs::remove_dir(&aside).unwrap();

    // A crash left a part of the next one beside it: what is read is the last, and the next one can be written.
    for len in [0, 1, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&aside, &whole[..len]).unwrap();
        assert_eq!(open().applied_state().await.unwrap().0, Some(id(1, 0)), "{len} bytes");
    }
    let mut machine = open();
    machine.apply([blank(1)]).await.unwrap();
    machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
    drop(machine);
    assert_eq!(open().applied_state().await.unwrap().0, Some(id(1, 1)));
}

#[test]
fn messages_round_trip_and_truncations_are_refused() {
    let m = AppendEntriesRequest::<TypeConfig> {
        vote: Vote::new_committed(4, 9),
        prev_log_id: Some(id(1, 2)),
        entries: vec![entry(2, 3), LogEntry { log_id: id(2, 4), payload: EntryPayload::Blank }],
        leader_commit: None,
    };
    let bytes = codec::message(|w| codec::write_append(w, &m));
    let back = codec::parse(&bytes, codec::read_append).unwrap();
    assert_eq!((back.vote, back.prev_log_id, back.entries), (m.vote, m.prev_log_id, m.entries));
    for cut in 0..bytes.len() {
        assert!(codec::parse(&bytes[..cut], codec::read_append).is_err(), "cut at {cut}");
    }
}

#[tokio::test]
async fn the_door_refuses_what_no_honest_member_sends() {
    let f = federation();
    let state = State::genesis(&f.genesis).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut log = reopen(&dir).await;
    append(&mut log, (1..=6).map(|i| entry(1, i)).collect()).await;
    let (voter, other) = (f.police.node, f.customs.node);
    let door = Door {
        state: &state,
        log: &log,
        applied: 4,
        at: 4,
        vote: Vote::new(10, voter.0),
        elections: &Elections::new(Voters::of(&state).into()),
    };
    let append = |node: NodeId, term: u64, entries: Vec<LogEntry>| AppendEntriesRequest::<TypeConfig> {
        vote: Vote::new_committed(term, node.0),
        prev_log_id: entries.first().map(|e| id(1, e.log_id.index - 1)),
        entries,
        leader_commit: None,
    };
    // A snapshot undoes no suspension; one that was reinstated since has a higher standing.
    let fewer = crate::ledger::fixture::suspended(&state, &f.third.id);
    let knows = Door {
        state: &fewer,
        log: &log,
        applied: 4,
        at: 4,
        vote: Vote::new(10, voter.0),
        elections: &Elections::new(Voters::of(&fewer).into()),
    };
    let certified = |state: &State| {
        let word = |a: &Agency| attest(&f.id, a.node.0, &a.node_key, (9, state.digest()));
        Certificate::of(&[word(&f.police), word(&f.customs)], &Voters::of(state)).unwrap()
    };
    let by_the_log = |state: &State| {
        let sets = state.voter_sets().iter().map(|set| set.iter().map(|n| n.0).collect()).collect();
        openraft::Membership::<u64, openraft::EmptyNode>::new(sets, ())
    };
    let of = |door: &Door<'_>, state: &State| door.snapshot_state(state, (&by_the_log(state), &certified(state)));
    assert_eq!(of(&knows, &state), Err(DoorError::Snapshot("an agency in it is another")));
    assert_eq!((of(&knows, &fewer), of(&door, &fewer)), (Ok(()), Ok(())));
    // A state that nobody certified is not taken, whatever is in it.
    let invented = door.snapshot_state(&fewer, (&by_the_log(&fewer), &certified(&state)));
    assert_eq!(invented, Err(DoorError::Snapshot("the majority certifies another state")));
    let piece = |index| InstallSnapshotRequest::<TypeConfig> {
        vote: Vote::new_committed(11, voter.0),
        meta: SnapshotMeta {
            last_log_id: Some(id(1, index)),
            last_membership: openraft::StoredMembership::new(
                None,
                openraft::Membership::new(vec![state.voters().iter().map(|n| n.0).collect()], ()),
            ),
            snapshot_id: "x".into(),
        },
        offset: 0,
        data: Vec::new(),
        done: false,
    };
    let grants = [&f.police, &f.customs].map(|v| grant(&f.id, v.node.0, &v.node_key, (11, voter.0)));
    let uncertified = Err(DoorError::Snapshot("no majority of the voters certifies it"));
    assert_eq!(door.snapshot(voter, &piece(9), (&grants, &certified(&state))), Ok(()));
    assert_eq!(door.snapshot(voter, &piece(8), (&grants, &certified(&state))), uncertified, "of another index");
    let Certificate { index, digest, .. } = certified(&state);
    let none = Certificate { signatures: Vec::new(), index, digest };
    assert_eq!(door.snapshot(voter, &piece(9), (&grants, &none)), uncertified);
    assert_eq!(granted(&door, voter, &append(voter, 11, vec![entry(1, 4), entry(2, 5)])), Ok(()));
    assert_eq!(granted(&door, voter, &append(voter, 11, vec![entry(2, 4)])), Err(DoorError::Rollback(4)));
    assert_eq!(granted(&door, other, &append(voter, 11, vec![])), Err(DoorError::NotSender));
    assert_eq!(granted(&door, NodeId(5), &append(NodeId(5), 11, vec![])), Err(DoorError::NotVoter));
    assert_eq!(granted(&door, voter, &append(voter, 1011, vec![])), Err(DoorError::TermLeap));
    // Entries follow each other and are not newer than their leader; votes fit the kind of message.
    assert_eq!(granted(&door, voter, &append(voter, 11, vec![entry(1, 5), entry(1, 7)])), Err(DoorError::Order));
    assert_eq!(granted(&door, voter, &append(voter, 11, vec![entry(2, 5), entry(1, 6)])), Err(DoorError::Order));
    assert_eq!(granted(&door, voter, &append(voter, 11, vec![entry(12, 5)])), Err(DoorError::Order));
    let ungranted = AppendEntriesRequest { vote: Vote::new(11, voter.0), ..append(voter, 11, vec![]) };
    assert_eq!(granted(&door, voter, &ungranted), Err(DoorError::VoteKind));
    let ask = |vote| VoteRequest { vote, last_log_id: None };
    assert_eq!(door.request(voter, &ask(Vote::new(11, voter.0))), Ok(()));
    assert_eq!(door.request(voter, &ask(Vote::new_committed(11, voter.0))), Err(DoorError::VoteKind));
    // All voters of the ledger are approved; one of them alone would be a quorum of its own.
    let membership = |ids: Vec<u64>| {
        let m = openraft::Membership::new(vec![ids.into_iter().collect()], ());
        LogEntry { log_id: id(2, 7), payload: EntryPayload::Membership(m) }
    };
    let all: Vec<u64> = state.voters().iter().map(|n| n.0).collect();
    assert!(all.len() > 1, "the fixture has several voters");
    assert_eq!(granted(&door, voter, &append(voter, 11, vec![membership(all)])), Ok(()));
    assert_eq!(granted(&door, voter, &append(voter, 11, vec![membership(vec![voter.0])])), Err(DoorError::Membership));
    // A leader that was replaced sends what nobody applied: openraft turns it away, and nobody calls it a fault.
    assert_eq!(granted(&door, other, &append(other, 9, vec![entry(9, 4)])), Ok(()));
    let big = LogEntry { log_id: id(1, 5), payload: EntryPayload::Normal(Entry { batches: vec![vec![0; 257 << 10]] }) };
    assert_eq!(granted(&door, voter, &append(voter, 11, vec![big])), Err(DoorError::Size));
    let strangers = openraft::Membership::new(
        vec![[voter.0, 5].into()],
        std::collections::BTreeMap::from([(voter.0, openraft::EmptyNode::new()), (5, openraft::EmptyNode::new())]),
    );
    let bad = LogEntry { log_id: id(2, 7), payload: EntryPayload::Membership(strangers) };
    assert_eq!(granted(&door, voter, &append(voter, 11, vec![bad])), Err(DoorError::Membership));
}

/// What the door says of a leader whom everybody voted for.
fn granted(door: &Door<'_>, sender: NodeId, m: &AppendEntriesRequest<TypeConfig>) -> Result<(), DoorError> {
    let f = federation();
    let leader = m.vote.leader_id.voted_for().unwrap();
    let of = (m.vote.leader_id.term, leader);
    let grants = [&f.police, &f.customs].map(|v| grant(&f.id, v.node.0, &v.node_key, of));
    let shown = door.append(sender, m, &grants);
    // Without a majority nobody leads, whatever else is right.
    if shown.is_ok() && !door.is_deposed(&m.vote) {
        let unseen = Elections::new(Voters::of(door.state).into());
        let door = Door { elections: &unseen, ..*door };
        assert_eq!(door.append(sender, m, &grants[..1]), Err(DoorError::NotElected));
    }
    shown
}

/// Of what is purged only the last id is known; nothing below it may come from a later leader.
#[tokio::test]
async fn the_door_guards_what_is_purged() {
    let f = federation();
    let state = State::genesis(&f.genesis).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut log = reopen(&dir).await;
    append(&mut log, (1..=6).map(|i| entry(1, i)).collect()).await;
    log.purge(id(1, 4)).await.unwrap();
    let voter = f.police.node;
    let door = Door {
        state: &state,
        log: &log,
        applied: 6,
        at: 6,
        vote: Vote::new(10, voter.0),
        elections: &Elections::new(Voters::of(&state).into()),
    };
    let append = |prev, entries: Vec<LogEntry>| {
        let (vote, prev_log_id, leader_commit) = (Vote::new_committed(11, voter.0), Some(prev), None);
        granted(&door, voter, &AppendEntriesRequest::<TypeConfig> { vote, prev_log_id, entries, leader_commit })
    };
    assert_eq!(append(id(1, 2), vec![entry(1, 3)]), Ok(()));
    assert_eq!(append(id(1, 3), vec![entry(1, 4)]), Ok(()));
    assert_eq!(append(id(2, 2), vec![]), Err(DoorError::Rollback(2)));
    assert_eq!(append(id(1, 3), vec![entry(2, 4)]), Err(DoorError::Rollback(4)));
    // A snapshot up to 9 is applied, and the log is not cut yet: what a later leader wrote there contradicts nothing.
    let door = Door {
        state: &state,
        log: &log,
        applied: 9,
        at: 9,
        vote: Vote::new(10, voter.0),
        elections: &Elections::new(Voters::of(&state).into()),
    };
    let (vote, leader_commit) = (Vote::new_committed(11, voter.0), None);
    let entries = vec![entry(3, 8), entry(3, 9)];
    let next = AppendEntriesRequest::<TypeConfig> { vote, prev_log_id: Some(id(3, 7)), entries, leader_commit };
    assert_eq!(granted(&door, voter, &next), Ok(()));
}

/// A commit position counts as far as the message or this log shows the entry, whatever term it claims.
#[tokio::test]
async fn the_door_believes_no_commit_position() {
    let f = federation();
    let state = State::genesis(&f.genesis).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut log = reopen(&dir).await;
    append(&mut log, (1..=6).map(|i| entry(1, i)).collect()).await;
    let door = Door {
        state: &state,
        log: &log,
        applied: 4,
        at: 4,
        vote: Vote::default(),
        elections: &Elections::new(Voters::of(&state).into()),
    };
    let commit = |prev, entries: Vec<LogEntry>, claimed| {
        let (vote, leader_commit) = (Vote::new_committed(11, 1), Some(claimed));
        door.commit(&AppendEntriesRequest::<TypeConfig> { vote, prev_log_id: prev, entries, leader_commit })
    };
    let sent = || vec![entry(2, 6), entry(2, 7)];
    assert_eq!(commit(Some(id(1, 5)), sent(), id(2, 1_000_000_000)), Some(id(2, 7)));
    assert_eq!(commit(Some(id(1, 5)), sent(), id(2, 6)), Some(id(2, 6)));
    assert_eq!(commit(Some(id(1, 5)), sent(), id(9, 3)), Some(id(1, 3)), "the term is the entry's own");
    assert_eq!(commit(Some(id(1, 5)), vec![], id(9, 9)), Some(id(1, 5)));
    assert_eq!(commit(None, vec![], id(9, 9)), None);
}

/// openraft takes any vote in an answer, and the next term above the highest number does not exist.
#[test]
fn a_vote_in_an_answer_is_cut_to_what_may_be_believed() {
    let own = Vote::new_committed(5, 7);
    let seen_of = |by, vote| answered_vote(vote, &own, by, |node| [7, 8].contains(&node));
    let seen = |vote| seen_of(8, vote);
    assert_eq!(seen(Vote::new(u64::MAX, 8)), Some(Vote::new(1005, 8)));
    assert_eq!(seen(Vote::new_committed(6, 8)), Some(Vote::new(6, 8)), "an answer elects nobody");
    assert_eq!(seen(Vote::new(6, 9)), Some(Vote::new(6, 8)), "a voter that follows nobody any more is heard");
    assert_eq!(seen_of(9, Vote::new(6, 9)), None, "not a voter");
    assert_eq!(seen_of(10, Vote::new(6, 9)), None, "neither is");
    assert_eq!(seen(Vote::default()), Some(Vote::default()), "what is lower changes nothing");
}

/// A voter without its votes could vote twice: it does not start.
#[tokio::test]
async fn a_node_that_lost_its_votes_does_not_start() {
    let f = federation();
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let start = || {
        Cluster::start(ClusterOptions {
            node: f.customs.node,
            host: Arc::new(System),
            materialised: Materialise::InStore,
            dir: ledger.clone(),
            genesis: f.genesis.clone(),
            timings: Timings { heartbeat_ms: 50, election_min_ms: 100, election_max_ms: 200 },
            cuts: Cuts::default(),
            peers: [f.police.node].into(),
            calls: std::sync::Arc::new(Nobody),
            key: crate::seal::SigningKey::from_seed(&[20; 32]).unwrap(),
            charter: None,
        })
    };
    {
        let cluster = start().await.unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !dir.path().join("ledger.begun").exists() {
            assert!(std::time::Instant::now() < deadline, "it votes for itself at least");
            tokio::task::yield_now().await;
        }
        cluster.shutdown().await;
    }
    drop(start().await.unwrap());
    std::fs::remove_dir_all(&ledger).unwrap();
    assert!(start().await.err().unwrap().to_string().contains("cannot vote safely"));
}

/// The store is a cache: overwritten with zeros it is set aside, the state comes back from snapshot and log, and the
/// loss is told. Intact it gives the state back without either.
#[tokio::test]
async fn a_lost_store_is_rebuilt_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = reopen(&dir).await;
    let blank = |i| LogEntry { log_id: id(1, i), payload: EntryPayload::Blank };
    append(&mut log, (0..=3).map(blank).collect()).await;
    {
        let (mut machine, _) =
            Machine::open(&System, (dir.path(), Materialise::InStore), &federation().genesis, &log).unwrap();
        machine.incidents().take();
        machine.apply((0..=3).map(blank)).await.unwrap();
    }
    {
        let (mut machine, _) =
            Machine::open(&System, (dir.path(), Materialise::InStore), &federation().genesis, &log).unwrap();
        assert_eq!(machine.applied_state().await.unwrap().0, Some(id(1, 3)), "from the store alone");
        assert!(machine.incidents().take().is_empty());
    }
    for file in std::fs::read_dir(dir.path().join("state")).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_file())
    {
        let size = std::fs::metadata(&file).unwrap().len();
        std::fs::write(&file, vec![0; usize::try_from(size).unwrap()]).unwrap();
    }
    let (mut machine, _) =
        Machine::open(&System, (dir.path(), Materialise::InStore), &federation().genesis, &log).unwrap();
    assert_eq!(machine.applied_state().await.unwrap().0, None, "openraft applies the log again");
    assert_eq!(machine.incidents().take().len(), 1);
}

/// A saved state that this log never had is not believed.
#[tokio::test]
async fn a_store_ahead_of_the_log_is_left_aside() {
    let dir = tempfile::tempdir().unwrap();
    let log = reopen(&dir).await;
    {
        let (mut machine, _) =
            Machine::open(&System, (dir.path(), Materialise::InStore), &federation().genesis, &log).unwrap();
        machine.apply([LogEntry { log_id: id(1, 0), payload: EntryPayload::Blank }]).await.unwrap();
    }
    let (mut machine, _) =
        Machine::open(&System, (dir.path(), Materialise::InStore), &federation().genesis, &log).unwrap();
    assert_eq!(machine.applied_state().await.unwrap().0, None);
}

struct Nobody;

impl PeerCalls for Nobody {
    fn call(
        &self,
        _: u64,
        _: CallKind,
        _: Vec<u8>,
        _: std::time::Duration,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Vec<u8>, CallError>> + Send>> {
        Box::pin(async { Err(CallError::Timeout) })
    }
}

/// P6: a leader that would undo what was applied is refused, its message is kept, nothing is written any more, and a
/// restart changes none of this.
#[tokio::test]
async fn a_rollback_is_kept_as_evidence_and_stops_writing() {
    let f = federation();
    let dir = tempfile::tempdir().unwrap();
    let start = || {
        Cluster::start(ClusterOptions {
            node: f.customs.node,
            host: Arc::new(System),
            materialised: Materialise::InStore,
            dir: dir.path().to_owned(),
            genesis: f.genesis.clone(),
            timings: Timings { heartbeat_ms: 1_000, election_min_ms: 60_000, election_max_ms: 70_000 },
            cuts: Cuts::default(),
            peers: [f.police.node].into(),
            calls: std::sync::Arc::new(Nobody),
            key: crate::seal::SigningKey::from_seed(&[20; 32]).unwrap(),
            charter: None,
        })
    };
    let leader = f.police.node;
    let from = |term: u64, entries: Vec<LogEntry>, committed: Option<LogId>| {
        let m = AppendEntriesRequest::<TypeConfig> {
            vote: Vote::new_committed(term, leader.0),
            prev_log_id: None,
            entries,
            leader_commit: committed,
        };
        let granted = |term| [&f.police, &f.customs].map(|v| grant(&f.id, v.node.0, &v.node_key, (term, leader.0)));
        codec::message(|w| {
            write_grants(w, &granted(term));
            codec::write_append(w, &m);
        })
    };
    let id = |term, index| LogId::new(CommittedLeaderId::new(term, leader.0), index);
    let members =
        |voters: std::collections::BTreeSet<u64>| EntryPayload::Membership(openraft::Membership::new(vec![voters], ()));
    let genesis = State::genesis(&f.genesis).unwrap();
    let voters: std::collections::BTreeSet<u64> = genesis.voters().iter().map(|n| n.0).collect();
    let zero = LogEntry { log_id: LogId::new(CommittedLeaderId::new(0, 0), 0), payload: members(voters) };
    let one = |term| LogEntry { log_id: id(term, 1), payload: EntryPayload::Blank };
    let append = CallKind::Append.code();
    {
        let cluster = start().await.unwrap();
        cluster.handle(leader, append, from(1, vec![zero.clone(), one(1)], Some(id(1, 1)))).await.unwrap();
        let mut applied = cluster.applied_watch();
        applied.wait_for(|a| *a >= 1).await.unwrap();
        let undone = cluster.handle(leader, append, from(2, vec![zero, one(2)], None)).await;
        assert!(matches!(undone, Err(ClusterError::Door(_))), "{undone:?}");
        assert_eq!(cluster.take_evidence().len(), 1);
        cluster.shutdown().await;
    }
    let cluster = start().await.unwrap();
    assert!(cluster.halted().unwrap().contains("index 1"));
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(5);
    assert!(matches!(cluster.propose(vec![1], deadline).await, Err(ClusterError::Halted(_))));
    let forwarded = codec::message(|w| {
        w.u64(1).list([vec![1u8]].iter(), |w, b| {
            w.bytes(b);
        });
    });
    let forwarded = cluster.handle(leader, CallKind::Forward.code(), forwarded).await;
    assert!(matches!(forwarded, Err(ClusterError::Halted(_))));
    cluster.shutdown().await;
}
