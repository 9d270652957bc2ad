//! `hufu.v1.Policy`.

use super::{People, refuse};
use crate::policy::{Explanation, StepOutcome};
use crate::wire::pb::v1;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl v1::policy_server::Policy for People {
    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainReply>, Status> {
        let caller = self.caller(&request)?;
        let v1::ExplainRequest { action, record, purpose, person } = request.into_inner();
        let (action, record) = (action.parse().map_err(refuse)?, record.parse().map_err(refuse)?);
        let (e, set) = self.core.explain(&caller, &person, action, record, &purpose).await.map_err(refuse)?;
        let (allow, rule) = (e.decision.is_allow(), e.decision.rule().to_owned());
        Ok(Response::new(v1::ExplainReply { allow, rule, steps: steps(&e), policy_set: set.to_vec() }))
    }
}

fn steps(e: &Explanation) -> Vec<String> {
    let lattice = e.lattice.iter().map(|s| {
        let outcome = match s.outcome {
            StepOutcome::Passed => "passed",
            StepOutcome::Failed => "failed",
            StepOutcome::NotReached => "not reached",
            StepOutcome::NotAsked => "not asked",
        };
        format!("{}: {outcome} ({})", s.rule, s.detail)
    });
    let cedar = e.cedar.iter().map(|c| format!("{} {} ({}): {:?}", c.effect, c.id, c.file, c.verdict).to_lowercase());
    lattice.chain(cedar).chain(e.errors.iter().map(|x| format!("error: {x}"))).collect()
}
