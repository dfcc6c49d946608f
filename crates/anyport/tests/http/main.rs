//! HTTP by hyper and axum on the runtime: the server of `examples/http.rs`, in process, against clients
//! that write the bytes themselves and against hyper's own client on the same runtime.
//!
//! Each test runs on every backend that this machine has.

mod ending;
mod http1;
mod http2;
mod leaving;
mod limits;
mod peer;
mod server;
mod timers;

#[allow(dead_code, reason = "it has a `main` of its own")]
#[path = "../../examples/http.rs"]
mod example;
#[allow(dead_code, unused_imports, reason = "the runtime's own tests use all of it")]
#[path = "../runtime/world.rs"]
mod world;

world::on_every_backend! {
    http1::answers_follow_each_other_on_one_connection,
    http1::pipelined_requests_are_answered_in_their_order,
    http1::a_request_may_come_byte_by_byte,
    http1::chunked_bodies_come_back_whole,
    http1::a_body_is_asked_for_when_it_is_announced,
    http1::large_bodies_go_up_and_down_whole,
    http1::a_head_has_no_body,
    http1::a_connection_ends_when_it_is_asked_to,
    http1::what_is_no_request_is_refused,
    http1::a_client_of_hyper_is_served,
    http2::many_streams_share_a_connection,
    http2::large_bodies_of_streams_go_up_and_down_whole,
    http2::a_stream_that_waits_holds_up_no_other,
    http2::a_stream_that_is_dropped_ends_alone,
    leaving::who_leaves_during_an_upload_leaves_nothing_behind,
    leaving::who_leaves_during_a_download_leaves_nothing_behind,
    leaving::who_leaves_during_an_answers_making_leaves_nothing_behind,
    leaving::who_leaves_with_many_streams_leaves_nothing_behind,
    limits::who_says_nothing_is_cut_off,
    limits::headers_that_do_not_come_are_cut_off,
    limits::a_body_that_does_not_come_is_cut_off,
    limits::who_answers_no_ping_is_cut_off,
    ending::the_end_waits_for_what_is_under_way,
    ending::the_end_waits_for_the_streams_of_a_connection,
    ending::connections_that_wait_for_a_request_end_at_once,
    timers::a_sleep_that_is_put_off_ends_later,
    timers::a_sleep_of_another_kind_is_replaced,
}
