//! `hufu node run`.

use crate::domain::fault::Fault;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Run this agency's node until it is told to stop; SIGHUP reads certificate, revocation lists and configuration again.
    Run {
        /// hufu.toml.
        #[arg(long)]
        config: PathBuf,
    },
}

pub(super) fn run(command: Command) -> Result<ExitCode, Fault> {
    let Command::Run { config } = command;
    crate::node::run(&config)?;
    Ok(ExitCode::SUCCESS)
}
