//! One node from its configuration: start in order, serve, stop in order.

use super::bell::{Bells, Rung};
use super::courier;
use super::cutting::{self, Charted, Cutting};
use super::figures::Watched;
use super::lanes::{self, Lanes};
use super::lists::{Lists, Told};
use super::lock::DataLock;
use super::logs;
use super::monitor::Monitor;
use super::own::{check_authority, check_known, check_own, first_people, open_indexes, open_ring, removed};
use super::peers::{AGENCY_BYTES, Peers};
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
use crate::config::{NodeConfig, read_charter, read_genesis, read_text};
use crate::domain::canon::Canon;
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, FederationId, NodeId};
use crate::domain::label::Grade;
use crate::domain::limits;
use crate::domain::reserve::Work;
use crate::domain::time::{Clock, Millis};
use crate::identity::{
    Acceptor, AgencyVerifier, Authority, Credentials, Dialer, Exchange, Expected, Limits, Live, Protocol, ServerTls,
    TrustRoots, certificate_facts, harden as harden_server,
};
use crate::journal::{Host, System};
use crate::ledger::{AgencyState, Charter, Genesis, node_id};
use crate::seal::KeyRing;
use crate::search::Indexes;
use crate::service::{Core, DiskRoom, PeerPost};
use crate::vault::PeerVault;
use crate::wire::pb::{peer, v1};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
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
    check_room(host.as_ref(), &config)?;
    let (stop, stopped) = watch::channel(false);
    // Early, so that a node that recovers for long is seen to live.
    let monitor = Arc::new(Monitor::new(clock.now(), urgent.clone(), stopped.clone()));
    if let Some(address) = config.listen.metrics {
        let _bound = monitor.listen(address).await?;
    }
    let ring = open_ring(&config)?;
    check_own(&config, &genesis, &ring)?;
    let certificate = read_text(&config.cert)?;
    let federation = genesis.federation.clone();
    let site = Site { config, urgent, host, clock, node, federation, ring, certificate, stopped };

    let mut trust = Trust::before_the_ledger(&site, &genesis)?;
    // What takes long is read beside each other.
    let (config, host, ring) = (site.config.clone(), Arc::clone(&site.host), site.ring.clone());
    let indexes = tokio::task::spawn_blocking(move || open_indexes(&config, &ring));
    let config = site.config.clone();
    let registers = tokio::task::spawn_blocking(move || Registers::open(&config, &host, Box::new(SystemEntropy)));
    let lines = Lines::to_others(&site, &trust.roots)?;
    let cluster = start_consensus(&site, signed.to_canon(), &lines.peers, trust.charter.take()).await?;
    let read = |e: tokio::task::JoinError| Fault::internal("INTERNAL", e.to_string());
    let registers = registers.await.map_err(read)??;
    first_people(&site.config, &registers.directory, &mut SystemEntropy).await?;
    trust.follow_the_ledger(&site, &cluster)?;
    let mut cutting = lines.cutting(&trust);
    // Who is suspended is not listened to from the first connection on.
    let applied = cluster.applied();
    let _known = cutting.align(&cluster.state(), applied, &site.config.agency);

    // Nodes are served before people: consensus needs it to get anywhere.
    let nodes = serve_nodes(&site, &trust.roots, &lines, &cluster).await?;
    cutting.live.extend(nodes.live.iter().cloned().chain(nodes.notices.live.iter().cloned()));
    let opened = (genesis, registers, indexes.await.map_err(read)??);
    let (core, rung) = open_rooms(&site, opened, &cluster, &lines.peers, &mut trust).await?;
    nodes.gate.open(Arc::clone(&core), Arc::clone(&lines.peers) as Arc<dyn PeerVault>);
    let mut tasks = Tasks::start(&site, &core, &lines, rung);

    let (people, people_tls) = listen_to_people(&site, &trust.roots).await?;
    let until = Arc::new(AtomicU64::new(certificate_facts(&site.certificate)?.not_after.0));
    let live =
        vec![("people", vec![people.live()]), ("nodes", nodes.live.clone()), ("notices", nodes.notices.live.clone())];
    monitor.open(Watched { core: Arc::clone(&core), live, certified_until: Arc::clone(&until) });
    cutting.live.push(people.live());
    tasks.telling.push(cutting::start(Arc::clone(&core), cutting, people.live(), site.stopped.clone()));
    let listeners = nodes.tls.iter().cloned().chain([people_tls]).collect();
    let shown = shown(&site, &trust.roots, (listeners, Arc::clone(&lines.dialer)), until)?;
    let reload = Reload::new(Arc::clone(&core), file.to_owned(), site.config.clone(), trust.lists, shown);
    tasks.telling.push(reload.start(hangups, site.stopped.clone()));
    let people_server = serve_people(&site, &core, lines.peers, people);
    let listen = &site.config.listen;
    tracing::info!(agency = %site.config.agency, people = %listen.people, nodes = %listen.nodes, "serving; {}", crate::seal::SUITE_NOTICE);

    let full = wait_for_end(&core).await?;
    let _ = stop.send(true);
    let deadline = tokio::time::Instant::now() + STOP_WITHIN;
    let _ = tokio::time::timeout_at(deadline, people_server).await;
    tasks.abort();
    // What is counted in this minute is not lost with it.
    core.log_counted(Millis(u64::MAX)).await?;
    let _logged = core.log_node(AuditAction::Stop, &site.config.agency, Object::None, Verdict::Allow, "stop").await?;
    cluster.shutdown().await;
    for server in std::iter::once(nodes.server).chain(nodes.notices.servers) {
        let _ = tokio::time::timeout_at(deadline, server).await;
    }
    full.map_or(Ok(()), Err)
}

/// A start writes too; nothing of it is begun where it could not end.
fn check_room(host: &dyn Host, config: &NodeConfig) -> Result<(), Fault> {
    let free = host.free_bytes(&config.data).map_err(|e| Fault::unavailable("JOURNAL_FAILED", e.to_string()))?;
    if Work::Ledger.fits(0, free) { Ok(()) } else { Err(Work::Ledger.refusal()) }
}

/// What every step of a start needs.
struct Site {
    config: NodeConfig,
    /// The threads of notices and of the people's connections.
    urgent: Handle,
    host: Arc<dyn Host>,
    clock: Arc<dyn Clock>,
    node: NodeId,
    federation: FederationId,
    ring: KeyRing,
    /// Read once: all connections show the same, also when the file changes in between.
    certificate: String,
    stopped: watch::Receiver<bool>,
}

impl Site {
    fn credentials(&self) -> Result<Credentials, Fault> {
        Ok(Credentials::from_pem(&self.certificate, &self.ring.signing_key()?.to_pkcs8_pem()?)?)
    }
}

/// Whose certificates are taken.
struct Trust {
    roots: TrustRoots,
    lists: Lists,
    charter: Option<Charter>,
    /// Its index, and the authorities that it names.
    charted: Option<(u64, Charted)>,
    /// Files of lists of agencies whose authority only the ledger knows.
    unnamed: Vec<(AgencyId, PathBuf)>,
    /// What the logs are told, once they are open.
    told: Vec<Told>,
}

impl Trust {
    /// By the genesis, the own files and the charter.
    fn before_the_ledger(site: &Site, genesis: &Genesis) -> Result<Trust, Fault> {
        let (config, now) = (&site.config, site.clock.now());
        let roots = TrustRoots::new();
        let charter = config.charter.as_ref().map(|file| read_charter(file)).transpose()?;
        if charter.as_ref().is_some_and(|c| c.federation != site.federation) {
            return Err(Fault::usage("BAD_CONFIG", "`charter` is of another federation"));
        }
        let mut lists = Lists::new(genesis, &config.data, roots.clone());
        let mut known: Charted = genesis.founders.iter().map(|d| (d.agency.clone(), [d.root.clone()].into())).collect();
        // A charter is later than the genesis.
        let charted = charter.as_ref().map(|c| (c.index, roots_of(c)));
        known.extend(charted.iter().flat_map(|(_, roots)| roots.clone()));
        // Whoever was admitted later, or has exchanged its authority, is not in the genesis as it is, and knows itself.
        known.entry(config.agency.clone()).or_default().insert(certificate_facts(&read_text(&config.ca)?)?.der);
        for (agency, of) in &known {
            roots.set_all(agency.clone(), of.iter().map(Vec::as_slice))?;
        }
        lists.learn(known.iter());
        // Whoever was revoked is not let in by the first handshake either. Whose authority the ledger alone knows has no list
        // before the ledger is open, and until then no certificate that counts.
        let crl = config.crl.iter().map(|(agency, file)| (agency.clone(), file.clone()));
        let (named, unnamed): (Vec<_>, Vec<_>) = crl.partition(|(agency, _)| lists.knows(agency));
        unnamed.iter().for_each(|(agency, _)| roots.require_list(agency));
        let told = named.iter().flat_map(|(agency, file)| lists.begin(agency, file, now)).collect();
        Ok(Trust { roots, lists, charter, charted, unnamed, told })
    }

    /// By the ledger, as far as it is known here.
    fn follow_the_ledger(&mut self, site: &Site, cluster: &Cluster) -> Result<(), Fault> {
        let state = cluster.state();
        let ca = certificate_facts(&read_text(&site.config.ca)?)?.der;
        check_known(&state, site.node, &site.ring)?;
        let own = &site.config.agency;
        let ahead = self.charted.as_ref().filter(|(index, _)| cluster.applied() < *index);
        let charted = ahead.and_then(|(_, roots)| roots.get(own));
        if let Some(named) = charted.or(state.agency(own).map(AgencyState::roots)) {
            check_authority(named, &ca)?;
        }
        state.agencies().for_each(|(agency, a)| self.lists.remember(agency, &a.descriptor.root));
        let others = self.lists.learn(state.agencies().map(|(agency, a)| (agency, a.roots())));
        let mut waiting = std::mem::take(&mut self.unnamed);
        // A list of an authority that the genesis does not name was none to be read before.
        let unread = |agency: &AgencyId| others.contains(agency) && self.roots.list_of(agency).is_none();
        let unread = site.config.crl.iter().filter(|(agency, _)| unread(agency));
        let unread: Vec<_> = unread.map(|(agency, file)| (agency.clone(), file.clone())).collect();
        waiting.retain(|(agency, _)| unread.iter().all(|(other, _)| other != agency));
        waiting.extend(unread);
        for (agency, file) in waiting {
            self.told.extend(self.lists.begin(&agency, &file, site.clock.now()));
        }
        let without: Vec<String> = self.lists.without(&site.config).iter().map(ToString::to_string).collect();
        if !without.is_empty() {
            let agencies = without.join(", ");
            tracing::warn!(%agencies, "no revocation lists are configured: revoked certificates count until they are over");
        }
        Ok(())
    }
}

/// The authorities that a charter names.
fn roots_of(charter: &Charter) -> Charted {
    let mut all = Charted::new();
    for (agency, root) in &charter.agencies {
        all.entry(agency.clone()).or_default().insert(root.clone());
    }
    all
}

/// Lines to other nodes.
struct Lines {
    dialer: Arc<Dialer>,
    peers: Arc<Peers>,
    post: Arc<PostOffice>,
}

impl Lines {
    fn to_others(site: &Site, roots: &TrustRoots) -> Result<Lines, Fault> {
        let dialer = Arc::new(Dialer::new(site.credentials()?, roots.clone(), Arc::clone(&site.clock)));
        let peers = Arc::new(Peers::new(&site.config, Arc::clone(&dialer), roots.clone())?);
        let post = PostOffice::new(&site.config, Arc::clone(&dialer), roots.clone(), site.urgent.clone())?;
        Ok(Lines { dialer, peers, post: Arc::new(post) })
    }

    fn cutting(&self, trust: &Trust) -> Cutting {
        let (peers, post) = (Arc::clone(&self.peers), Arc::clone(&self.post));
        let (live, removed, unreadable) = (vec![self.dialer.live()], BTreeSet::new(), BTreeSet::new());
        let (roots, charted) = (trust.roots.clone(), trust.charted.clone());
        Cutting { roots, peers, post, removed, unreadable, charted, live }
    }
}

async fn start_consensus(
    site: &Site,
    genesis: Vec<u8>,
    peers: &Arc<Peers>,
    charter: Option<Charter>,
) -> Result<Arc<Cluster>, Fault> {
    let raft = &site.config.raft;
    let started = Cluster::start(ClusterOptions {
        node: site.node,
        host: Arc::clone(&site.host),
        materialised: Materialise::InStore,
        dir: site.config.data.join("ledger"),
        genesis,
        timings: Timings {
            heartbeat_ms: raft.heartbeat_ms,
            election_min_ms: raft.election_min_ms,
            election_max_ms: raft.election_max_ms,
        },
        cuts: Cuts::default(),
        peers: peers.ids().into_iter().collect(),
        calls: peers.clone(),
        key: site.ring.signing_key()?,
        charter,
    });
    Ok(Arc::new(started.await.map_err(Fault::from)?))
}

/// A server that runs.
type Served = JoinHandle<Result<(), tonic::transport::Error>>;

/// What serves other nodes.
struct ServedNodes {
    /// Closed until the rooms are open.
    gate: NodeGate,
    /// Of the two listeners.
    tls: [ServerTls; 2],
    live: Vec<Live>,
    notices: Lanes,
    server: Served,
}

async fn serve_nodes(
    site: &Site,
    roots: &TrustRoots,
    lines: &Lines,
    cluster: &Arc<Cluster>,
) -> Result<ServedNodes, Fault> {
    let (gate, listen) = (NodeGate::default(), &site.config.listen);
    let nodes_tls = |protocols: Vec<Protocol>| {
        let verifier = AgencyVerifier::new(site.federation.clone(), roots.clone(), Expected::AnyNode);
        let (exchange, clock) = (Exchange::PostQuantumOnly, Arc::clone(&site.clock));
        Ok::<_, Fault>(ServerTls::speaking(protocols, exchange, &site.credentials()?, verifier, clock)?)
    };
    let (calls_tls, letters_tls) = (nodes_tls(vec![Protocol::Calls])?, nodes_tls(lanes::protocols())?);
    let nodes = bind(listen.nodes, calls_tls.clone(), NODES).await?;
    let live = vec![nodes.live()];
    let services = NodeServices::new(Arc::clone(cluster), gate.clone());
    let letters = PostServices::new(services.clone(), Arc::clone(&lines.post) as Arc<dyn PeerPost>);
    let notices = lanes::serve(listen.notices, letters_tls.clone(), letters, site.stopped.clone());
    let notices = site.urgent.spawn(notices).await;
    let notices = notices.map_err(|e| Fault::internal("RUNTIME", e.to_string()))??;
    let big = limits::PEER_MESSAGE_BYTES;
    let router = harden_server(Server::builder())
        .add_service(Budgeted::new(
            limited!(peer::consensus_server::ConsensusServer::new(services.clone()), big, big),
            NODE_SHARES,
        ))
        .add_service(limited!(peer::position_server::PositionServer::new(services.clone()), SMALL_BYTES, SMALL_BYTES))
        .add_service(Budgeted::new(
            limited!(peer::agency_server::AgencyServer::new(services.clone()), SMALL_BYTES, AGENCY_BYTES),
            NODE_SHARES,
        ))
        .add_service(Budgeted::new(
            limited!(peer::access_server::AccessServer::new(services.clone()), big, SMALL_BYTES),
            NODE_SHARES,
        ))
        .add_service(Budgeted::new(limited!(peer::vault_server::VaultServer::new(services), big, big), NODE_SHARES));
    let server = tokio::spawn(router.serve_with_incoming_shutdown(nodes, told(site.stopped.clone())));
    Ok(ServedNodes { gate, tls: [calls_tls, letters_tls], live, notices, server })
}

/// Opens the rooms over consensus, and tells the logs what is known; answers what will be rung, too.
async fn open_rooms(
    site: &Site,
    (genesis, registers, (indexes, anew)): (Genesis, Registers, (Arc<Indexes>, Vec<Grade>)),
    cluster: &Arc<Cluster>,
    peers: &Arc<Peers>,
    trust: &mut Trust,
) -> Result<(Arc<Core>, mpsc::Receiver<Rung>), Fault> {
    let config = &site.config;
    let (bells, rung) = Bells::start(&config.notices)?;
    let authority = match &config.ca_key {
        Some(key) => Some(Authority::from_pem(&read_text(&config.ca)?, &read_text(key)?)?),
        None => None,
    };
    let (host, clock) = (Arc::clone(&site.host), Arc::clone(&site.clock));
    let ground = Ground { host, clock, entropy: Box::new(|| Box::new(SystemEntropy)) };
    let genesis_file = read_text(&config.genesis)?.into_bytes();
    let own = Own { node: site.node, genesis: (genesis, genesis_file), ring: site.ring.clone() };
    let (positions, elsewhere) = (peers.clone(), peers.clone());
    let certificates = Arc::new(of_own_people(site, &trust.roots));
    let plugs = Plugs { positions, elsewhere, certificates, bell: Arc::new(bells), indexes, authority };
    let core = rooms::core(config, &ground, own, registers, Arc::clone(cluster), plugs).await?;
    for one in std::mem::take(&mut trust.told) {
        one.tell(&core).await;
    }
    for grade in anew {
        let object = Object::Text(format!("search index {grade}"));
        let _logged =
            core.log_node(AuditAction::Rebuild, &config.agency, object, Verdict::Allow, "search-index").await?;
    }
    Ok((core, rung))
}

/// What a node does by itself.
struct Tasks {
    indexing: JoinHandle<()>,
    telling: Vec<JoinHandle<()>>,
    couriers: Vec<JoinHandle<()>>,
}

impl Tasks {
    fn start(site: &Site, core: &Arc<Core>, lines: &Lines, rung: mpsc::Receiver<Rung>) -> Tasks {
        let (urgent, stopped) = (&site.urgent, &site.stopped);
        let indexing = upkeep::index(Arc::clone(core), stopped.clone());
        let telling = rooms::rounds(core, &lines.peers, stopped);
        let post = Arc::clone(&lines.post);
        let mut couriers = rooms::couriers(urgent, core, &(post.clone() as Arc<dyn PeerPost>), stopped);
        couriers.push(courier::keep_warm(urgent, Arc::clone(core), post, stopped.clone()));
        couriers.push(courier::calls(urgent, Arc::clone(core), rung));
        Tasks { indexing, telling, couriers }
    }

    fn abort(&self) {
        self.indexing.abort();
        self.telling.iter().for_each(JoinHandle::abort);
        self.couriers.iter().for_each(JoinHandle::abort);
    }
}

/// Takes the own agency's people: in a handshake here, and in one at another node of the agency.
fn of_own_people(site: &Site, roots: &TrustRoots) -> AgencyVerifier {
    let own = Expected::PeopleOf(site.config.agency.clone());
    AgencyVerifier::new(site.federation.clone(), roots.clone(), own)
}

/// The people's door, and what it shows.
async fn listen_to_people(site: &Site, roots: &TrustRoots) -> Result<(Acceptor, ServerTls), Fault> {
    let listen = &site.config.listen;
    let exchange = match listen.require_post_quantum {
        true => Exchange::PostQuantumOnly,
        false => Exchange::PreferPostQuantum,
    };
    let verifier = of_own_people(site, roots);
    let tls = ServerTls::new(exchange, &site.credentials()?, verifier, Arc::clone(&site.clock))?;
    let people = site.urgent.spawn(bind(listen.people, tls.clone(), PEOPLE)).await;
    let people = people.map_err(|e| Fault::internal("RUNTIME", e.to_string()))??;
    Ok((people, tls))
}

/// What this node shows, for whoever takes a new certificate of it.
fn shown(
    site: &Site,
    roots: &TrustRoots,
    (listeners, dialer): (Vec<ServerTls>, Arc<Dialer>),
    until: Arc<AtomicU64>,
) -> Result<Shown, Fault> {
    let itself = Expected::Node { agency: site.config.agency.clone(), id: site.config.node.clone() };
    Ok(Shown {
        listeners,
        dialer,
        key: site.ring.signing_key()?,
        own: AgencyVerifier::new(site.federation.clone(), roots.clone(), itself),
        leaf: site.credentials()?.leaf().to_vec(),
        until,
    })
}

fn serve_people(site: &Site, core: &Arc<Core>, peers: Arc<Peers>, people: Acceptor) -> Served {
    let api = People::new(Arc::clone(core), peers, site.urgent.clone());
    let bulk = Handle::current();
    // Notices have places of their own: whoever publishes and searches takes none of them.
    let load = &site.config.load;
    let most = Calls { all: load.calls as usize, of_person: load.calls_per_person as usize };
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
    site.urgent.spawn(router.serve_with_incoming_shutdown(people, told(site.stopped.clone())))
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
