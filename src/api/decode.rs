//! Small conversions shared by the services.

use crate::domain::fault::Fault;
use crate::domain::limits;
use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

/// Most entries of one page of a list.
const PAGE_MOST: usize = 1_000;

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
    Duration::from_millis(if ms == 0 { 10_000 } else { limits::LEADER_WAIT_MS.min(u64::from(ms)) })
}

/// The first entries of a list, and whether there are further ones; 0 asks for as many as a page takes.
pub(super) fn page<T>(mut entries: impl Iterator<Item = T>, limit: u32) -> (Vec<T>, bool) {
    let most = if limit == 0 { PAGE_MOST } else { PAGE_MOST.min(limit as usize) };
    let page = entries.by_ref().take(most).collect();
    (page, entries.next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_what_was_asked_up_to_the_limit() {
        let seconds = |ms| wait(ms).as_secs();
        assert_eq!([0, 1_000, 60_000, 120_000, 121_000, u32::MAX].map(seconds), [10, 1, 60, 120, 120, 120]);
    }

    #[test]
    fn a_page_says_whether_there_is_more() {
        assert_eq!(page(1..=3, 2), (vec![1, 2], true));
        assert_eq!(page(1..=3, 3), (vec![1, 2, 3], false));
        assert_eq!(page(0..0, 5), (Vec::<i32>::new(), false));
        let (all, more) = page(0..PAGE_MOST + 1, 0);
        assert_eq!((all.len(), more), (PAGE_MOST, true));
        assert_eq!(page(0..PAGE_MOST + 1, u32::MAX).0.len(), PAGE_MOST, "nobody gets more than a page");
    }
}
