//! The four child processes.

use super::files::{AGENCIES, Plan};
use crate::domain::fault::Fault;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

/// A child that is asked to stop has this long before it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(4);

pub(super) struct Children {
    running: Vec<(&'static str, Child)>,
    ended: tokio::signal::unix::Signal,
}

impl Children {
    /// Starts all. The command line of a child is exactly `hufu node run --config DIR/nodes/<agency>/hufu.toml`.
    pub(super) fn start(plan: &Plan) -> Result<Children, Fault> {
        let fail =
            |what: &str, e: std::io::Error| Fault::internal("START_NODE", format!("cannot start a node ({what}): {e}"));
        let ended = signal(SignalKind::child()).map_err(|e| fail("signals", e))?;
        let program = std::env::current_exe().map_err(|e| fail("own path", e))?;
        let mut running = Vec::new();
        for a in &AGENCIES {
            let dir = plan.node_dir(a.id);
            let log = File::options().create(true).append(true).open(dir.join("log")).map_err(|e| fail("log", e))?;
            let child = Command::new(&program)
                .args(["node", "run", "--config"])
                .arg(dir.join("hufu.toml"))
                .env(crate::node::END_WITH_PARENT, std::process::id().to_string())
                .stdin(Stdio::null())
                .stdout(log.try_clone().map_err(|e| fail("log", e))?)
                .stderr(log)
                .spawn()
                .map_err(|e| fail("spawn", e))?;
            std::fs::write(dir.join("pid"), format!("{}\n", child.id())).map_err(|e| fail("pid", e))?;
            running.push((a.id, child));
        }
        Ok(Children { running, ended })
    }

    /// Waits for the next child to end.
    pub(super) async fn next_exit(&mut self) -> (&'static str, ExitStatus) {
        loop {
            if let Some(found) = self.reap() {
                return found;
            }
            self.ended.recv().await;
        }
    }

    /// A child that has ended already, if any.
    pub(super) fn reap(&mut self) -> Option<(&'static str, ExitStatus)> {
        let at = self.running.iter_mut().position(|(_, c)| matches!(c.try_wait(), Ok(Some(_))))?;
        let (agency, mut child) = self.running.remove(at);
        child.wait().ok().map(|status| (agency, status))
    }

    /// Asks all to stop, then kills what is left.
    pub(super) async fn stop(&mut self) {
        for (_, child) in &self.running {
            if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::TERM);
            }
        }
        let deadline = Instant::now() + STOP_WITHIN;
        while !self.running.is_empty() {
            if tokio::time::timeout_at(deadline, self.next_exit()).await.is_err() {
                for (_, child) in &mut self.running {
                    let _ = child.kill();
                    let _ = child.wait();
                }
                return;
            }
        }
    }
}
