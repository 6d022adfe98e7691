//! Every bound of the product, with its unit and its reason.
//!
//! A queue, retry, cache, loop or message without a bound here is a mistake.

use std::time::Duration;

/// Bytes of a name: a friendlyName stays under 64 (UDA 2.0 §2.3).
pub const NAME_BYTES_MAX: usize = 63;
/// Bytes of a key: fits a URL and an index block.
pub const KEY_BYTES_MAX: usize = 1_024;
/// Bytes of a value: two of them and their envelope fit a frame.
pub const VALUE_BYTES_MAX: usize = 512 * 1_024;
/// Bytes of an update sent at once: in base64 they fit a request.
pub const UPDATE_PART_BYTES_MAX: usize = 512 * 1_024;
/// An upload that nothing came of for this long is given up when another begins.
pub const UPDATE_IDLE_MAX: Duration = Duration::from_secs(60);
/// Bytes of a request or a frame's payload.
pub const MESSAGE_BYTES_MAX: usize = 1_024 * 1_024;
/// Bytes that authenticate a frame, after its payload: sender, key's name, sequence and tag.
pub const SEAL_BYTES_MAX: usize = 32 + 8 + 8 + 32;
/// Bytes of a frame's payload with what authenticates it.
pub const FRAME_BYTES_MAX: usize = MESSAGE_BYTES_MAX + SEAL_BYTES_MAX;
/// Bytes of a page of items.
pub const PAGE_BYTES_MAX: usize = 256 * 1_024;
/// Items of a page, unless the caller asks for fewer.
pub const PAGE_ITEMS_MAX: usize = 1_000;
/// Records a page of few wanted items looks at before it ends: other loads wait meanwhile.
pub const PAGE_LOOKED_AT_MAX: usize = 16 * 1_024;
/// Copies of an item.
pub const COPIES_MAX: usize = 3;
/// Boards of a ring in mode `full`.
pub const ROSTER_MAX: usize = 1_024;
/// Points a board has on the ring in mode `full`: most loaded board 1.23 × the mean of ten.
pub const POINTS_PER_BOARD: u32 = 128;
/// Successors a board lists.
pub const SUCCESSORS_MAX: usize = 8;
/// Boards a board's roster keeps on each side of it in mode `partial`: as many as it lists
/// successors, so that its neighbours' copies and the boards that stand in for them are among them.
pub const NEIGHBOURS_PER_SIDE: usize = SUCCESSORS_MAX;
/// Boards outside the roster whose addresses a board remembers in mode `partial`: fingers and
/// what lookups passed lately.
pub const LEARNT_CONTACTS_MAX: usize = 4_096;
/// Times a joiner is sent on to a board nearer to its place in mode `partial`.
pub const JOIN_HOPS_MAX: u32 = 32;
/// Times a request is passed on from board to board.
pub const FORWARD_HOPS_MAX: u8 = 8;

/// Bytes we send in one datagram: below every LAN's MTU with room for a tunnel.
pub const DATAGRAM_BYTES_MAX: usize = 1_400;
/// Bytes of what one detector tells another at once: a datagram but for its frame.
pub const SWIM_BYTES_MAX: usize = DATAGRAM_BYTES_MAX - SEAL_BYTES_MAX - 32;
/// Bytes we accept in one datagram.
pub const DATAGRAM_RECEIVE_BYTES_MAX: usize = 65_535;
/// HTTPU requests answered to one source in a second, loopback and members of the ring exempt: a
/// source can be forged, and an answer may be larger than its request.
pub const HTTPU_ANSWERS_PER_SOURCE_MAX: u32 = 128;
/// HTTPU requests answered to strangers in a second, in all.
pub const HTTPU_ANSWERS_MAX: u32 = 1_024;
/// Bytes of HTTPU requests held until they are answered, in all; more are lost, as datagrams are.
pub const HTTPU_BYTES_MAX: usize = 2 * 1_024 * 1_024;
/// A challenge opens a session within this: one exchange, on a slow network.
pub const CHALLENGE_TIME_MAX: Duration = Duration::from_secs(60);
/// Sessions of clients that hold the cluster's key; each takes 0.6 KiB, and only they open any.
pub const CLIENT_SESSIONS_MAX: usize = 1_024;
/// Answers kept for clients that ask again, in all.
pub const RETRIES_KEPT_MAX: usize = 1_024;
/// Bytes of an answer that is kept so; the answers to writes are far smaller.
pub const RETRY_BYTES_MAX: usize = 4 * 1_024;
/// An answer is kept for so long: longer than a client waits and asks again.
pub const RETRY_TIME_MAX: Duration = Duration::from_secs(60);
/// Header fields of an HTTP message.
pub const HEADERS_MAX: usize = 64;
/// Bytes of an HTTP head.
pub const HEAD_BYTES_MAX: usize = 16 * 1_024;
/// A client has this long to send its request head.
pub const HEADER_TIME_MAX: Duration = Duration::from_secs(5);
/// A client sends its body at least this fast, bytes a second.
pub const BODY_BYTES_PER_SECOND_MIN: u64 = 1_000;
/// Connections of one source address, loopback and members of the ring exempt.
pub const CONNECTIONS_PER_SOURCE_MAX: usize = 32;
/// Connections of strangers in all.
pub const CONNECTIONS_MAX: usize = 256;
/// TLS handshakes with strangers in a second, in all: each takes some 3 ms of a Pi Zero's CPU.
pub const TLS_HANDSHAKES_MAX: u32 = 64;
/// Depth of a JSON document.
pub const JSON_DEPTH_MAX: usize = 64;
/// Requests of a JSON-RPC batch.
pub const BATCH_MAX: usize = 64;
/// Bytes of an answer made of several answers (a batch, or every board's); what comes after is
/// refused with -32005.
pub const ANSWERS_BYTES_MAX: usize = 4 * 1_024 * 1_024;
/// An answer relayed from another board comes within this: its own operation and the way.
pub const RELAY_TIME_MAX: Duration = Duration::from_secs(6);
/// A probe of liveness answers within this, whatever the board is doing.
pub const PROBE_TIME_MAX: Duration = Duration::from_secs(1);
/// Request bodies of members and loopback held in memory at once; more are refused with 503. A
/// board of 128 MB has room for it and for what is made of them.
pub const BODIES_BYTES_MAX: usize = 16 * 1_024 * 1_024;
/// The same of strangers, so that they take nothing from the others.
pub const STRANGERS_BODIES_BYTES_MAX: usize = 8 * 1_024 * 1_024;
/// Requests of strangers carried out at the same time: an answer takes a MiB at most. What comes
/// meanwhile waits.
pub const STRANGERS_REQUESTS_MAX: usize = 24;
/// The same of batches and of requests to several boards, whose answers take 4 MiB at most.
pub const STRANGERS_HEAVY_REQUESTS_MAX: usize = 2;
/// Large answers to strangers held until they have taken them; more are refused with 503.
pub const STRANGERS_ANSWERS_HELD_BYTES_MAX: usize = 8 * 1_024 * 1_024;
/// The same to members and loopback.
pub const ANSWERS_HELD_BYTES_MAX: usize = 16 * 1_024 * 1_024;
/// A client that takes nothing of an answer for this long is dropped.
pub const UNREAD_TIME_MAX: Duration = Duration::from_secs(20);
/// The longest drawn reply delay of the seed's form.
pub const REPLY_DELAY_MAX: Duration = Duration::from_secs(60);

/// Pages that listen to a board's feed at once; more are told to try later.
pub const FEED_STREAMS_MAX: usize = 16;
/// Messages that wait for one page before it is dropped: it reads too slowly, and is told all of
/// it when it is back.
pub const FEED_MESSAGES_MAX: usize = 16;
/// The feed looks at the board this often while a page listens, and at each event.
pub const FEED_INTERVAL: Duration = Duration::from_millis(500);
/// Events of one moment go out together after this.
pub const FEED_GATHER: Duration = Duration::from_millis(50);
/// Events a board remembers, to be shown: an evening's.
pub const EVENTS_KEPT_MAX: usize = 256;

/// Bytes of an owner's password, at least (NIST SP 800-63B §5.1.1.2) and at most.
pub const PASSWORD_BYTES_MIN: usize = 8;
/// A hash reads all of it: no more than any password manager writes.
pub const PASSWORD_BYTES_MAX: usize = 128;
/// Bytes of a password's hash as a PHC string.
pub const OWNER_HASH_BYTES_MAX: usize = 160;
/// Sessions of the owner at once; the one unused for longest gives way.
pub const OWNER_SESSIONS_MAX: usize = 16;
/// A session ends when nothing was asked in it for so long.
pub const OWNER_SESSION_IDLE_MAX: Duration = Duration::from_secs(30 * 60);
/// A session ends after this in any case: a page left open keeps asking.
pub const OWNER_SESSION_TIME_MAX: Duration = Duration::from_secs(12 * 3_600);
/// Attempts at a password or code that one source has at once; then one in each interval.
pub const OWNER_ATTEMPTS_PER_SOURCE_MAX: u32 = 5;
/// A source has one more attempt after this.
pub const OWNER_ATTEMPT_INTERVAL_PER_SOURCE: Duration = Duration::from_secs(20);
/// Attempts of all sources at once; then one in each interval.
pub const OWNER_ATTEMPTS_MAX: u32 = 10;
/// All sources together have one more attempt after this: a hash takes a second of a slow board.
pub const OWNER_ATTEMPT_INTERVAL: Duration = Duration::from_secs(5);
/// Sources whose attempts are remembered.
pub const OWNER_SOURCES_MAX: usize = 256;
/// Attempts that wait for the hash under way.
pub const OWNER_WAITING_MAX: usize = 4;
/// A code that was asked for on the board, to set a new password, holds for this.
pub const OWNER_CODE_TIME_MAX: Duration = Duration::from_secs(600);
/// Depth of an XML document.
pub const XML_DEPTH_MAX: usize = 32;
/// Bytes of an XML document.
pub const XML_BYTES_MAX: usize = 64 * 1_024;
/// Devices the SSDP cache remembers.
pub const SSDP_CACHE_MAX: usize = 2_048;
/// SSDP answers to one source in a second.
pub const SSDP_ANSWERS_PER_SOURCE_MAX: u32 = 32;
/// SSDP answers in a second to all.
pub const SSDP_ANSWERS_MAX: u32 = 512;
/// MX above this counts as this, seconds (UDA 2.0 §1.3.2).
pub const SSDP_MX_SECONDS_MAX: u64 = 5;
/// Bytes of one SSDP header field we read: a USN with a vendor's type fits twice.
pub const SSDP_FIELD_BYTES_MAX: usize = 256;
/// An advertisement of ours holds for this, seconds: UDA 2.0's smallest (§1.2.2).
pub const SSDP_MAX_AGE_SECONDS: u32 = 1_800;
/// Nobody's advertisement is believed for longer, seconds.
pub const SSDP_MAX_AGE_SECONDS_MAX: u32 = 86_400;
/// Times a set of advertisements or a search is sent: datagrams get lost (UDA 2.0 §1.2.2, §1.3.2).
pub const SSDP_REPEATS: u32 = 3;
/// Interfaces and families on which discovery runs at once.
pub const SSDP_LINKS_MAX: usize = 64;
/// The same board heard again hints again after this.
pub const SSDP_HINT_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Idle boards search again after this or a second for each board heard, whichever is more.
pub const SSDP_SEARCH_INTERVAL_MIN: Duration = Duration::from_secs(20);
/// Idle boards search at least this often.
pub const SSDP_SEARCH_INTERVAL_MAX: Duration = Duration::from_secs(900);
/// An expired board has this long to answer before it is forgotten.
pub const SSDP_PROBE_TIME_MAX: Duration = Duration::from_secs(3);
/// The groups are joined again after this: switches forget (RFC 4541).
pub const SSDP_REJOIN_INTERVAL: Duration = Duration::from_secs(180);
/// Devices one standalone search collects.
pub const SSDP_FOUND_MAX: usize = 4_096;

/// Devices whose descriptions one search fetches at the same time.
pub const DESCRIPTION_FETCHES_MAX: usize = 8;
/// A device has this long to hand out its description.
pub const DESCRIPTION_TIME_MAX: Duration = Duration::from_secs(3);

/// Subscriptions to events, in all: each may hold a connection and a few events.
pub const GENA_SUBSCRIPTIONS_MAX: usize = 32;
/// Of these, one host's: two control points that watch every service, and three hosts that take
/// all they can leave room for a fourth.
pub const GENA_SUBSCRIPTIONS_PER_SOURCE_MAX: usize = 8;
/// URLs of a subscription's CALLBACK; they are tried in order.
pub const GENA_CALLBACKS_MAX: usize = 2;
/// Bytes of a CALLBACK: its URLs, each as long as a LOCATION may be.
pub const GENA_CALLBACK_BYTES_MAX: usize = GENA_CALLBACKS_MAX * 512;
/// A subscription holds for at least this, seconds: renewing costs more than a shorter one saves.
pub const GENA_SECONDS_MIN: u32 = 30;
/// A subscription holds for at most this, seconds (UDA 2.0 §4.1.1): a subscriber that is gone
/// gives its place back.
pub const GENA_SECONDS_MAX: u32 = 1_800;
/// A variable is told at most so often (UDA 2.0 §4.3 has it for moderated variables).
pub const GENA_EVENT_INTERVAL_MIN: Duration = Duration::from_millis(200);
/// The first event waits for this, so that the answer to the subscription is there before it.
pub const GENA_FIRST_DELAY: Duration = Duration::from_millis(50);
/// A subscriber answers an event within this (UDA 2.0 §4.3.1).
pub const GENA_DELIVERY_TIME_MAX: Duration = Duration::from_secs(30);
/// Events that wait for one subscriber; the oldest goes and leaves a gap in SEQ.
pub const GENA_QUEUE_MAX: usize = 8;
/// Events in a row that reach none of a subscriber's URLs end its subscription.
pub const GENA_FAILURES_MAX: u32 = 3;
/// Subscribe, renew and cancel requests that wait for the publisher.
pub const GENA_REQUESTS_MAX: usize = 64;

/// Links to other boards held open at once.
pub const LINKS_MAX: usize = 2 * ROSTER_MAX;
/// Bytes that wait for a link to open or to drain.
pub const LINK_QUEUE_BYTES_MAX: usize = 8 * MESSAGE_BYTES_MAX;
/// Bytes of frames read before the other board has proved who it is: both its messages of a hello
/// fit many times.
pub const HELLO_BYTES_MAX: usize = 64 * 1_024;
/// Events of streams that wait for the driver; streams that have more to say wait.
pub const STREAM_EVENTS_MAX: usize = 1_024;
/// Hints of discovery that wait for the driver; more are lost, and heard again.
pub const HINTS_WAITING_MAX: usize = 256;
/// A link with nothing to say is closed.
pub const LINK_IDLE_MAX: Duration = Duration::from_secs(120);
/// A connection attempt or a hello takes at most this long.
pub const LINK_OPEN_TIME_MAX: Duration = Duration::from_secs(3);
/// Sessions of datagrams kept, each after a valid MAC; those of members are never dropped.
pub const SESSIONS_MAX: usize = 4_096;
/// Datagrams may arrive out of order by so many of their sender's; older ones are taken for
/// replays.
pub const SEQUENCE_WINDOW: u64 = 1_024;
/// Boards that never had a key agree on one among themselves for this long after their first
/// start; a reboot ends it.
pub const PAIRING_TIME: Duration = Duration::from_secs(600);
/// The key before the current one is accepted for this long, for boards that were away.
pub const PREVIOUS_KEY_TIME: Duration = Duration::from_secs(24 * 3_600);
/// After a revocation, or once pairing ends, it goes after this already: others may hold it.
pub const REVOKED_KEY_TIME: Duration = Duration::from_secs(30);
/// Boards that draw a fingerprint together: each tells each, and nobody compares more by eye.
pub const FINGERPRINT_MEMBERS_MAX: usize = 128;
/// Marks that a board draws for fingerprints before it has to wait: each is one try in a million
/// for somebody in between, and a ring whose boards are plugged in one by one takes one each.
pub const FINGERPRINT_DRAWS_MAX: u32 = 32;
/// One more can be drawn after this: 33 tries within [`PAIRING_TIME`], 176 in a day.
pub const FINGERPRINT_DRAW_TIME: Duration = Duration::from_secs(600);
/// The highest number of a round of fingerprints: more than a board can draw in its life.
pub const FINGERPRINT_ROUND_MAX: u32 = 1 << 24;
/// A keyring that could not be written is written again after this.
pub const KEYRING_AGAIN_TIME: Duration = Duration::from_secs(10);
/// Boards remembered that asked to be let in.
pub const ASKING_MAX: usize = 64;
/// Boards let in whose link has not come yet.
pub const ACCEPTED_MAX: usize = 64;
/// A one-time code for joining is void after this.
pub const JOIN_CODE_TIME: Duration = Duration::from_secs(600);
/// Guesses at such a code in all, of 100,000,000; and boards that a newcomer tries one with.
pub const JOIN_CODE_ATTEMPTS: u8 = 5;
/// A code that was entered is tried for so long: several hellos with boards that are slow.
pub const JOIN_CODE_TRIED_MAX: Duration = Duration::from_secs(30);
/// Links at once on which a code may be proved; each lasts as long as a hello may.
pub const JOIN_CODE_LINKS_MAX: usize = 8;
/// Boards remembered as revoked; the oldest ids of more could come back with a leaked key only.
pub const REVOKED_MAX: usize = 1_024;
/// Bytes of a keyring's file: three keys and every revoked id.
pub const KEYRING_BYTES_MAX: u64 = 128 * 1_024;
/// Hints remembered of boards not yet met.
pub const HINTS_MAX: usize = 2_048;

/// Votes that hold a board suspect (Round's k of n), where a majority of the voters is not fewer:
/// one board alone may be wrong about its own network, two that agree seldom are.
pub const SUSPECT_VOTES: usize = 2;
/// A vote counts for this long. Among n boards somebody's probe of a dead one fails every 300 ms,
/// whatever n, so that a second vote has twenty chances.
pub const SUSPECT_VOTE_TIME_MAX: Duration = Duration::from_secs(6);
/// Members a vote is told to directly: those that follow the suspect in id order, so that all
/// votes meet. Beyond them gossip carries the outcome.
pub const SUSPECT_TOLD_MAX: usize = 128;

/// Client operations under way on one board; more are refused with -32003.
pub const OPERATIONS_MAX: usize = 8_192;
/// A client operation ends after this, one way or another.
pub const OPERATION_TIME_MAX: Duration = Duration::from_secs(5);
/// A copy that has not answered after this is treated as absent for one operation.
pub const COPY_ANSWER_TIME_MAX: Duration = Duration::from_millis(150);
/// Times a put is stamped anew because a copy held a newer version or another roster.
pub const RESTAMPS_MAX: u32 = 16;
/// Stamps further ahead of the cluster's clock than this are refused.
pub const CLOCK_DRIFT_MAX: Duration = Duration::from_secs(300);
/// What another board's clock said counts for so long.
pub const CLOCK_HEARD_TIME_MAX: Duration = Duration::from_secs(300);
/// A board's hand-over may take this long when it is told to stop.
pub const LEAVE_TIME_MAX: Duration = Duration::from_secs(60);
/// Blocks of 256 cells compared in one message: their digests take a third of a frame at most.
pub const SYNC_BLOCKS_MAX: usize = 48;
/// Boards for which the shared cells are kept ready, 8 KiB each; laying them out takes a
/// millisecond.
pub const SHARED_CELLS_KEPT_MAX: usize = 32;
/// Tombstones that one board remembers as confirmed by all; more wait for these to go.
pub const COLLECTED_MAX: usize = 4_096;
/// A removed key's tombstone may go this long after every board has confirmed it: nothing older
/// is on its way by then.
pub const TOMBSTONE_AGE: Duration = Duration::from_secs(600);
/// Items kept for absent boards; more are refused, and the absent board is compared when it is
/// back.
pub const HINTS_KEPT_MAX: u64 = 65_536;
/// A hint older than this goes once a write quorum of the copies holds the item.
pub const HINT_AGE_MAX: Duration = Duration::from_secs(3_600);
/// Items handed over and not yet confirmed.
pub const HANDOVER_WINDOW: usize = 64;
/// Bytes of them, or one item if that is larger: a client's write waits behind no more.
pub const HANDOVER_WINDOW_BYTES: usize = 128 * 1_024;
/// Bytes a second a board hands over while clients are served: a small share of a LAN, and a card's
/// slowest writes keep up with it.
pub const HANDOVER_BYTES_PER_SECOND: u64 = 512 * 1_024;
/// Bytes handed over at once on top of that: little beside what one commit may hold.
pub const HANDOVER_BURST_BYTES: u64 = 64 * 1_024;
/// Hand-overs keep to their share for this long after a client's last operation.
pub const HANDOVER_CLIENT_TIME: Duration = Duration::from_millis(500);
/// An absent board is given up after this, if a majority of the roster votes so.
pub const GRACE_TIME: Duration = Duration::from_secs(600);
/// Votes to give up a board that stays away are cast again after this: some may have been lost.
pub const GIVE_UP_PERIOD: Duration = Duration::from_secs(10);
/// Such a vote counts for this long: three times cast anew.
pub const GIVE_UP_VOTE_TIME_MAX: Duration = Duration::from_secs(30);

/// Longest wait of the committer for more writes of one group.
pub const COMMIT_WAIT_MAX: Duration = Duration::from_millis(5);
/// Writes of one group commit.
pub const COMMIT_WRITES_MAX: usize = 64;
/// Bytes of one group commit.
pub const COMMIT_BYTES_MAX: usize = 64 * 1_024;
/// Free bytes below which puts are refused (or 5 % of the medium, if more),
pub const FREE_BYTES_PUT_MIN: u64 = 96 * 1_024 * 1_024;
/// and what a large medium has to keep free at most: 5 % of a terabyte is no reserve but a loss.
pub const FREE_BYTES_PUT_SHARE_MAX: u64 = 1_024 * 1_024 * 1_024;
/// Free bytes below which removes are refused as well.
pub const FREE_BYTES_REMOVE_MIN: u64 = 32 * 1_024 * 1_024;
/// Free bytes below which a store in memory takes no more notes: it keeps nothing else, and the
/// file system in memory of a small board has a few dozen MiB, which others share.
pub const FREE_BYTES_MEMORY_MIN: u64 = 2 * 1_024 * 1_024;
/// Free bytes that a file system in memory must have for a board to work there.
pub const MEMORY_DIRECTORY_BYTES_MIN: u64 = 16 * 1_024 * 1_024;
/// Batches, and loads, that wait for the store before more are refused: an operation has a few.
pub const STORE_QUEUE_MAX: usize = 4 * OPERATIONS_MAX;

/// Problems of a start that are told; more are counted with the last.
pub const PROBLEMS_MAX: usize = 32;
/// Problems of one configuration file before none of it is used.
pub const CONFIG_PROBLEMS_MAX: usize = 16;
/// Characters of each part of a problem.
pub const PROBLEM_CHARS_MAX: usize = 400;
/// Bytes that are read of the file of problems that start scripts write.
pub const PROBLEM_FILE_BYTES_MAX: u64 = 64 * 1_024;
