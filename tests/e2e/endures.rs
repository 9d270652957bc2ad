//! A mixed load while nodes are killed and stopped at random: nothing acknowledged is lost, every open is audited, memory and
//! disk stay within bounds.
//!
//! For twenty seconds, or as long as one says:
//! `HUFU_ENDURE=1800 HUFU_SEED=1 HUFU_BIN=target/release/hufu cargo test --test e2e endures -- --nocapture`.
//! A seed throws the same victims, pauses, texts and choices; how they fall together is the machine's matter.

mod agreements;
mod dice;
mod letters;
mod load;
mod nodes;
mod notes;
mod oracle;
mod records;

use super::demo::Demo;
use load::{Load, Work};
use nodes::{AGENCIES, Nodes};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Seconds of a load of which nobody says how long it lasts.
const SECONDS: u64 = 20;
/// Agencies of those who publish.
const ANALYSTS: [&str; 5] = ["police", "police", "state-security", "customs", "cyberspace"];

/// What a node may take: so much, and for each thing acknowledged so much more. An open index lies in memory, and so do
/// notices; sealed copies are padded, and logs keep what was done.
const MEMORY_MIB: u64 = 512;
const MEMORY_KIB_EACH: u64 = 16;
const DISK_MIB: u64 = 64;
const DISK_KIB_EACH: u64 = 32;
/// And of the bodies that it is entitled to so many times their bytes.
const DISK_TIMES: u64 = 16;

#[test]
fn nothing_acknowledged_is_lost_under_random_kills() {
    let (seconds, seed) = (number("HUFU_ENDURE", SECONDS), number("HUFU_SEED", 1));
    let demo = Demo::start();
    demo.equal_digests("cyberspace-clerk", 4);
    let runtime = Runtime::new().unwrap();
    if let Err(why) = catch_unwind(AssertUnwindSafe(|| endure(&demo, &runtime, seconds, seed))) {
        let words = why.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| why.downcast_ref::<&str>().copied()).unwrap_or("it failed");
        panic!("HUFU_ENDURE={seconds} HUFU_SEED={seed}: {words}");
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a number, not `{text}`")),
        Err(_) => otherwise,
    }
}

fn endure(demo: &Demo, runtime: &Runtime, seconds: u64, seed: u64) {
    let load = &Load::new(demo, runtime, seed, Duration::from_secs(seconds));
    let nodes = &Nodes::of(demo);
    let began = Instant::now();
    // Each has a number of its own, and with it dice of its own.
    let mut works: Vec<Work<'_, ()>> = vec![
        Box::new(move || nodes.under_fire(load)),
        Box::new(move || nodes.measured(load)),
        Box::new(move || agreements::work(load, 1)),
    ];
    for (number, agency) in (10..).zip(ANALYSTS) {
        works.push(Box::new(move || records::work(load, agency, number)));
    }
    for (number, agency) in (20..).zip(AGENCIES) {
        works.push(Box::new(move || letters::work(load, agency, number)));
    }
    load.at_once(works);
    let lasted = began.elapsed();
    oracle::settled(load);
    let (lost, unaudited) = (oracle::lost(load), oracle::unaudited(load));
    nodes.measure();

    println!("seconds {}", lasted.as_secs());
    load.notes().figures().for_each(|(what, count)| println!("{what} {count}"));
    println!("lost {}", lost.len());
    println!("not audited {}", unaudited.len());
    let too_much: Vec<&str> = AGENCIES.into_iter().filter(|agency| !is_within_bounds(load, nodes, agency)).collect();
    let first: Vec<&String> = lost.iter().chain(&unaudited).take(10).collect();
    assert!(first.is_empty(), "{} lost, {} not audited: {first:#?}", lost.len(), unaudited.len());
    assert!(too_much.is_empty(), "beyond its bounds: {too_much:?}");
    let notes = load.notes();
    for done in ["publishes committed", "opened", "notices"] {
        assert!(notes.figure(done) > 0, "{done}: none");
    }
    assert!(notes.figure("kills") + notes.figure("stops") > 0 || seconds < 10, "nothing was killed");
}

/// Prints what a node takes beside what it may take.
fn is_within_bounds(load: &Load, nodes: &Nodes, agency: &str) -> bool {
    let (acknowledged, bodies) = {
        let notes = load.notes();
        (notes.acknowledged() as u64, notes.bytes_for(agency) as u64 / 1024)
    };
    let (memory, memory_bound) = (nodes.memory_mib(agency), MEMORY_MIB + acknowledged * MEMORY_KIB_EACH / 1024);
    let disk_bound = DISK_MIB * 1024 + acknowledged * DISK_KIB_EACH + bodies * DISK_TIMES;
    let disk = nodes.disk_kib(agency);
    println!("{agency} memory {memory} MiB, bound {memory_bound} MiB");
    println!("{agency} disk {disk} KiB, bound {disk_bound} KiB, bodies {bodies} KiB");
    memory <= memory_bound && disk <= disk_bound
}
