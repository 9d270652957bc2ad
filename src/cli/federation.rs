//! `hufu federation genesis|sign|show|charter|admit|suspend|reinstate|ceiling|tier|trust-root|suites`.

use super::act::{Signer, UNCERTIFIED};
use super::args::Globals;
use super::bounds;
use super::client::{Client, block_on, fault};
use super::output::{Out, outln};
use crate::config::{Profile, read_descriptor, read_genesis, write_charter, write_genesis};
use crate::domain::agency::Tier;
use crate::domain::canon::Canon;
use crate::domain::fault::Fault;
use crate::domain::ids::AgencyId;
use crate::domain::limits;
use crate::domain::time::{Clock, Millis};
use crate::ledger::{Act, Charter, Descriptor, Genesis, LEVEL, SignedGenesis};
use crate::node::SystemClock;
use crate::seal::{SigningKey, sha256};
use crate::wire::pb;
use data_encoding::HEXLOWER;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Signature domain of a genesis; the ledger checks it.
const SIGN_GENESIS: &str = "hufu.genesis";

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Draw up a genesis from the founders' descriptors.
    Genesis {
        /// descriptor.json of every founder.
        #[arg(required = true)]
        descriptors: Vec<PathBuf>,
        /// Where to write it.
        #[arg(long)]
        out: PathBuf,
        /// Agencies needed for acts of the whole; more than half by default.
        #[arg(long)]
        threshold: Option<u16>,
        /// Agencies whose node votes; all by default.
        #[arg(long, value_delimiter = ',')]
        voters: Vec<AgencyId>,
    },
    /// Sign a genesis as an officer of a founder. Compare the fingerprint by voice first.
    Sign {
        /// The genesis; the signature is added to it.
        file: PathBuf,
        /// The officer's key (PKCS#8 PEM); the profile's key by default.
        #[arg(long)]
        key: Option<PathBuf>,
    },
    /// The federation as the own node knows it, with what waits for more signatures.
    ///
    /// The ledger's time is as of its last entries, the median of when each voting agency last wrote: it stands still
    /// while they write nothing. What waits does so until that time has passed `until`.
    Show,
    /// Write down who takes part, for a node that is new or was away for long: its `charter`. Compare the fingerprint by voice.
    Charter {
        /// Where to write it.
        #[arg(long)]
        out: PathBuf,
    },
    /// Take an agency in. In force when officers of enough agencies ran the same command; its node does not vote yet
    /// (security officer).
    Admit {
        /// Its descriptor.json. Compare what is told of it with the agency, by voice.
        descriptor: PathBuf,
    },
    /// Cut an agency off. In force when officers of enough other agencies ran the same command (security officer).
    Suspend {
        /// The agency.
        agency: AgencyId,
    },
    /// Let a suspended agency in again, by as many (security officer).
    Reinstate {
        /// The agency.
        agency: AgencyId,
    },
    /// Say what an agency's systems may hold, by as many. What is lower is in force at once: what they hold above it nobody
    /// reads there any more. What is higher waits for a certificate of the voters (security officer).
    Ceiling(bounds::Ceiling),
    /// Say an agency's tier, and so what it may mark, by as many (security officer).
    Tier {
        /// The agency.
        agency: AgencyId,
        /// national, provincial, city or county.
        tier: Tier,
    },
    /// Say which authorities vouch for an agency's certificates, by as many: first the new one beside the old one, then the
    /// new one alone. Compare the fingerprints with the agency, by voice (security officer).
    TrustRoot(bounds::TrustRoot),
    /// Say what each cryptographic suite may be used for. In force when officers of enough agencies ran the same command
    /// (security officer).
    Suites(bounds::Suites),
}

pub(super) fn run(command: Command, g: &Globals, out: &Out) -> Result<ExitCode, Fault> {
    match command {
        Command::Genesis { descriptors, out: file, threshold, voters } => {
            let founders = descriptors.iter().map(|p| read_descriptor(p)).collect::<Result<Vec<_>, _>>()?;
            let voters = if voters.is_empty() { None } else { Some(voters.into_iter().collect()) };
            let genesis = draw_up(founders, threshold, voters, SystemClock.now())?;
            write_genesis(&file, &genesis)?;
            tell(out, &genesis)
        }
        Command::Sign { file, key } => {
            let key = match (key, &g.profile) {
                (Some(k), _) => k,
                (None, Some(p)) => Profile::read(p)?.key,
                (None, None) => {
                    return Err(Fault::usage("NO_KEY", "no key to sign with").hint("give --key FILE or --profile FILE"));
                }
            };
            let key = SigningKey::from_pkcs8_pem(&crate::config::read_text(&key)?)?;
            let mut genesis = read_genesis(&file)?;
            sign(&mut genesis, &key)?;
            write_genesis(&file, &genesis)?;
            tell(out, &genesis)
        }
        Command::Charter { out: file } => charter(g, out, &file),
        Command::Admit { descriptor } => admit(g, out, read_descriptor(&descriptor)?),
        Command::Suspend { agency } => change(g, out, &Act::SuspendAgency { agency: agency.clone() }, &agency),
        Command::Reinstate { agency } => change(g, out, &Act::ReinstateAgency { agency: agency.clone() }, &agency),
        Command::Ceiling(args) => bounds::ceiling(g, out, args),
        Command::Tier { agency, tier } => bounds::tier(g, out, agency, tier),
        Command::TrustRoot(args) => bounds::trust_root(g, out, args),
        Command::Suites(args) => bounds::suites(g, out, &args),
        Command::Show => super::client::block_on(async {
            let client = Client::connect(g).await?;
            let r = client
                .federation()
                .show(pb::v1::ShowFederationRequest {})
                .await
                .map_err(super::client::fault)?
                .into_inner();
            let agencies: Vec<_> = r
                .agencies
                .iter()
                .map(|a| json!({"agency": a.agency, "name": a.name, "tier": a.tier, "ceiling": a.ceiling, "voter": a.voter, "nodes": a.nodes,
                    "state": if a.suspended { "suspended" } else { "in-force" }, "compartments": a.compartments, "roots": a.roots,
                    "folded": a.folded, "folded_root": HEXLOWER.encode(&a.folded_root)}))
                .collect();
            let suites: Vec<_> = r
                .suites
                .iter()
                .map(|s| json!({"suite": s.id, "name": words(&s.name, out), "state": s.state}))
                .collect();
            let waiting: Vec<_> = r
                .proposals
                .iter()
                .map(|p| json!({"act": p.act, "agency": about(&p.agency, out), "signed_by": p.signed_by, "needed": r.threshold, "until": Millis(p.expires).to_rfc3339(),
                    "state": if p.overtaken { "overtaken" } else { "pending" }}))
                .collect();
            let uncertified: Vec<_> = r
                .uncertified
                .iter()
                .map(|w| json!({"act": w.act, "subject": about(&w.subject, out), "index": w.index, "state": UNCERTIFIED}))
                .collect();
            let json = json!({"federation": r.federation, "threshold": r.threshold, "ledger_index": r.ledger_index, "level": r.level,
                "ledger_time": Millis(r.ledger_time).to_rfc3339(), "agencies": agencies, "suites": suites, "waiting": waiting, "uncertified": uncertified});
            if out.is_json() {
                out.answer(&json, String::new);
            } else {
                outln!(
                    "{} {}  {} {}",
                    out.say("共享联盟", "federation"),
                    r.federation,
                    out.say("门限", "threshold"),
                    r.threshold
                );
                out.table(&["agency", "name", "tier", "ceiling", "compartments", "voter", "nodes", "state"], &agencies);
                outln!("\n{}", out.say("证书机构（SHA-256）：", "Authorities (SHA-256):"));
                out.table(&["agency", "roots"], &agencies);
                outln!("");
                out.table(&["suite", "name", "state"], &suites);
                if !waiting.is_empty() {
                    outln!("\n{}", out.say("等待更多机构签署：", "Waiting for more agencies to sign:"));
                    out.table(&["act", "agency", "signed_by", "needed", "state", "until"], &waiting);
                }
                if !uncertified.is_empty() {
                    outln!("\n{}", out.say("签署齐全，等待认证：", "Complete, and waiting for a certificate:"));
                    out.table(&["act", "subject", "index", "state"], &uncertified);
                }
            }
            Ok(ExitCode::SUCCESS)
        }),
    }
}

/// A word for people; scripts get it as it is.
fn words(word: &str, out: &Out) -> String {
    if out.is_json() { word.to_owned() } else { out.word(word) }
}

/// What an act would change, word by word, with states of suites as NUMBER=STATE. The agency, which comes first, stays as it is.
fn about(subject: &str, out: &Out) -> String {
    let word = |(n, text): (usize, &str)| match text.split_once('=') {
        Some((suite, state)) => format!("{suite}={}", words(state, out)),
        None if n == 0 => text.to_owned(),
        None => words(text, out),
    };
    subject.split(' ').enumerate().map(word).collect::<Vec<_>>().join(" ")
}

fn charter(g: &Globals, out: &Out, file: &Path) -> Result<ExitCode, Fault> {
    block_on(async {
        let client = Client::connect(g).await?;
        let shown = client.federation().show(pb::v1::ShowFederationRequest {}).await.map_err(fault)?.into_inner();
        let charter = Charter::from_canon(&shown.charter)
            .map_err(|e| Fault::integrity("INTEGRITY", format!("the node's charter does not parse: {e}")))?;
        write_charter(file, &charter)?;
        let fingerprint = HEXLOWER.encode(&charter.fingerprint());
        let json =
            json!({"federation": charter.federation, "index": charter.index, "fingerprint": fingerprint, "file": file});
        out.answer(&json, || {
            format!("{} {fingerprint}", out.say("指纹（请口头核对）", "fingerprint (compare by voice)"))
        });
        Ok(ExitCode::SUCCESS)
    })
}

/// Signs for an agency that is to come in.
fn admit(g: &Globals, out: &Out, d: Descriptor) -> Result<ExitCode, Fault> {
    let (agency, ceiling, tier) = (d.agency.clone(), d.ceiling, d.tier);
    let fingerprint = HEXLOWER.encode(&sha256(&[&d.to_canon()]));
    let act = Act::Admit(Box::new(d));
    block_on(async {
        let client = Client::connect(g).await?;
        let shown = client.federation().show(pb::v1::ShowFederationRequest {}).await.map_err(fault)?.into_inner();
        let (state, index) = Signer::of(&client).await?.submit(&client, &act, 0).await?;
        let json = json!({"agency": agency, "tier": tier, "ceiling": ceiling, "fingerprint": fingerprint,
            "state": state, "index": index, "needed": shown.threshold});
        out.answer(&json, || {
            let say = out.say("指纹（请口头核对）", "fingerprint (compare by voice)");
            let told = match state.as_str() {
                "done" => out.say("已接纳", "admitted").to_owned(),
                UNCERTIFIED => out.word(UNCERTIFIED),
                _ => format!(
                    "{} {}",
                    out.say("已签署；生效所需机构数", "signed; agencies needed for it to be in force:"),
                    shown.threshold
                ),
            };
            format!("{agency}: {told}\n{say} {fingerprint}")
        });
        Ok(ExitCode::SUCCESS)
    })
}

/// Signs an act on an agency's standing as it is now.
fn change(g: &Globals, out: &Out, act: &Act, agency: &AgencyId) -> Result<ExitCode, Fault> {
    block_on(async {
        let client = Client::connect(g).await?;
        let shown = client.federation().show(pb::v1::ShowFederationRequest {}).await.map_err(fault)?.into_inner();
        let known = shown.agencies.iter().find(|a| a.agency == agency.as_str());
        let known = known.ok_or_else(|| {
            Fault::usage("UNKNOWN_AGENCY", format!("`{agency}` is not an agency of this federation"))
                .hint("see `hufu federation show`")
        })?;
        let (state, index) = Signer::of(&client).await?.submit(&client, act, known.standing).await?;
        out.answer(&json!({"agency": agency, "state": state, "index": index, "needed": shown.threshold}), || {
            if state == "done" {
                return format!("{agency}: {}", out.say("已生效", "in force"));
            }
            if state == UNCERTIFIED {
                return format!("{agency}: {}", out.word(UNCERTIFIED));
            }
            format!(
                "{agency}: {} {}",
                out.say("已签署；生效所需机构数", "signed; agencies needed for it to be in force:"),
                shown.threshold
            )
        });
        Ok(ExitCode::SUCCESS)
    })
}

/// A genesis that nobody signed yet.
pub(super) fn draw_up(
    mut founders: Vec<Descriptor>,
    threshold: Option<u16>,
    voters: Option<BTreeSet<AgencyId>>,
    now: Millis,
) -> Result<SignedGenesis, Fault> {
    founders.sort_by(|a, b| a.agency.cmp(&b.agency));
    let federation = founders
        .first()
        .map(|d| d.federation.clone())
        .ok_or_else(|| Fault::usage("NO_FOUNDER", "no descriptor given"))?;
    let default = u16::try_from(founders.len() / 2 + 1).unwrap_or(u16::MAX).max(2);
    let voters = voters.unwrap_or_else(|| founders.iter().map(|d| d.agency.clone()).collect());
    if voters.len() > limits::VOTERS {
        let why = format!("{} voters are too many: each one makes every write wait for more", voters.len());
        return Err(Fault::usage("BAD_GENESIS", why).hint(format!("name at most {} with --voters", limits::VOTERS)));
    }
    let threshold = threshold.unwrap_or(default);
    let genesis = Genesis { federation, threshold, created: now, founders, voters, level: LEVEL };
    genesis.check()?;
    Ok(SignedGenesis { body: genesis.to_bytes(), signatures: Default::default() })
}

/// Adds the signature of whichever founder's officer holds `key`.
pub(super) fn sign(genesis: &mut SignedGenesis, key: &SigningKey) -> Result<(), Fault> {
    let parsed = Genesis::from_bytes(&genesis.body)?;
    let found = parsed
        .founders
        .iter()
        .flat_map(|d| d.authorities.iter().map(move |a| (&d.agency, a)))
        .find(|(_, a)| a.key == key.public())
        .ok_or_else(|| Fault::refused("NOT_A_FOUNDER", "this key is not an officer's key of any founder"))?;
    let signature = key.sign(SIGN_GENESIS, &genesis.body);
    genesis.add(found.0.clone(), found.1.handle, signature)?;
    Ok(())
}

fn tell(out: &Out, genesis: &SignedGenesis) -> Result<ExitCode, Fault> {
    let parsed = Genesis::from_bytes(&genesis.body)?;
    let missing: Vec<_> =
        parsed.founders.iter().map(|d| &d.agency).filter(|a| !genesis.signatures.contains_key(*a)).collect();
    let fingerprint = HEXLOWER.encode(&parsed.fingerprint());
    let json = json!({"federation": parsed.federation, "fingerprint": fingerprint, "threshold": parsed.threshold,
        "signed": genesis.signatures.keys().collect::<Vec<_>>(), "missing": missing, "in_force": missing.is_empty()});
    out.answer(&json, || {
        let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
        let state = if missing.is_empty() {
            out.say("全体发起机构已签署，生效。", "Signed by every founder: in force.").to_owned()
        } else {
            format!("{} {}", out.say("尚待签署：", "still to sign:"), missing.join(", "))
        };
        format!("{} {fingerprint}\n{state}", out.say("指纹（请口头核对）", "fingerprint (compare by voice)"))
    });
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_told_in_the_reader_s_words() {
        let out = |lang: &str| Out::of_words(&[format!("--lang={lang}")]);
        let zh = |text: &str| about(text, &out("zh"));
        assert_eq!(zh("customs confidential border-ops"), "customs 秘密 border-ops");
        assert_eq!(
            (zh("1=preferred 2=forbidden"), zh("county county")),
            ("1=首选 2=已禁用".into(), "county 县级".into())
        );
        assert_eq!(about("customs county", &out("en")), "customs county");
        assert_eq!(about("customs county", &Out::of_words(&["--json".into(), "--lang=zh".into()])), "customs county");
    }
}
