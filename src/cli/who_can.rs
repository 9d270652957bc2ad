//! `hufu record who-can`.

use super::client::{Client, fault};
use super::output::Out;
use crate::domain::fault::Fault;
use crate::domain::ids::RecordId;
use crate::wire::pb::v1;
use serde_json::json;
use std::process::ExitCode;

#[derive(clap::Args)]
pub(super) struct WhoCan {
    /// Record to ask about; its newest version counts.
    id: RecordId,
    /// Why: a case number or an order, 1 to 200 characters.
    #[arg(long)]
    purpose: String,
}

pub(super) async fn run(ask: WhoCan, client: &Client, out: &Out) -> Result<ExitCode, Fault> {
    let request = v1::WhoCanRequest { record: ask.id.to_string(), purpose: ask.purpose };
    let r = client.records().who_can(request).await.map_err(fault)?.into_inner();
    let rows: Vec<_> = r
        .lines
        .iter()
        .map(|l| {
            let who = (!l.who.is_empty()).then_some(&l.who);
            json!({"agency": l.agency, "who": who, "may": l.may, "rule": l.rule})
        })
        .collect();
    out.table(&["agency", "who", "may", "rule"], &rows);
    let total = json!({"total": rows.len(), "ledger_index": r.ledger_index});
    out.answer(&total, || format!("{} {}", out.say("共", "total"), rows.len()));
    Ok(ExitCode::SUCCESS)
}
