//! Police's node in bad hands: what it sends, elected or not, is refused and named, and the honest nodes stay equal.
//!
//! The other nodes are real and never ask for votes; the test sends what police sends, with grants as if they had elected it.

use super::harness::{Nodes, follow, until};
use super::*;
use crate::cluster::snapshot::encode_snapshot;
use crate::domain::agreement::Terms;
use crate::domain::time::Millis;
use crate::ledger::fixture::{Federation, newest, suspended, three_voters};
use crate::ledger::{Act, Command, SignedAct, fixture};
use openraft::StoredMembership;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// In which police leads first: in the one before every voter asked for votes, and was not heard.
const TERM: u64 = 2;
/// In which it leads again.
const NEXT: u64 = 3;

/// Everybody but police.
struct Honest {
    f: Federation,
    nodes: Nodes,
    dir: TempDir,
    customs: Arc<Cluster>,
    third: Arc<Cluster>,
}

impl Honest {
    async fn start(f: Federation) -> Honest {
        let (nodes, dir) = (Nodes::default(), tempfile::tempdir().unwrap());
        nodes.lose(Some(CallKind::Vote));
        let customs = follow(&f, &f.customs, 20, &nodes, &dir).await;
        let third = follow(&f, &f.third, 60, &nodes, &dir).await;
        Honest { f, nodes, dir, customs, third }
    }

    fn both(&self) -> [&Arc<Cluster>; 2] {
        [&self.customs, &self.third]
    }

    fn voters(&self) -> BTreeSet<u64> {
        State::genesis(&self.f.genesis).unwrap().voters().iter().map(|n| n.0).collect()
    }

    fn id(&self, term: u64, index: u64) -> LogId {
        LogId::new(CommittedLeaderId::new(term, self.f.police.node.0), index)
    }

    /// The first entry of every log.
    fn first(&self) -> LogEntry {
        let members = openraft::Membership::new(vec![self.voters()], ());
        LogEntry { log_id: LogId::new(CommittedLeaderId::new(0, 0), 0), payload: EntryPayload::Membership(members) }
    }

    fn entry(&self, term: u64, index: u64, batches: Vec<Vec<u8>>) -> LogEntry {
        LogEntry { log_id: self.id(term, index), payload: EntryPayload::Normal(Entry { batches }) }
    }

    fn batch(&self, a: &Agency, sequence: u64, commands: Vec<Command>) -> Vec<u8> {
        fixture::batch(&self.f, a, (1, sequence), commands)
    }

    fn signed(&self, a: &Agency, act: &Act, expected: u32) -> Command {
        let (handle, key) = &a.officers[0];
        Command::Act(SignedAct::sign(&self.f.id, act, expected, Millis(u64::MAX), *handle, key))
    }

    /// A leader's message of police, with the grants of its vote.
    fn append(&self, term: u64, prev: Option<LogId>, entries: Vec<LogEntry>, committed: Option<LogId>) -> Vec<u8> {
        let leader = self.f.police.node.0;
        let m = AppendEntriesRequest::<TypeConfig> {
            vote: Vote::new_committed(term, leader),
            prev_log_id: prev,
            entries,
            leader_commit: committed,
        };
        codec::message(|w| {
            write_grants(w, &self.grants(term));
            codec::write_append(w, &m);
        })
    }

    fn grants(&self, term: u64) -> [crate::cluster::elections::Grant; 2] {
        let leader = self.f.police.node.0;
        [&self.f.police, &self.f.customs].map(|v| grant(&self.f.id, v.node.0, &v.node_key, (term, leader)))
    }

    async fn send(&self, to: &Cluster, kind: CallKind, body: Vec<u8>) -> Result<Vec<u8>, ClusterError> {
        to.handle(self.f.police.node, kind.code(), body).await
    }

    /// Police leads as it should for once: everything is committed, and applied by these.
    async fn lead(&self, to: &[&Arc<Cluster>], term: u64, prev: Option<LogId>, entries: &[LogEntry]) {
        let last = entries.last().unwrap().log_id;
        for node in to {
            let body = self.append(term, prev, entries.to_vec(), Some(last));
            self.send(node, CallKind::Append, body).await.unwrap();
        }
        until("it is applied", || to.iter().all(|c| c.applied() == last.index)).await;
    }

    /// What both say to a message that no honest member sends.
    async fn refused(&self, kind: CallKind, body: &[u8], why: &str) {
        for node in self.both() {
            let refused = self.send(node, kind, body.to_vec()).await.unwrap_err();
            assert!(matches!(&refused, ClusterError::Door(told) if told.contains(why)), "{refused}");
        }
    }

    fn assert_equal(&self) {
        let [a, b] = self.both();
        assert_eq!((a.applied(), a.state().digest()), (b.applied(), b.state().digest()));
    }

    async fn stop(self) {
        for node in [self.customs, self.third] {
            node.shutdown().await;
        }
    }
}

/// Of a leader that shows fewer grants than this node's voters ask for, since others vote by its own log, the vote that this
/// node gave counts; without it nobody is believed.
#[tokio::test]
async fn a_voter_counts_the_vote_that_it_gave() {
    let h = Honest::start(three_voters()).await;
    let term = |c: &Arc<Cluster>| c.raft.metrics().borrow().vote.leader_id.term;
    until("each asked for votes itself", || h.both().into_iter().all(|c| term(c) == TERM - 1)).await;
    let asks = VoteRequest { vote: Vote::new(TERM, h.f.police.node.0), last_log_id: Some(h.first().log_id) };
    let body = codec::message(|w| codec::write_vote_request(w, &asks));
    let reply = h.send(&h.third, CallKind::Vote, body).await.unwrap();
    assert!(codec::parse(&reply, codec::read_vote_reply).unwrap().vote_granted);
    let leads = AppendEntriesRequest::<TypeConfig> {
        vote: Vote::new_committed(TERM, h.f.police.node.0),
        prev_log_id: None,
        entries: vec![h.first()],
        leader_commit: None,
    };
    let [own, _] = h.grants(TERM);
    let body = codec::message(|w| {
        write_grants(w, &[own]);
        codec::write_append(w, &leads);
    });
    h.send(&h.third, CallKind::Append, body.clone()).await.unwrap();
    let refused = h.send(&h.customs, CallKind::Append, body).await.unwrap_err();
    assert!(refused.to_string().contains("was elected"), "{refused}");
    h.stop().await;
}

pub(super) fn terms() -> Terms {
    fixture::terms("border-2026", &["police", "customs"])
}

/// An agreement was ended; its other party, elected once more, sends a log in which it was not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_an_agreement_is_not_rolled_back() {
    let h = Honest::start(federation()).await;
    let (police, customs) = (&h.f.police, &h.f.customs);
    let agree = Act::Agreement(terms());
    let end = Act::EndAgreement { id: terms().id, reason: "over".into() };
    let entries = [
        h.first(),
        h.entry(TERM, 1, vec![h.batch(police, 1, vec![h.signed(police, &agree, 0)])]),
        h.entry(TERM, 2, vec![h.batch(customs, 1, vec![h.signed(customs, &agree, 0)])]),
    ];
    let in_force = |c: &Arc<Cluster>| c.state().agreement_now(&terms().id, Millis(10)).is_some();
    h.lead(&h.both(), TERM, None, &entries).await;
    assert!(h.both().iter().all(|c| in_force(c)));
    let ended = [h.entry(TERM, 3, vec![h.batch(customs, 2, vec![h.signed(customs, &end, 1)])])];
    h.lead(&h.both(), TERM, Some(h.id(TERM, 2)), &ended).await;
    assert!(h.both().iter().all(|c| !in_force(c)));

    let undone = h.append(NEXT, Some(h.id(TERM, 2)), vec![h.entry(NEXT, 3, Vec::new())], Some(h.id(NEXT, 3)));
    h.refused(CallKind::Append, &undone, "contradicts an applied entry at index 3").await;
    for node in h.both() {
        let found = node.take_evidence();
        assert_eq!(found.len(), 1);
        assert!(found[0].closes && found[0].sender == police.node && found[0].why.contains("index 3"));
        assert!(node.halted().is_some() && !in_force(node));
    }
    h.assert_equal();
    h.stop().await;
}

/// There is no term above the highest number: whoever took it in could never elect anybody again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_term_of_the_highest_number_is_refused() {
    let h = Honest::start(federation()).await;
    h.lead(&h.both(), TERM, None, &[h.first(), h.entry(TERM, 1, Vec::new())]).await;
    let highest = h.append(u64::MAX, Some(h.id(TERM, 1)), vec![h.entry(u64::MAX, 2, Vec::new())], None);
    h.refused(CallKind::Append, &highest, "rises by more than 1000").await;
    let request = VoteRequest { vote: Vote::new(u64::MAX, h.f.police.node.0), last_log_id: Some(h.id(TERM, 1)) };
    let request = codec::message(|w| codec::write_vote_request(w, &request));
    h.refused(CallKind::Vote, &request, "rises by more than 1000").await;
    assert!(h.both().iter().all(|c| c.status().term == TERM && c.halted().is_none()));
    h.lead(&h.both(), TERM, Some(h.id(TERM, 1)), &[h.entry(TERM, 2, Vec::new())]).await;
    h.assert_equal();
    h.stop().await;
}

/// Elected, it feeds two nodes different entries: the certificate of the majority names it to the node that was lied to,
/// which stops; put right, that node is like the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_is_named_by_the_next_certificate() {
    let h = Honest::start(federation()).await;
    let police = &h.f.police;
    let anchored = |n| vec![h.batch(police, 1, vec![Command::Anchor { checkpoint: [n; 32] }])];
    let (one, other) = ([h.first(), h.entry(TERM, 1, anchored(1))], [h.first(), h.entry(TERM, 1, anchored(2))]);
    h.lead(&[&h.customs], TERM, None, &one).await;
    h.lead(&[&h.third], TERM, None, &other).await;
    let digest = h.customs.state().digest();
    assert_ne!(digest, h.third.state().digest());

    let word = |a: &Agency| attest(&h.f.id, a.node.0, &a.node_key, (1, digest));
    let certificate = Certificate::of(&[word(police), word(&h.f.customs)], &Voters::of(&h.customs.state())).unwrap();
    let certificate = codec::message(|w| {
        w.value(&certificate);
    });
    for node in h.both() {
        h.send(node, CallKind::Certificate, certificate.clone()).await.unwrap();
    }
    assert_eq!((h.customs.certified(), h.customs.halted()), (1, None));
    let found = h.third.take_evidence();
    assert!(found.len() == 1 && found[0].sender == police.node && found[0].why.contains("another state at index 1"));
    let deadline = Instant::now() + Duration::from_secs(5);
    assert!(matches!(h.third.propose(vec![1], deadline).await, Err(ClusterError::Halted(_))));

    h.third.shutdown().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let third = follow(&h.f, &h.f.third, 60, &h.nodes, &elsewhere).await;
    h.lead(&[&third], TERM, None, &one).await;
    assert!(!third.has_diverged() && third.state().digest() == digest);
    third.shutdown().await;
    h.stop().await;
}

/// A snapshot that shuts an agency out: under police's word alone, and under a true certificate of another state.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_snapshot_is_refused() {
    let h = Honest::start(federation()).await;
    h.lead(&h.both(), TERM, None, &[h.first(), h.entry(TERM, 1, Vec::new())]).await;
    let (state, at) = (h.customs.state(), 9);
    let forged = suspended(&state, &h.f.third.id);
    let members = openraft::Membership::new(vec![h.voters()], ());
    let meta = SnapshotMeta {
        last_log_id: Some(h.id(TERM, at)),
        last_membership: StoredMembership::new(Some(h.first().log_id), members),
        snapshot_id: "1-9".into(),
    };
    let whole = InstallSnapshotRequest::<TypeConfig> {
        vote: Vote::new_committed(TERM, h.f.police.node.0),
        data: encode_snapshot(&meta, &forged.encode()),
        meta,
        offset: 0,
        done: true,
    };
    let under = |certificate: &Certificate| {
        codec::message(|w| {
            write_grants(w, &h.grants(TERM));
            w.value(certificate);
            codec::write_snapshot(w, &whole);
        })
    };
    let word = |a: &Agency, digest| attest(&h.f.id, a.node.0, &a.node_key, (at, digest));
    let voters = Voters::of(&state);
    let of = |digest| Certificate::of(&[word(&h.f.police, digest), word(&h.f.customs, digest)], &voters).unwrap();
    let mut alone = of(forged.digest());
    alone.signatures.retain(|(voter, _)| *voter == h.f.police.node.0);
    h.refused(CallKind::Snapshot, &under(&alone), "no majority of the voters certifies it").await;
    h.refused(CallKind::Snapshot, &under(&of(state.digest())), "the majority certifies another state").await;
    assert!(h.both().iter().all(|c| c.applied() == 1 && c.state().stands(&h.f.third.id)));
    assert!(!h.dir.path().join("customs").join("snapshot").exists(), "nothing of it reached the disk");
    h.lead(&h.both(), TERM, Some(h.id(TERM, 1)), &[h.entry(TERM, 2, Vec::new())]).await;
    h.assert_equal();
    h.stop().await;
}

/// A leader whose heartbeats go on and whose entries do not: nothing that it sends shows it, but another voter's word does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn withheld_entries_are_noticed_under_running_heartbeats() {
    let h = Honest::start(three_voters()).await;
    h.lead(&h.both(), TERM, None, &[h.first(), h.entry(TERM, 1, Vec::new())]).await;
    let withheld = [h.entry(TERM, 2, vec![h.batch(&h.f.police, 1, vec![Command::Anchor { checkpoint: [1; 32] }])])];
    h.lead(&[&h.customs], TERM, Some(h.id(TERM, 1)), &withheld).await;
    let heartbeat = h.append(TERM, Some(h.id(TERM, 1)), Vec::new(), Some(h.id(TERM, 1)));
    let (third, police) = (Arc::clone(&h.third), h.f.police.node);
    let beating = tokio::spawn(async move {
        loop {
            third.handle(police, CallKind::Append.code(), heartbeat.clone()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let mut found = Vec::new();
    until("it is noticed", || {
        found.extend(h.third.take_evidence());
        !found.is_empty()
    })
    .await;
    beating.abort();
    assert!(found[0].sender == police && found[0].rule == "entries-withheld" && !found[0].closes, "{found:?}");
    assert!(found[0].why.contains(&h.f.customs.node.to_string()) && found[0].why.contains("after 1 "), "{found:?}");
    assert!(h.customs.take_evidence().is_empty() && h.third.halted().is_none());
    h.lead(&[&h.third], TERM, Some(h.id(TERM, 1)), &withheld).await;
    h.assert_equal();
    h.stop().await;
}

/// A batch of somebody else is put into the log a second time, and handed in as if it were the sender's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replayed_batch_changes_nothing() {
    let h = Honest::start(federation()).await;
    let (police, customs) = (&h.f.police, &h.f.customs);
    let first = h.batch(customs, 1, vec![Command::Anchor { checkpoint: [1; 32] }]);
    let second = h.batch(customs, 2, vec![Command::Anchor { checkpoint: [2; 32] }]);
    let entries = [h.first(), h.entry(TERM, 1, vec![first.clone()]), h.entry(TERM, 2, vec![second.clone()])];
    h.lead(&h.both(), TERM, None, &entries).await;
    let digest = h.customs.state().digest();
    h.lead(&h.both(), TERM, Some(h.id(TERM, 2)), &[h.entry(TERM, 3, vec![first.clone(), second])]).await;
    for node in h.both() {
        assert_eq!(node.state().digest(), digest, "neither the older one nor the last again");
        let reply = State::clone(&node.state()).apply_batch(4, &first);
        assert_eq!(reply.refused, Some(crate::ledger::Refusal::Replayed));
    }
    let forwarded = codec::message(|w| {
        w.u64(1).list([first].iter(), |w, b| {
            w.bytes(b);
        });
    });
    h.refused(CallKind::Forward, &forwarded, "not its sender's own").await;
    assert!(h.both().iter().all(|c| c.state().node(police.node).is_some_and(|n| n.anchor.is_none())));
    h.assert_equal();
    h.stop().await;
}

/// It signs two batches under one number: the second is refused by its name and kept, a restart forgets nothing, and the
/// ledger goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_batches_under_one_number_are_kept_as_evidence() {
    let h = Honest::start(newest()).await;
    let [first, second] = [1, 2].map(|n| h.batch(&h.f.police, 1, vec![Command::Anchor { checkpoint: [n; 32] }]));
    let entries = [h.first(), h.entry(TERM, 1, vec![first.clone()]), h.entry(TERM, 2, vec![second, first])];
    h.lead(&h.both(), TERM, None, &entries).await;
    for node in h.both() {
        let found = node.take_evidence();
        assert!(found.len() == 1 && found[0].sender == h.f.police.node, "{found:?}");
        assert!(found[0].rule == "double-batch" && !found[0].closes && node.halted().is_none(), "{found:?}");
        assert_eq!(node.state().node(h.f.police.node).unwrap().anchor, Some((1, [1; 32])));
    }
    h.assert_equal();
    let Honest { f, nodes, dir, customs, third } = h;
    for node in [customs, third] {
        node.shutdown().await;
    }
    let customs = follow(&f, &f.customs, 20, &nodes, &dir).await;
    assert!(customs.take_evidence().is_empty(), "it was told");
    customs.shutdown().await;
}

/// It signs two states for one index: both words are kept and told, a restart forgets nothing, and the ledger goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_states_signed_for_one_index_are_kept_as_evidence() {
    let h = Honest::start(three_voters()).await;
    h.lead(&h.both(), TERM, None, &[h.first(), h.entry(TERM, 1, Vec::new())]).await;
    let word = |a: &Agency, digest| attest(&h.f.id, a.node.0, &a.node_key, (9, [digest; 32]));
    let certificate = |other: &Agency, digest| {
        let words = [word(&h.f.police, digest), word(other, digest)];
        let certificate = Certificate::of(&words, &Voters::of(&h.customs.state())).unwrap();
        codec::message(|w| {
            w.value(&certificate);
        })
    };
    for certificate in [certificate(&h.f.customs, 1), certificate(&h.f.third, 2)] {
        for node in h.both() {
            h.send(node, CallKind::Certificate, certificate.clone()).await.unwrap();
        }
    }
    let why = format!("{}: it signed two states for index 9", h.f.police.node);
    for node in h.both() {
        let found = node.take_evidence();
        assert!(found.len() == 1 && found[0].sender == h.f.police.node && !found[0].closes, "{found:?}");
        assert_eq!((node.double_words(), node.halted()), (vec![why.clone()], None));
    }
    h.lead(&h.both(), TERM, Some(h.id(TERM, 1)), &[h.entry(TERM, 2, Vec::new())]).await;
    h.assert_equal();
    let Honest { f, nodes, dir, customs, third } = h;
    for node in [customs, third] {
        node.shutdown().await;
    }
    let customs = follow(&f, &f.customs, 20, &nodes, &dir).await;
    assert_eq!((customs.double_words(), customs.halted()), (vec![why], None));
    customs.shutdown().await;
}
