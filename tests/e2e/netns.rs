//! Lines that lose packets: every node in a network namespace of its own, joined by a router that drops what a rule says.
//! Nothing is told to anybody: no reset, no ICMP. It needs root and iproute2; where these are missing, what `lines` shows
//! with a process between the nodes is all that is shown.

use super::demo::Demo;
use super::leaks::none_readable;
use super::notices::{Watch, id, send, states, track};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

const AGENCIES: [&str; 4] = ["police", "state-security", "customs", "cyberspace"];

fn ip(args: &str) -> Result<(), String> {
    let ran = Command::new("ip").args(args.split(' ')).output().map_err(|e| format!("ip: {e}"))?;
    if ran.status.success() {
        return Ok(());
    }
    Err(format!("ip {args}: {}", String::from_utf8_lossy(&ran.stderr).trim()))
}

/// A router, and a namespace for each agency, on a net of its own behind it. All go when this is dropped.
struct Net {
    router: String,
    cut: BTreeSet<(usize, usize)>,
}

impl Net {
    fn new() -> Result<Net, String> {
        let net = Net { router: format!("hufu-{}", std::process::id()), cut: BTreeSet::new() };
        let router = &net.router;
        // An error on the way drops what was made.
        ip(&format!("netns add {router}"))?;
        for n in 0..AGENCIES.len() {
            let here = net.namespace(n);
            ip(&format!("netns add {here}"))?;
            ip(&format!("-n {router} link add to-{n} type veth peer name line netns {here}"))?;
            ip(&format!("-n {router} addr add 198.18.{n}.1/24 dev to-{n}"))?;
            ip(&format!("-n {router} link set to-{n} up"))?;
            ip(&format!("-n {here} addr add {}/24 dev line", address(n)))?;
            ip(&format!("-n {here} link set lo up"))?;
            ip(&format!("-n {here} link set line up"))?;
            ip(&format!("-n {here} route add default via 198.18.{n}.1"))?;
        }
        let forward = ["netns", "exec", router.as_str(), "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"];
        let forwards = Command::new("ip").args(forward).status().map_err(|e| format!("ip: {e}"))?;
        forwards.success().then_some(net).ok_or_else(|| "the router may not forward".to_owned())
    }

    fn namespace(&self, n: usize) -> String {
        format!("{}-{n}", self.router)
    }

    /// From now on everything between these two agencies is lost, either way.
    fn cut(&mut self, a: &str, b: &str) {
        self.rule("add", a, b);
    }

    fn mend(&mut self, a: &str, b: &str) {
        self.rule("del", a, b);
    }

    fn rule(&mut self, verb: &str, a: &str, b: &str) {
        let place = |agency: &str| AGENCIES.iter().position(|a| *a == agency).unwrap();
        let (a, b) = (place(a), place(b));
        let changed = if verb == "add" { self.cut.insert((a, b)) } else { self.cut.remove(&(a, b)) };
        assert!(changed, "it is so already");
        for (from, to) in [(a, b), (b, a)] {
            ip(&format!("-n {} rule {verb} iif to-{from} to {} blackhole", self.router, address(to))).unwrap();
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        // A veth pair goes with either of its ends; what was not made is not there to go.
        for name in (0..AGENCIES.len()).map(|n| self.namespace(n)).chain([self.router.clone()]) {
            let _ = ip(&format!("netns del {name}"));
        }
    }
}

/// 198.18.0.0/15 is for tests of networks (RFC 2544).
fn address(n: usize) -> String {
    format!("198.18.{n}.2")
}

#[test]
fn what_is_lost_on_the_way_goes_around_and_what_waits_goes_when_a_line_is_back() {
    let mut net = match Net::new() {
        Ok(net) => net,
        Err(why) => {
            // Past the harness, which keeps what a passing test says.
            let _ = writeln!(std::io::stderr(), "netns: NOT RUN, no network namespaces here: {why}");
            return;
        }
    };
    let mut demo = Demo::start();
    demo.stop();
    for (n, agency) in AGENCIES.iter().enumerate() {
        demo.move_into(agency, &net.namespace(n), &address(n));
    }
    let _nodes = AGENCIES.map(|agency| demo.start_node(agency));
    AGENCIES.iter().for_each(|agency| demo.serves(&format!("{agency}-duty")));
    let watch = Watch::start(&demo, "customs-duty");
    let flash = |subject: &str| id(&send(&demo, "police-duty", "customs", "flash", "secret", subject));
    let direct = flash("演练：丢包之前");
    assert_eq!(watch.next()["notice"], json!(direct));

    // Police and customs alone: a relay carries it.
    net.cut("police", "customs");
    let began = Instant::now();
    let relayed = flash("演练：绕行的通报");
    assert_eq!(watch.next()["notice"], json!(relayed));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    track(&demo, "police-duty", &relayed, "delivered", "10").ok();
    demo.run("customs-duty", &["notice", "ack", &relayed]).ok();
    let tracked = track(&demo, "police-duty", &relayed, "acknowledged", "10");
    assert_eq!(states(&tracked).last().unwrap(), &("acknowledged".into(), Some("customs/duty".into())));
    none_readable(&demo, &["绕行的通报", "请拦查"]);

    // All are cut, once as long as connections stay open through it and once longer: accepted, then delivered within a
    // second of the first line that is back, which is not the direct one.
    for away_s in ["3", "8"] {
        net.cut("police", "state-security");
        net.cut("police", "cyberspace");
        let waiting = flash("演练：全部中断");
        assert_eq!(track(&demo, "police-duty", &waiting, "delivered", away_s).code, 5);
        assert!(watch.silent());
        let back = Instant::now();
        net.mend("police", "state-security");
        assert_eq!(watch.next()["notice"], json!(waiting));
        assert!(back.elapsed() < Duration::from_secs(1), "after {away_s} s: {:?}", back.elapsed());
        track(&demo, "police-duty", &waiting, "delivered", "10").ok();
        net.mend("police", "cyberspace");
    }
    net.mend("police", "customs");
    let last = flash("演练：恢复直达");
    assert_eq!(watch.next()["notice"], json!(last), "each once, by however many lines");
}
