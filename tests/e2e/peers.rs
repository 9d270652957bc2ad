//! What one node says to another: the test speaks as a node of the demo, with that node's own certificate and key.

use super::demo::{Demo, until};
use super::shares::{content, files};
use hufu::config::NodeConfig;
use hufu::domain::ids::{AgencyId, NodeId, RecordId};
use hufu::domain::time::Millis;
use hufu::identity::{Credentials, Dialer, Line, Protocol, TrustRoots, certificate_facts};
use hufu::journal::{Host, System};
use hufu::ledger::{State, node_id};
use hufu::node::{SystemClock, SystemEntropy};
use hufu::seal::KeyRing;
use hufu::store::{Materialised, Stored};
use hufu::vault::{AUDIENCE_WANTED, Intake, Keys, Outgoing, Parts, PeerVault, Pieces, PushState, SealedObject, Vault};
use hufu::wire::pb::peer::vault_client::VaultClient;
use hufu::wire::pb::peer::{PullRequest, PushRequest, PushResult, Sealed};
use serde_json::{Value, json};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Runtime;
use tonic::transport::Channel;

const TITLE: &str = "演练：节点之间";

pub fn config(demo: &Demo, agency: &str) -> NodeConfig {
    NodeConfig::read(&demo.dir().join("nodes").join(agency).join("hufu.toml")).unwrap()
}

fn text(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap()
}

pub fn ring(config: &NodeConfig) -> KeyRing {
    let passphrase = text(&config.passphrase);
    KeyRing::open_file(&std::fs::read(&config.keyring).unwrap(), passphrase.trim_end().as_bytes()).unwrap()
}

/// A connection to one agency's node as the node of another; inside a runtime.
pub fn channel_of(demo: &Demo, to: &str, caller: &str, protocol: Protocol) -> Channel {
    let (own, other) = (config(demo, caller), config(demo, to));
    let key = ring(&own).signing_key().unwrap().to_pkcs8_pem().unwrap();
    let credentials = Credentials::from_pem(&text(&own.cert), &key).unwrap();
    let roots = TrustRoots::new();
    roots.set(other.agency.clone(), &certificate_facts(&text(&other.ca)).unwrap().der).unwrap();
    let dialer = Dialer::new(credentials, roots, Arc::new(SystemClock));
    let line = Line { protocol, connect: Duration::from_secs(5), patience: None };
    let address = match protocol {
        Protocol::Calls => other.listen.nodes,
        Protocol::Letters(_) => other.listen.notices,
    };
    dialer.channel(address, &other.agency, &other.node, line).unwrap()
}

/// The vault of one agency's node, asked as the node of another; inside a runtime.
fn vault_of(demo: &Demo, to: &str, caller: &str) -> VaultClient<Channel> {
    VaultClient::new(channel_of(demo, to, caller, Protocol::Calls))
}

/// A record as somebody of its originator exports it.
fn sealed(demo: &Demo, persona: &str, record: &str) -> Sealed {
    let out = demo.dir().join(format!("sealed-{record}"));
    demo.run(persona, &["record", "export", record, "--sealed", "--out", out.to_str().unwrap()]).ok();
    let part = |name: &str| std::fs::read(out.join(format!("{record}-1.{name}"))).unwrap().into();
    Sealed { envelope: part("envelope"), grant: part("grant"), audience: part("audience"), ..Sealed::default() }
}

fn parsed(o: &Sealed) -> SealedObject {
    SealedObject::from_parts(&o.envelope, &o.grant, &o.audience).unwrap()
}

/// In one push a bad object is refused with its reason wherever it stands, and the good ones beside it are held and
/// receipted.
#[test]
fn a_bad_object_stops_no_other_of_its_push() {
    let demo = Demo::start();
    demo.equal_digests("customs-clerk", 4);
    // Customs is away while police publishes, and police when customs is back: what customs holds was pushed here.
    demo.kill("customs");
    let publish = |persona: &str, body: &str, more: &[&str]| {
        let how = ["--grade", "secret", "--wait", "none"];
        let published = demo.publish(persona, TITLE, body, &[&how[..], more].concat());
        published.ok()["record"].as_str().unwrap().to_owned()
    };
    let compartment = ["--compartment", "border-ops"];
    let bodies = ["第一件", "第二件", "第三件"];
    let records = bodies.map(|body| publish("police-analyst", body, &compartment));
    let foreign = publish("state-security-analyst", "别家的", &[]);
    let [first, second, third] = records.each_ref().map(|record| sealed(&demo, "police-analyst", record));
    let foreign = sealed(&demo, "state-security-analyst", &foreign);
    demo.kill("police");
    let _customs = demo.start_node("customs");
    let of_police = |list: &str| -> Option<Vec<Value>> {
        let status = demo.run("customs-operator", &["cluster", "status"]);
        let sync = status.lines.first()?["sync"].as_array()?.iter().find(|s| s["origin"] == "police")?;
        sync[list].as_array().cloned()
    };
    until("customs knows what it is owed, and nobody has it", Duration::from_secs(30), || {
        of_police("missing").filter(|missing| missing.len() == 3)
    });

    let runtime = Runtime::new().unwrap();
    let push = |objects: Vec<Sealed>| -> Vec<PushResult> {
        let answer = async { vault_of(&demo, "customs", "police").push(PushRequest { objects }).await };
        runtime.block_on(answer).unwrap().into_inner().results
    };
    let held = |o: &Sealed| PushResult {
        header_hash: parsed(o).envelope.hash().to_vec(),
        state: "held".into(),
        reason: String::new(),
    };
    let mut grant = third.grant.to_vec();
    *grant.last_mut().unwrap() ^= 1;
    let flipped = Sealed { grant: grant.into(), ..third.clone() };
    let mixed = Sealed { envelope: third.envelope.clone(), ..first.clone() };
    let mut cut = third.clone();
    cut.envelope.truncate(100);
    let results = push(vec![flipped, first.clone(), mixed, second.clone(), foreign, cut]);
    assert_eq!(results.len(), 6, "an answer for each: {results:?}");
    assert_eq!((&results[1], &results[3]), (&held(&first), &held(&second)));
    let bad = [
        (0, "unopenable", "the signature of the grant does not verify"),
        (2, "unopenable", "the grant is for another envelope"),
        (4, "refused", "it is not the sender's own"),
        (5, "refused", "the envelope does not parse"),
    ];
    for (at, state, why) in bad {
        let r = &results[at];
        assert!(r.state == state && r.reason.contains(why) && r.header_hash.is_empty(), "{at}: {r:?}");
    }

    let opens = |at: usize| {
        let opened = until("customs opens it", Duration::from_secs(10), || {
            let ran = demo.open("customs-analyst", &records[at]);
            (ran.code == 0).then(|| ran.ok().clone())
        });
        assert_eq!(opened["portions"][0]["text"], bodies[at]);
    };
    opens(0);
    opens(1);
    assert_ne!(demo.open("customs-analyst", &records[2]).code, 0, "the bad one is not there");
    let told = until("it counts as unopenable", Duration::from_secs(10), || {
        of_police("unopenable").filter(|unopenable| !unopenable.is_empty())
    });
    assert!(told.len() == 1 && told[0]["record"] == json!(records[2]), "{told:?}");
    let events = demo.run("customs-officer", &["audit", "search", "--decision", "deny", "--limit", "2000"]);
    let quarantined: Vec<&str> = events
        .lines
        .iter()
        .filter(|e| e["action"] == "quarantine" && e["rule"] == "receiver-rules" && e["actor"] == "police")
        .map(|e| e["detail"].as_str().unwrap())
        .collect();
    assert_eq!(quarantined.len(), bad.len(), "{quarantined:?}");
    for (_, _, why) in bad {
        assert!(quarantined.iter().any(|detail| detail.contains(why)), "{why}: {quarantined:?}");
    }

    // What was refused stands in nobody's way: a good copy of it is taken.
    assert_eq!(push(vec![third.clone()]), [held(&third)]);
    opens(2);

    // An audience key that came once may be named; one that never came is wanted, and nobody is blamed for it.
    let named =
        |name: &[u8]| Sealed { audience: Vec::new().into(), audience_name: name.to_vec().into(), ..first.clone() };
    let results = push(vec![named(parsed(&first).audience.name()), named(&[1; 32])]);
    assert_eq!(results[0], held(&first));
    assert_eq!(results[1].state, AUDIENCE_WANTED, "{results:?}");
    let events = demo.run("customs-officer", &["audit", "search", "--decision", "deny", "--limit", "2000"]);
    let refused = events.lines.iter().filter(|e| e["rule"] == "receiver-rules" && e["actor"] == "police");
    assert_eq!(refused.count(), bad.len(), "what is wanted is no refusal");
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send + 'a>>;

/// Peers that have nothing, and note what they were asked for.
#[derive(Default)]
struct Asked(Mutex<Vec<[u8; 32]>>);

impl PeerVault for Asked {
    fn push<'a>(&'a self, _: NodeId, _: &'a Outgoing) -> Answer<'a, PushState> {
        Box::pin(async { Err("nobody pushes here".to_owned()) })
    }

    fn pull(&self, _: NodeId, token: [u8; 32], _: u32) -> Answer<'_, Option<Parts>> {
        self.0.lock().unwrap().push(token);
        Box::pin(async { Ok(None) })
    }

    fn content(&self, _: NodeId, _: [u8; 32], _: [u8; 32]) -> Answer<'_, Box<dyn Pieces>> {
        Box::pin(async { Err("nothing lies apart here".to_owned()) })
    }
}

/// The ledger as a running node keeps it, read from a copy of its store; none while the copy is not whole.
pub fn stored_state(demo: &Demo, agency: &str) -> Option<State> {
    let from = demo.dir().join("nodes").join(agency).join("data/ledger/state");
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("state");
    for file in files(&from) {
        let to = copy.join(file.strip_prefix(&from).unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::write(to, content(&file)).unwrap();
    }
    let (store, _) = Materialised::open_or_rebuild(&copy).ok()?;
    let Stored::Parts { parts, .. } = store.load().ok()?? else { return None };
    State::from_parts(parts).ok()
}

/// The token by which an agency's node asks for the only record that it is owed by police.
fn token_of(demo: &Demo, agency: &str, record: &str) -> [u8; 32] {
    let record: RecordId = record.parse().unwrap();
    let state = until("the store has the record", Duration::from_secs(20), || {
        stored_state(demo, agency).filter(|state| state.record(&record).is_some())
    });
    let config = config(demo, agency);
    let (node, federation) = (node_id(&config.agency, &config.node), state.federation().clone());
    let keys = Keys::new(config.agency.clone(), federation, node, ring(&config)).unwrap();
    // A vault with the node's keys and nothing in it looks for everything that the node is owed.
    let folder = tempfile::tempdir().unwrap();
    let host: Arc<dyn Host> = Arc::new(System);
    let vault = Vault::new(keys, Intake::open(&host, folder.path(), Box::new(SystemEntropy)).unwrap());
    vault.scan(&state, Millis(0), Millis(0));
    let police: AgencyId = "police".parse().unwrap();
    let asked = Asked::default();
    let turn = vault.begin_pulling(&police).unwrap();
    let arrived = Runtime::new().unwrap().block_on(vault.pull(
        &turn,
        &|| Arc::new(state.clone()),
        (&asked, &SystemClock),
        &|_| true,
    ));
    let tokens = asked.0.into_inner().unwrap();
    assert!(arrived == 0 && !tokens.is_empty() && tokens.iter().all(|t| *t == tokens[0]), "one record is owed");
    tokens[0]
}

/// Every holder serves the agencies that a record names. To any other the very token of a named one tells nothing: the
/// answer is that of a token that never was, and the asking is an event.
#[test]
fn a_holder_serves_whoever_is_named_and_nobody_else() {
    let demo = Demo::start();
    demo.equal_digests("police-clerk", 4);
    let published = demo.publish("police-analyst", TITLE, "正文", &["--grade", "secret", "--wait", "all"]);
    assert_eq!(published.ok()["held_by"], json!(["customs", "police", "state-security"]));
    let record = published.ok()["record"].as_str().unwrap().to_owned();
    let token = token_of(&demo, "customs", &record);
    let runtime = Runtime::new().unwrap();
    let pull = |holder: &str, caller: &str, token: [u8; 32]| {
        let request = PullRequest { token: token.to_vec(), attempt: 0 };
        runtime.block_on(async { vault_of(&demo, holder, caller).pull(request).await })
    };
    // Its originator, and another holder.
    for holder in ["police", "state-security"] {
        let served = pull(holder, "customs", token).unwrap().into_inner().object.expect("the object");
        assert_eq!(parsed(&served).envelope.header().id.to_string(), record);
        let denied = pull(holder, "cyberspace", token).unwrap_err();
        let absent = pull(holder, "cyberspace", [7; 32]).unwrap_err();
        assert_eq!(denied.code(), tonic::Code::NotFound, "{denied:?}");
        assert_eq!(
            (denied.code(), denied.message(), denied.details()),
            (absent.code(), absent.message(), absent.details())
        );

        let events = demo.run(&format!("{holder}-officer"), &["audit", "search", "--limit", "2000"]).lines;
        let of = |action: &str, actor: &str| -> Vec<Value> {
            events.iter().filter(|e| e["action"] == action && e["actor"] == actor).cloned().collect()
        };
        let refused = of("sync-refused", "cyberspace");
        assert_eq!(refused.len(), 2, "each is an event: {refused:?}");
        for event in refused {
            assert_eq!((&event["decision"], &event["rule"]), (&json!("deny"), &json!("not-entitled-or-absent")));
            assert!(event["record"].is_null(), "the log names nothing more than the answer: {event}");
        }
        assert!(of("sync-pull", "customs").iter().any(|e| e["record"] == json!(record) && e["decision"] == "allow"));
    }
}
