//! What goes wrong, one thing at a time or several.

use super::host::Down;
use super::world::World;

impl World {
    /// Something goes wrong, or comes right again.
    pub(super) fn something_happens(&mut self) {
        let all = self.sites.len();
        let n = self.dice.below(all as u64) as usize;
        match self.dice.below(13) {
            0 | 1 => self.take_down(n, Down::Killed),
            2 | 3 => self.take_down(n, Down::PowerCut),
            4 => {
                // The lights go out everywhere at once.
                (0..all).for_each(|k| self.take_down(k, Down::PowerCut));
            }
            5 | 6 => {
                let m = (n + 1 + self.dice.below(all as u64 - 1) as usize) % all;
                let (a, b) = (self.sites[n].member.node, self.sites[m].member.node);
                self.net.tell(format_args!("{a} does not reach {b}"));
                self.net.cut(a, b);
                // One way only, or both.
                if self.dice.one_in(2) {
                    self.net.cut(b, a);
                }
            }
            7 => {
                let slowest = 1 + self.dice.below(80);
                let loses = [0, 100, 20, 5][self.dice.below(4) as usize];
                self.net.tell(format_args!("up to {slowest} ms, one in {loses} lost"));
                self.net.be_bad(loses, slowest);
            }
            8 => {
                self.net.tell("the lines are whole");
                self.net.heal();
            }
            9 => {
                if self.sites[n].up().is_some()
                    && let Some(disk) = self.sites[n].machine.fail_soon(&self.dice)
                {
                    self.net.tell(format_args!("{}: {disk} will fail", self.sites[n].member.id));
                    // A node whose disk failed stops by itself or serves nothing; somebody looks, and starts it again.
                    self.run(300);
                    let how = if self.dice.one_in(2) { Down::Killed } else { Down::PowerCut };
                    self.take_down(n, how);
                }
            }
            10 => {
                // From little room for content to room for the ledger alone; sometimes there is room again.
                let mib = *self.dice.pick(&[9, 20, 70, 300, 100_000]);
                self.net.tell(format_args!("{}: {mib} MiB of room", self.sites[n].member.id));
                self.sites[n].machine.leave_free(mib << 20);
            }
            11 => {
                // Far enough to matter, and near enough for what goes by days.
                let wrong = self.dice.below(240_000) as i64 - 120_000;
                self.net.tell(format_args!("{}: the clock is wrong by {wrong} ms", self.sites[n].member.id));
                self.sites[n].machine.clock().be_wrong_by(wrong);
            }
            _ => {
                let third = self.sites.iter().position(|s| s.member.id.as_str() == "third").unwrap();
                self.take_down(third, Down::Killed);
                if let Some(file) = self.sites[third].machine.flip_a_body(&self.dice) {
                    self.net.tell(format_args!("third: a bit of {file} flips"));
                }
            }
        }
    }

    /// Nothing is wrong any more.
    pub(super) fn calm(&mut self) {
        self.net.tell("calm");
        self.net.heal();
        for site in &self.sites {
            site.machine.clock().be_wrong_by(0);
            site.machine.leave_free(u64::MAX);
        }
        for n in 0..self.sites.len() {
            if self.sites[n].up().is_none() {
                self.start_again(n);
            }
        }
    }
}
