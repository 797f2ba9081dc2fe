//! Devices: of the host, by the names of the container device interface, and `--gpus`.

use std::path::Path;

use testkit::Host;

use crate::host;

/// A specification in the test's own configuration.
pub(crate) fn specify(host: &Host, name: &str, text: &str) {
    let dir = host.scratch().join("etc/cdi");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join(name), text).unwrap();
}

const SPEC: &str = r#"{"cdiVersion":"0.6.0","kind":"dhow.test/null","devices":[
    {"name":"one","containerEdits":{
        "deviceNodes":[{"path":"/dev/mynull","hostPath":"/dev/null","permissions":"rw"}],
        "env":["DEVICE=one"],
        "mounts":[{"hostPath":"/bin/busybox","containerPath":"/usr/lib/vendor","options":["ro"]}],
        "additionalGids":[4242]}}],
    "containerEdits":{"env":["VENDOR=yes","PATH=/bin:/usr/lib"]}}"#;

#[test]
fn a_device_comes_with_what_it_needs() {
    let host = host();
    specify(&host, "test.json", SPEC);
    let script = "echo x > /dev/mynull && stat -c %t:%T /dev/mynull; echo $DEVICE $VENDOR $PATH; id -G; \
                  test -x /usr/lib/vendor && echo mounted; touch /usr/lib/vendor 2>/dev/null || echo read-only";
    let run = ["run", "--rm", "--device", "dhow.test/null=one", "busybox", "sh", "-c", script];
    assert_eq!(host.ok(&run), "1:3\none yes /bin:/usr/lib\n0 4242\nmounted\nread-only");
    let id = host.ok(&["create", "--device", "dhow.test/null=one", "busybox"]);
    let seen = host.ok(&["inspect", "-f", "{{json .HostConfig.DeviceRequests}}", &id]);
    assert_eq!(
        seen,
        r#"[{"Driver":"cdi","Count":0,"DeviceIDs":["dhow.test/null=one"],"Capabilities":null,"Options":null}]"#
    );
    let info = host.ok(&["info"]);
    assert!(
        info.contains("CDI spec directories:\n  /etc/cdi\n")
            && info.contains("  cdi: dhow.test/null=one"),
        "{info}"
    );
}

#[test]
fn a_node_that_is_there_already_is_replaced() {
    let host = host();
    let node = r#"{"deviceNodes":[{"path":"/dev/zero","hostPath":"/dev/null"}]}"#;
    let spec = format!(
        r#"{{"cdiVersion":"0.6.0","kind":"dhow.test/shared","devices":[
        {{"name":"a","containerEdits":{node}}},{{"name":"b","containerEdits":{node}}}]}}"#
    );
    specify(&host, "shared.json", &spec);
    let devices = ["--device", "dhow.test/shared=a", "--device", "dhow.test/shared=b"];
    for more in [&[][..], &["--privileged"]] {
        let mut words = vec!["run", "--rm"];
        words.extend(more);
        words.extend(devices);
        words.extend(["busybox", "stat", "-c", "%t:%T", "/dev/zero"]);
        assert_eq!(host.ok(&words), "1:3", "{more:?}");
    }
}

#[test]
fn gpus_are_devices_of_nvidias() {
    let host = host();
    let gpus = ["run", "--rm", "--gpus", "all", "busybox", "sh", "-c", "echo $GPUS"];
    let refused = host.fails(125, &gpus);
    assert!(
        refused.contains(r#"could not select device driver "" with capabilities: [[gpu]]"#),
        "{refused}"
    );
    let yaml = "cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n- name: all\n  containerEdits: {env: [GPUS=all]}\n\
                - name: '0'\n  containerEdits: {env: [GPUS=first]}\n";
    specify(&host, "nvidia.yaml", yaml);
    assert_eq!(host.ok(&gpus), "all");
    assert_eq!(
        host.ok(&["run", "--rm", "--gpus", "device=0", "busybox", "sh", "-c", "echo $GPUS"]),
        "first"
    );
    assert_eq!(
        host.ok(&["run", "--rm", "--gpus", "1", "busybox", "sh", "-c", "echo $GPUS"]),
        "first"
    );
    for count in ["2", "4000000000"] {
        let missing = host.fails(125, &["run", "--rm", "--gpus", count, "busybox", "true"]);
        assert!(
            missing
                .contains("CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=1"),
            "{missing}"
        );
    }
}

#[test]
fn devices_of_the_host_are_mapped_in_every_form() {
    let host = host();
    let dir = host.scratch().join("devices");
    std::fs::create_dir_all(dir.join("deeper")).unwrap();
    let node = |path: &std::path::Path| {
        let mode = rustix::fs::Mode::from_raw_mode(0o666);
        let (kind, number) = (rustix::fs::FileType::CharacterDevice, rustix::fs::makedev(1, 3));
        rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, number).unwrap();
    };
    node(&dir.join("one"));
    node(&dir.join("deeper/two"));
    std::os::unix::fs::symlink(dir.join("one"), dir.join("link")).unwrap();
    let run = |device: &str, script: &str| {
        host.run(&["run", "--rm", "--device", device, "busybox", "sh", "-c", script])
    };
    let at = |name: &str| dir.join(name).display().to_string();
    let numbers = "stat -c %t:%T";
    for (device, path) in [
        (format!("{}:/dev/x", at("one")), "/dev/x"),
        (format!("{}:/dev/x:r", at("link")), "/dev/x"),
        (format!("{}:/dev/x/y", at("one")), "/dev/x/y"),
        (format!("{}:/else/where", at("one")), "/else/where"),
        (format!("{}:/dev/all", dir.display()), "/dev/all/deeper/two"),
    ] {
        let ran = run(&device, &format!("{numbers} {path}"));
        assert_eq!((ran.code, ran.out.as_str()), (Some(0), "1:3"), "{device}: {}", ran.err);
    }
    let missing = "error gathering device information while adding custom device \"/dev/nope\": no such file or directory";
    assert!(run("/dev/nope", "true").err.contains(missing));
    assert!(run("/etc/passwd", "true").err.contains("\"/etc/passwd\": not a device node"));
    // A directory without any is none either.
    let empty = dir.join("empty");
    std::fs::create_dir(&empty).unwrap();
    let said = run(&format!("{}:/dev/empty", empty.display()), "true").err;
    assert!(said.contains(&format!("\"{}\": not a device node", empty.display())), "{said}");
    // Of two at one place the first is there.
    let twice = ["run", "--rm", "--device", "/dev/zero:/dev/x", "--device", "/dev/null:/dev/x"];
    let look = ["busybox", "stat", "-c", "%t:%T", "/dev/x"];
    assert_eq!(host.ok(&[&twice[..], &look].concat()), "1:5");
    // Who may everything gets the one that was asked for as well.
    let mapped = format!("{}:/dev/mine", at("one"));
    let all = [
        "run",
        "--rm",
        "--privileged",
        "--device",
        &mapped,
        "busybox",
        "stat",
        "-c",
        "%t:%T",
        "/dev/mine",
    ];
    assert_eq!(host.ok(&all), "1:3");
}

/// A device whose hooks are a program, each with a name for what it is called at.
fn specify_hooks(host: &Host, program: &Path) {
    let hook = |(moment, name): (&str, &str)| {
        format!(
            r#"{{"hookName":"{moment}","path":"{}","args":["hook","{name}"],"env":["PATH=/bin:/usr/bin"]}}"#,
            program.display()
        )
    };
    let hooks = [
        ("createContainer", "container"),
        ("createRuntime", "runtime"),
        ("poststart", "after"),
        ("poststop", "end"),
    ];
    let hooks = hooks.map(hook).join(",");
    specify(
        host,
        "hooks.json",
        &format!(
            r#"{{"cdiVersion":"0.6.0","kind":"dhow.test/hook","devices":[{{"name":"one","containerEdits":{{"mounts":[
        {{"hostPath":"/bin/busybox","containerPath":"/usr/tool","options":["ro"]}}],"hooks":[{hooks}]}}}}]}}"#
        ),
    );
}

/// What NVIDIA's files have: a program of the host that looks for the root file system in the bundle.
#[test]
fn hooks_of_a_device_change_the_container() {
    let host = host();
    let dir = host.scratch().to_owned();
    let program = dir.join("hook");
    let script = format!(
        "#!/bin/sh\nstate=$(cat)\nbundle=$(echo \"$state\" | sed 's/.*\"bundle\":\"\\([^\"]*\\)\".*/\\1/')\n\
         echo $1 >>{0}/log; [ -e {0}/fail.$1 ] && {{ echo it is broken >&2; exit 2; }}\n\
         [ $1 = container ] && ln -s lib.so.1 $bundle/rootfs/usr/lib.so && grep -c createContainer $bundle/config.json >$bundle/rootfs/etc/hooked\n\
         exit 0\n",
        dir.display()
    );
    testkit::program(&program, script);
    specify_hooks(&host, &program);
    let look = "readlink /usr/lib.so; cat /etc/hooked; wc -l </proc/self/mountinfo; test -e /usr/tool && echo tool";
    let run = ["--network", "none", "--device", "dhow.test/hook=one", "--name", "hh"];
    let ran =
        host.ok(&[&["run", "--read-only"], &run[..], &["busybox", "sh", "-c", look]].concat());
    let lines: Vec<&str> = ran.lines().collect();
    assert_eq!((lines[0], lines[1], lines[3]), ("lib.so.1", "1", "tool"), "{ran}");
    let log = || std::fs::read_to_string(dir.join("log")).unwrap();
    // The last one is run by the guardian on its way out.
    host.until_idle();
    assert_eq!(log(), "runtime\ncontainer\nafter\nend\n");
    assert_eq!(
        std::fs::read_dir(host.run_root().join("c")).unwrap().count(),
        0,
        "a bundle is left"
    );
    host.ok(&["rm", "hh"]);
    // Each that fails before the program runs, or as it does, ends the start.
    for (name, moment) in [("container", "createContainer"), ("after", "poststart")] {
        std::fs::write(dir.join(format!("fail.{name}")), "").unwrap();
        let said = host.fails(125, &[&["run"], &run[..], &["busybox", "sleep", "1000"]].concat());
        let wanted = format!(
            "error running {moment} hook #0: {}: exit status: 2: it is broken",
            program.display()
        );
        assert!(said.contains(&wanted), "{said}");
        assert_eq!(host.ok(&["ps", "-q"]), "");
        host.ok(&["rm", "hh"]);
        std::fs::remove_file(dir.join(format!("fail.{name}"))).unwrap();
    }
    // Of one at the end the log tells.
    std::fs::write(dir.join("fail.end"), "").unwrap();
    host.ok(&[&["run"], &run[..], &["busybox", "true"]].concat());
    host.until_idle();
    let wanted = format!(
        "[dhow: error running poststop hook #0: {}: exit status: 2: it is broken]",
        program.display()
    );
    assert_eq!(host.run(&["logs", "hh"]).err, wanted);
    host.ok(&["rm", "hh"]);
    let refused =
        host.fails(125, &[&["run", "--userns=auto"], &run[..], &["busybox", "true"]].concat());
    assert!(refused.contains("a device that needs hooks"), "{refused}");
}
