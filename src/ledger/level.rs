//! Feature levels (P5): the rules of `apply` by number, so that nodes of several versions make the same of one log.
//!
//! A new rule counts from a level on. What a lower level did stays as it was, since logs of that time are read again. Nodes
//! report up to which level they know the rules, and the level rises when every node of an agency that stands has; it never
//! falls. A program that does not know it stops and says so.
//!
//! - 1: the rules of before there were levels.
//! - 2: what widens takes force when it is certified ([`super::widening`], P7), and agencies have budgets ([`super::budget`],
//!   P8).
//! - 3: a batch is known by its number and its content (P3), and the voters change by one agency's seat at a time (P6).
//! - 4: ceiling, tier and roots of an agency change, and what suites may be used for (P2; [`super::bounds`],
//!   [`super::suites`]). What was superseded ninety days ago folds ([`super::fold`], P8). The digest of
//!   records is over drawers of them ([`super::record`]).
//!
//! Which commands and acts there are is a rule too: one of a later level is refused by its number before it is read, so
//! a program that knows it and one that does not answer the same. An act of a later level does not parse, whatever is in it.

use crate::domain::canon::{Canon, CanonError, Reader, Writer};
use crate::domain::ids::NodeId;
use imbl::OrdMap;

use super::batch::{CommandReply, Refusal};
use super::state::{LedgerError, State};

/// The highest level that this program knows.
pub const LEVEL: u16 = 4;
/// What counts for whoever reported nothing.
pub(super) const FIRST: u16 = 1;
/// From here on what widens waits for a certificate (P7).
pub(super) const CERTIFIED: u16 = 2;
/// From here on agencies have budgets (P8).
pub(super) const BUDGETS: u16 = 2;
/// From here on a stored reply is of a batch's content, too (P3).
pub(super) const CONTENT: u16 = 3;
/// From here on one agency's seat among the voters changes at a time (P6).
pub(super) const ONE_SEAT: u16 = 3;
/// From here on there are acts that change an agency's ceiling, tier and roots, and the suites (P2).
pub(super) const BOUNDS: u16 = 4;
/// From here on the digest of records is over drawers of them.
pub(super) const DRAWERS: u16 = 4;
/// From here on what was superseded long ago folds (P8).
pub(super) const FOLDING: u16 = 4;

/// The level, and who knows which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Levels {
    level: u16,
    supports: OrdMap<NodeId, u16>,
}

impl Levels {
    /// As the genesis founds it.
    pub(super) fn founded(level: u16) -> Levels {
        Levels { level, supports: OrdMap::new() }
    }

    /// Whether there is nothing to tell: a state of before there were levels.
    pub(super) fn is_first(&self) -> bool {
        self.level == FIRST && self.supports.is_empty()
    }

    /// Refuses what a later version of this program is needed for.
    pub(super) fn check(&self) -> Result<(), LedgerError> {
        check_level(self.level)
    }
}

/// Refuses a level that this program does not know.
pub(super) fn check_level(found: u16) -> Result<(), LedgerError> {
    let known = LEVEL;
    if found > known { Err(LedgerError::TooOld { what: "level", found, known }) } else { Ok(()) }
}

impl State {
    /// The level of the rules.
    pub fn level(&self) -> u16 {
        self.levels.level
    }

    /// Refuses to go on where this program does not know the rules.
    pub fn check_level(&self) -> Result<(), LedgerError> {
        self.levels.check()
    }

    /// Up to which level a node said that it knows the rules; none if it never did.
    pub fn supported(&self, node: NodeId) -> Option<u16> {
        self.levels.supports.get(&node).copied()
    }

    /// A node's own word on what it knows.
    pub(super) fn supports(&mut self, node: NodeId, level: u16) -> Result<CommandReply, Refusal> {
        if level < FIRST {
            return Err(Refusal::Invalid);
        }
        // The same again, which a clock comes with, changes nothing; and from level 3 on nobody takes a word back, so that a node
        // makes all others settle the state only as often as it learns something.
        let known = self.supported(node);
        if known == Some(level) || self.level() >= CONTENT && known > Some(level) {
            return Ok(CommandReply::Done);
        }
        self.levels.supports.insert(node, level);
        self.raise_level();
        self.settle();
        Ok(CommandReply::Done)
    }

    /// Raises the level to what all know who take part.
    pub(super) fn raise_level(&mut self) {
        let standing = self.nodes.iter().filter(|(_, n)| self.stands(&n.agency));
        let known = standing.map(|(id, _)| self.supported(*id).unwrap_or(FIRST)).min().unwrap_or(FIRST);
        self.levels.level = self.levels.level.max(known);
    }
}

impl Canon for Levels {
    fn write(&self, w: &mut Writer) {
        w.u16(self.level).list(self.supports.iter(), |w, (node, level)| {
            w.value(node).u16(*level);
        });
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(Levels { level: r.u16()?, supports: r.list(1 << 17, |r| Ok((r.value()?, r.u16()?)))?.into_iter().collect() })
    }
}
