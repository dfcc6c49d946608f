//! The runtime: its tasks, its streams, what a dropped future leaves behind, and how it ends.
//!
//! Each test runs on every backend that this machine has.

mod datagrams;
mod dropped;
mod ending;
mod files;
mod listening;
mod strangers;
mod streams;
mod tasks;
mod timing;
#[cfg(unix)]
mod unix;
mod world;

world::everywhere! {
    tasks::a_task_gives_its_result_to_who_waits,
    tasks::a_panic_is_a_result_and_the_worker_goes_on,
    tasks::an_aborted_task_is_dropped_and_says_so,
    tasks::a_destructor_that_panics_is_a_result,
    tasks::a_task_nobody_waits_for_runs_to_its_end,
    tasks::tasks_are_spawned_from_foreign_threads,
    tasks::more_tasks_than_the_queue_holds_all_run,
    tasks::a_task_that_is_always_ready_lets_others_run,
    tasks::a_task_that_blocks_does_not_hold_up_others,
    tasks::a_task_that_says_so_may_block,
    tasks::blocking_elsewhere_is_only_a_call,
    tasks::a_task_may_wait_for_others_by_blocking,
    tasks::tasks_that_wake_each_other_go_on_for_ever,
    tasks::workers_have_names_and_hooks,
    tasks::what_is_counted_adds_up,
    tasks::the_buffers_that_tasks_hold_are_counted,
    tasks::blocking_calls_have_threads_of_their_own,
    streams::every_size_comes_back_whole_and_in_order,
    streams::reads_and_receives_take_turns_without_losing_a_byte,
    streams::a_peek_leaves_the_bytes,
    streams::a_half_closed_stream_still_receives,
    streams::halves_work_in_two_tasks,
    streams::a_dropped_sending_half_ends_its_side,
    streams::what_was_handed_over_goes_out_after_a_drop,
    streams::a_peer_that_does_not_read_holds_up_the_sender,
    streams::a_reader_that_does_not_come_holds_up_the_peer,
    streams::a_write_gives_its_buffers_back,
    streams::a_reset_is_an_error_for_both_sides,
    streams::what_has_ended_or_failed_stays_so,
    streams::what_cannot_be_sent_at_once_comes_back,
    streams::an_aborted_stream_drops_what_waits_and_is_reset,
    streams::a_stream_is_reset_also_while_the_task_that_had_it_blocks,
    streams::a_refused_connect_says_so,
    streams::a_host_is_connected_to_by_its_name,
    streams::a_stream_given_away_is_served_while_the_task_that_had_it_blocks,
    datagrams::datagrams_come_whole_with_their_sender,
    datagrams::a_connected_socket_names_no_address,
    datagrams::a_peek_leaves_the_datagram,
    datagrams::a_datagram_that_does_not_fit_is_told,
    datagrams::all_that_is_there_comes_at_once,
    datagrams::a_dropped_receive_loses_no_datagram,
    datagrams::a_dropped_send_sends_a_whole_datagram_or_none,
    datagrams::what_waits_to_be_sent_is_not_overtaken,
    datagrams::several_tasks_share_a_socket,
    datagrams::each_who_waits_is_called,
    datagrams::a_refusal_is_told_once,
    datagrams::a_receive_waits_while_the_pool_is_at_its_bound,
    datagrams::a_group_is_joined_and_left,
    datagrams::a_dropped_socket_gives_its_address_up,
    dropped::a_dropped_receive_loses_no_byte,
    dropped::a_dropped_read_loses_no_byte,
    dropped::a_forgotten_read_leaves_what_it_brings_to_the_next,
    dropped::a_future_of_a_stream_that_is_over_is_not_polled_again,
    dropped::a_dropped_accept_loses_no_connection,
    dropped::a_dropped_accept_leaves_nothing_behind,
    dropped::a_dropped_receive_or_send_forgets_who_waited,
    dropped::an_accept_that_is_dropped_when_it_was_called_calls_another,
    dropped::a_dropped_connect_closes_its_socket,
    dropped::a_dropped_listener_closes_what_nobody_accepted,
    dropped::a_half_that_is_dropped_while_receiving_pauses_ends_only_its_side,
    dropped::a_dropped_write_runs_on_and_later_ones_follow_it,
    dropped::a_dropped_send_has_sent_all_or_nothing,
    dropped::a_flush_waits_for_a_dropped_write,
    dropped::a_sending_half_dropped_at_the_limit_of_operations_ends_its_side,
    dropped::an_aborted_task_loses_no_byte_of_a_stream_that_others_hold,
    strangers::a_task_uses_what_belongs_to_another_runtime,
    strangers::a_runtime_that_ends_tells_the_tasks_of_others,
    strangers::a_runtime_that_ends_tells_a_thread_that_blocks_on_it,
    listening::several_listeners_share_the_connections_of_an_address,
    listening::an_address_is_reused_when_that_is_asked_for,
    listening::a_listener_for_ipv6_leaves_ipv4_alone_when_that_is_asked_for,
    timing::sleeps_end_in_the_order_of_their_deadlines,
    timing::a_receive_raced_with_a_timeout_loses_no_byte,
    timing::a_timeout_ends_what_does_not_come,
    timing::timers_go_on_while_a_task_blocks,
    timing::a_shutdown_drops_tasks_that_sleep,
    files::what_is_written_is_read,
    files::reads_and_writes_run_at_the_same_time,
    files::a_dropped_write_runs_on,
    files::a_part_of_a_file_is_sent_between_other_bytes,
    files::what_is_not_there_is_an_error,
    files::a_flush_and_a_shutdown_tell_of_a_dropped_send_that_failed,
    ending::a_shutdown_drops_every_task,
    ending::a_shutdown_counts_what_does_not_return,
    ending::after_a_shutdown_nothing_is_spawned,
    ending::who_waits_by_blocking_learns_of_a_shutdown,
    ending::a_runtime_may_be_ended_in_one_of_its_tasks,
    ending::a_result_that_nobody_wants_may_panic_as_it_is_dropped,
    ending::tasks_left_in_the_queue_are_dropped_even_if_they_panic,
    ending::a_runtime_that_is_dropped_closes_its_sockets,
    ending::what_a_shutdown_cuts_off_has_no_gap,
    ending::a_task_that_spawns_on_and_on_ends_with_the_runtime,
}

#[cfg(unix)]
mod local_sockets {
    crate::world::on_every_backend! {
        unix::a_listener_serves_at_its_path,
        unix::a_name_that_is_no_path_is_served_too,
        unix::the_end_right_behind_the_last_bytes_is_told,
        unix::a_local_stream_ends_its_sides_one_by_one,
        unix::a_peer_that_goes_with_bytes_unread_is_told,
        unix::who_does_not_read_holds_up_the_other,
        unix::an_aborted_local_stream_drops_what_waits,
        unix::a_dropped_receive_loses_no_byte_of_a_local_stream,
        unix::a_connect_waits_while_the_listeners_queue_is_full,
        unix::a_dropped_accept_loses_no_local_connection,
        unix::a_file_goes_through_a_local_stream,
        unix::a_runtime_that_ends_closes_its_local_sockets,
    }
}
