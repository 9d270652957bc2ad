//! Real processes, real TLS, real fsync, real consensus; every wait has a deadline.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

mod amends;
mod bad_days;
mod bounds;
mod contract;
mod copies;
mod demo;
mod endures;
mod finds;
mod lanes;
mod leaks;
mod lines;
mod membership;
mod netns;
mod notices;
mod peers;
mod portions;
mod proposals;
mod readme;
mod revocation;
mod shares;
mod sizes;
mod standing;
mod stix;
mod streams;
mod survives;
mod timing;
mod watched;
