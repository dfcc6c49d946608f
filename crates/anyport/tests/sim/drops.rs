//! Ports and handles dropped while operations of every sort are under way: everything that was given
//! up comes back, once, and nothing is written after it was given up.

use anyport::buf::{BufferPool, PoolOptions, SizeClass};
use anyport::fs::OpenOptions;
use anyport::net::{Socket, SocketHandle, listen};
use anyport::sim::{Disk, Link, Stream, System, World};
use anyport::{CompletionPort, PortBuilder};
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Counts those that exist.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Counted(Arc::clone(count))
    }
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        Self::new(&self.0)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn builder(seed: u64) -> PortBuilder {
    CompletionPort::<()>::builder()
        .concurrency(1 + (seed % 2) as usize)
        .pool(PoolOptions::new().quarantine(true))
}

/// Starts operations of every sort, some of which wait for ever.
fn start_everything(
    handle: &SocketHandle<Counted>,
    pool: &BufferPool,
    which: usize,
    context: impl Fn() -> Counted,
) {
    let buffer = || pool.take(SizeClass::Small4K).expect("within the bound");
    let _ = match which % 5 {
        0 => handle.receive(buffer(), context()).map(drop),
        1 => handle.receive_pooled(context()).map(drop),
        2 => handle.receive_stream(context()).map(drop),
        3 => handle.receive_ready(context()).map(drop),
        _ => handle.receive(Vec::<u8>::with_capacity(10), context()).map(drop),
    };
    for _ in 0..which % 4 {
        let mut bytes = buffer();
        bytes.extend_from_slice(&[7; 4096]);
        let _ = match which % 2 {
            0 => handle.send(bytes, context()).map(drop),
            _ => handle.send_quiet(bytes, context()).map(drop),
        };
    }
}

#[test]
fn whatever_is_dropped_when_comes_back_once() {
    World::check(600, |world| {
        let seed = world.seed();
        world.set_links(
            Link::new()
                .latency(Duration::ZERO..=Duration::from_millis(1))
                .window(6000)
                .ragged_segments(0.2)
                .resets(if seed.is_multiple_of(3) { 0.01 } else { 0.0 }),
        );
        world.set_system(
            System::new()
                .late_cancels(0.5)
                .tells_within(Duration::ZERO..=Duration::from_millis(2))
                .interruptions(0.05),
        );
        world.set_disk(Disk::new().latency(Duration::ZERO..=Duration::from_millis(20)));
        let contexts = Arc::new(AtomicUsize::new(0));
        let port: CompletionPort<Counted> = builder(seed).build().expect("a port");
        let pool = port.pool().clone();
        let path =
            std::env::temp_dir().join(format!("anyport-drops-{}-{seed}", std::process::id()));
        std::fs::write(&path, [1; 10_000]).expect("a file");
        let file = OpenOptions::new().read(true).open(&path).expect("open");
        std::fs::remove_file(&path).expect("it is there");
        let file = port.associate(file, 1).expect("associated");
        let address: SocketAddr = "10.0.0.1:80".parse().expect("an address");
        let listener = port.associate(listen(address).expect("a listener"), 2).expect("associated");
        listener.accept_stream(Counted::new(&contexts)).expect("started");
        let workers: Vec<_> = (0..seed % 4)
            .map(|_| {
                let (port, world) = (port.clone(), world.clone());
                world.clone().spawn("worker", move || {
                    let mut taken = 0;
                    while let Ok(packet) = port.get(None) {
                        taken += 1;
                        if taken % 7 == 0 {
                            world.sleep(Duration::from_millis(2));
                        }
                        drop(packet);
                    }
                })
            })
            .collect();
        let mut handles = Vec::new();
        let mut peers = Vec::new();
        for which in 0..6 {
            let socket = Socket::tcp_v4().expect("a socket");
            let handle = port.associate(socket, 3).expect("associated");
            let context = || Counted::new(&contexts);
            handle.connect(address, context()).expect("started");
            start_everything(&handle, &pool, which + seed as usize, context);
            handles.push(handle);
            let buffer = pool.take(SizeClass::Medium16K).expect("within the bound");
            file.read_at(buffer, 0, context()).expect("started");
            if which % 2 == 0 {
                // One that the listener takes, and nobody serves.
                peers.extend(Stream::connect(address));
            }
        }
        world.sleep(Duration::from_micros(seed * 37 % 5000));
        for peer in &mut peers {
            let _ = peer.write(b"into what is being dropped");
        }
        // In every order.
        let weak = port.clone();
        if !workers.is_empty() || seed.is_multiple_of(2) {
            port.close();
        }
        match seed % 3 {
            0 => drop((port, weak, handles, file, listener)),
            1 => drop((handles, listener, port, file, weak)),
            _ => drop((file, port, weak, listener, handles)),
        }
        for worker in workers {
            worker.join().expect("no panic");
        }
        world.sleep(Duration::from_secs(10));
        assert_eq!(contexts.load(Ordering::SeqCst), 0, "contexts are left");
        assert_eq!(pool.live(), 0, "buffers are left");
        drop(peers);
        assert_eq!(world.sockets(), 0, "a socket is left");
        pool.check_quarantine().expect("nothing was written after it was given up");
    });
}
