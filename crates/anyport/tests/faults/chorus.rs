//! Several threads send on one connection at the same time: each message leaves whole, and those of
//! one sender in their order.

use crate::message::{Checker, HEAD, Script};
use crate::world::{DEADLINE, builder, end_with_nothing_left, pair};
use anyport::fault_points::Armed;
use anyport::net::SocketHandle;
use anyport::{BackendKind, CompletionPort, OperationKind, WorkerPool};
use std::io::Read;
use std::sync::mpsc;

const SENDERS: u32 = 4;

const MESSAGES: u32 = 40;

/// The script of a sender; none has a large message or one too small to say whose it is.
fn script(sender: u32, seed: u64) -> Script {
    Script { connection: sender + 2, seed, messages: MESSAGES }
}

/// Runs it; panics with a diagnosis when something is wrong.
pub(crate) fn run(kind: BackendKind, seed: u64, armed: &Armed) {
    let port: CompletionPort<u32> =
        builder(kind).concurrency(2).build().expect("the backend is there");
    let (near, mut far) = pair();
    let handle: SocketHandle<u32> = port.associate(near, 1).expect("a new socket");
    // Often a message finds room for a part of it only. With less room each part would wait for the
    // other side's late acknowledgement.
    handle.set_send_buffer_size(128 << 10).expect("it is open");
    let (fails, failed) = mpsc::channel();
    let pool = {
        let handle = handle.clone();
        WorkerPool::builder(&port).threads(4).start(move |packet, worker| {
            if packet.kind != OperationKind::Posted {
                if let Err(error) = packet.result {
                    let _ = fails.send(format!("a send: {error}"));
                }
                return;
            }
            // The sender's next message, by whichever thread; and when it has started, the one after
            // it.
            let (sender, number) = (packet.key as u32, packet.context);
            let message = with_room(script(sender, seed), number);
            let started = match number % 4 {
                0 => handle.send(message, number),
                _ => handle.send_quiet(message, number),
            };
            if let Err(rejected) = started {
                let _ = fails.send(format!("a send is refused: {}", rejected.error));
            }
            if number + 1 < MESSAGES {
                worker.port().post(packet.key, 0, number + 1).expect("there is room");
            }
        })
    };
    let pool = pool.expect("threads are to be had");
    for sender in 0..SENDERS {
        port.post(sender as usize, 0, 0).expect("there is room");
    }
    let checked = check(&mut far, seed);
    if let Err(failure) = checked.and_then(|()| failed.try_recv().map_or(Ok(()), Err)) {
        let stats = port.stats();
        // Its threads may be stuck for good.
        std::mem::forget((pool, port, handle));
        panic!("{failure}\n{stats:?}\n{}", armed.report());
    }
    drop(handle);
    end_with_nothing_left(port, pool);
}

/// A message, or, of one too small to have a whole head, the head and it.
fn with_room(script: Script, number: u32) -> Vec<u8> {
    script.sized(number, script.size(number).max(HEAD))
}

/// Takes every message that comes; each must be its sender's next, to the last byte.
fn check(far: &mut std::net::TcpStream, seed: u64) -> Result<(), String> {
    far.set_read_timeout(Some(DEADLINE)).map_err(|error| error.to_string())?;
    let mut next = [0; SENDERS as usize];
    for _ in 0..SENDERS * MESSAGES {
        let mut head = [0; HEAD];
        far.read_exact(&mut head).map_err(|error| format!("no message: {error}: {next:?}"))?;
        let (number, sender) = Checker::name_of(&head);
        let place = next.get_mut(sender.wrapping_sub(2) as usize);
        let expected = match place {
            Some(place) if *place == number => {
                *place += 1;
                with_room(script(sender - 2, seed), number)
            }
            _ => return Err(format!("message {number} of sender {sender} at {next:?}")),
        };
        let mut message = vec![0; expected.len()];
        message[..HEAD].copy_from_slice(&head);
        far.read_exact(&mut message[HEAD..])
            .map_err(|error| format!("message {number} of {sender} has no end: {error}"))?;
        if let Some(at) = (0..message.len()).find(|&at| message[at] != expected[at]) {
            let size = message.len();
            return Err(format!("message {number} of {sender}, {size} bytes: wrong from {at}"));
        }
    }
    Ok(())
}
