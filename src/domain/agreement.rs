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
    /// Who shares; every one may read.
    pub parties: BTreeSet<AgencyId>,
    /// Direction: which parties publish under it; empty for all of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub publishers: BTreeSet<AgencyId>,
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
        if !self.publishers.is_subset(&self.parties) {
            return bad("who publishes under an agreement is a party of it");
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

    /// Whether an agency may publish under it.
    pub fn may_publish(&self, agency: &AgencyId) -> bool {
        self.parties.contains(agency) && (self.publishers.is_empty() || self.publishers.contains(agency))
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

/// Stands where the length of the name stands in terms without a direction, which were written first; no name is so long.
const DIRECTED: u32 = u32::MAX;

impl Canon for Terms {
    fn write(&self, w: &mut Writer) {
        if !self.publishers.is_empty() {
            w.u32(DIRECTED);
            write_set(w, &self.publishers);
        }
        w.value(&self.id).u32(self.version);
        write_set(w, &self.parties);
        write_set(w, &self.kinds);
        w.value(&self.grade);
        write_set(w, &self.compartments);
        w.str(&self.purpose).u8(self.default_period_years).str(&self.legal_basis).u8(self.retention_years);
        w.value(&self.start).value(&self.end);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        let mut ahead = r.clone();
        let mut publishers = BTreeSet::new();
        if ahead.u32()? == DIRECTED {
            publishers = read_set(&mut ahead, limits::AGENCIES)?;
            if publishers.is_empty() {
                return Err(CanonError::Invalid("direction of terms"));
            }
            *r = ahead;
        }
        Ok(Terms {
            id: r.value()?,
            version: r.u32()?,
            parties: read_set(r, limits::AGENCIES)?,
            publishers,
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    fn terms() -> Terms {
        Terms {
            id: "border-2026".parse().unwrap(),
            version: 1,
            parties: ["police".parse().unwrap(), "customs".parse().unwrap()].into(),
            publishers: BTreeSet::new(),
            kinds: [Kind::Report].into(),
            grade: Grade::Secret,
            compartments: BTreeSet::new(),
            purpose: "演练".into(),
            default_period_years: 10,
            legal_basis: String::new(),
            retention_years: 5,
            start: Millis(1),
            end: Millis(2),
        }
    }

    /// Terms without a direction are signed as the bytes that they had before there was one.
    #[test]
    fn a_direction_is_written_only_where_there_is_one() {
        let both = terms();
        assert!(both.to_canon().starts_with(b"\0\0\0\x0bborder-2026"));
        assert_eq!(Terms::from_canon(&both.to_canon()).unwrap(), both);
        let one_way = Terms { publishers: ["police".parse().unwrap()].into(), ..terms() };
        assert_eq!(Terms::from_canon(&one_way.to_canon()).unwrap(), one_way);
        assert!(one_way.may_publish(&"police".parse().unwrap()) && !one_way.may_publish(&"customs".parse().unwrap()));
        assert!(both.may_publish(&"customs".parse().unwrap()) && !both.may_publish(&"cyberspace".parse().unwrap()));
        let stranger = Terms { publishers: ["cyberspace".parse().unwrap()].into(), ..terms() };
        assert!(stranger.check().is_err());
    }
}
