//! Words to commands: what is found, what is explained, what is refused.

use super::*;

fn message(words: &[&str]) -> (u8, String) {
    let words = words.iter().map(OsString::from).collect();
    let wiring = Wiring {
        doctor: |_| Ok(Vec::new()),
        enter: |_, _| Ok(()),
        local: Box::new(|_| anyhow::bail!("no engine in tests")),
        reach: |_| anyhow::bail!("no other machines in tests"),
        ui: |_, _| anyhow::bail!("no browser in tests"),
        serve: |_| Box::pin(async { anyhow::bail!("no engine in tests") }),
        credential_helper: |_| Err(HelperError::Missing),
        archives: Archives {
            pack: |_, _| Err("no archives in tests".to_owned()),
            unpack: |_, _| Err("no archives in tests".to_owned()),
            rename: |_, _, _| Err("no archives in tests".to_owned()),
        },
    };
    match dispatch(words, wiring) {
        Ok(_) => (0, String::new()),
        Err(failure) => (failure.code, failure.message.unwrap_or_default()),
    }
}

#[test]
fn unknown_commands() {
    assert_eq!(
        message(&["foo"]),
        (1, "dhow: unknown command: dhow foo\n\nRun 'dhow --help' for more information".into())
    );
    assert_eq!(
        message(&["container", "foo"]),
        (
            1,
            "dhow: unknown command: dhow container foo\n\nUsage:  dhow container\n\nRun 'dhow container --help' for more information".into()
        )
    );
    assert_eq!(message(&["help", "foo"]), (1, "unknown help topic: foo".into()));
}

#[test]
fn nobody_gets_an_unverified_image_who_asked_for_verification() {
    let refusal = "--disable-content-trust=false: Docker Content Trust is not supported";
    assert_eq!(message(&["pull", "--disable-content-trust=false", "x"]), (1, refusal.into()));
    let (code, text) = message(&["run", "--disable-content-trust=false", "x"]);
    assert_eq!(code, 125);
    assert!(text.contains(refusal), "{text}");
}

#[test]
fn bad_flags_end_with_125_and_usage() {
    let usage = "Usage:  dhow run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nRun 'dhow run --help' for more information";
    for (words, line) in [
        (&["run", "--foo", "x"][..], "unknown flag: --foo"),
        (&["run", "-z"], "unknown shorthand flag: 'z' in -z"),
        (&["run", "--name"], "flag needs an argument: --name"),
        (
            &["run", "-m", "abc", "x"],
            "invalid argument \"abc\" for \"-m, --memory\" flag: invalid size: 'abc'",
        ),
        (
            &["run", "--mount", "foo", "x"],
            "invalid argument \"foo\" for \"--mount\" flag: invalid field 'foo' must be a key=value pair",
        ),
        (
            &["run", "-a", "foo", "x"],
            "invalid argument \"foo\" for \"-a, --attach\" flag: valid streams are STDIN, STDOUT and STDERR",
        ),
        (
            &["run", "--network", "x=y", "i"],
            "invalid argument \"x=y\" for \"--network\" flag: invalid field key x",
        ),
    ] {
        assert_eq!(message(words), (125, format!("{line}\n\n{usage}")), "{words:?}");
    }
    let (code, text) = message(&["--foo"]);
    assert_eq!(code, 125);
    assert!(
        text.starts_with("unknown flag: --foo\n\nUsage:  dhow [OPTIONS] COMMAND [ARG...]"),
        "{text}"
    );
}

#[test]
fn wrong_numbers_of_arguments_end_with_1() {
    let (code, text) = message(&["run"]);
    assert_eq!(
        (code, text.as_str()),
        (
            1,
            "dhow: 'dhow run' requires at least 1 argument\n\nUsage:  dhow run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nRun 'dhow run --help' for more information"
        )
    );
    for (words, start) in [
        (&["rename", "a"][..], "dhow: 'dhow rename' requires 2 arguments"),
        (&["ps", "a"], "dhow: 'dhow ps' accepts no arguments"),
        (&["container", "ls", "a"], "dhow: 'dhow container ls' accepts no arguments"),
        (&["images", "a", "b"], "dhow: 'dhow images' requires at most 1 argument"),
        (&["exec", "x"], "dhow: 'dhow exec' requires at least 2 arguments"),
    ] {
        let (code, text) = message(words);
        assert_eq!(code, 1, "{words:?}");
        assert!(text.starts_with(start), "{text}");
    }
}

#[test]
fn refusals_of_run_end_with_125_and_where_to_find_help() {
    let tail = "\n\nRun 'dhow run --help' for more information";
    for (words, line) in [
        (&["run", "-p", "99999", "x"][..], "invalid containerPort: 99999"),
        (
            &["run", "--restart", "always", "--rm", "x"],
            "conflicting options: cannot specify both --restart and --rm",
        ),
        (
            &["run", "--restart", "on-failure:x", "x"],
            "invalid restart policy format: maximum retry count must be an integer",
        ),
        (&["run", "--env-file", "/nope", "x"], "open /nope: no such file or directory"),
        (
            &["run", "--pull", "foo", "x"],
            "invalid pull option: 'foo': must be one of \"always\", \"missing\" or \"never\"",
        ),
        (&["run", "--health-retries", "-1", "x"], "--health-retries cannot be negative"),
        (
            &["run", "--no-healthcheck", "--health-cmd", "x", "x"],
            "--no-healthcheck conflicts with --health-* options",
        ),
        (
            &["run", "--memory-swappiness", "200", "x"],
            "invalid value: 200. Valid memory swappiness range is 0-100",
        ),
        (
            &["run", "--cidfile", "/etc/passwd", "x"],
            "container ID file found, make sure the other container isn't running or delete /etc/passwd",
        ),
        (&["run", "--security-opt", "foo", "x"], "Invalid --security-opt: \"foo\""),
        (&["run", "--pid", "foo", "x"], "--pid: invalid PID mode"),
        (
            &["run", "Bad"],
            "invalid reference format: repository name (library/Bad) must be lowercase",
        ),
        (&["run", "x"], "no engine in tests"),
    ] {
        assert_eq!(message(words), (125, format!("dhow: {line}{tail}")), "{words:?}");
    }
    assert_eq!(
        message(&["run", "-d", "-a", "stdout", "x"]),
        (1, "conflicting options: cannot specify both --attach and --detach".into())
    );
}

#[test]
fn hosts_that_cannot_be_reached_are_refused() {
    assert_eq!(
        message(&["-H", "npipe://x", "ps"]),
        (1, "cannot connect to npipe://x: npipe hosts are not supported".into())
    );
    let elsewhere = (1, "no other machines in tests".to_owned());
    assert_eq!(message(&["-H", "tcp://x:1", "ps"]), elsewhere);
}
