//! Thirty days, and not one more than a day longer (P26).

use super::super::retain::{KEPT_MS, Retired};
use super::*;

const DAY: u64 = 24 * 3_600_000;

fn day(n: u64) -> Millis {
    START.plus_ms(n * DAY)
}

/// One flash from police to customs, taken there and acknowledged here.
fn exchange(parties: &[Party], state: &State, at: Millis) -> Letter {
    let (customs, police) = (parties[0].office.as_ref().unwrap(), parties[1].office.as_ref().unwrap());
    let mut dice = Dice(at.0);
    let notice = NoticeId::new(at, mark(&parties[1].id), &mut dice);
    let drafts = vec![draft(notice, &parties[0].id, Precedence::Flash)];
    let sent = block(police.accept(state, drafts, ("duty", u64::MAX), at, &mut dice)).unwrap().letters;
    let letter = police.read(|b| b.out(&sent[0]).unwrap().letter.clone());
    let receipts = block(customs.take(state, letter.clone(), at)).unwrap().receipts;
    block(police.told(state, receipts, at)).unwrap();
    letter
}

#[test]
fn what_is_thirty_days_old_goes_from_memory_and_disk_and_nothing_younger() {
    let (mut parties, state) = federation();
    parties.iter_mut().for_each(Party::start);
    let kept = |p: &Party, l: &Letter| {
        let office = p.office.as_ref().unwrap();
        office.read(|b| b.out(&l.digest()).is_some() || b.entry(&l.digest()).is_some())
    };
    let retire = |p: &Party, at| p.office.as_ref().unwrap().retire(at, at).unwrap();
    let nothing = Retired { letters: 0, frames: 0 };
    let old = exchange(&parties, &state, day(0));
    let mut young = None;
    for n in 0..30 {
        for p in &parties[..2] {
            assert_eq!(retire(p, day(n)), nothing, "day {n}");
        }
        if n == 5 {
            young = Some(exchange(&parties, &state, day(5)));
        }
    }
    let young = young.unwrap();
    let cursor = parties[0].office.as_ref().unwrap().read(|b| b.arrived_since(0).1);
    let before: Vec<_> = parties.iter().map(|p| p.office.as_ref().unwrap().digest().unwrap()).collect();
    for p in &parties[..2] {
        assert!(kept(p, &old));
        assert_eq!(retire(p, day(30).plus_ms(1)).letters, 1);
        assert!(!kept(p, &old) && kept(p, &young));
    }
    // The disk is at most a day behind.
    for (p, (frames, head)) in parties[..2].iter().zip(before) {
        assert!(retire(p, day(31).plus_ms(2)).frames > 0);
        let (now, digest) = p.office.as_ref().unwrap().digest().unwrap();
        assert!(now.start > frames.start && now.end == frames.end && digest != head, "the chain begins anew");
    }
    // Positions of those who watch stay what they were.
    let customs = parties[0].office.as_ref().unwrap();
    assert_eq!(customs.read(|b| b.arrived_since(cursor)), (Vec::new(), cursor));
    assert_eq!(customs.read(|b| b.arrived_since(0).0), [young.digest()]);
    // What comes again does not come in again.
    assert!(block(customs.take(&state, old.clone(), day(31))).is_err());

    for p in &mut parties[..2] {
        p.kill();
        p.start();
        assert!(!kept(p, &old) && kept(p, &young), "after a power cut");
    }
}

/// A recall that came to a node without its notice waits as long as the notice may come, and takes nobody's place afterwards.
#[test]
fn a_withdrawal_waits_no_longer_than_its_notice_may_come() {
    let (mut parties, state) = federation();
    parties.iter_mut().for_each(Party::start);
    let letter = exchange(&parties, &state, day(0));
    let customs = parties[0].office.as_ref().unwrap();
    let receipt = customs.read(|b| b.entry(&letter.digest()).unwrap().receipts[0].clone());
    let (came, from) = (letter.header.notice, letter.header.from.clone());
    let never = NoticeId::new(day(0), mark(&parties[1].id), &mut Dice(3));
    let mut book = Book::default();
    for notice in [came, never] {
        book.fold(Frame::Withheld { notice, from: from.clone(), at: day(0) });
    }
    book.fold(Frame::Received { letter, receipt, at: day(0) });
    let cut = |now: Millis| Millis(now.0 - KEPT_MS);
    book.forget(cut(day(7).plus_ms(3_600_000)));
    assert!(book.is_withheld(&from, &never) && book.withheld_of(&from) == 1);
    book.forget(cut(day(8)));
    assert!(!book.is_withheld(&from, &never) && book.withheld_of(&from) == 0);
    assert!(book.is_withheld(&from, &came), "it is kept as long as its notice");
    book.forget(cut(day(30)));
    assert!(!book.is_withheld(&from, &came));
}

/// A letter without a receipt that is still tried stays, and a day without ledger time deletes nothing.
#[test]
fn what_is_still_tried_stays() {
    let (mut parties, state) = federation();
    parties.iter_mut().for_each(Party::start);
    let police = parties[1].office.as_ref().unwrap();
    let notice = NoticeId::new(START, mark(&parties[1].id), &mut Dice(1));
    let drafts = vec![draft(notice, &parties[0].id, Precedence::Routine)];
    let sent = block(police.accept(&state, drafts, ("duty", u64::MAX), START, &mut Dice(2))).unwrap().letters;
    assert_eq!(police.retire(Millis(0), day(40)).unwrap(), Retired { letters: 0, frames: 0 });
    assert_eq!(police.retire(day(40), day(40)).unwrap().letters, 0);
    assert!(police.read(|b| b.still_open(&sent[0]).is_some()));
    block(police.step(day(40))).unwrap();
    assert_eq!(police.retire(day(41), day(41)).unwrap().letters, 1);
}

/// A ledger that stood still for weeks and comes back makes nothing old: neither in the book nor on the disk.
#[test]
fn a_ledger_that_lags_deletes_nothing_young() {
    let (mut parties, state) = federation();
    parties.iter_mut().for_each(Party::start);
    let retire = |parties: &[Party], ledger: u64, own: u64| {
        parties[..2]
            .iter()
            .map(|p| p.office.as_ref().unwrap().retire(day(ledger), day(own)).unwrap())
            .collect::<Vec<_>>()
    };
    let nothing = [Retired { letters: 0, frames: 0 }; 2];
    exchange(&parties, &state, day(0));
    retire(&parties, 1, 1);
    let young = exchange(&parties, &state, day(35));
    // The ledger begins to catch up: its third day is marked above frames of the thirty-fifth.
    assert_eq!(retire(&parties, 3, 35), nothing);
    let after = exchange(&parties, &state, day(36));
    let retired = retire(&parties, 36, 36);
    assert!(retired.iter().all(|r| r.letters == 1), "{retired:?}");
    for p in &mut parties[..2] {
        p.kill();
        p.start();
        let office = p.office.as_ref().unwrap();
        for l in [&young, &after] {
            assert!(office.read(|b| b.out(&l.digest()).is_some() || b.entry(&l.digest()).is_some()), "after a restart");
        }
    }
}
