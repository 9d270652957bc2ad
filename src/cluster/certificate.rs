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
use super::machine::Published;
use super::network::{CallKind, PeerCalls};
use super::types::Raft;
use super::voters::Voters;
use crate::domain::canon::{Canon, CanonError, Reader, Writer};
use crate::domain::ids::{FederationId, NodeId};
use crate::seal::{Signature, SigningKey};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;

const DOMAIN: &str = "hufu.attestation";
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

/// One voter's word on the state after an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attestation {
    voter: u64,
    index: u64,
    digest: [u8; 32],
    signature: Signature,
}

/// Signs that the state after `index` has this digest.
pub(super) fn attest(
    federation: &FederationId,
    voter: u64,
    key: &SigningKey,
    (index, digest): (u64, [u8; 32]),
) -> Attestation {
    Attestation { voter, index, digest, signature: key.sign(DOMAIN, &words(federation, index, &digest)) }
}

fn words(federation: &FederationId, index: u64, digest: &[u8; 32]) -> Vec<u8> {
    Writer::new(DOMAIN, 1).value(federation).u64(index).array(digest).finish()
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

    /// Whether more than half of the voters signed it.
    pub(super) fn verifies(&self, voters: &Voters) -> bool {
        let words = words(&voters.federation, self.index, &self.digest);
        let signed = self.signatures.iter().filter(|(voter, s)| voters.signed(*voter, DOMAIN, &words, s));
        voters.is_majority(&signed.map(|(voter, _)| *voter).collect())
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

/// Gathers and holds certificates on one node.
pub(super) struct Certifier {
    node: u64,
    key: Arc<SigningKey>,
    voters: Arc<Voters>,
    calls: Arc<dyn PeerCalls>,
    published: Arc<Published>,
    evidence: Arc<Evidence>,
    newest: Mutex<Option<Certificate>>,
    /// Of the snapshot that is being sent.
    of_snapshot: tokio::sync::Mutex<Option<Certificate>>,
    /// Told when a snapshot is too old for any voter to remember its state.
    outdated: Notify,
}

impl Certifier {
    pub(super) fn new(
        node: u64,
        key: Arc<SigningKey>,
        voters: Arc<Voters>,
        calls: Arc<dyn PeerCalls>,
        published: Arc<Published>,
        evidence: Arc<Evidence>,
    ) -> Certifier {
        Certifier {
            node,
            key,
            voters,
            calls,
            published,
            evidence,
            newest: Mutex::default(),
            of_snapshot: Default::default(),
            outdated: Notify::new(),
        }
    }

    /// The highest index of which a certificate is here; 0 for none.
    pub(super) fn certified(&self) -> u64 {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(0, |c| c.index)
    }

    /// This voter's word on an index that it has applied since its start.
    pub(super) fn attest(&self, index: u64) -> Option<Attestation> {
        let digest = self.published.digest_at(index).filter(|_| self.voters.contains(self.node))?;
        Some(attest(&self.voters.federation, self.node, &self.key, (index, digest)))
    }

    /// Takes a certificate in, from whomever. False when it is none.
    ///
    /// # Errors
    /// A journal that takes no evidence.
    pub(super) async fn take(&self, sender: NodeId, c: Certificate) -> Result<bool, crate::journal::JournalError> {
        if !c.verifies(&self.voters) {
            return Ok(false);
        }
        // Counted only when compared: else a leader could hand out true certificates ahead of false entries.
        let Some(own) = self.published.digest_at(c.index) else { return Ok(true) };
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
        let mut asked = JoinSet::new();
        for voter in self.voters.others(self.node) {
            let body = codec::message(|w| {
                w.u64(index);
            });
            asked.spawn(self.calls.call(voter, CallKind::Attest, body, ANSWER));
        }
        loop {
            if let Some(certificate) = Certificate::of(&words, &self.voters) {
                return Some(certificate);
            }
            let answer = asked.join_next().await?.ok().and_then(Result::ok);
            let attested = answer.and_then(|bytes| codec::parse(&bytes, |r| r.option(Attestation::read)).ok());
            words.extend(attested.flatten().filter(|a| a.index == index && self.holds(a)));
        }
    }

    /// The certificate of a snapshot up to `index`, which nobody would take without it. None when too few voters remember
    /// their state at it: then a newer snapshot is made, and sent instead.
    pub(super) async fn of_snapshot(&self, index: u64) -> Option<Certificate> {
        let mut known = self.of_snapshot.lock().await;
        // Who signed the last time may vote no more.
        if known.as_ref().is_none_or(|c| c.index != index || !c.verifies(&self.voters)) {
            *known = self.collect(index).await;
        }
        if known.is_none() {
            self.outdated.notify_one();
        }
        known.clone()
    }

    /// Certifies each snapshot while the voters remember its state: one of them may be gone when it is needed.
    pub(super) async fn certify_snapshots(self: Arc<Self>, raft: Raft) {
        let mut metrics = raft.metrics();
        let mut last = None;
        loop {
            let Ok(made) = metrics.wait_for(|m| m.snapshot.map(|id| id.index) != last).await.map(|m| m.snapshot) else {
                return;
            };
            last = made.map(|id| id.index);
            let Some(index) = last else { continue };
            if let Some(certificate) = self.collect(index).await {
                *self.of_snapshot.lock().await = Some(certificate);
            }
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
        let words = words(&self.voters.federation, a.index, &a.digest);
        self.voters.signed(a.voter, DOMAIN, &words, &a.signature)
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
        assert_eq!(Certificate::from_canon(&good.to_canon()).unwrap(), good);
    }
}
