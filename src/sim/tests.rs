//! Seeds of every day, the same trace twice, and planted faults that must be found.

use super::fixture::Pair;
use super::node::PERSON;
use super::oracle::Met;
use super::world::World;
use crate::domain::fault::FaultKind;
use crate::domain::ids::AgencyId;
use crate::domain::notice::ReceiptState;
use crate::domain::planted::{Planted, plant};
use std::fmt::Write as _;
use std::panic::catch_unwind;
use std::sync::Arc;

/// Seeds of a plain `cargo test`.
const SEEDS: u64 = 6;
/// Within so many seeds a planted fault must be found.
const SEEDS_TO_FIND: u64 = 200;
/// How long things go wrong, in ticks.
const TROUBLE_MS: u64 = 6_000;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|v| v.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// What became of one seed.
struct Run {
    trace: Vec<String>,
    met: Met,
    verdict: Result<(), String>,
}

fn run(seed: u64) -> Run {
    let mut world = World::new(seed);
    let verdict = history(&mut world);
    Run { trace: world.net.trace(), met: world.oracle.met(), verdict }
}

fn history(world: &mut World) -> Result<(), String> {
    world.begin()?;
    world.plan_a_change();
    world.plan_suspensions();
    world.plan_large_bodies();
    let (mut act, mut trouble) = (0, 200);
    for at in 0..TROUBLE_MS {
        if at == act {
            world.somebody_acts();
            act = at + 20 + world.dice.below(70);
        }
        if at == trouble {
            world.something_happens();
            world.ask()?;
            trouble = at + 100 + world.dice.below(700);
        }
        world.step();
    }
    world.ask()?;
    world.calm();
    world.ask_at_the_end()?;
    world.ask_of_large_bodies()
}

/// The end of a trace, for a failure: 60 lines, or as many as `HUFU_SIM_TRACE` says.
fn end_of(trace: &[String]) -> String {
    let lines = std::env::var("HUFU_SIM_TRACE").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    let from = trace.len().saturating_sub(lines);
    trace[from..].iter().fold(String::new(), |mut all, line| {
        let _ = writeln!(all, "{line}");
        all
    })
}

#[test]
fn nothing_acknowledged_is_lost_whatever_happens() {
    let seeds: Vec<u64> = match (variable("HUFU_SIM_SEED"), variable("HUFU_SIM_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, Some(n)) => (1..=n).collect(),
        (None, None) => (1..=SEEDS).collect(),
    };
    let all = seeds.len() as u64;
    let (mut failed, mut fed, mut left, mut deleted, mut folded) = (Vec::new(), 0, 0, 0, 0);
    let (mut suspended, mut sent_away) = (0, 0);
    let (mut large, mut pulled, mut broken) = (0, 0, 0);
    for seed in seeds {
        let Run { trace, met, verdict } = run(seed);
        fed += u64::from(met.snapshots > 0);
        left += u64::from(met.removals > 0);
        deleted += u64::from(met.deletions > 0);
        folded += u64::from(met.folds > 0);
        suspended += u64::from(met.suspensions > 0);
        sent_away += u64::from(met.sent_away > 0);
        large += u64::from(met.large > 0);
        pulled += u64::from(met.carried.pulled > 0);
        broken += u64::from(met.carried.broken > 0);
        if let Err(why) = verdict {
            eprintln!("seed {seed}: {why}\n{}", end_of(&trace));
            failed.push((seed, why));
        }
    }
    assert!(failed.is_empty(), "run one again with HUFU_SIM_SEED: {failed:#?}");
    eprintln!(
        "of {all} seeds {fed} had a snapshot streamed, {left} a node removed, {deleted} old notices deleted, {folded} old versions folded"
    );
    eprintln!("{suspended} had an agency suspended, {sent_away} a person");
    eprintln!("{large} had large bodies shown elsewhere, {pulled} some pulled, {broken} some that broke off");
    // What no seed meets is not tested, whatever this document says.
    if all >= SEEDS {
        assert!(fed * 6 >= all, "a snapshot was streamed and installed in {fed} of {all} seeds");
        assert!(left * 6 >= all, "a node came and another went in {left} of {all} seeds");
        assert!(deleted * 12 >= all, "notices were deleted in {deleted} of {all} seeds");
        assert!(folded * 12 >= all, "versions folded in {folded} of {all} seeds");
        assert!(suspended * 6 >= all, "an agency was suspended in {suspended} of {all} seeds");
        assert!(sent_away * 3 >= all, "a person was suspended in {sent_away} of {all} seeds");
        assert!(large * 6 >= all, "large bodies were shown elsewhere in {large} of {all} seeds");
        assert!(pulled * 12 >= all, "large bodies were pulled in {pulled} of {all} seeds");
        assert!(broken * 12 >= all, "large bodies broke off on the lines in {broken} of {all} seeds");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 1..=variable("HUFU_SIM_SEEDS").unwrap_or(3) {
        let (first, second) = (run(seed).trace, run(seed).trace);
        let differ = first.iter().zip(&second).position(|(a, b)| a != b);
        assert!(
            differ.is_none() && first.len() == second.len(),
            "seed {seed}: line {differ:?} of {} and {}: {:?} {:?}",
            first.len(),
            second.len(),
            differ.map(|n| &first[n]),
            differ.map(|n| &second[n]),
        );
        assert!(first.len() > 200, "much happens in a run");
    }
}

/// Envelopes are given out one after the other, as fast as they are taken: the next title is not for who may not any more.
#[test]
fn no_envelope_is_begun_for_who_may_no_longer() {
    let mut world = World::new(1);
    world.begin().unwrap();
    for _ in 0..20 {
        if world.oracle.records().is_empty() {
            world.publish(1);
            world.run(1_000);
        }
    }
    let record = world.oracle.published_by(1)[0].0;
    let site = &world.sites[1];
    let core = Arc::clone(&site.up().unwrap().core);
    let caller = site.member.caller(&core).unwrap();
    let (first, next) = world
        .answer(1, async move {
            let parts = core.open_in_pieces(&caller, (record, 0), "演练").await.unwrap();
            let first = core.begin_giving(&caller, &parts[0], "演练").await.is_ok();
            core.directory.suspend(PERSON, [5; 32]).await.unwrap();
            let next = core.begin_giving(&caller, &parts[0], "演练").await;
            (first, next.map_err(|fault| fault.kind))
        })
        .unwrap();
    assert!(first);
    assert_eq!(next, Err(FaultKind::NotFound));
}

/// What was not taken back is shown: so that the look at what was can fail.
#[test]
fn what_a_recalled_notice_still_shows_is_seen() {
    let mut pair = Pair::new();
    let (police, by): (usize, AgencyId) = (pair.police, "third".parse().unwrap());
    let notice = pair.send(police, "third");
    pair.until_step(police, notice, ReceiptState::Delivered);
    pair.world.is_shown_no_more(notice, &by).unwrap_err();
    assert!(pair.recall(police, notice));
    pair.until_step(police, notice, ReceiptState::Recalled);
    pair.world.is_shown_no_more(notice, &by).unwrap();
}

/// A fault in the product is found by some seed: the oracles can fail.
#[test]
fn planted_faults_are_found() {
    let most = variable("HUFU_SIM_SEEDS").unwrap_or(SEEDS_TO_FIND);
    // What was not durable may be missed anywhere; the others are found by the oracle of their rule.
    for (fault, says) in [
        (Planted::AcknowledgeBeforeSync, ""),
        (Planted::SkipAuditEntry, "without its entry"),
        (Planted::PushToAnybody, "which is not entitled"),
        (Planted::ServeSuspendedPerson, "who is suspended"),
        (Planted::ServeSuspendedAgency, "whose agency is suspended"),
        (Planted::ShowRecalled, "taken back from"),
    ] {
        plant(Some(fault));
        let found = (1..=most).find_map(|seed| {
            // A node that finds its own log broken may panic, which is finding it.
            let outcome = catch_unwind(|| run(seed).verdict);
            let why = outcome.unwrap_or_else(|_| Err("a node panicked".to_owned())).err();
            why.filter(|why| why.contains(says)).map(|why| (seed, why))
        });
        plant(None);
        let (seed, why) = found.unwrap_or_else(|| panic!("{fault:?} is not found within {most} seeds"));
        eprintln!("{fault:?}: seed {seed}: {}", why.lines().next().unwrap_or_default());
    }
}
