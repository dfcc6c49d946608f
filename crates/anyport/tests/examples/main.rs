//! The examples as programs: each is started, talked to from outside and ended.
//!
//! Each test runs on every backend that this machine has. Cargo builds the examples beside the tests
//! unless it is told which targets to build; where they are not there the tests say so.

mod chat;
mod echoes;
mod file_server;
mod program;
mod proxy;
mod timers;
mod world;

world::on_every_backend! {
    echoes::handlers_send_back_what_comes,
    echoes::tasks_send_back_what_comes_and_end_at_a_signal,
    chat::everybody_hears_the_others_and_who_comes_and_goes,
    chat::a_client_that_does_not_read_is_out_and_holds_up_nobody,
    chat::a_client_that_never_ends_its_line_is_out,
    proxy::bytes_go_both_ways_at_the_same_time,
    proxy::the_end_of_one_direction_is_passed_on_and_the_other_goes_on,
    proxy::a_target_that_refuses_is_the_end_of_the_connection,
    proxy::an_idle_connection_is_closed,
    file_server::files_come_whole_one_after_the_other,
    file_server::what_is_not_there_is_not_found,
    file_server::no_path_leads_out_of_the_directory,
    file_server::what_it_does_not_do_is_refused,
    timers::what_it_says_is_in_order,
}
