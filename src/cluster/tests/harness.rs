//! Nodes of one federation in one process, and the calls between them.

use super::*;
use crate::ledger::Charter;
use crate::ledger::fixture::{Agency, Federation};
use crate::seal::SigningKey;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Which nodes are up, and what does not get through between them.
#[derive(Default)]
pub(super) struct Net {
    up: Mutex<BTreeMap<u64, Weak<Cluster>>>,
    lost: Mutex<Option<CallKind>>,
}

pub(super) type Nodes = Arc<Net>;

impl Net {
    pub(super) fn join(&self, cluster: &Arc<Cluster>) {
        self.up.lock().unwrap().insert(cluster.node().0, Arc::downgrade(cluster));
    }

    /// One is not reached any more.
    pub(super) fn lose_node(&self, node: NodeId) {
        self.up.lock().unwrap().remove(&node.0);
    }

    /// Nobody reaches anybody.
    pub(super) fn cut(&self) {
        self.up.lock().unwrap().clear();
    }

    /// Calls of this kind do not get through from now on.
    pub(super) fn lose(&self, kind: Option<CallKind>) {
        *self.lost.lock().unwrap() = kind;
    }

    fn way(&self, target: u64, kind: CallKind) -> Option<Arc<Cluster>> {
        let lost = *self.lost.lock().unwrap() == Some(kind);
        self.up.lock().unwrap().get(&target).and_then(Weak::upgrade).filter(|_| !lost)
    }
}

/// Calls from one node, straight into the others.
struct Wire {
    from: NodeId,
    nodes: Nodes,
}

impl PeerCalls for Wire {
    fn call(
        &self,
        target: u64,
        kind: CallKind,
        bytes: Vec<u8>,
        within: Duration,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, CallError>> + Send>> {
        let node = self.nodes.way(target, kind);
        let from = self.from;
        Box::pin(async move {
            let node = node.ok_or_else(|| CallError::Unreachable("it is down".into()))?;
            let answer = timeout(within, node.handle(from, kind.code(), bytes)).await;
            answer.map_err(|_| CallError::Timeout)?.map_err(|e| CallError::Unreachable(e.to_string()))
        })
    }
}

/// Elections are quick.
const QUICK: Timings = Timings { heartbeat_ms: 50, election_min_ms: 200, election_max_ms: 400 };
/// Nobody asks for votes as long as a test runs.
const NEVER: Timings = Timings { heartbeat_ms: 1_000, election_min_ms: 600_000, election_max_ms: 700_000 };

pub(super) async fn start(f: &Federation, agency: &Agency, seed: u8, nodes: &Nodes, dir: &TempDir) -> Arc<Cluster> {
    start_with(f, agency, (seed, QUICK, Cuts::default()), nodes, dir, None).await
}

/// One that cuts its log at so many bytes.
pub(super) async fn start_cutting(
    f: &Federation,
    (agency, seed): (&Agency, u8),
    nodes: &Nodes,
    dir: &TempDir,
    bytes: u64,
) -> Arc<Cluster> {
    let cuts = Cuts { bytes, ..Cuts::default() };
    start_with(f, agency, (seed, QUICK, cuts), nodes, dir, None).await
}

/// One that has a charter.
pub(super) async fn start_told(
    f: &Federation,
    (agency, seed): (&Agency, u8),
    nodes: &Nodes,
    dir: &TempDir,
    charter: Option<Charter>,
) -> Arc<Cluster> {
    start_with(f, agency, (seed, QUICK, Cuts::default()), nodes, dir, charter).await
}

/// Where a node keeps its ledger.
pub(super) fn folder(dir: &TempDir, agency: &Agency) -> std::path::PathBuf {
    dir.path().join(format!("{}-{}", agency.id, agency.node))
}

/// A node that follows whoever leads.
pub(super) async fn follow(f: &Federation, agency: &Agency, seed: u8, nodes: &Nodes, dir: &TempDir) -> Arc<Cluster> {
    start_with(f, agency, (seed, NEVER, Cuts::default()), nodes, dir, None).await
}

async fn start_with(
    f: &Federation,
    agency: &Agency,
    (seed, timings, cuts): (u8, Timings, Cuts),
    nodes: &Nodes,
    dir: &TempDir,
    charter: Option<Charter>,
) -> Arc<Cluster> {
    let options = || ClusterOptions {
        node: agency.node,
        host: Arc::new(System),
        materialised: Materialise::InStore,
        dir: folder(dir, agency),
        genesis: f.genesis.clone(),
        timings,
        cuts,
        peers: [&f.police, &f.customs, &f.third].map(|a| a.node).into(),
        calls: Arc::new(Wire { from: agency.node, nodes: Arc::clone(nodes) }),
        key: SigningKey::from_seed(&[seed; 32]).unwrap(),
        charter: charter.clone(),
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    let cluster = loop {
        match Cluster::start(options()).await {
            // What the same node had under way before it was stopped lets go of the folder first.
            Err(e) if e.to_string().contains("could not lock") && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            started => break Arc::new(started.unwrap()),
        }
    };
    nodes.join(&cluster);
    cluster
}

/// Polls until it holds; the runtime goes on meanwhile.
pub(super) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The one that leads, as soon as all agree who it is.
pub(super) async fn leader(all: &[&Arc<Cluster>]) -> Arc<Cluster> {
    let leads = |c: &&&Arc<Cluster>| all.iter().all(|other| other.status().leader == Some(c.node()));
    until("one leads", || all.iter().any(|c| leads(&c))).await;
    Arc::clone(all.iter().find(leads).unwrap_or(&all[0]))
}

/// Makes a snapshot and cuts the log up to it; answers its index.
pub(super) async fn cut_log(node: &Cluster) -> u64 {
    let begun = node.applied();
    node.raft.trigger().snapshot().await.unwrap();
    let at = || node.raft.metrics().borrow().snapshot.map(|id| id.index);
    until("it made a snapshot", || at().is_some_and(|index| index >= begun)).await;
    node.raft.trigger().purge_log(at().unwrap()).await.unwrap();
    until("it cut its log", || node.raft.metrics().borrow().purged.is_some()).await;
    at().unwrap()
}
