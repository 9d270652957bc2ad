//! What was acknowledged, noted where it was: the oracle knows nothing else.

use std::collections::{BTreeMap, BTreeSet};

/// A version of a record that its publisher was told of.
#[derive(Clone)]
pub struct Version {
    pub record: String,
    pub number: u32,
    pub origin: &'static str,
    /// Agencies that its label names: each must hold it in the end.
    pub entitled: BTreeSet<&'static str>,
    /// SHA-256 of its body, and how many bytes that has.
    pub digest: [u8; 32],
    pub bytes: usize,
    /// A word that only its record has.
    pub word: String,
}

/// A version that somebody was shown.
pub struct Opened {
    pub at: &'static str,
    pub record: String,
    pub origin: &'static str,
    pub version: u32,
    /// Place of its intent in the log of the node that showed it.
    pub seq: u64,
}

/// A notice that its sender's node accepted.
#[derive(Debug, Clone)]
pub struct Letter {
    pub notice: String,
    pub from: &'static str,
    pub to: BTreeSet<&'static str>,
    pub subject: String,
    pub body: String,
    /// Who was told that their acknowledgement is taken.
    pub acknowledged: BTreeSet<&'static str>,
    /// Somebody asked for its recall, with whatever outcome.
    pub recall_asked: bool,
    pub recalled: bool,
}

/// A record under an agreement whose end was acknowledged.
#[derive(Clone)]
pub struct Ended {
    pub record: String,
    pub origin: &'static str,
    pub digest: [u8; 32],
}

#[derive(Default)]
pub struct Notes {
    pub versions: Vec<Version>,
    pub opened: Vec<Opened>,
    pub letters: Vec<Letter>,
    pub ended: Vec<Ended>,
    figures: BTreeMap<&'static str, u64>,
}

impl Notes {
    pub fn count(&mut self, what: &'static str) {
        *self.figures.entry(what).or_default() += 1;
    }

    pub fn figure(&self, what: &str) -> u64 {
        self.figures.get(what).copied().unwrap_or(0)
    }

    /// Everything counted, by name.
    pub fn figures(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.figures.iter().map(|(name, count)| (*name, *count))
    }

    /// What was acknowledged, of whatever sort.
    pub fn acknowledged(&self) -> usize {
        let acks: usize = self.letters.iter().map(|l| l.acknowledged.len()).sum();
        self.versions.len() + self.letters.len() + acks + self.ended.len()
    }

    /// Bytes of all bodies that an agency is entitled to.
    pub fn bytes_for(&self, agency: &str) -> usize {
        self.versions.iter().filter(|v| v.entitled.contains(agency)).map(|v| v.bytes).sum()
    }
}
