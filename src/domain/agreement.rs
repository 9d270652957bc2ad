//! 共享协议: what agencies agreed to share, as terms that every party's officer signs.

use super::canon::{Canon, CanonError, Reader, Writer, read_set, write_set};
use super::fault::Fault;
use super::ids::{AgencyId, AgreementId};
use super::label::{Compartment, Grade};
use super::limits;
use super::record::Kind;
use super::time::Millis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The terms of an agreement. Signed as bytes; a change is a new version that all sign again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Its name.
    pub id: AgreementId,
    /// 1, 2, …
    pub version: u32,
    /// Who shares; every one may publish and read.
    pub parties: BTreeSet<AgencyId>,
    /// Kinds of record covered.
    pub kinds: BTreeSet<Kind>,
    /// Highest grade covered.
    pub grade: Grade,
    /// Compartments covered.
    pub compartments: BTreeSet<Compartment>,
    /// Purpose in words.
    pub purpose: String,
    /// Default classification period in years, where the grade takes one.
    pub default_period_years: u8,
    /// Default legal basis.
    pub legal_basis: String,
    /// Default retention in years.
    pub retention_years: u8,
    /// Start of force.
    pub start: Millis,
    /// End of force.
    pub end: Millis,
}

impl Terms {
    /// Refuses terms that could never hold.
    pub fn check(&self) -> Result<(), Fault> {
        let bad = |m: &str| Err(Fault::usage("BAD_TERMS", m));
        if self.parties.len() < 2 {
            return bad("an agreement has at least two parties");
        }
        if self.kinds.is_empty() {
            return bad("an agreement covers at least one kind of record");
        }
        if self.start >= self.end {
            return bad("the agreement ends before it starts");
        }
        if self.purpose.trim().is_empty() || self.purpose.chars().count() > 400 {
            return bad("the purpose has 1 to 400 characters");
        }
        if self.legal_basis.chars().count() > 400 {
            return bad("the legal basis has at most 400 characters");
        }
        Ok(())
    }

    /// Whether the terms cover a record of this kind, grade and compartments at this time.
    pub fn cover(
        &self,
        kind: Kind,
        grade: Grade,
        compartments: &BTreeSet<Compartment>,
        at: Millis,
    ) -> Result<(), Fault> {
        let refuse = |m: String| Err(Fault::refused("OUTSIDE_AGREEMENT", m));
        if at < self.start || at >= self.end {
            return refuse(format!("agreement `{}` is not in force today", self.id));
        }
        if grade > self.grade {
            return refuse(format!("agreement `{}` covers up to {}, not {grade}", self.id, self.grade));
        }
        if !self.kinds.contains(&kind) {
            return refuse(format!("agreement `{}` does not cover kind `{kind}`", self.id));
        }
        if let Some(c) = compartments.difference(&self.compartments).next() {
            return refuse(format!("agreement `{}` does not cover compartment `{c}`", self.id));
        }
        Ok(())
    }
}

impl Canon for Terms {
    fn write(&self, w: &mut Writer) {
        w.value(&self.id).u32(self.version);
        write_set(w, &self.parties);
        write_set(w, &self.kinds);
        w.value(&self.grade);
        write_set(w, &self.compartments);
        w.str(&self.purpose).u8(self.default_period_years).str(&self.legal_basis).u8(self.retention_years);
        w.value(&self.start).value(&self.end);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(Terms {
            id: r.value()?,
            version: r.u32()?,
            parties: read_set(r, limits::AGENCIES)?,
            kinds: read_set(r, 16)?,
            grade: r.value()?,
            compartments: read_set(r, limits::COMPARTMENTS)?,
            purpose: r.str(1600)?.to_owned(),
            default_period_years: r.u8()?,
            legal_basis: r.str(1600)?.to_owned(),
            retention_years: r.u8()?,
            start: r.value()?,
            end: r.value()?,
        })
    }
}

/// 定密细目: a classifier's standing approval, the second person of a publish (rule 5 of the label rules).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guide {
    /// Agency of the classifier.
    pub agency: AgencyId,
    /// Agreement under which it stands.
    pub agreement: AgreementId,
    /// Kinds it covers.
    pub kinds: BTreeSet<Kind>,
    /// Highest grade it covers.
    pub grade: Grade,
    /// End of the approval.
    pub until: Millis,
}

impl Canon for Guide {
    fn write(&self, w: &mut Writer) {
        w.value(&self.agency).value(&self.agreement);
        write_set(w, &self.kinds);
        w.value(&self.grade).value(&self.until);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(Guide {
            agency: r.value()?,
            agreement: r.value()?,
            kinds: read_set(r, 16)?,
            grade: r.value()?,
            until: r.value()?,
        })
    }
}
