//! What can be asked for. Every command that touches the federation is one of these.

use crate::domain::fault::Fault;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Which way information flows in an act on a record; it selects the lattice rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// From the record to the person: no read up.
    Read,
    /// From the person into a record: nobody marks above the own clearance.
    Write,
    /// No record is involved.
    None,
}

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// An act, by the name that policies and audit events use.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Action {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl Action {
            /// All actions.
            pub const ALL: &'static [Action] = &[$(Action::$name,)*];

            /// The name in policies and audit events.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Action::$name => $text,)*
                }
            }
        }
    };
}

actions! {
    /// Publish a record (`Record` of the own agency; `None` asks whether the person may at all).
    RecordPublish = "record-publish",
    /// Make a new version of a record, at no lower label (`Record` of the own agency).
    RecordAmend = "record-amend",
    /// Approve a proposed record, or turn it down (`Record` of the own agency).
    RecordApprove = "record-approve",
    /// Open a record (`Record`).
    RecordOpen = "record-open",
    /// Search (`None` before the search, `Record` for each hit).
    RecordSearch = "record-search",
    /// List records (`None` before, `Record` for each line).
    RecordList = "record-list",
    /// Versions of a record (`Record`).
    RecordHistory = "record-history",
    /// Copy a record's envelope as held (`Record`).
    RecordExportSealed = "record-export-sealed",
    /// Take a record's texts out in clear (`Record` of the own agency).
    RecordExportClear = "record-export-clear",
    /// Import (`None` before, `Record` for each item).
    RecordImport = "record-import",
    /// Draft an agreement (`None` or the own `Agency`).
    AgreementDraft = "agreement-draft",
    /// Sign an agreement (`None` or the own `Agency`).
    AgreementSign = "agreement-sign",
    /// End an agreement (`None` or the own `Agency`).
    AgreementEnd = "agreement-end",
    /// Show or list agreements (`None` or the own `Agency`).
    AgreementShow = "agreement-show",
    /// Sign a marking guide (`None` or the guide's `Agency`).
    GuideSign = "guide-sign",
    /// End a marking guide (`None` or the guide's `Agency`).
    GuideEnd = "guide-end",
    /// List marking guides (`None` or an `Agency`).
    GuideList = "guide-list",
    /// Add or change a person (the person's `Agency`).
    PersonAdd = "person-add",
    /// Show or list people (their `Agency`).
    PersonList = "person-list",
    /// Suspend a person (the person's `Agency`).
    PersonSuspend = "person-suspend",
    /// Search an audit log (`Audit`).
    AuditSearch = "audit-search",
    /// Who may open a record now (`Audit` of the log that is asked).
    RecordWhoCan = "record-who-can",
    /// Who came to know a record (`Audit` of the log that is asked).
    AuditWhoRead = "audit-who-read",
    /// Export an audit log (`Audit`).
    AuditExport = "audit-export",
    /// Verify an audit log (`Audit`).
    AuditVerify = "audit-verify",
    /// Try a policy set against its cases (`None`).
    PolicyCheck = "policy-check",
    /// Explain a decision about somebody (`Audit` of that person's agency).
    PolicyExplain = "policy-explain",
    /// State of the cluster (`None`).
    ClusterStatus = "cluster-status",
    /// Suspend an agency or let it in again, together with others (`None`).
    FederationChange = "federation-change",
    /// Give up a version that nobody can serve any more (the originator's `Agency`).
    RecordAbandon = "record-abandon",
    /// Show the federation (`None`).
    FederationShow = "federation-show",
    /// Send a notice (`Record` of the own agency, marked for its addressee).
    NoticeSend = "notice-send",
    /// Send one that goes by all paths at once and wakes people (`Record` as above).
    NoticeFlash = "notice-flash",
    /// Read a notice that came in (`Record` of its sender).
    NoticeRead = "notice-read",
    /// Acknowledge or answer one (`Record` of its sender).
    NoticeAck = "notice-ack",
    /// See what became of a notice of the own agency (`None`).
    NoticeTrack = "notice-track",
    /// Confirm the marking of a notice that went without agreement or guide (`Record` of the own agency).
    NoticeConfirm = "notice-confirm",
    /// Run a load test, which publishes records (`None`).
    Bench = "bench",
}

impl Action {
    /// Which lattice rules apply to a record in this act.
    pub fn flow(self) -> Flow {
        match self {
            Action::RecordOpen
            | Action::RecordSearch
            | Action::RecordList
            | Action::RecordHistory
            | Action::RecordExportSealed
            | Action::RecordExportClear
            | Action::NoticeRead
            | Action::NoticeAck => Flow::Read,
            Action::RecordPublish
            | Action::RecordAmend
            | Action::RecordApprove
            | Action::RecordImport
            | Action::NoticeSend
            | Action::NoticeFlash
            | Action::NoticeConfirm => Flow::Write,
            Action::AgreementDraft
            | Action::AgreementSign
            | Action::AgreementEnd
            | Action::AgreementShow
            | Action::GuideSign
            | Action::GuideEnd
            | Action::GuideList
            | Action::PersonAdd
            | Action::PersonList
            | Action::PersonSuspend
            | Action::AuditSearch
            | Action::RecordWhoCan
            | Action::AuditWhoRead
            | Action::AuditExport
            | Action::AuditVerify
            | Action::PolicyCheck
            | Action::PolicyExplain
            | Action::ClusterStatus
            | Action::FederationChange
            | Action::RecordAbandon
            | Action::FederationShow
            | Action::NoticeTrack
            | Action::Bench => Flow::None,
        }
    }
}

impl Action {
    /// Whether it shows something of records.
    pub fn reads_records(self) -> bool {
        matches!(
            self,
            Action::RecordOpen
                | Action::RecordSearch
                | Action::RecordList
                | Action::RecordHistory
                | Action::RecordExportSealed
                | Action::RecordExportClear
        )
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Action {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self, Fault> {
        Action::ALL.iter().copied().find(|a| a.as_str() == text).ok_or_else(|| {
            let shown: String = text.chars().take(80).collect();
            let all: Vec<&str> = Action::ALL.iter().map(|a| a.as_str()).collect();
            Fault::usage("UNKNOWN_ACTION", format!("`{shown}` is not an action"))
                .hint(format!("use {}", all.join(", ")))
        })
    }
}
