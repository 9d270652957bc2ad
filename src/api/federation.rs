//! `hufu.v1.Federation`.

use super::{People, decode, refuse};
use crate::domain::canon::Canon;
use crate::domain::time::Millis;
use crate::ledger::{Act, AgreementState, CommandReply, NodeState, Proposal, State, SuiteState, Waiting};
use crate::policy::Action;
use crate::seal::Suite;
use crate::service::{bounds_words, root_fingerprint};
use crate::wire::pb::v1;
use data_encoding::HEXLOWER;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl v1::federation_server::Federation for People {
    async fn show(
        &self,
        request: Request<v1::ShowFederationRequest>,
    ) -> Result<Response<v1::ShowFederationReply>, Status> {
        let caller = self.caller(&request)?;
        let state = self.core.show(&caller, Action::FederationShow).await.map_err(refuse)?;
        let voters = state.voters();
        let charter = self.core.cluster.charter();
        let agencies = state
            .agencies()
            .map(|(id, a)| {
                let (folded, folded_root) = state.folded(id);
                let nodes: Vec<_> = state.nodes().filter(|(_, n)| n.agency == *id).collect();
                v1::Agency {
                    agency: id.to_string(),
                    name: a.descriptor.name.clone(),
                    tier: a.tier().to_string(),
                    ceiling: a.ceiling().to_string(),
                    voter: nodes.iter().any(|(n, _)| voters.contains(n)),
                    nodes: nodes.iter().map(|(_, n)| n.local.clone()).collect(),
                    suspended: a.suspended.is_some(),
                    standing: a.standing,
                    compartments: a.compartments().iter().map(ToString::to_string).collect(),
                    roots: a.roots().iter().map(|root| root_fingerprint(root)).collect(),
                    bounds_version: a.bounds_version(),
                    folded,
                    folded_root: folded_root.to_vec(),
                }
            })
            .collect();
        Ok(Response::new(v1::ShowFederationReply {
            federation: state.federation().to_string(),
            threshold: u32::from(state.threshold()),
            ledger_index: self.core.cluster.applied(),
            ledger_time: state.time().0,
            agencies,
            state_digest: state.digest().to_vec(),
            proposals: state.proposals().filter_map(|p| proposal(p, state.is_overtaken(p))).collect(),
            voters: voters.iter().filter_map(|id| state.node(*id)).map(seat).collect(),
            voters_version: state.voters_version(),
            voters_settled: state.voters_are_settled(),
            charter: charter.to_canon(),
            level: u32::from(state.level()),
            uncertified: state.waiting().filter_map(uncertified).collect(),
            suites: state.suites().states().iter().map(|(id, state)| suite(*id, *state)).collect(),
            suites_version: state.suites().version(),
        }))
    }

    async fn submit_act(&self, request: Request<v1::SubmitActRequest>) -> Result<Response<v1::SubmitActReply>, Status> {
        let caller = self.caller(&request)?;
        let v1::SubmitActRequest { act, timeout_ms } = request.into_inner();
        let (reply, index) = self.core.submit_act(&caller, &act, decode::wait(timeout_ms)).await.map_err(refuse)?;
        let state = match reply {
            CommandReply::Done => "done",
            CommandReply::Waiting => UNCERTIFIED,
            CommandReply::Pending | CommandReply::Refused(_) => "pending",
        };
        Ok(Response::new(v1::SubmitActReply { state: state.into(), index }))
    }

    async fn list_agreements(
        &self,
        request: Request<v1::ListAgreementsRequest>,
    ) -> Result<Response<v1::ListAgreementsReply>, Status> {
        let caller = self.caller(&request)?;
        let v1::ListAgreementsRequest { id, limit, after } = request.into_inner();
        let state = self.core.show(&caller, Action::AgreementShow).await.map_err(refuse)?;
        let now = self.core.clock.now();
        let asked = state.agreements().filter(|(a, _)| id.is_empty() || a.as_str() == id);
        let (page, more) = decode::page(asked.filter(|(a, _)| a.as_str() > after.as_str()), limit);
        let agreements =
            page.into_iter().flat_map(|(_, versions)| versions.iter().map(|a| agreement(&state, a, now))).collect();
        Ok(Response::new(v1::ListAgreementsReply { agreements, ledger_index: self.core.cluster.applied(), more }))
    }

    async fn list_guides(
        &self,
        request: Request<v1::ListGuidesRequest>,
    ) -> Result<Response<v1::ListGuidesReply>, Status> {
        let caller = self.caller(&request)?;
        let v1::ListGuidesRequest { limit, after } = request.into_inner();
        let state = self.core.show(&caller, Action::GuideList).await.map_err(refuse)?;
        let named = state.guides().map(|(id, g)| (HEXLOWER.encode(id), g));
        let (page, more) = decode::page(named.filter(|(id, _)| *id > after), limit);
        let guides = page
            .into_iter()
            .map(|(id, g)| v1::Guide {
                id,
                agency: g.guide.agency.to_string(),
                agreement: g.guide.agreement.to_string(),
                grade: g.guide.grade.to_string(),
                kinds: g.guide.kinds.iter().map(ToString::to_string).collect(),
                until: g.guide.until.0,
                state: if g.ended.is_some() { "ended" } else { "in-force" }.into(),
            })
            .collect();
        Ok(Response::new(v1::ListGuidesReply { guides, more }))
    }
}

/// The state of what is complete and waits for a certificate.
const UNCERTIFIED: &str = "waiting-for-certificate";

fn uncertified(w: &Waiting) -> Option<v1::Uncertified> {
    let (act, subject) = match &w.act {
        Act::Agreement(t) => ("agreement", format!("{} v{}", t.id, t.version)),
        Act::Guide(g) => ("guide", format!("{} {}", g.agency, g.agreement)),
        Act::Register { agency, authority } => ("register", format!("{agency} {}", authority.handle)),
        Act::ReinstateAgency { agency } => ("reinstate", agency.to_string()),
        Act::Admit(d) => ("admit", d.agency.to_string()),
        Act::AddNode { agency, node, .. } => ("add-node", format!("{agency}/{}", node.local)),
        act => bounds_words(act)?,
    };
    Some(v1::Uncertified { act: act.into(), subject, index: w.index })
}

fn suite(id: u16, state: SuiteState) -> v1::Suite {
    let name = Suite::from_id(id).map_or_else(|_| String::new(), |s| s.to_string());
    v1::Suite { id: u32::from(id), name, state: state.to_string() }
}

fn seat(n: &NodeState) -> v1::Seat {
    v1::Seat { agency: n.agency.to_string(), node: n.local.clone() }
}

fn proposal(p: &Proposal, overtaken: bool) -> Option<v1::Proposal> {
    let (act, subject) = match &p.act {
        Act::SuspendAgency { agency } => ("suspend", agency.to_string()),
        Act::ReinstateAgency { agency } => ("reinstate", agency.to_string()),
        Act::Admit(d) => ("admit", d.agency.to_string()),
        Act::RemoveNode { agency, node } => ("remove-node", format!("{agency}/{node}")),
        Act::Voters(seats) => {
            let seats: Vec<String> = seats.iter().map(|(agency, node)| format!("{agency}/{node}")).collect();
            ("voters", seats.join(" "))
        }
        act => bounds_words(act)?,
    };
    Some(v1::Proposal {
        act: act.into(),
        agency: subject,
        signed_by: p.signers.keys().map(ToString::to_string).collect(),
        expires: p.signers.values().map(|(_, until)| until.0).max().unwrap_or_default(),
        overtaken,
    })
}

fn agreement(state: &State, a: &AgreementState, now: Millis) -> v1::Agreement {
    let AgreementState { terms, signatures, in_force, ended } = a;
    let waits = || state.is_waiting(&Act::Agreement(terms.clone()), terms.version.saturating_sub(1));
    let state = match (in_force, ended) {
        (_, Some(_)) => "ended",
        // Nobody had to end it.
        (Some(_), None) if terms.end <= now => "ended",
        (Some(_), None) => "in-force",
        (None, None) if waits() => UNCERTIFIED,
        (None, None) => "draft",
    };
    v1::Agreement {
        terms: terms.to_canon(),
        id: terms.id.to_string(),
        version: terms.version,
        parties: terms.parties.iter().map(ToString::to_string).collect(),
        publishers: terms.publishers.iter().map(ToString::to_string).collect(),
        signed_by: signatures.keys().map(ToString::to_string).collect(),
        grade: terms.grade.to_string(),
        compartments: terms.compartments.iter().map(ToString::to_string).collect(),
        kinds: terms.kinds.iter().map(ToString::to_string).collect(),
        purpose: terms.purpose.clone(),
        start: terms.start.0,
        end: terms.end.0,
        state: state.into(),
        ended_reason: ended.as_ref().map(|(_, why)| why.clone()).unwrap_or_default(),
        default_period_years: u32::from(terms.default_period_years),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use crate::domain::agreement::Terms;

    #[test]
    fn an_agreement_whose_end_has_come_is_over() {
        let terms =
            Terms { end: Millis(1_000), ..crate::ledger::fixture::terms("border-2026", &["police", "customs"]) };
        let signed = AgreementState { terms, signatures: Default::default(), in_force: Some(3), ended: None };
        let ledger = State::genesis(&crate::ledger::fixture::federation().genesis).unwrap();
        let state = |now| agreement(&ledger, &signed, Millis(now)).state;
        assert_eq!((state(999).as_str(), state(1_000).as_str()), ("in-force", "ended"));
    }
}
