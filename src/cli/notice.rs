//! `hufu notice send|inbox|watch|show|ack|answer|track|cancel|recall|confirm`.

use super::act::Signer;
use super::args::Globals;
use super::client::{Client, block_on, fault};
use super::output::{Out, outln, shown};
use crate::config::read_text;
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{NoticeId, RecordId};
use crate::domain::label::Grade;
use crate::domain::notice::{Answer, Precedence, ReceiptState};
use crate::domain::time::{Clock, Millis};
use crate::node::SystemClock;
use crate::notice::person_bytes;
use crate::wire::pb::v1;
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// A watch whose node is away asks again after this long.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// A node ends a call after 30 s: a longer wait is several calls.
const ONE_CALL: Duration = Duration::from_secs(20);

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Send a notice. 发送通报
    Send(Send),
    /// Notices that came in, newest first. 收件
    Inbox {
        /// Most lines, 1 to 500.
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Print notices as they come in; goes on where it stopped. 值守
    Watch {
        /// End after this many notices.
        #[arg(long)]
        count: Option<u64>,
    },
    /// Show one notice.
    Show {
        /// Notice to show.
        id: NoticeId,
    },
    /// Take responsibility for a notice, with one's own signature. 签收
    Ack {
        /// Notice to acknowledge.
        id: NoticeId,
        /// Answer at the same time: assessed, in-hand, closed or refused.
        #[arg(long)]
        answer: Option<Answer>,
        /// Text of the answer, up to 2,000 characters; a refusal gives its reason.
        #[arg(long, default_value = "", requires = "answer")]
        text: String,
    },
    /// Answer a notice. 答复
    Answer {
        /// Notice to answer.
        id: NoticeId,
        /// assessed, in-hand, closed or refused.
        #[arg(long)]
        answer: Answer,
        /// Text, up to 2,000 characters; a refusal gives its reason.
        #[arg(long, default_value = "")]
        text: String,
    },
    /// What became of a notice that this agency sent. 跟踪
    Track {
        /// Notice to follow.
        id: NoticeId,
        /// Wait, up to --timeout, until all who must act have come this far: delivered, presented, acknowledged or answered;
        /// recalled waits until it is taken back from everybody. What ended otherwise is told at once.
        #[arg(long)]
        wait: Option<ReceiptState>,
    },
    /// Withdraw a notice from whoever has not seen it. 撤回
    Cancel {
        /// Notice to withdraw.
        id: NoticeId,
        /// Why, in words.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Take a notice back from everybody, seen or not. 收回
    Recall {
        /// Notice to take back.
        id: NoticeId,
        /// Why, 1 to 200 characters; its addressees are told.
        #[arg(long)]
        reason: String,
    },
    /// Confirm, as a classifier, a marking that went without agreement or guide. 定密确认
    Confirm {
        /// Notice whose marking is provisional.
        id: NoticeId,
    },
}

#[derive(clap::Args)]
pub(super) struct Send {
    /// Who must act, with commas: AGENCY, AGENCY/UNIT, AGENCY/PERSON, or @GROUP of the node's configuration.
    #[arg(long, value_delimiter = ',', required = true)]
    to: Vec<String>,
    /// Who is told only, in the same form.
    #[arg(long, value_delimiter = ',')]
    info: Vec<String>,
    /// flash 特提, immediate 特急, priority 加急 or routine 平急.
    #[arg(long, default_value = "routine")]
    precedence: Precedence,
    /// Grade: internal, confidential, secret or top-secret.
    #[arg(long)]
    grade: Grade,
    /// Subject, 1 to 200 characters.
    #[arg(long)]
    subject: String,
    #[command(flatten)]
    text: Text,
    /// Id of a record that every addressee may see; may be given several times.
    #[arg(long = "attach")]
    attachments: Vec<RecordId>,
    /// 演练: an exercise, flagged end to end.
    #[arg(long)]
    exercise: bool,
    /// 线索: all whom it concerns must acknowledge within 30 minutes.
    #[arg(long)]
    lead: bool,
    /// Id of the notice that this one follows.
    #[arg(long)]
    about: Option<NoticeId>,
}

/// The text of a notice or a warning, in the one way or the other.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Text {
    /// Text, up to 64 KiB.
    #[arg(long)]
    body: Option<String>,
    /// File with the text, UTF-8, up to 64 KiB.
    #[arg(long)]
    body_file: Option<PathBuf>,
}

impl Command {
    /// Whether it asks again and again until the time that it was given is over.
    pub(super) fn tracks(&self) -> bool {
        matches!(self, Command::Track { .. })
    }
}

pub(super) fn run(command: Command, g: &Globals, out: &Out) -> Result<ExitCode, Fault> {
    block_on(async {
        if let Command::Watch { count } = command {
            return watch(g, out, count).await;
        }
        let client = Client::connect(g).await?;
        match command {
            Command::Send(ask) => return send(&client, ask, out).await,
            Command::Inbox { limit } => {
                let r = client.notices().inbox(v1::NoticeInboxRequest { limit }).await.map_err(fault)?.into_inner();
                let columns = ["notice", "from", "precedence", "grade", "subject", "exercise", "state", "at", "ack_by"];
                out.table(&columns, &r.notices.iter().map(line).collect::<Vec<_>>());
                out.away(&r.away);
            }
            Command::Watch { .. } => {}
            Command::Show { id } => {
                let n = client.notices().show(one(&id)).await.map_err(fault)?.into_inner();
                out.answer(&line(&n), || text(&n, out));
                client.notices().presented(displayed(&n)).await.map_err(fault)?;
            }
            Command::Ack { id, answer, text } => {
                if answer == Some(Answer::Refused) && text.trim().is_empty() {
                    return Err(Fault::usage("BAD_ANSWER", "a refusal gives its reason").hint("add --text"));
                }
                say(&client, &id, None, "").await?;
                if let Some(answer) = answer {
                    say(&client, &id, Some(answer), &text).await?;
                }
                let state = if answer.is_some() { ReceiptState::Answered } else { ReceiptState::Acknowledged };
                done(&id, state, out);
            }
            Command::Answer { id, answer, text } => {
                say(&client, &id, Some(answer), &text).await?;
                done(&id, ReceiptState::Answered, out);
            }
            Command::Track { id, wait } => return track(&client, &id, wait, out).await,
            Command::Confirm { id } => {
                let refused = client.notices().confirm(one(&id)).await.map_err(fault)?.into_inner().refused;
                out.answer(
                    &json!({"notice": id.to_string(), "state": "marking-confirmed", "refused": refused}),
                    || format!("{id}: {}", out.say("定密已确认", "the marking is confirmed")),
                );
                return Ok(unless_refused(&refused, out));
            }
            Command::Recall { id, reason } => {
                let ask = v1::NoticeRecallRequest { notice: id.to_string(), reason };
                let refused = client.notices().recall(ask).await.map_err(fault)?.into_inner().refused;
                out.answer(&json!({"notice": id.to_string(), "state": "recalling", "refused": refused}), || {
                    format!("{id}: {}", out.say("正在收回；用 notice track 查看", "being taken back; see notice track"))
                });
                return Ok(unless_refused(&refused, out));
            }
            Command::Cancel { id, reason } => {
                let ask = v1::NoticeCancelRequest { notice: id.to_string(), reason };
                let refused = client.notices().cancel(ask).await.map_err(fault)?.into_inner().refused;
                out.answer(&json!({"notice": id.to_string(), "state": "cancelling", "refused": refused}), || {
                    format!("{id}: {}", out.say("正在撤回；用 notice track 查看", "being withdrawn; see notice track"))
                });
                return Ok(unless_refused(&refused, out));
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn one(id: &NoticeId) -> v1::NoticeRequest {
    v1::NoticeRequest { notice: id.to_string() }
}

/// What a terminal says once it displays a line.
pub(super) fn displayed(n: &v1::Notice) -> v1::NoticePresentedRequest {
    v1::NoticePresentedRequest { notice: n.notice.clone(), recall: n.state == ReceiptState::Recalled.as_str() }
}

fn done(id: &NoticeId, state: ReceiptState, out: &Out) {
    out.answer(&json!({"notice": id.to_string(), "state": state.as_str()}), || {
        format!("{id}: {}", out.say(state.zh(), state.as_str()))
    });
}

/// The text of `--body`, or of the file of `--body-file`; clap sees to it that there is one.
pub(super) fn body_of(text: Text) -> Result<String, Fault> {
    let Text { body, body_file } = text;
    body.map_or_else(|| body_file.map_or(Ok(String::new()), |f| read_text(&f)), Ok)
}

/// What went out is done; addressees for whom there was no room are named, and it is done in part.
pub(super) fn unless_refused(refused: &[String], out: &Out) -> ExitCode {
    if refused.is_empty() {
        return ExitCode::SUCCESS;
    }
    out.progress(&format!(
        "{}: {}",
        out.say(
            "发件空间不足，未发往以下机构，请稍后对其重发",
            "no room for a letter to these; repeat it for them later"
        ),
        shown(&refused.join(", "))
    ));
    ExitCode::from(FaultKind::Partial.exit_code())
}

async fn send(client: &Client, ask: Send, out: &Out) -> Result<ExitCode, Fault> {
    let Send { to, info, precedence, grade, subject, text, attachments, exercise, lead, about } = ask;
    let body = body_of(text)?;
    let request = v1::NoticeSendRequest {
        to,
        info,
        precedence: precedence.to_string(),
        grade: grade.to_string(),
        subject,
        body,
        attachments: attachments.iter().map(ToString::to_string).collect(),
        exercise,
        about: about.map(|n| n.to_string()).unwrap_or_default(),
        warning: None,
        lead,
    };
    let r = client.notices().send(request).await.map_err(fault)?.into_inner();
    out.answer(&json!({"notice": r.notice, "state": r.state, "refused": r.refused}), || {
        format!("{}  {}", r.notice, out.word(&r.state))
    });
    Ok(unless_refused(&r.refused, out))
}

/// Signs with the person's own key. The words are put together here and held against the node's, so that it cannot have
/// something else signed; that the letter is the one that was read, the node vouches for.
async fn say(client: &Client, id: &NoticeId, answer: Option<Answer>, text: &str) -> Result<(), Fault> {
    let word = answer.map(|a| a.to_string()).unwrap_or_default();
    let mut ask =
        v1::NoticeSayRequest { notice: id.to_string(), answer: word, text: text.to_owned(), signature: Vec::new() };
    let signer = Signer::of(client).await?;
    let r = client.notices().words(ask.clone()).await.map_err(fault)?.into_inner();
    let other = || {
        Fault::integrity("INTEGRITY", "the node asks for a signature under other words than yours")
            .hint("nothing was signed; tell your agency's security officer and operator")
    };
    let letter = r.letter.try_into().map_err(|_| other())?;
    let state = if answer.is_some() { ReceiptState::Answered } else { ReceiptState::Acknowledged };
    let answer = answer.map(|a| (a, text.to_owned()));
    let words = person_bytes(&signer.federation, &letter, state, answer.as_ref(), &signer.name);
    if words != r.words {
        return Err(other());
    }
    ask.signature = signer.as_person(&words);
    client.notices().say(ask).await.map_err(fault)?;
    Ok(())
}

async fn track(client: &Client, id: &NoticeId, wait: Option<ReceiptState>, out: &Out) -> Result<ExitCode, Fault> {
    let deadline = Instant::now() + client.timeout;
    let r = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let ask = v1::NoticeTrackRequest {
            notice: id.to_string(),
            wait: wait.map(|w| w.to_string()).unwrap_or_default(),
            timeout_ms: u32::try_from(left.min(ONE_CALL).as_millis()).unwrap_or(u32::MAX),
        };
        let r = client.notices().track(ask).await.map_err(fault)?.into_inner();
        if r.reached || r.ended || left <= ONE_CALL {
            break r;
        }
    };
    let receipts: Vec<Value> = r
        .steps
        .iter()
        .map(|s| {
            let by = (!s.by.is_empty()).then_some(&s.by);
            let mut step = json!({"agency": s.agency, "state": s.state, "at": Millis(s.at).to_rfc3339(), "by": by});
            if let (false, Some(fields)) = (s.answer.is_empty(), step.as_object_mut()) {
                fields.insert("answer".into(), json!(s.answer));
                fields.insert("text".into(), json!(s.text));
            }
            step
        })
        .collect();
    if out.is_json() {
        out.answer(&json!({"notice": id.to_string(), "state": r.state, "receipts": receipts, "lead": r.lead.as_ref().map(clock)}), String::new);
    } else {
        outln!("{id}  {}", shown(&out.word(&r.state)));
        if let Some(lead) = &r.lead {
            outln!("{}", shown(&deadline_words(lead, out)));
        }
        out.table(&["agency", "state", "at", "by", "answer", "text"], &receipts);
    }
    if !r.reached {
        let waited = wait.map(|w| w.to_string()).unwrap_or_default();
        if r.ended {
            let why = format!("not `{waited}`, and nothing is tried any more that could bring it");
            return Err(Fault::unavailable("DEADLINE", why).hint(
                "a late receipt still corrects it; where delivery is unknown, ask the addressee by other means",
            ));
        }
        return Err(Fault::unavailable("DEADLINE", format!("not `{waited}` yet"))
            .hint("it goes on by itself; ask again, or wait longer with --timeout"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints what comes in. A node that is away, or a stream that ends, is asked again; being refused ends it.
async fn watch(g: &Globals, out: &Out, count: Option<u64>) -> Result<ExitCode, Fault> {
    let mut printed = 0;
    let mut away = false;
    loop {
        match watch_once(g, out, count, &mut printed).await.map_err(|f| g.cause(f)) {
            Ok(()) if count.is_some_and(|c| printed >= c) => return Ok(ExitCode::SUCCESS),
            Ok(()) => {}
            Err(f) if f.kind == FaultKind::Unavailable || f.kind == FaultKind::Internal => {
                if !away {
                    out.progress(&format!(
                        "{}: {}",
                        out.say("节点暂不可达，继续等待", "the node is away, waiting"),
                        shown(&out.told(&f))
                    ));
                }
                away = true;
            }
            Err(f) => return Err(f),
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

async fn watch_once(g: &Globals, out: &Out, count: Option<u64>, printed: &mut u64) -> Result<(), Fault> {
    let client = Client::connect(g).await?;
    let mut notices = client.notices();
    let mut stream = notices.watch(v1::NoticeWatchRequest {}).await.map_err(fault)?.into_inner();
    while count.is_none_or(|c| *printed < c) {
        let Some(n) = stream.message().await.map_err(fault)? else { return Ok(()) };
        out.answer(&line(&n), || text(&n, out));
        if std::io::stdout().is_terminal() {
            print!("\u{7}");
        }
        std::io::stdout().flush().map_err(|e| Fault::usage("UNWRITABLE", format!("cannot print: {e}")))?;
        *printed += 1;
        // Nobody saw what it says.
        if !n.unopenable.is_empty() {
            continue;
        }
        // Only now it is displayed. One that was withdrawn meanwhile, or that the node does not take the word for, must not
        // end the watch: what comes after it would never be seen.
        match client.notices().presented(displayed(&n)).await.map_err(fault) {
            Ok(_) => {}
            Err(f) if f.kind == FaultKind::Unavailable || f.reason == "UNKNOWN_PERSON" => return Err(f),
            Err(f) => out.progress(&format!(
                "{}: {}",
                out.say("呈现未能登记", "that it was displayed could not be told"),
                shown(&out.told(&f))
            )),
        }
    }
    Ok(())
}

fn line(n: &v1::Notice) -> Value {
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    // A recalled warning has no times any more.
    let time = |at: u64| (at > 0).then(|| Millis(at).to_rfc3339());
    json!({
        "notice": n.notice, "from": n.from, "precedence": n.precedence, "grade": n.grade, "subject": n.subject,
        "body": n.body, "exercise": n.exercise, "state": n.state, "at": Millis(n.at).to_rfc3339(), "ack_by": some(&n.ack_by), "reason": some(&n.reason),
        "unopenable": some(&n.unopenable), "sender": n.sender, "action": n.action, "attachments": n.attachments, "about": some(&n.about),
        "escalated": n.escalated, "lead": n.lead.as_ref().map(clock), "sent": Millis(n.sent).to_rfc3339(), "provisional": n.provisional, "warning": n.warning.as_ref().map(|w| json!({
            "level": w.level, "kind": w.kind, "area": w.area, "measures": w.measures, "issuer": w.issuer, "tier": w.tier,
            "start": time(w.start), "end": time(w.end),
        })),
    })
}

/// A lead's clock, with the seconds that are left; negative when it is over.
fn clock(lead: &v1::Lead) -> Value {
    json!({"stage": lead.stage, "due": Millis(lead.due).to_rfc3339(), "left_s": left_s(lead), "met": lead.met})
}

fn left_s(lead: &v1::Lead) -> i64 {
    ((i128::from(lead.due) - i128::from(SystemClock.now().0)) / 1000) as i64
}

/// The same as a sentence.
fn deadline_words(lead: &v1::Lead, out: &Out) -> String {
    let (stage, due, left) = (out.word(&lead.stage), Millis(lead.due).to_rfc3339(), left_s(lead));
    let kept = match (lead.met, left >= 0) {
        (true, _) => out.say("已按时签收", "acknowledged in time").to_owned(),
        (false, true) => format!("{} {left} {}", out.say("剩余", "left:"), out.say("秒", "s")),
        (false, false) => out.say("已超时", "overdue").to_owned(),
    };
    format!("{}: {stage}  {} {due}  {kept}", out.say("线索时限", "lead"), out.say("截止", "due"))
}

fn text(n: &v1::Notice, out: &Out) -> String {
    let (precedence, grade) = (out.word(&n.precedence), out.word(&n.grade));
    if !n.unopenable.is_empty() {
        let why = out.say("内容在保存它的节点上无法打开", "what it says does not open at the node that has it");
        return format!("[{precedence}] {}  {}  {grade}  {why}: {}\n", n.notice, n.from, n.unopenable);
    }
    let exercise = if n.exercise { out.say("【演练】", "[EXERCISE] ") } else { "" };
    let act =
        if n.action { out.say("须签收", "must be acknowledged") } else { out.say("抄送", "for information") };
    if n.state == ReceiptState::Recalled.as_str() {
        let taken_back = out.say("已被发送方收回", "taken back by its sender");
        return format!("{exercise}[{precedence}] {}  {}  {grade}  {taken_back}\n{}\n", n.notice, n.sender, n.reason);
    }
    let mut all = format!("{exercise}[{precedence}] {}  {}  {grade}  {act}\n{}\n", n.notice, n.sender, n.subject);
    if let Some(w) = &n.warning {
        let (level, kind, gap) = (out.word(&w.level), out.word(&w.kind), out.say("", " "));
        let (until, to_do) = (Millis(w.end).to_rfc3339(), out.say("措施", "measures"));
        all.push_str(&format!("{level}{gap}{kind}  {}  {} → {until}\n", w.area, Millis(w.start).to_rfc3339()));
        all.push_str(&format!("{to_do}: {}\n", w.measures));
    }
    all.push_str(&n.body);
    if n.provisional {
        all.push_str(&format!("\n{}", out.say("（暂定密级，待定密责任人确认）", "(provisional marking)")));
    }
    for record in &n.attachments {
        all.push_str(&format!("\n{}: {record}", out.say("附件", "attached")));
    }
    all
}
