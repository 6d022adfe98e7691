//! One node: a card (identity, counter, disk), and while it runs the machine of the daemon with
//! what its driver keeps for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use roundel::base::call::CallId;
use roundel::base::endpoint::SocketAddr;
use roundel::base::hint::HintMac;
use roundel::base::id::Id;
use roundel::base::item::Key;
use roundel::base::limit;
use roundel::base::member::{ClusterId, Life, RingMode};
use roundel::base::rng::seeded;
use roundel::base::store::{Batch, StoreError, StoreId};
use roundel::base::time::{Now, Time};
use roundel::base::version::Version;
use roundel::proto::board::{Board, LinkId, META_ROSTER, Settings, Transmit};
use roundel::proto::detector::swim::Swim;
use roundel::proto::keyring::{Kept, Origin};
use roundel::proto::ring::structure::Chord;
use roundel::proto::roster::Roster;
use roundel::security::identity::{Identity, Signer};
use roundel::security::key::ClusterKey;

use crate::dice::Dice;
use crate::disk::Disk;
use crate::key::{IMAGE_KEY, KeyFile};
use crate::model::OperationId;
use crate::mutant::{Mutant, Restamps};
use crate::network::StreamId;
use crate::store::{Opened, Store};

/// The cluster every board belongs to.
const CLUSTER: &str = "home";
/// Tombstones are collected within a run.
const TOMBSTONE_AGE: Duration = Duration::from_secs(30);

/// The identities of all worlds, in PKCS#8, one a line.
static KEYS: OnceLock<Vec<Arc<Identity>>> = OnceLock::new();

/// The fixed identities; worlds differ in who gets which.
pub fn identities() -> &'static [Arc<Identity>] {
    KEYS.get_or_init(|| {
        let lines = include_str!("identity.txt").lines();
        lines.map(|line| Arc::new(identity(line))).collect()
    })
}

fn identity(line: &str) -> Identity {
    let digits: Vec<u8> = line
        .bytes()
        .map(|byte| (byte as char).to_digit(16).unwrap() as u8)
        .collect();
    let document: Vec<u8> = digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect();
    Identity::from_pkcs8(&document).expect("the file holds keys")
}

/// Reading a key takes longer than a board's start, so that all lives of a board share one.
struct Shared(Arc<Identity>);

impl Signer for Shared {
    fn id(&self) -> Id {
        self.0.id()
    }

    fn public_key(&self) -> &[u8] {
        self.0.public_key()
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message)
    }
}

/// What a board keeps when it stops.
#[derive(Clone)]
pub struct Card {
    identity: Arc<Identity>,
    pub disk: Disk,
    pub keyring: KeyFile,
    /// The key file on its image.
    pub given: Option<ClusterKey>,
    /// The pairing window is open until then; only until the next boot.
    pub window_until: Option<Time>,
    /// It came for a card that was lost, or its board has left: it may have missed a rotation and
    /// be in no roster.
    pub may_lack_key: bool,
    boot: u64,
}

impl Card {
    /// A fresh one.
    pub fn new(identity: Arc<Identity>) -> Card {
        Card {
            identity,
            disk: Disk::default(),
            keyring: KeyFile::default(),
            given: Some(ClusterKey::new(0, IMAGE_KEY)),
            window_until: None,
            may_lack_key: false,
            boot: 0,
        }
    }

    pub fn id(&self) -> Id {
        self.identity.id()
    }
}

/// What runs: the machine and what its driver keeps.
pub struct Running {
    pub board: Board,
    pub links: BTreeMap<LinkId, (StreamId, usize)>,
    pub batches: VecDeque<(StoreId, Batch)>,
    pub storing: BTreeSet<StoreId>,
    pub held: BTreeMap<StoreId, Vec<Transmit>>,
    /// Keyrings that wait to be written, and the one being written with how many it stands for.
    pub keyrings: Vec<Kept>,
    pub keyring_under_way: Option<(Kept, usize)>,
    pub waiting: BTreeMap<CallId, OperationId>,
    /// When the machine wants to be woken, and when it will be.
    pub due: Option<Time>,
    pub wake: Option<Time>,
    pub cluster: Option<ClusterId>,
    pub departed: bool,
}

/// Whether a node's system runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    On,
    Off,
}

/// One node.
pub struct Node {
    pub card: Card,
    pub store: Result<Store, StoreError>,
    opened: Option<Opened>,
    pub endpoint: SocketAddr,
    pub power: Power,
    pub running: Option<Running>,
    /// Counts starts and stops: what was on its way to an older life is lost.
    pub life: u64,
    pub clock_off_ms: i64,
    pub paused_until: Time,
    /// It yielded to a clone, or is a clone's empty place: it is not started again.
    pub retired: bool,
    /// It runs with a stolen card: whatever it does is not the ring's.
    pub thief: bool,
    /// Datagrams that came while it was stopped.
    pub backlog: usize,
    /// Of use to the mutant of the wall clock only.
    pub lies: Restamps,
}

impl Node {
    pub fn new(card: Card, endpoint: SocketAddr, retired: bool) -> Node {
        let id = card.id();
        Node {
            card,
            store: Err(StoreError::Closed("never opened".into())),
            opened: None,
            endpoint,
            power: Power::On,
            running: None,
            life: 0,
            clock_off_ms: 0,
            paused_until: Time::ZERO,
            retired,
            thief: false,
            backlog: 0,
            lies: Restamps::new(id),
        }
    }

    pub fn is_up(&self) -> bool {
        self.running.is_some()
    }

    /// Puts another card in; the node must be down.
    pub fn insert(&mut self, card: Card, mutant: Mutant) {
        assert!(self.running.is_none(), "a running board keeps its card");
        self.lies = Restamps::new(card.id());
        self.card = card;
        self.open(mutant);
    }

    /// Reads the disk.
    fn open(&mut self, mutant: Mutant) {
        match Store::open(&mut self.card.disk, mutant) {
            Ok((store, opened)) => {
                self.store = Ok(store);
                self.opened = Some(opened);
            }
            Err(error) => {
                self.store = Err(error);
                self.opened = None;
            }
        }
    }

    /// Starts the process.
    pub fn start(
        &mut self,
        (index, ring_mode): (usize, RingMode),
        now: Now,
        dice: &mut Dice,
        mutant: Mutant,
    ) {
        self.power = Power::On;
        self.life += 1;
        self.card.boot += 1;
        if self.opened.is_none() {
            self.open(mutant);
        }
        let window = self.card.window_until;
        let mut life = [0; 16];
        life.copy_from_slice(&dice.seed()[..16]);
        let settings = Settings {
            name: format!("board{index}").parse().expect("a name"),
            cluster_name: CLUSTER.parse().expect("a name"),
            endpoint: self.endpoint,
            boot: self.card.boot,
            life: Life(life),
            version: "simulated".into(),
            structure: Box::new(Chord),
            ring_mode,
            suspicion: Box::new(Swim::default()),
            grace_time: limit::GRACE_TIME,
            tombstone_age: TOMBSTONE_AGE,
            diskless: None,
            keys: Origin {
                kept: self.card.keyring.kept.clone(),
                given: self.card.given.clone(),
                window: window.map_or(Duration::ZERO, |until| until.since(now.time)),
                ..Origin::default()
            },
        };
        let signer = Box::new(Shared(self.card.identity.clone()));
        let mut board = Board::new(settings, signer, now, seeded(dice.seed(), 0));
        match (self.opened.take(), &self.store) {
            (Some(opened), _) => {
                board.handle_opened(now, opened.metas, opened.high_water);
            }
            (None, Err(error)) => board.handle_open_failed(error.to_string()),
            (None, Ok(_)) => unreachable!("an open store was opened"),
        }
        let cluster = self.roster().map(|roster| roster.cluster().id);
        self.running = Some(Running {
            board,
            links: BTreeMap::new(),
            batches: VecDeque::new(),
            storing: BTreeSet::new(),
            held: BTreeMap::new(),
            keyrings: Vec::new(),
            keyring_under_way: None,
            waiting: BTreeMap::new(),
            due: None,
            wake: None,
            cluster,
            departed: false,
        });
    }

    /// The process ends; what it was asked and had not answered is returned.
    pub fn stop(&mut self, power: Power, dice: &mut Dice, mutant: Mutant) -> Vec<OperationId> {
        let running = self.running.take();
        self.life += 1;
        self.paused_until = Time::ZERO;
        self.power = power;
        if power == Power::Off {
            self.card.disk.cut_power(dice);
        }
        self.open(mutant);
        let waiting = running.map(|running| running.waiting);
        waiting.unwrap_or_default().into_values().collect()
    }

    /// What its announcements say of its key.
    pub fn hint_mac(&self) -> Option<HintMac> {
        self.running.as_ref()?.board.hint_mac()
    }

    /// The roster on its disk.
    pub fn roster(&self) -> Option<Roster> {
        let store = self.store.as_ref().ok()?;
        let read = Roster::from_bytes(store.meta(META_ROSTER)?).ok();
        read.map(|(roster, _)| roster)
    }

    /// The version its disk holds durably under a key.
    pub fn version(&self, key: &Key) -> Option<Version> {
        let store = self.store.as_ref().ok()?;
        store.version(&self.card.disk, key)
    }

    /// The version its store says it holds under a key, readable or not.
    pub fn claimed(&self, key: &Key) -> Option<Version> {
        self.store.as_ref().ok()?.claimed(key)
    }
}
