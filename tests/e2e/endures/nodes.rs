//! The four processes: killed, stopped, started again, and measured.

use super::super::demo::{Demo, Node, signal, until};
use super::dice::Dice;
use super::load::Load;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

pub const AGENCIES: [&str; 4] = ["police", "state-security", "customs", "cyberspace"];

/// A node that was killed or stopped serves within this time.
const SERVES_WITHIN: Duration = Duration::from_secs(90);

type Own = BTreeMap<&'static str, Option<Node>>;

pub struct Nodes<'a> {
    demo: &'a Demo,
    /// Those that the demo did not start; none while one is dead.
    own: Mutex<Own>,
    /// The largest resident memory of any process of a node, in KiB.
    peaks: Mutex<BTreeMap<&'static str, u64>>,
}

/// A process that gets no time until this is dropped.
struct Stopped(String);

impl Stopped {
    fn new(pid: String) -> Stopped {
        signal("STOP", &pid);
        Stopped(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        signal("CONT", &self.0);
    }
}

impl<'a> Nodes<'a> {
    pub fn of(demo: &'a Demo) -> Nodes<'a> {
        Nodes { demo, own: Mutex::default(), peaks: Mutex::default() }
    }

    /// Kills and stops one node after the other while the load goes on; all run when it returns. One is away at a time, so a
    /// majority always stands.
    pub fn under_fire(&self, load: &Load) {
        let mut dice = Dice::new(load.seed, 0);
        loop {
            load.pause(dice.between(2_000, 8_000));
            if !load.goes_on() {
                return;
            }
            let victim = dice.pick(&AGENCIES);
            if dice.below(4) == 0 {
                let pid = self.pid(&self.own.lock().unwrap(), victim).expect("it runs");
                let _stopped = Stopped::new(pid);
                load.count("stops");
                load.pause(dice.between(1_000, 6_000));
            } else {
                self.kill(victim);
                load.count("kills");
                load.pause(dice.between(0, 4_000));
                self.own.lock().unwrap().insert(victim, Some(self.demo.start_node(victim)));
            }
            until("a node serves again", SERVES_WITHIN, || {
                (self.demo.run(&format!("{victim}-clerk"), &["cluster", "status"]).code == 0).then_some(())
            });
        }
    }

    /// The process of a node; none while it is dead.
    fn pid(&self, own: &Own, agency: &str) -> Option<String> {
        match own.get(agency) {
            None => Some(self.demo.pid(agency)),
            Some(node) => node.as_ref().map(Node::pid),
        }
    }

    fn kill(&self, agency: &'static str) {
        // Whoever measures meanwhile waits, and finds it dead as one that was meant to be.
        match self.own.lock().unwrap().insert(agency, None) {
            None => self.demo.kill(agency),
            Some(node) => drop(node),
        }
    }

    /// Measures while the load goes on.
    pub fn measured(&self, load: &Load) {
        while load.goes_on() {
            self.measure();
            load.pause(Duration::from_millis(500));
        }
    }

    /// Takes note of the memory of those that run. One that ended by itself is a failure.
    pub fn measure(&self) {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        for agency in AGENCIES {
            let Some(pid) = self.pid(&own, agency) else { continue };
            // The kernel keeps the largest value of a process, whenever one looks.
            let peak = kib(&pid, "VmHWM:");
            let peak = peak.unwrap_or_else(|| panic!("the node of {agency} ended by itself"));
            let mut peaks = self.peaks.lock().unwrap_or_else(PoisonError::into_inner);
            let largest = peaks.entry(agency).or_default();
            *largest = peak.max(*largest);
        }
    }

    /// The largest resident memory so far, in MiB.
    pub fn memory_mib(&self, agency: &str) -> u64 {
        self.peaks.lock().unwrap().get(agency).copied().unwrap_or(0) / 1024
    }

    /// What all files of a node take, in KiB.
    pub fn disk_kib(&self, agency: &str) -> u64 {
        bytes_under(&self.demo.dir().join("nodes").join(agency)) / 1024
    }
}

fn kib(pid: &str, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|l| l.strip_prefix(name))?.trim().trim_end_matches(" kB").parse().ok()
}

/// Sizes of all files under a folder; one that a running node removed meanwhile has none.
fn bytes_under(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let size = |entry: std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => bytes_under(&entry.path()),
        _ => entry.metadata().map_or(0, |m| m.len()),
    };
    entries.map(size).sum()
}
