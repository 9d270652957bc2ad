//! `hufu warning issue|list|cancel`: notices that are warnings, and the same as CAP 1.2.

use super::args::Globals;
use super::client::{Client, block_on, fault};
use super::notice::{Text, body_of, unless_refused};
use super::output::Out;
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::NoticeId;
use crate::domain::label::Grade;
use crate::domain::notice::{Precedence, ReceiptState, Warning, WarningKind, WarningLevel};
use crate::domain::time::{Clock, Millis};
use crate::interop::{CapAlert, cap};
use crate::node::SystemClock;
use crate::wire::pb::v1;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// What to do about a notice that is no warning, or another agency's.
const SEE_LIST: &str = "see `hufu warning list`";
/// What to do about a file that cannot be written.
const CHECK_FOLDER: &str = "check the path, the free space and who may write there";

const DAY_MS: u64 = 24 * 3_600_000;
/// The own copy comes by the same way as everybody's.
const OWN_COPY: Duration = Duration::from_secs(5);

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Issue a warning, or update an earlier one. 发布预警
    Issue(Box<Issue>),
    /// Warnings of this agency and to it, newest first.
    List,
    /// End a warning for everybody who got it. 解除预警
    Cancel {
        /// Warning to end.
        id: NoticeId,
        /// Why, in words.
        #[arg(long)]
        reason: String,
        /// Also write it to this file as CAP 1.2.
        #[arg(long, value_name = "FILE")]
        cap: Option<PathBuf>,
    },
}

#[derive(clap::Args)]
pub(super) struct Issue {
    /// red 红, orange 橙, yellow 黄 or blue 蓝.
    #[arg(long)]
    level: WarningLevel,
    /// Who must act, with commas: AGENCY, AGENCY/UNIT, AGENCY/PERSON, or @GROUP of the node's configuration.
    #[arg(long, value_delimiter = ',', required = true)]
    to: Vec<String>,
    /// Who is told only, in the same form; the own agency always is.
    #[arg(long, value_delimiter = ',')]
    info: Vec<String>,
    /// Grade: internal, confidential, secret or top-secret.
    #[arg(long, default_value = "internal")]
    grade: Grade,
    /// Subject, 1 to 200 characters.
    #[arg(long)]
    subject: String,
    #[command(flatten)]
    text: Text,
    /// Where, in words, 1 to 200 characters.
    #[arg(long)]
    area: String,
    /// What to do, up to 2,000 characters.
    #[arg(long, default_value = "")]
    measures: String,
    /// From when, as YYYY-MM-DD or RFC 3339; now by default.
    #[arg(long, value_name = "DATE")]
    start: Option<String>,
    /// Until when, in the same form; a day after the start by default.
    #[arg(long, value_name = "DATE")]
    end: Option<String>,
    /// How urgently: flash, immediate, priority or routine; by default red goes as flash, orange immediate, yellow priority, blue routine.
    #[arg(long)]
    precedence: Option<Precedence>,
    /// Id of the warning that this one updates.
    #[arg(long, value_name = "ID")]
    update: Option<NoticeId>,
    /// 演练: an exercise, flagged end to end.
    #[arg(long)]
    exercise: bool,
    /// Also write it to this file as CAP 1.2.
    #[arg(long, value_name = "FILE")]
    cap: Option<PathBuf>,
}

pub(super) fn run(command: Command, g: &Globals, out: &Out) -> Result<ExitCode, Fault> {
    block_on(async {
        let client = Client::connect(g).await?;
        match command {
            Command::Issue(ask) => issue(&client, *ask, out).await,
            Command::List => list(&client, out).await.map(|()| ExitCode::SUCCESS),
            Command::Cancel { id, reason, cap } => cancel(&client, &id, reason, cap.as_deref(), out).await,
        }
    })
}

async fn issue(client: &Client, ask: Issue, out: &Out) -> Result<ExitCode, Fault> {
    let now = SystemClock.now();
    let start = ask.start.map_or(Ok(now), |t| Millis::parse(&t))?;
    let end = ask.end.map_or(Ok(start.plus_ms(DAY_MS)), |t| Millis::parse(&t))?;
    let kind = if ask.update.is_some() { WarningKind::Update } else { WarningKind::Alert };
    let earlier = match &ask.update {
        Some(id) => Some(shown(client, id).await?),
        None => None,
    };
    let of_own = |e: &v1::Notice| e.warning.is_some() && e.from == client.agency.to_string() && !is_recalled(e);
    if earlier.as_ref().is_some_and(|e| !of_own(e)) {
        return Err(Fault::usage("NOT_A_WARNING", "only a warning of the own agency can be updated").hint(SEE_LIST));
    }
    // What follows an exercise is one, and an exercise never follows what was real.
    let exercise = earlier.as_ref().map_or(ask.exercise, |e| e.exercise);
    if ask.exercise && !exercise {
        return Err(Fault::usage(
            "NOT_AN_EXERCISE",
            "the earlier warning was real, and an exercise does not update it",
        )
        .hint("leave out --exercise, or issue it as a new warning"));
    }
    let request = v1::NoticeSendRequest {
        to: ask.to,
        info: ask.info,
        precedence: ask.precedence.unwrap_or(ask.level.precedence()).to_string(),
        grade: ask.grade.to_string(),
        subject: ask.subject,
        body: body_of(ask.text)?,
        exercise,
        about: ask.update.map(|n| n.to_string()).unwrap_or_default(),
        warning: Some(v1::Warning {
            level: ask.level.to_string(),
            kind: kind.to_string(),
            area: ask.area,
            measures: ask.measures,
            start: start.0,
            end: end.0,
            ..v1::Warning::default()
        }),
        ..v1::NoticeSendRequest::default()
    };
    send(client, request, earlier.as_ref(), ask.cap.as_deref(), out).await
}

async fn cancel(
    client: &Client,
    id: &NoticeId,
    reason: String,
    cap: Option<&Path>,
    out: &Out,
) -> Result<ExitCode, Fault> {
    let earlier = shown(client, id).await?;
    let of_own = earlier.from == client.agency.to_string() && !is_recalled(&earlier);
    let warning = earlier.warning.clone().filter(|_| of_own);
    let other = || Fault::usage("NOT_A_WARNING", "only a warning of the own agency can be ended").hint(SEE_LIST);
    let warning = warning.ok_or_else(other)?;
    // An all-clear wakes nobody: whoever was warned is told.
    let request = v1::NoticeSendRequest {
        info: earlier.addressees.clone(),
        precedence: earlier.precedence.clone(),
        grade: earlier.grade.clone(),
        subject: format!("解除：{}", earlier.subject),
        body: reason,
        exercise: earlier.exercise,
        about: id.to_string(),
        warning: Some(v1::Warning { kind: WarningKind::Cancel.to_string(), ..warning }),
        ..v1::NoticeSendRequest::default()
    };
    send(client, request, Some(&earlier), cap, out).await
}

/// Sends it with a copy for the own agency, from which list, update and CAP are made.
async fn send(
    client: &Client,
    mut request: v1::NoticeSendRequest,
    earlier: Option<&v1::Notice>,
    cap: Option<&Path>,
    out: &Out,
) -> Result<ExitCode, Fault> {
    let own = client.agency.to_string();
    let all = request.to.iter().chain(&request.info);
    if !all.clone().any(|a| *a == own) {
        request.info.push(own);
    }
    // Everything that can be known is checked before anybody is woken.
    if cap.is_some() && request.grade.parse::<Grade>()? == Grade::TopSecret {
        return Err(Fault::refused("NO_EXPORT", "what is top-secret is not written to a file (SSR §29)")
            .hint("issue it without --cap"));
    }
    let unwritable = |file: &Path, e: std::io::Error| {
        Fault::usage("UNWRITABLE_FILE", format!("cannot write `{}`: {e}", file.display())).hint(CHECK_FOLDER)
    };
    // What stands in the file stays there until the new document is whole.
    let open = |file| OpenOptions::new().write(true).create(true).truncate(false).open(file);
    let opened = cap.map(|file| open(file).map_err(|e| unwritable(file, e))).transpose()?;
    let r = client.notices().send(request).await.map_err(fault)?.into_inner();
    out.answer(&json!({"notice": r.notice, "state": r.state, "refused": r.refused}), || {
        format!("{}  {}", r.notice, out.word(&r.state))
    });
    let sent = unless_refused(&r.refused, out);
    let (Some(file), Some(mut opened)) = (cap, opened) else { return Ok(sent) };
    let written = async {
        let copy = own_copy(client, &r.notice.parse()?).await?;
        let federation = client.federation().show(v1::ShowFederationRequest {}).await.map_err(fault)?.into_inner();
        let text = document(&copy, earlier, &federation.federation)?;
        opened.set_len(0).and_then(|()| opened.write_all(text.as_bytes())).map_err(|e| unwritable(file, e))
    };
    // The warning is out: only its copy failed, and it must not be issued again.
    Ok(match written.await {
        Ok(()) => sent,
        Err(f) => {
            out.fault(&f.hint("the notice is out; its file is not: do not issue it again"));
            ExitCode::from(FaultKind::Partial.exit_code())
        }
    })
}

async fn shown(client: &Client, id: &NoticeId) -> Result<v1::Notice, Fault> {
    let ask = v1::NoticeRequest { notice: id.to_string() };
    Ok(client.notices().show(ask).await.map_err(fault)?.into_inner())
}

async fn own_copy(client: &Client, id: &NoticeId) -> Result<v1::Notice, Fault> {
    let deadline = Instant::now() + OWN_COPY;
    loop {
        match shown(client, id).await {
            Err(f) if f.kind == FaultKind::NotFound && Instant::now() < deadline => {
                sleep(Duration::from_millis(20)).await
            }
            other => return other,
        }
    }
}

fn document(n: &v1::Notice, earlier: Option<&v1::Notice>, federation: &str) -> Result<String, Fault> {
    let w = n.warning.clone().ok_or_else(|| Fault::internal("INTERNAL", "the warning came back without itself"))?;
    let warning = Warning {
        level: w.level.parse()?,
        kind: w.kind.parse()?,
        area: w.area,
        measures: w.measures,
        start: Millis(w.start),
        end: Millis(w.end),
        issuer: w.issuer,
        tier: w.tier,
    };
    let alert = CapAlert {
        identifier: &n.notice,
        sender: &format!("{}.{federation}", n.from),
        sent: Millis(n.sent),
        exercise: n.exercise,
        grade: n.grade.parse()?,
        headline: &n.subject,
        description: &n.body,
        warning: &warning,
        earlier: earlier.map(|e| (e.notice.as_str(), Millis(e.sent))),
    };
    cap(&alert).map_err(|e| Fault::internal("ENCODE", e.to_string()))
}

async fn list(client: &Client, out: &Out) -> Result<(), Fault> {
    let r = client.notices().inbox(v1::NoticeInboxRequest { limit: 500 }).await.map_err(fault)?.into_inner();
    out.away(&r.away);
    let row = |(n, w, (state, zh)): (&v1::Notice, &v1::Warning, Standing)| {
        let state = if out.is_json() { state } else { out.say(zh, state) };
        let about = (!n.about.is_empty()).then_some(&n.about);
        // One that was recalled has no times any more.
        let time = |at: u64| (at > 0).then(|| Millis(at).to_rfc3339());
        json!({
            "notice": n.notice, "level": w.level, "kind": w.kind, "state": state, "area": w.area, "subject": n.subject,
            "measures": w.measures, "start": time(w.start), "end": time(w.end), "issuer": w.issuer, "tier": w.tier,
            "from": n.from, "grade": n.grade, "exercise": n.exercise, "about": about,
        })
    };
    let rows: Vec<Value> = standings(&r.notices, SystemClock.now().0).into_iter().map(row).collect();
    out.table(&["notice", "level", "state", "area", "subject", "start", "end", "issuer", "exercise"], &rows);
    Ok(())
}

/// How a warning stands: the word, and the same in Chinese.
type Standing = (&'static str, &'static str);

/// The warnings among notices, newest first, and how each stands. One that was recalled says nothing any more: it neither
/// ends nor updates another.
fn standings(all: &[v1::Notice], now: u64) -> Vec<(&v1::Notice, &v1::Warning, Standing)> {
    let says = |n: &&v1::Notice| !is_recalled(n);
    // An all-clear for any warning of a chain ends the chain.
    let ends = |n: &&v1::Notice| n.warning.as_ref().is_some_and(|w| w.kind == WarningKind::Cancel.as_str());
    let ended: BTreeSet<&str> = all.iter().filter(says).filter(ends).map(|n| first_of(all, n)).collect();
    let mut followed: BTreeMap<&str, &str> = BTreeMap::new();
    let mut found = Vec::new();
    for n in all {
        let Some(w) = &n.warning else { continue };
        let standing = match followed.get(n.notice.as_str()) {
            _ if is_recalled(n) => ("recalled", "已收回"),
            Some(kind) if *kind == WarningKind::Cancel.as_str() => ("cancelled", "已解除"),
            Some(_) => ("updated", "已更新"),
            None if w.kind == WarningKind::Cancel.as_str() => ("cancel", "解除"),
            None if ended.contains(first_of(all, n)) => ("cancelled", "已解除"),
            None if w.end <= now => ("ended", "已到期"),
            None => ("in-force", "有效"),
        };
        // Newest first: what follows a warning was seen before it. Only its own issuer's word counts.
        let own = |m: &&v1::Notice| m.notice == n.about && m.from == n.from;
        if all.iter().any(|m| own(&m)) && says(&n) {
            followed.entry(&n.about).or_insert(&w.kind);
        }
        found.push((n, w, standing));
    }
    found
}

fn is_recalled(n: &v1::Notice) -> bool {
    n.state == ReceiptState::Recalled.as_str()
}

/// The first warning of a chain, as far as it is here; only its own issuer's word counts.
fn first_of<'a>(all: &'a [v1::Notice], n: &'a v1::Notice) -> &'a str {
    let (mut at, mut left) = (n, all.len());
    while let Some(earlier) = all.iter().find(|m| m.notice == at.about && m.from == at.from).filter(|_| left > 0) {
        (at, left) = (earlier, left - 1);
    }
    &at.notice
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    /// A warning of police; `about` names the one that it follows.
    fn warning(notice: &str, kind: WarningKind, about: &str) -> v1::Notice {
        let warning = v1::Warning { kind: kind.to_string(), end: 100, ..v1::Warning::default() };
        let state = ReceiptState::Delivered.to_string();
        let (notice, about) = (notice.to_owned(), about.to_owned());
        v1::Notice { notice, from: "police".into(), about, state, warning: Some(warning), ..v1::Notice::default() }
    }

    /// What is left of it.
    fn recalled(notice: &str, kind: WarningKind) -> v1::Notice {
        let state = ReceiptState::Recalled.to_string();
        let bare = v1::Warning { kind: kind.to_string(), ..v1::Warning::default() };
        v1::Notice { state, warning: Some(bare), ..warning(notice, kind, "") }
    }

    fn states(all: &[v1::Notice]) -> Vec<&'static str> {
        standings(all, 50).into_iter().map(|(_, _, (state, _))| state).collect()
    }

    #[test]
    fn a_recalled_warning_is_listed_as_that() {
        let (first, update) = (warning("n-1", WarningKind::Alert, ""), warning("n-2", WarningKind::Update, "n-1"));
        assert_eq!(states(&[update.clone(), first.clone()]), ["in-force", "updated"]);
        assert_eq!(states(&[update, recalled("n-1", WarningKind::Alert)]), ["in-force", "recalled"]);
        assert_eq!(states(&[recalled("n-2", WarningKind::Update), first.clone()]), ["recalled", "in-force"]);
        // An all-clear that was taken back clears nothing.
        let clear = warning("n-3", WarningKind::Cancel, "n-1");
        assert_eq!(states(&[clear, first.clone()]), ["cancel", "cancelled"]);
        assert_eq!(states(&[recalled("n-3", WarningKind::Cancel), first.clone()]), ["recalled", "in-force"]);
        // What is no warning is not listed, recalled or not.
        let plain = v1::Notice { warning: None, ..recalled("n-4", WarningKind::Alert) };
        assert_eq!(states(&[plain, first]), ["in-force"]);
    }
}
