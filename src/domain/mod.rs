//! The words of the business: ids, grades and labels, people, agencies, agreements, records, time, limits.
//!
//! This room has no I/O, no clock, no randomness and no cryptography. Every other room may use it; it
//! uses none.
//!
//! Invariants
//! - A value of a type here is well formed: parsing is the only way in ("parse, don't validate").
//! - [`label`] is the mandatory access rule. It only ever narrows: nothing in it turns a denial into a
//!   permission, an empty release list means nobody but the originator's own agency, and all conditions
//!   are joined by AND.
//! - Bytes that are signed, hashed or stored come from [`canon`] and from nowhere else (P31). The order
//!   of enum variants is part of the format.

pub mod agency;
pub mod agreement;
pub mod canon;
pub mod fault;
pub mod ids;
pub mod label;
pub mod lately;
pub mod limits;
pub mod notice;
pub mod person;
#[cfg(test)]
pub(crate) mod planted;
pub mod record;
pub mod reserve;
pub mod time;
