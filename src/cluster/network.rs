//! Raft's messages over whatever carries bytes between nodes; `node` plugs the carrier in.

use super::certificate::Certifier;
use super::codec;
use super::door::answered_vote;
use super::elections::{Grant, Mandate, write_grants};
use super::log::LogStore;
use super::types::{TypeConfig, Vote};
use super::voters::Voters;
use crate::domain::canon::{CanonError, Reader};
use openraft::error::{InstallSnapshotError, NetworkError, RPCError, RaftError, Unreachable};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest,
    VoteResponse,
};
use openraft::{AnyError, EmptyNode};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// What a call is. The codes are format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    /// AppendEntries.
    Append = 1,
    /// RequestVote.
    Vote = 2,
    /// A chunk of a snapshot.
    Snapshot = 3,
    /// Signed batches for the leader.
    Forward = 4,
    /// The leader's read index.
    ReadIndex = 5,
    /// A signed grant of the answerer's durable vote, if it is the caller's.
    Grant = 6,
    /// A voter's word on the state after an index.
    Attest = 7,
    /// A certificate.
    Certificate = 8,
    /// The leader asks its target to stand for election.
    Stand = 9,
    /// How far a voter's log goes.
    Pulse = 10,
}

impl CallKind {
    /// The code on the wire.
    pub fn code(self) -> u32 {
        self as u32
    }

    /// The kind of a code.
    pub fn from_code(code: u32) -> Option<CallKind> {
        use CallKind::{Append, Attest, Certificate, Forward, Grant, Pulse, ReadIndex, Snapshot, Stand, Vote};
        let all = [Append, Vote, Snapshot, Forward, ReadIndex, Grant, Attest, Certificate, Stand, Pulse];
        all.into_iter().find(|k| k.code() == code)
    }
}

/// Why a call brought nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No connection, or the other side refused.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
}

/// Carries one message and its answer.
pub trait PeerCalls: Send + Sync {
    /// Calls `target`; the carrier makes sure that nobody else answers.
    fn call(
        &self,
        target: u64,
        kind: CallKind,
        bytes: Vec<u8>,
        timeout: Duration,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, CallError>> + Send>>;
}

/// Makes a link for each target.
#[derive(Clone)]
pub(super) struct Network {
    pub(super) calls: Arc<dyn PeerCalls>,
    /// Own votes, to hold answers against.
    pub(super) log: LogStore,
    pub(super) voters: Arc<Voters>,
    /// What this node shows when it leads.
    pub(super) mandate: Arc<Mandate>,
    pub(super) certifier: Arc<Certifier>,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: u64, _node: &EmptyNode) -> Link {
        Link { target, network: self.clone() }
    }
}

/// The way to one node. What it answers passes the door like what it sends: openraft believes any vote that it is told.
pub(super) struct Link {
    target: u64,
    network: Network,
}

type Rpc<T, E = openraft::error::Infallible> = Result<T, RPCError<u64, EmptyNode, RaftError<u64, E>>>;

impl Link {
    async fn call<T, E: std::error::Error>(
        &self,
        kind: CallKind,
        body: Vec<u8>,
        option: &RPCOption,
        read: impl FnOnce(&mut Reader<'_>) -> Result<T, CanonError>,
    ) -> Result<T, RPCError<u64, EmptyNode, E>> {
        match self.network.calls.call(self.target, kind, body, option.hard_ttl()).await {
            // Not a network error: openraft would ask again at once, for ever.
            Ok(bytes) => {
                codec::parse(&bytes, read).map_err(|e| disbelieved(&format!("the answer does not parse: {e}")))
            }
            // Unreachable makes openraft back off; a timeout is retried at once by its own schedule.
            Err(CallError::Unreachable(why)) => Err(RPCError::Unreachable(Unreachable::new(&AnyError::error(why)))),
            Err(e @ CallError::Timeout) => Err(RPCError::Network(NetworkError::new(&e))),
        }
    }

    /// The grants that a message of this leader carries: what is at hand. With too few of them the message goes all the
    /// same, since who voted for somebody else answers with that vote, and nothing else makes openraft step down.
    async fn mandate(&self, vote: &Vote, option: &RPCOption) -> Vec<Grant> {
        self.network.mandate.show(vote, option.hard_ttl() / 2).await
    }

    fn vote_of<E: std::error::Error>(&self, vote: Vote) -> Result<Vote, RPCError<u64, EmptyNode, E>> {
        let own = self.network.log.vote().unwrap_or_default();
        answered_vote(vote, &own, self.target, |node| self.network.voters.contains(node))
            .ok_or_else(|| disbelieved("the answer names no voter"))
    }
}

/// An answer that no honest node gives: openraft backs off and asks again.
fn disbelieved<E: std::error::Error>(why: &str) -> RPCError<u64, EmptyNode, E> {
    tracing::error!(why, "an answer was refused at the door");
    RPCError::Unreachable(Unreachable::new(&AnyError::error(why)))
}

impl RaftNetwork<TypeConfig> for Link {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<AppendEntriesResponse<u64>> {
        let grants = self.mandate(&rpc.vote, &option).await;
        let body = codec::message(|w| {
            write_grants(w, &grants);
            codec::write_append(w, &rpc);
        });
        match self.call(CallKind::Append, body, &option, codec::read_append_reply).await? {
            AppendEntriesResponse::HigherVote(vote) => self.vote_of(vote).map(AppendEntriesResponse::HigherVote),
            // Only what was sent can match.
            AppendEntriesResponse::PartialSuccess(Some(id))
                if Some(id) != rpc.prev_log_id && !rpc.entries.iter().any(|e| e.log_id == id) =>
            {
                Err(disbelieved("the answer names an entry that was not sent"))
            }
            answer => Ok(answer),
        }
    }

    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<InstallSnapshotResponse<u64>, InstallSnapshotError> {
        let grants = self.mandate(&rpc.vote, &option).await;
        let index = rpc.meta.last_log_id.map_or(0, |id| id.index);
        let Some(certificate) = self.network.certifier.of_snapshot(index).await else {
            let why = AnyError::error("too few voters certify the snapshot; a newer one follows");
            return Err(RPCError::Unreachable(Unreachable::new(&why)));
        };
        let body = codec::message(|w| {
            write_grants(w, &grants);
            w.value(&certificate);
            codec::write_snapshot(w, &rpc);
        });
        let answer = self.call(CallKind::Snapshot, body, &option, codec::read_snapshot_reply).await?;
        Ok(InstallSnapshotResponse { vote: self.vote_of(answer.vote)? })
    }

    async fn vote(&mut self, rpc: VoteRequest<u64>, option: RPCOption) -> Rpc<VoteResponse<u64>> {
        let body = codec::message(|w| codec::write_vote_request(w, &rpc));
        let answer = self.call(CallKind::Vote, body, &option, codec::read_vote_reply).await?;
        Ok(VoteResponse { vote: self.vote_of(answer.vote)?, ..answer })
    }
}
