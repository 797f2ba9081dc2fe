//! A shim with real containers of busybox, as root.
//!
//! This program is its own test runner, because it is also the shim: `shim::ensure` executes the
//! program that calls it. It counts at the end what is left on the host.
#![expect(clippy::print_stdout, reason = "a test runner reports on standard output")]
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod exec;
mod faults;
mod fixture;
mod life;
mod streams;

use std::ffi::OsString;
use std::process::ExitCode;

/// A test and its name.
type Test = (&'static str, fn());

/// Names each function of a module as a test.
macro_rules! tests {
    ($($module:ident: $($name:ident),+ $(,)?;)+) => {
        &[$($((concat!(stringify!($module), "::", stringify!($name)), $module::$name),)+)+]
    };
}

const TESTS: &[Test] = tests! {
    streams:
        a_client_that_came_before_the_start_gets_everything,
        several_clients_get_the_same,
        an_observer_that_does_not_read_holds_nothing_up,
        a_consumer_that_reads_slowly_loses_nothing,
        the_end_of_input_is_half_a_close,
        input_that_is_not_once_outlives_its_client,
        input_may_come_right_behind_the_request,
        a_terminal_has_its_size_and_hears_of_another,
        what_a_terminal_prints_last_is_not_lost,
        a_child_that_keeps_the_pipe_is_not_waited_for,
        the_log_is_as_docker_writes_it;
    life:
        every_end_has_its_code,
        a_stop_is_asked_for_and_then_enforced,
        a_kill_returns_when_it_has_worked,
        a_start_that_fails_says_why_and_leaves_nothing,
        a_paused_container_is_frozen_and_can_be_stopped,
        an_oom_kill_is_seen,
        a_container_can_be_started_again,
        what_is_written_down_tells_its_life,
        an_unused_shim_leaves;
    exec:
        an_exec_has_streams_and_a_code,
        an_exec_takes_input,
        an_exec_can_be_looked_at_by_others,
        an_exec_that_cannot_be_started_says_why,
        an_exec_has_a_terminal,
        an_exec_can_be_killed_with_its_children,
        execs_end_with_their_container,
        what_an_exec_leaves_behind_does_not_hold_it;
    faults:
        nothing_survives_a_killed_shim,
        a_shim_does_not_stay_in_its_starters_cgroup,
        a_client_that_dies_with_its_claim_is_replaced,
        a_claim_that_is_released_needs_no_removal,
        the_init_has_its_streams_and_nothing_else,
        a_full_disk_costs_lines_and_says_so,
        strangers_are_not_served,
        nonsense_is_answered_and_hurts_nobody,
        more_clients_than_are_served_wait,
        unfinished_questions_have_a_limit_together,
        its_directory_is_closed_to_others,
        it_has_nothing_of_its_starter_and_cannot_be_written_to;
};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next();
    match first.as_ref().and_then(|role| role.to_str()) {
        Some(role) if role.as_bytes() == shim::ROLE.to_bytes() => shim::main(arguments),
        Some("reap") => faults::reap(arguments),
        Some("knock") => faults::knock(arguments),
        _ => run(first.into_iter().chain(arguments)),
    }
}

/// Runs the tests whose name contains a given word, or all.
fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let words: Vec<String> = arguments
        .filter_map(|argument| argument.into_string().ok())
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let chosen = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word));
    let mut failed = Vec::new();
    for (name, test) in TESTS.iter().filter(|(name, _)| chosen(name)) {
        let passed = std::panic::catch_unwind(test).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed.extend((!passed).then_some(*name));
    }
    let leaks = fixture::leaks();
    leaks.iter().for_each(|leak| println!("left behind: {leak}"));
    println!("failed: {failed:?}; left behind: {}", leaks.len());
    if failed.is_empty() && leaks.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
