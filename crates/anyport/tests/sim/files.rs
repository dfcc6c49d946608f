//! Files on a disk that is slow, short of room or failing: each operation has its packet, and what
//! it says is so.

use anyport::fs::OpenOptions;
use anyport::sim::{Disk, System, World};
use anyport::{CompletionPort, ErrorKind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A path that goes with this.
pub(crate) struct TemporaryPath(pub(crate) PathBuf);

impl TemporaryPath {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("anyport-sim-{}-{number}", std::process::id());
        TemporaryPath(std::env::temp_dir().join(name))
    }
}

impl Drop for TemporaryPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn block(number: usize) -> Vec<u8> {
    (0..1000).map(|place| (number * 7 + place) as u8).collect()
}

#[test]
fn writes_and_reads_on_a_bad_disk_do_what_they_say() {
    const BLOCKS: usize = 20;
    World::check(200, |world| {
        let has_errors = world.seed().is_multiple_of(2);
        let latency = Duration::ZERO..=Duration::from_secs(2);
        let errors = if has_errors { 0.1 } else { 0.0 };
        world.set_disk(Disk::new().latency(latency).short_transfers(0.3).errors(errors));
        world.set_system(System::new().late_cancels(0.5));
        let path = TemporaryPath::new();
        let port: CompletionPort<usize> = CompletionPort::new(1).expect("a port");
        let file = OpenOptions::new().read(true).write(true).create(true).open(&path.0);
        let file = port.associate(file.expect("a file"), 1).expect("associated");
        for number in 0..BLOCKS {
            file.write_at(block(number), number as u64 * 1000, number).expect("started");
        }
        let mut is_written = [false; BLOCKS];
        for _ in 0..BLOCKS {
            let packet = port.get(None).expect("a packet");
            is_written[packet.context] = match packet.result {
                Ok(bytes) => bytes == 1000,
                Err(e) => {
                    assert!(has_errors, "{e}");
                    assert!(e.transferred() < 1000);
                    false
                }
            };
        }
        assert!(has_errors || is_written.iter().all(|&is| is));
        world.set_disk(Disk::new().latency(Duration::ZERO..=Duration::from_secs(2)));
        let cancelled: Vec<_> = (0..BLOCKS)
            .filter(|&number| is_written[number])
            .map(|number| {
                let room = Vec::<u8>::with_capacity(1000);
                let read = file.read_at(room, number as u64 * 1000, number).expect("started");
                number % 3 == 0 && file.cancel(read).is_ok()
            })
            .collect();
        let mut left = cancelled.len();
        while left > 0 {
            let packet = port.get(None).expect("a packet");
            left -= 1;
            match packet.result {
                // Late: the read was faster.
                Ok(bytes) => {
                    assert_eq!(bytes, 1000);
                    let read: Vec<u8> =
                        packet.buffers.iter().flat_map(|b| b.as_slice().iter().copied()).collect();
                    assert_eq!(read, block(packet.context));
                }
                Err(e) => {
                    assert_eq!(e.kind(), ErrorKind::Cancelled);
                    assert_eq!(packet.context % 3, 0);
                }
            }
        }
        assert_eq!(port.stats().operations_live, 0);
    });
}

#[test]
fn a_disk_that_is_full_is_an_error_that_tells_how_much_was_written() {
    World::check(50, |world| {
        world.set_disk(Disk::new().space(Some(2500)));
        let path = TemporaryPath::new();
        let port: CompletionPort<usize> = CompletionPort::new(1).expect("a port");
        let file = OpenOptions::new().write(true).create(true).open(&path.0).expect("a file");
        let file = port.associate(file, 1).expect("associated");
        let mut written = 0;
        for number in 0..3 {
            file.write_at(block(number), number as u64 * 1000, number).expect("started");
            let packet = port.get(None).expect("a packet");
            written += match packet.result {
                Ok(bytes) => bytes,
                Err(e) => {
                    assert_eq!((number, e.kind()), (2, ErrorKind::NoSpace));
                    e.transferred()
                }
            };
        }
        assert_eq!(written, 2500);
    });
}
