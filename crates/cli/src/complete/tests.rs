//! What is offered for words without a server; with one, the end-to-end tests ask.

use super::*;
use crate::HelperError;
use expect_test::{Expect, expect};

fn offered(words: &[&str]) -> String {
    let wiring = Wiring {
        doctor: |_| Ok(Vec::new()),
        enter: |_, _| Ok(()),
        local: Box::new(|_| anyhow::bail!("no engine in tests")),
        reach: |_| anyhow::bail!("no other machines in tests"),
        ui: |_, _| anyhow::bail!("no browser in tests"),
        serve: |_| Box::pin(async { anyhow::bail!("no engine in tests") }),
        credential_helper: |_| Err(HelperError::Missing),
        archives: crate::Archives {
            pack: |_, _| Err("no archives in tests".to_owned()),
            unpack: |_, _| Err("no archives in tests".to_owned()),
            rename: |_, _, _| Err("no archives in tests".to_owned()),
        },
    };
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    answer(&words, wiring).text()
}

#[track_caller]
fn check(words: &[&str], want: Expect) {
    want.assert_eq(&offered(words));
}

#[test]
fn commands_and_groups() {
    check(
        &["vol"],
        expect![[r"
        volume	Manage volumes
        :4
    "]],
    );
    check(
        &["-H", "unix:///x", "volume", "p"],
        expect![[r"
        prune	Remove volumes that no container uses
        :4
    "]],
    );
    check(
        &["help", "ver"],
        expect![[r"
        version	Show the versions of client and server
        :4
    "]],
    );
    check(&["nosuch", ""], expect![[":4\n"]]);
    check(&["volume", "nosuch", ""], expect![[":4\n"]]);
    assert!(offered(&[""]).lines().count() > 40);
    assert!(offered(&[]).lines().count() > 40);
}

#[test]
fn flags_of_the_command_and_of_the_program() {
    check(
        &["run", "--pul"],
        expect![[r"
        --pull	Pull the image first: always, missing, never
        :4
    "]],
    );
    check(
        &["container", "run", "-it", "--rm", "--quie"],
        expect![[r"
        --quiet	Do not show the progress of a pull
        :4
    "]],
    );
    check(
        &["--ho"],
        expect![[r"
        --host	Server to connect to (unix:///path, tcp://host:port, ssh://user@host); without it the engine runs in this process
        :4
    "]],
    );
    // Behind the image, words belong to the process.
    check(&["run", "busybox", "--pul"], expect![[":0\n"]]);
}

#[test]
fn values_of_flags() {
    check(
        &["run", "--pull", ""],
        expect![[r"
        always
        missing
        never
        :4
    "]],
    );
    check(
        &["run", "--pull=m"],
        expect![[r"
        missing
        :4
    "]],
    );
    check(
        &["run", "-it", "--restart", "on"],
        expect![[r"
        on-failure
        :4
    "]],
    );
    check(
        &["run", "-ita", "std"],
        expect![[r"
        stderr
        stdin
        stdout
        :4
    "]],
    );
    check(
        &["kill", "-s", "USR"],
        expect![[r"
        USR1
        USR2
        :4
    "]],
    );
    check(&["run", "--env-file", "x"], expect![[":0\n"]]);
    check(&["--config", ""], expect![[":16\n"]]);
    check(&["run", "--name", ""], expect![[":4\n"]]);
    check(
        &["run", "--security-opt", "sec"],
        expect![[r"
        seccomp=
        :6
    "]],
    );
}

#[test]
fn filters_have_keys_and_values() {
    check(
        &["ps", "--filter", "st"],
        expect![[r"
        status=
        :6
    "]],
    );
    check(
        &["ps", "--filter", "status=r"],
        expect![[r"
        status=removing
        status=restarting
        status=running
        :4
    "]],
    );
    check(
        &["images", "-f", "dangling=t"],
        expect![[r"
        dangling=true
        :4
    "]],
    );
}

#[test]
fn arguments_without_a_server() {
    check(&["stop", ""], expect![[":4\n"]]);
    check(&["rename", "a", ""], expect![[":4\n"]]);
    check(&["rename", "a", "b", ""], expect![[":4\n"]]);
    check(&["run", "image", ""], expect![[":0\n"]]);
    check(&["ps", ""], expect![[":4\n"]]);
}

/// Tables speak of commands and flags that exist.
#[test]
fn every_command_answers() {
    for command in commands::ALL {
        for name in command.names {
            let mut words: Vec<&str> = name.split(' ').collect();
            words.push("--");
            let flags = offered(&words);
            assert!(flags.contains("--help\t"), "{name}: {flags}");
            words.pop();
            words.push("");
            assert!(offered(&words).contains(':'), "{name}");
        }
    }
}
