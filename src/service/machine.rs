//! A machine for tests of what a node does when it runs out of something.

use crate::domain::time::{Clock, Millis};
use crate::journal::{Disk, Host, JournalError, Waker, Work};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// As much room and memory as the test says, in bytes; `u64::MAX` is a system that does not tell.
#[derive(Default)]
pub(super) struct Machine {
    pub(super) free: AtomicU64,
    pub(super) used: AtomicU64,
    /// How often the system was asked.
    pub(super) asked: AtomicU64,
    pub(super) now: AtomicU64,
}

impl Machine {
    /// What its memory bound is three quarters of.
    pub(super) const GIVEN: u64 = 64_000;

    fn tell(&self, what: &AtomicU64) -> io::Result<u64> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match what.load(Ordering::SeqCst) {
            u64::MAX => Err(io::Error::other("it does not tell")),
            bytes => Ok(bytes),
        }
    }
}

impl Host for Machine {
    fn disk(&self, _: &Path) -> Result<Arc<dyn Disk>, JournalError> {
        Err(JournalError::Closed)
    }
    fn files(&self, _: &Path) -> Result<Arc<dyn Disk>, JournalError> {
        Err(JournalError::Closed)
    }
    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        self.tell(&self.free)
    }
    fn used_memory(&self) -> io::Result<u64> {
        self.tell(&self.used)
    }
    fn given_memory(&self) -> u64 {
        Machine::GIVEN
    }
    fn start(&self, _: &str, _: Work) -> io::Result<Box<dyn Waker>> {
        Err(io::Error::other("nobody works here"))
    }
}

impl Clock for Machine {
    /// The wall clock is not asked: whoever sets it changes nothing here.
    fn now(&self) -> Millis {
        Millis(0)
    }
    fn steady(&self) -> Millis {
        Millis(self.now.load(Ordering::SeqCst))
    }
}
