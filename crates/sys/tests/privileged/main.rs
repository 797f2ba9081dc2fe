//! Calls that need root: mounts, network namespaces. Everything is detached or ends with its
//! thread, so nothing stays behind.
#![expect(clippy::unwrap_used, reason = "helpers of tests are test code too")]

use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use sys::Errno;
use sys::mount::{Attributes, Depth, FsError, Layer, MountAttrFlags, Overlay, Param};

fn layer(top: &Path, name: &str) -> PathBuf {
    let path = top.join(name);
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join(name), name).unwrap();
    path
}

fn read(mount: &std::os::fd::OwnedFd, name: &str) -> Result<Vec<u8>, Errno> {
    let file = rustix::fs::openat(mount, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = [0; 64];
    let len = rustix::io::read(&file, &mut bytes[..])?;
    Ok(bytes[..len].to_vec())
}

#[test]
fn an_overlay_of_a_hundred_layers_with_awkward_names_is_mounted_detached() {
    let top = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = (0..100).map(|n| layer(top.path(), &format!("l,:\\{n}"))).collect();
    let lowers: Vec<Layer<'_>> = paths.iter().map(|path| Layer::Path(path)).collect();
    let (upper, work) = (layer(top.path(), "upper"), top.path().join("work"));
    std::fs::create_dir(&work).unwrap();
    let overlay = Overlay {
        lowers: &lowers,
        upper: Some((Layer::Path(&upper), Layer::Path(&work))),
        options: &[Param::Flag(c"volatile")],
    };
    let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mount = sys::mount::overlay(&overlay, MountAttrFlags::empty()).unwrap();
    for name in ["l,:\\0", "l,:\\99", "upper"] {
        assert_eq!(read(&mount, name), Ok(name.as_bytes().to_vec()));
    }
    assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
}

#[test]
fn layers_by_descriptor_need_no_path() {
    let top = tempfile::tempdir().unwrap();
    let paths = [layer(top.path(), "one"), layer(top.path(), "two")];
    let fds = paths.map(|path| std::fs::File::open(path).unwrap());
    let lowers = fds.each_ref().map(|fd| Layer::Fd(std::os::fd::AsFd::as_fd(fd)));
    let overlay = Overlay { lowers: &lowers, upper: None, options: &[] };
    let mount = sys::mount::overlay(&overlay, MountAttrFlags::empty()).unwrap();
    assert_eq!(read(&mount, "two"), Ok(b"two".to_vec()));
}

#[test]
fn a_missing_layer_is_named() {
    let overlay =
        Overlay { lowers: &[Layer::Path(Path::new("/no/such"))], upper: None, options: &[] };
    let error = sys::mount::overlay(&overlay, MountAttrFlags::empty()).unwrap_err();
    assert!(error.to_string().starts_with("overlay: lowerdir+=/no/such"), "{error}");
    assert_eq!(error.errno(), Errno::NOENT);
}

#[test]
fn attributes_hold_for_a_detached_mount() {
    let params = [Param::String(c"size", c"1m")];
    let mount = sys::mount::detached(c"tmpfs", params, MountAttrFlags::empty()).unwrap();
    rustix::fs::mkdirat(&mount, c"before", Mode::RWXU).unwrap();
    sys::mount::set_attr(&mount, Depth::Single, &Attributes::READ_ONLY).unwrap();
    assert_eq!(rustix::fs::mkdirat(&mount, c"after", Mode::RWXU), Err(Errno::ROFS));
}

#[test]
fn the_kernels_words_come_with_a_refusal() {
    let params = [Param::Flag(c"noswap"), Param::String(c"size", c"many")];
    let error = sys::mount::detached(c"tmpfs", params, MountAttrFlags::empty()).unwrap_err();
    let FsError::Option { index, log, .. } = error else { panic!("{error}") };
    assert_eq!((index, log.to_string().as_str()), (1, "tmpfs: Bad value for 'size'"));
}

#[test]
fn a_network_namespace_is_new_and_work_runs_inside_of_it() {
    let namespace = |path: &str| std::fs::read_link(path).unwrap();
    let own = namespace("/proc/thread-self/ns/net");
    let netns = sys::netns::create().unwrap();
    let inside = sys::netns::run_in(&netns, || namespace("/proc/thread-self/ns/net")).unwrap();
    assert_ne!(inside, own);
    assert_eq!(namespace("/proc/thread-self/ns/net"), own);
    let none = std::fs::File::open("/dev/null").unwrap();
    let error = sys::netns::run_in(&none, || ()).unwrap_err();
    assert_eq!(error.to_string(), "enter a network namespace");
}

/// The mounts are the thread's own, so that nobody else misses procfs.
#[test]
fn without_procfs_no_file_is_taken_for_deleted() {
    use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
    use sys::process::{Namespaces, unshare};
    let top = tempfile::tempdir().unwrap();
    std::fs::write(top.path().join("file"), "text").unwrap();
    let look = || {
        let root = sys::root::Root::open(top.path()).unwrap();
        let opened = sys::root::open_regular(&root, c"file").map(|file| file.is_some());
        let missing = sys::root::open_regular(&root, c"missing").map(|file| file.is_some());
        let written = root.write_file("file", b"more", Mode::RWXU);
        (opened, missing, written.map_err(|error| error.errno()))
    };
    let without = std::thread::scope(|scope| {
        let hidden = scope.spawn(|| {
            unshare(Namespaces::MOUNT).unwrap();
            let apart = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
            mount_change("/", apart).unwrap();
            mount("none", "/proc", "tmpfs", MountFlags::empty(), None).unwrap();
            look()
        });
        hidden.join().unwrap()
    });
    let gone = Err(Errno::NOENT);
    assert_eq!(without, (Err(Errno::NOSYS), gone, Err(Some(Errno::NOSYS))));
    assert_eq!(look(), (Ok(true), gone, Ok(())));
}

#[test]
fn a_filter_answers_and_stays() {
    use sys::process::{CloneArgs, Exit, clone3, wait};
    let step = |code, jt, jf, k| sys::seccomp::Instruction { code, jt, jf, k };
    // getpgid(2) is 121 on x86-64 and 155 on AArch64. EXDEV is 18.
    let number = if cfg!(target_arch = "x86_64") { 121 } else { 155 };
    let program = [
        step(0x20, 0, 0, 0),
        step(0x15, 0, 1, number),
        step(0x06, 0, 0, 0x0005_0000 | 18),
        step(0x06, 0, 0, 0x7fff_0000),
    ];
    let child = clone3(&CloneArgs::default(), || {
        if sys::seccomp::load(&program, sys::seccomp::Flags::SPEC_ALLOW).is_err() {
            return 1;
        }
        rustix::process::getpgid(None).map_or_else(Errno::raw_os_error, |_| 0)
    })
    .unwrap();
    assert_eq!(wait(&child.pidfd), Ok(Exit::Code(18)));
}
