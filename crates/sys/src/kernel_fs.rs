//! File systems whose files are the kernel itself: procfs, sysfs, control groups and their like.
//!
//! Owns the list of them. Whoever copies trees neither walks through these nor makes files there. Also
//! tells a missing procfs from a missing file for those who go through `/proc/thread-self/fd`.

use std::os::fd::AsFd;

use rustix::buffer::spare_capacity;
use rustix::fs::{Mode, OFlags, StatFs};
use rustix::io::{Errno, retry_on_intr};
use rustix::path::Arg;

/// `PROC_SUPER_MAGIC` of linux/magic.h.
const PROC: u64 = 0x9fa0;

/// Numbers of linux/magic.h: proc, sysfs, cgroup, cgroup2, debugfs, tracefs, securityfs, selinuxfs, bpf,
/// pstore, efivarfs, configfs, nsfs, pidfs.
const MAGICS: [u64; 14] = [
    PROC,
    0x6265_6572,
    0x0027_e0eb,
    0x6367_7270,
    0x6462_6720,
    0x7472_6163,
    0x7363_6673,
    0xf97c_ff8c,
    0xcafe_4a11,
    0x6165_676c,
    0xde5e_81e4,
    0x6265_6570,
    0x6e73_6673,
    0x5049_4446,
];

/// Whether what `fd` is open on, with `O_PATH` perhaps, is one of the kernel's own interfaces.
///
/// # Errors
/// What `fstatfs(2)` gives.
pub fn is_kernel_fs(fd: impl AsFd) -> Result<bool, Errno> {
    Ok(MAGICS.contains(&magic(&rustix::fs::fstatfs(fd)?)))
}

/// What most of their files fit into, so that they are read at once.
const ROOM: usize = 1 << 10;

/// All of one of their files, whose length the kernel does not tell: the standard library asks for it all the same,
/// and then reads 32 bytes.
///
/// # Errors
/// What `open(2)` and `read(2)` give.
pub fn read(path: impl Arg) -> Result<Vec<u8>, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    let mut bytes = Vec::with_capacity(ROOM);
    loop {
        bytes.reserve(ROOM);
        let read = retry_on_intr(|| rustix::io::read(&file, spare_capacity(&mut bytes)))?;
        if read == 0 {
            return Ok(bytes);
        }
    }
}

fn magic(of: &StatFs) -> u64 {
    // The kernel's numbers have 32 bits; where `f_type` is signed, the upper ones are its sign.
    u64::from_ne_bytes(of.f_type.to_ne_bytes()) & 0xffff_ffff
}

/// Why a path through `/proc/thread-self/fd` leads nowhere: `ENOSYS` if procfs is not there, or is another
/// PID namespace's, since callers take `ENOENT` for a file that somebody has deleted.
pub(crate) fn or_no_procfs(errno: Errno) -> Errno {
    let own = || rustix::fs::statfs(c"/proc/thread-self/fd").is_ok_and(|fs| magic(&fs) == PROC);
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP if !own() => Errno::NOSYS,
        _ => errno,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_told_from_others() {
        let is = |path: &str| is_kernel_fs(std::fs::File::open(path).unwrap()).unwrap();
        assert!(is("/proc") && is("/proc/self/status") && is("/sys") && is("/proc/self/ns/mnt"));
        assert!(!is("/") && !is("/tmp"));
    }

    #[test]
    fn a_file_of_the_kernels_is_read_whole() {
        for path in ["/proc/self/uid_map", "/proc/self/mountinfo", "/proc/cpuinfo"] {
            let plain = std::fs::read(path).unwrap();
            // The speed of a processor changes meanwhile.
            let fixed = |text: Vec<u8>| {
                String::from_utf8(text)
                    .unwrap()
                    .replace(|c: char| c.is_ascii_digit() || c == '.', "")
            };
            assert_eq!(fixed(read(path).unwrap()), fixed(plain), "{path}");
        }
        assert!(std::fs::read("/proc/cpuinfo").unwrap().len() > 2 * ROOM, "more than one read");
        assert_eq!(read("/proc/self/none"), Err(Errno::NOENT));
    }
}
