//! `hufu.peer.v1.Agency`: what the nodes of one agency tell one another and nobody else.

use super::peer::{NodeServices, tell_refused};
use super::{homes, refuse};
use crate::audit::{Action as AuditAction, Object};
use crate::domain::fault::Fault;
use crate::service::Core;
use crate::wire::pb::peer;
use std::sync::Arc;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl peer::agency_server::Agency for NodeServices {
    async fn people(&self, request: Request<peer::PeopleRequest>) -> Result<Response<peer::PeopleReply>, Status> {
        let (core, _) = self.for_sibling(&request, "people").await?;
        let peer::PeopleRequest { seen, after } = request.into_inner();
        let (version, entries) = core.people_since(seen, &after);
        Ok(Response::new(peer::PeopleReply { version, entries }))
    }

    async fn notices(&self, request: Request<peer::PersonAsks>) -> Result<Response<peer::PersonAnswered>, Status> {
        let (core, via) = self.for_sibling(&request, "notices").await?;
        let peer::PersonAsks { name, public_key, call, request } = request.into_inner();
        let caller = match core.caller_elsewhere(&name, &public_key, &via) {
            Ok(caller) => caller,
            Err(fault) => {
                // As for a handshake: who is asked for in vain is told, folded where that is often.
                tell_refused(Arc::clone(core), core.agency.clone(), "unknown-person");
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
        let sender = self.sender(request)?;
        let core = self.core()?;
        if sender.agency == core.agency {
            let local = core.state().node(sender.node).map(|n| n.local.clone());
            return Ok((core, local.unwrap_or_default()));
        }
        let object = Object::Text(what.to_owned());
        core.log_refusal(AuditAction::PeerRefused, &sender.agency, object, "another-agency").await.map_err(refuse)?;
        Err(refuse(Fault::refused("NOT_ALLOWED", "an agency's nodes tell this to one another alone")))
    }
}
