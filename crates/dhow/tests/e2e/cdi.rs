//! Devices by the names of the container device interface, and `--gpus`.

use testkit::Host;

use crate::host;

/// A specification in the test's own configuration.
fn specify(host: &Host, name: &str, text: &str) {
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
    let missing = host.fails(125, &["run", "--rm", "--gpus", "2", "busybox", "true"]);
    assert!(
        missing.contains("CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=1"),
        "{missing}"
    );
}
