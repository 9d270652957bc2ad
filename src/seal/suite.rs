//! Cryptographic suites (P32). There is no negotiation: an object names its suite, and a reader has it or not.

use super::error::SealError;
use crate::domain::canon::{Canon, CanonError, Reader, Writer};
use std::fmt;

/// Shown on start, in the README and by `doctor`: first in Chinese, then in English.
pub const SUITE_NOTICE: &str = "套件 1 仅供评估和演练；处理国家秘密必须使用经批准的密码套件和硬件。\n\
    Suite 1 is for evaluation and exercise only; state secrets need an approved suite and approved hardware.";

/// The suites of this build. The numbers are format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suite {
    /// Suite 1: X-Wing (X25519 and ML-KEM-768) with HKDF-SHA-256, AES-256-GCM, SHA-256, Ed25519.
    Evaluation = 1,
}

/// Numbers that are set aside, with the name under which they are refused.
const SET_ASIDE: [(u16, &str); 2] = [
    (2, "suite 2 (Ed25519 with ML-DSA-65), which this build does not have"),
    (3, "suite 3 (SM2, SM3 and SM4), which this build does not have"),
];

impl Suite {
    /// Every suite of this build.
    pub const ALL: [Suite; 1] = [Suite::Evaluation];

    /// The number in formats.
    pub fn id(self) -> u16 {
        self as u16
    }

    /// The name for people and configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Suite::Evaluation => "evaluation",
        }
    }

    /// The suite of a number; others are refused by name.
    pub fn from_id(id: u16) -> Result<Suite, SealError> {
        Suite::ALL
            .into_iter()
            .find(|s| s.id() == id)
            .ok_or_else(|| SealError::Format { what: "suite", source: CanonError::Invalid(refused(id)) })
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Canon for Suite {
    fn write(&self, w: &mut Writer) {
        w.u16(self.id());
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        let id = r.u16()?;
        Suite::ALL.into_iter().find(|s| s.id() == id).ok_or(CanonError::Invalid(refused(id)))
    }
}

fn refused(id: u16) -> &'static str {
    SET_ASIDE.iter().find(|(n, _)| *n == id).map_or("suite", |(_, name)| *name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::*;

    #[test]
    fn one_suite_is_known_and_others_are_refused_by_name() {
        assert_eq!(Suite::from_canon(&[0, 1]).unwrap(), Suite::Evaluation);
        assert_eq!(Suite::Evaluation.to_canon(), [0, 1]);
        for (id, name) in [(0u16, "suite"), (2, "suite 2 "), (3, "suite 3 "), (257, "suite")] {
            let Err(CanonError::Invalid(text)) = Suite::from_canon(&id.to_be_bytes()) else { panic!("{id}") };
            assert!(text.starts_with(name), "{text}");
            assert!(Suite::from_id(id).is_err());
        }
    }

    #[test]
    fn the_notice_is_in_both_languages() {
        assert!(SUITE_NOTICE.contains("国家秘密") && SUITE_NOTICE.contains("state secrets"));
        assert_eq!(SUITE_NOTICE.lines().count(), 2);
    }
}
