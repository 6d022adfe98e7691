//! Shows that the lab itself does what the scenarios rely on, with plain sockets for nodes.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::lab::Lab;
use crate::wait;

const PORT: u16 = 38_400;

/// A board accepts connections, for as long as the lab stands.
fn listen(lab: &Lab, board: usize) {
    lab.board(board).agent().run(|| {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).expect("the port is free");
        std::thread::spawn(move || listener.incoming().for_each(drop));
    });
}

fn reaches(lab: &Lab, from: usize, to: usize) -> Result<(), String> {
    let to = SocketAddr::from((lab.board(to).address(), PORT));
    let connect = move || TcpStream::connect_timeout(&to, Duration::from_millis(200));
    let connected = lab.board(from).agent().run(connect);
    connected
        .map(drop)
        .map_err(|error| format!("board {from} to {to}: {error}"))
}

#[test]
fn thirty_boards_stand_in_a_few_seconds_and_leave_nothing_behind() {
    let start = Instant::now();
    let lab = Lab::new("thirty", 30);
    let built = start.elapsed();
    listen(&lab, 29);
    let look = || reaches(&lab, 0, 29);
    wait::until(
        "the last board answers the first",
        Duration::from_secs(2),
        look,
    );
    drop(lab);
    println!(
        "30 boards: built in {built:?}, all with removal {:?}",
        start.elapsed()
    );
    assert!(built < Duration::from_secs(15));
    let ours = format!("rndl{}-", std::process::id());
    let left = std::fs::read_dir("/run/netns").unwrap().flatten();
    let left = left.filter(|entry| entry.file_name().to_string_lossy().starts_with(&ours));
    // Tests beside this one may have labs of their own, but none so large.
    assert!(left.count() < 30);
}

#[test]
fn partition_cuts_groups_from_each_other_only_and_heals() {
    let lab = Lab::new("cut", 4);
    (0..4).for_each(|board| listen(&lab, board));
    let deadline = Duration::from_secs(3);
    wait::until("they meet", deadline, || {
        reaches(&lab, 0, 2).and(reaches(&lab, 3, 1))
    });
    lab.partition(&[&[0, 1], &[2, 3]]);
    assert!(reaches(&lab, 0, 2).is_err() && reaches(&lab, 3, 1).is_err());
    assert_eq!(reaches(&lab, 0, 1).and(reaches(&lab, 3, 2)), Ok(()));
    lab.heal();
    wait::until("they meet again", deadline, || {
        reaches(&lab, 0, 2).and(reaches(&lab, 3, 1))
    });
}

#[test]
fn cable_can_be_pulled_and_put_back() {
    let lab = Lab::new("cable", 2);
    listen(&lab, 1);
    let deadline = Duration::from_secs(5);
    wait::until("they meet", deadline, || reaches(&lab, 0, 1));
    lab.set_cable(1, false);
    assert!(reaches(&lab, 0, 1).is_err());
    lab.set_cable(1, true);
    wait::until("they meet again", deadline, || reaches(&lab, 0, 1));
}

#[test]
fn multicast_reaches_every_board_and_can_be_lost_alone() {
    let group = Ipv4Addr::new(239, 255, 255, 250);
    let lab = Lab::new("multicast", 2);
    let receiver = lab.board(1).agent().run(move || {
        let socket = UdpSocket::bind((group, PORT)).expect("the port is free");
        socket
            .join_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED)
            .expect("there is a route");
        socket
            .set_read_timeout(Some(Duration::from_millis(200)))
            .expect("it is not zero");
        socket
    });
    let address = lab.board(0).address();
    let send = || {
        lab.board(0).agent().run(move || {
            let socket = UdpSocket::bind((address, 0)).expect("the address is there");
            socket
                .send_to(b"x", (group, PORT))
                .expect("there is a route");
        });
        receiver
            .recv(&mut [0; 9])
            .map_err(|error| error.to_string())
    };
    wait::until("multicast arrives", Duration::from_secs(3), send);
    lab.lose_multicast(100);
    assert!(send().is_err());
    listen(&lab, 1);
    assert_eq!(reaches(&lab, 0, 1), Ok(()));
    lab.lose_multicast(0);
    wait::until("multicast arrives again", Duration::from_secs(3), send);
}

#[test]
fn error_in_a_log_fails_the_test_unless_it_was_expected() {
    let lab = |expected: bool| {
        let lab = Lab::new("errors", 0);
        let line = "2026-01-01T00:00:00Z ERROR roundel: planted\nINFO an ERROR of others here\n";
        std::fs::write(lab.directory().join("n.log"), line).unwrap();
        if expected {
            lab.expect_error("planted");
        }
        let directory = lab.directory().to_owned();
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || drop(lab)));
        let _ = std::fs::remove_dir_all(directory);
        ended
    };
    assert!(lab(false).is_err());
    assert!(lab(true).is_ok());
}
