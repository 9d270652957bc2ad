//! The command that wakes people up: it gets one JSON object on its standard input, and nothing of what a notice says.

use std::io::ErrorKind;
use std::process::Stdio;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// A program and its arguments.
pub(super) struct Hook(Vec<String>);

impl Hook {
    pub(super) fn new(command: Vec<String>) -> Hook {
        Hook(command)
    }

    /// Runs it once. Errors are in words.
    pub(super) async fn run(&self, line: &str) -> Result<(), String> {
        let (program, args) = self.0.split_first().ok_or_else(|| "no program".to_owned())?;
        let words = |e: std::io::Error| e.to_string();
        // Nothing of the node's environment: it may hold what a program of another owner must not see.
        let mut child = Command::new(program)
            .args(args)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(words)?;
        if let Some(mut input) = child.stdin.take() {
            match input.write_all(line.as_bytes()).await {
                // A program that does not read may end all the same as it should.
                Err(e) if e.kind() == ErrorKind::BrokenPipe => {}
                outcome => outcome.map_err(words)?,
            }
        }
        let status = child.wait().await.map_err(words)?;
        if status.success() { Ok(()) } else { Err(status.to_string()) }
    }
}
