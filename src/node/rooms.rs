//! The rooms of one node, opened in order over whatever it stands on: a machine in the product, a simulated one in tests.

use super::courier;
use super::reload::settings;
use super::upkeep;
use crate::audit::{Action as AuditAction, Anchors, AuditLog, Decision as Verdict, Object, ReceivedReports};
use crate::cluster::{Cluster, Committer, Incarnation};
use crate::config::NodeConfig;
use crate::domain::fault::Fault;
use crate::domain::ids::NodeId;
use crate::domain::time::{Clock, Entropy};
use crate::identity::{Authority, Directory};
use crate::journal::Host;
use crate::ledger::Genesis;
use crate::notice::{Identity, Office};
use crate::policy::Engine;
use crate::seal::{KeyRing, Suite};
use crate::search::Indexes;
use crate::service::{
    Bell, Certificates, Core, DiskRoom, InForce, MemoryRoom, PeerComplaints, PeerNotices, PeerPeople, PeerPost,
    PeerReports, Positions,
};
use crate::vault::{Complaints, Intake, Keys, PeerVault, Vault};
use std::sync::{Arc, Mutex};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

/// How many may read the whole audit log at a time.
const SCANS: usize = 2;

/// What a node stands on.
pub(crate) struct Ground {
    /// Files and workers.
    pub(crate) host: Arc<dyn Host>,
    /// Time.
    pub(crate) clock: Arc<dyn Clock>,
    /// Makes sources of randomness.
    pub(crate) entropy: Box<dyn Fn() -> Box<dyn Entropy> + Send + Sync>,
}

/// Who a node is.
pub(crate) struct Own {
    /// Its number on the ledger.
    pub(crate) node: NodeId,
    /// The federation, and the genesis file as it lies there.
    pub(crate) genesis: (Genesis, Vec<u8>),
    /// Its key ring.
    pub(crate) ring: KeyRing,
}

/// What needs no consensus to be read: the log of everything, who the people are, what the vault took in.
pub(crate) struct Registers {
    pub(crate) audit: Arc<AuditLog>,
    pub(crate) anchors: Anchors,
    pub(crate) reports: ReceivedReports,
    pub(crate) complaints: Complaints,
    pub(crate) directory: Arc<Directory>,
    pub(crate) intake: Intake,
}

impl Registers {
    /// Opens them, and holds the audit log against what was anchored.
    pub(crate) fn open(
        config: &NodeConfig,
        host: &Arc<dyn Host>,
        entropy: Box<dyn Entropy>,
    ) -> Result<Registers, Fault> {
        let failed = |e: crate::audit::AuditError| Fault::integrity("AUDIT_FAILED", e.to_string());
        let on = host.as_ref();
        let audit = Arc::new(AuditLog::open(on, &config.data.join("audit")).map_err(failed)?);
        Ok(Registers {
            anchors: Anchors::open(on, &config.data, &audit)?,
            reports: ReceivedReports::open(on, &config.data.join("reports")).map_err(failed)?,
            complaints: Complaints::open(on, &config.data.join("complaints"))?,
            directory: Arc::new(Directory::open(on, &config.data.join("people"))?),
            intake: Intake::open(host, &config.data.join("vault"), entropy)?,
            audit,
        })
    }
}

/// What differs from node to node besides its configuration.
pub(crate) struct Plugs {
    pub(crate) positions: Arc<dyn Positions>,
    pub(crate) elsewhere: Arc<dyn PeerNotices>,
    pub(crate) certificates: Arc<dyn Certificates>,
    pub(crate) bell: Arc<dyn Bell>,
    pub(crate) indexes: Arc<Indexes>,
    pub(crate) authority: Option<Authority>,
}

/// Opens the notices, puts everything together, and begins the log of this start.
pub(crate) async fn core(
    config: &NodeConfig,
    ground: &Ground,
    own: Own,
    registers: Registers,
    cluster: Arc<Cluster>,
    plugs: Plugs,
) -> Result<Arc<Core>, Fault> {
    let Own { node, genesis: (genesis, genesis_file), ring } = own;
    let (agency, federation) = (config.agency.clone(), genesis.federation);
    let host = ground.host.as_ref();
    let keys = Keys::new(agency.clone(), federation.clone(), node, ring.clone())?;
    let identity = Identity { federation: federation.clone(), agency: agency.clone(), node };
    let office = Office::open(host, &config.data.join("notices"), identity, ring.clone(), config.notices.deadlines())?;
    let clock = Arc::clone(&ground.clock);
    let incarnation = Incarnation::begin(host, &config.data, clock.now()).map_err(|why| {
        Fault::integrity("BAD_DATA_DIR", why).hint("look at the disk; the ledger knows the last number")
    })?;
    let committer = Committer::start(
        Arc::clone(&cluster),
        federation.clone(),
        node,
        ring.signing_key()?,
        incarnation,
        Arc::clone(&clock),
    );
    let (policy, broken) = Engine::built_in_or_deny_all();
    if let Some(e) = broken {
        tracing::error!(error = %e, "the policy set is not valid; everything is denied");
    }
    let ledger = host.files(&config.data.join("ledger"));
    let ledger = ledger.map_err(|e| Fault::unavailable("JOURNAL_FAILED", e.to_string()))?;
    let disk = DiskRoom::new(Arc::clone(&ground.host), config.data.clone(), ledger, Arc::clone(&clock));
    let memory = MemoryRoom::new(Arc::clone(&ground.host), Arc::clone(&clock), config.load.memory_bytes());
    let core = Arc::new(Core {
        agency,
        federation,
        node,
        cluster,
        committer,
        directory: registers.directory,
        policy: Arc::new(policy),
        audit: registers.audit,
        anchors: registers.anchors,
        scans: Semaphore::new(SCANS),
        genesis: genesis_file,
        reports: registers.reports,
        complaints: registers.complaints,
        indexes: plugs.indexes,
        vault: Arc::new(Vault::new(keys, registers.intake)),
        office,
        relayed: Default::default(),
        logged: Default::default(),
        quota: Mutex::default(),
        bell: plugs.bell,
        settings: InForce::new(settings(config)),
        disk,
        memory,
        pushes: Default::default(),
        watching: Default::default(),
        authority: plugs.authority,
        signer: ring.signing_key()?,
        pseudonym_key: *ring.derive("pseudonym"),
        positions: plugs.positions,
        elsewhere: plugs.elsewhere,
        certificates: plugs.certificates,
        told_of_people: Default::default(),
        folded: Default::default(),
        in_progress: Default::default(),
        unheard: Default::default(),
        clock,
        entropy: Mutex::new((ground.entropy)()),
    });
    let suite = Object::Text(Suite::Evaluation.to_string());
    let _logged = core.log_node(AuditAction::Start, &core.agency, suite, Verdict::Allow, "start").await?;
    Ok(core)
}

/// Starts what a node does by itself, but for indexing, which has threads of its own.
pub(crate) fn rounds<P>(core: &Arc<Core>, peers: &Arc<P>, stopped: &watch::Receiver<bool>) -> Vec<JoinHandle<()>>
where
    P: PeerVault + PeerReports + PeerComplaints + PeerPeople + 'static,
{
    let mut all = vec![upkeep::report(Arc::clone(core), Arc::clone(peers) as Arc<dyn PeerReports>, stopped.clone())];
    all.push(upkeep::start(Arc::clone(core), Arc::clone(peers) as Arc<dyn PeerVault>, stopped.clone()));
    all.push(upkeep::complain(Arc::clone(core), Arc::clone(peers) as Arc<dyn PeerComplaints>, stopped.clone()));
    all.push(upkeep::share_people(Arc::clone(core), Arc::clone(peers) as Arc<dyn PeerPeople>, stopped.clone()));
    all.push(upkeep::recommit(Arc::clone(core), stopped.clone()));
    all.push(upkeep::certify(Arc::clone(core), stopped.clone()));
    all.push(upkeep::retire(Arc::clone(core), stopped.clone()));
    all.push(upkeep::sweep(Arc::clone(core), stopped.clone()));
    all
}

/// Starts what carries notices, on the threads that are theirs.
pub(crate) fn couriers(
    urgent: &Handle,
    core: &Arc<Core>,
    post: &Arc<dyn PeerPost>,
    stopped: &watch::Receiver<bool>,
) -> Vec<JoinHandle<()>> {
    vec![
        courier::start(urgent, Arc::clone(core), Arc::clone(post), stopped.clone()),
        courier::alarms(urgent, Arc::clone(core), stopped.clone()),
    ]
}
