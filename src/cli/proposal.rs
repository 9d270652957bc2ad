//! `hufu record proposals|approve|reject`: what no marking guide covers waits for a classifier (SSL §16).

use super::act::Signer;
use super::client::{Client, fault};
use super::output::Out;
use super::record::published;
use crate::domain::fault::Fault;
use crate::domain::ids::RecordId;
use crate::domain::time::Millis;
use crate::vault::Part;
use crate::wire::pb::v1;
use serde_json::json;
use std::process::ExitCode;

pub(super) async fn list(
    client: &Client,
    purpose: String,
    (limit, after): (u32, Option<RecordId>),
    out: &Out,
) -> Result<ExitCode, Fault> {
    let after = after.map(|a| a.to_string()).unwrap_or_default();
    let found = waiting(client, v1::ProposalsRequest { purpose, record: String::new(), limit, after }).await?;
    let rows: Vec<_> = found
        .proposals
        .iter()
        .map(|p| {
            json!({"record": p.record, "version": p.version, "title": p.title, "label": p.label, "author": p.author,
                "at": Millis(p.at).to_rfc3339()})
        })
        .collect();
    out.table(&["record", "label", "author", "at", "title"], &rows);
    out.away(&found.away);
    Ok(ExitCode::SUCCESS)
}

/// Signs exactly the envelopes that the node shows; it publishes them and no others.
pub(super) async fn approve(
    client: &Client,
    id: RecordId,
    (wait, wait_seconds): (String, u32),
    purpose: String,
    out: &Out,
) -> Result<ExitCode, Fault> {
    let ask = v1::ProposalsRequest { purpose: purpose.clone(), record: id.to_string(), limit: 1, after: String::new() };
    let signer = Signer::of(client).await?;
    // Of what waits no more nothing is signed: the node says what became of it.
    let found = waiting(client, ask).await?.proposals.into_iter().next();
    let parts = found.into_iter().flat_map(|f| f.parts).map(part).collect::<Result<Vec<_>, _>>()?;
    let request = v1::ApproveRequest {
        record: id.to_string(),
        approval: signer.approval(parts),
        wait,
        wait_ms: wait_seconds.saturating_mul(1000),
        timeout_ms: client.timeout_ms(),
        purpose,
    };
    let r = client.records().approve(request).await.map_err(fault)?.into_inner();
    Ok(published(&r, out))
}

pub(super) async fn reject(client: &Client, id: RecordId, reason: String, out: &Out) -> Result<ExitCode, Fault> {
    let request = v1::RejectRequest { record: id.to_string(), reason };
    let r = client.records().reject(request).await.map_err(fault)?.into_inner();
    out.answer(&json!({"record": id, "version": r.version, "state": "rejected"}), || {
        format!("{id} v{}: {}", r.version, out.word("rejected"))
    });
    Ok(ExitCode::SUCCESS)
}

async fn waiting(client: &Client, ask: v1::ProposalsRequest) -> Result<v1::ProposalsReply, Fault> {
    Ok(client.records().proposals(ask).await.map_err(fault)?.into_inner())
}

fn part(p: v1::ProposedPart) -> Result<Part, Fault> {
    let commitment = p.commitment.try_into();
    let commitment =
        commitment.map_err(|_| Fault::internal("INTERNAL", "the node sent a commitment of another length"))?;
    Ok((p.record.parse()?, p.version, commitment))
}
