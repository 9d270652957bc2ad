//! What goes wrong, one thing at a time or several.

use super::host::Down;
use super::world::World;

/// Trouble that waits for a snapshot to be on its way from one node to another.
pub(super) struct Ambush {
    /// Whether it befalls the sender.
    sender: bool,
    /// How long after a piece arrived, in ticks.
    after: u64,
    what: Blow,
}

/// What befalls a node.
#[derive(Debug, Clone, Copy)]
pub(super) enum Blow {
    Falls(Down),
    /// The disk fails at the snapshot, and the node goes down soon after.
    Disk(Down),
}

impl World {
    /// Something goes wrong, or comes right again.
    pub(super) fn something_happens(&mut self) {
        let all = self.sites.len();
        let n = self.dice.below(all as u64) as usize;
        match self.dice.below(17) {
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
                self.net.tell("the lines are whole, and the disks fast");
                self.net.heal();
                self.sites.iter().for_each(|s| s.machine.be_slow(false));
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
            12 | 13 => {
                let how = *self.dice.pick(&[Down::Killed, Down::PowerCut]);
                let what = if self.dice.one_in(2) { Blow::Falls(how) } else { Blow::Disk(how) };
                let ambush = Ambush { sender: self.dice.one_in(3), after: self.dice.below(12), what };
                self.net.tell(format_args!("a snapshot on its way meets with {what:?}"));
                self.ambush = Some(ambush);
                // Who is gone for a while lacks what the others cut meanwhile.
                self.take_down(n, how);
            }
            14 => {
                // A leader whose disk is slow holds everybody up, until somebody else leads.
                let slow = !self.dice.one_in(3);
                self.net.tell(format_args!("{}: slow disk: {slow}", self.sites[n].member.id));
                self.sites[n].machine.be_slow(slow);
            }
            15 if self.alone.is_none() => {
                // Alone it stands for election again and again, and comes back with a higher term.
                let node = self.sites[n].member.node;
                self.net.tell(format_args!("{node} is alone"));
                for other in self.sites.iter().map(|s| s.member.node).filter(|other| *other != node) {
                    self.net.cut(node, other);
                    self.net.cut(other, node);
                }
                self.alone = Some((self.tick + 800 + self.dice.below(3_000), node));
            }
            _ => {
                let third = self.site_of("third");
                self.take_down(third, Down::Killed);
                if let Some(file) = self.sites[third].machine.flip_a_body(&self.dice) {
                    self.net.tell(format_args!("third: a bit of {file} flips"));
                }
            }
        }
    }

    /// Lets whoever was alone come back, when it is time.
    pub(super) fn rejoin(&mut self) {
        if let Some((_, node)) = self.alone.take_if(|(at, _)| *at <= self.tick) {
            self.net.tell(format_args!("{node} is not alone any more"));
            self.net.join(node);
        }
    }

    /// Lets what waits for a snapshot befall who sends or gets one.
    pub(super) fn lie_in_wait(&mut self) {
        let pieces = self.net.take_pieces();
        if let (Some((from, to)), None) = (pieces.first(), self.blow)
            && let Some(Ambush { sender, after, what }) = self.ambush.take()
        {
            let whom = if sender { from } else { to };
            let n = self.sites.iter().position(|s| s.member.node == *whom);
            self.blow = n.map(|n| (self.tick + after, n, what));
        }
        let Some((_, n, what)) = self.blow.take_if(|(at, ..)| *at <= self.tick) else { return };
        match what {
            Blow::Falls(how) => self.take_down(n, how),
            Blow::Disk(how) => {
                let site = &self.sites[n];
                self.net.tell(format_args!("{}: the disk will fail at a snapshot", site.member.id));
                site.machine.fail_at_a_snapshot(&self.dice);
                // Somebody looks, as with every failing disk.
                self.blow = Some((self.tick + 300, n, Blow::Falls(how)));
            }
        }
    }

    /// Nothing is wrong any more.
    pub(super) fn calm(&mut self) {
        self.net.tell("calm");
        self.net.heal();
        (self.ambush, self.alone, self.large) = (None, None, None);
        // A disk that was to fail is looked after.
        if let Some((_, n, _)) = self.blow.take() {
            self.take_down(n, Down::Killed);
        }
        for site in &self.sites {
            site.machine.clock().be_wrong_by(0);
            site.machine.leave_free(u64::MAX);
            site.machine.be_slow(false);
        }
        for n in 0..self.sites.len() {
            let site = &self.sites[n];
            if site.up().is_none() && (site.is_member() || site.back.is_some()) {
                self.start_again(n);
            }
        }
    }
}
