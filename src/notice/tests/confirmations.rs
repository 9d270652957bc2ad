//! A provisional marking that a classifier confirmed: how its addressee learns of that.

use super::*;

#[test]
fn an_addressee_is_told_after_the_notice_and_once() {
    let (mut parties, state) = federation();
    parties.iter_mut().for_each(Party::start);
    let (customs, police) = (parties[0].office.as_ref().unwrap(), parties[1].office.as_ref().unwrap());
    let notice = NoticeId::new(START, mark(&parties[1].id), &mut Dice(5));
    let mut one = draft(notice, &parties[0].id, Precedence::Flash);
    one.content.provisional = true;
    let about = Draft {
        kind: LetterKind::Confirm,
        action: false,
        content: Content { sender: "chief".into(), about: Some(notice), ..Content::default() },
        ..draft(notice, &parties[0].id, Precedence::Flash)
    };
    let sent = block(police.accept(&state, vec![one], ("duty", u64::MAX), START, &mut Dice(1))).unwrap().letters[0];
    assert_eq!(police.read(|b| b.confirmable(&notice)).len(), 1);
    block(police.confirm(&state, notice, vec![about], ("chief", u64::MAX), START, &mut Dice(2))).unwrap();
    assert!(police.read(|b| b.out(&sent).unwrap().confirmed.is_some() && b.confirmable(&notice).is_empty()));

    // It waits for its notice.
    let due = |steady| police.tries(START, steady, &mut Dice(3)).into_iter().map(|t| t.letter).collect::<Vec<_>>();
    assert_eq!(due(START), [sent]);
    let confirmation = police.read(|b| b.about(&notice, &parties[0].id, LetterKind::Confirm).unwrap().1.letter.clone());
    let early = block(customs.take(&state, confirmation.clone(), START)).err().unwrap();
    assert_eq!(early.to_string(), "refused: the notice that it confirms is not here");
    let letter = police.read(|b| b.out(&sent).unwrap().letter.clone());
    let receipts = block(customs.take(&state, letter, START)).unwrap().receipts;
    block(police.told(&state, receipts, START)).unwrap();
    assert_eq!(due(START.plus_ms(60_000)), [confirmation.digest()]);

    for at in [START.plus_ms(1), START.plus_ms(2)] {
        let receipts = block(customs.take(&state, confirmation.clone(), at)).unwrap().receipts;
        block(police.told(&state, receipts, at)).unwrap();
    }
    let confirmed = |party: &Party| {
        let office = party.office.as_ref().unwrap();
        office.read(|b| b.entry(&sent).unwrap().confirmed.clone())
    };
    let expected = Some(("chief".to_owned(), START.plus_ms(1)));
    assert_eq!(confirmed(&parties[0]), expected);
    assert_eq!(police.read(|b| b.open().count()), 0);
    parties[0].kill();
    parties[0].start();
    assert_eq!(confirmed(&parties[0]), expected, "after a power cut");
}
