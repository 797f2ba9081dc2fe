//! `top`: the processes of a container in ps's columns.

use crate::events::now;
use crate::host;

/// What a command says as soon as it is as wished.
#[track_caller]
fn until(host: &testkit::Host, arguments: &[&str], is_so: impl Fn(&str) -> bool) -> String {
    testkit::until_is(&arguments.join(" "), || {
        let said = host.ok(arguments);
        if is_so(&said) { Ok(said) } else { Err(said) }
    })
}

/// The words of each line.
fn table(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split_whitespace().collect()).collect()
}

#[test]
fn every_process_of_a_container_and_no_other_is_shown() {
    let host = host();
    host.ok(&["run", "-d", "--name", "t1", "busybox", "sh", "-c", "sleep 1001 & exec sleep  1002"]);
    host.ok(&["run", "-d", "busybox", "sleep", "1003"]);
    host.ok(&["exec", "-d", "t1", "sleep", "1004"]);
    let pid = host.ok(&["inspect", "-f", "{{.State.Pid}}", "t1"]);
    // Before it sleeps, a shell has the numbers in its own line.
    let text = until(&host, &["top", "t1"], |text| {
        let rows = table(text);
        let sleeps = |end| rows.iter().any(|row| row.get(7..) == Some(&["sleep", end][..]));
        ["1001", "1002", "1004"].into_iter().all(sleeps)
    });
    let rows = table(&text);
    assert_eq!(rows[0], ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
    assert!(text.starts_with("UID                 PID                 PPID  "), "{text}");
    let first = rows.iter().find(|row| row[1] == pid).unwrap();
    assert_eq!((first[0], &first[5..]), ("root", &["?", "00:00:00", "sleep", "1002"][..]));
    let child = rows.iter().find(|row| row.last() == Some(&"1001")).unwrap();
    assert_eq!(child[2], pid);
    assert!(rows.iter().any(|row| row.last() == Some(&"1004")), "the exec's: {text}");
    // A frozen container has its processes as well.
    host.ok(&["pause", "t1"]);
    assert_eq!(host.ok(&["container", "top", "t1"]).lines().count(), 4);
    host.ok(&["unpause", "t1"]);
}

#[test]
fn columns_are_those_that_are_asked_for() {
    let host = host();
    host.ok(&["run", "-dt", "--name", "t1", "-u", "1234:5678", "busybox", "sleep", "1001"]);
    let pid = host.ok(&["inspect", "-f", "{{.State.Pid}}", "t1"]);
    for (options, titles, cells) in [
        (&["-o", "pid,user,group,comm"][..], "PID USER GROUP COMMAND", "1234 5678 sleep"),
        (&["-eo", "pid,uid,tty,stat,args"], "PID UID TT STAT COMMAND", "1234 pts/0 Ss+ sleep 1001"),
        (&["axo", "pid=P,ni,nlwp"], "P NI NLWP", "0 1"),
    ] {
        let wanted = format!("{titles}\n{pid} {cells}");
        until(&host, &[&["top", "t1"][..], options].concat(), |text| {
            let rows: Vec<String> = table(text).iter().map(|row| row.join(" ")).collect();
            rows.join("\n") == wanted
        });
    }
    let aux = host.ok(&["top", "t1", "aux"]);
    assert!(aux.starts_with("USER                PID                 %CPU"), "{aux}");
    assert_eq!(host.ok(&["top", "t1", "-eLf"]).lines().count(), 2, "one thread");
}

#[test]
fn what_cannot_be_shown_is_said() {
    let host = host();
    host.ok(&["create", "--name", "t1", "busybox", "true"]);
    let id = host.ok(&["inspect", "-f", "{{.Id}}", "t1"]);
    assert_eq!(
        host.fails(1, &["top", "t1"]),
        format!("Error response from daemon: container {id} is not running")
    );
    assert_eq!(
        host.fails(1, &["top", "nosuch"]),
        "Error response from daemon: No such container: nosuch"
    );
    host.ok(&["run", "-d", "--name", "t2", "busybox", "sleep", "1001"]);
    assert_eq!(
        host.fails(1, &["top", "t2", "-o", "foo"]),
        "Error response from daemon: ps: error: unknown user-defined format specifier \"foo\""
    );
    assert_eq!(
        host.fails(1, &["top", "t2", "--sort=rss"]),
        "Error response from daemon: ps: error: unsupported option: --sort=rss"
    );
    // Only what has been shown has happened.
    host.ok(&["top", "t2", "-o", "pid"]);
    let now = now();
    let told = [
        "events",
        "--until",
        &now,
        "-f",
        "event=top",
        "--format",
        "{{.Action}} {{.Actor.Attributes.name}}",
    ];
    assert_eq!(host.ok(&told), "top t2");
}

#[test]
fn a_process_cannot_write_to_the_terminal_of_whoever_looks() {
    let host = host();
    let hostile = "a\x1b[2Jb\nc\td";
    host.ok(&["run", "-d", "--name", "t1", "busybox", "sh", "-c", "sleep 1001; :", hostile]);
    let pid = host.ok(&["inspect", "-f", "{{.State.Pid}}", "t1"]);
    let text = host.ok(&["top", "t1", "-o", "pid,args"]);
    let line = text.lines().find(|line| line.starts_with(&pid)).unwrap();
    assert!(line.ends_with("   sh -c sleep 1001; : a?[2Jb?c?d"), "{text:?}");
}
