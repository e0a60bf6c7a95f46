//! The HTTPS service on real sockets, with clients and targets that share no code with it.
//!
//! | flaw of seed 003's service | test that ours lacks it |
//! |---|---|
//! | open relay, no login | `ways_in::without_a_login_there_is_nothing` |
//! | loopback and private networks within reach | `ways_in::targets_that_the_rules_forbid_are_not_reached` |
//! | PROXY headers believed from anybody, IPv4 alone | `ways_in::a_listed_balancer_names_the_client_and_nobody_else_does` |
//! | certificates not verified | `targets::certificates_are_verified_and_connections_kept` |
//! | bodies forced to text, no choice of method | `fetch::bodies_of_bytes_go_there_and_back` |
//! | repeated headers merged | `fetch::repeated_headers_are_kept_both_ways` |
//! | timed-out requests keep their worker | `admission::twelve_slow_requests_give_only_503_and_504_and_leave_no_worker_busy` |
//! | queue time-out not enforced | `admission::who_waits_too_long_in_the_queue_is_told_so` |
//! | untrue figures | `program::the_statistics_have_the_seeds_keys_and_true_figures` |
//! | answers of any length | `fetch::an_answer_that_fits_no_frame_is_a_bad_gateway`, `admission::what_is_held_in_memory_is_bounded` |
//! | one process | `program::haproxy_spreads_requests_and_names_their_clients` |
//! | runs as root | `program::the_packages_run_it_as_a_user_of_its_own_that_can_become_no_other` |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

#[path = "../proxy/support.rs"]
#[allow(dead_code, unreachable_pub, reason = "other tests use the rest")]
mod support;

mod admission;
mod client;
mod fetch;
mod instances;
mod program;
mod targets;
mod ways_in;
