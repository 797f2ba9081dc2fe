//! The table: each flag, a use of it, and where its effect is seen.

/// A flag, how it is used, and what comes of it.
pub(super) struct Line {
    /// Its long name, without dashes.
    pub(super) flag: &'static str,
    /// The words that use it; `{dir}` is a directory of the test.
    pub(super) words: &'static [&'static str],
    /// Where the effect is seen.
    pub(super) sees: Sees,
}

/// Where the effect of a flag is seen, that is not there without it.
#[derive(Clone, Copy)]
pub(super) enum Sees {
    /// Of a container that is made with it and others of the same batch, this template shows this.
    Inspect(u8, &'static str, &'static str),
    /// A server is asked this.
    Wire(&'static str),
    /// A server is not asked this, which it is asked without the flag.
    Unasked(&'static str),
    /// The output (of either kind) has this.
    Shows(&'static str),
    /// The output does not have this, which it has without the flag.
    Hides(&'static str),
    /// This test of a module of these tests.
    Test(&'static str, &'static str),
}

use Sees::{Hides, Inspect, Shows, Test, Unasked, Wire};

const fn line(flag: &'static str, words: &'static [&'static str], sees: Sees) -> Line {
    Line { flag, words, sees }
}

/// What `create` and `run` share.
#[rustfmt::skip]
pub(super) const CREATE: &[Line] = &[
    line("add-host", &["--add-host", "h:1.2.3.4"], Inspect(0, "{{json .HostConfig.ExtraHosts}}", r#"["h:1.2.3.4"]"#)),
    line("annotation", &["--annotation", "a.b=c"], Inspect(0, "{{json .HostConfig.Annotations}}", r#"{"a.b":"c"}"#)),
    line("attach", &["-a", "stdout"], Inspect(1, "{{.Config.AttachStderr}}", "false")),
    line("blkio-weight", &["--blkio-weight", "300"], Test("limits", "what_this_kernel_lacks_is_said")),
    line("blkio-weight-device", &["--blkio-weight-device", "/dev/null:300"], Test("limits", "weights_of_a_device_are_in_the_kernels_files")),
    line("cap-add", &["--cap-add", "sys_time"], Inspect(0, "{{json .HostConfig.CapAdd}}", r#"["CAP_SYS_TIME"]"#)),
    line("cap-drop", &["--cap-drop", "MKNOD"], Inspect(0, "{{json .HostConfig.CapDrop}}", r#"["CAP_MKNOD"]"#)),
    line("cgroup-parent", &["--cgroup-parent", "/above"], Inspect(0, "{{.HostConfig.CgroupParent}}", "/above")),
    line("cgroupns", &["--cgroupns", "host"], Inspect(0, "{{.HostConfig.CgroupnsMode}}", "host")),
    line("cidfile", &["--cidfile", "{dir}/cid"], Inspect(0, "{{.HostConfig.ContainerIDFile}}", "{dir}/cid")),
    line("cpu-period", &["--cpu-period", "50000"], Inspect(0, "{{.HostConfig.CpuPeriod}}", "50000")),
    line("cpu-quota", &["--cpu-quota", "20000"], Inspect(0, "{{.HostConfig.CpuQuota}}", "20000")),
    line("cpu-rt-period", &["--cpu-rt-period", "1000000"], Test("limits", "what_this_kernel_lacks_is_said")),
    line("cpu-rt-runtime", &["--cpu-rt-runtime", "5000"], Test("limits", "what_this_kernel_lacks_is_said")),
    line("cpu-shares", &["-c", "512"], Inspect(0, "{{.HostConfig.CpuShares}}", "512")),
    line("cpus", &["--cpus", "0.5"], Inspect(1, "{{.HostConfig.NanoCpus}}", "500000000")),
    line("cpuset-cpus", &["--cpuset-cpus", "0"], Inspect(0, "{{.HostConfig.CpusetCpus}}", "0")),
    line("cpuset-mems", &["--cpuset-mems", "0"], Inspect(0, "{{.HostConfig.CpusetMems}}", "0")),
    line("device", &["--device", "/dev/null:/dev/x:r"], Inspect(0, "{{json .HostConfig.Devices}}", r#"[{"PathOnHost":"/dev/null","PathInContainer":"/dev/x","CgroupPermissions":"r"}]"#)),
    line("device-cgroup-rule", &["--device-cgroup-rule", "c 1:3 r"], Inspect(0, "{{json .HostConfig.DeviceCgroupRules}}", r#"["c 1:3 r"]"#)),
    line("device-read-bps", &["--device-read-bps", "/dev/null:1mb"], Test("limits", "rates_of_a_device_are_in_the_kernels_files")),
    line("device-read-iops", &["--device-read-iops", "/dev/null:10"], Test("limits", "rates_of_a_device_are_in_the_kernels_files")),
    line("device-write-bps", &["--device-write-bps", "/dev/null:1mb"], Test("limits", "rates_of_a_device_are_in_the_kernels_files")),
    line("device-write-iops", &["--device-write-iops", "/dev/null:10"], Test("limits", "rates_of_a_device_are_in_the_kernels_files")),
    line("disable-content-trust", &["--disable-content-trust=false"], Shows("Docker Content Trust is not supported")),
    line("dns", &["--dns", "9.9.9.9"], Inspect(0, "{{json .HostConfig.Dns}}", r#"["9.9.9.9"]"#)),
    line("dns-opt", &["--dns-opt", "ndots:2"], Inspect(1, "{{json .HostConfig.DnsOptions}}", r#"["ndots:2"]"#)),
    line("dns-option", &["--dns-option", "ndots:3"], Inspect(0, "{{json .HostConfig.DnsOptions}}", r#"["ndots:3"]"#)),
    line("dns-search", &["--dns-search", "x.org"], Inspect(0, "{{json .HostConfig.DnsSearch}}", r#"["x.org"]"#)),
    line("domainname", &["--domainname", "d.org"], Inspect(0, "{{.Config.Domainname}}", "d.org")),
    line("entrypoint", &["--entrypoint", "/bin/echo"], Inspect(0, "{{.Path}}", "/bin/echo")),
    line("env", &["-e", "A=1"], Inspect(0, r#"{{range .Config.Env}}{{if eq . "A=1"}}{{.}}{{end}}{{end}}"#, "A=1")),
    line("env-file", &["--env-file", "{dir}/env"], Inspect(0, r#"{{range .Config.Env}}{{if eq . "F=2"}}{{.}}{{end}}{{end}}"#, "F=2")),
    line("expose", &["--expose", "81/udp"], Inspect(0, "{{json .Config.ExposedPorts}}", r#"{"80/tcp":{},"81/udp":{}}"#)),
    line("gpus", &["--gpus", "all"], Wire(r#""DeviceRequests":[{"Driver":"","Count":-1,"DeviceIDs":null,"Capabilities":[["gpu"]],"Options":{}}]"#)),
    line("group-add", &["--group-add", "7"], Inspect(0, "{{json .HostConfig.GroupAdd}}", r#"["7"]"#)),
    line("health-cmd", &["--health-cmd", "true"], Inspect(4, "{{with .Config.Healthcheck}}{{json .Test}}{{end}}", r#"["CMD-SHELL","true"]"#)),
    line("health-interval", &["--health-interval", "3s"], Inspect(4, "{{with .Config.Healthcheck}}{{json .Interval}}{{end}}", "3000000000")),
    line("health-retries", &["--health-retries", "4"], Inspect(4, "{{with .Config.Healthcheck}}{{.Retries}}{{end}}", "4")),
    line("health-start-interval", &["--health-start-interval", "2s"], Inspect(4, "{{with .Config.Healthcheck}}{{json .StartInterval}}{{end}}", "2000000000")),
    line("health-start-period", &["--health-start-period", "5s"], Inspect(4, "{{with .Config.Healthcheck}}{{json .StartPeriod}}{{end}}", "5000000000")),
    line("health-timeout", &["--health-timeout", "6s"], Inspect(4, "{{with .Config.Healthcheck}}{{json .Timeout}}{{end}}", "6000000000")),
    line("hostname", &["-h", "web"], Inspect(0, "{{.Config.Hostname}}", "web")),
    line("init", &["--init"], Inspect(0, "{{.HostConfig.Init}}", "true")),
    line("interactive", &["-i"], Inspect(0, "{{.Config.OpenStdin}}", "true")),
    line("ip", &["--ip", "1.2.3.4"], Shows("user specified IP address")),
    line("ip6", &["--ip6", "2001:db8::9"], Shows("user specified IP address")),
    line("ipc", &["--ipc", "shareable"], Inspect(0, "{{.HostConfig.IpcMode}}", "shareable")),
    line("isolation", &["--isolation", "hyperv"], Shows("solation")),
    line("isolation", &["--isolation", "Default"], Inspect(0, "{{.HostConfig.Isolation}}", "Default")),
    line("label", &["-l", "k=v"], Inspect(0, "{{.Config.Labels.k}}", "v")),
    line("label-file", &["--label-file", "{dir}/labels"], Inspect(0, "{{.Config.Labels.file}}", "1")),
    line("link", &["--link", "plain:alias"], Wire(r#""Links":["plain:alias"]"#)),
    line("link-local-ip", &["--link-local-ip", "169.254.1.1"], Wire(r#""LinkLocalIPs":["169.254.1.1"]"#)),
    line("log-driver", &["--log-driver", "none"], Inspect(1, "{{.HostConfig.LogConfig.Type}}", "none")),
    line("log-opt", &["--log-opt", "max-size=1m"], Inspect(0, "{{json .HostConfig.LogConfig.Config}}", r#"{"max-size":"1m"}"#)),
    line("mac-address", &["--mac-address", "02:42:ac:11:00:09"], Inspect(0, "{{.NetworkSettings.Networks.bridge.MacAddress}}", "02:42:ac:11:00:09")),
    line("memory", &["-m", "64m"], Inspect(0, "{{.HostConfig.Memory}}", "67108864")),
    line("memory-reservation", &["--memory-reservation", "32m"], Inspect(0, "{{.HostConfig.MemoryReservation}}", "33554432")),
    line("memory-swap", &["--memory-swap", "96m"], Inspect(0, "{{.HostConfig.MemorySwap}}", "100663296")),
    // Newer kernels have none, and warn.
    line("memory-swappiness", &["--memory-swappiness", "42"], Test("limits", "what_this_kernel_lacks_is_said")),
    line("mount", &["--mount", "type=tmpfs,target=/m"], Inspect(0, "{{range .HostConfig.Mounts}}{{.Target}}{{end}}", "/m")),
    line("name", &["--name", "named"], Inspect(0, "{{.Name}}", "/named")),
    line("net", &["--net", "none"], Inspect(1, "{{.HostConfig.NetworkMode}}", "none")),
    line("net-alias", &["--network", "n1", "--net-alias", "al"], Wire(r#""Aliases":["al"]"#)),
    line("network", &["--network", "host"], Inspect(2, "{{.HostConfig.NetworkMode}}", "host")),
    line("network-alias", &["--network", "n1", "--network-alias", "al"], Wire(r#""Aliases":["al"]"#)),
    line("no-healthcheck", &["--no-healthcheck"], Inspect(0, "{{with .Config.Healthcheck}}{{json .Test}}{{end}}", r#"["NONE"]"#)),
    line("oom-kill-disable", &["--oom-kill-disable"], Test("limits", "what_this_kernel_lacks_is_said")),
    line("oom-score-adj", &["--oom-score-adj", "5"], Inspect(0, "{{.HostConfig.OomScoreAdj}}", "5")),
    line("pid", &["--pid", "host"], Inspect(2, "{{.HostConfig.PidMode}}", "host")),
    line("pids-limit", &["--pids-limit", "50"], Inspect(0, "{{.HostConfig.PidsLimit}}", "50")),
    line("platform", &["--platform", "linux/amd64"], Wire("platform=linux/amd64")),
    line("privileged", &["--privileged"], Inspect(2, "{{.HostConfig.Privileged}}", "true")),
    line("publish", &["-p", "127.0.0.1:9999:80"], Inspect(0, "{{json .HostConfig.PortBindings}}", r#"{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"9999"}]}"#)),
    line("publish-all", &["-P"], Inspect(0, "{{.HostConfig.PublishAllPorts}}", "true")),
    line("pull", &["--pull", "always"], Wire("/images/create?")),
    line("quiet", &["-q"], Test("pull", "run_pulls_as_it_is_told")),
    line("read-only", &["--read-only"], Inspect(0, "{{.HostConfig.ReadonlyRootfs}}", "true")),
    line("restart", &["--restart", "on-failure:3"], Inspect(3, "{{.HostConfig.RestartPolicy.Name}}:{{.HostConfig.RestartPolicy.MaximumRetryCount}}", "on-failure:3")),
    line("rm", &["--rm"], Inspect(0, "{{.HostConfig.AutoRemove}}", "true")),
    line("runtime", &["--runtime", "nosuch"], Shows("nosuch")),
    line("security-opt", &["--security-opt", "no-new-privileges"], Inspect(0, "{{json .HostConfig.SecurityOpt}}", r#"["no-new-privileges"]"#)),
    line("shm-size", &["--shm-size", "32m"], Inspect(0, "{{.HostConfig.ShmSize}}", "33554432")),
    line("stop-signal", &["--stop-signal", "SIGUSR1"], Inspect(0, "{{.Config.StopSignal}}", "SIGUSR1")),
    line("stop-timeout", &["--stop-timeout", "3"], Inspect(0, "{{.Config.StopTimeout}}", "3")),
    line("storage-opt", &["--storage-opt", "size=1G"], Wire(r#""StorageOpt":{"size":"1G"}"#)),
    line("sysctl", &["--sysctl", "net.ipv4.ip_default_ttl=9"], Inspect(0, "{{json .HostConfig.Sysctls}}", r#"{"net.ipv4.ip_default_ttl":"9"}"#)),
    line("tmpfs", &["--tmpfs", "/t:size=1m"], Inspect(0, "{{json .HostConfig.Tmpfs}}", r#"{"/t":"size=1m"}"#)),
    line("tty", &["-t"], Inspect(0, "{{.Config.Tty}}", "true")),
    line("ulimit", &["--ulimit", "nofile=10:20"], Inspect(0, "{{json .HostConfig.Ulimits}}", r#"[{"Name":"nofile","Hard":20,"Soft":10}]"#)),
    line("user", &["-u", "1:2"], Inspect(0, "{{.Config.User}}", "1:2")),
    // Where ids are not mapped, all containers have the host's.
    line("userns", &["--userns", "host"], Wire(r#""UsernsMode":"host""#)),
    line("uts", &["--uts", "host"], Inspect(2, "{{.HostConfig.UTSMode}}", "host")),
    line("volume", &["-v", "vol:/v:ro"], Inspect(0, "{{json .HostConfig.Binds}}", r#"["vol:/v:ro"]"#)),
    line("volume-driver", &["--volume-driver", "nosuch", "-v", "other:/v"], Shows("olume")),
    line("volumes-from", &["--volumes-from", "plain"], Inspect(4, "{{json .HostConfig.VolumesFrom}}", r#"["plain"]"#)),
    line("workdir", &["-w", "/tmp"], Inspect(0, "{{.Config.WorkingDir}}", "/tmp")),
];

/// What `run` alone has.
#[rustfmt::skip]
pub(super) const RUN: &[Line] = &[
    line("detach", &["-d"], Unasked("/attach")),
    line("detach-keys", &["--detach-keys", "ctrl-x"], Wire("detachKeys=ctrl-x")),
    line("sig-proxy", &["--sig-proxy=false"], Test("terminal", "ctrl_c_can_be_for_us")),
];

/// The other commands: the first of its names, the words behind the flags, and the flags.
#[rustfmt::skip]
pub(super) const OTHERS: &[(&str, &[&str], &[Line])] = &[
    ("attach", &["x"], &[
        line("detach-keys", &["--detach-keys", "ctrl-x"], Wire("detachKeys=ctrl-x")),
        line("no-stdin", &["--no-stdin"], Unasked("stdin=1")),
        line("sig-proxy", &["--sig-proxy=false"], Test("terminal", "ctrl_c_can_be_for_us")),
    ]),
    ("commit", &["x"], &[
        line("author", &["-a", "me"], Wire("author=me")),
        line("change", &["-c", "USER 1"], Wire("changes=USER 1")),
        line("message", &["-m", "why"], Wire("comment=why")),
        line("no-pause", &["--no-pause"], Wire("pause=0")),
        line("pause", &["--pause=false"], Wire("pause=0")),
    ]),
    ("cp", &["{dir}/env", "ended:/copied"], &[
        line("archive", &["-a"], Test("cp", "owners_and_modes_are_kept_or_the_users")),
        line("follow-link", &["-L"], Test("cp", "what_is_made_where_is_as_in_docker")),
        line("quiet", &["--quiet=false"], Shows("Successfully copied")),
    ]),
    ("exec", &["x", "ls"], &[
        line("detach", &["-d"], Wire(r#""Detach":true"#)),
        line("detach-keys", &["--detach-keys", "ctrl-x"], Wire(r#""DetachKeys":"ctrl-x""#)),
        line("env", &["-e", "A=1"], Wire(r#""Env":["A=1"]"#)),
        line("env-file", &["--env-file", "{dir}/env"], Wire(r#""Env":["F=2"]"#)),
        line("interactive", &["-i"], Wire(r#""AttachStdin":true"#)),
        line("privileged", &["--privileged"], Wire(r#""Privileged":true"#)),
        line("tty", &["-t"], Wire(r#""Tty":true"#)),
        line("user", &["-u", "1"], Wire(r#""User":"1""#)),
        line("workdir", &["-w", "/tmp"], Wire(r#""WorkingDir":"/tmp""#)),
    ]),
    ("export", &["ended"], &[line("output", &["-o", "{dir}/out.tar"], Hides("ustar"))]),
    ("container inspect", &["ended"], &[
        line("format", &["-f", "is {{.Name}}"], Shows("is /ended")),
        line("size", &["-s"], Shows("\"SizeRw\"")),
    ]),
    ("inspect", &["ended"], &[
        line("format", &["-f", "is {{.Name}}"], Shows("is /ended")),
        line("size", &["-s"], Shows("\"SizeRw\"")),
        line("type", &["--type", "volume"], Shows("no such volume")),
    ]),
    ("kill", &["x"], &[line("signal", &["-s", "HUP"], Wire("signal=HUP"))]),
    ("logs", &["x"], &[
        line("details", &["--details"], Wire("details=1")),
        line("follow", &["-f"], Wire("follow=1")),
        line("since", &["--since", "2020-01-01T00:00:00Z"], Wire("since=1577836800")),
        line("tail", &["-n", "5"], Wire("tail=5")),
        line("timestamps", &["-t"], Wire("timestamps=1")),
        line("until", &["--until", "2020-01-01T00:00:00Z"], Wire("until=1577836800")),
    ]),
    ("ps", &[], &[
        line("all", &["-a"], Wire("all=1")),
        line("filter", &["-f", "status=exited"], Wire(r#"filters={"status":{"exited":true}}"#)),
        line("format", &["--format", "{{.Names}} runs"], Shows("runs runs")),
        line("last", &["-n", "3"], Wire("limit=3")),
        line("latest", &["-l"], Wire("limit=1")),
        line("no-trunc", &["--no-trunc"], Hides("…")),
        line("quiet", &["-q"], Hides("NAMES")),
        line("size", &["-s"], Wire("size=1")),
    ]),
    ("container prune", &["-f"], &[
        line("filter", &["--filter", "label=a"], Wire(r#"filters={"label":{"a":true}}"#)),
        line("force", &["-f"], Test("flags", "a_prune_asks_unless_it_is_forced")),
    ]),
    ("restart", &["x"], &[
        line("signal", &["-s", "HUP"], Wire("signal=HUP")),
        line("time", &["--time", "4"], Wire("t=4")),
        line("timeout", &["-t", "5"], Wire("t=5")),
    ]),
    ("rm", &["x"], &[
        line("force", &["-f"], Wire("force=1")),
        line("link", &["-l"], Wire("link=1")),
        line("volumes", &["-v"], Wire("v=1")),
    ]),
    ("start", &["x"], &[
        line("attach", &["-a"], Wire("stdout=1")),
        line("checkpoint", &["--checkpoint", "c1"], Wire("checkpoint=c1")),
        line("checkpoint-dir", &["--checkpoint", "c1", "--checkpoint-dir", "d"], Wire("checkpoint-dir=d")),
        line("detach-keys", &["-a", "--detach-keys", "ctrl-x"], Wire("detachKeys=ctrl-x")),
        line("interactive", &["-a", "-i"], Wire("stdin=1")),
    ]),
    ("checkpoint create", &["x", "c1"], &[
        line("checkpoint-dir", &["--checkpoint-dir", "d"], Wire(r#""CheckpointDir":"d""#)),
        line("leave-running", &["--leave-running"], Wire(r#""Exit":false"#)),
    ]),
    ("checkpoint ls", &["x"], &[line("checkpoint-dir", &["--checkpoint-dir", "d"], Wire("dir=d"))]),
    ("checkpoint rm", &["x", "c1"], &[
        line("checkpoint-dir", &["--checkpoint-dir", "d"], Wire("dir=d")),
    ]),
    ("stats", &["--no-stream"], &[
        line("all", &["-a"], Wire("all=1")),
        line("format", &["--format", "is {{.Name}}"], Shows("is runs")),
        line("no-stream", &["--no-stream"], Test("flags", "stats_can_be_told_once")),
        line("no-trunc", &["--no-trunc", "--format", "{{len .ID}} digits"], Shows("64 digits")),
    ]),
    ("stop", &["x"], &[
        line("signal", &["-s", "HUP"], Wire("signal=HUP")),
        line("time", &["--time", "4"], Wire("t=4")),
        line("timeout", &["-t", "5"], Wire("t=5")),
    ]),
    ("update", &["x"], &[
        line("blkio-weight", &["--blkio-weight", "300"], Wire(r#""BlkioWeight":300"#)),
        line("cpu-period", &["--cpu-period", "5000"], Wire(r#""CpuPeriod":5000"#)),
        line("cpu-quota", &["--cpu-quota", "2000"], Wire(r#""CpuQuota":2000"#)),
        line("cpu-rt-period", &["--cpu-rt-period", "9000"], Wire(r#""CpuRealtimePeriod":9000"#)),
        line("cpu-rt-runtime", &["--cpu-rt-runtime", "8000"], Wire(r#""CpuRealtimeRuntime":8000"#)),
        line("cpu-shares", &["-c", "5"], Wire(r#""CpuShares":5"#)),
        line("cpus", &["--cpus", "0.5"], Wire(r#""NanoCpus":500000000"#)),
        line("cpuset-cpus", &["--cpuset-cpus", "0"], Wire(r#""CpusetCpus":"0""#)),
        line("cpuset-mems", &["--cpuset-mems", "0"], Wire(r#""CpusetMems":"0""#)),
        line("memory", &["-m", "64m"], Wire(r#""Memory":67108864"#)),
        line("memory-reservation", &["--memory-reservation", "32m"], Wire(r#""MemoryReservation":33554432"#)),
        line("memory-swap", &["--memory-swap", "96m"], Wire(r#""MemorySwap":100663296"#)),
        line("pids-limit", &["--pids-limit", "50"], Wire(r#""PidsLimit":50"#)),
        line("restart", &["--restart", "always"], Wire(r#""RestartPolicy":{"Name":"always""#)),
    ]),
    ("events", &[], &[
        line("filter", &["-f", "type=image"], Wire(r#"filters={"type":{"image":true}}"#)),
        line("format", &["--format", "{{.Nonsense}}"], Test("events", "a_life_is_told_from_its_making_to_its_end")),
        line("since", &["--since", "7"], Wire("since=7")),
        line("until", &["--until", "8"], Wire("until=8")),
    ]),
    ("info", &[], &[line("format", &["-f", "is {{.OSType}}"], Shows("is linux"))]),
    ("version", &[], &[line("format", &["-f", "is {{.Server.Os}}"], Shows("is linux"))]),
    ("system df", &[], &[
        line("format", &["--format", "is {{.Type}}"], Shows("is Images")),
        line("verbose", &["-v"], Shows("Images space usage:")),
    ]),
    ("system prune", &["-f"], &[
        line("all", &["-a"], Wire(r#"{"dangling":{"false":true}}"#)),
        line("filter", &["--filter", "label=a"], Wire(r#""label":{"a":true}"#)),
        line("force", &["-f"], Test("flags", "a_prune_asks_unless_it_is_forced")),
        line("volumes", &["--volumes"], Wire("/volumes/prune")),
    ]),
];

/// Flags of other commands that are not there yet, and what they wait for.
pub(super) const MISSING: &[(&str, &str, &str)] = &[];
