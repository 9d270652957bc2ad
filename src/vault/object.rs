//! A sealed object: envelope, first grant and audience key, pushed and pulled together, and stored as what cannot be found
//! elsewhere.

use super::error::VaultError;
use super::shared::{AUDIENCE_BYTES, SharedAudience};
use super::sync::Parts;
use crate::domain::canon::{Reader, Writer};
use crate::seal::{ENVELOPE_BYTES, Envelope, GRANT_BYTES, SealedGrant, read_together, write_together};

const BLOB: &str = "hufu.vault.object";
/// The three parts whole: what stands before content that comes in pieces, and every blob of earlier versions of the program.
const WHOLE: u16 = 1;
/// Of a stored blob: names the audience object. What was not signed together is written so; in an earlier version of the program
/// also what was, without the grant's proof.
const NAMED: u16 = 2;
/// Of a stored blob: names the audience object, and leaves out of both what follows from the rest.
const TOGETHER: u16 = 3;
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
    pub audience: SharedAudience,
}

impl SealedObject {
    /// Parses the parts as they travel.
    pub fn from_parts(envelope: &[u8], grant: &[u8], audience: &[u8]) -> Result<SealedObject, VaultError> {
        SealedObject::assemble(envelope, grant, || SharedAudience::from_bytes(audience))
    }

    /// The same with an audience object that was found otherwise.
    pub(super) fn assemble(
        envelope: &[u8],
        grant: &[u8],
        audience: impl FnOnce() -> Result<SharedAudience, VaultError>,
    ) -> Result<SealedObject, VaultError> {
        if envelope.len() > ENVELOPE_BYTES + AROUND || grant.len() > GRANT_BYTES + 1024 {
            return Err(VaultError::TooLarge);
        }
        Ok(SealedObject {
            envelope: Envelope::from_bytes(envelope)?,
            grant: SealedGrant::from_bytes(grant)?,
            audience: audience()?,
        })
    }

    /// The three parts as they travel.
    pub(super) fn parts(&self) -> Parts {
        (self.envelope.to_bytes(), self.grant.to_bytes(), self.audience.bytes().to_vec())
    }

    /// Parses what stands before content that comes in pieces; [`Outgoing::head`](super::Outgoing::head) wrote it.
    ///
    /// # Errors
    /// When it does not parse, or its content is in it.
    pub fn from_head(bytes: &[u8]) -> Result<SealedObject, VaultError> {
        let object = SealedObject::from_blob(bytes)?;
        if object.envelope.is_apart() { Ok(object) } else { Err(VaultError::Rule("its content is in it already")) }
    }

    /// The bytes of what stands before content that comes in pieces.
    pub(super) fn to_blob(&self) -> Vec<u8> {
        Writer::new(BLOB, WHOLE)
            .bytes(&self.envelope.to_bytes())
            .bytes(&self.grant.to_bytes())
            .bytes(self.audience.bytes())
            .finish()
    }

    fn from_blob(bytes: &[u8]) -> Result<SealedObject, VaultError> {
        let mut r = Reader::new(bytes, BLOB, WHOLE)?;
        let (envelope, grant, audience) = (r.bytes(usize::MAX)?, r.bytes(usize::MAX)?, r.bytes(usize::MAX)?);
        r.finish()?;
        SealedObject::from_parts(envelope, grant, audience)
    }

    /// The bytes of one stored blob: everything but the audience object, which it names ([`super::shared`]). Parts that were
    /// put together again are those that were taken in, byte for byte.
    pub(super) fn to_stored(&self) -> Vec<u8> {
        if let Some(both) = write_together(&self.envelope, &self.grant, &self.audience) {
            return Writer::new(BLOB, TOGETHER).array(self.audience.name()).array(&both).finish();
        }
        Writer::new(BLOB, NAMED)
            .bytes(&self.envelope.to_bytes())
            .flag(false)
            .bytes(&self.grant.to_bytes())
            .array(self.audience.name())
            .finish()
    }

    /// Reads a stored blob of any version; `shared` finds the audience object that it names.
    pub(super) fn from_stored(
        bytes: &[u8],
        shared: impl FnOnce(&[u8; 32]) -> Result<SharedAudience, VaultError>,
    ) -> Result<SealedObject, VaultError> {
        if let Ok(mut r) = Reader::new(bytes, BLOB, TOGETHER) {
            let audience = shared(&r.array()?)?;
            let (envelope, grant) = read_together(r.take(r.remaining())?, &audience)?;
            return Ok(SealedObject { envelope, grant, audience });
        }
        let Ok(mut r) = Reader::new(bytes, BLOB, NAMED) else { return SealedObject::from_blob(bytes) };
        let envelope = Envelope::from_bytes(r.bytes(ENVELOPE_BYTES + AROUND)?)?;
        let (beside, grant) = (r.flag()?, r.bytes(GRANT_BYTES + 1024)?);
        let audience = r.array()?;
        r.finish()?;
        let grant =
            if beside { SealedGrant::from_bytes_beside(grant, &envelope)? } else { SealedGrant::from_bytes(grant)? };
        Ok(SealedObject { envelope, grant, audience: shared(&audience)? })
    }
}
