//! `hufu cluster add-node|promote|demote|remove-node`: acts on who takes part. Each signer runs the same command. And
//! `hufu cluster hand-over`.

use super::act::Signer;
use super::args::Globals;
use super::client::{Client, block_on, fault};
use super::output::Out;
use crate::config::read_node;
use crate::domain::fault::Fault;
use crate::domain::ids::AgencyId;
use crate::ledger::Act;
use crate::wire::pb::v1;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;

/// Version of a node, as the ledger has it: it never changes.
const ADDED: u32 = 1;

/// A node as people name it: `AGENCY/NODE`.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    agency: AgencyId,
    node: String,
}

impl FromStr for Seat {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Seat, Fault> {
        let wrong = || Fault::usage("BAD_NODE", format!("`{text}` is not AGENCY/NODE")).hint("e.g. customs/1");
        let (agency, node) = text.split_once('/').filter(|(_, node)| !node.is_empty()).ok_or_else(wrong)?;
        Ok(Seat { agency: agency.parse()?, node: node.to_owned() })
    }
}

impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.agency, self.node)
    }
}

/// Signs for another node of the own agency.
pub(super) fn add_node(g: &Globals, out: &Out, file: &Path) -> Result<ExitCode, Fault> {
    let act = read_node(file)?;
    let Act::AddNode { agency, node, .. } = &act else {
        return Err(Fault::internal("INTERNAL", "a file of another kind was read as a node's"));
    };
    let seat = Seat { agency: agency.clone(), node: node.local.clone() };
    block_on(async {
        let client = Client::connect(g).await?;
        submit(&client, out, (&act, 0), &seat, 2).await
    })
}

/// Signs for a node that is to be taken out.
pub(super) fn remove_node(g: &Globals, out: &Out, seat: Seat) -> Result<ExitCode, Fault> {
    let act = Act::RemoveNode { agency: seat.agency.clone(), node: seat.node.clone() };
    block_on(async {
        let client = Client::connect(g).await?;
        let signer = Signer::of(&client).await?;
        let needed = if signer.agency == seat.agency { 2 } else { shown(&client).await?.threshold };
        submit(&client, out, (&act, ADDED), &seat, needed).await
    })
}

/// Signs for the voters as they are, with this node's seat taken or left.
pub(super) fn vote(g: &Globals, out: &Out, seat: Seat, votes: bool) -> Result<ExitCode, Fault> {
    block_on(async {
        let client = Client::connect(g).await?;
        let federation = shown(&client).await?;
        let mut seats = BTreeMap::new();
        for s in &federation.voters {
            seats.insert(s.agency.parse::<AgencyId>()?, s.node.clone());
        }
        let seated = seats.get(&seat.agency) == Some(&seat.node);
        if votes {
            seats.insert(seat.agency.clone(), seat.node.clone());
        } else if seated {
            seats.remove(&seat.agency);
        } else {
            return Err(Fault::conflict("VERSION_CONFLICT", format!("`{seat}` does not vote"))
                .hint("see `hufu cluster status`"));
        }
        submit(&client, out, (&Act::Voters(seats), federation.voters_version), &seat, federation.threshold).await
    })
}

/// Asks the own node, which leads, to let another lead.
pub(super) fn hand_over(g: &Globals, out: &Out, seat: Seat) -> Result<ExitCode, Fault> {
    block_on(async {
        let client = Client::connect(g).await?;
        let request = v1::HandOverRequest { agency: seat.agency.to_string(), node: seat.node.clone() };
        client.cluster().hand_over(request).await.map_err(fault)?;
        out.answer(&json!({"leader": seat.agency, "node": seat.node}), || {
            format!("{seat}: {}", out.say("已接任主节点", "leads from now on"))
        });
        Ok(ExitCode::SUCCESS)
    })
}

async fn shown(client: &Client) -> Result<v1::ShowFederationReply, Fault> {
    Ok(client.federation().show(v1::ShowFederationRequest {}).await.map_err(fault)?.into_inner())
}

async fn submit(
    client: &Client,
    out: &Out,
    (act, expected): (&Act, u32),
    seat: &Seat,
    needed: u32,
) -> Result<ExitCode, Fault> {
    let (state, index) = Signer::of(client).await?.submit(client, act, expected).await?;
    let json = json!({"agency": seat.agency, "node": seat.node, "state": state, "index": index, "needed": needed});
    out.answer(&json, || match state == "done" {
        true => format!("{seat}: {}", out.say("已生效", "in force")),
        false => format!("{seat}: {} {needed}", out.say("已签署；所需签署数", "signed; signatures needed:")),
    });
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_named_by_agency_and_id() {
        assert_eq!("customs/1".parse::<Seat>().unwrap().to_string(), "customs/1");
        for bad in ["customs", "customs/", "/1", "Customs/1"] {
            assert!(bad.parse::<Seat>().is_err(), "{bad}");
        }
    }
}
