//! A body that comes in pieces behind what is said of it, checked while it passes.

use crate::domain::fault::Fault;
use crate::vault::Pieces;
use std::future::Future;
use std::pin::Pin;

/// Passes a text on: as long as was said, UTF-8, and not blank. What is wrong with it is kept, for whoever sent it.
pub(super) struct Passing<'a> {
    pieces: &'a mut dyn Pieces,
    /// Bytes that are to come.
    left: usize,
    /// Bytes that were whole characters.
    at: usize,
    /// The beginning of a character that a piece was cut in.
    amid: Vec<u8>,
    blank: bool,
    wrong: Option<Fault>,
}

impl<'a> Passing<'a> {
    pub(super) fn new(pieces: &'a mut dyn Pieces, bytes: usize) -> Passing<'a> {
        Passing { pieces, left: bytes, at: 0, amid: Vec::new(), blank: true, wrong: None }
    }

    /// What was wrong with the text, if anything was.
    pub(super) fn wrong(self) -> Option<Fault> {
        self.wrong
    }

    fn pass(&mut self, piece: &[u8]) -> Result<(), Fault> {
        let more = || Fault::usage("BAD_BODY", "more of the text came than was announced");
        self.left = self.left.checked_sub(piece.len()).ok_or_else(more)?;
        self.amid.extend_from_slice(piece);
        let whole = match std::str::from_utf8(&self.amid) {
            Ok(_) => self.amid.len(),
            // A character that goes on in the next piece.
            Err(e) if e.error_len().is_none() && self.left > 0 => e.valid_up_to(),
            Err(e) => {
                let offset = self.at.saturating_add(e.valid_up_to());
                let why = format!("the text is not UTF-8: the first wrong byte is at offset {offset}");
                return Err(Fault::usage("BAD_BODY", why));
            }
        };
        let text: Vec<u8> = self.amid.drain(..whole).collect();
        self.blank &= std::str::from_utf8(&text).is_ok_and(|t| t.trim().is_empty());
        self.at = self.at.saturating_add(whole);
        Ok(())
    }

    fn end(&self) -> Result<(), Fault> {
        if self.left > 0 {
            return Err(Fault::usage("BAD_BODY", format!("{} bytes of the text did not come", self.left)));
        }
        if self.blank { Err(Fault::usage("BAD_BODY", "a text is empty")) } else { Ok(()) }
    }
}

impl Pieces for Passing<'_> {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Result<Option<Vec<u8>>, String>> + Send + '_>> {
        Box::pin(async move {
            let piece = self.pieces.next().await?;
            let checked = match &piece {
                Some(piece) => self.pass(piece),
                None => self.end(),
            };
            match checked {
                Ok(()) => Ok(piece),
                Err(fault) => {
                    let why = fault.message.clone();
                    self.wrong = Some(fault);
                    Err(why)
                }
            }
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    struct Sent(VecDeque<Vec<u8>>);

    impl Pieces for Sent {
        fn next(&mut self) -> Pin<Box<dyn Future<Output = Result<Option<Vec<u8>>, String>> + Send + '_>> {
            let next = self.0.pop_front();
            Box::pin(async move { Ok(next) })
        }
    }

    /// What comes out, or what is wrong with it.
    fn passed(text: &[u8], piece: usize, said: usize) -> Result<Vec<u8>, String> {
        let mut sent = Sent(text.chunks(piece).map(<[u8]>::to_vec).collect());
        let mut passing = Passing::new(&mut sent, said);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut all = Vec::new();
        loop {
            match runtime.block_on(passing.next()) {
                Ok(Some(piece)) => all.extend_from_slice(&piece),
                Ok(None) => return Ok(all),
                Err(_) => return Err(passing.wrong().unwrap().message),
            }
        }
    }

    #[test]
    fn a_text_passes_wherever_it_is_cut() {
        let text = "演练：三号口岸\n".as_bytes();
        for piece in 1..=text.len() {
            assert_eq!(passed(text, piece, text.len()).unwrap(), text, "{piece}");
            assert!(passed(text, piece, text.len() + 1).unwrap_err().contains("1 bytes"));
            assert!(passed(text, piece, text.len() - 1).is_err());
            let broken = [text, &[0xff], text].concat();
            assert!(passed(&broken, piece, broken.len()).unwrap_err().contains(&format!("offset {}", text.len())));
            let cut = text.get(..4).unwrap();
            assert!(passed(cut, piece, 4).unwrap_err().contains("offset 3"), "cut amid a character");
        }
        assert!(passed(b" \n\t ", 2, 4).unwrap_err().contains("empty"));
    }
}
