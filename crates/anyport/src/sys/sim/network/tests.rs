//! What the network promises, for any seed and any order of calls.

use super::*;
use crate::sys::sim::state::State;
use proptest::prelude::*;
use std::time::Duration;

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

const SERVER: &str = "10.0.0.1:80";

/// Lets happen whatever does.
fn run(world: &mut State) {
    while let Some(at) = world.time.next_at() {
        world.run_until(at);
    }
}

fn listener(world: &mut State) -> SocketId {
    let id = world.network.open(&mut world.time, Protocol::Stream, false, None);
    world.network.bind(id, address(SERVER)).expect("free");
    world.network.listen(id, 10).expect("bound");
    id
}

fn client(world: &mut State) -> SocketId {
    let host = Some(address("10.0.0.2:0").ip());
    let id = world.network.open(&mut world.time, Protocol::Stream, false, host);
    world.network.connect(&mut world.time, id, address(SERVER)).expect("begins");
    id
}

/// Client and server of a connection.
fn connection(world: &mut State) -> (SocketId, SocketId) {
    let listener = listener(world);
    let client = client(world);
    run(world);
    assert_eq!(world.network.connected(client), Poll::Ready(Ok(())));
    let Poll::Ready(Ok(server)) = world.network.accept(listener) else { panic!("no connection") };
    (client, server)
}

fn receive(world: &mut State, id: SocketId, room: usize) -> (Vec<u8>, Poll<Result<usize, Fault>>) {
    let mut bytes = Vec::new();
    let mut take = |piece: &[u8]| bytes.extend_from_slice(piece);
    let result = world.network.receive(&mut world.time, id, room, &mut take);
    (bytes, result.map(|result| result.map(|received| received.bytes)))
}

#[test]
fn a_connect_to_nobody_is_refused() {
    let mut world = State::new(1);
    let client = client(&mut world);
    assert_eq!(world.network.connected(client), Poll::Pending);
    run(&mut world);
    assert_eq!(world.network.connected(client), Poll::Ready(Err(Fault::Refused)));
}

#[test]
fn both_ends_know_each_others_address() {
    let mut world = State::new(1);
    let (client, server) = connection(&mut world);
    assert_eq!(world.network.peer(client), Some(address(SERVER)));
    assert_eq!(world.network.local(server), Some(address(SERVER)));
    assert_eq!(world.network.peer(server), world.network.local(client));
}

#[test]
fn an_end_comes_after_all_bytes_and_a_close_with_unread_ones_is_a_reset() {
    let mut world = State::new(1);
    let (client, server) = connection(&mut world);
    world.network.send(&mut world.time, client, b"hello");
    world.network.close(&mut world.time, client, false);
    run(&mut world);
    assert_eq!(receive(&mut world, server, 3).0, b"hel");
    assert_eq!(receive(&mut world, server, 100).0, b"lo");
    assert_eq!(receive(&mut world, server, 100).1, Poll::Ready(Ok(0)));
    assert!(!world.network.was_reset(server));

    let mut world = State::new(1);
    let (client, server) = connection(&mut world);
    world.network.send(&mut world.time, server, b"unread");
    world.network.send(&mut world.time, client, b"hello");
    run(&mut world);
    world.network.close(&mut world.time, client, false);
    run(&mut world);
    assert_eq!(receive(&mut world, server, 100).0, b"hello", "what has arrived is not lost");
    assert_eq!(receive(&mut world, server, 100).1, Poll::Ready(Err(Fault::Reset)));
    assert_eq!(receive(&mut world, server, 100).1, Poll::Ready(Ok(0)), "told once");
    assert!(world.network.was_reset(server));
    assert_eq!(world.network.room(server), Poll::Ready(Err(Fault::BrokenPipe)));
}

#[test]
fn what_is_sent_to_a_closed_end_is_answered_by_a_reset() {
    let mut world = State::new(1);
    let (client, server) = connection(&mut world);
    world.network.close(&mut world.time, client, false);
    run(&mut world);
    world.network.send(&mut world.time, server, b"too late");
    run(&mut world);
    assert_eq!(world.network.room(server), Poll::Ready(Err(Fault::Reset)));
}

#[test]
fn a_full_window_takes_nothing_until_the_peer_has_received() {
    let mut world = State::new(1);
    world.network.set_all_links(Link::new().window(10));
    let (client, server) = connection(&mut world);
    assert_eq!(world.network.room(client), Poll::Ready(Ok(10)));
    world.network.send(&mut world.time, client, &[7; 10]);
    assert_eq!(world.network.room(client), Poll::Pending);
    run(&mut world);
    assert_eq!(world.network.room(client), Poll::Pending);
    assert!(!world.network.is_writable(client));
    let _ = receive(&mut world, server, 4);
    assert_eq!(world.network.room(client), Poll::Ready(Ok(4)));
}

#[test]
fn a_full_listener_lets_clients_wait() {
    let mut world = State::new(1);
    let listener = listener(&mut world);
    world.network.listen(listener, 1).expect("again");
    let clients = [client(&mut world), client(&mut world)];
    world.run_until(500_000_000);
    let connected = clients.map(|client| world.network.connected(client).is_ready());
    assert_eq!(connected.iter().filter(|&&is_over| is_over).count(), 1);
    assert!(world.network.accept(listener).is_ready());
    world.run_until(3_000_000_000);
    assert!(clients.iter().all(|&client| world.network.connected(client).is_ready()));
}

#[test]
fn what_a_cut_link_holds_back_comes_when_it_is_mended_or_fails_after_a_minute() {
    for is_mended in [true, false] {
        let mut world = State::new(1);
        let (client, server) = connection(&mut world);
        let (from, to) = (address("10.0.0.2:0").ip(), address(SERVER).ip());
        world.network.cut(from, to);
        world.network.send(&mut world.time, client, b"held");
        let now = world.time.now();
        world.run_until(now + 1_000_000_000);
        assert_eq!(receive(&mut world, server, 100).1, Poll::Pending);
        if is_mended {
            world.network.mend(&mut world.time, from, to);
        }
        run(&mut world);
        if is_mended {
            assert_eq!(receive(&mut world, server, 100).0, b"held");
        } else {
            assert_eq!(world.network.room(client), Poll::Ready(Err(Fault::TimedOut)));
            // Half-open: the server has no way to know.
            assert_eq!(receive(&mut world, server, 100).1, Poll::Pending);
        }
    }
}

#[test]
fn a_host_that_was_lost_answers_what_comes_later_with_a_reset() {
    let mut world = State::new(1);
    let (client, server) = connection(&mut world);
    world.network.lose_host(address(SERVER).ip());
    run(&mut world);
    assert_eq!(receive(&mut world, client, 100).1, Poll::Pending, "nobody says a word");
    world.network.close(&mut world.time, server, false);
    world.network.send(&mut world.time, client, b"anybody there?");
    run(&mut world);
    assert_eq!(receive(&mut world, client, 100).1, Poll::Ready(Err(Fault::Reset)));
}

#[test]
fn an_address_is_taken_once_and_free_after_the_close() {
    let mut world = State::new(1);
    let first = listener(&mut world);
    let second = world.network.open(&mut world.time, Protocol::Stream, false, None);
    assert_eq!(world.network.bind(second, address(SERVER)), Err(Fault::AddressInUse));
    world.network.close(&mut world.time, first, false);
    assert_eq!(world.network.bind(second, address(SERVER)), Ok(()));
}

#[test]
fn datagrams_come_whole_with_their_sender() {
    let mut world = State::new(1);
    let (time, network) = (&mut world.time, &mut world.network);
    let receiver = network.open(time, Protocol::Datagram, false, None);
    network.bind(receiver, address("0.0.0.0:53")).expect("free");
    let sender = network.open(time, Protocol::Datagram, false, None);
    let to = Some(address("10.0.0.1:53"));
    assert_eq!(network.send_datagram(time, sender, to, b"one".to_vec()), Ok(3));
    assert_eq!(network.send_datagram(time, sender, to, vec![0; 70_000]), Err(Fault::TooLarge));
    let from = network.local(sender).expect("bound by the send");
    run(&mut world);
    let received = world.network.receive_datagram(&mut world.time, receiver);
    assert_eq!(received, Poll::Ready(Ok((from, b"one".to_vec()))));
}

/// A step of whoever uses a connection.
#[derive(Clone, Debug)]
enum Use {
    Send { by_client: bool, bytes: usize },
    Receive { by_client: bool, room: usize },
    Wait { nanoseconds: u64 },
    End { by_client: bool },
    Cut { to_client: bool },
    Mend { to_client: bool },
}

fn uses() -> impl Strategy<Value = Vec<Use>> {
    let step = prop_oneof![
        4 => (any::<bool>(), 1usize..3000).prop_map(|(by_client, bytes)| Use::Send { by_client, bytes }),
        4 => (any::<bool>(), 1usize..5000).prop_map(|(by_client, room)| Use::Receive { by_client, room }),
        4 => (0u64..300_000).prop_map(|nanoseconds| Use::Wait { nanoseconds }),
        1 => any::<bool>().prop_map(|by_client| Use::End { by_client }),
        1 => any::<bool>().prop_map(|to_client| Use::Cut { to_client }),
        1 => any::<bool>().prop_map(|to_client| Use::Mend { to_client }),
    ];
    prop::collection::vec(step, 1..80)
}

/// What one direction has carried.
#[derive(Default)]
struct Direction {
    sent: usize,
    received: usize,
    has_ended: bool,
    has_end: bool,
    is_broken: bool,
}

/// The byte at a place of a direction.
fn byte_at(by_client: bool, place: usize) -> u8 {
    (place as u8).wrapping_mul(31).wrapping_add(place.wrapping_shr(8) as u8) ^ u8::from(by_client)
}

/// Runs these steps in a world with this seed; says how the directions ended, and the trace.
fn carry(seed: u64, steps: &[Use], resets: f64) -> Result<([Direction; 2], u64), TestCaseError> {
    let mut world = State::new(seed);
    world.network.set_all_links(
        Link::new()
            .segment_max(100)
            .window(5000)
            .ragged_segments(0.3)
            .short_transfers(0.3)
            .resets(resets),
    );
    let (client, server) = connection(&mut world);
    let hosts = [address("10.0.0.2:0").ip(), address(SERVER).ip()];
    let mut directions = [Direction::default(), Direction::default()];
    let ends = [server, client];
    let take = |world: &mut State,
                directions: &mut [Direction; 2],
                by_client: bool,
                room|
     -> Result<bool, TestCaseError> {
        let (bytes, result) = receive(world, ends[usize::from(by_client)], room);
        let direction = &mut directions[usize::from(!by_client)];
        for byte in &bytes {
            prop_assert_eq!(*byte, byte_at(!by_client, direction.received), "in order, and once");
            direction.received += 1;
        }
        match result {
            Poll::Ready(Ok(0)) => direction.has_end = true,
            Poll::Ready(Err(_)) => direction.is_broken = true,
            _ => {}
        }
        Ok(result.is_ready() && !bytes.is_empty())
    };
    for step in steps {
        match *step {
            Use::Send { by_client, bytes } => {
                let id = ends[usize::from(by_client)];
                let direction = &mut directions[usize::from(by_client)];
                match world.network.room(id) {
                    Poll::Ready(Ok(room)) => {
                        let bytes: Vec<u8> = (0..bytes.min(room))
                            .map(|i| byte_at(by_client, direction.sent + i))
                            .collect();
                        direction.sent += bytes.len();
                        world.network.send(&mut world.time, id, &bytes);
                    }
                    Poll::Ready(Err(_)) => {
                        prop_assert!(direction.has_ended || world.network.was_reset(id));
                        directions[usize::from(!by_client)].is_broken |=
                            world.network.was_reset(id);
                    }
                    Poll::Pending => {}
                }
            }
            Use::Receive { by_client, room } => {
                take(&mut world, &mut directions, by_client, room)?;
            }
            Use::Wait { nanoseconds } => {
                let now = world.time.now();
                world.run_until(now + nanoseconds);
            }
            Use::End { by_client } => {
                let id = ends[usize::from(by_client)];
                directions[usize::from(by_client)].has_ended = true;
                let _ = world.network.shut_down(&mut world.time, id, Shutdown::Write);
            }
            Use::Cut { to_client } => {
                let [a, b] = hosts;
                let (from, to) = if to_client { (b, a) } else { (a, b) };
                world.network.cut(from, to);
            }
            Use::Mend { to_client } => {
                let [a, b] = hosts;
                let (from, to) = if to_client { (b, a) } else { (a, b) };
                world.network.mend(&mut world.time, from, to);
            }
        }
    }
    let [a, b] = hosts;
    world.network.mend(&mut world.time, a, b);
    world.network.mend(&mut world.time, b, a);
    run(&mut world);
    for by_client in [false, true] {
        while take(&mut world, &mut directions, by_client, 1000)? {}
        take(&mut world, &mut directions, by_client, 1000)?;
        directions[usize::from(!by_client)].is_broken |=
            world.network.was_reset(ends[usize::from(by_client)]);
    }
    Ok((directions, world.time.trace.hash()))
}

proptest! {
    #[test]
    fn bytes_of_a_connection_arrive_in_order_and_once_whatever_is_in_the_way(
        seed: u64, steps in uses()
    ) {
        let (directions, _) = carry(seed, &steps, 0.0)?;
        for direction in directions {
            prop_assert!(!direction.is_broken, "nothing breaks a connection for less than a minute");
            prop_assert_eq!(direction.received, direction.sent);
            prop_assert_eq!(direction.has_end, direction.has_ended);
        }
    }

    #[test]
    fn bytes_arrive_in_order_and_once_or_the_connection_fails(seed: u64, steps in uses()) {
        let (directions, _) = carry(seed, &steps, 0.02)?;
        for direction in directions {
            prop_assert!(direction.is_broken || direction.received == direction.sent);
            prop_assert!(direction.received <= direction.sent);
        }
    }

    #[test]
    fn the_same_seed_is_the_same_run(seed: u64, steps in uses()) {
        let traces = [carry(seed, &steps, 0.01)?.1, carry(seed, &steps, 0.01)?.1];
        prop_assert_eq!(traces[0], traces[1]);
    }

    #[test]
    fn a_latency_is_within_its_range(seed: u64, least in 0u64..1000, more in 0u64..1000) {
        let mut world = State::new(seed);
        let range = Duration::from_nanos(least)..=Duration::from_nanos(least + more);
        world.network.set_all_links(Link::new().latency(range));
        let (client, server) = connection(&mut world);
        let before = world.time.now();
        world.network.send(&mut world.time, client, b"x");
        run(&mut world);
        prop_assert!((least..=least + more).contains(&(world.time.now() - before)));
        prop_assert!(world.network.is_readable(server));
    }
}
