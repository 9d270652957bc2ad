//! Seeds of every day, the same trace twice, and planted faults that must be found.

use super::world::World;
use std::fmt::Write as _;

/// Seeds of a plain `cargo test`.
const SEEDS: u64 = 6;
/// How long things go wrong, in ticks.
const TROUBLE_MS: u64 = 6_000;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|v| v.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// One seed: its trace, and what was wrong.
fn run(seed: u64) -> (Vec<String>, Result<(), String>) {
    let mut world = World::new(seed);
    let outcome = history(&mut world);
    (world.net.trace(), outcome)
}

fn history(world: &mut World) -> Result<(), String> {
    world.begin()?;
    let (mut act, mut trouble) = (0, 200);
    for at in 0..TROUBLE_MS {
        if at == act {
            world.somebody_acts();
            act = at + 20 + world.dice.below(100);
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
    world.ask_at_the_end()
}

/// The end of a trace, for a failure.
fn end_of(trace: &[String]) -> String {
    let from = trace.len().saturating_sub(60);
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
    let mut failed = Vec::new();
    for seed in seeds {
        let (trace, outcome) = run(seed);
        if let Err(why) = outcome {
            eprintln!("seed {seed}: {why}\n{}", end_of(&trace));
            failed.push((seed, why));
        }
    }
    assert!(failed.is_empty(), "run one again with HUFU_SIM_SEED: {failed:#?}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let ((first, _), (second, _)) = (run(1), run(1));
    let differ = first.iter().zip(&second).position(|(a, b)| a != b);
    assert!(
        differ.is_none() && first.len() == second.len(),
        "line {differ:?} of {} and {}: {:?} {:?}",
        first.len(),
        second.len(),
        differ.map(|n| &first[n]),
        differ.map(|n| &second[n]),
    );
}

#[test]
fn show() {
    let (trace, outcome) = run(variable("HUFU_SIM_SEED").unwrap_or(1));
    eprintln!("{outcome:?}\n{}", trace.join("\n"));
}
