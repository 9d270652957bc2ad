//! What a recall takes back, from whom, and what is left of it.

use super::super::at_rest::AtRest;
use super::*;
use crate::domain::canon::Writer;
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::notice::{Warning, WarningKind, WarningLevel};

/// A notice for one desk from police to customs, and its letter.
fn sent() -> (Vec<Party>, State, Letter) {
    let (mut parties, state) = federation();
    parties.iter_mut().for_each(Party::start);
    let notice = NoticeId::new(START, mark(&parties[1].id), &mut Dice(5));
    let mut one = draft(notice, &parties[0].id, Precedence::Flash);
    one.content.desks = vec!["三号值班室".into()];
    let letter = accepted(&parties[1], &state, one, START);
    (parties, state, letter)
}

/// What an office accepts, as the letter that goes out.
fn accepted(party: &Party, state: &State, draft: Draft, at: Millis) -> Letter {
    let office = party.office.as_ref().unwrap();
    let sent = block(office.accept(state, vec![draft], ("duty", u64::MAX), at, &mut Dice(at.0))).unwrap().letters;
    office.read(|b| b.out(&sent[0]).unwrap().letter.clone())
}

fn recall(parties: &[Party], state: &State, notice: NoticeId, at: Millis) -> Letter {
    let content =
        Content { subject: "车牌有误".into(), sender: "duty".into(), about: Some(notice), ..Content::default() };
    let draft = draft(notice, &parties[0].id, Precedence::Flash);
    accepted(&parties[1], state, Draft { kind: LetterKind::Recall, action: false, content, ..draft }, at)
}

fn states(receipts: &[SignedReceipt]) -> Vec<ReceiptState> {
    receipts.iter().map(|r| r.receipt.state).collect()
}

fn entry(party: &Party, letter: &Letter) -> In {
    party.office.as_ref().unwrap().read(|b| b.entry(&letter.digest()).cloned()).unwrap()
}

#[test]
fn what_was_seen_is_taken_back_for_good() {
    let (mut parties, state, letter) = sent();
    let digest = letter.digest();
    let customs = parties[0].office.as_ref().unwrap();
    block(customs.take(&state, letter.clone(), START)).unwrap();
    assert!(block(customs.opening(&digest, "duty", START)).unwrap());
    block(customs.shown(&state, &digest, "duty", START, &mut Dice(1))).unwrap();
    let back = recall(&parties, &state, letter.header.notice, START.plus_ms(1));
    let receipts = block(customs.take(&state, back.clone(), START)).unwrap().receipts;
    let (delivered, recalled) = (ReceiptState::Delivered, ReceiptState::Recalled);
    assert_eq!(states(&receipts), [delivered, ReceiptState::Presented, recalled, delivered]);

    let police = parties[1].office.as_ref().unwrap();
    block(police.told(&state, receipts.clone(), START)).unwrap();
    let out = police.read(|b| b.out(&digest).unwrap().clone());
    assert!(out.is_taken_back() && !out.is_acknowledged());
    assert!(police.read(|b| b.recallable(&letter.header.notice)).is_empty());

    // The same again makes nothing new, and a start gives the same.
    let frames = customs.digest().unwrap().0;
    let again = block(customs.take(&state, back, START)).unwrap().receipts;
    assert_eq!((states(&again), customs.digest().unwrap().0), (states(&receipts), frames));
    for restart in [false, true] {
        if restart {
            parties[0].kill();
            parties[0].start();
        }
        let customs = parties[0].office.as_ref().unwrap();
        let entry = entry(&parties[0], &letter);
        assert_eq!((entry.state(), entry.letter.is_none()), (recalled, true));
        assert_eq!(entry.recall.as_ref().unwrap().desks, ["三号值班室"]);
        assert_eq!(customs.desks(&entry).unwrap().to_vec(), ["三号值班室"]);
        assert!(!block(customs.opening(&digest, "duty", START)).unwrap(), "nobody opens it");
        let (mut dice, word) = (Dice(2), word(&digest, "duty", None));
        let said = customs.say(&state, &digest, ReceiptState::Acknowledged, Some(word), START, &mut dice);
        assert_eq!(block(said).err().unwrap().to_string(), "its sender has recalled it");
        assert!(customs.read(|b| b.uncalled(START)).is_empty(), "and nobody is called");
    }
}

/// What was taken back before anybody saw it: whoever acknowledges it lacks no right, its sender was first.
#[test]
fn whoever_acknowledges_what_was_withdrawn_comes_second() {
    let (parties, state, letter) = sent();
    let digest = letter.digest();
    let customs = parties[0].office.as_ref().unwrap();
    block(customs.take(&state, letter.clone(), START)).unwrap();
    block(customs.take(&state, recall(&parties, &state, letter.header.notice, START.plus_ms(1)), START)).unwrap();
    assert_eq!(entry(&parties[0], &letter).state(), ReceiptState::Withdrawn);
    let (mut dice, word) = (Dice(2), word(&digest, "duty", None));
    let said = customs.say(&state, &digest, ReceiptState::Acknowledged, Some(word), START, &mut dice);
    let fault = Fault::from(block(said).err().unwrap());
    assert_eq!((fault.kind, fault.reason), (FaultKind::Conflict, "RECALLED"));
    assert_eq!(fault.message, "its sender has withdrawn it");
}

/// Whoever saw it is told, once; what somebody displayed a moment before counts as seen.
#[test]
fn whoever_saw_it_is_told() {
    let (mut parties, state, letter) = sent();
    let digest = letter.digest();
    let customs = parties[0].office.as_ref().unwrap();
    block(customs.take(&state, letter.clone(), START)).unwrap();
    block(customs.shown(&state, &digest, "duty", START, &mut Dice(1))).unwrap();
    block(customs.take(&state, recall(&parties, &state, letter.header.notice, START), START)).unwrap();
    assert_eq!(customs.read(|b| b.recalled_since(0)), (vec![digest], 1));
    assert_eq!(customs.read(|b| b.recalled_since(1)), (Vec::new(), 1));
    let news = |party: &Party| ["duty", "chief", "clerk"].map(|name| entry(party, &letter).is_news_to(name));
    assert_eq!(news(&parties[0]), [true, false, false]);
    block(customs.shown(&state, &digest, "chief", START, &mut Dice(1))).unwrap();
    assert_eq!(news(&parties[0]), [true, true, false]);
    for name in ["duty", "chief"] {
        block(customs.recall_shown(&digest, name, START)).unwrap();
    }
    assert_eq!(news(&parties[0]), [false; 3]);
    parties[0].kill();
    parties[0].start();
    assert_eq!(news(&parties[0]), [false; 3], "after a power cut");
}

/// For whom it was opened, in a list or on a stream that did not confirm it, is told too; and is known after a power cut.
#[test]
fn for_whom_it_was_opened_is_told() {
    let (mut parties, state, letter) = sent();
    let digest = letter.digest();
    let customs = parties[0].office.as_ref().unwrap();
    block(customs.take(&state, letter.clone(), START)).unwrap();
    let before = customs.digest().unwrap().0.end;
    for name in ["duty", "clerk", "clerk"] {
        assert!(block(customs.opening(&digest, name, START)).unwrap());
    }
    assert!(entry(&parties[0], &letter).is_news_to("clerk"), "it is displayed nowhere yet");
    assert_eq!(customs.digest().unwrap().0.end - before, 2, "kept once for each person");
    parties[0].kill();
    parties[0].start();
    let customs = parties[0].office.as_ref().unwrap();
    block(customs.take(&state, recall(&parties, &state, letter.header.notice, START), START)).unwrap();
    assert_eq!(entry(&parties[0], &letter).state(), ReceiptState::Recalled);
    let news = |party: &Party| ["duty", "clerk", "chief"].map(|name| entry(party, &letter).is_news_to(name));
    assert_eq!(news(&parties[0]), [true, true, false]);
    block(customs.recall_shown(&digest, "clerk", START)).unwrap();
    assert_eq!(news(&parties[0]), [true, false, false]);
}

/// What an earlier version opened, and did not say for whom, is recalled and not withdrawn.
#[test]
fn what_an_earlier_version_opened_counts_as_seen() {
    let (parties, state, letter) = sent();
    let customs = parties[0].office.as_ref().unwrap();
    block(customs.take(&state, letter.clone(), START)).unwrap();
    customs.change(|b| b.fold(Frame::Opened { letter: letter.digest(), at: START }));
    block(customs.take(&state, recall(&parties, &state, letter.header.notice, START), START)).unwrap();
    assert_eq!(entry(&parties[0], &letter).state(), ReceiptState::Recalled);
}

#[test]
fn what_nobody_saw_is_withdrawn_before_or_after_it_comes() {
    for first in [false, true] {
        let (parties, state, letter) = sent();
        let customs = parties[0].office.as_ref().unwrap();
        let back = recall(&parties, &state, letter.header.notice, START);
        let both = if first { [back, letter.clone()] } else { [letter.clone(), back] };
        for one in both {
            assert!(!block(customs.take(&state, one, START)).unwrap().new || !first);
        }
        assert_eq!(entry(&parties[0], &letter).state(), ReceiptState::Withdrawn);
        assert!(!block(customs.opening(&letter.digest(), "duty", START)).unwrap());
        assert_eq!(customs.read(|b| b.recalled_since(0)), (Vec::new(), 0));
        // It goes after its own recall.
        let police = parties[1].office.as_ref().unwrap();
        let tries = police.tries(START, START, &mut Dice(1));
        assert!(tries.iter().all(|t| t.letter != letter.digest()) && tries.len() == 1);
    }
}

/// Nobody but its sender takes a notice back, and an addressee that says so unasked is not believed.
#[test]
fn a_recall_that_nobody_sent_counts_for_nothing() {
    let (parties, state, letter) = sent();
    let (customs, police) = (parties[0].office.as_ref().unwrap(), parties[1].office.as_ref().unwrap());
    let delivered = block(customs.take(&state, letter.clone(), START)).unwrap().receipts.remove(0).receipt;
    let draft = draft(letter.header.notice, &parties[0].id, Precedence::Flash);
    let squatting = accepted(&parties[2], &state, Draft { kind: LetterKind::Recall, ..draft }, START);
    let refused = block(customs.take(&state, squatting, START)).err().unwrap();
    assert_eq!(refused.to_string(), "refused: its id names another sender");
    assert_eq!(entry(&parties[0], &letter).state(), ReceiptState::Delivered);
    let forged = Receipt { state: ReceiptState::Recalled, ..delivered }.sign(&parties[0].ring().signing_key().unwrap());
    assert!(block(police.told(&state, vec![forged], START)).is_err());
    assert_eq!(police.read(|b| b.out(&letter.digest()).unwrap().state()), None);
}

/// Of a recalled warning its level and place in its chain are left, also after a start, and nothing of its words.
#[test]
fn a_recalled_warning_is_still_one() {
    let (mut parties, state, _) = sent();
    let mut one = draft(NoticeId::new(START, mark(&parties[1].id), &mut Dice(6)), &parties[0].id, Precedence::Priority);
    let (level, kind) = (WarningLevel::Yellow, WarningKind::Update);
    let (area, measures, issuer, tier) = ("三号口岸".into(), "加强查验".into(), "police".into(), "provincial".into());
    let (start, end) = (START, START.plus_ms(1));
    one.content.warning = Some(Warning { level, kind, area, measures, start, end, issuer, tier });
    one.content.about = Some(NoticeId::from_bytes([9; 16]));
    let left = Warned { level, kind, about: one.content.about };
    let notice = one.notice;
    let letter = accepted(&parties[1], &state, one, START);
    let customs = parties[0].office.as_ref().unwrap();
    block(customs.take(&state, letter.clone(), START)).unwrap();
    block(customs.opening(&letter.digest(), "duty", START)).unwrap();
    let back = recall(&parties, &state, notice, START.plus_ms(1));
    for _ in 0..2 {
        block(customs.take(&state, back.clone(), START)).unwrap();
        assert_eq!(entry(&parties[0], &letter).recall.unwrap().warning, Some(left));
    }
    parties[0].kill();
    parties[0].start();
    assert_eq!(entry(&parties[0], &letter).recall.unwrap().warning, Some(left));
}

/// Two kinds of one frame: what is no warning keeps the bytes that it had before warnings were told apart.
#[test]
fn a_recall_keeps_its_bytes() {
    let (parties, state, letter) = sent();
    let receipt = block(parties[0].office.as_ref().unwrap().take(&state, letter, START)).unwrap().receipts.remove(0);
    let letter = recall(&parties, &state, receipt.receipt.notice, START);
    let red = Warned { level: WarningLevel::Red, kind: WarningKind::Alert, about: None };
    let update = Warned { about: Some(NoticeId::from_bytes([9; 16])), kind: WarningKind::Update, ..red };
    let followed = [&[0, 1, 1][..], &[9; 16]].concat();
    let frame = |warning| Frame::Recalled {
        letter: letter.clone(),
        receipt: receipt.clone(),
        desks: Vec::new(),
        warning,
        at: START,
    };
    let bytes = |code: u8, warning: &[u8]| {
        let mut w = Writer::new("hufu.notice-frame", 1);
        w.u8(code).value(&letter).value(&receipt).u32(0);
        warning.iter().for_each(|b| _ = w.u8(*b));
        w.value(&START).finish()
    };
    let cases = [(None, bytes(12, &[])), (Some(red), bytes(15, &[0, 0, 0])), (Some(update), bytes(15, &followed))];
    for (warning, frozen) in cases {
        let frame = frame(warning);
        assert_eq!(frame.to_bytes(), frozen);
        assert_eq!(Frame::from_bytes(&frozen).unwrap(), frame);
    }
}

/// A recall that expired without a word may be sent again; one that is tried, or arrived, is not.
#[test]
fn a_recall_is_sent_once_unless_it_is_lost() {
    let (parties, state, letter) = sent();
    let police = parties[1].office.as_ref().unwrap();
    let notice = letter.header.notice;
    let to = |office: &Office| office.read(|b| b.recallable(&notice)).len();
    assert_eq!(to(police), 1);
    let back = recall(&parties, &state, notice, START);
    assert_eq!(to(police), 0);
    block(police.step(back.header.expires)).unwrap();
    assert_eq!(to(police), 1);
}

/// Whom a recalled notice named lies on no disk readable.
#[test]
fn desks_are_sealed_at_rest() {
    let (parties, state, letter) = sent();
    let receipt = block(parties[0].office.as_ref().unwrap().take(&state, letter, START)).unwrap().receipts.remove(0);
    let letter = recall(&parties, &state, receipt.receipt.notice, START);
    let frame = Frame::Recalled { letter, receipt, desks: vec!["三号值班室".into()], warning: None, at: START };
    assert_eq!(Frame::from_bytes(&frame.to_bytes()).unwrap(), frame);
    let rest = AtRest::new(&parties[0].ring());
    let bytes = rest.seal_frame(&frame).unwrap();
    assert!(!bytes.windows(12).any(|w| w == "三号值班".as_bytes()));
    assert_eq!(rest.open_frame(&bytes).unwrap(), frame);
}

/// Another node of the addressee keeps a notice back that it never had, and says so; where the notice is, it stands.
#[test]
fn a_recall_arrives_only_where_the_notice_is() {
    let (parties, state, letter) = sent();
    let (customs, police) = (parties[0].office.as_ref().unwrap(), parties[1].office.as_ref().unwrap());
    let receipts = block(customs.take(&state, letter.clone(), START)).unwrap().receipts;
    block(police.told(&state, receipts, START)).unwrap();
    let back = recall(&parties, &state, letter.header.notice, START.plus_ms(1));
    let id = parties[0].id.clone();
    let from = |local: &str| Receipt {
        federation: "test".parse().unwrap(),
        notice: letter.header.notice,
        letter: back.digest(),
        addressee: id.clone(),
        node: node_id(&id, local),
        state: ReceiptState::Delivered,
        time: START,
        previous: None,
        by: None,
        answer: None,
    };
    assert_eq!(police.read(|b| b.homes(&back.header)), BTreeSet::from([node_id(&id, "1")]));
    assert_eq!(police.read(|b| b.knows(&from("2"))), None, "it does not have the notice");
    assert_eq!(police.read(|b| b.knows(&from("1"))), Some(false));
    assert!(customs.read(|b| b.is_at_home(&back.header, &back.digest())));
    assert!(!police.read(|b| b.is_at_home(&back.header, &back.digest())));
}

/// A notice came to lie at two nodes of its addressee. What one of them withdrew may still be read at the other, so its sender
/// does not hear that it was withdrawn, and can recall it.
#[test]
fn what_one_of_two_nodes_withdrew_stands_at_the_other() {
    let (parties, state, letter) = sent();
    let (customs, police) = (parties[0].office.as_ref().unwrap(), parties[1].office.as_ref().unwrap());
    let receipts = block(customs.take(&state, letter.clone(), START)).unwrap().receipts;
    block(police.told(&state, receipts.clone(), START)).unwrap();
    let draft = draft(letter.header.notice, &parties[0].id, Precedence::Flash);
    accepted(&parties[1], &state, Draft { kind: LetterKind::Cancel, action: false, ..draft }, START);
    let from =
        |local: &str, state| Receipt { node: node_id(&parties[0].id, local), state, ..receipts[0].receipt.clone() };
    let key = parties[0].ring().signing_key().unwrap();
    let told = |receipt: Receipt| {
        assert_eq!(police.read(|b| b.knows(&receipt)), Some(false), "it is news");
        police.change(|b| b.fold(Frame::Told { receipt: receipt.sign(&key), at: START }));
        let out = police.read(|b| b.out(&letter.digest()).cloned()).unwrap();
        (out.state(), out.is_taken_back(), police.read(|b| b.recallable(&letter.header.notice)).len())
    };
    assert_eq!(police.read(|b| b.knows(&from("1", ReceiptState::Delivered))), Some(true));
    assert_eq!(told(from("2", ReceiptState::Delivered)), (Some(ReceiptState::Delivered), false, 1));
    assert_eq!(told(from("1", ReceiptState::Withdrawn)), (Some(ReceiptState::Delivered), false, 1));
    assert_eq!(told(from("2", ReceiptState::Withdrawn)), (Some(ReceiptState::Withdrawn), true, 0));
    // With other words it says the same, or it could say it for ever.
    let answer = Some((Answer::Refused, "又".to_owned()));
    let again = Receipt { answer, ..from("2", ReceiptState::Withdrawn) };
    assert_eq!(police.read(|b| b.knows(&again)), Some(true));
}

/// In whichever order both nodes' words come, its sender is alarmed of what stands at one of them and nobody acknowledges.
#[test]
fn what_one_node_took_back_settles_nothing_at_the_other() {
    for late in [false, true] {
        let (parties, state, letter) = sent();
        let (customs, police) = (parties[0].office.as_ref().unwrap(), parties[1].office.as_ref().unwrap());
        let first = block(customs.take(&state, letter.clone(), START)).unwrap().receipts.remove(0);
        block(police.told(&state, vec![first.clone()], START)).unwrap();
        let key = parties[0].ring().signing_key().unwrap();
        let withdrawn = Receipt { state: ReceiptState::Withdrawn, ..first.receipt.clone() };
        let delivered = Receipt { node: node_id(&parties[0].id, "2"), ..first.receipt.clone() };
        let told = if late { [withdrawn, delivered] } else { [delivered, withdrawn] };
        for receipt in told {
            police.change(|b| b.fold(Frame::Told { receipt: receipt.sign(&key), at: START }));
        }
        let due = police.read(|b| b.due(Millis(u64::MAX), &Deadlines::default()));
        let alarmed = |f: &Frame| matches!(f, Frame::Stepped { step: Step::Unacknowledged, .. });
        assert!(due.iter().any(alarmed), "late: {late}");
    }
}

/// A receipt goes to the node that sent the notice, which is the only one to know it.
#[test]
fn a_receipt_goes_to_the_node_that_sent_the_notice() {
    let (parties, state, letter) = sent();
    let (customs, police) = (parties[0].office.as_ref().unwrap(), parties[1].office.as_ref().unwrap());
    block(customs.take(&state, letter.clone(), START)).unwrap();
    block(customs.shown(&state, &letter.digest(), "duty", START, &mut Dice(1))).unwrap();
    let carrier = customs.read(|b| b.open().map(|(_, o)| o.letter.clone()).next()).unwrap();
    assert_eq!(carrier.header.kind, LetterKind::Receipt);
    assert_eq!(customs.read(|b| b.homes(&carrier.header)), BTreeSet::from([letter.header.node]));
    assert!(police.read(|b| b.is_at_home(&carrier.header, &carrier.digest())));
    assert!(!customs.read(|b| b.is_at_home(&carrier.header, &carrier.digest())));
}
