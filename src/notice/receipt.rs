//! Receipts: what an addressee's node says became of a letter, signed (P24).

use super::letter::LetterDigest;
use crate::domain::canon::{Canon, CanonError, Reader, Writer};
use crate::domain::ids::{AgencyId, FederationId, NodeId, NoticeId};
use crate::domain::notice::{ANSWER_CHARS, Answer, ReceiptState};
use crate::domain::time::Millis;
use crate::seal::{PublicKey, Signature, SigningKey, digest};

const DOMAIN: &str = "hufu.receipt";
const BY_PERSON: &str = "hufu.receipt-person";
const VERSION: u16 = 1;

/// Who took responsibility. The addressee's node vouches that the key is this person's; the signature is the
/// person's own, made at their terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct By {
    /// Name inside the addressee's agency.
    pub name: String,
    /// The person's key.
    pub key: PublicKey,
    /// Over [`person_bytes`].
    pub signature: Signature,
}

/// One step of a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Federation.
    pub federation: FederationId,
    /// The notice.
    pub notice: NoticeId,
    /// The letter.
    pub letter: LetterDigest,
    /// Whose node says so.
    pub addressee: AgencyId,
    /// Which node.
    pub node: NodeId,
    /// What became of it.
    pub state: ReceiptState,
    /// When, by the addressee's clock.
    pub time: Millis,
    /// Digest of the receipt before this one; none for the first.
    pub previous: Option<[u8; 32]>,
    /// Who; for acknowledged and answered.
    pub by: Option<By>,
    /// The answer with its text; for answered.
    pub answer: Option<(Answer, String)>,
}

/// A receipt with its node's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedReceipt {
    /// What it says.
    pub receipt: Receipt,
    signature: Signature,
}

/// What a person signs to acknowledge or answer.
pub fn person_bytes(
    federation: &FederationId,
    letter: &LetterDigest,
    state: ReceiptState,
    answer: Option<&(Answer, String)>,
    name: &str,
) -> Vec<u8> {
    let mut w = Writer::new(BY_PERSON, VERSION);
    w.value(federation).array(letter).value(&state);
    write_answer(&mut w, answer);
    w.str(name).finish()
}

/// A person's signature under an acknowledgement or answer.
pub fn sign_as_person(bytes: &[u8], key: &SigningKey) -> Signature {
    key.sign(BY_PERSON, bytes)
}

impl Receipt {
    /// Signs as the addressee's node.
    pub fn sign(self, key: &SigningKey) -> SignedReceipt {
        let signature = key.sign(DOMAIN, &self.bytes());
        SignedReceipt { receipt: self, signature }
    }

    fn bytes(&self) -> Vec<u8> {
        Writer::new(DOMAIN, VERSION).value(self).finish()
    }

    /// Whether the person's signature fits what is said.
    pub fn person_signed(&self) -> bool {
        let needs = self.state.is_of_a_person();
        match &self.by {
            None => !needs,
            Some(by) => {
                let said = person_bytes(&self.federation, &self.letter, self.state, self.answer.as_ref(), &by.name);
                needs && by.key.verify(BY_PERSON, &said, &by.signature).is_ok()
            }
        }
    }
}

impl SignedReceipt {
    /// Whether the node with this key said so, and the person named in it too.
    pub fn verifies(&self, key: &PublicKey) -> bool {
        key.verify(DOMAIN, &self.receipt.bytes(), &self.signature).is_ok() && self.receipt.person_signed()
    }

    /// Its name in the next receipt.
    pub fn digest(&self) -> [u8; 32] {
        digest("hufu.receipt-digest", &[&self.receipt.bytes()])
    }
}

fn write_answer(w: &mut Writer, answer: Option<&(Answer, String)>) {
    w.option(answer, |w, (a, text)| {
        w.value(a).str(text);
    });
}

impl Canon for Receipt {
    fn write(&self, w: &mut Writer) {
        let Receipt { federation, notice, letter, addressee, node, state, time, previous, by, answer } = self;
        w.value(federation).value(notice).array(letter).value(addressee).value(node).value(state).value(time);
        w.option(previous.as_ref(), |w, p| {
            w.array(p);
        });
        w.option(by.as_ref(), |w, b| {
            w.str(&b.name).array(b.key.as_bytes()).value(&b.signature);
        });
        write_answer(w, answer.as_ref());
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(Receipt {
            federation: r.value()?,
            notice: r.value()?,
            letter: r.array()?,
            addressee: r.value()?,
            node: r.value()?,
            state: r.value()?,
            time: r.value()?,
            previous: r.option(|r| r.array())?,
            by: r.option(|r| {
                let name = r.str(256)?.to_owned();
                Ok(By { name, key: PublicKey::from_bytes(r.array()?), signature: r.value()? })
            })?,
            answer: r.option(|r| Ok((r.value()?, r.str(ANSWER_CHARS * 4)?.to_owned())))?,
        })
    }
}

impl Canon for SignedReceipt {
    fn write(&self, w: &mut Writer) {
        w.bytes(&self.receipt.bytes()).value(&self.signature);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        let mut body = Reader::new(r.bytes(16 << 10)?, DOMAIN, VERSION)?;
        let receipt = Receipt::read(&mut body)?;
        body.finish()?;
        Ok(SignedReceipt { receipt, signature: r.value()? })
    }
}
