//! The one way to plaintext: for people, and for the index.

use super::error::VaultError;
use super::holder::{Held, Vault};
use super::large::Content;
use crate::audit::AuditReceipt;
use crate::domain::canon::Canon;
use crate::domain::label::Label;
use crate::domain::record::Meta;
use crate::seal::{open_portion, open_portion_from};
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
        let header = held.object.envelope.header();
        if !receipt.covers(header.id, header.version) {
            return Err(VaultError::Receipt);
        }
        self.open_all(held)
    }

    /// Opens a held record for the search index of its grade, not for a person. `receipt` must be that of a durable
    /// `index` event naming this very version.
    pub fn text_for_index(&self, held: &Held, receipt: &AuditReceipt) -> Result<Disclosed, VaultError> {
        let header = held.object.envelope.header();
        if !receipt.covers_indexing(header.id, header.version) {
            return Err(VaultError::Receipt);
        }
        self.open_all(held)
    }

    fn open_all(&self, held: &Held) -> Result<Disclosed, VaultError> {
        let header = held.object.envelope.header();
        // What cannot be read is this node's damage; what is read and does not open was sealed so.
        let spoilt =
            |content: &Content, error: &VaultError| self.spoilt((held.record(), held.version()), content, error);
        let mut apart = match &held.content {
            Some(content) => Some((content, content.reader().inspect_err(|e| spoilt(content, e))?)),
            None => None,
        };
        let mut meta = None;
        let mut portions = Vec::new();
        for (n, portion) in header.portions.iter().enumerate() {
            let key = held.opened.data_key(&held.object, n)?;
            let text = match &mut apart {
                Some((content, reader)) => {
                    let content: &Content = content;
                    let mut next = |bytes: usize| reader.read(bytes).inspect_err(|e| spoilt(content, e));
                    open_portion_from::<VaultError>(&held.object.envelope, n, &key, &mut next)?
                }
                None => open_portion(&held.object.envelope, n, &key)?,
            };
            if portion.media_type == super::rules::META_TYPE {
                meta = Some(Meta::from_canon(&text)?);
            } else {
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
}
