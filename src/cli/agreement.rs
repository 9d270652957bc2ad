//! `hufu agreement draft|sign|list|show|end`.

use super::act::{Signer, UNCERTIFIED};
use super::args::Globals;
use super::client::{Client, block_on, fault};
use super::output::Out;
use crate::config::read_text;
use crate::domain::agreement::Terms;
use crate::domain::canon::Canon;
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, AgreementId};
use crate::domain::label::{Compartment, Grade};
use crate::domain::record::Kind;
use crate::domain::time::{Clock, Millis};
use crate::ledger::Act;
use crate::node::SystemClock;
use crate::wire::pb::v1;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

/// What terms in a file are made of.
const FIELDS: &str = "terms have id, version, parties, kinds, grade, compartments, purpose, default_period_years, \
    legal_basis, retention_years, start and end, the last two in Unix milliseconds";

/// Longest reason for an end, in characters.
const REASON_CHARS: usize = 400;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Draft terms and sign them as the first party's officer.
    Draft(Draft),
    /// Sign a draft as an officer of a party. It is in force when every party has signed and a majority of the voters
    /// certified that.
    Sign {
        /// Agreement to sign.
        id: AgreementId,
    },
    /// All agreements with their versions, by id.
    ///
    /// `in-force` says that every party signed, none ended it, and its end has not come; before its start nothing is
    /// covered. A node holds them against its own clock, and the ledger's time as of its last entries.
    List {
        /// Most agreements, 1 to 1000.
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        /// Continue after this agreement.
        #[arg(long, value_name = "ID")]
        after: Option<AgreementId>,
    },
    /// One agreement; states and dates as `agreement list --help` says.
    Show {
        /// Agreement to show.
        id: AgreementId,
    },
    /// End an agreement at once, as an officer of any party.
    End {
        /// Agreement to end.
        id: AgreementId,
        /// Why it ends, in words.
        #[arg(long)]
        reason: String,
    },
}

#[derive(clap::Args)]
pub(super) struct Draft {
    /// Name of the agreement, e.g. border-2026; one that exists gets a new version.
    id: AgreementId,
    /// Terms as JSON; the options below are ignored then.
    #[arg(long)]
    file: Option<PathBuf>,
    /// Agencies that share, with commas; at least two, the own one among them.
    #[arg(long, value_delimiter = ',')]
    parties: Vec<AgencyId>,
    /// Direction: parties that publish under it, with commas; every party by default.
    #[arg(long = "publisher", value_delimiter = ',')]
    publishers: Vec<AgencyId>,
    /// Highest grade covered: internal, confidential, secret or top-secret.
    #[arg(long, default_value = "internal")]
    grade: Grade,
    /// Compartment covered; may be given several times.
    #[arg(long = "compartment")]
    compartments: Vec<Compartment>,
    /// Kind of record covered; may be given several times, all by default.
    #[arg(long = "kind")]
    kinds: Vec<Kind>,
    /// What it is for, 1 to 400 characters.
    #[arg(long, default_value = "")]
    purpose: String,
    /// Years that a classification lasts by default.
    #[arg(long, value_name = "YEARS", default_value_t = 10)]
    default_period: u8,
    /// Legal basis of its records by default, up to 400 characters.
    #[arg(long, default_value = "")]
    legal_basis: String,
    /// Years that records are kept by default.
    #[arg(long, value_name = "YEARS", default_value_t = 5)]
    retention: u8,
    /// Until when, as YYYY-MM-DD or RFC 3339; a year from now by default.
    #[arg(long, value_name = "DATE")]
    end: Option<String>,
}

pub(super) fn run(command: Command, g: &Globals, out: &Out) -> Result<ExitCode, Fault> {
    block_on(async {
        let client = Client::connect(g).await?;
        match command {
            Command::Draft(d) => {
                let known = list(&client, d.id.as_str()).await?;
                let version = known.iter().map(|a| a.version).max().unwrap_or(0) + 1;
                let terms = d.terms(version)?;
                let (state, index) = sign_terms(&client, &terms).await?;
                say(out, &terms.id, &state, index);
            }
            Command::Sign { id } => {
                let terms = latest(&client, &id).await?;
                let (state, index) = sign_terms(&client, &terms).await?;
                say(out, &id, &state, index);
            }
            Command::List { limit, after } => {
                let after = after.map(|a| a.to_string()).unwrap_or_default();
                let request = v1::ListAgreementsRequest { id: String::new(), limit, after };
                let r = client.federation().list_agreements(request).await.map_err(fault)?.into_inner();
                let rows: Vec<_> = r.agreements.iter().map(view).collect();
                out.table(&["id", "version", "state", "parties", "signed_by", "grade", "compartments", "end"], &rows);
                out.goes_on(r.more, r.agreements.last().map(|a| a.id.as_str()));
            }
            Command::Show { id } => {
                let found = list(&client, id.as_str()).await?;
                // What governs, and whether somebody drafted what is to follow it.
                let governs =
                    found.iter().rev().find(|a| a.state == "in-force").or(found.last()).ok_or_else(unknown)?;
                let draft = found.last().filter(|a| a.state == "draft" && a.version > governs.version);
                let mut shown = view(governs);
                if let Some(fields) = shown.as_object_mut() {
                    fields.insert("newer_draft".into(), json!(draft.map(|a| a.version)));
                }
                out.details(&shown, &[("purpose", "共享目的"), ("newer_draft", "待签署的新版本")]);
            }
            Command::End { id, reason } => {
                if reason.trim().is_empty() || reason.chars().count() > REASON_CHARS {
                    let why = format!("the reason has 1 to {REASON_CHARS} characters");
                    return Err(Fault::usage("BAD_TERMS", why).hint("say in a sentence why sharing ends"));
                }
                let terms = latest(&client, &id).await?;
                let signer = Signer::of(&client).await?;
                let (state, index) =
                    signer.submit(&client, &Act::EndAgreement { id: id.clone(), reason }, terms.version).await?;
                say(out, &id, if state == "done" { "ended" } else { &state }, index);
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Signs terms as an officer of the own agency.
pub(super) async fn sign_terms(client: &Client, terms: &Terms) -> Result<(String, u64), Fault> {
    let signer = Signer::of(client).await?;
    let (state, index) = signer.submit(client, &Act::Agreement(terms.clone()), terms.version.saturating_sub(1)).await?;
    let state = match state.as_str() {
        "done" => "in-force".to_owned(),
        UNCERTIFIED => state,
        _ => "draft".to_owned(),
    };
    Ok((state, index))
}

async fn list(client: &Client, id: &str) -> Result<Vec<v1::Agreement>, Fault> {
    let request = v1::ListAgreementsRequest { id: id.to_owned(), ..v1::ListAgreementsRequest::default() };
    Ok(client.federation().list_agreements(request).await.map_err(fault)?.into_inner().agreements)
}

async fn latest(client: &Client, id: &AgreementId) -> Result<Terms, Fault> {
    let found = list(client, id.as_str()).await?;
    let last = found.last().ok_or_else(unknown)?;
    Terms::from_canon(&last.terms)
        .map_err(|e| Fault::integrity("INTEGRITY", format!("the node gave terms that do not parse: {e}")))
}

fn unknown() -> Fault {
    Fault::not_found().hint("see `hufu agreement list`")
}

fn say(out: &Out, id: &AgreementId, state: &str, index: u64) {
    out.answer(&json!({"agreement": id, "state": state, "index": index}), || format!("{id}: {}", out.word(state)));
}

fn view(a: &v1::Agreement) -> Value {
    json!({"id": a.id, "version": a.version, "state": a.state, "parties": a.parties, "publishers": a.publishers, "signed_by": a.signed_by,
        "grade": a.grade, "compartments": a.compartments, "kinds": a.kinds, "purpose": a.purpose,
        "default_period_years": a.default_period_years,
        "start": Millis(a.start).to_rfc3339(), "end": Millis(a.end).to_rfc3339(), "ended_reason": a.ended_reason})
}

impl Draft {
    fn terms(self, version: u32) -> Result<Terms, Fault> {
        if let Some(file) = self.file {
            let mut terms: Terms = serde_json::from_str(&read_text(&file)?)
                .map_err(|e| Fault::usage("BAD_TERMS", format!("`{}`: {e}", file.display())).hint(FIELDS))?;
            terms.version = version;
            terms.check()?;
            return Ok(terms);
        }
        let now = SystemClock.now();
        let terms = Terms {
            id: self.id,
            version,
            parties: self.parties.into_iter().collect(),
            publishers: self.publishers.into_iter().collect(),
            kinds: if self.kinds.is_empty() { Kind::ALL.into() } else { self.kinds.into_iter().collect() },
            grade: self.grade,
            compartments: self.compartments.into_iter().collect(),
            purpose: self.purpose,
            default_period_years: self.default_period,
            legal_basis: self.legal_basis,
            retention_years: self.retention,
            start: Millis(now.0.saturating_sub(60_000)),
            end: self.end.map_or(Ok(now.plus_years(1)), |t| Millis::parse(&t))?,
        };
        terms.check()?;
        Ok(terms)
    }
}
