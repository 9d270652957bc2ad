//! The mandatory part: the label rule of `domain::label` and the terms around it, always AND.
//!
//! Reading: level dominates, every compartment held, agency named, covered by an agreement in force unless
//! the record is the own agency's, inside the scope. Writing: nobody marks above the own clearance or for
//! another agency, and what is released to others needs an agreement that covers it. Nothing here knows
//! about roles: there is no bypass role.

use super::action::Flow;
use super::decision::{LatticeStep, StepOutcome};
use super::question::{Question, Resource};
use crate::domain::label::{Label, LabelDenial};

const SUBJECT: &str = "lattice:subject";
const AGREEMENT: &str = "lattice:agreement";
const SCOPE: &str = "lattice:scope";

/// The order in which the rules are asked and named.
const ORDER: [&str; 6] = [SUBJECT, "lattice:grade", "lattice:compartment", "lattice:release", AGREEMENT, SCOPE];

/// The first rule that fails.
pub(super) fn check(q: &Question) -> Result<(), &'static str> {
    if q.subject.clearance.agency != q.subject.agency {
        return Err(SUBJECT);
    }
    let Resource::Record { label, .. } = &q.resource else { return Ok(()) };
    match q.action.flow() {
        Flow::Read => {
            label.readable_by(&q.subject.clearance).map_err(LabelDenial::rule)?;
            if !q.own() && !q.agreement_covers {
                return Err(AGREEMENT);
            }
            if q.in_scope { Ok(()) } else { Err(SCOPE) }
        }
        Flow::Write => {
            label.markable_by(&q.subject.clearance).map_err(LabelDenial::rule)?;
            if label.release.is_empty() || q.agreement_covers { Ok(()) } else { Err(AGREEMENT) }
        }
        // Cedar's schema refuses a record here; the lattice has nothing to say about it.
        Flow::None => Ok(()),
    }
}

/// Every rule with what became of it.
pub(super) fn steps(q: &Question) -> Vec<LatticeStep> {
    let failed = check(q).err();
    let mut stopped = false;
    ORDER
        .into_iter()
        .map(|rule| {
            let detail = asked(rule, q);
            let outcome = match (&detail, stopped) {
                (None, _) => StepOutcome::NotAsked,
                (Some(_), true) => StepOutcome::NotReached,
                (Some(_), false) if failed == Some(rule) => {
                    stopped = true;
                    StepOutcome::Failed
                }
                (Some(_), false) => StepOutcome::Passed,
            };
            LatticeStep { rule, outcome, detail: detail.unwrap_or_default() }
        })
        .collect()
}

/// What a rule compares in this question; nothing if it is not asked.
fn asked(rule: &str, q: &Question) -> Option<String> {
    let subject = &q.subject;
    if rule == SUBJECT {
        return Some(format!("person of {}, clearance of {}", subject.agency, subject.clearance.agency));
    }
    let Resource::Record { label, .. } = &q.resource else { return None };
    let flow = q.action.flow();
    match rule {
        _ if flow == Flow::None => None,
        "lattice:grade" => Some(format!("label {}, clearance {}", label.grade, subject.clearance.grade)),
        "lattice:compartment" => Some(format!(
            "label [{}], clearance [{}]",
            listed(label.compartments.iter().map(|c| c.as_str())),
            listed(subject.clearance.compartments.iter().map(|c| c.as_str()))
        )),
        "lattice:release" if flow == Flow::Write => {
            Some(format!("originator {}, person of {}", label.originator, subject.clearance.agency))
        }
        "lattice:release" => Some(format!("known to [{}], person of {}", audience(label), subject.clearance.agency)),
        AGREEMENT if flow == Flow::Write => {
            Some(format!("released to {} agencies, covered: {}", label.release.len(), q.agreement_covers))
        }
        AGREEMENT => Some(format!("own: {}, covered: {}", q.own(), q.agreement_covers)),
        SCOPE if flow == Flow::Read => Some(format!("in scope: {}", q.in_scope)),
        _ => None,
    }
}

fn audience(label: &Label) -> String {
    let audience = label.audience();
    listed(audience.iter().map(|a| a.as_str()))
}

fn listed<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(", ")
}
