//! `hufu record amend`.

use super::client::{Client, fault};
use super::output::Out;
use super::record::{body, given_id, portion, published, request_id, unclear};
use crate::domain::fault::Fault;
use crate::domain::ids::RecordId;
use crate::wire::pb::v1;
use clap::builder::NonEmptyStringValueParser;
use data_encoding::HEXLOWER;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args)]
pub(super) struct Amend {
    /// Record of the own agency.
    id: RecordId,
    /// The version that you saw. If another one is the newest, nothing is done (exit 7); 0 takes whichever is.
    #[arg(long, default_value_t = 0)]
    version: u32,
    /// Another title, 1 to 300 characters.
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    title: Option<String>,
    /// File with another text, UTF-8, up to 16 MiB; above 1 MiB without further texts.
    #[arg(long, conflicts_with = "body")]
    body_file: Option<PathBuf>,
    /// Another text itself.
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    body: Option<String>,
    /// Further texts in the place of all that there were: each FILE at a grade, that of the record or lower. No lower grade that is
    /// published may be left out.
    #[arg(long = "portion", value_name = "FILE:GRADE")]
    portions: Vec<String>,
    /// What was wrong or what is new, 1 to 200 characters; it stands in the audit log.
    #[arg(long)]
    reason: String,
    /// none: committed; one: replicated; all: complete.
    #[arg(long, default_value = "one", value_parser = ["none", "one", "all"])]
    wait: String,
    /// How long to wait for copies, in seconds, at most 60.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u32).range(..=60))]
    wait_seconds: u32,
    /// Id of an amendment without a clear answer, 32 hex digits: the same again is made once, also at another node of the agency.
    #[arg(long, value_name = "HEX")]
    request_id: Option<String>,
}

pub(super) async fn run(ask: Amend, client: &Client, out: &Out) -> Result<ExitCode, Fault> {
    let large = match &ask.body_file {
        Some(file) => super::large::size(file)?.map(|bytes| (file.clone(), bytes)),
        None => None,
    };
    let body = match &large {
        Some(_) => Vec::new(),
        None => body(ask.body.as_ref(), ask.body_file.as_deref())?.unwrap_or_default(),
    };
    let request = v1::AmendRequest {
        record: ask.id.to_string(),
        version: ask.version,
        title: ask.title.unwrap_or_default(),
        body,
        portions: ask.portions.iter().map(|text| portion(text)).collect::<Result<_, _>>()?,
        reason: ask.reason,
        wait: ask.wait,
        wait_ms: ask.wait_seconds.saturating_mul(1000),
        timeout_ms: client.timeout_ms(),
        request_id: ask.request_id.as_deref().map_or_else(|| Ok(request_id()), given_id)?,
        repeats: ask.request_id.is_some(),
    };
    let id = HEXLOWER.encode(&request.request_id);
    let answered = match &large {
        Some((file, bytes)) => super::large::amend(client, request, (file.as_path(), *bytes)).await,
        None => client.records().amend(request).await.map(|r| r.into_inner()).map_err(fault),
    };
    Ok(published(&answered.map_err(|f| unclear(f, &id))?, out))
}
