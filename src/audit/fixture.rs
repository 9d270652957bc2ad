//! Values for the tests of this room.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test")]

use super::event::{Action, Actor, Decision, EventDraft, Object, Stage};
use crate::domain::ids::RecordId;
use crate::domain::time::Millis;
use crate::seal::SigningKey;

pub(crate) const ORIGIN: &str = "hufu/border/00000000000000b1";

pub(crate) fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32]).expect("any seed is a key")
}

pub(crate) fn record(n: u8) -> RecordId {
    RecordId::from_bytes([n; 16])
}

/// A clerk of `border` opened record `n`, version 1, of `customs`.
pub(crate) fn draft(n: u8) -> EventDraft {
    EventDraft {
        time: Millis(1_700_000_000_000 + u64::from(n)),
        actor: Actor::Person {
            agency: "border".parse().unwrap(),
            name: format!("clerk-{}", n % 3),
            pseudonym: [n % 3; 16],
        },
        action: Action::Open,
        stage: Stage::Outcome,
        object: Object::Record { id: record(n), version: 1 },
        label: Some([n; 16]),
        decision: Decision::Allow,
        rule: "lattice".to_owned(),
        purpose: "核查 7 号案".to_owned(),
        policy_set: [5; 32],
        ledger_index: 9,
        request: [n; 16],
        origin: Some("customs".parse().unwrap()),
    }
}
