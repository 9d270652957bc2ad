//! `hufu demo`: four agencies as four child processes on this machine.
//!
//! The demo makes everything through the same files and calls that real agencies use: descriptors, a genesis
//! that every founder signs, certificate requests, acts signed by persons' keys. It has no way past a node.
//! It does not restart a child; children end when it is gone, however it ended (parent-death signal).

mod children;
mod files;
mod people;
mod sample;

use super::client::block_on_here;
use super::output::{Out, outln};
use crate::domain::fault::Fault;
use crate::node::SystemClock;
use children::Children;
use files::Plan;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Where everything lives: empty, absent, or an earlier demo's.
    #[arg(long, default_value = "./hufu-demo")]
    dir: PathBuf,
    /// First port; node i uses base+10*i and the following four.
    #[arg(long, default_value_t = 17000)]
    port_base: u16,
    /// Publish the fictitious sample (the default).
    #[arg(long, overrides_with = "no_sample")]
    sample: bool,
    /// Publish nothing.
    #[arg(long)]
    no_sample: bool,
}

pub(super) fn run(args: Args, out: &Out) -> Result<ExitCode, Fault> {
    // The runtime lives on this thread: the parent-death signal is bound to the thread that starts a child.
    block_on_here(async {
        let mut stop = Stop::listen()?;
        let plan = files::prepare(&args.dir, args.port_base, &SystemClock, out)?;
        let mut children = Children::start(&plan)?;
        let outcome = tokio::select! {
            biased;
            () = stop.wait() => None,
            made = make_ready(&plan, &mut children, !args.no_sample, out) => Some(made),
        };
        let result = match outcome {
            Some(Ok(())) => {
                welcome(&plan, out);
                watch(&mut children, &mut stop, out).await;
                Ok(ExitCode::SUCCESS)
            }
            Some(Err(fault)) => Err(fault),
            None => Ok(ExitCode::SUCCESS),
        };
        let _ = std::fs::remove_file(plan.ready());
        children.stop().await;
        result
    })
}

async fn make_ready(plan: &Plan, children: &mut Children, sample: bool, out: &Out) -> Result<(), Fault> {
    out.progress(out.say("等待四个节点形成共识……", "waiting for four nodes to agree …"));
    people::wait_for_leader(plan, children).await?;
    if !plan.peopled() {
        people::settle(plan, out).await?;
        if sample {
            out.progress(out.say("发布演练样例……", "publishing the sample …"));
            sample::publish(plan).await?;
        }
        plan.mark_peopled()?;
    }
    people::wait_for_equal_digests(plan, children).await?;
    std::fs::write(plan.ready(), b"ready\n")
        .map_err(|e| Fault::usage("UNWRITABLE_FILE", format!("cannot write `ready`: {e}")))
}

fn welcome(plan: &Plan, out: &Out) {
    let profile = |p: &str| plan.dir.join("profiles").join(p).display().to_string();
    outln!(
        "{}",
        out.say(
            "演练环境已就绪（虚构数据，仅供评估）。",
            "Ready. An exercise with fictitious data, for evaluation only."
        )
    );
    outln!("{}", crate::seal::SUITE_NOTICE);
    outln!("{}", out.say("可以试试：", "Try:"));
    for line in [
        format!("hufu --profile {} cluster status", profile("police-analyst.toml")),
        format!("hufu --profile {} federation show", profile("customs-clerk.toml")),
        format!(
            "hufu --profile {} record publish --title 演练 --body 测试 --grade secret --agreement border-2026",
            profile("police-analyst.toml")
        ),
        format!("hufu --profile {} record search 演练 --purpose CASE-1", profile("customs-analyst.toml")),
        format!("hufu --profile {} record open RECORD --purpose CASE-1", profile("customs-analyst.toml")),
        format!("hufu --profile {} notice watch", profile("customs-duty.toml")),
        format!(
            "hufu --profile {} notice send --to customs --precedence flash --grade secret --subject 演练 --body 测试 --exercise",
            profile("police-duty.toml")
        ),
        format!("hufu --profile {} audit search", profile("customs-officer.toml")),
    ] {
        outln!("  {line}");
    }
    outln!("{}", out.say("按 Ctrl-C 结束。", "Press Ctrl-C to stop."));
}

async fn watch(children: &mut Children, stop: &mut Stop, out: &Out) {
    loop {
        tokio::select! {
            biased;
            () = stop.wait() => return,
            (agency, status) = children.next_exit() => out.progress(&format!(
                "{} {agency}: {status}", out.say("节点已退出，演练继续；", "a node ended, the demo stays up:")
            )),
        }
    }
}

/// SIGINT or SIGTERM.
struct Stop {
    int: tokio::signal::unix::Signal,
    term: tokio::signal::unix::Signal,
}

impl Stop {
    fn listen() -> Result<Stop, Fault> {
        let fail = |e: std::io::Error| Fault::internal("SIGNALS", e.to_string());
        Ok(Stop {
            int: signal(SignalKind::interrupt()).map_err(fail)?,
            term: signal(SignalKind::terminate()).map_err(fail)?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.int.recv() => {}
            _ = self.term.recv() => {}
        }
    }
}
