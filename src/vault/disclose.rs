//! The one way to plaintext: for people, and for the index.

use super::error::VaultError;
use super::holder::{Held, Vault};
use super::large::ContentReader;
use crate::audit::AuditReceipt;
use crate::domain::canon::Canon;
use crate::domain::ids::AgreementId;
use crate::domain::label::Label;
use crate::domain::limits;
use crate::domain::record::Meta;
use crate::seal::{
    ENVELOPE_BYTES, TextOpener, open_beginning_from, open_portion, open_portion_from, open_portion_pieces,
};
use zeroize::Zeroizing;

/// The next bytes of a text, with the number of the text among those of its envelope.
pub type Piece = (usize, Zeroizing<Vec<u8>>);

/// A record as one person may see it.
pub struct Disclosed {
    /// What it is about.
    pub meta: Meta,
    /// Text portions.
    pub portions: Vec<DisclosedPortion>,
}

/// One text portion.
pub struct DisclosedPortion {
    /// Its label.
    pub label: Label,
    /// UTF-8.
    pub text: Zeroizing<Vec<u8>>,
}

/// A held record that a person reads piece by piece. What it is about is open; a text is opened where it is asked for.
pub struct Disclosing {
    /// What it is about.
    pub meta: Meta,
    held: Held,
    apart: Option<Apart>,
    /// The text that is being read, if it lies apart.
    now: Option<TextOpener>,
    /// Number of the portion behind it.
    next: usize,
}

impl Disclosing {
    /// The label of its texts.
    pub fn label(&self) -> &Label {
        &self.held.label
    }

    /// The agreement under which it is here.
    pub fn agreement(&self) -> Option<&AgreementId> {
        self.held.agreement()
    }

    /// Whether its texts lie apart from their envelope, and come in pieces.
    pub fn is_apart(&self) -> bool {
        self.apart.is_some()
    }

    /// How many texts it has.
    pub fn texts(&self) -> usize {
        self.held.object.envelope.header().portions.len().saturating_sub(1)
    }
}

impl Vault {
    /// Opens a held record for a person, all texts in one piece. `receipt` must be that of a durable, allowed intent naming this
    /// very version; the audit writer alone makes receipts.
    ///
    /// # Errors
    /// [`VaultError::Whole`] when they are too large for that; damage, and what was sealed wrong.
    pub fn disclose(&self, held: &Held, receipt: &AuditReceipt) -> Result<Disclosed, VaultError> {
        covers(held, receipt)?;
        if held.sealed_bytes() > ENVELOPE_BYTES {
            return Err(VaultError::Whole);
        }
        self.open_all(held, usize::MAX)
    }

    /// The same for whoever puts another text in the place of its text: of what is too large for one piece, and has one text
    /// alone, what it is about and no text.
    ///
    /// # Errors
    /// As [`Vault::disclose`].
    pub fn disclose_to_replace(&self, held: &Held, receipt: &AuditReceipt) -> Result<Disclosed, VaultError> {
        match self.disclose(held, receipt) {
            // Beside the meta portion.
            Err(VaultError::Whole) if held.object.envelope.header().portions.len() == 2 => {
                self.disclose_beginning(held, receipt, 0)
            }
            disclosed => disclosed,
        }
    }

    /// The same for lists and snippets: of the texts together only the first `most` bytes, and none of them with 0.
    pub fn disclose_beginning(
        &self,
        held: &Held,
        receipt: &AuditReceipt,
        most: usize,
    ) -> Result<Disclosed, VaultError> {
        covers(held, receipt)?;
        self.open_all(held, most)
    }

    /// Opens a held record for the search index of its grade, not for a person: of its texts together as much as is indexed.
    /// `receipt` must be that of a durable `index` event naming this very version.
    pub fn text_for_index(&self, held: &Held, receipt: &AuditReceipt) -> Result<Disclosed, VaultError> {
        let header = held.object.envelope.header();
        if !receipt.covers_indexing(header.id, header.version) {
            return Err(VaultError::Receipt);
        }
        self.open_all(held, limits::INDEXED_BYTES)
    }

    /// Opens a held record for a person who reads its texts piece by piece. `receipt` is that of [`Vault::disclose`].
    pub fn disclose_in_pieces(&self, held: Held, receipt: &AuditReceipt) -> Result<Disclosing, VaultError> {
        covers(&held, receipt)?;
        let header = held.object.envelope.header();
        let is_first = header.portions.first().is_some_and(|p| p.media_type == super::rules::META_TYPE);
        let sealed = header.ciphertext_sizes().next().filter(|_| is_first);
        let sealed = sealed.ok_or(VaultError::Rule("the envelope has no meta portion"))?;
        let mut apart = self.apart(&held)?;
        let meta = Meta::from_canon(&self.open_one(&held, 0, sealed, usize::MAX, apart.as_mut())?)?;
        check_kind(&held, &meta)?;
        Ok(Disclosing { meta, held, apart, now: None, next: 1 })
    }

    /// The next piece; None at the end of the last text. A text that lies within its envelope is one piece.
    ///
    /// # Errors
    /// When what comes next does not open. What was given before was authentic, and is not all of the text.
    pub fn next_piece(&self, of: &mut Disclosing) -> Result<Option<Piece>, VaultError> {
        loop {
            if let (Some(now), Some(apart)) = (&mut of.now, &mut of.apart)
                && let Some(bytes) = now.wants()
            {
                let sealed = apart.reader.read(bytes).inspect_err(|e| self.unreadable(&of.held, e))?;
                let text = now.open(sealed)?;
                if text.is_empty() {
                    continue;
                }
                return Ok(Some((of.next.saturating_sub(2), text)));
            }
            let portion = of.next;
            if portion > of.texts() {
                return Ok(None);
            }
            of.next += 1;
            if of.apart.is_none() {
                let text = self.open_one(&of.held, portion, 0, usize::MAX, None)?;
                return Ok(Some((portion.saturating_sub(1), text)));
            }
            let key = of.held.opened.data_key(&of.held.object, portion)?;
            of.now = Some(open_portion_pieces(&of.held.object.envelope, portion, &key)?);
        }
    }

    fn apart(&self, held: &Held) -> Result<Option<Apart>, VaultError> {
        let Some(content) = &held.content else { return Ok(None) };
        let reader = content.reader().inspect_err(|e| self.unreadable(held, e))?;
        Ok(Some(Apart { reader, behind: 0 }))
    }

    fn open_all(&self, held: &Held, most: usize) -> Result<Disclosed, VaultError> {
        let header = held.object.envelope.header();
        let mut apart = self.apart(held)?;
        let (mut meta, mut portions, mut left) = (None, Vec::new(), most);
        for ((n, portion), sealed) in header.portions.iter().enumerate().zip(header.ciphertext_sizes()) {
            let is_meta = portion.media_type == super::rules::META_TYPE;
            // What is not shown is not opened, nor read unless something behind it is.
            if !is_meta && left == 0 {
                if let Some(apart) = &mut apart {
                    apart.behind = apart.behind.saturating_add(sealed);
                }
                continue;
            }
            let most = if is_meta { usize::MAX } else { left };
            let mut text = self.open_one(held, n, sealed, most, apart.as_mut())?;
            if is_meta {
                meta = Some(Meta::from_canon(&text)?);
            } else {
                cut(&mut text, left);
                left = left.saturating_sub(text.len());
                portions.push(DisclosedPortion { label: held.label.clone(), text });
            }
        }
        let meta = meta.ok_or(VaultError::Rule("the envelope has no meta portion"))?;
        check_kind(held, &meta)?;
        Ok(Disclosed { meta, portions })
    }

    /// The text of one portion, or at least its first `most` bytes.
    fn open_one(
        &self,
        held: &Held,
        portion: usize,
        sealed: usize,
        most: usize,
        apart: Option<&mut Apart>,
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let (envelope, key) = (&held.object.envelope, held.opened.data_key(&held.object, portion)?);
        let Some(Apart { reader, behind }) = apart else { return Ok(open_portion(envelope, portion, &key)?) };
        reader.skip(*behind).inspect_err(|e| self.unreadable(held, e))?;
        let mut left = sealed;
        let mut next = |bytes: usize| {
            left = left.saturating_sub(bytes);
            reader.read(bytes).inspect_err(|e| self.unreadable(held, e))
        };
        let text = if most == usize::MAX {
            open_portion_from::<VaultError>(envelope, portion, &key, &mut next)?
        } else {
            open_beginning_from::<VaultError>(envelope, portion, &key, most, &mut next)?
        };
        *behind = left;
        Ok(text)
    }

    /// What cannot be read is this node's damage; what is read and does not open was sealed so.
    fn unreadable(&self, held: &Held, error: &VaultError) {
        if let Some(content) = &held.content {
            self.spoilt((held.record(), held.version()), content, error);
        }
    }
}

/// Ciphertexts that lie apart, while they are opened one behind the other.
struct Apart {
    reader: ContentReader,
    /// Bytes up to the next portion that nobody has read.
    behind: usize,
}

fn covers(held: &Held, receipt: &AuditReceipt) -> Result<(), VaultError> {
    let header = held.object.envelope.header();
    if receipt.covers(header.id, header.version) { Ok(()) } else { Err(VaultError::Receipt) }
}

/// The kind is sealed, so this is the first place where its agreement can be held against it.
fn check_kind(held: &Held, meta: &Meta) -> Result<(), VaultError> {
    match &held.kinds {
        Some(kinds) if !kinds.contains(&meta.kind) => Err(VaultError::Rule("its kind is outside its agreement")),
        _ => Ok(()),
    }
}

/// Cuts a text behind `most` bytes, or before the character that these would cut.
fn cut(text: &mut Zeroizing<Vec<u8>>, most: usize) {
    if text.len() <= most {
        return;
    }
    let within = |at: usize| text.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    let end = (most.saturating_sub(3)..=most).rev().find(|at| !within(*at)).unwrap_or(most);
    text.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        let text = "a虎符";
        for (most, expected) in [(0, ""), (1, "a"), (2, "a"), (3, "a"), (4, "a虎"), (6, "a虎"), (7, text), (99, text)]
        {
            let mut bytes = Zeroizing::new(text.as_bytes().to_vec());
            cut(&mut bytes, most);
            assert_eq!(bytes.as_slice(), expected.as_bytes(), "{most}");
        }
    }
}
