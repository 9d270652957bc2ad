//! Ends the connections of whoever is trusted no more: an agency that was suspended (P2), a certificate of a root that was taken
//! back, one that was revoked or whose agency's list is over, a person whose access was taken away. Connections of both directions, with every call and
//! stream on them. What took the trust away is in force before: whoever dials again meets it.

use super::peers::Peers;
use super::post::PostOffice;
use super::upkeep::Rounds;
use crate::audit::{Action as AuditAction, Decision as Verdict, Object};
use crate::domain::ids::{AgencyId, NodeId};
use crate::domain::time::Millis;
use crate::identity::{Directory, Distrust, Live, Subject, TrustRoots, VerifiedPeer};
use crate::ledger::{Retired, State};
use crate::service::Core;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Who is trusted no more is cut off this much later at most.
const CUT: Duration = Duration::from_millis(100);
/// A person's connection lives this much longer. No call on it does anything more, and streams end by themselves at once;
/// but the refusal reaches the terminal, which would take a broken connection for a node that is away.
const LAST_WORD: Duration = Duration::from_millis(500);

/// Starts the task, which looks around whatever else keeps this node busy; it ends when told. `people` are the connections of
/// the own agency's people.
pub(super) fn start(
    core: Arc<Core>,
    mut cutting: Cutting,
    people: Live,
    stopped: watch::Receiver<bool>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut rounds = Rounds::every(CUT, stopped);
        let mut leaving = BTreeMap::new();
        while rounds.next().await {
            let applied = core.cluster.applied();
            let changed = cutting.align(&core.state(), applied, &core.agency);
            let mut ended = cutting.sweep(core.clock.now());
            ended.extend(send_away(&core.directory, &people, &mut leaving));
            // Told when it is done: a log that takes nothing keeps nobody connected.
            tell_standing(&core, changed).await;
            tell_ended(&core, ended).await;
        }
    })
}

/// What trust depends on, and the connections that depend on it.
pub(super) struct Cutting {
    pub(super) roots: TrustRoots,
    /// The lines to other nodes: they come and go with the ledger.
    pub(super) peers: Arc<Peers>,
    pub(super) post: Arc<PostOffice>,
    /// Removed nodes that were cut off.
    pub(super) removed: BTreeSet<NodeId>,
    /// Agencies whose authorities of this version cannot be read, which was told.
    pub(super) unreadable: BTreeSet<(AgencyId, u32)>,
    /// Roots by a charter, which count until the ledger here is as far as its index.
    pub(super) charted: Option<(u64, Charted)>,
    /// Of every listener, and of the dialer.
    pub(super) live: Vec<Live>,
}

/// Roots of agencies.
pub(super) type Charted = BTreeMap<AgencyId, BTreeSet<Vec<u8>>>;
/// What the audit log is told: whose, of which node, what changed, and whether it is let in.
type Change = (AgencyId, Object, &'static str, Verdict);
/// A connection that was cut, and why.
type Ended = (VerifiedPeer, &'static str);

impl Cutting {
    /// Brings roots and lines in line with the ledger: whoever comes is trusted and dialled, whoever is suspended or removed
    /// is not. Answers what changed. The own agency is trusted though it is suspended: its people are served by their own node.
    pub(super) fn align(&mut self, state: &State, applied: u64, own: &AgencyId) -> Vec<Change> {
        let mut changed = Vec::new();
        for gone in newly_removed(&self.roots, &mut self.removed, state) {
            let cut: usize = self.live.iter().map(|live| live.close_node(&gone.agency, &gone.local)).sum();
            tracing::info!(agency = %gone.agency, node = %gone.local, cut, "open connections of a removed node are cut");
            changed.push((gone.agency.clone(), Object::Text(gone.local.clone()), "removed", Verdict::Deny));
        }
        let charted = self.charted.as_ref().filter(|(index, _)| applied < *index).map(|(_, roots)| roots);
        changed.extend(align_roots(&self.roots, &mut self.unreadable, (state, charted), own));
        self.peers.follow(state);
        self.post.follow(state);
        changed
    }

    /// Cuts every connection whose other end would not pass a handshake now.
    fn sweep(&self, now: Millis) -> Vec<Ended> {
        let mut ended = Vec::new();
        for live in &self.live {
            for (place, peer) in live.peers() {
                let Err(why) = self.roots.check_peer(&peer, now) else { continue };
                if live.cut(place) {
                    ended.push((peer, rule(why)));
                }
            }
        }
        ended
    }
}

/// Takes no certificate any more of nodes that the ledger says are removed; those that were not `seen` yet.
fn newly_removed<'a>(roots: &TrustRoots, seen: &mut BTreeSet<NodeId>, state: &'a State) -> Vec<&'a Retired> {
    let gone: Vec<&Retired> = state.all_retired().filter(|(id, _)| seen.insert(**id)).map(|(_, gone)| gone).collect();
    gone.iter().for_each(|gone| roots.remove_node(&gone.agency, &gone.local));
    gone
}

/// Brings the roots of agencies in line with the ledger. What a charter says of them goes no further than the ledger here has got.
fn align_roots(
    roots: &TrustRoots,
    unreadable: &mut BTreeSet<(AgencyId, u32)>,
    (state, charted): (&State, Option<&Charted>),
    own: &AgencyId,
) -> Vec<Change> {
    let mut changed = Vec::new();
    for (agency, a) in state.agencies() {
        let (in_force, version) = (roots.roots_of(agency), a.bounds_version());
        if a.suspended.is_some() && agency != own {
            if !in_force.is_empty() {
                roots.remove(agency);
                changed.push((agency.clone(), Object::None, "suspended", Verdict::Deny));
            }
            continue;
        }
        let named = charted.and_then(|c| c.get(agency)).unwrap_or(a.roots());
        if in_force == *named || unreadable.contains(&(agency.clone(), version)) {
            continue;
        }
        if let Err(error) = roots.set_all(agency.clone(), named.iter().map(Vec::as_slice)) {
            unreadable.insert((agency.clone(), version));
            // The own one stays as it was at the start, or this node would serve nobody.
            if agency != own {
                roots.remove(agency);
            }
            tracing::error!(%agency, %error, "an agency's authority cannot be read: none of its certificates is taken");
            continue;
        }
        let rule = match (in_force.is_empty(), a.standing) {
            (false, _) => "roots-changed",
            (true, 1) => "admitted",
            (true, _) => "reinstated",
        };
        changed.push((agency.clone(), Object::None, rule, Verdict::Allow));
    }
    changed
}

/// What the log calls it.
fn rule(why: Distrust) -> &'static str {
    match why {
        Distrust::NoRoot => "cut-suspended",
        Distrust::OtherRoot => "cut-root",
        Distrust::Revoked => "cut-revoked",
        Distrust::Removed => "cut-removed",
        Distrust::NoList => "cut-no-crl",
        Distrust::ListExpired { .. } => "cut-crl-expired",
    }
}

/// Cuts the connections of people whose access was taken away and who had time to hear of it. `leaving` keeps who was seen to
/// go, and when.
fn send_away(directory: &Directory, people: &Live, leaving: &mut BTreeMap<u64, Instant>) -> Vec<Ended> {
    let admitted = |peer: &VerifiedPeer| match peer.name().subject() {
        Subject::Person(name) => directory.admits(name, &peer.public_key()),
        Subject::Node(_) => false,
    };
    let gone: BTreeMap<u64, VerifiedPeer> = people.peers().into_iter().filter(|(_, p)| !admitted(p)).collect();
    let due = due(leaving, gone.keys().copied(), Instant::now());
    let cut = |place: u64| gone.get(&place).filter(|_| people.cut(place)).map(|p| (p.clone(), "cut-person"));
    due.into_iter().filter_map(cut).collect()
}

/// The places that had their last word by `now`. Who is not among `gone` any more is forgotten.
fn due(leaving: &mut BTreeMap<u64, Instant>, gone: impl Iterator<Item = u64>, now: Instant) -> Vec<u64> {
    let seen: BTreeMap<u64, Instant> = gone.map(|place| (place, leaving.get(&place).copied().unwrap_or(now))).collect();
    *leaving = seen;
    let over = |since: &Instant| now.saturating_duration_since(*since) >= LAST_WORD;
    leaving.iter().filter(|(_, since)| over(since)).map(|(place, _)| *place).collect()
}

async fn tell_standing(core: &Core, changed: Vec<Change>) {
    for (agency, object, rule, verdict) in changed {
        tracing::warn!(%agency, rule, "the federation changed who takes part");
        let logged = core.log_node(AuditAction::Membership, &agency, object, verdict, rule).await;
        if let Err(error) = logged {
            tracing::error!(%error, %agency, "a change of standing could not be audited");
        }
    }
}

/// Each connection is an event, or counted in one where there are many; the node's log has a line for each holder.
async fn tell_ended(core: &Core, ended: Vec<Ended>) {
    let mut holders: BTreeMap<(String, String, &'static str), usize> = BTreeMap::new();
    for (peer, rule) in &ended {
        let key = (peer.name().to_string(), peer.serial().to_owned(), *rule);
        *holders.entry(key).or_default() += 1;
    }
    for ((holder, serial, rule), connections) in &holders {
        tracing::warn!(%holder, %serial, rule, connections, "open connections are cut");
    }
    for (peer, rule) in ended {
        let object = Object::Text(format!("{} {}", peer.name(), peer.serial()).chars().take(200).collect());
        if let Err(error) = core.log_refusal(AuditAction::PeerRefused, peer.agency(), object, rule).await {
            tracing::error!(%error, agency = %peer.agency(), "a cut could not be audited");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use crate::identity::{Authority, SpiffeName, certificate_facts_der};
    use crate::ledger::fixture::{federation, removed, suspended, with_roots};

    /// The fixture's authorities are none that could be read, so nobody of them is taken, whatever was said before.
    #[test]
    fn what_the_ledger_says_of_an_authority_goes_before_what_a_charter_said() {
        let (f, now) = (federation(), Millis(1_772_323_200_000));
        let state = State::genesis(&f.genesis).unwrap();
        let charted = Authority::create(&f.customs.id, &f.id, "customs", now, false).unwrap();
        let (roots, mut unreadable) = (TrustRoots::new(), BTreeSet::new());
        roots.set(f.customs.id.clone(), charted.certificate_der()).unwrap();
        let own = Authority::create(&f.police.id, &f.id, "police", now, false).unwrap();
        roots.set(f.police.id.clone(), own.certificate_der()).unwrap();
        assert!(align_roots(&roots, &mut unreadable, (&state, None), &f.police.id).is_empty());
        assert!(!roots.trusts(&f.customs.id) && roots.trusts(&f.police.id), "the own one stays");
        assert_eq!(unreadable.len(), 3, "each is told once");
        roots.set(f.customs.id.clone(), charted.certificate_der()).unwrap();
        let cut_off = align_roots(&roots, &mut unreadable, (&suspended(&state, &f.customs.id), None), &f.police.id);
        assert_eq!(cut_off.iter().map(|(.., rule, _)| *rule).collect::<Vec<_>>(), ["suspended"]);
        assert!(!roots.trusts(&f.customs.id));
        // A charter's word counts where the ledger has not got as far.
        let charted = [(f.customs.id.clone(), [charted.certificate_der().to_vec()].into())].into();
        let told = align_roots(&roots, &mut BTreeSet::new(), (&state, Some(&charted)), &f.police.id);
        assert_eq!(told.iter().map(|(agency, ..)| agency).collect::<Vec<_>>(), [&f.customs.id]);
        assert!(roots.trusts(&f.customs.id));
    }

    /// Whoever shows a certificate of a root that was taken back is cut, and whoever has one of the new root is not.
    #[test]
    fn what_a_root_vouched_for_goes_with_it() {
        let (f, now) = (federation(), Millis(1_772_323_200_000));
        let make = || Authority::create(&f.customs.id, &f.id, "customs", now, false).unwrap();
        let (old, new, roots) = (make(), make(), TrustRoots::new());
        let key = |of: &Authority| certificate_facts_der(of.certificate_der()).unwrap().public_key;
        let peer = |of: &Authority| {
            let name = SpiffeName::node(&f.customs.id, &f.id, "1").unwrap();
            VerifiedPeer::for_test(name, "4a01", [7; 32]).vouched_for_by(key(of))
        };
        let (mine, theirs) = (peer(&old), peer(&new));
        let mut unreadable = BTreeSet::new();
        let mut is = |of: &[&Authority]| {
            let ders = of.iter().map(|a| a.certificate_der().to_vec()).collect();
            let state = with_roots(&State::genesis(&f.genesis).unwrap(), &f.customs.id, ders);
            align_roots(&roots, &mut unreadable, (&state, None), &f.police.id);
            [&mine, &theirs].map(|peer| roots.check_peer(peer, now))
        };
        assert_eq!(is(&[&old]), [Ok(()), Err(Distrust::OtherRoot)]);
        assert_eq!(is(&[&old, &new]), [Ok(()), Ok(())]);
        assert_eq!(is(&[&new]), [Err(Distrust::OtherRoot), Ok(())]);
        assert_eq!(rule(Distrust::OtherRoot), "cut-root");
    }

    /// By its name, whatever certificate it has: nobody revokes those of a node that was removed.
    #[test]
    fn a_node_that_the_ledger_removed_is_let_in_no_more() {
        let (f, now) = (federation(), Millis(1_772_323_200_000));
        let state = State::genesis(&f.genesis).unwrap();
        let authority = Authority::create(&f.customs.id, &f.id, "customs", now, false).unwrap();
        let (roots, mut seen) = (TrustRoots::new(), BTreeSet::new());
        roots.set(f.customs.id.clone(), authority.certificate_der()).unwrap();
        let peer = |node| {
            VerifiedPeer::for_test(SpiffeName::node(&f.customs.id, &f.id, node).unwrap(), "4a01", [7; 32])
                .vouched_for_by(certificate_facts_der(authority.certificate_der()).unwrap().public_key)
        };
        assert!(newly_removed(&roots, &mut seen, &state).is_empty());
        assert_eq!(roots.check_peer(&peer("1"), now), Ok(()));
        let later = removed(&state, f.customs.node);
        let gone = newly_removed(&roots, &mut seen, &later);
        assert_eq!(gone.iter().map(|g| g.local.as_str()).collect::<Vec<_>>(), ["1"]);
        assert_eq!(roots.check_peer(&peer("1"), now), Err(Distrust::Removed));
        assert_eq!(roots.check_peer(&peer("2"), now), Ok(()), "another of its agency");
        assert!(newly_removed(&roots, &mut seen, &later).is_empty(), "told once");
    }

    #[test]
    fn who_goes_has_a_last_word_and_no_more() {
        let (start, mut leaving) = (Instant::now(), BTreeMap::new());
        let at = |ms: u64| start + Duration::from_millis(ms);
        assert!(due(&mut leaving, [1].into_iter(), at(0)).is_empty());
        assert!(due(&mut leaving, [1, 2].into_iter(), at(400)).is_empty());
        assert_eq!(due(&mut leaving, [1, 2].into_iter(), at(500)), [1]);
        // It went by itself; another one in a new place begins anew.
        assert_eq!(due(&mut leaving, [2, 3].into_iter(), at(900)), [2]);
        assert_eq!(leaving.keys().copied().collect::<Vec<_>>(), [2, 3]);
        assert!(due(&mut leaving, std::iter::empty(), at(950)).is_empty() && leaving.is_empty());
    }
}
