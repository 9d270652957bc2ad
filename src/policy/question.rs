//! The one question, with everything that may bear on the answer.

use super::action::Action;
use crate::domain::ids::AgencyId;
use crate::domain::label::{Clearance, Grade, Label};
use crate::domain::person::Role;
use std::collections::BTreeSet;

/// The person who acts, as the directory has them at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Whose person.
    pub agency: AgencyId,
    /// The name in that agency's directory.
    pub name: String,
    /// Roles held now.
    pub roles: BTreeSet<Role>,
    /// Clearance held now; its agency is the subject's.
    pub clearance: Clearance,
    /// Whether all access was taken away.
    pub suspended: bool,
}

/// What the act is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// A record or portion, by its label.
    Record {
        /// The label.
        label: Label,
        /// Whether the subject's agency is the originator. It is believed only where the label says the same.
        own: bool,
    },
    /// The audit log of an agency's node.
    Audit {
        /// Whose.
        agency: AgencyId,
    },
    /// An agency: its people, its guides, its agreements.
    Agency(AgencyId),
    /// Nothing in particular.
    None,
}

impl Resource {
    /// Whether it is a record above internal.
    pub fn is_above_internal(&self) -> bool {
        matches!(self, Resource::Record { label, .. } if label.grade > Grade::Internal)
    }
}

/// May this subject do this, to that, for this purpose?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Who.
    pub subject: Subject,
    /// Does what.
    pub action: Action,
    /// To what.
    pub resource: Resource,
    /// 查阅事由 as stated; empty when none was.
    pub purpose: String,
    /// Whether an agreement in force covers the record for this agency. Looked up by the caller in the ledger.
    pub agreement_covers: bool,
    /// Whether the subject is inside the record's need-to-know scope within the own agency.
    pub in_scope: bool,
}

impl Question {
    /// Whether the record is the subject's own agency's: what the caller says and what the label says, both.
    pub(super) fn own(&self) -> bool {
        match &self.resource {
            Resource::Record { label, own } => *own && label.originator == self.subject.agency,
            Resource::Audit { .. } | Resource::Agency(_) | Resource::None => false,
        }
    }

    /// Length of the purpose in characters; 0 when nothing but blanks was stated.
    pub(super) fn purpose_chars(&self) -> i64 {
        if self.purpose.trim().is_empty() {
            return 0;
        }
        i64::try_from(self.purpose.chars().count()).unwrap_or(i64::MAX)
    }
}
