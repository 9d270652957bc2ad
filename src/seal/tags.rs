//! Blinded tags (P13): by them an entitled agency, and nobody else, sees on the ledger that it is owed
//! something; and pull tokens, by which it proves to a holder that it is entitled.
//!
//! Origin, time, version chain and the size class of the audience stay visible. There is no cover traffic.

use super::digest::{digest, expand, hmac};
use super::error::SealError;
use super::kem::{AudienceOpener, GradePublic, seal_to};
use crate::domain::canon::{Canon, Writer};
use crate::domain::ids::{AgencyId, FederationId, RecordId};
use crate::domain::time::{Entropy, Millis};
use std::collections::BTreeSet;
use zeroize::Zeroizing;

/// Fewest tags of a commitment.
const FEWEST: usize = 4;
/// A ratchet is never turned further than this many months at once: 100 years.
const MONTHS_AHEAD: u32 = 1200;

/// What one pair key belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PairNames {
    /// Federation.
    pub federation: FederationId,
    /// Who publishes.
    pub origin: AgencyId,
    /// Who is owed.
    pub recipient: AgencyId,
}

/// The version on the ledger that a tag or token is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaggedVersion {
    /// Envelope id.
    pub record: RecordId,
    /// Its version.
    pub version: u32,
    /// Its hiding commitment.
    pub commitment: [u8; 32],
}

/// The key of one origin towards one recipient for one month. Later months follow from it, earlier ones do not.
pub struct PairKey {
    key: Zeroizing<[u8; 32]>,
    month: u32,
}

impl PairKey {
    /// A new key that counts from `month` (months since 1970-01, see [`month_of`]).
    pub fn generate(month: u32, entropy: &mut dyn Entropy) -> PairKey {
        let mut key = Zeroizing::new([0u8; 32]);
        entropy.fill(key.as_mut_slice());
        PairKey { key, month }
    }

    /// Its month.
    pub fn month(&self) -> u32 {
        self.month
    }

    /// The key of the next month.
    pub fn ratchet(&self) -> PairKey {
        let month = self.month.saturating_add(1);
        PairKey { key: expand(&self.key, "hufu.pair-key.month", &[&month.to_be_bytes()]), month }
    }

    /// The key of a month; none for an earlier one, or one more than 100 years ahead.
    pub fn at(&self, month: u32) -> Option<PairKey> {
        let steps = month.checked_sub(self.month).filter(|n| *n <= MONTHS_AHEAD)?;
        let mut key = PairKey { key: self.key.clone(), month: self.month };
        for _ in 0..steps {
            key = key.ratchet();
        }
        Some(key)
    }

    /// The recipient's tag for a version.
    pub fn tag(&self, federation: &FederationId, of: &TaggedVersion) -> [u8; 16] {
        first_16(&self.mac("hufu.tag", federation, of))
    }

    /// What the recipient shows to a holder; meaningless to whoever lacks the grant's check.
    pub fn pull_token(&self, federation: &FederationId, of: &TaggedVersion) -> [u8; 32] {
        self.mac("hufu.pull", federation, of)
    }

    /// Seals the key to the recipient's key for 内部, for an `introduce` command.
    pub fn introduce(
        &self,
        names: &PairNames,
        to: &GradePublic,
        entropy: &mut dyn Entropy,
    ) -> Result<Vec<u8>, SealError> {
        seal_to(to, &pair_info(names, self.month), b"", self.key.as_slice(), entropy)
    }

    /// Opens an introduced key; names and month must be those of the command.
    pub fn open(
        names: &PairNames,
        month: u32,
        sealed: &[u8],
        secret: &dyn AudienceOpener,
    ) -> Result<PairKey, SealError> {
        let opened = secret.open_sealed(&pair_info(names, month), b"", sealed)?;
        let mut key = Zeroizing::new([0u8; 32]);
        if opened.len() != key.len() {
            return Err(SealError::Key { what: "pair key" });
        }
        key.copy_from_slice(&opened);
        Ok(PairKey { key, month })
    }

    /// Restores a key that was kept (sealed at rest by the caller).
    pub fn from_parts(key: Zeroizing<[u8; 32]>, month: u32) -> PairKey {
        PairKey { key, month }
    }

    /// The key's bytes, to be kept sealed at rest.
    pub fn expose(&self) -> &[u8; 32] {
        &self.key
    }

    fn mac(&self, domain: &str, federation: &FederationId, of: &TaggedVersion) -> [u8; 32] {
        let parts: [&[u8]; 4] =
            [federation.as_str().as_bytes(), &of.record.to_canon(), &of.version.to_be_bytes(), &of.commitment];
        hmac(&self.key, domain, &parts)
    }
}

/// What a grant carries of a pull token.
pub fn pull_check(token: &[u8; 32]) -> [u8; 32] {
    digest("hufu.pull-check", &[token])
}

/// Real tags among random ones: 4, 8, 16, … different tags in rising order.
pub fn padded_tags(real: &[[u8; 16]], entropy: &mut dyn Entropy) -> Vec<[u8; 16]> {
    let mut tags: BTreeSet<[u8; 16]> = real.iter().copied().collect();
    let size = tags.len().next_power_of_two().max(FEWEST);
    let mut seed = Zeroizing::new([0u8; 32]);
    entropy.fill(seed.as_mut_slice());
    // One draw, then a counter: the filling ends even with a source that repeats itself.
    let mut n = 0u64;
    while tags.len() < size {
        tags.insert(first_16(&hmac(&seed, "hufu.tag-filler", &[&n.to_be_bytes()])));
        n += 1;
    }
    tags.into_iter().collect()
}

/// Months since January 1970, in UTC.
pub fn month_of(time: Millis) -> u32 {
    // Civil-from-days (Howard Hinnant, "chrono-compatible low-level date algorithms"), in years from 1 March.
    let days = time.0 / 86_400_000 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months_from_march = (5 * day_of_year + 2) / 153;
    // March of the year 0 is 23,638 months before January 1970.
    let months = (era * 400 + year_of_era) * 12 + months_from_march;
    u32::try_from(months.saturating_sub(1970 * 12 - 2)).unwrap_or(u32::MAX)
}

fn pair_info(names: &PairNames, month: u32) -> Vec<u8> {
    let mut w = Writer::new("hufu.pair-key", 1);
    w.value(&names.federation).value(&names.origin).value(&names.recipient).u32(month);
    w.finish()
}

fn first_16(bytes: &[u8; 32]) -> [u8; 16] {
    let mut out = [0; 16];
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = *from;
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::super::frozen::Counter;
    use super::super::kem::GradeSecret;
    use super::*;

    fn names() -> PairNames {
        PairNames {
            federation: "hufu".parse().unwrap(),
            origin: "customs".parse().unwrap(),
            recipient: "police".parse().unwrap(),
        }
    }

    fn of() -> TaggedVersion {
        TaggedVersion { record: RecordId::from_bytes([3; 16]), version: 1, commitment: [4; 32] }
    }

    #[test]
    fn both_sides_agree_and_anything_else_gives_another_tag() {
        let mut e = Counter::new();
        let police = GradeSecret::from_seed(&[2; 32]);
        let mine = PairKey::generate(675, &mut e);
        let sealed = mine.introduce(&names(), &police.public(), &mut e).unwrap();
        let theirs = PairKey::open(&names(), 675, &sealed, &police).unwrap();
        let hufu = names().federation;
        assert_eq!(mine.tag(&hufu, &of()), theirs.tag(&hufu, &of()));
        assert_eq!(mine.pull_token(&hufu, &of()), theirs.pull_token(&hufu, &of()));
        assert_eq!(mine.at(680).unwrap().tag(&hufu, &of()), theirs.at(680).unwrap().tag(&hufu, &of()));

        let tag = mine.tag(&hufu, &of());
        assert_ne!(tag, mine.ratchet().tag(&hufu, &of()));
        assert_ne!(tag, mine.tag(&"other".parse().unwrap(), &of()));
        assert_ne!(tag, mine.tag(&hufu, &TaggedVersion { version: 2, ..of() }));
        assert_ne!(tag, mine.tag(&hufu, &TaggedVersion { commitment: [5; 32], ..of() }));
        assert_ne!(tag, mine.tag(&hufu, &TaggedVersion { record: RecordId::from_bytes([4; 16]), ..of() }));
        assert_ne!(tag, first_16(&mine.pull_token(&hufu, &of())));
        assert_ne!(pull_check(&mine.pull_token(&hufu, &of())), mine.pull_token(&hufu, &of()));
    }

    #[test]
    fn an_introduced_key_is_bound_to_its_names_and_month() {
        let mut e = Counter::new();
        let police = GradeSecret::from_seed(&[2; 32]);
        let sealed = PairKey::generate(675, &mut e).introduce(&names(), &police.public(), &mut e).unwrap();
        assert!(PairKey::open(&names(), 675, &sealed, &police).is_ok());
        assert!(PairKey::open(&names(), 676, &sealed, &police).is_err());
        let reversed = PairNames { origin: names().recipient, recipient: names().origin, ..names() };
        assert!(PairKey::open(&reversed, 675, &sealed, &police).is_err());
        assert!(PairKey::open(&names(), 675, &sealed, &GradeSecret::from_seed(&[3; 32])).is_err());
        assert!(PairKey::open(&names(), 675, &sealed[..900], &police).is_err());
    }

    #[test]
    fn the_ratchet_turns_forward_only() {
        let key = PairKey::generate(675, &mut Counter::new());
        assert_eq!(key.at(675).unwrap().expose(), key.expose());
        assert_eq!(key.at(677).unwrap().expose(), key.ratchet().ratchet().expose());
        assert!(key.at(674).is_none() && key.at(u32::MAX).is_none());
        let kept = PairKey::from_parts(Zeroizing::new(*key.expose()), key.month());
        assert_eq!(kept.ratchet().expose(), key.ratchet().expose());
    }

    #[test]
    fn tags_are_padded_and_sorted_and_hold_the_real_ones() {
        struct Stuck;
        impl Entropy for Stuck {
            fn fill(&mut self, out: &mut [u8]) {
                out.fill(1);
            }
        }
        for (real, size) in [(0u8, 4), (1, 4), (4, 4), (5, 8), (9, 16), (17, 32)] {
            let real: Vec<[u8; 16]> = (0..real).map(|i| [i; 16]).collect();
            for tags in [padded_tags(&real, &mut Counter::new()), padded_tags(&real, &mut Stuck)] {
                assert_eq!(tags.len(), size);
                assert!(tags.is_sorted_by(|a, b| a < b));
                assert!(real.iter().all(|t| tags.contains(t)));
            }
        }
        assert_eq!(padded_tags(&[[1; 16]; 9], &mut Counter::new()).len(), 4, "one tag nine times is one tag");
        assert_ne!(padded_tags(&[], &mut Counter::new()), padded_tags(&[], &mut Stuck));
    }

    #[test]
    fn months_follow_the_calendar() {
        let month = |text: &str| month_of(Millis::parse(text).unwrap());
        assert_eq!(month_of(Millis(0)), 0);
        assert_eq!(month("1970-02-28"), 1);
        assert_eq!(month("1970-03-01"), 2);
        for year in [1971u32, 1999, 2000, 2024, 2026, 2100, 2400] {
            for m in 1..=12u32 {
                let expected = (year - 1970) * 12 + m - 1;
                assert_eq!(month(&format!("{year:04}-{m:02}-01")), expected);
                assert_eq!(month(&format!("{year:04}-{m:02}-28")), expected);
            }
        }
        assert_eq!(month("2024-02-29"), 649);
        assert_eq!(month("2024-12-31"), 659);
    }
}
