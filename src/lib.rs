#![forbid(unsafe_code)]
pub mod domain;
pub mod seal;
pub mod ledger;
pub mod policy;
pub mod wire;
pub mod config;
