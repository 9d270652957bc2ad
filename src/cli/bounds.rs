//! `hufu federation ceiling|tier|trust-root|suites`: acts of the whole on what agencies and suites may. Each signer runs the same
//! command.

use super::act::{Signer, UNCERTIFIED};
use super::args::Globals;
use super::client::{Client, block_on, fault};
use super::output::Out;
use crate::config::read_text;
use crate::domain::agency::Tier;
use crate::domain::fault::Fault;
use crate::domain::ids::AgencyId;
use crate::domain::label::{Compartment, Grade};
use crate::identity::authorities;
use crate::ledger::{Act, SuiteState};
use crate::seal::Suite;
use crate::service::{root_fingerprint, unknown_suite};
use crate::wire::pb::v1;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args)]
pub(super) struct Ceiling {
    /// The agency.
    agency: AgencyId,
    /// Highest grade that its nodes may hold.
    #[arg(long)]
    grade: Grade,
    /// Compartment that its nodes may hold; may be given several times. Those that are not named are taken away.
    #[arg(long = "compartment")]
    compartments: Vec<Compartment>,
}

#[derive(clap::Args)]
pub(super) struct TrustRoot {
    /// The agency.
    agency: AgencyId,
    /// Certificate of its authority, ca.pem.
    #[arg(long)]
    ca: PathBuf,
    /// The other one, while one takes the other's place.
    #[arg(long)]
    and: Option<PathBuf>,
}

#[derive(clap::Args)]
pub(super) struct Suites {
    /// The suite to seal with, by its number.
    #[arg(long)]
    preferred: u16,
    /// Suite that is taken too; may be given several times.
    #[arg(long)]
    accepted: Vec<u16>,
    /// Suite that opens what was sealed with it before; may be given several times.
    #[arg(long)]
    decrypt_only: Vec<u16>,
    /// Suite that counts for nothing; may be given several times.
    #[arg(long)]
    forbidden: Vec<u16>,
}

/// Signs for what an agency's systems may hold.
pub(super) fn ceiling(g: &Globals, out: &Out, args: Ceiling) -> Result<ExitCode, Fault> {
    let Ceiling { agency, grade, compartments } = args;
    let compartments: BTreeSet<Compartment> = compartments.into_iter().collect();
    let what = json!({"agency": agency, "ceiling": grade, "compartments": compartments});
    submit(g, out, &Act::Ceiling { agency: agency.clone(), grade, compartments }, Some(&agency), what)
}

/// Signs for an agency's tier.
pub(super) fn tier(g: &Globals, out: &Out, agency: AgencyId, tier: Tier) -> Result<ExitCode, Fault> {
    let what = json!({"agency": agency, "tier": tier});
    submit(g, out, &Act::Tier { agency: agency.clone(), tier }, Some(&agency), what)
}

/// Signs for the authorities of an agency.
pub(super) fn trust_root(g: &Globals, out: &Out, args: TrustRoot) -> Result<ExitCode, Fault> {
    let TrustRoot { agency, ca, and } = args;
    let mut roots = BTreeSet::new();
    for file in std::iter::once(ca).chain(and) {
        roots.extend(authorities(&read_text(&file)?)?);
    }
    if roots.len() > 2 {
        return Err(Fault::usage("BAD_ROOT", "an agency has one authority, or two while one takes the other's place"));
    }
    let fingerprints: Vec<String> = roots.iter().map(|root| root_fingerprint(root)).collect();
    let what = json!({"agency": agency, "roots": fingerprints});
    submit(g, out, &Act::TrustRoot { agency: agency.clone(), roots }, Some(&agency), what)
}

/// Signs for the table of suites.
pub(super) fn suites(g: &Globals, out: &Out, args: &Suites) -> Result<ExitCode, Fault> {
    let states = table(args)?;
    // Known before a node is asked, and before anything is signed.
    if let Some(id) = states.keys().find(|id| Suite::from_id(**id).is_err()) {
        return Err(unknown_suite(*id));
    }
    let words: BTreeMap<String, &str> = states.iter().map(|(id, state)| (id.to_string(), state.as_str())).collect();
    submit(g, out, &Act::Suites(states), None, json!({"suites": words}))
}

/// Each suite has one state.
fn table(args: &Suites) -> Result<BTreeMap<u16, SuiteState>, Fault> {
    let Suites { preferred, accepted, decrypt_only, forbidden } = args;
    let of = |ids: &[u16], state: SuiteState| ids.iter().map(|id| (*id, state)).collect::<Vec<(u16, SuiteState)>>();
    let all = [
        of(&[*preferred], SuiteState::Preferred),
        of(accepted, SuiteState::Accepted),
        of(decrypt_only, SuiteState::DecryptOnly),
        of(forbidden, SuiteState::Forbidden),
    ]
    .concat();
    let mut states = BTreeMap::new();
    for (id, state) in all {
        if states.insert(id, state).is_some_and(|other| other != state) {
            return Err(Fault::usage("NO_SUITE", format!("suite {id} is given two states")));
        }
    }
    Ok(states)
}

/// Signs an act on things as they are now, and hands it to the node.
fn submit(g: &Globals, out: &Out, act: &Act, agency: Option<&AgencyId>, what: Value) -> Result<ExitCode, Fault> {
    block_on(async {
        let client = Client::connect(g).await?;
        let shown = client.federation().show(v1::ShowFederationRequest {}).await.map_err(fault)?.into_inner();
        let expected = match agency {
            None => shown.suites_version,
            Some(agency) => {
                let known = shown.agencies.iter().find(|a| a.agency == agency.as_str());
                let known = known.ok_or_else(|| {
                    Fault::usage("UNKNOWN_AGENCY", format!("`{agency}` is not an agency of this federation"))
                        .hint("see `hufu federation show`")
                })?;
                known.bounds_version
            }
        };
        let (state, index) = Signer::of(&client).await?.submit(&client, act, expected).await?;
        let mut json = what;
        for (key, value) in [("state", json!(state)), ("index", json!(index)), ("needed", json!(shown.threshold))] {
            if let Some(object) = json.as_object_mut() {
                object.insert(key.to_owned(), value);
            }
        }
        out.answer(&json, || {
            let told = match state.as_str() {
                "done" => out.say("已生效", "in force").to_owned(),
                UNCERTIFIED => out.word(UNCERTIFIED),
                _ => format!(
                    "{} {}",
                    out.say("已签署；生效所需机构数", "signed; agencies needed for it to be in force:"),
                    shown.threshold
                ),
            };
            let name = agency.map_or_else(|| out.say("密码套件", "suites").to_owned(), ToString::to_string);
            let roots = json.get("roots").and_then(Value::as_array);
            let fingerprints = roots.into_iter().flatten().filter_map(Value::as_str);
            let say = out.say("指纹（请口头核对）", "fingerprint (compare by voice)");
            let compare: String = fingerprints.map(|f| format!("\n{say} {f}")).collect();
            format!("{name}: {told}{compare}")
        });
        Ok(ExitCode::SUCCESS)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    #[test]
    fn a_suite_has_one_state() {
        let args = |accepted: &[u16], forbidden: &[u16]| Suites {
            preferred: 1,
            accepted: accepted.to_vec(),
            decrypt_only: vec![],
            forbidden: forbidden.to_vec(),
        };
        let states = table(&args(&[2], &[3])).unwrap();
        assert_eq!(states.get(&1), Some(&SuiteState::Preferred));
        assert_eq!((states.get(&2), states.get(&3)), (Some(&SuiteState::Accepted), Some(&SuiteState::Forbidden)));
        assert_eq!(table(&args(&[2], &[2])).unwrap_err().reason, "NO_SUITE");
        assert!(table(&args(&[1], &[])).is_err());
    }
}
