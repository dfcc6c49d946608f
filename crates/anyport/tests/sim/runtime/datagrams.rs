//! Datagrams of tasks that share a socket and give up now and then: each comes whole, with its
//! sender, to one of them, and none is lost but by the network.

use super::{SERVER, runtime, unsettled};
use crate::choices::Choices;
use anyport::rt::net::{Datagram, UdpSocket};
use anyport::rt::time::timeout;
use anyport::rt::{self, time};
use anyport::sim::{Link, World};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often each datagram came, by its sender and number.
type Came = Arc<Mutex<BTreeMap<(SocketAddr, u16), usize>>>;

fn datagram(number: u16) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(2 + usize::from(number) * 37 % 1400, number as u8);
    bytes
}

fn note(came: &Came, bytes: &[u8], sender: SocketAddr) {
    let number = u16::from_le_bytes([bytes[0], bytes[1]]);
    assert_eq!(bytes, datagram(number), "whole");
    *came.lock().expect("no panic").entry((sender, number)).or_default() += 1;
}

/// Receives in every way, and gives up now and then.
async fn receives(socket: Arc<UdpSocket>, came: Came, mut choices: Choices) {
    let mut many: Vec<Datagram> = Vec::new();
    // The longer it waits in vain the longer it waits.
    let mut longest = Duration::from_micros(100);
    loop {
        let limit = choices.time(longest);
        let has_come = match choices.below(4) {
            0 => match timeout(limit, socket.recv_from()).await {
                Ok(received) => {
                    let (bytes, sender) = received.expect("a datagram");
                    note(&came, bytes.as_slice(), sender);
                    true
                }
                Err(_) => false,
            },
            1 => match timeout(limit, socket.read_from(Vec::with_capacity(2000))).await {
                Ok((received, bytes)) => {
                    let (count, sender) = received.expect("a datagram");
                    note(&came, &bytes.as_slice()[..count], sender);
                    true
                }
                Err(_) => false,
            },
            2 => match timeout(limit, socket.recv_many(&mut many, 1 + choices.below(8))).await {
                Ok(received) => {
                    assert_eq!(received.expect("datagrams"), many.len());
                    for Datagram { bytes, peer } in many.drain(..) {
                        note(&came, bytes.as_slice(), peer);
                    }
                    true
                }
                Err(_) => false,
            },
            _ => {
                let mut out = [0; 2];
                if let Ok(peeked) = timeout(limit, socket.peek_from(&mut out)).await {
                    assert_eq!(peeked.expect("a datagram").0, 2);
                }
                continue;
            }
        };
        longest = match has_come {
            true => Duration::from_micros(100),
            false => (longest * 2).min(Duration::from_secs(1)),
        };
    }
}

pub(super) fn datagrams(world: &World) {
    let mut choices = Choices::new(world.seed());
    let loss = [0.0, 0.1][choices.below(2)];
    let copies = [0.0, 0.1][choices.below(2)];
    world.set_system(unsettled(&mut choices));
    world.set_links(
        Link::new()
            .latency(Duration::ZERO..=Duration::from_micros([10, 3000][choices.below(2)]))
            .datagram_loss(loss)
            .datagram_copies(copies),
    );
    let server = world.on_host(SERVER, || runtime(&mut choices));
    let address = SocketAddr::new(SERVER, 53);
    let socket = Arc::new(server.block_on(UdpSocket::bind(address)).expect("a socket"));
    let came = Came::default();
    for _ in 0..1 + choices.below(4) {
        let task = receives(Arc::clone(&socket), Arc::clone(&came), choices.split());
        server.spawn(task).detach();
    }
    drop(socket);
    let clients = runtime(&mut choices);
    let sent: Vec<(SocketAddr, u16)> = clients.block_on(async {
        let tasks: Vec<_> = (0..1 + choices.below(4))
            .map(|_| {
                let mut own = choices.split();
                rt::spawn(async move {
                    let socket = UdpSocket::bind("10.0.0.2:0").await.expect("a socket");
                    let count = 1 + own.below(40) as u16;
                    for number in 0..count {
                        match own.below(3) {
                            0 => socket.send_to(datagram(number), address).await.map(drop),
                            1 => socket.write_to(datagram(number), address).await.0.map(drop),
                            _ => {
                                let one =
                                    Datagram { bytes: datagram(number).into(), peer: address };
                                socket.send_many(&mut vec![one]).await.map(drop)
                            }
                        }
                        .expect("sent");
                        if own.one_in(4) {
                            time::sleep(own.time(Duration::from_millis(2))).await;
                        }
                    }
                    let here = socket.local_addr().expect("bound");
                    (0..count).map(|number| (here, number)).collect::<Vec<_>>()
                })
            })
            .collect();
        let mut sent = Vec::new();
        for task in tasks {
            sent.extend(task.await.expect("it ends"));
        }
        sent
    });
    // All that comes has come by then.
    world.sleep(Duration::from_secs(5));
    let came = came.lock().expect("no panic").clone();
    assert!(came.keys().all(|key| sent.contains(key)), "nobody has sent that");
    assert!(loss > 0.0 || came.len() == sent.len(), "{} of {}", came.len(), sent.len());
    assert!(copies > 0.0 || came.values().all(|&times| times == 1), "twice: {came:?}");
    for runtime in [clients, server] {
        let report = runtime.shut_down(Duration::from_secs(10));
        assert_eq!((report.tasks_left, report.operations_left), (0, 0));
    }
    assert_eq!(world.sockets(), 0, "a socket is open");
}

#[test]
fn each_datagram_comes_to_one_of_those_who_receive() {
    World::check(300, datagrams);
}
