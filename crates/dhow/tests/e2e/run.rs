//! `run`: output, exit codes, streams, environment, what is left.

use crate::host;

#[test]
fn output_goes_to_its_stream_and_the_code_is_the_commands() {
    let host = host();
    let ran = host.run(&["run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(7), "out", "err"));
    assert_eq!(host.ok(&["ps", "-aq"]), "");
}

#[test]
fn exit_codes_are_dockers() {
    let host = host();
    let missing = host.fails(127, &["run", "--rm", "busybox", "nosuch"]);
    assert!(missing.contains("exec: \"nosuch\": executable file not found in $PATH"), "{missing}");
    let folder = host.fails(126, &["run", "--rm", "busybox", "/etc"]);
    assert!(folder.contains("permission denied") || folder.contains("is a directory"), "{folder}");
    host.fails(125, &["run", "--rm", "--nosuch", "busybox"]);
    host.fails(125, &["run", "--rm", "nosuch:latest", "true"]);
    assert_eq!(host.ok(&["ps", "-aq"]), "");
}

#[test]
fn input_reaches_the_command_and_ends() {
    let host = host();
    let ran = host.feed(&["run", "-i", "--rm", "busybox", "cat"], b"one\ntwo\n");
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "one\ntwo"));
    let ran = host.feed(&["run", "-i", "--rm", "busybox", "wc", "-c"], &vec![b'x'; 3_000_000]);
    assert_eq!(ran.out.trim(), "3000000");
    // Without -i standard input is empty.
    assert_eq!(host.feed(&["run", "--rm", "busybox", "cat"], b"ignored").out, "");
}

#[test]
fn large_output_comes_whole() {
    let host = host();
    let ran = host.run(&[
        "run",
        "--rm",
        "busybox",
        "sh",
        "-c",
        "yes 0123456789 | head -c 20000000 | wc -c; yes 0123456789 | head -c 8000000",
    ]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(
        ran.out.len(),
        "20000000\n".len() + 8_000_000 - usize::from(ran.out.len() < 8_000_009)
    );
}

#[test]
fn the_command_sees_what_was_asked_for() {
    let host = host();
    let script = "id -u; id -g; pwd; echo $FOO; hostname; echo $HOME; cat /proc/1/comm; true";
    let out = host.ok(&[
        "run", "--rm", "-e", "FOO=bar", "-w", "/var/www", "-u", "www", "-h", "boat", "busybox",
        "sh", "-c", script,
    ]);
    assert_eq!(out, "33\n33\n/var/www\nbar\nboat\n/var/www\nsh");
    assert_eq!(
        host.ok(&["run", "--rm", "-u", "1000:2000", "busybox", "sh", "-c", "id -u; id -g"]),
        "1000\n2000"
    );
    assert_eq!(host.ok(&["run", "--rm", "--entrypoint", "echo", "busybox", "a", "b"]), "a b");
}

#[test]
fn detached_prints_the_id_and_goes_on() {
    let host = host();
    let id = host.ok(&["run", "-d", "--name", "sleeper", "busybox", "sleep", "1000"]);
    assert_eq!(id.len(), 64);
    assert_eq!(host.ok(&["ps", "-q", "--no-trunc"]), id);
    assert_eq!(
        host.ok(&["inspect", "-f", "{{.State.Status}} {{.Name}}", "sleeper"]),
        "running /sleeper"
    );
    assert_eq!(host.ok(&["rm", "-f", "sleeper"]), "sleeper");
    assert_eq!(host.ok(&["ps", "-aq"]), "");
}

#[test]
fn the_id_of_what_did_not_start_is_printed_as_well() {
    let host = host();
    let ran = host.run(&["run", "-d", "--name", "broken", "busybox", "nosuch"]);
    assert_eq!(ran.code, Some(127), "{}", ran.err);
    assert!(ran.err.contains("executable file not found"), "{}", ran.err);
    assert_eq!(host.ok(&["inspect", "-f", "{{.Id}} {{.Name}}", &ran.out]), ran.out + " /broken");
}

#[test]
fn variables_stand_in_dockers_order() {
    let host = host();
    let run = ["run", "--rm", "-h", "box", "-e", "A=1", "-e", "PATH=/bin", "-e", "B=2"];
    assert_eq!(
        host.ok(&[&run[..], &["busybox", "env"]].concat()),
        "PATH=/bin\nHOSTNAME=box\nA=1\nB=2\nHOME=/root"
    );
    assert_eq!(
        host.ok(&[&run[..], &["-e", "HOME=/h", "-e", "HOSTNAME", "busybox", "env"]].concat()),
        "PATH=/bin\nA=1\nB=2\nHOME=/h"
    );
}

#[test]
fn the_last_of_a_variable_counts() {
    let host = host();
    let file = host.scratch().join("env");
    std::fs::write(&file, "A=file\n").unwrap();
    let file = file.to_string_lossy();
    let given = ["--env-file", &file, "-e", "A=1", "-e", "PATH=/x", "-e", "PATH=/bin"];
    let run = [&["run", "--rm", "-h", "box"][..], &given, &["busybox", "env"]].concat();
    assert_eq!(host.ok(&run), "PATH=/bin\nHOSTNAME=box\nA=1\nHOME=/root");
    let run =
        [&["run", "-d", "--name", "ev", "-h", "box"][..], &given, &["busybox", "sleep", "1000"]];
    host.ok(&run.concat());
    assert_eq!(host.ok(&["exec", "ev", "env"]), "PATH=/bin\nHOSTNAME=box\nA=1\nHOME=/root");
}

#[test]
fn an_empty_path_asks_for_no_id_file() {
    let host = host();
    assert_eq!(host.ok(&["run", "--rm", "--cidfile", "", "busybox", "echo", "x"]), "x");
}

/// The file has us listen to signals until it is written; they must end us afterwards as well.
#[test]
fn a_signal_ends_us_also_if_there_is_an_id_file() {
    let host = host();
    let file = host.scratch().join("id");
    let file = file.to_string_lossy();
    let run = ["run", "--cidfile", &file, "--sig-proxy=false", "busybox"];
    let run = [&run[..], &["sh", "-c", "echo up; sleep 1000"]].concat();
    let mut run = host.spawn(&mut host.command(&run));
    let mut first = [0; 3];
    std::io::Read::read_exact(run.stdout.as_mut().unwrap(), &mut first).unwrap();
    let pid = rustix::process::Pid::from_child(&run);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(143));
    let id = std::fs::read_to_string(&*file).unwrap();
    assert_eq!(host.ok(&["inspect", "-f", "{{.State.Status}}", &id]), "running");
    host.ok(&["rm", "-f", &id]);
}

#[test]
fn init_reaps_and_passes_signals_on() {
    let host = host();
    let out = host.ok(&[
        "run",
        "--rm",
        "--init",
        "busybox",
        "sh",
        "-c",
        "cat /proc/1/comm; sh -c 'true &'; echo done",
    ]);
    assert_eq!(out, "dhow-init\ndone");
    host.ok(&[
        "run",
        "-d",
        "--init",
        "--name",
        "i1",
        "busybox",
        "sh",
        "-c",
        "trap 'exit 9' TERM; touch /ready; while :; do sleep 1; done",
    ]);
    host.ok(&["exec", "i1", "sh", "-c", "until [ -e /ready ]; do usleep 9999; done"]);
    host.ok(&["stop", "i1"]);
    assert_eq!(host.ok(&["wait", "i1"]), "9");
}

#[test]
fn a_directory_of_the_host_is_a_root_file_system() {
    let host = host();
    let tree = host.scratch().join("tree");
    std::fs::create_dir_all(tree.join("bin")).unwrap();
    testkit::install("/bin/busybox", &tree.join("bin/sh"));
    let over = format!("{}:O", tree.display());
    assert_eq!(
        host.ok(&["run", "--rm", "--rootfs", &over, "/bin/sh", "-c", "echo x > /new; cat /new"]),
        "x"
    );
    assert!(!tree.join("new").exists(), "an overlay wrote through");
}

#[test]
fn the_machine_itself_is_a_throw_away_sandbox() {
    let host = host();
    let out = host.ok(&[
        "run",
        "--rm",
        "--rootfs",
        "/:O",
        "sh",
        "-c",
        "cat /etc/debian_version >/dev/null; touch /etc/dhow-was-here; ls /etc/dhow-was-here",
    ]);
    assert_eq!(out, "/etc/dhow-was-here");
    assert!(!std::path::Path::new("/etc/dhow-was-here").exists());
}
