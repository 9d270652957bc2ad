//! The one way to plaintext: for people, and for the index.

use super::error::VaultError;
use super::holder::{Held, Vault};
use super::large::ContentReader;
use crate::audit::AuditReceipt;
use crate::domain::canon::Canon;
use crate::domain::label::Label;
use crate::domain::limits;
use crate::domain::record::Meta;
use crate::seal::{open_beginning_from, open_portion, open_portion_from};
use zeroize::Zeroizing;

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

impl Vault {
    /// Opens a held record for a person. `receipt` must be that of a durable, allowed intent naming this very
    /// version; the audit writer alone makes receipts.
    pub fn disclose(&self, held: &Held, receipt: &AuditReceipt) -> Result<Disclosed, VaultError> {
        covers(held, receipt)?;
        self.open_all(held, usize::MAX)
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

    fn open_all(&self, held: &Held, most: usize) -> Result<Disclosed, VaultError> {
        let header = held.object.envelope.header();
        let mut apart = match &held.content {
            Some(content) => {
                Some(Apart { reader: content.reader().inspect_err(|e| self.unreadable(held, e))?, behind: 0 })
            }
            None => None,
        };
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
        // The kind is sealed, so this is the first place where its agreement can be held against it.
        if held.kinds.as_ref().is_some_and(|kinds| !kinds.contains(&meta.kind)) {
            return Err(VaultError::Rule("its kind is outside its agreement"));
        }
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
