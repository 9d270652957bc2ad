//! `hufu node run`, `hufu node health`, `hufu node rebuild`.

use super::output::Out;
use crate::config::NodeConfig;
use crate::domain::fault::Fault;
use data_encoding::HEXLOWER;
use serde_json::json;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// The node's listener answers within two seconds when it can.
const PATIENCE: Duration = Duration::from_secs(5);
/// Far more than a few words.
const ANSWER_BYTES: u64 = 4_096;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Run this agency's node until it is told to stop; SIGHUP reads certificate, revocation lists and configuration again.
    Run {
        /// hufu.toml.
        #[arg(long)]
        config: PathBuf,
    },
    /// Ask the node that runs here whether it does all of its work; exit 5 when it does not. For probes of containers.
    Health {
        /// hufu.toml, with `metrics` under `[listen]`.
        #[arg(long)]
        config: PathBuf,
        /// Ask only whether the process answers.
        #[arg(long)]
        live: bool,
    },
    /// Set the ledger of a stopped node aside, so that its next start begins anew from what the others certify: for one whose
    /// state is another than the majority's. It must not vote, by the `charter` of hufu.toml; evidence is kept.
    Rebuild {
        /// hufu.toml, with `charter` as another agency wrote it now.
        #[arg(long)]
        config: PathBuf,
    },
}

pub(super) fn run(command: Command, out: &Out) -> Result<ExitCode, Fault> {
    match command {
        Command::Run { config } => crate::node::run(&config)?,
        Command::Health { config, live } => {
            let metrics = NodeConfig::read(&config)?.listen.metrics.ok_or_else(|| {
                Fault::usage("BAD_CONFIG", "the node has no listener for metrics and health")
                    .hint("set `metrics` under `[listen]`")
            })?;
            let path = if live { "/livez" } else { "/readyz" };
            let (status, words) = ask(metrics, path).map_err(|e| {
                let why = format!("no answer from {metrics}: {e}");
                Fault::unavailable("NODE_UNREACHABLE", why).hint("the node is not running, or has not begun to serve")
            })?;
            if status != 200 {
                let why = words.split_whitespace().collect::<Vec<&str>>().join(", ");
                let hint = "docs/operations.md says what each word means";
                return Err(Fault::unavailable("NOT_READY", why).hint(hint));
            }
            let (word, zh) = if live { ("alive", "在运行") } else { ("ready", "就绪") };
            out.answer(&json!({ "state": word }), || out.say(zh, word).to_owned());
        }
        Command::Rebuild { config } => {
            let done = crate::node::rebuild(&NodeConfig::read(&config)?)?;
            let fingerprint = HEXLOWER.encode(&done.charter);
            let aside = done.ledger.map(|p| p.display().to_string());
            out.answer(&json!({"aside": aside, "charter": fingerprint}), || {
                let none = out.say("原先没有账本", "there was no ledger");
                let told = out.say("账本已另存；节点下次启动时重新同步。依据的章程指纹（请口头核对）", "the ledger was set aside; the next start begins anew. Fingerprint of the charter (compare by voice)");
                format!("{}\n{told} {fingerprint}", aside.as_deref().unwrap_or(none))
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Status and words of one answer.
fn ask(metrics: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let mut tcp = TcpStream::connect_timeout(&near(metrics), PATIENCE)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    tcp.set_write_timeout(Some(PATIENCE))?;
    tcp.write_all(format!("GET {path} HTTP/1.1\r\nHost: {metrics}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    tcp.take(ANSWER_BYTES).read_to_end(&mut answer)?;
    parsed(&String::from_utf8_lossy(&answer)).ok_or_else(|| std::io::Error::other("it does not speak HTTP/1.1"))
}

fn parsed(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.split_whitespace().next()?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// A node that listens on every address is asked on the loopback's.
fn near(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_and_every_address_is_near() {
        let answer = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 9\r\n\r\nno-leader\n";
        assert_eq!(parsed(answer), Some((503, "no-leader\n".to_owned())));
        assert_eq!(parsed("SSH-2.0-x\r\n\r\n"), None);
        for (given, asked) in [("0.0.0.0:7", "127.0.0.1:7"), ("[::]:7", "[::1]:7"), ("10.0.0.5:7", "10.0.0.5:7")] {
            assert_eq!(near(given.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
