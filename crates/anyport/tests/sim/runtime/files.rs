//! Files of tasks on a disk that is slow, short and failing, and files sent on streams: what was
//! written is read, what is said is so, and a transmission that nobody waits for goes on.

use super::{CLIENT, Checked, SERVER, bytes, runtime, unsettled, winding};
use crate::choices::Choices;
use crate::files::TemporaryPath;
use anyport::ErrorKind;
use anyport::fs::OpenOptions;
use anyport::rt;
use anyport::rt::fs::File;
use anyport::rt::net::{TcpListener, TcpStream};
use anyport::rt::time::timeout;
use anyport::sim::{Disk, World};
use std::time::Duration;

/// The stream that a file holds.
const CONTENT: usize = 5;

const PART: usize = 700;

pub(super) fn parts(world: &World) {
    let mut choices = Choices::new(world.seed());
    let has_errors = choices.one_in(2);
    world.set_system(unsettled(&mut choices));
    let disk = || Disk::new().latency(Duration::ZERO..=Duration::from_millis(20));
    world.set_disk(disk().short_transfers(0.3).errors(if has_errors { 0.1 } else { 0.0 }));
    let runtime = runtime(&mut choices);
    let path = TemporaryPath::new();
    runtime.block_on(async {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true);
        let file = File::open_with(options, &path.0).await.expect("it is made");
        let writes: Vec<_> = (0..1 + choices.below(12))
            .map(|part| {
                let file = file.clone();
                let limit = choices.one_in(3).then(|| choices.time(Duration::from_millis(20)));
                rt::spawn(async move {
                    let at = part * PART;
                    let write = file.write_at(bytes(CONTENT, at, PART), at as u64);
                    let (result, buffers) = match limit {
                        None => write.await,
                        Some(limit) => match timeout(limit, write).await {
                            Ok(ended) => ended,
                            // It goes on, and nobody knows how it ends.
                            Err(_) => return None,
                        },
                    };
                    assert_eq!(buffers.total_len(), PART);
                    match result {
                        Ok(count) => assert_eq!(count, PART),
                        Err(error) => assert!(error.transferred() < PART),
                    }
                    Some(result.is_ok())
                })
            })
            .collect();
        let mut is_written = Vec::new();
        for write in writes {
            is_written.push(write.await.expect("it ends"));
        }
        assert!(has_errors || is_written.iter().all(|&is| is != Some(false)));
        file.sync_all().await.expect("it is on the disk");
        world.set_disk(disk());
        let reads: Vec<_> = (0..is_written.len())
            .map(|part| {
                let file = file.clone();
                let is_written = is_written[part] == Some(true);
                let limit = choices.time(Duration::from_millis(40));
                rt::spawn(async move {
                    let at = part * PART;
                    let room = Vec::with_capacity(PART);
                    let Ok((result, buffer)) = timeout(limit, file.read_at(room, at as u64)).await
                    else {
                        return;
                    };
                    assert_eq!(result, Ok(buffer.len()));
                    if is_written {
                        assert_eq!(buffer.as_slice(), bytes(CONTENT, at, PART));
                    }
                })
            })
            .collect();
        for read in reads {
            read.await.expect("it ends");
        }
        let length = file.metadata().await.expect("it is there").len();
        let last = is_written.iter().rposition(|&is| is == Some(true));
        assert!(length >= last.map_or(0, |last| (last + 1) * PART) as u64);
        let error = File::open(path.0.join("not there")).await.expect_err("nobody made it");
        assert!(matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Other), "{error}");
    });
}

#[test]
fn what_is_written_is_read() {
    World::check(400, parts);
}

pub(super) fn transmissions(world: &World) {
    let mut choices = Choices::new(world.seed());
    world.set_system(unsettled(&mut choices));
    world.set_links(winding(&mut choices));
    world.set_disk(
        Disk::new()
            .latency(Duration::ZERO..=Duration::from_millis(5))
            .short_transfers([0.0, 0.3][choices.below(2)]),
    );
    let length = [0, 1, 5000, 200_000][choices.below(4)];
    let path = TemporaryPath::new();
    std::fs::write(&path.0, bytes(CONTENT, 0, length)).expect("a file");
    let server = world.on_host(SERVER, || runtime(&mut choices));
    let client = world.on_host(CLIENT, || runtime(&mut choices));
    let listener = server.block_on(TcpListener::bind("10.0.0.1:80")).expect("a listener");
    let (name, mut own) = (path.0.clone(), choices.split());
    let sending = server.spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let file = File::open(name).await.expect("it is there");
        let mut at = 0;
        while at < length {
            let count = (1 + own.below(length.min(90_000))).min(length - at);
            let part = bytes(CONTENT, at, count);
            match own.below(4) {
                0 => stream.send(part).await.expect("handed over"),
                1 => assert_eq!(stream.write(part).await.0, Ok(count)),
                choice => {
                    let rest = (count == length - at && own.one_in(2)).then_some(());
                    let range = if rest.is_some() { None } else { Some(count as u64) };
                    let sends = stream.send_file(&file, at as u64, range);
                    match choice {
                        2 => assert_eq!(sends.await, Ok(count)),
                        // It goes on when nobody waits any more.
                        _ => {
                            let limit = own.time(Duration::from_millis(5));
                            let ended = timeout(limit, sends).await;
                            assert!(ended.is_err() || ended == Ok(Ok(count)));
                        }
                    }
                }
            }
            at += count;
        }
        stream.shutdown().await.expect("all is sent");
        // Packets of operations that nobody waits for may be others' to count.
        while stream.bytes_sent() < length as u64 {
            rt::yield_now().await;
        }
        assert_eq!(stream.bytes_sent(), length as u64);
    });
    client.block_on(async {
        let mut stream = TcpStream::connect("10.0.0.1:80").await.expect("connected");
        let mut checked = Checked::new(CONTENT);
        loop {
            let received = stream.recv().await.expect("it comes");
            if received.is_empty() {
                break;
            }
            checked.take(received.as_slice());
        }
        assert_eq!(checked.position, length);
    });
    server.block_on(sending).expect("it ends");
    for runtime in [client, server] {
        let report = runtime.shut_down(Duration::from_secs(10));
        assert_eq!((report.tasks_left, report.operations_left), (0, 0));
    }
}

#[test]
fn files_are_sent_between_other_bytes() {
    World::check(200, transmissions);
}
