//! `hufu guide sign|list|end`: a classifier's standing marking guide.

use super::act::Signer;
use super::args::Globals;
use super::client::{Client, block_on, fault};
use super::output::Out;
use crate::domain::agreement::Guide;
use crate::domain::canon::Canon;
use crate::domain::fault::Fault;
use crate::domain::ids::AgreementId;
use crate::domain::label::Grade;
use crate::domain::record::Kind;
use crate::domain::time::{Clock, Millis};
use crate::ledger::{Act, guide_id};
use crate::node::SystemClock;
use crate::wire::pb::v1;
use data_encoding::HEXLOWER;
use serde_json::json;
use std::process::ExitCode;

/// The version of a guide that stands.
const STANDING: u32 = 1;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Approve in advance what analysts may publish under an agreement (classifier).
    Sign {
        /// Agreement under which may be published.
        #[arg(long)]
        agreement: AgreementId,
        /// Highest grade covered: internal, confidential, secret or top-secret.
        #[arg(long)]
        grade: Grade,
        /// Kind of record covered; may be given several times, all by default.
        #[arg(long = "kind")]
        kinds: Vec<Kind>,
        /// Until when, as YYYY-MM-DD or RFC 3339; a year from now by default.
        #[arg(long, value_name = "DATE")]
        until: Option<String>,
    },
    /// Guides of the federation, by id.
    List {
        /// Most lines, 1 to 1000.
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        /// Continue after this guide.
        #[arg(long, value_name = "ID")]
        after: Option<String>,
    },
    /// End a guide (its classifier's agency).
    End {
        /// Id of the guide, 32 hexadecimal digits, see `guide list`.
        id: String,
    },
}

pub(super) fn run(command: Command, g: &Globals, out: &Out) -> Result<ExitCode, Fault> {
    block_on(async {
        let client = Client::connect(g).await?;
        match command {
            Command::Sign { agreement, grade, kinds, until } => {
                let signer = Signer::of(&client).await?;
                let guide = Guide {
                    agency: signer.agency.clone(),
                    agreement,
                    kinds: if kinds.is_empty() { Kind::ALL.into() } else { kinds.into_iter().collect() },
                    grade,
                    until: until.map_or(Ok(SystemClock.now().plus_years(1)), |t| Millis::parse(&t))?,
                };
                let act = Act::Guide(guide);
                let id = HEXLOWER.encode(&guide_id(&signer.federation, &act.to_canon()));
                let (state, index) = signer.submit(&client, &act, 0).await?;
                out.answer(&json!({"id": id, "state": state, "index": index}), || {
                    format!("{id}: {}", out.word(&state))
                });
            }
            Command::List { limit, after } => {
                let after = after.unwrap_or_default();
                if !after.is_empty() {
                    guide_of(&after)?;
                }
                let request = v1::ListGuidesRequest { limit, after };
                let r = client.federation().list_guides(request).await.map_err(fault)?.into_inner();
                let rows: Vec<_> = r
                    .guides
                    .iter()
                    .map(|g| {
                        json!({"id": g.id, "agency": g.agency, "agreement": g.agreement, "grade": g.grade,
                            "kinds": g.kinds, "until": Millis(g.until).to_rfc3339(), "state": g.state})
                    })
                    .collect();
                out.table(&["id", "agency", "agreement", "grade", "until", "state"], &rows);
                out.goes_on(r.more, r.guides.last().map(|g| g.id.as_str()));
            }
            Command::End { id } => {
                let guide = guide_of(&id)?;
                let signer = Signer::of(&client).await?;
                let act = Act::EndGuide { agency: signer.agency.clone(), guide };
                let (_, index) = signer.submit(&client, &act, STANDING).await?;
                out.answer(&json!({"guide": id, "state": "ended", "index": index}), || {
                    format!("{id}: {}", out.word("ended"))
                });
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn guide_of(id: &str) -> Result<[u8; 16], Fault> {
    HEXLOWER
        .decode(id.as_bytes())
        .ok()
        .and_then(|b| b.try_into().ok())
        .ok_or_else(|| Fault::usage("BAD_GUIDE", format!("`{id}` is not a guide's id")).hint("see `hufu guide list`"))
}
