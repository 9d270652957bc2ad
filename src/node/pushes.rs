//! Pushing sealed objects to one node: what waits at the same time goes in one call, and each object has its own answer.
//!
//! There is no timer. An object goes at once, unless as many calls as may be are under way; then it goes with all that came
//! meanwhile. One that could not be pushed in time is pulled by its receiver later.

use crate::vault::{Parts, PushState};
use crate::wire::pb::peer;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

/// Calls under way to one node.
const UNDER_WAY: usize = 2;
/// Most objects of one call: what a receiver takes.
const OBJECTS: usize = 64;
/// Most bytes of several objects: a small one does not wait for many large ones. One alone may be larger.
const BYTES: usize = 1 << 20;
/// Objects that wait; who brings more waits before.
const WAITING: usize = 1024;
/// From the first attempt of an object to its answer.
const TRANSFER: Duration = Duration::from_secs(10);

/// What a node answers to several objects, in their order.
type Results = Result<Vec<peer::PushResult>, String>;
type Answering = Pin<Box<dyn Future<Output = Results> + Send>>;
/// Makes one call.
pub(super) type Line = Arc<dyn Fn(Vec<peer::Sealed>) -> Answering + Send + Sync>;

struct Job {
    parts: Parts,
    answer: oneshot::Sender<Result<PushState, String>>,
}

impl Job {
    fn bytes(&self) -> usize {
        let (envelope, grant, audience) = &self.parts;
        envelope.len().saturating_add(grant.len()).saturating_add(audience.len())
    }
}

/// The objects for one node.
#[derive(Clone)]
pub(super) struct Pushes {
    jobs: mpsc::Sender<Job>,
}

impl Pushes {
    /// Starts to carry, on the current runtime, until the last of its clones is dropped.
    pub(super) fn over(line: Line) -> Pushes {
        let (jobs, queue) = mpsc::channel(WAITING);
        tokio::spawn(carry(line, queue));
        Pushes { jobs }
    }

    /// Hands one object over and waits for its own answer.
    pub(super) async fn push(&self, parts: Parts) -> Result<PushState, String> {
        let (answer, outcome) = oneshot::channel();
        let stopping = || "this node is stopping".to_owned();
        let asked = async {
            self.jobs.send(Job { parts, answer }).await.map_err(|_| stopping())?;
            outcome.await.map_err(|_| stopping())?
        };
        timeout_at(Instant::now() + TRANSFER, asked).await.map_err(|_| "no answer in time".to_owned())?
    }
}

async fn carry(line: Line, mut queue: mpsc::Receiver<Job>) {
    let places = Arc::new(Semaphore::new(UNDER_WAY));
    let mut left = None;
    loop {
        let first = match left.take() {
            Some(job) => job,
            None => match queue.recv().await {
                Some(job) => job,
                None => return,
            },
        };
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let jobs = gather(first, &mut queue, &mut left);
        let line = Arc::clone(&line);
        tokio::spawn(async move {
            call(&line, jobs).await;
            drop(place);
        });
    }
}

/// What waits and goes together; `left` is the first that does not.
fn gather(first: Job, queue: &mut mpsc::Receiver<Job>, left: &mut Option<Job>) -> Vec<Job> {
    let mut bytes = first.bytes();
    let mut jobs = vec![first];
    while jobs.len() < OBJECTS {
        let Ok(job) = queue.try_recv() else { break };
        bytes = bytes.saturating_add(job.bytes());
        if bytes > BYTES {
            *left = Some(job);
            break;
        }
        jobs.push(job);
    }
    jobs
}

async fn call(line: &Line, jobs: Vec<Job>) {
    // Who gave up is not waited for.
    let jobs = jobs.into_iter().filter(|j| !j.answer.is_closed());
    let (objects, answers): (Vec<_>, Vec<_>) = jobs
        .map(|Job { parts: (envelope, grant, audience), answer }| (peer::Sealed { envelope, grant, audience }, answer))
        .unzip();
    if objects.is_empty() {
        return;
    }
    let results = match timeout(TRANSFER, line(objects)).await {
        Err(_) => Err("no answer in time".to_owned()),
        Ok(Ok(results)) if results.len() != answers.len() => Err("it answered another number of objects".to_owned()),
        Ok(results) => results,
    };
    match results {
        Ok(results) => {
            for (answer, result) in answers.into_iter().zip(results) {
                let _gone = answer.send(Ok(state(result)));
            }
        }
        Err(why) => {
            for answer in answers {
                let _gone = answer.send(Err(why.clone()));
            }
        }
    }
}

/// What a node answered to one object.
pub(super) fn state(result: peer::PushResult) -> PushState {
    match result.state.as_str() {
        "held" => PushState::Held,
        "unopenable" => PushState::Unopenable(result.reason),
        _ => PushState::Refused(result.reason),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use tokio::sync::Notify;

    /// A node that answers when it is let, notes how many objects each call had, and holds those whose envelope is even.
    struct Far {
        calls: Mutex<Vec<usize>>,
        came: Notify,
        let_go: Semaphore,
    }

    fn far() -> Arc<Far> {
        Arc::new(Far { calls: Mutex::default(), came: Notify::new(), let_go: Semaphore::new(0) })
    }

    fn answer(o: &peer::Sealed) -> peer::PushResult {
        let held = o.envelope.first().is_some_and(|n| n % 2 == 0);
        let state = if held { "held" } else { "unopenable" };
        peer::PushResult { header_hash: Vec::new(), state: state.into(), reason: format!("{:?}", o.envelope) }
    }

    fn line(far: &Arc<Far>) -> Line {
        let far = Arc::clone(far);
        Arc::new(move |objects| Box::pin(called(Arc::clone(&far), objects)))
    }

    async fn called(far: Arc<Far>, objects: Vec<peer::Sealed>) -> Results {
        far.calls.lock().unwrap().push(objects.len());
        far.came.notify_one();
        far.let_go.acquire().await.unwrap().forget();
        Ok(objects.iter().map(answer).collect())
    }

    async fn broken(objects: Vec<peer::Sealed>) -> Results {
        if objects.iter().any(|o| o.envelope == [1]) { Ok(Vec::new()) } else { Err("the line is down".to_owned()) }
    }

    fn parts(n: u8, bytes: usize) -> Parts {
        (vec![n], vec![0; bytes], Vec::new())
    }

    type Pushed = tokio::task::JoinHandle<Result<PushState, String>>;

    fn push(pushes: &Arc<Pushes>, parts: Parts) -> Pushed {
        let pushes = Arc::clone(pushes);
        tokio::spawn(async move { pushes.push(parts).await })
    }

    /// As many calls as may be are under way and not answered, and behind them all of these wait.
    async fn waiting(far: &Arc<Far>, behind: Vec<Parts>) -> (Vec<Pushed>, Vec<Pushed>) {
        let pushes = Arc::new(Pushes::over(line(far)));
        let mut first = Vec::new();
        for _ in 0..UNDER_WAY {
            first.push(push(&pushes, parts(0, 10)));
            far.came.notified().await;
        }
        assert_eq!(*far.calls.lock().unwrap(), [1; UNDER_WAY], "nothing waits for company");
        let count = behind.len();
        let behind = behind.into_iter().map(|parts| push(&pushes, parts)).collect();
        // One of them was taken out of the queue and waits for its place.
        while pushes.jobs.max_capacity() - pushes.jobs.capacity() + 1 < count {
            tokio::task::yield_now().await;
        }
        (first, behind)
    }

    #[tokio::test]
    async fn what_waits_goes_together_and_each_has_its_own_answer() {
        let far = far();
        let (first, behind) = waiting(&far, (0..100).map(|n| parts(n, 10)).collect()).await;
        far.let_go.add_permits(10);
        for task in first {
            assert_eq!(task.await.unwrap(), Ok(PushState::Held));
        }
        for (n, task) in (0u8..).zip(behind) {
            let wanted = if n % 2 == 0 { PushState::Held } else { PushState::Unopenable(format!("[{n}]")) };
            assert_eq!(task.await.unwrap(), Ok(wanted), "{n}");
        }
        assert_eq!(*far.calls.lock().unwrap(), [1, 1, OBJECTS, 100 - OBJECTS]);
    }

    #[tokio::test]
    async fn large_objects_go_one_by_one() {
        let far = far();
        let (_first, behind) = waiting(&far, (0..3).map(|n| parts(n, BYTES / 2 + 1)).collect()).await;
        far.let_go.add_permits(10);
        for task in behind {
            task.await.unwrap().unwrap();
        }
        assert_eq!(*far.calls.lock().unwrap(), [1; UNDER_WAY + 3]);
    }

    #[tokio::test]
    async fn a_call_that_fails_is_told_to_all_of_it_and_the_next_one_goes() {
        let pushes = Pushes::over(Arc::new(|objects| Box::pin(broken(objects))));
        assert_eq!(pushes.push(parts(0, 1)).await, Err("the line is down".to_owned()));
        assert_eq!(pushes.push(parts(1, 1)).await, Err("it answered another number of objects".to_owned()));
    }
}
