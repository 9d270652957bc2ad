//! What goes on where an agency's ceiling was lowered below a notice that is out already.

use super::*;
use crate::ledger::fixture::with_ceiling;

/// A notice from police to all three, and its letter to customs, which has taken it in.
fn sent() -> (Vec<Party>, State, Letter) {
    let (mut parties, state) = federation();
    parties.iter_mut().for_each(Party::start);
    let police = parties[1].office.as_ref().unwrap();
    let notice = NoticeId::new(START, mark(&parties[1].id), &mut Dice(5));
    let drafts = parties.iter().map(|p| draft(notice, &p.id, Precedence::Flash)).collect();
    let sent = block(police.accept(&state, drafts, ("duty", u64::MAX), START, &mut Dice(6))).unwrap().letters;
    let letter = police.read(|b| b.out(&sent[0]).unwrap().letter.clone());
    assert_eq!((sent.len(), &letter.header.to), (3, &parties[0].id));
    block(parties[0].office.as_ref().unwrap().take(&state, letter.clone(), START)).unwrap();
    (parties, state, letter)
}

#[test]
fn what_follows_a_notice_goes_to_all_its_addressees() {
    let (parties, state, letter) = sent();
    let (customs, police) = (parties[0].office.as_ref().unwrap(), parties[1].office.as_ref().unwrap());
    let notice = letter.header.notice;
    let low = with_ceiling(&state, &parties[0].id, Grade::Internal);
    let about = |kind, n| {
        let content = Content { subject: "车牌有误".into(), about: Some(notice), ..Content::default() };
        let draft =
            |to| Draft { kind, action: false, content: content.clone(), ..draft(notice, to, Precedence::Flash) };
        let drafts = parties.iter().map(|p| draft(&p.id)).collect();
        block(police.accept(&low, drafts, ("duty", u64::MAX), START, &mut Dice(n)))
    };
    for (kind, n) in [(LetterKind::Confirm, 7), (LetterKind::Cancel, 8), (LetterKind::Recall, 9)] {
        let sent = about(kind, n).unwrap().letters;
        assert_eq!(sent.len(), 3, "{kind:?}");
        if kind == LetterKind::Recall {
            let recall = police.read(|b| b.out(&sent[0]).unwrap().letter.clone());
            let receipts = block(customs.take(&low, recall, START)).unwrap().receipts;
            assert!(receipts.iter().any(|r| r.receipt.state == ReceiptState::Withdrawn));
        }
    }
    // The notice itself, which may wait for whoever was away, goes no more until the ceiling is raised.
    let going = |state: &State, kind| may_go(state, &LetterHeader { kind, ..letter.header.clone() });
    let all = [LetterKind::Notice, LetterKind::Receipt, LetterKind::Cancel, LetterKind::Recall, LetterKind::Confirm];
    assert_eq!(all.map(|kind| going(&low, kind)), [false, true, true, true, true]);
    assert!(all.into_iter().all(|kind| going(&state, kind)));
    let refused = about(LetterKind::Notice, 10).unwrap_err();
    assert_eq!(refused.to_string(), "refused: the addressee has no key for this grade");
}

#[test]
fn whoever_sent_it_learns_that_it_was_acknowledged() {
    let (parties, state, letter) = sent();
    let (customs, police) = (parties[0].office.as_ref().unwrap(), parties[1].office.as_ref().unwrap());
    let digest = letter.digest();
    let low = with_ceiling(&state, &parties[1].id, Grade::Internal);
    let said = word(&digest, "duty", None);
    block(customs.say(&low, &digest, ReceiptState::Acknowledged, Some(said), START, &mut Dice(3))).unwrap();
    let carrier = customs.read(|b| b.open().map(|(_, out)| out.letter.clone()).next()).unwrap();
    assert_eq!(carrier.header.kind, LetterKind::Receipt);
    block(police.take(&low, carrier, START)).unwrap();
    assert!(police.read(|b| b.out(&digest).unwrap().is_acknowledged()));
}
