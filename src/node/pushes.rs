//! Pushing sealed objects to one node: what waits at the same time goes in one call, and each object has its own answer.
//!
//! There is no timer. An object goes at once, unless as many calls as may be are under way; then it goes with all that came
//! meanwhile. One that could not be pushed in time is pulled by its receiver later.
//!
//! An audience object goes once in a call, and not at all to a node that acknowledged it: it is named. A node that does not find
//! it says so of each object that named it, and these go once more, at once, with its bytes.

use crate::vault::{AUDIENCE_WANTED, Acknowledged, Encoded, PushState};
use crate::wire::pb::peer;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

/// Calls under way to one node.
const UNDER_WAY: usize = 2;
/// Most objects of one call: what a receiver takes.
const OBJECTS: usize = 64;
/// Most bytes of several objects, as if each had its audience object with it: a small one does not wait for many large ones. One
/// alone may be larger.
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
    parts: Encoded,
    answer: oneshot::Sender<Result<PushState, String>>,
}

/// What the node acknowledged.
#[derive(Clone, Default)]
struct Known(Arc<Mutex<Acknowledged>>);

impl Known {
    fn lock(&self) -> MutexGuard<'_, Acknowledged> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is sent of some objects. With `bytes` nothing that was acknowledged is relied on.
    fn written(&self, jobs: &[Job], bytes: bool) -> Vec<peer::Sealed> {
        let known = self.lock();
        let mut carried = BTreeSet::new();
        let written = |job: &Job| {
            let Encoded { envelope, grant, audience, audience_name } = job.parts.clone();
            let named = (!bytes && known.has(&audience_name)) || !carried.insert(audience_name);
            let (audience, audience_name) = match named {
                true => (Default::default(), audience_name.to_vec().into()),
                false => (audience, Default::default()),
            };
            peer::Sealed { envelope, grant, audience, audience_name }
        };
        jobs.iter().map(written).collect()
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
    pub(super) async fn push(&self, parts: Encoded) -> Result<PushState, String> {
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
    let known = Known::default();
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
        let (line, known) = (Arc::clone(&line), known.clone());
        tokio::spawn(async move {
            call(&line, &known, jobs).await;
            drop(place);
        });
    }
}

/// What waits and goes together; `left` is the first that does not.
fn gather(first: Job, queue: &mut mpsc::Receiver<Job>, left: &mut Option<Job>) -> Vec<Job> {
    let mut bytes = first.parts.bytes();
    let mut jobs = vec![first];
    while jobs.len() < OBJECTS {
        let Ok(job) = queue.try_recv() else { break };
        bytes = bytes.saturating_add(job.parts.bytes());
        if bytes > BYTES {
            *left = Some(job);
            break;
        }
        jobs.push(job);
    }
    jobs
}

async fn call(line: &Line, known: &Known, jobs: Vec<Job>) {
    let wanted = attempt(line, known, jobs, false).await;
    for job in attempt(line, known, wanted, true).await {
        let _gone = job.answer.send(Err("it does not find an audience key that came with it".to_owned()));
    }
}

/// One call; answers those objects of which the node wants the audience objects, and which have no answer yet.
async fn attempt(line: &Line, known: &Known, mut jobs: Vec<Job>, bytes: bool) -> Vec<Job> {
    // Who gave up is not waited for.
    jobs.retain(|j| !j.answer.is_closed());
    if jobs.is_empty() {
        return jobs;
    }
    let objects = known.written(&jobs, bytes);
    let results = match timeout(TRANSFER, line(objects)).await {
        Err(_) => Err("no answer in time".to_owned()),
        Ok(Ok(results)) if results.len() != jobs.len() => Err("it answered another number of objects".to_owned()),
        Ok(results) => results,
    };
    let results = match results {
        Ok(results) => results,
        Err(why) => {
            for job in jobs {
                let _gone = job.answer.send(Err(why.clone()));
            }
            return Vec::new();
        }
    };
    let mut wanted = Vec::new();
    for (job, result) in jobs.into_iter().zip(results) {
        let name = job.parts.audience_name;
        if result.state == AUDIENCE_WANTED {
            known.lock().forget(&name);
            wanted.push(job);
            continue;
        }
        let state = state(result);
        if state == PushState::Held {
            known.lock().note(name);
        }
        let _gone = job.answer.send(Ok(state));
    }
    wanted
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
        peer::PushResult { header_hash: Vec::new(), state: state.into(), reason: format!("{:?}", o.envelope.to_vec()) }
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
        if objects.iter().any(|o| o.envelope.first() == Some(&1)) {
            Ok(Vec::new())
        } else {
            Err("the line is down".to_owned())
        }
    }

    fn parts(n: u8, bytes: usize) -> Encoded {
        under(0, n, bytes)
    }

    /// With one of several audience objects.
    fn under(audience: u8, n: u8, bytes: usize) -> Encoded {
        Encoded {
            envelope: vec![n].into(),
            grant: vec![0; bytes].into(),
            audience: vec![audience; 3].into(),
            audience_name: [audience; 32],
        }
    }

    type Pushed = tokio::task::JoinHandle<Result<PushState, String>>;

    fn push(pushes: &Arc<Pushes>, parts: Encoded) -> Pushed {
        let pushes = Arc::clone(pushes);
        tokio::spawn(async move { pushes.push(parts).await })
    }

    /// As many calls as may be are under way and not answered, and behind them all of these wait.
    async fn waiting(far: &Arc<Far>, behind: Vec<Encoded>) -> (Vec<Pushed>, Vec<Pushed>) {
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

    /// A node that finds audience objects by their names, and what each object of each call brought: the bytes, or the name.
    #[derive(Default)]
    struct Finds {
        here: Mutex<BTreeSet<u8>>,
        calls: Mutex<Vec<Vec<&'static str>>>,
    }

    impl Finds {
        fn line(self: &Arc<Self>) -> Line {
            let far = Arc::clone(self);
            Arc::new(move |objects: Vec<peer::Sealed>| -> Answering {
                let answers = far.answers(&objects);
                Box::pin(async move { Ok::<_, String>(answers) })
            })
        }

        /// In their order; one whose envelope is 9 is refused with what it brought.
        fn answers(&self, objects: &[peer::Sealed]) -> Vec<peer::PushResult> {
            let (mut brought, mut answers) = (Vec::new(), Vec::new());
            let mut here = self.here.lock().unwrap();
            for o in objects {
                let refused = o.envelope.first() == Some(&9);
                let found = match (o.audience.first(), o.audience_name.first()) {
                    (Some(bytes), None) => {
                        brought.push("bytes");
                        refused || here.insert(*bytes) || here.contains(bytes)
                    }
                    (None, Some(name)) => {
                        brought.push("name");
                        here.contains(name)
                    }
                    both => unreachable!("{both:?}"),
                };
                let state = match (found, refused) {
                    (false, _) => AUDIENCE_WANTED,
                    (true, true) => "refused",
                    (true, false) => "held",
                };
                answers.push(peer::PushResult { header_hash: Vec::new(), state: state.into(), reason: String::new() });
            }
            self.calls.lock().unwrap().push(brought);
            answers
        }

        fn calls(&self) -> Vec<Vec<&'static str>> {
            std::mem::take(&mut self.calls.lock().unwrap())
        }
    }

    fn jobs(all: Vec<Encoded>) -> (Vec<Job>, Vec<oneshot::Receiver<Result<PushState, String>>>) {
        let job = |parts| {
            let (answer, outcome) = oneshot::channel();
            (Job { parts, answer }, outcome)
        };
        all.into_iter().map(job).unzip()
    }

    async fn called_with(far: &Arc<Finds>, known: &Known, all: Vec<Encoded>) -> Vec<Result<PushState, String>> {
        let (jobs, outcomes) = jobs(all);
        call(&far.line(), known, jobs).await;
        let mut states = Vec::new();
        for outcome in outcomes {
            states.push(outcome.await.unwrap());
        }
        states
    }

    #[tokio::test]
    async fn an_audience_object_goes_once_and_again_to_who_does_not_find_it() {
        let (far, known) = (Arc::new(Finds::default()), Known::default());
        let held = || Ok::<_, String>(PushState::Held);
        let two_audiences = || vec![under(1, 0, 1), under(1, 1, 1), under(2, 2, 1), under(1, 3, 1)];
        assert_eq!(called_with(&far, &known, two_audiences()).await, [held(), held(), held(), held()]);
        assert_eq!(far.calls(), [["bytes", "name", "bytes", "name"]], "the first of each brings it");
        assert_eq!(called_with(&far, &known, two_audiences()).await, [held(), held(), held(), held()]);
        assert_eq!(far.calls(), [["name"; 4]], "acknowledged before");
        // It was started again over a store that lost one of them.
        far.here.lock().unwrap().remove(&1);
        assert_eq!(called_with(&far, &known, two_audiences()).await, [held(), held(), held(), held()]);
        assert_eq!(
            far.calls(),
            [vec!["name"; 4], vec!["bytes", "name", "name"]],
            "those that want it go again at once"
        );
        assert_eq!(called_with(&far, &known, vec![under(1, 4, 1)]).await, [held()]);
        assert_eq!(far.calls(), [["name"]]);
    }

    #[tokio::test]
    async fn only_what_is_held_counts_as_acknowledged_and_nothing_goes_a_third_time() {
        let (far, known) = (Arc::new(Finds::default()), Known::default());
        let refused = || Ok::<_, String>(PushState::Refused(String::new()));
        for _ in 0..2 {
            assert_eq!(called_with(&far, &known, vec![under(1, 9, 1)]).await, [refused()]);
            assert_eq!(far.calls(), [["bytes"]]);
        }
        // What the first one brought was not kept: the others name it in vain, and one of them brings it.
        let states = called_with(&far, &known, vec![under(1, 9, 1), under(1, 0, 1), under(1, 2, 1)]).await;
        assert_eq!(states, [refused(), Ok(PushState::Held), Ok(PushState::Held)]);
        assert_eq!(far.calls(), [vec!["bytes", "name", "name"], vec!["bytes", "name"]]);

        let wants = |objects: Vec<peer::Sealed>| -> Answering {
            let wanted =
                |_| peer::PushResult { header_hash: Vec::new(), state: AUDIENCE_WANTED.into(), reason: String::new() };
            let answers: Vec<peer::PushResult> = objects.iter().map(wanted).collect();
            Box::pin(async move { Ok::<_, String>(answers) })
        };
        let (stubborn, outcomes) = jobs(vec![under(1, 0, 1)]);
        let line: Line = Arc::new(wants);
        call(&line, &known, stubborn).await;
        for outcome in outcomes {
            assert!(outcome.await.unwrap().is_err());
        }
    }
}
