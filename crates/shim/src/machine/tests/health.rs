//! The laws of health checks.

use super::*;

use model::health::OnUnhealthy;

use crate::protocol::HealthPlan;

const SECOND: Duration = Duration::from_secs(1);

fn plan() -> HealthPlan {
    HealthPlan {
        interval: 30 * SECOND,
        timeout: 3 * SECOND,
        start_period: Duration::ZERO,
        start_interval: 5 * SECOND,
        retries: 2,
        on_unhealthy: OnUnhealthy::Nothing,
    }
}

impl Shim {
    fn checked(plan: HealthPlan) -> Self {
        let mut shim = Self::new();
        let launch = Launch { health: Some(Box::new(plan)), ..*launch(None) };
        shim.ask(A, Request::Launch(Box::new(launch)));
        shim.on(Event::Launched(A, started(7)));
        shim
    }

    /// The next check runs; how long that took to come.
    fn check_runs(&mut self) -> Duration {
        let before = self.elapsed;
        assert_eq!(self.tick(), "Check\n");
        self.on(Event::CheckRuns(exec(1), started(8)));
        self.elapsed - before
    }

    /// The next check ends so; what follows.
    fn checks(&mut self, code: u8) -> String {
        self.check_runs();
        self.check_ends(code)
    }

    fn check_ends(&mut self, code: u8) -> String {
        let all = self.on(Event::ExecExited(exec(1), ExitCode(code), Oom::Unseen));
        let rest =
            all.lines().filter(|line| !line.contains("ExecEnded") && !line.contains("end streams"));
        rest.map(|line| format!("{line}\n")).collect()
    }
}

#[test]
fn a_start_is_told_as_starting_before_it_is_answered() {
    let mut shim = Shim::new();
    let launch = Launch { health: Some(Box::new(plan())), ..*launch(None) };
    shim.ask(A, Request::Launch(Box::new(launch)));
    check(
        &shim.on(Event::Launched(A, started(7))),
        expect![[r#"
            record running
            health starting 0
            Tell(Started)
            reply to 1: Started(Started { pid: 7, since: 1970-01-01T00:00:00Z })
        "#]],
    );
}

#[test]
fn a_success_makes_it_healthy_and_failures_in_a_row_unhealthy() {
    let mut shim = Shim::checked(plan());
    let mut told = String::new();
    for code in [1, 0, 0, 1, 0, 1, 1, 1, 0] {
        told += &shim.checks(code);
    }
    check(
        &told,
        expect![[r#"
            health starting 1: Exited(ExitCode(1))
            health healthy 0: Exited(ExitCode(0))
            Tell(Health(Healthy))
            health healthy 0: Exited(ExitCode(0))
            health healthy 1: Exited(ExitCode(1))
            health healthy 0: Exited(ExitCode(0))
            health healthy 1: Exited(ExitCode(1))
            health unhealthy 2: Exited(ExitCode(1))
            Tell(Health(Unhealthy))
            health unhealthy 3: Exited(ExitCode(1))
            health healthy 0: Exited(ExitCode(0))
            Tell(Health(Healthy))
        "#]],
    );
}

#[test]
fn failures_do_not_count_while_it_may_start() {
    let mut shim = Shim::checked(HealthPlan { start_period: 12 * SECOND, ..plan() });
    assert_eq!(shim.check_runs(), 5 * SECOND);
    assert_eq!(shim.check_ends(1), "health starting 0: Exited(ExitCode(1))\n");
    assert_eq!(shim.check_runs(), 5 * SECOND);
    shim.elapsed += SECOND;
    assert_eq!(shim.check_ends(1), "health starting 0: Exited(ExitCode(1))\n");
    // It begins when the time is over.
    assert_eq!(shim.check_runs(), 5 * SECOND);
    assert_eq!(shim.check_ends(1), "health starting 1: Exited(ExitCode(1))\n");
    assert_eq!(shim.check_runs(), 30 * SECOND);
    // A success ends the time before it is over.
    let mut shim = Shim::checked(HealthPlan { start_period: 60 * SECOND, ..plan() });
    shim.checks(0);
    assert_eq!(shim.check_runs(), 30 * SECOND);
    assert_eq!(shim.check_ends(1), "health healthy 1: Exited(ExitCode(1))\n");
}

#[test]
fn a_check_that_takes_too_long_is_killed_and_counts_when_it_has_ended() {
    let mut shim = Shim::checked(plan());
    shim.check_runs();
    let tick = shim.tick();
    assert!(tick.starts_with("Signal(Exec(") && tick.ends_with("Signal(9), Everyone)\n"), "{tick}");
    assert_eq!(shim.machine.deadline(), None);
    assert_eq!(shim.check_ends(137), "health starting 1: TooLong(3s)\n");
    assert_eq!(shim.check_runs(), 30 * SECOND);
}

#[test]
fn a_check_that_cannot_run_has_failed() {
    let mut shim = Shim::checked(HealthPlan { retries: 1, ..plan() });
    shim.tick();
    check(
        &shim.on(Event::CheckFailed("no curl".to_owned())),
        expect![[r#"
            health unhealthy 1: NotRun("no curl")
            Tell(Health(Unhealthy))
        "#]],
    );
}

/// With a container everything in it is killed, the check as well.
#[test]
fn a_check_that_ends_with_its_container_says_nothing() {
    let mut shim = Shim::checked(HealthPlan { retries: 1, ..plan() });
    assert_eq!(shim.checks(137), "");
    assert!(!shim.exits(0).contains("health"));
    assert_ne!(shim.machine.deadline(), Some(shim.elapsed + Duration::from_millis(100)));
    let mut shim = Shim::checked(HealthPlan { retries: 1, ..plan() });
    shim.checks(137);
    check(
        &shim.tick(),
        expect![[r#"
            health unhealthy 1: Exited(ExitCode(137))
            Tell(Health(Unhealthy))
        "#]],
    );
}

#[test]
fn a_frozen_container_is_not_checked() {
    let mut shim = Shim::checked(plan());
    shim.checks(0);
    shim.check_runs();
    shim.ask(A, Request::Pause);
    let told = shim.on(Event::Froze(A, Freeze::Frozen, Ok(())));
    assert!(told.ends_with("Everyone)\nhealth unhealthy 0\n"), "{told}");
    assert_eq!(shim.check_ends(137), "");
    assert_eq!(shim.machine.deadline(), None);
    shim.on(Event::Froze(A, Freeze::Thawed, Ok(())));
    check(
        &shim.checks(0),
        expect![[r#"
            health healthy 0: Exited(ExitCode(0))
            Tell(Health(Healthy))
        "#]],
    );
}

#[test]
fn one_that_a_signal_thaws_is_checked_again() {
    let timeout = Some(StopTimeout::Forever);
    let stop = Request::Stop { signal: None, timeout, then: Then::Stay };
    let reach = Reach::Process;
    let kill = Request::Kill { target: Target::Container, signal: Signal::TERM, reach };
    for thawing in [stop, kill] {
        let mut shim = Shim::checked(plan());
        shim.checks(0);
        shim.ask(A, Request::Pause);
        shim.on(Event::Froze(A, Freeze::Frozen, Ok(())));
        assert!(shim.ask(B, thawing).contains("Thaw\n"));
        assert!(shim.checks(0).starts_with("health healthy 0"));
    }
}

#[test]
fn what_follows_is_what_was_asked_for() {
    let unhealthy = |on_unhealthy| {
        let mut shim = Shim::checked(HealthPlan { retries: 1, on_unhealthy, ..plan() });
        let told = shim.checks(1);
        let signal = told.lines().find(|line| line.starts_with("Signal(")).map(str::to_owned);
        shim.exits(0);
        (signal.unwrap_or_default(), matches!(shim.machine.phase, Phase::Waiting { .. }))
    };
    let signal = |number| format!("Signal(Container, Signal({number}), Process)");
    assert_eq!(unhealthy(OnUnhealthy::Nothing), (String::new(), false));
    assert_eq!(unhealthy(OnUnhealthy::Stop), (signal(15), false));
    assert_eq!(unhealthy(OnUnhealthy::Kill), (signal(9), false));
    assert_eq!(unhealthy(OnUnhealthy::Restart), (signal(15), true));
}

/// A pause makes it unhealthy without a failure, which must not keep failures from being acted upon.
#[test]
fn failures_after_a_pause_count() {
    let plan = HealthPlan { retries: 1, on_unhealthy: OnUnhealthy::Kill, ..plan() };
    let mut shim = Shim::checked(plan);
    shim.checks(0);
    shim.ask(A, Request::Pause);
    shim.on(Event::Froze(A, Freeze::Frozen, Ok(())));
    shim.on(Event::Froze(A, Freeze::Thawed, Ok(())));
    let told = shim.checks(1);
    assert!(told.contains("Signal(Container, Signal(9), Process)"), "{told}");
}

/// What somebody stops stays down, and what was stopped as unhealthy is as if it had ended by itself
/// to whoever asks after a reboot.
#[test]
fn a_policy_and_an_unhealthy_end_get_along() {
    let begin = |on_unhealthy| {
        let mut shim = Shim::new();
        let restarts =
            Restarts { policy: model::container::RestartPolicy::Always, ..Restarts::default() };
        let health = Some(Box::new(HealthPlan { retries: 1, on_unhealthy, ..plan() }));
        shim.ask(A, Request::Launch(Box::new(Launch { health, restarts, ..*launch(None) })));
        shim.on(Event::Launched(A, started(7)));
        shim.checks(1);
        shim
    };
    let mut shim = begin(OnUnhealthy::Stop);
    assert!(shim.exits(0).contains("record exit 0\n"));
    assert_eq!(shim.machine.last.unwrap().by_hand, crate::protocol::ByHand::No);
    let mut shim = begin(OnUnhealthy::Kill);
    assert!(shim.exits(137).contains("record exit 137, restarting\n"));
    let mut shim = begin(OnUnhealthy::Restart);
    shim.ask(B, stop(None));
    assert!(shim.exits(0).contains("record exit 0\n"));
}
