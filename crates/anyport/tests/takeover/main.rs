//! Threads of a port that are stuck in a handler, stay away, or end in the middle of traffic: what
//! they had staged and under way goes on without them, in order, whole, and nothing is lost.
//!
//! Each test runs on every backend that this machine has.

#[path = "../memory/world.rs"]
mod world;

mod alive;
mod away;
mod back;
mod gate;
mod order;
mod traffic;

world::everywhere! {
    order::streams_stay_in_order_while_handlers_sleep,
    order::streams_stay_in_order_while_handlers_say_that_they_block,
    order::streams_stay_in_order_while_handlers_spin,
    order::single_receives_stay_in_order_while_handlers_sleep,
    order::large_answers_leave_whole_while_handlers_sleep,
    order::many_connections_are_served_beside_a_stuck_thread,
    order::streams_stay_in_order_with_far_more_threads_than_may_run,
    alive::receives_of_a_stuck_thread_complete,
    alive::datagrams_of_a_stuck_thread_complete,
    alive::accepts_and_connects_of_a_stuck_thread_complete,
    alive::files_of_a_stuck_thread_complete,
    alive::cancels_of_operations_of_a_stuck_thread_take_effect,
    alive::a_connection_of_a_stuck_thread_that_is_closed_ends_for_its_peer,
    alive::sends_that_wait_for_room_go_on_beside_a_stuck_thread,
    away::what_a_thread_that_stays_away_has_started_completes,
    away::threads_of_the_user_come_and_go_in_the_middle_of_traffic,
    back::a_thread_that_comes_back_to_nothing_waits_its_turn,
    back::a_thread_that_comes_back_to_much_goes_on_with_it,
    back::threads_that_share_what_a_seat_has_come_back_as_well,
    back::a_thread_that_came_back_and_waits_holds_no_socket_open,
    away::a_port_dropped_while_its_threads_are_away_gives_its_buffers_back_when_they_end,
}
