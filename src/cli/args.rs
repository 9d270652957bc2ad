//! Arguments, global options and the way out.

use super::output::outln;
use super::output::{Lang, Out, shown};
use super::{
    agency, agreement, audit, bench, cluster, demo, doctor, federation, guide, node, notice, person, policy, record,
    warning,
};
use crate::domain::fault::Fault;
use crate::domain::limits;
use crate::identity::Refusal;
use clap::error::{ContextKind, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};
use std::error::Error as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

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
    /// How long a write waits for a leader, in seconds, at most 120; `notice track` waits as long as it is told to.
    #[arg(long, global = true, default_value_t = 10, value_name = "SECONDS")]
    pub(super) timeout: u32,
    /// First wait until the node has all that was committed at this moment (linearizable barrier).
    #[arg(long, global = true)]
    pub(super) fresh: bool,
    /// What the newest connection hears of the person's certificate.
    #[arg(skip)]
    heard: Mutex<Option<Refusal>>,
}

impl Globals {
    /// Keeps what a new connection may hear: a node that refuses a certificate says so when calls are under way already.
    pub(super) fn connected(&self, refusal: Refusal) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
    }

    /// What it was that a broken connection was told as.
    pub(super) fn cause(&self, fault: Fault) -> Fault {
        if !["NODE_UNREACHABLE", "UNAVAILABLE", "INTERNAL"].contains(&fault.reason) {
            return fault;
        }
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.as_ref().and_then(Refusal::error).map_or(fault, Fault::from)
    }
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
    /// Load tests against a running node. 压测
    #[command(subcommand)]
    Bench(bench::Command),
    /// Look at configuration, disk, keys, clock and peers; says what to do. 诊断
    Doctor(doctor::Doctor),
    /// Shell completions. 命令补全
    Completions {
        /// Shell to write them for, on stdout.
        shell: clap_complete::Shell,
    },
}

/// Parses, runs, and turns the outcome into an exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => return usage_error(&e),
    };
    let Cli { globals, command } = cli;
    let out = Out::new(globals.json, globals.lang);
    match run(command, &globals, &out).map_err(|fault| globals.cause(fault)) {
        Ok(code) => code,
        Err(fault) => {
            out.fault(&fault);
            ExitCode::from(fault.kind.exit_code())
        }
    }
}

fn run(command: Command, g: &Globals, out: &Out) -> Result<ExitCode, Fault> {
    // A tracking asks again until its time is over; any other wait is one call, and a node ends that.
    let asks_again = matches!(&command, Command::Notice(c) if c.tracks());
    if u64::from(g.timeout) * 1000 > limits::LEADER_WAIT_MS && !asks_again {
        let why = format!("--timeout takes at most {} seconds", limits::LEADER_WAIT_MS / 1000);
        return Err(Fault::usage("USAGE", why).hint("what was accepted goes on by itself; ask again later"));
    }
    match command {
        Command::Demo(args) => demo::run(args, out),
        Command::Agency(c) => agency::run(c, out),
        Command::Federation(c) => federation::run(c, g, out),
        Command::Node(c) => node::run(c, out),
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
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "hufu", &mut script);
            outln!("{}", String::from_utf8_lossy(&script).trim_end());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// clap's own texts, the commonest in Chinese too; with `--json` the same as one error object. Help and version are not
/// errors.
fn usage_error(e: &clap::Error) -> ExitCode {
    if !e.use_stderr() {
        let _ = e.print();
        return ExitCode::SUCCESS;
    }
    let words: Vec<String> = std::env::args_os().map(|w| w.to_string_lossy().into_owned()).collect();
    let out = Out::of_words(&words);
    // What a word's own parser said, with a way out.
    let fault = e.source().and_then(|s| s.downcast_ref::<Fault>());
    let hint = fault.and_then(|f| f.hint.as_deref());
    let text = e.to_string();
    if out.is_json() {
        let fault = Fault::usage("USAGE", first_paragraph(e, &text)).hint(hint.unwrap_or("see `hufu --help`"));
        out.fault(&fault);
    } else if e.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = e.print();
    } else if !out.is_zh() {
        let _ = e.print();
        if let Some(hint) = hint {
            eprintln!("hint: {}", shown(hint));
        }
    } else if let Some(zh) = usage_zh(e, fault, &out) {
        eprintln!("错误: {}", shown(&zh));
        for (kind, name) in [
            (ContextKind::ValidValue, "可用"),
            (ContextKind::SuggestedValue, "是否指"),
            (ContextKind::SuggestedArg, "是否指"),
            (ContextKind::SuggestedSubcommand, "是否指"),
        ] {
            if let Some(known) = e.get(kind).map(ToString::to_string).filter(|k| !k.is_empty()) {
                eprintln!("提示: {name}：{}", shown(&known));
            }
        }
        if let Some(hint) = hint {
            eprintln!("提示: {}", shown(&out.sentence(hint)));
        }
        if let Some(usage) = e.get(ContextKind::Usage).map(ToString::to_string) {
            eprintln!("{}", usage.replacen("Usage:", "用法:", 1));
        }
        eprintln!("更多说明见 `--help`。");
    } else {
        let framed = text.replacen("error:", "错误:", 1).replacen("Usage:", "用法:", 1);
        eprintln!("{}", framed.replace("For more information, try '--help'.", "更多说明见 `--help`。").trim_end());
    }
    ExitCode::from(2)
}

/// The error without usage and advice, on one line.
fn first_paragraph(e: &clap::Error, text: &str) -> String {
    if e.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "a command is missing".into();
    }
    let lines: Vec<&str> = text.lines().take_while(|l| !l.trim().is_empty()).map(str::trim).collect();
    lines.join(" ").trim_start_matches("error: ").to_owned()
}

/// The commonest errors of a command line in Chinese.
fn usage_zh(e: &clap::Error, fault: Option<&Fault>, out: &Out) -> Option<String> {
    let of = |kind| e.get(kind).map(ToString::to_string).unwrap_or_default();
    let (arg, value, prior) = (of(ContextKind::InvalidArg), of(ContextKind::InvalidValue), of(ContextKind::PriorArg));
    Some(match e.kind() {
        ErrorKind::MissingRequiredArgument => format!("缺少必需的参数：{arg}"),
        ErrorKind::InvalidValue if value.is_empty() => format!("参数 {arg} 没有值"),
        ErrorKind::InvalidValue => format!("参数 {arg} 的值 `{value}` 无效"),
        ErrorKind::ValueValidation => {
            let why = fault.map(|f| out.told(f)).or_else(|| e.source().map(|s| out.sentence(&s.to_string())));
            format!("参数 {arg} 的值 `{value}` 无效：{}", why.unwrap_or_default())
        }
        ErrorKind::UnknownArgument => format!("没有参数 {arg}"),
        ErrorKind::InvalidSubcommand => format!("没有命令 `{}`", of(ContextKind::InvalidSubcommand)),
        ErrorKind::ArgumentConflict if arg.is_empty() => return None,
        ErrorKind::ArgumentConflict if prior == arg => format!("参数 {arg} 只能出现一次"),
        ErrorKind::ArgumentConflict if prior.is_empty() => format!("参数 {arg} 不能与所给的其他参数同用"),
        ErrorKind::ArgumentConflict => format!("参数 {arg} 不能与 {prior} 同用"),
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    fn refused(words: &[&str]) -> clap::Error {
        Cli::try_parse_from(std::iter::once(&"hufu").chain(words)).err().unwrap()
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    /// Whoever gives no text hears of every way to give one, in both languages; two of them are one too many.
    #[test]
    fn a_missing_text_names_every_way_to_give_one() {
        let publish = ["record", "publish", "--title", "x", "--grade", "internal"];
        let send = ["notice", "send", "--to", "customs", "--subject", "x", "--grade", "internal"];
        let issue = ["warning", "issue", "--to", "customs", "--subject", "x", "--level", "red", "--area", "x"];
        for command in [&publish[..], &send, &issue] {
            let e = refused(command);
            let zh = usage_zh(&e, None, &Out::of_words(&["--lang=zh".to_owned()])).unwrap();
            for told in [first_paragraph(&e, &e.to_string()), zh] {
                assert!(told.contains("--body <") && told.contains("--body-file <"), "{told}");
            }
            assert!(Cli::try_parse_from([&["hufu"][..], command, &["--body", "x"]].concat()).is_ok());
            let both = refused(&[command, &["--body", "x", "--body-file", "x"]].concat());
            assert_eq!(both.kind(), ErrorKind::ArgumentConflict);
        }
    }
}
