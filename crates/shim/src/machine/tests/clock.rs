//! What the clock on the wall does is no business of any timer's.

use super::*;

use model::container::RestartPolicy;
use model::health::OnUnhealthy;

use crate::protocol::{HealthPlan, Restarts};

/// All of a shim's timers in turn: checks of its health, the grace of a stop, the delay of a start.
fn a_life(wall: fn(i64) -> i64) -> (String, ExitRecord) {
    let mut shim = Shim { wall, ..Shim::new() };
    let second = Duration::from_secs(1);
    let health = HealthPlan {
        interval: 30 * second,
        timeout: 3 * second,
        start_period: Duration::ZERO,
        start_interval: 5 * second,
        retries: 1,
        on_unhealthy: OnUnhealthy::Nothing,
    };
    let restarts = Restarts {
        policy: RestartPolicy::Always,
        revive: vec!["revive".to_owned()],
        stop_signal: None,
    };
    let launch = Launch { health: Some(Box::new(health)), restarts, ..*launch(None) };
    let mut told = shim.ask(A, Request::Launch(Box::new(launch)));
    let since = Timestamp::new(2_000_000, 0).unwrap();
    told += &shim.on(Event::Launched(A, Started { pid: 7, since }));
    let mut moments = Vec::new();
    let mut tick = |shim: &mut Shim| {
        let effects = shim.tick();
        moments.push(shim.elapsed);
        effects
    };
    told += &tick(&mut shim);
    told += &shim.on(Event::CheckRuns(exec(1), started(8)));
    told += &tick(&mut shim);
    told += &shim.on(Event::ExecExited(exec(1), ExitCode(137), Oom::Unseen));
    told += &shim.exits(3);
    told += &tick(&mut shim);
    told += &shim.ask(B, stop(None));
    told += &tick(&mut shim);
    (format!("{told}{moments:?}"), shim.machine.last.unwrap())
}

#[test]
fn a_clock_that_goes_back_or_stands_still_changes_no_timer() {
    let (usual, exit) = a_life(|seconds| 2_000_000 + seconds);
    assert!(exit.at > exit.since);
    for wall in
        [(|seconds| 1_000_000 - 100_000 * seconds) as fn(i64) -> i64, |_| 0, |s| s * 1_000_000]
    {
        let (told, exit) = a_life(wall);
        assert_eq!(told, usual);
        assert!(exit.at >= exit.since, "an end before its beginning: {exit:?}");
    }
}
