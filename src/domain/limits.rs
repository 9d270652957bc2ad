//! Every limit in one place, with its unit in its name.

/// Largest body of a record, in bytes.
pub const BODY_BYTES: usize = 1 << 20;
/// Largest body that comes in pieces behind what is said of it, in bytes.
pub const TEXT_BYTES: usize = 16 << 20;
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
/// Commands that one agency puts on the ledger in a minute of the ledger's time (P8): 8,000 a second.
pub const MINUTE_COMMANDS: u64 = 480_000;
/// Bytes of its batches in that minute: over 4 MiB a second; 3,000 publishes a second take about 1.
pub const MINUTE_BYTES: u64 = 256 << 20;
/// Largest message between nodes, in bytes (P8); an envelope with its objects fits.
pub const PEER_MESSAGE_BYTES: usize = 4 << 20;
/// Sealed content above this size lies apart from its envelope and travels in pieces, in bytes.
pub const INLINE_BYTES: usize = 192 << 10;
/// Largest piece of a transfer in pieces, in bytes: with its frame it stays under 256 KiB.
pub const PIECE_BYTES: usize = 192 << 10;
/// Of the texts of one envelope together this much is indexed, and looked at for a snippet, in bytes.
pub const INDEXED_BYTES: usize = 1 << 20;
/// Longest query, in characters.
pub const QUERY_CHARS: usize = 1000;
/// Furthest that one agency's clock report may run ahead of the ledger's median, in ms (P4).
pub const CLOCK_AHEAD_MS: u64 = 600_000;
/// Longest that a person's write waits for a leader, in ms.
pub const LEADER_WAIT_MS: u64 = 120_000;
/// Longest that a publish then waits for copies at other agencies, in ms.
pub const HOLDERS_WAIT_MS: u64 = 60_000;
/// What one state of the ledger holds at most; `apply` refuses more, so that what it makes can be read again.
/// Agreements of all agencies together.
pub const AGREEMENTS: usize = 1 << 20;
/// Versions of one agreement.
pub const AGREEMENT_VERSIONS: usize = 1 << 16;
/// Marking guides of all agencies together.
pub const GUIDES: usize = 1 << 20;
/// Acts that wait for more signatures.
pub const PENDING_ACTS: usize = 1 << 16;
/// Acts that are complete and wait for a certificate, of those that one agency's nodes bring.
pub const WAITING_OF_AGENCY: usize = 512;
/// Persons of one agency who sign acts, suspended ones included.
pub const AUTHORITIES: usize = 1 << 16;
/// Pair keys that one agency introduced: one for each other agency and month.
pub const INTRODUCTIONS: usize = 1 << 20;
/// Hashes of directory entries of one agency.
pub const ENTRIES: usize = 1 << 16;
/// Nodes of one agency that stand.
pub const AGENCY_NODES: usize = 16;
/// Nodes that one agency ever has, removed ones included: their numbers are never used again, and no agency takes up the
/// room that others need to have a node of theirs removed.
pub const AGENCY_NUMBERS: usize = 64;
/// Nodes that were removed, of all agencies together: none is refused for want of room.
pub const RETIRED: usize = AGENCIES * AGENCY_NUMBERS;
/// Voters of a set that the ledger approves. A genesis may name more.
pub const VOTERS: usize = 9;
/// Versions that were given up, of all agencies together.
pub const LOST: usize = 1 << 20;
/// How long after it was superseded a version folds into its origin's root, in ms of ledger time (P8): 90 days.
pub const FOLDED_AFTER_MS: u64 = 90 * 24 * 3_600_000;
/// Versions that fold at most for each command of a batch: a command supersedes one at most.
pub const FOLDS_OF_COMMAND: usize = 2;
/// Largest sum of the STIX files of one import, in bytes.
pub const STIX_BYTES: usize = 128 << 20;
/// Most STIX objects of one import, relationships included.
pub const STIX_OBJECTS: usize = 100_000;
/// Most JSON values of one import together: what is read of a file takes up to 80 times its bytes in memory.
pub const STIX_VALUES: usize = 2_000_000;
/// Most JSON values of one STIX object.
pub const STIX_OBJECT_VALUES: usize = 100_000;
/// Deepest nesting of one STIX object.
pub const STIX_DEPTH: usize = 32;
