//! One simulated machine: disks that a power cut tears, workers that run when the dice say, a clock that may be wrong.

use super::dice::Dice;
use crate::domain::time::{Clock, Millis};
use crate::journal::{Disk, FaultDisk, Host, JournalError, Leaves, Once, Waker, Work};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Longest that a worker is left waiting, in milliseconds.
const WAIT_MS: u64 = 4;
/// How long it waits for a slow disk: at least, and how much longer, in milliseconds.
const SLOW_MS: (u64, u64) = (200, 1_800);
/// How long what blocks has not begun.
const ASIDE: Duration = Duration::from_millis(2);
/// Where a node keeps its ledger's snapshots.
pub(super) const LEDGER: &str = "/data/ledger";
/// Where the vault of a node keeps bodies.
const BODIES: &str = "/data/vault/bodies";
/// How the files of content end there.
const CONTENT: &str = ".large";
/// 2027-01-15, when simulated time begins.
pub(super) const BEGIN: Millis = Millis(1_800_000_000_000);

/// How a machine goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Down {
    /// The process dies; the kernel has all that was written.
    Killed,
    /// The power goes; what was not synced is lost, or torn.
    PowerCut,
}

/// One machine. It outlives the node that runs on it.
pub(super) struct Machine {
    disks: Mutex<BTreeMap<PathBuf, FaultDisk>>,
    dice: Dice,
    free: AtomicU64,
    slow: Arc<AtomicBool>,
    clock: Arc<SimClock>,
}

impl Machine {
    pub(super) fn new(dice: Dice) -> Arc<Machine> {
        let free = AtomicU64::new(u64::MAX);
        Arc::new(Machine { disks: Mutex::default(), dice, free, slow: Arc::default(), clock: Arc::default() })
    }

    pub(super) fn clock(&self) -> Arc<SimClock> {
        Arc::clone(&self.clock)
    }

    /// What its disks have after it went down. Whatever still has the disks of before writes to nothing.
    pub(super) fn go_down(&self, how: Down) {
        let mut disks = self.disks.lock().unwrap();
        for disk in disks.values_mut() {
            *disk = match how {
                Down::Killed => disk.after_kill(),
                Down::PowerCut => disk.after_torn_cut(|unsynced| self.dice.below(unsynced as u64 + 1) as usize),
            };
        }
        self.free.store(u64::MAX, Ordering::Relaxed);
    }

    /// Whether each sync takes long from now on.
    pub(super) fn be_slow(&self, slow: bool) {
        self.slow.store(slow, Ordering::Relaxed);
    }

    /// How much room its disk says it has, in bytes.
    pub(super) fn leave_free(&self, bytes: u64) {
        self.free.store(bytes, Ordering::Relaxed);
    }

    /// Lets the next or one of the next changes of one of its disks fail; the name of the disk.
    pub(super) fn fail_soon(&self, dice: &Dice) -> Option<String> {
        let disks = self.disks.lock().unwrap();
        let all: Vec<_> = disks.iter().collect();
        if all.is_empty() {
            return None;
        }
        let (path, disk) = dice.pick(&all);
        let leaves = if dice.one_in(2) { Leaves::Nothing } else { Leaves::Everything };
        disk.fail_at(dice.below(6), leaves);
        Some(path.display().to_string())
    }

    /// Lets a change of what keeps the ledger's snapshots fail soon.
    pub(super) fn fail_at_a_snapshot(&self, dice: &Dice) {
        let leaves = if dice.one_in(2) { Leaves::Nothing } else { Leaves::Everything };
        // Of the certificate's file and of the snapshot's, five each.
        let nth = dice.below(10);
        if let Some(disk) = self.disks.lock().unwrap().get(Path::new(LEDGER)) {
            disk.fail_at(nth, leaves);
        }
    }

    /// Flips a bit of a sealed body or content that lies on its disk; the name of the file.
    pub(super) fn flip_a_body(&self, dice: &Dice) -> Option<String> {
        let disks = self.disks.lock().unwrap();
        let bodies = disks.iter().find(|(path, _)| path.ends_with("vault/bodies"))?.1;
        let mut names = bodies.list().ok()?;
        names.retain(|n| bodies.size(n).is_ok_and(|len| len > 0) && (n.ends_with(".body") || n.ends_with(CONTENT)));
        names.sort();
        let name = dice.pick(names.get(..)?.split_first().map(|_| names.as_slice())?).clone();
        bodies.edit(&name, |bytes| {
            let at = dice.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << dice.below(8);
        });
        Some(name)
    }

    /// The files of content that lie on its disk.
    pub(super) fn content_files(&self) -> Vec<String> {
        let disks = self.disks.lock().unwrap();
        let names = disks.get(Path::new(BODIES)).map(|bodies| bodies.list().unwrap()).unwrap_or_default();
        names.into_iter().filter(|name| name.ends_with(CONTENT)).collect()
    }

    /// A file is gone, behind everybody's back.
    pub(super) fn lose_content(&self, file: &str) {
        self.disks.lock().unwrap()[Path::new(BODIES)].remove(file).unwrap();
    }
}

impl Host for Machine {
    fn disk(&self, dir: &Path) -> Result<Arc<dyn Disk>, JournalError> {
        let mut disks = self.disks.lock().unwrap();
        Ok(Arc::new(disks.entry(dir.to_owned()).or_default().clone()))
    }

    fn files(&self, dir: &Path) -> Result<Arc<dyn Disk>, JournalError> {
        self.disk(dir)
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(self.free.load(Ordering::Relaxed))
    }

    /// What the process that simulates has is no node's.
    fn used_memory(&self) -> io::Result<u64> {
        Ok(0)
    }

    fn given_memory(&self) -> u64 {
        u64::MAX
    }

    fn start(&self, _: &str, work: Work) -> io::Result<Box<dyn Waker>> {
        let (work, slow) = (Arc::new(Mutex::new(work)), Arc::clone(&self.slow));
        Ok(Box::new(Task { work, called: Arc::default(), slow, dice: self.dice.split() }))
    }

    /// Without a thread, too, and no dice: who asks first within a tick is not the seed's to say.
    fn aside(&self, work: Once) {
        tokio::spawn(async move {
            tokio::time::sleep(ASIDE).await;
            work();
        });
    }
}

/// A worker without a thread: a task of the node's runtime, so it ends with it.
struct Task {
    work: Arc<Mutex<Work>>,
    called: Arc<AtomicBool>,
    slow: Arc<AtomicBool>,
    dice: Dice,
}

impl Waker for Task {
    fn wake(&self) {
        if self.called.swap(true, Ordering::Relaxed) {
            return;
        }
        let (work, called) = (Arc::clone(&self.work), Arc::clone(&self.called));
        let ms = match self.slow.load(Ordering::Relaxed) {
            false => self.dice.below(WAIT_MS),
            true => SLOW_MS.0 + self.dice.below(SLOW_MS.1),
        };
        let wait = Duration::from_millis(ms);
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            called.store(false, Ordering::Relaxed);
            work.lock().unwrap()();
        });
    }

    fn wake_and_wait(&self) {
        self.work.lock().unwrap()();
    }
}

/// What a machine takes for the time.
#[derive(Default)]
pub(super) struct SimClock {
    tick: AtomicU64,
    passed: AtomicU64,
    wrong_by: AtomicI64,
}

impl SimClock {
    /// Milliseconds since the world began.
    pub(super) fn set(&self, tick: u64) {
        self.tick.store(tick, Ordering::Relaxed);
    }

    /// How many milliseconds went by besides, in which nothing happened anywhere.
    pub(super) fn let_pass(&self, ms: u64) {
        self.passed.store(ms, Ordering::Relaxed);
    }

    /// Sets the clock wrong by so many milliseconds.
    pub(super) fn be_wrong_by(&self, ms: i64) {
        self.wrong_by.store(ms, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Millis {
        let passed = self.passed.load(Ordering::Relaxed);
        let right = BEGIN.0.saturating_add(self.tick.load(Ordering::Relaxed)).saturating_add(passed);
        Millis(right.saturating_add_signed(self.wrong_by.load(Ordering::Relaxed)))
    }

    fn steady(&self) -> Millis {
        Millis(self.tick.load(Ordering::Relaxed))
    }
}
