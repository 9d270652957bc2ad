//! Several nodes of one federation in one process: elections, certificates, and what a bad voter meets.

use super::*;
use crate::cluster::certificate::{Certificate, attest};
use crate::domain::canon::Canon;
use crate::ledger::Charter;
use crate::ledger::fixture::{Agency, Federation};
use crate::seal::SigningKey;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::time::{Instant, timeout};

pub(super) type Nodes = Arc<Mutex<BTreeMap<u64, Weak<Cluster>>>>;

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
        let node = self.nodes.lock().unwrap().get(&target).and_then(Weak::upgrade);
        let from = self.from;
        Box::pin(async move {
            let node = node.ok_or_else(|| CallError::Unreachable("it is down".into()))?;
            let answer = timeout(within, node.handle(from, kind.code(), bytes)).await;
            answer.map_err(|_| CallError::Timeout)?.map_err(|e| CallError::Unreachable(e.to_string()))
        })
    }
}

pub(super) async fn start(f: &Federation, agency: &Agency, seed: u8, nodes: &Nodes, dir: &TempDir) -> Arc<Cluster> {
    start_told(f, (agency, seed), nodes, dir, None).await
}

/// One that has a charter.
pub(super) async fn start_told(
    f: &Federation,
    (agency, seed): (&Agency, u8),
    nodes: &Nodes,
    dir: &TempDir,
    charter: Option<Charter>,
) -> Arc<Cluster> {
    let options = ClusterOptions {
        node: agency.node,
        dir: dir.path().join(format!("{}-{}", agency.id, agency.node)),
        genesis: f.genesis.clone(),
        timings: Timings { heartbeat_ms: 50, election_min_ms: 200, election_max_ms: 400 },
        peers: [&f.police, &f.customs, &f.third].map(|a| a.node).into(),
        calls: Arc::new(Wire { from: agency.node, nodes: Arc::clone(nodes) }),
        key: SigningKey::from_seed(&[seed; 32]).unwrap(),
        charter,
    };
    let cluster = Arc::new(Cluster::start(options).await.unwrap());
    nodes.lock().unwrap().insert(agency.node.0, Arc::downgrade(&cluster));
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn voters_certify_and_a_node_that_differs_stops_writing() {
    let (f, dir, nodes) = (federation(), tempfile::tempdir().unwrap(), Nodes::default());
    let police = start(&f, &f.police, 100, &nodes, &dir).await;
    let customs = start(&f, &f.customs, 20, &nodes, &dir).await;
    let third = start(&f, &f.third, 60, &nodes, &dir).await;
    let all = [&police, &customs, &third];
    until("one leads and shows it", || all.iter().all(|c| c.applied() > 0 && c.status().leader.is_some())).await;
    until("every node has a certificate", || all.iter().all(|c| c.certified() > 0)).await;
    assert!(all.iter().all(|c| c.halted().is_none() && !c.has_diverged()));

    // Whoever was not elected is not listened to, whatever term it claims.
    let term = third.status().term + 1;
    let m = AppendEntriesRequest::<TypeConfig> {
        vote: Vote::new_committed(term, f.police.node.0),
        prev_log_id: None,
        entries: vec![],
        leader_commit: None,
    };
    let alone = [grant(&f.id, f.police.node.0, &f.police.node_key, (term, f.police.node.0))];
    let body = codec::message(|w| {
        write_grants(w, &alone);
        codec::write_append(w, &m);
    });
    let refused = third.handle(f.police.node, CallKind::Append.code(), body).await.unwrap_err();
    assert!(refused.to_string().contains("was elected"), "{refused}");
    assert!(third.halted().is_none(), "it undid nothing");

    // A certificate of one voter alone is none; one of the majority for another state is evidence.
    let at = third.applied();
    let word = |a: &Agency| attest(&f.id, a.node.0, &a.node_key, (at, [9; 32]));
    let certificate = |words: &[_]| Certificate::of(words, &Voters::of(&third.state()));
    assert!(certificate(&[word(&f.police)]).is_none());
    let other = certificate(&[word(&f.police), word(&f.customs)]).unwrap();
    let body = codec::message(|w| {
        w.array(&other.to_canon());
    });
    third.handle(f.police.node, CallKind::Certificate.code(), body).await.unwrap();
    assert!(third.has_diverged() && third.halted().unwrap().contains("another state"));
    assert_eq!(third.take_evidence().len(), 1);
    third.shutdown().await;
    drop(third);
    let third = start(&f, &f.third, 60, &nodes, &dir).await;
    assert!(third.has_diverged(), "a restart forgets nothing");
    for node in [police, customs, third] {
        node.shutdown().await;
    }
}

/// A node that comes when the log is cut gets a snapshot, with the certificate that it asks for; also after every voter was
/// restarted and none remembers the state at which the old one was made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_is_fed_a_certified_snapshot() {
    let (f, dir, nodes) = (federation(), tempfile::tempdir().unwrap(), Nodes::default());
    for restarted in [false, true] {
        let police = start(&f, &f.police, 100, &nodes, &dir).await;
        let customs = start(&f, &f.customs, 20, &nodes, &dir).await;
        let both = [&police, &customs];
        until("one leads", || both.iter().all(|c| c.applied() > 1 && c.status().leader.is_some())).await;
        let leads = |c: &&&Arc<Cluster>| c.raft.metrics().borrow().current_leader == Some(c.node().0);
        let leader = Arc::clone(both.iter().find(leads).unwrap());
        if !restarted {
            // Whoever leads later has no log to give.
            for node in both {
                node.raft.trigger().snapshot().await.unwrap();
                let at = || node.raft.metrics().borrow().snapshot.map(|id| id.index);
                until("it made a snapshot", || at().is_some()).await;
                node.raft.trigger().purge_log(at().unwrap()).await.unwrap();
                until("it cut its log", || node.raft.metrics().borrow().purged.is_some()).await;
            }
        } else {
            let third = start(&f, &f.third, 60, &nodes, &dir).await;
            until("the newcomer has what the leader has", || {
                third.applied() > 0 && third.applied() == leader.applied()
            })
            .await;
            assert_eq!(third.state().digest(), leader.state().digest());
            assert!(
                dir.path().join(format!("cyberspace-{}", f.third.node)).join("snapshot").exists(),
                "by a snapshot, and not by the log"
            );
            third.shutdown().await;
        }
        for node in [police, customs] {
            node.shutdown().await;
        }
    }
}

/// A leader that was restarted and that nobody follows any more steps down when it hears so, and the ledger goes on: its log
/// is the longer one, so it grants the other no vote.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_leader_without_grants_steps_down() {
    let (f, dir, nodes) = (federation(), tempfile::tempdir().unwrap(), Nodes::default());
    let mut both = [start(&f, &f.police, 100, &nodes, &dir).await, start(&f, &f.customs, 20, &nodes, &dir).await];
    until("one leads", || both.iter().all(|c| c.applied() > 1 && c.status().leader.is_some())).await;
    let leads = |c: &Arc<Cluster>| c.raft.metrics().borrow().current_leader == Some(c.node().0);
    let at = both.iter().position(leads).unwrap();
    // The follower is cut off; the leader writes what nobody else has.
    let (leader, other) = (Arc::clone(&both[at]), Arc::clone(&both[1 - at]));
    nodes.lock().unwrap().clear();
    let last = leader.raft.metrics().borrow().last_log_index;
    let writer = leader.raft.clone();
    let writing = tokio::spawn(async move { writer.client_write(Entry { batches: Vec::new() }).await });
    until("it wrote", || leader.raft.metrics().borrow().last_log_index > last).await;
    let term = leader.raft.metrics().borrow().current_term;
    leader.shutdown().await;
    writing.abort();
    until("the other asks for votes", || other.raft.metrics().borrow().current_term > term).await;
    let (node, agency, seed) = match leader.node() == f.police.node {
        true => (leader.node(), &f.police, 100),
        false => (leader.node(), &f.customs, 20),
    };
    drop(leader);
    both[at] = Arc::clone(&other);
    nodes.lock().unwrap().insert(other.node().0, Arc::downgrade(&other));
    both[at] = start(&f, agency, seed, &nodes, &dir).await;
    assert_eq!(both[at].node(), node);
    let led = |c: &Arc<Cluster>| c.status().leader.is_some() && c.raft.metrics().borrow().current_term > term;
    until("one of them leads in a later term", || both.iter().all(led)).await;
    until("and both have applied the same", || {
        both[0].applied() > last.unwrap() && both[0].applied() == both[1].applied()
    })
    .await;
    for cluster in both {
        cluster.shutdown().await;
    }
}
