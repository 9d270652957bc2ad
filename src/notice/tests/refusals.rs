//! What a node refuses, what it keeps, and what it never takes back: one step at a time.

use super::super::decide::Event;
use super::*;

fn pair() -> (Vec<Party>, State, Letter) {
    let (mut parties, state) = federation();
    parties.iter_mut().for_each(Party::start);
    let mut dice = Dice(5);
    let to = parties[0].id.clone();
    let police = parties[1].office.as_ref().unwrap();
    let notice = NoticeId::new(START, mark(&parties[1].id), &mut dice);
    let sent =
        block(police.accept(&state, vec![draft(notice, &to, Precedence::Flash)], ("duty", u64::MAX), START, &mut dice));
    let letter = police.read(|b| b.out(&sent.unwrap().letters[0]).unwrap().letter.clone());
    (parties, state, letter)
}

#[test]
fn an_altered_or_forged_letter_is_refused_and_leaves_nothing() {
    let (parties, state, letter) = pair();
    let customs = parties[0].office.as_ref().unwrap();
    let bytes = letter.to_canon();
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        let Ok(bad) = Letter::from_canon(&bad) else { continue };
        assert!(block(customs.take(&state, bad, START)).is_err(), "byte {at}");
    }
    // Another member cannot write in the sender's name, nor take what is not for it.
    let third = parties[2].office.as_ref().unwrap();
    assert!(block(third.take(&state, letter.clone(), START)).is_err());
    let mut header = letter.header.clone();
    header.node = node_id(&parties[2].id, "1");
    let key = state.grade_key(&header.to, Grade::Secret).unwrap();
    let signer = parties[2].ring().signing_key().unwrap();
    let forged = Letter::seal(header, b"x", key, &signer, &mut Dice(1)).unwrap();
    assert!(block(customs.take(&state, forged, START)).is_err());
    // One that says of itself that it is old, and lives on, would be gone from the book as soon as it was read.
    let old = LetterHeader { created: Millis(letter.header.created.0 - 1), ..letter.header.clone() };
    let police = parties[1].ring().signing_key().unwrap();
    let old = Letter::seal(
        old,
        &draft(letter.header.notice, &parties[0].id, Precedence::Flash).content.to_bytes(),
        key,
        &police,
        &mut Dice(1),
    );
    let refused = block(customs.take(&state, old.unwrap(), START)).err().unwrap();
    assert_eq!(refused.to_string(), "refused: it lives longer than its precedence");
    // A relay has seen the id: it cannot put a notice of its own in the place of the one that it was to pass on.
    let mine = draft(letter.header.notice, &parties[0].id, Precedence::Flash);
    let sent = block(third.accept(&state, vec![mine], ("duty", u64::MAX), START, &mut Dice(2))).unwrap().letters;
    let squatting = third.read(|b| b.out(&sent[0]).unwrap().letter.clone());
    let refused = block(customs.take(&state, squatting, START)).err().unwrap();
    assert_eq!(refused.to_string(), "refused: its id names another sender");
    assert_eq!(customs.read(|b| b.arrived_since(0).1), 0);
    let late = Millis(letter.header.expires.0 + 3_600_001);
    assert!(block(customs.take(&state, letter.clone(), late)).is_err(), "its time is over");
    assert!(block(customs.take(&state, letter, START)).unwrap().new);
}

/// A relay that has not heard of a suspension yet brings nothing of that agency in, and nobody passes anything on to it.
#[test]
fn nothing_comes_from_or_goes_to_a_suspended_agency_by_a_relay() {
    let (parties, state, letter) = pair();
    let (customs, third) = (parties[0].office.as_ref().unwrap(), parties[2].office.as_ref().unwrap());
    let without_police = crate::ledger::fixture::suspended(&state, &parties[1].id);
    let refused = block(customs.take(&without_police, letter.clone(), START)).err().unwrap();
    assert_eq!(refused.to_string(), "refused: no node of its sender signed it");
    let sender = letter.header.from.clone();
    assert!(third.may_relay(&without_police, &sender, &letter).is_err());
    let without_customs = crate::ledger::fixture::suspended(&state, &parties[0].id);
    assert!(third.may_relay(&without_customs, &sender, &letter).is_err());
    assert!(third.may_relay(&state, &sender, &letter).is_ok());
    assert!(block(customs.take(&state, letter, START)).unwrap().new);
}

#[test]
fn a_letter_to_the_own_agency_is_one_letter() {
    let (parties, state, _) = pair();
    let police = parties[1].office.as_ref().unwrap();
    let notice = NoticeId::new(START, mark(&parties[1].id), &mut Dice(6));
    let own = draft(notice, &parties[1].id, Precedence::Routine);
    let sent = block(police.accept(&state, vec![own], ("duty", u64::MAX), START, &mut Dice(7))).unwrap().letters;
    let letter = police.read(|b| b.out(&sent[0]).unwrap().letter.clone());
    let receipts = block(police.take(&state, letter, START)).unwrap().receipts;
    block(police.told(&state, receipts, START)).unwrap();
    assert_eq!(police.sent_of(&notice).len(), 1);
    assert_eq!(police.read(|b| b.arrived_since(0).1), 1);
}

#[test]
fn a_receipt_counts_only_from_a_node_of_the_addressee_and_with_the_persons_signature() {
    let (parties, state, letter) = pair();
    let (customs, police) = (parties[0].office.as_ref().unwrap(), parties[1].office.as_ref().unwrap());
    let delivered = block(customs.take(&state, letter.clone(), START)).unwrap().receipts;
    let receipt = |node: NodeId, key: &SigningKey, by: Option<By>| {
        Receipt { node, state: ReceiptState::Acknowledged, by, ..delivered[0].receipt.clone() }.sign(key)
    };
    let own = parties[0].ring().signing_key().unwrap();
    let other = parties[2].ring().signing_key().unwrap();
    let digest = letter.digest();
    let good = word(&digest, "duty", None).by;
    let named_otherwise = By { name: "chief".into(), ..good.clone() };
    let node = node_id(&parties[0].id, "1");
    for bad in [
        receipt(node, &other, Some(good.clone())),
        receipt(node_id(&parties[2].id, "1"), &other, Some(good.clone())),
        receipt(node, &own, None),
        receipt(node, &own, Some(named_otherwise)),
    ] {
        assert!(block(police.told(&state, vec![bad], START)).is_err());
    }
    assert_eq!(police.read(|b| b.out(&digest).unwrap().state()), None);
    block(police.told(&state, vec![receipt(node, &own, Some(good))], START)).unwrap();
    assert!(police.read(|b| b.out(&digest).unwrap().is_acknowledged()));
}

#[test]
fn nobody_acknowledges_what_was_withdrawn_and_nothing_seen_is_withdrawn() {
    let (parties, state, letter) = pair();
    let (customs, police) = (parties[0].office.as_ref().unwrap(), parties[1].office.as_ref().unwrap());
    let cancel = |dice: &mut Dice| {
        let d = withdrawal(letter.header.notice, &parties[0].id);
        let sent = block(police.accept(&state, vec![d], ("duty", u64::MAX), START, dice)).unwrap().letters;
        police.read(|b| b.out(&sent[0]).unwrap().letter.clone())
    };
    let early = cancel(&mut Dice(1));
    let held = block(customs.take(&state, early.clone(), START)).unwrap();
    assert_eq!(held.receipts.len(), 1, "it overtook its notice");
    let taken = block(customs.take(&state, letter.clone(), START)).unwrap();
    assert!(!taken.new, "nobody is told of it");
    let digest = letter.digest();
    let receipts = block(customs.take(&state, early, START)).unwrap().receipts;
    for receipts in [taken.receipts, receipts] {
        assert!(receipts.iter().any(|r| r.receipt.state == ReceiptState::Withdrawn));
    }
    let (mut dice, word) = (Dice(2), word(&digest, "duty", None));
    let ack = customs.say(&state, &digest, ReceiptState::Acknowledged, Some(word), START, &mut dice);
    assert!(block(ack).is_err());

    let (parties, state, letter) = pair();
    let (customs, police) = (parties[0].office.as_ref().unwrap(), parties[1].office.as_ref().unwrap());
    block(customs.take(&state, letter.clone(), START)).unwrap();
    block(customs.shown(&state, &letter.digest(), "duty", START, &mut Dice(3))).unwrap();
    let d = withdrawal(letter.header.notice, &parties[0].id);
    let sent = block(police.accept(&state, vec![d], ("duty", u64::MAX), START, &mut Dice(4))).unwrap().letters;
    let late = police.read(|b| b.out(&sent[0]).unwrap().letter.clone());
    let receipts = block(customs.take(&state, late, START)).unwrap().receipts;
    assert!(receipts.iter().all(|r| r.receipt.state != ReceiptState::Withdrawn));
}

/// Whoever read it in a list has seen it, displayed or not.
#[test]
fn what_was_opened_is_not_withdrawn() {
    let (parties, state, letter) = pair();
    let (customs, police) = (parties[0].office.as_ref().unwrap(), parties[1].office.as_ref().unwrap());
    block(customs.take(&state, letter.clone(), START)).unwrap();
    assert!(block(customs.opening(&letter.digest(), "duty", START)).unwrap());
    let cancel = withdrawal(letter.header.notice, &parties[0].id);
    let sent = block(police.accept(&state, vec![cancel], ("duty", u64::MAX), START, &mut Dice(4))).unwrap().letters;
    let cancel = police.read(|b| b.out(&sent[0]).unwrap().letter.clone());
    let receipts = block(customs.take(&state, cancel, START)).unwrap().receipts;
    assert!(receipts.iter().all(|r| r.receipt.state != ReceiptState::Withdrawn));
}

/// An addressee that says "withdrawn" of what nobody withdrew does not end the sender's alarms.
#[test]
fn a_withdrawal_that_nobody_asked_for_is_not_believed() {
    let (parties, state, letter) = pair();
    let (customs, police) = (parties[0].office.as_ref().unwrap(), parties[1].office.as_ref().unwrap());
    let delivered = block(customs.take(&state, letter.clone(), START)).unwrap().receipts.remove(0).receipt;
    let forged =
        Receipt { state: ReceiptState::Withdrawn, ..delivered }.sign(&parties[0].ring().signing_key().unwrap());
    assert!(block(police.told(&state, vec![forged], START)).is_err());
    assert_eq!(police.read(|b| b.out(&letter.digest()).unwrap().state()), None);
}

/// One letter of a notice: what is acknowledged is what was read.
#[test]
fn a_second_letter_of_a_notice_is_refused() {
    let (parties, state, letter) = pair();
    let (customs, police) = (parties[0].office.as_ref().unwrap(), parties[1].office.as_ref().unwrap());
    let again = draft(letter.header.notice, &parties[0].id, Precedence::Flash);
    let sent = block(police.accept(&state, vec![again], ("duty", u64::MAX), START, &mut Dice(9))).unwrap().letters;
    let second = police.read(|b| b.out(&sent[0]).unwrap().letter.clone());
    assert_ne!(second.digest(), letter.digest());
    block(customs.take(&state, letter, START)).unwrap();
    assert_eq!(
        block(customs.take(&state, second, START)).err().unwrap().to_string(),
        "refused: another letter of this notice is here"
    );
}

/// What nobody could read again is not accepted: neither by the addressee nor by this node's next start.
#[test]
fn a_letter_over_its_size_is_refused_before_it_is_kept() {
    let (mut parties, state, _) = pair();
    let police = parties[1].office.as_ref().unwrap();
    let full = |fields: &dyn Fn(&mut Content)| {
        let mut d = draft(NoticeId::new(START, mark(&parties[1].id), &mut Dice(12)), &parties[0].id, Precedence::Flash);
        fields(&mut d.content);
        block(police.accept(&state, vec![d], ("duty", u64::MAX), START, &mut Dice(13)))
    };
    let body = "三".repeat((64 << 10) / 3);
    full(&|c| (c.body, c.desks) = (body.clone(), vec!["单位".repeat(32); 64])).unwrap();
    for bad in [&(|c: &mut Content| c.body = "x".repeat((64 << 10) + 1)) as &dyn Fn(&mut Content), &|c| {
        c.addressees = vec![format!("{}customs", " ".repeat(99_000))]
    }] {
        assert!(matches!(full(bad), Err(NoticeError::TooLarge)));
    }
    parties[1].kill();
    parties[1].start();
    assert_eq!(parties[1].office.as_ref().unwrap().read(|b| b.open().count()), 2, "it starts again");
}

/// One who does not answer fills nobody else's queue, and the last room on the disk is for flashes.
#[test]
fn a_full_outbox_refuses_routine_before_a_flash() {
    let (parties, state, _) = pair();
    let police = parties[1].office.as_ref().unwrap();
    let send = |precedence, free| {
        let notice = NoticeId::new(START, mark(&parties[1].id), &mut Dice(14));
        let d = draft(notice, &parties[0].id, precedence);
        block(police.accept(&state, vec![d], ("duty", free), START, &mut Dice(15)))
    };
    let little = 64 << 20;
    assert!(matches!(send(Precedence::Routine, little), Err(NoticeError::Disk(_))));
    assert!(matches!(send(Precedence::Immediate, little), Err(NoticeError::Disk(_))));
    send(Precedence::Flash, little).unwrap();
    assert!(matches!(send(Precedence::Flash, 1 << 20), Err(NoticeError::Disk(_))), "nothing at all when it is full");
}

/// What takes a notice back, or confirms its marking, gets through when the disk is short, however urgent the notice was.
#[test]
fn what_follows_a_notice_has_the_room_of_a_flash() {
    let (parties, state, _) = pair();
    let police = parties[1].office.as_ref().unwrap();
    let send = |kind, free| {
        let notice = NoticeId::new(START, mark(&parties[1].id), &mut Dice(14));
        let d = Draft { kind, action: false, ..draft(notice, &parties[0].id, Precedence::Routine) };
        block(police.accept(&state, vec![d], ("duty", free), START, &mut Dice(15)))
    };
    let little = 64 << 20;
    for kind in [LetterKind::Recall, LetterKind::Cancel, LetterKind::Confirm] {
        assert!(matches!(send(kind, 1 << 20), Err(NoticeError::Disk(_))), "{kind:?}: nothing at all when it is full");
        send(kind, little).unwrap();
    }
    assert!(matches!(send(LetterKind::Notice, little), Err(NoticeError::Disk(_))));
}

/// One of several addressees for whom there is no room keeps nothing from the others, and is named.
#[test]
fn those_for_whom_there_is_room_are_accepted() {
    let (parties, state, _) = pair();
    let (customs, third) = (&parties[0].id, &parties[2].id);
    let police = parties[1].office.as_ref().unwrap();
    let notice = |n| NoticeId::new(START.plus_ms(n), mark(&parties[1].id), &mut Dice(n));
    let send = |n: u64, to: &[&AgencyId]| {
        let drafts = to.iter().map(|to| draft(notice(n), to, Precedence::Routine)).collect();
        block(police.accept(&state, drafts, ("duty", u64::MAX), START, &mut Dice(n)))
    };
    let first = send(1, &[customs]).unwrap().letters[0];
    let letter = police.read(|b| b.out(&first).unwrap().letter.clone());
    // As many as may wait for one who does not answer: what counts is the header.
    for n in 2..5_001 {
        let mut one = letter.clone();
        one.header.notice = notice(n);
        police.change(|b| b.fold(Frame::Sent { letter: one, sender: "duty".into(), at: START }));
    }
    assert!(matches!(send(6_000, &[customs]), Err(NoticeError::Full)));
    assert!(police.sent_of(&notice(6_000)).is_empty());
    let accepted = send(6_001, &[customs, third]).unwrap();
    assert_eq!((accepted.letters.len(), accepted.refused), (1, vec![customs.clone()]));
    let sent = police.sent_of(&notice(6_001));
    assert_eq!(sent.iter().map(|(_, o)| &o.letter.header.to).collect::<Vec<_>>(), [third]);
}

/// A stop between the step and the call: it is rung again, and once told not any more.
#[test]
fn calls_that_a_stop_left_uncertain_are_known() {
    let (mut parties, state, letter) = pair();
    let digest = letter.digest();
    let customs = parties[0].office.as_ref().unwrap();
    block(customs.take(&state, letter, START)).unwrap();
    block(customs.step(START.plus_ms(120_000))).unwrap();
    assert_eq!(customs.read(|b| b.uncalled(START)), [(digest, None), (digest, Some(Step::Deputy))]);
    block(customs.called(digest, None, START)).unwrap();
    parties[0].kill();
    parties[0].start();
    let customs = parties[0].office.as_ref().unwrap();
    assert_eq!(customs.read(|b| b.uncalled(START)), [(digest, Some(Step::Deputy))]);
    block(customs.called(digest, Some(Step::Deputy), START)).unwrap();
    assert!(customs.read(|b| b.uncalled(START)).is_empty());
}

/// Information is called for too, and is rung again after a stop until somebody has seen it or its time is over.
#[test]
fn a_call_for_information_outlives_a_stop() {
    let (mut parties, state, _) = pair();
    let police = parties[1].office.as_ref().unwrap();
    let notice = NoticeId::new(START, mark(&parties[1].id), &mut Dice(21));
    let info = Draft { action: false, ..draft(notice, &parties[0].id, Precedence::Priority) };
    let sent = block(police.accept(&state, vec![info], ("duty", u64::MAX), START, &mut Dice(22))).unwrap().letters;
    let letter = police.read(|b| b.out(&sent[0]).unwrap().letter.clone());
    let over = letter.header.expires;
    block(parties[0].office.as_ref().unwrap().take(&state, letter, START)).unwrap();
    parties[0].kill();
    parties[0].start();
    let customs = parties[0].office.as_ref().unwrap();
    assert_eq!(customs.read(|b| b.uncalled(START)), [(sent[0], None)]);
    assert!(customs.read(|b| b.uncalled(over)).is_empty());
    block(customs.called(sent[0], None, START)).unwrap();
    assert!(customs.read(|b| b.uncalled(START)).is_empty());
}

/// A power cut may keep the first of two frames and lose the second: what they mean together stands by the first.
#[test]
fn a_cut_between_two_frames_undoes_nothing() {
    let (parties, state, letter) = pair();
    let customs = parties[0].office.as_ref().unwrap();
    let receipt = block(customs.take(&state, letter.clone(), START)).unwrap().receipts.remove(0);
    let (notice, from, digest) = (letter.header.notice, letter.header.from.clone(), letter.digest());
    let mut book = Book::default();
    book.fold(Frame::Withheld { notice, from: from.clone(), at: START });
    assert_eq!(book.withheld_of(&from), 1);
    book.fold(Frame::Received { letter: letter.clone(), receipt, at: START });
    assert_eq!(book.entry(&digest).unwrap().state(), ReceiptState::Withdrawn, "and its own receipt was lost");
    assert!(book.uncalled(START).is_empty() && book.due(Millis(u64::MAX), &Deadlines::default()).is_empty());
    assert_eq!(book.withheld_of(&from), 0, "it waits no longer");
    let mut book = Book::default();
    book.fold(Frame::Provisional { notice, at: START });
    book.fold(Frame::Sent { letter, sender: "duty".into(), at: START });
    assert!(book.out(&digest).unwrap().provisional);
}

/// The withdrawal came first, then its notice, and the power went before the receipt that says so. A sender that learned of
/// the delivery alone tries only the withdrawal: its next copy is answered with what was lost.
#[test]
fn a_lost_receipt_of_a_withdrawal_is_made_again() {
    let (parties, state, letter) = pair();
    let (customs, police) = (parties[0].office.as_ref().unwrap(), parties[1].office.as_ref().unwrap());
    let receipt = block(customs.take(&state, letter.clone(), START)).unwrap().receipts.remove(0);
    let cancel = withdrawal(letter.header.notice, &parties[0].id);
    let sent = block(police.accept(&state, vec![cancel], ("duty", u64::MAX), START, &mut Dice(4))).unwrap().letters;
    let cancel = police.read(|b| b.out(&sent[0]).unwrap().letter.clone());
    let mut book = Book::default();
    book.fold(Frame::Withheld { notice: letter.header.notice, from: letter.header.from.clone(), at: START });
    book.fold(Frame::Received { letter, receipt, at: START });
    let event = Event::Came { letter: &cancel, digest: cancel.digest(), names: &[], warning: None };
    let decision = book.decide(event, START).unwrap();
    let signed: Vec<_> = decision.sign.iter().map(|s| s.state).collect();
    assert_eq!(signed, [ReceiptState::Withdrawn, ReceiptState::Delivered]);
}

/// Any receipt ends the attempts of its letter, so the one that says how it ended must not be what a power cut takes.
#[test]
fn the_last_word_on_a_notice_is_durable_first() {
    let (parties, state, letter) = pair();
    let (customs, police) = (parties[0].office.as_ref().unwrap(), parties[1].office.as_ref().unwrap());
    block(customs.take(&state, letter.clone(), START)).unwrap();
    let cancel = withdrawal(letter.header.notice, &parties[0].id);
    let sent = block(police.accept(&state, vec![cancel], ("duty", u64::MAX), START, &mut Dice(4))).unwrap().letters;
    let cancel = police.read(|b| b.out(&sent[0]).unwrap().letter.clone());
    let receipts = block(customs.take(&state, cancel, START)).unwrap().receipts;
    let frames = police.read(|b| b.decide(Event::Told(&receipts), START)).unwrap().frames;
    let told = frames.iter().map(|f| if let Frame::Told { receipt: r, .. } = f { Some(&r.receipt) } else { None });
    let told: Vec<_> = told.flatten().map(|r| (r.letter, r.state)).collect();
    let notice = letter.digest();
    let (withdrawn, delivered) = (ReceiptState::Withdrawn, ReceiptState::Delivered);
    assert_eq!(told, [(notice, withdrawn), (notice, delivered), (sent[0], delivered)]);
}

/// A node said what became of a notice, and was removed before its word arrived: the word counts, in an answer and in a letter
/// of its own. It sends no notice any more.
#[test]
fn a_receipt_from_before_its_node_was_removed_counts() {
    let (parties, state, letter) = pair();
    let (customs, police) = (parties[0].office.as_ref().unwrap(), parties[1].office.as_ref().unwrap());
    let (digest, node) = (letter.digest(), node_id(&parties[0].id, "1"));
    let receipts = block(customs.take(&state, letter, START)).unwrap().receipts;
    let said = word(&digest, "duty", None);
    block(customs.say(&state, &digest, ReceiptState::Acknowledged, Some(said), START, &mut Dice(3))).unwrap();
    let carrier = customs.read(|b| b.open().map(|(_, out)| out.letter.clone()).next()).unwrap();
    let notice = NoticeId::new(START, mark(&parties[0].id), &mut Dice(4));
    let own = draft(notice, &parties[1].id, Precedence::Flash);
    let sent = block(customs.accept(&state, vec![own], ("duty", u64::MAX), START, &mut Dice(4))).unwrap().letters;
    let own = customs.read(|b| b.out(&sent[0]).unwrap().letter.clone());

    let later = crate::ledger::fixture::removed(&state, node);
    assert!(later.node(node).is_none() && later.retired(node).is_some());
    block(police.told(&later, receipts, START)).unwrap();
    let relay = parties[2].office.as_ref().unwrap();
    assert!(relay.may_relay(&later, &parties[0].id, &carrier).is_ok());
    block(police.take(&later, carrier, START)).unwrap();
    assert!(police.read(|b| b.out(&digest).unwrap().is_acknowledged()));
    assert!(relay.may_relay(&later, &parties[0].id, &own).is_err());
    let refused = block(police.take(&later, own, START)).err().unwrap();
    assert_eq!(refused.to_string(), "refused: no node of its sender signed it");
    // Nobody else's word becomes its own by that.
    let other = parties[2].ring().signing_key().unwrap();
    let receipt = police.read(|b| b.out(&digest).unwrap().receipts[0].receipt.clone());
    assert!(!is_of_addressee(&later, &receipt.sign(&other)));
}

/// What is answered beyond what is kept is refused to whoever answers, and not dropped unseen.
#[test]
fn an_answer_too_many_is_refused() {
    let (parties, state, letter) = pair();
    let customs = parties[0].office.as_ref().unwrap();
    let digest = letter.digest();
    block(customs.take(&state, letter, START)).unwrap();
    let acknowledged = |n: u64| {
        let word = word(&digest, &format!("duty-{n}"), None);
        block(customs.say(&state, &digest, ReceiptState::Acknowledged, Some(word), START, &mut Dice(n)))
    };
    (1..64).for_each(|n| acknowledged(n).unwrap());
    acknowledged(1).expect("said already");
    assert!(acknowledged(64).is_err());
}

/// Expired without a word: the sender is told that delivery is unknown, and a late receipt corrects it.
#[test]
fn an_expired_notice_is_unknown_until_a_late_receipt() {
    let (parties, state, letter) = pair();
    let (customs, police) = (parties[0].office.as_ref().unwrap(), parties[1].office.as_ref().unwrap());
    let digest = letter.digest();
    // Delivered, and the receipt is lost until long after.
    let receipts = block(customs.take(&state, letter.clone(), START)).unwrap().receipts;
    let over = letter.header.expires;
    block(police.step(over)).unwrap();
    let end = |office: &Office| office.read(|b| b.out(&digest).map(|o| (o.state(), o.ended.is_some())).unwrap());
    assert_eq!(end(police), (None, true));
    assert!(police.tries(over, over, &mut Dice(1)).is_empty(), "nothing more is tried");
    block(police.told(&state, receipts, over.plus_ms(5_000))).unwrap();
    assert_eq!(end(police), (Some(ReceiptState::Delivered), true));
}

#[test]
fn alarms_and_escalations_come_once_and_outlive_a_restart() {
    let (mut parties, state, letter) = pair();
    block(parties[0].office.as_ref().unwrap().take(&state, letter, START)).unwrap();
    let steps = |office: &Office, after: u64| -> Vec<Step> {
        let frames = block(office.step(START.plus_ms(after))).unwrap();
        frames.into_iter().filter_map(|f| if let Frame::Stepped { step, .. } = f { Some(step) } else { None }).collect()
    };
    let police = parties[1].office.as_ref().unwrap();
    assert_eq!(steps(police, 9_999), []);
    assert_eq!(steps(police, 10_000), [Step::Undelivered]);
    parties[1].kill();
    parties[1].start();
    let police = parties[1].office.as_ref().unwrap();
    assert_eq!(steps(police, 119_999), [], "given before the restart");
    assert_eq!(steps(police, 120_000), [Step::Unacknowledged]);
    let customs = parties[0].office.as_ref().unwrap();
    assert_eq!(steps(customs, 120_000), [Step::Deputy]);
    parties[0].kill();
    parties[0].start();
    let customs = parties[0].office.as_ref().unwrap();
    assert_eq!(steps(customs, 360_000), [Step::Chain, Step::OutOfBand]);
    assert_eq!(steps(customs, 999_999), []);
}
