//! One node from its configuration: start in order, serve, stop in order.

use super::bell::Bells;
use super::courier;
use super::cutting::{self, Cutting};
use super::figures::Watched;
use super::lanes;
use super::lists::{Lists, Told};
use super::lock::{DataLock, check_owner};
use super::logs;
use super::monitor::Monitor;
use super::peers::Peers;
use super::post::PostOffice;
use super::reload::{Reload, Shown};
use super::rooms::{self, Ground, Own, Plugs, Registers};
use super::system::{SystemClock, SystemEntropy, end_with_parent, harden, yield_to_notices};
use super::upkeep;
use crate::api::{
    Admitted, Apart, Budgeted, Calls, NodeGate, NodeServices, People, Places, PostServices, Shares, Until,
};
use crate::audit::{Action as AuditAction, Decision as Verdict, Object};
use crate::cluster::{Cluster, ClusterOptions, Cuts, Materialise, Timings};
use crate::config::{FirstPerson, NodeConfig, read_charter, read_genesis, read_text};
use crate::domain::canon::Canon;
use crate::domain::fault::Fault;
use crate::domain::ids::NodeId;
use crate::domain::label::Grade;
use crate::domain::limits;
use crate::domain::reserve::Work;
use crate::domain::time::{Clock, Entropy, Millis};
use crate::identity::{
    Acceptor, AgencyVerifier, Authority, Credentials, Dialer, Directory, Exchange, Expected, Limits, Person, Protocol,
    ServerTls, SpiffeName, TrustRoots, certificate_facts, harden as harden_server, is_dev,
};
use crate::journal::{Host, System};
use crate::ledger::{Genesis, State, node_id};
use crate::seal::KeyRing;
use crate::search::Indexes;
use crate::service::{Core, DiskRoom, PeerPost};
use crate::wire::pb::{peer, v1};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::Server;

/// Environment variable with the process id of a parent whose end is this node's end (`hufu demo`).
pub const END_WITH_PARENT: &str = "HUFU_END_WITH_PARENT";

/// Largest message of the people's API in bytes: a body of 1 MiB with its fields.
const PEOPLE_MESSAGE_BYTES: usize = 2 << 20;
/// Largest question to a service that takes signed acts, certificate requests or notices.
const ASK_BYTES: usize = 512 << 10;
/// Largest message where only ids, names and numbers travel.
const SMALL_BYTES: usize = 64 << 10;
/// Largest answer to people; lists are cut before.
const REPLY_BYTES: usize = 16 << 20;
const PEOPLE: Limits = Limits { connections: 1024, per_address: 512, handshake_ms: 5_000 };
const NODES: Limits = Limits { connections: 1024, per_address: 256, handshake_ms: 5_000 };
/// What the calls of nodes may hold of each service: as many of one agency as a connection takes, and sixteen in reserve.
const NODE_SHARES: Shares = Shares {
    call_bytes: limits::PEER_MESSAGE_BYTES,
    all_bytes: 128 * limits::PEER_MESSAGE_BYTES,
    agency_bytes: 64 * limits::PEER_MESSAGE_BYTES,
    reserved_bytes: 16 * limits::PEER_MESSAGE_BYTES,
};
/// How often a node looks whether it must stop for want of room.
const LOOK_AT_DISK: Duration = Duration::from_secs(1);
/// A call of people is ended after this: what it waits for at most, and time to do it.
const PEOPLE_CALL: Duration = Duration::from_millis(limits::LEADER_WAIT_MS + limits::HOLDERS_WAIT_MS + 20_000);
/// Threads of notices and of the people's connections; what publishes, opens and searches runs elsewhere.
const URGENT_THREADS: usize = 2;
/// What is under way when a node is told to stop has this long.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// Sets how large a message of a service may be, both ways: tonic takes anything else as unlimited.
macro_rules! limited {
    ($service:expr, $asked:expr, $answered:expr) => {
        $service.max_decoding_message_size($asked).max_encoding_message_size($answered)
    };
}

/// Runs the node of a configuration file until SIGINT or SIGTERM. Some of what the file says and names may change meanwhile,
/// see [`CHANGEABLE`](crate::config::CHANGEABLE).
pub fn run(file: &Path) -> Result<(), Fault> {
    let config = NodeConfig::read(file)?;
    harden()?;
    if std::env::var_os(END_WITH_PARENT).is_some() {
        end_with_parent()?;
    }
    logs::start(config.log, config.log_level, std::env::var_os(logs::LEVEL_VARIABLE).as_deref())?;
    let fail = |e: std::io::Error| Fault::internal("RUNTIME", e.to_string());
    // Notices have threads of their own: what publishes and syncs keep busy does not stand in front of a flash.
    let mut urgent = tokio::runtime::Builder::new_multi_thread();
    let urgent = urgent.worker_threads(URGENT_THREADS).thread_name("notices").enable_all().build().map_err(fail)?;
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .on_thread_start(yield_to_notices)
        .enable_all()
        .build()
        .map_err(fail)?
        .block_on(serve(file, config, urgent.handle().clone()));
    urgent.shutdown_background();
    outcome
}

async fn serve(file: &Path, config: NodeConfig, urgent: Handle) -> Result<(), Fault> {
    // Before anything else: whoever asks a node that is starting to read its files again must not end it.
    let hangups = signal(SignalKind::hangup()).map_err(|e| Fault::internal("SIGNALS", e.to_string()))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let host: Arc<dyn Host> = Arc::new(System);
    let signed = read_genesis(&config.genesis)?;
    let genesis = signed.verified()?;
    let node = node_id(&config.agency, &config.node);
    let _lock = DataLock::take(&config.data, node, &genesis.fingerprint())?;
    // A start writes too; nothing of it is begun where it could not end.
    let free = host.free_bytes(&config.data).map_err(|e| Fault::unavailable("JOURNAL_FAILED", e.to_string()))?;
    if !Work::Ledger.fits(0, free) {
        return Err(Work::Ledger.refusal());
    }
    let (stop, stopped) = watch::channel(false);
    // Early, so that a node that recovers for long is seen to live.
    let monitor = Arc::new(Monitor::new(clock.now(), urgent.clone(), stopped.clone()));
    if let Some(address) = config.listen.metrics {
        let _bound = monitor.listen(address).await?;
    }
    let ring = open_ring(&config)?;
    check_own(&config, &genesis, &ring)?;
    // Read once: all connections show the same, also when the file changes in between.
    let certificate = read_text(&config.cert)?;
    let credentials = || Ok::<_, Fault>(Credentials::from_pem(&certificate, &ring.signing_key()?.to_pkcs8_pem()?)?);
    let roots = TrustRoots::new();
    for d in &genesis.founders {
        roots.set(d.agency.clone(), &d.root)?;
    }
    let federation = genesis.federation.clone();
    let charter = config.charter.as_ref().map(|file| read_charter(file)).transpose()?;
    if charter.as_ref().is_some_and(|c| c.federation != federation) {
        return Err(Fault::usage("BAD_CONFIG", "`charter` is of another federation"));
    }
    let mut lists = Lists::new(&genesis, &config.data, roots.clone());
    // Whoever was admitted later is not in the genesis, and knows itself.
    if roots.root_for(&config.agency).is_none() {
        let own = certificate_facts(&read_text(&config.ca)?)?.der;
        lists.learn(std::iter::once((&config.agency, own.as_slice())));
        roots.set(config.agency.clone(), &own)?;
    }
    let charted = charter.iter().flat_map(|c| &c.agencies).filter(|(agency, _)| roots.root_for(agency).is_none());
    lists.learn(charted.map(|(agency, root)| (agency, root.as_slice())));
    // Whoever was revoked is not let in by the first handshake either. Whose authority the ledger alone knows has no list
    // before the ledger is open, and until then no certificate that counts.
    let (named, unnamed): (Vec<_>, Vec<_>) = config.crl.iter().partition(|(agency, _)| lists.knows(agency));
    unnamed.iter().for_each(|(agency, _)| roots.require_list(agency));
    let mut known: Vec<Told> =
        named.into_iter().flat_map(|(agency, file)| lists.begin(agency, file, clock.now())).collect();
    for (agency, root) in charter.iter().flat_map(|c| &c.agencies) {
        if roots.root_for(agency).is_none() {
            roots.set(agency.clone(), root)?;
        }
    }

    let registers = Registers::open(&config, host.as_ref())?;
    first_people(&config, &registers.directory, &mut SystemEntropy).await?;
    let dialer = Arc::new(Dialer::new(credentials()?, roots.clone(), Arc::clone(&clock)));
    let peers = Arc::new(Peers::new(&config, Arc::clone(&dialer), roots.clone())?);
    let post = Arc::new(PostOffice::new(&config, Arc::clone(&dialer), roots.clone(), urgent.clone())?);
    let cluster = Arc::new(
        Cluster::start(ClusterOptions {
            node,
            host: Arc::clone(&host),
            materialised: Materialise::InStore,
            dir: config.data.join("ledger"),
            genesis: signed.to_canon(),
            timings: Timings {
                heartbeat_ms: config.raft.heartbeat_ms,
                election_min_ms: config.raft.election_min_ms,
                election_max_ms: config.raft.election_max_ms,
            },
            cuts: Cuts::default(),
            peers: peers.ids().into_iter().collect(),
            calls: peers.clone(),
            key: ring.signing_key()?,
            charter,
        })
        .await
        .map_err(Fault::from)?,
    );

    check_known(&cluster.state(), node, &ring)?;
    lists.learn(cluster.state().agencies().map(|(agency, a)| (agency, a.descriptor.root.as_slice())));
    known.extend(unnamed.into_iter().flat_map(|(agency, file)| lists.begin(agency, file, clock.now())));
    let without: Vec<String> = lists.without(&config).iter().map(ToString::to_string).collect();
    if !without.is_empty() {
        let agencies = without.join(", ");
        tracing::warn!(%agencies, "no revocation lists are configured: revoked certificates count until they are over");
    }

    // Who is suspended is not listened to from the first connection on.
    let (live, removed, unreadable) = (vec![dialer.live()], BTreeSet::new(), BTreeSet::new());
    let (lines, letters) = (peers.clone(), post.clone());
    let mut cutting = Cutting { roots: roots.clone(), peers: lines, post: letters, removed, unreadable, live };
    let _known = cutting.align(&cluster.state(), &config.agency);

    // Nodes are served before people: consensus needs it to get anywhere.
    let gate = NodeGate::default();
    let nodes_tls = |protocols: Vec<Protocol>| {
        let verifier = AgencyVerifier::new(federation.clone(), roots.clone(), Expected::AnyNode);
        let (exchange, clock) = (Exchange::PostQuantumOnly, Arc::clone(&clock));
        Ok::<_, Fault>(ServerTls::speaking(protocols, exchange, &credentials()?, verifier, clock)?)
    };
    let (calls_tls, letters_tls) = (nodes_tls(vec![Protocol::Calls])?, nodes_tls(lanes::protocols())?);
    let nodes = bind(config.listen.nodes, calls_tls.clone(), NODES).await?;
    let of_nodes = nodes.live();
    cutting.live.push(of_nodes.clone());
    let services = NodeServices::new(Arc::clone(&cluster), gate.clone());
    let (address, tls) = (config.listen.notices, letters_tls.clone());
    let letters = PostServices::new(services.clone(), post.clone());
    let notices = urgent.spawn(lanes::serve(address, tls, letters, stopped.clone())).await;
    let notices = notices.map_err(|e| Fault::internal("RUNTIME", e.to_string()))??;
    cutting.live.extend(notices.live.iter().cloned());
    let big = limits::PEER_MESSAGE_BYTES;
    let router = harden_server(Server::builder())
        .add_service(Budgeted::new(
            limited!(peer::consensus_server::ConsensusServer::new(services.clone()), big, big),
            NODE_SHARES,
        ))
        .add_service(limited!(peer::position_server::PositionServer::new(services.clone()), SMALL_BYTES, SMALL_BYTES))
        .add_service(Budgeted::new(
            limited!(peer::access_server::AccessServer::new(services.clone()), big, SMALL_BYTES),
            NODE_SHARES,
        ))
        .add_service(Budgeted::new(limited!(peer::vault_server::VaultServer::new(services), big, big), NODE_SHARES));
    let node_server = tokio::spawn(router.serve_with_incoming_shutdown(nodes, told(stopped.clone())));

    let (indexes, anew) = open_indexes(&config, &ring)?;
    let (bells, rung) = Bells::start(&config.notices)?;
    let authority = match &config.ca_key {
        Some(key) => Some(Authority::from_pem(&read_text(&config.ca)?, &read_text(key)?)?),
        None => None,
    };
    let ground = Ground { host, clock: Arc::clone(&clock), entropy: Box::new(|| Box::new(SystemEntropy)) };
    let (opens, genesis_file) = (config.clone(), read_text(&config.genesis)?.into_bytes());
    let own = Own { node, genesis: (genesis, genesis_file), ring: Box::new(move || open_ring(&opens)) };
    let plugs = Plugs { positions: peers.clone(), bell: Arc::new(bells), indexes, authority };
    let core = rooms::core(&config, &ground, own, registers, Arc::clone(&cluster), plugs).await?;
    for one in known {
        one.tell(&core).await;
    }
    for grade in anew {
        let object = Object::Text(format!("search index {grade}"));
        let _logged =
            core.log_node(AuditAction::Rebuild, &config.agency, object, Verdict::Allow, "search-index").await?;
    }
    gate.open(Arc::clone(&core));
    let indexing = upkeep::index(Arc::clone(&core), stopped.clone());
    let mut telling = rooms::rounds(&core, &peers, &stopped);

    let mut couriers = rooms::couriers(&urgent, &core, &(post.clone() as Arc<dyn PeerPost>), &stopped);
    couriers.push(courier::keep_warm(&urgent, Arc::clone(&core), post.clone(), stopped.clone()));
    couriers.push(courier::calls(&urgent, Arc::clone(&core), rung));

    let exchange = match config.listen.require_post_quantum {
        true => Exchange::PostQuantumOnly,
        false => Exchange::PreferPostQuantum,
    };
    let people_tls = ServerTls::new(
        exchange,
        &credentials()?,
        AgencyVerifier::new(federation.clone(), roots.clone(), Expected::PeopleOf(config.agency.clone())),
        clock,
    )?;
    let people = urgent.spawn(bind(config.listen.people, people_tls.clone(), PEOPLE)).await;
    let people = people.map_err(|e| Fault::internal("RUNTIME", e.to_string()))??;
    let live = vec![("people", vec![people.live()]), ("nodes", vec![of_nodes]), ("notices", notices.live)];
    let until = Arc::new(AtomicU64::new(certificate_facts(&certificate)?.not_after.0));
    monitor.open(Watched { core: Arc::clone(&core), live, certified_until: Arc::clone(&until) });
    cutting.live.push(people.live());
    telling.push(cutting::start(Arc::clone(&core), cutting, people.live(), stopped.clone()));
    let itself = Expected::Node { agency: config.agency.clone(), id: config.node.clone() };
    let shown = Shown {
        listeners: vec![calls_tls, letters_tls, people_tls],
        dialer,
        key: ring.signing_key()?,
        own: AgencyVerifier::new(federation, roots, itself),
        leaf: credentials()?.leaf().to_vec(),
        until,
    };
    let reload = Reload::new(Arc::clone(&core), file.to_owned(), config.clone(), lists, shown);
    telling.push(reload.start(hangups, stopped.clone()));
    let api = People::new(Arc::clone(&core), peers, urgent.clone());
    let bulk = Handle::current();
    // Notices have places of their own: whoever publishes and searches takes none of them.
    let most = Calls { all: config.load.calls as usize, of_person: config.load.calls_per_person as usize };
    let (heavy, light) = (Places::new(most), Places::new(most));
    macro_rules! few {
        ($service:expr) => {
            Admitted::new($service, &light, Until::Answered)
        };
    }
    let records = limited!(v1::records_server::RecordsServer::new(api.clone()), PEOPLE_MESSAGE_BYTES, REPLY_BYTES);
    let audit = limited!(v1::audit_server::AuditServer::new(api.clone()), SMALL_BYTES, REPLY_BYTES);
    let router = harden_server(Server::builder())
        .timeout(PEOPLE_CALL)
        .add_service(few!(limited!(v1::federation_server::FederationServer::new(api.clone()), ASK_BYTES, REPLY_BYTES)))
        .add_service(few!(limited!(v1::persons_server::PersonsServer::new(api.clone()), ASK_BYTES, REPLY_BYTES)))
        .add_service(Admitted::new(Apart::new(records, bulk.clone()), &heavy, Until::Sent))
        .add_service(Admitted::new(Apart::new(audit, bulk), &heavy, Until::Sent))
        .add_service(few!(limited!(v1::policy_server::PolicyServer::new(api.clone()), ASK_BYTES, REPLY_BYTES)))
        .add_service(few!(limited!(v1::notices_server::NoticesServer::new(api.clone()), ASK_BYTES, REPLY_BYTES)))
        .add_service(few!(limited!(v1::cluster_server::ClusterServer::new(api), SMALL_BYTES, REPLY_BYTES)));
    let people_server = urgent.spawn(router.serve_with_incoming_shutdown(people, told(stopped)));
    tracing::info!(agency = %config.agency, people = %config.listen.people, nodes = %config.listen.nodes, "serving; {}", crate::seal::SUITE_NOTICE);

    let full = wait_for_end(&core).await?;
    let _ = stop.send(true);
    let deadline = tokio::time::Instant::now() + STOP_WITHIN;
    let _ = tokio::time::timeout_at(deadline, people_server).await;
    indexing.abort();
    telling.iter().for_each(JoinHandle::abort);
    couriers.iter().for_each(JoinHandle::abort);
    // What is counted in this minute is not lost with it.
    core.log_counted(Millis(u64::MAX)).await?;
    let _logged = core.log_node(AuditAction::Stop, &config.agency, Object::None, Verdict::Allow, "stop").await?;
    cluster.shutdown().await;
    let _ = tokio::time::timeout_at(deadline, node_server).await;
    for server in notices.servers {
        let _ = tokio::time::timeout_at(deadline, server).await;
    }
    full.map_or(Ok(()), Err)
}

/// SIGINT or SIGTERM; or a disk that is full, which is answered for an end in order, before a write fails. The end of
/// consensus, of the journal of notices or of this node's part in the federation is an error at once.
async fn wait_for_end(core: &Core) -> Result<Option<Fault>, Fault> {
    let (cluster, office) = (&core.cluster, &core.office);
    let fail = |e: std::io::Error| Fault::internal("SIGNALS", e.to_string());
    let mut int = signal(SignalKind::interrupt()).map_err(fail)?;
    let mut term = signal(SignalKind::terminate()).map_err(fail)?;
    tokio::select! {
        _ = int.recv() => Ok(None),
        _ = term.recv() => Ok(None),
        full = exhausted(&core.disk) => Ok(Some(full)),
        () = office.failed() => Err(Fault::unavailable("JOURNAL_FAILED", "the journal of notices failed").hint("look at the disk, then start the node again")),
        () = was_removed(cluster, core.node) => Err(removed()),
        why = cluster.failed() => Err(Fault::unavailable("JOURNAL_FAILED", format!("consensus stopped: {why}")).hint("look at the disk, then start the node again")),
    }
}

/// Answers when the ledger says here that this node was removed.
async fn was_removed(cluster: &Cluster, node: NodeId) {
    let mut applied = cluster.applied_watch();
    loop {
        if cluster.state().retired(node).is_some() {
            return;
        }
        if applied.changed().await.is_err() {
            // Consensus ended, which is told by itself.
            return std::future::pending().await;
        }
    }
}

/// Ends when not even the ledger has room any more.
async fn exhausted(disk: &DiskRoom) -> Fault {
    let mut looks = tokio::time::interval(LOOK_AT_DISK);
    loop {
        looks.tick().await;
        // A disk that does not answer fails the next write, which says more.
        if disk.free().is_some()
            && let Err(full) = disk.check(Work::Ledger)
        {
            tracing::error!(room = disk.room(), "ALARM: the disk is full; the node stops before a write fails");
            return full;
        }
    }
}

fn removed() -> Fault {
    Fault::refused("NODE_REMOVED", "this node was removed from the federation; its number is never used again")
        .hint("its agency makes another one with `hufu agency add-node`")
}

pub(super) async fn told(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|s| *s).await;
}

async fn bind(address: std::net::SocketAddr, tls: ServerTls, limits: Limits) -> Result<Acceptor, Fault> {
    Acceptor::bind(address, tls, limits).await.map_err(|e| cannot_listen(address, &e))
}

pub(super) fn cannot_listen(address: std::net::SocketAddr, e: &std::io::Error) -> Fault {
    Fault::conflict("PORT_IN_USE", format!("cannot listen on {address}: {e}"))
        .hint("another node runs there, or the address is not this machine's")
}

fn open_ring(config: &NodeConfig) -> Result<KeyRing, Fault> {
    let hint = "`credential:` is what systemd hands to the unit; where it did not start this process, give a file";
    let is_credential = config.passphrase.to_string_lossy().starts_with("credential:");
    let unreadable = |fault: Fault| if is_credential { fault.hint(hint) } else { fault };
    let passphrase = zeroize::Zeroizing::new(read_text(&config.passphrase).map_err(unreadable)?);
    let bytes = std::fs::read(&config.keyring)
        .map_err(|e| Fault::usage("UNREADABLE_FILE", format!("cannot read `{}`: {e}", config.keyring.display())))?;
    Ok(KeyRing::open_file(&bytes, passphrase.trim_end().as_bytes())?)
}

/// One index for each grade up to the ceiling, under a key of its own; and the grades that were begun anew.
fn open_indexes(config: &NodeConfig, ring: &KeyRing) -> Result<(Arc<Indexes>, Vec<Grade>), Fault> {
    let grades = Grade::ALL.into_iter().filter(|g| *g <= ring.ceiling());
    let keys = grades.map(|g| (g, *ring.derive(&format!("search-index/{g}")))).collect();
    let (indexes, anew) = Indexes::open(&config.data.join("search"), keys, Box::new(SystemEntropy))?;
    Ok((Arc::new(indexes), anew))
}

/// What a start would check of genesis, key ring and certificate, without starting; until when the certificate is valid.
pub fn check_config(config: &NodeConfig) -> Result<Millis, Fault> {
    let genesis = read_genesis(&config.genesis)?.verified()?;
    check_own(config, &genesis, &open_ring(config)?)?;
    Ok(certificate_facts(&read_text(&config.cert)?)?.not_after)
}

/// Whether a start would refuse the data folder as another node's or federation's.
pub fn check_data(config: &NodeConfig) -> Result<(), Fault> {
    let genesis = read_genesis(&config.genesis)?.verified()?;
    check_owner(&config.data, node_id(&config.agency, &config.node), &genesis.fingerprint())
}

/// The genesis, the certificate and the key ring must name the same node and key.
fn check_own(config: &NodeConfig, genesis: &Genesis, ring: &KeyRing) -> Result<(), Fault> {
    let wrong = |m: &str| Err(Fault::usage("BAD_CONFIG", m.to_owned()));
    // Agencies that were admitted and nodes that were added stand on the ledger alone, which is not there at a first start.
    let own = genesis.founders.iter().find(|d| d.agency == config.agency);
    let entry = own.and_then(|d| d.nodes.iter().find(|n| n.local == config.node));
    let (key, facts) = (ring.signing_key()?.public(), certificate_facts(&read_text(&config.cert)?)?);
    if *key.as_bytes() != facts.public_key || entry.is_some_and(|n| n.key != key) {
        return wrong("key ring, certificate and genesis do not hold the same key for this node");
    }
    let name = SpiffeName::node(&config.agency, &genesis.federation, &config.node)?;
    if facts.spiffe != Some(name) {
        return wrong("`cert` is of another node, agency or federation");
    }
    let ca = certificate_facts(&read_text(&config.ca)?)?;
    if own.is_some_and(|d| d.root != ca.der) {
        return wrong("`ca` is not the authority that the genesis names");
    }
    if !config.dev && (is_dev(&ca.der) || genesis.founders.iter().any(|d| is_dev(&d.root))) {
        return wrong("the genesis names a development authority, which only `hufu demo` may use");
    }
    Ok(())
}

/// What the ledger says of this node, as far as it is known here.
fn check_known(state: &State, node: NodeId, ring: &KeyRing) -> Result<(), Fault> {
    if state.retired(node).is_some() {
        return Err(removed());
    }
    let key = ring.signing_key()?.public();
    if state.node(node).is_some_and(|n| n.key != key) {
        return Err(Fault::usage("BAD_CONFIG", "the ledger holds another key for this node"));
    }
    Ok(())
}

async fn first_people(config: &NodeConfig, directory: &Directory, entropy: &mut dyn Entropy) -> Result<(), Fault> {
    let Some(file) = config.first_people.as_ref().filter(|_| directory.list().is_empty()) else { return Ok(()) };
    let first: Vec<FirstPerson> = serde_json::from_str(&read_text(file)?)
        .map_err(|e| Fault::usage("BAD_CONFIG", format!("`{}`: {e}", file.display())))?;
    for p in first {
        let facts = certificate_facts(&p.certificate)?;
        let mut salt = [0; 32];
        entropy.fill(&mut salt);
        let person = Person {
            name: p.name,
            handle: p.handle,
            title: p.title,
            unit: String::new(),
            roles: p.roles,
            clearance: p.clearance,
            compartments: p.compartments,
            public_key: facts.public_key,
            serial: facts.serial,
            suspended: false,
            version: 1,
            salt,
        };
        directory.put(person, 0).await?;
    }
    Ok(())
}
