//! An exhaustive explorer of small cases: every state that one notice can get into between its sender, its addressee and a
//! relay. It runs the very decisions, books, schedule and relay that ship.
//!
//! What was sent stays in the network for good, and arrives at any time, any number of times, or never: one set of what
//! was sent stands for loss, repetition, delay and every order. A node is its durable frames: whatever it does may be cut
//! off after each of them, and it goes on with the book that those give. A relay that dies forgets all.
//!
//! Checked in every state: nothing is lost, nothing is shown as new twice, the sender believes nothing that its addressee
//! has not said durably, alarms come once and not early. From every state faults stop, what is under way is lost, and one
//! path works, the direct one or the relay: then what is owed arrives, and no end lies.

mod keys;
mod properties;

use super::super::decide::{Decision, Event, Keep, Sign};
use super::cases::{Act, Case, Goal};
use super::*;
use crate::domain::canon::Writer;
use keys::key_of;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::rc::Rc;

type Key = [u8; 32];

/// How something may come out: cut off after so many frames, or not at all.
type Outcomes = Vec<(Option<usize>, Scene)>;

pub(super) const CUSTOMS: usize = 0;
const POLICE: usize = 1;
/// Who confirms a provisional marking.
const CLASSIFIER: &str = "chief";

/// A case with more states is no small one.
const MOST: usize = 30_000;

impl Case {
    fn at(&self, scene: &Scene) -> Millis {
        START.plus_ms(self.instants[scene.now])
    }
}

/// Something on its way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Message {
    /// A letter for its addressee.
    Letter { letter: LetterDigest, by_relay: bool },
    /// A letter that the relay is to pass on.
    ToRelay(LetterDigest),
    /// Receipts, by digest, for whoever brought a letter.
    Answer { letter: LetterDigest, to_relay: bool, receipts: Vec<Key> },
}

#[derive(Debug, Clone)]
enum Move {
    Passes,
    Sends(Message),
    Arrives(Message),
    Steps(usize),
    Acts(Act),
    RelayGivesUp(LetterDigest),
    RelayDies,
}

/// A node: what is durable, and what it makes of that.
struct Node {
    frames: Vec<Frame>,
    book: Book,
    key: Key,
}

/// What happened outside the nodes.
#[derive(Debug, Clone, Copy, Default)]
struct Facts {
    /// How often people were told of it as new.
    rung: u8,
    seen: bool,
    acknowledged: bool,
    withdrawn: bool,
    recalled: bool,
    /// A classifier was asked to confirm it, and then the letter that says so was durable.
    confirming: bool,
    confirmed: bool,
}

#[derive(Clone)]
struct Scene {
    now: usize,
    nodes: [Rc<Node>; 2],
    relay: Relay,
    /// What the relay's memory comes to: letters that it waits for, and those of which it has receipts.
    waits: BTreeSet<LetterDigest>,
    keeps: BTreeMap<LetterDigest, Vec<Key>>,
    net: BTreeSet<Message>,
    facts: Facts,
}

impl Scene {
    fn key(&self) -> Key {
        let mut w = Writer::bare();
        w.u64(self.now as u64).array(&self.nodes[CUSTOMS].key).array(&self.nodes[POLICE].key);
        w.list(self.waits.iter(), |w, l| {
            w.array(l);
        });
        let many = |w: &mut Writer, receipts: &[Key]| {
            w.list(receipts.iter(), |w, r| {
                w.array(r);
            });
        };
        w.list(self.keeps.iter(), |w, (l, receipts)| many(w.array(l), receipts));
        w.list(self.net.iter(), |w, m| match m {
            Message::Letter { letter, by_relay } => {
                w.u8(0).array(letter).flag(*by_relay);
            }
            Message::ToRelay(letter) => {
                w.u8(1).array(letter);
            }
            Message::Answer { letter, to_relay, receipts } => many(w.u8(2).array(letter).flag(*to_relay), receipts),
        });
        let Facts { rung, seen, acknowledged, withdrawn, recalled, confirming, confirmed } = self.facts;
        w.u8(rung);
        [seen, acknowledged, withdrawn, recalled, confirming, confirmed].iter().for_each(|fact| _ = w.flag(*fact));
        digest("test.scene", &[&w.finish()])
    }
}

/// Keys and memory of what was signed and sealed, which is the same every time.
pub(super) struct Explorer<'a> {
    case: &'a Case,
    state: State,
    ids: [AgencyId; 2],
    numbers: [NodeId; 2],
    signers: [SigningKey; 2],
    notice: NoticeId,
    /// The notice's letter.
    pub(super) first: LetterDigest,
    /// Acknowledges it.
    word: Word,
    /// By digest of what is said, and by their own.
    signed: HashMap<Key, SignedReceipt>,
    receipts: HashMap<Key, SignedReceipt>,
    made: BTreeMap<(LetterKind, Millis), LetterDigest>,
    pub(super) letters: BTreeMap<LetterDigest, Letter>,
    /// Receipts in letters of their own, both ways.
    carriers: HashMap<Key, LetterDigest>,
    carried: BTreeMap<LetterDigest, SignedReceipt>,
    nodes: HashMap<(Key, Key), Rc<Node>>,
    /// States from which all ends well: by the direct path, and by the relay.
    well: [HashSet<Key>; 2],
}

impl<'a> Explorer<'a> {
    pub(super) fn new(case: &'a Case) -> Explorer<'a> {
        let (parties, state) = federation();
        let ids = [CUSTOMS, POLICE].map(|n| parties[n].id.clone());
        let mut new = Explorer {
            case,
            state,
            numbers: [CUSTOMS, POLICE].map(|n| node_id(&ids[n], "1")),
            signers: [CUSTOMS, POLICE].map(|n| parties[n].ring().signing_key().unwrap()),
            notice: NoticeId::new(START, mark(&ids[POLICE]), &mut Dice(1)),
            ids,
            first: [0; 32],
            word: word(&[0; 32], "duty", None),
            signed: HashMap::new(),
            receipts: HashMap::new(),
            made: BTreeMap::new(),
            letters: BTreeMap::new(),
            carriers: HashMap::new(),
            carried: BTreeMap::new(),
            nodes: HashMap::new(),
            well: Default::default(),
        };
        new.first = new.letter(LetterKind::Notice, case.action, START);
        new.word = word(&new.first, "duty", None);
        new
    }

    fn index(&self, agency: &AgencyId) -> usize {
        self.ids.iter().position(|id| id == agency).unwrap()
    }

    /// A letter from police to customs.
    pub(super) fn letter(&mut self, kind: LetterKind, action: bool, created: Millis) -> LetterDigest {
        if let Some(known) = self.made.get(&(kind, created)) {
            return *known;
        }
        let precedence = self.case.precedence;
        let header = LetterHeader {
            federation: "test".parse().unwrap(),
            from: self.ids[POLICE].clone(),
            node: self.numbers[POLICE],
            to: self.ids[CUSTOMS].clone(),
            notice: self.notice,
            kind,
            precedence,
            exercise: true,
            action,
            lead: false,
            grade: Grade::Secret,
            created,
            expires: created.plus_ms(precedence.lifetime_ms()),
        };
        let digest = self.seal(POLICE, header, b"words");
        self.made.insert((kind, created), digest);
        digest
    }

    fn seal(&mut self, from: usize, header: LetterHeader, content: &[u8]) -> LetterDigest {
        let key = self.state.grade_key(&header.to, header.grade).unwrap();
        let letter = Letter::seal(header, content, key, &self.signers[from], &mut Dice(1)).unwrap();
        let digest = letter.digest();
        self.letters.insert(digest, letter);
        digest
    }

    fn sign(&mut self, node: usize, sign: &Sign, previous: Option<Key>, by: Option<By>, time: Millis) -> SignedReceipt {
        let receipt = Receipt {
            federation: "test".parse().unwrap(),
            notice: sign.notice,
            letter: sign.letter,
            addressee: self.ids[node].clone(),
            node: self.numbers[node],
            state: sign.state,
            time,
            previous,
            by,
            answer: None,
        };
        let said = digest("test.said", &[&receipt.to_canon()]);
        if let Some(known) = self.signed.get(&said) {
            return known.clone();
        }
        let signed = receipt.sign(&self.signers[node]);
        self.receipts.insert(signed.digest(), signed.clone());
        self.signed.insert(said, signed.clone());
        signed
    }

    fn carrier(&mut self, node: usize, receipt: &SignedReceipt, now: Millis) -> Letter {
        let digest = receipt.digest();
        if let Some(known) = self.carriers.get(&digest) {
            return self.letters[known].clone();
        }
        let header = self.letters[&receipt.receipt.letter].header.back(self.numbers[node], now);
        let carrier = self.seal(node, header, &receipt.to_canon());
        self.carriers.insert(digest, carrier);
        self.carried.insert(carrier, receipt.clone());
        self.letters[&carrier].clone()
    }

    pub(super) fn fulfil(
        &mut self,
        node: usize,
        decision: Decision,
        word: Option<&Word>,
        now: Millis,
    ) -> (Vec<Frame>, Taken) {
        let done = decision.fulfil(now, |sign, previous| {
            let receipt = self.sign(node, sign, previous, word.map(|w| w.by.clone()), now);
            let carrier = matches!(sign.keep, Keep::Carried).then(|| self.carrier(node, &receipt, now));
            Ok((receipt, carrier))
        });
        done.unwrap()
    }

    /// A node with more frames. A start from its journal gives the same book.
    fn after(&mut self, node: &Rc<Node>, frames: &[Frame]) -> Rc<Node> {
        if frames.is_empty() {
            return Rc::clone(node);
        }
        let bytes: Vec<Vec<u8>> = frames.iter().map(Frame::to_bytes).collect();
        let parts: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
        let step = (node.key, digest("test.frames", &parts));
        if let Some(known) = self.nodes.get(&step) {
            return Rc::clone(known);
        }
        let all: Vec<Frame> = node.frames.iter().chain(frames).cloned().collect();
        let mut book = node.book.clone();
        frames.iter().for_each(|f| book.fold(f.clone()));
        let mut again = Book::default();
        all.iter().for_each(|f| again.fold(Frame::from_bytes(&f.to_bytes()).unwrap()));
        let key = key_of(&book);
        assert_eq!(key_of(&again), key, "a start gives another book");
        let after = Rc::new(Node { frames: all, book, key });
        self.nodes.insert(step, Rc::clone(&after));
        after
    }

    /// How a step of a node may come out: cut off after each of its frames, and last with all of them and no cut.
    fn outcomes(&mut self, scene: &Scene, node: usize, frames: &[Frame]) -> Outcomes {
        let mut all = Vec::new();
        for cut in (1..=frames.len()).map(Some).chain([None]) {
            let mut next = scene.clone();
            next.nodes[node] = self.after(&scene.nodes[node], &frames[..cut.unwrap_or(frames.len())]);
            all.push((cut, next));
        }
        all
    }

    fn moves(&self, scene: &Scene) -> Vec<Move> {
        let mut all = Vec::new();
        if scene.now + 1 < self.case.instants.len() {
            all.push(Move::Passes);
        }
        for (n, node) in scene.nodes.iter().enumerate() {
            for (letter, _) in node.book.open().filter(|(_, o)| !node.book.is_held_back(o)) {
                let direct = Message::Letter { letter, by_relay: false };
                all.extend(self.case.direct.then_some(Move::Sends(direct)));
                all.extend(self.case.relay.then_some(Move::Sends(Message::ToRelay(letter))));
            }
            all.push(Move::Steps(n));
        }
        all.extend(scene.net.iter().cloned().map(Move::Arrives));
        all.extend(self.case.acts.iter().map(|a| Move::Acts(*a)));
        all.extend(scene.waits.iter().map(|l| Move::RelayGivesUp(*l)));
        if self.case.relay {
            all.push(Move::RelayDies);
        }
        all
    }

    fn apply(&mut self, scene: &Scene, one: &Move) -> Outcomes {
        let now = self.case.at(scene);
        match one {
            Move::Arrives(Message::Letter { letter, by_relay }) => self.letter_came(scene, *letter, *by_relay),
            Move::Arrives(Message::Answer { letter, to_relay: false, receipts }) => {
                let told: Vec<SignedReceipt> = receipts.iter().map(|r| self.receipts[r].clone()).collect();
                let node = self.index(&self.letters[letter].header.from);
                let decision = scene.nodes[node].book.decide(Event::Told(&told), now).unwrap();
                self.outcomes(scene, node, &decision.frames)
            }
            Move::Steps(node) => {
                let frames = scene.nodes[*node].book.due(now, &Deadlines::default());
                self.outcomes(scene, *node, &frames)
            }
            Move::Acts(act) => self.act(scene, *act),
            Move::Arrives(_) | Move::Passes | Move::Sends(_) | Move::RelayGivesUp(_) | Move::RelayDies => {
                let mut next = scene.clone();
                self.beside_the_nodes(&mut next, one);
                vec![(None, next)]
            }
        }
    }

    /// What changes neither book.
    fn beside_the_nodes(&self, next: &mut Scene, one: &Move) {
        match one {
            Move::Passes => next.now += 1,
            Move::Sends(message) => _ = next.net.insert(message.clone()),
            Move::Arrives(Message::ToRelay(letter)) => self.relay_asked(next, *letter),
            Move::Arrives(Message::Answer { letter, receipts, .. }) => self.relay_told(next, *letter, receipts),
            Move::RelayGivesUp(letter) => {
                next.relay.failed(letter);
                next.waits.remove(letter);
            }
            Move::RelayDies => {
                next.relay = Relay::default();
                next.waits.clear();
                next.keeps.clear();
            }
            Move::Arrives(Message::Letter { .. }) | Move::Steps(_) | Move::Acts(_) => {}
        }
    }

    fn letter_came(&mut self, scene: &Scene, digest: LetterDigest, by_relay: bool) -> Outcomes {
        let now = self.case.at(scene);
        let letter = self.letters[&digest].clone();
        let node = self.index(&letter.header.to);
        let book = &scene.nodes[node].book;
        let mut frames = Vec::new();
        if let Some(receipt) = self.carried.get(&digest) {
            let told = book.decide(Event::Told(std::slice::from_ref(receipt)), now).unwrap();
            frames.extend(told.frames);
        }
        let names = if letter.header.kind == LetterKind::Confirm { vec![CLASSIFIER.to_owned()] } else { Vec::new() };
        let decision = match book.decide(Event::Came { letter: &letter, digest, names: &names, warning: None }, now) {
            Ok(decision) => decision,
            Err(why) => {
                assert!(letter.header.expires < now, "an honest letter is refused: {why}");
                return Vec::new();
            }
        };
        let (more, taken) = self.fulfil(node, decision, None, now);
        frames.extend(more);
        let told = taken.receipts.iter().filter(|r| !by_relay || r.receipt.by.is_none());
        let receipts: Vec<Key> = told.map(SignedReceipt::digest).collect();
        let mut all = self.outcomes(scene, node, &frames);
        for (_, next) in all.iter_mut().filter(|(cut, _)| cut.is_none()) {
            next.facts.rung += u8::from(taken.new);
            next.net.insert(Message::Answer { letter: digest, to_relay: by_relay, receipts: receipts.clone() });
        }
        all
    }

    fn relay_asked(&self, next: &mut Scene, letter: LetterDigest) {
        let idle = !next.waits.contains(&letter) && !next.keeps.contains_key(&letter);
        match next.relay.begin(letter, || self.case.precedence) {
            Passage::Begun(precedence) => {
                assert!(idle && precedence == self.case.precedence, "it is passed on twice");
                next.waits.insert(letter);
                next.net.insert(Message::Letter { letter, by_relay: true });
            }
            Passage::UnderWay => assert!(next.waits.contains(&letter)),
            Passage::Arrived(receipts) => {
                let receipts: Vec<Key> = receipts.iter().map(SignedReceipt::digest).collect();
                assert_eq!(next.keeps.get(&letter), Some(&receipts));
                next.net.insert(Message::Answer { letter, to_relay: false, receipts });
            }
        }
    }

    fn relay_told(&self, next: &mut Scene, letter: LetterDigest, receipts: &[Key]) {
        let told = receipts.iter().map(|r| self.receipts[r].clone()).collect();
        let told = passed_back(&self.notice, told, |_| true);
        let receipts: Vec<Key> = told.iter().map(SignedReceipt::digest).collect();
        next.relay.arrived(&letter, told);
        next.waits.remove(&letter);
        next.keeps.insert(letter, receipts.clone());
        next.net.insert(Message::Answer { letter, to_relay: false, receipts });
    }

    fn act(&mut self, scene: &Scene, act: Act) -> Outcomes {
        let (now, first) = (self.case.at(scene), self.first);
        let word = self.word.clone();
        let event = match act {
            Act::Opens => Event::Opening { letter: &first, person: "duty" },
            Act::Displays => Event::Shown { letter: &first, person: "duty" },
            Act::Acknowledges => Event::Said { letter: &first, step: ReceiptState::Acknowledged, word: Some(&word) },
            Act::Withdraws | Act::Recalls => return self.take_back(scene, act, now),
            Act::Confirms => return self.confirm(scene, now),
        };
        let Ok(decision) = scene.nodes[CUSTOMS].book.decide(event, now) else { return Vec::new() };
        let (frames, _) = self.fulfil(CUSTOMS, decision, Some(&word).filter(|_| act == Act::Acknowledges), now);
        let mut all = self.outcomes(scene, CUSTOMS, &frames);
        for (_, next) in all.iter_mut().filter(|(cut, _)| cut.is_none()) {
            next.facts.seen = true;
            next.facts.acknowledged |= act == Act::Acknowledges;
        }
        all
    }

    fn take_back(&mut self, scene: &Scene, act: Act, now: Millis) -> Outcomes {
        let (book, facts) = (&scene.nodes[POLICE].book, scene.facts);
        let recalls = act == Act::Recalls;
        let (kind, to, done) = match recalls {
            true => (LetterKind::Recall, book.recallable(&self.notice), facts.recalled),
            false => (LetterKind::Cancel, book.withdrawable(&self.notice), facts.withdrawn),
        };
        if to.is_empty() || done {
            return Vec::new();
        }
        let letter = self.letter(kind, false, now);
        let frame = Frame::Sent { letter: self.letters[&letter].clone(), sender: "duty".into(), at: now };
        let mut all = self.outcomes(scene, POLICE, &[frame]);
        for (_, next) in &mut all {
            next.facts.recalled |= recalls;
            next.facts.withdrawn |= !recalls;
        }
        all
    }

    /// A classifier confirms the marking: for itself first, then to whom the notice went.
    fn confirm(&mut self, scene: &Scene, now: Millis) -> Outcomes {
        if scene.nodes[POLICE].book.confirmable(&self.notice).is_empty() {
            return Vec::new();
        }
        let letter = self.letter(LetterKind::Confirm, false, now);
        let letter = self.letters[&letter].clone();
        let confirmed = Frame::Confirmed { notice: self.notice, by: CLASSIFIER.into(), at: now };
        let mut all =
            self.outcomes(scene, POLICE, &[confirmed, Frame::Sent { letter, sender: CLASSIFIER.into(), at: now }]);
        for (cut, next) in &mut all {
            next.facts.confirming = true;
            next.facts.confirmed |= *cut != Some(1);
        }
        all
    }

    /// Answers that tell nothing new, and those of calls that are over, are as good as lost.
    fn forget_answers(&self, scene: &mut Scene) {
        let Scene { nodes, waits, net, .. } = scene;
        net.retain(|m| match m {
            Message::Answer { letter, to_relay: true, .. } => waits.contains(letter),
            Message::Answer { letter, receipts, .. } => {
                let book = &nodes[self.index(&self.letters[letter].header.from)].book;
                receipts.iter().any(|r| book.knows(&self.receipts[r].receipt) != Some(true))
            }
            _ => true,
        });
    }
}

/// Visits every state of a case, and answers how many there are.
pub(super) fn explore(case: &Case) -> usize {
    let mut explorer = Explorer::new(case);
    let empty = Rc::new(Node { frames: Vec::new(), book: Book::default(), key: [0; 32] });
    let letter = explorer.letters[&explorer.first].clone();
    let provisional = Frame::Provisional { notice: explorer.notice, at: START };
    let provisional = case.acts.contains(&Act::Confirms).then_some(provisional);
    let sent = Frame::Sent { letter, sender: "duty".into(), at: START };
    let first: Vec<Frame> = provisional.into_iter().chain([sent]).collect();
    let sent = explorer.after(&empty, &first);
    let first = Scene {
        now: 0,
        nodes: [empty, sent],
        relay: Relay::default(),
        waits: BTreeSet::new(),
        keeps: BTreeMap::new(),
        net: BTreeSet::new(),
        facts: Facts::default(),
    };
    let mut known = HashSet::from([first.key()]);
    // How each state came about: the one before, and what happened then.
    let mut history: Vec<(usize, Move, Option<usize>)> = vec![(0, Move::Passes, None)];
    let mut missing = case.goals.to_vec();
    let mut queue = VecDeque::from([(0, first)]);
    while let Some((n, scene)) = queue.pop_front() {
        for one in explorer.moves(&scene) {
            for (cut, mut next) in explorer.apply(&scene, &one) {
                explorer.forget_answers(&mut next);
                if !known.insert(next.key()) {
                    continue;
                }
                assert!(known.len() < MOST, "this is no small case");
                history.push((n, one.clone(), cut));
                let mut checked = explorer.check(&next).and_then(|()| explorer.ends_well(&next, false));
                if case.relay && checked.is_ok() {
                    checked = explorer.ends_well(&next, true);
                }
                if let Err(why) = checked {
                    let mut at = history.len() - 1;
                    while at > 0 {
                        let (before, happened, cut) = &history[at];
                        eprintln!("{happened:02x?}, cut off after {cut:?}");
                        at = *before;
                    }
                    panic!("{why}; how it came about stands above, the last first");
                }
                missing.retain(|goal| !explorer.reached(&next, *goal));
                queue.push_back((history.len() - 1, next));
            }
        }
    }
    assert!(missing.is_empty(), "never came about: {missing:?}, in {} states", known.len());
    eprintln!("{} states, {} books", known.len(), explorer.nodes.len());
    known.len()
}
