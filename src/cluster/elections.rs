//! Signed vote grants: a leader shows that a majority of the voters gave it their vote (P6).
//!
//! openraft believes whoever sends entries with a committed vote. So each message of a leader carries grants: signatures
//! of voters over (federation, term, leader), made only for a vote that the signer gave or a leader that it follows, and
//! that is durable. A voter whose durable vote is another's has none to give, so a member that was not elected cannot show a majority, whatever it sends.
//! The grants of a vote are asked for when it first leads, and again after a restart: they are on no disk.

use super::certificate::Certificate;
use super::codec;
use super::network::{CallKind, PeerCalls};
use super::types::Vote;
use super::voters::Voters;
use crate::domain::canon::{Canon, CanonError, Reader, Writer};
use crate::domain::ids::FederationId;
use crate::seal::{Signature, SigningKey};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

const DOMAIN: &str = "hufu.vote-grant";
/// Most grants of one message; a voter set is far smaller.
const GRANTS: usize = 64;

/// A voter's signature under somebody's vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grant {
    voter: u64,
    signature: Signature,
}

impl Canon for Grant {
    fn write(&self, w: &mut Writer) {
        w.u64(self.voter).value(&self.signature);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(Grant { voter: r.u64()?, signature: r.value()? })
    }
}

/// Signs that `voter`'s durable vote is `leader`'s in `term`.
pub(super) fn grant(federation: &FederationId, voter: u64, key: &SigningKey, (term, leader): (u64, u64)) -> Grant {
    Grant { voter, signature: key.sign(DOMAIN, &words(federation, term, leader)) }
}

fn words(federation: &FederationId, term: u64, leader: u64) -> Vec<u8> {
    Writer::new(DOMAIN, 1).value(federation).u64(term).u64(leader).finish()
}

/// Writes the grants in front of a leader's message.
pub(super) fn write_grants(w: &mut Writer, grants: &[Grant]) {
    w.list(grants.iter(), |w, g| g.write(w));
}

/// Reads them.
pub(super) fn read_grants(r: &mut Reader<'_>) -> Result<Vec<Grant>, CanonError> {
    r.list(GRANTS, Grant::read)
}

/// Whose election this node has seen.
pub(super) struct Elections {
    voters: Arc<Voters>,
    seen: Mutex<Option<(u64, u64)>>,
}

impl Elections {
    pub(super) fn new(voters: Arc<Voters>) -> Elections {
        Elections { voters, seen: Mutex::default() }
    }

    /// Whether a leader is shown to be elected: by these grants, or by earlier ones for the same vote.
    pub(super) fn admits(&self, vote: &Vote, shown: &[Grant]) -> bool {
        let Some(leader) = vote.leader_id.voted_for() else { return false };
        let of = (vote.leader_id.term, leader);
        if self.has_seen(of) {
            return true;
        }
        // Not under the lock, which the heartbeats of the leader that is known need.
        let elected = self.is_majority(of, shown);
        if elected {
            let mut seen = self.seen();
            *seen = (*seen).max(Some(of));
        }
        elected
    }

    /// Whether this leader, by term and node, was shown to be elected.
    pub(super) fn has_seen(&self, of: (u64, u64)) -> bool {
        *self.seen() == Some(of)
    }

    fn seen(&self) -> MutexGuard<'_, Option<(u64, u64)>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody votes, and so may be elected.
    pub(super) fn may_lead(&self, node: u64) -> bool {
        self.voters.contains(node)
    }

    /// Whether a certificate is one of these voters.
    pub(super) fn certifies(&self, certificate: &Certificate) -> bool {
        certificate.verifies(&self.voters)
    }

    /// Of each voter the first grant counts, so that nobody makes others check more signatures than there are voters.
    fn is_majority(&self, of: (u64, u64), shown: &[Grant]) -> bool {
        let mut granted = BTreeSet::new();
        let mut heard = BTreeSet::new();
        for g in shown {
            if self.voters.contains(g.voter) && heard.insert(g.voter) && self.verifies(of, g) {
                granted.insert(g.voter);
                if self.voters.is_majority(&granted) {
                    return true;
                }
            }
        }
        false
    }

    fn verifies(&self, (term, leader): (u64, u64), grant: &Grant) -> bool {
        let words = words(&self.voters.federation, term, leader);
        self.voters.signed(grant.voter, DOMAIN, &words, &grant.signature)
    }
}

/// The grants by which this node leads.
pub(super) struct Mandate {
    node: u64,
    key: Arc<SigningKey>,
    elections: Arc<Elections>,
    calls: Arc<dyn PeerCalls>,
    shown: tokio::sync::Mutex<((u64, u64), Vec<Grant>)>,
    /// Term and node that this process gave its vote to last.
    given: Mutex<(u64, u64)>,
}

impl Mandate {
    pub(super) fn new(
        node: u64,
        key: Arc<SigningKey>,
        elections: Arc<Elections>,
        calls: Arc<dyn PeerCalls>,
    ) -> Mandate {
        Mandate { node, key, elections, calls, shown: tokio::sync::Mutex::default(), given: Mutex::default() }
    }

    /// This node gave its vote, as openraft answered just now.
    pub(super) fn gave(&self, of: (u64, u64)) {
        *self.given.lock().unwrap_or_else(PoisonError::into_inner) = of;
    }

    /// This node's grant, for whom its durable vote names. That alone is not enough: openraft takes over any higher vote that
    /// it hears of in an answer. It gave the vote, has followed that leader, or leads itself.
    pub(super) fn grant(&self, durable: &Vote, (term, leader): (u64, u64)) -> Option<Grant> {
        let named = durable.leader_id.term == term && durable.leader_id.voted_for() == Some(leader);
        let given = *self.given.lock().unwrap_or_else(PoisonError::into_inner) == (term, leader);
        let voted = named && (given || durable.is_committed() || leader == self.node);
        let votes = self.elections.voters.contains(self.node);
        (voted && votes).then(|| grant(&self.elections.voters.federation, self.node, &self.key, (term, leader)))
    }

    /// Grants for the own vote: of a majority, asked for once; of fewer when too few answer within the time.
    pub(super) async fn show(&self, vote: &Vote, within: Duration) -> Vec<Grant> {
        let of = (vote.leader_id.term, self.node);
        let mut shown = self.shown.lock().await;
        if shown.0 == of && !shown.1.is_empty() {
            return shown.1.clone();
        }
        let mut grants: Vec<Grant> = self.grant(vote, of).into_iter().collect();
        let mut asked = JoinSet::new();
        for voter in self.elections.voters.others(self.node) {
            let body = codec::message(|w| {
                w.u64(of.0);
            });
            asked.spawn(self.calls.call(voter, CallKind::Grant, body, within));
        }
        while !self.elections.is_majority(of, &grants) {
            let Some(answer) = asked.join_next().await else { return grants };
            let answer = answer.ok().and_then(Result::ok);
            let granted = answer.and_then(|bytes| codec::parse(&bytes, |r| r.option(Grant::read)).ok());
            let granted = granted.flatten().filter(|g| self.elections.verifies(of, g));
            // One that answers with another's grant adds nothing.
            if let Some(g) = granted
                && grants.iter().all(|own| own.voter != g.voter)
            {
                grants.push(g);
            }
        }
        *shown = (of, grants.clone());
        grants
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::*;
    use crate::ledger::State;
    use crate::ledger::fixture::{Agency, federation};

    #[test]
    fn a_leader_shows_a_majority_of_distinct_voters() {
        let f = federation();
        let state = State::genesis(&f.genesis).unwrap();
        let of = |term, leader: &Agency, voters: &[&Agency]| {
            let sign = |v: &&Agency| grant(&f.id, v.node.0, &v.node_key, (term, leader.node.0));
            voters.iter().map(sign).collect::<Vec<_>>()
        };
        let vote = |term| Vote::new_committed(term, f.police.node.0);
        let admits = |vote: &Vote, shown: &[Grant]| Elections::new(Arc::new(Voters::of(&state))).admits(vote, shown);
        assert_eq!(state.voters().len(), 2, "both are the majority");
        assert!(admits(&vote(5), &of(5, &f.police, &[&f.police, &f.customs])));
        assert!(!admits(&vote(5), &[]));
        assert!(!admits(&vote(5), &of(5, &f.police, &[&f.police])), "its own vote alone");
        assert!(!admits(&vote(5), &of(5, &f.police, &[&f.police, &f.police])), "one voter twice");
        assert!(!admits(&vote(5), &of(5, &f.police, &[&f.police, &f.third])), "one who does not vote");
        assert!(!admits(&vote(6), &of(5, &f.police, &[&f.police, &f.customs])), "of an earlier term");
        assert!(!admits(&vote(5), &of(5, &f.customs, &[&f.police, &f.customs])), "another's");
        let mut forged = of(5, &f.police, &[&f.police, &f.customs]);
        forged[1].voter = f.third.node.0;
        assert!(!admits(&vote(5), &forged), "in somebody else's name");
        // What was seen once needs not be shown again, and shows nothing of another vote.
        let elections = Elections::new(Arc::new(Voters::of(&state)));
        assert!(elections.admits(&vote(5), &of(5, &f.police, &[&f.police, &f.customs])));
        assert!(elections.admits(&vote(5), &[]) && !elections.admits(&vote(6), &[]));
        // However many come, each voter's is checked once, and none of who does not vote.
        let voters = Arc::new(Voters::of(&state));
        let elections = Elections::new(Arc::clone(&voters));
        let bad = Grant { voter: f.customs.node.0, ..of(5, &f.customs, &[&f.police])[0] };
        let many: Vec<Grant> = std::iter::repeat_n([bad, of(5, &f.police, &[&f.third])[0]], 32).flatten().collect();
        assert!(!elections.admits(&vote(5), &many));
        assert_eq!(voters.checked.load(std::sync::atomic::Ordering::Relaxed), 1);
        let read = |g: &Grant| {
            Grant::read(&mut Reader::bare(&{
                let mut w = Writer::bare();
                g.write(&mut w);
                w.finish()
            }))
        };
        assert_eq!(read(&forged[0]), Ok(forged[0]));
    }
}
