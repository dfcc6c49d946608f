//! Datagrams over a link that loses, doubles and reorders them: each that comes is whole, with its
//! sender.

use anyport::net::Socket;
use anyport::sim::{Link, World};
use anyport::{CompletionPort, OperationKind};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

fn datagram(number: u16) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(2 + usize::from(number) * 13 % 900, number as u8);
    bytes
}

#[test]
fn datagrams_come_whole_with_their_sender_or_not_at_all() {
    const COUNT: u16 = 50;
    let (mut lost, mut doubled, mut reordered) = (0, 0, 0);
    World::check(100, |world| {
        world.set_links(
            Link::new()
                .latency(Duration::from_micros(1)..=Duration::from_millis(5))
                .datagram_loss(0.1)
                .datagram_copies(0.1),
        );
        let port: CompletionPort<u16> = CompletionPort::new(1).expect("a port");
        let address: SocketAddr = "10.0.0.1:53".parse().expect("an address");
        let receiver = Socket::udp_v4().expect("a socket");
        receiver.bind(address).expect("bound");
        let receiver = port.associate(receiver, 1).expect("associated");
        let sender = port.associate(Socket::udp_v4().expect("a socket"), 2).expect("associated");
        receiver.receive_from(Vec::<u8>::with_capacity(2000), 0).expect("started");
        for number in 0..COUNT {
            sender.send_to(datagram(number), address, number).expect("started");
        }
        let mut came = Vec::new();
        while let Ok(packet) = port.get(Some(Duration::from_secs(1))) {
            if packet.kind == OperationKind::ReceiveFrom {
                let bytes: Vec<u8> =
                    packet.buffers.iter().flat_map(|b| b.as_slice().iter().copied()).collect();
                assert_eq!(packet.result, Ok(bytes.len()));
                let number = u16::from_le_bytes([bytes[0], bytes[1]]);
                assert_eq!(bytes, datagram(number), "whole");
                assert_eq!(packet.peer, sender.local_addr().ok());
                came.push(number);
                receiver.receive_from(Vec::<u8>::with_capacity(2000), 0).expect("started");
            } else {
                assert_eq!(packet.result, Ok(datagram(packet.context).len()));
            }
        }
        let different: BTreeSet<u16> = came.iter().copied().collect();
        lost += usize::from(COUNT) - different.len();
        doubled += came.len() - different.len();
        reordered += came.windows(2).filter(|pair| pair[0] > pair[1]).count();
        receiver.cancel_all().expect("a receive waits");
    });
    let is_one_seed = std::env::var_os("ANYPORT_SIM_SEED").is_some();
    assert!(
        is_one_seed || lost > 0 && doubled > 0 && reordered > 0,
        "{lost} {doubled} {reordered}"
    );
}
