//! A process that may not use io_uring, as in most containers: the port says so and works all the
//! same, and what was forced and is not to be had is a clear error.
//!
//! Each test runs again in a child process of its own, which first installs a filter that refuses
//! the system call: a filter is for life, and other tests shall not have it.

#![cfg(target_os = "linux")]

#[path = "world/child.rs"]
mod child;

use anyport::{BackendKind, CompletionPort, Error, ErrorKind, available_backends, net};
use child::{is_child, run_in_child};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(30);

/// Runs `body` in a child process in which `io_uring_setup` fails, with `ANYPORT_BACKEND` set to
/// `backend`. `test` is the name of the calling test.
fn where_it_is_forbidden(test: &str, backend: Option<&str>, body: impl FnOnce()) {
    if is_child() {
        forbid_io_uring();
        return body();
    }
    run_in_child(test, |child| {
        match backend {
            Some(name) => child.env("ANYPORT_BACKEND", name),
            None => child.env_remove("ANYPORT_BACKEND"),
        };
    });
}

/// From now on `io_uring_setup` fails with EPERM in this thread and in those that it starts.
fn forbid_io_uring() {
    const CALL_NUMBER_AT: u32 = 0;
    let instruction = |code: u32, skip_if_true, skip_if_false, k| libc::sock_filter {
        code: code as u16,
        jt: skip_if_true,
        jf: skip_if_false,
        k,
    };
    let (load, compare, end) = (
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
        libc::BPF_RET | libc::BPF_K,
    );
    let mut program = [
        instruction(load, 0, 0, CALL_NUMBER_AT),
        instruction(compare, 0, 1, libc::SYS_io_uring_setup as u32),
        instruction(end, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        instruction(end, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: no pointers; it only takes rights away that a test does not need.
    let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: `filter` names `program`, of the length it says; the kernel copies both.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter)
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the filter refuses the call before its arguments are looked at; without the filter
    // a null pointer would be refused.
    let result = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, std::ptr::null::<u8>()) };
    let error = std::io::Error::last_os_error();
    assert_eq!((result, error.raw_os_error()), (-1, Some(libc::EPERM)));
}

/// One message there and back through the port.
fn echo_once(port: &CompletionPort<&'static str>) {
    let address = "127.0.0.1:0".parse().expect("an address");
    let listener = port.associate(net::listen(address).expect("a port is free"), 1).expect("new");
    listener.accept("accept").expect("it listens");
    let address = listener.local_addr().expect("it is bound");
    let mut client = TcpStream::connect(address).expect("it listens");
    client.set_read_timeout(Some(DEADLINE)).expect("not zero");
    let packet = port.get(Some(DEADLINE)).expect("a client has connected");
    let socket = packet.accepted.expect("a connection was accepted");
    let handle = port.associate(socket, 2).expect("a new socket");
    handle.receive_pooled("receive").expect("it is connected");
    client.write_all(b"hello").expect("it is connected");
    let packet = port.get(Some(DEADLINE)).expect("bytes have come");
    assert_eq!((packet.key, packet.result, packet.context), (2, Ok(5), "receive"));
    handle.send(packet.buffers, "send").expect("it is connected");
    let packet = port.get(Some(DEADLINE)).expect("there is room to send");
    assert_eq!((packet.result, packet.context), (Ok(5), "send"));
    let mut answer = [0; 5];
    client.read_exact(&mut answer).expect("the answer comes");
    assert_eq!(&answer, b"hello");
}

/// A port that nobody has set up is on readiness, gives this among its reasons, and works.
fn assert_readiness_serves(reason: &str) -> CompletionPort<&'static str> {
    let port = CompletionPort::new(0).expect("readiness always works");
    let choice = port.backend();
    assert_eq!(choice.kind, BackendKind::Readiness);
    assert!(choice.reason.contains(reason), "{}", choice.reason);
    echo_once(&port);
    port
}

fn check_refusal(result: Result<CompletionPort<()>, Error>) {
    let error = result.expect_err("io_uring is not to be had, and was asked for");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let text = error.to_string();
    assert!(text.contains("io_uring"), "it says what is missing: {text}");
    assert!(text.contains("ANYPORT_BACKEND"), "it says what to do: {text}");
}

#[test]
fn the_port_chooses_readiness_and_says_why() {
    where_it_is_forbidden("the_port_chooses_readiness_and_says_why", None, || {
        let port = assert_readiness_serves("EPERM");
        let reason = &port.backend().reason;
        assert!(reason.contains("io_uring"), "{reason}");
        assert!(port.backend().to_string().contains(reason));
    });
}

#[test]
fn automatic_choice_by_name_is_as_without_a_name() {
    let test = "automatic_choice_by_name_is_as_without_a_name";
    where_it_is_forbidden(test, Some("auto"), || {
        assert_readiness_serves("EPERM");
    });
}

#[test]
fn io_uring_is_listed_as_absent_with_the_reason() {
    where_it_is_forbidden("io_uring_is_listed_as_absent_with_the_reason", None, || {
        let all = available_backends();
        let of = |kind| all.iter().find(|(k, _)| *k == kind).map(|(_, result)| result.clone());
        let reason = of(BackendKind::IoUring).expect("it is listed").expect_err("it is forbidden");
        assert!(reason.contains("EPERM"), "{reason}");
        assert_eq!(of(BackendKind::Readiness), Some(Ok(())));
    });
}

#[test]
fn forcing_io_uring_by_the_builder_is_a_clear_error() {
    where_it_is_forbidden("forcing_io_uring_by_the_builder_is_a_clear_error", None, || {
        let builder = CompletionPort::<()>::builder().backend(BackendKind::IoUring);
        check_refusal(builder.build());
    });
}

#[test]
fn forcing_io_uring_by_the_environment_is_a_clear_error() {
    let test = "forcing_io_uring_by_the_environment_is_a_clear_error";
    where_it_is_forbidden(test, Some("io_uring"), || {
        check_refusal(CompletionPort::new(0));
        // The builder goes before the environment.
        let builder = CompletionPort::<()>::builder().backend(BackendKind::Readiness);
        let port: CompletionPort<&'static str> = builder.build().expect("it always works");
        echo_once(&port);
    });
}

#[test]
fn forcing_readiness_by_the_environment_works() {
    let test = "forcing_readiness_by_the_environment_works";
    where_it_is_forbidden(test, Some("readiness"), || {
        assert_readiness_serves("ANYPORT_BACKEND");
    });
}
