//! Roles of people.

use super::canon::{Canon, CanonError, Reader, Writer};
use super::fault::Fault;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// What a person may act as. Several may be held, never both sides of a two-person rule in one matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// 研判员.
    Analyst = 0,
    /// 承办人.
    Originator = 1,
    /// 定密责任人.
    Classifier = 2,
    /// 值班员.
    DutyOfficer = 3,
    /// 保密员: people and agreements of the own agency, audit; never content.
    SecurityOfficer = 4,
    /// 监督员: audit across agencies; never content.
    Inspector = 5,
    /// 运维员: runs nodes; neither content nor audit detail.
    Operator = 6,
}

impl Role {
    /// All roles in format order.
    pub const ALL: [Role; 7] = [
        Role::Analyst,
        Role::Originator,
        Role::Classifier,
        Role::DutyOfficer,
        Role::SecurityOfficer,
        Role::Inspector,
        Role::Operator,
    ];

    /// The word used in commands and policies.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Analyst => "analyst",
            Role::Originator => "originator",
            Role::Classifier => "classifier",
            Role::DutyOfficer => "duty-officer",
            Role::SecurityOfficer => "security-officer",
            Role::Inspector => "inspector",
            Role::Operator => "operator",
        }
    }

    /// Whether holding the role means signing acts of authority, so that its key stands on the ledger (P1).
    pub fn has_authority(self) -> bool {
        matches!(self, Role::Classifier | Role::SecurityOfficer | Role::Inspector)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self, Fault> {
        Role::ALL.into_iter().find(|r| r.as_str() == text).ok_or_else(|| {
            let all: Vec<_> = Role::ALL.iter().map(|r| r.as_str()).collect();
            Fault::usage("UNKNOWN_ROLE", format!("`{}` is not a role", text.chars().take(80).collect::<String>()))
                .hint(format!("use {}", all.join(", ")))
        })
    }
}

impl Canon for Role {
    fn write(&self, w: &mut Writer) {
        w.u8(*self as u8);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        let n = r.u8()?;
        Role::ALL.into_iter().find(|x| *x as u8 == n).ok_or(CanonError::Invalid("role"))
    }
}
