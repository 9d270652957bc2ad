//! The objects of one push: an audience object comes with the first that needs it, and the others name it.
//!
//! Nothing is believed of a name. What lies under it here, or came in the same push, has this very digest, and the object is
//! then checked with it as if its bytes had come again ([`super::rules`]). Only the sender's own audience objects are looked for:
//! whoever names another's learns nothing of whether it is here.

use super::error::VaultError;
use super::holder::Vault;
use super::object::SealedObject;
use super::shared::SharedAudience;
use crate::domain::ids::AgencyId;
use std::collections::BTreeMap;

/// What an object brings of its audience object.
pub enum Brought<'a> {
    /// All of it.
    Bytes(&'a [u8]),
    /// The digest of its bytes.
    Name(&'a [u8]),
}

/// A push of one agency that is put together object by object, in their order.
pub struct Arriving<'a> {
    vault: &'a Vault,
    sender: &'a AgencyId,
    /// What came with its objects so far.
    came: BTreeMap<[u8; 32], SharedAudience>,
}

impl Vault {
    /// Begins with a push.
    pub fn arriving<'a>(&'a self, sender: &'a AgencyId) -> Arriving<'a> {
        Arriving { vault: self, sender, came: BTreeMap::new() }
    }
}

impl Arriving<'_> {
    /// Parses the next object. Parsing checks form; whether it is taken is [`Vault::accept`].
    ///
    /// # Errors
    /// [`VaultError::AudienceWanted`] when nothing of the sender is known by the name; when a part does not parse.
    pub fn object(&mut self, envelope: &[u8], grant: &[u8], brought: &Brought<'_>) -> Result<SealedObject, VaultError> {
        // First: whatever this object is like, the others of the push may name what came with it.
        let audience = self.audience(brought);
        SealedObject::assemble(envelope, grant, || audience)
    }

    fn audience(&mut self, brought: &Brought<'_>) -> Result<SharedAudience, VaultError> {
        let name: &[u8; 32] = match *brought {
            Brought::Bytes(bytes) => {
                let audience = self.vault.intake.audience_of(bytes)?;
                self.came.insert(*audience.name(), audience.clone());
                return Ok(audience);
            }
            Brought::Name(name) => {
                name.try_into().map_err(|_| VaultError::Rule("the name of its audience key is no digest"))?
            }
        };
        // One that cannot be read here is as good as none: it comes again.
        let found = self.came.get(name).cloned().or_else(|| self.vault.intake.audience(name).ok());
        found.filter(|a| a.scope().origin == *self.sender).ok_or(VaultError::AudienceWanted)
    }
}
