//! `hufu node run`.

use crate::config::NodeConfig;
use crate::domain::fault::Fault;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Run this agency's node until it is told to stop.
    Run {
        /// hufu.toml.
        #[arg(long)]
        config: PathBuf,
    },
}

pub(super) fn run(command: Command) -> Result<ExitCode, Fault> {
    let Command::Run { config } = command;
    crate::node::run(NodeConfig::read(&config)?)?;
    Ok(ExitCode::SUCCESS)
}
