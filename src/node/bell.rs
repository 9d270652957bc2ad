//! Wakes people: each ring goes to the command and to the webhook, whichever there are, and the book is told when all
//! of them took it.
//!
//! Each precedence has a queue and a worker of its own, so that a command that hangs over a routine notice does not stand
//! in front of a flash. What has no room, and what still fails after several tries, is told in the log; it is rung again at
//! the next start, because the book was not told.

use super::hook::Hook;
use super::webhook::WebhookSender;
use crate::config::Notices;
use crate::domain::fault::Fault;
use crate::domain::notice::Precedence;
use crate::notice::{LetterDigest, Step};
use crate::service::{Bell, Ring};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Rings of one precedence that wait.
const WAITING: usize = 1_024;
/// One try may take this long.
const TRY: Duration = Duration::from_secs(10);
/// Pauses before a failed try is repeated.
const AGAIN: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30)];

/// What was rung.
pub(super) type Rung = (LetterDigest, Option<Step>);

struct Ways {
    command: Option<Hook>,
    webhook: Option<WebhookSender>,
}

/// Hands rings to the workers.
pub(super) struct Bells {
    queues: Vec<mpsc::Sender<Ring>>,
}

impl Bells {
    /// Starts the workers; what they rang comes out of the channel.
    ///
    /// # Errors
    /// A webhook whose address, secret or authorities cannot be used.
    pub(super) fn start(config: &Notices) -> Result<(Bells, mpsc::UnboundedReceiver<Rung>), Fault> {
        let command = (!config.command.is_empty()).then(|| Hook::new(config.command.clone()));
        let webhook = config.webhook.as_ref().map(WebhookSender::new).transpose()?;
        let ways = Arc::new(Ways { command, webhook });
        let (rung, told) = mpsc::unbounded_channel();
        let mut queues = Vec::new();
        if ways.command.is_some() || ways.webhook.is_some() {
            for _ in Precedence::ALL {
                let (rings, mut queue) = mpsc::channel::<Ring>(WAITING);
                let (ways, rung) = (Arc::clone(&ways), rung.clone());
                tokio::spawn(async move {
                    while let Some(ring) = queue.recv().await {
                        if ways.ring(&ring).await {
                            let _ = rung.send(ring.of);
                        }
                    }
                });
                queues.push(rings);
            }
        }
        Ok((Bells { queues }, told))
    }
}

impl Bell for Bells {
    fn ring(&self, ring: Ring) {
        // Without a command or webhook nobody is told outside the screens, and the book has nothing to keep.
        let Some(queue) = self.queues.get(ring.precedence as usize) else { return };
        if let Err(error) = queue.try_send(ring) {
            tracing::error!(%error, "whoever wakes people is too slow; a ring was left out");
        }
    }
}

impl Ways {
    /// True when every way took it.
    async fn ring(&self, ring: &Ring) -> bool {
        let line = line(ring);
        let command = async {
            match &self.command {
                Some(hook) => again(ring, "command", || hook.run(&line)).await,
                None => true,
            }
        };
        let webhook = async {
            match &self.webhook {
                Some(webhook) => again(ring, "webhook", || webhook.post(&line)).await,
                None => true,
            }
        };
        let (command, webhook) = tokio::join!(command, webhook);
        command && webhook
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
