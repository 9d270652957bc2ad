//! The federation and its time: ticks of a millisecond, in which messages arrive and each node does what it can.

use super::dice::Dice;
use super::host::{Down, Machine};
use super::large::Large;
use super::members::Change;
use super::net::Net;
use super::node::{Member, Start, Up};
use super::oracle::Oracle;
use super::suspension::{ShutOut, Suspension};
use super::trouble::{Ambush, Blow};
use crate::cluster::Cuts;
use crate::domain::agreement::Terms;
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, NodeId, NoticeId};
use crate::domain::label::Grade;
use crate::domain::time::Millis;
use crate::ledger::fixture::{sign_genesis, terms};
use crate::ledger::{Act, Charter, Command, Genesis, LEVEL, SignedAct, SignedGenesis};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// How long the world waits for what must come once it is calm, in ticks.
const PATIENCE: u64 = 60_000;
/// How often heads and digests are looked at, in ticks.
const LOOK: u64 = 50;
/// How long a node is down, in ticks: somebody starts it soon, or nobody is there for a while.
const AWAY: [u64; 4] = [1_500, 1_500, 1_500, 5_000];

/// Whether a node takes part, by the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Nobody let it in yet.
    Outside,
    /// Since this tick, as far as somebody knew.
    Member(u64),
    /// It was removed.
    Gone,
}

/// A node's place: what stays when it goes down.
pub(super) struct Site {
    pub(super) member: Member,
    pub(super) machine: Arc<Machine>,
    pub(super) part: Part,
    running: Option<(Runtime, Up)>,
    /// When somebody starts it again.
    pub(super) back: Option<u64>,
}

impl Site {
    pub(super) fn new(member: Member, dice: &Dice, part: Part) -> Site {
        Site { member, machine: Machine::new(dice.split()), part, running: None, back: None }
    }

    pub(super) fn is_member(&self) -> bool {
        matches!(self.part, Part::Member(_))
    }

    pub(super) fn up(&self) -> Option<&Up> {
        self.running.as_ref().map(|(_, up)| up)
    }

    pub(super) fn runtime(&self) -> Option<&Runtime> {
        self.running.as_ref().map(|(runtime, _)| runtime)
    }
}

/// One simulated federation: police, customs and third vote; the agreement `all-2026` joins all, `two-2026` the first two.
/// What a seed has that is not for every one stands in its number, so that a few in a row meet all of it.
pub(super) struct World {
    pub(super) dice: Dice,
    pub(super) net: Net,
    pub(super) sites: Vec<Site>,
    pub(super) oracle: Oracle,
    /// What waits for a snapshot to be on its way.
    pub(super) ambush: Option<Ambush>,
    /// What it does to whom, and when.
    pub(super) blow: Option<(u64, usize, Blow)>,
    /// Who is cut off from everybody, and until when.
    pub(super) alone: Option<(u64, NodeId)>,
    pub(super) tick: u64,
    /// Days that went by in a moment, in milliseconds.
    pub(super) passed: u64,
    /// Notices whose time was over, and that are deleted.
    pub(super) deleted: Vec<NoticeId>,
    /// When logs are cut.
    cuts: Cuts,
    /// Who comes and who goes.
    pub(super) change: Option<Change>,
    /// Which agency is suspended for a while.
    pub(super) suspension: Option<Suspension>,
    /// Which person is to be suspended.
    pub(super) shut_out: Option<ShutOut>,
    /// What is still to be done with large bodies.
    pub(super) large: Option<Large>,
    /// Agreements in force, with their parties.
    pub(super) agreed: Vec<(&'static str, BTreeSet<AgencyId>)>,
    pub(super) seed: u64,
    genesis: SignedGenesis,
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let dice = Dice::of(seed);
        let members = [("customs", 1 << 40), ("police", 1 << 20), ("third", 1 << 50)].map(|(id, s)| Member::new(id, s));
        let genesis = Genesis {
            federation: "test".parse().unwrap(),
            threshold: 2,
            created: Millis(1_000_000),
            voters: members.iter().map(|m| m.id.clone()).collect(),
            founders: members.iter().map(|m| m.descriptor.clone()).collect(),
            level: LEVEL,
        };
        genesis.check().unwrap();
        let mut signed = SignedGenesis { body: genesis.to_bytes(), signatures: Default::default() };
        for m in &members {
            let (handle, key) = &m.officers[0];
            let signature = sign_genesis(key, &signed.body);
            signed.add(m.id.clone(), *handle, signature).unwrap();
        }
        let sites = members.into_iter().map(|m| Site::new(m, &dice, Part::Member(0))).collect();
        let net = Net::new(&dice);
        // In three of four federations far more often than anywhere: who was away lacks what the others cut.
        let often = Cuts {
            every: 3 + dice.below(8),
            kept: dice.below(4),
            piece_bytes: 400 + dice.below(8_000),
            ..Cuts::default()
        };
        let cuts = if seed.is_multiple_of(4) { Cuts::default() } else { often };
        World {
            net,
            sites,
            oracle: Oracle::default(),
            ambush: None,
            blow: None,
            alone: None,
            tick: 0,
            passed: 0,
            deleted: Vec::new(),
            cuts,
            change: None,
            suspension: None,
            shut_out: None,
            large: None,
            agreed: agreements().to_vec(),
            seed,
            genesis: signed,
            dice,
        }
    }

    /// Starts a node. What it says when it does not start.
    pub(super) fn start(&mut self, n: usize) -> Result<(), Fault> {
        // Where others may lead than it knows of, it is told sometimes who does.
        let told = self.change.is_some() && self.dice.one_in(2);
        let charter = self.newest().filter(|_| told).map(|up| up.core.cluster.charter());
        self.start_with(n, charter)
    }

    /// The same for one that is told who takes part, as the others know it.
    pub(super) fn start_told(&mut self, n: usize) -> Result<(), Fault> {
        let charter = self.newest().map(|up| up.core.cluster.charter());
        self.start_with(n, charter)
    }

    fn start_with(&mut self, n: usize, charter: Option<Charter>) -> Result<(), Fault> {
        let site = &mut self.sites[n];
        let runtime = runtime();
        site.machine.clock().set(self.tick);
        site.machine.clock().let_pass(self.passed);
        let with = Start {
            genesis: &self.genesis,
            machine: &site.machine,
            net: &self.net,
            dice: &self.dice,
            cuts: self.cuts,
            charter,
        };
        let started = runtime.block_on(site.member.start(with));
        let id = &site.member.id;
        match started {
            Ok((up, served)) => {
                self.net.tell(format_args!("{id} starts"));
                self.net.set(site.member.node, Some(served));
                self.oracle.begins(n, up.core.cluster.applied());
                (site.running, site.back) = (Some((runtime, up)), None);
                Ok(())
            }
            Err(fault) => {
                self.net.tell(format_args!("{id} does not start: {fault}"));
                runtime.shutdown_background();
                Err(fault)
            }
        }
    }

    /// Takes a node down, if it is up.
    pub(super) fn take_down(&mut self, n: usize, how: Down) {
        let site = &mut self.sites[n];
        let Some((runtime, up)) = site.running.take() else { return };
        self.net.tell(format_args!("{} goes down: {how:?}", site.member.id));
        // What it held on its disks is fixed before anything of it ends.
        site.machine.go_down(how);
        self.net.set(site.member.node, None);
        drop(up);
        runtime.shutdown_background();
        site.back = Some(self.tick + 50 + self.dice.below(*self.dice.pick(&AWAY)));
    }

    /// One millisecond.
    pub(super) fn step(&mut self) {
        self.tick += 1;
        self.net.arrive(self.tick);
        self.lie_in_wait();
        self.rejoin();
        for n in 0..self.sites.len() {
            if self.sites[n].back.is_some_and(|back| back <= self.tick) {
                self.start_again(n);
            }
        }
        let all = self.sites.len();
        for k in 0..all {
            let site = &self.sites[(k + self.tick as usize) % all];
            site.machine.clock().set(self.tick);
            if let Some(runtime) = site.runtime() {
                runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
            }
        }
        self.change_members();
        self.suspend();
        self.go_on_with_large_bodies();
        if self.tick.is_multiple_of(LOOK) {
            self.oracle.look(&self.sites);
        }
    }

    /// Starts a node that was there before; that it does not start is wrong.
    pub(super) fn start_again(&mut self, n: usize) {
        if let Err(fault) = self.start(n) {
            let id = &self.sites[n].member.id;
            self.oracle.wrong(format!("{id} does not start again: {fault}"));
            self.sites[n].back = None;
        }
    }

    pub(super) fn run(&mut self, ms: u64) {
        (0..ms).for_each(|_| self.step());
    }

    /// Goes on until it holds; what was waited for when it never does.
    pub(super) fn until(&mut self, what: &str, holds: impl Fn(&World) -> bool) -> Result<(), String> {
        for _ in 0..PATIENCE {
            if holds(self) {
                return Ok(());
            }
            self.step();
        }
        Err(format!("{what}: not within {} s of calm", PATIENCE / 1_000))
    }

    /// Starts all and puts the agreements in force.
    pub(super) fn begin(&mut self) -> Result<(), String> {
        self.old_times()?;
        for n in 0..self.sites.len() {
            if self.sites[n].up().is_none() {
                self.start(n).map_err(|fault| format!("a first start failed: {fault}"))?;
            }
        }
        self.until("a leader", |w| w.ups().all(|up| up.core.cluster.status().leader.is_some()))?;
        for (id, parties) in agreements() {
            self.agree(id, &parties)?;
        }
        let know_each_other = |w: &World| {
            w.ups().all(|up| up.core.state().agencies().all(|(_, a)| a.introductions.len() + 1 >= w.sites.len()))
        };
        self.until("introductions", know_each_other)
    }

    /// Lets an officer of each party sign an agreement at its own node, until it is in force.
    pub(super) fn agree(&mut self, id: &'static str, parties: &BTreeSet<AgencyId>) -> Result<(), String> {
        let names: Vec<&str> = parties.iter().map(AgencyId::as_str).collect();
        let act = Act::Agreement(Terms { grade: Grade::Confidential, ..terms(id, &names) });
        for site in self.sites.iter().filter(|s| parties.contains(&s.member.id)) {
            let (handle, key) = &site.member.officers[0];
            let act = SignedAct::sign(&"test".parse().unwrap(), &act, 0, Millis(u64::MAX), *handle, key);
            let core = Arc::clone(&site.up().unwrap().core);
            site.runtime().unwrap().spawn(async move {
                let put = core.committer.submit(Command::Act(act), Duration::from_secs(30)).await;
                put.map(|_| ()).unwrap_or_else(|fault| panic!("{fault}"));
            });
        }
        let id = id.parse().unwrap();
        self.until("an agreement in force", |w| {
            w.ups().all(|up| up.core.state().agreement(&id).is_some_and(|a| a.iter().any(|v| v.in_force.is_some())))
        })
    }

    /// What a node answers, once it does.
    pub(super) fn answer<R: Send + 'static>(
        &mut self,
        n: usize,
        act: impl Future<Output = R> + Send + 'static,
    ) -> Result<R, String> {
        let (answer, mut answered) = oneshot::channel();
        self.spawn(n, async move { drop(answer.send(act.await)) });
        for _ in 0..PATIENCE {
            if let Ok(reply) = answered.try_recv() {
                return Ok(reply);
            }
            self.step();
        }
        Err(format!("{} does not answer", self.sites[n].member.node))
    }

    /// The place of an agency's first node.
    pub(super) fn site_of(&self, agency: &str) -> usize {
        self.sites.iter().position(|s| s.member.id.as_str() == agency).unwrap()
    }

    /// Nodes that run.
    pub(super) fn ups(&self) -> impl Iterator<Item = &Up> {
        self.sites.iter().filter_map(Site::up)
    }

    /// Those of them that take part.
    pub(super) fn members(&self) -> impl Iterator<Item = &Up> {
        self.sites.iter().filter(|s| s.is_member()).filter_map(Site::up)
    }

    /// The one of those that is furthest.
    pub(super) fn newest(&self) -> Option<&Up> {
        self.members().max_by_key(|up| up.core.cluster.applied())
    }
}

/// The agreements of a simulation with their parties.
pub(super) fn agreements() -> [(&'static str, BTreeSet<AgencyId>); 2] {
    let set = |ids: &[&str]| ids.iter().map(|id| id.parse().unwrap()).collect();
    [("all-2026", set(&["customs", "police", "third"])), ("two-2026", set(&["customs", "police"]))]
}

/// One thread, and a clock that stands.
fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}
