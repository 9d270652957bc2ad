//! `hufu bench open`: opening existing records with a purpose, each opening audited before its text is given.

use super::args::Globals;
use super::bench::{Operation, Span, connect, measure, report};
use super::bench_publish::{fill, fresh, request};
use super::client::{Client, block_on, fault};
use super::output::Out;
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::AgreementId;
use crate::domain::label::Grade;
use crate::wire::pb::v1;
use crate::wire::pb::v1::records_client::RecordsClient;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tonic::transport::Channel;

/// Most lines of one answer to a list.
const PAGE: u32 = 500;

#[derive(clap::Args)]
pub(super) struct Open {
    #[command(flatten)]
    span: Span,
    /// Records that are opened by turns, 1 to 100000.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    records: u32,
    /// Publish these records first, under this agreement; without it the newest are taken that you may see.
    #[arg(long)]
    agreement: Option<AgreementId>,
    /// Size of each body that is published first, in bytes, up to 1 MiB.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    bytes: u32,
    /// Grade of what is published first: internal, confidential, secret or top-secret.
    #[arg(long, default_value = "secret")]
    grade: Grade,
    /// Why: a case number or an order, 1 to 200 characters.
    #[arg(long, default_value = "演练 bench")]
    purpose: String,
}

pub(super) fn run(ask: &Open, g: &Globals, out: &Out) -> Result<ExitCode, Fault> {
    block_on(async {
        let clients = connect(g, ask.span.clients).await?;
        let ids = Arc::new(match &ask.agreement {
            Some(agreement) => published(&clients, ask, agreement).await?,
            None => newest(&clients, ask).await?,
        });
        if ids.is_empty() {
            let none = Fault::new(FaultKind::NotFound, "NOT_FOUND", "there is no record that you may open");
            return Err(none.hint("publish some, or add --agreement ID"));
        }
        // Each client begins elsewhere, so that they do not follow each other through the records.
        let apart = (ids.len() / clients.len().max(1)).max(1);
        let opening = |(n, client): (usize, Client)| Opening {
            records: client.records(),
            ids: Arc::clone(&ids),
            next: n.saturating_mul(apart),
            request: v1::OpenRequest { purpose: ask.purpose.clone(), ..v1::OpenRequest::default() },
        };
        let all: Vec<_> = clients.into_iter().enumerate().map(opening).collect();
        let mut all = measure(all, ask.span.seconds).await?;
        Ok(report("open", &mut all, Duration::from_secs(ask.span.seconds), out))
    })
}

/// Publishes the records, shared out among the clients.
async fn published(clients: &[Client], ask: &Open, agreement: &AgreementId) -> Result<Vec<String>, Fault> {
    let share = (ask.records as usize).div_ceil(clients.len().max(1));
    let mut running = Vec::new();
    let mut left = ask.records as usize;
    for client in clients {
        let count = share.min(left);
        left = left.saturating_sub(count);
        let (mut records, bytes) = (client.records(), ask.bytes);
        let mut request = request(client, ask.grade, agreement, "none");
        running.push(tokio::spawn(async move {
            let mut ids = Vec::with_capacity(count);
            for _ in 0..count {
                fresh(&mut request);
                fill(&mut request.body, bytes);
                ids.push(records.publish(request.clone()).await.map_err(fault)?.into_inner().record);
            }
            Ok::<_, Fault>(ids)
        }));
    }
    let mut ids = Vec::new();
    for task in running {
        ids.extend(task.await.map_err(|e| Fault::internal("RUNTIME", e.to_string()))??);
    }
    Ok(ids)
}

/// The newest records that this person may see.
async fn newest(clients: &[Client], ask: &Open) -> Result<Vec<String>, Fault> {
    let mut ids: Vec<String> = Vec::new();
    let Some(client) = clients.first() else { return Ok(ids) };
    let (mut records, wanted) = (client.records(), ask.records as usize);
    while ids.len() < wanted {
        let limit = u32::try_from(wanted - ids.len()).unwrap_or(PAGE).min(PAGE);
        let after = ids.last().cloned().unwrap_or_default();
        let page = v1::ListRequest { purpose: ask.purpose.clone(), limit, after };
        let hits = records.list(page).await.map_err(fault)?.into_inner().hits;
        if hits.is_empty() {
            break;
        }
        ids.extend(hits.into_iter().map(|h| h.record));
    }
    Ok(ids)
}

struct Opening {
    records: RecordsClient<Channel>,
    ids: Arc<Vec<String>>,
    next: usize,
    request: v1::OpenRequest,
}

impl Operation for Opening {
    fn prepare(&mut self) {
        let at = self.next % self.ids.len().max(1);
        self.request.record = self.ids.get(at).cloned().unwrap_or_default();
        self.next = self.next.wrapping_add(1);
    }

    async fn send(&mut self) -> Result<(), Fault> {
        self.records.open(self.request.clone()).await.map(drop).map_err(fault)
    }
}
