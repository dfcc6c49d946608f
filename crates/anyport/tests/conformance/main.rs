//! What a completion port promises, statement by statement, on every backend.
//!
//! Each function is named after the number of the statement that it tests and what it proves. It
//! is written once; the list below makes a test of it for each backend. A backend that this
//! machine does not offer is reported as not run, unless `ANYPORT_REQUIRE` names it.

#![expect(unreachable_pub, reason = "every statement and all that they share is `pub`")]

mod accepting;
mod cancelling;
mod closing;
mod connecting;
mod datagrams;
mod files;
mod idle;
mod modes;
mod ours;
mod overload;
mod packets;
mod peers;
mod port;
mod receiving;
mod resets;
mod sending;
mod starts;
mod system;
mod threads;
mod transmitting;
mod world;

/// Makes a test of each statement for each backend, and a list of all.
macro_rules! statements {
    ($($file:ident { $($name:ident,)* })*) => {
        const STATEMENTS: &[&str] = &[$($(stringify!($name),)*)*];

        world::on_every_backend! { $($($file::$name,)*)* }

        #[cfg(feature = "sim")]
        mod simulated {
            $($(#[test]
            fn $name() {
                crate::world::run_simulated(stringify!($name), crate::$file::$name);
            })*)*
        }
    };
}

statements! {
    port {
        s01_zero_is_the_number_of_processors,
        s01_a_port_has_the_concurrency_value_that_it_was_made_with,
        s02_each_packet_has_the_key_of_its_handle,
        s02_a_socket_has_one_port,
        s02_a_file_has_one_port,
        s02_the_association_ends_with_the_handle,
        s02_what_cannot_overlap_is_refused,
        s02_a_descriptor_that_is_not_open_is_an_invalid_handle,
        s04_a_duplicate_has_the_same_key,
        s04_operations_are_aborted_when_the_last_duplicate_closes,
        s07_nothing_in_time_is_timed_out_and_never_early,
        s07_zero_only_looks,
        s07_a_thread_that_is_held_back_is_timed_out_too,
        s08_closing_wakes_every_waiter,
        s08_closing_wakes_those_that_a_running_thread_holds_back,
        s08_what_was_posted_before_the_close_is_handed_out_first,
        s08_a_closed_port_refuses_everything,
        s09_a_posted_packet_comes_out_as_it_went_in,
        s10_taking_many_gives_at_most_so_many_in_order,
        s10_packets_are_taken_whatever_their_results,
    }
    threads {
        s05_posted_packets_of_a_thread_leave_in_order,
        s05_packets_of_a_handle_leave_in_order,
        s05_a_port_that_was_left_alone_goes_on_though_nobody_waits,
        s05_a_large_send_goes_on_though_nobody_waits,
        s05_a_large_send_goes_on_while_the_only_thread_is_stuck,
        s05_a_large_send_goes_on_while_the_only_thread_spins,
        s05_posted_packets_do_not_starve_completions,
        s05_completions_do_not_starve_posted_packets,
        s05_threads_asleep_are_released_last_in_first_out,
        s05_threads_held_back_are_released_last_in_first_out,
        s06_no_more_threads_run_than_the_value_allows,
        s06_waiters_are_held_while_a_handler_runs,
        s06_a_thread_that_says_it_blocks_frees_its_place,
        s06_a_thread_that_blocks_unannounced_frees_its_place,
        s06_a_thread_that_resumes_is_held_at_its_next_wait,
        s06_a_thread_belongs_to_the_port_that_it_last_waited_on,
    }
    packets {
        s11_an_operation_that_can_finish_at_once_yields_one_packet,
        s11_every_operation_yields_one_packet_whichever_thread_starts_it,
        s12_a_refused_start_yields_no_packet,
        s12_a_failure_is_told_by_the_start_or_by_the_packet_and_never_by_both,
        s13_a_failed_packet_tells_kind_and_code_and_harms_no_other,
        s38_closing_an_idle_handle_yields_nothing,
        s40_a_buffer_is_not_touched_after_its_packet_was_taken,
        s40_nothing_of_an_operation_is_freed_before_its_packet_is_taken,
        s40_buffers_come_back_from_where_they_were,
    }
    receiving {
        s17_a_failed_packet_has_key_name_context_and_buffers_of_its_operation,
        s18_the_end_of_a_stream_is_a_success_with_no_bytes,
        s18_bytes_come_before_the_end,
        s18_the_end_is_clean_after_both_sides_have_ended,
        s20_a_receive_without_a_connection_fails,
        s21_a_receive_without_buffers_is_refused,
        s21_a_receive_into_no_room_waits_for_data_and_leaves_it,
        s22_pending_receives_fill_in_the_order_of_their_start,
        s22_receives_of_all_kinds_stand_in_one_line,
        s22_scatter_buffers_fill_in_order,
        s22_a_stream_is_in_order_whichever_of_four_threads_takes_its_packets,
    }
    sending {
        s23_a_send_larger_than_all_buffers_completes_whole,
        s23_gather_buffers_leave_in_order,
        s23_several_pending_sends_leave_in_the_order_of_their_start,
        s23_sends_of_several_threads_are_each_in_one_piece,
        s23_quiet_sends_of_several_threads_are_each_in_one_piece,
        s23_a_quiet_send_that_finds_room_for_a_part_goes_on_before_later_ones,
        s35_a_quiet_send_that_is_over_is_not_found_by_a_cancel,
        s11_a_quiet_send_to_a_peer_that_has_reset_yields_a_packet,
        s23_an_empty_send_completes_with_no_bytes,
        s23_a_send_cut_off_by_the_peer_is_an_error,
        s23_a_pending_receive_does_not_hold_sends_up,
        s11_a_quiet_send_yields_a_packet_only_when_it_fails,
        s23_quiet_sends_leave_in_order_and_give_up_what_they_held,
        s23_what_a_quiet_send_has_held_may_use_the_port_as_it_is_dropped,
        s26_closing_after_a_large_send_delivers_everything,
        s26_closing_with_receives_pending_delivers_everything,
    }
    datagrams {
        s27_a_receive_gives_one_datagram_and_its_sender,
        s27_datagrams_over_ipv6,
        s27_too_small_a_buffer_gives_what_fits_and_says_so,
        s27_a_connected_socket_says_so_too,
        s27_pooled_receives_give_one_datagram_each,
        s27_too_small_a_pooled_buffer_says_so_too,
        s27_a_pooled_receive_gives_the_sender_too,
        s27_a_datagram_larger_than_any_is_refused,
    }
    resets {
        s19_a_reset_ends_a_pending_receive_as_a_reset,
        s19_a_reset_ends_every_kind_of_receive_as_a_reset,
        s19_a_reset_ends_all_operations_that_wait,
        s19_a_reset_is_no_clean_end_after_a_send_took_the_error,
        s19_a_reset_is_no_clean_end_after_the_error_was_asked_for,
        s19_a_reset_behind_unread_bytes_is_not_lost,
        s19_a_peer_that_leaves_bytes_unread_resets,
    }
    accepting {
        s28_an_accept_completes_at_the_connection,
        s28_an_accept_takes_a_connection_that_waits,
        s28_pending_accepts_complete_once_each,
        s28_an_accept_stream_gives_every_connection,
        s28_an_accept_stream_with_four_threads_serves_every_connection,
        s30_closing_the_listener_aborts_its_accepts,
        s30_closing_the_listener_ends_an_accept_stream,
    }
    connecting {
        s32_a_connect_completes_with_no_bytes,
        s32_sends_started_behind_a_connect_follow_it,
        s32_what_waits_behind_a_connect_goes_on_though_nobody_waits,
        s32_a_refused_connect_says_so,
        s32_a_second_connect_says_already_connected,
        s32_an_ordinary_connect_queues_nothing,
        s33_a_disconnect_without_a_connection_fails,
        s33_a_disconnect_follows_the_sends_before_it,
        s33_after_a_disconnect_sending_is_refused_and_receiving_works,
        s33_an_ordinary_shutdown_queues_nothing,
    }
    transmitting {
        s34_head_file_and_tail_arrive_in_order,
        s34_a_range_of_the_file_is_sent,
        s34_a_large_file_reaches_a_slow_reader,
        s34_transmissions_and_sends_stand_in_one_line,
    }
    cancelling {
        s35_a_cancelled_operation_comes_once_as_cancelled,
        s35_operations_that_wait_in_line_are_cancelled,
        s35_all_of_a_handle_are_cancelled,
        s35_nothing_to_cancel_is_not_found,
        s35_a_second_cancel_is_not_found,
        s35_a_duplicate_cancels_from_another_thread,
        s35_a_connect_that_hangs_is_cancelled,
        s35_a_send_to_a_full_peer_is_cancelled,
        s35_a_transmission_to_a_full_peer_is_cancelled,
        s35_a_cancelled_disconnect_has_not_happened,
        s35_streams_are_cancelled,
        s35_a_cancelled_receive_loses_no_byte,
        s35_a_cancelled_accept_loses_no_connection,
    }
    closing {
        s37_closing_aborts_what_is_pending_once_each,
        s37_closing_aborts_datagrams_and_connects,
        s37_closing_aborts_sends_that_wait,
        s37_operations_live_until_the_last_duplicate_closes,
        s37_the_peer_learns_of_a_close_with_receives_pending,
    }
    files {
        s41_a_read_gives_what_is_at_its_offset,
        s41_a_read_at_the_end_fails_as_end_of_file,
        s41_a_read_that_crosses_the_end_gives_what_was_there,
        s41_scatter_reads_fill_in_order,
        s41_many_reads_at_once_each_give_their_own_bytes,
        s42_a_write_reports_what_was_written,
        s42_gather_writes_leave_in_order,
        s42_a_limit_is_an_error_not_a_short_success,
        s42_a_full_disk_is_an_error_not_a_short_success,
    }
    ours {
        s45_a_handler_that_blocks_delays_only_its_own_connection,
        s45_a_handler_that_announces_that_it_blocks_delays_only_its_own,
        s45_as_many_handlers_may_block_as_another_thread_is_left,
        s45_a_handler_that_spins_delays_only_its_own_while_a_place_is_free,
        s45_others_go_on_beside_one_that_spins_and_two_that_block,
        s45_what_a_handler_started_before_it_blocks_goes_on,
        s46_a_dropped_port_frees_nothing_that_the_kernel_may_write,
        s46_a_port_dropped_after_its_handles_frees_nothing_too_early,
        s46_dropped_sockets_free_nothing_that_the_kernel_may_write,
        s46_a_port_dropped_with_file_reads_under_way_frees_nothing_too_early,
        s46_a_pooled_buffer_outlives_its_port,
    }
    overload {
        s47_a_post_at_the_limit_gives_the_packet_back,
        s47_quiet_sends_to_peers_that_do_not_read_stop_at_the_limit_of_operations,
        s47_a_start_at_the_limit_of_operations_gives_everything_back,
        s47_receives_wait_while_the_pool_is_at_its_bound,
        s47_a_buffer_given_back_wakes_a_sleeping_thread_for_a_receive_that_waits,
        s47_a_stream_whose_handler_is_slow_holds_few_buffers,
    }
    idle {
        s48_an_idle_port_does_not_wake_up,
        s48_an_idle_port_without_threads_does_not_wake_up,
        s48_an_idle_port_that_its_only_thread_has_left_does_not_wake_up,
        s48_a_handler_that_runs_long_causes_few_wake_ups,
    }
    modes {
        s24_a_receive_timeout_does_not_end_a_receive,
        s24_a_send_timeout_does_not_end_a_send,
        s24_blocking_mode_does_not_make_a_start_wait,
        s25_shutting_down_the_receiving_side_leaves_a_pending_receive,
        s25_a_receive_after_the_shutdown_is_refused,
    }
}

/// The statements that hold for the Rust interface; the others are of the C interface.
const NUMBERS: [u32; 38] = [
    1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 30, 32,
    33, 34, 35, 37, 38, 40, 41, 42, 45, 46, 47, 48,
];

#[test]
fn every_statement_is_covered() {
    let number = |name: &str| name.get(1..3).and_then(|n| n.parse::<u32>().ok());
    for name in STATEMENTS {
        let known = number(name).is_some_and(|n| NUMBERS.contains(&n));
        assert!(known && name.starts_with('s'), "{name} has no statement's number");
    }
    let missing: Vec<u32> = NUMBERS
        .into_iter()
        .filter(|n| !STATEMENTS.iter().any(|name| number(name) == Some(*n)))
        .collect();
    assert!(missing.is_empty(), "statements without a test: {missing:?}");
}
