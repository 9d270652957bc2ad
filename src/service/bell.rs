//! What wakes people up outside the screens: told to a command that the agency provides.

use crate::domain::ids::{AgencyId, NoticeId};
use crate::domain::label::Grade;
use crate::domain::notice::Precedence;

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
}

/// Takes rings without waiting; `node` plugs the command in.
pub trait Bell: Send + Sync {
    /// Rings. A ring that cannot be taken is told in the log: the notice itself stands in the book.
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
