//! How old what this node knows may be (P9).
//!
//! Each second a node asks every voter how far its log is. What was committed before it asked stands in the logs of a
//! majority; another majority has one of these in it. So a node that has applied as far as the voters of some majority say
//! that their logs go knows all that was committed when it asked them. The voter signs over the number of the question, and
//! the age is counted from the question by the asker's own clock: nobody else's counts, and an old answer is no answer.
//!
//! One of that majority may lie and say that its log ends before it does; with three voters, that alone makes another believe to
//! be fresh while the liar and the third go on. It is told, and nothing is closed by it. A node with no quorum around it goes on serving what it holds; how old that
//! may be is shown.

use super::codec;
use super::group::Cluster;
use super::log::Gauge;
use super::machine::Published;
use super::network::{CallKind, PeerCalls};
use super::voters::Voters;
use crate::domain::canon::{Canon, CanonError, Reader, Writer};
use crate::domain::ids::FederationId;
use crate::seal::{Signature, SigningKey};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

const DOMAIN: &str = "hufu.pulse";
/// How often the voters are asked, and how long they have.
const ROUND: Duration = Duration::from_secs(1);
/// How often is looked whether what they said is applied.
const LOOK: Duration = Duration::from_millis(200);
/// Not older than this is fresh.
const FRESH: Duration = Duration::from_secs(3);

/// How far a voter's log goes, by its own word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pulse {
    voter: u64,
    index: u64,
    signature: Signature,
}

/// A voter's answer to a node's question of this number.
pub(super) fn pulse(
    federation: &FederationId,
    (voter, key): (u64, &SigningKey),
    (asker, number): (u64, u64),
    index: u64,
) -> Pulse {
    Pulse { voter, index, signature: key.sign(DOMAIN, &words(federation, (asker, number), index)) }
}

fn words(federation: &FederationId, (asker, number): (u64, u64), index: u64) -> Vec<u8> {
    Writer::new(DOMAIN, 1).value(federation).u64(asker).u64(number).u64(index).finish()
}

impl Canon for Pulse {
    fn write(&self, w: &mut Writer) {
        w.u64(self.voter).u64(self.index).value(&self.signature);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(Pulse { voter: r.u64()?, index: r.u64()?, signature: r.value()? })
    }
}

/// What voters said last.
#[derive(Default)]
struct Heard {
    /// Of each voter: how far its log went, and when it was asked.
    pulses: BTreeMap<u64, (u64, Instant)>,
    /// All that was committed then is applied here.
    as_of: Option<Instant>,
    number: u64,
}

/// How old what one node knows may be.
pub(super) struct Freshness {
    node: u64,
    key: Arc<SigningKey>,
    voters: Arc<Voters>,
    calls: Arc<dyn PeerCalls>,
    published: Arc<Published>,
    heard: Mutex<Heard>,
}

impl Freshness {
    pub(super) fn new(
        node: u64,
        key: Arc<SigningKey>,
        voters: Arc<Voters>,
        calls: Arc<dyn PeerCalls>,
        published: Arc<Published>,
    ) -> Freshness {
        Freshness { node, key, voters, calls, published, heard: Mutex::default() }
    }

    /// How long ago all that was committed is known to be applied here; none if that was never so since the start.
    pub(super) fn age(&self) -> Option<Duration> {
        self.look();
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).as_of.map(|at| at.elapsed())
    }

    /// This voter's answer.
    pub(super) fn answer(&self, asker: u64, number: u64, index: u64) -> Option<Pulse> {
        let of = (self.node, &*self.key);
        self.voters.contains(self.node).then(|| pulse(&self.voters.federation, of, (asker, number), index))
    }

    /// Asks as long as the node runs.
    pub(super) async fn run(self: Arc<Self>, log: Gauge) {
        let mut rounds = tokio::time::interval(ROUND);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            self.ask(log.last()).await;
            tokio::time::sleep(LOOK).await;
            self.look();
        }
    }

    async fn ask(&self, own: u64) {
        let asked = Instant::now();
        let number = {
            let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.number = heard.number.wrapping_add(1);
            if self.voters.contains(self.node) {
                heard.pulses.insert(self.node, (own, asked));
            }
            heard.number
        };
        let mut answers = JoinSet::new();
        for voter in self.voters.others(self.node) {
            let body = codec::message(|w| {
                w.u64(number);
            });
            let call = self.calls.call(voter, CallKind::Pulse, body, ROUND);
            answers.spawn(async move { (voter, call.await) });
        }
        while let Some(answer) = answers.join_next().await {
            let Ok((voter, Ok(bytes))) = answer else { continue };
            let told = codec::parse(&bytes, |r| r.option(Pulse::read)).ok().flatten();
            let Some(p) = told.filter(|p| p.voter == voter && self.holds(p, number)) else { continue };
            let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.pulses.insert(voter, (p.index, asked));
        }
    }

    fn holds(&self, p: &Pulse, number: u64) -> bool {
        let words = words(&self.voters.federation, (self.node, number), p.index);
        self.voters.signed(p.voter, DOMAIN, &words, &p.signature)
    }

    fn look(&self) {
        let applied = *self.published.applied().borrow();
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let found = as_of(&heard.pulses, applied, |voters| self.voters.is_majority(voters));
        heard.as_of = heard.as_of.max(found);
    }
}

impl Cluster {
    /// How long ago all that was committed is known to be applied here, and whether that is fresh (P9).
    pub fn freshness(&self) -> (Option<Duration>, bool) {
        let age = self.freshness.age();
        (age, is_fresh(age))
    }
}

/// Whether what is so old is fresh.
fn is_fresh(age: Option<Duration>) -> bool {
    age.is_some_and(|age| age <= FRESH)
}

/// When the newest majority was asked whose logs went no further than is applied here.
fn as_of(
    pulses: &BTreeMap<u64, (u64, Instant)>,
    applied: u64,
    is_majority: impl Fn(&BTreeSet<u64>) -> bool,
) -> Option<Instant> {
    let reached = pulses.iter().filter(|(_, (index, _))| *index <= applied);
    let mut reached: Vec<(Instant, u64)> = reached.map(|(voter, (_, asked))| (*asked, *voter)).collect();
    reached.sort_unstable_by(|a, b| b.cmp(a));
    let mut voters = BTreeSet::new();
    reached.into_iter().find_map(|(asked, voter)| {
        voters.insert(voter);
        is_majority(&voters).then_some(asked)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::*;
    use crate::ledger::State;
    use crate::ledger::fixture::three_voters;

    #[test]
    fn a_node_is_as_fresh_as_the_newest_majority_that_it_has_reached() {
        let voters = Voters::of(&State::genesis(&three_voters().genesis).unwrap());
        let ids: Vec<u64> = voters.others(0);
        let [a, b, c] = ids[..] else { unreachable!() };
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let of = |pulses: &[(u64, u64, u64)], applied| {
            let pulses = pulses.iter().map(|(voter, index, asked)| (*voter, (*index, at(*asked)))).collect();
            as_of(&pulses, applied, |voters_asked| voters.is_majority(voters_asked))
        };
        assert_eq!(of(&[(a, 5, 9)], 7), None, "one is no majority");
        assert_eq!(of(&[(a, 5, 9), (b, 7, 4)], 7), Some(at(4)));
        assert_eq!(of(&[(a, 5, 9), (b, 8, 9)], 7), None, "the other's log goes further than is applied");
        assert_eq!(of(&[(a, 5, 9), (b, 8, 9), (c, 6, 2)], 7), Some(at(2)), "one alone keeps nobody from it");
        assert_eq!(of(&[(a, 5, 9), (b, 7, 4), (c, 6, 8)], 7), Some(at(8)), "the newest two");
        assert!(is_fresh(Some(FRESH)) && !is_fresh(Some(FRESH * 2)) && !is_fresh(None));
    }

    #[test]
    fn a_pulse_answers_one_question() {
        let f = three_voters();
        let voters = Voters::of(&State::genesis(&f.genesis).unwrap());
        let (police, asker) = (f.police.node.0, f.customs.node.0);
        let p = pulse(&f.id, (police, &f.police.node_key), (asker, 3), 9);
        let holds = |of, index| voters.signed(police, DOMAIN, &words(&f.id, of, index), &p.signature);
        assert!(holds((asker, 3), 9));
        assert!(!holds((asker, 4), 9) && !holds((police, 3), 9) && !holds((asker, 3), 8));
        assert_eq!(Pulse::from_canon(&p.to_canon()), Ok(p));
    }
}
