//! `hufu doctor`: what is wrong, and what to do. Offline beside a node, online with a profile, or both.

use super::args::Globals;
use super::client::{Client, block_on, fault};
use super::output::{Out, next_step};
use crate::config::NodeConfig;
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::time::{Clock, Millis};
use crate::journal::{Host, System};
use crate::node::{ListState, SystemClock, check_config, check_data, check_lists};
use crate::seal::SUITE_NOTICE;
use crate::wire::pb::v1;
use serde_json::json;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// Writes of the disk check.
const SYNCS: usize = 64;
/// Less free space than this is worth a warning, in bytes.
const FREE: u64 = 2 << 30;
/// A median sync under this is no disk's: the device answers before the data is safe, or it is memory.
const TOO_FAST_US: u128 = 20;
const SLOW_US: u128 = 20_000;
/// A list that ends sooner than this is worth a warning.
const LIST_ENDS_SOON_MS: u64 = 7 * 86_400_000;
/// 2026-01-01, before which no node of this version can run.
const EPOCH: Millis = Millis(1_767_225_600_000);

#[derive(clap::Args)]
pub(super) struct Doctor {
    /// Configuration of a node on this machine, hufu.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Ok,
    Warning,
    Bad,
}

struct Finding {
    check: &'static str,
    state: State,
    detail: String,
    hint: String,
    /// What a bad finding makes of the exit code.
    kind: FaultKind,
    /// The reason of a bad finding.
    reason: Option<&'static str>,
}

impl Finding {
    fn said(&self, out: &Out) -> String {
        match self.reason {
            Some(reason) => out.told(&Fault::new(self.kind, reason, self.detail.clone())),
            None => out.sentence(&self.detail),
        }
    }
}

fn ok(check: &'static str, detail: impl Into<String>) -> Finding {
    Finding {
        check,
        state: State::Ok,
        detail: detail.into(),
        hint: String::new(),
        kind: FaultKind::Usage,
        reason: None,
    }
}

fn warning(check: &'static str, detail: impl Into<String>, hint: &str) -> Finding {
    let kind = FaultKind::Usage;
    Finding { check, state: State::Warning, detail: detail.into(), hint: hint.into(), kind, reason: None }
}

fn bad(check: &'static str, f: &Fault) -> Finding {
    let hint = f.hint.clone().unwrap_or_else(|| next_step(f.kind).to_owned());
    Finding { check, state: State::Bad, detail: f.message.clone(), hint, kind: f.kind, reason: Some(f.reason) }
}

pub(super) fn run(ask: &Doctor, g: &Globals, out: &Out) -> Result<ExitCode, Fault> {
    if ask.config.is_none() && g.profile.is_none() {
        return Err(
            Fault::usage("USAGE", "nothing to look at").hint("give --config FILE of a node, --profile, or both")
        );
    }
    let mut findings = vec![clock()];
    if let Some(file) = &ask.config {
        offline(file, &mut findings);
    }
    if g.profile.is_some() {
        online(g, &mut findings);
    }
    let last = SUITE_NOTICE.lines().last().unwrap_or_default();
    let notice = if out.is_json() { last } else { out.say(SUITE_NOTICE.lines().next().unwrap_or_default(), last) };
    findings.push(warning("suite", notice, "use it for exercises and fictitious data only"));
    Ok(report(&findings, out))
}

fn report(findings: &[Finding], out: &Out) -> ExitCode {
    let count = |s: State| findings.iter().filter(|f| f.state == s).count();
    for f in findings {
        let state = match f.state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Bad => "bad",
        };
        let hint = (!f.hint.is_empty()).then_some(&f.hint);
        out.answer(&json!({"check": f.check, "state": state, "detail": f.detail, "hint": hint}), || {
            let hint = hint.map(|h| format!("\n         {}: {}", out.say("处理", "do"), out.sentence(h)));
            let (state, check) = (out.word(state), out.word(f.check));
            format!("{state:<8} {check}: {}{}", f.said(out), hint.unwrap_or_default())
        });
    }
    let (fine, warnings, wrong) = (count(State::Ok), count(State::Warning), count(State::Bad));
    out.answer(&json!({"ok": fine, "warnings": warnings, "bad": wrong}), || {
        format!(
            "{} {fine}  {} {warnings}  {} {wrong}",
            out.say("正常", "ok"),
            out.say("提醒", "warnings"),
            out.say("故障", "bad")
        )
    });
    let worst = [FaultKind::Integrity, FaultKind::Usage, FaultKind::Refused, FaultKind::Unavailable];
    let wrong: Vec<FaultKind> = findings.iter().filter(|f| f.state == State::Bad).map(|f| f.kind).collect();
    match (wrong.first(), worst.into_iter().find(|k| wrong.contains(k))) {
        (None, _) => ExitCode::SUCCESS,
        (Some(first), None) => ExitCode::from(first.exit_code()),
        (Some(_), Some(kind)) => ExitCode::from(kind.exit_code()),
    }
}

fn clock() -> Finding {
    let now = SystemClock.now();
    if now > EPOCH {
        return ok("clock", now.to_rfc3339());
    }
    bad(
        "clock",
        &Fault::usage("CLOCK", format!("this machine's clock says {}", now.to_rfc3339()))
            .hint("set it, and run an NTP client"),
    )
}

fn offline(file: &Path, findings: &mut Vec<Finding>) {
    let config = match NodeConfig::read(file) {
        Ok(config) => config,
        Err(f) => return findings.push(bad("configuration", &f)),
    };
    findings.push(ok("configuration", format!("agency {}, node {}", config.agency, config.node)));
    findings.push(match check_config(&config) {
        Ok(until) if until > SystemClock.now() => {
            ok("keys", format!("genesis, key ring and certificate agree; valid until {}", until.to_date()))
        }
        Ok(until) => bad(
            "keys",
            &Fault::usage("EXPIRED", format!("the node's certificate ended on {}", until.to_date()))
                .hint("issue a new one with the agency's authority"),
        ),
        Err(f) => bad("keys", &f),
    });
    // A genesis or a certificate that is not good was told with the keys.
    if let Ok(all) = check_lists(&config) {
        lists(&all, findings);
    }
    match check_data(&config) {
        // Nothing is written into what is another node's.
        Err(f) if f.reason == "FOREIGN_DATA" => return findings.push(bad("data", &f)),
        Err(f) if f.reason == "BAD_DATA_DIR" => findings.push(bad("data", &f)),
        // A genesis that is not good was told with the keys.
        Ok(()) | Err(_) => findings.push(folder(&config.data)),
    }
    findings.push(disk(&config.data));
    findings.push(memory(config.load.memory_bytes(), System.given_memory()));
}

/// The memory that a node would have, seen from here: a unit or a container of its own may have less.
fn memory(bound: Option<u64>, given: u64) -> Finding {
    let given_mib = given >> 20;
    let Some(bound) = bound else {
        return ok(
            "memory",
            format!(
                "{given_mib} MiB in this machine or group; a node takes in content up to three quarters of its own"
            ),
        );
    };
    let mib = bound >> 20;
    if bound < given {
        return ok("memory", format!("content is taken in up to {mib} MiB of the {given_mib} here"));
    }
    warning(
        "memory",
        format!("the memory is bounded at {mib} MiB, and there are {given_mib} here"),
        "lower `load.memory_mib`: a process that needs more than there is gets ended",
    )
}

/// Agencies without a list are told together: an evaluation has none at all.
fn lists(all: &[ListState], findings: &mut Vec<Finding>) {
    let now = SystemClock.now();
    for l in all {
        let agency = &l.agency;
        findings.push(match &l.until {
            Ok(None) if !l.known => warning(
                "revocation",
                format!(
                    "neither genesis nor charter names {agency}: only a running node knows whose list that must be"
                ),
                "the node's log says whether it took it; until then nobody of that agency is taken",
            ),
            Ok(None) => continue,
            Err(f) => bad("revocation", f),
            Ok(Some(_)) if l.revokes_own => {
                let f = Fault::refused("REVOKED", "the list of the own agency revokes this node's certificate");
                bad("revocation", &f.hint("issue another one: `hufu agency renew`"))
            }
            Ok(Some(until)) if *until <= now => {
                let f = Fault::unavailable("EXPIRED", format!("the list of {agency} ended on {}", until.to_date()));
                bad("revocation", &f.hint("nobody of that agency is taken: ask for its newest list"))
            }
            Ok(Some(until)) if *until <= now.plus_ms(LIST_ENDS_SOON_MS) => warning(
                "revocation",
                format!("the list of {agency} ends on {}", until.to_date()),
                "put its next one in place before: then nobody of that agency is taken any more",
            ),
            Ok(Some(until)) => ok("revocation", format!("the list of {agency} counts until {}", until.to_date())),
        });
    }
    let without: Vec<&str> =
        all.iter().filter(|l| l.known && matches!(l.until, Ok(None))).map(|l| l.agency.as_str()).collect();
    if !without.is_empty() {
        findings.push(warning(
            "revocation",
            format!("no revocation list is configured for: {}", without.join(", ")),
            "a certificate of theirs counts until it is over, whatever its agency says; add them under `[crl]`",
        ));
    }
}

fn folder(data: &Path) -> Finding {
    let mode = match std::fs::metadata(data) {
        Ok(m) => m.permissions().mode() & 0o777,
        Err(e) => {
            return warning(
                "data",
                format!("`{}`: {e}", data.display()),
                "the first start makes it; later this is a loss",
            );
        }
    };
    if mode & 0o077 != 0 {
        return warning("data", format!("`{}` is open to others (mode {mode:o})", data.display()), "chmod 700 it");
    }
    match rustix::fs::statvfs(data) {
        Ok(v) if v.f_bavail.saturating_mul(v.f_frsize) < FREE => {
            warning("data", "less than 2 GiB are free", "a full disk stops publishing, then reading: make room")
        }
        Ok(v) => ok("data", format!("{} GiB free", v.f_bavail.saturating_mul(v.f_frsize) >> 30)),
        Err(e) => warning("data", format!("free space is unknown: {e}"), "look at the disk with df"),
    }
}

/// How long this disk takes to make 1 KiB durable.
fn disk(data: &Path) -> Finding {
    let file = data.join("doctor.tmp");
    let measured = measure(&file);
    let _ = std::fs::remove_file(&file);
    match measured {
        Err(e) => {
            warning("disk", format!("cannot write to `{}`: {e}", data.display()), "run the doctor as the node's user")
        }
        Ok(us) if us < TOO_FAST_US => warning(
            "disk",
            format!("fdatasync takes {us} µs: no disk is that fast"),
            "memory, or a write cache without protection: what is acknowledged would not survive a power cut",
        ),
        Ok(us) if us > SLOW_US => warning(
            "disk",
            format!("fdatasync takes {us} µs"),
            "every acknowledged write waits for it: give it a faster disk",
        ),
        Ok(us) => ok("disk", format!("fdatasync of 1 KiB: median {us} µs")),
    }
}

fn measure(file: &Path) -> std::io::Result<u128> {
    let mut f = std::fs::File::create(file)?;
    let mut took = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let began = Instant::now();
        f.write_all(&[0x5a; 1024])?;
        f.sync_data()?;
        took.push(began.elapsed().as_micros());
    }
    took.sort_unstable();
    Ok(took.get(SYNCS / 2).copied().unwrap_or_default())
}

fn online(g: &Globals, findings: &mut Vec<Finding>) {
    let asked = block_on(async {
        let client = Client::connect(g).await?;
        let who = client.persons().whoami(v1::WhoamiRequest {}).await.map_err(fault)?.into_inner();
        let status = client.cluster().status(v1::StatusRequest {}).await.map_err(fault)?.into_inner();
        let shown = client.federation().show(v1::ShowFederationRequest {}).await.map_err(fault)?.into_inner();
        Ok((who, status, shown))
    });
    let (who, status, shown) = match asked {
        Ok(answers) => answers,
        Err(f) => return findings.push(bad("node", &g.cause(f))),
    };
    let name = who.person.map(|p| p.name).unwrap_or_default();
    findings.push(ok("node", format!("answers {}/{name} of {}", who.agency, who.federation)));
    findings.extend(suspension(&who.agency, &shown.agencies));
    findings.push(if status.leader.is_empty() {
        let f = Fault::unavailable("NO_LEADER", "no leader: nothing can be published");
        bad("leader", &f.hint("more than half of the voters must run and reach each other"))
    } else {
        ok("leader", status.leader.clone())
    });
    if !status.halted.is_empty() {
        let f = Fault::integrity("LEDGER_HALTED", format!("closed for writing: {}", status.halted));
        findings.push(bad("evidence", &f.hint("see `ledger/evidence` in the node's data and agree with the other agencies; moving it away and a restart open it")));
    }
    for c in &status.complaints {
        findings.push(warning(
            "complaint",
            format!("{} cannot open {} v{}: {}", c.agency, c.record, c.version, c.reason),
            "publish the record again",
        ));
    }
    findings.push(peers(&who.agency, &status.nodes));
    let digests: std::collections::BTreeSet<&[u8]> =
        status.nodes.iter().filter(|n| !n.digest.is_empty()).map(|n| n.digest.as_slice()).collect();
    findings.push(if digests.len() <= 1 {
        ok("ledger", format!("one digest at index {}", status.digest_index))
    } else {
        let f = Fault::integrity("INTEGRITY", format!("nodes disagree at index {}", status.digest_index));
        bad("ledger", &f.hint("stop publishing, compare `hufu cluster status` at every agency"))
    });
    for s in status.sync {
        for m in &s.unopenable {
            let detail = format!("{}: {} v{} does not open; {}", s.origin, m.record, m.version, m.reason);
            findings.push(warning("sync", detail, "the originator was told and publishes it again"));
        }
        findings.push(if status.withheld && s.held < s.owed {
            let detail = format!("{}: {} of {} held; which are missing is not shown to you", s.origin, s.held, s.owed);
            warning("sync", detail, "ask the node's operator, who is shown it")
        } else if s.missing.is_empty() {
            ok("sync", format!("{}: {} of {} held", s.origin, s.held, s.owed))
        } else {
            let why = s.missing.first().map(|m| m.reason.clone()).unwrap_or_default();
            warning(
                "sync",
                format!("{}: {} of {} missing; {why}", s.origin, s.missing.len(), s.owed),
                "it is tried again by itself",
            )
        });
    }
}

/// That the own agency is suspended, as far as its node knows: one that was cut off may not have the entry.
fn suspension(own: &str, agencies: &[v1::Agency]) -> Option<Finding> {
    agencies.iter().find(|a| a.agency == own && a.suspended)?;
    let f = Fault::refused("AGENCY_SUSPENDED", format!("`{own}` is suspended from the federation"));
    let hint =
        "its node serves its own people alone; officers of the other agencies lift it with `hufu federation reinstate`";
    Some(bad("standing", &f.hint(hint)))
}

fn peers(own: &str, nodes: &[v1::NodeStatus]) -> Finding {
    let away: Vec<&str> = nodes.iter().filter(|n| !n.reachable).map(|n| n.agency.as_str()).collect();
    let others = move || nodes.iter().filter(move |n| n.agency != own);
    let hint = match others().next().is_some() && others().all(|n| !n.reachable) {
        true => "look at the way to them; if it is good, ask another agency by voice whether yours was suspended",
        false => "look at these nodes and the way to them",
    };
    match away.is_empty() {
        true => ok("peers", format!("{} nodes reachable", nodes.len())),
        false => warning("peers", format!("not reachable: {}", away.join(", ")), hint),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    #[test]
    fn a_suspended_agency_is_told_so_and_one_that_reaches_nobody_to_ask() {
        let agency = |name: &str, suspended| v1::Agency { agency: name.into(), suspended, ..v1::Agency::default() };
        let told = |own| suspension(own, &[agency("police", true), agency("customs", false)]);
        let finding = told("police").unwrap();
        assert!(finding.state == State::Bad && finding.kind == FaultKind::Refused);
        assert!(finding.hint.contains("hufu federation reinstate"));
        assert!(told("customs").is_none());

        let node =
            |name: &str, reachable| v1::NodeStatus { agency: name.into(), reachable, ..v1::NodeStatus::default() };
        let hint =
            |customs| peers("police", &[node("police", true), node("customs", customs), node("tax", false)]).hint;
        assert!(hint(false).contains("suspended") && !hint(true).contains("suspended"));
        assert!(peers("police", &[node("police", true)]).state == State::Ok);
    }

    #[test]
    fn a_bound_above_what_there_is_is_worth_a_warning() {
        let state = |bound: Option<u64>| memory(bound, 4 << 30).state;
        assert!(state(None) == State::Ok && state(Some(3 << 30)) == State::Ok);
        assert!(state(Some(4 << 30)) == State::Warning);
    }
}
