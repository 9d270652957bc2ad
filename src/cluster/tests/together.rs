//! Several nodes of one federation in one process: elections, certificates, snapshots.

use super::bad_voter::terms;
use super::harness::{Nodes, cut_log, folder, follow, leader, start, start_cutting, until};
use super::*;
use crate::cluster::Committer;
use crate::cluster::Incarnation;
use crate::domain::canon::Canon;
use crate::domain::time::{At, Millis};
use crate::ledger::fixture::{certifying, newest, three_voters};
use crate::ledger::{Act, Command, CommandReply, SignedAct, SignedBatch, fixture};
use crate::seal::SigningKey;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

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
    assert_eq!(third.take_evidence().iter().filter(|f| f.closes).count(), 1);
    third.shutdown().await;
    drop(third);
    let third = start(&f, &f.third, 60, &nodes, &dir).await;
    assert!(third.has_diverged(), "a restart forgets nothing");
    for node in [police, customs, third] {
        node.shutdown().await;
    }
}

/// Whoever asks for the newest while nobody leads waits for a leader, up to the deadline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_barrier_waits_for_a_leader() {
    let (f, dir, nodes) = (federation(), tempfile::tempdir().unwrap(), Nodes::default());
    let police = start(&f, &f.police, 100, &nodes, &dir).await;
    let asked = Instant::now();
    let nobody = police.barrier_once_led(asked + Duration::from_millis(500)).await;
    assert!(matches!(nobody, Err(ClusterError::Unavailable(_))) && asked.elapsed() >= Duration::from_millis(400));
    let waiting = Arc::clone(&police);
    let waiting = tokio::spawn(async move { waiting.barrier_once_led(Instant::now() + Duration::from_secs(30)).await });
    let customs = start(&f, &f.customs, 20, &nodes, &dir).await;
    waiting.await.unwrap().unwrap();
    assert!(police.status().leader.is_some() && police.applied() > 0);
    for node in [police, customs] {
        node.shutdown().await;
    }
}

/// A node that comes when the log is cut gets a snapshot, with the certificate that it asks for; also when none is kept, as
/// with data of an earlier version, and no voter remembers the state at which the snapshot was made.
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
                cut_log(node).await;
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
        for agency in [&f.police, &f.customs] {
            let kept = folder(&dir, agency).join("snapshot.certificates");
            let there = kept.exists();
            // Who lost the folder's certificates and does not lead has none again.
            assert!(there || restarted);
            if there {
                std::fs::remove_file(kept).unwrap();
            }
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
    nodes.cut();
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
    nodes.join(&other);
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

/// A leader that was restarted feeds who lags, although everybody who certified its snapshot but itself is gone: the
/// certificate lies beside the snapshot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_keeps_its_certificate_when_who_gave_it_is_gone() {
    let (f, dir, nodes) = (three_voters(), tempfile::tempdir().unwrap(), Nodes::default());
    let police = start(&f, &f.police, 100, &nodes, &dir).await;
    let customs = start(&f, &f.customs, 20, &nodes, &dir).await;
    let third = start(&f, &f.third, 60, &nodes, &dir).await;
    leader(&[&police, &customs, &third]).await;
    until("all have begun", || [&police, &customs, &third].iter().all(|c| c.applied() > 0)).await;
    third.shutdown().await;
    let behind = third.applied();
    drop(third);
    let leads = leader(&[&police, &customs]).await;
    for _ in 0..3 {
        leads.raft.client_write(Entry::default()).await.unwrap();
    }
    until("both have it", || police.applied() == customs.applied() && police.applied() >= behind + 3).await;
    let at = cut_log(&police).await;
    assert!(at > behind);
    for node in [police, customs, leads] {
        node.shutdown().await;
    }
    let police = start(&f, &f.police, 100, &nodes, &dir).await;
    let third = start(&f, &f.third, 60, &nodes, &dir).await;
    until("it has what it missed", || third.applied() >= at).await;
    leader(&[&police, &third]).await.raft.client_write(Entry::default()).await.unwrap();
    until("the ledger goes on", || third.applied() > at && third.applied() == police.applied()).await;
    assert_eq!(third.state().digest(), police.state().digest());
    for agency in [&f.police, &f.third] {
        let folder = folder(&dir, agency);
        assert!(folder.join("snapshot").exists() && folder.join("snapshot.certificates").exists());
    }
    for node in [police, third] {
        node.shutdown().await;
    }
}

/// While no majority certifies a snapshot there is none, and the log stays whole; when it is full the leader takes nothing
/// new, and goes on once there is a certificate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_certificate_the_log_is_kept_and_bounded() {
    let (f, dir, nodes) = (federation(), tempfile::tempdir().unwrap(), Nodes::default());
    let police = start(&f, &f.police, 100, &nodes, &dir).await;
    let customs = start(&f, &f.customs, 20, &nodes, &dir).await;
    let leads = leader(&[&police, &customs]).await;
    let members = || leads.raft.metrics().borrow().membership_config.membership().nodes().count();
    until("the learner is named", || members() == 3).await;
    nodes.lose(Some(CallKind::Attest));
    leads.log.hold_at_most(1);
    let agency = if leads.node() == f.police.node { &f.police } else { &f.customs };
    let batch = fixture::batch(&f, agency, (1, 1), Vec::new());
    let last = leads.raft.metrics().borrow().last_log_index;
    let refused = leads.propose(batch.clone(), Instant::now() + Duration::from_secs(2)).await.unwrap_err();
    assert!(refused.to_string().contains("log is full"), "{refused}");
    {
        let metrics = leads.raft.metrics().borrow().clone();
        assert_eq!((metrics.snapshot, metrics.purged, metrics.last_log_index), (None, None, last));
    }
    assert!(!folder(&dir, agency).join("snapshot").exists());

    nodes.lose(None);
    let (proposer, deadline) = (Arc::clone(&leads), Instant::now() + Duration::from_secs(25));
    let proposing = tokio::spawn(async move { proposer.propose(batch, deadline).await });
    let at = || leads.raft.metrics().borrow().snapshot.map(|id| id.index);
    until("it makes one by itself", || at().is_some()).await;
    leads.raft.trigger().purge_log(at().unwrap()).await.unwrap();
    assert_eq!(proposing.await.unwrap().unwrap().refused, None);
    drop(leads);
    for node in [police, customs] {
        node.shutdown().await;
    }
}

/// Few large entries: every node makes a certified snapshot and cuts its log long before it has the entries at which openraft
/// does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_of_large_entries_is_cut_by_their_bytes() {
    let (f, dir, nodes) = (federation(), tempfile::tempdir().unwrap(), Nodes::default());
    let police = start_cutting(&f, (&f.police, 100), &nodes, &dir, 40_000).await;
    let customs = start_cutting(&f, (&f.customs, 20), &nodes, &dir, 40_000).await;
    let leads = leader(&[&police, &customs]).await;
    let agency = if leads.node() == f.police.node { &f.police } else { &f.customs };
    // Refused one by one, and in the log all the same.
    let record = crate::domain::ids::RecordId::from_bytes([1; 16]);
    let grant = |n| Command::Grant { record, version: 1, grant: [n; 32], tags: vec![[n; 16]; 600] };
    for n in 1..=12u8 {
        let batch = fixture::batch(&f, agency, (1, u64::from(n)), vec![grant(n)]);
        leads.propose(batch, Instant::now() + Duration::from_secs(10)).await.unwrap();
    }
    for node in [&police, &customs] {
        let purged = || node.raft.metrics().borrow().purged.is_some();
        let light = || node.log.gauge().bytes(None, u64::MAX) < 60_000;
        until("its log is cut", || purged() && light()).await;
        let of = folder(&dir, if node.node() == f.police.node { &f.police } else { &f.customs });
        assert!(of.join("snapshot").exists() && of.join("snapshot.certificates").exists());
    }
    drop(leads);
    for node in [police, customs] {
        node.shutdown().await;
    }
}

/// A voter that comes and goes faster than elections deposes nobody and adds nothing to the log: it starts with the vote that
/// it has, and asks for votes only when it heard no leader for a lease and an election's time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_that_comes_and_goes_deposes_nobody() {
    let (f, dir, nodes) = (three_voters(), tempfile::tempdir().unwrap(), Nodes::default());
    let police = start(&f, &f.police, 100, &nodes, &dir).await;
    let customs = start(&f, &f.customs, 20, &nodes, &dir).await;
    let third = start(&f, &f.third, 60, &nodes, &dir).await;
    leader(&[&police, &customs, &third]).await;
    until("all have begun", || [&police, &customs, &third].iter().all(|c| c.applied() > 0)).await;
    third.shutdown().await;
    drop(third);
    let leads = leader(&[&police, &customs]).await;
    let seen = || {
        let m = leads.raft.metrics().borrow().clone();
        (m.current_term, m.current_leader, m.last_log_index)
    };
    let (term, led, last) = seen();
    for _ in 0..8 {
        let third = start(&f, &f.third, 60, &nodes, &dir).await;
        leads.raft.client_write(Entry::default()).await.unwrap();
        third.shutdown().await;
    }
    assert_eq!(seen(), (term, led, last.map(|index| index + 8)));
    drop(leads);
    for node in [police, customs] {
        node.shutdown().await;
    }
}

/// What is complete takes force when its certificate came, on every node at the same index; whoever leads brings it at once,
/// and without a majority's word nobody does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_takes_force_when_it_is_certified() {
    let (f, dir, nodes) = (certifying(), tempfile::tempdir().unwrap(), Nodes::default());
    let police = start(&f, &f.police, 100, &nodes, &dir).await;
    let customs = start(&f, &f.customs, 20, &nodes, &dir).await;
    let leads = leader(&[&police, &customs]).await;
    let mut sequence = 0;
    let mut batch = |command: Command| {
        sequence += 1;
        let (federation, node, time) = (f.id.clone(), f.police.node, Millis(2_000_000));
        let (incarnation, not_after, commands) = (1, 1_000, vec![command]);
        SignedBatch { federation, node, incarnation, sequence, not_after, time, commands }.seal(&f.police.node_key)
    };
    let agree = Act::Agreement(terms());
    for (party, reply) in [(&f.police, CommandReply::Pending), (&f.customs, CommandReply::Waiting)] {
        let (handle, key) = &party.officers[0];
        let signed = SignedAct::sign(&f.id, &agree, 0, Millis(u64::MAX), *handle, key);
        let answer = leads.propose(batch(Command::Act(signed)), Instant::now() + Duration::from_secs(10)).await;
        assert_eq!(answer.unwrap().replies, [reply]);
    }
    nodes.lose(Some(CallKind::Attest));
    assert_eq!(leads.certificate_due().await.unwrap(), None);
    nodes.lose(None);
    let command = leads.certificate_due().await.unwrap().unwrap();
    let answer = leads.propose(batch(command), Instant::now() + Duration::from_secs(10)).await.unwrap();
    assert_eq!(answer.replies, [CommandReply::Done]);
    let in_force = |c: &Arc<Cluster>| c.state().agreement(&terms().id).and_then(|v| v[0].in_force);
    until("both have it in force", || [&police, &customs].iter().all(|c| in_force(c) == Some(answer.index))).await;
    drop(leads);
    for node in [police, customs] {
        node.shutdown().await;
    }
}

/// A node's clock names its starts. One that was set back makes a start look like an earlier one, whose batches the ledger
/// would refuse as old: the start takes a later name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_after_a_clock_was_set_back_or_ahead_goes_on() {
    const DAY_MS: u64 = 86_400_000;
    let (f, dir, nodes) = (federation(), tempfile::tempdir().unwrap(), Nodes::default());
    let police = start(&f, &f.police, 100, &nodes, &dir).await;
    let customs = start(&f, &f.customs, 20, &nodes, &dir).await;
    leader(&[&police, &customs]).await;
    let noon = 20 * DAY_MS;
    let mut last = (0, 0);
    for (n, now) in [(1u8, noon), (2, noon - DAY_MS), (3, noon + DAY_MS), (4, noon)] {
        let key = SigningKey::from_seed(&[100; 32]).unwrap();
        let clock = Arc::new(At(Millis(now)));
        let incarnation = Incarnation::begin(&System, dir.path(), Millis(now)).unwrap();
        let committer = Committer::start(Arc::clone(&police), f.id.clone(), police.node(), key, incarnation, clock);
        let anchor = Command::Anchor { checkpoint: [n; 32] };
        let (_, reply) = committer.submit(anchor, Duration::from_secs(20)).await.unwrap();
        assert!(matches!(reply, CommandReply::Done), "{reply:?}");
        let state = police.state();
        let named = state.node(police.node()).unwrap().last;
        assert!(named > last, "{named:?} after {last:?}");
        last = named;
        // One clock moves the ledger's time by its own agency's report alone.
        assert!(state.time() <= Millis(noon + DAY_MS));
    }
    for node in [police, customs] {
        node.shutdown().await;
    }
}

/// A start under an earlier one's number, whose file was lost: what it signs is refused by name while this node has not
/// seen yet what the earlier one wrote, and the next batch is numbered above.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_of_an_earlier_start_acknowledges_nothing() {
    const NUMBER: u64 = 7;
    let (f, dir, nodes) = (newest(), tempfile::tempdir().unwrap(), Nodes::default());
    let police = follow(&f, &f.police, 100, &nodes, &dir).await;
    let customs = start(&f, &f.customs, 20, &nodes, &dir).await;
    let third = start(&f, &f.third, 60, &nodes, &dir).await;
    let leads = leader(&[&customs, &third, &police]).await;
    // What it wrote before is on the ledger, and not yet here.
    nodes.lose_node(police.node());
    let anchor = |n| Command::Anchor { checkpoint: [n; 32] };
    let earlier = fixture::batch(&f, &f.police, (NUMBER, 1), vec![anchor(1)]);
    let written = leads.propose(earlier, Instant::now() + Duration::from_secs(10)).await.unwrap();
    assert_eq!(written.replies, [CommandReply::Done]);
    let key = SigningKey::from_seed(&[100; 32]).unwrap();
    let (clock, incarnation) = (Arc::new(At(Millis(NUMBER))), Incarnation::begin(&System, dir.path(), Millis(NUMBER)));
    let committer =
        Committer::start(Arc::clone(&police), f.id.clone(), police.node(), key, incarnation.unwrap(), clock);
    let asking = committer.clone();
    let asking = tokio::spawn(async move { asking.submit(anchor(2), Duration::from_secs(20)).await });
    let mut told: Vec<crate::cluster::Finding> = Vec::new();
    until("the leader has seen both", || {
        told.extend(leads.take_evidence());
        told.iter().any(|f| f.rule == "double-batch")
    })
    .await;
    nodes.join(&police);
    assert_eq!(asking.await.unwrap().unwrap_err().reason, "NUMBER_TAKEN");
    let (_, reply) = committer.submit(anchor(3), Duration::from_secs(20)).await.unwrap();
    let (last, anchored) = police.state().node(police.node()).map(|n| (n.last, n.anchor)).unwrap();
    assert_eq!((reply, last, anchored.map(|(_, a)| a)), (CommandReply::Done, (NUMBER + 1, 1), Some([3; 32])));
    drop(leads);
    for node in [police, customs, third] {
        node.shutdown().await;
    }
}

/// While somebody else has the log, or the voters are not to be asked, whoever waits is answered at its deadline and no later;
/// what was not written then never is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_beyond_the_deadline() {
    let (f, dir, nodes) = (federation(), tempfile::tempdir().unwrap(), Nodes::default());
    let police = start(&f, &f.police, 100, &nodes, &dir).await;
    let customs = start(&f, &f.customs, 20, &nodes, &dir).await;
    let leads = leader(&[&police, &customs]).await;
    let within = |ms| Instant::now() + Duration::from_millis(ms);
    let anchor = |by| fixture::batch(&f, by, (1, 1), vec![Command::Anchor { checkpoint: [1; 32] }]);
    let in_time = Duration::from_secs(20);

    let turn = leads.turn.lock().await;
    let patient = tokio::spawn({
        let (leads, batch) = (Arc::clone(&leads), anchor(&f.customs));
        async move { leads.propose(batch, within(30_000)).await }
    });
    let hasty = timeout(in_time, leads.propose(anchor(&f.police), within(300))).await.unwrap();
    assert!(matches!(hasty, Err(ClusterError::Unavailable(_))), "{hasty:?}");
    drop(turn);
    assert_eq!(patient.await.unwrap().unwrap().replies, [CommandReply::Done]);
    let last = |a: &Agency| leads.state().node(a.node).unwrap().last;
    assert_eq!((last(&f.customs), last(&f.police)), ((1, 1), (0, 0)));

    let calm = leads.calm.write().await;
    let unasked = timeout(in_time, leads.barrier(within(300))).await.unwrap();
    assert!(matches!(unasked, Err(ClusterError::Unavailable(_))), "{unasked:?}");
    drop(calm);
    leads.barrier(within(20_000)).await.unwrap();
    drop(leads);
    for node in [police, customs] {
        node.shutdown().await;
    }
}
