//! The demo's people, agreements and guides, made through the same calls that anybody would use.

use super::children::Children;
use super::files::{AGENCIES, DemoAgency, Plan};
use crate::cli::act::Signer;
use crate::cli::client::Client;
use crate::cli::output::Out;
use crate::cli::person::{NewPerson, add, approve};
use crate::domain::agreement::{Guide, Terms};
use crate::domain::fault::Fault;
use crate::domain::ids::AgencyId;
use crate::domain::label::{Compartment, Grade};
use crate::domain::person::Role;
use crate::domain::record::Kind;
use crate::domain::time::{Clock, Millis};
use crate::ledger::Act;
use crate::node::SystemClock;
use crate::wire::pb::v1;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const START_WITHIN: Duration = Duration::from_secs(60);
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// Waits until every node answers and knows a leader.
pub(super) async fn wait_for_leader(plan: &Plan, children: &mut Children) -> Result<(), Fault> {
    until(children, "form a quorum", async || {
        for a in &AGENCIES {
            if status(plan, a).await.is_none_or(|s| s.leader.is_empty()) {
                return false;
            }
        }
        true
    })
    .await
}

/// Waits until every node holds the same state digest.
pub(super) async fn wait_for_equal_digests(plan: &Plan, children: &mut Children) -> Result<(), Fault> {
    until(children, "reach one state", async || {
        let [first, ..] = &AGENCIES;
        let Some(s) = status(plan, first).await else { return false };
        let digests: BTreeSet<_> = s.nodes.iter().map(|n| n.digest.clone()).collect();
        s.nodes.len() == AGENCIES.len() && digests.len() == 1 && s.nodes.iter().all(|n| !n.digest.is_empty())
    })
    .await
}

async fn until(children: &mut Children, what: &str, mut done: impl AsyncFnMut() -> bool) -> Result<(), Fault> {
    let deadline = Instant::now() + START_WITHIN;
    loop {
        if done().await {
            return Ok(());
        }
        if let Some((agency, status)) = children.reap() {
            return Err(Fault::internal("NODE_ENDED", format!("the node of {agency} ended at once: {status}"))
                .hint("its log is in nodes/AGENCY/log"));
        }
        if Instant::now() >= deadline {
            return Err(Fault::unavailable(
                "DEADLINE",
                format!("the nodes did not {what} within {} s", START_WITHIN.as_secs()),
            ));
        }
        sleep(ASK_AGAIN).await;
    }
}

async fn status(plan: &Plan, a: &DemoAgency) -> Option<v1::StatusReply> {
    let client = officer(plan, a.id, "officer").await.ok()?;
    client.cluster().status(v1::StatusRequest {}).await.ok().map(tonic::Response::into_inner)
}

async fn officer(plan: &Plan, agency: &str, who: &str) -> Result<Client, Fault> {
    Client::with(&plan.profile(agency, who), Duration::from_secs(30)).await
}

/// Adds the personas, signs the agreements and guides.
pub(super) async fn settle(plan: &Plan, out: &Out) -> Result<(), Fault> {
    out.progress(out.say("登记人员……", "registering people …"));
    for a in &AGENCIES {
        settle_people(plan, a).await?;
    }
    out.progress(out.say("签署协议与定密细目……", "signing agreements and marking guides …"));
    let border = "border-ops".parse::<Compartment>()?;
    let three: BTreeSet<AgencyId> = ids(&["police", "state-security", "customs"])?;
    let four: BTreeSet<AgencyId> = ids(&["police", "state-security", "customs", "cyberspace"])?;
    agree(
        plan,
        terms("border-2026", &three, Grade::Secret, [border].into(), "口岸联合执法演练 border enforcement exercise")?,
    )
    .await?;
    agree(plan, terms("common-2026", &four, Grade::Internal, BTreeSet::new(), "日常工作交流 everyday exchange")?)
        .await?;
    for agency in &three {
        let client = officer(plan, agency.as_str(), "chief").await?;
        let guide = Guide {
            agency: agency.clone(),
            agreement: "border-2026".parse()?,
            kinds: Kind::ALL.into(),
            grade: Grade::Secret,
            until: SystemClock.now().plus_years(1),
        };
        Signer::of(&client).await?.submit(&client, &Act::Guide(guide), 0).await?;
    }
    Ok(())
}

async fn settle_people(plan: &Plan, a: &DemoAgency) -> Result<(), Fault> {
    use Role::{Analyst, Classifier, DutyOfficer, Inspector, Operator, Originator};
    let secret = Grade::Secret.min(a.ceiling);
    let mut personas: Vec<(&str, &str, Vec<Role>, Grade)> = vec![
        ("clerk", "科员", vec![Analyst], Grade::Internal),
        ("analyst", "研判员、承办人", vec![Analyst, Originator], secret),
        ("chief", "定密责任人", vec![Analyst, Originator, Classifier], a.ceiling),
        ("duty", "值班员", vec![DutyOfficer], secret),
        ("operator", "运维员", vec![Operator], Grade::Internal),
    ];
    if a.id == "police" {
        personas.push(("inspector", "监督员", vec![Inspector], a.ceiling));
    }
    let first = officer(plan, a.id, "officer").await?;
    let second = officer(plan, a.id, "officer-2").await?;
    for (name, title, roles, clearance) in personas {
        let cleared = a.border_ops && !["clerk", "operator"].contains(&name);
        let compartments = if cleared { ["border-ops".parse::<Compartment>()?].into() } else { BTreeSet::new() };
        let new = NewPerson {
            name: name.into(),
            title: title.into(),
            unit: "演练".into(),
            roles: roles.into_iter().collect(),
            clearance,
            compartments,
        };
        let (csr, key) = crate::identity::person_request(name, &first.agency, &"hufu-demo".parse()?)?;
        let added = add(&first, &new, &csr).await?;
        plan.write_person(a.id, name, &key, &added.certificate_pem)?;
        if new.roles.iter().any(|r| r.has_authority()) {
            approve(&second, name).await?;
        }
    }
    // The first officers stand in the genesis; the hashes of their entries come from each other.
    approve(&second, "officer").await?;
    approve(&first, "officer-2").await?;
    Ok(())
}

fn terms(
    id: &str,
    parties: &BTreeSet<AgencyId>,
    grade: Grade,
    compartments: BTreeSet<Compartment>,
    purpose: &str,
) -> Result<Terms, Fault> {
    let now = SystemClock.now();
    Ok(Terms {
        id: id.parse()?,
        version: 1,
        parties: parties.clone(),
        publishers: Default::default(),
        kinds: Kind::ALL.into(),
        grade,
        compartments,
        purpose: purpose.into(),
        default_period_years: 10,
        legal_basis: "演练方案 exercise plan".into(),
        retention_years: 5,
        // A little in the past, so that ledger time, which trails clocks, has reached it.
        start: Millis(now.0.saturating_sub(60_000)),
        end: now.plus_years(1),
    })
}

async fn agree(plan: &Plan, terms: Terms) -> Result<(), Fault> {
    for party in &terms.parties {
        let client = officer(plan, party.as_str(), "officer").await?;
        crate::cli::agreement::sign_terms(&client, &terms).await?;
    }
    Ok(())
}

fn ids(names: &[&str]) -> Result<BTreeSet<AgencyId>, Fault> {
    names.iter().map(|n| n.parse()).collect()
}
