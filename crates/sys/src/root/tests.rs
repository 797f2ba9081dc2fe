//! Tests of `Root`: nothing given to it may act outside.

use super::*;
use std::ffi::OsStr;
use std::os::unix::fs::{MetadataExt as _, symlink};

use rustix::fs::{FileType, Timespec};

/// A root beside a canary directory that must stay untouched.
struct Fixture {
    base: PathBuf,
    root: Root,
}

impl Fixture {
    fn new(name: &str) -> Self {
        let base =
            std::env::temp_dir().join(format!("dhow-sys-root-{name}-{}", std::process::id()));
        std::fs::create_dir_all(base.join("root")).unwrap();
        std::fs::create_dir(base.join("canary")).unwrap();
        std::fs::write(base.join("canary/file"), b"alive").unwrap();
        let root = Root::open(base.join("root")).unwrap();
        Self { base, root }
    }

    fn canary_is_untouched(&self) {
        let names: Vec<_> = std::fs::read_dir(self.base.join("canary")).unwrap().collect();
        assert_eq!(names.len(), 1);
        assert_eq!(std::fs::read(self.base.join("canary/file")).unwrap(), b"alive");
        assert_eq!(std::fs::metadata(self.base.join("canary/file")).unwrap().nlink(), 1);
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let parent = Root::open(self.base.parent().unwrap()).unwrap();
        parent.remove_tree(self.base.file_name().unwrap()).unwrap();
    }
}

fn mode(bits: u32) -> Mode {
    Mode::from_raw_mode(bits)
}

#[test]
fn no_path_leaves_the_root() {
    let f = Fixture::new("leave");
    symlink(f.base.join("canary"), f.base.join("root/abs")).unwrap();
    symlink("../canary", f.base.join("root/rel")).unwrap();
    symlink("/proc/self/cwd", f.base.join("root/magic")).unwrap();
    for way in ["abs", "rel", "magic", "../canary", "/../../canary"] {
        let path = Path::new(way).join("file");
        assert!(f.root.open_file(&path, OFlags::RDONLY).unwrap_err().not_found(), "{way}");
        assert!(f.root.create_file(Path::new(way).join("new"), mode(0o644)).is_err(), "{way}");
        assert!(f.root.mkdir(Path::new(way).join("new"), mode(0o755)).is_err(), "{way}");
        assert!(f.root.remove(&path).is_err(), "{way}");
        assert!(f.root.link(&path, "stolen").is_err(), "{way}");
        assert!(f.root.set_mode(&path, mode(0o777)).is_err(), "{way}");
        assert!(f.root.write_file(&path, b"dead", mode(0o644)).is_err(), "{way}");
    }
    f.canary_is_untouched();
}

#[test]
fn magic_links_are_refused() {
    let proc = Root::open("/proc").unwrap();
    let error = proc.open_dir("thread-self/root").unwrap_err();
    assert_eq!(error.errno(), Some(Errno::LOOP));
}

#[test]
fn absolute_symlinks_mean_the_root() {
    let f = Fixture::new("absolute");
    f.root.mkdir("run", mode(0o755)).unwrap();
    f.root.mkdir("var", mode(0o755)).unwrap();
    f.root.symlink("/run", "var/run").unwrap();
    f.root.write_file("var/run/pid", b"1", mode(0o644)).unwrap();
    assert_eq!(std::fs::read(f.base.join("root/run/pid")).unwrap(), b"1");
}

#[test]
fn changes_stop_at_a_symlink() {
    let f = Fixture::new("stop");
    f.root.write_file("target", b"kept", mode(0o600)).unwrap();
    f.root.symlink("target", "link").unwrap();
    assert_eq!(
        f.root.write_file("link", b"x", mode(0o644)).unwrap_err().errno(),
        Some(Errno::LOOP)
    );
    assert_eq!(f.root.set_mode("link", mode(0o777)).unwrap_err().errno(), Some(Errno::OPNOTSUPP));
    let time = Timespec { tv_sec: 5, tv_nsec: 6 };
    f.root.set_times("link", time, time).unwrap();
    assert_eq!(f.root.metadata("link").unwrap().st_mtime, 5);
    assert_ne!(f.root.metadata("target").unwrap().st_mtime, 5);
    f.root.set_owner("link", rustix::fs::Uid::from_raw(7), rustix::fs::Gid::from_raw(8)).unwrap();
    assert_eq!(f.root.metadata("link").unwrap().st_uid, 7);
    assert_ne!(f.root.metadata("target").unwrap().st_uid, 7);
    f.root.link("link", "second").unwrap();
    assert_eq!(f.root.read_link("second").unwrap(), Path::new("target"));
    f.root.remove("link").unwrap();
    assert_eq!(f.root.read_untrusted("target", 10, Final::NoFollow).unwrap(), b"kept");
    assert!(f.root.read_untrusted("second", 10, Final::NoFollow).is_err());
    assert_eq!(f.root.read_untrusted("second", 10, Final::Follow).unwrap(), b"kept");
}

#[test]
fn untrusted_reads_neither_block_nor_grow() {
    let f = Fixture::new("untrusted");
    f.root.mknod("fifo", FileType::Fifo, mode(0o644), 0).unwrap();
    f.root.mkdir("dir", mode(0o755)).unwrap();
    f.root.write_file("large", &[0; 100], mode(0o644)).unwrap();
    assert!(matches!(
        f.root.read_untrusted("fifo", 10, Final::Follow),
        Err(RootError::NotRegular(_))
    ));
    assert!(matches!(
        f.root.read_untrusted("dir", 10, Final::Follow),
        Err(RootError::NotRegular(_))
    ));
    assert!(matches!(
        f.root.read_untrusted("large", 99, Final::Follow),
        Err(RootError::TooLarge { max: 99, .. })
    ));
    assert_eq!(f.root.read_untrusted("large", 100, Final::Follow).unwrap().len(), 100);
    assert!(matches!(
        f.root.read_untrusted("large", 99, Final::Follow),
        Err(RootError::TooLarge { max: 99, .. })
    ));
    // No memory is taken for what is too large: nobody has as much as this one says.
    f.root.write_file("huge", b"", mode(0o644)).unwrap();
    let huge = std::fs::File::options().write(true).open(f.base.join("root/huge")).unwrap();
    huge.set_len(1 << 41).unwrap();
    assert!(matches!(
        f.root.read_untrusted("huge", 100, Final::Follow),
        Err(RootError::TooLarge { max: 100, .. })
    ));
    // A file that has more than it says, as one that grows while it is read: procfs says 0 bytes.
    let proc = Root::open("/proc").unwrap();
    assert!(matches!(
        proc.read_untrusted("version", 10, Final::NoFollow),
        Err(RootError::TooLarge { max: 10, .. })
    ));
    assert!(matches!(f.root.write_file("fifo", b"x", mode(0o644)), Err(RootError::NotRegular(_))));
}

/// The fifo has somebody at both ends, so that whoever opened it would succeed, and be heard of.
#[test]
fn what_is_in_a_files_place_is_not_even_opened() {
    use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
    let f = Fixture::new("in-place");
    f.root.mknod("device", FileType::CharacterDevice, mode(0o644), 0).unwrap();
    f.root.mknod("fifo", FileType::Fifo, mode(0o644), 0).unwrap();
    f.root.write_file("file", b"text", mode(0o644)).unwrap();
    let path = f.base.join("root/fifo");
    let _ends = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let watch = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
    add_watch(&watch, &path, WatchFlags::OPEN).unwrap();
    for name in [c"device", c"fifo"] {
        let path = OsStr::from_bytes(name.to_bytes());
        let link = PathBuf::from(path).with_extension("link");
        f.root.symlink(path, &link).unwrap();
        for done in [
            f.root.read_untrusted(path, 10, Final::Follow).map(drop),
            f.root.read_untrusted(&link, 10, Final::Follow).map(drop),
            f.root.write_file(path, b"x", mode(0o644)),
        ] {
            assert!(matches!(done, Err(RootError::NotRegular(_))), "{done:?}");
        }
        assert!(open_regular(&f.root, name).unwrap().is_none());
    }
    assert_eq!(open_regular(&f.root, c"fifo.link").unwrap_err(), Errno::LOOP);
    let heard = || rustix::io::read(&watch, &mut [0; 64][..]);
    assert_eq!(heard(), Err(Errno::AGAIN));
    drop(std::fs::OpenOptions::new().write(true).open(&path).unwrap());
    assert!(heard().is_ok(), "an opening is heard of");
    let (file, stat) = open_regular(&f.root, c"file").unwrap().unwrap();
    assert_eq!(stat.st_ino, rustix::fs::fstat(file).unwrap().st_ino);
}

#[test]
fn mkdir_all_goes_through_links_inside() {
    let f = Fixture::new("mkdir-all");
    f.root.mkdir("real", mode(0o755)).unwrap();
    f.root.symlink("/real", "link").unwrap();
    f.root.symlink("/nowhere", "dangling").unwrap();
    f.root.mkdir_all("/link/a/b/", mode(0o700)).unwrap();
    assert!(f.base.join("root/real/a/b").is_dir());
    f.root.mkdir_all("x/../y/z", mode(0o755)).unwrap();
    assert!(f.base.join("root/y/z").is_dir());
    assert!(f.root.mkdir_all("dangling/a", mode(0o755)).is_err());
    f.root.write_file("file", b"", mode(0o644)).unwrap();
    assert_eq!(f.root.mkdir_all("file/a", mode(0o755)).unwrap_err().errno(), Some(Errno::NOTDIR));
}

#[test]
fn remove_tree_keeps_what_links_point_to() {
    let f = Fixture::new("remove");
    let tree = f.root.mkdir_all("t/a/b", mode(0o755)).unwrap();
    tree.symlink(f.base.join("canary"), "out").unwrap();
    f.root.symlink("../../../canary/file", "t/a/file").unwrap();
    f.root.symlink(f.base.join("canary"), "t/way").unwrap();
    assert_eq!(f.root.remove_contents("t/way").unwrap_err().errno(), Some(Errno::NOTDIR));
    assert_eq!(tree.remove_contents("out").unwrap_err().errno(), Some(Errno::NOTDIR));
    f.root.write_file(OsStr::from_bytes(b"t/\xff\n"), b"", mode(0o000)).unwrap();
    f.root.mkdir("t/full", mode(0o755)).unwrap();
    for n in 0..300 {
        f.root.write_file(format!("t/full/{n}"), b"", mode(0o644)).unwrap();
    }
    f.root.remove_tree("t").unwrap();
    f.root.remove_tree("t").unwrap();
    f.root.remove_tree("t/never/was").unwrap();
    assert_eq!(f.root.read_dir("").unwrap(), []);
    f.canary_is_untouched();
}

#[test]
fn remove_tree_works_deeper_than_a_path_is_long() {
    let f = Fixture::new("deep");
    let mut dir = f.root.try_clone().unwrap();
    for _ in 0..2500 {
        dir.mkdir("d", mode(0o755)).unwrap();
        dir = dir.open_dir("d").unwrap();
    }
    drop(dir);
    f.root.remove_tree("d").unwrap();
    assert!(!f.root.exists("d").unwrap());
}

/// Whoever owns a tree may move a directory out of it while it is emptied. The way up then leads to
/// where it is now, and what lies there under the names that are still to go is not ours.
#[test]
fn remove_tree_leaves_alone_what_lies_where_a_directory_was_moved_to() {
    let f = Fixture::new("moved");
    let (tree, elsewhere) = (f.base.join("root/t"), f.base.join("elsewhere"));
    let names = ["a", "b"];
    let last_change = |name: &str| {
        let stat = std::fs::metadata(tree.join(name)).ok()?;
        Some((stat.mtime(), stat.mtime_nsec()))
    };
    for _ in 0..100 {
        std::fs::create_dir(&elsewhere).unwrap();
        for name in names {
            let dir = f.root.mkdir_all(Path::new("t").join(name), mode(0o755)).unwrap();
            for n in 0..1000 {
                dir.write_file(n.to_string(), b"", mode(0o644)).unwrap();
            }
        }
        let before = names.map(last_change);
        let move_away = || {
            let changed = || (0..2).find(|at| last_change(names[*at]) != before[*at]);
            let first = std::iter::repeat_with(changed).flatten().next().unwrap();
            let theirs = elsewhere.join(names[1 - first]).join("file");
            std::fs::create_dir(theirs.parent().unwrap()).unwrap();
            std::fs::write(&theirs, b"").unwrap();
            // It may be gone by now; then there is another try.
            let _ = std::fs::rename(tree.join(names[first]), elsewhere.join(names[first]));
            theirs
        };
        let (removed, theirs) = std::thread::scope(|scope| {
            let mover = scope.spawn(move_away);
            (f.root.remove_tree("t"), mover.join().unwrap())
        });
        assert!(theirs.exists(), "{}", theirs.display());
        f.root.remove_tree("t").unwrap();
        std::fs::remove_dir_all(&elsewhere).unwrap();
        if removed.is_err_and(|error| error.errno() == Some(Errno::XDEV)) {
            return;
        }
    }
    panic!("the two never met");
}

#[test]
fn the_root_itself_has_metadata_but_no_name() {
    let f = Fixture::new("itself");
    f.root.set_mode("/", mode(0o711)).unwrap();
    assert_eq!(f.root.metadata(".").unwrap().st_mode & 0o7777, 0o711);
    f.root.set_xattr("", c"user.x", b"1").unwrap();
    assert_eq!(f.root.get_xattr("/.", c"user.x").unwrap(), Some(b"1".to_vec()));
    assert!(matches!(f.root.remove("a/.."), Err(RootError::BadPath(_))));
    assert!(matches!(f.root.remove(OsStr::from_bytes(b"a\0b")), Err(RootError::BadPath(_))));
    f.root.mkdir("full", mode(0o755)).unwrap();
    f.root.remove_contents("/").unwrap();
    assert_eq!(f.root.read_dir("/").unwrap(), []);
}

#[test]
fn rename_new_replaces_nothing() {
    let f = Fixture::new("rename");
    f.root.write_file("a", b"a", mode(0o644)).unwrap();
    f.root.write_file("b", b"b", mode(0o644)).unwrap();
    assert_eq!(f.root.rename_new("a", "b").unwrap_err().errno(), Some(Errno::EXIST));
    f.root.rename("a", "b").unwrap();
    assert_eq!(f.root.read_untrusted("b", 9, Final::NoFollow).unwrap(), b"a");
}

#[test]
fn a_directory_that_is_swapped_with_a_symlink_leads_nowhere_else() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let f = Fixture::new("race");
    f.root.mkdir("d", mode(0o755)).unwrap();
    f.root.symlink(f.base.join("canary"), "l").unwrap();
    let stop = AtomicBool::new(false);
    let (mut inside, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let (dir, flags) = (f.root.as_fd(), rustix::fs::RenameFlags::EXCHANGE);
                rustix::fs::renameat_with(dir, "d", dir, "l", flags).unwrap();
            }
        });
        for _ in 0..200_000 {
            if inside >= 200 && refused >= 200 {
                break;
            }
            match f.root.write_file("d/file", b"dead", mode(0o644)) {
                Ok(()) => inside += 1,
                Err(_) => refused += 1,
            }
            let _ = f.root.set_mode("d/file", mode(0o777));
            let _ = f.root.remove("d/file");
        }
        stop.store(true, Ordering::Relaxed);
    });
    f.canary_is_untouched();
    assert!(inside >= 200 && refused >= 200, "the two never met: {inside}, {refused}");
}
