//! The runtime: its tasks, its streams, what a dropped future leaves behind, and how it ends.
//!
//! Each test runs on every backend that this machine has.

mod dropped;
mod ending;
mod files;
mod streams;
mod tasks;
mod timing;
mod world;

world::on_every_backend! {
    tasks::a_task_gives_its_result_to_who_waits,
    tasks::a_panic_is_a_result_and_the_worker_goes_on,
    tasks::an_aborted_task_is_dropped_and_says_so,
    tasks::a_destructor_that_panics_is_a_result,
    tasks::a_task_nobody_waits_for_runs_to_its_end,
    tasks::tasks_are_spawned_from_foreign_threads,
    tasks::more_tasks_than_the_queue_holds_all_run,
    tasks::a_task_that_is_always_ready_lets_others_run,
    tasks::a_task_that_blocks_does_not_hold_up_others,
    tasks::a_task_may_wait_for_others_by_blocking,
    tasks::tasks_that_wake_each_other_go_on_for_ever,
    tasks::workers_have_names_and_hooks,
    tasks::what_is_counted_adds_up,
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
    streams::a_refused_connect_says_so,
    streams::a_host_is_connected_to_by_its_name,
    streams::a_stream_given_away_is_served_while_the_task_that_had_it_blocks,
    dropped::a_dropped_receive_loses_no_byte,
    dropped::a_dropped_read_loses_no_byte,
    dropped::a_dropped_accept_loses_no_connection,
    dropped::a_dropped_write_runs_on_and_later_ones_follow_it,
    dropped::a_dropped_send_has_sent_all_or_nothing,
    dropped::a_flush_waits_for_a_dropped_write,
    dropped::a_sending_half_dropped_at_the_limit_of_operations_ends_its_side,
    dropped::an_aborted_task_loses_no_byte_of_a_stream_that_others_hold,
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
    ending::a_shutdown_drops_every_task,
    ending::a_shutdown_counts_what_does_not_return,
    ending::after_a_shutdown_nothing_is_spawned,
    ending::who_waits_by_blocking_learns_of_a_shutdown,
    ending::a_runtime_may_be_ended_in_one_of_its_tasks,
    ending::a_result_that_nobody_wants_may_panic_as_it_is_dropped,
    ending::tasks_left_in_the_queue_are_dropped_even_if_they_panic,
    ending::a_runtime_that_is_dropped_closes_its_sockets,
    ending::a_task_that_spawns_on_and_on_ends_with_the_runtime,
}
