//! Old times: two agencies send each other notices and correct what they published, months go by, and what is old is deleted
//! or folds.
//!
//! A month can go by in a moment only before the third voter has ever reported a time: afterwards the ledger follows no clock
//! that is far ahead (P4). So the third joins when this is over.

use super::host::{BEGIN, Down};
use super::world::{Part, World, agreements};
use crate::domain::ids::NoticeId;
use crate::domain::time::Millis;

/// A little more than notices are kept.
const MONTH_MS: u64 = 31 * DAY_MS;
const DAY_MS: u64 = 24 * 3_600_000;
/// How often the nodes are started until each has deleted what is old: it looks at a start, and then for ten minutes not.
const STARTS: u64 = 10;
/// How often both publish and correct until something is superseded.
const TRIES: u64 = 20;
/// Starts that may be cut short.
const UNQUIET: u64 = 3;

impl World {
    /// In every sixth federation.
    pub(super) fn old_times(&mut self) -> Result<(), String> {
        if self.seed % 6 != 2 {
            return Ok(());
        }
        let third = self.site_of("third");
        self.sites[third].part = Part::Outside;
        let pair: Vec<usize> = (0..self.sites.len()).filter(|n| *n != third).collect();
        for n in &pair {
            self.start(*n).map_err(|fault| format!("a first start failed: {fault}"))?;
        }
        self.until("a leader of two", |w| w.members().all(|up| up.core.cluster.status().leader.is_some()))?;
        let [_, (two, parties)] = agreements();
        self.agree(two, &parties)?;
        self.agreed = vec![(two, parties)];
        self.until("introductions of two", |w| {
            w.members().all(|up| up.core.state().agency(&up.core.agency).is_some_and(|a| a.introductions.len() >= 2))
        })?;
        let begins: Vec<u64> = pair.iter().map(|n| self.first_frame(*n)).collect();
        let first = self.exchange(&pair)?;
        self.correct(&pair)?;
        self.let_pass(MONTH_MS, &pair)?;
        self.until_deleted(&pair, |w| first.iter().all(|notice| !w.is_in_a_book(notice)))?;
        // What was written this month before the nodes looked lies with what is old. A day that begins apart from it makes both
        // old when it is old itself.
        self.exchange(&pair)?;
        self.let_pass(DAY_MS + 1, &pair)?;
        self.exchange(&pair)?;
        self.let_pass(MONTH_MS, &pair)?;
        let trimmed = |w: &World| pair.iter().zip(&begins).all(|(n, begin)| w.first_frame(*n) > *begin);
        self.until_deleted(&pair, trimmed)?;
        self.oracle.note_deletions(first.len());
        // Three months and some days since the first corrections.
        self.let_pass(MONTH_MS, &pair)?;
        let folded = |w: &World| w.members().map(|up| up.core.state().folded_in_all()).min().unwrap_or(0);
        self.until("what was corrected folded", |w| folded(w) > 0)?;
        let folds = folded(self);
        self.oracle.note_folds(folds);
        self.deleted = first;
        self.sites[third].part = Part::Member(0);
        self.agreed = agreements().to_vec();
        Ok(())
    }

    /// Each publishes and corrects, until something is superseded on the ledger.
    fn correct(&mut self, pair: &[usize]) -> Result<(), String> {
        for _ in 0..TRIES {
            pair.iter().for_each(|n| self.publish(*n));
            self.run(1_000);
            pair.iter().for_each(|n| self.amend(*n));
            self.run(1_000);
            if self.members().all(|up| !up.core.state().superseded().is_empty()) {
                return Ok(());
            }
        }
        Err("nothing was corrected in old times".to_owned())
    }

    /// Each sends a notice or two, and they arrive. Nobody asks for them at the end.
    fn exchange(&mut self, pair: &[usize]) -> Result<Vec<NoticeId>, String> {
        for n in pair.iter().chain(pair).take(2 + self.dice.below(3) as usize) {
            self.send(*n);
            self.run(10);
        }
        self.run(300);
        let all_know = |w: &World| w.oracle.notices().iter().all(|notice| w.is_in_both_books(notice));
        self.until("notices of old times", |w| !w.oracle.notices().is_empty() && all_know(w))?;
        Ok(self.oracle.take_notices())
    }

    /// Time goes by everywhere at once, and the ledger knows it.
    fn let_pass(&mut self, ms: u64, pair: &[usize]) -> Result<(), String> {
        self.passed += ms;
        self.net.tell(format_args!("{} days go by", ms / DAY_MS));
        for site in &self.sites {
            site.machine.clock().let_pass(self.passed);
        }
        // Whatever a node writes on the ledger brings its time.
        for n in pair {
            self.publish(*n);
        }
        let now = Millis(BEGIN.0 + self.passed);
        self.until("that time on the ledger", |w| w.members().all(|up| up.core.state().time() >= now))
    }

    /// Takes both down, some of them amid what they delete, until it is done.
    fn until_deleted(&mut self, pair: &[usize], is_deleted: impl Fn(&World) -> bool) -> Result<(), String> {
        for start in 0..STARTS {
            for n in pair {
                let how = if start < UNQUIET { *self.dice.pick(&[Down::Killed, Down::PowerCut]) } else { Down::Killed };
                self.take_down(*n, how);
                self.sites[*n].back = Some(self.tick + 1 + self.dice.below(300));
            }
            if start < UNQUIET && self.dice.one_in(2) {
                let n = *self.dice.pick(pair);
                self.until("a start", |w| w.sites[n].up().is_some())?;
                self.run(self.dice.below(8));
                self.take_down(n, Down::PowerCut);
            }
            self.until("both again", |w| {
                w.members().count() == 2 && w.members().all(|up| up.core.cluster.status().leader.is_some())
            })?;
            self.run(100);
            if is_deleted(self) {
                return Ok(());
            }
        }
        Err("old notices are not deleted".to_owned())
    }

    /// Number of the first frame of a node's notices.
    fn first_frame(&self, n: usize) -> u64 {
        self.sites[n].up().and_then(|up| up.core.office.digest().ok()).map_or(0, |(frames, _)| frames.start)
    }

    /// Whether anybody who runs still has a notice.
    fn is_in_a_book(&self, notice: &NoticeId) -> bool {
        self.ups().any(|up| up.core.office.read(|b| !b.sent_of(notice).is_empty() || b.received_of(notice).is_some()))
    }

    /// Whether whoever sent a notice and whoever it was for have it.
    fn is_in_both_books(&self, notice: &NoticeId) -> bool {
        self.members().all(|up| {
            up.core.office.read(|b| match b.sent_of(notice).first() {
                Some((_, out)) => out.is_delivered(),
                None => b.received_of(notice).is_some(),
            })
        })
    }

    /// What is off the disks comes back with no start.
    pub(super) fn what_was_deleted_stays_so(&self) -> Result<(), String> {
        match self.deleted.iter().find(|notice| self.is_in_a_book(notice)) {
            Some(notice) => Err(format!("{notice} was deleted, and is there again")),
            None => Ok(()),
        }
    }
}
