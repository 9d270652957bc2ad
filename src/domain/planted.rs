//! Faults that tests put into the product's own code, to see that they are found. It exists in tests only.

use std::cell::Cell;

/// A fault, in the room that its name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Planted {
    /// `journal`: answers before what it wrote is synced.
    AcknowledgeBeforeSync,
    /// `audit`: gives a receipt for a disclosure and writes no entry.
    SkipAuditEntry,
    /// `service`: pushes a record to a node that is not entitled to it.
    PushToAnybody,
    /// `service`: serves a person whose access was taken away.
    ServeSuspendedPerson,
    /// `cluster`: answers nodes of an agency that is suspended.
    ServeSuspendedAgency,
    /// `notice`: gives a receipt for a recall and goes on showing the notice.
    ShowRecalled,
}

thread_local! {
    static NOW: Cell<Option<Planted>> = const { Cell::new(None) };
}

/// Plants a fault into whatever runs on this thread, or takes it out.
pub(crate) fn plant(fault: Option<Planted>) {
    NOW.with(|now| now.set(fault));
}

/// Whether this one is planted here.
pub(crate) fn is_planted(fault: Planted) -> bool {
    NOW.with(|now| now.get() == Some(fault))
}
