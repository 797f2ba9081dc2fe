//! The laws of restart policies.

use super::*;

use model::container::RestartPolicy;

use crate::protocol::{ByHand, Restarts};

fn restarts(policy: RestartPolicy) -> Restarts {
    Restarts { policy, revive: vec!["revive".to_owned()], stop_signal: None }
}

impl Shim {
    fn with_policy(policy: RestartPolicy) -> Self {
        Self::with(restarts(policy))
    }

    fn with(restarts: Restarts) -> Self {
        let mut shim = Self::new();
        shim.ask(A, Request::Launch(Box::new(Launch { restarts, ..*launch(None) })));
        shim.on(Event::Launched(A, started(7)));
        shim
    }

    /// The program that the shim has started does its work.
    fn is_revived(&mut self, revival: u32, policy: RestartPolicy) -> String {
        let launch = Launch { restarts: restarts(policy), revival, ..*launch(None) };
        let asked = self.ask(B, Request::Launch(Box::new(launch)));
        asked
            + &self.on(Event::Launched(B, started(8)))
            + &self.on(Event::ReviverEnded(Reviver::Done))
    }

    /// How long after the end at this moment it is started again.
    fn waits(&mut self, code: u8) -> Option<Duration> {
        let before = self.elapsed;
        assert!(self.exits(code).contains(&format!("record exit {code}")));
        let Phase::Waiting { at } = self.machine.phase else { return None };
        Some(at - before)
    }

    fn is_idle(&self) -> bool {
        matches!(self.machine.phase, Phase::Idle { .. })
    }
}

#[test]
fn an_end_is_told_and_then_a_program_starts_it_again() {
    let mut shim = Shim::with_policy(RestartPolicy::Always);
    shim.ask(A, wait(Until::NextExit));
    check(
        &shim.exits(3),
        expect![[r#"
            record exit 3, restarting
            reply to 1: exited 3 oom=false
            EndStreams(Container)
            TearDown
        "#]],
    );
    assert_eq!(shim.machine.state().life.word(), "restarting");
    check(
        &shim.tick(),
        expect![[r#"
            Revive(["revive"])
        "#]],
    );
    check(
        &shim.is_revived(1, RestartPolicy::Always),
        expect![[r#"
            launch for 2
            ForgetExit
            record running
            Tell(Started)
            reply to 2: Started(Started { pid: 8, since: 1970-01-01T00:00:00Z })
        "#]],
    );
    assert_eq!(shim.machine.deadline(), None);
}

#[test]
fn each_end_doubles_the_time_until_a_good_run() {
    let mut shim = Shim::with_policy(RestartPolicy::Always);
    let mut waited = Vec::new();
    for revival in 1..=12 {
        waited.push(shim.waits(0).unwrap().as_millis());
        shim.tick();
        shim.is_revived(revival, RestartPolicy::Always);
    }
    let law = [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000];
    assert_eq!(waited, law);
    shim.elapsed += Duration::from_secs(10);
    assert_eq!(shim.waits(0).unwrap().as_millis(), 100);
}

#[test]
fn somebody_who_starts_it_begins_anew() {
    let mut shim = Shim::with_policy(RestartPolicy::OnFailure { retries: 1 });
    assert_eq!(shim.waits(1), Some(Duration::from_millis(100)));
    shim.tick();
    shim.is_revived(1, RestartPolicy::OnFailure { retries: 1 });
    assert_eq!(shim.waits(1), None, "once is enough");
    let by_hand = Launch { restarts: restarts(RestartPolicy::Always), ..*launch(None) };
    shim.ask(A, Request::Launch(Box::new(by_hand)));
    shim.on(Event::Launched(A, started(9)));
    assert_eq!(shim.waits(1), Some(Duration::from_millis(100)));
}

#[test]
fn a_policy_asks_how_it_ended() {
    let again = |policy, code| Shim::with_policy(policy).waits(code).is_some();
    assert!(!again(RestartPolicy::No, 1));
    assert!(again(RestartPolicy::Always, 0));
    assert!(again(RestartPolicy::UnlessStopped, 0));
    assert!(!again(RestartPolicy::OnFailure { retries: 0 }, 0));
    assert!(again(RestartPolicy::OnFailure { retries: 0 }, 1));
}

/// Docker's rules: with no stop signal of its own every signal is a wish that it should stop.
#[test]
fn what_somebody_ends_stays_down() {
    let ends = |stop_signal: Option<Signal>, policy: RestartPolicy, request: Request| {
        let mut shim = Shim::with(Restarts { stop_signal, ..restarts(policy) });
        shim.ask(A, request);
        let again = shim.waits(1).is_some();
        (again, shim.machine.last.unwrap().by_hand)
    };
    use RestartPolicy::{Always, UnlessStopped};
    let hup = || kill(Signal::from_number(1).unwrap(), Reach::Process);
    let int = Signal::from_number(2).ok();
    assert_eq!(ends(None, Always, stop(None)), (false, ByHand::Yes));
    assert_eq!(ends(int, Always, stop(None)), (false, ByHand::Yes));
    assert_eq!(ends(None, Always, hup()), (false, ByHand::Yes));
    assert_eq!(ends(int, Always, hup()), (true, ByHand::Yes));
    assert_eq!(ends(int, UnlessStopped, hup()), (false, ByHand::Yes));
    assert_eq!(ends(int, Always, kill(Signal::KILL, Reach::Process)), (false, ByHand::Yes));
}

/// The host goes down: after its next start they are to run again.
#[test]
fn the_end_of_the_host_is_nobodys_wish() {
    let mut shim = Shim::with_policy(RestartPolicy::Always);
    shim.on(Event::Terminate);
    assert_eq!(shim.waits(0), None);
    assert_eq!(shim.machine.last.unwrap().by_hand, ByHand::No);
    let mut shim = Shim::with_policy(RestartPolicy::Always);
    shim.waits(0).unwrap();
    check(
        &shim.on(Event::Terminate),
        expect![[r#"
            record rest 0 by_hand=No traces=None
            EndStreams(Container)
            Finish(ExitNow)
        "#]],
    );
}

#[test]
fn between_two_lives_it_can_be_stopped_and_nothing_else() {
    let mut shim = Shim::with_policy(RestartPolicy::Always);
    shim.exits(5);
    for request in [Request::Pause, exec_start(1)] {
        assert_eq!(shim.ask(A, request), "reply to 1: Refused(Restarting)\n");
    }
    assert_eq!(shim.ask(A, Request::Quit), "reply to 1: Refused(AlreadyRunning)\n");
    shim.ask(B, wait(Until::NotRunning));
    check(
        &shim.ask(A, stop(None)),
        expect![[r#"
            record rest 5 by_hand=Yes traces=None
            reply to 2: exited 5 oom=false
            reply to 1: stopped 5 escalated=No
            EndStreams(Container)
        "#]],
    );
    assert!(shim.is_idle());
}

#[test]
fn a_signal_between_two_lives_counts_as_one_before() {
    let own = Some(Signal::TERM);
    let mut shim = Shim::with(Restarts { stop_signal: own, ..restarts(RestartPolicy::Always) });
    shim.exits(5);
    let hup = Signal::from_number(1).unwrap();
    assert_eq!(shim.ask(A, kill(hup, Reach::Process)), "reply to 1: Ok\n");
    assert!(!shim.is_idle());
    check(
        &shim.ask(A, kill(Signal::TERM, Reach::Process)),
        expect![[r#"
            record rest 5 by_hand=Yes traces=None
            reply to 1: Ok
            EndStreams(Container)
        "#]],
    );
}

/// What it has begun would lie about.
#[test]
fn a_program_that_nobody_wants_any_more_is_waited_for() {
    let mut shim = Shim::with_policy(RestartPolicy::Always);
    shim.exits(5);
    shim.tick();
    assert_eq!(shim.ask(A, stop(None)), "");
    let policy = RestartPolicy::Always;
    let late = Launch { restarts: restarts(policy), revival: 1, ..*launch(None) };
    assert_eq!(shim.ask(B, Request::Launch(Box::new(late))), "reply to 2: Refused(NotWanted)\n");
    check(
        &shim.on(Event::ReviverEnded(Reviver::Done)),
        expect![[r#"
            record rest 5 by_hand=Yes traces=None
            reply to 1: stopped 5 escalated=No
            EndStreams(Container)
        "#]],
    );
    let mut shim = Shim::with_policy(RestartPolicy::Always);
    shim.exits(5);
    shim.tick();
    shim.ask(A, stop(None));
    check(
        &shim.tick(),
        expect![[r#"
            EndReviver
            record rest 5 by_hand=Yes traces=Some
            reply to 1: stopped 5 escalated=No
            EndStreams(Container)
        "#]],
    );
}

#[test]
fn a_program_that_is_killed_is_tried_again_later() {
    let mut shim = Shim::with_policy(RestartPolicy::Always);
    shim.exits(5);
    shim.tick();
    let before = shim.elapsed;
    assert_eq!(shim.on(Event::ReviverEnded(Reviver::Killed)), "");
    assert_eq!(shim.machine.deadline(), Some(before + Duration::from_millis(200)));
    assert_eq!(shim.tick(), "Revive([\"revive\"])\n");
    shim.is_revived(1, RestartPolicy::Always);
    // The one that came through has taken up what the other left.
    assert_eq!(shim.machine.restart.traces(), Traces::None);
}

#[test]
fn a_program_that_gives_up_ends_the_policy() {
    let mut shim = Shim::with_policy(RestartPolicy::Always);
    shim.exits(5);
    shim.tick();
    check(
        &shim.on(Event::ReviverEnded(Reviver::Done)),
        expect![[r#"
            record rest 5 by_hand=No traces=None
            EndStreams(Container)
        "#]],
    );
    let mut shim = Shim::with_policy(RestartPolicy::Always);
    shim.exits(5);
    shim.tick();
    shim.ask(A, wait(Until::NextExit));
    let policy = restarts(RestartPolicy::Always);
    shim.ask(
        B,
        Request::Launch(Box::new(Launch { restarts: policy, revival: 1, ..*launch(None) })),
    );
    let failure = StartFailure { code: ExitCode(127), message: "no sh".to_owned() };
    check(
        &shim.on(Event::LaunchFailed(B, failure)),
        expect![[r#"
            TearDown
            reply to 2: LaunchFailed(StartFailure { code: ExitCode(127), message: "no sh" })
            record rest 5 by_hand=No traces=None
            reply to 1: exited 5 oom=false
            EndStreams(Container)
        "#]],
    );
    assert_eq!(shim.on(Event::ReviverEnded(Reviver::Done)), "");
}

/// Docker has decided by then, and so has the shim.
#[test]
fn another_policy_counts_from_the_next_end_on() {
    let mut shim = Shim::with_policy(RestartPolicy::Always);
    shim.exits(5);
    let no = Request::SetRestarts(Box::new(Restarts {
        policy: RestartPolicy::No,
        ..restarts(RestartPolicy::No)
    }));
    assert_eq!(shim.ask(A, no), "reply to 1: Ok\n");
    assert_eq!(shim.tick(), "Revive([\"revive\"])\n");
    shim.is_revived(1, RestartPolicy::No);
    assert_eq!(shim.waits(1), None);
    let mut shim = Shim::with_policy(RestartPolicy::No);
    shim.ask(A, Request::SetRestarts(Box::new(restarts(RestartPolicy::Always))));
    assert!(shim.waits(0).is_some());
}

/// Between two lives the next start publishes what its record says.
#[test]
fn ports_are_those_of_a_container_that_runs() {
    let mut shim = Shim::with_policy(RestartPolicy::Always);
    let ask = || Request::SetPublished(None);
    assert_eq!(shim.ask(A, ask()), "Publish(ConnId(1), None)\n");
    shim.exits(5);
    assert_eq!(shim.ask(A, ask()), "reply to 1: Refused(NotRunning)\n");
}

#[test]
fn a_shim_stays_while_its_container_waits() {
    let mut shim = Shim::with_policy(RestartPolicy::Always);
    shim.on(Event::Closed(A));
    shim.on(Event::Closed(B));
    shim.exits(5);
    assert_eq!(shim.tick(), "Revive([\"revive\"])\n");
    shim.on(Event::Connected(B));
    shim.is_revived(1, RestartPolicy::Always);
    shim.on(Event::Closed(B));
    shim.on(Event::Connected(A));
    shim.exits(5);
    shim.ask(A, stop(None));
    check(
        &shim.on(Event::Closed(A)),
        expect![[r#"
        Finish(Exit)
    "#]],
    );
}
