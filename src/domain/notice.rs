//! 通报: the words of urgent messages.

use super::canon::{Canon, CanonError, Reader, Writer};
use super::fault::Fault;
use super::time::Millis;
use std::{fmt, str::FromStr};

/// Largest body of a notice, in bytes; more belongs into a record that is attached.
pub const NOTICE_BODY_BYTES: usize = 64 << 10;
/// Longest subject, in characters.
pub const SUBJECT_CHARS: usize = 200;
/// Most addressees of one notice.
pub const ADDRESSEES: usize = 64;
/// Most attached records.
pub const ATTACHMENTS: usize = 16;
/// Longest text of an answer, in characters.
pub const ANSWER_CHARS: usize = 2_000;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal, $reason:literal, $($(#[$vdoc:meta])* $variant:ident = $text:literal $zh:literal,)*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)*
        }

        impl $name {
            /// All of them, in order. The place is the code in stored bytes.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The word of commands and answers.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            /// The word on Chinese screens.
            pub fn zh(self) -> &'static str {
                match self { $($name::$variant => $zh,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = Fault;
            fn from_str(text: &str) -> Result<Self, Fault> {
                $name::ALL.iter().copied().find(|w| w.as_str() == text || w.zh() == text).ok_or_else(|| {
                    let shown: String = text.chars().take(40).collect();
                    let all: Vec<&str> = $name::ALL.iter().map(|w| w.as_str()).collect();
                    Fault::usage($reason, format!("`{shown}` is no {}", $what)).hint(format!("use {}", all.join(", ")))
                })
            }
        }

        impl Canon for $name {
            fn write(&self, w: &mut Writer) {
                w.u8(*self as u8);
            }
            fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
                $name::ALL.get(usize::from(r.u8()?)).copied().ok_or(CanonError::Invalid($what))
            }
        }
    };
}

words!(
    /// 等级 of urgency, independent of the grade. The most urgent comes first.
    Precedence, "precedence", "UNKNOWN_PRECEDENCE",
    /// 特提: all paths at once.
    Flash = "flash" "特提",
    /// 特急.
    Immediate = "immediate" "特急",
    /// 加急.
    Priority = "priority" "加急",
    /// 平急.
    Routine = "routine" "平急",
);

impl Precedence {
    /// Delivery is tried this long.
    pub const fn lifetime_ms(self) -> u64 {
        match self {
            Precedence::Flash | Precedence::Immediate => 24 * 3_600_000,
            Precedence::Priority => 3 * 24 * 3_600_000,
            Precedence::Routine => 7 * 24 * 3_600_000,
        }
    }
}

/// Times within which something must happen, in milliseconds; by configuration, since public sources differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// Accepted → delivered, for each precedence in order: later is an alarm at the sender.
    pub deliver_ms: [u64; 4],
    /// Accepted → acknowledged by those who must act: later is an alarm at the sender and an escalation at the addressee.
    pub acknowledge_ms: [u64; 4],
}

impl Default for Deadlines {
    fn default() -> Self {
        const MINUTE: u64 = 60_000;
        Deadlines {
            deliver_ms: [10_000, 30_000, 5 * MINUTE, 60 * MINUTE],
            acknowledge_ms: [2 * MINUTE, 30 * MINUTE, 180 * MINUTE, 1440 * MINUTE],
        }
    }
}

impl Deadlines {
    /// Deliver and acknowledge, for one precedence.
    pub fn of(&self, precedence: Precedence) -> (u64, u64) {
        let at = precedence as usize;
        let pick = |all: &[u64; 4]| all.get(at).copied().unwrap_or(u64::MAX);
        (pick(&self.deliver_ms), pick(&self.acknowledge_ms))
    }
}

/// A lead must be acknowledged by all whom it concerns within this time.
pub const LEAD_MS: u64 = 30 * 60_000;

words!(
    /// What an addressee's node says of a notice. Later states come later.
    ReceiptState, "state of a receipt", "UNKNOWN_STATE",
    /// Durable at the addressee.
    Delivered = "delivered" "已送达",
    /// Withdrawn by its sender before anybody saw it.
    Withdrawn = "withdrawn" "已撤回",
    /// A signed-in person's terminal confirmed that it is displayed.
    Presented = "presented" "已呈现",
    /// A named person took responsibility.
    Acknowledged = "acknowledged" "已签收",
    /// A named person answered.
    Answered = "answered" "已答复",
    /// Taken back by its sender after somebody may have seen it: its words are opened for nobody any more.
    Recalled = "recalled" "已收回",
);

impl ReceiptState {
    /// Whether a named person says so, with their signature.
    pub fn is_of_a_person(self) -> bool {
        matches!(self, ReceiptState::Acknowledged | ReceiptState::Answered)
    }

    /// Whether its sender took it back.
    pub fn is_taken_back(self) -> bool {
        matches!(self, ReceiptState::Withdrawn | ReceiptState::Recalled)
    }
}

words!(
    /// What a person answers.
    Answer, "answer", "UNKNOWN_ANSWER",
    /// It was assessed.
    Assessed = "assessed" "已研判",
    /// It is being handled.
    InHand = "in-hand" "办理中",
    /// It is done.
    Closed = "closed" "已办结",
    /// Refused, with a reason.
    Refused = "refused" "拒办",
);

words!(
    /// 预警级别; red is the highest.
    WarningLevel, "level of warning", "UNKNOWN_LEVEL",
    /// 红色.
    Red = "red" "红色",
    /// 橙色.
    Orange = "orange" "橙色",
    /// 黄色.
    Yellow = "yellow" "黄色",
    /// 蓝色.
    Blue = "blue" "蓝色",
);

impl WarningLevel {
    /// How urgently a warning goes out unless its issuer says otherwise.
    pub fn precedence(self) -> Precedence {
        match self {
            WarningLevel::Red => Precedence::Flash,
            WarningLevel::Orange => Precedence::Immediate,
            WarningLevel::Yellow => Precedence::Priority,
            WarningLevel::Blue => Precedence::Routine,
        }
    }
}

words!(
    /// Place of a warning in its chain.
    WarningKind, "kind of warning", "UNKNOWN_KIND",
    /// The first.
    Alert = "alert" "发布",
    /// Takes the place of an earlier one.
    Update = "update" "更新",
    /// Ends an earlier one.
    Cancel = "cancel" "解除",
);

/// 预警: what a notice says beyond its text when it is a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Level.
    pub level: WarningLevel,
    /// Place in the chain; the notice names the earlier one.
    pub kind: WarningKind,
    /// Where, in words, 1 to 200 characters.
    pub area: String,
    /// What to do, at most 2,000 characters.
    pub measures: String,
    /// From when.
    pub start: Millis,
    /// Until when.
    pub end: Millis,
    /// Name of the agency that issues it.
    pub issuer: String,
    /// Its tier.
    pub tier: String,
}

/// Longest area, in characters.
pub const AREA_CHARS: usize = 200;
/// Longest measures, in characters.
pub const MEASURES_CHARS: usize = 2_000;

impl Warning {
    /// Refuses what could not be issued.
    pub fn check(&self) -> Result<(), Fault> {
        let bad = |m: String| Err(Fault::usage("BAD_WARNING", m));
        let area = self.area.chars().count();
        if self.area.trim().is_empty() || area > AREA_CHARS {
            return bad(format!("the area has 1 to {AREA_CHARS} characters"));
        }
        if self.measures.chars().count() > MEASURES_CHARS {
            return bad(format!("the measures have at most {MEASURES_CHARS} characters"));
        }
        if self.end <= self.start {
            return bad("the warning ends before it starts".into());
        }
        Ok(())
    }
}

impl Canon for Warning {
    fn write(&self, w: &mut Writer) {
        let Warning { level, kind, area, measures, start, end, issuer, tier } = self;
        w.value(level).value(kind).str(area).str(measures).value(start).value(end).str(issuer).str(tier);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(Warning {
            level: r.value()?,
            kind: r.value()?,
            area: r.str(AREA_CHARS * 4)?.to_owned(),
            measures: r.str(MEASURES_CHARS * 4)?.to_owned(),
            start: r.value()?,
            end: r.value()?,
            issuer: r.str(400)?.to_owned(),
            tier: r.str(64)?.to_owned(),
        })
    }
}
