//! Lists of a service that has listed before: whatever has changed since, and whoever changed it, they are what a
//! command of its own finds.

use model::NameOrId;
use rustix::process::{Pid, Signal, kill_process};
use store::{Durability, Found, Store};
use testkit::{Host, until};

use super::Pair;

/// All that a list shows but the time.
const SHOWN: &str = "{{.ID}} {{.Names}} {{.Image}} {{.State}} {{.Ports}} {{.Networks}} {{.Labels}}";
const ALL: &str = "GET /v1.43/containers/json?all=1 HTTP/1.1\nHost: d\nConnection: close\n\n";

/// What the service lists, which is what a process lists that has never done so.
#[track_caller]
fn list(pair: &Pair) -> String {
    let url = pair.service.url();
    let words = ["ps", "-a", "--no-trunc", "--format", SHOWN];
    let fresh = pair.host.ok(&words);
    for _ in 0..2 {
        assert_eq!(pair.host.ok(&[&["-H", &url], &words[..]].concat()), fresh);
    }
    fresh
}

/// How the service says that a container is.
fn status(pair: &Pair, name: &str) -> String {
    let url = pair.service.url();
    let filter = format!("name=^{name}$");
    pair.host.ok(&["-H", &url, "ps", "-a", "--format", "{{.Status}}", "-f", &filter])
}

/// The guardian of a container.
fn shim_of(host: &Host, name: &str) -> Pid {
    let pid = host.ok(&["inspect", "-f", "{{.State.Pid}}", name]);
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    Pid::from_raw(parent.trim().parse().unwrap()).unwrap()
}

#[test]
fn a_list_is_never_of_before() {
    let pair = Pair::new();
    let host = &pair.host;
    let url = pair.service.url();
    let served = |words: &[&str]| host.ok(&[&["-H", &url], words].concat());
    let sleeps = ["busybox", "sleep", "1000"];
    let run = |more: &[&'static str]| {
        [&["run", "-d", "--network", "bridge"][..], more, &sleeps[..]].concat()
    };
    host.ok(&["network", "create", "front"]);
    host.ok(&run(&["--name", "c1", "-p", "127.0.0.1::80"]));
    served(&run(&["--name", "c2", "-l", "x=y"]));
    assert_eq!(list(&pair).lines().count(), 2);
    // By a command, and by the service itself.
    for (on, off) in [(true, false), (false, true)] {
        let ok = |own: bool, words: &[&str]| if own { served(words) } else { host.ok(words) };
        ok(on, &["pause", "c1"]);
        assert!(list(&pair).contains(" c1 busybox paused "));
        ok(off, &["unpause", "c1"]);
        assert!(list(&pair).contains(" c1 busybox running 127.0.0.1:"));
        ok(on, &["network", "connect", "front", "c2"]);
        assert!(list(&pair).contains(" bridge,front x=y"));
        ok(off, &["network", "disconnect", "front", "c2"]);
        assert!(list(&pair).contains(" bridge x=y"));
        ok(on, &["rename", "c2", "c3"]);
        assert!(list(&pair).contains(" c3 busybox running "));
        ok(off, &["rename", "c3", "c2"]);
        assert!(list(&pair).contains(" c2 busybox running "));
        ok(on, &["stop", "-t", "0", "c2"]);
        assert!(list(&pair).contains(" c2 busybox exited "));
        ok(off, &["start", "c2"]);
        assert!(list(&pair).contains(" c2 busybox running "));
    }
    // What its image is called is no matter of the container's.
    host.ok(&["commit", "c2", "next"]);
    host.ok(&["tag", "next", "busybox"]);
    assert!(!list(&pair).contains(" c2 busybox "));
    host.ok(&["rm", "-f", "c2"]);
    assert_eq!(list(&pair).lines().count(), 1);
}

#[test]
fn changes_that_come_one_upon_the_other_are_all_seen() {
    let pair = Pair::new();
    pair.host.ok(&["create", "--name", "n0", "busybox"]);
    assert!(pair.service.say(ALL).contains(r#""/n0""#));
    for n in 1..20 {
        let (from, to) = (format!("n{}", n - 1), format!("n{n}"));
        pair.host.ok(&["rename", &from, &to]);
        let list = pair.service.say(ALL);
        assert!(list.contains(&format!(r#""/{to}""#)), "{to}: {list}");
    }
}

#[test]
fn one_whose_shim_was_killed_is_not_shown_as_running() {
    let pair = Pair::new();
    let host = &pair.host;
    for name in ["c1", "c2"] {
        host.ok(&["run", "-d", "--name", name, "busybox", "sleep", "1000"]);
    }
    assert_eq!(list(&pair).matches(" running ").count(), 2);
    let shim = shim_of(host, "c1");
    kill_process(shim, Signal::KILL).unwrap();
    // A command of its own sees the truth as soon as the kernel has let go of the lock.
    until("it has ended", || !host.ok(&["ps", "-aq", "-f", "status=exited"]).is_empty());
    let dead = list(&pair);
    assert!(
        dead.contains(" c1 busybox exited ") && dead.contains(" c2 busybox running "),
        "{dead}"
    );
    host.ok(&["start", "c1"]);
    assert_eq!(list(&pair).matches(" running ").count(), 2);
}

#[test]
fn health_is_seen_as_it_changes() {
    let pair = Pair::new();
    let host = &pair.host;
    let check = ["--health-cmd", "cat /ok", "--health-interval", "50ms", "--health-retries", "1"];
    host.ok(&[&["run", "-d", "--name", "h1"], &check[..], &["busybox", "sleep", "1000"]].concat());
    until("it is ill", || status(&pair, "h1").ends_with(" (unhealthy)"));
    host.ok(&["exec", "h1", "touch", "/ok"]);
    until("it is well", || status(&pair, "h1").ends_with(" (healthy)"));
    host.ok(&["exec", "h1", "rm", "/ok"]);
    until("it is ill again", || status(&pair, "h1").ends_with(" (unhealthy)"));
}

#[test]
fn one_that_cannot_be_read_keeps_no_other_from_anything() {
    let pair = Pair::new();
    let host = &pair.host;
    for name in ["c1", "c2"] {
        let on = ["run", "-d", "--network", "bridge", "--name", name];
        host.ok(&[&on[..], &["busybox", "sleep", "1000"]].concat());
    }
    let networks = host.ok(&["network", "inspect", "bridge"]);
    let store = Store::open(&host.root()).unwrap();
    let containers = store.containers();
    let Found::One(row) = containers.find(&NameOrId::new("c2".to_owned())).unwrap() else {
        panic!()
    };
    let newer = row.record.replacen('{', r#"{"wish":1,"#, 1);
    containers.set_record(&row.id, &newer, Durability::Now).unwrap();
    let listed = list(&pair);
    assert!(listed.contains(" c1 busybox running "), "{listed}");
    assert!(
        listed.lines().any(|line| line.contains(" c2 ") && line.contains(" running ")),
        "{listed}"
    );
    assert!(status(&pair, "c2").ends_with(" (unreadable)"));
    // It is told once, with the reason. What is told is read by another thread.
    until("it is told", || pair.service.said().contains("a container cannot be read"));
    list(&pair);
    assert!(pair.service.say(ALL).contains("(unreadable)"));
    let said = pair.service.said();
    assert_eq!(said.matches("a container cannot be read").count(), 1, "{said}");
    assert!(said.contains("unknown field `wish`"), "{said}");
    assert!(host.ok(&["network", "inspect", "bridge"]).contains(r#""Name": "c1""#));
    assert!(networks.contains(r#""Name": "c2""#));
    assert_eq!(host.ok(&["info", "-f", "{{.Containers}} {{.ContainersRunning}}"]), "2 2");
    host.ok(&["system", "df"]);
    // What is not known of it is not asked of it.
    let filtered = |filter: &str| host.ok(&["ps", "-a", "--format", "{{.Names}}", "-f", filter]);
    assert_eq!((filtered("label=x"), filtered("name=c2")), (String::new(), "c2".to_owned()));
    assert_eq!(filtered("network=bridge"), "c1");
    host.ok(&["rm", "-f", "c1"]);
    let image = host.ok(&["images", "-q", "--no-trunc"]);
    let refused = host.fails(1, &["rmi", "-f", &image]);
    assert!(refused.contains("running container"), "{refused}");
    containers.set_record(&row.id, &row.record, Durability::Now).unwrap();
    assert!(list(&pair).contains(" c2 busybox running "));
}

#[test]
fn a_shim_that_cannot_be_understood_hides_nothing_else() {
    let pair = Pair::new();
    let host = &pair.host;
    for name in ["c1", "c2"] {
        let on = ["run", "-d", "--network", "bridge", "-l", "x=y", "--name", name];
        host.ok(&[&on[..], &["busybox", "sleep", "1000"]].concat());
    }
    let id = host.ok(&["inspect", "-f", "{{.Id}}", "c2"]);
    let state = host.run_root().join("c").join(id).join("state.json");
    let good = std::fs::read(&state).unwrap();
    let replace = |content: &[u8]| {
        let new = state.with_extension("new");
        std::fs::write(&new, content).unwrap();
        std::fs::rename(new, &state).unwrap();
    };
    replace(b"{\"Elsewhere\":{}}");
    let listed = list(&pair);
    assert!(listed.contains(" c1 busybox running "), "{listed}");
    let other = listed.lines().find(|line| line.contains(" c2 busybox dead ")).unwrap();
    assert!(other.ends_with(" x=y"), "{listed}");
    let filtered = |filter: &str| host.ok(&["ps", "-a", "--format", "{{.Names}}", "-f", filter]);
    assert_eq!((filtered("label=x=y"), filtered("exited=0")), ("c2\nc1".into(), String::new()));
    until("it is told", || pair.service.said().contains("state.json is damaged"));
    assert_eq!(host.ok(&["info", "-f", "{{.Containers}} {{.ContainersRunning}}"]), "2 1");
    host.ok(&["network", "ls"]);
    assert!(host.ok(&["network", "inspect", "bridge"]).contains(r#""Name": "c1""#));
    host.ok(&["rm", "-f", "c1"]);
    let image = host.ok(&["images", "-q", "--no-trunc"]);
    let refused = host.fails(1, &["rmi", "-f", &image]);
    assert!(refused.contains("running container"), "{refused}");
    replace(&good);
    assert!(list(&pair).contains(" c2 busybox running "));
}
