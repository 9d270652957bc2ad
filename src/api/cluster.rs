//! `hufu.v1.Cluster`.

use super::{People, decode, refuse};
use crate::domain::ids::AgencyId;
use crate::vault::Missing;
use crate::wire::pb::v1;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl v1::cluster_server::Cluster for People {
    async fn status(&self, request: Request<v1::StatusRequest>) -> Result<Response<v1::StatusReply>, Status> {
        let caller = self.caller(&request)?;
        let view = self.core.cluster_view(&caller).await.map_err(refuse)?;
        let nodes = view
            .nodes
            .iter()
            .map(|n| v1::NodeStatus {
                agency: n.agency.to_string(),
                node: n.local.clone(),
                role: n.role.into(),
                reachable: n.position.is_some(),
                applied: n.position.map_or(0, |p| p.applied),
                digest: n.position.and_then(|p| p.digest).map(|d| d.to_vec()).unwrap_or_default(),
            })
            .collect();
        let sync = view
            .sync
            .into_iter()
            .map(|(origin, o)| v1::PeerSync {
                origin: origin.to_string(),
                owed: o.owed,
                held: o.held,
                missing: o.missing.into_iter().map(missing).collect(),
                unopenable: o.unopenable.into_iter().map(missing).collect(),
                lost: o.lost.into_iter().map(missing).collect(),
            })
            .collect();
        let complaints = view
            .complaints
            .into_iter()
            .map(|(agency, c)| v1::Complaint {
                agency: agency.to_string(),
                record: c.record.to_string(),
                version: c.version,
                reason: c.reason,
                time: c.time.0,
            })
            .collect();
        Ok(Response::new(v1::StatusReply {
            leader: view.leader.map(|l| l.to_string()).unwrap_or_default(),
            term: view.term,
            commit: view.committed,
            nodes,
            digest_index: view.digest_index,
            sync,
            complaints,
            halted: view.halted.unwrap_or_default(),
            withheld: view.withheld,
            certified: view.certified,
            double_words: view.double_words,
        }))
    }

    async fn hand_over(&self, request: Request<v1::HandOverRequest>) -> Result<Response<v1::HandOverReply>, Status> {
        let caller = self.caller(&request)?;
        let v1::HandOverRequest { agency, node } = request.into_inner();
        let agency: AgencyId = agency.parse().map_err(refuse)?;
        self.core.hand_over(&caller, &agency, &node).await.map_err(refuse)?;
        Ok(Response::new(v1::HandOverReply {}))
    }

    async fn barrier(&self, request: Request<v1::BarrierRequest>) -> Result<Response<v1::BarrierReply>, Status> {
        self.caller(&request)?;
        let wait = decode::wait(request.into_inner().timeout_ms);
        self.core.barrier(wait).await.map_err(refuse)?;
        Ok(Response::new(v1::BarrierReply { ledger_index: self.core.cluster.applied() }))
    }
}

fn missing(m: Missing) -> v1::Missing {
    v1::Missing { record: m.record.to_string(), version: m.version, reason: m.reason, since: m.since.0 }
}
