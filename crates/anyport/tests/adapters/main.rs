//! The streams behind `futures_io`'s traits: order and every byte, who waits for whom, what a dropped
//! future leaves behind, and how a side ends.
//!
//! Each test runs on every backend that this machine has.

mod closing;
mod reading;
mod writing;

#[allow(dead_code, unused_imports, reason = "the runtime's own tests use all of it")]
#[path = "../runtime/world.rs"]
mod world;

world::on_every_backend! {
    reading::every_size_comes_back_whole_and_in_order,
    reading::several_parts_are_filled_one_after_the_other,
    reading::a_dropped_read_loses_no_byte,
    reading::a_read_that_changes_tasks_wakes_the_last_one,
    reading::what_arrived_before_a_reset_is_read_first,
    writing::several_parts_are_sent_one_after_the_other,
    writing::a_dropped_write_has_sent_all_or_nothing,
    writing::a_peer_that_does_not_read_holds_up_the_writer,
    writing::small_writes_hold_no_more_memory_than_large_ones,
    writing::a_flush_waits_until_all_has_gone,
    writing::peers_that_do_not_read_keep_nobody_from_receiving,
    writing::a_write_after_a_reset_is_an_error,
    closing::a_close_ends_the_side_after_what_was_written,
    closing::a_close_that_is_given_up_goes_on,
    closing::a_close_may_be_asked_for_again_and_by_another_task,
    closing::a_side_that_has_ended_in_another_way_is_closed,
    closing::halves_are_closed_one_by_one,
    closing::a_close_that_found_no_place_may_be_asked_for_again,
    closing::a_stream_that_is_dropped_forgets_who_waited_for_its_end,
}
