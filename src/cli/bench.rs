//! `hufu bench publish|notice`: many clients, one request in flight each, over real TLS to a running node.

use super::args::Globals;
use super::client::{Client, block_on, fault};
use super::output::{Out, shown};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::AgreementId;
use crate::domain::label::Grade;
use crate::domain::time::Entropy;
use crate::node::SystemEntropy;
use crate::wire::pb::v1;
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;

/// Not counted: connections, caches and audience keys come to rest.
pub(super) const WARM_UP: Duration = Duration::from_secs(1);

/// A node that refuses at once is not asked at once again.
const AFTER_ERROR: Duration = Duration::from_millis(10);

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Publish records and measure from request to committed answer.
    Publish(Publish),
    /// Send notices, as exercises, and measure from accepted to the line on the receiver's stream.
    Notice(super::bench_notice::Notice),
}

#[derive(clap::Args)]
pub(super) struct Publish {
    /// Clients at once, each with one request in flight, 1 to 512.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=512))]
    clients: u32,
    /// How long it is measured, in seconds, 1 to 3600.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Size of each body in bytes, up to 1 MiB.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    bytes: u32,
    /// Agreement under which the records are published.
    #[arg(long)]
    agreement: AgreementId,
    /// Grade of the records: internal, confidential, secret or top-secret.
    #[arg(long, default_value = "secret")]
    grade: Grade,
    /// none: committed; one: replicated; all: complete.
    #[arg(long, default_value = "none", value_parser = ["none", "one", "all"])]
    wait: String,
}

/// What one client saw.
#[derive(Default)]
pub(super) struct Seen {
    micros: Vec<u32>,
    errors: u64,
    first_error: Option<Fault>,
}

impl Seen {
    /// One operation that counts.
    pub(super) fn took(&mut self, time: Duration) {
        self.micros.push(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
    }

    /// One that failed; a node that refuses at once is not asked at once again.
    pub(super) async fn failed(&mut self, why: Fault) {
        self.errors += 1;
        self.first_error.get_or_insert(why);
        tokio::time::sleep(AFTER_ERROR).await;
    }

    /// What another client saw.
    pub(super) fn add(&mut self, other: Seen) {
        self.micros.extend(other.micros);
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
    }
}

pub(super) fn run(command: Command, g: &Globals, out: &Out) -> Result<ExitCode, Fault> {
    let ask = match command {
        Command::Publish(ask) => ask,
        Command::Notice(ask) => return super::bench_notice::run(&ask, g, out),
    };
    block_on(async {
        let mut clients = Vec::new();
        for _ in 0..ask.clients {
            clients.push(Client::connect(g).await?);
        }
        let begin = Instant::now() + WARM_UP;
        let end = begin + Duration::from_secs(ask.seconds);
        let mut running = Vec::new();
        for client in clients {
            let request = request(&ask, client.timeout_ms());
            running.push(tokio::spawn(one_client(client, request, begin, end)));
        }
        let mut all = Seen::default();
        for task in running {
            all.add(task.await.map_err(|e| Fault::internal("RUNTIME", e.to_string()))?);
        }
        Ok(report("publish", &mut all, ask.seconds, out))
    })
}

fn request(ask: &Publish, timeout_ms: u32) -> v1::PublishRequest {
    v1::PublishRequest {
        title: "演练 bench".into(),
        body: vec![0; ask.bytes as usize],
        grade: ask.grade.to_string(),
        agreement: ask.agreement.to_string(),
        kind: "report".into(),
        wait: ask.wait.clone(),
        wait_ms: 2000,
        timeout_ms,
        ..v1::PublishRequest::default()
    }
}

async fn one_client(client: Client, mut request: v1::PublishRequest, begin: Instant, end: Instant) -> Seen {
    let mut seen = Seen::default();
    let mut records = client.records();
    loop {
        let mut id = [0u8; 16];
        SystemEntropy.fill(&mut id);
        request.request_id = id.to_vec();
        // Text that does not repeat: printable, from the system's randomness.
        SystemEntropy.fill(&mut request.body);
        request.body.iter_mut().for_each(|b| *b = b' ' + *b % 94);
        let sent = Instant::now();
        let outcome = records.publish(request.clone()).await;
        let now = Instant::now();
        match outcome {
            Ok(_) if sent >= begin && now < end => {
                seen.took(now.duration_since(sent));
            }
            Ok(_) => {}
            Err(status) => {
                seen.failed(fault(status)).await;
            }
        }
        if now >= end {
            return seen;
        }
    }
}

pub(super) fn report(op: &str, all: &mut Seen, seconds: u64, out: &Out) -> ExitCode {
    all.micros.sort_unstable();
    let n = all.micros.len();
    let at = |per_mille: usize| all.micros.get((n * per_mille).div_ceil(1000).saturating_sub(1)).copied().unwrap_or(0);
    let ms = |us: u32| f64::from(us) / 1000.0;
    let per_s = (n as f64 / seconds as f64 * 10.0).round() / 10.0;
    let (p50, p99, max) = (ms(at(500)), ms(at(990)), ms(all.micros.last().copied().unwrap_or(0)));
    let json = json!({"op": op, "ops": n, "per_s": per_s, "p50_ms": p50, "p99_ms": p99, "max_ms": max,
        "errors": all.errors});
    if let Some(why) = &all.first_error {
        out.progress(&format!("{}: {}", out.say("第一个错误", "first error"), shown(&out.told(why))));
    }
    out.answer(&json, || {
        let (op, most, errors) = (out.word(op), out.say("最大", "max"), out.say("错误", "errors"));
        let each = out.say("秒", "s");
        format!("{op}  {n}  {per_s}/{each}  p50 {p50} ms  p99 {p99} ms  {most} {max} ms  {errors} {}", all.errors)
    });
    if all.errors == 0 && n > 0 { ExitCode::SUCCESS } else { ExitCode::from(FaultKind::Partial.exit_code()) }
}
