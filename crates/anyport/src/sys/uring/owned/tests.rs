//! What an owned lane promises, each thread of it in the hands of the test.

use super::translate::word_of;
use super::*;

use crate::buf::PoolOptions;
use crate::sys::{Outcome, RequestKind};
use io_uring::opcode;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;

const CLASS: SizeClass = SizeClass::Small4K;
const REQUEST: RequestKind = RequestKind::ReceivePooled(CLASS);

fn lane() -> (OwnedLane, BufferPool) {
    let options = RingOptions {
        submission_entries: 8,
        completion_entries: 16,
        provided_bytes_max: 64 * CLASS.bytes(),
    };
    (OwnedLane::new(options), BufferPool::new(PoolOptions::new()))
}

fn token(number: u32) -> Token {
    Token::new(number, 1)
}

/// How many requests of a handle were disowned.
fn count() -> Arc<AtomicUsize> {
    Arc::default()
}

/// Stages a receive stream on this socket.
fn stage_receive(lane: &OwnedLane, socket: &impl AsRawFd, token: Token) {
    assert!(lane.lends(CLASS));
    let receive = opcode::RecvMulti::new(types::Fd(socket.as_raw_fd()), translate::group_id(CLASS));
    let word = word_of(REQUEST, token, true);
    // SAFETY: the entry names no memory.
    unsafe { lane.push(receive.build().user_data(word)) };
}

/// Stages one receive on this socket.
fn stage_one_receive(lane: &OwnedLane, socket: &impl AsRawFd, token: Token) {
    assert!(lane.lends(CLASS));
    let receive = opcode::Recv::new(types::Fd(socket.as_raw_fd()), std::ptr::null_mut(), 0);
    let receive = receive.buf_group(translate::group_id(CLASS)).build();
    let word = word_of(REQUEST, token, true);
    // SAFETY: the entry names no memory.
    unsafe { lane.push(receive.flags(squeue::Flags::BUFFER_SELECT).user_data(word)) };
}

fn events(lane: &OwnedLane, pool: &BufferPool) -> Vec<Event> {
    let bell = Bell::new().expect("a ring");
    let mut events = VecDeque::new();
    lane.reap(&mut events, usize::MAX, pool, &bell, |_| {});
    events.into()
}

/// Does `f` on another thread.
fn elsewhere<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| scope.spawn(f).join().expect("no panic"))
}

#[test]
fn what_is_staged_reaches_the_kernel_when_the_owner_flushes() {
    let (lane, pool) = lane();
    assert!(lane.adopt().expect("a ring"));
    let (near, mut far) = UnixStream::pair().expect("a pair");
    stage_receive(&lane, &near, token(1));
    assert!(lane.has_unsubmitted());
    lane.flush(&pool);
    assert!(!lane.has_unsubmitted());
    far.write_all(b"data").expect("sent");
    lane.wait(Some(Duration::from_secs(10)), &pool);
    let events = events(&lane, &pool);
    let [Event { outcome: Outcome::Pooled(buffer), more: true, .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(&buffer[..], b"data");
}

#[test]
fn what_is_staged_and_taken_over_is_not_submitted() {
    let (lane, pool) = lane();
    assert!(lane.adopt().expect("a ring"));
    let (near, mut far) = UnixStream::pair().expect("a pair");
    stage_receive(&lane, &near, token(1));
    let taken = elsewhere(|| lane.take_over().expect("the owner is not at it").take_staged());
    assert_eq!(taken, [token(1)]);
    // Staged by the owner's handler while it was being taken over.
    stage_receive(&lane, &near, token(2));
    elsewhere(|| {
        lane.take_over().expect("the owner is not at it").disown(REQUEST, token(2), &count())
    });
    assert!(lane.completions.lock().disowned.is_empty());
    far.write_all(b"data").expect("sent");
    lane.flush(&pool);
    assert!(events(&lane, &pool).is_empty());
}

#[test]
fn a_disowned_receive_receives_nothing_even_if_something_had_come() {
    let (lane, pool) = lane();
    assert!(lane.adopt().expect("a ring"));
    let count = count();
    for round in 0..200 {
        let (mut near, mut far) = UnixStream::pair().expect("a pair");
        stage_receive(&lane, &near, token(round));
        lane.flush(&pool);
        if round % 2 == 0 {
            far.write_all(b"early").expect("sent");
        }
        elsewhere(|| {
            lane.take_over().expect("the owner is away").disown(REQUEST, token(round), &count)
        });
        if round % 2 == 1 {
            far.write_all(b"later").expect("sent");
        }
        if round % 3 == 0 {
            lane.wait(Some(Duration::from_secs(10)), &pool);
        } else {
            lane.flush(&pool);
        }
        assert!(events(&lane, &pool).is_empty(), "its completion is swallowed");
        assert!(lane.completions.lock().disowned.is_empty());
        assert_eq!(count.load(Ordering::Relaxed), 0, "the kernel has let go");
        let mut bytes = [0; 5];
        near.set_nonblocking(true).expect("a socket");
        near.read_exact(&mut bytes).expect("all of it is still there");
        // The same name again is another request.
        stage_receive(&lane, &near, token(round));
        far.write_all(b"again").expect("sent");
        lane.flush(&pool);
        let events = events(&lane, &pool);
        assert!(matches!(&events[..], [Event { outcome: Outcome::Pooled(_), .. }]), "{events:?}");
        drop(far);
        // The end is the stream's last completion.
        while !self::events(&lane, &pool).iter().any(|event| !event.more) {
            lane.wait(Some(Duration::from_secs(10)), &pool);
        }
    }
}

/// Waits until the socket has something of this sort.
fn wait_for(socket: &TcpStream, sort: libc::c_short) {
    let mut entry = libc::pollfd { fd: socket.as_raw_fd(), events: sort, revents: 0 };
    // SAFETY: one entry, which is writable.
    let ready = unsafe { libc::poll(&mut entry, 1, 10_000) };
    assert_eq!(ready, 1, "it comes");
}

/// Leaves a message in the queue of errors, so that waits find the socket ready and receives find nothing.
fn leave_time_stamp(socket: &mut TcpStream) {
    let wanted = libc::SOF_TIMESTAMPING_TX_SCHED | libc::SOF_TIMESTAMPING_SOFTWARE;
    // SAFETY: the option's value is one number, of the size that is said.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPING,
            (&raw const wanted).cast(),
            size_of_val(&wanted) as libc::socklen_t,
        )
    };
    assert_eq!(result, 0, "every kernel has it");
    socket.write_all(b"x").expect("sent");
    wait_for(socket, libc::POLLERR);
}

/// Takes that message.
fn take_time_stamp(socket: &TcpStream) {
    let mut byte = 0u8;
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    // SAFETY: the memory is one byte, as said.
    let result = unsafe { libc::recv(socket.as_raw_fd(), (&raw mut byte).cast(), 1, flags) };
    assert_ne!(result, -1, "it is there");
}

#[test]
fn what_the_kernel_is_about_to_receive_is_not_taken_over() {
    let (lane, pool) = lane();
    assert!(lane.adopt().expect("a ring"));
    let count = count();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
    for round in 0..20 {
        let mut far = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (mut near, _) = listener.accept().expect("it comes");
        // The receive finds nothing, and the look at the socket that follows finds it ready: the kernel
        // is about to try again, and a cancel does not find it. So it is for a moment when bytes come
        // between the two; here it stays so.
        leave_time_stamp(&mut near);
        stage_one_receive(&lane, &near, token(round));
        lane.flush(&pool);
        assert!(elsewhere(|| lane.take_over().is_none()), "only the owner can bring it forward");
        if round % 2 == 0 {
            far.write_all(b"data").expect("sent");
            let event = loop {
                lane.wait(Some(Duration::from_secs(10)), &pool);
                if let Some(event) = events(&lane, &pool).pop() {
                    break event;
                }
            };
            let Outcome::Pooled(buffer) = event.outcome else { panic!("{event:?}") };
            assert_eq!(&buffer[..], b"data");
        } else {
            take_time_stamp(&near);
            lane.flush(&pool);
            elsewhere(|| {
                let mut taking = lane.take_over().expect("it waits for the socket now");
                taking.disown(REQUEST, token(round), &count);
            });
            far.write_all(b"data").expect("sent");
            wait_for(&near, libc::POLLIN);
            lane.flush(&pool);
            assert!(events(&lane, &pool).is_empty(), "its completion is swallowed");
            near.set_nonblocking(true).expect("a socket");
            let mut bytes = [0; 4];
            near.read_exact(&mut bytes).expect("all of it is still there");
            assert_eq!(&bytes, b"data");
        }
        assert!(lane.completions.lock().disowned.is_empty());
    }
}

#[test]
fn an_owner_that_sleeps_in_the_kernel_is_not_taken_over_and_can_be_woken() {
    let (lane, pool) = lane();
    let bell = Bell::new().expect("a ring");
    let (adopted, is_adopted) = mpsc::channel();
    thread::scope(|scope| {
        let lane = &lane;
        scope.spawn(move || {
            assert!(lane.adopt().expect("a ring"));
            adopted.send(()).expect("it is awaited");
            lane.wait(None, &pool);
        });
        is_adopted.recv().expect("it begins");
        while lane.take_over().is_some() {
            thread::yield_now();
        }
        assert!(lane.take_over().is_none());
        lane.wake(&bell);
    });
    assert!(lane.take_over().is_some(), "it is back, and its ring is there");
    assert!(!lane.adopt().expect("no ring is made"), "it was not retired");
}

#[test]
fn a_lane_that_was_retired_has_another_owner() {
    let (lane, pool) = lane();
    let (near, mut far) = UnixStream::pair().expect("a pair");
    elsewhere(|| {
        assert!(lane.adopt().expect("a ring"));
        stage_receive(&lane, &near, token(1));
        lane.flush(&pool);
        lane.take_over().expect("nobody is in the kernel").disown(REQUEST, token(1), &count());
        lane.retire(&pool);
    });
    assert!(!lane.has_requests());
    far.write_all(b"data").expect("sent");
    assert!(lane.adopt().expect("a ring"));
    stage_receive(&lane, &near, token(1));
    lane.flush(&pool);
    assert_eq!(events(&lane, &pool).len(), 1);
    drop(lane);
}

#[test]
fn what_a_ring_was_lent_comes_back_when_its_owner_ends_after_the_lane() {
    let (lane, pool) = lane();
    let (near, mut far) = UnixStream::pair().expect("a pair");
    let (sender, lanes) = mpsc::channel();
    let (end, may_end) = mpsc::channel::<()>();
    let owner = {
        let (near, pool) = (near.try_clone().expect("a descriptor"), pool.clone());
        thread::spawn(move || {
            assert!(lane.adopt().expect("a ring"));
            stage_receive(&lane, &near, token(1));
            lane.flush(&pool);
            sender.send(lane).expect("it is awaited");
            may_end.recv().expect("it is told");
        })
    };
    let lane = lanes.recv().expect("it comes");
    lane.take_over().expect("the owner is away").disown(REQUEST, token(1), &count());
    drop(lane);
    assert!(pool.live() > 0, "the kernel may still write to them");
    far.write_all(b"data").expect("sent");
    end.send(()).expect("it waits");
    owner.join().expect("it ends");
    assert_eq!(pool.live(), 0);
    let mut bytes = [0; 4];
    (&near).read_exact(&mut bytes).expect("nothing was taken");
}

#[test]
fn more_disowned_requests_than_the_queue_has_entries_receive_nothing() {
    const SOCKETS: usize = 40;
    let (lane, pool) = lane();
    assert!(lane.adopt().expect("a ring"));
    let pairs: Vec<_> = (0..SOCKETS).map(|_| UnixStream::pair().expect("a pair")).collect();
    for (number, (near, _)) in pairs.iter().enumerate() {
        stage_receive(&lane, near, token(number as u32));
    }
    lane.flush(&pool);
    for (_, far) in &pairs {
        (&*far).write_all(b"data").expect("sent");
    }
    elsewhere(|| {
        let mut taking = lane.take_over().expect("the owner is away");
        (0..SOCKETS).for_each(|number| taking.disown(REQUEST, token(number as u32), &count()));
    });
    lane.flush(&pool);
    assert!(events(&lane, &pool).is_empty());
    for (near, _) in &pairs {
        near.set_nonblocking(true).expect("a socket");
        let mut bytes = [0; 4];
        (&*near).read_exact(&mut bytes).expect("all of it is still there");
    }
}

#[test]
fn the_owner_leaves_the_kernel_with_every_completion() {
    const SOCKETS: usize = 40;
    let (lane, pool) = lane();
    assert!(lane.adopt().expect("a ring"));
    let pairs: Vec<_> = (0..SOCKETS).map(|_| UnixStream::pair().expect("a pair")).collect();
    for (number, (near, far)) in pairs.iter().enumerate() {
        (&*far).write_all(b"data").expect("sent");
        stage_receive(&lane, near, token(number as u32));
    }
    // More completions at once than the queue has room for.
    lane.flush(&pool);
    let taking = lane.take_over().expect("nothing is kept back");
    assert_eq!(events(&lane, &pool).len(), SOCKETS);
    drop(taking);
}

#[test]
fn what_is_staged_for_a_lane_without_an_owner_can_be_taken_over() {
    let (lane, _pool) = lane();
    let (near, _far) = UnixStream::pair().expect("a pair");
    stage_receive(&lane, &near, token(1));
    assert!(lane.has_requests() && lane.has_unattended_work());
    assert_eq!(lane.take_over().expect("no owner is at it").take_staged(), [token(1)]);
    assert!(!lane.has_requests());
}
