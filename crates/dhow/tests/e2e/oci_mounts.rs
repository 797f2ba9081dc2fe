//! What the OCI's specification says of mounts and of the root, and `dhow oci` does.

use std::fs;
use std::os::unix::fs::{chown, symlink};

use serde_json::{Value, json};
use sys::mount::{Attributes, Depth, MountAttrFlags, Propagation};

use crate::oci::Bundle;
use crate::oci_spec::{said, with_users};

/// One more mount.
fn mount(bundle: &Bundle, mount: Value) {
    bundle.change(|spec| spec["mounts"].as_array_mut().unwrap().push(mount));
}

/// A directory of the host with a file of user 5 and group 6.
fn data(bundle: &Bundle) -> std::path::PathBuf {
    let data = bundle.path().join("data");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("file"), "x").unwrap();
    chown(data.join("file"), Some(5), Some(6)).unwrap();
    data
}

/// The options of what is mounted on a path, as the container sees them.
fn options(bundle: &Bundle, path: &str) -> String {
    let table = said(bundle, &["cat", "/proc/self/mountinfo"]);
    let mut lines = table.lines().filter(|line| line.split(' ').nth(4) == Some(path));
    let line = lines.next_back().unwrap_or_else(|| panic!("nothing on {path}: {table}"));
    line.split(' ').skip(5).collect::<Vec<_>>().join(" ")
}

const OWNERS: [&str; 3] =
    ["sh", "-c", "ls -ln /data/file | while read m l u g r; do echo $u $g; done"];

/// config.md, "Mounts": `idmap`, `ridmap`, `uidMappings`, `gidMappings`.
#[test]
fn idmapped_mounts() {
    let bundle = Bundle::new();
    let bind = |options: &[&str], more: Value| {
        let mut one = json!({ "destination": "/data", "type": "bind", "source": data(&bundle), "options": options });
        one.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        bundle.change(|spec| {
            let mounts = spec["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| mount["destination"] != "/data");
            mounts.push(one);
        });
    };
    let range = |inside: u32, outside: u32| json!([{ "containerID": inside, "hostID": outside, "size": 1 }]);
    let maps = json!({ "uidMappings": range(5, 1005), "gidMappings": range(6, 2006) });
    bind(&["bind"], json!({}));
    assert_eq!(said(&bundle, &OWNERS), "5 6");
    for words in [&["rbind", "idmap"][..], &["rbind", "ridmap"], &["bind"]] {
        bind(words, maps.clone());
        assert_eq!(said(&bundle, &OWNERS), "1005 2006", "{words:?}");
    }
    bind(&["rbind", "idmap"], json!({}));
    assert!(
        bundle.fails(&["run", "one"]).contains("idmap without mappings needs a user namespace")
    );
    bind(&["rbind", "idmap"], json!({ "uidMappings": range(5, 1) }));
    assert!(bundle.fails(&["run", "one"]).contains("gidMappings beside uidMappings is missing"));
    bundle.change(|spec| {
        spec["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != "/data")
    });
    mount(&bundle, json!({ "destination": "/data", "type": "tmpfs", "options": ["idmap"] }));
    assert!(bundle.fails(&["run", "one"]).contains("is not supported"));
    bundle.nothing_is_left();
}

/// The same with the container's own user namespace: the files have the container's ids.
#[test]
fn idmapped_mounts_of_the_containers_users() {
    let bundle = with_users();
    let data = data(&bundle);
    let bind = |words: &[&str]| json!({ "destination": "/data", "type": "bind", "source": data, "options": words });
    mount(&bundle, bind(&["rbind"]));
    assert_eq!(said(&bundle, &OWNERS), "65534 65534");
    mount(&bundle, bind(&["rbind", "ridmap"]));
    assert_eq!(said(&bundle, &OWNERS), "5 6");
    bundle.nothing_is_left();
}

/// config.md, "Mounts", "Linux mount options": those with an `r` in front, and what takes them back.
#[test]
fn recursive_attributes() {
    let bundle = Bundle::new();
    let data = data(&bundle);
    let bind = |to: &str, words: &[&str]| {
        mount(
            &bundle,
            json!({ "destination": to, "type": "bind", "source": data, "options": words }),
        );
    };
    bind("/a", &["rbind", "rro", "rnosuid", "rnodev", "rnoexec", "rnoatime", "rnosymfollow"]);
    bind("/b", &["rbind", "rro", "rnoexec", "rrw", "rexec", "rnodiratime", "rstrictatime"]);
    bundle.change(|spec| spec["root"]["readonly"] = json!(false));
    let all = options(&bundle, "/a");
    assert!(all.starts_with("ro,nosuid,nodev,noexec,noatime,nosymfollow "), "{all}");
    let all = options(&bundle, "/b");
    assert!(all.starts_with("rw,nodiratime "), "{all}");
    bundle.nothing_is_left();
}

/// A directory of the host's that is mounted on itself with these options, until it is dropped.
struct Restricted(std::path::PathBuf);

impl Restricted {
    fn new(place: std::path::PathBuf, set: MountAttrFlags) -> Self {
        let tree = sys::mount::clone_tree(&place, Depth::Single).unwrap();
        // Whatever the host has where the tests are.
        let all = MountAttrFlags::MOUNT_ATTR_RDONLY
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC
            | MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW
            | MountAttrFlags::MOUNT_ATTR_NODIRATIME;
        let clear = (all - set) | MountAttrFlags::MOUNT_ATTR__ATIME;
        let attributes = Attributes { set, clear, propagation: Some(Propagation::Private) };
        sys::mount::set_attr(&tree, Depth::Single, &attributes).unwrap();
        let target = fs::File::open(&place).unwrap();
        sys::mount::attach(&tree, &target).unwrap();
        Self(place)
    }
}

impl Drop for Restricted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

/// Who names an attribute of a bind names them all, as with runc and crun; what a source has stays where nobody says
/// anything, and where the kernel would not let the root of a user namespace take it away.
#[test]
fn attributes_of_a_bind_and_of_its_source() {
    let set = MountAttrFlags::MOUNT_ATTR_NOEXEC | MountAttrFlags::MOUNT_ATTR_NOATIME;
    let cases = [
        (&["bind"][..], "rw,noexec,noatime ", "rw,noexec,noatime "),
        (&["bind", "ro"], "ro,noatime ", "ro,noexec,noatime "),
        (&["bind", "nodev", "relatime"], "rw,nodev,relatime ", "refused"),
        (&["bind", "exec"], "rw,noatime ", "refused"),
        (&["bind", "nodev", "atime"], "rw,nodev,noatime ", "rw,nodev,noexec,noatime "),
    ];
    for (bundle, users) in [(Bundle::new(), false), (with_users(), true)] {
        let source = Restricted::new(data(&bundle), set);
        for (words, hosts, nested) in cases {
            bundle.change(|spec| {
                let mounts = spec["mounts"].as_array_mut().unwrap();
                mounts.retain(|mount| mount["destination"] != "/data");
                mounts
                    .push(json!({ "destination": "/data", "source": source.0, "options": words }));
            });
            let expected = if users { nested } else { hosts };
            if expected == "refused" {
                let told = bundle.fails(&["run", "one"]);
                assert!(told.contains("in a user namespace it stays"), "{words:?}: {told}");
            } else {
                let all = options(&bundle, "/data");
                assert!(all.starts_with(expected), "{words:?}: {all}");
            }
        }
        drop(source);
        bundle.nothing_is_left();
    }
}

/// What is read-only is its file system, which a mount that may be written to does not change: nothing of the mount is
/// lifted.
#[test]
fn a_file_system_that_is_read_only_is_no_restriction_of_a_mount() {
    let bundle = with_users();
    let place = bundle.path().join("still");
    fs::create_dir(&place).unwrap();
    let flags = rustix::mount::MountFlags::RDONLY;
    rustix::mount::mount("still", &place, "tmpfs", flags, c"mode=755").unwrap();
    let mounted = Restricted(place.clone());
    let bind = json!({ "destination": "/data", "source": place, "options": ["bind", "rw"] });
    mount(&bundle, bind);
    let all = options(&bundle, "/data");
    assert!(all.starts_with("ro,"), "{all}");
    let clear = MountAttrFlags::MOUNT_ATTR_RDONLY;
    let attributes = Attributes { set: MountAttrFlags::empty(), clear, propagation: None };
    sys::mount::set_attr(fs::File::open(&place).unwrap(), Depth::Single, &attributes).unwrap();
    let all = options(&bundle, "/data");
    assert!(all.starts_with("rw,") && all.contains(" tmpfs still ro"), "{all}");
    drop(mounted);
    bundle.nothing_is_left();
}

/// config.md, "Mounts": `remount`.
#[test]
fn remount() {
    let bundle = Bundle::new();
    bundle.change(|spec| spec["root"]["readonly"] = json!(false));
    mount(
        &bundle,
        json!({ "destination": "/t", "type": "tmpfs", "source": "t", "options": ["size=64k", "noexec"] }),
    );
    mount(
        &bundle,
        json!({ "destination": "/t", "type": "tmpfs", "source": "t", "options": ["remount", "ro", "exec", "size=128k"] }),
    );
    let all = options(&bundle, "/t");
    assert!(all.starts_with("ro,relatime ") && all.contains("size=128k"), "{all}");
    mount(
        &bundle,
        json!({ "destination": "/bin", "type": "bind", "options": ["remount", "bind", "ro"] }),
    );
    assert!(bundle.fails(&["run", "one"]).contains("mount again what is mounted on /bin"));
    bundle.nothing_is_left();
}

/// config-linux.md, "Masked Paths" and "Readonly Paths", through links of the kernel's, and not the image's.
#[test]
fn paths_behind_links() {
    let bundle = Bundle::new();
    bundle.change(|spec| {
        spec["linux"]["maskedPaths"] = json!(["/sys/class/net/lo", "/sys/nosuch"]);
    });
    assert_eq!(
        said(&bundle, &["ls", "/sys/class/net/lo/"]),
        "",
        "what the link leads to is covered"
    );
    // Nothing stays mounted there: it is not said to be masked.
    bundle.change(|spec| spec["linux"]["maskedPaths"] = json!(["/proc/net/dev"]));
    assert!(bundle.fails(&["run", "one"]).contains("a symbolic link"));
    let rootfs = bundle.path().join("rootfs");
    fs::create_dir(rootfs.join("elsewhere")).unwrap();
    fs::write(rootfs.join("elsewhere/firmware"), "").unwrap();
    fs::remove_dir(rootfs.join("sys")).unwrap();
    symlink("elsewhere", rootfs.join("sys")).unwrap();
    bundle.change(|spec| {
        let mounts = spec["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/sys"));
        spec["linux"]["maskedPaths"] = json!(["/sys/firmware"]);
    });
    let told = bundle.fails(&["run", "one"]);
    assert!(told.contains("a symbolic link of the image is in the way"), "{told}");
    bundle.nothing_is_left();
}

/// config-linux.md, "Rootfs Mount Propagation".
#[test]
fn rootfs_mount_propagation() {
    let bundle = Bundle::new();
    for (word, tells) in
        [("shared", "shared:"), ("rslave", " - "), ("private", " - "), ("unbindable", "unbindable")]
    {
        bundle.change(|spec| spec["linux"]["rootfsPropagation"] = json!(word));
        let all = options(&bundle, "/");
        assert!(all.contains(tells), "{word}: {all}");
        assert_eq!(all.contains("shared:"), word == "shared", "{word}: {all}");
    }
    bundle.nothing_is_left();
}

/// What runc's `--no-pivot` is for; with hooks the root is moved from where they look for it.
#[test]
fn a_root_without_pivot_root() {
    let bundle = Bundle::new();
    for hooks in [json!({}), json!({ "createRuntime": [{ "path": "/bin/true" }] })] {
        bundle.change(|spec| spec["hooks"] = hooks);
        bundle.runs(&["sleep", "1000"]);
        bundle.create("one", &["--no-pivot"]);
        bundle.ok(&["start", "one"]);
        let told = bundle.ok(&["exec", "one", "ls", "/"]);
        assert!(told.contains("bin") && !told.contains("home"), "{told}");
        let pid = bundle.state("one")["pid"].as_i64().unwrap();
        let left = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
        assert!(left.lines().all(|line| !line.contains(" /sys/kernel")), "{left}");
        bundle.ok(&["delete", "-f", "one"]);
    }
    bundle.nothing_is_left();
}

/// config.md, "Mounts": they are made in their listed order, so a source in the root is what is there by then. A place
/// may be named by where it is on the host.
#[test]
fn a_bind_shows_what_earlier_mounts_have_brought_into_the_root() {
    let range = json!([{ "containerID": 5, "hostID": 1005, "size": 9 }]);
    for bundle in [Bundle::new(), with_users()] {
        let root = bundle.path().join("rootfs");
        fs::create_dir_all(root.join("a")).unwrap();
        let bind = |source: &std::path::Path, target: &str| json!({ "source": source, "destination": target, "type": "bind", "options": ["rbind"] });
        mount(&bundle, bind(&data(&bundle), "/a"));
        mount(&bundle, bind(&root.join("a"), root.join("b").to_str().unwrap()));
        mount(&bundle, bind(&root.join("b/file"), "/c"));
        let mut shown = bind(&root.join("a"), "/data");
        shown["options"] = json!(["bind", "ro"]);
        mount(&bundle, shown);
        assert_eq!(said(&bundle, &["cat", "/b/file", "/c", "/data/file"]), "xxx");
        assert!(options(&bundle, "/data").starts_with("ro,"));
        assert!(options(&bundle, "/b").starts_with("rw,"));
        bundle.nothing_is_left();
    }
    let bundle = Bundle::new();
    let root = bundle.path().join("rootfs");
    fs::create_dir_all(root.join("a")).unwrap();
    mount(
        &bundle,
        json!({ "source": data(&bundle), "destination": "/a", "type": "bind", "options": ["bind"] }),
    );
    mount(
        &bundle,
        json!({ "source": root.join("a"), "destination": "/data", "type": "bind", "options": ["bind"],
            "uidMappings": range, "gidMappings": range }),
    );
    assert_eq!(said(&bundle, &OWNERS), "1005 1006");
    // A link of an image is none of what was mounted.
    symlink("/proc/self", data(&bundle).join("link")).unwrap();
    bundle.change(|spec| {
        let mounts = spec["mounts"].as_array_mut().unwrap();
        mounts.pop();
        mounts.push(json!({ "source": root.join("a/link/net"), "destination": "/data", "type": "bind", "options": ["bind"] }));
    });
    let refused = bundle.fails(&["run", "one"]);
    assert!(refused.contains("mounting /a/link/net of the root on /data"), "{refused}");
    assert!(refused.contains("too many levels of symbolic links"), "{refused}");
    bundle.nothing_is_left();
}

/// crun's `copy-symlink`: a source that is a link is that link, and every other one a bind.
#[test]
fn a_link_is_copied_where_it_is_asked_for() {
    let bundle = Bundle::new();
    let link = bundle.path().join("link");
    symlink("there/or/not", &link).unwrap();
    let bind = |source: &std::path::Path, target: &str| json!({ "source": source, "destination": target, "type": "bind", "options": ["rbind", "copy-symlink"] });
    mount(&bundle, bind(&link, "/a/sym/link"));
    mount(&bundle, bind(&data(&bundle), "/data"));
    for _ in 0..2 {
        let told = said(&bundle, &["busybox", "readlink", "/a/sym/link"]);
        assert_eq!(told, "there/or/not");
    }
    assert_eq!(said(&bundle, &["cat", "/data/file"]), "x");
    // Another one is not replaced.
    fs::remove_file(&link).unwrap();
    symlink("elsewhere", &link).unwrap();
    assert!(bundle.fails(&["run", "one"]).contains("make link /a/sym/link to elsewhere"));
    mount(&bundle, json!({ "destination": "/b", "type": "tmpfs", "options": ["copy-symlink"] }));
    assert!(bundle.fails(&["run", "one"]).contains("copy-symlink"));
    bundle.nothing_is_left();
}
