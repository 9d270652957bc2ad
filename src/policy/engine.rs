//! The one predicate: lattice, then Cedar, then the answer.

use super::action::Flow;
use super::cedar::{self, Asked};
use super::decision::{CedarVerdict, Considered, DENY_ALL, Decision, DenyKind, ERROR, Explanation, NO_PERMIT};
use super::error::PolicyError;
use super::lattice;
use super::question::{Question, Resource};
use super::remembered::Remembered;
use super::set::{PolicySet, State, Valid};
use cedar_policy as cp;
use std::collections::BTreeSet;

/// Decides by one policy set.
#[derive(Debug)]
pub struct Engine {
    set: PolicySet,
    authorizer: cp::Authorizer,
    remembered: Remembered,
}

impl Engine {
    /// Decides by this set, a deny-all one included.
    pub fn new(set: PolicySet) -> Engine {
        Engine { set, authorizer: cp::Authorizer::new(), remembered: Remembered::default() }
    }

    /// Loads and validates a set of (file name, text).
    pub fn load(files: &[(&str, &str)], schema: &str) -> Result<Engine, PolicyError> {
        PolicySet::load(files, schema).map(Engine::new)
    }

    /// Like [`Engine::load`], but an invalid set gives an engine that denies everything, with the error to alarm with.
    pub fn load_or_deny_all(files: &[(&str, &str)], schema: &str) -> (Engine, Option<PolicyError>) {
        or_deny_all(PolicySet::load(files, schema))
    }

    /// The set that is part of the program.
    pub fn built_in() -> Result<Engine, PolicyError> {
        PolicySet::built_in().map(Engine::new)
    }

    /// Like [`Engine::built_in`], denying everything when it is invalid.
    pub fn built_in_or_deny_all() -> (Engine, Option<PolicyError>) {
        or_deny_all(PolicySet::built_in())
    }

    /// The set that decides.
    pub fn set(&self) -> &PolicySet {
        &self.set
    }

    /// The answer to one question. Never fails: what cannot be decided is denied.
    pub fn decide(&self, q: &Question) -> Decision {
        let valid = match &self.set.state {
            State::DenyAll(_) => return deny(DENY_ALL, broken(q)),
            State::Valid(valid) => valid,
        };
        if let Err(rule) = lattice::check(q) {
            return deny(rule, kind(q));
        }
        self.remembered.answer(cedar::name(q), || match cedar::translate(q, &valid.schema) {
            Ok(asked) => self.by_cedar(q, valid, &asked),
            Err(_) => deny(ERROR, broken(q)),
        })
    }

    /// The same answer with its grounds.
    pub fn explain(&self, q: &Question) -> Explanation {
        let decision = self.decide(q);
        let lattice = lattice::steps(q);
        let mut errors = Vec::new();
        let mut considered = Vec::new();
        match &self.set.state {
            State::DenyAll(reason) => errors.push(reason.clone()),
            State::Valid(valid) => match cedar::translate(q, &valid.schema) {
                Err(e) => errors.push(e),
                Ok(asked) => {
                    let whole = self.authorizer.is_authorized(&asked.request, &valid.policies, &asked.entities);
                    errors.extend(whole.diagnostics().errors().map(ToString::to_string));
                    considered = self.each(valid, &asked);
                }
            },
        }
        Explanation { lattice, cedar: considered, errors, decision }
    }

    fn by_cedar(&self, q: &Question, valid: &Valid, asked: &Asked) -> Decision {
        let response = self.authorizer.is_authorized(&asked.request, &valid.policies, &asked.entities);
        // Cedar decides as if a policy that errors did not exist, a forbid included: an error is a denial here.
        if response.diagnostics().errors().next().is_some() {
            return deny(ERROR, broken(q));
        }
        let reasons: BTreeSet<String> = response.diagnostics().reason().map(ToString::to_string).collect();
        match response.decision() {
            cp::Decision::Allow if reasons.is_empty() => deny(ERROR, broken(q)),
            cp::Decision::Allow => Decision::Allow { policies: reasons.into_iter().collect() },
            cp::Decision::Deny => {
                let first = valid.order.iter().find(|e| reasons.contains(&e.id));
                deny(first.map_or(NO_PERMIT, |e| e.id.as_str()), kind(q))
            }
        }
    }

    /// Every policy asked alone, in reading order.
    fn each(&self, valid: &Valid, asked: &Asked) -> Vec<Considered> {
        valid
            .order
            .iter()
            .filter_map(|entry| {
                let policy = valid.policies.policy(&cp::PolicyId::new(&entry.id))?;
                let effect = match policy.effect() {
                    cp::Effect::Permit => "permit",
                    cp::Effect::Forbid => "forbid",
                };
                let verdict = match cp::PolicySet::from_policies([policy.clone()]) {
                    Err(_) => CedarVerdict::Error,
                    Ok(alone) => {
                        let response = self.authorizer.is_authorized(&asked.request, &alone, &asked.entities);
                        if response.diagnostics().errors().next().is_some() {
                            CedarVerdict::Error
                        } else if response.diagnostics().reason().next().is_some() {
                            CedarVerdict::Applies
                        } else {
                            CedarVerdict::Silent
                        }
                    }
                };
                Some(Considered { id: entry.id.clone(), file: entry.file.clone(), effect, verdict })
            })
            .collect()
    }
}

fn or_deny_all(loaded: Result<PolicySet, PolicyError>) -> (Engine, Option<PolicyError>) {
    match loaded {
        Ok(set) => (Engine::new(set), None),
        Err(e) => (Engine::new(PolicySet::deny_all(e.to_string())), Some(e)),
    }
}

fn deny(rule: &str, kind: DenyKind) -> Decision {
    Decision::Deny { rule: rule.to_owned(), kind }
}

/// Reading an existing record must not tell that it exists, whichever rule denied it.
fn kind(q: &Question) -> DenyKind {
    match (&q.resource, q.action.flow()) {
        (Resource::Record { .. }, Flow::Read) => DenyKind::Hidden,
        _ => DenyKind::Refused,
    }
}

/// The same for an evaluation error: where existence must not show, neither must the error.
fn broken(q: &Question) -> DenyKind {
    match kind(q) {
        DenyKind::Hidden => DenyKind::Hidden,
        DenyKind::Refused | DenyKind::Broken => DenyKind::Broken,
    }
}
