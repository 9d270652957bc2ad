//! One Raft group on one node: start, propose, answer peers, report.

use super::batcher::{Batcher, Origin};
use super::begun::{Begun, LOG_LOST};
use super::certificate::{Certificate, Certifier, step_back};
use super::codec;
use super::cutting::cut_by_bytes;
use super::door::{Door, DoorError};
use super::elections::{Elections, Grant, Mandate, read_grants};
use super::error::ClusterError;
use super::evidence::{Evidence, Finding};
use super::freshness::Freshness;
use super::log::{Cuts, LogStore};
use super::machine::{Machine, Published};
use super::members::{Members, Turn};
use super::network::{CallError, CallKind, Network, PeerCalls};
use super::pieces::Pieces;
use super::saver::Incidents;
use super::types::{Membership, Raft, Vote};
use super::voters::Voters;
use crate::domain::canon::{Canon, CanonError, Reader};
use crate::domain::ids::{AgencyId, NodeId};
use crate::domain::limits;
use crate::journal::{Host, Waiting, Written, aside};
use crate::ledger::{BatchReply, Charter, State};
use crate::seal::{PublicKey, SigningKey};
use openraft::raft::{AppendEntriesResponse, InstallSnapshotResponse, VoteResponse};
use openraft::{Config, EmptyNode, SnapshotPolicy};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

/// A voter waits so long to have applied what it is asked about.
const ATTEST_WAIT: Duration = Duration::from_secs(1);
/// One attempt to ask a leader how far it is: whoever is elected meanwhile is asked next.
const ASK_LEADER: Duration = Duration::from_secs(3);
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// How long after its deadline the answer to a batch may come.
const LATE: Duration = Duration::from_millis(200);

/// Raft timings in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Timings {
    /// Heartbeat interval.
    pub heartbeat_ms: u64,
    /// Shortest election timeout.
    pub election_min_ms: u64,
    /// Longest election timeout.
    pub election_max_ms: u64,
}

/// Whether the state is kept in the store too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Materialise {
    /// In a folder of its own.
    InStore,
    /// Every start reads snapshot and log: where no store can run, as in a simulation.
    Never,
}

/// What a group is started with.
pub struct ClusterOptions {
    /// Own node.
    pub node: NodeId,
    /// Where files lie and workers work.
    pub host: Arc<dyn Host>,
    /// Folder of log and snapshots.
    pub dir: PathBuf,
    /// Whether the state is kept materialised, which only shortens a start.
    pub materialised: Materialise,
    /// A signed genesis.
    pub genesis: Vec<u8>,
    /// Timings.
    pub timings: Timings,
    /// When the log is cut.
    pub cuts: Cuts,
    /// Peers that the configuration knows.
    pub peers: BTreeSet<NodeId>,
    /// How peers are called.
    pub calls: Arc<dyn PeerCalls>,
    /// The node's own key: it signs whom this node voted for.
    pub key: SigningKey,
    /// Who takes part, for a node that does not know it from its own log yet.
    pub charter: Option<Charter>,
}

/// Position of the group as this node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Leader, if one is known and alive.
    pub leader: Option<NodeId>,
    /// Term.
    pub term: u64,
    /// Committed index as far as applied or known here.
    pub committed: u64,
}

/// A message with what it came with.
struct Message<'a> {
    sender: NodeId,
    kind: CallKind,
    body: &'a [u8],
}

/// The group on this node.
pub struct Cluster {
    pub(super) node: NodeId,
    pub(super) raft: Raft,
    pub(super) log: LogStore,
    pub(super) published: Arc<Published>,
    incidents: Incidents,
    pub(super) evidence: Arc<Evidence>,
    pub(super) certifier: Arc<Certifier>,
    pub(super) freshness: Arc<Freshness>,
    /// The tasks that ask other nodes by themselves; they end with this.
    certifying: tokio::sync::Mutex<JoinSet<()>>,
    pub(super) batcher: Batcher,
    /// Calls under way that forward, by sender: the door lets only nodes of the ledger here.
    pub(super) forwarding: Mutex<BTreeMap<NodeId, Waiting>>,
    pub(super) turn: Turn,
    /// Written while leadership is handed over; read by whoever asks the voters whether this node leads.
    pub(super) calm: tokio::sync::RwLock<()>,
    pub(super) calls: Arc<dyn PeerCalls>,
    pub(super) election: Duration,
    pieces: tokio::sync::Mutex<Pieces>,
    elections: Arc<Elections>,
    mandate: Arc<Mandate>,
    voters: Arc<Voters>,
    host: Arc<dyn Host>,
}

impl Cluster {
    /// Opens log and snapshot, starts openraft, forms the group on the first start.
    pub async fn start(o: ClusterOptions) -> Result<Cluster, ClusterError> {
        let fatal = |e: String| ClusterError::Fatal(e);
        let host = &o.host;
        let log = LogStore::open(host.as_ref(), &o.dir.join("log")).map_err(|e| fatal(e.to_string()))?;
        let (mut machine, published) = Machine::open(host.as_ref(), (&o.dir, o.materialised), &o.genesis, &log)
            .map_err(|e| fatal(e.to_string()))?;
        let incidents = machine.incidents();
        let evidence = Arc::new(Evidence::open(host.as_ref(), &o.dir.join("evidence")).map_err(fatal)?);
        if let Some(why) = evidence.halted() {
            tracing::error!(%why, "evidence of an attempt to undo the ledger; this node writes nothing to it");
        }
        let config = Config {
            cluster_name: "hufu".into(),
            heartbeat_interval: o.timings.heartbeat_ms,
            election_timeout_min: o.timings.election_min_ms,
            election_timeout_max: o.timings.election_max_ms,
            install_snapshot_timeout: 10_000,
            snapshot_max_chunk_size: o.cuts.piece_bytes,
            max_payload_entries: 32,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(o.cuts.every),
            max_in_snapshot_log_to_keep: o.cuts.kept,
            purge_batch_size: o.cuts.kept.clamp(1, 256),
            ..Config::default()
        };
        let config = config.validate().map_err(|e| fatal(e.to_string()))?;
        let begun = Begun::of(host.as_ref(), &o.dir).map_err(fatal)?;
        // Without its votes this voter could vote twice in one term, and undo what was agreed.
        if log.vote().is_none() && begun.is_set().map_err(fatal)? {
            return Err(fatal(LOG_LOST.to_owned()));
        }
        let voters = published.state().voters();
        // Whoever the others say does not vote stands for nothing here either, whatever the genesis says.
        let told_not_to = o.charter.as_ref().is_some_and(|c| !c.voters.iter().any(|set| set.contains(&o.node)));
        let (key, known) = (Arc::new(o.key), Arc::new(Voters::following(Arc::clone(&published), o.charter)));
        let elections = Arc::new(Elections::new(Arc::clone(&known)));
        let mandate = Mandate::new(o.node.0, Arc::clone(&key), Arc::clone(&elections), Arc::clone(&o.calls));
        let mandate = Arc::new(mandate);
        let (calls, shown, kept) =
            (Arc::clone(&o.calls), (Arc::clone(&published), &machine.file()), Arc::clone(&evidence));
        let (asker, shown_too) = (Arc::clone(&key), Arc::clone(&published));
        let freshness = Arc::new(Freshness::new(o.node.0, asker, Arc::clone(&known), Arc::clone(&o.calls), shown_too));
        let certifier = Arc::new(Certifier::new(o.node.0, key, Arc::clone(&known), calls, shown, kept));
        machine.certify_with(Arc::clone(&certifier));
        machine.keep_with(Arc::clone(&evidence));
        let network = Network {
            calls: Arc::clone(&o.calls),
            log: log.clone(),
            voters: Arc::clone(&known),
            mandate: Arc::clone(&mandate),
            certifier: Arc::clone(&certifier),
        };
        let raft = Raft::new(o.node.0, Arc::new(config), network, log.clone(), machine)
            .await
            .map_err(|e| fatal(e.to_string()))?;
        tokio::spawn(begun.once_voted(raft.clone()));
        let votes = voters.contains(&o.node) && !told_not_to;
        if votes && !raft.is_initialized().await.map_err(|e| fatal(e.to_string()))? {
            // Every voter starts with the same membership, which openraft allows: they elect one leader.
            let members: BTreeMap<u64, EmptyNode> = voters.iter().map(|n| (n.0, EmptyNode::new())).collect();
            if let Err(e) = raft.initialize(members).await {
                tracing::debug!(error = %e, "somebody else initialized the group first");
            }
        }
        let mut certifying = JoinSet::new();
        certifying.spawn(Arc::clone(&certifier).run(raft.clone()));
        certifying.spawn(Arc::clone(&certifier).watch());
        certifying.spawn(Arc::clone(&freshness).run(log.gauge()));
        certifying.spawn(log.clone().keep_committed());
        certifying.spawn(Arc::clone(&certifier).renew_snapshots(raft.clone()));
        certifying.spawn(Arc::clone(&certifier).certify_snapshots(raft.clone()));
        certifying.spawn(cut_by_bytes(raft.clone(), log.gauge(), o.cuts.bytes));
        let certifying = tokio::sync::Mutex::new(certifying);
        let turn = Turn::default();
        let batcher = Batcher::start(o.node, raft.clone(), log.gauge(), Arc::clone(&o.calls), Arc::clone(&turn));
        let (node, shown) = (o.node, Arc::clone(&published));
        tokio::spawn(Members { node, raft: raft.clone(), published: shown, turn: Arc::clone(&turn) }.run());
        let election = Duration::from_millis(o.timings.election_max_ms);
        let (node, calls, pieces) = (o.node, o.calls, tokio::sync::Mutex::default());
        let cluster = Cluster {
            node,
            raft,
            log,
            published,
            incidents,
            evidence,
            certifier,
            freshness,
            certifying,
            batcher,
            turn,
            calm: tokio::sync::RwLock::default(),
            forwarding: Mutex::default(),
            calls,
            election,
            pieces,
            elections,
            mandate,
            voters: known,
            host: o.host,
        };
        if cluster.halted().is_some() {
            step_back(&cluster.raft);
        }
        Ok(cluster)
    }

    #[cfg(test)]
    pub(super) fn node(&self) -> NodeId {
        self.node
    }

    /// The ledger as applied here.
    pub fn state(&self) -> Arc<State> {
        self.published.state()
    }

    /// Who takes part by the ledger as applied here.
    pub fn charter(&self) -> Charter {
        let (state, at) = self.published.moment();
        state.charter(at)
    }

    /// Agency and key of a node that takes part, by the ledger as applied here or by a charter that is ahead of it; none of a
    /// suspended agency.
    pub fn member(&self, node: NodeId) -> Option<(AgencyId, PublicKey)> {
        self.voters.member(node)
    }

    /// What was rebuilt since the last call, for the audit log.
    pub fn take_incidents(&self) -> Vec<String> {
        self.incidents.take()
    }

    /// What was kept as evidence since the last call.
    pub fn take_evidence(&self) -> Vec<Finding> {
        self.evidence.take()
    }

    /// Voters that signed two states for one index, each with the index (P7).
    pub fn double_words(&self) -> Vec<String> {
        self.evidence.doubles()
    }

    /// The highest index whose state a majority of the voters signed (P7); 0 for none yet.
    pub fn certified(&self) -> u64 {
        self.certifier.certified()
    }

    /// Whether a certificate names another state than this node has (P7).
    pub fn has_diverged(&self) -> bool {
        self.evidence.has_diverged()
    }

    /// Why this node writes nothing to the ledger (P6); none while all is well.
    pub fn halted(&self) -> Option<String> {
        self.evidence.halted()
    }

    pub(super) fn writable(&self) -> Result<(), ClusterError> {
        self.halted().map_or(Ok(()), |why| Err(ClusterError::Halted(why)))
    }

    /// What the log's journal wrote since the start.
    pub fn written(&self) -> Written {
        self.log.written()
    }

    /// Last applied index.
    pub fn applied(&self) -> u64 {
        *self.published.applied().borrow()
    }

    /// Tells of every applied index.
    pub fn applied_watch(&self) -> watch::Receiver<u64> {
        self.published.applied()
    }

    /// The state's digest just after `index`, for the last few thousand indices since the start.
    pub fn digest_at(&self, index: u64) -> Option<[u8; 32]> {
        self.published.digest_at(index)
    }

    /// Leader, term, committed.
    pub fn status(&self) -> Status {
        let m = self.raft.metrics().borrow().clone();
        // A leader that lost its quorum is none: it has had no acknowledgement for an election timeout, or since its start.
        let lost = m.millis_since_quorum_ack.is_none_or(|ms| Duration::from_millis(ms) > self.election);
        let leader = m.current_leader.filter(|l| !(*l == self.node.0 && lost)).map(NodeId);
        Status { leader, term: m.current_term, committed: m.last_applied.map_or(0, |l| l.index) }
    }

    /// Puts a signed batch on the ledger and answers its reply once applied.
    pub async fn propose(&self, batch: Vec<u8>, deadline: Instant) -> Result<BatchReply, ClusterError> {
        // A longer one would be written to the log and never be read again.
        if batch.len() > limits::BATCH_BYTES + 128 {
            return Err(ClusterError::Malformed(CanonError::TooLong));
        }
        self.writable()?;
        let of = self.state().node_agency(self.node);
        let outcome = self.batcher.push(batch, of, deadline, Origin::Own)?;
        // What is late is told why, unless it is just being written, or waits behind what is.
        let outcome = timeout_at(deadline + LATE, outcome).await;
        let outcome = outcome.map_err(|_| ClusterError::Unavailable(": it may still be written".into()))?;
        let reply = outcome.map_err(|_| ClusterError::Unavailable(": the node is stopping".into()))??;
        // The leader may be ahead: what was answered must be readable here.
        self.wait_applied(reply.index, deadline).await?;
        Ok(reply)
    }

    /// Answers a peer's message.
    pub async fn handle(&self, sender: NodeId, kind: u32, body: Vec<u8>) -> Result<Vec<u8>, ClusterError> {
        let kind = CallKind::from_code(kind).ok_or(CanonError::Invalid("kind of a call"))?;
        let (state, at) = self.published.moment();
        // In this order: a leader that is replaced between the two is deposed, and not one that undoes what was applied.
        let applied = self.applied();
        let vote = self.log.vote().unwrap_or_default();
        let door = Door { state: &state, log: &self.log, applied, at, vote, elections: &self.elections };
        let of = Message { sender, kind, body: &body };
        let fatal = |e: String| ClusterError::Fatal(e);
        match kind {
            CallKind::Append => {
                let (mut shown, mut m) = codec::parse(&body, |r| Ok((read_grants(r)?, codec::read_append(r)?)))?;
                shown.extend(self.own_grant(&vote, (m.vote.leader_id.term, sender.0)));
                let reply = match door.append(sender, &m, &shown) {
                    Err(DoorError::Gap) => AppendEntriesResponse::Conflict,
                    checked => {
                        self.admit(&of, checked).await?;
                        m.leader_commit = door.commit(&m);
                        if !door.is_deposed(&m.vote) {
                            self.certifier.hears(sender);
                        }
                        self.raft.append_entries(m).await.map_err(|e| fatal(e.to_string()))?
                    }
                };
                Ok(codec::message(|w| codec::write_append_reply(w, &reply)))
            }
            CallKind::Vote => {
                let m = codec::parse(&body, codec::read_vote_request)?;
                self.admit(&of, door.request(sender, &m)).await?;
                let of = (m.vote.leader_id.term, sender.0);
                let reply = match self.joins() {
                    true => self.raft.vote(m).await.map_err(|e| fatal(e.to_string()))?,
                    // It would sign nothing for whom it elected. Two candidates that it elects by turns, since it lags behind
                    // both, would never ask each other twice about the same log, and nobody would ever lead.
                    false => VoteResponse { vote, vote_granted: false, last_log_id: None },
                };
                if reply.vote_granted {
                    self.mandate.gave(of);
                }
                Ok(codec::message(|w| codec::write_vote_reply(w, &reply)))
            }
            CallKind::Snapshot => {
                let read = |r: &mut Reader<'_>| Ok((read_grants(r)?, r.value()?, codec::read_snapshot(r)?));
                let (mut shown, certificate, m): (Vec<Grant>, Certificate, _) = codec::parse(&body, read)?;
                shown.extend(self.own_grant(&vote, (m.vote.leader_id.term, sender.0)));
                self.admit(&of, door.snapshot(sender, &m, (&shown, &certificate))).await?;
                let mut reply = InstallSnapshotResponse { vote };
                // A replaced leader hears of its successor. What is applied here already is not taken again; its sender
                // goes on with the log.
                let applied = m.meta.last_log_id.is_none_or(|id| id.index <= door.applied);
                if !door.is_deposed(&m.vote) && !applied {
                    let mut pieces = self.pieces.lock().await;
                    let check = |state: &State, m: &Membership| door.snapshot_state(state, (m, &certificate));
                    let mut whole = None;
                    let added = pieces.add(&m, check).map(|snapshot| whole = snapshot);
                    self.admit(&of, added).await?;
                    if let Some(snapshot) = whole {
                        let certifier = Arc::clone(&self.certifier);
                        let keep = move || {
                            certifier.keep(&snapshot, &certificate);
                            snapshot
                        };
                        let kept = aside(self.host.as_ref(), keep).await;
                        let snapshot = kept.ok_or_else(|| fatal("a snapshot that came was not kept".to_owned()))?;
                        let installed = self.raft.install_full_snapshot(m.vote, snapshot).await;
                        reply = installed.map_err(|e| fatal(e.to_string()))?.into();
                    }
                }
                Ok(codec::message(|w| codec::write_snapshot_reply(w, &reply)))
            }
            CallKind::Forward => self.forwarded(sender, &body).await,
            CallKind::Attest => {
                let index = codec::parse(&body, |r| r.u64())?;
                // Who lags has no word yet.
                let _applied = self.wait_applied(index, Instant::now() + ATTEST_WAIT).await;
                let word = self.certifier.attest(index);
                Ok(codec::message(|w| {
                    w.option(word.as_ref(), |w, a| {
                        w.value(a);
                    });
                }))
            }
            CallKind::Certificate => {
                let certificate = codec::parse(&body, Certificate::read)?;
                // One that comes before its entries is compared with them.
                let _applied = self.wait_applied(certificate.index, Instant::now() + ATTEST_WAIT).await;
                let taken = self.certifier.take(sender, certificate).await.map_err(|e| fatal(e.to_string()))?;
                if self.halted().is_some() {
                    step_back(&self.raft);
                }
                if !taken {
                    return Err(ClusterError::Door("a certificate without a majority".into()));
                }
                Ok(codec::message(|_| {}))
            }
            CallKind::Grant => {
                let term = codec::parse(&body, |r| r.u64())?;
                let granted = self.mandate.grant(&vote, (term, sender.0)).filter(|_| self.votes());
                Ok(codec::message(|w| {
                    w.option(granted.as_ref(), |w, g| {
                        w.value(g);
                    });
                }))
            }
            CallKind::Pulse => {
                let number = codec::parse(&body, |r| r.u64())?;
                let pulse = self.freshness.answer(sender.0, number, self.log.gauge().last());
                Ok(codec::message(|w| {
                    w.option(pulse.as_ref(), |w, p| {
                        w.value(p);
                    });
                }))
            }
            CallKind::Stand => {
                let term = codec::parse(&body, |r| r.u64())?;
                self.stand(sender, term).await
            }
            CallKind::ReadIndex => {
                let index = self.read_index(Instant::now() + ASK_LEADER).await?;
                Ok(codec::message(|w| {
                    w.u64(index);
                }))
            }
        }
    }

    /// Who votes by this node's own log: while the voters change the old set, and behind it the new one.
    fn sets(&self) -> Vec<BTreeSet<u64>> {
        self.raft.metrics().borrow().membership_config.membership().get_joint_config().clone()
    }

    /// Whether this node votes by its own log: while the voters change, in the old set; whoever is only to vote next elects
    /// nobody.
    fn votes(&self) -> bool {
        self.sets().first().is_none_or(|set| set.contains(&self.node.0))
    }

    /// What this node itself knows of a leader whom it gave its vote, until it has seen it elected. A leader shows a majority
    /// of the voters that it knows. Who was away while they changed, or is yet to vote by its own log and so signs nothing for
    /// others, knows other ones, and counts its own vote with them: what tells it of the change is what that leader sends.
    fn own_grant(&self, vote: &Vote, of: (u64, u64)) -> Option<Grant> {
        if self.elections.has_seen(of) {
            return None;
        }
        self.mandate.grant(vote, of).filter(|_| self.joins())
    }

    /// Whether this node votes by its own log, or is to vote next.
    fn joins(&self) -> bool {
        self.sets().iter().any(|set| set.contains(&self.node.0))
    }

    /// What the door said of a message; one that would undo what was applied is evidence (P6).
    async fn admit(&self, of: &Message<'_>, checked: Result<(), DoorError>) -> Result<(), ClusterError> {
        let Err(error) = checked else { return Ok(()) };
        tracing::error!(sender = %of.sender, %error, "a message was refused at the door");
        if matches!(error, DoorError::Rollback(_)) {
            step_back(&self.raft);
            let kept = self.evidence.keep(of.sender, of.kind, &error.to_string(), of.body).await;
            // Once more: whoever gave up a hand-over in between may not have seen the evidence yet.
            step_back(&self.raft);
            if let Err(failed) = kept {
                // A disk that takes no evidence takes no log either: the node stops.
                self.shutdown().await;
                return Err(ClusterError::Fatal(failed.to_string()));
            }
        }
        Err(ClusterError::Door(error.to_string()))
    }

    /// Waits until this node has applied all that was committed when it was asked. Without a leader it ends at once.
    pub async fn barrier(&self, deadline: Instant) -> Result<(), ClusterError> {
        let index = self.committed_index(deadline).await?;
        self.wait_applied(index, deadline).await
    }

    /// The same, and waits for a leader too. What a later one answers covers all that was committed when it was asked.
    pub async fn barrier_once_led(&self, deadline: Instant) -> Result<(), ClusterError> {
        let index = loop {
            match self.committed_index(deadline.min(Instant::now() + ASK_LEADER)).await {
                Err(ClusterError::Unavailable(_)) if Instant::now() + ASK_AGAIN < deadline => sleep(ASK_AGAIN).await,
                answer => break answer?,
            }
        };
        self.wait_applied(index, deadline).await
    }

    /// How far the leader has committed, by its own word after a majority followed it.
    async fn committed_index(&self, deadline: Instant) -> Result<u64, ClusterError> {
        let leader = self.status().leader.ok_or_else(|| ClusterError::Unavailable(": no leader".into()))?;
        if leader == self.node {
            return self.read_index(deadline).await;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let bytes = self.calls.call(leader.0, CallKind::ReadIndex, Vec::new(), left).await;
        let bytes = bytes.map_err(|e: CallError| ClusterError::Unavailable(format!(": {e}")))?;
        Ok(codec::parse(&bytes, |r| r.u64())?)
    }

    /// Why openraft stopped; pending while it runs.
    pub async fn failed(&self) -> String {
        let mut metrics = self.raft.metrics();
        match metrics.wait_for(|m| m.running_state.is_err()).await {
            Ok(m) => m.running_state.as_ref().err().map_or_else(String::new, ToString::to_string),
            Err(_) => "it is gone".to_owned(),
        }
    }

    /// Stops openraft.
    pub async fn shutdown(&self) {
        self.certifying.lock().await.shutdown().await;
        if let Err(e) = self.raft.shutdown().await {
            tracing::warn!(error = %e, "consensus did not stop cleanly");
        }
        self.certifier.close().await;
    }

    async fn read_index(&self, deadline: Instant) -> Result<u64, ClusterError> {
        // Only the index: whoever asked waits for it at home.
        let asked = async {
            let _calm = self.calm.read().await;
            self.raft.get_read_log_id().await
        };
        let answer = timeout_at(deadline, asked).await;
        let answer = answer.map_err(|_| ClusterError::Unavailable(": the voters were not asked in time".into()))?;
        let (id, _) = answer.map_err(|e| ClusterError::Unavailable(format!(": {e}")))?;
        Ok(id.map_or(0, |l| l.index))
    }

    async fn wait_applied(&self, index: u64, deadline: Instant) -> Result<(), ClusterError> {
        let mut applied = self.published.applied();
        let waited = tokio::time::timeout_at(deadline, applied.wait_for(|a| *a >= index)).await;
        waited
            .map_err(|_| ClusterError::Unavailable(": this node lags behind".into()))?
            .map(|_| ())
            .map_err(|e| ClusterError::Fatal(e.to_string()))
    }
}
