//! An ordinary user who exists for the commands of one test alone.
//!
//! Each command is in a mount namespace of its own, in which `/etc/passwd` names the user and `/etc/subuid`
//! grants ids: the host's own files are never touched, so that there is nothing to undo, and a test that is
//! killed leaves nothing behind but its directory. On a host of control groups of version 2 the user has one, as
//! systemd delegates one to each user, and commands are in a group below it.
//!
//! Tests that are run by an ordinary user are run as that user, whose commands systemd puts where it has
//! delegated control groups.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::Host;

/// What the user is called.
const NAME: &str = "dhow-test-user";
/// Ids that nobody has: above those of people, services and systemd's containers, below 2 to the 31. Each test
/// has some of its own, as what a user may have at most is counted by its number.
const FIRST: u32 = 0x7000_0000;
/// How many ids a user has in all.
const SPAN: u32 = 1 << 17;
/// How long a process that ends may keep its control group.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many users there can be at a time.
const USERS: u32 = 2048;

/// Where control groups of version 2 are, if the host has no others.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Becomes the user. `$1` is the directory, `$2` the user's number, `$3` the program, `$4` what is missing, `$5` the
/// list of the members of the control group to be in, or nothing.
const BECOME: &str = r#"set -e
dir=$1 uid=$2 binary=$3 missing=$4 members=$5; shift 5
[ -z "$members" ] || echo 0 > "$members"
mount --bind "$dir/passwd" /etc/passwd
mount --bind "$dir/subids" /etc/subuid
mount --bind "$dir/subids" /etc/subgid
mount --bind "$binary" "$dir/dhow"
# Everybody may open it where udev runs.
if [ -e /dev/net/tun ]; then
    mount -t tmpfs -o mode=755 none "$dir/dev"
    mknod -m 666 "$dir/dev/tun" c 10 200
    mount --bind "$dir/dev/tun" /dev/net/tun
fi
for program in $missing; do mount --bind /dev/null "$program"; done
exec setpriv --reuid "$uid" --regid "$uid" --clear-groups -- "$@"
"#;

/// Where a command of the user's is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Where control groups are delegated, if this host delegates any.
    Delegated,
    /// Where none are.
    Elsewhere,
}

/// An ordinary user of the host.
#[derive(Debug)]
pub(crate) enum User {
    /// One for one test.
    Made(Made),
    /// Whoever runs the tests.
    Own,
}

/// A user who exists for one test.
#[derive(Debug)]
pub(crate) struct Made {
    uid: u32,
    dir: PathBuf,
    missing: String,
    groups: Option<Groups>,
    /// What nobody else on this host can have as long as this user is there.
    _name: UnixListener,
}

/// The control group that a user has, and one below it that commands are in.
#[derive(Debug)]
struct Groups(PathBuf);

impl Groups {
    /// `None` on a host that has others than of version 2.
    fn make(uid: u32) -> Option<Self> {
        let all = match fs::read_to_string(Path::new(CGROUPS).join("cgroup.controllers")) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            all => all.expect("read which controllers there are"),
        };
        let wished: Vec<String> = all.split_whitespace().map(|name| format!("+{name}")).collect();
        let root = Path::new(CGROUPS).join("cgroup.subtree_control");
        fs::write(root, wished.join(" ")).expect("hand controllers down");
        let group = Path::new(CGROUPS).join(format!("{NAME}-{uid}"));
        let commands = group.join("commands");
        fs::create_dir_all(&commands).expect("make a control group of the user");
        for dir in [&group, &commands] {
            own(dir, uid);
            ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"]
                .iter()
                .for_each(|file| own(&dir.join(file), uid));
        }
        Some(Self(group))
    }

    fn members(&self) -> String {
        self.0.join("commands/cgroup.procs").to_string_lossy().into_owned()
    }
}

impl Drop for Groups {
    /// Whoever is on the way out keeps a group for a moment; what stays is counted as left behind.
    fn drop(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while (fs::remove_dir(self.0.join("commands")).is_err() || fs::remove_dir(&self.0).is_err())
            && self.0.exists()
            && Instant::now() < deadline
        {
            std::thread::yield_now();
        }
    }
}

fn own(path: &Path, uid: u32) {
    std::os::unix::fs::chown(path, Some(uid), Some(uid)).expect("give a file away");
}

impl User {
    /// A user at home in `dir`, whose subordinate ids are `subids`.
    pub(crate) fn new(dir: &Path, subids: &str) -> Self {
        if !rustix::process::geteuid().is_root() {
            return Self::Own;
        }
        let (uid, name) = reserve();
        let write = |name: &str, text: &str| {
            fs::write(dir.join(name), text).expect("write a file of the user");
        };
        let passwd = fs::read_to_string("/etc/passwd").expect("read /etc/passwd");
        let home = dir.display();
        write("passwd", &format!("{passwd}{NAME}:x:{uid}:{uid}::{home}:/bin/sh\n"));
        let range = format!("{NAME}:{}:65536\n", uid + 1);
        write("subids", subids.replace("{range}", range.trim_end()).as_str());
        write("dhow", "");
        fs::create_dir(dir.join("dev")).expect("make a directory of the user");
        own(dir, uid);
        let (dir, missing) = (dir.to_owned(), String::new());
        Self::Made(Made { uid, dir, missing, groups: Groups::make(uid), _name: name })
    }

    /// Gives a file or directory to the user.
    pub(crate) fn give(&self, path: &Path) {
        own(path, self.uid());
    }

    pub(crate) fn uid(&self) -> u32 {
        match self {
            Self::Made(made) => made.uid,
            Self::Own => rustix::process::geteuid().as_raw(),
        }
    }

    /// What systemd is asked by, for its user.
    pub(crate) fn runtime_dir(&self) -> Option<String> {
        match self {
            Self::Made(_) => None,
            Self::Own => Some(format!("/run/user/{}", self.uid())),
        }
    }

    pub(crate) fn lack(&mut self, program: &str) {
        match self {
            Self::Made(made) => {
                made.missing.push_str(program);
                made.missing.push(' ');
            }
            Self::Own => panic!("only root hides {program}"),
        }
    }

    /// Whether commands of the user's have control groups.
    pub(crate) fn is_delegated(&self) -> bool {
        match self {
            Self::Made(made) => made.groups.is_some(),
            Self::Own => true,
        }
    }

    /// The program and the arguments that run `program` as the user.
    pub(crate) fn wrapped(
        &self,
        place: Place,
        binary: &Path,
        program: &Path,
        arguments: &[&str],
    ) -> (PathBuf, Vec<String>) {
        let all = arguments.iter().map(|word| (*word).to_owned());
        match (self, place) {
            (Self::Made(made), _) => {
                (PathBuf::from("unshare"), made.wrapped(place, binary, program, arguments))
            }
            (Self::Own, Place::Elsewhere) => (program.to_owned(), all.collect()),
            (Self::Own, Place::Delegated) => {
                let words = ["--user", "--scope", "--quiet", "--collect", "--"].map(str::to_owned);
                let program = program.to_string_lossy().into_owned();
                let words = words.into_iter().chain([program]).chain(all);
                (PathBuf::from("systemd-run"), words.collect())
            }
        }
    }
}

impl Made {
    /// The arguments of `unshare` that run `program` as the user.
    fn wrapped(
        &self,
        place: Place,
        binary: &Path,
        program: &Path,
        arguments: &[&str],
    ) -> Vec<String> {
        let own = self.dir.join("dhow");
        let program = if program == binary { &own } else { program };
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let own = text(&own);
        let mut words: Vec<String> =
            ["--mount", "--propagation", "slave", "--", "sh", "-c", BECOME, "sh"]
                .map(str::to_owned)
                .to_vec();
        let groups = self.groups.as_ref().filter(|_| place == Place::Delegated);
        words.extend([text(&self.dir), self.uid.to_string(), text(binary), self.missing.clone()]);
        words.push(groups.map(Groups::members).unwrap_or_default());
        words.push(text(program));
        let binary = text(binary);
        words.extend(
            arguments.iter().map(
                |word| {
                    if **word == binary { own.clone() } else { (*word).to_owned() }
                },
            ),
        );
        words
    }
}

/// A number that no other test of this host has, of whichever process: who has bound its name, a socket's that
/// leaves no file behind, has it until it ends. The name is none of dhow's, for which a test looks.
fn reserve() -> (u32, UnixListener) {
    let start = std::process::id() % USERS;
    let numbers = (0..USERS).map(|turn| FIRST + (start + turn) % USERS * SPAN);
    let named = |uid: u32| {
        let address =
            SocketAddr::from_abstract_name(format!("test-uid-{uid}")).expect("a short name");
        UnixListener::bind_addr(&address).ok().map(|name| (uid, name))
    };
    numbers.into_iter().find_map(named).expect("a number that no other test has")
}

impl Host {
    /// Fresh roots of an ordinary user who has subordinate ids, with the `busybox` image.
    ///
    /// # Panics
    /// The image cannot be made or loaded; `uidmap` is not installed.
    #[must_use]
    pub fn of_user(binary: &str) -> Self {
        assert!(Path::new("/usr/bin/newuidmap").exists(), "the package uidmap is not installed");
        let host = Self::of_user_with(binary, "{range}\n");
        let archive = crate::busybox_archive(host.scratch()).expect("make the busybox image");
        host.ok(&["load", "-q", "-i", &archive.to_string_lossy()]);
        host
    }

    /// The same without an image; what `/etc/subuid` and `/etc/subgid` say, with `{range}` for a good line.
    ///
    /// # Panics
    /// No directory can be made.
    #[must_use]
    pub fn of_user_with(binary: &str, subids: &str) -> Self {
        let mut host = Self::new(binary);
        host.user = Some(User::new(host.scratch(), subids));
        host
    }

    /// The same on a host that lacks a program, named by its path.
    #[must_use]
    pub fn lacking(mut self, program: &str) -> Self {
        if let Some(user) = &mut self.user {
            user.lack(program);
        }
        self
    }

    /// The number of the user, if this is one's.
    #[must_use]
    pub fn uid(&self) -> Option<u32> {
        self.user.as_ref().map(User::uid)
    }

    /// Whether commands of the user's have control groups, but for those of [`Host::elsewhere`].
    #[must_use]
    pub fn is_delegated(&self) -> bool {
        self.user.as_ref().is_some_and(User::is_delegated)
    }

    /// Whether there are control groups of this root's where the user has them.
    #[must_use]
    pub fn has_groups(&self) -> bool {
        let homes = match &self.user {
            Some(User::Made(made)) => made.groups.as_ref().map(|groups| groups.0.clone()),
            Some(User::Own) => {
                let uid = rustix::process::geteuid().as_raw();
                let service = format!("user.slice/user-{uid}.slice/user@{uid}.service");
                Some(Path::new(CGROUPS).join(service))
            }
            None => None,
        };
        homes.is_some_and(|home| home.join(self.tag().dashed("dhow")).exists())
    }

    /// Gives a file or directory to the user.
    ///
    /// # Panics
    /// It is not there.
    pub fn give(&self, path: &Path) {
        if let Some(user) = &self.user {
            user.give(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_tests_are_the_same_user() {
        let (first, name) = reserve();
        let (second, _other) = reserve();
        assert_ne!(first, second);
        drop(name);
        assert!(
            first >= FIRST && FIRST.checked_add(USERS * SPAN).is_some_and(|end| end <= 1 << 31)
        );
    }
}
