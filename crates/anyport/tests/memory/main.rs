//! The rules about memory that the kernel may touch, and about operations that race: nothing is
//! written to a buffer that was given up, no completion and no cancel is lost or meets a later
//! operation, and pooled buffers outlive what they came from.
//!
//! Each test runs on every backend that this machine has.

mod cancelling;
mod classes;
mod dropping;
mod kept;
mod pooled;
mod queues;
mod threads;
mod world;

use crate::world::TcpStream;
use anyport::net::SocketHandle;
use anyport::{BackendKind, CompletionPort, Packet};
use std::time::Duration;

world::everywhere! {
    dropping::a_port_dropped_while_files_are_read_writes_nothing_afterwards,
    dropping::a_socket_closed_while_it_sends_gives_its_buffers_back_when_the_kernel_is_done,
    dropping::a_port_dropped_while_it_sends_keeps_the_buffers_until_the_kernel_is_done,
    dropping::a_socket_closed_while_it_receives_writes_nothing_afterwards,
    dropping::a_port_dropped_while_it_receives_writes_nothing_afterwards,
    dropping::a_cancelled_receive_writes_nothing_afterwards_and_loses_no_byte,
    cancelling::a_cancel_that_races_with_completion_loses_and_doubles_no_byte,
    cancelling::a_cancel_from_another_thread_loses_and_doubles_no_byte,
    cancelling::the_name_of_a_finished_operation_never_cancels_its_successor,
    cancelling::a_cancelled_operation_never_takes_its_successor_along,
    queues::operations_and_cancels_survive_a_full_submission_queue,
    queues::operations_started_by_a_thread_of_the_port_survive_a_full_submission_queue,
    queues::no_completion_is_lost_in_a_full_completion_queue,
    queues::streams_survive_a_full_completion_queue,
    queues::an_accept_stream_survives_a_full_completion_queue,
    pooled::pooled_buffers_outlive_port_and_socket,
    pooled::single_receives_wait_while_the_pool_is_at_its_bound_and_lose_nothing,
    pooled::streams_wait_while_the_pool_is_at_its_bound_and_lose_nothing,
    pooled::idle_connections_keep_no_buffers_from_others,
    pooled::no_pooled_buffer_is_used_after_it_came_back,
    classes::bulk_traffic_is_received_into_larger_and_larger_buffers,
    classes::small_messages_are_received_into_small_buffers_after_a_while,
    classes::a_connection_whose_messages_change_size_again_and_again_loses_no_byte,
    classes::messages_that_fill_a_buffer_exactly_keep_their_class,
    classes::a_class_that_was_set_holds_whatever_comes,
    classes::single_receives_follow_the_traffic_too,
    threads::a_receive_of_a_thread_that_ended_completes,
    threads::a_receive_of_a_thread_of_the_port_that_ended_completes,
    threads::a_receive_of_a_thread_of_the_port_that_panicked_completes,
    threads::a_stream_goes_on_after_the_thread_that_held_its_packet_ended,
    threads::a_file_read_of_a_thread_that_ended_completes,
}

/// The next packet; fails when none comes.
pub(crate) fn next<T: Send + 'static>(port: &CompletionPort<T>) -> Packet<T> {
    match port.get(Some(world::DEADLINE)) {
        Ok(packet) => packet,
        Err(error) => panic!("a packet was due: {error}; {:?}", port.stats()),
    }
}

/// So many connected sockets of the port, each under its number as the key, and their peers.
pub(crate) fn connections<T: Send + 'static>(
    port: &CompletionPort<T>,
    count: usize,
) -> (Vec<SocketHandle<T>>, Vec<TcpStream>) {
    let connection = |key| {
        let (ours, theirs) = world::pair();
        (port.associate(ours, key).expect("a new socket"), theirs)
    };
    (0..count).map(connection).unzip()
}

/// Takes this thread off the port that it last waited on: until it waits on another, it keeps its
/// place there, and with it the engine.
pub(crate) fn leave_port(kind: BackendKind) {
    let other: CompletionPort<()> = world::builder(kind).build().expect("the backend is there");
    other.get(Some(Duration::ZERO)).expect_err("nothing was started");
}

/// True, and said, where a cancel may be lost that meets a send at work: see EXCEPTIONS.md.
pub(crate) fn loses_cancels() -> bool {
    #[cfg(windows)]
    {
        use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleA, GetProcAddress};
        // SAFETY: both names end with a zero byte; the library is part of every process.
        let is_wine = unsafe {
            let library = GetModuleHandleA(c"ntdll.dll".as_ptr().cast());
            GetProcAddress(library, c"wine_get_version".as_ptr().cast()).is_some()
        };
        if is_wine {
            println!("not run: Wine may lose a cancel that meets a send at work");
        }
        is_wine
    }
    #[cfg(not(windows))]
    {
        false
    }
}
