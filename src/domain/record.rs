//! Records as their author knows them: kind, references, grading, portions.

use super::canon::{Canon, CanonError, Reader, Writer};
use super::fault::Fault;
use super::limits;
use super::time::Millis;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// 情报种类.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// 报告.
    Report = 0,
    /// 线索.
    Lead = 1,
    /// 人员.
    Person = 2,
    /// 物品.
    Item = 3,
    /// 资金.
    Fund = 4,
    /// 场所.
    Place = 5,
    /// 事件.
    Event = 6,
    /// 案件.
    Case = 7,
}

impl Kind {
    /// All kinds in format order.
    pub const ALL: [Kind; 8] =
        [Kind::Report, Kind::Lead, Kind::Person, Kind::Item, Kind::Fund, Kind::Place, Kind::Event, Kind::Case];

    /// The word used in commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Report => "report",
            Kind::Lead => "lead",
            Kind::Person => "person",
            Kind::Item => "item",
            Kind::Fund => "fund",
            Kind::Place => "place",
            Kind::Event => "event",
            Kind::Case => "case",
        }
    }

    /// Whether a record of this kind must give its own retention date.
    pub fn needs_retention(self) -> bool {
        matches!(self, Kind::Person | Kind::Lead | Kind::Case)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self, Fault> {
        Kind::ALL.into_iter().find(|k| k.as_str() == text).ok_or_else(|| {
            let all: Vec<_> = Kind::ALL.iter().map(|k| k.as_str()).collect();
            Fault::usage("UNKNOWN_KIND", format!("`{}` is not a kind", text.chars().take(80).collect::<String>()))
                .hint(format!("use {}", all.join(", ")))
        })
    }
}

impl Canon for Kind {
    fn write(&self, w: &mut Writer) {
        w.u8(*self as u8);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        let n = r.u8()?;
        Kind::ALL.into_iter().find(|k| *k as u8 == n).ok_or(CanonError::Invalid("kind"))
    }
}

/// 关联要素: a typed, normalised key, e.g. `phone:13800000000`. Linking works on these.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference(String);

impl Reference {
    /// `type:value`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Reference {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self, Fault> {
        let wrong = || {
            Fault::usage("BAD_REFERENCE", format!("`{}` is not a reference", text.chars().take(80).collect::<String>()))
                .hint("write type:value, e.g. phone:13800000000, plate:A12345, account:6222…")
        };
        let (kind, value) = text.split_once(':').ok_or_else(wrong)?;
        if !super::ids::is_slug(kind, 24) {
            return Err(wrong());
        }
        let value: String = match kind {
            "phone" => {
                let digits: String = value.chars().filter(char::is_ascii_digit).collect();
                let bare = digits.strip_prefix("0086").or_else(|| digits.strip_prefix("86").filter(|d| d.len() == 11));
                bare.map_or(digits.clone(), str::to_owned)
            }
            _ => value.chars().filter(|c| !c.is_whitespace() && *c != '-').flat_map(char::to_uppercase).collect(),
        };
        if value.is_empty() || value.chars().count() > 64 {
            return Err(wrong());
        }
        Ok(Reference(format!("{kind}:{value}")))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Canon for Reference {
    fn write(&self, w: &mut Writer) {
        w.str(&self.0);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(Reference(r.str(400)?.to_owned()))
    }
}

/// Portion 0 of every envelope: what the body is about. It is sealed like the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Title, 1 to 300 characters.
    pub title: String,
    /// Kind.
    pub kind: Kind,
    /// When the author issued it; the period runs from here.
    pub issued: Millis,
    /// Typed keys.
    pub references: Vec<Reference>,
    /// Admiralty source reliability, A to F.
    pub reliability: Option<char>,
    /// Admiralty credibility, 1 to 6.
    pub credibility: Option<u8>,
    /// Legal basis, from the agreement unless given.
    pub legal_basis: String,
    /// End of retention.
    pub retain_until: Option<Millis>,
    /// The author's name inside the own agency.
    pub author: String,
}

impl Canon for Meta {
    fn write(&self, w: &mut Writer) {
        w.array(&Writer::new("hufu.meta", 1).finish());
        w.str(&self.title).value(&self.kind).value(&self.issued);
        w.list(self.references.iter(), |w, r| r.write(w));
        w.option(self.reliability, |w, c| {
            w.u32(u32::from(c));
        });
        w.option(self.credibility, |w, c| {
            w.u8(c);
        });
        w.str(&self.legal_basis);
        w.option(self.retain_until, |w, t| t.write(w));
        w.str(&self.author);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        if r.str(16)? != "hufu.meta" || r.u16()? != 1 {
            return Err(CanonError::Header);
        }
        Ok(Meta {
            title: r.str(limits::TITLE_CHARS * 4)?.to_owned(),
            kind: r.value()?,
            issued: r.value()?,
            references: r.list(limits::REFERENCES, Reference::read)?,
            reliability: r.option(|r| char::from_u32(r.u32()?).ok_or(CanonError::Invalid("reliability")))?,
            credibility: r.option(|r| r.u8())?,
            legal_basis: r.str(2000)?.to_owned(),
            retain_until: r.option(Millis::read)?,
            author: r.str(256)?.to_owned(),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    #[test]
    fn references_are_normalised() {
        let norm = |t: &str| t.parse::<Reference>().unwrap().to_string();
        assert_eq!(norm("phone:+86 138-0000-0000"), "phone:13800000000");
        assert_eq!(norm("phone:13800000000"), "phone:13800000000");
        assert_eq!(norm("plate:粤b-12 345"), "plate:粤B12345");
        assert!("nocolon".parse::<Reference>().is_err());
        assert!("phone:".parse::<Reference>().is_err());
    }
}
