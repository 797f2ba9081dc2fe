//! The machine's laws, without a process.

use super::*;

use model::Signal;

mod clock;
mod health;
mod restart;

use expect_test::{Expect, expect};
use jiff::Timestamp;
use model::container::{Stdin, StopTimeout, TerminalSize};
use oci_spec::runtime::{Process, Spec};

use crate::protocol::{
    CgroupName, Ended, ExecStart, ExecState, Launch, LogConfig, Reach, Request, Restarts, Then,
    Until, WithoutClient,
};

const A: ConnId = ConnId(1);
const C: ConnId = ConnId(3);
const B: ConnId = ConnId(2);
const STOP: StopDefaults = StopDefaults { signal: Signal::TERM, timeout: StopTimeout::Seconds(10) };

/// A machine with a clock that stands until it is told to go on.
struct Shim {
    machine: Machine,
    elapsed: Duration,
    /// What the clock on the wall shows then.
    wall: fn(i64) -> i64,
}

impl Shim {
    fn new() -> Self {
        let now = Now { elapsed: Duration::ZERO, wall: Timestamp::UNIX_EPOCH };
        let wall = |elapsed| 1_000 + elapsed;
        let mut shim = Self { machine: Machine::new(now), elapsed: Duration::ZERO, wall };
        shim.on(Event::Connected(A));
        shim.on(Event::Connected(B));
        shim
    }

    fn running(reap: Option<&str>) -> Self {
        let mut shim = Self::new();
        shim.ask(A, Request::Launch(launch(reap)));
        shim.on(Event::Launched(A, started(7)));
        shim
    }

    fn on(&mut self, event: Event) -> String {
        let seconds = i64::try_from(self.elapsed.as_secs()).unwrap();
        let wall = Timestamp::new((self.wall)(seconds), 0);
        let now = Now { elapsed: self.elapsed, wall: wall.unwrap() };
        let effects = self.machine.on(event, now);
        effects.iter().map(|effect| show(effect) + "\n").collect()
    }

    fn ask(&mut self, conn: ConnId, request: Request) -> String {
        self.on(Event::Request(conn, request))
    }

    fn exits(&mut self, code: u8) -> String {
        self.on(Event::InitExited(ExitCode(code), Oom::Unseen))
    }

    /// Goes to the next deadline.
    fn tick(&mut self) -> String {
        self.elapsed = self.machine.deadline().expect("there is a deadline");
        self.on(Event::Tick)
    }
}

/// An effect on one line.
fn show(effect: &Effect) -> String {
    match effect {
        Effect::Launch(conn, _) => format!("launch for {}", conn.0),
        Effect::Exec(conn, _) => format!("exec for {}", conn.0),
        Effect::Reply(conn, Reply::Exited(exit)) => {
            format!("reply to {}: exited {} oom={}", conn.0, exit.code.0, exit.oom)
        }
        Effect::Reply(conn, Reply::Stopped { exit, escalated }) => {
            format!("reply to {}: stopped {} escalated={escalated:?}", conn.0, exit.code.0)
        }
        Effect::Reply(conn, reply) => format!("reply to {}: {reply:?}", conn.0),
        Effect::RecordExit(exit, After::Rest) => format!("record exit {}", exit.code.0),
        Effect::RecordExit(exit, After::Restart) => {
            format!("record exit {}, restarting", exit.code.0)
        }
        Effect::RecordRest(exit, traces) => {
            format!("record rest {} by_hand={:?} traces={traces:?}", exit.code.0, exit.by_hand)
        }
        Effect::RecordLife(life) => format!("record {}", life.word()),
        Effect::RecordHealth(status, streak, None) => format!("health {} {streak}", status.word()),
        Effect::RecordHealth(status, streak, Some(checked)) => {
            format!("health {} {streak}: {:?}", status.word(), checked.verdict)
        }
        Effect::EndStreams(Target::Exec(_)) => "end streams of exec".to_owned(),
        Effect::RecordExecs(execs) => format!("record {} execs", execs.len()),
        Effect::Stream(..)
        | Effect::Signal(..)
        | Effect::HangUp(_)
        | Effect::Listen(_)
        | Effect::Freeze(..)
        | Effect::Thaw
        | Effect::Resize(..)
        | Effect::Publish(..)
        | Effect::Resolve(..)
        | Effect::EndStreams(Target::Container)
        | Effect::Tell(_)
        | Effect::TearDown
        | Effect::Check
        | Effect::Revive(_)
        | Effect::EndReviver
        | Effect::ForgetExit
        | Effect::Finish(_) => format!("{effect:?}"),
    }
}

fn check(actual: &str, expected: Expect) {
    expected.assert_eq(actual);
}

fn started(pid: u32) -> Started {
    Started { pid, since: Timestamp::UNIX_EPOCH }
}

fn launch(reap: Option<&str>) -> Box<Launch> {
    Box::new(Launch {
        spec: Box::new(Spec::default()),
        fds: Vec::new(),
        stdin: Stdin::Null,
        log: LogConfig::None,
        cgroup: CgroupName { parent: "p".to_owned(), name: "n".to_owned(), slice: None },
        stop: STOP,
        exit_record: "/x".into(),
        published: None,
        reap: reap.map(|id| vec!["reap".to_owned(), id.to_owned()]),
        restarts: Restarts::default(),
        health: None,
        revival: 0,
        restoration: None,
        decided: None,
        forwards: None,
        resolver: None,
    })
}

fn exec(number: u8) -> ExecId {
    ExecId::from_random([number; 32])
}

fn exec_start(number: u8) -> Request {
    Request::ExecStart(Box::new(ExecStart {
        exec: exec(number),
        process: Box::new(Process::default()),
        stdin: Stdin::Null,
        attach: None,
        without_client: WithoutClient::Stays,
    }))
}

fn stop(timeout: Option<StopTimeout>) -> Request {
    Request::Stop { signal: None, timeout, then: Then::Stay }
}

fn wait(until: Until) -> Request {
    Request::Wait { until, which: Which::Any }
}

fn kill(signal: Signal, reach: Reach) -> Request {
    Request::Kill { target: Target::Container, signal, reach }
}

fn attach(target: Target) -> Request {
    let streams = AttachedStreams { stdin: true, stdout: true, stderr: true };
    Request::Attach { target, streams, delivery: Delivery::Everything }
}

#[test]
fn a_launch_is_recorded_before_it_is_answered() {
    let mut shim = Shim::new();
    check(
        &shim.ask(A, Request::Launch(launch(None))),
        expect![[r#"
        launch for 1
    "#]],
    );
    check(
        &shim.on(Event::Launched(A, started(7))),
        expect![[r#"
            record running
            Tell(Started)
            reply to 1: Started(Started { pid: 7, since: 1970-01-01T00:00:00Z })
        "#]],
    );
    check(
        &shim.ask(B, Request::Launch(launch(None))),
        expect![[r#"
        reply to 2: Refused(AlreadyRunning)
    "#]],
    );
}

#[test]
fn a_failed_launch_answers_everyone_and_leaves_the_shim_ready() {
    let mut shim = Shim::new();
    shim.ask(B, wait(Until::NextExit));
    shim.ask(A, Request::Launch(launch(Some("id"))));
    let failure = StartFailure { code: ExitCode(127), message: "no sh".to_owned() };
    check(
        &shim.on(Event::LaunchFailed(A, failure)),
        expect![[r#"
        TearDown
        reply to 1: LaunchFailed(StartFailure { code: ExitCode(127), message: "no sh" })
        reply to 2: LaunchFailed(StartFailure { code: ExitCode(127), message: "no sh" })
        EndStreams(Container)
    "#]],
    );
    check(
        &shim.ask(A, Request::Launch(launch(None))),
        expect![[r#"
        launch for 1
    "#]],
    );
}

#[test]
fn the_exit_is_written_down_before_anyone_hears_of_it() {
    let mut shim = Shim::running(None);
    shim.ask(A, wait(Until::NextExit));
    shim.ask(B, wait(Until::NotRunning));
    check(
        &shim.exits(3),
        expect![[r#"
        record exit 3
        reply to 1: exited 3 oom=false
        reply to 2: exited 3 oom=false
        EndStreams(Container)
        TearDown
    "#]],
    );
    check(
        &shim.ask(A, wait(Until::NotRunning)),
        expect![[r#"
        reply to 1: exited 3 oom=false
    "#]],
    );
    check(&shim.ask(A, wait(Until::NextExit)), expect![""]);
}

#[test]
fn nothing_that_needs_a_container_works_without_one() {
    let mut shim = Shim::new();
    let size = TerminalSize { rows: 1, columns: 1 };
    for request in [
        stop(None),
        kill(Signal::KILL, Reach::Process),
        Request::Pause,
        Request::Resume,
        Request::Resize { target: Target::Container, size },
        wait(Until::NotRunning),
        exec_start(1),
    ] {
        assert_eq!(shim.ask(A, request), "reply to 1: Refused(NotRunning)\n");
    }
    check(
        &shim.ask(A, attach(Target::Exec(exec(1)))),
        expect![[r#"
        reply to 1: Refused(NoSuchExec)
    "#]],
    );
}

#[test]
fn a_stop_asks_then_kills_then_gives_up() {
    let mut shim = Shim::running(None);
    check(
        &shim.ask(A, stop(None)),
        expect![[r#"
            Listen(Signal(15))
            Tell(Signalled(Signal(15)))
            Signal(Container, Signal(15), Process)
        "#]],
    );
    check(
        &shim.tick(),
        expect![[r#"
            Tell(Signalled(Signal(9)))
            Signal(Container, Signal(9), Process)
        "#]],
    );
    assert_eq!(shim.elapsed, Duration::from_secs(10));
    check(
        &shim.tick(),
        expect![[r#"
        reply to 1: Failed { message: "the container was killed but does not end: a process of it is stuck in the kernel" }
    "#]],
    );
    assert_eq!(shim.machine.deadline(), None);
    shim.ask(B, stop(None));
    check(
        &shim.exits(137),
        expect![[r#"
        record exit 137
        reply to 2: stopped 137 escalated=Killed
        EndStreams(Container)
        TearDown
    "#]],
    );
}

#[test]
fn a_container_that_goes_when_asked_was_not_killed() {
    let mut shim = Shim::running(None);
    shim.ask(A, stop(Some(StopTimeout::Seconds(60))));
    assert!(shim.exits(0).contains("reply to 1: stopped 0 escalated=No"));
}

#[test]
fn the_earlier_of_two_stops_decides() {
    let mut shim = Shim::running(None);
    shim.ask(A, stop(Some(StopTimeout::Forever)));
    assert_eq!(shim.machine.deadline(), None);
    shim.ask(B, stop(Some(StopTimeout::Seconds(5))));
    assert_eq!(shim.machine.deadline(), Some(Duration::from_secs(5)));
    shim.ask(A, stop(Some(StopTimeout::Seconds(90))));
    assert_eq!(shim.machine.deadline(), Some(Duration::from_secs(5)));
    shim.ask(A, stop(Some(StopTimeout::Forever)));
    assert_eq!(shim.machine.deadline(), Some(Duration::from_secs(5)));
}

#[test]
fn a_stop_goes_on_without_its_client() {
    let mut shim = Shim::running(None);
    shim.ask(A, stop(None));
    shim.on(Event::Closed(A));
    assert!(shim.tick().contains("Signal(9)"));
    assert!(!shim.exits(137).contains("reply"));
}

#[test]
fn a_paused_container_is_signalled_and_then_thawed() {
    let mut shim = Shim::running(None);
    check(
        &shim.ask(A, Request::Pause),
        expect![[r#"
        Freeze(ConnId(1), Frozen)
    "#]],
    );
    check(
        &shim.on(Event::Froze(A, Freeze::Frozen, Ok(()))),
        expect![[r#"
        record paused
        reply to 1: Ok
    "#]],
    );
    assert_eq!(shim.ask(A, Request::Pause), "reply to 1: Refused(AlreadyPaused)\n");
    assert_eq!(shim.ask(A, exec_start(1)), "reply to 1: Refused(Paused)\n");
    check(
        &shim.ask(A, stop(None)),
        expect![[r#"
            Listen(Signal(15))
            Tell(Signalled(Signal(15)))
            Signal(Container, Signal(15), Process)
            Thaw
            record running
        "#]],
    );
}

#[test]
fn sigkill_is_answered_when_it_has_worked() {
    let mut shim = Shim::running(None);
    check(
        &shim.ask(A, kill(Signal::HUP, Reach::Process)),
        expect![[r#"
            Tell(Signalled(Signal(1)))
            Signal(Container, Signal(1), Process)
            reply to 1: Ok
        "#]],
    );
    check(
        &shim.ask(A, kill(Signal::KILL, Reach::Everyone)),
        expect![[r#"
            Signal(Container, Signal(9), Everyone)
            Tell(Signalled(Signal(9)))
            Signal(Container, Signal(9), Process)
        "#]],
    );
    assert_eq!(shim.ask(B, Request::Pause), "reply to 2: Refused(NotRunning)\n");
    assert!(shim.exits(137).contains("reply to 1: Ok"));
}

#[test]
fn a_freeze_that_failed_changes_nothing() {
    let mut shim = Shim::running(None);
    shim.ask(A, Request::Pause);
    check(
        &shim.on(Event::Froze(A, Freeze::Frozen, Err("no".to_owned()))),
        expect![[r#"
        reply to 1: Failed { message: "no" }
    "#]],
    );
    assert_eq!(shim.ask(A, Request::Resume), "reply to 1: Refused(NotPaused)\n");
}

#[test]
fn an_oom_kill_seen_at_any_time_is_in_the_record() {
    let mut shim = Shim::running(None);
    shim.ask(A, wait(Until::NextExit));
    shim.on(Event::OomKill);
    assert!(shim.exits(0).contains("exited 0 oom=true"));
}

#[test]
fn sigterm_to_the_shim_stops_the_container() {
    let mut shim = Shim::running(None);
    check(
        &shim.on(Event::Terminate),
        expect![[r#"
            Listen(Signal(15))
            Tell(Signalled(Signal(15)))
            Signal(Container, Signal(15), Process)
        "#]],
    );
    assert!(shim.tick().contains("Signal(9)"));
}

#[test]
fn an_exec_lives_and_is_remembered() {
    let mut shim = Shim::running(None);
    check(
        &shim.ask(A, exec_start(1)),
        expect![[r#"
        exec for 1
    "#]],
    );
    check(
        &shim.on(Event::ExecLaunched(A, exec(1), started(9), None)),
        expect![[r#"
        reply to 1: Started(Started { pid: 9, since: 1970-01-01T00:00:00Z })
    "#]],
    );
    assert_eq!(shim.ask(B, exec_start(1)), "reply to 2: Refused(ExecExists)\n");
    check(
        &shim.on(Event::ExecExited(exec(1), ExitCode(4), Oom::Unseen)),
        expect![[r#"
            Tell(ExecEnded(0101010101010101010101010101010101010101010101010101010101010101, ExitCode(4), Unseen))
            end streams of exec
        "#]],
    );
    assert!(shim.ask(A, Request::ExecState { exec: exec(1) }).contains("ExitCode(4), pid: 9"));
    let kill = Request::Kill {
        target: Target::Exec(exec(1)),
        signal: Signal::TERM,
        reach: Reach::Process,
    };
    assert_eq!(shim.ask(A, kill), "reply to 1: Refused(ExecNotRunning)\n");
}

#[test]
fn an_attached_exec_is_answered_before_its_output_comes() {
    let mut shim = Shim::running(None);
    shim.ask(A, exec_start(1));
    let streams = AttachedStreams { stdin: false, stdout: true, stderr: true };
    let effects = shim.on(Event::ExecLaunched(A, exec(1), started(9), Some(streams)));
    let order: Vec<&str> = effects.lines().map(|line| &line[..6]).collect();
    assert_eq!(order, ["reply ", "Stream"]);
}

#[test]
fn execs_die_with_their_container() {
    let mut shim = Shim::running(None);
    shim.ask(A, exec_start(1));
    shim.on(Event::ExecLaunched(A, exec(1), started(9), None));
    assert!(shim.exits(0).contains("end streams of exec"));
    assert!(shim.ask(A, Request::ExecState { exec: exec(1) }).contains("ExitCode(137)"));
}

/// Execs that end as soon as they have begun.
fn end_execs(shim: &mut Shim, numbers: std::ops::Range<u16>) {
    for number in numbers {
        let id = numbered(number);
        shim.machine.execs.begin(id).unwrap();
        shim.on(Event::ExecLaunched(A, id, started(9), None));
        shim.on(Event::ExecExited(id, ExitCode(0), Oom::Unseen));
    }
}

fn numbered(number: u16) -> ExecId {
    let mut bytes = [0xee; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    ExecId::from_random(bytes)
}

#[test]
fn an_ended_exec_is_remembered_for_its_time_and_a_running_one_always() {
    let mut shim = Shim::running(None);
    shim.ask(A, exec_start(0));
    shim.on(Event::ExecLaunched(A, exec(0), started(9), None));
    end_execs(&mut shim, 0..100);
    shim.elapsed = exec::REMEMBERED_FOR;
    end_execs(&mut shim, 100..101);
    assert_eq!(shim.machine.execs.list().len(), 102);
    shim.elapsed += Duration::from_secs(1);
    end_execs(&mut shim, 101..102);
    // The last ones are, whatever the time.
    assert_eq!(shim.machine.execs.list().len(), 1 + exec::LAST);
    end_execs(&mut shim, 102..102 + 40);
    assert_eq!(shim.machine.execs.list().len(), 1 + 42);
    assert!(shim.ask(A, Request::ExecState { exec: exec(0) }).contains("Running"));
    assert!(shim.ask(A, Request::ExecState { exec: numbered(102) }).contains("Exited"));
    assert!(shim.ask(A, Request::ExecState { exec: numbered(0) }).contains("NoSuchExec"));
}

#[test]
fn an_exec_that_has_ended_says_what_made_it() {
    let mut shim = Shim::running(None);
    let begin = |shim: &mut Shim, number, without_client| {
        let Request::ExecStart(start) = exec_start(number) else { panic!("it is one") };
        shim.ask(A, Request::ExecStart(Box::new(ExecStart { without_client, ..*start })));
        shim.on(Event::ExecLaunched(A, exec(number), started(9), None));
    };
    let kill = |shim: &mut Shim, number, signal| {
        let (target, reach) = (Target::Exec(exec(number)), Reach::Everyone);
        shim.ask(B, Request::Kill { target, signal, reach });
    };
    let end = |shim: &mut Shim, number, code| {
        shim.on(Event::ExecExited(exec(number), ExitCode(code), Oom::Unseen));
        let info = shim.machine.execs.info(exec(number)).unwrap();
        let ExecState::Exited { why, .. } = info.state else { panic!("it runs") };
        why
    };
    for number in 0..5 {
        begin(&mut shim, number, WithoutClient::Stays);
    }
    begin(&mut shim, 5, WithoutClient::Ends);
    assert_eq!(end(&mut shim, 0, 137), Ended::ByItself);
    kill(&mut shim, 1, Signal::TERM);
    assert_eq!(end(&mut shim, 1, 0), Ended::Signalled(Signal::TERM));
    // It has another use for the signal.
    kill(&mut shim, 2, Signal::TERM);
    shim.elapsed += Duration::from_secs(11);
    assert_eq!(end(&mut shim, 2, 0), Ended::ByItself);
    let usr1 = "USR1".parse().unwrap();
    kill(&mut shim, 3, usr1);
    assert_eq!(end(&mut shim, 3, 138), Ended::ByItself);
    // It is told to end before its client goes: the last word counts, and is forgotten with it.
    kill(&mut shim, 5, Signal::TERM);
    shim.on(Event::Closed(A));
    assert_eq!(end(&mut shim, 5, 129), Ended::ClientGone);
    shim.machine.execs.forget(exec(5));
    begin(&mut shim, 5, WithoutClient::Stays);
    assert_eq!(end(&mut shim, 5, 0), Ended::ByItself);
    shim.on(Event::InitExited(ExitCode(0), Oom::Unseen));
    let info = shim.machine.execs.info(exec(4)).unwrap();
    assert!(matches!(info.state, ExecState::Exited { why: Ended::Container, .. }), "{info:?}");
    assert_eq!(shim.machine.execs.last().len(), 6);
}

#[test]
fn no_more_than_so_many_ended_execs_are_remembered() {
    let mut shim = Shim::running(None);
    end_execs(&mut shim, 0..5000);
    assert_eq!(shim.machine.execs.list().len(), exec::REMEMBERED);
    assert!(shim.ask(A, Request::ExecState { exec: numbered(4999) }).contains("Exited"));
    assert!(shim.ask(A, Request::ExecState { exec: numbered(0) }).contains("NoSuchExec"));
}

#[test]
fn an_unused_shim_ends_after_its_limit_and_not_while_a_client_is_there() {
    let mut shim = Shim::new();
    assert_eq!(shim.machine.deadline(), None);
    shim.on(Event::Closed(A));
    shim.on(Event::Closed(B));
    assert_eq!(shim.machine.deadline(), Some(IDLE_LIMIT));
    check(
        &shim.tick(),
        expect![[r#"
        Finish(Exit)
    "#]],
    );
    check(&shim.on(Event::FinishPutOff), expect![""]);
    assert_eq!(shim.machine.deadline(), Some(IDLE_LIMIT + RETRY));
    shim.on(Event::Connected(A));
    assert_eq!(shim.machine.deadline(), None);
    check(
        &shim.on(Event::Closed(A)),
        expect![[r#"
        Finish(Exit)
    "#]],
    );
}

#[test]
fn after_the_end_it_stays_for_its_clients_and_for_another_launch() {
    let mut shim = Shim::running(None);
    shim.exits(0);
    shim.on(Event::Closed(A));
    check(
        &shim.ask(B, Request::Launch(launch(None))),
        expect![[r#"
        launch for 2
    "#]],
    );
    shim.on(Event::Launched(B, started(8)));
    assert_eq!(shim.on(Event::Closed(B)), "");
    assert!(shim.exits(1).ends_with("TearDown\nFinish(Exit)\n"));
}

#[test]
fn without_a_claim_the_shim_removes_the_container_once_output_is_delivered() {
    let mut shim = Shim::running(Some("id"));
    shim.ask(A, attach(Target::Container));
    assert!(!shim.exits(0).contains("Finish"));
    check(
        &shim.on(Event::Closed(A)),
        expect![[r#"
        Finish(Reap(["reap", "id"]))
    "#]],
    );
}

#[test]
fn a_claim_that_is_kept_leaves_nothing_to_do() {
    let mut shim = Shim::running(Some("id"));
    assert_eq!(shim.ask(A, Request::Claim), "reply to 1: Ok\n");
    assert_eq!(shim.ask(B, Request::Claim), "reply to 2: Refused(Claimed)\n");
    assert_eq!(shim.ask(B, Request::Release), "reply to 2: Refused(NotClaimed)\n");
    assert!(!shim.exits(0).contains("Finish"));
    // The container is gone: whoever is still connected waits for nothing.
    assert_eq!(shim.ask(A, Request::Release), "reply to 1: Ok\nFinish(Exit)\n");
}

#[test]
fn output_is_delivered_before_a_shim_leaves_whose_container_is_gone() {
    let mut shim = Shim::running(Some("id"));
    shim.ask(A, Request::Claim);
    shim.ask(B, attach(Target::Container));
    shim.exits(0);
    assert_eq!(shim.ask(A, Request::Release), "reply to 1: Ok\n");
    assert_eq!(shim.on(Event::Closed(B)), "Finish(Exit)\n");
}

/// Who asks only after the end cannot know whether it is this shim that saw it.
#[test]
fn output_is_delivered_before_a_shim_leaves_that_is_told_to_quit() {
    let mut shim = Shim::running(Some("id"));
    shim.ask(B, attach(Target::Container));
    shim.ask(A, Request::Claim);
    shim.exits(0);
    assert_eq!(shim.ask(A, Request::Quit), "reply to 1: Ok\n");
    assert_eq!(shim.on(Event::Closed(B)), "Finish(Exit)\n");
}

#[test]
fn nobody_attaches_to_a_container_that_goes() {
    let mut shim = Shim::running(Some("id"));
    shim.ask(A, Request::Claim);
    shim.exits(0);
    assert_eq!(shim.ask(B, attach(Target::Container)), "reply to 2: Refused(NotRunning)\n");
    let mut stays = Shim::running(None);
    stays.exits(0);
    assert!(stays.ask(B, attach(Target::Container)).starts_with("reply to 2: Ok\n"));
}

#[test]
fn one_that_goes_has_no_next_end() {
    let mut shim = Shim::running(Some("id"));
    shim.ask(A, Request::Claim);
    shim.exits(3);
    // Whoever asks too late hears of the last end; the next one would never come.
    let next_exit = wait(Until::NextExit);
    assert_eq!(shim.ask(B, next_exit), "reply to 2: exited 3 oom=false\n");
    let mut stays = Shim::running(None);
    stays.exits(3);
    assert_eq!(stays.ask(B, wait(Until::NextExit)), "");
}

#[test]
fn a_claim_that_dies_falls_back_to_the_shim() {
    let mut shim = Shim::running(Some("id"));
    shim.ask(A, Request::Claim);
    shim.exits(0);
    assert_eq!(shim.on(Event::Closed(A)), "Finish(Reap([\"reap\", \"id\"]))\n");
    let mut shim = Shim::running(Some("id"));
    shim.ask(A, Request::Claim);
    shim.on(Event::Closed(A));
    assert!(shim.exits(0).ends_with("Finish(Reap([\"reap\", \"id\"]))\n"));
}

/// One that goes with its process, with somebody who removes it then, and stopped to be started again.
fn restarting() -> Shim {
    let mut shim = Shim::running(Some("id"));
    shim.ask(B, Request::Claim);
    shim.ask(B, Request::Wait { until: Until::NextExit, which: Which::Last });
    shim.ask(A, Request::Stop { signal: None, timeout: None, then: Then::Restart });
    check(
        &shim.exits(0),
        expect![[r#"
            record exit 0
            reply to 1: stopped 0 escalated=No
            EndStreams(Container)
            TearDown
        "#]],
    );
    shim
}

#[test]
fn nobody_removes_what_is_started_again() {
    let mut shim = restarting();
    // One who starts it may come by another connection, and one who attaches sees the next run.
    assert!(shim.ask(A, attach(Target::Container)).starts_with("reply to 1: Ok\n"));
    shim.ask(B, Request::Launch(launch(Some("id"))));
    shim.on(Event::Launched(B, started(8)));
    check(&shim.on(Event::Closed(A)), expect![""]);
    // The end that counts.
    check(
        &shim.exits(5),
        expect![[r#"
            record exit 5
            reply to 2: exited 5 oom=false
            EndStreams(Container)
            TearDown
        "#]],
    );
    check(
        &shim.ask(B, Request::Release),
        expect![[r#"
        reply to 2: Ok
        Finish(Exit)
    "#]],
    );
}

#[test]
fn one_that_is_not_started_again_after_all_goes() {
    let mut shim = restarting();
    // Nobody takes it away meanwhile.
    assert_eq!(shim.ask(C, Request::Claim), "reply to 3: Refused(Claimed)\n");
    shim.on(Event::Closed(C));
    check(
        &shim.on(Event::Closed(A)),
        expect![[r#"
            reply to 2: exited 0 oom=false
            EndStreams(Container)
        "#]],
    );
    check(
        &shim.on(Event::Closed(B)),
        expect![[r#"
            Finish(Reap(["reap", "id"]))
        "#]],
    );
}

#[test]
fn who_waits_for_the_next_end_of_what_stays_is_not_told_the_last() {
    let mut shim = Shim::running(None);
    shim.ask(A, Request::Stop { signal: None, timeout: None, then: Then::Restart });
    shim.exits(0);
    assert_eq!(shim.ask(B, Request::Wait { until: Until::NextExit, which: Which::Any }), "");
    assert_eq!(shim.on(Event::Closed(A)), "");
}

#[test]
fn who_waits_while_it_is_started_again_hears_if_it_is_removed_instead() {
    let mut shim = restarting();
    check(
        &shim.ask(C, Request::Quit),
        expect![[r#"
            reply to 2: exited 0 oom=false
            Finish(ExitNow)
        "#]],
    );
}

#[test]
fn a_hold_without_a_stop_holds_nothing() {
    let mut shim = Shim::new();
    let restart = || Request::Stop { signal: None, timeout: None, then: Then::Restart };
    check(
        &shim.ask(B, restart()),
        expect![[r#"
        reply to 2: Refused(NotRunning)
    "#]],
    );
    shim.ask(A, Request::Launch(launch(Some("id"))));
    shim.on(Event::Launched(A, started(7)));
    assert!(shim.exits(0).ends_with("Finish(Reap([\"reap\", \"id\"]))\n"));
}

#[test]
fn a_claim_given_back_before_the_end_leaves_the_duty() {
    let mut shim = Shim::running(Some("id"));
    shim.ask(A, Request::Claim);
    shim.ask(A, Request::Release);
    assert!(shim.exits(0).ends_with("Finish(Reap([\"reap\", \"id\"]))\n"));
}

#[test]
fn quit_ends_an_idle_shim_at_once_and_no_other() {
    let mut shim = Shim::running(None);
    assert_eq!(shim.ask(B, Request::Quit), "reply to 2: Refused(AlreadyRunning)\n");
    shim.exits(0);
    assert_eq!(shim.ask(B, Request::Quit), "Finish(ExitNow)\n");
}

/// The client that started it, and nobody else, takes it along.
#[test]
fn an_exec_ends_with_its_client_if_that_was_asked_for() {
    let start = |number| {
        let Request::ExecStart(start) = exec_start(number) else { panic!() };
        Request::ExecStart(Box::new(ExecStart { without_client: WithoutClient::Ends, ..*start }))
    };
    let run = |shim: &mut Shim, conn, request, number| {
        shim.ask(conn, request);
        shim.on(Event::ExecLaunched(conn, exec(number), started(8), None));
    };
    let mut shim = Shim::running(None);
    shim.on(Event::Connected(C));
    run(&mut shim, A, start(1), 1);
    run(&mut shim, B, start(2), 2);
    run(&mut shim, C, exec_start(3), 3);
    assert_eq!(shim.on(Event::Closed(C)), "");
    shim.ask(A, Request::ExecKeep { exec: exec(2) });
    assert_eq!(shim.on(Event::Closed(B)), "");
    // What it has sent still waits for its process, which may never take it.
    let hangup = shim.on(Event::HungUp(A));
    assert_eq!(shim.on(Event::Closed(A)), "");
    assert!(hangup.starts_with("HangUp(") && hangup.lines().count() == 1, "{hangup}");
    let killed = shim.tick();
    assert!(killed.ends_with("Signal(9), Everyone)\n"), "{killed}");
    assert_eq!(shim.elapsed, Duration::from_secs(10));
    assert_eq!(shim.machine.deadline(), None);
    // One that ends by itself leaves what it has started behind.
    let mut shim = Shim::running(None);
    run(&mut shim, A, start(1), 1);
    shim.on(Event::ExecExited(exec(1), ExitCode(0), Oom::Unseen));
    shim.on(Event::Closed(A));
    assert_eq!(shim.machine.deadline(), None);
}

#[test]
fn what_is_left_of_an_exec_that_was_to_end_is_killed_a_while_later() {
    let running = || {
        let mut shim = Shim::running(None);
        shim.ask(B, exec_start(1));
        shim.on(Event::ExecLaunched(B, exec(1), started(8), None));
        shim
    };
    let signal = |shim: &mut Shim, signal, reach| {
        let target = Target::Exec(exec(1));
        shim.ask(A, Request::Kill { target, signal, reach });
    };
    let exits = |shim: &mut Shim| shim.on(Event::ExecExited(exec(1), ExitCode(0), Oom::Unseen));
    let mut shim = running();
    signal(&mut shim, Signal::TERM, Reach::Everyone);
    assert_eq!(shim.machine.deadline(), None, "it may have another use for that signal");
    exits(&mut shim);
    let killed = shim.tick();
    assert!(killed.ends_with("Signal(9), Everyone)\n"), "{killed}");
    assert_eq!((shim.elapsed, shim.machine.deadline()), (Duration::from_secs(10), None));
    // One that ends long after did not end by it.
    let mut shim = running();
    signal(&mut shim, Signal::TERM, Reach::Everyone);
    shim.elapsed += Duration::from_secs(11);
    exits(&mut shim);
    assert_eq!(shim.machine.deadline(), None);
    // That it is kept after its client does not undo what it was asked.
    let mut shim = running();
    signal(&mut shim, Signal::TERM, Reach::Everyone);
    shim.ask(A, Request::ExecKeep { exec: exec(1) });
    exits(&mut shim);
    assert!(shim.machine.deadline().is_some());
    // Signals of other use, and those to one process alone, have nothing to do with its end.
    for (number, reach) in [
        "USR1".parse().map(|signal| (signal, Reach::Everyone)).unwrap(),
        (Signal::HUP, Reach::Everyone),
        (Signal::TERM, Reach::Process),
    ] {
        let mut shim = running();
        signal(&mut shim, number, reach);
        exits(&mut shim);
        assert_eq!(shim.machine.deadline(), None);
    }
}

#[test]
fn a_container_that_was_frozen_for_a_client_goes_on_without_it() {
    let frozen = || {
        let mut shim = Shim::running(None);
        assert_eq!(shim.ask(A, Request::PauseWhileConnected), "Freeze(ConnId(1), Frozen)\n");
        shim.on(Event::Froze(A, Freeze::Frozen, Ok(())));
        shim
    };
    let mut shim = frozen();
    assert_eq!(shim.on(Event::Closed(B)), "");
    assert_eq!(shim.on(Event::Closed(A)), "Thaw\nrecord running\nTell(Thawed)\n");
    // Somebody else has let it go on, or has frozen it since for as long as it may be.
    let mut shim = frozen();
    shim.ask(B, Request::Resume);
    shim.on(Event::Froze(B, Freeze::Thawed, Ok(())));
    shim.ask(B, Request::Pause);
    shim.on(Event::Froze(B, Freeze::Frozen, Ok(())));
    assert_eq!(shim.on(Event::Closed(A)), "");
    // One that is frozen already is frozen for whoever did that.
    assert_eq!(shim.ask(C, Request::PauseWhileConnected), "reply to 3: Refused(AlreadyPaused)\n");
    assert_eq!(shim.on(Event::Closed(C)), "");
}

/// A machine whose container runs for so long and was asked to end, but is deaf.
fn deaf(runs: Duration) -> Shim {
    let mut shim = Shim::running(None);
    shim.elapsed = runs;
    let asked = shim.ask(A, Request::Stop { signal: None, timeout: None, then: Then::Stay });
    assert!(asked.starts_with("Listen(Signal(15))\nTell(Signalled("), "{asked}");
    assert_eq!(shim.on(Event::Hearing(Signal::TERM, Hearing::Deaf(Pace::default()))), "");
    shim
}

#[test]
fn who_does_not_hear_its_signal_is_killed_after_some_looks() {
    for (runs, limit) in [(1, 1000), (60, 100)] {
        let runs = Duration::from_secs(runs);
        let mut shim = deaf(runs);
        let killed = loop {
            assert_eq!(shim.tick(), "Listen(Signal(15))\n");
            let effects = shim.on(Event::Hearing(Signal::TERM, Hearing::Deaf(Pace::default())));
            if !effects.is_empty() {
                break effects;
            }
        };
        assert!(killed.starts_with("Tell(Unheard(Signal(15)))\n"), "{killed}");
        assert!(killed.contains("Signal(Container, Signal(9), Process)"), "{killed}");
        assert_eq!(shim.elapsed - runs, Duration::from_millis(limit));
        assert!(shim.exits(137).contains("stopped 137 escalated=Killed"));
    }
}

/// What it says of a process that has run for so many milliseconds.
fn looked_at(shim: &mut Shim, ran: u64) -> String {
    assert_eq!(shim.tick(), "Listen(Signal(15))\n");
    let pace = Pace { ran: Duration::from_millis(ran), reads: false };
    shim.on(Event::Hearing(Signal::TERM, Hearing::Deaf(pace)))
}

#[test]
fn who_has_just_been_started_and_works_is_given_the_time_that_it_works_for() {
    let mut shim = deaf(Duration::from_secs(1));
    // From look to look it runs for 20 ms.
    for look in 1..=60 {
        assert_eq!(looked_at(&mut shim, look * 20), "");
    }
    assert_eq!(shim.elapsed, Duration::from_secs(4));
    // Then it rests.
    let killed = loop {
        let effects = looked_at(&mut shim, 1200);
        if !effects.is_empty() {
            break effects;
        }
    };
    assert!(killed.starts_with("Tell(Unheard("), "{killed}");
    assert_eq!(shim.elapsed, Duration::from_secs(5));
    // One that was started long ago has installed what it installs.
    let mut shim = deaf(Duration::from_secs(60));
    assert_eq!(looked_at(&mut shim, 20), "");
    assert!(looked_at(&mut shim, 40).starts_with("Tell(Unheard("));
}

#[test]
fn who_works_and_never_hears_is_killed_when_its_time_is_up() {
    let mut shim = deaf(Duration::from_secs(1));
    for look in 1.. {
        let effects = looked_at(&mut shim, look * 20);
        if !effects.is_empty() {
            break;
        }
    }
    // It is new for ten seconds, as long as its stop may take.
    assert!(shim.elapsed <= Duration::from_secs(11), "{:?}", shim.elapsed);
}

#[test]
fn who_hears_its_signal_a_moment_later_gets_it_then_and_has_its_time() {
    let mut shim = deaf(Duration::from_secs(1));
    shim.tick();
    let again = shim.on(Event::Hearing(Signal::TERM, Hearing::Hears));
    assert_eq!(again, "Signal(Container, Signal(15), Process)\n");
    assert_eq!(shim.machine.deadline(), Some(Duration::from_secs(11)));
}

#[test]
fn who_has_for_ever_is_never_looked_at() {
    let mut shim = Shim::running(None);
    let timeout = Some(StopTimeout::Forever);
    let asked = shim.ask(A, Request::Stop { signal: None, timeout, then: Then::Stay });
    assert!(asked.starts_with("Tell(Signalled("), "{asked}");
    assert_eq!(shim.machine.deadline(), None);
}
