//! Time as a value. Clocks and randomness are seams: only `node` and tests have real ones.

use super::canon::{Canon, CanonError, Reader, Writer};
use super::fault::Fault;
use serde::{Deserialize, Serialize};
use time::{Date, OffsetDateTime, format_description::well_known::Rfc3339};

/// Unix time in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// RFC 3339 in UTC with milliseconds, e.g. `2026-03-01T08:00:00.123Z`.
    pub fn to_rfc3339(self) -> String {
        self.to_datetime().and_then(|t| t.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{}ms", self.0))
    }

    /// The calendar date in UTC, e.g. `2026-03-01`.
    pub fn to_date(self) -> String {
        self.to_datetime().map_or_else(|| format!("{}ms", self.0), |t| t.date().to_string())
    }

    /// This many milliseconds later.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Millis {
        Millis(self.0.saturating_add(ms))
    }

    /// Calendar years later; 29 February becomes 28 February.
    #[must_use]
    pub fn plus_years(self, years: u8) -> Millis {
        let Some(t) = self.to_datetime() else { return self };
        let year = t.year().saturating_add(i32::from(years));
        let moved = t.replace_year(year).or_else(|_| t.replace_day(28).and_then(|t| t.replace_year(year)));
        moved.map_or(self, |t| Millis(u64::try_from(t.unix_timestamp_nanos() / 1_000_000).unwrap_or(self.0)))
    }

    /// Parses `YYYY-MM-DD` (start of that day, UTC) or RFC 3339.
    pub fn parse(text: &str) -> Result<Millis, Fault> {
        let wrong = || {
            Fault::usage("BAD_DATE", format!("`{text}` is not a date")).hint("write 2026-03-01 or 2026-03-01T08:00:00Z")
        };
        let nanos = match OffsetDateTime::parse(text, &Rfc3339) {
            Ok(t) => t.unix_timestamp_nanos(),
            Err(_) => {
                let format =
                    time::format_description::parse_borrowed::<2>("[year]-[month]-[day]").map_err(|_| wrong())?;
                Date::parse(text, &format).map_err(|_| wrong())?.midnight().assume_utc().unix_timestamp_nanos()
            }
        };
        u64::try_from(nanos / 1_000_000).map(Millis).map_err(|_| wrong())
    }

    fn to_datetime(self) -> Option<OffsetDateTime> {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000).ok()
    }
}

impl Canon for Millis {
    fn write(&self, w: &mut Writer) {
        w.u64(self.0);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        r.u64().map(Millis)
    }
}

/// The clock seam.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Millis;

    /// A clock that never goes back and that nobody sets, from an unknown start: for pauses and rates.
    fn steady(&self) -> Millis;
}

/// A clock that stands, for tests.
#[cfg(test)]
pub(crate) struct At(pub(crate) Millis);

#[cfg(test)]
impl Clock for At {
    fn now(&self) -> Millis {
        self.0
    }

    fn steady(&self) -> Millis {
        self.0
    }
}

/// The randomness seam.
pub trait Entropy: Send {
    /// Fills `out` with unpredictable bytes.
    fn fill(&mut self, out: &mut [u8]);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    #[test]
    fn dates_parse_and_years_keep_the_calendar() {
        let leap = Millis::parse("2024-02-29").unwrap();
        assert_eq!(leap.plus_years(1).to_date(), "2025-02-28");
        assert_eq!(leap.plus_years(4).to_date(), "2028-02-29");
        assert_eq!(Millis::parse("2026-03-01T08:00:00Z").unwrap().to_rfc3339(), "2026-03-01T08:00:00Z");
        assert!(Millis::parse("2026-13-01").is_err());
    }
}
