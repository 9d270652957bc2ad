//! Who takes part changes under load and trouble: a node is let in, learns, votes; another votes no more, and is removed.
//!
//! Each step is looked for on the ledger, and what officers sign is brought again until it is there. A removed node ends when
//! its own ledger says so, as `node::cutting` has it; one that never hears of it goes on, and the others refuse it.

use super::host::Down;
use super::net::Link;
use super::node::{Member, Up};
use super::world::{Part, Site, World};
use crate::domain::agreement::Terms;
use crate::domain::ids::{AgencyId, NodeId};
use crate::domain::label::Grade;
use crate::domain::time::Millis;
use crate::ledger::fixture::{second_node, terms};
use crate::ledger::{Act, Command, SignedAct, State};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The agreement of those who know the newcomer.
const NEW: &str = "new-2026";
const NEW_PARTIES: [&str; 3] = ["customs", "marine", "police"];
/// How often a step is tried, in ticks.
const AGAIN: u64 = 500;
/// How long a step waits for a leader.
const WAIT: Duration = Duration::from_secs(3);
/// Calm after which whoever lags is told who takes part, in ticks.
const LEFT_ALONE: u64 = 8_000;

/// Who comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coming {
    /// A new agency; third goes.
    Agency,
    /// A second node of customs, which gets its agency's seat, gives it back, and goes.
    Node,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    LetIn,
    /// The newcomer's agreement, and everybody knows it.
    Agree,
    Promote,
    Demote,
    Remove,
    Done,
}

/// A change of who takes part, and how far it is.
pub(super) struct Change {
    coming: Coming,
    /// The sites that come and go.
    comes: usize,
    goes: usize,
    step: Step,
    /// When it is tried next.
    next: u64,
    /// The furthest entry that anybody was seen to have applied: whoever is behind it says nothing of what is done.
    seen: u64,
}

/// An act, the version that its officers saw, and who they are: agency and number.
type Signing = (Act, u32, Vec<(&'static str, usize)>);

impl Change {
    /// What officers sign for this step: the act, the version that they saw, who signs.
    fn act(&self, sites: &[Site], state: &State) -> Option<Signing> {
        let (comes, goes) = (&sites[self.comes].member, &sites[self.goes].member);
        let own_two = vec![("customs", 0), ("customs", 1)];
        let voters = |seats: &[(&str, &str)]| {
            let seat = |(agency, local): &(&str, &str)| (agency.parse().unwrap(), (*local).to_owned());
            (Act::Voters(seats.iter().map(seat).collect()), state.voters_version())
        };
        let (first, both) = (("police", 0), vec![("police", 0), ("customs", 0)]);
        Some(match (self.step, self.coming) {
            (Step::LetIn, Coming::Agency) => (Act::Admit(Box::new(comes.descriptor.clone())), 0, both),
            (Step::LetIn, Coming::Node) => {
                (Act::AddNode { agency: comes.id.clone(), node: comes.entry(), place: None }, 0, own_two)
            }
            (Step::Agree, _) => {
                let terms = Terms { grade: Grade::Confidential, ..terms(NEW, &NEW_PARTIES) };
                (Act::Agreement(terms), 0, NEW_PARTIES.map(|party| (party, 0)).into())
            }
            (Step::Promote, Coming::Agency) => {
                let (act, version) = voters(&[("customs", "1"), ("marine", "1"), ("police", "1"), ("third", "1")]);
                (act, version, both)
            }
            (Step::Demote, Coming::Agency) => {
                let (act, version) = voters(&[("customs", "1"), ("marine", "1"), ("police", "1")]);
                (act, version, both)
            }
            (step @ (Step::Promote | Step::Demote), Coming::Node) => {
                let seat = if step == Step::Promote { "2" } else { "1" };
                let (act, version) = voters(&[("customs", seat), ("police", "1"), ("third", "1")]);
                // Whose seat moves has no voice.
                (act, version, vec![first, ("third", 0)])
            }
            (Step::Remove, coming) => {
                let act = Act::RemoveNode { agency: goes.id.clone(), node: goes.local.to_owned() };
                (act, 1, if coming == Coming::Agency { both } else { own_two })
            }
            (Step::Done, _) => return None,
        })
    }

    /// The step after this one, if it is done by this state.
    fn after(&self, sites: &[Site], state: &State) -> Option<Step> {
        let (comes, goes) = (sites[self.comes].member.node, sites[self.goes].member.node);
        let votes = |node: NodeId| state.voters_are_settled() && state.voters().contains(&node);
        let (done, next) = match (self.step, self.coming) {
            (Step::LetIn, Coming::Agency) => (state.node(comes).is_some(), Step::Agree),
            (Step::LetIn, Coming::Node) => (state.node(comes).is_some(), Step::Promote),
            (Step::Agree, _) => (is_agreed(state), Step::Promote),
            (Step::Promote, _) => (votes(comes), Step::Demote),
            (Step::Demote, _) => (state.voters_are_settled() && !state.voters().contains(&goes), Step::Remove),
            (Step::Remove, _) => (state.retired(goes).is_some(), Step::Done),
            (Step::Done, _) => return None,
        };
        done.then_some(next)
    }
}

/// Whether the newcomer's agreement is in force, and everybody introduced keys to everybody.
fn is_agreed(state: &State) -> bool {
    let in_force = state.agreement(&NEW.parse().unwrap()).is_some_and(|all| all.iter().any(|v| v.in_force.is_some()));
    let all: BTreeSet<&AgencyId> = state.agencies().map(|(id, _)| id).collect();
    in_force
        && state.agencies().all(|(id, a)| {
            let known: BTreeSet<&AgencyId> = a.introductions.keys().map(|(to, _)| to).collect();
            all.iter().all(|other| *other == id || known.contains(other))
        })
}

impl World {
    /// In every third federation somebody comes and somebody goes.
    pub(super) fn plan_a_change(&mut self) {
        let coming = match self.seed % 6 {
            0 => Coming::Node,
            3 => Coming::Agency,
            _ => return,
        };
        let comes = self.sites.len();
        let (member, goes) = match coming {
            Coming::Agency => (Member::new("marine", 1 << 30), self.site_of("third")),
            Coming::Node => (self.sites[self.site_of("customs")].member.second(1 << 35), comes),
        };
        self.sites.push(Site::new(member, &self.dice, Part::Outside));
        let next = self.tick + 100 + self.dice.below(1_200);
        self.change = Some(Change { coming, comes, goes, step: Step::LetIn, next, seen: 0 });
        // Some do not wait until they are let in.
        if self.dice.one_in(2) {
            self.start_again(comes);
        }
    }

    /// Lets the second node of customs in, and leaves it at that. For a seed that has one.
    pub(super) fn let_a_second_node_in(&mut self) -> Result<(), String> {
        self.plan_a_change();
        let comes = self.change.as_ref().map(|c| c.comes).ok_or("this seed has no change of who takes part")?;
        self.until("a second node that knows itself", |w| {
            let site = &w.sites[comes];
            site.is_member() && site.up().is_some_and(|up| up.core.state().node(site.member.node).is_some())
        })?;
        self.change = None;
        Ok(())
    }

    /// Goes on with the change of who takes part, if there is one.
    pub(super) fn change_members(&mut self) {
        let Some(mut change) = self.change.take() else { return };
        let told = |s: &Site| s.up().is_some_and(|up| up.core.state().retired(s.member.node).is_some());
        if let Some(n) = self.sites.iter().position(told) {
            self.net.tell(format_args!("{} was removed, and ends", self.sites[n].member.node));
            self.take_down(n, Down::Killed);
            (self.sites[n].back, self.sites[n].part) = (None, Part::Gone);
        }
        let newest = self.newest().map(|up| (up.core.cluster.applied(), up.core.state()));
        if let Some((at, state)) = newest.filter(|(at, _)| *at >= change.seen) {
            change.seen = at;
            if let Some(next) = change.after(&self.sites, &state) {
                self.net.tell(format_args!("{:?} is done", change.step));
                self.take_note(&change);
                (change.step, change.next) = (next, self.tick + self.dice.below(AGAIN));
            }
            if change.next <= self.tick
                && let Some((act, expected, signers)) = change.act(&self.sites, &state)
            {
                change.next = self.tick + AGAIN;
                self.bring(&act, expected, &signers);
            }
        }
        self.change = Some(change);
        self.start_who_was_let_in();
    }

    /// What a step that is done means for the sites.
    fn take_note(&mut self, change: &Change) {
        match change.step {
            Step::LetIn => self.sites[change.comes].part = Part::Member(self.tick),
            Step::Agree => {
                let parties: BTreeSet<AgencyId> = NEW_PARTIES.iter().map(|id| id.parse().unwrap()).collect();
                self.agreed.push((NEW, parties));
            }
            Step::Remove => {
                self.sites[change.goes].part = Part::Gone;
                self.oracle.note_a_removal();
                self.bring_again(change.goes);
            }
            Step::Promote | Step::Demote | Step::Done => {}
        }
    }

    fn start_who_was_let_in(&mut self) {
        let waits = |s: &Site| s.is_member() && s.up().is_none() && s.back.is_none();
        if let Some(n) = self.change.as_ref().map(|c| c.comes).filter(|n| waits(&self.sites[*n])) {
            self.start_again(n);
        }
    }

    /// Two officers would have a removed node back: its id was used.
    fn bring_again(&self, n: usize) {
        let (id, local) = (&self.sites[n].member.id, self.sites[n].member.local);
        let (_, mut node, _) = second_node(id, 200);
        node.local = local.to_owned();
        let agency: &'static str = if id.as_str() == "third" { "third" } else { "customs" };
        self.bring(&Act::AddNode { agency: id.clone(), node, place: None }, 0, &[(agency, 0), (agency, 1)]);
    }

    /// Brings what officers sign to nodes that take part: each officer's name by itself.
    pub(super) fn bring(&self, act: &Act, expected: u32, signers: &[(&'static str, usize)]) {
        let works = |n: &usize| self.sites[*n].is_member() && self.sites[*n].up().is_some();
        let up: Vec<usize> = (0..self.sites.len()).filter(works).collect();
        if up.is_empty() {
            return;
        }
        for (agency, nth) in signers {
            let site = self.sites.iter().find(|s| s.member.id.as_str() == *agency).unwrap();
            let (handle, key) = &site.member.officers[*nth];
            let signed = SignedAct::sign(&"test".parse().unwrap(), act, expected, Millis(u64::MAX), *handle, key);
            let n = *self.dice.pick(&up);
            let (core, net) = (Arc::clone(&self.sites[n].up().unwrap().core), self.net.clone());
            self.spawn(n, async move {
                match core.committer.submit(Command::Act(signed), WAIT).await {
                    Ok((at, reply)) => net.tell(format_args!("signed at {at}: {reply:?}")),
                    Err(fault) => net.tell(format_args!("not signed: {}", fault.reason)),
                }
            });
        }
    }

    /// Waits until the change is done, and all are of one ledger again. Whoever was away while others came to vote may hear
    /// nobody whom it knows, and fails closed; people start it with a charter.
    pub(super) fn settle_members(&mut self) -> Result<(), String> {
        let is_done = |w: &World| w.change.as_ref().is_none_or(|c| c.step == Step::Done) && w.is_of_one_ledger();
        for _ in 0..LEFT_ALONE {
            if is_done(self) {
                return Ok(());
            }
            self.step();
        }
        let most = self.newest().map_or(0, |up| up.core.cluster.applied());
        for n in 0..self.sites.len() {
            let lags = |up: &Up| up.core.cluster.applied() < most;
            if self.sites[n].is_member() && self.sites[n].up().is_some_and(lags) {
                self.take_down(n, Down::Killed);
                self.start_told(n).map_err(|fault| format!("it does not start with a charter: {fault}"))?;
            }
        }
        self.until("the change of who takes part", is_done).map_err(|why| format!("{why}; {}", self.standings()))
    }

    /// How far everybody is, for a failure.
    fn standings(&self) -> String {
        let step = self.change.as_ref().map(|c| c.step);
        let each = self.sites.iter().map(|site| {
            let (node, id) = (site.member.node, &site.member.id);
            let status = site.up().map(|up| (up.core.cluster.applied(), up.core.cluster.status()));
            format!("{id} {node} {:?} {status:?}", site.part)
        });
        format!("{step:?}: {}", each.collect::<Vec<_>>().join("; "))
    }

    /// Nobody listens to whoever was not let in, as far as a node knows.
    pub(super) fn outsiders_are_refused(&self) -> Result<(), String> {
        for outside in self.sites.iter().filter(|s| s.part == Part::Outside) {
            let knows = |up: &Up| up.core.state().node(outside.member.node).is_some();
            self.refuse(outside, "NOT_ALLOWED", knows)?;
        }
        Ok(())
    }

    /// Nobody who was removed comes back, and nobody listens to it.
    pub(super) fn whoever_was_removed_stays_so(&self) -> Result<(), String> {
        for gone in self.sites.iter().filter(|s| s.part == Part::Gone) {
            let node = gone.member.node;
            let back = |up: &&Up| up.core.state().node(node).is_some() || up.core.state().retired(node).is_none();
            if let Some(up) = self.members().find(back) {
                return Err(format!("{node} was removed, and {} has it", up.core.agency));
            }
            self.refuse(gone, "NODE_REMOVED", |_| false)?;
        }
        Ok(())
    }

    /// Asks everybody who takes part in somebody's name; all but some must refuse it for this reason.
    pub(super) fn refuse(&self, whom: &Site, reason: &str, but: impl Fn(&Up) -> bool) -> Result<(), String> {
        let link = Link { own: whom.member.card(), net: self.net.clone() };
        for site in self.sites.iter().filter(|s| s.is_member()) {
            let (Some(up), Some(runtime)) = (site.up(), site.runtime()) else { continue };
            if but(up) {
                continue;
            }
            let said = runtime.block_on(link.refused_by(site.member.node));
            if said != Some(reason) {
                let (id, asked) = (&site.member.id, whom.member.node);
                return Err(format!("{id} says {said:?} to {asked}, which does not take part"));
            }
        }
        Ok(())
    }
}
