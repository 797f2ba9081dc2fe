//! Whether somebody else could change where a path leads.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, Stat};

use super::has_others_ids;
use crate::{Errno, userns};

/// As many links as the kernel follows.
const MOST_LINKS: u32 = 40;

/// The first on the way to a path, itself included, that somebody else than root and this user could put something else
/// in the place of: a directory that is neither's, or that others may write to, or a link of theirs. What is not there
/// yet is made by this user.
///
/// The way is that of the path as it is named: what a link leads to may be root's alone, and the link anybody's.
#[must_use]
pub fn foreign(path: &Path) -> Option<PathBuf> {
    let mut ahead: Vec<OsString> = Vec::new();
    let Ok(full) = std::path::absolute(path) else { return Some(path.to_owned()) };
    push(&mut ahead, &full);
    let mut here = PathBuf::from("/");
    let mut followed = 0;
    if !rustix::fs::stat(&here).is_ok_and(|found| is_trusted(&found)) {
        return Some(here);
    }
    while let Some(name) = ahead.pop() {
        if name == ".." {
            // There is no link in what is done.
            here.pop();
            continue;
        }
        let next = here.join(name);
        let found = match rustix::fs::lstat(&next) {
            Err(Errno::NOENT) => return None,
            Err(_) => return Some(next),
            Ok(found) => found,
        };
        if FileType::from_raw_mode(found.st_mode) != FileType::Symlink {
            if !is_trusted(&found) {
                return Some(next);
            }
            here = next;
            continue;
        }
        followed += 1;
        // In a directory with the sticky bit anybody makes links.
        let target = std::fs::read_link(&next).ok().filter(|_| is_ours(&found));
        let Some(target) = target.filter(|_| followed <= MOST_LINKS) else { return Some(next) };
        if target.is_absolute() {
            here = PathBuf::from("/");
        }
        push(&mut ahead, &target);
    }
    None
}

/// Puts the names of a path in front of those that are ahead.
fn push(ahead: &mut Vec<OsString>, path: &Path) {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    });
    let names: Vec<OsString> = names.collect();
    ahead.extend(names.into_iter().rev());
}

/// Whether it is root's or this user's.
fn is_ours(found: &Stat) -> bool {
    // In a user namespace that does not have it, the host's root is nobody.
    let is_roots = found.st_uid == 0 || (found.st_uid == userns::NOBODY && has_others_ids());
    is_roots || found.st_uid == rustix::process::geteuid().as_raw()
}

fn is_trusted(found: &Stat) -> bool {
    let mode = Mode::from_raw_mode(found.st_mode);
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    // Many distributions give each user a group of the user's own, which may write to all of it.
    let is_users = found.st_uid == own.0;
    let is_private = !mode.contains(Mode::WGRP) || (is_users && found.st_gid == own.1);
    // In one with the sticky bit others make files of their own, and take none away.
    let is_kept = mode.contains(Mode::SVTX) || (is_private && !mode.contains(Mode::WOTH));
    is_ours(found) && is_kept
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};

    use super::*;

    #[test]
    fn a_way_is_judged_by_every_directory_and_link_on_it() {
        let dir = std::env::temp_dir().join(format!("dhow-trust-{}", std::process::id()));
        let at = |name: &str| dir.join(name);
        for name in ["own/root", "open", "theirs"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        let mode = |name: &str, mode| {
            std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode("open", 0o777);
        chown(at("theirs"), Some(65534), None).unwrap();
        symlink(at("own/root"), at("link")).unwrap();
        symlink("../own", at("open/link")).unwrap();
        symlink("loop", at("loop")).unwrap();
        let told = |name: &str| {
            let found = foreign(&at(name));
            found.map(|path| path.strip_prefix(&dir).unwrap().display().to_string())
        };
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(told("own/root"), None);
        assert_eq!(told("link/not/there"), None);
        assert_eq!(told("theirs/x"), some("theirs"));
        // It leads to what nobody else can write to, today.
        assert_eq!(told("open/link/root"), some("open"));
        assert_eq!(told("loop"), some("loop"));
        mode("open", 0o1777);
        assert_eq!(told("open/link/root"), None);
        lchown(at("open/link"), Some(65534), None).unwrap();
        assert_eq!(told("open/link/root"), some("open/link"));
        assert_eq!(told("own/../open/link"), some("open/link"));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
