//! Answers: short for the door, long for `policy explain`.

use crate::domain::fault::{Fault, FaultKind};
use serde::Serialize;

/// The rule named when no policy permits.
pub(super) const NO_PERMIT: &str = "policy:no-permit";
/// The rule named when Cedar reported an error or the question did not fit the schema.
pub(super) const ERROR: &str = "policy:error";
/// The rule named by a set that denies everything.
pub(super) const DENY_ALL: &str = "policy:deny-all";

/// What the person may be told about a denial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DenyKind {
    /// Reading something that exists: must look like absence (exit 4).
    Hidden,
    /// One's own act: may be named (exit 3).
    Refused,
    /// Nobody could be answered: the policy set is broken (exit 5).
    Broken,
}

impl DenyKind {
    /// The kind of fault it becomes.
    pub fn fault_kind(self) -> FaultKind {
        match self {
            DenyKind::Hidden => FaultKind::NotFound,
            DenyKind::Refused => FaultKind::Refused,
            DenyKind::Broken => FaultKind::Unavailable,
        }
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "decision")]
pub enum Decision {
    /// Allowed, by these permits (ids, sorted).
    Allow {
        /// Ids of the permits that applied.
        policies: Vec<String>,
    },
    /// Denied.
    Deny {
        /// `lattice:…`, `policy:…` or the id of the Cedar policy that forbids: what the audit event names.
        rule: String,
        /// What the person may be told.
        kind: DenyKind,
    },
}

impl Decision {
    /// Whether it is a permission.
    pub fn is_allow(&self) -> bool {
        matches!(self, Decision::Allow { .. })
    }

    /// The deciding rule for the audit event: the denial's rule, or the first permit.
    pub fn rule(&self) -> &str {
        match self {
            Decision::Allow { policies } => policies.first().map_or("", String::as_str),
            Decision::Deny { rule, .. } => rule,
        }
    }

    /// What the person is told; nothing when allowed. A hidden denial is word for word the absence of the thing.
    pub fn fault(&self) -> Option<Fault> {
        let Decision::Deny { rule, kind } = self else { return None };
        Some(match kind {
            DenyKind::Hidden => Fault::not_found(),
            DenyKind::Broken => {
                Fault::unavailable("POLICY_UNAVAILABLE", "this node has no valid policy set and refuses everything")
                    .hint("ask the node's security officer; `hufu doctor` says what is wrong")
            }
            DenyKind::Refused => refused(rule),
        })
    }
}

fn refused(rule: &str) -> Fault {
    let (reason, message) = match rule {
        "lattice:grade" => ("ABOVE_CLEARANCE", "the grade is above your clearance".to_owned()),
        "lattice:compartment" => ("COMPARTMENT_NOT_HELD", "you do not hold every compartment of the label".to_owned()),
        "lattice:release" => ("FOREIGN_ORIGINATOR", "only the originator's own people mark its records".to_owned()),
        "lattice:agreement" => ("NOT_COVERED", "no agreement in force covers this".to_owned()),
        "purpose-missing" | "purpose-too-long" => {
            return Fault::usage("BAD_PURPOSE", "a purpose of 1 to 200 characters is required")
                .hint("state a case number or an order with --purpose");
        }
        other => ("POLICY_REFUSED", format!("refused by policy `{other}`")),
    };
    Fault::refused(reason, message)
}

/// How far one lattice rule got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepOutcome {
    /// It holds.
    Passed,
    /// It does not; the lattice stops here.
    Failed,
    /// An earlier rule failed.
    NotReached,
    /// The act is not on a record of which this rule speaks.
    NotAsked,
}

/// One rule of the mandatory part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LatticeStep {
    /// Its name, e.g. `lattice:grade`.
    pub rule: &'static str,
    /// What became of it.
    pub outcome: StepOutcome,
    /// What was compared, in words. Labels and clearances only, never content.
    pub detail: String,
}

/// What one Cedar policy said by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CedarVerdict {
    /// Its conditions hold.
    Applies,
    /// They do not.
    Silent,
    /// It could not be evaluated.
    Error,
}

/// One Cedar policy in an explanation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Considered {
    /// Its id.
    pub id: String,
    /// The file it is in.
    pub file: String,
    /// `permit` or `forbid`.
    pub effect: &'static str,
    /// What it said.
    pub verdict: CedarVerdict,
}

/// A decision with its grounds, for `policy explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The mandatory part, in order.
    pub lattice: Vec<LatticeStep>,
    /// Every policy of the set, in reading order; shown even if the lattice denied, when it decides nothing.
    pub cedar: Vec<Considered>,
    /// What Cedar or its schema complained of.
    pub errors: Vec<String>,
    /// The answer, the same that [`super::Engine::decide`] gives.
    pub decision: Decision,
}
