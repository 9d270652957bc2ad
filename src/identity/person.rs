//! One entry of an agency's directory.

use super::error::IdentityError;
use super::name::is_person_name;
use crate::domain::canon::{Canon, CanonError, Reader, Writer, read_set, write_set};
use crate::domain::ids::Handle;
use crate::domain::label::{Compartment, Grade};
use crate::domain::limits;
use crate::domain::person::Role;
use crate::domain::time::Entropy;
use crate::seal;
use std::collections::BTreeSet;

const FORMAT: &str = "hufu/directory-entry";
/// Version 2 adds the salt.
const FORMAT_VERSION: u16 = 2;
/// Longest title and unit, in bytes.
const TEXT_BYTES: usize = 800;
/// Longest serial in hex (RFC 5280 §4.1.2.2 allows 20 bytes, and a leading zero).
const SERIAL_BYTES: usize = 42;

/// A person as the own agency's nodes know them. It never leaves them (P1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Name inside the agency, as in the certificate; it never changes.
    pub name: String,
    /// Opaque handle on the ledger; it never changes.
    pub handle: Handle,
    /// Title for people to read; at most 800 bytes.
    pub title: String,
    /// Unit; at most 800 bytes.
    pub unit: String,
    /// Roles held.
    pub roles: BTreeSet<Role>,
    /// Clearance.
    pub clearance: Grade,
    /// Compartments held.
    pub compartments: BTreeSet<Compartment>,
    /// Ed25519 key of the certificate, and of acts of authority.
    pub public_key: [u8; 32],
    /// Serial of the certificate in lower-case hex.
    pub serial: String,
    /// Whether access is taken away.
    pub suspended: bool,
    /// Version of this entry, from 1; the directory sets it.
    pub version: u32,
    /// 32 random bytes for this one version; zeros for an entry of the first format, which has no hash.
    pub salt: [u8; 32],
}

/// A new handle: 128 random bits that say nothing about who it is.
pub fn new_handle(entropy: &mut dyn Entropy) -> Handle {
    let mut bytes = [0u8; 16];
    entropy.fill(&mut bytes);
    Handle::from_bytes(bytes)
}

impl Person {
    /// The hash of this version for the ledger. Whoever has the entry with its salt can show an inspector that it is
    /// the one committed; without the salt the hash says nothing. None for an entry that has no salt.
    pub fn ledger_hash(&self) -> Option<[u8; 32]> {
        let hash = || seal::digest("hufu/directory-entry-hash", &[&self.salt, &self.to_canon()]);
        (self.salt != [0; 32]).then(hash)
    }

    /// Refuses what no directory may hold.
    pub(super) fn check(&self) -> Result<(), IdentityError> {
        let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        if !is_person_name(&self.name) {
            return Err(IdentityError::Entry(
                "the name is 1 to 64 lower-case letters, digits, `-`, `.`, `_`, a letter first",
            ));
        }
        if self.title.len() > TEXT_BYTES || self.unit.len() > TEXT_BYTES {
            return Err(IdentityError::Entry("title and unit are at most 800 bytes"));
        }
        if self.compartments.len() > limits::COMPARTMENTS {
            return Err(IdentityError::Entry("too many compartments"));
        }
        if self.serial.is_empty() || self.serial.len() > SERIAL_BYTES || !self.serial.chars().all(hex) {
            return Err(IdentityError::Entry("the serial is not lower-case hex"));
        }
        Ok(())
    }

    /// The frame in the journal, and between nodes of the agency.
    pub fn to_frame(&self) -> Vec<u8> {
        Writer::new(FORMAT, FORMAT_VERSION).value(self).array(&self.salt).finish()
    }

    /// Reads a frame, trusting nothing in it.
    ///
    /// # Errors
    /// Anything else.
    pub fn from_frame(frame: &[u8]) -> Result<Person, CanonError> {
        if let Ok(mut r) = Reader::new(frame, FORMAT, FORMAT_VERSION) {
            let person: Person = r.value()?;
            let person = Person { salt: r.array()?, ..person };
            r.finish()?;
            return Ok(person);
        }
        let mut r = Reader::new(frame, FORMAT, 1)?;
        let person = r.value()?;
        r.finish()?;
        Ok(person)
    }
}

impl Canon for Person {
    fn write(&self, w: &mut Writer) {
        let Person {
            name,
            handle,
            title,
            unit,
            roles,
            clearance,
            compartments,
            public_key,
            serial,
            suspended,
            version,
            salt: _,
        } = self;
        w.str(name).value(handle).str(title).str(unit);
        write_set(w, roles);
        w.value(clearance);
        write_set(w, compartments);
        w.array(public_key).str(serial).flag(*suspended).u32(*version);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(Person {
            name: r.str(64)?.to_owned(),
            handle: r.value()?,
            title: r.str(TEXT_BYTES)?.to_owned(),
            unit: r.str(TEXT_BYTES)?.to_owned(),
            roles: read_set(r, Role::ALL.len())?,
            clearance: r.value()?,
            compartments: read_set(r, limits::COMPARTMENTS)?,
            public_key: r.array()?,
            serial: r.str(SERIAL_BYTES)?.to_owned(),
            suspended: r.flag()?,
            version: r.u32()?,
            salt: [0; 32],
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
pub(super) mod tests {
    use super::*;

    pub(in crate::identity) fn sample(name: &str, mark: u8) -> Person {
        Person {
            name: name.into(),
            handle: Handle::from_bytes([mark; 16]),
            title: "研判员".into(),
            unit: "缉私局".into(),
            roles: [Role::Analyst, Role::DutyOfficer].into(),
            clearance: Grade::Secret,
            compartments: ["border".parse().unwrap()].into(),
            public_key: [mark; 32],
            serial: "4a01".into(),
            suspended: false,
            version: 1,
            salt: [mark; 32],
        }
    }

    #[test]
    fn frames_round_trip_and_damage_is_refused() {
        let person = sample("wang", 1);
        let frame = person.to_frame();
        assert_eq!(Person::from_frame(&frame).unwrap(), person);
        for n in 0..frame.len() {
            assert!(Person::from_frame(frame.get(..n).unwrap()).is_err(), "cut at {n}");
        }
    }

    #[test]
    fn the_ledger_hash_depends_on_salt_and_content() {
        let person = sample("wang", 1);
        let raised = Person { clearance: Grade::TopSecret, ..person.clone() };
        let salted = Person { salt: [2; 32], ..person.clone() };
        assert_ne!(person.ledger_hash(), salted.ledger_hash());
        assert_ne!(person.ledger_hash(), raised.ledger_hash());
        assert_eq!(Person { salt: [0; 32], ..person }.ledger_hash(), None);
    }

    #[test]
    fn the_first_format_opens_and_has_no_hash() {
        let person = sample("wang", 1);
        let frame = Writer::new(FORMAT, 1).value(&person).finish();
        let read = Person::from_frame(&frame).unwrap();
        assert_eq!(read, Person { salt: [0; 32], ..person });
        assert_eq!(read.ledger_hash(), None);
    }

    #[test]
    fn entries_are_checked() {
        assert!(sample("wang", 1).check().is_ok());
        for bad in [
            Person { name: "Wang".into(), ..sample("wang", 1) },
            Person { name: String::new(), ..sample("wang", 1) },
            Person { title: "x".repeat(TEXT_BYTES + 1), ..sample("wang", 1) },
            Person { serial: "XY".into(), ..sample("wang", 1) },
        ] {
            assert!(bad.check().is_err());
        }
    }
}
