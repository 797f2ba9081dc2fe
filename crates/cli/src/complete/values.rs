//! What fits as the value of a flag, or as an argument of a command. Pure: tables.

use super::names::Kind;
use super::place::Reach;
use crate::argv::{Arity, Command};

/// What fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Values {
    Nothing,
    Files,
    Directories,
    /// One of these.
    Words(&'static [&'static str]),
    /// One of these, with something behind it.
    Open(&'static [&'static str]),
    /// What the server knows.
    Names(&'static [Kind]),
    /// Variables of our environment.
    Environment,
    /// `key=value` with one of these keys.
    Filter(&'static [&'static str]),
}

const SIGNALS: &[&str] = &[
    "ABRT", "ALRM", "BUS", "CHLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "KILL", "PIPE",
    "PROF", "PWR", "QUIT", "SEGV", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG",
    "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ",
];

const CAPABILITIES: &[&str] = &[
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

const SECURITY: &[&str] =
    &["apparmor=", "label=", "no-new-privileges", "seccomp=", "systempaths=unconfined"];

const PLATFORMS: &[&str] = &[
    "linux/386",
    "linux/amd64",
    "linux/arm/v6",
    "linux/arm/v7",
    "linux/arm64",
    "linux/ppc64le",
    "linux/riscv64",
    "linux/s390x",
];

const ULIMITS: &[&str] = &[
    "as=",
    "core=",
    "cpu=",
    "data=",
    "fsize=",
    "locks=",
    "memlock=",
    "msgqueue=",
    "nice=",
    "nofile=",
    "nproc=",
    "rss=",
    "rtprio=",
    "rttime=",
    "sigpending=",
    "stack=",
];

const EVENTS: &[&str] =
    &["container", "event", "image", "label", "network", "scope", "type", "volume"];

/// The value of a flag of a command, or without one of the program.
pub(super) fn of_flag(command: Option<&Command>, flag: &str) -> Values {
    let Some(command) = command else { return of_global(flag) };
    match (command.names[0], flag) {
        (_, "filter") => Values::Filter(filters(command.names[0])),
        (
            "container inspect" | "image inspect" | "network inspect" | "volume inspect"
            | "inspect" | "version" | "system info" | "system events",
            "format",
        ) => Values::Words(&["json"]),
        (_, "format") => Values::Words(&["json", "table"]),
        ("volume export", "compression") => Values::Words(&["gzip", "none", "zstd"]),
        ("inspect", "type") => Values::Words(&["container", "image", "network", "volume"]),
        ("inspect" | "container inspect", "as") => Values::Words(&["compose", "run"]),
        (_, flag) => shared(flag),
    }
}

/// Flags that mean the same wherever they are.
fn shared(flag: &str) -> Values {
    match flag {
        "attach" => Values::Words(&["stderr", "stdin", "stdout"]),
        "restart" => Values::Words(&["always", "no", "on-failure", "unless-stopped"]),
        "pull" => Values::Words(&["always", "missing", "never"]),
        "signal" | "stop-signal" => Values::Words(SIGNALS),
        "cap-add" | "cap-drop" => Values::Words(CAPABILITIES),
        "security-opt" => Values::Open(SECURITY),
        "platform" => Values::Words(PLATFORMS),
        "ulimit" => Values::Open(ULIMITS),
        "log-driver" => Values::Words(&["journald", "json-file", "local", "none", "syslog"]),
        "cgroupns" => Values::Words(&["host", "private"]),
        "systemd" => Values::Words(&["always", "false", "true"]),
        "gpus" => Values::Words(&["all"]),
        "health-on-failure" => Values::Words(&["kill", "none", "restart", "stop"]),
        "ipc" => Values::Names(&[
            Kind::Word("host"),
            Kind::Word("none"),
            Kind::Word("private"),
            Kind::Word("shareable"),
            Kind::ContainerMode,
        ]),
        "pid" => Values::Names(&[Kind::Word("host"), Kind::ContainerMode]),
        "uts" => Values::Words(&["host"]),
        "userns" => Values::Words(&["auto", "host"]),
        "network" | "net" => Values::Names(&[Kind::Networks, Kind::ContainerMode]),
        "volumes-from" | "link" => Values::Names(&[Kind::Containers]),
        "volume-driver" => Values::Words(&["local"]),
        "mount" => Values::Open(&["type=bind,", "type=image,", "type=tmpfs,", "type=volume,"]),
        "env" => Values::Environment,
        "volume" => Values::Names(&[Kind::VolumePlace]),
        "env-file" | "label-file" | "cidfile" | "input" | "output" | "device" => Values::Files,
        "sig-proxy" | "init" | "human" => Values::Words(&["false", "true"]),
        _ => Values::Nothing,
    }
}

fn of_global(flag: &str) -> Values {
    match flag {
        "host" => Values::Open(&["unix://"]),
        "log-level" => Values::Words(&["debug", "error", "fatal", "info", "warn"]),
        "context" => Values::Names(&[Kind::Contexts]),
        "config" | "root" | "run-root" => Values::Directories,
        "tlscacert" | "tlscert" | "tlskey" => Values::Files,
        _ => Values::Nothing,
    }
}

fn filters(command: &str) -> &'static [&'static str] {
    match command {
        "container ls" | "container logs" => &[
            "ancestor",
            "before",
            "exited",
            "expose",
            "health",
            "id",
            "is-task",
            "isolation",
            "label",
            "name",
            "network",
            "publish",
            "since",
            "status",
            "volume",
        ],
        "image ls" => &["before", "dangling", "label", "reference", "since", "until"],
        "volume ls" => &["dangling", "driver", "label", "name"],
        "network ls" => &["dangling", "driver", "id", "label", "name", "scope", "type"],
        "system events" => EVENTS,
        "volume prune" => &["all", "label", "label!"],
        "image prune" => &["dangling", "label", "label!", "until"],
        _ => &["label", "label!", "until"],
    }
}

/// The values of a filter.
pub(super) fn of_filter(key: &str) -> Values {
    match key {
        "status" => Values::Words(&[
            "created",
            "dead",
            "exited",
            "paused",
            "removing",
            "restarting",
            "running",
        ]),
        "health" => Values::Words(&["healthy", "none", "starting", "unhealthy"]),
        "dangling" | "is-task" | "all" => Values::Words(&["false", "true"]),
        "type" => Values::Words(&["builtin", "container", "custom", "image", "network", "volume"]),
        "scope" => Values::Words(&["local"]),
        "driver" => Values::Words(&["bridge", "host", "local", "null"]),
        "network" => Values::Names(&[Kind::Networks]),
        "volume" => Values::Names(&[Kind::Volumes]),
        "container" | "name" | "before" | "since" => Values::Names(&[Kind::Containers]),
        "ancestor" | "image" | "reference" => Values::Names(&[Kind::Images]),
        _ => Values::Nothing,
    }
}

/// A positional argument of a command, behind so many others.
pub(super) fn of_argument(command: &Command, before: usize, reach: Reach) -> Values {
    let most = match command.arity {
        Arity::Exactly(most) | Arity::AtMost(most) | Arity::Between(_, most) => most,
        Arity::AtLeast(_) => usize::MAX,
    };
    if before >= most {
        return Values::Nothing;
    }
    match (command.names[0], before) {
        ("container rm", _) if reach == Reach::Forced => Values::Names(&[Kind::Containers]),
        ("container start" | "container rm", _) => Values::Names(&[Kind::Stopped]),
        ("container stop" | "container kill" | "container wait" | "container stats", _)
        | ("container top" | "container port" | "container exec", 0) => {
            Values::Names(&[Kind::Running])
        }
        ("container pause", _) | ("container attach", 0) => Values::Names(&[Kind::Unpaused]),
        ("container unpause", _) => Values::Names(&[Kind::Paused]),
        ("container restart" | "container update" | "container inspect" | "container logs", _)
        | ("container rename" | "container diff" | "container export" | "container commit", 0) => {
            Values::Names(&[Kind::Containers])
        }
        ("checkpoint create", 0) => Values::Names(&[Kind::Unpaused]),
        ("checkpoint ls" | "checkpoint rm" | "checkpoint export" | "checkpoint import", 0) => {
            Values::Names(&[Kind::Containers])
        }
        ("container cp", _) => Values::Names(&[Kind::ContainerPath]),
        ("container commit", 1) => Values::Names(&[Kind::Images]),
        ("container run" | "container create", 0) => Values::Names(&[Kind::Images]),
        ("container run" | "container create" | "container exec", _) => Values::Files,
        ("image rm" | "image save" | "image inspect", _)
        | ("image ls" | "image history" | "image push" | "image tag", _) => {
            Values::Names(&[Kind::Images])
        }
        ("image import", 0) => Values::Files,
        ("network inspect" | "network rm", _) | ("network connect" | "network disconnect", 0) => {
            Values::Names(&[Kind::Networks])
        }
        ("network connect" | "network disconnect", _) => Values::Names(&[Kind::Containers]),
        ("volume inspect" | "volume rm", _)
        | (
            "volume clone" | "volume export" | "volume import" | "volume rename" | "volume update",
            0,
        ) => Values::Names(&[Kind::Volumes]),
        ("context use" | "context inspect", _) => Values::Names(&[Kind::Contexts]),
        ("inspect", _) => {
            Values::Names(&[Kind::Containers, Kind::Images, Kind::Networks, Kind::Volumes])
        }
        _ => Values::Nothing,
    }
}
