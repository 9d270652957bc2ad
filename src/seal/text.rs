//! The text of a portion whose ciphertext lies apart, opened chunk by chunk.

use super::aead::ChunkOpener;
use super::envelope::{DataKey, Envelope};
use super::error::SealError;
use super::pad::{PREFIX, text_length};
use zeroize::Zeroizing;

/// Opens a text chunk by chunk. What it gives is authentic and in its place; that nothing was changed behind it shows when the
/// last chunk is open.
pub struct TextOpener {
    opener: ChunkOpener,
    /// Bytes of the padded text.
    size: usize,
    /// Bytes of the text that are to come; not known before the first chunk.
    left: Option<usize>,
}

/// Begins to open one portion whose ciphertext lies apart, for `vault::disclose` alone.
///
/// # Errors
/// When it is not there, or the key is not the one that the header commits to.
pub fn open_portion_pieces(envelope: &Envelope, portion: usize, key: &DataKey) -> Result<TextOpener, SealError> {
    let missing = || SealError::Missing { what: "such portion" };
    envelope.check_key(portion, key)?;
    let header = envelope.header();
    let described = header.portions.get(portion).ok_or_else(missing)?;
    let number = u16::try_from(portion).map_err(|_| missing())?;
    let size = usize::try_from(described.padded_size).map_err(|_| SealError::Limit { what: "size of the text" })?;
    let opener = ChunkOpener::new(key.bytes(), &header.context(), number, size)?;
    Ok(TextOpener { opener, size, left: None })
}

impl TextOpener {
    /// Bytes of ciphertext that are to be given next; none after the last.
    pub fn wants(&self) -> Option<usize> {
        self.opener.wants()
    }

    /// The text of the next chunk: nothing where it is padding alone.
    ///
    /// # Errors
    /// When it is not the next chunk, or what it holds is no padded text.
    pub fn open(&mut self, sealed: Vec<u8>) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let wrong = || SealError::Open { step: "padding" };
        let mut chunk = Zeroizing::new(sealed);
        self.opener.open(&mut chunk)?;
        let left = match self.left {
            Some(left) => left,
            None => {
                let length = text_length(&chunk, self.size).ok_or_else(wrong)?;
                chunk.drain(..PREFIX);
                length
            }
        };
        let text = left.min(chunk.len());
        if chunk.iter().skip(text).any(|b| *b != 0) {
            return Err(wrong());
        }
        chunk.truncate(text);
        self.left = Some(left - text);
        Ok(chunk)
    }
}
