//! Agencies: tiers and what each may mark.

use super::canon::{Canon, CanonError, Reader, Writer};
use super::fault::Fault;
use super::label::Grade;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// 层级.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// 中央.
    National = 0,
    /// 省级.
    Provincial = 1,
    /// 设区的市.
    City = 2,
    /// 县级.
    County = 3,
}

impl Tier {
    /// All tiers.
    pub const ALL: [Tier; 4] = [Tier::National, Tier::Provincial, Tier::City, Tier::County];

    /// The word used in commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::National => "national",
            Tier::Provincial => "provincial",
            Tier::City => "city",
            Tier::County => "county",
        }
    }

    /// The highest grade the tier may mark (SSL §17): 绝密 for national and provincial, 机密 for cities,
    /// nothing above 内部 for counties.
    pub fn marking_authority(self) -> Grade {
        match self {
            Tier::National | Tier::Provincial => Grade::TopSecret,
            Tier::City => Grade::Secret,
            Tier::County => Grade::Internal,
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Tier {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self, Fault> {
        Tier::ALL.into_iter().find(|t| t.as_str() == text).ok_or_else(|| {
            Fault::usage("UNKNOWN_TIER", format!("`{}` is not a tier", text.chars().take(80).collect::<String>()))
                .hint("use national, provincial, city or county")
        })
    }
}

impl Canon for Tier {
    fn write(&self, w: &mut Writer) {
        w.u8(*self as u8);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        let n = r.u8()?;
        Tier::ALL.into_iter().find(|t| *t as u8 == n).ok_or(CanonError::Invalid("tier"))
    }
}
