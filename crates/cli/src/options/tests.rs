//! Flags to requests: what each flag changes in the request of a plain `create image`. The whole
//! was compared with what the Docker CLI sends for the same words.

use super::*;
use crate::argv::flags::{Grammar, Parsed, parse};
use crate::argv::{Arity, Flags, bare};
use clap::{Args, FromArgMatches};
use expect_test::{Expect, expect};
use serde_json::{Map, Value};

#[derive(Args, Debug)]
struct Sample {
    #[command(flatten)]
    options: ContainerOptions,
    image: String,
    command: Vec<String>,
}

fn request_of(words: &[&str], kind: SubjectKind) -> Result<CreateContainer, String> {
    let definition = Sample::augment_args(bare());
    let grammar = Grammar { definition, flags: Flags::First, arity: Arity::AtLeast(1) };
    let words = words.iter().map(std::ffi::OsString::from).collect();
    let Parsed::Matches(matches) = parse(grammar, words)? else { panic!("no matches") };
    let sample = Sample::from_arg_matches(&matches).unwrap();
    let ambient = Ambient {
        env: &|name| (name == "HOME").then(|| "/root".to_owned()),
        read: &|path| match path {
            "e.env" => Ok(b"# c\nA=1\n  B=2 \nHOME\nNOPE\n".to_vec()),
            "l.lab" => Ok(b"x=1\ny\n".to_vec()),
            "s.json" => Ok(b"{ \"defaultAction\": \"x\" }\n".to_vec()),
            _ => Err(format!("open {path}: no such file or directory")),
        },
        cwd: Path::new("/cwd"),
    };
    let subject = Subject { what: &sample.image, kind, command: &sample.command };
    sample.options.request(&subject, &ambient)
}

/// What of `b` is not in `a`; what is gone is shown as `-name`.
fn difference(a: &Map<String, Value>, b: &Map<String, Value>) -> Map<String, Value> {
    let mut out = Map::new();
    for (key, value) in b {
        match (a.get(key), value) {
            (Some(Value::Object(old)), Value::Object(new)) => {
                let inner = difference(old, new);
                if !inner.is_empty() {
                    out.insert(key.clone(), Value::Object(inner));
                }
            }
            (Some(old), new) if old == new => {}
            _ => drop(out.insert(key.clone(), value.clone())),
        }
    }
    for key in a.keys().filter(|key| !b.contains_key(*key)) {
        out.insert(format!("-{key}"), Value::Null);
    }
    out
}

fn object(request: &CreateContainer) -> Map<String, Value> {
    serde_json::to_value(request).unwrap().as_object().unwrap().clone()
}

fn check(words: &[&str], want: Expect) {
    let plain = object(&request_of(&["image"], SubjectKind::Image).unwrap());
    let got = match request_of(words, SubjectKind::Image) {
        Ok(request) => serde_json::to_string(&difference(&plain, &object(&request))).unwrap(),
        Err(e) => e,
    };
    want.assert_eq(&got);
}

#[test]
fn nothing_but_an_image() {
    let request = request_of(&["image"], SubjectKind::Image).unwrap();
    expect![[r#"{"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":true,"AttachStderr":true,"Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":null,"Cmd":null,"Image":"image","Volumes":{},"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":{},"HostConfig":{"Binds":null,"ContainerIDFile":"","LogConfig":{"Type":"","Config":{}},"NetworkMode":"default","PortBindings":{},"RestartPolicy":{"Name":"no","MaximumRetryCount":0},"AutoRemove":false,"VolumeDriver":"","VolumesFrom":null,"ConsoleSize":[0,0],"CapAdd":null,"CapDrop":null,"CgroupnsMode":"","Dns":[],"DnsOptions":[],"DnsSearch":[],"ExtraHosts":null,"GroupAdd":null,"IpcMode":"","Cgroup":"","Links":null,"OomScoreAdj":0,"PidMode":"","Privileged":false,"PublishAllPorts":false,"ReadonlyRootfs":false,"SecurityOpt":null,"UTSMode":"","UsernsMode":"","ShmSize":0,"Isolation":"","CpuShares":0,"Memory":0,"NanoCpus":0,"CgroupParent":"","BlkioWeight":0,"BlkioWeightDevice":[],"BlkioDeviceReadBps":[],"BlkioDeviceWriteBps":[],"BlkioDeviceReadIOps":[],"BlkioDeviceWriteIOps":[],"CpuPeriod":0,"CpuQuota":0,"CpuRealtimePeriod":0,"CpuRealtimeRuntime":0,"CpusetCpus":"","CpusetMems":"","Devices":[],"DeviceCgroupRules":null,"DeviceRequests":null,"MemoryReservation":0,"MemorySwap":0,"MemorySwappiness":-1,"OomKillDisable":false,"PidsLimit":0,"Ulimits":[],"CpuCount":0,"CpuPercent":0,"IOMaximumIOps":0,"IOMaximumBandwidth":0,"MaskedPaths":null,"ReadonlyPaths":null},"NetworkingConfig":{"EndpointsConfig":{"default":{"IPAMConfig":null,"Links":null,"Aliases":null,"MacAddress":"","DriverOpts":null,"GwPriority":0,"NetworkID":"","EndpointID":"","Gateway":"","IPAddress":"","IPPrefixLen":0,"IPv6Gateway":"","GlobalIPv6Address":"","GlobalIPv6PrefixLen":0,"DNSNames":null}}}}"#]].assert_eq(&serde_json::to_string(&request).unwrap());
}

#[test]
fn a_directory_instead_of_an_image() {
    for (words, want) in [
        (&["/:O", "bash"][..], "/:O"),
        (&["sub/dir"], "/cwd/sub/dir"),
        (&["./sub:O"], "/cwd/sub:O"),
        (&["/a/../b"], "/a/../b"),
    ] {
        let request = request_of(words, SubjectKind::Directory).unwrap();
        assert_eq!(request.dhow.unwrap().rootfs, want);
        assert_eq!(request.config.image, "");
    }
}

#[test]
fn streams_and_variables() {
    check(
        &[
            "-it",
            "-e",
            "A=1",
            "-e",
            "HOME",
            "-e",
            "NOPE",
            "--env-file",
            "e.env",
            "-l",
            "a=b",
            "-l",
            "c",
            "--label-file",
            "l.lab",
            "-w",
            "/w",
            "-u",
            "1:2",
            "--entrypoint",
            "/e",
            "image",
            "a",
            "-b",
            "c",
        ],
        expect![[
            r#"{"AttachStdin":true,"Cmd":["a","-b","c"],"Entrypoint":["/e"],"Env":["A=1","B=2 ","HOME=/root","A=1","HOME=/root","NOPE"],"Labels":{"a":"b","c":"","x":"1"},"OpenStdin":true,"StdinOnce":true,"Tty":true,"User":"1:2","WorkingDir":"/w"}"#
        ]],
    );
    check(
        &["-a", "stdin", "-a", "STDERR", "image"],
        expect![[r#"{"AttachStdin":true,"AttachStdout":false}"#]],
    );
    check(&["-i", "image"], expect![[r#"{"AttachStdin":true,"OpenStdin":true,"StdinOnce":true}"#]]);
    check(&["--entrypoint", "", "image", "x"], expect![[r#"{"Cmd":["x"],"Entrypoint":[""]}"#]]);
}

#[test]
fn the_process() {
    check(
        &[
            "--stop-signal",
            "TERM",
            "--stop-timeout",
            "5",
            "--rm",
            "--init",
            "--init=false",
            "--runtime",
            "r",
            "--group-add",
            "x",
            "--annotation",
            "a=b",
            "--annotation",
            "c",
            "--log-driver",
            "json-file",
            "--log-opt",
            "max-size=10m",
            "--restart",
            "no",
            "image",
        ],
        expect![[
            r#"{"HostConfig":{"Annotations":{"a":"b","c":""},"AutoRemove":true,"GroupAdd":["x"],"Init":false,"LogConfig":{"Config":{"max-size":"10m"},"Type":"json-file"},"Runtime":"r"},"StopSignal":"TERM","StopTimeout":5}"#
        ]],
    );
    check(
        &["--restart", "on-failure:3", "image"],
        expect![[
            r#"{"HostConfig":{"RestartPolicy":{"MaximumRetryCount":3,"Name":"on-failure"}}}"#
        ]],
    );
    check(
        &["--log-driver", "none", "--log-opt", "a=b", "image"],
        expect!["invalid logging opts for driver none"],
    );
    check(
        &["--restart", "always", "--rm", "image"],
        expect!["conflicting options: cannot specify both --restart and --rm"],
    );
}

#[test]
fn networks() {
    check(
        &[
            "-h",
            "hh",
            "--domainname",
            "dd",
            "--dns",
            "1.1.1.1",
            "--dns-search",
            "a.b",
            "--dns-option",
            "ndots:1",
            "--dns-opt",
            "x",
            "--add-host",
            "a:1.2.3.4",
            "--add-host",
            "b=::1",
            "-p",
            "80",
            "-p",
            "127.0.0.1:8080:81/udp",
            "-P",
            "--expose",
            "90-91",
            "image",
        ],
        expect![[
            r#"{"Domainname":"dd","ExposedPorts":{"80/tcp":{},"81/udp":{},"90/tcp":{},"91/tcp":{}},"HostConfig":{"Dns":["1.1.1.1"],"DnsOptions":["ndots:1","x"],"DnsSearch":["a.b"],"ExtraHosts":["a:1.2.3.4","b:::1"],"PortBindings":{"80/tcp":[{"HostIp":"","HostPort":""}],"81/udp":[{"HostIp":"127.0.0.1","HostPort":"8080"}]},"PublishAllPorts":true},"Hostname":"hh"}"#
        ]],
    );
}

#[test]
fn several_networks_and_none() {
    check(
        &["--network", "none", "image"],
        expect![[
            r#"{"HostConfig":{"NetworkMode":"none"},"NetworkingConfig":{"EndpointsConfig":{"-default":null}}}"#
        ]],
    );
    check(
        &["--network", "container:z", "image"],
        expect![[
            r#"{"HostConfig":{"NetworkMode":"container:z"},"NetworkingConfig":{"EndpointsConfig":{"-default":null}}}"#
        ]],
    );
    check(
        &[
            "--network",
            "foo",
            "--ip",
            "1.2.3.4",
            "--ip6",
            "::2",
            "--network-alias",
            "al",
            "--link",
            "x:y",
            "--mac-address",
            "02:42:ac:11:00:02",
            "--link-local-ip",
            "169.254.1.1",
            "image",
        ],
        expect![[
            r#"{"HostConfig":{"Links":["x:y"],"NetworkMode":"foo"},"NetworkingConfig":{"EndpointsConfig":{"-default":null,"foo":{"Aliases":["al"],"DNSNames":null,"DriverOpts":null,"EndpointID":"","Gateway":"","GlobalIPv6Address":"","GlobalIPv6PrefixLen":0,"GwPriority":0,"IPAMConfig":{"IPv4Address":"1.2.3.4","IPv6Address":"::2","LinkLocalIPs":["169.254.1.1"]},"IPAddress":"","IPPrefixLen":0,"IPv6Gateway":"","Links":["x:y"],"MacAddress":"02:42:ac:11:00:02","NetworkID":""}}}}"#
        ]],
    );
    check(
        &["--net", "name=foo,alias=a,gw-priority=5", "--network", "bar", "image"],
        expect![[
            r#"{"HostConfig":{"NetworkMode":"foo"},"NetworkingConfig":{"EndpointsConfig":{"-default":null,"bar":{"Aliases":null,"DNSNames":null,"DriverOpts":null,"EndpointID":"","Gateway":"","GlobalIPv6Address":"","GlobalIPv6PrefixLen":0,"GwPriority":0,"IPAMConfig":null,"IPAddress":"","IPPrefixLen":0,"IPv6Gateway":"","Links":null,"MacAddress":"","NetworkID":""},"foo":{"Aliases":["a"],"DNSNames":null,"DriverOpts":null,"EndpointID":"","Gateway":"","GlobalIPv6Address":"","GlobalIPv6PrefixLen":0,"GwPriority":5,"IPAMConfig":null,"IPAddress":"","IPPrefixLen":0,"IPv6Gateway":"","Links":null,"MacAddress":"","NetworkID":""}}}}"#
        ]],
    );
    check(
        &["--network", "foo", "--network", "foo", "image"],
        expect![[r#"network "foo" is specified multiple times"#]],
    );
    check(
        &["--network", "foo", "--network", "host", "image"],
        expect![
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes"
        ],
    );
    check(
        &["--network-alias", "a", "image"],
        expect!["network-scoped aliases are only supported for user-defined networks"],
    );
    check(&["--network", "", "image"], expect!["no name set for network"]);
    check(&["--mac-address", "foo", "image"], expect!["foo is not a valid mac address"]);
}

#[test]
fn storage() {
    check(
        &[
            "-v",
            "/a:/b:ro",
            "-v",
            "vol:/c",
            "-v",
            "/anon",
            "-v",
            "./rel:/d",
            "--mount",
            "type=bind,src=./m,dst=/e,readonly",
            "--tmpfs",
            "/t",
            "--tmpfs",
            "/u:size=1m",
            "--read-only",
            "--shm-size",
            "1g",
            "--volumes-from",
            "x:ro",
            "--volume-driver",
            "local",
            "--storage-opt",
            "size=1",
            "image",
        ],
        expect![[
            r#"{"HostConfig":{"Binds":["/a:/b:ro","vol:/c","/cwd/rel:/d"],"Mounts":[{"ReadOnly":true,"Source":"/cwd/m","Target":"/e","Type":"bind"}],"ReadonlyRootfs":true,"ShmSize":1073741824,"StorageOpt":{"size":"1"},"Tmpfs":{"/t":"","/u":"size=1m"},"VolumeDriver":"local","VolumesFrom":["x:ro"]},"Volumes":{"/anon":{}}}"#
        ]],
    );
    check(
        &[
            "--device",
            "/dev/a",
            "--device",
            "/dev/a:/dev/b:r",
            "--device",
            "v.com/c=n",
            "--gpus",
            "all",
            "--device-cgroup-rule",
            "c 1:* rwm",
            "image",
        ],
        expect![[
            r#"{"HostConfig":{"DeviceCgroupRules":["c 1:* rwm"],"DeviceRequests":[{"Capabilities":[["gpu"]],"Count":-1,"DeviceIDs":null,"Driver":"","Options":{}},{"Capabilities":null,"Count":0,"DeviceIDs":["v.com/c=n"],"Driver":"cdi","Options":null}],"Devices":[{"CgroupPermissions":"rwm","PathInContainer":"/dev/a","PathOnHost":"/dev/a"},{"CgroupPermissions":"r","PathInContainer":"/dev/b","PathOnHost":"/dev/a"}]}}"#
        ]],
    );
    check(&["--storage-opt", "x", "image"], expect!["invalid storage option"]);
    check(&["--device", "a:b:c:d", "image"], expect!["bad format for path: a:b:c:d"]);
}

#[test]
fn resources() {
    check(
        &[
            "-m",
            "10m",
            "--memory-swap",
            "-1",
            "--memory-reservation",
            "5mb",
            "--memory-swappiness",
            "5",
            "--cpus",
            "1.5",
            "-c",
            "5",
            "--cpu-period",
            "1",
            "--cpu-quota",
            "2",
            "--cpu-rt-period",
            "3",
            "--cpu-rt-runtime",
            "4",
            "--cpuset-cpus",
            "0-1",
            "--cpuset-mems",
            "0",
            "--pids-limit",
            "7",
            "--oom-kill-disable",
            "--oom-score-adj",
            "-5",
            "--cgroup-parent",
            "cp",
            "--ulimit",
            "nproc=1:2",
            "--ulimit",
            "nofile=1024",
            "image",
        ],
        expect![[
            r#"{"HostConfig":{"CgroupParent":"cp","CpuPeriod":1,"CpuQuota":2,"CpuRealtimePeriod":3,"CpuRealtimeRuntime":4,"CpuShares":5,"CpusetCpus":"0-1","CpusetMems":"0","Memory":10485760,"MemoryReservation":5242880,"MemorySwap":-1,"MemorySwappiness":5,"NanoCpus":1500000000,"OomKillDisable":true,"OomScoreAdj":-5,"PidsLimit":7,"Ulimits":[{"Hard":1024,"Name":"nofile","Soft":1024},{"Hard":2,"Name":"nproc","Soft":1}]}}"#
        ]],
    );
    check(
        &[
            "--blkio-weight",
            "100",
            "--blkio-weight-device",
            "/dev/sda:200",
            "--device-read-bps",
            "/dev/sda:1mb",
            "--device-write-bps",
            "/dev/sda:2k",
            "--device-read-iops",
            "/dev/sda:3",
            "--device-write-iops",
            "/dev/sda:4",
            "image",
        ],
        expect![[
            r#"{"HostConfig":{"BlkioDeviceReadBps":[{"Path":"/dev/sda","Rate":1048576}],"BlkioDeviceReadIOps":[{"Path":"/dev/sda","Rate":3}],"BlkioDeviceWriteBps":[{"Path":"/dev/sda","Rate":2048}],"BlkioDeviceWriteIOps":[{"Path":"/dev/sda","Rate":4}],"BlkioWeight":100,"BlkioWeightDevice":[{"Path":"/dev/sda","Weight":200}]}}"#
        ]],
    );
}

#[test]
fn security() {
    check(
        &[
            "--cap-add",
            "net_admin",
            "--cap-drop",
            "all",
            "--privileged",
            "--security-opt",
            "no-new-privileges",
            "--security-opt",
            "seccomp=s.json",
            "--security-opt",
            "systempaths=unconfined",
            "--userns",
            "host",
            "--uts",
            "host",
            "--pid",
            "host",
            "--ipc",
            "shareable",
            "--cgroupns",
            "private",
            "--isolation",
            "default",
            "--sysctl",
            "net.a=1",
            "image",
        ],
        expect![[
            r#"{"HostConfig":{"CapAdd":["CAP_NET_ADMIN"],"CapDrop":["ALL"],"CgroupnsMode":"private","IpcMode":"shareable","Isolation":"default","MaskedPaths":[],"PidMode":"host","Privileged":true,"ReadonlyPaths":[],"SecurityOpt":["no-new-privileges","seccomp={\"defaultAction\":\"x\"}"],"Sysctls":{"net.a":"1"},"UTSMode":"host","UsernsMode":"host"}}"#
        ]],
    );
    check(
        &["--security-opt", "seccomp=/nope", "image"],
        expect!["opening seccomp profile (/nope) failed: open /nope: no such file or directory"],
    );
}

#[test]
fn health() {
    check(
        &[
            "--health-cmd",
            "a b",
            "--health-interval",
            "1s",
            "--health-timeout",
            "2m",
            "--health-retries",
            "3",
            "--health-start-period",
            "1h",
            "--health-start-interval",
            "5s",
            "image",
        ],
        expect![[
            r#"{"Healthcheck":{"Interval":1000000000,"Retries":3,"StartInterval":5000000000,"StartPeriod":3600000000000,"Test":["CMD-SHELL","a b"],"Timeout":120000000000}}"#
        ]],
    );
    check(&["--no-healthcheck", "image"], expect![[r#"{"Healthcheck":{"Test":["NONE"]}}"#]]);
    check(&["--health-interval", "-1s", "image"], expect!["--health-interval cannot be negative"]);
}
