//! Listeners with options: several at one address, and what is set before they listen.

use super::world::{any_local, connect, is_of_no_system, runtime, wait_until};
use anyport::net::{ListenOptions, Socket};
use anyport::rt;
use anyport::rt::net::TcpListener;
use anyport::{BackendKind, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(crate) fn several_listeners_share_the_connections_of_an_address(kind: BackendKind) {
    if is_of_no_system(kind) {
        return;
    }
    const LISTENERS: usize = 4;
    const CONNECTIONS: usize = 200;
    let runtime = runtime(kind);
    runtime.block_on(async {
        let options = ListenOptions::new().reuse_port(true);
        let first = match TcpListener::bind_with(options, any_local()).await {
            Ok(first) => first,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
                assert!(error.to_string().contains("spreads no connections"), "{error}");
                return println!("not run: {error}");
            }
        };
        let address = first.local_addr().expect("its address");
        let alone = TcpListener::bind(address).await.expect_err("it does not share");
        assert_eq!(alone.kind(), ErrorKind::AddressInUse);
        let mut listeners = vec![first];
        while listeners.len() < LISTENERS {
            let next = TcpListener::bind_with(options, address).await;
            listeners.push(next.expect("the address is shared"));
        }
        let counts: Arc<[AtomicUsize; LISTENERS]> = Arc::default();
        let accepting: Vec<_> = listeners
            .into_iter()
            .enumerate()
            .map(|(i, listener)| {
                let counts = Arc::clone(&counts);
                rt::spawn(async move {
                    loop {
                        let (mut stream, _) = listener.accept().await.expect("a connection");
                        counts[i].fetch_add(1, Ordering::Relaxed);
                        rt::spawn(async move { stream.recv().await }).detach();
                    }
                })
            })
            .collect();
        let clients: Vec<_> = (0..CONNECTIONS).map(|_| connect(address)).collect();
        let count = |i: usize| counts[i].load(Ordering::Relaxed);
        wait_until("each is accepted", || (0..LISTENERS).map(count).sum::<usize>() == CONNECTIONS);
        // By a hash of their addresses: that all go to one does not happen.
        assert!((0..LISTENERS).filter(|&i| count(i) > 0).count() > 1);
        for task in accepting {
            task.abort();
        }
        drop(clients);
    });
}

pub(crate) fn an_address_is_reused_when_that_is_asked_for(kind: BackendKind) {
    if is_of_no_system(kind) {
        return;
    }
    if !cfg!(target_os = "linux") {
        println!("not run: what address reuse permits differs");
        return;
    }
    let runtime = runtime(kind);
    runtime.block_on(async {
        // Bound, and does not listen.
        let other = Socket::tcp_v4().expect("a socket");
        other.set_reuse_address(true).expect("it can be set");
        other.bind(any_local()).expect("bound");
        let address = other.local_addr().expect("bound");
        let options = ListenOptions::new().backlog(1);
        let refused = TcpListener::bind_with(options.reuse_address(false), address).await;
        assert_eq!(refused.expect_err("it is in use").kind(), ErrorKind::AddressInUse);
        let listener = TcpListener::bind_with(options, address).await.expect("it is reused");
        let client = connect(address);
        let (_, peer) = listener.accept().await.expect("a connection");
        assert_eq!(peer, client.local_addr().expect("connected"));
    });
}

pub(crate) fn a_listener_for_ipv6_leaves_ipv4_alone_when_that_is_asked_for(kind: BackendKind) {
    let runtime = runtime(kind);
    runtime.block_on(async {
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let options = ListenOptions::new().only_v6(true);
        let listener = match TcpListener::bind_with(options, any).await {
            Ok(listener) => listener,
            Err(e) => return println!("not run: this machine has no IPv6: {e}"),
        };
        let port = listener.local_addr().expect("bound").port();
        // Whose port it is for IPv4 is another matter.
        let beside = TcpListener::bind((Ipv4Addr::UNSPECIFIED.to_string(), port)).await;
        if let Err(error) = &beside {
            assert_eq!(error.kind(), ErrorKind::AddressInUse, "somebody else was there before");
            return;
        }
        drop(listener);
        // Of IPv4 it says nothing.
        TcpListener::bind_with(options, any_local()).await.expect("a listener");
    });
}
