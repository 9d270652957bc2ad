//! Lines between nodes that are cut without a word, and ways out of the house: groups, the webhook, provisional markings.

use super::demo::{Demo, until};
use super::notices::{Watch, id, send, states, track};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// A line to a node's port. While it is cut nothing passes, either way, and nobody is told.
struct Line {
    address: String,
    cut: Arc<AtomicBool>,
}

impl Line {
    fn to(target: &str) -> Line {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (cut, target) = (Arc::new(AtomicBool::new(false)), target.to_owned());
        let line = Line { address, cut: Arc::clone(&cut) };
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(&target) else { continue };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let cut = Arc::clone(&cut);
                    std::thread::spawn(move || pass(from, to, &cut));
                }
            }
        });
        line
    }

    fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, cut: &AtomicBool) {
    let mut bytes = [0; 16 << 10];
    while let Ok(n @ 1..) = from.read(&mut bytes) {
        while cut.load(Ordering::SeqCst) {
            std::thread::park_timeout(Duration::from_millis(2));
        }
        if to.write_all(&bytes[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

#[test]
fn a_silent_cut_is_gone_around_and_what_waits_goes_when_a_path_is_back() {
    let demo = Demo::start();
    demo.kill("police");
    let mut lines = std::collections::BTreeMap::new();
    demo.configure("police", |table| {
        for peer in table["peer"].as_array_mut().unwrap() {
            let line = Line::to(peer["notices"].as_str().unwrap());
            let agency = peer["agency"].as_str().unwrap().to_owned();
            peer["notices"] = toml::Value::String(line.address.clone());
            lines.insert(agency, line);
        }
    });
    let _police = demo.start_node("police");
    demo.serves("police-duty");
    let watch = Watch::start(&demo, "customs-duty");
    let direct = id(&send(&demo, "police-duty", "customs", "flash", "secret", "演练：直达"));
    assert_eq!(watch.next()["notice"], json!(direct));

    // Police and customs alone are cut: a relay carries it, and what people say comes back the same way.
    lines["customs"].cut(true);
    let began = Instant::now();
    let relayed = id(&send(&demo, "police-duty", "customs", "flash", "secret", "演练：中转"));
    assert_eq!(watch.next()["notice"], json!(relayed));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    track(&demo, "police-duty", &relayed, "delivered", "10").ok();

    // All are cut: accepted, and nowhere.
    lines.values().for_each(|l| l.cut(true));
    let waiting = id(&send(&demo, "police-duty", "customs", "flash", "secret", "演练：全断"));
    assert_eq!(track(&demo, "police-duty", &waiting, "delivered", "3").code, 5);
    assert!(watch.silent());
    // The first path that is back is not the direct one.
    lines["state-security"].cut(false);
    let back = Instant::now();
    assert_eq!(watch.next()["notice"], json!(waiting));
    assert!(back.elapsed() < Duration::from_secs(1), "within a second: {:?}", back.elapsed());
    lines.values().for_each(|l| l.cut(false));
    demo.run("customs-duty", &["notice", "ack", &waiting]).ok();
    let tracked = track(&demo, "police-duty", &waiting, "acknowledged", "10");
    assert_eq!(states(&tracked).last().unwrap(), &("acknowledged".into(), Some("customs/duty".into())));
    assert!(watch.silent(), "once, by however many paths");
}

/// No message of the ledger is needed: every port between nodes is closed, and a flash arrives and is acknowledged.
#[test]
fn a_flash_arrives_with_every_port_between_nodes_closed() {
    let mut demo = Demo::start();
    demo.stop();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let agencies = ["police", "state-security", "customs", "cyberspace"];
    let nodes = agencies.map(|agency| {
        demo.configure(agency, |table| {
            for peer in table["peer"].as_array_mut().unwrap() {
                peer["address"] = toml::Value::String(nobody.clone());
            }
        });
        demo.start_node(agency)
    });
    for duty in ["police-duty", "customs-duty"] {
        demo.serves(duty);
    }
    let watch = Watch::start(&demo, "customs-duty");
    let notice = id(&send(&demo, "police-duty", "customs", "flash", "secret", "演练：只有通报端口"));
    assert_eq!(watch.next()["notice"], json!(notice));
    demo.run("customs-duty", &["notice", "ack", &notice]).ok();
    let tracked = track(&demo, "police-duty", &notice, "acknowledged", "10");
    assert_eq!(states(&tracked).last().unwrap(), &("acknowledged".into(), Some("customs/duty".into())));
    until("nobody leads", Duration::from_secs(10), || {
        (demo.run("police-officer", &["cluster", "status"]).ok()["leader"] == Value::Null).then_some(())
    });
    drop(nodes);
}

/// A small HTTP endpoint: refuses the first request, takes the others, and hands on what it got.
fn endpoint() -> (String, std::sync::mpsc::Receiver<(String, String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hufu", listener.local_addr().unwrap());
    let (send, got) = channel();
    std::thread::spawn(move || {
        for (n, stream) in listener.incoming().map_while(Result::ok).enumerate() {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut time, mut signature, mut length) = (String::new(), String::new(), 0);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                    break;
                }
                let (name, value) = line.split_once(':').unwrap_or(("", ""));
                match name.to_ascii_lowercase().as_str() {
                    "hufu-timestamp" => time = value.trim().to_owned(),
                    "hufu-signature" => signature = value.trim().to_owned(),
                    "content-length" => length = value.trim().parse().unwrap(),
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let answer = if n == 0 { "500 Not Now" } else { "204 No Content" };
            write!(&stream, "HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n").unwrap();
            let _ = send.send((time, signature, String::from_utf8(body).unwrap()));
        }
    });
    (url, got)
}

#[test]
fn groups_the_webhook_and_provisional_markings() {
    let demo = Demo::start();
    let (url, got) = endpoint();
    let secret = "a secret of the exercise";
    std::fs::write(demo.dir().join("webhook.secret"), secret).unwrap();
    let file = demo.dir().join("webhook.secret");
    for agency in ["police", "customs"] {
        demo.kill(agency);
    }
    demo.configure("police", |table| {
        let notices = "[groups]\nborder = ['customs', 'state-security/duty']";
        table.insert("notices".into(), toml::Value::Table(notices.parse().unwrap()));
    });
    demo.configure("customs", |table| {
        let notices = format!("[webhook]\nurl = '{url}'\nsecret = '{}'", file.display());
        table.insert("notices".into(), toml::Value::Table(notices.parse().unwrap()));
    });
    let _nodes = (demo.start_node("police"), demo.start_node("customs"));
    demo.serves("police-duty");
    demo.serves("customs-duty");

    let notice = id(&send(&demo, "police-duty", "@border", "routine", "secret", "演练：成组"));
    let tracked = track(&demo, "police-duty", &notice, "delivered", "10");
    let agencies: Vec<&Value> = tracked.ok()["receipts"].as_array().unwrap().iter().map(|r| &r["agency"]).collect();
    assert!(agencies.contains(&&json!("customs")) && agencies.contains(&&json!("state-security")), "{agencies:?}");
    let unknown = send(&demo, "police-duty", "@nobody", "routine", "secret", "x");
    assert!(unknown.code == 2 && unknown.stderr.contains("border"), "{}", unknown.stderr);

    // The webhook is signed, tried again, and learns nothing of what the notice says.
    for _ in 0..2 {
        let (time, signature, body) = got.recv_timeout(Duration::from_secs(20)).expect("the webhook is called");
        let mac = hufu::seal::signature_of(secret.as_bytes(), &[time.as_bytes(), b".", body.as_bytes()]);
        let hex: String = mac.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(signature, format!("sha256={hex}"));
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((&body["event"], &body["notice"]), (&json!("received"), &json!(notice)));
        assert!(!body.to_string().contains("成组"));
    }

    // No agreement of customs and cyberspace covers confidential: only what is urgent goes, and its marking is provisional.
    let refused = send(&demo, "customs-duty", "cyberspace", "routine", "confidential", "演练：无协议");
    assert!(refused.code == 3 && refused.stderr.contains("NOT_COVERED"), "{}", refused.stderr);
    let urgent = id(&send(&demo, "customs-duty", "cyberspace", "immediate", "confidential", "演练：暂定"));
    track(&demo, "customs-duty", &urgent, "delivered", "10").ok();
    let shown = demo.run("cyberspace-duty", &["notice", "show", &urgent]);
    assert_eq!(shown.ok()["provisional"], json!(true));
    assert_eq!(demo.run("customs-duty", &["notice", "confirm", &urgent]).code, 3, "no classifier");
    demo.run("customs-chief", &["notice", "confirm", &urgent]).ok();
    let tracked = demo.run("customs-duty", &["notice", "track", &urgent]);
    assert!(states(&tracked).contains(&("marking-confirmed".into(), Some("chief".into()))), "{:?}", tracked.lines);
    until("its addressee is told", Duration::from_secs(10), || {
        let shown = demo.run("cyberspace-duty", &["notice", "show", &urgent]);
        (shown.ok()["provisional"] == json!(false)).then_some(())
    });
    let covered = id(&send(&demo, "customs-duty", "police", "routine", "secret", "演练：有协议"));
    assert_eq!(demo.run("customs-chief", &["notice", "confirm", &covered]).code, 7, "nothing to confirm");
    let top = send(&demo, "police-chief", "state-security", "flash", "top-secret", "x");
    assert!(top.code == 3 && top.stderr.contains("NOT_SUPPORTED"), "{}", top.stderr);

    // A refused act stands in the log as refused.
    let denied = until("the refusal is in the log", Duration::from_secs(5), || {
        let events = demo.run("customs-officer", &["audit", "search", "--decision", "deny", "--person", "duty"]);
        events.lines.iter().any(|e| e["rule"] == "act:NOT_COVERED").then_some(events)
    });
    assert_eq!(denied.code, 0);
}
