//! The command line: one command a file.
//!
//! A command parses, asks its own agency's node (or reads files), and prints. Results go to stdout, progress
//! and errors to stderr; `--json` prints one object a line. Exit codes are those of `FaultKind`. Nothing here
//! decides who may do what: the node does.

mod act;
mod agency;
mod agreement;
mod args;
mod audit;
mod bench;
mod bench_notice;
mod client;
mod cluster;
mod demo;
mod doctor;
mod federation;
mod guide;
mod import;
mod marking;
mod members;
mod node;
mod notice;
mod output;
mod person;
mod policy;
mod proposal;
mod record;
mod warning;
mod words;

pub use args::main;
