//! Every limit in one place, with its unit in its name.

/// Largest body of a record, in bytes.
pub const BODY_BYTES: usize = 1 << 20;
/// Longest title, in characters.
pub const TITLE_CHARS: usize = 300;
/// Longest purpose, in characters.
pub const PURPOSE_CHARS: usize = 200;
/// Most portions of one envelope (the meta portion included).
pub const PORTIONS: usize = 16;
/// Most references of one record.
pub const REFERENCES: usize = 64;
/// Most agencies in one federation that this format admits.
pub const AGENCIES: usize = 4096;
/// Most compartments of one label.
pub const COMPARTMENTS: usize = 32;
/// Largest ledger entry, in bytes (P8).
pub const ENTRY_BYTES: usize = 256 << 10;
/// Largest signed batch, in bytes; several fit in an entry.
pub const BATCH_BYTES: usize = 128 << 10;
/// Most commands of one signed batch.
pub const BATCH_COMMANDS: usize = 128;
/// Largest message between nodes, in bytes (P8); an envelope with its objects fits.
pub const PEER_MESSAGE_BYTES: usize = 4 << 20;
/// Longest query, in characters.
pub const QUERY_CHARS: usize = 1000;
/// Furthest that one agency's clock report may run ahead of the ledger's median, in ms (P4).
pub const CLOCK_AHEAD_MS: u64 = 600_000;
