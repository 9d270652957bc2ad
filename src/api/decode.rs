//! Small conversions shared by the services.

use crate::domain::fault::Fault;
use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

/// Longest that a call may wait: a little under the time after which every call is ended.
const LONGEST_MS: u32 = 25_000;

/// Parses each text.
pub(super) fn set<T: FromStr<Err = Fault> + Ord>(texts: &[String]) -> Result<BTreeSet<T>, Fault> {
    texts.iter().map(|t| t.parse()).collect()
}

/// None when empty.
pub(super) fn optional<T: FromStr<Err = Fault>>(text: &str) -> Result<Option<T>, Fault> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some) }
}

/// A wait in milliseconds, bounded; 0 is the default of ten seconds.
pub(super) fn wait(ms: u32) -> Duration {
    let ms = if ms == 0 { 10_000 } else { ms.min(LONGEST_MS) };
    Duration::from_millis(u64::from(ms))
}
