//! Frames that hold a person's words in clear, and how they lie on disk: sealed under a key of this node's ring.
//!
//! Letters are sealed already; of the other frames only receipts hold words, the text of an answer, and a recall whom its
//! notice named. Their grade is that of the notice, so they are not to be read on a disk that somebody carried away.
//!
//! The nonce is a keyed hash of the frame: the same frame sealed again gives the same bytes, and two frames share a nonce
//! only if 96 bits of HMAC-SHA-256 do (RFC 5297 §1.3 has the idea; a journal holds far fewer than 2^32 frames).

use super::error::NoticeError;
use super::frame::Frame;
use crate::domain::canon::{Reader, Writer};
use crate::seal::{KeyRing, hmac, open_one, seal_one};
use zeroize::Zeroizing;

const DOMAIN: &str = "hufu.notice-frame-sealed";
const VERSION: u16 = 1;
/// A frame with a letter and its receipt; the journal takes no larger one either.
const FRAME_BYTES: usize = 1 << 20;
const STEP: &str = "frame of notices";

/// Seals and opens frames of one node's journal.
pub(super) struct AtRest {
    seal: Zeroizing<[u8; 32]>,
    nonce: Zeroizing<[u8; 32]>,
}

impl AtRest {
    pub(super) fn new(ring: &KeyRing) -> AtRest {
        AtRest { seal: ring.derive("notices-at-rest"), nonce: ring.derive("notices-at-rest/nonce") }
    }

    /// The bytes of the journal.
    pub(super) fn seal_frame(&self, frame: &Frame) -> Result<Vec<u8>, NoticeError> {
        if !frame.has_words() {
            return Ok(frame.to_bytes());
        }
        let plain = Zeroizing::new(frame.to_bytes());
        let mac = hmac(&self.nonce, DOMAIN, &[&plain]);
        let nonce = mac.first_chunk::<12>().copied().unwrap_or_default();
        let sealed = seal_one(&self.seal, nonce, DOMAIN.as_bytes(), &plain, STEP).map_err(NoticeError::Seal)?;
        Ok(Writer::new(DOMAIN, VERSION).array(&nonce).bytes(&sealed).finish())
    }

    /// Reads what [`AtRest::seal_frame`] wrote. A frame that an earlier version left in clear is read as it is.
    pub(super) fn open_frame(&self, bytes: &[u8]) -> Result<Frame, NoticeError> {
        let Ok(mut r) = Reader::new(bytes, DOMAIN, VERSION) else { return Ok(Frame::from_bytes(bytes)?) };
        let nonce = r.array()?;
        let sealed = r.bytes(FRAME_BYTES)?;
        let plain = open_one(&self.seal, nonce, DOMAIN.as_bytes(), sealed, STEP).map_err(NoticeError::Seal)?;
        r.finish()?;
        Ok(Frame::from_bytes(&plain)?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::super::receipt::Receipt;
    use super::*;
    use crate::domain::ids::{NodeId, NoticeId};
    use crate::domain::label::Grade;
    use crate::domain::notice::{Answer, ReceiptState};
    use crate::domain::time::Millis;
    use crate::seal::Counter;

    fn ring(seed: u64) -> KeyRing {
        KeyRing::create(Grade::Secret, &mut Counter::at(seed)).unwrap()
    }

    fn answered(ring: &KeyRing, text: &str) -> Frame {
        let receipt = Receipt {
            federation: "test".parse().unwrap(),
            notice: NoticeId::new(Millis(1), [1; 4], &mut Counter::at(1)),
            letter: [3; 32],
            addressee: "customs".parse().unwrap(),
            node: NodeId(7),
            state: ReceiptState::Answered,
            time: Millis(5),
            previous: None,
            by: None,
            answer: (!text.is_empty()).then(|| (Answer::Refused, text.to_owned())),
        };
        Frame::Told { receipt: receipt.sign(&ring.signing_key().unwrap()), at: Millis(6) }
    }

    #[test]
    fn words_are_sealed_and_come_back_and_nobody_else_reads_them() {
        let (ring, other) = (ring(1), ring(1 << 20));
        let rest = AtRest::new(&ring);
        let frame = answered(&ring, "车辆已在二号通道截停");
        let bytes = rest.seal_frame(&frame).unwrap();
        assert!(!bytes.windows(9).any(|w| w == "二号通".as_bytes()));
        assert_eq!(rest.open_frame(&bytes).unwrap(), frame);
        assert!(AtRest::new(&other).open_frame(&bytes).is_err());
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            if let Some(b) = bad.get_mut(at) {
                *b ^= 1;
            }
            assert!(rest.open_frame(&bad).is_err(), "byte {at}");
        }
    }

    #[test]
    fn frames_without_words_and_those_of_an_earlier_version_lie_as_they_are() {
        let ring = ring(1);
        let rest = AtRest::new(&ring);
        let silent = answered(&ring, "");
        assert_eq!(rest.seal_frame(&silent).unwrap(), silent.to_bytes());
        let old = answered(&ring, "早先的答复");
        assert_eq!(rest.open_frame(&old.to_bytes()).unwrap(), old);
    }
}
