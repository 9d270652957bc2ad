//! Work that waits for others: indexing takes much of a machine's time and nobody waits for it by the millisecond.

use rustix::process::{getpid, getpriority_process, setpriority_process};

/// Above the nice value of the process, whatever the calling thread has: more than the threads that publish and open have
/// (`node`), whose work somebody does wait for. On Linux a nice value belongs to a thread and its later children.
const NICER: i32 = 10;

/// Runs `work` on a thread of lower priority, and waits for it. Where the system does not allow that, it runs as it is.
pub fn quietly<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            let own = getpriority_process(Some(getpid()));
            let lowered = own.and_then(|nice| setpriority_process(None, (nice + NICER).min(19)));
            if let Err(error) = lowered {
                tracing::debug!(%error, "indexing runs at normal priority");
            }
            work()
        });
        running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    #[test]
    fn only_the_quiet_thread_is_slowed_down() {
        let before = getpriority_process(None).unwrap();
        let quiet = (getpriority_process(Some(getpid())).unwrap() + NICER).min(19);
        let inside = quietly(|| getpriority_process(None).unwrap());
        assert_eq!(inside, quiet);
        let within = quietly(|| quietly(|| getpriority_process(None).unwrap()));
        assert_eq!(within, quiet, "it does not add up");
        assert_eq!(getpriority_process(None).unwrap(), before);
    }
}
