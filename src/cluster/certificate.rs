//! Certificates: a majority of the voters signed the same state at the same index (P7).
//!
//! Who leads asks the voters for attestations, 256 entries or a second after the last certificate, and hands what came
//! of it to every node; a node that gets none for longer asks by itself, so that a leader cannot withhold them. A node
//! whose own state at that index is another one has been fed other entries than the majority, or its disk lies: it keeps
//! the certificate as evidence, writes nothing more, leads nobody, and shows nothing above internal.
//!
//! What is signed is the digest of the whole state. It covers all that `apply` made of the entries, in their order of
//! commitment; entries that changed nothing are in no certificate.

use super::codec;
use super::evidence::Evidence;
use super::heard::Heard;
use super::machine::Published;
use super::network::{CallError, CallKind, PeerCalls};
use super::snapshot::SnapshotFile;
use super::types::{Raft, Snapshot};
use super::voters::Voters;
use crate::domain::canon::{Canon, CanonError, Reader, Writer};
use crate::domain::ids::{FederationId, NodeId};
use crate::journal::JournalError;
use crate::ledger::{ATTESTATION, Command, attested};
use crate::seal::{Signature, SigningKey};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{Notify, OwnedMutexGuard, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

/// Entries after the last certificate at which the leader asks for the next.
const ENTRIES: u64 = 256;
/// Pause after which it asks for fewer.
const PAUSE: Duration = Duration::from_secs(1);
/// After this long without one, a node that does not lead asks by itself.
const WITHHELD: Duration = Duration::from_secs(5);
/// Time for an answer.
const ANSWER: Duration = Duration::from_secs(2);
/// Most signatures of a certificate; a voter set is far smaller.
const SIGNATURES: usize = 64;

/// What a peer answered.
type Answer = Result<Vec<u8>, CallError>;

/// One voter's word on the state after an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attestation {
    pub(super) voter: u64,
    pub(super) index: u64,
    pub(super) digest: [u8; 32],
    signature: Signature,
}

/// Signs that the state after `index` has this digest.
pub(super) fn attest(
    federation: &FederationId,
    voter: u64,
    key: &SigningKey,
    (index, digest): (u64, [u8; 32]),
) -> Attestation {
    Attestation { voter, index, digest, signature: key.sign(ATTESTATION, &attested(federation, index, &digest)) }
}

impl Canon for Attestation {
    fn write(&self, w: &mut Writer) {
        w.u64(self.voter).u64(self.index).array(&self.digest).value(&self.signature);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(Attestation { voter: r.u64()?, index: r.u64()?, digest: r.array()?, signature: r.value()? })
    }
}

/// Attestations of a majority for one state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Certificate {
    pub(super) index: u64,
    pub(super) digest: [u8; 32],
    pub(super) signatures: Vec<(u64, Signature)>,
}

impl Certificate {
    /// Of attestations that verify, if more than half of the voters agree.
    pub(super) fn of(attestations: &[Attestation], voters: &Voters) -> Option<Certificate> {
        let mut agreeing: BTreeMap<(u64, [u8; 32]), BTreeMap<u64, Signature>> = BTreeMap::new();
        for a in attestations {
            agreeing.entry((a.index, a.digest)).or_default().insert(a.voter, a.signature);
        }
        let agree = |signed: &BTreeMap<u64, Signature>| voters.is_majority(&signed.keys().copied().collect());
        let ((index, digest), signed) = agreeing.into_iter().find(|(_, signed)| agree(signed))?;
        Some(Certificate { index, digest, signatures: signed.into_iter().collect() })
    }

    /// Whether more than half of the voters signed it: each once, in the order of their numbers as [`Certificate::of`] puts
    /// them, and nobody else. What is not of that form costs nobody a check of a signature.
    pub(super) fn verifies(&self, voters: &Voters) -> bool {
        let ordered = self.signatures.is_sorted_by(|(a, _), (b, _)| a < b);
        let known = self.signatures.iter().all(|(voter, _)| voters.contains(*voter));
        if !ordered || !known || !voters.is_majority(&self.signatures.iter().map(|(voter, _)| *voter).collect()) {
            return false;
        }
        let words = attested(&voters.federation, self.index, &self.digest);
        self.signatures.iter().all(|(voter, s)| voters.signed(*voter, ATTESTATION, &words, s))
    }

    /// The words that it is made of.
    fn attestations(&self) -> impl Iterator<Item = Attestation> {
        let (index, digest) = (self.index, self.digest);
        self.signatures.iter().map(move |(voter, signature)| Attestation {
            voter: *voter,
            index,
            digest,
            signature: *signature,
        })
    }
}

impl Canon for Certificate {
    fn write(&self, w: &mut Writer) {
        w.u64(self.index).array(&self.digest).list(self.signatures.iter(), |w, (voter, signature)| {
            w.u64(*voter).value(signature);
        });
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        let signature = |r: &mut Reader<'_>| Ok((r.u64()?, r.value()?));
        Ok(Certificate { index: r.u64()?, digest: r.array()?, signatures: r.list(SIGNATURES, signature)? })
    }
}

/// How a new snapshot may take the place of the last one.
pub(super) enum Leave {
    /// With this certificate.
    With(Certificate),
    /// Without any: this node sends nobody a snapshot.
    Without,
    /// Not at all as long as no majority certifies it.
    NotYet,
}

/// Gathers and holds certificates on one node.
pub(super) struct Certifier {
    node: u64,
    key: Arc<SigningKey>,
    voters: Arc<Voters>,
    calls: Arc<dyn PeerCalls>,
    published: Arc<Published>,
    evidence: Arc<Evidence>,
    heard: Heard,
    newest: Mutex<Option<Certificate>>,
    /// The snapshot on disk, with its certificate.
    /// The state machine's: it lets go of the folder when consensus stops, whoever still has this.
    file: Weak<SnapshotFile>,
    /// Of the snapshot that is being sent.
    of_snapshot: tokio::sync::Mutex<Option<Certificate>>,
    /// Told when a snapshot is too old for any voter to remember its state.
    outdated: Notify,
    /// The leader that was heard last, and when.
    leads: Mutex<Option<(u64, Instant)>>,
    /// Held while a snapshot is built.
    building: Arc<tokio::sync::Mutex<()>>,
    /// Set when the node stops.
    closing: watch::Sender<bool>,
}

impl Certifier {
    pub(super) fn new(
        node: u64,
        key: Arc<SigningKey>,
        voters: Arc<Voters>,
        calls: Arc<dyn PeerCalls>,
        (published, file): (Arc<Published>, &Arc<SnapshotFile>),
        evidence: Arc<Evidence>,
    ) -> Certifier {
        Certifier {
            node,
            key,
            voters,
            calls,
            published,
            evidence,
            heard: Heard::default(),
            newest: Mutex::default(),
            file: Arc::downgrade(file),
            of_snapshot: Default::default(),
            outdated: Notify::new(),
            leads: Mutex::default(),
            building: Arc::default(),
            closing: watch::Sender::new(false),
        }
    }

    /// The highest index of which a certificate is here; 0 for none.
    pub(super) fn certified(&self) -> u64 {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(0, |c| c.index)
    }

    /// This voter's word on an index that it has applied since its start.
    pub(super) fn attest(&self, index: u64) -> Option<Attestation> {
        let digest = self.digest_at(index).filter(|_| self.voters.contains(self.node))?;
        Some(attest(&self.voters.federation, self.node, &self.key, (index, digest)))
    }

    /// This node's own digest after an index: as it applied it, or as an act that waits remembers it, also over a restart.
    fn digest_at(&self, index: u64) -> Option<[u8; 32]> {
        self.published.digest_at(index).or_else(|| self.published.state().digest_seen(index))
    }

    /// The command that brings the ledger a certificate of this index, if a majority of the voters signed what this node has
    /// there (P7).
    ///
    /// # Errors
    /// A journal that takes no evidence.
    pub(super) async fn for_the_ledger(&self, index: u64) -> Result<Option<Command>, JournalError> {
        let Some(certificate) = self.collect(index).await else { return Ok(None) };
        let Certificate { index, digest, signatures } = certificate.clone();
        self.take(NodeId(self.node), certificate).await?;
        let signatures = signatures.into_iter().map(|(voter, signature)| (NodeId(voter), signature)).collect();
        Ok((self.digest_at(index) == Some(digest)).then_some(Command::Certified { index, digest, signatures }))
    }

    /// Takes a certificate in, from whomever. False when it is none.
    ///
    /// # Errors
    /// A journal that takes no evidence.
    pub(super) async fn take(&self, sender: NodeId, c: Certificate) -> Result<bool, JournalError> {
        if !c.verifies(&self.voters) {
            return Ok(false);
        }
        for a in c.attestations() {
            self.hear(&a).await?;
        }
        // Counted only when compared: else a leader could hand out true certificates ahead of false entries.
        let Some(own) = self.digest_at(c.index) else { return Ok(true) };
        if own != c.digest {
            let why = format!("the majority certifies another state at index {} than this node has", c.index);
            tracing::error!(%sender, %why);
            self.evidence.keep(sender, CallKind::Certificate, &why, &c.to_canon()).await?;
        }
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.as_ref().is_none_or(|n| n.index < c.index) {
            *newest = Some(c);
        }
        Ok(true)
    }

    /// A certificate of one index, if a majority of the voters has applied it and agrees.
    pub(super) async fn collect(&self, index: u64) -> Option<Certificate> {
        let mut words: Vec<Attestation> = self.attest(index).into_iter().collect();
        let mut asked = self.ask(index);
        loop {
            if let Some(certificate) = Certificate::of(&words, &self.voters) {
                return Some(certificate);
            }
            let Some(word) = self.word(index, asked.join_next().await?) else { continue };
            if let Err(error) = self.hear(&word).await {
                tracing::error!(%error, "two words of one voter could not be kept as evidence");
            }
            words.push(word);
        }
    }

    /// Asks every other voter for its word on an index.
    fn ask(&self, index: u64) -> JoinSet<Answer> {
        let mut asked = JoinSet::new();
        for voter in self.voters.others(self.node) {
            let body = codec::message(|w| {
                w.u64(index);
            });
            asked.spawn(self.calls.call(voter, CallKind::Attest, body, ANSWER));
        }
        asked
    }

    /// The word in an answer, if it is one on this index.
    fn word(&self, index: u64, answer: Result<Answer, JoinError>) -> Option<Attestation> {
        let bytes = answer.ok()?.ok()?;
        let attested = codec::parse(&bytes, |r| r.option(Attestation::read)).ok()?;
        attested.filter(|a| a.index == index && self.holds(a))
    }

    /// Remembers a word that verifies. Two of one voter on one index that differ are kept: no honest voter signs both.
    async fn hear(&self, a: &Attestation) -> Result<(), JournalError> {
        let Some(earlier) = self.heard.hear(a) else { return Ok(()) };
        let why = format!("it signed two states for index {}", a.index);
        tracing::error!(voter = %NodeId(a.voter), %why);
        self.evidence.keep_double(NodeId(a.voter), &why, &Writer::bare().value(&earlier).value(a).finish()).await
    }

    /// The certificate of a snapshot up to `index`, which nobody would take without it: the one beside the snapshot, else
    /// one that is asked for now. None when too few voters remember their state at it: then a newer snapshot is made, and
    /// sent instead.
    pub(super) async fn of_snapshot(&self, index: u64) -> Option<Certificate> {
        let mut known = self.of_snapshot.lock().await;
        // Who signed the last time may vote no more.
        if known.as_ref().is_none_or(|c| c.index != index || !c.verifies(&self.voters)) {
            let kept = self.file.upgrade().and_then(|f| f.certificate(index)).filter(|c| c.verifies(&self.voters));
            *known = match kept {
                Some(certificate) => Some(certificate),
                None => self.collect(index).await,
            };
        }
        if known.is_none() {
            self.outdated.notify_one();
        }
        known.clone()
    }

    /// Whether a snapshot of this state may take the place of the last one. It waits for a while before it says not yet,
    /// since openraft asks again with the next commitment.
    pub(super) async fn leave(&self, index: u64, digest: [u8; 32]) -> Leave {
        // Who does not vote never leads.
        if !self.voters.contains(self.node) {
            return Leave::Without;
        }
        let mut closing = self.closing.subscribe();
        let certificate = tokio::select! {
            biased;
            _ = closing.wait_for(|c| *c) => return Leave::NotYet,
            certificate = self.collect(index) => certificate,
        };
        if let Some(certificate) = certificate.filter(|c| c.digest == digest) {
            return Leave::With(certificate);
        }
        // Nor does who has evidence, until people looked; its log is not kept for ever.
        if self.evidence.halted().is_some() {
            return Leave::Without;
        }
        tracing::warn!(index, "no majority certifies a snapshot now: the last one stays, and so does the log");
        tokio::select! {
            biased;
            _ = closing.wait_for(|c| *c) => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
        Leave::NotYet
    }

    /// Held by whoever builds a snapshot.
    pub(super) async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.building).lock_owned().await
    }

    /// Lets nobody wait for a certificate any more, and waits for who builds a snapshot.
    pub(super) async fn close(&self) {
        self.closing.send_replace(true);
        let _turn = self.turn().await;
    }

    /// Puts a snapshot that came on disk, with the certificate that it came with, before openraft installs it: openraft
    /// cuts the log beside the installation, and after a crash in between what the log lost must be somewhere. It blocks.
    pub(super) fn keep(&self, snapshot: &Snapshot, certificate: &Certificate) {
        let (id, bytes) = (snapshot.meta.last_log_id, snapshot.snapshot.get_ref());
        let put = self.file.upgrade().map_or(Ok(()), |f| f.put(id, certificate.digest, bytes, Some(certificate)));
        if let Err(error) = put {
            // It is tried again when it is installed, and a second failure stops the node.
            tracing::error!(%error, "a snapshot that came could not be written");
        }
    }

    /// Certifies a snapshot that is here without: of an earlier version of this program, or made when its file was lost.
    pub(super) async fn certify_snapshots(self: Arc<Self>, raft: Raft) {
        let mut metrics = raft.metrics();
        loop {
            let bare = |index: u64| self.file.upgrade().is_none_or(|f| f.certificate(index).is_none());
            let made = metrics.wait_for(|m| m.snapshot.is_some_and(|id| bare(id.index))).await.map(|m| m.snapshot);
            let Ok(Some(id)) = made else { return };
            // Who does not vote sends nobody a snapshot; it may vote later.
            if !self.voters.contains(self.node) {
                tokio::time::sleep(WITHHELD).await;
                continue;
            }
            let kept = match self.collect(id.index).await {
                Some(certificate) => self.file.upgrade().map_or(Ok(false), |f| f.certify(&certificate)),
                None => Ok(false),
            };
            match kept {
                Ok(true) => continue,
                // The voters do not remember it any more: a new one.
                Ok(false) if self.evidence.halted().is_none() => self.outdated.notify_one(),
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "the certificate of a snapshot could not be written"),
            }
            tokio::time::sleep(WITHHELD).await;
        }
    }

    /// Makes a new snapshot whenever the last one cannot be certified any more.
    pub(super) async fn renew_snapshots(self: Arc<Self>, raft: Raft) {
        loop {
            self.outdated.notified().await;
            if let Err(error) = raft.trigger().snapshot().await {
                tracing::error!(%error, "a new snapshot was not begun");
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn holds(&self, a: &Attestation) -> bool {
        let words = attested(&self.voters.federation, a.index, &a.digest);
        self.voters.signed(a.voter, ATTESTATION, &words, &a.signature)
    }

    /// Asks for certificates as long as the node runs.
    pub(super) async fn run(self: Arc<Self>, raft: Raft) {
        let mut applied = self.published.applied();
        loop {
            let certified = self.certified();
            if applied.wait_for(|a| *a > certified).await.is_err() {
                return;
            }
            let leads = raft.metrics().borrow().current_leader == Some(self.node);
            if leads {
                let many = applied.wait_for(|a| *a >= certified.saturating_add(ENTRIES));
                let _paused = tokio::time::timeout(PAUSE, many).await;
            } else {
                tokio::time::sleep(WITHHELD).await;
            }
            if self.certified() > certified {
                continue;
            }
            let index = *applied.borrow();
            let Some(certificate) = self.collect(index).await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let body = codec::message(|w| {
                w.value(&certificate);
            });
            if let Err(error) = self.take(NodeId(self.node), certificate).await {
                tracing::error!(%error, "a certificate could not be kept as evidence");
                return;
            }
            if self.evidence.halted().is_some() {
                step_back(&raft);
            }
            if leads {
                self.hand_out(body);
            }
        }
    }

    /// A leader was heard just now.
    pub(super) fn hears(&self, leader: NodeId) {
        *self.leads.lock().unwrap_or_else(PoisonError::into_inner) = Some((leader.0, Instant::now()));
    }

    /// The leader that was heard within the time of an answer.
    fn leader(&self) -> Option<u64> {
        let leads = *self.leads.lock().unwrap_or_else(PoisonError::into_inner);
        leads.filter(|(_, at)| at.elapsed() < ANSWER).map(|(leader, _)| leader)
    }

    /// Notices when a leader that is heard sends no entries although another voter has some. Nothing that this node was sent
    /// shows it, so it asks; and it says who contradicts whom, since one of the two may as well make it up.
    pub(super) async fn watch(self: Arc<Self>) {
        let mut applied = self.published.applied();
        loop {
            let at = *applied.borrow_and_update();
            if tokio::time::timeout(WITHHELD, applied.wait_for(|a| *a > at)).await.is_ok_and(|moved| moved.is_ok()) {
                continue;
            }
            let Some(leader) = self.leader() else { continue };
            let mut asked = self.ask(at.saturating_add(1));
            let mut ahead = None;
            while let Some(answer) = asked.join_next().await {
                let word = self.word(at.saturating_add(1), answer);
                ahead = ahead.or(word.map(|a| a.voter).filter(|voter| *voter != leader));
            }
            let Some(voter) = ahead else { continue };
            // What was committed just now comes with the next heartbeat.
            let came = tokio::time::timeout(ANSWER, applied.wait_for(|a| *a > at)).await.is_ok();
            if came || self.leader() != Some(leader) {
                continue;
            }
            let why = format!(
                "{} signed the state at index {}, and under this leader nothing after {at} is committed here",
                NodeId(voter),
                at + 1
            );
            tracing::error!(leader = %NodeId(leader), %why);
            self.evidence.tell(NodeId(leader), why);
            // Once for each position.
            if applied.wait_for(|a| *a > at).await.is_err() {
                return;
            }
        }
    }

    /// To every other node; who misses it gets the next, or asks.
    fn hand_out(&self, body: Vec<u8>) {
        let others: Vec<u64> = self.published.state().nodes().map(|(id, _)| id.0).filter(|n| *n != self.node).collect();
        for node in others {
            let call = self.calls.call(node, CallKind::Certificate, body.clone(), ANSWER);
            tokio::spawn(call);
        }
    }
}

/// A node that writes nothing leads nobody: it follows and votes, and the others choose whom they can write with.
pub(super) fn step_back(raft: &Raft) {
    raft.runtime_config().heartbeat(false);
    raft.runtime_config().elect(false);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::*;
    use crate::ledger::State;
    use crate::ledger::fixture::{Agency, federation};

    #[test]
    fn a_certificate_is_the_word_of_a_majority_on_one_state() {
        let f = federation();
        let voters = Voters::of(&State::genesis(&f.genesis).unwrap());
        let word = |a: &Agency, index, digest| attest(&f.id, a.node.0, &a.node_key, (index, [digest; 32]));
        let of = |words: &[Attestation]| Certificate::of(words, &voters);
        let good = of(&[word(&f.police, 7, 1), word(&f.customs, 7, 1)]).unwrap();
        assert!(good.verifies(&voters) && good.index == 7 && good.digest == [1; 32]);
        assert_eq!(of(&[word(&f.police, 7, 1), word(&f.customs, 7, 2)]), None, "two states");
        assert_eq!(of(&[word(&f.police, 7, 1), word(&f.customs, 8, 1)]), None, "two indices");
        assert_eq!(of(&[word(&f.police, 7, 1), word(&f.police, 7, 1)]), None, "one voter twice");
        // Nobody makes one alone, whatever stands in it.
        let twice = Certificate { signatures: [good.signatures[0], good.signatures[0]].into(), ..good.clone() };
        let third = word(&f.third, 7, 1);
        let stranger =
            Certificate { signatures: vec![good.signatures[0], (third.voter, third.signature)], ..good.clone() };
        let moved = Certificate { index: 8, ..good.clone() };
        let other = Certificate { digest: [2; 32], ..good.clone() };
        for bad in [twice, stranger, moved, other] {
            assert!(!bad.verifies(&voters), "{bad:?}");
        }
        // One that is not of the form is checked by nobody, however long it is.
        let checked = || voters.checked.load(std::sync::atomic::Ordering::Relaxed);
        let before = checked();
        let many = Certificate { signatures: vec![good.signatures[0]; SIGNATURES], ..good.clone() };
        let turned = Certificate { signatures: good.signatures.iter().rev().copied().collect(), ..good.clone() };
        assert!(!many.verifies(&voters) && !turned.verifies(&voters));
        assert_eq!(checked(), before);
        assert_eq!(Certificate::from_canon(&good.to_canon()).unwrap(), good);
    }
}
