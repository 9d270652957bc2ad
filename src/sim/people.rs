//! One directory at two nodes of an agency, while its officers change entries.

use super::fixture::Pair;
use super::node::PERSON;
use super::world::World;
use crate::audit::Object;
use crate::domain::label::Grade;
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

/// Which node is told who the people are is an event of that day, and not of each answer.
#[test]
fn that_another_node_is_told_of_the_people_is_one_event_a_day() {
    let mut pair = Pair::new();
    let (first, second) = (pair.first, pair.second);
    let text = Object::Text(format!("directory of people to node {}", pair.world.sites[second].member.local));
    let told = |w: &World| {
        let audit = &w.sites[first].up().unwrap().core.audit;
        let events = (0..audit.size()).flat_map(|seq| audit.read(seq, 1).unwrap());
        events.filter(|e| e.rule == "told-node" && e.object == text).count()
    };
    pair.world.until("the first event", |w| told(w) > 0).unwrap();
    pair.world.run(3_000);
    let first_day = told(&pair.world);
    for salt in [21, 22] {
        let (core, known) = (Arc::clone(&pair.up(first).core), pair.person(first));
        let (seen, clearance) = (known.version, if salt == 21 { Grade::Confidential } else { Grade::Internal });
        let lowered = Person { clearance, salt: [salt; 32], ..known };
        pair.answer(first, async move { core.directory.put(lowered, seen).await }).unwrap();
        pair.world.until("a lower clearance at the other node", |w| at(w, second).clearance == clearance).unwrap();
        pair.world.run(3_000);
    }
    assert_eq!(told(&pair.world), first_day);
    pair.world.passed += 86_400_000;
    pair.world.sites.iter().for_each(|site| site.machine.clock().let_pass(pair.world.passed));
    pair.suspend(first, PERSON);
    pair.until_suspended(second, PERSON);
    assert!(told(&pair.world) > first_day, "the next day");
}
