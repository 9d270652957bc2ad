//! Large bodies, whose content lies apart: published whole and while they come, amended, and read in pieces, amid whatever else
//! goes wrong. Power fails while one is on its way, and at the end every file of content is one that something names.

use super::dice::Dice;
use super::host::Down;
use super::net::Carried;
use super::node::PERSON;
use super::oracle::{Claim, Oracle};
use super::work::{Author, published, record_under, sealed_for};
use super::world::{Site, World};
use crate::audit::{Action, Decision, Event, Stage};
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, RecordId};
use crate::domain::label::Grade;
use crate::domain::limits;
use crate::service::{AmendAsk, Caller, Core, Once, PublishAsk, Published};
use crate::vault::Pieces;
use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a large body: at least, and how many more.
const BYTES: (u64, u64) = (200 << 10, 150 << 10);
/// How often somebody tries again what was not acknowledged, in ticks.
const AGAIN: u64 = 700;
/// Pause before each piece that somebody sends, or reads.
const PAUSE: Duration = Duration::from_millis(3);
/// How often somebody tries to open one once it is calm, a second apart: a copy that is damaged is fetched again.
const TRIES: usize = 60;

/// The text of a large body: lines that are all different, so that no piece looks like another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Text {
    salt: u64,
    bytes: usize,
}

impl Text {
    fn by(dice: &Dice) -> Text {
        Text { salt: dice.below(u64::MAX), bytes: (BYTES.0 + dice.below(BYTES.1)) as usize }
    }

    fn written(self) -> Vec<u8> {
        let (mut all, mut line) = (String::with_capacity(self.bytes + 32), 0u32);
        while all.len() < self.bytes {
            let _ = writeln!(all, "{:016x} {line:08}", self.salt);
            line += 1;
        }
        all.truncate(self.bytes);
        all.into_bytes()
    }
}

/// How a body is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Whole,
    InPieces,
    /// In pieces, the last of which do not come.
    Broken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Publish(How),
    Amend(How),
}

/// What befalls a node while a large body is on its way.
struct Strike {
    /// Whether it befalls whoever gets it.
    receiver: bool,
    /// After so many pieces.
    pieces: u64,
    how: Down,
}

/// What is still to be done with large bodies.
pub(super) struct Large {
    deeds: VecDeque<Deed>,
    /// When somebody does the next.
    next: u64,
    /// How many were acknowledged before.
    acknowledged: usize,
    /// The next is the last of them.
    strikes: Vec<Strike>,
    dice: Dice,
}

/// A text that comes slowly.
struct Coming {
    text: Vec<u8>,
    given: usize,
    ends: usize,
}

impl Coming {
    fn of(text: Text, how: How) -> Coming {
        let ends = if how == How::Broken { text.bytes / 2 } else { text.bytes };
        Coming { text: text.written(), given: 0, ends }
    }
}

impl Pieces for Coming {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Result<Option<Vec<u8>>, String>> + Send + '_>> {
        Box::pin(async move {
            tokio::time::sleep(PAUSE).await;
            if self.given == self.text.len() {
                return Ok(None);
            }
            if self.given == self.ends {
                return Err("whoever wrote it went away".to_owned());
            }
            let to = self.ends.min(self.given + limits::PIECE_BYTES / 3);
            let piece = self.text[self.given..to].to_vec();
            self.given = to;
            Ok(Some(piece))
        })
    }
}

impl Oracle {
    /// Whether a record was ever to have a large text.
    pub(super) fn is_large(&self, record: &RecordId) -> bool {
        let of = |c: &Claim| matches!(c, Claim::Given { record: given, .. } if given == record);
        self.claims().lock().unwrap().iter().any(of)
    }

    /// How many large texts were acknowledged.
    fn acknowledged(&self) -> usize {
        let of = |c: &&Claim| matches!(c, Claim::Given { version: Some(_), .. });
        self.claims().lock().unwrap().iter().filter(of).count()
    }
}

/// What may be shown as a version: the text that was acknowledged as it; of one that kept the text before it, or was not
/// acknowledged, any that was to be given.
fn texts_of(claims: &[Claim], record: RecordId, version: u32) -> Vec<Text> {
    let given = claims.iter().filter_map(|c| match c {
        Claim::Given { record: of, version, text } if *of == record => Some((*version, *text)),
        _ => None,
    });
    let given: Vec<_> = given.collect();
    let exact = given.iter().filter(|(v, _)| *v == Some(version)).map(|(_, text)| *text).collect::<Vec<_>>();
    if exact.is_empty() { given.into_iter().map(|(_, text)| text).collect() } else { exact }
}

fn is_one_of(text: &[u8], of: &[Text]) -> bool {
    of.iter().any(|t| t.bytes == text.len() && t.written() == text)
}

/// What somebody was shown.
struct Shown {
    version: u32,
    /// The entry of the intent.
    seq: u64,
    text: Vec<u8>,
}

/// Opens a record: in one piece, or in pieces with a pause before each.
async fn read(core: &Core, caller: &Caller, of: (RecordId, u32), in_pieces: bool) -> Result<Shown, Fault> {
    let purpose = "演练";
    let mut text = Vec::new();
    if !in_pieces {
        let opened = core.open(caller, of.0, of.1, purpose).await?;
        opened.disclosed.portions.iter().for_each(|p| text.extend_from_slice(&p.text));
        return Ok(Shown { version: opened.version, seq: opened.audit_seq, text });
    }
    let mut parts = core.open_in_pieces(caller, of, purpose).await?;
    // It is of one class.
    let part = &mut parts[0];
    core.begin_giving(caller, part, purpose).await?;
    let broken = loop {
        tokio::time::sleep(PAUSE).await;
        match core.read_on(part) {
            Ok(Some((_, piece))) => {
                part.gave(piece.len());
                text.extend_from_slice(&piece);
            }
            Ok(None) => break None,
            Err(fault) => break Some(fault),
        }
    };
    core.end_giving(caller, part, purpose, broken.is_none()).await?;
    match broken {
        None => Ok(Shown { version: part.version, seq: part.audit_seq, text }),
        Some(fault) => Err(fault),
    }
}

fn here(done: Once<Infallible>) -> Published {
    match done {
        Once::Here(published) => published,
        Once::Elsewhere(never) => match never {},
    }
}

impl World {
    /// In two of five federations, with all else that there is in them.
    pub(super) fn plan_large_bodies(&mut self) {
        if !matches!(self.seed % 5, 2 | 3) {
            return;
        }
        let dice = Dice::of(self.seed ^ 0x6c61_7267_6500_0000);
        let amended = if dice.one_in(2) { How::Whole } else { How::InPieces };
        let deeds = [Deed::Publish(How::Whole), Deed::Publish(How::Broken), Deed::Publish(How::InPieces)];
        let deeds = deeds.into_iter().chain([Deed::Amend(amended)]).collect();
        let strike = |receiver| {
            let how = *dice.pick(&[Down::PowerCut, Down::PowerCut, Down::Killed]);
            Strike { receiver, pieces: dice.below(4), how }
        };
        let strikes = vec![strike(dice.one_in(2)), strike(true)];
        let next = self.tick + 100 + dice.below(800);
        self.large = Some(Large { deeds, next, acknowledged: 0, strikes, dice });
    }

    /// Goes on with what is planned.
    pub(super) fn go_on_with_large_bodies(&mut self) {
        let parts = self.net.take_parts();
        let Some(mut large) = self.large.take() else { return };
        for (from, to) in parts {
            match large.strikes.last_mut() {
                None => break,
                Some(strike) if strike.pieces > 0 => strike.pieces -= 1,
                Some(Strike { receiver, how, .. }) => {
                    let (whom, how) = (if *receiver { to } else { from }, *how);
                    let runs = |s: &Site| s.member.node == whom && s.up().is_some();
                    if let Some(n) = self.sites.iter().position(runs) {
                        self.net.tell(format_args!("{whom} amid a large body"));
                        self.take_down(n, how);
                        large.strikes.pop();
                        break;
                    }
                }
            }
        }
        if large.next <= self.tick {
            large.next = self.tick + AGAIN;
            self.go_on_with_deeds(&mut large);
        }
        self.large = Some(large);
    }

    /// Does what is next; what was not acknowledged is tried again.
    fn go_on_with_deeds(&mut self, large: &mut Large) {
        let acknowledged = self.oracle.acknowledged();
        if acknowledged > large.acknowledged {
            large.acknowledged = acknowledged;
            large.deeds.pop_front();
        }
        let writes = |n: &usize| {
            let site = &self.sites[*n];
            site.up().is_some() && site.is_member() && site.member.local == "1" && site.member.id.as_str() != "third"
        };
        let up: Vec<usize> = (0..self.sites.len()).filter(writes).collect();
        let Some(deed) = large.deeds.front().copied().filter(|_| !up.is_empty()) else { return };
        let n = *large.dice.pick(&up);
        let text = Text::by(&large.dice);
        match deed {
            Deed::Publish(how) => self.publish_large(n, text, how),
            Deed::Amend(how) => self.amend_large(n, text, how),
        }
        if deed == Deed::Publish(How::Broken) {
            large.deeds.pop_front();
        }
    }

    /// Publishes a large body. A second person decides on some of them.
    fn publish_large(&mut self, n: usize, text: Text, how: How) {
        let own = &self.sites[n].member.id;
        let agreed: Vec<_> = self.agreed.iter().filter(|(_, parties)| parties.contains(own)).collect();
        if agreed.is_empty() {
            return;
        }
        let (id, audience) = (*self.dice.pick(&agreed)).clone();
        let grade = if text.salt.is_multiple_of(4) { Grade::Confidential } else { Grade::Internal };
        let (patience, request_id) = (self.patience(), self.request_id());
        let Ok(Author { core, link, caller, claims, net, gone }) = self.author(n) else { return };
        let done = async move {
            let before = core.state();
            let ask = PublishAsk { grade, ..record_under(id, patience, request_id) };
            let done = if how == How::Whole {
                core.publish(&caller, PublishAsk { body: text.written(), ..ask }, link).await
            } else {
                let (ask, mut coming) = (PublishAsk { coming: text.bytes, ..ask }, Coming::of(text, how));
                let nowhere = async { Ok(None::<Infallible>) };
                core.publish_coming(&caller, ask, &mut coming, link, nowhere).await.map(here)
            };
            match done {
                Ok(p) if how == How::Broken => net.wrong(format!("{} is taken, and did not come whole", p.record)),
                Ok(p) => {
                    net.tell(format_args!("large {} {:?} held by {}", p.record, p.index, p.held_by.len()));
                    let (record, version) = (p.record, p.version);
                    let audience = sealed_for(&core, &p, audience, Some(&before), &net);
                    let told = match p.proposed {
                        true => Claim::Proposed { record, version, audience, by: n },
                        false => published(p, audience, n, gone),
                    };
                    claims.lock().unwrap().extend([Claim::Given { record, version: Some(version), text }, told]);
                }
                Err(fault) => net.tell(format_args!("not published, large {how:?}: {}", fault.reason)),
            }
        };
        self.spawn(n, done);
    }

    /// Gives what is large and was published here another large text.
    fn amend_large(&mut self, n: usize, text: Text, how: How) {
        let own = self.oracle.published_by(n).into_iter().filter(|(record, _)| self.oracle.is_large(record));
        let own: Vec<_> = own.collect();
        if own.is_empty() {
            return;
        }
        let (record, audience) = self.dice.pick(&own).clone();
        let (patience, request_id) = (self.patience(), self.request_id());
        let Ok(Author { core, link, caller, claims, net, gone }) = self.author(n) else { return };
        claims.lock().unwrap().push(Claim::Given { record, version: None, text });
        let ask = AmendAsk {
            record,
            expected: 0,
            title: None,
            body: None,
            coming: 0,
            portions: Vec::new(),
            reason: "更正".into(),
            patience,
            request_id,
        };
        let done = async move {
            let done = if how == How::Whole {
                core.amend(&caller, AmendAsk { body: Some(text.written()), ..ask }, link).await
            } else {
                let (ask, mut coming) = (AmendAsk { coming: text.bytes, ..ask }, Coming::of(text, how));
                let nowhere = async { Ok(None::<Infallible>) };
                core.amend_coming(&caller, ask, &mut coming, link, nowhere).await.map(here)
            };
            match done {
                Ok(p) => {
                    net.tell(format_args!("large {record} amended to {} {:?}", p.version, p.index));
                    let audience = sealed_for(&core, &p, audience, None, &net);
                    let given = Claim::Given { record, version: Some(p.version), text };
                    claims.lock().unwrap().extend([given, published(p, audience, n, gone)]);
                }
                Err(fault) => net.tell(format_args!("not amended, large {how:?}: {}", fault.reason)),
            }
        };
        self.spawn(n, done);
    }

    /// Somebody opens what is large, in one piece or in several.
    pub(super) fn open_large(&self, n: usize, record: RecordId) {
        let in_pieces = self.tick.is_multiple_of(2);
        let site = &self.sites[n];
        let core = Arc::clone(&site.up().unwrap().core);
        let Ok(caller) = site.member.caller(&core) else { return };
        let (claims, net) = (self.oracle.claims(), self.net.clone());
        self.spawn(n, async move {
            let Shown { version, seq, text } = match read(&core, &caller, (record, 0), in_pieces).await {
                Ok(shown) => shown,
                Err(fault) => return net.tell(format_args!("not opened, large: {}", fault.reason)),
            };
            net.tell(format_args!("opened {record} version {version}, large, by entry {seq}"));
            let mut claims = claims.lock().unwrap();
            if !is_one_of(&text, &texts_of(&claims, record, version)) {
                net.wrong(format!("{record} version {version} is shown at {} with other bytes", core.agency));
            }
            claims.push(Claim::Opened { record, site: n, seq, by: PERSON });
        });
    }

    /// Once it is calm: what is large opens whole at everybody entitled, before and after power cuts, and leaves nothing else.
    pub(super) fn ask_of_large_bodies(&mut self) -> Result<(), String> {
        let claims = self.oracle.claims().lock().unwrap().clone();
        let of = |c: &Claim| match c {
            Claim::Published { record, version, audience, by, .. }
                if !texts_of(&claims, *record, *version).is_empty() =>
            {
                Some((*record, *version, audience.clone(), *by))
            }
            _ => None,
        };
        let large: Vec<_> = claims.iter().filter_map(of).collect();
        if large.is_empty() {
            return Ok(());
        }
        let mut shown = 0;
        for (record, version, audience, by) in &large {
            for n in self.entitled(audience, *by) {
                let is_shown = self.opens_whole(n, (*record, *version), &texts_of(&claims, *record, *version))?;
                shown += u64::from(is_shown && n != *by);
            }
        }
        let members = |w: &World| (0..w.sites.len()).filter(|n| w.sites[*n].is_member()).collect::<Vec<_>>();
        for n in members(&*self) {
            self.take_down(n, Down::PowerCut);
            self.sites[n].back = Some(self.tick + 1);
            let is_back = |w: &World| w.sites[n].up().is_some() && w.is_of_one_ledger();
            self.until("one ledger after a power cut", is_back)?;
        }
        let none_strays = |w: &World| members(w).into_iter().all(|n| w.strays(n).is_empty());
        self.until("files of content that something names", none_strays).map_err(|why| {
            let all: Vec<_> = members(&*self).into_iter().map(|n| (n, self.strays(n))).collect();
            format!("{why}: {all:?}")
        })?;
        for (record, version, audience, by) in &large {
            let own = Some(*by).filter(|n| self.sites[*n].is_member());
            for n in self.entitled(audience, *by).into_iter().chain(own).collect::<BTreeSet<_>>() {
                self.opens_whole(n, (*record, *version), &texts_of(&claims, *record, *version))?;
            }
        }
        self.oracle.note_large(shown, self.net.carried());
        self.net.verdict()
    }

    /// Sites that must have what a site published for an audience. Of an agency's own nodes that is this one.
    fn entitled(&self, audience: &BTreeSet<AgencyId>, by: usize) -> Vec<usize> {
        let own = &self.sites[by].member.id;
        let entitled = |n: &usize| {
            let site = &self.sites[*n];
            site.is_member() && audience.contains(&site.member.id) && (site.member.id != *own || *n == by)
        };
        (0..self.sites.len()).filter(entitled).collect()
    }

    /// Waits until a person at a node is shown a version with one of these texts; false where it folded.
    fn opens_whole(&mut self, n: usize, of: (RecordId, u32), texts: &[Text]) -> Result<bool, String> {
        let mut why = String::new();
        for attempt in 0..TRIES {
            let (site, in_pieces) = (&self.sites[n], (n + attempt).is_multiple_of(2));
            let core = site.up().map(|up| Arc::clone(&up.core)).ok_or("a node that takes part does not run")?;
            if core.state().is_folded(&of.0, of.1) {
                return Ok(false);
            }
            let id = site.member.id.clone();
            let caller = site.member.caller(&core).map_err(|fault| format!("nobody is known at home: {fault}"))?;
            let shown = self.answer(n, async move { read(&core, &caller, of, in_pieces).await })?;
            match shown {
                Ok(shown) if is_one_of(&shown.text, texts) => return Ok(true),
                Ok(_) => return Err(format!("{} version {} is shown at {id} with other bytes", of.0, of.1)),
                Err(fault) => why = format!("{} version {} does not open at {id}: {fault}", of.0, of.1),
            }
            self.run(1_000);
        }
        Err(why)
    }

    /// What the audit log of a node says of publishes, at their beginning or their end.
    fn published_at(&self, n: usize, stage: Stage) -> Vec<Event> {
        let Some(audit) = self.sites[n].up().map(|up| &up.core.audit) else { return Vec::new() };
        let all = (0..audit.size()).flat_map(|seq| audit.read(seq, 1).unwrap());
        all.filter(|e| e.action == Action::Publish && e.stage == stage).collect()
    }

    /// Files of content at a node that nothing names, or another copy than the one that was committed.
    fn strays(&self, n: usize) -> Vec<String> {
        let site = &self.sites[n];
        let Some(core) = site.up().map(|up| &up.core) else { return Vec::new() };
        let (state, named) = (core.state(), core.vault.content_files());
        let is_of_use = |file: &String| {
            named.get(file).is_some_and(|(record, version, commitment)| {
                let committed = state.record(record).and_then(|all| all.iter().find(|v| v.version == *version));
                committed.is_none_or(|c| c.commitment == *commitment)
            })
        };
        site.machine.content_files().into_iter().filter(|file| !is_of_use(file)).collect()
    }
}

/// The record of a large body, once it is acknowledged.
fn acknowledged_as(world: &mut World, text: Text) -> RecordId {
    let given = |w: &World| {
        let claims = w.oracle.claims();
        let claims = claims.lock().unwrap();
        claims.iter().find_map(|c| match c {
            Claim::Given { record, version: Some(_), text: of } if *of == text => Some(*record),
            _ => None,
        })
    };
    world.until("a large body that is acknowledged", |w| given(w).is_some()).unwrap();
    given(&*world).unwrap()
}

/// All nodes run, have it, and show it as it is.
fn is_shown_everywhere(world: &mut World, record: RecordId, text: Text) {
    let holds = |w: &World| w.ups().count() == 3 && w.ups().all(|up| up.core.vault.records().contains(&record));
    world.until("a large body everywhere", holds).unwrap();
    for n in 0..3 {
        assert!(world.opens_whole(n, (record, 1), &[text]).unwrap());
    }
}

/// It is pushed where nothing goes wrong, and pulled where the power fails amid the push, and where a file is lost afterwards.
#[test]
fn a_large_body_arrives_whatever_befalls_a_holder() {
    let mut world = World::new(5);
    world.begin().unwrap();
    world.agreed.retain(|(id, _)| *id == "all-2026");
    let (police, third) = (world.site_of("police"), world.site_of("third"));
    let [first, second, broken] = [1, 2, 3].map(|salt| Text { salt, bytes: 300_000 });
    world.publish_large(police, first, How::InPieces);
    let record = acknowledged_as(&mut world, first);
    is_shown_everywhere(&mut world, record, first);
    assert_eq!(world.net.carried(), Carried::default(), "it was pushed");

    let strikes = vec![Strike { receiver: true, pieces: 1, how: Down::PowerCut }];
    let (deeds, dice) = (VecDeque::new(), Dice::of(1));
    world.large = Some(Large { deeds, next: u64::MAX, acknowledged: 0, strikes, dice });
    world.publish_large(police, second, How::Whole);
    world.until("a node without power", |w| w.ups().count() == 2).unwrap();
    let other = acknowledged_as(&mut world, second);
    is_shown_everywhere(&mut world, other, second);
    let carried = world.net.carried();
    assert!(carried.pulled == 1 && carried.broken >= 1, "{carried:?}");

    let named = world.sites[third].up().unwrap().core.vault.content_files();
    let (file, _) = named.into_iter().find(|(_, (of, ..))| *of == record).unwrap();
    world.sites[third].machine.lose_content(&file);
    assert!(world.opens_whole(third, (record, 1), &[first]).unwrap());
    assert_eq!(world.net.carried().pulled, 2);

    let before = world.sites[police].machine.content_files();
    let files = |w: &World| w.sites[police].machine.content_files();
    world.publish_large(police, broken, How::Broken);
    world.until("a body that is coming", |w| files(w).len() > before.len()).unwrap();
    world.until("nothing of what did not come whole", |w| files(w) == before).unwrap();
    let ends = |w: &World| w.published_at(police, Stage::Outcome);
    world.until("how each of them ended", |w| ends(w).len() == 3).unwrap();
    assert_eq!(world.published_at(police, Stage::Intent).len(), 3);
    let decisions = ends(&world).into_iter().map(|e| e.decision).collect::<Vec<_>>();
    assert_eq!(decisions, [Decision::Allow, Decision::Allow, Decision::Deny], "the last is one that failed");
    for n in 0..3 {
        assert!(world.strays(n).is_empty() && world.sites[n].machine.content_files().len() == 2, "at {n}");
    }
    world.net.verdict().unwrap();
}
