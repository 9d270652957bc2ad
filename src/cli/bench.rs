//! `hufu bench`: many clients, one request in flight each, over real TLS to a running node. What its commands share.

use super::args::Globals;
use super::client::Client;
use super::output::{Out, shown};
use crate::domain::fault::{Fault, FaultKind};
use serde_json::json;
use std::collections::BTreeMap;
use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;

/// Not counted: connections, caches and audience keys come to rest.
pub(super) const WARM_UP: Duration = Duration::from_secs(1);

/// A node that refuses at once is not asked at once again.
const AFTER_ERROR: Duration = Duration::from_millis(100);

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Publish records and measure from request to committed answer.
    Publish(super::bench_publish::Publish),
    /// Open records and measure from request to the text; each opening is audited.
    Open(super::bench_open::Open),
    /// Publish Chinese texts of made-up sentences, so that there is something to search.
    Load(super::bench_load::Load),
    /// Search and measure from request to the hits; each hit shown is audited.
    Search(super::bench_search::Search),
    /// Send notices, as exercises, and measure from accepted to the line on the receiver's stream.
    Notice(super::bench_notice::Notice),
}

/// How much load, and for how long.
#[derive(clap::Args)]
pub(super) struct Span {
    /// Clients at once, each with one request in flight, 1 to 512.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=512))]
    pub(super) clients: u32,
    /// How long it is measured, in seconds, 1 to 3600.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(super) seconds: u64,
}

/// What a client does again and again.
pub(super) trait Operation: Send + 'static {
    /// Makes the next request; not measured.
    fn prepare(&mut self);

    /// Sends it, and waits for its answer.
    fn send(&mut self) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// What one client saw.
#[derive(Default)]
pub(super) struct Seen {
    micros: Vec<u32>,
    /// Whether one was done that does not count.
    warmed_up: bool,
    /// What failed, by reason.
    refused: BTreeMap<&'static str, u64>,
    /// The same by kind.
    kinds: BTreeMap<FaultKind, u64>,
    first_error: Option<Fault>,
}

impl Seen {
    /// One operation that counts.
    pub(super) fn took(&mut self, time: Duration) {
        self.micros.push(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
    }

    /// One that does not.
    pub(super) fn passed(&mut self) {
        self.warmed_up = true;
    }

    /// One that failed; a node that refuses at once is not asked at once again.
    pub(super) async fn failed(&mut self, why: Fault) {
        self.refused(why);
        tokio::time::sleep(AFTER_ERROR).await;
    }

    fn refused(&mut self, why: Fault) {
        *self.refused.entry(why.reason).or_default() += 1;
        *self.kinds.entry(why.kind).or_default() += 1;
        self.first_error.get_or_insert(why);
    }

    /// What another client saw.
    pub(super) fn add(&mut self, other: Seen) {
        self.micros.extend(other.micros);
        self.warmed_up |= other.warmed_up;
        for (reason, count) in other.refused {
            *self.refused.entry(reason).or_default() += count;
        }
        for (kind, count) in other.kinds {
            *self.kinds.entry(kind).or_default() += count;
        }
        self.first_error = self.first_error.take().or(other.first_error);
    }

    /// What it comes to: done in part if one was done and another was not; where every one was refused, what most of the
    /// refusals were.
    fn failure(&self) -> Option<FaultKind> {
        let most = self.kinds.iter().max_by_key(|(_, count)| **count).map(|(kind, _)| *kind);
        let nothing_done = self.micros.is_empty() && !self.warmed_up;
        match most {
            None if !self.micros.is_empty() => None,
            Some(kind) if nothing_done => Some(kind),
            _ => Some(FaultKind::Partial),
        }
    }
}

pub(super) fn run(command: Command, g: &Globals, out: &Out) -> Result<ExitCode, Fault> {
    match command {
        Command::Publish(ask) => super::bench_publish::run(&ask, g, out),
        Command::Open(ask) => super::bench_open::run(&ask, g, out),
        Command::Load(ask) => super::bench_load::run(&ask, g, out),
        Command::Search(ask) => super::bench_search::run(&ask, g, out),
        Command::Notice(ask) => super::bench_notice::run(&ask, g, out),
    }
}

/// So many connections of their own.
pub(super) async fn connect(g: &Globals, clients: u32) -> Result<Vec<Client>, Fault> {
    let mut all = Vec::new();
    for _ in 0..clients {
        all.push(Client::connect(g).await?);
    }
    Ok(all)
}

/// Lets all clients work at once, and measures each operation that begins and ends within the time.
pub(super) async fn measure<O: Operation>(clients: Vec<O>, seconds: u64) -> Result<Seen, Fault> {
    let begin = Instant::now() + WARM_UP;
    let end = begin + Duration::from_secs(seconds);
    let running: Vec<_> = clients.into_iter().map(|c| tokio::spawn(one_client(c, begin, end))).collect();
    let mut all = Seen::default();
    for task in running {
        all.add(task.await.map_err(|e| Fault::internal("RUNTIME", e.to_string()))?);
    }
    Ok(all)
}

async fn one_client<O: Operation>(mut client: O, begin: Instant, end: Instant) -> Seen {
    let mut seen = Seen::default();
    loop {
        client.prepare();
        let sent = Instant::now();
        let outcome = client.send().await;
        let now = Instant::now();
        match outcome {
            Ok(()) if sent >= begin && now < end => seen.took(now.duration_since(sent)),
            Ok(()) => seen.passed(),
            Err(why) => seen.failed(why).await,
        }
        if now >= end {
            return seen;
        }
    }
}

/// The one form of all figures.
pub(super) fn report(op: &str, all: &mut Seen, span: Duration, out: &Out) -> ExitCode {
    all.micros.sort_unstable();
    let n = all.micros.len();
    let at = |per_mille: usize| all.micros.get((n * per_mille).div_ceil(1000).saturating_sub(1)).copied().unwrap_or(0);
    let ms = |us: u32| f64::from(us) / 1000.0;
    let per_s = (n as f64 / span.as_secs_f64().max(0.001) * 10.0).round() / 10.0;
    let (p50, p99, max) = (ms(at(500)), ms(at(990)), ms(all.micros.last().copied().unwrap_or(0)));
    let errors: u64 = all.refused.values().sum();
    let json = json!({"op": op, "ops": n, "per_s": per_s, "p50_ms": p50, "p99_ms": p99, "max_ms": max,
        "errors": errors, "refused": all.refused});
    if let Some(why) = &all.first_error {
        out.progress(&format!("{}: {}", out.say("第一个错误", "first error"), shown(&out.told(why))));
    }
    out.answer(&json, || {
        let (op, most, failed) = (out.word(op), out.say("最大", "max"), out.say("错误", "errors"));
        let each = out.say("秒", "s");
        format!("{op}  {n}  {per_s}/{each}  p50 {p50} ms  p99 {p99} ms  {most} {max} ms  {failed} {errors}")
    });
    all.failure().map_or(ExitCode::SUCCESS, |kind| ExitCode::from(kind.exit_code()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_throughout_is_not_done_in_part() {
        let mut all = Seen::default();
        assert_eq!(all.failure(), Some(FaultKind::Partial), "nothing came to an end in its time");
        all.refused(Fault::unavailable("OVERLOADED", "x"));
        for _ in 0..2 {
            let mut one = Seen::default();
            one.refused(Fault::refused("UNKNOWN_AGREEMENT", "x"));
            all.add(one);
        }
        assert_eq!(all.failure(), Some(FaultKind::Refused), "what most of them were");
        let mut other = Seen::default();
        other.passed();
        all.add(other);
        assert_eq!(all.failure(), Some(FaultKind::Partial), "one was done before it counted");
        let mut fine = Seen::default();
        fine.took(Duration::from_millis(1));
        assert_eq!(fine.failure(), None);
        fine.add(all);
        assert_eq!(fine.failure(), Some(FaultKind::Partial));
    }
}
