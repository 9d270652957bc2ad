//! The durable events of notices, as the journal holds them. A kind is only ever added.

use super::letter::{Letter, LetterDigest};
use super::receipt::SignedReceipt;
use crate::domain::canon::{CanonError, Reader, Writer};
use crate::domain::ids::{AgencyId, NoticeId};
use crate::domain::notice::{ADDRESSEES, WarningKind, WarningLevel};
use crate::domain::time::Millis;

const DOMAIN: &str = "hufu.notice-frame";
const VERSION: u16 = 1;

/// What an alarm or an escalation is about. The order is format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// At the sender: no receipt in time.
    Undelivered,
    /// At the sender: nobody acknowledged in time.
    Unacknowledged,
    /// At the addressee: nobody acknowledged in time; the deputy is called.
    Deputy,
    /// At the addressee: still nobody; the duty chain is called.
    Chain,
    /// At the addressee: still nobody; the out-of-band list is called.
    OutOfBand,
    /// At the addressee: nobody acknowledged in time; its own people are reminded.
    Reminder,
    /// At the sender: no classifier confirmed a provisional marking in time.
    Unconfirmed,
}

impl Step {
    const ALL: [Step; 7] = [
        Step::Undelivered,
        Step::Unacknowledged,
        Step::Deputy,
        Step::Chain,
        Step::OutOfBand,
        Step::Reminder,
        Step::Unconfirmed,
    ];

    /// The word in commands and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Step::Undelivered => "undelivered",
            Step::Unacknowledged => "unacknowledged",
            Step::Deputy => "deputy",
            Step::Chain => "chain",
            Step::OutOfBand => "out-of-band",
            Step::Reminder => "reminder",
            Step::Unconfirmed => "unconfirmed",
        }
    }
}

/// What is left of a recalled warning, so that it is listed, and what it followed does not stand again unnoticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Warned {
    /// Its level.
    pub level: WarningLevel,
    /// Its place in a chain.
    pub kind: WarningKind,
    /// The notice that it followed.
    pub about: Option<NoticeId>,
}

/// One durable event. The number that [`Frame::to_bytes`] writes is format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A letter of this node was accepted.
    Sent {
        /// The letter.
        letter: Letter,
        /// Who sent it, by name; empty for a receipt.
        sender: String,
        /// When.
        at: Millis,
    },
    /// A notice came in, with the receipt that says so.
    Received {
        /// The letter.
        letter: Letter,
        /// State delivered.
        receipt: SignedReceipt,
        /// When.
        at: Millis,
    },
    /// This node's own later receipt for a letter that came in, with the letter that carries it back.
    Own {
        /// The receipt.
        receipt: SignedReceipt,
        /// Its way back; none when it goes back in the answer to a call.
        carrier: Option<Letter>,
        /// When.
        at: Millis,
    },
    /// An addressee's receipt for a letter of this node.
    Told {
        /// The receipt, verified.
        receipt: SignedReceipt,
        /// When.
        at: Millis,
    },
    /// Nothing more is tried.
    Ended {
        /// Which letter.
        letter: LetterDigest,
        /// When.
        at: Millis,
    },
    /// A person's terminal confirmed that it displayed a notice.
    Shown {
        /// Which letter.
        letter: LetterDigest,
        /// Name of the person.
        person: String,
        /// When.
        at: Millis,
    },
    /// An alarm was given or an escalation made.
    Stepped {
        /// Which letter.
        letter: LetterDigest,
        /// Which step.
        step: Step,
        /// When.
        at: Millis,
    },
    /// A notice's content is about to be opened for somebody. Earlier versions did not say for whom.
    Opened {
        /// Which letter.
        letter: LetterDigest,
        /// When.
        at: Millis,
    },
    /// A withdrawal came before its notice.
    Withheld {
        /// The notice.
        notice: NoticeId,
        /// Its sender.
        from: AgencyId,
        /// When.
        at: Millis,
    },
    /// People were called: the command and the webhook took it.
    Called {
        /// Which letter.
        letter: LetterDigest,
        /// For which step; none for its arrival.
        step: Option<Step>,
        /// When.
        at: Millis,
    },
    /// A notice went as a state secret without an agreement or a second person (P26).
    Provisional {
        /// The notice.
        notice: NoticeId,
        /// When.
        at: Millis,
    },
    /// A classifier confirmed its marking.
    Confirmed {
        /// The notice.
        notice: NoticeId,
        /// Name of the classifier.
        by: String,
        /// When.
        at: Millis,
    },
    /// A notice that came in was recalled after somebody may have seen it. Nothing of it is opened any more.
    Recalled {
        /// The letter that recalled it, with the reason.
        letter: Letter,
        /// State recalled, for the notice's own letter.
        receipt: SignedReceipt,
        /// Units and persons whom the notice named.
        desks: Vec<String>,
        /// What warning it was, if it was one. Earlier versions did not keep that.
        warning: Option<Warned>,
        /// When.
        at: Millis,
    },
    /// A person's terminal confirmed that it displayed that a notice was recalled.
    RecallShown {
        /// The notice's letter.
        letter: LetterDigest,
        /// Name of the person.
        person: String,
        /// When.
        at: Millis,
    },
    /// A notice's content is about to be opened for a person, in a list or alone, shown on a screen or not.
    OpenedFor {
        /// Which letter.
        letter: LetterDigest,
        /// Name of the person.
        person: String,
        /// When.
        at: Millis,
    },
}

impl Frame {
    /// The letter that this frame puts on its way, if it does.
    pub(super) fn sends(&self) -> Option<&Letter> {
        match self {
            Frame::Sent { letter, .. } | Frame::Own { carrier: Some(letter), .. } => Some(letter),
            _ => None,
        }
    }

    /// When it was made.
    pub(super) fn at(&self) -> Millis {
        match self {
            Frame::Sent { at, .. }
            | Frame::Received { at, .. }
            | Frame::Own { at, .. }
            | Frame::Told { at, .. }
            | Frame::Ended { at, .. }
            | Frame::Shown { at, .. }
            | Frame::Stepped { at, .. }
            | Frame::Opened { at, .. }
            | Frame::Withheld { at, .. }
            | Frame::Called { at, .. }
            | Frame::Provisional { at, .. }
            | Frame::Confirmed { at, .. }
            | Frame::Recalled { at, .. }
            | Frame::RecallShown { at, .. }
            | Frame::OpenedFor { at, .. } => *at,
        }
    }

    /// Whether it holds a person's words, or whom a notice names or what warning it was, outside a sealed letter.
    pub(super) fn has_words(&self) -> bool {
        if let Frame::Recalled { desks, warning, .. } = self {
            return !desks.is_empty() || warning.is_some();
        }
        let (Frame::Received { receipt, .. } | Frame::Own { receipt, .. } | Frame::Told { receipt, .. }) = self else {
            return false;
        };
        receipt.receipt.answer.as_ref().is_some_and(|(_, text)| !text.is_empty())
    }

    /// The bytes of a frame.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut w = Writer::new(DOMAIN, VERSION);
        match self {
            Frame::Sent { letter, sender, at } => {
                w.u8(0).value(letter).str(sender).value(at);
            }
            Frame::Received { letter, receipt, at } => {
                w.u8(1).value(letter).value(receipt).value(at);
            }
            Frame::Own { receipt, carrier, at } => {
                w.u8(2).value(receipt);
                w.option(carrier.as_ref(), |w, l| {
                    w.value(l);
                });
                w.value(at);
            }
            Frame::Told { receipt, at } => {
                w.u8(3).value(receipt).value(at);
            }
            Frame::Ended { letter, at } => {
                w.u8(4).array(letter).value(at);
            }
            Frame::Stepped { letter, step, at } => {
                w.u8(5).array(letter).u8(*step as u8).value(at);
            }
            Frame::Shown { letter, person, at } => {
                w.u8(6).array(letter).str(person).value(at);
            }
            Frame::Opened { letter, at } => {
                w.u8(7).array(letter).value(at);
            }
            Frame::Withheld { notice, from, at } => {
                w.u8(8).value(notice).value(from).value(at);
            }
            Frame::Called { letter, step, at } => {
                w.u8(9).array(letter);
                w.option(*step, |w, s| {
                    w.u8(s as u8);
                });
                w.value(at);
            }
            Frame::Provisional { notice, at } => {
                w.u8(10).value(notice).value(at);
            }
            Frame::Confirmed { notice, by, at } => {
                w.u8(11).value(notice).str(by).value(at);
            }
            // Kind 15 is kind 12 of a warning.
            Frame::Recalled { letter, receipt, desks, warning, at } => {
                w.u8(if warning.is_some() { 15 } else { 12 }).value(letter).value(receipt);
                w.list(desks.iter(), |w, d| {
                    w.str(d);
                });
                if let Some(Warned { level, kind, about }) = warning {
                    w.value(level).value(kind).option(about.as_ref(), |w, n| {
                        w.value(n);
                    });
                }
                w.value(at);
            }
            Frame::RecallShown { letter, person, at } => {
                w.u8(13).array(letter).str(person).value(at);
            }
            Frame::OpenedFor { letter, person, at } => {
                w.u8(14).array(letter).str(person).value(at);
            }
        }
        w.finish()
    }

    /// Reads what [`Frame::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`CanonError`] for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Frame, CanonError> {
        let mut r = Reader::new(bytes, DOMAIN, VERSION)?;
        let frame = match r.u8()? {
            0 => Frame::Sent { letter: r.value()?, sender: r.str(256)?.to_owned(), at: r.value()? },
            1 => Frame::Received { letter: r.value()?, receipt: r.value()?, at: r.value()? },
            2 => Frame::Own { receipt: r.value()?, carrier: r.option(|r| r.value())?, at: r.value()? },
            3 => Frame::Told { receipt: r.value()?, at: r.value()? },
            4 => Frame::Ended { letter: r.array()?, at: r.value()? },
            5 => Frame::Stepped { letter: r.array()?, step: read_step(&mut r)?, at: r.value()? },
            6 => Frame::Shown { letter: r.array()?, person: r.str(256)?.to_owned(), at: r.value()? },
            7 => Frame::Opened { letter: r.array()?, at: r.value()? },
            8 => Frame::Withheld { notice: r.value()?, from: r.value()?, at: r.value()? },
            9 => Frame::Called { letter: r.array()?, step: r.option(read_step)?, at: r.value()? },
            10 => Frame::Provisional { notice: r.value()?, at: r.value()? },
            11 => Frame::Confirmed { notice: r.value()?, by: r.str(256)?.to_owned(), at: r.value()? },
            kind @ (12 | 15) => Frame::Recalled {
                letter: r.value()?,
                receipt: r.value()?,
                desks: r.list(ADDRESSEES, |r| Ok(r.str(256)?.to_owned()))?,
                warning: if kind == 15 { Some(read_warned(&mut r)?) } else { None },
                at: r.value()?,
            },
            13 => Frame::RecallShown { letter: r.array()?, person: r.str(256)?.to_owned(), at: r.value()? },
            14 => Frame::OpenedFor { letter: r.array()?, person: r.str(256)?.to_owned(), at: r.value()? },
            _ => return Err(CanonError::Invalid("frame")),
        };
        r.finish()?;
        Ok(frame)
    }
}

fn read_warned(r: &mut Reader<'_>) -> Result<Warned, CanonError> {
    Ok(Warned { level: r.value()?, kind: r.value()?, about: r.option(|r| r.value())? })
}

fn read_step(r: &mut Reader<'_>) -> Result<Step, CanonError> {
    Step::ALL.get(usize::from(r.u8()?)).copied().ok_or(CanonError::Invalid("step"))
}
