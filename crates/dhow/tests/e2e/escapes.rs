//! Known ways out of a container, tried again: by what an image says about itself, and by what a
//! container does to its files while somebody works with them.
//!
//! Images whose files go for the host are `hostile_images`'; `cp` has its own races.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use testkit::{Host, Image, Swap, until};

use crate::host;

/// Loads busybox with a configuration that says this.
fn load(host: &Host, name: &str, says: &Value) -> testkit::Ran {
    let image = Image::busybox().unwrap().saying(&format!("{name}:latest"), says);
    let archive = image.archive(host.scratch()).unwrap();
    host.run(&["load", "-q", "-i", &archive.to_string_lossy()])
}

/// A directory of the host beside the roots, with a file in it.
fn canary(host: &Host) -> String {
    let dir = host.scratch().join("canary");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("secret"), "of the host\n").unwrap();
    dir.to_string_lossy().into_owned()
}

#[track_caller]
fn assert_untouched(canary: &str, what: &str) {
    let names: Vec<_> = fs::read_dir(canary).unwrap().map(|e| e.unwrap().file_name()).collect();
    let text = fs::read_to_string(Path::new(canary).join("secret")).unwrap();
    assert_eq!((names, text.as_str()), (vec!["secret".into()], "of the host\n"), "{what}");
}

/// Working directories: CVE-2024-21626 was one that an image named.
#[test]
fn a_working_directory_of_an_image_is_inside() {
    let host = host();
    let canary = canary(&host);
    let above = format!("/../../../../../../..{canary}");
    for dir in (3..14).map(|fd| format!("/proc/self/fd/{fd}")).chain([
        "/proc/self/cwd".to_owned(),
        "/proc/1/root".to_owned(),
        "/proc/self/fd/../../1/cwd".to_owned(),
        "/proc/thread-self/root".to_owned(),
    ]) {
        let made = load(&host, "there", &json!({ "WorkingDir": dir }));
        assert_eq!(made.code, Some(0), "{dir}: {}", made.err);
        let ran = host.run(&["run", "--rm", "--network", "none", "there", "pwd"]);
        // What only the way here needed is closed, so most of these numbers lead to nothing.
        let is_closed = dir.starts_with("/proc/self/fd/") && ran.code == Some(127);
        assert!(is_closed || ran.code == Some(125), "{dir}: {} {}", ran.out, ran.err);
        assert!(ran.err.contains("chdir to cwd"), "{dir}: {}", ran.err);
    }
    for dir in [&above, &canary] {
        load(&host, "there", &json!({ "WorkingDir": dir }));
        let look =
            ["run", "--rm", "--network", "none", "there", "sh", "-c", "pwd -P; ls; touch new"];
        assert_eq!(host.ok(&look), canary, "{dir}: an empty directory of its own");
        assert_untouched(&canary, dir);
    }
    host.ok(&["run", "-d", "--name", "runs", "--network", "none", "busybox", "sleep", "1000"]);
    for fd in 3..14 {
        let ran = host.run(&["exec", "-w", &format!("/proc/self/fd/{fd}"), "runs", "pwd"]);
        assert!(!matches!(ran.code, Some(0)), "exec -w {fd}: {}", ran.out);
    }
    for dir in ["/proc/1/cwd", "/proc/self/root", &above] {
        let ran = host.run(&["exec", "-w", dir, "runs", "cat", "secret"]);
        assert!(!ran.out.contains("of the host"), "{dir}: {}", ran.out);
    }
    host.ok(&["rm", "-f", "runs"]);
}

/// Volumes that an image wants were filled with the host's files once (CVE-2022-23648).
#[test]
fn volumes_of_an_image_are_places_inside() {
    let host = host();
    let canary = canary(&host);
    let above = format!("/../../../../../../..{canary}");
    for place in [above.clone(), format!("..{above}"), canary.clone(), format!("/tmp/..{canary}")] {
        let made = load(&host, "wants", &json!({ "Volumes": { &place: {} } }));
        if made.code != Some(0) {
            continue;
        }
        let look = format!("ls {canary}; echo x >{canary}/new; echo x >{canary}/secret");
        let ran = host.run(&["run", "--rm", "--network", "none", "wants", "sh", "-c", &look]);
        assert!(!ran.out.contains("secret"), "{place}: {}", ran.out);
        assert_untouched(&canary, &place);
    }
    for place in ["/proc", "/proc/self/attr", "/sys/../proc/sys", "/proc/1/root/etc", "/"] {
        let made = load(&host, "wants", &json!({ "Volumes": { place: {} } }));
        let ran = host.run(&["run", "--rm", "--network", "none", "wants", "true"]);
        assert!(made.code != Some(0) || ran.code == Some(125), "{place}: {}", ran.err);
    }
    assert_eq!(host.ok(&["ps", "-aq"]), "");
}

/// RT-14: a number is a number, whatever the image's own file calls its users (CVE-2024-40635,
/// CVE-2026-46680), and none of those too large becomes another.
#[test]
fn users_of_an_image_are_who_they_are_called() {
    let host = host();
    let lines = r"root:x:0:0::/:\n1000:x:0:0::/:\nevil:x:4294967296:0::/:\n";
    let make = format!("printf '{lines}' >/etc/passwd; echo done; sleep 1000");
    host.ok(&["run", "-d", "--name", "uu", "--network", "none", "busybox", "sh", "-c", &make]);
    until("what it says", || host.ok(&["logs", "uu"]) == "done");
    let id = "echo $(id -u):$(id -g):$(id -G); grep CapInh /proc/self/status";
    for (user, who) in [("1000", "1000:0:0"), ("1000:1000", "1000:1000:1000"), ("0:77", "0:77:77")]
    {
        let is = format!("{who}\nCapInh:\t0000000000000000");
        assert_eq!(host.ok(&["exec", "-u", user, "uu", "sh", "-c", id]), is);
        host.ok(&["commit", "--pause=false", "-c", &format!("USER {user}"), "uu", "users"]);
        assert_eq!(host.ok(&["run", "--rm", "--network", "none", "users", "sh", "-c", id]), is);
    }
    host.ok(&["rm", "-f", "uu"]);
    for user in [
        "-1",
        "4294967295",
        "4294967296",
        "18446744073709551616",
        "0x0",
        "1000:-1",
        "0:4294967295",
        " 0",
    ] {
        let made = load(&host, "users", &json!({ "User": user }));
        let ran = host.run(&["run", "--rm", "--network", "none", "users", "id", "-u"]);
        assert!(made.code != Some(0) || ran.code == Some(125), "{user:?} is {}", ran.out);
    }
}

/// What an image says beyond what images may say decides nothing (CVE-2026-53488, CVE-2026-94603).
#[test]
fn an_image_asks_for_no_rights() {
    let host = host();
    let says = json!({
        "Privileged": true, "CapAdd": ["ALL"], "SecurityOpt": ["seccomp=unconfined"],
        "HostConfig": { "Privileged": true, "Binds": ["/:/host"], "PidMode": "host" },
        "Hostname": "a\n6.6.6.6 b", "Domainname": "x\ny", "MacAddress": "no", "NetworkDisabled": false,
        "Labels": { "io.podman.annotations.privileged": "TRUE", "org.criu.config": "/etc/passwd" },
        "OnBuild": ["RUN evil"], "ArgsEscaped": true,
    });
    let made = load(&host, "asks", &says);
    assert_eq!(made.code, Some(0), "{}", made.err);
    let parts = "{{json .HostConfig}}{{json .Mounts}}";
    let look =
        "grep -E '^(CapEff|Seccomp|NoNewPrivs):' /proc/self/status; ls /host; cat /etc/hosts";
    let seen = ["asks", "busybox"].map(|image| {
        host.ok(&["create", "--name", "one", "-h", "box", "--network", "none", image]);
        let spec = host.ok(&["inspect", "-f", parts, "one"]);
        host.ok(&["rm", "one"]);
        let ran =
            host.run(&["run", "--rm", "--network", "none", "-h", "box", image, "sh", "-c", look]);
        (spec, ran.out)
    });
    assert_eq!(seen[0], seen[1]);
    // Nor without a name that the user gives.
    let hosts = host.ok(&["run", "--rm", "--network", "none", "asks", "cat", "/etc/hosts"]);
    assert!(!hosts.contains("6.6.6.6"), "{hosts}");
}

/// A container changes its tree while it is read: nothing of the host comes into what is made of it.
#[test]
fn what_is_swapped_while_it_is_packed_is_not_the_hosts() {
    let host = host();
    let canary = canary(&host);
    let make = format!(
        "mkdir -p /d/a; echo inside >/d/a/secret; ln -s {canary} /d/b; \
         echo inside >/d/f; ln -s {canary}/secret /d/g; echo up; sleep 1000"
    );
    host.ok(&["run", "-d", "--name", "cc", "--network", "none", "busybox", "sh", "-c", &make]);
    until("what it says", || host.ok(&["logs", "cc"]) == "up");
    let pid = host.ok(&["inspect", "-f", "{{.State.Pid}}", "cc"]);
    let inside = |name: &str| PathBuf::from(format!("/proc/{pid}/root/d/{name}"));
    let swaps = [("a", "b"), ("f", "g")].map(|(a, b)| Swap::start(&inside(a), &inside(b)));
    for round in 0..12 {
        for words in [&["cp", "cc:/d", "-"][..], &["export", "cc"]] {
            let made = host.command(words).output().unwrap().stdout;
            assert!(!has(&made, b"of the host"), "{words:?} in round {round}");
        }
    }
    for round in 0..3 {
        let _ = host.run(&["commit", "--pause=false", "cc", "made"]);
        let saved = host.command(&["save", "made"]).output().unwrap().stdout;
        assert!(!has(&saved, b"of the host"), "commit in round {round}");
    }
    drop(swaps);
    assert_untouched(&canary, "while it was packed");
    host.ok(&["rm", "-f", "cc"]);
}

fn has(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}
