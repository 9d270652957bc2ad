//! The pure parts against models that a reader can check at a glance.

use super::super::decide::Event;
use super::cases::{Case, PLAIN};
use super::explorer::{CUSTOMS, Explorer};
use super::*;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::cell::RefCell;

/// What happens to one notice at its addressee.
#[derive(Debug, Clone, Copy)]
enum Happens {
    /// One of two letters under the same id.
    Comes(usize),
    Withdrawal,
    Recall,
    Opens,
    /// One of two persons.
    Displays(usize),
    Acknowledges(usize),
    Restart,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => (0usize..2).prop_map(Happens::Comes),
        1 => Just(Happens::Withdrawal),
        1 => Just(Happens::Recall),
        1 => Just(Happens::Opens),
        2 => (0usize..2).prop_map(Happens::Displays),
        2 => (0usize..2).prop_map(Happens::Acknowledges),
        1 => Just(Happens::Restart),
    ]
}

/// All that there is to know of one notice.
#[derive(Default)]
struct Naive {
    withheld: bool,
    /// Which of the two letters.
    here: Option<usize>,
    opened: bool,
    displayed: [bool; 2],
    acknowledged: [bool; 2],
    receipts: Vec<ReceiptState>,
}

impl Naive {
    /// Whether it is taken, and whether people are told.
    fn happens(&mut self, what: Happens) -> (bool, bool) {
        let recalled = self.receipts.contains(&ReceiptState::Recalled);
        let open = self.here.is_some() && !recalled && !self.receipts.contains(&ReceiptState::Withdrawn);
        match what {
            Happens::Comes(n) if self.here.is_none() => {
                self.here = Some(n);
                self.receipts.push(ReceiptState::Delivered);
                self.receipts.extend(self.withheld.then_some(ReceiptState::Withdrawn));
                return (true, !self.withheld);
            }
            Happens::Comes(n) => return (self.here == Some(n), false),
            Happens::Withdrawal | Happens::Recall if self.here.is_none() => self.withheld = true,
            Happens::Withdrawal | Happens::Recall if !self.opened && self.receipts == [ReceiptState::Delivered] => {
                self.receipts.push(ReceiptState::Withdrawn);
            }
            Happens::Recall => self.receipts.extend(open.then_some(ReceiptState::Recalled)),
            Happens::Withdrawal | Happens::Restart => {}
            // Displayed a moment before its recall came.
            Happens::Displays(who) if recalled => self.displayed[who] = true,
            _ if !open => return (false, false),
            Happens::Opens => self.opened = true,
            Happens::Displays(who) => {
                let first = !self.receipts.contains(&ReceiptState::Presented);
                self.receipts.extend(first.then_some(ReceiptState::Presented));
                self.displayed[who] = true;
            }
            Happens::Acknowledges(who) => {
                let first = !std::mem::replace(&mut self.acknowledged[who], true);
                self.receipts.extend(first.then_some(ReceiptState::Acknowledged));
            }
        }
        (true, false)
    }
}

fn states(receipts: &[SignedReceipt]) -> Vec<ReceiptState> {
    receipts.iter().map(|r| r.receipt.state).collect()
}

#[test]
fn an_addressee_does_what_is_simple_to_say() {
    let mut explorer = Explorer::new(&PLAIN);
    let names = ["duty", "chief"];
    let letters = [explorer.first, explorer.letter(LetterKind::Notice, true, START.plus_ms(1))];
    let cancel = explorer.letter(LetterKind::Cancel, false, START);
    let recall = explorer.letter(LetterKind::Recall, false, START);
    let words = letters.map(|letter| names.map(|name| word(&letter, name, None)));
    let now = START.plus_ms(1_000);
    let explorer = RefCell::new(explorer);
    let run = |all: Vec<Happens>| {
        let mut explorer = explorer.borrow_mut();
        let (mut frames, mut book, mut naive) = (Vec::new(), Book::default(), Naive::default());
        for what in all {
            let at = naive.here.unwrap_or(0);
            let mut said = None;
            let came = match what {
                Happens::Comes(n) => Some(letters[n]),
                Happens::Withdrawal => Some(cancel),
                Happens::Recall => Some(recall),
                _ => None,
            };
            let came = came.map(|digest| explorer.letters[&digest].clone());
            let event = match (what, &came) {
                (_, Some(letter)) => Event::Came { letter, digest: letter.digest(), names: &[], warning: None },
                (Happens::Opens, _) => Event::Opening { letter: &letters[at], person: "duty" },
                (Happens::Displays(who), _) => Event::Shown { letter: &letters[at], person: names[who] },
                (Happens::Acknowledges(who), _) => {
                    said = Some(&words[at][who]);
                    Event::Said { letter: &letters[at], step: ReceiptState::Acknowledged, word: said }
                }
                _ => {
                    book = Book::default();
                    frames.iter().for_each(|f: &Frame| book.fold(f.clone()));
                    continue;
                }
            };
            let decided = book.decide(event, now);
            let (taken, new) = naive.happens(what);
            prop_assert_eq!(decided.is_ok(), taken, "{:?}", what);
            if let Ok(decision) = decided {
                let (made, answer) = explorer.fulfil(CUSTOMS, decision, said, now);
                made.iter().for_each(|f| book.fold(f.clone()));
                frames.extend(made);
                prop_assert_eq!(answer.new, new);
                if let Happens::Comes(_) = what {
                    prop_assert_eq!(states(&answer.receipts), naive.receipts.clone());
                }
            }
            prop_assert_eq!(book.arrived_since(0).0.len(), usize::from(naive.here.is_some()));
            if let Some(entry) = naive.here.and_then(|n| book.entry(&letters[n])) {
                let displayed = naive.displayed.iter().filter(|d| **d).count();
                prop_assert_eq!((entry.opened, entry.shown_to.len()), (naive.opened, displayed));
                prop_assert_eq!(states(&entry.receipts), naive.receipts.clone());
                prop_assert_eq!(entry.letter.is_none(), naive.receipts.contains(&ReceiptState::Recalled));
            }
        }
        Ok(())
    };
    TestRunner::default().run(&prop::collection::vec(happens(), 1..24), run).unwrap();
}

#[derive(Debug, Clone, Copy)]
enum Asked {
    Begin,
    Arrived,
    Failed,
}

proptest! {
    /// A relay that remembers three letters, against a list of (letter, under way, arrived).
    #[test]
    fn a_relay_passes_a_letter_on_once(
        all in prop::collection::vec((prop_oneof![Just(Asked::Begin), Just(Asked::Arrived), Just(Asked::Failed)], 0u8..5), 1..60)
    ) {
        let mut relay = Relay::remembering(3);
        let mut naive: Vec<(u8, bool, bool)> = Vec::new();
        for (asked, n) in all {
            let known = naive.iter_mut().find(|(letter, ..)| *letter == n);
            match (asked, known) {
                (Asked::Begin, known) => {
                    let (mut counted, new) = (false, known.is_none());
                    let passage = relay.begin([n; 32], || {
                        counted = true;
                        Precedence::Flash
                    });
                    prop_assert_eq!(counted, new);
                    match known {
                        Some((_, _, true)) => prop_assert_eq!(passage, Passage::Arrived(Vec::new())),
                        Some((_, true, _)) => prop_assert_eq!(passage, Passage::UnderWay),
                        Some((_, under_way, _)) => {
                            prop_assert_eq!(passage, Passage::Begun(Precedence::Flash));
                            *under_way = true;
                        }
                        None => {
                            prop_assert_eq!(passage, Passage::Begun(Precedence::Flash));
                            naive.push((n, true, false));
                        }
                    }
                    if naive.len() > 3 {
                        naive.remove(0);
                    }
                }
                (Asked::Arrived, known) => {
                    relay.arrived(&[n; 32], Vec::new());
                    known.into_iter().for_each(|k| (k.1, k.2) = (false, true));
                }
                (Asked::Failed, known) => {
                    relay.failed(&[n; 32]);
                    known.into_iter().for_each(|k| k.1 = false);
                }
            }
        }
    }
}

/// What happens to a schedule.
#[derive(Debug, Clone, Copy)]
enum Passes {
    /// So many milliseconds go by, and it is asked what is due.
    Looks(u64),
    /// The letter of a precedence that was due last found no room.
    NoRoom(usize),
    Ends(usize),
    Reachable,
}

fn passes() -> impl Strategy<Value = Passes> {
    prop_oneof![
        6 => (0u64..4_000).prop_map(Passes::Looks),
        1 => (0usize..4).prop_map(Passes::NoRoom),
        1 => (0usize..4).prop_map(Passes::Ends),
        1 => Just(Passes::Reachable),
    ]
}

/// No letter is tried sooner than its shortest pause, later than its longest, or when it has ended.
#[test]
fn a_schedule_tries_each_letter_within_its_pauses() {
    let pauses = [(100, 500), (200, 500), (500, 2_000), (1_000, 10_000)];
    let cases: Vec<Case> = Precedence::ALL.iter().map(|p| Case { precedence: *p, ..PLAIN }).collect();
    let letter = |case: &Case| {
        let explorer = Explorer::new(case);
        explorer.letters[&explorer.first].clone()
    };
    let letters: Vec<Letter> = cases.iter().map(letter).collect();
    let digests: Vec<LetterDigest> = letters.iter().map(Letter::digest).collect();
    let to = &letters[0].header.to;
    let run = |all: Vec<Passes>| {
        let (mut book, mut schedule) = (Book::default(), Schedule::default());
        for (letter, digest) in letters.iter().zip(&digests) {
            book.fold(Frame::Sent { letter: letter.clone(), sender: "duty".into(), at: START });
            schedule.add(to, *digest);
        }
        let mut steady = 1_000_000;
        // From when on each may be tried, and from when on it must be.
        let mut when = [(0, 0); 4];
        let mut ended = [false; 4];
        let mut last = [false; 4];
        for one in all {
            match one {
                Passes::Looks(ms) => {
                    steady += ms;
                    let due = schedule.due(&book, START, Millis(steady), |_| 0);
                    prop_assert!(due.is_sorted_by_key(|t| t.precedence));
                    for (n, digest) in digests.iter().enumerate() {
                        last[n] = due.iter().any(|t| t.letter == *digest);
                        let (may, must) = when[n];
                        prop_assert!(!last[n] || !ended[n] && steady >= may, "{n} too early");
                        prop_assert!(last[n] || ended[n] || steady < must, "{n} too late");
                        if last[n] {
                            when[n] = (steady + pauses[n].0, steady + pauses[n].1);
                        }
                    }
                }
                Passes::NoRoom(n) => {
                    if std::mem::take(&mut last[n]) && !ended[n] {
                        schedule.untried(to, &digests[n], Millis(steady));
                        when[n] = (steady + 50, steady + 1_600);
                    }
                }
                Passes::Ends(n) => {
                    book.fold(Frame::Ended { letter: digests[n], at: START });
                    ended[n] = true;
                }
                Passes::Reachable => {
                    schedule.reachable(to);
                    when = [(0, 0); 4];
                }
            }
        }
        Ok(())
    };
    TestRunner::default().run(&prop::collection::vec(passes(), 1..60), run).unwrap();
}
