//! The image boots, joins boards of this machine, and comes back after a power cut.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::guest::{self, Guest, Machine, READY_TIME_MAX};
use crate::lab::Lab;
use crate::node::{self, Node, Start};
use crate::wait;

/// A guest is in a ring within this after it is ready: an emulated machine is slow.
pub const RING_TIME_MAX: Duration = Duration::from_secs(60);
/// Where the guest's address is, as it advertises it: what the DHCP server leases.
const LEASED: &str = "http://10.77.200.";
/// More puts than there is time for: the power goes while they are under way.
const PUTS: usize = 100_000;
/// The keys that they are put under in turn.
const KEYS: usize = 200;
/// What the running guest may use: five times the goal of 64 MB would be all that many boards have,
/// so this is asserted at twice.
const GUEST_BYTES_MAX: u64 = 128 << 20;

/// The image of the machine that every run boots, built once and without a key.
pub fn image() -> &'static Path {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/image/none");
        guest::build("aarch64-virt", &[], &out)
    })
}

/// Kernel, initramfs and command line, as the firmware would take them from the card.
pub fn boot_files(card: &Path, to: &Path) -> PathBuf {
    let boot = to.join("boot");
    fs::create_dir_all(&boot).expect("the lab's directory is there");
    let card = format!("{}@@4M", card.display());
    for file in ["vmlinuz", "initrd", "cmdline.txt"] {
        let status = Command::new("mcopy")
            .args(["-n", "-o", "-i", &card, &format!("::/{file}")])
            .arg(&boot)
            .status();
        assert!(
            status.expect("mcopy runs").success(),
            "{file} is on the card"
        );
    }
    // Device trees, where the board has some.
    let _ = Command::new("mcopy")
        .args(["-n", "-o", "-i", &card, "::/*.dtb"])
        .arg(&boot)
        .stderr(Stdio::null())
        .status();
    boot
}

/// A card of its own for guest `number`, and what the firmware takes from it.
pub fn card_of(lab: &Lab, image: &Path, number: usize) -> (PathBuf, PathBuf) {
    let directory = lab.directory().join(format!("card{number}"));
    fs::create_dir_all(&directory).expect("there is room");
    let card = guest::card(image, &directory);
    let boot = boot_files(&card, &directory);
    (card, boot)
}

/// Powers on guest `number` with its card.
pub fn power_on<'a>(lab: &'a Lab, number: usize, (card, boot): &(PathBuf, PathBuf)) -> Guest<'a> {
    let board = "aarch64-virt";
    let machine = Machine {
        board,
        card,
        boot,
        number,
    };
    Guest::start(lab, &machine)
}

/// What an owner writes into `roundel.toml` so that the guest belongs to the lab's boards.
pub fn settings() -> String {
    "cluster = \"lab\"\n".to_owned()
}

/// A DHCP server beside the bridge; ended when it is dropped.
pub struct Dhcp(Child);

impl Dhcp {
    pub fn start(lab: &Lab) -> Self {
        guest::hub_ip(lab, "addr add 10.77.255.1/16 dev br0\n");
        let leases = lab.directory().join("leases");
        let mut command = Command::new("dnsmasq");
        command
            .args([
                "--no-daemon",
                "--conf-file=/dev/null",
                "--port=0",
                "--interface=br0",
            ])
            .args([
                "--bind-interfaces",
                "--dhcp-authoritative",
                "--no-ping",
                "--user=root",
            ])
            .arg("--dhcp-range=10.77.200.1,10.77.200.250,255.255.0.0,1h")
            .arg(format!("--dhcp-leasefile={}", leases.display()))
            .stdout(Stdio::null())
            .stderr(fs::File::create(lab.directory().join("dnsmasq.log")).expect("a file"));
        let child = lab.hub().run(move || command.spawn());
        Dhcp(
            child.unwrap_or_else(|error| panic!("dnsmasq runs ({error}); ./tests/run installs it")),
        )
    }
}

impl Drop for Dhcp {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Something that goes on in a board's namespace while the test does something else.
fn beside<T: Send + 'static>(
    lab: &Lab,
    board: usize,
    job: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let agent = lab.board(board).visitor();
    std::thread::spawn(move || agent.run(job))
}

/// Listens on a board for the guest's next advertisement: its text and its BOOTID.UPNP.ORG.
fn listen_alive(lab: &Lab, board: usize) -> JoinHandle<Option<(String, u32)>> {
    let address = lab.board(board).address();
    let listen = move || {
        let socket = socket2::Socket::new(
            socket2::Domain::IPV4,
            socket2::Type::DGRAM,
            Some(socket2::Protocol::UDP),
        )
        .expect("a socket");
        socket.set_reuse_address(true).expect("an option");
        let any: std::net::SocketAddr = (Ipv4Addr::UNSPECIFIED, 1900).into();
        socket.bind(&any.into()).expect("the port is shared");
        let group = Ipv4Addr::new(239, 255, 255, 250);
        socket.join_multicast_v4(&group, &address).expect("a group");
        let socket: UdpSocket = socket.into();
        let timeout = Some(Duration::from_millis(500));
        socket.set_read_timeout(timeout).expect("an option");
        let (start, mut bytes) = (Instant::now(), [0; 2_048]);
        while start.elapsed() < READY_TIME_MAX + RING_TIME_MAX {
            let Ok(length) = socket.recv(&mut bytes) else {
                continue;
            };
            let text = String::from_utf8_lossy(&bytes[..length]).to_lowercase();
            let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
            let location = field("location:").unwrap_or_default().trim();
            if !text.contains("ssdp:alive") || !location.starts_with(LEASED) {
                continue;
            }
            let boot = field("bootid.upnp.org:").and_then(|boot| boot.trim().parse().ok());
            return Some((text.clone(), boot.unwrap_or_else(|| panic!("{text}"))));
        }
        None
    };
    beside(lab, board, listen)
}

/// Every node of this machine sees exactly these boards, all alive.
pub fn wait_for_members(nodes: &[Node<'_>], ids: &[&str]) -> Duration {
    let look = |node: &Node<'_>| {
        let members = node.members()?;
        let alive = |id: &&&str| members.iter().any(|(it, alive)| it == **id && *alive);
        match ids.iter().filter(alive).count() == ids.len() && members.len() == ids.len() {
            true => Ok(()),
            false => Err(format!("{members:?}")),
        }
    };
    let (_, took) = wait::until("the guest is in the ring", RING_TIME_MAX, || {
        nodes.iter().try_for_each(look)
    });
    took
}

/// The description as a strict control point reads it.
fn udn(lab: &Lab, guest: &Guest<'_>) -> String {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/upnp-client");
    let location = format!("http://{}/description.xml", guest.endpoint());
    let said = lab.board(0).output(
        &installed.display().to_string(),
        &[
            "--strict",
            "--device",
            &location,
            "call-action",
            "RoundelBucket/GetState",
        ],
    );
    let description = lab.board(0).output("curl", &["-sS", "-m", "20", &location]);
    let udn = description
        .split_once("<UDN>")
        .and_then(|(_, rest)| rest.split_once("</UDN>"));
    let (udn, _) = udn.unwrap_or_else(|| panic!("{description}\n{said}"));
    udn.to_owned()
}

/// What is put at a node is read at the guest, and the other way round.
pub fn both_ways(nodes: &[Node<'_>], guest: &Guest<'_>) {
    nodes[0].put("from here", "1").expect("it is stored");
    assert_eq!(guest.get("from here").expect("it is there"), "1");
    guest
        .call("put", json!({"key": "from the guest", "value": "2"}))
        .expect("it is stored");
    assert_eq!(nodes[1].get("from the guest").expect("it is there"), "2");
}

/// What the guest uses in all.
pub fn memory(guest: &mut Guest<'_>) {
    let used = guest.shell("free -k | awk '/Mem:/ { print \"used\", $2 - $7 }'");
    let kib = used.split("used ").nth(1).and_then(|rest| {
        rest.split(|c: char| !c.is_ascii_digit())
            .next()?
            .parse::<u64>()
            .ok()
    });
    let bytes = kib.unwrap_or_else(|| panic!("{used}")) << 10;
    println!(
        "the guest uses {:.1} MB of memory (goal 64)",
        bytes as f64 / 1e6
    );
    assert!(bytes < GUEST_BYTES_MAX, "{bytes} bytes");
}

#[test]
fn an_image_verifies_is_small_and_is_built_the_same_again() {
    let said = guest::verify(image());
    println!("{said}");
    let root = said
        .split_once("root: ")
        .and_then(|(_, rest)| rest.split_once(" bytes"));
    let root: u64 = root
        .and_then(|(bytes, _)| bytes.parse().ok())
        .unwrap_or_else(|| panic!("{said}"));
    assert!(root <= 16_000_000, "the root has {root} bytes");
    let bytes = fs::metadata(image()).expect("it is there").len();
    println!("image: {:.1} MB (goal 40)", bytes as f64 / 1e6);
    assert!(bytes <= 40_000_000, "{bytes} bytes");
    let out = tempfile::tempdir().expect("a directory");
    let again = guest::build("aarch64-virt", &[], out.path());
    let same = fs::read(image()).expect("it is there") == fs::read(again).expect("it is there");
    assert!(same, "two images of one commit differ");
}

#[test]
fn the_image_boots_joins_a_ring_and_comes_back_after_a_power_cut() {
    let lab = Lab::new("image", 3);
    let _dhcp = Dhcp::start(&lab);
    let mut nodes: Vec<Node<'_>> = (0..2)
        .map(|board| Node::exec(&lab, board, Start::on(board)))
        .collect();
    nodes.iter_mut().for_each(Node::wait_ready);
    let card = guest::card(image(), lab.directory());
    guest::write_boot_file(&card, "roundel.toml", &settings());
    let boot = boot_files(&card, lab.directory());
    let machine = Machine {
        board: "aarch64-virt",
        card: &card,
        boot: &boot,
        number: 0,
    };
    let alive = listen_alive(&lab, 2);
    let mut guest = Guest::start(&lab, &machine);
    let ready = guest.wait_ready();
    let id = guest.id().to_owned();
    let joined = wait_for_members(&nodes, &[&nodes[0].id, &nodes[1].id, &id]);
    let heard = alive.join().expect("the listener ends");
    let (text, boot_before) = heard.expect("the guest's ssdp:alive is heard");
    assert!(text.contains("uuid:"), "{text}");
    println!(
        "power-on to ready {ready:.1?}, in the ring {joined:.1?} later; ssdp:alive of boot \
         {boot_before} was heard; at {}",
        guest.endpoint()
    );

    both_ways(&nodes, &guest);
    memory(&mut guest);
    let udn_before = udn(&lab, &guest);
    let mut acknowledged = BTreeMap::new();
    let puts = guest.endpoint();
    let writer = beside(&lab, 0, move || put_until_it_dies(puts));
    std::thread::sleep(Duration::from_secs(2));
    guest.cut_power();
    acknowledged.extend(writer.join().expect("the writer ends"));
    assert!(
        !acknowledged.is_empty(),
        "something was acknowledged before the cut"
    );

    let alive = listen_alive(&lab, 2);
    let mut guest = Guest::start(&lab, &machine);
    let again = guest.wait_ready();
    assert_eq!(guest.id(), id, "the same board comes back");
    wait_for_members(&nodes, &[&nodes[0].id, &nodes[1].id, &id]);
    for (key, value) in &acknowledged {
        let read = || guest.get(key).map_err(|error| format!("{key}: {error:?}"));
        let (got, _) = wait::until("an acknowledged key is read", RING_TIME_MAX, read);
        assert_eq!(got, *value, "{key}");
    }
    assert_eq!(udn(&lab, &guest), udn_before);
    let heard = alive.join().expect("the listener ends");
    let (_, boot) = heard.expect("it is heard again");
    assert!(boot > boot_before, "BOOTID {boot} after {boot_before}");
    println!(
        "after a power cut ready in {again:.1?}; {} acknowledged keys, all there",
        acknowledged.len()
    );
    guest.cut_power();
}

/// Puts until the guest answers no more; what was acknowledged.
fn put_until_it_dies(to: std::net::SocketAddr) -> BTreeMap<String, String> {
    let mut acknowledged = BTreeMap::new();
    for number in 0..PUTS {
        let key = format!("put {}", number % KEYS);
        let value = format!("{number} {}", "v".repeat(number % KEYS));
        let params: Value = json!({"key": key, "value": value});
        if node::call(to, "put", params).is_err() {
            // Whether this one was stored is not known: its key proves nothing.
            acknowledged.remove(&key);
            return acknowledged;
        }
        acknowledged.insert(key, value);
    }
    panic!("the power was to go before {PUTS} puts were done");
}
