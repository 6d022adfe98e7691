//! roundel: boards that find each other, form one ring and keep what they are given.
//!
//! This is the architecture page: what the parts are, why they are cut as they are, what always
//! holds and what was decided. What the program does for its owner is in the README; what a
//! module does is at the top of its file.
//!
//! # Bird's-eye view
//!
//! 1. Every protocol is a **machine**: plain values in, plain values out. It owns no socket, file,
//!    clock, thread or random source.
//! 2. One **driver** ([`runtime::driver`]) owns all of those. It delivers frames, calls and time
//!    to the machine and carries out what it asks.
//! 3. So the very same ring, detector and replication run on a board and, many boards in one
//!    process with seeded faults, in the tests of [`proto::board`].
//! 4. A **service** ([`service`]) turns requests into calls on the board and answers into bytes;
//!    it holds no state of the ring.
//! 5. The **node** ([`node`]) composes all this from a configuration; nothing else knows all parts.
//!
//! A put, from the socket to the flash and back:
//!
//! ```text
//! client ─HTTP─▶ runtime/http ─Request─▶ service ─Call::Put─▶ driver ─handle_call─▶ proto/board
//!                                                                                      │
//!      other boards ◀─frames─ runtime/stream ◀─────────── poll_transmit ───────────────┤
//!      runtime/store (one sync a group) ◀──────────────── poll_store ──────────────────┤
//!                  │ handle_stored                        poll_reply ─▶ service ─▶ client
//!                  ╰──────────────────────────▶ proto/board
//! ```
//!
//! # The contract of a machine
//!
//! The composite machine [`proto::board::Board`] is what the driver runs; [`proto::ssdp::Ssdp`]
//! keeps to the same contract with a driver of its own ([`runtime::discovery`]).
//!
//! - **Inputs** are commands, each with the time: `handle_opened` and `handle_open_failed` (the
//!   store), `handle_hint` (discovery), `handle_link` and `handle_datagram` (other boards),
//!   `handle_call` and `handle_relayed` (the service), `handle_loaded` and `handle_stored`
//!   (answers of the store), `handle_keyring` (its file is written), `handle_endpoint`,
//!   `handle_lag`, `handle_stop` and `handle_timeout`. An input never fails: what is wrong in it
//!   is counted, answered or dropped.
//! - **Outputs** wait in queues ([`proto::board::Outbox`]). After any input the driver drains
//!   `poll_store`, `poll_load`, `poll_link`, `poll_transmit` (each through `seal` as it goes),
//!   `poll_keyring`, `poll_reply`, `poll_relayed` and `poll_event`, then sleeps until
//!   `poll_timeout`.
//! - **Persist before send.** A [`Transmit`](proto::board::Transmit) says in `after` which store it
//!   must follow; the driver holds it until that store has returned and drops it if that failed.
//!   Everything else flows at once, so a slow card never delays the answer to a probe and so never
//!   makes a false death. A reply to a client needs no such mark: the machine makes it only once
//!   `handle_stored` and the other copies have said that the write is durable.
//! - **Randomness** is a seeded generator handed in. **Time** is an argument: a monotonic count,
//!   and a wall clock that may be wrong. **Order** that can be seen comes from ordered collections.
//! - **Bounds**: every queue, retry, cache and loop has a named one in [`base::limit`], or beside
//!   the machine's own constants, with unit and reason.
//! - `check_invariants` breaks loudly when a machine contradicts itself. Assertions stay on in
//!   release: a board that is wrong about itself must stop and not write.
//!
//! # Layers
//!
//! Imports point strictly downward, siblings of one height are strangers; `tests/tidy` enforces
//! it, with the calls that no layer below L4 may make (clocks, sockets, files, entropy).
//!
//! | Layer | Module | Owns | Must not know |
//! |---|---|---|---|
//! | L0 | [`base`] | values all layers share: ids, items, calls, limits | any other layer |
//! | L1 | [`wire`] | bytes to valid types and back | state, time |
//! | L1 | [`security`] | primitives: keys, tags, seals | what they protect |
//! | L1 | [`telemetry`] | counters anyone may name | who reads them |
//! | L1 | [`config`] | the configuration, written and checked | files, the environment |
//! | L2 | [`proto`] | the machines | sockets, files, clocks, entropy |
//! | L3 | [`service`] | request to response: methods, refusals | transports |
//! | L4 | [`runtime`] | sockets, files, clocks, threads | what messages mean |
//! | L5 | [`node`] | composition, life cycle, implementations | the command line |
//! | L6 | [`cli`] | a file per verb | state of the ring |
//!
//! Machines are strangers to each other but for `ring` → `roster`, `placement` → `roster`,
//! `replication` → `placement` and `clock`, and `board`, which joins them. The owner of a trait
//! never imports what implements it; `node/registry.rs` names the implementations.
//!
//! # Code map
//!
//! ```text
//! base/      id (points, intervals)  cell (grain of placement)  tree (hash tree)  item  version
//!            code  member  call  access (who may what)  store  hint  endpoint  time  rng  limit
//!            problem (of a start)  place (what a directory is on)
//! wire/      frame (framing)  peer (messages between boards)  httpu  ssdp/  xml  description
//!            scpd  soap  gena  jsonrpc/  update (heads of images)
//! security/  identity  certificate  password  key  hmac  hkdf  seal  spake2 (codes)  token
//!            rnd1 (signed calls)  window
//! telemetry/  counters, operation config/  file  valid  salvage  spoken
//! proto/
//!   board/        the composite: membership/ (found, join, merge, leave, forget), operation/
//!                 (put, get, remove at the coordinator), copy (the copy's side), handover,
//!                 sync (copies are compared), collect (tombstones go), gossip (rosters travel),
//!                 link (streams and hellos), scan, pointers (lookups),
//!                 routing (mode partial: the machine's questions carried, joins, lookups),
//!                 overview (what it says of itself), outbox; world, scenario*: its tests
//!   ssdp/         advertiser  searcher  cache         session/      hello, links, datagrams
//!   keyring/      which keys, whose; code/ joins      owner/        claim, sessions, attempts
//!   fingerprint/  six digits that paired boards show alike
//!   gena/         subscriptions to events             admission/    signed calls: genuine, new
//!   roster/       who belongs, a CRDT                 detector/     SWIM, votes: who is there
//!   placement/    roster → copies of a key            replication/  one write or read: decided
//!   ring/         pointers, structure chord | mesh,   clock/        hybrid, others, lamport
//!                 partial/ (Zave's Chord)
//! service/   rpc (one document)  method/ (the table)  destination (other boards)  chord (ring
//!            messages)  device/ (UPnP's table of actions)  control (SOAP)  subscribe (GENA)
//!            caller (who asks)  retry (runs once)  owner (claim, log in)  guard (refusals)  route
//!            health  failure (errors → codes)  journal (what happened)  update (of the image)
//!            web/ (the page: document, feed, assets/)
//! runtime/   driver  stream  udp  http/  tls  certificate  owner (its file)  discovery/
//!            gena (events)  store/ (flash)  link (netlink)  allocator
//!            datadir  identity  keyring  counters  client  probe (doctor)  update (its file)
//! node/      mod (start, serve, stop)  bind  event  registry
//! cli/       run  demo/  put  get  remove  list  status  ring  nodes  call  search  join  leave
//!            top/ (poll → model → view → draw)  shell/ (scan → parse → session; prompt)
//!            doctor/  export  import  update  completions  man, and what they share
//!            bench/ (load: closed or open loop; workload, over a lean exchange)
//! tests/     tidy/ (this page's rules)  conformance/ (SSDP, HTTP, JSON-RPC, ring messages, UPnP
//!            and its linter)  control_point/ (foreign UPnP clients)
//!            readme/ (its commands)  cli  daemon/ (one real board and its disk)
//!            terminal/ (top and shell on a pseudo-terminal)
//!            scale/ (rings of thousands, mode partial)  lan/ (real boards in namespaces)
//!            instruction/ (what the hot paths cost, counted)
//!            sim/ (the seeded simulator)  disk/ (real boards on media that fail)
//!            browser/ (the page in chromium)  image/ (the appliance in QEMU)
//!            bench/ (cargo bench: peers, ceilings, goals)  figure/ (its arithmetic)
//! board/     what each board's image is made of     image/   scripts that make it
//! ```
//!
//! Where to begin: [`base::call`] (what can be asked), [`proto::board`] (its header tells a board's
//! life), then `proto/board/operation/`.
//!
//! # What always holds
//!
//! - Nothing is acknowledged that is not durable: a write is on the stable storage of W copies, or
//!   of fewer with durable hints for copies known to be down, of every set of its placement.
//! - Any two quorum operations on a key meet on a copy, also while boards join or leave, unless one
//!   of them says `degraded`.
//! - Nothing durable is assumed before the store has answered. A commit that failed is
//!   *indeterminate* and is never reported as undone.
//! - Liveness never changes the roster, and the roster alone says where copies are.
//! - Equal rosters give equal placement on every board.
//! - A board drops an item that does not belong to it only when every copy has confirmed it, or
//!   when it is an old hint and a write quorum has.
//! - A tombstone is collected only when no board of the roster holds anything older.
//! - A stamp is never drawn twice, also across power cuts: the high-water mark is in each commit.
//! - Discovery only hints: nothing is believed of a board whose signed hello was not verified.
//! - No payload of a link or datagram is parsed before its tag has been checked, and none is
//!   accepted twice. A cluster's key leaves a board sealed for another, or by its owner's hand.
//! - A value leaves as the bytes it came in.
//! - No input from the network makes a board panic, grow without bound or fall silent.
//! - With nothing asked and nobody coming or going nothing is written to flash.
//!
//! # Decisions
//!
//! **Identity and membership**
//!
//! - *A board's id is the SHA-256 of its public key.* Rejected: a hash of its address, under which
//!   a new DHCP lease would move every key on every card.
//! - *Discovery hints, a signed hello decides.* Rejected: joining on an announcement; SSDP can be
//!   forged by anybody on the LAN.
//! - *The roster is a CRDT on every board's flash, moved up entry by entry in (generation,
//!   standing).* Rejected: agreeing on each change by consensus, since a LAN of two or three boards
//!   would often have no majority to admit a third.
//! - *An absent board keeps its place until somebody strikes it off, or a majority of the roster
//!   has missed it for the grace time and votes so.* Rejected: each board's own timer, by which the
//!   minority side of a partition would rewrite the roster.
//! - *A board without a data partition is a member that is no holder*
//!   ([`Standing::Diskless`](base::member::Standing)): gossiped and probed like any other, left out
//!   of placement, quorums, majorities and comparisons. Rejected: ending, which a supervisor turns
//!   into a loop that nobody sees on the page; and copies in memory, which a power cut takes from
//!   all such boards at once.
//! - *A board that was struck off and returns offers the writes of its own side since it was last
//!   in sync with all, drops the rest and joins anew.* Rejected: joining with what it holds; what
//!   was removed meanwhile, and forgotten by the others, would come back.
//! - *A board whose log was damaged in the middle drops what it holds and is filled by the others*
//!   (`proto/board/membership/doubt`), unless so many are in doubt that they may hold the only
//!   copies. The store tells damage from a torn last group by whole groups that lie behind it.
//!   Rejected: serving what opened, which is the board's past and brings removed keys back; and a
//!   durable counter to compare with, by which a flapping supply would empty all boards at once.
//! - *Two votes hold a board down, or a majority of fewer voters; who hears nobody decides for
//!   itself alone.* Rejected: the word of one board; a broken receiver would take everybody down.
//! - *Boards that belong to nothing: the lowest id founds. Rings that meet: the lower cluster id
//!   survives and the others join it.* Rejected: each founding and merging later, which makes
//!   thirty merges of thirty boards that start at once.
//! - *A leave reverts when nobody stays to take over or the time is up*: the board is a member
//!   again, and absent once it stops. Rejected: leaving all the same; the last boards of a ring
//!   switched off together would lose it.
//! - *SIGTERM is an orderly leave*, a second signal a stop; `on_terminate = "stop"` for boards that
//!   will be back. Rejected: stopping by default; unplugging for good is what an owner does without
//!   reading, and it must not cost a copy.
//! - *`ready` is printed when the board belongs to a ring, or after three seconds.* Rejected: when
//!   the port is bound (a script that goes on at `ready` would find no ring), and only in a ring (a
//!   board without a network would never finish starting).
//!
//! **Access**
//!
//! - *Who asks is found out once, in one place ([`service::caller`]), before anything of a body is
//!   interpreted; one pure function ([`base::access::may`]) decides for JSON-RPC, batches, the GET
//!   form, ring messages and SOAP, over HTTP and HTTPU alike.* Rejected: a check in each method.
//! - *What a client may do goes with a call that is passed on, and is judged by both boards.*
//!   Rejected: members may do everything, so that any of them launders a stranger's write.
//! - *A challenge is the time and a tag over it: nothing is kept of it. A session is kept once a
//!   request with a valid tag has opened it, and never given up while its challenge could open it
//!   again.* Rejected: a table of challenges, which strangers could fill.
//! - *A repeated request is known by session and id, and only while no other came under that id.*
//!   Rejected: the repeated number, since every captured message must be refused; and ids alone, by
//!   which a client that always sends the same id would lose writes.
//! - *In a keyed cluster a stranger over UDP is sent no more bytes than it sent: an answer shrinks
//!   to 413, then to a bare status, then to nothing.* Rejected: rate limits alone, which halve a
//!   reflected flood and do not end it.
//! - *A board without a screen starts with what it can use of its files, and closed.* Rejected: all
//!   defaults for any error, which takes it out of its cluster for a slip of the pen; no start,
//!   which tells nobody.
//! - *SOAP, which has no credentials, changes nothing unless the configuration says so.*
//!
//! **Keys between boards**
//!
//! - *Every board has a key from its first start: one that is given none draws one, and boards
//!   whose windows are open tell each other theirs, sealed, until one has taken precedence.* So
//!   two rings that meet merge their keys by the same rule. Rejected: boards without a key, which
//!   the founder gives one; founding, joining and merging would each have a case without tags.
//! - *A link whose boards hold no key in common carries sealed keys and steps of a one-time code
//!   only and is no link to the ring: membership never sees it.*
//! - *A one-time code lives in memory, on the board that made it, and an attempt is spent when that
//!   board's share goes out.* Rejected: spending it on a wrong tag alone, since whoever knows that
//!   it guessed wrong breaks off; and a code that the ring shares, whose attempts boards would have
//!   to count together.
//! - *A board that has a code to try takes the key of no board that has not proved the code.* It
//!   would otherwise take the first key that somebody offers, as it does without one.
//! - *An open cluster has a key that everybody knows.* Rejected: frames without tags; a second path
//!   through every machine, to be tested apart.
//! - *Keys are sealed to an X25519 share that the signed hello carries, of this start of the
//!   board.* Rejected: to the P-256 identity, by which a card that is stolen later opens what was
//!   recorded.
//! - *Frames get their sequence when they leave ([`Board::seal`](proto::board::Board::seal)).* A
//!   frame that waits for the store is overtaken by others. Rejected: a window on streams.
//! - *Sessions of datagrams have no handshake: they hang on lives, which signed hellos and rosters
//!   tell; one count numbers what a board sends to all.* Rejected: a first message that makes a
//!   session, since it can be repeated; and a count for each receiver, which a restart forgets.
//! - *What tells paired boards from an attacker's are six digits that all members draw together
//!   (commit before reveal, over the set of members) and their number.* Rejected: the key's name
//!   or six digits of it; whoever founds two rings tries keys until both look the same.
//! - *Confirming a paired ring replaces its key, for the members counted.* Whoever pairs is told
//!   the key and need not stay. Rejected: keeping it; the digits say who belongs, not who knows.
//! - *A member that missed a rotation is let in by its identity and its place in the roster.* An
//!   owner's authority over rotations is not built: a card that is stolen can offer a key to a
//!   board that was away when it was revoked, before the others do.
//!
//! **Ring and placement**
//!
//! - *Copies are placed over the persisted roster.* Rejected: over the boards alive at the moment.
//!   A live view shrinks: two sides of a partition answer "not found" for an acknowledged put, and
//!   a lone board acknowledges alone.
//! - *Up to 1,024 boards each knows the roster and computes the ring, with 128 points a board; the
//!   mode is a parameter of the cluster.* Rejected: classical Chord at every size (joins that must
//!   stabilise; most loaded board 4.4 × the mean against 1.23), and a threshold at which the
//!   protocol would change under a running ring.
//! - *In mode `partial` pointers say whom to ask, the roster says who holds.* A board's roster is a
//!   window of the eight nearest boards on each side ([`proto::roster`]), gossiped and persisted as
//!   in mode `full`; what leaves the window is forgotten, not removed. Copies are placed over the
//!   window; operations, offers and hand-overs agree on the copies of their keys
//!   (`View::agreement` in [`proto::placement`]) where mode `full` agrees on the whole roster. Who
//!   holds no copy of a key hands the operation to a board that does. Rejected: copies by the
//!   pointers (a live view, as above), and the asker coordinating over a window it was sent (two
//!   askers with windows of different age would share no copy).
//! - *A joiner in mode `partial` is sent on until it asks the board before its place*, enters that
//!   board's roster, then joins the pointers there, and counts when it has both its ranges and its
//!   place. Rejected: pointers first; lookups would come to a board its neighbours do not know.
//! - *A board that comes back in mode `partial` goes on with the pointers its roster names* instead
//!   of joining as new, as Zave has it: when the power was cut for all there is nobody to join. To
//!   the rules it was slow. Neighbours that the roster knows and the pointers do not are asked as
//!   if the successor had named them; so a ring cut in two becomes one again.
//! - *A lookup by `id` asks the ring of the boards' own ids, among those that are there; a lookup
//!   by `key` asks the placement, there or not.* Rejected: one ring for both. Pointers are of use
//!   only to boards that answer; ownership must not move when a board is absent.
//!
//! **Replication**
//!
//! - *Available under partition: quorums and durable hints.* Strong operations are to go through a
//!   small consensus group later. Rejected: consensus for everything; a LAN appliance must take a
//!   put while a board is unplugged.
//! - *Hybrid logical clocks order writes.* Rejected: wall clocks; boards have no battery, and
//!   last-writer-wins by a wrong clock loses writes. What is too far ahead is judged by the lower
//!   median of the boards' clocks, which probes carry, before a stamp is drawn; but what another
//!   board has taken is never taken back, since it may have been acknowledged. Rejected: each
//!   board's own clock as the judge, by which one board in 2038 and one without a clock agree.
//! - *While boards join or leave, reads and writes need the quorum of the old **and** of the new
//!   copies.* Rejected: in writes only; a reader of the new set alone would miss what the old set
//!   has not handed over yet.
//! - *A write needs at least one true copy in each set; hints alone never acknowledge, and a hint
//!   counts only for a copy that is down, not slow.* Rejected: counting any W boards; the side of a
//!   partition without a copy would acknowledge what no reader finds.
//! - *Not Found is said only when R copies say so and the absent boards could not have
//!   acknowledged a write; otherwise the answer is Unavailable.* Rejected: R answers alone, which
//!   a write on hints at the other side of a partition makes a lie.
//! - *Every message of an operation carries the digest of the view it was laid out over; a copy
//!   with another view refuses (`OtherView`), the two exchange rosters, the operation is tried
//!   again.* Rejected: trusting that rosters converge soon; two operations on two rosters may
//!   share no copy.
//! - *A copy that holds something newer refuses; the coordinator stamps the write above it.*
//!   Rejected: acknowledging a write that is already overwritten.
//! - *A read that finds its copies unequal writes the newest back before it answers.* Rejected:
//!   repair behind the answer; a later read could see less.
//! - *A key lies at the start of one of 65,536 cells; all keys of a cell have the same copies.*
//!   Rejected: placing each key by its own hash. Two copies could not compare sums kept on flash,
//!   since the next join cuts through any part of the ring they are kept for.
//! - *Copies are compared by a hash tree whose cells are sums, kept on flash in the commit that
//!   changes them.* Rejected: hashing a cell's items in order, as Merkle trees of files do; each
//!   put would read its neighbours, or keep an index by hash that is written beside every item.
//! - *A fresh write goes to all copies at once; who misses it is offered its cell.* Rejected:
//!   gossip of deltas from copy to copy, which doubles the traffic of every write of a ring whose
//!   copies are three.
//! - *A tombstone goes when every board of the roster has confirmed it twice, the collection age
//!   apart.* Rejected: after a time alone; a board that was away longer brings the value back.
//! - *One hand-over for joins, leaves, hints and boards that return: offer versions, hear what is
//!   missing, write that, drop when every copy has confirmed.* Rejected: a mechanism for each; four
//!   ways to lose an item instead of one to get right.
//!
//! **UPnP**
//!
//! - *An action is a JSON-RPC method under another name*: one table ([`service::device`]) maps
//!   their arguments, and documents, SOAP and the README come from it. Rejected: handlers of their
//!   own; two ways to do a thing drift apart, and so do their refusals.
//! - *Results that are lists go as JSON in a string, ids and versions as strings, bytes as
//!   `bin.base64`.* Rejected: CSV lists and vendor types, which strict clients cannot read.
//! - *Events are sent only to the address that subscribed, and never because of a datagram.*
//!   Rejected: any CALLBACK, as UDA 2.0 allows; a board would send what others tell it to
//!   (CallStranger).
//! - *Values are looked at when the driver says that something changed, and only while somebody
//!   subscribes.* Rejected: a timer, and a machine that publishes whether or not anybody listens.
//!
//! **Runtime**
//!
//! - *The store is `fjall` behind a narrow contract ([`base::store`]), one committer thread, group
//!   commit.* Rejected after measuring bytes on flash for a byte stored: redb 33, SQLite 35, LMDB
//!   74, fjall 1.7.
//! - *SWIM by `foca`, told how late the loop wakes.* Rejected: one of our own, and heartbeats to
//!   everybody.
//! - *TLS is pinned, never trusted on first use: the certificate's key is the board's id.*
//!   Rejected: an authority of the cluster, which a stolen card would carry; a key for TLS alone.
//! - *The owner's hash is a file on each board, sealed on its way to the next.* Rejected: an item
//!   of the bucket, which clients can read.
//! - *An update of the image is a file, sent in parts over JSON-RPC; root copies it into a slot and
//!   checks it there.* Rejected: slots that the program may write, since what took it over could
//!   change one between check and start; one long PUT, which signed calls do not cover.
//! - *One port; the first byte tells HTTP from TLS from frames.* Rejected: a port each; more to
//!   configure and to open in a firewall.
//! - *A head is read into little memory before hyper or TLS has buffers for its client.* Rejected:
//!   hyper from the first byte, which is 16 KiB for each stranger that sends nothing more.
//! - *The page is told by one feed for all its readers, made only while somebody reads.* Rejected:
//!   pages that poll; each would have the board look at itself, and see a change seconds late.
//! - *The page is files written by hand, embedded as they are.* Rejected: a framework and its
//!   build; more bytes than the page, and a tool chain to keep alive.
//! - *One thread for the board and its sockets.* Rejected: a pool; these boards have few cores and
//!   little memory, and a machine without locks can be simulated.
//!
//! # Where later parts go
//!
//! - *Comparing copies by tree, collecting tombstones and giving up boards in mode `partial`*:
//!   `proto/board` does these over a roster that all boards share, and leaves them off there.
//! - *Consensus and strong operations*: `proto/consensus`, joined in `proto/board`; `Consistency`
//!   in [`base::call`] grows.
//! - *Scripts, routes, timers*: a layer `script` between `proto` and `service`; the worker process
//!   in `runtime`.
//! - *Other encodings, S3*: `wire` for the bytes, `service` for the meaning.
//! - *The relay, bridges between sites*: `proto/relay`, `proto/bridge`.

pub mod base;
pub mod cli;
pub mod config;
pub mod node;
pub mod proto;
pub mod runtime;
pub mod security;
pub mod service;
pub mod telemetry;
pub mod wire;
