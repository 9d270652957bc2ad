//! May this person do this? One question, [`Engine::decide`], and one answer that names its rule.
//!
//! Two parts, joined by AND. First the mandatory lattice of `domain::label`, in code, with the terms that
//! surround it (an agreement covers, the reader is in scope). Then a Cedar policy set, which can only take
//! away: it is not asked to overrule the lattice and has no way to.
//!
//! This room does not authenticate, does not audit, and keeps nothing between questions but what Cedar answered to the very
//! same one. It does not find out whether an agreement covers a record or a person is in scope: the caller looks that up and says so.
//!
//! Invariants
//! - A lattice denial is final.
//! - Anything Cedar reports as an error is a denial. Cedar itself skips a policy that errors, a `forbid`
//!   included, so its own answer alone is not safe.
//! - A set that does not validate strictly against its schema never decides anything; in its place stands
//!   one that denies everything.
//! - A denial of reading a record that exists looks to the person like absence ([`DenyKind::Hidden`]).
//!
//! Callers: `service` (its door, for every act), and `cli` through it for `policy check` and `policy explain`.

mod action;
mod built_in;
mod cases;
mod cedar;
mod decision;
mod engine;
mod error;
mod lattice;
mod question;
mod remembered;
mod set;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;

pub use action::{Action, Flow};
pub use cases::{Case, CaseOutcome, CheckReport, check_built_in, check_dir};
pub use decision::{CedarVerdict, Considered, Decision, DenyKind, Explanation, LatticeStep, StepOutcome};
pub use engine::Engine;
pub use error::PolicyError;
pub use question::{Question, Resource, Subject};
pub use set::PolicySet;
