//! A stand-in for a board of a large ring: serves the product's page and says, over the same feed
//! and JSON-RPC, what a test has it say.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use roundel::base::id::Id;
use roundel::base::limit;
use roundel::service::web;
use serde_json::{Value, json};

/// What is said.
#[derive(Clone)]
pub struct Say {
    node: Value,
    cluster: Value,
    /// get_node_stats.
    pub stats: Value,
    events: Value,
    /// The ring changes as often as a board tells of it, in each second boards by the hundred.
    pub busy: bool,
}

impl Say {
    /// A ring of so many boards, all well; the first is this one.
    pub fn ring(boards: usize) -> Self {
        let nodes: Vec<Value> = (0..boards)
            .map(|number| {
                let hash = Id::of(format!("board {number}").as_bytes()).to_string();
                json!({"name": format!("board-{number:03}"), "version": "0.1.0", "cluster": "home",
                    "hash": hash, "addr": format!("10.0.{}.{}", number / 250, number % 250 + 1),
                    "port": 38_400, "state": "active", "standing": "member", "alive": true,
                    "suspect": false, "for_ms": 5_000, "boot": 1, "location": null})
            })
            .collect();
        let node = nodes[0].clone();
        let stats = json!({"hash": node["hash"], "name": node["name"], "uptime_ms": 60_000,
            "state": "active", "items": 12, "tombstones": 0, "handover_pending": 0,
            "under_replicated": 0, "safe_to_unplug": true, "unplug_reason": "", "problems": [],
            "store": "open", "counters": {"store_disk_bytes": 9_000, "store_free_bytes": 9_000_000},
            "memory_bytes": 9_000_000, "written_bytes": 70_000,
            "operations": {"put": 0, "get": 0, "remove": 0, "failed": 0, "latency_us": []}});
        let cluster = json!({"cluster": {"name": "home", "id": "07".repeat(16), "settled": true,
            "copies": 3, "points": 128, "mode": "full", "nodes": nodes}});
        Say {
            node,
            cluster,
            stats,
            events: json!({"events": []}),
            busy: false,
        }
    }

    /// A board's line in get_cluster_state.
    pub fn node(&mut self, number: usize) -> &mut Value {
        &mut self.cluster["cluster"]["nodes"][number]
    }

    /// What get_node_events answers.
    pub fn events(&mut self, events: &[Value]) {
        self.events = json!({"events": events});
    }

    /// One moment later: time goes on, and in a busy ring some boards change.
    fn advance(&mut self, step: u64) {
        let uptime_ms = self.stats["uptime_ms"].as_u64().expect("a number") + 50;
        self.stats["uptime_ms"] = json!(uptime_ms);
        let puts = self.stats["operations"]["put"].as_u64().expect("a number") + 5;
        self.stats["operations"]["put"] = json!(puts);
        self.stats["operations"]["latency_us"] = json!([[800, puts / 2], [1_131, puts - puts / 2]]);
        let boards = self.cluster["cluster"]["nodes"]
            .as_array()
            .map_or(1, Vec::len) as u64;
        for at in 0..5 {
            let number = ((step * 5 + at) * 7 % boards) as usize;
            if number > 0 {
                let node = self.node(number);
                node["suspect"] = json!(node["suspect"] == false && step.is_multiple_of(3));
                node["alive"] = json!(step % 4 != 1);
            }
        }
    }

    fn answer(&self, method: &str) -> Value {
        match method {
            "get_node_stats" => self.stats.clone(),
            "get_key_state" => json!({"access": "keyed", "kid": "07".repeat(8), "epoch": 0,
                "window_s": 0, "members": 1, "asking": [], "revoked": [], "waiting": []}),
            "scan_items" => json!({"items": [], "next": null, "degraded": false}),
            other => panic!("the page asks {other}"),
        }
    }
}

/// It serves until the test ends.
pub struct Canned {
    at: SocketAddr,
}

impl Canned {
    /// Serves on loopback.
    pub fn serve(say: Say) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is up");
        let at = listener.local_addr().expect("it is bound");
        let say = Arc::new(Mutex::new(say));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let say = say.clone();
                // A page that is closed ends its streams.
                thread::spawn(move || exchange(stream, &say).unwrap_or_default());
            }
        });
        Canned { at }
    }

    /// The page's address.
    pub fn page(&self) -> String {
        format!("http://{}/presentation", self.at)
    }
}

fn exchange(mut stream: TcpStream, say: &Mutex<Say>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut line, mut length) = (String::new(), 0);
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    loop {
        let mut field = String::new();
        reader.read_line(&mut field)?;
        match field.trim().split_once(':') {
            None => break,
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().unwrap_or_default();
            }
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (content_type, text) = match path.as_str() {
        "/presentation/events" => return feed(stream, say),
        "/presentation" => ("text/html; charset=utf-8", document()),
        "/presentation/session" => {
            let session = json!({"claimed": true, "owner": true, "may": "admin", "private": true,
                "access": "keyed", "https": "", "fingerprint": ""});
            ("application/json", session.to_string())
        }
        "/rpc" => {
            let request: Value = serde_json::from_slice(&body)?;
            let method = request["method"].as_str().unwrap_or_default();
            let result = say.lock().expect("nobody panics with it").answer(method);
            let answer = json!({"jsonrpc": "2.0", "id": request["id"], "result": result});
            ("application/json", answer.to_string())
        }
        path => {
            let name = path.strip_prefix("/presentation/").unwrap_or_default();
            let asset = web::assets().iter().find(|asset| asset.name == name);
            let asset = asset.unwrap_or_else(|| panic!("the page asks for {path}"));
            (asset.content_type, asset.text.to_owned())
        }
    };
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\
         Content-Security-Policy: default-src 'self'\r\nConnection: close\r\n\r\n{text}",
        text.len()
    )
}

/// The template without a state in it.
fn document() -> String {
    let mut parts = web::template().split("{{");
    let mut page = parts.next().unwrap_or_default().to_owned();
    page.extend(parts.filter_map(|part| Some(part.split_once("}}")?.1)));
    page
}

fn feed(mut stream: TcpStream, say: &Mutex<Say>) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    )?;
    for step in 0.. {
        let (say, busy) = {
            let mut say = say.lock().expect("nobody panics with it");
            if step > 0 && say.busy {
                say.advance(step);
            }
            (say.clone(), say.busy)
        };
        let all = [
            ("node", &say.node),
            ("cluster", &say.cluster),
            ("stats", &say.stats),
            ("events", &say.events),
        ];
        for (name, value) in all {
            write!(stream, "event: {name}\ndata: {value}\n\n")?;
        }
        thread::park_timeout(match busy {
            true => limit::FEED_GATHER,
            false => limit::FEED_INTERVAL,
        });
    }
    Ok(())
}
