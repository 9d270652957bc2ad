//! Explaining a decision to those who oversee it: the same question as at the door, with its grounds.

use super::core::Core;
use super::door::{Act, Caller};
use crate::audit::{Action as AuditAction, Object};
use crate::domain::fault::Fault;
use crate::domain::ids::RecordId;
use crate::policy::{Action, Explanation, Flow, Resource};

impl Core {
    /// Why `person` (the caller, if empty) may or may not do this with a record that is held here. The look is
    /// audited; labels are shown, never content.
    pub async fn explain(
        &self,
        caller: &Caller,
        person: &str,
        action: Action,
        record: RecordId,
        purpose: &str,
    ) -> Result<(Explanation, [u8; 32]), Fault> {
        let about = if person.is_empty() { caller.person().name.as_str() } else { person };
        let act = Act {
            action: Action::PolicyExplain,
            audit: AuditAction::PolicyExplain,
            object: Object::Text(format!("{action} {record} by {about}").chars().take(200).collect()),
            label: None,
            purpose,
            origin: None,
            request: self.random(),
        };
        let _receipt = self.pass(caller, act, Resource::Audit { agency: self.agency.clone() }).await?;
        if action.flow() != Flow::Read {
            return Err(Fault::usage("UNKNOWN_ACTION", format!("`{action}` does not read a record"))
                .hint("use record-open, record-search, record-list, record-history, record-export-sealed or record-export-clear"));
        }
        let subject = self.person_as_caller(about).ok_or_else(Fault::not_found)?;
        let card = self.find(&self.state(), &record, 0).ok_or_else(Fault::not_found)?;
        let covered = card.facts.covered(&self.state(), &self.agency, self.clock.now());
        let label = card.facts.label.clone();
        let resource = Resource::Record { own: label.originator == self.agency, label };
        let question = self.question(&subject, action, resource, purpose, covered);
        Ok((self.policy.explain(&question), self.policy.set().hash()))
    }
}
