//! `hufu bench notice`: from accepted at the sender to the line on the receiver's stream, on one clock.

use super::args::Globals;
use super::bench::{Seen, WARM_UP, report};
use super::client::{Client, block_on, fault};
use super::notice::displayed;
use super::output::Out;
use crate::domain::fault::Fault;
use crate::domain::ids::AgencyId;
use crate::domain::label::Grade;
use crate::domain::notice::Precedence;
use crate::wire::pb::v1;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// A notice that did not come in after this long is an error.
const LOST: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub(super) struct Notice {
    /// Agency that is addressed.
    #[arg(long)]
    to: AgencyId,
    /// Profile of a person of the addressee, who watches.
    #[arg(long, value_name = "FILE")]
    receiver_profile: PathBuf,
    /// flash 特提, immediate 特急, priority 加急 or routine 平急.
    #[arg(long, default_value = "priority")]
    precedence: Precedence,
    /// Grade: internal, confidential, secret or top-secret.
    #[arg(long, default_value = "internal")]
    grade: Grade,
    /// Clients at once, each with one notice under way, 1 to 256.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    clients: u32,
    /// How long it is measured, in seconds, 1 to 3600.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
}

/// When each notice came out of the receiver's stream.
#[derive(Default)]
struct Arrived {
    at: Mutex<BTreeMap<String, Instant>>,
    changed: Notify,
}

impl Arrived {
    async fn of(&self, notice: &str) -> Instant {
        loop {
            let changed = self.changed.notified();
            if let Some(at) = self.at.lock().unwrap_or_else(PoisonError::into_inner).remove(notice) {
                return at;
            }
            changed.await;
        }
    }
}

pub(super) fn run(ask: &Notice, g: &Globals, out: &Out) -> Result<ExitCode, Fault> {
    block_on(async {
        let receiver = Client::with(&ask.receiver_profile, Duration::from_secs(10)).await?;
        let arrived = Arc::new(Arrived::default());
        let watching = tokio::spawn(watch(receiver, Arc::clone(&arrived)));
        let begin = Instant::now() + WARM_UP;
        let end = begin + Duration::from_secs(ask.seconds);
        let mut running = Vec::new();
        for _ in 0..ask.clients {
            let client = Client::connect(g).await?;
            running.push(tokio::spawn(one_client(client, request(ask), Arc::clone(&arrived), begin, end)));
        }
        let mut all = Seen::default();
        for task in running {
            all.add(task.await.map_err(|e| Fault::internal("RUNTIME", e.to_string()))?);
        }
        if watching.is_finished() {
            watching.await.map_err(|e| Fault::internal("RUNTIME", e.to_string()))??;
        }
        Ok(report("notice", &mut all, Duration::from_secs(ask.seconds), out))
    })
}

fn request(ask: &Notice) -> v1::NoticeSendRequest {
    v1::NoticeSendRequest {
        to: vec![ask.to.to_string()],
        precedence: ask.precedence.to_string(),
        grade: ask.grade.to_string(),
        subject: "演练 bench".into(),
        body: "演练 bench".into(),
        exercise: true,
        ..v1::NoticeSendRequest::default()
    }
}

/// Takes lines off the stream and confirms each as displayed, as a terminal does.
async fn watch(receiver: Client, arrived: Arc<Arrived>) -> Result<(), Fault> {
    let mut stream = receiver.notices().watch(v1::NoticeWatchRequest {}).await.map_err(fault)?.into_inner();
    while let Some(n) = stream.message().await.map_err(fault)? {
        let now = Instant::now();
        arrived.at.lock().unwrap_or_else(PoisonError::into_inner).insert(n.notice.clone(), now);
        arrived.changed.notify_waiters();
        let mut notices = receiver.notices();
        tokio::spawn(async move { notices.presented(displayed(&n)).await });
    }
    Ok(())
}

async fn one_client(
    client: Client,
    request: v1::NoticeSendRequest,
    arrived: Arc<Arrived>,
    begin: Instant,
    end: Instant,
) -> Seen {
    let mut seen = Seen::default();
    let mut notices = client.notices();
    while Instant::now() < end {
        let sent = Instant::now();
        let outcome = match notices.send(request.clone()).await {
            Ok(reply) => {
                let accepted = Instant::now();
                let came = timeout(LOST, arrived.of(&reply.into_inner().notice)).await;
                came.map(|at| at.saturating_duration_since(accepted))
                    .map_err(|_| Fault::unavailable("DEADLINE", "a notice did not come in"))
            }
            Err(status) => Err(fault(status)),
        };
        match outcome {
            Ok(took) if sent >= begin => seen.took(took),
            Ok(_) => seen.passed(),
            Err(why) => seen.failed(why).await,
        }
    }
    seen
}
