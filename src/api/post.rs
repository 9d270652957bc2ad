//! `hufu.peer.v1.Post`: letters from other nodes, on the listener of notices.

use super::peer::NodeServices;
use super::refuse;
use crate::domain::canon::Canon;
use crate::notice::SignedReceipt;
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
}

#[tonic::async_trait]
impl peer::post_server::Post for PostServices {
    async fn deliver(&self, request: Request<peer::Letter>) -> Result<Response<peer::Receipts>, Status> {
        let sender = self.nodes.sender(&request)?;
        let letter = request.into_inner().letter;
        let receipts = self.nodes.core()?.take_letter(&sender.agency, &letter).await.map_err(refuse)?;
        Ok(reply(&receipts))
    }

    async fn relay(&self, request: Request<peer::Letter>) -> Result<Response<peer::Receipts>, Status> {
        let sender = self.nodes.sender(&request)?;
        let letter = request.into_inner().letter;
        let core = self.nodes.core()?;
        let receipts = core.relay_letter(&sender.agency, &letter, self.post.as_ref()).await.map_err(refuse)?;
        Ok(reply(&receipts))
    }

    async fn ping(&self, request: Request<peer::PingRequest>) -> Result<Response<peer::PingReply>, Status> {
        self.nodes.sender(&request)?;
        Ok(Response::new(peer::PingReply {}))
    }
}

fn reply(receipts: &[SignedReceipt]) -> Response<peer::Receipts> {
    Response::new(peer::Receipts { receipts: receipts.iter().map(Canon::to_canon).collect() })
}
