//! An exec's life beside its client: with it, without it, and ended by others.

use testkit::{Host, until};

use crate::host;

/// The commands that `exec` has started and that still run.
fn running(host: &Host, container: &str) -> Vec<String> {
    let listed = host.ok(&["container", "exec-ls", container]);
    listed.lines().skip(1).map(str::to_owned).collect()
}

fn until_runs(host: &Host, container: &str, count: usize) {
    until("so many execs", || running(host, container).len() == count);
}

fn sleeper(host: &Host, name: &str) {
    host.ok(&["run", "-d", "--name", name, "busybox", "sleep", "1000"]);
}

/// How many processes of the container sleep so long.
fn sleeps(host: &Host, container: &str, seconds: &str) -> String {
    let line = format!("ps | grep -c 'sleep [{}]{}'", &seconds[..1], &seconds[1..]);
    host.run(&["exec", container, "sh", "-c", &line]).out
}

#[test]
fn an_exec_ends_when_its_client_is_killed() {
    let host = host();
    sleeper(&host, "c1");
    // What it has started goes as well, and what does not heed a hangup is killed in the end.
    let script = "sleep 2001 & sleep 2001";
    let mut client = host.spawn(&mut host.command(&["exec", "c1", "sh", "-c", script]));
    until("what sleeps", || sleeps(&host, "c1", "2001") == "2");
    client.kill().unwrap();
    client.wait().unwrap();
    until("what sleeps", || sleeps(&host, "c1", "2001") == "0");
    until_runs(&host, "c1", 0);
}

/// What it was sent and does not take keeps it from nothing.
#[test]
fn an_exec_that_does_not_read_ends_when_its_client_is_killed() {
    let host = host();
    sleeper(&host, "c1");
    let path = host.scratch().join("long");
    let file = std::fs::File::options()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    file.set_len(64 << 20).unwrap();
    let mut command = host.command(&["exec", "-i", "c1", "sleep", "2004"]);
    let mut client = host.spawn(command.stdin(file));
    // More than a pipe holds is on its way.
    let sent = || {
        let info = std::fs::read_to_string(format!("/proc/{}/fdinfo/0", client.id())).unwrap();
        let position = info.lines().next().unwrap().trim_start_matches("pos:").trim();
        position.parse::<u64>().unwrap()
    };
    until("what it is sent", || sent() >= 256 << 10);
    assert_eq!(running(&host, "c1").len(), 1);
    client.kill().unwrap();
    client.wait().unwrap();
    until_runs(&host, "c1", 0);
}

#[test]
fn an_exec_that_is_kept_or_in_the_background_goes_on() {
    let host = host();
    sleeper(&host, "c1");
    let mut client = host.spawn(&mut host.command(&["exec", "--keep", "c1", "sleep", "2002"]));
    until_runs(&host, "c1", 1);
    client.kill().unwrap();
    client.wait().unwrap();
    host.ok(&["exec", "-d", "c1", "sleep", "2002"]);
    until_runs(&host, "c1", 2);
    assert_eq!(sleeps(&host, "c1", "2002"), "2");
    let ids: Vec<String> = running(&host, "c1")
        .iter()
        .map(|line| line.split_whitespace().next().unwrap().to_owned())
        .collect();
    assert_eq!(host.ok(&["container", "exec-kill", "-s", "TERM", &ids[0]]), ids[0]);
    until_runs(&host, "c1", 1);
    // The short spelling, while no container is called so.
    assert!(host.ok(&["exec", "ls", "c1"]).contains(&ids[1]));
    assert_eq!(host.ok(&["exec", "kill", &ids[1]]), ids[1]);
    until_runs(&host, "c1", 0);
    let again = host.fails(1, &["container", "exec-kill", &ids[1]]);
    assert!(again.contains("is not running"), "{again}");
    let none = host.fails(1, &["container", "exec-kill", "0123"]);
    assert!(none.contains("No such exec instance: 0123"), "{none}");
    sleeper(&host, "ls");
    assert_eq!(host.ok(&["exec", "ls", "hostname"]), host.ok(&["ps", "-q", "-f", "name=ls"]));
}

/// Whoever types the keys to leave has not gone.
#[test]
fn an_exec_that_its_client_detaches_from_goes_on() {
    let host = host();
    sleeper(&host, "c1");
    let mut terminal = host.terminal(&["exec", "-it", "c1", "sh", "-c", "echo ready; sleep 2003"]);
    terminal.expect("ready");
    terminal.type_("\x10\x11");
    terminal.expect("read escape sequence");
    assert_eq!(terminal.end(), 1);
    assert_eq!(running(&host, "c1").len(), 1);
    // A hangup that came with it would have ended this one by now.
    host.ok(&["exec", "c1", "true"]);
    assert_eq!(sleeps(&host, "c1", "2003"), "1");
}

/// The parts of its execs that a container's cgroup has.
fn parts(host: &Host, container: &str) -> usize {
    let id = host.ok(&["inspect", "-f", "{{.Id}}", container]);
    let mounts = std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
    let tag = model::RootTag::of_path(host.root().as_os_str().as_encoded_bytes());
    let whole =
        mounts.chain(["/sys/fs/cgroup".into()]).map(|m| m.join(tag.dashed("dhow")).join(&id));
    let inside = whole.filter_map(|dir| std::fs::read_dir(dir).ok()).flatten().flatten();
    inside.filter(|entry| entry.file_name().to_string_lossy().starts_with("exec-")).count()
}

/// Starts something in another session, says so, and waits.
fn and_another(seconds: &str) -> String {
    format!("setsid sleep {seconds} & sleep {seconds}")
}

#[test]
fn what_has_left_its_session_goes_with_an_exec_that_is_ended() {
    let host = host();
    sleeper(&host, "c1");
    // Its client goes, and it has a terminal.
    let script = and_another("2011");
    let terminal = host.terminal(&["exec", "-it", "c1", "sh", "-c", &script]);
    until("what sleeps", || sleeps(&host, "c1", "2011") == "2");
    terminal.signal(rustix::process::Signal::KILL);
    until("what sleeps", || sleeps(&host, "c1", "2011") == "0");
    // Somebody kills it.
    let script = and_another("2012");
    let mut client = host.spawn(&mut host.command(&["exec", "c1", "sh", "-c", &script]));
    until("what sleeps", || sleeps(&host, "c1", "2012") == "2");
    let listed = running(&host, "c1");
    let id = listed[0].split_whitespace().next().unwrap().to_owned();
    host.ok(&["exec", "kill", &id]);
    until("what sleeps", || sleeps(&host, "c1", "2012") == "0");
    assert_eq!(client.wait().unwrap().code(), Some(137));
    until("the end of its part", || parts(&host, "c1") == 0);
}

/// Mounts the control groups of a privileged container, with one beside those of its execs.
fn other_group(host: &Host) {
    host.ok(&["run", "-d", "--privileged", "--name", "c1", "busybox", "sleep", "1000"]);
    host.ok(&["exec", "c1", "sh", "-c", "mkdir /u && mount -t cgroup2 none /u && mkdir /u/other"]);
}

/// As `su` in a container of systemd's, whose session gets a control group of its own.
#[test]
fn an_exec_that_has_moved_to_another_control_group_is_ended() {
    let host = host();
    other_group(&host);
    // Somebody else is in there.
    let bystander = "echo $$ >/u/other/cgroup.procs; exec sleep 2017";
    host.ok(&["exec", "-d", "c1", "sh", "-c", bystander]);
    // It moves with what it starts, in its session and in another.
    let script = "echo $$ >/u/other/cgroup.procs; setsid sleep 2015 & sleep 2015 & exec sleep 2015";
    let mut client = host.spawn(&mut host.command(&["exec", "c1", "sh", "-c", script]));
    until("what sleeps", || sleeps(&host, "c1", "2015") == "3");
    let listed = running(&host, "c1");
    let exec = listed.iter().find(|line| line.contains("2015")).unwrap();
    let id = exec.split_whitespace().next().unwrap().to_owned();
    host.ok(&["exec", "kill", &id]);
    assert_eq!(client.wait().unwrap().code(), Some(137));
    until("what sleeps", || sleeps(&host, "c1", "2015") == "0");
    assert_eq!(sleeps(&host, "c1", "2017"), "1");
}

/// It starts one after the other, so that there is always one who was not there a moment ago.
#[test]
fn an_exec_that_has_moved_and_forks_is_ended_to_the_last() {
    let host = host();
    other_group(&host);
    let script = "echo $$ >/u/other/cgroup.procs; while :; do sleep 2018 & [ -z \"$o\" ] || { kill -9 $o; wait $o; }; o=$!; done";
    let mut client = host.spawn(&mut host.command(&["exec", "c1", "sh", "-c", script]));
    until("what it starts", || sleeps(&host, "c1", "2018") != "0");
    let listed = running(&host, "c1");
    let exec = listed.iter().find(|line| line.contains("2018")).unwrap();
    host.ok(&["exec", "kill", exec.split_whitespace().next().unwrap()]);
    assert_eq!(client.wait().unwrap().code(), Some(137));
    until("its end", || sleeps(&host, "c1", "2018") == "0");
}

#[test]
fn what_an_exec_has_moved_to_another_control_group_ends_with_its_client() {
    let host = host();
    other_group(&host);
    let moved = "echo $$ >/u/other/cgroup.procs; exec setsid sleep 2016";
    let script = format!("sh -c '{moved}' & sleep 2016");
    let mut client = host.spawn(&mut host.command(&["exec", "c1", "sh", "-c", &script]));
    until("what sleeps", || sleeps(&host, "c1", "2016") == "2");
    client.kill().unwrap();
    client.wait().unwrap();
    until("what sleeps", || sleeps(&host, "c1", "2016") == "0");
}

#[test]
fn what_an_exec_leaves_behind_goes_on_and_its_part_goes_with_it() {
    let host = host();
    sleeper(&host, "c1");
    host.ok(&["exec", "c1", "sh", "-c", "sleep 2013 >/dev/null 2>&1 &"]);
    until("what sleeps", || sleeps(&host, "c1", "2013") == "1");
    assert_eq!(parts(&host, "c1"), 1);
    host.ok(&["exec", "c1", "busybox", "killall", "sleep"]);
    until("what sleeps", || sleeps(&host, "c1", "2013") == "0");
    until("the end of its part", || parts(&host, "c1") == 0);
    // What is left when the container ends goes with it.
    host.ok(&["exec", "c1", "sh", "-c", "sleep 2014 >/dev/null 2>&1 &"]);
    host.ok(&["exec", "-d", "c1", "sleep", "2014"]);
    host.ok(&["stop", "-t", "0", "c1"]);
    until("the end of all parts", || parts(&host, "c1") == 0);
}

#[test]
fn an_exec_that_runs_out_of_memory_says_so() {
    let host = host();
    let options = ["run", "-d", "-m", "16m", "--memory-swap", "16m", "--name", "c1", "busybox"];
    host.ok(&[&options[..], &["sleep", "1000"]].concat());
    let hog = ["exec", "c1", "sh", "-c", "exec tail -c 64m /dev/zero"];
    let ran = host.run(&hog);
    assert_eq!(ran.code, Some(137), "{}", ran.err);
    assert!(ran.err.starts_with("dhow: exec "), "{}", ran.err);
    assert!(ran.err.ends_with(" was killed: out of memory, limit 16MiB"), "{}", ran.err);
    // One that is killed for another reason does not.
    let ran = host.run(&["exec", "c1", "sh", "-c", "kill -9 $$"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(137), ""));
    let until = crate::events::now();
    let format = "{{.Action}} {{.Actor.Attributes.oom}}";
    let events = host.ok(&["events", "--until", &until, "--format", format]);
    let told = |line: &str| events.lines().filter(|told| *told == line).count();
    assert_eq!(
        (told("oom <no value>"), told("exec_die true"), told("exec_die <no value>")),
        (1, 1, 1)
    );
}

#[test]
fn execs_that_have_ended_say_why() {
    let host = host();
    host.ok(&[
        "run",
        "-d",
        "-m",
        "16m",
        "--memory-swap",
        "16m",
        "--name",
        "c1",
        "busybox",
        "sleep",
        "1000",
    ]);
    host.ok(&["exec", "c1", "true"]);
    host.fails(3, &["exec", "-u", "1", "c1", "sh", "-c", "exit 3"]);
    host.fails(137, &["exec", "c1", "sh", "-c", "exec tail -c 64m /dev/zero"]);
    let mut client = host.spawn(&mut host.command(&["exec", "c1", "sleep", "2021"]));
    until_runs(&host, "c1", 1);
    client.kill().unwrap();
    client.wait().unwrap();
    until_runs(&host, "c1", 0);
    host.ok(&["exec", "-d", "c1", "sleep", "2022"]);
    let id = host.ok(&["exec", "ls", "-q", "c1"]);
    host.ok(&["exec", "kill", &id]);
    until_runs(&host, "c1", 0);
    host.ok(&["exec", "-d", "c1", "sleep", "2023"]);
    let format = "{{.Running}} {{.ExitCode}} {{.Reason}}: {{.User}} {{.Command}}";
    let listed = || host.ok(&["exec", "ls", "-a", "--format", format, "c1"]);
    let ended = "false 137 exec kill SIGKILL:  sleep 2022\n\
                 false 129 client gone:  sleep 2021\n\
                 false 137 OOM, limit 16MiB:  sh -c exec tail -c 64m /dev/zero\n\
                 false 3 : 1 sh -c exit 3\n\
                 false 0 :  true";
    assert_eq!(listed(), format!("true  :  sleep 2023\n{ended}"));
    let table = host.ok(&["exec", "ls", "--all", "c1"]);
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut lines = table.lines().map(words);
    assert_eq!(lines.next().unwrap(), ["EXEC", "ID", "PID", "USER", "STATUS", "COMMAND"]);
    assert_eq!(lines.next().unwrap()[2], "Up");
    assert_eq!(lines.next().unwrap()[..4], [id.as_str(), "-", "Exited", "(137)"]);
    assert_eq!(host.ok(&["container", "exec-ls", "-q", "--all", "c1"]).lines().count(), 6);
    assert_eq!(host.ok(&["container", "exec-ls", "--no-trunc", "-q", "c1"]).len(), 64);
    // Its end is known when the container has ended, and in its next life.
    host.ok(&["stop", "-t", "0", "c1"]);
    let all = format!("false 137 with its container:  sleep 2023\n{ended}");
    assert_eq!(listed(), all);
    host.ok(&["start", "c1"]);
    host.fails(1, &["exec", "c1", "false"]);
    assert_eq!(listed(), format!("false 1 :  false\n{all}"));
}
