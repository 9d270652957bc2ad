//! A running demo, and how tests talk to it.

use hufu::config::Profile;
use hufu::identity::{IdentityError, dial_as_person};
use hufu::wire::pb::v1::records_client::RecordsClient;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};
use tonic::transport::Channel;

/// The one way to wait: a condition and a deadline.
pub fn until<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

const AGENCIES: [&str; 4] = ["police", "state-security", "customs", "cyberspace"];

/// `hufu demo` in a folder of its own, stopped when dropped.
pub struct Demo {
    child: Child,
    dir: PathBuf,
    /// Network namespaces of agencies that have moved into one.
    namespaces: BTreeMap<String, String>,
    _folder: tempfile::TempDir,
}

/// What one command did.
pub struct Ran {
    pub code: i32,
    pub lines: Vec<Value>,
    pub stderr: String,
}

impl Ran {
    /// The one answer of a command that must succeed.
    pub fn ok(&self) -> &Value {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self.lines.last().expect("an answer")
    }
}

impl Demo {
    /// Starts one and waits for `ready`.
    pub fn start() -> Demo {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("demo");
        let child = spawn(&dir, free_ports());
        let mut demo = Demo { child, dir, namespaces: BTreeMap::new(), _folder: folder };
        demo.wait_ready();
        demo
    }

    /// Starts one and kills it when its nodes run and its people are not all there.
    pub fn start_unfinished() -> Demo {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("demo");
        let child = spawn(&dir, free_ports());
        let mut demo = Demo { child, dir, namespaces: BTreeMap::new(), _folder: folder };
        let clerk = demo.dir.join("profiles/police-clerk.toml");
        until("people are being registered", Duration::from_secs(120), || clerk.exists().then_some(()));
        let pids = AGENCIES.map(|a| demo.pid(a));
        demo.kill_itself();
        assert!(!demo.dir.join("ready").exists());
        for pid in pids {
            gone(&pid);
        }
        demo
    }

    fn wait_ready(&mut self) {
        let ready = self.dir.join("ready");
        let child = &mut self.child;
        until("the demo is ready", Duration::from_secs(120), || {
            assert!(child.try_wait().unwrap().is_none(), "the demo ended");
            ready.exists().then_some(())
        });
    }

    /// Stops it as a person would and starts it again in the same folder.
    pub fn restart(&mut self) {
        self.stop();
        self.child = spawn(&self.dir, 1);
        self.wait_ready();
    }

    /// SIGTERM; it must end within 5 s and leave no child and no `ready`.
    pub fn stop(&mut self) {
        if self.child.try_wait().unwrap().is_some() {
            return;
        }
        let pids = AGENCIES.map(|a| self.pid(a));
        signal("TERM", &self.child.id().to_string());
        let child = &mut self.child;
        until("the demo stops", Duration::from_secs(5), || child.try_wait().unwrap());
        assert!(!self.dir.join("ready").exists());
        for pid in pids {
            gone(&pid);
        }
    }

    /// SIGKILL to the demo itself.
    pub fn kill_itself(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// From now on an agency's node and people are in a network namespace, under `address` instead of 127.0.0.1 and on the
    /// ports of before. For nodes that do not run.
    pub fn move_into(&mut self, agency: &str, namespace: &str, address: &str) {
        let config = std::fs::read_to_string(self.dir.join("nodes").join(agency).join("hufu.toml")).unwrap();
        let config: toml::Table = config.parse().unwrap();
        let listen = config["listen"].as_table().unwrap();
        let listeners = ["people", "nodes", "notices"].map(|name| listen[name].as_str().unwrap());
        let nodes = AGENCIES.map(|a| self.dir.join("nodes").join(a).join("hufu.toml"));
        let profiles = std::fs::read_dir(self.dir.join("profiles")).unwrap().map(|entry| entry.unwrap().path());
        for file in profiles.chain(nodes) {
            let mut text = std::fs::read_to_string(&file).unwrap();
            for old in listeners {
                let (_, port) = old.split_once(':').unwrap();
                text = text.replace(old, &format!("{address}:{port}"));
            }
            std::fs::write(&file, text).unwrap();
        }
        self.namespaces.insert(agency.to_owned(), namespace.to_owned());
    }

    /// `hufu` where an agency's node, or a persona of it, is.
    pub fn hufu_of(&self, who: &str) -> Command {
        let namespace = self.namespaces.iter().find(|(agency, _)| who.starts_with(agency.as_str()));
        let Some((_, namespace)) = namespace else { return hufu() };
        let mut c = Command::new("ip");
        c.args(["netns", "exec", namespace.as_str()]).arg(program());
        c.env_remove("HUFU_PROFILE").env("LANG", "C.UTF-8");
        c
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn pid(&self, agency: &str) -> String {
        std::fs::read_to_string(self.dir.join("nodes").join(agency).join("pid")).unwrap().trim().to_owned()
    }

    pub fn kill(&self, agency: &str) {
        signal("KILL", &self.pid(agency));
        let proc = Path::new("/proc").join(self.pid(agency)).join("exe");
        until("a node is dead", Duration::from_secs(5), || std::fs::read_link(&proc).is_err().then_some(()));
    }

    /// A persona's own connection, for what no command asks.
    pub async fn dial(&self, persona: &str) -> Result<Channel, IdentityError> {
        let profile = Profile::read(&self.dir.join(format!("profiles/{persona}.toml"))).unwrap();
        let text = |p: &Path| std::fs::read_to_string(p).unwrap();
        let (ca, cert, key) = (text(&profile.ca), text(&profile.cert), text(&profile.key));
        Ok(dial_as_person(profile.address(), &ca, &cert, &key).await?.channel)
    }

    pub async fn records(&self, persona: &str) -> RecordsClient<Channel> {
        RecordsClient::new(self.dial(persona).await.unwrap())
    }

    /// Changes a node's configuration file.
    pub fn configure(&self, agency: &str, change: impl FnOnce(&mut toml::Table)) {
        let config = self.dir.join("nodes").join(agency).join("hufu.toml");
        let mut table: toml::Table = std::fs::read_to_string(&config).unwrap().parse().unwrap();
        change(&mut table);
        std::fs::write(&config, toml::to_string(&table).unwrap()).unwrap();
    }

    /// Waits until a persona's node serves.
    pub fn serves(&self, persona: &str) {
        until("a node serves", Duration::from_secs(20), || {
            (self.run(persona, &["notice", "inbox"]).code == 0).then_some(())
        });
    }

    /// Starts a single node again, as an operator would.
    pub fn start_node(&self, agency: &str) -> Node {
        self.start_node_by(agency, self.hufu_of(agency))
    }

    /// The same by a command that stands for `hufu` itself.
    pub fn start_node_by(&self, agency: &str, mut hufu: Command) -> Node {
        let dir = self.dir.join("nodes").join(agency);
        let log = std::fs::File::options().append(true).open(dir.join("log")).unwrap();
        let child = hufu
            .args(["node", "run", "--config"])
            .arg(dir.join("hufu.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Node(child)
    }

    /// Runs a command as a persona, with `--json`.
    pub fn run(&self, persona: &str, args: &[&str]) -> Ran {
        let profile = self.dir.join("profiles").join(format!("{persona}.toml"));
        ran(self.hufu_of(persona).arg("--json").arg("--profile").arg(profile).args(args).output().unwrap())
    }

    pub fn publish(&self, persona: &str, title: &str, body: &str, extra: &[&str]) -> Ran {
        let base = ["record", "publish", "--title", title, "--body", body, "--agreement", "border-2026"];
        self.run(persona, &[&base, extra].concat())
    }

    pub fn open(&self, persona: &str, record: &str) -> Ran {
        self.run(persona, &["record", "open", record, "--purpose", "CASE-1"])
    }

    /// Waits until all reachable nodes hold the same digest; answers the status.
    pub fn equal_digests(&self, persona: &str, nodes: usize) -> Value {
        let mut last = String::new();
        let mut told = Instant::now();
        until("equal digests", Duration::from_secs(30), || {
            let status = self.run(persona, &["cluster", "status"]);
            let now = format!("{} {:?} {}", status.code, status.lines.first(), status.stderr);
            // A status that stays is what somebody needs who reads of a failure.
            if now != last && told.elapsed() > Duration::from_secs(5) {
                eprintln!("{now}");
                (last, told) = (now, Instant::now());
            }
            let status = status.lines.first()?.clone();
            let digests: Vec<&Value> =
                status["nodes"].as_array()?.iter().filter(|n| n["reachable"] == true).map(|n| &n["digest"]).collect();
            (digests.len() == nodes && digests.iter().all(|d| *d == digests[0] && d.is_string()))
                .then_some(status.clone())
        })
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for agency in AGENCIES {
                let log = std::fs::read_to_string(self.dir.join("nodes").join(agency).join("log")).unwrap_or_default();
                let lines: Vec<&str> = log.lines().filter(|l| !l.contains(" INFO openraft")).collect();
                eprintln!("--- {agency}\n{}", lines[lines.len().saturating_sub(15)..].join("\n"));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn gone(pid: &str) {
    let proc = Path::new("/proc").join(pid).join("exe");
    until("a node is gone", Duration::from_secs(5), || std::fs::read_link(&proc).is_err().then_some(()));
}

/// A node started by hand.
pub struct Node(Child);

impl Node {
    pub fn pid(&self) -> String {
        self.0.id().to_string()
    }

    /// Its exit code, once it ended by itself.
    pub fn ended(&mut self) -> Option<i32> {
        self.0.try_wait().unwrap().map(|status| status.code().expect("it ended by itself"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program under test: of the same build as the test, or what `HUFU_BIN` names.
pub fn program() -> PathBuf {
    let named = std::env::var_os("HUFU_BIN").map(|bin| std::fs::canonicalize(bin).expect("HUFU_BIN is a program"));
    named.unwrap_or_else(|| env!("CARGO_BIN_EXE_hufu").into())
}

pub fn hufu() -> Command {
    let mut c = Command::new(program());
    c.env_remove("HUFU_PROFILE").env("LANG", "C.UTF-8");
    c
}

pub fn ran(o: Output) -> Ran {
    let stdout = String::from_utf8(o.stdout).unwrap();
    Ran {
        code: o.status.code().expect("it ended by itself"),
        lines: stdout.lines().filter_map(|l| serde_json::from_str(l).ok()).collect(),
        stderr: String::from_utf8(o.stderr).unwrap(),
    }
}

fn spawn(dir: &Path, ports: u16) -> Child {
    hufu()
        .arg("demo")
        .arg("--dir")
        .arg(dir)
        .args(["--no-sample", "--port-base", &ports.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// A base above which the demo's ports are free: below the range that outgoing connections use, and another
/// one for every demo of this process.
fn free_ports() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    until("free ports", Duration::from_secs(10), || {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let base = 20_000 + (std::process::id() as u16 % 100 + step % 100) * 50;
        let mut all = (0..4u16).flat_map(|i| (0..5).map(move |o| base + 10 * i + o));
        all.all(|p| TcpListener::bind(("127.0.0.1", p)).is_ok()).then_some(base)
    })
}

pub fn signal(name: &str, pid: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), pid]).status().unwrap().success());
}
