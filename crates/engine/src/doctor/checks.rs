//! What a survey means: a finding for each thing that was looked at.
//!
//! Pure: the same survey has the same findings.

use super::firewall::firewall;
use super::{Caller, Disk, Finding, Groups, SUBIDS, Survey, Tunnel, Verdict};

/// The oldest kernel that has all calls which a start makes: `mount_setattr` came with it.
const OLDEST: (u32, u32) = (5, 12);

/// From here on overlayfs can be mounted with other ids than it has on the disk.
const IDMAPPED: (u32, u32) = (5, 19);

/// Nothing has been built before this: 2025-01-01.
const EPOCH: i64 = 1_735_689_600;

/// Room that an image needs at least, and that a few need.
const LITTLE: u64 = 128 << 20;
const SOME: u64 = 2 << 30;

/// Everything that was found out, in the order in which one would mend it.
#[must_use]
pub fn check(survey: &Survey) -> Vec<Finding> {
    let all = [
        kernel,
        namespaces,
        user_namespaces,
        subids,
        overlay,
        disk,
        owners,
        cgroups,
        seccomp,
        lsm,
        network,
        firewall,
        forwarding,
        conntrack,
        userspace_network,
        inotify,
        open_files,
        clock,
        checkpoints,
    ];
    all.iter().filter_map(|check| check(survey)).collect()
}

/// Something that is as it should be.
pub(super) fn fine(about: &'static str, found: impl Into<String>) -> Option<Finding> {
    let found = found.into();
    Some(Finding { about, verdict: Verdict::Fine, found, cost: None, mend: None })
}

/// Something that is not: what is there, what that costs, what mends it.
pub(super) fn lack(
    (about, verdict): (&'static str, Verdict),
    found: impl Into<String>,
    cost: impl Into<String>,
    mend: impl Into<String>,
) -> Option<Finding> {
    let (cost, mend) = (Some(cost.into()), Some(mend.into()));
    Some(Finding { about, verdict, found: found.into(), cost, mend })
}

/// The first two numbers of `6.1.0-18-amd64`.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let mut next = || numbers.next().and_then(Result::ok).unwrap_or_default();
    (next(), next())
}

fn kernel(survey: &Survey) -> Option<Finding> {
    let (about, found) = ("kernel", survey.kernel.as_str());
    let newer = "install a newer kernel of your distribution";
    match version(found) {
        old if old < OLDEST => {
            let cost = "no container starts: calls are missing that came up to 5.12";
            lack((about, Verdict::Missing), found, cost, newer)
        }
        old if old < IDMAPPED => {
            lack((about, Verdict::Limited), found, "no --userns=auto: it came with 5.19", newer)
        }
        _ => fine(about, found),
    }
}

fn namespaces(survey: &Survey) -> Option<Finding> {
    let about = "namespaces";
    let lacks = |names: &[&'static str]| -> Vec<&'static str> {
        names
            .iter()
            .copied()
            .filter(|name| !survey.namespaces.iter().any(|one| one == name))
            .collect()
    };
    let (needed, wanted) =
        (lacks(&["mnt", "pid", "net", "ipc", "uts"]), lacks(&["cgroup", "user", "time"]));
    let mend = "boot a kernel with CONFIG_NAMESPACES and all kinds below it";
    if !needed.is_empty() {
        let found = format!("none of {}", needed.join(", "));
        return lack((about, Verdict::Missing), found, "no container starts", mend);
    }
    if !wanted.is_empty() {
        let cost = "containers that ask for one are refused";
        return lack(
            (about, Verdict::Limited),
            format!("none of {}", wanted.join(", ")),
            cost,
            mend,
        );
    }
    fine(about, "all kinds")
}

fn user_namespaces(survey: &Survey) -> Option<Finding> {
    let about = "user namespaces";
    let is = |name, value: &str| survey.sysctls.get(name).is_some_and(|found| found == value);
    let (verdict, cost) = match survey.caller {
        Caller::Root => (Verdict::Limited, "no --userns=auto"),
        Caller::User(_) => (Verdict::Missing, "no container of an ordinary user starts"),
    };
    if is("user/max_user_namespaces", "0") {
        let mend = "sysctl -w user.max_user_namespaces=28633";
        return lack((about, verdict), "user.max_user_namespaces is 0", cost, mend);
    }
    let shut = [
        ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        (
            "kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    ];
    let shut = shut.into_iter().find(|(name, value, _)| is(name, value));
    match (survey.caller, shut) {
        (Caller::User(_), Some((name, value, open))) => {
            let found = format!("{} is {value}", name.replace('/', "."));
            lack((about, verdict), found, cost, format!("sysctl -w {open}"))
        }
        (Caller::Root, _) | (Caller::User(_), None) => fine(about, "allowed"),
    }
}

fn subids(survey: &Survey) -> Option<Finding> {
    let about = "subordinate ids";
    let Caller::User(user) = survey.caller else { return None };
    let absent: Vec<&str> = ["newuidmap", "newgidmap"]
        .into_iter()
        .filter(|name| !survey.programs.contains(name))
        .collect();
    if !absent.is_empty() {
        let found = format!("no {}", absent.join(", no "));
        let cost = "a container has one user, and most images need more";
        return lack(
            (about, Verdict::Missing),
            found,
            cost,
            "apt install uidmap, or dnf install shadow-utils",
        );
    }
    let (users, groups) = survey.subids;
    let found = format!("{users} of users, {groups} of groups");
    if users.min(groups) < SUBIDS {
        let cost = "files of users that have no number cannot be unpacked";
        let first = survey.free_ids;
        let range = format!("{first}-{}", first + SUBIDS - 1);
        let mend = match &survey.login {
            Some(login) => format!("usermod --add-subuids {range} --add-subgids {range} {login}"),
            None => format!("echo {user}:{first}:{SUBIDS} | tee -a /etc/subuid /etc/subgid"),
        };
        let verdict = if users.min(groups) == 0 { Verdict::Missing } else { Verdict::Limited };
        return lack((about, verdict), found, cost, mend);
    }
    fine(about, found)
}

fn overlay(survey: &Survey) -> Option<Finding> {
    let about = "overlayfs";
    if survey.filesystems.iter().any(|name| name == "overlay") {
        return fine(about, "the kernel has it");
    }
    if survey.modules.contains(&"overlay") {
        return fine(about, "a module, which is loaded when it is needed");
    }
    let mend = "modprobe overlay, or boot a kernel with CONFIG_OVERLAY_FS";
    lack((about, Verdict::Missing), "the kernel has none", "no image can be used", mend)
}

fn disk(survey: &Survey) -> Option<Finding> {
    let about = "disk";
    let Some(Disk { path, magic, free, inodes }) = &survey.disk else {
        let mend = "name another directory by --root";
        return lack(
            (about, Verdict::Missing),
            "cannot be looked at",
            "images have no place",
            mend,
        );
    };
    let name = file_system(*magic);
    let found = format!("{}: {name}, {} MiB free", path.display(), free >> 20);
    let elsewhere = "name a directory on ext4, xfs or btrfs by --root";
    let is_full = inodes.is_some_and(|(left, all)| left < all / 100);
    if matches!(name, "overlayfs" | "nfs" | "fuse" | "vfat") {
        let cost = "overlayfs takes no such file system for what containers write";
        return lack((about, Verdict::Missing), found, cost, elsewhere);
    }
    if *free < LITTLE || is_full {
        let what = if is_full { "no inodes are left" } else { "no image has room" };
        return lack(
            (about, Verdict::Missing),
            found,
            what,
            "dhow system prune -a, or a larger disk",
        );
    }
    if name == "tmpfs" {
        let cost = "images and containers are gone after a boot, and take memory";
        return lack((about, Verdict::Limited), found, cost, elsewhere);
    }
    if *free < SOME {
        let cost = "a few images fill it";
        return lack(
            (about, Verdict::Limited),
            found,
            cost,
            "dhow system prune -a, or a larger disk",
        );
    }
    fine(about, found)
}

/// statfs(2)
const fn file_system(magic: u64) -> &'static str {
    match magic {
        0xef53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x0102_1994 => "tmpfs",
        0x2fc1_2fc1 => "zfs",
        0x794c_7630 => "overlayfs",
        0x6969 => "nfs",
        0x6573_5546 => "fuse",
        0x4d44 => "vfat",
        0xf2f5_2010 => "f2fs",
        _ => "a file system that is not known",
    }
}

fn owners(survey: &Survey) -> Option<Finding> {
    let about = "owners of roots";
    let Caller::User(_) = survey.caller else { return None };
    if survey.foreign.is_empty() {
        return fine(about, "root and the user");
    }
    let names: Vec<String> = survey.foreign.iter().map(|path| path.display().to_string()).collect();
    let names = names.join(", ");
    let found = format!("others may change {names}");
    let mend = format!("chmod go-w {names}, or name other directories by --root and --run-root");
    lack((about, Verdict::Missing), found, "no command that needs the engine starts", mend)
}

fn cgroups(survey: &Survey) -> Option<Finding> {
    let about = "control groups";
    let Some(version) = survey.cgroup else {
        let mend = "mount -t cgroup2 cgroup2 /sys/fs/cgroup";
        return lack((about, Verdict::Missing), "none are mounted", "no container starts", mend);
    };
    let number = match version {
        cgroup::Version::V1 => 1,
        cgroup::Version::V2 => 2,
    };
    let discarded = "limits are discarded, containers cannot be paused, and stats shows nothing";
    match (survey.caller, version, survey.groups) {
        (Caller::User(_), cgroup::Version::V1, Groups::Nowhere | Groups::InServices) => {
            let mend = "boot with systemd.unified_cgroup_hierarchy=1: only version 2 is delegated to users";
            return lack((about, Verdict::Limited), "version 1, which is root's", discarded, mend);
        }
        (Caller::User(_), cgroup::Version::V2, Groups::InServices) => {
            let found =
                "version 2; the user's services have some, and what is started from here has none";
            let mend = "systemd-run --user --scope dhow ..., or start from a service of the user's";
            return lack((about, Verdict::Limited), found, discarded, mend);
        }
        (Caller::User(_), cgroup::Version::V2, Groups::Nowhere) => {
            let mend = "log in where systemd runs, with dbus-user-session installed, then systemd-run --user --scope dhow ...";
            return lack(
                (about, Verdict::Limited),
                "version 2; none are delegated",
                discarded,
                mend,
            );
        }
        (Caller::Root, _, _) | (Caller::User(_), _, Groups::Here) => {}
    }
    let wanted = ["cpu", "memory", "pids", "io", "cpuset"];
    let has = |name: &str| survey.controllers.iter().any(|one| one == name);
    let absent: Vec<&str> = wanted.into_iter().filter(|name| !has(name)).collect();
    if absent.is_empty() {
        return fine(about, format!("version {number}, all controllers"));
    }
    let found = format!("version {number} without {}", absent.join(", "));
    let cost = format!("limits by {} are refused", absent.join(", "));
    let mend = match survey.caller {
        Caller::Root => "boot with cgroup_enable=memory, or a kernel that has the controllers".to_owned(),
        Caller::User(_) => "write [Service] Delegate=cpu cpuset io memory pids to \
            /etc/systemd/system/user@.service.d/delegate.conf, then systemctl daemon-reload and log in again"
            .to_owned(),
    };
    lack((about, Verdict::Limited), found, cost, mend)
}

fn seccomp(survey: &Survey) -> Option<Finding> {
    let about = "seccomp";
    let has = |name: &str| survey.seccomp.iter().any(|one| one == name);
    if !has("errno") {
        let mend = "boot a kernel with CONFIG_SECCOMP_FILTER";
        let cost = "containers start with --security-opt seccomp=unconfined alone";
        return lack((about, Verdict::Missing), "the kernel has no filters", cost, mend);
    }
    fine(about, "filters")
}

fn lsm(survey: &Survey) -> Option<Finding> {
    let about = "security modules";
    let found = survey.lsms.join(", ");
    let has = |name: &str| survey.lsms.iter().any(|one| one == name);
    if has("apparmor")
        && survey.caller == Caller::Root
        && !survey.programs.contains(&"apparmor_parser")
    {
        let cost = "containers have no profile of AppArmor, unless they name one that is loaded";
        return lack((about, Verdict::Limited), found, cost, "apt install apparmor");
    }
    let found = if found.is_empty() { "none to be seen".to_owned() } else { found };
    fine(about, found)
}

fn network(survey: &Survey) -> Option<Finding> {
    let about = "network";
    let absent: Vec<&str> = ["bridge", "veth", "nf_tables", "nf_conntrack"]
        .into_iter()
        .filter(|name| !survey.modules.contains(name))
        .collect();
    match (survey.caller, absent.is_empty()) {
        (Caller::User(_), _) => None,
        (Caller::Root, true) => fine(about, "bridges, veth, nftables"),
        (Caller::Root, false) => {
            let names = absent.join(" ");
            let found = format!("no module for {}", absent.join(", "));
            let cost = "--network none and host alone, unless these are built into the kernel";
            lack((about, Verdict::Limited), found, cost, format!("modprobe -a {names}"))
        }
    }
}

fn forwarding(survey: &Survey) -> Option<Finding> {
    let about = "forwarding";
    let value = survey.sysctls.get("net/ipv4/ip_forward")?;
    match (survey.caller, value.as_str()) {
        (Caller::User(_), _) => None,
        (Caller::Root, "1") => fine(about, "on"),
        (Caller::Root, _) => fine(about, "off: the first bridge turns it on"),
    }
}

fn conntrack(survey: &Survey) -> Option<Finding> {
    let about = "connections";
    let number = |name| survey.sysctls.get(name).and_then(|text: &String| text.parse::<u64>().ok());
    let (count, max) =
        (number("net/netfilter/nf_conntrack_count")?, number("net/netfilter/nf_conntrack_max")?);
    let found = format!("{count} of {max} are followed");
    if max > 0 && count >= max / 10 * 9 {
        let mend = format!("sysctl -w net.netfilter.nf_conntrack_max={}", max.saturating_mul(2));
        return lack((about, Verdict::Limited), found, "new connections are dropped", mend);
    }
    fine(about, found)
}

fn userspace_network(survey: &Survey) -> Option<Finding> {
    let about = "network of users";
    let Caller::User(_) = survey.caller else { return None };
    let has = |name| survey.programs.contains(&name);
    match (survey.tunnel, has("pasta"), has("slirp4netns")) {
        (Tunnel::Missing, true, _) | (Tunnel::Missing, _, true) => {
            let cost = "no network but none and host";
            let mend = "modprobe tun, and in a container --device /dev/net/tun";
            lack((about, Verdict::Limited), "there is no /dev/net/tun", cost, mend)
        }
        (Tunnel::Closed, true, _) | (Tunnel::Closed, _, true) => {
            let cost = "no network but none and host";
            let found = "/dev/net/tun cannot be opened";
            lack((about, Verdict::Limited), found, cost, "chmod 666 /dev/net/tun, as udev does it")
        }
        (Tunnel::Open, true, _) => fine(about, "pasta"),
        (Tunnel::Open, false, true) => fine(about, "slirp4netns"),
        (_, false, false) => {
            let cost = "no network but none and host";
            lack(
                (about, Verdict::Limited),
                "neither pasta nor slirp4netns",
                cost,
                "apt install passt, or dnf install passt",
            )
        }
    }
}

fn inotify(survey: &Survey) -> Option<Finding> {
    let about = "watches";
    let count = survey.sysctls.get("fs/inotify/max_user_instances")?.parse::<u64>().ok()?;
    let found = format!("{count} for each user");
    if count < 128 {
        let cost = "programs in containers that watch files fail: \"too many open files\"";
        return lack(
            (about, Verdict::Limited),
            found,
            cost,
            "sysctl -w fs.inotify.max_user_instances=8192",
        );
    }
    fine(about, found)
}

fn open_files(survey: &Survey) -> Option<Finding> {
    let (about, most) = ("open files", survey.open_files);
    let found =
        if most == u64::MAX { "without a limit".to_owned() } else { format!("{most} at most") };
    if most < 4096 {
        let cost = "a container cannot have more, and many layers or clients fail";
        return lack((about, Verdict::Limited), found, cost, "ulimit -Hn 524288, as root, before");
    }
    fine(about, found)
}

fn clock(survey: &Survey) -> Option<Finding> {
    let about = "clock";
    if survey.clock < EPOCH {
        let cost = "certificates of registries are not valid yet";
        let found = "before 2025";
        return lack(
            (about, Verdict::Limited),
            found,
            cost,
            "timedatectl set-ntp true, or date -s",
        );
    }
    fine(about, "after 2025")
}

fn checkpoints(survey: &Survey) -> Option<Finding> {
    let about = "checkpoints";
    match (survey.caller, survey.programs.contains(&"criu")) {
        (Caller::User(_), _) => None,
        (Caller::Root, true) => fine(about, "criu"),
        (Caller::Root, false) => {
            lack((about, Verdict::Limited), "no criu", "no dhow checkpoint", "apt install criu")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::{Containers, Forwarding, Refusing};
    use super::*;
    use cgroup::Version;

    /// A host that has everything.
    fn good(caller: Caller) -> Survey {
        let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        Survey {
            caller,
            kernel: "6.12.48-cloud-amd64".to_owned(),
            namespaces: all(&["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"]),
            sysctls: [("net/ipv4/ip_forward", "1"), ("fs/inotify/max_user_instances", "128")]
                .map(|(name, value)| (name, value.to_owned()))
                .into(),
            filesystems: all(&["proc", "overlay"]),
            modules: vec!["overlay", "bridge", "veth", "nf_tables", "nf_conntrack"],
            cgroup: Some(Version::V2),
            groups: Groups::Here,
            tunnel: Tunnel::Open,
            foreign: Vec::new(),
            controllers: all(&["cpu", "cpuset", "io", "memory", "pids"]),
            subids: (65_536, 65_536),
            login: Some("user".to_owned()),
            free_ids: 165_536,
            programs: vec!["newuidmap", "newgidmap", "pasta", "criu"],
            lsms: all(&["landlock"]),
            seccomp: all(&["kill_process", "errno", "allow"]),
            forwarding: Forwarding::Seen(Vec::new()),
            legacy_iptables: false,
            disk: Some(Disk {
                path: PathBuf::from("/var/lib"),
                magic: 0xef53,
                free: 100 << 30,
                inodes: Some((1000, 2000)),
            }),
            clock: EPOCH + 1,
            open_files: 1 << 20,
        }
    }

    const USER: Caller = Caller::User(1000);

    #[test]
    fn a_good_host_lacks_nothing() {
        for caller in [Caller::Root, USER] {
            let lacks: Vec<_> = check(&good(caller))
                .into_iter()
                .filter(|one| one.verdict != Verdict::Fine)
                .collect();
            assert_eq!(lacks, []);
        }
    }

    /// The one thing that a changed host lacks.
    #[track_caller]
    fn lacks(caller: Caller, change: impl FnOnce(&mut Survey), expected: &str) {
        let mut survey = good(caller);
        change(&mut survey);
        let found = check(&survey).into_iter().filter(|one| one.verdict != Verdict::Fine);
        let shown: Vec<String> = found
            .map(|one| format!("{} {}: {}", one.verdict.word(), one.about, one.found))
            .collect();
        assert_eq!(shown, [expected]);
        for one in check(&survey) {
            let is_fine = one.verdict == Verdict::Fine;
            assert!(is_fine || (one.cost.is_some() && one.mend.is_some()), "{one:?}");
        }
    }

    fn sysctl(name: &'static str, value: &'static str) -> impl FnOnce(&mut Survey) {
        move |survey| drop(survey.sysctls.insert(name, value.to_owned()))
    }

    fn on_disk(change: impl FnOnce(&mut Disk)) -> impl FnOnce(&mut Survey) {
        move |survey| change(survey.disk.as_mut().unwrap())
    }

    #[test]
    fn kernels_and_namespaces() {
        let root = Caller::Root;
        lacks(root, |host| host.kernel = "5.4.0".into(), "missing kernel: 5.4.0");
        lacks(
            root,
            |host| host.kernel = "5.15.0-91-generic".into(),
            "limited kernel: 5.15.0-91-generic",
        );
        lacks(
            root,
            |host| host.namespaces.retain(|name| name != "pid"),
            "missing namespaces: none of pid",
        );
        lacks(
            root,
            |host| host.namespaces.retain(|name| name != "time"),
            "limited namespaces: none of time",
        );
        let none = "user.max_user_namespaces is 0";
        lacks(
            root,
            sysctl("user/max_user_namespaces", "0"),
            &format!("limited user namespaces: {none}"),
        );
        lacks(
            USER,
            sysctl("user/max_user_namespaces", "0"),
            &format!("missing user namespaces: {none}"),
        );
        lacks(
            USER,
            sysctl("kernel/apparmor_restrict_unprivileged_userns", "1"),
            "missing user namespaces: kernel.apparmor_restrict_unprivileged_userns is 1",
        );
    }

    #[test]
    fn ids_that_nobody_has_are_given_to_a_user_by_name() {
        let mend = |login: Option<&str>| {
            let mut survey = good(USER);
            (survey.subids, survey.login) = ((0, 0), login.map(str::to_owned));
            subids(&survey).unwrap().mend.unwrap()
        };
        let range = "165536-231071";
        assert_eq!(
            mend(Some("user")),
            format!("usermod --add-subuids {range} --add-subgids {range} user")
        );
        assert_eq!(mend(None), "echo 1000:165536:65536 | tee -a /etc/subuid /etc/subgid");
    }

    #[test]
    fn ids_and_programs_of_users() {
        lacks(
            USER,
            |host| host.subids = (0, 0),
            "missing subordinate ids: 0 of users, 0 of groups",
        );
        lacks(
            USER,
            |host| host.subids = (65_536, 9),
            "limited subordinate ids: 65536 of users, 9 of groups",
        );
        lacks(
            USER,
            |host| host.programs.retain(|name| !name.starts_with("newgid")),
            "missing subordinate ids: no newgidmap",
        );
        lacks(
            USER,
            |host| host.programs.retain(|name| *name != "pasta"),
            "limited network of users: neither pasta nor slirp4netns",
        );
        lacks(
            Caller::Root,
            |host| host.programs.retain(|name| *name != "criu"),
            "limited checkpoints: no criu",
        );
    }

    #[test]
    fn disks() {
        let root = Caller::Root;
        lacks(
            root,
            on_disk(|disk| disk.magic = 0x794c_7630),
            "missing disk: /var/lib: overlayfs, 102400 MiB free",
        );
        lacks(
            root,
            on_disk(|disk| disk.magic = 0x0102_1994),
            "limited disk: /var/lib: tmpfs, 102400 MiB free",
        );
        lacks(
            root,
            on_disk(|disk| disk.free = 1 << 20),
            "missing disk: /var/lib: ext4, 1 MiB free",
        );
        lacks(
            root,
            on_disk(|disk| disk.free = 1 << 30),
            "limited disk: /var/lib: ext4, 1024 MiB free",
        );
        lacks(
            root,
            on_disk(|disk| disk.inodes = Some((3, 2000))),
            "missing disk: /var/lib: ext4, 102400 MiB free",
        );
        lacks(root, |host| host.disk = None, "missing disk: cannot be looked at");
        let without = |host: &mut Survey| {
            host.filesystems.clear();
            host.modules.retain(|name| *name != "overlay");
        };
        lacks(root, without, "missing overlayfs: the kernel has none");
    }

    #[test]
    fn control_groups() {
        lacks(Caller::Root, |host| host.cgroup = None, "missing control groups: none are mounted");
        let without =
            |host: &mut Survey| host.controllers.retain(|name| name != "cpuset" && name != "io");
        lacks(USER, without, "limited control groups: version 2 without io, cpuset");
        let elsewhere =
            "version 2; the user's services have some, and what is started from here has none";
        lacks(
            USER,
            |host| host.groups = Groups::InServices,
            &format!("limited control groups: {elsewhere}"),
        );
        lacks(
            USER,
            |host| host.groups = Groups::Nowhere,
            "limited control groups: version 2; none are delegated",
        );
        let old = |host: &mut Survey| {
            host.groups = Groups::Nowhere;
            host.cgroup = Some(Version::V1);
            host.controllers.clear();
        };
        lacks(USER, old, "limited control groups: version 1, which is root's");
    }

    #[test]
    fn what_a_user_needs_of_the_host() {
        lacks(
            USER,
            |host| host.tunnel = Tunnel::Closed,
            "limited network of users: /dev/net/tun cannot be opened",
        );
        lacks(
            USER,
            |host| host.tunnel = Tunnel::Missing,
            "limited network of users: there is no /dev/net/tun",
        );
        lacks(
            USER,
            |host| host.foreign = vec!["/srv".into()],
            "missing owners of roots: others may change /srv",
        );
    }

    #[test]
    fn networks() {
        let root = Caller::Root;
        let beside = |containers| {
            let chain = "ip filter FORWARD".to_owned();
            Forwarding::Seen(vec![Refusing { chain, containers }])
        };
        lacks(
            root,
            |host| host.forwarding = beside(Containers::Owned),
            "limited firewall: ip filter FORWARD drops what it does not know, and may not be changed by others",
        );
        lacks(
            root,
            |host| host.forwarding = beside(Containers::Respect),
            "limited firewall: ip filter FORWARD drops what it does not know (firewall = \"respect\")",
        );
        lacks(
            root,
            |host| {
                host.forwarding = beside(Containers::Pass);
                host.legacy_iptables = true;
            },
            "limited firewall: the tables of iptables-legacy are loaded, and may have rules",
        );
        lacks(
            root,
            |host| host.legacy_iptables = true,
            "limited firewall: the tables of iptables-legacy are loaded, and may have rules",
        );
        lacks(
            root,
            |host| host.forwarding = Forwarding::NoFirewall("no".into()),
            "limited firewall: no",
        );
        lacks(
            root,
            |host| host.modules.retain(|name| *name != "veth"),
            "limited network: no module for veth",
        );
        let full = |host: &mut Survey| {
            host.sysctls.insert("net/netfilter/nf_conntrack_count", "95".to_owned());
            host.sysctls.insert("net/netfilter/nf_conntrack_max", "100".to_owned());
        };
        lacks(root, full, "limited connections: 95 of 100 are followed");
    }

    #[test]
    fn the_rest() {
        let root = Caller::Root;
        lacks(root, |host| host.seccomp.clear(), "missing seccomp: the kernel has no filters");
        lacks(
            root,
            |host| host.lsms.push("apparmor".into()),
            "limited security modules: landlock, apparmor",
        );
        lacks(
            root,
            sysctl("fs/inotify/max_user_instances", "64"),
            "limited watches: 64 for each user",
        );
        lacks(root, |host| host.open_files = 1024, "limited open files: 1024 at most");
        lacks(root, |host| host.clock = 0, "limited clock: before 2025");
    }
}
