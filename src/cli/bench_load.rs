//! `hufu bench load`: publishes Chinese records, as anybody would, so that there is something to search.

use super::args::Globals;
use super::bench::{Seen, connect, report};
use super::bench_publish::{Under, fresh, request};
use super::bench_text::{Chars, text};
use super::client::{block_on, fault};
use super::import::progress;
use super::output::Out;
use crate::domain::fault::{Fault, FaultKind};
use crate::wire::pb::v1;
use crate::wire::pb::v1::records_client::RecordsClient;
use indicatif::ProgressBar;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use tonic::transport::Channel;

/// A publish that a node cannot take at the moment is asked for so often, as the same request; then its client ends.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);

#[derive(clap::Args)]
pub(super) struct Load {
    /// How many records, 1 to 10000000.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    records: u64,
    /// Characters of each text, from and to.
    #[arg(long, default_value = "300-600", value_name = "FROM-TO")]
    chars: Chars,
    /// The same seed makes the same texts.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Clients at once, each with one request in flight, 1 to 512.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=512))]
    clients: u32,
    #[command(flatten)]
    under: Under,
}

/// What all clients of a load share.
struct Work {
    next: AtomicU64,
    records: u64,
    chars: Chars,
    seed: u64,
    bar: ProgressBar,
}

pub(super) fn run(ask: &Load, g: &Globals, out: &Out) -> Result<ExitCode, Fault> {
    block_on(async {
        let clients = connect(g, ask.clients).await?;
        let work = Arc::new(Work {
            next: AtomicU64::new(0),
            records: ask.records,
            chars: ask.chars,
            seed: ask.seed,
            bar: progress(ask.records, out),
        });
        let begin = Instant::now();
        let mut running = Vec::new();
        for client in clients {
            let request = request(&client, ask.under.grade, &ask.under.agreement, &ask.under.wait);
            running.push(tokio::spawn(one_client(client.records(), request, Arc::clone(&work))));
        }
        let mut all = Seen::default();
        for task in running {
            all.add(task.await.map_err(|e| Fault::internal("RUNTIME", e.to_string()))?);
        }
        work.bar.finish_and_clear();
        Ok(report("load", &mut all, begin.elapsed(), out))
    })
}

async fn one_client(mut records: RecordsClient<Channel>, mut request: v1::PublishRequest, work: Arc<Work>) -> Seen {
    let mut seen = Seen::default();
    loop {
        let number = work.next.fetch_add(1, Ordering::Relaxed);
        if number >= work.records {
            return seen;
        }
        let made = text(work.seed, number, work.chars);
        request.title = made.title;
        request.body = made.body.into_bytes();
        fresh(&mut request);
        let mut tries = 0;
        loop {
            let sent = Instant::now();
            let why = match records.publish(request.clone()).await {
                Ok(_) => break seen.took(sent.elapsed()),
                Err(status) => fault(status),
            };
            tries += 1;
            if why.kind != FaultKind::Unavailable || tries == TRIES {
                seen.failed(why).await;
                return seen;
            }
            tokio::time::sleep(PAUSE).await;
        }
        work.bar.inc(1);
    }
}
