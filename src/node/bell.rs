//! Wakes people: each ring goes to the command and to the webhook, whichever there are, and the book is told when all
//! of them took it.
//!
//! Each way has a queue and a worker of its own for each precedence, exercises apart: an endpoint that is dead, and a
//! command that hangs over a routine notice or an exercise, stand in front of nothing else. What has no room, and what still
//! fails after several tries, is told in the log; it is rung again at the next start, because the book was not told.

use super::hook::Hook;
use super::webhook::WebhookSender;
use crate::config::Notices;
use crate::domain::fault::Fault;
use crate::domain::notice::Precedence;
use crate::notice::{LetterDigest, Step};
use crate::service::{Bell, Ring};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Rings that wait in one queue.
const WAITING: usize = 1_024;
/// One try may take this long.
const TRY: Duration = Duration::from_secs(10);
/// Pauses before a failed try is repeated.
const AGAIN: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30)];

/// What was rung.
pub(super) type Rung = (LetterDigest, Option<Step>);

/// One way to wake people.
enum Way {
    Command(Hook),
    Webhook(WebhookSender),
}

/// A ring on all its ways.
struct Job {
    ring: Ring,
    /// Ways that have not taken it yet.
    left: AtomicUsize,
}

type Queues = BTreeMap<(Precedence, bool), mpsc::Sender<Arc<Job>>>;

/// Hands rings to the workers.
pub(super) struct Bells {
    ways: Vec<Queues>,
}

impl Bells {
    /// Starts the workers; what they rang comes out of the channel.
    ///
    /// # Errors
    /// A webhook whose address, secret or authorities cannot be used.
    pub(super) fn start(config: &Notices) -> Result<(Bells, mpsc::Receiver<Rung>), Fault> {
        let command = (!config.command.is_empty()).then(|| Way::Command(Hook::new(config.command.clone())));
        let webhook = config.webhook.as_ref().map(WebhookSender::new).transpose()?.map(Way::Webhook);
        let (rung, told) = mpsc::channel(WAITING);
        let ways = command.into_iter().chain(webhook).map(|way| queues(Arc::new(way), &rung)).collect();
        Ok((Bells { ways }, told))
    }
}

fn queues(way: Arc<Way>, rung: &mpsc::Sender<Rung>) -> Queues {
    let kinds = Precedence::ALL.iter().flat_map(|p| [(*p, false), (*p, true)]);
    let worker = |kind| {
        let (jobs, mut queue) = mpsc::channel::<Arc<Job>>(WAITING);
        let (way, rung) = (Arc::clone(&way), rung.clone());
        tokio::spawn(async move {
            while let Some(job) = queue.recv().await {
                if way.ring(&job.ring).await
                    && job.left.fetch_sub(1, Ordering::AcqRel) == 1
                    && let Some(of) = job.ring.of
                {
                    // A disk that is behind holds up who rings, and the rings that wait are bounded.
                    let _ = rung.send(of).await;
                }
            }
        });
        (kind, jobs)
    };
    kinds.map(worker).collect()
}

impl Bell for Bells {
    fn ring(&self, ring: Ring) {
        // Without a command or webhook nobody is told outside the screens, and the book has nothing to keep.
        let kind = (ring.precedence, ring.exercise);
        let job = Arc::new(Job { ring, left: AtomicUsize::new(self.ways.len()) });
        for queue in self.ways.iter().filter_map(|way| way.get(&kind)) {
            if let Err(error) = queue.try_send(Arc::clone(&job)) {
                tracing::error!(notice = %job.ring.notice, %error, "whoever wakes people is too slow; a ring was left out");
            }
        }
    }
}

impl Way {
    /// True when it was taken.
    async fn ring(&self, ring: &Ring) -> bool {
        let line = line(ring);
        match self {
            Way::Command(hook) => again(ring, "command", || hook.run(&line)).await,
            Way::Webhook(webhook) => again(ring, "webhook", || webhook.post(&line)).await,
        }
    }
}

/// Tries until it worked, with growing pauses, and not for ever.
async fn again<F: Future<Output = Result<(), String>>>(ring: &Ring, way: &str, once: impl Fn() -> F) -> bool {
    let mut pauses = AGAIN.iter();
    loop {
        let why = match timeout(TRY, once()).await {
            Ok(Ok(())) => return true,
            Ok(Err(why)) => why,
            Err(_) => "it did not end in time".to_owned(),
        };
        let Some(pause) = pauses.next() else {
            tracing::error!(notice = %ring.notice, event = ring.event, way, %why, "people could not be woken; given up");
            return false;
        };
        tracing::warn!(notice = %ring.notice, event = ring.event, way, %why, "people could not be woken; tried again");
        sleep(*pause).await;
    }
}

/// One JSON object in a line, and nothing of what the notice says.
fn line(ring: &Ring) -> String {
    let Ring { event, notice, agency, precedence, grade, exercise, call, of: _ } = ring;
    let json = json!({
        "event": event, "notice": notice.to_string(), "agency": agency.to_string(), "precedence": precedence.as_str(),
        "grade": grade.to_string(), "exercise": exercise, "call": call,
    });
    format!("{json}\n")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "test")]
mod tests {
    use super::*;
    use crate::config::Webhook;
    use crate::domain::ids::NoticeId;
    use crate::domain::label::Grade;

    fn ring(n: u8) -> Ring {
        let (agency, precedence, grade) = ("customs".parse().unwrap(), Precedence::Flash, Grade::Secret);
        let (notice, of) = (NoticeId::from_bytes([n; 16]), Some(([n; 32], None)));
        Ring { event: "received", notice, agency, precedence, grade, exercise: false, call: Vec::new(), of }
    }

    /// An endpoint that takes connections and never answers holds up no command, and what it did not take is not told.
    #[tokio::test]
    async fn a_dead_webhook_holds_up_no_command() {
        let dir = tempfile::tempdir().unwrap();
        let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "sixteen bytes or more").unwrap();
        let url = format!("http://{}/", dead.local_addr().unwrap());
        let rang = dir.path().join("rang");
        let command = ["/bin/sh", "-c", "/bin/cat >> \"$0\"", rang.to_str().unwrap()].map(str::to_owned).into();
        let webhook = Some(Webhook { url, secret, ca: None });
        let (bells, mut told) = Bells::start(&Notices { command, webhook, ..Notices::default() }).unwrap();
        for n in 0..3 {
            bells.ring(ring(n));
        }
        let all = async {
            while std::fs::read_to_string(&rang).unwrap_or_default().lines().count() < 3 {
                tokio::task::yield_now().await;
            }
        };
        // Less than one try of the webhook.
        timeout(TRY / 2, all).await.unwrap();
        assert!(told.try_recv().is_err(), "not every way took it");
    }
}
