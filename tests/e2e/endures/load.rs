//! What all threads of a load share, and how they ask.

use super::super::demo::{Demo, Ran, until};
use super::notes::Notes;
use hufu::domain::fault::{Fault, FaultKind};
use hufu::wire::fault_of;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tonic::transport::Channel;
use tonic::{Response, Status};

/// A call that is not answered within this time has an outcome that is not known: longer than a node is stopped.
const PATIENCE: Duration = Duration::from_secs(20);
/// One node is away at a time, and comes back: whatever is asked again and again is answered within this time.
pub const ANSWERED_WITHIN: Duration = Duration::from_secs(120);
/// Longer than any single look takes.
const ONE_LOOK: Duration = Duration::from_secs(600);

/// What one thread does.
pub type Work<'a, T> = Box<dyn FnOnce() -> T + Send + 'a>;

/// One load, until its end or until a thread of it fails.
pub struct Load<'a> {
    pub demo: &'a Demo,
    pub seed: u64,
    runtime: &'a Runtime,
    ends: Instant,
    is_broken: AtomicBool,
    notes: Mutex<Notes>,
}

impl<'a> Load<'a> {
    pub fn new(demo: &'a Demo, runtime: &'a Runtime, seed: u64, lasts: Duration) -> Load<'a> {
        let (ends, notes) = (Instant::now() + lasts, Mutex::default());
        Load { demo, seed, runtime, ends, is_broken: AtomicBool::new(false), notes }
    }

    pub fn goes_on(&self) -> bool {
        !self.is_broken.load(Ordering::Relaxed) && Instant::now() < self.ends
    }

    /// Runs each on a thread of its own, to the end of all. When one fails, those that look at the load end with it, and the
    /// first failure is passed on.
    pub fn at_once<'w, T: Send + 'w>(&self, works: Vec<Work<'w, T>>) -> Vec<T> {
        let is_broken = &self.is_broken;
        std::thread::scope(|scope| {
            let run = |work: Work<'w, T>| {
                scope.spawn(move || {
                    let _breaks = Breaks(is_broken);
                    work()
                })
            };
            let threads: Vec<_> = works.into_iter().map(run).collect();
            let ended: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
            let done = ended.into_iter().map(|done| match done {
                Ok(done) => done,
                Err(why) => std::panic::resume_unwind(why),
            });
            done.collect()
        })
    }

    /// How fast the load goes, and how long a node is away. Nothing is waited for with it.
    pub fn pause(&self, lasts: Duration) {
        let end = Instant::now() + lasts;
        while self.goes_on() && Instant::now() < end {
            std::thread::park_timeout(end.saturating_duration_since(Instant::now()).min(Duration::from_millis(50)));
        }
    }

    pub fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn count(&self, what: &'static str) {
        self.notes().count(what);
    }

    /// Runs a command until it ends with one of these codes; unavailable is asked again, everything else is a failure.
    pub fn run_until(&self, persona: &str, args: &[&str], codes: &[i32]) -> Ran {
        until_right("a command is done", ANSWERED_WITHIN, || {
            let ran = self.demo.run(persona, args);
            if codes.contains(&ran.code) {
                return Ok(ran);
            }
            assert_eq!(ran.code, 5, "{persona} {args:?}: {}", ran.stderr);
            self.count("unavailable or unknown");
            Err(format!("{persona} {args:?}: {}", ran.stderr))
        })
    }
}

/// What is left of a thread that fails.
struct Breaks<'a>(&'a AtomicBool);

impl Drop for Breaks<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// Waits as `until` does, and says in the end what it was that stayed.
pub fn until_right<T>(what: &str, within: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + within;
    match right_by(deadline, &mut look) {
        Ok(found) => found,
        Err(last) => panic!("not within {within:?}: {what}: {last}"),
    }
}

/// Looks until it is right, and once at least; what it is at the deadline it stays.
pub fn right_by<T>(deadline: Instant, mut look: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let left = deadline.saturating_duration_since(Instant::now());
    until("the last look", left + ONE_LOOK, || match look() {
        Err(_) if Instant::now() < deadline => None,
        looked => Some(looked),
    })
}

/// Somebody with a connection, which is made anew when it broke.
pub struct Person<'a> {
    load: &'a Load<'a>,
    name: String,
    channel: Option<Channel>,
}

impl<'a> Person<'a> {
    pub fn new(load: &'a Load<'a>, agency: &str, persona: &str) -> Person<'a> {
        Person { load, name: format!("{agency}-{persona}"), channel: None }
    }

    /// One call. Unavailable may also say that its outcome is not known.
    pub fn call<T>(&mut self, ask: &mut impl AsyncFnMut(Channel) -> Result<Response<T>, Status>) -> Result<T, Fault> {
        let load = self.load;
        let answered = load.runtime.block_on(async { tokio::time::timeout(PATIENCE, self.asked(ask)).await });
        let answered = answered.unwrap_or_else(|_| Err(Fault::unavailable("DEADLINE", "no answer in time")));
        if let Err(fault) = &answered {
            match fault.kind {
                FaultKind::Unavailable => {
                    self.channel = None;
                    load.count("unavailable or unknown");
                }
                FaultKind::NotFound => load.count("not there yet"),
                _ => load.count("refused"),
            }
        }
        answered
    }

    async fn asked<T>(
        &mut self,
        ask: &mut impl AsyncFnMut(Channel) -> Result<Response<T>, Status>,
    ) -> Result<T, Fault> {
        let channel = match &self.channel {
            Some(channel) => channel.clone(),
            None => self.load.demo.dial(&self.name).await?,
        };
        self.channel = Some(channel.clone());
        // What a node refuses has details; without any it is the transport's word for a connection that broke.
        let fault = |status: Status| match status.details().is_empty() {
            true => Fault::unavailable("NODE_UNREACHABLE", status.to_string()),
            false => fault_of(&status),
        };
        (*ask)(channel).await.map(Response::into_inner).map_err(fault)
    }

    /// The same request again and again until it is answered: what has no known outcome has one then. What is of the kinds in
    /// `again` is asked again as well.
    pub fn answered<T>(
        &mut self,
        what: &str,
        again: &[FaultKind],
        mut ask: impl AsyncFnMut(Channel) -> Result<Response<T>, Status>,
    ) -> T {
        until_right(what, ANSWERED_WITHIN, || {
            self.call(&mut ask).map_err(|fault| {
                // Also while the attempt before is still worked on.
                let is_passing = fault.kind == FaultKind::Unavailable || fault.reason == "IN_PROGRESS";
                assert!(is_passing || again.contains(&fault.kind), "{}: {what}: {fault:?}", self.name);
                format!("{}: {fault:?}", self.name)
            })
        })
    }
}
