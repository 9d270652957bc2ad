//! Labels and the mandatory access rule (the lattice).
//!
//! Order: `a` is dominated by `b` when b's grade is at least a's, b's compartments include a's, and b's
//! release list, caveats and period are at least as strict. [`Label::join`] is the least upper bound, where there
//! is one. A reader must satisfy every condition of [`Label::readable_by`]; there is no bypass. Source:
//! 保守国家秘密法 (2024) §14, §18, §20, §21; Bell and LaPadula for the grade order.

use super::canon::{Canon, CanonError, Reader, Writer, read_set, write_set};
use super::fault::Fault;
use super::ids::{AgencyId, slug};
use super::limits;
use super::time::Millis;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, str::FromStr};

/// 密级. The order is the format and the lattice's chain. Mind the trap: 秘密 is the lowest *secret* grade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// 内部: not a state secret.
    Internal = 0,
    /// 秘密.
    Confidential = 1,
    /// 机密.
    Secret = 2,
    /// 绝密.
    TopSecret = 3,
}

impl Grade {
    /// All grades, lowest first.
    pub const ALL: [Grade; 4] = [Grade::Internal, Grade::Confidential, Grade::Secret, Grade::TopSecret];

    /// The Chinese marking.
    pub fn zh(self) -> &'static str {
        match self {
            Grade::Internal => "内部",
            Grade::Confidential => "秘密",
            Grade::Secret => "机密",
            Grade::TopSecret => "绝密",
        }
    }

    /// The word used in commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Grade::Internal => "internal",
            Grade::Confidential => "confidential",
            Grade::Secret => "secret",
            Grade::TopSecret => "top-secret",
        }
    }

    /// Longest classification period in years; none for 内部 (SSL §20).
    pub fn max_years(self) -> Option<u8> {
        match self {
            Grade::Internal => None,
            Grade::Confidential => Some(10),
            Grade::Secret => Some(20),
            Grade::TopSecret => Some(30),
        }
    }
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Grade {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self, Fault> {
        Grade::ALL.into_iter().find(|g| g.as_str() == text || g.zh() == text).ok_or_else(|| {
            let shown: String = text.chars().take(80).collect();
            Fault::usage("UNKNOWN_GRADE", format!("`{shown}` is not a grade"))
                .hint("use internal, confidential, secret or top-secret")
        })
    }
}

impl Canon for Grade {
    fn write(&self, w: &mut Writer) {
        w.u8(*self as u8);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        let n = r.u8()?;
        Grade::ALL.into_iter().find(|g| *g as u8 == n).ok_or(CanonError::Invalid("grade"))
    }
}

slug!(
    /// 专项: a named need-to-know circle within a grade.
    Compartment, 32, "compartment", "BAD_COMPARTMENT"
);

/// A handling condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Caveat {
    /// 原发控制: no onward release, derivation or lowering without the originator.
    Orcon = 0,
    /// 合符: the data key is split, one half stays with the originator (P20).
    TwoHalves = 1,
}

impl FromStr for Caveat {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self, Fault> {
        match text {
            "orcon" => Ok(Caveat::Orcon),
            "two-halves" => Ok(Caveat::TwoHalves),
            _ => Err(Fault::usage(
                "UNKNOWN_CAVEAT",
                format!("`{}` is not a caveat", text.chars().take(80).collect::<String>()),
            )
            .hint("use orcon or two-halves")),
        }
    }
}

impl Canon for Caveat {
    fn write(&self, w: &mut Writer) {
        w.u8(*self as u8);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        match r.u8()? {
            0 => Ok(Caveat::Orcon),
            1 => Ok(Caveat::TwoHalves),
            _ => Err(CanonError::Invalid("caveat")),
        }
    }
}

/// 保密期限: how long the classification lasts, from the issue date.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Period {
    /// Calendar years.
    Years(u8),
    /// Until a moment.
    Until(Millis),
    /// Until a stated condition, at most 200 characters.
    Condition(String),
}

impl Period {
    /// The same period as far as a lower grade may last; none for internal, which takes none.
    pub fn within(&self, grade: Grade, issued: Millis) -> Option<Period> {
        let max = grade.max_years()?;
        Some(match self {
            Period::Years(n) => Period::Years((*n).min(max)),
            Period::Until(t) => Period::Until((*t).min(issued.plus_years(max))),
            Period::Condition(c) => Period::Condition(c.clone()),
        })
    }

    /// Refuses a period over the legal maximum of the grade (SSL §20), counted from `issued`.
    pub fn check(&self, grade: Grade, issued: Millis) -> Result<(), Fault> {
        let Some(max) = grade.max_years() else {
            return Err(Fault::usage(
                "PERIOD_ON_INTERNAL",
                "内部 (internal) is not a state secret and takes no period",
            )
            .hint("leave out --period, --until and --condition"));
        };
        let too_long = || {
            Fault::usage(
                "PERIOD_TOO_LONG",
                format!("the period is over the {max} years that {} ({grade}) may last", grade.zh()),
            )
            .hint("保守国家秘密法 §20: at most 30, 20 and 10 years for 绝密, 机密 and 秘密")
        };
        match self {
            Period::Years(0) => Err(Fault::usage("PERIOD_EMPTY", "a period of 0 years marks nothing")),
            Period::Years(n) if *n > max => Err(too_long()),
            Period::Until(t) if *t <= issued => {
                Err(Fault::usage("PERIOD_PAST", "the end of the period is in the past"))
            }
            Period::Until(t) if *t > issued.plus_years(max) => Err(too_long()),
            Period::Condition(c) if c.trim().is_empty() || c.chars().count() > 200 => {
                Err(Fault::usage("BAD_CONDITION", "a condition has 1 to 200 characters"))
            }
            _ => Ok(()),
        }
    }

    /// Whether what has this period is classified at least as long under the other one, of the same issue. Years count from the
    /// issue and a date does not, and nobody knows when a condition is met: of two kinds, and of two conditions, neither is known
    /// to be the longer one. The order of the variants is format, and says nothing of it.
    fn is_within(&self, other: &Period) -> bool {
        match (self, other) {
            (Period::Years(own), Period::Years(other)) => own <= other,
            (Period::Until(own), Period::Until(other)) => own <= other,
            (Period::Condition(own), Period::Condition(other)) => own == other,
            (Period::Years(_) | Period::Until(_) | Period::Condition(_), _) => false,
        }
    }
}

impl Canon for Period {
    fn write(&self, w: &mut Writer) {
        match self {
            Period::Years(n) => w.u8(0).u8(*n),
            Period::Until(t) => w.u8(1).value(t),
            Period::Condition(c) => w.u8(2).str(c),
        };
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        match r.u8()? {
            0 => r.u8().map(Period::Years),
            1 => r.value().map(Period::Until),
            2 => Ok(Period::Condition(r.str(800)?.to_owned())),
            _ => Err(CanonError::Invalid("period")),
        }
    }
}

/// 标密: grade, compartments, release list, caveats and period of one portion or record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Label {
    /// Whose record it is; its own people need no release.
    pub originator: AgencyId,
    /// 密级.
    pub grade: Grade,
    /// 专项; a reader must hold every one.
    pub compartments: BTreeSet<Compartment>,
    /// 知悉范围: agencies besides the originator. Empty means nobody but the originator.
    pub release: BTreeSet<AgencyId>,
    /// Handling conditions.
    pub caveats: BTreeSet<Caveat>,
    /// 保密期限; none at 内部.
    pub period: Option<Period>,
}

/// What one person, or one agency's systems, may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clearance {
    /// Whose person.
    pub agency: AgencyId,
    /// Highest grade.
    pub grade: Grade,
    /// Compartments held.
    pub compartments: BTreeSet<Compartment>,
}

/// The first condition of the lattice that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LabelDenial {
    /// The label's grade is above the clearance.
    Grade,
    /// A compartment is not held.
    Compartment,
    /// The agency is not named.
    Release,
}

impl LabelDenial {
    /// The rule's name in audit events.
    pub fn rule(self) -> &'static str {
        match self {
            LabelDenial::Grade => "lattice:grade",
            LabelDenial::Compartment => "lattice:compartment",
            LabelDenial::Release => "lattice:release",
        }
    }
}

impl Label {
    /// The reader's part of the mandatory rule: level dominates AND every compartment is held AND the agency is named.
    pub fn readable_by(&self, c: &Clearance) -> Result<(), LabelDenial> {
        self.within(c)?;
        if c.agency != self.originator && !self.release.contains(&c.agency) {
            return Err(LabelDenial::Release);
        }
        Ok(())
    }

    /// The writer's part: nobody marks above the own clearance or in a compartment not held.
    pub fn markable_by(&self, c: &Clearance) -> Result<(), LabelDenial> {
        self.within(c)?;
        if c.agency != self.originator { Err(LabelDenial::Release) } else { Ok(()) }
    }

    fn within(&self, c: &Clearance) -> Result<(), LabelDenial> {
        if self.grade > c.grade {
            return Err(LabelDenial::Grade);
        }
        if !self.compartments.is_subset(&c.compartments) {
            return Err(LabelDenial::Compartment);
        }
        Ok(())
    }

    /// Whether `self` may flow into `other` (no write down): other is at least as high and as narrow.
    pub fn flows_to(&self, other: &Label) -> bool {
        self.grade <= other.grade
            && self.compartments.is_subset(&other.compartments)
            && other.audience().is_subset(&self.audience())
            && self.caveats.is_subset(&other.caveats)
            && self.period.as_ref().is_none_or(|own| other.period.as_ref().is_some_and(|other| own.is_within(other)))
    }

    /// Least upper bound for a record derived from both, originated by `self`'s originator:
    /// highest grade, union of compartments, intersection of audiences, every caveat, longest period (SSL §18). None where
    /// nobody can say which period is the longer one: whoever marks states one.
    #[must_use]
    pub fn join(&self, other: &Label) -> Option<Label> {
        let period = match (&self.period, &other.period) {
            (None, period) | (period, None) => period.clone(),
            (Some(own), Some(other)) if own.is_within(other) => Some(other.clone()),
            (Some(own), Some(other)) if other.is_within(own) => Some(own.clone()),
            (Some(_), Some(_)) => return None,
        };
        let audience: BTreeSet<AgencyId> = self.audience().intersection(&other.audience()).cloned().collect();
        Some(Label {
            originator: self.originator.clone(),
            grade: self.grade.max(other.grade),
            compartments: self.compartments.union(&other.compartments).cloned().collect(),
            release: audience.into_iter().filter(|a| *a != self.originator).collect(),
            caveats: self.caveats.union(&other.caveats).copied().collect(),
            period,
        })
    }

    /// The release list with the originator.
    pub fn audience(&self) -> BTreeSet<AgencyId> {
        self.release.iter().cloned().chain([self.originator.clone()]).collect()
    }

    /// The bytes that name this label's access class: what reading depends on, and nothing else.
    pub fn class_id(&self) -> Vec<u8> {
        let mut w = Writer::new("hufu.label-class", 1);
        w.value(&self.originator).value(&self.grade);
        write_set(&mut w, &self.compartments);
        write_set(&mut w, &self.release);
        write_set(&mut w, &self.caveats);
        w.finish()
    }

    /// The marking as printed, e.g. `机密★20年` (SSL §22: 内部 carries no star and no period).
    pub fn marking(&self) -> String {
        match (&self.period, self.grade) {
            (_, Grade::Internal) | (None, _) => self.grade.zh().to_owned(),
            (Some(Period::Years(n)), g) => format!("{}★{n}年", g.zh()),
            (Some(Period::Until(t)), g) => format!("{}★至{}", g.zh(), t.to_date()),
            (Some(Period::Condition(c)), g) => format!("{}★{c}", g.zh()),
        }
    }
}

impl Canon for Label {
    fn write(&self, w: &mut Writer) {
        w.value(&self.originator).value(&self.grade);
        write_set(w, &self.compartments);
        write_set(w, &self.release);
        write_set(w, &self.caveats);
        w.option(self.period.as_ref(), |w, p| p.write(w));
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(Label {
            originator: r.value()?,
            grade: r.value()?,
            compartments: read_set(r, limits::COMPARTMENTS)?,
            release: read_set(r, limits::AGENCIES)?,
            caveats: read_set(r, 8)?,
            period: r.option(Period::read)?,
        })
    }
}

#[cfg(test)]
#[path = "label_laws.rs"]
mod laws;
