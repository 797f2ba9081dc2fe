//! An ordinary user who exists for the commands of one test alone.
//!
//! Each command is in a mount namespace of its own, in which `/etc/passwd` names the user and `/etc/subuid`
//! grants ids: the host's own files are never touched, so that there is nothing to undo, and a test that is
//! killed leaves nothing behind but its directory.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

use crate::Host;

/// What the user is called.
const NAME: &str = "dhow-test-user";
/// Ids that nobody has: above those of people, services and systemd's containers, below 2 to the 31. Each test
/// has some of its own, as what a user may have at most is counted by its number.
const FIRST: u32 = 0x7000_0000;
/// How many ids a user has in all.
const SPAN: u32 = 1 << 17;
/// How many users there can be at a time.
const USERS: u32 = 2048;

/// Becomes the user. `$1` is the directory, `$2` the user's number, `$3` the program, `$4` what is missing.
const BECOME: &str = r#"set -e
dir=$1 uid=$2 binary=$3 missing=$4; shift 4
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

/// A user of the host, for one test.
#[derive(Debug)]
pub(crate) struct User {
    uid: u32,
    dir: PathBuf,
    missing: String,
    /// What nobody else on this host can have as long as this user is there.
    _name: UnixListener,
}

impl User {
    /// A user at home in `dir`, whose subordinate ids are `subids`.
    pub(crate) fn new(dir: &Path, subids: &str) -> Self {
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
        let user = Self { uid, dir: dir.to_owned(), missing: String::new(), _name: name };
        user.give(dir);
        user
    }

    /// Gives a file or directory to the user.
    pub(crate) fn give(&self, path: &Path) {
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.uid)).expect("give a file away");
    }

    pub(crate) fn uid(&self) -> u32 {
        self.uid
    }

    pub(crate) fn lack(&mut self, program: &str) {
        self.missing.push_str(program);
        self.missing.push(' ');
    }

    /// The arguments of `unshare` that run `program` as the user.
    pub(crate) fn wrapped(&self, binary: &Path, program: &Path, arguments: &[&str]) -> Vec<String> {
        let own = self.dir.join("dhow");
        let program = if program == binary { &own } else { program };
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let own = text(&own);
        let mut words: Vec<String> =
            ["--mount", "--propagation", "slave", "--", "sh", "-c", BECOME, "sh"]
                .map(str::to_owned)
                .to_vec();
        words.extend([text(&self.dir), self.uid.to_string(), text(binary), self.missing.clone()]);
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
/// leaves no file behind, has it until it ends.
fn reserve() -> (u32, UnixListener) {
    let start = std::process::id() % USERS;
    let numbers = (0..USERS).map(|turn| FIRST + (start + turn) % USERS * SPAN);
    let named = |uid: u32| {
        let address =
            SocketAddr::from_abstract_name(format!("dhow-test-uid-{uid}")).expect("a short name");
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
