//! Where a process is at home whose environment does not say.
//!
//! Engines leave that to the runtime: only who has the container's files can know. Owns the look into
//! its `/etc/passwd`, which is as its image wants it; what its lines mean is `sys::users`'.

use std::os::fd::BorrowedFd;

use sys::root::{Final, Root};
use sys::users;

/// The home directory of a user in a root file system; `/` if that does not say, or cannot be read: no
/// start fails for want of it.
#[must_use]
pub fn home(root: BorrowedFd<'_>, uid: u32) -> String {
    let passwd = root.try_clone_to_owned().ok().and_then(|root| {
        Root::from_fd(root).read_untrusted("etc/passwd", users::MAX_FILE, Final::Follow).ok()
    });
    users::home(uid, &passwd.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::os::fd::AsFd as _;

    #[test]
    fn a_home_is_what_the_containers_own_file_says() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let home = |uid| home(root.as_fd(), uid);
        assert_eq!(home(33), "/");
        let etc = dir.path().join("etc");
        std::fs::create_dir(&etc).unwrap();
        std::fs::write(etc.join("users"), "web:x:33:33::/var/www:/bin/sh\n").unwrap();
        // Its links stay in it.
        std::os::unix::fs::symlink("/etc/users", etc.join("passwd")).unwrap();
        assert_eq!((home(33).as_str(), home(34).as_str()), ("/var/www", "/"));
        // One that would never end is not waited for.
        std::fs::remove_file(etc.join("users")).unwrap();
        let fifo = rustix::fs::FileType::Fifo;
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, etc.join("users"), fifo, mode, 0).unwrap();
        assert_eq!(home(33), "/");
    }
}
