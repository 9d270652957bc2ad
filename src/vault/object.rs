//! A sealed object: envelope, first grant and audience key, as stored, pushed and pulled together.

use super::error::VaultError;
use super::sync::Parts;
use crate::domain::canon::{Reader, Writer};
use crate::seal::{AudienceObject, ENVELOPE_BYTES, Envelope, GRANT_BYTES, SealedGrant};

/// Most bytes of an audience object.
const AUDIENCE_BYTES: usize = 1 << 20;
/// What header, proof and lengths add at most, in bytes.
const AROUND: usize = 64 << 10;
/// Most bytes of an object whose content comes in pieces behind it.
pub const HEAD_BYTES: usize = AUDIENCE_BYTES + GRANT_BYTES + 2 * AROUND;

/// The three parts. Parsing checks form; [`super::rules`] checks truth.
#[derive(Debug, Clone)]
pub struct SealedObject {
    /// Content.
    pub envelope: Envelope,
    /// Entitlement.
    pub grant: SealedGrant,
    /// The key of the audience, sealed to each agency.
    pub audience: AudienceObject,
}

impl SealedObject {
    /// Parses the parts as they travel.
    pub fn from_parts(envelope: &[u8], grant: &[u8], audience: &[u8]) -> Result<SealedObject, VaultError> {
        if envelope.len() > ENVELOPE_BYTES + AROUND
            || grant.len() > GRANT_BYTES + 1024
            || audience.len() > AUDIENCE_BYTES
        {
            return Err(VaultError::TooLarge);
        }
        Ok(SealedObject {
            envelope: Envelope::from_bytes(envelope)?,
            grant: SealedGrant::from_bytes(grant)?,
            audience: AudienceObject::from_bytes(audience)?,
        })
    }

    /// The three parts as they travel.
    pub(super) fn parts(&self) -> Parts {
        (self.envelope.to_bytes(), self.grant.to_bytes(), self.audience.to_bytes())
    }

    /// Parses what stands before content that comes in pieces; [`Outgoing::head`](super::Outgoing::head) wrote it.
    ///
    /// # Errors
    /// When it does not parse, or its content is in it.
    pub fn from_head(bytes: &[u8]) -> Result<SealedObject, VaultError> {
        let object = SealedObject::from_blob(bytes)?;
        if object.envelope.is_apart() { Ok(object) } else { Err(VaultError::Rule("its content is in it already")) }
    }

    /// The bytes of one stored blob, and of what stands before content that comes in pieces.
    pub(super) fn to_blob(&self) -> Vec<u8> {
        Writer::new("hufu.vault.object", 1)
            .bytes(&self.envelope.to_bytes())
            .bytes(&self.grant.to_bytes())
            .bytes(&self.audience.to_bytes())
            .finish()
    }

    /// Reads a stored blob.
    pub(super) fn from_blob(bytes: &[u8]) -> Result<SealedObject, VaultError> {
        let mut r = Reader::new(bytes, "hufu.vault.object", 1)?;
        let (envelope, grant, audience) = (r.bytes(usize::MAX)?, r.bytes(usize::MAX)?, r.bytes(usize::MAX)?);
        r.finish()?;
        SealedObject::from_parts(envelope, grant, audience)
    }
}
