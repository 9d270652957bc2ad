//! Signs this node's commands in batches: concurrent commands share one entry, one signature, one round.
//!
//! One batch of a node is under way at a time, so sequences arrive in order. A batch whose outcome is unknown
//! is sent again as the same bytes; the ledger answers a repeat with the stored reply (P3).

use super::error::ClusterError;
use super::group::Cluster;
use super::incarnation::Incarnation;
use crate::domain::canon::Canon;
use crate::domain::fault::Fault;
use crate::domain::ids::{FederationId, NodeId};
use crate::domain::limits;
use crate::domain::time::Clock;
use crate::journal::{Place, Waiting};
use crate::ledger::{BatchReply, Command, CommandReply, Refusal, SignedBatch};
use crate::seal::SigningKey;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// A batch is not valid this many entries after it was signed.
const VALID_ENTRIES: u64 = 100_000;
/// Most commands that wait, those on their way included, and their bytes.
const WAITING: usize = 4_096;
const WAITING_BYTES: usize = 8 << 20;

/// What became of a command.
pub type Outcome = Result<(u64, CommandReply), Fault>;

struct Job {
    command: Command,
    bytes: usize,
    deadline: Instant,
    answer: oneshot::Sender<Outcome>,
    _place: Place,
}

/// Handle to the signing task.
#[derive(Clone)]
pub struct Committer {
    jobs: mpsc::Sender<Job>,
    waiting: Waiting,
    cluster: Arc<Cluster>,
    node: NodeId,
}

impl Committer {
    /// Starts the task, which signs as this start of the node.
    pub fn start(
        cluster: Arc<Cluster>,
        federation: FederationId,
        node: NodeId,
        key: SigningKey,
        incarnation: Incarnation,
        clock: Arc<dyn Clock>,
    ) -> Committer {
        let (jobs, queue) = mpsc::channel(WAITING);
        let budgets = Arc::clone(&cluster);
        let signer = Signer { cluster, federation, node, key, incarnation, sequence: 0, clock };
        tokio::spawn(signer.run(queue));
        Committer { jobs, waiting: Waiting::new(WAITING_BYTES), cluster: budgets, node }
    }

    /// Puts a command on the ledger. Answers its index and reply once applied here.
    ///
    /// # Errors
    /// Unavailable when no leader took it within `wait`; the outcome is then unknown and asking again is safe. Overloaded,
    /// at once, when too many wait already; then nothing was sent.
    pub async fn submit(&self, command: Command, wait: Duration) -> Outcome {
        let bytes = command.to_canon().len();
        if bytes > limits::BATCH_BYTES / 2 {
            return Err(Fault::usage("BAD_ACT", "the command is over the size that a ledger entry takes"));
        }
        // Whatever the budget says, the clock is told that ends its minute, and the certificate that others wait for.
        let is_free = matches!(command, Command::Supports { .. } | Command::Certified { .. });
        if !is_free && self.is_over_budget() {
            return Err(refused(Refusal::Budget));
        }
        let (answer, outcome) = oneshot::channel();
        let overloaded = || Fault::overloaded("too many commands wait for the ledger");
        let place = self.waiting.take(bytes).ok_or_else(overloaded)?;
        let deadline = Instant::now() + wait;
        let job = Job { command, bytes, deadline, answer, _place: place };
        self.jobs.try_send(job).map_err(|e| match e {
            TrySendError::Full(_) => overloaded(),
            TrySendError::Closed(_) => stopping(),
        })?;
        // A batch waits as long as its most patient command; each caller as long as it said.
        let outcome = tokio::time::timeout_at(deadline, outcome).await.map_err(|_| unknown())?;
        outcome.map_err(|_| stopping())?
    }
}

impl Committer {
    fn is_over_budget(&self) -> bool {
        let state = self.cluster.state();
        state.node(self.node).is_some_and(|n| state.is_over_budget(&n.agency))
    }
}

/// Signed, perhaps on its way, and not answered.
fn unknown() -> Fault {
    Fault::unavailable("NO_LEADER", "no quorum took it in time; the outcome is not known yet")
        .hint("`hufu cluster status` shows who is reachable; asking again is safe")
}

/// The fault of a command that the ledger refused.
pub fn refused(refusal: Refusal) -> Fault {
    let text = format!("the ledger refused it: {refusal}");
    match refusal {
        Refusal::VersionConflict => Fault::conflict("VERSION_CONFLICT", text).hint("look again and repeat"),
        Refusal::Exists => Fault::conflict("EXISTS", text),
        Refusal::Expired => Fault::conflict("EXPIRED", text),
        Refusal::NoAuthority => Fault::refused("NO_AUTHORITY", text),
        Refusal::Budget => Fault::unavailable("BUDGET", text)
            .hint("it counts anew with the next minute of the ledger's time; asking again is safe"),
        // Not written, and never to be: its number is another batch's.
        Refusal::Doubled => Fault::unavailable("NUMBER_TAKEN", text)
            .hint("nothing was written; asking again is safe. Was the node's data folder copied or set back?"),
        Refusal::Seats => Fault::refused("ONE_SEAT", text),
        Refusal::Mixed => Fault::refused("MIXED_CHANGE", text).hint("in two acts: what narrows, and what widens"),
        Refusal::Suites => Fault::refused("UNKNOWN_SUITE", text),
        Refusal::NoKey => Fault::refused("NO_GRADE_KEY", text),
        Refusal::Unknown => Fault::not_found(),
        Refusal::Malformed | Refusal::Invalid => Fault::usage("BAD_ACT", text),
        _ => Fault::refused("REFUSED_BY_LEDGER", text),
    }
}

fn stopping() -> Fault {
    Fault::unavailable("SHUTTING_DOWN", "the node is shutting down")
}

struct Signer {
    cluster: Arc<Cluster>,
    federation: FederationId,
    node: NodeId,
    key: SigningKey,
    incarnation: Incarnation,
    sequence: u64,
    clock: Arc<dyn Clock>,
}

impl Signer {
    /// The stored reply to the batch just sent, once this node applied it. Where the ledger has another batch under its number,
    /// this one is refused, by this node's own word.
    fn applied_reply(&self, content: Option<[u8; 32]>) -> Option<BatchReply> {
        let state = self.cluster.state();
        let node = state.node(self.node).filter(|n| n.last == (self.incarnation.number(), self.sequence))?;
        let reply = node.reply.clone()?;
        match node.content {
            Some(known) if Some(known) != content => {
                Some(BatchReply { index: reply.index, refused: Some(Refusal::Doubled), replies: Vec::new() })
            }
            _ => Some(reply),
        }
    }

    async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut left: Option<Job> = None;
        loop {
            let first = match left.take() {
                Some(job) => job,
                None => match queue.recv().await {
                    Some(job) => job,
                    None => return,
                },
            };
            let mut bytes = first.bytes;
            let mut jobs = vec![first];
            while jobs.len() < limits::BATCH_COMMANDS {
                let Ok(job) = queue.try_recv() else { break };
                if bytes + job.bytes > limits::BATCH_BYTES - 1024 {
                    left = Some(job);
                    break;
                }
                bytes += job.bytes;
                jobs.push(job);
            }
            self.commit(jobs).await;
        }
    }

    /// A batch of jobs somebody still waits for. Numbers of an earlier start are passed over once: the file that keeps them
    /// was lost.
    async fn commit(&mut self, jobs: Vec<Job>) {
        let now = Instant::now();
        let jobs: Vec<Job> = jobs.into_iter().filter(|j| j.deadline > now && !j.answer.is_closed()).collect();
        if jobs.is_empty() {
            return;
        }
        let (last, _) = self.cluster.state().node(self.node).map(|n| n.last).unwrap_or_default();
        if last > self.incarnation.number() || (last == self.incarnation.number() && self.sequence == 0) {
            if let Err(why) = self.incarnation.rise_above(last) {
                tracing::error!(%why, "nothing can be signed for the ledger");
                for job in jobs {
                    let _ = job.answer.send(Err(Fault::from(ClusterError::Fatal(why.clone()))));
                }
                return;
            }
            self.sequence = 0;
        }
        self.sequence += 1;
        let batch = SignedBatch {
            federation: self.federation.clone(),
            node: self.node,
            incarnation: self.incarnation.number(),
            sequence: self.sequence,
            not_after: self.cluster.applied().saturating_add(VALID_ENTRIES),
            time: self.clock.now(),
            commands: jobs.iter().map(|j| j.command.clone()).collect(),
        };
        let bytes = batch.seal(&self.key);
        let content = SignedBatch::content(&bytes);
        let deadline = jobs.iter().map(|j| j.deadline).max().unwrap_or_else(Instant::now);
        match self.cluster.propose(bytes, deadline).await {
            // What counts is what this node itself applied, not what the leader says of it.
            Ok(_) => {
                let Some(reply) = self.applied_reply(content) else {
                    for job in jobs {
                        let _ = job.answer.send(Err(unknown()));
                    }
                    return;
                };
                if reply.refused == Some(Refusal::Doubled) {
                    // An earlier start used this number, and its file was lost: the next batch is numbered above it.
                    self.sequence = 0;
                }
                let mut replies = reply.replies.into_iter();
                for job in jobs {
                    let outcome = match (reply.refused, replies.next()) {
                        (Some(why), _) => Err(refused(why)),
                        (None, Some(r)) => Ok((reply.index, r)),
                        (None, None) => {
                            Err(Fault::internal("INTERNAL", "the ledger answered fewer commands than it was sent"))
                        }
                    };
                    let _ = job.answer.send(outcome);
                }
            }
            Err(fault) => {
                let fault = Fault::from(fault);
                for job in jobs {
                    let _ = job.answer.send(Err(fault.clone()));
                }
            }
        }
    }
}
