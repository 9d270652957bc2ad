//! Many signed batches share one log entry; answers are fanned out.
//!
//! One entry is under way at a time, since the leader of this openraft waits for its own disk with each;
//! whatever arrives meanwhile goes into the next. A non-leader hands what it has to the leader. Batches are
//! idempotent by their sequence, so an unknown outcome is simply tried again until the deadline.

use super::codec;
use super::error::ClusterError;
use super::log::Gauge;
use super::members::Turn;
use super::network::{CallKind, PeerCalls};
use super::types::{Entry, Raft};
use crate::domain::canon::Canon;
use crate::domain::ids::NodeId;
use crate::domain::limits;
use crate::journal::{Place, Waiting};
use crate::ledger::BatchReply;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

/// Most batches that wait, and their bytes.
const WAITING: usize = 1_024;
const WAITING_BYTES: usize = 16 << 20;
const RETRY: Duration = Duration::from_millis(50);
/// One attempt with the leader.
const ATTEMPT: Duration = Duration::from_secs(3);

/// One signed batch on its way.
struct Job {
    batch: Vec<u8>,
    deadline: Instant,
    answer: oneshot::Sender<Result<BatchReply, ClusterError>>,
    origin: Origin,
    _place: Place,
}

/// Who handed a batch over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// This node signed it.
    Own,
    /// Another node forwarded it: it is not forwarded again.
    Forwarded,
}

/// The queue in front of the proposing task.
pub(super) struct Batcher {
    jobs: mpsc::Sender<Job>,
    waiting: Waiting,
}

impl Batcher {
    pub(super) fn start(node: NodeId, raft: Raft, log: Gauge, calls: Arc<dyn PeerCalls>, turn: Turn) -> Batcher {
        let (jobs, queue) = mpsc::channel(WAITING);
        tokio::spawn(Proposer { node, raft, log, calls, turn }.run(queue));
        Batcher { jobs, waiting: Waiting::new(WAITING_BYTES) }
    }

    /// Queues a batch, or refuses it at once. Its answer comes out of what is returned.
    pub(super) fn push(
        &self,
        batch: Vec<u8>,
        deadline: Instant,
        origin: Origin,
    ) -> Result<oneshot::Receiver<Result<BatchReply, ClusterError>>, ClusterError> {
        let place = self.waiting.take(batch.len()).ok_or(ClusterError::Overloaded)?;
        let (answer, outcome) = oneshot::channel();
        let job = Job { batch, deadline, answer, origin, _place: place };
        self.jobs.try_send(job).map_err(|e| match e {
            TrySendError::Full(_) => ClusterError::Overloaded,
            TrySendError::Closed(_) => ClusterError::Unavailable(": the node is stopping".into()),
        })?;
        Ok(outcome)
    }
}

struct Proposer {
    node: NodeId,
    raft: Raft,
    log: Gauge,
    calls: Arc<dyn PeerCalls>,
    /// Taken to write as leader: a change of the members has the log to itself.
    turn: Turn,
}

impl Proposer {
    async fn run(self, mut queue: mpsc::Receiver<Job>) {
        let mut left: Option<Job> = None;
        loop {
            let first = match left.take() {
                Some(job) => job,
                None => match queue.recv().await {
                    Some(job) => job,
                    None => return,
                },
            };
            let mut bytes = first.batch.len();
            let mut jobs = vec![first];
            while jobs.len() < Entry::BATCHES {
                let Ok(job) = queue.try_recv() else { break };
                if bytes + job.batch.len() > limits::ENTRY_BYTES {
                    left = Some(job);
                    break;
                }
                bytes += job.batch.len();
                jobs.push(job);
            }
            self.place(jobs).await;
        }
    }

    /// Tries until all are answered or late.
    async fn place(&self, mut jobs: Vec<Job>) {
        let mut why = String::new();
        loop {
            let now = Instant::now();
            let (live, late): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|j| j.deadline > now);
            for job in late {
                let _ = job.answer.send(Err(ClusterError::Unavailable(why.clone())));
            }
            let leads = self.raft.metrics().borrow().current_leader == Some(self.node.0);
            let live = if leads { live } else { hand_back(live, ": this node does not lead") };
            if live.is_empty() {
                return;
            }
            match self.attempt(&live).await {
                Ok(replies) => {
                    for (job, reply) in live.into_iter().zip(replies) {
                        let _ = job.answer.send(Ok(reply));
                    }
                    return;
                }
                Err(reason) => why = format!(": {reason}"),
            }
            jobs = hand_back(live, &why);
            if jobs.is_empty() {
                return;
            }
            sleep(RETRY).await;
        }
    }

    async fn attempt(&self, jobs: &[Job]) -> Result<Vec<BatchReply>, String> {
        let leader = self.raft.metrics().borrow().current_leader.ok_or("no leader")?;
        let batches: Vec<Vec<u8>> = jobs.iter().map(|j| j.batch.clone()).collect();
        let replies = if leader == self.node.0 {
            if self.log.is_full() {
                // Ignored while one is being built.
                self.raft.trigger().snapshot().await.map_err(|e| e.to_string())?;
                return Err("the ledger's log is full until a majority of the voters certifies a snapshot".into());
            }
            let _turn = self.turn.lock().await;
            let written = tokio::time::timeout(ATTEMPT, self.raft.client_write(Entry { batches })).await;
            written.map_err(|_| "no quorum answered in time")?.map_err(|e| e.to_string())?.data.replies
        } else {
            self.forward(leader, jobs).await?
        };
        if replies.len() == jobs.len() {
            Ok(replies)
        } else {
            Err("the leader answered another number of batches".into())
        }
    }

    async fn forward(&self, leader: u64, jobs: &[Job]) -> Result<Vec<BatchReply>, String> {
        let left = jobs
            .iter()
            .map(|j| j.deadline)
            .max()
            .unwrap_or_else(Instant::now)
            .saturating_duration_since(Instant::now());
        let left = left.min(ATTEMPT);
        let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let body = codec::message(|w| {
            w.u64(left_ms);
            w.list(jobs.iter(), |w, j| {
                w.bytes(&j.batch);
            });
        });
        let bytes = self.calls.call(leader, CallKind::Forward, body, left + RETRY).await.map_err(|e| e.to_string())?;
        codec::parse(&bytes, |r| r.list(Entry::BATCHES, BatchReply::read)).map_err(|e| e.to_string())
    }
}

/// Forwarded batches go back to their nodes, which know the next leader as soon as we do; the rest is answered.
fn hand_back(jobs: Vec<Job>, why: &str) -> Vec<Job> {
    let (forwarded, own): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|j| j.origin == Origin::Forwarded);
    for job in forwarded {
        let _ = job.answer.send(Err(ClusterError::Unavailable(why.to_owned())));
    }
    own
}
