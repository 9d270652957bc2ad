//! The command line: one command a file.
//!
//! A command parses, asks its own agency's node (or reads files), and prints. Results go to stdout, progress
//! and errors to stderr; `--json` prints one object a line. Exit codes are those of `FaultKind`. Nothing here
//! decides who may do what: the node does.

mod act;
mod agency;
mod agreement;
mod amend;
mod args;
mod audit;
mod bench;
mod bench_load;
mod bench_notice;
mod bench_open;
mod bench_publish;
mod bench_search;
mod bench_text;
mod bounds;
mod client;
mod cluster;
mod copy;
mod demo;
mod doctor;
mod export;
mod federation;
mod guide;
mod import;
mod import_stix;
mod large;
mod marking;
mod members;
mod node;
mod notice;
mod output;
mod person;
mod policy;
mod proposal;
mod reading;
mod record;
mod revocation;
mod sealed;
mod stream;
mod warning;
mod who_can;
mod words;

pub use args::main;
