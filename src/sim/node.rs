//! One node: opened by `node::rooms` over its simulated machine, and reached over the simulated network.

use super::dice::Dice;
use super::host::{LEDGER, Machine};
use super::net::{Card, Link, Net, Served};
use super::revoked::Revoked;
use crate::api::{NodeGate, NodeServices, People, PostServices};
use crate::cluster::{Cluster, ClusterOptions, Cuts, Materialise, Timings};
use crate::config::NodeConfig;
use crate::domain::canon::Canon;
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, FederationId, Handle as PersonHandle, NodeId};
use crate::domain::label::Grade;
use crate::domain::person::Role;
use crate::identity::{Person, SpiffeName, VerifiedPeer};
use crate::journal::Host;
use crate::ledger::{Authority, Charter, Descriptor, NodeEntry, SignedGenesis, node_id};
use crate::node::rooms::{self, Ground, Own, Plugs, Registers};
use crate::seal::{Counter, KeyRing, SealError, SigningKey, digest};
use crate::search::Indexes;
use crate::service::{Bell, Caller, Core, PeerPost, Ring};
use crate::vault::PeerVault;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Everybody who writes and reads in a simulation.
pub(super) const PERSON: &str = "li";
/// Everybody who only reads.
pub(super) const READER: &str = "sun";
/// Everybody who is the second person of what others mark.
const CLASSIFIER: &str = "wang";
const CEILING: Grade = Grade::Secret;

/// A node of an agency, with its secrets.
pub(super) struct Member {
    pub(super) id: AgencyId,
    /// Its name in its agency.
    pub(super) local: &'static str,
    pub(super) node: NodeId,
    pub(super) officers: [(PersonHandle, SigningKey); 2],
    /// The agency with its first node.
    pub(super) descriptor: Descriptor,
    secrets: Secrets,
    federation: FederationId,
}

/// What a key ring is made of.
#[derive(Clone, Copy)]
struct Secrets {
    seed: u64,
    /// The seed of the agency's first node, for another one.
    first: Option<u64>,
}

impl Secrets {
    fn ring(self) -> Result<KeyRing, SealError> {
        let own = |seed| KeyRing::create(CEILING, &mut Counter::at(seed));
        match self.first {
            None => own(self.seed),
            Some(first) => own(first)?.for_another_node(&mut Counter::at(self.seed)),
        }
    }
}

/// What a node is started with.
pub(super) struct Start<'a> {
    pub(super) genesis: &'a SignedGenesis,
    pub(super) machine: &'a Arc<Machine>,
    pub(super) net: &'a Net,
    pub(super) dice: &'a Dice,
    pub(super) cuts: Cuts,
    pub(super) charter: Option<Charter>,
}

/// A node that runs.
pub(super) struct Up {
    pub(super) core: Arc<Core>,
    /// What its people are served by.
    pub(super) people: People,
    pub(super) link: Arc<Link>,
    /// Certificates of its people that it takes no more.
    pub(super) revoked: Arc<Revoked>,
    /// Keeps the rounds going.
    _stop: watch::Sender<bool>,
}

impl Member {
    /// The first node of an agency.
    pub(super) fn new(id: &str, seed: u64) -> Member {
        let secrets = Secrets { seed, first: None };
        let (id, federation): (AgencyId, FederationId) = (id.parse().unwrap(), "test".parse().unwrap());
        let ring = secrets.ring().unwrap();
        let officers = [1u8, 2].map(|n| {
            let seed = digest("test.officer", &[id.as_str().as_bytes(), &[n]]);
            (PersonHandle::from_bytes([seed[0]; 16]), SigningKey::from_seed(&seed).unwrap())
        });
        let authority = |(handle, key): &(PersonHandle, SigningKey)| Authority {
            handle: *handle,
            roles: [Role::SecurityOfficer].into(),
            key: key.public(),
        };
        let (handle, key) = classifier_of(&id);
        let classifier = Authority { handle, roles: [Role::Classifier].into(), key: key.public() };
        let grades = Grade::ALL.into_iter().filter(|g| *g <= CEILING);
        let descriptor = Descriptor {
            agency: id.clone(),
            federation: federation.clone(),
            name: id.to_string(),
            tier: crate::domain::agency::Tier::Provincial,
            ceiling: CEILING,
            compartments: Default::default(),
            root: id.as_str().into(),
            nodes: vec![NodeEntry { local: "1".into(), key: ring.signing_key().unwrap().public(), place: None }],
            grade_keys: grades.map(|g| ring.grade_public(g).unwrap()).collect(),
            authorities: officers.iter().map(authority).chain([classifier]).collect(),
        };
        Member { node: node_id(&id, "1"), id, local: "1", officers, descriptor, secrets, federation }
    }

    /// The second node of the same agency.
    pub(super) fn second(&self, seed: u64) -> Member {
        let first = Member::new(self.id.as_str(), self.secrets.seed);
        let secrets = Secrets { seed, first: Some(self.secrets.seed) };
        Member { node: node_id(&self.id, "2"), local: "2", secrets, ..first }
    }

    pub(super) fn ring(&self) -> KeyRing {
        self.secrets.ring().unwrap()
    }

    /// As the ledger is to have it.
    pub(super) fn entry(&self) -> NodeEntry {
        NodeEntry { local: self.local.into(), key: self.ring().signing_key().unwrap().public(), place: None }
    }

    /// Who it is to others.
    pub(super) fn card(&self) -> Card {
        let name = SpiffeName::node(&self.id, &self.federation, self.local).unwrap();
        Card { node: self.node, name, key: *self.ring().signing_key().unwrap().public().as_bytes() }
    }

    fn config(&self) -> NodeConfig {
        let Member { id, local, .. } = self;
        let nowhere = "genesis = 'g'\nca = 'c'\ncert = 'c'\nkeyring = 'k'\npassphrase = 'p'\n";
        let listen = "[listen]\npeople = '127.0.0.1:1'\nnodes = '127.0.0.1:2'\nnotices = '127.0.0.1:3'\n";
        toml::from_str(&format!("agency = '{id}'\nnode = '{local}'\ndata = '/data'\n{nowhere}{listen}")).unwrap()
    }

    /// What the person who acts for this agency signs with.
    pub(super) fn person_signer(&self) -> SigningKey {
        SigningKey::from_seed(&digest("test.person", &[self.id.as_str().as_bytes()])).unwrap()
    }

    fn person_key(&self) -> [u8; 32] {
        *self.person_signer().public().as_bytes()
    }

    /// The handshake of the person who acts for this agency.
    pub(super) fn peer(&self) -> VerifiedPeer {
        let name = SpiffeName::person(&self.id, &self.federation, PERSON).unwrap();
        VerifiedPeer::for_test(name, "2", self.person_key())
    }

    /// What the person who only reads signs with.
    pub(super) fn reader_signer(&self) -> SigningKey {
        SigningKey::from_seed(&digest("test.reader", &[self.id.as_str().as_bytes()])).unwrap()
    }

    /// The handshake of the person who only reads.
    pub(super) fn reader(&self) -> VerifiedPeer {
        let name = SpiffeName::person(&self.id, &self.federation, READER).unwrap();
        VerifiedPeer::for_test(name, "4", *self.reader_signer().public().as_bytes())
    }

    /// The person who acts for this agency.
    pub(super) fn caller(&self, core: &Core) -> Result<Caller, Fault> {
        core.caller(&self.peer())
    }

    /// Its second person, who decides on what the first one proposes, with the key that signs that.
    pub(super) fn classifier(&self, core: &Core) -> Result<(Caller, PersonHandle, SigningKey), Fault> {
        let name = SpiffeName::person(&self.id, &self.federation, CLASSIFIER)?;
        let (handle, key) = classifier_of(&self.id);
        let caller = core.caller(&VerifiedPeer::for_test(name, "3", *key.public().as_bytes()))?;
        Ok((caller, handle, key))
    }

    /// Starts its node on a machine, as `node::assemble` does, without listeners.
    pub(super) async fn start(&self, with: Start<'_>) -> Result<(Up, Served), Fault> {
        let Start { genesis, machine, net, dice, cuts, charter } = with;
        let config = self.config();
        let link = Arc::new(Link { own: self.card(), net: net.clone() });
        let host: Arc<dyn Host> = Arc::clone(machine) as Arc<dyn Host>;
        let registers = Registers::open(&config, &host, Box::new(dice.split()))?;
        for person in self.people() {
            if registers.directory.by_name(&person.name).is_none() {
                registers.directory.put(person, 0).await?;
            }
        }
        // The draw of an election's timeout is the seed's, not openraft's.
        let election = 300 + dice.below(300);
        let verified = genesis.verified()?;
        let cluster = Cluster::start(ClusterOptions {
            node: self.node,
            host: Arc::clone(&host),
            materialised: Materialise::Never,
            dir: LEDGER.into(),
            genesis: genesis.to_canon(),
            timings: Timings { heartbeat_ms: 50, election_min_ms: election, election_max_ms: election + 1 },
            cuts,
            peers: verified.founders.iter().map(|d| node_id(&d.agency, "1")).filter(|n| *n != self.node).collect(),
            calls: Arc::clone(&link) as Arc<dyn crate::cluster::PeerCalls>,
            key: self.ring().signing_key()?,
            charter,
        })
        .await?;
        let cluster = Arc::new(cluster);
        let gate = NodeGate::default();
        let nodes = NodeServices::new(Arc::clone(&cluster), gate.clone());
        let post = PostServices::new(nodes.clone(), Arc::clone(&link) as Arc<dyn PeerPost>);
        let entropy = dice.clone();
        let ground = Ground { host, clock: machine.clock(), entropy: Box::new(move || Box::new(entropy.split())) };
        let secrets = self.secrets;
        let own = Own { node: self.node, genesis: (verified, Vec::new()), ring: secrets.ring()? };
        let (indexes, _) = Indexes::open(&config.data.join("search"), Default::default(), Box::new(dice.split()))?;
        let revoked = Arc::new(Revoked::default());
        let plugs = Plugs {
            positions: Arc::clone(&link) as Arc<dyn crate::service::Positions>,
            elsewhere: Arc::clone(&link) as Arc<dyn crate::service::PeerNotices>,
            certificates: Arc::clone(&revoked) as Arc<dyn crate::service::Certificates>,
            bell: Arc::new(Silent),
            indexes: Arc::new(indexes),
            authority: None,
        };
        let core = rooms::core(&config, &ground, own, registers, cluster, plugs).await?;
        gate.open(Arc::clone(&core), Arc::clone(&link) as Arc<dyn PeerVault>);
        let (stop, stopped) = watch::channel(false);
        drop(rooms::rounds(&core, &link, &stopped));
        let post_out: Arc<dyn PeerPost> = Arc::clone(&link) as Arc<dyn PeerPost>;
        drop(rooms::couriers(&Handle::current(), &core, &post_out, &stopped));
        let served = Served { handle: Handle::current(), core: Arc::clone(&core), nodes, post };
        let pushes = Arc::clone(&link) as Arc<dyn PeerVault>;
        let people = People::new(Arc::clone(&core), pushes, Handle::current());
        Ok((Up { core, people, link, revoked, _stop: stop }, served))
    }

    fn people(&self) -> [Person; 3] {
        let (handle, key) = classifier_of(&self.id);
        let classifier = Person {
            name: CLASSIFIER.into(),
            handle,
            roles: [Role::Classifier].into(),
            public_key: *key.public().as_bytes(),
            serial: "3".into(),
            ..self.person()
        };
        let reader = Person {
            name: READER.into(),
            handle: PersonHandle::from_bytes([10; 16]),
            roles: [Role::Analyst, Role::DutyOfficer].into(),
            public_key: *self.reader_signer().public().as_bytes(),
            serial: "4".into(),
            ..self.person()
        };
        [self.person(), classifier, reader]
    }

    fn person(&self) -> Person {
        Person {
            name: PERSON.into(),
            handle: PersonHandle::from_bytes([9; 16]),
            title: String::new(),
            unit: String::new(),
            roles: [Role::Analyst, Role::Originator, Role::DutyOfficer].into(),
            clearance: CEILING,
            compartments: Default::default(),
            public_key: self.person_key(),
            serial: "2".into(),
            suspended: false,
            version: 0,
            salt: [7; 32],
        }
    }
}

/// Handle and key of an agency's second person.
fn classifier_of(agency: &AgencyId) -> (PersonHandle, SigningKey) {
    let seed = digest("test.classifier", &[agency.as_str().as_bytes()]);
    let mut handle = [0; 16];
    handle.copy_from_slice(&seed[..16]);
    (PersonHandle::from_bytes(handle), SigningKey::from_seed(&seed).unwrap())
}

/// Wakes nobody.
struct Silent;

impl Bell for Silent {
    fn ring(&self, _: Ring) {}
}
