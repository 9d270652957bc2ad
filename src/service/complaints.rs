//! Telling originators what could not be taken of theirs, and keeping what this agency is told (P15).

use super::core::Core;
use crate::audit::{Action as AuditAction, Decision as Verdict, Object};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{AgencyId, NodeId};
use crate::ledger::State;
use crate::vault::{Complained, Complaint};
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;

/// Hands a signed complaint to a node of the originator; `node` plugs the network in.
pub trait PeerComplaints: Send + Sync {
    /// Ok when it is durable there; [`FaultKind::Unavailable`] when the node does not answer.
    fn complain(&self, node: NodeId, signed: Vec<u8>) -> Pin<Box<dyn Future<Output = Result<(), Fault>> + Send + '_>>;
}

impl Core {
    /// Complains of everything that was refused and that its originator does not know of yet. An originator that does not
    /// answer is left until the next round; one that refuses a complaint is told the next one all the same.
    pub async fn complain(&self, told: &mut Complained, peers: &dyn PeerComplaints) {
        let state = self.state();
        let mut silent = BTreeSet::new();
        for (key, refusal) in told.left(self.vault.refusals()) {
            if silent.contains(&refusal.origin) {
                continue;
            }
            let (record, version) = key;
            let complaint = Complaint {
                federation: self.federation.clone(),
                origin: refusal.origin.clone(),
                node: self.node,
                record,
                version,
                header_hash: refusal.header_hash,
                reason: refusal.reason.clone(),
                time: self.clock.now(),
            };
            let signed = complaint.sign(&self.signer);
            let of_origin = state.nodes().filter(|(_, n)| n.agency == refusal.origin).map(|(id, _)| *id);
            for node in of_origin.collect::<Vec<_>>() {
                if let Err(fault) = peers.complain(node, signed.clone()).await {
                    tracing::debug!(%record, %fault, "an originator does not know of a complaint yet");
                    if fault.kind == FaultKind::Unavailable {
                        silent.insert(refusal.origin.clone());
                    }
                    continue;
                }
                silent.remove(&refusal.origin);
                told.told(key, &refusal);
                let object = Object::Record { id: record, version };
                let logged =
                    self.log_node(AuditAction::Complaint, &self.agency, object, Verdict::Deny, &refusal.reason);
                if let Err(error) = logged.await {
                    tracing::error!(%record, %error, "a complaint could not be audited");
                }
                break;
            }
        }
    }

    /// Takes a complaint from another node; durable when it answers.
    pub async fn take_complaint(&self, from: NodeId, agency: &AgencyId, signed: &[u8]) -> Result<(), Fault> {
        let state = self.state();
        let complaint = Complaint::open(signed, |node| state.node(node).filter(|_| node == from).map(|n| n.key))
            .map_err(|e| Fault::refused("BAD_COMPLAINT", e.to_string()))?;
        let own = complaint.federation == self.federation
            && complaint.origin == self.agency
            && state.origin_of(&complaint.record) == Some(&self.agency);
        if !own {
            return Err(Fault::refused("BAD_COMPLAINT", "it is not about a record of this agency"));
        }
        let known = state.record(&complaint.record).is_some_and(|v| v.iter().any(|v| v.version == complaint.version));
        if !known {
            return Err(Fault::refused("BAD_COMPLAINT", "the ledger has no such version"));
        }
        if self.complaints.has(&complaint) {
            return Ok(());
        }
        let object = Object::Record { id: complaint.record, version: complaint.version };
        if self.complaints.is_full(complaint.node) {
            self.log_refusal(AuditAction::Complaint, agency, object, "too-many-complaints").await?;
            return Err(Fault::refused("BAD_COMPLAINT", "this node has complained of too many records"));
        }
        let reason = complaint.reason.clone();
        let _logged = self.log_node(AuditAction::Complaint, agency, object, Verdict::Deny, &reason).await?;
        tracing::warn!(%agency, record = %complaint.record, version = complaint.version, %reason, "an agency cannot open a record of this one");
        Ok(self.complaints.keep(complaint, signed).await?)
    }

    /// What was complained of, with the agency of the node that complained.
    pub(super) fn complaints(&self, state: &State) -> Vec<(AgencyId, Complaint)> {
        // What a node said before it was removed was said.
        let of = |c: Complaint| state.signer(c.node).map(|(agency, _)| (agency.clone(), c));
        self.complaints.all().into_iter().filter_map(of).collect()
    }
}
