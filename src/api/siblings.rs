//! `hufu.peer.v1.Agency`: what the nodes of one agency tell one another and nobody else.

use super::peer::{NodeServices, tell_refused_of};
use super::{homes, refuse};
use crate::audit::{Action as AuditAction, Object};
use crate::domain::fault::Fault;
use crate::domain::ids::AgencyId;
use crate::identity::{Subject, VerifiedPeer};
use crate::ledger::{State, node_id};
use crate::service::{Core, Vouched};
use crate::wire::pb::peer;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// Longest of what is told of a refused person: what another node calls one need not be a name.
const OBJECT_CHARS: usize = 120;

#[tonic::async_trait]
impl peer::agency_server::Agency for NodeServices {
    async fn people(&self, request: Request<peer::PeopleRequest>) -> Result<Response<peer::PeopleReply>, Status> {
        let (core, local) = self.for_sibling(&request, "people").await?;
        let peer::PeopleRequest { seen, after } = request.into_inner();
        let (version, entries) = core.tell_people(&local, seen, &after).await.map_err(refuse)?;
        Ok(Response::new(peer::PeopleReply { version, entries }))
    }

    async fn notices(&self, request: Request<peer::PersonAsks>) -> Result<Response<peer::PersonAnswered>, Status> {
        let (core, via) = self.for_sibling(&request, "notices").await?;
        let peer::PersonAsks { name, public_key, call, request, certificate } = request.into_inner();
        let vouched = Vouched { name: &name, public_key: &public_key, certificate: &certificate, via: &via };
        let caller = match core.caller_elsewhere(vouched) {
            Ok(caller) => caller,
            Err((rule, fault)) => {
                // As for a handshake: who is asked for in vain is told, folded where that is often.
                let object = Object::Text(format!("by node {via}: person/{name}").chars().take(OBJECT_CHARS).collect());
                tell_refused_of(Arc::clone(core), core.agency.clone(), object, rule);
                return Err(refuse(fault));
            }
        };
        let reply = homes::here(core, self.peers()?, &caller, (call, &request)).await.map_err(refuse)?;
        Ok(Response::new(peer::PersonAnswered { reply }))
    }
}

impl NodeServices {
    /// What is served to nodes of the own agency alone; with the local id of the one that asks.
    async fn for_sibling<T: Sync>(&self, request: &Request<T>, what: &str) -> Result<(&Arc<Core>, String), Status> {
        let core = self.core()?;
        let from = request.extensions().get::<VerifiedPeer>();
        if let Some(local) = from.and_then(|from| sibling(&core.state(), &core.agency, from)) {
            return Ok((core, local));
        }
        let sender = self.sender(request)?;
        if sender.agency == core.agency {
            // By a charter: the own ledger does not have it yet.
            return Ok((core, from.and_then(local_id).unwrap_or_default().to_owned()));
        }
        let object = Object::Text(what.to_owned());
        core.log_refusal(AuditAction::PeerRefused, &sender.agency, object, "another-agency").await.map_err(refuse)?;
        Err(refuse(Fault::refused("NOT_ALLOWED", "an agency's nodes tell this to one another alone")))
    }
}

/// The local id of a node of the own agency, as the ledger has it. Whether the agency stands is not asked: one that is suspended
/// keeps order among its own people, and whoever is shut out at one of its nodes is shut out at all.
fn sibling(state: &State, own: &AgencyId, from: &VerifiedPeer) -> Option<String> {
    let node = node_id(from.agency(), local_id(from)?);
    let known = state.node(node).filter(|_| state.retired(node).is_none())?;
    let is_own = known.agency == *own && from.agency() == own && *known.key.as_bytes() == from.public_key();
    is_own.then(|| known.local.clone())
}

/// The local id by which a node shows itself: the id that ledger and charter know it by follows from it.
fn local_id(from: &VerifiedPeer) -> Option<&str> {
    if let Subject::Node(local) = from.name().subject() { Some(local.as_str()) } else { None }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use crate::domain::ids::FederationId;
    use crate::identity::SpiffeName;

    /// Else an event of one that a charter alone names would be about a node without a name.
    #[test]
    fn a_node_is_named_whether_the_ledger_has_it_or_not() {
        let (customs, federation): (AgencyId, FederationId) = ("customs".parse().unwrap(), "test".parse().unwrap());
        let of = |name: SpiffeName| VerifiedPeer::for_test(name, "1", [7; 32]);
        let node = of(SpiffeName::node(&customs, &federation, "2").unwrap());
        assert_eq!(local_id(&node), Some("2"));
        assert_eq!(local_id(&of(SpiffeName::person(&customs, &federation, "wang").unwrap())), None);
    }
}
