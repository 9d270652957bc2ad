//! Many signed batches share one log entry; answers are fanned out.
//!
//! One entry is under way at a time, since the leader of this openraft waits for its own disk with each;
//! whatever arrives meanwhile goes into the next, of each agency in turn. A non-leader hands what it has to the
//! leader. Batches are idempotent by their sequence, so an unknown outcome is simply tried again until the deadline.

use super::codec;
use super::error::ClusterError;
use super::fair::Fair;
use super::log::Gauge;
use super::members::Turn;
use super::network::{CallKind, PeerCalls};
use super::types::{Entry, Raft};
use crate::domain::canon::Canon;
use crate::domain::ids::{AgencyId, NodeId};
use crate::domain::limits;
use crate::journal::{Place, Waiting};
use crate::ledger::BatchReply;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{MutexGuard, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

/// Most batches that wait to be lined up.
const WAITING: usize = 8_192;
/// Most bytes of one agency that wait: whoever brings much leaves the others theirs.
const WAITING_BYTES: usize = 4 << 20;
const RETRY: Duration = Duration::from_millis(50);
/// Most batches of one agency that wait here.
const LINE: usize = 1_024;
/// One attempt with the leader.
const ATTEMPT: Duration = Duration::from_secs(3);

/// One signed batch on its way.
struct Job {
    batch: Vec<u8>,
    /// The agency of the node that brings it.
    of: Option<AgencyId>,
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

/// What waits for its turn.
type Lines = Fair<Option<AgencyId>, Job>;

/// The queue in front of the proposing task.
pub(super) struct Batcher {
    jobs: mpsc::Sender<Job>,
    /// By agency: those of the ledger, and nobody.
    waiting: Mutex<BTreeMap<Option<AgencyId>, Waiting>>,
}

impl Batcher {
    pub(super) fn start(node: NodeId, raft: Raft, log: Gauge, calls: Arc<dyn PeerCalls>, turn: Turn) -> Batcher {
        let (jobs, queue) = mpsc::channel(WAITING);
        tokio::spawn(Proposer { node, raft, log, calls, turn }.run(queue));
        Batcher { jobs, waiting: Mutex::default() }
    }

    fn place(&self, of: &Option<AgencyId>, bytes: usize) -> Option<Place> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.entry(of.clone()).or_insert_with(|| Waiting::new(WAITING_BYTES)).take(bytes)
    }

    /// Queues a batch that a node of this agency brings, or refuses it at once. Its answer comes out of what is returned.
    pub(super) fn push(
        &self,
        batch: Vec<u8>,
        of: Option<AgencyId>,
        deadline: Instant,
        origin: Origin,
    ) -> Result<oneshot::Receiver<Result<BatchReply, ClusterError>>, ClusterError> {
        let place = self.place(&of, batch.len().max(WAITING_BYTES / LINE)).ok_or(ClusterError::Overloaded)?;
        let (answer, outcome) = oneshot::channel();
        let job = Job { batch, of, deadline, answer, origin, _place: place };
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
        let mut waiting: Lines = Fair::of_at_most(LINE);
        loop {
            if waiting.is_empty() {
                let Some(job) = queue.recv().await else { return };
                line_up(&mut waiting, job);
            }
            while let Ok(job) = queue.try_recv() {
                line_up(&mut waiting, job);
            }
            self.place(entry(&mut waiting)).await;
        }
    }

    /// Tries until all are answered or late.
    async fn place(&self, mut jobs: Vec<Job>) {
        let mut why = String::new();
        loop {
            answer_late(&mut jobs, &why);
            let leads = self.raft.metrics().borrow().current_leader == Some(self.node.0);
            let mut live = if leads { jobs } else { hand_back(jobs, ": this node does not lead") };
            if live.is_empty() {
                return;
            }
            match self.attempt(&mut live).await {
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

    /// Replies to the jobs that are left: whose time is over amid it is answered.
    async fn attempt(&self, jobs: &mut Vec<Job>) -> Result<Vec<BatchReply>, String> {
        let leader = self.raft.metrics().borrow().current_leader.ok_or("no leader")?;
        let replies = if leader == self.node.0 {
            if self.log.is_full() {
                // Ignored while one is being built.
                self.raft.trigger().snapshot().await.map_err(|e| e.to_string())?;
                return Err("the ledger's log is full until a majority of the voters certifies a snapshot".into());
            }
            let Some(_turn) = self.turn_in_time(jobs).await else { return Ok(Vec::new()) };
            let batches = jobs.iter().map(|j| j.batch.clone()).collect();
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

    /// The log to write to, once nobody else has it: while the members change or leadership is handed over, that takes seconds.
    /// Whose time is over meanwhile is answered then, and not written. None when nobody is left.
    async fn turn_in_time(&self, jobs: &mut Vec<Job>) -> Option<MutexGuard<'_, ()>> {
        while let Some(first) = jobs.iter().map(|j| j.deadline).min() {
            if let Ok(turn) = timeout_at(first, self.turn.lock()).await {
                return Some(turn);
            }
            answer_late(jobs, ": the log is kept for a change of the members, or leadership is handed over");
        }
        None
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

fn line_up(waiting: &mut Lines, job: Job) {
    if let Err(job) = waiting.push(job.of.clone(), job) {
        let _ = job.answer.send(Err(ClusterError::Overloaded));
    }
}

/// What goes into one entry: of each agency in turn.
fn entry(waiting: &mut Lines) -> Vec<Job> {
    let (mut bytes, mut jobs) = (0usize, Vec::<Job>::new());
    while jobs.len() < Entry::BATCHES {
        let fits = |job: &Job| jobs.is_empty() || bytes + job.batch.len() <= limits::ENTRY_BYTES;
        let Some(job) = waiting.take(fits) else { break };
        bytes += job.batch.len();
        jobs.push(job);
    }
    jobs
}

fn answer_late(jobs: &mut Vec<Job>, why: &str) {
    let now = Instant::now();
    let (live, late): (Vec<_>, Vec<_>) = std::mem::take(jobs).into_iter().partition(|j| j.deadline > now);
    for job in late {
        let _ = job.answer.send(Err(ClusterError::Unavailable(why.to_owned())));
    }
    *jobs = live;
}

/// Forwarded batches go back to their nodes, which know the next leader as soon as we do; the rest is answered.
fn hand_back(jobs: Vec<Job>, why: &str) -> Vec<Job> {
    let (forwarded, own): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|j| j.origin == Origin::Forwarded);
    for job in forwarded {
        let _ = job.answer.send(Err(ClusterError::Unavailable(why.to_owned())));
    }
    own
}
