//! What one agency may put on the ledger in a minute of the ledger's time (P8); from level 2 on.
//!
//! Every node keeps a copy of every entry, so that one agency alone could fill the disks of all. A batch that is over the
//! budget is refused as a whole. Its node's clock is taken before, so that nobody holds the ledger's minute back by
//! spending.
//!
//! The ledger's time stands still while those who vote write nothing. So they say what time it is once a minute while a
//! budget is half spent ([`State::wants_clock`]).

use crate::domain::canon::{Canon, CanonError, Reader, Writer};
use crate::domain::ids::{AgencyId, NodeId};
use crate::domain::limits;
use crate::domain::time::Millis;

use super::batch::{BatchReply, Refusal, SignedBatch, content_of};
use super::level::BUDGETS;
use super::state::State;

/// What a leader does with a batch that another node hands it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Worth {
    /// It goes into the log.
    Room,
    /// `apply` would answer this and change nothing: it is answered, and takes no room in anybody's log.
    Answer(BatchReply),
    /// It is not that node's own.
    Nothing,
}

impl State {
    /// Whether a batch that `sender` hands over is worth room in the log, when `applied` is the last entry applied here. What
    /// comes under the number of another batch is: it is evidence (P3).
    pub fn worth(&self, bytes: &[u8], sender: NodeId, applied: u64) -> Worth {
        let Ok((batch, body, signature)) = SignedBatch::open(bytes, self.level()) else { return Worth::Nothing };
        let signed_by = |n: &super::NodeState| SignedBatch::signed_by(&n.key, body, &signature);
        let node = self.nodes.get(&sender).filter(|n| batch.node == sender && signed_by(n));
        let Some(node) = node else { return Worth::Nothing };
        let refuse = |why| Worth::Answer(BatchReply { index: applied, refused: Some(why), replies: Vec::new() });
        let at = (batch.incarnation, batch.sequence);
        match &node.reply {
            Some(_) if at == node.last && node.content.is_some_and(|known| known != content_of(body)) => Worth::Room,
            Some(reply) if at == node.last => Worth::Answer(reply.clone()),
            _ if at <= node.last => refuse(Refusal::Replayed),
            _ if batch.not_after <= applied => refuse(Refusal::Expired),
            _ => Worth::Room,
        }
    }
}

const MINUTE_MS: u64 = 60_000;

/// What an agency put on the ledger in its last minute there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Spent {
    /// Minutes since 1970, by the ledger's time.
    pub(super) minute: u64,
    pub(super) commands: u64,
    pub(super) bytes: u64,
}

impl Spent {
    /// Whether so much more is over the budget.
    fn is_over_with(&self, commands: usize, bytes: usize) -> bool {
        let sum = |spent: u64, more: usize| spent.saturating_add(u64::try_from(more).unwrap_or(u64::MAX));
        sum(self.commands, commands) > limits::MINUTE_COMMANDS || sum(self.bytes, bytes) > limits::MINUTE_BYTES
    }
}

impl State {
    /// Counts a batch, if its agency's budget has room for it.
    pub(super) fn spend(&mut self, agency: &AgencyId, commands: usize, bytes: usize) -> Result<(), Refusal> {
        if self.level() < BUDGETS {
            return Ok(());
        }
        let mut spent = self.spent_now(agency);
        if spent.is_over_with(commands, bytes) {
            return Err(Refusal::Budget);
        }
        spent.commands = spent.commands.saturating_add(u64::try_from(commands).unwrap_or(u64::MAX));
        spent.bytes = spent.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.spent.insert(agency.clone(), spent);
        Ok(())
    }

    /// Whether an agency's budget of this minute may have no room for another batch.
    pub fn is_over_budget(&self, agency: &AgencyId) -> bool {
        self.level() >= BUDGETS && self.spent_now(agency).is_over_with(limits::BATCH_COMMANDS, limits::BATCH_BYTES)
    }

    /// Whether this agency should say what time it is: it votes, has not said so in this minute of its clock, and somebody
    /// spent half of a budget.
    pub fn wants_clock(&self, agency: &AgencyId, now: Millis) -> bool {
        let half = |s: &Spent| s.commands > limits::MINUTE_COMMANDS / 2 || s.bytes > limits::MINUTE_BYTES / 2;
        let pressed = self.spent.keys().any(|a| half(&self.spent_now(a)));
        let said = self.reports.get(agency).is_some_and(|t| t.0 / MINUTE_MS >= now.0 / MINUTE_MS);
        pressed && !said && self.voting().contains(agency)
    }

    fn spent_now(&self, agency: &AgencyId) -> Spent {
        let minute = self.time.0 / MINUTE_MS;
        let known = self.spent.get(agency).copied().filter(|s| s.minute == minute);
        known.unwrap_or(Spent { minute, ..Spent::default() })
    }
}

impl Canon for Spent {
    fn write(&self, w: &mut Writer) {
        w.u64(self.minute).u64(self.commands).u64(self.bytes);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(Spent { minute: r.u64()?, commands: r.u64()?, bytes: r.u64()? })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::super::batch::{CommandReply, SignedBatch};
    use super::super::command::Command;
    use super::super::fixture::{Agency, Federation, certifying, federation};
    use super::*;

    fn batch(f: &Federation, a: &Agency, sequence: u64, time: u64) -> Vec<u8> {
        let (federation, node, time) = (f.id.clone(), a.node, Millis(time));
        let (incarnation, not_after, commands) = (1, 1_000, vec![Command::Anchor { checkpoint: [1; 32] }]);
        SignedBatch { federation, node, incarnation, sequence, not_after, time, commands }.seal(&a.node_key)
    }

    #[test]
    fn l_what_an_agency_puts_there_in_a_minute_is_bounded() {
        let f = certifying();
        let mut s = State::genesis(&f.genesis).unwrap();
        let minute = s.time().0 / MINUTE_MS;
        let most = Spent { minute, commands: limits::MINUTE_COMMANDS - 1, bytes: 0 };
        s.spent.insert(f.police.id.clone(), most);
        assert!(s.is_over_budget(&f.police.id) && !s.is_over_budget(&f.customs.id));
        assert_eq!(s.apply_batch(1, &batch(&f, &f.police, 1, 1_000_000)).replies, [CommandReply::Done], "the last one");
        let over = s.apply_batch(2, &batch(&f, &f.police, 2, 1_070_000));
        assert_eq!((over.refused, over.replies.len()), (Some(Refusal::Budget), 0));
        assert_eq!(s.node(f.police.node).unwrap().anchor.unwrap().0, 1);
        assert_eq!(s.apply_batch(3, &batch(&f, &f.customs, 1, 1_000_000)).refused, None, "nobody else's");
        let read = State::decode(&s.encode()).unwrap();
        assert_eq!((read.digest(), read.encode()), (s.digest(), s.encode()));
        // Its minute ends by what the others say, and by its own clock, which was taken with what was refused.
        assert!(s.wants_clock(&f.customs.id, Millis(1_070_000)) && !s.wants_clock(&f.third.id, Millis(1_070_000)));
        s.apply_batch(4, &batch(&f, &f.customs, 2, 1_070_000));
        assert_eq!(s.time(), Millis(1_070_000));
        assert!(!s.wants_clock(&f.customs.id, Millis(1_070_000)) && !s.is_over_budget(&f.police.id));
        assert_eq!(s.apply_batch(5, &batch(&f, &f.police, 3, 1_070_000)).refused, None);
        // Bytes count as well.
        s.spent.insert(f.police.id.clone(), Spent { minute: minute + 1, commands: 0, bytes: limits::MINUTE_BYTES });
        assert_eq!(s.apply_batch(6, &batch(&f, &f.police, 4, 1_070_000)).refused, Some(Refusal::Budget));
    }

    /// A log of before there were budgets is read as it was.
    #[test]
    fn l_the_first_level_has_no_budgets() {
        let f = federation();
        let mut s = State::genesis(&f.genesis).unwrap();
        s.apply_batch(1, &batch(&f, &f.police, 1, 1_000_000));
        assert!(s.spent.is_empty());
    }

    /// Three thousand publishes a second of one agency pass, also in a minute that ends as much later.
    #[test]
    fn budgets_are_generous() {
        const { assert!(limits::MINUTE_COMMANDS >= 2 * 60 * 3_000 && limits::MINUTE_BYTES >= 2 * 60 * 3_000 * 512) };
    }
}
