//! A letter: what travels from one agency's node to another's, sealed to the addressee's key of the grade.
//!
//! The header is signed by the sending node and is all that a relay sees: who writes to whom, how urgent, which
//! grade, until when. Subject, body, names and attachments are in the sealed content. The digest of header and
//! ciphertext names the letter in receipts (P24).

use super::error::NoticeError;
use crate::domain::canon::{Canon, CanonError, Reader, Writer};
use crate::domain::ids::{AgencyId, FederationId, NodeId, NoticeId, RecordId};
use crate::domain::label::Grade;
use crate::domain::notice::{ADDRESSEES, ATTACHMENTS, NOTICE_BODY_BYTES, Precedence, SUBJECT_CHARS, Warning};
use crate::domain::time::{Entropy, Millis};
use crate::seal::{
    GradePublic, GradeSecret, PublicKey, SealError, Signature, SigningKey, digest, open_with, pad_coarsely, seal_to,
    sha256, unpad,
};
use zeroize::Zeroizing;

const DOMAIN: &str = "hufu.letter";
const CONTENT: &str = "hufu.notice-content";
const VERSION: u16 = 1;
const PROVISIONAL: u16 = 2;
/// Largest sealed content, in bytes: the body and the other fields in the padding's largest class, and what sealing adds.
pub const LETTER_BYTES: usize = 2 * NOTICE_BODY_BYTES + (4 << 10);

/// Names a letter: digest of its signed header and ciphertext.
pub type LetterDigest = [u8; 32];

/// What a letter carries. The order is format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LetterKind {
    /// A notice.
    Notice,
    /// A receipt that goes back to the sender.
    Receipt,
    /// Withdraws a notice that nobody has seen yet.
    Cancel,
    /// Takes a notice back, seen or not.
    Recall,
    /// Says that a classifier confirmed a provisional marking.
    Confirm,
}

/// What everybody on the way may know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterHeader {
    /// Federation.
    pub federation: FederationId,
    /// Sending agency.
    pub from: AgencyId,
    /// Sending node; its key signs.
    pub node: NodeId,
    /// Addressee.
    pub to: AgencyId,
    /// The notice it belongs to; several addressees' letters carry the same one.
    pub notice: NoticeId,
    /// What it carries.
    pub kind: LetterKind,
    /// Urgency.
    pub precedence: Precedence,
    /// 演练: never mixed with real traffic.
    pub exercise: bool,
    /// Whether the addressee must acknowledge (action) or is told only (information).
    pub action: bool,
    /// 线索: the addressee has 30 minutes to acknowledge it.
    pub lead: bool,
    /// Grade; the content is sealed to the addressee's key of it.
    pub grade: Grade,
    /// When it was accepted, by the sender's clock.
    pub created: Millis,
    /// Delivery is tried until then.
    pub expires: Millis,
}

impl LetterHeader {
    /// The header of a letter that `node`, of the addressee, sends back with a receipt.
    pub(super) fn back(&self, node: NodeId, now: Millis) -> LetterHeader {
        LetterHeader {
            from: self.to.clone(),
            node,
            to: self.from.clone(),
            kind: LetterKind::Receipt,
            action: false,
            lead: false,
            created: now,
            expires: now.plus_ms(self.precedence.lifetime_ms()),
            ..self.clone()
        }
    }
}

impl Canon for LetterKind {
    fn write(&self, w: &mut Writer) {
        w.u8(*self as u8);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        match r.u8()? {
            0 => Ok(LetterKind::Notice),
            1 => Ok(LetterKind::Receipt),
            2 => Ok(LetterKind::Cancel),
            3 => Ok(LetterKind::Recall),
            4 => Ok(LetterKind::Confirm),
            _ => Err(CanonError::Invalid("kind of letter")),
        }
    }
}

impl Canon for LetterHeader {
    fn write(&self, w: &mut Writer) {
        let LetterHeader { federation, from, node, to, notice, kind, precedence, exercise, action, lead, .. } = self;
        let LetterHeader { grade, created, expires, .. } = self;
        w.value(federation).value(from).value(node).value(to).value(notice).value(kind).value(precedence);
        w.flag(*exercise).flag(*action).flag(*lead).value(grade).value(created).value(expires);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(LetterHeader {
            federation: r.value()?,
            from: r.value()?,
            node: r.value()?,
            to: r.value()?,
            notice: r.value()?,
            kind: r.value()?,
            precedence: r.value()?,
            exercise: r.flag()?,
            action: r.flag()?,
            lead: r.flag()?,
            grade: r.value()?,
            created: r.value()?,
            expires: r.value()?,
        })
    }
}

/// A signed, sealed letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The header.
    pub header: LetterHeader,
    sealed: Vec<u8>,
    signature: Signature,
}

impl Letter {
    /// Seals `content` to the addressee's key of the header's grade and signs.
    ///
    /// # Errors
    /// [`NoticeError::Seal`] when the key is not usable, [`NoticeError::TooLarge`] when nobody would read it.
    pub fn seal(
        header: LetterHeader,
        content: &[u8],
        to: &GradePublic,
        key: &SigningKey,
        entropy: &mut dyn Entropy,
    ) -> Result<Letter, NoticeError> {
        let padded = pad_coarsely(content)?;
        let sealed = seal_to(to, DOMAIN.as_bytes(), &header_bytes(&header), &padded, entropy)?;
        if sealed.len() > LETTER_BYTES {
            return Err(NoticeError::TooLarge);
        }
        let signature = key.sign(DOMAIN, &signed_bytes(&header, &sealed));
        Ok(Letter { header, sealed, signature })
    }

    /// Its name in receipts.
    pub fn digest(&self) -> LetterDigest {
        digest("hufu.letter-digest", &[&signed_bytes(&self.header, &self.sealed)])
    }

    /// Whether the node with this key sent it.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        key.verify(DOMAIN, &signed_bytes(&self.header, &self.sealed), &self.signature).is_ok()
    }

    /// The content, with the addressee's secret of the header's grade.
    ///
    /// # Errors
    /// [`NoticeError::Seal`] when it was not sealed to this key under this header.
    pub fn open(&self, secret: &GradeSecret) -> Result<Zeroizing<Vec<u8>>, NoticeError> {
        let padded = open_with(secret, DOMAIN.as_bytes(), &header_bytes(&self.header), &self.sealed)?;
        Ok(Zeroizing::new(unpad(&padded)?.to_vec()))
    }
}

impl Canon for Letter {
    fn write(&self, w: &mut Writer) {
        w.bytes(&header_bytes(&self.header)).bytes(&self.sealed).value(&self.signature);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        let mut h = Reader::new(r.bytes(1024)?, DOMAIN, VERSION)?;
        let header = LetterHeader::read(&mut h)?;
        h.finish()?;
        Ok(Letter { header, sealed: r.bytes(LETTER_BYTES)?.to_vec(), signature: r.value()? })
    }
}

fn header_bytes(header: &LetterHeader) -> Vec<u8> {
    Writer::new(DOMAIN, VERSION).value(header).finish()
}

fn signed_bytes(header: &LetterHeader, sealed: &[u8]) -> Vec<u8> {
    Writer::bare().bytes(&header_bytes(header)).array(&sha256(&[sealed])).finish()
}

/// The sealed content of a notice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// Subject, 1 to 200 characters.
    pub subject: String,
    /// Body, up to 64 KiB of UTF-8.
    pub body: String,
    /// Name of the person who sent it.
    pub sender: String,
    /// Units or persons of the addressee; empty means whoever of the agency may read and is on duty.
    pub desks: Vec<String>,
    /// Everybody it goes to, as its sender wrote them.
    pub addressees: Vec<String>,
    /// Attached records; attaching widens nothing.
    pub attachments: Vec<RecordId>,
    /// The notice that this one updates or follows.
    pub about: Option<NoticeId>,
    /// Set when it is a warning.
    pub warning: Option<Warning>,
    /// Whether its marking waits for a classifier of its sender (P26).
    pub provisional: bool,
}

impl Content {
    /// The bytes that are sealed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Content { subject, body, sender, desks, addressees, attachments, about, warning, provisional } = self;
        let strings = |w: &mut Writer, all: &[String]| {
            w.list(all.iter(), |w, s| {
                w.str(s);
            });
        };
        // Version 2 is version 1 with a provisional marking.
        let mut w = Writer::new(CONTENT, if *provisional { PROVISIONAL } else { VERSION });
        w.str(subject).str(body).str(sender);
        strings(&mut w, desks);
        strings(&mut w, addressees);
        w.list(attachments.iter(), |w, r| {
            w.value(r);
        });
        w.option(about.as_ref(), |w, n| {
            w.value(n);
        });
        w.option(warning.as_ref(), |w, x| {
            w.value(x);
        });
        w.finish()
    }

    /// Reads what [`Content::to_bytes`] wrote, trusting nothing in it.
    ///
    /// # Errors
    /// [`NoticeError::Canon`] for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Content, NoticeError> {
        let strings = |r: &mut Reader<'_>| r.list(ADDRESSEES, |r| Ok(r.str(256)?.to_owned()));
        let (mut r, provisional) = match Reader::new(bytes, CONTENT, VERSION) {
            Ok(r) => (r, false),
            Err(_) => (Reader::new(bytes, CONTENT, PROVISIONAL)?, true),
        };
        let content = Content {
            subject: r.str(SUBJECT_CHARS * 4)?.to_owned(),
            body: r.str(NOTICE_BODY_BYTES)?.to_owned(),
            sender: r.str(256)?.to_owned(),
            desks: strings(&mut r)?,
            addressees: strings(&mut r)?,
            attachments: r.list(ATTACHMENTS, |r| r.value())?,
            about: r.option(|r| r.value())?,
            warning: r.option(|r| r.value())?,
            provisional,
        };
        r.finish()?;
        Ok(content)
    }
}

impl From<SealError> for NoticeError {
    fn from(e: SealError) -> Self {
        NoticeError::Seal(e)
    }
}
