//! `hufu.peer.v1.Post`: letters from other nodes, on the listener of notices. Each comes by a connection of its precedence.

use super::peer::NodeServices;
use super::refuse;
use crate::audit::{Action as AuditAction, Object};
use crate::domain::canon::Canon;
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, NoticeId};
use crate::domain::notice::Precedence;
use crate::identity::{Protocol, VerifiedPeer};
use crate::notice::{Letter, LetterDigest, SignedReceipt, demoted};
use crate::service::PeerPost;
use crate::wire::pb::peer;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service of letters; it needs no leader.
#[derive(Clone)]
pub struct PostServices {
    nodes: NodeServices,
    post: Arc<dyn PeerPost>,
}

impl PostServices {
    /// Serves once the gate of `nodes` is open; `post` is how a relay passes letters on.
    pub fn new(nodes: NodeServices, post: Arc<dyn PeerPost>) -> PostServices {
        PostServices { nodes, post }
    }

    /// Who calls, and its letter, if it came by a connection of its precedence. One that does not read is told of by
    /// whoever takes it.
    async fn received(&self, request: Request<peer::Letter>) -> Result<(AgencyId, Vec<u8>), Status> {
        let sender = self.nodes.sender(&request)?.agency;
        let protocol = request.extensions().get::<VerifiedPeer>().map(VerifiedPeer::protocol);
        let letter = request.into_inner().letter;
        if let Ok(Letter { header, .. }) = Letter::from_canon(&letter)
            && !belongs(protocol, header.precedence, header.from != sender)
        {
            let (action, object) = (AuditAction::NoticeReceive, Object::Notice(header.notice));
            self.nodes.core()?.log_refusal(action, &sender, object, "letter-misplaced").await.map_err(refuse)?;
            let why = "the letter has another precedence than the connection that it came by";
            return Err(refuse(Fault::refused("NOT_ALLOWED", why)));
        }
        Ok((sender, letter))
    }
}

/// Whether a letter of this precedence may come by a connection: what one precedence may use up is for its letters alone.
/// Whoever relays one may count it as the next lower precedence (P25), and brings it by that one's.
fn belongs(protocol: Option<Protocol>, precedence: Precedence, is_relayed: bool) -> bool {
    let Some(Protocol::Letters(lane)) = protocol else { return false };
    lane == precedence || (is_relayed && lane == demoted(precedence))
}

#[tonic::async_trait]
impl peer::post_server::Post for PostServices {
    async fn deliver(&self, request: Request<peer::Letter>) -> Result<Response<peer::Receipts>, Status> {
        let (sender, letter) = self.received(request).await?;
        let core = self.nodes.core()?;
        let receipts = core.receive_letter(&sender, &letter, self.post.as_ref()).await.map_err(refuse)?;
        Ok(reply(&receipts))
    }

    async fn relay(&self, request: Request<peer::Letter>) -> Result<Response<peer::Receipts>, Status> {
        let (sender, letter) = self.received(request).await?;
        let core = self.nodes.core()?;
        let receipts = core.relay_letter(&sender, &letter, self.post.as_ref()).await.map_err(refuse)?;
        Ok(reply(&receipts))
    }

    async fn held(&self, request: Request<peer::HeldRequest>) -> Result<Response<peer::Receipts>, Status> {
        let sender = self.nodes.sender(&request)?.agency;
        let core = self.nodes.core()?;
        if sender != core.agency {
            let (action, object) = (AuditAction::PeerRefused, Object::Text("held".into()));
            core.log_refusal(action, &sender, object, "another-agency").await.map_err(refuse)?;
            return Err(refuse(Fault::refused("NOT_ALLOWED", "an agency's nodes tell this to one another alone")));
        }
        let peer::HeldRequest { letter, notice } = request.into_inner();
        let invalid = |why: &'static str| refuse(Fault::usage("INVALID", why));
        let letter: LetterDigest = letter.try_into().map_err(|_| invalid("a letter's digest is 32 bytes"))?;
        // A node of before does not say which notice it is.
        if notice.is_empty() {
            return Ok(reply(&core.letter_held(&letter, None)));
        }
        let notice: [u8; 16] = notice.try_into().map_err(|_| invalid("a notice's id is 16 bytes"))?;
        Ok(reply(&core.letter_held(&letter, Some(&NoticeId::from_bytes(notice)))))
    }

    async fn ping(&self, request: Request<peer::PingRequest>) -> Result<Response<peer::PingReply>, Status> {
        self.nodes.sender(&request)?;
        Ok(Response::new(peer::PingReply {}))
    }
}

fn reply(receipts: &[SignedReceipt]) -> Response<peer::Receipts> {
    Response::new(peer::Receipts { receipts: receipts.iter().map(Canon::to_canon).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Precedence::{Flash, Immediate, Priority, Routine};

    #[test]
    fn a_letter_comes_by_its_own_precedence_and_a_relayed_one_also_by_the_next_lower() {
        for (lane, precedence, from_sender, relayed) in [
            (Flash, Flash, true, true),
            (Immediate, Flash, false, true),
            (Routine, Flash, false, false),
            (Flash, Immediate, false, false),
            (Flash, Routine, false, false),
            (Routine, Priority, false, true),
            (Routine, Routine, true, true),
            (Priority, Routine, false, false),
        ] {
            let by = Some(Protocol::Letters(lane));
            let may = (belongs(by, precedence, false), belongs(by, precedence, true));
            assert_eq!(may, (from_sender, relayed), "{precedence} by {lane}");
        }
        assert!(!belongs(Some(Protocol::Calls), Flash, true) && !belongs(None, Flash, true));
    }
}
