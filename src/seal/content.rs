//! Ciphertexts that come in pieces, held against the header that describes them.

use super::digest::{LongDigest, ct_eq};
use super::envelope::CIPHERTEXT;
use super::error::SealError;
use super::header::Header;
use crate::domain::canon::CanonError;

/// Checks the ciphertexts of one envelope, one portion behind the other, while they are read. A portion that is not the one
/// that was signed is found with its last byte, before the next one is looked at.
pub struct ContentCheck {
    to_come: std::vec::IntoIter<(u32, [u8; 32])>,
    now: Option<Portion>,
}

/// The portion that is being read.
struct Portion {
    left: usize,
    hash: LongDigest,
    expected: [u8; 32],
}

impl ContentCheck {
    /// Expects what the header describes.
    ///
    /// # Errors
    /// When a size is none.
    pub fn new(header: &Header) -> Result<ContentCheck, SealError> {
        let sizes = header.ciphertext_sizes().zip(&header.portions);
        let expected = sizes.map(|(size, p)| u32::try_from(size).map(|size| (size, p.ciphertext_hash)));
        let expected = expected.collect::<Result<Vec<_>, _>>().map_err(|_| over())?;
        let mut check = ContentCheck { to_come: expected.into_iter(), now: None };
        check.begin();
        Ok(check)
    }

    /// The next piece, cut wherever its sender likes.
    ///
    /// # Errors
    /// When a portion ended and is not the one of the header, or more came than it describes.
    pub fn update(&mut self, piece: &[u8]) -> Result<(), SealError> {
        let mut rest = piece;
        while !rest.is_empty() {
            let portion = self.now.as_mut().ok_or_else(over)?;
            let (bytes, later) = rest.split_at_checked(portion.left).unwrap_or((rest, Default::default()));
            portion.hash.update(bytes);
            portion.left -= bytes.len();
            rest = later;
            if portion.left == 0 {
                self.end()?;
            }
        }
        Ok(())
    }

    /// Whether everything came and was right.
    pub fn is_whole(&self) -> bool {
        self.now.is_none()
    }

    fn begin(&mut self) {
        let portion = |(size, expected): (u32, [u8; 32])| Portion {
            left: usize::try_from(size).unwrap_or(usize::MAX),
            hash: LongDigest::new(CIPHERTEXT, size),
            expected,
        };
        self.now = self.to_come.next().map(portion);
    }

    /// A portion that is another one keeps the check from ever being whole.
    fn end(&mut self) -> Result<(), SealError> {
        let Some(portion) = self.now.take() else { return Ok(()) };
        if !ct_eq(&portion.hash.finish(), &portion.expected) {
            self.now = Some(Portion { left: usize::MAX, hash: LongDigest::new(CIPHERTEXT, 0), expected: [0; 32] });
            return Err(SealError::Format { what: "content", source: CanonError::Invalid("hash of a ciphertext") });
        }
        self.begin();
        Ok(())
    }
}

fn over() -> SealError {
    SealError::Limit { what: "size of the content" }
}
