//! What wakes people up outside the screens: told to a command that the agency provides.

use crate::domain::ids::{AgencyId, NoticeId};
use crate::domain::label::Grade;
use crate::domain::notice::Precedence;
use crate::notice::{LetterDigest, Step};

/// Something that somebody should know of; never what a notice says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ring {
    /// `received`, or the name of an alarm or escalation.
    pub event: &'static str,
    /// Which notice.
    pub notice: NoticeId,
    /// The other side.
    pub agency: AgencyId,
    /// Urgency.
    pub precedence: Precedence,
    /// Grade.
    pub grade: Grade,
    /// 演练.
    pub exercise: bool,
    /// Whom to call, as the configuration names them.
    pub call: Vec<String>,
    /// What the book is told when it was taken: which letter, and for which step; none for its arrival. Nothing of a notice
    /// that another node has.
    pub of: Option<(LetterDigest, Option<Step>)>,
}

/// Takes rings without waiting; `node` plugs command and webhook in.
pub trait Bell: Send + Sync {
    /// Rings. The book is told when it was taken; what was not is rung again at the next start.
    fn ring(&self, ring: Ring);
}

/// Whom to call when nobody acknowledges, in this order.
#[derive(Debug, Clone, Default)]
pub struct DutyChain {
    /// First.
    pub deputy: Vec<String>,
    /// Then.
    pub chain: Vec<String>,
    /// At last, for a flash.
    pub out_of_band: Vec<String>,
}
