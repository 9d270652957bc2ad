//! `hufu.peer.v1.Agency`: what the nodes of one agency tell one another and nobody else.

use super::peer::NodeServices;
use super::refuse;
use crate::audit::{Action as AuditAction, Object};
use crate::domain::fault::Fault;
use crate::wire::pb::peer;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl peer::agency_server::Agency for NodeServices {
    async fn people(&self, request: Request<peer::PeopleRequest>) -> Result<Response<peer::PeopleReply>, Status> {
        let sender = self.sender(&request)?;
        let core = self.core()?;
        if sender.agency != core.agency {
            let object = Object::Text("people".into());
            core.log_refusal(AuditAction::PeerRefused, &sender.agency, object, "another-agency")
                .await
                .map_err(refuse)?;
            let why = "an agency's people are known to its own nodes alone";
            return Err(refuse(Fault::refused("NOT_ALLOWED", why)));
        }
        let peer::PeopleRequest { seen, after } = request.into_inner();
        let (version, entries) = core.people_since(seen, &after);
        Ok(Response::new(peer::PeopleReply { version, entries }))
    }
}
