//! What requests become, and what they are told when they make no sense.

use docker_api::types::exec::ExecCreate;
use expect_test::{Expect, expect};
use http::StatusCode;
use model::container::{
    NamespaceSpec, NetworkMode, PidsLimit, StopTimeout, SwapLimit, UserNamespace,
};
use model::mount::{Access, MissingSource, Mount, MountSource};

use super::*;
use crate::error::HttpError;
use crate::quirks::MAX;

fn lower_at(body: &str, api: ApiVersion) -> Result<Lowered, HttpError> {
    let request = CreateContainer::from_json(body.as_bytes())?.value;
    Ok(create(&request, Beside::default(), api)?)
}

fn lowered(body: &str) -> Lowered {
    lower_at(body, MAX).unwrap_or_else(|e| panic!("{body}: {}", e.message))
}

fn spec(body: &str) -> ContainerSpec {
    lowered(body).spec
}

/// The status and the message of a refusal.
fn refused(body: &str) -> (u16, String) {
    let error = lower_at(body, MAX).expect_err(body);
    (error.status.as_u16(), error.message)
}

/// With an image around it.
fn image(rest: &str) -> String {
    format!(r#"{{"Image":"busybox",{rest}}}"#)
}

fn host(rest: &str) -> String {
    image(&format!(r#""HostConfig":{{{rest}}}"#))
}

fn check(part: &impl std::fmt::Debug, want: &Expect) {
    want.assert_debug_eq(part);
}

#[test]
fn the_least_request_gets_every_default() {
    let spec = spec(r#"{"Image":"busybox"}"#);
    assert_eq!((&spec.name, &spec.platform), (&None, &None));
    assert_eq!(spec.source, Source::Image("busybox".to_owned()));
    assert_eq!((spec.removal, spec.restart), (Removal::Keep, RestartPolicy::No));
    assert!(spec.labels.is_empty() && spec.annotations.is_empty());
    check(
        &spec.process,
        &expect![[r#"
            ProcessSpec {
                entrypoint: None,
                command: None,
                env: [],
                working_dir: None,
                user: None,
                groups: [],
                terminal: None,
                stdin: Null,
                attached: AttachedStreams {
                    stdin: false,
                    stdout: false,
                    stderr: false,
                },
                stop_signal: None,
                stop_timeout: None,
                init: Command,
                systemd: Auto,
                health: FromImage,
                on_unhealthy: Nothing,
            }
        "#]],
    );
    check(
        &spec.files,
        &expect![[r#"
            FilesSpec {
                mounts: [],
                binds: [],
                asked: [],
                tmpfs: {},
                volumes_from: [],
                volume_driver: "",
            }
        "#]],
    );
    check(
        &spec.log,
        &expect![[r#"
            JsonFile {
                max_size: Some(
                    20971520,
                ),
                max_file: 5,
                options: {},
                compression: None,
                details: LogDetails {
                    labels: [],
                    labels_regex: None,
                    env: [],
                    env_regex: None,
                    tag: None,
                },
                delivery: Blocking,
            }
        "#]],
    );
}

#[test]
fn the_least_request_gets_the_default_security() {
    check(
        &spec(r#"{"Image":"busybox"}"#).security,
        &expect![[r#"
            SecuritySpec {
                privileged: false,
                cap_add: [],
                cap_drop: [],
                seccomp: Default,
                no_new_privileges: false,
                security_opt: [],
                read_only_root: false,
                masked_paths: None,
                readonly_paths: None,
                devices: [],
                device_requests: [],
                device_rules: [],
                sysctls: {},
                pid: Private,
                ipc: Private,
                uts: Private,
                cgroup: Private,
                userns: Host,
                apparmor: None,
                label: LabelWish {
                    disabled: false,
                    user: None,
                    role: None,
                    kind: None,
                    file_kind: None,
                    level: None,
                },
                writable_cgroups: None,
            }
        "#]],
    );
}

#[test]
fn the_least_request_gets_the_default_limits() {
    check(
        &spec(r#"{"Image":"busybox"}"#).limits,
        &expect![[r#"
            Limits {
                memory: None,
                memory_swap: None,
                memory_reservation: None,
                memory_swappiness: None,
                oom_kill_disable: None,
                oom_score_adj: 0,
                cpu_shares: None,
                nano_cpus: None,
                cpu_period: None,
                cpu_quota: None,
                cpuset_cpus: None,
                cpuset_mems: None,
                pids: Default,
                cpu_realtime_period: None,
                cpu_realtime_runtime: None,
                blkio_weight: None,
                block_devices: BlockLimits {
                    weights: [],
                    read_bytes: [],
                    write_bytes: [],
                    read_operations: [],
                    write_operations: [],
                },
                ulimits: [],
                shm_size: 67108864,
                cgroup_parent: None,
            }
        "#]],
    );
}

#[test]
fn the_least_request_gets_the_default_network() {
    check(
        &spec(r#"{"Image":"busybox"}"#).network,
        &expect![[r#"
            NetworkSpec {
                mode: Bridge,
                hostname: None,
                domainname: None,
                exposed: [],
                published: [],
                publish_all: false,
                dns: [],
                dns_options: [],
                dns_search: [],
                extra_hosts: [],
                mac_address: None,
                attachments: [],
                membership: Kept,
            }
        "#]],
    );
}

#[test]
fn values_arrive() {
    let spec = spec(
        r#"{"Image":"debian","Cmd":["sh","-c","x"],"Entrypoint":"/e","Env":["A=1","B"],
        "WorkingDir":"/w/../v","User":"app:50","Tty":true,"OpenStdin":true,"StdinOnce":true,
        "Hostname":"h","StopSignal":"INT","StopTimeout":-1,"ExposedPorts":{"53/udp":{}},
        "Volumes":{"/anon":{}},
        "HostConfig":{"Binds":["/a:/b:ro"],"AutoRemove":true,"ConsoleSize":[40,120],
          "Memory":6291456,"NanoCpus":1500000000,"PidsLimit":-1,"Init":true,
          "PortBindings":{"80/tcp":[{"HostIp":"::1","HostPort":"8000-8010"},{"HostPort":"0"}]},
          "ExtraHosts":["db=10.0.0.1","gw:host-gateway"],"Tmpfs":{"/t":"size=1m,mode=700,exec"},
          "Mounts":[{"Type":"bind","Source":"/s","Target":"/d"}]}}"#,
    );
    assert_eq!(spec.process.command.unwrap(), ["sh", "-c", "x"]);
    assert_eq!(spec.process.entrypoint.unwrap(), ["/e"]);
    assert_eq!(spec.process.working_dir.unwrap().to_str(), Some("/v"));
    assert_eq!(spec.process.stop_timeout, Some(StopTimeout::Forever));
    expect![[r#"
        Pty {
            size: Some(
                TerminalSize {
                    rows: 40,
                    columns: 120,
                },
            ),
        }
    "#]]
    .assert_debug_eq(&spec.process.terminal);
    assert_eq!(spec.removal, Removal::Auto);
    assert_eq!(spec.limits.memory_swap, Some(SwapLimit::Bytes(12_582_912)));
    assert_eq!(spec.limits.pids, PidsLimit::Unlimited);
    assert_eq!(spec.network.extra_hosts, ["db:10.0.0.1", "gw:host-gateway"]);
    expect![[r#"
        [
            PortBinding {
                container: ContainerPort {
                    port: 80,
                    protocol: Tcp,
                },
                host_ip: Some(
                    ::1,
                ),
                host: Within(
                    PortRange {
                        first: 8000,
                        last: 8010,
                    },
                ),
            },
            PortBinding {
                container: ContainerPort {
                    port: 80,
                    protocol: Tcp,
                },
                host_ip: None,
                host: Random,
            },
        ]
    "#]]
    .assert_debug_eq(&spec.network.published);
    let targets: Vec<_> = spec.files.mounts.iter().map(|m| m.target.to_str().unwrap()).collect();
    assert_eq!(targets, ["/b", "/anon", "/d", "/t"]);
    assert!(matches!(
        &spec.files.mounts[2].source,
        MountSource::Bind { missing: MissingSource::Refuse, .. }
    ));
    assert!(matches!(
        &spec.files.mounts[3].source,
        MountSource::Tmpfs { size: Some(1_048_576), mode: 0o700, options } if options == &["exec"]
    ));
}

#[test]
fn a_root_file_system_of_the_host_stands_for_an_image() {
    let source = |text: &str| spec(&format!(r#"{{"Dhow":{{"Rootfs":"{text}"}}}}"#)).source;
    assert_eq!(source("/:O"), Source::DirectoryOverlay("/".into()));
    assert_eq!(source("/srv/root"), Source::Directory("/srv/root".into()));
}

#[test]
fn what_has_no_effect_is_said() {
    let host =
        lowered(&host(r#""NetworkMode":"host","PortBindings":{"80/tcp":[{"HostPort":"80"}]}"#));
    assert_eq!(host.spec.network.mode, NetworkMode::Host);
    assert_eq!(host.warnings, ["Published ports are discarded when using host network mode"]);
}

#[test]
fn the_last_size_of_a_tmpfs_counts() {
    let sized = |options: &str| {
        let mounts = lowered(&host(&format!(r#""Tmpfs":{{"/t":"{options}"}}"#))).spec.files.mounts;
        let [Mount { source: MountSource::Tmpfs { size, options, .. }, .. }] = mounts.as_slice()
        else {
            panic!("{mounts:?}")
        };
        (*size, options.join(","))
    };
    assert_eq!(sized("size=50%,size=1m"), (Some(1 << 20), String::new()));
    assert_eq!(sized("size=1m,size=300%"), (None, "size=300%".to_owned()));
}

#[test]
fn older_clients_get_what_they_know() {
    let body = host(r#""Binds":["/a:/b:ro"],"ConsoleSize":[1,2]"#);
    let access = |api: &str| {
        let lowered = lower_at(&body, api.parse().unwrap()).unwrap();
        lowered.spec.files.mounts[0].access
    };
    assert_eq!(access("1.44"), Access::ReadOnly);
    assert_eq!(access("1.43"), Access::ReadOnlyNonRecursive);
}

/// Semantics 2, 14, 34, 56, and the first table of D.1.
#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn nonsense_is_refused_in_dockers_words() {
    for (body, want) in [
        ("{}", "config cannot be empty in order to create a container"),
        (r#"{"Cmd":["a"]}"#, "no image specified"),
        (
            r#"{"Image":"a","Dhow":{"Rootfs":"/"}}"#,
            "conflicting options: an image (a) and a root file system of the host",
        ),
        (
            r#"{"Dhow":{"Rootfs":"rel"}}"#,
            "invalid root file system \"rel\": it must be an absolute path, with :O for a throw-away layer",
        ),
        (&image(r#""Env":["=x"]"#), "invalid environment variable: =x"),
        (&image(r#""Env":[""]"#), "invalid environment variable: "),
        (&image(r#""Env":["A=x\u0000y"]"#), "environment variable contains a NUL byte"),
        (&image(r#""Cmd":["a\u0000"]"#), "Cmd contains a NUL byte"),
        (
            &image(r#""WorkingDir":"relative""#),
            "the working directory 'relative' is invalid, it needs to be an absolute path",
        ),
        (&image(r#""StopSignal":"FOO""#), "invalid signal: FOO"),
        (r#"{"Image":"a\nb"}"#, "Image contains a control character: \"a\\nb\""),
        (
            &host(r#""NetworkMode":"a\nb""#),
            "HostConfig.NetworkMode contains a control character: \"a\\nb\"",
        ),
        (
            &host(r#""CgroupParent":"/a\nb""#),
            "HostConfig.CgroupParent contains a control character: \"/a\\nb\"",
        ),
        (&host(r#""Binds":["/a\n:/b"]"#), "volume contains a control character: \"/a\\n:/b\""),
        (
            &host(r#""Mounts":[{"Type":"bind","Source":"/a\n","Target":"/b"}]"#),
            "mount source contains a control character: \"/a\\n\"",
        ),
        (
            &host(r#""Mounts":[{"Type":"bind","Source":"/a","Target":"/b\n"}]"#),
            "mount target contains a control character: \"/b\\n\"",
        ),
        (
            &image(&format!(r#""Hostname":"{}""#, "h".repeat(65))),
            &format!(
                "invalid hostname \"{}\": only letters, digits, '-', '_' and '.' are allowed, and 64 bytes at most",
                "h".repeat(65)
            ),
        ),
        (
            &image(r#""Hostname":"a\nb""#),
            "invalid hostname \"a\\nb\": only letters, digits, '-', '_' and '.' are allowed, and 64 bytes at most",
        ),
        (
            &image(r#""User":"4294967296""#),
            "invalid user \"4294967296\": uids and gids must be in range 0-2147483647",
        ),
        (
            &image(r#""User":"-1""#),
            "invalid user \"-1\": uids and gids must be in range 0-2147483647",
        ),
        (
            &image(r#""User":"a:2147483648""#),
            "invalid user \"a:2147483648\": uids and gids must be in range 0-2147483647",
        ),
        (
            &image(r#""User":"a:b:c""#),
            "invalid user \"a:b:c\": expected user[:group], by name or number",
        ),
        (
            &image(r#""Healthcheck":{"Test":["CMD","x"],"Interval":5}"#),
            "Interval in Healthcheck cannot be less than 1ms",
        ),
        (&image(r#""ExposedPorts":{"70000/tcp":{}}"#), "invalid containerPort: 70000"),
        (&image(r#""MacAddress":"01:00:00:00:00:01""#), "invalid MAC address: 01:00:00:00:00:01"),
    ] {
        assert_eq!(refused(body), (400, want.to_owned()), "{body}");
    }
}

#[test]
fn limits_are_judged() {
    for (rest, want) in [
        (r#""Memory":1"#, "Minimum memory limit allowed is 6MB"),
        (r#""Memory":-1"#, "Minimum memory limit allowed is 6MB"),
        (
            r#""Memory":8000000,"MemorySwap":7000000"#,
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        (
            r#""MemorySwap":7000000"#,
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ),
        (
            r#""Memory":8000000,"MemoryReservation":9000000"#,
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ),
        (r#""MemorySwappiness":101"#, "invalid value: 101, valid memory swappiness range is 0-100"),
        (r#""OomScoreAdj":1001"#, "Invalid value 1001, range for oom score adj is [-1000, 1000]"),
        (
            r#""NanoCpus":1000000000,"CpuQuota":1000"#,
            "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
        ),
        (
            r#""NanoCpus":1000000000,"CpuPeriod":1000"#,
            "Conflicting options: Nano CPUs and CPU Period cannot both be set",
        ),
        (
            r#""CpuPeriod":999"#,
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ),
        (r#""CpuQuota":999"#, "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
        (r#""CpuShares":1"#, "invalid CPU shares (1): the range is 2 to 262144"),
        (r#""CpusetCpus":"3-1""#, "Invalid value 3-1 for cpuset cpus"),
        (r#""CpusetMems":"x""#, "Invalid value x for cpuset mems"),
        (r#""ShmSize":-1"#, "SHM size can not be less than 0"),
        (r#""Ulimits":[{"Name":"nope","Soft":1,"Hard":1}]"#, "invalid ulimit type: nope"),
        (
            r#""Ulimits":[{"Name":"nofile","Soft":10,"Hard":5}]"#,
            "ulimit nofile: soft limit must be less than or equal to hard limit: 10 > 5",
        ),
        (
            r#""Ulimits":[{"Name":"core","Soft":-1,"Hard":5}]"#,
            "ulimit core: soft limit must be less than or equal to hard limit: -1 > 5",
        ),
        (
            r#""CgroupParent":"/a/../..""#,
            "invalid cgroup parent \"/a/../..\": it must not climb above its root",
        ),
        (r#""CpuCount":1"#, "Windows only: HostConfig.CpuCount"),
    ] {
        assert_eq!(refused(&host(rest)), (400, want.to_owned()), "{rest}");
    }
}

#[test]
fn security_fails_closed() {
    for (rest, want) in [
        (r#""CapAdd":["FOO"]"#, r#"invalid CapAdd: unknown capability: "CAP_FOO""#),
        (r#""CapDrop":["cap_foo"]"#, r#"invalid CapDrop: unknown capability: "CAP_FOO""#),
        (r#""SecurityOpt":["nope"]"#, r#"invalid --security-opt: "nope""#),
        (r#""SecurityOpt":["apparmor="]"#, r#"invalid --security-opt: "apparmor=""#),
        (
            r#""SecurityOpt":["label=kind:x"]"#,
            "invalid --security-opt: bad label option \"kind:x\": valid are 'disable', or user, role, type, filetype or level, a colon and a value",
        ),
        (r#""SecurityOpt":["apparmor=a//&b"]"#, r#"invalid --security-opt: "apparmor=a//&b""#),
        (r#""SecurityOpt":["apparmor=a\nb"]"#, "invalid --security-opt: \"apparmor=a\nb\""),
        (
            r#""SecurityOpt":["writable-cgroups=2"]"#,
            r#"invalid --security-opt: "writable-cgroups=2""#,
        ),
        (
            r#""SecurityOpt":["no-new-privileges=maybe"]"#,
            r#"invalid --security-opt: "no-new-privileges=maybe""#,
        ),
        (r#""SecurityOpt":["seccomp={}"]"#, "invalid seccomp profile: it has no defaultAction"),
        (r#""IpcMode":"foo""#, "invalid IPC mode: foo"),
        (r#""PidMode":"container:""#, "invalid PID mode: container:"),
        (r#""UTSMode":"private""#, "invalid UTS mode: private"),
        (r#""UsernsMode":"keep-ids""#, "invalid USER mode: keep-ids"),
        (r#""CgroupnsMode":"x""#, "invalid CGROUP mode: x"),
        (
            r#""Sysctls":{"kernel.core_pattern":"|x"}"#,
            "sysctl \"kernel.core_pattern\" is not a namespaced kernel parameter that a container may set",
        ),
        (
            r#""Sysctls":{"net/../kernel/x":"1"}"#,
            "sysctl \"net/../kernel/x\" is not a namespaced kernel parameter that a container may set",
        ),
        (
            r#""Sysctls":{"net..x":"1"}"#,
            "sysctl \"net..x\" is not a namespaced kernel parameter that a container may set",
        ),
        (
            r#""NetworkMode":"host","Sysctls":{"net.core.somaxconn":"1"}"#,
            "sysctl \"net.core.somaxconn\" is not allowed with the host's network",
        ),
        (
            r#""IpcMode":"host","Sysctls":{"kernel.sem":"1"}"#,
            "sysctl \"kernel.sem\" is not allowed with the host's IPC namespace",
        ),
        (r#""Sysctls":{"net.x":"1\n2"}"#, "invalid value of sysctl \"net.x\": it must be one line"),
        (r#""DeviceCgroupRules":["c 1:2"]"#, "invalid device cgroup rule format: 'c 1:2'"),
        (r#""DeviceCgroupRules":["c 1:2 rwx"]"#, "invalid device cgroup rule format: 'c 1:2 rwx'"),
        (r#""Devices":[{"PathOnHost":"rel"}]"#, "invalid device path \"rel\": it must be absolute"),
        (r#""Runtime":"kata""#, "unknown or invalid runtime name: kata"),
    ] {
        assert_eq!(refused(&host(rest)), (400, want.to_owned()), "{rest}");
    }
    assert!(spec(&host(r#""SecurityOpt":["no-new-privileges"]"#)).security.no_new_privileges);
    let security =
        spec(&host(r#""IpcMode":"none","SecurityOpt":["apparmor=a b","writable-cgroups=0"]"#));
    let security = security.security;
    assert_eq!(security.apparmor.as_deref(), Some("a b"));
    assert_eq!((security.writable_cgroups, security.ipc), (Some(false), NamespaceSpec::Bare));
    assert!(lower_at(&host(r#""DeviceCgroupRules":["c 13:* rwm","a *:* r"]"#), MAX).is_ok());
}

#[test]
fn what_belongs_to_another_user_namespace_is_refused() {
    for (rest, want) in [
        (
            r#""UsernsMode":"auto","Privileged":true"#,
            "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when running privileged mode",
        ),
        (
            r#""UsernsMode":"auto","NetworkMode":"host""#,
            "cannot share the host's network namespace when user namespaces are enabled",
        ),
        (
            r#""UsernsMode":"auto","PidMode":"host""#,
            "cannot share the host PID namespace when user namespaces are enabled",
        ),
        (
            r#""UsernsMode":"auto","NetworkMode":"container:x""#,
            "cannot share namespaces of another container when user namespaces are enabled: they belong to another user namespace",
        ),
    ] {
        assert_eq!(refused(&host(rest)), (400, want.to_owned()), "{rest}");
    }
    for (mode, why) in [
        ("keep-id", "keep-id is not supported: the files of images"),
        ("keep-id:uid=7,gid=8", "keep-id is not supported: the files of images"),
        ("nomap", "nomap is not supported: all containers"),
    ] {
        let (status, said) = refused(&host(&format!(r#""UsernsMode":"{mode}""#)));
        assert!(status == 400 && said.contains(why), "{said}");
    }
    let auto = spec(&host(r#""UsernsMode":"auto","NetworkMode":"none""#)).security;
    assert_eq!(auto.userns, UserNamespace::Auto);
}

#[test]
fn named_devices_are_judged() {
    for (rest, want) in [
        (
            r#""DeviceRequests":[{"Driver":"cdi","DeviceIDs":["gpu"]}]"#,
            r#"invalid CDI device name "gpu": expected vendor.com/class=name"#,
        ),
        (
            r#""DeviceRequests":[{"Count":1,"DeviceIDs":["0"],"Capabilities":[["gpu"]]}]"#,
            "cannot set both Count and DeviceIDs on device request",
        ),
    ] {
        assert_eq!(refused(&host(rest)), (400, want.to_owned()), "{rest}");
    }
}

#[test]
fn a_volume_where_something_is_mounted_is_not_needed() {
    let files = spec(&host(r#""Binds":["/a:/t"]},"Volumes":{"/t/":{},"/u":{}},"Labels":{"#)).files;
    let targets: Vec<_> = files.mounts.iter().map(|mount| mount.target.to_str().unwrap()).collect();
    assert_eq!(targets, ["/t", "/u"]);
}

#[test]
fn mounts_are_judged() {
    let mount = |rest: &str| host(&format!(r#""Mounts":[{{{rest}}}]"#));
    for (body, want) in [
        (host(r#""Binds":["/a:/t","b1:/t/"]"#), "Duplicate mount point: /t"),
        (
            mount(r#""Type":"bind","Target":"/t""#),
            "invalid mount config for type \"bind\": field Source must not be empty",
        ),
        (
            mount(r#""Type":"volume""#),
            "invalid mount config for type \"volume\": field Target must not be empty",
        ),
        (
            mount(r#""Type":"bind","Source":"rel","Target":"/t""#),
            "invalid mount config for type \"bind\": invalid mount path: 'rel' mount path must be absolute",
        ),
        (
            mount(r#""Type":"tmpfs","Source":"x","Target":"/t""#),
            "invalid mount config for type \"tmpfs\": field Source must not be specified",
        ),
        (
            mount(r#""Type":"tmpfs","Target":"/""#),
            "invalid mount config for type \"tmpfs\": invalid specification: destination can't be '/'",
        ),
        (host(r#""VolumesFrom":["a:b"]"#), "invalid mode: b"),
        (
            host(r#""StorageOpt":{"size":"1g"}"#),
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
        ),
        (
            mount(
                r#""Type":"volume","Source":"vol","Target":"/t","VolumeOptions":{"Subpath":"../x"}"#,
            ),
            "invalid mount config for type \"volume\": subpath must be a relative path within the volume",
        ),
        (
            mount(r#""Type":"bind","Source":"/s","Target":"/t","VolumeOptions":{}"#),
            "invalid mount config for type \"bind\": field VolumeOptions must not be specified",
        ),
        (
            mount(r#""Type":"foo","Target":"/t""#),
            "invalid mount config for type \"foo\": mount type unknown",
        ),
        (
            mount(r#""Type":"bind","Source":"/s","Target":"/t","BindOptions":{"Propagation":"x"}"#),
            "invalid mount config for type \"bind\": invalid propagation mode: x",
        ),
        (host(r#""Tmpfs":{"/t":"foo"}"#), "invalid tmpfs option \"foo\""),
        (host(r#""Tmpfs":{"/t":"uid=0\tx"}"#), "invalid tmpfs option \"uid=0\tx\""),
        (host(r#""Tmpfs":{"/t":"size=0"}"#), "invalid tmpfs size: 0"),
        (host(r#""Tmpfs":{"/t":"size=0%"}"#), "invalid tmpfs size: 0%"),
        (host(r#""Tmpfs":{"/t":"size=x%"}"#), "invalid tmpfs size: x%"),
        (host(r#""Tmpfs":{"/t":"size=+5%"}"#), "invalid tmpfs size: +5%"),
        (host(r#""Tmpfs":{"/t":"mode=99"}"#), "invalid tmpfs mode: 99"),
    ] {
        assert_eq!(refused(&body), (400, want.to_owned()), "{body}");
    }
}

#[test]
fn networks_are_judged() {
    let with = |config: &str, mode: &str| {
        image(&format!(r#"{config}"HostConfig":{{"NetworkMode":"{mode}"}}"#))
    };
    let endpoint = |rest: &str| {
        image(&format!(r#""NetworkingConfig":{{"EndpointsConfig":{{"bridge":{{{rest}}}}}}}"#))
    };
    for (body, want) in [
        (
            with("", "container:"),
            "Invalid network mode: invalid container format container:<name|id>",
        ),
        (
            with(r#""Hostname":"h","#, "container:a"),
            "conflicting options: hostname and the network mode",
        ),
        (
            with(r#""ExposedPorts":{"80":{}},"#, "container:a"),
            "conflicting options: port exposing and the container type network mode",
        ),
        (
            host(r#""NetworkMode":"container:a","PortBindings":{"80":[{}]}"#),
            "conflicting options: port publishing and the container type network mode",
        ),
        (
            host(r#""NetworkMode":"container:a","Dns":["1.1.1.1"]"#),
            "conflicting options: dns and the network mode",
        ),
        (host(r#""PortBindings":{"x":[{}]}"#), "invalid port specification: \"x\""),
        (
            host(r#""PortBindings":{"80":[{"HostPort":"99999"}]}"#),
            "invalid port specification: \"99999\"",
        ),
        (host(r#""PortBindings":{"80":[{"HostIp":"x"}]}"#), "invalid IP address: x"),
        (host(r#""Dns":["x"]"#), "invalid IP address in DNS server list: \"x\""),
        (host(r#""DnsSearch":["a b"]"#), "invalid DNS search domain: \"a b\""),
        (host(r#""ExtraHosts":["x"]"#), "bad format for add-host: \"x\""),
        (host(r#""ExtraHosts":["x:y"]"#), "invalid IP address in add-host: \"y\""),
        (host(r#""ExtraHosts":["a\nb:1.1.1.1"]"#), "bad format for add-host: \"a\\nb:1.1.1.1\""),
        (
            endpoint(r#""IPAMConfig":{"IPv4Address":"172.17.0.9"}"#),
            "invalid endpoint settings:\nuser specified IP address is supported only when connecting to networks with user configured subnets",
        ),
        (
            endpoint(r#""Aliases":["a"]"#),
            "invalid endpoint settings:\nnetwork-scoped aliases are only supported for user-defined networks",
        ),
    ] {
        assert_eq!(refused(&body), (400, want.to_owned()), "{body}");
    }
    let mac = spec(&endpoint(r#""MacAddress":"02-42-ac-11-00-02""#)).network.mac_address;
    assert_eq!(mac, Some([2, 0x42, 0xac, 0x11, 0, 2]));
}

#[test]
fn policies_and_logs_are_judged() {
    let policy = |name: &str, count: i64| {
        host(&format!(r#""RestartPolicy":{{"Name":"{name}","MaximumRetryCount":{count}}}"#))
    };
    for (body, want) in [
        (
            policy("foo", 0),
            "invalid restart policy: unknown policy 'foo'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
        ),
        (
            policy("always", 1),
            "invalid restart policy: maximum retry count can only be used with 'on-failure'",
        ),
        (
            policy("on-failure", -1),
            "invalid restart policy: maximum retry count cannot be negative",
        ),
        (
            host(r#""AutoRemove":true,"RestartPolicy":{"Name":"always"}"#),
            "can't create 'AutoRemove' container with restart policy",
        ),
        (
            host(r#""LogConfig":{"Type":"nope"}"#),
            "logger: no log driver named 'nope' is registered",
        ),
        (
            host(r#""LogConfig":{"Config":{"x":"1"}}"#),
            "unknown log opt 'x' for json-file log driver",
        ),
        (
            host(r#""LogConfig":{"Config":{"max-file":"0"}}"#),
            "invalid value for max-file: \"0\": max-file cannot be less than 1",
        ),
    ] {
        assert_eq!(refused(&body), (400, want.to_owned()), "{body}");
    }
}

#[test]
fn what_is_not_there_yet_is_named() {
    for (body, what) in [
        (
            host(r#""LogConfig":{"Type":"gelf"}"#),
            "log driver 'gelf' (json-file, local, journald, syslog and none are there)",
        ),
        (host(r#""Mounts":[{"Type":"npipe","Target":"/t"}]"#), "mount type 'npipe'"),
        (image(r#""OnBuild":["RUN x"]"#), "OnBuild"),
    ] {
        let want = (501, format!("not supported yet: {what}"));
        assert_eq!(refused(&body), want, "{body}");
    }
    // What says nothing asks for nothing.
    let empty = r#""Links":[],"DeviceRequests":null,"StorageOpt":{},"VolumesFrom":null"#;
    assert!(lower_at(&host(empty), MAX).is_ok());
    assert!(lower_at(&image(r#""Healthcheck":{"Test":["NONE"]}"#), MAX).is_ok());
}

#[test]
fn too_much_is_refused() {
    let label = "x".repeat(2 << 20);
    let (status, message) = refused(&image(&format!(r#""Labels":{{"a":"{label}"}}"#)));
    assert_eq!(
        (status, message.as_str()),
        (400, "Labels: 2097153 bytes are more than the limit of 1048576")
    );
    let word = "x".repeat(200 << 10);
    let (status, message) = refused(&image(&format!(r#""Cmd":["{word}"]"#)));
    assert_eq!(
        (status, message.as_str()),
        (400, "Cmd: 204800 bytes are more than the limit of 131072")
    );
}

#[test]
fn names_and_platforms_stand_beside_the_body() {
    let request = CreateContainer::from_json(br#"{"Image":"a"}"#).unwrap().value;
    let with = |name, platform| create(&request, Beside { name, platform }, MAX);
    assert_eq!(with(Some("/web"), None).unwrap().spec.name.unwrap().as_str(), "web");
    assert_eq!(with(Some(""), Some("")).unwrap().spec.name, None);
    assert_eq!(
        with(Some("x"), None).unwrap_err().to_string(),
        "Invalid container name (x), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
    );
    let host = Platform::host();
    let text = host.to_string();
    assert_eq!(with(None, Some(&text)).unwrap().spec.platform, Some(host));
    let foreign = HttpError::from(with(None, Some("linux/s390x")).unwrap_err());
    assert_eq!(foreign.status, StatusCode::NOT_IMPLEMENTED);
}

#[test]
fn an_exec_has_a_command() {
    let request = |cmd: &[&str]| ExecCreate {
        cmd: Some(cmd.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>().into()),
        tty: true,
        console_size: Some([24, 80]),
        ..ExecCreate::default()
    };
    assert_eq!(exec(&request(&[]), MAX).unwrap_err(), ExecError::NoCommand);
    assert_eq!(exec(&request(&[""]), MAX).unwrap_err(), ExecError::NoCommand);
    let spec = exec(&request(&["sh"]), MAX).unwrap();
    assert_eq!(spec.size.map(|size| (size.rows, size.columns)), Some((24, 80)));
    let old = exec(&request(&["sh"]), "1.41".parse().unwrap()).unwrap();
    assert_eq!(old.size, None);
}

#[test]
fn networks_become_places() {
    let places = |mode: &str, endpoints: &str| {
        let spec = spec(&image(&format!(
            r#""HostConfig":{{"NetworkMode":"{mode}"}},"NetworkingConfig":{{"EndpointsConfig":{{{endpoints}}}}}"#
        )));
        let one = |place: model::network::Attachment| {
            let model::network::Attachment { network, ipv4, aliases, mac, priority, .. } = place;
            let (mac, ipv4) = (mac.map(|mac| mac[5]), ipv4.map(|ip| ip.to_string()));
            format!("{network} {ipv4:?} {aliases:?} {mac:?} {priority}")
        };
        spec.network.places().into_iter().map(one).collect::<Vec<_>>()
    };
    let two = r#"
        "n":{"MacAddress":"02:00:00:00:00:05","Aliases":["x"]},
        "b":{"GwPriority":3,"MacAddress":"02:00:00:00:00:06","IPAMConfig":{"IPv4Address":"10.0.0.9"}}"#;
    let own = r#"n None ["x"] Some(5) 0"#;
    let other = r#"b Some("10.0.0.9") [] Some(6) 3"#;
    assert_eq!(places("n", two), [own, other]);
    assert_eq!(places("default", ""), ["bridge None [] None 0"]);
    assert_eq!(places("default", r#""default":{},"z":{}"#).len(), 2);
    // Who names others is on those alone.
    assert_eq!(places("default", r#""z":{}"#), ["z None [] None 0"]);
    let none =
        r#""HostConfig":{"NetworkMode":"none"},"NetworkingConfig":{"EndpointsConfig":{"z":{}}}"#;
    assert_eq!(
        refused(&image(none)),
        (400, "conflicting options: network none and endpoint settings of z".to_owned())
    );
}

#[test]
fn a_driver_of_volumes_is_looked_for_where_there_is_something_to_make() {
    let with = |more: &str| image(&format!(r#""HostConfig":{{"VolumeDriver":"foo"{more}}}"#));
    let own = r#","Mounts":[{"Type":"volume","Target":"/v"}],"Binds":["/h:/b"]"#;
    for more in ["", own] {
        assert_eq!(spec(&with(more)).files.volume_driver, "foo");
    }
    let no = (400, "error looking up volume plugin foo: plugin \"foo\" not found".to_owned());
    assert_eq!(refused(&with(r#","Binds":["vol:/v"]"#)), no);
    let anonymous = r#""Volumes":{"/v":{}},"HostConfig":{"VolumeDriver":"foo"}"#;
    assert_eq!(refused(&image(anonymous)), no);
    let local = image(r#""HostConfig":{"VolumeDriver":"local","Binds":["vol:/v"]}"#);
    assert_eq!(spec(&local).files.volume_driver, "local");
}

#[test]
fn there_is_one_isolation() {
    let with = |word: &str| image(&format!(r#""HostConfig":{{"Isolation":"{word}"}}"#));
    assert_eq!(spec(&with("Default")).isolation, "Default");
    assert_eq!(refused(&with("hyperv")), (400, "Windows only: HostConfig.Isolation".to_owned()));
}
