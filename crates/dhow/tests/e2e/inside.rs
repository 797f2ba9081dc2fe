//! A default container's view of the kernel, walked from inside (RT-13): what it can write, what is
//! masked, what it has mounted, which rights and limits it has.
//!
//! What depends on the kernel is held to a rule and not to a list: a file that a newer kernel adds
//! must not be writable, one that an older kernel lacks is not missed.

use expect_test::{Expect, expect};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use crate::host;

/// What Docker, Podman and containerd mask, together, and `kallsyms`.
const MASKED: [&str; 15] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/dev/block",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
];

/// The only files of procfs, besides those of its own processes, that a default container may open
/// for writing: triggers for pressure, as in Docker.
const WRITABLE: [&str; 4] =
    ["/proc/pressure/cpu", "/proc/pressure/io", "/proc/pressure/irq", "/proc/pressure/memory"];

/// File systems of the kernel that are mounted on the host's `/sys`, and must not be in ours.
const NOT_MOUNTED: [&str; 6] = [
    "/sys/kernel/debug",
    "/sys/kernel/tracing",
    "/sys/kernel/security",
    "/sys/kernel/config",
    "/sys/fs/bpf",
    "/sys/fs/fuse/connections",
];

/// Runs a script in a default container.
fn sh(host: &testkit::Host, script: &str) -> String {
    host.ok(&["run", "--rm", "busybox", "sh", "-c", script])
}

fn check(script: &str, expected: Expect) {
    expected.assert_eq(&sh(&host(), script));
}

#[test]
fn programs_can_tell_that_they_are_in_a_container() {
    let host = host();
    assert_eq!(sh(&host, "test -f /.dockerenv && echo yes"), "yes");
    let again = ["run", "--name", "again", "--read-only", "busybox", "cat", "/.dockerenv"];
    assert_eq!(host.ok(&again), "");
    assert_eq!(host.ok(&["start", "-a", "again"]), "");
    // A directory of the host is not written to by us.
    let tree = host.scratch().join("tree");
    std::fs::create_dir_all(tree.join("bin")).unwrap();
    testkit::install("/bin/busybox", &tree.join("bin/busybox"));
    let tree = tree.to_string_lossy();
    host.fails(1, &["run", "--rm", "--rootfs", &tree, "/bin/busybox", "test", "-e", "/.dockerenv"]);
}

/// A mount that goes with the test.
struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, UnmountFlags::DETACH).unwrap();
    }
}

/// As every mount is where systemd is process 1.
#[test]
fn a_root_directory_on_a_shared_mount_is_the_containers_alone() {
    let host = host();
    let tree = host.scratch().join("tree");
    std::fs::create_dir(&tree).unwrap();
    rustix::mount::mount("none", &tree, "tmpfs", MountFlags::empty(), None).unwrap();
    let mounted = Mounted(tree.clone());
    rustix::mount::mount_change(&tree, MountPropagationFlags::SHARED).unwrap();
    for dir in ["bin", "proc", "m"] {
        std::fs::create_dir(tree.join(dir)).unwrap();
    }
    testkit::install("/bin/busybox", &tree.join("bin/busybox"));
    let script = "/bin/busybox mount -t tmpfs none /m && echo in > /m/file && echo out > /file";
    let path = tree.to_string_lossy();
    let run = ["run", "--rm", "--privileged", "--rootfs", &path, "/bin/busybox", "sh", "-c"];
    host.ok(&[&run[..], &[script]].concat());
    assert_eq!(std::fs::read_to_string(tree.join("file")).unwrap(), "out\n");
    assert!(!tree.join("m/file").exists(), "what is mounted inside stays there");
    drop(mounted);
}

#[test]
fn nothing_of_proc_or_sys_can_be_written() {
    // Root may open a file whose mode forbids it, so the mode is asked first and the kernel second.
    // Opening to append changes nothing.
    let walk = "busybox find /proc /sys -path '/proc/[0-9]*' -prune -o -type f -perm /222 -print 2>/dev/null \
                | while read f; do (: >> $f) 2>/dev/null && echo $f; done; true";
    let written = sh(&host(), walk);
    let more: Vec<_> = written.lines().filter(|file| !WRITABLE.contains(file)).collect();
    assert!(more.is_empty(), "a default container can write to {more:?}");
    // The walk does find what can be written.
    let open = host().ok(&["run", "--rm", "--privileged", "busybox", "sh", "-c", walk]);
    for known in ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger"] {
        let there = std::path::Path::new(known).exists();
        assert!(!there || open.lines().any(|file| file == known), "{known}: {open}");
    }
}

#[test]
fn what_tells_of_the_host_is_masked() {
    let host = host();
    let list = MASKED.join(" ");
    let look = format!(
        "for f in {list}; do if [ -d $f ]; then echo $f $(stat -c %t:%T $f/. ; stat -f -c %T $f) $(ls -A $f | wc -l); \
         elif [ -e $f ]; then echo $f $(stat -c %t:%T $f) $(head -c 9 $f | wc -c); fi; done"
    );
    let seen = sh(&host, &look);
    for path in MASKED.iter().filter(|path| std::path::Path::new(path).exists()) {
        let of = |rest: &str| format!("{path} {rest}");
        // The null device, which reads as empty; or a directory of a tmpfs with nothing in it.
        let masked = [of("1:3 0"), of("0:0 tmpfs 0")];
        assert!(
            seen.lines().any(|line| masked.iter().any(|masked| masked == line)),
            "{path} is not masked:\n{seen}"
        );
    }
    let mounted =
        format!("for d in {}; do ls -A $d 2>/dev/null; done; true", NOT_MOUNTED.join(" "));
    assert_eq!(sh(&host, &mounted), "");
    // With the masks off the same look finds something: it is not blind.
    let open = host.ok(&[
        "run",
        "--rm",
        "--security-opt",
        "systempaths=unconfined",
        "busybox",
        "sh",
        "-c",
        &look,
    ]);
    assert!(open.contains("/proc/keys 0:0 9"), "{open}");
}

/// Few machines have counters of heat, so this one is given some: in a mount namespace of the
/// command's own, and in the container by a bind, which lies below the masks.
#[test]
#[expect(clippy::disallowed_methods, reason = "the command runs in a mount namespace of its own")]
fn counters_of_heat_are_masked() {
    let host = host();
    let counters = host.scratch().join("cpu/cpu1/thermal_throttle");
    std::fs::create_dir_all(&counters).unwrap();
    std::fs::write(counters.join("core_throttle_count"), "7\n").unwrap();
    let processors = host.scratch().join("cpu");
    std::fs::write(processors.join("present"), "0-1\n").unwrap();
    let processors = processors.display();
    let bind = format!("{processors}:/sys/devices/system/cpu:ro");
    let look =
        "cat /sys/devices/system/cpu/present; ls /sys/devices/system/cpu/cpu1/thermal_throttle";
    let with = |option: &str| {
        let run = host.command(&["run", "--rm", option, "-v", &bind, "busybox", "sh", "-c", look]);
        let script = format!("mount --bind {processors} /sys/devices/system/cpu && exec \"$@\"");
        let output = std::process::Command::new("unshare")
            .args(["--mount", "sh", "-c", &script, "sh"])
            .arg(run.get_program())
            .args(run.get_args())
            .env_clear()
            .envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(with("--init=false"), "0-1\n");
    assert_eq!(with("--security-opt=systempaths=unconfined"), "0-1\ncore_throttle_count\n");
}

#[test]
fn the_mounts_are_few_and_their_options_tight() {
    let mounts = sh(&host(), "cat /proc/self/mountinfo");
    let shown: Vec<String> = mounts.lines().filter_map(mount).collect();
    expect![[r#"
        / rw,relatime overlay
        /etc/hosts rw,relatime (a file of the container's directory)
        /etc/hostname rw,relatime (a file of the container's directory)
        /etc/resolv.conf rw,relatime (a file of the container's directory)
        /proc rw,nosuid,nodev,noexec,relatime proc
        /dev rw,nosuid tmpfs
        /dev/pts rw,nosuid,noexec,relatime devpts
        /sys ro,nosuid,nodev,noexec,relatime sysfs
        /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime cgroup
        /dev/mqueue rw,nosuid,nodev,noexec,relatime mqueue
        /dev/shm rw,nosuid,nodev,noexec,relatime tmpfs
        /proc/bus ro,nosuid,nodev,noexec,relatime proc
        /proc/fs ro,nosuid,nodev,noexec,relatime proc
        /proc/irq ro,nosuid,nodev,noexec,relatime proc
        /proc/sys ro,nosuid,nodev,noexec,relatime proc"#]]
    .assert_eq(&shown.join("\n"));
}

/// Target, options and kind of a mount, and whose propagation it takes part in. Masks and the
/// hierarchies of cgroup v1 are left out: the kernel decides which there are.
fn mount(line: &str) -> Option<String> {
    let (before, after) = line.split_once(" - ")?;
    let words: Vec<&str> = before.split(' ').collect();
    let (target, options, propagation) = (words[4], words[5], words[6..].join(" "));
    let kind = match (target, after.split(' ').next()?) {
        ("/sys/fs/cgroup", "tmpfs" | "cgroup2") => "cgroup",
        (target, _) if target.starts_with("/sys/fs/cgroup/") => return None,
        // Not every kernel has the key; where it does, the mask must hold.
        ("/proc/sysrq-trigger", _) if options.starts_with("ro,nosuid,nodev,noexec") => return None,
        (target, "tmpfs") if target.starts_with("/proc/") || target.starts_with("/sys/") => {
            return None;
        }
        (target, _) if target.starts_with("/etc/") => "(a file of the container's directory)",
        (_, kind) => kind,
    };
    Some(format!("{target} {options} {kind} {propagation}").trim_end().to_owned())
}

#[test]
fn the_devices_are_those_that_everybody_needs() {
    check(
        "busybox find /dev | busybox sort | while read f; do stat -c '%n %F %t:%T %a %u:%g' $f; done",
        expect![[r#"
            /dev directory 0:0 755 0:0
            /dev/core symbolic link 0:0 777 0:0
            /dev/fd symbolic link 0:0 777 0:0
            /dev/full character special file 1:7 666 0:0
            /dev/mqueue directory 0:0 1777 0:0
            /dev/null character special file 1:3 666 0:0
            /dev/ptmx symbolic link 0:0 777 0:0
            /dev/pts directory 0:0 755 0:0
            /dev/pts/ptmx character special file 5:2 666 0:0
            /dev/random character special file 1:8 666 0:0
            /dev/shm directory 0:0 1777 0:0
            /dev/stderr symbolic link 0:0 777 0:0
            /dev/stdin symbolic link 0:0 777 0:0
            /dev/stdout symbolic link 0:0 777 0:0
            /dev/tty character special file 5:0 666 0:0
            /dev/urandom character special file 1:9 666 0:0
            /dev/zero character special file 1:5 666 0:0"#]],
    );
}

/// A node can be made, and not be opened. The kernel's log is on every host, and whoever only writes
/// to it needs no capability, so nothing but the device controller refuses this.
#[test]
fn a_device_that_was_not_given_cannot_be_opened() {
    let host = host();
    let open = ["sh", "-c", "busybox mknod /log c 1 11; (: > /log) 2>&1 && echo open; true"];
    let run = |flags: &[&str]| host.ok(&[&["run", "--rm"], flags, &["busybox"], &open].concat());
    let refused = run(&[]);
    assert!(refused.contains("Operation not permitted"), "{refused}");
    assert_eq!(run(&["--device-cgroup-rule", "c 1:11 w"]), "open");
}

#[test]
fn a_node_of_tun_is_for_who_manages_networks_and_one_of_a_disk_for_nobody() {
    let host = host();
    // Whether there is a driver is the machine's affair; what counts is who refuses.
    let script = "for n in 'tun c 10 200' 'fuse c 10 229' 'disk b 254 0'; do mknod /$n; \
         dd if=/${n%% *} count=0 2>&1 | grep -q 'not permitted' && echo refused || echo not; done";
    assert_eq!(sh(&host, script), "refused\nrefused\nrefused");
    let managing = ["run", "--rm", "--cap-add", "NET_ADMIN", "busybox", "sh", "-c", script];
    assert_eq!(host.ok(&managing), "not\nrefused\nrefused");
}

#[test]
fn the_process_has_dockers_rights_and_no_more() {
    check(
        "grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp|Sig(Blk|Ign)|Umask|TracerPid):' /proc/self/status; \
         cat /proc/self/oom_score_adj /proc/self/uid_map /proc/self/gid_map; pwd; ls /proc/self/fd",
        expect![[r#"
            Umask:	0022
            TracerPid:	0
            Uid:	0	0	0	0
            Gid:	0	0	0	0
            Groups:	0 
            SigBlk:	0000000000000000
            SigIgn:	0000000000000000
            CapInh:	0000000000000000
            CapPrm:	00000000a80425fb
            CapEff:	00000000a80425fb
            CapBnd:	00000000a80425fb
            CapAmb:	0000000000000000
            NoNewPrivs:	0
            Seccomp:	2
            0
                     0          0 4294967295
                     0          0 4294967295
            /
            0
            1
            2
            3"#]],
    );
}

#[test]
fn the_environment_is_its_own() {
    let host = host();
    let ran = host
        .command(&["run", "--rm", "-h", "box", "-e", "ASKED", "busybox", "env"])
        .env("SECRET", "of the caller")
        .env("ASKED", "for")
        .env("LD_PRELOAD", "")
        .output()
        .unwrap();
    let mut lines: Vec<_> = std::str::from_utf8(&ran.stdout).unwrap().lines().collect();
    lines.sort_unstable();
    expect![[r#"
        ASKED=for
        HOME=/root
        HOSTNAME=box
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"#]]
    .assert_eq(&lines.join("\n"));
}

#[test]
fn its_namespaces_and_cgroups_are_its_own() {
    let inside = sh(
        &host(),
        "for n in cgroup ipc mnt net pid uts user time; do busybox readlink /proc/self/ns/$n; done; cut -d: -f 3 /proc/self/cgroup",
    );
    let mut lines = inside.lines();
    for kind in ["cgroup", "ipc", "mnt", "net", "pid", "uts", "user", "time"] {
        let ours = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        let same = lines.next() == ours.to_str();
        // As in Docker: the user's numbers are the host's, and so is its clock.
        assert_eq!(same, matches!(kind, "user" | "time"), "{kind}: {inside}");
    }
    // The namespace hides where on the host it is.
    assert!(lines.all(|path| path == "/"), "{inside}");
}

#[test]
fn its_limits_are_the_callers_but_for_open_files() {
    let limits = |text: &str| -> Vec<String> {
        let other = |line: &&str| !line.starts_with("Max open files");
        text.lines().filter(other).map(|line| line.trim_end().to_owned()).collect()
    };
    let inside = sh(&host(), "cat /proc/self/limits");
    let ours = std::fs::read_to_string("/proc/self/limits").unwrap();
    assert_eq!(limits(&inside), limits(&ours));
    let files = inside.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().nth(3), Some("1024"), "{files}");
}

#[test]
fn descriptors_of_the_caller_stay_outside() {
    let host = host();
    let secret = host.scratch().join("secret");
    std::fs::write(&secret, "of the host").unwrap();
    let list =
        "for p in 1 self; do ls /proc/$p/fd; done; cat <&7 2>/dev/null; cat <&9 2>/dev/null; true";
    let with_descriptors = |arguments: &[&str]| {
        // A shell hands down what it has open; dhow is not told.
        let mut command = host.command(arguments);
        let program = command.get_program().to_string_lossy().into_owned();
        let words: Vec<String> = std::iter::once(program)
            .chain(arguments.iter().map(|word| (*word).to_owned()))
            .map(|word| format!("'{}'", word.replace('\'', r"'\''")))
            .collect();
        let script = format!("exec 7<{0} 9<{0}; exec {1}", secret.display(), words.join(" "));
        let env: Vec<_> =
            command.get_envs().map(|(k, v)| (k.to_owned(), v.map(ToOwned::to_owned))).collect();
        command = sh_command(&script);
        command.env_clear().envs(env.into_iter().filter_map(|(name, value)| Some((name, value?))));
        testkit::Ran::new(&command.output().unwrap())
    };
    let run = with_descriptors(&["run", "--rm", "busybox", "sh", "-c", list]);
    assert_eq!((run.code, run.out.as_str()), (Some(0), "0\n1\n2\n0\n1\n2\n3"), "{}", run.err);
    with_descriptors(&["run", "-d", "--name", "d1", "busybox", "sleep", "1000"]);
    assert_eq!(host.ok(&["exec", "d1", "ls", "/proc/1/fd"]), "0\n1\n2");
    let exec = with_descriptors(&["exec", "d1", "sh", "-c", list]);
    assert_eq!(exec.out, "0\n1\n2\n0\n1\n2\n3", "{}", exec.err);
}

#[expect(
    clippy::disallowed_methods,
    reason = "only a shell hands down descriptors that a test opens"
)]
fn sh_command(script: &str) -> std::process::Command {
    let mut command = std::process::Command::new("/bin/sh");
    command.arg("-c").arg(script).stdin(std::process::Stdio::null());
    command
}

/// Calls that the filter answers, made by a program that is on every Debian, in a throw-away copy of
/// the machine. The family is an int: bits above it do not exist for the kernel, and must not for
/// the filter (RT-20).
#[test]
fn system_calls_are_filtered_as_the_kernel_reads_them() {
    let (socket, unshare, io_uring, bpf, keyctl) = if cfg!(target_arch = "aarch64") {
        (198, 97, 425, 280, 219)
    } else {
        (41, 272, 425, 321, 250)
    };
    let calls = [
        ("AF_UNIX", format!("{socket}, 1, 1, 0")),
        ("AF_INET6", format!("{socket}, 10, 1, 0")),
        ("AF_ALG", format!("{socket}, 38, 5, 0")),
        ("AF_ALG with bit 32", format!("{socket}, 38 | (1 << 32), 5, 0")),
        ("AF_VSOCK", format!("{socket}, 40, 1, 0")),
        ("AF_VSOCK with bit 32", format!("{socket}, 40 | (1 << 32), 1, 0")),
        ("AF_VSOCK with bit 63", format!("{socket}, 40 | (1 << 63), 1, 0")),
        ("unshare(CLONE_NEWUSER)", format!("{unshare}, 0x10000000")),
        ("unshare(CLONE_NEWNS) with bit 40", format!("{unshare}, 0x20000 | (1 << 40)")),
        ("io_uring_setup", format!("{io_uring}, 1, 0")),
        ("bpf", format!("{bpf}, 0, 0, 0")),
        ("keyctl", format!("{keyctl}, 0, -3, 1")),
        ("a call that no kernel has", "1000".to_owned()),
    ];
    let script: String = calls
        .iter()
        .map(|(name, call)| {
            format!("my $r = syscall({call}); printf \"%s: %s\\n\", '{name}', $r < 0 ? ($!{{EPERM}} ? 'EPERM' : $!{{ENOSYS}} ? 'ENOSYS' : $!+0) : 'works';\n")
        })
        .collect();
    let script = format!("use Errno;\nno warnings;\n{script}");
    let out = host().ok(&["run", "--rm", "--rootfs", "/:O", "perl", "-e", &script]);
    expect![[r#"
        AF_UNIX: works
        AF_INET6: works
        AF_ALG: EPERM
        AF_ALG with bit 32: EPERM
        AF_VSOCK: EPERM
        AF_VSOCK with bit 32: EPERM
        AF_VSOCK with bit 63: EPERM
        unshare(CLONE_NEWUSER): EPERM
        unshare(CLONE_NEWNS) with bit 40: EPERM
        io_uring_setup: EPERM
        bpf: EPERM
        keyctl: EPERM
        a call that no kernel has: ENOSYS"#]]
    .assert_eq(&out);
}

/// A 64-bit program that makes a call of i386 (`int 0x80`, getpid), and ends with 1 if there is no
/// such call and with 0 if it worked.
#[cfg(target_arch = "x86_64")]
fn foreign_caller() -> Vec<u8> {
    const ADDRESS: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let code = [
        &[0xb8, 20, 0, 0, 0][..],      // mov eax, 20
        &[0xcd, 0x80],                 // int 0x80
        &[0x31, 0xff],                 // xor edi, edi
        &[0x83, 0xf8, 0xda],           // cmp eax, -38
        &[0x40, 0x0f, 0x94, 0xc7],     // sete dil
        &[0xb8, 60, 0, 0, 0, 0x0f, 5], // mov eax, 60; syscall
    ]
    .concat();
    let size = HEADERS + code.len() as u64;
    let words =
        |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    [
        b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec(),
        words(&[ADDRESS + HEADERS, 64, 0]),
        b"\0\0\0\0\x40\0\x38\0\x01\0\0\0\0\0\0\0".to_vec(),
        b"\x01\0\0\0\x05\0\0\0".to_vec(),
        words(&[0, ADDRESS, ADDRESS, size, size, 0x1000]),
        code,
    ]
    .concat()
}

/// `socketcall` of i386 would pass by every rule about `socket` (RT-20).
#[test]
#[cfg(target_arch = "x86_64")]
fn calls_of_another_architecture_do_not_exist() {
    let host = host();
    let program = host.scratch().join("foreign");
    testkit::program(&program, foreign_caller());
    let bind = format!("{}:/foreign", program.display());
    let run = |flags: &[&str]| {
        host.run(&[&["run", "--rm", "-v", &bind], flags, &["busybox", "/foreign"]].concat()).code
    };
    assert_eq!(run(&[]), Some(1));
    // The kernel itself may have none (139: it is killed).
    let open = run(&["--security-opt", "seccomp=unconfined"]);
    assert!(matches!(open, Some(0 | 139)), "{open:?}");
}
