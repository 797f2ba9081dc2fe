//! An exec's life beside its client: with it, without it, and ended by others.

use testkit::Host;

use crate::host;

/// The commands that `exec` has started and that still run.
fn running(host: &Host, container: &str) -> Vec<String> {
    let listed = host.ok(&["container", "exec-ls", container]);
    listed.lines().skip(1).map(str::to_owned).collect()
}

fn until(host: &Host, container: &str, count: usize) {
    while running(host, container).len() != count {}
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
    while sleeps(&host, "c1", "2001") != "2" {}
    client.kill().unwrap();
    client.wait().unwrap();
    while sleeps(&host, "c1", "2001") != "0" {}
    assert_eq!(running(&host, "c1"), Vec::<String>::new());
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
    while sent() < 256 << 10 {}
    assert_eq!(running(&host, "c1").len(), 1);
    client.kill().unwrap();
    client.wait().unwrap();
    until(&host, "c1", 0);
}

#[test]
fn an_exec_that_is_kept_or_in_the_background_goes_on() {
    let host = host();
    sleeper(&host, "c1");
    let mut client = host.spawn(&mut host.command(&["exec", "--keep", "c1", "sleep", "2002"]));
    until(&host, "c1", 1);
    client.kill().unwrap();
    client.wait().unwrap();
    host.ok(&["exec", "-d", "c1", "sleep", "2002"]);
    until(&host, "c1", 2);
    assert_eq!(sleeps(&host, "c1", "2002"), "2");
    let ids: Vec<String> = running(&host, "c1")
        .iter()
        .map(|line| line.split_whitespace().next().unwrap().to_owned())
        .collect();
    assert_eq!(host.ok(&["container", "exec-kill", "-s", "TERM", &ids[0]]), ids[0]);
    until(&host, "c1", 1);
    // The short spelling, while no container is called so.
    assert!(host.ok(&["exec", "ls", "c1"]).contains(&ids[1]));
    assert_eq!(host.ok(&["exec", "kill", &ids[1]]), ids[1]);
    until(&host, "c1", 0);
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
