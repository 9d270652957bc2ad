//! Arguments, global options and the way out.

use super::output::{Lang, Out};
use super::{
    agency, agreement, audit, bench, cluster, demo, doctor, federation, guide, node, notice, person, policy, record,
    warning,
};
use crate::domain::fault::Fault;
use clap::{CommandFactory, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// 虎符 Hufu: cross-agency intelligence sharing. 跨部门情报共享。
#[derive(Parser)]
#[command(name = "hufu", version, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// Options that may stand anywhere.
#[derive(clap::Args)]
pub(super) struct Globals {
    /// Profile of the person who asks (TOML). 个人配置文件
    #[arg(long, global = true, env = "HUFU_PROFILE", value_name = "FILE")]
    pub(super) profile: Option<PathBuf>,
    /// Print JSON: one object, or one a line for lists.
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Language of human output: zh or en.
    #[arg(long, global = true, value_name = "LANG")]
    lang: Option<Lang>,
    /// How long a write waits for a leader, in seconds; one call waits 25 s at most.
    #[arg(long, global = true, default_value_t = 10, value_name = "SECONDS")]
    pub(super) timeout: u32,
    /// First wait until the node has all that was committed at this moment (linearizable barrier).
    #[arg(long, global = true)]
    pub(super) fresh: bool,
}

#[derive(Subcommand)]
enum Command {
    /// A whole federation on this machine. 在本机运行一个完整的共享联盟
    Demo(demo::Args),
    /// Prepare an agency: authority, keys, first officers. 机构
    #[command(subcommand)]
    Agency(agency::Command),
    /// Genesis and membership of the federation. 共享联盟
    #[command(subcommand)]
    Federation(federation::Command),
    /// Run a node. 节点
    #[command(subcommand)]
    Node(node::Command),
    /// People of the own agency. 人员
    #[command(subcommand)]
    Person(person::Command),
    /// Agreements. 共享协议
    #[command(subcommand)]
    Agreement(agreement::Command),
    /// Marking guides. 定密细目
    #[command(subcommand)]
    Guide(guide::Command),
    /// Records. 情报
    #[command(subcommand)]
    Record(record::Command),
    /// Urgent notices, point to point. 通报
    #[command(subcommand)]
    Notice(notice::Command),
    /// Warnings to units. 预警
    #[command(subcommand)]
    Warning(warning::Command),
    /// The audit log. 审计
    #[command(subcommand)]
    Audit(audit::Command),
    /// The state of the cluster. 集群
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Policies. 策略
    #[command(subcommand)]
    Policy(policy::Command),
    /// Load tests against a running node.
    #[command(subcommand)]
    Bench(bench::Command),
    /// Look at configuration, disk, keys, clock and peers; says what to do. 诊断
    Doctor(doctor::Doctor),
    /// Shell completions.
    Completions {
        /// bash, zsh, fish, elvish or powershell.
        shell: clap_complete::Shell,
    },
}

/// Parses, runs, and turns the outcome into an exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => return usage_error(&e),
    };
    let out = Out::new(cli.globals.json, cli.globals.lang);
    match run(cli, &out) {
        Ok(code) => code,
        Err(fault) => {
            out.fault(&fault);
            ExitCode::from(fault.kind.exit_code())
        }
    }
}

fn run(cli: Cli, out: &Out) -> Result<ExitCode, Fault> {
    let g = &cli.globals;
    match cli.command {
        Command::Demo(args) => demo::run(args, out),
        Command::Agency(c) => agency::run(c, out),
        Command::Federation(c) => federation::run(c, g, out),
        Command::Node(c) => node::run(c),
        Command::Person(c) => person::run(c, g, out),
        Command::Agreement(c) => agreement::run(c, g, out),
        Command::Guide(c) => guide::run(c, g, out),
        Command::Record(c) => record::run(c, g, out),
        Command::Notice(c) => notice::run(c, g, out),
        Command::Warning(c) => warning::run(c, g, out),
        Command::Audit(c) => audit::run(c, g, out),
        Command::Cluster(c) => cluster::run(c, g, out),
        Command::Policy(c) => policy::run(c, g, out),
        Command::Bench(c) => bench::run(c, g, out),
        Command::Doctor(ask) => doctor::run(&ask, g, out),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "hufu", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// clap's own texts; with `--json` the same as one error object. Help and version are not errors.
fn usage_error(e: &clap::Error) -> ExitCode {
    if !e.use_stderr() {
        let _ = e.print();
        return ExitCode::SUCCESS;
    }
    if std::env::args_os().any(|a| a == "--json") {
        let text = e.to_string();
        let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        Out::new(true, None).fault(&Fault::usage("USAGE", first).hint("see `hufu --help`"));
    } else {
        let _ = e.print();
    }
    ExitCode::from(2)
}
