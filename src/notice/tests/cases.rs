//! The small cases that the explorer goes through, state by state. Each says how many states it has at least, and what must
//! come about in one of them, so that none goes empty.

use super::explorer::explore;
use super::*;

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;
/// When it was accepted, when it expires, and when its addressee takes it no more.
const LATE: &[u64] = &[0, DAY, DAY + HOUR];

/// When it was accepted, and when its marking should be confirmed.
const UNCONFIRMED: &[u64] = &[0, 4 * HOUR];

/// What people may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Opens,
    Displays,
    Acknowledges,
    Withdraws,
    Recalls,
    /// A classifier, the marking; a case with this has a provisional one.
    Confirms,
}

/// What a case must come across, or it explores nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// The relay brought it, and its sender knows.
    Relayed,
    /// It is there, and its sender gave up.
    Unknown,
    /// Its sender gave up, and a late receipt corrected that.
    Corrected,
    /// Nobody saw it.
    Withdrawn,
    /// It was withdrawn too late.
    TooLate,
    /// It was seen, and its sender knows that it was taken back.
    Recalled,
    /// Its marking is confirmed where it went, and its sender knows.
    Confirmed,
    /// Nobody confirmed its marking in time.
    Unconfirmed,
    /// It was taken back, and then confirmed: the addressee has no marking to confirm any more.
    Moot,
    /// Its sender knows that somebody acknowledged it.
    Acknowledged,
    /// Nobody acknowledged it in time.
    Deputy,
    /// Nor up to the last step.
    OutOfBand,
}

/// What one case lets happen.
pub(super) struct Case {
    pub(super) precedence: Precedence,
    /// Whether it must be acknowledged.
    pub(super) action: bool,
    /// When things happen, in milliseconds after it was accepted.
    pub(super) instants: &'static [u64],
    /// Which paths letters take until faults stop.
    pub(super) direct: bool,
    pub(super) relay: bool,
    pub(super) acts: &'static [Act],
    pub(super) goals: &'static [Goal],
}

/// A flash by the direct path, at the moment of its acceptance.
pub(super) const PLAIN: Case = Case {
    precedence: Precedence::Flash,
    action: true,
    instants: &[0],
    direct: true,
    relay: false,
    acts: &[],
    goals: &[],
};

/// Loss, repetition and power cuts on both paths, and a relay that dies, answers late, or never.
#[test]
fn a_notice_by_a_relay_and_by_the_direct_path() {
    for precedence in [Precedence::Flash, Precedence::Priority] {
        let case =
            Case { precedence, action: false, relay: true, acts: &[Act::Opens], goals: &[Goal::Relayed], ..PLAIN };
        let states = explore(&case);
        assert!(states >= 100, "{states}");
    }
}

/// A withdrawal and its notice overtake one another on the way, and cross the first look.
#[test]
fn a_withdrawal_before_and_after_it_was_seen() {
    let states = explore(&Case {
        acts: &[Act::Opens, Act::Displays, Act::Withdraws],
        goals: &[Goal::Withdrawn, Goal::TooLate],
        ..PLAIN
    });
    assert!(states >= 1_000, "{states}");
}

/// Two letters by the same relay, in any order.
#[test]
fn a_withdrawal_by_a_relay() {
    let states = explore(&Case {
        action: false,
        direct: false,
        relay: true,
        acts: &[Act::Opens, Act::Withdraws],
        goals: &[Goal::Withdrawn, Goal::TooLate, Goal::Relayed],
        ..PLAIN
    });
    assert!(states >= 1_000, "{states}");
}

/// A recall before and after it was displayed: where nobody has seen it, it is withdrawn.
#[test]
fn a_recall_before_and_after_it_was_seen() {
    let states =
        explore(&Case { acts: &[Act::Displays, Act::Recalls], goals: &[Goal::Withdrawn, Goal::Recalled], ..PLAIN });
    assert!(states >= 700, "{states}");
}

/// A recall after a withdrawal that came too late, and before one that is on its way.
#[test]
fn a_recall_beside_a_withdrawal() {
    let states = explore(&Case {
        action: false,
        acts: &[Act::Opens, Act::Withdraws, Act::Recalls],
        goals: &[Goal::Withdrawn, Goal::TooLate, Goal::Recalled],
        ..PLAIN
    });
    assert!(states >= 600, "{states}");
}

/// A recall and its notice by the same relay.
#[test]
fn a_recall_by_a_relay() {
    let states = explore(&Case {
        action: false,
        direct: false,
        relay: true,
        acts: &[Act::Opens, Act::Recalls],
        goals: &[Goal::Withdrawn, Goal::Recalled, Goal::Relayed],
        ..PLAIN
    });
    assert!(states >= 1_000, "{states}");
}

/// A confirmation goes after its notice, by whatever path, and marks it once over loss, repetition and power cuts.
#[test]
fn a_marking_is_confirmed() {
    for (direct, relay) in [(true, false), (false, true)] {
        let states = explore(&Case {
            action: false,
            direct,
            relay,
            acts: &[Act::Opens, Act::Confirms],
            goals: &[Goal::Confirmed],
            ..PLAIN
        });
        assert!(states >= 40, "{states}");
    }
}

/// Confirmed about when its sender is alarmed for want of that.
#[test]
fn a_marking_is_confirmed_about_in_time() {
    let states = explore(&Case {
        action: false,
        instants: UNCONFIRMED,
        acts: &[Act::Confirms],
        goals: &[Goal::Confirmed, Goal::Unconfirmed],
        ..PLAIN
    });
    assert!(states >= 60, "{states}");
}

/// A confirmation that crosses a recall: what is taken back is not marked any more, and nothing else changes.
#[test]
fn a_confirmation_beside_a_recall() {
    let states = explore(&Case {
        action: false,
        acts: &[Act::Opens, Act::Confirms, Act::Recalls],
        goals: &[Goal::Withdrawn, Goal::Recalled, Goal::Confirmed, Goal::Moot],
        ..PLAIN
    });
    assert!(states >= 200, "{states}");
}

/// Receipts of people go back by letters of their own, which are lost, repeated and late too.
#[test]
fn a_notice_is_displayed_and_acknowledged() {
    let states = explore(&Case { acts: &[Act::Displays, Act::Acknowledges], goals: &[Goal::Acknowledged], ..PLAIN });
    assert!(states >= 2_000, "{states}");
}

/// Expired without a word; a receipt that comes late corrects that, and what comes after the slack is not taken in.
#[test]
fn an_expired_notice_and_its_late_receipt() {
    let states = explore(&Case {
        action: false,
        instants: LATE,
        relay: true,
        goals: &[Goal::Unknown, Goal::Corrected],
        ..PLAIN
    });
    assert!(states >= 500, "{states}");
}

/// Every alarm and escalation once and on time, over power cuts between them.
#[test]
fn nobody_acknowledges_in_time() {
    let states = explore(&Case {
        instants: &[0, 10_000, 120_000, 240_000, 360_000],
        goals: &[Goal::Deputy, Goal::OutOfBand],
        ..PLAIN
    });
    assert!(states >= 1_000, "{states}");
}

/// An acknowledgement that crosses the first escalation.
#[test]
fn somebody_acknowledges_about_in_time() {
    let states = explore(&Case {
        instants: &[0, 120_000],
        acts: &[Act::Acknowledges],
        goals: &[Goal::Deputy, Goal::Acknowledged],
        ..PLAIN
    });
    assert!(states >= 700, "{states}");
}
