//! openraft's own storage suite, restarts, and the door.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

use super::codec;
use super::door::{Door, DoorError};
use super::log::LogStore;
use super::machine::Machine;
use super::types::{Entry, LogEntry, LogId, StorageError, TypeConfig, Vote};
use crate::domain::ids::NodeId;
use crate::ledger::State;
use crate::ledger::fixture::federation;
use openraft::raft::AppendEntriesRequest;
use openraft::storage::RaftLogStorage;
use openraft::testing::{StoreBuilder, Suite};
use openraft::{CommittedLeaderId, EntryPayload, RaftLogReader};
use tempfile::TempDir;

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, Machine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, Machine), StorageError> {
        let dir = tempfile::tempdir().unwrap();
        let log = LogStore::open(&dir.path().join("log")).unwrap();
        let (machine, _) = Machine::open(dir.path(), &federation().genesis).unwrap();
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
    LogStore::open(&dir.path().join("log")).unwrap()
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
    let door = Door { state: &state, log: &log, applied: 4, vote: Vote::new(10, voter.0) };
    let append = |node: NodeId, term: u64, entries: Vec<LogEntry>| AppendEntriesRequest::<TypeConfig> {
        vote: Vote::new_committed(term, node.0),
        prev_log_id: None,
        entries,
        leader_commit: None,
    };
    assert_eq!(door.append(voter, &append(voter, 11, vec![entry(1, 4), entry(2, 5)])), Ok(()));
    assert_eq!(door.append(voter, &append(voter, 11, vec![entry(2, 4)])), Err(DoorError::Rollback(4)));
    assert_eq!(door.append(other, &append(voter, 11, vec![])), Err(DoorError::NotSender));
    assert_eq!(door.append(NodeId(5), &append(NodeId(5), 11, vec![])), Err(DoorError::NotVoter));
    assert_eq!(door.append(voter, &append(voter, 1011, vec![])), Err(DoorError::TermLeap));
    let strangers = openraft::Membership::new(
        vec![[voter.0, 5].into()],
        std::collections::BTreeMap::from([(voter.0, openraft::EmptyNode::new()), (5, openraft::EmptyNode::new())]),
    );
    let bad = LogEntry { log_id: id(2, 9), payload: EntryPayload::Membership(strangers) };
    assert_eq!(door.append(voter, &append(voter, 11, vec![bad])), Err(DoorError::Membership));
}
