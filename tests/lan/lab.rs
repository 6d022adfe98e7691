//! A LAN on one machine: a bridge in a namespace of its own, and a namespace for each board with
//! one `eth0` on that bridge.
//!
//! Dropping a lab ends its nodes and removes its namespaces; what a killed run left is removed by
//! the next. When a test fails, its nodes' logs stay below `target/lan` and their ends are shown.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::netns::{self, Agent};
use crate::switch::{Plan, Switch, open_port};

static LABS: AtomicUsize = AtomicUsize::new(0);
static SWEEP: Once = Once::new();
/// Lines of each log shown when a test fails.
const LOG_LINES_SHOWN: usize = 25;
/// Bytes a lab in memory wants: a board keeps 5 % of its medium free.
const MEMORY_FREE_MIN: u64 = 4 << 30;

/// A LAN.
pub struct Lab {
    hub: String,
    hub_agent: Agent,
    boards: Vec<Board>,
    directory: PathBuf,
    /// What its nodes run.
    pub program: OsString,
    expected_errors: RefCell<Vec<String>>,
}

/// A place for a node on the LAN: a namespace with an interface.
pub struct Board {
    namespace: String,
    port: String,
    agent: Agent,
    address: Ipv4Addr,
}

impl Board {
    /// Its first address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The thread that lives there.
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Another thread there, for what takes long.
    pub fn visitor(&self) -> Agent {
        Agent::enter(&self.namespace)
    }

    /// Runs `ip` there.
    pub fn ip(&self, lines: &str) {
        netns::ip(Some(&self.namespace), lines);
    }

    /// A program there, for as long as it takes; its output, both streams.
    pub fn output(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(program);
        command.args(arguments);
        let output = self.agent.run(move || command.output());
        let output = output.unwrap_or_else(|error| {
            panic!("{program} runs ({error}); ./tests/run installs it");
        });
        let both = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&both).into_owned()
    }
}

impl Lab {
    /// A LAN with `boards` boards, 10.77.0.1/16 and up.
    pub fn new(test: &str, boards: usize) -> Self {
        let lab = Lab::unplugged(test, boards);
        lab.plug(0..boards);
        lab
    }

    /// Its data directories lie in memory where there is enough of it: where many boards of one
    /// machine start at once, its one disk would be what is timed.
    pub fn in_memory(test: &str, boards: usize) -> Self {
        let memory = Path::new("/dev/shm");
        let free = nix::sys::statvfs::statvfs(memory)
            .map_or(0, |it| it.blocks_available() * it.fragment_size());
        let lab = if free >= MEMORY_FREE_MIN {
            Lab::with_medium(test, boards, &memory.join("roundel-lan"))
        } else {
            println!(
                "the data lies on disk: {free} bytes are free in {}",
                memory.display()
            );
            Lab::unplugged(test, boards)
        };
        lab.plug(0..boards);
        lab
    }

    /// A LAN whose boards have no `eth0` yet.
    pub fn unplugged(test: &str, boards: usize) -> Self {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/lan");
        Lab::with_medium(test, boards, &target)
    }

    /// Its data directories lie below `medium`.
    ///
    /// # Panics
    /// Without root: a lab makes namespaces.
    fn with_medium(test: &str, boards: usize, medium: &Path) -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "the LAN lab makes namespaces: run it as root"
        );
        SWEEP.call_once(netns::sweep);
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let hub = netns::name(number, "hub");
        let namespaces: Vec<_> = (1..=boards)
            .map(|board| netns::name(number, &board.to_string()))
            .collect();
        let all = namespaces.iter().chain([&hub]);
        netns::ip(
            None,
            &all.map(|name| format!("netns add {name}\n"))
                .collect::<String>(),
        );
        netns::ip(
            Some(&hub),
            "link add br0 type bridge mcast_snooping 0\nlink set br0 up\n",
        );
        let boards = namespaces
            .into_iter()
            .enumerate()
            .map(|(index, namespace)| {
                netns::ip(Some(&namespace), "link set lo up\n");
                let agent = Agent::enter(&namespace);
                agent.run(without_address_detection);
                let [high, low] = (index as u16 + 1).to_be_bytes();
                Board {
                    port: format!("v{}", index + 1),
                    address: Ipv4Addr::new(10, 77, high, low),
                    namespace,
                    agent,
                }
            });
        let boards = boards.collect();
        let directory = medium.join(format!("{test}-{}-{number}", std::process::id()));
        fs::create_dir_all(&directory).expect("the lab's directory can be made");
        Lab {
            hub_agent: Agent::enter(&hub),
            hub,
            boards,
            directory,
            program: crate::node::binary(),
            expected_errors: RefCell::default(),
        }
    }

    /// Gives boards their `eth0`, an address and a default route.
    pub fn plug(&self, boards: impl IntoIterator<Item = usize>) {
        let boards: Vec<_> = boards.into_iter().collect();
        let mut hub = String::new();
        for board in boards.iter().map(|board| &self.boards[*board]) {
            let (port, namespace) = (&board.port, &board.namespace);
            hub += &format!("link add {port} type veth peer name eth0 netns {namespace}\n");
            hub += &format!("link set {port} master br0\nlink set {port} up\n");
        }
        netns::ip(Some(&self.hub), &hub);
        for board in boards.iter().map(|board| &self.boards[*board]) {
            let [.., high, low] = board.address.octets();
            board.ip(&format!(
                "addr add {}/16 dev eth0\n\
                 addr add fd77::{high:x}:{low:x}/64 dev eth0 nodad\n\
                 link set eth0 up\n\
                 route add default dev eth0\n",
                board.address
            ));
        }
    }

    /// Puts a switch of this process in the place of the bridge, between all boards.
    pub fn switch(&self, plan: Plan) -> Switch {
        let mut unbridged = String::new();
        for board in &self.boards {
            let offloads = ["tx", "off", "tso", "off", "gso", "off", "gro", "off"];
            board.output("ethtool", &[&["-K", "eth0"][..], &offloads[..]].concat());
            unbridged += &format!("link set {} nomaster\n", board.port);
        }
        netns::ip(Some(&self.hub), &unbridged);
        let names: Vec<_> = self.boards.iter().map(|board| board.port.clone()).collect();
        let open = move || names.iter().map(|name| open_port(name)).collect();
        Switch::start(self.hub().run(open), plan)
    }

    /// The thread that lives beside the bridge.
    pub fn hub(&self) -> &Agent {
        &self.hub_agent
    }

    /// A board.
    pub fn board(&self, board: usize) -> &Board {
        &self.boards[board]
    }

    /// Where this lab's data directories and logs lie.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Pulls a board's cable at the switch, or puts it back.
    pub fn set_cable(&self, board: usize, plugged: bool) {
        let state = if plugged { "up" } else { "down" };
        netns::ip(
            Some(&self.hub),
            &format!("link set {} {state}\n", self.boards[board].port),
        );
    }

    /// Cuts the LAN into groups that do not hear each other. Boards in no group hear all.
    pub fn partition(&self, groups: &[&[usize]]) {
        let mut rules = String::new();
        for (index, from) in groups.iter().enumerate() {
            for to in groups
                .iter()
                .enumerate()
                .filter(|(to, _)| *to != index)
                .map(|(_, to)| to)
            {
                rules += &self.cut(from, to);
            }
        }
        self.filter("partition", &rules);
    }

    /// Loses what the boards of `from` send to those of `to`; what these send arrives.
    pub fn cut_one_way(&self, from: &[usize], to: &[usize]) {
        self.filter("partition", &self.cut(from, to));
    }

    fn cut(&self, from: &[usize], to: &[usize]) -> String {
        let ports = |group: &[usize]| {
            let ports = group
                .iter()
                .map(|board| format!("\"{}\"", self.boards[*board].port));
            ports.collect::<Vec<_>>().join(", ")
        };
        let (from, to) = (ports(from), ports(to));
        format!("iifname {{ {from} }} oifname {{ {to} }} drop\n")
    }

    /// Makes the LAN whole again.
    pub fn heal(&self) {
        self.filter("partition", "");
    }

    /// Loses so many of 100 multicast frames, at random; unicast passes.
    pub fn lose_multicast(&self, percent: u32) {
        let share = match percent {
            100.. => String::new(),
            _ => format!("numgen random mod 100 < {percent} "),
        };
        let lost = format!(
            "ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00 \
             ether daddr != ff:ff:ff:ff:ff:ff {share}drop\n"
        );
        self.filter("loss", if percent == 0 { "" } else { &lost });
    }

    fn filter(&self, table: &str, rules: &str) {
        let chain = format!(
            "chain forward {{ type filter hook forward priority 0; policy accept;\n{rules}}}\n"
        );
        let text = format!(
            "table bridge {table} {{}}\ndelete table bridge {table}\n\
             table bridge {table} {{ {chain} }}\n"
        );
        self.hub_agent
            .run(move || netns::feed("nft", &["-f", "-"], &text));
    }

    /// Lets log lines at ERROR pass that contain this.
    pub fn expect_error(&self, text: &str) {
        self.expected_errors.borrow_mut().push(text.to_owned());
    }

    fn logs(&self) -> Vec<(String, String)> {
        let entries = fs::read_dir(&self.directory).expect("the lab's directory is there");
        let paths = entries.flatten().map(|entry| entry.path());
        let logs = paths.filter(|path| path.extension().is_some_and(|ending| ending == "log"));
        let mut logs: Vec<_> = logs
            .map(|path| {
                let text = fs::read(&path).expect("a log can be read");
                (
                    path.display().to_string(),
                    String::from_utf8_lossy(&text).into_owned(),
                )
            })
            .collect();
        logs.sort();
        logs
    }

    fn unexpected_errors(&self) -> Vec<String> {
        let expected = self.expected_errors.borrow();
        let mut found = Vec::new();
        for (path, text) in self.logs() {
            let errors = text.lines().filter(|line| is_error(line));
            let errors = errors.filter(|line| !expected.iter().any(|text| line.contains(text)));
            found.extend(errors.map(|line| format!("{path}: {line}")));
        }
        found
    }
}

/// A line of the program's log at level ERROR, as text or as JSON, or a panic.
fn is_error(line: &str) -> bool {
    line.split_whitespace().take(2).any(|word| word == "ERROR")
        || line.contains("\"level\":\"ERROR\"")
        || (line.starts_with("thread '") && line.contains("panicked at"))
}

/// Addresses count at once: a board's interface has been up for long when its program starts.
fn without_address_detection() {
    for scope in ["default", "all"] {
        let path = format!("/proc/sys/net/ipv6/conf/{scope}/accept_dad");
        // A kernel without IPv6 has none to wait for.
        let _ = fs::write(path, "0");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let errors = self.unexpected_errors();
        let failed = std::thread::panicking();
        if failed || !errors.is_empty() {
            for (path, text) in self.logs() {
                let lines: Vec<_> = text.lines().collect();
                println!("--- {path}");
                let shown = lines.len().saturating_sub(LOG_LINES_SHOWN);
                lines[shown..].iter().for_each(|line| println!("{line}"));
            }
        } else {
            let _ = fs::remove_dir_all(&self.directory);
            // The last one out also removes what they lay in.
            let _ = self.directory.parent().map(fs::remove_dir);
        }
        let names = self
            .boards
            .iter()
            .map(|board| &board.namespace)
            .chain([&self.hub]);
        let names: Vec<_> = names.cloned().collect();
        for name in &names {
            netns::end_all_in(name);
        }
        self.boards.clear();
        for name in &names {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
        assert!(
            failed || errors.is_empty(),
            "errors in the logs:\n{}",
            errors.join("\n")
        );
    }
}
