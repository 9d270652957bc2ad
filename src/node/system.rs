//! The only real clock and randomness, and what a process that holds secrets does first.

use crate::domain::fault::Fault;
use crate::domain::time::{Clock, Entropy, Millis};
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal, getpid, getpriority_process, setpriority_process};
use std::time::{SystemTime, UNIX_EPOCH};

/// The machine's clock.
#[derive(Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        let ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
        Millis(u64::try_from(ms).unwrap_or(u64::MAX))
    }

    fn steady(&self) -> Millis {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let ms = t.tv_sec.saturating_mul(1000).saturating_add(t.tv_nsec / 1_000_000);
        Millis(u64::try_from(ms).unwrap_or_default())
    }
}

/// The system's randomness.
#[derive(Clone, Copy)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::expect_used, reason = "without randomness nothing may go on; there is no caller to tell")]
    fn fill(&mut self, out: &mut [u8]) {
        aws_lc_rs::rand::fill(out).expect("the system gives randomness");
    }
}

/// No core dumps, no memory reading by other processes of the same user.
pub(super) fn harden() -> Result<(), Fault> {
    let fail = |e: rustix::io::Errno| Fault::internal("HARDEN", format!("cannot switch off core dumps: {e}"));
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).map_err(fail)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(fail)
}

/// Above the nice value of the process: less than what indexes has (`search`), for which nobody waits.
const BULK_NICER: i32 = 5;

/// Lowers the calling thread a little, so that the threads of notices come first. Consensus keeps enough: its timeouts are
/// a thousand times a time slice. A thread begins with the nice value of the one that started it, so it is set and not
/// added to: the runtime's threads start each other.
pub(super) fn yield_to_notices() {
    let own = getpriority_process(Some(getpid()));
    let lowered = own.and_then(|nice| setpriority_process(None, (nice + BULK_NICER).min(19)));
    if let Err(error) = lowered {
        tracing::debug!(%error, "all threads run at one priority");
    }
}

/// Ends this process when its parent ends, however that ended. `hufu demo` asks for it.
pub(super) fn end_with_parent() -> Result<(), Fault> {
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))
        .map_err(|e| Fault::internal("PARENT", format!("cannot watch the parent process: {e}")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_a_lowered_one_starts_is_lowered_no_further() {
        let bulk = (getpriority_process(Some(getpid())).unwrap() + BULK_NICER).min(19);
        let lowered = || {
            yield_to_notices();
            getpriority_process(None).unwrap()
        };
        let seen = std::thread::spawn(move || (lowered(), std::thread::spawn(lowered).join().unwrap())).join();
        assert_eq!(seen.unwrap(), (bulk, bulk));
    }
}
