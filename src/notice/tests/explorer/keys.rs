//! What a book comes to: the explorer tells states apart by it.

use super::*;

/// All that a book is: two with one key behave alike.
pub(super) fn key_of(book: &Book) -> Key {
    let mut w = Writer::bare();
    let receipts = |w: &mut Writer, all: &[SignedReceipt]| {
        w.list(all.iter(), |w, r| {
            w.array(&r.digest());
        });
    };
    let steps = |w: &mut Writer, all: &BTreeMap<Step, Millis>| {
        w.list(all.iter(), |w, (step, at)| {
            w.u8(*step as u8).value(at);
        });
    };
    let confirmed = |by: Option<&(String, Millis)>| by.map(|(_, at)| *at);
    for (letter, out) in &book.sent {
        w.u8(0).array(letter).value(&out.accepted);
        receipts(&mut w, &out.receipts);
        for at in [out.ended.map(|(_, at)| at), out.acknowledged_here, confirmed(out.confirmed.as_ref())] {
            w.option(at, |w, at| {
                w.value(&at);
            });
        }
        w.flag(out.provisional);
        steps(&mut w, &out.steps);
    }
    for (letter, entry) in &book.received {
        w.u8(1).array(letter).value(&entry.at).flag(entry.opened).flag(entry.state() == ReceiptState::Withdrawn);
        receipts(&mut w, &entry.receipts);
        for names in [&entry.opened_for, &entry.shown_to] {
            w.list(names.iter(), |w, name| {
                w.str(name);
            });
        }
        steps(&mut w, &entry.steps);
        w.option(confirmed(entry.confirmed.as_ref()), |w, at| {
            w.value(&at);
        });
        w.flag(entry.letter.is_some()).option(entry.recall.as_ref(), |w, r| {
            w.array(&r.letter.digest());
        });
    }
    let open = book.open.iter().map(|(_, l)| l);
    for letters in [book.arrivals.iter().collect(), open.collect(), book.unsettled.iter().collect::<Vec<_>>()] {
        w.list(letters.iter(), |w, l| {
            w.array(*l);
        });
    }
    w.list(book.unrung.iter(), |w, l| {
        w.array(l);
    });
    for (notice, agency) in book.cancelled.iter().chain(&book.cancelling) {
        w.u8(2).value(notice).value(agency);
    }
    for (agency, notice) in &book.withheld {
        w.u8(3).value(notice).value(agency);
    }
    for ((notice, agency, kind), letter) in &book.about {
        w.u8(4).value(notice).value(agency).value(kind).array(letter);
    }
    for letter in &book.recalls {
        w.u8(5).array(letter);
    }
    digest("test.book", &[&w.finish()])
}
