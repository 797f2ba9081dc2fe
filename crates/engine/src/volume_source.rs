//! Where a volume's files are: in its directory, in what its options name, or in a part of either.
//!
//! A volume with options is a directory of the host or a file system (`type`, `device`, `o`). dhow
//! mounts it nowhere on the host: it goes as a detached mount to the container. Containers that run at
//! once share it, since the later one is given what the earlier has; with the last of them a memory
//! file system is gone, as in Docker. A part is found by the kernel below the volume's root, and held
//! by descriptor from then on: whoever writes in the volume can lead it nowhere else.

use std::collections::BTreeMap;
use std::ffi::{CString, NulError};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use model::container::UserNamespace;
use rustix::fs::{AtFlags, StatxAttributes, StatxFlags};
use sys::Errno;
use sys::mount::{Attributes, Depth, FsError, MountAttrFlags, Param};
use sys::root::{Final, Root};

use crate::error::words;
use crate::prepare::store_error;
use crate::{Engine, EngineError};

/// The files of a volume.
#[derive(Debug)]
pub(crate) enum VolumeFiles {
    /// In a directory of the host.
    Directory(PathBuf),
    /// A mount that is attached nowhere yet.
    Tree(OwnedFd),
    /// The same, of memory that no container that runs has, so that it ends with the mount.
    Memory(OwnedFd),
}

/// What the options of a volume ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Device {
    /// A directory of the host.
    Bind { path: PathBuf, depth: Depth, is_read_only: bool },
    /// A file system.
    FileSystem { kind: String, device: String, options: Vec<String>, is_read_only: bool },
}

/// Words of `o` that say how a file system is mounted, not what it is: an attribute, and whether they set it.
const MOUNT_WORDS: [(&str, MountAttrFlags, bool); 14] = [
    ("nosuid", MountAttrFlags::MOUNT_ATTR_NOSUID, true),
    ("suid", MountAttrFlags::MOUNT_ATTR_NOSUID, false),
    ("nodev", MountAttrFlags::MOUNT_ATTR_NODEV, true),
    ("dev", MountAttrFlags::MOUNT_ATTR_NODEV, false),
    ("noexec", MountAttrFlags::MOUNT_ATTR_NOEXEC, true),
    ("exec", MountAttrFlags::MOUNT_ATTR_NOEXEC, false),
    ("noatime", MountAttrFlags::MOUNT_ATTR_NOATIME, true),
    ("atime", MountAttrFlags::MOUNT_ATTR_NOATIME, false),
    ("nodiratime", MountAttrFlags::MOUNT_ATTR_NODIRATIME, true),
    ("diratime", MountAttrFlags::MOUNT_ATTR_NODIRATIME, false),
    ("strictatime", MountAttrFlags::MOUNT_ATTR_STRICTATIME, true),
    ("nostrictatime", MountAttrFlags::MOUNT_ATTR_STRICTATIME, false),
    // What a mount is that says nothing.
    ("relatime", MountAttrFlags::MOUNT_ATTR_RELATIME, true),
    ("norelatime", MountAttrFlags::MOUNT_ATTR_RELATIME, false),
];

/// Refuses options that `local` does not have, in Docker's words.
///
/// # Errors
/// One is unknown, or lacks another.
pub(crate) fn check_options(
    name: &str,
    options: &BTreeMap<String, String>,
) -> Result<(), EngineError> {
    let refuse = |what: String| Err(EngineError::Invalid(format!("create {name}: {what}")));
    for key in options.keys() {
        match key.as_str() {
            "type" | "o" | "device" => {}
            "size" => return refuse("quota size requested but no quota support".to_owned()),
            _ => return refuse(format!("invalid option: {key:?}")),
        }
    }
    for (key, needed) in [("type", "device"), ("o", "device"), ("device", "type"), ("o", "type")] {
        if options.contains_key(key) && !options.contains_key(needed) {
            return refuse(format!("missing required option: {needed:?}"));
        }
    }
    Ok(())
}

impl Device {
    fn of(options: &BTreeMap<String, String>) -> Option<Self> {
        let (kind, device) = (options.get("type")?, options.get("device")?);
        let words = options.get("o").map(String::as_str).unwrap_or_default();
        let words = || words.split(',').filter(|word| !word.is_empty());
        let is_read_only = words().any(|word| word == "ro");
        let depth = match words().find(|word| matches!(*word, "bind" | "rbind")) {
            Some("rbind") => Some(Depth::Recursive),
            Some(_) => Some(Depth::Single),
            None => (kind == "bind").then_some(Depth::Single),
        };
        if let Some(depth) = depth {
            return Some(Self::Bind { path: device.into(), depth, is_read_only });
        }
        let options = words().filter(|word| !matches!(*word, "ro" | "rw" | "defaults"));
        Some(Self::FileSystem {
            kind: kind.clone(),
            device: device.clone(),
            options: options.map(str::to_owned).collect(),
            is_read_only,
        })
    }
}

impl Engine {
    /// The files of a volume, or a part of them.
    ///
    /// # Errors
    /// What its options name cannot be mounted, or there is no such part.
    pub(crate) fn volume_files(
        &self,
        name: &str,
        part: Option<&Path>,
    ) -> Result<VolumeFiles, EngineError> {
        let data = self.paths().volume_data(name);
        let row = self.store().volumes().get(name)?;
        let device = row.and_then(|row| Device::of(&row.options));
        match (device, part) {
            (None, None) => Ok(VolumeFiles::Directory(data)),
            (None, Some(part)) => part_of(&data, part, Access::AsMounted),
            (Some(Device::Bind { path, is_read_only, .. }), Some(part)) => {
                part_of(&path, part, Access::of(is_read_only))
            }
            (Some(Device::Bind { path, depth, is_read_only }), None) => {
                let tree = sys::mount::clone_tree(path.as_path(), depth).map_err(|errno| {
                    failed(&data, &path.to_string_lossy(), "flags: 0x1000", &words(errno))
                })?;
                finish(tree, Access::of(is_read_only)).map(VolumeFiles::Tree)
            }
            (Some(Device::FileSystem { .. }), Some(part)) => Err(EngineError::Invalid(format!(
                "volume {name} is a file system of its own: {} of it cannot be mounted alone",
                part.display()
            ))),
            (Some(Device::FileSystem { kind, device, options, is_read_only }), None) => {
                let memory = Memory::of(&kind);
                if let Some(memory) = memory
                    && let Some(tree) = self.shared_volume(name, memory)?
                {
                    return Ok(VolumeFiles::Tree(tree));
                }
                let options = with_addresses(&kind, options).map_err(|reason| {
                    EngineError::Invalid(format!(
                        "error while mounting volume '{}': error resolving passed in network volume address: {reason}",
                        data.display()
                    ))
                })?;
                let tree = file_system(&kind, &device, &options).map_err(|reason| {
                    failed(&data, &device, &format!("data: {}", told(&options)), &reason)
                })?;
                let tree = finish(tree, Access::of(is_read_only))?;
                Ok(match memory {
                    Some(_) => VolumeFiles::Memory(tree),
                    None => VolumeFiles::Tree(tree),
                })
            }
        }
    }

    /// Whether a volume is what its options name, and not a directory of its own.
    pub(crate) fn is_mounted_volume(&self, name: &str) -> Result<bool, EngineError> {
        let row = self.store().volumes().get(name)?;
        Ok(row.is_some_and(|row| Device::of(&row.options).is_some()))
    }

    /// Memory as a container that runs has it. Other file systems the kernel shares itself. It is
    /// taken from where that container may have put something else, so only a whole mount of the kind
    /// counts.
    fn shared_volume(&self, name: &str, memory: Memory) -> Result<Option<OwnedFd>, EngineError> {
        for id in self.store().volumes().users(name)? {
            let Ok(container) = self.reread(&id) else { continue };
            let is_it = |mount: &&crate::record::NamedMount| mount.volume.as_deref() == Some(name);
            let Some(mount) = container.record.mounts.iter().find(is_it) else { continue };
            // It may end at any moment.
            let Ok(init) = self.init_of(&container) else { continue };
            let Ok(tree) = init.clone_tree(&mount.mount.target) else { continue };
            if !memory.is_root(&tree) {
                continue;
            }
            let is_plain = container.record.spec.security.userns == UserNamespace::Host;
            if !is_plain || mount.mount.access != model::mount::Access::ReadWrite {
                return Err(EngineError::Invalid(format!(
                    "volume {name} is memory that container {} has with ids of its own or read-only: it cannot \
                     be shared while that runs",
                    container.name()
                )));
            }
            return Ok(Some(tree));
        }
        Ok(None)
    }
}

/// File systems that are gone with their last mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Memory {
    Tmpfs,
    Ramfs,
}

impl Memory {
    fn of(kind: &str) -> Option<Self> {
        match kind {
            "tmpfs" => Some(Self::Tmpfs),
            "ramfs" => Some(Self::Ramfs),
            _ => None,
        }
    }

    /// Whether this is what a file system of the kind shows at its mount.
    fn is_root(self, tree: &OwnedFd) -> bool {
        // Numbers of linux/magic.h.
        let wanted = match self {
            Self::Tmpfs => 0x0102_1994,
            Self::Ramfs => 0x8584_58f6,
        };
        let kind = rustix::fs::fstatfs(tree).map(|stat| stat.f_type);
        // The kernel's numbers have 32 bits; where `f_type` is signed, the upper ones are its sign.
        let kind = kind.map(|kind| u64::from_ne_bytes(kind.to_ne_bytes()) & 0xffff_ffff);
        let stat = rustix::fs::statx(tree, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS);
        let is_root = stat.map(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT));
        kind == Ok(wanted) && is_root == Ok(true)
    }
}

/// Whether a tree can be written as far as the volume goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    AsMounted,
    ReadOnly,
}

impl Access {
    const fn of(is_read_only: bool) -> Self {
        if is_read_only { Self::ReadOnly } else { Self::AsMounted }
    }
}

fn finish(tree: OwnedFd, access: Access) -> Result<OwnedFd, EngineError> {
    if access == Access::ReadOnly {
        let set = sys::mount::set_attr(&tree, Depth::Recursive, &Attributes::READ_ONLY);
        set.map_err(|errno| EngineError::file("protect", "a volume")(errno.into()))?;
    }
    Ok(tree)
}

fn part_of(dir: &Path, part: &Path, access: Access) -> Result<VolumeFiles, EngineError> {
    let shown = dir.join(part);
    let root = Root::open(dir).map_err(store_error)?;
    let found = root.resolve(part, Final::Follow).map_err(|error| {
        let reason = error.errno().map_or_else(|| error.to_string(), words);
        EngineError::Invalid(format!("cannot access path {}: {reason}", shown.display()))
    })?;
    let tree = sys::mount::clone_tree_of(&found, Depth::Recursive)
        .map_err(|errno| EngineError::file("clone the mount of", &shown)(errno.into()))?;
    finish(tree, access).map(VolumeFiles::Tree)
}

/// The kernel knows no names of hosts: the server's becomes its address, for the same types as in Docker.
fn with_addresses(kind: &str, mut options: Vec<String>) -> Result<Vec<String>, String> {
    if !matches!(kind, "nfs" | "cifs") {
        return Ok(options);
    }
    for option in &mut options {
        let Some(host) = option.strip_prefix("addr=") else { continue };
        if host.is_empty() || host.parse::<IpAddr>().is_ok() {
            continue;
        }
        let found = registry::addresses(host).map_err(|error| format!("lookup {host}: {error}"))?;
        let first = found.first().ok_or_else(|| format!("lookup {host}: no such host"))?;
        *option = format!("addr={first}");
    }
    Ok(options)
}

/// What the kernel is asked for.
#[derive(Debug)]
struct Asked {
    kind: CString,
    /// The device is the first.
    params: Vec<(CString, Option<CString>)>,
    attributes: MountAttrFlags,
}

impl Asked {
    fn of(kind: &str, device: &str, options: &[String]) -> Result<Self, NulError> {
        let mut params = vec![(c"source".to_owned(), Some(CString::new(device)?))];
        let mut attributes = MountAttrFlags::empty();
        for word in options {
            if let Some((_, flag, is_set)) = MOUNT_WORDS.iter().find(|(name, ..)| name == word) {
                attributes.set(*flag, *is_set);
                continue;
            }
            let (key, value) =
                word.split_once('=').map_or((word.as_str(), None), |(k, v)| (k, Some(v)));
            params.push((CString::new(key)?, value.map(CString::new).transpose()?));
        }
        // The kernel refuses both; where they are bits of one number, this one is stronger.
        if attributes.contains(MountAttrFlags::MOUNT_ATTR_STRICTATIME) {
            attributes.remove(MountAttrFlags::MOUNT_ATTR_NOATIME);
        }
        Ok(Self { kind: CString::new(kind)?, params, attributes })
    }
}

/// The reason is told if there is none.
fn file_system(kind: &str, device: &str, options: &[String]) -> Result<OwnedFd, String> {
    let asked = Asked::of(kind, device, options).map_err(|_| words(Errno::INVAL))?;
    let params = asked.params.iter().map(|(key, value)| match value {
        Some(value) => Param::String(key, value),
        None => Param::Flag(key),
    });
    sys::mount::detached(&asked.kind, params, asked.attributes).map_err(|error| {
        let what = words(error.errno());
        if matches!(error, FsError::Open(Errno::NODEV)) {
            format!("{what}: this kernel has no file system {kind}; load its module (modprobe {kind}), if there is one")
        } else {
            what
        }
    })
}

/// Parts of the names of options whose values are secret: `pass` and `password2` of cifs, `secret` of ceph,
/// `credentials`, `passphrase`, tokens. What is hidden without need harms nobody.
const SECRET: [&str; 6] = ["pass", "pwd", "secret", "token", "cred", "auth"];

/// Whether what an option says is nobody's to read; names that end so are of keys.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET.iter().any(|part| name.contains(part)) || name.ends_with("key")
}

/// What an error tells of options: passwords of servers are nobody's to read in a log.
fn told(options: &[String]) -> String {
    let one = |option: &String| match option.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}={HIDDEN}"),
        // mount.cifs takes `user=NAME%PASSWORD`.
        Some((name, value)) if name.to_ascii_lowercase().starts_with("user") => {
            let user = value.split_once('%').map(|(user, _)| format!("{name}={user}%{HIDDEN}"));
            user.unwrap_or_else(|| option.clone())
        }
        Some(_) | None => option.clone(),
    };
    options.iter().map(one).collect::<Vec<_>>().join(",")
}

/// What an error tells of a device: not the password in an address such as `https://user:password@host/`, which may
/// have any letters, also `/` and `@`. What is hidden without need harms nobody.
fn told_device(device: &str) -> String {
    let (scheme, rest) = device.split_at(end_of_scheme(device));
    let login =
        rest.rsplit_once('@').and_then(|(login, host)| Some((login.split_once(':')?, host)));
    // Behind a scheme nothing is but an address. Elsewhere a path behind the server's name (`host:/path@x`) is no
    // password, and what is behind a path is none.
    let may_be_path = !scheme.contains(':');
    match login {
        Some(((user, password), host))
            if !may_be_path || !(password.starts_with('/') || user.contains('/')) =>
        {
            format!("{scheme}{user}:{HIDDEN}@{host}")
        }
        Some(_) | None => device.to_owned(),
    }
}

/// Where what follows `scheme://`, or `//` alone, begins in a device; 0 if it has neither. A password may have a
/// `//` as well: `user:pass//word@host`.
fn end_of_scheme(device: &str) -> usize {
    let Some(at) = device.find("//") else { return 0 };
    let is_scheme = |name: &str| {
        name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    let before = &device[..at];
    if before.is_empty() || before.strip_suffix(':').is_some_and(is_scheme) { at + 2 } else { 0 }
}

/// In the place of a secret.
const HIDDEN: &str = "********";

/// Docker's words.
fn failed(data: &Path, device: &str, with: &str, reason: &str) -> EngineError {
    let (data, device) = (data.display(), told_device(device));
    EngineError::Invalid(format!(
        "error while mounting volume '{data}': failed to mount local volume: mount {device}:{data}, {with}: {reason}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn options_are_judged_as_in_docker() {
        let check = |pairs: &[(&str, &str)]| match check_options("vol", &options(pairs)) {
            Ok(()) => "fine".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(check(&[]), "fine");
        assert_eq!(check(&[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m")]), "fine");
        assert_eq!(check(&[("x", "1")]), "create vol: invalid option: \"x\"");
        assert_eq!(check(&[("type", "tmpfs")]), "create vol: missing required option: \"device\"");
        assert_eq!(check(&[("o", "bind")]), "create vol: missing required option: \"device\"");
        assert_eq!(check(&[("device", "/x")]), "create vol: missing required option: \"type\"");
    }

    #[test]
    fn the_server_of_a_network_volume_is_an_address() {
        let of = |kind: &str, words: &[&str]| {
            with_addresses(kind, words.iter().map(|word| (*word).to_owned()).collect()).unwrap()
        };
        assert_eq!(of("nfs", &["rw", "addr=10.1.2.3"]), ["rw", "addr=10.1.2.3"]);
        assert_eq!(of("nfs", &["addr=fd00::1"]), ["addr=fd00::1"]);
        // Only these two have an address.
        assert_eq!(of("tmpfs", &["addr=localhost"]), ["addr=localhost"]);
        let [option] = &of("cifs", &["addr=localhost"])[..] else { panic!() };
        let address = option.strip_prefix("addr=").unwrap().parse::<IpAddr>();
        assert!(address.unwrap().is_loopback(), "{option}");
    }

    /// What goes to the kernel of the options that Docker's users have for these, word by word.
    #[test]
    fn the_kernel_is_asked_for_what_the_options_say() {
        let asked = |kind: &str, device: &str, o: &str| {
            let pairs = [("type", kind), ("device", device), ("o", o)];
            let Some(Device::FileSystem { kind, device, options, is_read_only }) =
                Device::of(&options(&pairs))
            else {
                panic!()
            };
            let options = with_addresses(&kind, options).unwrap();
            let Asked { kind, params, attributes } = Asked::of(&kind, &device, &options).unwrap();
            let shown = params.iter().map(|(key, value)| {
                let value = value.as_ref().map(|value| format!("={}", value.to_str().unwrap()));
                format!("{}{}", key.to_str().unwrap(), value.unwrap_or_default())
            });
            let shown: Vec<_> = shown.collect();
            format!("{} {attributes:?} {is_read_only}: {}", kind.to_str().unwrap(), shown.join(" "))
        };
        let nfs = "addr=10.1.2.3,ro,nolock,soft,nfsvers=4.1,relatime,nosuid,nodev,dev";
        let expected = "nfs MountAttrFlags(MOUNT_ATTR_NOSUID) true: \
                        source=:/export addr=10.1.2.3 nolock soft nfsvers=4.1";
        assert_eq!(asked("nfs", ":/export", nfs), expected);
        let cifs =
            "addr=fd00::1,username=u,password=a=b,vers=3.0,file_mode=0777,noatime,strictatime";
        let expected = "cifs MountAttrFlags(MOUNT_ATTR_STRICTATIME) false: source=//server/share \
                        addr=fd00::1 username=u password=a=b vers=3.0 file_mode=0777";
        assert_eq!(asked("cifs", "//server/share", cifs), expected);
        let local = asked("ext4", "/dev/x", "defaults,rw,noexec,exec,noatime,atime,sync");
        assert_eq!(local, "ext4 MountAttrFlags(0x0) false: source=/dev/x sync");
        assert!(Asked::of("nfs", ":/a\0b", &[]).is_err());
    }

    #[test]
    fn a_file_system_that_the_kernel_lacks_is_named() {
        let reason = file_system("no-such-fs", "x", &[]).unwrap_err();
        // An ordinary user is told that first.
        let wanted = "no such device: this kernel has no file system no-such-fs; load its module \
                      (modprobe no-such-fs), if there is one";
        assert!(reason == wanted || reason == words(Errno::PERM), "{reason}");
    }

    #[test]
    fn passwords_are_not_told() {
        let options = ["username=u", "password=a=b", "pass=c", "ro"].map(str::to_owned);
        assert_eq!(told(&options), "username=u,password=********,pass=********,ro");
        let one = |option: &str| told(&[option.to_owned()]);
        for name in [
            "PassWord2",
            "pass2",
            "passwd",
            "passphrase",
            "secret",
            "credentials",
            "cred",
            "token",
            "key",
            "aws_secret_access_key",
        ] {
            assert_eq!(one(&format!("{name}=x")), format!("{name}=********"));
        }
        for plain in ["vers=4.1", "addr=10.0.0.1", "user=u", "uid=5", "size=1m", "trans=tcp", "ro"]
        {
            assert_eq!(one(plain), plain);
        }
        assert_eq!(one("user=dom/u%p=w"), "user=dom/u%********");
        assert_eq!(
            told_device("https://u:p/q@r@dav.example/d"),
            "https://u:********@dav.example/d"
        );
        assert_eq!(told_device("u:p@dav.example/d"), "u:********@dav.example/d");
        // What follows the scheme is an address, whatever it looks like.
        let hidden = "https://u:********@dav.example/d";
        assert_eq!(told_device("https://u:/pw@dav.example/d"), hidden);
        assert_eq!(told_device("https://u:p//w@dav.example/d"), hidden);
        assert_eq!(told_device("https://do/main:pw@host"), "https://do/main:********@host");
        // And not each `//` ends a scheme.
        assert_eq!(told_device("u:p//x@host"), "u:********@host");
        for plain in ["//server/share@2", "server:/export@2", "/dev/disk/by-id/a:b@c", "//s/d:e@f"]
        {
            assert_eq!(told_device(plain), plain);
        }
        assert_eq!(told_device("https://u:p@dav.example/d"), "https://u:********@dav.example/d");
        assert_eq!(told_device(":/export"), ":/export");
    }

    #[test]
    fn a_bind_is_told_from_a_file_system() {
        let of = |o: &str| Device::of(&options(&[("type", "none"), ("device", "/d"), ("o", o)]));
        let bind =
            |depth, is_read_only| Some(Device::Bind { path: "/d".into(), depth, is_read_only });
        assert_eq!(of("bind"), bind(Depth::Single, false));
        assert_eq!(of("rbind,ro"), bind(Depth::Recursive, true));
        let Some(Device::FileSystem { options, is_read_only, .. }) = of("rw,size=1m,nodev") else {
            panic!()
        };
        assert_eq!((options.join(" "), is_read_only), ("size=1m nodev".to_owned(), false));
        assert_eq!(Device::of(&BTreeMap::new()), None);
    }
}
