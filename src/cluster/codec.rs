//! Canonical bytes of what openraft stores (format version 1) and sends (version 2). Nothing of openraft's own
//! serialization is stored or sent.

use super::types::{Entry, LogEntry, LogId, Membership, SnapshotMeta, StoredMembership, TypeConfig, Vote};
use crate::domain::canon::{Canon, CanonError, Reader, Writer};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest,
    VoteResponse,
};
use openraft::{CommittedLeaderId, EmptyNode, EntryPayload};
use std::collections::{BTreeMap, BTreeSet};

/// Most nodes of one membership.
const NODES: usize = 4096;
/// Most entries of one append.
const ENTRIES: usize = 4096;
/// Most bytes of one snapshot chunk.
const CHUNK: usize = 4 << 20;

type R<'a, 'b> = &'a mut Reader<'b>;

pub(super) fn write_vote(w: &mut Writer, v: &Vote) {
    w.u64(v.leader_id.term).option(v.leader_id.voted_for(), |w, n| {
        w.u64(n);
    });
    w.flag(v.committed);
}

pub(super) fn read_vote(r: R<'_, '_>) -> Result<Vote, CanonError> {
    let term = r.u64()?;
    let node = r.option(|r| r.u64())?.ok_or(CanonError::Invalid("vote"))?;
    let committed = r.flag()?;
    Ok(if committed { Vote::new_committed(term, node) } else { Vote::new(term, node) })
}

pub(super) fn write_log_id(w: &mut Writer, id: &LogId) {
    w.u64(id.leader_id.term).u64(id.leader_id.node_id).u64(id.index);
}

pub(super) fn read_log_id(r: R<'_, '_>) -> Result<LogId, CanonError> {
    Ok(LogId::new(CommittedLeaderId::new(r.u64()?, r.u64()?), r.u64()?))
}

pub(super) fn write_option_log_id(w: &mut Writer, id: Option<&LogId>) {
    w.option(id, write_log_id);
}

pub(super) fn read_option_log_id(r: R<'_, '_>) -> Result<Option<LogId>, CanonError> {
    r.option(read_log_id)
}

fn write_membership(w: &mut Writer, m: &Membership) {
    w.list(m.get_joint_config().iter(), |w, set| {
        w.list(set.iter(), |w, n| {
            w.u64(*n);
        });
    });
    let nodes: Vec<u64> = m.nodes().map(|(id, _)| *id).collect();
    w.list(nodes.iter(), |w, n| {
        w.u64(*n);
    });
}

fn read_membership(r: R<'_, '_>) -> Result<Membership, CanonError> {
    let configs = r.list(2, |r| Ok(r.list(NODES, |r| r.u64())?.into_iter().collect::<BTreeSet<u64>>()))?;
    let nodes: BTreeMap<u64, EmptyNode> =
        r.list(NODES, |r| r.u64())?.into_iter().map(|n| (n, EmptyNode::new())).collect();
    Ok(Membership::new(configs, nodes))
}

pub(super) fn write_stored_membership(w: &mut Writer, m: &StoredMembership) {
    write_option_log_id(w, m.log_id().as_ref());
    write_membership(w, m.membership());
}

pub(super) fn read_stored_membership(r: R<'_, '_>) -> Result<StoredMembership, CanonError> {
    Ok(StoredMembership::new(read_option_log_id(r)?, read_membership(r)?))
}

pub(super) fn write_entry(w: &mut Writer, e: &LogEntry) {
    write_log_id(w, &e.log_id);
    match &e.payload {
        EntryPayload::Blank => {
            w.u8(0);
        }
        EntryPayload::Normal(entry) => {
            w.u8(1).value(entry);
        }
        EntryPayload::Membership(m) => {
            w.u8(2);
            write_membership(w, m);
        }
    }
}

pub(super) fn read_entry(r: R<'_, '_>) -> Result<LogEntry, CanonError> {
    let log_id = read_log_id(r)?;
    let payload = match r.u8()? {
        0 => EntryPayload::Blank,
        1 => EntryPayload::Normal(Entry::read(r)?),
        2 => EntryPayload::Membership(read_membership(r)?),
        _ => return Err(CanonError::Invalid("entry payload")),
    };
    Ok(LogEntry { log_id, payload })
}

pub(super) fn write_meta(w: &mut Writer, m: &SnapshotMeta) {
    write_option_log_id(w, m.last_log_id.as_ref());
    write_stored_membership(w, &m.last_membership);
    w.str(&m.snapshot_id);
}

pub(super) fn read_meta(r: R<'_, '_>) -> Result<SnapshotMeta, CanonError> {
    Ok(SnapshotMeta {
        last_log_id: read_option_log_id(r)?,
        last_membership: read_stored_membership(r)?,
        snapshot_id: r.str(128)?.to_owned(),
    })
}

/// Of messages: from 2 on a leader's carry vote grants.
const MESSAGE: u16 = 2;

/// Runs a writer or reader over a whole message.
pub(super) fn message(f: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut w = Writer::new("hufu.raft", MESSAGE);
    f(&mut w);
    w.finish()
}

pub(super) fn parse<T>(
    bytes: &[u8],
    f: impl FnOnce(&mut Reader<'_>) -> Result<T, CanonError>,
) -> Result<T, CanonError> {
    let mut r = Reader::new(bytes, "hufu.raft", MESSAGE)?;
    let value = f(&mut r)?;
    r.finish()?;
    Ok(value)
}

pub(super) fn write_append(w: &mut Writer, m: &AppendEntriesRequest<TypeConfig>) {
    write_vote(w, &m.vote);
    write_option_log_id(w, m.prev_log_id.as_ref());
    w.list(m.entries.iter(), write_entry);
    write_option_log_id(w, m.leader_commit.as_ref());
}

pub(super) fn read_append(r: R<'_, '_>) -> Result<AppendEntriesRequest<TypeConfig>, CanonError> {
    Ok(AppendEntriesRequest {
        vote: read_vote(r)?,
        prev_log_id: read_option_log_id(r)?,
        entries: r.list(ENTRIES, read_entry)?,
        leader_commit: read_option_log_id(r)?,
    })
}

pub(super) fn write_append_reply(w: &mut Writer, m: &AppendEntriesResponse<u64>) {
    match m {
        AppendEntriesResponse::Success => {
            w.u8(0);
        }
        AppendEntriesResponse::PartialSuccess(id) => {
            w.u8(1);
            write_option_log_id(w, id.as_ref());
        }
        AppendEntriesResponse::Conflict => {
            w.u8(2);
        }
        AppendEntriesResponse::HigherVote(v) => {
            w.u8(3);
            write_vote(w, v);
        }
    }
}

pub(super) fn read_append_reply(r: R<'_, '_>) -> Result<AppendEntriesResponse<u64>, CanonError> {
    Ok(match r.u8()? {
        0 => AppendEntriesResponse::Success,
        1 => AppendEntriesResponse::PartialSuccess(read_option_log_id(r)?),
        2 => AppendEntriesResponse::Conflict,
        3 => AppendEntriesResponse::HigherVote(read_vote(r)?),
        _ => return Err(CanonError::Invalid("append reply")),
    })
}

pub(super) fn write_vote_request(w: &mut Writer, m: &VoteRequest<u64>) {
    write_vote(w, &m.vote);
    write_option_log_id(w, m.last_log_id.as_ref());
}

pub(super) fn read_vote_request(r: R<'_, '_>) -> Result<VoteRequest<u64>, CanonError> {
    Ok(VoteRequest { vote: read_vote(r)?, last_log_id: read_option_log_id(r)? })
}

pub(super) fn write_vote_reply(w: &mut Writer, m: &VoteResponse<u64>) {
    write_vote(w, &m.vote);
    w.flag(m.vote_granted);
    write_option_log_id(w, m.last_log_id.as_ref());
}

pub(super) fn read_vote_reply(r: R<'_, '_>) -> Result<VoteResponse<u64>, CanonError> {
    Ok(VoteResponse { vote: read_vote(r)?, vote_granted: r.flag()?, last_log_id: read_option_log_id(r)? })
}

pub(super) fn write_snapshot(w: &mut Writer, m: &InstallSnapshotRequest<TypeConfig>) {
    write_vote(w, &m.vote);
    write_meta(w, &m.meta);
    w.u64(m.offset).bytes(&m.data).flag(m.done);
}

pub(super) fn read_snapshot(r: R<'_, '_>) -> Result<InstallSnapshotRequest<TypeConfig>, CanonError> {
    Ok(InstallSnapshotRequest {
        vote: read_vote(r)?,
        meta: read_meta(r)?,
        offset: r.u64()?,
        data: r.bytes(CHUNK)?.to_vec(),
        done: r.flag()?,
    })
}

pub(super) fn write_snapshot_reply(w: &mut Writer, m: &InstallSnapshotResponse<u64>) {
    write_vote(w, &m.vote);
}

pub(super) fn read_snapshot_reply(r: R<'_, '_>) -> Result<InstallSnapshotResponse<u64>, CanonError> {
    Ok(InstallSnapshotResponse { vote: read_vote(r)? })
}
