//! The law of layers: what an entry may be called, what it means, which attributes it may carry.
//!
//! Pure decisions; `extract` carries them out and `docs/design/archives.md` gives the reasons.

use crate::tar::Kind;

use super::error::Refusal;

/// The longest component of a path (`NAME_MAX`).
const MAX_COMPONENT: usize = 255;
/// The longest path that a system call takes (`PATH_MAX` without its NUL).
pub(super) const MAX_PATH: usize = 4095;

/// In front of the name that a whiteout hides.
pub(super) const WHITEOUT: &[u8] = b".wh.";
/// In front of aufs's own names.
const AUFS: &[u8] = b".wh..wh.";
/// Hides all that lower layers have in its directory.
pub(super) const OPAQUE: &[u8] = b".wh..wh..opq";

/// What an entry means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It is to exist.
    Plain,
    /// Its name without `.wh.` is not to exist in lower layers.
    Whiteout,
    /// Nothing of lower layers is to be seen in its directory.
    Opaque,
    /// aufs's bookkeeping.
    Aufs,
}

/// Why a name is no path in the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadPath {
    /// It has a `..`.
    Outside,
    /// It, or a component, is too long.
    TooLong,
}

/// Writes the plain form of `name` to `path`: no slash in front or at the end, no `.`, no double
/// slash. The root is empty. Absolute names count from the image's root.
pub(super) fn plain_path(name: &[u8], path: &mut Vec<u8>) -> Result<(), BadPath> {
    path.clear();
    for component in name.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => continue,
            b".." => return Err(BadPath::Outside),
            component if component.len() > MAX_COMPONENT => return Err(BadPath::TooLong),
            component => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(component);
            }
        }
    }
    if path.len() > MAX_PATH { Err(BadPath::TooLong) } else { Ok(()) }
}

/// Directory and last component of a plain path.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&path[..0], path),
    }
}

/// What the entry at a plain path means.
pub(super) fn role(path: &[u8], kind: Kind) -> Result<Role, Refusal> {
    if !path.windows(WHITEOUT.len()).any(|part| part == WHITEOUT) {
        return Ok(Role::Plain);
    }
    let (dir, name) = split(path);
    for component in dir.split(|&byte| byte == b'/') {
        if component.starts_with(AUFS) {
            return Ok(Role::Aufs);
        }
        if component.starts_with(WHITEOUT) {
            return Err(Refusal::WhiteoutKind);
        }
    }
    let Some(hidden) = name.strip_prefix(WHITEOUT) else { return Ok(Role::Plain) };
    if name.starts_with(AUFS) && name != OPAQUE {
        return Ok(Role::Aufs);
    }
    match kind {
        // Layers from the time of aufs have whiteouts as hard links to one file.
        Kind::File | Kind::HardLink => {}
        Kind::Directory | Kind::Symlink | Kind::Char | Kind::Block | Kind::Fifo => {
            return Err(Refusal::WhiteoutKind);
        }
    }
    match hidden {
        _ if name == OPAQUE => Ok(Role::Opaque),
        b"" | b"." | b".." => Err(Refusal::Whiteout),
        _ => Ok(Role::Whiteout),
    }
}

/// What an archive is of, and so what it may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Law {
    /// An image's layer, or files that go into a container.
    #[default]
    Image,
    /// A volume: what an engine in a container keeps there (its whiteouts, its attributes) is content.
    Volume,
}

/// What happens to an extended attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is part of the image.
    Keep,
    /// It is kept, but set when the directory has got all its children, which would inherit it.
    KeepForLast,
    /// It is left out and counted.
    Drop,
}

/// Decides about an attribute. Only what an image can mean on any host is kept: `trusted.overlay.*`
/// would let a layer hide or redirect what others have, `security.selinux` and its like are the
/// host's policy. A kind that the kernel lets have none of a sort has none.
pub(super) fn xattr(law: Law, name: &[u8], kind: Kind) -> Fate {
    let is_engines = name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
    if law == Law::Volume && is_engines {
        return Fate::Keep;
    }
    let holds_data = matches!(kind, Kind::File | Kind::Directory);
    match name {
        b"security.capability" if kind == Kind::File => Fate::Keep,
        b"system.posix_acl_access" if kind != Kind::Symlink => Fate::Keep,
        b"system.posix_acl_default" if kind == Kind::Directory => Fate::KeepForLast,
        name if name.starts_with(b"user.overlay.") => Fate::Drop,
        name if name.starts_with(b"user.") && name.len() > 5 && holds_data => Fate::Keep,
        _ => Fate::Drop,
    }
}

/// Whether an attribute may have a value. The kernel checks all but an empty one.
pub(super) fn xattr_value(name: &[u8], value: &[u8]) -> bool {
    name != b"security.capability" || !value.is_empty()
}

/// A Linux device number: 12 bits major, 20 bits minor.
pub(super) fn device(law: Law, kind: Kind, (major, minor): (u32, u32)) -> Result<u64, Refusal> {
    if major >= 1 << 12 || minor >= 1 << 20 {
        return Err(Refusal::Device(major, minor));
    }
    if law == Law::Image && kind == Kind::Char && (major, minor) == (0, 0) {
        return Err(Refusal::WhiteoutDevice);
    }
    Ok(rustix::fs::makedev(major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(name: &[u8]) -> Result<Vec<u8>, BadPath> {
        let mut path = b"left over".to_vec();
        plain_path(name, &mut path).map(|()| path)
    }

    #[test]
    fn names_become_plain_paths() {
        for name in ["a/b", "/a/b", "./a/b/", "//a//b//", "a/./b", "./././a/b/.", "/./a/b"] {
            assert_eq!(plain(name.as_bytes()).unwrap(), b"a/b", "{name}");
        }
        for root in ["/", ".", "./", "//.//"] {
            assert_eq!(plain(root.as_bytes()).unwrap(), b"", "{root}");
        }
        for name in ["..", "../a", "/..", "a/..", "a/../b", "a/b/.."] {
            assert_eq!(plain(name.as_bytes()), Err(BadPath::Outside), "{name}");
        }
        assert_eq!(plain(b"...").unwrap(), b"...");
        assert_eq!(plain(b"..a/b..").unwrap(), b"..a/b..");
        assert!(plain(&[b'x'; 255]).is_ok());
        assert_eq!(plain(&[b'x'; 256]), Err(BadPath::TooLong));
        assert!(plain(&b"x/".repeat(2048)).is_ok());
        assert_eq!(plain(&b"x/".repeat(2049)), Err(BadPath::TooLong));
    }

    #[test]
    fn roles() {
        let of = |path: &str, kind| role(path.as_bytes(), kind);
        for plain in ["a", "a/wh.b", "x.wh.y", "a.wh./b", ".wh", ".whiteout", "..wh.a"] {
            assert_eq!(of(plain, Kind::File), Ok(Role::Plain), "{plain}");
        }
        assert_eq!(of("a/.wh.b", Kind::File), Ok(Role::Whiteout));
        assert_eq!(of(".wh.b", Kind::HardLink), Ok(Role::Whiteout));
        assert_eq!(of(".wh....", Kind::File), Ok(Role::Whiteout));
        assert_eq!(of("a/.wh..wh..opq", Kind::File), Ok(Role::Opaque));
        assert_eq!(of(".wh..wh..opq", Kind::File), Ok(Role::Opaque));
        assert_eq!(of(".wh..wh.plnk", Kind::Directory), Ok(Role::Aufs));
        assert_eq!(of(".wh..wh.plnk/1.2", Kind::File), Ok(Role::Aufs));
        assert_eq!(of("a/.wh..wh.aufs", Kind::File), Ok(Role::Aufs));
        for nothing in [".wh.", "a/.wh.", ".wh..", "a/.wh..."] {
            assert_eq!(of(nothing, Kind::File), Err(Refusal::Whiteout), "{nothing}");
        }
        assert_eq!(of(".wh.a", Kind::Directory), Err(Refusal::WhiteoutKind));
        assert_eq!(of(".wh..wh..opq", Kind::Directory), Err(Refusal::WhiteoutKind));
        assert_eq!(of(".wh.a", Kind::Symlink), Err(Refusal::WhiteoutKind));
        assert_eq!(of(".wh.a/b", Kind::File), Err(Refusal::WhiteoutKind));
    }

    #[test]
    fn attributes() {
        let of = |name: &str, kind| xattr(Law::Image, name.as_bytes(), kind);
        assert_eq!(of("user.a", Kind::File), Fate::Keep);
        assert_eq!(of("user.a", Kind::Symlink), Fate::Drop);
        assert_eq!(of("user.", Kind::File), Fate::Drop);
        assert_eq!(of("security.capability", Kind::File), Fate::Keep);
        assert_eq!(of("security.capability", Kind::Directory), Fate::Drop);
        assert_eq!(of("system.posix_acl_access", Kind::Fifo), Fate::Keep);
        assert_eq!(of("system.posix_acl_default", Kind::Directory), Fate::KeepForLast);
        for dropped in [
            "trusted.overlay.redirect",
            "trusted.overlay.opaque",
            "trusted.other",
            "user.overlay.opaque",
            "security.selinux",
            "security.ima",
            "system.nfs4_acl",
            "",
        ] {
            assert_eq!(of(dropped, Kind::Directory), Fate::Drop, "{dropped}");
        }
        // What engines keep in a volume is theirs; what is the host's policy is not.
        let of = |name: &str| xattr(Law::Volume, name.as_bytes(), Kind::Directory);
        assert_eq!([of("trusted.overlay.opaque"), of("user.overlay.origin")], [Fate::Keep; 2]);
        assert_eq!([of("trusted.other"), of("security.selinux")], [Fate::Drop; 2]);
    }

    #[test]
    fn devices() {
        assert_eq!(device(Law::Image, Kind::Char, (1, 3)), Ok(rustix::fs::makedev(1, 3)));
        assert_eq!(device(Law::Image, Kind::Char, (0, 0)), Err(Refusal::WhiteoutDevice));
        assert!(device(Law::Image, Kind::Block, (0, 0)).is_ok());
        assert_eq!(device(Law::Volume, Kind::Char, (0, 0)), Ok(0));
        assert_eq!(device(Law::Image, Kind::Char, (4096, 0)), Err(Refusal::Device(4096, 0)));
        assert_eq!(device(Law::Image, Kind::Block, (0, 1 << 20)), Err(Refusal::Device(0, 1 << 20)));
    }

    proptest! {
        #[test]
        fn a_plain_path_is_its_own_plain_path(name in "[ab./]{0,20}") {
            if let Ok(path) = plain(name.as_bytes()) {
                prop_assert!(!path.starts_with(b"/") && !path.ends_with(b"/"));
                prop_assert!(path.split(|b| *b == b'/').all(|c| c != b".." && c != b"."));
                prop_assert_eq!(plain(&path), Ok(path));
            }
        }
    }
}
