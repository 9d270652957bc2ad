//! What a node does by itself: introduce pair keys, scan for what it is owed, pull it, propose again what a
//! crash left uncommitted, anchor the audit head, tell originators of accesses, index what it holds.

use crate::audit::{Action as AuditAction, Decision as Verdict, Object, anchor_digest};
use crate::cluster::Finding;
use crate::domain::ids::{AgencyId, NodeId};
use crate::domain::reserve::Work;
use crate::ledger::{Command, LEVEL};
use crate::seal::month_of;
use crate::service::{Core, Indexing, Offers, PeerComplaints, PeerPeople, PeerReports, Recommits};
use crate::vault::{Complained, PeerVault};
use data_encoding::HEXLOWER;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

/// How often it looks around when nothing happens.
const ROUND: Duration = Duration::from_millis(250);
/// New records are found this much later, or later where the machine has no time for it: fewer, larger commits of the index.
const INDEX_ROUND: Duration = Duration::from_millis(1000);
/// So many times as long as a round of indexing took, nothing is indexed: the more comes in, the more one commit has, and the
/// less each of its records costs.
const INDEX_REST: u32 = 2;
/// But no longer than this: a round that catches up on everything held may take an hour. What a lowered ceiling shuts out stays in
/// the index for as long, too.
const INDEX_REST_MOST: Duration = Duration::from_secs(10);
/// Each attempt to index is audited: a disk that stays full must not fill the log with them.
const INDEX_AGAIN: Duration = Duration::from_secs(30);
/// How often what waits for its commitment is proposed again.
const RECOMMIT: Duration = Duration::from_secs(2);
/// Old notices are looked for each time that so much went by, and at a start once the ledger's time is known again.
const RETIRE_MS: u64 = 600_000;
/// Files that nothing names are looked for this often.
const SWEEP: Duration = Duration::from_secs(600);
/// Anchors come at most this often (P27).
const ANCHOR: Duration = Duration::from_secs(10);
const WAIT: Duration = Duration::from_secs(5);
/// Certificates that the ledger waits for come at most this often.
const CERTIFY: Duration = Duration::from_millis(20);
/// Pause after one that too few voters signed.
const CERTIFY_AGAIN: Duration = Duration::from_secs(1);

/// The rounds of a task, until the node is told to stop.
pub(super) struct Rounds {
    ticks: Interval,
    stopped: watch::Receiver<bool>,
}

impl Rounds {
    pub(super) fn every(period: Duration, stopped: watch::Receiver<bool>) -> Rounds {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Rounds { ticks, stopped }
    }

    /// Waits for the next one; false when there is none.
    pub(super) async fn next(&mut self) -> bool {
        tokio::select! {
            biased;
            _ = self.stopped.wait_for(|s| *s) => false,
            _ = self.ticks.tick() => true,
        }
    }

    fn are_over(&self) -> bool {
        *self.stopped.borrow()
    }
}

/// Starts the task; it ends when told.
pub(super) fn start(core: Arc<Core>, peers: Arc<dyn PeerVault>, stopped: watch::Receiver<bool>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut rounds = Rounds::every(ROUND, stopped);
        let mut anchored = (Instant::now(), 0);
        let mut notices = 0..0;
        while rounds.next().await {
            tell_incidents(&core).await;
            tell_damaged(&core).await;
            tell_evidence(&core).await;
            if let Err(error) = core.log_counted(core.clock.now()).await {
                tracing::error!(%error, "refusals could not be audited");
            }
            report_level(&core).await;
            introduce(&core).await;
            core.vault.scan(&core.state(), core.clock.now(), core.clock.steady());
            pull(&core, &peers);
            if anchored.0.elapsed() >= ANCHOR {
                anchored = (Instant::now(), anchor(&core, anchored.1, &mut notices).await);
            }
        }
    })
}

/// Pulls what is due, each origin beside the others: one that answers slowly holds nothing up.
fn pull(core: &Arc<Core>, peers: &Arc<dyn PeerVault>) {
    // What is owed stays owed, and is pulled when there is room.
    if core.memory.check(Work::Content).is_err() || core.disk.check(Work::Content).is_err() {
        return;
    }
    for origin in core.vault.due(core.clock.steady()) {
        let (core, peers) = (Arc::clone(core), Arc::clone(peers));
        tokio::spawn(async move {
            let Some(turn) = core.vault.begin_pulling(&origin) else { return };
            let room = |bytes| core.memory.check(Work::Content).is_ok() && core.disk.take(Work::Content, bytes).is_ok();
            core.vault.pull(&turn, &|| core.state(), (peers.as_ref(), core.clock.as_ref()), &room).await;
        });
    }
}

/// Proposes what a stop or a deadline left journaled here and not on the ledger: beside the rest, for each proposal waits.
pub(super) fn recommit(core: Arc<Core>, stopped: watch::Receiver<bool>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut rounds = Rounds::every(RECOMMIT, stopped);
        let mut known = Recommits::default();
        while rounds.next().await {
            core.recommit(&mut known, WAIT).await;
        }
    })
}

/// Brings the ledger the certificates that acts wait for there (P7).
pub(super) fn certify(core: Arc<Core>, stopped: watch::Receiver<bool>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut rounds = Rounds::every(CERTIFY, stopped);
        while rounds.next().await {
            match core.cluster.certificate_due().await {
                Ok(Some(command)) => match core.committer.submit(command, WAIT).await {
                    // Refused when somebody else was first, or when entries went on; it is looked at anew.
                    Ok(_) => {}
                    Err(error) => tracing::debug!(%error, "a certificate waits for a leader"),
                },
                Ok(None) => {
                    tracing::warn!("acts wait for a certificate that too few voters sign");
                    tokio::time::sleep(CERTIFY_AGAIN).await;
                }
                Err(error) => {
                    tracing::error!(%error, "no certificates are gathered for the ledger any more");
                    return;
                }
            }
        }
    })
}

/// Deletes what notices said thirty days ago (P26). Deletion needs the ledger's time and the own clock (P4).
pub(super) fn retire(core: Arc<Core>, stopped: watch::Receiver<bool>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut rounds = Rounds::every(ROUND, stopped);
        let mut looked = None;
        while rounds.next().await {
            let (ledger, own, office) = (core.state().time(), core.clock.now(), Arc::clone(&core));
            let now = Some(ledger.min(own).0 / RETIRE_MS);
            if now == std::mem::replace(&mut looked, now) {
                continue;
            }
            let retired = match core.disk.aside(move || office.office.retire(ledger, own)).await {
                Some(Ok(retired)) if retired.letters > 0 || retired.frames > 0 => retired,
                Some(Ok(_)) => continue,
                Some(Err(error)) => {
                    tracing::error!(%error, "old notices cannot be deleted; it is tried again");
                    continue;
                }
                None => {
                    tracing::error!("old notices were not deleted; it is tried again");
                    continue;
                }
            };
            let object = Object::Text(format!("notices: {} letters, {} frames", retired.letters, retired.frames));
            let logged = core.log_node(AuditAction::Purge, &core.agency, object, Verdict::Allow, "retention").await;
            if let Err(error) = logged {
                tracing::error!(%error, "a deletion could not be audited");
            }
        }
    })
}

/// Removes content that nobody will read, and files that could not be removed when their time came. A node whose state is not
/// the majority's removes nothing: it does not know what was committed.
pub(super) fn sweep(core: Arc<Core>, stopped: watch::Receiver<bool>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut rounds = Rounds::every(SWEEP, stopped);
        // The start removed what there was.
        let mut first = true;
        while rounds.next().await {
            if std::mem::take(&mut first) || core.cluster.has_diverged() {
                continue;
            }
            // In this order: what was certified is in a state that is looked at later.
            let certified = core.cluster.certified();
            if let Err(error) = core.vault.sweep(&core.state(), certified).await {
                tracing::warn!(%error, "files that nothing names stay for now");
            }
        }
    })
}

/// Tells originators of what could not be taken of theirs.
pub(super) fn complain(
    core: Arc<Core>,
    peers: Arc<dyn PeerComplaints>,
    stopped: watch::Receiver<bool>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut rounds = Rounds::every(ROUND, stopped);
        let mut complained = Complained::default();
        while rounds.next().await {
            core.complain(&mut complained, peers.as_ref()).await;
        }
    })
}

/// Keeps the directory of people one with those of the agency's other nodes. Asked this often, a suspension counts everywhere
/// within the time of a fresh node (P9).
pub(super) fn share_people(
    core: Arc<Core>,
    peers: Arc<dyn PeerPeople>,
    stopped: watch::Receiver<bool>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut rounds = Rounds::every(ROUND, stopped);
        let mut offers = Offers::default();
        while rounds.next().await {
            core.share_people(&mut offers, peers.as_ref()).await;
        }
    })
}

/// Tells originators of accesses, each node by a task of its own: one that answers slowly holds nothing up. Nodes come and go.
pub(super) fn report(core: Arc<Core>, peers: Arc<dyn PeerReports>, stopped: watch::Receiver<bool>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut rounds = Rounds::every(ROUND, stopped.clone());
        let (mut known, mut telling) = (BTreeSet::new(), JoinSet::new());
        while rounds.next().await {
            let state = core.state();
            for (node, n) in state.nodes().filter(|(_, n)| n.agency != core.agency) {
                if known.insert(*node) {
                    let to = (*node, n.agency.clone());
                    telling.spawn(report_to(Arc::clone(&core), Arc::clone(&peers), to, stopped.clone()));
                }
            }
        }
    })
}

async fn report_to(
    core: Arc<Core>,
    peers: Arc<dyn PeerReports>,
    (node, agency): (NodeId, AgencyId),
    stopped: watch::Receiver<bool>,
) {
    let mut rounds = Rounds::every(ROUND, stopped);
    let mut told = None;
    while rounds.next().await {
        if core.state().retired(node).is_some() {
            return;
        }
        if let Err(why) = core.report_accesses(&mut told, peers.as_ref(), node, &agency).await {
            tracing::debug!(%agency, %why, "an originator is not told yet");
        }
    }
}

/// Keeps the search indexes up with what is held.
pub(super) fn index(core: Arc<Core>, stopped: watch::Receiver<bool>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut rounds = Rounds::every(INDEX_ROUND, stopped);
        let mut indexing = Indexing::default();
        while rounds.next().await {
            let began = Instant::now();
            loop {
                match core.index_some(&mut indexing).await {
                    Ok(true) if !rounds.are_over() => {}
                    Ok(_) => {
                        rounds.ticks.reset_after(rest_after(began.elapsed()));
                        break;
                    }
                    Err(error) => {
                        // What was taken off the list is found again by comparing with the index.
                        tracing::error!(%error, "indexing failed; it is tried again");
                        indexing = Indexing::default();
                        rounds.ticks.reset_after(INDEX_AGAIN);
                        break;
                    }
                }
            }
        }
    })
}

/// How long nothing is indexed after a round that took so long.
fn rest_after(worked: Duration) -> Duration {
    worked.saturating_mul(INDEX_REST).clamp(INDEX_ROUND, INDEX_REST_MOST)
}

/// What the store lost and got back is an event of the audit log.
async fn tell_incidents(core: &Core) {
    for incident in core.cluster.take_incidents() {
        let object = Object::Text(incident.chars().take(200).collect());
        let logged = core.log_node(AuditAction::Rebuild, &core.agency, object, Verdict::Allow, "store").await;
        if let Err(error) = logged {
            tracing::error!(%error, %incident, "a rebuild could not be audited");
        }
    }
}

/// What was found damaged on disk is an event of the audit log; it is fetched again by the sync.
async fn tell_damaged(core: &Core) {
    for (id, version) in core.vault.take_damaged() {
        let object = Object::Record { id, version };
        let logged = core.log_node(AuditAction::Quarantine, &core.agency, object, Verdict::Deny, "damaged").await;
        if let Err(error) = logged {
            tracing::error!(%error, record = %id, "a damaged object could not be audited");
        }
    }
}

/// Evidence against a member is an event of the audit log, and an alarm in the node's.
async fn tell_evidence(core: &Core) {
    for Finding { sender, why, rule, closes } in core.cluster.take_evidence() {
        let state = core.state();
        // Of a node that was removed meanwhile, too.
        let agency = state.signer(sender).map_or_else(|| core.agency.clone(), |(agency, _)| agency.clone());
        if closes {
            tracing::error!(%sender, %agency, %why, "ALARM: a member tried to undo the ledger; this node writes nothing to it");
        } else {
            tracing::error!(%sender, %agency, rule, %why, "ALARM: a member does what no honest one does, or seems to");
        }
        let object = Object::Text(why.chars().take(200).collect());
        let logged = core.log_node(AuditAction::PeerRefused, &agency, object, Verdict::Deny, rule).await;
        if let Err(error) = logged {
            tracing::error!(%error, "evidence could not be audited");
        }
    }
}

/// Introduces a pair key to every agency that has none from this one.
async fn introduce(core: &Core) {
    let state = core.state();
    let Some(own) = state.agency(&core.agency) else { return };
    let month = month_of(core.clock.now());
    let unknown = |to: &AgencyId| !own.introductions.keys().any(|(a, _)| a == to);
    for (to, _) in state.agencies().filter(|(a, _)| **a != core.agency && unknown(a)) {
        let sealed = {
            let mut entropy = core.entropy.lock().unwrap_or_else(PoisonError::into_inner);
            core.vault.keys().introduce(&state, to, month, entropy.as_mut())
        };
        let sealed = match sealed {
            Ok(sealed) => sealed,
            Err(error) => {
                tracing::error!(%to, %error, "cannot seal a pair key");
                continue;
            }
        };
        let command = Command::Introduce { to: to.clone(), month, sealed };
        if let Err(error) = core.committer.submit(command, WAIT).await {
            tracing::debug!(%to, %error, "a pair key waits for a leader");
            return;
        }
    }
}

/// Says on the ledger up to which level this program knows its rules, if that is more than the ledger's (P5); and again when
/// the ledger needs this node's clock, which goes with it (P8).
async fn report_level(core: &Core) {
    let state = core.state();
    let known = state.level() >= LEVEL || state.supported(core.node) == Some(LEVEL);
    let reported = known && !state.wants_clock(&core.agency, core.clock.now());
    // Nothing waits for a leader here: what this round does next needs none.
    if reported || !state.stands(&core.agency) || core.cluster.status().leader.is_none() {
        return;
    }
    if let Err(error) = core.committer.submit(Command::Supports { level: LEVEL }, WAIT).await {
        tracing::debug!(%error, "the level that this node knows waits for a leader");
    }
}

/// Puts the hash of the audit head on the ledger when it moved. Returns the size anchored.
async fn anchor(core: &Core, before: u64, notices: &mut Range<u64>) -> u64 {
    // The log's checkpoint covers this event, and the ledger the checkpoint: so the ledger anchors every notice and receipt.
    match core.office.digest() {
        Ok((frames, _)) if frames == *notices => {}
        Ok((frames, head)) => {
            let object = Object::Text(format!("{}-{} {}", frames.start, frames.end, HEXLOWER.encode(&head)));
            let action = AuditAction::NoticeAnchor;
            match core.log_node(action, &core.agency, object, Verdict::Allow, "notice-digest").await {
                Ok(_) => *notices = frames,
                Err(error) => tracing::error!(%error, "the digest of notices could not be audited"),
            }
        }
        Err(error) => tracing::error!(%error, "the digest of notices cannot be made"),
    }
    let size = core.audit.size();
    if size == before {
        return before;
    }
    // Up to date, so that the ledger's word is the last one.
    if core.cluster.barrier(Instant::now() + WAIT).await.is_err() {
        return before;
    }
    let on_ledger = core.state().node(core.node).and_then(|n| n.anchor).map(|(_, digest)| digest);
    if let Err(error) = core.anchors.check(&core.audit, on_ledger.as_ref()) {
        tracing::error!(%error, "ALARM: the audit log is not the one that was anchored; nothing is done here any more");
        core.audit.end(&error.to_string());
        return before;
    }
    let checkpoint = core.audit.checkpoint(&core.signer, &core.log_name());
    let proposed = match checkpoint.and_then(|note| core.anchors.propose(&note, on_ledger.as_ref())) {
        Ok(note) => anchor_digest(&note),
        Err(error) => {
            tracing::error!(%error, "cannot make a checkpoint of the audit log");
            return before;
        }
    };
    match core.committer.submit(Command::Anchor { checkpoint: proposed }, WAIT).await {
        Ok(_) => size,
        Err(_) => before,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_rests_longer_than_it_worked_and_not_for_hours() {
        let [moment, second, hour] = [1, 1_500, 3_600_000].map(Duration::from_millis);
        assert_eq!(rest_after(moment), INDEX_ROUND);
        assert_eq!(rest_after(second), Duration::from_secs(3));
        assert_eq!(rest_after(hour), INDEX_REST_MOST);
        assert_eq!(rest_after(Duration::MAX), INDEX_REST_MOST);
    }
}
