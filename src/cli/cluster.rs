//! `hufu cluster status`, and who takes part (`members`).

use super::args::Globals;
use super::client::{Client, block_on, fault};
use super::members::{self, Seat};
use super::output::{Out, outln, shown};
use crate::domain::fault::Fault;
use crate::domain::time::Millis;
use crate::wire::pb::v1;
use data_encoding::HEXLOWER;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Leader, term, every node's position and state digest at one common index.
    ///
    /// Positions move with entries alone and stand still while nobody writes. A record is missing `since` the ledger's
    /// time as of its entry, which may lie before the clock; a complaint has the time of the complaining node.
    Status,
    /// Give the own agency another node, which does not vote. In force when two of its officers ran it (security officer).
    AddNode {
        /// node.json, as `hufu agency add-node` wrote it.
        file: PathBuf,
    },
    /// Let a node vote, in its agency's seat. In force when officers of enough agencies whose seat stays ran it (security
    /// officer); it votes once it has caught up. The same again by everybody with `demote` takes it back.
    Promote {
        /// AGENCY/NODE.
        node: Seat,
    },
    /// Let a node vote no more, by as many; it goes on as a learner (security officer).
    Demote {
        /// AGENCY/NODE.
        node: Seat,
    },
    /// Give leadership to another node that votes, e.g. before this one is stopped: takes some seconds, in which writes wait.
    /// At the leader's own agency (security officer).
    HandOver {
        /// AGENCY/NODE.
        node: Seat,
    },
    /// Take a node out for good: two officers of its agency, or officers of enough others. One that votes is demoted first.
    /// Its id is never used again (security officer).
    RemoveNode {
        /// AGENCY/NODE.
        node: Seat,
    },
}

pub(super) fn run(command: Command, g: &Globals, out: &Out) -> Result<ExitCode, Fault> {
    match command {
        Command::Status => status(g, out),
        Command::AddNode { file } => members::add_node(g, out, &file),
        Command::Promote { node } => members::vote(g, out, node, true),
        Command::Demote { node } => members::vote(g, out, node, false),
        Command::HandOver { node } => members::hand_over(g, out, node),
        Command::RemoveNode { node } => members::remove_node(g, out, node),
    }
}

fn status(g: &Globals, out: &Out) -> Result<ExitCode, Fault> {
    block_on(async {
        let client = Client::connect(g).await?;
        let r = client.cluster().status(v1::StatusRequest {}).await.map_err(fault)?.into_inner();
        let nodes: Vec<_> = r
            .nodes
            .iter()
            .map(|n| {
                let digest = (!n.digest.is_empty()).then(|| HEXLOWER.encode(&n.digest));
                json!({"agency": n.agency, "node": n.node, "role": n.role, "reachable": n.reachable, "applied": n.applied, "digest": digest})
            })
            .collect();
        let leader = (!r.leader.is_empty()).then_some(&r.leader);
        let sync: Vec<_> = r
            .sync
            .iter()
            .map(|s| {
                // An empty list would say that nothing is missing.
                let told = |list: &[v1::Missing]| (!r.withheld).then(|| lines(list));
                json!({"origin": s.origin, "owed": s.owed, "held": s.held, "missing": told(&s.missing), "unopenable": told(&s.unopenable), "lost": told(&s.lost)})
            })
            .collect();
        let complaints: Vec<_> = r
            .complaints
            .iter()
            .map(|c| json!({"agency": c.agency, "record": c.record, "version": c.version, "reason": c.reason, "at": Millis(c.time).to_rfc3339()}))
            .collect();
        if out.is_json() {
            let complaints = (!r.withheld).then_some(&complaints);
            let json = json!({"leader": leader, "term": r.term, "commit": r.commit, "nodes": nodes, "digest_index": r.digest_index, "sync": sync, "complaints": complaints, "certified": r.certified, "double_words": r.double_words, "halted": (!r.halted.is_empty()).then_some(&r.halted)});
            out.answer(&json, String::new);
            return Ok(ExitCode::SUCCESS);
        }
        outln!(
            "{} {}  {} {}  {} {}  {} {}  {} {}",
            out.say("主节点", "leader"),
            leader.map_or(out.say("无", "none"), String::as_str),
            out.say("任期", "term"),
            r.term,
            out.say("已提交", "commit"),
            r.commit,
            out.say("摘要位置", "digests at"),
            r.digest_index,
            out.say("已认证", "certified"),
            r.certified
        );
        out.table(&["agency", "node", "role", "reachable", "applied", "digest"], &nodes);
        if !r.sync.is_empty() {
            let counts: Vec<_> = r
                .sync
                .iter()
                .map(|s| {
                    let (missing, unopenable, lost) = (s.missing.len(), s.unopenable.len(), s.lost.len());
                    // Who neither runs the node nor watches over it is not told which, and so not of what sort.
                    let told = (missing + unopenable + lost) as u64 == s.owed.saturating_sub(s.held);
                    let shown = |n: usize| if told { json!(n) } else { json!(out.say("未予显示", "not shown")) };
                    json!({"origin": s.origin, "owed": s.owed, "held": s.held,
                        "missing": shown(missing), "unopenable": shown(unopenable), "lost": shown(lost)})
                })
                .collect();
            outln!("");
            out.table(&["origin", "owed", "held", "missing", "unopenable", "lost"], &counts);
        }
        for (heading, kind) in [
            (out.say("缺少的情报：", "Records that are missing:"), "missing"),
            (out.say("收到而打不开的情报：", "Records that came in and do not open:"), "unopenable"),
            (out.say("来源机构已宣告灭失的情报：", "Records that their originator gave up:"), "lost"),
        ] {
            let records = |s: &serde_json::Value| s.get(kind).and_then(|m| m.as_array()).cloned().unwrap_or_default();
            let rows: Vec<_> = sync.iter().flat_map(records).collect();
            if !rows.is_empty() {
                outln!("\n{heading}");
                out.table(&["record", "version", "reason", "since"], &rows);
            }
        }
        if !r.halted.is_empty() {
            outln!("\n{} {}", out.say("账本停写：", "The ledger is closed for writing:"), shown(&r.halted));
        }
        for why in &r.double_words {
            outln!("\n{} {}", out.say("自相矛盾的表决节点：", "A voter that contradicts itself:"), shown(why));
        }
        if !complaints.is_empty() {
            let heading =
                out.say("其他机构收到而打不开的情报：", "Records of this agency that others received and cannot open:");
            outln!("\n{heading}");
            out.table(&["agency", "record", "version", "reason", "at"], &complaints);
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn lines(missing: &[v1::Missing]) -> Vec<serde_json::Value> {
    missing
        .iter()
        .map(|m| json!({"record": m.record, "version": m.version, "reason": m.reason, "since": Millis(m.since).to_rfc3339()}))
        .collect()
}
