//! One directory at two nodes of an agency, while its officers change entries.

use super::fixture::Pair;
use super::node::PERSON;
use super::world::World;
use crate::domain::person::Role;
use crate::identity::Person;
use crate::ledger::Act;
use std::sync::Arc;

fn at(world: &World, n: usize) -> Person {
    world.sites[n].up().unwrap().core.directory.by_name(PERSON).unwrap()
}

/// One change takes a role and gives a compartment: the role is gone at both nodes at once, and the compartment is given at both when
/// an officer has signed the entry. Neither takes it away meanwhile.
#[test]
fn a_change_that_lowers_and_raises_is_whole_at_both_once_it_is_signed() {
    let mut pair = Pair::new();
    let (first, second) = (pair.first, pair.second);
    let known = pair.person(first);
    let change = Person {
        roles: [Role::Analyst, Role::Originator].into(),
        compartments: ["border-ops".parse().unwrap()].into(),
        salt: [8; 32],
        ..known.clone()
    };
    let (core, seen) = (Arc::clone(&pair.up(first).core), known.version);
    let entered = pair.answer(first, async move { core.directory.put(change, seen).await }).unwrap();
    let lowered = |w: &World| at(w, second).roles == entered.roles;
    pair.world.until("a role that is gone at the other node", lowered).unwrap();
    pair.world.run(3_000);
    assert_eq!(pair.person(first), entered);
    assert!(pair.person(second).compartments.is_empty(), "the ledger does not have it");
    let (agency, hash) = (pair.world.sites[first].member.id.clone(), entered.ledger_hash().unwrap());
    let act = Act::Entry { agency, handle: entered.handle, version: entered.version, hash };
    pair.world.bring(&act, 0, &[("customs", 0)]);
    pair.world.until("the same entry at both", |w| [first, second].iter().all(|n| at(w, *n) == entered)).unwrap();
    pair.world.run(3_000);
    assert_eq!([first, second].map(|n| pair.person(n)), [entered.clone(), entered]);
}
