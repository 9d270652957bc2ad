//! The command that wakes people up: it gets one JSON object on its standard input, and nothing of what a notice says.
//!
//! It runs outside this process's duties: a slow or failing command delays no notice. A failed run is repeated; what
//! still fails, and what the queue has no room for, is told in the log.

use crate::service::{Bell, Ring};
use serde_json::json;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Rings that wait for the command.
const WAITING: usize = 1_024;
/// One run may take this long.
const RUN: Duration = Duration::from_secs(10);
/// Pauses before a failed run is repeated.
const AGAIN: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30)];

/// Hands rings to the command.
pub(super) struct Hook(Option<mpsc::Sender<Ring>>);

impl Hook {
    /// `command` is the program and its arguments; empty for none.
    pub(super) fn start(command: Vec<String>) -> Hook {
        if command.is_empty() {
            return Hook(None);
        }
        let (rings, mut queue) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            while let Some(ring) = queue.recv().await {
                run(&command, &ring).await;
            }
        });
        Hook(Some(rings))
    }
}

impl Bell for Hook {
    fn ring(&self, ring: Ring) {
        let Some(rings) = &self.0 else { return };
        if let Err(error) = rings.try_send(ring) {
            tracing::error!(%error, "the notice command is too slow; a ring was left out");
        }
    }
}

async fn run(command: &[String], ring: &Ring) {
    let mut pauses = AGAIN.iter();
    loop {
        let why = match timeout(RUN, once(command, ring)).await {
            Ok(Ok(())) => return,
            Ok(Err(why)) => why,
            Err(_) => "it did not end in time".to_owned(),
        };
        let Some(pause) = pauses.next() else {
            tracing::error!(notice = %ring.notice, event = ring.event, %why, "the notice command failed and is given up");
            return;
        };
        tracing::warn!(notice = %ring.notice, event = ring.event, %why, "the notice command failed; it is run again");
        sleep(*pause).await;
    }
}

async fn once(command: &[String], ring: &Ring) -> Result<(), String> {
    let Ring { event, notice, agency, precedence, grade, exercise, call } = ring;
    let line = json!({
        "event": event, "notice": notice.to_string(), "agency": agency.to_string(), "precedence": precedence.as_str(),
        "grade": grade.to_string(), "exercise": exercise, "call": call,
    });
    let (program, args) = command.split_first().ok_or_else(|| "no program".to_owned())?;
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
        input.write_all(format!("{line}\n").as_bytes()).await.map_err(words)?;
    }
    let status = child.wait().await.map_err(words)?;
    if status.success() { Ok(()) } else { Err(status.to_string()) }
}
