//! What is mounted, with which attributes, and that nothing of an image can redirect it.

use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;

use crate::bundle::{Bundle, bind, mount, spec, with_mount};

/// Lines `target type options` of what the container sees.
fn mountinfo(bundle: &Bundle, spec: &serde_json::Value) -> Vec<(String, String, String)> {
    let mut spec = spec.clone();
    spec["process"]["args"] = json!(["cat", "/proc/self/mountinfo"]);
    let text = bundle.run(&spec).unwrap().good();
    let line = |line: &str| {
        let (left, right) = line.split_once(" - ").unwrap();
        let left: Vec<&str> = left.split(' ').collect();
        let kind = right.split(' ').next().unwrap();
        (left[4].to_owned(), kind.to_owned(), left[5].to_owned())
    };
    text.lines().map(line).collect()
}

#[test]
fn the_mounts_are_those_of_the_specification_and_none_of_the_host() {
    let bundle = Bundle::new();
    let seen = mountinfo(&bundle, &spec(&[]));
    let shown = |target: &str| {
        let (_, kind, options) = seen.iter().rev().find(|(t, ..)| t == target).unwrap();
        format!("{kind} {options}")
    };
    assert_eq!(shown("/proc"), "proc rw,nosuid,nodev,noexec,relatime");
    assert_eq!(shown("/dev"), "tmpfs rw,nosuid");
    assert_eq!(shown("/dev/pts"), "devpts rw,nosuid,noexec,relatime");
    assert_eq!(shown("/dev/shm"), "tmpfs rw,nosuid,nodev,noexec,relatime");
    assert_eq!(shown("/dev/mqueue"), "mqueue rw,nosuid,nodev,noexec,relatime");
    assert_eq!(shown("/sys"), "sysfs ro,nosuid,nodev,noexec,relatime");
    assert!(shown("/sys/fs/cgroup").contains(" ro,nosuid,nodev,noexec"));
    assert_eq!(shown("/proc/sys"), "proc ro,nosuid,nodev,noexec,relatime");
    assert_eq!(shown("/proc/keys"), "tmpfs ro,nosuid,noexec,relatime");
    let ours = ["/", "/proc", "/dev", "/sys"];
    let strange = seen.iter().filter(|(target, ..)| {
        !ours
            .iter()
            .any(|top| target == top || *top != "/" && target.starts_with(&format!("{top}/")))
    });
    assert_eq!(strange.count(), 0, "{seen:?}");
}

#[test]
fn dev_has_working_nodes_and_links() {
    let bundle = Bundle::new();
    assert_eq!(
        bundle.sh("cd /dev; stat -c '%n %a %F %t:%T' null zero full random urandom tty"),
        "null 666 character special file 1:3\nzero 666 character special file 1:5\n\
         full 666 character special file 1:7\nrandom 666 character special file 1:8\n\
         urandom 666 character special file 1:9\ntty 666 character special file 5:0\n"
    );
    assert_eq!(
        bundle.sh("cd /dev; for l in fd stdin stdout stderr ptmx core; do readlink $l; done"),
        "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\n/proc/kcore\n"
    );
    assert_eq!(
        bundle.sh("stat -c '%a' /dev/pts/ptmx; echo x > /dev/null; echo y > /dev/stdout"),
        "666\ny\n"
    );
}

#[test]
fn devices_are_made_where_they_are_asked_for() {
    let bundle = Bundle::new();
    let mut spec =
        spec(&["stat", "-c", "%n %a %u:%g %t:%T", "/dev/net/tun", "/opt/fuse", "/dev/null"]);
    spec["linux"]["devices"] = json!([
        { "path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200, "fileMode": 0o660, "uid": 3, "gid": 4 },
        { "path": "/opt/fuse", "type": "c", "major": 10, "minor": 229 },
        { "path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600 },
    ]);
    assert_eq!(
        bundle.run(&spec).unwrap().good(),
        "/dev/net/tun 660 3:4 a:c8\n/opt/fuse 666 0:0 a:e5\n/dev/null 600 0:0 1:3\n"
    );
}

#[test]
fn binds_carry_their_attributes_and_make_their_targets() {
    let bundle = Bundle::new();
    let outside = bundle.outside();
    std::fs::write(outside.join("file"), "content").unwrap();
    let mut spec =
        spec(&["sh", "-c", "cat /new/dir/file /etc/made; touch /new/dir/x 2>&1; touch /rw/x"]);
    spec = with_mount(spec, bind(&outside, "/new/dir", "rbind,rprivate,ro,nosuid"));
    spec = with_mount(spec, bind(&outside.join("file"), "/etc/made", "bind,ro"));
    spec = with_mount(spec, bind(&outside, "/rw", "rbind,rprivate"));
    let seen = mountinfo(&bundle, &spec);
    let options = |target: &str| seen.iter().find(|(t, ..)| t == target).unwrap().2.clone();
    assert!(options("/new/dir").starts_with("ro,nosuid"), "{}", options("/new/dir"));
    assert!(options("/rw").starts_with("rw"), "{}", options("/rw"));
    assert_eq!(
        bundle.run(&spec).unwrap().good(),
        "contentcontenttouch: /new/dir/x: Read-only file system\n"
    );
    assert!(outside.join("x").exists());
}

#[test]
fn recursively_read_only_reaches_the_mounts_below() {
    let bundle = Bundle::new();
    let outside = bundle.outside();
    std::fs::create_dir(outside.join("below")).unwrap();
    // A tmpfs below the source, in a mount namespace of this thread alone.
    let run = move || {
        sys::process::unshare(sys::process::Namespaces::MOUNT).unwrap();
        sys::mount::set_propagation_of_all(sys::mount::Propagation::Private).unwrap();
        let tmpfs =
            sys::mount::detached(c"tmpfs", [], sys::mount::MountAttrFlags::empty()).unwrap();
        sys::mount::attach(tmpfs, std::fs::File::open(outside.join("below")).unwrap()).unwrap();
        let probe = "touch /t/below/x 2>/dev/null && echo writable || echo refused";
        let seen = ["rbind,ro", "rbind,rro", "bind,ro"].map(|options| {
            let spec = with_mount(spec(&["sh", "-c", probe]), bind(&outside, "/t", options));
            bundle.run(&spec).unwrap().good()
        });
        (seen, bundle)
    };
    // The directory can be removed once the thread, and so its mount, is gone.
    let (seen, _bundle) = std::thread::spawn(run).join().unwrap();
    assert_eq!(seen, ["writable\n", "refused\n", "refused\n"]);
}

#[test]
fn a_read_only_root_still_gets_its_mount_points() {
    let bundle = Bundle::new();
    let mut spec = spec(&["sh", "-c", "touch /x 2>&1; touch /data/x && echo ok"]);
    spec["root"]["readonly"] = json!(true);
    spec = with_mount(spec, mount("/data", "tmpfs", "size=1m"));
    assert_eq!(bundle.run(&spec).unwrap().good(), "touch: /x: Read-only file system\nok\n");
    assert!(!bundle.path("x").exists());
}

#[test]
fn a_tmpfs_can_start_with_what_it_covers() {
    let bundle = Bundle::new();
    bundle.write("var/lib/deep/file", "kept");
    symlink("deep/file", bundle.path("var/lib/link")).unwrap();
    let spec = with_mount(
        spec(&["sh", "-c", "cat /var/lib/link; echo new > /var/lib/deep/file"]),
        mount("/var/lib", "tmpfs", "tmpcopyup,mode=755"),
    );
    assert_eq!(bundle.run(&spec).unwrap().good(), "kept");
    assert_eq!(std::fs::read_to_string(bundle.path("var/lib/deep/file")).unwrap(), "kept");
}

#[test]
fn a_bad_option_is_named_with_the_kernels_words() {
    let bundle = Bundle::new();
    let spec = with_mount(spec(&["true"]), mount("/data", "tmpfs", "size=nonsense"));
    let error = bundle.run(&spec).unwrap_err().to_string();
    assert!(
        error.starts_with("init: mount tmpfs on /data: invalid argument (tmpfs: Bad value"),
        "{error}"
    );
    let spec = with_mount(crate::bundle::spec(&["true"]), mount("/data", "nosuchfs", "ro"));
    let error = bundle.run(&spec).unwrap_err().to_string();
    assert_eq!(error, "init: mount nosuchfs on /data: no such device");
}

/// What an image might have in place of our directories (CVE-2019-19921, CVE-2026-41579).
#[test]
fn symlinks_in_place_of_our_directories_never_touch_the_host() {
    for name in ["dev", "proc", "sys"] {
        let bundle = Bundle::new();
        let canary = bundle.outside();
        std::fs::remove_dir(bundle.path(name)).unwrap();
        symlink(&canary, bundle.path(name)).unwrap();
        let error = bundle.run(&spec(&["true"])).unwrap_err().to_string();
        assert!(error.contains(&format!("on /{name}: ")), "{error}");
        assert!(error.contains("a symbolic link of the image is in the way"), "{error}");
        assert_eq!(std::fs::read_dir(&canary).unwrap().count(), 0);
    }
}

/// Inside of the root the same would hide a directory of the image, and leave `/proc` to the image.
#[test]
fn symlinks_to_other_directories_of_the_image_are_refused_as_well() {
    for name in ["dev", "proc", "sys"] {
        let bundle = Bundle::new();
        std::fs::remove_dir(bundle.path(name)).unwrap();
        symlink("/tmp", bundle.path(name)).unwrap();
        let error = bundle.run(&spec(&["true"])).unwrap_err().to_string();
        assert!(error.contains("a symbolic link of the image is in the way"), "{error}");
    }
}

#[test]
fn a_symlink_cannot_bring_a_mount_over_proc() {
    for (name, target) in [("innocent", "/proc"), ("procession", "/proc"), ("proc.d", "/proc/sys")]
    {
        let bundle = Bundle::new();
        symlink(target, bundle.path(name)).unwrap();
        let place = format!("/{name}");
        let spec = with_mount(spec(&["true"]), mount(&place, "tmpfs", "size=1m"));
        let error = bundle.run(&spec).unwrap_err().to_string();
        assert!(error.contains(&format!("mount tmpfs on {place}")), "{error}");
    }
}

#[test]
fn symlinks_of_an_image_stay_inside_and_work() {
    let bundle = Bundle::new();
    let outside = bundle.outside();
    std::fs::write(outside.join("resolv.conf"), "nameserver").unwrap();
    symlink("../run/resolve/stub", bundle.path("etc/resolv.conf")).unwrap();
    std::fs::create_dir_all(bundle.path("var")).unwrap();
    symlink("/run", bundle.path("var/run")).unwrap();
    let mut spec = spec(&["cat", "/etc/resolv.conf", "/run/deep/file"]);
    std::fs::write(outside.join("file"), "file").unwrap();
    spec = with_mount(spec, bind(&outside.join("resolv.conf"), "/etc/resolv.conf", "rbind"));
    spec = with_mount(spec, bind(&outside, "/var/run/deep", "rbind"));
    assert_eq!(bundle.run(&spec).unwrap().good(), "nameserverfile");
    assert!(!Path::new("/run/resolve").exists());
}

/// On a host whose mounts are shared, as systemd makes them all, and that nobody else changes.
#[test]
fn mounts_of_the_host_and_the_container_do_not_reach_each_other() {
    use sys::mount::Propagation;
    let bundle = Bundle::new();
    let mut spec =
        spec(&["sh", "-c", "mount -t tmpfs none /tmp && grep -c ' /tmp ' /proc/self/mountinfo"]);
    let admin = json!(["CAP_SYS_ADMIN"]);
    spec["process"]["capabilities"] =
        json!({ "bounding": admin, "effective": admin, "permitted": admin });
    let host = move || {
        sys::process::unshare(sys::process::Namespaces::MOUNT).unwrap();
        sys::mount::set_propagation_of_all(Propagation::Private).unwrap();
        sys::mount::set_propagation_of_all(Propagation::Shared).unwrap();
        let mounts = || std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let before = mounts();
        assert_eq!(bundle.run(&spec).unwrap().good(), "1\n");
        assert_eq!(mounts(), before);
        bundle
    };
    drop(std::thread::spawn(host).join().unwrap());
}

/// On a host whose mounts are shared, as systemd makes them all.
#[test]
fn propagation_goes_as_far_as_it_is_asked_to() {
    use sys::mount::{MountAttrFlags, Propagation};
    let bundle = Bundle::new();
    let outside = bundle.outside();
    let below = outside.join("below");
    std::fs::create_dir(&below).unwrap();
    let host = move || {
        sys::process::unshare(sys::process::Namespaces::MOUNT).unwrap();
        sys::mount::set_propagation_of_all(Propagation::Private).unwrap();
        let tmpfs = || sys::mount::detached(c"tmpfs", [], MountAttrFlags::empty()).unwrap();
        let directory = |path: &Path| std::fs::File::open(path).unwrap();
        sys::mount::attach(tmpfs(), directory(&outside)).unwrap();
        std::fs::create_dir(&below).unwrap();
        sys::mount::set_propagation_of_all(Propagation::Shared).unwrap();
        let mounts = || std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let before = mounts();
        let mut wish = spec(&["sh", "-c", "mount -t tmpfs none /v/below && cat"]);
        let admin = json!(["CAP_SYS_ADMIN"]);
        wish["process"]["capabilities"] =
            json!({ "bounding": admin, "effective": admin, "permitted": admin });
        let seen = ["rbind", "rbind,rprivate", "rbind,rslave", "rbind,rshared"].map(|how| {
            let wish = with_mount(wish.clone(), bind(&outside, "/v", how));
            bundle.run(&wish).unwrap().good();
            let reached = mounts().lines().count() - before.lines().count();
            if reached > 0 {
                rustix::mount::unmount(&below, rustix::mount::UnmountFlags::DETACH).unwrap();
            }
            assert_eq!(mounts(), before);
            reached
        });
        (seen, bundle)
    };
    let (seen, _bundle) = std::thread::spawn(host).join().unwrap();
    assert_eq!(seen, [0, 0, 0, 1]);
}
