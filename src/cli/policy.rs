//! `hufu policy check|explain`.

use super::args::Globals;
use super::client::{Client, block_on, fault};
use super::output::Out;
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::RecordId;
use crate::policy::{Action, check_built_in, check_dir};
use crate::wire::pb::v1;
use data_encoding::HEXLOWER;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Validate a policy set and try its cases, without any node.
    Check {
        /// Folder with schema.cedarschema, *.cedar and tests/*.json.
        #[arg(default_value = "policies")]
        dir: PathBuf,
        /// Try the folder's cases against the set that is part of this program; it needs no schema then.
        #[arg(long)]
        built_in: bool,
    },
    /// Why a person of the own agency may or may not do something with a record (security officer).
    Explain {
        /// Name of the person; oneself if not given.
        #[arg(long, default_value = "")]
        person: String,
        /// record-open, record-search, record-list, record-history, record-export-sealed or record-export-clear.
        #[arg(long)]
        action: Action,
        /// Record in question.
        #[arg(long)]
        record: RecordId,
        /// The purpose that the person gave, 1 to 200 characters.
        #[arg(long)]
        purpose: String,
    },
}

pub(super) fn run(command: Command, g: &Globals, out: &Out) -> Result<ExitCode, Fault> {
    match command {
        Command::Check { dir, built_in } => {
            let report = if built_in { check_built_in(&dir)? } else { check_dir(&dir)? };
            let failed: Vec<_> = report.failed().collect();
            let json = json!({"policy_set": report.policy_set, "cases": report.cases.len(), "failed": failed});
            out.answer(&json, || {
                let mut text = format!(
                    "{} {}\n{} {}  {} {}",
                    out.say("策略集", "policy set"),
                    report.policy_set,
                    out.say("用例", "cases"),
                    report.cases.len(),
                    out.say("未通过", "failed"),
                    failed.len()
                );
                for c in &failed {
                    text.push_str(&format!("\n{} {}: {} ≠ {}", c.file, c.name, c.expected, c.actual));
                }
                text
            });
            Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FaultKind::Usage.exit_code()) })
        }
        Command::Explain { person, action, record, purpose } => block_on(async {
            let client = Client::connect(g).await?;
            let request =
                v1::ExplainRequest { person, action: action.to_string(), record: record.to_string(), purpose };
            let r = client.policy().explain(request).await.map_err(fault)?.into_inner();
            let json = json!({"allow": r.allow, "rule": r.rule, "steps": r.steps,
                "policy_set": HEXLOWER.encode(&r.policy_set)});
            out.answer(&json, || {
                let answer = if r.allow { out.say("允许", "allow") } else { out.say("拒绝", "deny") };
                let steps: Vec<String> = r.steps.iter().map(|s| step(s, out)).collect();
                format!("{answer}  {}\n{}", r.rule, steps.join("\n"))
            });
            Ok(ExitCode::SUCCESS)
        }),
    }
}

/// One ground of a decision: `RULE: OUTCOME (DETAIL)` of the label rule, `EFFECT ID (FILE): VERDICT` of a policy.
fn step(text: &str, out: &Out) -> String {
    if !out.is_zh() {
        return text.to_owned();
    }
    let Some((what, said)) = text.split_once(": ") else { return text.to_owned() };
    if what == "error" {
        return format!("错误: {said}");
    }
    let (outcome, detail) = said.split_once(" (").unwrap_or((said, ""));
    let outcome = match outcome {
        "passed" => "通过",
        "failed" => "未通过",
        "not reached" => "未到此步",
        "not asked" => "不涉及",
        "applies" => "适用",
        "silent" => "不适用",
        "error" => "出错",
        other => other,
    };
    let detail = detail.strip_suffix(')').filter(|d| !d.is_empty());
    let detail = detail.map(|d| format!("（{}）", out.sentence(d))).unwrap_or_default();
    let what = match what.split_once(' ') {
        Some(("permit", policy)) => format!("准许 {policy}"),
        Some(("forbid", policy)) => format!("禁止 {policy}"),
        _ => what.to_owned(),
    };
    format!("{what}：{outcome}{detail}")
}
