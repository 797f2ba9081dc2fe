//! Looks at the host: files that the kernel and the administrator wrote, and questions that change
//! nothing. What cannot be seen counts as not there.

use std::fs::{read_dir, read_to_string};
use std::path::{Path, PathBuf};

use cgroup::{Hierarchies, Version};
use net::names::Names;
use net::nft::{Change, Firewall, ForeignChain, Hook};
use rustix::fs::{Access, AtFlags, CWD};

use super::{
    Caller, Containers, Disk, FIRST_SUBID, Forwarding, Groups, Refusing, SUBIDS, Survey, Tunnel,
};
use crate::Paths;
use crate::exposure::has_legacy_rules;
use crate::settings::{self, HostRules};

/// Kernel parameters that decide over something, below `/proc/sys`.
const SYSCTLS: [&str; 9] = [
    "kernel/apparmor_restrict_unprivileged_userns",
    "kernel/unprivileged_userns_clone",
    "kernel/unprivileged_bpf_disabled",
    "net/ipv4/ip_forward",
    "net/netfilter/nf_conntrack_count",
    "net/netfilter/nf_conntrack_max",
    "fs/inotify/max_user_instances",
    "user/max_user_namespaces",
    "user/max_net_namespaces",
];

/// Parts of the kernel that may be modules.
const MODULES: [&str; 6] = ["overlay", "bridge", "veth", "nf_tables", "nft_masq", "nf_conntrack"];

/// Programs that something needs.
const PROGRAMS: [&str; 6] =
    ["newuidmap", "newgidmap", "pasta", "slirp4netns", "criu", "apparmor_parser"];

/// Looks at this host.
#[must_use]
pub fn survey(paths: &Paths) -> Survey {
    let caller = caller();
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let (groups, controllers) = groups(caller);
    let login = login(caller);
    let (subuid, subgid) = (text("/etc/subuid"), text("/etc/subgid"));
    let ids = |file: &str| ids(caller, login.as_deref(), file);
    Survey {
        caller,
        namespaces: names_in("/proc/self/ns"),
        sysctls: SYSCTLS
            .into_iter()
            .filter_map(|name| Some((name, line(&format!("/proc/sys/{name}"))?)))
            .collect(),
        filesystems: filesystems(&text("/proc/filesystems")),
        modules: modules(&kernel),
        cgroup: Hierarchies::version_of_host().ok().flatten(),
        groups,
        controllers,
        tunnel: tunnel(),
        foreign: foreign(paths, caller),
        subids: (ids(&subuid), ids(&subgid)),
        free_ids: free_ids(&[&subuid, &subgid]),
        programs: PROGRAMS.into_iter().filter(|name| is_installed(name)).collect(),
        lsms: words(&text("/sys/kernel/security/lsm"), ','),
        seccomp: words(&text("/proc/sys/kernel/seccomp/actions_avail"), ' '),
        forwarding: forwarding(paths, caller),
        legacy_iptables: has_legacy_rules(),
        disk: disk(paths.root()),
        clock: jiff::Timestamp::now().as_second(),
        open_files: rustix::process::getrlimit(rustix::process::Resource::Nofile)
            .maximum
            .unwrap_or(u64::MAX),
        login,
        kernel,
    }
}

fn text(path: &str) -> String {
    read_to_string(path).unwrap_or_default()
}

fn line(path: &str) -> Option<String> {
    read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn words(text: &str, between: char) -> Vec<String> {
    let words = text.trim().split(between).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

fn names_in(directory: &str) -> Vec<String> {
    let entries = read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Who it is outside of the user namespace that an ordinary user's commands enter. The root of any other one, as
/// of the container of a user's, does as root does.
fn caller() -> Caller {
    let own = rustix::process::geteuid().as_raw();
    match (own, sys::rootless::is_member()) {
        (0, false) => Caller::Root,
        (_, true) => Caller::User(outside(own, &text("/proc/self/uid_map"))),
        (user, false) => Caller::User(user),
    }
}

/// The number that one has outside, by lines of `first inside, first outside, count`.
fn outside(own: u32, map: &str) -> u32 {
    let outside = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        let mut next = || numbers.next()?.ok();
        let (inside, outside, count) = (next()?, next()?, next()?);
        let place = own.checked_sub(inside).filter(|place| *place < count)?;
        outside.checked_add(place)
    };
    map.lines().find_map(outside).unwrap_or(own)
}

fn filesystems(list: &str) -> Vec<String> {
    list.lines().filter_map(|line| line.split_whitespace().last()).map(str::to_owned).collect()
}

/// A module that is loaded has a directory, one that could be a line in the list of its kernel. A kernel
/// without a list has no modules: what it has is built in, and only file systems can be told.
fn modules(kernel: &str) -> Vec<&'static str> {
    let lists = ["modules.builtin", "modules.dep"];
    let lists: String =
        lists.iter().map(|list| text(&format!("/lib/modules/{kernel}/{list}"))).collect();
    let is_there = |name: &&'static str| {
        let names = |path: &str| module_name(path) == *name;
        Path::new("/sys/module").join(name).exists()
            || (lists.is_empty() && *name != "overlay")
            || lists.lines().any(|line| names(line.split(':').next().unwrap_or_default()))
    };
    MODULES.into_iter().filter(is_there).collect()
}

/// `overlay` of `kernel/fs/overlayfs/overlay.ko.xz`.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or_default();
    file.split(".ko").next().unwrap_or_default().replace('-', "_")
}

/// Root has all; a user those that were delegated: to where the user is, or to what the user's service manager
/// starts.
fn groups(caller: Caller) -> (Groups, Vec<String>) {
    let Ok(found) = Hierarchies::detect() else { return (Groups::Nowhere, Vec::new()) };
    let listed = |place: &Path| {
        let list = read_to_string(place.join("cgroup.controllers"));
        words(&list.unwrap_or_default(), ' ')
    };
    if found.is_delegated() {
        let legacy = found.legacy().iter().flat_map(|legacy| &legacy.controllers);
        let legacy = legacy.map(|controller| controller.name(Version::V2).to_owned());
        let unified = found.unified().map(|unified| listed(&unified.mount)).unwrap_or_default();
        return (Groups::Here, legacy.chain(unified).collect());
    }
    let Caller::User(user) = caller else { return (Groups::Nowhere, Vec::new()) };
    let services = format!("/sys/fs/cgroup/user.slice/user-{user}.slice/user@{user}.service");
    match Hierarchies::of_part(Path::new(&services)) {
        Some(_) => (Groups::InServices, listed(Path::new(&services))),
        None => (Groups::Nowhere, Vec::new()),
    }
}

/// Asked for its rights: to open it may load a module.
fn tunnel() -> Tunnel {
    let access = Access::READ_OK | Access::WRITE_OK;
    match rustix::fs::accessat(CWD, "/dev/net/tun", access, AtFlags::EACCESS) {
        Ok(()) => Tunnel::Open,
        Err(sys::Errno::NOENT | sys::Errno::NOTDIR) => Tunnel::Missing,
        Err(_) => Tunnel::Closed,
    }
}

/// Of an ordinary user's roots: root's are root's.
fn foreign(paths: &Paths, caller: Caller) -> Vec<PathBuf> {
    let Caller::User(_) = caller else { return Vec::new() };
    let mut found: Vec<PathBuf> =
        [paths.root(), paths.run()].into_iter().filter_map(sys::rootless::foreign).collect();
    found.dedup();
    found
}

/// What an ordinary user is called.
fn login(caller: Caller) -> Option<String> {
    let Caller::User(user) = caller else { return None };
    sys::users::user_name(user, text("/etc/passwd").as_bytes())
}

/// How many ids a file like `/etc/subuid` has for a user, by number or by name.
fn ids(caller: Caller, login: Option<&str>, file: &str) -> u64 {
    let Caller::User(user) = caller else { return 0 };
    ranges(file, &[Some(user.to_string().as_str()), login])
}

/// The first id of a range of [`SUBIDS`] that none of these files gives to anybody.
fn free_ids(files: &[&str]) -> u64 {
    let range = |line: &str| {
        let mut numbers = line.split(':').skip(1).map(|field| field.trim().parse::<u64>().ok());
        let (first, count) = (numbers.next()??, numbers.next()??);
        Some((first, first.checked_add(count)?))
    };
    let mut taken: Vec<_> = files.iter().flat_map(|file| file.lines()).filter_map(range).collect();
    taken.sort_unstable();
    let after = |free: u64, (first, end): (u64, u64)| {
        if first < free.saturating_add(SUBIDS) { free.max(end) } else { free }
    };
    taken.into_iter().fold(FIRST_SUBID, after)
}

fn ranges(file: &str, owners: &[Option<&str>]) -> u64 {
    let count = |line: &str| {
        let mut fields = line.split(':');
        let owner = fields.next()?;
        owners.contains(&Some(owner)).then(|| fields.nth(1)?.trim().parse::<u64>().ok())?
    };
    file.lines().filter_map(count).sum()
}

fn is_installed(name: &str) -> bool {
    // Users' paths often lack these, and programs that are called by us do not.
    let more = ["/usr/sbin", "/sbin"].map(|directory| Path::new(directory).join(name));
    sys::helper::find(Path::new(name)).is_some() || more.iter().any(|path| path.is_file())
}

fn forwarding(paths: &Paths, caller: Caller) -> Forwarding {
    if caller != Caller::Root {
        return Forwarding::NotSeen;
    }
    let names = Names::of(paths.tag());
    let chains = || {
        let refused = |error: &dyn std::error::Error| error.to_string();
        let stack = net::host::stack().map_err(|error| refused(&error))?;
        let loopback = net::host::ipv6_loopback().map_err(|error| refused(&error))?;
        let firewall = Firewall::open(&names, stack, loopback).map_err(|error| refused(&error))?;
        firewall.foreign_chains().map_err(|error| refused(&error))
    };
    // Settings that mean nothing are told of by whatever needs them.
    let rules = settings::read(paths).unwrap_or_default().firewall;
    let refusing = |chain: ForeignChain| Refusing {
        chain: chain.to_string(),
        containers: match (chain.change, rules) {
            (_, HostRules::Respect) => Containers::Respect,
            (Change::Owner, HostRules::Bypass) => Containers::Owned,
            (Change::Anyone, HostRules::Bypass) => Containers::Pass,
        },
    };
    match chains() {
        Ok(mut chains) => {
            chains.retain(|chain| chain.hook == Hook::Forward && chain.refuses());
            // Somebody has said there what becomes of containers.
            chains.retain(|chain| {
                chain.change == Change::Anyone || chain.keeps(names.bridge().as_str())
            });
            Forwarding::Seen(chains.into_iter().map(refusing).collect())
        }
        Err(why) => Forwarding::NoFirewall(why),
    }
}

fn disk(root: &Path) -> Option<Disk> {
    let path = root.ancestors().find(|path| path.exists())?;
    let kind = rustix::fs::statfs(path).ok()?;
    let room = rustix::fs::statvfs(path).ok()?;
    Some(Disk {
        path: path.to_owned(),
        magic: u64::try_from(kind.f_type).ok()?,
        free: room.f_bavail.saturating_mul(room.f_frsize),
        inodes: (room.f_files > 0).then_some((room.f_ffree, room.f_files)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_one_is_outside() {
        assert_eq!(outside(0, "         0          0 4294967295\n"), 0);
        assert_eq!(outside(0, "0 1000 1\n1 100000 65536\n"), 1000);
        assert_eq!(outside(7, "0 1000 1\n1 100000 65536\n"), 100_006);
        assert_eq!(outside(7, ""), 7);
    }

    #[test]
    fn ranges_of_a_user() {
        let file = "root:100000:1\nuser:165536:65536\n1000:300000:10\nuser:1:x\nuser:5\n";
        assert_eq!(ranges(file, &[Some("1000"), Some("user")]), 65_546);
        assert_eq!(ranges(file, &[Some("7"), None]), 0);
    }

    #[test]
    fn the_first_ids_that_are_nobodys() {
        assert_eq!(free_ids(&[]), 100_000);
        assert_eq!(free_ids(&["a:100000:65536\n", "a:100000:65536\nb:165536:65536\n"]), 231_072);
        // A gap that is large enough, and one that is not.
        assert_eq!(free_ids(&["b:300000:9\n", "a:100000:65536\nnonsense\n"]), 165_536);
        assert_eq!(free_ids(&["b:200000:9\na:100000:65536\n"]), 200_009);
        assert_eq!(free_ids(&["a:1000:10\n"]), 100_000);
    }

    #[test]
    fn names_of_modules() {
        assert_eq!(module_name("kernel/fs/overlayfs/overlay.ko.xz"), "overlay");
        assert_eq!(module_name("kernel/net/netfilter/nft-masq.ko"), "nft_masq");
    }

    #[test]
    fn kinds_of_file_systems() {
        assert_eq!(
            filesystems("nodev\tproc\n\text4\nnodev\toverlay\n"),
            ["proc", "ext4", "overlay"]
        );
    }
}
