//! Who takes part changes while others write: voters come and go, a newcomer is fed a snapshot, and the door holds every
//! membership against what the ledger approved.

use super::harness::{Nodes, start, start_told, until};
use super::*;
use crate::domain::ids::RecordId;
use crate::domain::time::{Entropy, Millis};
use crate::ledger::fixture::{Federation, batch, newcomer, second_node};
use crate::ledger::{Act, Command, CommandReply, SignedAct, origin_mark};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;

struct Count(u64);
impl Entropy for Count {
    fn fill(&mut self, out: &mut [u8]) {
        for b in out {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *b = (self.0 >> 56) as u8;
        }
    }
}

fn voice(f: &Federation, by: &Agency, act: &Act, expected: u32) -> Command {
    let (handle, key) = &by.officers[0];
    Command::Act(SignedAct::sign(&f.id, act, expected, Millis(u64::MAX), *handle, key))
}

fn seats(of: &[&Agency]) -> Act {
    Act::Voters(of.iter().map(|a| (a.id.clone(), "1".to_owned())).collect())
}

fn in_time() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

/// The voters by this node's log, if it holds one set.
fn by_the_log(node: &Cluster) -> Option<BTreeSet<u64>> {
    let metrics = node.raft.metrics().borrow().clone();
    match metrics.membership_config.membership().get_joint_config().as_slice() {
        [only] => Some(only.clone()),
        _ => None,
    }
}

fn fed(node: &Cluster, id: NodeId) -> bool {
    let metrics = node.raft.metrics().borrow().clone();
    metrics.membership_config.membership().nodes().any(|(n, _)| *n == id.0)
}

/// Publishes one record after the other by police's node until told; answers those that were acknowledged.
async fn load(f: Arc<Federation>, node: Arc<Cluster>, enough: Arc<AtomicBool>) -> Vec<RecordId> {
    let mut acknowledged = Vec::new();
    for sequence in 1.. {
        if enough.load(Ordering::Relaxed) {
            break;
        }
        let record = RecordId::new(Millis(sequence), origin_mark(&f.id, &f.police.id), &mut Count(sequence));
        let tags = (0..4).map(|n| [n; 16]).collect();
        let commit = Command::Commit { record, version: 1, commitment: [1; 32], grant: [2; 32], tags };
        let reply = node.propose(batch(&f, &f.police, (1, sequence), vec![commit]), in_time()).await.unwrap();
        assert_eq!((reply.refused, reply.replies), (None, vec![CommandReply::Done]));
        acknowledged.push(record);
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn voters_come_and_go_under_load() {
    let (f, dir, nodes) = (Arc::new(federation()), tempfile::tempdir().unwrap(), Nodes::default());
    let police = start(&f, &f.police, 100, &nodes, &dir).await;
    let customs = start(&f, &f.customs, 20, &nodes, &dir).await;
    let third = start(&f, &f.third, 60, &nodes, &dir).await;
    until("the third learns", || third.applied() > 0 && fed(&third, f.third.node)).await;
    let enough = Arc::new(AtomicBool::default());
    let writing = tokio::spawn(load(Arc::clone(&f), Arc::clone(&police), Arc::clone(&enough)));

    // Acts come by the third's node, which is there from the first to the last.
    let mut sequence = 0;
    let mut sign = |voices: Vec<Command>| {
        sequence += 1;
        let (node, bytes) = (Arc::clone(&third), batch(&f, &f.third, (1, sequence), voices));
        async move { node.propose(bytes, in_time()).await.unwrap().replies }
    };
    let both = [CommandReply::Pending, CommandReply::Done];
    let all = seats(&[&f.police, &f.customs, &f.third]);
    assert_eq!(sign(vec![voice(&f, &f.police, &all, 1), voice(&f, &f.customs, &all, 1)]).await, both);
    let three: BTreeSet<u64> = [f.police.node.0, f.customs.node.0, f.third.node.0].into();
    for node in [&police, &customs, &third] {
        until("all three vote", || by_the_log(node).as_ref() == Some(&three)).await;
    }
    let two = seats(&[&f.police, &f.third]);
    assert_eq!(sign(vec![voice(&f, &f.police, &two, 2), voice(&f, &f.third, &two, 2)]).await, both);
    let left: BTreeSet<u64> = [f.police.node.0, f.third.node.0].into();
    for node in [&police, &third] {
        until("two are left", || by_the_log(node).as_ref() == Some(&left)).await;
    }
    let out = Act::RemoveNode { agency: f.customs.id.clone(), node: "1".into() };
    assert_eq!(sign(vec![voice(&f, &f.police, &out, 1), voice(&f, &f.third, &out, 1)]).await, both);
    until("customs is fed no more", || !fed(&police, f.customs.node) && !fed(&third, f.customs.node)).await;
    // Nobody needs it: what is written now is written by the two who are left.
    customs.shutdown().await;
    nodes.lose_node(f.customs.node);
    let certified = third.certified();
    until("the two certify what they write", || third.certified() > certified).await;
    enough.store(true, Ordering::Relaxed);
    let acknowledged = writing.await.unwrap();
    until("both have applied the same", || third.applied() == police.applied()).await;
    assert!(!acknowledged.is_empty() && third.state().digest() == police.state().digest());
    assert!(acknowledged.iter().all(|record| third.state().record(record).is_some()), "nothing acknowledged is lost");
    assert!([&police, &third].iter().all(|c| c.halted().is_none() && !c.has_diverged()));
    // A node that was removed leads nobody and elects nobody, whatever it says.
    let term = third.status().term + 1;
    let asks = VoteRequest { vote: Vote::new(term, f.customs.node.0), last_log_id: None };
    let body = codec::message(|w| codec::write_vote_request(w, &asks));
    let refused = third.handle(f.customs.node, CallKind::Vote.code(), body).await.unwrap_err();
    assert!(refused.to_string().contains("not a voter"), "{refused}");
    // Whoever comes now does not know from the genesis that these two lead: its charter says so.
    let (id, entry, key) = second_node(&f.police.id, 180);
    let officers = federation().police.officers;
    let second = Agency { id: f.police.id.clone(), node: id, node_key: key, officers };
    let add = Act::AddNode { agency: f.police.id.clone(), node: entry, place: None };
    let voices = [0, 1].map(|n| {
        let (handle, key) = &f.police.officers[n];
        Command::Act(SignedAct::sign(&f.id, &add, 0, Millis(u64::MAX), *handle, key))
    });
    assert_eq!(sign(voices.to_vec()).await, both);
    let charter = third.state().charter(third.applied());
    let newcomer = start_told(&f, (&second, 180), &nodes, &dir, Some(charter)).await;
    until("it has what they have", || newcomer.state().digest() == third.state().digest()).await;
    for node in [police, third.clone(), newcomer] {
        node.shutdown().await;
    }
}

/// The leader gives way to whom it names, and what is written goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over() {
    let (f, dir, nodes) = (federation(), tempfile::tempdir().unwrap(), Nodes::default());
    let police = start(&f, &f.police, 100, &nodes, &dir).await;
    let customs = start(&f, &f.customs, 20, &nodes, &dir).await;
    let third = start(&f, &f.third, 60, &nodes, &dir).await;
    let both = [&police, &customs];
    until("one leads", || both.iter().all(|c| c.applied() > 1 && c.status().leader.is_some())).await;
    let leads = |c: &&&Arc<Cluster>| c.raft.metrics().borrow().current_leader == Some(c.node().0);
    let (old, new) = if leads(&&both[0]) { (both[0], both[1]) } else { (both[1], both[0]) };
    assert!(new.hand_over(old.node()).await.is_err(), "who does not lead hands nothing over");
    assert!(old.hand_over(third.node()).await.is_err(), "who does not vote leads nobody");
    // Nobody but the leader makes a voter stand for election.
    let term = old.status().term;
    let body = codec::message(|w| {
        w.u64(term);
    });
    let refused = new.handle(third.node(), CallKind::Stand.code(), body).await.unwrap_err();
    assert!(matches!(refused, ClusterError::Door(_)), "{refused}");
    old.hand_over(new.node()).await.unwrap();
    until("all follow the other", || {
        [&police, &customs, &third].iter().all(|c| c.raft.metrics().borrow().current_leader == Some(new.node().0))
    })
    .await;
    let own = if old.node() == f.police.node { &f.police } else { &f.customs };
    let reply = old.propose(batch(&f, own, (1, 1), vec![]), in_time()).await.unwrap();
    assert_eq!(reply.refused, None);
    // It may come back.
    new.hand_over(old.node()).await.unwrap();
    let reply = old.propose(batch(&f, own, (1, 2), vec![]), in_time()).await.unwrap();
    assert_eq!(reply.refused, None);
    for node in [police, customs, third] {
        node.shutdown().await;
    }
}

/// Who does not vote by its own log signs nothing for a leader, so it gives nobody a vote either, however new the log of whoever
/// asks: two candidates that it elected by turns would never lead.
#[tokio::test]
async fn whoever_does_not_vote_elects_nobody() {
    let (f, dir, nodes) = (federation(), tempfile::tempdir().unwrap(), Nodes::default());
    let third = start(&f, &f.third, 60, &nodes, &dir).await;
    let asks = VoteRequest { vote: Vote::new(7, f.police.node.0), last_log_id: None };
    let body = codec::message(|w| codec::write_vote_request(w, &asks));
    let reply = third.handle(f.police.node, CallKind::Vote.code(), body).await.unwrap();
    assert!(!codec::parse(&reply, codec::read_vote_reply).unwrap().vote_granted);
    assert!(third.status().term < 7, "and knows of no such term");
    third.shutdown().await;
}

/// Whoever comes when the log is cut, of an agency that the genesis does not know, gets a certified snapshot and then votes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agency_that_was_admitted_catches_up_by_snapshot() {
    let (f, dir, nodes) = (federation(), tempfile::tempdir().unwrap(), Nodes::default());
    let police = start(&f, &f.police, 100, &nodes, &dir).await;
    let customs = start(&f, &f.customs, 20, &nodes, &dir).await;
    let (new, descriptor) = newcomer();
    let admit = Act::Admit(Box::new(descriptor));
    let voices = vec![voice(&f, &f.police, &admit, 0), voice(&f, &f.customs, &admit, 0)];
    let reply = police.propose(batch(&f, &f.police, (1, 1), voices), in_time()).await.unwrap();
    assert_eq!(reply.replies, [CommandReply::Pending, CommandReply::Done]);
    let both = [&police, &customs];
    until("both know it", || both.iter().all(|c| c.state().node(new.node).is_some())).await;
    until("it is fed", || both.iter().all(|c| fed(c, new.node))).await;
    for node in both {
        node.raft.trigger().snapshot().await.unwrap();
        let at = || node.raft.metrics().borrow().snapshot.map(|id| id.index);
        until("it made a snapshot", || at().is_some()).await;
        node.raft.trigger().purge_log(at().unwrap()).await.unwrap();
        until("it cut its log", || node.raft.metrics().borrow().purged.is_some()).await;
    }
    let finance = start(&f, &new, 140, &nodes, &dir).await;
    until("the newcomer has what the others have", || {
        finance.applied() > 0
            && finance.applied() == police.applied()
            && finance.state().digest() == police.state().digest()
    })
    .await;
    assert!(
        dir.path().join(format!("{}-{}", new.id, new.node)).join("snapshot").exists(),
        "by a snapshot, and not by the log"
    );

    let more = seats(&[&f.police, &f.customs, &new]);
    let voices = vec![voice(&f, &f.police, &more, 1), voice(&f, &f.customs, &more, 1)];
    police.propose(batch(&f, &f.police, (1, 2), voices), in_time()).await.unwrap();
    until("it votes", || by_the_log(&finance).is_some_and(|set| set.contains(&new.node.0) && set.len() == 3)).await;
    customs.shutdown().await;
    nodes.lose_node(f.customs.node);
    let reply = finance.propose(batch(&f, &new, (1, 1), vec![]), in_time()).await.unwrap();
    assert_eq!(reply.refused, None, "police and the newcomer are a majority");
    for node in [police, finance] {
        node.shutdown().await;
    }
}

/// P6: a membership counts only if the ledger approved it, by the state that the entries before it make.
#[tokio::test]
async fn the_door_holds_memberships_against_the_ledger() {
    let f = federation();
    let state = State::genesis(&f.genesis).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut log = reopen(&dir).await;
    append(&mut log, (1..=4).map(|i| entry(1, i)).collect()).await;
    let voter = f.police.node;
    let (vote, elections) = (Vote::new(10, voter.0), Elections::new(Voters::of(&state).into()));
    let door = Door { state: &state, log: &log, applied: 2, at: 2, vote, elections: &elections };
    let all = seats(&[&f.police, &f.customs, &f.third]);
    let act = |sequence, by: &Agency| batch(&f, &f.police, (1, sequence), vec![voice(&f, by, &all, 1)]);
    let approved = |index| {
        let entry = Entry { batches: vec![act(1, &f.police), act(2, &f.customs)] };
        LogEntry { log_id: id(1, index), payload: EntryPayload::Normal(entry) }
    };
    let two: BTreeSet<u64> = [f.police.node.0, f.customs.node.0].into();
    let three: BTreeSet<u64> = [f.police.node.0, f.customs.node.0, f.third.node.0].into();
    let members = |index, sets: Vec<BTreeSet<u64>>| {
        let m = openraft::Membership::new(sets, BTreeSet::from([f.third.node.0]));
        LogEntry { log_id: id(1, index), payload: EntryPayload::Membership(m) }
    };
    let of = |entries: Vec<LogEntry>| {
        let prev_log_id = entries.first().map(|e| id(1, e.log_id.index - 1));
        let (vote, leader_commit) = (Vote::new_committed(11, voter.0), None);
        granted(&door, voter, &AppendEntriesRequest::<TypeConfig> { vote, prev_log_id, entries, leader_commit })
    };
    let joint = || vec![two.clone(), three.clone()];
    assert_eq!(of(vec![approved(5), members(6, joint()), members(7, vec![three.clone()])]), Ok(()));
    assert_eq!(of(vec![approved(5), members(6, vec![two.clone()]), members(7, joint())]), Ok(()), "a learner between");
    let refused = Err(DoorError::Membership);
    assert_eq!(of(vec![members(5, joint()), approved(6)]), refused, "approved after it");
    assert_eq!(of(vec![approved(5), members(6, vec![three.clone()])]), refused, "not through both sets");
    assert_eq!(of(vec![approved(5), members(6, vec![three.clone(), two.clone()])]), refused);
    assert_eq!(of(vec![members(5, vec![two.clone()]), members(6, vec![three.clone()])]), refused);
    assert_eq!(of(vec![members(9, joint())]), Err(DoorError::Gap), "nobody knows what came before");
    // What this log holds and has not applied yet counts too; what it has applied was looked at before.
    let other = tempfile::tempdir().unwrap();
    let mut further = reopen(&other).await;
    let mut held: Vec<LogEntry> = (1..=2).map(|i| entry(1, i)).collect();
    held.push(approved(3));
    append(&mut further, held).await;
    let door = Door { log: &further, ..door };
    let next = |entry: LogEntry| {
        let (vote, leader_commit) = (Vote::new_committed(11, voter.0), None);
        let (prev_log_id, entries) = (Some(id(1, 3)), vec![entry]);
        granted(&door, voter, &AppendEntriesRequest::<TypeConfig> { vote, prev_log_id, entries, leader_commit })
    };
    assert_eq!((next(members(4, joint())), next(members(4, vec![three.clone()]))), (Ok(()), refused));
}
