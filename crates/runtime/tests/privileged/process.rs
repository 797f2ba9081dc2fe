//! Programs that are missing or cannot run, limits, and ends.

use serde_json::json;
use sys::process::Exit;

use crate::bundle::{Bundle, Pipes, copy_program, spec, start};
use runtime::{HostFacts, LaunchError};

fn failure(bundle: &Bundle, args: &[&str]) -> (String, Option<u8>) {
    let error = bundle.run(&spec(args)).unwrap_err();
    (error.to_string(), error.shell_code())
}

#[test]
fn missing_and_unusable_programs_are_told_apart_in_dockers_words() {
    let bundle = Bundle::new();
    bundle.write("plain", "text");
    let told = |words: &str, code| (words.to_owned(), Some(code));
    assert_eq!(
        failure(&bundle, &["nosuch"]),
        told(r#"exec: "nosuch": executable file not found in $PATH"#, 127)
    );
    assert_eq!(
        failure(&bundle, &["/nosuch"]),
        told(r#"exec: "/nosuch": stat /nosuch: no such file or directory"#, 127)
    );
    assert_eq!(
        failure(&bundle, &["/etc"]),
        told(r#"exec: "/etc": is a directory: permission denied"#, 126)
    );
    assert_eq!(failure(&bundle, &["/plain"]), told(r#"exec: "/plain": permission denied"#, 126));
}

#[test]
fn a_program_is_looked_for_as_the_user_who_runs_it() {
    let bundle = Bundle::new();
    let secret = bundle.path("secret");
    std::fs::create_dir(&secret).unwrap();
    copy_program(&secret.join("busybox"));
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let mut spec = spec(&["/secret/busybox", "true"]);
    assert_eq!(bundle.run(&spec).unwrap().exit, Exit::Code(0));
    spec["process"]["user"] = json!({ "uid": 1, "gid": 1 });
    spec["process"]["capabilities"] = json!({});
    let error = bundle.run(&spec).unwrap_err();
    assert!(matches!(error, LaunchError::NotExecutable { .. }), "{error}");
}

#[test]
fn a_file_of_another_format_and_a_missing_interpreter_are_told_by_the_kernel() {
    let bundle = Bundle::new();
    let executable = |name: &str, text: &str| {
        bundle.write(name, text);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(bundle.path(name), mode).unwrap();
    };
    executable("garbage", "\u{1}\u{2}\u{3}");
    executable("script", "#!/no/such/interpreter\n");
    assert_eq!(
        failure(&bundle, &["/garbage"]),
        ("exec /garbage: exec format error".to_owned(), Some(126))
    );
    assert_eq!(
        failure(&bundle, &["/script"]),
        ("exec /script: no such file or directory".to_owned(), Some(127))
    );
}

#[test]
fn exit_codes_and_signals_come_back() {
    let bundle = Bundle::new();
    let exit = |line| bundle.run(&spec(&["sh", "-c", line])).unwrap().exit;
    assert_eq!(exit("exit 42"), Exit::Code(42));
    // A shell that is pid 1 cannot kill itself with a signal that has no handler.
    assert_eq!(exit("(kill -9 $$) ; sh -c 'kill -15 $$'; exit $?"), Exit::Code(143));
}

#[test]
fn signals_have_their_default_actions_again() {
    let bundle = Bundle::new();
    // Rust ignores SIGPIPE (bit 13) in this very process.
    let masks = bundle.run(&spec(&["grep", "-E", "^Sig(Ign|Blk)", "/proc/self/status"]));
    let none = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n";
    assert_eq!(masks.unwrap().good(), none);
}

#[test]
fn limits_and_the_oom_score_are_set() {
    let bundle = Bundle::new();
    let mut spec =
        spec(&["sh", "-c", "ulimit -n; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj"]);
    spec["process"]["rlimits"] = json!([
        { "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 },
        { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
    ]);
    spec["process"]["oomScoreAdj"] = json!(321);
    assert_eq!(bundle.run(&spec).unwrap().good(), "100\n200\n0\n321\n");
}

#[test]
fn the_working_directory_is_made_and_entered() {
    let bundle = Bundle::new();
    let mut spec = spec(&["pwd"]);
    spec["process"]["cwd"] = json!("/srv/../srv/app");
    assert_eq!(bundle.run(&spec).unwrap().good(), "/srv/app\n");
    assert!(bundle.path("srv/app").is_dir());
}

#[test]
fn nothing_runs_before_go_and_a_dropped_start_ends() {
    let bundle = Bundle::new();
    let spec = spec(&["touch", "/started"]);
    let spec = serde_json::from_value(spec).unwrap();
    let facts = HostFacts::detect().unwrap();
    let (stdio, _pipes) = Pipes::new();
    let ready = start(bundle.launch(&spec, &facts, stdio)).unwrap();
    let pidfd = rustix::io::fcntl_dupfd_cloexec(ready.pidfd(), 3).unwrap();
    drop(ready);
    assert_ne!(sys::process::wait(&pidfd), Ok(Exit::Code(0)));
    assert!(!bundle.path("started").exists());
}

#[test]
fn a_plan_that_fails_starts_nothing() {
    let bundle = Bundle::new();
    let mut spec = spec(&["true"]);
    spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
    let error = bundle.run(&spec).unwrap_err();
    assert_eq!(error.to_string(), "a user namespace that is not brought is not supported");
}
