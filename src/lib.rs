//! Hufu (虎符, the tiger tally): agencies that do not fully trust each other share classified records, and prove
//! afterwards who saw what. `docs/` and the rooms' own documents say how; the rooms and their layers are listed
//! in README and kept by `tests/tidy.rs`.
#![forbid(unsafe_code)]

pub mod api;
pub mod audit;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod domain;
pub mod identity;
pub mod interop;
pub mod journal;
pub mod ledger;
pub mod node;
pub mod notice;
pub mod policy;
pub mod seal;
pub mod search;
pub mod service;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]
mod sim;
pub mod store;
pub mod vault;
pub mod wire;
