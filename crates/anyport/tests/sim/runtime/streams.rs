//! Checked bytes both ways on streams whose futures are dropped again and again, on links that are
//! slow, narrow, cut, reset or gone: what comes is what went, in order and once, or the stream says
//! that it failed.

use super::{CLIENT, Checked, SERVER, bytes, runtime, unsettled, winding};
use crate::choices::Choices;
use anyport::buf::Buffer;
use anyport::rt::net::{OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream};
use anyport::rt::time::timeout;
use anyport::rt::{self, Runtime};
use anyport::sim::World;
use anyport::{Error, ErrorKind};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    None,
    Resets,
    Partition,
    LostHost,
}

/// How long somebody waits before he gives up, and begins anew.
struct Patience {
    choices: Choices,
    times: u32,
}

impl Patience {
    fn new(choices: Choices) -> Self {
        Patience { choices, times: 0 }
    }

    /// Waits for `future`, or for less: then it is dropped.
    async fn wait<F: Future>(&mut self, future: F) -> Option<F::Output> {
        if self.choices.one_in(60) {
            // Blocks its worker: another takes the place.
            let world = World::current().expect("a task is in the world");
            world.sleep(self.choices.time(Duration::from_millis(3)));
        }
        let longest = Duration::from_micros(300) * (1 << self.times);
        match timeout(self.choices.time(longest), future).await {
            Ok(output) => {
                self.times = 0;
                Some(output)
            }
            Err(_) => {
                // Up to twenty seconds: nobody looks every moment for minutes.
                self.times = (self.times + 1).min(16);
                None
            }
        }
    }
}

/// What one end of a connection sends.
struct Sends {
    stream: usize,
    position: usize,
    total: usize,
    patience: Patience,
}

/// What one end of a connection receives.
struct Receives {
    checked: Checked,
    patience: Patience,
}

/// The steps of both sides, which a stream and its halves have under the same names.
macro_rules! steps {
    ($send:ident($Writer:ty), $receive:ident($Reader:ty)) => {
        /// Sends something more, or gives it up; true when the side has ended.
        async fn $send(writer: &mut $Writer, sends: &mut Sends) -> Result<bool, Error> {
            let Sends { stream, position, total, patience } = sends;
            // And the byte that says whose it is.
            assert!(writer.bytes_sent() <= *position as u64 + 1);
            if position == total {
                // Given up it goes on all the same.
                return patience.wait(writer.shutdown()).await.unwrap_or(Ok(())).map(|()| true);
            }
            let longest = [10, 700, 9000][patience.choices.below(3)];
            let count = (1 + patience.choices.below(longest)).min(*total - *position);
            let next = bytes(*stream, *position, count);
            let from = *position;
            // If it fails a part may have gone.
            *position += count;
            match patience.choices.below(8) {
                0..=2 => match patience.wait(writer.send(next)).await {
                    Some(result) => result?,
                    // All or nothing.
                    None => *position = from,
                },
                3 => {
                    let (a, b) = next.split_at(count / 2);
                    let parts = vec![Buffer::from(a.to_vec()), Buffer::from(b.to_vec())];
                    match patience.wait(writer.send(parts)).await {
                        Some(result) => result?,
                        None => *position = from,
                    }
                }
                4..=6 => {
                    // It goes on when nobody waits any more.
                    if let Some((result, buffers)) = patience.wait(writer.write(next)).await {
                        assert_eq!(buffers.total_len(), count);
                        assert_eq!(result?, count);
                    }
                }
                _ => {
                    *position = from;
                    if let Some(result) = patience.wait(writer.flush()).await {
                        result?;
                    }
                }
            }
            Ok(false)
        }

        /// Receives something more, or gives it up; true at the end.
        async fn $receive(reader: &mut $Reader, receives: &mut Receives) -> Result<bool, Error> {
            let Receives { checked, patience } = receives;
            let most = [1, 100, 5000][patience.choices.below(3)];
            let room = 1 + patience.choices.below(most);
            match patience.choices.below(6) {
                0 | 1 => match patience.wait(reader.recv()).await {
                    Some(received) => {
                        let received = received?;
                        checked.take(received.as_slice());
                        Ok(received.is_empty())
                    }
                    None => Ok(false),
                },
                choice @ 2..=4 => {
                    let buffer = match choice {
                        2 => Buffer::from(vec![0; room].into_boxed_slice()),
                        _ => Buffer::from(Vec::with_capacity(room)),
                    };
                    match patience.wait(reader.read(buffer)).await {
                        Some((result, buffer)) => {
                            let count = result?;
                            checked.take(&buffer.as_slice()[..count]);
                            Ok(count == 0)
                        }
                        None => Ok(false),
                    }
                }
                _ => {
                    let mut out = vec![0; room];
                    if let Some(result) = patience.wait(reader.peek(&mut out)).await {
                        let count = result?;
                        checked.look_at(&out[..count]);
                        return Ok(count == 0);
                    }
                    Ok(false)
                }
            }
        }
    };
}

steps!(send_half(OwnedWriteHalf), receive_half(OwnedReadHalf));
steps!(send_whole(TcpStream), receive_whole(TcpStream));

/// How far one end of a connection came, each way.
#[derive(Clone, Copy, Debug)]
struct Came {
    sent: usize,
    received: usize,
    result: Result<(), Error>,
}

/// Where the ends note how far they came, by connection; the client's first.
type Notes = Arc<Mutex<BTreeMap<(usize, bool), Came>>>;

struct End {
    connection: usize,
    is_server: bool,
    sends: Sends,
    receives: Receives,
    notes: Notes,
}

impl End {
    fn new(
        connection: usize,
        is_server: bool,
        total: usize,
        mut choices: Choices,
        notes: Notes,
    ) -> Self {
        let stream = 2 * connection + usize::from(is_server);
        let sends = Sends { stream, position: 0, total, patience: Patience::new(choices.split()) };
        let checked = Checked::new(stream ^ 1);
        let receives = Receives { checked, patience: Patience::new(choices) };
        End { connection, is_server, sends, receives, notes }
    }

    /// Both ways to the end of both, or to a failure.
    async fn exchange(mut self, mut stream: TcpStream) {
        let result = match self.receives.patience.choices.below(3) {
            0 => self.alternate(&mut stream).await,
            _ => self.side_by_side(stream).await,
        };
        let came =
            Came { sent: self.sends.position, received: self.receives.checked.position, result };
        self.notes.lock().expect("no panic").insert((self.connection, self.is_server), came);
    }

    async fn alternate(&mut self, stream: &mut TcpStream) -> Result<(), Error> {
        let (mut has_sent, mut has_received) = (false, false);
        while !has_sent || !has_received {
            if !has_sent {
                has_sent = send_whole(stream, &mut self.sends).await?;
            }
            if !has_received {
                has_received = receive_whole(stream, &mut self.receives).await?;
            }
        }
        Ok(())
    }

    async fn side_by_side(&mut self, stream: TcpStream) -> Result<(), Error> {
        let (mut reader, mut writer) = stream.into_split();
        let nothing = || Patience::new(Choices::new(0));
        let empty = Sends { stream: 0, position: 0, total: 0, patience: nothing() };
        let mut sends = std::mem::replace(&mut self.sends, empty);
        let sending = rt::spawn(async move {
            let result = loop {
                match send_half(&mut writer, &mut sends).await {
                    Ok(false) => {}
                    Ok(true) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            (result, sends)
        });
        let received = loop {
            match receive_half(&mut reader, &mut self.receives).await {
                Ok(false) => {}
                Ok(true) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if received.is_err() {
            // A peer that is gone takes nothing.
            drop(reader);
        }
        let (sent, sends) = sending.await.expect("it does not panic");
        self.sends = sends;
        received.and(sent)
    }
}

/// Accepts, with waits that are given up, and serves each connection by a task.
async fn serve(listener: TcpListener, total: usize, mut choices: Choices, notes: Notes) {
    let mut patience = Patience::new(choices.split());
    loop {
        let Some(accepted) = patience.wait(listener.accept()).await else { continue };
        let (mut stream, _) = accepted.expect("a connection");
        let (choices, notes) = (choices.split(), Arc::clone(&notes));
        rt::spawn(async move {
            // Whose it is. A client may have given it up.
            let mut patience = Patience::new(Choices::new(1));
            let number = loop {
                match patience.wait(stream.read(Vec::with_capacity(1))).await {
                    Some((Ok(1), buffer)) => break usize::from(buffer.as_slice()[0]),
                    Some(_) => return,
                    None => {}
                }
            };
            End::new(number, true, total, choices, notes).exchange(stream).await;
        })
        .detach();
    }
}

async fn ask(address: SocketAddr, number: usize, total: usize, mut choices: Choices, notes: Notes) {
    let mut patience = Patience::new(choices.split());
    let connected = loop {
        match patience.wait(TcpStream::connect(address)).await {
            Some(Ok(stream)) => break Ok(stream),
            Some(Err(error)) => break Err(error),
            None => {}
        }
    };
    let hello = match connected {
        Ok(mut stream) => match stream.send(vec![number as u8]).await {
            Ok(()) => Ok(stream),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    match hello {
        Ok(stream) => End::new(number, false, total, choices, notes).exchange(stream).await,
        Err(error) => {
            let came = Came { sent: 0, received: 0, result: Err(error) };
            notes.lock().expect("no panic").insert((number, false), came);
        }
    }
}

pub(super) fn streams(world: &World) {
    let mut choices = Choices::new(world.seed());
    let faults = [Fault::None, Fault::None, Fault::Resets, Fault::Partition, Fault::LostHost];
    let fault = faults[choices.below(5)];
    world.set_system(unsettled(&mut choices));
    let resets = if fault == Fault::Resets { 0.01 } else { 0.0 };
    world.set_links(winding(&mut choices).resets(resets));
    let total = [0, 300, 3000, 20_000][choices.below(4)];
    let server: Runtime = world.on_host(SERVER, || runtime(&mut choices));
    let client: Runtime = world.on_host(CLIENT, || runtime(&mut choices));
    let notes = Notes::default();
    let address = SocketAddr::new(SERVER, 80);
    let listener = server.block_on(TcpListener::bind(address)).expect("a listener");
    let serving = server.spawn(serve(listener, total, choices.split(), Arc::clone(&notes)));
    let connections = 1 + choices.below(4);
    let asking: Vec<_> = (0..connections)
        .map(|number| {
            client.spawn(ask(address, number, total, choices.split(), Arc::clone(&notes)))
        })
        .collect();
    world.sleep(choices.time(Duration::from_millis(20)));
    match fault {
        Fault::Partition => {
            world.cut(CLIENT, SERVER);
            world.sleep(Duration::from_secs([1, 100][choices.below(2)]));
            world.mend(CLIENT, SERVER);
        }
        Fault::LostHost => world.lose_host(SERVER),
        Fault::None | Fault::Resets => {}
    }
    // Whoever only receives never learns that the other end is gone.
    let is_over = |notes: &Notes| notes.lock().expect("no panic").len() == 2 * connections;
    let deadline = world.now() + Duration::from_secs(400);
    while !is_over(&notes) && world.now() < deadline {
        world.sleep(Duration::from_millis(500));
        if fault != Fault::None && asking.iter().all(|task| task.is_finished()) {
            break;
        }
    }
    let came = notes.lock().expect("no panic").clone();
    if fault == Fault::None {
        assert!(is_over(&notes), "it never ends: {came:?}");
        for (&(connection, is_server), came) in &came {
            let at = (connection, is_server);
            assert_eq!(came.result, Ok(()), "{at:?}");
            assert_eq!((came.sent, came.received), (total, total), "{at:?}");
        }
    }
    for (&(connection, is_server), here) in &came {
        if let Some(there) = came.get(&(connection, !is_server)) {
            assert!(here.received <= there.sent, "{connection}: more than was sent");
        }
        if let Err(error) = here.result {
            let kind = error.kind();
            let is_known = matches!(
                kind,
                ErrorKind::Reset
                    | ErrorKind::TimedOut
                    | ErrorKind::ShutDown
                    | ErrorKind::NotConnected
            );
            assert!(is_known, "{connection}: {error}");
        }
    }
    serving.abort();
    for runtime in [client, server] {
        let report = runtime.shut_down(Duration::from_secs(100));
        let left = (report.tasks_left, report.blocking_left);
        assert_eq!(left, (0, 0));
        assert!(fault != Fault::None || report.operations_left == 0);
    }
    drop((serving, asking));
    // What a host that was cut off has not heard of ends later, by itself.
    world.sleep(Duration::from_secs(100));
    assert_eq!(world.sockets(), 0, "a socket is open");
}

#[test]
fn bytes_come_in_order_and_once_whatever_is_given_up() {
    World::check(500, streams);
}
