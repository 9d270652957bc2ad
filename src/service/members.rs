//! Who takes part: what the ledger would refuse of an admission, a node or a set of voters, in words that help.

use super::core::Core;
use super::door::{Act as DoorAct, Caller};
use super::federation::unknown_agency;
use crate::audit::{Action as AuditAction, Object};
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, NodeId};
use crate::identity::{TrustRoots, is_dev};
use crate::ledger::{Act, Descriptor, State, node_id};
use crate::policy::{Action, Resource};
use std::collections::{BTreeMap, BTreeSet};

/// Such an act in the words of the audit log.
pub(super) fn members_words(act: &Act) -> String {
    match act {
        Act::Admit(d) => format!("admit {}", d.agency),
        Act::AddNode { agency, node, .. } => format!("add node {agency}/{}", node.local),
        Act::RemoveNode { agency, node } => format!("remove node {agency}/{node}"),
        Act::Voters(seats) => {
            let named: Vec<String> = seats.iter().map(|(agency, node)| format!("{agency}/{node}")).collect();
            format!("voters {}", named.join(" "))
        }
        _ => String::new(),
    }
}

impl Core {
    /// Gives leadership to another voter, if this node leads.
    pub async fn hand_over(&self, caller: &Caller, agency: &AgencyId, node: &str) -> Result<(), Fault> {
        let door = DoorAct {
            action: Action::FederationChange,
            audit: AuditAction::Membership,
            object: Object::Text(format!("hand over to {agency}/{node}").chars().take(200).collect()),
            label: None,
            purpose: "",
            origin: None,
            request: self.random(),
        };
        let work = async {
            let state = self.state();
            let id = node_id(agency, node);
            if state.node(id).is_none() {
                return Err(unknown_node(agency, node));
            }
            if !state.voters().contains(&id) {
                return Err(Fault::refused("NOT_ALLOWED", format!("`{agency}/{node}` does not vote")));
            }
            let leader = self.cluster.status().leader;
            if leader.is_none() {
                return Err(Fault::unavailable("NO_LEADER", "no leader is known at this moment").hint("ask again soon"));
            }
            if leader != Some(self.node) {
                let named = leader.and_then(|id| state.node_agency(id)).map_or_else(String::new, |a| a.to_string());
                return Err(Fault::conflict("VERSION_CONFLICT", "another node leads, and only it hands over")
                    .hint(format!("the leader is of `{named}`: its officer runs this")));
            }
            self.cluster.hand_over(id).await.map_err(Fault::from)
        };
        self.through(caller, door, Resource::None, work).await
    }

    pub(super) fn check_members(&self, state: &State, act: &Act) -> Result<(), Fault> {
        match act {
            Act::Admit(d) => self.check_admission(state, d),
            Act::AddNode { agency, .. } if *agency != self.agency => {
                Err(Fault::refused("NOT_ALLOWED", "an agency's own officers add its nodes"))
            }
            Act::AddNode { agency, node, .. } if state.retired(node_id(agency, &node.local)).is_some() => {
                let why = format!("`{agency}/{}` was removed, and its id is never used again", node.local);
                Err(Fault::conflict("EXISTS", why).hint("make a node with another id"))
            }
            Act::RemoveNode { agency, node } => check_removal(state, agency, node),
            Act::Voters(seats) => check_voters(state, seats),
            _ => Ok(()),
        }
    }

    fn check_admission(&self, state: &State, d: &Descriptor) -> Result<(), Fault> {
        let bad = |why: String| Err(Fault::usage("BAD_DESCRIPTOR", why));
        if let Some(known) = state.agency(&d.agency) {
            let same = *known.descriptor == *d;
            let why = format!("`{}` is an agency of this federation already", d.agency);
            return if same { Ok(()) } else { Err(Fault::conflict("EXISTS", why)) };
        }
        if d.federation != self.federation {
            let why = format!("its certificates name federation `{}`, and not `{}`", d.federation, self.federation);
            return bad(why);
        }
        if let Err(e) = TrustRoots::new().set(d.agency.clone(), &d.root) {
            return bad(format!("its authority cannot be read: {e}"));
        }
        let exercise = state.agency(&self.agency).is_some_and(|a| a.roots().iter().all(|root| is_dev(root)));
        if is_dev(&d.root) && !exercise {
            return bad("its authority is for exercise only, and this federation is not".into());
        }
        Ok(())
    }
}

fn check_removal(state: &State, agency: &AgencyId, node: &str) -> Result<(), Fault> {
    let id = node_id(agency, node);
    if state.voter_sets().iter().any(|set| set.contains(&id)) {
        let why = format!("`{agency}/{node}` votes");
        return Err(Fault::refused("NOT_ALLOWED", why).hint("take it off the voters first: `hufu cluster demote`"));
    }
    if state.node(id).is_none() && state.retired(id).is_none() {
        return Err(unknown_node(agency, node));
    }
    Ok(())
}

fn check_voters(state: &State, seats: &BTreeMap<AgencyId, String>) -> Result<(), Fault> {
    for (agency, node) in seats {
        if state.agency(agency).is_none() {
            return Err(unknown_agency(agency));
        }
        if !state.stands(agency) && !state.voters().contains(&node_id(agency, node)) {
            return Err(Fault::refused("AGENCY_SUSPENDED", format!("`{agency}` is suspended from the federation")));
        }
        if state.node(node_id(agency, node)).is_none() {
            return Err(unknown_node(agency, node));
        }
    }
    let voters: BTreeSet<NodeId> = seats.iter().map(|(agency, node)| node_id(agency, node)).collect();
    let taken_back = state.voter_sets().first() == Some(&voters);
    if !state.voters_are_settled() && !taken_back && state.voters() != voters {
        return Err(Fault::conflict("IN_PROGRESS", "the last change of the voters is not done yet")
            .hint("`hufu cluster status` shows who votes; whoever joins must be reachable"));
    }
    let moved = state.seats_moved(&voters);
    if moved.len() > 1 && !taken_back {
        let named: Vec<&str> = moved.iter().map(AgencyId::as_str).collect();
        let why = format!("it changes the seats of {} among the voters at once", named.join(", "));
        return Err(
            Fault::refused("ONE_SEAT", why).hint("one agency's at a time; `hufu cluster status` shows when it is done")
        );
    }
    Ok(())
}

fn unknown_node(agency: &AgencyId, node: &str) -> Fault {
    Fault::usage("UNKNOWN_NODE", format!("`{agency}` has no node `{node}`")).hint("see `hufu federation show`")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use crate::ledger::fixture::{Agency, approve, federation};

    /// Before its signature is asked for, whatever the ledger's level.
    #[test]
    fn the_seats_of_several_agencies_do_not_change_at_once() {
        let f = federation();
        let state = State::genesis(&f.genesis).unwrap();
        let seats = |of: &[&Agency]| of.iter().map(|a| (a.id.clone(), "1".to_owned())).collect();
        let check = |state: &State, of: &[&Agency]| check_voters(state, &seats(of)).map_err(|f| f.reason);
        assert_eq!(check(&state, &[&f.police, &f.customs, &f.third]), Ok(()));
        assert_eq!(check(&state, &[&f.police, &f.third]), Err("ONE_SEAT"));
        let mut all = approve(&f, &state, &[&f.police, &f.customs, &f.third]);
        assert_eq!(check(&all, &[&f.police, &f.third]), Err("IN_PROGRESS"));
        all.take_voters(vec![all.voters()]);
        assert_eq!(check(&all, &[&f.police, &f.third]), Ok(()), "one after the other");
    }
}
