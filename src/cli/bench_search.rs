//! `hufu bench search`: queries with a purpose, by turns; every hit that is shown is authorized and audited.

use super::args::Globals;
use super::bench::{Operation, Span, connect, measure, report};
use super::bench_text::{Chars, query};
use super::client::{Client, block_on, fault};
use super::output::Out;
use crate::config::read_text;
use crate::domain::fault::Fault;
use crate::wire::pb::v1;
use crate::wire::pb::v1::records_client::RecordsClient;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tonic::transport::Channel;

/// How many queries are made of what was loaded.
const QUERIES: u64 = 400;

#[derive(clap::Args)]
pub(super) struct Search {
    #[command(flatten)]
    span: Span,
    /// Queries, one a line; without it they are made of what `bench load` published.
    #[arg(long, value_name = "FILE")]
    query: Option<PathBuf>,
    /// The first so many records of `bench load`, of which queries are made.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    records: u64,
    /// Seed of that load.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Characters of a text in that load, from and to.
    #[arg(long, default_value = "300-600", value_name = "FROM-TO")]
    chars: Chars,
    /// Most hits shown of each query, 1 to 200.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
    /// Why: a case number or an order, 1 to 200 characters.
    #[arg(long, default_value = "演练 bench")]
    purpose: String,
}

pub(super) fn run(ask: &Search, g: &Globals, out: &Out) -> Result<ExitCode, Fault> {
    let queries = Arc::new(queries(ask)?);
    block_on(async {
        let clients = connect(g, ask.span.clients).await?;
        let apart = (queries.len() / clients.len().max(1)).max(1);
        let searching = |(n, client): (usize, Client)| Searching {
            records: client.records(),
            queries: Arc::clone(&queries),
            next: n.saturating_mul(apart),
            request: v1::SearchRequest {
                limit: ask.limit,
                purpose: ask.purpose.clone(),
                ..v1::SearchRequest::default()
            },
        };
        let all: Vec<_> = clients.into_iter().enumerate().map(searching).collect();
        let mut all = measure(all, ask.span.seconds).await?;
        Ok(report("search", &mut all, Duration::from_secs(ask.span.seconds), out))
    })
}

fn queries(ask: &Search) -> Result<Vec<String>, Fault> {
    let Some(file) = &ask.query else {
        return Ok((0..QUERIES).map(|n| query(ask.seed, n, ask.records, ask.chars)).collect());
    };
    let lines: Vec<String> =
        read_text(file)?.lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned).collect();
    if lines.is_empty() {
        return Err(
            Fault::usage("BAD_QUERY", format!("`{}` holds no text", file.display())).hint("give a file with the text")
        );
    }
    Ok(lines)
}

struct Searching {
    records: RecordsClient<Channel>,
    queries: Arc<Vec<String>>,
    next: usize,
    request: v1::SearchRequest,
}

impl Operation for Searching {
    fn prepare(&mut self) {
        let at = self.next % self.queries.len().max(1);
        self.request.query = self.queries.get(at).cloned().unwrap_or_default();
        self.next = self.next.wrapping_add(1);
    }

    async fn send(&mut self) -> Result<(), Fault> {
        self.records.search(self.request.clone()).await.map(drop).map_err(fault)
    }
}
